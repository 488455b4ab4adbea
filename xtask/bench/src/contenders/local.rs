//! Our pool on this machine, beside the contenders that are beyond a server.

use std::time::Duration;

use super::note::Note;
use super::pool::PoolCore;
use crate::contender::{Contender, Item, Outcome, unsupported};
use crate::timing::Timed;

pub(super) const NOTES: &[Note] = &[Note { cases: &[], text: "our pool on this machine, without Redis" }];

/// Our pool on this machine, for the cases in which the others are beyond a server.
#[derive(Default)]
pub(crate) struct Local(PoolCore);

impl Contender for Local {
    fn open(&mut self, _workers: usize) -> Outcome<Duration> {
        unsupported()
    }

    fn open_far(&mut self, workers: usize) -> Outcome<Duration> {
        self.0.open(workers)
    }

    fn close(&mut self) -> Outcome<Duration> {
        self.0.close()
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        self.0.calls(count, pause)
    }

    fn map_numbers(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        self.0.map_numbers(numbers)
    }

    fn map_items(&mut self, items: &[Item]) -> Outcome<Timed> {
        self.0.map_items(items)
    }
}

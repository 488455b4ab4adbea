//! NumPy's arrays in Python's shared memory, among the workers of `multiprocessing.Pool`.

use std::time::Duration;

use super::note::Note;
use super::python::Python;
use crate::contender::{Contender, Outcome, unsupported};
use crate::timing::Timed;

pub(super) const NOTES: &[Note] = &[Note {
    cases: &["array"],
    text: "arrays in `multiprocessing.shared_memory`, which each worker opens once by name",
}];

#[derive(Default)]
pub(crate) struct Numpy(Python);

impl Contender for Numpy {
    fn open(&mut self, workers: usize) -> Outcome<Duration> {
        self.0.open(workers)
    }

    fn close(&mut self) -> Outcome<Duration> {
        // A named segment outlives its program if nobody removes it.
        self.0.ask("drop_held")?;
        self.0.close()
    }

    // They are the pool's, which is measured without NumPy.
    fn calls(&mut self, _count: u64, _pause: Duration) -> Outcome<Vec<Duration>> {
        unsupported()
    }

    fn hold(&mut self, len: usize) -> Outcome<()> {
        self.0.ask(&format!("hold {len} 0")).map(drop)
    }

    fn sum_held(&mut self, part: usize) -> Outcome<Timed> {
        self.0.ask_timed(&format!("sum_held {part}"))
    }

    fn sqrt_held(&mut self, part: usize) -> Outcome<Timed> {
        self.0.ask_timed(&format!("sqrt_held {part}"))
    }

    fn hold_numbers(&mut self, len: usize) -> Outcome<()> {
        self.0.ask(&format!("hold {len} 1")).map(drop)
    }

    fn square_held(&mut self, part: usize) -> Outcome<Timed> {
        self.0.ask_timed(&format!("square_held {part}"))
    }
}

//! The books: each submission, and a line for each item that says how often it has ended, and whether it
//! could have ended so.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};

use pool_core::{Error, ErrorKind};

use crate::item::Item;

/// How an item ended, as far as the books go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Value(u64),
    Failed { kind: ErrorKind, item: Option<usize>, status: Option<ExitStatus> },
}

impl From<Result<u64, Error>> for Outcome {
    fn from(result: Result<u64, Error>) -> Outcome {
        result.map_or_else(|error| Outcome::from(&error), Outcome::Value)
    }
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Outcome {
        Outcome::Failed { kind: error.kind(), item: error.item(), status: error.exit_status() }
    }
}

/// The submissions of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A job for each item.
    Calls,
    /// One job of many items.
    Map,
}

/// The sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) jobs: u64,
    pub(crate) items: u64,
    /// Items that are settled and checked.
    pub(crate) closed: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: BTreeMap<String, u64>,
    /// Nobody asked for their outcome any more.
    pub(crate) given_up: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Values that are not theirs, and errors that could not be.
    pub(crate) wrong: u64,
    /// The first of these, in words.
    pub(crate) findings: Vec<String>,
}

const FINDINGS_MAX: usize = 10;

impl Tally {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.wrong == 0 && self.closed == self.items
    }

    fn find(&mut self, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        }
    }
}

/// All submissions.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Tally>);

impl Ledger {
    /// Enters an item that is about to be submitted.
    pub(crate) fn open(&self, shape: Shape, items: Vec<Item>, is_harmless: bool) -> Page {
        let count = items.len();
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.jobs += if shape == Shape::Map { 1 } else { count as u64 };
        tally.items += count as u64;
        Page { shape, items, is_harmless, lines: vec![Line::default(); count], tally: Tally::default() }
    }

    /// Enters its outcome.
    pub(crate) fn close(&self, page: Page) {
        let page = page.summed();
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.closed += page.closed;
        tally.succeeded += page.succeeded;
        tally.given_up += page.given_up;
        tally.lost += page.lost;
        tally.doubled += page.doubled;
        tally.wrong += page.wrong;
        for (kind, count) in page.failed {
            *tally.failed.entry(kind).or_default() += count;
        }
        page.findings.into_iter().for_each(|what| tally.find(what));
    }

    /// The sums so far.
    pub(crate) fn tally(&self) -> Tally {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One submission.
#[derive(Debug)]
pub(crate) struct Page {
    shape: Shape,
    pub(crate) items: Vec<Item>,
    /// Its items have retries enough, so that nothing but a cancel is a reason to fail.
    is_harmless: bool,
    lines: Vec<Line>,
    tally: Tally,
}

/// One item of it.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    ended: u32,
    is_given_up: bool,
    may_be_cancelled: bool,
}

impl Page {
    /// Somebody cancels this one.
    pub(crate) fn cancel(&mut self, at: usize) {
        self.lines[at].may_be_cancelled = true;
    }

    /// The outcome of the item in this place.
    pub(crate) fn settle(&mut self, at: usize, outcome: impl Into<Outcome>) {
        let outcome = outcome.into();
        let Some(line) = self.lines.get_mut(at) else {
            self.tally.doubled += 1;
            self.tally.find(format!("one outcome more than there are items: {outcome:?}"));
            return;
        };
        line.ended += 1;
        if line.ended > 1 {
            return;
        }
        if !self.is_possible(at, outcome) {
            self.tally.wrong += 1;
            self.tally.find(format!("item {at}, {:?}: cannot have ended in {outcome:?}", self.items[at]));
        }
        match outcome {
            Outcome::Value(_) => self.tally.succeeded += 1,
            Outcome::Failed { kind, .. } => *self.tally.failed.entry(format!("{kind:?}")).or_default() += 1,
        }
    }

    /// The outcome of some item; it must say itself of which.
    pub(crate) fn settle_unordered(&mut self, outcome: impl Into<Outcome>) {
        let outcome = outcome.into();
        let at = match outcome {
            Outcome::Value(value) => self.items.iter().position(|item| *item == Item::of_value(value)),
            Outcome::Failed { item, .. } => item.filter(|at| *at < self.items.len()),
        };
        match at {
            Some(at) => self.settle(at, outcome),
            None => {
                self.tally.wrong += 1;
                self.tally.find(format!("nobody's outcome: {outcome:?}"));
            }
        }
    }

    /// Nobody will hear how the others end.
    pub(crate) fn give_up_the_rest(&mut self) {
        self.lines.iter_mut().for_each(|line| line.is_given_up = line.ended == 0);
    }

    /// Whether the item may end so, given its kind and the harm that was done to it.
    fn is_possible(&self, at: usize, outcome: Outcome) -> bool {
        let fate = self.items[at].fate();
        let (kind, item, status) = match outcome {
            Outcome::Value(value) => return fate.gives_value() && value == self.items[at].value(),
            Outcome::Failed { kind, item, status } => (kind, item, status),
        };
        if kind == ErrorKind::Cancelled {
            return self.lines[at].may_be_cancelled;
        }
        let is_addressed = item == (self.shape == Shape::Map).then_some(at);
        is_addressed
            && !self.is_harmless
            && match kind {
                ErrorKind::Panicked => fate == crate::item::Fate::Panic,
                // Any worker may be stopped while it has a limit.
                ErrorKind::TaskTimeout => true,
                // Any worker may be killed.
                ErrorKind::WorkerDied => status.is_some_and(|status| {
                    let own =
                        fate.way().is_some_and(|way| (way.code(), way.signal()) == (status.code(), status.signal()));
                    own || status.signal() == Some(libc::SIGKILL)
                }),
                _ => false,
            }
    }

    fn summed(self) -> Tally {
        let mut tally = self.tally;
        tally.closed = self.lines.len() as u64;
        for (item, line) in self.items.iter().zip(&self.lines) {
            if line.ended > 1 {
                tally.doubled += u64::from(line.ended - 1);
                tally.find(format!("{item:?} has ended {} times", line.ended));
            } else if line.is_given_up {
                tally.given_up += 1;
            } else if line.ended == 0 {
                tally.lost += 1;
                tally.find(format!("{item:?} has not ended"));
            }
        }
        tally
    }
}

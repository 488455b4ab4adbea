//! The outcomes of the kills, in numbers.

use std::collections::BTreeMap;
use std::fmt;

/// Counts, and the first things that should not have been.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Machine instructions on the way of the killed process.
    pub instructions: usize,
    /// Places on it at which one was killed or stopped.
    pub points: usize,
    /// The outcomes of the items, and how often each occurred.
    pub outcomes: BTreeMap<&'static str, usize>,
    /// Items without an outcome, messages that did not come.
    pub lost: usize,
    /// Items that never get an outcome.
    pub hangs: usize,
    /// Items that ran twice.
    pub doubled: usize,
    /// Items with a wrong value or error, messages that were not whole.
    pub torn: usize,
    /// The faults, in words, as many as fit.
    pub complaints: Vec<String>,
}

const COMPLAINTS_MAX: usize = 10;

impl Ledger {
    /// Whether all is as it should be.
    pub fn is_clean(&self) -> bool {
        self.lost + self.hangs + self.doubled + self.torn == 0 && self.complaints.is_empty()
    }

    pub(super) fn count(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    pub(super) fn complain(&mut self, place: usize, what: impl fmt::Display) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(format!("after {place} of {} instructions: {what}", self.instructions));
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ledger { instructions, points, outcomes, lost, hangs, doubled, torn, complaints } = self;
        write!(f, "{instructions} instructions, {points} points:")?;
        outcomes.iter().try_for_each(|(outcome, count)| write!(f, " {count} {outcome},"))?;
        write!(f, " lost {lost}, doubled {doubled}, torn {torn}, hangs {hangs}")?;
        complaints.iter().try_for_each(|complaint| write!(f, "\n  {complaint}"))
    }
}

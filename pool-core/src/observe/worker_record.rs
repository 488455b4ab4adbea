//! The counters of one worker, over all processes that it has had.

use std::collections::VecDeque;

use super::exit::Exit;
use crate::units::Nanos;

/// Ends of processes that are remembered.
const EXITS: usize = 8;

#[derive(Clone, Debug, Default)]
pub(super) struct WorkerRecord {
    pub(super) chunks: u64,
    pub(super) items: u64,
    /// The times of processes that are gone.
    past: Times,
    /// When the present process was asked for, and when it was ready; 0 if it has not been.
    asked_at: Nanos,
    ready_at: Nanos,
    /// Time that the present process has spent in its initializer, and in chunks that have ended.
    initializing: Nanos,
    working: Nanos,
    /// The last ends, the oldest first.
    pub(super) exits: VecDeque<Exit>,
    pub(super) exit_count: u64,
}

/// How a worker has spent its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Until it began its initializer.
    pub(super) starting: Nanos,
    pub(super) initializing: Nanos,
    pub(super) working: Nanos,
    pub(super) waiting: Nanos,
}

impl WorkerRecord {
    pub(super) fn launch_asked(&mut self, now: Nanos) {
        self.asked_at = now;
    }

    pub(super) fn asked_at(&self) -> Nanos {
        self.asked_at
    }

    pub(super) fn ready(&mut self, initializing: Nanos, now: Nanos) {
        self.ready_at = now;
        // Measured by the worker, which may lie.
        self.initializing = initializing.min(now.saturating_sub(self.asked_at));
    }

    #[inline]
    pub(super) fn chunk_ended(&mut self, items: u32, elapsed: Nanos) {
        self.chunks += 1;
        self.items += u64::from(items);
        self.working = self.working.saturating_add(elapsed);
    }

    /// `spent` is the time of the chunk that has not ended.
    pub(super) fn exited(&mut self, exit: Exit, spent: Option<Nanos>) {
        // From here on its times grow no more.
        self.past = self.times(exit.at, None, spent);
        // Until the next process is asked for, no time is spent.
        (self.asked_at, self.ready_at, self.initializing, self.working) = (0, 0, 0, 0);
        // A worker that dies again and again must not fill the memory.
        if self.exits.len() == EXITS {
            self.exits.pop_front();
        }
        self.exits.push_back(exit);
        self.exit_count += 1;
    }

    /// All times until `now`, of which the present process has spent so much in the initializer or chunk that it is at.
    pub(super) fn times(&self, now: Nanos, initializing: Option<Nanos>, working: Option<Nanos>) -> Times {
        let mut times = self.past;
        if self.asked_at == 0 {
            return times;
        }
        // A process that is not ready yet has been starting until now.
        let begun = if self.ready_at > 0 { self.ready_at } else { now };
        let until_ready = begun.saturating_sub(self.asked_at);
        let initializing = initializing.unwrap_or(self.initializing).min(until_ready);
        times.starting += until_ready - initializing;
        times.initializing += initializing;
        if self.ready_at > 0 {
            let alive = now.saturating_sub(self.ready_at);
            // A sum of the worker's own times, which may be nonsense: the rest is waiting, and must not become negative.
            let working = self.working.saturating_add(working.unwrap_or(0)).min(alive);
            times.working += working;
            times.waiting += alive - working;
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::death::Death;
    use crate::scheduler::ExitReason;

    #[test]
    fn each_moment_is_spent_once() {
        let mut record = WorkerRecord::default();
        record.launch_asked(100);
        assert_eq!(record.times(150, None, None), Times { starting: 50, ..Times::default() });
        assert_eq!(record.times(150, Some(20), None), Times { starting: 30, initializing: 20, ..Times::default() });
        record.ready(40, 200);
        record.chunk_ended(3, 25);
        let times = record.times(300, None, Some(10));
        assert_eq!(times, Times { starting: 60, initializing: 40, working: 35, waiting: 65 });
        let exit = Exit { incarnation: 0, at: 300, reason: ExitReason::Died, death: Death::default() };
        record.exited(exit, Some(10));
        assert_eq!(record.times(1000, None, None), times, "no process, no time");
        record.launch_asked(1000);
        assert_eq!(record.times(1001, None, None), Times { starting: 61, ..times });
    }

    #[test]
    fn a_worker_that_lies_has_worked_no_longer_than_it_lived() {
        let mut record = WorkerRecord::default();
        record.launch_asked(100);
        record.ready(Nanos::MAX, 200);
        record.chunk_ended(1, Nanos::MAX);
        record.chunk_ended(1, Nanos::MAX);
        let times = record.times(300, None, None);
        assert_eq!(times, Times { starting: 0, initializing: 100, working: 100, waiting: 0 });
    }
}

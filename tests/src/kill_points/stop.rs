//! A worker of a pool, stopped for good on its way through a call that has a time limit.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use pool_core::prelude::*;

use super::job::{DIED, DIED_EARLY, ELSEWHERE, FINISHED, Scenario, Stage, value_of};
use super::ledger::Ledger;
use crate::procs;
use crate::tasks::square;

/// Where on its way the worker is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Right before it claims the call: it is taken from it after the limit and 10 s.
    BeforeClaim,
    /// At so many places from there on.
    Claimed(usize),
}

/// Long enough for the way up to there.
const LIMIT: Duration = Duration::from_millis(300);

/// Stops workers with SIGSTOP and leaves them.
///
/// # Errors
///
/// `EPERM` where processes must not be traced.
pub fn stop_job(workers: usize, when: When) -> nix::Result<Ledger> {
    let mut stage = Stage::new(workers, Scenario::Limited(procs::SOON));
    let path = stage.walk()?;
    let mut ledger = Ledger { instructions: path.len(), ..Ledger::default() };
    let claim = stage.first_charged(&path)?;
    stage.scenario = Scenario::Limited(LIMIT);
    let places = match when {
        When::BeforeClaim => vec![claim - 1],
        When::Claimed(count) => (0..count).map(|at| claim + at * (path.len() - claim) / (count - 1).max(1)).collect(),
    };
    for place in places {
        let (victim, mut tracee) = stage.hold()?;
        let (stopped, outcomes) = stage.run(|is_over| {
            let stopped = tracee.go_to(&path, place, is_over).and_then(|_| tracee.stop());
            if stopped.is_err() {
                // On a busy machine the limit may come first.
                tracee.kill();
            }
            stopped
        });
        assert!(matches!(stopped, Ok(()) | Err(Errno::ESRCH)), "{stopped:?}");
        ledger.points += 1;
        let begun = stage.read_book();
        match &outcomes[..] {
            [Ok(value)] if *value == value_of(0) && begun.len() == 1 => {
                ledger.count(if begun[0].1 == victim { FINISHED } else { ELSEWHERE });
            }
            [Err(error)] if error.kind() == ErrorKind::TaskTimeout && begun.len() <= 1 => {
                ledger.count(if begun.is_empty() { DIED_EARLY } else { DIED });
            }
            _ => {
                ledger.torn += 1;
                ledger.complain(place, format!("begun {begun:?}, outcome {outcomes:?}"));
            }
        }
        // One that had finished has no limit to fear, and is stopped still.
        procs::signal(victim, Signal::SIGCONT);
        assert_eq!(stage.pool.map(square::Task, 0..10).expect("a usable pool").len(), 10);
    }
    Ok(ledger)
}

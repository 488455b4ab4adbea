//! Errors of an item, of a death, and of a pool.

use std::time::Duration;

use pool_ipc::sys::monotonic_ns;

use super::Engine;
use super::room::Amount;
use super::wording::{OVERWRITTEN, ended, exceeded, exceeded_with_grace, say};
use crate::codec::bytes::Bytes;
use crate::error::{Error, ErrorKind};
use crate::lane::messages::Failure;
use crate::process::death::Death;
use crate::scheduler::{FailureCause, JobId, State, WorkerId};
use crate::units::{self, Nanos};

impl Engine {
    pub(super) fn failure(&mut self, worker: WorkerId, job: JobId, item: u64, body: &Bytes) -> Error {
        let (error, rest) = match postcard::take_from_bytes(body) {
            #[cfg(feature = "remote")]
            Ok((Failure::Elsewhere(failure), rest)) => (failure.into_error(), rest),
            Ok((Failure::Panicked(report), rest)) => (Error::panicked(report), rest),
            Ok((failure @ Failure::Decode(_), rest)) => (Error::new(ErrorKind::Decode, say(&failure)), rest),
            Ok((Failure::Array { why, errno }, rest)) => {
                (Error::system(&format!("in the worker: {why}"), std::io::Error::from_raw_os_error(errno)), rest)
            }
            Ok((failure @ Failure::Encode(_), rest)) => (Error::new(ErrorKind::Encode, say(&failure)), rest),
            // Only the body is nonsense, so the item fails and the worker stays; the ring itself was sound.
            Err(_) => (Error::new(ErrorKind::Protocol, "its worker sent an error that cannot be read"), &[][..]),
        };
        // From the worker's memory, so it may be missing or nonsense; the error is worth more than its time.
        let ran = postcard::from_bytes(rest).ok().map(Duration::from_nanos);
        let pid = self.lane(worker).map(|lane| lane.pid);
        // The error itself names the worker on another machine, if one had a part in it.
        let pid = pid.filter(|_| !self.scheduler.is_remote());
        // This attempt has not been counted yet: the scheduler hears of it after the delivery.
        let attempts = self.scheduler.blamed_workers(job, item) + 1;
        self.address(job, item, pid, error.with_attempts(attempts).with_ran(ran))
    }

    /// The error of an item whose result names an array that could not be taken.
    #[cold]
    pub(super) fn array_error(&self, worker: WorkerId, job: JobId, item: u64, error: std::io::Error) -> Error {
        let pid = self.workers[worker].lane.as_ref().map(|lane| lane.pid);
        self.address(job, item, pid, Error::system("an array of the result", error))
    }

    /// The error of an item that has failed by `cause`: by the death of its worker, unless that is not known.
    pub(super) fn item_error(&self, job: JobId, item: u64, cause: FailureCause, death: Option<&Death>) -> Error {
        let mut error = self.cause_error(cause, death);
        if let FailureCause::TimedOut { limit, ran } = cause
            && let grace @ 1.. = self.scheduler.record(job).map_or(0, |record| record.grace)
        {
            error = Error::new(ErrorKind::TaskTimeout, exceeded_with_grace(limit, grace, ran, self.in_process));
        }
        if let Some(death) = death {
            // The death that is being settled has been counted, unless the item may not be tried again.
            error = error.with_attempts(self.scheduler.blamed_workers(job, item).max(1)).with_exit_status(death.status);
        }
        let ran = match cause {
            FailureCause::TimedOut { ran, .. } => Some(ran),
            FailureCause::Died => self.time_spent(job, item, death),
            _ => None,
        };
        self.address(job, item, death.map(|death| death.pid), error.with_ran(ran.map(Duration::from_nanos)))
    }

    /// How long the process had been at the item of the job, if it noted when it began.
    fn time_spent(&self, job: JobId, item: u64, death: Option<&Death>) -> Option<Nanos> {
        let since = self.noted_begin(job, item, death?.since?)?;
        // A start in the future is a lie or a scribble; then there is no time rather than a wrong one.
        monotonic_ns().checked_sub(since)
    }

    /// Adds the task and the item to an error.
    pub(super) fn address(&self, job: JobId, item: u64, pid: Option<u32>, error: Error) -> Error {
        let error = match pid {
            Some(pid) => error.in_worker(pid),
            None => error,
        };
        match self.scheduler.record(job) {
            Some(record) => error.of_task(record.entry.path()).of_item(record.is_map().then_some(item as usize)),
            None => error,
        }
    }

    pub(super) fn cause_error(&self, cause: FailureCause, death: Option<&Death>) -> Error {
        match (cause, death) {
            (FailureCause::Died, Some(death)) => Error::of_death(death, self.memory_limit),
            // A job that is ended as a whole has no single death to tell of.
            (FailureCause::Died, None) => Error::new(ErrorKind::WorkerDied, "its worker died"),
            (FailureCause::TimedOut { limit, ran }, _) => {
                Error::new(ErrorKind::TaskTimeout, exceeded(limit, ran, self.in_process))
            }
            (FailureCause::NotStarted { workers }, _) => {
                let ended = ended(self.in_process);
                let text =
                    format!("{workers} workers in a row did not begin it within its time limit and were {ended}");
                Error::new(ErrorKind::TaskTimeout, text)
            }
            (FailureCause::Protocol, _) => Error::new(ErrorKind::Protocol, format!("its worker {OVERWRITTEN}")),
            (FailureCause::NotRun, Some(death)) => {
                let why = Error::of_death(death, self.memory_limit);
                Error::new(ErrorKind::WorkerDied, format!("its worker ended before it ran this: {why}"))
            }
            (FailureCause::NotRun, None) => {
                Error::new(ErrorKind::WorkerDied, "its worker left, or could not be started, before it ran this")
            }
            (FailureCause::Cancelled, _) => Error::new(ErrorKind::Cancelled, "cancelled"),
            (FailureCause::Terminated, _) => {
                Error::new(ErrorKind::Terminated, "the pool was terminated before it was done")
            }
            (FailureCause::Broken, _) => self.why_broken(),
        }
    }

    /// The error of a pool that could not start its workers.
    pub(crate) fn why_broken(&self) -> Error {
        let why = self.cause.as_ref().map_or_else(|| "workers cannot be started".to_owned(), ToString::to_string);
        let error = Error::new(ErrorKind::Broken, format!("the pool is broken: {why}"));
        match &self.cause {
            // A copy: each of the failed jobs reports the same cause.
            Some(cause) => error.with_source(cause.duplicate()),
            None => error,
        }
    }

    /// The error of a submission for which there is no room.
    #[cold]
    pub(crate) fn why_full(&self) -> Error {
        let Amount { items, bytes } = self.pending();
        let items = if items == 1 { "1 item is".to_owned() } else { format!("{items} items are") };
        let text = format!("{items} pending, with {} of arguments, and there is no room for more", units::size(bytes));
        Error::new(ErrorKind::Full, text)
    }

    /// The error of a submission, if the pool takes none.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match self.scheduler.state() {
            State::Open => Ok(()),
            State::Closed => Err(Error::new(ErrorKind::Closed, "the pool is closed and takes no more jobs")),
            State::Terminated => Err(Error::new(ErrorKind::Closed, "the pool was terminated and takes no more jobs")),
            State::Broken => Err(self.why_broken()),
        }
    }
}

/// The error of an item that was for one worker alone, which could not be started.
pub(super) fn unstarted(why: &str) -> Error {
    Error::new(ErrorKind::WorkerDied, format!("its worker could not be started: {why}"))
}

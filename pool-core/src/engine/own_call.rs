//! A call that a worker makes on its own behalf and not for a job, and how far it is with that.

use std::sync::Arc;

use pool_ipc::Header;

use super::wording::say;
use crate::attachments::Attachments;
use crate::codec::bytes::{Bytes, Cut};
use crate::lane::messages::{Request, RunRequest, request};
use crate::units::Nanos;

/// Such a call, and how to tell whether its reply means success.
#[derive(Debug)]
pub(crate) struct OwnCall {
    /// [`PRELOAD`], [`INITIALIZER`], [`STATE`] or [`FINALIZER`], for errors.
    pub(crate) role: &'static str,
    pub(crate) task: u32,
    pub(crate) name: String,
    pub(crate) args: Cut,
    /// The arrays that the arguments name.
    pub(crate) attachments: Arc<Attachments>,
    /// Nanoseconds that it may take.
    pub(crate) timeout: Option<Nanos>,
    pub(crate) check: fn(&[u8]) -> Result<(), String>,
}

pub(crate) const PRELOAD: &str = "preload";
pub(crate) const INITIALIZER: &str = "initializer";
pub(crate) const STATE: &str = "state";
pub(crate) const FINALIZER: &str = "finalizer";

/// The calls of each worker of a pool.
#[derive(Debug, Default)]
pub(crate) struct OwnCalls {
    /// One after the other, before the first task.
    pub(crate) start: Vec<OwnCall>,
    /// When the worker leaves in peace.
    pub(crate) finalizer: Option<OwnCall>,
}

/// The call that a worker has not answered whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) moment: Moment,
    /// Values that are still to come.
    pub(super) left: u32,
    /// The time that the calls before it took.
    pub(super) elapsed: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The call of this number, or none if the pool has no such calls: then the answer shows that the process is ready.
    Start(usize),
    End,
}

impl Asked {
    /// The worker is not ready for tasks yet.
    pub(super) fn is_start(self) -> bool {
        self.moment != Moment::End
    }

    pub(super) fn seq(self) -> u32 {
        match self.moment {
            Moment::Start(number) => request::init_seq(number),
            Moment::End => request::QUIT_SEQ,
        }
    }
}

impl OwnCall {
    pub(crate) fn request(&self, kind: Request, seq: u32) -> Header {
        let time_limit_ns = self.timeout.unwrap_or(0);
        RunRequest { kind, seq, task: self.task, items: 1, time_limit_ns, flags: 0 }.header()
    }

    pub(crate) fn fault(&self, problem: &str) -> String {
        format!("the {} `{}` {problem}", self.role, self.name)
    }

    /// The outcome by the worker's reply.
    pub(crate) fn outcome(&self, failed: bool, body: &Bytes) -> Result<(), String> {
        let outcome = if failed {
            Err(postcard::from_bytes(body).map_or_else(|_| "failed".into(), |failure| say(&failure)))
        } else {
            (self.check)(body)
        };
        // With the name: a pool may open several states.
        outcome.map_err(|problem| self.fault(&problem))
    }
}

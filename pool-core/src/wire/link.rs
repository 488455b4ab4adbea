//! The way to other machines, which a crate beside this one implements.

use std::fmt;
use std::sync::Arc;

use super::hosts::HostInsights;
use super::messages::{Reply, Request, TaskKey};
use crate::error::Result;
use crate::process::standing;

/// A way to other machines, for [`PoolBuilder::backend`](crate::PoolBuilder::backend).
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Connects. `tasks` are all tasks that the pool may send.
    ///
    /// # Errors
    ///
    /// The other machines cannot be reached, or cannot run these tasks. It is the error of [`build`](crate::PoolBuilder::build).
    fn open(&self, tasks: &[TaskKey]) -> Result<Arc<dyn Link>>;
}

/// An open way to other machines. It is dropped when the pool is over.
pub trait Link: Send + Sync + 'static {
    /// The requests that the other machines can run at once at this moment. The pool asks about once a second, and has as many
    /// requests out, at least one.
    fn capacity(&self) -> usize;

    /// Why items wait, if the other machines cannot run them at this moment: in a few words for people, such as "there is no agent". The
    /// pool asks about once a second, and shows it in [insights](crate::Insights::hindrance) and
    /// [events](crate::Event::Hindered).
    fn hindrance(&self) -> Option<String> {
        None
    }

    /// Has the items run somewhere, and waits for that. Many threads call it at once.
    ///
    /// It returns within about 100 ms after `stop` [is set](Stop::is_set), since the items are cancelled or the pool ends. They
    /// should be stopped where they run; the outcomes do not matter then. Until it returns, a pool that is dropped waits for it.
    ///
    /// # Errors
    ///
    /// One for all items. The kind [`Unreachable`](crate::ErrorKind::Unreachable) is for a link that has failed: the items are
    /// tried again if their task allows [`retries`](crate::Task::retries).
    fn run(&self, request: &Request, stop: &Stop) -> Result<Reply>;

    /// The other machines, as far as they are known, for [`Pool::insights`](crate::Pool::insights). It does not wait for them.
    fn hosts(&self) -> Vec<HostInsights> {
        Vec::new()
    }
}

/// A word by which items are told to end; its clones are the same word.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<standing::Stop>);

impl Stop {
    /// One that is not set.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// The word of a worker that is a thread.
    pub(crate) fn of(word: Arc<standing::Stop>) -> Stop {
        Stop(word)
    }

    /// Tells the items to end.
    pub fn set(&self) {
        self.0.set();
    }

    /// Whether the items are to end.
    pub fn is_set(&self) -> bool {
        !self.0.standing().is_here()
    }
}

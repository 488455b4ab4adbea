//! Forwarding: spans, events and records of logs of this worker, written to a pipe that the host reads.
//!
//! In the thread that runs the tasks, the pool's subscriber is the one that counts from the start, whatever else is installed.
//! Other threads use the global one. That is the pool's, too, unless the worker has one when its initializer is done: of the
//! initializer's, or with `StartMethod::Fork` a copy of the host's.

pub(crate) mod record;

mod bridged;
mod channel;
mod logger;
mod subscriber;

use std::fmt;
use std::os::fd::OwnedFd;

use tracing::dispatcher::{self, Dispatch};

use self::channel::Channel;
use self::logger::Logger;
use self::record::LEVELS;
use self::subscriber::Forwarder;
use crate::process::fork_check::ForkCheck;
use crate::worker::position::Position;

/// Forwarding, as the loop of requests has it.
pub(crate) struct Forwarding {
    channel: &'static Channel,
    /// The subscriber, until it becomes the global one.
    dispatch: Option<Dispatch>,
    /// A subscriber was installed before this process was a worker.
    is_inherited: bool,
}

impl fmt::Debug for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarding").field("level", &self.channel.level).finish_non_exhaustive()
    }
}

impl Forwarding {
    /// Forwards from now on, up to this level.
    pub(super) fn start(pipe: OwnedFd, level: u8, position: &'static Position<'static>, me: ForkCheck) -> Self {
        let level = LEVELS[usize::from(level).min(LEVELS.len() - 1)];
        // Leaked, since `tracing` and `log` keep a subscriber and a logger for ever, too.
        let channel = &*Box::leak(Box::new(Channel::new(pipe, level, position, me)));
        // Asked before there is one of ours: a copy of the host has the host's.
        let is_inherited = dispatcher::has_been_set();
        let dispatch = Dispatch::new(Forwarder(channel));
        // For as long as this process lives.
        std::mem::forget(dispatcher::set_default(&dispatch));
        Forwarding { channel, dispatch: Some(dispatch), is_inherited }
    }

    /// A request begins: for a task, submitted in the span of this number.
    #[inline]
    pub(super) fn begin(&mut self, task: u32, context: u32, is_own_call: bool) {
        self.channel.begin(task, context);
        if !is_own_call && let Some(dispatch) = self.dispatch.take() {
            self.become_global(dispatch);
        }
    }

    /// The initializer is done, and items may come. Not before: an initializer that installs a subscriber or a logger would find
    /// one, and most take that for an error.
    #[cold]
    fn become_global(&self, dispatch: Dispatch) {
        if dispatcher::set_global_default(dispatch).is_err() && !self.is_inherited {
            let message = "an initializer has installed a subscriber: it gets the spans and events of other threads, \
                and those of the thread that runs the tasks are forwarded";
            self.channel.warn(message);
        }
        Logger(self.channel).install(self.channel.level);
    }

    /// The request is done.
    #[inline]
    pub(super) fn end(&self) {
        self.channel.end();
    }
}

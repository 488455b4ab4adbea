//! The pipe to the host, and all that decides the records that are written there.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};

use super::record::{Budget, Callsite, Item, LENGTH_BYTES, Parent, RECORD_BYTES_MAX, Record, level_number};
use crate::process::fork_check::ForkCheck;
use crate::worker::position::Position;

/// Shared by the subscriber and the logger of a worker.
pub(super) struct Channel {
    pipe: OwnedFd,
    pub(super) level: LevelFilter,
    position: &'static Position<'static>,
    /// A copy that a task forks has the pipe, but must not write in this worker's name.
    me: ForkCheck,
    state: Mutex<State>,
    /// The places in the code that the host knows by their numbers.
    known: Mutex<BTreeSet<u64>>,
}

#[derive(Default)]
struct State {
    task: u32,
    context: u32,
    /// Something was sent since the last request.
    has_sent: bool,
    last_span: u64,
    /// The open spans, and how many handles each has.
    spans: BTreeMap<u64, (usize, &'static Metadata<'static>)>,
}

impl Channel {
    pub(super) fn new(pipe: OwnedFd, level: LevelFilter, position: &'static Position<'static>, me: ForkCheck) -> Self {
        Channel { pipe, level, position, me, state: Mutex::default(), known: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn warn(&self, message: &str) {
        let callsite = Callsite {
            is_span: false,
            level: level_number(Level::WARN),
            name: "forwarding".to_owned(),
            target: "pool_core".to_owned(),
            file: None,
            line: None,
            module: None,
            fields: vec!["message".to_owned()],
        };
        self.send(&Record::Log { callsite, parent: Parent::Item(None), message: Budget::new().text(message) });
    }

    /// Records belong to items of this task from now on, submitted in the span of this number.
    #[inline]
    pub(super) fn begin(&self, task: u32, context: u32) {
        let mut state = self.state();
        (state.task, state.context) = (task, context);
    }

    /// The request is done.
    #[inline]
    pub(super) fn end(&self) {
        let has_sent = self.state().has_sent;
        // Only then has the host a span of the item to end.
        if has_sent {
            self.send(&Record::Done);
            self.state().has_sent = false;
        }
    }

    /// The current item as a parent.
    pub(super) fn item(&self) -> Parent {
        // Asked for each record and not kept: the loop over short items notes nothing but a number.
        let running = self.position.running();
        let State { task, context, .. } = *self.state();
        Parent::Item(running.map(|(index, attempt, request, number)| Item {
            task,
            request,
            number,
            index,
            attempt,
            context,
        }))
    }

    /// Tells the host of the place in the code with this number, the first time that it is used.
    pub(super) fn introduce(&self, number: u64, callsite: impl FnOnce() -> Callsite) {
        // First: in a copy of this process another thread may have held the lock for ever.
        if !self.me.is_here() {
            return;
        }
        // Written under the lock, or another thread could use the number before the host knows it.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.insert(number) {
            self.send(&Record::Callsite { id: number, callsite: callsite() });
        }
    }

    /// Writes the record at once, and waits if the pipe is full: the host reads it, whatever its subscriber does.
    pub(super) fn send(&self, record: &Record) {
        if !self.me.is_here() {
            return;
        }
        self.state().has_sent = true;
        // Not under the lock of the state: a full pipe makes this wait, and other threads should not.
        let Ok(bytes) = postcard::to_allocvec(record) else { return };
        let length = (bytes.len() as u16).to_le_bytes();
        let frame = [&length[..], &bytes].concat();
        debug_assert!(frame.len() <= RECORD_BYTES_MAX && length.len() == LENGTH_BYTES);
        // In one piece, or the rest could come behind another thread's record. Without its host the worker ends anyway.
        while frame.len() <= RECORD_BYTES_MAX && nix::unistd::write(&self.pipe, &frame) == Err(Errno::EINTR) {}
    }

    pub(super) fn open_span(&self, metadata: &'static Metadata<'static>) -> u64 {
        let mut state = self.state();
        // From 1, since `tracing` has no span 0; never used again, so a late record cannot mean another span.
        state.last_span += 1;
        let id = state.last_span;
        state.spans.insert(id, (1, metadata));
        id
    }

    pub(super) fn clone_span(&self, id: u64) {
        if let Some((handles, _)) = self.state().spans.get_mut(&id) {
            *handles += 1;
        }
    }

    /// Drops a handle of the span; true if it was the last one.
    pub(super) fn drop_span(&self, id: u64) -> bool {
        let mut state = self.state();
        let Some((handles, _)) = state.spans.get_mut(&id) else { return false };
        *handles -= 1;
        *handles == 0 && state.spans.remove(&id).is_some()
    }

    pub(super) fn metadata(&self, id: u64) -> Option<&'static Metadata<'static>> {
        self.state().spans.get(&id).map(|(_, metadata)| *metadata)
    }
}

//! Submitting: the specification of a job, and the wait for room where the pool bounds the number of pending items.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Thread;
use std::time::Instant;

use super::Host;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::job::batch::CompletionRef;
use crate::job::blocks::Call;
use crate::scheduler::{JobSpec, State};
use crate::task::TaskOptions;
use crate::task::table::Entry;

impl Host {
    /// Notes `count` submissions. A thread that submits again and again must [route](Engine::route) in between.
    #[inline]
    pub(crate) fn note_submissions(&self, count: u32) {
        // Not exact if two do so at once, which is good enough for a hint.
        self.submission_count
            .store(self.submission_count.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The specification of a job by its task's options, and by the pool's where those are not set.
    ///
    /// # Errors
    ///
    /// An option that is out of range.
    #[inline]
    pub(crate) fn spec(&self, entry: &'static Entry, options: TaskOptions) -> Result<JobSpec> {
        self.check_owner()?;
        let options = options.or(self.defaults);
        if options.chunk_size == Some(0) {
            let text = "a chunk size must be at least 1, and is 0";
            return Err(Error::new(ErrorKind::InvalidInput, text).of_task(entry.path()));
        }
        if options.max_concurrent == Some(0) {
            let text = "max_concurrent must be at least 1, and is 0";
            return Err(Error::new(ErrorKind::InvalidInput, text).of_task(entry.path()));
        }
        Ok(JobSpec {
            task: entry.index(),
            timeout: options.timeout_ns().map_err(|error| error.of_task(entry.path()))?,
            retries: options.retries.unwrap_or(0),
            retry_panics: options.retry_panics,
            chunk_size: options.chunk_size.map(|items| u32::try_from(items).unwrap_or(u32::MAX)),
            urgent: false,
            lazy: false,
            bulk: false,
            calls: false,
            priority: options.priority,
            max_concurrent: options.max_concurrent.map(|items| u32::try_from(items).unwrap_or(u32::MAX)),
            label: options.label,
        })
    }

    /// Takes a call when there is room for it.
    ///
    /// # Errors
    ///
    /// Why the pool takes none.
    pub(crate) fn call(self: &Arc<Self>, call: Call, options: TaskOptions, urgent: bool) -> Result<CompletionRef> {
        let spec = JobSpec { urgent, ..self.spec(call.entry, options)? };
        if self.max_pending < u64::MAX {
            return self.call_when_there_is_room(spec, call);
        }
        self.note_submissions(1);
        self.with(|engine| engine.call(self, spec, call))
    }

    #[cold]
    fn call_when_there_is_room(self: &Arc<Self>, spec: JobSpec, call: Call) -> Result<CompletionRef> {
        let takes_none = |engine: &Engine| engine.state() != State::Open;
        let mut call = Some(call);
        loop {
            self.wait_for_room(takes_none);
            self.note_submissions(1);
            let outcome = self.with(|engine| {
                // Under the same lock, or two could take the last place.
                let is_decided = self.room(engine) > 0 || takes_none(engine);
                call.take_if(|_| is_decided).map(|call| engine.call(self, spec, call))
            });
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// How many more items may be pending.
    #[inline]
    pub(crate) fn room(&self, engine: &Engine) -> u64 {
        match self.max_pending {
            u64::MAX => u64::MAX,
            most => most.saturating_sub(engine.unsettled()),
        }
    }

    /// Waits until more items may be pending, or until `is_vain`: there will never be room.
    pub(crate) fn wait_for_room(&self, is_vain: impl Fn(&Engine) -> bool) {
        let has_room = || {
            let engine = self.engine();
            self.room(&engine) > 0 || is_vain(&engine)
        };
        self.wait(None, has_room, |thread| self.register_submitter(thread));
    }

    /// As [`wait`](Host::wait), or until more items may be pending.
    pub(crate) fn wait_or_room(
        &self,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> bool,
        mut register: impl FnMut(Thread),
    ) -> bool {
        let is_ready = || ready() || self.room(&self.engine()) > 0;
        self.wait(deadline, is_ready, |thread| {
            self.register_submitter(thread.clone());
            register(thread);
        })
    }

    /// Has the thread unparked when fewer items are pending. It is registered once, since a wait that runs out leaves it there.
    fn register_submitter(&self, thread: Thread) {
        let mut supervision = self.supervision();
        if supervision.waiting_submitters.iter().all(|other| other.id() != thread.id()) {
            supervision.waiting_submitters.push(thread);
        }
    }
}

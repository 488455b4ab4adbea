//! Submitting: the options of a job, and calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Host;
use super::spec::spec_of;
use super::turn::Turn;
use crate::error::Result;
use crate::job::batch::CompletionRef;
use crate::job::blocks::Call;
use crate::scheduler::JobSpec;
use crate::task::TaskOptions;
use crate::task::table::Entry;

impl Host {
    /// Notes `count` submissions. A thread that submits again and again must [route](crate::engine::Engine::route) in
    /// between: the router stays away meanwhile.
    #[inline]
    pub(crate) fn note_submissions(&self, count: u32) {
        // A load and a store, which may lose a count: good enough for a hint, and cheaper than an atomic addition.
        self.submission_count
            .store(self.submission_count.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// The specification of a job by its task's options, and by the pool's where those are not set.
    ///
    /// # Errors
    ///
    /// An option that is out of range.
    pub(crate) fn spec(&self, entry: &'static Entry, options: &TaskOptions) -> Result<JobSpec> {
        // First: a copy of the host must not touch the engine.
        self.check_owner()?;
        spec_of(entry, options, &self.defaults, &self.states, self.is_remote)
    }

    /// Takes a call when there is room for it.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    pub(crate) fn call(self: &Arc<Self>, call: Call, own: Option<&TaskOptions>, urgent: bool) -> Result<CompletionRef> {
        // Here, too: a specification that is made already asks nobody.
        self.check_owner()?;
        let spec = match own {
            None => self.specs[call.entry.index() as usize],
            Some(_) => None,
        };
        let spec = match spec {
            Some(spec) => spec,
            None => self.spec(call.entry, own.unwrap_or(&call.entry.options))?,
        };
        // A caller that waits at once has no handle to listen with.
        let spec = JobSpec { urgent, reports: spec.reports && !urgent, ..spec };
        if self.is_bounded {
            // Apart, so that a pool without a bound does not pay for the line.
            return self.in_span(spec, |spec| Turn::new(self).call(spec, call));
        }
        self.note_submissions(1);
        self.in_span(spec, |spec| self.with(|engine| engine.call(self, spec, call)))
    }

    /// Has `submit` submit a job in the span of `tracing` that this thread is in.
    ///
    /// # Errors
    ///
    /// Those of `submit`.
    #[inline]
    pub(super) fn in_span<R, E>(
        &self,
        spec: JobSpec,
        submit: impl FnOnce(JobSpec) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        #[cfg(feature = "tracing")]
        if let Some(contexts) = self.contexts.get() {
            // Before the lock, since it asks the subscriber.
            let context = contexts.enter();
            let outcome = submit(JobSpec { context, ..spec });
            // There is no job that would end it.
            if outcome.is_err() {
                contexts.leave(context);
            }
            return outcome;
        }
        submit(spec)
    }

    /// Takes a call if there is room for it now.
    ///
    /// # Errors
    ///
    /// `Full` if there is no room; else the reason why the pool takes none.
    pub(crate) fn try_call(self: &Arc<Self>, call: Call, options: &TaskOptions) -> Result<CompletionRef> {
        let spec = self.spec(call.entry, options)?;
        let (task, mut call) = (call.entry.path(), Some(call));
        self.note_submissions(1);
        self.in_span(spec, |spec| {
            self.with(|engine| {
                // Replies that are there may make room.
                engine.route_news();
                let outcome = engine.call_if_room(self, spec, &mut call, &mut None);
                outcome.unwrap_or_else(|| Err(engine.why_full().of_task(task)))
            })
        })
    }
}

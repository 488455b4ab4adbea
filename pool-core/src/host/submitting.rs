//! Submitting: the options of a job, and calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Host;
use super::turn::Turn;
use crate::error::{Error, ErrorKind, Result};
use crate::job::batch::CompletionRef;
use crate::job::blocks::Call;
use crate::scheduler::JobSpec;
use crate::task::TaskOptions;
use crate::task::table::Entry;
use crate::units::nanos;

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
        self.spec_here(entry, options)
    }

    /// [`spec`](Host::spec), compiled into its caller: on the way of a call each copy of so many fields counts.
    #[inline(always)]
    fn spec_here(&self, entry: &'static Entry, options: &TaskOptions) -> Result<JobSpec> {
        // First: a copy of the host must not touch the engine.
        self.check_owner()?;
        let timeout = options.timeout.or(self.defaults.timeout);
        if options.has_zero() || timeout == Some(Duration::ZERO) {
            return Err(out_of_range(entry, options));
        }
        let most = |items: Option<usize>| items.map(|items| u32::try_from(items).unwrap_or(u32::MAX));
        Ok(JobSpec {
            task: entry.index(),
            timeout: timeout.map(nanos),
            retries: options.retries.or(self.defaults.retries).unwrap_or(0),
            retry_panics: options.retry_panics,
            chunk_size: most(options.chunk_size),
            urgent: false,
            lazy: false,
            bulk: false,
            calls: false,
            priority: options.priority,
            max_concurrent: most(options.max_concurrent),
            label: options.label,
            seed: options.seed.or(self.defaults.seed),
        })
    }

    /// Takes a call when there is room for it.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    pub(crate) fn call(self: &Arc<Self>, call: Call, options: &TaskOptions, urgent: bool) -> Result<CompletionRef> {
        let spec = JobSpec { urgent, ..self.spec_here(call.entry, options)? };
        if self.is_bounded {
            // Apart, so that a pool without a bound does not pay for the line.
            return Turn::new(self).call(spec, call);
        }
        self.note_submissions(1);
        self.with(|engine| engine.call(self, spec, call))
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
        self.with(|engine| {
            // Replies that are there may make room.
            engine.route_news();
            let outcome = engine.call_if_room(self, spec, &mut call, &mut None);
            outcome.unwrap_or_else(|| Err(engine.why_full().of_task(task)))
        })
    }
}

/// The error of an option that is zero.
#[cold]
#[inline(never)]
fn out_of_range(entry: &Entry, options: &TaskOptions) -> Error {
    let text = match () {
        () if options.chunk_size == Some(0) => "a chunk size must be at least 1, and is 0",
        () if options.prefetch == Some(0) => "a lazy map must look ahead at least 1 item, and `prefetch` is 0",
        () if options.max_concurrent == Some(0) => "max_concurrent must be at least 1, and is 0",
        () => "a time limit of zero leaves no time to run",
    };
    Error::new(ErrorKind::InvalidInput, text).of_task(entry.path())
}

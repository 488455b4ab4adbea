//! The specification of a job: its task, and the options of the task, the call and the pool.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::scheduler::JobSpec;
use crate::task::TaskOptions;
use crate::task::state_type::{StateType, lacks, missing};
use crate::task::table::{Entry, TASKS};
use crate::units::nanos;

/// The specifications of all tasks' jobs by the options of their attributes, in the order of the table. A call copies one instead
/// of merging so many options anew. `None` where an option is out of range or a state is missing, which is told when it is
/// called.
pub(super) fn specs(defaults: &TaskOptions, states: &[StateType], is_remote: bool) -> Box<[Option<JobSpec>]> {
    TASKS.iter().map(|entry| spec_of(entry, &entry.options, defaults, states, is_remote).ok()).collect()
}

/// The specification of a job by its task's options, and by the pool's where those are not set.
///
/// # Errors
///
/// An option that is out of range or makes no sense there, or a state that the task takes and that is not among `states`.
pub(super) fn spec_of(
    entry: &'static Entry,
    options: &TaskOptions,
    defaults: &TaskOptions,
    states: &[StateType],
    is_remote: bool,
) -> Result<JobSpec> {
    // Said here and not in the worker, where the state would be missed in the middle of a job.
    if let Some(missing) = missing(entry.states(), states) {
        return Err(Error::new(ErrorKind::InvalidInput, lacks(missing)).of_task(entry.path()));
    }
    if is_remote && (options.reports || options.once) {
        return Err(stays_here(entry, options));
    }
    let timeout = options.timeout.or(defaults.timeout);
    if options.has_zero() || timeout == Some(Duration::ZERO) {
        return Err(out_of_range(entry, options));
    }
    let grace = options.grace.map_or(0, nanos);
    let most = |items: Option<usize>| items.map(|items| u32::try_from(items).unwrap_or(u32::MAX));
    Ok(JobSpec {
        task: entry.index(),
        // The limit that kills. The grace is the last part of it.
        timeout: timeout.map(|limit| nanos(limit).saturating_add(grace)),
        grace,
        retries: options.retries.or(defaults.retries).unwrap_or(0),
        retry_panics: options.retry_panics,
        chunk_size: most(options.chunk_size),
        urgent: false,
        lazy: false,
        bulk: false,
        calls: false,
        priority: options.priority,
        max_concurrent: most(options.max_concurrent),
        reports: options.reports,
        label: options.label,
        seed: options.seed.or(defaults.seed),
        #[cfg(feature = "tracing")]
        context: 0,
        once: options.once,
        pinned: false,
    })
}

/// The error of an option that other machines cannot follow.
#[cold]
#[inline(never)]
fn stays_here(entry: &Entry, options: &TaskOptions) -> Error {
    let text = match options.reports {
        true => "its reports do not come from another machine: submit it without `reports`",
        false => "it writes parts of an array, which stays on this machine",
    };
    Error::new(ErrorKind::Unsupported, text).of_task(entry.path())
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

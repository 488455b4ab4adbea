//! Items that send their values one by one, and the reports that they send before that.
//!
//! A report is written directly into the next record of the reply ring. For that the function of the task must reach the ring,
//! which the loop over the items holds; so while an item runs, a place of its thread points to the parts that a report needs.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr::{self, NonNull};

use nix::errno::Errno;
use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Backoff, Flow, Header};
use serde::Serialize;

use crate::attachments::Attachments;
use crate::attachments::scope::Side;
use crate::codec::CodecError;
use crate::codec::compact;
use crate::codec::encoder::Encoder;
use crate::codec::type_identity;
use crate::lane::messages::{ItemTimes, ReportType};
use crate::process::memory_limit::has_memory_limit;
use crate::process::signals;
use crate::worker::chunk::{Chunk, Link, MARGIN_BYTES, stamp};
use crate::worker::reporting::Reporting;
use crate::worker::run::{ItemOutcome, OneInput};

/// The parts of a chunk that a report needs.
struct Reporter<'c, 'w> {
    link: &'c mut Link<'w>,
    seq: u32,
    reporting: &'c mut Reporting,
}

thread_local! {
    /// When this thread last notified the host of a report.
    static NOTIFIED_NS: Cell<u64> = const { Cell::new(0) };
    /// The reporter of the item that this thread runs, or null.
    static CURRENT: Cell<*mut Reporter<'static, 'static>> = const { Cell::new(ptr::null_mut()) };
}

/// Sends a value to the listener of the item that runs ([`AsyncResult::on_report`](crate::AsyncResult::on_report),
/// [`Imap::on_report`](crate::Imap::on_report)). True if it was sent; false if nobody listens.
///
/// Nobody listens unless the task was submitted with [`reports`](crate::Task::reports), in threads other than the one that
/// runs the task, outside of a worker, in a process that the task has forked, when the handle was dropped, and after the job was
/// cancelled. A task can report at no cost worth a question then.
///
/// A report is there as soon as this returns: should the task crash the next moment, the listener hears it. If the listener
/// is slow, about 1 MiB of reports waits for it, and then this waits; that time counts against the task's
/// [limit](crate::Task::timeout). A value that cannot be encoded is an error for the listener.
///
/// Values travel in the default format (see [Values](crate#values)), and `str` is reported as the listener's `String`.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
/// use std::sync::mpsc;
///
/// #[pool_task]
/// fn sum(up_to: u64) -> u64 {
///     (1..=up_to).inspect(|done| { pool_core::report(done); }).sum()
/// }
///
/// # fn main() -> pool_core::Result<()> {
/// assert_eq!(sum(3), 6, "an ordinary call reports to nobody");
/// let pool = Pool::new(1)?;
/// let (sender, receiver) = mpsc::channel();
/// let job = pool.apply_async(sum::Task.reports(), 3)?.on_report(move |report| sender.send(report.value).unwrap());
/// assert_eq!(job.get()?, 6);
/// // It ends when the listener is dropped, which is after the last report.
/// assert_eq!(receiver.iter().collect::<Result<Vec<u64>, _>>()?, [1, 2, 3]);
/// # Ok(()) }
/// ```
pub fn report<T: Serialize + ?Sized>(value: &T) -> bool {
    send_report(type_number::<T>(), &mut |out| compact::write(value, out))
}

/// The number of a type of reports. Text is the same, lent or owned.
pub(crate) fn type_number<T: ?Sized>() -> ReportType {
    let identity = type_identity::of::<T>();
    // `&str` is convenient to report, and nobody can listen for it: a listener needs a type that it can own.
    let is_text = identity == type_identity::of::<str>() || identity == type_identity::of::<&str>();
    ReportType(type_identity::number(if is_text { type_identity::of::<String>() } else { identity }))
}

fn send_report(of: ReportType, encode: &mut dyn FnMut(&mut Encoder<'_>) -> Result<(), CodecError>) -> bool {
    let Some(mut taken) = Taken::take() else { return false };
    let Reporter { link, seq, reporting } = taken.reporter();
    if !link.me.is_here() || !may_report(link, *seq) {
        return false;
    }
    // Where the ring ends, a record may begin at its start again; only then is the spare room that of a whole record.
    while link.replies.room(MARGIN_BYTES).is_none() {
        if !link.wait_room(MARGIN_BYTES) {
            return false;
        }
    }
    // Directly into the ring: most reports are small, and fit there.
    let mut no_arrays = Attachments::new();
    let mut out = Encoder::new(link.replies.spare(0)).naming_alone(&mut no_arrays, Side::Report);
    let encoded = encode(&mut out).map(|()| out.finish());
    // The value's own code may have taken long.
    if !may_report(link, *seq) {
        return false;
    }
    match encoded {
        // It stands in the ring already.
        Ok(Ok(bytes)) => _ = link.replies.publish(&of.header(*seq), bytes),
        Ok(Err(bytes)) => send(link, of.header(*seq), &bytes),
        // An error must not pass in silence, and the task cannot do anything about it.
        Err(error) => send(link, ReportType::UNENCODABLE.header(*seq), error.to_string().as_bytes()),
    }
    **reporting = Reporting::Used;
    notify_sometimes(link);
    true
}

/// Notifies the host, but not again within [`NOTIFY_PAUSE_NS`]: among many reports, that would take most of their time. The host
/// looks by itself from time to time while items run that may report.
fn notify_sometimes(link: &Link<'_>) {
    // The clock takes a fifth of the time of a notification, which must wait until the report has left this CPU.
    let now = monotonic_ns();
    if now.wrapping_sub(NOTIFIED_NS.get()) >= NOTIFY_PAUSE_NS {
        NOTIFIED_NS.set(now);
        link.hub.notify();
    }
}

/// The time within which the host is not notified of a second report.
const NOTIFY_PAUSE_NS: u64 = 100_000;

/// Waits as long as reports are to be held back. False if nobody listens.
fn may_report(link: &mut Link<'_>, seq: u32) -> bool {
    let Link { bell, orders, me, .. } = link;
    loop {
        match orders.flow(seq) {
            _ if !me.is_here() => return false,
            Flow::Go => return true,
            Flow::Drop => return false,
            Flow::Hold => bell.wait_until(Backoff::default(), || orders.flow(seq) != Flow::Hold || !me.is_here()),
        }
    }
}

/// Sends a report in as many records as it takes.
fn send(link: &mut Link<'_>, header: Header, bytes: &[u8]) {
    // The host reserves memory by the announced length.
    let header = Header { info: bytes.len() as u64, ..header };
    let mut sent = 0;
    loop {
        let step = link.replies.send(&header, bytes, sent);
        if step.done {
            return;
        }
        // The host takes a long report piece by piece, and each makes room for the next.
        sent = step.sent;
        if !link.wait_room(link.replies.step(bytes.len() - sent)) {
            return;
        }
    }
}

/// The reporter, taken from its place while it is used: a value that reports while it is encoded finds none.
struct Taken(NonNull<Reporter<'static, 'static>>);

impl Taken {
    fn take() -> Option<Taken> {
        NonNull::new(CURRENT.replace(ptr::null_mut())).map(Taken)
    }

    fn reporter(&mut self) -> &mut Reporter<'static, 'static> {
        // SAFETY:
        // - the place holds a pointer only while the reporter lives and nothing else uses it: see `Reporter::run`;
        // - it was taken from there, so there is one `Taken` at a time, which this borrows;
        // - the lifetimes do not leave this file, and all uses end before `Reporter::run` returns.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        CURRENT.set(self.0.as_ptr());
    }
}

impl Reporter<'_, '_> {
    /// Runs `body`, in which [`report`] reaches this reporter.
    fn run<R>(&mut self, body: impl FnOnce() -> R) -> R {
        struct Clear;
        impl Drop for Clear {
            fn drop(&mut self) {
                CURRENT.set(ptr::null_mut());
            }
        }
        // Also when the task panics.
        let _clear = Clear;
        // The lifetimes are left out: the pointer is gone before they end, also when `body` unwinds.
        CURRENT.set(ptr::from_mut(self).cast());
        body()
    }
}

impl Chunk<'_> {
    /// Runs the next item and returns its outcome, which is to be sent alone: times or reports belong to it.
    pub(super) fn run_alone(
        &mut self,
        args_size: Option<usize>,
        run: fn(OneInput<'_>, &mut dyn FnMut(bool)) -> ItemOutcome,
    ) -> Option<ItemOutcome> {
        let Chunk { link, input, raw, next, limit_ns, times, seq, reporting, errs, .. } = self;
        let (progress, me) = (link.progress, link.me);
        stamp(progress, link.position, *limit_ns);
        if let Some(times) = times {
            *times = ItemTimes { begun_ns: monotonic_ns(), ran_ns: 0 };
            // The host reads it should the item cost the worker.
            progress.stamp(times.begun_ns);
        }
        progress.begin_item(*next, link.replies.unpublished_end(0));
        if has_memory_limit() {
            // Should the item die, this tells whether memory was refused to it; a refusal to an earlier item must not count.
            Errno::clear();
        }
        let input = match raw.take() {
            Some(bytes) => OneInput::Raw(bytes),
            None => OneInput::Framed(input.item(args_size)),
        };
        let mut has_run = |is_err| {
            if let Some(times) = times {
                times.ran_ns = monotonic_ns().saturating_sub(times.begun_ns).max(1);
            }
            if !me.is_here() {
                // A process that the task forked must not answer in the worker's place.
                signals::exit_copy();
            }
            *errs += u32::from(is_err);
        };
        // Timed items may well be unable to report, and pay nothing for it.
        let outcome = if *reporting == Reporting::Off {
            run(input, &mut has_run)
        } else {
            Reporter { link, seq: *seq, reporting }.run(|| run(input, &mut has_run))
        };
        Some(if me.is_here() { outcome } else { ItemOutcome::stopped() })
    }

    /// Waits until the host has taken all reports and does not want them held back: beyond this request there is nothing that
    /// would bound them. False if the request is given up.
    #[cold]
    pub(super) fn wait_heard(&mut self) -> bool {
        let Link { replies, bell, hub, orders, me, .. } = &mut self.link;
        // Some of the reports may have been sent without a notification.
        hub.notify();
        bell.wait_until(Backoff::default(), || match orders.flow(self.seq) {
            _ if !me.is_here() => true,
            Flow::Drop => true,
            // All released first: only then is the order known that came before the release.
            _ => replies.backlog() == 0 && orders.flow(self.seq) != Flow::Hold,
        });
        me.is_here()
    }
}

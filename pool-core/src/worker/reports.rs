//! Reports of the item that runs.
//!
//! A report is written directly into the next record of the reply ring. For that the function of the task must reach the ring,
//! which the loop over the items holds; so while an item runs, a place of its thread points to the parts that a report needs.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem;
use std::ptr::{self, NonNull};

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Backoff, Flow, Header, MORE, Order, Producer, own_lines};
use serde::Serialize;

use crate::attachments::Attachments;
use crate::attachments::scope::Side;
use crate::codec::CodecError;
use crate::codec::compact;
use crate::codec::encoder::{Encoder, Spill};
use crate::codec::number::{self, NUMBER_BYTES_MAX};
use crate::codec::type_identity;
use crate::lane::messages::{ReplyKind, ReportType};
use crate::worker::chunk::{Chunk, Link, MARGIN_BYTES, PUBLISH_BYTES};
use crate::worker::number_run::NumberRun;
use crate::worker::reporting::Reporting;
use crate::worker::run::OWNED_BYTES;

/// The parts of a chunk that a report needs, and the record of reports under construction.
pub(super) struct Reporter<'c, 'w> {
    link: &'c mut Link<'w>,
    seq: u32,
    item: u32,
    reporting: &'c mut Reporting,
    /// Bytes of the record.
    bytes: &'c mut usize,
    /// The type of the reports in it, unless it is empty.
    of: Option<ReportType>,
    /// The place for further numbers in it.
    numbers: NumberRun<'w>,
    /// The record is looked at once it has so many bytes: it may have to be published.
    look_at: usize,
    /// The latest order that the item has found, if it was to go on.
    order: Option<Order>,
    /// A report can name none, so this stays empty.
    no_arrays: Attachments,
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
/// A report is there as soon as this returns: should the task crash the next moment, the listener hears it. One that comes alone
/// is heard at once. Of many in a row most travel together, and each is heard within about 10 ms, also if the task falls silent
/// after it.
///
/// If the listener is slow, about 1 MiB of reports waits for it, and then this waits; that time counts against the task's
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
    let of = type_number::<T>();
    match number::to_bytes(value) {
        Some(number) => send_number(of, u128::from_le_bytes(number)),
        None => send_report(of, &mut |out| compact::write(value, out)),
    }
}

/// The number of a type of reports. Text is the same, lent or owned.
pub(crate) fn type_number<T: ?Sized>() -> ReportType {
    let identity = type_identity::of::<T>();
    // `&str` is convenient to report, and nobody can listen for it: a listener needs a type that it can own.
    let is_text = identity == type_identity::of::<str>() || identity == type_identity::of::<&str>();
    let identity = if is_text { type_identity::of::<String>() } else { identity };
    ReportType::new(type_identity::number(identity), number::size::<T>())
}

// By value: the bytes stay in registers.
fn send_number(of: ReportType, number: u128) -> bool {
    let Some(mut taken) = Taken::take() else { return false };
    let reporter = taken.reporter();
    reporter.may_report() && (reporter.push_number(of, number) || reporter.append_number(of, number))
}

fn send_report(of: ReportType, encode: &mut dyn FnMut(&mut Encoder<'_>) -> Result<(), CodecError>) -> bool {
    let Some(mut taken) = Taken::take() else { return false };
    let reporter = taken.reporter();
    reporter.may_report() && reporter.append(of, encode)
}

impl Reporter<'_, '_> {
    /// Waits as long as reports are to be held back. False if nobody listens.
    #[inline]
    fn may_report(&mut self) -> bool {
        // Asked first: a process that the task has forked does not even have the host's page.
        if !self.link.me.is_here() {
            return false;
        }
        let order = self.link.orders.order();
        self.order == Some(order) || self.follow(order)
    }

    /// Follows a new order.
    #[cold]
    fn follow(&mut self, mut order: Order) -> bool {
        let Link { bell, orders, me, .. } = &mut *self.link;
        if order.flow(self.seq) == Flow::Hold {
            bell.wait_until(Backoff::default(), || {
                order = orders.order();
                order.flow(self.seq) != Flow::Hold || !me.is_here()
            });
        }
        let goes_on = order.flow(self.seq) == Flow::Go && me.is_here();
        self.order = goes_on.then_some(order);
        // The host has taken the reports before and may sleep, so the next one does not wait for others.
        (self.look_at, self.numbers) = (0, NumberRun::NONE);
        *self.reporting = Reporting::Used;
        goes_on
    }

    /// Begins a record of reports of this type, if the last one was of another.
    #[inline]
    fn begin(&mut self, of: ReportType) {
        if self.of != Some(of) {
            self.begin_anew(of);
        }
    }

    #[cold]
    fn begin_anew(&mut self, of: ReportType) {
        self.publish();
        if let Some(room) = self.link.replies.known_spare().get_mut(..ReportType::BYTES) {
            room.copy_from_slice(&of.to_bytes());
            *self.bytes = ReportType::BYTES;
            self.of = Some(of);
        }
    }

    /// Writes a number behind others of its type. False if there is no room that is known.
    #[inline]
    fn push_number(&mut self, of: ReportType, number: u128) -> bool {
        if !self.numbers.takes(of) {
            return false;
        }
        *self.bytes += of.size().unwrap_or_default();
        // SAFETY:
        // - there is room, as has just been asked;
        // - all other uses of the ring end the run, and none is made outside of this file while an item runs that may report.
        if unsafe { self.numbers.push(number) } {
            self.look();
        }
        true
    }

    /// Writes a number behind the other reports.
    #[cold]
    fn append_number(&mut self, of: ReportType, number: u128) -> bool {
        self.begin(of);
        let (from, size) = (*self.bytes, of.size().unwrap_or_default());
        let room = self.link.replies.known_spare().get_mut(from..from + NUMBER_BYTES_MAX);
        let (Some(room), true) = (room, self.of.is_some()) else {
            return self.send_alone(of, Ok(Some(Spill::Heap(number.to_le_bytes()[..size].to_vec()))));
        };
        // All bytes, as that is one instruction; those behind the number are overwritten by the next one.
        room.copy_from_slice(&number.to_le_bytes());
        self.has_written(size);
        let Link { replies, progress, .. } = &mut *self.link;
        self.numbers = match self.of {
            Some(of) => NumberRun::begin(of, replies, progress, self.item, *self.bytes, self.look_at),
            None => NumberRun::NONE,
        };
        true
    }

    /// Writes a report behind the others, directly into the ring: most are small, and fit there.
    #[inline]
    fn append(&mut self, of: ReportType, encode: &mut dyn FnMut(&mut Encoder<'_>) -> Result<(), CodecError>) -> bool {
        self.begin(of);
        // Without room for the type there is none for a report.
        let from = if self.of.is_some() { *self.bytes } else { usize::MAX };
        let room = self.link.replies.known_spare().get_mut(from..).unwrap_or_default();
        let mut out = Encoder::new(room).naming_alone(&mut self.no_arrays, Side::Report);
        let written = out.item(None, encode);
        let used = out.used();
        // Nothing is left in it: a report that does not fit has been taken out. Its destructor would ask for that each time.
        mem::forget(out);
        // The value's own code may have taken long, or forked.
        if !self.link.me.is_here() {
            return false;
        }
        match written {
            Ok(None) => {}
            other => return self.send_alone(of, other),
        }
        self.has_written(used);
        true
    }

    /// So many bytes have been appended.
    #[inline]
    fn has_written(&mut self, bytes: usize) {
        *self.bytes += bytes;
        self.mark();
        if *self.bytes >= self.look_at {
            self.look();
        }
    }

    /// Lets the host find the reports that are written.
    #[inline]
    fn mark(&self) {
        self.link.progress.begin_item(self.item, self.link.replies.unpublished_end(*self.bytes));
    }

    /// Publishes the reports if they are many enough, or if the host is to be notified. The clock and the notification would take
    /// most of the time of a report, so they are rare: the host looks by itself from time to time while items run that may report.
    #[cold]
    fn look(&mut self) {
        self.numbers = NumberRun::NONE;
        let now = monotonic_ns();
        let is_due = now.wrapping_sub(NOTIFIED_NS.get()) >= NOTIFY_PAUSE_NS;
        // Again when there are twice as many, so that few reports do not wait long for the end of the pause.
        let pause_bytes = if is_due { LOOK_BYTES_MAX } else { LOOK_BYTES_MAX.min(*self.bytes) };
        if is_due || *self.bytes >= PUBLISH_BYTES {
            self.publish();
        }
        if is_due {
            NOTIFIED_NS.set(now);
            self.link.hub.notify();
        }
        self.look_at = *self.bytes + pause_bytes;
        // The host has read these cache lines last. Taken over one by one, they would take most of the time.
        let room = self.link.replies.spare(self.look_at + MARGIN_BYTES);
        own_lines(room.get_mut(*self.bytes..self.look_at).unwrap_or_default());
    }

    fn publish(&mut self) {
        publish(self.link.replies, self.seq, self.bytes);
        (self.of, self.numbers) = (None, NumberRun::NONE);
        // At once: the old place could be taken for one in a later record when the ring has gone round.
        self.mark();
    }

    /// Sends a report that does not fit behind the others, or an error in place of one that cannot be encoded: it must not pass
    /// in silence, and the task cannot do anything about it.
    #[cold]
    fn send_alone(&mut self, mut of: ReportType, written: Result<Option<Spill>, CodecError>) -> bool {
        self.publish();
        let report = written.or_else(|error| {
            of = ReportType::UNENCODABLE;
            Encoder::to_vec(Vec::new()).item(None, |out| {
                out.put(error.to_string().as_bytes());
                Ok(())
            })
        });
        let report = report.ok().flatten().map(Spill::into_vec).unwrap_or_default();
        let is_sent = self.send(of, &report);
        self.mark();
        self.look();
        is_sent
    }

    /// Sends a report in as many records as it takes. False if there is no room any more.
    fn send(&mut self, of: ReportType, bytes: &[u8]) -> bool {
        // The host reserves memory by the announced length.
        let header = Header { info: (ReportType::BYTES + bytes.len()) as u64, ..header(self.seq) };
        // The type goes ahead in a record of its own: a large report would have to be moved to stand behind it.
        while !self.link.replies.fits(ReportType::BYTES) {
            if !self.link.wait_room(ReportType::BYTES) {
                return false;
            }
        }
        self.link.replies.spare(ReportType::BYTES)[..ReportType::BYTES].copy_from_slice(&of.to_bytes());
        self.link.replies.publish(&Header { flags: header.flags | MORE, ..header }, ReportType::BYTES);
        let mut sent = 0;
        loop {
            let step = self.link.replies.send(&header, bytes, sent);
            if step.done {
                return true;
            }
            // The host takes a long report piece by piece, and each makes room for the next.
            sent = step.sent;
            if !self.link.wait_room(self.link.replies.step(bytes.len() - sent)) {
                return false;
            }
        }
    }
}

/// Publishes the record of reports under construction, if it is not empty.
fn publish(replies: &mut Producer, seq: u32, bytes: &mut usize) {
    // A type alone says nothing.
    if *bytes > ReportType::BYTES {
        replies.publish(&header(seq), *bytes);
    }
    *bytes = 0;
}

fn header(seq: u32) -> Header {
    Header { kind: ReplyKind::Report.kind(), seq, ..Header::default() }
}

/// The time within which the host is not notified of a second report.
const NOTIFY_PAUSE_NS: u64 = 100_000;
/// Bytes of reports between two looks at the clock.
const LOOK_BYTES_MAX: usize = OWNED_BYTES;

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

impl<'c, 'w> Reporter<'c, 'w> {
    /// For an item of which nothing has been reported.
    pub(super) fn new(
        link: &'c mut Link<'w>,
        seq: u32,
        item: u32,
        reporting: &'c mut Reporting,
        bytes: &'c mut usize,
    ) -> Self {
        let (numbers, no_arrays) = (NumberRun::NONE, Attachments::new());
        Reporter { link, seq, item, reporting, bytes, of: None, numbers, look_at: 0, order: None, no_arrays }
    }

    /// Runs `body`, in which [`report`] reaches this reporter.
    pub(super) fn run<R>(&mut self, body: impl FnOnce() -> R) -> R {
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
    /// Publishes the reports of an item that has ended, before its outcome.
    pub(super) fn publish_reports(&mut self) {
        if self.reporting != Reporting::Off {
            publish(self.link.replies, self.seq, &mut self.unpublished_bytes);
        }
    }

    /// Waits until the host has taken all reports and does not want them held back: beyond this request there is nothing that
    /// would bound them. False if the request is given up.
    #[cold]
    pub(super) fn wait_heard(&mut self) -> bool {
        let Link { replies, bell, hub, orders, me, .. } = &mut self.link;
        // Some of the reports may have been sent without a notification.
        hub.notify();
        let flow = || orders.order().flow(self.seq);
        bell.wait_until(Backoff::default(), || match flow() {
            _ if !me.is_here() => true,
            Flow::Drop => true,
            // All released first: only then is the order known that came before the release.
            _ => replies.backlog() == 0 && flow() != Flow::Hold,
        });
        me.is_here()
    }
}

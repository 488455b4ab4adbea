//! The request that a worker is at: which of its items it has claimed, and the answers on their way to the host.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Backoff, Consumer, Header, HubWorker, Producer, ProgressWriter, Record, WorkerBell};

use crate::codec::decoder::Decoder;
use crate::lane::RECORD_BYTES;
use crate::lane::messages::{Failure, reply, request};
use crate::process::fork_check::ForkCheck;
use crate::process::output::flush;
use crate::process::panic;
use crate::process::signals;

/// What a chunk needs of its worker.
pub(crate) struct Link<'w> {
    pub(crate) requests: &'w Consumer,
    pub(crate) replies: &'w mut Producer,
    pub(crate) progress: &'w ProgressWriter,
    pub(crate) bell: &'w mut WorkerBell,
    pub(crate) hub: &'w HubWorker,
    /// This process, and not one that a task forked.
    pub(crate) me: ForkCheck,
}

/// The arguments of a call.
pub(crate) enum Input<'w> {
    /// Of its items, one behind the other.
    Framed(&'w [u8]),
    /// The only one of the only item.
    Raw(Vec<u8>),
}

/// The items of a call that is being answered.
pub struct Chunk<'w> {
    pub(super) link: Link<'w>,
    /// Where the host may lower the limit, unless the call came in several records.
    record: Option<Record>,
    seq: u32,
    items: u32,
    /// The item that is run.
    pub(super) next: u32,
    /// Items that the host cannot take back any more.
    pub(super) claimed: u32,
    pub(super) input: Decoder<'w>,
    /// The only argument of the only item, if it travelled whole.
    pub(super) raw: Option<Vec<u8>>,
    /// Values in the record under construction.
    pub(super) unpublished_items: u32,
    pub(super) unpublished_bytes: usize,
    /// Nanoseconds that each item may take, or 0.
    pub(super) limit: u64,
    /// The call's flags.
    flags: u16,
    begun: u64,
}

impl std::fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk").field("seq", &self.seq).field("items", &self.items).finish_non_exhaustive()
    }
}

/// Values are published at the latest when they come to so many bytes, so that the host can take them in meanwhile.
pub(super) const PIECE: usize = RECORD_BYTES;

/// Notes, if there is a limit, when the next item begins and when it must be through: before the item itself, so that the
/// host, if it finds the item, does not find an older one's time.
#[inline]
pub(super) fn stamp(progress: &ProgressWriter, limit: u64) {
    if limit > 0 {
        let now = monotonic_ns();
        progress.stamp(now);
        DEADLINE.store(now.saturating_add(limit), Ordering::Relaxed);
    }
}

/// See [`deadline`].
static DEADLINE: AtomicU64 = AtomicU64::new(0);

/// When the current item will be killed, on the monotonic clock; 0 if never.
pub(crate) fn deadline() -> u64 {
    DEADLINE.load(Ordering::Relaxed)
}

impl<'w> Chunk<'w> {
    #[inline]
    pub(crate) fn new(link: Link<'w>, record: Option<Record>, header: &Header, input: Input<'w>) -> Self {
        let (bytes, raw) = match input {
            Input::Framed(bytes) => (bytes, None),
            Input::Raw(bytes) => (&[][..], Some(bytes)),
        };
        Chunk {
            link,
            record,
            seq: header.seq,
            items: header.count.min(header.limit),
            next: 0,
            claimed: 0,
            input: Decoder::new(bytes),
            raw,
            unpublished_items: 0,
            unpublished_bytes: 0,
            limit: header.info,
            flags: header.flags,
            begun: monotonic_ns(),
        }
    }

    /// Runs the items with `run`, the task's [`run_chunk`](super::run::run_chunk).
    #[inline]
    pub(crate) fn run(&mut self, run: fn(&mut Chunk<'_>)) {
        // What was noted about the chunk before must not be taken for this one's.
        DEADLINE.store(0, Ordering::Relaxed);
        self.note_item();
        run(self);
    }

    /// Says that the call is answered, with further flags.
    #[inline]
    pub(crate) fn end(mut self, now: u64, flags: u16) {
        self.publish(reply::LAST | flags, now - self.begun);
    }

    /// Makes some more items this worker's for good; false if there are none, or none are left to it.
    ///
    /// A block is a sixteenth of the chunk, and the first ones are smaller: what stands behind a slow item in its block
    /// has to wait for it.
    #[inline]
    pub(super) fn claim(&mut self) -> bool {
        if self.next < self.claimed {
            return true;
        }
        let block = self.claimed.min(self.items / 16).max(1);
        let claimed = self.items.min(self.claimed + block);
        if claimed == self.claimed {
            return false;
        }
        self.link.progress.claim(self.seq, claimed);
        if let Some(record) = &self.record {
            self.items = self.items.min(self.link.requests.limit(record));
        }
        self.claimed = claimed.min(self.items);
        self.next < self.claimed
    }

    /// Tells the host, should it ask: all values before this item's end where the draft ends.
    #[inline]
    fn note_item(&self) {
        stamp(self.link.progress, self.limit);
        self.link.progress.begin_item(self.next, self.link.replies.unpublished_end(self.unpublished_bytes));
    }

    /// Sees to it that the next value can be unpublished_items.
    #[inline]
    pub(super) fn make_room(&mut self) {
        if self.unpublished_bytes >= PIECE || self.unpublished_items > 0 && self.flags & request::SINGLY != 0 {
            self.publish(0, 0);
        }
        while self.link.replies.room(self.unpublished_bytes + MARGIN).is_none() {
            self.wait_room(MARGIN);
        }
    }

    /// A value that does not fit beside the draft.
    #[cold]
    pub(super) fn put_long(&mut self, bytes: &[u8], flags: u16) {
        self.publish_values();
        self.send(reply::VALUES, flags, bytes);
    }

    /// The item ended in a panic with this payload.
    #[cold]
    pub(super) fn fail_panicked(&mut self, payload: Box<dyn Any + Send>) {
        // Drops the payload, which is the last that the user's code does: its time counts, and what follows does not.
        let caught = panic::caught(payload, self.begun);
        if !self.link.me.is_here() {
            signals::exit_now(0);
        }
        if self.limit > 0 {
            // The report has a clock of its own, since a worker may be stopped here, too, and must be found out.
            self.link.progress.stamp(monotonic_ns() + REPORT_NS);
        }
        self.link.progress.clear_last_words();
        self.fail(&Failure::Panicked(caught.into_report()));
    }

    /// The item has no value.
    #[cold]
    pub(super) fn fail(&mut self, failure: &Failure) {
        if !self.link.me.is_here() {
            signals::exit_now(0);
        }
        self.publish_values();
        let ran = self.item_begun().map(|begun| monotonic_ns().saturating_sub(begun));
        let bytes = match ran {
            Some(ran) => postcard::to_allocvec(&(failure, ran)),
            None => postcard::to_allocvec(failure),
        };
        let bytes = bytes.unwrap_or_default();
        self.send(reply::FAILED, 0, &bytes);
    }

    /// When the item that is run has begun, if that is known.
    fn item_begun(&self) -> Option<u64> {
        match self.limit {
            0 => (self.next == 0).then_some(self.begun),
            // One that the clock cannot hold says nothing.
            limit => Some(deadline()).filter(|at| *at < u64::MAX)?.checked_sub(limit),
        }
    }

    #[inline]
    fn publish_values(&mut self) {
        if self.unpublished_items > 0 {
            self.publish(0, 0);
        }
    }

    /// Makes the unpublished_items values visible to the host.
    #[inline]
    fn publish(&mut self, flags: u16, info: u64) {
        while self.link.replies.room(0).is_none() {
            self.wait_room(MARGIN);
        }
        let (seq, count) = (self.seq, self.unpublished_items);
        let header = Header { kind: reply::VALUES, flags, seq, count, info, ..Header::default() };
        // Before the host can know any of it.
        flush();
        self.link.replies.publish(&header, self.unpublished_bytes);
        self.unpublished_items = 0;
        self.unpublished_bytes = 0;
        if flags & reply::LAST != 0 {
            // The station rings, or leaves it at that.
        } else if self.flags & request::QUIET != 0 {
            self.link.hub.notify_leader();
        } else {
            self.link.hub.notify();
        }
    }

    /// Sends the answer to one item in as many records as it takes.
    fn send(&mut self, kind: u16, flags: u16, bytes: &[u8]) {
        let header = Header { kind, flags, seq: self.seq, count: 1, info: bytes.len() as u64, ..Header::default() };
        flush();
        let mut sent = 0;
        loop {
            let step = self.link.replies.send(&header, bytes, sent);
            sent = step.sent;
            if step.done {
                self.link.hub.notify();
                return;
            }
            self.wait_room(self.link.replies.step(bytes.len() - sent));
        }
    }

    fn wait_room(&mut self, want: usize) {
        self.link.hub.notify();
        self.link.bell.wait_room(self.link.replies, want, Backoff::default());
    }
}

/// Time that a report of a panic may take beyond the item's limit. Its clock begins so far in the future, which is less
/// than the second that the host allows.
const REPORT_NS: u64 = 500_000_000;

/// Free bytes below which the reply ring is looked at again.
const MARGIN: usize = 64;

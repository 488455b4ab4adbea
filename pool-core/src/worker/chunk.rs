//! The request that a worker runs: its claimed items, and its replies.

#[cfg(feature = "remote")]
mod answers;

use std::any::Any;

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Backoff, Consumer, Header, HubWorker, OrderReader, Producer, ProgressWriter, Record, WorkerBell};

use crate::codec::decoder::Decoder;
use crate::lane::messages::{Failure, ItemTimes, Place, RECORD_BYTES, ReplyKind, reply, request, rules};
#[cfg(feature = "remote")]
use crate::priority::Priority;
use crate::process::last_words::LastWords;
use crate::process::output::flush;
use crate::process::panic;
use crate::process::signals;
use crate::process::socket::Socket;
use crate::process::standing::Standing;
use crate::worker::position::Position;
use crate::worker::reporting::Reporting;
use crate::worker::states;

/// The parts of a worker that a chunk uses.
pub(crate) struct Link<'w> {
    pub(crate) requests: &'w Consumer,
    pub(crate) replies: &'w mut Producer,
    pub(crate) progress: &'w ProgressWriter,
    pub(crate) orders: &'w OrderReader,
    pub(crate) bell: &'w mut WorkerBell,
    /// The way of descriptors to the host.
    pub(crate) socket: &'w Socket,
    pub(crate) hub: &'w HubWorker,
    pub(crate) position: &'w Position<'w>,
    /// Tells this worker from a process that a task forked, and from a thread that was told to end.
    pub(crate) me: Standing<'w>,
}

impl Link<'_> {
    /// Waits for room in the reply ring. False if the worker was told to end, and there may be none.
    pub(super) fn wait_room(&mut self, want: usize) -> bool {
        let Link { hub, bell, replies, me, .. } = self;
        hub.notify();
        bell.wait_until(Backoff::default(), || replies.roomy(want) || !me.is_here());
        me.is_here()
    }
}

/// The arguments of a request.
pub(crate) enum Input<'w> {
    /// Those of all items, one behind the other.
    Framed(&'w [u8]),
    /// The only argument of the only item, without a frame.
    Raw(Vec<u8>),
}

/// The items of a request that is being answered.
pub struct Chunk<'w> {
    pub(super) link: Link<'w>,
    /// The record with the limit that the host may lower; `None` if the request came in several.
    record: Option<Record>,
    pub(super) seq: u32,
    items: u32,
    /// The current item.
    pub(super) next: u32,
    /// Number of items that the host cannot take back any more.
    pub(super) claimed: u32,
    pub(super) input: Decoder<'w>,
    /// The only argument of the only item, if it has no frame.
    pub(super) raw: Option<Vec<u8>>,
    /// Number of values in the record under construction.
    pub(super) unpublished_items: u32,
    /// Their bytes.
    pub(super) unpublished_bytes: usize,
    /// Number of values that were `Err`.
    pub(super) errs: u32,
    /// Memory of a value that has been sent.
    spare: Vec<u8>,
    /// How far the items may report.
    pub(super) reporting: Reporting,
    /// The part of the time limit that is grace.
    grace_ns: u64,
    /// Time limit of each item in nanoseconds, or 0.
    pub(super) limit_ns: u64,
    /// Times of the current item, if the request asks for them.
    pub(super) times: Option<ItemTimes>,
    /// Flags of the request.
    flags: u16,
    /// Start of the chunk on the monotonic clock.
    begun_ns: u64,
    /// That of the items, as far as a courier is told it.
    #[cfg(feature = "remote")]
    priority: Priority,
}

impl std::fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk").field("seq", &self.seq).field("items", &self.items).finish_non_exhaustive()
    }
}

/// Values are published once they come to this size, so that the host can copy them while further items run.
pub(super) const PUBLISH_BYTES: usize = RECORD_BYTES;

/// Stores the start and the deadline of the next item if there is a limit. This comes before the item itself is marked, so
/// that a host that reads the item does not read the time of an older one.
#[inline]
pub(super) fn stamp(progress: &ProgressWriter, position: &Position<'_>, limit_ns: u64) {
    if limit_ns > 0 {
        let now = monotonic_ns();
        progress.stamp(now);
        position.set_deadline(now.saturating_add(limit_ns));
    }
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
            // In a request of several records the limit is the length of the body, see `Request::Run`.
            items: if record.is_some() { request::items(header, header.limit) } else { header.count },
            next: 0,
            claimed: 0,
            input: Decoder::new(bytes),
            raw,
            unpublished_items: 0,
            unpublished_bytes: 0,
            errs: 0,
            spare: Vec::new(),
            reporting: Reporting::Off,
            grace_ns: 0,
            limit_ns: header.info,
            times: (header.flags & request::TIMED != 0).then(ItemTimes::default),
            flags: header.flags,
            begun_ns: monotonic_ns(),
            #[cfg(feature = "remote")]
            priority: Priority::Normal,
        }
    }

    /// Keeps to the [rules] of its request.
    #[cold]
    pub(crate) fn keep_to(&mut self, rules: &Header) {
        if rules.flags & rules::REPORTS != 0 {
            self.reporting = Reporting::On;
        }
        // Kept until the items begin: the place is written then, and with it the grace.
        self.grace_ns = rules.info;
        #[cfg(feature = "remote")]
        {
            self.priority = rules::priority(rules.flags);
        }
    }

    /// Whether each value is sent alone: its time is asked for, or reports may come before it.
    #[inline]
    pub(super) fn sends_alone(&self) -> bool {
        self.times.is_some() || self.reporting != Reporting::Off
    }

    /// Nanoseconds that each item may take, or 0.
    pub(crate) fn limit_ns(&self) -> u64 {
        self.limit_ns
    }

    /// Runs the items with `run`, the task's [`run_chunk`](super::run::run_chunk).
    #[inline]
    pub(crate) fn run(&mut self, run: fn(&mut Chunk<'_>), place: Place) {
        self.link.position.begin(place, self.grace_ns);
        // For a host that asks since when it runs. An item with a limit stores a time of its own.
        self.link.progress.stamp(self.begun_ns);
        self.mark_item();
        run(self);
    }

    /// Whether an item of it was run.
    #[inline]
    pub(crate) fn has_begun(&self) -> bool {
        self.next > 0
    }

    /// Ends the reply to the request, with further flags. Returns memory that is not needed any more.
    // By reference: a chunk that is moved is read as a whole right after it was written field by field, so the CPU waits until all
    // stores before are in its cache, those to the shared rings included. That was a third of a short chunk's time.
    #[inline]
    pub(crate) fn end(&mut self, now_ns: u64, flags: u16) -> Vec<u8> {
        // One comparison for both, since most chunks have neither.
        if self.reporting >= Reporting::Used && (self.reporting == Reporting::GivenUp || !self.wait_heard()) {
            return Vec::new();
        }
        // The end is dated by the clock that was read for the length of the chunk.
        self.publish_with(reply::LAST | flags, now_ns - self.begun_ns, reply::ended(now_ns));
        std::mem::take(&mut self.spare)
    }

    /// Claims more items, which the host then cannot take back; false if there are none, or the host has taken them back.
    ///
    /// A claim is a sixteenth of the chunk, and the first ones are smaller, since claimed items must wait for a slow one before
    /// them.
    #[inline]
    pub(super) fn claim(&mut self) -> bool {
        if self.next < self.claimed {
            return true;
        }
        // As many as are claimed already, so the claims double: one item, one, two, four.
        let block = self.claimed.min(self.items / 16).min(request::claim_max(self.flags)).max(1);
        let claimed = self.items.min(self.claimed + block);
        if claimed == self.claimed {
            return false;
        }
        // First the claim, then a look at the limit; the host lowers the limit, then looks at the claim. So at least one of
        // them sees the other's store, and no item is both run and recalled.
        self.link.progress.claim(self.seq, claimed);
        if let Some(record) = &self.record {
            self.items = self.items.min(self.link.requests.limit(record));
        }
        self.claimed = claimed.min(self.items);
        self.next < self.claimed
    }

    /// Marks the next item as begun, with the end of the unpublished values before it.
    #[inline]
    fn mark_item(&self) {
        stamp(self.link.progress, self.link.position, self.limit_ns);
        self.link.progress.begin_item(self.next, self.link.replies.unpublished_end(self.unpublished_bytes));
    }

    /// Publishes the values if they are many enough, and waits until the ring has room for a header.
    #[inline]
    pub(super) fn make_room(&mut self) {
        if self.unpublished_bytes >= PUBLISH_BYTES || self.unpublished_items > 0 && self.flags & request::SINGLY != 0 {
            self.publish(0, 0);
        }
        while self.link.replies.room(self.unpublished_bytes + MARGIN_BYTES).is_none() {
            if !self.link.wait_room(MARGIN_BYTES) {
                return;
            }
        }
    }

    /// Runs no further item, and answers no more: this is no worker any longer.
    #[cold]
    pub(super) fn give_up(&mut self) {
        // The host finds the last item begun, and no value of it.
        (self.items, self.claimed, self.reporting) = (0, 0, Reporting::GivenUp);
    }

    /// Sends a value that cannot be appended to the record under construction.
    #[cold]
    pub(super) fn send_value(&mut self, bytes: Vec<u8>, flags: u16) {
        // Replies carry no numbers of items, so the values before this one go first.
        self.publish_values();
        self.send(ReplyKind::Values.kind(), flags, &bytes);
        if bytes.capacity() > self.spare.capacity() {
            self.spare = bytes;
        }
    }

    /// The item ended in a panic with this payload.
    #[cold]
    pub(super) fn fail_panicked(&mut self, payload: Box<dyn Any + Send>) {
        // Drops the payload: the last code of the user's that runs. Its time counts, the report's does not.
        let caught = panic::caught(payload, self.begun_ns);
        if !self.link.me.is_here() {
            signals::exit_copy();
            return self.give_up();
        }
        self.publish_reports();
        if self.limit_ns > 0 {
            // The report has a time limit of its own, since a worker may be stopped here, too, and that must be noticed.
            self.link.progress.stamp(monotonic_ns() + PANIC_REPORT_NS);
        }
        self.link.progress.clear_last_words();
        self.fail(&Failure::Panicked(caught.into_report()));
        // After the failure was sent, so that its caller need not wait for this.
        let Link { progress, me, .. } = &self.link;
        states::reopen_lost(|why| {
            if me.is_here() {
                LastWords::State(why).leave(progress);
            }
        });
        if !self.link.me.is_here() {
            self.give_up();
        }
    }

    /// The item has no value.
    #[cold]
    pub(super) fn fail(&mut self, failure: &Failure) {
        if !self.link.me.is_here() {
            signals::exit_copy();
            return self.give_up();
        }
        self.publish_values();
        let ran = self.item_begun_ns().map(|begun| monotonic_ns().saturating_sub(begun));
        let bytes = match ran {
            Some(ran) => postcard::to_allocvec(&(failure, ran)),
            None => postcard::to_allocvec(failure),
        };
        // Numbers and text can always be written. If not, the host reports a reply that it cannot decode.
        let bytes = bytes.unwrap_or_default();
        self.send(ReplyKind::Failed.kind(), 0, &bytes);
    }

    /// The start of the current item on the monotonic clock, if it is known.
    fn item_begun_ns(&self) -> Option<u64> {
        match self.limit_ns {
            0 => (self.next == 0).then_some(self.begun_ns),
            // A deadline that the clock cannot hold is cut, so it does not tell the start.
            limit => Some(self.link.position.deadline_ns()).filter(|at| *at < u64::MAX)?.checked_sub(limit),
        }
    }

    #[inline]
    pub(super) fn publish_values(&mut self) {
        if self.unpublished_items > 0 {
            self.publish(0, 0);
        }
    }

    #[inline]
    fn publish(&mut self, flags: u16, info: u64) {
        self.publish_with(flags, info, 0);
    }

    /// Publishes the record under construction.
    #[inline]
    fn publish_with(&mut self, flags: u16, info: u64, limit: u32) {
        while self.link.replies.room(0).is_none() {
            if !self.link.wait_room(MARGIN_BYTES) {
                return;
            }
        }
        let (seq, count, extra) = (self.seq, self.unpublished_items, self.errs);
        let header = Header { kind: ReplyKind::Values.kind(), flags, seq, count, limit, extra, info };
        // The output of the tasks must be written before the host knows that they are done.
        flush();
        self.link.replies.publish(&header, self.unpublished_bytes);
        self.unpublished_items = 0;
        self.unpublished_bytes = 0;
        if flags & reply::LAST != 0 {
            // The request loop notifies, or leaves it for later.
        } else if self.flags & request::QUIET != 0 {
            self.link.hub.notify_leader();
        } else {
            self.link.hub.notify();
        }
    }

    /// Sends the reply to one item in as many records as it takes.
    fn send(&mut self, kind: u16, flags: u16, bytes: &[u8]) {
        let Some(times) = self.times else { return self.send_bytes(kind, flags, bytes) };
        // An item that panicked has not been timed to its end.
        let ran_ns = if times.ran_ns > 0 { times.ran_ns } else { monotonic_ns().saturating_sub(times.begun_ns) };
        let times = ItemTimes { ran_ns, ..times }.to_bytes();
        self.send_bytes(kind, flags | reply::TIMED, &[bytes, &times].concat());
    }

    fn send_bytes(&mut self, kind: u16, flags: u16, bytes: &[u8]) {
        let header = Header { kind, flags, seq: self.seq, count: 1, info: bytes.len() as u64, ..Header::default() };
        flush();
        let mut sent = 0;
        loop {
            let step = self.link.replies.send(&header, bytes, sent);
            sent = step.sent;
            if step.done {
                // Items that are timed come one by one, and may be as short as others.
                if self.times.is_some() && self.flags & request::QUIET != 0 {
                    self.link.hub.notify_leader();
                } else {
                    self.link.hub.notify();
                }
                return;
            }
            if !self.link.wait_room(self.link.replies.step(bytes.len() - sent)) {
                return;
            }
        }
    }

    /// Sends a record that settles no item and has no body.
    #[cold]
    pub(super) fn send_record(&mut self, kind: u16, extra: u32, info: u64) {
        let header = Header { kind, seq: self.seq, extra, info, ..Header::default() };
        while !self.link.replies.send(&header, &[], 0).done {
            if !self.link.wait_room(MARGIN_BYTES) {
                return;
            }
        }
        // The host takes the descriptor out of the socket, which may be full.
        self.link.hub.notify();
    }
}

/// Time that the report of a panic may take beyond the item's limit: the item counts as begun so far in the future. It is less
/// than the second that the host allows beyond a limit.
const PANIC_REPORT_NS: u64 = 500_000_000;

/// Free bytes below which the reply ring's index is read again.
pub(super) const MARGIN_BYTES: usize = 64;

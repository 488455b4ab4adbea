//! Runs the items of one request and writes the replies.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Backoff, Consumer, Header, HubWorker, Producer, ProgressWriter, Record, WorkerBell, own_lines};

use crate::codec::decoder::Decoder;
use crate::codec::encoder::Encoder;
use crate::lane::RECORD_BYTES;
use crate::lane::messages::{Failure, reply, request};
use crate::process::fork_check::ForkCheck;
use crate::process::output::flush;
use crate::process::panic;
use crate::process::signals;
use crate::task::Task;
use crate::worker::limits::has_memory_limit;

/// The parts of a worker that a chunk uses.
pub(crate) struct Link<'w> {
    pub(crate) requests: &'w Consumer,
    pub(crate) replies: &'w mut Producer,
    pub(crate) progress: &'w ProgressWriter,
    pub(crate) bell: &'w mut WorkerBell,
    pub(crate) hub: &'w HubWorker,
    /// Tells this process from one that a task forked.
    pub(crate) me: ForkCheck,
}

/// The arguments of a request.
pub(crate) enum Input<'w> {
    /// Those of all items, one behind the other.
    Framed(&'w [u8]),
    /// The only argument of the only item, without a frame.
    Raw(Vec<u8>),
}

/// The items of a request that is being answered.
pub(crate) struct Chunk<'w> {
    link: Link<'w>,
    /// The record whose limit the host may lower; `None` if the request came in several.
    record: Option<Record>,
    seq: u32,
    items: u32,
    /// The current item.
    next: u32,
    /// Number of items that the host cannot take back any more.
    claimed: u32,
    input: Decoder<'w>,
    /// The only argument of the only item, if it has no frame.
    raw: Option<Vec<u8>>,
    /// Number of values in the record under construction.
    unpublished_items: u32,
    /// Their bytes.
    unpublished_bytes: usize,
    /// Time limit of each item in nanoseconds, or 0.
    limit_ns: u64,
    /// Flags of the request.
    flags: u16,
    /// Start of the chunk on the monotonic clock.
    begun_ns: u64,
}

impl std::fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk").field("seq", &self.seq).field("items", &self.items).finish_non_exhaustive()
    }
}

/// Values are published once they come to this size, so that the host can copy them while further items run.
const PUBLISH_BYTES: usize = RECORD_BYTES;

/// Runs the items of a chunk. The compiler makes this loop for the types of each task.
pub(crate) fn run_chunk<T: Task>(chunk: &mut Chunk<'_>) {
    while chunk.claim() {
        match catch_unwind(AssertUnwindSafe(|| run_claimed::<T>(chunk))) {
            Ok(None) => continue,
            Ok(Some(ItemOutcome::Large(bytes))) => chunk.send_value(&bytes, 0),
            Ok(Some(ItemOutcome::Raw(bytes))) => chunk.send_value(&bytes, reply::RAW),
            Ok(Some(ItemOutcome::Failed(failure))) => chunk.fail(&failure),
            Err(payload) => chunk.fail_panicked(payload),
        }
        chunk.next += 1;
    }
}

/// Stores the start and the deadline of the next item if there is a limit. This comes before the item itself is marked, so
/// that a host that reads the item does not read the time of an older one.
#[inline]
fn stamp(progress: &ProgressWriter, limit_ns: u64) {
    if limit_ns > 0 {
        let now = monotonic_ns();
        progress.stamp(now);
        DEADLINE_NS.store(now.saturating_add(limit_ns), Ordering::Relaxed);
    }
}

/// See [`deadline_ns`].
static DEADLINE_NS: AtomicU64 = AtomicU64::new(0);

/// The time on the monotonic clock at which the current item will be killed; 0 if it has no limit.
pub(crate) fn deadline_ns() -> u64 {
    DEADLINE_NS.load(Ordering::Relaxed)
}

/// An outcome that cannot be appended to the record under construction.
enum ItemOutcome {
    /// A value that does not fit there.
    Large(Vec<u8>),
    /// A value that is bytes or text and travels without a frame.
    Raw(Vec<u8>),
    Failed(Failure),
}

/// Runs claimed items as long as their values fit into one record.
#[inline]
fn run_claimed<T: Task>(chunk: &mut Chunk<'_>) -> Option<ItemOutcome> {
    chunk.make_room();
    match (T::args_size(), T::output_size()) {
        (Some(args_size @ 1..), Some(size @ 1..))
            if chunk.limit_ns == 0
                && !has_memory_limit()
                && chunk.link.replies.spare(size).len() >= chunk.unpublished_bytes + size =>
        {
            run_sized::<T>(chunk, args_size, size)
        }
        _ => run_any::<T>(chunk),
    }
}

/// [`run_claimed`] for arguments of one size, values of one size, and no limits: nothing has to be measured, and the bookkeeping
/// of an item is one store. At least one value must fit.
#[inline]
fn run_sized<T: Task>(chunk: &mut Chunk<'_>, args_size: usize, size: usize) -> Option<ItemOutcome> {
    /// Brings the chunk up to date when an item ends the loop, also by a panic: its arguments have been taken, and it has no
    /// value.
    struct Unfinished<'c, 'w> {
        input: &'c mut Decoder<'w>,
        args_size: usize,
        progress: &'c ProgressWriter,
        next: &'c mut u32,
        unpublished_items: &'c mut u32,
        unpublished_bytes: &'c mut usize,
        size: usize,
        items: usize,
    }
    impl Unfinished<'_, '_> {
        #[inline]
        fn advance(&mut self, done: usize) {
            *self.next += done as u32;
            *self.unpublished_items += done as u32;
            *self.unpublished_bytes += done * self.size;
        }
    }
    impl Drop for Unfinished<'_, '_> {
        fn drop(&mut self) {
            let done = (self.progress.item().wrapping_sub(*self.next) as usize).min(self.items - 1);
            self.input.rest = &self.input.rest[(done + 1) * self.args_size..];
            self.advance(done);
        }
    }
    let Chunk { link, input, next, claimed, unpublished_items, unpublished_bytes, .. } = chunk;
    let Link { replies, progress, me, .. } = link;
    let (first, before, me) = (*next, *unpublished_bytes, *me);
    let (mut marks, most) = progress.item_marks(first, replies.unpublished_end(before), size as u32);
    let places = replies.spare(0).get_mut(before..).unwrap_or_default();
    let items =
        ((*claimed - first) as usize).min((PUBLISH_BYTES - before).div_ceil(size)).min(places.len() / size).min(most);
    let Some(arguments) = input.rest.get(..items * args_size) else {
        return Some(ItemOutcome::Failed(Failure::Decode("its arguments are missing".to_owned())));
    };
    let mut unfinished =
        Unfinished { input, args_size, progress, next, unpublished_items, unpublished_bytes, size, items };
    let group = (OWNED_BYTES / size).max(1);
    let groups = places[..items * size].chunks_mut(group * size).zip(arguments.chunks(group * args_size));
    for (places, arguments) in groups {
        own_lines(places);
        for (place, arguments) in places.chunks_exact_mut(size).zip(arguments.chunks_exact(args_size)) {
            marks.begin_next();
            let output = match T::invoke(Decoder::new(arguments)) {
                Ok(output) => output,
                Err(error) => return Some(ItemOutcome::Failed(Failure::Decode(error.to_string()))),
            };
            if !me.is_here() {
                // A process that the task forked must not answer in the worker's place.
                signals::exit_now(0);
            }
            let encoded = T::encode_output(&output, &mut Encoder::new(place));
            drop(output);
            if let Err(error) = encoded {
                return Some(ItemOutcome::Failed(Failure::Encode(error.to_string())));
            }
        }
    }
    unfinished.advance(items);
    unfinished.input.rest = &unfinished.input.rest[items * args_size..];
    std::mem::forget(unfinished);
    None
}

/// Bytes of the ring that this CPU takes over together, before it writes values there with marks between them.
const OWNED_BYTES: usize = 2 << 10;

/// [`run_claimed`] for values of any size.
#[inline]
fn run_any<T: Task>(chunk: &mut Chunk<'_>) -> Option<ItemOutcome> {
    let (limit_ns, claimed, has_memory_limit) = (chunk.limit_ns, chunk.claimed, has_memory_limit());
    let Chunk { link, input, raw, next, unpublished_items, unpublished_bytes, .. } = chunk;
    let Link { replies, progress, me, .. } = link;
    let begun = *unpublished_bytes;
    let unpublished_start = replies.unpublished_end(begun);
    let mut out = Encoder::new(replies.spare(0).get_mut(begun..).unwrap_or_default());
    while *next < claimed && *unpublished_bytes < PUBLISH_BYTES {
        stamp(progress, limit_ns);
        progress.begin_item(*next, unpublished_start.wrapping_add(out.used() as u32));
        if has_memory_limit {
            // Should the item die, this tells whether memory was refused to it; a refusal to an earlier item must not count.
            Errno::clear();
        }
        let invoked = match raw.take() {
            Some(bytes) => T::invoke_raw(bytes),
            None => input.item(T::args_size()).and_then(T::invoke),
        };
        let output = match invoked {
            Ok(output) => output,
            Err(error) => return Some(ItemOutcome::Failed(Failure::Decode(error.to_string()))),
        };
        if !me.is_here() {
            // A process that the task forked must not answer in the worker's place.
            signals::exit_now(0);
        }
        let output = match T::output_into_bytes(output) {
            Ok(bytes) => return Some(ItemOutcome::Raw(bytes)),
            Err(output) => output,
        };
        let encoded = out.item(T::output_size(), |out| T::encode_output(&output, out));
        // Dropped before the value counts: should this panic, the panic is the item's only outcome.
        drop(output);
        match encoded {
            Ok(None) => {
                *unpublished_items += 1;
                *unpublished_bytes = begun + out.used();
                *next += 1;
            }
            Ok(Some(bytes)) => return Some(ItemOutcome::Large(bytes)),
            Err(error) => return Some(ItemOutcome::Failed(Failure::Encode(error.to_string()))),
        }
    }
    None
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
            limit_ns: header.info,
            flags: header.flags,
            begun_ns: monotonic_ns(),
        }
    }

    /// Runs the items with `run`, the task's [`run_chunk`].
    #[inline]
    pub(crate) fn run(&mut self, run: fn(&mut Chunk<'_>)) {
        // The deadline and the item of the chunk before must not be taken for this one's.
        DEADLINE_NS.store(0, Ordering::Relaxed);
        self.mark_item();
        run(self);
    }

    /// Ends the reply to the request, with further flags.
    #[inline]
    pub(crate) fn end(mut self, now_ns: u64, flags: u16) {
        self.publish(reply::LAST | flags, now_ns - self.begun_ns);
    }

    /// Claims more items, which the host then cannot take back; false if there are none, or the host has taken them back.
    ///
    /// A claim is a sixteenth of the chunk, and the first ones are smaller, since claimed items must wait for a slow one before
    /// them.
    #[inline]
    fn claim(&mut self) -> bool {
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

    /// Marks the next item as begun, with the end of the unpublished values before it.
    #[inline]
    fn mark_item(&self) {
        stamp(self.link.progress, self.limit_ns);
        self.link.progress.begin_item(self.next, self.link.replies.unpublished_end(self.unpublished_bytes));
    }

    /// Publishes the values if they are many enough, and waits until the ring has room for a header.
    #[inline]
    fn make_room(&mut self) {
        if self.unpublished_bytes >= PUBLISH_BYTES || self.unpublished_items > 0 && self.flags & request::SINGLY != 0 {
            self.publish(0, 0);
        }
        while self.link.replies.room(self.unpublished_bytes + MARGIN_BYTES).is_none() {
            self.wait_room(MARGIN_BYTES);
        }
    }

    /// Sends a value that cannot be appended to the record under construction.
    #[cold]
    fn send_value(&mut self, bytes: &[u8], flags: u16) {
        self.publish_values();
        self.send(reply::VALUES, flags, bytes);
    }

    /// The item ended in a panic with this payload.
    #[cold]
    fn fail_panicked(&mut self, payload: Box<dyn Any + Send>) {
        // Drops the payload: the last code of the user's that runs. Its time counts, the report's does not.
        let caught = panic::caught(payload, self.begun_ns);
        if !self.link.me.is_here() {
            signals::exit_now(0);
        }
        if self.limit_ns > 0 {
            // The report has a time limit of its own, since a worker may be stopped here, too, and that must be noticed.
            self.link.progress.stamp(monotonic_ns() + PANIC_REPORT_NS);
        }
        self.link.progress.clear_last_words();
        self.fail(&Failure::Panicked(caught.into_report()));
    }

    /// The item has no value.
    #[cold]
    fn fail(&mut self, failure: &Failure) {
        if !self.link.me.is_here() {
            signals::exit_now(0);
        }
        self.publish_values();
        let ran = self.item_begun_ns().map(|begun| monotonic_ns().saturating_sub(begun));
        let bytes = match ran {
            Some(ran) => postcard::to_allocvec(&(failure, ran)),
            None => postcard::to_allocvec(failure),
        };
        let bytes = bytes.unwrap_or_default();
        self.send(reply::FAILED, 0, &bytes);
    }

    /// The start of the current item on the monotonic clock, if it is known.
    fn item_begun_ns(&self) -> Option<u64> {
        match self.limit_ns {
            0 => (self.next == 0).then_some(self.begun_ns),
            // A deadline that the clock cannot hold is cut, so it does not tell the start.
            limit => Some(deadline_ns()).filter(|at| *at < u64::MAX)?.checked_sub(limit),
        }
    }

    #[inline]
    fn publish_values(&mut self) {
        if self.unpublished_items > 0 {
            self.publish(0, 0);
        }
    }

    /// Publishes the record under construction.
    #[inline]
    fn publish(&mut self, flags: u16, info: u64) {
        while self.link.replies.room(0).is_none() {
            self.wait_room(MARGIN_BYTES);
        }
        let (seq, count) = (self.seq, self.unpublished_items);
        let header = Header { kind: reply::VALUES, flags, seq, count, info, ..Header::default() };
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

/// Time that the report of a panic may take beyond the item's limit: the item counts as begun so far in the future. It is less
/// than the second that the host allows beyond a limit.
const PANIC_REPORT_NS: u64 = 500_000_000;

/// Free bytes below which the reply ring's index is read again.
const MARGIN_BYTES: usize = 64;

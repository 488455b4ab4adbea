//! Takes the items of a map from the caller's iterator, encodes them, and hands them over block by block.
//!
//! It runs in the caller's thread, so iterators need not be `Send` and may lend what they yield. Blocks begin
//! small, so that the first workers start at once, and double; a slow iterator's items go off as they come.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pool_ipc::{Patience, SEGMENT_BYTES, Segment};

use crate::blocks::{Block, Content};
use crate::bytes::{Bytes, INLINE};
use crate::codec::CodecError;
use crate::draft::Draft;
use crate::encoder::Encoder;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::lane::RECORD_BYTES;
use crate::payload::Payload;
use crate::rack::{Rack, SlotRef};
use crate::scheduler::Terms;
use crate::shared::{BURST, Shared};
use crate::slot::{Part, Waiter};
use crate::task::Task;

pub(crate) struct Feed<T: Task, I> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) slot: SlotRef,
    /// `None` while it is being pulled, and when it has panicked.
    items: Option<I>,
    /// Items taken from the iterator.
    pulled: u64,
    block: Draft,
    /// Items that a block should have.
    target: u32,
    clock: Clock,
    /// Memory of earlier blocks.
    spare: Vec<Vec<u8>>,
    source: Source,
    is_detached: bool,
    task: std::marker::PhantomData<fn() -> T>,
}

enum Source {
    Flowing,
    Ended,
    /// The pool takes no more of it.
    Refused,
    Panicked(Box<dyn Any + Send>),
}

/// Why a block goes off.
enum Filled {
    Enough,
    /// It has waited long enough for more.
    Late,
    Ended,
    /// The item pulled last does not fit beside the others, so it goes alone.
    Oversized(Vec<u8>),
    /// The item pulled last goes nowhere.
    Unencodable(CodecError),
}

/// Tells when a block has waited long enough.
#[derive(Default)]
struct Clock {
    /// Items at which the time is looked at next.
    check_at: u32,
    since: Option<Instant>,
}

/// Bytes of a full block that is sent: a chunk of it never has more, so that several fit into a ring and decoding begins
/// early. Beyond that it goes to a segment of the arena.
const BLOCK_BYTES: usize = RECORD_BYTES;
const _: () = assert!(BLOCK_BYTES <= SEGMENT_BYTES);
const BLOCK_BYTES_MIN: usize = 1 << 10;
/// Bytes of a chunk from which on it is better read in the arena than sent: what is shorter costs less in a ring, where the
/// next is in the same or the next line.
const LOCATED_MIN: usize = 4 << 10;
const BLOCK_ITEMS_MAX: u32 = 1 << 15;
/// Bytes expected of an item of no fixed size.
const ITEM_BYTES: usize = 64;

/// An item is not kept waiting for its block to fill for longer than this.
const BLOCK_TIME: Duration = Duration::from_micros(100);

impl Clock {
    /// Whether a block of so many items should go. The time is read after 1, 4, 16, 64 ... items.
    #[inline]
    fn is_due(&mut self, items: u32) -> bool {
        items > self.check_at && self.look(items)
    }

    fn look(&mut self, items: u32) -> bool {
        self.check_at = 4 * items;
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        now - since > BLOCK_TIME
    }
}

/// Counts items in one place, and tells the feed how many there were when it is done, also when the iterator panics.
struct Tally<'f> {
    done: usize,
    pulled: &'f mut u64,
    filled: &'f mut u32,
    used: &'f mut usize,
    size: usize,
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        *self.pulled += self.done as u64;
        *self.filled += self.done as u32;
        *self.used += self.done * self.size;
    }
}

/// Encodes an item into each place; why not, if it ends before.
#[inline(always)]
fn fill_run<'a, 'p, T: Task>(
    items: &mut impl Iterator<Item = T::Args<'a>>,
    places: impl Iterator<Item = &'p mut [u8]>,
    mut tally: Tally<'_>,
) -> Option<Filled> {
    for place in places {
        let Some(args) = items.next() else { return Some(Filled::Ended) };
        if let Err(error) = T::encode_args(&args, &mut Encoder::new(place)) {
            *tally.pulled += 1;
            return Some(Filled::Unencodable(error));
        }
        tally.done += 1;
    }
    None
}

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Feed<T, I> {
    /// Opens a job for the items; none is pulled yet.
    pub(crate) fn open(shared: &Arc<Shared>, terms: Terms, items: I) -> Result<Self> {
        let landing = if terms.bulk { T::landing(items.size_hint().0) } else { None };
        let mut slot = None;
        shared.with(|engine| {
            engine.check_open().map_err(|error| error.of_task(T::entry()))?;
            engine.counts.submitted();
            engine.scheduler.submit(terms, |job| {
                let slot = slot.insert(SlotRef::new(&Rack::of_map(shared, job), 0));
                Payload::of_map(T::entry(), terms.timeout.unwrap_or(0), slot.clone(), landing)
            });
            Ok::<_, Error>(())
        })?;
        let slot = slot.expect("the payload has been made");
        Ok(Feed {
            shared: Arc::clone(shared),
            slot,
            items: Some(items),
            pulled: 0,
            block: Draft::default(),
            target: 1,
            clock: Clock::default(),
            spare: Vec::new(),
            source: Source::Flowing,
            is_detached: false,
            task: std::marker::PhantomData,
        })
    }

    /// Leaves the job to itself.
    pub(crate) fn detach(mut self) -> SlotRef {
        self.is_detached = true;
        self.slot.clone()
    }

    /// Items taken from the iterator so far.
    pub(crate) fn pulled(&self) -> u64 {
        self.pulled
    }

    /// Whether no more items will be taken.
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.source, Source::Flowing)
    }

    pub(crate) fn was_refused(&self) -> bool {
        matches!(self.source, Source::Refused)
    }

    pub(crate) fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.items {
            Some(items) if !self.has_ended() => items.size_hint(),
            _ => (0, Some(0)),
        }
    }

    /// Pulls until `count` items have been taken, or there are no more, and hands all of them over.
    pub(crate) fn pull_to(&mut self, count: u64) {
        while self.pulled < count && !self.has_ended() {
            self.pull_block(count);
        }
    }

    /// Pulls one block of items, or some that follow one another closely, but not past `count`, and hands it over. True
    /// if the input is slow.
    pub(crate) fn pull_block(&mut self, count: u64) -> bool {
        self.begin_block(self.pulled, 0);
        let mut filled = self.pull(count);
        while let Ok(Filled::Oversized(bytes)) = &filled
            && bytes.len() <= BLOCK_BYTES / 2
        {
            // The first of the next block, which is begun at once: nothing pulled may wait for the next call.
            self.begin_block(self.pulled - 1, bytes.len());
            self.block.put(bytes);
            filled = self.pull(count);
        }
        let index = self.pulled.saturating_sub(1);
        let is_slow = matches!(filled, Ok(Filled::Late));
        match filled {
            Ok(Filled::Enough | Filled::Late) => {}
            Ok(Filled::Oversized(bytes)) => {
                self.hand_over(Block::new(index, 1, T::args_size(), Content::Own(bytes)));
            }
            Ok(Filled::Unencodable(error)) => {
                let error = encode_error::<T>(&error).of_item(Some(index as usize));
                self.slot.deliver(Part { first: index, items: 1, whole: false, values: Err(error) });
                self.shared.with(|engine| engine.counts.settled(1, false));
            }
            Ok(Filled::Ended) => self.source = Source::Ended,
            Err(payload) => self.source = Source::Panicked(payload),
        }
        if self.has_ended() {
            let job = self.slot.job();
            self.shared.with(|engine| engine.scheduler.seal(job));
        }
        is_slow
    }

    /// Fills the block and hands it over.
    fn pull(&mut self, count: u64) -> thread::Result<Filled> {
        let filled = catch_unwind(AssertUnwindSafe(|| self.fill_block(count)));
        self.flush();
        filled
    }

    /// Encodes items into the block until it should be handed over.
    fn fill_block(&mut self, count: u64) -> Filled {
        // In a variable of its own, so that it can be kept in registers. If it panics it is gone.
        let Some(mut items) = self.items.take() else { return Filled::Ended };
        let filled = match T::args_size() {
            Some(size @ 1..) => loop {
                let filled = self.fill_sized(&mut items, count, size);
                let has_enough = self.block.items() >= self.target || self.pulled >= count;
                if has_enough || !matches!(filled, Filled::Enough) || !self.block.make_room(size) {
                    break filled;
                }
            },
            _ => self.fill_any(&mut items, count),
        };
        self.items = Some(items);
        filled
    }

    /// [`fill_block`](Feed::fill_block) where all arguments have one size, so that nothing has to be measured; as far as
    /// there is room.
    #[inline]
    fn fill_sized(&mut self, items: &mut I, count: u64, size: usize) -> Filled {
        let Feed { pulled, block, target, clock, .. } = self;
        let (room, filled, used) = block.parts();
        let most = usize::try_from(count - *pulled).unwrap_or(usize::MAX).min((*target - *filled) as usize);
        let mut places = room.chunks_exact_mut(size);
        let mut left = most.min(places.len());
        while left > 0 {
            let run = left.min((clock.check_at + 1).saturating_sub(*filled) as usize).max(1);
            left -= run;
            let tally = Tally { done: 0, pulled: &mut *pulled, filled: &mut *filled, used: &mut *used, size };
            if let Some(end) = fill_run::<T>(items, places.by_ref().take(run), tally) {
                return end;
            }
            if clock.is_due(*filled) {
                return Filled::Late;
            }
        }
        Filled::Enough
    }

    /// [`fill_block`](Feed::fill_block) for arguments of any size.
    fn fill_any(&mut self, items: &mut I, count: u64) -> Filled {
        let Feed { pulled, block, target, clock, .. } = self;
        let (room, filled, used) = block.parts();
        let before = *used;
        let mut out = Encoder::new(room);
        while *filled < *target && *pulled < count {
            let Some(args) = items.next() else { return Filled::Ended };
            *pulled += 1;
            match out.item(T::args_size(), |out| T::encode_args(&args, out)) {
                Ok(None) => {
                    *filled += 1;
                    *used = before + out.used();
                }
                Ok(Some(bytes)) => return Filled::Oversized(bytes),
                Err(error) => return Filled::Unencodable(error),
            }
            if clock.is_due(*filled) {
                return Filled::Late;
            }
        }
        Filled::Enough
    }

    /// Goes on with the iterator's panic, if that is why it ended.
    pub(crate) fn resume_panic(&mut self) {
        if let Source::Panicked(payload) = std::mem::replace(&mut self.source, Source::Ended) {
            resume_unwind(payload);
        }
    }

    /// A block with room for `least` bytes at least.
    fn begin_block(&mut self, first: u64, least: usize) {
        let size = T::args_size().unwrap_or(ITEM_BYTES).max(1);
        let length = (size * self.target as usize).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES).max(size).max(least);
        let segment = T::args_size().filter(|_| length == BLOCK_BYTES).and_then(|size| self.segment(size));
        let bytes = self.spare.pop().unwrap_or_default();
        self.block = match segment {
            Some(segment) => Draft::in_arena(first, size, segment, bytes),
            None => Draft::new(first, length, bytes),
        };
        // The first item's own pull counts: behind a slow one comes another slow one.
        self.clock = Clock { check_at: 0, since: Some(Instant::now()) };
    }

    /// A segment of the arena, if chunks of items of this size are worth one.
    fn segment(&self, size: usize) -> Option<Segment> {
        // A copy of the host does not have the arena.
        self.shared.check_owner().ok()?;
        let (job, arena) = (self.slot.job(), self.shared.hub.arena());
        let (items, expects_news) =
            self.shared.with(|engine| (engine.scheduler.chunk_items(job), engine.expects_news()));
        if (items as usize).saturating_mul(size) < LOCATED_MIN {
            return None;
        }
        let mut segment = arena.take();
        if segment.is_none() && expects_news {
            // Workers are about to be through with one.
            Patience::default().wait(|| {
                self.shared.with(Engine::route_news);
                segment = arena.take();
                segment.is_some()
            });
        }
        segment
    }

    fn flush(&mut self) {
        let block = std::mem::take(&mut self.block);
        if block.items() >= self.target {
            self.target = (self.target * 2).min(BLOCK_ITEMS_MAX);
        }
        if let Some(block) = block.finish(T::args_size(), &mut self.spare) {
            self.hand_over(block);
        }
    }

    fn hand_over(&mut self, block: Block) {
        let (first, items) = block.range();
        let job = self.slot.job();
        self.shared.wait_for_room();
        self.shared.note_submissions(BURST + 1);
        let accepted = self.shared.with(|engine| {
            let Some(payload) = engine.scheduler.payload_mut(job) else { return false };
            payload.blocks.push(block, &mut self.spare);
            let accepted = engine.scheduler.feed(job, first, items);
            engine.route();
            accepted
        });
        if !accepted {
            self.source = Source::Refused;
        }
    }

    /// Waits for the slot to have something, or until the deadline: false.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let register = |thread| drop(self.slot.set_waiter(Waiter::Thread(thread)));
        self.shared.wait(deadline, || self.slot.has_news(), register)
    }
}

/// Nobody will look at the outcome: what has not begun is dropped.
impl<T: Task, I> Drop for Feed<T, I> {
    fn drop(&mut self) {
        if !self.is_detached && !self.slot.is_finished() && self.shared.check_owner().is_ok() {
            self.slot.abandon();
            let job = self.slot.job();
            self.shared.with(|engine| engine.scheduler.cancel(job, false));
        }
    }
}

/// The arguments of a single call.
#[inline]
pub(crate) fn encode_one<T: Task>(args: &T::Args<'_>) -> Result<Bytes> {
    if let Some(size @ ..=INLINE) = T::args_size() {
        let mut bytes = [0; INLINE];
        let encoded = T::encode_args(args, &mut Encoder::new(&mut bytes[..size]));
        return encoded.map(|()| Bytes::Inline(bytes, size as u8)).map_err(|error| encode_error::<T>(&error));
    }
    let mut short = [0; 64];
    let mut out = Encoder::new(&mut short);
    match out.item(T::args_size(), |out| T::encode_args(args, out)) {
        Ok(None) => {
            let used = out.used();
            Ok(Bytes::copy_of(&short[..used]))
        }
        Ok(Some(bytes)) => Ok(Bytes::Heap(bytes)),
        Err(error) => Err(encode_error::<T>(&error)),
    }
}

/// The arguments of a single call as they travel, and whether they travel whole: as the memory of the only argument
/// itself, if it is bytes or text of some length, which then is not copied.
#[inline]
pub(crate) fn encode_owned<T: Task>(args: T::Args<'_>) -> Result<(Bytes, bool)> {
    // Arrays are encoded where they lie: each function that takes one by value may take a copy's worth of stack.
    if size_of::<T::Args<'_>>() > LARGE_ARGS_BYTES {
        return Ok((encode_one::<T>(&args)?, false));
    }
    give_away_or_encode::<T>(args)
}

/// Arguments of more bytes than this are no vector or text, which alone travel as their memory.
const LARGE_ARGS_BYTES: usize = 256;

#[inline]
fn give_away_or_encode<T: Task>(args: T::Args<'_>) -> Result<(Bytes, bool)> {
    match T::args_into_bytes(args) {
        Ok(bytes) => Ok((Bytes::Heap(bytes), true)),
        Err(args) => Ok((encode_one::<T>(&args)?, false)),
    }
}

#[cold]
fn encode_error<T: Task>(error: &CodecError) -> Error {
    let text = format!("the arguments `{}` could not be encoded: {error}", T::entry().args());
    Error::new(ErrorKind::Encode, text).of_task(T::entry())
}

//! Takes the items of a map from the caller's iterator, encodes them, and hands them over block by block.
//!
//! It runs in the caller's thread, so iterators need not be `Send` and may lend what they yield. Blocks begin
//! small, so that the first workers start at once, and double; a slow iterator's items go off as they come.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codec::{CodecError, Encoder};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Args, Block, Part, Payload, Slot, Waiter};
use crate::scheduler::{JobId, Terms};
use crate::shared::Shared;
use crate::task::Task;

pub(crate) struct Feed<T: Task, I> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) slot: Arc<Slot>,
    job: JobId,
    items: I,
    /// Items taken from the iterator.
    pulled: u64,
    block: Draft,
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

/// A block that is being filled.
#[derive(Default)]
struct Draft {
    first: u64,
    items: u32,
    bytes: Vec<u8>,
    used: usize,
    /// Items that will do.
    target: u32,
    /// Items at which the clock is looked at next.
    check_at: u32,
    since: Option<Instant>,
}

/// Bytes of a full block: a chunk never has more, so that several fit into a ring and decoding begins early.
const BLOCK_BYTES: usize = 32 << 10;
const BLOCK_BYTES_MIN: usize = 1 << 10;
const BLOCK_ITEMS_MAX: u32 = 1 << 15;

/// An item is not kept waiting for its block to fill for longer than this.
const BLOCK_TIME: Duration = Duration::from_micros(100);

impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Feed<T, I> {
    /// Opens a job for the items; none is pulled yet.
    pub(crate) fn open(shared: &Arc<Shared>, terms: Terms, items: I) -> Result<Self> {
        let slot = Slot::new();
        let payload = Payload {
            slot: Arc::clone(&slot),
            entry: T::entry(),
            is_map: true,
            timed: terms.timeout.is_some(),
            args: Args::Many(Default::default()),
        };
        let job = shared.with(|engine| {
            engine.check_open()?;
            engine.counts.submitted();
            Ok::<_, Error>(engine.scheduler.submit(terms, payload))
        })?;
        let block = Draft { target: 1, check_at: 1, ..Draft::default() };
        let source = Source::Flowing;
        let (shared, task) = (Arc::clone(shared), std::marker::PhantomData);
        Ok(Feed { shared, slot, job, items, pulled: 0, block, source, is_detached: false, task })
    }

    /// Leaves the job to itself.
    pub(crate) fn detach(mut self) -> (Arc<Slot>, JobId) {
        self.is_detached = true;
        (Arc::clone(&self.slot), self.job)
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
        if self.has_ended() { (0, Some(0)) } else { self.items.size_hint() }
    }

    /// Pulls until `count` items have been taken, or there are no more, and hands all of them over.
    pub(crate) fn pull_to(&mut self, count: u64) {
        // One guard for the whole run: a panic of the iterator ends it.
        while self.pulled < count && !self.has_ended() {
            let pulled = catch_unwind(AssertUnwindSafe(|| {
                while self.pulled < count {
                    let Some(args) = self.items.next() else { return true };
                    self.pulled += 1;
                    self.add(&args);
                    if self.was_refused() {
                        return false;
                    }
                }
                false
            }));
            match pulled {
                Ok(false) => {}
                Ok(true) => self.source = Source::Ended,
                Err(payload) => self.source = Source::Panicked(payload),
            }
        }
        self.flush();
        if self.has_ended() {
            let job = self.job;
            self.shared.with(|engine| engine.scheduler.seal(job));
        }
    }

    /// Goes on with the iterator's panic, if that is why it ended.
    pub(crate) fn resume_panic(&mut self) {
        if let Source::Panicked(payload) = std::mem::replace(&mut self.source, Source::Ended) {
            resume_unwind(payload);
        }
    }

    fn add(&mut self, args: &T::Args<'_>) {
        let index = self.pulled - 1;
        if self.block.bytes.is_empty() {
            self.begin_block(index);
        }
        let mut out = Encoder::new(&mut self.block.bytes[self.block.used..]);
        let encoded = encode_args::<T>(args, &mut out);
        match (encoded, out.finish()) {
            (Ok(()), Ok(bytes)) => {
                self.block.used += bytes;
                self.block.items += 1;
                if self.block.items >= self.block.target || self.is_due() {
                    self.flush();
                }
            }
            (Ok(()), Err(bytes)) => {
                // It does not fit beside the others, so it goes alone.
                self.flush();
                self.hand_over(index, 1, bytes);
            }
            (Err(error), _) => {
                self.flush();
                let error = encode_error::<T>(&error).of_item(Some(index as usize));
                self.slot.deliver(Part { first: index, items: 1, values: Err(error) });
            }
        }
    }

    fn begin_block(&mut self, first: u64) {
        let size = T::args_size().unwrap_or(BLOCK_BYTES_MIN).max(1);
        let bytes = (size * self.block.target as usize).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES);
        self.block = Draft { first, bytes: vec![0; bytes], target: self.block.target, ..Draft::default() };
        self.block.check_at = 1;
    }

    /// Whether the block has waited long enough. The clock is read after 1, 2, 4, 8 ... items.
    fn is_due(&mut self) -> bool {
        if self.block.items < self.block.check_at {
            return false;
        }
        self.block.check_at *= 2;
        let now = Instant::now();
        let is_late = self.block.since.is_some_and(|since| now - since > BLOCK_TIME);
        self.block.since.get_or_insert(now);
        is_late
    }

    fn flush(&mut self) {
        let Draft { first, items, mut bytes, used, target, since, .. } = std::mem::take(&mut self.block);
        self.block.target = target;
        if items == 0 {
            return;
        }
        if items >= target {
            self.block.target = (target * 2).min(BLOCK_ITEMS_MAX);
        }
        self.block.since = since;
        bytes.truncate(used);
        self.hand_over(first, items, bytes);
    }

    fn hand_over(&mut self, first: u64, items: u32, bytes: Vec<u8>) {
        let block = Block::new(first, items, T::args_size(), bytes);
        let job = self.job;
        self.shared.wait_for_room();
        let accepted = self.shared.with(|engine| {
            let Some(payload) = engine.scheduler.payload_mut(job) else { return false };
            if let Args::Many(blocks) = &mut payload.args {
                blocks.push_back(block);
            }
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
        if !self.is_detached && !self.slot.is_finished() {
            self.slot.abandon();
            let job = self.job;
            self.shared.with(|engine| engine.scheduler.cancel(job, false));
        }
    }
}

/// Writes the arguments of one item, behind their length unless that is always the same.
#[inline]
pub(crate) fn encode_args<T: Task>(args: &T::Args<'_>, out: &mut Encoder<'_>) -> std::result::Result<(), CodecError> {
    match T::args_size() {
        Some(_) => T::encode_args(args, out),
        None => out.framed(|out| T::encode_args(args, out)),
    }
}

pub(crate) fn encode_error<T: Task>(error: &CodecError) -> Error {
    let text = format!("the arguments `{}` could not be encoded: {error}", T::entry().args());
    Error::new(ErrorKind::Encode, text).of_task(T::entry())
}

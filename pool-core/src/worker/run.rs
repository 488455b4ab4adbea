//! The loop over the items of a chunk, which the compiler makes for the types of each task.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use pool_ipc::{ProgressWriter, own_lines};

use crate::attachments::Attachments;
use crate::attachments::scope::{self, Side};
use crate::codec::CodecError;
use crate::codec::decoder::Decoder;
use crate::codec::encoder::{Encoder, Spill};
use crate::lane::messages::{Failure, reply};
use crate::process::memory_limit::has_memory_limit;
use crate::process::signals;
use crate::task::{Task, args_may_be_plain, output_may_be_plain};
use crate::worker::chunk::{Chunk, Link, PUBLISH_BYTES, stamp};

/// Runs the items of a chunk.
pub fn run_chunk<T: Task>(chunk: &mut Chunk<'_>) {
    while chunk.claim() {
        // One `catch_unwind` for many items, not for each: it keeps the compiler from holding the loop's state in registers.
        match catch_unwind(AssertUnwindSafe(|| run_claimed::<T>(chunk))) {
            Ok(None) => continue,
            Ok(Some(ItemOutcome::Large(bytes))) => chunk.send_value(bytes, 0),
            Ok(Some(ItemOutcome::Raw(bytes))) => chunk.send_value(bytes, reply::RAW),
            Ok(Some(ItemOutcome::Naming(bytes, list))) => chunk.send_naming(bytes, list),
            Ok(Some(ItemOutcome::Failed(failure))) => chunk.fail(&failure),
            Ok(Some(ItemOutcome::Stopped)) => chunk.give_up(),
            Err(payload) => chunk.fail_panicked(payload),
        }
        chunk.next += 1;
    }
}

/// An outcome that cannot be appended to the record under construction.
pub(super) enum ItemOutcome {
    /// A value that does not fit there.
    Large(Vec<u8>),
    /// A value that is bytes or text and travels without a frame.
    Raw(Vec<u8>),
    /// A value that names these arrays.
    Naming(Vec<u8>, Attachments),
    Failed(Failure),
    /// None, since the worker was told to end.
    Stopped,
}

impl ItemOutcome {
    /// The outcome of code that is no worker any more. A process that a task has forked ends here.
    #[cold]
    pub(super) fn stopped() -> ItemOutcome {
        signals::exit_copy();
        ItemOutcome::Stopped
    }
}

/// The arguments of an item that is answered alone.
pub(super) enum OneInput<'a> {
    Framed(Result<Decoder<'a>, CodecError>),
    Raw(Vec<u8>),
}

/// Runs one item. Between the function and the encoding, `has_run` is told whether the output is an `Err`.
fn run_one<T: Task>(input: OneInput<'_>, has_run: &mut dyn FnMut(bool)) -> ItemOutcome {
    let mut arrays = Attachments::new();
    let ended = run_one_into::<T>(input, has_run, &mut arrays);
    ended.outcome(arrays)
}

fn run_one_into<T: Task>(input: OneInput<'_>, has_run: &mut dyn FnMut(bool), arrays: &mut Attachments) -> Ended {
    let invoked = match input {
        OneInput::Raw(bytes) => T::invoke_raw(bytes),
        OneInput::Framed(input) => input.and_then(T::invoke),
    };
    let output = match invoked {
        Ok(output) => output,
        Err(error) => return Ended::Undecodable(error),
    };
    has_run(T::output_is_err(&output));
    let output = match T::output_into_bytes(output) {
        Ok(bytes) => return Ended::Raw(bytes),
        Err(output) => output,
    };
    let mut out = Encoder::new(&mut []).naming_alone(arrays, Side::Results);
    let encoded = out.item(T::output_size(), |out| T::encode_output(&output, out));
    // Dropped before the value counts, as in `run_any`.
    drop(output);
    match encoded {
        Ok(spill) => Ended::Spilled(spill),
        Err(error) => Ended::Unencodable(error),
    }
}

/// The way in which an item ended that is answered alone.
enum Ended {
    Undecodable(CodecError),
    Raw(Vec<u8>),
    /// A value of no bytes needs no room.
    Spilled(Option<Spill>),
    Unencodable(CodecError),
    /// This is no worker any more.
    Stopped,
}

impl Ended {
    /// The outcome of an item whose value names these arrays. The same for all tasks.
    #[inline(never)]
    fn outcome(self, arrays: Attachments) -> ItemOutcome {
        match self {
            Ended::Undecodable(error) => ItemOutcome::Failed(undecodable(&error)),
            Ended::Raw(bytes) => ItemOutcome::Raw(bytes),
            Ended::Spilled(None) => ItemOutcome::Large(Vec::new()),
            Ended::Spilled(Some(spill)) if arrays.is_empty() => ItemOutcome::Large(spill.into_vec()),
            Ended::Spilled(Some(spill)) => ItemOutcome::Naming(spill.into_vec(), arrays),
            Ended::Stopped => ItemOutcome::stopped(),
            Ended::Unencodable(error) => ItemOutcome::Failed(Failure::Encode(error.to_string())),
        }
    }
}

/// Runs claimed items as long as their values fit into one record.
#[inline]
fn run_claimed<T: Task>(chunk: &mut Chunk<'_>) -> Option<ItemOutcome> {
    chunk.make_room();
    if const { args_may_be_plain::<T>() && output_may_be_plain::<T>() }
        && let (Some(args_size @ 1..), Some(size @ 1..)) = (T::args_size(), T::output_size())
        && chunk.limit_ns == 0
        && !chunk.sends_alone()
        && !has_memory_limit()
        && chunk.link.replies.spare(size).len() >= chunk.unpublished_bytes + size
    {
        return run_sized::<T>(chunk, args_size, size);
    }
    if chunk.sends_alone() { chunk.run_alone(T::args_size(), run_one::<T>) } else { run_any::<T>(chunk) }
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
    // The counts are kept in registers during the loop, and the chunk learns of them once, at its end.
    let mut unfinished =
        Unfinished { input, args_size, progress, next, unpublished_items, unpublished_bytes, size, items };
    let group = (OWNED_BYTES / size).max(1);
    let groups = places[..items * size].chunks_mut(group * size).zip(arguments.chunks(group * args_size));
    for (places, arguments) in groups {
        // The host has read these cache lines last. One store takes a line over, and several at a time overlap.
        own_lines(places);
        for (place, arguments) in places.chunks_exact_mut(size).zip(arguments.chunks_exact(args_size)) {
            marks.begin_next();
            let output = match T::invoke(Decoder::new(arguments)) {
                Ok(output) => output,
                Err(error) => return Some(ItemOutcome::Failed(Failure::Decode(error.to_string()))),
            };
            if !me.is_here() {
                // A process that the task forked must not answer in the worker's place.
                return Some(ItemOutcome::stopped());
            }
            let encoded = Encoder::in_place(place, |out| T::encode_output(&output, out));
            // Here, so that a destructor that panics does so while the item is still the current one.
            drop(output);
            if let Err(error) = encoded {
                return Some(ItemOutcome::Failed(Failure::Encode(error.to_string())));
            }
        }
    }
    unfinished.advance(items);
    unfinished.input.rest = &unfinished.input.rest[items * args_size..];
    // All items are done, and its destructor counts one as ended without a value.
    std::mem::forget(unfinished);
    None
}

/// Bytes of the ring that this CPU takes over together, before it writes values there with marks between them.
pub(super) const OWNED_BYTES: usize = 2 << 10;

/// [`run_claimed`] for values of any size.
#[inline]
fn run_any<T: Task>(chunk: &mut Chunk<'_>) -> Option<ItemOutcome> {
    let mut arrays = Attachments::new();
    let ended = run_any_into::<T>(chunk, &mut arrays)?;
    Some(ended.outcome(arrays))
}

#[inline]
fn run_any_into<T: Task>(chunk: &mut Chunk<'_>, arrays: &mut Attachments) -> Option<Ended> {
    let (limit_ns, claimed, has_memory_limit) = (chunk.limit_ns, chunk.claimed, has_memory_limit());
    let Chunk { link, input, raw, next, unpublished_items, unpublished_bytes, errs, .. } = chunk;
    let Link { replies, progress, position, me, .. } = link;
    let begun = *unpublished_bytes;
    let unpublished_start = replies.unpublished_end(begun);
    let room = replies.spare(0).get_mut(begun..).unwrap_or_default();
    let mut out = Encoder::new(room).naming_alone(arrays, Side::Results);
    while *next < claimed && *unpublished_bytes < PUBLISH_BYTES {
        stamp(progress, position, limit_ns);
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
            Err(error) => return Some(Ended::Undecodable(error)),
        };
        if !me.is_here() {
            // A process that the task forked must not answer in the worker's place.
            return Some(Ended::Stopped);
        }
        *errs += u32::from(T::output_is_err(&output));
        let output = match T::output_into_bytes(output) {
            Ok(bytes) => return Some(Ended::Raw(bytes)),
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
            Ok(spill) => return Some(Ended::Spilled(spill)),
            Err(error) => return Some(Ended::Unencodable(error)),
        }
    }
    None
}

#[cold]
fn undecodable(error: &CodecError) -> Failure {
    match scope::take_refusal() {
        Some(errno) => Failure::Array { why: error.to_string(), errno },
        None => Failure::Decode(error.to_string()),
    }
}

//! Decoding in the caller's thread: from the parts in a completion to values and errors.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::attachments::scope::Resolving;
use crate::caller::ordered_parts::OrderedParts;
use crate::codec::decoder::Decoder;
use crate::codec::large_vec;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::job::batch::CompletionRef;
use crate::job::completion::{Completion, Part, Parts};
use crate::process::panic;
use crate::process::stack;
use crate::task::table::Entry;
use crate::task::{Task, output_may_be_plain};

/// The value of a single call that is finished.
#[inline]
pub(crate) fn one<T: Task>(completion: &Completion) -> Result<T::Output> {
    if const { is_large::<T>() } { large_one::<T>(completion) } else { small_one::<T>(completion) }
}

#[inline]
fn small_one<T: Task>(completion: &Completion) -> Result<T::Output> {
    let mut outcome = None;
    if let Some(bytes) = completion.short() {
        let value = decode_short::<T>(&bytes);
        bytes.discard();
        return value;
    } else if let Parts::One(part) = completion.take() {
        decode::<T>(part, false, &mut |_, result| outcome = Some(result));
    }
    // No part: the job ended before its item had one, or the outcome has been taken.
    outcome.unwrap_or_else(|| Err(missing(completion)))
}

/// As [`decode_items`], for the one value of a call, which is returned in place.
#[inline]
fn decode_short<T: Task>(bytes: &[u8]) -> Result<T::Output> {
    let decode = || Decoder::new(bytes).item(T::output_size()).and_then(T::decode_output);
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(value) => value.map_err(|error| undecodable(T::entry(), &error.to_string(), None)),
        Err(payload) => Err(panicked(T::entry(), payload, None)),
    }
}

/// A large value takes copies on the stack while it is decoded, and one where it arrives. The caller's stack need only
/// hold the latter.
#[inline(never)]
fn large_one<T: Task>(completion: &Completion) -> Result<T::Output> {
    match with_room_for::<T, _>(|| Box::new(small_one::<T>(completion))) {
        Ok(outcome) => *outcome,
        Err(error) => Err(error),
    }
}

/// Whether the stack must be looked at before a result is decoded. Asked in `const` blocks, so that the way that a type does
/// not take is not even compiled.
const fn is_large<T: Task>() -> bool {
    size_of::<T::Output>() > LARGE_BYTES
}

/// Results of more bytes than this are large: many copies of a smaller one fit into any stack.
pub(super) const LARGE_BYTES: usize = 1 << 10;

/// Copies of a large result that may be under way on the stack while it is decoded. Measured in an unoptimized build: 26
/// of a plain array, 38 of one that serde decodes.
const COPIES: usize = 48;

/// Runs `decode` with a stack that holds all copies of a result.
fn with_room_for<T: Task, R: Send>(decode: impl FnOnce() -> R + Send) -> Result<R> {
    with_room(T::entry(), size_of::<T::Output>(), decode)
}

/// As [`with_room_for`], for a result of so many bytes.
pub(super) fn with_room<R: Send>(entry: &'static Entry, bytes: usize, decode: impl FnOnce() -> R + Send) -> Result<R> {
    stack::with_room(bytes.saturating_mul(COPIES).saturating_add(SMALL_FRAMES_BYTES), decode).map_err(|error| {
        let text = format!(
            "the result could not be decoded: it takes {bytes} bytes on the stack, where this thread has {} left, and no \
             thread with more could be started ({error}); return a `Vec` or a `Box`",
            stack::left()
        );
        Error::new(ErrorKind::Decode, text).of_task(entry.path())
    })
}

/// Bytes of stack for all that is not the result.
const SMALL_FRAMES_BYTES: usize = 64 << 10;

/// The values of a map that is finished, in input order; the first error by index, if there is any.
pub(crate) fn all<T: Task>(completion: &Completion) -> Result<Vec<T::Output>> {
    let mut gathered = Gathered::<T>::with_capacity(0);
    gathered.take_in(completion);
    gathered.finish(completion, 0);
    gathered.into_values()
}

pub(super) fn missing(completion: &Completion) -> Error {
    completion.rest().unwrap_or_else(|| Error::new(ErrorKind::Terminated, "its outcome has been taken already"))
}

/// The values of a map, as far as they have come.
pub(crate) struct Gathered<T: Task> {
    /// In input order; items that failed have no place here.
    values: Vec<T::Output>,
    parts: OrderedParts,
}

impl<T: Task> Gathered<T> {
    pub(crate) fn with_capacity(items: usize) -> Self {
        let is_buffered = T::result_buffer(0).is_some();
        // Values in a result buffer come as a vector of their own, so none is made here.
        let values = large_vec::with_room(if is_buffered { 0 } else { items });
        Gathered { values, parts: OrderedParts::new(is_buffered) }
    }

    /// Takes the parts that have come, and decodes the next ones.
    pub(crate) fn take_in(&mut self, completion: &Completion) {
        self.parts.take_in(completion);
        while let Some(part) = self.parts.next_part() {
            self.add(part);
        }
    }

    fn add(&mut self, part: Part) {
        let items = part.indices();
        if const { !is_large::<T>() } {
            self.decode_part(part);
        } else if let Err(error) = with_room_for::<T, _>(|| self.decode_part(part)) {
            self.parts.fail(items, &error);
        }
    }

    fn decode_part(&mut self, part: Part) {
        let Gathered { values, parts: OrderedParts { errors, .. } } = self;
        if const { output_may_be_plain::<T>() }
            && let Ok(bytes) = &part.values
            && T::output_size().and_then(|size| size.checked_mul(part.items as usize)) == Some(bytes.len())
            // All values of a part in one copy, where their memory is their encoding.
            && T::decode_outputs(bytes, values)
        {
            return;
        }
        if let Ok(bytes) = &part.values
            && !part.raw
        {
            let _resolving = bytes.received().map(Resolving::begin);
            return decode_values::<T>(bytes, part.indices(), values, errors);
        }
        decode::<T>(part, true, &mut |item, result| match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push((item, error)),
        });
    }

    /// Takes the results of a job of `items` items as they come, until it is finished.
    pub(crate) fn take_all(&mut self, host: &Host, completion: &CompletionRef, items: u64) {
        // Decoded while workers still run, and not all at the end.
        while !completion.is_finished() {
            host.wait_for_news(completion, None);
            self.take_in(completion);
        }
        self.finish(completion, items);
        host.note_undecodable(self.undecodable());
    }

    /// Takes the rest of a job that is finished and had `items` items.
    pub(crate) fn finish(&mut self, completion: &Completion, items: u64) {
        self.take_in(completion);
        self.parts.rest = completion.rest();
        if const { output_may_be_plain::<T>() }
            && let Some(buffered) = self.parts.take_buffered()
        {
            let failure = |part, note: &mut (dyn FnMut(u64, Option<Error>) + Send)| {
                decode::<T>(part, true, &mut |item, result| note(item, result.err()));
            };
            // A worker gave bytes that are no values of this type, and no failure.
            let missed = |item| undecodable(T::entry(), "it is of another size", Some(item));
            let values = self.parts.finish_buffered(buffered, items, &failure, &missed);
            self.values = *values.downcast().expect("the task's own result_buffer has values of its type");
            return;
        }
        while let Some(part) = self.parts.next_behind_gap() {
            self.add(part);
        }
        self.parts.end(items);
    }

    /// The values, or the first error by index.
    pub(crate) fn into_values(self) -> Result<Vec<T::Output>> {
        match self.parts.into_first_error() {
            None => Ok(self.values),
            Some(error) => Err(error),
        }
    }

    /// Results that have come and could not be decoded.
    pub(crate) fn undecodable(&self) -> u32 {
        self.parts.undecodable()
    }

    /// Takes the reason for which items are missing, if any are.
    pub(crate) fn take_rest(&mut self) -> Option<Error> {
        self.parts.rest.take()
    }

    /// Each item's own result.
    pub(crate) fn into_results(self) -> Vec<Result<T::Output>> {
        if const { !is_large::<T>() } {
            return self.merge_errors();
        }
        let items = (self.values.len() + self.parts.errors.len()) as u64;
        match with_room_for::<T, _>(|| self.merge_errors()) {
            Ok(results) => results,
            Err(error) => {
                let mut results = Vec::new();
                fail_each::<T>(&error, 0..items, true, &mut |_, result| results.push(result));
                results
            }
        }
    }

    fn merge_errors(self) -> Vec<Result<T::Output>> {
        let mut results = large_vec::with_room(self.values.len() + self.parts.errors.len());
        // Errors are few: values move in runs between them.
        let mut values = self.values.into_iter();
        for (item, error) in self.parts.errors {
            let before = item as usize - results.len();
            results.extend(values.by_ref().take(before).map(Ok));
            results.push(Err(error));
        }
        results.extend(values.map(Ok));
        results
    }
}

/// Takes the result of each item, one function for all that want results: they are compiled once per task.
type Each<'e, T> = dyn FnMut(u64, Result<<T as Task>::Output>) + Send + 'e;

/// Hands out each item of the part.
pub(crate) fn decode<T: Task>(part: Part, is_map: bool, each: &mut Each<'_, T>) {
    if const { !is_large::<T>() } {
        return decode_here::<T>(part, is_map, each);
    }
    let items = part.indices();
    if let Err(error) = with_room_for::<T, _>(|| decode_here::<T>(part, is_map, each)) {
        fail_each::<T>(&error, items, is_map, each);
    }
}

/// Gives each item the error. It stands apart, since its results would take stack in the frame of its caller.
#[cold]
#[inline(never)]
fn fail_each<T: Task>(why: &Error, items: Range<u64>, is_map: bool, each: &mut Each<'_, T>) {
    for item in items {
        each(item, Err(why.duplicate().of_item(is_map.then_some(item as usize))));
    }
}

fn decode_here<T: Task>(part: Part, is_map: bool, each: &mut Each<'_, T>) {
    let Part { first, items, raw, values, .. } = part;
    let bytes = match values {
        Ok(bytes) => bytes,
        Err(error) => return each(first, Err(error)),
    };
    if raw {
        let value = T::decode_raw(bytes.into_vec());
        // A raw value is the memory of its bytes, which decoding takes over.
        let item = is_map.then_some(first as usize);
        return each(first, value.map_err(|error| undecodable(T::entry(), &error.to_string(), item)));
    }
    let _resolving = bytes.received().map(Resolving::begin);
    decode_items::<T>(&bytes, first..first + u64::from(items), is_map, each);
}

fn decode_items<T: Task>(bytes: &[u8], mut items: Range<u64>, is_map: bool, each: &mut Each<'_, T>) {
    let mut input = Decoder::new(bytes);
    // Once for all items: only a panic makes another round necessary.
    while !items.is_empty() {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            for item in &mut items {
                let value = input.item(T::output_size()).and_then(T::decode_output);
                let index = is_map.then_some(item as usize);
                each(item, value.map_err(|error| undecodable(T::entry(), &error.to_string(), index)));
            }
        }));
        if let Err(payload) = caught {
            // The iterator had handed it out when its decoder panicked; the next round begins behind it.
            let item = items.start - 1;
            each(item, Err(panicked(T::entry(), payload, is_map.then_some(item as usize))));
        }
    }
}

/// As [`decode_items`], straight to where the values of a map are: it may have millions.
fn decode_values<T: Task>(
    bytes: &[u8],
    mut items: Range<u64>,
    values: &mut Vec<T::Output>,
    errors: &mut Vec<(u64, Error)>,
) {
    let mut input = Decoder::new(bytes);
    while !items.is_empty() {
        // A decoder of the user's may panic: its item fails, and the loop begins again behind it.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            for item in &mut items {
                match input.item(T::output_size()).and_then(T::decode_output) {
                    Ok(value) => values.push(value),
                    Err(error) => {
                        errors.push((item, undecodable(T::entry(), &error.to_string(), Some(item as usize))));
                    }
                }
            }
        }));
        if let Err(payload) = caught {
            let item = items.start - 1;
            errors.push((item, panicked(T::entry(), payload, Some(item as usize))));
        }
    }
}

#[cold]
#[inline(never)]
pub(super) fn undecodable(entry: &Entry, why: &str, item: Option<usize>) -> Error {
    let error = Error::new(ErrorKind::Decode, format!("the result could not be decoded: {why}"));
    error.of_task(entry.path()).of_item(item).with_undecodable(1)
}

/// The error of a result that panicked while it was decoded.
#[cold]
#[inline(never)]
pub(super) fn panicked(entry: &Entry, payload: Box<dyn Any + Send>, item: Option<usize>) -> Error {
    // The panic hook has printed it; the error takes its message and place along.
    let report = panic::caught(payload, 0).into_report();
    undecodable(entry, &format!("panicked: {}", report.message), item).with_panic(report)
}

//! From what a slot holds to what the caller gets: decoding, in the caller's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::codec::CodecError;
use crate::decoder::Decoder;
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Part, Slot};
use crate::panic;
use crate::task::Task;

/// The value of a single call that is finished.
pub(crate) fn one<T: Task>(slot: &Slot) -> Result<T::Output> {
    let mut outcome = None;
    for part in slot.take() {
        decode::<T>(part, false, |_, result| outcome = Some(result));
    }
    outcome.unwrap_or_else(|| Err(missing(slot)))
}

/// The values of a map that is finished, in input order; the first error by index, if there is any.
pub(crate) fn all<T: Task>(slot: &Slot) -> Result<Vec<T::Output>> {
    let mut gathered = Gathered::<T>::with_capacity(0);
    gathered.take_in(slot);
    gathered.finish(slot, 0);
    gathered.into_values()
}

fn missing(slot: &Slot) -> Error {
    slot.rest().unwrap_or_else(|| Error::new(ErrorKind::Terminated, "its outcome has been taken already"))
}

/// The items of a map in input order, as far as they have come.
pub(crate) struct Gathered<T: Task> {
    values: Vec<T::Output>,
    /// By index; the values lack these.
    errors: Vec<(u64, Error)>,
    /// Parts that have overtaken others.
    early: Vec<Part>,
    next: u64,
    /// Why the items that never came did not.
    rest: Option<Error>,
}

impl<T: Task> Gathered<T> {
    pub(crate) fn with_capacity(items: usize) -> Self {
        // A size hint may be anything.
        let values = Vec::with_capacity(items.min(CAPACITY_MAX));
        Gathered { values, errors: Vec::new(), early: Vec::new(), next: 0, rest: None }
    }

    /// Takes what has come, and decodes what is next.
    pub(crate) fn take_in(&mut self, slot: &Slot) {
        self.early.extend(slot.take());
        // Newest last, so that the next one is popped.
        self.early.sort_unstable_by_key(|part| std::cmp::Reverse(part.first));
        while self.early.last().is_some_and(|part| part.first == self.next) {
            let part = self.early.pop().expect("looked at above");
            self.add(part);
        }
    }

    fn add(&mut self, part: Part) {
        self.next = part.first + u64::from(part.items);
        let Gathered { values, errors, .. } = self;
        if let Ok(bytes) = &part.values
            && T::output_size().and_then(|size| size.checked_mul(part.items as usize)) == Some(bytes.len())
            && T::decode_outputs(bytes, values)
        {
            return;
        }
        decode::<T>(part, true, |item, result| match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push((item, error)),
        });
    }

    /// Takes the rest of a job that is finished and had `items` items.
    pub(crate) fn finish(&mut self, slot: &Slot, items: u64) {
        self.take_in(slot);
        if let Some(why) = slot.rest() {
            // The job ended early, and there are gaps.
            let missing =
                |items: std::ops::Range<u64>| items.map(|item| (item, why.duplicate().of_item(Some(item as usize))));
            while let Some(part) = self.early.pop() {
                self.errors.extend(missing(self.next..part.first));
                self.add(part);
            }
            self.errors.extend(missing(self.next..items));
            self.rest = Some(why);
        }
    }

    /// The values, or the first error by index.
    pub(crate) fn into_values(self) -> Result<Vec<T::Output>> {
        match (self.errors.into_iter().next(), self.rest) {
            (Some((_, error)), _) | (None, Some(error)) => Err(error),
            (None, None) => Ok(self.values),
        }
    }

    /// Each item's own result.
    pub(crate) fn into_results(self) -> Vec<Result<T::Output>> {
        let mut results = Vec::with_capacity(self.values.len() + self.errors.len());
        let mut values = self.values.into_iter();
        for (item, error) in self.errors {
            let before = item as usize - results.len();
            results.extend(values.by_ref().take(before).map(Ok));
            results.push(Err(error));
        }
        results.extend(values.map(Ok));
        results
    }
}

/// Items for which memory is set aside before the first has come.
const CAPACITY_MAX: usize = 1 << 20;

/// Hands out each item of the part.
pub(crate) fn decode<T: Task>(part: Part, is_map: bool, mut each: impl FnMut(u64, Result<T::Output>)) {
    let Part { first, items, whole, values } = part;
    let bytes = match values {
        Ok(bytes) => bytes,
        Err(error) => return each(first, Err(error)),
    };
    if whole {
        let value = T::decode_whole(bytes.into_vec());
        let undecodable = |error: CodecError| undecodable::<T>(&error.to_string(), is_map.then_some(first as usize));
        return each(first, value.map_err(undecodable));
    }
    let mut input = Decoder::new(&bytes);
    let mut items = first..first + u64::from(items);
    // Once for all items: only a panic makes another round necessary.
    while !items.is_empty() {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            for item in &mut items {
                let value = input.item(T::output_size()).and_then(T::decode_output);
                each(
                    item,
                    value.map_err(|error| undecodable::<T>(&error.to_string(), is_map.then_some(item as usize))),
                );
            }
        }));
        if let Err(payload) = caught {
            let item = items.start - 1;
            let report = panic::caught(payload);
            let error = undecodable::<T>(&format!("panicked: {}", report.message), is_map.then_some(item as usize));
            each(item, Err(error.with_panic(report)));
        }
    }
}

fn undecodable<T: Task>(why: &str, item: Option<usize>) -> Error {
    Error::new(ErrorKind::Decode, format!("the result could not be decoded: {why}")).of_task(T::entry()).of_item(item)
}

/// What the reply of an initializer means.
pub(crate) fn init<T: Task<Output: crate::builder::Success>>(bytes: &[u8]) -> std::result::Result<(), String> {
    use crate::builder::Success;
    let mut outcome = Err("gave a result that cannot be decoded".to_owned());
    let part = Part { first: 0, items: 1, whole: false, values: Ok(crate::bytes::Bytes::copy_of(bytes)) };
    decode::<T>(part, false, |_, result| {
        outcome = match result.map(Success::failure) {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(format!("failed: {error}")),
            Err(error) => Err(error.to_string()),
        };
    });
    outcome
}

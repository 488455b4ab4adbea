//! The parts of a map in input order, and its errors.
//!
//! Nothing of it depends on the task's types, so it is compiled once, and not for each task of a user's program.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, ErrorKind};
use crate::job::completion::{Buffered, Completion, Part, Parts};

pub(super) struct OrderedParts {
    /// Errors by index.
    pub(super) errors: Vec<(u64, Error)>,
    /// Parts that have overtaken others, by their first item. With a result buffer these are all parts, which are few.
    early: BTreeMap<u64, Part>,
    is_buffered: bool,
    /// The result buffer, when the job is finished.
    buffered: Option<Box<Buffered>>,
    next: u64,
    /// The reason for which items never came.
    pub(super) rest: Option<Error>,
}

/// Hands out the error of each item of a part that has one, by the task's own decoder.
pub(super) type Failures<'f> = &'f dyn Fn(Part, &mut (dyn FnMut(u64, Option<Error>) + Send));

impl OrderedParts {
    pub(super) fn new(is_buffered: bool) -> Self {
        OrderedParts { errors: Vec::new(), early: BTreeMap::new(), is_buffered, buffered: None, next: 0, rest: None }
    }

    /// Takes the parts that have come.
    pub(super) fn take_in(&mut self, completion: &Completion) {
        match completion.take() {
            Parts::Buffered(buffered) => self.buffered = Some(buffered),
            parts => self.early.extend(parts.into_iter().map(|part| (part.first, part))),
        }
    }

    /// The next part in input order, if it has come.
    pub(super) fn next_part(&mut self) -> Option<Part> {
        // Only in order: a value goes to the end of the vector, so one that came early waits.
        let entry = self.early.first_entry().filter(|entry| !self.is_buffered && *entry.key() == self.next)?;
        let part = entry.remove();
        self.next = part.indices().end;
        Some(part)
    }

    /// The next part of a job that is finished. Unless the job ended early there are no gaps before it.
    pub(super) fn next_behind_gap(&mut self) -> Option<Part> {
        let (first, part) = self.early.pop_first()?;
        self.end(first);
        self.next = part.indices().end;
        Some(part)
    }

    /// Items that have not come up to this one have failed.
    pub(super) fn end(&mut self, items: u64) {
        if let Some(why) = &self.rest {
            self.errors.extend(errors_of(self.next..items, why));
        }
    }

    /// These items have no values, for this reason.
    pub(super) fn fail(&mut self, items: Range<u64>, why: &Error) {
        self.errors.extend(errors_of(items, why));
    }

    pub(super) fn take_buffered(&mut self) -> Option<Buffered> {
        self.buffered.take().map(|buffered| *buffered)
    }

    /// Takes the vector out of a result buffer, and adds the errors of the items that are missing there.
    pub(super) fn finish_buffered(
        &mut self,
        buffered: Buffered,
        items: u64,
        failures: Failures<'_>,
        missed: &dyn Fn(usize) -> Error,
    ) -> Box<dyn Any> {
        let Buffered { mut result_buffer, others } = buffered;
        let mut failed = BTreeMap::new();
        for part in std::mem::take(&mut self.early).into_values().chain(others) {
            match &part.values {
                // Values that a worker had finished when it died.
                Ok(bytes) if result_buffer.store_bytes(part.first, part.items, bytes) => {}
                _ => failures(part, &mut |item, error| _ = failed.insert(item, error)),
            }
        }
        // Items may have failed behind the last one that was fed, if the pool ended meanwhile.
        let end = failed.last_key_value().map_or(0, |(item, _)| item + 1);
        let (values, gaps) = result_buffer.finish(items.max(end) as usize);
        for item in gaps.into_iter().flatten() {
            let error = failed.remove(&(item as u64)).flatten();
            let absent = || self.rest.as_ref().map(|why| why.duplicate().of_item(Some(item)));
            let error = error.or_else(absent).unwrap_or_else(|| missed(item));
            self.errors.push((item as u64, error));
        }
        values
    }

    /// The error of a map: the first by index, or the one that ended the job.
    pub(super) fn into_first_error(self) -> Option<Error> {
        let undecodable = self.undecodable();
        let error = match (self.errors.into_iter().next(), self.rest) {
            (None, None) => return None,
            // A job that was ended before an item had failed has failed as a whole, and a cancelled one has in any case: how
            // far its workers had come makes no difference.
            (Some((_, error)), Some(rest)) if rest.kind() == ErrorKind::Cancelled || error.kind() == rest.kind() => {
                rest
            }
            (Some((_, error)), _) | (None, Some(error)) => error,
        };
        Some(error.with_undecodable(undecodable))
    }

    /// Results that have come and could not be decoded.
    pub(super) fn undecodable(&self) -> u32 {
        self.errors.iter().map(|(_, error)| error.undecodable()).sum()
    }
}

fn errors_of(items: Range<u64>, why: &Error) -> impl Iterator<Item = (u64, Error)> {
    items.map(|item| (item, why.duplicate().of_item(Some(item as usize))))
}

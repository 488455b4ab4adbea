//! Reports of running items, as their listener hears them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::CodecError;
use crate::codec::compact;
use crate::codec::decoder::Decoder;
use crate::codec::number;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::AsyncResult;
use crate::imap::{Imap, ImapUnordered};
use crate::job::batch::CompletionRef;
use crate::job::reports::{RawReports, Reports};
use crate::lane::messages::ReportType;
use crate::task::Task;
use crate::worker::position::Worker;
use crate::worker::reports::type_number;

/// A value that a running item has [reported](fn@crate::report).
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<T> {
    /// The index of the item; 0 of a call.
    pub item: usize,
    /// The item's attempt, from 1. An item that is [retried](crate::Task::retries) reports again from its beginning.
    pub attempt: u32,
    /// The worker that runs the item.
    pub worker: Worker,
    /// The value; an [`ErrorKind::Decode`] error if the item has reported a value of another type, an [`ErrorKind::Encode`]
    /// error if it could not be encoded.
    pub value: Result<T>,
}

/// Has the listener hear reports, one after the other, as long as it is to hear any.
fn hear_each<T: Serialize + DeserializeOwned>(
    reports: &Reports,
    raw: &RawReports,
    listener: &mut impl FnMut(Report<T>),
) {
    let RawReports { item, attempt, worker, bytes } = raw;
    let worker = Worker::of_process(worker.id, worker.incarnation, worker.pid);
    let Some((of, mut rest)) = bytes.split_first_chunk() else { return };
    let of = ReportType::from_bytes(*of);
    // Asked before each: the caller may drop the handle in between.
    while !rest.is_empty() && !reports.is_over() {
        let value = split_first(of, &mut rest).and_then(|bytes| decode(of, bytes));
        let value = value.map_err(|error| blame(reports, raw, error));
        listener(Report { item: *item as usize, attempt: *attempt, worker, value });
    }
}

/// Takes the first report off the front of the bytes.
#[inline]
fn split_first<'a>(of: ReportType, bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    // All are taken if there is no whole one: behind it none can be found.
    let mut all = Decoder::new(std::mem::take(bytes));
    let report = all.item(of.size()).map_err(undecodable)?;
    *bytes = all.rest;
    Ok(report.rest)
}

#[inline]
fn decode<T: Serialize + DeserializeOwned>(of: ReportType, bytes: &[u8]) -> Result<T> {
    // Bytes of another type might well be a value of this one.
    if of != type_number::<T>() {
        return Err(not_a_value(of, bytes, std::any::type_name::<T>()));
    }
    if let Some(value) = number::from_bytes(bytes) {
        return Ok(value);
    }
    // As a result is decoded: all bytes must be used up.
    let mut rest = bytes;
    let value = compact::read(&mut rest).and_then(|value| Decoder::new(rest).finish().map(|()| value));
    value.map_err(undecodable)
}

#[cold]
fn undecodable(error: CodecError) -> Error {
    Error::new(ErrorKind::Decode, format!("a report could not be decoded: {error}"))
}

/// The error of a report that is no value of the type `expected`.
#[cold]
fn not_a_value(of: ReportType, bytes: &[u8], expected: &str) -> Error {
    if of == ReportType::UNENCODABLE {
        let text = format!("a report could not be encoded in the worker: {}", String::from_utf8_lossy(bytes));
        return Error::new(ErrorKind::Encode, text);
    }
    let text = format!("a report is of another type than `{expected}`, for which its listener waits");
    Error::new(ErrorKind::Decode, text)
}

/// The error of one of these reports, which names its item.
#[cold]
fn blame(reports: &Reports, raw: &RawReports, error: Error) -> Error {
    let item = reports.is_map.then_some(raw.item as usize);
    error.in_worker(raw.worker.pid).of_task(reports.entry.path()).of_item(item)
}

/// Has the listener hear the reports of the completion's job.
fn listen<T: Serialize + DeserializeOwned>(
    completion: &CompletionRef,
    mut listener: impl FnMut(Report<T>) + Send + 'static,
) {
    if completion.owner().check_owner().is_err() {
        return; // a copy of the host hears nothing
    }
    let Some(reports) = completion.reports() else {
        panic!(
            "nothing is reported here: submit the task with `reports()`, as in `pool.apply_async(f::Task.reports(), args)`"
        );
    };
    let is_first = reports.listen(Box::new(move |reports, raw| hear_each(reports, &raw, &mut listener))).is_ok();
    assert!(is_first, "a listener comes too late: there has been one, or the outcome was waited for before");
}

impl<R> AsyncResult<R> {
    /// Has `listener` hear the [reports](crate::report()) of the job's items: each item's reports in their order, those that have
    /// come before it, and those that a worker sent before it died. The task must have been submitted with
    /// [`reports`](Task::reports).
    ///
    /// It runs in a thread of the pool that runs nothing but the user's code, one report after the other. It may block, use the
    /// pool, or drop it. While it is slow, about 1 MiB of reports waits, and then the tasks wait that report. If it panics, or the
    /// handle is dropped, nobody listens any more. It is dropped after the last report, which may be later than the outcome is
    /// there: a channel's receiver ends then. [`Pool::join`](crate::Pool::join) and dropping the pool wait for it as for
    /// [`on_done`](AsyncResult::on_done).
    ///
    /// A report of another type than `T` is an [`ErrorKind::Decode`] error in its [`value`](Report::value). In a process that
    /// the host has forked the listener hears nothing.
    ///
    /// # Panics
    ///
    /// If the task was submitted without [`reports`](Task::reports), for a second listener, and for one that comes after a wait
    /// for the outcome: these find that nobody listens, and say so to the items.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool_core::prelude::*;
    ///
    /// #[pool_task(reports)]
    /// fn convert(files: Vec<String>) -> usize {
    ///     for (done, file) in files.iter().enumerate() {
    ///         pool_core::report(&(done, file));
    ///     }
    ///     files.len()
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(1)?;
    /// let files = vec!["a.png".to_owned(), "b.png".to_owned()];
    /// let job = pool.apply_async(convert::Task, files)?.on_report(|report: pool_core::Report<(usize, String)>| {
    ///     match report.value {
    ///         Ok((done, file)) => println!("{done}: {file}"),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// });
    /// assert_eq!(job.get()?, 2);
    /// # Ok(()) }
    /// ```
    #[must_use = "dropping it loses the outcome, and nobody listens any more"]
    pub fn on_report<T: Serialize + DeserializeOwned>(self, listener: impl FnMut(Report<T>) + Send + 'static) -> Self {
        listen(self.completion(), listener);
        self
    }
}

macro_rules! iterators {
    ($($name:ident, $method:literal;)*) => {$(
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> $name<T, I> {
            /// Has `listener` hear the [reports](crate::report()) of the items; see [`AsyncResult::on_report`].
            ///
            /// # Panics
            ///
            /// If the task was submitted without [`reports`](Task::reports), for a second listener, and for one that comes
            /// after the first result was asked for.
            ///
            /// # Examples
            ///
            /// ```
            /// # use pool_core::prelude::*;
            /// #[pool_task(reports)]
            /// fn square(x: u64) -> u64 { pool_core::report("squaring"); x * x }
            ///
            /// # fn main() -> pool_core::Result<()> {
            /// let pool = Pool::new(2)?;
            /// let (sender, receiver) = std::sync::mpsc::channel();
            #[doc = concat!("let squares = pool.", $method, "(square::Task, 0..3)?;")]
            /// let squares = squares.on_report(move |report| sender.send((report.item, report.value)).unwrap());
            /// assert_eq!(squares.sum::<pool_core::Result<u64>>()?, 5);
            /// let mut heard: Vec<(usize, String)> = receiver.iter().map(|(item, text)| (item, text.unwrap())).collect();
            /// heard.sort();
            /// assert_eq!(heard, [(0, "squaring".into()), (1, "squaring".into()), (2, "squaring".into())]);
            /// # Ok(()) }
            /// ```
            pub fn on_report<R: Serialize + DeserializeOwned>(
                self,
                listener: impl FnMut(Report<R>) + Send + 'static,
            ) -> Self {
                listen(self.0.completion(), listener);
                self
            }
        }
    )*};
}
iterators! { Imap, "imap"; ImapUnordered, "imap_unordered"; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_about_lengths_are_errors_and_come_to_an_end() {
        let (framed, numbers) = (type_number::<String>(), type_number::<u32>());
        // Past the end; no length at all; a part of a number.
        for (of, lie) in [(framed, &[9, 0, 0, 0, 1, 2][..]), (framed, &[1, 0]), (numbers, &[1, 2, 3])] {
            let mut rest = lie;
            assert_eq!(split_first(of, &mut rest).unwrap_err().kind(), ErrorKind::Decode, "{lie:?}");
            assert!(rest.is_empty(), "{lie:?}");
        }
        let mut rest = &[1, 0, 0, 0, 7, 0][..];
        assert_eq!(split_first(framed, &mut rest).unwrap(), [7]);
        assert_eq!(rest, [0]);
        let mut rest = &[1, 0, 0, 0, 7, 0][..];
        assert_eq!(decode::<u32>(numbers, split_first(numbers, &mut rest).unwrap()).unwrap(), 1);
        assert_eq!(rest, [7, 0]);
    }
}

//! Results with their details: the item, the worker, the number of attempts, the times.

use std::fmt;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

use crate::caller::lazy_map::Detail;
use crate::error::{ErrorKind, Result};
use crate::imap::{Imap, ImapUnordered};
use crate::job::origin::OriginWorker;
use crate::task::Task;
use crate::worker::position::Worker;

/// A result of a map with its details; from [`Detailed`].
///
/// The times are the last attempt's. They are measured in the worker, on the clock that all processes of the machine share.
///
/// # Examples
///
/// See [`Detailed`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Completed<R> {
    /// The index of the item in the input of the map.
    pub index: usize,
    /// The worker that ran the item. `None` if the item was not run: its arguments could not be encoded, or its map or pool
    /// ended before. Also `None` for an item that was pulled before the details were asked for.
    pub worker: Option<Worker>,
    /// The number of attempts at the item: one, and one more for each of its [`retries`](Task::retries) that was used. 0
    /// where there is no worker.
    pub attempts: u32,
    /// The time from the moment in which the pool got the item from the input to the start of its last attempt: earlier
    /// attempts, and the pauses before retries, are part of it. `None` where there is no worker, and for an item that died
    /// with its worker before it noted its start.
    pub waited: Option<Duration>,
    /// The time that the function took in its last attempt, with the decoding of its arguments. For an item that died with
    /// its worker it ends when the pool has learned of the death. `None` as for `waited`.
    pub ran: Option<Duration>,
    /// The item's own result.
    pub result: Result<R>,
}

impl<R> Completed<R> {
    /// `index` is for an error that belongs to no item.
    fn new(detail: Option<Detail>, index: u64, result: Result<R>) -> Self {
        let (item, origin) = detail.map_or((index, None), |detail| (detail.item, detail.origin));
        let origin = origin.map(|origin| *origin).unwrap_or_default();
        let worker = |OriginWorker { id, incarnation, pid }| Worker::of_process(id, incarnation, pid);
        Completed {
            index: item as usize,
            worker: origin.worker.map(worker),
            attempts: origin.attempts,
            waited: origin.waited_ns.map(Duration::from_nanos),
            ran: origin.ran_ns.map(Duration::from_nanos),
            result,
        }
    }
}

/// An iterator over results with their details; made by [`Imap::detailed`] and [`ImapUnordered::detailed`].
///
/// It yields one [`Completed`] for each item, in the order of the iterator that it was made of.
///
/// # Cost
///
/// The worker reads the clock before and after each item, whatever the size of its chunk, and sends each result on its own:
/// that takes some hundred nanoseconds for each item, and wakes the host more often. Maps without
/// details pay nothing.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let mut slowest = None;
/// for done in pool.imap_unordered(nap::Task, [1, 30, 2])?.detailed() {
///     slowest = slowest.max(Some((done.ran, done.index)));
///     assert_eq!(done.attempts, 1);
///     assert!(done.worker.is_some_and(|worker| worker.id() < 2));
/// }
/// assert_eq!(slowest.map(|(_, index)| index), Some(1));
/// # Ok(()) }
/// ```
#[must_use = "iterators do nothing unless consumed"]
pub struct Detailed<M>(pub(crate) M);

impl<M: fmt::Debug> fmt::Debug for Detailed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detailed").field(&self.0).finish()
    }
}

macro_rules! detailed {
    ($($name:ident, $method:literal;)*) => {$(
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> $name<T, I> {
            /// The same results with their details: item, worker, number of attempts, and the times for which each waited and
            /// ran.
            ///
            /// To be asked for before the first result: items that have been pulled already come without their workers and
            /// times.
            ///
            /// # Examples
            ///
            /// ```
            /// # use pool_core::prelude::*;
            /// # #[pool_task]
            /// # fn square(x: u64) -> u64 { x * x }
            /// # fn main() -> pool_core::Result<()> {
            /// let pool = Pool::new(2)?;
            #[doc = concat!("for done in pool.", $method, "(square::Task, 0..5)?.detailed() {")]
            ///     assert_eq!(done.result?, (done.index * done.index) as u64);
            ///     println!("item {} ran for {:?} in {:?}", done.index, done.ran, done.worker);
            /// }
            /// # Ok(()) }
            /// ```
            pub fn detailed(mut self) -> Detailed<Self> {
                self.0.ask_details();
                Detailed(self)
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Detailed<$name<T, I>> {
            /// The next result, if it comes within `limit`; else `Some` error of kind
            /// [`Timeout`](crate::ErrorKind::Timeout), and the next call waits for the same result. `None` after the end.
            ///
            #[doc = concat!("Input is pulled as by [`", stringify!($name), "::next_timeout`].")]
            ///
            /// # Examples
            ///
            /// ```
            /// # use pool_core::prelude::*;
            /// # #[pool_task]
            /// # fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
            /// # fn main() -> pool_core::Result<()> {
            /// let pool = Pool::new(1)?;
            #[doc = concat!("let mut naps = pool.", $method, "(nap::Task, [200])?.detailed();")]
            /// let early = naps.next_timeout(Duration::from_millis(1)).unwrap();
            /// assert_eq!(early.unwrap_err().kind(), ErrorKind::Timeout);
            /// let done = naps.next_timeout(Duration::from_secs(60)).unwrap()?;
            /// assert!(done.ran >= Some(Duration::from_millis(200)));
            /// # Ok(()) }
            /// ```
            pub fn next_timeout(&mut self, limit: Duration) -> Option<Result<Completed<T::Output>>> {
                let (detail, result) = self.0.0.next_detailed(Instant::now().checked_add(limit))?;
                match result {
                    // A wait that timed out belongs to no item; an item's own time limit has another kind.
                    Err(error) if detail.is_none() && error.kind() == ErrorKind::Timeout => Some(Err(error)),
                    result => Some(Ok(Completed::new(detail, self.0.0.yielded(), result))),
                }
            }

            /// Pulls no more input. The results of the items that were pulled still come, and then the end.
            ///
            /// The input is dropped at once.
            ///
            /// # Examples
            ///
            /// ```
            /// # use pool_core::prelude::*;
            /// # #[pool_task]
            /// # fn square(x: u64) -> u64 { x * x }
            /// # fn main() -> pool_core::Result<()> {
            /// let pool = Pool::new(2)?;
            #[doc = concat!("let mut squares = pool.", $method, "(square::Task, 0..)?.detailed();")]
            /// assert!(squares.next().is_some());
            /// squares.stop_input();
            /// // The input was endless, and this comes to an end.
            /// assert!(squares.all(|done| done.result.is_ok()));
            /// # Ok(()) }
            /// ```
            pub fn stop_input(&mut self) {
                self.0.stop_input();
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Iterator for Detailed<$name<T, I>> {
            type Item = Completed<T::Output>;

            fn next(&mut self) -> Option<Self::Item> {
                let (detail, result) = self.0.0.next_detailed(None)?;
                Some(Completed::new(detail, self.0.0.yielded(), result))
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> FusedIterator for Detailed<$name<T, I>> {}

        #[cfg(feature = "stream")]
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Detailed<$name<T, I>> {
            /// The results with their details as a stream, for async code.
            ///
            /// # Examples
            ///
            /// See [`DetailedStream`].
            pub fn into_stream(self) -> DetailedStream<$name<T, I>> {
                self.0.0.prepare_to_poll();
                DetailedStream(self)
            }
        }

        #[cfg(feature = "stream")]
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> DetailedStream<$name<T, I>> {
            /// Pulls no more input. The results of the items that were pulled still come, and then the end.
            ///
            /// The input is dropped at once.
            ///
            /// # Examples
            ///
            /// ```
            /// # use futures::StreamExt;
            /// # use pool_core::prelude::*;
            /// # #[pool_task]
            /// # fn square(x: u64) -> u64 { x * x }
            /// # fn main() -> pool_core::Result<()> {
            /// let pool = Pool::new(2)?;
            #[doc = concat!("let mut squares = pool.", $method, "(square::Task, 0..)?.detailed().into_stream();")]
            /// futures::executor::block_on(async {
            ///     assert!(squares.next().await.is_some());
            ///     squares.stop_input();
            ///     // The input was endless, and this comes to an end.
            ///     while squares.next().await.is_some() {}
            /// });
            /// # Ok(()) }
            /// ```
            pub fn stop_input(&mut self) {
                self.0.stop_input();
            }
        }

        #[cfg(feature = "stream")]
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> futures_core::Stream for DetailedStream<$name<T, I>> {
            type Item = Completed<T::Output>;

            fn poll_next(
                self: std::pin::Pin<&mut Self>,
                context: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                let map = &mut self.get_mut().0.0.0;
                let next = map.poll_detailed(context.waker());
                next.map(|next| next.map(|(detail, result)| Completed::new(detail, map.yielded(), result)))
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        #[cfg(feature = "stream")]
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> futures_core::FusedStream for DetailedStream<$name<T, I>> {
            fn is_terminated(&self) -> bool {
                self.0.0.0.is_terminated()
            }
        }
    )*};
}
detailed! { Imap, "imap"; ImapUnordered, "imap_unordered"; }

/// Results with their details as a [`Stream`](futures_core::Stream); made by `Detailed::into_stream`.
///
/// It is as [`ImapStream`](crate::ImapStream) and [`ImapUnorderedStream`](crate::ImapUnorderedStream) are, and yields a
/// [`Completed`] for each item.
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn square(x: u64) -> u64 { x * x }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let squares = pool.imap_unordered(square::Task, 0..10)?.detailed().into_stream();
/// let mut indices = futures::executor::block_on(squares.map(|done| done.index).collect::<Vec<_>>());
/// indices.sort();
/// assert!(indices.into_iter().eq(0..10));
/// # Ok(()) }
/// ```
#[cfg(feature = "stream")]
#[must_use = "streams do nothing unless polled"]
pub struct DetailedStream<M>(Detailed<M>);

/// Nothing in it is ever pinned.
#[cfg(feature = "stream")]
impl<M> Unpin for DetailedStream<M> {}

#[cfg(feature = "stream")]
impl<M: fmt::Debug> fmt::Debug for DetailedStream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DetailedStream").field(&self.0.0).finish()
    }
}

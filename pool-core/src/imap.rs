//! Lazy maps: iterators over results as they come.

use std::fmt;
use std::time::{Duration, Instant};

use crate::caller::input::MapInput;
use crate::caller::lazy_map::LazyMap;
use crate::error::Result;
use crate::task::Task;

/// Results in the order of the input; made by [`Pool::imap`](crate::Pool::imap).
///
/// The thread that iterates pulls the input, while it waits for results. Making the iterator pulls nothing, and a result
/// that has come is handed out before the input's next item is pulled: so an input may depend on earlier results. Its
/// `next` should not block until a result comes, though: no result is handed out while it blocks.
///
/// At most 4096 items are out: pulled, and their results not handed out; [`Task::prefetch`] sets another number. They are
/// fewer if the input is slow (twice as many as there are workers), and if their arguments and results make more than
/// 64 MiB, by the sizes of the results so far (but always as many as there are workers).
///
/// A failed item is an `Err` at its place, and iteration goes on behind it. Dropping the iterator drops the items that no worker
/// has begun.
///
/// The iterator does not borrow the pool, so it can be returned, stored and moved to another thread, and it may outlive the pool.
/// If the pool ends before, each item that was pulled and is not done is an `Err`, and a rest of the input that was not pulled is
/// one more.
///
/// Several items are out at a time, so a reader cannot lend them its one buffer: a task that takes `&str` goes with a text in
/// memory (`text.lines()`), and one that takes `String` with a reader (`reader.lines().map_while(Result::ok)`). See the [guide](crate::guide::streaming).
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn half(x: u64) -> u64 { assert!(x % 2 == 0, "odd"); x / 2 }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::new(2)?;
/// let mut failures = Vec::new();
/// let mut halves = Vec::new();
/// for result in pool.imap(half::Task, 0..6)? {
///     match result {
///         Ok(half) => halves.push(half),
///         Err(error) => failures.extend(error.item()),
///     }
/// }
/// assert_eq!((halves, failures), (vec![0, 1, 2], vec![1, 3, 5]));
/// # Ok(()) }
/// ```
#[must_use = "dropping it cancels what has not begun"]
pub struct Imap<T: Task, I>(pub(crate) LazyMap<T, I>);

/// Results in the order of completion; made by [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// Otherwise as [`Imap`]. A value does not say which item it is of: return the item with the value, or iterate over
/// [`detailed`](ImapUnordered::detailed), which gives the [`index`](crate::Completed) as well. An [`Error`](crate::Error) names its
/// item by itself.
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
/// let order: Vec<u64> = pool.imap_unordered(nap::Task, [500, 1])?.collect::<Result<_, _>>()?;
/// assert_eq!(order, [1, 500]);
/// # Ok(()) }
/// ```
#[must_use = "dropping it cancels what has not begun"]
pub struct ImapUnordered<T: Task, I>(pub(crate) LazyMap<T, I>);

// A macro and not a generic type: both iterators keep documentation and names of their own.
macro_rules! iterators {
    ($($name:ident, $method:literal, $is_ordered:literal;)*) => {$(
        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> $name<T, I> {
            pub(crate) fn new(input: MapInput<T, I>, prefetch: Option<usize>) -> Self {
                $name(LazyMap::new(input, $is_ordered, prefetch))
            }

            /// The next result, if it comes within `limit`; else `Some` error of kind
            /// [`Timeout`](crate::ErrorKind::Timeout), and the next call waits for the same result. `None` after the end.
            ///
            /// Input is pulled as long as the limit allows; the pool cannot know how long the input's `next` will take,
            /// and does not interrupt it. A limit of zero only looks: it pulls nothing while an item is out. If none
            /// is, it pulls for 0.1 ms, at least one item, so that repeated calls with a limit of zero get all results.
            ///
            /// # Examples
            ///
            /// ```
            /// # use pool_core::prelude::*;
            /// # #[pool_task]
            /// # fn nap(ms: u64) -> u64 { std::thread::sleep(Duration::from_millis(ms)); ms }
            /// # fn main() -> pool_core::Result<()> {
            /// let pool = Pool::new(1)?;
            #[doc = concat!("let mut naps = pool.", $method, "(nap::Task, [200])?;")]
            /// let early = naps.next_timeout(Duration::from_millis(1)).unwrap();
            /// assert_eq!(early.unwrap_err().kind(), ErrorKind::Timeout);
            /// assert_eq!(naps.next_timeout(Duration::from_secs(60)).transpose()?, Some(200));
            /// assert!(naps.next_timeout(Duration::from_secs(60)).is_none());
            /// # Ok(()) }
            /// ```
            pub fn next_timeout(&mut self, limit: Duration) -> Option<Result<T::Output>> {
                // A limit too large for the clock means no limit.
                self.0.next(Instant::now().checked_add(limit))
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
            #[doc = concat!("let mut squares = pool.", $method, "(square::Task, 0..)?;")]
            /// let first = squares.next().transpose()?;
            /// assert!(first.is_some());
            /// squares.stop_input();
            /// // The input was endless, and this comes to an end.
            /// assert!(squares.all(|square| square.is_ok()));
            /// # Ok(()) }
            /// ```
            pub fn stop_input(&mut self) {
                self.0.stop_input();
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Iterator for $name<T, I> {
            type Item = Result<T::Output>;

            fn next(&mut self) -> Option<Self::Item> {
                self.0.next(None)
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> std::iter::FusedIterator for $name<T, I> {}

        impl<T: Task, I> fmt::Debug for $name<T, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("yielded", &self.0.yielded()).finish_non_exhaustive()
            }
        }
    )*};
}
iterators! { Imap, "imap", true; ImapUnordered, "imap_unordered", false; }

//! Results of maps as streams, for async code.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::{FusedStream, Stream};

use crate::error::Result;
use crate::imap::{Imap, ImapUnordered};
use crate::task::Task;

macro_rules! streams {
    ($($name:ident, $iterator:ident, $method:literal, $order:literal;)*) => {$(
        #[doc = concat!("Results ", $order, ", as a [`Stream`]; made by [`", stringify!($iterator), "::into_stream`].")]
        ///
        /// It works with any executor. The input is an ordinary iterator, which runs inside `poll_next`: one that blocks
        /// holds up the executor. It is pulled as that of the iterator is, ahead of the results, and a result that has come
        /// goes before the next item.
        ///
        /// The waker is woken in a thread of the pool that runs nothing but the user's code, so it may panic, block, use the
        /// pool or drop it. No thread is made for a stream, and nothing is polled: the pool wakes the task for the next
        /// results, and for room where [`max_pending`](crate::PoolBuilder::max_pending) bounds the pending items.
        ///
        /// The stream is fused: after the end it stays at the end. Dropping it drops the items that no worker has begun.
        ///
        /// # Panics
        ///
        /// `poll_next` panics with the input's own panic, after the results of the items before it.
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
        #[doc = concat!("let mut squares = pool.", $method, "(square::Task, 1..=100)?.into_stream();")]
        /// let mut sum = 0;
        /// futures::executor::block_on(async {
        ///     while let Some(square) = squares.next().await {
        ///         sum += square?;
        ///     }
        ///     pool_core::Result::Ok(())
        /// })?;
        /// assert_eq!(sum, 338_350);
        /// # Ok(()) }
        /// ```
        #[must_use = "streams do nothing unless polled"]
        pub struct $name<T: Task, I>($iterator<T, I>);

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> $iterator<T, I> {
            /// The results as a stream, for async code. Results that have come stay in it.
            ///
            /// # Examples
            ///
            #[doc = concat!("See [`", stringify!($name), "`].")]
            pub fn into_stream(self) -> $name<T, I> {
                self.0.prepare_to_poll();
                $name(self)
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> $name<T, I> {
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
            #[doc = concat!("let mut squares = pool.", $method, "(square::Task, 0..)?.into_stream();")]
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

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> Stream for $name<T, I> {
            type Item = Result<T::Output>;

            fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.get_mut().0.0.poll(context.waker())
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                self.0.size_hint()
            }
        }

        impl<'a, T: Task, I: Iterator<Item = T::Args<'a>>> FusedStream for $name<T, I> {
            fn is_terminated(&self) -> bool {
                self.0.0.is_terminated()
            }
        }

        /// Nothing in it is ever pinned.
        impl<T: Task, I> Unpin for $name<T, I> {}

        impl<T: Task, I> fmt::Debug for $name<T, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.0).finish()
            }
        }
    )*};
}
streams! {
    ImapStream, Imap, "imap", "in the order of the input";
    ImapUnorderedStream, ImapUnordered, "imap_unordered", "in the order of completion";
}

//! Maps: one task for many items, with the results all together or as they come.

use super::Pool;
use crate::caller::input::MapInput;
use crate::caller::outcome::{self, Gathered};
use crate::error::Result;
use crate::handle::AsyncResult;
use crate::imap::{Imap, ImapUnordered};
use crate::scheduler::JobSpec;
use crate::task::Task;

/// Items of a map that are handed over before results are looked at.
const MAP_STRIDE_ITEMS: u64 = 1 << 16;

impl Pool {
    /// Calls the task for each item and returns the results in the order of the items.
    ///
    /// Items travel in chunks. Their size follows from the measured time per item, unless [`Task::chunk_size`] fixes it.
    /// A task of several arguments takes tuples. The iterator is pulled in the calling thread, so it may borrow; its items have
    /// the type of the arguments, [`words.iter().map(String::as_str)`](crate::guide::values#maps-over-a-collection) for `&str`.
    ///
    /// # Errors
    ///
    /// The failure of the failed item with the lowest index, after all the others have ended. For each item's own
    /// result there is [`map_results`](Pool::map_results). Else as [`apply`](Pool::apply).
    ///
    /// # Panics
    ///
    /// With the iterator's own panic, after the items before it have ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn count_words(text: &str) -> usize { text.split_whitespace().count() }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let text = String::from("to be\nor not to be");
    /// assert_eq!(pool.map(count_words::Task, text.lines())?, [2, 4]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "starmap")]
    pub fn map<'a, T: Task, I>(&self, task: T, items: I) -> Result<Vec<T::Output>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        self.map_gathered(task, items)?.0.into_values()
    }

    /// As [`map`](Pool::map), with a result for each item: never fewer.
    ///
    /// # Errors
    ///
    /// Those of the submission, as for [`apply_async`](Pool::apply_async), and `Terminated` or `Broken` if the pool ends
    /// before all items were pulled from the iterator, since the others then have no result.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// #[pool_task]
    /// fn half(x: u64) -> u64 { assert!(x % 2 == 0, "{x} is odd"); x / 2 }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let results = Pool::new(2)?.map_results(half::Task, [2, 3, 4])?;
    /// assert_eq!(results[0].as_ref().ok(), Some(&1));
    /// assert_eq!(results[1].as_ref().unwrap_err().item(), Some(1));
    /// # Ok(()) }
    /// ```
    pub fn map_results<'a, T: Task, I>(&self, task: T, items: I) -> Result<Vec<Result<T::Output>>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let (mut gathered, is_cut_off) = self.map_gathered(task, items)?;
        // A pool that ended after the whole input was pulled has given each item a result.
        match gathered.take_rest().filter(|_| is_cut_off) {
            Some(error) => Err(error),
            None => Ok(gathered.into_results()),
        }
    }

    /// The results of all items that were pulled, and whether the pool ended before the whole input was.
    fn map_gathered<'a, T: Task, I>(&self, task: T, items: I) -> Result<(Gathered<T>, bool)>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let items = items.into_iter();
        let mut gathered = Gathered::<T>::with_capacity(items.size_hint().0);
        // Bulk: workers need not wake this thread for each chunk, since it wants all of them. It has no handle to listen with.
        let spec = JobSpec { bulk: true, reports: false, ..self.spec(&task)? };
        let mut input = MapInput::<T, _>::open(&self.host, spec, items)?.awaited();
        while !input.feed.has_ended() {
            input.pull_to(input.feed.pulled() + MAP_STRIDE_ITEMS);
            gathered.take_in(&input.feed.completion);
        }
        gathered.take_all(&self.host, &input.feed.completion, input.feed.pulled());
        let is_cut_off = input.feed.was_cut_off();
        // Last, so that the items before the panic have ended, as documented.
        input.feed.resume_panic();
        Ok((gathered, is_cut_off))
    }

    /// Submits the task for each item and returns one handle for all results.
    ///
    /// The items are all taken from the iterator before this returns.
    ///
    /// # Errors
    ///
    /// Those of the submission, as for [`apply_async`](Pool::apply_async), except `Encode`: an item that cannot be
    /// serialized fails alone, and [`get`](AsyncResult::get) says so.
    ///
    /// # Panics
    ///
    /// With the iterator's own panic; the items before it are cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let squares = pool.map_async(square::Task, [1, 2, 3])?;
    /// pool.close();
    /// pool.join()?;
    /// assert_eq!(squares.get()?, [1, 4, 9]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "starmap_async")]
    pub fn map_async<'a, T: Task, I>(&self, task: T, items: I) -> Result<AsyncResult<Vec<T::Output>>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let mut input =
            MapInput::<T, _>::open(&self.host, JobSpec { bulk: true, ..self.spec(&task)? }, items.into_iter())?;
        input.pull_to(u64::MAX);
        // Before the input is detached: the unwinding drops it, which cancels the items before the panic.
        input.feed.resume_panic();
        Ok(AsyncResult::new(input.detach(), outcome::all::<T>))
    }

    /// Calls the task for each item and iterates over the results in the order of the items, as they come.
    ///
    /// The input is pulled while results are waited for, at most 4096 items ahead, so it may be endless; see [`Imap`] for
    /// all bounds. Nothing is pulled before the iterator is asked for its first result.
    ///
    /// # Errors
    ///
    /// Those of the submission, as for [`apply_async`](Pool::apply_async). The iterator yields each item's own result.
    /// If the pool is closed *and joined*, or ends otherwise, before the input was pulled to its end, the rest of the input
    /// is a single error (`Closed`, `Terminated`, `Broken`), which stands for the first item that is lost; after
    /// [`cancel_pending`](Pool::cancel_pending) it is `Cancelled`.
    ///
    /// # Panics
    ///
    /// The iterator's `next` panics with the input's own panic, after the results of the items before it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap(square::Task, 0..)?;
    /// assert_eq!(squares.next().transpose()?, Some(0));
    /// assert_eq!(squares.next_timeout(Duration::from_secs(60)).transpose()?, Some(1));
    /// # Ok(()) }
    /// ```
    pub fn imap<'a, T: Task, I>(&self, task: T, items: I) -> Result<Imap<T, I::IntoIter>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        Ok(Imap::new(self.lazy_input(&task, items)?, task.options().prefetch))
    }

    /// As [`imap`](Pool::imap), in the order in which results come.
    ///
    /// # Errors
    ///
    /// As [`imap`](Pool::imap).
    ///
    /// # Panics
    ///
    /// As [`imap`](Pool::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// # #[pool_task]
    /// # fn square(x: u64) -> u64 { x * x }
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap_unordered(square::Task, 0..4)?.collect::<pool_core::Result<Vec<_>>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// # Ok(()) }
    /// ```
    pub fn imap_unordered<'a, T: Task, I>(&self, task: T, items: I) -> Result<ImapUnordered<T, I::IntoIter>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        Ok(ImapUnordered::new(self.lazy_input(&task, items)?, task.options().prefetch))
    }

    fn lazy_input<'a, T: Task, I>(&self, task: &T, items: I) -> Result<MapInput<T, I::IntoIter>>
    where
        I: IntoIterator<Item = T::Args<'a>>,
    {
        MapInput::open(&self.host, JobSpec { lazy: true, ..self.spec(task)? }, items.into_iter())
    }
}

//! Maps over the parts of an array, which workers write in place.

use std::marker::PhantomData;
use std::sync::Arc;

use bytemuck::Pod;

use super::Pool;
use crate::arrays::SharedVec;
use crate::arrays::window::ChunkItem;
use crate::attachments::Attachments;
use crate::attachments::loan::Returned;
use crate::attachments::scope::Side;
use crate::caller::arguments::encode_error;
use crate::chunk_task::ChunkTask;
use crate::codec::encoder::Encoder;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::task::{Configured, Task, TaskOptions};

impl Pool {
    /// Has workers write an array in place, in parts of `chunk` elements; the last one may be shorter. Returns the result for each
    /// part, in their order.
    ///
    /// Nothing is copied: a worker maps the pages of the part that it writes. A part that cost its worker, or was
    /// killed by the time limit, has that error as its result, and may be half written; it is never tried again. The others are not
    /// concerned.
    ///
    /// When this returns, by whatever way, no worker is at a part of the array: each has ended its last one, or its process is gone. Where
    /// the pool has no right to kill a process that has changed its user, the array gets other memory instead.
    /// For the next call with the same array a worker keeps its parts mapped while it has nothing else to do; it unmaps them before it
    /// runs any other task, and when the array is dropped or frozen.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for a chunk of no elements; else as [`map_results`](Pool::map_results). If there is no other memory for
    /// an array that needs it, the error says so, and the array is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # use pool_core::prelude::*;
    /// use pool_core::SharedVec;
    ///
    /// #[pool_task]
    /// fn square_roots(part: &mut [f64], _offset: usize) {
    ///     part.iter_mut().for_each(|x| *x = x.sqrt());
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// let pool = Pool::new(2)?;
    /// let mut numbers = SharedVec::from_slice(&[1.0, 4.0, 9.0, 16.0])?;
    /// for result in pool.map_chunks_mut(square_roots::Task, &mut numbers, 2, ())? {
    ///     result?;
    /// }
    /// assert_eq!(*numbers, [1.0, 2.0, 3.0, 4.0]);
    /// # Ok(()) }
    /// ```
    pub fn map_chunks_mut<C: ChunkTask>(
        &self,
        task: C,
        array: &mut SharedVec<C::Elem>,
        chunk: usize,
        args: C::Args<'_>,
    ) -> Result<Vec<Result<C::Output>>> {
        let entry = C::Items::entry();
        #[cfg(feature = "remote")]
        self.host.check_local("map_chunks_mut").map_err(|error| error.of_task(entry.path()))?;
        if chunk == 0 {
            let text = "chunks must have at least one element";
            return Err(Error::new(ErrorKind::InvalidInput, text).of_task(entry.path()));
        }
        let mut attachments = Attachments::new();
        let mut out = Encoder::to_vec(Vec::new()).naming_alone(&mut attachments, Side::Arguments);
        C::encode_args(&args, &mut out).map_err(|error| encode_error::<C::Items>(&error))?;
        // Encoded once: they are the same for all parts.
        let args = out.finish().err().unwrap_or_default();
        // A part that was begun may be half written, so it is not retried, whatever the pool's own options say. Each part
        // goes alone: of several, it could not be told which were begun if their worker overwrites its progress.
        let options =
            TaskOptions { retries: Some(0), reports: false, once: true, chunk_size: Some(1), ..task.options() };
        let (loan, returned) = array.lend();
        let (len, args, attachments) = (array.len(), &args[..], &attachments);
        // Dropped last, also by unwinding.
        let mut lent = Lent { host: &self.host, array, returned: Some(returned) };
        let items = (0..len).step_by(chunk).map(move |first| ChunkItem {
            loan: Arc::clone(&loan),
            elements: first..len.min(first.saturating_add(chunk)),
            args,
            attachments,
            element: PhantomData,
        });
        let results = self.map_results(Configured::<C::Items>::new(options), items);
        lent.end()?;
        // A worker may have failed to take the array, and would go on saying so under the same name.
        if results.as_ref().map_or(true, |results| results.iter().any(Result::is_err)) {
            lent.array.forget_workers();
        }
        results
    }
}

/// An array that workers may be writing.
struct Lent<'h, T: Pod> {
    host: &'h Arc<Host>,
    array: &'h mut SharedVec<T>,
    returned: Option<Arc<Returned>>,
}

impl<T: Pod> Lent<'_, T> {
    /// Waits until no worker is at a part of the array.
    fn end(&mut self) -> Result<()> {
        let Some(returned) = self.returned.take() else { return Ok(()) };
        // Mostly the last replies are there already.
        self.host.look(None);
        if returned.wait() { self.array.move_away() } else { Ok(()) }
    }
}

impl<T: Pod> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        // Nobody is there to hear of an error: this is an unwinding caller, or the end was reached before.
        let _ = self.end();
    }
}

//! A vector with one entry for each worker.

use std::ops::{Index, IndexMut};

use super::interface::WorkerId;

#[derive(Clone, Debug)]
pub(crate) struct ByWorker<T>(Vec<T>);

impl<T> Default for ByWorker<T> {
    fn default() -> Self {
        ByWorker(Vec::new())
    }
}

impl<T> ByWorker<T> {
    /// The ids of all entries. The iterator borrows nothing, so that entries can be changed meanwhile.
    #[inline]
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = WorkerId> + use<T> {
        (0..self.0.len()).map(WorkerId::new)
    }

    pub(crate) fn get(&self, worker: WorkerId) -> Option<&T> {
        self.0.get(worker.index())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut T> {
        self.0.get_mut(worker.index())
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &T)> {
        self.0.iter().enumerate().map(|(index, entry)| (WorkerId::new(index), entry))
    }

    #[inline]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (WorkerId, &mut T)> {
        self.0.iter_mut().enumerate().map(|(index, entry)| (WorkerId::new(index), entry))
    }

    #[inline]
    pub(crate) fn values(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    #[cfg(test)]
    pub(crate) fn values_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    /// Adds entries until there are at least so many.
    pub(crate) fn grow(&mut self, workers: usize, entry: impl FnMut() -> T) {
        // It never shrinks: processes beyond the new size leave in their own time, and keep their entries until then.
        self.0.resize_with(workers.max(self.0.len()), entry);
    }
}

impl<T> Index<WorkerId> for ByWorker<T> {
    type Output = T;

    #[inline]
    fn index(&self, worker: WorkerId) -> &T {
        &self.0[worker.index()]
    }
}

impl<T> IndexMut<WorkerId> for ByWorker<T> {
    #[inline]
    fn index_mut(&mut self, worker: WorkerId) -> &mut T {
        &mut self.0[worker.index()]
    }
}

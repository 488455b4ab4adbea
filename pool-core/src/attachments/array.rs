//! An array that nobody writes, as the process has it that gives it to workers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::sys::eventfd::EventFd;
use pool_ipc::FrozenArray;

use super::id::ArrayId;
use crate::process::fork_check::ForkCheck;

/// A frozen array with its name.
#[derive(Debug)]
pub(crate) struct Array {
    id: ArrayId,
    /// Its name in the value with which it came from another process.
    alias: ArrayId,
    /// Gone only while it is dropped.
    memory: Option<FrozenArray>,
    /// The pools whose workers may have it.
    pools: Mutex<Vec<Weak<Forgotten>>>,
    owner: ForkCheck,
}

impl Array {
    pub(crate) fn new(memory: FrozenArray) -> Arc<Array> {
        Array::with_names(ArrayId::new(), ArrayId::NONE, memory)
    }

    /// An array of a worker's result. The worker has chosen its name there, so it gets another one here.
    pub(crate) fn of_worker(alias: ArrayId, memory: FrozenArray) -> Arc<Array> {
        Array::with_names(ArrayId::new(), alias, memory)
    }

    /// An array that the host has given to this worker.
    pub(crate) fn of_host(id: ArrayId, memory: FrozenArray) -> Arc<Array> {
        Array::with_names(id, id, memory)
    }

    fn with_names(id: ArrayId, alias: ArrayId, memory: FrozenArray) -> Arc<Array> {
        let (pools, owner) = (Mutex::default(), ForkCheck::here());
        Arc::new(Array { id, alias, memory: Some(memory), pools, owner })
    }

    pub(crate) fn id(&self) -> ArrayId {
        self.id
    }

    pub(crate) fn alias(&self) -> ArrayId {
        if self.alias == ArrayId::NONE { self.id } else { self.alias }
    }

    #[inline]
    pub(crate) fn memory(&self) -> &FrozenArray {
        self.memory.as_ref().expect("it stays until the array is dropped")
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Forgotten>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Workers of this pool get the array, so it is to hear of its end.
    pub(crate) fn note_pool(&self, pool: &Arc<Forgotten>) {
        // Pools that are gone would pile up in an array that outlives many.
        let mut pools = self.pools();
        pools.retain(|known| known.strong_count() > 0);
        if pools.iter().all(|known| known.as_ptr() != Arc::as_ptr(pool)) {
            pools.push(Arc::downgrade(pool));
        }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // A copy of the process has no workers, and a thread of the first one may have been at the list.
        if !self.owner.is_here() {
            return;
        }
        let pools = std::mem::take(&mut *self.pools());
        for pool in pools.iter().filter_map(Weak::upgrade) {
            pool.add(self.id, self.memory.take());
        }
    }
}

/// Arrays whose last handle is gone, and that a pool's workers are still to forget.
#[derive(Debug)]
pub(crate) struct Forgotten {
    /// `None` when the pool is over.
    arrays: Mutex<Option<Ended>>,
    /// Wakes the supervisor.
    bell: Arc<EventFd>,
}

/// Names of arrays that nobody has any more, and the host's memory of them.
type Ended = Vec<(ArrayId, Option<FrozenArray>)>;

impl Forgotten {
    pub(crate) fn new(bell: Arc<EventFd>) -> Arc<Forgotten> {
        Arc::new(Forgotten { arrays: Mutex::new(Some(Vec::new())), bell })
    }

    fn arrays(&self) -> MutexGuard<'_, Option<Ended>> {
        self.arrays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memory comes along: to unmap gigabytes takes milliseconds, and the engine's lock may be held here.
    fn add(&self, id: ArrayId, memory: Option<FrozenArray>) {
        if let Some(arrays) = &mut *self.arrays() {
            arrays.push((id, memory));
            let _ = self.bell.write(1);
        }
    }

    pub(crate) fn take(&self) -> Ended {
        self.arrays().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The pool is over: there are no workers that could forget anything.
    pub(crate) fn close(&self) {
        // Behind the lock, since to unmap takes its time.
        let rest = self.arrays().take();
        drop(rest);
    }
}

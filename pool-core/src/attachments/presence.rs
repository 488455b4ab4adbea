//! The pools that may have given an array to workers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::sys::eventfd::EventFd;
use pool_ipc::FrozenArray;

use super::id::ArrayId;
use crate::process::fork_check::ForkCheck;

/// The name under which workers have an array, and the pools that are told of its end.
#[derive(Debug)]
pub(crate) struct Presence {
    id: ArrayId,
    /// The pools that may have given it to workers.
    pools: Mutex<Vec<Weak<Forgotten>>>,
    owner: ForkCheck,
}

impl Presence {
    pub(crate) fn new(id: ArrayId) -> Presence {
        Presence { id, pools: Mutex::default(), owner: ForkCheck::here() }
    }

    pub(crate) fn id(&self) -> ArrayId {
        self.id
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

    /// Has all workers forget the array. The first of the pools unmaps the host's memory of it, if there is any.
    pub(crate) fn end(&self, mut memory: Option<FrozenArray>) {
        // A copy of the process has no workers, and a thread of the first one may have been at the list.
        if !self.owner.is_here() {
            return;
        }
        let pools = std::mem::take(&mut *self.pools());
        for pool in pools.iter().filter_map(Weak::upgrade) {
            pool.add(self.id, memory.take());
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

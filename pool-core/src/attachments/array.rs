//! An array that nobody writes, as the process has it that gives it to workers.

use std::sync::Arc;

use pool_ipc::FrozenArray;

use super::id::ArrayId;
use super::presence::Presence;

/// A frozen array with its name.
#[derive(Debug)]
pub(crate) struct Array {
    presence: Presence,
    /// Its name in the value with which it came from another process.
    alias: ArrayId,
    /// Gone only while it is dropped.
    memory: Option<FrozenArray>,
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
        Arc::new(Array { presence: Presence::new(id), alias, memory: Some(memory) })
    }

    pub(crate) fn id(&self) -> ArrayId {
        self.presence.id()
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    pub(crate) fn alias(&self) -> ArrayId {
        if self.alias == ArrayId::NONE { self.id() } else { self.alias }
    }

    #[inline]
    pub(crate) fn memory(&self) -> &FrozenArray {
        self.memory.as_ref().expect("it stays until the array is dropped")
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        self.presence.end(self.memory.take());
    }
}

//! Slots that are made together, and the handles of single ones.

use std::ops::Deref;
use std::sync::Arc;

use crate::host::Shared;
use crate::job::completion::Slot;
use crate::scheduler::JobId;

/// Slots that are made at once, for calls that are submitted one after the other, or the one of a map; and whose they
/// are.
#[derive(Debug)]
pub(crate) struct Rack {
    shared: Arc<Shared>,
    job: JobId,
    /// The number of the first call in its job; a map has none.
    first: Option<u64>,
    slots: Slots,
}

/// No allocation of its own for the one of a map, or of a call alone.
#[derive(Debug)]
enum Slots {
    One(Slot),
    Many(Box<[Slot]>),
}

impl Rack {
    pub(crate) fn of_map(shared: &Arc<Shared>, job: JobId) -> Arc<Self> {
        Arc::new(Rack { shared: Arc::clone(shared), job, first: None, slots: Slots::One(Slot::default()) })
    }

    #[inline]
    pub(crate) fn of_calls(shared: &Arc<Shared>, job: JobId, first: u64, calls: u32) -> Arc<Self> {
        let slots = match calls {
            1 => Slots::One(Slot::default()),
            _ => Slots::Many((0..calls).map(|_| Slot::default()).collect()),
        };
        Arc::new(Rack { shared: Arc::clone(shared), job, first: Some(first), slots })
    }

    #[inline]
    pub(crate) fn slots(&self) -> &[Slot] {
        match &self.slots {
            Slots::One(slot) => std::slice::from_ref(slot),
            Slots::Many(slots) => slots,
        }
    }
}

/// One slot of a rack.
#[derive(Clone, Debug)]
pub(crate) struct SlotRef {
    rack: Arc<Rack>,
    index: u32,
}

impl SlotRef {
    #[inline]
    pub(crate) fn new(rack: &Arc<Rack>, index: u32) -> Self {
        SlotRef { rack: Arc::clone(rack), index }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.rack.shared
    }

    #[inline]
    pub(crate) fn job(&self) -> JobId {
        self.rack.job
    }

    /// The number of the call in its job, if it is one.
    #[inline]
    pub(crate) fn call(&self) -> Option<u64> {
        Some(self.rack.first? + u64::from(self.index))
    }
}

impl Deref for SlotRef {
    type Target = Slot;

    #[inline]
    fn deref(&self) -> &Slot {
        &self.rack.slots()[self.index as usize]
    }
}

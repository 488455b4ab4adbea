//! Orders of the host about the request that its worker is at: how to go on with reports, and that it is cancelled.
//!
//! Both are words that only the host can write, so a task that overwrites its worker's memory cannot change them. Each names
//! the request that it is about; a worker that is at another one ignores it.

use super::shared::Shared;
use super::sync::{AtomicU64, Ordering, fence, publish_order};

/// How a worker goes on with the reports of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It sends them.
    Go,
    /// It keeps the next one back until the order changes: the host has enough that nobody has heard yet.
    Hold,
    /// It drops them: nobody listens.
    Drop,
}

/// The words, in the host's page.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Orders {
    /// `{ seq: 32, flow: 32 }`, from the high bits to the low.
    flow: AtomicU64,
    /// `{ seq: 32, item + 1: 32 }`; 0 in place of the item means none, [`ALL`] means all.
    cancelled: AtomicU64,
}

const SEQ_SHIFT: u32 = 32;
const ALL: u32 = u32::MAX;

impl Orders {
    /// SYNC HOLD, with [`Consumer::release`](crate::Consumer::release): a worker that finds its report released finds the order
    /// that the host gave before. Loom model: a_worker_whose_reports_are_taken_knows_whether_to_hold.
    pub(crate) fn set_flow(&self, seq: u32, flow: Flow) {
        // Request and order in one word: a worker never takes the order for another request's.
        self.flow.store(word(seq, flow as u32), publish_order());
    }

    /// Cancels one item of the request, or all.
    pub(crate) fn cancel(&self, seq: u32, item: Option<u32>) {
        self.cancelled.store(word(seq, item.map_or(ALL, |item| item + 1)), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn flow(&self, seq: u32) -> Flow {
        // Before each report, so it is one plain load of a line that the host rarely writes.
        let order = self.flow.load(Ordering::Relaxed);
        if order == word(seq, Flow::Hold as u32) {
            Flow::Hold
        } else if order == word(seq, Flow::Drop as u32) {
            // A worker that is to drop reports since its item is cancelled must find that next.
            fence(Ordering::Acquire);
            Flow::Drop
        } else {
            Flow::Go
        }
    }

    #[inline]
    pub(crate) fn is_cancelled(&self, seq: u32, item: u32) -> bool {
        let order = self.cancelled.load(Ordering::Relaxed);
        order == word(seq, item.wrapping_add(1)) || order == word(seq, ALL)
    }
}

#[inline]
fn word(seq: u32, order: u32) -> u64 {
    u64::from(seq) << SEQ_SHIFT | u64::from(order)
}

/// Reads the orders; for any thread of the worker.
#[derive(Clone, Debug)]
pub struct OrderReader(Shared<Orders>);

impl OrderReader {
    pub(super) fn new(orders: Shared<Orders>) -> OrderReader {
        OrderReader(orders)
    }

    /// How to go on with the reports of this request.
    #[inline]
    pub fn flow(&self, seq: u32) -> Flow {
        self.0.flow(seq)
    }

    /// Whether this item of the request is cancelled.
    #[inline]
    pub fn is_cancelled(&self, seq: u32, item: u32) -> bool {
        self.0.is_cancelled(seq, item)
    }
}

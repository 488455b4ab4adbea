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
    /// `{ seq: 32, round: 30, flow: 2 }`, from the high bits to the low.
    flow: AtomicU64,
    /// `{ seq: 32, item + 1: 32 }`; 0 in place of the item means none, [`ALL`] means all.
    cancelled: AtomicU64,
}

const SEQ_SHIFT: u32 = 32;
const ROUND_SHIFT: u32 = 2;
const FLOW_MASK: u32 = (1 << ROUND_SHIFT) - 1;
const ALL: u32 = u32::MAX;

/// An order about reports as the worker found it. Two that are equal say that nothing has changed in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order(u64);

impl Order {
    /// How to go on with the reports of request `seq`.
    #[inline]
    pub fn flow(self, seq: u32) -> Flow {
        let Order(word) = self;
        if word >> SEQ_SHIFT != u64::from(seq) {
            return Flow::Go; // it is about another request
        }
        match word as u32 & FLOW_MASK {
            HOLD => Flow::Hold,
            DROP => {
                // A worker that is to drop reports since its item is cancelled must find that next.
                fence(Ordering::Acquire);
                Flow::Drop
            }
            _ => Flow::Go,
        }
    }
}

const HOLD: u32 = Flow::Hold as u32;
const DROP: u32 = Flow::Drop as u32;

impl Orders {
    /// SYNC HOLD, with [`Consumer::release`](crate::Consumer::release): a worker that finds its report released finds the order
    /// that the host gave before. Loom model: a_worker_whose_reports_are_taken_knows_whether_to_hold.
    pub(crate) fn set_flow(&self, seq: u32, flow: Flow, round: u32) {
        // Request and order in one word: a worker never takes the order for another request's.
        self.flow.store(word(seq, round << ROUND_SHIFT | flow as u32), publish_order());
    }

    /// Cancels one item of the request, or all.
    pub(crate) fn cancel(&self, seq: u32, item: Option<u32>) {
        self.cancelled.store(word(seq, item.map_or(ALL, |item| item + 1)), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn order(&self) -> Order {
        // Before each report, so it is one plain load of a line that the host writes once for many of them.
        Order(self.flow.load(Ordering::Relaxed))
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

    /// The latest order about reports.
    #[inline]
    pub fn order(&self) -> Order {
        self.0.order()
    }

    /// Whether this item of the request is cancelled.
    #[inline]
    pub fn is_cancelled(&self, seq: u32, item: u32) -> bool {
        self.0.is_cancelled(seq, item)
    }
}

//! Reports that a worker sends while it runs an item, and the orders by which the host stops them.

use pool_ipc::{Flow, HEADER_BYTES};

use super::report_flow::ReportFlow;
use super::{Lane, RING_BYTES_MAX};
use crate::codec::bytes::Bytes;
use crate::lane::messages::ReportType;
use crate::lane::reply::Body;

/// Bytes of reports that may come after the order to hold them back: as many as the ring holds, and the one that the worker was
/// about to send.
const HELD_BYTES_MAX: usize = 2 * RING_BYTES_MAX;

impl Lane {
    /// The bytes of a report, which is still to be [released](Lane::release_report).
    pub(crate) fn copy_report(&self, body: &mut Body) -> Bytes {
        match body {
            Body::Gathered(bytes) => Bytes::Heap(std::mem::take(bytes)),
            Body::InRing(record) => Bytes::of_record(&self.end.replies, record),
        }
    }

    /// Releases a report of `bytes` bytes together with the order how to go on after it. The order comes first, so a worker that
    /// finds all of its reports released knows it. False if the worker has not kept to an earlier order to hold reports back.
    pub(crate) fn release_report(&mut self, body: Body, bytes: usize, seq: u32, flow: Flow) -> bool {
        self.order_reports(seq, flow);
        let record = match body {
            Body::InRing(record) => Some(record),
            // All records before its last were released as they were copied, to make room for the rest.
            Body::Gathered(_) => self.unreleased.take(),
        };
        if let Some(record) = &record {
            self.release(record);
        }
        if flow == Flow::Hold {
            // An empty report takes room, too, so a worker cannot send them without end.
            self.report_flow.held_bytes += bytes.saturating_add(HEADER_BYTES).min(RING_BYTES_MAX);
        }
        self.report_flow.held_bytes <= HELD_BYTES_MAX
    }

    /// The next record, if it is another report of this type and in one piece. All others are left for
    /// [`next_reply`](Lane::next_reply).
    #[inline]
    pub(crate) fn next_report(&mut self, seq: u32, of: ReportType) -> Option<Body> {
        let record = self.end.replies.peek().ok()??;
        (record.header == of.header(seq)).then_some(Body::InRing(record))
    }

    /// Tells the worker how to go on with the reports of request `seq`.
    pub(crate) fn order_reports(&mut self, seq: u32, flow: Flow) {
        let ReportFlow { seq: of, order, .. } = self.report_flow;
        // Without an order about it, a request goes on.
        if order != flow || of != seq && flow != Flow::Go {
            // Each order to hold back begins a new count.
            self.report_flow = ReportFlow { seq, order: flow, held_bytes: 0 };
            self.end.set_flow(seq, flow);
            self.touched = true;
        }
    }

    /// Tells the worker that an item of request `seq` is cancelled, or that all are. It asks when it likes, so it need not be
    /// woken.
    pub(crate) fn warn(&self, seq: u32, item: Option<u32>) {
        self.end.cancel(seq, item);
    }

    /// Whether the worker is to hold the reports of this request back, and so must not end it.
    #[inline]
    pub(crate) fn holds_reports(&self, seq: u32) -> bool {
        self.report_flow.order == Flow::Hold && self.report_flow.seq == seq
    }
}

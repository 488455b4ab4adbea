//! Reports that a worker sends while it runs an item, and the orders by which the host stops them.

use pool_ipc::{Flow, HEADER_BYTES};

use super::report_flow::ReportFlow;
use super::{Lane, RING_BYTES_MAX, Taken};
use crate::codec::bytes::Bytes;
use crate::lane::messages::ReplyKind;
use crate::lane::reply::Body;

/// Bytes of reports that may come after the order to hold them back: as many as the ring holds, and the one that the worker was
/// about to send.
const HELD_BYTES_MAX: usize = 2 * RING_BYTES_MAX;

impl Lane {
    /// The bytes of a record of reports, which is still to be [released](Lane::release_reports).
    pub(crate) fn copy_reports(&self, body: &mut Body) -> Bytes {
        match body {
            Body::Gathered(bytes) => Bytes::Heap(std::mem::take(bytes)),
            Body::InRing(record) => Bytes::of_record(&self.end.replies, record),
        }
    }

    /// Releases a record of reports together with the order how to go on after it. The order comes first, so a worker that
    /// finds all of its records released knows it. False if the worker has not kept to an earlier order to hold reports back.
    pub(crate) fn release_reports(&mut self, body: Body, bytes: usize, seq: u32, flow: Flow) -> bool {
        let keeps_to_it = self.answer_reports(bytes, seq, flow);
        let record = match body {
            Body::InRing(record) => Some(record),
            // All records before its last were released as they were copied, to make room for the rest.
            Body::Gathered(_) => self.unreleased.take(),
        };
        if let Some(record) = &record {
            self.release(record);
        }
        keeps_to_it
    }

    /// Whether the worker may have written reports that it has not published.
    #[inline]
    pub(crate) fn may_hold_reports(&self) -> bool {
        self.reporting
    }

    /// Takes the reports that the worker, living or dead, has written for this item and not published.
    pub(crate) fn take_held_reports(&mut self, seq: u32, item: u32) -> Option<Bytes> {
        self.reporting = self.sent.iter().any(|sent| sent.reports);
        // Of other requests the unpublished bytes are values.
        if !self.sent.front().is_some_and(|sent| sent.seq == seq && sent.reports) || !self.has_taken_all() {
            return None;
        }
        let progress = self.end.running().filter(|at| (at.seq, at.item) == (seq, item))?;
        let taken = self.taken.map_or(0, |taken| taken.bytes);
        self.end.unpublished(progress.unpublished_end).filter(|bytes| *bytes > taken)?;
        self.take_unpublished(Taken { kind: ReplyKind::Report, seq, items: 0, bytes: 0 }, progress)
    }

    /// Tells the worker how to go on after so many bytes of reports have been taken. False if it has not kept to an earlier order.
    pub(crate) fn answer_reports(&mut self, bytes: usize, seq: u32, flow: Flow) -> bool {
        let ReportFlow { seq: of, order, round, held_bytes } = self.report_flow;
        // Each order to hold back begins a new count.
        let is_new = order != flow || of != seq;
        // An empty record takes room, too, so a worker cannot send them without end.
        let more = if flow == Flow::Hold { bytes.saturating_add(HEADER_BYTES).min(RING_BYTES_MAX) } else { 0 };
        let held_bytes = more + if is_new { 0 } else { held_bytes };
        self.report_flow = ReportFlow { seq, order: flow, round: round.wrapping_add(1), held_bytes };
        self.end.set_flow(seq, flow, self.report_flow.round);
        // It may sleep until it may go on.
        self.touched |= is_new;
        held_bytes <= HELD_BYTES_MAX
    }

    /// Tells the worker how to go on with the reports of request `seq`.
    pub(crate) fn order_reports(&mut self, seq: u32, flow: Flow) {
        let ReportFlow { seq: of, order, .. } = self.report_flow;
        // Without an order about it, a request goes on.
        if order != flow || of != seq && flow != Flow::Go {
            self.answer_reports(0, seq, flow);
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

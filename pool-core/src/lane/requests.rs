//! Sends requests into the worker's ring, and takes back items that the worker has not claimed.
//!
//! A request is one record where it fits into the ring, so it can be taken back wherever it lies there. Only a long one,
//! or one for a ring that can grow no more, goes in pieces.

use std::ops::Range;

use pool_ipc::{HEADER_BYTES, Header, Written};

use super::{Lane, goes_in_pieces, is_small_for};
use crate::codec::bytes::Cut;
use crate::lane::messages::{RECORD_BYTES, Request, request, rules};
use crate::lane::sent::{OutgoingRequest, SentRequest};

impl Lane {
    /// Sends a request if it fits into one record now.
    #[inline]
    pub(crate) fn send(&mut self, header: &Header, body: &[u8]) -> bool {
        // Not past requests that wait: a worker answers in the order of sending.
        if !self.outgoing.is_empty() || !self.has_room(body.len()) {
            return false;
        }
        let position = self.end.requests.position();
        let is_sent = self.end.requests.send(header, body, 0).done;
        debug_assert!(is_sent);
        self.record_sent(header.kind, header.seq, header.flags, Some(position));
        true
    }

    /// True if the bytes fit into one record now. Grows the ring for them if necessary.
    #[inline]
    fn has_room(&mut self, bytes: usize) -> bool {
        // The ring starts small, and grows when messages have shown the need.
        let (length, extent) = (bytes as u64, self.end.requests.extent());
        let may_grow = || self.end.requests.has_earned_growth() || goes_in_pieces(length, extent);
        if is_small_for(length, extent) && may_grow() {
            self.end.grow_requests();
        }
        let fits_in_record = bytes <= RECORD_BYTES;
        // At its end a ring may grow, so it is not asked for room, which would have it go round.
        let has_room = !(fits_in_record && self.end.requests.is_at_end())
            && self.end.requests.room(bytes).is_some_and(|room| room >= bytes);
        has_room || fits_in_record && self.make_room(bytes)
    }

    #[cold]
    fn make_room(&mut self, bytes: usize) -> bool {
        // Before it goes round in what it has: behind a pad its bytes are not in one piece, and growth gives no room.
        if self.end.requests.is_crowded() && self.end.requests.has_earned_growth() {
            self.end.grow_requests();
        }
        while !self.end.requests.fits(bytes) {
            let is_needed = !self.will_fit(bytes);
            let requests = &mut self.end.requests;
            let would_gain = requests.is_crowded() && requests.has_earned_growth();
            if !(is_needed || would_gain) || !self.end.grow_requests() {
                return false;
            }
        }
        true
    }

    /// True if `bytes` bytes fit into one record once the worker has released most others.
    fn will_fit(&self, bytes: usize) -> bool {
        bytes <= RECORD_BYTES.min(self.end.requests.extent() / 4 - HEADER_BYTES)
    }

    /// Sends a request. [`Lane::pump`] sends the part that does not fit now.
    pub(crate) fn send_cut(&mut self, header: Header, body: Cut) {
        if !self.send(&header, &body) {
            self.outgoing.push_back(OutgoingRequest { header, body, sent: 0, attachment: None });
            self.record_sent(header.kind, header.seq, header.flags, None);
            self.pump();
        }
    }

    /// Sends the rules of the next request.
    pub(crate) fn send_rules(&mut self, rules: Header) {
        self.send_cut(rules, Cut::default());
        self.next_reports = rules.flags & rules::REPORTS != 0;
        self.reporting |= self.next_reports;
    }

    /// Sends a request for arguments that lie in the arena.
    #[inline]
    pub(crate) fn send_located(&mut self, header: Header, segment: &Written, args: Range<usize>) {
        let header = Header { flags: header.flags | request::IN_ARENA, ..header };
        let location = segment.locate(args);
        if !self.send(&header, &location) {
            self.send_cut(header, location.to_vec().into());
        }
        if let Some(sent) = self.sent.back_mut() {
            // Until the reply is complete, also if the job ends before: the worker may still read there.
            sent.segment = Some(segment.clone());
        }
    }

    #[inline]
    fn record_sent(&mut self, kind: u16, seq: u32, flags: u16, record: Option<u64>) {
        if kind == Request::Run.kind() {
            // Workers notify the host of few reports, so it looks by itself, as it does for short chunks that are silent.
            let reports = std::mem::take(&mut self.next_reports);
            let (quiet, brief) = (flags & request::QUIET != 0 || reports, flags & request::BRIEF != 0);
            let silent = flags & request::SILENT != 0 || reports;
            self.quiet += usize::from(quiet);
            self.silent += usize::from(silent);
            self.brief += usize::from(brief);
            let (segment, attachments) = (None, None);
            self.sent.push_back(SentRequest { seq, quiet, silent, brief, reports, record, segment, attachments });
        }
        // The wake-up itself comes at the end of the round, once for all requests.
        self.touched = true;
    }

    /// Sends more of the requests that wait for room. A request that can fit into one record waits for that, since only then
    /// its items can be taken back.
    #[inline]
    pub(crate) fn pump(&mut self) {
        while let Some(front) = self.outgoing.front() {
            if front.attachment.is_some() && !self.send_descriptor() {
                return;
            }
            let Some(front) = self.outgoing.front() else { return };
            let (sent, bytes) = (front.sent, front.body.len());
            let fits_now = sent == 0 && self.has_room(bytes);
            // In pieces it could not be recalled, so it waits for the worker to make room.
            if sent == 0 && !fits_now && self.will_fit(bytes) {
                return;
            }
            // Each that waits was noted as sent last, so the search for one begins with as many from the end.
            let first = self.sent.len().saturating_sub(self.outgoing.len());
            let OutgoingRequest { header, body, .. } = &mut self.outgoing[0];
            if sent == 0 && !fits_now {
                // Not below the count: if the worker makes room at this moment, it goes in one record after all.
                header.limit = header.count.max(body.len().div_ceil(request::LENGTH_UNIT_BYTES) as u32);
            }
            let step = self.end.requests.send(header, body, sent);
            self.touched |= step.position.is_some();
            if step.done {
                let is_it = |sent: &&mut SentRequest| header.kind == Request::Run.kind() && sent.seq == header.seq;
                // Only a request in one record has a limit that the worker looks at.
                if let Some(sent) = self.sent.range_mut(first..).find(is_it).filter(|_| fits_now) {
                    sent.record = step.position;
                }
                if header.kind == Request::Attach.kind() {
                    self.note_descriptor(step.position);
                }
                self.outgoing.pop_front();
                continue;
            }
            self.outgoing[0].sent = step.sent;
            // A ring that is full of long pieces grows, so that copying here and there goes on at once.
            if !self.end.requests.is_crowded() || !self.end.grow_requests() {
                return;
            }
        }
    }

    /// True if [`Lane::pump`] has something to do.
    #[inline]
    pub(super) fn can_pump(&mut self) -> bool {
        match self.outgoing.front() {
            None => false,
            Some(OutgoingRequest { attachment: Some(_), .. }) => self.can_send_descriptor(),
            Some(OutgoingRequest { sent: 0, body, .. }) if self.will_fit(body.len()) => {
                self.end.requests.fits(body.len())
            }
            Some(OutgoingRequest { sent, body, .. }) => self.end.requests.takes(body.len() - sent),
        }
    }

    /// Takes back the items of a request that the worker has not claimed, all or half of them. Returns the number of
    /// items that it may still run.
    pub(crate) fn recall(&mut self, seq: u32, items: u32, half: bool) -> u32 {
        // Found by halves, since hundreds may be taken back one by one. By difference, since numbers wrap around.
        let Some(first) = self.sent.front().map(|sent| sent.seq) else { return items };
        let at = self.sent.partition_point(|sent| sent.seq.wrapping_sub(first) < seq.wrapping_sub(first));
        let Some(sent) = self.sent.get(at).filter(|sent| sent.seq == seq) else { return items };
        if let Some(position) = sent.record {
            let claimed = self.claimed(seq, items);
            let limit = if half { claimed + (items - claimed) / 2 } else { 0 };
            if !self.end.requests.revise(position, limit) {
                return items;
            }
            // Read again behind the lowered limit: the worker claims first and looks at the limit then, so one of both
            // sees the other.
            return limit.max(self.claimed(seq, items));
        }
        // If none of it has been sent, only its header goes, so that the replies stay in order.
        match self.outgoing.iter_mut().find(|outgoing| outgoing.header.seq == seq && outgoing.sent == 0) {
            Some(outgoing) if outgoing.header.kind == Request::Run.kind() && !half => {
                // The worker answers with no values, and the numbers of its chunks stay in step.
                outgoing.header.limit = 0;
                outgoing.body = Cut::default();
                0
            }
            _ => items,
        }
    }

    /// Number of items of the request that the worker has claimed.
    fn claimed(&self, seq: u32, items: u32) -> u32 {
        // By difference, since sequence numbers wrap around.
        let progress = self.end.progress();
        match progress.seq.wrapping_sub(seq) as i32 {
            0 => progress.claimed.min(items),
            // It is at a later request, so it has claimed all of this one.
            1.. => items,
            _ => 0,
        }
    }
}

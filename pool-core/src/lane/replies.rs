//! Takes replies out of the worker's ring.

use pool_ipc::{Header, MORE, Record};

use super::{Lane, Taken, goes_in_pieces, is_small_for, nonsense};
use crate::codec::bytes::{Bytes, INLINE};
use crate::codec::encoder::FRAME;
use crate::codec::large_vec;
use crate::codec::number_buffer::ResultBuffer;
use crate::lane::messages::{ReplyKind, reply};
use crate::lane::reply::{Body, Reply};

/// The longest reply: a value of the largest length that its frame can hold. Tests use a smaller one, since they have less
/// time.
pub(super) const MESSAGE_MAX: usize = if cfg!(any(test, fuzzing)) { 1 << 20 } else { u32::MAX as usize + FRAME };

/// The most memory that is reserved because a reply announces its length.
pub(super) const ANNOUNCED_MAX: u64 = 64 << 20;

/// The most by which an announced length lets the memory of a reply grow at once, in multiples of the bytes that have come.
const GROWTH: usize = 7;

impl Lane {
    /// The next complete reply. One call takes no more of a reply in several records than the ring holds, so a worker that
    /// writes as fast as the host reads cannot keep all others waiting.
    ///
    /// # Errors
    ///
    /// The worker wrote a record that is no reply. The lane is of no further use.
    #[inline]
    pub(crate) fn next_reply(&mut self) -> Result<Option<Reply>, pool_ipc::Error> {
        let mut round_ends = None;
        loop {
            if self.is_corrupt {
                return Ok(None);
            }
            // The worker says how far it has read the requests. An impossible position is found before it is used.
            self.end.requests.check()?;
            let Some(record) = self.end.replies.peek()? else { return Ok(None) };
            let mut header = record.header;
            // Checked before anything is used: every word of the header is the worker's.
            if !is_reply(&header) {
                return Err(nonsense("kind, flags or count", header.kind.into(), ReplyKind::Failed.kind().into()));
            }
            if header.kind == ReplyKind::Array.kind() {
                if self.gathered_from.is_some() {
                    return Err(nonsense("kind", header.kind.into(), ReplyKind::Failed.kind().into()));
                }
                self.receive_array(&header)?;
                self.release(&record);
                continue;
            }
            let length = if record.more() { header.info } else { record.len as u64 };
            let replies = &self.end.replies;
            let would_gain = is_small_for(length, replies.extent()) || replies.is_crowded();
            if would_gain && (replies.has_earned_growth() || goes_in_pieces(length, replies.extent())) {
                self.end.grow_replies();
            }
            let body = if let Some(taken) = self.taken.take() {
                header.count = self.check_taken(&record, taken)?;
                let mut bytes = Vec::new();
                self.end.replies.copy(&record, &mut bytes);
                self.release_or_keep(record);
                Body::Gathered(taken.rest_of(bytes))
            } else if record.more() || self.gathered_from.is_some() {
                let position = record.position();
                // One round of the ring for each call, so that a fast writer does not keep the other lanes waiting.
                if position >= *round_ends.get_or_insert(position + self.end.replies.capacity() as u64) {
                    return Ok(None);
                }
                if self.gathered_from.is_none() {
                    // Reserved by the announced length; if the reply is longer, the vector grows.
                    self.gathered = large_vec::with_room(header.info.min(ANNOUNCED_MAX) as usize);
                }
                self.check_length(&record)?;
                // A vector that grows is moved, and its large pages are split, so it grows in few steps. The bytes that
                // have come bound each step, since an announced length may be a lie.
                let announced = (header.info.min(MESSAGE_MAX as u64) as usize).saturating_sub(self.gathered.len());
                let more = announced.min(GROWTH * self.gathered.len()).max(record.len);
                large_vec::reserve(&mut self.gathered, more);
                self.end.replies.copy(&record, &mut self.gathered);
                if header.flags & MORE != 0 {
                    self.release(&record);
                    continue;
                }
                self.release_or_keep(record);
                self.gathered_from = None;
                Body::Gathered(std::mem::take(&mut self.gathered))
            } else {
                Body::InRing(record)
            };
            let last = header.flags & reply::LAST != 0;
            if last && self.holds_reports(header.seq) {
                return Err(nonsense("the end of a request whose reports are held back", 1, 0));
            }
            // A last reply to another request is a violation, which the scheduler finds; the counts stay right until
            // then.
            if last && let Some(sent) = self.sent.pop_front_if(|sent| sent.seq == header.seq) {
                self.quiet -= usize::from(sent.quiet);
                self.silent -= usize::from(sent.silent);
                self.brief -= usize::from(sent.brief);
            }
            let failed = header.kind == ReplyKind::Failed.kind();
            let reports = header.kind == ReplyKind::Report.kind();
            let over_rss = header.flags & reply::OVER_RSS != 0;
            let raw = header.flags & reply::RAW != 0;
            let timed = header.flags & reply::TIMED != 0;
            let (seq, items, elapsed) = (header.seq, header.count, header.info);
            let (errs, ended) = (header.extra, header.limit);
            return Ok(Some(Reply {
                seq,
                items,
                failed,
                last,
                over_rss,
                raw,
                reports,
                timed,
                elapsed,
                errs,
                ended,
                body,
            }));
        }
    }

    /// Takes the body out if it has at most 15 bytes: the words that hold them, and their number.
    #[inline]
    pub(crate) fn take_short(&mut self, body: &Body) -> Option<([u64; 2], u8)> {
        let Body::InRing(record) = body else { return None };
        // Longer values need memory of their own, and then the lock of the completion is no matter.
        if record.len > INLINE {
            return None;
        }
        let words = self.end.replies.start(record);
        self.release(record);
        Some((words, record.len as u8))
    }

    /// Takes the next reply out if it is a short value of one item of request `seq`, but not the end of the request. All
    /// others are left for [`next_reply`](Lane::next_reply).
    #[inline]
    pub(crate) fn next_short(&mut self, seq: u32) -> Option<([u64; 2], u8)> {
        // An error is left to the next look, which reports it.
        let record = self.end.replies.peek().ok()??;
        let Header { kind, flags, count, .. } = record.header;
        // No flag at all: the end of a chunk, a growth of memory and times have to be looked at.
        let is_one = kind == ReplyKind::Values.kind() && flags == 0 && count == 1 && record.header.seq == seq;
        if is_one { self.take_short(&Body::InRing(record)) } else { None }
    }

    /// Takes the body out and releases its record.
    #[inline]
    pub(crate) fn take(&mut self, body: Body) -> Bytes {
        match body {
            Body::Gathered(bytes) => Bytes::Heap(bytes),
            Body::InRing(record) => {
                let bytes = Bytes::of_record(&self.end.replies, &record);
                self.release(&record);
                bytes
            }
        }
    }

    /// Copies the values of these items from their record to the result buffer, which checks them.
    ///
    /// # Errors
    ///
    /// The body, if it came in several records or the buffer refuses it.
    pub(crate) fn store(
        &mut self,
        body: Body,
        first: u64,
        items: u32,
        result_buffer: &mut dyn ResultBuffer,
    ) -> Result<(), Body> {
        match body {
            Body::InRing(record) if result_buffer.store(first, items, &self.end.replies, &record) => {
                self.release(&record);
                Ok(())
            }
            // Given back whole, to be decoded like any other: the buffer refuses values of another size.
            body => Err(body),
        }
    }

    #[inline]
    pub(super) fn release(&mut self, record: &Record) {
        self.end.replies.release(record);
        // The worker may be waiting for this room.
        self.touched = true;
    }

    /// Releases a record that has been copied, unless it holds reports: it is released together with an order then.
    fn release_or_keep(&mut self, record: Record) {
        if record.header.kind == ReplyKind::Report.kind() {
            self.unreleased = Some(record);
        } else {
            self.release(&record);
        }
    }

    /// Checks that the reply begins with the values or reports that were taken before; returns the number of items behind them.
    #[cold]
    fn check_taken(&self, record: &Record, taken: Taken) -> Result<u32, pool_ipc::Error> {
        let Header { kind, flags, seq, count, .. } = record.header;
        let is_it = kind == taken.kind.kind() && flags & (MORE | reply::RAW | reply::TIMED) == 0 && seq == taken.seq;
        if !is_it || record.len < taken.bytes {
            return Err(nonsense("the length of a reply", record.len as u64, taken.bytes as u64));
        }
        count.checked_sub(taken.items).ok_or_else(|| nonsense("count", count.into(), taken.items.into()))
    }

    /// Bounds the length of a reply in several records. In an honest one at least half of its bytes in the ring are
    /// payload, so empty records cannot go on for ever either.
    fn check_length(&mut self, record: &Record) -> Result<(), pool_ipc::Error> {
        let length = (self.gathered.len() + record.len) as u64;
        // Positions in the ring count headers, too, so a sender of empty records moves on here.
        let travelled = record.position() - *self.gathered_from.get_or_insert(record.position());
        let most = length.max(travelled / 2);
        if most > MESSAGE_MAX as u64 {
            return Err(nonsense("the length of a message", most, MESSAGE_MAX as u64));
        }
        Ok(())
    }
}

/// True if an honest worker may send this header: kind and flags are known, the record makes progress, and a failure or a
/// value without a frame belongs to one item.
#[inline]
fn is_reply(header: &Header) -> bool {
    let has = |flag: u16| header.flags & flag != 0;
    let says_something = match ReplyKind::of(header.kind) {
        Some(ReplyKind::Values) if has(reply::RAW) => header.count == 1,
        Some(ReplyKind::Values) => header.count > 0 || has(reply::LAST),
        Some(ReplyKind::Failed) => header.count == 1 && !has(reply::RAW),
        Some(ReplyKind::Report) => header.count == 0 && !has(!MORE),
        Some(ReplyKind::Array) => header.count == 0 && header.flags == 0,
        None => false,
    };
    // The times at the end of the body are those of one item.
    let is_one = header.count == 1 || !has(reply::TIMED);
    says_something && is_one && !has(!(MORE | reply::LAST | reply::OVER_RSS | reply::RAW | reply::TIMED))
}

//! The way back: replies out of the worker's ring.

use pool_ipc::{Header, MORE, Record};

use super::{Lane, Taken, is_small_for};
use crate::codec::bytes::{Bytes, INLINE};
use crate::codec::encoder::FRAME;
use crate::codec::large_vec;
use crate::codec::number_buffer::ResultBuffer;
use crate::lane::messages::reply;

/// The longest reply: a value as long as can be said before it. Tests have not the time for that.
pub(super) const MESSAGE_MAX: usize = if cfg!(any(test, fuzzing)) { 1 << 20 } else { u32::MAX as usize + FRAME };

/// Bytes that a reply may have set aside by saying that they will come.
pub(super) const ANNOUNCED_MAX: u64 = 64 << 20;

/// A reply that has arrived whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) seq: u32,
    pub(crate) items: u32,
    pub(crate) failed: bool,
    pub(crate) last: bool,
    pub(crate) over_rss: bool,
    /// The body is the one value's own bytes.
    pub(crate) raw: bool,
    pub(crate) elapsed: u64,
    pub(crate) body: Body,
}

/// Where a reply's body is.
#[derive(Debug)]
#[must_use = "a record stays in the ring until it is taken"]
pub(crate) enum Body {
    /// It came in several records.
    Gathered(Vec<u8>),
    InRing(Record),
}

impl Lane {
    /// The next reply that is there whole. Of one in pieces no more than a ringful is taken at a time, lest a worker that
    /// writes as fast as the host reads keep all others waiting.
    ///
    /// # Errors
    ///
    /// What the worker wrote is no reply; the lane is of no further use.
    #[inline]
    pub(crate) fn next_reply(&mut self) -> Result<Option<Reply>, pool_ipc::Error> {
        let mut round_ends = None;
        loop {
            if self.is_corrupt {
                return Ok(None);
            }
            self.end.requests.check()?;
            let Some(record) = self.end.replies.peek()? else { return Ok(None) };
            let mut header = record.header;
            if !is_reply(&header) {
                return Err(nonsense("kind, flags or count", header.kind.into(), reply::FAILED.into()));
            }
            let length = if record.more() { header.info } else { record.len as u64 };
            if is_small_for(length, self.end.replies.extent()) || self.end.replies.is_crowded() {
                self.end.grow_replies();
            }
            let body = if let Some(taken) = self.taken.take() {
                header.count = self.check_taken(&record, taken)?;
                let mut bytes = Vec::new();
                self.end.replies.copy(&record, &mut bytes);
                self.release(&record);
                Body::Gathered(bytes.split_off(taken.bytes))
            } else if record.more() || self.gathered_from.is_some() {
                let position = record.position();
                if position >= *round_ends.get_or_insert(position + self.end.replies.capacity() as u64) {
                    return Ok(None);
                }
                if self.gathered_from.is_none() {
                    // Memory for all of it, by its own word; more than that is found as it comes.
                    self.gathered = large_vec::with_room(header.info.min(ANNOUNCED_MAX) as usize);
                }
                self.check_length(&record)?;
                self.end.replies.copy(&record, &mut self.gathered);
                self.release(&record);
                if header.flags & MORE != 0 {
                    continue;
                }
                self.gathered_from = None;
                Body::Gathered(std::mem::take(&mut self.gathered))
            } else {
                Body::InRing(record)
            };
            let last = header.flags & reply::LAST != 0;
            if last && let Some(sent) = self.sent.pop_front_if(|sent| sent.seq == header.seq) {
                self.quiet -= usize::from(sent.quiet);
                self.silent -= usize::from(sent.silent);
                self.brief -= usize::from(sent.brief);
            }
            let failed = header.kind == reply::FAILED;
            let over_rss = header.flags & reply::OVER_RSS != 0;
            let raw = header.flags & reply::RAW != 0;
            let (seq, items, elapsed) = (header.seq, header.count, header.info);
            return Ok(Some(Reply { seq, items, failed, last, over_rss, raw, elapsed, body }));
        }
    }

    /// Takes the body out, if it is of a few bytes: the words in which these are, and how many they are.
    #[inline]
    pub(crate) fn take_short(&mut self, body: &Body) -> Option<([u64; 2], u8)> {
        let Body::InRing(record) = body else { return None };
        if record.len > INLINE {
            return None;
        }
        let words = self.end.replies.start(record);
        self.release(record);
        Some((words, record.len as u8))
    }

    /// Takes the next reply out, if it is there and is the value of one call, of a few bytes, and not the last of the call
    /// `seq`. All others are for [`next_reply`](Lane::next_reply).
    #[inline]
    pub(crate) fn next_short(&mut self, seq: u32) -> Option<([u64; 2], u8)> {
        let record = self.end.replies.peek().ok()??;
        let Header { kind, flags, count, .. } = record.header;
        let is_one = kind == reply::VALUES && flags == 0 && count == 1 && record.header.seq == seq;
        if is_one { self.take_short(&Body::InRing(record)) } else { None }
    }

    /// Takes the body out, so that the worker can use the place again.
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

    /// Takes the body to where these items' values land, if it is in one piece, and is these.
    ///
    /// # Errors
    ///
    /// The body, if it is not.
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
            body => Err(body),
        }
    }

    #[inline]
    fn release(&mut self, record: &Record) {
        self.end.replies.release(record);
        self.touched = true;
    }

    /// The reply must begin with what was [taken](Lane::take_finished) of it; the items behind that.
    #[cold]
    fn check_taken(&self, record: &Record, taken: Taken) -> Result<u32, pool_ipc::Error> {
        let Header { kind, flags, seq, count, .. } = record.header;
        let is_it = kind == reply::VALUES && flags & (MORE | reply::RAW) == 0 && seq == taken.seq;
        if !is_it || record.len < taken.bytes {
            return Err(nonsense("the length of a reply", record.len as u64, taken.bytes as u64));
        }
        count.checked_sub(taken.items).ok_or_else(|| nonsense("count", count.into(), taken.items.into()))
    }

    /// A reply in pieces has an end. At least half of what it takes of the ring is payload, if it is honest.
    fn check_length(&mut self, record: &Record) -> Result<(), pool_ipc::Error> {
        let length = (self.gathered.len() + record.len) as u64;
        let travelled = record.position() - *self.gathered_from.get_or_insert(record.position());
        let most = length.max(travelled / 2);
        if most > MESSAGE_MAX as u64 {
            return Err(nonsense("the length of a message", most, MESSAGE_MAX as u64));
        }
        Ok(())
    }
}

/// Whether a worker may say so: nothing unknown, nothing that could be said for ever; a failure is one item's, and so is
/// a whole value.
#[inline]
fn is_reply(header: &Header) -> bool {
    let has = |flag: u16| header.flags & flag != 0;
    let says_something = match header.kind {
        reply::VALUES if has(reply::RAW) => header.count == 1,
        reply::VALUES => header.count > 0 || has(reply::LAST),
        reply::FAILED => header.count == 1 && !has(reply::RAW),
        _ => false,
    };
    says_something && !has(!(MORE | reply::LAST | reply::OVER_RSS | reply::RAW))
}

#[cold]
fn nonsense(word: &'static str, found: u64, bound: u64) -> pool_ipc::Error {
    pool_ipc::Error::Corrupt { word, found, bound }
}

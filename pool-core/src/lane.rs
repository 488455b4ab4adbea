//! One worker's process as the host sees it: its two rings, what was put into the one and has not come out of the
//! other.
//!
//! A lane belongs to one incarnation of a worker. It is never repaired: after a death it is drained and dropped.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;
use pool_ipc::{HEADER_BYTES, Header, HostEnd, MORE, Record};

use crate::bytes::{Bytes, Cut};
use crate::encoder::FRAME;
use crate::landing::Landing;
use crate::launch::kill_process;
use crate::message::{LastWords, call, reply};
use crate::scheduler::Begun;

/// Bytes of each ring of a worker that has had little to do: enough for hundreds of small calls, little to make and to
/// keep. A message of any length passes, in pieces.
const RING_BYTES: usize = 16 << 10;

/// Bytes to which a ring grows that was too small: together with the others more than a CPU's second cache. What has
/// gone to the third is written again in less than half of the time that it takes if another CPU has it in its second.
const RING_BYTES_MAX: usize = 1 << 20;

/// Bytes to which it grows for a message in pieces, of which less need be under way.
const STREAM_BYTES: usize = 512 << 10;

/// The most payload of a record that others follow: so that the host takes one in while the next is written.
pub(crate) const RECORD_BYTES: usize = (32 << 10) - HEADER_BYTES;

/// The longest reply: a value as long as can be said before it. Tests have not the time for that.
const MESSAGE_MAX: usize = if cfg!(any(test, fuzzing)) { 1 << 20 } else { u32::MAX as usize + FRAME };

/// Bytes that a reply may have set aside by saying that they will come.
const ANNOUNCED_MAX: u64 = 64 << 20;

#[derive(Debug)]
pub(crate) struct Lane {
    end: HostEnd,
    pub(crate) pid: u32,
    pidfd: OwnedFd,
    /// We have sent it a SIGKILL.
    pub(crate) is_killed: bool,
    /// Calls without a complete reply, oldest first.
    sent: VecDeque<Sent>,
    /// Calls for which the ring had no room.
    outgoing: VecDeque<Outgoing>,
    /// A reply that has come in part.
    gathered: Vec<u8>,
    /// Where that reply began in the ring.
    gathered_from: Option<u64>,
    /// How many of the calls are quiet.
    quiet: usize,
    /// How many of them are brief.
    brief: usize,
    /// The worker wrote what no worker writes: nothing further from there is believed.
    pub(crate) is_garbled: bool,
    /// Has been written to or read from since the worker was last looked at.
    touched: bool,
}

#[derive(Debug)]
struct Sent {
    seq: u32,
    quiet: bool,
    brief: bool,
    /// Where its limit can be lowered: only if it went out in one record.
    record: Option<u64>,
}

#[derive(Debug)]
struct Outgoing {
    header: Header,
    body: Cut,
    sent: usize,
}

/// A reply that has arrived whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) seq: u32,
    pub(crate) items: u32,
    pub(crate) failed: bool,
    pub(crate) last: bool,
    pub(crate) worn: bool,
    /// The body is the one value's own bytes.
    pub(crate) whole: bool,
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

/// What a lane tells of a worker that is gone.
#[derive(Debug)]
pub(crate) struct Remains {
    /// The item that it had begun; it had finished those before.
    pub(crate) begun: Option<Begun>,
    draft_end: u32,
}

impl Lane {
    /// Memory for a lane, and the descriptor by which a worker opens it.
    pub(crate) fn memory() -> Result<(HostEnd, OwnedFd), pool_ipc::Error> {
        HostEnd::create_growing(RING_BYTES_MAX, RING_BYTES_MAX, RING_BYTES)
    }

    pub(crate) fn new(end: HostEnd, pid: u32, pidfd: OwnedFd) -> Self {
        Lane {
            end,
            pid,
            pidfd,
            is_killed: false,
            sent: VecDeque::new(),
            outgoing: VecDeque::new(),
            quiet: 0,
            brief: 0,
            gathered: Vec::new(),
            gathered_from: None,
            touched: false,
            is_garbled: false,
        }
    }

    /// Sends a call if it fits into one record now.
    #[inline]
    pub(crate) fn send(&mut self, header: &Header, body: &[u8]) -> bool {
        if !self.outgoing.is_empty() || !self.has_room(body.len()) {
            return false;
        }
        let position = self.end.calls.position();
        let is_sent = self.end.calls.send(header, body, 0).done;
        debug_assert!(is_sent);
        self.note_sent(header.kind, header.seq, header.flags, Some(position));
        true
    }

    /// Whether the bytes fit into one record, in a ring that has grown for them if need be.
    #[inline]
    fn has_room(&mut self, bytes: usize) -> bool {
        self.end.calls.room(bytes).is_some_and(|room| room >= bytes) || bytes <= RECORD_BYTES && self.make_room(bytes)
    }

    #[cold]
    fn make_room(&mut self, bytes: usize) -> bool {
        while !self.end.calls.fits(bytes) {
            if !self.grow_calls(bytes, RING_BYTES_MAX) {
                return false;
            }
        }
        true
    }

    /// Whether so many bytes fit into one record as soon as there is little else in the ring.
    fn will_fit(&self, bytes: usize) -> bool {
        bytes <= RECORD_BYTES.min(self.end.calls.extent() / 4 - HEADER_BYTES)
    }

    /// Lets the ring of calls grow, to at most so many bytes, if it is small for a message of this length, or full.
    fn grow_calls(&mut self, bytes: usize, most: usize) -> bool {
        let calls = &mut self.end.calls;
        let is_small = is_small_for(bytes as u64, calls.extent()) || calls.is_crowded();
        calls.extent() < most && is_small && self.end.grow_calls()
    }

    /// Sends a call; what does not fit now goes with [`Lane::pump`].
    pub(crate) fn send_cut(&mut self, header: Header, body: Cut) {
        if !self.send(&header, &body) {
            self.outgoing.push_back(Outgoing { header, body, sent: 0 });
            self.note_sent(header.kind, header.seq, header.flags, None);
            self.pump();
        }
    }

    #[inline]
    fn note_sent(&mut self, kind: u16, seq: u32, flags: u16, record: Option<u64>) {
        if kind == call::RUN {
            let (quiet, brief) = (flags & call::QUIET != 0, flags & call::BRIEF != 0);
            self.quiet += usize::from(quiet);
            self.brief += usize::from(brief);
            self.sent.push_back(Sent { seq, quiet, brief, record });
        }
        self.touched = true;
    }

    /// Sends more of what had no room: in one record, so that it can be taken back, if there will be room for that.
    #[inline]
    pub(crate) fn pump(&mut self) {
        while let Some(front) = self.outgoing.front() {
            let (sent, bytes) = (front.sent, front.body.len());
            let is_whole = sent == 0 && self.has_room(bytes);
            if sent == 0 && !is_whole && self.will_fit(bytes) {
                return;
            }
            let Outgoing { header, body, .. } = &self.outgoing[0];
            let step = self.end.calls.send(header, body, sent);
            self.touched |= step.position.is_some();
            if step.done {
                let is_it = |sent: &&mut Sent| header.kind == call::RUN && sent.seq == header.seq;
                if let Some(sent) = self.sent.iter_mut().find(is_it).filter(|_| is_whole) {
                    sent.record = step.position;
                }
                self.outgoing.pop_front();
                continue;
            }
            self.outgoing[0].sent = step.sent;
            if !self.grow_calls(bytes, STREAM_BYTES) {
                return;
            }
        }
    }

    /// Wakes the worker if it sleeps and there is something new for it.
    #[inline]
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.touched) {
            self.end.wake_worker();
        }
    }

    /// Whether [`Lane::next_reply`] or [`Lane::pump`] has something to do.
    #[inline]
    pub(crate) fn has_news(&mut self) -> bool {
        let has_room = match self.outgoing.front() {
            None => false,
            Some(Outgoing { sent: 0, body, .. }) if self.will_fit(body.len()) => self.end.calls.fits(body.len()),
            Some(Outgoing { sent, body, .. }) => self.end.calls.takes(body.len() - sent),
        };
        !self.is_garbled && (has_room || self.end.replies.has_news() || self.end.calls.check().is_err())
    }

    /// Whether there may be news at once: a call is out that takes no time, or a long message is on its way.
    pub(crate) fn expects_news(&self) -> bool {
        self.brief > 0 || !self.outgoing.is_empty() || !self.gathered.is_empty()
    }

    /// Whether a call is out whose end the worker need not announce.
    pub(crate) fn has_quiet_calls(&self) -> bool {
        self.quiet > 0
    }

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
            if self.is_garbled {
                return Ok(None);
            }
            self.end.calls.check()?;
            let Some(record) = self.end.replies.peek()? else { return Ok(None) };
            let header = record.header;
            let (length, most) = match record.more() {
                true => (header.info, STREAM_BYTES),
                false => (record.len as u64, RING_BYTES_MAX),
            };
            let extent = self.end.replies.extent();
            if extent < most && (is_small_for(length, extent) || self.end.replies.is_crowded()) {
                self.end.grow_replies();
            }
            if !is_reply(&header) {
                return Err(nonsense("kind, flags or count", header.kind.into(), reply::FAILED.into()));
            }
            let body = if record.more() || self.gathered_from.is_some() {
                let position = record.position();
                if position >= *round_ends.get_or_insert(position + self.end.replies.capacity() as u64) {
                    return Ok(None);
                }
                if self.gathered_from.is_none() {
                    // Memory for all of it, by its own word; more than that is found as it comes.
                    let _ = self.gathered.try_reserve_exact(header.info.min(ANNOUNCED_MAX) as usize);
                }
                self.check_length(&record)?;
                self.end.replies.copy(&record, &mut self.gathered);
                self.end.replies.release(&record);
                self.touched = true;
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
                self.brief -= usize::from(sent.brief);
            }
            let failed = header.kind == reply::FAILED;
            let worn = header.flags & reply::WORN != 0;
            let whole = header.flags & reply::WHOLE != 0;
            let (seq, items, elapsed) = (header.seq, header.count, header.info);
            return Ok(Some(Reply { seq, items, failed, last, worn, whole, elapsed, body }));
        }
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
    pub(crate) fn land(&mut self, body: Body, first: u64, items: u32, landing: &mut dyn Landing) -> Result<(), Body> {
        match body {
            Body::InRing(record) if landing.land(first, items, &self.end.replies, &record) => {
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

    /// Takes back what the worker has not begun of a call, all or half of it. The items that it may still run.
    pub(crate) fn recall(&mut self, seq: u32, items: u32, half: bool) -> u32 {
        let Some(sent) = self.sent.iter().find(|sent| sent.seq == seq) else { return items };
        if let Some(position) = sent.record {
            let claimed = self.claimed(seq, items);
            let limit = if half { claimed + (items - claimed) / 2 } else { 0 };
            if !self.end.calls.revise(position, limit) {
                return items;
            }
            return limit.max(self.claimed(seq, items));
        }
        // Not a byte of it may be out: then only its number goes, so that replies stay in step.
        match self.outgoing.iter_mut().find(|outgoing| outgoing.header.seq == seq && outgoing.sent == 0) {
            Some(outgoing) if outgoing.header.kind == call::RUN && !half => {
                outgoing.header.limit = 0;
                outgoing.body = Cut::default();
                0
            }
            _ => items,
        }
    }

    /// Items of the call that the worker says are its own.
    fn claimed(&self, seq: u32, items: u32) -> u32 {
        let progress = self.end.progress();
        match progress.seq.wrapping_sub(seq) as i32 {
            0 => progress.claimed.min(items),
            1.. => items,
            _ => 0,
        }
    }

    /// The item that the worker runs and since when, by its own word, or 0 if it has none. `None` if it runs none, or too
    /// many to be caught at one.
    pub(crate) fn running(&self) -> Option<(Begun, u64)> {
        // A worker notes the time before the item. If it was at the same item before and after, the time read in between
        // is this item's or, at worst, a later one's.
        let (first, second) = (self.end.progress(), self.end.progress());
        let is_same = (first.seq, first.claimed, first.item) == (second.seq, second.claimed, second.item);
        let begun = Begun { seq: second.seq, item: second.item };
        (is_same && second.claimed > 0).then_some((begun, second.since_ns))
    }

    pub(crate) fn kill(&mut self) {
        self.is_killed = true;
        kill_process(self.pidfd.as_fd(), Pid::from_raw(self.pid as i32));
    }

    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Of a worker that is gone, after its last reply was taken.
    pub(crate) fn remains(&self) -> Remains {
        let progress = self.end.progress();
        Remains {
            begun: (progress.claimed > 0).then_some(Begun { seq: progress.seq, item: progress.item }),
            draft_end: progress.draft,
        }
    }

    /// The values that it had finished and not published, if its notes make sense.
    pub(crate) fn salvage(&mut self, remains: &Remains) -> Option<Bytes> {
        let mut bytes = Vec::new();
        self.end.salvage(remains.draft_end, &mut bytes).then_some(Bytes::Heap(bytes))
    }

    pub(crate) fn last_words(&self) -> Option<LastWords> {
        postcard::from_bytes(&self.end.note()).ok()
    }
}

/// Whether a worker may say so: nothing unknown, nothing that could be said for ever; a failure is one item's, and so is
/// a whole value.
#[inline]
fn is_reply(header: &Header) -> bool {
    let has = |flag: u16| header.flags & flag != 0;
    let says_something = match header.kind {
        reply::VALUES if has(reply::WHOLE) => header.count == 1,
        reply::VALUES => header.count > 0 || has(reply::LAST),
        reply::FAILED => header.count == 1 && !has(reply::WHOLE),
        _ => false,
    };
    says_something && !has(!(MORE | reply::LAST | reply::WORN | reply::WHOLE))
}

/// Whether a ring has room for a few messages of so many bytes only, where many should be under way at once.
#[inline]
fn is_small_for(bytes: u64, extent: usize) -> bool {
    bytes > extent as u64 / 16
}

#[cold]
fn nonsense(word: &'static str, found: u64, bound: u64) -> pool_ipc::Error {
    pool_ipc::Error::Corrupt { word, found, bound }
}

#[cfg(test)]
mod tests;

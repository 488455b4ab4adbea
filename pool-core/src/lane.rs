//! One worker's process as the host sees it: its two rings, what was put into the one and has not come out of the
//! other.
//!
//! A lane belongs to one incarnation of a worker. It is never repaired: after a death it is drained and dropped.

pub(crate) mod messages;

mod replies;
mod requests;

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;
use pool_ipc::{Descriptors, HEADER_BYTES, HostEnd};

pub(crate) use self::replies::{Body, Reply};
use self::requests::{OutgoingRequest, SentRequest};
use crate::codec::bytes::Bytes;
use crate::lane::messages::LastWords;
use crate::launch::kill_process;
use crate::scheduler::{Begun, Seq};

/// Bytes of each ring of a worker that has had little to do: enough for hundreds of small calls, little to make and to
/// keep. A message of any length passes, in pieces.
const RING_BYTES: usize = 16 << 10;

/// Bytes to which a ring grows that was too small: as much as a CPU's second cache, or more. What has gone from there to
/// the third is written again in less than half of the time that it takes while another CPU has it in its second.
/// Measured from one CPU to another in pieces of 32 KiB: 9 GB/s by way of 256 KiB, 13 of 512, 28 of 1 MiB and of 2.
const RING_BYTES_MAX: usize = 1 << 20;

/// The most payload of a record that others follow: so that the host takes one in while the next is written.
pub(crate) const RECORD_BYTES: usize = (32 << 10) - HEADER_BYTES;

#[derive(Debug)]
pub(crate) struct Lane {
    end: HostEnd,
    pub(crate) pid: u32,
    pidfd: OwnedFd,
    /// We have sent it a SIGKILL.
    pub(crate) is_killed: bool,
    /// The kernel has refused us the right to, and the fork server has not been asked yet.
    pub(crate) is_out_of_reach: bool,
    /// Calls without a complete reply, oldest first.
    sent: VecDeque<SentRequest>,
    /// Calls for which the ring had no room.
    outgoing: VecDeque<OutgoingRequest>,
    /// A reply that has come in part.
    gathered: Vec<u8>,
    /// Where that reply began in the ring.
    gathered_from: Option<u64>,
    /// What was taken of the next reply before it was published.
    taken: Option<Taken>,
    /// How many of the calls are quiet.
    quiet: usize,
    /// Of how many of them not even the leader is told.
    silent: usize,
    /// How many of them are brief.
    brief: usize,
    /// The worker wrote what no worker writes: nothing further from there is believed.
    pub(crate) is_corrupt: bool,
    /// Has been written to or read from since the worker was last looked at.
    touched: bool,
}

/// Values that were taken before the reply that begins with them was published.
#[derive(Clone, Copy, Debug)]
struct Taken {
    seq: u32,
    items: u32,
    bytes: usize,
}

/// What a lane tells of a worker that is gone.
#[derive(Debug)]
pub(crate) struct Remains {
    /// The item that it had begun; it had finished those before.
    pub(crate) begun: Option<Begun>,
    unpublished_end: u32,
}

impl Lane {
    /// Memory for a lane, and the descriptors by which a worker opens it.
    pub(crate) fn memory() -> Result<(HostEnd, Descriptors), pool_ipc::Error> {
        HostEnd::create_growing(RING_BYTES_MAX, RING_BYTES_MAX, RING_BYTES)
    }

    pub(crate) fn new(end: HostEnd, pid: u32, pidfd: OwnedFd) -> Self {
        Lane {
            end,
            pid,
            pidfd,
            is_killed: false,
            is_out_of_reach: false,
            sent: VecDeque::new(),
            outgoing: VecDeque::new(),
            quiet: 0,
            silent: 0,
            brief: 0,
            gathered: Vec::new(),
            gathered_from: None,
            taken: None,
            touched: false,
            is_corrupt: false,
        }
    }

    /// Wakes the worker if it sleeps and there is something new for it.
    #[inline]
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.touched) {
            self.end.wake_worker();
        }
    }

    /// Wakes the worker if it sleeps, since there will be something new for it in a moment.
    #[inline]
    pub(crate) fn wake_early(&self) {
        self.end.wake_worker();
    }

    /// Whether [`Lane::next_reply`] or [`Lane::pump`] has something to do.
    #[inline]
    pub(crate) fn has_news(&mut self) -> bool {
        !self.is_corrupt && (self.can_pump() || self.end.replies.has_news() || self.end.requests.check().is_err())
    }

    /// Whether a call is out, or on its way.
    #[inline]
    pub(crate) fn expects_replies(&self) -> bool {
        !self.sent.is_empty() || !self.outgoing.is_empty()
    }

    /// Whether there may be news at once: a call is out that takes no time, or a long message is on its way.
    #[inline]
    pub(crate) fn expects_news(&self) -> bool {
        self.brief > 0 || !self.outgoing.is_empty() || !self.gathered.is_empty()
    }

    /// Whether a call is out whose end the worker need not announce.
    #[inline]
    pub(crate) fn has_quiet_calls(&self) -> bool {
        self.quiet > 0
    }

    /// Whether one is out whose end the worker does not announce to a leader either.
    #[inline]
    pub(crate) fn has_silent_calls(&self) -> bool {
        self.silent > 0
    }

    /// The item that the worker runs and since when, by its own word, or 0 if it has none. `None` if it runs none, or too
    /// many to be caught at one.
    pub(crate) fn running(&self) -> Option<(Begun, u64)> {
        let progress = self.end.running()?;
        Some((Begun { seq: Seq(progress.seq), item: progress.item }, progress.since_ns))
    }

    /// Kills the process, or notes that this process has no right to.
    pub(crate) fn kill(&mut self) {
        self.is_killed = true;
        self.is_out_of_reach = !kill_process(self.pidfd.as_fd(), Pid::from_raw(self.pid as i32));
    }

    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Of a worker that is gone, after its last reply was taken.
    pub(crate) fn remains(&self) -> Remains {
        let progress = self.end.progress();
        Remains {
            begun: (progress.claimed > 0).then_some(Begun { seq: Seq(progress.seq), item: progress.item }),
            unpublished_end: progress.unpublished_end,
        }
    }

    /// The values that it had finished and not published, if its notes make sense.
    pub(crate) fn salvage(&mut self, remains: &Remains) -> Option<Bytes> {
        let mut bytes = Vec::new();
        let before = self.taken.map_or(0, |taken| taken.bytes);
        if !self.end.salvage(remains.unpublished_end, &mut bytes) || bytes.len() < before {
            return None;
        }
        Some(Bytes::Heap(bytes.split_off(before)))
    }

    /// Takes the values that a living worker has finished and not published, beyond the `settled` ones of the call that
    /// it is at: how many items these are.
    ///
    /// They stay where they are until the host has released them, and so does what is published in between, so no race
    /// can change them. What has to agree is where the worker is: all of its replies have been taken, before and after.
    pub(crate) fn take_finished(&mut self, seq: u32, settled: u32) -> Option<(u32, Bytes)> {
        if self.is_corrupt || self.gathered_from.is_some() || self.end.replies.has_news() {
            return None;
        }
        // The item may be of the call before the claim's; not if it is the same once more, after the claim was seen.
        let (first, second) = (self.end.progress(), self.end.progress());
        if first != second || second.claimed == 0 || second.seq != seq {
            return None;
        }
        let items = second.item.checked_sub(settled).filter(|items| *items > 0)?;
        let before = self.taken.map_or(Taken { seq, items: 0, bytes: 0 }, |taken| taken);
        let mut bytes = Vec::new();
        let is_raw = self.end.salvage(second.unpublished_end, &mut bytes) && !self.end.replies.has_news();
        if !is_raw || bytes.len() < before.bytes {
            return None;
        }
        self.taken = Some(Taken { seq, items: before.items + items, bytes: bytes.len() });
        Some((items, Bytes::Heap(bytes.split_off(before.bytes))))
    }

    pub(crate) fn last_words(&self) -> Option<LastWords> {
        postcard::from_bytes(&self.end.last_words()).ok()
    }
}

/// Whether a ring has room for a few messages of so many bytes only, where many should pass before it is used again.
#[inline]
fn is_small_for(bytes: u64, extent: usize) -> bool {
    bytes > extent as u64 / 32
}

#[cfg(test)]
mod tests;

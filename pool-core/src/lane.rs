//! One worker's process as the host sees it: its two rings, what was put into the one and has not come out of the
//! other.
//!
//! A lane belongs to one incarnation of a worker. It is never repaired: after a death it is drained and dropped.

mod calls;
mod replies;

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;
use pool_ipc::{HEADER_BYTES, HostEnd};

use self::calls::{Outgoing, Sent};
pub(crate) use self::replies::{Body, Reply};
use crate::bytes::Bytes;
use crate::launch::kill_process;
use crate::message::LastWords;
use crate::scheduler::Begun;

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
            is_out_of_reach: false,
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
        !self.is_garbled && (self.can_pump() || self.end.replies.has_news() || self.end.calls.check().is_err())
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

/// Whether a ring has room for a few messages of so many bytes only, where many should pass before it is used again.
#[inline]
fn is_small_for(bytes: u64, extent: usize) -> bool {
    bytes > extent as u64 / 32
}

#[cfg(test)]
mod tests;

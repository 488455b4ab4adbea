//! The host's side of one worker: its two rings, and the requests without a complete reply.
//!
//! A lane belongs to one incarnation of a worker. It is never repaired: after a death it is drained and dropped.

pub(crate) mod messages;
pub(crate) mod reply;

mod array_link;
mod arrays;
#[cfg(feature = "remote")]
pub(crate) mod parcels;
mod replies;
mod report_flow;
mod reports;
mod requests;
mod sent;

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nix::unistd::Pid;
use pool_ipc::{Descriptors, HostEnd, Progress, Record};

use self::array_link::{ArrayLink, Way};
use crate::codec::bytes::Bytes;
use crate::lane::messages::{ReplyKind, ReportType};
#[cfg(feature = "remote")]
use crate::lane::parcels::Parcels;
use crate::lane::report_flow::ReportFlow;
use crate::lane::sent::{OutgoingRequest, SentRequest};
use crate::process::last_words::LastWords;
use crate::process::pidfd::kill_process;
use crate::process::socket::Socket;
use crate::process::standing::Stop;
use crate::scheduler::{Begun, Seq};

/// First size of each ring: enough for hundreds of small calls, and little to make and to keep. A longer message passes in
/// pieces.
const RING_BYTES: usize = 16 << 10;

/// Size to which a ring grows if it was too small: at least that of a CPU's second-level cache. A line that has left the
/// other CPU's second-level cache is overwritten in less than half of the time. Measured from one CPU to another in pieces
/// of 32 KiB: 9 GB/s through 256 KiB, 13 through 512 KiB, 28 through 1 MiB and through 2 MiB.
const RING_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Lane {
    end: HostEnd,
    /// The number of the process, or of the thread.
    pub(crate) pid: u32,
    body: Body,
    /// The way of descriptors to the worker and back. Only a lane of a test has none.
    arrays: Option<ArrayLink>,
    /// The pool has sent it a SIGKILL, or has tried to.
    pub(crate) is_killed: bool,
    /// The kernel has refused that, and the fork server has not been asked yet.
    pub(crate) is_out_of_reach: bool,
    /// Requests without a complete reply, oldest first.
    sent: VecDeque<SentRequest>,
    /// Requests for which the ring had no room.
    outgoing: VecDeque<OutgoingRequest>,
    /// The first part of a reply that has not arrived whole.
    gathered: Vec<u8>,
    /// Position of that reply in the ring.
    gathered_from: Option<u64>,
    /// The part of the next reply that was taken before it was published.
    taken: Option<Taken>,
    /// The last record of a long report, which is released together with an order.
    unreleased: Option<Record>,
    /// The next request may report.
    next_reports: bool,
    /// A request that is out may report, or one was a while ago.
    reporting: bool,
    /// The last order about reports.
    report_flow: ReportFlow,
    /// Number of sent requests that are quiet.
    quiet: usize,
    /// Number of sent requests that are silent.
    silent: usize,
    /// Number of sent requests that are brief.
    brief: usize,
    /// The worker has written bytes that no honest worker writes. Nothing further of its memory is used.
    pub(crate) is_corrupt: bool,
    /// Records were sent or released since the worker was last woken.
    touched: bool,
}

/// The worker at the other end.
#[derive(Debug)]
enum Body {
    /// A process, by its pidfd.
    Process(OwnedFd),
    /// A thread of this process, which nobody can kill.
    Thread(Arc<Stop>),
}

/// The values or reports that were taken before the reply that begins with them was published.
#[derive(Clone, Copy, Debug)]
struct Taken {
    kind: ReplyKind,
    seq: u32,
    items: u32,
    bytes: usize,
}

impl Taken {
    /// The bytes that have come behind them. Reports follow the number of their type, which stays where it is.
    fn rest_of(self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.kind != ReplyKind::Report {
            return bytes.split_off(self.bytes);
        }
        bytes.drain(self.bytes.min(ReportType::BYTES)..self.bytes);
        bytes
    }
}

/// The progress of a dead worker.
#[derive(Debug)]
pub(crate) struct Remains {
    /// The item that it had begun. It had finished the items before.
    pub(crate) begun: Option<Begun>,
    unpublished_end: u32,
}

impl Lane {
    /// Makes the memory of a lane, and the descriptors by which a worker opens it.
    pub(crate) fn memory() -> Result<(HostEnd, Descriptors), pool_ipc::Error> {
        HostEnd::create_growing(RING_BYTES_MAX, RING_BYTES_MAX, RING_BYTES)
    }

    pub(crate) fn new(end: HostEnd, pid: u32, pidfd: OwnedFd) -> Self {
        Lane::of(end, pid, Body::Process(pidfd))
    }

    /// The lane of a worker that is the thread `tid` of this process.
    pub(crate) fn of_thread(end: HostEnd, tid: u32, stop: Arc<Stop>) -> Self {
        Lane::of(end, tid, Body::Thread(stop))
    }

    fn of(end: HostEnd, pid: u32, body: Body) -> Self {
        Lane {
            end,
            pid,
            body,
            arrays: None,
            is_killed: false,
            is_out_of_reach: false,
            // Empty queues take no memory: an idle worker costs its rings and little more.
            sent: VecDeque::new(),
            outgoing: VecDeque::new(),
            quiet: 0,
            silent: 0,
            brief: 0,
            gathered: Vec::new(),
            gathered_from: None,
            taken: None,
            unreleased: None,
            next_reports: false,
            reporting: false,
            report_flow: ReportFlow::default(),
            touched: false,
            is_corrupt: false,
        }
    }

    /// Adds the host's end of the socket to the worker.
    pub(crate) fn with_socket(self, socket: Socket) -> Self {
        Lane { arrays: Some(ArrayLink::new(Way::Socket(socket))), ..self }
    }

    /// Adds the host's end of the way to a courier.
    #[cfg(feature = "remote")]
    pub(crate) fn with_parcels(self, parcels: Arc<Parcels>) -> Self {
        Lane { arrays: Some(ArrayLink::new(Way::Parcels(parcels))), ..self }
    }

    /// Wakes the worker if it sleeps and the lane has changed since it was last woken.
    #[inline]
    pub(crate) fn wake(&mut self) {
        // A wake-up costs a fence at least, so an untouched lane has none.
        if std::mem::take(&mut self.touched) {
            self.end.wake_worker();
        }
    }

    /// Wakes the worker if it sleeps, since a request will follow at once.
    #[inline]
    pub(crate) fn wake_early(&self) {
        self.end.wake_worker();
    }

    /// True if [`Lane::next_reply`] or [`Lane::pump`] has something to do.
    #[inline]
    pub(crate) fn has_news(&mut self) -> bool {
        // A worker that lied is not listened to any more; its end comes by its pidfd.
        !self.is_corrupt && (self.can_pump() || self.end.replies.has_news() || self.end.requests.check().is_err())
    }

    /// True if a request has no complete reply.
    #[inline]
    pub(crate) fn expects_replies(&self) -> bool {
        !self.sent.is_empty() || !self.outgoing.is_empty()
    }

    /// True if news may come at once: a brief request is out, or a long message is under way.
    #[inline]
    pub(crate) fn expects_news(&self) -> bool {
        // Pieces of a long message follow within microseconds, so a sleep between them would cost more than they do.
        self.brief > 0 || !self.outgoing.is_empty() || !self.gathered.is_empty()
    }

    /// True if a quiet request is out: the worker may not wake the router at its end.
    #[inline]
    pub(crate) fn has_quiet_calls(&self) -> bool {
        self.quiet > 0
    }

    /// True if a silent request is out: the worker may not wake a leader either.
    #[inline]
    pub(crate) fn has_silent_calls(&self) -> bool {
        self.silent > 0
    }

    /// The item that the worker runs and the time of its start in nanoseconds, or 0 if the item has no time limit: unchecked
    /// values. `None` if it runs none, or if the items pass too fast to be read.
    pub(crate) fn running(&self) -> Option<(Begun, u64)> {
        let progress = self.end.running()?;
        Some((Begun { seq: Seq(progress.seq), item: progress.item }, progress.since_ns))
    }

    /// Kills the process. If this process has no right to, [`Lane::is_out_of_reach`] says so. A thread ends after its item.
    pub(crate) fn kill(&mut self) {
        self.is_killed = true;
        match &self.body {
            // Refused if the worker has changed its user; its parent may still kill it.
            Body::Process(pidfd) => {
                self.is_out_of_reach = !kill_process(pidfd.as_fd(), Pid::from_raw(self.pid as i32));
            }
            Body::Thread(stop) => {
                stop.set();
                self.end.wake_worker();
            }
        }
    }

    /// The pidfd of a process; `None` of a thread.
    pub(crate) fn pidfd(&self) -> Option<&OwnedFd> {
        match &self.body {
            Body::Process(pidfd) => Some(pidfd),
            Body::Thread(_) => None,
        }
    }

    /// The progress of a dead worker, after its last reply was taken.
    pub(crate) fn remains(&self) -> Remains {
        let progress = self.end.progress();
        Remains {
            // Nothing claimed: the numbers are those of fresh memory.
            begun: (progress.claimed > 0).then_some(Begun { seq: Seq(progress.seq), item: progress.item }),
            unpublished_end: progress.unpublished_end,
        }
    }

    /// The values that it had finished and not published; `None` if its progress is impossible.
    pub(crate) fn salvage(&mut self, remains: &Remains) -> Option<Bytes> {
        let mut bytes = Vec::new();
        // Values that were taken while it lived have been delivered, and must not count twice.
        let before = self.taken.map_or(0, |taken| taken.bytes);
        if !self.end.salvage(remains.unpublished_end, &mut bytes) || bytes.len() < before {
            return None;
        }
        Some(Bytes::Heap(bytes.split_off(before)))
    }

    /// Takes the values that a living worker has finished and not published, beyond the `settled` ones of its current request
    /// `seq`. Returns the number of items and their values.
    ///
    /// No race can change these bytes: they stay where they are until the host has released them, and so do records that are
    /// published meanwhile. But all replies must have been taken before and after, so that the values begin where the host
    /// looks for them.
    pub(crate) fn take_finished(&mut self, seq: u32, settled: u32) -> Option<(u32, Bytes)> {
        if !self.has_taken_all() {
            return None;
        }
        // Read twice: at the first read the item may belong to the request before the claim's.
        let (first, second) = (self.end.progress(), self.end.progress());
        if first != second || second.claimed == 0 || second.seq != seq {
            return None;
        }
        let items = second.item.checked_sub(settled).filter(|items| *items > 0)?;
        let values = self.take_unpublished(Taken { kind: ReplyKind::Values, seq, items, bytes: 0 }, second)?;
        Some((items, values))
    }

    /// Whether nothing is published: unpublished bytes begin behind the last published reply, so that has to be taken first.
    fn has_taken_all(&self) -> bool {
        !self.is_corrupt && self.gathered_from.is_none() && !self.end.replies.has_news()
    }

    /// Takes unpublished bytes, beyond those that were taken before. They belong to `new`.
    fn take_unpublished(&mut self, new: Taken, progress: Progress) -> Option<Bytes> {
        let before = self.taken.unwrap_or(Taken { items: 0, ..new });
        let mut bytes = Vec::new();
        // The reply may have been published between the two looks; then the bytes are taken with it.
        let is_whole = self.end.salvage(progress.unpublished_end, &mut bytes) && !self.end.replies.has_news();
        if !is_whole || bytes.len() < before.bytes || before.kind != new.kind {
            return None;
        }
        // Kept until the reply is published: it begins with these bytes, which must not be delivered again.
        self.taken = Some(Taken { items: before.items + new.items, bytes: bytes.len(), ..new });
        Some(Bytes::Heap(before.rest_of(bytes)))
    }

    pub(crate) fn last_words(&self) -> Option<LastWords> {
        // The worker may have died while it wrote them, so nonsense here is no violation.
        postcard::from_bytes(&self.end.last_words()).ok()
    }
}

/// True if a ring holds only few messages of `bytes` bytes. It should hold many, so that its lines leave the other CPU's
/// cache before they are written again.
#[inline]
fn is_small_for(bytes: u64, extent: usize) -> bool {
    bytes > extent as u64 / 32
}

/// True if a message of this length mostly finds no room in one piece in a ring of this extent. Each piece would wait until the peer is
/// awake, so such a ring grows at once.
#[inline]
fn goes_in_pieces(bytes: u64, extent: usize) -> bool {
    bytes > extent as u64 / 2
}

/// The error of a record that no worker writes.
#[cold]
fn nonsense(word: &'static str, found: u64, bound: u64) -> pool_ipc::Error {
    pool_ipc::Error::Corrupt { word, found, bound }
}

#[cfg(test)]
mod tests;

//! A worker as the scheduler knows it: the phase of its process, and the chunks that it was sent.

use std::collections::VecDeque;

use super::interface::{Action, Begun, JobId, Seq, WorkerId};
use crate::units::Nanos;

impl Begun {
    /// Whether that item is of this chunk and has not been answered.
    pub(super) fn is_in(self, sent: &SentChunk) -> bool {
        // The worker's word may be older than its last reply; then it is about an item that has an answer.
        self.seq == sent.seq && self.item >= sent.settled
    }
}

/// Items of a job that wait for a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) job: JobId,
    pub(super) first: u64,
    pub(super) items: u32,
}

impl Range {
    pub(super) fn end(self) -> u64 {
        self.first + u64::from(self.items)
    }

    /// The items before `item`, and those behind it.
    pub(super) fn without(self, item: u64) -> (Range, Range) {
        // No truncation: the item lies within the range, which has 32 bits of items.
        let before = Range { items: (item - self.first) as u32, ..self };
        (before, Range { first: item + 1, items: self.items - before.items - 1, ..self })
    }
}

/// A chunk that was sent.
#[derive(Debug)]
pub(super) struct SentChunk {
    pub(super) seq: Seq,
    pub(super) range: Range,
    /// Items that were answered.
    pub(super) settled: u32,
    /// A recall is under way, or had no effect; there is no second one.
    pub(super) recalling: bool,
    /// There was a recall, so its worker may end it early.
    pub(super) was_recalled: bool,
    /// It counts among the chunks of its task, of its flow and of its priority that run at once.
    pub(super) occupies: bool,
    /// Expected time of its items.
    pub(super) time: Nanos,
    /// Worker time that its flow was charged; `None` if no other flow waited when it was sent.
    pub(super) charged: Option<Nanos>,
    pub(super) sent_at: Nanos,
}

impl SentChunk {
    /// The first item without an answer.
    #[inline]
    pub(super) fn next_item(&self) -> u64 {
        self.range.first + u64::from(self.settled)
    }

    /// All of its items have been answered.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.settled == self.range.items
    }

    /// Notes that a recall is under way, and gives its action; the worker keeps `half` of the unclaimed items.
    pub(super) fn ask_back<P>(&mut self, worker: WorkerId, half: bool) -> Action<P> {
        (self.recalling, self.was_recalled) = (true, true);
        Action::Recall { worker, seq: self.seq, items: self.range.items, half }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No process and none wanted.
    Vacant,
    /// No process until there is work for one.
    Resting,
    /// To be launched again at this time.
    BackingOff(Nanos),
    Launching,
    /// There is a process; it has not said that it is ready.
    Starting,
    Ready,
    /// Told to leave.
    Leaving,
    /// Told to leave since it was idle.
    Retiring,
    /// Killed by us, for this reason.
    Killed(KillReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KillReason {
    Timeout {
        begun: Begun,
        limit: Nanos,
        ran: Nanos,
    },
    Protocol,
    /// The chunk `seq` was cancelled.
    Cancelled {
        seq: Seq,
    },
    /// The item that it runs was cancelled.
    ItemCancelled {
        begun: Begun,
    },
    /// It violated the protocol before it was ready, or its initializer took too long: this counts as a failed start.
    FailedStart,
    /// It wrote something though nothing was asked of it.
    UnsolicitedReply,
    /// It did not begin its items, which is not the fault of their chunk.
    Unresponsive,
    /// It was told to leave, had no work left, and was still there after `ran`.
    Stayed {
        limit: Nanos,
        ran: Nanos,
    },
    /// The pool was terminated.
    Unwanted,
}

impl KillReason {
    /// Whether the chunk, or the item that it is at, is the reason why the worker was killed.
    pub(super) fn is_about(self, sent: &SentChunk) -> bool {
        match self {
            KillReason::Timeout { begun, .. } | KillReason::ItemCancelled { begun } => begun.is_in(sent),
            KillReason::Cancelled { seq } => seq == sent.seq,
            // The item that ran is blamed although an earlier one may have done it: blaming none would repeat it elsewhere
            // for ever.
            KillReason::Protocol | KillReason::FailedStart => true,
            KillReason::Stayed { .. } | KillReason::Unwanted => false,
            KillReason::Unresponsive | KillReason::UnsolicitedReply => false,
        }
    }
}

/// The last message to a worker: an item of the chunk `seq`, or all of the chunk, is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Warning {
    pub(super) seq: Seq,
    pub(super) item: Option<u32>,
    /// When the worker is killed if it is still there.
    pub(super) until: Nanos,
}

#[derive(Debug)]
pub(super) struct WorkerState {
    pub(super) phase: Phase,
    /// Oldest first: a worker answers in the order of sending.
    pub(super) in_flight: VecDeque<SentChunk>,
    /// Items that wait for this worker alone.
    pub(super) pinned: VecDeque<Range>,
    pub(super) next_seq: Seq,
    /// The expected time of all chunks in flight.
    pub(super) ahead: Nanos,
    /// When maps before it last gave way to a call.
    pub(super) gave_way_at: Nanos,
    /// Items sent to this process.
    pub(super) served: u64,
    /// A process of this worker has been ready, since the pool last shrank.
    pub(super) has_started: bool,
    /// Starts in a row that failed.
    pub(super) failures: u32,
    /// Processes in a row that started well and died before they had answered a chunk.
    pub(super) idle_deaths: u32,
    /// When this worker last replied, became ready, or got work while it had none.
    pub(super) heard: Nanos,
    /// Time limit of the initializer or state that it runs before it is ready.
    pub(super) start_limit: Option<Nanos>,
    /// When to probe the running item or the initializer.
    pub(super) deadline: Option<Nanos>,
    /// It was told that its work is cancelled.
    pub(super) warning: Option<Warning>,
}

impl WorkerState {
    pub(super) fn new() -> Self {
        // Without a process: the launch is an action like any other.
        WorkerState {
            phase: Phase::Vacant,
            in_flight: VecDeque::new(),
            pinned: VecDeque::new(),
            next_seq: Seq::default(),
            ahead: 0,
            gave_way_at: 0,
            served: 0,
            has_started: false,
            failures: 0,
            idle_deaths: 0,
            heard: 0,
            start_limit: None,
            deadline: None,
            warning: None,
        }
    }

    /// It was told to leave, and all of its chunks are answered or taken back.
    #[inline]
    pub(super) fn has_left_work(&self) -> bool {
        matches!(self.phase, Phase::Leaving | Phase::Retiring) && self.in_flight.iter().all(SentChunk::is_settled)
    }

    #[inline]
    pub(super) fn takes_work(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Ready)
    }

    /// The chunk of this number. Found by halves, since hundreds may be taken back one by one.
    pub(super) fn in_flight_mut(&mut self, seq: Seq) -> Option<&mut SentChunk> {
        let first = self.in_flight.front()?.seq;
        let at = self.in_flight.partition_point(|sent| sent.seq.since(first) < seq.since(first));
        self.in_flight.get_mut(at).filter(|sent| sent.seq == seq)
    }

    /// The newest chunk that still holds items to take back. A chunk that was taken back whole keeps its place until it
    /// is answered; one that did not give anything is not recalled again.
    #[inline]
    pub(super) fn last_to_recall(&self) -> Option<(usize, &SentChunk)> {
        self.in_flight.iter().enumerate().rev().find(|(_, sent)| !sent.recalling && sent.range.items > sent.settled)
    }
}

//! The vocabulary between the scheduler and its shell: ids, the options of a job, actions and causes.

pub(crate) use super::slab::JobId;
pub(super) use crate::priority::Priority;
pub(super) use crate::units::Nanos;

/// A worker's place in the pool; its process may be replaced, the number stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerId(pub(crate) u32);

impl WorkerId {
    #[inline]
    pub(crate) fn new(index: usize) -> Self {
        // No truncation: a pool has at most 4096 workers.
        WorkerId(index as u32)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of a chunk among those that were sent to one process, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    #[inline]
    pub(crate) fn next(self) -> Seq {
        // A process may serve more than 2^32 chunks; far fewer are in flight, so numbers that come again are never
        // mixed up.
        Seq(self.0.wrapping_add(1))
    }

    /// How many numbers after `first` it is.
    #[inline]
    pub(crate) fn since(self, first: Seq) -> u32 {
        self.0.wrapping_sub(first.0)
    }
}

/// Where a worker is by its own word: it has begun the item `item` of the chunk `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) seq: Seq,
    pub(crate) item: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SchedulerConfig {
    pub(crate) workers: usize,
    pub(crate) max_tasks_per_worker: Option<u64>,
    /// Failed starts in a row of one worker that are survived; one more breaks the pool.
    pub(crate) restart_limit: u32,
    /// A worker that has had nothing to do for this long leaves until it is needed.
    pub(crate) idle_timeout: Option<Nanos>,
    /// Workers run an initializer or open states first, which may fail, and take no work before that has succeeded.
    pub(crate) has_initializer: bool,
    /// Time that the first call before a worker is ready may take.
    pub(crate) initializer_timeout: Option<Nanos>,
    /// Time that the finalizer may take, if there is one.
    pub(crate) finalizer_timeout: Option<Nanos>,
}

#[cfg(test)]
impl SchedulerConfig {
    /// A pool without an initializer, limits or rest, which breaks at the second failed start in a row.
    pub(super) fn of(workers: usize) -> Self {
        SchedulerConfig {
            workers,
            max_tasks_per_worker: None,
            restart_limit: 1,
            idle_timeout: None,
            has_initializer: false,
            initializer_timeout: None,
            finalizer_timeout: None,
        }
    }
}

/// The options of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobSpec {
    /// The task's index in the dispatch table.
    pub(crate) task: u32,
    /// Time limit of each item.
    pub(crate) timeout: Option<Nanos>,
    /// Time that a running item has to end after it was cancelled; a part of its time limit, too. Zero if it is killed at once.
    pub(crate) grace: Nanos,
    /// Further attempts for an item that its worker did not survive.
    pub(crate) retries: u32,
    /// A panic is worth another attempt, too.
    pub(crate) retry_panics: bool,
    /// Items of a chunk, in place of the measured number.
    pub(crate) chunk_size: Option<u32>,
    /// A thread waits for its end from the start.
    pub(crate) urgent: bool,
    /// Its items come as its results are taken, so no thread can wait for it to be complete.
    pub(crate) lazy: bool,
    /// Its results are taken all together, so no thread waits for a part of them.
    pub(crate) bulk: bool,
    /// Its items are calls: strangers to each other.
    pub(crate) calls: bool,
    pub(crate) priority: Priority,
    /// Items of the task that may run at once for this job to send another one.
    pub(crate) max_concurrent: Option<u32>,
    /// Its items may report, so each of its calls is a job of its own.
    pub(crate) reports: bool,
    /// The name that the caller gave the job, for people.
    pub(crate) label: Option<&'static str>,
    /// The seed of the random numbers of its items.
    pub(crate) seed: Option<u64>,
    /// The number of the span in which it is submitted, or 0.
    #[cfg(feature = "tracing")]
    pub(crate) context: u32,
    /// An item that was begun is never run again, whatever its worker died of. Its chunks have one item each.
    pub(crate) once: bool,
    /// Each item is for one worker, and no other runs it.
    pub(crate) pinned: bool,
}

/// A chunk that its worker has ended, for the counters.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct EndedChunk {
    pub(crate) job: JobId,
    pub(crate) task: u32,
    pub(crate) label: Option<&'static str>,
    pub(crate) is_calls: bool,
    pub(crate) first: u64,
    /// Items that were answered.
    pub(crate) items: u32,
}

/// The chunk that a worker is at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CurrentChunk {
    pub(crate) job: JobId,
    pub(crate) task: u32,
    pub(crate) label: Option<&'static str>,
    pub(crate) is_calls: bool,
    pub(crate) seq: Seq,
    pub(crate) first: u64,
    /// Items that were answered.
    pub(crate) settled: u32,
    pub(crate) items: u32,
    /// When it was sent, or when the worker last replied if that was later.
    pub(crate) since: Nanos,
}

/// The state of a worker at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It has no process.
    Absent,
    /// It has no process until the pause is over that follows a failed start.
    BackingOff,
    Starting,
    Waiting,
    Working,
    Leaving,
    /// Its process has been killed and is not gone yet.
    Ending,
}

/// Why the process of a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitReason {
    /// By itself.
    Died,
    TimedOut {
        limit: Nanos,
        ran: Nanos,
    },
    Cancelled,
    NotReady,
    Unresponsive,
    Corrupt,
    Stayed {
        limit: Nanos,
        ran: Nanos,
    },
    Terminated,
    ShareDone,
    Grown,
    Idle,
    Resized,
    Closed,
}

impl JobSpec {
    #[inline]
    fn is_in_span_of(&self, call: JobSpec) -> bool {
        #[cfg(feature = "tracing")]
        return self.context == call.context;
        #[cfg(not(feature = "tracing"))]
        {
            let _ = call;
            true
        }
    }

    /// Whether a job of calls takes one more of this specification. Told by the fields that calls have.
    #[inline]
    pub(super) fn takes_call(&self, call: JobSpec) -> bool {
        let named = |label: Option<&'static str>| label.map(|label| (label.as_ptr(), label.len()));
        (self.task, self.urgent, self.retry_panics) == (call.task, call.urgent, call.retry_panics)
            && (self.timeout, self.retries, self.priority) == (call.timeout, call.retries, call.priority)
            && (self.max_concurrent, self.seed) == (call.max_concurrent, call.seed)
            // One text may have two addresses; then there are two jobs, which run alike.
            && named(self.label) == named(call.label)
            && self.is_in_span_of(call)
    }
}

/// Why an item, or a whole job, has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureCause {
    /// Its worker died while it ran.
    Died,
    /// Its worker was killed because the item had run for `ran` of its `limit`.
    TimedOut {
        limit: Nanos,
        ran: Nanos,
    },
    /// Its last `workers` workers in a row were sent it, did not begin it, and were killed for that.
    NotStarted {
        workers: u32,
    },
    /// Its worker was killed since it violated the protocol.
    Protocol,
    /// It was for one worker alone, and that has ended before it ran the item.
    NotRun,
    Cancelled,
    Terminated,
    Broken,
}

/// An order to the engine, which carries orders out in the order in which they come.
#[derive(Debug)]
pub(crate) enum Action<P> {
    /// Put a chunk into the worker's request ring, for the attempt of this number at its items, from 1. A `brief` one may be
    /// done before a thread could fall asleep over it. The worker claims at most `claim` items at once.
    Send {
        worker: WorkerId,
        seq: Seq,
        job: JobId,
        first: u64,
        items: u32,
        attempt: u32,
        wake: Wake,
        brief: bool,
        claim: u32,
    },
    /// Take back all that the worker has not claimed of a chunk, or half of that, and report it with
    /// [`Scheduler::recalled`](super::Scheduler::recalled).
    Recall { worker: WorkerId, seq: Seq, items: u32, half: bool },
    /// Deliver the failure of one item, which may be this worker's doing, and report it with
    /// [`Scheduler::failed`](super::Scheduler::failed).
    Fail { worker: Option<WorkerId>, job: JobId, item: u64, cause: FailureCause },
    /// The job is complete: nothing more will be delivered to it.
    Finish { job: JobId, record: P },
    /// All items of the job that have no outcome fail; nothing more will be delivered to it.
    Abort { job: JobId, record: P, cause: FailureCause },
    /// Start a process for the worker, and report it with [`Scheduler::launched`](super::Scheduler::launched) or
    /// [`Scheduler::exited`](super::Scheduler::exited).
    Launch { worker: WorkerId },
    /// Kill the worker's process; [`Scheduler::exited`](super::Scheduler::exited) follows.
    Kill { worker: WorkerId },
    /// Tell the worker that an item of the chunk is cancelled, or that all are.
    Warn { worker: WorkerId, seq: Seq, item: Option<u32> },
    /// Tell the worker to leave after its work; [`Scheduler::exited`](super::Scheduler::exited) follows.
    Quit { worker: WorkerId },
    /// Note the reason of the kill that follows: the worker's initializer has run for `ran` of its `limit`.
    Overran { worker: WorkerId, limit: Nanos, ran: Nanos },
    /// Look up since when the worker runs its item, and report it with [`Scheduler::probed`](super::Scheduler::probed).
    Probe { worker: WorkerId },
    /// Note that an item that has cost its worker will be tried again.
    Retry { worker: WorkerId, job: JobId, item: u64 },
}

/// The host threads that a worker wakes at the end of a chunk.
///
/// A wake-up costs more than a short chunk. So a chunk of a map with results that are taken all together wakes no
/// thread while its worker has more, and the host looks when half of that is done. A call that is expected to be short
/// does not wake the router, which looks after 1 ms, 2 ms, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The leader, or else the router.
    Anyone,
    /// The leader, if there is one; the router looks by itself.
    LeaderOnly,
    /// No thread, as long as the worker has more to do.
    NoOne,
}

/// A reply that answers nothing that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtocolViolation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// No new jobs; workers leave when the accepted ones are done.
    Closed,
    /// As closed, and there is nothing left to do.
    Terminated,
    /// Terminated since workers could not be started.
    Broken,
}

//! The reports of a job on their way to its listener: a queue with a bound.
//!
//! The thread that takes replies in puts reports here, under the engine's lock. The listener runs in a thread of the notifier,
//! one report after the other. When the queue is full the workers of the job are told to hold their next reports back, and when
//! half of it has been heard they go on. So a listener that blocks costs its own job time, no memory, and nobody else anything:
//! other replies of these workers are taken in as ever.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pool_ipc::Flow;

use crate::codec::bytes::Bytes;
use crate::job::origin::OriginWorker;
use crate::job::owner::Owner;
use crate::job::waiters::Callback;
use crate::lane::messages::ReportType;
use crate::scheduler::JobId;
use crate::sync::{AtomicBool, Ordering};
use crate::task::table::Entry;

/// Bytes of reports that wait for the listener of a job before its workers hold further ones back.
const QUEUE_BYTES: usize = 1 << 20;

/// Bytes of reports, or a little more, that the listener gets before the queue is looked at again.
const BATCH_BYTES: usize = QUEUE_BYTES / 16;

/// Reports of one item as they have come.
#[derive(Debug)]
pub(crate) struct RawReports {
    pub(crate) item: u64,
    pub(crate) attempt: u32,
    pub(crate) worker: OriginWorker,
    /// The number of their type and their values, as in a record of
    /// [`ReplyKind::Report`](crate::lane::messages::ReplyKind::Report).
    pub(crate) bytes: Bytes,
}

impl RawReports {
    /// The memory that they take.
    fn weight(&self) -> usize {
        size_of::<RawReports>() + self.bytes.len()
    }
}

/// Hears the reports of a job. It asks before each whether [they are over](Reports::is_over).
pub(crate) type Listener = Box<dyn FnMut(&Reports, RawReports) + Send>;

pub(crate) struct Reports {
    owner: Arc<dyn Owner>,
    pub(crate) job: JobId,
    pub(crate) entry: &'static Entry,
    pub(crate) is_map: bool,
    /// Nobody listens any more. Read between two reports.
    is_over: AtomicBool,
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<RawReports>,
    /// The weight of the queue and of the batch that the listener is at.
    bytes: usize,
    audience: Audience,
    /// Workers were told to hold reports back.
    is_holding: bool,
    /// The queue has a bound: the caller has the handle, and so can listen.
    is_bounded: bool,
    /// No more reports will come.
    has_ended: bool,
}

enum Audience {
    /// Nobody listens yet.
    Expected,
    /// Listens, and has heard all that there is.
    Idle(Listener),
    /// A thread of the notifier has the listener, or is about to.
    Busy,
    /// Nobody listens.
    Nobody,
}

impl Reports {
    /// For the reports of a call.
    pub(crate) fn of_call(owner: &Arc<impl Owner>, job: JobId, entry: &'static Entry) -> Arc<Self> {
        Reports::new(owner.clone(), job, entry, false, true)
    }

    /// For those of a map. They have no [bound](Reports::bound) yet, unless it is lazy: the input of others is pulled before the
    /// caller can listen.
    pub(crate) fn of_map(owner: &Arc<impl Owner>, job: JobId, entry: &'static Entry, is_lazy: bool) -> Arc<Self> {
        Reports::new(owner.clone(), job, entry, true, is_lazy)
    }

    fn new(owner: Arc<dyn Owner>, job: JobId, entry: &'static Entry, is_map: bool, is_bounded: bool) -> Arc<Self> {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            audience: Audience::Expected,
            is_holding: false,
            is_bounded,
            has_ended: false,
        };
        Arc::new(Reports { owner, job, entry, is_map, is_over: AtomicBool::new(false), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes reports in. Returns how their worker goes on, and the listener's next run, if there must be one.
    pub(crate) fn push(self: &Arc<Self>, reports: RawReports) -> (Flow, Option<Callback>) {
        let mut state = self.state();
        if matches!(state.audience, Audience::Nobody) {
            return (Flow::Drop, None);
        }
        // All reports of a record may have been taken before it was published: then only the type is left.
        if reports.bytes.len() > ReportType::BYTES {
            state.bytes += reports.weight();
            state.queue.push_back(reports);
        }
        // After the reports are in: one that is larger than the whole queue must come through, too.
        let is_full = state.is_bounded && state.bytes >= QUEUE_BYTES;
        state.is_holding |= is_full;
        let flow = if is_full { Flow::Hold } else { Flow::Go };
        (flow, if state.queue.is_empty() { None } else { self.next_run(&mut state) })
    }

    /// Whether nobody listens any more.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// How workers of the job go on with their reports.
    pub(crate) fn flow(&self) -> Flow {
        let state = self.state();
        match state.audience {
            Audience::Nobody => Flow::Drop,
            _ if state.is_holding => Flow::Hold,
            _ => Flow::Go,
        }
    }

    /// No more reports will come. Returns the listener's last run, in which it is dropped, if it is idle.
    pub(crate) fn end(self: &Arc<Self>) -> Option<Callback> {
        let mut state = self.state();
        state.has_ended = true;
        // A listener that is busy finds the end by itself.
        self.next_run(&mut state)
    }

    /// Has the listener hear all reports, also those that have come before.
    ///
    /// # Errors
    ///
    /// The listener, if there is or was another, or none is expected any more.
    pub(crate) fn listen(self: &Arc<Self>, listener: Listener) -> Result<(), Listener> {
        let mut state = self.state();
        if !matches!(state.audience, Audience::Expected) {
            // Dropped by the caller, since its destructor is the user's code.
            return Err(listener);
        }
        // The pool's end waits for the listener from now on.
        self.owner.expect_callback();
        state.audience = Audience::Idle(listener);
        // A job that has ended without reports needs a run as well: it drops the listener.
        let run = if state.queue.is_empty() && !state.has_ended { None } else { self.next_run(&mut state) };
        drop(state);
        run.into_iter().for_each(|run| self.owner.run_callback(run));
        Ok(())
    }

    /// The caller can listen from now on, so the queue has a bound.
    pub(crate) fn bound(&self) {
        self.state().is_bounded = true;
    }

    /// If nobody listens by now, nobody will: the caller is about to wait for the outcome.
    pub(crate) fn expect_nobody(self: &Arc<Self>) {
        let is_expected = matches!(self.state().audience, Audience::Expected);
        if is_expected {
            self.close();
        }
    }

    /// Nobody listens any more.
    pub(crate) fn close(self: &Arc<Self>) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut state = self.state();
        let (queue, audience) =
            (std::mem::take(&mut state.queue), std::mem::replace(&mut state.audience, Audience::Nobody));
        let has_ended = state.has_ended;
        // The bytes of many reports are freed behind the lock, which the thread that takes in replies may want.
        drop(state);
        drop(queue);
        if let Audience::Idle(listener) = audience {
            // Its destructor is the user's code, and the pool's end waits for this callback.
            self.owner.run_callback(Box::new(move || drop(listener)));
        }
        if !has_ended {
            // Items that hold a report back would wait for ever.
            self.owner.resume_reports(self.job);
        }
    }

    /// The listener's next run, if it is idle. It must have been expected.
    fn next_run(self: &Arc<Self>, state: &mut State) -> Option<Callback> {
        if !matches!(state.audience, Audience::Idle(_)) {
            return None;
        }
        // Moved out, so that the listener runs without the lock.
        let Audience::Idle(listener) = std::mem::replace(&mut state.audience, Audience::Busy) else { return None };
        let this = Arc::clone(self);
        Some(Box::new(move || this.run(listener)))
    }

    /// Has the listener hear all reports that wait. Runs in a thread of the notifier.
    fn run(self: Arc<Self>, listener: Listener) {
        // Dropped also when the listener panics: it hears nothing more then.
        let mut heard = Heard { reports: &self, listener: Some(listener), bytes: 0 };
        while let Some((batch, is_relieved)) = heard.next_batch() {
            if is_relieved {
                // Before the batch is heard, which may take long: the workers fill the queue meanwhile.
                self.owner.resume_reports(self.job);
            }
            for reports in batch {
                if let Some(listener) = &mut heard.listener {
                    listener(&self, reports);
                }
            }
        }
    }
}

/// A listener at work.
struct Heard<'r> {
    reports: &'r Arc<Reports>,
    /// `None` once it has been put back.
    listener: Option<Listener>,
    /// The weight of the batch that it is at.
    bytes: usize,
}

impl Heard<'_> {
    /// The next reports, and whether workers that hold reports back may go on; `None` if the run is over.
    fn next_batch(&mut self) -> Option<(Vec<RawReports>, bool)> {
        let mut state = self.reports.state();
        if matches!(state.audience, Audience::Nobody) {
            return None;
        }
        state.bytes -= std::mem::take(&mut self.bytes);
        if state.queue.is_empty() && !state.has_ended {
            // The next run is expected from here on, since this one counts as returned when it returns.
            self.reports.owner.expect_callback();
            state.audience = self.listener.take().map_or(Audience::Nobody, Audience::Idle);
        }
        // At half, not at once: each order to go on wakes workers.
        let is_relieved = state.is_holding && state.bytes <= QUEUE_BYTES / 2;
        state.is_holding &= !is_relieved;
        // A few at a time, so that the queue has room again before the listener has heard all of it.
        let mut batch = Vec::new();
        while self.bytes < BATCH_BYTES
            && let Some(reports) = state.queue.pop_front()
        {
            self.bytes += reports.weight();
            batch.push(reports);
        }
        drop(state);
        if batch.is_empty() {
            if is_relieved {
                self.reports.owner.resume_reports(self.reports.job);
            }
            return None;
        }
        Some((batch, is_relieved))
    }
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        if self.listener.is_some() {
            // The job has ended, nobody is to listen any more, or the listener has panicked.
            self.reports.close();
        }
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").field("job", &self.job).finish_non_exhaustive()
    }
}

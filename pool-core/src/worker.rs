//! The worker process: takes calls from its lane, runs them, writes replies.

#![allow(unsafe_code)]

pub(crate) mod chunk;
pub(crate) mod limits;
pub(crate) mod run;

use std::alloc::Layout;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Backoff, Descriptors, HubWorker, ProgressWriter, Record, WorkerEnd};

use crate::codec::large_vec;
use crate::lane::messages::{LastWords, Request, exit, reply, request};
use crate::process::fork_check::ForkCheck;
use crate::process::output;
use crate::process::panic::{self, PanicReport};
use crate::process::signals;
use crate::task::table::TASKS;
use crate::worker::chunk::{Chunk, Input, Link};
use crate::worker::limits::{RssWatch, WorkerLimits};

/// The worker that runs the current task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    id: usize,
    incarnation: u32,
    pid: u32,
}

impl Worker {
    pub(crate) fn new(id: u32, incarnation: u32) -> Self {
        Worker { id: id as usize, incarnation, pid: std::process::id() }
    }

    /// Its number in the pool, from 0; a process that replaces it has the same.
    pub fn id(&self) -> usize {
        self.id
    }

    /// How many processes have had this number before.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When the item that it runs will be killed, if its task has a [time limit](crate::Task::timeout): a task that
    /// looks can stop in time and return what it has.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool_core::prelude::*;
    /// use std::time::Instant;
    ///
    /// #[pool_task]
    /// fn best_effort() -> u64 {
    ///     let deadline = pool_core::current_worker().and_then(|worker| worker.deadline()).unwrap();
    ///     (0..).take_while(|_| Instant::now() + Duration::from_millis(900) < deadline).count() as u64
    /// }
    ///
    /// # fn main() -> pool_core::Result<()> {
    /// assert!(Pool::new(1)?.apply(best_effort::Task.timeout(Duration::from_secs(1)), ())? > 0);
    /// # Ok(()) }
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        let deadline = chunk::deadline();
        (deadline > 0).then(|| Instant::now() + Duration::from_nanos(deadline.saturating_sub(monotonic_ns())))
    }
}

/// A [`Worker`] that is never freed, or null. A worker that makes a pool of copies of itself has it replaced in them.
static CURRENT: AtomicPtr<Worker> = AtomicPtr::new(std::ptr::null_mut());

/// The worker that this code runs in, `None` in any other process.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn whoami() -> Option<usize> { pool_core::current_worker().map(|worker| worker.id()) }
///
/// # fn main() -> pool_core::Result<()> {
/// assert_eq!(whoami(), None);
/// assert_eq!(Pool::new(1)?.apply(whoami::Task, ())?, Some(0));
/// # Ok(()) }
/// ```
pub fn current_worker() -> Option<Worker> {
    // SAFETY:
    // - it is null, or was made of a `Worker` that is never freed.
    let worker = unsafe { CURRENT.load(Ordering::Acquire).as_ref() };
    // A process that the task forked is no worker.
    worker.copied().filter(|worker| worker.pid == std::process::id())
}

/// Runs as `worker` until the host says to leave, or dies.
pub(crate) fn run(worker: Worker, lane: Descriptors, hub: Descriptors, settings: &WorkerLimits) -> ! {
    CURRENT.store(Box::leak(Box::new(worker)), Ordering::Release);
    let opened = (WorkerEnd::open(&lane), HubWorker::open(&hub));
    drop((lane, hub));
    let (Ok(end), Ok(hub)) = opened else { leave(exit::BAD_LANE) };
    settings.apply(worker.id as u32);
    output::prepare();
    let me = ForkCheck::here();
    signals::note_deaths(end.progress.clone(), me);
    note_panics(end.progress.clone(), me);
    RequestLoop { end, hub, me, rss: RssWatch::new(settings), long: Vec::new(), owes: Owes::Nobody, is_new: true }
        .serve()
}

/// Should a panic end the process, the host reads in the progress what it was.
fn note_panics(progress: ProgressWriter, me: ForkCheck) {
    panic::report_panics_of_this_thread(move |report| {
        if !me.is_here() {
            return; // the progress is not a copy's
        }
        let mut report = PanicReport { backtrace: None, ..report.clone() };
        report.message.truncate(report.message.floor_char_boundary(NOTE_TEXT_MAX));
        if let Ok(words) = postcard::to_allocvec(&LastWords::Panicked(report)) {
            progress.write_last_words(&words);
        }
    });
}

/// Text of a panic that its note may hold; a message has the whole.
const NOTE_TEXT_MAX: usize = 1024;

/// Ends the process at once: what the host registered to run at exit is none of a worker's business.
fn leave(code: i32) -> ! {
    output::flush_at_end();
    if code == 0 {
        signals::write_coverage();
    }
    signals::exit_now(code)
}

/// Where a worker sits.
struct RequestLoop {
    end: WorkerEnd,
    hub: HubWorker,
    me: ForkCheck,
    rss: Option<RssWatch>,
    /// The bytes of a call that came in several records.
    long: Vec<u8>,
    /// Whom of the host it has not told of the last replies.
    owes: Owes,
    /// Nothing but the greeting has come: the first call may be far away, and other workers are to start meanwhile.
    is_new: bool,
}

/// Whom a worker has still to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owes {
    Nobody,
    /// The router, unless a leader has heard of it.
    Router,
    /// Whoever takes replies in.
    Host,
}

/// A call that has arrived whole: in its record, or gathered from several.
struct Call {
    record: Record,
    is_long: bool,
}

impl RequestLoop {
    fn serve(mut self) -> ! {
        loop {
            let Ok(call) = self.next_call() else { leave(exit::BAD_LANE) };
            let header = call.record.header;
            let has = |flag| header.flags & flag != 0;
            let may_take_its_time = match self.owes {
                Owes::Nobody => false,
                Owes::Router => !has(request::QUIET),
                Owes::Host => !has(request::SILENT),
            };
            if may_take_its_time {
                self.hub.notify();
            }
            if header.kind == Request::Quit.kind() {
                leave(0);
            }
            self.is_new = header.kind == Request::Init.kind();
            self.answer(&call);
            if !call.is_long {
                self.end.requests.release(&call.record);
            }
            self.owes = if has(request::SILENT) {
                Owes::Host
            } else if has(request::QUIET) {
                if self.hub.notify_leader() { Owes::Nobody } else { Owes::Router }
            } else {
                self.hub.notify();
                Owes::Nobody
            };
        }
    }

    #[inline]
    fn next_call(&mut self) -> Result<Call, pool_ipc::Error> {
        self.long.clear();
        let mut first = None;
        loop {
            let Some(record) = self.end.requests.peek()? else {
                self.rest(first.is_some());
                continue;
            };
            if first.is_none() && !record.more() {
                return Ok(Call { record, is_long: false });
            }
            if large_vec::try_reserve(&mut self.long, record.len).is_err() {
                self.fail_to_allocate(first.unwrap_or(record).header.seq, record.len);
            }
            self.end.requests.copy(&record, &mut self.long);
            self.end.requests.release(&record);
            let more = record.more();
            let record = first.get_or_insert(record);
            if !more {
                return Ok(Call { record: *record, is_long: true });
            }
        }
    }

    /// There is no memory for the call, of which a part has come. Its first item is charged with that as if it had
    /// begun: sent elsewhere, it would end the next worker.
    #[cold]
    fn fail_to_allocate(&self, seq: u32, bytes: usize) -> ! {
        self.end.progress.begin_item(0, self.end.replies.unpublished_end(0));
        self.end.progress.claim(seq, 1);
        std::alloc::handle_alloc_error(Layout::array::<u8>(bytes).unwrap_or(Layout::new::<u8>()))
    }

    /// Waits for a record.
    #[inline]
    fn rest(&mut self, is_amid_call: bool) {
        if is_amid_call {
            // The host waits for the room that there is now.
            self.hub.notify();
        }
        if self.owes == Owes::Host {
            self.owes = if self.hub.notify_leader() { Owes::Nobody } else { Owes::Router };
        }
        let backoff = if self.is_new { Backoff::NONE } else { Backoff::default() };
        if backoff.wait(|| self.end.requests.has_news()) {
            // A host that sends one call after the other need not be woken for what is done.
            return;
        }
        if !is_amid_call {
            self.long = Vec::new();
        }
        if self.owes != Owes::Nobody {
            self.owes = Owes::Nobody;
            self.hub.notify();
        }
        self.end.wait_request(Backoff::NONE);
    }

    #[inline]
    fn answer(&mut self, call: &Call) {
        let header = call.record.header;
        let WorkerEnd { requests, replies, progress, bell } = &mut self.end;
        let is_raw = header.flags & request::RAW != 0;
        let input = if call.is_long && is_raw {
            Input::Raw(std::mem::take(&mut self.long))
        } else if call.is_long {
            Input::Framed(&self.long)
        } else {
            // SAFETY:
            // - The producer of a call ring is the host, which this process trusts;
            // - the record is released only after this function.
            let bytes = unsafe { requests.bytes(&call.record) };
            // SAFETY:
            // - the host keeps the segment until it has heard the end of the reply, which comes after this function.
            let in_arena = || unsafe { self.hub.arena().bytes(bytes) };
            // A call that was taken back before it went says nothing.
            let bytes = if header.flags & request::IN_ARENA != 0 { in_arena().unwrap_or_default() } else { bytes };
            if is_raw { Input::Raw(bytes.to_vec()) } else { Input::Framed(bytes) }
        };
        // A panic that a task has caught is no cause of a later death.
        progress.clear_last_words();
        let link = Link { requests, replies, progress, bell, hub: &self.hub, me: self.me };
        let mut chunk = Chunk::new(link, (!call.is_long).then_some(call.record), &header, input);
        if header.extra != request::NO_TASK
            && let Some(entry) = TASKS.get(header.extra as usize)
        {
            chunk.run(entry.run);
        }
        let now = monotonic_ns();
        let is_over_rss = self.rss.as_mut().is_some_and(|rss| rss.is_past(now));
        chunk.end(now, if is_over_rss { reply::OVER_RSS } else { 0 });
    }
}

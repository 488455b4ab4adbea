//! The worker process: takes calls from its lane, runs them, writes replies.

#![allow(unsafe_code)]

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Consumer, Header, HubWorker, Journal, Patience, Producer, Record, WorkerBell, WorkerEnd};

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::limits::{RssWatch, Settings};
use crate::lineage::Lineage;
use crate::message::{Failure, LastWords, call, reply};
use crate::panic;
use crate::signals;
use crate::table::TASKS;
use crate::task::Task;

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
        let deadline = DEADLINE.load(Ordering::Relaxed);
        (deadline > 0).then(|| Instant::now() + Duration::from_nanos(deadline.saturating_sub(monotonic_ns())))
    }
}

static CURRENT: OnceLock<Worker> = OnceLock::new();

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
    // A process that the task forked is no worker.
    CURRENT.get().copied().filter(|worker| worker.pid == std::process::id())
}

/// Runs as `worker` until the host says to leave, or dies.
pub(crate) fn run(worker: Worker, lane: OwnedFd, hub: OwnedFd, settings: &Settings) -> ! {
    let _ = CURRENT.set(worker);
    let opened = (WorkerEnd::open(lane.as_fd()), HubWorker::open(hub.as_fd()));
    let (Ok(mut end), Ok(hub_worker)) = opened else { leave(EXIT_BAD_LANE) };
    drop((lane, hub));
    let hub = hub_worker;
    settings.apply(worker.id as u32);
    let mut rss = RssWatch::new(settings);
    let journal = end.journal.clone();
    signals::note_deaths(journal.clone());
    let me = Lineage::here();
    panic::report_panics_of_this_thread(move |report| {
        if !me.is_here() {
            return; // the journal is not a copy's
        }
        let mut report = report.clone();
        report.backtrace = None;
        report.message.truncate(report.message.floor_char_boundary(NOTE_TEXT_MAX));
        if let Ok(words) = postcard::to_allocvec(&LastWords::Panicked(report)) {
            journal.note(&words);
        }
    });
    let mut long = Vec::new();
    let mut owes_ring = false;
    loop {
        let Ok(call) = next_call(&mut end, &hub, &mut long, &mut owes_ring) else { leave(EXIT_BAD_LANE) };
        let header = call.record.header;
        if header.flags & call::QUIET == 0 && std::mem::take(&mut owes_ring) {
            // This one may take its time.
            hub.ring();
        }
        if header.kind == call::QUIT {
            leave(0);
        }
        answer(&mut end, &hub, me, &mut rss, &call, &long);
        if !call.is_long {
            end.calls.release(&call.record);
        }
        if header.flags & call::QUIET == 0 {
            owes_ring = false;
            hub.ring();
        } else if !hub.ring_leader() {
            owes_ring = true;
        }
    }
}

/// Text of a panic that its note may hold; a message has the whole.
const NOTE_TEXT_MAX: usize = 1024;

/// Exit code of a worker that could not use its shared memory.
const EXIT_BAD_LANE: i32 = 120;

/// Ends the process at once: what the host registered to run at exit is none of a worker's business.
fn leave(code: i32) -> ! {
    flush();
    signals::exit_now(code)
}

/// Output of a task is on its way before anybody hears that the task is done or the worker rests.
fn flush() {
    let _ = std::io::stdout().flush();
}

/// A call that has arrived whole: in its record, or gathered from several.
struct Call {
    record: Record,
    is_long: bool,
}

fn next_call(
    end: &mut WorkerEnd,
    hub: &HubWorker,
    long: &mut Vec<u8>,
    owes_ring: &mut bool,
) -> Result<Call, pool_ipc::Error> {
    long.clear();
    let mut first = None;
    loop {
        let Some(record) = end.calls.peek()? else {
            flush();
            // A host that is about to send more need not be woken for what is done. One that has more of this very call to
            // send waits for the room that there is now.
            if !Patience::default().wait(|| end.calls.has_news()) || first.is_some() {
                if std::mem::take(owes_ring) || first.is_some() {
                    hub.ring();
                }
                end.wait_call(Patience::NONE);
            }
            continue;
        };
        if first.is_none() && !record.more() {
            return Ok(Call { record, is_long: false });
        }
        end.calls.copy(&record, long);
        end.calls.release(&record);
        let more = record.more();
        let record = first.get_or_insert(record);
        if !more {
            return Ok(Call { record: *record, is_long: true });
        }
    }
}

fn answer(end: &mut WorkerEnd, hub: &HubWorker, me: Lineage, rss: &mut Option<RssWatch>, call: &Call, long: &[u8]) {
    let header = call.record.header;
    let WorkerEnd { calls, replies, journal, bell } = end;
    let bytes = if call.is_long {
        long
    } else {
        // SAFETY:
        // - The producer of a call ring is the host, which this process trusts;
        // - the record is released only after this function.
        unsafe { calls.bytes(&call.record) }
    };
    let mut chunk = Chunk {
        calls,
        replies,
        journal,
        bell,
        hub,
        record: (!call.is_long).then_some(call.record),
        seq: header.seq,
        items: header.count.min(header.limit),
        next: 0,
        claimed: 0,
        input: Decoder::new(bytes),
        drafted: 0,
        draft_bytes: 0,
        me,
        limit: header.info,
        begun: monotonic_ns(),
    };
    if header.kind == call::INIT && header.extra == call::NO_TASK {
        chunk.items = 0;
    } else if let Some(entry) = TASKS.get(header.extra as usize) {
        // What was noted about the chunk before must not be taken for this one's.
        DEADLINE.store(0, Ordering::Relaxed);
        chunk.note_item();
        (entry.run)(&mut chunk);
    }
    let now = monotonic_ns();
    let worn = rss.as_mut().is_some_and(|rss| rss.is_past(now));
    let flags = reply::LAST | if worn { reply::WORN } else { 0 };
    chunk.publish(flags, now - chunk.begun);
}

/// The items of a call that is being answered.
pub(crate) struct Chunk<'w> {
    calls: &'w Consumer,
    replies: &'w mut Producer,
    journal: &'w Journal,
    bell: &'w mut WorkerBell,
    hub: &'w HubWorker,
    /// Where the host may lower the limit, unless the call came in several records.
    record: Option<Record>,
    seq: u32,
    items: u32,
    /// The item that is run.
    next: u32,
    /// Items that the host cannot take back any more.
    claimed: u32,
    input: Decoder<'w>,
    /// Values in the record under construction.
    drafted: u32,
    draft_bytes: usize,
    /// This process, and not one that a task forked.
    me: Lineage,
    /// Nanoseconds that each item may take, or 0.
    limit: u64,
    begun: u64,
}

impl std::fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk").field("seq", &self.seq).field("items", &self.items).finish_non_exhaustive()
    }
}

/// Values are published at the latest when they come to so many bytes, so that the host can take them in meanwhile.
const PIECE: usize = 16 << 10;

/// Runs the items of a chunk: the code of each task, made for its types.
pub(crate) fn run_chunk<T: Task>(chunk: &mut Chunk<'_>) {
    while chunk.claim() {
        match catch_unwind(AssertUnwindSafe(|| run_claimed::<T>(chunk))) {
            Ok(None) => continue,
            Ok(Some(Odd::Long(bytes))) => chunk.put_long(&bytes),
            Ok(Some(Odd::Failed(failure))) => chunk.fail(&failure),
            Err(payload) => {
                let report = panic::caught(payload);
                chunk.journal.note(&[]);
                chunk.fail(&Failure::Panicked(report));
            }
        }
        chunk.next += 1;
    }
}

/// Notes, if there is a limit, when the item begins and when it must be through.
#[inline]
fn stamp(journal: &Journal, limit: u64) {
    if limit > 0 {
        let now = monotonic_ns();
        journal.stamp(now);
        DEADLINE.store(now.saturating_add(limit), Ordering::Relaxed);
    }
}

/// When the current item will be killed, on the monotonic clock; 0 if never.
static DEADLINE: AtomicU64 = AtomicU64::new(0);

/// What an item came to that is not a value beside the others.
enum Odd {
    /// A value that does not fit there.
    Long(Vec<u8>),
    Failed(Failure),
}

/// Runs claimed items as long as their values fit into one record.
#[inline]
fn run_claimed<T: Task>(chunk: &mut Chunk<'_>) -> Option<Odd> {
    chunk.make_room();
    let Chunk { replies, journal, input, next, drafted, draft_bytes, .. } = chunk;
    let (begun, limit, me) = (*draft_bytes, chunk.limit, chunk.me);
    let draft_start = replies.draft_end(begun);
    let claimed = chunk.claimed;
    let mut out = Encoder::new(replies.spare(0).get_mut(begun..).unwrap_or_default());
    while *next < claimed && *draft_bytes < PIECE {
        journal.begin_item(*next, draft_start.wrapping_add(out.used() as u32));
        stamp(journal, limit);
        let output = match input.item(T::args_size()).and_then(T::invoke) {
            Ok(output) => output,
            Err(error) => return Some(Odd::Failed(Failure::Decode(error.to_string()))),
        };
        if !me.is_here() {
            // A process that the task forked must not answer in the worker's place.
            signals::exit_now(0);
        }
        let encoded = out.item(T::output_size(), |out| T::encode_output(&output, out));
        // Before the value counts: should this panic, that is the item's one outcome.
        drop(output);
        match encoded {
            Ok(None) => {
                *drafted += 1;
                *draft_bytes = begun + out.used();
                *next += 1;
            }
            Ok(Some(bytes)) => return Some(Odd::Long(bytes)),
            Err(error) => return Some(Odd::Failed(Failure::Encode(error.to_string()))),
        }
    }
    None
}

impl Chunk<'_> {
    /// Makes some more items this worker's for good; false if there are none, or none are left to it.
    ///
    /// A block is a sixteenth of the chunk, and the first ones are smaller: what stands behind a slow item in its block
    /// has to wait for it.
    fn claim(&mut self) -> bool {
        if self.next < self.claimed {
            return true;
        }
        let block = self.claimed.min(self.items / 16).max(1);
        let claimed = self.items.min(self.claimed + block);
        if claimed == self.claimed {
            return false;
        }
        self.journal.claim(self.seq, claimed);
        if let Some(record) = &self.record {
            self.items = self.items.min(self.calls.limit(record));
        }
        self.claimed = claimed.min(self.items);
        self.next < self.claimed
    }

    /// Tells the host, should it ask: all values before this item's end where the draft ends.
    #[inline]
    fn note_item(&self) {
        self.journal.begin_item(self.next, self.replies.draft_end(self.draft_bytes));
        stamp(self.journal, self.limit);
    }

    /// Sees to it that the next value can be drafted.
    fn make_room(&mut self) {
        if self.draft_bytes >= PIECE {
            self.publish(0, 0);
        }
        while self.replies.room(self.draft_bytes + MARGIN).is_none() {
            self.wait_room();
        }
    }

    /// A value that does not fit beside the draft.
    #[cold]
    fn put_long(&mut self, bytes: &[u8]) {
        self.publish_draft();
        self.send(reply::VALUES, bytes);
    }

    /// The item has no value.
    #[cold]
    fn fail(&mut self, failure: &Failure) {
        if !self.me.is_here() {
            signals::exit_now(0);
        }
        self.publish_draft();
        let bytes = postcard::to_allocvec(failure).unwrap_or_default();
        self.send(reply::FAILED, &bytes);
    }

    fn publish_draft(&mut self) {
        if self.drafted > 0 {
            self.publish(0, 0);
        }
    }

    /// Makes the drafted values visible to the host.
    fn publish(&mut self, flags: u16, info: u64) {
        while self.replies.room(0).is_none() {
            self.wait_room();
        }
        let (seq, count) = (self.seq, self.drafted);
        let header = Header { kind: reply::VALUES, flags, seq, count, info, ..Header::default() };
        let is_last = flags & reply::LAST != 0;
        if is_last {
            // Before the host can know the call as answered.
            flush();
        }
        self.replies.publish(&header, self.draft_bytes);
        self.drafted = 0;
        self.draft_bytes = 0;
        if !is_last {
            self.hub.ring();
        }
    }

    /// Sends the answer to one item in as many records as it takes.
    fn send(&mut self, kind: u16, bytes: &[u8]) {
        let header = Header { kind, seq: self.seq, count: 1, ..Header::default() };
        let mut sent = 0;
        loop {
            let step = self.replies.send(&header, bytes, sent);
            sent = step.sent;
            self.hub.ring();
            if step.done {
                return;
            }
            self.wait_room();
        }
    }

    fn wait_room(&mut self) {
        self.hub.ring();
        self.bell.wait_room(self.replies, MARGIN, Patience::default());
    }
}

/// Free bytes below which the reply ring is looked at again.
const MARGIN: usize = 64;

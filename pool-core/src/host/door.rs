//! The door to the engine: through these functions alone, the pool, its feeds, handles and iterators reach it. All stand
//! below encoding: they take and give bytes.
//!
//! None of them is generic over a task, so no task has a copy of the code behind them.

use std::collections::VecDeque;
#[cfg(feature = "remote")]
use std::ops::Range;
use std::sync::Arc;
#[cfg(feature = "remote")]
use std::sync::Weak;
use std::thread::Thread;
use std::time::Instant;

use pool_ipc::{Arena, Backoff, Segment};

use super::Host;
use crate::codec::number_buffer::ResultBuffer;
use crate::engine::Engine;
use crate::error::Result;
use crate::host::notifier::Job;
use crate::host::turn::Turn;
use crate::job::batch::CompletionRef;
use crate::job::block::Block;
use crate::job::blocks::Call;
use crate::job::owner::Owner;
use crate::job::waiters::Callback;
use crate::observe::insights::{Insights, Running};
use crate::observe::log::Reader;
use crate::observe::snapshot::Snapshot;
use crate::process::fork_check::ForkCheck;
use crate::scheduler::{JobId, JobSpec, State};
use crate::stats::Stats;
use crate::task::table::Entry;

// ---- jobs --------------------------------------------------------------------------------------------------------------

impl Host {
    /// Opens a map without items yet. Its values are put into `result_buffer`, if there is one.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    pub(crate) fn open_map(
        self: &Arc<Self>,
        spec: JobSpec,
        entry: &'static Entry,
        result_buffer: Option<Box<dyn ResultBuffer>>,
    ) -> Result<CompletionRef> {
        self.in_span(spec, |spec| self.with(|engine| engine.open_map(self, spec, entry, result_buffer)))
    }

    /// Has a map that is still without items go on where another pool left these.
    #[cfg(feature = "remote")]
    pub(crate) fn resume(&self, job: JobId, items: Range<u64>, attempt: u32, seed: Option<u64>) {
        self.with(|engine| engine.resume(job, items, attempt, seed));
    }

    /// Takes a call for each worker of this moment. Returns how many these are.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes none.
    pub(crate) fn broadcast(self: &Arc<Self>, spec: JobSpec, call: Call) -> Result<(CompletionRef, u32)> {
        self.note_submissions(1);
        self.in_span(spec, |spec| self.with(|engine| engine.broadcast(self, spec, call)))
    }

    /// Gives a map a block of arguments, and lets as many of the `waiting` items go to workers as may be pending. Memory for
    /// further blocks goes to `spare`. False if the map has ended.
    pub(crate) fn feed(
        &self,
        job: JobId,
        block: Option<Block>,
        waiting: &mut VecDeque<(u64, u32)>,
        turn: Option<&mut Turn>,
        spare: &mut Vec<Vec<u8>>,
    ) -> bool {
        let mut none = None;
        let ticket = turn.map_or(&mut none, Turn::ticket);
        self.with(|engine| engine.feed(job, block, waiting, ticket, spare))
    }

    /// An item of a map has failed before it was fed.
    pub(crate) fn settle_unsent(&self) {
        self.with(Engine::settle_unsent);
    }

    /// No more items of the map will come.
    pub(crate) fn seal(&self, job: JobId) {
        self.with(|engine| engine.seal(job));
    }

    /// Cancels all items that no worker has begun, and lets lazy maps get no more. Returns their number.
    pub(crate) fn cancel_pending(&self) -> u64 {
        self.with(Engine::cancel_pending)
    }

    /// Drops all items of a map that no worker has begun, and the outcomes of the others.
    pub(crate) fn discard(&self, job: JobId) {
        self.with(|engine| engine.discard(job));
    }

    /// Takes in the values of a map that workers have finished and hold back, since the next of their items takes long.
    pub(crate) fn take_finished(&self, job: JobId) {
        self.with(|engine| engine.take_finished(job));
    }

    /// Has the host woken by each chunk of the map that is sent from now on, for a future that awaits it.
    #[cfg(feature = "stream")]
    pub(crate) fn announce(&self, job: JobId) {
        self.with(|engine| engine.announce(job));
    }

    /// Has the values that workers hold back taken in after a while, for a future, which has no clock.
    #[cfg(feature = "stream")]
    pub(crate) fn watch_held(&self, job: JobId) {
        self.with(|engine| engine.watch_held(job));
    }

    /// Takes in the replies that are there. Returns the number of workers, and how many items a map may pull.
    pub(crate) fn look(&self, turn: Option<&mut Turn>) -> (u64, u64) {
        let mut none = None;
        let ticket = turn.map_or(&mut none, Turn::ticket);
        self.with(|engine| {
            // Replies that are there make room, so they are taken in first.
            engine.route_news();
            (engine.workers() as u64, if self.is_bounded { engine.items_to_pull(ticket) } else { u64::MAX })
        })
    }

    /// Bytes of arguments that may be pending.
    pub(crate) fn max_pending_bytes(&self) -> u64 {
        self.most_pending.bytes
    }

    /// Whether a submission may have to wait.
    pub(crate) fn is_bounded(&self) -> bool {
        self.is_bounded
    }

    /// Items that the next chunk of the map has, and whether replies are about to come.
    pub(crate) fn chunk_items(&self, job: JobId) -> (u32, bool) {
        self.with(|engine| (engine.chunk_items(job), engine.expects_news()))
    }

    /// Counts results that were taken for values and could not be decoded.
    #[inline]
    pub(crate) fn note_undecodable(&self, results: u32) {
        // The lock is taken only if there is something to count.
        if results > 0 && self.owner.is_here() {
            self.with(|engine| engine.note_undecodable(results));
        }
    }

    /// The arena; `None` in a copy of the host, which does not have its memory.
    pub(crate) fn arena(&self) -> Option<&Arena> {
        self.owner.is_here().then(|| self.hub.arena())
    }

    /// A segment of the arena; waits a moment for one that workers are about to be through with, if replies are to come.
    pub(crate) fn take_segment(&self, expects_news: bool) -> Option<Segment> {
        let arena = self.hub.arena();
        // Without the engine's lock: segments come back when their last request is complete.
        let mut segment = arena.take();
        if segment.is_none() && expects_news {
            // A worker that is about to be through frees a segment within microseconds; fresh memory takes longer, and
            // without any the arguments are copied twice.
            Backoff::default().wait(|| {
                self.with(Engine::route_news);
                segment = arena.take();
                segment.is_some()
            });
        }
        segment.or_else(|| arena.take_or_grow())
    }
}

// ---- handles -----------------------------------------------------------------------------------------------------------

impl Owner for Host {
    #[inline]
    fn check_owner(&self) -> Result<()> {
        Host::check_owner(self)
    }

    #[inline]
    fn process(&self) -> ForkCheck {
        self.owner
    }

    fn wait(
        &self,
        deadline: Option<Instant>,
        ready: &mut dyn FnMut() -> bool,
        register: &mut dyn FnMut(Thread),
    ) -> bool {
        Host::wait(self, deadline, ready, register)
    }

    fn take_replies(&self) {
        // A thread that has the engine takes them in as well.
        let _ = self.try_with(Engine::route_news);
    }

    fn cancel(&self, job: JobId, call: Option<u64>) -> bool {
        self.with(|engine| engine.cancel(job, call))
    }

    fn expect_callback(&self) {
        self.notifier.expect_callback();
    }

    fn run_callback(&self, callback: Callback) {
        self.notifier.push(vec![Job::Call(callback)]);
    }

    fn resume_reports(&self, job: JobId) {
        self.with(|engine| engine.resume_reports(job));
    }

    #[inline]
    fn note_undecodable(&self, results: u32) {
        Host::note_undecodable(self, results);
    }
}

// ---- the pool ----------------------------------------------------------------------------------------------------------

impl Host {
    /// Takes no more jobs.
    pub(crate) fn close(&self) {
        // The supervisor may sleep without a limit, and the pool may end with this.
        self.with(Engine::close);
        self.nudge();
    }

    /// Ends all jobs now.
    pub(crate) fn terminate(&self) {
        self.with(Engine::terminate);
        self.nudge();
    }

    /// Seals the lazy maps, which pull their input as results are taken.
    pub(crate) fn seal_lazy(&self) {
        self.with(Engine::seal_lazy);
    }

    /// A caller waits for the end for a limited time.
    pub(crate) fn begin_join(&self) {
        self.with(Engine::begin_join);
    }

    /// The caller waits no longer.
    pub(crate) fn end_join(&self) {
        self.with(Engine::end_join);
    }

    /// Changes the number of workers.
    ///
    /// # Errors
    ///
    /// The reason why the pool takes no jobs any more.
    pub(crate) fn resize(&self, workers: usize) -> Result<()> {
        self.with(|engine| engine.resize(workers))
    }

    // In a copy of the host, which has no workers, nothing is locked.

    pub(crate) fn state(&self) -> State {
        self.ask(State::Terminated, |engine| engine.state())
    }

    /// The number of workers as it should be.
    pub(crate) fn workers(&self) -> usize {
        self.ask(0, |engine| engine.workers())
    }

    /// The processes that there are.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        self.ask(Vec::new(), |engine| engine.pids())
    }

    pub(crate) fn stats(&self) -> Stats {
        self.ask(Stats::default(), |engine| engine.stats())
    }

    /// Has records kept for this reader.
    pub(crate) fn open_log(&self, reader: Reader) {
        self.with(|engine| engine.open_log(reader));
    }

    pub(crate) fn insights(&self) -> Insights {
        // Text and `/proc` come after the lock.
        let snapshot = self.ask(None, |engine| Some(engine.snapshot()));
        #[cfg_attr(not(feature = "remote"), expect(unused_mut, reason = "the other machines are added"))]
        let mut insights = snapshot.map_or_else(Insights::nothing, Snapshot::insights);
        // Without the lock: it is another crate's code.
        #[cfg(feature = "remote")]
        if self.owner.is_here()
            && let Some(link) = self.link.get().and_then(Weak::upgrade)
        {
            insights.hosts = link.hosts();
            // So that a table that is drawn again has its rows where they were.
            insights.hosts.sort_by(|one, other| (&one.host, one.pid).cmp(&(&other.host, other.pid)));
        }
        insights
    }

    pub(crate) fn running(&self) -> Vec<Running> {
        let (now, workers) = self.ask((0, Vec::new()), Engine::running);
        workers.iter().filter_map(|worker| worker.running(now)).collect()
    }

    /// As [`with`](Host::with), but `in_copy` in a process that the host forked: there the lock may be held for good.
    fn ask<R>(&self, in_copy: R, body: impl FnOnce(&mut Engine) -> R) -> R {
        // Asked before the lock, since another thread may have held it when the copy was made.
        if self.owner.is_here() { self.with(body) } else { in_copy }
    }
}

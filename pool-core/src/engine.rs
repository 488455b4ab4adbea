//! The engine: turns replies into events of the scheduler, and carries out its actions.
//!
//! All of it happens under one lock, in whichever thread is there: a caller that submits or waits, the router, the
//! supervisor. Work that must not happen under the lock (waking threads, callbacks, launches) is left in
//! [`accounts::Deferred`].

pub(crate) mod accounts;
mod actions;
mod backpressure;
mod calls;
mod errors;
mod held;
mod insight;
mod jobs;
mod looks;
mod origins;
pub(crate) mod own_call;
mod own_calls;
mod records;
mod replies;
mod reports;
pub(crate) mod room;
pub(crate) mod watch_list;
mod watchers;
pub(crate) mod wording;
mod worker_handle;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;

use pool_ipc::sys::monotonic_ns;

use self::accounts::Accounts;
use self::looks::Looks;
use self::own_call::OwnCalls;
use self::room::{Amount, Room};
use self::watch_list::Watchers;
use self::wording::OVERWRITTEN;
use self::worker_handle::WorkerHandle;
use crate::attachments::ArrayId;
use crate::attachments::presence::Forgotten;
use crate::error::{Error, ErrorKind};
use crate::job::Job;
use crate::job::completion::Part;
use crate::lane::Lane;
use crate::observe::Observer;
#[cfg(feature = "tracing")]
use crate::observe::forwarded::Forwarded;
#[cfg(feature = "tracing")]
use crate::observe::later::Later;
use crate::observe::log::Record;
use crate::process::death::Death;
use crate::process::exit;
use crate::process::oom_kills;
use crate::scheduler::{ByWorker, JobId, Scheduler, State, WorkerId, WorkerSet};

#[derive(Debug)]
pub(crate) struct Engine {
    scheduler: Scheduler<Box<Job>>,
    workers: ByWorker<WorkerHandle>,
    /// Workers that are starting or have requests, and some that had: only these are looked at, so that a call costs
    /// the same in a pool of many workers.
    active: WorkerSet,
    /// The job of each task's latest call, which the next one may join.
    calls: Vec<Option<JobId>>,
    /// The record of a job of calls that is done, reused for the next one.
    spare: Option<Box<Job>>,
    own_calls: OwnCalls,
    /// Workers are threads of this process.
    pub(crate) in_process: bool,
    /// Arrays whose ends the pool's workers must hear of.
    pub(crate) forgotten: Option<Arc<Forgotten>>,
    /// Where the ends of jobs that were submitted in a span are told.
    #[cfg(feature = "tracing")]
    pub(crate) contexts: Option<Arc<Later<Forwarded>>>,
    /// Bytes of memory that a worker may use.
    memory_limit: Option<u64>,
    /// The error of the latest worker that could not start.
    cause: Option<Error>,
    accounts: Accounts,
    observer: Observer,
    looks: Looks,
    room: Room,
    /// Bytes of the arguments of pending items. Those of maps are counted only if the pool bounds pending items.
    argument_bytes: u64,
    /// Submissions in line have been told that the pool takes no more.
    line_knows_end: bool,
    watchers: Watchers,
    /// A lane may have a new request for a sleeping worker, which must be woken.
    touched: bool,
}

impl Engine {
    pub(crate) fn new(
        scheduler: Scheduler<Box<Job>>,
        own_calls: OwnCalls,
        memory_limit: Option<u64>,
        most_pending: Amount,
    ) -> Self {
        // Now, so that a later SIGKILL can be told from those before the pool was made.
        oom_kills::watch();
        Engine {
            scheduler,
            workers: ByWorker::default(),
            active: WorkerSet::default(),
            calls: Vec::new(),
            spare: None,
            own_calls,
            in_process: false,
            forgotten: None,
            #[cfg(feature = "tracing")]
            contexts: None,
            memory_limit,
            cause: None,
            accounts: Accounts::default(),
            observer: Observer::new(monotonic_ns()),
            looks: Looks::default(),
            room: Room::new(most_pending),
            argument_bytes: 0,
            line_knows_end: false,
            watchers: Watchers::default(),
            touched: false,
        }
    }

    /// The job has ended, and no more records name its span.
    #[cfg(feature = "tracing")]
    fn end_context(&self, record: &mut Job) {
        let context = std::mem::take(&mut record.context);
        if let Some(contexts) = self.contexts.as_ref().filter(|_| context > 0) {
            contexts.push(Forwarded::Released(context));
        }
    }

    // ---- replies ---------------------------------------------------------------------------------------------------

    /// Takes in all replies, sends requests that had no room, and does the work that is due.
    #[inline]
    pub(crate) fn route(&mut self) {
        let now = monotonic_ns();
        // One reading of the clock for all events of the round: more would cost as much as short calls.
        self.scheduler.set_now(now);
        let mut from = 0;
        // Asked for one by one: taking in a reply may send a request, which adds to the set.
        while let Some(worker) = self.active.next(from) {
            from = worker.index() + 1;
            if self.workers[worker].expects_replies() {
                self.route_lane(worker);
            } else {
                // Here and not where the last reply is taken: most workers get a new request at once.
                self.active.remove(worker);
            }
        }
        if self.scheduler.wake_at().is_some_and(|at| at <= now) {
            self.scheduler.tick(now);
        }
        // After the replies, which may have brought the results that a look is for.
        if self.looks.next().is_some_and(|at| at <= now) {
            self.look_for_held(now);
        }
        self.act();
    }

    /// Takes in the values of a map that workers have finished and hold back, since the next of their items takes long.
    pub(crate) fn take_finished(&mut self, job: JobId) {
        self.route();
        self.take_held(job);
    }

    /// As [`take_finished`](Engine::take_finished), when all replies have been taken in.
    fn take_held(&mut self, job: JobId) {
        for worker in self.workers.ids() {
            let Some((seq, settled)) = self.scheduler.current_chunk(worker) else { continue };
            let front = self.scheduler.resolve_reply(worker, seq, 0, false).ok();
            let Some((_, first)) = front.filter(|(of, _)| *of == job) else { continue };
            let Some((items, values)) = self.lane(worker).and_then(|lane| lane.take_finished(seq.0, settled)) else {
                continue;
            };
            // The count comes from the worker's memory, so it may pass the end of the chunk.
            if self.scheduler.resolve_reply(worker, seq, items, false).is_err() {
                self.disbelieve(worker);
                continue;
            }
            // Not the end of the chunk, which alone brings a time.
            self.deliver(Some(worker), job, Part { first, items, raw: false, values: Ok(values), origin: None });
            self.scheduler.replied(worker, seq, items, false, 0);
        }
    }

    /// As [`route`](Engine::route), if there is something to take in or to send.
    #[inline]
    pub(crate) fn route_news(&mut self) {
        if self.has_news() {
            self.route();
        }
    }

    /// Whether [`Engine::route`] would find something.
    #[inline]
    pub(crate) fn has_news(&mut self) -> bool {
        let workers = &mut self.workers;
        self.active.any(|worker| {
            let handle = &mut workers[worker];
            handle.expects_replies() && handle.lane.as_mut().is_some_and(Lane::has_news)
        })
    }

    #[inline]
    pub(crate) fn has_quiet_calls(&mut self) -> bool {
        self.any_lane(|lane| lane.has_quiet_calls())
    }

    /// Whether requests are out of which workers do not even notify a leader.
    #[inline]
    pub(crate) fn has_silent_calls(&mut self) -> bool {
        self.any_lane(|lane| lane.has_silent_calls())
    }

    /// Whether replies will come so soon that it is worth staying awake for them.
    #[inline]
    pub(crate) fn expects_news(&mut self) -> bool {
        self.any_lane(|lane| lane.expects_news())
    }

    /// Whether this holds for one of the lanes in use.
    #[inline]
    fn any_lane(&mut self, mut holds: impl FnMut(&mut Lane) -> bool) -> bool {
        let workers = &mut self.workers;
        self.active.any(|worker| workers[worker].lane.as_mut().is_some_and(&mut holds))
    }

    #[inline]
    fn lane(&mut self, worker: WorkerId) -> Option<&mut Lane> {
        self.workers.get_mut(worker)?.lane.as_mut()
    }

    #[inline]
    fn route_lane(&mut self, worker: WorkerId) {
        loop {
            let Some(lane) = self.lane(worker) else { return };
            // Requests that had no room go first: the worker may be waiting for the rest of one.
            lane.pump();
            match lane.next_reply() {
                Ok(None) => {
                    if lane.may_hold_reports() {
                        return self.take_held_reports(worker);
                    }
                    // One wake-up for all that was sent meanwhile.
                    lane.wake();
                    return;
                }
                Ok(Some(reply)) => {
                    if self.take_in(worker, reply).is_err() {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        self.disbelieve(worker);
    }

    /// The worker's replies make no sense: its process is killed, and the item that it ran fails.
    fn disbelieve(&mut self, worker: WorkerId) {
        if let Some(lane) = self.lane(worker) {
            // Nothing that it wrote before its death is salvaged either.
            lane.is_corrupt = true;
        }
        self.scheduler.misbehaved(worker);
    }

    // ---- processes -------------------------------------------------------------------------------------------------

    /// How many processes the worker has had, this coming one included.
    pub(crate) fn next_incarnation(&mut self, worker: WorkerId) -> u32 {
        self.workers.grow(worker.index() + 1, WorkerHandle::default);
        let handle = &mut self.workers[worker];
        // Counted when it is asked for and not when it exists: a launch that fails must not share its number with the
        // next one.
        handle.incarnations += 1;
        let incarnation = handle.incarnations - 1;
        self.observer.launch_asked(worker, monotonic_ns());
        incarnation
    }

    /// There is a process at the other end of the lane.
    pub(crate) fn launched(&mut self, worker: WorkerId, mut lane: Lane) {
        if let Some(call) = self.own_calls.start.first() {
            lane.attach(&call.attachments, self.forgotten.as_ref());
        }
        // Sent without a call, too: the answer shows that the process is ready.
        let (init, args, asked) = self.ask_to_start(0, 0);
        // Before the lane is known to the scheduler, so that no chunk goes ahead of it.
        lane.send_cut(init, args);
        lane.wake();
        self.active.insert(worker);
        self.accounts.counts.launched();
        self.workers[worker].lane = Some(lane);
        self.workers[worker].asked = Some(asked);
        // It says something about the process before.
        self.workers[worker].refused = None;
        let now = monotonic_ns();
        if self.is_logged() {
            let (process, asked_at) = (self.process(worker), self.observer.asked_at(worker));
            self.observer.logs.push(&Record::Started { process, asked_at, at: now });
        }
        self.scheduler.set_now(now);
        self.scheduler.launched(worker);
    }

    /// The launch failed; no process was created.
    pub(crate) fn not_launched(&mut self, worker: WorkerId, error: Error) {
        self.cause = Some(error);
        self.scheduler.set_now(monotonic_ns());
        self.scheduler.exited(worker, None);
    }

    /// The launch has not begun, and the process is not wanted any more.
    pub(crate) fn withdraw_launch(&mut self, worker: WorkerId) {
        self.scheduler.set_now(monotonic_ns());
        self.scheduler.withdraw_launch(worker);
    }

    /// Has all workers that were given these arrays unmap them.
    pub(crate) fn forget_arrays(&mut self, ids: impl Iterator<Item = ArrayId> + Clone) {
        for (worker, handle) in self.workers.iter_mut() {
            let Some(lane) = &mut handle.lane else { continue };
            ids.clone().for_each(|id| lane.forget_array(id));
            // Where the ring is full, the rest of the records goes when the worker has made room.
            if lane.expects_replies() {
                self.active.insert(worker);
            }
        }
    }

    /// Kills the worker's process, or has the fork server do so.
    pub(super) fn kill(&mut self, worker: WorkerId) {
        if let Some(lane) = self.workers.get_mut(worker).and_then(|handle| handle.lane.as_mut()) {
            lane.kill();
            // The kernel refuses to kill a process that has changed its user. Its parent may; asking it is the
            // supervisor's work.
            self.accounts.deferred.notices.kills |= lane.is_out_of_reach;
        }
    }

    /// The processes that the fork server is to kill, each once.
    pub(crate) fn take_kills(&mut self) -> Vec<(WorkerId, u32)> {
        let lanes = self.workers.iter_mut().filter_map(|(worker, handle)| Some((worker, handle.lane.as_mut()?)));
        let refused = lanes.filter(|(_, lane)| lane.is_out_of_reach);
        let taken = refused.map(|(worker, lane)| {
            lane.is_out_of_reach = false;
            (worker, lane.pid)
        });
        taken.collect()
    }

    /// The worker's process is gone; `cause` says why if its status does not.
    pub(crate) fn exited(&mut self, worker: WorkerId, pid: u32, status: ExitStatus, cause: Option<Arc<str>>) {
        self.scheduler.set_now(monotonic_ns());
        // A report may be late, and must not hit the successor of its process.
        if self.lane(worker).is_none_or(|lane| lane.pid != pid) {
            return;
        }
        // Values that it had published count.
        self.route_lane(worker);
        self.act();
        let mut lane = self.workers[worker].lane.take().expect("looked at above");
        // After the last reply has been taken, since the progress counts from there.
        let remains = lane.remains();
        // The status of a thread only says that it was told to end.
        let is_told = self.in_process && status.signal() == Some(libc::SIGKILL);
        let cause = cause.or_else(|| is_told.then(|| "told to end by this pool".into()));
        // The fork server's end explains the worker's.
        let killer = (cause.is_none() && status.signal() == Some(libc::SIGKILL))
            .then(|| if lane.is_killed { "by this pool" } else { oom_kills::sender() });
        let since = lane.running().map(|(_, since)| since).filter(|since| *since > 0);
        let death = Death { pid, status, cause, words: lane.last_words().map(Arc::new), killer, since };
        if let Some((seq, settled)) = self.scheduler.current_chunk(worker)
            // An untrustworthy lane is not salvaged: its values may be anything.
            && let Some(begun) = remains.begun.filter(|begun| begun.seq == seq && !lane.is_corrupt)
            && let finished = begun.item.saturating_sub(settled)
            && finished > 0
            && let Ok((job, first)) = self.scheduler.resolve_reply(worker, seq, finished, false)
            // Calls are answered one by one, so more than one finished call can only be an overwritten note.
            && !(finished > 1 && self.has_calls(job))
            && let Some(values) = lane.salvage(&remains)
        {
            self.deliver(
                Some(worker),
                job,
                Part { first, items: finished, raw: false, values: Ok(values), origin: None },
            );
            self.scheduler.replied(worker, seq, finished, false, 0);
        }
        // A worker that is killed because the pool ends is no reason for the end.
        let is_going = matches!(self.scheduler.state(), State::Open | State::Closed);
        if self.workers[worker].is_starting() && self.workers[worker].refused.is_none() && is_going {
            // As long as no code of the user's has begun in it, its exit code is one of the pool's own.
            let meaning = status.code().filter(|_| remains.begun.is_none()).and_then(exit::meaning);
            let text = match meaning {
                Some(meaning) => Error::worker_died(status, Some(meaning)),
                // The signal that followed is the pool's own.
                None if lane.is_corrupt => Error::worker_died(status, Some(OVERWRITTEN)),
                None => Error::of_death(&death, self.memory_limit),
            };
            self.cause = Some(Error::new(
                ErrorKind::Broken,
                format!("a worker died before it was ready{}: {text}", self.start_place(worker)),
            ));
        }
        // Before the scheduler launches the next process, which begins with calls of its own.
        self.end_own(worker, &death);
        // A courier is told to end if its item is cancelled: no process has died.
        self.accounts.counts.exited(status.success() || is_told && self.scheduler.is_remote());
        self.observe_exit(worker, &death);
        self.scheduler.exited(worker, remains.begun);
        self.act_after(Some(&death));
        // The end of the pool may depend on this exit, even if no item was settled by it.
        self.accounts.deferred.notices.progress = true;
    }

    /// The process ids of all workers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.workers.values().filter_map(|handle| handle.lane.as_ref()).map(|lane| lane.pid).collect()
    }

    /// Whether one of them has been killed, and its parent has not said that it is gone.
    pub(crate) fn awaits_death(&self) -> bool {
        self.workers.values().filter_map(|handle| handle.lane.as_ref()).any(|lane| lane.is_killed)
    }

    /// The process is given up and may live on: it may be writing the arrays of its requests.
    pub(crate) fn give_up_loans(&mut self, worker: WorkerId, pid: u32) {
        if let Some(lane) = self.lane(worker).filter(|lane| lane.pid == pid) {
            lane.give_up_loans();
        }
    }

    /// All processes, each with its worker.
    pub(crate) fn lanes_by_worker(&self) -> impl Iterator<Item = (WorkerId, &Lane)> {
        self.workers.iter().filter_map(|(worker, handle)| Some((worker, handle.lane.as_ref()?)))
    }
}

/// A status as `wait` gave it.
pub(crate) fn exit_status(raw: i32) -> ExitStatus {
    ExitStatus::from_raw(raw)
}

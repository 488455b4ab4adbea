//! The shell between the scheduler and the processes, as `engine.rs` and `lane.rs` are, and the faults it can be given.

use super::books::{self, Books, Place};
use super::plan::{Plan, Rng};
use super::process::{Call, Chunk, Process};
use super::{Plant, invariants};
use crate::scheduler::worker::{KillReason, Phase};
use crate::scheduler::{Action, Begun, ByWorker, JobId, JobSpec, Scheduler, Seq, WorkerId};
use crate::units::Nanos;

#[derive(Debug)]
pub(super) struct World {
    pub(super) scheduler: Scheduler<usize>,
    pub(super) books: Books,
    pub(super) plan: Plan,
    pub(super) rng: Rng,
    pub(super) workers: ByWorker<WorkerHandle>,
    /// The jobs as the scheduler knows them, and the options that it was told.
    pub(super) jobs: Vec<(JobId, JobSpec)>,
    plant: Option<Plant>,
    is_traced: bool,
    /// The invariants are not checked at each step: the test checks others.
    pub(super) is_unchecked: bool,
}

#[derive(Debug, Default)]
pub(super) struct WorkerHandle {
    pub(super) process: Option<Process>,
    pub(super) launching: bool,
    pub(super) failures: u32,
}

impl World {
    pub(super) fn new(plan: Plan, rng: Rng, plant: Option<Plant>, is_traced: bool) -> Self {
        let mut config = plan.config();
        match plant {
            Some(Plant::ForgetsShare) => config.max_tasks_per_worker = None,
            Some(Plant::RestartsForever) => config.restart_limit = u32::MAX,
            Some(Plant::StartsForever) => config.initializer_timeout = None,
            _ => {}
        }
        let mut workers = ByWorker::default();
        workers.grow(config.workers, WorkerHandle::default);
        let tasks = plan.tasks.len();
        let scheduler = Scheduler::new(config, tasks).on_cpus(tasks);
        let books = Books::new();
        World { scheduler, books, plan, rng, workers, jobs: Vec::new(), plant, is_traced, is_unchecked: false }
    }

    /// Whether the planted fault shows this time.
    pub(super) fn errs(&mut self, plant: Plant) -> bool {
        self.plant == Some(plant) && self.rng.permille(500)
    }

    pub(super) fn trace(&self, line: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{:>14} {}", self.books.now, line());
        }
    }

    pub(super) fn check(&self) {
        if self.is_unchecked {
            return;
        }
        let place = |handle: &WorkerHandle| Place {
            process: handle.process.as_ref().map(|process| process.id),
            launching: handle.launching,
            failures: handle.failures,
        };
        let mut places = ByWorker::default();
        let mut handles = self.workers.values();
        places.grow(self.workers.ids().count(), || handles.next().map(place).unwrap_or_default());
        self.few_run_at_once();
        invariants::check(&self.scheduler, &self.books, &self.plan, &places);
    }

    /// No more items of a task run at once than may.
    fn few_run_at_once(&self) {
        for (task, most) in self.plan.max_concurrent.iter().enumerate() {
            let processes = self.workers.values().filter_map(|handle| handle.process.as_ref());
            let running = processes.filter(|process| process.runs_task() == Some(task as u32)).count();
            assert!(most.is_none_or(|most| running <= most as usize), "{running} items of task {task} run at once");
        }
    }

    pub(super) fn process(&mut self, worker: WorkerId) -> Option<&mut Process> {
        self.workers.get_mut(worker)?.process.as_mut()
    }

    // ---- processes -------------------------------------------------------------------------------------------------

    pub(super) fn launched(&mut self, worker: WorkerId) {
        self.scheduler.set_now(self.books.now);
        let process = Process::new(self.books.processes.len(), self.books.now, &self.plan, &mut self.rng);
        self.books.pins_get(worker, process.id);
        self.books.processes.push(books::ProcessBook::default());
        self.workers[worker] = WorkerHandle { process: Some(process), launching: false, ..self.workers[worker] };
        self.scheduler.launched(worker);
        self.act();
    }

    pub(super) fn not_launched(&mut self, worker: WorkerId) {
        self.scheduler.set_now(self.books.now);
        self.workers[worker].launching = false;
        if self.errs(Plant::ForgetsLaunch) {
            return;
        }
        self.workers[worker].failures += 1;
        self.scheduler.exited(worker, None);
        self.act();
    }

    /// Tells the scheduler of a process that is gone.
    pub(super) fn bury(&mut self, worker: WorkerId) {
        self.trace(|| format!("{worker:?} is gone"));
        self.scheduler.set_now(self.books.now);
        self.route_lane(worker);
        self.act();
        let process = self.workers[worker].process.take().expect("the caller has looked");
        let begun = (process.notes.claimed > 0).then_some(process.notes.seq);
        let salvaged = self.salvage(worker, &process, begun);
        self.note_costs(worker, &process, begun);
        self.books.buried_last = Some(process.id);
        let book = &mut self.books.processes[process.id];
        book.buried = true;
        if book.has_failed_start || !book.ready && !book.killed && !book.told_to_leave {
            self.workers[worker].failures += 1;
        }
        let is_clear = salvaged && process.replies.is_empty() && (!book.killed || book.dies_of_nonsense);
        if let Some((job, item)) = process.killer.filter(|_| is_clear) {
            self.books.blames_few(job, item);
        }
        if self.errs(Plant::ForgetsUnstarted) {
            while let Some((seq, _)) = self.scheduler.current_chunk(worker).filter(|(seq, _)| Some(*seq) != begun) {
                let items = (0..).find(|&items| self.scheduler.resolve_reply(worker, seq, items + 1, false).is_err());
                self.scheduler.replied(worker, seq, items.unwrap_or(0), true, 1);
            }
        }
        if self.errs(Plant::RunsElsewhere) {
            self.scheduler.forget_pins();
        }
        let blames = self.errs(Plant::BlamesTheNext);
        let front = self.scheduler.current_chunk(worker).map(|(seq, settled)| Begun { seq, item: settled });
        let begun = begun.map(|seq| Begun { seq, item: process.notes.item });
        self.scheduler.exited(worker, if blames { front } else { begun });
        self.act();
    }

    /// Delivers the values that the process had finished and not published; false if they cannot be read.
    fn salvage(&mut self, worker: WorkerId, process: &Process, begun: Option<Seq>) -> bool {
        let Some((seq, settled)) = self.scheduler.current_chunk(worker).filter(|(seq, _)| begun == Some(*seq)) else {
            return true;
        };
        let finished = process.notes.item.saturating_sub(settled);
        let Some(Call::Run(chunk)) = process.calls.front() else { return true };
        let Ok((id, at)) = self.scheduler.resolve_reply(worker, seq, finished, false) else { return false };
        if finished == 0 {
            return true;
        }
        if process.is_corrupt || self.rng.permille(self.plan.salvage_fails) {
            return false;
        }
        let (job, first) = (chunk.job, chunk.first + u64::from(settled));
        self.deliver(id, job, first, at, finished);
        if self.errs(Plant::SalvagesTwice) {
            self.deliver(id, job, first, at, finished);
        }
        self.scheduler.replied(worker, seq, finished, false, 0);
        true
    }

    /// The items that the process may have died of: those that it had begun and not answered, and the next one if it
    /// had just answered the one before. A process that wrote nonsense is not believed: it may have died of the first item
    /// without an answer.
    fn note_costs(&mut self, worker: WorkerId, process: &Process, begun: Option<Seq>) {
        let mut suspects = Vec::new();
        if let (Some(run), Some(Call::Run(chunk))) = (&process.run, process.calls.front())
            && begun == Some(chunk.seq)
        {
            let items = chunk.first + u64::from(run.published)..=chunk.first + u64::from(run.next);
            suspects.extend(items.map(|item| (chunk.job, item)));
        }
        let state = &self.scheduler.workers[worker];
        let unanswered = state.in_flight.iter().find(|sent| sent.settled < sent.range.items);
        if self.books.processes[process.id].spoke_nonsense
            && let Some(sent) = unanswered
            && let Some(&job) = self.scheduler.record(sent.range.job)
        {
            suspects.push((job, sent.next_item()));
        }
        suspects.sort_unstable();
        suspects.dedup();
        suspects.into_iter().for_each(|(job, item)| self.books.cost(job, item));
        if state.phase == Phase::Killed(KillReason::Unresponsive)
            && let Some(sent) = unanswered.or(state.in_flight.front())
            && let Some(&job) = self.scheduler.record(sent.range.job)
        {
            self.books.never_began(job, sent.next_item());
        }
    }

    /// As the supervisor does: takes in replies, and then does everything that is due.
    pub(super) fn tick(&mut self) {
        self.route();
        if self.plant == Some(Plant::ForgetsTime) {
            return self.scheduler.set_now(self.books.now);
        }
        if self.errs(Plant::ForgetsRetry) {
            self.scheduler.retries.pop_first();
        } else if self.errs(Plant::RetriesEarly)
            && let Some((_, ranges)) = self.scheduler.retries.pop_first()
        {
            self.scheduler.retries.entry(0).or_default().extend(ranges);
        }
        self.scheduler.tick(self.books.now);
        self.act();
        invariants::idle_help_the_silent(&self.scheduler);
        invariants::nothing_is_overdue(&self.scheduler);
    }

    // ---- actions ---------------------------------------------------------------------------------------------------

    pub(super) fn act(&mut self) {
        let mut actions = 0;
        let mut has_recalled = false;
        while let Some(action) = self.scheduler.next_action() {
            actions += 1;
            has_recalled |= matches!(action, Action::Recall { .. });
            if let (Action::Send { job, .. }, false) = (&action, has_recalled || self.plan.acts_late)
                && let Some(&job) = self.scheduler.record(*job)
            {
                invariants::outranks(&self.scheduler, self.books.jobs[job].spec);
            }
            assert!(actions < 10_000, "the scheduler does not come to rest");
            self.trace(|| format!("  {action:?}"));
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action<usize>) {
        match action {
            Action::Send { worker, seq, job, first, items, attempt: _, wake: _, brief: _, claim } => {
                self.send(worker, seq, job, first, items, claim)
            }
            Action::Recall { worker, seq, items, half } => {
                let kept = self.recall(worker, seq, items, half);
                self.trace(|| format!("  kept {kept} of {items}"));
                if let Some((job, first)) = self.process(worker).and_then(|process| process.start_of(seq)) {
                    self.books.keeps(job, first, kept);
                }
                self.scheduler.recalled(worker, seq, kept);
            }
            Action::Fail { worker: _, job: id, item, cause } => {
                if let Some(&job) = self.scheduler.record(id) {
                    self.books.fail(job, item, cause);
                }
                self.scheduler.failed(id, item);
            }
            Action::Finish { record, .. } => self.books.finish(record),
            Action::Abort { record, cause, .. } => self.books.abort(record, cause, self.scheduler.state()),
            Action::Retry { .. } => {}
            Action::Launch { worker } => {
                let handle = &mut self.workers[worker];
                assert!(handle.process.is_none() && !handle.launching, "{worker:?} is launched while it is there");
                handle.launching = true;
            }
            Action::Warn { worker, seq, item } => {
                let now = self.books.now;
                let process = self.process(worker).expect("a worker that is warned has a process");
                process.warned = Some((seq, item, now));
            }
            Action::Kill { worker } => {
                self.had_grace(worker);
                let process = self.process(worker).expect("a worker that is killed has a process");
                process.killed = true;
                let id = process.id;
                assert!(!std::mem::replace(&mut self.books.processes[id].killed, true), "killed twice");
            }
            Action::Quit { worker } if self.replied_unsolicited(worker, 0) => {}
            Action::Quit { worker } => {
                let process = self.process(worker).expect("a worker that is to leave has a process");
                process.calls.push_back(Call::Quit);
                let id = process.id;
                invariants::leaves_for_a_reason(&self.scheduler, &self.plan, worker, &self.books.processes[id]);
                let again = std::mem::replace(&mut self.books.processes[id].told_to_leave, true);
                assert!(!again && !self.books.processes[id].killed, "told to leave twice, or when killed");
            }
            Action::Overran { worker, limit, ran } => {
                let now = self.books.now;
                let process = self.process(worker).expect("a worker that has begun has a process");
                assert!(process.starts_slowly(now, limit, ran), "{ran} of {limit}: {process:?}");
                let id = process.id;
                self.books.processes[id].has_failed_start = true;
            }
            Action::Probe { worker } => {
                let now = self.books.now;
                if let Some(process) = self.process(worker) {
                    let (id, notes, is_slow) = (process.id, process.notes, process.is_slow(now));
                    self.books.processes[id].was_slow |= is_slow;
                    let begun = Begun { seq: notes.seq, item: notes.item };
                    let running = (notes.claimed > 0).then_some((begun, notes.since));
                    self.scheduler.probed(worker, running);
                }
            }
        }
    }

    /// A worker that is killed for a cancelled item has been told, and has had the grace of the job.
    fn had_grace(&self, worker: WorkerId) {
        let (seq, item) = match self.scheduler.workers[worker].phase {
            Phase::Killed(KillReason::Cancelled { seq }) => (seq, None),
            Phase::Killed(KillReason::ItemCancelled { begun }) => (begun.seq, Some(begun.item)),
            _ => return,
        };
        let process = self.workers[worker].process.as_ref().expect("it is there to be killed");
        let grace = process.start_of(seq).map_or(0, |(job, _)| self.books.jobs[job].spec.grace);
        let warned = process
            .warned
            .filter(|(of, which, _)| *of == seq && (which.is_none() || *which == item))
            .map(|(_, _, at)| at);
        assert!(
            grace == 0 || warned.is_some_and(|at| self.books.now >= at + grace),
            "{worker:?} was told at {warned:?}, has a grace of {grace}, and is killed at {}",
            self.books.now
        );
    }

    fn send(&mut self, worker: WorkerId, seq: Seq, id: JobId, first: u64, items: u32, claim: u32) {
        let max = self.plan.max_tasks_per_worker;
        let job = *self.scheduler.record(id).expect("nothing is sent of a job that has ended");
        let spec = self.books.jobs[job].spec;
        let counted = if spec.pinned { 0 } else { items };
        let process = self.workers[worker].process.as_ref().map(|process| process.id);
        self.books.sends_well(process, seq, items, counted, max);
        self.books.are_rested(job, first, items);
        let in_one = !self.rng.permille(self.plan.is_long);
        if self.replied_unsolicited(worker, 1) {
            return;
        }
        let process = self.workers[worker].process.as_mut().expect("looked at above");
        let is_out = in_one && process.calls.iter().all(|call| matches!(call, Call::Run(Chunk { is_out: true, .. })));
        let usual = self.plan.tasks[spec.task as usize];
        let (count, timeout) = (items, spec.timeout);
        let task = spec.task;
        let chunk =
            Chunk { seq, job, first, count, limit: items, timeout, usual, task, claim, in_one, is_out, kept: items };
        process.calls.push_back(Call::Run(chunk));
    }

    /// Takes back items that the worker has not begun, as `Lane::recall` does. Returns the number that it keeps.
    fn recall(&mut self, worker: WorkerId, seq: Seq, items: u32, half: bool) -> u32 {
        let feigns = self.errs(Plant::FeignsRecall);
        let Some(process) = self.workers[worker].process.as_mut() else { return items };
        let notes = process.notes;
        let claimed = match notes.seq.0.wrapping_sub(seq.0) as i32 {
            0 => notes.claimed.min(items),
            1.. => items,
            _ => 0,
        };
        let chunk = process.calls.iter_mut().find_map(|call| match call {
            Call::Run(chunk) if chunk.seq == seq => Some(chunk),
            _ => None,
        });
        let Some(chunk) = chunk else { return items };
        let limit = if half { claimed + (items - claimed) / 2 } else { 0 };
        if !chunk.in_one && (chunk.is_out || half) {
            return items;
        }
        if !feigns {
            chunk.limit = limit;
        }
        let kept = limit.max(claimed);
        if kept < chunk.kept {
            let is_counted = !self.books.jobs[chunk.job].spec.pinned;
            self.books.processes[process.id].share -= if is_counted { u64::from(chunk.kept - kept) } else { 0 };
            chunk.kept = kept;
        }
        kept
    }

    /// The next moment at which something happens by itself.
    pub(super) fn next_event(&self) -> Option<Nanos> {
        let processes = self.workers.values().filter_map(|handle| handle.process.as_ref());
        processes.filter_map(Process::wakes_at).chain(self.scheduler.wake_at()).min()
    }
}

//! Invariants that hold after every step: the scheduler's state beside the books.

use super::books::{Books, Item, Place, ProcessBook};
use super::plan::Plan;
use crate::priority::Priority;
use crate::scheduler::flow::{Flow, FlowId, Standing};
use crate::scheduler::job::{JobEntry, Narrow};
use crate::scheduler::tuning::REPLY_SILENCE_NS;
use crate::scheduler::worker::{Phase, Range, WorkerState};
use crate::scheduler::{ByWorker, JobId, JobSpec, Scheduler, State, WorkerId};
use crate::units::Nanos;

pub(super) fn check(scheduler: &Scheduler<usize>, books: &Books, plan: &Plan, places: &ByWorker<Place>) {
    counts_agree(scheduler, books);
    each_item_is_in_one_place(scheduler, books);
    counters_are_true(scheduler);
    flows_take_part(scheduler);
    pinned_wait_for_a_start(scheduler);
    no_hands_are_idle(scheduler);
    nobody_is_surplus(scheduler);
    clock_is_set(scheduler, plan);
    places_are_manned(scheduler, places);
    breaks_when_it_must(scheduler, plan, places);
    finished_is_empty(scheduler, books, places);
}

/// The scheduler counts the same items as unsettled as the books.
fn counts_agree(scheduler: &Scheduler<usize>, books: &Books) {
    assert_eq!(scheduler.unsettled(), books.unsettled());
    for job in scheduler.jobs.ids() {
        let Some(&record) = scheduler.record(job) else { continue };
        assert_eq!(scheduler.jobs.get(job).map(|job| job.unsettled), Some(books.jobs[record].unsettled));
    }
}

/// Every unsettled item waits in the queue or for another attempt, or is with one worker.
fn each_item_is_in_one_place(scheduler: &Scheduler<usize>, books: &Books) {
    let sent = scheduler.workers.values().flat_map(|state| &state.in_flight).map(|sent| {
        let Range { job, first, items } = sent.range;
        Range { job, first: first + u64::from(sent.settled), items: items - sent.settled }
    });
    let waiting = queued(scheduler).chain(pinned(scheduler)).chain(scheduler.retries.values().flatten().copied());
    let ranges = waiting.chain(sent).filter(|range| range.items > 0);
    let mut ranges: Vec<_> =
        ranges.filter_map(|range| Some((*scheduler.record(range.job)?, range.first, range.end()))).collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "items in two places: {pair:?}");
    }
    let placed: u64 = ranges.iter().map(|(_, first, end)| end - first).sum();
    let jobs = scheduler.jobs.ids().into_iter().filter(|id| scheduler.record(*id).is_some());
    let records = jobs.flat_map(|id| scheduler.jobs.get(id).expect("its id was listed").records.values());
    let cancelled = records.filter(|record| record.cancelled).count() as u64;
    assert_eq!(placed, books.unsettled() + cancelled, "items are in no place, or settled ones still in one");
    let (_, first, end) = ranges.first().copied().unwrap_or_default();
    let is_settled = |item: &Item| item.settled && !item.cancelled;
    let settled =
        ranges.first().map(|&(job, ..)| books.jobs[job].items.range(first..end).filter(|(_, item)| is_settled(item)));
    assert_eq!(settled.map_or(0, Iterator::count), 0, "a settled item is to be run");
}

/// The counts of a job are those of its items.
fn counters_are_true(scheduler: &Scheduler<usize>) {
    for id in scheduler.jobs.ids() {
        let job = scheduler.jobs.get(id).expect("its id was listed");
        let in_flight =
            scheduler.workers.values().flat_map(|state| &state.in_flight).filter(|sent| sent.range.job == id);
        assert_eq!(job.in_flight as usize, in_flight.count());
        let ranges = queued(scheduler).chain(pinned(scheduler)).filter(|range| range.job == id);
        let queued: u64 = ranges.map(|range| u64::from(range.items) - scheduler.count_stale(range)).sum();
        assert!(job.record.is_none() || job.queued == queued, "{} queued of {queued}", job.queued);
    }
    assert_eq!(scheduler.stale, queued(scheduler).map(|range| scheduler.count_stale(range)).sum::<u64>());
}

/// All that is in queues.
fn queued(scheduler: &Scheduler<usize>) -> impl Iterator<Item = Range> {
    let ids = scheduler.jobs.ids().into_iter();
    let own = ids.filter_map(|id| scheduler.jobs.get(id)?.flow.as_deref());
    own.chain(&scheduler.calls).flat_map(|flow| flow.queue.iter().copied())
}

/// All that waits for one worker alone.
fn pinned(scheduler: &Scheduler<usize>) -> impl Iterator<Item = Range> {
    scheduler.workers.values().flat_map(|state| state.pinned.iter().copied())
}

/// No item waits for a worker that could run it, or that will never come.
fn pinned_wait_for_a_start(scheduler: &Scheduler<usize>) {
    let is_live = |range: &Range| scheduler.record(range.job).is_some();
    for state in scheduler.workers.values().filter(|state| state.pinned.iter().any(is_live)) {
        let may_start = match state.phase {
            Phase::Starting => scheduler.config.has_initializer,
            Phase::Ready | Phase::Vacant | Phase::Resting => false,
            _ => true,
        };
        assert!(may_start, "items of a broadcast wait for {state:?}");
    }
}

/// The flow of a job that has not ended.
fn flow(scheduler: &Scheduler<usize>, id: JobId) -> Option<&Flow> {
    let job = scheduler.jobs.get(id).filter(|job| job.record.is_some())?;
    Some(job.flow.as_deref().unwrap_or(&scheduler.calls[job.spec.priority as usize]))
}

/// A flow with items is in the turns, or parked while as many items of its task run as may; and the counters are true.
fn flows_take_part(scheduler: &Scheduler<usize>) {
    let sent = || scheduler.workers.values().flat_map(|state| &state.in_flight);
    let of = |id: JobId| scheduler.jobs.get(id).expect("its chunks are in flight");
    for id in scheduler.jobs.ids() {
        let Some(flow) = flow(scheduler, id) else { continue };
        let spec = of(id).spec;
        let task = &scheduler.tasks[spec.task as usize];
        let places = task.parked.iter().flatten().filter(|parked| **parked == FlowId::Job(id)).count();
        assert_eq!(places, usize::from(flow.standing == Standing::Parked), "job {id:?}: {flow:?}");
        assert!(flow.queue.is_empty() || flow.standing != Standing::Idle, "job {id:?} is forgotten: {flow:?}");
        let is_free = task.occupied == 0;
        let is_stuck = flow.standing == Standing::Parked && is_free;
        let others = scheduler.jobs.ids().into_iter().filter(|other| of(*other).spec.task == spec.task);
        let mut others = others.filter_map(|other| self::flow(scheduler, other));
        assert!(!is_stuck || others.any(|flow| flow.standing == Standing::Waiting), "job {id:?} is stuck: {flow:?}");
    }
    for (task, state) in scheduler.tasks.iter().enumerate() {
        let occupied = sent().filter(|sent| sent.occupies && of(sent.range.job).spec.task as usize == task).count();
        assert_eq!(state.occupied as usize, occupied, "task {task}");
        assert!(sent().all(|sent| sent.occupies || sent.is_settled()), "an item runs, and does not count");
    }
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let sent = sent().filter(|sent| sent.occupies && of(sent.range.job).spec.priority == priority);
        assert_eq!(scheduler.in_flight[priority as usize] as usize, sent.count());
    }
    for state in scheduler.workers.values() {
        assert_eq!(state.ahead, state.in_flight.iter().map(|sent| sent.time).sum::<u64>());
    }
}

/// No item of a higher priority waits, and may run, when this is sent.
pub(super) fn outranks(scheduler: &Scheduler<usize>, spec: JobSpec) {
    if spec.pinned {
        return;
    }
    let ids = scheduler.jobs.ids().into_iter();
    let higher = ids.filter(|id| scheduler.jobs.get(*id).is_some_and(|job| job.spec.priority > spec.priority));
    for id in higher {
        let job = scheduler.jobs.get(id).expect("its id was listed");
        let is_parked = flow(scheduler, id).is_none_or(|flow| flow.standing == Standing::Parked);
        // Items of a broadcast wait for workers that run nothing yet.
        assert!(
            is_parked || job.spec.pinned || job.queued == 0,
            "{} items of a higher priority wait: {:?}",
            job.queued,
            job.spec
        );
    }
}

fn narrow(scheduler: &Scheduler<usize>, job: &JobEntry<usize>) -> Narrow {
    let pace = scheduler.tasks[job.spec.task as usize].pace;
    job.narrow(scheduler.first_ready_at, pace, scheduler.narrow_workers)
}

/// No worker is idle while items wait, but for those of a map that has just begun, when some of its items are under way and
/// the clock is set for the others.
fn no_hands_are_idle(scheduler: &Scheduler<usize>) {
    let standing = |range: &Range| flow(scheduler, range.job).map(|flow| flow.standing);
    // One that was killed counts until its end, at which room is looked for.
    let is_awake = |state: &&WorkerState| state.phase != Phase::Starting && !state.in_flight.is_empty();
    let are_awake = scheduler.workers.values().filter(is_awake).count() >= scheduler.narrow_workers;
    let is_narrow = |range: &Range| {
        let job = scheduler.jobs.get(range.job).expect("its items wait");
        // The first worker that is ready is looked for, too.
        let is_looked_at = scheduler.first_ready_at == Nanos::MAX
            || scheduler.wake_at().is_some_and(|at| at <= narrow(scheduler, job).next_step(scheduler.now));
        narrow(scheduler, job).workers(scheduler.now) < scheduler.config.workers
            && (are_awake
                || scheduler.first_ready_at == Nanos::MAX && job.in_flight as usize >= scheduler.narrow_workers)
            && is_looked_at
    };
    let may_go = |range: &Range| standing(range).is_some_and(|standing| standing != Standing::Parked);
    let is_begun = |range: &Range| {
        let job = scheduler.jobs.get(range.job).expect("its items wait");
        scheduler.first_ready_at < Nanos::MAX
            && narrow(scheduler, job).workers(scheduler.now) < scheduler.config.workers
    };
    let waiting: Vec<_> = queued(scheduler).filter(|range| may_go(range) && !is_narrow(range)).collect();
    // A map that has just begun does not go to starting workers once others are ready.
    let may_start = !scheduler.config.has_initializer && !waiting.iter().all(is_begun);
    let may_work = |phase| phase == Phase::Ready || phase == Phase::Starting && may_start;
    let idle = scheduler.workers.values().position(|state| may_work(state.phase) && state.in_flight.is_empty());
    assert!(waiting.is_empty() || idle.is_none(), "worker {idle:?} has nothing while items wait");
}

/// While the pool is open or has work, every worker has a process, or one is on its way, or the clock will see to it.
fn places_are_manned(scheduler: &Scheduler<usize>, places: &ByWorker<Place>) {
    if scheduler.state() != State::Open && (scheduler.state() != State::Closed || scheduler.unsettled() == 0) {
        return;
    }
    for (worker, place) in places.iter().take(scheduler.workers()) {
        let waits = matches!(scheduler.workers[worker].phase, Phase::BackingOff(_) | Phase::Resting);
        assert!(place.process.is_some() || place.launching || waits, "{worker:?} was not replaced");
    }
}

/// Nobody takes work in a place that there should not be.
fn nobody_is_surplus(scheduler: &Scheduler<usize>) {
    let surplus = scheduler.workers.values().skip(scheduler.workers()).find(|state| state.takes_work());
    assert!(surplus.is_none(), "more than {} workers: {surplus:?}", scheduler.workers());
}

/// Workers that run an item or an initializer with a time limit are watched, and workers that were told to leave and
/// have nothing left to run. The clock is set for these, for workers that back off, and for the next attempts of items.
fn clock_is_set(scheduler: &Scheduler<usize>, plan: &Plan) {
    let is_set_for = |due| scheduler.wake_at().is_some_and(|at| at <= due);
    let retry = scheduler.retries.keys().next();
    assert!(retry.is_none_or(|&due| is_set_for(due)), "an attempt is due at {retry:?}");
    for state in scheduler.workers.values() {
        let front = state.in_flight.front().and_then(|sent| scheduler.jobs.get(sent.range.job));
        let is_timed = front.is_some_and(|job| job.spec.timeout.is_some());
        let has_nothing = state.in_flight.iter().all(|sent| sent.settled == sent.range.items);
        let due = match state.phase {
            Phase::BackingOff(until) => until,
            Phase::Starting if plan.initializer_timeout.is_some() => {
                state.deadline.expect("its initializer has a limit")
            }
            Phase::Leaving | Phase::Retiring if has_nothing => state.deadline.expect("it may be stopped"),
            Phase::Starting | Phase::Ready | Phase::Leaving if is_timed => {
                state.deadline.expect("its item has a limit")
            }
            _ => continue,
        };
        assert!(is_set_for(due), "due at {due}: {state:?}");
    }
}

/// A worker is told to leave only if it is one too many, has had its share, or is worn out or idle.
pub(super) fn leaves_for_a_reason(scheduler: &Scheduler<usize>, plan: &Plan, worker: WorkerId, process: &ProcessBook) {
    let is_surplus = worker.index() >= scheduler.workers() || scheduler.state() == State::Closed;
    let has_its_share = plan.max_tasks_per_worker.is_some_and(|max| process.share >= max);
    let is_idle = plan.idle_timeout.is_some() && scheduler.current_chunk(worker).is_none();
    assert!(is_surplus || has_its_share || process.is_over_rss || is_idle, "{worker:?} is told to leave: {process:?}");
}

/// If a caller's doing ends the pool, the clock is set: no process ends with it that the shell would hear of.
pub(super) fn end_is_noticed(scheduler: &Scheduler<usize>) {
    assert!(!scheduler.is_finished() || scheduler.wake_at().is_some(), "nobody notices that the pool is finished");
}

/// Once the clock has ticked, nobody is idle while items wait behind a worker that has been silent for long.
pub(super) fn idle_help_the_silent(scheduler: &Scheduler<usize>) {
    let has_idle = scheduler.workers.values().any(|state| state.phase == Phase::Ready && state.in_flight.is_empty());
    let states = scheduler
        .workers
        .values()
        .filter(|state| state.takes_work() && scheduler.now - state.heard >= REPLY_SILENCE_NS);
    let mut behind = states.flat_map(|state| state.in_flight.iter().skip(1));
    let waits =
        behind.find(|sent| sent.range.items > 0 && !sent.recalling && scheduler.record(sent.range.job).is_some());
    assert!(!has_idle || waits.is_none(), "a worker is idle while {waits:?} waits behind another item");
}

/// Once the clock has ticked, nothing waits for an attempt that it may have.
pub(super) fn nothing_is_overdue(scheduler: &Scheduler<usize>) {
    let first = scheduler.retries.keys().next();
    assert!(first.is_none_or(|&due| due > scheduler.now), "an attempt was due at {first:?}");
}

/// The pool is broken when a worker could not be started more often than allowed, and only then.
fn breaks_when_it_must(scheduler: &Scheduler<usize>, plan: &Plan, places: &ByWorker<Place>) {
    let hopeless = places.values().any(|place| place.failures > plan.restart_limit);
    match scheduler.state() {
        State::Open | State::Closed => assert!(!hopeless, "workers are started again without limit"),
        State::Broken => assert!(hopeless, "the pool is broken without need"),
        State::Terminated => {}
    }
}

/// When the pool is finished there is nobody and nothing left.
fn finished_is_empty(scheduler: &Scheduler<usize>, books: &Books, places: &ByWorker<Place>) {
    if scheduler.is_finished() {
        assert!(!places.values().any(|place| place.process.is_some() || place.launching), "finished with workers");
        books.all_ended();
        assert!(scheduler.jobs.ids().is_empty(), "jobs are left in the slab");
    }
}

//! Insights: each item, failure, time and end of a process is counted once, in every configuration and under kills.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool_core::prelude::*;
use pool_core::{ExitCause, Insights, TaskInsights, WorkerState};
use tests::gate::{Gate, count, open_and_hang, pass};
use tests::panics::silently;
use tests::procs::eventually;
use tests::tasks::{Way, crash, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_item_is_counted_once),
        everywhere(items_are_counted_once_under_kills),
        each_method(failures_are_counted_by_kind),
        each_method(an_err_is_counted_and_no_failure),
        each_method(retries_and_time_outs_are_counted),
        each_method(each_end_has_its_cause),
        each_method(what_runs_is_seen),
        each_method(a_worker_has_spent_each_moment_once),
        once(the_slowest_items_are_named),
        once(short_items_are_marked_as_means),
        once(insights_are_a_table),
        once(a_pool_that_is_over_has_its_insights),
    ]
}

fn of<'i>(insights: &'i Insights, task: &str) -> &'i TaskInsights {
    let found = insights.tasks.iter().find(|insights| insights.task.ends_with(&format!("::{task}")));
    found.unwrap_or_else(|| panic!("no {task} in {insights}"))
}

fn items_of_workers(insights: &Insights) -> u64 {
    insights.workers.iter().map(|worker| worker.items).sum()
}

fn each_item_is_counted_once(setup: &Setup) {
    let pool = setup.pool();
    pool.map(square::Task, 0..10_000).unwrap();
    pool.imap(square::Task, 0..1000).unwrap().for_each(drop);
    let calls: Vec<_> = (0..1000).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    calls.into_iter().for_each(|call| _ = call.get().unwrap());
    let insights = pool.insights();
    assert_eq!((of(&insights, "square").items, insights.pending), (12_000, 0));
    assert_eq!(items_of_workers(&insights), 12_000);
    assert_eq!(insights.workers.len(), setup.workers);
    assert!(insights.workers.iter().all(|worker| worker.exit_count == 0 && worker.incarnation == 0), "{insights}");
}

fn items_are_counted_once_under_kills(setup: &Setup) {
    const ITEMS: u64 = 2000;
    let pool = setup.pool();
    let job = pool.map_async(nap::Task.retries(1000), std::iter::repeat_n(1, ITEMS as usize)).unwrap();
    let mut kills = 0;
    while !job.ready() && kills < 20 {
        if let Some(running) = pool.running().first() {
            // It may have gone meanwhile.
            kills += u32::from(kill(Pid::from_raw(running.pid as i32), Signal::SIGKILL).is_ok());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    job.get().unwrap();
    assert!(eventually(|| pool.stats().workers_died >= 1 && pool.worker_pids().len() == setup.workers));
    let (insights, died) = (pool.insights(), pool.stats().workers_died);
    let nap = of(&insights, "nap");
    assert_eq!((nap.items, nap.failed()), (ITEMS, 0), "{insights}");
    assert_eq!(items_of_workers(&insights), ITEMS, "{insights}");
    assert!(nap.retries <= died, "{insights}");
    assert_eq!(insights.workers.iter().map(|worker| worker.exit_count).sum::<u64>(), died, "{insights}");
    for exit in insights.workers.iter().flat_map(|worker| &worker.exits) {
        let ExitCause::Died(text) = &exit.cause else { panic!("{:?}", exit.cause) };
        assert!(text.contains("SIGKILL"), "{text}");
    }
}

#[pool_task]
fn panic_at(x: u64, at: u64) -> u64 {
    assert!(x != at, "on purpose");
    x
}

fn failures_are_counted_by_kind(setup: &Setup) {
    let pool = setup.pool();
    let results = silently(|| pool.map_results(panic_at::Task, (0..100).map(|x| (x, 7))).unwrap());
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    for way in [Way::Segfault, Way::ExitThree] {
        pool.apply(crash::Task, Some(way)).unwrap_err();
    }
    pool.apply(crash::Task.timeout(Duration::from_millis(50)), Some(Way::Hang)).unwrap_err();
    let cancelled = pool.apply_async(crash::Task, Some(Way::Hang)).unwrap();
    assert!(eventually(|| !pool.running().is_empty()));
    cancelled.cancel();
    assert!(eventually(|| pool.worker_pids().len() == setup.workers && pool.running().is_empty()));
    let insights = pool.insights();
    let panics = of(&insights, "panic_at");
    assert_eq!((panics.items, &panics.failures[..]), (100, &[(ErrorKind::Panicked, 1)][..]));
    let crashes = of(&insights, "crash");
    assert_eq!(
        crashes.failures,
        [(ErrorKind::TaskTimeout, 1), (ErrorKind::WorkerDied, 2)],
        "cancelled ones did not fail"
    );
    assert_eq!((crashes.items, crashes.time_outs, crashes.retries), (3, 1, 0), "{insights}");
    assert!(crashes.max >= Some(Duration::from_millis(50)), "{insights}");
}

#[pool_task]
fn odd(x: u64) -> Result<u64, String> {
    if x % 2 == 1 { Ok(x) } else { Err(format!("{x} is even")) }
}

type Outcome = std::result::Result<(), u8>;

#[pool_task]
fn refuse() -> Outcome {
    Err(3)
}

#[pool_task]
fn nested() -> Option<Outcome> {
    Some(Err(3))
}

fn an_err_is_counted_and_no_failure(setup: &Setup) {
    let pool = setup.pool();
    pool.map(odd::Task, 0..1001).unwrap();
    (0..7).for_each(|_| _ = pool.apply(refuse::Task, ()).unwrap());
    pool.apply(nested::Task, ()).unwrap();
    let insights = pool.insights();
    for (task, items, errs) in [("odd", 1001, 501), ("refuse", 7, 7), ("nested", 1, 0)] {
        let insights = of(&insights, task);
        assert_eq!((insights.items, insights.errs, insights.failed()), (items, errs, 0), "{task}");
    }
}

/// Fails in some way until it has been tried `failures` times.
#[pool_task]
fn fail_at_first(way: Way, failures: usize, gate: &str) {
    if count(gate) < failures {
        way.go();
    }
}

fn retries_and_time_outs_are_counted(setup: &Setup) {
    let pool = setup.pool();
    let mut expected = (0, 0, 0);
    for (way, time_outs) in [(Way::Segfault, 0), (Way::Hang, 2), (Way::Panic, 0)] {
        let gate = Gate::new();
        let task = fail_at_first::Task.retries(2).retry_panics().timeout(Duration::from_millis(100));
        silently(|| pool.apply(task, (way, 2, gate.path())).unwrap());
        let insights = pool.insights();
        let counts = of(&insights, "fail_at_first");
        expected = (expected.0 + 1, expected.1 + 2, expected.2 + time_outs);
        assert_eq!((counts.items, counts.retries, counts.time_outs), expected, "{way:?}\n{insights}");
        assert_eq!(counts.failed(), 0);
    }
}

/// The cause of the last end of worker 0, when it has had so many.
fn last_cause(pool: &Pool, ends: u64) -> ExitCause {
    assert!(eventually(|| pool.insights().workers[0].exit_count == ends), "{}", pool.insights());
    pool.insights().workers[0].exits.last().unwrap().cause.clone()
}

fn each_end_has_its_cause(setup: &Setup) {
    let setup = setup.with_workers(1);
    {
        let pool = setup.pool();
        let limit = Duration::from_millis(50);
        pool.apply(crash::Task, Some(Way::Segfault)).unwrap_err();
        let died = last_cause(&pool, 1);
        assert_eq!((died.to_string().as_str(), died.is_death()), ("killed by signal 11 (SIGSEGV)", true));
        pool.apply(crash::Task.timeout(limit), Some(Way::Hang)).unwrap_err();
        let timed_out = last_cause(&pool, 2);
        assert!(
            matches!(timed_out, ExitCause::TimedOut { limit: of, ran } if of == limit && ran >= limit),
            "{timed_out}"
        );
        let gate = Gate::new();
        let job = pool.apply_async(open_and_hang::Task, gate.path()).unwrap();
        gate.wait();
        job.cancel();
        assert_eq!(last_cause(&pool, 3), ExitCause::Cancelled);
        assert_eq!(pool.apply(crash::Task, None).unwrap(), 7);
        let worker = &pool.insights().workers[0];
        assert_eq!((worker.incarnation, worker.exits.len()), (3, 3));
        assert!(worker.exits.windows(2).all(|ends| ends[0].ago >= ends[1].ago && ends[0].pid != ends[1].pid));
        (0..20).for_each(|_| _ = pool.apply(crash::Task, Some(Way::ExitThree)).unwrap_err());
        assert_eq!(last_cause(&pool, 23).to_string(), "exited with code 3");
        assert_eq!(pool.insights().workers[0].exits.len(), 8, "the others are only counted");
        assert!(eventually(|| pool.insights().workers[0].state == WorkerState::Waiting));
        pool.close();
        assert_eq!(last_cause(&pool, 24), ExitCause::Closed);
    }
    {
        let pool = setup.builder().max_tasks_per_worker(2).build().unwrap();
        (0..2).for_each(|x| _ = pool.apply(square::Task, x).unwrap());
        let share_done = last_cause(&pool, 1);
        assert_eq!((&share_done, share_done.is_death()), (&ExitCause::ShareDone, false));
    }
    {
        let pool = setup.builder().idle_timeout(Duration::from_millis(20)).build().unwrap();
        pool.apply(square::Task, 3).unwrap();
        assert_eq!(last_cause(&pool, 1), ExitCause::Idle);
        assert_eq!(pool.insights().workers[0].state, WorkerState::Absent);
    }
    let pool = setup.with_workers(2).pool();
    pool.resize(1).unwrap();
    assert!(eventually(|| pool.insights().workers[1].exit_count == 1));
    let insights = pool.insights();
    assert_eq!(insights.workers[1].exits[0].cause, ExitCause::Resized);
    assert_eq!((insights.workers[1].state, insights.workers[1].pid), (WorkerState::Absent, None));
    pool.terminate();
    assert_eq!(last_cause(&pool, 1), ExitCause::Terminated);
}

fn what_runs_is_seen(setup: &Setup) {
    let pool = setup.pool();
    assert!(pool.running().is_empty());
    let gate = Gate::new();
    let begun = Instant::now();
    let job = pool.map_async(pass::Task.chunk_size(10).label("wait"), (0..40).map(|_| gate.path())).unwrap();
    assert!(eventually(|| pool.running().len() == setup.workers));
    std::thread::sleep(Duration::from_millis(50));
    let running = pool.running();
    let items: Vec<_> = running.iter().filter_map(|running| running.item).collect();
    assert!(items.len() == 2 && items.contains(&0) && items[0] != items[1], "{items:?}");
    for one in &running {
        assert!(one.task.ends_with("::pass") && one.label == Some("wait"), "{one:?}");
        assert!(one.since >= Duration::from_millis(40) && one.since <= begun.elapsed(), "{one:?}");
        assert!(pool.worker_pids().contains(&one.pid));
    }
    let insights = pool.insights();
    for worker in &insights.workers {
        assert_eq!((worker.state, worker.label), (WorkerState::Working, Some("wait")), "{insights}");
        assert!(worker.rss_bytes > Some(4096) && worker.working >= Duration::from_millis(40), "{insights}");
    }
    gate.open();
    job.get().unwrap();
    let call = pool.apply_async(crash::Task.timeout(Duration::from_secs(600)), Some(Way::Hang)).unwrap();
    assert!(eventually(|| pool.running().len() == 1));
    assert_eq!(pool.running()[0].item, None, "a call is no item of a map");
    call.cancel();
    assert!(eventually(|| pool.running().is_empty()));
}

#[pool_task]
fn prepare(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn a_worker_has_spent_each_moment_once(setup: &Setup) {
    let begun = Instant::now();
    let pool = setup.builder().initializer(prepare::Task, 60).build().unwrap();
    assert!(eventually(|| pool.insights().workers.iter().all(|worker| worker.state == WorkerState::Initializing)));
    assert!(eventually(|| pool.insights().workers.iter().all(|worker| worker.state == WorkerState::Waiting)));
    pool.map(nap::Task.chunk_size(1), [40; 8]).unwrap();
    pool.apply(crash::Task, Some(Way::Segfault)).unwrap_err();
    let is_ready = || pool.insights().workers.iter().all(|worker| worker.state == WorkerState::Waiting);
    assert!(eventually(is_ready), "{}", pool.insights());
    let (insights, age) = (pool.insights(), begun.elapsed());
    assert!(insights.uptime <= age);
    for worker in &insights.workers {
        let processes = worker.exit_count + 1;
        assert!(worker.initializing >= Duration::from_millis(60) * processes as u32, "{insights}");
        assert!(worker.starting > Duration::ZERO, "{insights}");
        assert!(worker.starting + worker.initializing + worker.working + worker.waiting <= age, "{worker:?}");
    }
    let worked: Duration = insights.workers.iter().map(|worker| worker.working).sum();
    assert!(worked >= Duration::from_millis(8 * 40), "{insights}");
    assert_eq!(of(&insights, "nap").items, 8);
}

fn the_slowest_items_are_named(setup: &Setup) {
    let pool = setup.pool();
    let naps = (0..100).map(|item| if item % 10 == 3 { 20 + item } else { 1 });
    pool.map(nap::Task.chunk_size(1).label("naps"), naps).unwrap();
    let insights = pool.insights();
    let nap = of(&insights, "nap");
    let slowest: Vec<_> = nap.slowest.iter().map(|slow| (slow.item, slow.items, slow.label)).collect();
    assert_eq!(slowest, [93, 83, 73, 63, 53].map(|item| (Some(item), 1, Some("naps"))), "{insights}");
    assert_eq!((nap.max, nap.averaged), (Some(nap.slowest[0].time), 0));
    assert!(nap.p50 >= Some(Duration::from_millis(1)) && nap.p50 <= nap.p99 && nap.p99 <= nap.max, "{insights}");
    assert!(nap.p99 >= Some(Duration::from_millis(113 - 20)), "{insights}");
}

fn short_items_are_marked_as_means(setup: &Setup) {
    let pool = setup.pool();
    pool.map(square::Task.chunk_size(100), 0..1000).unwrap();
    let insights = pool.insights();
    // An idle worker may take a single item from the other one.
    assert!(of(&insights, "square").averaged > 900, "{insights}");
    assert!(of(&insights, "square").slowest.iter().any(|slow| slow.items > 1), "{insights}");
    assert!(insights.to_string().contains("means of chunks"), "{insights}");
}

fn insights_are_a_table(setup: &Setup) {
    let pool = setup.pool();
    pool.map(nap::Task.chunk_size(1), [1; 1000]).unwrap();
    pool.apply(crash::Task, Some(Way::Abort)).unwrap_err();
    let gate = Gate::new();
    let job = pool.map_async(pass::Task.label("gate"), [gate.path()]).unwrap();
    assert!(eventually(|| !pool.running().is_empty()));
    let text = pool.insights().to_string();
    gate.open();
    job.get().unwrap();
    for expected in
        ["2 workers, up ", "1 items pending", "working", "::pass [0] (gate)", "1,000", "SIGABRT", " MiB", "p99"]
    {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

fn a_pool_that_is_over_has_its_insights(setup: &Setup) {
    let pool = setup.pool();
    pool.map(square::Task, 0..10).unwrap();
    pool.close();
    pool.join().unwrap();
    let insights = pool.insights();
    assert_eq!(of(&insights, "square").items, 10);
    assert!(insights.workers.iter().all(|worker| worker.pid.is_none() && worker.exit_count == 1), "{insights}");
    assert!(pool.running().is_empty());
}

//! Events: in their order, each once, whatever the listener does.

use std::collections::HashSet;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool_core::prelude::*;
use pool_core::{Event, ExitCause};
use tests::gate::{Gate, count, pass};
use tests::panics::silently;
use tests::procs::{SOON, eventually};
use tests::tasks::{Way, crash, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_job_and_item_has_its_events),
        each_method(deaths_and_retries_are_told),
        each_method(events_fit_together_under_kills),
        each_method(a_listener_that_panics_hears_the_next_event),
        each_method(a_listener_that_blocks_holds_nothing_up),
        once(a_listener_that_is_slow_is_told_how_much_it_missed),
        each_method(a_listener_may_use_the_pool),
        each_method(a_listener_may_drop_the_pool),
    ]
}

/// A pool of this setup, and its events.
fn heard(setup: &Setup) -> (Pool, Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    let pool = setup.builder().on_event(move |event| sender.send(event.clone()).unwrap()).build().unwrap();
    (pool, events)
}

/// All events of a pool that ends now.
fn all(pool: Pool, events: &Receiver<Event>) -> Vec<Event> {
    pool.close();
    pool.join().unwrap();
    drop(pool);
    events.iter().collect()
}

fn each_job_and_item_has_its_events(setup: &Setup) {
    let (pool, events) = heard(setup);
    pool.map(square::Task.label("squares"), 0..1000).unwrap();
    let calls: Vec<_> = (0..100).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    calls.into_iter().for_each(|call| _ = call.get().unwrap());
    let events = all(pool, &events);
    let (mut open, mut seen, mut items, mut labelled, mut workers) = (HashSet::new(), 0, 0, 0, 0_i64);
    for event in &events {
        match event {
            Event::WorkerStarted { .. } => workers += 1,
            Event::WorkerExited { cause, .. } => {
                assert_eq!(*cause, ExitCause::Closed);
                workers -= 1;
            }
            Event::JobSubmitted { job, task, label, .. } => {
                assert!(task.ends_with("::square"));
                labelled += usize::from(*label == Some("squares"));
                assert!(open.insert(*job), "{job:?} is submitted twice");
                seen += 1;
            }
            Event::JobFinished { job, .. } => assert!(open.remove(job), "{job:?} ends before it was submitted"),
            Event::ChunkDone { items: count, first, label, .. } => {
                assert_eq!(first.is_some(), *label == Some("squares"));
                items += count;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((seen, labelled, items, workers), (101, 1, 1100, 0));
    assert!(open.is_empty(), "{open:?} never end");
    assert!(matches!(events[0], Event::WorkerStarted { .. }));
}

#[pool_task]
fn fail_once(way: Way, gate: &str) {
    if count(gate) == 0 {
        way.go();
    }
}

fn deaths_and_retries_are_told(setup: &Setup) {
    let (pool, events) = heard(&setup.with_workers(1));
    for way in [Way::Segfault, Way::Panic] {
        let gate = Gate::new();
        silently(|| pool.apply(fail_once::Task.retries(1).retry_panics(), (way, gate.path())).unwrap());
    }
    pool.apply(crash::Task.timeout(Duration::from_millis(50)), Some(Way::Hang)).unwrap_err();
    let results = silently(|| pool.map_results(crash::Task, [None, Some(Way::Panic), None]).unwrap());
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    let (mut retries, mut deaths, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for event in all(pool, &events) {
        match event {
            Event::ItemRetried { item, worker, task, .. } => {
                assert!(item.is_none() && worker.id() == 0 && worker.pid() > 0 && task.ends_with("::fail_once"));
                retries.push(worker.incarnation());
            }
            Event::WorkerExited { cause, worker, .. } => deaths.push((worker.incarnation(), cause)),
            Event::ItemFailed { item, kind, worker, .. } => {
                failures.push((item, kind, worker.map(|worker| worker.id())))
            }
            _ => {}
        }
    }
    assert_eq!(retries, [0, 1]);
    assert_eq!(failures, [(None, ErrorKind::TaskTimeout, None), (Some(1), ErrorKind::Panicked, Some(0))]);
    let causes: Vec<_> = deaths.iter().map(|(incarnation, cause)| (*incarnation, cause.is_death())).collect();
    assert_eq!(causes, [(0, true), (1, true), (2, false)], "{deaths:?}");
    assert!(matches!(deaths[1].1, ExitCause::TimedOut { .. }));
}

fn events_fit_together_under_kills(setup: &Setup) {
    let (pool, events) = heard(setup);
    let job = pool.map_async(nap::Task.retries(1000), [1; 1000]).unwrap();
    for _ in 0..10 {
        if let Some(running) = pool.running().first() {
            // It may have gone meanwhile.
            let _ = kill(Pid::from_raw(running.pid as i32), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    job.get().unwrap();
    let stats = pool.stats();
    let events = all(pool, &events);
    let mut alive = HashSet::new();
    let mut deaths = 0;
    for event in &events {
        match event {
            Event::WorkerStarted { worker, .. } => assert!(alive.insert(worker.pid()), "{worker:?} starts twice"),
            Event::WorkerExited { worker, cause, .. } => {
                assert!(alive.remove(&worker.pid()), "{worker:?} was not there");
                deaths += u64::from(cause.is_death());
            }
            Event::ItemFailed { .. } | Event::Dropped { .. } => panic!("{event:?}"),
            _ => {}
        }
    }
    assert!(alive.is_empty());
    assert!(deaths >= stats.workers_died && deaths > 0, "{deaths} of {stats:?}");
    let finished = events.iter().filter(|event| matches!(event, Event::JobFinished { .. })).count();
    assert_eq!(finished, 1);
}

fn a_listener_that_panics_hears_the_next_event(setup: &Setup) {
    silently(|| {
        let heard = Arc::new(Mutex::new(0));
        let listener = Arc::clone(&heard);
        let pool = setup
            .builder()
            .on_event(move |_| {
                *listener.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
                panic!("on purpose");
            })
            .build()
            .unwrap();
        assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
        drop(pool);
        let heard = *heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(heard > 2 * setup.workers, "{heard} events");
    });
}

fn a_listener_that_blocks_holds_nothing_up(setup: &Setup) {
    let gate = Gate::new();
    let path = gate.path().to_owned();
    let pool = setup.builder().on_event(move |_| _ = pass(&path)).build().unwrap();
    assert_eq!(pool.map(square::Task, 0..10_000).unwrap().len(), 10_000);
    pool.apply(crash::Task, Some(Way::Segfault)).unwrap_err();
    pool.apply(square::Task, 3).unwrap();
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() >= Duration::from_millis(500), "it was waited for");
    // Left behind, and it ends as soon as the listener lets it.
    gate.open();
    assert!(eventually(|| std::fs::read_dir("/proc/self/task").unwrap().count() == 1));
}

fn a_listener_that_is_slow_is_told_how_much_it_missed(setup: &Setup) {
    let gate = Gate::new();
    let path = gate.path().to_owned();
    let (sender, events) = mpsc::channel();
    let listener = move |event: &Event| {
        pass(&path);
        sender.send(event.clone()).unwrap();
    };
    let pool = setup.builder().on_event(listener).build().unwrap();
    // Each call is at least two events.
    const CALLS: u64 = 40_000;
    let calls: Vec<_> = (0..CALLS).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    calls.into_iter().for_each(|call| _ = call.get().unwrap());
    gate.open();
    let events = all(pool, &events);
    let dropped: u64 =
        events.iter().map(|event| if let Event::Dropped { events, .. } = event { *events } else { 0 }).sum();
    let submitted = events.iter().filter(|event| matches!(event, Event::JobSubmitted { .. })).count() as u64;
    assert!(dropped > 0 && submitted < CALLS, "{dropped} dropped, {submitted} submitted");
    assert!(events.len() as u64 + dropped > 2 * CALLS, "{dropped} dropped of {}", events.len());
    assert!(events.len() < 70_000, "{}", events.len());
}

fn a_listener_may_use_the_pool(setup: &Setup) {
    let shared = Arc::new(OnceLock::<Pool>::new());
    let (inner, (sender, results)) = (Arc::downgrade(&shared), mpsc::channel());
    let mut is_first = true;
    let listener = move |event: &Event| {
        if let Event::ItemFailed { .. } = event
            && std::mem::replace(&mut is_first, false)
        {
            let pool = inner.upgrade().expect("it is there");
            sender
                .send((pool.get().unwrap().apply(square::Task, 7), pool.get().unwrap().insights().workers.len()))
                .unwrap();
        }
    };
    shared.set(setup.builder().on_event(listener).build().unwrap()).unwrap();
    shared.get().unwrap().apply(crash::Task, Some(Way::Segfault)).unwrap_err();
    let (result, workers) = results.recv_timeout(SOON).unwrap();
    assert_eq!((result.unwrap(), workers), (49, setup.workers));
    drop(shared);
}

fn a_listener_may_drop_the_pool(setup: &Setup) {
    let place = Arc::new(Mutex::new(None::<Pool>));
    let (theirs, (sender, dropped)) = (Arc::clone(&place), mpsc::channel());
    let listener = move |event: &Event| {
        if let Event::ItemFailed { .. } = event
            && let Some(pool) = theirs.lock().unwrap().take()
        {
            drop(pool);
            sender.send(()).unwrap();
        }
    };
    let pool = setup.builder().on_event(listener).build().unwrap();
    let mut guard = place.lock().unwrap();
    let failing = pool.apply_async(crash::Task, Some(Way::Segfault)).unwrap();
    *guard = Some(pool);
    drop(guard);
    failing.get().unwrap_err();
    dropped.recv_timeout(SOON).unwrap();
    assert!(eventually(|| place.lock().unwrap().is_none()));
}

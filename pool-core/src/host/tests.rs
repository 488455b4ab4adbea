//! A host without workers: waiting, and the end.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use std::thread;
use std::time::Duration;

use super::*;
use crate::handle::AsyncResult;
use crate::job::batch::{Batch, CompletionRef};
use crate::scheduler::{JobSpec, Scheduler, SchedulerConfig};

fn config() -> SchedulerConfig {
    SchedulerConfig {
        workers: 0,
        max_tasks_per_worker: None,
        restart_limit: 0,
        idle_timeout: None,
        has_initializer: false,
        initializer_timeout: None,
    }
}

fn without_workers(max_pending: u64) -> Arc<Host> {
    let engine = Engine::new(Scheduler::new(config(), 0), None, None);
    let (hub, _) = Hub::create(0).unwrap();
    Host::new(engine, hub, max_pending, TaskOptions::default(), "test").unwrap()
}

#[test]
fn a_leader_that_unwinds_leads_no_longer() {
    let host = without_workers(u64::MAX);
    let was_led = Cell::new(false);
    let ready = || {
        was_led.set(was_led.get() | host.leadership.is_watched());
        assert!(!host.leadership.is_watched(), "on purpose");
        false
    };
    assert!(catch_unwind(AssertUnwindSafe(|| host.wait(None, ready, drop))).is_err());
    assert!(was_led.get() && !host.leadership.is_watched());
    // The next one can lead, and come to an end.
    assert!(!host.wait(Some(Instant::now() + Duration::from_millis(5)), || false, drop));
    assert!(!host.leadership.is_watched());
}

#[test]
fn who_asks_for_room_again_and_again_stands_in_the_crowd_once() {
    let host = without_workers(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| host.wait(None, || is_over.load(Ordering::Relaxed), drop));
        while !host.leadership.is_watched() {
            thread::yield_now();
        }
        for _ in 0..20 {
            assert!(!host.wait_or_room(Some(Instant::now() + Duration::from_millis(1)), || false, drop));
        }
        let waiting_submitters = host.supervision().waiting_submitters.len();
        is_over.store(true, Ordering::Relaxed);
        host.hub.notify(Sleeper::Caller);
        assert_eq!(waiting_submitters, 1);
    });
}

/// Whoever takes in an outcome has the lock no longer when it hands over the callbacks, and the pool may end meanwhile.
#[test]
fn the_end_waits_for_a_callback_that_is_on_its_way() {
    let host = without_workers(u64::MAX);
    let job = Scheduler::<()>::new(config(), 0).submit(JobSpec::default(), |_| ());
    let completion = CompletionRef::new(&Batch::of_map(&host, job), 0);
    let has_run = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&has_run);
    AsyncResult::new(completion.clone(), |_| Ok(())).on_done(move |_| theirs.store(true, Ordering::Relaxed));
    let taken_in = completion.finish(None, None).into_iter().collect();
    assert!(!host.notifier.close(Some(Instant::now() + Duration::from_millis(20))));
    host.run(Deferred { waiters: taken_in, ..Deferred::default() });
    assert!(host.notifier.close(None) && has_run.load(Ordering::Relaxed));
}

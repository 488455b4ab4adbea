//! A host without workers: waiting, and the end.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use std::thread;
use std::time::Duration;

use super::turn::Turn;
use super::*;
use crate::engine::own_call::OwnCalls;
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
        finalizer_timeout: None,
    }
}

fn without_workers(most_pending: Amount) -> Arc<Host> {
    let engine = Engine::new(Scheduler::new(config(), 0), OwnCalls::default(), None, most_pending);
    let (hub, _) = Hub::create(0).unwrap();
    Host::new(engine, hub, most_pending, TaskOptions::default(), Vec::new(), "test").unwrap()
}

#[test]
fn a_leader_that_unwinds_leads_no_longer() {
    let host = without_workers(Amount::UNLIMITED);
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
fn a_turn_that_is_dropped_passes_its_room_on() {
    let host = without_workers(Amount { items: 1, bytes: u64::MAX });
    let job = Scheduler::<()>::new(config(), 0).submit(JobSpec::default(), |_| ());
    let turn = || {
        let mut turn = Turn::new(&host);
        turn.draw_for_item(job, None);
        turn
    };
    let soon = || Some(Instant::now() + Duration::from_millis(1));
    let first = turn();
    assert!(first.wait(soon(), || false, drop), "there is room for it");
    // One leads and the others follow.
    let others = [(); 3].map(|()| turn());
    assert!(others.iter().all(|turn| !turn.wait(soon(), || false, drop)));
    thread::scope(|scope| {
        let waits = others.map(|turn| scope.spawn(move || turn.wait(None, || false, drop)));
        thread::sleep(Duration::from_millis(10));
        drop(first);
        assert!(waits.into_iter().all(|wait| wait.join().unwrap()));
    });
}

/// A thread that takes in an outcome hands the callbacks over after it has left the lock, and the pool may end in between.
#[test]
fn the_end_waits_for_a_callback_that_is_on_its_way() {
    let host = without_workers(Amount::UNLIMITED);
    let job = Scheduler::<()>::new(config(), 0).submit(JobSpec::default(), |_| ());
    let completion = CompletionRef::new(&Batch::of_map(&host, job, None), 0);
    let has_run = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&has_run);
    AsyncResult::new(completion.clone(), |_| Ok(())).on_done(move |_| theirs.store(true, Ordering::Relaxed));
    let taken_in = completion.finish(None, None).into_iter().collect();
    assert!(!host.notifier.close(Some(Instant::now() + Duration::from_millis(20))));
    host.run(Deferred { waiters: taken_in, ..Deferred::default() });
    assert!(host.notifier.close(None) && has_run.load(Ordering::Relaxed));
}

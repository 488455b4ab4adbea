//! Many threads that call at once: those that stay awake, those that sleep, and the one that leads.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use pool_core::prelude::*;
use tests::procs::SOON;
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(each_of_many_callers_gets_its_own_results),
        each_method(a_caller_that_sleeps_hears_beside_callers_that_stay_awake),
        each_method(callers_that_sleep_pass_the_lead_on),
        each_method(callers_of_a_bounded_pool_all_come_to_an_end),
        each_method(futures_come_to_an_end_beside_callers_and_without),
    ]
}

fn each_of_many_callers_gets_its_own_results(setup: &Setup) {
    let pool = setup.pool();
    thread::scope(|scope| {
        for caller in 0..24 {
            let pool = &pool;
            scope.spawn(move || {
                for x in 0..200 {
                    let x = caller * 1000 + x;
                    assert_eq!(pool.apply(square::Task, x).unwrap(), x * x);
                }
            });
        }
    });
    assert_eq!(pool.stats().items_pending, 0);
}

/// The others call until it has heard: lost, its wake-up would make all of them go on for ever.
fn a_caller_that_sleeps_hears_beside_callers_that_stay_awake(setup: &Setup) {
    let pool = setup.with_workers(3).pool();
    let (is_over, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(pool.apply(square::Task, 7).unwrap(), 49);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for ms in [40, 1, 20, 5] {
            assert_eq!(pool.apply(nap::Task, ms).unwrap(), ms);
            assert_eq!(pool.map(nap::Task, [ms, 0, ms]).unwrap(), [ms, 0, ms]);
            let mut job = pool.apply_async(nap::Task, ms).unwrap();
            let early = job.get_timeout(Duration::from_micros(100));
            assert!(early.is_ok() || job.get_timeout(SOON).is_ok());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(calls.into_inner() > 0);
}

fn callers_that_sleep_pass_the_lead_on(setup: &Setup) {
    let pool = setup.with_workers(4).pool();
    thread::scope(|scope| {
        for caller in 0..16 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..8 {
                    let ms = (caller * 5 + round * 3) % 7;
                    assert_eq!(pool.apply(nap::Task, ms).unwrap(), ms);
                }
            });
        }
    });
}

fn callers_of_a_bounded_pool_all_come_to_an_end(setup: &Setup) {
    for most in [1, 3] {
        let pool = setup.builder().max_pending(most).build().unwrap();
        thread::scope(|scope| {
            for caller in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for x in 0..60 {
                        match caller % 4 {
                            0 => assert_eq!(pool.apply(square::Task, x).unwrap(), x * x),
                            1 => assert_eq!(pool.map(square::Task, 0..5).unwrap().len(), 5),
                            2 => assert_eq!(pool.apply_async(nap::Task, x % 2).unwrap().get().unwrap(), x % 2),
                            _ => assert_eq!(pool.imap(square::Task, 0..3).unwrap().count(), 3),
                        }
                    }
                });
            }
        });
    }
}

/// Unparks the thread that polls.
struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn futures_come_to_an_end_beside_callers_and_without(setup: &Setup) {
    let pool = setup.pool();
    let await_all = |rounds: u64| {
        for round in 0..rounds {
            let jobs: Vec<_> = (0..300).map(|x| pool.apply_async(square::Task, x + round).unwrap()).collect();
            for (x, job) in (round..).zip(jobs) {
                assert_eq!(block_on(job).unwrap(), x * x);
            }
        }
    };
    await_all(10);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
                }
            });
        }
        await_all(10);
        is_over.store(true, Ordering::Relaxed);
    });
}

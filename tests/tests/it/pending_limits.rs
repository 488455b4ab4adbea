//! The number of items that may be pending: submissions that wait until there is room, and threads that must not wait.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use pool_core::ErrorKind;
use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::procs::eventually;
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_result_is_handed_out_while_others_have_no_room),
        each_method(an_input_that_is_a_lazy_map_itself_finds_room),
        each_method(no_more_items_are_pending_than_may_be),
        each_method(no_more_items_wait_than_may_be_pending),
        each_method(a_thread_that_waits_for_room_hears_that_the_pool_is_closed),
    ]
}

fn a_result_is_handed_out_while_others_have_no_room(setup: &Setup) {
    for most in [1, 3] {
        let pool = setup.builder().max_pending(most).build().unwrap();
        let pulled = Cell::new(0);
        let input = (0..400).map(|_| {
            pulled.set(pulled.get() + 1);
            10
        });
        let mut naps = pool.imap(nap::Task, input).unwrap();
        assert_eq!(naps.next().unwrap().unwrap(), 10);
        assert!(pulled.get() < 50, "{} items were pulled before the first result", pulled.get());
        drop(naps);
        assert!(eventually(|| pool.stats().items_pending == 0));
        assert!(pool.imap(square::Task, 0..500).unwrap().map(Result::unwrap).eq((0..500).map(|x| x * x)));
        // A call takes the only places, and its result is not due.
        let gate = Gate::new();
        let calls: Vec<_> = (0..most).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
        let mut squares = pool.imap(square::Task, 0..5).unwrap();
        let error = squares.next_timeout(Duration::from_millis(50)).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        gate.open();
        assert!(squares.map(Result::unwrap).eq((0..5).map(|x| x * x)));
        assert!(calls.into_iter().all(|call| call.get().is_ok()));
    }
}

fn an_input_that_is_a_lazy_map_itself_finds_room(setup: &Setup) {
    let pool = setup.builder().max_pending(1).build().unwrap();
    let inner = || pool.imap(square::Task, 0..50).unwrap().map(Result::unwrap);
    let expected: Vec<_> = (0..50).map(|x: u64| x.pow(4)).collect();
    assert_eq!(pool.map(square::Task, inner()).unwrap(), expected);
    assert_eq!(pool.map_async(square::Task, inner()).unwrap().get().unwrap(), expected);
    assert!(pool.imap(square::Task, inner()).unwrap().map(Result::unwrap).eq(expected));
}

fn no_more_items_are_pending_than_may_be(setup: &Setup) {
    for most in [1, 3, 100] {
        let pool = setup.builder().max_pending(most).build().unwrap();
        let (is_over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    seen.fetch_max(pool.stats().items_pending, Ordering::Relaxed);
                }
            });
            let work: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let expected: Vec<_> = (0..600).map(|x| x * x).collect();
                        assert_eq!(pool.map(square::Task, 0..600).unwrap(), expected);
                        assert_eq!(pool.map_async(square::Task, 0..600).unwrap().get().unwrap(), expected);
                        assert!(pool.imap(square::Task, 0..600).unwrap().map(Result::unwrap).eq(expected));
                        assert_eq!(pool.imap_unordered(square::Task, 0..600).unwrap().count(), 600);
                        let calls: Vec<_> = (0..100).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
                        assert!(calls.into_iter().all(|call| call.get().is_ok()));
                    })
                })
                .collect();
            let outcomes: Vec<_> = work.into_iter().map(|work| work.join()).collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(outcomes.iter().all(Result::is_ok));
        });
        let seen = seen.into_inner();
        assert!(seen <= most as u64, "{seen} items of at most {most} were pending");
    }
}

fn no_more_items_wait_than_may_be_pending(setup: &Setup) {
    for most in [1, 3, 100] {
        let pool = setup.builder().max_pending(most).build().unwrap();
        let (gate, pulled) = (Gate::new(), AtomicU64::new(0));
        // So that blocks would be large.
        pool.map(square::Task, 0..5000).unwrap();
        let input = || (0..300).map(|_| gate.path()).inspect(|_| _ = pulled.fetch_add(1, Ordering::Relaxed));
        thread::scope(|scope| {
            let work = [
                scope.spawn(|| pool.map(pass::Task, input()).unwrap().len()),
                scope.spawn(|| pool.map_async(pass::Task, input()).unwrap().get().unwrap().len()),
                scope.spawn(|| pool.imap(pass::Task, input()).unwrap().filter(Result::is_ok).count()),
                scope.spawn(|| {
                    let calls: Vec<_> = input().map(|path| pool.apply_async(pass::Task, path).unwrap()).collect();
                    calls.into_iter().filter_map(|call| call.get().ok()).count()
                }),
            ];
            let fills_up = eventually(|| pool.stats().items_pending == most as u64);
            thread::sleep(Duration::from_millis(100));
            let (pending, all) = (pool.stats().items_pending, pulled.load(Ordering::Relaxed));
            gate.open();
            assert!(work.into_iter().all(|work| work.join().unwrap() == 300));
            assert!(fills_up && pending == most as u64, "{pending} items are pending, and may be {most}");
            // Each of them may have seen the same room.
            assert!(all <= 4 * most as u64 + 1, "{all} items were pulled where {most} may be pending");
        });
    }
}

fn a_thread_that_waits_for_room_hears_that_the_pool_is_closed(setup: &Setup) {
    for ends in [Pool::close, Pool::terminate] {
        let pool = setup.builder().max_pending(1).build().unwrap();
        let gate = Gate::new();
        let held = pool.apply_async(pass::Task, gate.path()).unwrap();
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..3)
                .map(|x| {
                    scope.spawn({
                        let pool = &pool;
                        move || pool.apply(square::Task, x)
                    })
                })
                .collect();
            // They wait now, most likely.
            thread::sleep(Duration::from_millis(100));
            ends(&pool);
            let hear = eventually(|| waiting.iter().all(|thread| thread.is_finished()));
            gate.open();
            for thread in waiting {
                assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
            }
            assert!(hear, "they hear of it when there is room");
        });
        drop(held);
    }
}

//! Jobs beside each other: calls and short maps get their turn, higher priorities go first, limits on items at once hold,
//! and waiting items can be cancelled.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pool_core::prelude::*;
use pool_core::{ErrorKind, Priority};
use pool_ipc::sys::monotonic_ns;
use tests::gate::{Gate, count, pass};
use tests::procs::{SOON, eventually};
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, each_method};

/// Sleeps for so many milliseconds; when it began and ended.
#[pool_task]
fn span(ms: u64) -> (u64, u64) {
    let begin = monotonic_ns();
    thread::sleep(Duration::from_millis(ms));
    (begin, monotonic_ns())
}

/// Is counted in the one file, and waits for the other.
#[pool_task]
fn enter(entered: &str, gate: &str) {
    count(entered);
    pass(gate);
}

#[pool_task]
fn enter_padded(entered: &str, gate: &str) {
    enter(entered.trim_start(), gate);
}

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_call_does_not_wait_for_the_end_of_a_map).workers(&[1, 2]),
        each_method(a_large_chunk_gives_way_to_a_call).workers(&[1, 2]),
        each_method(a_short_map_does_not_wait_for_the_end_of_a_long_one).workers(&[1, 2]),
        each_method(higher_priorities_go_first).workers(&[1]),
        each_method(few_items_of_a_task_run_at_once).workers(&[1, 4]),
        each_method(a_limit_of_few_items_is_not_starved_by_one_of_many).workers(&[4]),
        each_method(a_limit_holds_up_no_other_task).workers(&[2]),
        each_method(waiting_items_are_cancelled_and_running_ones_go_on).workers(&[1, 2]),
        each_method(after_a_cancel_the_pool_goes_on).workers(&[2]),
        each_method(the_rest_of_a_lazy_map_is_cancelled).workers(&[1]),
        each_method(cancelled_items_take_no_room).workers(&[1, 2]),
        each_method(options_out_of_range_are_refused).workers(&[1]),
    ]
}

/// Items of a map of `items` naps that are done when a call has its result.
fn done_before_a_call(setup: &Setup, items: u64, chunk_size: Option<usize>) -> u64 {
    let pool = setup.pool();
    pool.map(nap::Task, [1; 8]).unwrap();
    let task = nap::Task.chunk_size(chunk_size.unwrap_or(1));
    let before = pool.stats().items_succeeded;
    let map = match chunk_size {
        Some(_) => pool.map_async(task, vec![5; items as usize]),
        None => pool.map_async(nap::Task, vec![5; items as usize]),
    };
    let map = map.unwrap();
    assert!(eventually(|| pool.stats().items_succeeded > before || chunk_size.is_some()));
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    let done = pool.stats().items_succeeded - before;
    assert!(!map.ready(), "the call waited for the map's end");
    map.cancel();
    done
}

fn a_call_does_not_wait_for_the_end_of_a_map(setup: &Setup) {
    let done = done_before_a_call(setup, 400, None);
    assert!(done < 200, "the call came after {done} of 400 items");
}

fn a_large_chunk_gives_way_to_a_call(setup: &Setup) {
    let done = done_before_a_call(setup, 800, Some(400));
    assert!(done < 200, "the call came after {done} of 800 items");
}

fn a_short_map_does_not_wait_for_the_end_of_a_long_one(setup: &Setup) {
    let pool = setup.pool();
    pool.map(nap::Task, [1; 8]).unwrap();
    let long = pool.map_async(nap::Task, [5; 400]).unwrap();
    assert_eq!(pool.map(nap::Task, [5, 5]).unwrap(), [5, 5]);
    assert!(!long.ready(), "the short map waited for the long one's end");
    long.cancel();
}

fn higher_priorities_go_first(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let entered = Gate::new();
    let blocker = pool.apply_async(enter::Task, (entered.path(), gate.path())).unwrap();
    entered.wait();
    let submit = |priority| pool.apply_async(span::Task.priority(priority), 1).unwrap();
    let order = [Priority::Low, Priority::Normal, Priority::High, Priority::Low, Priority::High];
    let jobs: Vec<_> = order.into_iter().map(|priority| (priority, submit(priority))).collect();
    let map = pool.map_async(span::Task.priority(Priority::Low), [1; 3]).unwrap();
    gate.open();
    blocker.get().unwrap();
    let mut spans: Vec<_> = jobs.into_iter().map(|(priority, job)| (job.get().unwrap().0, priority)).collect();
    spans.extend(map.get().unwrap().into_iter().map(|(begin, _)| (begin, Priority::Low)));
    spans.sort_unstable();
    let begun: Vec<_> = spans.into_iter().map(|(_, priority)| priority).collect();
    assert!(begun.is_sorted_by(|a, b| a >= b), "{begun:?}");
}

/// The most of these that ran at once.
fn most_at_once(spans: &[(u64, u64)]) -> usize {
    let running = |at: u64| spans.iter().filter(|(begin, end)| (*begin..*end).contains(&at)).count();
    spans.iter().map(|(begin, _)| running(*begin)).max().unwrap_or(0)
}

fn few_items_of_a_task_run_at_once(setup: &Setup) {
    let pool = setup.pool();
    for most in [1, 2] {
        let task = span::Task.max_concurrent(most);
        let calls: Vec<_> = (0..10).map(|_| pool.apply_async(task, 2).unwrap()).collect();
        let map = pool.map_async(task, [2; 20]).unwrap();
        let mut spans = pool.map(task.chunk_size(3), [2; 20]).unwrap();
        spans.extend(map.get().unwrap());
        spans.extend(calls.into_iter().map(|call| call.get().unwrap()));
        assert_eq!(spans.len(), 50);
        assert!(most_at_once(&spans) <= most, "{} items of {most} ran at once", most_at_once(&spans));
    }
}

fn a_limit_of_few_items_is_not_starved_by_one_of_many(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    // An input without an end of its own: the call must come before it stops.
    let input = std::iter::from_fn(|| (!Path::new(gate.path()).exists()).then_some(5));
    thread::scope(|scope| {
        let map = scope
            .spawn(|| pool.imap_unordered(span::Task.max_concurrent(2), input).unwrap().map(Result::unwrap).count());
        let call = pool.apply_async(span::Task.max_concurrent(1), 1).unwrap();
        let is_served = call.wait_timeout(SOON);
        gate.open();
        assert!(map.join().unwrap() > 0 && is_served);
    });
}

fn a_limit_holds_up_no_other_task(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let entered = Gate::new();
    let limited = || pool.apply_async(enter::Task.max_concurrent(1), (entered.path(), gate.path())).unwrap();
    let limited: Vec<_> = (0..3).map(|_| limited()).collect();
    entered.wait();
    assert_eq!(pool.map(square::Task, 0..100).unwrap()[99], 99 * 99);
    assert_eq!(pool.apply(square::Task, 4).unwrap(), 16);
    gate.open();
    limited.into_iter().for_each(|call| call.get().unwrap());
}

fn waiting_items_are_cancelled_and_running_ones_go_on(setup: &Setup) {
    let pool = setup.pool();
    let workers = pool.workers();
    let gate = Gate::new();
    let entered = Gate::new();
    let run = || pool.apply_async(enter::Task, (entered.path(), gate.path())).unwrap();
    let running: Vec<_> = (0..workers).map(|_| run()).collect();
    assert!(eventually(|| entered.count() == workers));
    let calls: Vec<_> = (0..50).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    let map = pool.map_async(square::Task, 0..1000).unwrap();
    let mut lazy = pool.imap(square::Task, 0..).unwrap();
    assert!(lazy.next_timeout(Duration::ZERO).is_none_or(|next| next.is_err()));
    let cancelled = pool.cancel_pending();
    assert!(cancelled >= 1050, "{cancelled} items were cancelled");
    for call in calls {
        assert_eq!(call.get().unwrap_err().kind(), ErrorKind::Cancelled);
    }
    assert_eq!(map.get().unwrap_err().kind(), ErrorKind::Cancelled);
    let after = lazy.take(10_000).filter(|next| next.is_ok()).count();
    assert_eq!(after, 0, "the input of a lazy map is pulled no more");
    assert_eq!(pool.cancel_pending(), 0, "nothing waits any more");
    gate.open();
    running.into_iter().for_each(|call| call.get().unwrap());
}

fn after_a_cancel_the_pool_goes_on(setup: &Setup) {
    let pool = setup.pool();
    let map = pool.map_async(nap::Task, [3; 300]).unwrap();
    let begun = Instant::now();
    while pool.stats().items_succeeded < 5 && begun.elapsed() < SOON {
        thread::yield_now();
    }
    let cancelled = pool.cancel_pending();
    assert!((1..300).contains(&cancelled), "{cancelled}");
    assert_eq!(map.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
}

/// The pool is open, so it must not be said to be closed.
fn the_rest_of_a_lazy_map_is_cancelled(setup: &Setup) {
    let pool = setup.pool();
    let mut squares = pool.imap(square::Task.prefetch(1), 0..).unwrap();
    let mut through = pool.imap(square::Task.prefetch(1), 0..1).unwrap();
    assert!(squares.next().unwrap().is_ok() && through.next().unwrap().is_ok());
    pool.wait_idle().unwrap();
    assert_eq!(pool.cancel_pending(), 0, "nothing waits");
    let error = squares.next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Cancelled, Some(1)), "{error}");
    assert!(squares.next().is_none() && through.next().is_none(), "an input without a rest has lost nothing");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(pool.stats().jobs_submitted, pool.stats().jobs_finished);
}

/// Else the input of the map, and all others in line, would wait for room that never comes.
fn cancelled_items_take_no_room(setup: &Setup) {
    let most = setup.workers + 2;
    for builder in [setup.builder().max_pending(most), setup.builder().max_pending_bytes(most as u64 * 200)] {
        let pool = builder.build().unwrap();
        let (gate, entered) = (Gate::new(), Gate::new());
        let padded = format!("{:>150}", entered.path());
        thread::scope(|scope| {
            let input = (0..3 * most).map(|_| (&padded[..], gate.path()));
            let map = scope.spawn(|| pool.map_results(enter_padded::Task.chunk_size(1), input).unwrap());
            assert!(eventually(|| entered.count() == setup.workers), "the workers have begun");
            let mut cancelled = 0;
            // The input goes on with each room that is made.
            let is_through = eventually(|| {
                cancelled += pool.cancel_pending();
                cancelled as usize == 3 * most - setup.workers
            });
            let pending = pool.stats().items_pending;
            let refused = pool.try_apply_async(square::Task, 4).err();
            gate.open();
            // Before the scope waits for the map, which would never end.
            if !is_through {
                pool.terminate();
            }
            assert!(is_through, "{cancelled} items of {} were cancelled, {pending} are pending", 3 * most);
            assert_eq!(pending as usize, setup.workers, "those that run");
            assert!(refused.is_none(), "{refused:?}");
            let values = map.join().unwrap().into_iter().filter(Result::is_ok).count();
            assert_eq!(values, setup.workers);
        });
        pool.wait_idle().unwrap();
    }
}

fn options_out_of_range_are_refused(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(square::Task.max_concurrent(0), 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

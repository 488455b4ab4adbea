//! Maps: chunks, balance, failing items, inputs that panic or do not end.

use std::cell::Cell;
use std::collections::HashSet;

use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::panics::expect_panic;
use tests::procs::eventually;
use tests::tasks::{halve, nap, nap_where, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(an_explicit_chunk_size_changes_no_result),
        each_method(a_chunk_size_of_zero_is_refused_everywhere),
        everywhere(a_map_with_a_failing_item_waits_for_the_others_and_gives_the_first_error),
        everywhere(map_results_gives_every_items_own_result),
        everywhere(chunked_imap_loses_no_good_item_when_one_fails),
        everywhere(imap_unordered_yields_the_same_results_as_they_come),
        each_method(an_iterator_that_panics_in_a_map_reaches_the_caller),
        each_method(an_iterator_that_panics_in_a_map_async_reaches_the_caller),
        each_method(an_iterator_that_panics_in_an_imap_comes_after_the_results_before_it),
        each_method(imap_of_an_endless_input_pulls_on_demand),
        each_method(dropping_an_imap_cancels_items_that_have_not_begun),
        each_method(an_imap_that_nobody_pulls_does_not_hold_up_the_end_of_the_pool),
        each_method(items_behind_a_long_one_run_elsewhere).workers(&[2, 5]),
        each_method(a_slow_input_goes_off_item_by_item),
        each_method(imap_of_a_slow_input_yields_results_while_more_input_is_to_come).workers(&[1, 2]),
        each_method(maps_of_several_threads_and_nested_uses_do_not_mix),
    ]
}

fn imap_of_a_slow_input_yields_results_while_more_input_is_to_come(setup: &Setup) {
    let pool = setup.pool();
    let pulled = Cell::new(0);
    let input = (0..40).inspect(|_| {
        std::thread::sleep(Duration::from_millis(5));
        pulled.set(pulled.get() + 1);
    });
    let mut squares = pool.imap(square::Task, input).unwrap();
    assert_eq!(pulled.get(), 0, "items were pulled before there was an iterator");
    assert_eq!(squares.next().unwrap().unwrap(), 0);
    assert!(pulled.get() < 40, "all of the input was pulled before there was a result");
    assert!(squares.map(Result::unwrap).eq((1..40).map(|x| x * x)));
}

fn an_explicit_chunk_size_changes_no_result(setup: &Setup) {
    let pool = setup.pool();
    let squares: Vec<u64> = (0..100).map(|x| x * x).collect();
    for size in [1, 7, 20, 99, 100, 101, usize::MAX] {
        let task = square::Task.chunk_size(size);
        assert_eq!(pool.map(task, 0..100).unwrap(), squares);
        assert_eq!(pool.map_async(task, 0..100).unwrap().get().unwrap(), squares);
        assert!(pool.imap(task, 0..100).unwrap().map(Result::unwrap).eq(squares.iter().copied()));
    }
}

fn a_chunk_size_of_zero_is_refused_everywhere(setup: &Setup) {
    let pool = setup.pool();
    let task = square::Task.chunk_size(0);
    let errors = [
        pool.apply(task, 1).unwrap_err(),
        pool.apply_async(task, 1).unwrap_err(),
        pool.map(task, [1]).unwrap_err(),
        pool.map_async(task, [1]).unwrap_err(),
        pool.map_results(task, [1]).unwrap_err(),
        pool.imap(task, [1]).unwrap_err(),
        pool.imap_unordered(task, [1]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(pool.stats().jobs_submitted, 0);
}

#[pool_task]
fn note_and_fail_on_three(gate: &str, x: u64) -> usize {
    assert_ne!(x % 5, 3, "{x} is bad");
    nap(1);
    tests::gate::count(gate)
}

fn a_map_with_a_failing_item_waits_for_the_others_and_gives_the_first_error(setup: &Setup) {
    let pool = setup.pool();
    for chunk_size in [1, 10] {
        let calls = Gate::new();
        let items = (0..50).map(|x| (calls.path(), x));
        let error = pool.map(note_and_fail_on_three::Task.chunk_size(chunk_size), items).unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::Panicked, Some(3)));
        assert!(error.panic_message().unwrap().contains("3 is bad"));
        assert_eq!(calls.count(), 40);
    }
}

fn map_results_gives_every_items_own_result(setup: &Setup) {
    let pool = setup.pool();
    for chunk_size in [1, 20] {
        let results = pool.map_results(halve::Task.chunk_size(chunk_size), 0..100).unwrap();
        assert_eq!(results.len(), 100);
        for (x, result) in (0..).zip(results) {
            match result {
                Ok(half) => assert_eq!(2 * half, x),
                Err(error) => {
                    assert_eq!((error.kind(), error.item()), (ErrorKind::Panicked, Some(x as usize)));
                    assert_eq!(error.panic_message().unwrap(), format!("{x} is odd"));
                }
            }
        }
    }
}

fn chunked_imap_loses_no_good_item_when_one_fails(setup: &Setup) {
    let pool = setup.pool();
    let results = pool.imap(halve::Task.chunk_size(10), (0..100).map(|x| if x == 55 { 1 } else { 2 * x })).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = results.enumerate().partition(|(_, result)| result.is_ok());
    assert_eq!(bad.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [55]);
    assert_eq!(good.len(), 99);
    assert!(good.into_iter().all(|(at, result)| result.unwrap() == at as u64));
}

fn imap_unordered_yields_the_same_results_as_they_come(setup: &Setup) {
    let pool = setup.pool();
    let mut squares: Vec<_> =
        pool.imap_unordered(square::Task, 0..5000).unwrap().collect::<pool_core::Result<_>>().unwrap();
    squares.sort_unstable();
    assert_eq!(squares, (0..5000).map(|x| x * x).collect::<Vec<_>>());
    let mut naps = pool.imap_unordered(nap::Task, [1000, 1, 1]).unwrap().map(Result::unwrap);
    let last = if setup.workers == 1 { 1 } else { 1000 };
    assert_eq!(naps.by_ref().last(), Some(last));
    assert!(naps.next().is_none());
}

/// So many numbers, then a panic.
fn good_until(end: u64) -> impl Iterator<Item = u64> {
    (0..).inspect(move |x| assert_ne!(*x, end, "no more numbers"))
}

fn an_iterator_that_panics_in_a_map_reaches_the_caller(setup: &Setup) {
    let pool = setup.pool();
    for end in [0, 1, 10, 5000] {
        assert!(expect_panic(|| pool.map(square::Task, good_until(end))).contains("no more numbers"));
        assert!(expect_panic(|| pool.map_results(square::Task, good_until(end))).contains("no more numbers"));
        assert_eq!(pool.stats().items_pending, 0, "what was sent is not drained");
        assert_eq!(pool.map(square::Task, 0..3).unwrap(), [0, 1, 4]);
    }
}

fn an_iterator_that_panics_in_a_map_async_reaches_the_caller(setup: &Setup) {
    let pool = setup.pool();
    assert!(expect_panic(|| pool.map_async(square::Task, good_until(10))).contains("no more numbers"));
    assert!(eventually(|| pool.stats().items_pending == 0));
    assert_eq!(pool.map(square::Task, 0..3).unwrap(), [0, 1, 4]);
    pool.close();
    pool.join().unwrap();
}

fn an_iterator_that_panics_in_an_imap_comes_after_the_results_before_it(setup: &Setup) {
    let pool = setup.pool();
    for end in [1, 10, 10_000] {
        let mut squares = tests::panics::silently(|| pool.imap(square::Task, good_until(end)).unwrap());
        let mut seen = 0;
        let text = expect_panic(|| {
            for square in squares.by_ref() {
                assert_eq!(square.unwrap(), seen * seen);
                seen += 1;
            }
        });
        assert!(text.contains("no more numbers"), "{text}");
        assert_eq!(seen, end);
        assert!(squares.next().is_none());
        drop(squares);
        assert_eq!(pool.apply(square::Task, 4).unwrap(), 16);
    }
}

/// Items that a lazy map pulls ahead.
const WINDOW: u64 = 4096;

fn imap_of_an_endless_input_pulls_on_demand(setup: &Setup) {
    let pool = setup.pool();
    let pulled = Cell::new(0);
    let mut squares = pool.imap(square::Task, (0..).inspect(|_| pulled.set(pulled.get() + 1))).unwrap();
    for x in 0..50_000 {
        assert_eq!(squares.next().unwrap().unwrap(), x * x);
        assert!(pulled.get() <= x + WINDOW, "{} items were pulled for {x}", pulled.get());
    }
    assert_eq!(squares.size_hint().1, None);
    let unordered = pool.imap_unordered(square::Task, 0..).unwrap();
    assert_eq!(unordered.take(20_000).filter(Result::is_ok).count(), 20_000);
}

fn dropping_an_imap_cancels_items_that_have_not_begun(setup: &Setup) {
    let pool = setup.pool();
    let mut naps = pool.imap(nap::Task, std::iter::repeat(20)).unwrap();
    assert_eq!(naps.next().unwrap().unwrap(), 20);
    drop(naps);
    // Four thousand naps would take longer than the watchdog waits.
    assert!(eventually(|| pool.stats().items_pending == 0));
    assert_eq!(pool.apply(square::Task, 4).unwrap(), 16);
    pool.close();
    pool.join().unwrap();
}

fn an_imap_that_nobody_pulls_does_not_hold_up_the_end_of_the_pool(setup: &Setup) {
    let pool = setup.pool();
    let mut squares = pool.imap(square::Task, 0..).unwrap();
    assert_eq!(squares.next().unwrap().unwrap(), 0);
    pool.close();
    pool.join().unwrap();
    let rest: Vec<_> = squares.collect();
    let (last, values) = rest.split_last().unwrap();
    assert!(values.iter().zip(1..).all(|(value, x)| *value.as_ref().unwrap() == x * x));
    assert_eq!(last.as_ref().unwrap_err().kind(), ErrorKind::Closed);
}

fn items_behind_a_long_one_run_elsewhere(setup: &Setup) {
    let pool = setup.pool();
    // The first time nothing is known of the task's pace, the second time it is known to be short.
    for (round, chunk_size) in [None, None, Some(10), Some(200)].into_iter().enumerate() {
        let items = std::iter::once(1000).chain(std::iter::repeat_n(0, 199));
        let pids = match chunk_size {
            None => pool.map(nap_where::Task, items).unwrap(),
            Some(size) => pool.map(nap_where::Task.chunk_size(size), items).unwrap(),
        };
        let (long, short) = pids.split_first().unwrap();
        let beside: Vec<_> = (1..).zip(short).filter(|(_, pid)| *pid == long).map(|(item, _)| item).collect();
        assert_eq!(beside, [0; 0], "waited for the long item in round {round}, with chunk size {chunk_size:?}");
    }
}

fn a_slow_input_goes_off_item_by_item(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    // The second item is there only when the first has been run.
    let items = (0..3).map(|item| {
        if item > 0 {
            assert!(eventually(|| pool.stats().items_succeeded >= item), "item {item} waits for the next one");
        }
        // Slow in any case: of a burst, the last may wait for the next.
        std::thread::sleep(Duration::from_millis(2));
        gate.open();
        gate.path()
    });
    assert_eq!(pool.map(pass::Task, items).unwrap().len(), 3);
}

fn maps_of_several_threads_and_nested_uses_do_not_mix(setup: &Setup) {
    let pool = setup.pool();
    let pids: HashSet<_> = pool.worker_pids().into_iter().collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..5 {
                    let start = 1000 * thread + round;
                    let expected = (start..start + 500).map(|x| x * x);
                    assert!(pool.map(square::Task, start..start + 500).unwrap().into_iter().eq(expected.clone()));
                    assert!(pool.imap(square::Task, start..start + 500).unwrap().map(Result::unwrap).eq(expected));
                    assert_eq!(pool.apply(square::Task, thread).unwrap(), thread * thread);
                }
            });
        }
    });
    // The input of one map is the result of another one.
    let twice = pool.map(square::Task, pool.imap(square::Task, 0..100).unwrap().map(Result::unwrap)).unwrap();
    assert!(twice.into_iter().eq((0..100).map(|x: u64| x.pow(4))));
    assert_eq!(pool.worker_pids().into_iter().collect::<HashSet<_>>(), pids);
}

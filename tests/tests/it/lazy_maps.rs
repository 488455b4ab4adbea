//! Maps with results that are taken while their input is pulled: the order of pulling and handing out, how far they look ahead,
//! the memory that they hold, and the fate of the input when the pool ends.

use std::cell::{Cell, RefCell};
use std::thread;
use std::time::Duration;

use pool_core::prelude::*;
use pool_core::{ErrorKind, PoolState};
use tests::gate::{Gate, pass};
use tests::procs::{SOON, eventually, kill_9};
use tests::tasks::{halve, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(results_go_before_further_input),
        each_method(an_input_may_follow_from_the_results).workers(&[1, 2]),
        each_method(making_an_iterator_pulls_nothing_and_zero_only_looks),
        each_method(a_caller_that_only_looks_gets_all_results),
        each_method(large_results_are_few),
        each_method(large_arguments_are_few),
        each_method(a_hanging_item_holds_no_result_back).workers(&[1, 2]),
        each_method(results_that_were_fetched_are_not_taken_twice).workers(&[1, 2]),
        each_method(a_join_that_times_out_cuts_nothing_off),
        each_method(a_join_for_a_limited_time_waits_for_no_iterator),
        each_method(each_item_has_a_result_or_the_map_fails),
        once(a_broken_pool_loses_no_item_in_silence),
        each_method(a_cancelled_map_is_cancelled_whatever_failed_before),
    ]
}

fn results_go_before_further_input(setup: &Setup) {
    let pool = setup.pool();
    let taken = Cell::new(0);
    let there = Cell::new(0);
    let input = || {
        taken.set(0);
        there.set(pool.stats().items_succeeded);
        let before = there.get();
        let (taken, there, pool) = (&taken, &there, &pool);
        (0..50).inspect(move |item| {
            assert!(taken.get() >= there.get() - before, "{} of {} were taken", taken.get(), there.get() - before);
            assert!(eventually(|| pool.stats().items_succeeded - before >= *item), "item {item} is before others");
            there.set(pool.stats().items_succeeded);
            // Slow in any case: of a burst, the last may wait for the next.
            thread::sleep(Duration::from_millis(2));
        })
    };
    for (x, result) in (0..).zip(pool.imap(square::Task, input()).unwrap()) {
        assert_eq!(result.unwrap(), x * x);
        taken.set(x + 1);
    }
    assert_eq!(taken.get(), 50);
    for result in pool.imap_unordered(square::Task, input()).unwrap() {
        result.unwrap();
        taken.set(taken.get() + 1);
    }
    assert_eq!(taken.get(), 50);
}

/// The next item is a matter of all results that are known, as in a search.
fn an_input_may_follow_from_the_results(setup: &Setup) {
    let pool = setup.pool();
    let best = Cell::new(0);
    let asked = Cell::new(0);
    let input = std::iter::from_fn(|| {
        asked.set(asked.get() + 1);
        thread::sleep(Duration::from_millis(1));
        (best.get() < 1 << 20).then(|| best.get() + 1)
    });
    for result in pool.imap_unordered(double::Task, input).unwrap() {
        best.set(best.get().max(result.unwrap()));
    }
    assert!(best.get() >= 1 << 20);
    // With each result the next item is twice as large, unless that was known when others were asked for which are out.
    let most = 22 * (4 * setup.workers + 1);
    assert!(asked.get() <= most, "{} of at most {most} items", asked.get());
}

#[pool_task]
fn double(x: u64) -> u64 {
    2 * x
}

fn making_an_iterator_pulls_nothing_and_zero_only_looks(setup: &Setup) {
    let pool = setup.pool();
    let (gate, pulled) = (Gate::new(), Cell::new(0));
    let input = (0..20).map(|_| {
        thread::sleep(Duration::from_millis(20));
        pulled.set(pulled.get() + 1);
        gate.path()
    });
    let mut lazy = pool.imap(pass::Task, input).unwrap();
    assert_eq!(pulled.get(), 0, "nobody has asked for a result");
    for _ in 0..5 {
        assert_eq!(lazy.next_timeout(Duration::ZERO).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(pulled.get(), 1, "the first is pulled lest none is ever, and the second while the first is out");
    }
    assert_eq!(lazy.next_timeout(Duration::from_millis(10)).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(pulled.get(), 2, "the limit was over when the second was there");
    gate.open();
    assert_eq!(lazy.filter(Result::is_ok).count(), 20);
}

fn a_caller_that_only_looks_gets_all_results(setup: &Setup) {
    let pool = setup.pool();
    let mut lazy = pool.imap(square::Task, 0..10_000).unwrap();
    for x in 0..10_000 {
        let mut found = None;
        assert!(eventually(|| {
            found = lazy.next_timeout(Duration::ZERO).unwrap().ok();
            found.is_some()
        }));
        assert_eq!(found, Some(x * x));
    }
    assert!(lazy.next_timeout(Duration::ZERO).is_none());
}

#[pool_task]
fn fill(bytes: usize) -> Vec<u8> {
    vec![1; bytes]
}

fn large_results_are_few(setup: &Setup) {
    const BYTES: usize = 4 << 20;
    let builders = [setup.builder(), setup.builder().max_pending(4)];
    for builder in builders {
        let pool = builder.build().unwrap();
        let pulled = Cell::new(0);
        let input = || std::iter::repeat_n(BYTES, 200).inspect(|_| pulled.set(pulled.get() + 1));
        let mut ordered = pool.imap(fill::Task, input()).unwrap();
        let mut unordered = None;
        for taken in 0..60 {
            if taken == 30 {
                unordered = Some(pool.imap_unordered(fill::Task, input()).unwrap());
                pulled.set(taken);
            }
            let result = match &mut unordered {
                None => ordered.next(),
                Some(unordered) => unordered.next(),
            };
            assert_eq!(result.unwrap().unwrap().len(), BYTES);
            if taken % 5 == 0 {
                // A slow reader finds all results that are out.
                eventually(|| pool.stats().items_pending == 0);
            }
            let held = pulled.get() - taken;
            assert!(held <= 17, "{held} results of 4 MiB may be there at once");
        }
    }
}

fn large_arguments_are_few(setup: &Setup) {
    let pool = setup.pool();
    let (gate, pulled) = (Gate::new(), Cell::new(0));
    let bytes = vec![7; 1 << 20];
    let input = (0..300).map(|_| {
        pulled.set(pulled.get() + 1);
        (gate.path(), &bytes[..])
    });
    let mut lazy = pool.imap(pass_with::Task, input).unwrap();
    assert_eq!(lazy.next_timeout(Duration::from_millis(500)).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!((2..=64).contains(&pulled.get()), "{} arguments of 1 MiB are there at once", pulled.get());
    gate.open();
    assert_eq!(lazy.filter(Result::is_ok).count(), 300);
}

#[pool_task]
fn pass_with(gate: &str, bytes: &[u8]) -> usize {
    pass(gate);
    bytes.len()
}

/// Passes the gate if it is its turn.
#[pool_task]
fn pass_at(item: usize, turn: usize, gate: &str) -> String {
    if item % 100 == turn {
        pass(gate);
    }
    item.to_string()
}

#[pool_task]
fn pass_at_short(item: u64, turn: u64, gate: &str) -> u64 {
    if item % 100 == turn {
        pass(gate);
    }
    item
}

fn a_hanging_item_holds_no_result_back(setup: &Setup) {
    let pool = setup.pool();
    for turn in [1, 2, 7, 50, 98] {
        let gate = Gate::new();
        let input = (0..100).map(|item| (item, turn, gate.path()));
        // So that the pool is not asked for input in between, and chunks are as long as they can be.
        let mut texts = pool.imap(pass_at::Task.chunk_size(100), input.clone()).unwrap();
        for item in 0..turn {
            assert_eq!(texts.next_timeout(SOON).unwrap().unwrap(), item.to_string(), "before item {turn}");
        }
        let error = texts.next_timeout(Duration::from_millis(50)).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        gate.open();
        assert!(texts.map(Result::unwrap).eq((turn..100).map(|item| item.to_string())));
    }
}

/// Chunks of which some values were fetched before they were published: by item, with a worker that dies, and with one
/// that goes on.
fn results_that_were_fetched_are_not_taken_twice(setup: &Setup) {
    for dies in [false, true] {
        let pool = setup.pool();
        for turn in [1, 30, 77] {
            let gate = Gate::new();
            let input = (0..1000).map(|item| (item, turn, gate.path()));
            let mut numbers = pool.imap(pass_at_short::Task.chunk_size(100).retries(9), input).unwrap();
            for item in 0..turn {
                assert_eq!(numbers.next_timeout(SOON).unwrap().unwrap(), item);
            }
            // Looked for once more, and again.
            let error = numbers.next_timeout(Duration::from_millis(100)).unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            if dies {
                pool.worker_pids().into_iter().for_each(kill_9);
            }
            gate.open();
            assert!(numbers.map(Result::unwrap).eq(turn..1000), "from {turn} on");
        }
    }
}

fn a_join_that_times_out_cuts_nothing_off(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let mut squares = pool.imap(square::Task, 0..20_000).unwrap();
    assert_eq!(squares.next().unwrap().unwrap(), 0);
    let held = pool.apply_async(pass::Task, gate.path()).unwrap();
    pool.close();
    for _ in 0..2 {
        assert_eq!(pool.join_timeout(Duration::from_millis(20)).unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert!(squares.by_ref().take(10_000).map(Result::unwrap).eq((1..=10_000).map(|x| x * x)));
    gate.open();
    held.get().unwrap();
    assert!(squares.map(Result::unwrap).eq((10_001..20_000).map(|x| x * x)));
    pool.join_timeout(SOON).unwrap();
}

fn a_join_for_a_limited_time_waits_for_no_iterator(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let mut squares = pool.imap(square::Task, 0..).unwrap();
    assert_eq!(squares.next().unwrap().unwrap(), 0);
    let unasked = pool.imap(square::Task, 0..5).unwrap();
    let empty = pool.imap_unordered(square::Task, 0..0).unwrap();
    let held = pool.apply_async(pass::Task, gate.path()).unwrap();
    pool.close();
    thread::scope(|scope| {
        let join = scope.spawn(|| pool.join_timeout(SOON));
        thread::sleep(Duration::from_millis(20));
        gate.open();
        join.join().unwrap().unwrap();
    });
    held.get().unwrap();
    let rest: Vec<_> = squares.collect();
    let (last, values) = rest.split_last().unwrap();
    assert!(values.iter().zip(1..).all(|(value, x)| *value.as_ref().unwrap() == x * x));
    let error = last.as_ref().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Closed, Some(rest.len())), "{error}");
    let kinds: Vec<_> = unasked.map(|result| result.unwrap_err().kind()).collect();
    assert_eq!(kinds, [ErrorKind::Closed], "that it was cut off is not passed over");
    assert_eq!(empty.count(), 0, "nothing was cut off");
}

fn each_item_has_a_result_or_the_map_fails(setup: &Setup) {
    const ITEMS: u64 = 5000;
    for end in [0, 1, 100, 3000, ITEMS - 1] {
        let pulled = RefCell::new(Vec::new());
        let with_pool = |run: &dyn Fn(&Pool, &mut dyn Iterator<Item = u64>) -> Option<usize>| {
            let pool = setup.pool();
            pulled.borrow_mut().clear();
            let mut input = (0..ITEMS).inspect(|item| {
                if *item == end {
                    pool.terminate();
                }
                pulled.borrow_mut().push(*item);
            });
            let results = run(&pool, &mut input);
            let pulled = pulled.borrow().len();
            match results {
                Some(results) => assert_eq!(results, pulled, "items and results, with the pool's end at {end}"),
                None => assert!(pulled > end as usize),
            }
            pulled
        };
        let failed = |error: &Error| assert_eq!(error.kind(), ErrorKind::Terminated, "{error}");
        with_pool(&|pool, input| match pool.map_results(square::Task, input) {
            Ok(results) => {
                assert_eq!(results.len() as u64, ITEMS, "with the pool's end at {end}");
                Some(results.len())
            }
            Err(error) => {
                failed(&error);
                None
            }
        });
        with_pool(&|pool, input| {
            failed(&pool.map(square::Task, input).unwrap_err());
            None
        });
        with_pool(&|pool, input| {
            failed(&pool.map_async(square::Task, input).unwrap().get().unwrap_err());
            None
        });
        with_pool(&|pool, input| {
            let results: Vec<_> = pool.imap(square::Task, input).unwrap().collect();
            failed(results.last().unwrap().as_ref().unwrap_err());
            for (item, result) in results.iter().enumerate() {
                match result {
                    Ok(value) => assert_eq!(*value, (item * item) as u64),
                    Err(error) => assert_eq!(error.item(), Some(item)),
                }
            }
            Some(results.len())
        });
        with_pool(&|pool, input| {
            let results: Vec<_> = pool.imap_unordered(square::Task, input).unwrap().collect();
            failed(results.last().unwrap().as_ref().unwrap_err());
            Some(results.len())
        });
    }
}

#[pool_task]
fn refuse(gate: &str) -> Result<(), String> {
    pass(gate);
    Err("on purpose".to_owned())
}

fn a_broken_pool_loses_no_item_in_silence(setup: &Setup) {
    let with_pool = |run: &dyn Fn(&Pool, &mut dyn Iterator<Item = u64>) -> ErrorKind| {
        let gate = Gate::new();
        let pool = setup.builder().initializer(refuse::Task, gate.path()).restart_limit(0).build().unwrap();
        let mut input = (0..100).inspect(|item| {
            if *item == 10 {
                gate.open();
                assert!(eventually(|| pool.state() == PoolState::Broken));
            }
        });
        assert_eq!(run(&pool, &mut input), ErrorKind::Broken);
        // The rest was not pulled.
        assert!(input.next().is_some());
    };
    with_pool(&|pool, input| pool.map_results(square::Task, input).unwrap_err().kind());
    with_pool(&|pool, input| pool.map(square::Task, input).unwrap_err().kind());
    with_pool(&|pool, input| pool.map_async(square::Task, input).unwrap().get().unwrap_err().kind());
    with_pool(&|pool, input| {
        let errors: Vec<_> = pool.imap(square::Task, input).unwrap().map(Result::unwrap_err).collect();
        assert!((0..).zip(&errors).all(|(item, error)| error.item() == Some(item)));
        assert!(errors.len() > 10);
        errors.last().unwrap().kind()
    });
}

fn a_cancelled_map_is_cancelled_whatever_failed_before(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    for _ in 0..3 {
        let before = pool.stats().items_failed;
        let map = pool.map_async(fail_or_pass::Task, (0..20).map(|item| (item, gate.path()))).unwrap();
        assert!(eventually(|| pool.stats().items_failed > before));
        assert!(map.cancel());
        let error = map.get().unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::Cancelled, None), "{error}");
    }
    // Had it ended before, it cannot be cancelled.
    let map = pool.map_async(halve::Task, [1, 2]).unwrap();
    map.wait();
    assert!(!map.cancel());
    assert_eq!(map.get().unwrap_err().kind(), ErrorKind::Panicked);
}

#[pool_task]
fn fail_or_pass(item: u64, gate: &str) {
    assert!(item > 0, "on purpose");
    pass(gate);
}

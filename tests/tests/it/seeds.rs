//! Seeds, indices and attempts of items: the same with any number of workers, whatever dies meanwhile.

use pool_core::prelude::*;
use pool_core::{CurrentItem, StartMethod, current_item};
use tests::gate::{Gate, count};
use tests::procs::kill_9;
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(the_same_numbers_with_any_number_of_workers_and_under_kills),
        everywhere(indices_are_those_of_the_input),
        each_method(attempts_are_counted_and_have_the_same_seed),
        each_method(calls_have_no_index_and_each_its_own_seed),
        each_method(a_tasks_seed_comes_before_the_pools),
        once(without_a_seed_no_two_items_have_the_same),
        once(outside_of_items_there_is_none),
    ]
}

/// Index, attempt and seed of the item that asks.
fn place() -> (u64, u32, u64) {
    let CurrentItem { index, attempt, seed, .. } = current_item().expect("a task asks");
    (index, attempt, seed)
}

#[pool_task]
fn tell(_: u64) -> (u64, u32, u64) {
    place()
}

/// Every hundredth item dies at its first attempt.
#[pool_task]
fn tell_or_die(_: u64) -> (u64, u64) {
    let (index, attempt, seed) = place();
    if index % 100 == 99 && attempt == 1 {
        std::process::abort();
    }
    (index, seed)
}

/// The numbers of a map behind some other jobs.
fn numbers(setup: &Setup) -> Vec<(u64, u64)> {
    let pool = setup.builder().seed(7).build().unwrap();
    assert_eq!(pool.map(tell::Task, 0..3).unwrap().len(), 3);
    pool.apply(tell::Task, 1).unwrap();
    let map = pool.map_async(tell_or_die::Task.retries(100), 0..500).unwrap();
    for _ in 0..5 {
        pool.worker_pids().into_iter().take(1).for_each(kill_9);
    }
    map.get().unwrap()
}

fn the_same_numbers_with_any_number_of_workers_and_under_kills(setup: &Setup) {
    let numbers = numbers(setup);
    assert!(numbers.iter().zip(0..).all(|((index, _), expected)| *index == expected));
    let alone = setup.with_workers(1).builder().seed(7).build().unwrap();
    let submit = |items: u64| alone.map(tell::Task, 0..items).unwrap();
    let before = [submit(3), submit(1)];
    let expected: Vec<_> = submit(500).into_iter().map(|(index, _, seed)| (index, seed)).collect();
    assert_eq!(numbers, expected);
    assert_ne!(before[0][0], before[1][0], "another submission has other seeds");
    // The numbers are part of the interface.
    assert_eq!(expected[3].1, 13_821_144_310_970_915_246);
}

#[pool_task]
fn index_and_length(text: &str) -> (u64, usize) {
    (current_item().map_or(u64::MAX, |item| item.index), text.len())
}

fn assert_counts(found: &[(u64, usize)], lengths: &[usize]) {
    assert_eq!(found, (0..).zip(lengths.iter().copied()).collect::<Vec<_>>());
}

fn indices_are_those_of_the_input(setup: &Setup) {
    let pool = setup.pool();
    // Short ones, such as lie in the arena, and such as take many records.
    for length in [0, 1, 100, 10_000, 3_000_000] {
        let lengths: Vec<_> = (0..if length > 10_000 { 5 } else { 1000 }).map(|item| length + item % 7).collect();
        let texts: Vec<_> = lengths.iter().map(|length| "x".repeat(*length)).collect();
        let texts = || texts.iter().map(String::as_str);
        assert_counts(&pool.map(index_and_length::Task, texts()).unwrap(), &lengths);
        assert_counts(&pool.map(index_and_length::Task.chunk_size(3), texts()).unwrap(), &lengths);
        let lazy: Result<Vec<_>, _> = pool.imap(index_and_length::Task, texts()).unwrap().collect();
        assert_counts(&lazy.unwrap(), &lengths);
        let timed = index_and_length::Task.timeout(Duration::from_secs(60)).retries(3);
        assert_counts(&pool.map(timed, texts()).unwrap(), &lengths);
    }
}

#[pool_task]
fn third_time(calls: &str) -> (u64, u32, u64) {
    match count(calls) {
        0 => std::process::abort(),
        1 => panic!("not yet"),
        _ => place(),
    }
}

fn attempts_are_counted_and_have_the_same_seed(setup: &Setup) {
    let calls = Gate::new();
    let pool = setup.builder().seed(1).build().unwrap();
    let task = third_time::Task.retries(2).retry_panics();
    let (index, attempt, seed) = pool.map(task, [calls.path()]).unwrap()[0];
    assert_eq!((index, attempt), (0, 3));
    let other = setup.builder().seed(1).build().unwrap_or_else(|_| {
        // Copies of the host allow one pool at a time.
        assert_eq!(setup.method, StartMethod::Fork);
        drop(pool);
        setup.builder().seed(1).build().unwrap()
    });
    assert_eq!(other.map(tell::Task, [0]).unwrap(), [(0, 1, seed)]);
}

fn calls_have_no_index_and_each_its_own_seed(setup: &Setup) {
    let draw = || {
        let pool = setup.builder().seed(3).build().unwrap();
        let calls: Vec<_> = (0..100).map(|x| pool.apply_async(tell::Task, x).unwrap()).collect();
        calls.into_iter().map(|call| call.get().unwrap()).collect::<Vec<_>>()
    };
    let (calls, again) = (draw(), draw());
    assert_eq!(calls, again);
    assert!(calls.iter().all(|(index, attempt, _)| (*index, *attempt) == (0, 1)));
    assert_distinct(calls);
}

fn assert_distinct(found: Vec<(u64, u32, u64)>) {
    let (items, mut seeds) = (found.len(), found.into_iter().map(|(_, _, seed)| seed).collect::<Vec<_>>());
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), items);
}

fn a_tasks_seed_comes_before_the_pools(setup: &Setup) {
    let pool = setup.builder().seed(3).build().unwrap();
    let numbers = pool.map(tell::Task.seed(4), 0..10).unwrap();
    drop(pool);
    let pool = setup.builder().seed(4).build().unwrap();
    assert_eq!(pool.map(tell::Task, 0..10).unwrap(), numbers);
    drop(pool);
    let pool = setup.pool();
    assert_eq!(pool.map(tell::Task.seed(4), 0..10).unwrap(), numbers);
    assert_ne!(pool.map(tell::Task.seed(4), 0..10).unwrap(), numbers, "another submission");
}

fn without_a_seed_no_two_items_have_the_same(setup: &Setup) {
    let pool = setup.pool();
    let mut found: Vec<_> = (0..20).flat_map(|_| pool.map(tell::Task, 0..100).unwrap()).collect();
    let calls: Vec<_> = (0..1000).map(|x| pool.apply_async(tell::Task, x).unwrap()).collect();
    found.extend(calls.into_iter().map(|call| call.get().unwrap()));
    assert_distinct(found);
}

#[pool_task]
fn assert_no_item() {
    assert_eq!(current_item(), None);
}

#[pool_task]
fn twice() -> bool {
    current_item() == current_item()
}

fn outside_of_items_there_is_none(setup: &Setup) {
    assert_eq!(current_item(), None);
    let pool = setup.builder().initializer(assert_no_item::Task, ()).restart_limit(0).build().unwrap();
    assert!(pool.apply(twice::Task, ()).unwrap());
}

//! Arguments and results on their way: values that cannot be encoded or decoded, and when values are dropped.

use std::sync::atomic::{AtomicI64, Ordering};

use pool_core::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::bomb::{Bomb, Effect, Phase, carry};
use tests::leaks::resident_bytes;
use tests::panics::expect_panic;
use tests::tasks::{Way, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(an_argument_that_cannot_be_encoded_fails_its_call_only),
        each_method(a_panic_in_the_encoding_of_an_argument_reaches_the_caller),
        each_method(an_initializers_argument_that_cannot_be_encoded_fails_the_constructor),
        everywhere(twenty_results_that_cannot_be_encoded_cost_no_worker),
        everywhere(a_result_that_cannot_be_decoded_fails_its_get_only),
        everywhere(an_argument_that_cannot_be_decoded_fails_its_item_only),
        each_method(arguments_and_results_are_dropped_in_the_worker_before_the_next_call),
        each_method(results_live_in_the_host_as_long_as_somebody_has_them),
        once(bytes_of_settled_calls_are_freed_while_their_handles_are_kept),
    ]
}

fn bomb(phase: Phase) -> Bomb {
    Bomb::new(phase, Effect::Fail)
}

/// Three items, of which the second goes off: its error, after a look at the others.
fn fails_alone(pool: &Pool, make: impl Fn() -> Bomb) -> pool_core::Error {
    let items = || [Bomb::DUD, make(), Bomb::DUD];
    let mut results = pool.map_results(carry::Task, items()).unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    let error = results.remove(1).unwrap_err();
    let lazy: Vec<_> = pool.imap(carry::Task, items()).unwrap().collect();
    assert_eq!(lazy.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let kinds = [
        lazy[1].as_ref().unwrap_err().kind(),
        pool.map(carry::Task, items()).unwrap_err().kind(),
        pool.map_async(carry::Task.chunk_size(3), items()).unwrap().get().unwrap_err().kind(),
        pool.apply(carry::Task, make()).unwrap_err().kind(),
    ];
    assert_eq!(kinds, [error.kind(); 4]);
    assert_eq!(error.item(), Some(1));
    assert!(error.task().unwrap().ends_with("bomb::carry"));
    assert_eq!(pool.map(square::Task, 0..3).unwrap(), [0, 1, 4]);
    error
}

fn an_argument_that_cannot_be_encoded_fails_its_call_only(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let error = fails_alone(&pool, || bomb(Phase::EncodeArgs));
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("could not be encoded"), "{error}");
    assert_eq!(pool.worker_pids(), pids);
    assert_eq!(pool.stats().items_pending, 0);
}

fn a_panic_in_the_encoding_of_an_argument_reaches_the_caller(setup: &Setup) {
    let pool = setup.pool();
    let make = || Bomb::new(Phase::EncodeArgs, Effect::Crash(Way::Panic));
    assert_eq!(expect_panic(|| pool.apply(carry::Task, make())), "on purpose");
    assert_eq!(expect_panic(|| pool.map(carry::Task, [Bomb::DUD, make()])), "on purpose");
    assert_eq!(pool.map(square::Task, 0..3).unwrap(), [0, 1, 4]);
}

#[pool_task]
fn prepare(bomb: Bomb) {
    drop(bomb);
}

fn an_initializers_argument_that_cannot_be_encoded_fails_the_constructor(setup: &Setup) {
    let error = setup.builder().initializer(prepare::Task, bomb(Phase::EncodeArgs)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
}

fn twenty_results_that_cannot_be_encoded_cost_no_worker(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    for _ in 0..20 {
        let error = pool.apply(carry::Task, bomb(Phase::EncodeResult)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
        assert!(error.worker_pid().is_some_and(|pid| pids.contains(&pid)));
    }
    let all = pool.map_results(carry::Task, (0..20).map(|_| bomb(Phase::EncodeResult))).unwrap();
    assert!(all.iter().all(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Encode)));
    fails_alone(&pool, || bomb(Phase::EncodeResult));
    assert_eq!(pool.worker_pids(), pids);
}

fn a_result_that_cannot_be_decoded_fails_its_get_only(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let error = fails_alone(&pool, || bomb(Phase::DecodeResult));
    assert_eq!(error.kind(), ErrorKind::Decode);
    tests::panics::silently(|| {
        let error = fails_alone(&pool, || Bomb::new(Phase::DecodeResult, Effect::Crash(Way::Panic)));
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("on purpose"), "{error}");
    });
    assert_eq!(pool.worker_pids(), pids);
}

fn an_argument_that_cannot_be_decoded_fails_its_item_only(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    assert_eq!(fails_alone(&pool, || bomb(Phase::DecodeArgs)).kind(), ErrorKind::Decode);
    let error = fails_alone(&pool, || Bomb::new(Phase::DecodeArgs, Effect::Crash(Way::Panic)));
    assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("on purpose")));
    assert_eq!(pool.worker_pids(), pids);
}

static LIVE: AtomicI64 = AtomicI64::new(0);

/// Counts how many of it there are in this process.
#[derive(Debug)]
struct Counted(u64);

impl Counted {
    fn new(number: u64) -> Counted {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Counted(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Counted::new)
    }
}

#[pool_task]
fn pass_on(value: Counted, and_panic: bool) -> Counted {
    assert!(!and_panic);
    Counted::new(value.0)
}

#[pool_task]
fn live() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

fn arguments_and_results_are_dropped_in_the_worker_before_the_next_call(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    // A forked worker has the host's count.
    let at_first = pool.apply(live::Task, ()).unwrap();
    for and_panic in [false, true, false] {
        let _ = pool.apply(pass_on::Task, (Counted::new(1), and_panic));
        assert_eq!(pool.apply(live::Task, ()).unwrap(), at_first);
        let _ = pool.map(pass_on::Task, (0..100).map(|x| (Counted::new(x), and_panic && x == 50)));
        assert_eq!(pool.apply(live::Task, ()).unwrap(), at_first);
    }
}

fn results_live_in_the_host_as_long_as_somebody_has_them(setup: &Setup) {
    let pool = setup.pool();
    let alive = || LIVE.load(Ordering::Relaxed);
    let job = pool.apply_async(pass_on::Task, (Counted::new(1), false)).unwrap();
    assert_eq!(alive(), 0, "the argument has been encoded");
    job.wait();
    let result = job.get().unwrap();
    assert_eq!((alive(), result.0), (1, 1));
    drop(result);
    assert_eq!(alive(), 0);
    let results = pool.map(pass_on::Task, (0..100).map(|x| (Counted::new(x), false))).unwrap();
    assert_eq!(alive(), 100);
    drop(results);
    assert_eq!(alive(), 0);
    for (x, result) in (0..).zip(pool.imap(pass_on::Task, (0..100).map(|x| (Counted::new(x), false))).unwrap()) {
        assert_eq!(result.unwrap().0, x);
    }
    let _ = pool.map(pass_on::Task, (0..100).map(|x| (Counted::new(x), x == 50))).unwrap_err();
    assert_eq!(alive(), 0);
}

#[pool_task]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

fn bytes_of_settled_calls_are_freed_while_their_handles_are_kept(setup: &Setup) {
    let pool = setup.pool();
    let bytes = vec![1; 1 << 20];
    let before = resident_bytes();
    let mut handles = Vec::new();
    for _ in 0..300 {
        handles.push(pool.apply_async(length::Task, &bytes).unwrap());
        if handles.len() % 10 == 0 {
            handles.last().unwrap().wait();
        }
    }
    let lengths = pool.map(length::Task, (0..300).map(|_| &bytes[..])).unwrap();
    assert!(lengths.into_iter().all(|length| length == 1 << 20));
    let growth = resident_bytes().saturating_sub(before);
    assert!(growth < 100 << 20, "{growth} bytes more than before, of 600 MiB that were sent");
    assert!(handles.into_iter().all(|job| job.get().unwrap() == 1 << 20));
}

//! Outcomes without a value: results that cannot be decoded, and items of jobs that ended before they were done.

use std::thread;

use pool_core::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tests::gate::{Gate, pass};
use tests::panics::expect_panic;
use tests::procs::eventually;
use tests::tasks::{halve, nap};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_call_with_a_result_that_cannot_be_decoded_is_not_successful),
        each_method(a_map_with_a_result_that_cannot_be_decoded_is_not_successful),
        each_method(results_that_cannot_be_decoded_count_as_failures),
        each_method(items_that_cannot_be_encoded_fail_alone_and_count),
        each_method(a_panic_while_an_item_is_encoded_comes_alone).noisy(),
        each_method(looking_at_a_result_leaves_it_there),
        each_method(a_failure_that_was_taken_is_still_none_of_success),
        everywhere(a_map_that_is_ended_names_no_item),
        everywhere(a_map_that_is_cancelled_is_nothing_but_that),
        everywhere(items_of_an_iterator_that_was_ended_keep_their_index),
        each_method(results_behind_an_item_that_was_ended_stay_readable),
    ]
}

/// Travels as it is, and arrives only if its number is even.
#[derive(Debug, PartialEq, Serialize)]
struct Even(u64, String);

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, text) = Deserialize::deserialize(deserializer)?;
        if number % 2 == 1 { Err(serde::de::Error::custom("odd")) } else { Ok(Even(number, text)) }
    }
}

/// A result of so many bytes, more or less.
#[pool_task]
fn even(number: u64, bytes: usize) -> Even {
    Even(number, "x".repeat(bytes))
}

/// Results that go by different ways: beside others, by themselves, in pieces.
const SIZES: [usize; 3] = [1, 100, 100_000];

fn a_call_with_a_result_that_cannot_be_decoded_is_not_successful(setup: &Setup) {
    let pool = setup.pool();
    for size in SIZES {
        for number in [1, 2] {
            let job = pool.apply_async(even::Task, (number, size)).unwrap();
            job.wait();
            assert_eq!(job.successful(), Some(number == 2));
            assert_eq!(job.successful(), Some(number == 2), "asked again");
            assert_eq!(job.get().map_err(|error| error.kind()).is_ok(), number == 2);
        }
    }
}

fn a_map_with_a_result_that_cannot_be_decoded_is_not_successful(setup: &Setup) {
    let pool = setup.pool();
    for size in SIZES {
        for last in [99, 100] {
            let items = (0..50).map(|x| 2 * x).chain([last]).map(|number| (number, size));
            let job = pool.map_async(even::Task, items).unwrap();
            job.wait();
            assert_eq!(job.successful(), Some(last == 100));
            match job.get() {
                Ok(values) => assert_eq!((last, values.len()), (100, 51)),
                Err(error) => assert_eq!((error.kind(), error.item()), (ErrorKind::Decode, Some(50)), "{error}"),
            }
        }
    }
}

fn results_that_cannot_be_decoded_count_as_failures(setup: &Setup) {
    let pool = setup.pool();
    let counts = || (pool.stats().items_succeeded, pool.stats().items_failed);
    let items = || [1, 2, 3, 4, 5].map(|number| (number, 10));
    assert!(pool.apply(even::Task, (1, 1)).is_err());
    assert_eq!(counts(), (0, 1));
    let mut job = pool.apply_async(even::Task, (1, 100)).unwrap();
    job.wait();
    // Nobody has looked.
    assert_eq!(counts(), (1, 1));
    assert_eq!(job.successful(), Some(false));
    assert!(job.get_timeout(Duration::ZERO).is_err());
    assert!(job.get_timeout(Duration::ZERO).is_err(), "taken already, and counted once");
    assert_eq!(counts(), (0, 2));
    assert!(pool.map(even::Task, items()).is_err());
    assert_eq!(counts(), (2, 5));
    assert!(pool.map_async(even::Task, items()).unwrap().get().is_err());
    assert_eq!(counts(), (4, 8));
    assert_eq!(pool.map_results(even::Task, items()).unwrap().iter().filter(|result| result.is_err()).count(), 3);
    assert_eq!(counts(), (6, 11));
    assert_eq!(pool.imap(even::Task, items()).unwrap().filter(Result::is_err).count(), 3);
    assert_eq!(pool.imap_unordered(even::Task, items()).unwrap().filter(Result::is_err).count(), 3);
    assert_eq!(counts(), (10, 17));
    // A failure of the worker has been counted before.
    assert!(pool.apply(halve::Task, 1).is_err());
    assert_eq!(counts(), (10, 18));
}

/// Travels only if its number is even.
#[derive(Deserialize)]
struct Reluctant(u64);

impl Serialize for Reluctant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 { Err(serde::ser::Error::custom("odd")) } else { self.0.serialize(serializer) }
    }
}

#[pool_task]
fn number_of(value: Reluctant) -> u64 {
    value.0
}

/// Panics on its way if its number is 3.
#[derive(Deserialize)]
struct Explosive(u64);

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 3, "on its way");
        self.0.serialize(serializer)
    }
}

#[pool_task]
fn number_in(value: Explosive) -> u64 {
    value.0
}

/// It has no result beside the panic, as an item at which the input panics has none.
fn a_panic_while_an_item_is_encoded_comes_alone(setup: &Setup) {
    let pool = setup.pool();
    let items = || (0..6).map(Explosive);
    let mut numbers = pool.imap(number_in::Task, items()).unwrap();
    for number in 0..3 {
        assert_eq!(numbers.next().unwrap().unwrap(), number);
    }
    assert_eq!(numbers.size_hint().1, Some(0));
    assert!(expect_panic(|| numbers.next()).contains("on its way"));
    assert!(numbers.next().is_none());
    let mut numbers = pool.imap_unordered(number_in::Task, items()).unwrap();
    assert!((0..3).all(|_| numbers.next().unwrap().is_ok()));
    assert!(expect_panic(|| numbers.next()).contains("on its way"));
    assert!(expect_panic(|| pool.map(number_in::Task, items())).contains("on its way"));
}

fn items_that_cannot_be_encoded_fail_alone_and_count(setup: &Setup) {
    let pool = setup.pool();
    let counts = || (pool.stats().items_succeeded, pool.stats().items_failed);
    let items = || (0..5).map(Reluctant);
    let assert_failed = |error: &pool_core::Error| {
        assert_eq!((error.kind(), error.item()), (ErrorKind::Encode, Some(1)), "{error}");
    };
    assert_failed(&pool.map(number_of::Task, items()).unwrap_err());
    assert_eq!(counts(), (3, 2));
    // The submission itself is fine.
    let job = pool.map_async(number_of::Task, items()).unwrap();
    assert_failed(&job.get().unwrap_err());
    assert_eq!(counts(), (6, 4));
    assert_eq!(pool.map_results(number_of::Task, items()).unwrap().iter().filter(|result| result.is_ok()).count(), 3);
    assert_eq!(pool.imap(number_of::Task, items()).unwrap().filter(Result::is_ok).count(), 3);
    assert_eq!(counts(), (12, 8));
    // A call that cannot be submitted is no job.
    let submitted = pool.stats().jobs_submitted;
    assert_eq!(pool.apply_async(number_of::Task, Reluctant(1)).unwrap_err().kind(), ErrorKind::Encode);
    assert_eq!((pool.stats().jobs_submitted, counts()), (submitted, (12, 8)));
}

fn looking_at_a_result_leaves_it_there(setup: &Setup) {
    let pool = setup.pool();
    for size in SIZES {
        let mut job = pool.apply_async(even::Task, (2, size)).unwrap();
        job.wait();
        for _ in 0..2 {
            assert_eq!(job.successful(), Some(true));
        }
        assert_eq!(job.get_timeout(Duration::ZERO).unwrap(), Even(2, "x".repeat(size)));
        assert_eq!(job.successful(), Some(true), "it was one");
        let bytes = pool.apply_async(tests::tasks::echo::Task, vec![7; size]).unwrap();
        bytes.wait();
        assert_eq!((bytes.successful(), bytes.get().unwrap()), (Some(true), vec![7; size]));
    }
    let numbers = pool.map_async(halve::Task, (0..1000).map(|x| 2 * x)).unwrap();
    numbers.wait();
    assert_eq!((numbers.successful(), numbers.get().unwrap()), (Some(true), (0..1000).collect()));
}

fn a_failure_that_was_taken_is_still_none_of_success(setup: &Setup) {
    let pool = setup.pool();
    let mut call = pool.apply_async(halve::Task, 1).unwrap();
    let mut map = pool.map_async(even::Task, [(2, 1), (1, 1)]).unwrap();
    call.wait();
    map.wait();
    assert_eq!(call.get_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(map.get_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!((call.successful(), map.successful()), (Some(false), Some(false)));
    assert_eq!(call.get_timeout(Duration::ZERO).unwrap_err().kind(), ErrorKind::InvalidInput, "it was taken");
}

/// A map of which items have been done, here and there, and some hang.
fn half_done(pool: &Pool) -> AsyncResult<Vec<u64>> {
    let done = pool.stats().items_succeeded;
    let map = pool.map_async(nap::Task.chunk_size(3), (0..100).map(|x| if x % 10 == 5 { 30_000 } else { 0 })).unwrap();
    assert!(eventually(|| pool.stats().items_succeeded > done));
    map
}

fn a_map_that_is_ended_names_no_item(setup: &Setup) {
    let pool = setup.pool();
    let map = half_done(&pool);
    assert!(map.cancel());
    let error = map.get().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Cancelled, None), "{error}");
    let map = half_done(&pool);
    pool.terminate();
    let error = map.get().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Terminated, None), "{error}");
}

fn a_map_that_is_cancelled_is_nothing_but_that(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    // One item of each worker fails before.
    let items = (0..2 * setup.workers as u64 + 2).map(|item| if item == 0 { "\0" } else { gate.path() });
    let map = pool.map_async(pass_or_panic::Task.chunk_size(1), items).unwrap();
    assert!(eventually(|| pool.stats().items_failed == 1));
    assert!(map.cancel());
    let error = map.get().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Cancelled, None), "{error}");
}

#[pool_task]
fn pass_or_panic(gate: &str) -> u32 {
    assert!(gate != "\0", "on purpose");
    pass(gate)
}

fn items_of_an_iterator_that_was_ended_keep_their_index(setup: &Setup) {
    for is_ordered in [true, false] {
        let pool = setup.pool();
        // Each fifth item, the first among them, never ends.
        let input = (0..40).map(|x| if x % 5 == 0 { 30_000 } else { 0 });
        let results: Box<dyn Iterator<Item = pool_core::Result<u64>>> = if is_ordered {
            Box::new(pool.imap(nap::Task.chunk_size(1), input).unwrap())
        } else {
            Box::new(pool.imap_unordered(nap::Task.chunk_size(1), input).unwrap())
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                // Results have come if there is a worker for them beside those that hang.
                thread::sleep(Duration::from_millis(100));
                pool.terminate();
            });
            let results: Vec<_> = results.collect();
            assert_eq!(results.len(), 40);
            let mut ended: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
            assert!(ended.iter().all(|error| error.kind() == ErrorKind::Terminated), "{ended:?}");
            assert!(ended.iter().all(|error| error.item().is_some()), "{ended:?}");
            if is_ordered {
                let positions = results.iter().enumerate().filter(|(_, result)| result.is_err());
                assert!(positions.zip(&ended).all(|((at, _), error)| error.item() == Some(at)), "{ended:?}");
            }
            ended.dedup_by_key(|error| error.item());
            assert!(ended.len() >= 8 && ended.len() == results.iter().filter(|result| result.is_err()).count());
        });
    }
}

fn results_behind_an_item_that_was_ended_stay_readable(setup: &Setup) {
    let pool = setup.with_workers(2).pool();
    let gate = Gate::new();
    let paths = (0..10).map(|x| if x == 0 { gate.path() } else { "/" });
    let mut results = pool.imap(pass::Task.chunk_size(1), paths).unwrap();
    let first = results.next_timeout(Duration::from_millis(20)).unwrap();
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(eventually(|| pool.stats().items_succeeded == 9));
    pool.terminate();
    let first = results.next().unwrap().unwrap_err();
    assert_eq!((first.kind(), first.item()), (ErrorKind::Terminated, Some(0)), "{first}");
    let others: Vec<_> = results.collect();
    assert_eq!(others.iter().filter(|result| result.is_ok()).count(), 9, "{others:?}");
}

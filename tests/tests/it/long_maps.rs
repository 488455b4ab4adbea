//! Maps with so many arguments that they are written to memory which all workers read, and which is used again and again.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::tasks::{Way, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(arguments_of_all_sizes_arrive),
        each_method(more_arguments_than_the_memory_holds_arrive),
        each_method(a_map_that_was_given_up_keeps_its_arguments_until_its_workers_are_through),
        each_method(arguments_outlive_the_workers_that_they_were_sent_to).workers(&[1, 2]),
        each_method(maps_of_several_threads_and_iterators_keep_apart),
    ]
}

/// Bytes of the memory, which a map of so many begins anew.
const ARENA: usize = 2 << 20;

#[pool_task]
fn uneven(a: u64, b: u8) -> u64 {
    a * 256 + u64::from(b)
}

#[pool_task]
fn wide(numbers: [u64; 100]) -> u64 {
    numbers.iter().sum()
}

#[pool_task]
fn digest(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// Text of a length that depends on the number: mostly short, now and then so long that it goes alone.
fn text(number: usize) -> String {
    let length = match number % 1000 {
        999 => 70_000,
        998 => 20_000,
        997 => 5_000,
        rest => rest % 97,
    };
    char::from(b'a' + (number % 26) as u8).to_string().repeat(length)
}

fn arguments_of_all_sizes_arrive(setup: &Setup) {
    let pool = setup.pool();
    for round in 0..3 {
        let numbers = round..round + 2 * ARENA as u64 / 8;
        assert!(pool.map(square::Task, numbers.clone()).unwrap().into_iter().eq(numbers.map(|x| x * x)));
        let pairs = (round..round + 100_000).map(|a| (a, a as u8));
        assert!(
            pool.map(uneven::Task, pairs.clone()).unwrap().into_iter().eq(pairs.map(|(a, b)| a * 256 + u64::from(b)))
        );
        let rows = (round..round + 3000).map(|x| [x; 100]);
        assert!(pool.map(wide::Task, rows.clone()).unwrap().into_iter().eq(rows.map(|row| 100 * row[0])));
        let texts: Vec<_> = (0..15_000).map(text).collect();
        let digests = pool.map(digest::Task, texts.iter().map(String::as_str)).unwrap();
        assert!(digests.into_iter().eq(texts.iter().map(|text| digest(text))));
    }
}

fn more_arguments_than_the_memory_holds_arrive(setup: &Setup) {
    let pool = setup.pool();
    pool.map(square::Task, 0..100_000).unwrap();
    let gate = Gate::new();
    let held: Vec<_> = (0..setup.workers).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
    let numbers = 0..3 * ARENA as u64 / 8;
    let one = pool.map_async(square::Task, numbers.clone()).unwrap();
    let other = pool.map_async(uneven::Task, numbers.clone().map(|a| (a, 1))).unwrap();
    assert!(!one.ready() && !other.ready());
    gate.open();
    assert!(held.into_iter().all(|job| job.get().is_ok()));
    assert!(one.get().unwrap().into_iter().eq(numbers.clone().map(|x| x * x)));
    assert!(other.get().unwrap().into_iter().eq(numbers.map(|x| x * 256 + 1)));
}

/// From then on this worker notes the arguments that it gets.
static WAS_HELD: AtomicBool = AtomicBool::new(false);

/// The number of the item that waits.
const HELD: u64 = 3500;

/// Where it waits, and where it notes that.
static PATHS: OnceLock<(String, String)> = OnceLock::new();

#[pool_task]
fn know(gate: String, notes: String) {
    PATHS.set((gate, notes)).expect("a worker has one initializer");
}

#[pool_task]
fn note(map: u64, number: u64) {
    let (gate, notes) = PATHS.get().expect("the initializer has set them");
    if (map, number) == (1, HELD) {
        WAS_HELD.store(true, Ordering::Relaxed);
        fs::write(notes, "").unwrap();
        pass(gate);
    } else if WAS_HELD.load(Ordering::Relaxed) {
        let mut notes = OpenOptions::new().append(true).open(notes).unwrap();
        writeln!(notes, "{map} {number}").unwrap();
    }
}

fn a_map_that_was_given_up_keeps_its_arguments_until_its_workers_are_through(setup: &Setup) {
    // On a busy machine the item that waits may be the last that its worker had claimed.
    let found = (0..20).map(|_| notes_of_a_worker_that_was_held(setup)).find(|notes| !notes.is_empty());
    let found = found.expect("a worker claims several items at a time");
    let expected = (HELD + 1..).map(|number| format!("1 {number}"));
    let wrong = found.lines().zip(expected).find(|(found, expected)| found != expected);
    assert_eq!(wrong, None, "what the worker found, and what it was to find");
}

/// The arguments that it got after the item that waited, while all of the memory was written again with arguments of others.
fn notes_of_a_worker_that_was_held(setup: &Setup) -> String {
    let (gate, notes) = (Gate::new(), Gate::new());
    let paths = (gate.path().to_owned(), notes.path().to_owned());
    let pool = setup.builder().initializer(know::Task, paths).build().unwrap();
    let mut given_up = pool.imap(note::Task.chunk_size(2048), (0..10_000).map(|number| (1, number))).unwrap();
    while !fs::exists(notes.path()).unwrap() {
        _ = given_up.next_timeout(Duration::from_millis(1));
    }
    drop(given_up);
    for map in 2..5 {
        pool.map(note::Task, (0..ARENA as u64 / 16).map(|number| (map, number))).unwrap();
    }
    gate.open();
    pool.close();
    pool.join().unwrap();
    fs::read_to_string(notes.path()).unwrap()
}

#[pool_task]
fn crash_once(number: u64, mark: u64) -> u64 {
    let path = std::env::temp_dir().join(format!("pool-test-crash-{mark}-{number}"));
    if number % 9000 == 8000 && OpenOptions::new().create_new(true).write(true).open(&path).is_ok() {
        Way::Kill.go();
    }
    let _ = fs::remove_file(path);
    number + 1
}

fn arguments_outlive_the_workers_that_they_were_sent_to(setup: &Setup) {
    let pool = setup.pool();
    // Not only the number of the process: one that was killed may have left its files.
    let mark = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    for _ in 0..2 {
        let numbers = 0..40_000;
        let outcome =
            pool.map(crash_once::Task.retries(1).chunk_size(1000), numbers.clone().map(|number| (number, mark)));
        assert!(outcome.unwrap().into_iter().eq(numbers.map(|number| number + 1)));
    }
    assert_eq!(pool.stats().workers_died, 8);
}

fn maps_of_several_threads_and_iterators_keep_apart(setup: &Setup) {
    let pool = setup.pool();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..3 {
                    let numbers = thread * 1_000_000 + round..thread * 1_000_000 + round + 150_000;
                    assert!(
                        pool.map(square::Task, numbers.clone()).unwrap().into_iter().eq(numbers.clone().map(|x| x * x))
                    );
                    let given_up = pool.imap(square::Task, numbers.clone()).unwrap().take(10_000);
                    assert!(given_up.map(Result::unwrap).eq(numbers.clone().take(10_000).map(|x| x * x)));
                    let sum: u64 =
                        pool.imap_unordered(square::Task, numbers.clone()).unwrap().map(Result::unwrap).sum();
                    assert_eq!(sum, numbers.map(|x| x * x).sum::<u64>());
                }
            });
        }
    });
}

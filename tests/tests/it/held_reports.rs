//! Reports that a worker has written and not published: of items that fall silent, are killed, panic or run out of time.

use std::fs;
use std::sync::mpsc;
use std::thread;

use pool_core::prelude::*;
use pool_core::{Report, is_cancelled, report};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tests::gate::{Gate, pass};
use tests::panics::silently;
use tests::procs::{SOON, kill_9};
use tests::tasks::nap;
use tests::trial::{Check, Setup, each_method};

use crate::reports::{listener, values};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(reports_of_several_types_in_turns_keep_their_order),
        each_method(reports_of_an_item_that_falls_silent_are_heard),
        each_method(reports_of_a_map_whose_items_fall_silent_are_heard),
        each_method(reports_before_a_kill_in_a_silence_are_heard).workers(&[1]),
        each_method(many_reports_before_a_panic_are_heard),
        each_method(many_reports_before_a_time_limit_are_heard),
        each_method(short_and_long_reports_keep_their_order),
        each_method(a_slow_listener_hears_all_in_order),
    ]
}

/// Reports so many numbers as fast as it can, notes that it has, and is silent until the gate is open.
#[pool_task(reports)]
fn tell_and_wait(end: u64, note: &str, gate: &str) -> u64 {
    for number in 0..end {
        assert!(report(&number));
    }
    fs::write(note, "").unwrap();
    pass(gate);
    end
}

/// More and fewer than one record holds.
const ENDS: [u64; 4] = [1, 2, 7, 5000];

fn expect(heard: &mpsc::Receiver<(usize, u32, pool_core::Result<u64>)>, end: u64) {
    for number in 0..end {
        let (item, attempt, value) = heard.recv_timeout(SOON).expect("it is silent, and has reported");
        assert_eq!((item, attempt, value.unwrap()), (0, 1, number));
    }
}

fn reports_of_an_item_that_falls_silent_are_heard(setup: &Setup) {
    let pool = setup.pool();
    for end in ENDS {
        for waits in [true, false] {
            let (note, gate) = (Gate::new(), Gate::new());
            let (listener, heard) = listener();
            let job = pool.apply_async(tell_and_wait::Task, (end, note.path(), gate.path())).unwrap();
            let mut job = job.on_report(listener);
            thread::scope(|scope| {
                // A thread that waits looks for reports, and if there is none, the router.
                let waiting = waits.then(|| scope.spawn(|| job.get_timeout(SOON)));
                expect(&heard, end);
                gate.open();
                waiting.map(|waiting| waiting.join().unwrap().unwrap());
            });
            if !waits {
                assert_eq!(job.get().unwrap(), end);
            }
            assert!(heard.recv_timeout(SOON).is_err());
        }
    }
}

fn reports_of_a_map_whose_items_fall_silent_are_heard(setup: &Setup) {
    let pool = setup.pool();
    let (note, gate) = (Gate::new(), Gate::new());
    let (listener, heard) = listener::<u64>();
    let items = (0..4).map(|_| (100, note.path(), gate.path()));
    let mut results = pool.imap(tell_and_wait::Task.chunk_size(2), items).unwrap().on_report(listener);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| results.by_ref().collect::<pool_core::Result<Vec<_>>>().unwrap());
        // Those of the items that the two workers are at.
        let mut counts = [0; 4];
        (0..200).for_each(|_| counts[heard.recv_timeout(SOON).unwrap().0] += 1);
        counts.sort_unstable();
        assert_eq!(counts, [0, 0, 100, 100]);
        gate.open();
        assert_eq!(waiting.join().unwrap(), [100; 4]);
    });
    drop(results);
    assert_eq!(heard.iter().count(), 200);
}

fn reports_before_a_kill_in_a_silence_are_heard(setup: &Setup) {
    let pool = setup.pool();
    for round in 0..5 {
        for end in ENDS {
            let (note, gate) = (Gate::new(), Gate::new());
            let (sender, heard) = mpsc::channel();
            let job = pool.apply_async(tell_and_wait::Task, (end, note.path(), gate.path())).unwrap();
            let job = job.on_report(move |report: Report<u64>| sender.send(report.value.unwrap()).unwrap());
            note.wait();
            let pid = pool.worker_pids()[0];
            thread::sleep(Duration::from_micros(500 * round));
            kill_9(pid);
            assert_eq!(job.get().unwrap_err().kind(), ErrorKind::WorkerDied);
            assert!(heard.iter().eq(0..end), "of {end}");
        }
    }
}

#[pool_task(reports)]
fn tell_and_panic(end: u64) {
    for number in 0..end {
        assert!(report(&number));
    }
    panic!("on purpose");
}

fn many_reports_before_a_panic_are_heard(setup: &Setup) {
    let pool = setup.pool();
    silently(|| {
        for end in ENDS {
            let (listener, heard) = listener();
            let job = pool.apply_async(tell_and_panic::Task, end).unwrap().on_report(listener);
            assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Panicked);
            assert_eq!(values::<u64>(heard), (0..end).collect::<Vec<_>>());
        }
    });
}

/// Reports until it is told to end; then its result is the number of reports.
#[pool_task(reports)]
fn tell_until_told() -> u64 {
    let mut number = 0u64;
    while !is_cancelled() {
        report(&number);
        number += 1;
    }
    number
}

fn many_reports_before_a_time_limit_are_heard(setup: &Setup) {
    let pool = setup.pool();
    let (listener, heard) = listener();
    // Its value counts, since it returns within its grace.
    let task = tell_until_told::Task.timeout(Duration::from_millis(100)).grace(SOON);
    let reports = pool.apply_async(task, ()).unwrap().on_report(listener).get().unwrap();
    assert_eq!(values::<u64>(heard), (0..reports).collect::<Vec<_>>());
    assert_eq!(pool.apply(nap::Task, 1).unwrap(), 1);
}

#[pool_task(reports)]
fn tell_sizes(sizes: Vec<usize>) {
    for (number, size) in sizes.into_iter().enumerate() {
        // Of different types, so that a mix of them is told apart.
        if size == 0 {
            assert!(report(&number));
        } else {
            assert!(report(&(number, vec![number as u8; size])));
        }
    }
}

fn short_and_long_reports_keep_their_order(setup: &Setup) {
    let pool = setup.pool();
    let sizes: Vec<usize> = (0..3000_usize)
        .map(|number| match number % 50 {
            7 => 40_000,
            9..=11 => 3000,
            31 if number > 2900 => 2 << 20,
            _ => 0,
        })
        .collect();
    let (hear, heard) = listener::<(usize, Vec<u8>)>();
    pool.apply_async(tell_sizes::Task, sizes.clone()).unwrap().on_report(hear).get().unwrap();
    let heard: Vec<_> = heard.iter().map(|(_, _, value)| value).collect();
    assert_eq!(heard.len(), sizes.len());
    for (number, (size, value)) in sizes.into_iter().zip(heard).enumerate() {
        match value {
            Ok((named, bytes)) => assert!(named == number && bytes == vec![number as u8; size], "{number}"),
            Err(error) => assert!(size == 0 && error.kind() == ErrorKind::Decode, "{number}: {error}"),
        }
    }
}

fn a_slow_listener_hears_all_in_order(setup: &Setup) {
    const END: u64 = 300_000;
    let pool = setup.pool();
    let (sender, heard) = mpsc::channel();
    let (note, gate) = (Gate::new(), Gate::new());
    gate.open();
    let job = pool.apply_async(tell_and_wait::Task, (END, note.path(), gate.path())).unwrap();
    let job = job.on_report(move |report: Report<u64>| {
        let number = report.value.unwrap();
        if number.is_multiple_of(10_000) {
            thread::sleep(Duration::from_millis(10));
        }
        sender.send(number).unwrap();
    });
    assert_eq!(job.get().unwrap(), END);
    assert!(heard.iter().eq(0..END));
}

const IN_TURNS: u64 = 20_000;

#[pool_task(reports)]
fn report_in_turns(pause_at: u64) {
    for number in 0..IN_TURNS {
        report(&number);
        // As large, and as small as another number; with a length; larger than most.
        if number.is_multiple_of(7) {
            report(&(number as f64));
            report(&(number as u8));
        }
        if number.is_multiple_of(11) {
            report(&number.to_string());
        }
        if number.is_multiple_of(13) {
            report(&u128::from(number));
        }
        if number == pause_at {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Of each type its own values are heard, in their order, and each other report is an error.
fn reports_of_several_types_in_turns_keep_their_order(setup: &Setup) {
    fn hear<T>(setup: &Setup, value: fn(u64) -> T, step: usize)
    where
        T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + Send + 'static,
    {
        const ALL: usize = IN_TURNS as usize;
        let (hear, heard) = listener::<T>();
        let pool = setup.pool();
        pool.apply_async(report_in_turns::Task, 12_345).unwrap().on_report(hear).get().unwrap();
        let heard: Vec<_> = heard.iter().map(|(_, _, value)| value).collect();
        assert_eq!(heard.len(), ALL + 2 * ALL.div_ceil(7) + ALL.div_ceil(11) + ALL.div_ceil(13));
        assert!(heard.iter().flat_map(|value| value.as_ref().err()).all(|error| error.kind() == ErrorKind::Decode));
        let values = heard.into_iter().filter_map(Result::ok);
        assert!(values.eq((0..IN_TURNS).step_by(step).map(value)));
    }
    hear(setup, |number| number, 1);
    hear(setup, |number| number as f64, 7);
    hear(setup, |number| number as u8, 7);
    hear(setup, |number| number.to_string(), 11);
    hear(setup, u128::from, 13);
}

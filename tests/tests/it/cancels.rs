//! Calls that are cancelled by the hundred thousand.

use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::tasks::square;
use tests::trial::{Check, Setup, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(cancelling_one_of_many_takes_no_longer_than_one_of_few).workers(&[1]),
        once(calls_that_are_cancelled_while_they_wait_never_run),
    ]
}

#[pool_task]
fn wait_there(gate: &str) {
    pass(gate);
}

/// Its argument travels as its own memory, so that no two of these calls share anything.
#[pool_task]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// Were each looked for among all others, this would take minutes, and the watchdog would end it.
fn cancelling_one_of_many_takes_no_longer_than_one_of_few(setup: &Setup) {
    const CALLS: usize = 100_000;
    let pool = setup.pool();
    let gate = Gate::new();
    let first = pool.apply_async(wait_there::Task, gate.path()).unwrap();
    let mut calls: Vec<_> = (0..CALLS).map(|_| pool.apply_async(length::Task, vec![1; 3]).unwrap()).collect();
    let kept: Vec<_> = (0..10).map(|number| calls.swap_remove(number * (CALLS / 10 - 10))).collect();
    // Without order: from a place to one that is far from it, until all were there.
    let stride = 61_803;
    let mut at = 0;
    for _ in 0..calls.len() {
        at = (at + stride) % calls.len();
        while !calls[at].cancel() {
            at = (at + 1) % calls.len();
        }
    }
    for call in calls {
        assert_eq!(call.get().unwrap_err().kind(), ErrorKind::Cancelled);
    }
    gate.open();
    first.get().unwrap();
    assert!(kept.into_iter().all(|call| call.get().unwrap() == 3));
}

/// Notes that it has run.
#[pool_task]
fn run(note: &str) {
    tests::gate::count(note);
}

fn calls_that_are_cancelled_while_they_wait_never_run(setup: &Setup) {
    let pool = setup.pool();
    for round in 0..20 {
        let gate = Gate::new();
        let blocking: Vec<_> =
            (0..setup.workers).map(|_| pool.apply_async(wait_there::Task, gate.path()).unwrap()).collect();
        // Some of these are sent ahead, some wait; and some are cancelled in each place.
        let notes: Vec<_> = (0..100).map(|_| Gate::new()).collect();
        let calls: Vec<_> = notes.iter().map(|note| pool.apply_async(run::Task, note.path()).unwrap()).collect();
        let is_cancelled = |number: usize| number % 7 == round % 7 || number / 10 == round % 10;
        for (number, call) in calls.iter().enumerate() {
            assert!(!is_cancelled(number) || call.cancel());
            assert!(!is_cancelled(number) || !call.cancel(), "once is enough");
        }
        gate.open();
        blocking.into_iter().for_each(|call| call.get().unwrap());
        for (number, call) in calls.into_iter().enumerate() {
            let outcome = call.get();
            assert_eq!(outcome.is_err(), is_cancelled(number), "call {number}: {outcome:?}");
        }
        for (number, note) in notes.iter().enumerate() {
            assert_eq!(note.count(), usize::from(!is_cancelled(number)), "call {number}");
        }
        assert_eq!(pool.apply(square::Task, 5).unwrap(), 25);
    }
}

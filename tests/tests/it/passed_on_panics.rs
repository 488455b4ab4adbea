//! Panics that come to the worker by detours: passed on by the task, from a thread or from an earlier catch. Message and
//! place are those of the panic that is passed on, and of no other.

use std::any::Any;
use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::thread;

use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        // Panics of threads are printed.
        each_method(a_panic_that_is_passed_on_comes_with_its_own_message).noisy(),
        each_method(a_panic_that_is_passed_on_comes_with_its_own_place).noisy(),
    ]
}

/// A catch that the task copes with.
fn cope<R>(with: impl FnOnce() -> R + std::panic::UnwindSafe) -> Box<dyn Any + Send> {
    catch_unwind(with).err().unwrap()
}

/// The payload of a panic in a thread.
fn of_a_thread(panic: impl FnOnce() + Send + 'static) -> Box<dyn Any + Send> {
    thread::spawn(panic).join().unwrap_err()
}

fn early() {
    panic!("the early one, number {}", 1);
}

fn late() {
    panic!("the late one, number {}", 2);
}

fn early_literal() {
    panic!("a literal");
}

fn late_literal() {
    panic!("a literal");
}

/// Panics when it is dropped, and copes with that.
struct Clumsy;

impl Drop for Clumsy {
    fn drop(&mut self) {
        cope(early);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Detour {
    /// An early panic was dealt with, and another payload, which never was a panic, is passed on.
    Made,
    MadeOfTheSameLength,
    MadeLiteral,
    MadeOfAnotherType,
    /// The panic of a thread is passed on after an early one was dealt with.
    Thread,
    ThreadLiteral,
    /// The task has caught one with the same literal at another place.
    EitherLiteral,
    ThreadOfAnotherType,
    Scope,
    /// The first of two is passed on.
    First,
    FirstLiteral,
    FirstOfAnotherType,
    /// A destructor panics meanwhile, and deals with that.
    Destructor,
    /// No detour: one was dealt with, then the next is not.
    Direct,
    DirectLiteral,
    DirectOfAnotherType,
}

use Detour::*;

const NO_TEXT: &str = "a value that is no text";

/// Each panic with its expected message, and the function in which its location is.
const DETOURS: [(Detour, &str, Option<&str>); 16] = [
    (Made, "made up", None),
    (MadeOfTheSameLength, "the other one, number 1", None),
    (MadeLiteral, "a literal that never was a panic's", None),
    (MadeOfAnotherType, NO_TEXT, None),
    (Thread, "the late one, number 2", Some("late")),
    (ThreadLiteral, "a literal", Some("late_literal")),
    (EitherLiteral, "a literal", None),
    (ThreadOfAnotherType, NO_TEXT, Some("late_value")),
    (Scope, "the late one, number 2", Some("late")),
    (First, "the early one, number 1", Some("early")),
    (FirstLiteral, "a literal", Some("early_literal")),
    (FirstOfAnotherType, NO_TEXT, Some("early_value")),
    (Destructor, "the late one, number 2", Some("late")),
    (Direct, "the late one, number 2", Some("late")),
    (DirectLiteral, "a literal", Some("late_literal")),
    (DirectOfAnotherType, NO_TEXT, Some("late_value")),
];

fn early_value() {
    panic_any(1_u64);
}

fn late_value() {
    panic_any(2_u32);
}

#[pool_task]
fn go(detour: Detour) {
    match detour {
        Made => {
            cope(early);
            resume_unwind(Box::new("made up".to_owned()));
        }
        MadeOfTheSameLength => {
            // The allocator may give the text of the one to the other.
            drop(cope(early));
            resume_unwind(Box::new("the other one, number 1".to_owned()));
        }
        MadeLiteral => {
            cope(early_literal);
            resume_unwind(Box::new("a literal that never was a panic's"));
        }
        MadeOfAnotherType => {
            cope(early);
            resume_unwind(Box::new(7_u8));
        }
        Thread => {
            cope(early);
            resume_unwind(of_a_thread(late));
        }
        ThreadLiteral => {
            cope(early);
            resume_unwind(of_a_thread(late_literal));
        }
        EitherLiteral => {
            cope(early_literal);
            resume_unwind(of_a_thread(late_literal));
        }
        ThreadOfAnotherType => {
            cope(early_value);
            resume_unwind(of_a_thread(late_value));
        }
        Scope => {
            cope(early);
            thread::scope(|scope| scope.spawn(late).join()).unwrap_or_else(|payload| resume_unwind(payload));
        }
        First => {
            let first = cope(early);
            cope(late);
            resume_unwind(first);
        }
        FirstLiteral => {
            let first = cope(early_literal);
            cope(late);
            resume_unwind(first);
        }
        FirstOfAnotherType => {
            let first = cope(early_value);
            cope(late_value);
            resume_unwind(first);
        }
        Destructor => {
            let _clumsy = Clumsy;
            late();
        }
        Direct => {
            cope(early);
            late();
        }
        DirectLiteral => {
            cope(early_literal);
            late_literal();
        }
        DirectOfAnotherType => {
            cope(early_value);
            late_value();
        }
    }
}

fn a_panic_that_is_passed_on_comes_with_its_own_message(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    for (detour, message, _) in DETOURS.into_iter().chain(DETOURS) {
        let error = pool.apply(go::Task, detour).unwrap_err();
        assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some(message)), "{detour:?}: {error}");
    }
    assert_eq!(pool.stats().workers_died, 0);
}

/// The function of this file that has the line of this place.
fn function_at(place: &str) -> Option<&'static str> {
    let mut parts = place.rsplit(':').skip(1);
    let line: usize = parts.next()?.parse().ok()?;
    assert!(place.contains("passed_on_panics.rs"), "{place}");
    let before = include_str!("passed_on_panics.rs").lines().take(line);
    let heading = before.filter_map(|line| line.strip_prefix("fn ")).last()?;
    heading.split('(').next()
}

fn a_panic_that_is_passed_on_comes_with_its_own_place(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    for (detour, _, function) in DETOURS.into_iter().chain(DETOURS) {
        let error = pool.apply(go::Task, detour).unwrap_err();
        assert_eq!(error.location().and_then(function_at), function, "{detour:?}: {error}");
    }
    // All in one call, too, where traces of one item would be found by the next.
    let errors = pool.map_results(go::Task.chunk_size(100), DETOURS.map(|(detour, ..)| detour)).unwrap();
    for ((detour, _, function), error) in DETOURS.into_iter().zip(errors) {
        let error = error.unwrap_err();
        assert_eq!(error.location().and_then(function_at), function, "{detour:?}: {error}");
    }
}

//! A program that only links a library of tasks, and has one of its own.

use pool_core::prelude::*;
use tasks_lib as _;

#[pool_task]
fn halve(x: u64) -> u64 {
    x / 2
}

#[pool_task]
fn fail(text: &str) {
    panic!("{text}");
}

fn main() -> pool_core::Result<()> {
    let names: Vec<_> = pool_core::tasks().iter().map(|task| (task.module(), task.name())).collect();
    assert_eq!(names, [("linked", "fail"), ("linked", "halve"), ("tasks_lib", "double"), ("tasks_lib", "square")]);

    let pool = Pool::new(2)?;
    assert_eq!(pool.map(halve::Task, [2, 4, 6])?, [1, 2, 3]);
    assert_eq!(pool.apply(tasks_lib::double::Task, 21)?, 42);
    assert_eq!(pool.apply(tasks_lib::square::Task, 3)?, "3²");
    // The message arrives, whether the panic unwinds or aborts.
    let error = pool.apply(fail::Task, "on purpose").unwrap_err();
    assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("on purpose")), "{error}");
    assert_eq!(error.exit_status().is_some(), cfg!(panic = "abort"), "{error}");
    assert_eq!(pool.map(halve::Task, [2, 4, 6])?, [1, 2, 3]);
    pool.close();
    pool.join()
}

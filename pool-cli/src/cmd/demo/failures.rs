//! Where Python's pool hangs or has nothing: crashes, time limits. And callbacks, which it has.

use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use pool_core::{Error, ErrorKind, Pool, Task};

use super::lifecycle::{AT_ONCE, ENDLESS_MS};
use super::stage::{Stage, Step, seen, words};
use super::tasks::{Crash, crash, nap, square, square_unless_five};
use crate::cmd::ending::Failure;

/// How long a callback may take to come.
const CALLBACK_TIMEOUT: Duration = Duration::from_secs(60);

const SIGABRT: i32 = 6;
const SIGSEGV: i32 = 11;

pub(super) fn show(stage: &mut Stage<'_>, workers: usize) -> Result<(), Failure> {
    let pool = Pool::new(workers)?;
    show_crashes(stage, &pool)?;
    show_callbacks(stage, &pool)?;
    show_time_limits(stage, &pool)?;
    Ok(())
}

fn show_crashes(stage: &mut Stage<'_>, pool: &Pool) -> Result<(), Failure> {
    type Check = fn(&Error) -> bool;
    let crashes: [(&str, Crash, &str, &str, Check); 4] = [
        (
            "A task that writes through a bad pointer",
            Crash::NullWrite,
            "p.apply(ctypes.memset, (0, 0, 1))  # waits for ever",
            "an error of the kind WorkerDied that names the signal, SIGSEGV",
            |error| died(error) && error.exit_status().and_then(|status| status.signal()) == Some(SIGSEGV),
        ),
        (
            "A task that aborts",
            Crash::Abort,
            "p.apply(os.abort)  # waits for ever",
            "an error of the kind WorkerDied that names the signal, SIGABRT",
            |error| died(error) && error.exit_status().and_then(|status| status.signal()) == Some(SIGABRT),
        ),
        (
            "A task that ends its process",
            Crash::Exit(3),
            "p.apply(os._exit, (3,))  # waits for ever",
            "an error of the kind WorkerDied that names the exit code, 3",
            |error| died(error) && error.exit_status().and_then(|status| status.code()) == Some(3),
        ),
        (
            "A task that panics",
            Crash::Panic,
            "p.apply(raise_an_exception)",
            "an error of the kind Panicked that says \"on purpose\" and where",
            |error| error.panic_message() == Some("on purpose") && error.location().is_some(),
        ),
    ];
    for (title, how, python, expected, check) in crashes {
        stage.step(Step { title, python, expected }, || match pool.apply(crash::Task, how) {
            Ok(()) => seen(false, "it returned"),
            Err(error) => seen(check(&error), words(&error)),
        })?;
    }

    let step = Step {
        title: "The same pool, after all that",
        python: "pool.map(f, range(10))",
        expected: "the dead workers have been replaced: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
    };
    stage.step(step, || {
        let squares = pool.map(square::Task, 0..10)?;
        let what = format!("{squares:?}, and {} workers have been replaced", pool.stats().workers_died);
        seen(squares == [0, 1, 4, 9, 16, 25, 36, 49, 64, 81], what)
    })?;

    let step = Step {
        title: "A map with one item that crashes",
        python: "pool.map(f_that_crashes_at_5, range(8))  # waits for ever",
        expected: "an error for item 5, and the results of all the others",
    };
    stage.step(step, || {
        let results = pool.map_results(square_unless_five::Task, 0..8)?;
        let is_expected = |(item, result): (usize, &pool_core::Result<u64>)| match result {
            Ok(value) => item != 5 && *value == (item * item) as u64,
            Err(error) => item == 5 && died(error) && error.item() == Some(5),
        };
        let values: Vec<Option<u64>> = results.iter().map(|result| result.as_ref().ok().copied()).collect();
        let errors: Vec<String> = results.iter().filter_map(|result| result.as_ref().err().map(words)).collect();
        let are_expected = results.len() == 8 && results.iter().enumerate().all(is_expected);
        seen(are_expected, format!("{values:?}\n{}", errors.join("\n")))
    })?;
    Ok(())
}

fn died(error: &Error) -> bool {
    error.kind() == ErrorKind::WorkerDied
}

fn show_callbacks(stage: &mut Stage<'_>, pool: &Pool) -> Result<(), Failure> {
    let step = Step {
        title: "Callbacks",
        python: "p.apply_async(f, (5,), callback=g, error_callback=h)",
        expected: "called with 25; and for a task that panics, with the error",
    };
    stage.step(step, || {
        let (sender, receiver) = mpsc::channel();
        pool.apply_async(square::Task, 5)?.on_done(move |result| drop(sender.send(result)));
        let Ok(value) = receiver.recv_timeout(CALLBACK_TIMEOUT) else { return seen(false, "no call") };
        let (sender, receiver) = mpsc::channel();
        pool.apply_async(crash::Task, Crash::Panic)?.on_done(move |result| drop(sender.send(result)));
        let Ok(Err(error)) = receiver.recv_timeout(CALLBACK_TIMEOUT) else {
            return seen(false, "no call with an error");
        };
        let value = value?;
        seen(value == 25 && error.kind() == ErrorKind::Panicked, format!("{value}\n{}", words(&error)))
    })?;
    Ok(())
}

fn show_time_limits(stage: &mut Stage<'_>, pool: &Pool) -> Result<(), Failure> {
    let step = Step {
        title: "A time limit for a task",
        python: "# not in Python: get(timeout=...) gives up waiting, and the task goes on for ever",
        expected: "a task of 30 s with a limit of 0.2 s is killed: TaskTimeout, and the pool works on",
    };
    stage.step(step, || {
        let begun = Instant::now();
        let limited = nap::Task.timeout(Duration::from_millis(200));
        let Err(error) = pool.apply(limited, ENDLESS_MS) else { return seen(false, "it returned") };
        let took = begun.elapsed();
        let value = pool.apply(square::Task, 3)?;
        let is_expected = error.kind() == ErrorKind::TaskTimeout && took < AT_ONCE && value == 9;
        seen(is_expected, format!("{}, after {took:.1?}\nthen square(3) is {value}", words(&error)))
    })?;
    Ok(())
}

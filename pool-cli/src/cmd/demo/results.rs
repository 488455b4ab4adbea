//! How results come: `get` with a timeout, `map`, `imap`, `map_async`.

use std::time::Duration;

use pool_core::{ErrorKind, Pool};

use super::lifecycle::ENDLESS_MS;
use super::stage::{Stage, Step, seen, words};
use super::tasks::{nap, square};
use crate::cmd::ending::Failure;

/// A limit that is there to be kept. Python's example says 1 s, which a busy machine may need for next to nothing.
const GENEROUS: Duration = Duration::from_secs(20);

/// A limit that is there to be missed.
const SHORT: Duration = Duration::from_millis(100);

pub(super) fn show(stage: &mut Stage<'_>, workers: usize) -> Result<(), Failure> {
    show_timeouts(stage, workers)?;
    show_maps(stage, workers)?;
    show_async_maps(stage, workers)?;
    Ok(())
}

fn show_timeouts(stage: &mut Stage<'_>, workers: usize) -> Result<(), Failure> {
    let pool = Pool::new(workers)?;
    let step = Step {
        title: "get with a timeout, in time",
        python: "result = pool.apply_async(f, args=(10,))\nprint(result.get(timeout=1))",
        expected: "100",
    };
    stage.step(step, || {
        let value = pool.apply_async(square::Task, 10)?.get_timeout(GENEROUS)?;
        seen(value == 100, value.to_string())
    })?;

    let step = Step {
        title: "get with a timeout, too late",
        python: "result = pool.apply_async(time.sleep, args=(10,))\nprint(result.get(timeout=1))  # raise multiprocessing.TimeoutError",
        expected: "an error of the kind Timeout, and the task goes on",
    };
    stage.step(step, || {
        let mut job = pool.apply_async(nap::Task, ENDLESS_MS)?;
        match job.get_timeout(SHORT) {
            Ok(()) => seen(false, "it was done"),
            Err(error) => seen(error.kind() == ErrorKind::Timeout && !job.ready(), words(&error)),
        }
    })?;
    drop(pool);

    let pool = Pool::new(workers)?;
    let step = Step {
        title: "get with a timeout, too late, and get again",
        python: "result = pool.apply_async(time.sleep, args=(1,))\nresult.get(timeout=0.1)  # TimeoutError\nresult.get()",
        expected: "the timeout has changed nothing: the later get succeeds",
    };
    stage.step(step, || {
        let mut job = pool.apply_async(nap::Task, 1000)?;
        let Err(first) = job.get_timeout(SHORT) else { return seen(false, "it was done") };
        job.get()?;
        seen(first.kind() == ErrorKind::Timeout, format!("{}\nthen the result of the task", words(&first)))
    })?;
    Ok(())
}

fn show_maps(stage: &mut Stage<'_>, workers: usize) -> Result<(), Failure> {
    let pool = Pool::new(workers)?;
    let step = Step {
        title: "map over a list",
        python: "res = pool.map(task, [1, 2, 3, 4, 5])\nprint(res)",
        expected: "[1, 4, 9, 16, 25]",
    };
    stage.step(step, || {
        let squares = pool.map(square::Task, [1, 2, 3, 4, 5])?;
        seen(squares == [1, 4, 9, 16, 25], format!("{squares:?}"))
    })?;

    let step = Step {
        title: "map over a range, and over nothing",
        python: "print(pool.map(f, range(10)))\nprint(pool.map(f, []))",
        expected: "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n[]",
    };
    stage.step(step, || {
        let (squares, none) = (pool.map(square::Task, 0..10)?, pool.map(square::Task, [])?);
        let is_expected = squares == [0, 1, 4, 9, 16, 25, 36, 49, 64, 81] && none.is_empty();
        seen(is_expected, format!("{squares:?}\n{none:?}"))
    })?;

    let step = Step {
        title: "imap",
        python: "it = pool.imap(f, range(10))\nprint(it)\nprint(next(it))\nprint(next(it))\nprint(it.next(timeout=1))\nprint(list(it))",
        expected: "an iterator\n0\n1\n4\n[9, 16, 25, 36, 49, 64, 81]",
    };
    stage.step(step, || {
        let mut it = pool.imap(square::Task, 0..10)?;
        let shown = format!("{it:?}");
        let first = it.next().transpose()?;
        let second = it.next().transpose()?;
        let third = it.next_timeout(GENEROUS).transpose()?;
        let rest = it.collect::<pool_core::Result<Vec<u64>>>()?;
        let is_expected = (first, second, third) == (Some(0), Some(1), Some(4)) && rest == [9, 16, 25, 36, 49, 64, 81];
        let [first, second, third] = [first, second, third].map(|value| value.unwrap_or(u64::MAX));
        seen(is_expected, format!("{shown}\n{first}\n{second}\n{third}\n{rest:?}"))
    })?;

    let step = Step {
        title: "imap, and a result that is not there yet",
        python: "it = pool.imap(time.sleep, [1])\nit.next(timeout=0.1)  # TimeoutError\nnext(it)",
        expected: "an error of the kind Timeout, nothing lost by it, and after the result the end",
    };
    stage.step(step, || {
        let mut it = pool.imap(nap::Task, [1000])?;
        let Some(Err(error)) = it.next_timeout(SHORT) else { return seen(false, "it was there") };
        let (then, end) = (it.next().transpose()?, it.next().transpose()?);
        let is_expected = error.kind() == ErrorKind::Timeout && then.is_some() && end.is_none();
        seen(is_expected, format!("{}\nthen {then:?}, then {end:?}", words(&error)))
    })?;
    Ok(())
}

fn show_async_maps(stage: &mut Stage<'_>, workers: usize) -> Result<(), Failure> {
    let pool = Pool::new(workers)?;
    let step = Step {
        title: "map_async",
        python: "res = pool.map_async(task, [1, 2, 3, 4, 5])\nprint(res.get())",
        expected: "one handle for all: [1, 4, 9, 16, 25]",
    };
    stage.step(step, || {
        let squares = pool.map_async(square::Task, [1, 2, 3, 4, 5])?.get()?;
        seen(squares == [1, 4, 9, 16, 25], format!("{squares:?}"))
    })?;

    let step = Step {
        title: "map_async, close, join, and then get",
        python: "res = pool.map_async(task, [1, 2, 3, 4, 5])\npool.close()\npool.join()\nprint(res.get())",
        expected: "results outlive the workers: [1, 4, 9, 16, 25]",
    };
    stage.step(step, || {
        let handle = pool.map_async(square::Task, [1, 2, 3, 4, 5])?;
        pool.close();
        pool.join()?;
        let left = pool.worker_pids().len();
        let squares = handle.get()?;
        seen(squares == [1, 4, 9, 16, 25] && left == 0, format!("{squares:?}, with {left} workers left"))
    })?;
    Ok(())
}

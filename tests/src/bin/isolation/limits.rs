//! Time limits: how soon they strike, and their cost.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, raise, signal};
use pool_core::{ErrorKind, Pool, Task, pool_task};
use serde::{Deserialize, Serialize};
use tests::tasks::square;

use crate::options::Size;
use crate::table::Row;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Endless {
    Looping,
    Sleeping,
    Stopped,
    DeafToSigterm,
}

const WAYS: [(Endless, &str); 4] = [
    (Endless::Looping, "loops"),
    (Endless::Sleeping, "sleeps"),
    (Endless::Stopped, "has stopped itself"),
    (Endless::DeafToSigterm, "ignores SIGTERM"),
];

#[pool_task]
fn never_end(way: Endless) {
    match way {
        Endless::Looping | Endless::Sleeping => {}
        Endless::Stopped => raise(Signal::SIGSTOP).expect("a valid signal"),
        Endless::DeafToSigterm => {
            // SAFETY:
            // - no handler of ours runs.
            unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.expect("a valid signal");
        }
    }
    loop {
        match way {
            Endless::Sleeping => std::thread::sleep(Duration::from_secs(1)),
            _ => {
                black_box(way);
            }
        }
    }
}

const LIMIT: Duration = Duration::from_secs(1);

/// In a pool of one worker, the next submission can only be run by its successor.
pub(crate) fn run(size: Size) -> Vec<Row> {
    let pool = Pool::new(1).expect("a pool");
    let row = |(way, what)| {
        let late = |_| {
            let start = Instant::now();
            let endless = pool.apply_async(never_end::Task.timeout(LIMIT), way).expect("an open pool");
            assert_eq!(pool.apply(square::Task, 3).expect("a successor"), 9);
            let took = start.elapsed();
            assert_eq!(endless.get().expect_err("it never ends").kind(), ErrorKind::TaskTimeout);
            took.saturating_sub(LIMIT).as_secs_f64() * 1e3
        };
        let values = (0..size.of([1, 3, 10])).map(late).collect();
        Row::new(format!("limit of 1 s of a task that {what}, until the next result"), "ms", values).median_max(50.0)
    };
    WAYS.into_iter().map(row).collect()
}

/// A map with a limit on each item, and without.
pub(crate) fn cost(size: Size) -> Vec<Row> {
    let pool = Pool::new(2).expect("a pool");
    let items = size.of([10_000, 1_000_000, 1_000_000_u64]);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..size.of([2, 10, 40]) {
        without.push(per_item(&pool, square::Task.chunk_size(5000), items));
        with.push(per_item(&pool, square::Task.chunk_size(5000).timeout(Duration::from_secs(60)), items));
    }
    let row = |how, values| Row::new(format!("item of a map of squares, {how} a time limit"), "ns", values);
    vec![row("without", without), row("with", with)]
}

fn per_item<'a>(pool: &Pool, task: impl Task<Args<'a> = u64, Output = u64>, items: u64) -> f64 {
    let start = Instant::now();
    let squares = pool.map(task, 0..items).expect("squares");
    assert_eq!(squares.len() as u64, items);
    start.elapsed().as_secs_f64() * 1e9 / items as f64
}

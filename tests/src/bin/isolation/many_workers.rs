//! A pool of a thousand workers: made, killed at once, resized, ended.

use std::time::{Duration, Instant};

use pool_core::{Pool, StartMethod, Task};
use tests::procs::{SOON, children, kill_9};
use tests::tasks::square;

use crate::options::Size;
use crate::table::Row;

/// Seconds that each step took in each run.
#[derive(Default)]
struct Times {
    made: Vec<f64>,
    replaced: Vec<f64>,
    resized: Vec<f64>,
    ended: Vec<f64>,
    /// Workers that were missing, or left, after a step.
    astray: Vec<f64>,
}

pub(crate) fn run(size: Size) -> Vec<Row> {
    let workers = size.of([100, 1000, 1000]);
    let mut times = Times::default();
    for _ in 0..size.of([1, 1, 5]) {
        once(workers, &mut times);
    }
    let row = |what: String, values| Row::new(what, "s", values);
    vec![
        row(format!("a pool of {workers} workers, until it is made"), times.made),
        row(format!("`kill -9` of {workers} workers at once, until each has a successor"), times.replaced),
        row(format!("from {workers} workers to 10 and back"), times.resized),
        row(format!("the end of {workers} workers"), times.ended),
        Row::new(format!("of {workers} workers, missing or left over after a step"), "", times.astray).worst_max(0.0),
    ]
}

fn once(workers: usize, times: &mut Times) {
    let mut time = |seconds: &mut Vec<f64>, step: &mut dyn FnMut() -> usize| {
        let start = Instant::now();
        let astray = step();
        seconds.push(start.elapsed().as_secs_f64());
        times.astray.push(astray as f64);
    };
    let mut pool = None;
    time(&mut times.made, &mut || {
        let made = Pool::builder().workers(workers).start_method(StartMethod::ForkServer).build().expect("a pool");
        let astray = missing(&made, workers);
        pool = Some(made);
        astray
    });
    let pool = pool.expect("made above");
    time(&mut times.replaced, &mut || {
        let pids = pool.worker_pids();
        pids.iter().for_each(|pid| kill_9(*pid));
        settles(|| pids.len().saturating_sub(pool.stats().workers_died as usize)) + missing(&pool, workers)
    });
    time(&mut times.resized, &mut || {
        pool.resize(10).expect("an open pool");
        let left = missing(&pool, 10);
        pool.resize(workers).expect("an open pool");
        left + missing(&pool, workers)
    });
    let squares = pool.map(square::Task.chunk_size(1), 0..10_000).expect("squares");
    assert_eq!(squares.len(), 10_000);
    time(&mut times.ended, &mut || {
        pool.close();
        pool.join().expect("an ordinary end");
        settles(|| children(std::process::id()).len())
    });
}

/// Workers that are missing or left over, once their number is 0 or has stopped falling.
fn missing(pool: &Pool, workers: usize) -> usize {
    settles(|| pool.worker_pids().len().abs_diff(workers))
}

fn settles(count: impl Fn() -> usize) -> usize {
    let (mut least, mut since) = (usize::MAX, Instant::now());
    loop {
        let now = count();
        if now < least {
            (least, since) = (now, Instant::now());
        }
        if now == 0 || since.elapsed() > SOON {
            return now;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

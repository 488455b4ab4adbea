//! Resources that are left behind by many pools, many jobs and many crashes.

use std::time::Instant;

use pool_core::Pool;
use tests::leaks::{Count, resident_bytes, resident_bytes_of};
use tests::tasks::{Way, crash, nap, square};

use crate::options::Size;
use crate::table::Row;

/// The resident memory may grow by so much, in KiB: the memory that an allocator keeps for later varies.
const GROWTH_MAX: f64 = 1024.0;

/// Memory that a worker shares with its host at the most, in KiB: two rings of a MiB, and some pages.
const RINGS_MAX: f64 = 2048.0 + 32.0;

/// A tenth is done first, and the resources after it must not have grown in the end.
fn warm_up(count: usize) -> usize {
    (count / 10).max(100)
}

fn growth(what: String, before: usize, after: usize) -> Row {
    Row::new(what, "KiB", vec![(after as f64 - before as f64) / 1024.0]).worst_max(GROWTH_MAX)
}

fn left(what: String, before: Count, after: Count) -> Row {
    let numbers = |count: Count| [count.fds, count.threads, count.mappings, count.children];
    let differences = numbers(before).into_iter().zip(numbers(after)).map(|(before, after)| before.abs_diff(after));
    let worst = differences.max().unwrap_or_default();
    Row::new(format!("{what}: descriptors, threads, mappings, children more"), "", vec![worst as f64]).worst_max(0.0)
}

/// Pools made, used and ended in one process, one after another.
pub(crate) fn pools(size: Size) -> Vec<Row> {
    let count = size.of([200, 1000, 10_000]);
    let (start, mut made) = (Count::take(), 0);
    let mut make = |count: usize| {
        let since = Instant::now();
        (made..made + count).for_each(one_pool);
        made += count;
        let rate = count as f64 / since.elapsed().as_secs_f64();
        let (now, resident) = (Count::settled(start), resident_bytes());
        eprintln!("after {made} pools: {now:?}, {} KiB resident", resident >> 10);
        (rate, now, resident)
    };
    let mut last = make(100);
    let step = warm_up(count);
    if step > 100 {
        last = make(step - 100);
    }
    let (mut rates, before) = (Vec::new(), last.2);
    for _ in 1..count / step {
        last = make(step);
        rates.push(last.0);
    }
    vec![
        Row::rates("pools of 2 made, used and ended", "1/s", rates),
        left(format!("{count} pools"), start, last.1),
        growth(format!("{count} pools: resident memory more than after {step}"), before, last.2),
    ]
}

/// Ends in order, or is dropped with work open.
fn one_pool(number: usize) {
    let pool = Pool::new(2).expect("a pool");
    assert_eq!(pool.apply(square::Task, 3).expect("a square"), 9);
    if number.is_multiple_of(2) {
        pool.close();
        pool.join().expect("an ordinary end");
    } else {
        drop(pool.map_async(nap::Task, [1000; 10]).expect("an open pool"));
    }
}

/// Jobs of one pool that lives long.
pub(crate) fn jobs(size: Size) -> Vec<Row> {
    let count = size.of([20_000, 100_000, 1_000_000]);
    let pool = Pool::new(2).expect("a pool");
    let work = |count: usize| {
        for _ in 0..count.div_ceil(BATCH) {
            let jobs: Vec<_> = (0..BATCH).map(|_| pool.apply_async(square::Task, 3).expect("an open pool")).collect();
            jobs.into_iter().for_each(|job| assert_eq!(job.get().expect("a square"), 9));
        }
    };
    // How far rings grow is the moment's chance, so there is a bound for that alone.
    let of_host = || resident_bytes_of(std::process::id());
    let of_workers = || {
        let all = pool.worker_pids().into_iter().map(resident_bytes_of);
        all.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1))).unwrap_or_default()
    };
    work(warm_up(count));
    let (host, worker) = (of_host().0, of_workers().0);
    let start = Instant::now();
    work(count);
    let rate = count as f64 / start.elapsed().as_secs_f64();
    vec![
        Row::rates(format!("{count} jobs of one pool"), "1/s", vec![rate]),
        growth(format!("{count} jobs: memory of the host's own more"), host, of_host().0),
        growth(format!("{count} jobs: memory of a worker's own more"), worker, of_workers().0),
        Row::new(format!("{count} jobs: rings of a worker"), "KiB", vec![of_workers().1 as f64 / 1024.0])
            .worst_max(RINGS_MAX),
    ]
}

/// Jobs that are out at a time.
const BATCH: usize = 1000;

/// Crashes of one pool that lives on.
pub(crate) fn crashes(size: Size) -> Vec<Row> {
    let count = size.of([200, 1000, 10_000]);
    let pool = Pool::new(2).expect("a pool");
    let work = |count: usize| {
        for number in 0..count {
            let way = [Way::Kill, Way::Abort, Way::ExitThree, Way::Segfault][number % 4];
            pool.apply(crash::Task, Some(way)).expect_err("it crashes");
        }
        // All of them are up.
        assert!(tests::procs::eventually(|| pool.worker_pids().len() == 2), "a worker is missing");
    };
    work(warm_up(count));
    let (before, resident) = (Count::take(), resident_bytes());
    let start = Instant::now();
    work(count);
    let rate = count as f64 / start.elapsed().as_secs_f64();
    vec![
        Row::rates(format!("{count} crashes of one pool"), "1/s", vec![rate]),
        left(format!("{count} crashes"), before, Count::settled(before)),
        growth(format!("{count} crashes: resident memory of the host more"), resident, resident_bytes()),
    ]
}

//! A pool under full load while its workers are killed, stopped and made to fail at random; then the books are checked.
//!
//! `cargo xtask chaos [--seconds S] [--workers N] [--seed K]`. The exit code is 1 unless every job has ended exactly once
//! and nothing is left behind.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool_core::prelude::*;

/// What a task is asked to do with its number.
const HONEST: u64 = 90;

/// Gives `3 x + 1`, or panics, exits, aborts, hangs or sleeps, as its number says.
#[pool_task(timeout = "300ms")]
fn ordeal(x: u64) -> u64 {
    match x % 100 {
        ..HONEST => {}
        90 | 91 => panic!("on purpose"),
        92 => std::process::exit(3),
        93 => std::process::abort(),
        94 if x.is_multiple_of(7) => thread::sleep(Duration::from_secs(60)),
        _ => thread::sleep(Duration::from_micros(x % 1000)),
    }
    3 * x + 1
}

/// A harmless one, for maps of many.
#[pool_task(retries = 20)]
fn triple(x: u64) -> u64 {
    3 * x + 1
}

/// Numbers that look random and come again with the same seed (Steele, Lea, Flood: splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What was submitted and what came of it, item by item.
#[derive(Default)]
struct Ledger {
    submitted: AtomicU64,
    succeeded: AtomicU64,
    wrong: AtomicU64,
    callbacks_due: AtomicU64,
    callbacks: AtomicU64,
    failed: Mutex<BTreeMap<String, u64>>,
}

impl Ledger {
    fn submit(&self, items: u64) {
        self.submitted.fetch_add(items, Ordering::Relaxed);
    }

    fn settle(&self, x: u64, result: Result<u64, Error>) {
        match result {
            Ok(value) if value == 3 * x + 1 => self.succeeded.fetch_add(1, Ordering::Relaxed),
            Ok(_) => self.wrong.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                *self.failed.lock().unwrap().entry(format!("{:?}", error.kind())).or_default() += 1;
                0
            }
        };
    }

    fn settled(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed) + self.failed.lock().unwrap().values().sum::<u64>()
    }
}

struct Options {
    seconds: u64,
    workers: usize,
    seed: u64,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seconds: 10, workers: 4, seed: 1 };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--seconds", Some(seconds)) => options.seconds = seconds,
            ("--workers", Some(workers @ 1..)) => options.workers = workers as usize,
            ("--seed", Some(seed)) => options.seed = seed,
            _ => return Err("usage: chaos [--seconds S] [--workers N] [--seed K]".to_owned()),
        }
    }
    Ok(options)
}

/// What the process has: descriptors, threads, mappings of shared memory, children.
fn possessions() -> [usize; 4] {
    let entries = |path: &str| std::fs::read_dir(path).map_or(0, Iterator::count);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let children: usize = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .map(|children| children.split_whitespace().count())
        .sum();
    let shared = maps.lines().filter(|line| line.contains("memfd:pool")).count();
    [entries("/proc/self/fd"), entries("/proc/self/task"), shared, children]
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    let before = possessions();
    let ledger = Arc::new(Ledger::default());
    let pool = Pool::new(options.workers)?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let is_over = AtomicBool::new(false);
    // A hang is the one thing that the ledger cannot show.
    let watchdog = Duration::from_secs(options.seconds + 120);
    let watched = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&watched);
    let watcher = thread::spawn(move || {
        let start = Instant::now();
        while still.load(Ordering::Relaxed) {
            if start.elapsed() > watchdog {
                eprintln!("chaos: still not done after {watchdog:?}, so something hangs");
                std::process::abort();
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let (kills, stops) = thread::scope(|scope| {
        let (pool, ledger, is_over) = (&pool, &ledger, &is_over);
        let seeds = (0..).map(|n| Random(options.seed.wrapping_mul(1_000_003).wrapping_add(n)));
        let mut seeds = seeds.into_iter();
        let mut random = || seeds.next().expect("endless");
        let (mut a, mut b, mut c, mut d, mut e) = (random(), random(), random(), random(), random());
        let load = [
            scope.spawn(move || repeat(end, || calls(pool, ledger, &mut a))),
            scope.spawn(move || repeat(end, || futures(pool, ledger, &mut b))),
            scope.spawn(move || repeat(end, || maps(pool, ledger, &mut c))),
            scope.spawn(move || repeat(end, || iterators(pool, ledger, &mut d))),
        ];
        let killer = scope.spawn(move || harass(pool, is_over, &mut e));
        for thread in load {
            thread.join().expect("the load does not panic");
        }
        is_over.store(true, Ordering::Relaxed);
        killer.join().expect("nor does the killer")
    });
    let stats = pool.stats();
    let is_usable = pool.map(triple::Task, 0..1000)?.iter().zip(0..).all(|(&y, x)| y == 3 * x + 1);
    pool.close();
    pool.join()?;
    drop(pool);
    watched.store(false, Ordering::Relaxed);
    watcher.join().expect("it only watches");
    let after = settle_down(before);
    report(options, &ledger, stats, (kills, stops), is_usable, before, after)
}

/// Threads that have been told to end may take a moment.
fn settle_down(before: [usize; 4]) -> [usize; 4] {
    let patience = Instant::now() + Duration::from_secs(10);
    while possessions() != before && Instant::now() < patience {
        thread::sleep(Duration::from_millis(10));
    }
    possessions()
}

fn repeat(end: Instant, mut round: impl FnMut()) {
    while Instant::now() < end {
        round();
    }
}

/// Single calls, many at once; some are cancelled.
fn calls(pool: &Pool, ledger: &Ledger, random: &mut Random) {
    let xs: Vec<_> = (0..1 + random.below(200)).map(|_| random.below(1 << 40)).collect();
    ledger.submit(xs.len() as u64);
    let jobs: Vec<_> = xs.iter().map(|&x| (x, pool.apply_async(ordeal::Task, x))).collect();
    for (x, job) in jobs {
        if let Ok(job) = &job
            && random.below(20) == 0
        {
            job.cancel();
        }
        ledger.settle(x, job.and_then(AsyncResult::get));
    }
}

/// Calls whose outcome comes by callback.
fn futures(pool: &Pool, ledger: &Arc<Ledger>, random: &mut Random) {
    for _ in 0..50 {
        let x = random.below(1 << 40);
        ledger.submit(1);
        match pool.apply_async(ordeal::Task.retries(1), x) {
            Ok(job) => {
                ledger.callbacks_due.fetch_add(1, Ordering::Relaxed);
                let ledger = Arc::clone(ledger);
                job.on_done(move |result| {
                    ledger.callbacks.fetch_add(1, Ordering::Relaxed);
                    ledger.settle(x, result);
                });
            }
            Err(error) => ledger.settle(x, Err(error)),
        }
    }
    while ledger.callbacks.load(Ordering::Relaxed) < ledger.callbacks_due.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(200));
    }
}

fn maps(pool: &Pool, ledger: &Ledger, random: &mut Random) {
    let items = random.below(20_000);
    let base = random.below(1 << 40);
    ledger.submit(items);
    match pool.map_results(triple::Task, base..base + items) {
        Ok(results) => (base..base + items).zip(results).for_each(|(x, result)| ledger.settle(x, result)),
        Err(error) => (base..base + items).for_each(|x| ledger.settle(x, Err(error_like(&error)))),
    }
}

fn iterators(pool: &Pool, ledger: &Ledger, random: &mut Random) {
    let items = random.below(500);
    let base = random.below(1 << 40);
    ledger.submit(items);
    let results = pool.imap(ordeal::Task, base..base + items).expect("the pool is open");
    let mut xs = base..base + items;
    for result in results {
        ledger.settle(xs.next().expect("no more results than items"), result);
    }
    // What an iterator did not hand out is lost.
    assert!(xs.next().is_none(), "results are missing");
}

fn error_like(error: &Error) -> Error {
    Pool::new(0).map(drop).expect_err(&error.to_string())
}

/// Kills a worker every 1 to 50 ms, and stops one now and then.
fn harass(pool: &Pool, is_over: &AtomicBool, random: &mut Random) -> (u64, u64) {
    let (mut kills, mut stops) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(1000 + random.below(49_000)));
        let pids = pool.worker_pids();
        if pids.is_empty() {
            continue;
        }
        let pid = Pid::from_raw(pids[random.below(pids.len() as u64) as usize] as i32);
        if random.below(100) == 0 {
            stops += u64::from(kill(pid, Signal::SIGSTOP).is_ok());
            thread::sleep(Duration::from_millis(random.below(400)));
            // It may be gone by now, for having taken too long.
            let _ = kill(pid, Signal::SIGCONT);
        } else {
            kills += u64::from(kill(pid, Signal::SIGKILL).is_ok());
        }
    }
    (kills, stops)
}

fn report(
    options: &Options,
    ledger: &Ledger,
    stats: pool_core::Stats,
    (kills, stops): (u64, u64),
    is_usable: bool,
    before: [usize; 4],
    after: [usize; 4],
) -> Result<bool, Box<dyn std::error::Error>> {
    let out = &mut io::stdout().lock();
    let (submitted, settled) = (ledger.submitted.load(Ordering::Relaxed), ledger.settled());
    let (lost, doubled) = (submitted.saturating_sub(settled), settled.saturating_sub(submitted));
    let wrong = ledger.wrong.load(Ordering::Relaxed);
    writeln!(out, "{} s, {} workers, seed {}", options.seconds, options.workers, options.seed)?;
    writeln!(out, "submitted          {submitted:>10}")?;
    writeln!(out, "succeeded          {:>10}", ledger.succeeded.load(Ordering::Relaxed))?;
    for (kind, count) in &*ledger.failed.lock().unwrap() {
        writeln!(out, "failed: {kind:<11}{count:>10}")?;
    }
    writeln!(out, "wrong value        {wrong:>10}")?;
    writeln!(out, "lost               {lost:>10}")?;
    writeln!(out, "doubled            {doubled:>10}")?;
    writeln!(out, "kill -9            {kills:>10}")?;
    writeln!(out, "kill -STOP         {stops:>10}")?;
    writeln!(out, "processes started  {:>10}", stats.workers_started)?;
    writeln!(out, "processes died     {:>10}", stats.workers_died)?;
    for (what, (before, after)) in ["fds", "threads", "mappings", "children"].iter().zip(before.iter().zip(after)) {
        writeln!(out, "{what:<9} before {before}, after {after}")?;
    }
    writeln!(out, "usable afterwards: {}", if is_usable { "yes" } else { "no" })?;
    Ok(lost == 0 && doubled == 0 && wrong == 0 && is_usable && before == after)
}

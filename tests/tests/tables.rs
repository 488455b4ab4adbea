//! The tables "From Python" in the README and in the guide: this program has each line of Rust that they show.

#![allow(clippy::print_stdout, reason = "a table prints")]

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use pool_core::prelude::*;
use pool_core::{
    PoolBuilder, Priority, Report, SharedVec, as_completed, current_item, current_worker, report, wait_any,
};

const PAGES: [&str; 2] =
    [include_str!("../../README.md"), include_str!("../../pool-core/guide/from_multiprocessing.md")];

#[test]
fn each_line_of_the_tables_is_in_this_program() {
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    let program = dense(include_str!("tables.rs"));
    let lines: Vec<String> = PAGES.iter().flat_map(|page| page.lines()).flat_map(code_of_row).collect();
    // `…` stands for anything, and `report()` for a call of it.
    let is_here = |code: &String| code.split('…').all(|part| program.contains(dense(part).trim_end_matches(')')));
    let missing: Vec<&String> = lines.iter().filter(|code| !is_here(code)).collect();
    assert!(missing.is_empty(), "in a table, and not in this program: {missing:#?}");
    assert!(lines.len() > 90, "{} lines of code are in the tables", lines.len());
}

/// The code in the second cell of a row that tells how a call is written.
fn code_of_row(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "¦");
    let cells: Vec<&str> = line.split('|').collect();
    let ["", _, cell, ""] = cells[..] else { return Vec::new() };
    let spans = cell.split('`').skip(1).step_by(2).map(|code| code.replace('¦', "|"));
    // Names of programs, features and types stand for themselves.
    spans.filter(|code| ["(", "::", "#["].iter().any(|mark| code.contains(mark))).collect()
}

static TOTAL: AtomicU64 = AtomicU64::new(0);

#[pool_task]
fn square(x: u64) -> u64 {
    x * x
}

#[pool_task]
fn area(x: u64, y: u64) -> u64 {
    x * y
}

#[pool_task]
fn nothing() {}

#[pool_task]
fn set(total: u64) {
    TOTAL.store(total, Ordering::Relaxed);
}

#[pool_task]
fn total() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

#[pool_task]
fn step(steps: u64) -> u64 {
    for done in 0..steps {
        pool_core::report(&done);
        if pool_core::is_cancelled() {
            return done;
        }
    }
    report(&steps);
    current_item().map_or(0, |item| item.index) + current_worker().map_or(0, |_| steps)
}

#[pool_task]
fn fill(part: &mut [u64], offset: usize) {
    part.iter_mut().enumerate().for_each(|(i, element)| *element = (offset + i) as u64);
}

struct Connection(u64);

#[rustfmt::skip]
#[pool_state] fn open(first: u64) -> Connection { Connection(first) }

#[pool_task]
fn next(#[state] db: &mut Connection) -> u64 {
    db.0 += 1;
    db.0
}

type Tested = Result<(), Box<dyn Error>>;

#[test]
fn pools_and_calls() -> Tested {
    use square as f;
    let (x, xs, d) = (3, [1, 2, 3], Duration::from_secs(60));
    let pool = Pool::builder().build()?;
    assert_eq!(pool.workers(), std::thread::available_parallelism()?.get());
    let pool = Pool::new(4)?;
    assert_eq!(pool.apply(f::Task, x)?, 9);
    let mut r = pool.apply_async(f::Task, x)?;
    r.wait();
    assert!(r.wait_timeout(d) && r.ready() && r.successful() == Some(true));
    assert_eq!(r.get_timeout(d)?, 9);
    let mut r = pool.apply_async(f::Task, x)?;
    assert_eq!(r.get_timeout(Duration::from_secs(1))?, 9);
    let r = pool.apply_async(f::Task, x)?;
    assert_eq!(r.get()?, 9);
    assert_eq!(pool.map(f::Task, xs)?, [1, 4, 9]);
    let r = pool.map_async(f::Task, xs)?;
    assert_eq!(r.get()?, [1, 4, 9]);
    let mut it = pool.imap(f::Task, xs)?;
    assert_eq!(it.next_timeout(d).transpose()?, Some(1));
    assert_eq!(it.next_timeout(Duration::from_secs(1)).transpose()?, Some(4));
    assert_eq!(pool.imap_unordered(f::Task, xs)?.sum::<Result<u64, _>>()?, 14);
    assert_eq!(pool.map(f::Task.chunk_size(20), xs)?, [1, 4, 9]);
    pool.close();
    pool.cancel_pending();
    pool.join()?;
    pool.terminate();
    Ok(())
}

#[test]
fn several_arguments_and_none() -> Tested {
    let pool = Pool::new(1)?;
    {
        use area as f;
        let (x, y) = (2, 3);
        let pairs = [(1, 2), (3, 4)];
        assert_eq!(pool.apply(f::Task, (x, y))?, 6);
        assert_eq!(pool.map(f::Task, pairs)?, [2, 12]);
    }
    use nothing as f;
    pool.apply(f::Task, ())?;
    Ok(())
}

#[test]
fn callbacks_and_kinds_of_errors() -> Tested {
    let pool = Pool::new(1)?;
    let (sender, results) = std::sync::mpsc::channel();
    let r = pool.apply_async(square::Task, 2)?;
    r.on_done(move |result| sender.send(result).unwrap());
    assert_eq!(results.recv()??, 4);
    let c = |_| ();
    let job = pool.apply_async(square::Task, 2)?;
    job.on_done(c);
    let r = pool.apply_async(square::Task, 2)?;
    r.on_done(|result| assert!(result.is_ok()));
    let job = pool.apply_async(square::Task, 2)?;
    job.cancel();
    let kinds = [ErrorKind::Timeout, ErrorKind::Panicked, ErrorKind::WorkerDied];
    assert!(job.get().is_ok_and(|value| value == 4) || !kinds.contains(&ErrorKind::Cancelled));
    std::process::Command::new("true").status()?;
    Ok(())
}

#[test]
fn options_of_pools() -> Tested {
    let (x, args, n) = (7, 7, 100);
    use set as f;
    let pool = Pool::builder().workers(4).initializer(f::Task, x).build()?;
    assert_eq!(pool.apply(total::Task, ())?, 7);
    let builder = Pool::builder().initializer(f::Task, args);
    let builder = builder.max_tasks_per_worker(n).max_tasks_per_worker(100).start_method(StartMethod::Spawn);
    let builder = builder.threads_per_worker(1).worker_env("CUDA_VISIBLE_DEVICES", ["0", "1"]).seed(42);
    let pool =
        builder.max_pending(100).finalizer(f::Task, args).on_output(|line| assert!(!line.text().is_empty())).build()?;
    pool.wait_ready()?;
    assert_eq!(pool.apply(total::Task, ())?, 7);
    pool.wait_idle()?;
    let n = 2;
    pool.resize(n)?;
    assert_eq!(pool.broadcast(f::Task, args)?.len(), pool.workers());
    let thread = Pool::builder().workers(1).in_process().build()?;
    assert_eq!(thread.apply(square::Task, 3)?, 9);
    let _: fn(PoolBuilder) -> PoolBuilder = PoolBuilder::in_process;
    Ok(())
}

#[test]
fn states_and_preloads() -> Tested {
    let args = 7;
    use set as load;
    let pool = Pool::builder().workers(1).state(open::State, args).preload(load::Task, args).build()?;
    assert_eq!((pool.apply(next::Task, ())?, pool.apply(total::Task, ())?), (8, 7));
    Ok(())
}

#[test]
fn arrays() -> Tested {
    use fill as f;
    let (mut vec, n) = (SharedVec::<u64>::zeroed(1000)?, 300);
    let pool = Pool::new(2)?;
    let parts = pool.map_chunks_mut(f::Task, &mut vec, n, ())?;
    assert!(parts.len() == 4 && vec[999] == 999);
    Ok(())
}

#[test]
fn options_of_tasks() -> Tested {
    use step as f;
    let (d, g, n) = (Duration::from_secs(60), Duration::from_secs(1), 50);
    let pool = Pool::builder().workers(2).max_pending(n).build()?;
    let by_bytes = |n| Pool::builder().workers(2).max_pending_bytes(n).build();
    assert_eq!(by_bytes(1 << 20)?.apply(square::Task, 3)?, 9);
    let task = f::Task.timeout(d).grace(g).retries(3).retry_panics().prefetch(n);
    let task = task.max_concurrent(2).label("nightly");
    assert_eq!(pool.map_results(task, [0, 0])?.len(), 2);
    assert_eq!(pool.apply(f::Task.priority(Priority::High), 3)?, 3);
    let r = pool.apply_async(f::Task.timeout(d).reports(), 3)?;
    let r = r.on_report(|report: Report<u64>| assert!(report.value.is_ok()));
    assert_eq!(r.cancel_on_drop().get()?, 3);
    let r = pool.try_apply_async(f::Task, 1)?;
    r.cancel();
    let job = futures::executor::block_on(async { pool.submit(f::Task, 1).await })?;
    assert_eq!(wait_any(&[job], None), Some(0));
    assert_eq!(as_completed([pool.apply_async(f::Task, 2)?]).count(), 1);
    Ok(())
}

#[test]
fn lazy_maps() -> Tested {
    use futures::StreamExt;
    let pool = Pool::new(1)?;
    let mut it = pool.imap(square::Task, 0..)?;
    assert_eq!(it.next().transpose()?, Some(0));
    it.stop_input();
    assert!(it.count() < 10_000);
    let it = pool.imap(square::Task, 0..3)?;
    assert!(it.detailed().all(|done| done.result.is_ok()));
    let it = pool.imap(square::Task, 0..3)?;
    assert_eq!(futures::executor::block_on(it.into_stream().count()), 3);
    Ok(())
}

#[test]
fn looking_inside() -> Tested {
    let pool = Pool::builder().workers(1).on_event(|event| drop(event.clone())).forward_tracing().build()?;
    pool.apply(square::Task, 3)?;
    println!("{}", pool.insights());
    assert!(pool.running().len() <= 1);
    // In a folder of the test's own this would be another line.
    drop(Pool::builder().trace("/tmp/trace.json"));
    Ok(())
}

/// Not called, since it reads the standard input of the test.
#[allow(dead_code)]
fn other_languages() -> pool_core::Result<pool_core::jsonl::Summary> {
    use std::io::{stdin, stdout};
    pool_core::jsonl::run(stdin(), stdout())
}

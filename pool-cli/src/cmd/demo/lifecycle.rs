//! A pool from its beginning to its end: `Pool`, `apply`, `apply_async`, `close`, `join`, `terminate`.

use std::collections::BTreeSet;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use pool_core::{AsyncResult, ErrorKind, Pool, PoolState, Result};

use super::stage::{Stage, Step, seen, words};
use super::tasks::{nap, run, square, visit, visits};
use crate::cmd::ending::Failure;
use crate::watch::Watch;

/// A task that will certainly not end by itself.
pub(super) const ENDLESS_MS: u64 = 30_000;

/// "At once", even on a machine that has much else to do.
pub(super) const AT_ONCE: Duration = Duration::from_secs(10);

pub(super) fn show(stage: &mut Stage<'_>, pool: Pool, watch: &Watch) -> std::result::Result<(), Failure> {
    let workers = pool.workers();
    watch.beside(&pool, || show_beginning(stage, &pool))?;
    drop(pool);
    show_closing(stage, workers)?;
    show_terminating(stage, workers)?;
    Ok(())
}

fn show_beginning(stage: &mut Stage<'_>, pool: &Pool) -> std::result::Result<(), Failure> {
    let workers = pool.workers();
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let step = Step {
        title: "A pool without a number",
        python: "p = Pool()  # as many processes as CPUs",
        expected: format!("as many workers as this process may use CPUs: {cpus}"),
    };
    stage.step(step, || {
        let pool = Pool::builder().build()?;
        seen(pool.workers() == cpus, format!("{} workers", pool.workers()))
    })?;

    let step = Step {
        title: "A pool with a number",
        python: format!("p = Pool({workers})"),
        expected: format!("{workers} worker processes as soon as there is a pool"),
    };
    stage.step(step, || {
        let pids = pool.worker_pids();
        seen(pids.len() == workers, format!("the processes {pids:?}"))
    })?;

    let step = Step { title: "apply: call and wait", python: "p.apply(f, (10,))", expected: "100" };
    stage.step(step, || {
        let value = pool.apply(square::Task, 10)?;
        seen(value == 100, value.to_string())
    })?;

    let step = Step {
        title: "Ten times apply_async",
        python: "for i in range(10):\n    p.apply_async(run, args=(i,))  # prints its pid, sleeps, prints the time",
        expected: format!("each in one of the {workers} workers, several at a time, and none in this process"),
    };
    stage.step(step, || ten_tasks(pool))?;

    let step = Step {
        title: "Global variables",
        python: "p.apply(count_up)  # count += 1 in the worker",
        expected: "counted in the worker, and nothing seen of it here",
    };
    stage.step(step, || {
        let (there, here) = (pool.apply(visit::Task, ())?, visits());
        seen(there >= 1 && here == 0, format!("{there} in the worker, {here} here: a process has its own memory"))
    })?;
    Ok(())
}

fn ten_tasks(pool: &Pool) -> Result<super::stage::Seen> {
    let begun = Instant::now();
    // Python's example draws 1 to 4 seconds by lot. Here each takes its turn, so that every run is alike.
    let submit = |name| pool.apply_async(run::Task, (name, 100 * (1 + u64::from(name) % 4)));
    let jobs: Vec<AsyncResult<u32>> = (0..10).map(submit).collect::<Result<_>>()?;
    let submitted = begun.elapsed();
    let pids: BTreeSet<u32> = jobs.into_iter().map(AsyncResult::get).collect::<Result<_>>()?;
    let are_workers = !pids.contains(&process::id()) && pids.iter().all(|pid| pool.worker_pids().contains(pid));
    // Not all of them, necessarily: a machine may be so busy that one worker has no turn in half a second.
    let is_shared_out = pids.len() >= pool.workers().min(2);
    let what = format!(
        "submitted in {submitted:.1?}; run by {pids:?} in {:.2} s, and this process is {}",
        begun.elapsed().as_secs_f64(),
        process::id()
    );
    seen(are_workers && is_shared_out, what)
}

fn show_closing(stage: &mut Stage<'_>, workers: usize) -> std::result::Result<(), Failure> {
    let pool = Pool::new(workers)?;
    let step = Step {
        title: "join before close",
        python: "p.join()  # ValueError: Pool is still running",
        expected: "an error of the kind Running, and the pool works on",
    };
    stage.step(step, || {
        let Err(error) = pool.join() else { return seen(false, "it joined an open pool") };
        let value = pool.apply(square::Task, 3)?;
        seen(error.kind() == ErrorKind::Running && value == 9, format!("{}\nthen square(3) is {value}", words(&error)))
    })?;

    let naps: Vec<AsyncResult<()>> = (0..6).map(|_| pool.apply_async(nap::Task, 100)).collect::<Result<_>>()?;
    let step = Step {
        title: "close, then submit",
        python: "p.close()\np.apply_async(f, (10,))  # ValueError: Pool not running",
        expected: "an error of the kind Closed from every submitting method; jobs submitted before go on",
    };
    stage.step(step, || {
        pool.close();
        let refusals = [
            pool.apply(square::Task, 10).err(),
            pool.apply_async(square::Task, 10).err(),
            pool.map(square::Task, 0..10).err(),
            pool.map_async(square::Task, 0..10).err(),
            pool.imap(square::Task, 0..10).err(),
        ];
        let are_closed =
            refusals.iter().all(|error| error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Closed));
        let what = refusals[1].as_ref().map_or_else(|| "it was taken".to_owned(), words);
        seen(are_closed && pool.state() == PoolState::Closed, what)
    })?;

    let step = Step {
        title: "join",
        python: "p.join()",
        expected: "waits until the six naps submitted before are done and all workers have left",
    };
    stage.step(step, || {
        pool.join()?;
        let done = naps.iter().filter(|nap| nap.successful() == Some(true)).count();
        let left = pool.worker_pids().len();
        seen(done == 6 && left == 0, format!("{done} of 6 are done, {left} workers are left"))
    })?;

    let step = Step {
        title: "terminate after join, as the first example ends",
        python: "p.terminate()",
        expected: "nothing more to do, and no error",
    };
    stage.step(step, || {
        pool.terminate();
        pool.join()?;
        seen(true, "nothing")
    })?;
    Ok(())
}

fn show_terminating(stage: &mut Stage<'_>, workers: usize) -> std::result::Result<(), Failure> {
    let step = Step {
        title: "terminate, with tasks running and waiting",
        python: "p.terminate()  # whether tasks are done or not",
        expected: "no wait for tasks of 30 s; every handle says Terminated (in Python, get would wait for ever)",
    };
    stage.step(step, || {
        let pool = Pool::new(workers)?;
        let jobs = endless_jobs(&pool, 2 * workers)?;
        let begun = Instant::now();
        pool.terminate();
        pool.join()?;
        let took = begun.elapsed();
        let (terminated, what) = count_terminated(jobs);
        let left = pool.worker_pids().len();
        let is_expected = terminated == 2 * workers && left == 0 && took < AT_ONCE;
        seen(is_expected, format!("{what}, after {took:.1?}; {left} workers are left"))
    })?;

    let step = Step {
        title: "The end of a scope, with tasks running",
        python: format!("with Pool(processes={workers}) as pool: ..."),
        expected: "as terminate: the pool is dropped, its processes are gone, its handles say Terminated",
    };
    stage.step(step, || {
        let (jobs, begun) = {
            let pool = Pool::new(workers)?;
            (endless_jobs(&pool, workers)?, Instant::now())
        };
        let took = begun.elapsed();
        let (terminated, what) = count_terminated(jobs);
        seen(terminated == workers && took < AT_ONCE, format!("{what}, after {took:.1?}"))
    })?;
    Ok(())
}

/// Jobs that do not end, as many as can run at once of them having begun.
fn endless_jobs(pool: &Pool, count: usize) -> Result<Vec<AsyncResult<()>>> {
    let jobs = (0..count).map(|_| pool.apply_async(nap::Task, ENDLESS_MS)).collect::<Result<_>>()?;
    thread::sleep(Duration::from_millis(100));
    Ok(jobs)
}

fn count_terminated(jobs: Vec<AsyncResult<()>>) -> (usize, String) {
    let all = jobs.len();
    let outcomes = jobs.into_iter().map(AsyncResult::get);
    let terminated = outcomes.filter(|outcome| matches!(outcome, Err(error) if error.kind() == ErrorKind::Terminated));
    let terminated = terminated.count();
    (terminated, format!("{terminated} of {all} handles say Terminated"))
}

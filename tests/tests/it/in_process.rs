//! Workers that are threads of the host.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use pool_core::prelude::*;
use pool_core::{ChunkTask, SharedVec, is_cancelled};
use tests::gate::{Gate, count, pass};
use tests::procs::eventually;
use tests::tasks::square;
use tests::trial::{Check, Setup, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(tasks_run_in_threads_of_the_host),
        once(a_panic_costs_its_item_alone_and_is_not_printed),
        once(hooks_of_the_host_hear_its_own_panics),
        once(an_item_over_its_limit_has_timed_out_when_it_returns),
        once(an_item_that_timed_out_is_tried_again),
        once(a_cancelled_item_is_told),
        once(items_behind_a_killed_one_run_once),
        once(dropping_the_pool_tells_running_items),
        once(options_of_processes_have_no_effect),
        once(threads_have_names_stacks_cpus_and_signals),
        once(arrays_are_written_in_place),
        once(an_array_comes_back_when_nobody_writes_it),
        once(a_copy_that_a_task_forks_does_not_answer),
        once(a_task_may_use_another_pool_and_this_one),
        once(a_task_does_not_wait_for_itself),
        once(a_task_may_drop_its_own_pool),
        once(seeds_of_two_workers_differ),
        once(a_failing_initializer_breaks_the_pool),
        once(a_preload_is_no_worker_and_is_told_to_end),
        once(no_text_says_that_a_thread_was_killed),
        once(pools_of_threads_and_processes_side_by_side),
    ]
}

fn threads(workers: usize) -> Pool {
    Pool::builder().workers(workers).in_process().build().unwrap()
}

static CALLS: AtomicU32 = AtomicU32::new(0);

#[pool_task]
fn call() -> (u32, u32) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    (std::process::id(), current_worker().unwrap().pid())
}

fn tasks_run_in_threads_of_the_host(_: &Setup) {
    let pool = threads(2);
    let (pid, tid) = pool.apply(call::Task, ()).unwrap();
    assert_eq!(pid, std::process::id());
    assert_eq!(CALLS.load(Ordering::Relaxed), 1, "statics are shared");
    assert!(pool.worker_pids().contains(&tid));
    assert!(std::fs::exists(format!("/proc/self/task/{tid}")).unwrap());
    let insights = pool.insights();
    assert!(insights.in_process && insights.to_string().starts_with("2 workers in threads of this process, up "));
    assert!(insights.workers.iter().all(|worker| worker.rss_bytes.is_none()));
    assert!(!Pool::new(1).unwrap().insights().in_process);
    assert!(current_worker().is_none() && pool_core::current_item().is_none());
}

#[pool_task]
fn fail_at(x: u64, at: u64) -> u64 {
    assert_ne!(x, at, "not {x}");
    x
}

fn a_panic_costs_its_item_alone_and_is_not_printed(_: &Setup) {
    let pool = threads(2);
    let pids = pool.worker_pids();
    let results = pool.map_results(fail_at::Task, (0..1000).map(|x| (x, 700))).unwrap();
    for (x, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, x),
            Err(error) => {
                assert_eq!((error.kind(), error.item(), x), (ErrorKind::Panicked, Some(700), 700));
                let text = error.to_string();
                assert!(text.contains("in_process.rs:") && text.contains("not 700"), "{text}");
            }
        }
    }
    assert_eq!(pool.stats().items_failed, 1);
    assert_eq!(pool.worker_pids(), pids);
}

fn hooks_of_the_host_hear_its_own_panics(_: &Setup) {
    static HEARD: AtomicU32 = AtomicU32::new(0);
    std::panic::set_hook(Box::new(|_| _ = HEARD.fetch_add(1, Ordering::Relaxed)));
    // The second pool adds no second hook.
    let pools = [threads(1), threads(1)];
    thread::spawn(|| panic!("of the host")).join().unwrap_err();
    assert_eq!(HEARD.load(Ordering::Relaxed), 1);
    for pool in &pools {
        pool.apply(fail_at::Task, (1, 1)).unwrap_err();
    }
    assert_eq!(HEARD.load(Ordering::Relaxed), 1, "panics of tasks are told to callers");
    drop(pools);
    let _ = std::panic::take_hook();
}

const SHORT: Duration = Duration::from_millis(30);

/// Returns after it was told to end, when the host has noticed, too.
#[pool_task]
fn until_cancelled(runs: &str) -> u64 {
    count(runs);
    while !is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(20 * SHORT);
    7
}

fn an_item_over_its_limit_has_timed_out_when_it_returns(_: &Setup) {
    let (pool, runs) = (threads(1), Gate::new());
    let pids = pool.worker_pids();
    let error = pool.apply(until_cancelled::Task.timeout(SHORT), runs.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TaskTimeout, "{error}");
    assert!(error.to_string().ends_with(" and was told to end"), "{error}");
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_ne!(pool.worker_pids(), pids, "another thread has taken its place");
    // Within its grace its value counts, as in a process.
    let task = until_cancelled::Task.timeout(SHORT).grace(Duration::from_secs(60));
    assert_eq!(pool.apply(task, runs.path()).unwrap(), 7);
    assert_eq!(runs.count(), 2);
}

fn an_item_that_timed_out_is_tried_again(_: &Setup) {
    let (pool, runs) = (threads(2), Gate::new());
    let error = pool.apply(until_cancelled::Task.timeout(SHORT).retries(2), runs.path()).unwrap_err();
    assert_eq!((error.kind(), error.attempts(), runs.count()), (ErrorKind::TaskTimeout, 3, 3));
}

fn a_cancelled_item_is_told(_: &Setup) {
    let (pool, runs) = (threads(1), Gate::new());
    let job = pool.apply_async(until_cancelled::Task, runs.path()).unwrap();
    runs.wait();
    assert!(job.cancel());
    assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

/// The item in the middle ends only when it is told to.
#[pool_task]
fn note(runs: &str, is_long: bool) {
    count(runs);
    while is_long && !is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(if is_long { 20 * SHORT } else { Duration::ZERO });
}

fn items_behind_a_killed_one_run_once(_: &Setup) {
    let (pool, runs) = (threads(2), Gate::new());
    let items = (0..400).map(|item| (runs.path(), item == 100));
    for chunk in [100, 400] {
        let task = note::Task.timeout(Duration::from_millis(200)).chunk_size(chunk);
        let results = pool.map_results(task, items.clone()).unwrap();
        let failed: Vec<_> = results.iter().flat_map(Result::as_ref).collect();
        assert_eq!(failed.len(), 399);
        assert_eq!(results[100].as_ref().unwrap_err().kind(), ErrorKind::TaskTimeout);
    }
    assert_eq!(runs.count(), 800);
}

fn dropping_the_pool_tells_running_items(_: &Setup) {
    let (pool, runs) = (threads(3), Gate::new());
    let jobs: Vec<_> = (0..5).map(|_| pool.apply_async(until_cancelled::Task, runs.path()).unwrap()).collect();
    assert!(eventually(|| runs.count() == 3));
    drop(pool);
    for job in jobs {
        assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Terminated);
    }
    assert_eq!(runs.count(), 3, "the others never begin");
}

#[pool_task]
fn allocate(bytes: usize) -> (usize, Option<String>) {
    (std::hint::black_box(vec![1_u8; bytes]).len(), std::env::var("IN_PROCESS").ok())
}

fn options_of_processes_have_no_effect(_: &Setup) {
    for method in [StartMethod::ForkServer, StartMethod::Fork, StartMethod::Spawn] {
        let builder = Pool::builder().workers(1).start_method(method).in_process();
        let builder = builder.memory_limit(1 << 20).max_worker_rss(1).threads_per_worker(1);
        let pool = builder.worker_env("IN_PROCESS", ["1"]).build().unwrap();
        for _ in 0..3 {
            assert_eq!(pool.apply(allocate::Task, 64 << 20).unwrap(), (64 << 20, None));
        }
        assert_eq!(pool.stats().workers_started, 1);
        drop(pool);
        assert!(eventually(|| tests::leaks::threads().len() == 1));
    }
    let error = Pool::builder().in_process().worker_env("A=B", ["1"]).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "nonsense is refused all the same");
}

#[pool_task]
fn body(stack_bytes: usize) -> (String, usize, bool) {
    fn use_up(bytes: usize) {
        let frame = std::hint::black_box([0_u8; 1024]);
        if let Some(rest) = bytes.checked_sub(2 * size_of_val(&frame)) {
            use_up(rest);
        }
        std::hint::black_box(&frame);
    }
    use_up(stack_bytes);
    let name = thread::current().name().unwrap_or_default().to_owned();
    let blocks = SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1);
    (name, cpus(), blocks)
}

/// The CPUs that this thread may use.
fn cpus() -> usize {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).count()
}

fn threads_have_names_stacks_cpus_and_signals(_: &Setup) {
    let before = cpus();
    let mask = SigSet::from(Signal::SIGUSR1);
    for blocks in [false, true] {
        let pool = Pool::builder().workers(1).name("img").pin_cpus(true).max_tasks_per_worker(1).in_process();
        let pool = pool.build().unwrap();
        for _ in 0..3 {
            // Those that replace others are started by another thread.
            assert_eq!(pool.apply(body::Task, 6 << 20).unwrap(), ("img-0".to_owned(), 1, blocks));
        }
        assert!(pool.stats().workers_started >= 3);
        mask.thread_block().unwrap();
    }
    assert_eq!(cpus(), before, "the host's own threads are not pinned");
}

#[pool_task]
fn double(part: &mut [u64], offset: usize) -> usize {
    part.iter_mut().for_each(|x| *x *= 2);
    offset
}

fn arrays_are_written_in_place(_: &Setup) {
    let pool = threads(3);
    let mut array = SharedVec::from_slice(&(0..10_000).collect::<Vec<u64>>()).unwrap();
    let offsets = pool.map_chunks_mut(double::Task, &mut array, 1000, ()).unwrap();
    assert_eq!(
        offsets.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        (0..10).map(|at| at * 1000).collect::<Vec<_>>()
    );
    assert!(array.iter().zip(0..).all(|(x, at)| *x == 2 * at));
}

/// Writes for as long as it may, and a while longer.
#[pool_task]
fn scribble(part: &mut [u64], _offset: usize) {
    let mut until = None;
    while until.is_none_or(|until| Instant::now() < until) {
        part.fill(part[0].wrapping_add(1));
        if is_cancelled() {
            until.get_or_insert(Instant::now() + 20 * SHORT);
        }
    }
    part.fill(1);
}

fn an_array_comes_back_when_nobody_writes_it(_: &Setup) {
    let pool = threads(2);
    let mut array = SharedVec::<u64>::zeroed(4096).unwrap();
    let results = pool.map_chunks_mut(scribble::Task.timeout(SHORT), &mut array, 1024, ()).unwrap();
    assert!(results.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::TaskTimeout));
    assert!(array.iter().all(|x| *x == 1), "a thread still writes");
}

/// Returns twice, in two processes.
#[pool_task]
fn fork_itself(x: u64) -> u64 {
    // SAFETY:
    // - the copy does nothing but to return from here, which ends it.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => 1_000_000,
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            x
        }
    }
}

fn a_copy_that_a_task_forks_does_not_answer(_: &Setup) {
    let pool = threads(2);
    assert_eq!(pool.apply(fork_itself::Task, 3).unwrap(), 3);
    assert_eq!(pool.apply(fork_itself::Task.timeout(Duration::from_secs(60)), 4).unwrap(), 4);
    assert_eq!(pool.map(fork_itself::Task, 0..20).unwrap(), (0..20).collect::<Vec<_>>());
    let timed = pool.imap(fork_itself::Task, 0..5).unwrap().detailed();
    assert!(timed.zip(0..).all(|(done, x)| done.result.unwrap() == x));
}

static SHARED: std::sync::OnceLock<Pool> = std::sync::OnceLock::new();

#[pool_task]
fn use_pools(x: u64) -> u64 {
    let own = threads(2).map(square::Task, 0..x).unwrap().len() as u64;
    let far = Pool::new(1).unwrap().apply(square::Task, x).unwrap();
    let same = SHARED.get().unwrap().apply(square::Task, x).unwrap();
    let tid = current_worker().map(|worker| worker.pid());
    assert!(SHARED.get().unwrap().worker_pids().contains(&tid.unwrap()), "still that of the outer pool");
    own + far + same
}

fn a_task_may_use_another_pool_and_this_one(_: &Setup) {
    let pool = SHARED.get_or_init(|| threads(2));
    // The other worker is free for it.
    assert_eq!(pool.apply(use_pools::Task, 5).unwrap(), 5 + 25 + 25);
    pool.terminate();
    pool.join().unwrap();
    // A static is never dropped.
    std::process::exit(0);
}

static OWN: Mutex<Option<Arc<Pool>>> = Mutex::new(None);

#[pool_task]
fn wait_for_itself() -> Vec<String> {
    let pool = OWN.lock().unwrap().clone().unwrap();
    let broadcast = pool.broadcast(square::Task, 3).map(drop);
    let idle = [pool.wait_idle(), pool.wait_idle_timeout(Duration::MAX)];
    pool.close();
    let outcomes = [broadcast, pool.join(), pool.join_timeout(Duration::MAX)].into_iter().chain(idle);
    outcomes.map(|outcome| outcome.unwrap_err().to_string()).collect()
}

fn a_task_does_not_wait_for_itself(_: &Setup) {
    let pool = Arc::new(threads(2));
    *OWN.lock().unwrap() = Some(Arc::clone(&pool));
    let errors = pool.apply(wait_for_itself::Task, ()).unwrap();
    assert_eq!(errors, ["this thread is a worker of the pool, and would wait for itself"; 5]);
    // A thread of the host may.
    pool.join().unwrap();
    *OWN.lock().unwrap() = None;
}

/// Drops the last handle of its pool, terminated before or not, and says so.
#[pool_task]
fn drop_own(gate: &str, terminates: bool) {
    let pool = OWN.lock().unwrap().take().unwrap();
    if terminates {
        pool.terminate();
        pool.join().unwrap_err();
    }
    drop(pool);
    assert!(is_cancelled());
    count(gate);
}

fn a_task_may_drop_its_own_pool(_: &Setup) {
    for terminates in [false, true] {
        let gate = Gate::new();
        let mut own = OWN.lock().unwrap();
        let job = own.insert(Arc::new(threads(2))).apply_async(drop_own::Task, (gate.path(), terminates)).unwrap();
        drop(own);
        assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Terminated);
        gate.wait();
        assert!(eventually(|| tests::leaks::threads().len() == 1), "the pool ends by itself");
    }
}

#[pool_task]
fn seed() -> u64 {
    pool_core::current_item().unwrap().seed
}

fn seeds_of_two_workers_differ(_: &Setup) {
    // The same requests, in the first worker of each.
    let draw = || threads(1).map(seed::Task, [(); 10]).unwrap();
    let mut all: Vec<_> = (0..5).flat_map(|_| draw()).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 50);
    let same = || Pool::builder().workers(2).seed(5).in_process().build().unwrap().map(seed::Task, [(); 10]).unwrap();
    assert_eq!(same(), Pool::builder().workers(1).seed(5).build().unwrap().map(seed::Task, [(); 10]).unwrap());
}

thread_local! {
    static IS_PREPARED: Cell<bool> = const { Cell::new(false) };
}

#[pool_task]
fn prepare(works: bool) -> Result<(), String> {
    IS_PREPARED.set(works);
    if works { Ok(()) } else { Err("no licence".into()) }
}

#[pool_task]
fn is_prepared() -> bool {
    IS_PREPARED.get()
}

fn a_failing_initializer_breaks_the_pool(_: &Setup) {
    let builder = || Pool::builder().workers(2).in_process();
    let pool = builder().initializer(prepare::Task, true).build().unwrap();
    assert!(pool.map(is_prepared::Task, [(); 100]).unwrap().into_iter().all(|is| is));
    let pool = builder().initializer(prepare::Task, false).restart_limit(1).build().unwrap();
    let error = pool.apply(is_prepared::Task, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains("no licence"), "{error}");
}

/// Fails in a worker. Returns when it was told to end.
#[pool_task(timeout = "30ms")]
fn preload_until_cancelled(runs: &str) -> Result<(), String> {
    if current_worker().is_some() {
        return Err("in a worker".into());
    }
    until_cancelled(runs);
    Ok(())
}

fn a_preload_is_no_worker_and_is_told_to_end(_: &Setup) {
    let runs = Gate::new();
    let builder = Pool::builder().in_process().preload(preload_until_cancelled::Task, runs.path());
    let text = builder.build().unwrap_err().to_string();
    assert!(text.contains("exceeded its limit of 30 ms after ") && text.ends_with(" and was told to end"), "{text}");
}

fn no_text_says_that_a_thread_was_killed(_: &Setup) {
    let (pool, runs) = (threads(1), Gate::new());
    let job = pool.apply_async(until_cancelled::Task, runs.path()).unwrap();
    runs.wait();
    job.cancel();
    pool.apply(until_cancelled::Task.timeout(SHORT), runs.path()).unwrap_err();
    assert!(eventually(|| pool.insights().workers[0].exits.len() == 2));
    assert!(pool.insights().workers[0].exits.iter().all(|exit| !exit.cause.to_string().contains("kill")));
}

fn pools_of_threads_and_processes_side_by_side(setup: &Setup) {
    let (gate, near, far) = (Gate::new(), threads(2), setup.pool());
    let jobs = [&near, &far].map(|pool| pool.apply_async(pass::Task, gate.path()).unwrap());
    gate.open();
    let [near, far] = jobs.map(|job| job.get().unwrap());
    assert_eq!(near, std::process::id());
    assert_ne!(far, near);
}

//! Many workers, many jobs, few descriptors; limits that the pool keeps, and those of the system.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use pool_core::PoolState;
use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::leaks::{Snapshot, fds, threads};
use tests::procs::{SOON, descendants, eventually, is_alive};
use tests::tasks::{Way, crash, halve, nap, pid, square};
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(two_hundred_workers_work).workers(&[200]),
        each_method(a_hundred_thousand_outstanding_calls_cost_no_descriptors),
        everywhere(workers_are_replaced_after_their_share_of_tasks),
        each_method(a_pool_with_a_share_of_tasks_can_be_closed_early),
        each_method(max_pending_blocks_submissions_and_lets_them_go),
        each_method(max_pending_bounds_maps_and_threads_alike),
        each_method(a_thread_that_waits_for_room_is_told_of_each_value),
        each_method(a_thread_that_waits_for_room_is_released_by_terminate),
        everywhere(resize_under_load_loses_nothing),
        each_method(resize_refuses_nonsense),
        each_method(join_timeout_gives_up_and_changes_nothing),
        everywhere(stats_count_jobs_items_and_deaths),
        each_method(the_name_is_that_of_threads_and_processes),
        each_method(a_pool_may_be_made_again_and_again),
        once(options_out_of_range_are_refused),
        each_method(a_constructor_that_runs_out_of_descriptors_leaves_nothing).workers(&[5]),
        each_method(a_pool_that_runs_out_of_descriptors_later_still_ends_every_job),
        each_method(a_constructor_under_a_file_size_limit_is_an_error),
        each_method(a_worker_that_has_grown_too_large_is_replaced),
        each_method(memory_that_a_worker_inherits_does_not_count),
        each_method(idle_workers_leave_and_come_back),
        each_method(each_worker_may_have_a_cpu_of_its_own),
        each_method(more_workers_than_cpus_take_turns),
        each_method(when_memory_runs_out_workers_go_before_their_host),
    ]
}

fn two_hundred_workers_work(setup: &Setup) {
    let pool = setup.pool();
    let pids: HashSet<_> = pool.worker_pids().into_iter().collect();
    assert_eq!(pids.len(), 200);
    let gate = Gate::new();
    let jobs: Vec<_> = (0..200).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
    gate.open();
    let used: HashSet<_> = jobs.into_iter().map(|job| job.get().unwrap()).collect();
    assert_eq!(used, pids);
    assert_eq!(pool.map(square::Task, 0..5000).unwrap().len(), 5000);
    pool.close();
    pool.join().unwrap();
}

fn a_hundred_thousand_outstanding_calls_cost_no_descriptors(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let gates: Vec<_> = (0..setup.workers).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
    let (fds_before, threads_before) = (fds(), threads().len());
    let calls: Vec<_> = (0..100_000).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    assert_eq!((fds(), threads().len()), (fds_before, threads_before));
    assert!(pool.stats().items_pending >= 100_000);
    gate.open();
    for (x, call) in (0..).zip(calls) {
        assert_eq!(call.get().unwrap(), x * x);
    }
    assert!(gates.into_iter().all(|gate| gate.get().is_ok()));
    assert_eq!(pool.stats().items_pending, 0);
}

fn workers_are_replaced_after_their_share_of_tasks(setup: &Setup) {
    for share in [1, 3, 10] {
        let pool = setup.builder().max_tasks_per_worker(share).build().unwrap();
        let pids = pool.map(pid::Task, [(); 40]).unwrap();
        let distinct: HashSet<_> = pids.iter().collect();
        assert!(distinct.iter().all(|pid| pids.iter().filter(|other| other == pid).count() <= share as usize));
        let calls: Vec<_> = (0..40).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        for (x, call) in (0..).zip(calls) {
            assert_eq!(call.get().unwrap(), x * x);
        }
        // A share is kept with chunks, too.
        let pids = pool.map(pid::Task.chunk_size(7), [(); 40]).unwrap();
        let distinct: HashSet<_> = pids.iter().collect();
        assert!(distinct.iter().all(|pid| pids.iter().filter(|other| other == pid).count() <= share as usize));
        pool.close();
        pool.join().unwrap();
        assert_eq!(pool.stats().workers_died, 0, "replaced, not killed");
        drop(pool);
        assert!(eventually(|| threads().len() == 1));
    }
}

fn a_pool_with_a_share_of_tasks_can_be_closed_early(setup: &Setup) {
    for _ in 0..5 {
        let pool = setup.builder().max_tasks_per_worker(1).build().unwrap();
        let calls: Vec<_> = (0..7).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
        pool.close();
        pool.join().unwrap();
        for (x, call) in (0..).zip(calls) {
            assert_eq!(call.get().unwrap(), x * x);
        }
        drop(pool);
        assert!(eventually(|| threads().len() == 1));
    }
}

fn max_pending_blocks_submissions_and_lets_them_go(setup: &Setup) {
    let pool = setup.builder().max_pending(4).build().unwrap();
    let gate = Gate::new();
    let submitted = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let submit = |_| {
                let job = pool.apply_async(pass::Task, gate.path()).unwrap();
                submitted.fetch_add(1, Ordering::Relaxed);
                job
            };
            let jobs: Vec<_> = (0..20).map(submit).collect();
            assert!(jobs.into_iter().all(|job| job.get().is_ok()));
        });
        assert!(eventually(|| submitted.load(Ordering::Relaxed) == 4));
        thread::sleep(Duration::from_millis(200));
        assert_eq!(submitted.load(Ordering::Relaxed), 4, "more jobs than allowed are pending");
        assert_eq!(pool.stats().items_pending, 4);
        gate.open();
    });
    assert_eq!(submitted.load(Ordering::Relaxed), 20);
}

fn max_pending_bounds_maps_and_threads_alike(setup: &Setup) {
    let pool = setup.builder().max_pending(10).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                assert_eq!(pool.map(square::Task, 0..3000).unwrap().len(), 3000);
                assert_eq!(pool.imap(square::Task, 0..3000).unwrap().filter(Result::is_ok).count(), 3000);
                let jobs: Vec<_> = (0..300).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
                assert!(jobs.into_iter().all(|job| job.get().is_ok()));
            });
        }
    });
    assert_eq!(pool.stats().items_pending, 0);
}

fn a_thread_that_waits_for_room_is_told_of_each_value(setup: &Setup) {
    const ITEMS: usize = 20;
    let pool = setup.builder().max_pending(ITEMS).build().unwrap();
    let (first, last) = (Gate::new(), Gate::new());
    thread::scope(|scope| {
        let gates = (1..ITEMS).map(|_| first.path()).chain([last.path()]);
        let map = scope.spawn(|| pool.map(pass::Task.chunk_size(1), gates).unwrap().len());
        assert!(eventually(|| pool.stats().items_pending == ITEMS as u64));
        let call = scope.spawn(|| pool.apply_async(square::Task, 7).unwrap());
        // It waits now, most likely, while the other thread takes values in.
        thread::sleep(Duration::from_millis(100));
        first.open();
        let is_told = eventually(|| call.is_finished());
        last.open();
        assert!(is_told, "there is room, and nobody says so");
        assert_eq!((map.join().unwrap(), call.join().unwrap().get().unwrap()), (ITEMS, 49));
    });
}

fn a_thread_that_waits_for_room_is_released_by_terminate(setup: &Setup) {
    let pool = setup.builder().max_pending(2).build().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let jobs: Vec<_> = (0..5).map(|_| pool.apply_async(nap::Task, 30_000)).collect();
            jobs.into_iter().filter_map(Result::err).collect::<Vec<_>>()
        });
        assert!(eventually(|| pool.stats().items_pending == 2));
        pool.terminate();
        let errors = waiting.join().unwrap();
        assert!(!errors.is_empty() && errors.iter().all(|error| error.kind() == ErrorKind::Closed), "{errors:?}");
    });
}

fn resize_under_load_loses_nothing(setup: &Setup) {
    let pool = setup.pool();
    let map = pool.map_async(nap::Task, (0..600).map(|x| x % 4)).unwrap();
    let calls: Vec<_> = (0..200).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    for workers in [4, 1, 6, 2, 3] {
        pool.resize(workers).unwrap();
        assert_eq!(pool.workers(), workers);
        assert!(eventually(|| pool.worker_pids().len() == workers), "{workers}: {:?}", pool.worker_pids());
    }
    assert_eq!(map.get().unwrap(), (0..600).map(|x| x % 4).collect::<Vec<_>>());
    for (x, call) in (0..).zip(calls) {
        assert_eq!(call.get().unwrap(), x * x);
    }
    assert_eq!(pool.stats().workers_died, 0, "sent home, not killed");
}

fn resize_refuses_nonsense(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.resize(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(pool.resize(1_000_000).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(pool.workers(), setup.workers);
    pool.close();
    assert_eq!(pool.resize(3).unwrap_err().kind(), ErrorKind::Closed);
}

fn join_timeout_gives_up_and_changes_nothing(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let job = pool.apply_async(pass::Task, gate.path()).unwrap();
    pool.close();
    assert_eq!(pool.join_timeout(Duration::from_millis(30)).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(pool.state(), PoolState::Closed);
    gate.open();
    pool.join_timeout(SOON).unwrap();
    assert!(job.get().is_ok());
}

fn stats_count_jobs_items_and_deaths(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.stats().workers_started, setup.workers as u64);
    let _ = pool.map_results(halve::Task, 0..100).unwrap();
    let _ = pool.apply(crash::Task, Some(Way::Kill)).unwrap_err();
    let _ = pool.apply(crash::Task, None).unwrap();
    assert!(eventually(|| pool.stats().workers_started == setup.workers as u64 + 1));
    let stats = pool.stats();
    assert_eq!((stats.jobs_submitted, stats.jobs_finished), (3, 3));
    assert_eq!((stats.items_succeeded, stats.items_failed, stats.items_pending), (51, 51, 0));
    assert_eq!(stats.workers_died, 1);
    pool.close();
    pool.join().unwrap();
    assert_eq!(pool.stats(), stats);
}

fn the_name_is_that_of_threads_and_processes(setup: &Setup) {
    let pool = setup.builder().name("img").build().unwrap();
    assert_eq!(pool.apply(square::Task, 1).unwrap(), 1);
    let names = || {
        let mut names: Vec<_> = descendants().into_iter().map(|process| process.name).collect();
        names.sort_unstable();
        names
    };
    // Each process gives itself its name, and so does each thread.
    assert!(eventually(|| names() == ["img-0", "img-1", "img-serve"]), "{:?}", names());
    let ours = || threads().iter().filter(|name| name.starts_with("img-")).count();
    assert!(eventually(|| ours() >= 2), "{:?}", threads());
}

fn a_pool_may_be_made_again_and_again(setup: &Setup) {
    let before = Snapshot::take();
    for _ in 0..10 {
        let pool = setup.pool();
        assert_eq!(pool.map(square::Task, 0..10).unwrap().len(), 10);
        pool.close();
        pool.join().unwrap();
    }
    before.assert_restored();
}

fn options_out_of_range_are_refused(setup: &Setup) {
    let builders = [
        setup.builder().workers(1_000_000),
        setup.builder().max_tasks_per_worker(0),
        setup.builder().max_pending(0),
        setup.builder().name("zero\0"),
    ];
    for builder in builders {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// While this process may have `spare` more descriptors than it has.
fn with_descriptors<R>(spare: usize, body: impl FnOnce() -> R) -> R {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let used = fds();
    // The limit is on the numbers, and the lowest free ones are taken first.
    let limit = (0..).filter(|fd: &u64| !used.contains_key(&fd.to_string())).nth(spare).expect("endless");
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
    let result = body();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    result
}

/// The first, the second, ... descriptor is one too many, until there are enough: among these failures is that of the fourth worker.
fn a_constructor_that_runs_out_of_descriptors_leaves_nothing(setup: &Setup) {
    let before = Snapshot::take();
    for spare in 0..200 {
        let built = with_descriptors(spare, || setup.builder().build());
        match built {
            Ok(pool) => {
                assert!(spare > 5);
                assert_eq!(pool.worker_pids().len(), 5);
                return;
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::System | ErrorKind::Unsupported), "{error:?}"),
        }
        before.assert_restored();
    }
    panic!("200 descriptors are not enough");
}

fn a_pool_that_runs_out_of_descriptors_later_still_ends_every_job(setup: &Setup) {
    for spare in 0..4 {
        let pool = setup.builder().restart_limit(1).build().unwrap();
        with_descriptors(spare, || {
            // A dead worker's descriptors are free when its successor needs some, unless somebody takes them.
            let hog = std::fs::File::open("/dev/null");
            let calls: Vec<_> = (0..20).map(|_| pool.apply_async(crash::Task, Some(Way::Kill))).collect();
            for call in calls.into_iter().flatten() {
                let error = call.get().unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::WorkerDied | ErrorKind::Broken), "{error}");
            }
            drop(hog);
        });
        drop(pool);
        assert!(eventually(|| threads().len() == 1));
    }
}

fn a_constructor_under_a_file_size_limit_is_an_error(setup: &Setup) {
    let before = Snapshot::take();
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 100 << 10, hard).unwrap();
    let error = setup.builder().build().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::System), "{error:?}");
    setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
    before.assert_restored();
}

#[pool_task]
fn leak(bytes: usize) -> u32 {
    std::mem::forget(std::hint::black_box(vec![1_u8; bytes]));
    std::process::id()
}

fn a_worker_that_has_grown_too_large_is_replaced(setup: &Setup) {
    let pool = setup.with_workers(1).builder().max_worker_rss(64 << 20).build().unwrap();
    // The size is looked at now and then, not after each job.
    let pids: HashSet<_> = (0..30)
        .map(|_| {
            nap(20);
            pool.apply(leak::Task, 16 << 20).unwrap()
        })
        .collect();
    assert!(pids.len() > 1, "one worker leaked half a gigabyte");
    assert_eq!(pool.stats().workers_died, 0, "replaced, not killed");
}

/// Memory that a copy of this process has, too.
fn memory_that_a_worker_inherits_does_not_count(setup: &Setup) {
    let inherited = std::hint::black_box(vec![1_u8; 128 << 20]);
    let pool = setup.with_workers(1).builder().max_worker_rss(64 << 20).build().unwrap();
    let leak = |bytes: usize| {
        nap(20);
        pool.apply(leak::Task, bytes).unwrap()
    };
    let pids: HashSet<_> = (0..10).map(|_| leak(1)).collect();
    assert_eq!(pids.len(), 1, "replaced, though it has not grown");
    let pids: HashSet<_> = (0..30).map(|_| leak(16 << 20)).collect();
    assert!(pids.len() > 1, "one worker leaked half a gigabyte");
    drop(inherited);
}

fn idle_workers_leave_and_come_back(setup: &Setup) {
    let pool = setup.builder().idle_timeout(Duration::from_millis(50)).build().unwrap();
    for _ in 0..3 {
        assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
        let pids = pool.worker_pids();
        assert!(eventually(|| pool.worker_pids().is_empty()), "they stay");
        assert!(!pids.into_iter().any(is_alive));
    }
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(pool.stats().workers_died, 0);
}

#[pool_task]
fn usable_cpus() -> usize {
    thread::available_parallelism().map_or(0, usize::from)
}

fn each_worker_may_have_a_cpu_of_its_own(setup: &Setup) {
    let of_host = usable_cpus();
    let pool = setup.builder().pin_cpus(true).build().unwrap();
    assert_eq!(pool.map(usable_cpus::Task, [(); 10]).unwrap(), [1; 10]);
    assert_eq!(usable_cpus(), of_host);
}

fn my_cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).collect()
}

#[pool_task]
fn allowed_cpus(gate: &str) -> (usize, Vec<usize>) {
    pass(gate);
    (current_worker().unwrap().id(), my_cpus())
}

fn more_workers_than_cpus_take_turns(setup: &Setup) {
    let allowed = my_cpus();
    let workers = 2 * allowed.len() + 1;
    let pool = setup.with_workers(workers).builder().pin_cpus(true).build().unwrap();
    let gate = Gate::new();
    let jobs: Vec<_> = (0..workers).map(|_| pool.apply_async(allowed_cpus::Task, gate.path()).unwrap()).collect();
    gate.open();
    let mut seen: Vec<_> = jobs.into_iter().map(|job| job.get().unwrap()).collect();
    seen.sort_unstable();
    let turns = (0..workers).map(|worker| (worker, vec![allowed[worker % allowed.len()]]));
    assert_eq!(seen, turns.collect::<Vec<_>>());
}

fn when_memory_runs_out_workers_go_before_their_host(setup: &Setup) {
    let score = |pid: u32| -> i32 {
        std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    let pool = setup.pool();
    let host = score(std::process::id());
    let workers: HashSet<_> = pool.map(pid::Task, [(); 50]).unwrap().into_iter().collect();
    assert!(workers.into_iter().all(|worker| score(worker) > host || host == 1000));
}

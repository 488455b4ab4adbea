//! Other things that the program around the pool does: forks, threads, locks, signals, children of its own.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use pool_core::prelude::*;
use pool_core::{Imap, as_completed, wait_any};
use tests::gate::{Gate, pass};
use tests::procs::{self, eventually, fork_server, is_alive, kill_9};
use tests::tasks::{Way, crash, nap, pid, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    let with_threads = [StartMethod::ForkServer, StartMethod::Spawn];
    vec![
        each_method(a_copy_of_the_host_may_drop_its_pool),
        each_method(a_copy_of_the_host_may_drop_everything_else),
        each_method(a_copy_of_the_host_gets_errors),
        each_method(a_copy_of_the_host_does_not_hold_up_the_end),
        each_method(workers_outlive_the_thread_that_made_the_pool).methods(&with_threads),
        each_method(fork_is_refused_in_a_host_with_threads).methods(&[StartMethod::Fork]),
        each_method(fork_waits_for_a_thread_that_is_about_to_leave).methods(&[StartMethod::Fork]),
        each_method(a_host_may_ignore_sigchld),
        each_method(a_host_may_reap_every_child),
        each_method(a_host_may_block_all_signals),
        each_method(the_hosts_own_children_are_left_alone),
        each_method(a_host_that_was_stopped_goes_on),
        each_method(a_host_may_have_no_standard_input),
        each_method(a_host_may_forbid_itself_descriptors),
        everywhere(threads_and_locks_of_the_host_hang_nothing),
        each_method(a_pool_is_made_while_others_hold_locks).methods(&with_threads),
    ]
}

/// Everything that involves a process: calls, a crash of each sort, a killed worker, a time limit.
pub(crate) fn assert_works(pool: &Pool, setup: &Setup) {
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    for way in [Way::ExitThree, Way::Abort, Way::Kill] {
        let error = pool.apply(crash::Task, Some(way)).unwrap_err();
        let status = error.exit_status().unwrap_or_else(|| panic!("no status: {error}"));
        assert_eq!((status.code(), status.signal()), (way.code(), way.signal()), "{error}");
    }
    let limited = pool.apply(nap::Task.timeout(Duration::from_millis(50)), 30_000);
    assert_eq!(limited.unwrap_err().kind(), ErrorKind::TaskTimeout);
    assert!(eventually(|| pool.worker_pids().len() == setup.workers));
    kill_9(pool.worker_pids()[0]);
    assert_all_run(pool);
}

/// Processes of the pool have just been killed, and may take an item along that they still begin.
fn assert_all_run(pool: &Pool) {
    assert_eq!(pool.map(square::Task.retries(5), 0..100).unwrap().len(), 100);
}

/// Runs `body` in a forked copy of this process, which then leaves.
fn in_a_copy(body: impl FnOnce()) -> Pid {
    // SAFETY:
    // - this thread holds no lock, and the child uses none of another thread's.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            body();
            // SAFETY:
            // - `_exit` has no preconditions.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => child,
    }
}

fn a_copy_of_the_host_may_drop_its_pool(setup: &Setup) {
    let mut pool = Some(setup.pool());
    let pids = pool.as_ref().unwrap().worker_pids();
    let job = pool.as_ref().unwrap().apply_async(nap::Task, 200).unwrap();
    let copy = in_a_copy(|| drop(pool.take()));
    assert_eq!(waitpid(copy, None).unwrap(), WaitStatus::Exited(copy, 0));
    let pool = pool.unwrap();
    assert_eq!(job.get().unwrap(), 200);
    assert_eq!(pool.worker_pids(), pids);
    assert_works(&pool, setup);
}

/// The copy does so; the pool must not have noticed.
fn untouched(setup: &Setup, use_copy: impl FnOnce(Pool, AsyncResult<u64>, Imap<nap::Task, std::ops::Range<u64>>)) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let gate = Gate::new();
    let blocking: Vec<_> = pids.iter().map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
    let mut parts = Some((pool.apply_async(nap::Task, 1).unwrap(), pool.imap(nap::Task, 0..5).unwrap(), pool));
    let copy = in_a_copy(|| {
        let (job, imap, pool) = parts.take().unwrap();
        use_copy(pool, job, imap);
    });
    assert_eq!(waitpid(copy, None).unwrap(), WaitStatus::Exited(copy, 0));
    gate.open();
    let (job, imap, pool) = parts.unwrap();
    assert_eq!(job.get().unwrap(), 1);
    assert_eq!(imap.map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(blocking.into_iter().all(|job| job.get().is_ok()));
    assert_eq!(pool.worker_pids(), pids);
    assert_works(&pool, setup);
}

fn a_copy_of_the_host_may_drop_everything_else(setup: &Setup) {
    untouched(setup, |pool, job, imap| {
        assert!(!job.cancel());
        drop(imap);
        drop(job);
        pool.close();
        pool.terminate();
    });
}

fn a_copy_of_the_host_gets_errors(setup: &Setup) {
    untouched(setup, |pool, mut job, mut imap| {
        let second = Duration::from_secs(1);
        let errors = [
            pool.apply(square::Task, 1).unwrap_err(),
            pool.map(square::Task, 0..3).unwrap_err(),
            pool.resize(7).unwrap_err(),
            pool.join().unwrap_err(),
            job.get_timeout(second).unwrap_err(),
            imap.next().unwrap().unwrap_err(),
        ];
        assert!(imap.next().is_none());
        assert!(!job.wait_timeout(second) && wait_any(std::slice::from_ref(&job), None).is_none());
        let (index, result) = as_completed([job]).next().unwrap();
        assert_eq!((index, result.unwrap_err().kind()), (0, ErrorKind::Unsupported));
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    });
}

fn a_copy_of_the_host_does_not_hold_up_the_end(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let server = fork_server().pid;
    let copy = in_a_copy(|| thread::sleep(Duration::from_secs(60)));
    drop(pool.apply_async(nap::Task, 30_000).unwrap());
    drop(pool);
    assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid)) && !is_alive(server)));
    assert!(is_alive(copy.as_raw() as u32));
    kill_9(copy.as_raw() as u32);
    waitpid(copy, None).unwrap();
}

fn workers_outlive_the_thread_that_made_the_pool(setup: &Setup) {
    let setup = *setup;
    let pool = thread::spawn(move || setup.pool()).join().unwrap();
    let pids = pool.worker_pids();
    nap(300);
    assert_eq!(pool.worker_pids(), pids);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    assert_works(&pool, &setup);
    // And the thread that happened to start a replacement or another fork server.
    kill_9(fork_server().pid);
    assert_all_run(&pool);
    nap(300);
    assert_works(&pool, &setup);
}

/// Scoped threads that have been joined may be there for a moment: this one is for longer.
fn fork_waits_for_a_thread_that_is_about_to_leave(setup: &Setup) {
    let thread = thread::spawn(|| thread::sleep(Duration::from_millis(20)));
    assert_eq!(setup.pool().apply(square::Task, 3).unwrap(), 9);
    thread.join().unwrap();
}

fn fork_is_refused_in_a_host_with_threads(setup: &Setup) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| assert!(eventually(|| over.load(Ordering::Relaxed))));
        let error = setup.builder().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("2 threads"), "{error}");
        over.store(true, Ordering::Relaxed);
    });
}

fn a_host_may_ignore_sigchld(setup: &Setup) {
    // SAFETY:
    // - no handler of ours runs.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
    let pool = setup.pool();
    assert_works(&pool, setup);
    pool.close();
    pool.join().unwrap();
}

fn a_host_may_reap_every_child(setup: &Setup) {
    let pool = setup.pool();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
                thread::yield_now();
            }
        });
        assert_works(&pool, setup);
        pool.close();
        pool.join().unwrap();
        over.store(true, Ordering::Relaxed);
    });
}

#[pool_task]
fn blocked_signals() -> usize {
    SigSet::thread_get_mask().unwrap().iter().count()
}

fn a_host_may_block_all_signals(setup: &Setup) {
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None).unwrap();
    let pool = setup.pool();
    assert_eq!(pool.apply(blocked_signals::Task, ()).unwrap(), 0);
    assert_works(&pool, setup);
    pool.close();
    pool.join().unwrap();
}

fn the_hosts_own_children_are_left_alone(setup: &Setup) {
    let mut before = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    let pool = setup.pool();
    let mut during = Command::new("sh").args(["-c", "exit 8"]).spawn().unwrap();
    assert_works(&pool, setup);
    drop(pool);
    assert_eq!((before.wait().unwrap().code(), during.wait().unwrap().code()), (Some(7), Some(8)));
}

fn a_host_that_was_stopped_goes_on(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    // An item that ran when the host was stopped has long ended when it goes on, and has not exceeded its limit.
    let timed = pool.map_async(nap::Task.timeout(Duration::from_millis(700)), [20; 100]).unwrap();
    let me = std::process::id();
    let mut waker = Command::new("sh").args(["-c", &format!("sleep 1.5; kill -CONT {me}")]).spawn().unwrap();
    procs::signal(me, Signal::SIGSTOP);
    assert_eq!(timed.get().unwrap(), [20; 100]);
    assert_eq!(pool.worker_pids(), pids);
    assert!(waker.wait().unwrap().success());
}

fn a_host_may_have_no_standard_input(setup: &Setup) {
    // SAFETY:
    // - nobody in this process owns standard input.
    unsafe { libc::close(0) };
    let pool = setup.pool();
    assert_works(&pool, setup);
    drop(pool);
    let null = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(std::os::fd::IntoRawFd::into_raw_fd(null), 0, "the lowest number is free again");
}

fn a_host_may_forbid_itself_descriptors(setup: &Setup) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let pool = setup.builder().restart_limit(1).build().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    // There can be no other worker in its place, for want of memory to share with it. But its end is noticed.
    assert_eq!(pool.apply(crash::Task, Some(Way::Kill)).unwrap_err().kind(), ErrorKind::WorkerDied);
    let error = pool.map(nap::Task, [50; 100]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
    assert!(error.to_string().contains("memfd_create: Too many open files"), "{error}");
    drop(pool);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}

#[pool_task]
#[expect(clippy::print_stdout, reason = "it needs the lock of standard output")]
fn print_and_look(name: &str) -> u32 {
    println!("{name} is {:?}", std::env::var(name));
    std::process::id()
}

/// Runs `body` while other threads hold the lock of standard output, panic, read the environment and allocate.
fn amid_locks(body: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let until_over = |busy: &dyn Fn()| {
        while !over.load(Ordering::Relaxed) {
            busy();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stdout = std::io::stdout().lock();
            until_over(&|| thread::sleep(Duration::from_millis(1)));
            writeln!(stdout, "the lock is released").unwrap();
        });
        scope.spawn(|| until_over(&|| drop(std::env::var("PATH"))));
        scope.spawn(|| until_over(&|| drop(std::hint::black_box(vec![1_u8; 100_000]))));
        body();
        over.store(true, Ordering::Relaxed);
    });
}

fn threads_and_locks_of_the_host_hang_nothing(setup: &Setup) {
    let pool = setup.pool();
    amid_locks(|| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        assert!(pool.apply(print_and_look::Task, "PATH").is_ok());
                        assert!(pool.apply(crash::Task, Some(Way::Panic)).is_err());
                        assert!(pool.apply(crash::Task, Some(Way::ExitThree)).is_err());
                        assert_eq!(pool.map(print_and_look::Task, ["PATH"; 10]).unwrap().len(), 10);
                    }
                });
            }
        });
    });
    assert_works(&pool, setup);
}

fn a_pool_is_made_while_others_hold_locks(setup: &Setup) {
    amid_locks(|| {
        for _ in 0..5 {
            let pool = setup.pool();
            assert_eq!(pool.map(print_and_look::Task, ["PATH"; 10]).unwrap().len(), 10);
            assert!(pool.worker_pids().contains(&pool.apply(pid::Task, ()).unwrap()));
        }
    });
}

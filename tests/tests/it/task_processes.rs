//! Processes and threads that a task starts: they die with its worker, and hold nothing up until then.

use std::fs;
use std::thread;

use nix::unistd::{ForkResult, fork, setsid};
use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::gate::Gate;
use tests::procs::{descendants, eventually, is_alive, kill_9};
use tests::tasks::{Way, pid};
use tests::trial::{Check, Setup, each_method};

use crate::task_damage::assert_works;

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(processes_of_a_task_die_with_its_worker),
        each_method(a_copy_that_a_task_forks_takes_no_jobs_and_dies_with_the_worker),
        each_method(a_copy_that_has_left_the_group_lives_on_and_holds_nothing_up),
        each_method(threads_that_outlive_their_task_hold_nothing_up).noisy(),
    ]
}

#[pool_task]
#[expect(clippy::zombie_processes, reason = "whether somebody else ends it is the question")]
fn start_a_sleeper(and_die: bool) -> u32 {
    let sleeper = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    if and_die {
        std::process::abort();
    }
    sleeper.id()
}

fn processes_of_a_task_die_with_its_worker(setup: &Setup) {
    let pool = setup.pool();
    let _ = pool.apply(start_a_sleeper::Task, true).unwrap_err();
    assert!(eventually(|| descendants().iter().all(|process| process.name != "sleep")), "{:?}", descendants());
    let sleeper = pool.apply(start_a_sleeper::Task, false).unwrap();
    assert!(is_alive(sleeper));
    drop(pool);
    assert!(eventually(|| !is_alive(sleeper)), "it outlived its worker");
}

/// The behaviour of a worker's copy, in which its task goes on as in the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Copy {
    /// It returns from the task as if it were the worker.
    Returns,
    /// So does one that was made without the C library's knowledge.
    ReturnsRaw,
    /// It panics in the task.
    Panics,
    /// It stays.
    Lingers,
    /// It makes another one, which stays, and leaves.
    ForksAgain,
    /// It stays, in a session and thus a process group of its own.
    LeavesTheGroup,
}

/// Its own process id and, if there is one, that of a copy that stays.
#[pool_task]
fn copy_itself(copy: Copy, note: &str) -> (u32, Option<u32>) {
    let me = std::process::id();
    // A copy has no part in the memory that is shared with the host, from where this is lent.
    let note = note.to_owned();
    let is_copy = match copy {
        // SAFETY:
        // - the worker has one thread.
        Copy::ReturnsRaw => unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) == 0 },
        // SAFETY:
        // - likewise.
        _ => matches!(unsafe { fork() }.unwrap(), ForkResult::Child),
    };
    if is_copy {
        match copy {
            Copy::Returns | Copy::ReturnsRaw => return (0, None),
            Copy::Panics => panic!("in the copy"),
            Copy::Lingers => {}
            // SAFETY:
            // - the copy has one thread.
            Copy::ForksAgain => match unsafe { fork() }.unwrap() {
                ForkResult::Child => {}
                // SAFETY:
                // - `_exit` has no preconditions.
                ForkResult::Parent { .. } => unsafe { libc::_exit(0) },
            },
            Copy::LeavesTheGroup => drop(setsid().unwrap()),
        }
        fs::write(&note, std::process::id().to_string()).unwrap();
        thread::sleep(Duration::from_secs(60));
        std::process::exit(0);
    }
    if matches!(copy, Copy::Returns | Copy::ReturnsRaw | Copy::Panics) {
        return (me, None);
    }
    // A reader must not find half of it: a process id has no more digits than fit into one write.
    let read = || fs::read_to_string(&note).ok().and_then(|text| text.parse().ok());
    assert!(eventually(|| read().is_some()));
    (me, read())
}

fn a_copy_that_a_task_forks_takes_no_jobs_and_dies_with_the_worker(setup: &Setup) {
    let pool = setup.pool();
    for copy in [Copy::Returns, Copy::ReturnsRaw, Copy::Panics, Copy::Lingers, Copy::ForksAgain] {
        // Alone, and in the middle of a chunk.
        for chunk in [1, 3] {
            let notes: Vec<_> = (0..chunk).map(|_| Gate::new()).collect();
            let task = copy_itself::Task.chunk_size(chunk);
            let answers = pool.map(task, notes.iter().map(|note| (copy, note.path()))).unwrap();
            let pids = pool.worker_pids();
            for (worker, stays) in answers {
                assert!(pids.contains(&worker), "{copy:?}: a copy answered");
                assert!(stays.is_none_or(is_alive), "{copy:?}");
                assert!(pool.map(pid::Task, [(); 50]).unwrap().into_iter().all(|pid| pids.contains(&pid)), "{copy:?}");
                assert_eq!(pool.worker_pids(), pids);
                if let Some(stays) = stays {
                    kill_9(worker);
                    assert!(eventually(|| !is_alive(stays)), "{copy:?} outlived its worker");
                    assert!(eventually(|| !pool.worker_pids().contains(&worker)));
                    break;
                }
            }
            assert!(eventually(|| pool.worker_pids().len() == setup.workers));
        }
    }
    assert_eq!(pool.stats().items_failed, 0);
}

fn a_copy_that_has_left_the_group_lives_on_and_holds_nothing_up(setup: &Setup) {
    let pool = setup.pool();
    let note = Gate::new();
    let (worker, copy) = pool.apply(copy_itself::Task, (Copy::LeavesTheGroup, note.path())).unwrap();
    let copy = copy.unwrap();
    kill_9(worker);
    assert_works(&pool, setup);
    pool.close();
    pool.join().unwrap();
    drop(pool);
    assert!(is_alive(copy), "nobody knows it, so nobody can have ended it");
    kill_9(copy);
    assert!(eventually(|| !is_alive(copy)));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Companion {
    Sleeps,
    Panics,
    EndsTheProcess,
}

/// Leaves a thread behind, which does something when the task has long returned.
#[pool_task]
fn leave_a_thread(companion: Companion, gate: &str) {
    let gate = gate.to_owned();
    thread::spawn(move || {
        tests::gate::pass(&gate);
        match companion {
            Companion::Sleeps => thread::sleep(Duration::from_secs(600)),
            Companion::Panics => panic!("in another thread"),
            Companion::EndsTheProcess => Way::ExitZero.go(),
        }
    });
}

fn threads_that_outlive_their_task_hold_nothing_up(setup: &Setup) {
    let pool = setup.pool();
    for companion in [Companion::Sleeps, Companion::Panics, Companion::EndsTheProcess] {
        let gate = Gate::new();
        let pids = pool.worker_pids();
        pool.apply(leave_a_thread::Task, (companion, gate.path())).unwrap();
        gate.open();
        if companion == Companion::EndsTheProcess {
            assert!(eventually(|| pool.worker_pids() != pids), "it does not end");
        }
        assert_works(&pool, setup);
    }
    assert_eq!(pool.stats().items_failed, 0);
    pool.close();
    pool.join().unwrap();
}

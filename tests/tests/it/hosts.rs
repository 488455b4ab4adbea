//! The program around the pool: how it may end, and what else it may be doing.

use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use pool_core::prelude::*;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tests::host::{Host, say, say_pids};
use tests::procs::{self, descendants, eventually, is_alive, kill_9};
use tests::tasks::{Way, crash, nap, pid, square};
use tests::trial::{Check, Setup, each_method, everywhere, program};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(a_host_that_is_killed_takes_everything_along),
        each_method(a_host_that_is_killed_takes_stopped_workers_along),
        each_method(a_host_that_exits_without_join_leaves_nothing),
        each_method(a_host_that_forgets_its_pool_leaves_nothing),
        each_method(a_host_that_panics_leaves_nothing_and_exits_with_101),
        each_method(a_host_that_aborts_leaves_nothing),
        each_method(ctrl_c_is_for_the_host_to_decide),
        each_method(a_host_that_dies_of_ctrl_c_takes_everything_along),
        each_method(a_copy_of_the_host_may_drop_its_pool),
        each_method(a_copy_of_the_host_does_not_hold_up_the_end),
        each_method(a_copy_of_the_host_does_not_outlive_it_with_workers),
        each_method(workers_outlive_the_thread_that_made_the_pool)
            .methods(&[StartMethod::ForkServer, StartMethod::Spawn]),
        each_method(fork_is_refused_in_a_host_with_threads).methods(&[StartMethod::Fork]),
        each_method(a_host_may_ignore_sigchld),
        each_method(a_host_may_reap_every_child),
        each_method(a_host_may_block_all_signals),
        each_method(a_host_may_have_closed_its_standard_streams),
        each_method(the_hosts_own_children_are_left_alone),
        each_method(a_host_that_was_stopped_goes_on),
        everywhere(threads_and_locks_of_the_host_hang_nothing),
        program(busy),
        program(idle),
        program(exits_without_join),
        program(forgets_its_pool),
        program(panics),
        program(aborts),
        program(survives_ctrl_c),
        program(has_a_copy),
    ]
}

// ---- ends ----------------------------------------------------------------------------------------------------------

/// Makes a pool and says its workers' pids.
fn start(setup: &Setup) -> Pool {
    let pool = setup.pool();
    say_pids(&pool.worker_pids());
    pool
}

fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

fn busy(setup: &Setup) {
    let pool = start(setup);
    drop(pool.map_async(nap::Task, vec![30_000; 100]).unwrap());
    let _ = pool.apply(nap::Task, 30_000);
}

fn idle(setup: &Setup) {
    let pool = start(setup);
    assert_eq!(pool.apply(square::Task, 2).unwrap(), 4);
    say("idle");
    wait_for_the_end();
}

/// Nothing is left but this process.
fn assert_all_gone(pids: &[u32]) {
    assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))), "workers are left: {:?}", descendants());
    assert!(eventually(|| descendants().is_empty()), "processes are left: {:?}", descendants());
}

fn a_host_that_is_killed_takes_everything_along(setup: &Setup) {
    for program in [busy, idle] {
        let mut host = Host::start(program, setup);
        let pids = host.pids();
        assert_eq!(pids.len(), setup.workers);
        assert!(pids.iter().all(|pid| is_alive(*pid)));
        if program as fn(&Setup) == idle as fn(&Setup) {
            assert_eq!(host.line(), "idle");
        }
        host.signal(Signal::SIGKILL);
        assert_eq!(host.wait().1, "");
        assert_all_gone(&pids);
    }
}

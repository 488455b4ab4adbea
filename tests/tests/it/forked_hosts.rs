//! Copies of a host that are made by `fork` while its threads hold the pool's locks: nothing blocks there, and everything
//! says that it is of no use.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use pool_core::prelude::*;
use pool_core::{PoolState, Stats, as_completed, wait_any};
use tests::gate::{Gate, pass};
use tests::procs::{self, SOON};
use tests::tasks::{echo, square};
use tests::trial::{Check, Setup, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(a_copy_of_a_busy_host_never_blocks_when_it_asks),
        once(a_copy_is_told_at_once_of_every_outcome),
        once(dropping_handles_in_a_copy_takes_no_lock),
    ]
}

/// Runs `body` in a copy of this process; its exit code, or `None` if it has not ended soon.
fn in_copy(body: impl FnOnce() -> bool) -> Option<i32> {
    // SAFETY:
    // - the child uses memory and threads as glibc allows after a fork, and leaves without any destructor.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let code = if body() { 0 } else { 1 };
            // SAFETY:
            // - `_exit` has no preconditions.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => end_of(child),
    }
}

fn end_of(child: Pid) -> Option<i32> {
    let deadline = Instant::now() + SOON / 2;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::Exited(_, code) => return Some(code),
            WaitStatus::StillAlive if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            _ => {
                procs::kill_9(child.as_raw() as u32);
                waitpid(child, None).unwrap();
                return None;
            }
        }
    }
}

/// Does `body` while threads keep the pool's locks taken for most of the time.
fn while_busy(pool: &Pool, body: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    pool.stats();
                    pool.worker_pids();
                }
            });
        }
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                pool.map(square::Task, 0..100).unwrap();
            }
        });
        body();
        is_over.store(true, Ordering::Relaxed);
    });
}

const COPIES: usize = 40;

fn a_copy_of_a_busy_host_never_blocks_when_it_asks(setup: &Setup) {
    let pool = setup.pool();
    while_busy(&pool, || {
        for _ in 0..COPIES {
            let code = in_copy(|| {
                pool.close();
                pool.terminate();
                let text = format!("{pool:?}");
                pool.state() == PoolState::Terminated
                    && (pool.workers(), pool.worker_pids(), pool.stats()) == (0, Vec::new(), Stats::default())
                    && text.contains("Terminated")
                    && pool.resize(0).is_err_and(is_unsupported)
                    && pool.join().is_err_and(is_unsupported)
                    && pool.apply(square::Task, 1).is_err_and(is_unsupported)
                    && pool.map(square::Task, 0..3).is_err_and(is_unsupported)
                    && pool.imap(square::Task, 0..3).is_err_and(is_unsupported)
            });
            assert_eq!(code, Some(0), "`None`: it blocked; 1: it was told something else");
        }
    });
    assert_eq!(pool.state(), PoolState::Open);
}

fn is_unsupported(error: pool_core::Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

fn poll<R>(job: &mut AsyncResult<R>) -> Poll<pool_core::Result<R>> {
    Pin::new(job).poll(&mut Context::from_waker(Waker::noop()))
}

fn a_copy_is_told_at_once_of_every_outcome(setup: &Setup) {
    let pool = setup.pool();
    let mut lazy = pool.imap(square::Task, 0..10).unwrap();
    assert_eq!(lazy.next().unwrap().unwrap(), 0);
    let gate = Gate::new();
    let job = || pool.apply_async(pass::Task, gate.path()).unwrap();
    let (mut polled, mut timed, got) = (job(), job(), job());
    let (called, completed, any) = (job(), vec![job(), job()], [job()]);
    let code = in_copy(move || {
        let (sender, receiver) = mpsc::channel();
        called.on_done(move |result| sender.send(result).unwrap());
        any[0].wait();
        let of_imap: Vec<_> = lazy.by_ref().collect();
        receiver.recv().is_ok_and(|result| result.is_err_and(is_unsupported))
            && matches!(poll(&mut polled), Poll::Ready(Err(error)) if error.kind() == ErrorKind::Unsupported)
            && timed.get_timeout(Duration::ZERO).is_err_and(is_unsupported)
            && got.get().is_err_and(is_unsupported)
            && !any[0].wait_timeout(SOON)
            && any[0].successful().is_none()
            && !any[0].cancel()
            && wait_any(&any, None).is_none()
            && as_completed(completed).all(|(_, result)| result.is_err_and(is_unsupported))
            && of_imap.into_iter().last().is_some_and(|result| result.is_err_and(is_unsupported))
            && lazy.next().is_none()
    });
    assert_eq!(code, Some(0), "`None`: it blocked; 1: it was told something else");
    gate.open();
}

fn dropping_handles_in_a_copy_takes_no_lock(setup: &Setup) {
    let pool = setup.pool();
    let job = pool.map_async(echo::Task.chunk_size(1), (0..300).map(|_| vec![1])).unwrap();
    job.wait();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Holds the handle's own lock most of the time.
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(job.successful(), Some(true));
                }
            });
        }
        for _ in 0..COPIES {
            let code = in_copy(|| {
                // SAFETY:
                // - the original stays in memory, and this process leaves without touching it again.
                let own = unsafe { std::ptr::read(&raw const job) };
                drop(own);
                true
            });
            assert_eq!(code, Some(0), "`None`: it blocked");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(job.get().unwrap().len(), 300);
}

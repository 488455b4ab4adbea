//! A notifier under jobs that block, wait for one another, and end quickly.

use std::sync::Barrier;
use std::sync::mpsc::{Receiver, channel};

use super::*;

const SOON: Duration = Duration::from_secs(60);

fn notifier() -> Arc<Notifier> {
    Notifier::new("test", Arc::new(EventFd::new().unwrap()))
}

fn push(notifier: &Arc<Notifier>, jobs: Vec<Job>) {
    let callbacks = jobs.iter().filter(|job| matches!(job, Job::Call(_)));
    callbacks.for_each(|_| notifier.expect_callback());
    notifier.push(jobs);
}

fn call(callback: impl FnOnce() + Send + 'static) -> Job {
    Job::Call(Box::new(callback))
}

/// Jobs that return when all of them run, and a channel that gets a message from each.
fn jobs_that_meet(count: usize) -> (Vec<Job>, Receiver<()>) {
    let (sender, receiver) = channel();
    let barrier = Arc::new(Barrier::new(count));
    let job = |_| {
        let (sender, barrier) = (sender.clone(), Arc::clone(&barrier));
        call(move || {
            barrier.wait();
            sender.send(()).unwrap();
        })
    };
    ((0..count).map(job).collect(), receiver)
}

#[test]
fn a_thousand_jobs_that_wait_for_one_another_run() {
    let (notifier, (jobs, done)) = (notifier(), jobs_that_meet(1000));
    push(&notifier, jobs);
    for _ in 0..1000 {
        done.recv_timeout(SOON).unwrap();
    }
    assert!(notifier.close(None));
}

#[test]
fn jobs_that_come_one_by_one_while_others_block_run() {
    let (notifier, (jobs, done)) = (notifier(), jobs_that_meet(100));
    for job in jobs {
        push(&notifier, vec![job, Job::Wake(Waker::noop().clone())]);
    }
    for _ in 0..100 {
        done.recv_timeout(SOON).unwrap();
    }
    assert!(notifier.close(None));
}

#[test]
fn quick_jobs_need_few_threads() {
    let notifier = notifier();
    let (sender, done) = channel();
    let job = |_| {
        let sender = sender.clone();
        call(move || sender.send(()).unwrap())
    };
    push(&notifier, (0..10_000).map(job).collect());
    for _ in 0..10_000 {
        done.recv_timeout(SOON).unwrap();
    }
    let threads = notifier.state().threads;
    assert!(threads < 50, "{threads} threads");
    assert!(notifier.close(None));
}

/// Threads linger for a while, so one is enough for jobs that come one after the other; then they end by themselves.
#[test]
fn a_thread_lingers_and_ends() {
    let notifier = notifier();
    for _ in 0..100 {
        let (sender, done) = channel();
        push(&notifier, vec![call(move || sender.send(()).unwrap())]);
        done.recv_timeout(SOON).unwrap();
    }
    let threads = notifier.state().threads;
    assert!((1..50).contains(&threads), "{threads} threads");
    await_threads(&notifier, 0);
}

fn await_threads(notifier: &Arc<Notifier>, count: usize) {
    let deadline = Instant::now() + SOON;
    while notifier.state().threads != count {
        assert!(Instant::now() < deadline, "{} threads stay", notifier.state().threads);
        thread::sleep(LINGER / 10);
    }
}

#[test]
fn the_end_waits_for_callbacks_but_not_for_wakers() {
    struct Blocks(Mutex<Receiver<()>>);

    impl std::task::Wake for Blocks {
        fn wake(self: Arc<Self>) {
            let _ = self.0.lock().unwrap().recv();
        }
    }

    let notifier = notifier();
    let (open_waker, gate) = channel();
    push(&notifier, vec![Job::Wake(Waker::from(Arc::new(Blocks(Mutex::new(gate)))))]);
    let (open_callback, gate) = channel::<()>();
    push(&notifier, vec![call(move || _ = gate.recv())]);
    assert!(!notifier.close(Some(Instant::now() + Duration::from_millis(50))));
    drop(open_callback);
    assert!(notifier.close(None));
    // The waker's.
    await_threads(&notifier, 1);
    drop(open_waker);
    assert!(notifier.close(None));
}

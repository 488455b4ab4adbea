//! Threads that wait: several for one handle, for maps that have come in part, and the state that a wait leaves behind when
//! it runs out.

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use pool_core::prelude::*;
use pool_core::{as_completed, wait_any};
use tests::gate::{Gate, pass};
use tests::procs::{SOON, eventually};
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, each_method, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(several_threads_wait_for_one_handle),
        each_method(a_thread_waits_for_a_map_that_has_come_in_part),
        each_method(waits_that_run_out_leave_the_others_theirs),
        each_method(a_wait_that_ran_out_leaves_the_future_its_waker),
        each_method(as_completed_takes_over_handles_that_were_polled),
        once(a_long_wait_costs_next_to_nothing),
        once(a_thread_that_maps_looks_ever_less_often_for_long_items),
    ]
}

/// A pool in which a thread leads until `body` is done, since it waits for a job that the first worker runs.
fn while_another_leads(setup: &Setup, body: impl FnOnce(&Pool)) {
    let pool = setup.with_workers(3).pool();
    let end = Gate::new();
    let long = pool.apply_async(pass::Task, end.path()).unwrap();
    thread::scope(|scope| {
        let leader = scope.spawn(|| long.wait());
        // It leads as soon as it sleeps, and nobody else waits yet.
        thread::sleep(Duration::from_millis(50));
        body(&pool);
        assert!(!leader.is_finished());
        end.open();
    });
}

fn several_threads_wait_for_one_handle(setup: &Setup) {
    while_another_leads(setup, |pool| {
        let gate = Gate::new();
        let job = Arc::new(pool.apply_async(pass::Task, gate.path()).unwrap());
        let (sender, receiver) = mpsc::channel();
        for limit in [None, None, Some(3 * SOON), Some(3 * SOON)] {
            let (sender, job) = (sender.clone(), Arc::clone(&job));
            thread::spawn(move || {
                match limit {
                    None => job.wait(),
                    Some(limit) => assert!(job.wait_timeout(limit)),
                }
                sender.send(()).unwrap();
            });
        }
        thread::sleep(Duration::from_millis(50));
        gate.open();
        for _ in 0..4 {
            receiver.recv_timeout(SOON).expect("each is told, though another thread leads on");
        }
    });
}

/// Waits for the gate, if it is given one. Not a number, which would land elsewhere than in the handle.
#[pool_task]
fn after(gate: &str) -> String {
    if !gate.is_empty() {
        pass(gate);
    }
    gate.to_owned()
}

fn a_thread_waits_for_a_map_that_has_come_in_part(setup: &Setup) {
    while_another_leads(setup, |pool| {
        let gate = Gate::new();
        let map = pool.map_async(after::Task.chunk_size(1), ["", "", gate.path(), ""]).unwrap();
        // Only its third item is open.
        assert!(eventually(|| pool.stats().items_succeeded == 3));
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            map.wait();
            sender.send(map.get().map(|values| values.len())).unwrap();
        });
        thread::sleep(Duration::from_millis(50));
        gate.open();
        let length = receiver.recv_timeout(SOON).expect("it is told, though another thread leads on");
        assert_eq!(length.unwrap(), 4);
    });
}

fn waits_that_run_out_leave_the_others_theirs(setup: &Setup) {
    while_another_leads(setup, |pool| {
        let gate = Gate::new();
        let jobs = Arc::new([pool.apply_async(pass::Task, gate.path()).unwrap()]);
        let (sender, receiver) = mpsc::channel();
        let waiting = Arc::clone(&jobs);
        thread::spawn(move || {
            waiting[0].wait();
            sender.send(()).unwrap();
        });
        thread::sleep(Duration::from_millis(20));
        for _ in 0..3 {
            assert!(!jobs[0].wait_timeout(Duration::from_millis(5)));
            assert_eq!(wait_any(&*jobs, Some(Duration::from_millis(5))), None);
        }
        gate.open();
        receiver.recv_timeout(SOON).expect("it is told, though another thread leads on");
        assert_eq!(wait_any(&*jobs, Some(SOON)), Some(0));
    });
}

/// Tells when it is woken.
struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

fn poll<R>(job: &mut AsyncResult<R>, waker: &Waker) -> Poll<pool_core::Result<R>> {
    Pin::new(job).poll(&mut Context::from_waker(waker))
}

fn a_wait_that_ran_out_leaves_the_future_its_waker(setup: &Setup) {
    while_another_leads(setup, |pool| {
        let gate = Gate::new();
        let mut jobs = [pool.apply_async(pass::Task, gate.path()).unwrap()];
        let (sender, receiver) = mpsc::channel();
        let (earlier, later) = (mpsc::channel(), Waker::from(Arc::new(Bell(sender))));
        assert!(poll(&mut jobs[0], &Waker::from(Arc::new(Bell(earlier.0)))).is_pending());
        assert!(poll(&mut jobs[0], &later).is_pending());
        assert!(poll(&mut jobs[0], &later).is_pending());
        assert!(!jobs[0].wait_timeout(Duration::from_millis(5)));
        assert_eq!(wait_any(&jobs, Some(Duration::from_millis(5))), None);
        gate.open();
        receiver.recv_timeout(SOON).expect("the waker of the latest poll is woken");
        assert!(poll(&mut jobs[0], &later).is_ready());
        assert!(earlier.1.recv().is_err() && receiver.try_recv().is_err(), "nobody else is woken, and it only once");
    });
}

fn as_completed_takes_over_handles_that_were_polled(setup: &Setup) {
    let pool = setup.pool();
    let (sender, receiver) = mpsc::channel();
    let waker = Waker::from(Arc::new(Bell(sender)));
    let mut jobs: Vec<_> = (0..10).map(|ms| pool.apply_async(nap::Task, ms).unwrap()).collect();
    let still = jobs.iter_mut().map(|job| poll(job, &waker)).filter(Poll::is_pending).count();
    let _ = wait_any(&jobs, Some(Duration::ZERO));
    let jobs: Vec<_> = jobs.into_iter().filter(|job| !job.ready()).collect();
    let left = jobs.len();
    assert_eq!(as_completed(jobs).count(), left);
    assert!(still >= left);
    drop(waker);
    drop(pool);
    assert_eq!(receiver.into_iter().count(), still, "each waker is woken, though its handle was waited for otherwise");
}

/// How often the threads of this process have gone to sleep.
fn switches() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let of_thread = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok()).map(of_thread).sum()
}

fn a_long_wait_costs_next_to_nothing(setup: &Setup) {
    let pool = setup.pool();
    // All that the pool knows of this task is that it takes no time.
    pool.map(nap::Task, std::iter::repeat_n(0, 2000)).unwrap();
    let _: Vec<_> = (0..2000).map(|_| pool.apply_async(nap::Task, 0).unwrap()).collect();
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert!(eventually(|| pool.stats().items_pending == 0));
    let long = [pool.apply_async(nap::Task, 4000).unwrap(), pool.apply_async(nap::Task, 4000).unwrap()];
    thread::sleep(Duration::from_millis(500));
    let before = switches();
    for job in long {
        job.get().unwrap();
    }
    let woken = switches() - before;
    assert!(woken < 100, "{woken} times in 3.5 s");
}

fn a_thread_that_maps_looks_ever_less_often_for_long_items(setup: &Setup) {
    let pool = setup.pool();
    let before = switches();
    // The ends of the chunks before the last ones wake nobody, so the thread looks for them by itself.
    pool.map(nap::Task.chunk_size(1), std::iter::repeat_n(500, 8)).unwrap();
    let woken = switches() - before;
    assert!(woken < 120, "{woken} times in 2 s");
}

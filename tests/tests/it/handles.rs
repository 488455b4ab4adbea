//! Handles: waiting for one, any or all, cancelling, callbacks, and their use as futures.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use pool_core::prelude::*;
use pool_core::{as_completed, wait_any};
use tests::gate::{Gate, open_and_hang, pass};
use tests::panics::silently;
use tests::procs::SOON;
use tests::tasks::{halve, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(ready_successful_and_wait_timeout_tell_how_far_it_is),
        each_method(wait_any_gives_the_first_that_is_done),
        // The second pool would be made in a process with the threads of the first, which `Fork` refuses.
        each_method(wait_any_looks_at_the_jobs_of_several_pools)
            .methods(&[StartMethod::ForkServer, StartMethod::Spawn]),
        each_method(as_completed_yields_in_the_order_of_completion),
        each_method(a_handle_is_a_future),
        each_method(dropping_a_handle_does_not_stop_the_job),
        everywhere(a_queued_job_can_be_cancelled),
        everywhere(a_running_job_can_be_cancelled),
        each_method(a_map_can_be_cancelled),
        each_method(a_callback_gets_the_outcome_once),
        each_method(a_blocking_callback_delays_nobody),
        each_method(a_panicking_callback_harms_nobody),
        each_method(a_callback_may_use_the_same_pool),
        each_method(a_callback_may_drop_the_pool),
        each_method(every_callback_runs_even_if_the_pool_is_dropped),
    ]
}

fn ready_successful_and_wait_timeout_tell_how_far_it_is(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let job = pool.apply_async(pass::Task, gate.path()).unwrap();
    let failing = pool.apply_async(halve::Task, 1).unwrap();
    assert_eq!((job.ready(), job.successful()), (false, None));
    assert!(!job.wait_timeout(Duration::ZERO));
    assert!(!job.wait_timeout(Duration::from_millis(20)));
    gate.open();
    job.wait();
    assert!(job.wait_timeout(Duration::ZERO));
    assert_eq!((job.ready(), job.successful()), (true, Some(true)));
    failing.wait();
    assert_eq!((failing.ready(), failing.successful()), (true, Some(false)));
    assert!(pool.worker_pids().contains(&job.get().unwrap()));
    let half_good = pool.map_async(halve::Task, 0..10).unwrap();
    half_good.wait();
    assert_eq!(half_good.successful(), Some(false));
}

fn wait_any_gives_the_first_that_is_done(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let jobs = [pool.apply_async(pass::Task, gate.path()).unwrap(), pool.apply_async(pass::Task, "/").unwrap()];
    assert_eq!(wait_any(&jobs, None), Some(1));
    assert_eq!(wait_any(&jobs[..1], Some(Duration::from_millis(20))), None);
    assert_eq!(wait_any(&jobs[..1], Some(Duration::ZERO)), None);
    assert_eq!(wait_any::<u64>(&[], None), None);
    gate.open();
    assert_eq!(wait_any(&jobs[..1], Some(SOON)), Some(0));
}

fn wait_any_looks_at_the_jobs_of_several_pools(setup: &Setup) {
    let pools = [setup.pool(), setup.pool()];
    let gate = Gate::new();
    let jobs = [pools[0].apply_async(pass::Task, gate.path()).unwrap(), pools[1].apply_async(pass::Task, "/").unwrap()];
    assert_eq!(wait_any(&jobs, None), Some(1));
    gate.open();
    assert_eq!(as_completed(jobs).count(), 2);
}

fn as_completed_yields_in_the_order_of_completion(setup: &Setup) {
    let pool = setup.with_workers(3).pool();
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let jobs = gates.iter().map(|gate| pool.apply_async(pass::Task, gate.path()).unwrap());
    let mut jobs = as_completed(jobs.collect::<Vec<_>>());
    for next in [1, 2, 0] {
        assert_eq!(jobs.len(), [1, 3, 2][next]);
        gates[next].open();
        let (index, pid) = jobs.next().unwrap();
        assert_eq!(index, next);
        assert!(pool.worker_pids().contains(&pid.unwrap()));
    }
    assert!(jobs.next().is_none());
}

/// Wakes a thread.
struct Alarm(Thread);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Alarm(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn a_handle_is_a_future(setup: &Setup) {
    let pool = setup.pool();
    let sum = async {
        let (a, b) = (pool.apply_async(nap::Task, 30)?, pool.apply_async(nap::Task, 20)?);
        let all = pool.map_async(square::Task, 0..10)?;
        Ok::<_, pool_core::Error>(a.await? + b.await? + all.await?.iter().sum::<u64>())
    };
    assert_eq!(block_on(sum).unwrap(), 50 + 285);
    let done = pool.apply_async(square::Task, 2).unwrap();
    done.wait();
    assert_eq!(block_on(done).unwrap(), 4);
    let open = pool.apply_async(nap::Task, 30_000).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(open));
        pool.terminate();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Terminated);
    });
}

fn dropping_a_handle_does_not_stop_the_job(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    drop(pool.apply_async(open_and_hang::Task, gate.path()).unwrap());
    gate.wait();
    assert_eq!(pool.stats().items_pending, 1);
}

fn a_queued_job_can_be_cancelled(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let gate = Gate::new();
    let running: Vec<_> = (0..setup.workers).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
    let mut queued: Vec<_> = (0..20).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    let cancelled = [queued.remove(17), queued.remove(5)];
    for job in cancelled {
        assert!(job.cancel());
        assert!(!job.cancel(), "once is enough");
        assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    }
    gate.open();
    assert!(running.into_iter().all(|job| pids.contains(&job.get().unwrap())));
    assert_eq!(queued.into_iter().filter(|job| job.wait_timeout(SOON) && job.successful() == Some(true)).count(), 18);
    let done = pool.apply_async(square::Task, 3).unwrap();
    done.wait();
    assert!(!done.cancel());
    assert_eq!(done.get().unwrap(), 9);
    assert_eq!(pool.worker_pids(), pids, "no worker was hurt");
}

fn a_running_job_can_be_cancelled(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let hanging = pool.apply_async(open_and_hang::Task, gate.path()).unwrap();
    gate.wait();
    let others: Vec<_> = (0..20).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    assert!(hanging.cancel());
    let error = hanging.get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.task().unwrap().ends_with("::open_and_hang"), "{error}");
    for (x, other) in (0..).zip(others) {
        assert_eq!(other.get().unwrap(), x * x);
    }
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
}

fn a_map_can_be_cancelled(setup: &Setup) {
    let pool = setup.pool();
    let before = pool.apply_async(nap::Task, 50).unwrap();
    let map = pool.map_async(nap::Task, [5000; 1000]).unwrap();
    let behind = pool.apply_async(square::Task, 3).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert!(map.cancel());
    assert_eq!(map.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!((before.get().unwrap(), behind.get().unwrap()), (50, 9));
    pool.close();
    pool.join().unwrap();
}

fn a_callback_gets_the_outcome_once(setup: &Setup) {
    let pool = setup.pool();
    let (sender, receiver) = mpsc::channel();
    let main = thread::current().id();
    for x in [2, 3] {
        let sender = sender.clone();
        let job = pool.apply_async(halve::Task, x).unwrap();
        job.on_done(move |result| sender.send((thread::current().id(), result)).unwrap());
    }
    // A job that has its outcome already, and a map.
    let done = pool.apply_async(halve::Task, 8).unwrap();
    done.wait();
    let other_sender = sender.clone();
    done.on_done(move |result| other_sender.send((thread::current().id(), result)).unwrap());
    let list = pool.map_async(halve::Task, [2, 4]).unwrap();
    list.on_done(move |result| {
        let sum = result.map(|halves| 100 + halves.iter().sum::<u64>());
        sender.send((thread::current().id(), sum)).unwrap();
    });
    let outcomes: Vec<_> = receiver.into_iter().collect();
    assert!(outcomes.iter().all(|(thread, _)| *thread != main));
    let (values, errors): (Vec<_>, Vec<_>) = outcomes.into_iter().map(|(_, result)| result).partition(Result::is_ok);
    let mut values: Vec<_> = values.into_iter().map(Result::unwrap).collect();
    values.sort_unstable();
    assert_eq!(values, [1, 4, 103]);
    assert_eq!(errors.len(), 1);
}

fn a_blocking_callback_delays_nobody(setup: &Setup) {
    let pool = setup.pool();
    let (open, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    for _ in 0..10 {
        let gate = Arc::clone(&gate);
        pool.apply_async(square::Task, 1).unwrap().on_done(move |_| assert!(gate.lock().unwrap().recv().is_err()));
    }
    let (sender, receiver) = mpsc::channel();
    pool.apply_async(square::Task, 9).unwrap().on_done(move |result| sender.send(result).unwrap());
    assert_eq!(receiver.recv_timeout(SOON).unwrap().unwrap(), 81);
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    drop(open);
}

fn a_panicking_callback_harms_nobody(setup: &Setup) {
    let pool = setup.pool();
    silently(|| {
        for _ in 0..10 {
            pool.apply_async(square::Task, 1).unwrap().on_done(|_| panic!("on purpose"));
        }
        let (sender, receiver) = mpsc::channel();
        pool.apply_async(square::Task, 9).unwrap().on_done(move |result| sender.send(result).unwrap());
        assert_eq!(receiver.recv_timeout(SOON).unwrap().unwrap(), 81);
        pool.close();
        pool.join().unwrap();
    });
}

fn a_callback_may_use_the_same_pool(setup: &Setup) {
    let pool = Arc::new(setup.pool());
    let (sender, receiver) = mpsc::channel();
    for x in 0..10 {
        let (sender, same) = (sender.clone(), Arc::clone(&pool));
        pool.apply_async(square::Task, x).unwrap().on_done(move |result| {
            let sum: u64 = same.map(square::Task, [result.unwrap(), 1]).unwrap().iter().sum();
            sender.send(same.apply(square::Task, sum).unwrap()).unwrap();
        });
    }
    let mut sums: Vec<_> = (0..10).map(|_| receiver.recv_timeout(SOON).unwrap()).collect();
    sums.sort_unstable();
    assert_eq!(sums, (0..10).map(|x: u64| (x.pow(4) + 1).pow(2)).collect::<Vec<_>>());
}

fn a_callback_may_drop_the_pool(setup: &Setup) {
    let (sender, receiver) = mpsc::channel();
    let pool = Arc::new(Mutex::new(Some(setup.pool())));
    let job = pool.lock().unwrap().as_ref().unwrap().apply_async(square::Task, 5).unwrap();
    let inside = Arc::clone(&pool);
    job.on_done(move |result| {
        drop(inside.lock().unwrap().take());
        sender.send(result).unwrap();
    });
    assert_eq!(receiver.recv_timeout(SOON).unwrap().unwrap(), 25);
    assert!(pool.lock().unwrap().is_none());
}

fn every_callback_runs_even_if_the_pool_is_dropped(setup: &Setup) {
    let called = Arc::new(AtomicUsize::new(0));
    let pool = setup.pool();
    for _ in 0..20 {
        let called = Arc::clone(&called);
        pool.apply_async(nap::Task, 30_000).unwrap().on_done(move |result| {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Terminated);
            called.fetch_add(1, Ordering::Relaxed);
        });
    }
    drop(pool);
    assert!(tests::procs::eventually(|| called.load(Ordering::Relaxed) == 20));
}

//! Wakers that misbehave: they panic, block, use the pool, or drop it. Neither the pool nor other futures may notice.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::leaks::threads;
use tests::panics::{expect_panic, silently};
use tests::procs::{SOON, eventually, is_alive};
use tests::tasks::{Way, crash, nap, square};
use tests::trial::{Check, Setup, each_method, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_waker_may_panic),
        each_method(a_waker_may_use_the_pool),
        each_method(the_destructor_of_a_waker_may_use_the_pool),
        each_method(a_waker_may_drop_the_pool),
        each_method(a_waker_that_blocks_holds_up_nobody),
        each_method(a_waker_that_panics_in_clone_leaves_the_future_as_it_was),
        once(quick_wakers_share_a_few_threads),
    ]
}

/// A waker that runs this.
struct Does<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn waker(act: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Does(act)))
}

fn poll<R>(job: &mut AsyncResult<R>, waker: &Waker) -> bool {
    Pin::new(job).poll(&mut Context::from_waker(waker)).is_ready()
}

/// The thread that takes in the reply that a waker waits for.
#[derive(Clone, Copy, Debug)]
enum By {
    Router,
    Leader,
    Supervisor,
}

/// Has the waker woken by each, and then does `body` while it may still run.
fn woken_by_each(setup: &Setup, make: impl Fn(&Arc<Pool>) -> Waker, body: impl Fn(By, &Arc<Pool>)) {
    for by in [By::Router, By::Leader, By::Supervisor] {
        let pool = Arc::new(setup.with_workers(2).pool());
        let waker = make(&pool);
        let end = Gate::new();
        thread::scope(|scope| {
            if let By::Leader = by {
                let (leading, end) = (Arc::clone(&pool), end.path());
                scope.spawn(move || leading.apply(pass::Task, end).unwrap());
                assert!(eventually(|| pool_is_busy(&pool)));
            }
            if let By::Supervisor = by {
                let mut job = pool.apply_async(crash::Task, Some(Way::Kill)).unwrap();
                poll(&mut job, &waker);
                drop(waker);
                body(by, &pool);
                drop(job);
            } else {
                let mut job = pool.apply_async(nap::Task, 20).unwrap();
                poll(&mut job, &waker);
                drop(waker);
                body(by, &pool);
                drop(job);
            }
            end.open();
        });
        drop(pool);
        // `Fork` needs a process of one thread for the next pool.
        assert!(eventually(|| threads().len() == 1), "{:?}", threads());
    }
}

fn pool_is_busy(pool: &Pool) -> bool {
    pool.stats().items_pending == 1
}

/// Everything goes on: replies, callbacks, deaths.
fn assert_sound(pool: &Pool) {
    assert_eq!(pool.apply_async(square::Task, 9).unwrap().get_timeout(SOON).unwrap(), 81);
    let (sender, receiver) = mpsc::channel();
    pool.apply_async(square::Task, 5).unwrap().on_done(move |result| sender.send(result).unwrap());
    assert_eq!(receiver.recv_timeout(SOON).expect("callbacks run").unwrap(), 25);
    let death = pool.apply_async(crash::Task, Some(Way::Abort)).unwrap().get_timeout(SOON);
    assert_eq!(death.unwrap_err().kind(), ErrorKind::WorkerDied);
}

fn a_waker_may_panic(setup: &Setup) {
    silently(|| {
        let (sender, receiver) = mpsc::channel();
        let make = |_: &Arc<Pool>| {
            let sender = sender.clone();
            waker(move || {
                sender.send(()).unwrap();
                panic!("on purpose");
            })
        };
        woken_by_each(setup, make, |by, pool| {
            receiver.recv_timeout(SOON).unwrap_or_else(|_| panic!("woken by {by:?}"));
            assert_sound(pool);
        });
    });
}

fn a_waker_may_use_the_pool(setup: &Setup) {
    let (sender, receiver) = mpsc::channel();
    let make = |pool: &Arc<Pool>| {
        let (sender, pool) = (sender.clone(), Arc::clone(pool));
        waker(move || sender.send(pool.apply(square::Task, 7)).unwrap())
    };
    woken_by_each(setup, make, |by, pool| {
        let value = receiver.recv_timeout(SOON).unwrap_or_else(|_| panic!("woken by {by:?}"));
        assert_eq!(value.unwrap(), 49);
        assert_sound(pool);
    });
}

/// Its destructor asks the pool for a while.
struct Asks(Arc<Pool>, Arc<AtomicUsize>);

impl Wake for Asks {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Asks {
    fn drop(&mut self) {
        for _ in 0..30 {
            self.0.stats();
            thread::sleep(Duration::from_millis(1));
        }
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

fn the_destructor_of_a_waker_may_use_the_pool(setup: &Setup) {
    let pool = Arc::new(setup.pool());
    let dropped = Arc::new(AtomicUsize::new(0));
    let waker = || Waker::from(Arc::new(Asks(Arc::clone(&pool), Arc::clone(&dropped))));
    // Each job ends in the middle of a destructor, for which it must not have to wait.
    let mut replaced = pool.apply_async(nap::Task, 10).unwrap();
    assert!(!poll(&mut replaced, &waker()));
    poll(&mut replaced, &waker());
    let mut abandoned = pool.apply_async(nap::Task, 10).unwrap();
    assert!(!poll(&mut abandoned, &waker()));
    drop(abandoned);
    let mut woken = pool.map_async(nap::Task, [10]).unwrap();
    assert!(!poll(&mut woken, &waker()));
    assert_eq!((replaced.get().unwrap(), woken.get().unwrap()), (10, vec![10]));
    assert!(eventually(|| dropped.load(Ordering::Relaxed) == 4));
    assert_sound(&pool);
    // None is left anywhere.
    assert!(eventually(|| Arc::strong_count(&pool) == 1));
}

fn a_waker_may_drop_the_pool(setup: &Setup) {
    for way in [None, Some(Way::Kill)] {
        let holder = Arc::new(Mutex::new(None));
        let (sender, receiver) = mpsc::channel();
        let inside = Arc::clone(&holder);
        let waker = waker(move || {
            drop(inside.lock().unwrap().take());
            sender.send(()).unwrap();
        });
        let pool = setup.pool();
        let pids = pool.worker_pids();
        let gate = Gate::new();
        let mut job = pool.apply_async(end_when_open::Task, (gate.path(), way)).unwrap();
        assert!(!poll(&mut job, &waker));
        *holder.lock().unwrap() = Some(pool);
        gate.open();
        receiver.recv_timeout(SOON).expect("a pool can be dropped by a waker");
        assert!(!pids.into_iter().any(is_alive));
        assert!(job.ready());
        assert!(eventually(|| threads().len() == 1), "{:?}", threads());
    }
}

#[pool_task]
fn end_when_open(gate: &str, way: Option<Way>) {
    pass(gate);
    if let Some(way) = way {
        way.go();
    }
}

fn a_waker_that_blocks_holds_up_nobody(setup: &Setup) {
    let pool = setup.pool();
    let (open, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let blocked: Vec<_> = (0..20)
        .map(|_| {
            let gate = Arc::clone(&gate);
            let mut job = pool.apply_async(nap::Task, 5).unwrap();
            poll(&mut job, &waker(move || _ = gate.lock().unwrap().recv()));
            job
        })
        .collect();
    blocked.iter().for_each(AsyncResult::wait);
    let (sender, receiver) = mpsc::channel();
    let mut job = pool.apply_async(nap::Task, 5).unwrap();
    assert!(!poll(&mut job, &waker(move || _ = sender.send(()))) || job.ready());
    receiver.recv_timeout(SOON).expect("another future is woken");
    assert_sound(&pool);
    // Not even the pool's end waits for a waker: it may wait for the thread that ends the pool.
    drop(pool);
    drop(open);
}

/// Not of `std::task::Wake`, since it needs a `clone` of its own.
mod unclonable {
    use std::task::{RawWaker, RawWakerVTable, Waker};

    const TABLE: RawWakerVTable = RawWakerVTable::new(|_| panic!("no clone"), |_| (), |_| (), |_| ());

    pub(super) fn waker() -> Waker {
        // SAFETY:
        // - none of the functions uses the pointer, and none of them but `clone`, which never returns, has to make anything.
        unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) }
    }
}

fn a_waker_that_panics_in_clone_leaves_the_future_as_it_was(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let mut job = pool.apply_async(pass::Task, gate.path()).unwrap();
    let (sender, receiver) = mpsc::channel();
    assert!(!poll(&mut job, &waker(move || _ = sender.send(()))));
    assert_eq!(expect_panic(|| poll(&mut job, &unclonable::waker())), "no clone");
    gate.open();
    receiver.recv_timeout(SOON).expect("the earlier waker is woken");
    assert!(job.get().is_ok());
    assert_sound(&pool);
}

fn quick_wakers_share_a_few_threads(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let woken = Arc::new(AtomicUsize::new(0));
    let mut most = 0;
    let mut jobs: Vec<_> = (0..1000).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
    for job in &mut jobs {
        let woken = Arc::clone(&woken);
        assert!(!poll(job, &waker(move || _ = woken.fetch_add(1, Ordering::Relaxed))));
    }
    // All end at once.
    pool.terminate();
    assert!(eventually(|| {
        most = most.max(threads().len());
        woken.load(Ordering::Relaxed) == 1000
    }));
    assert!(most < 50, "{most} threads");
}

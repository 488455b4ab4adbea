//! Callbacks that block, wait for one another, panic, or outlive the pool.

use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::{fs, thread};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pool_core::prelude::*;
use tests::leaks::threads;
use tests::panics::silently;
use tests::procs::{SOON, eventually, threads_of};
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_hundred_callbacks_wait_for_one_another),
        once(three_hundred_callbacks_wait_for_one_another),
        each_method(callbacks_may_panic_with_a_payload_that_panics_when_dropped),
        each_method(the_end_of_the_pool_waits_for_callbacks),
        each_method(a_join_with_a_limit_does_not_wait_longer_for_callbacks),
        each_method(a_callback_may_join_the_pool),
        // The second pool would be made in a process with the threads of the first, which `Fork` refuses.
        each_method(callbacks_of_two_pools_may_drop_each_others)
            .methods(&[StartMethod::ForkServer, StartMethod::Spawn]),
        // Workers that are threads start and allocate in this process: its limit would stop them at times, or leave room.
        each_method(callbacks_wait_for_the_system_to_allow_a_thread).with_processes_only(),
    ]
}

/// None returns before all have been called.
fn wait_for_one_another(setup: &Setup, callbacks: usize) {
    let pool = setup.pool();
    let barrier = Arc::new(Barrier::new(callbacks));
    let (sender, receiver) = mpsc::channel();
    for x in 0..callbacks as u64 {
        let (sender, barrier) = (sender.clone(), Arc::clone(&barrier));
        pool.apply_async(square::Task, x).unwrap().on_done(move |result| {
            barrier.wait();
            sender.send(result).unwrap();
        });
    }
    for _ in 0..callbacks {
        receiver.recv_timeout(SOON).expect("all callbacks run").unwrap();
    }
    drop(pool);
    assert!(eventually(|| threads().len() == 1), "{:?}", threads());
}

fn a_hundred_callbacks_wait_for_one_another(setup: &Setup) {
    wait_for_one_another(setup, 100);
}

fn three_hundred_callbacks_wait_for_one_another(setup: &Setup) {
    wait_for_one_another(setup, 300);
}

/// Panics when it is dropped, with another such.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 && !thread::panicking() {
            panic_any(Bomb(self.0 - 1));
        }
    }
}

fn callbacks_may_panic_with_a_payload_that_panics_when_dropped(setup: &Setup) {
    silently(|| {
        let pool = setup.pool();
        for _ in 0..10 {
            pool.apply_async(square::Task, 1).unwrap().on_done(|_| panic_any(Bomb(3)));
        }
        let (sender, receiver) = mpsc::channel();
        pool.apply_async(square::Task, 9).unwrap().on_done(move |result| sender.send(result).unwrap());
        assert_eq!(receiver.recv_timeout(SOON).unwrap().unwrap(), 81);
        pool.close();
        pool.join().unwrap();
    });
}

fn the_end_of_the_pool_waits_for_callbacks(setup: &Setup) {
    for is_dropped in [true, false] {
        let pool = setup.pool();
        let (begun, wait) = mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        for x in 0..3 {
            let (begun, done) = (begun.clone(), Arc::clone(&done));
            pool.apply_async(square::Task, x).unwrap().on_done(move |_| {
                begun.send(()).unwrap();
                thread::sleep(Duration::from_millis(100));
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        wait.recv_timeout(SOON).unwrap();
        if is_dropped {
            drop(pool);
        } else {
            pool.close();
            pool.join().unwrap();
        }
        assert_eq!(done.load(Ordering::Relaxed), 3);
        assert!(eventually(|| threads().len() == 1), "{:?}", threads());
    }
}

fn a_join_with_a_limit_does_not_wait_longer_for_callbacks(setup: &Setup) {
    let pool = setup.pool();
    let (open, gate) = mpsc::channel::<()>();
    let is_done = Arc::new(AtomicBool::new(false));
    let inside = Arc::clone(&is_done);
    pool.apply_async(square::Task, 3).unwrap().on_done(move |_| {
        let _ = gate.recv();
        inside.store(true, Ordering::Relaxed);
    });
    pool.close();
    let error = pool.join_timeout(Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    drop(open);
    pool.join_timeout(SOON).unwrap();
    assert!(is_done.load(Ordering::Relaxed));
}

fn a_callback_may_join_the_pool(setup: &Setup) {
    let pool = Arc::new(setup.pool());
    let (sender, receiver) = mpsc::channel();
    for x in 0..3 {
        let (sender, same) = (sender.clone(), Arc::clone(&pool));
        pool.apply_async(square::Task, x).unwrap().on_done(move |_| {
            same.close();
            sender.send(same.join()).unwrap();
        });
    }
    drop(sender);
    for _ in 0..3 {
        receiver.recv_timeout(SOON).expect("it does not wait for itself").unwrap();
    }
}

fn callbacks_of_two_pools_may_drop_each_others(setup: &Setup) {
    let pools = [Mutex::new(Some(setup.pool())), Mutex::new(Some(setup.pool()))];
    let (pools, barrier) = (Arc::new(pools), Arc::new(Barrier::new(2)));
    let (sender, receiver) = mpsc::channel();
    let jobs = [0, 1].map(|own| {
        let pool = pools[own].lock().unwrap();
        pool.as_ref().unwrap().apply_async(square::Task, 2).unwrap()
    });
    for (own, job) in jobs.into_iter().enumerate() {
        let (pools, barrier, sender) = (Arc::clone(&pools), Arc::clone(&barrier), sender.clone());
        job.on_done(move |_| {
            barrier.wait();
            let other = pools[1 - own].lock().unwrap().take();
            drop(other);
            sender.send(()).unwrap();
        });
    }
    for _ in 0..2 {
        receiver.recv_timeout(SOON).expect("neither waits for the other");
    }
}

/// Bytes of this process' address space.
fn address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() << 12
}

fn callbacks_wait_for_the_system_to_allow_a_thread(setup: &Setup) {
    let pool = setup.pool();
    let job = pool.apply_async(square::Task, 3).unwrap();
    let (sender, receiver) = mpsc::channel();
    // A thread of the pool that still starts needs memory, too.
    assert!(eventually(|| {
        thread::sleep(Duration::from_millis(20));
        threads_of(std::process::id()).filter(|thread| thread.state != 'S').count() == 1
    }));
    // Enough for this test, and too little for a thread's stack.
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, address_space() + (1 << 20), hard).unwrap();
    job.on_done(move |result| sender.send((thread::current().name().map(str::to_owned), result)).unwrap());
    let early = receiver.recv_timeout(Duration::from_millis(200));
    // No thread that takes in replies or waits runs a callback.
    let value = pool.apply_async(square::Task, 5).unwrap().get_timeout(SOON);
    setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
    assert_eq!((early.is_err(), value.unwrap()), (true, 25));
    let (thread, result) = receiver.recv_timeout(SOON).expect("a thread is asked for again");
    assert_eq!((thread.as_deref(), result.unwrap()), (Some("pool-notify"), 9));
}

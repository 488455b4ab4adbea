//! Listeners that block, panic, use the pool, come late, or are none.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use pool_core::prelude::*;
use pool_core::report;
use tests::gate::Gate;
use tests::panics::silently;
use tests::procs::{SOON, eventually};
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method};

use crate::reports::{count_to, has_been_noted, listener, report_to_the_end, values};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_job_that_nobody_listens_to_does_not_wait),
        each_method(a_blocked_listener_costs_its_job_time_and_no_memory),
        each_method(a_blocked_listener_holds_up_nobody_else).workers(&[1]),
        each_method(many_short_items_do_not_outrun_a_blocked_listener),
        each_method(a_job_with_a_blocked_listener_can_be_cancelled),
        each_method(a_pool_with_a_blocked_listener_can_be_terminated),
        each_method(a_listener_that_panics_hears_no_more),
        each_method(a_listener_may_use_the_pool),
        each_method(a_listener_that_comes_late_hears_everything),
        each_method(a_listener_that_cannot_hear_is_told_so),
    ]
}

const MIB: usize = 1 << 20;

/// Reports so many blobs of 1 KiB.
#[pool_task(reports)]
fn pour(blobs: usize) -> usize {
    let blob = vec![7u8; 1 << 10];
    (0..blobs).filter(|_| report(&blob)).count()
}

fn a_job_that_nobody_listens_to_does_not_wait(setup: &Setup) {
    let pool = setup.pool();
    let blobs = (20 * MIB) >> 10;
    let heard = pool.apply_async(pour::Task, blobs).unwrap().get().unwrap();
    assert!(heard < blobs);
    let mut job = pool.apply_async(pour::Task, blobs).unwrap();
    job.get_timeout(SOON).unwrap();
    assert_eq!(pool.imap(pour::Task, [blobs; 3]).unwrap().filter(Result::is_ok).count(), 3);
    let (sender, receiver) = mpsc::channel();
    pool.apply_async(pour::Task, blobs).unwrap().on_done(move |result| sender.send(result).unwrap());
    receiver.recv_timeout(SOON).unwrap().unwrap();
}

/// A listener that waits at its first report until the other end is dropped, and then counts the others.
fn blocked<T: 'static>() -> (impl FnMut(pool_core::Report<T>) + Send + 'static, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (open, gate) = mpsc::channel::<()>();
    let (sender, heard) = mpsc::channel();
    let listener = move |_| {
        sender.send(()).unwrap();
        let _ = gate.recv();
    };
    (listener, open, heard)
}

fn a_blocked_listener_costs_its_job_time_and_no_memory(setup: &Setup) {
    let pool = setup.pool();
    let (listener, open, heard) = blocked::<Vec<u8>>();
    let task = pour::Task.timeout(Duration::from_millis(500));
    let job = pool.apply_async(task, (100 * MIB) >> 10).unwrap().on_report(listener);
    heard.recv_timeout(SOON).unwrap();
    assert_eq!(job.get().unwrap_err().kind(), ErrorKind::TaskTimeout, "the time counts");
    drop(open);
    let waited = heard.iter().count() << 10;
    assert!(waited < 4 * MIB, "{waited} bytes waited");
    // Without a limit it goes on when the listener does.
    let (listener, open, heard) = blocked::<Vec<u8>>();
    let mut job = pool.apply_async(pour::Task, (5 * MIB) >> 10).unwrap().on_report(listener);
    assert_eq!(job.get_timeout(Duration::from_millis(200)).unwrap_err().kind(), ErrorKind::Timeout);
    drop(open);
    assert_eq!(job.get_timeout(SOON).unwrap(), (5 * MIB) >> 10);
    assert_eq!(heard.iter().count(), (5 * MIB) >> 10);
}

fn a_blocked_listener_holds_up_nobody_else(setup: &Setup) {
    let pool = setup.pool();
    let (listener, open, heard) = blocked::<Vec<u8>>();
    // Its reports fill the queue, but it is not about to send another one.
    let job = pool.apply_async(pour::Task, 900).unwrap().on_report(listener);
    assert_eq!(job.get().unwrap(), 900);
    for x in 0..100 {
        assert_eq!(pool.apply(square::Task, x).unwrap(), x * x);
        let (listener, heard) = self::listener::<u64>();
        assert_eq!(pool.apply_async(count_to::Task, x).unwrap().on_report(listener).get().unwrap(), x);
        assert_eq!(values(heard).len() as u64, x, "its listener is another");
    }
    drop(open);
    assert_eq!(heard.iter().count(), 900);
}

fn many_short_items_do_not_outrun_a_blocked_listener(setup: &Setup) {
    let pool = setup.pool();
    let mut before = 0;
    for task in [1, 50].map(|items| pour::Task.chunk_size(items)) {
        let (listener, open, heard) = blocked::<Vec<u8>>();
        let job = pool.map_async(task, [1; 30_000]).unwrap().on_report(listener);
        heard.recv_timeout(SOON).unwrap();
        // As many as fill the queue, and some that were on their way; then all workers wait.
        assert!(eventually(|| pool.stats().items_succeeded > before + 800));
        thread::sleep(Duration::from_millis(500));
        let done = pool.stats().items_succeeded - before;
        assert!(done < 8000, "{done} items");
        drop(open);
        assert_eq!(job.get().unwrap().iter().sum::<usize>(), 30_000);
        before += 30_000;
        assert_eq!(heard.iter().count(), 30_000 - 1);
    }
}

fn a_job_with_a_blocked_listener_can_be_cancelled(setup: &Setup) {
    let pool = setup.pool();
    let (listener, open, heard) = blocked::<Vec<u8>>();
    let job = pool.apply_async(pour::Task, (100 * MIB) >> 10).unwrap().on_report(listener);
    heard.recv_timeout(SOON).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert!(job.cancel());
    assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    drop(open);
    assert!(heard.iter().count() < (100 * MIB) >> 10);
}

fn a_pool_with_a_blocked_listener_can_be_terminated(setup: &Setup) {
    let pool = setup.pool();
    let (listener, open, heard) = blocked::<Vec<u8>>();
    let job = pool.apply_async(pour::Task, (100 * MIB) >> 10).unwrap().on_report(listener);
    heard.recv_timeout(SOON).unwrap();
    pool.terminate();
    assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Terminated);
    assert_eq!(pool.join_timeout(Duration::from_millis(100)).unwrap_err().kind(), ErrorKind::Timeout);
    drop(open);
    pool.join_timeout(SOON).unwrap();
}

fn a_listener_that_panics_hears_no_more(setup: &Setup) {
    silently(|| {
        let pool = setup.pool();
        let note = Gate::new();
        let calls = Arc::new(Mutex::new(0));
        let theirs = Arc::clone(&calls);
        let job = pool.apply_async(report_to_the_end::Task, note.path()).unwrap();
        let job = job.on_report(move |_: pool_core::Report<u8>| {
            *theirs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
            panic!("on purpose");
        });
        job.get().unwrap();
        assert!(has_been_noted(&note));
        assert_eq!(*calls.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), 1);
        assert_eq!(pool.apply(square::Task, 4).unwrap(), 16);
    });
}

fn a_listener_may_use_the_pool(setup: &Setup) {
    let pool = Arc::new(setup.pool());
    let (sender, receiver) = mpsc::channel();
    let same = Arc::clone(&pool);
    let job = pool.apply_async(count_to::Task, 20).unwrap().on_report(move |report| {
        sender.send(same.apply(square::Task, report.value.unwrap()).unwrap()).unwrap();
    });
    assert_eq!(job.get().unwrap(), 20);
    assert!(receiver.iter().eq((0..20).map(|x| x * x)));
}

fn a_listener_that_comes_late_hears_everything(setup: &Setup) {
    let pool = setup.pool();
    for end in [10, 1_000_000] {
        let job = pool.apply_async(count_to::Task, end).unwrap();
        // The shorter one has ended, and the longer one waits.
        thread::sleep(Duration::from_millis(300));
        assert_eq!(job.ready(), end == 10);
        let (listener, heard) = listener();
        assert_eq!(job.on_report(listener).get().unwrap(), end);
        assert_eq!(values::<u64>(heard), (0..end).collect::<Vec<_>>());
    }
}

fn a_listener_that_cannot_hear_is_told_so(setup: &Setup) {
    let panics = |listen: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(listen)).is_err();
    silently(|| {
        let pool = setup.pool();
        let ignore = || |_: pool_core::Report<u64>| ();
        assert!(panics(&mut || drop(pool.apply_async(square::Task, 1).unwrap().on_report(ignore()))));
        let mut job = Some(pool.apply_async(count_to::Task, 1).unwrap().on_report(ignore()));
        assert!(panics(&mut || drop(job.take().unwrap().on_report(ignore()))));
        let mut job = Some(pool.apply_async(count_to::Task, 1_000_000).unwrap());
        job.as_ref().unwrap().wait();
        assert!(panics(&mut || drop(job.take().unwrap().on_report(ignore()))));
    });
}

//! Async code: streams of results, and handles that cancel their jobs, under several executors.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ::futures::future::{join_all, select};
use ::futures::stream::{FusedStream, Stream, StreamExt};
use pool_core::prelude::*;
use tests::gate::{Gate, count, pass};
use tests::leaks::threads;
use tests::panics::silently;
use tests::procs::{SOON, eventually};
use tests::tasks::{Way, crash, halve, nap, square};
use tests::trial::{Check, Setup, each_method, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        once(streams_yield_all_results_in_each_executor),
        once(a_thousand_futures_need_no_threads_of_their_own),
        each_method(a_handle_that_is_dropped_cancels_its_job).workers(&[1, 2]),
        once(a_future_that_runs_out_of_time_leaves_nothing_behind),
        each_method(a_hanging_item_holds_no_stream_back).workers(&[1, 2]),
        each_method(a_stream_waits_for_room_without_a_thread),
        each_method(input_that_is_stopped_ends_the_results),
        each_method(a_stream_that_is_dropped_leaves_the_pool_in_order),
        each_method(a_stream_ends_with_its_pool),
        each_method(a_stream_is_not_at_its_end_before_the_panic_of_its_input),
        each_method(wakers_of_streams_may_panic_and_block),
        each_method(each_poll_replaces_the_waker_of_the_one_before),
    ]
}

/// An executor that runs a future to its end.
type Run = fn(Pin<Box<dyn Future<Output = ()>>>);

/// The executors, each by its name.
const EXECUTORS: [(&str, Run); 4] = [
    ("futures", |future| ::futures::executor::block_on(future)),
    ("smol", |future| smol::future::block_on(smol::LocalExecutor::new().run(future))),
    ("tokio, one thread", |future| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)),
    ("tokio, many threads", |future| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(future);
    }),
];

fn streams_yield_all_results_in_each_executor(setup: &Setup) {
    let pool = Arc::new(setup.pool());
    for (name, run) in EXECUTORS {
        let pool = Arc::clone(&pool);
        run(Box::pin(async move {
            let mut ordered = pool.imap(square::Task, 0..20_000).unwrap().into_stream();
            for x in 0..20_000 {
                assert_eq!(ordered.next().await.unwrap().unwrap(), x * x, "{name}");
            }
            assert!(ordered.next().await.is_none() && ordered.is_terminated() && ordered.next().await.is_none());
            let unordered = pool.imap_unordered(square::Task, 0..20_000).unwrap().into_stream();
            let sum = unordered.fold(0, |sum, result| async move { sum + result.unwrap() }).await;
            assert_eq!(sum, (0..20_000).map(|x| x * x).sum::<u64>(), "{name}");
            // Failures stand at their places.
            let halves: Vec<_> = pool.imap(halve::Task, 0..9).unwrap().into_stream().collect().await;
            for (x, half) in halves.into_iter().enumerate() {
                match half {
                    Ok(half) => assert_eq!(2 * half, x as u64),
                    Err(error) => assert_eq!((error.item(), x % 2), (Some(x), 1)),
                }
            }
        }));
    }
}

fn a_thousand_futures_need_no_threads_of_their_own(setup: &Setup) {
    let pool = Arc::new(setup.pool());
    for (name, run) in EXECUTORS {
        let pool = Arc::clone(&pool);
        run(Box::pin(async move {
            let before = threads().len();
            let jobs = (0..1000).map(|x| pool.apply_async(square::Task, x).unwrap().cancel_on_drop());
            let streams =
                (0..20).map(|x| pool.imap(square::Task, x..x + 50).unwrap().into_stream().collect::<Vec<_>>());
            let (squares, of_streams) = ::futures::future::join(join_all(jobs), join_all(streams)).await;
            for (x, square) in (0..).zip(squares) {
                assert_eq!(square.unwrap(), x * x, "{name}");
            }
            assert_eq!(of_streams.iter().map(Vec::len).sum::<usize>(), 1000, "{name}");
            // The notifier has a few threads, whatever the number of futures.
            assert!(threads().len() <= before + 4, "{name}: {} threads, {before} before", threads().len());
        }));
    }
}

#[pool_task]
fn hang(gate: &str) {
    count(gate);
    loop {
        std::thread::park();
    }
}

fn a_handle_that_is_dropped_cancels_its_job(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    // One runs in each worker, and one waits.
    let running: Vec<_> =
        (0..setup.workers).map(|_| pool.apply_async(hang::Task, gate.path()).unwrap().cancel_on_drop()).collect();
    assert!(eventually(|| gate.count() == setup.workers));
    let waiting = pool.apply_async(square::Task, 3).unwrap().cancel_on_drop();
    assert!(!format!("{waiting:?}").contains("true"), "{waiting:?}");
    drop(waiting);
    assert_eq!(pool.stats().items_pending, setup.workers as u64);
    drop(running);
    assert_eq!(pool.stats().items_pending, 0);
    assert_eq!(pool.apply(square::Task, 4).unwrap(), 16);
    // One that is done is not undone, and one that is taken out goes on.
    let done = pool.apply_async(square::Task, 5).unwrap().cancel_on_drop();
    assert_eq!(done.get().unwrap(), 25);
    let (sender, receiver) = mpsc::channel();
    let job = pool.apply_async(nap::Task, 20).unwrap().cancel_on_drop();
    job.into_inner().on_done(move |result| sender.send(result).unwrap());
    assert_eq!(receiver.recv_timeout(SOON).unwrap().unwrap(), 20);
    let mut job = pool.apply_async(hang::Task, gate.path()).unwrap().cancel_on_drop();
    assert_eq!(job.get_timeout(Duration::from_millis(1)).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(job.cancel() && !job.cancel());
    assert_eq!(job.get().unwrap_err().kind(), ErrorKind::Cancelled);
    // A whole map, too.
    drop(pool.map_async(nap::Task, [60_000; 100]).unwrap().cancel_on_drop());
    assert_eq!(pool.apply(square::Task, 6).unwrap(), 36);
}

fn a_future_that_runs_out_of_time_leaves_nothing_behind(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            let job = pool.apply_async(nap::Task, 600_000).unwrap().cancel_on_drop();
            assert!(tokio::time::timeout(Duration::from_millis(20), job).await.is_err());
            assert_eq!(pool.apply_async(square::Task, 7).unwrap().await.unwrap(), 49);
        }
        let slow = pin!(pool.apply_async(nap::Task, 600_000).unwrap().cancel_on_drop());
        let dead = pin!(async { pool.apply_async(crash::Task, Some(Way::Kill)).unwrap().cancel_on_drop().await });
        // The second is behind the first, so neither is ready; both are given up.
        assert!(tokio::time::timeout(Duration::from_millis(20), select(slow, dead)).await.is_err());
    });
    assert_eq!(pool.stats().items_pending, 0);
    assert_eq!(pool.apply(square::Task, 8).unwrap(), 64);
}

#[pool_task]
fn pass_at(item: u32, turn: u32, gate: &str) -> String {
    if item == turn {
        pass(gate);
    }
    item.to_string()
}

fn a_hanging_item_holds_no_stream_back(setup: &Setup) {
    let pool = setup.pool();
    for turn in [1, 7, 98] {
        let gate = Gate::new();
        let input = (0..100).map(|item| (item, turn, gate.path()));
        let mut texts = pool.imap(pass_at::Task.chunk_size(100), input).unwrap().into_stream();
        ::futures::executor::block_on(async {
            for item in 0..turn {
                assert_eq!(texts.next().await.unwrap().unwrap(), item.to_string(), "before item {turn}");
            }
            assert!(poll_once(&mut texts).is_pending());
            gate.open();
            let rest: Vec<_> = texts.map(Result::unwrap).collect().await;
            assert!(rest.into_iter().eq((turn..100).map(|item| item.to_string())));
        });
    }
}

/// Polls with a waker that does nothing.
fn poll_once<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

fn a_stream_waits_for_room_without_a_thread(setup: &Setup) {
    let pool = setup.builder().max_pending(1).build().unwrap();
    let gate = Gate::new();
    let job = pool.apply_async(pass::Task, gate.path()).unwrap();
    let mut squares = pool.imap(square::Task, 0..100).unwrap().into_stream();
    assert!(poll_once(&mut squares).is_pending(), "there is no room for an item");
    let (sender, receiver) = mpsc::channel();
    let waker = waker(move || _ = sender.send(()));
    assert!(Pin::new(&mut squares).poll_next(&mut Context::from_waker(&waker)).is_pending());
    gate.open();
    receiver.recv_timeout(SOON).expect("woken when there is room");
    job.get().unwrap();
    let others = pool.imap_unordered(square::Task, 0..100).unwrap().into_stream();
    let both = ::futures::future::join(squares.collect::<Vec<_>>(), others.collect::<Vec<_>>());
    let (ordered, unordered) = ::futures::executor::block_on(both);
    assert!(ordered.into_iter().map(Result::unwrap).eq((0..100).map(|x| x * x)));
    assert_eq!(unordered.len(), 100);
}

/// Notes when it is dropped.
struct Noted<'n>(&'n AtomicBool);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn input_that_is_stopped_ends_the_results(setup: &Setup) {
    for builder in [setup.builder(), setup.builder().max_pending(3)] {
        let pool = builder.build().unwrap();
        let (pulled, is_dropped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let input = || {
            pulled.store(0, Ordering::Relaxed);
            is_dropped.store(false, Ordering::Relaxed);
            let (noted, pulled) = (Noted(&is_dropped), &pulled);
            (0_u64..).inspect(move |_| {
                let _ = &noted;
                pulled.fetch_add(1, Ordering::Relaxed);
            })
        };
        let mut ordered = pool.imap(square::Task, input()).unwrap();
        assert_eq!(ordered.next().unwrap().unwrap(), 0);
        ordered.stop_input();
        ordered.stop_input();
        assert!(is_dropped.load(Ordering::Relaxed));
        let rest: Vec<_> = ordered.by_ref().map(Result::unwrap).collect();
        assert_eq!(rest.len() + 1, pulled.load(Ordering::Relaxed));
        assert!(rest.into_iter().eq((1..pulled.load(Ordering::Relaxed) as u64).map(|x| x * x)));
        assert!(ordered.next().is_none());
        let mut unordered = pool.imap_unordered(square::Task, input()).unwrap();
        unordered.next().unwrap().unwrap();
        unordered.stop_input();
        assert_eq!(unordered.count() + 1, pulled.load(Ordering::Relaxed));
        let mut stream = pool.imap(square::Task, input()).unwrap().into_stream();
        ::futures::executor::block_on(async {
            stream.next().await.unwrap().unwrap();
            stream.stop_input();
            assert_eq!(stream.count().await + 1, pulled.load(Ordering::Relaxed));
        });
        // Stopped before it began.
        let mut none = pool.imap(square::Task, input()).unwrap();
        none.stop_input();
        assert!(none.next().is_none() && pulled.load(Ordering::Relaxed) == 0);
        pool.close();
        pool.join().unwrap();
    }
}

fn a_stream_that_is_dropped_leaves_the_pool_in_order(setup: &Setup) {
    let pool = setup.pool();
    for _ in 0..5 {
        let mut naps = pool.imap(nap::Task, std::iter::repeat_n(1, 100_000)).unwrap().into_stream();
        assert!(::futures::executor::block_on(naps.next()).unwrap().is_ok());
        let _ = poll_once(&mut naps);
        drop(naps);
        assert!(eventually(|| pool.stats().items_pending == 0));
    }
    assert_eq!(pool.apply(square::Task, 4).unwrap(), 16);
}

fn a_stream_ends_with_its_pool(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let mut stream = pool.imap(pass::Task, [gate.path(); 3]).unwrap().into_stream();
    let (sender, receiver) = mpsc::channel();
    let waker = waker(move || _ = sender.send(()));
    assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
    pool.terminate();
    receiver.recv_timeout(SOON).expect("woken by the end");
    let kinds: Vec<_> =
        ::futures::executor::block_on(stream.map(|result| result.map_err(|error| error.kind())).collect());
    assert_eq!(kinds, [Err(ErrorKind::Terminated); 3]);
    pool.join().unwrap();
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

/// A `select!` asks this before it polls, and would lose the panic.
fn a_stream_is_not_at_its_end_before_the_panic_of_its_input(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let input = (0..3).map(|x| if x == 2 { panic!("on purpose") } else { gate.path() });
    let mut passed = pool.imap(pass::Task, input).unwrap().into_stream();
    let context = &mut Context::from_waker(Waker::noop());
    assert!(silently(|| passed.poll_next_unpin(context)).is_pending());
    pool.terminate();
    let mut failures = 0;
    while let Ok(Poll::Ready(next)) = silently(|| catch_unwind(AssertUnwindSafe(|| passed.poll_next_unpin(context)))) {
        assert_eq!(next.expect("the panic comes before the end").unwrap_err().kind(), ErrorKind::Terminated);
        assert!(!passed.is_terminated(), "the panic is still to come");
        failures += 1;
    }
    assert!(failures > 0 && passed.is_terminated());
}

fn wakers_of_streams_may_panic_and_block(setup: &Setup) {
    silently(|| {
        let pool = setup.pool();
        let end = Arc::new(Gate::new());
        let (sender, receiver) = mpsc::channel();
        let (panicking, blocked) = (sender.clone(), Arc::clone(&end));
        let panics = waker(move || {
            panicking.send(()).unwrap();
            panic!("on purpose");
        });
        let blocks = waker(move || {
            sender.send(()).unwrap();
            blocked.wait();
        });
        for waker in [panics, blocks] {
            let mut naps = pool.imap(nap::Task, [20; 40]).unwrap().into_stream();
            assert!(Pin::new(&mut naps).poll_next(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            receiver.recv_timeout(SOON).expect("it is woken");
            // Other futures and threads hear of their results, and so does the next poll of this stream.
            assert_eq!(pool.apply_async(square::Task, 9).unwrap().get_timeout(SOON).unwrap(), 81);
            assert_eq!(::futures::executor::block_on(pool.apply_async(square::Task, 5).unwrap()).unwrap(), 25);
            assert_eq!(::futures::executor::block_on(naps.map(Result::unwrap).count()), 40);
        }
        end.open();
    });
}

fn each_poll_replaces_the_waker_of_the_one_before(setup: &Setup) {
    let pool = setup.pool();
    let gate = Gate::new();
    let mut stream = pool.imap(pass::Task, [gate.path()]).unwrap().into_stream();
    let (sender, receiver) = mpsc::channel();
    for number in [1, 2] {
        let sender = sender.clone();
        let waker = waker(move || _ = sender.send(number));
        assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
        assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(sender);
    gate.open();
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [2], "the latest, once");
    assert!(poll_once(&mut stream).is_ready());
}

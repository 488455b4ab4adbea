//! Room for submissions: the order in which it is given, waits without a thread, and the bytes that may be pending.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use pool_core::Submit;
use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::leaks::threads;
use tests::panics::silently;
use tests::procs::{SOON, eventually};
use tests::tasks::{echo, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_call_that_is_not_to_wait_is_refused_when_the_pool_is_full),
        each_method(futures_wait_without_threads_and_are_served_in_turn),
        each_method(a_future_that_is_dropped_submits_nothing_and_makes_room),
        each_method(a_future_that_was_refused_makes_room).workers(&[1]),
        each_method(no_thread_overtakes_a_future),
        each_method(futures_in_line_hear_of_the_end),
        each_method(wakers_that_panic_or_block_hold_up_no_other_submission),
        each_method(no_more_bytes_are_pending_than_may_be),
        each_method(maps_of_small_items_keep_the_limit_on_bytes),
        each_method(lazy_maps_hoard_no_room),
        each_method(a_lazy_map_looks_ahead_as_far_as_it_is_told),
        each_method(everything_together_stays_within_the_limits),
    ]
}

// ---- a small executor ----------------------------------------------------------------------------------------------

struct Unparks(Thread);

impl Wake for Unparks {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unparks(thread::current())));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
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

type Submitted<R> = pool_core::Result<AsyncResult<R>>;

fn poll<R>(submit: &mut Submit<R>, waker: &Waker) -> Option<Submitted<R>> {
    match Pin::new(submit).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn is_in_line<R>(submit: &mut Submit<R>) -> bool {
    poll(submit, Waker::noop()).is_none()
}

// ---- items ---------------------------------------------------------------------------------------------------------

fn a_call_that_is_not_to_wait_is_refused_when_the_pool_is_full(setup: &Setup) {
    let pool = setup.builder().max_pending(2).build().unwrap();
    let gate = Gate::new();
    let held: Vec<_> = (0..2).map(|_| pool.try_apply_async(pass::Task, gate.path()).unwrap()).collect();
    let error = pool.try_apply_async(square::Task, 3).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Full, true));
    assert!(error.to_string().contains("square`: 2 items are pending, with "), "{error}");
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(pool.stats().jobs_submitted, 2);
    gate.open();
    assert!(held.into_iter().all(|job| job.get().is_ok()));
    assert_eq!(pool.try_apply_async(square::Task, 3).unwrap().get().unwrap(), 9);
    // Answered calls make room, also if no thread has looked meanwhile.
    for x in 0..200 {
        assert!(eventually(|| match pool.try_apply_async(square::Task, x) {
            Ok(job) => job.get().unwrap() == x * x,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full);
                false
            }
        }));
    }
    pool.close();
    assert_eq!(pool.try_apply_async(square::Task, 3).unwrap_err().kind(), ErrorKind::Closed);
    drop(pool);
    assert!(eventually(|| threads().len() == 1));
    let unlimited = setup.pool();
    let jobs: Vec<_> = (0..5000).map(|x| unlimited.try_apply_async(square::Task, x).unwrap()).collect();
    assert!(jobs.into_iter().all(|job| job.get().is_ok()));
}

fn futures_wait_without_threads_and_are_served_in_turn(setup: &Setup) {
    const FUTURES: usize = 500;
    let pool = setup.builder().max_pending(1).build().unwrap();
    let gate = Gate::new();
    let held = pool.apply_async(pass::Task, gate.path()).unwrap();
    let before = threads().len();
    let (sender, woken) = mpsc::channel();
    let mut futures: Vec<_> = (0..FUTURES).map(|x| pool.submit(square::Task, x as u64)).collect();
    let wakers: Vec<_> = (0..FUTURES)
        .map(|number| {
            let sender = sender.clone();
            waker(move || _ = sender.send(number))
        })
        .collect();
    for (future, waker) in futures.iter_mut().zip(&wakers) {
        assert!(poll(future, waker).is_none());
    }
    assert_eq!(pool.stats().jobs_submitted, 1);
    assert!(threads().len() <= before + 1, "{:?}", threads());
    gate.open();
    for number in 0..FUTURES {
        assert_eq!(woken.recv_timeout(SOON).expect("the next is woken"), number, "in the order of the first polls");
        let job = poll(&mut futures[number], &wakers[number]).expect("there is room").unwrap();
        assert_eq!(job.get().unwrap(), (number * number) as u64);
    }
    held.get().unwrap();
    // Once more is an error, and nothing else.
    let again = poll(&mut futures[0], &wakers[0]).expect("it does not wait");
    assert_eq!(again.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(pool.stats().jobs_submitted, 1 + FUTURES as u64);
}

fn a_future_that_is_dropped_submits_nothing_and_makes_room(setup: &Setup) {
    let pool = setup.builder().max_pending(1).build().unwrap();
    drop(pool.submit(square::Task, 1));
    assert_eq!(pool.stats().jobs_submitted, 0, "it was never polled");
    let gate = Gate::new();
    let held = pool.apply_async(pass::Task, gate.path()).unwrap();
    let (sender, woken) = mpsc::channel();
    let waker_of = |number: u32| {
        let sender = sender.clone();
        waker(move || _ = sender.send(number))
    };
    let mut futures: Vec<_> = (0..4).map(|x| pool.submit(square::Task, x)).collect();
    for (number, future) in (0..).zip(&mut futures) {
        assert!(poll(future, &waker_of(number)).is_none());
    }
    drop(futures.remove(1));
    gate.open();
    held.get().unwrap();
    assert_eq!(woken.recv_timeout(SOON), Ok(0));
    // The room is reserved for the first, which does not come for it, so nobody gets it.
    assert_eq!(pool.try_apply_async(square::Task, 5).unwrap_err().kind(), ErrorKind::Full);
    drop(futures.remove(0));
    assert_eq!(woken.recv_timeout(SOON), Ok(2), "the second has left the line");
    let job = poll(&mut futures[0], Waker::noop()).expect("there is room").unwrap();
    assert_eq!(job.get().unwrap(), 4);
    assert_eq!(woken.recv_timeout(SOON), Ok(3));
    drop(futures);
    assert_eq!(pool.apply(square::Task, 6).unwrap(), 36);
    assert_eq!(pool.stats().jobs_submitted, 3);
}

fn a_future_that_was_refused_makes_room(setup: &Setup) {
    let pool = setup.builder().max_pending(1).build().unwrap();
    let mut squares = pool.imap(square::Task, 0..3).unwrap();
    let gate = Gate::new();
    let held = pool.apply_async(pass::Task, gate.path()).unwrap();
    let mut future = pool.submit(square::Task, 1);
    assert!(poll(&mut future, Waker::noop()).is_none());
    pool.close();
    let refused = poll(&mut future, Waker::noop()).expect("it need not wait any more");
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    gate.open();
    held.get().unwrap();
    // The future is still there, and has no use for the room.
    assert_eq!(squares.next_timeout(SOON).unwrap().unwrap(), 0);
    drop(future);
    assert_eq!(squares.map(Result::unwrap).sum::<u64>(), 5);
}

fn no_thread_overtakes_a_future(setup: &Setup) {
    let pool = setup.builder().max_pending(1).build().unwrap();
    let gate = Gate::new();
    let held = pool.apply_async(pass::Task, gate.path()).unwrap();
    let mut future = pool.submit(square::Task, 3);
    assert!(is_in_line(&mut future));
    thread::scope(|scope| {
        let calls = scope.spawn(|| pool.apply(square::Task, 4).unwrap());
        let maps = scope.spawn(|| pool.map(square::Task, 0..10).unwrap());
        gate.open();
        held.get().unwrap();
        thread::sleep(Duration::from_millis(50));
        let overtaken = calls.is_finished() || maps.is_finished();
        assert!(!overtaken && pool.stats().items_pending == 0, "room was kept for the future");
        assert_eq!(block_on(future).unwrap().get().unwrap(), 9);
        assert_eq!((calls.join().unwrap(), maps.join().unwrap().len()), (16, 10));
    });
}

fn futures_in_line_hear_of_the_end(setup: &Setup) {
    for end in ["close", "terminate", "drop"] {
        let pool = setup.builder().max_pending(1).build().unwrap();
        let gate = Gate::new();
        let held = pool.apply_async(pass::Task, gate.path()).unwrap();
        let mut futures: Vec<_> = (0..3).map(|x| pool.submit(square::Task, x)).collect();
        let (sender, woken) = mpsc::channel();
        let waker = waker(move || _ = sender.send(()));
        assert!(futures.iter_mut().all(|future| poll(future, &waker).is_none()));
        let late = pool.submit(square::Task, 7);
        // In a thread: a drop waits for the running item where workers are threads, which nobody can kill.
        let ending = thread::spawn(move || match end {
            "close" => {
                pool.close();
                Some(pool)
            }
            "terminate" => {
                pool.terminate();
                Some(pool)
            }
            _ => None,
        });
        for _ in 0..3 {
            woken.recv_timeout(SOON).expect("each is woken");
        }
        for mut future in futures.into_iter().chain([late]) {
            let outcome = poll(&mut future, &waker).expect("it waits for nothing");
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Closed);
        }
        gate.open();
        drop((held, ending.join().unwrap()));
        assert!(eventually(|| threads().len() == 1), "{:?}", threads());
    }
}

fn wakers_that_panic_or_block_hold_up_no_other_submission(setup: &Setup) {
    silently(|| {
        let pool = setup.builder().max_pending(3).build().unwrap();
        let gate = Gate::new();
        let held: Vec<_> = (0..3).map(|_| pool.apply_async(pass::Task, gate.path()).unwrap()).collect();
        let (sender, woken) = mpsc::channel();
        let (release, blocks) = mpsc::channel::<()>();
        let blocks = std::sync::Mutex::new(blocks);
        let wakers = [
            waker(|| panic!("on purpose")),
            waker(move || _ = blocks.lock().unwrap().recv_timeout(SOON)),
            waker(move || _ = sender.send(())),
        ];
        let mut futures: Vec<_> = (0..3).map(|x| pool.submit(square::Task, x)).collect();
        for (future, waker) in futures.iter_mut().zip(&wakers) {
            assert!(poll(future, waker).is_none());
        }
        gate.open();
        woken.recv_timeout(SOON).expect("the third is woken, though the first has panicked and the second blocks");
        let job = poll(&mut futures[2], &wakers[2]).expect("there is room").unwrap();
        assert_eq!(job.get().unwrap(), 4);
        // The others have their room all the same.
        for (x, future) in (0..).zip(futures.into_iter().take(2)) {
            assert_eq!(block_on(future).unwrap().get().unwrap(), x * x);
        }
        assert!(held.into_iter().all(|job| job.get().is_ok()));
        release.send(()).unwrap();
        drop(wakers);
        assert_eq!(pool.apply(square::Task, 5).unwrap(), 25);
    });
}

// ---- bytes ---------------------------------------------------------------------------------------------------------

#[pool_task]
fn pass_with(gate: &str, ballast: &[u8]) -> usize {
    pass(gate);
    ballast.len()
}

fn no_more_bytes_are_pending_than_may_be(setup: &Setup) {
    const PAGE: usize = 30_000;
    let pool = setup.builder().max_pending_bytes(100_000).build().unwrap();
    let (gate, page) = (Gate::new(), vec![7; PAGE]);
    let args = || (gate.path(), &page[..]);
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let jobs: Vec<_> = (0..10).map(|_| pool.apply_async(pass_with::Task, args()).unwrap()).collect();
            jobs.into_iter().all(|job| job.get().unwrap() == PAGE)
        });
        let fills_up = eventually(|| pool.stats().items_pending == 3);
        let maps = scope.spawn(|| pool.map(pass_with::Task, (0..10).map(|_| args())).unwrap());
        let lazy =
            scope.spawn(|| pool.imap(pass_with::Task, (0..10).map(|_| args())).unwrap().map(Result::unwrap).count());
        thread::sleep(Duration::from_millis(100));
        let pending = pool.stats().items_pending;
        let refused = pool.try_apply_async(pass_with::Task, args()).map(drop).map_err(|error| error.kind());
        let small = pool.try_apply_async(square::Task, 1).map(drop).map_err(|error| error.kind());
        gate.open();
        assert!(calls.join().unwrap());
        assert_eq!((maps.join().unwrap(), lazy.join().unwrap()), (vec![PAGE; 10], 10));
        assert!(fills_up && pending == 3, "{pending} items of 30 kB are pending where 100 kB may be");
        assert_eq!((refused, small), (Err(ErrorKind::Full), Err(ErrorKind::Full)), "others wait for room");
    });
    // One that is too large for the limit goes alone, whether it is a call or an item.
    let giant = vec![1; 300_000];
    let job = pool.apply_async(echo::Task, giant.clone()).unwrap();
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    assert_eq!(job.get().unwrap(), giant);
    assert_eq!(pool.map(echo::Task, [vec![], giant.clone(), vec![1, 2]]).unwrap()[1], giant);
    assert_eq!(pool.imap(echo::Task, [giant.clone(), giant.clone()]).unwrap().filter(|echo| echo.is_ok()).count(), 2);
}

fn maps_of_small_items_keep_the_limit_on_bytes(setup: &Setup) {
    let pool = setup.builder().max_pending_bytes(1024).build().unwrap();
    let (is_over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                seen.fetch_max(pool.stats().items_pending, Ordering::Relaxed);
            }
        });
        let maps = scope.spawn(|| pool.map(square::Task, 0..5000).unwrap());
        let lazy = scope.spawn(|| pool.imap(square::Task, 0..5000).unwrap().map(Result::unwrap).collect::<Vec<_>>());
        let outcomes = [maps.join(), lazy.join()];
        is_over.store(true, Ordering::Relaxed);
        let expected: Vec<u64> = (0..5000).map(|x| x * x).collect();
        assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == expected));
    });
    let seen = seen.into_inner();
    assert!(seen * 8 <= 1024, "{seen} items of 8 bytes were pending where 1024 bytes may be");
}

// ---- lazy maps -----------------------------------------------------------------------------------------------------

fn lazy_maps_hoard_no_room(setup: &Setup) {
    let limits: [fn(PoolBuilder) -> PoolBuilder; 3] =
        [|builder| builder.max_pending(1), |builder| builder.max_pending(2), |builder| builder.max_pending_bytes(8)];
    for limit in limits {
        let pool = limit(setup.builder()).build().unwrap();
        let mut squares = pool.imap(square::Task, 0..300).unwrap();
        for x in 0..100 {
            assert_eq!(squares.next().unwrap().unwrap(), x * x);
            // The iterator waits for nobody now, and nobody waits for it.
            assert_eq!(pool.apply(square::Task, x).unwrap(), x * x);
            assert_eq!(pool.map(square::Task, 0..3).unwrap(), [0, 1, 4]);
            assert_eq!(block_on(pool.submit(square::Task, x)).unwrap().get().unwrap(), x * x);
        }
        assert!(squares.map(Result::unwrap).eq((100..300).map(|x| x * x)));
    }
}

fn a_lazy_map_looks_ahead_as_far_as_it_is_told(setup: &Setup) {
    #[pool_task(prefetch = 5)]
    fn triple(x: u64) -> u64 {
        3 * x
    }
    let pool = setup.pool();
    let pulled = AtomicU64::new(0);
    let input = || (0..200).inspect(|_| _ = pulled.fetch_add(1, Ordering::Relaxed));
    for prefetch in [1, 2, 7, 100] {
        pulled.store(0, Ordering::Relaxed);
        for (yielded, result) in (1..).zip(pool.imap(square::Task.prefetch(prefetch), input()).unwrap()) {
            result.unwrap();
            // The result in hand no longer counts.
            let ahead = pulled.load(Ordering::Relaxed) - yielded;
            assert!(ahead <= prefetch as u64, "{ahead} items ahead of {yielded}, and may be {prefetch}");
        }
        assert_eq!(pool.imap_unordered(square::Task.prefetch(prefetch), 0..200).unwrap().count(), 200);
    }
    pulled.store(0, Ordering::Relaxed);
    let mut triples = pool.imap(triple::Task, input()).unwrap();
    assert_eq!(triples.next().unwrap().unwrap(), 0);
    assert!(pulled.load(Ordering::Relaxed) <= 6, "the attribute says 5");
    drop(triples);
    let refused = pool.imap(square::Task.prefetch(0), 0..3).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    // Beside a limit of the pool, the lower one counts.
    drop(pool);
    assert!(eventually(|| threads().len() == 1));
    let pool = setup.builder().max_pending(2).build().unwrap();
    for prefetch in [1, 10] {
        let squares = pool.imap(square::Task.prefetch(prefetch), 0..200).unwrap();
        assert!(squares.map(Result::unwrap).eq((0..200).map(|x| x * x)));
    }
}

fn everything_together_stays_within_the_limits(setup: &Setup) {
    let pool = setup.builder().max_pending(5).max_pending_bytes(64).build().unwrap();
    let (is_over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                seen.fetch_max(pool.stats().items_pending, Ordering::Relaxed);
            }
        });
        let expected: Vec<u64> = (0..200).map(|x| x * x).collect();
        let work: [Box<dyn Fn() -> Vec<u64> + Send + '_>; 5] = [
            Box::new(|| (0..200).map(|x| pool.apply(square::Task, x).unwrap()).collect()),
            Box::new(|| pool.map(square::Task, 0..200).unwrap()),
            Box::new(|| pool.map_async(square::Task, 0..200).unwrap().get().unwrap()),
            Box::new(|| pool.imap(square::Task.prefetch(3), 0..200).unwrap().map(Result::unwrap).collect()),
            Box::new(|| (0..200).map(|x| block_on(pool.submit(square::Task, x)).unwrap().get().unwrap()).collect()),
        ];
        let running: Vec<_> = work.into_iter().map(|work| scope.spawn(work)).collect();
        let outcomes: Vec<_> = running.into_iter().map(|running| running.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == expected));
    });
    let seen = seen.into_inner();
    assert!(seen <= 5, "{seen} items were pending, and may be 5");
    assert_eq!((pool.stats().items_failed, pool.stats().items_pending), (0, 0));
}

//! Subscribers that get the spans and events of workers, and block, panic, use the pool or drop it; and spans that end in an odd
//! order.

use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use pool_core::prelude::*;
use tests::gate::{Gate, pass};
use tests::panics::silently;
use tests::procs::{SOON, eventually};
use tests::tasks::{Way, crash, square};
use tests::trial::{Check, Setup, each_method};
use tracing::{Level, info, info_span};

use crate::forwarding::{end, forwarding};
use crate::seen::Memory;

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_subscriber_that_blocks_holds_no_task_up),
        each_method(a_subscriber_that_never_returns_holds_no_end_up),
        each_method(a_subscriber_that_panics_gets_the_next_record),
        each_method(a_subscriber_may_use_the_pool),
        each_method(a_subscriber_may_drop_the_pool),
        each_method(deep_spans_end_in_any_order),
        each_method(all_goes_to_the_subscriber_under_which_the_pool_was_built),
    ]
}

#[pool_task]
fn pour(events: usize) {
    let text = "x".repeat(1000);
    (0..events).for_each(|at| info!(at, "{text}"));
}

fn a_subscriber_that_blocks_holds_no_task_up(setup: &Setup) {
    let gate = Gate::new();
    let path = gate.path().to_owned();
    let (memory, _guard) = Memory::with(Level::INFO, move |_| _ = pass(&path));
    let pool = forwarding(setup);
    const ITEMS: usize = 8;
    const EACH: usize = 1000;
    pool.map(pour::Task.chunk_size(1), [EACH; ITEMS]).unwrap();
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
    let begun = std::time::Instant::now();
    pool.apply(pour::Task.timeout(Duration::from_millis(300)), usize::MAX).unwrap_err();
    assert!(begun.elapsed() < SOON);
    gate.open();
    end(pool);
    let seen = memory.seen();
    let notes: Vec<_> = seen.events.iter().filter(|event| event.fields.contains_key("dropped")).collect();
    assert!(!notes.is_empty() && notes.iter().all(|note| note.level == Level::WARN && note.target == "pool_core"));
    assert!(seen.events.len() > 500, "{}", seen.events.len());
    assert!(seen.spans.values().all(|span| span.is_closed));
}

fn a_subscriber_that_never_returns_holds_no_end_up(setup: &Setup) {
    let gate = Gate::new();
    let path = gate.path().to_owned();
    let (memory, guard) = Memory::with(Level::INFO, move |_| _ = pass(&path));
    let pool = forwarding(setup);
    for _ in 0..3 {
        info_span!("submitting").in_scope(|| pool.map(pour::Task, [1000; 4]).unwrap());
    }
    pool.apply(crash::Task, Some(Way::Abort)).unwrap_err();
    drop(pool);
    // The thread that was left behind ends when the subscriber lets it, and with it all spans.
    gate.open();
    assert!(eventually(|| std::fs::read_dir("/proc/self/task").unwrap().count() == 1));
    assert!(memory.seen().spans.values().all(|span| span.is_closed));
    drop(guard);
}

fn a_subscriber_that_panics_gets_the_next_record(setup: &Setup) {
    silently(|| {
        let (memory, _guard) = Memory::with(Level::INFO, |_| panic!("on purpose"));
        let pool = forwarding(setup);
        pool.apply(pour::Task, 10).unwrap();
        end(pool);
        assert_eq!(memory.seen().events.len(), 10);
    });
}

fn a_subscriber_may_use_the_pool(setup: &Setup) {
    let shared = Arc::new(OnceLock::<Pool>::new());
    let (inner, (sender, results)) = (Arc::downgrade(&shared), mpsc::channel());
    let is_first = Mutex::new(true);
    let (_memory, _guard) = Memory::with(Level::INFO, move |_| {
        if std::mem::take(&mut *is_first.lock().unwrap()) {
            let pool = inner.upgrade().expect("it is there");
            // More than waits for a subscriber that does not return.
            pool.get().unwrap().apply(pour::Task, 3000).unwrap();
            sender.send(pool.get().unwrap().apply(square::Task, 7)).unwrap();
        }
    });
    shared.set(forwarding(setup)).unwrap();
    shared.get().unwrap().apply(pour::Task, 1).unwrap();
    assert_eq!(results.recv_timeout(SOON).unwrap().unwrap(), 49);
}

fn a_subscriber_may_drop_the_pool(setup: &Setup) {
    let place = Arc::new(Mutex::new(None::<Pool>));
    let (theirs, (sender, dropped)) = (Arc::clone(&place), mpsc::channel());
    let (_memory, _guard) = Memory::with(Level::INFO, move |_| {
        if let Some(pool) = theirs.lock().unwrap().take() {
            drop(pool);
            sender.send(()).unwrap();
        }
    });
    let pool = forwarding(setup);
    let mut guard = place.lock().unwrap();
    let job = pool.apply_async(pour::Task, 3).unwrap();
    *guard = Some(pool);
    drop(guard);
    dropped.recv_timeout(SOON).unwrap();
    let _ = job.get();
}

/// Spans within each other, of which the outer ones end first.
#[pool_task]
fn nest(depth: usize) {
    let mut spans = std::collections::VecDeque::from([info_span!("nested", depth = 0)]);
    (1..depth).for_each(|depth| spans.push_back(info_span!(parent: &spans[depth - 1], "nested", depth)));
    info!(parent: &spans[depth - 1], "deep {depth}");
    while spans.pop_front().is_some() {}
}

fn deep_spans_end_in_any_order(setup: &Setup) {
    let (memory, _guard) = Memory::of_this_thread(Level::INFO);
    let pool = forwarding(setup);
    let deep = [1, 10, 4000, 3];
    pool.map(nest::Task, deep).unwrap();
    end(pool);
    let seen = memory.seen();
    for depth in deep {
        // 256 of them, and the item.
        assert_eq!(seen.event(&format!("deep {depth}")).scope.len(), depth.min(256) + 1);
    }
    assert!(seen.spans.values().all(|span| span.is_closed));
}

#[pool_task]
fn tell(text: &str) {
    info!("{text}");
    info_span!("within").in_scope(|| info!("{text} within"));
}

fn all_goes_to_the_subscriber_under_which_the_pool_was_built(setup: &Setup) {
    let panics = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&panics);
    let before = std::panic::take_hook();
    // A panic in a thread of the pool reaches nobody but the hook.
    std::panic::set_hook(Box::new(move |panic| list.lock().unwrap().push(panic.to_string())));
    let (own, guard) = Memory::of_this_thread(Level::INFO);
    let pool = forwarding(setup);
    let outer = info_span!("own").entered();
    pool.apply(tell::Task, "own").unwrap();
    let (other, other_guard) = Memory::of_this_thread(Level::INFO);
    for number in 0..4 {
        // The registries number their spans alike, so one that is dropped at the wrong subscriber is missed there.
        info_span!("other", number).in_scope(|| pool.apply(tell::Task, "both")).unwrap();
    }
    drop(outer);
    info_span!("other").in_scope(|| pool.map(tell::Task.chunk_size(1), ["map", "of", "two"])).unwrap();
    end(pool);
    drop((other_guard, guard));
    std::panic::set_hook(before);
    assert_eq!(*panics.lock().unwrap(), Vec::<String>::new());
    let (own, other) = (own.seen(), other.seen());
    assert!(other.events.is_empty(), "{:?}", other.events);
    assert!(other.spans.values().all(|span| span.name == "other" && span.is_closed), "{:?}", other.spans);
    assert!(own.spans.values().all(|span| span.is_closed), "{:?}", own.spans);
    let names = |message: &str| -> Vec<Vec<String>> {
        let events = own.events.iter().filter(|event| event.message() == message);
        events.map(|event| own.scope(event).into_iter().map(|span| span.name).collect()).collect()
    };
    assert_eq!(names("own"), [["item", "own"]]);
    assert_eq!(names("own within"), [["within", "item", "own"]]);
    // This thread is still in the span of the pool's subscriber.
    assert_eq!(names("both within"), [["within", "item", "own"]; 4]);
    assert_eq!(names("map within"), [["within", "item"]]);
}

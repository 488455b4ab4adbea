//! States of workers: opened in each, lent to tasks one after the other, opened anew after a panic, dropped at the end.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use pool_core::prelude::*;
use pool_core::{Event, ExitCause, PoolState, tasks};
use tests::gate::{Gate, count};
use tests::procs::kill_9;
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method, everywhere, once};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(each_worker_opens_its_own_before_its_first_task),
        everywhere(replacements_open_theirs_under_kills),
        each_method(states_stand_anywhere_beside_ordinary_arguments),
        each_method(a_panic_with_a_mutable_state_opens_it_anew),
        each_method(a_panic_with_a_shared_state_leaves_it),
        each_method(states_are_dropped_when_a_worker_leaves_in_peace),
        each_method(a_state_that_cannot_be_opened_breaks_the_pool_by_its_name),
        each_method(a_worker_whose_state_cannot_be_opened_anew_is_replaced),
        each_method(a_state_that_cannot_be_dropped_is_told),
        each_method(states_open_in_their_order_after_the_initializer),
        once(a_task_whose_state_is_missing_is_refused),
        once(impossible_states_are_refused),
        once(states_are_no_tasks),
    ]
}

/// Neither `Send` nor known to serde.
struct Counter {
    value: Rc<RefCell<u64>>,
    opened: String,
    drops: String,
}

impl Drop for Counter {
    fn drop(&mut self) {
        count(&self.drops);
    }
}

#[pool_state]
fn open(opened: &str, drops: &str) -> Counter {
    count(opened);
    Counter { value: Rc::default(), opened: opened.to_owned(), drops: drops.to_owned() }
}

#[pool_task]
fn increment(#[state] counter: &mut Counter) -> (u64, u32) {
    *counter.value.borrow_mut() += 1;
    (*counter.value.borrow(), std::process::id())
}

#[pool_task]
fn panic_while_changing(#[state] counter: &mut Counter) {
    *counter.value.borrow_mut() = 1000;
    panic!("half changed");
}

#[pool_task]
fn panic_while_reading(#[state] counter: &Counter) {
    panic!("{} and {}", counter.value.borrow(), counter.opened);
}

fn each_worker_opens_its_own_before_its_first_task(setup: &Setup) {
    let (opened, drops) = (Gate::new(), Gate::new());
    let pool = setup.builder().state(open::State, (opened.path(), drops.path())).build().unwrap();
    pool.wait_ready().unwrap();
    assert_eq!(opened.count(), setup.workers);
    let found = pool.map(increment::Task.chunk_size(1), [(); 200]).unwrap();
    for pid in found.iter().map(|(_, pid)| *pid).collect::<BTreeSet<_>>() {
        let values: BTreeSet<_> = found.iter().filter(|(_, of)| *of == pid).map(|(value, _)| *value).collect();
        assert_eq!(values, (1..=values.len() as u64).collect(), "each call finds the state as the one before left it");
    }
    assert_eq!((opened.count(), drops.count()), (setup.workers, 0));
}

fn replacements_open_theirs_under_kills(setup: &Setup) {
    let (opened, drops) = (Gate::new(), Gate::new());
    let pool = setup.builder().state(open::State, (opened.path(), drops.path())).build().unwrap();
    for _ in 0..5 {
        let map = pool.map_async(increment::Task.retries(100), [(); 500]).unwrap();
        pool.worker_pids().into_iter().for_each(kill_9);
        assert_eq!(map.get().unwrap().len(), 500);
    }
    assert!(opened.count() > setup.workers);
    assert_eq!(drops.count(), 0, "a worker that is killed drops nothing");
}

#[pool_state(timeout = "60s")]
fn words(text: String) -> Result<Vec<String>, std::convert::Infallible> {
    Ok(text.split(' ').map(str::to_owned).collect())
}

#[pool_task]
fn between(text: &str, #[state] counter: &mut Counter, path: &Path, #[state] words: &Vec<String>, n: u64) -> String {
    *counter.value.borrow_mut() += n;
    format!("{text} {} {} {}", path.display(), words.join("-"), counter.value.borrow())
}

#[pool_task]
fn give_back(text: String, #[state] words: &mut Vec<String>) -> String {
    words.push("more".to_owned());
    text
}

#[pool_task]
fn several(#[state] words: &Vec<String>) -> Vec<String> {
    words.clone()
}

fn states_stand_anywhere_beside_ordinary_arguments(setup: &Setup) {
    let gate = Gate::new();
    let builder = setup.builder().workers(1).state(open::State, (gate.path(), gate.path()));
    let pool = builder.state(words::State, "a b".to_owned()).build().unwrap();
    assert_eq!(pool.apply(between::Task, ("x", Path::new("/y"), 3)).unwrap(), "x /y a-b 3");
    let found = pool.map(between::Task, [("x", Path::new("/y"), 1), ("z", Path::new("/"), 2)]).unwrap();
    assert_eq!(found, ["x /y a-b 4", "z / a-b 6"]);
    // A text that travels as its memory.
    for length in [3, 100_000, 3_000_000] {
        let text = "t".repeat(length);
        assert_eq!(pool.apply(give_back::Task, text.clone()).unwrap(), text);
    }
    assert_eq!(pool.apply(several::Task, ()).unwrap().len(), 5);
    // The function is an ordinary one.
    assert_eq!(give_back("t".to_owned(), &mut Vec::new()), "t");
}

fn a_panic_with_a_mutable_state_opens_it_anew(setup: &Setup) {
    let (opened, drops) = (Gate::new(), Gate::new());
    let pool = setup.builder().workers(1).state(open::State, (opened.path(), drops.path())).build().unwrap();
    assert_eq!(pool.map(increment::Task, [(); 3]).unwrap()[2].0, 3);
    let error = pool.apply(panic_while_changing::Task, ()).unwrap_err();
    assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("half changed")));
    let (value, pid) = pool.apply(increment::Task, ()).unwrap();
    assert_eq!((value, opened.count(), drops.count()), (1, 2, 1));
    assert_eq!(pool.worker_pids(), [pid], "the same process");
    // Each item of a map that panics.
    let results = pool.map_results(panic_while_changing::Task, [(); 20]).unwrap();
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Panicked)));
    assert_eq!(pool.apply(increment::Task, ()).unwrap(), (1, pid));
    assert_eq!((opened.count(), drops.count()), (22, 21));
}

fn a_panic_with_a_shared_state_leaves_it(setup: &Setup) {
    let (opened, drops) = (Gate::new(), Gate::new());
    let pool = setup.builder().workers(1).state(open::State, (opened.path(), drops.path())).build().unwrap();
    pool.apply(increment::Task, ()).unwrap();
    assert_eq!(pool.apply(panic_while_reading::Task, ()).unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!((pool.apply(increment::Task, ()).unwrap().0, opened.count(), drops.count()), (2, 1, 0));
}

fn states_are_dropped_when_a_worker_leaves_in_peace(setup: &Setup) {
    let (opened, drops) = (Gate::new(), Gate::new());
    let builder = || setup.builder().state(open::State, (opened.path(), drops.path()));
    let pool = builder().max_tasks_per_worker(1).build().unwrap();
    for _ in 0..4 {
        assert_eq!(pool.apply(increment::Task, ()).unwrap().0, 1);
    }
    pool.close();
    pool.join().unwrap();
    assert!(drops.count() >= 4);
    drop(pool);
    let before = drops.count();
    drop(builder().build().unwrap());
    assert_eq!(drops.count(), before, "a pool that is dropped kills its workers");
}

#[pool_state]
fn refuse(calls: &str) -> Result<u8, String> {
    Err(format!("no disk, call {}", count(calls)))
}

#[pool_state]
fn panic_at_once(calls: &str) -> u8 {
    panic!("no ground under call {}", count(calls))
}

#[pool_state]
fn die_at_once(calls: &str) -> u8 {
    count(calls);
    std::process::exit(3)
}

#[pool_state(timeout = "100ms")]
fn hang(calls: &str) -> u8 {
    count(calls);
    std::thread::sleep(Duration::from_secs(600));
    0
}

fn a_state_that_cannot_be_opened_breaks_the_pool_by_its_name(setup: &Setup) {
    let assert_breaks = |builder: PoolBuilder, calls: &Gate, text: &str| {
        let pool = builder.restart_limit(1).build().unwrap();
        let error = pool.apply(square::Task, 1).unwrap_err();
        assert_eq!((error.kind(), pool.state()), (ErrorKind::Broken, PoolState::Broken));
        assert!(error.to_string().contains(text), "{error}");
        assert!((2..=2 * setup.workers).contains(&calls.count()), "{}", calls.count());
    };
    let calls = [(); 4].map(|()| Gate::new());
    let builder = || setup.builder();
    assert_breaks(
        builder().state(refuse::State, calls[0].path()),
        &calls[0],
        "state `it::states::refuse` failed: no disk",
    );
    let text = "state `it::states::panic_at_once` panicked: no ground under call ";
    assert_breaks(builder().state(panic_at_once::State, calls[1].path()), &calls[1], text);
    let text = "at the state `it::states::die_at_once`: exited with code 3";
    assert_breaks(builder().state(die_at_once::State, calls[2].path()), &calls[2], text);
    let text = "state `it::states::hang` exceeded its limit of 100 ms";
    assert_breaks(builder().state(hang::State, calls[3].path()), &calls[3], text);
}

/// Opens in each process once.
#[pool_state(timeout = "500ms")]
fn once_only(hangs: bool) -> Result<String, String> {
    static OPENED: AtomicU32 = AtomicU32::new(0);
    if OPENED.fetch_add(1, Ordering::Relaxed) == 0 {
        return Ok(String::new());
    }
    if hangs {
        std::thread::sleep(Duration::from_secs(600));
    }
    Err("not twice".to_owned())
}

#[pool_task]
fn spoil(#[state] text: &mut String) {
    text.push('x');
    panic!("spoiled");
}

#[pool_task]
fn length(#[state] text: &String) -> (usize, u32) {
    (text.len(), std::process::id())
}

fn a_worker_whose_state_cannot_be_opened_anew_is_replaced(setup: &Setup) {
    for hangs in [false, true] {
        let pool = setup.builder().workers(1).state(once_only::State, hangs).build().unwrap();
        let (_, before) = pool.apply(length::Task, ()).unwrap();
        let spoiled = pool.apply_async(spoil::Task, ()).unwrap();
        let calls: Vec<_> = (0..20).map(|_| pool.apply_async(length::Task, ()).unwrap()).collect();
        assert_eq!(spoiled.get().unwrap_err().panic_message(), Some("spoiled"));
        for call in calls {
            let (length, pid) = call.get().unwrap();
            assert_eq!(length, 0);
            assert_ne!(pid, before);
        }
    }
}

/// Panics when it is dropped.
struct Sticky;

impl Drop for Sticky {
    fn drop(&mut self) {
        panic!("it sticks");
    }
}

#[pool_state]
fn stick() -> Sticky {
    Sticky
}

#[pool_task]
fn pull(#[state] _sticky: &mut Sticky, hard: bool) -> u32 {
    assert!(!hard, "pulled");
    std::process::id()
}

fn a_state_that_cannot_be_dropped_is_told(setup: &Setup) {
    let (sender, events) = mpsc::channel();
    let builder = setup.builder().workers(1).state(stick::State, ());
    let pool = builder.on_event(move |event| sender.send(event.clone()).unwrap()).build().unwrap();
    let before = pool.apply(pull::Task, false).unwrap();
    assert_eq!(pool.apply(pull::Task, true).unwrap_err().panic_message(), Some("pulled"));
    assert_ne!(pool.apply(pull::Task, false).unwrap(), before);
    pool.close();
    pool.join().unwrap();
    let insights = pool.insights();
    drop(pool);
    let is_told = |text: &str| text.contains("Sticky` panicked at ") && text.contains(": it sticks");
    let events: Vec<_> = events.iter().collect();
    let count = |is: &dyn Fn(&Event) -> bool| events.iter().filter(|event| is(event)).count();
    let exits =
        |event: &Event| matches!(event, Event::WorkerExited { cause: ExitCause::Died(how), .. } if is_told(how));
    let failures = |event: &Event| matches!(event, Event::FinalizerFailed { error, .. } if is_told(error));
    assert_eq!((count(&exits), count(&failures)), (1, 1), "{events:?}");
    assert!(insights.finalizer_failures == 1 && is_told(&insights.last_finalizer_failure.unwrap()));
}

#[pool_task]
fn begin(log: &str) {
    std::fs::write(log, "initializer ").unwrap();
}

fn add(log: &str, text: &str) {
    let before = std::fs::read_to_string(log).unwrap();
    std::fs::write(log, before + text).unwrap();
}

#[pool_state]
fn first(log: &str) -> u8 {
    add(log, "first ");
    1
}

#[pool_state]
fn second(log: &str) -> u16 {
    add(log, "second ");
    2
}

fn states_open_in_their_order_after_the_initializer(setup: &Setup) {
    let log = Gate::new();
    let builder = setup.builder().workers(1).state(first::State, log.path()).state(second::State, log.path());
    let pool = builder.initializer(begin::Task, log.path()).build().unwrap();
    pool.wait_ready().unwrap();
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "initializer first second ");
}

fn a_task_whose_state_is_missing_is_refused(setup: &Setup) {
    let pool = setup.builder().state(words::State, String::new()).build().unwrap();
    let refused = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains("`it::states::increment`") && text.contains("a state of type `Counter`"), "{text}");
    };
    refused(pool.apply(increment::Task, ()).map(drop));
    refused(pool.apply_async(increment::Task, ()).map(drop));
    refused(pool.try_apply_async(increment::Task, ()).map(drop));
    refused(pool.map(increment::Task, [()]).map(drop));
    refused(pool.map_async(increment::Task, [()]).map(drop));
    refused(pool.imap(increment::Task, [()]).map(drop));
    assert_eq!(pool.stats().jobs_submitted, 0);
}

#[pool_state]
fn other_words() -> Vec<String> {
    Vec::new()
}

#[pool_task]
fn initialize(#[state] words: &Vec<String>) {
    drop(words.clone());
}

fn impossible_states_are_refused(setup: &Setup) {
    let refused = |builder: PoolBuilder, text: &str| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(text), "{error}");
    };
    let builder = || setup.builder().state(words::State, String::new());
    let text = "`it::states::words` and `it::states::other_words` both open a state of type `alloc::vec::Vec<";
    refused(builder().state(other_words::State, ()), text);
    refused(setup.builder().state(other_words::State.timeout(Duration::ZERO), ()), "time limit of zero");
    refused(builder().initializer(initialize::Task, ()), "states are opened after it");
    refused(setup.builder().finalizer(initialize::Task, ()), "takes a state of type `Vec<String>`");
}

fn states_are_no_tasks(_: &Setup) {
    let names: Vec<_> = tasks().iter().map(|task| task.name()).collect();
    assert!(names.contains(&"increment") && !names.contains(&"other_words"));
}

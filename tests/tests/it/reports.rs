//! Reports of running items: heard in order, before a crash, by listeners that block, panic or go away.

use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool_core::prelude::*;
use pool_core::report;
use serde::{Deserialize, Serialize, Serializer};
use tests::gate::{Gate, count};
use tests::procs::{SOON, eventually};
use tests::tasks::{Way, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(reports_of_a_call_are_heard_in_order),
        everywhere(reports_of_maps_are_heard_with_their_items),
        each_method(reports_before_a_crash_are_heard),
        each_method(reports_before_a_kill_from_outside_are_heard),
        each_method(retries_report_again_and_say_so),
        each_method(nobody_listens_where_nobody_can),
        each_method(a_dropped_handle_is_nobody),
        each_method(a_dropped_iterator_is_nobody),
        each_method(a_report_of_another_type_is_an_error),
        each_method(a_report_that_cannot_be_encoded_is_an_error),
        each_method(large_reports_arrive_whole),
        each_method(an_item_that_panics_has_reported),
        each_method(reports_go_together_with_details),
        each_method(a_task_that_reports_while_it_is_encoded),
        each_method(a_forked_copy_does_not_report),
    ]
}

#[pool_task(reports)]
pub(crate) fn count_to(end: u64) -> u64 {
    (0..end).for_each(|number| assert!(report(&number)));
    end
}

pub(crate) type Heard<T> = (usize, u32, Result<T, pool_core::Error>);

/// A listener, and what it has heard.
pub(crate) fn listener<T: Send + 'static>()
-> (impl FnMut(pool_core::Report<T>) + Send + 'static, mpsc::Receiver<Heard<T>>) {
    let (sender, receiver) = mpsc::channel();
    (move |report: pool_core::Report<T>| sender.send((report.item, report.attempt, report.value)).unwrap(), receiver)
}

/// All that was heard of one item in its first attempt.
pub(crate) fn values<T>(heard: mpsc::Receiver<Heard<T>>) -> Vec<T> {
    heard
        .iter()
        .map(|(item, attempt, value)| {
            assert_eq!((item, attempt), (0, 1));
            value.unwrap()
        })
        .collect()
}

fn reports_of_a_call_are_heard_in_order(setup: &Setup) {
    let pool = setup.pool();
    for end in [0, 1, 3, 1000, 50_000] {
        let (listener, heard) = listener();
        let job = pool.apply_async(count_to::Task, end).unwrap().on_report(listener);
        assert_eq!(job.get().unwrap(), end);
        assert_eq!(values::<u64>(heard), (0..end).collect::<Vec<_>>());
    }
    let (listener, heard) = listener();
    pool.apply_async(count_to::Task, 10).unwrap().on_report(listener).on_done(|result| assert_eq!(result.unwrap(), 10));
    assert_eq!(values::<u64>(heard).len(), 10);
}

#[pool_task]
fn tell_twice(x: u64) -> u64 {
    report(&x);
    report(&(x + 1));
    x
}

/// The reports of each item, in their order.
fn by_item(heard: mpsc::Receiver<Heard<u64>>, items: usize) -> Vec<Vec<u64>> {
    let mut by_item = vec![Vec::new(); items];
    heard.iter().for_each(|(item, _, value)| by_item[item].push(value.unwrap()));
    by_item
}

fn reports_of_maps_are_heard_with_their_items(setup: &Setup) {
    const ITEMS: u64 = 3000;
    let pool = setup.pool();
    let expected: Vec<_> = (0..ITEMS).map(|x| vec![x, x + 1]).collect();
    for task in [tell_twice::Task.chunk_size(1).reports(), tell_twice::Task.chunk_size(100).reports()] {
        let (hear, heard) = listener();
        let job = pool.map_async(task, 0..ITEMS).unwrap().on_report(hear);
        assert_eq!(job.get().unwrap().len(), ITEMS as usize);
        assert_eq!(by_item(heard, ITEMS as usize), expected);
        let (hear, heard) = listener();
        assert!(pool.imap(task, 0..ITEMS).unwrap().on_report(hear).map(Result::unwrap).eq(0..ITEMS));
        assert_eq!(by_item(heard, ITEMS as usize), expected);
        let (hear, heard) = listener();
        assert_eq!(pool.imap_unordered(task, 0..ITEMS).unwrap().on_report(hear).count(), ITEMS as usize);
        assert_eq!(by_item(heard, ITEMS as usize), expected);
    }
}

#[pool_task(reports)]
fn count_then_crash(end: u64, way: Way) {
    (0..end).for_each(|number| assert!(report(&number)));
    way.go();
}

fn reports_before_a_crash_are_heard(setup: &Setup) {
    let pool = setup.pool();
    for way in [Way::Abort, Way::Segfault, Way::Kill, Way::ExitNow, Way::StackOverflow] {
        for end in [1, 5000] {
            let (listener, heard) = listener();
            let job = pool.apply_async(count_then_crash::Task, (end, way)).unwrap().on_report(listener);
            assert_eq!(job.get().unwrap_err().kind(), ErrorKind::WorkerDied, "{way:?}");
            assert_eq!(values::<u64>(heard), (0..end).collect::<Vec<_>>(), "{way:?}");
        }
    }
}

#[pool_task(reports)]
fn count_for_ever() {
    let mut number = 0u64;
    while report(&number) {
        number += 1;
    }
}

fn reports_before_a_kill_from_outside_are_heard(setup: &Setup) {
    let pool = setup.pool();
    for round in 0..10 {
        let (sender, receiver) = mpsc::channel();
        let job =
            pool.apply_async(count_for_ever::Task, ()).unwrap().on_report(move |report: pool_core::Report<u64>| {
                sender.send((report.worker.pid(), report.value.unwrap())).unwrap();
            });
        let (pid, first) = receiver.recv_timeout(SOON).unwrap();
        assert_eq!(first, 0);
        thread::sleep(Duration::from_micros(300 * round));
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
        assert_eq!(job.get().unwrap_err().kind(), ErrorKind::WorkerDied);
        // None is missing before the last that was heard.
        assert!(receiver.iter().enumerate().all(|(index, (_, number))| number == index as u64 + 1));
    }
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

#[pool_task(reports)]
fn fail_twice(calls: &str) -> usize {
    let before = count(calls);
    report(&before);
    if before < 2 {
        std::process::abort();
    }
    before
}

fn retries_report_again_and_say_so(setup: &Setup) {
    let pool = setup.pool();
    let calls = Gate::new();
    let (listener, heard) = listener::<usize>();
    let job = pool.apply_async(fail_twice::Task.retries(2), calls.path()).unwrap().on_report(listener);
    assert_eq!(job.get().unwrap(), 2);
    let heard: Vec<_> = heard.iter().map(|(_, attempt, value)| (attempt, value.unwrap())).collect();
    assert_eq!(heard, [(1, 0), (2, 1), (3, 2)]);
}

/// The answers to a report of the task's own thread, and of another thread.
#[pool_task]
fn ask() -> (bool, bool) {
    let elsewhere = thread::spawn(|| report(&1)).join().unwrap();
    (report(&1), elsewhere)
}

fn nobody_listens_where_nobody_can(setup: &Setup) {
    assert!(!report(&1), "this is no worker");
    let pool = setup.pool();
    assert_eq!(pool.apply(ask::Task, ()).unwrap(), (false, false));
    assert_eq!(pool.apply(ask::Task.reports(), ()).unwrap(), (false, false), "it has no handle");
    assert_eq!(pool.map(ask::Task.reports(), [(); 3]).unwrap(), [(false, false); 3]);
    let (listener, heard) = listener();
    let job = pool.apply_async(ask::Task.reports(), ()).unwrap().on_report(listener);
    assert_eq!(job.get().unwrap(), (true, false));
    assert_eq!(values::<i32>(heard), [1]);
    assert_eq!(pool.apply(ask::Task, ()).unwrap(), (false, false), "the terms of another request do not stay");
}

/// Notes that it has found that nobody listens.
#[pool_task(reports)]
pub(crate) fn report_to_the_end(note: &str) {
    while report(&0u8) {}
    count(note);
}

pub(crate) fn has_been_noted(note: &Gate) -> bool {
    eventually(|| std::fs::metadata(note.path()).is_ok_and(|file| file.len() > 0))
}

fn a_dropped_handle_is_nobody(setup: &Setup) {
    let pool = setup.pool();
    for has_listener in [true, false] {
        let note = Gate::new();
        let job = pool.apply_async(report_to_the_end::Task, note.path()).unwrap();
        if has_listener {
            let (listener, heard) = listener::<u8>();
            let job = job.on_report(listener);
            heard.recv_timeout(SOON).unwrap().2.unwrap();
            drop(job);
            // The listener goes, too.
            assert!(heard.iter().count() < usize::MAX);
        } else {
            drop(job);
        }
        assert!(has_been_noted(&note));
    }
    pool.close();
    pool.join().unwrap();
}

fn a_dropped_iterator_is_nobody(setup: &Setup) {
    let pool = setup.pool();
    let note = Gate::new();
    let (listener, heard) = listener::<u8>();
    let mut results = pool.imap(report_to_the_end::Task, [note.path(); 2]).unwrap().on_report(listener);
    assert_eq!(results.next_timeout(Duration::from_millis(50)).unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    heard.recv_timeout(SOON).unwrap().2.unwrap();
    drop(results);
    assert!(has_been_noted(&note));
    // It may be in the middle of a report, for which it must have its receiver.
    heard.iter().for_each(drop);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Progress {
    done: u32,
    of: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Twin {
    done: u32,
    of: u32,
}

#[pool_task(reports)]
fn report_several() {
    report(&Progress { done: 1, of: 2 });
    report(&Twin { done: 1, of: 2 });
    report("text");
    report(&"text");
    report(&String::from("text"));
    report(&(1u32, 2u32));
}

fn a_report_of_another_type_is_an_error(setup: &Setup) {
    let pool = setup.pool();
    let (hear, heard) = listener::<Progress>();
    pool.apply_async(report_several::Task, ()).unwrap().on_report(hear).get().unwrap();
    let heard: Vec<_> = heard.iter().map(|heard| heard.2).collect();
    assert_eq!(heard[0].as_ref().unwrap(), &Progress { done: 1, of: 2 });
    assert_eq!(heard.len(), 6);
    for error in heard[1..].iter().map(|value| value.as_ref().unwrap_err()) {
        assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
        assert!(error.to_string().contains("Progress") && error.task().unwrap().ends_with("report_several"), "{error}");
    }
    let (hear, heard) = listener::<String>();
    pool.apply_async(report_several::Task, ()).unwrap().on_report(hear).get().unwrap();
    assert_eq!(heard.iter().filter_map(|heard| heard.2.ok()).collect::<Vec<_>>(), ["text"; 3]);
}

#[derive(Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("on purpose"))
    }
}

#[pool_task(reports)]
fn report_unwritable() -> bool {
    report(&Unwritable)
}

fn a_report_that_cannot_be_encoded_is_an_error(setup: &Setup) {
    let pool = setup.pool();
    let (hear, heard) = listener::<Unwritable>();
    assert!(pool.apply_async(report_unwritable::Task, ()).unwrap().on_report(hear).get().unwrap());
    let error = heard.recv_timeout(SOON).unwrap().2.err().unwrap();
    assert!(error.kind() == ErrorKind::Encode && error.to_string().contains("on purpose"), "{error}");
}

#[pool_task(reports)]
fn report_large(sizes: Vec<usize>) {
    for (number, size) in sizes.into_iter().enumerate() {
        assert!(report(&vec![number as u8; size]));
    }
}

fn large_reports_arrive_whole(setup: &Setup) {
    let pool = setup.pool();
    const MIB: usize = 1 << 20;
    let sizes = vec![0, 1, 100, 40_000, 3, 3 * MIB, 20 * MIB, 7, 200_000, 1 << 14, MIB];
    let (hear, heard) = listener::<Vec<u8>>();
    pool.apply_async(report_large::Task, sizes.clone()).unwrap().on_report(hear).get().unwrap();
    let expected: Vec<_> = sizes.iter().enumerate().map(|(number, &size)| vec![number as u8; size]).collect();
    assert!(values(heard) == expected);
}

#[pool_task(reports)]
fn report_and_panic(x: u64) -> u64 {
    report(&x);
    assert!(x != 1, "on purpose");
    x
}

fn an_item_that_panics_has_reported(setup: &Setup) {
    let pool = setup.pool();
    let (hear, heard) = listener::<u64>();
    let results: Vec<_> = pool.imap(report_and_panic::Task.chunk_size(4), 0..4).unwrap().on_report(hear).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(by_item(heard, 4), [[0], [1], [2], [3]]);
}

fn reports_go_together_with_details(setup: &Setup) {
    let pool = setup.pool();
    let (hear, heard) = listener::<u64>();
    let mut results = pool.imap(tell_twice::Task.reports(), 0..100).unwrap().on_report(hear).detailed();
    assert!(results.all(|completed| completed.worker.is_some() && completed.result.is_ok()));
    drop(results);
    assert_eq!(by_item(heard, 100).concat().len(), 200);
}

/// Reports while it is encoded.
#[derive(Deserialize)]
struct Talkative;

impl Serialize for Talkative {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(report(&1u64))
    }
}

#[pool_task(reports)]
fn report_talkative() -> Talkative {
    assert!(report(&Talkative));
    Talkative
}

fn a_task_that_reports_while_it_is_encoded(setup: &Setup) {
    let pool = setup.pool();
    let (hear, heard) = listener::<u64>();
    let job = pool.apply_async(report_talkative::Task, ()).unwrap().on_report(hear);
    job.wait();
    let heard: Vec<_> = heard.iter().map(|heard| heard.2).collect();
    // A report within a report is none; one while the result is encoded is.
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[1].as_ref().unwrap(), &1);
}

#[pool_task(reports)]
fn fork_and_report() -> bool {
    // SAFETY:
    // - the child does nothing but to report and to leave.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            let code = i32::from(report(&1u64));
            // SAFETY:
            // - `_exit` has no preconditions.
            unsafe { libc::_exit(code) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
            report(&2u64)
        }
    }
}

fn a_forked_copy_does_not_report(setup: &Setup) {
    let pool = setup.pool();
    let (hear, heard) = listener::<u64>();
    assert!(pool.apply_async(fork_and_report::Task, ()).unwrap().on_report(hear).get().unwrap());
    assert_eq!(values(heard), [2]);
}

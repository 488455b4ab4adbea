//! Preloads that fail, are killed, or leave something behind.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;

use nix::sys::signal::Signal;
use pool_core::prelude::*;
use pool_core::{PoolBuilder, PoolState};
use serde::{Deserialize, Serialize};
use tests::gate::{Gate, count};
use tests::host::{Host, say};
use tests::procs::{self, children, descendants, eventually, fork_server, is_alive, kill_9};
use tests::tasks::{Way, pid, square};
use tests::trial::{Check, Setup, each_method, once, program};

pub(crate) fn checks() -> Vec<Check> {
    let copies = [StartMethod::ForkServer, StartMethod::Fork];
    vec![
        each_method(one_that_fails_is_an_error_of_build).methods(&copies).noisy(),
        each_method(threads_that_it_leaves_behind_are_an_error).methods(&copies),
        each_method(children_that_it_waits_for_are_its_own).methods(&copies),
        each_method(what_it_has_started_ends_with_the_pool).methods(&copies),
        each_method(a_kill_in_the_middle_is_told).methods(&copies),
        each_method(a_host_that_is_killed_meanwhile_leaves_nothing).methods(&copies),
        once(one_that_fails_in_a_new_fork_server_is_tried_again),
        once(one_that_always_fails_in_new_fork_servers_breaks_the_pool),
        once(a_pool_that_ends_does_not_wait_for_it),
        once(one_that_makes_no_sense_is_refused),
        program(hangs_in_its_preload),
    ]
}

#[pool_task]
fn end(way: Way) {
    way.go()
}

#[pool_task]
fn idle() {}

/// Cannot be read.
#[derive(Serialize)]
struct Riddle(u8);

impl<'de> Deserialize<'de> for Riddle {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("nobody understands it"))
    }
}

#[pool_task]
fn solve(riddle: Riddle) {
    assert_eq!(riddle.0, 1);
}

#[pool_task]
fn fail(text: &str) -> Result<(), String> {
    Err(text.to_owned())
}

#[pool_task]
fn overflow(depth: u64) {
    fn descend(depth: u64) -> u64 {
        let bytes = std::hint::black_box([depth as u8; 4096]);
        if depth == 0 { 0 } else { descend(depth - 1) + u64::from(bytes[7]) }
    }
    std::hint::black_box(descend(depth));
}

#[pool_task]
fn hang(gate: &str) {
    count(gate);
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// The error of a pool that cannot be made; nothing is left of it.
fn refused(builder: PoolBuilder, kind: ErrorKind, texts: &[&str]) {
    let error = builder.build().expect_err("its preload fails");
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(texts.iter().all(|part| text.contains(part)), "{texts:?}: {text:.500}");
    assert!(eventually(|| descendants().is_empty()), "processes are left: {:?}", descendants());
}

fn one_that_fails_is_an_error_of_build(setup: &Setup) {
    let broken = |builder, texts: &[&str]| refused(builder, ErrorKind::Broken, texts);
    let new = || setup.builder();
    broken(new().preload(fail::Task, "no file"), &["the preload `it::preload_failures::fail` failed: no file"]);
    broken(new().preload(fail::Task, &"long ".repeat(1_000_000)), &["`it::preload_failures::fail` failed: long long"]);
    broken(new().preload(end::Task, Way::Panic), &["the preload `it::preload_failures::end` panicked: "]);
    broken(
        new().preload(solve::Task, Riddle(1)),
        &["`it::preload_failures::solve`", "decoded", "nobody understands it"],
    );
    let lost = "did not end: the fork server, in which it ran, ";
    for (way, end) in [(Way::ExitThree, "exit code 3"), (Way::ExitZero, "exit code 0"), (Way::Abort, "SIGABRT")] {
        broken(new().preload(end::Task, way), &["the preload `it::preload_failures::end` ", lost, end]);
    }
    broken(new().preload(overflow::Task, u64::MAX), &["`it::preload_failures::overflow`", lost, ": stack overflow"]);
    let gate = Gate::new();
    let limited = hang::Task.timeout(Duration::from_millis(100));
    broken(new().preload(limited, gate.path()), &["`it::preload_failures::hang` exceeded its limit of 100 ms after "]);
    assert_eq!(gate.count(), 1);
    // With all else it works.
    assert_eq!(new().preload(idle::Task, ()).build().unwrap().apply(square::Task, 3).unwrap(), 9);
}

#[pool_task]
fn start_threads(names: Vec<String>) {
    for name in names {
        let hang = || {
            loop {
                thread::park();
            }
        };
        thread::Builder::new().name(name).spawn(hang).unwrap();
    }
}

#[pool_task]
fn start_and_join_threads() {
    let threads: Vec<_> = (0..10).map(|x| thread::spawn(move || x)).collect();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i32>(), 45);
    thread::scope(|scope| _ = scope.spawn(|| thread::sleep(Duration::from_millis(1))));
}

fn threads_that_it_leaves_behind_are_an_error(setup: &Setup) {
    let refused = |names: &[&str], texts: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        refused(setup.builder().preload(start_threads::Task, names), ErrorKind::Unsupported, texts);
    };
    refused(&["reader"], &["the preload `it::preload_failures::start_threads` has left a thread behind (`reader`)"]);
    refused(&["one"; 40], &["has left 40 threads behind (`one`, `one`, "]);
    let pool = setup.builder().preload(start_and_join_threads::Task, ()).build().unwrap();
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

/// A program like any other starts some, and waits for all that it has.
#[pool_task]
fn wait_for_children() -> Result<(), String> {
    let status = Command::new("true").status().map_err(|error| error.to_string())?;
    assert!(status.success());
    match nix::sys::wait::waitpid(None, None) {
        Err(nix::errno::Errno::ECHILD) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn children_that_it_waits_for_are_its_own(setup: &Setup) {
    let pool = setup.builder().preload(wait_for_children::Task, ()).build().unwrap();
    pool.wait_ready().unwrap();
    let pids: BTreeSet<_> = children(fork_server().pid).into_iter().map(|process| process.pid).collect();
    assert_eq!(pids, pool.worker_pids().into_iter().collect(), "only workers are left");
}

#[pool_task]
#[expect(clippy::zombie_processes, reason = "it is to be left behind")]
fn start_program(gate: &str, way: Option<Way>) {
    let child = Command::new("sleep").arg("1000").spawn().expect("coreutils");
    fs::write(gate, child.id().to_string()).unwrap();
    if let Some(way) = way {
        way.go();
    }
}

fn what_it_has_started_ends_with_the_pool(setup: &Setup) {
    let gate = Gate::new();
    let started = || fs::read_to_string(gate.path()).unwrap().parse().unwrap();
    let pool = setup.builder().preload(start_program::Task, (gate.path(), None)).build().unwrap();
    let program = started();
    assert!(pool.apply(square::Task, 3).is_ok() && is_alive(program));
    drop(pool);
    assert!(eventually(|| !is_alive(program)));
    for way in [Way::Panic, Way::ExitThree, Way::Abort] {
        let _ = setup.builder().preload(start_program::Task, (gate.path(), Some(way))).build().unwrap_err();
        let program = started();
        assert!(eventually(|| !is_alive(program)), "after {way:?}");
    }
}

/// A program kills it while it runs.
#[pool_task]
#[expect(clippy::zombie_processes, reason = "this process ends before it")]
fn be_killed() {
    let kill = format!("sleep 0.05; kill -9 {}", std::process::id());
    Command::new("sh").arg("-c").arg(kill).spawn().expect("a shell");
    thread::sleep(Duration::from_secs(600));
}

fn a_kill_in_the_middle_is_told(setup: &Setup) {
    let error = setup.builder().preload(be_killed::Task, ()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    let text = "the preload `it::preload_failures::be_killed` did not end: the fork server, in which it ran, was killed by signal 9 (SIGKILL)";
    assert_eq!(error.to_string(), text);
    assert!(eventually(|| descendants().is_empty()), "processes are left: {:?}", descendants());
}

#[pool_task]
#[expect(clippy::zombie_processes, reason = "it is to be left behind")]
fn say_and_hang() {
    let child = Command::new("sleep").arg("1000").spawn().expect("coreutils");
    say(format!("{} {}", std::process::id(), child.id()));
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn hangs_in_its_preload(setup: &Setup) {
    setup.builder().preload(say_and_hang::Task, ()).build().unwrap();
}

fn a_host_that_is_killed_meanwhile_leaves_nothing(setup: &Setup) {
    let mut host = Host::start(hangs_in_its_preload, setup);
    let pids = host.pids();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    host.signal(Signal::SIGKILL);
    host.wait();
    assert!(eventually(|| !pids.iter().any(|pid| is_alive(*pid))), "processes are left: {:?}", descendants());
    assert!(eventually(|| descendants().is_empty()), "processes are left: {:?}", descendants());
}

/// The first time it ends well; how often it fails then is up to the file.
#[pool_task]
fn fail_again(gate: &str, failures: &str) -> Result<(), String> {
    let (runs, failures) = (count(gate), fs::read_to_string(failures).ok());
    match failures.and_then(|failures| failures.parse::<usize>().ok()) {
        Some(failures) if runs <= failures => Err(format!("run {runs}")),
        _ => Ok(()),
    }
}

fn one_that_fails_in_a_new_fork_server_is_tried_again(setup: &Setup) {
    let (runs, failures) = (Gate::new(), Gate::new());
    let preload = (runs.path(), failures.path());
    let pool = setup.builder().restart_limit(3).preload(fail_again::Task, preload).build().unwrap();
    let before = pool.apply(pid::Task, ()).unwrap();
    fs::write(failures.path(), "2").unwrap();
    kill_9(fork_server().pid);
    assert!(eventually(|| runs.count() == 4));
    assert_ne!(pool.apply(pid::Task.retries(1), ()).unwrap(), before);
    assert_eq!((pool.state(), runs.count()), (PoolState::Open, 4));
    // Only failures in a row count, and they end when a worker is ready: both of them are.
    assert!(pool.broadcast(pid::Task, ()).unwrap().iter().all(Result::is_ok));
    fs::write(failures.path(), "6").unwrap();
    kill_9(fork_server().pid);
    assert!(eventually(|| runs.count() == 8));
    pool.apply(pid::Task.retries(1), ()).unwrap();
}

fn one_that_always_fails_in_new_fork_servers_breaks_the_pool(setup: &Setup) {
    let (runs, failures) = (Gate::new(), Gate::new());
    let preload = (runs.path(), failures.path());
    let pool = setup.builder().restart_limit(2).preload(fail_again::Task, preload).build().unwrap();
    pool.wait_ready().unwrap();
    fs::write(failures.path(), "1000").unwrap();
    kill_9(fork_server().pid);
    assert!(eventually(|| pool.state() == PoolState::Broken));
    let error = pool.apply(pid::Task, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains("the preload `it::preload_failures::fail_again` failed: run 3"), "{error}");
    assert_eq!(runs.count(), 4);
    assert!(pool.join().is_ok());
}

#[pool_task]
fn hang_again(gate: &str) {
    if count(gate) > 0 {
        hang(gate);
    }
}

fn a_pool_that_ends_does_not_wait_for_it(setup: &Setup) {
    let ends: [fn(Pool); 3] = [
        drop,
        |pool| {
            pool.close();
            pool.join().unwrap();
        },
        |pool| {
            pool.terminate();
            pool.join().unwrap();
        },
    ];
    for end in ends {
        let runs = Gate::new();
        let pool = setup.builder().preload(hang_again::Task, runs.path()).build().unwrap();
        pool.wait_ready().unwrap();
        kill_9(fork_server().pid);
        assert!(eventually(|| runs.count() == 3));
        end(pool);
        assert!(eventually(|| descendants().is_empty()), "processes are left: {:?}", descendants());
    }
    // One that is killed in the middle, and the next one too, is tried again.
    let runs = Gate::new();
    let pool = setup.builder().restart_limit(50).preload(hang_again::Task, runs.path()).build().unwrap();
    for round in 0..3 {
        kill_9(fork_server().pid);
        assert!(eventually(|| runs.count() == 3 + 2 * round));
        assert_eq!(pool.state(), PoolState::Open);
    }
    procs::signal(fork_server().pid, Signal::SIGSTOP);
    assert!(eventually(|| runs.count() == 9), "one that is stopped is given up");
}

struct Copy(String);

#[pool_state]
fn open(text: &str) -> Copy {
    Copy(text.to_owned())
}

#[pool_task]
fn take_a_state(#[state] copy: &Copy) {
    assert_eq!(copy.0, "");
}

#[derive(Deserialize)]
struct Secret;

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is a secret"))
    }
}

#[pool_task]
fn keep_secret(_secret: Secret) {}

fn one_that_makes_no_sense_is_refused(setup: &Setup) {
    let spawn = || setup.builder().start_method(StartMethod::Spawn);
    refused(
        spawn().preload(fail::Task, ""),
        ErrorKind::Unsupported,
        &["`it::preload_failures::fail`", "`StartMethod::Spawn`"],
    );
    let texts = ["the preload `it::preload_failures::take_a_state` takes a state of type `Copy`"];
    refused(setup.builder().state(open::State, "").preload(take_a_state::Task, ()), ErrorKind::InvalidInput, &texts);
    refused(setup.builder().preload(keep_secret::Task, Secret), ErrorKind::Encode, &["it is a secret"]);
    let none = fail::Task.timeout(Duration::ZERO);
    refused(setup.builder().preload(none, ""), ErrorKind::InvalidInput, &["a time limit of zero"]);
}

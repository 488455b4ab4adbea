//! Spans and events of workers, at the host's subscriber: as they were made, in their places, up to the last one before a crash.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use pool_core::prelude::*;
use tests::procs::{eventually, kill_9};
use tests::tasks::{Way, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere};
use tracing::field::Empty;
use tracing::{Level, Span, debug, error, info, info_span, trace, warn};

use crate::seen::{Fields, Memory, Seen, SeenSpan};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(events_arrive_as_they_were_made),
        each_method(spans_are_replayed),
        each_method(an_item_is_in_the_span_in_which_it_was_submitted),
        each_method(a_level_that_the_host_does_not_want_costs_nothing),
        each_method(records_before_a_death_arrive_and_spans_are_closed),
        each_method(no_record_is_lost_or_torn_under_kills).workers(&[5]),
        each_method(a_long_text_is_cut),
        each_method(an_initializer_is_heard_and_may_install_its_own),
        // With `Fork` workers have other pipes, too.
        each_method(a_worker_that_writes_garbage_is_told_apart).methods(&[StartMethod::ForkServer, StartMethod::Spawn]),
        each_method(without_a_subscriber_nothing_is_forwarded),
    ]
}

pub(crate) fn forwarding(setup: &Setup) -> Pool {
    setup.builder().forward_tracing().build().unwrap()
}

/// Ends the pool, so that all of its records have arrived.
pub(crate) fn end(pool: Pool) {
    pool.close();
    pool.join().unwrap();
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outer")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The line of the event; the worker.
#[pool_task]
fn emit(number: u64) -> (u32, usize, u32) {
    let failed = Outer("x".parse::<i32>().unwrap_err());
    let failed = &failed as &(dyn std::error::Error + 'static);
    let line = line!() + 1;
    warn!(number, minus = -1, big = u128::MAX, half = 0.5, yes = true, text = "a\"b", debug = ?Some("x"), display = %'c', failed, "number {number}");
    error!(target: "elsewhere", "error {number}");
    log::info!(target: "logged", "log {number}");
    let worker = current_worker().unwrap();
    (line, worker.id(), worker.pid())
}

fn fields(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn events_arrive_as_they_were_made(setup: &Setup) {
    let (memory, _guard) = Memory::of_this_thread(Level::TRACE);
    let pool = forwarding(setup);
    let workers = pool.map(emit::Task.chunk_size(2), 0..50).unwrap();
    pool.apply(emit::Task, 50).unwrap();
    end(pool);
    let seen = memory.seen();
    for (number, (line, id, pid)) in workers.into_iter().enumerate() {
        let event = seen.event(&format!("number {number}"));
        assert_eq!((event.level, event.line), (Level::WARN, Some(line)));
        assert_eq!((event.target.as_str(), event.module.as_deref()), ("it::forwarding", Some("it::forwarding")));
        assert!(event.file.as_deref().unwrap().ends_with("forwarding.rs"));
        let number_text = format!("u64 {number}");
        let expected = [
            ("message", &*format!("number {number}")),
            ("number", &*number_text),
            ("minus", "i64 -1"),
            ("big", &format!("u128 {}", u128::MAX)),
            ("half", "f64 0.5"),
            ("yes", "bool true"),
            ("text", "str a\"b"),
            ("debug", "Some(\"x\")"),
            ("display", "c"),
            ("failed", "error outer of invalid digit found in string"),
        ];
        assert_eq!(event.fields, fields(&expected));
        let scope = seen.scope(event);
        let item = fields(&[
            ("worker", &format!("u64 {id}")),
            ("pid", &format!("u64 {pid}")),
            ("task", "str it::forwarding::emit"),
            ("item", &number_text),
        ]);
        assert_eq!((scope.len(), &*scope[0].name, &scope[0].fields), (1, "item", &item));
        assert!(scope[0].is_closed);
        let other = seen.event(&format!("error {number}"));
        assert_eq!((&*other.target, other.level, &other.scope), ("elsewhere", Level::ERROR, &event.scope));
        // A copy of the host has the host's logger, which is none here.
        let logged = seen.event(&format!("log {number}"));
        assert_eq!((&*logged.target, logged.level, &logged.scope), ("logged", Level::INFO, &event.scope));
    }
    let call = seen.event("number 50");
    assert!(!seen.scope(call)[0].fields.contains_key("item"));
    assert_eq!(seen.events.len(), 3 * 51);
}

#[pool_task]
fn make_spans() {
    let outer = info_span!("outer", x = 1, late = Empty);
    let other = info_span!(parent: None, "other");
    outer.in_scope(|| {
        info!("within outer");
        let inner = info_span!("inner");
        inner.follows_from(&other);
        let clone = inner.clone();
        inner.in_scope(|| info!("within inner"));
        drop(inner);
        clone.in_scope(|| assert_eq!(Span::current().metadata().unwrap().name(), "inner"));
    });
    outer.record("late", "now");
    info!(parent: &outer, "beside");
    std::thread::spawn(move || other.in_scope(|| info!("in a thread"))).join().unwrap();
    assert!(Span::current().is_none());
}

fn spans_are_replayed(setup: &Setup) {
    let (memory, _guard) = Memory::of_this_thread(Level::INFO);
    let pool = forwarding(setup);
    pool.map(make_spans::Task, [(); 1]).unwrap();
    end(pool);
    let seen = memory.seen();
    let names =
        |message: &str| -> Vec<String> { seen.scope(seen.event(message)).into_iter().map(|span| span.name).collect() };
    assert_eq!(names("within inner"), ["inner", "outer", "item"]);
    assert_eq!(names("within outer"), ["outer", "item"]);
    assert_eq!(names("beside"), ["outer", "item"]);
    assert_eq!(names("in a thread"), ["other", "item"]);
    let [outer, inner] = ["outer", "inner"].map(|name| seen.span(name).unwrap());
    assert_eq!(outer.fields, fields(&[("x", "i64 1"), ("late", "str now")]));
    assert_eq!((outer.entered, inner.entered, inner.follows.len()), (1, 2, 1));
    assert!(seen.spans.values().all(|span| span.is_closed && span.entered == span.exited), "{seen:?}");
}

#[pool_task]
fn say(text: &str) {
    info!("{text}");
}

fn an_item_is_in_the_span_in_which_it_was_submitted(setup: &Setup) {
    let (memory, _guard) = Memory::of_this_thread(Level::INFO);
    let pool = forwarding(setup);
    let span = |name: &'static str| info_span!("submitting", way = name).entered();
    let ways = [
        "apply",
        "apply_async",
        "try_apply_async",
        "map",
        "map_results",
        "imap",
        "submit",
        "chunks",
        "broadcast",
        "none",
    ];
    let within = span("apply");
    pool.apply(say::Task, "apply").unwrap();
    drop(within);
    let within = span("apply_async");
    let job = pool.apply_async(say::Task, "apply_async").unwrap();
    drop(within);
    job.get().unwrap();
    let within = span("try_apply_async");
    let job = pool.try_apply_async(say::Task, "try_apply_async").unwrap();
    drop(within);
    job.get().unwrap();
    let within = span("map");
    pool.map(say::Task, ["map"]).unwrap();
    drop(within);
    let within = span("map_results");
    pool.map_results(say::Task, ["map_results"]).unwrap();
    drop(within);
    let within = span("imap");
    let results = pool.imap(say::Task, ["imap"]).unwrap();
    drop(within);
    assert_eq!(results.count(), 1);
    let within = span("submit");
    let job = futures::executor::block_on(pool.submit(say::Task, "submit")).unwrap();
    drop(within);
    job.get().unwrap();
    let within = span("chunks");
    pool.map(say::Task.chunk_size(1).retries(1), ["chunks"]).unwrap();
    drop(within);
    let within = span("broadcast");
    let workers = pool.broadcast(say::Task, "broadcast").unwrap().len();
    drop(within);
    pool.apply(say::Task, "none").unwrap();
    // A span ends with its last job, and not with the pool.
    let is_over = |seen: &Seen| {
        let submitting = seen.spans.values().filter(|span| span.name == "submitting");
        submitting.filter(|span| span.is_closed).count() == ways.len() - 1
    };
    assert!(eventually(|| is_over(&memory.seen())), "{:?}", memory.seen());
    end(pool);
    let seen = memory.seen();
    for way in ways {
        let events: Vec<_> = seen.events.iter().filter(|event| event.message() == way).collect();
        assert_eq!(events.len(), if way == "broadcast" { workers } else { 1 }, "{way}");
        for scope in events.into_iter().map(|event| seen.scope(event)) {
            let around: Vec<_> = scope[1..].iter().map(|span| span.fields["way"].clone()).collect();
            let expected = if way == "none" { vec![] } else { vec![format!("str {way}")] };
            assert_eq!((&*scope[0].name, around), ("item", expected));
        }
    }
}

#[pool_task]
fn enabled_levels() -> (bool, bool, bool) {
    debug!("not wanted");
    trace!("not wanted");
    log::debug!("not wanted");
    let is_formatted = Mutex::new(false);
    struct Noting<'n>(&'n Mutex<bool>);
    impl fmt::Debug for Noting<'_> {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            *self.0.lock().unwrap() = true;
            Ok(())
        }
    }
    debug!(noting = ?Noting(&is_formatted));
    let is_formatted = *is_formatted.lock().unwrap();
    (tracing::enabled!(Level::INFO), tracing::enabled!(Level::DEBUG), is_formatted)
}

fn a_level_that_the_host_does_not_want_costs_nothing(setup: &Setup) {
    let (memory, _guard) = Memory::of_this_thread(Level::INFO);
    let pool = forwarding(setup);
    assert_eq!(pool.apply(enabled_levels::Task, ()).unwrap(), (true, false, false));
    end(pool);
    assert!(memory.seen().events.is_empty());
}

#[pool_task]
fn emit_and_go(way: Way) {
    let span = info_span!("last").entered();
    info!("before");
    log::warn!("logged");
    let _ = span;
    way.go()
}

fn records_before_a_death_arrive_and_spans_are_closed(setup: &Setup) {
    for way in Way::ALL {
        let (memory, _guard) = Memory::of_this_thread(Level::INFO);
        let pool = forwarding(&setup.with_workers(1));
        pool.apply(emit_and_go::Task.timeout(Duration::from_millis(300)), way).unwrap_err();
        // It is told while the pool lives.
        let is_closed = |span: Option<&SeenSpan>| span.is_some_and(|span| span.is_closed);
        assert!(eventually(|| is_closed(memory.seen().span("last"))), "{way:?}: {:?}", memory.seen());
        assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
        end(pool);
        let seen = memory.seen();
        let names: Vec<_> = seen.scope(seen.event("before")).into_iter().map(|span| span.name).collect();
        assert_eq!(names, ["last", "item"]);
        assert_eq!(seen.event("logged").scope, seen.event("before").scope);
        let last = seen.span("last").unwrap();
        assert_eq!((last.entered, last.exited), (1, 1));
    }
}

/// Emits numbered events from several threads.
#[pool_task]
fn emit_many(number: usize) {
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                (0..20).for_each(|at| emit_checked(number, thread, at));
            });
        }
    });
    (0..20).for_each(|at| emit_checked(number, 2, at));
}

fn emit_checked(number: usize, thread: usize, at: usize) {
    let text = "abcdefghij".repeat((number * 7 + thread * 31 + at * 13) % 300);
    info!(number, thread, at, text, "checked");
}

fn no_record_is_lost_or_torn_under_kills(setup: &Setup) {
    const ITEMS: usize = 200;
    let (memory, _guard) = Memory::of_this_thread(Level::INFO);
    let pool = forwarding(setup);
    let job = pool.map_async(emit_many::Task.chunk_size(1).retries(1000), 0..ITEMS).unwrap();
    for _ in 0..20 {
        if let Some(running) = pool.running().first() {
            kill_9(running.pid);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    job.get().unwrap();
    assert!(pool.stats().workers_died > 0);
    end(pool);
    let seen = memory.seen();
    let number = |event: &Fields, name: &str| event[name].trim_start_matches("u64 ").parse::<usize>().unwrap();
    let mut whole = BTreeSet::new();
    for event in &seen.events {
        assert_eq!(event.message(), "checked", "{event:?}");
        let [item, thread, at] = ["number", "thread", "at"].map(|name| number(&event.fields, name));
        let text = "abcdefghij".repeat((item * 7 + thread * 31 + at * 13) % 300);
        assert_eq!(event.fields["text"], format!("str {text}"));
        let scope = seen.scope(event);
        assert_eq!((scope.len(), number(&scope[0].fields, "item")), (1, item));
        whole.insert((item, thread, at));
    }
    assert_eq!(whole.len(), ITEMS * 60);
    assert!(seen.spans.values().all(|span| span.is_closed));
}

#[pool_task]
fn emit_long(length: usize) {
    let text = "ü".repeat(length);
    info!(text, debug = ?text, number = 7, "{text}");
    log::info!("{text}");
}

fn a_long_text_is_cut(setup: &Setup) {
    let (memory, _guard) = Memory::of_this_thread(Level::INFO);
    let pool = forwarding(setup);
    pool.apply(emit_long::Task, 100_000).unwrap();
    end(pool);
    let seen = memory.seen();
    assert_eq!(seen.events.len(), 2);
    for event in &seen.events {
        let longest = event.fields.values().max_by_key(|text| text.len()).unwrap();
        assert!(longest.ends_with("ü… (cut)") && (3000..4096).contains(&longest.len()), "{longest}");
    }
}

#[pool_task]
fn prepare(installs: bool) {
    info!("preparing");
    if installs {
        tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
        log::set_boxed_logger(Box::new(Deaf)).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    }
}

struct Deaf;

impl log::Log for Deaf {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, _: &log::Record<'_>) {}
    fn flush(&self) {}
}

fn an_initializer_is_heard_and_may_install_its_own(setup: &Setup) {
    for installs in [false, true] {
        let (memory, _guard) = Memory::of_this_thread(Level::INFO);
        let builder = setup.with_workers(1).builder().forward_tracing();
        let pool = builder.initializer(prepare::Task, installs).build().unwrap();
        pool.apply(emit::Task, 1).unwrap();
        end(pool);
        let seen = memory.seen();
        let scope = seen.scope(seen.event("preparing"));
        assert_eq!((scope.len(), &*scope[0].name), (1, "worker"));
        assert_eq!(seen.scope(seen.event("number 1"))[0].name, "item");
        let warned = seen.events.iter().filter(|event| event.message().contains("has installed a subscriber")).count();
        // A copy of the host has had a subscriber before.
        let tells = installs && setup.method != StartMethod::Fork;
        assert_eq!(warned, usize::from(tells), "{:?}", seen.events);
        let logged = seen.events.iter().any(|event| event.message() == "log 1");
        assert_eq!(logged, !installs);
    }
}

/// Writes other bytes into all of this worker's pipes but the standard streams.
#[pool_task]
fn scribble(bytes: &[u8]) -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let mut written = 0;
    for fd in fds {
        let target = std::fs::read_link(fd.path()).unwrap_or_default();
        let number: i32 = fd.file_name().to_str().unwrap().parse().unwrap();
        if number > 2 && target.to_string_lossy().starts_with("pipe:") {
            std::fs::write(format!("/proc/self/fd/{number}"), bytes).unwrap();
            written += 1;
        }
    }
    written
}

fn a_worker_that_writes_garbage_is_told_apart(setup: &Setup) {
    let long: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for garbage in [&b"\x05\x00\xff\xff\xff\xff\xff"[..], &[0xff; 10_000], &[0; 10_000], &long] {
        let (memory, _guard) = Memory::of_this_thread(Level::INFO);
        let pool = forwarding(&setup.with_workers(2));
        let before = pool.map(say::Task.chunk_size(1), ["before"]).unwrap().len();
        assert_eq!(pool.apply(scribble::Task, garbage).unwrap(), before);
        // Its own records are not believed any more, and the other worker's are.
        let texts: Vec<_> = (0..100).map(|number| format!("after {number}")).collect();
        pool.map(say::Task.chunk_size(1), texts.iter().map(String::as_str)).unwrap();
        end(pool);
        let seen = memory.seen();
        let warned = seen.events.iter().filter(|event| event.message().contains("something else than records"));
        let (warned, after) = (warned.count(), seen.events.iter().filter(|e| e.message().starts_with("after")).count());
        assert!(warned <= 1 && after <= 100, "{warned} warnings, {after} events");
        // Bytes that end within a record swallow the beginning of the next one.
        assert!(warned == 1 || after < 100 || garbage[0] == 0, "{warned} warnings, {after} events");
    }
}

fn without_a_subscriber_nothing_is_forwarded(setup: &Setup) {
    let pool = forwarding(setup);
    pool.apply(emit::Task, 1).unwrap();
    info_span!("none").in_scope(|| pool.apply(nap::Task, 0)).unwrap();
    let error = pool.apply(emit_and_go::Task, Way::Abort).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerDied);
    end(pool);
}

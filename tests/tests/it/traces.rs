//! Traces: they keep to the format, tell what happened in its order, and can be read after any end.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool_core::prelude::*;
use tests::gate::{Gate, count};
use tests::host::Host;
use tests::json::Json;
use tests::panics::silently;
use tests::procs::eventually;
use tests::tasks::{Way, crash, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere, once, program};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(a_trace_keeps_to_the_format),
        each_method(items_deaths_retries_and_pauses_are_in_the_trace),
        each_method(a_trace_under_kills_keeps_to_the_format),
        each_method(the_trace_of_a_killed_host_can_be_read),
        once(items_of_a_long_chunk_are_blocks_of_their_own),
        once(a_path_that_cannot_be_is_an_error),
        once(a_trace_that_cannot_be_written_stops_and_says_so),
        program(trace_for_ever),
    ]
}

/// Checks a trace against the format, and returns its events.
fn events(text: &str) -> Vec<Json> {
    let parsed = Json::parse(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let Json::Array(events) = parsed else { panic!("no array: {text}") };
    let mut ends: BTreeMap<u64, f64> = BTreeMap::new();
    let mut names = BTreeMap::new();
    for event in &events {
        let number = |key: &str| event[key].number().unwrap_or_else(|| panic!("no {key} in {event:?}"));
        assert!(
            event["name"].text().is_some() && event["pid"].count().is_some() && event["tid"].count().is_some(),
            "{event:?}"
        );
        let thread = event["tid"].count().unwrap();
        match event["ph"].text() {
            Some("M") => {
                assert!(matches!(event["args"], Json::Object(_)), "{event:?}");
                if event["name"].text() == Some("thread_name") {
                    assert!(names.insert(thread, event["args"]["name"].clone()).is_none(), "{event:?}");
                }
            }
            Some("i") => assert!(number("ts") >= 0.0 && ["p", "t"].contains(&event["s"].text().unwrap()), "{event:?}"),
            Some("X") => {
                assert!(number("ts") >= 0.0 && number("dur") >= 0.0 && names.contains_key(&thread), "{event:?}");
                let end = ends.entry(thread).or_default();
                // Blocks of a worker follow one another; the times are rounded to nanoseconds.
                assert!(number("ts") + 0.002 >= *end, "{event:?} begins before {end}");
                *end = number("ts") + number("dur");
            }
            phase => panic!("{phase:?} in {event:?}"),
        }
    }
    events
}

/// A pool of this setup that writes a trace, and the way to read that.
fn traced(setup: &Setup) -> (Pool, Gate) {
    let file = Gate::new();
    (setup.builder().trace(file.path()).build().unwrap(), file)
}

fn read(pool: Pool, file: &Gate) -> Vec<Json> {
    pool.close();
    pool.join().unwrap();
    assert_eq!(pool.insights().trace_end, None);
    events(&fs::read_to_string(file.path()).unwrap())
}

fn named<'e>(events: &'e [Json], name: &str) -> Vec<&'e Json> {
    events.iter().filter(|event| event["name"].text().unwrap().starts_with(name)).collect()
}

fn items(blocks: &[&Json]) -> u64 {
    blocks.iter().map(|event| event["args"]["items"].count().unwrap_or(1)).sum()
}

fn a_trace_keeps_to_the_format(setup: &Setup) {
    let (pool, file) = traced(setup);
    pool.map(square::Task.label("a \"label\""), 0..100_000).unwrap();
    let calls: Vec<_> = (0..1000).map(|x| pool.apply_async(square::Task, x).unwrap()).collect();
    calls.into_iter().for_each(|call| _ = call.get().unwrap());
    let events = read(pool, &file);
    assert_eq!(items(&named(&events, "square")), 101_000);
    assert!(
        named(&events, "square (a \"label\")").iter().all(|event| event["args"]["label"].text() == Some("a \"label\""))
    );
    assert_eq!(named(&events, "thread_name").len(), setup.workers);
    assert!(events.len() < 10_000, "short items are joined, and these are {} events", events.len());
}

#[pool_task]
fn fail_once(way: Way, gate: &str) {
    if count(gate) == 0 {
        way.go();
    }
}

#[pool_task]
fn prepare() {
    std::thread::sleep(Duration::from_millis(20));
}

fn items_deaths_retries_and_pauses_are_in_the_trace(setup: &Setup) {
    let file = Gate::new();
    let builder = setup.builder().workers(1).initializer(prepare::Task, ()).trace(file.path());
    let pool = builder.build().unwrap();
    pool.map(nap::Task.chunk_size(1), [5; 20]).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    let gate = Gate::new();
    pool.apply(fail_once::Task.retries(1), (Way::Segfault, gate.path())).unwrap();
    silently(|| pool.map_results(crash::Task.label("crashes"), [None, Some(Way::Panic)]).unwrap());
    pool.apply(crash::Task.timeout(Duration::from_millis(50)), Some(Way::Hang)).unwrap_err();
    let events = read(pool, &file);
    let naps = named(&events, "nap");
    assert_eq!(naps.len(), 20);
    let indices: Vec<_> = naps.iter().map(|event| event["args"]["item"].count().unwrap()).collect();
    assert!(indices.iter().copied().eq(0..20), "{indices:?}");
    assert!(naps.iter().all(|event| event["dur"].number().unwrap() >= 5000.0));
    let pauses = named(&events, "waiting");
    assert!(pauses.iter().any(|event| event["dur"].number().unwrap() >= 25_000.0), "{pauses:?}");
    // Behind the second death the pool may be closed before another process is wanted.
    assert!(named(&events, "start").len() == 1 && [1, 2].contains(&named(&events, "restart").len()), "{events:?}");
    assert!(named(&events, "initializer").len() >= 2, "{events:?}");
    let deaths = named(&events, "death: ");
    assert!(deaths[0]["name"].text().unwrap().contains("SIGSEGV"), "{deaths:?}");
    assert!(deaths[1]["name"].text().unwrap().contains("exceeded its limit of 50 ms"), "{deaths:?}");
    assert_eq!(named(&events, "to be retried").len(), 1);
    assert_eq!(named(&events, "failed: task panicked")[0]["args"]["item"].count(), Some(1));
    assert_eq!(named(&events, "failed: time limit exceeded").len(), 1);
    let lost = named(&events, "lost ");
    assert!(lost.len() == 2 && lost[1]["dur"].number().unwrap() >= 50_000.0, "{lost:?}");
    assert!(!named(&events, "crash (crashes)").is_empty());
}

fn items_of_a_long_chunk_are_blocks_of_their_own(setup: &Setup) {
    let (pool, file) = traced(setup);
    pool.apply(nap::Task, 1).unwrap();
    pool.map(nap::Task.chunk_size(10), [2; 40]).unwrap();
    let events = read(pool, &file);
    let naps = named(&events, "nap");
    assert_eq!((naps.len(), items(&naps)), (41, 41));
    let mut indices: Vec<_> = naps.iter().filter_map(|event| event["args"]["item"].count()).collect();
    indices.sort();
    assert!(indices.into_iter().eq(0..40));
}

fn a_trace_under_kills_keeps_to_the_format(setup: &Setup) {
    let (pool, file) = traced(setup);
    let job = pool.map_async(nap::Task.retries(1000), [1; 1000]).unwrap();
    for _ in 0..10 {
        if let Some(running) = pool.running().first() {
            // It may have gone meanwhile.
            let _ = kill(Pid::from_raw(running.pid as i32), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    job.get().unwrap();
    let events = read(pool, &file);
    assert!(items(&named(&events, "nap")) <= 1000, "no item is drawn twice");
    assert!(!named(&events, "death: ").is_empty() && !named(&events, "restart").is_empty());
}

/// The `main` of a host that works until it is killed. The trace is the file of this process's number.
fn trace_for_ever(setup: &Setup) {
    let path = std::env::temp_dir().join(format!("pool-trace-{}.json", std::process::id()));
    let pool = setup.builder().trace(path).build().unwrap();
    pool.apply(nap::Task, 1).unwrap();
    loop {
        pool.map(square::Task, 0..1000).unwrap();
    }
}

fn the_trace_of_a_killed_host_can_be_read(setup: &Setup) {
    let host = Host::start(trace_for_ever, setup);
    let path = std::env::temp_dir().join(format!("pool-trace-{}.json", host.pid()));
    assert!(eventually(|| fs::metadata(&path).is_ok_and(|file| file.len() > 10_000)));
    host.signal(Signal::SIGKILL);
    host.wait();
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(path).unwrap();
    // The kernel may have cut the last write short, which viewers do not mind.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole).trim_end_matches(',');
    assert!(!named(&events(&format!("{whole}]")), "nap").is_empty());
}

fn a_path_that_cannot_be_is_an_error(setup: &Setup) {
    let error = setup.builder().trace("trace.json").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`trace.json`"), "{error}");
    let error = setup.builder().trace("/no such directory/trace.json").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System);
    assert!(error.to_string().contains("/no such directory/trace.json"), "{error}");
}

fn a_trace_that_cannot_be_written_stops_and_says_so(setup: &Setup) {
    let pool = setup.builder().trace("/dev/full").build().unwrap();
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
    assert!(eventually(|| pool.insights().trace_end.is_some()));
    let insights = pool.insights();
    assert!(insights.trace_end.as_ref().unwrap().contains("No space left"), "{insights}");
    assert!(insights.to_string().contains("the trace cannot be written"), "{insights}");
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
}

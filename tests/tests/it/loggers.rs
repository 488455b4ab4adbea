//! Records of `log`, by the pool's logger and by one of the worker's own.

use std::collections::BTreeSet;

use pool_core::prelude::*;
use tests::trial::{Check, Setup, each_method, once};
use tracing::{Level, info_span};

use crate::forwarding::{end, forwarding};
use crate::seen::Memory;

pub(crate) fn checks() -> Vec<Check> {
    vec![each_method(a_log_tracer_of_a_worker_costs_no_record_its_place), once(places_in_the_code_are_bounded)]
}

#[pool_task]
fn trace_logs() {
    tracing_log::LogTracer::init().unwrap();
}

#[pool_task]
fn log_with(text: &str) -> u32 {
    info_span!("logging").in_scope(|| log::warn!(target: "logged", "{text}"));
    line!() - 1
}

fn a_log_tracer_of_a_worker_costs_no_record_its_place(setup: &Setup) {
    let (memory, _guard) = Memory::of_this_thread(Level::INFO);
    let builder = setup.with_workers(1).builder().forward_tracing();
    let pool = builder.initializer(trace_logs::Task, ()).build().unwrap();
    let line = pool.apply(log_with::Task, "short").unwrap();
    let long = "x".repeat(10_000);
    pool.apply(log_with::Task, &long).unwrap();
    end(pool);
    let seen = memory.seen();
    assert_eq!(seen.events.len(), 2, "{:?}", seen.events);
    for event in &seen.events {
        assert_eq!((&*event.target, event.level, event.line), ("logged", Level::WARN, Some(line)));
        assert_eq!(event.module.as_deref(), Some("it::loggers"));
        assert!(event.file.as_deref().unwrap().ends_with("loggers.rs"));
        assert_eq!(seen.scope(event)[0].name, "logging");
        assert_eq!(event.fields.len(), 1, "{:?}", event.fields);
    }
    assert_eq!(seen.events[0].message(), "short");
    assert!(seen.events[1].message().ends_with("x… (cut)"));
}

#[pool_task]
fn log_from(places: std::ops::Range<usize>) {
    for place in places {
        log::info!(target: &format!("place {place}"), "from {place}");
    }
}

fn places_in_the_code_are_bounded(setup: &Setup) {
    let (memory, _guard) = Memory::of_this_thread(Level::INFO);
    let pool = forwarding(setup);
    for round in 0..10 {
        pool.apply(log_from::Task, round * 1000..(round + 1) * 1000).unwrap();
    }
    end(pool);
    let seen = memory.seen();
    let targets: BTreeSet<_> = seen.events.iter().map(|event| &event.target).collect();
    assert!(seen.events.len() == 10_000 && (4000..4200).contains(&targets.len()), "{}", targets.len());
    assert_eq!(seen.event("from 9999").target, "pool_core");
}

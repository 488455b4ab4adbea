//! Scratch.
use pool_core::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tracing::{info, info_span, warn};

struct Loud(u32);
impl Drop for Loud {
    fn drop(&mut self) {
        println!("state {} dropped", self.0);
        info!("state dropped");
    }
}

#[pool_state]
fn open(n: u32) -> Loud {
    println!("state opened");
    info!("state opened");
    Loud(n)
}

#[pool_task]
fn use_state(#[state] loud: &mut Loud, x: u32) -> u32 {
    info!(x, "using");
    print!("no newline {x};");
    loud.0 + x
}

#[pool_task]
fn fin() {
    println!("finalizer");
    info!("finalizer");
}

#[pool_task]
fn square(x: u64) -> u64 {
    x * x
}

#[pool_task]
fn event(n: u64) -> u64 {
    let begun = Instant::now();
    for i in 0..n {
        info!(i, "tick");
    }
    begun.elapsed().as_nanos() as u64
}

#[pool_task]
fn spans(n: u64) -> u64 {
    let begun = Instant::now();
    for i in 0..n {
        info_span!("s", i).in_scope(|| ());
    }
    begun.elapsed().as_nanos() as u64
}

#[pool_task]
fn off(n: u64) -> u64 {
    let begun = Instant::now();
    for i in 0..n {
        tracing::trace!(i, "tick");
    }
    begun.elapsed().as_nanos() as u64
}

#[pool_task]
fn prints(n: u64) -> u64 {
    let begun = Instant::now();
    for i in 0..n {
        println!("line number {i}");
    }
    begun.elapsed().as_nanos() as u64
}

#[pool_task]
fn nested(x: u64) -> u64 {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&lines);
    let pool = Pool::builder()
        .workers(2)
        .on_output(move |line| theirs.lock().unwrap().push(line.to_string()))
        .forward_tracing()
        .build()
        .unwrap();
    let sum = info_span!("nesting").in_scope(|| pool.map(inner::Task, 0..x)).unwrap().iter().sum();
    pool.close();
    pool.join().unwrap();
    println!("inner lines: {}", lines.lock().unwrap().len());
    sum
}

#[pool_task]
fn inner(x: u64) -> u64 {
    println!("inner {x}");
    warn!(x, "inner");
    x
}

fn time(what: &str, pool: &Pool, n: u32, span: bool) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        for x in 0..n {
            if span {
                info_span!("call").in_scope(|| pool.apply(square::Task, u64::from(x))).unwrap();
            } else {
                pool.apply(square::Task, u64::from(x)).unwrap();
            }
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(n));
    }
    println!("{what}: {best:.0} ns a call");
}

fn main() {
    let method = match std::env::args().nth(1).as_deref() {
        Some("fork") => StartMethod::Fork,
        Some("spawn") => StartMethod::Spawn,
        _ => StartMethod::ForkServer,
    };
    tracing_subscriber::fmt().without_time().with_writer(std::io::stderr).with_ansi(false).init();
    {
        let pool = Pool::builder()
            .workers(1)
            .start_method(method)
            .state(open::State, 7)
            .finalizer(fin::Task, ())
            .forward_tracing()
            .on_output(|line| println!("[{:?}] {line} ({:?})", line.worker.map(|w| w.id()), line.end))
            .build()
            .unwrap();
        assert_eq!(pool.map(use_state::Task, 0..3).unwrap(), [7, 8, 9]);
        assert_eq!(pool.apply(nested::Task, 5).map_err(|e| println!("{e}")).unwrap_or(10), 10);
        pool.close();
        pool.join().unwrap();
        println!("---");
    }
    if std::env::args().nth(2).is_some() {
        let plain = Pool::builder().workers(2).build().unwrap();
        time("plain", &plain, 50_000, false);
        drop(plain);
        let on = Pool::builder().workers(2).forward_tracing().build().unwrap();
        time("forwarding, in no span", &on, 50_000, false);
        time("forwarding, in a span", &on, 50_000, true);
        for _ in 0..3 {
            println!("event {} ns", on.apply(event::Task, 1000).unwrap() / 1000);
            println!("span {} ns", on.apply(spans::Task, 1000).unwrap() / 1000);
            println!("level off {} ns", on.apply(off::Task, 1_000_000).unwrap() as f64 / 1e6);
        }
        drop(on);
        let heard = Pool::builder().workers(2).on_output(|_| ()).build().unwrap();
        for _ in 0..3 {
            println!("line {} ns", heard.apply(prints::Task, 100_000).unwrap() / 100_000);
        }
    }
}

//! The tasks of the demo.

#![allow(unsafe_code)]

use std::io::{self, Write};
use std::process;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use pool_core::pool_task;
use serde::{Deserialize, Serialize};

#[pool_task]
pub(super) fn square(x: u64) -> u64 {
    x * x
}

/// Says where and how long it runs, from within the worker; returns where.
#[pool_task]
pub(super) fn run(name: u32, nap_ms: u64) -> u32 {
    let pid = process::id();
    say(&format!("task {name} begins in process {pid}"));
    let begun = Instant::now();
    thread::sleep(Duration::from_millis(nap_ms));
    say(&format!("task {name} ends in process {pid} after {:.2} s", begun.elapsed().as_secs_f64()));
    pid
}

/// One write for the whole line, since other workers write at the same time. If the reader is gone the host reports it.
fn say(line: &str) {
    let _ = io::stdout().write_all(format!("      | {line}\n").as_bytes());
}

#[pool_task]
pub(super) fn nap(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// A global variable: each process has its own.
static VISITS: Mutex<u64> = Mutex::new(0);

#[pool_task]
pub(super) fn visit() -> u64 {
    let mut visits = VISITS.lock().expect("nobody panics while it holds this");
    *visits += 1;
    *visits
}

/// The count of [`visit()`] in this process.
pub(super) fn visits() -> u64 {
    *VISITS.lock().expect("nobody panics while it holds this")
}

/// Ways to crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Crash {
    NullWrite,
    Abort,
    Exit(i32),
    Panic,
}

#[pool_task]
pub(super) fn crash(how: Crash) {
    match how {
        Crash::NullWrite => write_to_nowhere(),
        Crash::Abort => process::abort(),
        Crash::Exit(code) => process::exit(code),
        Crash::Panic => panic!("on purpose"),
    }
}

#[pool_task]
pub(super) fn square_unless_five(x: u64) -> u64 {
    if x == 5 {
        write_to_nowhere();
    }
    x * x
}

/// Writes to a field of an object at the address zero, as a C program does that forgot to check a pointer.
/// Zero itself would not do: debug builds of Rust catch that and abort.
fn write_to_nowhere() {
    const FIELD: usize = 16;
    // SAFETY:
    // - Linux maps nothing so low (`vm.mmap_min_addr`), so no object is written to; the process ends by SIGSEGV here;
    // - the write is volatile, so it is carried out as it stands, and the pointer is aligned and not null.
    unsafe { std::ptr::without_provenance_mut::<u64>(FIELD).write_volatile(0) }
}

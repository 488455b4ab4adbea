//! Output of tasks: it is written before their results are known, in one piece, and once; and no answer waits for a
//! thread that keeps the lock of a buffer.

use std::fs;
use std::io::{Read, Write, stdout};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc;
use std::thread;

use nix::unistd::{dup2_stdout, pipe};
use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::gate::{Gate, pass};
use tests::procs::{SOON, eventually};
use tests::tasks::square;
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(a_thread_that_keeps_the_lock_holds_no_answer_up).backoff(2 * SOON),
        each_method(a_thread_that_keeps_the_lock_in_c_holds_no_answer_up).backoff(2 * SOON),
        each_method(a_thread_that_ended_with_the_lock_holds_no_answer_up).backoff(2 * SOON),
        each_method(output_comes_before_the_result),
        each_method(output_of_a_worker_with_threads_comes_before_the_result),
        each_method(output_waits_until_the_lock_is_released),
        each_method(output_of_a_thread_comes_when_the_worker_leaves),
        each_method(output_of_the_host_in_c_comes_once),
        each_method(lines_of_several_workers_are_not_mixed),
    ]
}

/// The output of this process and its workers so far. The trial's standard output is a file.
fn printed() -> String {
    fs::read_to_string(format!("/proc/self/fd/{}", stdout().as_raw_fd())).unwrap()
}

/// How a thread keeps the lock of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Keep {
    Rusts,
    Cs,
    RustsAndEnd,
}

fn lock_c() {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
        fn flockfile(stream: *mut libc::FILE);
    }
    // SAFETY:
    // - it is the C library's variable, which nobody sets here.
    let stream = unsafe { stdout };
    // SAFETY:
    // - it is a stream.
    unsafe { flockfile(stream) };
    // Something waits to be written, which cannot be as long as the lock is kept.
    print_in_c("<kept>");
}

fn park() {
    loop {
        thread::park();
    }
}

#[pool_task]
fn have_the_lock_kept(how: Keep) {
    let (kept, is_kept) = mpsc::channel();
    let keeper = thread::spawn(move || {
        match how {
            Keep::Rusts | Keep::RustsAndEnd => std::mem::forget(stdout().lock()),
            Keep::Cs => lock_c(),
        }
        kept.send(()).unwrap();
        if how != Keep::RustsAndEnd {
            park();
        }
    });
    is_kept.recv().unwrap();
    if how == Keep::RustsAndEnd {
        keeper.join().unwrap();
    }
}

#[pool_task]
fn print_in_c(text: &str) {
    let text = std::ffi::CString::new(text).unwrap();
    // SAFETY:
    // - format and text end with zeroes, and the format wants one text.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

#[pool_task]
#[expect(clippy::print_stdout, reason = "when it comes out is the question")]
fn print(text: &str) {
    print!("{text}");
}

fn assert_answers_come(setup: &Setup, how: Keep) {
    let pool = setup.with_workers(1).pool();
    pool.apply(have_the_lock_kept::Task, how).unwrap();
    for _ in 0..3 {
        assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
        assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
    }
    assert_eq!(pool.stats().workers_died, 0);
    pool.close();
    pool.join().unwrap();
}

fn a_thread_that_keeps_the_lock_holds_no_answer_up(setup: &Setup) {
    assert_answers_come(setup, Keep::Rusts);
}

fn a_thread_that_keeps_the_lock_in_c_holds_no_answer_up(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    pool.apply(print_in_c::Task, "<before>").unwrap();
    drop(pool);
    assert_answers_come(setup, Keep::Cs);
}

fn a_thread_that_ended_with_the_lock_holds_no_answer_up(setup: &Setup) {
    assert_answers_come(setup, Keep::RustsAndEnd);
}

/// Prints without an end of line, so that the text stays in the buffer; before each result is used it must be written.
fn assert_output_comes(pool: &Pool) {
    for round in 0..20 {
        let text = format!("<{round}>");
        pool.apply(print::Task, &text).unwrap();
        assert_eq!(printed().matches(&text).count(), 1, "{text}, printed in Rust");
        let text = format!("[{round}]");
        pool.apply(print_in_c::Task, &text).unwrap();
        assert_eq!(printed().matches(&text).count(), 1, "{text}, printed in C");
    }
}

/// In Rust only whole lines come before the result, and other text follows.
fn assert_output_comes_amid_threads(pool: &Pool) {
    for round in 0..20 {
        let text = format!("<{round}>");
        pool.apply(print::Task, &text).unwrap();
        assert!(eventually(|| printed().matches(&text).count() == 1), "{text}, printed in Rust");
        let text = format!("<line {round}>\n");
        pool.apply(print::Task, &text).unwrap();
        assert_eq!(printed().matches(&text).count(), 1, "{text}, printed in Rust");
        let text = format!("[{round}]");
        pool.apply(print_in_c::Task, &text).unwrap();
        assert_eq!(printed().matches(&text).count(), 1, "{text}, printed in C");
    }
}

fn output_comes_before_the_result(setup: &Setup) {
    assert_output_comes(&setup.pool());
}

/// Has an idle thread from then on.
#[pool_task]
fn start_a_thread() {
    thread::spawn(park);
}

fn output_of_a_worker_with_threads_comes_before_the_result(setup: &Setup) {
    let pool = setup.builder().initializer(start_a_thread::Task, ()).build().unwrap();
    assert_output_comes_amid_threads(&pool);
}

/// Its thread prints when the gate opens, without an end of line.
#[pool_task]
fn print_later(gate: &str, text: &str, done: &str) {
    let [gate, text, done] = [gate, text, done].map(str::to_owned);
    thread::spawn(move || {
        pass(&gate);
        print(&text);
        print_in_c(&text);
        fs::write(done, "").unwrap();
    });
}

fn output_of_a_thread_comes_when_the_worker_leaves(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let (gate, done) = (Gate::new(), Gate::new());
    pool.apply(print_later::Task, (gate.path(), "<later>", done.path())).unwrap();
    gate.open();
    done.wait();
    pool.close();
    pool.join().unwrap();
    assert_eq!(printed().matches("<later>").count(), 2);
}

/// Its thread keeps the lock until the gate opens, and prints then.
#[pool_task]
fn keep_until(gate: &str, text: &str) {
    let (kept, is_kept) = mpsc::channel();
    let (gate, text) = (gate.to_owned(), text.to_owned());
    thread::spawn(move || {
        let mut lock = stdout().lock();
        kept.send(()).unwrap();
        pass(&gate);
        write!(lock, "{text}").unwrap();
    });
    is_kept.recv().unwrap();
}

fn output_waits_until_the_lock_is_released(setup: &Setup) {
    let pool = setup.with_workers(1).pool();
    let gate = Gate::new();
    pool.apply(keep_until::Task, (gate.path(), "<late>")).unwrap();
    assert!(!printed().contains("<late>"));
    gate.open();
    // It waits for the lock itself.
    pool.apply(print::Task, "<after>").unwrap();
    assert!(eventually(|| printed().contains("<late><after>")));
    assert_output_comes_amid_threads(&pool);
}

fn output_of_the_host_in_c_comes_once(setup: &Setup) {
    print_in_c("<host>");
    let pool = setup.pool();
    assert_output_comes(&pool);
    drop(pool);
    // SAFETY:
    // - it flushes all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
    assert_eq!(printed().matches("<host>").count(), 1);
}

/// As long as a line may be, its end included, if it is to come out in one piece.
const LINE_BYTES: usize = 1023;

#[pool_task]
#[expect(clippy::print_stdout, reason = "what comes out is the question")]
fn print_a_line(number: usize) {
    // In several pieces, the last of which ends the line.
    let letter = char::from(b'a' + (number % 26) as u8);
    let text: String = [letter; LINE_BYTES - 3].iter().collect();
    println!("<{text}>");
}

fn lines_of_several_workers_are_not_mixed(setup: &Setup) {
    const LINES: usize = 400;
    let (reader, writer) = pipe().unwrap();
    let before = stdout().as_fd().try_clone_to_owned().unwrap();
    dup2_stdout(&writer).unwrap();
    drop(writer);
    let pool = setup.with_workers(4).pool();
    dup2_stdout(&before).unwrap();
    let job = pool.map_async(print_a_line::Task.chunk_size(1), 0..LINES).unwrap();
    let mut bytes = vec![0; LINES * LINE_BYTES];
    let mut reader = fs::File::from(reader);
    reader.read_exact(&mut bytes).unwrap();
    job.get().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let is_whole = |line: &&str| {
        let letters = line.strip_prefix('<').and_then(|line| line.strip_suffix('>')).unwrap_or_default();
        letters.len() == LINE_BYTES - 3 && letters.chars().all(|letter| letters.starts_with(letter))
    };
    let torn: Vec<_> = text.lines().filter(|line| !is_whole(line)).collect();
    assert!(torn.is_empty(), "{torn:?}");
    assert_eq!(text.lines().count(), LINES);
}

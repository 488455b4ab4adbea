//! Output that the host listens to: whole lines of all workers, none lost in silence, and no listener that holds anything up.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::unistd::setsid;
use pool_core::prelude::*;
use pool_core::{LineEnd, OutputLine, OutputStream};
use tests::gate::{Gate, pass};
use tests::leaks::fds;
use tests::panics::silently;
use tests::procs::{Process, SOON, children, eventually, fork_server, kill_9};
use tests::tasks::{Way, nap, square};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(lines_come_whole_whoever_prints_them),
        each_method(lines_printed_before_a_death_are_heard),
        each_method(lines_of_many_workers_under_kills_are_whole).workers(&[5]),
        each_method(a_line_may_have_any_bytes_and_any_length),
        each_method(a_listener_that_blocks_holds_no_task_up),
        each_method(a_task_that_prints_for_ever_ends_at_its_limit),
        each_method(a_slow_listener_hears_everything),
        each_method(a_listener_that_panics_hears_the_next_line),
        each_method(a_listener_may_print_and_use_the_pool),
        each_method(a_listener_may_drop_the_pool),
        each_method(a_terminated_pool_has_passed_on_all_lines),
        each_method(a_program_that_is_left_behind_holds_nothing_up),
        everywhere(constructors_of_the_program_are_heard)
            .workers(&[2])
            .methods(&[StartMethod::ForkServer, StartMethod::Spawn]),
        each_method(a_fork_server_that_leaves_a_program_behind_keeps_no_descriptor).methods(&[StartMethod::ForkServer]),
        each_method(workers_of_a_new_fork_server_are_heard).methods(&[StartMethod::ForkServer, StartMethod::Spawn]),
    ]
}

/// A pool of this setup, and the lines of its processes.
fn heard(setup: &Setup) -> (Pool, Receiver<OutputLine>) {
    let (sender, lines) = mpsc::channel();
    let pool = setup.builder().on_output(move |line| sender.send(line).unwrap()).build().unwrap();
    (pool, lines)
}

/// All lines of a pool that ends now.
fn all(pool: Pool, lines: &Receiver<OutputLine>) -> Vec<OutputLine> {
    pool.close();
    pool.join().unwrap();
    let heard = lines.try_iter().collect();
    drop(pool);
    assert_eq!(lines.iter().count(), 0, "`join` waits for all lines");
    heard
}

fn texts(lines: &[OutputLine], stream: OutputStream) -> Vec<String> {
    lines.iter().filter(|line| line.stream == stream).map(ToString::to_string).collect()
}

fn print_in_c(text: &str) {
    let text = CString::new(text).unwrap();
    // SAFETY:
    // - format and text end with zeroes, and the format wants one text.
    unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
}

/// Prints in every way; the worker.
#[pool_task]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "where it goes is the question")]
fn print_in_all_ways(number: u32) -> (usize, u32, u32) {
    println!("{number} Rust");
    eprintln!("{number} error");
    print_in_c(&format!("{number} C\n{number} C without end"));
    print_in_c("\n");
    let status = Command::new("sh").args(["-c", &format!("echo {number} shell; echo {number} oops >&2")]).status();
    assert!(status.unwrap().success());
    let worker = current_worker().unwrap();
    (worker.id(), worker.incarnation(), worker.pid())
}

fn lines_come_whole_whoever_prints_them(setup: &Setup) {
    let (pool, lines) = heard(setup);
    let workers = pool.map(print_in_all_ways::Task.chunk_size(1), 0..20).unwrap();
    pool.apply(print_bytes::Task, b"no end").unwrap();
    let lines = all(pool, &lines);
    for (number, worker) in workers.iter().enumerate() {
        let of = |line: &&OutputLine| line.text().starts_with(&format!("{number} "));
        let mine: Vec<_> = lines.iter().filter(of).cloned().collect();
        let is_by = |line: &OutputLine| line.worker.map(|by| (by.id(), by.incarnation(), by.pid())) == Some(*worker);
        assert!(mine.iter().all(is_by), "{worker:?}: {mine:?}");
        assert_eq!(texts(&mine, OutputStream::Stderr), ["error", "oops"].map(|text| format!("{number} {text}")));
        let expected = ["Rust", "C", "C without end", "shell"].map(|text| format!("{number} {text}"));
        assert_eq!(texts(&mine, OutputStream::Stdout), expected);
    }
    let missing: Vec<_> = lines.iter().filter(|line| line.end == LineEnd::Missing).map(OutputLine::text).collect();
    assert_eq!(missing, ["no end"]);
    assert!(lines.iter().all(|line| line.end != LineEnd::Cut && line.dropped == 0));
}

#[pool_task]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "where it goes is the question")]
fn print_and_go(way: Way) {
    print_in_c("C\n");
    println!("Rust");
    eprint!("error");
    way.go()
}

fn lines_printed_before_a_death_are_heard(setup: &Setup) {
    for way in Way::ALL {
        let (pool, lines) = heard(&setup.with_workers(1));
        pool.apply(print_and_go::Task.timeout(Duration::from_millis(300)), way).unwrap_err();
        assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
        let lines = all(pool, &lines);
        assert_eq!(texts(&lines, OutputStream::Stdout), ["C", "Rust"], "{way:?}");
        let stderr = texts(&lines, OutputStream::Stderr);
        match way {
            // Its text is in the error, and not printed.
            Way::Panic => assert_eq!(stderr, ["error"]),
            _ => assert!(stderr[0].starts_with("error"), "{way:?}: {stderr:?}"),
        }
    }
}

/// The line, with a checksum.
fn checked(text: &str) -> String {
    let sum = text.bytes().fold(0u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
    format!("{text}|{sum:08x}")
}

fn is_checked(line: &str) -> bool {
    line.rsplit_once('|').is_some_and(|(text, _)| checked(text) == line)
}

#[pool_task]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "where it goes is the question")]
fn print_checked(number: usize) {
    for line in 0..20 {
        let letters = "abcdefghijklmnopqrstuvwxyz".repeat((number + 7 * line) % 30);
        println!("{}", checked(&format!("out {number} {line} {letters}")));
        eprintln!("{}", checked(&format!("err {number} {line}")));
        print_in_c(&(checked(&format!("c {number} {line} {letters}")) + "\n"));
    }
}

fn lines_of_many_workers_under_kills_are_whole(setup: &Setup) {
    const ITEMS: usize = 400;
    let (pool, lines) = heard(setup);
    let job = pool.map_async(print_checked::Task.chunk_size(1).retries(1000), 0..ITEMS).unwrap();
    for _ in 0..20 {
        if let Some(running) = pool.running().first() {
            kill_9(running.pid);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    job.get().unwrap();
    let died = pool.stats().workers_died;
    let lines = all(pool, &lines);
    assert!(died > 0);
    let mut seen = BTreeMap::new();
    for line in &lines {
        let text = line.text();
        // `eprintln!` writes its parts one by one, so a worker may be killed between two of them.
        if line.end == LineEnd::Missing && line.stream == OutputStream::Stderr {
            continue;
        }
        assert!(line.end == LineEnd::Newline && is_checked(&text), "{line:?}");
        *seen.entry(text.into_owned()).or_insert(0) += 1;
    }
    // Each item has run to its end once, and some a second time in part.
    assert_eq!(seen.len(), ITEMS * 60);
}

#[pool_task]
fn print_bytes(bytes: &[u8]) {
    let mut stdout = std::io::stdout();
    stdout.write_all(bytes).unwrap();
    stdout.flush().unwrap();
}

fn a_line_may_have_any_bytes_and_any_length(setup: &Setup) {
    let (pool, lines) = heard(&setup.with_workers(1));
    let odd = b"zero \0, \xff\xfe no UTF-8, \r and \x1b[31m".to_vec();
    pool.apply(print_bytes::Task, &[&odd[..], b"\n\n"].concat()).unwrap();
    let long: Vec<u8> = (0..3_000_000u32).map(|at| b'a' + (at % 26) as u8).collect();
    pool.apply(print_bytes::Task, &[&long[..], b"\nend"].concat()).unwrap();
    let lines = all(pool, &lines);
    assert_eq!((&lines[0].bytes, lines[0].end), (&odd, LineEnd::Newline));
    assert_eq!(lines[0].text().matches('\u{fffd}').count(), 2);
    assert_eq!((&lines[1].bytes[..], lines[1].end), (&b""[..], LineEnd::Newline));
    let (end, pieces) = lines[2..].split_last().unwrap();
    assert_eq!((&end.bytes[..], end.end), (&b"end"[..], LineEnd::Missing));
    assert!(pieces.iter().all(|line| line.bytes.len() <= 64 << 10));
    let cut = pieces.iter().filter(|line| line.end == LineEnd::Cut).count();
    assert_eq!(cut + 1, pieces.len());
    assert!(pieces.iter().flat_map(|line| &line.bytes).eq(&long));
}

/// Prints so many lines of 1 KiB.
#[pool_task]
#[expect(clippy::print_stdout, reason = "where it goes is the question")]
fn pour(lines: usize) {
    let line = "x".repeat(1023);
    (0..lines).for_each(|_| println!("{line}"));
}

fn a_listener_that_blocks_holds_no_task_up(setup: &Setup) {
    let gate = Gate::new();
    let (path, (sender, lines)) = (gate.path().to_owned(), mpsc::channel());
    let listener = move |line: OutputLine| {
        pass(&path);
        sender.send(line).unwrap();
    };
    let pool = setup.builder().on_output(listener).build().unwrap();
    const ITEMS: usize = 8;
    const EACH: usize = 1000;
    pool.map(pour::Task.chunk_size(1), [EACH; ITEMS]).unwrap();
    assert_eq!(pool.map(square::Task, 0..1000).unwrap().len(), 1000);
    gate.open();
    let lines = all(pool, &lines);
    let dropped: u64 = lines.iter().map(|line| line.dropped).sum();
    let notes: Vec<_> = lines.iter().filter(|line| line.dropped > 0).collect();
    let mut told = notes.iter().map(|line| format!("{} lines dropped", line.dropped));
    assert!(dropped > 0 && notes.iter().all(|line| line.text().starts_with(&told.next().unwrap())));
    assert_eq!((lines.len() - notes.len()) as u64 + dropped, (ITEMS * EACH) as u64);
    assert!(lines.iter().all(|line| line.dropped > 0 || line.bytes.len() == 1023));
}

fn a_task_that_prints_for_ever_ends_at_its_limit(setup: &Setup) {
    let gate = Gate::new();
    let path = gate.path().to_owned();
    let pool = setup.with_workers(1).builder().on_output(move |_| _ = pass(&path)).build().unwrap();
    for _ in 0..2 {
        let error = pool.apply(pour::Task.timeout(Duration::from_millis(300)), usize::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TaskTimeout);
    }
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < SOON);
    // The thread that was left behind ends when the listener lets it.
    gate.open();
    assert!(eventually(|| std::fs::read_dir("/proc/self/task").unwrap().count() == 1));
}

fn a_slow_listener_hears_everything(setup: &Setup) {
    let (sender, lines) = mpsc::channel();
    let listener = move |line: OutputLine| {
        std::thread::sleep(Duration::from_micros(100));
        sender.send(line).unwrap();
    };
    let pool = setup.builder().on_output(listener).build().unwrap();
    pool.map(pour::Task.chunk_size(1), [1000; 4]).unwrap();
    let lines = all(pool, &lines);
    assert!(lines.len() == 4000 && lines.iter().all(|line| line.dropped == 0));
}

fn a_listener_that_panics_hears_the_next_line(setup: &Setup) {
    silently(|| {
        let count = Arc::new(Mutex::new(0));
        let theirs = Arc::clone(&count);
        let listener = move |_| {
            *theirs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
            panic!("on purpose");
        };
        let pool = setup.builder().on_output(listener).build().unwrap();
        pool.apply(pour::Task, 10).unwrap();
        drop(pool);
        assert_eq!(*count.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), 10);
    });
}

#[expect(clippy::print_stdout, reason = "it is the host's own")]
fn a_listener_may_print_and_use_the_pool(setup: &Setup) {
    let shared = Arc::new(OnceLock::<Pool>::new());
    let (inner, (sender, results)) = (Arc::downgrade(&shared), mpsc::channel());
    let mut is_first = true;
    let listener = move |line: OutputLine| {
        println!("{line}");
        if std::mem::replace(&mut is_first, false) {
            let pool = inner.upgrade().expect("it is there");
            // It prints more than waits for a listener that does not return.
            let result = pool.get().unwrap().apply(pour::Task, 5000);
            sender.send((result, pool.get().unwrap().apply(square::Task, 7))).unwrap();
        }
    };
    shared.set(setup.builder().on_output(listener).build().unwrap()).unwrap();
    shared.get().unwrap().apply(pour::Task, 1).unwrap();
    let (poured, squared) = results.recv_timeout(SOON).unwrap();
    assert_eq!((poured.unwrap(), squared.unwrap()), ((), 49));
}

fn a_listener_may_drop_the_pool(setup: &Setup) {
    let place = Arc::new(Mutex::new(None::<Pool>));
    let (theirs, (sender, dropped)) = (Arc::clone(&place), mpsc::channel());
    let listener = move |_| {
        if let Some(pool) = theirs.lock().unwrap().take() {
            drop(pool);
            sender.send(()).unwrap();
        }
    };
    let pool = setup.builder().on_output(listener).build().unwrap();
    let mut guard = place.lock().unwrap();
    let job = pool.apply_async(pour::Task, 3).unwrap();
    *guard = Some(pool);
    drop(guard);
    dropped.recv_timeout(SOON).unwrap();
    let _ = job.get();
}

/// Opens the gate when it has printed.
#[pool_task]
#[expect(clippy::print_stdout, reason = "where it goes is the question")]
fn print_and_hang(gate: &str) {
    println!("before the end");
    std::fs::write(gate, "").unwrap();
    nap(600_000);
}

fn a_terminated_pool_has_passed_on_all_lines(setup: &Setup) {
    let (pool, lines) = heard(setup);
    let gate = Gate::new();
    let job = pool.apply_async(print_and_hang::Task, gate.path()).unwrap();
    gate.wait();
    pool.terminate();
    pool.join().unwrap();
    assert_eq!(lines.try_iter().map(|line| line.to_string()).collect::<Vec<_>>(), ["before the end"]);
    job.get().unwrap_err();
}

/// Starts a program that leaves the worker's group, keeps its output open and prints for a long time; its process id.
#[pool_task]
fn leave_a_printer_behind(and_die: bool) -> u32 {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    // It ignores SIGPIPE, so it is not the closed pipe that ends it; and it ends some day, should the test not come to its kill.
    let text = "trap '' PIPE; n=0; while [ $n -lt 5000000 ]; do echo printing; n=$((n + 1)); done";
    command.args(["-c", text]).stderr(Stdio::null());
    // SAFETY:
    // - `setsid` is async-signal-safe.
    unsafe { command.pre_exec(|| setsid().map(drop).map_err(Into::into)) };
    let printer = command.spawn().unwrap().id();
    if and_die {
        std::fs::write(std::env::var("PRINTER").unwrap(), printer.to_string()).unwrap();
        std::process::abort();
    }
    printer
}

fn a_program_that_is_left_behind_holds_nothing_up(setup: &Setup) {
    let note = Gate::new();
    let count = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&count);
    let builder = setup.with_workers(1).builder().worker_env("PRINTER", [note.path()]);
    let pool = builder.on_output(move |_| *theirs.lock().unwrap() += 1).build().unwrap();
    pool.apply(nap::Task, 0).unwrap();
    let before = fds().len();
    pool.apply(leave_a_printer_behind::Task, true).unwrap_err();
    pool.apply(nap::Task, 0).unwrap();
    // Its pipes are closed though it has the other ends.
    assert!(eventually(|| fds().len() == before), "{:?}", fds());
    let living = pool.apply(leave_a_printer_behind::Task, false).unwrap();
    assert!(eventually(|| *count.lock().unwrap() > 100));
    drop(pool);
    let dead: u32 = std::fs::read_to_string(note.path()).unwrap().parse().unwrap();
    [dead, living].into_iter().for_each(kill_9);
}

/// Prints in each process that begins with this variable, before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static PRINTER: extern "C" fn() = print_before_main;

/// Has each such process leave another one behind, which keeps its output open, and note its number in this file.
const LEAVE: &str = "POOL_TEST_CONSTRUCTOR_LEAVES";

/// A program in a session of its own.
fn sleeper() -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sleep");
    // SAFETY:
    // - `setsid` is async-signal-safe.
    unsafe { command.arg("60").pre_exec(|| setsid().map(drop).map_err(Into::into)) };
    command
}

const SAY: &str = "POOL_TEST_CONSTRUCTOR_SAYS";

#[expect(clippy::zombie_processes, reason = "it is to outlive this process")]
extern "C" fn print_before_main() {
    if let Ok(note) = std::env::var(LEAVE) {
        let left = sleeper().spawn().unwrap();
        let mut note = std::fs::OpenOptions::new().append(true).create(true).open(note).unwrap();
        writeln!(note, "{}", left.id()).unwrap();
    }
    if let Ok(text) = std::env::var(SAY) {
        let _ = writeln!(std::io::stdout(), "{text}");
        print_in_c(&format!("{text} in C"));
    }
}

fn constructors_of_the_program_are_heard(setup: &Setup) {
    // SAFETY:
    // - this process has one thread.
    unsafe { std::env::set_var(SAY, "hello") };
    let (pool, lines) = heard(setup);
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
    let lines = all(pool, &lines);
    assert!(lines.iter().all(|line| line.text().starts_with("hello") && line.stream == OutputStream::Stdout));
    let of_server = lines.iter().filter(|line| line.worker.is_none()).count();
    let of_workers = lines.len() - of_server;
    let expected = if setup.method == StartMethod::Spawn { 2 * setup.workers } else { 0 };
    assert_eq!((of_server, of_workers), (2, expected), "{lines:?}");
}

fn a_fork_server_that_leaves_a_program_behind_keeps_no_descriptor(setup: &Setup) {
    let note = Gate::new();
    // SAFETY:
    // - this process has one thread.
    unsafe { std::env::set_var(LEAVE, note.path()) };
    let (pool, _lines) = heard(setup);
    assert_eq!(pool.map(square::Task.chunk_size(1), 0..10).unwrap()[9], 81);
    let before = fds().len();
    for _ in 0..3 {
        let first = fork_server().pid;
        kill_9(first);
        let is_new = |child: &Process| child.pid != first && child.state != 'Z';
        assert!(eventually(|| children(std::process::id()).iter().any(is_new)));
        assert_eq!(pool.map(square::Task.chunk_size(1).retries(10), 0..10).unwrap()[9], 81);
    }
    assert!(eventually(|| fds().len() == before), "{before} descriptors, and then {:?}", fds());
    drop(pool);
    let left = std::fs::read_to_string(note.path()).unwrap();
    assert_eq!(left.lines().map(|pid| kill_9(pid.parse().unwrap())).count(), 4);
}

fn workers_of_a_new_fork_server_are_heard(setup: &Setup) {
    let (pool, lines) = heard(setup);
    pool.apply(pour::Task, 1).unwrap();
    kill_9(fork_server().pid);
    pool.apply(pour::Task.retries(5), 1).unwrap();
    let lines = all(pool, &lines);
    assert!(lines.len() >= 2 && lines.iter().all(|line| line.bytes.len() == 1023), "{lines:?}");
}

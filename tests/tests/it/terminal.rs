//! Workers and the programs that they start beside a terminal: signals that come from it, and reading it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

use nix::sys::signal::{SigHandler, Signal, signal};
use pool_core::prelude::*;
use tests::procs;
use tests::tasks::{nap, square};
use tests::trial::{Check, Setup, each_method};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        each_method(reading_the_terminal_is_an_error).backoff(2 * procs::SOON),
        each_method(writing_to_the_terminal_goes_through).backoff(2 * procs::SOON),
        each_method(programs_that_a_task_starts_have_default_signals),
        each_method(signals_that_the_host_ignores_its_programs_ignore),
        each_method(an_interrupt_is_nothing_to_a_worker),
    ]
}

/// A terminal that this process, the leader of a session, is in the foreground of.
struct Terminal {
    /// The end of the terminal at which a person would sit.
    user: OwnedFd,
    /// The terminal itself.
    line: OwnedFd,
}

impl Terminal {
    fn open() -> Terminal {
        let (mut user, mut line) = (-1, -1);
        // SAFETY:
        // - both numbers are writable, and the rest may be null.
        let opened = unsafe {
            libc::openpty(
                &mut user,
                &mut line,
                std::ptr::null_mut(),
                std::ptr::null_mut::<libc::termios>().cast(),
                std::ptr::null_mut::<libc::winsize>().cast(),
            )
        };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY:
        // - they have just been made, and nobody else knows them.
        let [user, line] = [user, line].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        for fd in [&user, &line] {
            // SAFETY:
            // - the call takes numbers.
            unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        // SAFETY:
        // - the call takes numbers.
        let taken = unsafe { libc::ioctl(line.as_raw_fd(), libc::TIOCSCTTY, 0) };
        assert_eq!(taken, 0, "{}", std::io::Error::last_os_error());
        Terminal { user, line }
    }

    /// Makes writing from the background a reason to be stopped.
    fn stop_writers(&self) {
        // SAFETY:
        // - all zeroes are a valid `termios`.
        let mut settings: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY:
        // - `settings` is writable.
        unsafe { libc::tcgetattr(self.line.as_raw_fd(), &mut settings) };
        settings.c_lflag |= libc::TOSTOP;
        // SAFETY:
        // - `settings` is valid.
        let set = unsafe { libc::tcsetattr(self.line.as_raw_fd(), libc::TCSANOW, &settings) };
        assert_eq!(set, 0);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A process that gives up its terminal is sent SIGHUP.
        // SAFETY:
        // - no handler of ours runs.
        unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }.unwrap();
        // SAFETY:
        // - the call takes numbers.
        unsafe { libc::ioctl(self.line.as_raw_fd(), libc::TIOCNOTTY) };
        // SAFETY:
        // - as above.
        unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.unwrap();
    }
}

#[pool_task]
fn read_the_terminal() -> Option<i32> {
    let read = File::open("/dev/tty").and_then(|mut terminal| terminal.read(&mut [0]));
    read.unwrap_err().raw_os_error()
}

#[pool_task]
fn have_a_program_read_the_terminal() -> Option<i32> {
    let status = Command::new("sh").args(["-c", "read line < /dev/tty"]).stderr(std::process::Stdio::null()).status();
    status.unwrap().code()
}

fn reading_the_terminal_is_an_error(setup: &Setup) {
    let _terminal = Terminal::open();
    let pool = setup.pool();
    assert_eq!(pool.apply(read_the_terminal::Task, ()).unwrap(), Some(libc::EIO));
    assert!(pool.apply(have_a_program_read_the_terminal::Task, ()).unwrap().is_some_and(|code| code != 0));
    assert_eq!(pool.apply(square::Task, 3).unwrap(), 9);
}

#[pool_task]
fn write_to_the_terminal(text: &str) {
    fs::OpenOptions::new().write(true).open("/dev/tty").unwrap().write_all(text.as_bytes()).unwrap();
}

fn writing_to_the_terminal_goes_through(setup: &Setup) {
    let terminal = Terminal::open();
    terminal.stop_writers();
    let pool = setup.pool();
    pool.apply(write_to_the_terminal::Task, "hello").unwrap();
    let mut seen = [0; 5];
    File::from(terminal.user.try_clone().unwrap()).read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"hello");
}

/// The signals that a program started by this process ignores, as bits.
#[pool_task]
fn ignored_by_a_program() -> u64 {
    let output = Command::new("grep").args(["SigIgn:", "/proc/self/status"]).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    u64::from_str_radix(line.trim_start_matches("SigIgn:").trim(), 16).unwrap()
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

/// Ignored on purpose: see the check above.
fn of_the_background() -> u64 {
    bit(Signal::SIGTTIN) | bit(Signal::SIGTTOU)
}

fn programs_that_a_task_starts_have_default_signals(setup: &Setup) {
    // The process that runs the tests may ignore some signals: programs of tasks ignore the same.
    let by_the_hosts = ignored_by_a_program();
    let pool = setup.pool();
    assert_eq!(
        pool.apply(ignored_by_a_program::Task, ()).unwrap() | of_the_background(),
        by_the_hosts | of_the_background()
    );
}

fn signals_that_the_host_ignores_its_programs_ignore(setup: &Setup) {
    // SAFETY:
    // - no handler of ours runs.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }.unwrap();
    let pool = setup.pool();
    assert_ne!(pool.apply(ignored_by_a_program::Task, ()).unwrap() & bit(Signal::SIGHUP), 0);
}

fn an_interrupt_is_nothing_to_a_worker(setup: &Setup) {
    let pool = setup.pool();
    let pids = pool.worker_pids();
    let jobs: Vec<_> = pids.iter().map(|_| pool.apply_async(nap::Task, 300).unwrap()).collect();
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTTIN, Signal::SIGTTOU] {
        pids.iter().for_each(|pid| procs::signal(*pid, signal));
        procs::signal(procs::fork_server().pid, signal);
    }
    assert!(jobs.into_iter().all(|job| job.get().unwrap() == 300));
    assert_eq!(pool.map(square::Task, 0..100).unwrap().len(), 100);
    assert_eq!(pool.worker_pids(), pids);
}

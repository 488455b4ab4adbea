//! Tasks for all checks.

use std::hint::black_box;
use std::time::Duration;

use nix::sys::signal::{SigHandler, SigSet, Signal, raise, signal};
use pool_core::pool_task;
use serde::{Deserialize, Serialize};

/// The square.
#[pool_task]
pub fn square(x: u64) -> u64 {
    x * x
}

/// The worker's process id.
#[pool_task]
pub fn pid() -> u32 {
    std::process::id()
}

/// Sleeps for so many milliseconds and returns them.
#[pool_task]
pub fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Sleeps for so many milliseconds; the worker's process id.
#[pool_task]
pub fn nap_where(ms: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(ms));
    std::process::id()
}

/// Half of an even number.
#[pool_task]
pub fn halve(x: u64) -> u64 {
    assert!(x.is_multiple_of(2), "{x} is odd");
    x / 2
}

/// The bytes themselves.
#[pool_task]
pub fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Ends the worker in some way, or not.
#[pool_task]
pub fn crash(way: Option<Way>) -> u32 {
    if let Some(way) = way {
        way.go();
    }
    7
}

/// How a task ends without an ordinary result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// With a panic, which the worker survives.
    Panic,
    /// `std::process::exit(0)`
    ExitZero,
    /// `std::process::exit(3)`
    ExitThree,
    /// `_exit(4)`
    ExitNow,
    /// `std::process::abort()`
    Abort,
    /// A write to memory that is not there.
    Segfault,
    /// Endless recursion.
    StackOverflow,
    /// SIGKILL, from itself.
    Kill,
    /// Not at all: something else has to end it.
    Hang,
}

impl Way {
    /// Each of them.
    pub const ALL: [Way; 9] = [
        Way::Panic,
        Way::ExitZero,
        Way::ExitThree,
        Way::ExitNow,
        Way::Abort,
        Way::Segfault,
        Way::StackOverflow,
        Way::Kill,
        Way::Hang,
    ];

    /// Goes this way.
    pub fn go(self) -> ! {
        match self {
            Way::Panic => panic!("on purpose"),
            Way::ExitZero => std::process::exit(0),
            Way::ExitThree => std::process::exit(3),
            // SAFETY:
            // - `_exit` has no preconditions.
            Way::ExitNow => unsafe { libc::_exit(4) },
            Way::Abort => std::process::abort(),
            Way::Segfault => segfault(),
            Way::StackOverflow => {
                black_box(recurse(black_box(0)));
            }
            Way::Kill => raise(Signal::SIGKILL).expect("a valid signal"),
            Way::Hang => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
        }
        unreachable!("that was the end")
    }

    /// The text of the error.
    pub fn text(self) -> &'static str {
        match self {
            Way::Panic => "on purpose",
            Way::ExitZero => "exited with code 0",
            Way::ExitThree => "exited with code 3",
            Way::ExitNow => "exited with code 4",
            Way::Abort => "killed by signal 6 (SIGABRT)",
            Way::Segfault => "killed by signal 11 (SIGSEGV)",
            Way::StackOverflow => "stack overflow (killed by signal 11 (SIGSEGV))",
            Way::Kill => "killed by signal 9 (SIGKILL), ",
            Way::Hang => "and was killed",
        }
    }

    /// The worker's exit code, if it ends with one.
    pub fn code(self) -> Option<i32> {
        match self {
            Way::ExitZero => Some(0),
            Way::ExitThree => Some(3),
            Way::ExitNow => Some(4),
            _ => None,
        }
    }

    /// The signal that the worker dies of, if it does.
    pub fn signal(self) -> Option<i32> {
        match self {
            Way::Abort => Some(libc::SIGABRT),
            Way::Segfault | Way::StackOverflow => Some(libc::SIGSEGV),
            // The pool itself kills a task that hangs.
            Way::Kill | Way::Hang => Some(libc::SIGKILL),
            _ => None,
        }
    }
}

/// How a task may refuse to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stubborn {
    /// It sleeps.
    Sleeps,
    /// It computes.
    Loops,
    /// It sleeps and is deaf to signals.
    IgnoresSignals,
    /// It stops itself with SIGSTOP.
    StopsItself,
}

impl Stubborn {
    /// Each of them.
    pub const ALL: [Stubborn; 4] = [Stubborn::Sleeps, Stubborn::Loops, Stubborn::IgnoresSignals, Stubborn::StopsItself];

    /// Does so for ever.
    pub fn go(self) -> ! {
        match self {
            Stubborn::Sleeps => {}
            Stubborn::Loops => loop {
                std::hint::spin_loop();
            },
            Stubborn::IgnoresSignals => {
                // SAFETY:
                // - no handler of ours runs.
                unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.expect("a valid signal");
                SigSet::all().thread_block().expect("a valid set");
            }
            Stubborn::StopsItself => raise(Signal::SIGSTOP).expect("a valid signal"),
        }
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn segfault() {
    let nowhere = std::ptr::without_provenance_mut::<u64>(64);
    // SAFETY:
    // - there is none: the first page is never mapped, and dying of that is the purpose.
    unsafe { nowhere.write_volatile(1) };
}

#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[(depth % 64) as usize]
}

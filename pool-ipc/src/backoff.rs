//! The time to stay awake before going to sleep.

use std::sync::LazyLock;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::sys::{monotonic_ns, sched_yield};

/// The effort of waiting awake: a few checks, then checks with `sched_yield` between them for a bounded time. A waiter that
/// still has no news then announces itself and sleeps.
///
/// Measured round trips between two processes on machines with two CPUs: both awake 0.1–0.3 µs, `sched_yield`
/// 0.8 µs, futex 7 µs when both are on one CPU and 80 µs when a sleeping CPU must be woken. So most replies to
/// small requests arrive while their reader is still awake, and cost neither side a system call that wakes.
/// Spinning is kept short, since with more runnable processes than CPUs it uses up the time slice in which the peer would
/// have answered (50 µs of it turned round trips of 10 µs into 115 µs). Even 30 checks take 1.4 µs, which is lost when both
/// are on one CPU; with 3 a call is as fast when both are awake, and a quarter faster when one has to wake the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Checks with nothing but a pause between them.
    pub spins: u32,
    /// Time of checks with a `sched_yield` between them.
    pub yield_for: Duration,
    /// Yields to make at least, unless they take `CROWDED_FACTOR` times as long as that.
    pub yields_min: u32,
}

/// A thread that yields to many others stays awake for at most so many times [`Backoff::yield_for`].
const CROWDED_FACTOR: u32 = 10;

impl Backoff {
    /// One check, then sleep.
    pub const NONE: Backoff = Backoff { spins: 0, yield_for: Duration::ZERO, yields_min: 0 };

    /// As the default, for one of many threads that wait: where they share a CPU a yield takes as long as the turns of the
    /// others, but costs less than a tenth of a sleep and a wake-up, so the time alone is no reason to sleep.
    #[inline]
    pub fn crowded() -> Backoff {
        Backoff { yields_min: 8, ..Backoff::default() }
    }

    /// Checks until `ready`, or until the backoff ends. True if `ready` has been true; it is not called again after that.
    #[inline]
    pub fn wait(&self, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        for _ in 0..self.spins {
            std::hint::spin_loop();
            if ready() {
                return true;
            }
        }
        // Before the clock is read, which a worker that sleeps at once can do without.
        if self.yield_for.is_zero() {
            return false;
        }
        // The clock is read only after the first yield: a peer that shares our CPU has mostly answered by then.
        let mut start = None;
        for yields in 1_u32.. {
            sched_yield();
            if ready() {
                return true;
            }
            let now = monotonic_ns();
            let awake = Duration::from_nanos(now - *start.get_or_insert(now));
            let is_enough = yields >= self.yields_min || awake >= CROWDED_FACTOR * self.yield_for;
            if awake >= self.yield_for && is_enough {
                break;
            }
        }
        false
    }
}

impl Default for Backoff {
    /// 3 checks (none on a machine with one CPU, where the peer cannot run meanwhile), then 20 µs of `sched_yield`.
    #[inline]
    fn default() -> Backoff {
        // Not `available_parallelism`, which also reads the files of control groups.
        // Asked once: a program that gets more CPUs later spins too little, which costs little.
        static SPINS: LazyLock<u32> = LazyLock::new(|| match sched_getaffinity(Pid::from_raw(0)) {
            Ok(cpus) if (0..CpuSet::count()).filter(|&cpu| cpus.is_set(cpu) == Ok(true)).nth(1).is_none() => 0,
            _ => 3,
        });
        Backoff { spins: *SPINS, yield_for: Duration::from_micros(20), yields_min: 0 }
    }
}

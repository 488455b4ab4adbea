//! Tools of the end-to-end tests: how a check becomes a process of its own, leaks that it must not leave behind, and
//! tasks that behave well or badly.
//!
//! ```text
//!  it (libtest-mimic)      one process, a thread per running trial: starts the next one, watches its time
//!   └─ it --run NAME ...   the trial: one thread, the check, then the leak checks
//!       └─ fork server, workers, and for some checks a host of its own (`it --run NAME ... host`)
//! ```

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/seeing.md")]
pub struct Pages;

pub mod bomb;
pub mod capture;
pub mod far;
pub mod gate;
pub mod host;
pub mod injection;
pub mod json;
#[cfg(target_arch = "x86_64")]
pub mod kill_points;
pub mod leaks;
pub mod over_redis;
pub mod panics;
pub mod procs;
pub mod seccomp;
pub mod tasks;
#[cfg(target_arch = "x86_64")]
pub mod tracer;
pub mod trial;
pub mod watchdog;

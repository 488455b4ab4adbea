//! The harm that is done to the pool from outside: kills, stops, changes of its size, and the death of its fork server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool_core::Pool;
use tests::procs::{self, is_alive};

use crate::random::Random;

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Harm {
    pub(crate) kills: u64,
    pub(crate) stops: u64,
    pub(crate) resizes: u64,
    pub(crate) server_kills: u64,
}

/// Each kind has a thread of its own, so that none slows another down.
pub(crate) fn harass(pool: &Pool, workers: usize, is_over: &AtomicBool, mut random: impl FnMut() -> Random) -> Harm {
    let (mut a, mut b, mut c, mut d) = (random(), random(), random(), random());
    thread::scope(|scope| {
        let kills = scope.spawn(move || kill_workers(pool, is_over, &mut a));
        let stops = scope.spawn(move || stop_workers(pool, is_over, &mut b));
        let resizes = scope.spawn(move || resize(pool, workers, is_over, &mut c));
        let server_kills = scope.spawn(move || kill_servers(is_over, &mut d));
        let join = |thread: thread::ScopedJoinHandle<'_, u64>| thread.join().expect("it does not panic");
        Harm { kills: join(kills), stops: join(stops), resizes: join(resizes), server_kills: join(server_kills) }
    })
}

fn victim(pool: &Pool, random: &mut Random) -> Option<u32> {
    let pids = pool.worker_pids();
    let first = random.below(pids.len().max(1) as u64) as usize;
    // The host may not have heard of some deaths yet.
    pids.iter().cycle().skip(first).take(pids.len()).copied().find(|pid| is_alive(*pid))
}

/// One every 1 to 50 ms. On a busy machine this thread is a little late, so the times are laid down in advance. It does
/// not make up for more than that: workers of which each is killed at once get nothing done.
fn kill_workers(pool: &Pool, is_over: &AtomicBool, random: &mut Random) -> u64 {
    let (mut kills, mut due) = (0, Instant::now());
    while !is_over.load(Ordering::Relaxed) {
        due += Duration::from_micros(1000 + random.below(49_001));
        sleep(due.saturating_duration_since(Instant::now()).max(LEAST));
        match victim(pool, random) {
            Some(pid) => {
                procs::kill_9(pid);
                kills += 1;
            }
            // All are being replaced.
            None => due = Instant::now(),
        }
        due = due.max(Instant::now() - LATE_MAX);
    }
    kills
}

const LEAST: Duration = Duration::from_millis(1);
const LATE_MAX: Duration = Duration::from_millis(50);

/// For less or more than the time that a task may take.
fn stop_workers(pool: &Pool, is_over: &AtomicBool, random: &mut Random) -> u64 {
    let mut stops = 0;
    while !is_over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(random.below(500)));
        let Some(victim) = victim(pool, random).map(|pid| Pid::from_raw(pid as i32)) else { continue };
        stops += u64::from(kill(victim, Signal::SIGSTOP).is_ok());
        sleep(Duration::from_millis(random.below(400)));
        // It may be gone by now.
        let _ = kill(victim, Signal::SIGCONT);
    }
    stops
}

/// To anything up to twice the size, and back in the end.
fn resize(pool: &Pool, workers: usize, is_over: &AtomicBool, random: &mut Random) -> u64 {
    let mut resizes = 0;
    while !is_over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(random.below(300)));
        resizes += u64::from(pool.resize(1 + random.below(2 * workers as u64) as usize).is_ok());
    }
    resizes + u64::from(pool.resize(workers).is_ok())
}

/// Every two seconds or so. The fork server is the only child of this process.
fn kill_servers(is_over: &AtomicBool, random: &mut Random) -> u64 {
    let mut kills = 0;
    let mut due = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        due += Duration::from_millis(500 + random.below(3000));
        while Instant::now() < due && !is_over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(5));
        }
        for server in procs::children(std::process::id()) {
            if server.state != 'Z' {
                procs::kill_9(server.pid);
                kills += 1;
            }
        }
    }
    kills
}

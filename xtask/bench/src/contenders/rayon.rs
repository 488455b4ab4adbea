//! rayon: threads that share the caller's memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::contender::{Contender, Outcome, Pending, Timed, time_calls, timed};
use crate::data::{Record, increment, sum, touch, work};
use crate::procs;

pub(crate) const NOTES: &[(&str, &str)] = &[
    ("", "threads in the caller's memory: nothing is copied, and a task that crashes takes all with it"),
    ("jobs", "a scope's spawns, each of which writes its result where it belongs: no handle for a job"),
    ("pending", "a scope's spawns, each of which writes its result where it belongs: no handle for a job"),
    ("imap", "par_bridge, results in no order: rayon has no lazy map"),
    ("bytes", "two copies, as for a process, but within one CPU's cache"),
];

#[derive(Default)]
pub(crate) struct Rayon {
    pool: Option<ThreadPool>,
}

impl Rayon {
    fn pool(&self) -> &ThreadPool {
        self.pool.as_ref().expect("the case opens it first")
    }

    /// Spawns all from the caller's own thread, as the callers of the others do.
    fn scope(&self, count: u64, submitted: impl FnOnce()) -> Vec<AtomicU64> {
        let results: Vec<_> = (0..count).map(|_| AtomicU64::new(0)).collect();
        self.pool().in_place_scope(|scope| {
            for (number, result) in (0..count).zip(&results) {
                scope.spawn(move |_| result.store(increment(number), Relaxed));
            }
            submitted();
        });
        results
    }
}

fn sum_of(results: Vec<AtomicU64>) -> u64 {
    sum(results.into_iter().map(AtomicU64::into_inner))
}

impl Contender for Rayon {
    fn open(&mut self, workers: usize) -> Outcome<Duration> {
        let (elapsed, pool) = timed(|| {
            let pool = ThreadPoolBuilder::new().num_threads(workers).build();
            pool.inspect(|pool| _ = pool.install(|| increment(1)))
        });
        self.pool = Some(pool?);
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        // Its threads end by themselves, and are waited for by nobody.
        let pool = self.pool.take();
        Ok(timed(|| drop(pool)).0)
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        time_calls(count, pause, |number| Ok(self.pool().install(|| increment(number))))
    }

    fn jobs(&mut self, count: u64) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.scope(count, || ()));
        Ok(Timed { elapsed, sum: sum_of(results) })
    }

    fn map_numbers(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        let map = || numbers.par_iter().map(|&number| increment(number)).collect::<Vec<_>>();
        let (elapsed, results) = timed(|| self.pool().install(map));
        Ok(Timed { elapsed, sum: sum(results) })
    }

    fn map_numbers_singly(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        let map = || numbers.par_iter().with_max_len(1).map(|&number| increment(number)).collect::<Vec<_>>();
        let (elapsed, results) = timed(|| self.pool().install(map));
        Ok(Timed { elapsed, sum: sum(results) })
    }

    fn imap_numbers(&mut self, count: u64) -> Outcome<Timed> {
        let map = || (0..count).par_bridge().map(increment).sum();
        let (elapsed, sum) = timed(|| self.pool().install(map));
        Ok(Timed { elapsed, sum })
    }

    fn map_records(&mut self, records: Vec<Record>) -> Outcome<Timed> {
        let map = || records.into_par_iter().map(touch).collect::<Vec<_>>();
        let (elapsed, results) = timed(|| self.pool().install(map));
        Ok(Timed { elapsed, sum: sum(results.iter().map(Record::digest)) })
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Outcome<(Duration, Vec<u8>)> {
        Ok(timed(|| {
            let there = self.pool().install(|| std::hint::black_box(bytes.clone()));
            std::hint::black_box(&there).clone()
        }))
    }

    fn map_work(&mut self, steps: &[u64]) -> Outcome<Timed> {
        let map = || steps.par_iter().map(|&steps| work(steps)).collect::<Vec<_>>();
        let (elapsed, results) = timed(|| self.pool().install(map));
        Ok(Timed { elapsed, sum: sum(results) })
    }

    fn pending(&mut self, count: u64) -> Outcome<Pending> {
        let gate = Mutex::new(());
        let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let before = procs::resident_bytes();
        let (elapsed, results) = self.pool().in_place_scope(|scope| {
            for _ in 0..self.pool().current_num_threads() {
                scope.spawn(|_| drop(gate.lock()));
            }
            timed(|| {
                self.scope(count, || {
                    bytes = procs::resident_bytes().saturating_sub(before);
                    drop(closed);
                })
            })
        });
        Ok(Pending { timed: Timed { elapsed, sum: sum_of(results) }, bytes })
    }
}

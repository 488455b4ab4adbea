//! rayon: threads that share the caller's memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvError, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::note::Note;
use crate::contender::{BATCH, Contender, Item, Outcome, Pending, Program, beside, in_threads, time_calls};
use crate::data::{Record, first, increment, sqrt_of, square_of, sum, sum_of, touch, work};
use crate::procs;
use crate::timing::{Timed, timed};

pub(super) const NOTES: &[Note] = &[
    Note {
        cases: &[],
        text: "threads in the caller's memory: nothing is copied, and a task that crashes takes all with it",
    },
    Note {
        cases: &["jobs"],
        text: "a channel for each job is its handle; in `jobs_rate_scope` a scope's spawns, without handles",
    },
    Note { cases: &["scaling"], text: "jobs that wait: a channel for each is its handle" },
    Note { cases: &["imap"], text: "par_bridge, results in no order: rayon has no lazy map" },
    Note { cases: &["bytes_sweep"], text: "one copy of each piece, as for a process" },
    Note { cases: &["bytes_8", "bytes_64k"], text: "two copies, as for a process, but within one CPU's cache" },
    Note { cases: &["array"], text: "a `Vec` of the caller's" },
    Note { cases: &["close"], text: "its threads end by themselves, and nobody waits for them" },
];

#[derive(Default)]
pub(crate) struct Rayon {
    pool: Option<ThreadPool>,
    held: Vec<f64>,
    numbers: Vec<u64>,
}

impl Rayon {
    fn pool(&self) -> &ThreadPool {
        self.pool.as_ref().expect("the case opens it first")
    }

    /// Spawns from the caller's own thread, as the callers of the others do.
    fn submit(&self, count: u64) -> Vec<Receiver<u64>> {
        let submit = |number| {
            let (sender, handle) = sync_channel(1);
            // Nobody listens if the caller has failed, and has said so.
            self.pool().spawn(move || _ = sender.send(increment(number)));
            handle
        };
        (0..count).map(submit).collect()
    }
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
        let (elapsed, results) = timed(|| {
            let handles = self.submit(count);
            handles.into_iter().map(|handle| handle.recv()).collect::<Result<Vec<_>, _>>()
        });
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    fn jobs_in_scope(&mut self, count: u64) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| {
            let results: Vec<_> = (0..count).map(|_| AtomicU64::new(0)).collect();
            self.pool().in_place_scope(|scope| {
                for (number, result) in (0..count).zip(&results) {
                    scope.spawn(move |_| result.store(increment(number), Relaxed));
                }
            });
            results
        });
        Ok(Timed { elapsed, sum: sum(results.into_iter().map(AtomicU64::into_inner)) })
    }

    fn call_threads(&mut self, threads: usize, count: u64) -> Outcome<Timed> {
        in_threads(threads, || Ok((0..count).map(|number| self.pool().install(|| increment(number))).sum()))
    }

    fn job_threads(&mut self, threads: usize, count: u64) -> Outcome<Timed> {
        in_threads(threads, || {
            let mut total = 0;
            for _ in 0..count / BATCH {
                total += self.submit(BATCH).into_iter().map(|handle| handle.recv()).sum::<Result<u64, _>>()?;
            }
            // Each batch begins with 0 here, and with the count of those before elsewhere.
            Ok(total + BATCH * BATCH * (count / BATCH) * (count / BATCH).saturating_sub(1) / 2)
        })
    }

    fn calls_beside(&mut self, count: u64, pause: Duration, items: &[Item]) -> Outcome<Vec<Duration>> {
        let pool = self.pool();
        let map = || {
            drop(pool.install(|| items.par_iter().map(|item| item.run()).collect::<Vec<_>>()));
            Ok(())
        };
        beside(map, || time_calls(count, pause, |number| Ok(pool.install(|| increment(number)))))
    }

    fn map_beside(&mut self, items: &[Item], pause: Duration) -> Outcome<(Duration, Duration)> {
        let pool = self.pool();
        let map =
            |items: &[Item]| timed(|| pool.install(|| items.par_iter().map(|item| item.run()).collect::<Vec<_>>()));
        std::thread::scope(|scope| {
            let long = scope.spawn(|| map(items).0);
            std::thread::sleep(pause);
            let short = map(&items[..2]).0;
            Ok((short, long.join().expect("it does not panic")))
        })
    }

    fn map_pieces(&mut self, numbers: &[f64], len: usize) -> Outcome<Timed> {
        let map = || numbers.par_chunks(len).map(first).sum::<f64>();
        let (elapsed, sum) = timed(|| self.pool().install(map));
        Ok(Timed { elapsed, sum: sum as u64 })
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

    fn hold(&mut self, len: usize) -> Outcome<()> {
        self.held = vec![1.0; len];
        Ok(())
    }

    fn sum_held(&mut self, part: usize) -> Outcome<Timed> {
        let (elapsed, sum) = timed(|| self.pool().install(|| self.held.par_chunks(part).map(sum_of).sum::<f64>()));
        Ok(Timed { elapsed, sum: sum as u64 })
    }

    fn sqrt_held(&mut self, part: usize) -> Outcome<Timed> {
        let Rayon { pool, held, .. } = self;
        let pool = pool.as_ref().expect("the case opens it first");
        let (elapsed, sum) = timed(|| pool.install(|| held.par_chunks_mut(part).map(sqrt_of).sum()));
        Ok(Timed { elapsed, sum })
    }

    fn hold_numbers(&mut self, len: usize) -> Outcome<()> {
        self.numbers = vec![1; len];
        Ok(())
    }

    fn square_held(&mut self, part: usize) -> Outcome<Timed> {
        let Rayon { pool, numbers, .. } = self;
        let pool = pool.as_ref().expect("the case opens it first");
        let (elapsed, sum) = timed(|| pool.install(|| numbers.par_chunks_mut(part).map(square_of).sum()));
        Ok(Timed { elapsed, sum })
    }

    fn calls_with_held(&mut self, count: u64) -> Outcome<Vec<Duration>> {
        let (pool, held) = (self.pool(), &self.held);
        time_calls(count, Duration::ZERO, |number| Ok(pool.install(|| held[..=number as usize].len() as u64)))
    }

    fn map_work(&mut self, steps: &[u64]) -> Outcome<Timed> {
        let map = || steps.par_iter().map(|&steps| work(steps)).collect::<Vec<_>>();
        let (elapsed, results) = timed(|| self.pool().install(map));
        Ok(Timed { elapsed, sum: sum(results) })
    }

    fn program(&mut self) -> Outcome<Program> {
        Ok(Program {
            dependency: "rayon = \"1.12\"".to_owned(),
            head: "use rayon::prelude::*;\n\nfn pool() -> rayon::ThreadPool {\n    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()\n}\n",
            attribute: "",
            uses: "println!(\"{:?} {:?}\", pool.install(|| items().collect::<Vec<_>>().into_par_iter().map(|(text, count)| NAME(text, count)).collect::<Vec<_>>()), pool.install(|| NAME(String::new(), 1)));",
        })
    }

    fn pending(&mut self, count: u64) -> Outcome<Pending> {
        let gate = Arc::new(RwLock::new(()));
        let closed = gate.write().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..self.pool().current_num_threads() {
            let gate = Arc::clone(&gate);
            self.pool().spawn(move || drop(gate.read()));
        }
        let before = procs::resident_bytes();
        let mut bytes = 0;
        let (elapsed, results) = timed(|| {
            let handles = self.submit(count);
            bytes = procs::resident_bytes().saturating_sub(before);
            drop(closed);
            handles.into_iter().try_fold(0, |sum, handle| Ok::<_, RecvError>(sum + handle.recv()?))
        });
        Ok(Pending { timed: Timed { elapsed, sum: results? }, bytes })
    }
}

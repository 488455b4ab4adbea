//! The least that the machine allows: raw processes and raw shared memory, with no more than the case needs.

mod memory;
mod worker;

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use self::memory::{Shared, wait_awake};
use self::worker::{DATA_AT, ITEMS_AT, NEXT_AT, Order, Worker};
use super::Note;
use crate::contender::{Contender, Outcome, Timed, time_calls, timed};
use crate::data::sum;

pub(super) const NOTES: &[Note] = &[
    Note {
        cases: &["call"],
        text: "one word in shared memory and back; waits as the pool does (3 looks, 20 µs of sched_yield, futex); idle: a futex pair",
    },
    Note { cases: &["jobs"], text: "two rings of numbers, both sides always awake" },
    Note { cases: &["map_u64"], text: "words copied into shared memory, incremented by two processes, copied out" },
    Note { cases: &["bytes"], text: "three bare copies: into shared memory, by another process within it, out of it" },
    Note {
        cases: &["work", "skewed", "scaling"],
        text: "forked processes that take the next items from a common counter, and give back but a sum",
    },
    Note { cases: &["create"], text: "raw fork of a process with one thread" },
    Note { cases: &["respawn"], text: "waitpid, raw fork" },
];

/// Room for 8 MiB of bytes or of numbers, there and back.
const DATA_BYTES: usize = 2 * (8 << 20) + 4096;
/// Room for 256 Ki items of work.
const COMMON_BYTES: usize = ITEMS_AT + (256 << 10) * 8;

#[derive(Default)]
pub(crate) struct Floor {
    workers: Vec<Worker>,
    common: Option<Shared>,
}

impl Floor {
    fn start_workers(&mut self, count: usize) -> io::Result<u64> {
        let common = self.common.insert(Shared::new(COMMON_BYTES)?);
        for _ in 0..count {
            self.workers.push(Worker::start(Shared::new(DATA_AT + DATA_BYTES)?, common)?);
        }
        Ok(self.call(1))
    }

    fn call(&mut self, number: u64) -> u64 {
        self.workers[0].order(Order::Increment, number, 0);
        self.workers[0].result()
    }
}

impl Contender for Floor {
    fn open(&mut self, workers: usize) -> Outcome<Duration> {
        let (elapsed, result) = timed(|| self.start_workers(workers));
        result?;
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        let (elapsed, outcome) = timed(|| {
            self.workers.iter_mut().for_each(|worker| worker.order(Order::Stop, 0, 0));
            self.workers.drain(..).try_for_each(|worker| worker.reap())
        });
        outcome?;
        Ok(elapsed)
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        // Whoever waits for long sleeps: what is left of the two sides is a pair of futexes.
        self.workers[0].be_sleepy(!pause.is_zero());
        let times = time_calls(count, pause, |number| Ok(self.call(number)));
        self.workers[0].be_sleepy(false);
        times
    }

    fn jobs(&mut self, count: u64) -> Outcome<Timed> {
        let workers = self.workers.len();
        let (elapsed, results) = timed(|| {
            for (i, worker) in self.workers.iter_mut().enumerate() {
                worker.order(Order::Stream, (count as usize + workers - 1 - i) as u64 / workers as u64, 0);
            }
            let mut results = Vec::with_capacity(count as usize);
            let take_in = |results: &mut Vec<u64>| {
                for worker in &self.workers {
                    results.extend(std::iter::from_fn(|| worker.rings().1.try_pop()));
                }
            };
            for number in 0..count {
                let calls = self.workers[number as usize % workers].rings().0;
                while !calls.try_push(number) {
                    // Full: with the worker's own replies, perhaps.
                    take_in(&mut results);
                    std::thread::yield_now();
                }
            }
            while results.len() < count as usize {
                wait_awake(|| self.workers.iter().any(|worker| !worker.rings().1.is_empty()));
                take_in(&mut results);
            }
            for worker in &self.workers {
                worker.result();
            }
            results
        });
        Ok(Timed { elapsed, sum: sum(results) })
    }

    fn map_numbers(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        let half = numbers.len().div_ceil(self.workers.len());
        let (elapsed, results) = timed(|| {
            for (worker, part) in self.workers.iter_mut().zip(numbers.chunks(half)) {
                worker.memory.write(DATA_AT, part);
                worker.order(Order::IncrementAll, part.len() as u64, 0);
            }
            let mut results = Vec::with_capacity(numbers.len());
            for (worker, part) in self.workers.iter().zip(numbers.chunks(half)) {
                worker.result();
                worker.memory.read(DATA_AT + size_of_val(part), part.len(), &mut results);
            }
            results
        });
        Ok(Timed { elapsed, sum: sum(results) })
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Outcome<(Duration, Vec<u8>)> {
        let worker = &mut self.workers[0];
        Ok(timed(|| {
            worker.memory.write(DATA_AT, &bytes);
            worker.order(Order::Copy, bytes.len() as u64, 0);
            worker.result();
            let mut back = Vec::with_capacity(bytes.len());
            worker.memory.read(DATA_AT + bytes.len(), bytes.len(), &mut back);
            back
        }))
    }

    fn map_work(&mut self, steps: &[u64]) -> Outcome<Timed> {
        let common = self.common.as_ref().expect("the case opens it first");
        for (word, &steps) in common.words(ITEMS_AT, steps.len()).iter().zip(steps) {
            word.store(steps, Ordering::Relaxed);
        }
        common.words(NEXT_AT, 1)[0].store(0, Ordering::Relaxed);
        // So few that nobody is left alone with many, so many that the counter is not what is measured.
        let at_once = (steps.len() / self.workers.len() / 256).clamp(1, 64) as u64;
        let (elapsed, sum) = timed(|| {
            self.workers.iter_mut().for_each(|worker| worker.order(Order::Work, steps.len() as u64, at_once));
            sum(self.workers.iter().map(Worker::result))
        });
        Ok(Timed { elapsed, sum })
    }

    fn worker_pid(&mut self) -> Outcome<u32> {
        Ok(self.workers[0].pid)
    }

    fn successor_pid(&mut self) -> Outcome<u32> {
        let dead = self.workers.pop().expect("the case opens one");
        dead.reap()?;
        self.start_workers(1)?;
        self.worker_pid()
    }
}

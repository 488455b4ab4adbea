//! The least that the machine allows: raw processes and raw shared memory, with no more than the case needs.

mod memory;
mod worker;

use std::io;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use self::memory::{Shared, wait_awake};
use self::worker::{ARRAY_AT, DATA_AT, ITEMS_AT, NEXT_AT, Order, Worker};
use super::note::Note;
use super::redis::{self, Bare};
use crate::contender::{Contender, Item, Outcome, in_threads, time_calls, unsupported};
use crate::data::{first, sum};
use crate::timing::{Timed, timed};

pub(super) const NOTES: &[Note] = &[
    Note {
        cases: &["call"],
        text: "one word in shared memory and back; waits as the pool does (3 looks, 20 µs of sched_yield, futex); idle: a futex pair",
    },
    Note { cases: &["jobs"], text: "two rings of numbers, both sides always awake" },
    Note { cases: &["map_u64"], text: "words copied into shared memory, incremented by two processes, copied out" },
    Note { cases: &["call_threads"], text: "a mutex for each of two processes, and the hand-over within" },
    Note { cases: &["mixed_call"], text: "an idle process, woken by a futex beside two that are busy" },
    Note {
        cases: &["bytes_sweep"],
        text: "two bare copies: into fresh pages of shared memory, and out of it by another process",
    },
    Note {
        cases: &["bytes_8", "bytes_64k", "bytes_5"],
        text: "three bare copies: into shared memory, by another process within it, out of it",
    },
    Note {
        cases: &["work", "skewed", "scaling"],
        text: "forked processes that take the next items from a common counter, and give back but a sum",
    },
    Note {
        cases: &["array_s"],
        text: "forked processes that have all of the array mapped, and take the next parts from a common counter",
    },
    Note { cases: &["create"], text: "raw fork of a process with one thread" },
    Note { cases: &["respawn"], text: "waitpid, raw fork" },
];

/// Room for 512 MiB of bytes, there and back. Pages that are not touched cost nothing.
const DATA_BYTES: usize = 2 * (512 << 20) + 4096;
/// Room for 256 Ki items of work, then for 1 GiB of numbers.
const COMMON_BYTES: usize = ARRAY_AT + (1 << 30);

#[derive(Default)]
pub(crate) struct Floor {
    workers: Vec<Worker>,
    common: Option<Shared>,
    /// Numbers of the array.
    held: usize,
    /// In place of the workers.
    bare: Option<Bare>,
}

impl Floor {
    fn start_workers(&mut self, count: usize) -> io::Result<u64> {
        let common = self.common.insert(Shared::new(COMMON_BYTES)?);
        for _ in 0..count {
            self.workers.push(Worker::start(Shared::new(DATA_AT + DATA_BYTES)?, common)?);
        }
        Ok(self.call(1))
    }

    /// Makes an array of words like this one.
    fn fill(&mut self, word: u64, len: usize) {
        self.held = len;
        let common = self.common.as_ref().expect("the case opens it first");
        common.with_part(ARRAY_AT, len, |words| words.fill(word));
    }

    /// Has all workers take parts of the array until there are no more.
    fn order_parts(&mut self, order: Order, part: usize) -> Timed {
        let common = self.common.as_ref().expect("the case opens it first");
        // The orders' bells publish it.
        common.words(NEXT_AT, 1)[0].store(0, Ordering::Relaxed);
        let (elapsed, sum) = timed(|| {
            self.workers.iter_mut().for_each(|worker| worker.order(order, self.held as u64, part as u64));
            sum(self.workers.iter().map(Worker::result))
        });
        Timed { elapsed, sum }
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

    fn open_far(&mut self, _workers: usize) -> Outcome<Duration> {
        let (elapsed, bare) = redis::opened(Bare::start)?;
        self.bare = Some(bare);
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        if let Some(bare) = self.bare.take() {
            return Ok(timed(|| drop(bare)).0);
        }
        let (elapsed, outcome) = timed(|| {
            self.workers.iter_mut().for_each(|worker| worker.order(Order::Stop, 0, 0));
            self.workers.drain(..).try_for_each(|worker| worker.reap())
        });
        outcome?;
        Ok(elapsed)
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        if let Some(bare) = &mut self.bare {
            return time_calls(count, pause, |number| bare.call(number));
        }
        // A side that waits for long sleeps, so the two become a pair of futexes.
        self.workers[0].be_sleepy(!pause.is_zero());
        let times = time_calls(count, pause, |number| Ok(self.call(number)));
        self.workers[0].be_sleepy(false);
        times
    }

    fn call_threads(&mut self, threads: usize, count: u64) -> Outcome<Timed> {
        let workers: Vec<_> = self.workers.iter_mut().map(Mutex::new).collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        in_threads(threads, || {
            let worker = &workers[next.fetch_add(1, Ordering::Relaxed) % workers.len()];
            let call = |number| {
                let mut worker = worker.lock().expect("it does not panic");
                worker.order(Order::Increment, number, 0);
                worker.result()
            };
            Ok((0..count).map(call).sum())
        })
    }

    fn calls_beside(&mut self, count: u64, pause: Duration, items: &[Item]) -> Outcome<Vec<Duration>> {
        let Some(Item::Work(_)) = items.first() else { return unsupported() };
        let busy = self.workers.len();
        self.start_workers(1)?;
        let (busy, idle) = self.workers.split_at_mut(busy);
        busy.iter_mut().for_each(|worker| worker.order(Order::Spin, 0, 0));
        idle[0].be_sleepy(true);
        let times = time_calls(count, pause, |number| {
            idle[0].order(Order::Increment, number, 0);
            Ok(idle[0].result())
        });
        busy.iter().for_each(|worker| worker.end_spin());
        busy.iter().for_each(|worker| _ = worker.result());
        idle[0].be_sleepy(false);
        times
    }

    fn map_pieces(&mut self, numbers: &[f64], len: usize) -> Outcome<Timed> {
        let workers = self.workers.len();
        let (elapsed, sum) = timed(|| {
            let mut sum = 0.0;
            let mut offsets = vec![DATA_AT; workers];
            for (i, piece) in numbers.chunks(len).enumerate() {
                let (worker, offset) = (&mut self.workers[i % workers], &mut offsets[i % workers]);
                worker.memory.write(*offset, piece);
                if i >= workers {
                    worker.result();
                }
                worker.order(Order::Read, *offset as u64, size_of_val(piece) as u64);
                *offset += size_of_val(piece).next_multiple_of(64);
                sum += first(piece);
            }
            self.workers.iter().take(numbers.len().div_ceil(len)).for_each(|worker| _ = worker.result());
            sum
        });
        // The pages are fresh the next time, too.
        self.workers.iter().for_each(|worker| worker.memory.empty(DATA_AT, size_of_val(numbers)));
        Ok(Timed { elapsed, sum: sum as u64 })
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

    fn hold(&mut self, len: usize) -> Outcome<()> {
        self.fill(1.0_f64.to_bits(), len);
        Ok(())
    }

    fn sum_held(&mut self, part: usize) -> Outcome<Timed> {
        Ok(self.order_parts(Order::Sum, part))
    }

    fn sqrt_held(&mut self, part: usize) -> Outcome<Timed> {
        Ok(self.order_parts(Order::Sqrt, part))
    }

    fn hold_numbers(&mut self, len: usize) -> Outcome<()> {
        self.fill(1, len);
        Ok(())
    }

    fn square_held(&mut self, part: usize) -> Outcome<Timed> {
        Ok(self.order_parts(Order::Square, part))
    }

    fn map_work(&mut self, steps: &[u64]) -> Outcome<Timed> {
        let common = self.common.as_ref().expect("the case opens it first");
        for (word, &steps) in common.words(ITEMS_AT, steps.len()).iter().zip(steps) {
            word.store(steps, Ordering::Relaxed);
        }
        common.words(NEXT_AT, 1)[0].store(0, Ordering::Relaxed);
        // Few enough that no worker is left alone with many, and many enough that the counter is not measured instead.
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

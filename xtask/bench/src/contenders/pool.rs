//! Ours.

use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use pool_core::{Pool, SharedSlice, SharedVec, Task, pool_task};

use super::redis::{self, Far};
use crate::contender::{BATCH, Contender, Item, Outcome, Pending, Program, beside, in_threads, time_calls};
use crate::data::{self, Record, sum};
use crate::procs;
use crate::timing::{Timed, timed};

#[pool_task]
pub(super) fn increment(number: u64) -> u64 {
    data::increment(number)
}

#[pool_task(reports)]
fn report_to(count: u64) {
    for number in 0..count {
        pool_core::report(&data::increment(number));
    }
}

#[pool_task]
fn touch(record: Record) -> Record {
    data::touch(record)
}

#[pool_task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[pool_task]
fn work(steps: u64) -> u64 {
    data::work(steps)
}

#[pool_task]
fn run_item(item: Item) -> u64 {
    item.run()
}

#[pool_task]
fn first(piece: &[f64]) -> f64 {
    data::first(piece)
}

#[pool_task]
fn sum_part(part: SharedSlice<f64>) -> f64 {
    data::sum_of(&part)
}

#[pool_task]
fn sqrt_part(part: &mut [f64], _offset: usize) -> u64 {
    data::sqrt_of(part)
}

#[pool_task]
fn square_part(part: &mut [u64], _offset: usize) -> u64 {
    data::square_of(part)
}

#[pool_task]
fn touch_part(part: SharedSlice<f64>) -> u64 {
    part.len() as u64
}

#[pool_task]
fn process_id() -> u32 {
    std::process::id()
}

/// Occupies a worker as long as somebody has locked the file.
#[pool_task]
fn wait_for(path: &Path) -> bool {
    File::open(path).and_then(|file| file.lock_shared()).is_ok()
}

#[derive(Default)]
pub(crate) struct PoolCore {
    pool: Option<Pool>,
    /// The array that is written, and the one that is read.
    held: Option<(SharedVec<f64>, SharedSlice<f64>)>,
    numbers: Option<SharedVec<u64>>,
    far: Option<Far>,
}

impl PoolCore {
    fn pool(&self) -> &Pool {
        let far = || self.far.as_ref().map(Far::pool);
        self.pool.as_ref().or_else(far).expect("the case opens it first")
    }
}

impl Contender for PoolCore {
    fn open(&mut self, workers: usize) -> Outcome<Duration> {
        let (elapsed, pool) = timed(|| {
            let pool = Pool::new(workers)?;
            pool.apply(increment::Task, 1)?;
            pool_core::Result::Ok(pool)
        });
        self.pool = Some(pool?);
        Ok(elapsed)
    }

    fn open_far(&mut self, workers: usize) -> Outcome<Duration> {
        let (elapsed, far) = redis::opened(|| Far::start(workers))?;
        self.far = Some(far);
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        if let Some(far) = self.far.take() {
            return Ok(timed(|| drop(far)).0);
        }
        (self.held, self.numbers) = (None, None);
        let pool = self.pool.take().expect("the case opens it first");
        let (elapsed, joined) = timed(|| {
            pool.close();
            pool.join()
        });
        joined?;
        Ok(elapsed)
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        time_calls(count, pause, |number| Ok(self.pool().apply(increment::Task, number)?))
    }

    fn jobs(&mut self, count: u64) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| {
            let jobs = (0..count).map(|number| self.pool().apply_async(increment::Task, number));
            let jobs = jobs.collect::<pool_core::Result<Vec<_>>>()?;
            jobs.into_iter().map(|job| job.get()).collect::<pool_core::Result<Vec<_>>>()
        });
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    // It has no cheaper way.
    fn jobs_in_scope(&mut self, count: u64) -> Outcome<Timed> {
        self.jobs(count)
    }

    fn call_threads(&mut self, threads: usize, count: u64) -> Outcome<Timed> {
        let pool = self.pool();
        in_threads(threads, || (0..count).try_fold(0, |sum, number| Ok(sum + pool.apply(increment::Task, number)?)))
    }

    fn job_threads(&mut self, threads: usize, count: u64) -> Outcome<Timed> {
        let pool = self.pool();
        in_threads(threads, || {
            let mut total = 0;
            for first in (0..count).step_by(BATCH as usize) {
                let jobs = (first..count.min(first + BATCH)).map(|number| pool.apply_async(increment::Task, number));
                let jobs = jobs.collect::<pool_core::Result<Vec<_>>>()?;
                total += jobs.into_iter().map(|job| job.get()).sum::<pool_core::Result<u64>>()?;
            }
            Ok(total)
        })
    }

    fn calls_beside(&mut self, count: u64, pause: Duration, items: &[Item]) -> Outcome<Vec<Duration>> {
        let pool = self.pool();
        let map = || Ok(pool.map(run_item::Task, items.iter().copied()).map(drop)?);
        beside(map, || time_calls(count, pause, |number| Ok(pool.apply(increment::Task, number)?)))
    }

    fn map_beside(&mut self, items: &[Item], pause: Duration) -> Outcome<(Duration, Duration)> {
        let pool = self.pool();
        let map = |items: &[Item]| timed(|| pool.map(run_item::Task, items.iter().copied()));
        std::thread::scope(|scope| {
            let long = scope.spawn(|| map(items));
            std::thread::sleep(pause);
            let (short, results) = map(&items[..2]);
            results?;
            let (long, results) = long.join().expect("it does not panic");
            results?;
            Ok((short, long))
        })
    }

    fn map_pieces(&mut self, numbers: &[f64], len: usize) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.pool().map(first::Task, numbers.chunks(len)));
        Ok(Timed { elapsed, sum: results?.into_iter().sum::<f64>() as u64 })
    }

    fn map_numbers(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.pool().map(increment::Task, numbers.iter().copied()));
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    fn map_numbers_singly(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.pool().map(increment::Task.chunk_size(1), numbers.iter().copied()));
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    fn imap_numbers(&mut self, count: u64) -> Outcome<Timed> {
        let (elapsed, sum) = timed(|| {
            let results = self.pool().imap(increment::Task, 0..count)?;
            results.map(|result| Ok(result?)).sum::<Outcome<u64>>()
        });
        Ok(Timed { elapsed, sum: sum? })
    }

    fn reports(&mut self, count: u64) -> Outcome<Timed> {
        let (elapsed, sum) = timed(|| {
            let (sender, receiver) = mpsc::channel();
            let (mut heard, mut sum) = (0, 0_u64);
            let listener = move |report: pool_core::Report<u64>| {
                heard += 1;
                sum = sum.wrapping_add(report.value.unwrap_or_default());
                if heard == count {
                    sender.send(sum).expect("it is waited for");
                }
            };
            self.pool().apply_async(report_to::Task, count)?.on_report(listener).get()?;
            // The listener may be behind the task.
            Outcome::Ok(receiver.recv()?)
        });
        Ok(Timed { elapsed, sum: sum? })
    }

    fn map_records(&mut self, records: Vec<Record>) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.pool().map(touch::Task, records));
        Ok(Timed { elapsed, sum: sum(results?.iter().map(Record::digest)) })
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Outcome<(Duration, Vec<u8>)> {
        let (elapsed, bytes) = timed(|| self.pool().apply(echo::Task, bytes));
        Ok((elapsed, bytes?))
    }

    fn hold(&mut self, len: usize) -> Outcome<()> {
        let ones = || SharedVec::try_from_iter(std::iter::repeat_n(1.0, len));
        self.held = Some((ones()?, ones()?.freeze()?));
        Ok(())
    }

    fn sum_held(&mut self, part: usize) -> Outcome<Timed> {
        let (_, array) = self.held.as_ref().expect("the case makes it first");
        let (elapsed, sums) = timed(|| self.pool().map(sum_part::Task, array.chunks(part)));
        Ok(Timed { elapsed, sum: sums?.into_iter().sum::<f64>() as u64 })
    }

    fn sqrt_held(&mut self, part: usize) -> Outcome<Timed> {
        let (array, _) = self.held.as_mut().expect("the case makes it first");
        let pool = self.pool.as_ref().expect("the case opens it first");
        let (elapsed, lens) = timed(|| pool.map_chunks_mut(sqrt_part::Task, array, part, ()));
        Ok(Timed { elapsed, sum: lens?.into_iter().sum::<pool_core::Result<u64>>()? })
    }

    fn hold_numbers(&mut self, len: usize) -> Outcome<()> {
        self.numbers = Some(SharedVec::try_from_iter(std::iter::repeat_n(1, len))?);
        Ok(())
    }

    fn square_held(&mut self, part: usize) -> Outcome<Timed> {
        let array = self.numbers.as_mut().expect("the case makes it first");
        let pool = self.pool.as_ref().expect("the case opens it first");
        let (elapsed, lens) = timed(|| pool.map_chunks_mut(square_part::Task, array, part, ()));
        Ok(Timed { elapsed, sum: lens?.into_iter().sum::<pool_core::Result<u64>>()? })
    }

    fn calls_with_held(&mut self, count: u64) -> Outcome<Vec<Duration>> {
        let (_, array) = self.held.as_ref().expect("the case makes it first");
        time_calls(count, Duration::ZERO, |number| {
            Ok(self.pool().apply(touch_part::Task, array.slice(..=number as usize))?)
        })
    }

    fn map_work(&mut self, steps: &[u64]) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.pool().map(work::Task, steps.iter().copied()));
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    fn map_items(&mut self, items: &[Item]) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.pool().map(run_item::Task, items.iter().copied()));
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    fn pending(&mut self, count: u64) -> Outcome<Pending> {
        let path = std::env::temp_dir().join(format!("bench-gate-{}", std::process::id()));
        let gate = File::create(&path)?;
        gate.lock()?;
        let waiting = (0..self.pool().workers()).map(|_| self.pool().apply_async(wait_for::Task, &path));
        let waiting = waiting.collect::<pool_core::Result<Vec<_>>>()?;
        let before = procs::resident_bytes();
        let mut bytes = 0;
        let (elapsed, results) = timed(|| {
            let jobs = (0..count).map(|number| self.pool().apply_async(increment::Task, number));
            let jobs = jobs.collect::<pool_core::Result<Vec<_>>>()?;
            bytes = procs::resident_bytes().saturating_sub(before);
            drop(gate);
            jobs.into_iter().try_fold(0, |sum, job| Ok::<_, pool_core::Error>(sum + job.get()?))
        });
        for job in waiting {
            assert!(job.get()?, "a worker could not open {}", path.display());
        }
        fs::remove_file(&path)?;
        Ok(Pending { timed: Timed { elapsed, sum: results? }, bytes })
    }

    fn program(&mut self) -> Outcome<Program> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pool-core");
        Ok(Program {
            dependency: format!("pool-core = {{ path = {path:?} }}"),
            head: "use pool_core::prelude::*;\n\nfn pool() -> Pool {\n    Pool::new(2).unwrap()\n}\n",
            attribute: "#[pool_task]",
            uses: "println!(\"{:?} {:?}\", pool.map(NAME::Task, items()).unwrap(), pool.apply(NAME::Task, (String::new(), 1)).unwrap());",
        })
    }

    fn worker_pid(&mut self) -> Outcome<u32> {
        Ok(self.pool().apply(process_id::Task, ())?)
    }
}

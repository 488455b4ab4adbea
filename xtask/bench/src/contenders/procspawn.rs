//! procspawn: a pool of processes, called with function pointers.

use std::collections::VecDeque;
use std::time::Duration;

use procspawn::{Pool, SpawnError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use super::note::Note;
use crate::contender::{Contender, Outcome, time_calls};
use crate::data::{Record, chunk_len, increment, sum, touch, work};
use crate::timing::{Timed, timed};

pub(super) const NOTES: &[Note] = &[
    Note { cases: &["jobs"], text: "at most 128 at once: each waiting job holds two descriptors" },
    Note { cases: &["map", "work", "skewed", "scaling"], text: "no map: chunked by hand" },
    Note { cases: &["bytes"], text: "with serde_bytes, without which bytes go one by one" },
];

/// Jobs that wait at once.
const WINDOW: usize = 128;

#[derive(Default)]
pub(crate) struct Procspawn {
    pool: Option<Pool>,
    workers: usize,
}

impl Procspawn {
    fn pool(&self) -> &Pool {
        self.pool.as_ref().expect("the case opens it first")
    }

    /// One job per chunk.
    fn map<A, R>(&self, mut items: Vec<A>, function: fn(Vec<A>) -> Vec<R>) -> Result<Vec<R>, SpawnError>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let count = items.len();
        let len = chunk_len(count, self.workers);
        let mut jobs = Vec::new();
        let mut items = items.drain(..);
        while items.len() > 0 {
            jobs.push(self.pool().spawn(items.by_ref().take(len).collect(), function));
        }
        let mut results = Vec::with_capacity(count);
        for job in jobs {
            results.append(&mut job.join()?);
        }
        Ok(results)
    }

    fn map_each(&self, numbers: &[u64], function: fn(Vec<u64>) -> Vec<u64>) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.map(numbers.to_vec(), function));
        Ok(Timed { elapsed, sum: sum(results?) })
    }
}

impl Contender for Procspawn {
    fn open(&mut self, workers: usize) -> Outcome<Duration> {
        let (elapsed, pool) = timed(|| {
            let pool = Pool::new(workers)?;
            pool.spawn(1, increment).join()?;
            Ok::<_, SpawnError>(pool)
        });
        (self.pool, self.workers) = (Some(pool?), workers);
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        let pool = self.pool.take().expect("the case opens it first");
        Ok(timed(|| pool.shutdown()).0)
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        time_calls(count, pause, |number| Ok(self.pool().spawn(number, increment).join()?))
    }

    fn jobs(&mut self, count: u64) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| {
            let mut results = Vec::with_capacity(count as usize);
            let mut window = VecDeque::with_capacity(WINDOW);
            for number in 0..count {
                if window.len() == WINDOW {
                    let oldest: procspawn::JoinHandle<u64> = window.pop_front().expect("it is full");
                    results.push(oldest.join()?);
                }
                window.push_back(self.pool().spawn(number, increment));
            }
            for job in window {
                results.push(job.join()?);
            }
            Ok::<_, SpawnError>(results)
        });
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    fn map_numbers(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        self.map_each(numbers, |numbers| numbers.into_iter().map(increment).collect())
    }

    fn map_records(&mut self, records: Vec<Record>) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| self.map(records, |records| records.into_iter().map(touch).collect()));
        Ok(Timed { elapsed, sum: sum(results?.iter().map(Record::digest)) })
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Outcome<(Duration, Vec<u8>)> {
        let (elapsed, bytes) = timed(|| self.pool().spawn(ByteBuf::from(bytes), |bytes| bytes).join());
        Ok((elapsed, bytes?.into_vec()))
    }

    fn map_work(&mut self, steps: &[u64]) -> Outcome<Timed> {
        self.map_each(steps, |steps| steps.into_iter().map(work).collect())
    }

    fn worker_pid(&mut self) -> Outcome<u32> {
        Ok(self.pool().spawn((), |()| std::process::id()).join()?)
    }
}

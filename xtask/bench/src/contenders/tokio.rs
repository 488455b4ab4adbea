//! tokio's threads for blocking functions: the usual way out of an async program without a pool.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::note::Note;
use crate::contender::{BATCH, Contender, Outcome, in_threads, time_calls};
use crate::data::{increment, sum};
use crate::timing::{Timed, timed};

pub(super) const NOTES: &[Note] =
    &[Note { cases: &[], text: "threads in the caller's memory: `spawn_blocking`, awaited by `block_on`" }];

#[derive(Default)]
pub(crate) struct Tokio {
    runtime: Option<Runtime>,
}

impl Tokio {
    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the case opens it first")
    }

    fn call(&self, number: u64) -> Outcome<u64> {
        Ok(self.runtime().block_on(self.runtime().spawn_blocking(move || increment(number)))?)
    }
}

impl Contender for Tokio {
    fn open(&mut self, workers: usize) -> Outcome<Duration> {
        let (elapsed, runtime) = timed(|| {
            let runtime = Builder::new_multi_thread().worker_threads(1).max_blocking_threads(workers).build();
            runtime.inspect(|runtime| _ = runtime.block_on(runtime.spawn_blocking(|| increment(1))))
        });
        self.runtime = Some(runtime?);
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        let runtime = self.runtime.take();
        Ok(timed(|| drop(runtime)).0)
    }

    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>> {
        time_calls(count, pause, |number| self.call(number))
    }

    fn call_threads(&mut self, threads: usize, count: u64) -> Outcome<Timed> {
        in_threads(threads, || (0..count).try_fold(0, |sum, number| Ok(sum + self.call(number)?)))
    }

    fn jobs(&mut self, count: u64) -> Outcome<Timed> {
        let (elapsed, results) = timed(|| {
            let jobs: Vec<_> =
                (0..count).map(|number| self.runtime().spawn_blocking(move || increment(number))).collect();
            jobs.into_iter().map(|job| self.runtime().block_on(job)).collect::<Result<Vec<_>, _>>()
        });
        Ok(Timed { elapsed, sum: sum(results?) })
    }

    fn job_threads(&mut self, threads: usize, count: u64) -> Outcome<Timed> {
        in_threads(threads, || {
            let mut total = 0;
            for first in (0..count).step_by(BATCH as usize) {
                let jobs: Vec<_> = (first..count.min(first + BATCH))
                    .map(|number| self.runtime().spawn_blocking(move || increment(number)))
                    .collect();
                for job in jobs {
                    total += self.runtime().block_on(job)?;
                }
            }
            Ok(total)
        })
    }
}

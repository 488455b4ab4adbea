//! The operations of every contender, and its answers.

use std::fmt;
use std::time::Duration;

use crate::data::{self, Record, Work};
use crate::timing::{Timed, timed};

/// Something that runs functions elsewhere. It measures itself, with [`timed`], since one of them lives in another language;
/// its caller checks the sums.
///
/// An operation that a contender lacks keeps the default here: refused.
pub(crate) trait Contender {
    /// Makes the workers, and says how long that took until the first result was there.
    fn open(&mut self, workers: usize) -> Outcome<Duration>;

    /// The same beyond a Redis server: operations reach the workers by way of it.
    fn open_far(&mut self, _workers: usize) -> Outcome<Duration> {
        unsupported()
    }

    /// Ends the workers that `open` has made, and waits for them.
    fn close(&mut self) -> Outcome<Duration>;

    /// Blocking calls of [`data::increment`], one after the other, each timed; a pause before each.
    fn calls(&mut self, count: u64, pause: Duration) -> Outcome<Vec<Duration>>;

    /// Submits that many calls of [`data::increment`], of 0, 1, and so on; then gets all results.
    fn jobs(&mut self, _count: u64) -> Outcome<Timed> {
        unsupported()
    }

    /// The same without a handle for each job: all that can be waited for is all of them.
    fn jobs_in_scope(&mut self, _count: u64) -> Outcome<Timed> {
        unsupported()
    }

    /// Blocking calls of [`data::increment`], of 0, 1, and so on, from so many threads at once; each makes `count` of them.
    fn call_threads(&mut self, _threads: usize, _count: u64) -> Outcome<Timed> {
        unsupported()
    }

    /// The same as jobs that are submitted, [`BATCH`] at a time, and then got.
    fn job_threads(&mut self, _threads: usize, _count: u64) -> Outcome<Timed> {
        unsupported()
    }

    /// Blocking calls of [`data::increment`], a pause before each, while another thread maps one list of `items` after the
    /// other.
    fn calls_beside(&mut self, _count: u64, _pause: Duration, _items: &[Item]) -> Outcome<Vec<Duration>> {
        unsupported()
    }

    /// How long a map of two such items takes that begins while another thread maps `items`, and how long that one takes.
    fn map_beside(&mut self, _items: &[Item], _pause: Duration) -> Outcome<(Duration, Duration)> {
        unsupported()
    }

    /// Maps [`data::first`] over pieces of the numbers.
    fn map_pieces(&mut self, _numbers: &[f64], _len: usize) -> Outcome<Timed> {
        unsupported()
    }

    /// Maps [`data::increment`].
    fn map_numbers(&mut self, _numbers: &[u64]) -> Outcome<Timed> {
        unsupported()
    }

    /// Maps [`data::increment`] in chunks of one item.
    fn map_numbers_singly(&mut self, _numbers: &[u64]) -> Outcome<Timed> {
        unsupported()
    }

    /// Maps [`data::increment`] over 0, 1, and so on, and takes the results as they come.
    fn imap_numbers(&mut self, _count: u64) -> Outcome<Timed> {
        unsupported()
    }

    /// One item reports 1, 2, and so on. The sum is that of the reports heard.
    fn reports(&mut self, _count: u64) -> Outcome<Timed> {
        unsupported()
    }

    /// Maps [`data::touch`].
    fn map_records(&mut self, _records: Vec<Record>) -> Outcome<Timed> {
        unsupported()
    }

    /// Bytes there and back; gives them back.
    fn echo(&mut self, _bytes: Vec<u8>) -> Outcome<(Duration, Vec<u8>)> {
        unsupported()
    }

    /// Makes an array of so many ones, where its workers can reach it.
    fn hold(&mut self, _len: usize) -> Outcome<()> {
        unsupported()
    }

    /// The sum of that array, by parts of so many elements.
    fn sum_held(&mut self, _part: usize) -> Outcome<Timed> {
        unsupported()
    }

    /// Takes the square root of each element, in place. The sum is that of the parts' lengths.
    fn sqrt_held(&mut self, _part: usize) -> Outcome<Timed> {
        unsupported()
    }

    /// Makes an array of so many integers, all of them 1, which workers write.
    fn hold_numbers(&mut self, _len: usize) -> Outcome<()> {
        unsupported()
    }

    /// Squares each of these, in place. The sum is that of the parts' lengths.
    fn square_held(&mut self, _part: usize) -> Outcome<Timed> {
        unsupported()
    }

    /// Blocking calls with a part of the array, one after the other, each timed.
    fn calls_with_held(&mut self, _count: u64) -> Outcome<Vec<Duration>> {
        unsupported()
    }

    /// Maps [`data::work`] over numbers of steps.
    fn map_work(&mut self, _steps: &[u64]) -> Outcome<Timed> {
        unsupported()
    }

    /// Maps [`Item::run`].
    fn map_items(&mut self, _items: &[Item]) -> Outcome<Timed> {
        unsupported()
    }

    /// Does all the work by one thread and by the workers, and compares.
    fn work(&mut self, work: &Work) -> Outcome<WorkTimes> {
        // Before and after: machines get faster and slower.
        let before = data::serial_work(&work.steps);
        let parallel = self.map_work(&work.steps)?;
        let after = data::serial_work(&work.steps);
        check_sum(parallel, after.sum)?;
        Ok(WorkTimes { serial: (before.elapsed + after.elapsed) / 2, parallel: parallel.elapsed })
    }

    /// As [`jobs`](Contender::jobs), with the workers held up until all have been submitted.
    fn pending(&mut self, _count: u64) -> Outcome<Pending> {
        unsupported()
    }

    /// A program of its users, for the case `compile_time`.
    fn program(&mut self) -> Outcome<Program> {
        unsupported()
    }

    /// The process in which a worker runs.
    fn worker_pid(&mut self) -> Outcome<u32> {
        unsupported()
    }

    /// After the only worker was killed: the process in which there is one again.
    fn successor_pid(&mut self) -> Outcome<u32> {
        self.worker_pid()
    }
}

/// An item that takes its time.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Item {
    /// So many steps of [`data::work`].
    Work(u64),
    SleepMs(u64),
}

impl Item {
    pub(crate) fn run(self) -> u64 {
        match self {
            Item::Work(steps) => data::work(steps),
            Item::SleepMs(time) => {
                std::thread::sleep(Duration::from_millis(time));
                time
            }
        }
    }
}

/// Jobs that one thread has out at a time.
pub(crate) const BATCH: u64 = 100;

/// A program that uses a contender, as source text.
pub(crate) struct Program {
    /// The contender's name in the manifest, and where it comes from.
    pub(crate) dependency: String,
    /// Before the functions.
    pub(crate) head: &'static str,
    /// Before each function.
    pub(crate) attribute: &'static str,
    /// Maps and calls the function `NAME` over `items`.
    pub(crate) uses: &'static str,
}

/// The answer of a contender.
pub(crate) type Outcome<T> = Result<T, Refusal>;

/// Why there is no number.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It has no such thing.
    Unsupported,
    /// It tried.
    Failed(String),
}

pub(crate) fn unsupported<T>() -> Outcome<T> {
    Err(Refusal::Unsupported)
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Failed(error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unsupported => f.write_str("unsupported"),
            Refusal::Failed(text) => f.write_str(text),
        }
    }
}

/// Fails unless the results have the expected sum.
pub(crate) fn check_sum(timed: Timed, expected: u64) -> Outcome<Duration> {
    if timed.sum == expected {
        return Ok(timed.elapsed);
    }
    Err(Refusal::Failed(format!("wrong results: they add up to {}, and not to {expected}", timed.sum)))
}

/// The same work, by one thread and by the workers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkTimes {
    pub(crate) serial: Duration,
    pub(crate) parallel: Duration,
}

/// The cost of jobs that wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) timed: Timed,
    /// By how much the process has grown while they waited.
    pub(crate) bytes: u64,
}

/// Calls after which a contender for which they are slow has been heard enough, and the time that they may take then.
const CALLS_MIN: u64 = 5;
const CALLS_TIME_MAX: Duration = Duration::from_secs(2);

/// Times each of up to `count` calls, which give their argument plus one.
pub(crate) fn time_calls(
    count: u64,
    pause: Duration,
    mut call: impl FnMut(u64) -> Outcome<u64>,
) -> Outcome<Vec<Duration>> {
    let mut times = Vec::with_capacity(count as usize);
    let mut total = Duration::ZERO;
    for argument in 0..count {
        if argument >= CALLS_MIN && total > CALLS_TIME_MAX {
            break;
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let (time, result) = timed(|| call(argument));
        if result? != argument + 1 {
            return Err(Refusal::Failed(format!("a call of {argument} gave a wrong result")));
        }
        times.push(time);
        total += time;
    }
    Ok(times)
}

/// Has so many threads do something at once. Returns the sum of all, and the time taken.
pub(crate) fn in_threads(threads: usize, body: impl Fn() -> Outcome<u64> + Sync) -> Outcome<Timed> {
    let (elapsed, sums) = timed(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&body)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect::<Vec<_>>()
        })
    });
    let sum = sums.into_iter().try_fold(0, |sum, next| Outcome::Ok(data::sum([sum, next?])))?;
    Ok(Timed { elapsed, sum })
}

/// Does something while another thread does the `background` again and again.
pub(crate) fn beside<T>(
    background: impl Fn() -> Outcome<()> + Sync,
    foreground: impl FnOnce() -> Outcome<T>,
) -> Outcome<T> {
    use std::sync::atomic::{AtomicBool, Ordering};
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                background()?;
            }
            Outcome::Ok(())
        });
        let result = foreground();
        is_over.store(true, Ordering::Relaxed);
        other.join().expect("it does not panic")?;
        result
    })
}

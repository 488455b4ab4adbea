//! A worker of a pool, killed on its way through a job.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use pool_core::prelude::*;
use pool_core::{Report, SharedSlice, SharedVec};

use super::ledger::Ledger;
use crate::gate::Gate;
use crate::procs::{SOON, eventually};
use crate::tasks::{nap_where, pid};
use crate::tracer::{Path, Tracee};

/// The job during which the worker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A call for which its caller waits.
    Call,
    /// A call for which nobody waits yet: the host's router takes the reply in.
    Posted,
    /// A map of four items that travel together.
    Map,
    /// A map of items so wide that the arguments of the last eight, which travel together, are not sent but lie in memory
    /// that all workers read.
    Wide,
    /// A call with a long result, which comes in several records.
    Long,
    /// A call with a time limit.
    Limited(Duration),
    /// A call with an array that the worker does not have yet, and one of its own as the result.
    Array,
    /// Four parts of an array that workers write in place.
    Parts,
    /// A call that reports three numbers, each noted behind it.
    Reports,
}

/// Items of [`Scenario::Map`].
const MAP_ITEMS: u8 = 4;
/// Reports of [`Scenario::Reports`].
const REPORTS: u8 = 3;
/// Items of [`Scenario::Parts`].
const PARTS: u8 = 4;
/// Items of [`Scenario::Wide`]: one, two and four that are sent, since blocks begin small, and eight of 32 KiB together.
const WIDE_ITEMS: u8 = 1 + 2 + 4 + 8;
/// Numbers of each.
const WIDTH: usize = 512;
/// Items that wait behind the job while its worker dies.
const BEHIND: u8 = 3;
/// More bytes than a record holds. Not many more: a copy that is made step by step takes long, and after some such copies a
/// ring's end makes them in another way.
const LONG_BYTES: usize = 40_000;

// ---- tasks -------------------------------------------------------------------------------------------------------

/// The items that were begun: for each one byte that names it, and the process id.
static BOOK: OnceLock<File> = OnceLock::new();

#[pool_task]
fn open_book(path: &str) {
    let file = OpenOptions::new().append(true).open(path).expect("the host has made it");
    BOOK.set(file).expect("a worker has one initializer");
}

fn note(item: u8) {
    let [a, b, c, d] = std::process::id().to_le_bytes();
    let mut book = BOOK.get().expect("the initializer has opened it");
    book.write_all(&[item, a, b, c, d]).expect("room for five bytes");
}

#[pool_task]
fn short(item: u8) -> u64 {
    note(item);
    value_of(item)
}

#[pool_task]
fn wide(numbers: [u64; WIDTH]) -> u64 {
    let item = numbers[0] as u8;
    note(item);
    if numbers == wide_of(item) { value_of(item) } else { u64::MAX }
}

fn wide_of(item: u8) -> [u64; WIDTH] {
    [item.into(); WIDTH]
}

#[pool_task]
fn long(item: u8) -> Vec<u8> {
    note(item);
    long_value_of(item)
}

#[pool_task]
fn exchange(item: SharedSlice<u8>) -> SharedVec<u64> {
    note(item[0]);
    SharedVec::from_slice(&[value_of(item[0])]).expect("memory for a number")
}

#[pool_task]
fn write(part: &mut [u64], offset: usize) -> u64 {
    note(offset as u8);
    part[0] = value_of(offset as u8);
    part[0]
}

/// Notes each report when it has been made, under a number above those of all items.
#[pool_task(reports)]
fn tell(item: u8) -> u64 {
    note(item);
    for number in 0..REPORTS {
        pool_core::report(&value_of(number));
        note(REPORTED + number);
    }
    value_of(item)
}

/// The first report's number in the book.
const REPORTED: u8 = 100;

const UNPOISONED: &str = "no thread panics with it";

pub(super) fn value_of(item: u8) -> u64 {
    u64::from(item) * 1_000_003 + 7
}

fn long_value_of(item: u8) -> Vec<u8> {
    let mut bytes = vec![item; LONG_BYTES];
    bytes.extend(value_of(item).to_le_bytes());
    bytes
}

/// Whether the bytes are the item's long value; and its short value, or another.
fn shorten(item: u8, bytes: Vec<u8>) -> u64 {
    if bytes == long_value_of(item) { value_of(item) } else { u64::MAX }
}

// ---- trials ------------------------------------------------------------------------------------------------------

type Outcome = pool_core::Result<u64>;

/// Kills a worker at so many points of the job, or at all.
///
/// Call this from a process of one thread.
///
/// # Errors
///
/// `EPERM` where processes must not be traced.
pub fn kill_job(workers: usize, scenario: Scenario, points: usize) -> nix::Result<Ledger> {
    if scenario == Scenario::Long {
        copy_in_steps();
    }
    let stage = Stage::new(workers, scenario);
    let path = stage.walk()?;
    let mut ledger = Ledger { instructions: path.len(), ..Ledger::default() };
    for place in path.points(points) {
        let trial = stage.kill_at(&path, place)?;
        if stage.check(place, &trial, &mut ledger) && place < UNCLAIMED {
            ledger.torn += 1;
            ledger.complain(place, "a death is charged to an item that was not begun");
        }
    }
    Ok(ledger)
}

/// In so many instructions a worker comes back from the system call that it slept in, and has claimed nothing.
const UNCLAIMED: usize = 50;

/// Has the C library copy by ordinary instructions from now on, in processes that are started: the one that it uses for
/// large pieces is, byte by byte, as many steps.
fn copy_in_steps() {
    const THRESHOLDS: &str = "glibc.cpu.x86_rep_movsb_threshold=100000000:glibc.cpu.x86_rep_stosb_threshold=100000000";
    // SAFETY:
    // - the caller has one thread, so nobody else reads the environment.
    unsafe { std::env::set_var("GLIBC_TUNABLES", THRESHOLDS) }
}

/// A pool, and the job that its workers are killed at.
pub(super) struct Stage {
    pub(super) pool: Pool,
    pub(super) scenario: Scenario,
    book: Gate,
    /// The reports of [`Scenario::Reports`].
    heard: Arc<Mutex<Vec<u64>>>,
}

/// The outcome of one kill.
struct Trial {
    victim: u32,
    /// The outcomes of the job's items, then of those behind it.
    outcomes: Vec<Outcome>,
    /// Item and process.
    begun: Vec<(u8, u32)>,
    /// The reports of the job.
    heard: Vec<u64>,
}

impl Trial {
    /// Whether the killed worker had come to the item's body.
    fn was_begun(&self, item: u8) -> bool {
        self.begun.contains(&(item, self.victim))
    }
}

impl Stage {
    /// The workers come from a fork server, so that the same code is at the same address in all of them.
    pub(super) fn new(workers: usize, scenario: Scenario) -> Stage {
        let book = Gate::new();
        book.open();
        let pool = Pool::builder().workers(workers).initializer(open_book::Task, book.path()).build().expect("a pool");
        Stage { pool, scenario, book, heard: Arc::default() }
    }

    fn items(&self) -> u8 {
        match self.scenario {
            Scenario::Map => MAP_ITEMS,
            Scenario::Wide => WIDE_ITEMS,
            Scenario::Parts => PARTS,
            _ => 1,
        }
    }

    /// Holds the worker that the next job goes to: the one to which the last went, if all are idle.
    pub(super) fn hold(&self) -> nix::Result<(u32, Tracee)> {
        let workers = self.pool.workers();
        let all_are_there = || {
            let pids = self.pool.map(nap_where::Task.chunk_size(1), vec![1; workers]).expect("an ordinary map");
            pids.into_iter().collect::<HashSet<_>>().len() == workers
        };
        assert!(eventually(all_are_there), "a worker is missing");
        let victim = self.pool.apply(pid::Task, ()).expect("an ordinary call");
        Tracee::seize(victim).map(|tracee| (victim, tracee))
    }

    /// The whole job, instruction by instruction.
    pub(super) fn walk(&self) -> nix::Result<Path> {
        // The measured pace of the task has its influence on the way.
        for _ in 0..3 {
            self.run(|_| ());
        }
        let (_, mut tracee) = self.hold()?;
        let (path, _) = self.run(|is_over| {
            let path = tracee.walk(is_over);
            tracee.kill();
            path
        });
        self.read_book();
        path
    }

    fn kill_at(&self, path: &Path, place: usize) -> nix::Result<Trial> {
        let (victim, mut tracee) = self.hold()?;
        let ((step, behind), mut outcomes) = self.run(|is_over| {
            let step = tracee.go_to(path, place, is_over);
            let behind = self.submit_behind();
            tracee.kill();
            (step, behind)
        });
        step?;
        outcomes.extend(behind.into_iter().map(|mut job| job.get_timeout(SOON)));
        let heard = std::mem::take(&mut *self.heard.lock().expect(UNPOISONED));
        Ok(Trial { victim, outcomes, begun: self.read_book(), heard })
    }

    /// The first place at which a kill costs the job.
    pub(super) fn first_charged(&self, path: &Path) -> nix::Result<usize> {
        let (mut free, mut charged) = (0, path.len());
        while charged - free > 1 {
            let place = free.midpoint(charged);
            let trial = self.kill_at(path, place)?;
            let is_free = trial.outcomes[0].is_ok() && !trial.was_begun(0);
            *(if is_free { &mut free } else { &mut charged }) = place;
        }
        Ok(charged)
    }

    /// Items that find the worker where it is.
    fn submit_behind(&self) -> Vec<AsyncResult<u64>> {
        let items = self.items()..self.items() + BEHIND;
        items.map(|item| self.pool.apply_async(short::Task, item).expect("an open pool")).collect()
    }

    /// Submits the job, has the worker `led` through it, and waits for the outcomes of its items. `led` is told, whenever
    /// it asks, whether all of them are there.
    pub(super) fn run<R>(&self, led: impl FnOnce(&dyn Fn() -> bool) -> R) -> (R, Vec<Outcome>) {
        if self.scenario == Scenario::Posted {
            let mut job = self.pool.apply_async(short::Task, 0).expect("an open pool");
            let result = led(&|| job.ready());
            return (result, vec![job.get_timeout(SOON)]);
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let (done, wait) = mpsc::channel();
            let submitted = self.pool.stats().jobs_submitted;
            scope.spawn(|| {
                let outcomes = self.submit_and_wait();
                is_over.store(true, Ordering::Relaxed);
                let done = done;
                done.send(outcomes).expect("somebody waits for them");
            });
            // The worker is to find the job there, and its bell rung: else it goes another way.
            assert!(eventually(|| self.pool.stats().jobs_submitted > submitted), "the job is not submitted");
            thread::sleep(Duration::from_micros(200));
            let result = led(&|| is_over.load(Ordering::Relaxed));
            (result, wait.recv_timeout(SOON).unwrap_or_else(|_| hang(self.scenario)))
        })
    }

    fn submit_and_wait(&self) -> Vec<Outcome> {
        let pool = &self.pool;
        match self.scenario {
            Scenario::Map => pool
                .map_results(short::Task.chunk_size(MAP_ITEMS.into()), 0..MAP_ITEMS)
                .expect("the pool is open, and the arguments can be encoded"),
            Scenario::Wide => pool
                .map_results(wide::Task.chunk_size(8), (0..WIDE_ITEMS).map(wide_of))
                .expect("the pool is open, and the arguments can be encoded"),
            Scenario::Long => vec![pool.apply(long::Task, 0).map(|bytes| shorten(0, bytes))],
            Scenario::Array => {
                let item = SharedVec::from_slice(&[0]).and_then(SharedVec::freeze).expect("memory for a byte");
                vec![pool.apply(exchange::Task, item).map(|values| values[0])]
            }
            Scenario::Parts => write_parts(pool),
            Scenario::Reports => vec![self.hear()],
            Scenario::Limited(limit) => vec![pool.apply(short::Task.timeout(limit), 0)],
            Scenario::Call | Scenario::Posted => vec![pool.apply(short::Task, 0)],
        }
    }

    /// A call that reports, when its last report has been heard.
    fn hear(&self) -> Outcome {
        let heard = Arc::clone(&self.heard);
        heard.lock().expect(UNPOISONED).clear();
        // Gone with the listener.
        let (alive, wait) = mpsc::channel::<()>();
        let listener = move |report: Report<u64>| {
            let _alive = &alive;
            heard.lock().expect(UNPOISONED).push(report.value.unwrap_or(u64::MAX));
        };
        let outcome = self.pool.apply_async(tell::Task, 0).and_then(|job| job.on_report(listener).get());
        let _ = wait.recv();
        outcome
    }

    /// The items that have been begun since the last time.
    pub(super) fn read_book(&self) -> Vec<(u8, u32)> {
        let bytes = fs::read(self.book.path()).expect("the book");
        self.book.open();
        let entries = bytes.chunks_exact(5);
        entries.map(|entry| (entry[0], u32::from_le_bytes([entry[1], entry[2], entry[3], entry[4]]))).collect()
    }

    /// Whether an item was charged with the death.
    fn check(&self, place: usize, trial: &Trial, ledger: &mut Ledger) -> bool {
        ledger.points += 1;
        let items = self.items();
        let expected = usize::from(items + BEHIND);
        if trial.outcomes.len() != expected {
            ledger.lost += expected.abs_diff(trial.outcomes.len());
            ledger.complain(place, format!("{} outcomes of {expected} items", trial.outcomes.len()));
        }
        let mut deaths = 0;
        for (item, outcome) in (0..).zip(&trial.outcomes) {
            let runs = trial.begun.iter().filter(|(begun, _)| *begun == item).count();
            if runs > 1 {
                ledger.doubled += 1;
                ledger.complain(place, format!("item {item} ran {runs} times: {:?}", trial.begun));
            }
            match outcome {
                Ok(value) if *value == value_of(item) && runs > 0 => {
                    if item < items {
                        ledger.count(if trial.was_begun(item) { FINISHED } else { ELSEWHERE });
                    }
                }
                Err(error) if item < items && is_death_of(error, trial.victim) => {
                    deaths += 1;
                    ledger.count(if trial.was_begun(item) { DIED } else { DIED_EARLY });
                }
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    ledger.hangs += 1;
                    ledger.complain(place, format!("item {item} has no outcome after {SOON:?}"));
                }
                outcome => {
                    ledger.torn += 1;
                    ledger.complain(place, format!("item {item}, begun {runs} times, came to {outcome:?}"));
                }
            }
        }
        if deaths > 1 {
            ledger.torn += 1;
            ledger.complain(place, format!("{deaths} items died of one kill"));
        }
        // Each report that was made; the last one may not have been noted yet.
        let noted = trial.begun.iter().filter(|(number, _)| *number >= REPORTED).count();
        let are_whole = trial.heard.iter().copied().eq((0..REPORTS).map(value_of).take(trial.heard.len()));
        if !are_whole || !(noted..=noted + 1).contains(&trial.heard.len()) {
            ledger.lost += 1;
            ledger.complain(place, format!("of {noted} reports these were heard: {:?}", trial.heard));
        }
        deaths > 0
    }
}

/// A value counts if it is in the array, too, and if nobody has the array mapped for writing any more.
fn write_parts(pool: &Pool) -> Vec<Outcome> {
    let mut array = SharedVec::zeroed(PARTS.into()).expect("memory for some numbers");
    let results = pool.map_chunks_mut(write::Task, &mut array, 1, ()).expect("the pool is open");
    let array = array.freeze().expect("nobody writes it any more");
    let is_there = |at: usize, value: u64| if array[at] == value { value } else { u64::MAX };
    results.into_iter().enumerate().map(|(at, result)| result.map(|value| is_there(at, value))).collect()
}

/// The worker had finished it.
pub(super) const FINISHED: &str = "finished";
/// Its body had begun.
pub(super) const DIED: &str = "died in the body";
/// The worker had claimed it, and was on its way to the task's body.
pub(super) const DIED_EARLY: &str = "died before the body";
/// The worker had not claimed it.
pub(super) const ELSEWHERE: &str = "ran elsewhere";

fn is_death_of(error: &Error, victim: u32) -> bool {
    error.kind() == ErrorKind::WorkerDied
        && error.worker_pid() == Some(victim)
        && error.to_string().contains("killed by signal 9 (SIGKILL)")
}

/// A wait that does not end cannot be given up, only shown.
fn hang(scenario: Scenario) -> ! {
    eprintln!("hangs 1: {scenario:?} is not through after {SOON:?}");
    std::process::exit(1)
}

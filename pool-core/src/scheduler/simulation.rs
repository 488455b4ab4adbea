//! Seeded simulation of the scheduler: one number decides the requests of callers, the deeds and deaths of workers, and the
//! course of time. After every step the scheduler is compared with books that were kept apart from it.
//!
//! `POOL_SEEDS=100000 cargo test -p pool-core --lib simulation` tries more seeds; a failure names the seed, and
//! `POOL_SEED=… cargo test -p pool-core --lib simulation::replay -- --nocapture` shows all that happened with it.

mod books;
mod callers;
mod fairness;
mod invariants;
mod plan;
mod process;
mod replies;
mod shell;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use self::plan::{Plan, Rng};
use self::process::Reply;
use self::shell::World;
use super::interface::WorkerId;

/// Faults of the shell that the simulation must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    /// A reply is dropped.
    LosesReply,
    /// Values that a dead worker had finished are delivered twice.
    SalvagesTwice,
    /// A recall is reported as done and the worker is not told.
    FeignsRecall,
    /// Items that a dead worker had not begun are taken for answered.
    ForgetsUnstarted,
    /// A death is blamed on a chunk that was not begun.
    BlamesTheNext,
    /// The failure of a launch is not passed on.
    ForgetsLaunch,
    /// Nothing is ever due.
    ForgetsTime,
    /// The scheduler is not told how much a worker may have.
    ForgetsShare,
    /// The scheduler is not told when to give up starting workers.
    RestartsForever,
    /// The scheduler is not told how long an initializer may take.
    StartsForever,
    /// Items that wait for another attempt are lost.
    ForgetsRetry,
    /// Items that wait for another attempt have it at once.
    RetriesEarly,
    /// The scheduler believes that panics are to be retried.
    RetriesPanics,
    /// The scheduler believes that an item may be tried once less than it may.
    RetriesLess,
    /// The scheduler believes that an item may be tried more often than it may.
    RetriesMore,
    /// The scheduler forgets that running items of a job were cancelled.
    SparesRunning,
    /// The scheduler does not hear how long chunks took, and its charges are forgotten.
    ForgetsCharges,
    /// The scheduler forgets that items of a worker were cancelled.
    ForgetsCancelled,
    /// The scheduler forgets that cancelled items have some grace.
    ForgetsGrace,
    /// The grace of a cancelled item has no end.
    EndlessGrace,
    /// The scheduler forgets that an item of a broadcast is for one worker alone.
    RunsElsewhere,
    /// An item of a broadcast is sent again.
    RunsTwice,
}

// ---- the steps ------------------------------------------------------------------------------------------------------

impl World {
    /// Something happens.
    fn step(&mut self) {
        match self.rng.below(88 + self.plan.calls) {
            0..45 => {
                let worker = WorkerId::new(self.rng.index(self.workers.ids().count()));
                let steps = self.rng.up_to(30);
                (0..steps).for_each(|_| _ = self.work(worker));
            }
            45..60 => _ = self.route(),
            60..70 => self.pass_time(),
            70..76 => self.launch_one(),
            76..82 => self.bury_one(),
            82..85 => self.signals_arrive(),
            85..88 => self.accidents(),
            _ => self.call(),
        }
        self.check();
    }

    /// A process goes on by one step.
    fn work(&mut self, worker: WorkerId) -> bool {
        let World { workers, books, plan, rng, .. } = self;
        workers[worker].process.as_mut().is_some_and(|process| process.step(books, plan, rng))
    }

    fn pass_time(&mut self) {
        let now = self.books.now;
        let next = self.next_event().unwrap_or(now).max(now);
        self.books.now = match self.rng.below(4) {
            0 => now + self.rng.up_to(5_000),
            1 => next + self.rng.pick(&[1, 1_000, 10_000_000, 10_000_000_000]),
            _ => next,
        };
        if self.scheduler.wake_at().is_some_and(|at| at <= self.books.now) || self.rng.permille(50) {
            self.tick();
        }
    }

    fn launch_one(&mut self) {
        let workers: Vec<_> = self.workers.ids().filter(|&worker| self.workers[worker].launching).collect();
        if workers.is_empty() {
            return;
        }
        let worker = self.rng.pick(&workers);
        if self.rng.permille(self.plan.launch_fails) { self.not_launched(worker) } else { self.launched(worker) }
    }

    fn dead(&self) -> Vec<WorkerId> {
        let is_dead = |&worker: &WorkerId| self.workers[worker].process.as_ref().is_some_and(|process| process.dead);
        self.workers.ids().filter(is_dead).collect()
    }

    fn bury_one(&mut self) {
        let dead = self.dead();
        if !dead.is_empty() {
            let worker = self.rng.pick(&dead);
            self.bury(worker);
        }
    }

    /// Signals arrive: killed processes are dead from now on.
    fn signals_arrive(&mut self) {
        for process in self.workers.values_mut().filter_map(|handle| handle.process.as_mut()) {
            process.dead |= process.killed;
        }
    }

    /// Processes are killed by others, or write nonsense; the fork server dies, and all with it.
    fn accidents(&mut self) {
        let all_die = self.rng.permille(self.plan.all_die);
        for worker in self.workers.ids() {
            let (dies, raves) = (self.plan.process_dies, self.plan.writes_nonsense);
            let (dies, raves) = (all_die || self.rng.permille(dies), self.rng.permille(raves));
            if let Some(process) = self.process(worker).filter(|process| !process.dead) {
                process.dead = dies;
                if raves {
                    process.replies.push_back(Reply::Nonsense);
                }
            } else if all_die && self.workers[worker].launching {
                self.not_launched(worker);
            }
        }
    }

    // ---- the end ---------------------------------------------------------------------------------------------------

    /// From now on only items kill workers. All jobs come to an end, then the pool does.
    fn wind_up(&mut self) {
        self.plan.has_room = 1000;
        self.plan.launch_fails = 0;
        self.plan.initializer_dies = 0;
        self.plan.initializer_hangs = 0;
        self.trace(|| "the end begins".to_owned());
        if self.rng.permille(500) {
            self.scheduler.close();
            self.act();
        }
        if self.rng.permille(500) {
            // No calls come for a while, and jobs stay open.
            _ = (0..100).try_for_each(|_| self.round());
        }
        self.seal_lazy();
        for job in self.books.open_jobs() {
            self.seal(job);
        }
        if self.rng.permille(900) {
            self.run_until("all jobs have ended", |world| world.books.live_jobs().is_empty());
        } else {
            self.scheduler.terminate();
            self.act();
        }
        self.scheduler.close();
        self.act();
        self.run_until("the pool is finished", |world| world.scheduler.is_finished());
        self.books.all_ended();
    }

    fn run_until(&mut self, goal: &str, is_done: impl Fn(&World) -> bool) {
        // Most rounds end one item; some only start a worker, or let a time limit pass.
        let rounds = 1000 + 100 * self.books.unsettled();
        for _ in 0..rounds {
            if is_done(self) {
                return;
            }
            let went_on = self.round().is_some();
            assert!(went_on || is_done(self), "stuck before {goal}");
        }
        assert!(is_done(self), "not after {rounds} rounds: {goal}");
    }

    /// All processes go on as far as they can, or else time passes; `None` if nothing waits for that either.
    fn round(&mut self) -> Option<()> {
        let mut goes_on = self.route();
        for worker in self.workers.ids() {
            if self.workers[worker].launching {
                self.launched(worker);
                goes_on = true;
            }
            while self.work(worker) {
                goes_on = true;
            }
        }
        self.signals_arrive();
        for worker in self.dead() {
            self.bury(worker);
            goes_on = true;
        }
        self.check();
        if !goes_on {
            self.books.now = self.next_event()?.max(self.books.now) + self.rng.pick(&self.plan.lateness);
        }
        if self.scheduler.wake_at().is_some_and(|at| at <= self.books.now) {
            self.tick();
        }
        self.check();
        Some(())
    }
}

fn simulate(seed: u64, plant: Option<Plant>, is_traced: bool) {
    let mut rng = Rng(seed);
    let is_about_cancelling = matches!(plant, Some(Plant::SparesRunning | Plant::ForgetsGrace | Plant::EndlessGrace));
    let plan = if is_about_cancelling { Plan::cancelling(&mut rng) } else { Plan::new(&mut rng) };
    let mut world = World::new(plan, rng, plant, is_traced);
    world.trace(|| format!("{:?}", world.plan));
    world.act();
    (0..world.plan.steps).for_each(|_| world.step());
    world.wind_up();
}

// ---- the tests ------------------------------------------------------------------------------------------------------

/// The first seed; the others follow.
const FIRST_SEED: u64 = 0x5eed_0000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[test]
fn seeded_schedules() {
    for seed in (FIRST_SEED..).take(number("POOL_SEEDS").unwrap_or(600) as usize) {
        if let Err(panic) = catch_unwind(|| simulate(seed, None, false)) {
            eprintln!("POOL_SEED={seed} cargo test -p pool-core --lib simulation::replay -- --nocapture");
            resume_unwind(panic);
        }
    }
}

#[test]
fn replay() {
    if let Some(seed) = number("POOL_SEED") {
        simulate(seed, None, true);
    }
}

/// A fault goes unnoticed with no more than so many seeds.
const VAIN_SEEDS_MAX: u64 = 2000;

fn finds(plant: Plant) {
    let goes_well = |seed| catch_unwind(AssertUnwindSafe(|| simulate(seed, Some(plant), false))).is_ok();
    let unnoticed = (FIRST_SEED..FIRST_SEED + VAIN_SEEDS_MAX).take_while(|&seed| goes_well(seed)).count();
    eprintln!("{plant:?}: {unnoticed} seeds in vain");
    assert!(unnoticed < VAIN_SEEDS_MAX as usize, "{plant:?} goes unnoticed");
}

#[test]
fn planted_faults_are_found() {
    use Plant::*;
    let deliveries = [LosesReply, SalvagesTwice, FeignsRecall, ForgetsUnstarted, BlamesTheNext];
    let limits = [ForgetsLaunch, ForgetsTime, ForgetsShare, RestartsForever, StartsForever];
    let retries = [ForgetsRetry, RetriesEarly, RetriesPanics, RetriesLess, RetriesMore];
    deliveries
        .into_iter()
        .chain(limits)
        .chain(retries)
        .chain([ForgetsCancelled, SparesRunning, ForgetsGrace, EndlessGrace, RunsElsewhere, RunsTwice])
        .for_each(finds);
}

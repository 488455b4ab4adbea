//! The plan that a seed makes beforehand: the pool, the tasks, and the rates of faults.

use crate::priority::Priority;
use crate::scheduler::{JobSpec, SchedulerConfig};
use crate::units::Nanos;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        1 + self.below(most)
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub(super) fn permille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }
}

/// Chances are in thousandths.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) workers: usize,
    pub(super) max_tasks_per_worker: Option<u64>,
    pub(super) restart_limit: u32,
    pub(super) idle_timeout: Option<Nanos>,
    pub(super) has_initializer: bool,
    pub(super) initializer_timeout: Option<Nanos>,
    /// The usual time of an item of each task.
    pub(super) tasks: Vec<Nanos>,
    /// How many items of each task may run at once.
    pub(super) max_concurrent: Vec<Option<u32>>,
    /// Cancelled items do not end by themselves.
    pub(super) cancelled_hang: bool,
    /// Some jobs have time limits.
    pub(super) has_timeouts: bool,
    /// Actions are carried out after several events.
    pub(super) acts_late: bool,
    pub(super) steps: u64,
    /// How much later than at an event the host looks.
    pub(super) lateness: Vec<Nanos>,
    /// Steps of callers, for each 88 steps of others.
    pub(super) calls: u64,
    pub(super) launch_fails: u64,
    pub(super) initializer_dies: u64,
    pub(super) initializer_hangs: u64,
    pub(super) item_crashes: u64,
    pub(super) item_panics: u64,
    pub(super) item_hangs: u64,
    pub(super) item_errs: u64,
    pub(super) process_dies: u64,
    pub(super) all_die: u64,
    pub(super) writes_nonsense: u64,
    pub(super) is_long: u64,
    pub(super) has_room: u64,
    pub(super) publishes: u64,
    pub(super) wears_out: u64,
    pub(super) salvage_fails: u64,
    pub(super) ends_early: u64,
    pub(super) cancels: u64,
    pub(super) resizes: u64,
}

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Self {
        if rng.permille(150) { Plan::cancelling(rng) } else { Plan::any(rng) }
    }

    /// Much is cancelled, and only that ends workers.
    pub(super) fn cancelling(rng: &mut Rng) -> Self {
        Plan {
            cancels: 150,
            cancelled_hang: true,
            has_timeouts: false,
            initializer_timeout: None,
            initializer_hangs: 0,
            item_panics: 0,
            item_crashes: 0,
            process_dies: 0,
            all_die: 0,
            writes_nonsense: 0,
            resizes: 0,
            ends_early: 0,
            max_tasks_per_worker: None,
            ..Plan::any(rng)
        }
    }

    fn any(rng: &mut Rng) -> Self {
        let tasks = rng.up_to(4);
        let has_initializer = rng.permille(500);
        let initializer_timeout = rng.pick(&[None, Some(1_000_000), Some(60_000_000)]).filter(|_| has_initializer);
        Plan {
            workers: rng.up_to(8) as usize,
            max_tasks_per_worker: rng.pick(&[None, None, None, Some(1), Some(3), Some(20)]),
            restart_limit: rng.pick(&[0, 1, 3, 10]),
            idle_timeout: rng.pick(&[None, None, Some(0), Some(100_000), Some(50_000_000)]),
            has_initializer,
            initializer_timeout,
            tasks: (0..tasks).map(|_| rng.pick(&[2, 100, 2_000, 50_000, 1_000_000, 300_000_000])).collect(),
            max_concurrent: (0..tasks).map(|_| rng.pick(&[None, None, None, Some(1), Some(2), Some(4)])).collect(),
            cancelled_hang: rng.permille(400),
            has_timeouts: true,
            acts_late: rng.permille(500),
            lateness: vec![0, 10_000, 10_000_000],
            steps: 50 + rng.below(350),
            calls: rng.pick(&[2, 5, 12]),
            launch_fails: rng.pick(&[0, 0, 0, 20, 200]),
            initializer_dies: rng.pick(&[0, 0, 0, 20, 300]),
            initializer_hangs: if initializer_timeout.is_some() { rng.pick(&[0, 20, 200]) } else { 0 },
            item_crashes: rng.pick(&[0, 0, 10, 100, 500]),
            item_panics: rng.pick(&[0, 0, 50, 300]),
            item_hangs: rng.pick(&[0, 10, 200]),
            item_errs: rng.pick(&[0, 50, 300]),
            process_dies: rng.pick(&[0, 0, 5, 50, 200]),
            all_die: rng.pick(&[0, 0, 0, 5]),
            writes_nonsense: rng.pick(&[0, 0, 10, 100]),
            is_long: rng.pick(&[0, 50, 500]),
            has_room: rng.pick(&[100, 700]),
            publishes: rng.pick(&[0, 50, 500]),
            wears_out: rng.pick(&[0, 0, 20]),
            salvage_fails: rng.pick(&[0, 0, 200]),
            ends_early: rng.pick(&[0, 0, 1, 5]),
            cancels: rng.pick(&[0, 10, 60]),
            resizes: rng.pick(&[0, 0, 10, 40]),
        }
    }

    /// Nothing goes wrong, and nothing is late: for what is promised then.
    pub(super) fn quiet(rng: &mut Rng) -> Self {
        let tasks: Vec<Nanos> = (0..4).map(|_| rng.pick(&[20_000, 300_000, 1_000_000, 10_000_000])).collect();
        Plan {
            max_tasks_per_worker: None,
            idle_timeout: None,
            has_initializer: false,
            initializer_timeout: None,
            max_concurrent: vec![None; tasks.len()],
            tasks,
            cancelled_hang: false,
            launch_fails: 0,
            initializer_dies: 0,
            initializer_hangs: 0,
            item_crashes: 0,
            item_panics: 0,
            item_hangs: 0,
            item_errs: 0,
            process_dies: 0,
            all_die: 0,
            writes_nonsense: 0,
            is_long: 0,
            has_room: 1000,
            wears_out: 0,
            salvage_fails: 0,
            lateness: vec![0],
            ..Plan::new(rng)
        }
    }

    pub(super) fn config(&self) -> SchedulerConfig {
        SchedulerConfig {
            workers: self.workers,
            max_tasks_per_worker: self.max_tasks_per_worker,
            restart_limit: self.restart_limit,
            idle_timeout: self.idle_timeout,
            has_initializer: self.has_initializer,
            initializer_timeout: self.initializer_timeout,
            finalizer_timeout: None,
        }
    }

    pub(super) fn spec(&self, rng: &mut Rng) -> JobSpec {
        let task = rng.index(self.tasks.len());
        let usual = self.tasks[task];
        JobSpec {
            task: task as u32,
            timeout: rng.pick(&[None, None, Some(2 * usual), Some(20 * usual)]).filter(|_| self.has_timeouts),
            grace: rng.pick(&[0, 0, 1_000, usual]),
            retries: rng.pick(&[0, 0, 1, 3]),
            retry_panics: rng.permille(500),
            chunk_size: rng.pick(&[None, None, Some(1), Some(2), Some(5), Some(40)]),
            urgent: rng.permille(200),
            lazy: rng.permille(200),
            bulk: rng.permille(300),
            calls: false,
            priority: rng.pick(&[Priority::Normal, Priority::Normal, Priority::Normal, Priority::Low, Priority::High]),
            // Those that allow fewer stand beside those that allow more.
            max_concurrent: self.max_concurrent[task].map(|most| rng.pick(&[most, most, 1])),
            reports: false,
            label: None,
            seed: None,
            #[cfg(feature = "tracing")]
            context: 0,
            once: false,
            pinned: false,
        }
    }
}

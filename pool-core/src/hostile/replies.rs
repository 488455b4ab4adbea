//! Engine, scheduler and lanes with workers that do as the input says: reply, lie, overwrite memory, die. In the end all of them
//! die, honest ones follow, and every item must have had exactly one outcome.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, LazyLock};

use pool_ipc::sys::monotonic_ns;
use pool_ipc::{Header, Hub};

use super::peer::{Peer, Step};
use super::tasks::{KINDS, initializer};
use crate::codec::bytes::Bytes;
use crate::engine::Engine;
use crate::engine::own_call::OwnCalls;
use crate::engine::room::Amount;
use crate::host::Host;
use crate::job::Job;
use crate::job::batch::{Batch, CompletionRef};
use crate::job::block::Block;
use crate::job::blocks::Call;
use crate::job::completion::{Part, Parts};
use crate::job::content::Content;
use crate::priority::Priority;
use crate::scheduler::{ByWorker, JobSpec, Scheduler, SchedulerConfig, State, WorkerId};
use crate::task::TaskOptions;
use crate::task::table::TASKS;

/// Runs the steps that `data` encodes.
///
/// # Panics
///
/// If an item has two outcomes or none, or the host does not come to an end.
pub fn replies(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::new(&mut input);
    while !input.0.is_empty() && world.engine.scheduler().state() == State::Open {
        world.step(&mut input);
        world.carry_out();
    }
    world.finish();
}

/// The rest of the input; it yields zeros when it is used up.
struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        byte
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// A word that is mostly small, or close to the largest.
    fn word(&mut self) -> u64 {
        // Sums overflow and indices go past the end close to the bounds, so these come more often than by chance.
        match self.byte() {
            255 => u64::MAX - u64::from(self.byte()),
            254 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            253 => u64::from(u32::MAX) - u64::from(self.byte()),
            252 => 32 * u64::from(self.byte()),
            small => u64::from(small),
        }
    }

    fn bytes(&mut self) -> &'d [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }
}

struct HostileJob {
    completion: CompletionRef,
    kind: usize,
    items: u32,
}

struct World {
    engine: Engine,
    /// By worker.
    peers: ByWorker<Option<Peer>>,
    jobs: Vec<HostileJob>,
    next_pid: u32,
    /// A job was ended early.
    has_cancelled: bool,
}

/// The pool that the completions belong to; it is not used otherwise.
static OWNER: LazyLock<Arc<Host>> = LazyLock::new(|| {
    let config = SchedulerConfig {
        workers: 0,
        max_tasks_per_worker: None,
        restart_limit: 0,
        idle_timeout: None,
        has_initializer: false,
        initializer_timeout: None,
        finalizer_timeout: None,
    };
    let engine = Engine::new(Scheduler::new(config, 0), OwnCalls::default(), None, Amount::UNLIMITED);
    let (hub, _) = Hub::create(0).expect("there is memory for two pages");
    Host::new(engine, hub, Amount::UNLIMITED, TaskOptions::default(), Vec::new(), "pool")
        .expect("there is room for a descriptor")
});

/// Bounds of a run; more would only take longer.
const JOBS_MAX: usize = 8;
const ITEMS_MAX: usize = 64;
/// The most launches, which take most of the time.
const LAUNCHES_MAX: u32 = 12;
/// Rounds within which honest workers must be done and leave.
const ROUNDS_MAX: usize = 3000;

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let bits = input.byte();
        let has_initializer = bits & 1 != 0;
        let config = SchedulerConfig {
            workers: 1 + usize::from(bits >> 1 & 1),
            max_tasks_per_worker: (bits & 4 != 0).then_some(3),
            restart_limit: if bits & 8 != 0 { 1 } else { u32::MAX },
            idle_timeout: None,
            has_initializer,
            initializer_timeout: (bits & 16 != 0).then_some(1),
            finalizer_timeout: None,
        };
        let start = has_initializer.then(initializer).into_iter().collect();
        let own_calls = OwnCalls { start, finalizer: None };
        let engine = Engine::new(Scheduler::new(config, TASKS.len()), own_calls, None, Amount::UNLIMITED);
        let mut world =
            World { engine, peers: ByWorker::default(), jobs: Vec::new(), next_pid: 1, has_cancelled: false };
        world.carry_out();
        world
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (what, worker) = (input.byte(), WorkerId::new(input.below(2)));
        let peer = self.peers.get_mut(worker).and_then(Option::as_mut);
        match (what % 12, peer) {
            (0, _) => self.submit(input),
            (1, Some(peer)) => {
                let header = Header {
                    kind: u16::from(input.byte()),
                    flags: u16::from(input.byte()),
                    seq: input.word() as u32,
                    count: input.word() as u32,
                    info: input.word(),
                    ..Header::default()
                };
                peer.record(&header, input.bytes());
            }
            (2, Some(peer)) => peer.scribble(input.word(), &input.word().to_ne_bytes()),
            (3, Some(peer)) => peer.scribble(input.word(), input.bytes()),
            (4, Some(peer)) => {
                peer.end.claim(input.word() as u32, input.word() as u32);
                let unpublished_end = peer.end.replies.unpublished_end(input.word() as usize);
                peer.end.begin_item(input.word() as u32, unpublished_end);
                peer.end.stamp(input.word());
            }
            (5, Some(peer)) => peer.end.write_last_words(input.bytes()),
            (6, _) => self.engine.route(),
            (7, _) if !self.jobs.is_empty() => {
                let completion = &self.jobs[input.below(self.jobs.len())].completion;
                let (id, call) = (completion.job(), completion.call());
                let runs = input.byte() & 1 != 0;
                // Noted, since items of a map that is cancelled may have no outcome of their own.
                self.has_cancelled |= match call {
                    Some(_) => self.engine.cancel(id, call),
                    None => self.engine.scheduler().cancel(id, runs),
                };
            }
            (8, _) => self.engine.scheduler().tick(monotonic_ns()),
            (9, Some(_)) if self.next_pid < LAUNCHES_MAX => self.die(worker, 9),
            (10, Some(_)) => self.work(worker),
            (11, _) => self.engine.scheduler().resize(1 + input.below(2)),
            _ => {}
        }
    }

    fn submit(&mut self, input: &mut Input<'_>) {
        if self.jobs.len() == JOBS_MAX {
            return;
        }
        let (kind, bits) = (input.below(KINDS.len()), input.byte());
        let items = if bits & 1 != 0 { input.below(ITEMS_MAX) as u32 } else { 1 };
        let entry = (KINDS[kind].entry)();
        let spec = JobSpec {
            task: entry.index(),
            timeout: (bits & 2 != 0).then_some(1),
            grace: u64::from(bits >> 3 & 1),
            retries: u32::from(bits >> 2 & 1),
            retry_panics: bits & 64 != 0,
            chunk_size: (bits & 8 != 0).then(|| 1 + u32::from(input.byte())),
            urgent: bits & 16 != 0,
            lazy: false,
            bulk: bits & 32 != 0,
            calls: false,
            priority: [Priority::Normal, Priority::High][usize::from(bits >> 7)],
            max_concurrent: None,
            // Of calls alone: a map's record is made here, and has no queue for reports.
            reports: bits & 0b10101 == 0b10100,
            label: None,
            seed: None,
            #[cfg(feature = "tracing")]
            context: 0,
            once: false,
            pinned: false,
        };
        let is_map = bits & 1 != 0;
        let bytes = vec![0; 8 * items as usize];
        let completion = if is_map {
            let result_buffer = if spec.bulk { (KINDS[kind].result_buffer)(items as usize) } else { None };
            let mut completion = None;
            let id = self.engine.scheduler().submit(spec, |id| {
                let completion = completion.insert(CompletionRef::new(&Batch::of_map(&OWNER, id, None), 0));
                let mut record = Job::of_map(entry, &spec, completion.clone(), result_buffer);
                let block = Block::new(0, items, Some(8), Content::Own(bytes));
                record.blocks.push(block, &mut Vec::new());
                record
            });
            self.engine.scheduler().add_items(id, 0, items);
            self.engine.scheduler().seal(id);
            completion.expect("the record has been made")
        } else {
            let call = Call { entry, args: Bytes::copy_of(&bytes), args_size: Some(8), raw: false };
            let Ok(completion) = self.engine.call(&OWNER, spec, call) else { return };
            completion
        };
        self.jobs.push(HostileJob { completion, kind, items });
    }

    fn work(&mut self, worker: WorkerId) {
        let Some(peer) = &mut self.peers[worker] else { return };
        if peer.work() == Step::Leaves {
            self.die(worker, 0);
        }
    }

    fn die(&mut self, worker: WorkerId, status: i32) {
        if let Some(peer) = self.peers[worker].take() {
            self.engine.exited(worker, peer.pid, ExitStatus::from_raw(status), None);
        }
    }

    /// Carries out the engine's actions, as the threads of a pool do.
    fn carry_out(&mut self) {
        self.engine.act();
        while let (_, Some(deferred)) = self.engine.take_deferred() {
            for worker in deferred.launches {
                let (peer, lane) = Peer::new(self.next_pid);
                self.next_pid += 1;
                self.engine.next_incarnation(worker);
                self.engine.launched(worker, lane);
                self.peers.grow(worker.index() + 1, || None);
                self.peers[worker] = Some(peer);
            }
            self.engine.act();
        }
    }

    /// Lets all workers die, and honest ones do the rest.
    fn finish(mut self) {
        for worker in self.peers.ids() {
            self.die(worker, 9);
        }
        self.run_until(|world| world.jobs.iter().all(|job| job.completion.is_finished()));
        assert_eq!(self.engine.scheduler().unsettled(), 0);
        assert_eq!(self.engine.stats().jobs_finished, self.jobs.len() as u64, "each job ends once");
        let jobs = std::mem::take(&mut self.jobs);
        let items: u64 = jobs.iter().map(|job| u64::from(job.items)).sum();
        let settled = self.engine.stats().items_succeeded + self.engine.stats().items_failed;
        let is_complete = !self.has_cancelled && jobs.iter().all(|job| job.completion.rest().is_none());
        assert!(settled == items || (settled < items && !is_complete), "{settled} of {items} items have an outcome");
        jobs.iter().for_each(check);
        self.engine.scheduler().close();
        self.run_until(|world| world.engine.is_finished());
        assert!(self.peers.values().all(Option::is_none), "no process is left");
    }

    fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        for _ in 0..ROUNDS_MAX {
            self.carry_out();
            if is_done(self) {
                return;
            }
            for worker in self.peers.ids() {
                if self.engine.scheduler().is_killed(worker) {
                    self.die(worker, 9);
                }
                self.work(worker);
            }
            self.engine.route();
            // Deferred retries come now.
            if let Some(at) = self.engine.scheduler().wake_at() {
                self.engine.scheduler().tick(at);
            }
        }
        panic!("the host did not come to an end in {ROUNDS_MAX} rounds");
    }
}

/// Checks that each item has one outcome, and that the caller gets it.
fn check(job: &HostileJob) {
    let (mut parts, result_buffer) = match job.completion.take() {
        Parts::Buffered(buffered) => (buffered.others, Some(buffered.result_buffer)),
        parts => (parts.into_iter().collect(), None),
    };
    parts.extend(job.completion.short().map(|bytes| Part {
        first: 0,
        items: 1,
        raw: false,
        values: Ok(bytes),
        origin: None,
    }));
    parts.sort_by_key(|part| part.first);
    let mut next = 0;
    for part in &parts {
        assert!(part.first >= next && part.items > 0, "an item has two outcomes, or a part has none");
        next = part.first + u64::from(part.items);
    }
    let delivered: u32 = parts.iter().map(|part| part.items).sum();
    let rest = job.completion.rest();
    let is_complete = delivered == job.items || rest.is_some() || result_buffer.is_some();
    assert!(next <= job.items.into() && is_complete, "an item has no outcome");
    assert_eq!((KINDS[job.kind].results)(parts, rest, result_buffer, job.items.into()), job.items as usize);
}

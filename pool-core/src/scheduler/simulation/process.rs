//! A worker process in small steps, as `worker.rs` goes: its ring of calls, its replies, its notes.

use std::collections::VecDeque;

use super::books::Books;
use super::plan::{Plan, Rng};
use crate::scheduler::Seq;
use crate::scheduler::tuning::UNRESPONSIVE_NS;
use crate::units::Nanos;

#[derive(Debug)]
pub(super) struct Process {
    /// Its place in the books.
    pub(super) id: usize,
    pub(super) calls: VecDeque<Call>,
    pub(super) replies: VecDeque<Reply>,
    pub(super) notes: Notes,
    /// The call in front is being answered.
    pub(super) run: Option<Run>,
    /// Until when the initializer runs.
    starts: Option<Nanos>,
    /// Somebody has stopped it, before it had begun anything.
    is_stopped: bool,
    /// The last warning, and when it came.
    pub(super) warned: Option<(Seq, Option<u32>, Nanos)>,
    /// A signal is on its way to it.
    pub(super) killed: bool,
    pub(super) dead: bool,
    /// Its replies cannot be read any more.
    pub(super) is_corrupt: bool,
    /// The item that killed it.
    pub(super) killer: Option<(usize, u64)>,
}

#[derive(Debug)]
pub(super) enum Call {
    Run(Chunk),
    Quit,
}

#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) seq: Seq,
    pub(super) job: usize,
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) limit: u32,
    pub(super) timeout: Option<Nanos>,
    pub(super) usual: Nanos,
    pub(super) task: u32,
    /// Items that are claimed at once.
    pub(super) claim: u32,
    /// It came in one record, with a limit that can be lowered.
    pub(super) in_one: bool,
    /// It is in the ring.
    pub(super) is_out: bool,
    /// The items that the scheduler believes it may run.
    pub(super) kept: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Ready,
    NotReady,
    /// About the items from `first` of `job`; of a call that has an answer already: nonsense.
    Items {
        seq: Seq,
        job: usize,
        first: u64,
        items: u32,
        last: bool,
        over_rss: bool,
        elapsed: Nanos,
    },
    /// The item of `job` has no value, and its worker lives.
    Panicked {
        seq: Seq,
        job: usize,
        item: u64,
    },
    Nonsense,
}

/// The words that the host sees: see `pool_ipc::Progress`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notes {
    pub(super) seq: Seq,
    pub(super) claimed: u32,
    pub(super) item: u32,
    pub(super) since: Nanos,
}

#[derive(Debug)]
pub(super) struct Run {
    items: u32,
    pub(super) next: u32,
    claimed: u32,
    pub(super) published: u32,
    unpublished_items: u32,
    begun: Nanos,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Between,
    /// It has published its claim, and not looked at the limit.
    Claiming {
        claimed: u32,
    },
    Item {
        until: Nanos,
        fate: Fate,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Value,
    Error,
    Panic,
    Crash,
}

const INIT_SEQ: Seq = Seq(u32::MAX);

impl Process {
    pub(super) fn new(id: usize, now: Nanos, plan: &Plan, rng: &mut Rng) -> Self {
        let hangs = rng.permille(plan.initializer_hangs);
        let until = if hangs { Nanos::MAX } else { now + rng.pick(&[0, 100_000, 50_000_000]) };
        Process {
            id,
            calls: VecDeque::new(),
            replies: VecDeque::new(),
            notes: Notes { seq: INIT_SEQ, claimed: 0, item: 0, since: 0 },
            run: None,
            starts: Some(until),
            is_stopped: hangs && rng.permille(300),
            warned: None,
            killed: false,
            dead: false,
            is_corrupt: false,
            killer: None,
        }
    }

    /// When it goes on, if that is a matter of time.
    pub(super) fn wakes_at(&self) -> Option<Nanos> {
        let until = match (&self.run, self.starts) {
            _ if self.dead => None,
            (_, Some(until)) => Some(until),
            (Some(Run { stage: Stage::Item { until, .. }, .. }), _) => Some(*until),
            _ => None,
        };
        until.filter(|&until| until < Nanos::MAX)
    }

    /// Whether its latest item has had more than its time, as the process itself knows.
    pub(super) fn is_slow(&self, now: Nanos) -> bool {
        match (&self.run, self.calls.front()) {
            (Some(_), Some(Call::Run(chunk))) => chunk.timeout.is_some_and(|limit| now - self.notes.since >= limit),
            _ => false,
        }
    }

    /// Whether its initializer has had `ran` of its time by now, as the process itself knows; it may have ended
    /// meanwhile. One that has not begun is given some time for that, too.
    pub(super) fn starts_slowly(&self, now: Nanos, limit: Nanos, ran: Nanos) -> bool {
        if self.notes.claimed == 0 {
            ran >= limit + UNRESPONSIVE_NS
        } else {
            ran >= limit && now - self.notes.since == ran
        }
    }

    /// Goes on by one step; false if it waits.
    pub(super) fn step(&mut self, books: &mut Books, plan: &Plan, rng: &mut Rng) -> bool {
        if self.dead || self.is_stopped {
            return false;
        }
        if let Some(until) = self.starts {
            if plan.has_initializer && self.notes.claimed == 0 {
                (self.notes.claimed, self.notes.since) = (1, books.now);
                return true;
            }
            return until <= books.now && self.start(plan, rng);
        }
        let Some(mut run) = self.run.take() else { return self.take_call(books.now) };
        let Some(Call::Run(chunk)) = self.calls.front() else { unreachable!("it is being answered") };
        let item = chunk.first + u64::from(run.next);
        match run.stage {
            Stage::Between if run.next < run.claimed => {
                books.begin(self.id, chunk.job, item, plan.max_tasks_per_worker);
                self.notes.item = run.next;
                self.notes.since = books.now;
                run.stage = fate(chunk, books.now, plan, rng);
            }
            Stage::Between => {
                let block = run.claimed.min(run.items / 16).min(chunk.claim).max(1);
                let claimed = run.items.min(run.claimed + block);
                if claimed == run.claimed {
                    self.publish(run, true, books.now, rng.permille(plan.wears_out));
                    return true;
                }
                (self.notes.seq, self.notes.claimed) = (chunk.seq, claimed);
                run.stage = Stage::Claiming { claimed };
            }
            Stage::Claiming { claimed } => {
                if chunk.in_one {
                    run.items = run.items.min(chunk.limit);
                }
                run.claimed = claimed.min(run.items);
                run.stage = Stage::Between;
                if run.next >= run.claimed {
                    self.publish(run, true, books.now, rng.permille(plan.wears_out));
                    return true;
                }
            }
            // It hears that it is cancelled, and ends.
            Stage::Item { until, .. }
                if books.now < until && self.is_warned(chunk.seq, run.next) && rng.permille(100) =>
            {
                run.stage = Stage::Item { until: books.now, fate: Fate::Value };
            }
            // An item that nobody wants may go on for ever: only its worker's death ends it.
            Stage::Item { .. } if plan.cancelled_hang && books.is_doomed(chunk.job, item) => {
                self.run = Some(run);
                return false;
            }
            Stage::Item { until, .. } if books.now < until => {
                self.run = Some(run);
                return false;
            }
            Stage::Item { fate: Fate::Crash, .. } => {
                (self.dead, self.killer) = (true, Some((chunk.job, item)));
                if rng.permille(5 * plan.writes_nonsense) {
                    self.replies.push_back(Reply::Nonsense);
                }
            }
            Stage::Item { fate: Fate::Panic, .. } => {
                let (seq, job) = (chunk.seq, chunk.job);
                books.ran(job, item);
                run.stage = Stage::Between;
                if run.unpublished_items > 0 {
                    self.publish(run, false, books.now, false);
                    run = self.run.take().expect("more of it follows");
                }
                run.published += 1;
                run.next += 1;
                self.replies.push_back(Reply::Panicked { seq, job, item });
            }
            Stage::Item { fate, .. } => {
                books.ran(chunk.job, item);
                run.unpublished_items += 1;
                run.next += 1;
                run.stage = Stage::Between;
                if fate == Fate::Error || rng.permille(plan.publishes) {
                    self.publish(run, false, books.now, false);
                    return true;
                }
            }
        }
        self.run = Some(run);
        true
    }

    fn is_warned(&self, seq: Seq, item: u32) -> bool {
        self.warned.is_some_and(|(of, which, _)| of == seq && which.is_none_or(|which| which == item))
    }

    /// The task of the item that it runs.
    pub(super) fn runs_task(&self) -> Option<u32> {
        match (&self.run, self.calls.front()) {
            (Some(Run { stage: Stage::Item { .. }, .. }), Some(Call::Run(chunk))) if !self.dead => Some(chunk.task),
            _ => None,
        }
    }

    /// The job and the first item of a chunk that it has before it.
    pub(super) fn start_of(&self, seq: Seq) -> Option<(usize, u64)> {
        self.calls.iter().find_map(|call| match call {
            Call::Run(chunk) if chunk.seq == seq => Some((chunk.job, chunk.first)),
            _ => None,
        })
    }

    fn start(&mut self, plan: &Plan, rng: &mut Rng) -> bool {
        self.starts = None;
        let dies = rng.permille(plan.initializer_dies);
        if dies && (rng.permille(500) || !plan.has_initializer) {
            self.dead = true;
        } else {
            self.replies.push_back(if dies { Reply::NotReady } else { Reply::Ready });
        }
        true
    }

    fn take_call(&mut self, now: Nanos) -> bool {
        match self.calls.front() {
            Some(Call::Quit) => self.dead = true,
            Some(Call::Run(chunk)) if chunk.is_out => {
                (self.notes.item, self.notes.since) = (0, now);
                let items = chunk.count.min(chunk.limit);
                let stage = Stage::Between;
                self.run =
                    Some(Run { items, next: 0, claimed: 0, published: 0, unpublished_items: 0, begun: now, stage });
            }
            _ => return false,
        }
        true
    }

    fn publish(&mut self, mut run: Run, last: bool, now: Nanos, over_rss: bool) {
        let Some(Call::Run(Chunk { seq, job, first, .. })) = self.calls.front() else { unreachable!("as in `step`") };
        let items = std::mem::take(&mut run.unpublished_items);
        let (seq, job, first) = (*seq, *job, first + u64::from(run.published));
        run.published += items;
        self.replies.push_back(Reply::Items { seq, job, first, items, last, over_rss, elapsed: now - run.begun });
        if last {
            self.calls.pop_front();
        } else {
            self.run = Some(run);
        }
    }
}

fn fate(chunk: &Chunk, now: Nanos, plan: &Plan, rng: &mut Rng) -> Stage {
    let fate = match rng.below(1000) {
        roll if roll < plan.item_crashes => Fate::Crash,
        roll if roll < plan.item_crashes + plan.item_errs => Fate::Error,
        roll if roll < plan.item_crashes + plan.item_errs + plan.item_panics => Fate::Panic,
        _ => Fate::Value,
    };
    let hangs = chunk.timeout.is_some() && rng.permille(plan.item_hangs);
    let until = if hangs { Nanos::MAX } else { now + rng.up_to(2 * chunk.usual) };
    Stage::Item { until, fate }
}

//! Flows, and the order in which those of one priority take turns: surplus round robin (Adiseshu, Parulkar and Varghese,
//! 1996) with worker time in place of bytes.
//!
//! In each round a flow may use [`QUANTUM_NS`] of worker time. It is charged when a chunk is sent, by the measured pace, and
//! the charge is corrected by the reply. A chunk may cost more than is left: the flow then waits as many rounds as the
//! overdraft takes. Rounds in which no flow could run are skipped, so a turn costs one heap operation, and none while a
//! flow is alone.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::interface::{JobId, Priority, WorkerId};
use super::tuning::QUANTUM_NS;
use super::worker::Range;
use crate::units::Nanos;

/// The unit that shares the workers with others of its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowId {
    /// All calls of one priority, first come, first served, whatever their task.
    Calls(Priority),
    /// A map; or calls of one task that may not all run at once, which must not hold up the others.
    Job(JobId),
}

/// Where a flow stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has no items that wait for a worker.
    #[default]
    Idle,
    /// It is in the turns of its priority.
    Waiting,
    /// As many items of its task run as may, or one that allows fewer waits for that. It is in `TaskState::parked`.
    Parked,
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) queue: VecDeque<Range>,
    pub(super) standing: Standing,
    /// Nanoseconds of worker time that it may still use in this round; below zero is an overdraft.
    credit: i64,
    /// The round of its next turn, while it waits for that.
    due: u64,
    /// The number of its valid place in the turns: those with an older one do not count any more.
    ticket: u32,
    /// The round up to which it has been given its quanta.
    round: u64,
    /// It came to the head with credit left: its first chunk goes before those of maps that have not begun.
    pub(super) jumps: bool,
    /// It may send its next chunk before parked flows of its task, since its turn among these has come.
    pub(super) may_pass: bool,
    /// Chunks of which workers have items.
    pub(super) in_flight: u32,
    /// The worker that was sent its last chunk: its caches are warm.
    pub(super) last_worker: Option<WorkerId>,
}

impl Flow {
    /// Gives the flow the quanta of all rounds up to this one.
    #[inline]
    fn renew(&mut self, round: u64) {
        // Given when it is looked at, not in each round: rounds without a look cost nothing.
        let rounds = i64::try_from(round.saturating_sub(self.round)).unwrap_or(i64::MAX);
        self.round = self.round.max(round);
        self.credit = self.credit.saturating_add(rounds.saturating_mul(QUANTUM_NS as i64));
    }

    /// The same for a flow that had no items meanwhile: it saves no more than one quantum.
    #[inline]
    fn renew_idle(&mut self, round: u64) {
        let before = self.credit;
        self.renew(round);
        // Else a flow that comes after a pause could keep the workers for as long as it was away.
        self.credit = self.credit.min(before.max(QUANTUM_NS as i64));
    }

    /// The rounds until it may run again.
    #[inline]
    fn rounds_owed(&self) -> u64 {
        if self.credit > 0 { 0 } else { self.credit.unsigned_abs() / QUANTUM_NS + 1 }
    }

    /// Takes so many items from the front of its queue.
    #[inline]
    pub(super) fn take_front(&mut self, items: u32) {
        let front = self.queue.front_mut().expect("they are there");
        front.first += u64::from(items);
        front.items -= items;
        if front.items == 0 {
            self.queue.pop_front();
        }
    }

    /// A chunk of so many items has been sent to the worker, for which the flow is charged `time`.
    #[inline]
    pub(super) fn note_sent(&mut self, worker: WorkerId, items: u32, time: Nanos) {
        self.take_front(items);
        self.charge(time);
        self.in_flight += 1;
        self.may_pass = false;
        self.last_worker = Some(worker);
    }

    #[inline]
    pub(super) fn charge(&mut self, time: Nanos) {
        // Saturates: times are measured in memory that a worker can write.
        self.credit = self.credit.saturating_sub(i64::try_from(time).unwrap_or(i64::MAX));
    }

    /// Takes a charge back, or a part of it.
    #[inline]
    pub(super) fn refund(&mut self, time: Nanos) {
        self.credit = self.credit.saturating_add(i64::try_from(time).unwrap_or(i64::MAX));
    }
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    round: u64,
    /// Position within the round.
    order: i64,
    flow: FlowId,
    ticket: u32,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        // A `BinaryHeap` yields the largest first.
        (other.round, other.order).cmp(&(self.round, self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

/// The flows of one priority that have items for workers.
#[derive(Debug, Default)]
pub(super) struct Turns {
    current: Option<Turn>,
    waiting: BinaryHeap<Turn>,
    round: u64,
    first_order: i64,
    last_order: i64,
    /// Entries of flows of jobs that have ended.
    dead: usize,
}

impl Turns {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Whether more than one flow has items for workers.
    #[inline]
    pub(super) fn is_contended(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The current flow; the caller decides whether it may be sent.
    #[inline]
    pub(super) fn candidate(&mut self) -> Option<FlowId> {
        if self.current.is_none() {
            // Mostly none waits, and a look is shorter than a `pop`.
            if self.waiting.is_empty() {
                return None;
            }
            let turn = self.waiting.pop()?;
            self.round = self.round.max(turn.round);
            self.current = Some(turn);
        }
        self.current.map(|turn| turn.flow)
    }

    /// Whether the [candidate](Turns::candidate)'s place is the one that counts.
    #[inline]
    pub(super) fn is_valid(&self, flow: &Flow) -> bool {
        self.current.is_some_and(|turn| turn.ticket == flow.ticket)
    }

    /// Whether the [candidate](Turns::candidate) may be sent; else it stands behind the others.
    #[inline]
    pub(super) fn admits(&mut self, flow: &mut Flow) -> bool {
        // Quanta add up, so a flow that has credit can be given the next ones later.
        if flow.credit > 0 {
            return true;
        }
        flow.renew(self.round);
        let owed = flow.rounds_owed();
        if owed == 0 {
            return true;
        }
        if self.waiting.is_empty() {
            // Alone it need not wait for rounds to pass.
            // The rounds pass at once, since no other flow could use them.
            self.round += owed;
            flow.renew(self.round);
            return true;
        }
        if let Some(turn) = self.current.take() {
            self.push_back(self.round.saturating_add(owed), turn.flow, flow);
        }
        false
    }

    /// The candidate leaves.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.current = None;
    }

    /// The candidate's job has ended.
    pub(super) fn drop_dead(&mut self) {
        self.current = None;
        self.dead = self.dead.saturating_sub(1);
    }

    /// Takes in a flow that has items again. A map goes to the tail, behind all that have waited longer, or a stream of
    /// short maps would starve a long one. Calls go to the head if they have credit left from this round.
    #[inline]
    pub(super) fn enter(&mut self, id: FlowId, flow: &mut Flow) {
        flow.jumps = false;
        flow.standing = Standing::Waiting;
        flow.renew_idle(self.round);
        let owed = flow.rounds_owed();
        if self.is_empty() {
            self.current = Some(Turn { round: self.round, order: 0, flow: id, ticket: flow.ticket });
            flow.due = self.round;
            flow.jumps = owed == 0;
        } else if owed == 0 && matches!(id, FlowId::Calls(_)) {
            flow.jumps = true;
            // A caller waits for each call, while a map has others under way: so calls with credit go first.
            let turn = Turn { round: self.round, order: 0, flow: id, ticket: flow.ticket };
            flow.due = self.round;
            if let Some(current) = self.current.replace(turn) {
                // The interrupted flow goes on before all others that wait in this round.
                self.first_order -= 1;
                self.waiting.push(Turn { round: self.round, order: self.first_order, ..current });
            }
        } else {
            self.push_back(self.round.saturating_add(owed.max(1)), id, flow);
        }
    }

    /// A flow that waits was charged too much: its turn may come sooner.
    #[inline]
    pub(super) fn hasten(&mut self, id: FlowId, flow: &mut Flow) {
        // At the earliest in the next round: in this one others have waited longer.
        let due = self.round.saturating_add(flow.rounds_owed().max(1));
        // A heap has no way to move an entry, so the flow gets another place, and the old one does not count any more.
        if due < flow.due {
            flow.ticket = flow.ticket.wrapping_add(1);
            self.push_back(due, id, flow);
        }
    }

    #[inline]
    fn push_back(&mut self, round: u64, id: FlowId, flow: &mut Flow) {
        self.last_order += 1;
        flow.due = round;
        self.waiting.push(Turn { round, order: self.last_order, flow: id, ticket: flow.ticket });
    }

    /// Notes that the job of a waiting flow has ended. True if the dead are so many that they should be
    /// [swept](Turns::sweep).
    pub(super) fn note_dead(&mut self) -> bool {
        self.dead += 1;
        // A sweep is linear; with half of the entries dead it costs a constant for each.
        self.dead > self.waiting.len() / 2 + 3
    }

    pub(super) fn sweep(&mut self, is_alive: impl Fn(FlowId) -> bool) {
        self.waiting.retain(|turn| is_alive(turn.flow));
        self.current.take_if(|turn| !is_alive(turn.flow));
        self.dead = 0;
    }

    pub(super) fn clear(&mut self) {
        *self = Turns::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: FlowId = FlowId::Calls(Priority::Normal);
    const OTHER: FlowId = FlowId::Calls(Priority::Low);

    #[test]
    fn a_flow_that_is_alone_never_waits() {
        let (mut turns, mut flow) = (Turns::default(), Flow::default());
        turns.enter(CALLS, &mut flow);
        for _ in 0..100 {
            assert_eq!(turns.candidate(), Some(CALLS));
            assert!(turns.admits(&mut flow));
            flow.charge(1_000_000_000);
        }
    }

    #[test]
    fn an_overdraft_is_paid_back_in_rounds() {
        let (mut turns, mut long, mut short) = (Turns::default(), Flow::default(), Flow::default());
        turns.enter(CALLS, &mut long);
        turns.enter(OTHER, &mut short);
        let mut used = [0, 0];
        for _ in 0..1000 {
            let (flow, index, cost) = match turns.candidate() {
                Some(CALLS) => (&mut long, 0, 10 * QUANTUM_NS),
                _ => (&mut short, 1, QUANTUM_NS / 5),
            };
            if turns.admits(flow) {
                flow.charge(cost);
                used[index] += cost;
            }
            assert!(u64::abs_diff(used[0], used[1]) <= 12 * QUANTUM_NS, "{used:?}");
        }
        assert!(used[0] > 50 * QUANTUM_NS);
    }

    #[test]
    fn absurd_charges_are_survived() {
        let mut flow = Flow::default();
        flow.charge(Nanos::MAX);
        flow.charge(Nanos::MAX);
        flow.renew(u64::MAX);
        flow.refund(Nanos::MAX);
        assert_eq!(flow.rounds_owed(), 0);
    }
}

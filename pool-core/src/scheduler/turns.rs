//! Taking turns: which flow is next, how much it is charged, and how a flow that was alone gives way.

use std::collections::VecDeque;

use super::Scheduler;
use super::flow::{Flow, FlowId, Standing};
use super::interface::{JobId, JobSpec, Priority, WorkerId};
use super::job::JobEntry;
use super::slab::Slab;
use super::tuning::CONTENTION_NS;
use super::worker::{Range, SentChunk};
use crate::units::Nanos;

/// The flow, unless its job has ended.
#[inline]
fn find<'s, P>(calls: &'s mut [Flow; 3], jobs: &'s mut Slab<JobEntry<P>>, id: FlowId) -> Option<&'s mut Flow> {
    match id {
        FlowId::Calls(priority) => Some(&mut calls[priority as usize]),
        FlowId::Job(job) => jobs.get_mut(job).filter(|job| job.record.is_some())?.flow.as_deref_mut(),
    }
}

impl<P> Scheduler<P> {
    #[inline]
    pub(super) fn flow_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        find(&mut self.calls, &mut self.jobs, id)
    }

    /// The flow of a job that has not ended, and its priority.
    #[inline]
    pub(super) fn flow_of(&self, id: JobId) -> Option<(FlowId, Priority)> {
        let job = self.jobs.get(id)?;
        let priority = job.spec.priority;
        Some((if job.flow.is_some() { FlowId::Job(id) } else { FlowId::Calls(priority) }, priority))
    }

    /// A flow has got items for its queue, in front or behind.
    #[inline]
    pub(super) fn note_queued(&mut self, id: FlowId, priority: Priority) {
        let Some(flow) = find(&mut self.calls, &mut self.jobs, id) else { return };
        // A flow that takes part already keeps its place: more items are no reason for an earlier turn.
        if flow.standing == Standing::Idle {
            let own = flow.in_flight;
            self.turns[priority as usize].enter(id, flow);
            // Lower priorities hold workers, too, until they give way; higher ones are not asked to.
            let others: u32 = self.in_flight[..=priority as usize].iter().sum();
            if others > own || self.turns[priority as usize].is_contended() {
                self.note_contention(priority);
            }
        }
    }

    /// The flow to send from: the first of the highest priority that has any; the items at its front, and its last worker.
    #[inline]
    pub(super) fn next_flow(&mut self) -> Option<(FlowId, Range, Option<WorkerId>)> {
        // Asked anew after each flow that leaves, since the next may be of a higher priority.
        while let Some(priority) = self.turns.iter().rposition(|turns| !turns.is_empty()) {
            let turns = &mut self.turns[priority];
            let Some(id) = turns.candidate() else { continue };
            let Some(flow) = find(&mut self.calls, &mut self.jobs, id) else {
                turns.drop_dead();
                continue;
            };
            // It was given an earlier turn meanwhile, and this place does not count.
            if !turns.is_valid(flow) {
                turns.leave();
                continue;
            }
            let Some(&front) = flow.queue.front() else {
                // Only here, so that the last chunk's items may come back without losing the turn.
                flow.standing = Standing::Idle;
                turns.leave();
                if let FlowId::Job(job) = id {
                    self.leave_place(job);
                }
                continue;
            };
            if turns.is_contended() {
                self.contended_until = self.now.saturating_add(CONTENTION_NS);
            }
            // A flow in debt goes to its later round, and the next candidate is asked.
            if turns.admits(flow) {
                return Some((id, front, flow.last_worker));
            }
        }
        None
    }

    /// Whether several flows have been waiting lately, so that little may be ahead of a worker.
    #[inline]
    pub(super) fn is_contended(&self) -> bool {
        self.now < self.contended_until
    }

    /// A flow waits beside others. If these were alone until now they give way once. As long as they meet again and
    /// again, no further recall is needed: little is ahead of a worker anyway.
    #[cold]
    fn note_contention(&mut self, priority: Priority) {
        let was_contended = self.is_contended();
        self.contended_until = self.now.saturating_add(CONTENTION_NS);
        if !was_contended {
            self.give_way(priority);
        }
    }

    /// Corrects the charge of a chunk that took its worker so long.
    #[inline]
    pub(super) fn correct_charge(&mut self, sent: &SentChunk, elapsed: Nanos) {
        let Some(charged) = sent.charged else { return };
        // A worker's word is checked input: the chunk cannot have taken longer than it was out.
        let elapsed = elapsed.min(self.now.saturating_sub(sent.sent_at));
        if elapsed < charged {
            return self.refund(sent.range.job, charged - elapsed);
        }
        if let Some((id, _)) = self.flow_of(sent.range.job)
            && let Some(flow) = self.flow_mut(id)
        {
            // Not moved in the turns: a later place follows by itself when its next turn finds it in debt.
            flow.charge(elapsed - charged);
        }
    }

    /// Gives back a part of the worker time that the job's flow was charged.
    #[inline]
    pub(super) fn refund(&mut self, job: JobId, time: Nanos) {
        let Some((id, priority)) = self.flow_of(job) else { return };
        let Some(flow) = find(&mut self.calls, &mut self.jobs, id) else { return };
        flow.refund(time);
        // Only then it has a place among the turns that the refund could improve.
        if flow.standing == Standing::Waiting {
            self.turns[priority as usize].hasten(id, flow);
        }
    }

    /// The job has ended: its own flow takes no further part.
    pub(super) fn retire_flow(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let JobSpec { task, priority, max_concurrent, .. } = job.spec;
        let Some(flow) = &mut job.flow else { return };
        let standing = std::mem::take(&mut flow.standing);
        let queue = std::mem::take(&mut flow.queue);
        // Only calls have items that are cancelled one by one.
        self.stale -= queue.into_iter().map(|range| job.count_cancelled(range)).sum::<u64>();
        let turns = &mut self.turns[priority as usize];
        match standing {
            Standing::Idle => {}
            Standing::Waiting => {
                if turns.note_dead() {
                    turns.sweep(|flow| match flow {
                        // The flow of all calls has no job that could end.
                        FlowId::Calls(_) => true,
                        FlowId::Job(id) => self.jobs.get(id).is_some_and(|job| job.record.is_some()),
                    });
                }
                // The place that its turn would have taken is free for a parked flow of the task.
                if max_concurrent.is_some() {
                    self.unpark(task);
                }
            }
            Standing::Parked => {
                // Removed at once: a queue can do that, unlike the heap of the turns.
                let parked = &mut self.tasks[task as usize].parked[priority as usize];
                parked.retain(|flow| *flow != FlowId::Job(id));
            }
        }
    }

    /// A planted fault: all flows have a full quantum again.
    #[cfg(test)]
    pub(super) fn forget_charges(&mut self) {
        for id in self.jobs.ids() {
            if let Some(flow) = self.flow_mut(FlowId::Job(id)) {
                flow.refund(Nanos::MAX);
            }
        }
        self.calls.iter_mut().for_each(|flow| flow.refund(Nanos::MAX));
    }

    // ---- limits on how much of a task runs at once -----------------------------------------------------------------

    /// Whether as many items of the job's task run as the job allows beside it.
    #[inline]
    pub(super) fn is_at_limit(&self, range: Range) -> bool {
        let Some(spec) = self.jobs.get(range.job).map(|job| job.spec) else { return false };
        spec.max_concurrent.is_some_and(|most| self.tasks[spec.task as usize].occupied >= most)
    }

    /// Takes the current flow out of the turns until fewer items of its task run.
    #[cold]
    pub(super) fn park(&mut self, id: FlowId, task: u32, priority: Priority) {
        if let Some(flow) = self.flow_mut(id) {
            flow.standing = Standing::Parked;
        }
        self.turns[priority as usize].leave();
        self.tasks[task as usize].parked[priority as usize].push_back(id);
    }

    /// A place of the task is free: the parked flow of the highest priority that has waited longest takes part again.
    #[cold]
    pub(super) fn unpark(&mut self, task: u32) {
        let next = |parked: &mut [VecDeque<FlowId>; 3]| parked.iter_mut().rev().find_map(VecDeque::pop_front);
        while let Some(id) = next(&mut self.tasks[task as usize].parked) {
            let FlowId::Job(job) = id else { continue };
            let Some(priority) = self.jobs.get(job).map(|job| job.spec.priority) else { continue };
            let Some(flow) = find(&mut self.calls, &mut self.jobs, id) else { continue };
            // Its items may have been cancelled while it was parked; then the place goes to the next.
            flow.standing = Standing::Idle;
            if !flow.queue.is_empty() {
                // It may find room where the flows before it had found none, since its chunks differ.
                self.find_room();
                return self.note_queued(id, priority);
            }
        }
    }

    /// A flow has no more items for workers: if it might have sent another one, a parked flow of its task may.
    #[inline]
    fn leave_place(&mut self, id: JobId) {
        let Some(spec) = self.jobs.get(id).map(|job| job.spec) else { return };
        if spec.max_concurrent.is_some() {
            self.unpark(spec.task);
        }
    }

    /// A chunk that was sent occupies a place of its task no more.
    #[inline]
    pub(super) fn vacate_place(&mut self, task: u32) {
        let state = &mut self.tasks[task as usize];
        state.occupied = state.occupied.saturating_sub(1);
        if state.has_parked() {
            self.unpark(task);
        }
    }
}

//! Taking turns: which flow is next, how much it is charged, and how a flow that was alone gives way.

use super::Scheduler;
use super::flow::{Flow, FlowId, Standing};
use super::interface::{JobId, JobSpec, Priority, WorkerId};
use super::job::JobEntry;
use super::slab::Slab;
use super::task::TaskState;
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
                // Maps that fill their room leave that of calls.
                if matches!(id, FlowId::Calls(_)) {
                    self.find_room();
                }
            }
            // A map that has just begun leaves workers idle, and this flow may use them.
            if self.is_narrow {
                self.find_room();
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
                // Those behind it may allow more items than it did.
                self.unpark(task);
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

    /// Takes the current flow out of the turns until it may send an item, unless it may now.
    #[cold]
    pub(super) fn park_or_pass(&mut self, id: FlowId, spec: JobSpec) {
        let parked = &self.tasks[spec.task as usize].parked[spec.priority as usize..];
        // Without this, flows that allow many items would never let the number fall so low that one that allows few can
        // go. One that has items running is not held up, and holds up nobody.
        let is_held_up = |id: &FlowId| matches!(id, FlowId::Job(job) if self.chunks_of(*job) == 0);
        let stands_behind = parked.iter().flatten().any(is_held_up);
        let is_at_limit = spec.max_concurrent.is_some_and(|most| self.tasks[spec.task as usize].occupied >= most);
        let Some(flow) = self.flow_mut(id) else { return };
        if !is_at_limit && (flow.may_pass || !stands_behind) {
            flow.may_pass = true;
            return;
        }
        flow.standing = Standing::Parked;
        let keeps_turn = flow.may_pass;
        self.turns[spec.priority as usize].leave();
        let parked = &mut self.tasks[spec.task as usize].parked[spec.priority as usize];
        if keeps_turn {
            parked.push_front(id);
        } else {
            parked.push_back(id);
        }
        // One that has waited longer may allow more items than this one.
        self.unpark(spec.task);
    }

    /// Chunks of the job with workers.
    fn chunks_of(&self, id: JobId) -> u32 {
        self.jobs.get(id).map_or(0, |job| job.in_flight)
    }

    /// Fewer items of the task run, or a flow has been parked or is gone: the parked flow of the highest priority that has
    /// waited longest takes part again, if it allows one more item. If it does not and has none running, those behind it
    /// wait for it.
    #[cold]
    pub(super) fn unpark(&mut self, task: u32) {
        let mut from = (Priority::High as usize, 0);
        loop {
            let TaskState { parked, occupied, .. } = &mut self.tasks[task as usize];
            let (priority, at) = from;
            let Some(&FlowId::Job(id)) = parked[priority].get(at) else {
                if priority == 0 {
                    return;
                }
                from = (priority - 1, 0);
                continue;
            };
            let job = self.jobs.get_mut(id).filter(|job| job.record.is_some());
            let Some((flow, spec)) = job.and_then(|job| Some((job.flow.as_deref_mut()?, job.spec))) else {
                parked[priority].remove(at);
                continue;
            };
            let allows_more = spec.max_concurrent.is_none_or(|most| *occupied < most);
            // Its items may have been cancelled while it was parked; then the place goes to the next.
            let has_items = !flow.queue.is_empty();
            if has_items && !allows_more {
                if flow.in_flight == 0 {
                    return;
                }
                from = (priority, at + 1);
                continue;
            }
            parked[priority].remove(at);
            flow.standing = Standing::Idle;
            if has_items {
                flow.may_pass = true;
                // It may find room where the flows before it had found none, since its chunks differ.
                self.find_room();
                return self.note_queued(FlowId::Job(id), spec.priority);
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

    /// A chunk of the job has no items left with its worker: it takes part in nothing more, though it may stay in flight until
    /// its worker has passed it.
    #[inline]
    pub(super) fn release_chunk(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let (task, priority) = (job.spec.task, job.spec.priority);
        // Calls without a limit have no flow of their own.
        let flow = job.flow.as_deref_mut().unwrap_or(&mut self.calls[priority as usize]);
        flow.in_flight -= 1;
        self.in_flight[priority as usize] -= 1;
        let state = &mut self.tasks[task as usize];
        state.occupied = state.occupied.saturating_sub(1);
        if state.has_parked() {
            self.unpark(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::interface::{Action, SchedulerConfig, Seq, WorkerId};
    use super::*;

    /// Runs two maps of one task, which allow so many items at once, on four workers. Items end one after the other, the
    /// oldest first. Returns how many items of each were begun, and how many of both ran at once at most.
    fn begun_beside(limits: [u32; 2], priorities: [Priority; 2]) -> ([u64; 2], usize) {
        let config = SchedulerConfig::of(4);
        let mut scheduler: Scheduler<()> = Scheduler::new(config, 1);
        while scheduler.next_action().is_some() {}
        for worker in scheduler.workers.ids() {
            scheduler.launched(worker);
            scheduler.ready(worker);
        }
        let jobs = [0, 1].map(|at| {
            let spec = JobSpec { chunk_size: Some(1), max_concurrent: Some(limits[at]), ..JobSpec::default() };
            let job = scheduler.submit(JobSpec { priority: priorities[at], ..spec }, |_| ());
            scheduler.add_items(job, 0, 1000);
            job
        });
        let (mut begun, mut running, mut most) = ([0, 0], VecDeque::<(WorkerId, Seq)>::new(), 0);
        for round in 1..500 {
            while let Some(action) = scheduler.next_action() {
                if let Action::Send { worker, seq, job, .. } = action {
                    begun[usize::from(job == jobs[1])] += 1;
                    running.push_back((worker, seq));
                }
            }
            most = most.max(running.len());
            scheduler.set_now(round * 1_000_000);
            let (worker, seq) = running.pop_front().expect("the task has places, and items");
            scheduler.replied(worker, seq, 1, true, 1_000_000);
        }
        (begun, most)
    }

    #[test]
    fn a_flow_that_allows_few_items_gets_its_turn_beside_one_that_allows_many() {
        use Priority::{High, Normal};
        for limits in [[2, 1], [1, 2], [3, 1], [100, 1]] {
            let (begun, most) = begun_beside(limits, [Normal; 2]);
            assert!(begun.iter().all(|items| *items >= 50), "{limits:?}: {begun:?}");
            assert!(limits == [100, 1] || most == limits[0].max(limits[1]) as usize, "{limits:?}: {most}");
        }
        let (begun, _) = begun_beside([4, 1], [Normal, High]);
        assert!(begun[1] >= 50, "{begun:?}");
    }
}

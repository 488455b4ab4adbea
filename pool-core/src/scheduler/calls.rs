//! Calls: items that have nothing to do with each other, and travel together only to save hand-overs.
//!
//! No call may suffer from its neighbours, so a chunk of them is claimed, run and answered item by item.

use super::dispatch::SILENCE;
use super::{Action, Begun, Doom, Job, JobId, Phase, Range, Scheduler, Sent, State, Terms, Verdict, WorkerId};

/// Calls in one chunk: as many as a worker claims one by one, so that none that has not begun is lost to the others.
pub(crate) const CALLS_MAX: u32 = 31;

/// Chunks that a worker has before it if it can spare what is submitted until that makes a chunk, too.
const DEPTH_ENOUGH: usize = 2;

impl<P> Scheduler<P> {
    /// A job of one call, its item 0, which others may [join](Scheduler::join). The pool must be open.
    #[inline]
    pub(crate) fn call(&mut self, terms: Terms, payload: impl FnOnce(JobId) -> P) -> JobId {
        debug_assert_eq!(self.state, State::Open);
        let id = self.jobs.insert(|id| Job { open: false, ..Job::new(as_calls(terms), payload(id)) });
        self.join(id, false);
        id
    }

    /// The number of a further call, if the job is of calls under these terms and not done.
    #[inline]
    pub(crate) fn next_call(&self, id: JobId, terms: Terms) -> Option<u64> {
        let job = self.jobs.get(id).filter(|job| job.payload.is_some() && job.terms == as_calls(terms))?;
        Some(job.end)
    }

    /// The [next call](Scheduler::next_call) of the job is there; `beside` the one before, so that one chunk can hold
    /// both.
    #[inline]
    pub(crate) fn join(&mut self, id: JobId, beside: bool) {
        let job = self.jobs.get_mut(id).expect("it takes another call");
        let item = job.end;
        job.end += 1;
        job.unsettled += 1;
        job.queued += 1;
        self.unsettled += 1;
        match self.queue.back_mut() {
            Some(last) if beside && last.job == id && last.end() == item => last.items += 1,
            _ => self.queue.push_back(Range { job: id, first: item, items: 1 }),
        }
        if self.can_wait(id) {
            // Whoever takes replies in next hands it out, or who looks at the clock.
            self.wake_by(self.now.saturating_add(SILENCE));
        } else {
            self.dispatch();
        }
    }

    /// Whether the newest calls of the job may wait for more to make a chunk: they are short, and no worker needs them
    /// now.
    #[inline]
    fn can_wait(&self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(id) else { return false };
        !job.terms.urgent
            && job.queued < u64::from(CALLS_MAX)
            && self.paces[job.terms.task as usize].is_short(CALLS_MAX)
            && self.workers.iter().all(|slot| slot.in_flight.len() >= DEPTH_ENOUGH || slot.phase == Phase::Vacant)
    }

    /// Ends one call, which must not have ended: if it waits it is dropped, if it was sent and has not begun it is taken
    /// back, if it runs its worker is killed. False if the job had ended.
    pub(crate) fn cancel_call(&mut self, id: JobId, item: u64) -> bool {
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.payload.is_some()) else { return false };
        if job.unsettled == 1 {
            return self.cancel(id, true);
        }
        self.actions.push_back(Action::Fail { worker: None, job: id, item, verdict: Verdict::Cancelled });
        if !self.drop_waiting(id, item) {
            self.strike(id, item);
        }
        true
    }

    /// Drops the item if no worker has it.
    fn drop_waiting(&mut self, id: JobId, item: u64) -> bool {
        let holds = |range: &Range| range.job == id && range.holds(item);
        if let Some(at) = self.queue.iter().position(holds) {
            self.jobs.get_mut(id).expect("its item waits").queued -= 1;
            let (before, after) = self.queue[at].without(item);
            self.queue[at] = before;
            if after.items > 0 {
                self.queue.insert(at + 1, after);
            }
            if before.items == 0 {
                self.queue.remove(at);
            }
            return true;
        }
        let mut resting = self.retries.values_mut();
        let found = resting.find_map(|ranges| Some((ranges.iter().position(holds)?, ranges)));
        found.map(|(at, ranges)| ranges.swap_remove(at)).is_some()
    }

    /// A worker has the item: nothing may come of it.
    fn strike(&mut self, id: JobId, item: u64) {
        let holds = |sent: &&mut Sent| sent.range.job == id && sent.range.holds(item);
        let mut workers = self.workers.iter_mut().enumerate();
        let found = workers.find_map(|(worker, slot)| Some((worker, slot.in_flight.iter_mut().find(holds)?)));
        let Some((worker, sent)) = found else { return };
        self.jobs.get_mut(id).expect("its item was sent").records.entry(item).or_default().struck = true;
        sent.ask_back();
        let (seq, items) = (sent.seq, sent.range.items);
        self.actions.push_back(Action::Recall { worker, seq, items, half: false });
        self.actions.push_back(Action::Probe { worker });
    }

    /// Kills the worker if the item that it runs is struck. One that it has claimed and not begun is looked at again.
    pub(super) fn probe_struck(&mut self, worker: WorkerId, begun: Option<Begun>) {
        let Some(sent) = self.workers[worker].in_flight.front().filter(|_| self.is_at_struck(worker)) else { return };
        let is_struck = |begun: &Begun| {
            let item = sent.range.first + u64::from(begun.item);
            begun.is_in(sent) && self.jobs.get(sent.range.job).is_some_and(|job| job.has_struck(item))
        };
        if let Some(begun) = begun.filter(is_struck) {
            self.doom(worker, Doom::Struck { begun });
        } else {
            let at = self.now.saturating_add(SILENCE);
            self.look_again(worker, self.workers[worker].deadline.map_or(at, |deadline| deadline.min(at)));
        }
    }

    /// Whether the chunk that the worker is at has struck items.
    #[inline]
    pub(super) fn is_at_struck(&self, worker: WorkerId) -> bool {
        let Some(sent) = self.workers[worker].in_flight.front() else { return false };
        let job = self.jobs.get(sent.range.job);
        job.is_some_and(|job| job.last_struck(sent.next_item()..sent.range.end()).is_some())
    }
}

/// How large a chunk is to be is a matter of maps.
fn as_calls(terms: Terms) -> Terms {
    Terms { calls: true, chunk_size: None, ..terms }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    /// Two workers, ready, and that an item of the only task takes so long.
    fn scheduler(item: u64) -> Scheduler<()> {
        let config = Config {
            workers: 2,
            max_tasks_per_worker: None,
            restart_limit: 3,
            idle_timeout: None,
            has_initializer: false,
            initializer_timeout: None,
        };
        let mut scheduler = Scheduler::new(config, 1);
        for worker in 0..2 {
            scheduler.launched(worker);
            scheduler.ready(worker);
        }
        scheduler.call(Terms::default(), |_| ());
        scheduler.replied(0, 0, 1, true, item);
        while scheduler.next_action().is_some() {}
        scheduler
    }

    /// Submits so many calls, and tells how many each chunk has that is sent meanwhile.
    fn sent(scheduler: &mut Scheduler<()>, calls: u32) -> Vec<u32> {
        let id = scheduler.call(Terms::default(), |_| ());
        (1..calls).for_each(|_| scheduler.join(id, true));
        let actions = std::iter::from_fn(|| scheduler.next_action());
        let items = |action| if let Action::Send { items, .. } = action { Some(items) } else { None };
        actions.filter_map(items).collect()
    }

    #[test]
    fn short_calls_go_as_many_at_a_time_as_can() {
        let mut scheduler = scheduler(100);
        assert_eq!(sent(&mut scheduler, 4 + 3 * CALLS_MAX + 5), [1, 1, 1, 1, CALLS_MAX, CALLS_MAX, CALLS_MAX]);
    }

    #[test]
    fn long_calls_go_one_by_one_to_whoever_has_room() {
        assert_eq!(sent(&mut scheduler(1_000_000), 100), [1, 1, 1, 1]);
    }
}

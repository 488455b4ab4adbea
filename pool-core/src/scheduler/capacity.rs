//! Which worker has room: how much may be before one, and the one with the least.

use super::Scheduler;
use super::interface::{JobSpec, WorkerId};
use super::pace::Pace;
use super::tuning::{CONTENDED_AHEAD_NS, CONTENDED_MAP_AHEAD_NS};
use super::worker::{Phase, WorkerState};
use crate::units::Nanos;

/// How much a worker may have before it to be sent more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Capacity {
    /// Fewer chunks than this.
    Chunks(usize),
    /// Less work than this.
    Time(Nanos),
}

impl Capacity {
    /// Capacity of workers that no other flow waits for.
    #[inline]
    pub(super) fn alone(pace: Pace, items: u32, spec: &JobSpec) -> Self {
        Capacity::Chunks(pace.depth(items, spec.bulk))
    }

    /// Capacity of workers that other flows wait for. Maps leave room for a call.
    #[inline]
    pub(super) fn contended(spec: &JobSpec) -> Self {
        Capacity::Time(if spec.calls { CONTENDED_AHEAD_NS } else { CONTENDED_MAP_AHEAD_NS })
    }
}

impl<P> Scheduler<P> {
    /// All workers may have room again.
    #[inline]
    pub(super) fn find_room(&mut self) {
        self.full = false;
        self.is_narrow = false;
        self.freed = None;
    }

    /// This worker may have room again.
    #[inline]
    pub(super) fn note_room(&mut self, worker: WorkerId) {
        if self.is_narrow {
            // A pace may be known now, by which more workers are worth waking.
            self.find_room();
        } else if self.full {
            self.full = false;
            self.freed = Some(worker);
        // A second worker has room, so all are to be looked at.
        } else if self.freed != Some(worker) {
            self.freed = None;
        }
    }

    #[inline]
    fn worker_is_idle(&self, worker: WorkerId) -> bool {
        let state = &self.workers[worker];
        state.in_flight.is_empty() && state.phase == Phase::Ready && self.takes_items(worker)
    }

    /// The first worker that is ready and has nothing to do.
    #[inline]
    pub(super) fn first_idle(&mut self) -> Option<WorkerId> {
        while let Some(worker) = self.idle.first() {
            if self.worker_is_idle(worker) {
                return Some(worker);
            }
            // Removed here and not by each event that ends its idleness: these are many, and one would be forgotten.
            self.idle.remove(worker);
        }
        None
    }

    /// The worker with the least before it, if that is within the capacity. A ready one comes before a starting one, the
    /// preferred one before other idle ones, and the first of equals before the others, since its caches are warm and it may
    /// still be awake.
    #[inline]
    pub(super) fn roomiest(&mut self, capacity: Capacity, preferred: Option<WorkerId>) -> Option<WorkerId> {
        if let Some(worker) = preferred
            // The flow remembers a number; the pool may have shrunk since.
            && worker.index() < self.config.workers
            && self.worker_is_idle(worker)
        {
            return Some(worker);
        }
        if let Some(worker) = self.freed {
            // The others had no room when they were looked at last, and a reply of any of them would have said so.
            return Some(worker).filter(|worker| self.load(*worker, capacity).is_some());
        }
        if let Some(worker) = self.first_idle() {
            return Some(worker);
        }
        // None is idle, so the one that is done first.
        let mut best = None;
        for worker in self.workers.ids() {
            let Some(load) = self.load(worker, capacity) else { continue };
            if best.is_none_or(|(least, _)| load < least) {
                best = Some((load, worker));
            }
        }
        best.map(|(_, worker)| worker)
    }

    /// The ready workers that have something to do.
    #[inline]
    pub(super) fn awake(&self) -> impl Iterator<Item = WorkerId> {
        // Workers that had some may still be among the busy ones.
        let is_awake = |state: &WorkerState| state.phase == Phase::Ready && !state.in_flight.is_empty();
        self.busy.iter().filter(move |worker| is_awake(&self.workers[*worker]))
    }

    /// The worker for a map that has just begun: an idle one if one `may_wake`, else one that works, since that one is awake.
    /// As long as no pace is known the next item may take hours, so none is put behind another.
    pub(super) fn roomiest_of_few(&mut self, capacity: Capacity, may_wake: bool, is_known: bool) -> Option<WorkerId> {
        if let Some(worker) = self.first_idle().filter(|_| may_wake) {
            return Some(worker);
        }
        // Asked of few: a look at all workers would cost more than the chunk.
        let loads = |worker| self.load(worker, capacity).map(|load| (load, worker));
        let awake = self.awake().filter(|_| is_known).filter_map(loads).min();
        // Starting ones only as long as none is ready: that one may have done all before they are.
        let may_start = may_wake && self.first_ready_at == Nanos::MAX;
        let starting = || self.workers.ids().filter(|_| may_start).filter_map(loads).min();
        awake.or_else(starting).map(|(_, worker)| worker)
    }

    /// How much is before the worker, if that is within the capacity.
    #[inline]
    fn load(&self, worker: WorkerId, capacity: Capacity) -> Option<u64> {
        if !self.takes_items(worker) {
            return None;
        }
        let state = &self.workers[worker];
        let is_starting = state.phase == Phase::Starting;
        match capacity {
            _ if state.in_flight.is_empty() => Some(u64::from(is_starting)),
            Capacity::Chunks(depth) if state.in_flight.len() < depth => {
                // Doubled, so that the phase decides between workers with equally many chunks, and only between these.
                Some(2 * state.in_flight.len() as u64 + u64::from(is_starting))
            }
            // Above the loads of workers without chunks, 0 and 1.
            Capacity::Time(most) if state.ahead < most => Some(2 + state.ahead),
            _ => None,
        }
    }
}

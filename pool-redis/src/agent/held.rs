//! The deliveries that an agent holds, and its part of the lease protocol. Pure: nothing is sent, and nothing is run.

use std::collections::BTreeMap;

use crate::protocol::Delivery;

/// The deliveries that an agent runs, is about to run, or has an outcome of that the server has not taken; `T` is kept with each.
#[derive(Debug)]
pub(crate) struct Held<T> {
    deliveries: BTreeMap<Delivery, (Phase, T)>,
    is_draining: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Runs,
    Ran,
}

impl<T> Held<T> {
    pub(crate) fn new() -> Self {
        Held { deliveries: BTreeMap::new(), is_draining: false }
    }

    /// The number of jobs that the agent may take now, if so many may run at once.
    pub(crate) fn room(&self, capacity: usize) -> usize {
        if self.is_draining { 0 } else { capacity.saturating_sub(self.running()) }
    }

    /// No more is taken.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// The agent has the body of the delivery. False if it is held already, since its element was queued twice: it must not run
    /// again.
    pub(crate) fn hold(&mut self, delivery: Delivery, with: T) -> bool {
        let is_new = !self.deliveries.contains_key(&delivery);
        if is_new {
            self.deliveries.insert(delivery, (Phase::Runs, with));
        }
        is_new
    }

    /// The deliveries, to renew their leases.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.keys().copied().collect()
    }

    /// The delivery has an outcome. False if it is held no longer: then its outcome is nobody's.
    pub(crate) fn ran(&mut self, delivery: Delivery) -> bool {
        let entry = self.deliveries.get_mut(&delivery);
        entry.map(|(phase, _)| *phase = Phase::Ran).is_some()
    }

    /// The delivery is held no longer: the server has answered to its outcome.
    pub(crate) fn remove(&mut self, delivery: Delivery) -> Option<T> {
        self.deliveries.remove(&delivery).map(|(_, with)| with)
    }

    /// The job is the agent's no longer. None if the delivery is not held, or has an outcome: the server says what counts when that is
    /// handed in, and has often taken it already.
    pub(crate) fn lose(&mut self, delivery: Delivery) -> Option<T> {
        let runs = self.deliveries.get(&delivery).is_some_and(|(phase, _)| *phase == Phase::Runs);
        if runs { self.remove(delivery) } else { None }
    }

    /// The values that are kept with them.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.deliveries.values().map(|(_, with)| with)
    }

    /// The number of deliveries that run.
    pub(crate) fn running(&self) -> usize {
        self.deliveries.values().filter(|(phase, _)| *phase == Phase::Runs).count()
    }

    /// None is held any longer.
    pub(crate) fn remove_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.deliveries).into_values().map(|(_, with)| with).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{JobNumber, SessionId};

    /// A renewal that was sent before the outcome may be answered after it, when the server has forgotten the job.
    #[test]
    fn a_delivery_with_an_outcome_is_not_lost() {
        let delivery = |job| Delivery { session: SessionId(1), job: JobNumber(job), count: 1 };
        let mut held = Held::new();
        assert!(held.hold(delivery(1), 'a') && held.hold(delivery(2), 'b'));
        assert!(held.ran(delivery(1)));
        assert_eq!(held.lose(delivery(1)), None);
        assert_eq!(held.lose(delivery(2)), Some('b'));
        assert_eq!(held.remove(delivery(1)), Some('a'));
        assert!(held.is_empty());
    }
}

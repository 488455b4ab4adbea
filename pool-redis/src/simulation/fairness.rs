//! Watches that jobs leave the queues by priority, and that clients share each queue evenly.

use std::collections::{BTreeMap, BTreeSet};

use super::server::{Queued, Server};
use crate::protocol::{Delivery, JobNumber, SessionId};

/// Jobs that others may have taken before a session that waits gets one of its own.
const PASSED_MAX: u32 = 1;

/// The queue of a job, by number: those of one priority are two in a row, and the highest is the first.
type QueueNumber = u32;

/// The watch.
#[derive(Debug, Default)]
pub(super) struct Fairness {
    /// How often a session that waits in a queue was passed by another since it got a job.
    passed: BTreeMap<(QueueNumber, SessionId, SessionId), u32>,
    /// Turns that a session has given away, by cancelling jobs.
    cancelled: BTreeMap<(QueueNumber, SessionId), u32>,
    /// Deliveries that were popped. One that is queued again comes first.
    popped: BTreeSet<Delivery>,
    /// Jobs that may have been queued again without that, as their queue was lost.
    requeued: BTreeSet<(SessionId, JobNumber)>,
}

impl Fairness {
    /// The server has started again, perhaps with other data.
    pub(super) fn restart(&mut self) {
        self.passed.clear();
    }

    /// The session has cancelled a job.
    pub(super) fn note_cancelled(&mut self, session: SessionId, queue: QueueNumber) {
        *self.cancelled.entry((queue, session)).or_default() += 1;
    }

    /// The session has this job queued again, if no queue has it.
    pub(super) fn note_requeued(&mut self, session: SessionId, job: JobNumber) {
        self.requeued.insert((session, job));
    }

    /// An agent with all tasks has popped these; `server` is as before that.
    pub(super) fn check_pop(&mut self, server: &Server, popped: &[Queued]) {
        let Some(queue) =
            (0..6).find(|queue| popped.first().is_some_and(|first| server.queued(*queue).contains(first)))
        else {
            return;
        };
        let priority = queue / 2;
        assert!((0..2 * priority).all(|higher| server.queued(higher).is_empty()), "a job of a higher priority waits");
        let mut waiting = server.queued(queue);
        for queued in popped {
            waiting.retain(|other| other != queued);
            let (delivery, _) = queued;
            let taker = delivery.session;
            self.passed.retain(|(at, passed, _), _| (*at, *passed) != (queue, taker));
            // It has waited for its turn once.
            let is_again = self.requeued.contains(&(taker, delivery.job)) || delivery.count > 1;
            if !self.popped.insert(*delivery) || is_again {
                continue;
            }
            let others: BTreeSet<_> =
                waiting.iter().map(|(delivery, _)| delivery.session).filter(|other| *other != taker).collect();
            self.passed.retain(|(at, passed, _), _| *at != queue || others.contains(passed));
            for other in others {
                let passed = self.passed.entry((queue, other, taker)).or_default();
                *passed += 1;
                let most = PASSED_MAX + self.cancelled.get(&(queue, other)).copied().unwrap_or(0);
                assert!(*passed <= most, "{other} waits in queue {queue} while {taker} gets {passed} jobs");
            }
        }
    }
}

//! An agent of the simulation: the pure part of the real one, and loops like those of its threads.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Plant;
use super::world::{Actor, Alarm, Answer, Command, LEASE, Outside};
use crate::agent::held::Held;
use crate::protocol::{AgentId, Delivery};

/// The time after which the server hears of a delivery that was taken with its body.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Agent {
    me: Actor,
    id: AgentId,
    held: Held<()>,
    capacity: usize,
    polls: u32,
    /// Deliveries that it runs, beside the books of `held`.
    running: BTreeSet<Delivery>,
    /// Deliveries that the server has refused to renew.
    lost: BTreeSet<Delivery>,
    pub(super) is_dead: bool,
}

impl Agent {
    pub(super) fn new(index: usize, outside: &mut Outside) -> Agent {
        let me = Actor::Agent(index);
        for alarm in [Alarm::Renew, Alarm::Poll, Alarm::Orders] {
            let at = outside.rng.ms(1_000);
            outside.alarm(at, me, alarm);
        }
        let capacity = 1 + outside.rng.below(3) as usize;
        Agent {
            me,
            id: AgentId(index as u64),
            held: Held::new(),
            capacity,
            polls: 0,
            running: BTreeSet::new(),
            lost: BTreeSet::new(),
            is_dead: false,
        }
    }

    pub(super) fn id(&self) -> AgentId {
        self.id
    }

    pub(super) fn alarm(&mut self, alarm: Alarm, outside: &mut Outside) {
        let agent = self.id;
        match alarm {
            Alarm::Poll if self.held.room(self.capacity) > 0 => {
                let count = self.held.room(self.capacity);
                // As the real one: of each priority the task that was second is first.
                self.polls += 1;
                let first = self.polls % 2;
                let mut queues: Vec<_> =
                    (0..3).flat_map(|priority| [first, 1 - first].map(|task| 2 * priority + task)).collect();
                if outside.plant == Some(Plant::IgnoresPriority) {
                    queues.reverse();
                }
                outside.send(self.me, Command::Pop { queues, count });
            }
            Alarm::Poll => self.poll_again(outside),
            Alarm::Renew => {
                self.renew(outside);
                outside.alarm(LEASE / 4, self.me, Alarm::Renew);
            }
            Alarm::Look => self.renew(outside),
            Alarm::Orders => outside.send(self.me, Command::TakeOrders(agent)),
            Alarm::Ran(delivery, body) => {
                // An item that was stopped has no outcome.
                if self.held.ran(delivery) {
                    assert!(!self.lost.contains(&delivery), "{delivery:?} went on after it was lost");
                    outside.send(self.me, Command::Finish { agent, delivery, outcome: body + 1 });
                }
            }
            _ => unreachable!("{alarm:?} is none of an agent"),
        }
    }

    fn renew(&self, outside: &mut Outside) {
        let (agent, deliveries) = (self.id, self.held.deliveries());
        outside.send(self.me, Command::Renew { agent, deliveries });
    }

    fn poll_again(&self, outside: &mut Outside) {
        let wait = outside.rng.ms(400);
        outside.alarm(wait, self.me, Alarm::Poll);
    }

    pub(super) fn answered(&mut self, command: Command, answer: Option<Answer>, outside: &mut Outside) {
        match (command, answer) {
            (Command::Pop { .. }, Some(Answer::Popped(deliveries))) if !deliveries.is_empty() => {
                let (mut bare, mut is_unclaimed) = (Vec::new(), false);
                for (delivery, body) in deliveries {
                    match body {
                        Some(body) => {
                            self.hold(delivery, body, outside);
                            is_unclaimed = true;
                        }
                        None => bare.push(delivery),
                    }
                }
                if is_unclaimed {
                    outside.alarm(LOOK_EVERY, self.me, Alarm::Look);
                }
                if bare.is_empty() {
                    self.poll_again(outside);
                } else {
                    outside.send(self.me, Command::Claim { agent: self.id, deliveries: bare });
                }
            }
            (Command::Pop { .. }, _) => self.poll_again(outside),
            (Command::Claim { deliveries, .. }, Some(Answer::Claimed(bodies))) => {
                for (delivery, body) in deliveries.into_iter().zip(bodies) {
                    if let Some(body) = body {
                        self.hold(delivery, body, outside);
                    }
                }
                self.poll_again(outside);
            }
            (Command::Renew { deliveries, .. }, Some(Answer::Renewed(renewed))) => {
                for (delivery, is_held) in deliveries.into_iter().zip(renewed) {
                    if !is_held {
                        self.lost.insert(delivery);
                        if outside.plant != Some(Plant::RunsLost) {
                            self.lose(delivery);
                        }
                    }
                }
            }
            (Command::Renew { .. }, None) => {}
            (Command::TakeOrders(_), answer) => {
                if let Some(Answer::Orders(orders)) = answer {
                    orders.into_iter().for_each(|delivery| self.lose(delivery));
                }
                let wait = outside.rng.ms(500);
                outside.alarm(wait, self.me, Alarm::Orders);
            }
            (Command::Finish { delivery, .. }, Some(_)) => self.stop(delivery),
            // The same once more: the server may or may not have heard it.
            (command @ (Command::Claim { .. } | Command::Finish { .. }), None) => outside.send(self.me, command),
            (command, answer) => unreachable!("{answer:?} to {command:?} of an agent"),
        }
    }

    fn hold(&mut self, delivery: Delivery, body: u64, outside: &mut Outside) {
        if self.held.hold(delivery, ()) || outside.plant == Some(Plant::RunsTwice) {
            assert!(self.running.insert(delivery), "{delivery:?} runs twice");
            self.lost.remove(&delivery);
            let most = if outside.has_faults() && outside.rng.permille(100) { 12_000 } else { 300 };
            let time = outside.rng.ms(most);
            outside.alarm(time, self.me, Alarm::Ran(delivery, body));
        }
    }

    fn lose(&mut self, delivery: Delivery) {
        if self.held.lose(delivery).is_some() {
            self.running.remove(&delivery);
        }
    }

    fn stop(&mut self, delivery: Delivery) {
        self.held.remove(delivery);
        self.running.remove(&delivery);
    }

    pub(super) fn check_end(&self) {
        if !self.is_dead {
            assert!(self.running.is_empty() && self.held.is_empty(), "{:?} still runs {:?}", self.me, self.running);
        }
    }
}

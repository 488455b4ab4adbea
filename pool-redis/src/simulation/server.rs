//! The server as the scripts in `scripts/` make it, in memory and with a clock that is given. `scripts.rs` compares both.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::protocol::{AgentId, Delivery, JobNumber, Question, SessionId, Standing, Submitted, Tended};

/// Faults of a server that the checks must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerPlant {
    /// An outcome is taken from any agent.
    FinishesForAnyone,
    /// An outcome is taken for a job that has one.
    FinishesTwice,
    /// A lease has no end.
    LeasesForever,
    /// An element that was popped and not claimed is gone for good.
    ForgetsPopped,
    /// A renewal is granted to anyone.
    RenewsForAnyone,
    /// Jobs are given out in the order in which they came.
    ServesInOrder,
}

/// An element of a queue: a delivery, with its body if that is small.
pub(crate) type Queued = (Delivery, Option<u64>);

/// Larger bodies do not travel in the queue.
pub(crate) const QUEUED_BODY_MAX: u64 = 30;

/// Deliveries by their turns, and as texts, by which Redis orders those of one turn.
type Queue = BTreeMap<(u64, String), Queued>;

fn text((delivery, body): &Queued) -> String {
    body.map_or_else(|| delivery.to_string(), |body| format!("{delivery} {body}"))
}

/// The books of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    sessions: BTreeMap<SessionId, Session>,
    replies: BTreeMap<SessionId, (Duration, VecDeque<(JobNumber, u64)>)>,
    /// With the moment at which the key expires.
    queues: BTreeMap<u32, (Duration, Queue)>,
    agents: BTreeMap<AgentId, Duration>,
    orders: BTreeMap<AgentId, (Duration, Vec<Delivery>)>,
    plant: Option<ServerPlant>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    expires_at: Duration,
    life: Duration,
    jobs: BTreeMap<JobNumber, Record>,
    /// The last turn in each queue.
    turns: BTreeMap<u32, u64>,
}

#[derive(Clone, Debug)]
struct Record {
    count: u32,
    owner: Option<AgentId>,
    till: Duration,
    body: u64,
}

impl Record {
    fn is_of(&self, agent: AgentId, delivery: Delivery) -> bool {
        self.count == delivery.count && self.owner.is_none_or(|owner| owner == agent)
    }
}

impl Server {
    /// One without data.
    pub(crate) fn new(plant: Option<ServerPlant>) -> Server {
        Server { plant, ..Server::default() }
    }

    pub(crate) fn plant(&self) -> Option<ServerPlant> {
        self.plant
    }

    /// Drops the keys that have expired.
    pub(crate) fn expire(&mut self, now: Duration) {
        self.sessions.retain(|_, session| session.expires_at > now);
        self.replies.retain(|_, (at, replies)| *at > now && !replies.is_empty());
        self.queues.retain(|_, (at, queue)| *at > now && !queue.is_empty());
        self.orders.retain(|_, (at, orders)| *at > now && !orders.is_empty());
        self.agents.retain(|_, at| *at > now);
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Server { sessions, replies, queues, agents, orders, .. } = self;
        sessions.is_empty() && replies.is_empty() && queues.is_empty() && agents.is_empty() && orders.is_empty()
    }

    pub(crate) fn submit(
        &mut self,
        now: Duration,
        (session, job): (SessionId, JobNumber),
        queue: u32,
        body: u64,
        life: Duration,
        jobs_max: usize,
    ) -> Submitted {
        self.expire(now);
        if self.sessions.get(&session).is_some_and(|session| session.jobs.contains_key(&job)) {
            return Submitted::Known;
        }
        if self.queues.get(&queue).is_some_and(|(_, queue)| queue.len() >= jobs_max) {
            return Submitted::Full;
        }
        let entry = self.sessions.entry(session).or_default();
        (entry.life, entry.expires_at) = (life, now + life);
        entry.jobs.insert(job, Record { count: 1, owner: None, till: Duration::ZERO, body });
        let after = entry.turns.get(&queue).map_or(1, |turn| turn + 1);
        let turn_at = |end: Option<(&(u64, String), &Queued)>| end.map(|((turn, _), _)| *turn);
        let ends = self.queues.get(&queue).map(|(_, queue)| (queue.first_key_value(), queue.last_key_value()));
        let turn = match ends.map(|(front, back)| (turn_at(front), turn_at(back))) {
            Some((Some(_), Some(back))) if self.plant == Some(ServerPlant::ServesInOrder) => back + 1,
            Some((Some(front), Some(back))) => front.max(after.min(back + 1)),
            _ => now.as_micros() as u64,
        };
        entry.turns.insert(queue, turn);
        let small = (body <= QUEUED_BODY_MAX).then_some(body);
        self.push(queue, turn, (Delivery { session, job, count: 1 }, small), now + life);
        Submitted::Stored
    }

    fn push(&mut self, queue: u32, turn: u64, queued: Queued, expires_at: Duration) {
        let (at, queue) = self.queues.entry(queue).or_default();
        *at = expires_at;
        // A sorted set has each text once.
        queue.retain(|_, known| text(known) != text(&queued));
        queue.insert((turn, text(&queued)), queued);
    }

    /// In front, since it has had its turn.
    fn push_front(&mut self, now: Duration, queue: u32, delivery: Delivery, expires_at: Duration) {
        let front = self.queues.get(&queue).and_then(|(_, queue)| queue.first_key_value());
        let turn = front.map_or(now.as_micros() as u64, |((turn, _), _)| *turn);
        self.push(queue, turn, (delivery, None), expires_at);
    }

    /// The deliveries in the queue, by their turns.
    pub(crate) fn queued(&self, queue: u32) -> Vec<Queued> {
        self.queues.get(&queue).into_iter().flat_map(|(_, queue)| queue.values().copied()).collect()
    }

    /// At most `count` deliveries of the first queue that has any.
    pub(crate) fn pop(&mut self, now: Duration, queues: &[u32], count: usize) -> Vec<Queued> {
        self.expire(now);
        let Some(name) = queues.iter().find(|queue| self.queues.contains_key(queue)) else {
            return Vec::new();
        };
        let (_, queue) = self.queues.get_mut(name).expect("was found");
        std::iter::from_fn(|| queue.pop_first()).take(count).map(|(_, queued)| queued).collect()
    }

    pub(crate) fn claim(
        &mut self,
        now: Duration,
        agent: AgentId,
        lease: Duration,
        deliveries: &[Delivery],
    ) -> Vec<Option<u64>> {
        self.expire(now);
        let claim = |delivery: &Delivery| {
            let record = self.sessions.get_mut(&delivery.session)?.jobs.get_mut(&delivery.job)?;
            record.is_of(agent, *delivery).then(|| {
                (record.owner, record.till) = (Some(agent), now + lease);
                record.body
            })
        };
        deliveries.iter().map(claim).collect()
    }

    pub(crate) fn renew(
        &mut self,
        now: Duration,
        agent: AgentId,
        lease: Duration,
        is_advertised: bool,
        deliveries: &[Delivery],
    ) -> Vec<bool> {
        self.expire(now);
        if is_advertised {
            self.agents.insert(agent, now + lease);
        }
        let plant = self.plant;
        let renew = |delivery: &Delivery| {
            let session = self.sessions.get_mut(&delivery.session);
            let record = session.and_then(|session| session.jobs.get_mut(&delivery.job));
            let Some(record) = record.filter(|record| record.is_of(agent, *delivery)) else {
                return plant == Some(ServerPlant::RenewsForAnyone);
            };
            (record.owner, record.till) = (Some(agent), now + lease);
            true
        };
        deliveries.iter().map(renew).collect()
    }

    /// True if the delivery still was the agent's.
    pub(crate) fn finish(&mut self, now: Duration, agent: AgentId, delivery: Delivery, outcome: u64) -> bool {
        self.expire(now);
        let Some(session) = self.sessions.get_mut(&delivery.session) else {
            return false;
        };
        let is_there = session.jobs.contains_key(&delivery.job);
        let is_current = session.jobs.get(&delivery.job).is_some_and(|record| record.is_of(agent, delivery));
        let is_taken = match self.plant {
            Some(ServerPlant::FinishesForAnyone) => is_there,
            Some(ServerPlant::FinishesTwice) => is_current || !is_there,
            _ => is_current,
        };
        if is_taken {
            session.jobs.remove(&delivery.job);
            let (at, replies) = self.replies.entry(delivery.session).or_default();
            *at = now + session.life;
            replies.push_back((delivery.job, outcome));
        }
        is_taken
    }

    /// Whether the delivery is the agent's.
    pub(crate) fn is_of(&self, agent: AgentId, delivery: Delivery) -> bool {
        let record = self.sessions.get(&delivery.session).and_then(|session| session.jobs.get(&delivery.job));
        record.is_some_and(|record| record.is_of(agent, delivery))
    }

    pub(crate) fn take_replies(&mut self, now: Duration, session: SessionId) -> Vec<(JobNumber, u64)> {
        self.expire(now);
        self.replies.remove(&session).map_or_else(Vec::new, |(_, replies)| replies.into())
    }

    pub(crate) fn tend(
        &mut self,
        now: Duration,
        session: SessionId,
        life: Duration,
        deliveries_max: u32,
        may_expire: bool,
        questions: &[Question<u32>],
    ) -> Tended {
        self.expire(now);
        let entry = self.sessions.entry(session).or_default();
        (entry.life, entry.expires_at) = (life, now + life);
        let standings = questions
            .iter()
            .map(|question| self.look_after(now, session, deliveries_max, may_expire, question))
            .collect();
        Tended { agents: self.agents.keys().copied().collect(), standings }
    }

    fn look_after(
        &mut self,
        now: Duration,
        session: SessionId,
        deliveries_max: u32,
        may_expire: bool,
        question: &Question<u32>,
    ) -> Standing {
        let &Question { number: job, job: queue, requeue } = question;
        let Session { life, jobs, .. } = self.sessions.get_mut(&session).expect("made by `tend`");
        let life = *life;
        let (standing, push) = match jobs.get_mut(&job) {
            None if self.replies.contains_key(&session) => (Standing::Owned, None),
            None => (Standing::Unknown, None),
            Some(record) => match record.owner {
                None => {
                    let delivery = Delivery { session, job, count: record.count };
                    let queued = self.queues.get(&queue).into_iter().flat_map(|(_, queue)| queue.values());
                    let small = Some(record.body).filter(|body| *body <= QUEUED_BODY_MAX);
                    let is_queued = queued
                        .into_iter()
                        .any(|queued| *queued == (delivery, None) || small.is_some() && *queued == (delivery, small));
                    let push = !is_queued && requeue && self.plant != Some(ServerPlant::ForgetsPopped);
                    let standing = if is_queued || push { Standing::Queued } else { Standing::Popped };
                    (standing, push.then_some(record.count))
                }
                Some(_) if record.till >= now || !may_expire || self.plant == Some(ServerPlant::LeasesForever) => {
                    (Standing::Owned, None)
                }
                Some(owner) if record.count >= deliveries_max => {
                    jobs.remove(&job);
                    (Standing::Lost(owner), None)
                }
                Some(owner) => {
                    record.count += 1;
                    record.owner = None;
                    (Standing::Redelivered(owner), Some(record.count))
                }
            },
        };
        if let Some(count) = push {
            self.push_front(now, queue, Delivery { session, job, count }, now + life);
        }
        if standing != Standing::Owned
            && let Some((at, _)) = self.queues.get_mut(&queue)
        {
            *at = now + life;
        }
        standing
    }

    /// False if the server does not know the job.
    pub(crate) fn cancel(&mut self, now: Duration, (session, job): (SessionId, JobNumber), queue: u32) -> bool {
        self.expire(now);
        let Some(entry) = self.sessions.get_mut(&session) else {
            return false;
        };
        let Some(record) = entry.jobs.remove(&job) else {
            return false;
        };
        let delivery = Delivery { session, job, count: record.count };
        if let Some(owner) = record.owner {
            let (at, orders) = self.orders.entry(owner).or_default();
            *at = now + entry.life;
            orders.push(delivery);
        } else if let Some((_, queue)) = self.queues.get_mut(&queue) {
            queue.retain(|_, (queued, _)| *queued != delivery);
        }
        true
    }

    pub(crate) fn take_orders(&mut self, now: Duration, agent: AgentId) -> Vec<Delivery> {
        self.expire(now);
        self.orders.remove(&agent).map_or_else(Vec::new, |(_, orders)| orders)
    }

    /// The client has ended.
    pub(crate) fn close(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.replies.remove(&session);
    }

    /// The agent has ended.
    pub(crate) fn leave(&mut self, agent: AgentId) {
        self.agents.remove(&agent);
        self.orders.remove(&agent);
    }
}

//! The network between clients, agents and the server, and the course of time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Plant;
use super::agent::Agent;
use super::client::Client;
use super::fairness::Fairness;
use super::rng::Rng;
use super::server::{Queued, Server};
use crate::protocol::{AgentId, Delivery, JobNumber, Question, SessionId, Submitted, Tended};

pub(super) const LEASE: Duration = Duration::from_secs(4);
pub(super) const ASK_AFTER: Duration = Duration::from_secs(1);
pub(super) const DELIVERIES_MAX: u32 = 3;
pub(super) const QUEUE_MAX: usize = 8;
/// Nothing fails after this.
const FAULTS_END: Duration = Duration::from_secs(50);
/// All must be over by then.
const END: Duration = Duration::from_secs(180);

/// A participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Actor {
    Client(usize),
    Agent(usize),
}

/// A command to the server.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Submit { session: SessionId, job: JobNumber, queue: u32, body: u64 },
    TakeReplies(SessionId),
    Tend { session: SessionId, may_expire: bool, questions: Vec<Question<u32>> },
    Cancel { session: SessionId, job: JobNumber, queue: u32 },
    Close(SessionId),
    Pop { queues: Vec<u32>, count: usize },
    Claim { agent: AgentId, deliveries: Vec<Delivery> },
    Renew { agent: AgentId, deliveries: Vec<Delivery> },
    TakeOrders(AgentId),
    Finish { agent: AgentId, delivery: Delivery, outcome: u64 },
}

/// The server's answer.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Submitted(Submitted),
    Replies(Vec<(JobNumber, u64)>),
    Tended(Tended),
    Popped(Vec<Queued>),
    Claimed(Vec<Option<u64>>),
    Renewed(Vec<bool>),
    Orders(Vec<Delivery>),
    Finished,
    Done,
}

#[derive(Clone, Debug)]
enum Event {
    /// A command reaches the server.
    Arrives(Actor, Command),
    /// A copy of a command reaches the server; nobody waits for its answer.
    ArrivesAgain(Command),
    /// The answer reaches its actor; None if the connection has failed.
    Returns(Actor, Command, Option<Answer>),
    /// A time that the actor has set.
    Alarm(Actor, Alarm),
    ServerDies {
        keeps: Keeps,
    },
    ServerStarts,
    Kill(Actor),
}

/// The data of a server that starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    All,
    /// Those of its last snapshot.
    Some,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Alarm {
    Submit(usize),
    Read,
    Cancel(usize),
    Poll,
    Renew,
    Look,
    Orders,
    /// The item of this delivery is through.
    Ran(Delivery, u64),
    Again(usize),
}

/// All that an actor may do to the world.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) now: Duration,
    pub(super) rng: Rng,
    pub(super) plant: Option<Plant>,
    events: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
}

impl Outside {
    fn at(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    pub(super) fn alarm(&mut self, after: Duration, actor: Actor, alarm: Alarm) {
        self.at(self.now + after, Event::Alarm(actor, alarm));
    }

    pub(super) fn has_faults(&self) -> bool {
        self.now < FAULTS_END
    }

    fn delay(&mut self) -> Duration {
        let most = if self.has_faults() && self.rng.permille(30) { 3_000 } else { 2 };
        self.rng.ms(most)
    }

    pub(super) fn send(&mut self, actor: Actor, command: Command) {
        let at = self.now + self.delay();
        if self.has_faults() && self.rng.permille(20) {
            let later = self.now + self.rng.ms(8_000);
            self.at(later, Event::ArrivesAgain(command.clone()));
        }
        if self.has_faults() && self.rng.permille(20) {
            self.at(at, Event::Returns(actor, command, None));
        } else {
            self.at(at, Event::Arrives(actor, command));
        }
    }
}

pub(super) struct World {
    outside: Outside,
    server: Option<Server>,
    /// That of a server which has died, until the next starts.
    saved: Server,
    snapshot: Server,
    clients: Vec<Client>,
    agents: Vec<Agent>,
    /// Actors that stand still, and until when.
    paused: BTreeMap<Actor, Duration>,
    fairness: Fairness,
}

impl World {
    /// Runs all that the seed decides, and checks it.
    pub(super) fn run(seed: u64, plant: Option<Plant>) {
        let mut rng = Rng::new(seed);
        let (clients, agents, restarts) = (1 + rng.below(2), 1 + rng.below(3), rng.below(3));
        let outside = Outside { now: Duration::ZERO, rng, plant, events: BTreeMap::new(), sequence: 0 };
        let plant = if let Some(Plant::Server(plant)) = plant { Some(plant) } else { None };
        let server = Server::new(plant);
        let mut world = World {
            outside,
            server: Some(server.clone()),
            saved: server.clone(),
            snapshot: server,
            clients: Vec::new(),
            agents: Vec::new(),
            paused: BTreeMap::new(),
            fairness: Fairness::default(),
        };
        let outside = &mut world.outside;
        world.clients = (0..clients as usize).map(|index| Client::new(index, outside)).collect();
        world.agents = (0..agents as usize).map(|index| Agent::new(index, outside)).collect();
        for _ in 0..restarts {
            let keeps = [Keeps::All, Keeps::Some, Keeps::Nothing][outside.rng.below(3) as usize];
            let at = outside.rng.ms(50_000);
            outside.at(at, Event::ServerDies { keeps });
        }
        // One agent lives, so that the jobs can come to an end.
        for index in 1..agents as usize {
            if outside.rng.permille(400) {
                let at = outside.rng.ms(50_000);
                outside.at(at, Event::Kill(Actor::Agent(index)));
            }
        }
        if clients > 1 && outside.rng.permille(300) {
            let at = outside.rng.ms(50_000);
            outside.at(at, Event::Kill(Actor::Client(1)));
        }
        world.go_on();
        world.check_end();
    }

    fn go_on(&mut self) {
        while let Some(((at, _), event)) = self.outside.events.pop_first() {
            if at > END {
                break;
            }
            self.outside.now = at;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        if let Event::Returns(actor, ..) | Event::Alarm(actor, _) = &event
            && self.is_away(*actor, &event)
        {
            return;
        }
        let outside = &mut self.outside;
        match event {
            Event::Arrives(actor, command) => {
                // A server that is away refuses the connection.
                let answer =
                    self.server.as_mut().map(|server| serve(server, outside.now, &command, &mut self.fairness));
                let is_lost = outside.has_faults() && outside.rng.permille(20);
                let at = outside.now + outside.delay();
                outside.at(at, Event::Returns(actor, command, answer.filter(|_| !is_lost)));
            }
            Event::ArrivesAgain(command) => {
                if let Some(server) = self.server.as_mut() {
                    serve(server, outside.now, &command, &mut self.fairness);
                }
            }
            Event::Returns(Actor::Client(index), command, answer) => {
                self.clients[index].answered(command, answer, outside);
            }
            Event::Returns(Actor::Agent(index), command, answer) => {
                self.agents[index].answered(command, answer, outside);
            }
            Event::Alarm(Actor::Client(index), alarm) => self.clients[index].alarm(alarm, outside),
            Event::Alarm(Actor::Agent(index), alarm) => self.agents[index].alarm(alarm, outside),
            Event::ServerDies { keeps } => {
                if let Some(server) = self.server.take() {
                    let plant = server.plant();
                    self.saved = match keeps {
                        Keeps::All => server,
                        Keeps::Some => self.snapshot.clone(),
                        Keeps::Nothing => Server::new(plant),
                    };
                    let at = outside.now + outside.rng.ms(6_000);
                    outside.at(at, Event::ServerStarts);
                }
            }
            Event::ServerStarts => {
                self.server = Some(self.saved.clone());
                self.fairness.restart();
            }
            Event::Kill(Actor::Client(index)) => self.clients[index].is_dead = true,
            Event::Kill(Actor::Agent(index)) => self.agents[index].is_dead = true,
        }
        if self.outside.rng.permille(20)
            && let Some(server) = &self.server
        {
            self.snapshot = server.clone();
        }
    }

    /// True if the actor is dead, or stands still: then it gets the event later.
    fn is_away(&mut self, actor: Actor, event: &Event) -> bool {
        let is_dead = match actor {
            Actor::Client(index) => self.clients[index].is_dead,
            Actor::Agent(index) => self.agents[index].is_dead,
        };
        let outside = &mut self.outside;
        if !is_dead && outside.has_faults() && outside.rng.permille(1) {
            let until = outside.now + outside.rng.ms(15_000);
            self.paused.insert(actor, until);
        }
        match self.paused.get(&actor) {
            Some(&until) if !is_dead && until > outside.now => {
                outside.at(until, event.clone());
                true
            }
            _ => is_dead,
        }
    }

    fn check_end(&mut self) {
        for client in &self.clients {
            client.check_end();
        }
        for agent in &self.agents {
            agent.check_end();
        }
        let server = self.server.as_mut().expect("has started again");
        for agent in &self.agents {
            server.leave(agent.id());
        }
        server.expire(END + 2 * LEASE);
        assert!(server.is_empty(), "left behind: {server:?}");
    }
}

fn serve(server: &mut Server, now: Duration, command: &Command, fairness: &mut Fairness) -> Answer {
    match command.clone() {
        Command::Submit { session, job, queue, body } => {
            Answer::Submitted(server.submit(now, (session, job), queue, body, LEASE, QUEUE_MAX))
        }
        Command::TakeReplies(session) => Answer::Replies(server.take_replies(now, session)),
        Command::Tend { session, may_expire, questions } => {
            let requeued = questions.iter().filter(|question| question.requeue);
            requeued.for_each(|question| fairness.note_requeued(session, question.number));
            Answer::Tended(server.tend(now, session, LEASE, DELIVERIES_MAX, may_expire, &questions))
        }
        Command::Cancel { session, job, queue } => {
            server.cancel(now, (session, job), queue);
            fairness.note_cancelled(session, queue);
            Answer::Done
        }
        Command::Close(session) => {
            server.close(session);
            Answer::Done
        }
        Command::Pop { queues, count } => {
            server.expire(now);
            let before = server.clone();
            let popped = server.pop(now, &queues, count);
            fairness.check_pop(&before, &popped);
            Answer::Popped(popped)
        }
        Command::Claim { agent, deliveries } => Answer::Claimed(server.claim(now, agent, LEASE, &deliveries)),
        Command::Renew { agent, deliveries } => {
            server.expire(now);
            let owned: Vec<_> = deliveries.iter().map(|delivery| server.is_of(agent, *delivery)).collect();
            let renewed = server.renew(now, agent, LEASE, true, &deliveries);
            assert_eq!(renewed, owned, "leases of {agent:?}");
            Answer::Renewed(renewed)
        }
        Command::TakeOrders(agent) => Answer::Orders(server.take_orders(now, agent)),
        Command::Finish { agent, delivery, outcome } => {
            server.expire(now);
            let is_owner = server.is_of(agent, delivery);
            let is_taken = server.finish(now, agent, delivery, outcome);
            assert_eq!(is_taken, is_owner, "{delivery:?}: an outcome of {agent:?}");
            Answer::Finished
        }
    }
}

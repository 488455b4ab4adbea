//! The scripts beside the model, with a real server: the same random commands have the same answers. Ignored, with a line that says so,
//! where there is no server.

use std::thread::sleep;
use std::time::Duration;

use pool_core::Priority;
use redis::{Client, cmd};

use super::real_server::RealServer;
use super::rng::Rng;
use super::server::{QUEUED_BODY_MAX, Server};
use crate::commands::{self, QUEUED_BODY_BYTES_MAX};
use crate::connection::Line;
use crate::keys::Keys;
use crate::protocol::{AgentId, Delivery, JobNumber, Question, SessionId};

const SCRIPTS: &[&[fn() -> &'static redis::Script]] = &[
    commands::WRITER_SCRIPTS,
    commands::READER_SCRIPTS,
    commands::TAKER_SCRIPTS,
    commands::KEEPER_SCRIPTS,
    commands::FINISHER_SCRIPTS,
    commands::BLOB_SCRIPTS,
];

/// Longer than the test.
const LONG: Duration = Duration::from_secs(3600);
const QUEUE_MAX: usize = 4;
const DELIVERIES_MAX: u32 = 3;

/// Both servers.
struct Both {
    line: Line,
    keys: Keys,
    model: Server,
    now: Duration,
    rng: Rng,
    /// Deliveries that were popped, some of them of old.
    popped: Vec<Delivery>,
}

/// A body of the model as bytes, above the limit where the model's is.
fn bytes(body: u64) -> Vec<u8> {
    let mut bytes = body.to_string().into_bytes();
    if body > QUEUED_BODY_MAX {
        bytes.resize(QUEUED_BODY_BYTES_MAX + 1, b'.');
    }
    bytes
}

impl Both {
    /// The lease of an agent: that of the second ends at once.
    fn lease(agent: AgentId) -> Duration {
        if agent.0 == 0 { LONG } else { Duration::ZERO }
    }

    fn queue(&self, queue: u32) -> String {
        let priority = [Priority::Normal, Priority::High][queue as usize];
        self.keys.queue(&pool_core::remote::TaskKey { name: format!("q{queue}"), signature: 1 }, priority)
    }

    fn ask(&mut self, command: &redis::Cmd) -> redis::Value {
        // So that a lease of no time has ended.
        sleep(Duration::from_millis(2));
        self.now += Duration::from_millis(2);
        self.line.ask(command).expect("the server answers")
    }

    fn some_deliveries(&mut self) -> Vec<Delivery> {
        let count = self.rng.below(3) as usize;
        let popped = self.popped.clone();
        if popped.is_empty() {
            return Vec::new();
        }
        (0..count).map(|_| popped[self.rng.below(popped.len() as u64) as usize]).collect()
    }

    fn step(&mut self) {
        let session = SessionId(self.rng.below(2));
        let job = JobNumber(self.rng.below(6));
        let queue = (job.0 % 2) as u32;
        let agent = AgentId(self.rng.below(2));
        let id = (session, job);
        match self.rng.below(8) {
            0 | 1 => {
                let body = job.0 * 10;
                let name = self.queue(queue);
                let command = commands::submit(&self.keys, id, &name, &bytes(body), LONG, QUEUE_MAX);
                let real = commands::submitted(self.ask(&command)).expect("an answer");
                assert_eq!(real, self.model.submit(self.now, id, queue, body, LONG, QUEUE_MAX), "submit {id:?}");
            }
            2 => {
                let count = 1 + self.rng.below(3) as usize;
                let names = [self.queue(0), self.queue(1)];
                // 1 ms, since Redis takes 0 for no limit.
                let real = self.ask(&commands::take(&names, count, Duration::from_millis(1)));
                let real = commands::taken(real).expect("an answer");
                let model = self.model.pop(self.now, &[0, 1], count);
                let model: Vec<_> = model.into_iter().map(|(delivery, body)| (delivery, body.map(bytes))).collect();
                assert_eq!(real, model, "pop");
                self.popped.extend(real.into_iter().map(|(delivery, _)| delivery));
            }
            3 => {
                let deliveries = self.some_deliveries();
                let lease = Both::lease(agent);
                let real = self.ask(&commands::claim(&self.keys, agent, lease, &deliveries));
                let real = commands::claimed(real, deliveries.len()).expect("an answer");
                let model = self.model.claim(self.now, agent, lease, &deliveries);
                assert_eq!(real, model.into_iter().map(|body| body.map(bytes)).collect::<Vec<_>>(), "claim");
            }
            4 => {
                let deliveries = self.some_deliveries();
                let lease = Both::lease(agent);
                let real = self.ask(&commands::renew(&self.keys, agent, lease, (&[], ""), &deliveries));
                let real = commands::renewed(real, deliveries.len()).expect("an answer");
                assert_eq!(real, self.model.renew(self.now, agent, lease, false, &deliveries), "renew");
            }
            5 => {
                if let Some(&delivery) = self.some_deliveries().first() {
                    let outcome = self.rng.below(100);
                    let command = commands::finish(&self.keys, agent, delivery, outcome.to_string().as_bytes());
                    let real = commands::finished(self.ask(&command)).expect("an answer");
                    assert_eq!(real, self.model.finish(self.now, agent, delivery, outcome), "finish {delivery:?}");
                }
            }
            6 => {
                let name = self.queue(queue);
                self.ask(&commands::cancel(&self.keys, id, &name));
                self.model.cancel(self.now, id, queue);
                let real = self.ask(&commands::take_orders(&self.keys, agent, Duration::from_millis(1)));
                assert_eq!(commands::deliveries(real).expect("an answer"), self.model.take_orders(self.now, agent));
            }
            _ => self.tend(session),
        }
    }

    fn tend(&mut self, session: SessionId) {
        let read = commands::take_replies(&self.keys, session, 100, Duration::from_millis(1));
        if self.rng.permille(700) {
            let real = commands::replies(self.ask(&read)).expect("an answer");
            let model = self.model.take_replies(self.now, session);
            let model: Vec<_> =
                model.into_iter().map(|(job, outcome)| (job, outcome.to_string().into_bytes())).collect();
            assert_eq!(real, model, "replies");
        }
        let questions: Vec<_> = (0..6)
            .map(|job| Question { number: JobNumber(job), job: (job % 2) as u32, requeue: self.rng.permille(300) })
            .collect();
        let may_expire = self.rng.permille(700);
        let names = [self.queue(0), self.queue(1)];
        let command = commands::tend(&self.keys, session, LONG, DELIVERIES_MAX, may_expire, &questions, |queue| {
            names[*queue as usize].clone()
        });
        let real = commands::tended(self.ask(&command), questions.len()).expect("an answer");
        assert_eq!(real, self.model.tend(self.now, session, LONG, DELIVERIES_MAX, may_expire, &questions), "tend");
    }
}

#[test]
fn the_scripts_do_what_the_model_does() {
    let Some(server) = RealServer::start("pool-redis-scripts") else {
        eprintln!("the scripts were not compared with their model: this machine has no redis-server");
        return;
    };
    let client = Client::open(server.url()).expect("an address");
    let mut connection = client.get_connection().expect("a connection");
    for script in SCRIPTS.iter().copied().flatten() {
        script().load(&mut connection).expect("a script");
    }
    for seed in 0..8 {
        cmd("FLUSHDB").exec(&mut connection).expect("an answer");
        let mut both = Both {
            line: Line::new(&client, &[], Duration::ZERO),
            keys: Keys::new("pool"),
            model: Server::new(None),
            now: LONG,
            rng: Rng::new(seed),
            popped: Vec::new(),
        };
        for step in 0..120 {
            let step_of = format!("seed {seed}, step {step}");
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| both.step()));
            result.unwrap_or_else(|_| panic!("{step_of}"));
        }
    }
}

#[test]
fn a_client_with_many_jobs_does_not_hold_up_another() {
    let Some(server) = RealServer::start("pool-redis-fairness") else {
        eprintln!("the order of queues was not looked at: this machine has no redis-server");
        return;
    };
    let client = Client::open(server.url()).expect("an address");
    let mut line = Line::new(&client, &[], Duration::ZERO);
    let mut connection = client.get_connection().expect("a connection");
    for script in SCRIPTS.iter().copied().flatten() {
        script().load(&mut connection).expect("a script");
    }
    let (keys, task) = (Keys::new("pool"), pool_core::remote::TaskKey { name: "f".to_owned(), signature: 1 });
    let queue = keys.queue(&task, Priority::Normal);
    let [busy, second, third] = [SessionId(7), SessionId(8), SessionId(1)];
    let mut submit = |session, jobs: std::ops::Range<u64>| {
        for job in jobs {
            let command = commands::submit(&keys, (session, JobNumber(job)), &queue, b"body", LONG, 10_000);
            line.ask(&command).expect("it is stored");
        }
    };
    submit(busy, 0..1_000);
    submit(second, 0..3);
    submit(third, 0..1);
    submit(busy, 1_000..1_010);
    let mut line = Line::new(&client, &[], Duration::ZERO);
    let taken = line.ask(&commands::take(std::slice::from_ref(&queue), 8, Duration::from_secs(1)));
    let taken = commands::taken(taken.expect("an answer")).expect("deliveries");
    let count = |session| taken.iter().filter(|(delivery, _)| delivery.session == session).count();
    // As many as the others, while these have any.
    assert_eq!((count(second), count(third), count(busy)), (3, 1, 4), "{taken:?}");
    let busy: Vec<_> =
        taken.iter().filter(|(delivery, _)| delivery.session == busy).map(|(delivery, _)| delivery.job.0).collect();
    assert_eq!(busy, [0, 1, 2, 3], "in their order");
}

//! A client of the simulation: the pure part of the real one, and a loop like that of its reader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Plant;
use super::world::{ASK_AFTER, Actor, Alarm, Answer, Command, LEASE, Outside};
use crate::client::pending::{Next, Pending};
use crate::protocol::{JobNumber, SessionId, Submitted};

#[derive(Debug)]
pub(super) struct Client {
    me: Actor,
    session: SessionId,
    pending: Pending<u32>,
    jobs: Vec<Job>,
    by_number: BTreeMap<JobNumber, usize>,
    /// Jobs that are being submitted: a resubmission waits for the answer.
    submitting: BTreeSet<JobNumber>,
    /// Leases may not end before this: agents that heard of the server's return at the same time renew theirs first.
    leases_end_from: Duration,
    pub(super) is_dead: bool,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Job {
    number: Option<JobNumber>,
    /// How often it has ended.
    outcomes: u32,
}

impl Client {
    pub(super) fn new(index: usize, outside: &mut Outside) -> Client {
        let me = Actor::Client(index);
        let count = 1 + outside.rng.below(20) as usize;
        // Some have all of their jobs at once, and fill the queues.
        let (from, most) =
            if outside.rng.permille(300) { (outside.rng.ms(40_000), 300) } else { (Duration::ZERO, 40_000) };
        for job in 0..count {
            let at = from + outside.rng.ms(most);
            outside.alarm(at, me, Alarm::Submit(job));
            if outside.rng.permille(100) {
                let later = outside.rng.ms(10_000);
                outside.alarm(at + later, me, Alarm::Cancel(job));
            }
        }
        outside.alarm(ASK_AFTER, me, Alarm::Read);
        Client {
            me,
            session: SessionId(index as u64),
            pending: Pending::new(ASK_AFTER),
            jobs: (0..count).map(|_| Job::default()).collect(),
            by_number: BTreeMap::new(),
            submitting: BTreeSet::new(),
            leases_end_from: Duration::ZERO,
            is_dead: false,
            is_closed: false,
        }
    }

    /// The queue of a job: of one of two tasks, and mostly of the middle one of three priorities.
    fn queue(index: usize) -> u32 {
        let priority = if index % 5 == 1 {
            0
        } else if index % 7 == 2 {
            2
        } else {
            1
        };
        2 * priority + u32::from(index % 4 == 3)
    }

    fn submit(&mut self, job: JobNumber, outside: &mut Outside) {
        if self.submitting.insert(job) {
            let (session, queue) = (self.session, Client::queue(self.by_number[&job]));
            outside.send(self.me, Command::Submit { session, job, queue, body: job.0 * 3 });
        }
    }

    pub(super) fn alarm(&mut self, alarm: Alarm, outside: &mut Outside) {
        match alarm {
            Alarm::Submit(index) => {
                let number = self.pending.add(Client::queue(index), outside.now);
                self.jobs[index].number = Some(number);
                self.by_number.insert(number, index);
                self.submit(number, outside);
            }
            Alarm::Cancel(index) => {
                if let Some(number) = self.jobs[index].number
                    && self.pending.remove(number).is_some()
                {
                    self.jobs[index].outcomes += 1;
                    let (session, queue) = (self.session, Client::queue(index));
                    outside.send(self.me, Command::Cancel { session, job: number, queue });
                }
            }
            Alarm::Read => outside.send(self.me, Command::TakeReplies(self.session)),
            Alarm::Again(index) => {
                let number = self.jobs[index].number.expect("was submitted");
                self.submitting.remove(&number);
                if self.jobs[index].outcomes == 0 {
                    self.submit(number, outside);
                }
            }
            _ => unreachable!("{alarm:?} is none of a client"),
        }
    }

    pub(super) fn answered(&mut self, command: Command, answer: Option<Answer>, outside: &mut Outside) {
        let wait = outside.rng.ms(500);
        match (command, answer) {
            (Command::Submit { job, .. }, Some(Answer::Submitted(Submitted::Stored | Submitted::Known))) => {
                self.submitting.remove(&job);
            }
            (Command::Submit { job, .. }, _) => {
                outside.alarm(wait, self.me, Alarm::Again(self.by_number[&job]));
            }
            (Command::TakeReplies(_), Some(Answer::Replies(replies))) => {
                for (number, outcome) in replies {
                    self.take(number, outcome, outside);
                }
                self.after_reading(outside);
            }
            (Command::Tend { questions, .. }, Some(Answer::Tended(tended))) => {
                for (question, &standing) in questions.iter().zip(&tended.standings) {
                    match self.pending.answer(question, standing, outside.now) {
                        Next::Wait => {}
                        Next::Resubmit if outside.plant == Some(Plant::NeverResubmits) => {}
                        Next::Resubmit if outside.plant == Some(Plant::Renumbers) => {
                            self.pending.remove(question.number);
                            let number = self.pending.add(question.job, outside.now);
                            let index = self.by_number[&question.number];
                            self.by_number.insert(number, index);
                            self.submit(number, outside);
                        }
                        Next::Resubmit => self.submit(question.number, outside),
                        Next::Lost(_) => self.jobs[self.by_number[&question.number]].outcomes += 1,
                    }
                }
                outside.alarm(wait, self.me, Alarm::Read);
            }
            // The connection was lost: it is made anew, and the agents get the time to renew their leases.
            (Command::TakeReplies(_) | Command::Tend { .. }, _) => {
                self.leases_end_from = outside.now + LEASE / 2;
                outside.alarm(wait, self.me, Alarm::Read);
            }
            (Command::Cancel { .. } | Command::Close(_), Some(_)) => {}
            (command @ (Command::Cancel { .. } | Command::Close(_)), None) => outside.send(self.me, command),
            (command, answer) => unreachable!("{answer:?} to {command:?} of a client"),
        }
    }

    /// The outcome of a job, which may come twice.
    fn take(&mut self, number: JobNumber, outcome: u64, outside: &mut Outside) {
        assert_eq!(outcome, number.0 * 3 + 1, "a wrong outcome");
        if self.pending.remove(number).is_some() || outside.plant == Some(Plant::CountsTwice) {
            self.jobs[self.by_number[&number]].outcomes += 1;
        }
    }

    fn after_reading(&mut self, outside: &mut Outside) {
        let is_over = self.jobs.iter().all(|job| job.outcomes > 0) && self.submitting.is_empty();
        if is_over && !outside.has_faults() {
            self.is_closed = true;
            outside.send(self.me, Command::Close(self.session));
            return;
        }
        let questions = self.pending.questions(outside.now);
        let may_expire = outside.now >= self.leases_end_from;
        outside.send(self.me, Command::Tend { session: self.session, may_expire, questions });
    }

    pub(super) fn check_end(&self) {
        if self.is_dead {
            return;
        }
        for (index, job) in self.jobs.iter().enumerate() {
            assert_eq!(job.outcomes, 1, "job {index} of {:?}", self.me);
        }
        assert!(self.pending.is_empty());
        assert!(self.is_closed);
    }
}

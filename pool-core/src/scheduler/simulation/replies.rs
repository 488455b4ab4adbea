//! Replies as the shell takes them in: passed to the scheduler, and entered into the books.

use super::Plant;
use super::process::{Call, Reply};
use super::shell::World;
use crate::scheduler::worker::Phase;
use crate::scheduler::{JobId, Seq, State, WorkerId};

impl World {
    /// Takes in all replies. Returns whether there were any.
    pub(super) fn route(&mut self) -> bool {
        self.scheduler.set_now(self.books.now);
        if self.errs(Plant::SparesRunning) {
            for id in self.scheduler.jobs.ids() {
                self.scheduler.jobs.get_mut(id).expect("its id was listed").kills_running = false;
            }
        }
        if self.errs(Plant::ForgetsGrace) {
            for id in self.scheduler.jobs.ids() {
                self.scheduler.jobs.get_mut(id).expect("its id was listed").spec.grace = 0;
            }
        }
        if self.errs(Plant::EndlessGrace) {
            self.scheduler.never_ends_grace();
        }
        if self.errs(Plant::ForgetsCharges) {
            self.scheduler.forget_charges();
        }
        if self.errs(Plant::ForgetsCancelled) {
            for id in self.scheduler.jobs.ids() {
                self.scheduler
                    .jobs
                    .get_mut(id)
                    .expect("its id was listed")
                    .records
                    .retain(|_, record| !record.cancelled);
            }
        }
        // Asked before: chunks that are dispatched meanwhile have not gone yet.
        let expecting = self.workers.ids().filter(|&worker| self.expects_replies(worker, 0)).collect::<Vec<_>>();
        let replies: usize = expecting.into_iter().map(|worker| self.route_lane(worker)).sum();
        self.act();
        replies > 0
    }

    /// Whether the worker has something to answer, besides so many chunks.
    pub(super) fn expects_replies(&self, worker: WorkerId, besides: usize) -> bool {
        let Some(process) = &self.workers[worker].process else { return false };
        !self.books.processes[process.id].ready || self.scheduler.workers[worker].in_flight.len() > besides
    }

    /// Whether the worker has written a reply without a request, besides so many chunks that are about to go.
    pub(super) fn replied_unsolicited(&mut self, worker: WorkerId, besides: usize) -> bool {
        let expects_replies = self.expects_replies(worker, besides);
        let process = self.process(worker).expect("something is about to go there");
        let spoke = !expects_replies && !process.replies.is_empty();
        if spoke {
            process.is_corrupt = true;
            self.scheduler.replied_unsolicited(worker);
        }
        spoke
    }

    pub(super) fn route_lane(&mut self, worker: WorkerId) -> usize {
        let all_out = self.rng.permille(self.plan.has_room);
        let mut replies = 0;
        let Some(process) = self.process(worker) else { return replies };
        for call in &mut process.calls {
            if let Call::Run(chunk) = call {
                chunk.is_out |= all_out;
            }
        }
        while let Some(process) = self.process(worker).filter(|process| !process.is_corrupt)
            && let Some(reply) = process.replies.pop_front()
        {
            self.trace(|| format!("{worker:?} says {reply:?}"));
            self.take_in(worker, reply);
            if !self.plan.acts_late {
                self.act();
            }
            replies += 1;
        }
        replies
    }

    fn take_in(&mut self, worker: WorkerId, reply: Reply) {
        match reply {
            Reply::Ready => {
                let process = self.process(worker).expect("it has just spoken").id;
                self.books.processes[process].ready = true;
                self.workers[worker].failures = 0;
                if self.errs(Plant::RunsTwice) {
                    self.scheduler.pin_again(worker);
                }
                self.scheduler.ready(worker);
            }
            Reply::NotReady => self.process(worker).expect("it has just spoken").killed = true,
            Reply::Nonsense => {
                let front = self.scheduler.current_chunk(worker).map_or(Seq(0), |(seq, _)| seq);
                let (seq, items) = self.rng.pick(&[(front, u32::MAX), (Seq(front.0 + 7), 1)]);
                assert!(
                    self.scheduler.resolve_reply(worker, seq, items, false).is_err(),
                    "nonsense is taken for an answer"
                );
                let is_corrupt = self.rng.permille(500);
                // The scheduler may have decided that it is to leave, and the action not have been carried out.
                let leaves = matches!(self.scheduler.workers[worker].phase, Phase::Leaving | Phase::Retiring);
                let process = self.process(worker).expect("it has just spoken");
                process.is_corrupt = is_corrupt;
                let (id, is_dead) = (process.id, process.killer.is_some());
                let book = &mut self.books.processes[id];
                book.spoke_nonsense = true;
                book.dies_of_nonsense |= is_dead && !book.killed;
                book.has_failed_start |= !book.ready && !book.killed && !book.told_to_leave && !leaves;
                self.scheduler.misbehaved(worker);
            }
            Reply::Panicked { seq, job, item } => {
                let Ok((id, at)) = self.scheduler.resolve_reply(worker, seq, 1, false) else {
                    return self.refuse(worker);
                };
                let is_retried = self.scheduler.panicked(worker);
                if self.scheduler.record(id).is_some() {
                    self.books.panicked(job, item, is_retried);
                }
                if !is_retried {
                    self.deliver(id, job, item, at, 1);
                }
                self.scheduler.replied(worker, seq, u32::from(!is_retried), false, 0);
            }
            Reply::Items { seq, job, first, items, last, over_rss, elapsed } => {
                if self.errs(Plant::LosesReply) {
                    return;
                }
                let Ok((id, at)) = self.scheduler.resolve_reply(worker, seq, items, last) else {
                    return self.refuse(worker);
                };
                self.deliver(id, job, first, at, items);
                self.scheduler.replied(worker, seq, items, last, elapsed);
                if over_rss {
                    let process = self.process(worker).expect("it has just spoken").id;
                    self.books.processes[process].is_over_rss = true;
                    self.scheduler.exceeded_rss(worker);
                }
            }
        }
    }

    /// An honest worker's answer is nonsense only when nothing is in flight any more.
    fn refuse(&mut self, worker: WorkerId) {
        let is_over = matches!(self.scheduler.state(), State::Terminated | State::Broken);
        assert!(is_over, "the answer of an honest worker is refused");
        self.scheduler.misbehaved(worker);
    }

    /// `first` is the item that the worker means, `at` the one that the scheduler takes it for.
    pub(super) fn deliver(&mut self, id: JobId, job: usize, first: u64, at: u64, items: u32) {
        let Some(&record) = self.scheduler.record(id) else { return };
        assert_eq!((record, at), (job, first), "the answer is taken for another item's");
        (at..at + u64::from(items)).for_each(|item| self.books.value(job, item));
    }
}

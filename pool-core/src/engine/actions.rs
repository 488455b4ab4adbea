//! The scheduler's actions, carried out.

use super::Engine;
use super::errors::unstarted;
use super::wording::exceeded;
use crate::attachments::Attachment;
use crate::codec::bytes::Cut;
use crate::error::Error;
use crate::job::Job;
use crate::job::completion::Part;
use crate::lane::messages::{Place, Request, RunRequest, request};
use crate::observe::log::{Items, Process, Record};
use crate::priority::Priority;
use crate::process::death::Death;
use crate::scheduler::{Action, FailureCause, JobId, Wake, WorkerId};

impl Engine {
    /// Carries out the scheduler's actions.
    #[inline]
    pub(crate) fn act(&mut self) {
        // Asked in place, since most calls leave nothing to do.
        if self.touched || self.scheduler.has_actions() {
            self.act_after(None);
        }
    }

    /// As [`act`](Engine::act), for actions that a death has caused.
    #[inline]
    pub(super) fn act_after(&mut self, death: Option<&Death>) {
        while let Some(action) = self.scheduler.next_action() {
            // Wake-ups are put off to the end of the loop: a worker that gets several chunks is woken once.
            self.touched = true;
            self.perform(action, death);
        }
        if std::mem::take(&mut self.touched) {
            for worker in self.active.iter() {
                if let Some(lane) = &mut self.workers[worker].lane {
                    lane.wake();
                }
            }
        }
    }

    #[inline]
    fn perform(&mut self, action: Action<Box<Job>>, death: Option<&Death>) {
        match action {
            Action::Send { worker, seq, job, first, items, attempt, wake, brief, claim } => {
                let flags = match wake {
                    Wake::Anyone => 0,
                    Wake::LeaderOnly => request::QUIET,
                    Wake::NoOne => request::QUIET | request::SILENT,
                } | if brief { request::BRIEF } else { 0 }
                    | request::claim_flags(claim);
                let chunk = RunRequest { kind: Request::Run, seq: seq.0, task: 0, items, time_limit_ns: 0, flags };
                self.send(worker, chunk, job, first, attempt);
            }
            Action::Recall { worker, seq, items, half } => {
                // Without a lane the process is gone, and its exit gives all items back.
                let kept = self.lane(worker).map_or(items, |lane| lane.recall(seq.0, items, half));
                self.scheduler.recalled(worker, seq, kept);
            }
            Action::Fail { worker, job, item, cause } => {
                // An item that is cancelled meanwhile does not fail of the death.
                let death = death.filter(|_| worker.is_some());
                let refusal = worker.and_then(|worker| self.workers[worker].refused.clone());
                let error = match refusal.filter(|_| cause == FailureCause::NotRun) {
                    // The kill that followed says less.
                    Some(why) => self.address(job, item, death.map(|death| death.pid), unstarted(&why)),
                    None => self.item_error(job, item, cause, death),
                };
                let origin = self.origin_of_death(worker, job, item, death, &error);
                // An item that is cancelled has run for nobody, and does not count.
                if death.is_some() {
                    self.observe_loss(job, item, error.ran());
                }
                self.deliver(worker, job, Part { first: item, items: 1, raw: false, values: Err(error), origin });
                // After the delivery, since it may end the job, and its record with it.
                self.scheduler.failed(job, item);
            }
            Action::Finish { job, record } => self.finish(job, record, None),
            Action::Abort { job, record, cause } => {
                // Without the worker's death: the whole job ends, for the same reason for all of its items.
                let error = self.cause_error(cause, None).of_task(record.entry.path());
                self.finish(job, record, Some(&error));
            }
            Action::Launch { worker } => self.accounts.deferred.launches.push(worker),
            // A signal costs microseconds, so it is sent at once; only a refused one is left to the supervisor.
            Action::Kill { worker } => self.kill(worker),
            // Before the request goes out: a reply that is already there cannot be its answer.
            Action::Quit { worker } if !self.workers[worker].is_silent() => self.scheduler.replied_unsolicited(worker),
            Action::Quit { worker } => {
                let (quit, args) = self.ask_to_leave(worker);
                self.active.insert(worker);
                if let Some(lane) = self.lane(worker) {
                    lane.send_cut(quit, args);
                }
            }
            Action::Overran { worker, limit, ran } => {
                let fault = self.start_fault(worker, &exceeded(limit, ran, self.in_process));
                self.refuse(worker, fault.unwrap_or_default());
            }
            Action::Retry { worker, job, item } => {
                let process = Process { pid: death.map_or(0, |death| death.pid), ..self.process(worker) };
                self.observe_retry(worker, job, item, Some(process));
            }
            Action::Warn { worker, seq, item } => {
                // A word in its memory, so it costs no system call and cannot be lost in a full ring.
                if let Some(lane) = self.lane(worker) {
                    lane.warn(seq.0, item);
                }
            }
            Action::Probe { worker } => {
                if let Some(lane) = self.lane(worker) {
                    let running = lane.running();
                    let running = running.filter(|(begun, _)| self.is_at_own(worker, begun.seq.0));
                    self.scheduler.probed(worker, running);
                }
            }
        }
    }

    #[inline]
    fn send(&mut self, worker: WorkerId, chunk: RunRequest, job: JobId, first: u64, attempt: u32) {
        if !self.workers[worker].is_silent() {
            return self.scheduler.replied_unsolicited(worker);
        }
        // A chunk of one item is timed in any case.
        let is_timed = chunk.items > 1
            && self.is_logged()
            && self.scheduler.task_of(job).is_some_and(|task| self.wants_item_times(task));
        let priority = self.scheduler.told_priority(job);
        let Some(record) = self.scheduler.record_mut(job) else { return };
        // Told to the router when the lock is free: it must look up by itself, since this call will not wake it.
        self.accounts.deferred.notices.quiet |= chunk.flags & request::QUIET != 0;
        // A call's caller waits for it alone, so its value must not be held back for the next one's.
        let singly = if record.is_map() { 0 } else { request::SINGLY };
        let (task, time_limit_ns, seed) = (record.entry.index(), record.time_limit, record.seed);
        let is_map = record.is_map();
        self.active.insert(worker);
        let Some(lane) = self.workers[worker].lane.as_mut() else { return };
        if record.has_rules() || priority != Priority::Normal {
            lane.send_rules(record.rules(chunk.seq, priority));
            self.accounts.deferred.notices.quiet |= record.reports.is_some();
        }
        let args = record.blocks.args(first, chunk.items).expect("a pending item has arguments");
        let timed = if args.timed || is_timed { request::TIMED } else { 0 };
        let attachments = args.attachments.cloned();
        let mut parts = 0;
        if let Some(list) = &attachments {
            let is_handed = lane.hand_over(chunk.seq, list);
            if !is_handed {
                lane.attach(list, self.forgotten.as_ref());
            }
            // An item that writes a part names the array last.
            let writes_parts = list.last().is_some_and(Attachment::is_lent);
            parts = if writes_parts || is_handed { request::PARTS } else { 0 };
        }
        let flags = chunk.flags | singly | timed | parts | if args.raw { request::RAW } else { 0 };
        let header = RunRequest { task, time_limit_ns, flags, ..chunk }.header();
        let place = Place { first: if is_map { first } else { Place::CALL }, attempt, seed };
        let is_said = seed.is_some() || attempt > 1 || (is_map && first > u32::MAX.into());
        if is_said {
            lane.send_cut(place.header(), Cut::default());
        }
        let is_numbered = is_map && !is_said;
        let numbered = if is_numbered { request::numbered(header, first) } else { header };
        // Workers map the arena, so the place is sent instead of the bytes.
        if let Some((segment, range)) = args.in_arena() {
            lane.send_located(numbered, segment, range);
        // No room in the ring: the lane keeps a share of the bytes and sends them by and by, so the block stays as it
        // is.
        } else if !lane.send(&numbered, args.bytes()) {
            if is_numbered {
                // The header of a request in several records has no room for the index.
                lane.send_cut(place.header(), Cut::default());
            }
            lane.send_cut(header, args.cut());
        }
        if let Some(list) = attachments {
            lane.hold(list);
        }
    }

    #[inline]
    fn finish(&mut self, job: JobId, mut record: Box<Job>, rest: Option<&Error>) {
        self.accounts.deferred.notices.progress = true;
        self.end_reports(&mut record);
        #[cfg(feature = "tracing")]
        self.end_context(&mut record);
        let (task, is_calls) = (record.entry.index(), !record.is_map());
        record.finish(rest, |call, waiters| {
            self.accounts.finish_job(waiters);
            // Without its label, which is known no longer.
            if !self.observer.logs.is_empty() {
                let items = Items { job, task, label: None, is_calls, first: call, count: 0 };
                self.observer.logs.push(&Record::Finished(items));
            }
        });
        self.note_bytes(record.blocks.take_change());
        // Taken up by the next call: while calls come one by one, none of them allocates a record.
        self.spare = Some(record).filter(|record| record.is_reusable());
    }
}

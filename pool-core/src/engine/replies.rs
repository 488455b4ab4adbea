//! Replies: resolved to their job, placed in its completion, and accounted for.
//!
//! A value of a few bytes takes a way of its own, without a lock and in registers: among millions of calls, locks were
//! half of the cost, and a structure that is written field by field and read as a whole waits until it is in the cache.

use super::Engine;
use super::accounts::Outcome;
use crate::attachments::received::ReceivedArray;
use crate::error::{Error, ErrorKind};
use crate::job::completion::Part;
use crate::lane::messages::ItemTimes;
use crate::lane::reply::{Body, Reply};
use crate::observe::log::{Items, Record};
use crate::scheduler::{JobId, ProtocolViolation, Seq, WorkerId};

impl Engine {
    #[inline]
    pub(super) fn take_in(&mut self, worker: WorkerId, reply: Reply) -> Result<(), ProtocolViolation> {
        if reply.reports {
            return self.take_reports(worker, reply);
        }
        let reply = match self.workers[worker].asked {
            None => reply,
            Some(asked) => match self.take_own(worker, asked, reply)? {
                Some(reply) => reply,
                None => return Ok(()),
            },
        };
        let Reply { seq, mut items, failed, last, over_rss, raw, reports: _, timed, elapsed, errs, ended, body } =
            reply;
        let (job, first) = self.scheduler.resolve_reply(worker, Seq(seq), items, last)?;
        // Each call has a completion of its own, and a value of many could not be told apart.
        if items > 1 && self.has_calls(job) {
            return Err(ProtocolViolation);
        }
        let is_plain = items > 0 && !failed && !raw && !timed;
        let calls = if is_plain { self.deliver_short(worker, job, first, &body, seq, last) } else { 0 };
        let body = match body {
            _ if calls > 0 => None,
            body if is_plain => self.store(worker, job, first, items, body),
            body => Some(body),
        };
        // The short way may have taken further replies of the chunk with this one.
        items = items.max(calls);
        if let Some(body) = body {
            let lane = self.lane(worker).expect("it has just spoken");
            let mut body = lane.take(body);
            let arrays = lane.take_received();
            // Cut off before the values are decoded: the tail is not part of the last one.
            let times = if timed { Some(body.split_tail().ok_or(ProtocolViolation)?) } else { None };
            if items > 0 {
                // A value without one of its arrays could not be decoded, and the system's reason is worth more than that.
                let refusal = arrays.iter().find_map(ReceivedArray::failure);
                let values = match refusal {
                    _ if failed => Err(self.failure(worker, job, first, &body)),
                    Some(error) => Err(self.array_error(worker, job, first, error)),
                    None if arrays.is_empty() => Ok(body),
                    None => Ok(body.with_received(arrays)),
                };
                let failure = values.as_ref().err().filter(|_| items == 1);
                // Asked before the delivery: an item that is tried again has no outcome yet.
                if let Some(times) = times.filter(|_| self.is_logged()) {
                    self.log_item(worker, job, first, ItemTimes::from_bytes(times));
                }
                if failure.is_some_and(|error| self.tries_again(worker, error)) {
                    self.observe_retry(worker, job, first, None);
                    items = 0;
                } else {
                    let tried = values.as_ref().err().map(Error::attempts);
                    let origin =
                        times.and_then(|times| self.origin(worker, job, first, ItemTimes::from_bytes(times), tried));
                    self.deliver(Some(worker), job, Part { first, items, raw, values, origin });
                }
            }
        }
        if let Some(chunk) = self.scheduler.replied(worker, Seq(seq), items, last, elapsed) {
            self.observer.chunk_ended(worker, chunk, elapsed, errs);
            if self.is_logged() {
                self.log_chunk(worker, chunk, elapsed, ended);
            }
        }
        // After the reply has counted, so that its items are not taken back.
        if over_rss {
            self.scheduler.exceeded_rss(worker);
        }
        Ok(())
    }

    /// Whether the item is to be tried again of which the worker has sent this error.
    fn tries_again(&mut self, worker: WorkerId, error: &Error) -> bool {
        #[cfg(feature = "remote")]
        if self.scheduler.is_remote() && error.is_loss() {
            return self.scheduler.lost(worker);
        }
        error.kind() == ErrorKind::Panicked && self.scheduler.panicked(worker)
    }

    /// Puts values into the result buffer of their job, if it has one; else the body comes back.
    #[inline]
    fn store(&mut self, worker: WorkerId, job: JobId, first: u64, items: u32, body: Body) -> Option<Body> {
        let lane = self.workers[worker].lane.as_mut().expect("it has just spoken");
        let Some(record) = self.scheduler.record_mut(job) else { return Some(body) };
        let Some(result_buffer) = record.result_buffer() else { return Some(body) };
        // Values go from the ring to their place in the result in one copy.
        let body = lane.store(body, first, items, result_buffer).err();
        if body.is_none() {
            record.blocks.settled(first, items);
            let change = record.blocks.take_change();
            self.note_bytes(change);
            self.accounts.settle(items, Outcome::Value);
        }
        body
    }

    /// Settles a call that has a value of a few bytes and, if it is not the last of its chunk, the calls behind it that
    /// have been answered. The short way of [`deliver`](Engine::deliver). Returns the number of calls.
    #[inline]
    fn deliver_short(&mut self, worker: WorkerId, job: JobId, first: u64, body: &Body, seq: u32, last: bool) -> u32 {
        // Behind the last reply of a chunk there are none of this job.
        let most = if last { 1 } else { self.scheduler.unanswered(worker) };
        let Some(record) = self.scheduler.record_mut(job).filter(|record| !record.is_map()) else { return 0 };
        let lane = self.workers[worker].lane.as_mut().expect("it has just spoken");
        let mut next = lane.take_short(body);
        let mut calls = 0;
        while let Some((words, length)) = next {
            let call = first + u64::from(calls);
            if let Some(waiters) = record.blocks.complete(call, |completion| completion.complete_short(words, length)) {
                self.accounts.settle(1, Outcome::Value);
                self.accounts.finish_job(waiters);
                if !self.observer.logs.is_empty() {
                    let (task, label) = (record.entry.index(), None);
                    let items = Items { job, task, label, is_calls: true, first: call, count: 0 };
                    self.observer.logs.push(&Record::Finished(items));
                }
            }
            calls += 1;
            next = if calls < most { lane.next_short(seq) } else { None };
        }
        let change = record.blocks.take_change();
        self.note_bytes(change);
        calls
    }

    pub(super) fn deliver(&mut self, worker: Option<WorkerId>, job: JobId, part: Part) {
        let (first, items) = (part.first, part.items);
        let outcome = match part.values.as_ref().map_err(Error::kind) {
            Ok(_) => Outcome::Value,
            Err(ErrorKind::Cancelled) => Outcome::Cancelled,
            Err(_) => Outcome::Failure,
        };
        let Some(record) = self.scheduler.record_mut(job) else { return };
        let failure = part.values.as_ref().err().map(Error::kind);
        // A call that was cancelled meanwhile has its outcome, and this one does not count.
        let Some(delivered) = record.deliver(part) else { return };
        if let Some(kind) = failure.filter(|_| outcome == Outcome::Failure) {
            self.observer.failed(record.entry.index(), kind, items);
        }
        let change = record.blocks.take_change();
        self.note_bytes(change);
        self.accounts.settle(items, outcome);
        if self.is_logged() {
            if let Some(kind) = failure.filter(|_| outcome == Outcome::Failure) {
                self.log_failed(job, first, worker, kind);
            }
            if delivered.ends_call {
                self.log_finished(job, first);
            }
        }
        match delivered.ends_call {
            true => self.accounts.finish_job(delivered.waiters),
            false => self.accounts.deferred.waiters.extend(delivered.waiters),
        }
    }
}

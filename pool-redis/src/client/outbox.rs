//! The commands that wait for the writer, and the sleep of all threads of a client until its end.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::jobs::lock;
use crate::connection::Trouble;
use crate::protocol::JobNumber;

/// The commands that wait for the writer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// The reader's thread is wanted, or the end has come.
    reads: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    orders: VecDeque<Order>,
    /// The jobs that are being submitted, until the server has answered.
    submitting: BTreeSet<JobNumber>,
    /// The server takes no jobs, and since when.
    refusal: Option<(Instant, Trouble)>,
    /// Jobs wait for outcomes, and no thread that waits for them takes these in.
    wants_reader: bool,
    is_closed: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Order {
    Submit(JobNumber),
    Cancel(JobNumber, Arc<str>),
}

impl Outbox {
    /// Has the job submitted, unless it is on the way; the caller sees to the rest by [`notify`](Outbox::notify).
    pub(super) fn submit(&self, job: JobNumber) {
        let mut waiting = lock(&self.waiting);
        if waiting.submitting.insert(job) {
            waiting.orders.push_back(Order::Submit(job));
        }
    }

    /// The server has answered.
    pub(super) fn submitted(&self, job: JobNumber) {
        let mut waiting = lock(&self.waiting);
        waiting.submitting.remove(&job);
        waiting.refusal = None;
    }

    pub(super) fn cancel(&self, job: JobNumber, queue: &Arc<str>) {
        lock(&self.waiting).orders.push_back(Order::Cancel(job, Arc::clone(queue)));
        self.changed.notify_all();
    }

    /// The server takes no jobs.
    pub(super) fn note_refusal(&self, trouble: &Trouble) {
        lock(&self.waiting).refusal.get_or_insert_with(|| (Instant::now(), trouble.clone()));
    }

    /// The server takes jobs as far as there is room.
    pub(super) fn forget_refusal(&self) {
        lock(&self.waiting).refusal = None;
    }

    /// The reason why the job was not submitted, if that is so for longer than the time.
    pub(super) fn refusal(&self, job: JobNumber, timeout: Duration) -> Option<Trouble> {
        let waiting = lock(&self.waiting);
        let refusal = waiting.refusal.as_ref().filter(|_| waiting.submitting.contains(&job));
        refusal.filter(|(since, _)| since.elapsed() > timeout).map(|(_, trouble)| trouble.clone())
    }

    /// These come first.
    pub(super) fn put_back(&self, orders: Vec<Order>) {
        let mut waiting = lock(&self.waiting);
        orders.into_iter().rev().for_each(|order| waiting.orders.push_front(order));
    }

    /// No more comes.
    pub(super) fn close(&self) {
        lock(&self.waiting).is_closed = true;
        self.changed.notify_all();
        self.reads.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.waiting).is_closed
    }

    /// Sleeps, but no longer than until the end.
    pub(super) fn pause(&self, time: Duration) {
        let waiting = lock(&self.waiting);
        let _ = self.changed.wait_timeout_while(waiting, time, |waiting| !waiting.is_closed);
    }

    /// Waits until there are orders, or the end has come.
    pub(super) fn wait(&self) {
        let idle = |waiting: &mut Waiting| waiting.orders.is_empty() && !waiting.is_closed;
        drop(self.changed.wait_while(lock(&self.waiting), idle));
    }

    /// The orders that wait.
    pub(super) fn take(&self, most: usize) -> Vec<Order> {
        let mut waiting = lock(&self.waiting);
        let count = waiting.orders.len().min(most);
        waiting.orders.drain(..count).collect()
    }

    /// Wakes the writer's thread, if orders wait.
    pub(super) fn notify(&self) {
        if !lock(&self.waiting).orders.is_empty() {
            self.changed.notify_all();
        }
    }

    /// Wakes the reader's thread.
    pub(super) fn want_reader(&self) {
        lock(&self.waiting).wants_reader = true;
        self.reads.notify_all();
    }

    /// Waits until the reader's thread is wanted, the moment has come, or the end.
    pub(super) fn wait_for_want(&self, until: Instant) {
        let time = until.saturating_duration_since(Instant::now());
        let idle = |waiting: &mut Waiting| !waiting.wants_reader && !waiting.is_closed;
        let waited = self.reads.wait_timeout_while(lock(&self.waiting), time, idle);
        waited.unwrap_or_else(PoisonError::into_inner).0.wants_reader = false;
    }
}

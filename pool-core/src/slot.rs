//! Where the outcome of a job arrives, and who waits for it.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::Thread;

use crate::bytes::Bytes;
use crate::error::Error;
use crate::landing::Landing;
use crate::scheduler::JobId;
use crate::shared::Shared;

/// Of a map, or of one call. There may be ten million.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    finished: AtomicBool,
    fresh: AtomicBool,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    parts: Parts,
    /// Why the items that have not been delivered never will be.
    rest: Option<Error>,
    /// Apart, since most jobs have none.
    waiter: Option<Box<Waiter>>,
}

/// The outcome of consecutive items.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) items: u32,
    /// The one value is its bytes, without a frame.
    pub(crate) whole: bool,
    pub(crate) values: Result<Bytes, Error>,
}

/// No allocation for the one part of a single call.
#[derive(Debug, Default)]
pub(crate) enum Parts {
    #[default]
    None,
    One(Part),
    Many(Vec<Part>),
    /// Of a map that is finished.
    Landed(Box<Landed>),
    /// Nobody will look any more.
    Abandoned,
}

/// Values that have landed, and what else there was.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) landing: Box<dyn Landing>,
    pub(crate) others: Vec<Part>,
}

impl Parts {
    fn push(&mut self, part: Part) {
        match std::mem::take(self) {
            Parts::None => *self = Parts::One(part),
            Parts::One(first) => *self = Parts::Many(vec![first, part]),
            Parts::Many(mut parts) => {
                parts.push(part);
                *self = Parts::Many(parts);
            }
            Parts::Landed(mut landed) => {
                landed.others.push(part);
                *self = Parts::Landed(landed);
            }
            Parts::Abandoned => *self = Parts::Abandoned,
        }
    }
}

impl IntoIterator for Parts {
    type Item = Part;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Part>, std::vec::IntoIter<Part>>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Parts::None | Parts::Abandoned => None.into_iter().chain(Vec::new()),
            Parts::One(part) => Some(part).into_iter().chain(Vec::new()),
            Parts::Many(parts) => None.into_iter().chain(parts),
            Parts::Landed(landed) => None.into_iter().chain(landed.others),
        }
    }
}

/// To be told of an outcome.
pub(crate) enum Waiter {
    Thread(Thread),
    Task(Waker),
    /// One of several jobs, known by this number there.
    OneOf(Arc<Arrivals>, usize),
    /// Only when all is done.
    Callback(Box<dyn FnOnce() + Send>),
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Waiter::Thread(_) => "Thread",
            Waiter::Task(_) => "Task",
            Waiter::OneOf(..) => "OneOf",
            Waiter::Callback(_) => "Callback",
        })
    }
}

/// Slots that are made at once, for calls that are submitted one after the other, or the one of a map; and whose they
/// are.
#[derive(Debug)]
pub(crate) struct Rack {
    shared: Arc<Shared>,
    job: JobId,
    /// The number of the first call in its job; a map has none.
    first: Option<u64>,
    slots: Slots,
}

/// No allocation of its own for the one of a map, or of a call alone.
#[derive(Debug)]
enum Slots {
    One(Slot),
    Many(Box<[Slot]>),
}

impl Rack {
    pub(crate) fn of_map(shared: &Arc<Shared>, job: JobId) -> Arc<Self> {
        Arc::new(Rack { shared: Arc::clone(shared), job, first: None, slots: Slots::One(Slot::default()) })
    }

    #[inline]
    pub(crate) fn of_calls(shared: &Arc<Shared>, job: JobId, first: u64, calls: u32) -> Arc<Self> {
        let slots = match calls {
            1 => Slots::One(Slot::default()),
            _ => Slots::Many((0..calls).map(|_| Slot::default()).collect()),
        };
        Arc::new(Rack { shared: Arc::clone(shared), job, first: Some(first), slots })
    }

    #[inline]
    pub(crate) fn slots(&self) -> &[Slot] {
        match &self.slots {
            Slots::One(slot) => std::slice::from_ref(slot),
            Slots::Many(slots) => slots,
        }
    }
}

/// One slot of a rack.
#[derive(Clone, Debug)]
pub(crate) struct SlotRef {
    rack: Arc<Rack>,
    index: u32,
}

impl SlotRef {
    #[inline]
    pub(crate) fn new(rack: &Arc<Rack>, index: u32) -> Self {
        SlotRef { rack: Arc::clone(rack), index }
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.rack.shared
    }

    #[inline]
    pub(crate) fn job(&self) -> JobId {
        self.rack.job
    }

    /// The number of the call in its job, if it is one.
    #[inline]
    pub(crate) fn call(&self) -> Option<u64> {
        Some(self.rack.first? + u64::from(self.index))
    }
}

impl Deref for SlotRef {
    type Target = Slot;

    #[inline]
    fn deref(&self) -> &Slot {
        &self.rack.slots()[self.index as usize]
    }
}

impl Slot {
    #[inline]
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the outcome of some items. The waiter, if it is to be told now.
    pub(crate) fn deliver(&self, part: Part) -> Option<Waiter> {
        let mut inbox = self.inbox();
        if matches!(inbox.parts, Parts::Abandoned) {
            return None;
        }
        inbox.parts.push(part);
        self.fresh.store(true, Ordering::Release);
        inbox.waiter.take_if(|waiter| matches!(**waiter, Waiter::Thread(_))).map(|waiter| *waiter)
    }

    /// Takes the outcome of a call.
    #[inline]
    pub(crate) fn complete(&self, part: Part) -> Option<Waiter> {
        let mut inbox = self.inbox();
        if !matches!(inbox.parts, Parts::Abandoned) {
            inbox.parts = Parts::One(part);
        }
        self.end(&mut inbox)
    }

    /// This is the one place where a job ends.
    #[inline]
    fn end(&self, inbox: &mut Inbox) -> Option<Waiter> {
        self.finished.store(true, Ordering::Release);
        inbox.waiter.take().map(|waiter| *waiter)
    }

    /// Nothing more will come; `rest` says why, if items are missing.
    pub(crate) fn finish(&self, rest: Option<Error>, landing: Option<Box<dyn Landing>>) -> Option<Waiter> {
        let mut inbox = self.inbox();
        inbox.rest = rest;
        if let Some(landing) = landing {
            let others = std::mem::take(&mut inbox.parts).into_iter().collect();
            inbox.parts = Parts::Landed(Box::new(Landed { landing, others }));
        }
        self.end(&mut inbox)
    }

    /// Whether nothing more will come.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Whether there is something to [take](Slot::take), or never will be.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.fresh.load(Ordering::Acquire) || self.is_finished()
    }

    /// What has arrived.
    #[inline]
    pub(crate) fn take(&self) -> Parts {
        let mut inbox = self.inbox();
        self.fresh.store(false, Ordering::Relaxed);
        std::mem::take(&mut inbox.parts)
    }

    /// Why the items that were not delivered never will be.
    pub(crate) fn rest(&self) -> Option<Error> {
        self.inbox().rest.as_ref().map(Error::duplicate)
    }

    /// Whether all that has arrived are values, and nothing is missing.
    pub(crate) fn is_success(&self) -> bool {
        let inbox = self.inbox();
        let all_values = match &inbox.parts {
            Parts::None | Parts::Abandoned => true,
            Parts::One(part) => part.values.is_ok(),
            Parts::Many(parts) => parts.iter().all(|part| part.values.is_ok()),
            Parts::Landed(landed) => landed.others.iter().all(|part| part.values.is_ok()),
        };
        inbox.rest.is_none() && all_values
    }

    /// Whoever is to be told next, in place of anybody before. Given back if there is nothing to wait for.
    pub(crate) fn set_waiter(&self, waiter: Waiter) -> Result<(), Waiter> {
        let mut inbox = self.inbox();
        let news = match waiter {
            Waiter::Thread(_) => self.has_news(),
            Waiter::Task(_) | Waiter::OneOf(..) | Waiter::Callback(_) => self.is_finished(),
        };
        if news {
            return Err(waiter);
        }
        inbox.waiter = Some(Box::new(waiter));
        Ok(())
    }

    /// What arrives from now on is dropped.
    pub(crate) fn abandon(&self) {
        let mut inbox = self.inbox();
        inbox.waiter = None;
        inbox.parts = Parts::Abandoned;
    }
}

/// Numbers of jobs in the order in which these finish, and the thread that waits for the next.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    state: Mutex<(VecDeque<usize>, Option<Thread>)>,
}

impl Arrivals {
    fn state(&self) -> MutexGuard<'_, (VecDeque<usize>, Option<Thread>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, number: usize) {
        let mut state = self.state();
        state.0.push_back(number);
        if let Some(thread) = state.1.take() {
            thread.unpark();
        }
    }

    pub(crate) fn pop(&self) -> Option<usize> {
        self.state().0.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().0.is_empty()
    }

    pub(crate) fn set_thread(&self, thread: Thread) {
        self.state().1 = Some(thread);
    }
}

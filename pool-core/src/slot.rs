//! Where the outcome of a job arrives, and who waits for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::Thread;

use crate::bytes::{Bytes, INLINE};
use crate::error::Error;
use crate::landing::Landing;

/// Of a map, or of one call. There may be ten million.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// What has happened ([`FINISHED`] ...), and the length of a short value.
    state: AtomicU8,
    fresh: AtomicBool,
    /// The value of a call if it is [short](Slot::short), as most are: nobody has to lock anything for it.
    short: [AtomicU64; 2],
    /// All else.
    inbox: Mutex<Option<Box<Inbox>>>,
}

/// The bits of a slot's state that hold the length of a short value.
const LENGTH: u8 = 0x0f;
/// The call has a short value.
const SHORT: u8 = 0x10;
/// Nothing more will come.
const FINISHED: u8 = 0x20;
/// There is a waiter in the inbox.
const AWAITED: u8 = 0x40;
/// Nobody will look any more.
const ABANDONED: u8 = 0x80;
const _: () = assert!(INLINE <= LENGTH as usize && size_of::<Slot>() <= 40);

#[derive(Debug, Default)]
struct Inbox {
    parts: Parts,
    /// Why the items that have not been delivered never will be.
    rest: Option<Error>,
    waiter: Option<Waiter>,
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

impl Part {
    fn duplicate(&self) -> Part {
        let values = self.values.as_ref().map(|bytes| Bytes::copy_of(bytes)).map_err(Error::duplicate);
        Part { values, ..*self }
    }
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
        }
    }

    /// All that have not landed.
    fn as_slice(&self) -> &[Part] {
        match self {
            Parts::None => &[],
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Many(parts) => parts,
            Parts::Landed(landed) => &landed.others,
        }
    }
}

impl IntoIterator for Parts {
    type Item = Part;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Part>, std::vec::IntoIter<Part>>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Parts::None => None.into_iter().chain(Vec::new()),
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

impl Slot {
    #[inline]
    fn inbox(&self) -> MutexGuard<'_, Option<Box<Inbox>>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.state.load(Ordering::Acquire) & flag != 0
    }

    /// Takes the outcome of some items. The waiter, if it is to be told now.
    pub(crate) fn deliver(&self, part: Part) -> Option<Waiter> {
        let mut inbox = self.inbox();
        if self.has(ABANDONED) {
            return None;
        }
        let inbox = inbox.get_or_insert_default();
        inbox.parts.push(part);
        self.fresh.store(true, Ordering::Release);
        inbox.waiter.take_if(|waiter| matches!(waiter, Waiter::Thread(_)))
    }

    /// Takes the outcome of a call.
    pub(crate) fn complete(&self, part: Part) -> Option<Waiter> {
        let mut inbox = self.inbox();
        if !self.has(ABANDONED) {
            inbox.get_or_insert_default().parts = Parts::One(part);
        }
        self.end(&mut inbox)
    }

    /// Takes the value of a call, the first `length` bytes of these words.
    #[inline]
    pub(crate) fn complete_short(&self, words: [u64; 2], length: u8) -> Option<Waiter> {
        self.short.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
        // Either this finds that there is a waiter, or who brings one finds that this is finished.
        let before = self.state.swap(FINISHED | SHORT | length, Ordering::AcqRel);
        if before & AWAITED == 0 { None } else { self.inbox().as_mut()?.waiter.take() }
    }

    /// This is the one place where a job ends, but for a call of a short value.
    fn end(&self, inbox: &mut Option<Box<Inbox>>) -> Option<Waiter> {
        self.state.fetch_or(FINISHED, Ordering::Release);
        inbox.as_mut()?.waiter.take()
    }

    /// Nothing more will come; `rest` says why, if items are missing.
    pub(crate) fn finish(&self, rest: Option<Error>, landing: Option<Box<dyn Landing>>) -> Option<Waiter> {
        let mut inbox = self.inbox();
        if rest.is_some() || landing.is_some() {
            let inbox = inbox.get_or_insert_default();
            inbox.rest = rest;
            if let Some(landing) = landing {
                let others = std::mem::take(&mut inbox.parts).into_iter().collect();
                inbox.parts = Parts::Landed(Box::new(Landed { landing, others }));
            }
        }
        self.end(&mut inbox)
    }

    /// Whether nothing more will come.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.has(FINISHED)
    }

    /// Whether there is something to [take](Slot::take), or never will be.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.fresh.load(Ordering::Acquire) || self.is_finished()
    }

    /// The value of a finished call, if it is of a few bytes; it stays. All else is to be [taken](Slot::take).
    #[inline]
    pub(crate) fn short(&self) -> Option<Bytes> {
        let state = self.state.load(Ordering::Acquire);
        if state & SHORT == 0 {
            return None;
        }
        let words = self.short.each_ref().map(|word| word.load(Ordering::Relaxed));
        Some(Bytes::of_words(words, state & LENGTH))
    }

    /// What has arrived.
    #[inline]
    pub(crate) fn take(&self) -> Parts {
        let mut inbox = self.inbox();
        self.fresh.store(false, Ordering::Relaxed);
        inbox.as_mut().map(|inbox| std::mem::take(&mut inbox.parts)).unwrap_or_default()
    }

    /// Another slot with the same outcome, which can be taken from there while it stays here. Of a map whose values have
    /// landed it has the others: those that have landed are values for sure.
    pub(crate) fn copy(&self) -> Slot {
        let copy = Slot::default();
        if let Some(bytes) = self.short() {
            copy.complete(Part { first: 0, items: 1, whole: false, values: Ok(bytes) });
            return copy;
        }
        let inbox = self.inbox();
        let Some(Inbox { parts, rest, .. }) = inbox.as_deref() else { return copy };
        parts.as_slice().iter().for_each(|part| _ = copy.deliver(part.duplicate()));
        copy.finish(rest.as_ref().map(Error::duplicate), None);
        copy
    }

    /// The outcome has been taken, and was this error: what is asked later is answered accordingly.
    pub(crate) fn keep_failure(&self, error: Error) {
        self.inbox().get_or_insert_default().rest = Some(error);
    }

    /// Why the items that were not delivered never will be.
    pub(crate) fn rest(&self) -> Option<Error> {
        self.inbox().as_ref()?.rest.as_ref().map(Error::duplicate)
    }

    /// Whether all that has arrived are values, and nothing is missing.
    pub(crate) fn is_success(&self) -> bool {
        let inbox = self.inbox();
        let Some(Inbox { parts, rest, .. }) = inbox.as_deref() else { return true };
        rest.is_none() && parts.as_slice().iter().all(|part| part.values.is_ok())
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
        let inbox = inbox.get_or_insert_default();
        inbox.waiter = Some(waiter);
        // A short value may have come meanwhile.
        let before = self.state.fetch_or(AWAITED, Ordering::AcqRel);
        inbox.waiter.take_if(|_| before & FINISHED != 0).map_or(Ok(()), Err)
    }

    /// What arrives from now on is dropped.
    pub(crate) fn abandon(&self) {
        let mut inbox = self.inbox();
        self.state.fetch_or(ABANDONED, Ordering::Relaxed);
        *inbox = None;
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

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn callback() -> Waiter {
        Waiter::Callback(Box::new(|| ()))
    }

    #[test]
    fn short_values_of_any_length_stay() {
        for length in 0..=INLINE as u8 {
            let slot = Slot::default();
            assert!(slot.short().is_none() && !slot.is_finished());
            assert!(slot.complete_short([u64::MAX, 7], length).is_none());
            let mut bytes = [0xff; INLINE];
            bytes[8..].copy_from_slice(&[7, 0, 0, 0, 0, 0, 0]);
            for _ in 0..2 {
                assert_eq!(slot.short().as_deref(), Some(&bytes[..length.into()]));
            }
            assert!(slot.is_finished() && slot.is_success() && slot.set_waiter(callback()).is_err());
        }
    }

    /// Two threads at once: one brings the value, one a waiter. Exactly one of them has to do with the waiter.
    #[test]
    fn a_waiter_hears_of_a_short_value() {
        const ROUNDS: usize = 20_000;
        let slots: Vec<_> = (0..ROUNDS).map(|_| Slot::default()).collect();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            let values = scope.spawn(|| {
                barrier.wait();
                slots.iter().map(|slot| slot.complete_short([1, 2], INLINE as u8).is_some()).collect::<Vec<_>>()
            });
            barrier.wait();
            let waits: Vec<_> = slots.iter().map(|slot| slot.set_waiter(callback()).is_ok()).collect();
            assert_eq!(values.join().unwrap(), waits, "a waiter that was taken is told, and nobody else");
        });
    }

    #[test]
    fn an_abandoned_slot_keeps_nothing() {
        let part = || Part { first: 0, items: 1, whole: false, values: Ok(Bytes::Heap(vec![0; 100])) };
        let slot = Slot::default();
        slot.deliver(part());
        slot.abandon();
        slot.deliver(part());
        assert!(matches!(slot.take(), Parts::None) && !slot.is_finished());
        slot.complete(part());
        assert!(matches!(slot.take(), Parts::None) && slot.is_finished());
    }
}

//! The completion: the place where the outcome of a job arrives, with the waiters for it.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::codec::bytes::{Bytes, INLINE};
use crate::codec::number_buffer::ResultBuffer;
use crate::error::Error;
use crate::job::origin::Origin;
use crate::job::status::{LENGTH, Status};
pub(crate) use crate::job::waiters::Waiter;
use crate::job::waiters::{CompletionQueue, Waiters};

/// Completion of a map or of one call. Millions may be pending, so it stays within 40 bytes.
#[derive(Debug, Default)]
pub(crate) struct Completion {
    /// Its flags, and the value of a call if it is [short](Completion::short), as most are: that takes no lock.
    status: Status,
    /// Everything else.
    inbox: Mutex<Option<Box<Inbox>>>,
}

const _: () = assert!(INLINE <= LENGTH as usize && size_of::<Completion>() <= 40);

#[derive(Debug, Default)]
struct Inbox {
    parts: Parts,
    /// The reason why the items that have not been delivered never will be.
    rest: Option<Error>,
    waiters: Option<Waiters>,
}

/// The outcome of consecutive items.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) items: u32,
    /// The one value is its bytes, without a frame.
    pub(crate) raw: bool,
    pub(crate) values: Result<Bytes, Error>,
    /// Only where the caller has asked for it.
    pub(crate) origin: Option<Box<Origin>>,
}

impl Part {
    /// The indices of its items.
    pub(crate) fn indices(&self) -> Range<u64> {
        self.first..self.first + u64::from(self.items)
    }

    fn duplicate(&self) -> Part {
        let values = self.values.as_ref().map(Bytes::duplicate).map_err(Error::duplicate);
        Part { values, origin: self.origin.clone(), ..*self }
    }
}

/// Parts that have arrived. The single part of a call takes no allocation of its own.
#[derive(Debug, Default)]
pub(crate) enum Parts {
    #[default]
    None,
    One(Part),
    Many(Vec<Part>),
    /// The outcome of a finished map that has a result buffer.
    Buffered(Box<Buffered>),
}

/// Values in the result buffer, and the parts that could not go there.
#[derive(Debug)]
pub(crate) struct Buffered {
    pub(crate) result_buffer: Box<dyn ResultBuffer>,
    pub(crate) others: Vec<Part>,
}

impl Parts {
    fn push(&mut self, part: Part) {
        // Taken out, since the variant changes with the second part.
        match std::mem::take(self) {
            Parts::None => *self = Parts::One(part),
            Parts::One(first) => *self = Parts::Many(vec![first, part]),
            Parts::Many(mut parts) => {
                parts.push(part);
                *self = Parts::Many(parts);
            }
            Parts::Buffered(mut buffered) => {
                buffered.others.push(part);
                *self = Parts::Buffered(buffered);
            }
        }
    }

    /// The parts that are not in a result buffer.
    fn as_slice(&self) -> &[Part] {
        match self {
            Parts::None => &[],
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Many(parts) => parts,
            Parts::Buffered(buffered) => &buffered.others,
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
            Parts::Buffered(buffered) => None.into_iter().chain(buffered.others),
        }
    }
}

impl Completion {
    #[inline]
    fn inbox(&self) -> MutexGuard<'_, Option<Box<Inbox>>> {
        // No code of the user's runs under it, so a panic leaves nothing half done.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the outcome of some items. Returns the waiters for news.
    pub(crate) fn deliver(&self, part: Part) -> Option<Waiters> {
        let mut inbox = self.inbox();
        // Checked under the lock: `abandon` empties the inbox under it, and a part that came behind would stay for
        // ever.
        if self.status.is_abandoned() {
            return None;
        }
        let inbox = inbox.get_or_insert_default();
        inbox.parts.push(part);
        // Under the lock and behind the push, so that a thread that sees the news finds the part.
        self.status.set_news(true);
        Waiters::take_if(&mut inbox.waiters, Waiter::is_for_news)
    }

    /// Ends a call with its outcome. Returns all waiters.
    pub(crate) fn complete(&self, part: Part) -> Option<Waiters> {
        let mut inbox = self.inbox();
        if !self.status.is_abandoned() {
            // The inbox is made with the first thing that needs it: a short value needs none.
            inbox.get_or_insert_default().parts = Parts::One(part);
        }
        self.end(&mut inbox)
    }

    /// Ends a call with a short value: the first `length` bytes of these words. Returns all waiters.
    #[inline]
    pub(crate) fn complete_short(&self, words: [u64; 2], length: u8) -> Option<Waiters> {
        // The inbox is looked at only if a waiter may be there: most values are there before they are asked for.
        if self.status.finish_short(words, length) { self.inbox().as_mut()?.waiters.take() } else { None }
    }

    /// The only place where a job ends, except a call with a short value.
    fn end(&self, inbox: &mut Option<Box<Inbox>>) -> Option<Waiters> {
        // Before the waiters are taken, so that each of them finds the end when it wakes.
        self.status.finish();
        inbox.as_mut()?.waiters.take()
    }

    /// Ends the job: nothing more will come. `rest` is the reason, if items are missing.
    pub(crate) fn finish(&self, rest: Option<Error>, result_buffer: Option<Box<dyn ResultBuffer>>) -> Option<Waiters> {
        let mut inbox = self.inbox();
        if rest.is_some() || result_buffer.is_some() {
            let inbox = inbox.get_or_insert_default();
            inbox.rest = rest;
            if let Some(result_buffer) = result_buffer {
                // Failures came as parts; they go along with the buffer, where their places are empty.
                let others = std::mem::take(&mut inbox.parts).into_iter().collect();
                inbox.parts = Parts::Buffered(Box::new(Buffered { result_buffer, others }));
            }
        }
        self.end(&mut inbox)
    }

    /// Whether nothing more will come.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.status.is_finished()
    }

    /// Whether there is something to [take](Completion::take), or never will be.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.status.has_news()
    }

    /// The value of a finished call, if it is of a few bytes; it stays. All else is to be [taken](Completion::take).
    #[inline]
    pub(crate) fn short(&self) -> Option<Bytes> {
        self.status.short().map(|(words, length)| Bytes::of_words(words, length))
    }

    /// Takes the parts that have arrived.
    #[inline]
    pub(crate) fn take(&self) -> Parts {
        let mut inbox = self.inbox();
        // Under the lock: news that come meanwhile wait for it, and stay.
        self.status.set_news(false);
        inbox.as_mut().map(|inbox| std::mem::take(&mut inbox.parts)).unwrap_or_default()
    }

    /// A second completion with the same outcome, which can be taken from there while it stays here. Values in a result
    /// buffer are left out: they are values for sure.
    pub(crate) fn copy(&self) -> Completion {
        let copy = Completion::default();
        // A short value stays where it is, and has no part in the inbox to be copied.
        if let Some(bytes) = self.short() {
            copy.complete(Part { first: 0, items: 1, raw: false, values: Ok(bytes), origin: None });
            return copy;
        }
        let inbox = self.inbox();
        let Some(Inbox { parts, rest, .. }) = inbox.as_deref() else { return copy };
        parts.as_slice().iter().for_each(|part| _ = copy.deliver(part.duplicate()));
        copy.finish(rest.as_ref().map(Error::duplicate), None);
        copy
    }

    /// Keeps an error after the outcome has been taken, so that later questions are answered accordingly.
    pub(crate) fn keep_failure(&self, error: Error) {
        self.inbox().get_or_insert_default().rest = Some(error);
    }

    /// Returns the reason why the items that were not delivered never will be.
    pub(crate) fn rest(&self) -> Option<Error> {
        self.inbox().as_ref()?.rest.as_ref().map(Error::duplicate)
    }

    /// Whether all that has arrived are values, and nothing is missing.
    pub(crate) fn is_success(&self) -> bool {
        let inbox = self.inbox();
        let Some(Inbox { parts, rest, .. }) = inbox.as_deref() else { return true };
        rest.is_none() && parts.as_slice().iter().all(|part| part.values.is_ok())
    }

    /// Has the waiter told, beside those that are there. Returns the one that it replaces, or the waiter itself if there is
    /// nothing to wait for: either may have a destructor of the user's, which must not run under the lock.
    pub(crate) fn set_waiter(&self, waiter: Waiter) -> Result<Option<Waiter>, Waiter> {
        let mut inbox = self.inbox();
        // News that are there would not be told of again.
        if waiter.is_for_news() && self.has_news() {
            return Err(waiter);
        }
        // Before the waiter is there, but under the lock: a short value that comes from here on looks for it behind that.
        if !self.status.begin_wait() {
            return Err(waiter);
        }
        Ok(Waiters::add(&mut inbox.get_or_insert_default().waiters, waiter))
    }

    /// Whether there is an outcome; if not, the waker is woken when there is.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        if self.is_finished() {
            return true;
        }
        // Polled again with the same waker, as nearly always: to clone it would cost more than the look.
        if self.inbox().as_ref().and_then(|inbox| inbox.waiters.as_ref()).is_some_and(|own| own.has_task(waker)) {
            return self.is_finished();
        }
        // Both the clone and the drop of a waker that is replaced are the user's code, so they are outside the lock.
        self.set_waiter(Waiter::Task(waker.clone())).is_err()
    }

    /// Whether there is something to [take](Completion::take), or never will be; if not, the waker is woken when there is.
    #[cfg(feature = "stream")]
    pub(crate) fn poll_news(&self, waker: &Waker) -> bool {
        if self.has_news() {
            return true;
        }
        if self.inbox().as_ref().and_then(|inbox| inbox.waiters.as_ref()).is_some_and(|own| own.has_task(waker)) {
            return self.has_news();
        }
        self.set_waiter(Waiter::TaskNews(waker.clone())).is_err()
    }

    /// Takes this thread out of the waiters.
    pub(crate) fn forget_this_thread(&self) {
        drop(self.take_waiters(Waiter::is_this_thread));
    }

    /// Takes the registrations of this queue out of the waiters.
    pub(crate) fn forget(&self, queue: &Arc<CompletionQueue>) {
        drop(self.take_waiters(|waiter| waiter.is_of(queue)));
    }

    fn take_waiters(&self, which: impl Fn(&Waiter) -> bool) -> Option<Waiters> {
        Waiters::take_if(&mut self.inbox().as_mut()?.waiters, which)
    }

    /// Drops the parts and waiters that are there, and the parts that still arrive.
    pub(crate) fn abandon(&self) {
        let inbox = {
            let mut inbox = self.inbox();
            self.status.abandon();
            inbox.take()
        };
        // Behind the lock: a waker's destructor may use the pool, and the pool takes this lock under its own.
        drop(inbox);
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
            let completion = Completion::default();
            assert!(completion.short().is_none() && !completion.is_finished());
            assert!(completion.complete_short([u64::MAX, 7], length).is_none());
            let mut bytes = [0xff; INLINE];
            bytes[8..].copy_from_slice(&[7, 0, 0, 0, 0, 0, 0]);
            for _ in 0..2 {
                assert_eq!(completion.short().as_deref(), Some(&bytes[..length.into()]));
            }
            assert!(completion.is_finished() && completion.is_success() && completion.set_waiter(callback()).is_err());
        }
    }

    /// Two threads at once: one brings the value, one a waiter. Exactly one of them has to do with the waiter.
    #[test]
    fn a_waiter_hears_of_a_short_value() {
        const ROUNDS: usize = 20_000;
        let completions: Vec<_> = (0..ROUNDS).map(|_| Completion::default()).collect();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            let values = scope.spawn(|| {
                barrier.wait();
                completions
                    .iter()
                    .map(|completion| completion.complete_short([1, 2], INLINE as u8).is_some())
                    .collect::<Vec<_>>()
            });
            barrier.wait();
            let waits: Vec<_> =
                completions.iter().map(|completion| completion.set_waiter(callback()).is_ok()).collect();
            assert_eq!(values.join().unwrap(), waits, "a waiter that was taken is told, and nobody else");
        });
    }

    #[test]
    fn an_abandoned_completion_keeps_nothing() {
        let part = || Part { first: 0, items: 1, raw: false, values: Ok(Bytes::Heap(vec![0; 100])), origin: None };
        let completion = Completion::default();
        completion.deliver(part());
        completion.abandon();
        completion.deliver(part());
        assert!(matches!(completion.take(), Parts::None) && !completion.is_finished());
        completion.complete(part());
        assert!(matches!(completion.take(), Parts::None) && completion.is_finished());
    }
}

//! Sleeps until a peer has news, and misses none: announce, check again, sleep.
//!
#![doc = include_str!("doorbell.md")]

use std::time::{Duration, Instant};

use super::futex::Futex;
use super::sync::{AtomicU32, Ordering, store_load_fence};

/// The two words of one sleeper.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doorbell<'a> {
    /// 0 while the sleeper is awake, else its [announcement]. Only the sleeper writes it.
    pub(crate) asleep: &'a AtomicU32,
    /// The word that notifiers change and the sleeper sleeps on.
    pub(crate) bell: &'a Futex,
}

impl Doorbell<'_> {
    /// Sleeps until `ready` or the deadline; true if `ready` has been true. `ready` must look at shared memory.
    ///
    /// At most one thread may wait here at a time.
    #[inline]
    pub(crate) fn wait(self, mut ready: impl FnMut() -> bool, deadline: Option<Instant>) -> bool {
        loop {
            if let Some(news) = self.sleep_once(&mut ready, deadline) {
                return news;
            }
        }
    }

    /// As [`wait`](Doorbell::wait), but returns `None` after each wake-up.
    #[inline]
    pub(crate) fn sleep_once(self, ready: &mut impl FnMut() -> bool, deadline: Option<Instant>) -> Option<bool> {
        let heard = self.bell.heard(); // before the announcement: a notification after it must change the word we sleep on
        self.asleep.store(announcement(heard), Ordering::Relaxed);
        // SYNC BELL, with `notify`: announce, then look for news. Loom model: a_request_wakes_the_worker.
        store_load_fence();
        let news = ready();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let is_over = news || left == Some(Duration::ZERO);
        if !is_over {
            self.bell.wait(heard, left);
        }
        self.asleep.store(0, Ordering::Relaxed); // a notifier that sees this late makes a system call in vain
        is_over.then_some(news)
    }

    /// Wakes the sleeper if it has announced itself; call it after publishing. True if that took a system call.
    #[inline]
    pub(crate) fn notify(self) -> bool {
        // SYNC BELL, with `sleep_once`: publish news, then look for a sleeper. Loom model: many_notifiers_wake_one_sleeper.
        store_load_fence();
        self.notify_after_fence()
    }

    /// [`Doorbell::notify`] where all notifiers are one process: a sleeper that has not announced itself since the last
    /// notification is not notified again.
    #[inline]
    pub(crate) fn notify_once(self) -> bool {
        // SYNC BELL, as in `notify`. Loom models: a_request_wakes_the_worker, an_early_notification_is_not_the_last.
        store_load_fence();
        let is_new = self.asleep.load(Ordering::Relaxed) == announcement(self.bell.heard());
        if is_new {
            self.bell.notify();
        }
        is_new
    }

    /// [`Doorbell::notify`] for a caller that has passed the fence since it published its news.
    #[inline]
    fn notify_after_fence(self) -> bool {
        let asleep = self.asleep.load(Ordering::Relaxed) != 0;
        if asleep {
            self.bell.notify();
        }
        asleep
    }
}

/// The value of `asleep` of a sleeper that sleeps until the bell differs from `heard`; never 0.
#[inline]
fn announcement(heard: u32) -> u32 {
    heard | 1 << 31
}

/// Two sleepers of one process. A notifier wakes the one in charge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switchboard<'a> {
    /// Not 0 while the caller is in charge. Only the sleepers' process writes it.
    pub(crate) led: &'a AtomicU32,
    pub(crate) caller: Doorbell<'a>,
    pub(crate) router: Doorbell<'a>,
}

impl Switchboard<'_> {
    /// A caller that stops being in charge must look for news once more after this.
    #[inline]
    pub(crate) fn set_led(self, led: bool) {
        self.led.store(u32::from(led), Ordering::Relaxed);
        // SYNC LED, with `notify`: leave, then look for news. Loom model: a_reply_is_not_lost_between_leader_and_router.
        store_load_fence();
    }

    /// Wakes the sleeper in charge if it sleeps; call it after publishing. True if that took a system call.
    #[inline]
    pub(crate) fn notify(self) -> bool {
        // SYNC BELL with `sleep_once` and SYNC LED with `set_led`: publish news, then look for the sleeper in charge. Loom model:
        // a_reply_is_not_lost_between_leader_and_router.
        store_load_fence();
        match self.led.load(Ordering::Relaxed) {
            0 => self.router.notify_after_fence(),
            _ => self.caller.notify_after_fence(),
        }
    }

    /// As [`notify`](Switchboard::notify) if the caller is in charge. Otherwise false: the router must still be notified.
    #[inline]
    pub(crate) fn notify_caller(self) -> bool {
        // SYNC BELL and SYNC LED, as in `notify`.
        store_load_fence();
        let is_led = self.led.load(Ordering::Relaxed) != 0;
        if is_led {
            self.caller.notify_after_fence();
        }
        is_led
    }
}

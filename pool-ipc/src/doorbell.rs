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

    /// As [`notify`](Doorbell::notify) if `is_wanted`. That is asked behind the fence, and only of a sleeper that has announced
    /// itself.
    #[inline]
    pub(crate) fn notify_if(self, is_wanted: impl FnOnce() -> bool) {
        // SYNC BELL, as in `notify`. Loom model: a_leader_that_sleeps_hears_of_an_outcome_that_another_thread_takes_in of
        // pool-core.
        store_load_fence();
        if self.asleep.load(Ordering::Relaxed) != 0 && is_wanted() {
            self.bell.notify();
        }
    }

    /// [`Doorbell::notify`] where all notifiers are one process: a sleeper that has not announced itself since the last
    /// notification is not notified again.
    #[inline]
    pub(crate) fn notify_once(self) -> bool {
        // SYNC BELL, as in `notify`. Loom models: a_request_wakes_the_worker, an_early_notification_is_not_the_last.
        store_load_fence();
        // The announcement holds the bell's count: if that has changed, another notification is waking the sleeper.
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

/// The threads of the host that look for replies, so the ones that a worker must wake that has published one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Watch {
    /// The router alone.
    Router = 0,
    /// The leader, which may sleep.
    Leader = 1,
    /// Threads that stay awake, so nobody need be woken.
    Awake = 2,
}

/// Two sleepers of one process. A notifier wakes the one that is on watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switchboard<'a> {
    /// A [`Watch`]. Only the sleepers' process writes it.
    pub(crate) watch: &'a AtomicU32,
    pub(crate) caller: Doorbell<'a>,
    pub(crate) router: Doorbell<'a>,
}

impl Switchboard<'_> {
    /// A thread that leaves the watch to a sleeper must look for news once more after this.
    #[inline]
    pub(crate) fn set_watch(self, watch: Watch) {
        self.watch.store(watch as u32, Ordering::Relaxed);
        // SYNC WATCH, with `notify`: leave, then look for news. Loom models: a_reply_is_not_lost_between_leader_and_router, and
        // a_follower_is_told_or_leads of pool-core.
        store_load_fence();
    }

    /// Wakes the sleeper on watch if it sleeps; call it after publishing. True if that took a system call.
    #[inline]
    pub(crate) fn notify(self) -> bool {
        // SYNC BELL with `sleep_once` and SYNC WATCH with `set_watch`: publish news, then look for the sleeper on watch. Loom
        // model: a_reply_is_not_lost_between_leader_and_router.
        store_load_fence();
        self.notify_after_fence()
    }

    /// As [`notify`](Switchboard::notify) if callers are on watch. Otherwise false: the router must still be notified.
    #[inline]
    pub(crate) fn notify_caller(self) -> bool {
        // SYNC BELL and SYNC WATCH, as in `notify`.
        store_load_fence();
        let is_watched = self.watch.load(Ordering::Relaxed) != Watch::Router as u32;
        if is_watched {
            self.notify_after_fence();
        }
        is_watched
    }

    #[inline]
    fn notify_after_fence(self) -> bool {
        const ROUTER: u32 = Watch::Router as u32;
        const LEADER: u32 = Watch::Leader as u32;
        match self.watch.load(Ordering::Relaxed) {
            ROUTER => self.router.notify_after_fence(),
            LEADER => self.caller.notify_after_fence(),
            // An awake caller looks by itself.
            _ => false,
        }
    }
}

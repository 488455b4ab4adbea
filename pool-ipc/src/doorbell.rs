//! Sleeping until a peer has news, without missing any: announce, re-check, sleep.
//!
#![doc = include_str!("doorbell.md")]

use std::time::{Duration, Instant};

use super::sync::{AtomicU32, Futex, Ordering, store_load_fence};

/// The two words of one sleeper.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doorbell<'a> {
    /// Not 0 while the sleeper sleeps or is about to, but what it has [heard](announcement); written by the sleeper only.
    pub(crate) asleep: &'a AtomicU32,
    /// Written by the ringers.
    pub(crate) bell: &'a Futex,
}

impl Doorbell<'_> {
    /// Sleeps until `ready`, which must look at shared memory, or until the deadline. True if `ready` has been true.
    ///
    /// At most one thread may wait here at a time.
    #[inline]
    pub(crate) fn wait(self, mut ready: impl FnMut() -> bool, deadline: Option<Instant>) -> bool {
        loop {
            if let Some(news) = self.doze(&mut ready, deadline) {
                return news;
            }
        }
    }

    /// As [`wait`](Doorbell::wait), but `None` when it is rung.
    #[inline]
    pub(crate) fn doze(self, ready: &mut impl FnMut() -> bool, deadline: Option<Instant>) -> Option<bool> {
        let heard = self.bell.heard(); // before the announcement: a ring after it must change what we sleep on
        self.asleep.store(announcement(heard), Ordering::Relaxed);
        store_load_fence(); // SYNC BELL, with `ring`: our announcement before our look for news
        let news = ready();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let is_over = news || left == Some(Duration::ZERO);
        if !is_over {
            self.bell.wait(heard, left);
        }
        self.asleep.store(0, Ordering::Relaxed); // when this is seen late, somebody rings for nothing
        is_over.then_some(news)
    }

    /// Wakes the sleeper if it has announced itself; call it after publishing. True if that took a system call.
    #[inline]
    pub(crate) fn ring(self) -> bool {
        store_load_fence(); // SYNC BELL, with `wait`: our news before our look for a sleeper
        self.ring_after_fence()
    }

    /// As [`ring`](Doorbell::ring) if `is_wanted`, which is asked behind the fence and only if the sleeper has announced itself.
    #[inline]
    pub(crate) fn ring_if(self, is_wanted: impl FnOnce() -> bool) {
        store_load_fence(); // SYNC BELL, as in `ring`
        if self.asleep.load(Ordering::Relaxed) != 0 && is_wanted() {
            self.bell.ring();
        }
    }

    /// [`Doorbell::ring`] where all ringers are one process: a sleeper that has not announced itself since the last ring need not
    /// be rung again.
    #[inline]
    pub(crate) fn ring_once(self) -> bool {
        store_load_fence(); // SYNC BELL, as in `ring`
        let is_new = self.asleep.load(Ordering::Relaxed) == announcement(self.bell.heard());
        if is_new {
            self.bell.ring();
        }
        is_new
    }

    /// [`Doorbell::ring`] for a caller that has put the fence between its news and here already.
    #[inline]
    fn ring_after_fence(self) -> bool {
        let asleep = self.asleep.load(Ordering::Relaxed) != 0;
        if asleep {
            self.bell.ring();
        }
        asleep
    }
}

/// What a sleeper says who sleeps until the bell has another value than this.
#[inline]
fn announcement(heard: u32) -> u32 {
    heard | 1 << 31
}

/// The threads of the host that look for replies, so whom a worker wakes that has published one.
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

/// Two sleepers of one process, of whom the ringers wake the one that is on watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switchboard<'a> {
    /// A [`Watch`]; written by the sleepers' process only.
    pub(crate) watch: &'a AtomicU32,
    pub(crate) caller: Doorbell<'a>,
    pub(crate) router: Doorbell<'a>,
}

impl Switchboard<'_> {
    /// A thread that leaves the watch to others, or to nobody, must look for news once more after this.
    #[inline]
    pub(crate) fn set_watch(self, watch: Watch) {
        self.watch.store(watch as u32, Ordering::Relaxed);
        store_load_fence(); // SYNC WATCH, with `ring`: our leaving before our last look for news
    }

    /// Wakes the sleeper that is on watch, if it sleeps; call it after publishing. True if that took a system call.
    #[inline]
    pub(crate) fn ring(self) -> bool {
        store_load_fence(); // SYNC BELL and SYNC WATCH: our news before our look for who must hear of it
        self.ring_after_fence()
    }

    /// As [`ring`](Switchboard::ring) if callers are on watch; else nothing, and false: the router is still to be rung.
    #[inline]
    pub(crate) fn ring_caller(self) -> bool {
        store_load_fence(); // SYNC BELL and SYNC WATCH: as in `ring`
        let is_watched = self.watch.load(Ordering::Relaxed) != Watch::Router as u32;
        if is_watched {
            self.ring_after_fence();
        }
        is_watched
    }

    #[inline]
    fn ring_after_fence(self) -> bool {
        const ROUTER: u32 = Watch::Router as u32;
        const LEADER: u32 = Watch::Leader as u32;
        match self.watch.load(Ordering::Relaxed) {
            ROUTER => self.router.ring_after_fence(),
            LEADER => self.caller.ring_after_fence(),
            _ => false,
        }
    }
}

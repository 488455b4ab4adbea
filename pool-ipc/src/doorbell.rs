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
    pub(crate) fn notify(self) -> bool {
        store_load_fence(); // SYNC BELL, with `wait`: our news before our look for a sleeper
        self.notify_after_fence()
    }

    /// [`Doorbell::notify`] where all ringers are one process: nobody need be rung who has not announced himself since the last
    /// ring.
    #[inline]
    pub(crate) fn notify_once(self) -> bool {
        store_load_fence(); // SYNC BELL, as in `ring`
        let is_new = self.asleep.load(Ordering::Relaxed) == announcement(self.bell.heard());
        if is_new {
            self.bell.notify();
        }
        is_new
    }

    /// [`Doorbell::notify`] for a caller that has put the fence between its news and here already.
    #[inline]
    fn notify_after_fence(self) -> bool {
        let asleep = self.asleep.load(Ordering::Relaxed) != 0;
        if asleep {
            self.bell.notify();
        }
        asleep
    }
}

/// What a sleeper says who sleeps until the bell has another value than this.
#[inline]
fn announcement(heard: u32) -> u32 {
    heard | 1 << 31
}

/// Two sleepers of one process, of whom the ringers wake the one in charge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switchboard<'a> {
    /// Not 0 while the caller is in charge; written by the sleepers' process only.
    pub(crate) led: &'a AtomicU32,
    pub(crate) caller: Doorbell<'a>,
    pub(crate) router: Doorbell<'a>,
}

impl Switchboard<'_> {
    /// Whoever leaves the charge must look for news once more after this.
    #[inline]
    pub(crate) fn set_led(self, led: bool) {
        self.led.store(u32::from(led), Ordering::Relaxed);
        store_load_fence(); // SYNC LED, with `ring`: our leaving before our last look for news
    }

    /// Wakes whoever is in charge, if asleep; call it after publishing. True if that took a system call.
    #[inline]
    pub(crate) fn notify(self) -> bool {
        store_load_fence(); // SYNC BELL and SYNC LED: our news before our look for who must hear of it
        match self.led.load(Ordering::Relaxed) {
            0 => self.router.notify_after_fence(),
            _ => self.caller.notify_after_fence(),
        }
    }

    /// As [`notify`](Switchboard::notify) if the caller is in charge; else nothing, and false: the router is still to be rung.
    #[inline]
    pub(crate) fn notify_caller(self) -> bool {
        store_load_fence(); // SYNC BELL and SYNC LED: as in `ring`
        let is_led = self.led.load(Ordering::Relaxed) != 0;
        if is_led {
            self.caller.notify_after_fence();
        }
        is_led
    }
}

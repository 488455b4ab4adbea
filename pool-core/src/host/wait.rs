//! Waiting for an outcome, in the thread that called.
//!
//! A thread stays awake for some microseconds, in which most outcomes of short calls come, and then sleeps. Argued in
//! `waiting.md`.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pool_ipc::{Backoff, Sleeper};

use crate::engine::Engine;
use crate::host::Host;
use crate::host::leadership::{Duty, Place};
use crate::host::rest::Resting;
use crate::job::batch::CompletionRef;
use crate::job::completion::Waiter;

/// The leader's first sleep while chunks are out that end without a notification: those of maps that have others behind
/// them.
const LEADER_NAP_MIN: Duration = Duration::from_millis(8);
/// The last one: each is twice as long as the one before.
const LEADER_NAP_MAX: Duration = Duration::from_millis(64);

impl Host {
    /// Waits until `ready`; false if the deadline comes first, or in a copy of the host, where it will never be.
    /// `register` has the thread unparked when it should look again.
    #[inline]
    pub(crate) fn wait(
        &self,
        deadline: Option<Instant>,
        mut ready: impl FnMut() -> bool,
        mut register: impl FnMut(Thread),
    ) -> bool {
        ready() || self.wait_until(deadline, &mut ready, &mut register)
    }

    /// Waits for news of the completion; false if the deadline comes first.
    pub(crate) fn wait_for_news(&self, completion: &CompletionRef, deadline: Option<Instant>) -> bool {
        let register = |thread| drop(completion.set_waiter(Waiter::Thread(thread)));
        self.wait(deadline, || completion.has_news(), register)
    }

    /// The same for all kinds of waits.
    fn wait_until(
        &self,
        deadline: Option<Instant>,
        ready: &mut dyn FnMut() -> bool,
        register: &mut dyn FnMut(Thread),
    ) -> bool {
        while !ready() {
            if self.check_owner().is_err() {
                return false;
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                // A last look, so that a wait of no time at all takes in the replies that are there.
                self.with(Engine::route);
                return ready();
            }
            // A seat, so that a panic in `ready` gives the place back.
            let mut seat = Seat { host: self, place: self.leadership.enter(&self.hub) };
            if seat.place == Place::Awake {
                self.stay_awake(ready);
                if ready() {
                    return true;
                }
                // Awake for long enough: a CPU that yields all the time is one that workers lack.
                seat.settle();
            }
            match seat.place {
                Place::Awake => {}
                Place::Leader => self.lead(deadline, ready, register),
                Place::Follower => {
                    register(thread::current());
                    // Looked for behind the registration: an outcome that comes from here on unparks the thread.
                    if !ready() {
                        park(deadline);
                    }
                }
            }
        }
        true
    }

    /// Takes in everybody's replies until `ready`, or until it is better to sleep.
    fn stay_awake(&self, ready: &mut dyn FnMut() -> bool) {
        let mut expects_news = true;
        Backoff::crowded().wait(|| {
            let is_ready = ready();
            if !is_ready {
                // A thread that has the engine takes the replies in as well, so that one is not waited for.
                let look = |engine: &mut Engine| {
                    engine.route_news();
                    engine.expects_news()
                };
                // The lock is taken: its holder may be about to bring the outcome.
                expects_news = self.try_with(look).unwrap_or(true);
            }
            is_ready || ready() || !expects_news
        });
    }

    /// Takes in everybody's replies until `ready` or the deadline.
    fn lead(&self, deadline: Option<Instant>, ready: &mut dyn FnMut() -> bool, register: &mut dyn FnMut(Thread)) {
        let mut nap = LEADER_NAP_MIN;
        let mut was_notified_in_vain = false;
        loop {
            // The lead begins with a look: a worker may have relied on the thread that led before.
            let (has_silent_calls, expects_news) =
                self.take_in_news(|engine| (engine.has_silent_calls(), engine.expects_news()));
            if ready() || deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return;
            }
            // An outcome that takes long is not waited for awake: that would take CPUs from the workers.
            let backoff = if expects_news { Backoff::crowded() } else { Backoff::NONE };
            // Without waiting for the lock: its holder takes the replies in.
            if backoff.wait(|| ready() || self.has_news_now()) {
                nap = LEADER_NAP_MIN;
                continue;
            }
            if was_notified_in_vain {
                // Other threads have taken replies in and notified it. From now on they need not, but for its own outcome.
                self.leadership.note_registered(); // before it is, or a thread that uses the registration up would be forgotten
                register(thread::current());
            }
            // No worker notifies of silent chunks, so the leader looks up by itself.
            let until = earlier(deadline, has_silent_calls.then(|| Instant::now() + nap));
            let (mut was_woken, mut found_news) = (false, false);
            let wakes_up = || {
                let is_there = ready() || self.engine().has_news();
                found_news = is_there;
                was_notified_in_vain |= was_woken && !is_there;
                // A wake-up has used the registration up, so the next sleep needs a new one.
                is_there || std::mem::replace(&mut was_woken, true)
            };
            self.hub.wait(Sleeper::Caller, wakes_up, until);
            let is_time_up = until.is_some_and(|until| until <= Instant::now());
            if is_time_up {
                // Reports that a worker has not published are no news, so they are looked for.
                self.with(Engine::route);
            }
            nap = if found_news || !is_time_up { LEADER_NAP_MIN } else { (2 * nap).min(LEADER_NAP_MAX) };
        }
    }

    /// Takes in the replies that are there, then asks. Without news nothing has changed, so nothing follows.
    #[inline]
    fn take_in_news<R>(&self, ask: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine();
        if !engine.has_news() {
            return ask(&mut engine);
        }
        self.carry_out(engine, |engine| {
            engine.route();
            ask(engine)
        })
    }

    /// Whether there are replies, as far as that can be seen without waiting for the lock.
    #[inline]
    fn has_news_now(&self) -> bool {
        self.try_engine().is_some_and(|mut engine| engine.has_news())
    }
}

/// A place where a thread waits, left also by unwinding.
struct Seat<'s> {
    host: &'s Host,
    place: Place,
}

impl Seat<'_> {
    /// Has been awake for long enough.
    fn settle(&mut self) {
        let (place, duty) = self.host.leadership.settle(&self.host.hub);
        self.place = place;
        self.do_duty(duty);
    }

    #[inline]
    fn do_duty(&self, duty: Duty) {
        match duty {
            Duty::None => {}
            // Under the lock and not only if it is free: this look is relied on.
            Duty::LookOnce => self.host.take_in_news(|_| ()),
            Duty::LeaveToRouter => {
                self.host.take_in_news(|_| ());
                if self.host.rest.end(Resting::ReliesOnCallers) {
                    // It has left quiet calls to the leader.
                    self.host.hub.notify(Sleeper::Router);
                }
            }
        }
    }
}

impl Drop for Seat<'_> {
    #[inline]
    fn drop(&mut self) {
        let duty = self.host.leadership.leave(self.place, &self.host.hub);
        if thread::panicking() && duty != Duty::None {
            // The engine may have panicked, so the look is left to another thread.
            self.host.rest.end_any();
            self.host.hub.notify(Sleeper::Router);
            self.host.hub.notify(Sleeper::Caller);
        } else {
            self.do_duty(duty);
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn park(deadline: Option<Instant>) {
    match deadline {
        None => thread::park(),
        Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}

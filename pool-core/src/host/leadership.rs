//! The threads that wait for outcomes, and the choice of those that look for replies.
//!
//! Threads that stay **awake** look for everybody's replies, for some microseconds, and give way to other threads in between.
//! One thread, the **leader**, goes on looking, and sleeps on the hub's caller bell. The others, the **followers**, sleep until
//! their outcome is there. A leader that leaves wakes a follower to lead, unless threads that stay awake are left to do so.
//! While no thread waits, the router looks for replies. Argued in `waiting.md`.

use std::collections::VecDeque;

use crate::sync::{AtomicBool, Hub, Mutex, MutexGuard, Ordering, PoisonError, Thread, Watch, thread};

#[derive(Debug, Default)]
pub(crate) struct Leadership {
    state: Mutex<State>,
    /// The leader is among the waiters of its own outcome, so it need not be notified of each other one.
    is_registered: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    is_led: bool,
    /// Threads that stay awake, without the leader.
    awake: u32,
    followers: VecDeque<Thread>,
}

/// The place of a thread that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Leader,
    Awake,
    Follower,
}

/// The consequence of a change for the thread that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Duty {
    None,
    /// Looks for replies once more: the leader may sleep, and was not notified while this thread was awake.
    LookOnce,
    /// Looks for replies once more, and leaves the next ones to the router.
    LeaveToRouter,
}

impl Leadership {
    #[inline]
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether waiting threads look for replies.
    pub(crate) fn is_watched(&self) -> bool {
        let state = self.state();
        state.is_led || state.awake > 0
    }

    /// Comes in: to lead, if there is no leader.
    #[inline]
    pub(crate) fn enter(&self, hub: &Hub) -> Place {
        let mut state = self.state();
        if state.is_led {
            state.awake += 1;
            // Only the first changes it: workers read this word after each reply, so it is written rarely.
            if state.awake == 1 {
                hub.set_watch(Watch::Awake);
            }
            return Place::Awake;
        }
        self.lead(&mut state);
        // Threads that are awake look for the leader, too, and it need not be notified.
        if state.awake == 0 {
            hub.set_watch(Watch::Leader);
        }
        Place::Leader
    }

    /// A thread has been awake for long enough: leads, if there is no leader, or else follows.
    pub(crate) fn settle(&self, hub: &Hub) -> (Place, Duty) {
        let mut state = self.state();
        state.awake -= 1;
        // From here on workers must notify the leader again, since no thread looks for it.
        let is_last = state.awake == 0;
        if is_last {
            hub.set_watch(Watch::Leader);
        }
        if !state.is_led {
            self.lead(&mut state);
            return (Place::Leader, Duty::None); // a leader looks first
        }
        // At the end: the one that has waited longest leads next.
        state.followers.push_back(thread::current());
        (Place::Follower, if is_last { Duty::LookOnce } else { Duty::None })
    }

    #[inline]
    fn lead(&self, state: &mut State) {
        state.is_led = true;
        // It says something about the leader before.
        self.is_registered.store(false, Ordering::Relaxed);
    }

    /// The leader is about to register as a waiter, as a follower does.
    pub(crate) fn note_registered(&self) {
        // SYNC REGISTERED, with `has_unregistered`: say so, register, and then sleep behind the doorbell's fence. Loom model:
        // a_leader_that_sleeps_hears_of_an_outcome_that_another_thread_takes_in.
        self.is_registered.store(true, Ordering::Relaxed);
    }

    /// Waiters have been taken to be woken, the leader's perhaps.
    pub(crate) fn note_taken(&self) {
        self.is_registered.store(false, Ordering::Relaxed);
    }

    /// Whether the leader, should it sleep, hears of its outcome only by a notification. To be asked behind the
    /// doorbell's fence.
    #[inline]
    pub(crate) fn has_unregistered(&self) -> bool {
        // SYNC REGISTERED, with `note_registered`: take the waiters, pass the doorbell's fence, and then look. Loom model:
        // a_leader_that_sleeps_hears_of_an_outcome_that_another_thread_takes_in.
        !self.is_registered.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn leave(&self, place: Place, hub: &Hub) -> Duty {
        let mut state = self.state();
        match place {
            Place::Leader => state.is_led = false,
            Place::Awake => {
                state.awake -= 1;
                if state.awake == 0 && state.is_led {
                    hub.set_watch(Watch::Leader);
                    return Duty::LookOnce;
                }
            }
            Place::Follower => {
                // It may have been taken out already, by the thread that woke it to lead.
                let me = thread::current().id();
                state.followers.retain(|thread| thread.id() != me);
            }
        }
        if state.is_led || state.awake > 0 {
            return Duty::None;
        }
        // The woken thread comes in again, or leaves: either way it passes here, or leads. So the lead is never lost.
        match state.followers.pop_front() {
            Some(next) => {
                next.unpark();
                Duty::None
            }
            None => {
                hub.set_watch(Watch::Router);
                Duty::LeaveToRouter
            }
        }
    }
}

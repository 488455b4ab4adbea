//! Where threads wait for outcomes.
//!
//! One of them, the **leader**, takes in the replies of all workers, its own and the others', and sleeps on the hub's
//! caller bell. The others, the followers, sleep until they are told. When the leader has what it came for, a
//! follower takes over. While nobody waits, the router thread takes replies in.

use std::collections::VecDeque;

use crate::sync::{Hub, Mutex, MutexGuard, PoisonError, Thread, thread};

#[derive(Debug, Default)]
pub(crate) struct Leadership {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    led: bool,
    followers: VecDeque<Thread>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Leader,
    Follower,
}

impl Leadership {
    #[inline]
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody leads, or is about to.
    pub(crate) fn is_led(&self) -> bool {
        self.state().led
    }

    /// Comes in: to lead, if nobody does.
    #[inline]
    pub(crate) fn enter(&self, hub: &Hub) -> Place {
        let mut state = self.state();
        if !state.led {
            state.led = true;
            hub.set_led(true);
            return Place::Leader;
        }
        state.followers.push_back(thread::current());
        Place::Follower
    }

    /// Leaves. True if nobody leads now and nobody is about to; then replies must be looked for once more.
    #[inline]
    pub(crate) fn leave(&self, place: Place, hub: &Hub) -> bool {
        let mut state = self.state();
        match place {
            Place::Leader => state.led = false,
            Place::Follower => {
                let me = thread::current().id();
                state.followers.retain(|thread| thread.id() != me);
            }
        }
        if state.led {
            return false;
        }
        // Whoever is told comes in again, or leaves; either way it passes here or leads.
        match state.followers.pop_front() {
            Some(next) => {
                next.unpark();
                false
            }
            None => {
                hub.set_led(false);
                true
            }
        }
    }
}

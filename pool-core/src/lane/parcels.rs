//! Arrays on their way to a courier and back. A courier is a thread of the host, so they change hands as they are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::attachments::received::ReceivedArray;
use crate::attachments::{ArrayId, Attachments};

/// The arrays that are under way.
#[derive(Debug, Default)]
pub(crate) struct Parcels(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By the numbers of their requests, in the order in which these are sent.
    requests: VecDeque<(u32, Arc<Attachments>)>,
    /// In the order of the records that announce them.
    results: VecDeque<ReceivedArray>,
}

impl Parcels {
    /// Nothing that can panic runs under it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the arrays of the request `seq`, which is to be sent next.
    pub(crate) fn send(&self, seq: u32, list: &Arc<Attachments>) {
        self.state().requests.push_back((seq, Arc::clone(list)));
    }

    /// Takes the arrays of the request `seq`.
    pub(crate) fn take(&self, seq: u32) -> Arc<Attachments> {
        let (mut state, mut passed) = (self.state(), Vec::new());
        let mut found = None;
        while found.is_none()
            && let Some((of, list)) = state.requests.pop_front()
        {
            if of == seq {
                found = Some(list);
            } else {
                // Of a request that was taken back before its turn.
                passed.push(list);
            }
        }
        drop(state);
        // Without the lock, as the last holder of an array unmaps it.
        drop(passed);
        found.unwrap_or_default()
    }

    /// Sends an array of a result; its record comes next.
    pub(crate) fn answer(&self, array: ReceivedArray) {
        self.state().results.push_back(array);
    }

    /// Takes the array of this name, if it is the next one.
    pub(crate) fn take_answer(&self, id: ArrayId) -> Option<ReceivedArray> {
        // By name, too: out of step, a value would get the array of another.
        self.state().results.pop_front().filter(|array| array.id == id)
    }
}

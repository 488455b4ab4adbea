//! A task as the scheduler knows it: how long its items take, and how many run.

use std::collections::VecDeque;

use super::flow::FlowId;
use super::pace::Pace;

#[derive(Clone, Debug, Default)]
pub(super) struct TaskState {
    pub(super) pace: Pace,
    /// Chunks with workers that may have items to run. A worker runs one item of a chunk at a time, so no more items run.
    pub(super) occupied: u32,
    /// Flows that wait until fewer items run, by priority, the longest waiting first.
    // Beside the turns, which would look at each of them in vain as long as the task is at its limit.
    pub(super) parked: [VecDeque<FlowId>; 3],
}

impl TaskState {
    #[inline]
    pub(super) fn has_parked(&self) -> bool {
        self.parked.iter().any(|flows| !flows.is_empty())
    }

    /// Forgets all jobs.
    pub(super) fn clear(&mut self) {
        self.occupied = 0;
        self.parked.iter_mut().for_each(VecDeque::clear);
    }
}

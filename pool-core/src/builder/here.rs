//! The parts of a pool that differ if its items run on other machines, in a build that has no such pools.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::PoolBuilder;
use crate::error::Result;
use crate::host::Host;
use crate::launch::threads::Threads;
use crate::scheduler::Scheduler;
use crate::task::state_type::StateType;

impl PoolBuilder {
    pub(super) fn away(&mut self) -> Result<Away> {
        Ok(Away)
    }
}

/// None.
pub(super) struct Away;

impl Away {
    pub(super) fn workers(&self, workers: usize) -> usize {
        workers
    }

    pub(super) fn scheduler<P>(&self, scheduler: Scheduler<P>) -> Scheduler<P> {
        scheduler
    }

    pub(super) fn states(&self, states: Vec<StateType>) -> Vec<StateType> {
        states
    }

    pub(super) fn threads(&self, threads: Threads) -> Threads {
        threads
    }

    pub(super) fn follower(self, _: &Arc<Host>, _: &str) -> Result<Option<JoinHandle<()>>> {
        Ok(None)
    }
}

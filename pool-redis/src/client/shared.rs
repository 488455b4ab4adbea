//! The part of a client that its threads share.

use std::time::Duration;

use super::blobs::Blobs;
use super::jobs::Jobs;
use super::outbox::Outbox;
use super::roster::Roster;
use crate::keys::Keys;
use crate::protocol::SessionId;

/// Settings, jobs, and the orders for the writer.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) session: SessionId,
    pub(super) keys: Keys,
    pub(super) lease: Duration,
    pub(super) deliveries_max: u32,
    pub(super) queue_max: usize,
    pub(super) jobs: Jobs,
    pub(super) outbox: Outbox,
    pub(super) roster: Roster,
    pub(super) blobs: Blobs,
}

impl Shared {
    /// Why the jobs of this client wait, if it is not for their turn.
    pub(super) fn hindrance(&self) -> Option<String> {
        if let Some(trouble) = self.jobs.last_trouble() {
            return Some(trouble.to_string());
        }
        let lack = |queue: &str| {
            let task = self.keys.task_of(queue)?;
            let why = self.roster.lack(&task)?;
            Some(format!("no host has the task `{}`: {why}", task.name))
        };
        // One is enough: a text for each task would be a page.
        self.jobs.queues().iter().find_map(|queue| lack(queue))
    }
}

//! The part of a client that its threads share.

use std::time::Duration;

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
}

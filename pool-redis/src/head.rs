//! The head of an outcome: a word of the agent about itself, which costs no way of its own.

use std::time::Duration;

use pool_core::remote::HostWorker;
use serde::{Deserialize, Serialize};

/// Stands before the outcome.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The number of the agent.
    pub(crate) agent: u64,
    /// The time that the items took.
    pub(crate) ran: Duration,
    /// The workers of the agent; seldom, or they would be most of the bytes.
    pub(crate) workers: Option<Vec<HostWorker>>,
}

impl Head {
    /// Puts it before the outcome.
    pub(crate) fn before(&self, outcome: &[u8]) -> Vec<u8> {
        let mut bytes = postcard::to_allocvec(self).expect("strings and numbers are encoded without an error");
        // Behind it, so that the outcome needs no length.
        bytes.extend_from_slice(outcome);
        bytes
    }

    /// Takes it off the front of the bytes.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Result<Head, postcard::Error> {
        let (head, rest) = postcard::take_from_bytes(bytes)?;
        let length = bytes.len() - rest.len();
        bytes.drain(..length);
        Ok(head)
    }
}

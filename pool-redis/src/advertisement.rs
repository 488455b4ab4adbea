//! The words by which an agent makes itself known.

use pool_core::remote::TaskKey;
use serde::{Deserialize, Serialize};

/// The host of an agent, and the jobs that it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Advertisement {
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) workers: u32,
    /// Requests that it takes at once.
    pub(crate) capacity: u32,
    pub(crate) tasks: Vec<TaskKey>,
}

impl Advertisement {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("strings and numbers are encoded without an error")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    /// The name for people.
    pub(crate) fn name(&self) -> String {
        format!("host {} (process {})", self.host, self.pid)
    }
}

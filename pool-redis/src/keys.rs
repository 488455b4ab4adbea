//! The keys in Redis. All begin with `{NAMESPACE}:`, so that a Redis Cluster keeps them on one node, as the scripts need.
//!
//! | key | type | holds | expires after |
//! |---|---|---|---|
//! | `session:S` | hash | of each job its delivery, owner and end of lease, and its body | the lease of the client |
//! | `replies:S` | list | outcomes that the client has not read | the same |
//! | `queue:NAME:SIGNATURE` | list | deliveries of a task that no agent has | the same, of its last client |
//! | `agents` | sorted set | the agents by the ends of their leases | the lease of the last agent |
//! | `agent:A` | string | host, number of workers and tasks of an agent | its lease |
//! | `orders:A` | list | deliveries that were cancelled | the lease of the client |

use pool_core::remote::TaskKey;

use crate::protocol::{AgentId, SessionId};

/// The keys of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(namespace: &str) -> Keys {
        Keys { prefix: format!("{{{namespace}}}:") }
    }

    pub(crate) fn session(&self, session: SessionId) -> String {
        format!("{}session:{session}", self.prefix)
    }

    pub(crate) fn replies(&self, session: SessionId) -> String {
        format!("{}replies:{session}", self.prefix)
    }

    pub(crate) fn queue(&self, task: &TaskKey) -> String {
        format!("{}queue:{}:{:016x}", self.prefix, task.name, task.signature)
    }

    pub(crate) fn agents(&self) -> String {
        format!("{}agents", self.prefix)
    }

    pub(crate) fn agent(&self, agent: AgentId) -> String {
        format!("{}agent:{agent}", self.prefix)
    }

    /// The beginning of the key of an agent's orders.
    pub(crate) fn orders_prefix(&self) -> String {
        format!("{}orders:", self.prefix)
    }

    pub(crate) fn orders(&self, agent: AgentId) -> String {
        format!("{}{agent}", self.orders_prefix())
    }
}

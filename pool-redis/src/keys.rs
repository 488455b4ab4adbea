//! The keys in Redis. All begin with `{NAMESPACE}:`, so that a Redis Cluster keeps them on one node, as the scripts need.
//!
//! | key | type | holds | expires after |
//! |---|---|---|---|
//! | `2:session:S` | hash | of each job its delivery, owner and end of lease, and its body; of each queue the session's last turn | the lease of the client |
//! | `2:replies:S` | list | outcomes that the client has not read | the same |
//! | `2:queue:PRIORITY:NAME:SIGNATURE` | sorted set | deliveries of a task that no agent has, by their turns | the same, of its last client |
//! | `2:orders:A` | list | deliveries that were cancelled | the same |
//! | `agents` | sorted set | the agents by the ends of their leases | the lease of the last agent |
//! | `agent:A` | string | host, number of workers and tasks of an agent | its lease |
//!
//! `2` is the [`PROTOCOL`]. Agents of all protocols are in one set, so that a client without an agent can say why.

use pool_core::Priority;
use pool_core::remote::TaskKey;

use crate::protocol::{AgentId, PROTOCOL, SessionId};

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
        format!("{}{PROTOCOL}:session:{session}", self.prefix)
    }

    pub(crate) fn replies(&self, session: SessionId) -> String {
        format!("{}{PROTOCOL}:replies:{session}", self.prefix)
    }

    pub(crate) fn queue(&self, task: &TaskKey, priority: Priority) -> String {
        let priority = match priority {
            Priority::High => "high",
            Priority::Low => "low",
            _ => "normal",
        };
        format!("{}{PROTOCOL}:queue:{priority}:{}:{:016x}", self.prefix, task.name, task.signature)
    }

    pub(crate) fn agents(&self) -> String {
        format!("{}agents", self.prefix)
    }

    pub(crate) fn agent(&self, agent: AgentId) -> String {
        format!("{}agent:{agent}", self.prefix)
    }

    /// The beginning of the key of an agent's orders.
    pub(crate) fn orders_prefix(&self) -> String {
        format!("{}{PROTOCOL}:orders:", self.prefix)
    }

    pub(crate) fn orders(&self, agent: AgentId) -> String {
        format!("{}{agent}", self.orders_prefix())
    }
}

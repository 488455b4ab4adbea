//! The keys in Redis. All begin with `{NAMESPACE}:`, so that a Redis Cluster keeps them on one node, as the scripts need.
//!
//! | key | type | holds | expires after |
//! |---|---|---|---|
//! | `2:session:S` | hash | of each job its delivery, owner and end of lease, and its body; of each queue the session's last turn | the lease of the client |
//! | `2:replies:S` | list | outcomes that the client has not read | the same |
//! | `2:queue:PRIORITY:NAME:SIGNATURE` | sorted set | deliveries of a task that no agent has, by their turns | the same, of its last client |
//! | `2:orders:A` | list | deliveries that were cancelled | the same |
//! | `2:blob:HASH` | hash | the pieces of a payload of arguments, or of a shared array | the lease of the last client that used it |
//! | `2:result:S:J:COUNT` | hash | the pieces of a large outcome | the lease of the client |
//! | `agents` | sorted set | the agents by the ends of their leases | the lease of the last agent |
//! | `agent:A` | string | host, number of workers and tasks of an agent | its lease |
//! | `status:A` | string | jobs that an agent runs, has handed in, and has lost: three numbers | its lease |
//! | `losses` | hash | jobs that were delivered again, and those that were lost, of all clients | ten leases of the last client |
//!
//! `2` is the [`PROTOCOL`]. Agents of all protocols are in one set, so that a client without an agent can say why.

use pool_core::Priority;
use pool_core::remote::TaskKey;

use crate::blob::Blob;
use crate::protocol::{AgentId, Delivery, PROTOCOL, SessionId};

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

    pub(crate) fn blob(&self, blob: Blob) -> String {
        format!("{}{PROTOCOL}:blob:{blob}", self.prefix)
    }

    pub(crate) fn result(&self, delivery: Delivery) -> String {
        let Delivery { session, job, count } = delivery;
        format!("{}{PROTOCOL}:result:{session}:{job}:{count}", self.prefix)
    }

    pub(crate) fn agents(&self) -> String {
        format!("{}agents", self.prefix)
    }

    pub(crate) fn agent(&self, agent: AgentId) -> String {
        format!("{}agent:{agent}", self.prefix)
    }

    pub(crate) fn status(&self, agent: AgentId) -> String {
        format!("{}status:{agent}", self.prefix)
    }

    pub(crate) fn losses(&self) -> String {
        format!("{}losses", self.prefix)
    }

    /// The pattern of `SCAN` for those of clients and queues.
    pub(crate) fn pattern(&self) -> String {
        let mut pattern = String::new();
        for letter in self.prefix.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        format!("{pattern}{PROTOCOL}:*")
    }

    pub(crate) fn is_session(&self, key: &str) -> bool {
        self.of_protocol(key).is_some_and(|rest| rest.starts_with("session:"))
    }

    /// The task of a queue; `None` for other keys.
    pub(crate) fn task_of(&self, queue: &str) -> Option<TaskKey> {
        let (_, task) = self.of_protocol(queue)?.strip_prefix("queue:")?.split_once(':')?;
        let (name, signature) = task.rsplit_once(':')?;
        Some(TaskKey { name: name.to_owned(), signature: u64::from_str_radix(signature, 16).ok()? })
    }

    fn of_protocol<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&self.prefix)?.strip_prefix(&format!("{PROTOCOL}:"))
    }

    /// The beginning of the key of an agent's orders.
    pub(crate) fn orders_prefix(&self) -> String {
        format!("{}{PROTOCOL}:orders:", self.prefix)
    }

    pub(crate) fn orders(&self, agent: AgentId) -> String {
        format!("{}{agent}", self.orders_prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_says_its_task() {
        let keys = Keys::new("pool");
        let task = TaskKey { name: "images::decode".to_owned(), signature: 0xab };
        let queue = keys.queue(&task, Priority::High);
        assert_eq!(keys.task_of(&queue), Some(task));
        assert!(!keys.is_session(&queue));
        let session = keys.session(SessionId(7));
        assert!(keys.is_session(&session));
        assert_eq!(keys.task_of(&session), None);
    }

    #[test]
    fn the_letters_of_patterns_stand_for_themselves() {
        assert_eq!(Keys::new("a*[b]\\?").pattern(), format!("{{a\\*\\[b\\]\\\\\\?}}:{PROTOCOL}:*"));
    }
}

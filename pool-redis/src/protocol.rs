//! The words of client, agent and server: the number of the protocol, ids, a delivery of a job, and the answers of the server.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use pool_core::{ErrorKind, remote};

/// The protocol of this version: keys, scripts and messages. Clients and agents of different ones do not meet, and say so.
///
/// | | |
/// |---|---|
/// | 1 | lists as queues |
/// | 2 | sorted sets as queues, one for each priority; payloads and arrays beside the jobs |
pub(crate) const PROTOCOL: u32 = 2;

/// A client, from its connection to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// An agent, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AgentId(pub(crate) u64);

/// A job among those of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct JobNumber(pub(crate) u64);

/// One handing over of a job to an agent. Its count is a fencing token: the server takes the outcome of the latest delivery
/// alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Delivery {
    pub(crate) session: SessionId,
    pub(crate) job: JobNumber,
    pub(crate) count: u32,
}

/// The answer to a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    Stored,
    /// The server had it: it was submitted before, and the answer was lost.
    Known,
    /// The queue holds as many jobs as it may.
    Full,
}

/// The server's answer for a job that the client asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The server has forgotten it.
    Unknown,
    Queued,
    /// No queue has it, and no agent has claimed it: one has just popped it, or has ended before it could claim it.
    Popped,
    /// An agent has it, or its outcome waits to be read.
    Owned,
    /// Its agent has lost it, and it was queued again.
    Redelivered(AgentId),
    /// Its agent has lost it, the last one that it may have. The server has forgotten it.
    Lost(AgentId),
}

/// The server's answer to a client that tends its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tended {
    /// The agents that are alive.
    pub(crate) agents: Vec<AgentId>,
    /// One for each job asked about, in order.
    pub(crate) standings: Vec<Standing>,
}

/// A job that the client asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question<T> {
    pub(crate) number: JobNumber,
    pub(crate) job: T,
    /// It was popped when last asked about. If it still is, its element is lost, and it is to be queued again.
    pub(crate) requeue: bool,
}

impl SessionId {
    pub(crate) fn random() -> pool_core::Result<SessionId> {
        random().map(SessionId)
    }
}

impl AgentId {
    pub(crate) fn random() -> pool_core::Result<AgentId> {
        random().map(AgentId)
    }
}

fn random() -> pool_core::Result<u64> {
    let mut bytes = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| remote::error(ErrorKind::System, format!("/dev/urandom: {error}")))?;
    Ok(u64::from_ne_bytes(bytes))
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for JobNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.session, self.job, self.count)
    }
}

/// Text of the server that is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotOurs;

impl FromStr for AgentId {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        u64::from_str_radix(text, 16).map(AgentId).map_err(|_| NotOurs)
    }
}

impl FromStr for Delivery {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let mut words = text.split(' ');
        let mut next = || words.next().ok_or(NotOurs);
        let session = u64::from_str_radix(next()?, 16).map_err(|_| NotOurs)?;
        let job = next()?.parse().map_err(|_| NotOurs)?;
        let count = next()?.parse().map_err(|_| NotOurs)?;
        Ok(Delivery { session: SessionId(session), job: JobNumber(job), count })
    }
}

impl FromStr for Submitted {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        match text {
            "stored" => Ok(Submitted::Stored),
            "known" => Ok(Submitted::Known),
            "full" => Ok(Submitted::Full),
            _ => Err(NotOurs),
        }
    }
}

impl FromStr for Standing {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        match text.split_once(' ') {
            Some(("redelivered", agent)) => agent.parse().map(Standing::Redelivered),
            Some(("lost", agent)) => agent.parse().map(Standing::Lost),
            _ => match text {
                "unknown" => Ok(Standing::Unknown),
                "queued" => Ok(Standing::Queued),
                "popped" => Ok(Standing::Popped),
                "owned" => Ok(Standing::Owned),
                _ => Err(NotOurs),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let delivery = Delivery { session: SessionId(0xab), job: JobNumber(7), count: 3 };
        assert_eq!(delivery.to_string(), "00000000000000ab 7 3");
        assert_eq!(delivery.to_string().parse(), Ok(delivery));
        assert_eq!("lost 00000000000000ff".parse(), Ok(Standing::Lost(AgentId(255))));
        for text in ["", "x", "00 1", "00 1 x", "00 -1 1"] {
            assert_eq!(text.parse::<Delivery>(), Err(NotOurs), "{text}");
        }
    }
}

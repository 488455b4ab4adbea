//! The words by which an agent makes itself known.

use pool_core::remote::TaskKey;
use serde::{Deserialize, Serialize};

use crate::protocol::PROTOCOL;

/// The host of an agent, and the jobs that it takes.
///
/// It travels behind a line of text, `pool-redis PROTOCOL HOST PROCESS`, which programs of every protocol can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Advertisement {
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) workers: u32,
    /// Requests that it takes at once.
    pub(crate) capacity: u32,
    pub(crate) tasks: Vec<TaskKey>,
}

/// The reason why an advertisement cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is of another protocol; in words, whose and which.
    OtherProtocol(String),
    /// It is none.
    NotOurs,
}

const WORD: &str = "pool-redis";

impl Advertisement {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let line = format!("{WORD} {PROTOCOL} {} {}\n", self.host, self.pid).into_bytes();
        postcard::to_extend(self, line).expect("strings and numbers are encoded without an error")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let line = bytes.iter().position(|&byte| byte == b'\n').map(|end| bytes.split_at(end + 1));
        let words = line.and_then(|(line, rest)| Some((std::str::from_utf8(line).ok()?.strip_prefix(WORD)?, rest)));
        let Some((words, rest)) = words else {
            // The first protocol had no such line.
            let was_first = postcard::from_bytes::<Advertisement>(bytes);
            return Err(was_first.map_or(Unreadable::NotOurs, |first| Unreadable::other(&first.name(), 1)));
        };
        let mut words = words.split_whitespace();
        // Looked at before the rest, which another protocol may write in any way.
        let protocol = words.next().and_then(|word| word.parse().ok()).ok_or(Unreadable::NotOurs)?;
        if protocol != PROTOCOL {
            let (host, pid) = (words.next().unwrap_or("?"), words.next().unwrap_or("?"));
            return Err(Unreadable::other(&name(host, pid), protocol));
        }
        postcard::from_bytes(rest).map_err(|_| Unreadable::NotOurs)
    }

    /// The name for people.
    pub(crate) fn name(&self) -> String {
        name(&self.host, &self.pid.to_string())
    }
}

fn name(host: &str, pid: &str) -> String {
    format!("host {host} (process {pid})")
}

impl Unreadable {
    fn other(name: &str, protocol: u32) -> Unreadable {
        Unreadable::OtherProtocol(format!(
            "{name}: its pool-redis speaks protocol {protocol}, and that of this program {PROTOCOL}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertisements_of_other_protocols_say_whose_they_are() {
        let task = TaskKey { name: "m::f".to_owned(), signature: 7 };
        let ours = Advertisement { host: "a".to_owned(), pid: 8, workers: 2, capacity: 4, tasks: vec![task] };
        assert_eq!(Advertisement::decode(&ours.encode()), Ok(ours.clone()));
        let of = |host: &str, protocol: u32| {
            let text = "its pool-redis speaks protocol";
            let ours = format!("and that of this program {PROTOCOL}");
            Err(Unreadable::OtherProtocol(format!("host {host} (process 8): {text} {protocol}, {ours}")))
        };
        assert_eq!(Advertisement::decode(b"pool-redis 77 b 8\nwhatever"), of("b", 77));
        // That of the first protocol was the record alone.
        assert_eq!(Advertisement::decode(&postcard::to_allocvec(&ours).expect("it is encoded")), of("a", 1));
        for text in [&b"pool-redis\n"[..], b"pool-redis 2 b 8\n", b"none of ours", b""] {
            assert_eq!(Advertisement::decode(text), Err(Unreadable::NotOurs), "{text:?}");
        }
    }
}

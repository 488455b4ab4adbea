//! The worker's end of a lane, which does as the input says.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;

use pool_ipc::{Header, HostEnd, WorkerEnd};

use super::tasks::KINDS;
use crate::lane::Lane;
use crate::lane::messages::{ReplyKind, Request, reply, request};

/// Size of each ring: small, so that they become full from time to time, and wrap.
const RING_BYTES: usize = 4096;
/// Bytes of the memory that a worker can write: its words, and the reply ring.
const REPLY_BYTES: u64 = (4096 + RING_BYTES) as u64;

pub(super) struct Peer {
    pub(super) pid: u32,
    pub(super) end: WorkerEnd,
    memory: File,
    /// Records that wait for room in the reply ring, each with the number of bytes that have been sent.
    unsent: VecDeque<(Header, Vec<u8>, usize)>,
}

/// The outcome of one step of an honest worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It has written something.
    Answered,
    /// It waits for a request, or for room.
    Waits,
    /// It was told to leave.
    Leaves,
}

impl Peer {
    pub(super) fn new(pid: u32) -> (Peer, Lane) {
        let (host, memory) = HostEnd::create(RING_BYTES, RING_BYTES).expect("there is memory for four pages");
        let end = WorkerEnd::open(&memory).expect("it is a lane");
        // Not a pidfd, so no process can be killed through it.
        let no_process = memory.host;
        (
            Peer { pid, end, memory: File::from(memory.worker), unsent: VecDeque::new() },
            Lane::new(host, pid, no_process),
        )
    }

    /// Writes bytes anywhere in the memory that a worker can write, through its descriptor.
    pub(super) fn scribble(&self, place: u64, bytes: &[u8]) {
        let at = place % (REPLY_BYTES / 8) * 8;
        let len = bytes.len().min((REPLY_BYTES - at) as usize);
        self.memory.write_all_at(&bytes[..len], at).expect("the memory can be written");
    }

    /// Publishes a record with an arbitrary header, if there is room for it.
    pub(super) fn record(&mut self, header: &Header, bytes: &[u8]) {
        let spare = self.end.replies.spare(bytes.len());
        let len = bytes.len().min(spare.len());
        spare[..len].copy_from_slice(&bytes[..len]);
        if self.end.replies.room(0).is_some() {
            self.end.replies.publish(header, len);
        }
    }

    /// One step of an honest worker.
    pub(super) fn work(&mut self) -> Step {
        if !self.unsent.is_empty() {
            return self.send();
        }
        let Ok(Some(record)) = self.end.requests.peek() else { return Step::Waits };
        let limit = self.end.requests.limit(&record);
        self.end.requests.release(&record);
        let header = record.header;
        if record.more() {
            return Step::Answered;
        }
        if header.kind == Request::Quit.kind() {
            return Step::Leaves;
        }
        if header.kind > Request::Quit.kind() {
            // It is about the next request, and needs no answer.
            return Step::Answered;
        }
        let count = request::items(&header, limit);
        let kind = KINDS.iter().find(|kind| (kind.entry)().index() == header.extra);
        let value = kind.map_or_else(Vec::new, |kind| (kind.honest)());
        let answer =
            Header { kind: ReplyKind::Values.kind(), flags: reply::LAST, seq: header.seq, count, ..Default::default() };
        if header.flags & request::SINGLY != 0 && count > 0 {
            let single = |flags| (Header { flags, count: 1, ..answer }, value.clone(), 0);
            self.unsent.extend((1..count).map(|_| single(0)));
            self.unsent.push_back(single(reply::LAST));
        } else {
            self.unsent.push_back((answer, value.repeat(count as usize), 0));
        }
        self.send()
    }

    fn send(&mut self) -> Step {
        let Some((header, bytes, sent)) = self.unsent.front_mut() else { return Step::Waits };
        let step = self.end.replies.send(header, bytes, *sent);
        *sent = step.sent;
        if step.done {
            self.unsent.pop_front();
        }
        if step.done || step.position.is_some() { Step::Answered } else { Step::Waits }
    }
}

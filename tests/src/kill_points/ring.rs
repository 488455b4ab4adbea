//! One end of a ring, killed on its way through some messages; the other end is here.

use nix::unistd::{ForkResult, fork};
use pool_ipc::{Backoff, Header, HostEnd, WorkerEnd};

use super::ledger::Ledger;
use crate::tracer::{Step, Tracee, offer, pause};

/// The work of the killed process, which has one thread and nothing else to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Sends a message that fits, one that goes beyond the ring's end, one that is larger than the ring, and a record that
    /// is built up item by item.
    Producer,
    /// The same with a planted bug: a record is published and then filled. It must be found.
    HastyProducer,
    /// The same with a planted bug: an item of an unpublished record is counted and then written. It must be found, too.
    HastyWriter,
    /// Takes messages, copies them and gives their room back.
    Consumer,
}

const RING_BYTES: usize = 4096;
/// The records that a producer sends: first those that lead up to shortly before the ring's end, then the one that it is
/// killed at.
const LENGTHS: [usize; 4] = [2900, 100, 1500, 5000];
/// Values of 8 bytes in the record that is built up, which comes last.
const UNPUBLISHED_ITEMS: usize = 6;
const UNPUBLISHED_SEQ: u32 = LENGTHS.len() as u32;
/// The records that a consumer finds in its ring.
const WAITING: [usize; 4] = [40, 0, 64, 100];

/// Kills this end at so many points, or at all; and looks from the other end after each instruction.
///
/// Call this from a process of one thread.
///
/// # Errors
///
/// `EPERM` where processes must not be traced.
pub fn kill_ring(end: End, points: usize) -> nix::Result<Ledger> {
    let mut ledger = Ledger::default();
    let (mut witness, mut tracee) = start(end)?;
    let path = tracee.walk(|| witness.look())?;
    tracee.kill();
    ledger.instructions = path.len();
    witness.bury(true).note(path.len(), &mut ledger);
    for place in path.points(points) {
        let (mut witness, mut tracee) = start(end)?;
        let step = tracee.go_to(&path, place, || witness.look())?;
        tracee.kill();
        witness.bury(step == Step::End).note(place, &mut ledger);
        ledger.points += 1;
    }
    Ok(ledger)
}

/// The process, held at its beginning, and its tracer.
fn start(end: End) -> nix::Result<(Box<dyn Witness>, Tracee)> {
    let (mut host, memory) = HostEnd::create(RING_BYTES, RING_BYTES).expect("memory");
    let waiting: Vec<u64> = match end {
        End::Consumer => (0..).zip(WAITING).map(|(seq, len)| send_whole(&mut host, seq, len)).collect(),
        _ => Vec::new(),
    };
    // SAFETY:
    // - the caller has one thread, so the child finds everything as it should be.
    let child = match unsafe { fork() }.expect("a process") {
        ForkResult::Child => {
            let worker = WorkerEnd::open(&memory).expect("its first time");
            match end {
                End::Consumer => consume(worker),
                _ => produce(worker, end),
            }
            pause();
            unreachable!("nobody lets it go on")
        }
        ForkResult::Parent { child } => child,
    };
    let tracee = Tracee::adopt(child)?;
    let witness: Box<dyn Witness> = match end {
        End::Consumer => {
            Box::new(Writer { backlog: host.requests.backlog(), host, waiting, verdict: Verdict::default() })
        }
        _ => Box::new(Reader { host, seq: 0, message: Vec::new(), verdict: Verdict::default() }),
    };
    Ok((witness, tracee))
}

/// Bytes that tell where they belong. None of them is 0, since a new ring holds zeroes.
fn pattern(seq: u32, len: usize) -> impl Iterator<Item = u8> {
    (0..len).map(move |at| 1 + ((seq as usize * 31 + at * 7 + (at >> 8)) % 255) as u8)
}

fn send_whole(host: &mut HostEnd, seq: u32, len: usize) -> u64 {
    let sent = host.requests.send(&header(seq), &pattern(seq, len).collect::<Vec<_>>(), 0);
    assert!(sent.done, "{len} bytes fit");
    sent.position.expect("just sent")
}

fn header(seq: u32) -> Header {
    Header { kind: 1, seq, ..Header::default() }
}

// ---- the child's part ----------------------------------------------------------------------------------------------

fn produce(mut worker: WorkerEnd, end: End) {
    let messages: Vec<Vec<u8>> = (0..).zip(LENGTHS).map(|(seq, len)| pattern(seq, len).collect()).collect();
    let unpublished: Vec<u8> = pattern(UNPUBLISHED_SEQ, UNPUBLISHED_ITEMS * 8).collect();
    let mut is_first = true;
    for (seq, message) in (0..).zip(&messages) {
        let mut sent = 0;
        while sent < message.len() {
            sent = match end {
                End::HastyProducer => send_hastily(&mut worker, seq, message, sent),
                _ => worker.replies.send(&header(seq), message, sent).sent,
            };
            if sent < message.len() {
                worker.wait_room(message.len() - sent, Backoff::NONE);
            }
        }
        if std::mem::take(&mut is_first) {
            offer();
        }
    }
    worker.wait_room(unpublished.len(), Backoff::NONE);
    worker.claim(UNPUBLISHED_SEQ, UNPUBLISHED_ITEMS as u32);
    let start = worker.replies.unpublished_end(0);
    let begin = |item: usize| worker.progress.begin_item(item as u32, start.wrapping_add(item as u32 * 8));
    let spare = worker.replies.spare(unpublished.len());
    for (item, value) in unpublished.chunks_exact(8).enumerate() {
        begin(item + usize::from(end == End::HastyWriter));
        spare[item * 8..][..8].copy_from_slice(value);
    }
    worker.replies.publish(&header(UNPUBLISHED_SEQ), unpublished.len());
}

/// As [`Producer::send`](pool_ipc::Producer::send) of one record, but in the wrong order.
fn send_hastily(worker: &mut WorkerEnd, seq: u32, message: &[u8], sent: usize) -> usize {
    worker.wait_room(message.len() - sent, Backoff::NONE);
    let spare = worker.replies.spare(message.len() - sent);
    let len = spare.len().min(message.len() - sent);
    let to = spare.as_mut_ptr();
    let flags = if sent + len < message.len() { pool_ipc::MORE } else { 0 };
    worker.replies.publish(&Header { flags, ..header(seq) }, len);
    // SAFETY:
    // - `to` is valid for `len` bytes for as long as the ring is mapped. That another process may be reading them is the
    //   mistake that this is about.
    unsafe { to.copy_from_nonoverlapping(message[sent..].as_ptr(), len) };
    sent + len
}

fn consume(mut worker: WorkerEnd) {
    let mut message = Vec::with_capacity(RING_BYTES);
    offer();
    for (seq, len) in (0..).zip(WAITING) {
        let record = worker.requests.peek().expect("an honest host").expect("a record");
        message.clear();
        worker.requests.copy(&record, &mut message);
        assert_eq!(record.header.seq, seq);
        assert_eq!(message.len(), len);
        worker.requests.release(&record);
    }
}

// ---- the other end -------------------------------------------------------------------------------------------------

/// The other end of the ring.
trait Witness {
    /// Takes the records that are there, and makes room. Returns whether it has seen enough, so that it makes no further room.
    fn look(&mut self) -> bool;

    /// Takes the records that the dead process has left; it may have come to the end of its way.
    fn bury(self: Box<Self>, is_through: bool) -> Verdict;
}

#[derive(Default)]
struct Verdict {
    lost: usize,
    complaint: Option<String>,
    outcome: &'static str,
}

impl Verdict {
    fn complain(&mut self, what: String) {
        self.complaint.get_or_insert(what);
    }

    fn note(self, place: usize, ledger: &mut Ledger) {
        ledger.lost += self.lost;
        ledger.count(self.outcome);
        if let Some(what) = self.complaint {
            ledger.torn += 1;
            ledger.complain(place, what);
        }
    }
}

struct Reader {
    host: HostEnd,
    /// The message of which `message` is the beginning.
    seq: u32,
    message: Vec<u8>,
    verdict: Verdict,
}

impl Witness for Reader {
    fn look(&mut self) -> bool {
        while self.verdict.complaint.is_none() {
            let record = match self.host.replies.peek() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    self.verdict.complain(error.to_string());
                    break;
                }
            };
            self.host.replies.copy(&record, &mut self.message);
            self.host.replies.release(&record);
            let len = LENGTHS.get(self.seq as usize).copied().unwrap_or(UNPUBLISHED_ITEMS * 8);
            let is_whole = self.message.len() <= len
                && record.more() == (self.message.len() < len)
                && pattern(self.seq, len).zip(&self.message).all(|(expected, found)| expected == *found);
            if record.header.seq != self.seq || record.header.kind != 1 || !is_whole {
                self.verdict.complain(format!("message {} is torn: {:?}", self.seq, record.header));
            }
            if !record.more() {
                self.seq += 1;
                self.message.clear();
            }
        }
        if self.verdict.complaint.is_some() {
            return true;
        }
        self.host.wake_worker();
        let mut unpublished = Vec::new();
        let progress = self.host.progress();
        let is_unpublished =
            self.host.salvage(progress.unpublished_end, &mut unpublished) && progress.seq == UNPUBLISHED_SEQ;
        if is_unpublished
            && (unpublished.len() != progress.item as usize * 8
                || !pattern(UNPUBLISHED_SEQ, unpublished.len()).eq(unpublished))
        {
            self.verdict.complain(format!("{progress:?} counts items that are not there"));
        }
        self.verdict.complaint.is_some()
    }

    fn bury(mut self: Box<Self>, is_through: bool) -> Verdict {
        self.look();
        let is_cut = !self.message.is_empty();
        if is_through && self.verdict.complaint.is_none() && self.seq <= UNPUBLISHED_SEQ {
            self.verdict.lost += 1;
            self.verdict.complain(format!("message {} has not come", self.seq));
        }
        self.verdict.outcome = if is_cut { "in the middle of a message" } else { "between messages" };
        self.verdict
    }
}

struct Writer {
    host: HostEnd,
    /// Where the records lie.
    waiting: Vec<u64>,
    backlog: u64,
    verdict: Verdict,
}

impl Witness for Writer {
    fn look(&mut self) -> bool {
        let backlog = self.host.requests.backlog();
        let tail = self.tail();
        let is_legal = backlog == 0 || self.waiting.iter().any(|position| tail - position == backlog);
        if let Err(error) = self.host.requests.check() {
            self.verdict.complain(error.to_string());
        } else if !is_legal || backlog > self.backlog {
            self.verdict.complain(format!("{backlog} bytes in use, of {}", self.backlog));
        }
        self.backlog = backlog;
        false
    }

    fn bury(mut self: Box<Self>, is_through: bool) -> Verdict {
        self.look();
        if is_through && self.backlog > 0 {
            self.verdict.lost += 1;
            self.verdict.complain(format!("{} bytes are not given back", self.backlog));
        }
        self.verdict.outcome = if self.backlog > 0 { "records left" } else { "no record left" };
        // All the room that there is can still be used, and no more.
        let requests = &mut self.host.requests;
        while let Some(room) = requests.room(RING_BYTES) {
            requests.publish(&header(0), room);
        }
        let backlog = requests.backlog();
        if backlog != RING_BYTES as u64 {
            self.verdict.complain(format!("a full ring holds {backlog} bytes"));
        }
        self.verdict
    }
}

impl Writer {
    /// Where the records end: behind the last one, with its header, in steps of 32.
    fn tail(&self) -> u64 {
        let last = WAITING[WAITING.len() - 1].next_multiple_of(32) + 32;
        self.waiting[WAITING.len() - 1] + last as u64
    }
}

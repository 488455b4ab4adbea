//! Records of spans and events as they come from workers, and the subscriber of the host that they go to.

pub(crate) mod contexts;
pub(crate) mod replay;

mod callsites;
mod values;

use crate::observe::splitter::Splitter;
use crate::worker::forwarding::record::{LENGTH_BYTES, RECORD_BYTES_MAX, Record};
use crate::worker::position::Worker;

/// Something for the thread that has the subscriber.
#[derive(Debug)]
pub(crate) enum Forwarded {
    /// An encoded record of the worker, which may be anything.
    Record(Worker, Vec<u8>),
    /// The worker is gone.
    Ended(Worker),
    /// No more records name this context.
    Released(u32),
    /// So many records were dropped here.
    Dropped(u64),
}

/// Cuts the bytes of a worker into records.
#[derive(Debug)]
pub(crate) struct Frames {
    worker: Worker,
    /// The beginning of a record.
    partial: Vec<u8>,
}

impl Frames {
    pub(crate) fn new(worker: Worker) -> Self {
        Frames { worker, partial: Vec::new() }
    }
}

impl Splitter for Frames {
    type Item = Forwarded;

    fn feed(&mut self, bytes: &[u8], pass_on: &mut dyn FnMut(Forwarded)) {
        self.partial.extend_from_slice(bytes);
        let mut rest = &self.partial[..];
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            // No record is longer. One that says so is none, and is refused where it is decoded.
            let length = usize::from(u16::from_le_bytes(*length)).min(RECORD_BYTES_MAX);
            // The rest comes with the next read: a pipe is read in pieces of any length.
            let Some((record, behind)) = behind.split_at_checked(length) else { break };
            // Decoded by the thread that has the subscriber, so that the one that reads keeps up.
            pass_on(Forwarded::Record(self.worker, record.to_vec()));
            rest = behind;
        }
        let read = self.partial.len() - rest.len();
        self.partial.drain(..read);
    }

    fn end(&mut self, pass_on: &mut dyn FnMut(Forwarded)) {
        // The partial record is dropped: records are written whole, so it is none of ours.
        pass_on(Forwarded::Ended(self.worker));
    }

    fn bytes_of(item: &Forwarded) -> usize {
        match item {
            Forwarded::Record(_, bytes) => size_of::<Forwarded>() + bytes.len(),
            // Of the host's own making: one for each process and job.
            _ => 0,
        }
    }

    fn is_vital(item: &Forwarded) -> bool {
        match item {
            Forwarded::Record(_, bytes) => Record::is_vital(bytes),
            _ => true,
        }
    }

    fn dropped(count: u64) -> Forwarded {
        Forwarded::Dropped(count)
    }
}

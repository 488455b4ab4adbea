//! Records of what happens in a pool, for the threads that pass them on: a bounded queue for each of these.
//!
//! A record is written under the lock, and so takes no memory of its own and makes no text. A queue that is full loses the
//! newest records and counts them: neither the pool nor its memory waits for a slow reader.

use super::exit::Exit;
use crate::error::ErrorKind;
use crate::scheduler::{CurrentChunk, JobId};
use crate::units::Nanos;

/// The process of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) worker: u32,
    pub(crate) incarnation: u32,
    pub(crate) pid: u32,
}

/// Some items of a job; of a call there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Items {
    pub(crate) job: JobId,
    pub(crate) task: u32,
    pub(crate) label: Option<&'static str>,
    pub(crate) is_calls: bool,
    pub(crate) first: u64,
    pub(crate) count: u32,
}

/// Something that has happened, and when.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Started {
        process: Process,
        asked_at: Nanos,
        at: Nanos,
    },
    Ready {
        process: Process,
        initializing: Nanos,
        at: Nanos,
    },
    /// With the chunk that the process was at.
    Exited {
        process: Process,
        exit: Box<Exit>,
        chunk: Option<CurrentChunk>,
    },
    /// The finalizer of the process has failed.
    NotFinalized {
        process: Process,
        why: Box<str>,
        at: Nanos,
    },
    /// Other machines cannot run items, or can again.
    #[cfg(feature = "remote")]
    Hindered {
        why: Option<Box<str>>,
    },
    /// A call, or a map of items that are to come.
    Submitted(Items),
    Finished(Items),
    Failed {
        items: Items,
        process: Option<Process>,
        kind: ErrorKind,
        at: Nanos,
    },
    Retried {
        items: Items,
        process: Process,
        at: Nanos,
    },
    Chunk {
        items: Items,
        process: Process,
        begun: Nanos,
        ran: Nanos,
    },
    /// One item of a longer chunk; only if times of items are asked for.
    Item {
        items: Items,
        process: Process,
        begun: Nanos,
        ran: Nanos,
    },
}

/// The reader of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Events,
    Trace,
}

/// Records that a reader has not taken.
#[derive(Debug)]
pub(crate) struct Log {
    reader: Reader,
    records: Vec<Record>,
    lost: u64,
    /// The reader has found nothing, and must be woken.
    is_reader_asleep: bool,
}

/// Records that a reader takes together, and how many were lost behind them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) records: Vec<Record>,
    pub(crate) lost: u64,
}

/// Records that wait for a reader, at most: some megabytes.
pub(crate) const WAITING_MAX: usize = 1 << 15;

/// All logs of a pool.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    logs: Vec<Log>,
    /// A reader that sleeps has something to take.
    wakes_readers: bool,
}

impl Logs {
    pub(crate) fn open(&mut self, reader: Reader) {
        // All of its memory at once: none is taken later, under the lock.
        // The kernel gives it page by page, as records come.
        let records = Vec::with_capacity(WAITING_MAX);
        self.logs.push(Log { reader, records, lost: 0, is_reader_asleep: false });
    }

    /// Keeps no more records for the reader.
    pub(crate) fn close(&mut self, reader: Reader) {
        self.logs.retain(|log| log.reader != reader);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    pub(crate) fn has(&self, reader: Reader) -> bool {
        self.logs.iter().any(|log| log.reader == reader)
    }

    #[cold]
    pub(crate) fn push(&mut self, record: &Record) {
        for log in &mut self.logs {
            // The newest are lost and not the oldest, so that no record is moved.
            if log.records.len() < log.records.capacity() {
                log.records.push(record.clone());
            } else {
                log.lost += 1;
            }
            self.wakes_readers |= std::mem::take(&mut log.is_reader_asleep);
        }
    }

    /// Takes all records of the reader, in exchange for memory of as many; nothing if there is none, and then the next one
    /// wakes it.
    pub(crate) fn take(&mut self, reader: Reader, memory: Vec<Record>) -> Batch {
        let Some(log) = self.logs.iter_mut().find(|log| log.reader == reader) else { return Batch::default() };
        // Set under the lock under which records are written, so no record can slip in between look and sleep.
        log.is_reader_asleep = log.records.is_empty();
        Batch { records: std::mem::replace(&mut log.records, memory), lost: std::mem::take(&mut log.lost) }
    }

    /// Whether readers must be woken.
    #[inline]
    pub(crate) fn take_wake(&mut self) -> bool {
        std::mem::take(&mut self.wakes_readers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::JobId;

    fn record(call: u64) -> Record {
        let job = JobId::default();
        Record::Submitted(Items { job, task: 0, label: None, is_calls: true, first: call, count: 1 })
    }

    #[test]
    fn a_full_log_counts_what_it_loses_and_wakes_its_reader_once() {
        let mut logs = Logs::default();
        logs.open(Reader::Events);
        assert!(!logs.take_wake());
        let empty = logs.take(Reader::Events, Vec::with_capacity(2));
        assert!(empty.records.is_empty());
        (0..5).for_each(|call| logs.push(&record(call)));
        assert!(logs.take_wake() && !logs.take_wake());
        let Batch { records, lost } = logs.take(Reader::Events, Vec::with_capacity(2));
        assert_eq!((records.len(), lost), (2, 3));
        logs.push(&record(5));
        assert!(!logs.take_wake(), "the reader has not slept");
        assert_eq!(logs.take(Reader::Events, Vec::new()).records.len(), 1);
    }
}

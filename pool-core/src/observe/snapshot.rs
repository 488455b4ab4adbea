//! The state of a pool at one moment, copied under the lock, and turned into insights without it.

use std::fs;
use std::time::Duration;

use super::Observer;
use super::insights::{Insights, Running, SlowItem, TaskInsights, WorkerExit, WorkerInsights};
use super::task_record::TaskRecord;
use super::worker_record::WorkerRecord;
use crate::error::ErrorKind;
use crate::scheduler::{Activity, CurrentChunk, WorkerId};
use crate::task::table::TASKS;
use crate::units::Nanos;
use crate::worker_state::WorkerState;

#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) now: Nanos,
    pub(crate) pending: u64,
    pub(crate) memory_limit: Option<u64>,
    /// Workers are threads of this process.
    pub(crate) in_process: bool,
    /// Workers have other machines run the items.
    pub(crate) is_remote: bool,
    pub(crate) workers: Vec<WorkerSnapshot>,
    pub(crate) observer: Observer,
}

#[derive(Debug)]
pub(crate) struct WorkerSnapshot {
    pub(crate) worker: WorkerId,
    pub(crate) pid: Option<u32>,
    pub(crate) incarnation: u32,
    pub(crate) activity: Activity,
    /// When it began the initializer that it runs.
    pub(crate) initializing_since: Option<Nanos>,
    /// When it last replied, became ready, or got work while it had none.
    pub(crate) heard: Nanos,
    pub(crate) current: Option<Current>,
}

/// The item that a worker is at.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) chunk: CurrentChunk,
    /// Its index in the job.
    pub(crate) item: u64,
    pub(crate) since: Nanos,
}

impl Snapshot {
    pub(crate) fn insights(self) -> Insights {
        let Snapshot { now, pending, memory_limit, in_process, is_remote, workers, mut observer } = self;
        // Items of unfinished chunks that have been answered.
        for chunk in workers.iter().filter_map(|worker| Some(worker.current.as_ref()?.chunk)) {
            observer.task(chunk.task).items += u64::from(chunk.settled);
        }
        let none = WorkerRecord::default();
        let worker = |worker: &WorkerSnapshot| {
            let record = observer.workers.get(worker.worker).unwrap_or(&none);
            worker.insights(now, record, memory_limit, in_process)
        };
        let tasks = TASKS.iter().zip(&observer.tasks);
        let tasks = tasks.filter_map(|(entry, record)| Some(record.as_ref()?.insights(entry.path())));
        let mut tasks: Vec<_> = tasks.collect();
        // The linker's order differs from build to build.
        tasks.sort_by(|one, other| one.task.cmp(&other.task));
        Insights {
            uptime: since(now, observer.begun_at),
            pending,
            in_process: in_process && !is_remote,
            #[cfg(feature = "remote")]
            is_remote,
            #[cfg(feature = "remote")]
            hindrance: observer.hindrance,
            #[cfg(feature = "remote")]
            hosts: Vec::new(),
            workers: workers.iter().map(worker).collect(),
            tasks,
            finalizer_failures: observer.finalizer_failures,
            last_finalizer_failure: observer.last_finalizer_failure,
            trace_end: observer.trace_end,
        }
    }
}

fn since(now: Nanos, begun: Nanos) -> Duration {
    Duration::from_nanos(now.saturating_sub(begun))
}

impl WorkerSnapshot {
    fn insights(
        &self,
        now: Nanos,
        record: &WorkerRecord,
        memory_limit: Option<u64>,
        in_process: bool,
    ) -> WorkerInsights {
        let initializing = self.initializing_since.map(|begun| now.saturating_sub(begun));
        // Counted from the start of the chunk: the items of it before this one have not been added up yet.
        let working = self.current.as_ref().map(|current| now.saturating_sub(current.since.min(current.chunk.since)));
        let times = record.times(now, initializing, working);
        let last_exit = record.exits.back().map_or(0, |exit| exit.at);
        let (state, begun) = match (self.activity, self.initializing_since, &self.current) {
            (Activity::Absent, ..) => (WorkerState::Absent, last_exit),
            (Activity::BackingOff, ..) => (WorkerState::BackingOff, last_exit),
            (Activity::Starting, Some(begun), _) => (WorkerState::Initializing, begun),
            (Activity::Starting, None, _) => (WorkerState::Starting, record.asked_at()),
            (Activity::Working, _, Some(current)) => (WorkerState::Working, current.since),
            // All of its items have been answered, and only the end of the chunk is under way.
            (Activity::Working | Activity::Waiting, ..) => (WorkerState::Waiting, self.heard),
            (Activity::Leaving, ..) => (WorkerState::Leaving, self.heard),
            (Activity::Ending, ..) => (WorkerState::Ending, self.heard),
        };
        let chunk = self.current.as_ref().map(|current| current.chunk).filter(|_| state == WorkerState::Working);
        let [starting, initializing, working, waiting] =
            [times.starting, times.initializing, times.working, times.waiting].map(Duration::from_nanos);
        WorkerInsights {
            worker: self.worker.index(),
            pid: self.pid,
            incarnation: self.incarnation,
            state,
            since: since(now, begun),
            task: chunk.map(|chunk| TASKS[chunk.task as usize].path()),
            label: chunk.and_then(|chunk| chunk.label),
            item: chunk.and_then(|_| self.current.as_ref()?.index()),
            chunks: record.chunks,
            items: record.items + u64::from(self.current.as_ref().map_or(0, |current| current.chunk.settled)),
            starting,
            initializing,
            working,
            waiting,
            // Threads share all memory with each other and with the host.
            rss_bytes: self.pid.filter(|_| !in_process).and_then(rss_bytes),
            exit_count: record.exit_count,
            exits: record
                .exits
                .iter()
                .map(|exit| WorkerExit {
                    pid: exit.death.pid,
                    incarnation: exit.incarnation,
                    ago: since(now, exit.at),
                    cause: exit.cause(memory_limit),
                })
                .collect(),
        }
    }

    /// The item that it runs; `None` if it runs none.
    pub(crate) fn running(&self, now: Nanos) -> Option<Running> {
        // A process that is being killed still has a chunk, but not for long.
        let current = self.current.as_ref().filter(|_| self.activity == Activity::Working)?;
        Some(Running {
            worker: self.worker.index(),
            pid: self.pid?,
            task: TASKS[current.chunk.task as usize].path(),
            label: current.chunk.label,
            item: current.index(),
            since: since(now, current.since),
        })
    }
}

impl Current {
    /// The index of the item in its map; `None` for a call.
    fn index(&self) -> Option<usize> {
        (!self.chunk.is_calls).then_some(self.item as usize)
    }
}

impl TaskRecord {
    fn insights(&self, task: String) -> TaskInsights {
        let failures = ErrorKind::ALL.into_iter().map(|kind| (kind, self.failures[kind as usize]));
        // The end of a bucket may lie beyond the longest time.
        let longest = self.slowest[0];
        let quantile = |thousandths| self.times.quantile(thousandths).map(|time| time.min(longest.time));
        let [p50, p99, max] = [quantile(500), quantile(990), (longest.items > 0).then_some(longest.time)]
            .map(|time| time.map(Duration::from_nanos));
        let slowest = self.slowest.iter().filter(|slow| slow.items > 0);
        TaskInsights {
            task,
            items: self.items.saturating_sub(self.answered_retries),
            failures: failures.filter(|(_, items)| *items > 0).collect(),
            errs: self.errs,
            retries: self.retries,
            time_outs: self.time_outs,
            p50,
            p99,
            max,
            averaged: self.averaged,
            slowest: slowest
                .map(|slow| SlowItem {
                    item: slow.first.map(|item| item as usize),
                    items: slow.items as usize,
                    time: Duration::from_nanos(slow.time),
                    label: slow.label,
                })
                .collect(),
        }
    }
}

/// The memory that the process has in RAM, shared memory included, see proc_pid_status(5). `None` if it is gone.
fn rss_bytes(pid: u32) -> Option<u64> {
    // In kilobytes, while `statm` counts pages, of a size that differs between machines.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

//! Insights as a table for people.

use std::fmt::{self, Write};
use std::time::Duration;

use super::insights::{Insights, TaskInsights, WorkerInsights};
#[cfg(feature = "remote")]
use crate::wire::{HostInsights, HostWorker};

/// A column: its heading, and whether its cells are numbers, which stand at the right.
type Column = (&'static str, bool);

const WORKERS: [Column; 10] = [
    ("worker", true),
    ("pid", true),
    ("state", false),
    ("for", true),
    ("items", true),
    ("busy", true),
    ("memory", true),
    ("ends", true),
    ("task", false),
    ("last end", false),
];

const TASKS: [Column; 10] = [
    ("task", false),
    ("items", true),
    ("failed", true),
    ("Err", true),
    ("retried", true),
    ("timed out", true),
    ("p50", true),
    ("p99", true),
    ("max", true),
    ("slowest items", false),
];

#[cfg(feature = "remote")]
const HOSTS: [Column; 9] = [
    ("host", false),
    ("worker", true),
    ("pid", true),
    ("state", false),
    ("for", true),
    ("requests", true),
    ("items", true),
    ("busy", true),
    ("task", false),
];

impl fmt::Display for Insights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workers, pending) = (self.workers.len(), count(self.pending));
        let plural = if workers == 1 { "" } else { "s" };
        let place = if self.in_process { " in threads of this process" } else { "" };
        #[cfg(feature = "remote")]
        let place = if self.is_remote { " on other machines" } else { place };
        writeln!(f, "{workers} worker{plural}{place}, up {}, {pending} items pending\n", short(self.uptime))?;
        #[cfg(feature = "remote")]
        // First, since all below looks as if items ran.
        if let Some(why) = &self.hindrance {
            writeln!(f, "items wait: {why}\n")?;
        }
        write_table(f, WORKERS, self.workers.iter().map(worker_cells))?;
        if !self.tasks.is_empty() {
            writeln!(f)?;
            write_table(f, TASKS, self.tasks.iter().map(task_cells))?;
            if self.tasks.iter().any(|task| task.averaged > 0) {
                writeln!(f, "\n~ some times are means of chunks")?;
            }
        }
        #[cfg(feature = "remote")]
        if !self.hosts.is_empty() {
            writeln!(f)?;
            write_table(f, HOSTS, self.hosts.iter().flat_map(host_cells))?;
        }
        if let Some(why) = &self.last_finalizer_failure {
            let failures = match self.finalizer_failures {
                1 => "a finalizer failed".to_owned(),
                failures => format!("{} finalizers failed, the last", count(failures)),
            };
            writeln!(f, "\n{failures}: {why}")?;
        }
        if let Some(why) = &self.trace_end {
            writeln!(f, "\n{why}")?;
        }
        Ok(())
    }
}

impl WorkerInsights {
    /// Its task, and the index of the item and the label where it has them, as the table shows them: `images::decode [417] (nightly)`.
    /// Empty if it runs nothing.
    #[must_use]
    pub fn job(&self) -> String {
        let mut job = self.task.clone().unwrap_or_default();
        if let Some(item) = self.item {
            let _ = write!(job, " [{item}]");
        }
        if let Some(label) = self.label {
            let _ = write!(job, " ({label})");
        }
        job
    }
}

fn worker_cells(worker: &WorkerInsights) -> [String; WORKERS.len()] {
    // The share of its whole life, so that a pool that mostly starts processes shows it.
    let all = worker.starting + worker.initializing + worker.working + worker.waiting;
    let busy = worker.working.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE);
    [
        worker.worker.to_string(),
        worker.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        worker.state.to_string(),
        short(worker.since),
        count(worker.items),
        format!("{:.0} %", 100.0 * busy),
        worker.rss_bytes.map(memory).unwrap_or_default(),
        worker.exit_count.to_string(),
        worker.job(),
        worker.exits.last().map(|exit| exit.cause.to_string()).unwrap_or_default(),
    ]
}

/// A row for the host, and one for each of its workers.
#[cfg(feature = "remote")]
fn host_cells(host: &HostInsights) -> Vec<[String; HOSTS.len()]> {
    let state = if host.is_alive { "takes requests" } else { "gone" };
    let answered = host.answered.map(|ago| format!("answered {} ago", short(ago))).unwrap_or_default();
    let own = [
        host.host.clone(),
        String::new(),
        host.pid.to_string(),
        state.to_owned(),
        String::new(),
        count(host.requests),
        count(host.items),
        short(host.working),
        answered,
    ];
    let of_worker = |worker: &HostWorker| {
        let item = worker.item.map(|item| format!(" [{item}]")).unwrap_or_default();
        [
            String::new(),
            worker.worker.to_string(),
            worker.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            worker.state.to_string(),
            short(worker.since),
            String::new(),
            count(worker.items),
            String::new(),
            worker.task.as_ref().map(|task| format!("{task}{item}")).unwrap_or_default(),
        ]
    };
    // Below their host, so its name is not repeated.
    std::iter::once(own).chain(host.workers.iter().map(of_worker)).collect()
}

fn task_cells(task: &TaskInsights) -> [String; TASKS.len()] {
    let mark = if task.averaged > 0 { "~" } else { "" };
    let time = |time: Option<Duration>| time.map(|time| format!("{mark}{}", short(time))).unwrap_or_default();
    let slowest = task.slowest.iter().filter_map(|slow| {
        // Calls have no number that their caller would know.
        let first = slow.item?;
        let last = first + slow.items - 1;
        Some(if last > first { format!("{first}–{last}") } else { first.to_string() })
    });
    [
        task.task.clone(),
        count(task.items),
        count(task.failed()),
        count(task.errs),
        count(task.retries),
        count(task.time_outs),
        time(task.p50),
        time(task.p99),
        time(task.max),
        slowest.collect::<Vec<_>>().join(" "),
    ]
}

/// Writes columns with two blanks between them, and none at the ends of lines. A column without any cell is left out.
fn write_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    columns: [Column; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let headings = columns.map(|(heading, _)| heading.to_owned());
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for ((cell, (heading, is_number)), width) in row.iter().zip(columns).zip(widths) {
            // A column of empty cells says nothing, and costs width.
            if width == 0 {
                continue;
            }
            let width = width.max(heading.chars().count());
            // Counted in letters: a `µ` takes two bytes.
            let blanks = " ".repeat(width - cell.chars().count());
            let _ = if is_number { write!(line, "{blanks}{cell}  ") } else { write!(line, "{cell}{blanks}  ") };
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The time in three digits or so.
pub(crate) fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        60.0.. => {
            let (minutes, seconds) = (time.as_secs() / 60, time.as_secs() % 60);
            return if minutes < 60 {
                format!("{minutes}m{seconds:02}s")
            } else {
                format!("{}h{:02}m", minutes / 60, minutes % 60)
            };
        }
        1.0.. => (seconds, "s"),
        1e-3.. => (seconds * 1e3, "ms"),
        1e-6.. => (seconds * 1e6, "µs"),
        _ => return format!("{} ns", time.as_nanos()),
    };
    match value {
        100.0.. => format!("{value:.0} {unit}"),
        10.0.. => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

/// The number with a comma between thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    // Millions of items are common, and nobody counts digits.
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The size in MiB or GiB.
pub(crate) fn memory(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1000.0 { format!("{mib:.1} MiB") } else { format!("{:.2} GiB", mib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (12_345_678, "12.3 ms"),
            (999_900_000, "1000 ms"),
            (59_000_000_000, "59.0 s"),
            (61_000_000_000, "1m01s"),
            (7_260_000_000_000, "2h01m"),
        ];
        for (ns, text) in cases {
            assert_eq!(short(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn counts_and_sizes() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 5 << 20, 3 << 30].map(memory), ["0.0 MiB", "5.0 MiB", "3.00 GiB"]);
    }

    #[test]
    fn a_column_without_cells_is_left_out() {
        struct Shown;
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let rows = [["a", "", "1"], ["bcd", "", "20"]].map(|row| row.map(str::to_owned));
                write_table(f, [("x", false), ("none", false), ("number", true)], rows.into_iter())
            }
        }
        assert_eq!(Shown.to_string(), "x    number\na         1\nbcd      20\n");
    }
}

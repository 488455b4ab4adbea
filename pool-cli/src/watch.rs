//! `--watch`: the pool drawn live in the terminal, a line for each worker.
//!
//! The picture stands at the end of the terminal and is drawn anew some times a second. The cursor is always below it and never
//! hidden, so nothing has to be restored, however the program ends: its last picture stays.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::ProgressBar;
use pool_core::{Insights, Pool, WorkerInsights};

use crate::picture::Picture;
use crate::render::table;

/// Time between two pictures.
const PERIOD: Duration = Duration::from_millis(200);

/// The picture, if there is one.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None` without a terminal, or if nobody asked for it.
    picture: Option<Mutex<Picture>>,
}

impl Watch {
    pub(crate) fn new(is_wanted: bool) -> Watch {
        let terminal = Term::stderr();
        Watch { picture: (is_wanted && terminal.is_term()).then(|| Mutex::new(Picture::new(terminal))) }
    }

    /// Draws `pool` as long as `body` runs.
    pub(crate) fn beside<R>(&self, pool: &Pool, body: impl FnOnce() -> R) -> R {
        if self.picture.is_none() {
            return body();
        }
        let (is_running, ended) = channel::<()>();
        let draw = move || {
            let mut rates = Rates::default();
            self.draw(&pool.insights(), &mut rates);
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                self.draw(&pool.insights(), &mut rates);
            }
            // The last state stays, above all that is written later.
            self.draw(&pool.insights(), &mut rates);
            self.leave();
        };
        thread::scope(|scope| {
            // Without memory for a thread nothing is drawn.
            let _ = thread::Builder::new().name("watch".to_owned()).spawn_scoped(scope, draw);
            // Dropped also by a panic, since the scope waits for the thread.
            let _is_running = is_running;
            body()
        })
    }

    /// Whether there is a terminal for a bar, and no picture in it.
    pub(crate) fn leaves_room_for_bar(&self) -> bool {
        self.picture.is_none() && io::stderr().is_terminal()
    }

    /// As [`suspend`](Watch::suspend), with the bar out of the way, too.
    pub(crate) fn suspend_with<R>(&self, bar: &ProgressBar, body: impl FnOnce() -> R) -> R {
        self.suspend(|| bar.suspend(body))
    }

    /// Words about the progress of the whole, beside the picture's heading.
    pub(crate) fn note(&self, note: impl FnOnce() -> String) {
        if let Some(mut picture) = self.picture() {
            // Shown with the next picture: thousands of files a second must not cost as many pictures.
            picture.note = note();
        }
    }

    /// Runs `body`, which writes to the terminal, with the picture out of the way.
    pub(crate) fn suspend<R>(&self, body: impl FnOnce() -> R) -> R {
        let Some(mut picture) = self.picture() else { return body() };
        let (height, width) = picture.size();
        // Under the lock until it is drawn again, or the thread would draw in between.
        let erased = picture.erase(width);
        picture.write(&erased);
        let result = body();
        picture.redraw(height, width);
        result
    }

    fn draw(&self, insights: &Insights, rates: &mut Rates) {
        if let Some(mut picture) = self.picture() {
            // Asked for before the lock was taken: the pool may take a while to answer, and output would wait.
            rates.update(insights);
            picture.lines = lines(insights, rates, &picture.note);
            let (height, width) = picture.size();
            picture.redraw(height, width);
        }
    }

    /// Leaves the picture on the screen for good.
    fn leave(&self) {
        if let Some(mut picture) = self.picture() {
            // Forgotten and not erased, so that later output is written below it.
            picture.lines.clear();
            picture.drawn.clear();
        }
    }

    fn picture(&self) -> Option<MutexGuard<'_, Picture>> {
        Some(self.picture.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Standard output for lines that appear above the picture.
pub(crate) struct Above<'w, W> {
    /// `None` if the output goes elsewhere.
    watch: Option<&'w Watch>,
    out: W,
}

impl<'w, W: Write + IsTerminal> Above<'w, W> {
    pub(crate) fn new(watch: &'w Watch, out: W) -> Self {
        Above { watch: Some(watch).filter(|_| out.is_terminal()), out }
    }
}

impl<W: Write> Write for Above<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Above { watch, out } = self;
        let Some(watch) = watch else { return out.write(bytes) };
        // Flushed before the picture is drawn again below it.
        watch.suspend(|| {
            let written = out.write(bytes)?;
            out.flush()?;
            Ok(written)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

// ---- the lines -----------------------------------------------------------------------------------------------------

/// Items a second of each worker, over about the last second.
#[derive(Debug, Default)]
struct Rates {
    at: Option<Instant>,
    /// Items so far, and the rate.
    workers: Vec<(u64, f64)>,
}

impl Rates {
    fn update(&mut self, insights: &Insights) {
        let now = Instant::now();
        let seconds = self.at.replace(now).map_or(0.0, |at| (now - at).as_secs_f64());
        // A pool may grow while it is watched.
        self.workers.resize(insights.workers.len(), (0, 0.0));
        for ((items, rate), worker) in self.workers.iter_mut().zip(&insights.workers) {
            let done = worker.items.saturating_sub(std::mem::replace(items, worker.items)) as f64;
            if seconds > 0.0 {
                // A moving average, so that the numbers can be read.
                let weight = (-seconds).exp();
                *rate = *rate * weight + done / seconds * (1.0 - weight);
            }
        }
    }
}

fn lines(insights: &Insights, rates: &Rates, note: &str) -> Vec<String> {
    // The task last: it is the longest, and the one that is cut where the terminal is narrow.
    let headings = ["worker", "state", "for", "items", "rate", "memory", "restarts", "task"].map(str::to_owned);
    let rates = rates.workers.iter().map(|(_, rate)| *rate).chain(std::iter::repeat(0.0));
    let rows: Vec<_> = insights.workers.iter().zip(rates).map(|(worker, rate)| cells(worker, rate)).collect();
    let (workers, pending, uptime) = (insights.workers.len(), insights.pending, time(insights.uptime));
    let note = if note.is_empty() { String::new() } else { format!(", {note}") };
    let heading = format!("workers: {workers}, up: {uptime}, items pending: {pending}{note}");
    [heading].into_iter().chain(table(&headings, &rows).lines().map(str::to_owned)).collect()
}

fn cells(worker: &WorkerInsights, rate: f64) -> [String; 8] {
    [
        worker.worker.to_string(),
        worker.state.to_string(),
        time(worker.since),
        worker.items.to_string(),
        if rate < 9.95 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") },
        worker.rss_bytes.map(|bytes| format!("{} MiB", bytes.div_ceil(1 << 20))).unwrap_or_default(),
        // Each process but the first has taken the place of another.
        worker.incarnation.to_string(),
        worker.job(),
    ]
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let times = [(0, "0 ms"), (999, "999 ms"), (1999, "1 s"), (59_999, "59 s"), (61_000, "1 min 1 s")];
        for (ms, text) in times {
            assert_eq!(time(Duration::from_millis(ms)), text);
        }
    }
}

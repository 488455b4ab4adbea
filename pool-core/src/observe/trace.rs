//! Records as trace events in the format of Chrome's tracing ("Trace Event Format", the JSON array), which Perfetto and
//! `chrome://tracing` show as a timeline.
//!
//! Each worker is a thread of the host's process there, with a block for each item, or for a chunk of short ones. The array has
//! an event a line, and a comma before each but the first: cut off behind any line it lacks only its closing bracket, which
//! readers of the format do not ask for.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::log::{Items, Process, Record};
use crate::units::Nanos;

/// Chunks are merged into one block as long as that is no longer than this: blocks of a million calls a second would fill the
/// disk, and nobody could tell them apart.
const MERGED_NS: Nanos = 100_000;
/// A pause of a worker that is no pause.
const GAP_NS: Nanos = 20_000;
/// A pause from this length on is a block of its own.
const WAIT_NS: Nanos = 100_000;

/// Makes records into text.
#[derive(Debug)]
pub(crate) struct TraceWriter {
    host: u32,
    /// The time 0 of the trace.
    begun_at: Nanos,
    memory_limit: Option<u64>,
    lanes: BTreeMap<u32, Lane>,
    text: String,
    is_begun: bool,
}

/// A worker's line in the timeline.
#[derive(Debug, Default)]
struct Lane {
    /// The block that grows still.
    block: Option<Block>,
    /// The end of the last block; 0 without a process.
    until: Nanos,
    /// The start of the last item that was timed on its own.
    last_item: Option<Nanos>,
}

#[derive(Debug)]
struct Block {
    items: Items,
    process: Process,
    begun: Nanos,
    ended: Nanos,
}

impl TraceWriter {
    pub(crate) fn new(pool: &str, host: u32, begun_at: Nanos, memory_limit: Option<u64>) -> Self {
        let (lanes, text) = (BTreeMap::new(), String::new());
        let mut writer = TraceWriter { host, begun_at, memory_limit, lanes, text, is_begun: false };
        writer.event("M", "process_name", 0, &format!(r#","args":{{"name":{}}}"#, quoted(&format!("pool {pool}"))));
        writer
    }

    /// Takes the text of whole events that has come up.
    pub(crate) fn take(&mut self) -> String {
        let workers: Vec<_> = self.lanes.keys().copied().collect();
        // The reader may wait for long, and the host may be killed meanwhile.
        workers.into_iter().for_each(|worker| self.flush(worker));
        std::mem::take(&mut self.text)
    }

    pub(crate) fn record(&mut self, record: Record) {
        match record {
            Record::Started { process, asked_at, at } => self.started(process, asked_at, at),
            Record::Ready { process, initializing, at } => {
                let lane = self.lane(process.worker);
                let begun = at.saturating_sub(initializing).max(lane.until);
                lane.until = at;
                // Without an initializer it has only said that it is there.
                if at.saturating_sub(begun) >= GAP_NS {
                    self.span("initializer", process.worker, begun, at, "");
                }
            }
            Record::Exited { process, exit, chunk } => {
                // The blocks of a lane stand in the order of their times.
                self.flush(process.worker);
                let until = std::mem::take(self.lane(process.worker)).until;
                if let Some(chunk) = chunk {
                    let (job, task, label, is_calls) = (chunk.job, chunk.task, chunk.label, chunk.is_calls);
                    let first = chunk.first + u64::from(chunk.settled);
                    let items = Items { job, task, label, is_calls, first, count: 1 };
                    let begun = chunk.since.max(until);
                    self.pause(process.worker, until, begun);
                    self.block(&Block { items, process, begun, ended: exit.at }, "lost ");
                }
                let cause = exit.cause(self.memory_limit);
                let name = if cause.is_death() { format!("death: {cause}") } else { cause.to_string() };
                self.instant(&name, process.worker, exit.at, &process_args(process));
            }
            Record::Failed { items, process, kind, at } => {
                // An item that fails with its whole job has no worker.
                let worker = process.map_or(JOBS, |process| process.worker + 1);
                self.instant_at(&format!("failed: {kind}"), worker, at, &item_args(&items));
            }
            Record::NotFinalized { process, why, at } => {
                self.instant(&why, process.worker, at, &process_args(process));
            }
            Record::Retried { items, process, at } => {
                self.instant("to be retried", process.worker, at, &item_args(&items));
            }
            Record::Item { items, process, begun, ran } => {
                self.lane(process.worker).last_item = Some(begun);
                self.block_after_wait(Block { items, process, begun, ended: begun.saturating_add(ran) });
            }
            Record::Chunk { items, process, begun, ran } => {
                // Its items have been drawn one by one.
                let has_items = self.lane(process.worker).last_item.is_some_and(|item| item >= begun);
                if !has_items {
                    self.block_after_wait(Block { items, process, begun, ended: begun.saturating_add(ran) });
                }
            }
            // Jobs overlap, and blocks of one line cannot.
            Record::Submitted(_) | Record::Finished(_) => {}
            #[cfg(feature = "remote")]
            Record::Hindered { .. } => {}
        }
    }

    /// Says that records are missing here.
    pub(crate) fn lost(&mut self, records: u64, at: Nanos) {
        self.instant_at(&format!("{records} records lost: the trace could not be written fast enough"), JOBS, at, "");
    }

    /// Ends the array; `why` it ends early.
    pub(crate) fn end(&mut self, why: Option<(&str, Nanos)>) {
        if let Some((why, at)) = why {
            self.instant_at(why, JOBS, at, "");
        }
        self.text = self.take() + "\n]\n";
    }

    fn lane(&mut self, worker: u32) -> &mut Lane {
        self.lanes.entry(worker).or_default()
    }

    fn started(&mut self, process: Process, asked_at: Nanos, at: Nanos) {
        if !self.lanes.contains_key(&process.worker) {
            let worker = process.worker;
            let name = quoted(&format!("worker {worker}"));
            self.event("M", "thread_name", worker + 1, &format!(r#","args":{{"name":{name}}}"#));
            self.event("M", "thread_sort_index", worker + 1, &format!(r#","args":{{"sort_index":{worker}}}"#));
        }
        self.lane(process.worker).until = at;
        // A replacement costs its worker time, and people look for that.
        let name = if process.incarnation > 0 { "restart" } else { "start" };
        self.span(name, process.worker, asked_at, at, &process_args(process));
    }

    /// Draws a block, or lets the last one grow, and the pause before it.
    fn block_after_wait(&mut self, mut block: Block) {
        let worker = block.process.worker;
        let lane = self.lane(worker);
        // By the clock of a worker that lies, blocks could overlap, which the format cannot show.
        block.begun = block.begun.max(lane.until);
        block.ended = block.ended.max(block.begun);
        let until = std::mem::replace(&mut lane.until, block.ended);
        if let Some(last) = &mut lane.block
            && block.ended - last.begun <= MERGED_NS
            && block.begun - last.ended <= GAP_NS
            && (last.items.task, last.items.job) == (block.items.task, block.items.job)
        {
            // The block keeps the index of its first item.
            last.items.count += block.items.count;
            last.ended = block.ended;
            return;
        }
        self.flush(worker);
        self.pause(worker, until, block.begun);
        self.lane(worker).block = Some(block);
    }

    /// Draws the time in which the worker had nothing to do, unless it is short.
    fn pause(&mut self, worker: u32, begun: Nanos, ended: Nanos) {
        if begun > 0 && ended.saturating_sub(begun) >= WAIT_NS {
            self.span("waiting", worker, begun, ended, r#","cname":"grey""#);
        }
    }

    fn flush(&mut self, worker: u32) {
        if let Some(block) = self.lane(worker).block.take() {
            self.block(&block, "");
        }
    }

    fn block(&mut self, block: &Block, prefix: &str) {
        let path = block.items.path();
        // The whole path is among the arguments: a block has room for a word.
        let name = path.rsplit("::").next().unwrap_or(&path);
        let mut name = format!("{prefix}{name}");
        if let Some(label) = block.items.label {
            let _ = write!(name, " ({label})");
        }
        self.span(&name, block.process.worker, block.begun, block.ended, &item_args(&block.items));
    }

    /// An event with a duration.
    fn span(&mut self, name: &str, worker: u32, begun: Nanos, ended: Nanos, rest: &str) {
        let duration = micros(ended.saturating_sub(begun));
        let begun = micros(begun.saturating_sub(self.begun_at));
        self.event("X", name, worker + 1, &format!(r#","ts":{begun},"dur":{duration}{rest}"#));
    }

    /// A moment of a worker.
    fn instant(&mut self, name: &str, worker: u32, at: Nanos, rest: &str) {
        self.instant_at(name, worker + 1, at, rest);
    }

    fn instant_at(&mut self, name: &str, thread: u32, at: Nanos, rest: &str) {
        let at = micros(at.saturating_sub(self.begun_at));
        // Without a thread it concerns the whole pool, and viewers draw it across all lines.
        let scope = if thread == JOBS { 'p' } else { 't' };
        self.event("i", name, thread, &format!(r#","ts":{at},"s":"{scope}"{rest}"#));
    }

    fn event(&mut self, phase: &str, name: &str, thread: u32, rest: &str) {
        // The comma comes before an event and not behind it, so that the text can be cut off after any.
        self.text.push_str(if std::mem::replace(&mut self.is_begun, true) { ",\n" } else { "[\n" });
        let (name, host) = (quoted(name), self.host);
        let _ = write!(self.text, r#"{{"ph":"{phase}","name":{name},"pid":{host},"tid":{thread}{rest}}}"#);
    }
}

/// The thread of events that are no worker's.
const JOBS: u32 = 0;

/// Microseconds, the unit of the format.
fn micros(time: Nanos) -> String {
    format!("{}.{:03}", time / 1000, time % 1000)
}

fn process_args(process: Process) -> String {
    format!(r#","args":{{"pid":{},"incarnation":{}}}"#, process.pid, process.incarnation)
}

fn item_args(items: &Items) -> String {
    // A call has no index that its caller would know.
    let mut args = format!(r#","args":{{"task":{}"#, quoted(&items.path()));
    if let Some(item) = items.index() {
        let _ = write!(args, r#","item":{item}"#);
    }
    if items.count > 1 {
        let _ = write!(args, r#","items":{}"#, items.count);
    }
    if let Some(label) = items.label {
        let _ = write!(args, r#","label":{}"#, quoted(label));
    }
    args + "}"
}

/// The text as JSON (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            // The two that would end the text, or change the next letter.
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\0'..='\u{1f}' => _ = write!(quoted, "\\u{:04x}", u32::from(letter)),
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::JobId;

    fn chunk(worker: u32, begun: Nanos, ran: Nanos, items: u32) -> Record {
        let process = Process { worker, incarnation: 0, pid: 7 };
        let (job, label) = (JobId::default(), Some("a \"label\"\n"));
        Record::Chunk {
            items: Items { job, task: 0, label, is_calls: false, first: 5, count: items },
            process,
            begun,
            ran,
        }
    }

    /// The value of a key: a number, or a text without its quotes.
    fn value<'t>(event: &'t str, key: &str) -> &'t str {
        let rest = event.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key} in {event}")).1;
        match rest.strip_prefix('"') {
            Some(text) => &text[..text.find('"').unwrap()],
            None => &rest[..rest.find([',', '}']).unwrap()],
        }
    }

    /// The names, times and durations of the blocks. That the text is JSON is seen end to end.
    fn blocks(text: &str) -> Vec<(String, f64, f64)> {
        let blocks = text.lines().filter(|line| line.contains(r#""ph":"X""#));
        let number = |event, key| value(event, key).parse().unwrap();
        blocks.map(|event| (value(event, "name").to_owned(), number(event, "ts"), number(event, "dur"))).collect()
    }

    #[test]
    fn short_chunks_grow_into_blocks_and_long_pauses_are_blocks() {
        let mut writer = TraceWriter::new("p", 1, 1_000_000, None);
        let process = Process { worker: 3, incarnation: 1, pid: 9 };
        writer.record(Record::Started { process, asked_at: 1_000_000, at: 1_010_000 });
        (0..20).for_each(|n| writer.record(chunk(3, 1_010_000 + n * 10_000, 9_000, 2)));
        writer.record(chunk(3, 2_000_000, 500_000, 1));
        writer.end(None);
        let text = writer.take();
        let blocks = blocks(&text);
        let times: Vec<_> =
            blocks.iter().map(|(name, at, time)| (name.split(' ').next().unwrap() == "waiting", *at, *time)).collect();
        assert_eq!(blocks[0], ("restart".into(), 0.0, 10.0));
        assert_eq!(
            times[1..],
            [(false, 10.0, 99.0), (false, 110.0, 99.0), (true, 209.0, 791.0), (false, 1000.0, 500.0)]
        );
        assert!(text.ends_with("\"label\":\"a \\\"label\\\"\\u000a\"}}\n]\n"), "{text}");
    }

    #[test]
    fn each_line_is_an_event_and_the_comma_stands_before_it() {
        let mut writer = TraceWriter::new("p\\", 1, 0, None);
        let mut text = String::new();
        for n in 0..10 {
            writer.record(chunk(0, 1 + n * 1_000_000, 300_000, 1));
            text += &writer.take();
            assert!(text.starts_with("[\n{") && text.ends_with('}'), "{text}");
        }
        let lines: Vec<_> = text.lines().skip(1).collect();
        let (last, others) = lines.split_last().unwrap();
        assert!(others.iter().all(|line| line.starts_with('{') && line.ends_with("},")) && last.starts_with('{'));
    }

    #[test]
    fn a_worker_that_lies_makes_no_blocks_that_overlap() {
        let mut writer = TraceWriter::new("p", 1, 0, None);
        for (begun, ran) in [(1_000_000, 900_000), (0, 5_000_000), (2, 3), (Nanos::MAX, Nanos::MAX), (7, 8)] {
            writer.record(chunk(0, begun, ran, 1));
        }
        writer.end(Some(("it was enough", 10)));
        let text = writer.take();
        let blocks = blocks(&text);
        assert!(blocks.windows(2).all(|two| two[0].1 + two[0].2 <= two[1].1 + 0.002 || two[1].1 > 1e12), "{blocks:?}");
    }
}

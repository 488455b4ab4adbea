//! Gives the records of workers to the host's subscriber, as if their spans and events were the host's own.
//!
//! Records are a worker's word: any numbers may come, and none of them is trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::dispatcher::{self, Dispatch};
use tracing::span::Record as SpanRecord;
use tracing::{Event, Metadata, Span};

use super::Forwarded;
use super::callsites;
use super::contexts::Contexts;
use super::values::with_values;
use crate::task::table::TASKS;
use crate::worker::forwarding::record::{Callsite, Item, Parent, Record, Value, Values, level_number};
use crate::worker::position::Worker;

/// The subscriber, and the spans that are open there.
pub(crate) struct Replay {
    dispatch: Dispatch,
    contexts: Arc<Contexts>,
    /// By their pids.
    processes: BTreeMap<u32, Process>,
}

/// A worker process.
#[derive(Default)]
struct Process {
    callsites: BTreeMap<u64, &'static Metadata<'static>>,
    spans: BTreeMap<u64, Remote>,
    /// The item that the last records are of.
    item: Option<(Option<Item>, Span)>,
    /// It has written something else than records, and nothing more of it is believed.
    is_corrupt: bool,
}

/// A span of a worker.
struct Remote {
    span: Span,
    /// That of the span itself; `None` if it is left out.
    metadata: Option<&'static Metadata<'static>>,
    /// How often it is entered.
    entered: u32,
    /// The number of the worker's spans around it.
    depth: usize,
}

/// Spans of one process that are open at once, at most; further ones are left out.
const SPANS_MAX: usize = 4096;
/// Spans of a worker within each other, at most: where outer ones end first, subscribers close the chain by recursion.
const DEPTH_MAX: usize = 256;
/// Places in the code that one process may number, at most.
const CALLSITES_MAX: usize = 8192;
const TARGET: &str = "pool_core";

impl Replay {
    pub(crate) fn new(dispatch: Dispatch, contexts: Arc<Contexts>) -> Self {
        Replay { dispatch, contexts, processes: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, forwarded: Forwarded) {
        let dispatch = self.dispatch.clone();
        // For all of it, and not for events alone: a registry drops the handle of an outer span at the subscriber that counts.
        dispatcher::with_default(&dispatch, || match forwarded {
            Forwarded::Record(worker, bytes) => self.record(worker, &bytes),
            Forwarded::Ended(worker) => self.end(worker),
            Forwarded::Released(context) => self.contexts.leave(context),
            Forwarded::Dropped(count) => {
                tracing::warn!(target: TARGET, dropped = count, "records of workers were dropped here: the subscriber had not returned for a second");
            }
        });
    }

    fn record(&mut self, worker: Worker, bytes: &[u8]) {
        let process = self.processes.entry(worker.pid()).or_default();
        if process.is_corrupt {
            // Where garbage ends cannot be known, so a record behind it may be garbage that looks like one.
            return;
        }
        match postcard::from_bytes(bytes) {
            Ok(record) => Process::take(process, worker, record, &self.dispatch, &self.contexts),
            Err(_) => {
                process.is_corrupt = true;
                let (worker, pid) = (worker.id(), worker.pid());
                tracing::warn!(target: TARGET, worker, pid, "the worker has sent something else than records, and nothing more of it is forwarded");
            }
        }
    }

    fn end(&mut self, worker: Worker) {
        let Some(process) = self.processes.remove(&worker.pid()) else { return };
        // It has died in them. The inner ones end first.
        // Their numbers grow inwards, since a span is made after the one around it.
        for (_, remote) in process.spans.into_iter().rev() {
            (0..remote.entered).for_each(|_| remote.exit());
        }
    }
}

impl Remote {
    /// A span that is left out: the one around it stands for it.
    fn left_out(around: Span) -> Self {
        Remote { span: around, metadata: None, entered: 0, depth: 0 }
    }

    fn enter(&self) {
        self.span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
    }

    fn exit(&self) {
        self.span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
    }
}

impl Process {
    fn take(&mut self, worker: Worker, record: Record, dispatch: &Dispatch, contexts: &Contexts) {
        let parent = |process: &mut Process, parent| process.parent(worker, parent, contexts, dispatch);
        match record {
            Record::Callsite { id, callsite } => {
                if self.callsites.len() < CALLSITES_MAX {
                    self.callsites.insert(id, callsites::metadata(&callsite));
                }
            }
            Record::Span { id, callsite, parent: around, values } => {
                // Unknown only if a stuck subscriber has cost even the vital records.
                let Some(&metadata) = self.callsites.get(&callsite) else { return };
                let depth = match around {
                    Parent::Span(around) => self.spans.get(&around).map_or(0, |around| around.depth + 1),
                    Parent::Item(_) => 0,
                };
                if self.spans.len() < SPANS_MAX && metadata.is_span() {
                    let around = parent(self, around);
                    let remote = if depth < DEPTH_MAX {
                        open(metadata, around, &values, dispatch)
                    } else {
                        Remote::left_out(around)
                    };
                    self.spans.insert(id, Remote { depth, ..remote });
                }
            }
            Record::Values { span, values } => {
                let Some(Remote { span, metadata: Some(metadata), .. }) = self.spans.get(&span) else { return };
                span.with_subscriber(|(id, dispatch)| {
                    with_values(metadata, &values, |values| dispatch.record(id, &SpanRecord::new(values)));
                });
            }
            Record::Follows { span, other } => {
                if let (Some(span), Some(other)) = (self.spans.get(&span), self.spans.get(&other)) {
                    span.span.follows_from(other.span.id());
                }
            }
            Record::Enter { span } => {
                if let Some(remote) = self.spans.get_mut(&span).filter(|remote| remote.metadata.is_some()) {
                    remote.entered = remote.entered.saturating_add(1);
                    remote.enter();
                }
            }
            Record::Exit { span } => {
                // Not more often than it was entered, since subscribers count both.
                if let Some(remote) = self.spans.get_mut(&span).filter(|remote| remote.entered > 0) {
                    remote.entered -= 1;
                    remote.exit();
                }
            }
            Record::Close { span } => {
                if let Some(remote) = self.spans.remove(&span) {
                    (0..remote.entered).for_each(|_| remote.exit());
                }
            }
            // Its span ends now, and not when the worker's next item says something.
            Record::Done => self.item = None,
            Record::Event { callsite, parent: around, values } => {
                if let Some(&metadata) = self.callsites.get(&callsite).filter(|metadata| metadata.is_event()) {
                    emit(metadata, &parent(self, around), &values, dispatch);
                }
            }
            Record::Log { callsite, parent: around, message } => {
                // A span's place cannot stand for an event, nor can one without a field for the text.
                let callsite = Callsite { is_span: false, fields: vec!["message".to_owned()], ..callsite };
                let message = vec![(0, Value::Debug(message))];
                emit(callsites::metadata(&callsite), &parent(self, around), &message, dispatch);
            }
        }
    }

    /// The host's span that stands for this parent.
    fn parent(&mut self, worker: Worker, parent: Parent, contexts: &Contexts, dispatch: &Dispatch) -> Span {
        let item = match parent {
            Parent::Span(id) => match self.spans.get(&id) {
                Some(remote) => return remote.span.clone(),
                // It was left out or dropped; the item is still known.
                None => self.item.as_ref().and_then(|(item, _)| *item),
            },
            Parent::Item(item) => item,
        };
        match &self.item {
            Some((current, span)) if *current == item => span.clone(),
            _ => {
                let span = span_of(worker, item, contexts, dispatch);
                self.item = Some((item, span.clone()));
                span
            }
        }
    }
}

/// The span of an item, in the span in which it was submitted; or that of a worker.
fn span_of(worker: Worker, item: Option<Item>, contexts: &Contexts, dispatch: &Dispatch) -> Span {
    // Looked up when the item first says something, while its job still keeps the context.
    let around = item.and_then(|item| contexts.get(item.context));
    let around = around.map_or_else(Span::none, |span| Span::clone(&span));
    let task = item.and_then(|item| TASKS.get(item.task as usize)).map(|entry| entry.path());
    let callsite = Callsite {
        is_span: true,
        // Errors, too, should be told with their worker, whatever level the subscriber has.
        level: level_number(tracing::Level::ERROR),
        name: if item.is_some() { "item" } else { "worker" }.to_owned(),
        // The task's module, so that a filter for its events lets their item pass, too.
        target: task.as_deref().and_then(|task| task.rsplit_once("::")).map_or(TARGET, |(module, _)| module).to_owned(),
        file: None,
        line: None,
        module: None,
        fields: ["worker", "pid", "task", "item", "attempt"].map(str::to_owned).to_vec(),
    };
    let metadata = callsites::metadata(&callsite);
    let mut values = vec![(0, Value::U64(worker.id() as u64)), (1, Value::U64(worker.pid().into()))];
    values.extend(task.map(|task| (2, Value::Str(task))));
    values.extend(item.and_then(|item| item.index).map(|index| (3, Value::U64(index))));
    // Only if it is worth a word.
    values.extend(item.filter(|item| item.attempt > 1).map(|item| (4, Value::U64(item.attempt.into()))));
    open(metadata, around, &values, dispatch).span
}

fn open(metadata: &'static Metadata<'static>, around: Span, values: &Values, dispatch: &Dispatch) -> Remote {
    // Asked in the same thread right before: filters of layers remember their answer there.
    let opened = dispatch
        .enabled(metadata)
        .then(|| with_values(metadata, values, |values| Span::child_of_with(around.id(), metadata, values, dispatch)));
    match opened {
        Some(span) => Remote { span, metadata: Some(metadata), entered: 0, depth: 0 },
        None => Remote::left_out(around),
    }
}

fn emit(metadata: &'static Metadata<'static>, around: &Span, values: &Values, dispatch: &Dispatch) {
    if dispatch.enabled(metadata) {
        with_values(metadata, values, |values| Event::child_of(around.id(), metadata, values));
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

//! A subscriber that remembers everything, for checks of spans and events.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Values of fields, as text.
pub(crate) type Fields = BTreeMap<String, String>;

/// A span, and all that has happened to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenSpan {
    pub(crate) name: String,
    pub(crate) fields: Fields,
    pub(crate) follows: Vec<u64>,
    pub(crate) entered: usize,
    pub(crate) exited: usize,
    pub(crate) is_closed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct SeenEvent {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) module: Option<String>,
    pub(crate) fields: Fields,
    /// The innermost span first.
    pub(crate) scope: Vec<u64>,
}

impl SeenEvent {
    pub(crate) fn message(&self) -> &str {
        self.fields.get("message").map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) spans: BTreeMap<u64, SeenSpan>,
    pub(crate) events: Vec<SeenEvent>,
}

impl Seen {
    /// The spans around an event, the innermost first.
    pub(crate) fn scope(&self, event: &SeenEvent) -> Vec<SeenSpan> {
        event.scope.iter().map(|id| self.spans[id].clone()).collect()
    }

    pub(crate) fn event(&self, message: &str) -> &SeenEvent {
        let mut found = self.events.iter().filter(|event| event.message() == message);
        let event = found.next().unwrap_or_else(|| panic!("no {message} among {:?}", self.events));
        assert!(found.next().is_none(), "{message} came twice");
        event
    }

    pub(crate) fn span(&self, name: &str) -> Option<&SeenSpan> {
        self.spans.values().find(|span| span.name == name)
    }
}

/// The work of the subscriber beside remembering.
type OnEvent = Box<dyn Fn(&SeenEvent) + Send + Sync>;

/// The memory of a subscriber.
#[derive(Clone)]
pub(crate) struct Memory {
    seen: Arc<Mutex<Seen>>,
    max: Level,
    on_event: Arc<OnEvent>,
}

impl Memory {
    /// Of a subscriber of this level that counts in this thread, as long as the guard lives.
    pub(crate) fn of_this_thread(max: Level) -> (Memory, DefaultGuard) {
        Memory::with(max, |_| {})
    }

    /// Of one that also does this with each event.
    pub(crate) fn with(max: Level, on_event: impl Fn(&SeenEvent) + Send + Sync + 'static) -> (Memory, DefaultGuard) {
        let memory = Memory { seen: Arc::default(), max, on_event: Arc::new(Box::new(on_event)) };
        // Span ids of the registry are used again, so each has a number of its own here.
        let subscriber = tracing_subscriber::registry().with(memory.clone());
        (memory, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The number of a span, in its extensions.
struct Number(u64);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Memory {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.max
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.max.into())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut fields = Fields::new();
        attributes.record(&mut Texts(&mut fields));
        let mut seen = self.seen();
        let number = seen.spans.len() as u64 + 1;
        span.extensions_mut().insert(Number(number));
        let name = attributes.metadata().name().to_owned();
        seen.spans.insert(number, SeenSpan { name, fields, ..SeenSpan::default() });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.with_span(id, &context, |span| values.record(&mut Texts(&mut span.fields)));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let other = context.span(follows).unwrap().extensions().get::<Number>().unwrap().0;
        self.with_span(id, &context, |span| span.follows.push(other));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Texts(&mut fields));
        let metadata = event.metadata();
        let scope = context.event_scope(event).into_iter().flatten();
        let seen = SeenEvent {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            file: metadata.file().map(str::to_owned),
            line: metadata.line(),
            module: metadata.module_path().map(str::to_owned),
            fields,
            scope: scope.map(|span| span.extensions().get::<Number>().unwrap().0).collect(),
        };
        self.seen().events.push(seen.clone());
        (self.on_event)(&seen);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.with_span(id, &context, |span| span.entered += 1);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.with_span(id, &context, |span| span.exited += 1);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.with_span(&id, &context, |span| span.is_closed = true);
    }
}

impl Memory {
    fn with_span<S>(&self, id: &Id, context: &Context<'_, S>, body: impl FnOnce(&mut SeenSpan))
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let number = context.span(id).unwrap().extensions().get::<Number>().unwrap().0;
        body(self.seen().spans.get_mut(&number).unwrap());
    }
}

/// Writes values as text.
struct Texts<'f>(&'f mut Fields);

impl Texts<'_> {
    fn insert(&mut self, field: &Field, kind: &str, value: &dyn fmt::Display) {
        let kind = if field.name() == "message" { "" } else { kind };
        self.0.insert(field.name().to_owned(), format!("{kind}{value}"));
    }
}

impl Visit for Texts<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, "", &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, "str ", &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, "u64 ", &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, "i64 ", &value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.insert(field, "u128 ", &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, "f64 ", &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, "bool ", &value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let source = value.source().map_or(String::new(), |source| format!(" of {source}"));
        self.insert(field, "error ", &format_args!("{value}{source}"));
    }
}

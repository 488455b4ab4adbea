//! The subscriber of a worker: it writes spans and events to the host.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

use super::bridged::bridged;
use super::channel::Channel;
use super::record::{Budget, Callsite, Parent, Record, Value, Values, level_number};

thread_local! {
    /// The spans that this thread is in, the innermost one last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The innermost span that this thread is in.
pub(super) fn current() -> Option<u64> {
    // Not there any more while the thread ends.
    ENTERED.try_with(|entered| entered.borrow().last().copied()).ok().flatten()
}

/// Writes to the host.
pub(super) struct Forwarder(pub(super) &'static Channel);

impl Forwarder {
    fn parent(&self, is_contextual: bool, explicit: Option<&Id>) -> Parent {
        let span = explicit.map(Id::into_u64).or_else(|| if is_contextual { current() } else { None });
        span.map_or_else(|| self.0.item(), Parent::Span)
    }
}

impl Subscriber for Forwarder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // For good: the level does not change while the worker lives, so it need not be asked again.
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.0.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.level)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        // Decided here: the host knows nothing of this process's threads and the spans that they are in.
        let parent = self.parent(span.is_contextual(), span.parent());
        let metadata = span.metadata();
        let id = self.0.open_span(metadata);
        self.0.introduce(number(metadata), || callsite(metadata));
        let values = values(|visitor| span.record(visitor));
        self.0.send(&Record::Span { id, callsite: number(metadata), parent, values });
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, record: &SpanRecord<'_>) {
        let values = values(|visitor| record.record(visitor));
        self.0.send(&Record::Values { span: span.into_u64(), values });
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.send(&Record::Follows { span: span.into_u64(), other: follows.into_u64() });
    }

    fn event(&self, event: &Event<'_>) {
        let parent = self.parent(event.is_contextual(), event.parent());
        let metadata = event.metadata();
        if let Some((callsite, message)) = bridged(event) {
            return self.0.send(&Record::Log { callsite, parent, message });
        }
        self.0.introduce(number(metadata), || callsite(metadata));
        let values = values(|visitor| event.record(visitor));
        self.0.send(&Record::Event { callsite: number(metadata), parent, values });
    }

    fn enter(&self, span: &Id) {
        // Kept here as well as told: the next span of this thread needs its parent at once.
        let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(span.into_u64()));
        self.0.send(&Record::Enter { span: span.into_u64() });
    }

    fn exit(&self, span: &Id) {
        let _ = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            // Spans may be left in another order.
            if let Some(at) = entered.iter().rposition(|&id| id == span.into_u64()) {
                entered.remove(at);
            }
        });
        self.0.send(&Record::Exit { span: span.into_u64() });
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.clone_span(span.into_u64());
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let is_last = self.0.drop_span(span.into_u64());
        // Handles are counted here, so that clones and drops cost no record.
        if is_last {
            self.0.send(&Record::Close { span: span.into_u64() });
        }
        is_last
    }

    fn current_span(&self) -> Current {
        let span = current().and_then(|id| Some(Current::new(Id::from_u64(id), self.0.metadata(id)?)));
        span.unwrap_or_else(Current::none)
    }
}

/// The number of a place in the code: its address, which is its own as long as the process lives.
fn number(metadata: &Metadata<'_>) -> u64 {
    (&raw const *metadata).addr() as u64
}

fn callsite(metadata: &Metadata<'_>) -> Callsite {
    let mut budget = Budget::new();
    let mut text = |text: &str| budget.text(text);
    let (name, target) = (text(metadata.name()), text(metadata.target()));
    let (file, module) = (metadata.file().map(&mut text), metadata.module_path().map(&mut text));
    let fields = metadata.fields().iter().map_while(|field| budget.has_value().then(|| budget.text(field.name())));
    Callsite {
        is_span: metadata.is_span(),
        level: level_number(*metadata.level()),
        name,
        target,
        file,
        line: metadata.line(),
        module,
        fields: fields.collect(),
    }
}

/// The values that `record` shows the visitor.
fn values(record: impl FnOnce(&mut dyn Visit)) -> Values {
    let mut visitor = Visitor { budget: Budget::new(), values: Vec::new() };
    record(&mut visitor);
    visitor.values
}

struct Visitor {
    budget: Budget,
    values: Values,
}

impl Visitor {
    fn push(&mut self, field: &Field, value: impl FnOnce(&mut Budget) -> Value) {
        if self.budget.has_value() {
            self.values.push((field.index() as u32, value(&mut self.budget)));
        }
    }
}

impl Visit for Visitor {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, |_| Value::F64(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, |_| Value::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, |_| Value::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.push(field, |_| Value::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.push(field, |_| Value::U128(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, |_| Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, |budget| Value::Str(budget.text(value)));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.push(field, |budget| {
            let mut texts = vec![budget.format(format_args!("{value}"))];
            let mut source = value.source();
            // A chain without end is cut where the record is full.
            while let Some(error) = source.filter(|_| budget.has_value()) {
                texts.push(budget.format(format_args!("{error}")));
                source = error.source();
            }
            Value::Error(texts)
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, |budget| Value::Debug(budget.debug(value)));
    }
}

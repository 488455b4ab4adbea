//! Values of fields, as a subscriber reads them.

use std::error::Error;

use tracing::field::{self, ValueSet};
use tracing::{Metadata, Value as TracingValue};

use crate::error::told::Told;
use crate::worker::forwarding::record::{Value, Values};

/// Calls `body` with the values of fields that the metadata has.
pub(super) fn with_values<R>(
    metadata: &'static Metadata<'static>,
    values: &Values,
    body: impl FnOnce(&ValueSet<'_>) -> R,
) -> R {
    let fields = metadata.fields();
    let mut owned: Vec<Option<Box<dyn TracingValue + '_>>> = fields.iter().map(|_| None).collect();
    for (number, value) in values {
        // The number is a worker's word.
        if let Some(place) = owned.get_mut(*number as usize) {
            *place = Some(boxed(value));
        }
    }
    // One for each field, in their order: a set of some fields would need its length at compile time.
    let all: Vec<_> = owned.iter().map(Option::as_deref).collect();
    body(&fields.value_set_all(&all))
}

fn boxed(value: &Value) -> Box<dyn TracingValue + '_> {
    match value {
        Value::Bool(value) => Box::new(value),
        Value::I64(value) => Box::new(value),
        Value::U64(value) => Box::new(value),
        Value::I128(value) => Box::new(value),
        Value::U128(value) => Box::new(value),
        Value::F64(value) => Box::new(value),
        Value::Str(text) => Box::new(text),
        // It has been formatted, and is not quoted a second time.
        Value::Debug(text) => Box::new(field::display(text)),
        Value::Error(texts) if texts.is_empty() => Box::new(""),
        Value::Error(texts) => Box::new(Box::new(Told::of(texts.clone())) as Box<dyn Error>),
    }
}

//! Records of `log` that a logger of the worker's own, such as `tracing-log`, has made into events.

use std::fmt::Debug;

use tracing::Event;
use tracing::field::{Field, Visit};

use super::record::{Budget, Callsite, level_number};

/// The field of such an event that no other event has.
const TARGET: &str = "log.target";

/// The place and the message of the record of `log` that the event stands for, if it stands for one.
pub(super) fn bridged(event: &Event<'_>) -> Option<(Callsite, String)> {
    let metadata = event.metadata();
    // First, and cheap: other events should not pay for this.
    if metadata.target() != "log" || metadata.fields().field(TARGET).is_none() {
        return None;
    }
    let callsite = Callsite::of_log(level_number(*metadata.level()), String::new());
    let mut place = Place { callsite, budget: Budget::new() };
    event.record(&mut place);
    let (Place { callsite, mut budget }, mut message) = (place, String::new());
    // The message last, though it is the first of the values: it is the longest, and may be cut.
    event.record(&mut |field: &Field, value: &dyn Debug| {
        if field.name() == "message" {
            message = budget.debug(value);
        }
    });
    Some((callsite, message))
}

/// The place in the code that is among the values of such an event.
struct Place {
    callsite: Callsite,
    budget: Budget,
}

impl Visit for Place {
    fn record_str(&mut self, field: &Field, value: &str) {
        let text = self.budget.text(value);
        match field.name() {
            TARGET => self.callsite.target = text,
            "log.file" => self.callsite.file = Some(text),
            "log.module_path" => self.callsite.module = Some(text),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "log.line" {
            self.callsite.line = u32::try_from(value).ok();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

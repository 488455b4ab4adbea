//! Records of spans and events, as they travel from a worker to its host.
//!
//! A record is written by one write(2) of at most [`RECORD_BYTES_MAX`] bytes, so it is there whole or not at all, whatever kills the
//! worker and however many of its threads write. Before it stands its length.

use std::fmt::{self, Debug, Write};

use serde::{Deserialize, Serialize};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// Bytes that a pipe takes whole or not at all: PIPE_BUF, see pipe(7).
pub(crate) const RECORD_BYTES_MAX: usize = 4096;

/// Bytes before a record that say its length.
pub(crate) const LENGTH_BYTES: usize = 2;

/// A record. The first ones are [vital](Record::is_vital).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Record {
    /// The number `id` means this place in the code.
    Callsite {
        id: u64,
        callsite: Callsite,
    },
    /// The last handle of the span is gone.
    Close {
        span: u64,
    },
    Exit {
        span: u64,
    },
    /// The request is done, and with it its last item.
    Done,
    Enter {
        span: u64,
    },
    Span {
        id: u64,
        callsite: u64,
        parent: Parent,
        values: Values,
    },
    /// Values of fields of the span that it did not have before.
    Values {
        span: u64,
        values: Values,
    },
    Follows {
        span: u64,
        other: u64,
    },
    Event {
        callsite: u64,
        parent: Parent,
        values: Values,
    },
    /// A record of the crate `log`.
    Log {
        callsite: Callsite,
        parent: Parent,
        message: String,
    },
}

impl Record {
    /// Whether records that follow would make no sense without this one. `bytes` is the encoded record.
    pub(crate) fn is_vital(bytes: &[u8]) -> bool {
        // The number of the variant.
        bytes.first().is_some_and(|variant| *variant <= 3)
    }
}

/// The span around a span or event.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Parent {
    Span(u64),
    /// None of the worker's: it belongs to this item, or to the worker itself.
    Item(Option<Item>),
}

/// An item, as the worker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) task: u32,
    /// The request, and the place of the item in it.
    pub(crate) request: u32,
    pub(crate) number: u32,
    /// Its index in the map; `None` for a call.
    pub(crate) index: Option<u64>,
    pub(crate) attempt: u32,
    /// The number of the span in which it was submitted, or 0.
    pub(crate) context: u32,
}

/// A place in the code that makes spans or events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Callsite {
    pub(crate) is_span: bool,
    /// From 1, for errors, to 5.
    pub(crate) level: u8,
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) module: Option<String>,
    pub(crate) fields: Vec<String>,
}

impl Callsite {
    /// Of a record of `log`, as far as all of them have it.
    pub(super) fn of_log(level: u8, target: String) -> Self {
        let (name, fields) = ("log".to_owned(), vec!["message".to_owned()]);
        Callsite { is_span: false, level, name, target, file: None, line: None, module: None, fields }
    }
}

/// The number of the level: 1 for errors, 5 for the least important.
pub(crate) fn level_number(level: impl Into<LevelFilter>) -> u8 {
    let level = level.into();
    LEVELS.iter().position(|known| *known == level).unwrap_or(0) as u8
}

/// By their numbers; none at 0.
pub(super) const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// The level of this number.
pub(crate) fn level_of(number: u8) -> Level {
    LEVELS.get(usize::from(number)).and_then(|level| level.into_level()).unwrap_or(Level::TRACE)
}

/// Values of fields, by their numbers in the callsite.
pub(crate) type Values = Vec<(u32, Value)>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Bool(bool),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Str(String),
    /// As its `Debug` prints it.
    Debug(String),
    /// The texts of an error, and of its sources.
    Error(Vec<String>),
}

/// Bytes that the texts of a record may still take.
#[derive(Debug)]
pub(crate) struct Budget(usize);

/// Stands at the end of a text that had no room.
const CUT: &str = "… (cut)";
/// Bytes that a value takes beside its text, at most.
const VALUE_BYTES: usize = 24;
/// Bytes that all else of a record takes, at most.
const REST_BYTES: usize = 400;

impl Budget {
    pub(crate) fn new() -> Self {
        Budget(RECORD_BYTES_MAX - REST_BYTES)
    }

    /// Takes the room for a value; false if there is none, not even for its number.
    pub(crate) fn has_value(&mut self) -> bool {
        let has_room = self.0 > VALUE_BYTES + CUT.len();
        self.0 -= if has_room { VALUE_BYTES } else { 0 };
        has_room
    }

    pub(crate) fn text(&mut self, text: &str) -> String {
        self.format(format_args!("{text}"))
    }

    /// The text of the arguments, which are not formatted further than there is room.
    pub(crate) fn format(&mut self, arguments: fmt::Arguments<'_>) -> String {
        struct Bounded(String, usize);
        impl Write for Bounded {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                // A value may write gigabytes: no more of it is kept than the record can hold.
                let length = text.floor_char_boundary(self.1 - self.0.len());
                self.0.push_str(&text[..length]);
                if length < text.len() { Err(fmt::Error) } else { Ok(()) }
            }
        }
        let mut out = Bounded(String::new(), self.0.saturating_sub(CUT.len()));
        // An error may also be one of the value's own `Debug`; then this is all that there is.
        if out.write_fmt(arguments).is_err() {
            out.0.push_str(CUT);
        }
        self.0 = self.0.saturating_sub(out.0.len());
        out.0
    }

    pub(crate) fn debug(&mut self, value: &dyn Debug) -> String {
        self.format(format_args!("{value:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(values: Values) -> usize {
        let parent = Parent::Item(Some(Item {
            task: u32::MAX,
            request: u32::MAX,
            number: u32::MAX,
            index: Some(u64::MAX),
            attempt: u32::MAX,
            context: u32::MAX,
        }));
        postcard::to_allocvec(&Record::Span { id: u64::MAX, callsite: u64::MAX, parent, values }).unwrap().len()
    }

    #[test]
    fn a_record_fits_however_large_its_values_are() {
        let long = "ü".repeat(10_000);
        for fields in [1, 2, 40, 500] {
            let mut budget = Budget::new();
            let value = |number| budget.has_value().then(|| (number, Value::Debug(budget.debug(&long))));
            let values: Values = (0..fields).filter_map(value).collect();
            assert!(values[0].1 != Value::Debug(String::new()));
            assert!(length(values) + LENGTH_BYTES <= RECORD_BYTES_MAX);
            let mut budget = Budget::new();
            let values: Values = (0..fields)
                .filter_map(|number| budget.has_value().then_some((number, Value::I128(i128::MIN))))
                .collect();
            assert!(length(values) + LENGTH_BYTES <= RECORD_BYTES_MAX);
        }
    }

    #[test]
    fn a_text_is_cut_only_if_it_must_be() {
        let mut budget = Budget::new();
        assert_eq!(budget.text("short"), "short");
        let cut = budget.text(&"x".repeat(5000));
        assert!(cut.ends_with("x… (cut)") && cut.len() > 3000, "{}", cut.len());
        assert!(!budget.has_value());
        assert_eq!(budget.text("more"), CUT);
    }

    #[test]
    fn the_first_variants_are_vital() {
        let is_vital = |record: &Record| Record::is_vital(&postcard::to_allocvec(record).unwrap());
        assert!([Record::Close { span: 1 }, Record::Exit { span: 1 }, Record::Done].iter().all(is_vital));
        assert!(!is_vital(&Record::Enter { span: 1 }));
    }
}

//! From lines to calls: the thread that reads.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::names;
use super::window::Window;
use crate::caller::json::{Encoded, encode};
use crate::codec::json::Json;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::AsyncResult;
use crate::pool::Pool;
use crate::process::panic;
use crate::task::table::Entry;

/// A line that was read, and is to be answered.
pub(super) struct Pending {
    pub(super) line: u64,
    /// As it was written.
    pub(super) id: Option<Box<RawValue>>,
    /// Bytes for which it has room in the window.
    pub(super) bytes: usize,
    /// The call, unless the line was refused.
    pub(super) call: Result<Submitted>,
}

/// The task of a call, and its outcome.
pub(super) type Submitted = (&'static Entry, AsyncResult<Encoded>);

/// A line with the name of its task.
#[derive(Deserialize)]
// A misspelt `args` would else be a call without arguments.
#[serde(deny_unknown_fields)]
struct Request<'l> {
    // Lent, unless it has escapes: a name is looked up for each line.
    #[serde(borrow)]
    task: Cow<'l, str>,
    #[serde(default = "no_arguments")]
    args: Json,
    #[serde(default)]
    id: Option<Box<RawValue>>,
}

fn no_arguments() -> Json {
    Json::Null
}

/// Reads requests and submits them.
pub(super) struct Requests<'p> {
    pool: &'p Pool,
    /// The task of all lines, if they have no names.
    task: Option<&'static Entry>,
    /// Names that have been found: to look through the table takes longer than a short call.
    known: BTreeMap<String, &'static Entry>,
}

impl<'p> Requests<'p> {
    pub(super) fn new(pool: &'p Pool) -> Self {
        Requests { pool, task: None, known: BTreeMap::new() }
    }

    pub(super) fn of_task(pool: &'p Pool, name: &str) -> Result<Self> {
        let entry = names::find(name).map_err(|text| Error::new(ErrorKind::InvalidInput, text))?;
        Ok(Requests { task: Some(entry), ..Requests::new(pool) })
    }

    /// Reads to the end, or until nothing is answered any more.
    pub(super) fn submit(mut self, input: &mut dyn BufRead, window: &Window, to: &Sender<Pending>) -> Result<()> {
        let mut lines = Lines::new(input);
        while !window.is_closed()
            && let Some((number, line)) = lines.next().map_err(|error| Error::system("reading a request", error))?
        {
            let text = match line {
                Line::Whole([]) => continue,
                Line::Whole(text) => Ok(text),
                Line::TooLong => Err(refused(format!("the line has more than {LINE_BYTES_MAX} bytes"))),
            };
            let bytes = text.as_ref().map_or(0, |text| text.len());
            // Before the line is read as JSON, since its values take many times its memory.
            if !window.enter(bytes) {
                break;
            }
            let (id, call) = match text {
                Ok(text) => self.call(text),
                Err(error) => (None, Err(error)),
            };
            // The writer may be gone; then the window is closed.
            let _ = to.send(Pending { line: number, id, bytes, call });
        }
        Ok(())
    }

    fn call(&mut self, line: &[u8]) -> (Option<Box<RawValue>>, Result<Submitted>) {
        // Checked here, since `serde_json` would not say where the wrong byte is.
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(error) => {
                let text = format!("the line is not UTF-8: a wrong byte is at column {}", error.valid_up_to() + 1);
                return (None, Err(refused(text)));
            }
        };
        let (entry, args, id) = match self.task {
            Some(entry) => (Ok(entry), serde_json::from_str(text), None),
            // `serde` would take an array for an object without names.
            None if !text.starts_with('{') => {
                let text = r#"a request is an object, such as {"task": "square", "args": 10}"#;
                return (None, Err(refused(text.to_owned())));
            }
            None => match serde_json::from_str::<Request<'_>>(text) {
                Ok(Request { task, args, id }) => (self.entry(&task), Ok(args), id),
                // Without its `id`: a line that is no request may have none, or several.
                Err(error) => return (None, Err(refused(words(&error)))),
            },
        };
        let args = args.map_err(|error| refused(words(&error)));
        (id, entry.and_then(|entry| args.and_then(|args| self.submit_one(entry, &args))))
    }

    fn entry(&mut self, name: &str) -> Result<&'static Entry> {
        if let Some(entry) = self.known.get(name) {
            return Ok(entry);
        }
        let entry = names::find(name).map_err(refused)?;
        // Only names that are there are kept: of others there may be any number.
        self.known.insert(name.to_owned(), entry);
        Ok(entry)
    }

    fn submit_one(&self, entry: &'static Entry, args: &Json) -> Result<Submitted> {
        // The arguments are read by code of the user's.
        let encoded = catch_unwind(AssertUnwindSafe(|| encode(entry, args))).unwrap_or_else(|payload| {
            let report = panic::caught(payload, 0).into_report();
            // One request has failed. The thread goes on, for the sake of the others.
            let text = format!("reading the arguments panicked: {}", report.message);
            Err(Error::new(ErrorKind::InvalidInput, text).with_panic(report))
        });
        let call = encoded.map_err(|error| error.of_task(entry.path()))?;
        Ok((entry, self.pool.call_json(call)?))
    }
}

fn refused(text: String) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

/// The error's words. It counts lines, too, and knows only one.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let at = format!(" at line {} column {}", error.line(), error.column());
    format!("{} at column {}", text.strip_suffix(&at).unwrap_or(&text), error.column())
}

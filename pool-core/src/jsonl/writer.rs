//! From outcomes to answers: the thread that writes.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, TryRecvError};

use serde::Serialize;
use serde_json::value::RawValue;

use super::request::Pending;
use super::window::Window;
use crate::codec::json::Answer;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of answers that are held back before they are written: some hundred answers for one system call.
const HELD_BYTES_MAX: usize = 64 << 10;

/// Numbers of answers; from [`run`](super::run) and its like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Answers with a result.
    pub results: u64,
    /// Answers with an error.
    pub errors: u64,
}

/// Writes answers in the order of their requests.
pub(super) struct Answers<'a> {
    output: &'a mut (dyn Write + Send),
    window: &'a Window,
    /// Answers that are not written.
    held: Vec<u8>,
    summary: Summary,
}

/// Closes the window when the writer has ended, also by a panic of the output's.
struct Closing<'w>(&'w Window);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<'a> Answers<'a> {
    pub(super) fn new(output: &'a mut (dyn Write + Send), window: &'a Window) -> Self {
        Answers { output, window, held: Vec::new(), summary: Summary::default() }
    }

    /// Answers everything that comes, until no more does.
    pub(super) fn write(mut self, from: &Receiver<Pending>) -> Result<Summary> {
        let _closing = Closing(self.window);
        let written = self.write_all(from);
        if written.is_err() {
            // First: the reader may be waiting for room, and the loop below waits for the reader.
            self.window.close();
            // The calls would go on if their handles were only dropped.
            from.iter().for_each(|pending| cancel(&pending));
        }
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::system("writing an answer", error)),
            // Nobody reads any more, as with `head`: that is no failure.
            _ => Ok(self.summary),
        }
    }

    fn write_all(&mut self, from: &Receiver<Pending>) -> io::Result<()> {
        loop {
            let pending = match from.try_recv() {
                Ok(pending) => pending,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    // The next request may depend on an answer.
                    self.flush()?;
                    let Ok(pending) = from.recv() else { break };
                    pending
                }
            };
            // Before it waits: the answers so far may be all that the client waits for.
            if pending.call.as_ref().is_ok_and(|(_, call)| !call.ready()) {
                self.flush().inspect_err(|_| cancel(&pending))?;
            }
            self.answer(pending)?;
        }
        self.flush()
    }

    fn answer(&mut self, pending: Pending) -> io::Result<()> {
        let Pending { line, id, bytes, call } = pending;
        let start = self.held.len();
        let answer = call.and_then(|(entry, call)| {
            // `get` takes the handle, and a result that cannot be decoded is counted after that.
            let completion = call.completion().clone();
            let answer = call.get()?.answer(entry);
            answer.inspect_err(|error| completion.owner().note_undecodable(error.undecodable()))
        });
        self.held.push(b'{');
        if let Some(id) = &id {
            // As it came: a number with more digits than a `f64` has is still the client's own.
            self.put("\"id\":", id.get());
            self.held.push(b',');
        }
        match answer {
            Ok(Answer::Value(json)) => {
                self.put("\"result\":", &json);
                self.summary.results += 1;
            }
            Ok(Answer::Err(json)) => self.put_error(&Failure::returned(line, &json)),
            Ok(Answer::Unwritable(why)) => {
                let error = Error::new(ErrorKind::Encode, format!("the result has no JSON form: {why}"));
                self.put_error(&Failure::of(line, &error));
            }
            Err(error) => self.put_error(&Failure::of(line, &error)),
        }
        self.held.extend(b"}\n");
        // Only now: until here the outcome and its JSON were both in memory.
        self.window.leave(bytes, self.held.len() - start);
        if self.held.len() < HELD_BYTES_MAX { Ok(()) } else { self.flush() }
    }

    fn put(&mut self, name: &str, json: &str) {
        self.held.extend(name.as_bytes());
        self.held.extend(json.as_bytes());
    }

    fn put_error(&mut self, failure: &Failure<'_>) {
        self.summary.errors += 1;
        let json = serde_json::to_string(failure).expect("text, numbers and JSON can be written");
        self.put("\"error\":", &json);
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.held.is_empty() {
            self.output.write_all(&self.held)?;
            // The output may have a buffer of its own; standard output has one.
            self.output.flush()?;
            self.held.clear();
        }
        Ok(())
    }
}

fn cancel(pending: &Pending) {
    if let Ok((_, call)) = &pending.call {
        call.cancel();
    }
}

/// The member `error` of an answer.
#[derive(Serialize)]
struct Failure<'j> {
    line: u64,
    kind: Kind,
    message: String,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'j RawValue>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Kind {
    Returned(&'static str),
    Failed(ErrorKind),
}

impl<'j> Failure<'j> {
    fn of(line: u64, error: &Error) -> Failure<'static> {
        let (kind, retryable) = (Kind::Failed(error.kind()), error.is_retryable());
        Failure { line, kind, message: error.to_string(), retryable, value: None }
    }

    /// The function has returned this value as its `Err`.
    fn returned(line: u64, json: &'j str) -> Failure<'j> {
        // Mostly it is text.
        let message = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
        let value = serde_json::from_str(json).ok();
        Failure { line, kind: Kind::Returned("Err"), message, retryable: false, value }
    }
}

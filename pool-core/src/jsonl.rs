//! Tasks by their names over JSON lines, for shells and for programs in other languages (feature `json`).
//!
//! A program that calls [`run`] takes one request in each line of its input, and writes one answer for each, in the same order:
//!
//! ```text
//! {"task": "square", "args": 10, "id": 1}            {"id":1,"result":100}
//! {"task": "resize", "args": ["a.png", 80]}          {"result":[80,60]}
//! {"task": "resize", "args": ["b.png", 80], "id": 3} {"id":3,"error":{"line":3,"kind":"WorkerDied","message":"…","retryable":true}}
//! ```
//!
//! # Requests
//!
//! | member | holds |
//! |---|---|
//! | `task` | the name of a function with `#[pool_task]`: its path as in [`tasks`](crate::tasks()), or as much of its end as tells it from others |
//! | `args` | the arguments as a call takes them: one argument is the value itself, several are an array; none can be left out |
//! | `id` | any value, which is returned in the answer; it can be left out |
//!
//! Values are written as `serde_json` writes them. Bytes are an array of numbers; an argument `&[u8]` or `&str` can also be text.
//! A whole number is written without point and exponent: `1.0` and `1e3` are no `u64`. Empty lines, and a byte-order mark before the
//! first line, are passed over.
//!
//! # Answers
//!
//! An answer has the request's `id`, if there is one, and either a `result` or an `error`. A line that is no request has an answer
//! without `id`. Of a function that returns a `Result`, the value within `Ok` is the `result`, and an `Err` is an `error` with the
//! value as its `value`.
//!
//! | member of `error` | holds |
//! |---|---|
//! | `line` | the number of the request's line, from 1 |
//! | `kind` | `Err` if the function returned one; `InvalidInput` for a line that is no request, a name that is no task's, and arguments that do not fit; else the [kind](ErrorKind) of the failure |
//! | `message` | a sentence for people |
//! | `retryable` | whether the same request [may succeed](crate::Error::is_retryable) if it is made again |
//! | `value` | the value within `Err` |
//!
//! # Limits
//!
//! * JSON cannot carry all values: NaN and the infinities are written as `null`, keys of maps must be text, numbers or `bool`s, and an
//!   argument `u128` is read up to `u64::MAX`. [`SharedSlice`](crate::SharedSlice) and [`SharedVec`](crate::SharedVec) are refused.
//! * A task with an argument or a result without serde's traits, such as `[f64; 100]`, and one that writes parts of an array, are
//!   refused.
//! * A line has at most 16 MiB. A longer one is an error, and the next line is read.
//! * At most 1024 requests are pending, and fewer if they or their answers are long; then no line is read until answers are written.
//! * Each task of the program gets functions for JSON, which take time to compile.

mod lines;
mod names;
mod request;
pub(crate) mod task;
mod window;
mod writer;

use std::io::{BufReader, Read, Write};
use std::thread;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::jsonl::request::Requests;
use crate::jsonl::window::Window;
use crate::jsonl::writer::Answers;
pub use crate::jsonl::writer::Summary;
use crate::pool::Pool;

/// Answers the requests in `input` by a pool with as many workers as CPUs, until the input ends.
///
/// The calling thread reads and submits, and another one writes: answers come as soon as those before them are out, so a
/// program may wait for one before it sends the next request. If nobody reads the output any more (a broken pipe), the
/// pending calls are cancelled, and the call returns when the input gives its next line or ends.
///
/// # Errors
///
/// The pool cannot be made, the input cannot be read, or the output cannot be written. All else is an answer.
///
/// # Examples
///
/// ```
/// use pool_core::prelude::*;
///
/// #[pool_task]
/// fn letters(text: &str) -> usize { text.chars().count() }
///
/// #[pool_task]
/// fn dies() { std::process::abort() }
///
/// # fn main() -> pool_core::Result<()> {
/// // A program takes `std::io::stdin()` and `std::io::stdout()`.
/// let input = r#"{"task": "letters", "args": "größer", "id": "a"}
/// {"task": "dies"}
/// {"task": "leters", "args": ""}"#;
/// let mut output = Vec::new();
/// let summary = pool_core::jsonl::run(input.as_bytes(), &mut output)?;
/// assert_eq!((summary.results, summary.errors), (1, 2));
///
/// let answers = String::from_utf8(output).unwrap();
/// let answers: Vec<&str> = answers.lines().collect();
/// assert_eq!(answers[0], r#"{"id":"a","result":6}"#);
/// assert!(answers[1].contains(r#""line":2,"kind":"WorkerDied""#));
/// assert!(answers[2].contains("did you mean `letters`?"));
/// # Ok(()) }
/// ```
pub fn run(input: impl Read, output: impl Write + Send) -> Result<Summary> {
    run_in(&Pool::builder().build()?, input, output)
}

/// As [`run`], in a pool that is there: with its number of workers, limits and states.
///
/// # Errors
///
/// As [`run`].
///
/// # Examples
///
/// ```
/// # use pool_core::prelude::*;
/// #[pool_task]
/// fn negative(x: i64) -> i64 { -x }
///
/// # fn main() -> pool_core::Result<()> {
/// let pool = Pool::builder().workers(2).task_timeout(Duration::from_secs(10)).build()?;
/// let mut output = Vec::new();
/// pool_core::jsonl::run_in(&pool, r#"{"task": "negative", "args": 3}"#.as_bytes(), &mut output)?;
/// assert_eq!(output, b"{\"result\":-3}\n");
/// # Ok(()) }
/// ```
pub fn run_in(pool: &Pool, input: impl Read, output: impl Write + Send) -> Result<Summary> {
    answer(pool, Requests::new(pool), &mut BufReader::new(input), output)
}

/// As [`run_in`], for one task: each line is the arguments of one call.
///
/// # Errors
///
/// As [`run`], and `InvalidInput` if there is no task of this name, or more than one.
///
/// # Examples
///
/// ```
/// # use pool_core::prelude::*;
/// #[pool_task]
/// fn repeat(text: &str, times: usize) -> String { text.repeat(times) }
///
/// # fn main() -> pool_core::Result<()> {
/// let mut output = Vec::new();
/// pool_core::jsonl::run_task(&Pool::new(2)?, "repeat", "[\"ab\", 2]\n[\"c\", 3]\n".as_bytes(), &mut output)?;
/// assert_eq!(output, b"{\"result\":\"abab\"}\n{\"result\":\"ccc\"}\n");
/// # Ok(()) }
/// ```
pub fn run_task(pool: &Pool, task: &str, input: impl Read, output: impl Write + Send) -> Result<Summary> {
    answer(pool, Requests::of_task(pool, task)?, &mut BufReader::new(input), output)
}

fn answer(
    pool: &Pool,
    requests: Requests<'_>,
    input: &mut BufReader<impl Read>,
    output: impl Write + Send,
) -> Result<Summary> {
    let window = Window::new(pool.workers());
    let mut output = output;
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let answers = Answers::new(&mut output, &window);
        let writer = thread::Builder::new()
            .name("pool-jsonl".to_owned())
            .spawn_scoped(scope, move || answers.write(&receiver))
            .map_err(|error| Error::system("starting the thread that writes answers", error))?;
        let read = requests.submit(input, &window, &sender);
        // The writer ends when it has answered all that was sent.
        drop(sender);
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(written)
    })
}

//! Tasks with results that are decoded in different ways.

#![allow(unsafe_code, reason = "rustc counts the `link_section` of a dispatch table entry as unsafe code")]

use serde::{Deserialize, Serialize};

use crate::caller::initializer;
use crate::caller::outcome::Gathered;
use crate::codec::bytes::{Bytes, Cut};
use crate::codec::encoder::Encoder;
use crate::codec::number_buffer::ResultBuffer;
use crate::engine::own_call::{INITIALIZER, OwnCall};
use crate::error::Error;
use crate::job::completion::{Completion, Part};
use crate::pool_task;
use crate::task::Task;
use crate::task::table::Entry;

/// A value that nests as deep as its bytes say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum List {
    Nil,
    Cons(Box<List>),
}

/// A value that takes no bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Unit;

#[pool_task(crate = crate)]
pub(super) fn nothing() {}

#[pool_task(crate = crate)]
pub(super) fn number(x: u64) -> u64 {
    x
}

#[pool_task(crate = crate)]
fn text(x: u64) -> String {
    x.to_string()
}

#[pool_task(crate = crate)]
pub(super) fn lists(x: u64) -> Vec<List> {
    (0..x).map(|_| List::Nil).collect()
}

#[pool_task(crate = crate)]
fn units(x: u64) -> Vec<Unit> {
    (0..x).map(|_| Unit).collect()
}

/// The result buffer of a task, if it has one.
type Place = Option<Box<dyn ResultBuffer>>;

/// A task, without its type.
pub(super) struct Kind {
    pub(super) entry: fn() -> &'static Entry,
    /// The bytes of an honest result.
    pub(super) honest: fn() -> Vec<u8>,
    /// Number of results that the caller gets from the parts delivered.
    pub(super) results: fn(Vec<Part>, Option<Error>, Place, u64) -> usize,
    /// A buffer for so many results.
    pub(super) result_buffer: fn(usize) -> Place,
}

pub(super) const KINDS: [Kind; 5] = [
    kind(|| bytes(nothing::Task, &()), nothing::Task),
    kind(|| bytes(number::Task, &7), number::Task),
    kind(|| bytes(text::Task, &"seven".to_owned()), text::Task),
    kind(|| bytes(lists::Task, &vec![List::Nil, List::Cons(Box::new(List::Nil))]), lists::Task),
    kind(|| bytes(units::Task, &vec![Unit]), units::Task),
];

pub(super) fn initializer() -> OwnCall {
    OwnCall {
        role: INITIALIZER,
        task: nothing::Task::entry().index(),
        name: nothing::Task::entry().name().to_owned(),
        args: Cut::default(),
        attachments: std::sync::Arc::default(),
        timeout: None,
        check: initializer::check::<nothing::Task>,
    }
}

const fn kind<T: Task>(honest: fn() -> Vec<u8>, _task: T) -> Kind {
    Kind { entry: T::entry, honest, results: results::<T>, result_buffer: T::result_buffer }
}

fn bytes<T: Task>(_task: T, output: &T::Output) -> Vec<u8> {
    let mut out = Encoder::to_vec(Vec::new());
    let item = out.item(T::output_size(), |out| T::encode_output(output, out)).expect("it can be encoded");
    item.expect("a vector was asked for").into_vec()
}

fn results<T: Task>(parts: Vec<Part>, rest: Option<Error>, result_buffer: Place, items: u64) -> usize {
    let completion = Completion::default();
    for part in parts {
        completion.deliver(part);
    }
    completion.finish(rest, result_buffer);
    let mut gathered = Gathered::<T>::with_capacity(0);
    gathered.finish(&completion, items);
    gathered.into_results().len()
}

/// Decodes the bytes as results of each task, in each of the ways in which they arrive.
pub(super) fn decode_as_results(items: u32, bytes: &[u8]) {
    for kind in &KINDS {
        let part = |items, raw| vec![Part { first: 0, items, raw, values: Ok(Bytes::copy_of(bytes)), origin: None }];
        let count = items as usize;
        assert_eq!((kind.results)(part(items, false), None, None, items.into()), count);
        assert_eq!((kind.results)(part(items, false), None, (kind.result_buffer)(0), items.into()), count);
        assert_eq!((kind.results)(part(1, true), None, None, 1), 1);
    }
}

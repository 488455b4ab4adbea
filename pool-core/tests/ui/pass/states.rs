#![deny(warnings, missing_docs)]
//! States of any type, and aliases of `Result`.

use std::cell::Cell;
use std::io;

use pool_core::prelude::*;

/// A state that neither serde nor other threads may have.
pub struct Store {
    hits: Cell<u64>,
    find: Box<dyn Fn(&str) -> Option<u64>>,
}

/// Opens one.
///
/// # Errors
///
/// None.
#[pool_state(timeout = "2s")]
pub fn open(name: &str) -> io::Result<Store> {
    let name = name.to_owned();
    Ok(Store { hits: Cell::new(0), find: Box::new(move |wanted| (wanted == name).then_some(7)) })
}

#[pool_task]
fn find(#[state] store: &Store, name: &str) -> Option<u64> {
    store.hits.set(store.hits.get() + 1);
    (store.find)(name)
}

#[pool_task]
fn clear(#[state] store: &mut Store, #[state] names: &mut Vec<String>) {
    store.hits.set(0);
    names.clear();
}

#[pool_state]
fn names() -> Vec<String> {
    Vec::new()
}

fn main() {
    let builder = Pool::builder().state(open::State, "a").state(names::State.timeout(Duration::from_secs(1)), ());
    let _ = builder.finalizer(clear::Task, ());
    let _ = find::Task;
}

//! Functions that cannot open a state.

use pool_core::prelude::*;

#[pool_state]
async fn later() -> u64 { 7 }
//~ a worker runs plain functions

#[pool_state]
fn generic<T: Default>() -> T { T::default() }
//~       ^^^^^^^^^^^^ a state has one entry in the dispatch table

#[pool_state]
fn from_another(#[state] text: &String) -> u64 { text.len() as u64 }
//~             ^^^^^^^^^^^^^^^^^^^^^^ a state is opened without the others

#[pool_state(retries = 3)]
//~          ^^^^^^^ unknown option `retries` of a state: there are `timeout`, `codec` and `crate`
fn retried() -> u64 { 7 }

#[pool_state]
#[pool_task]
//~ a function is a task or opens a state
fn both() -> u64 { 7 }

#[pool_state]
struct Open;
//~ `#[pool_state]` goes on a function, and a struct is none

fn main() {}

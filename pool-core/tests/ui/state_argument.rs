//! Arguments with `#[state]` that cannot be states.

use std::borrow::Cow;

use pool_core::prelude::*;

#[pool_task]
fn by_value(#[state] names: Vec<String>) {}
//~                         ^^^^^^^^^^^ a state stays in its worker: write `&Vec<String>`, or `&mut Vec<String>` to change it

#[pool_task]
fn named(#[state] text: &mut Cow<'_, str>) {}
//~                              ^^ a state owns all that it holds

#[pool_task]
fn with_options(#[state(open)] text: &String) {}
//~               ^^^^^^^^^^^ write `#[state]`: it has no options

#[pool_task]
fn forgotten(text: &mut String) {}
//~                ^^^^^^^^^^^ a state of the worker is taken as `#[state] name: &mut T`

fn main() {}

//! Results that borrow.

use pool_core::pool_task;

use std::borrow::Cow;

#[pool_task]
fn first_word(text: &str) -> &str {
    //~                      ^^^^ return an owned value (`String` for `&str`): the result comes from another process
    text.split(' ').next().unwrap_or_default()
}

#[pool_task]
fn name() -> &'static str {
    //~      ^^^^^^^^^^^^ return an owned value (`String` for `&str`): the result comes from another process
    "name"
}

#[pool_task]
fn inside(text: &str) -> Vec<&str> {
    //~                      ^^^^ return an owned value
    text.lines().collect()
}

#[pool_task]
fn by_lifetime(text: &str) -> Cow<'_, str> {
    //~                           ^^ return a value that borrows nothing: the result comes from another process
    text.into()
}

#[pool_task]
fn hidden(text: &str) -> Cow<str> {
    //~                  ^^^^^^^^ return a value that borrows nothing, such as a `String`
    text.into()
}

/// The error about the result tells of the name, too: there is none about the lifetime itself.
#[pool_task]
fn words<'a, 'b>(text: &'a str, _more: &'b str) -> Vec<&'a str> {
    //~                                                ^^^^^^^ with it `'a` goes: write `&str` for `&'a str`
    text.split(' ').collect()
}

fn main() {}

//! Lint levels on a function cover all that the attribute makes beside it, and an expectation is of the function alone.

#![deny(warnings, elided_lifetimes_in_paths, unused_qualifications)]

use pool_core::{pool_state, pool_task};

#[deprecated]
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Old {
    #[allow(deprecated)]
    x: u8,
}

#[pool_task]
#[allow(deprecated)]
fn allowed(old: Old) -> u8 {
    old.x
}

#[pool_task]
#[expect(deprecated, reason = "as a test")]
fn expected(old: &Old, more: Vec<Old>) -> Option<Old> {
    more.into_iter().find(|other| other.x == old.x)
}

#[pool_task]
#[cfg_attr(all(), expect(deprecated))]
fn under_a_condition(old: Old) -> Old {
    old
}

#[expect(non_snake_case)]
#[pool_task]
fn Upper(x: u8) -> u8 {
    x
}

#[pool_task]
#[allow(non_snake_case, deprecated)]
fn fillPart(part: &mut [u8], offset: usize, old: &Old) {
    part.fill(offset as u8 + old.x);
}

#[pool_state]
#[allow(non_snake_case)]
#[expect(deprecated)]
fn Open(old: Old) -> u8 {
    old.x
}

#[pool_task]
#[warn(deprecated)]
#[allow(deprecated)]
fn the_last_counts(old: Old) -> u8 {
    old.x
}

#[pool_task]
#[cfg_attr(any(), cfg(any()), deprecated)]
#[cfg_attr(all(), doc(hidden), deprecated = "as a test")]
fn out_of_date(x: u8) -> u8 {
    x
}

fn main() {
    let _ = (allowed::Task, expected::Task, under_a_condition::Task, Upper::Task, fillPart::Task, Open::State);
    let _ = the_last_counts::Task;
    #[expect(deprecated)]
    let _ = out_of_date::Task;
}

//! Formats that there are not, or not without a feature.

use pool_core::pool_task;

#[pool_task(codec = "cbor")]
//~                 ^^^^^^ `codec = "cbor"` needs the feature `cbor` of pool-core
fn without_the_feature(number: Option<u64>) -> Option<u64> {
    number
}

#[pool_task(codec = "json")]
//~                 ^^^^^^ unknown codec `json`: there is `cbor`, and the default format without this option
fn unknown() {}

#[pool_task(codec)]
//~         ^^^^^ write `codec = "cbor"`: the name of a format
fn without_a_name() {}

#[pool_task(codec = 1)]
//~                 ^ write `codec = "cbor"`: the name of a format
fn with_a_number() {}

fn main() {}

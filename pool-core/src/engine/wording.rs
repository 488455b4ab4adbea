//! Phrases that several errors have in common.

use std::time::Duration;

use crate::lane::messages::Failure;
use crate::units::{self, Nanos};

/// Said of a worker with replies that make no sense.
pub(crate) const OVERWRITTEN: &str = "wrote over the memory that it shares with the host";

/// The way in which the pool ends a worker at once. Nobody can kill a thread.
pub(crate) fn ended(is_thread: bool) -> &'static str {
    if is_thread { "told to end" } else { "killed" }
}

pub(crate) fn exceeded(limit: Nanos, ran: Nanos, is_thread: bool) -> String {
    let [limit, ran] = [limit, ran].map(|ns| units::time(Duration::from_nanos(ns)));
    format!("exceeded its limit of {limit} after {ran} and was {}", ended(is_thread))
}

/// As [`exceeded`], where the last part of the limit was grace.
pub(super) fn exceeded_with_grace(limit: Nanos, grace: Nanos, ran: Nanos, is_thread: bool) -> String {
    let [limit, grace, ran] = [limit - grace.min(limit), grace, ran].map(|ns| units::time(Duration::from_nanos(ns)));
    format!("exceeded its limit of {limit} and its grace of {grace} after {ran} and was {}", ended(is_thread))
}

pub(super) fn say(failure: &Failure) -> String {
    match failure {
        Failure::Panicked(report) => format!("panicked: {}", report.message),
        Failure::Decode(why) => format!("the arguments could not be decoded in the worker: {why}"),
        Failure::Array { why, .. } => format!("in the worker: {why}"),
        Failure::Encode(why) => format!("the result could not be encoded in the worker: {why}"),
        #[cfg(feature = "remote")]
        Failure::Elsewhere(failure) => failure.message().to_owned(),
    }
}

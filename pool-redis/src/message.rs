//! The messages that travel with a job: a request, and the answer to it. Large parts of both lie beside it, see [`Blob`].

use std::time::Duration;

use pool_core::remote::{Array, Outcome, Reply, Request};
use serde::{Deserialize, Serialize};

use crate::blob::{Blob, MESSAGE_BYTES_MAX};

/// The parts of a request that do not travel with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Apart {
    /// The arguments.
    pub(crate) body: Option<Blob>,
    /// The shared arrays, by the names that arguments have for them.
    pub(crate) arrays: Vec<(u64, Blob)>,
}

impl Apart {
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Blob> {
        self.body.iter().copied().chain(self.arrays.iter().map(|(_, blob)| *blob))
    }
}

/// The answer to a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Reply(Reply),
    /// The reply lies beside it, in pieces of the delivery with this count.
    Large(Blob, u32),
    /// A part of the request was gone before it was run: so many bytes.
    Missing(u64),
}

pub(crate) fn is_large(request: &Request) -> bool {
    request.body.len() > MESSAGE_BYTES_MAX || !request.arrays.is_empty()
}

/// A request that travels whole.
///
/// # Errors
///
/// It cannot be encoded.
pub(crate) fn encode_request(request: &Request) -> postcard::Result<Vec<u8>> {
    postcard::to_allocvec(&(request, None::<Apart>))
}

/// A request without its large parts.
///
/// # Errors
///
/// It cannot be encoded.
pub(crate) fn encode_apart(request: &Request, apart: &Apart) -> postcard::Result<Vec<u8>> {
    // Field by field, since a copy of all would copy the large parts.
    let body = if apart.body.is_some() { Vec::new() } else { request.body.clone() };
    let &Request { ref task, items, is_raw, place, limits, priority, .. } = request;
    let rest = Request { task: task.clone(), items, is_raw, body, place, limits, priority, arrays: Vec::new() };
    postcard::to_allocvec(&(rest, Some(apart)))
}

/// # Errors
///
/// The bytes are no request.
pub(crate) fn decode_request(bytes: &[u8]) -> postcard::Result<(Request, Option<Apart>)> {
    postcard::from_bytes(bytes)
}

pub(crate) fn encode_answer(answer: &Answer) -> Vec<u8> {
    postcard::to_allocvec(answer).expect("bytes, strings and numbers are encoded without an error")
}

pub(crate) fn encode_reply(reply: &Reply) -> Vec<u8> {
    postcard::to_allocvec(reply).expect("bytes, strings and numbers are encoded without an error")
}

/// # Errors
///
/// The bytes are no answer.
pub(crate) fn decode_answer(bytes: &[u8]) -> postcard::Result<Answer> {
    postcard::from_bytes(bytes)
}

/// Takes the arrays of the request out of the results that name them: the client has these.
pub(crate) fn strip(reply: &mut Reply, own: &[Array]) {
    for outcome in &mut reply.outcomes {
        if let Outcome::Naming { arrays, .. } = outcome {
            arrays.retain(|array| own.iter().all(|own| own.name() != array.name()));
        }
    }
}

/// The opposite of [`strip`].
pub(crate) fn complete(reply: &mut Reply, own: &[Array]) {
    for outcome in &mut reply.outcomes {
        if let Outcome::Naming { arrays, .. } = outcome {
            arrays.extend_from_slice(own);
        }
    }
}

/// A reply of which no item was run, of so many.
pub(crate) fn not_run(items: u32) -> Reply {
    Reply { outcomes: vec![Outcome::NotRun(items)], ran: Duration::ZERO }
}

//! A request and its reply: whole, or with their large parts beside them.

use pool_core::remote::{self, Reply, Request, Stop};
use pool_core::{Error, ErrorKind, Result};

use super::Session;
use crate::message::{self, Answer};
use crate::protocol::Delivery;

/// If a payload is gone before it was read, the request is sent again so often.
const ATTEMPTS_MAX: u32 = 5;

impl Session {
    /// Has the items of the request run.
    pub(super) fn exchange(&self, request: &Request, stop: &Stop) -> Result<Reply> {
        if let Some(reason) = self.refuse(request) {
            return Err(reason);
        }
        let invalid = |error| remote::error(ErrorKind::Encode, format!("the request: {error}"));
        let blobs = &self.shared.blobs;
        // Kept by the server until the items have run.
        let held = if message::is_large(request) { Some(blobs.hold(request, stop)?) } else { None };
        let mut gone = None;
        // A server that evicts each payload would have this go on for ever.
        for _ in 0..ATTEMPTS_MAX {
            let body = match &held {
                None => message::encode_request(request),
                Some(held) => message::encode_apart(request, &held.apart),
            };
            let (job, bytes) = self.ask(request, body.map_err(invalid)?, stop)?;
            match message::decode_answer(&bytes).map_err(odd)? {
                Answer::Reply(reply) => return Ok(with_arrays(reply, request)),
                Answer::Large(blob, count) => {
                    let delivery = Delivery { session: self.shared.session, job, count };
                    // Not the reader's business: others wait for that one's next reply.
                    if let Some(bytes) = blobs.take_reply(delivery, blob, stop)? {
                        let reply = postcard::from_bytes(&bytes).map_err(odd)?;
                        return Ok(with_arrays(reply, request));
                    }
                    gone = blob.len().map(|bytes| format!("results of {bytes} bytes were gone before they were read"));
                }
                Answer::Missing(bytes) => {
                    gone = Some(format!("arguments of {bytes} bytes were gone before a host had read them"));
                    if let Some(held) = &held {
                        // The server has lost them, and so may have lost others.
                        blobs.put_again(held, request, stop)?;
                    }
                }
            }
        }
        let text = format!(
            "{}, {ATTEMPTS_MAX} times in a row: does Redis evict keys (`maxmemory-policy`), or is its memory too small?",
            gone.unwrap_or_default()
        );
        Err(remote::error(ErrorKind::Unreachable, text))
    }
}

fn odd(why: impl std::fmt::Display) -> Error {
    remote::error(ErrorKind::Unreachable, format!("the reply: {why}"))
}

fn with_arrays(mut reply: Reply, request: &Request) -> Reply {
    message::complete(&mut reply, &request.arrays);
    reply
}

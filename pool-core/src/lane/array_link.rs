//! The socket of a worker, and the arrays that both sides have.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Weak;

use crate::attachments::ArrayId;
use crate::attachments::array::Array;
use crate::attachments::received::ReceivedArray;
use crate::process::socket::Socket;

/// The host's end of the worker's socket, and the arrays on both sides of it.
#[derive(Debug)]
pub(super) struct ArrayLink {
    pub(super) socket: Socket,
    /// The arrays that the worker has been given. One that is lent has no handle here.
    pub(super) known: BTreeMap<ArrayId, Option<Weak<Array>>>,
    /// The records of descriptors that the worker may not have taken, by their positions.
    pub(super) untaken: VecDeque<u64>,
    /// Arrays that have come for the next result.
    pub(super) received: Vec<ReceivedArray>,
}

impl ArrayLink {
    pub(super) fn new(socket: Socket) -> Self {
        ArrayLink { socket, known: BTreeMap::new(), untaken: VecDeque::new(), received: Vec::new() }
    }
}

//! The socket of a worker, and the arrays that both sides have.

use std::collections::{BTreeMap, VecDeque};
#[cfg(feature = "remote")]
use std::sync::Arc;
use std::sync::Weak;

use crate::attachments::ArrayId;
use crate::attachments::array::Array;
use crate::attachments::received::ReceivedArray;
#[cfg(feature = "remote")]
use crate::lane::parcels::Parcels;
use crate::process::socket::Socket;

/// The way of arrays to a worker and back.
#[derive(Debug)]
pub(super) enum Way {
    /// As descriptors.
    Socket(Socket),
    /// As they are, to a courier.
    #[cfg(feature = "remote")]
    Parcels(Arc<Parcels>),
}

/// The way to the worker, and the arrays at both ends of it.
#[derive(Debug)]
pub(super) struct ArrayLink {
    pub(super) way: Way,
    /// The arrays that the worker has been given. One that is lent has no handle here.
    pub(super) known: BTreeMap<ArrayId, Option<Weak<Array>>>,
    /// The records of descriptors that the worker may not have taken, by their positions.
    pub(super) untaken: VecDeque<u64>,
    /// Arrays that have come for the next result.
    pub(super) received: Vec<ReceivedArray>,
}

impl ArrayLink {
    pub(super) fn new(way: Way) -> Self {
        ArrayLink { way, known: BTreeMap::new(), untaken: VecDeque::new(), received: Vec::new() }
    }
}

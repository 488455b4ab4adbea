//! An array that a value refers to, and the list of all of a value.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::array::Array;
use super::id::{ArrayId, Kind};
use super::loan::Loan;

/// An array that a value refers to.
#[derive(Clone, Debug)]
pub(crate) enum Attachment {
    Frozen(Arc<Array>),
    /// Memory that goes to the host. It is the last holder of the descriptor when the value has been dropped.
    Given(ArrayId, Arc<OwnedFd>),
    Lent(Arc<Loan>),
}

impl Attachment {
    pub(crate) fn id(&self) -> ArrayId {
        match self {
            Attachment::Frozen(array) => array.id(),
            Attachment::Given(id, _) => *id,
            Attachment::Lent(loan) => loan.id(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Attachment::Frozen(array) if array.memory().is_sealed() => Kind::Sealed,
            Attachment::Frozen(_) => Kind::File,
            Attachment::Given(..) => Kind::Given,
            Attachment::Lent(_) => Kind::Lent,
        }
    }

    pub(crate) fn is_lent(&self) -> bool {
        matches!(self, Attachment::Lent(_))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Attachment::Frozen(array) => array.memory().as_fd(),
            Attachment::Given(_, fd) => fd.as_fd(),
            Attachment::Lent(loan) => loan.as_fd(),
        }
    }
}

/// The arrays of some arguments, or of a result, each once.
pub(crate) type Attachments = Vec<Attachment>;

/// The most arrays that the arguments of one item, or one result, may name.
pub(crate) const ARRAYS_MAX: usize = 1024;

/// Adds an array, unless it is there.
pub(crate) fn add(list: &mut Attachments, new: Attachment) {
    // Mostly the items of a map are parts of one array.
    let is_last = list.last().is_some_and(|last| last.id() == new.id());
    if !is_last && list.iter().all(|known| known.id() != new.id()) {
        list.push(new);
    }
}

//! Descriptors of arrays on their way to the worker and back.
//!
//! A descriptor is in the socket before the record that announces it is in the ring, so the reader of the record finds it.
//! The worker takes descriptors in the order of its records, also of those whose items the host has taken back meanwhile.

use std::io;
use std::sync::{Arc, Weak};

use nix::sys::socket::MsgFlags;
use pool_ipc::Header;

use super::array_link::{ArrayLink, Way};
use super::{Lane, nonsense};
use crate::attachments::array::Array;
use crate::attachments::presence::Forgotten;
use crate::attachments::received::{Content, ReceivedArray};
use crate::attachments::{ARRAYS_MAX, ArrayId, Attachment, Attachments, Kind};
use crate::codec::bytes::Cut;
use crate::lane::messages::{Request, request};
use crate::lane::sent::OutgoingRequest;

/// Descriptors that may be under way to one worker: the kernel counts all that a user has, against `RLIMIT_NOFILE`.
const DESCRIPTORS_AHEAD: usize = 16;

// ---- to the worker ---------------------------------------------------------------------------------------------------

impl Lane {
    /// Hands the arrays to a courier, for the request `seq` that is to be sent next. False if the worker is none.
    #[cold]
    pub(crate) fn hand_over(&self, seq: u32, list: &Arc<Attachments>) -> bool {
        #[cfg(feature = "remote")]
        if let Some(Way::Parcels(parcels)) = self.arrays.as_ref().map(|link| &link.way) {
            // Without a descriptor or a mapping: the thread has the same memory.
            parcels.send(seq, list);
            return true;
        }
        let _ = (seq, list);
        false
    }

    /// Gives the worker those of the arrays that it does not have. The request that names them is to be sent next.
    #[cold]
    pub(crate) fn attach(&mut self, list: &Attachments, pool: Option<&Arc<Forgotten>>) {
        let Some(link) = &mut self.arrays else { return };
        for attachment in list {
            // Mostly so: the descriptor went with an earlier request. If that array is gone, this is another one of its name, which
            // has come from another machine once more.
            if link.known.get(&attachment.id()).is_some_and(|known| !is_gone(known.as_ref())) {
                continue;
            }
            let (presence, handle) = match attachment {
                Attachment::Frozen(array) => (Some(array.presence()), Some(Arc::downgrade(array))),
                Attachment::Lent(loan) => (Some(loan.presence()), None),
                Attachment::Given(..) => (None, None),
            };
            if let (Some(presence), Some(pool)) = (presence, pool) {
                presence.note_pool(pool);
            }
            link.known.insert(attachment.id(), handle);
            self.outgoing.push_back(OutgoingRequest {
                header: Header {
                    count: 1,
                    extra: attachment.kind() as u32,
                    ..record(Request::Attach, attachment.id())
                },
                body: Cut::default(),
                sent: 0,
                attachment: Some(attachment.clone()),
            });
        }
        self.pump();
    }

    /// Keeps the arrays until the request that was sent last is answered whole.
    #[cold]
    pub(crate) fn hold(&mut self, list: Arc<Attachments>) {
        if let Some(sent) = self.sent.back_mut() {
            sent.attachments = Some(list);
        }
    }

    /// Sends the descriptor that the first waiting record announces; false if too many are under way.
    #[cold]
    pub(super) fn send_descriptor(&mut self) -> bool {
        if !self.can_send_descriptor() {
            return false;
        }
        let (Some(link), Some(front)) = (&mut self.arrays, self.outgoing.front_mut()) else { return true };
        if let Some(attachment) = front.attachment.take()
            && let Err(error) = link.send(&attachment)
        {
            // The worker learns why there is none, for the error of the items that name the array.
            front.header.count = 0;
            front.header.limit = error.raw_os_error().unwrap_or(libc::EIO).unsigned_abs();
        }
        true
    }

    /// True unless too many descriptors are under way.
    pub(super) fn can_send_descriptor(&mut self) -> bool {
        let Some(link) = &mut self.arrays else { return true };
        // Asked for only while one waits, so that calls without arrays never get here.
        while link.untaken.pop_front_if(|position| self.end.requests.is_released(*position)).is_some() {}
        link.untaken.len() < DESCRIPTORS_AHEAD
    }

    /// Notes that the record of a descriptor was sent.
    #[cold]
    pub(super) fn note_descriptor(&mut self, position: Option<u64>) {
        if let (Some(link), Some(position)) = (&mut self.arrays, position) {
            link.untaken.push_back(position);
        }
    }

    /// The process is given up and may live on: tells the owners of all arrays that it may be writing.
    pub(crate) fn give_up_loans(&self) {
        for attachment in self.sent.iter().filter_map(|sent| sent.attachments.as_deref()).flatten() {
            if let Attachment::Lent(loan) = attachment {
                loan.give_up_writer();
            }
        }
    }

    /// Has the worker unmap an array, if it was given that.
    pub(crate) fn forget_array(&mut self, id: ArrayId) {
        let Some(link) = &mut self.arrays else { return };
        // Another one of its name may have taken its place.
        let is_there = link.known.get(&id).is_some_and(|known| known.is_none() || is_gone(known.as_ref()));
        if is_there {
            link.known.remove(&id);
            // Behind all requests that name it, since the ring keeps the order.
            self.send_cut(record(Request::Forget, id), Cut::default());
            self.wake();
        }
    }
}

impl ArrayLink {
    fn send(&self, attachment: &Attachment) -> io::Result<()> {
        match &self.way {
            Way::Socket(socket) => socket.send(&attachment.id().number(), &[attachment.as_fd()]),
            #[cfg(feature = "remote")]
            Way::Parcels(_) => Err(io::Error::from_raw_os_error(libc::EIO)),
        }
    }
}

/// Whether the array is gone that a worker was given.
fn is_gone(known: Option<&Weak<Array>>) -> bool {
    // One that is lent has no handle, and is there until it is forgotten.
    known.is_some_and(|array| array.strong_count() == 0)
}

/// A record about an array. It has the number of no request of items.
fn record(kind: Request, id: ArrayId) -> Header {
    let flags = request::QUIET | request::SILENT;
    Header { kind: kind.kind(), flags, seq: request::init_seq(0), info: id.number(), ..Header::default() }
}

// ---- from the worker -------------------------------------------------------------------------------------------------

impl Lane {
    /// Takes in an array of the next result.
    ///
    /// # Errors
    ///
    /// An honest worker sends no more than a result may name, and the descriptor before this record.
    #[cold]
    pub(super) fn receive_array(&mut self, header: &Header) -> Result<(), pool_ipc::Error> {
        let Some(link) = &mut self.arrays else { return Err(nonsense("kind", header.kind.into(), 0)) };
        let id = ArrayId::of_number(header.info);
        let kind = Kind::of(header.extra).ok_or_else(|| nonsense("the kind of an array", header.extra.into(), 0))?;
        if link.received.len() == ARRAYS_MAX {
            return Err(nonsense("the arrays of a result", ARRAYS_MAX as u64 + 1, ARRAYS_MAX as u64));
        }
        let socket = match &link.way {
            Way::Socket(socket) => socket,
            #[cfg(feature = "remote")]
            Way::Parcels(parcels) => {
                let array = parcels.take_answer(id).ok_or_else(|| nonsense("the name of an array", header.info, 0))?;
                link.received.push(array);
                return Ok(());
            }
        };
        let (told, fds) = match socket.receive::<u64>(MsgFlags::MSG_DONTWAIT) {
            Ok(Some(message)) => message,
            _ => return Err(nonsense("the descriptor of an array", header.info, 0)),
        };
        // The worker may have sent descriptors that no record announces.
        if told != header.info {
            return Err(nonsense("the name of an array", told, header.info));
        }
        // The host's own array is taken as the one that it is, if the worker was given it.
        let own = if kind == Kind::Given { None } else { link.known.get(&id) };
        let array = match (own.and_then(Option::as_ref).and_then(Weak::upgrade), fds.into_iter().next()) {
            (Some(array), _) => ReceivedArray { id, content: Content::Frozen(array) },
            (None, Some(fd)) => ReceivedArray::new(id, kind, fd),
            (None, None) => ReceivedArray { id, content: Content::Failed(io::Error::from_raw_os_error(libc::EMFILE)) },
        };
        // Kept even if it has failed: the value that names it gets the error.
        link.received.push(array);
        Ok(())
    }

    /// The arrays that have come for the reply that is being taken in.
    #[inline]
    pub(crate) fn take_received(&mut self) -> Vec<ReceivedArray> {
        self.arrays.as_mut().map(|link| std::mem::take(&mut link.received)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;

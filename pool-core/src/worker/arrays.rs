//! Arrays of the host's, as this worker takes and forgets them, and those of its results.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::socket::MsgFlags;
use pool_ipc::Header;

use super::chunk::Chunk;
use crate::attachments::scope::with_table;
use crate::attachments::{ArrayId, Attachment, Attachments, Kind};
use crate::lane::messages::{Failure, ReplyKind};
use crate::process::socket::Socket;

/// Takes the array that a request announces.
pub(super) fn attach(socket: &Socket, header: &Header) {
    let fd = if header.count == 0 {
        Err(io::Error::from_raw_os_error(header.limit.cast_signed()))
    } else {
        receive(socket, header.info)
    };
    let kind = Kind::of(header.extra).unwrap_or(Kind::Sealed);
    // A failure is kept as well, for the items that name the array.
    with_table(|table| table.add(ArrayId::of_number(header.info), kind, fd));
}

/// The descriptor is there already, so this does not wait.
fn receive(socket: &Socket, name: u64) -> io::Result<OwnedFd> {
    match socket.receive::<u64>(MsgFlags::MSG_DONTWAIT)? {
        // None of the descriptors if this process has no number left for one.
        Some((told, fds)) if told == name => {
            fds.into_iter().next().ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))
        }
        _ => Err(io::Error::other("the host sent another array")),
    }
}

/// Gives up an array. It is unmapped when the last part of it that a task has kept is gone.
pub(super) fn forget(header: &Header) {
    with_table(|table| table.remove(ArrayId::of_number(header.info)));
}

/// Unmaps the parts of arrays that this worker has written.
#[cold]
pub(super) fn unmap_windows() {
    with_table(|table| table.unmap_windows());
}

/// Gives up all arrays.
pub(super) fn forget_all() {
    with_table(std::mem::take);
}

/// Takes the pages of the host's arrays out of the resident memory of this worker.
pub(super) fn forget_pages() {
    with_table(|table| table.forget_pages());
}

impl Chunk<'_> {
    /// Sends a value that names arrays: first these, then the value.
    #[cold]
    pub(super) fn send_naming(&mut self, bytes: Vec<u8>, list: Attachments) {
        self.publish_values();
        let sent = list.into_iter().try_for_each(|attachment| self.send_array(attachment));
        match sent {
            Ok(()) => self.send_value(bytes, 0),
            Err(failure) => self.fail(&failure),
        }
    }

    fn send_array(&mut self, attachment: Attachment) -> Result<(), Failure> {
        let (id, kind) = (attachment.id(), attachment.kind());
        let attachment = match attachment {
            Attachment::Given(id, fd) => match Arc::try_unwrap(fd) {
                // The value has been dropped, and with it the mapping of the array.
                Ok(fd) => Attachment::Given(id, Arc::new(fd)),
                Err(_) => {
                    let text =
                        "the worker still has a `SharedVec` that it has returned: return it itself, or freeze it";
                    return Err(Failure::Encode(text.to_owned()));
                }
            },
            frozen => frozen,
        };
        if let Err(error) = self.link.socket.send_waiting(&id.number(), &[attachment.as_fd()]) {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            return Err(Failure::Array { why: "an array of the result could not be sent".to_owned(), errno });
        }
        // Memory that was given away is the host's alone before the host reads of it.
        drop(attachment);
        self.send_record(ReplyKind::Array.kind(), kind as u32, id.number());
        Ok(())
    }
}

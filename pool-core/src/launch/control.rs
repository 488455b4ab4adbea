//! The socket between host and fork server. Its messages may carry descriptors.
//!
//! Neither side waits in a send: it would stop reading meanwhile, and two full sockets would block both sides for ever. A
//! message for which the socket has no room stays in an [`Outbox`], and its owner goes on reading.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, recv, sendmsg, shutdown, socketpair,
};
use pool_ipc::sys::off_standard_streams;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::lane::messages::Greeting;

/// One end of a socket of datagrams in order (SOCK_SEQPACKET), see unix(7).
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

/// Size of the buffer for a message; every message is shorter.
const MESSAGE_BYTES_MAX: usize = 256;
/// Size of the buffer for its descriptors, with their control header.
const CONTROL_BYTES_MAX: usize = 128;

impl Control {
    pub(crate) fn pair() -> Result<(Control, Control)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
            .map_err(|error| Error::system("socketpair", error))?;
        let off = |fd| off_standard_streams(fd).map_err(|error| Error::system("fcntl", error));
        Ok((Control(off(one)?), Control(off(other)?)))
    }

    /// True if the standard input of this process is such a socket, in which a greeting with this nonce waits.
    ///
    /// # Errors
    ///
    /// Those of recv(2) that tell nothing about the standard input.
    pub(crate) fn stdin_has_greeting(nonce: u64) -> nix::Result<bool> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let length = loop {
            match recv(libc::STDIN_FILENO, &mut bytes, flags) {
                Ok(length) => break length,
                Err(Errno::EINTR) => {}
                // Standard input is closed, a file, or a socket of another program.
                Err(Errno::EBADF | Errno::ENOTSOCK | Errno::EAGAIN | Errno::ENOTCONN | Errno::ECONNRESET) => {
                    return Ok(false);
                }
                Err(errno) => return Err(errno),
            }
        };
        let greeting = postcard::from_bytes::<Greeting>(&bytes[..length]);
        Ok(greeting.is_ok_and(|greeting| greeting.nonce == nonce))
    }

    /// The socket that is this process's standard input, under another number.
    pub(crate) fn from_stdin() -> io::Result<Control> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Control(socket))
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Ends the connection, also if a forked copy of this process has this end, too.
    pub(crate) fn shut_down(&self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }

    /// Sends the message without waiting for room.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is no room, and those of sendmsg(2).
    pub(crate) fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&bytes)], rights, flags, None) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// True if [`Control::receive`] would return at once.
    pub(crate) fn has_news(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        recv(self.0.as_raw_fd(), &mut [0], flags) != Err(Errno::EAGAIN)
    }

    /// The next message, and the first of its descriptors, as many as this process has numbers for. `None` if the other side has
    /// closed its end.
    pub(crate) fn receive<M: DeserializeOwned>(&self, flags: MsgFlags) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let (length, fds) = loop {
            match self.receive_bytes(&mut bytes, flags) {
                // ECONNRESET: the other side closed its end with messages unread. It is reported once, and the messages that
                // the other side had sent are still there.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(error) => return Err(error.into()),
                Ok(received) => break received,
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let message = postcard::from_bytes(&bytes[..length]).map_err(io::Error::other)?;
        Ok(Some((message, fds)))
    }

    /// See recvmsg(2) and cmsg(3). `nix` has this, too, but if some descriptors of a message were cut off, it loses the others.
    fn receive_bytes(&self, bytes: &mut [u8], flags: MsgFlags) -> nix::Result<(usize, Vec<OwnedFd>)> {
        let mut space = [0_usize; CONTROL_BYTES_MAX / size_of::<usize>()];
        let mut slice = IoSliceMut::new(bytes);
        // SAFETY:
        // - all zeroes are a valid `msghdr`.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = ((&raw mut slice).cast(), 1);
        (header.msg_control, header.msg_controllen) = (space.as_mut_ptr().cast(), size_of_val(&space));
        let flags = (flags | MsgFlags::MSG_CMSG_CLOEXEC).bits();
        // SAFETY:
        // - an `IoSliceMut` is laid out as an `iovec`, and both buffers are as long as said.
        let length = Errno::result(unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, flags) })?;
        let mut fds = Vec::new();
        // SAFETY:
        // - the kernel has filled in the header.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        // SAFETY:
        // - it is null or points to a control message within `space`, which is aligned for it.
        while let Some(message) = unsafe { next.as_ref() } {
            if (message.cmsg_level, message.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                // SAFETY:
                // - no preconditions.
                let before = unsafe { libc::CMSG_LEN(0) } as usize;
                // SAFETY:
                // - as above.
                let data = unsafe { libc::CMSG_DATA(next) }.cast::<i32>();
                let count = (message.cmsg_len - before) / size_of::<i32>();
                // SAFETY:
                // - the message says that it has so many descriptors, and is aligned for more than an `i32`.
                let rights = unsafe { std::slice::from_raw_parts(data, count) };
                // SAFETY:
                // - the kernel has just made these descriptors for this process, so nothing else owns them.
                let rights = rights.iter().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) });
                // Stops at the first that cannot be moved: a later one would be taken for it.
                fds.extend(rights.map_while(|fd| off_standard_streams(fd).ok()));
            }
            // SAFETY:
            // - as above.
            next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
        }
        Ok((length as usize, fds))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Control {
    fn from(socket: OwnedFd) -> Self {
        Control(socket)
    }
}

/// An eventfd by which a thread that polls is woken; never under the number of a standard stream.
pub(crate) fn bell() -> Result<EventFd> {
    let made = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map(OwnedFd::from);
    let fd = made
        .map_err(io::Error::from)
        .and_then(off_standard_streams)
        .map_err(|error| Error::system("eventfd", error))?;
    // SAFETY:
    // - it was an `EventFd`, or is a copy of one.
    Ok(unsafe { EventFd::from_owned_fd(fd) })
}

// ---- what waits to be sent -----------------------------------------------------------------------------------------

/// Messages that wait to be sent, oldest first, with their descriptors of type `F`.
#[derive(Debug)]
pub(crate) struct Outbox<M, F> {
    queue: VecDeque<(M, Vec<F>)>,
    /// Refusals of the oldest message in a row, for another reason than a full socket.
    refusals: u32,
}

/// Attempts to send a message that the kernel refuses for want of memory, or because too many descriptors are under way.
const SEND_TRIES: u32 = 10;
/// Pause between two such attempts.
pub(crate) const SEND_PAUSE: Duration = Duration::from_millis(10);

impl<M: Serialize, F: AsFd> Outbox<M, F> {
    pub(crate) fn new() -> Self {
        Outbox { queue: VecDeque::new(), refusals: 0 }
    }

    pub(crate) fn push(&mut self, message: M, fds: Vec<F>) {
        self.queue.push_back((message, fds));
    }

    /// Drops all messages, which closes their descriptors.
    pub(crate) fn clear(&mut self) {
        *self = Outbox::new();
    }

    /// The events of the socket for which the owner waits: room only if nothing else holds the messages back.
    pub(crate) fn events(&self) -> PollFlags {
        if self.queue.is_empty() || self.has_refusals() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLIN | PollFlags::POLLOUT
        }
    }

    /// True if the oldest message is to be tried again after [`SEND_PAUSE`].
    pub(crate) fn has_refusals(&self) -> bool {
        self.refusals > 0
    }

    /// Sends as many messages as there is room for.
    ///
    /// # Errors
    ///
    /// A message that cannot be sent, and the reason. It is removed from the outbox.
    pub(crate) fn flush(&mut self, control: &Control) -> std::result::Result<(), (M, io::Error)> {
        while let Some((message, fds)) = self.queue.front() {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            match control.send(message, &fds) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.refusals += 1;
                    let is_passing =
                        matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM | libc::ETOOMANYREFS));
                    if is_passing && self.refusals < SEND_TRIES {
                        return Ok(());
                    }
                    self.refusals = 0;
                    let Some((message, _)) = self.queue.pop_front() else { break };
                    return Err((message, error));
                }
            }
            self.refusals = 0;
            self.queue.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Texts = Outbox<String, OwnedFd>;

    fn text(number: usize) -> String {
        format!("{number:0>200}")
    }

    #[test]
    fn what_has_no_room_is_sent_when_there_is() {
        let (ours, theirs) = Control::pair().unwrap();
        let mut outbox = Texts::new();
        // More than any socket holds.
        (0..10_000).for_each(|number| outbox.push(text(number), Vec::new()));
        outbox.flush(&ours).unwrap();
        assert!(outbox.events().contains(PollFlags::POLLOUT) && !outbox.has_refusals());
        for number in 0..10_000 {
            let (received, _) = theirs.receive::<String>(MsgFlags::MSG_DONTWAIT).unwrap().unwrap();
            assert_eq!(received, text(number));
            outbox.flush(&ours).unwrap();
        }
        assert_eq!(outbox.events(), PollFlags::POLLIN);
    }

    #[test]
    fn what_nobody_will_read_is_given_back() {
        let (ours, theirs) = Control::pair().unwrap();
        drop(theirs);
        let mut outbox = Texts::new();
        outbox.push(text(1), Vec::new());
        let (message, error) = outbox.flush(&ours).unwrap_err();
        assert_eq!((message, error.kind()), (text(1), io::ErrorKind::BrokenPipe));
    }
}

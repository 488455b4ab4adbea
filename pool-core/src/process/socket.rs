//! Sockets that keep messages apart and carry descriptors, see unix(7).

#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, recv, sendmsg, shutdown, socketpair,
};
use pool_ipc::sys::off_standard_streams;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One end of such a socket. Nothing here waits unless the caller asks for it.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// Longer than any message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256;
/// More than the descriptors of any message take, with the header before them.
const CONTROL_BYTES_MAX: usize = 128;

impl Socket {
    /// Both ends of a new socket.
    ///
    /// # Errors
    ///
    /// As socketpair(2).
    pub(crate) fn pair() -> io::Result<(Socket, Socket)> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Socket(off_standard_streams(one)?), Socket(off_standard_streams(other)?)))
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
        self.send_with(message, fds, MsgFlags::MSG_DONTWAIT)
    }

    /// Sends the message, and waits for room if there is none.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2).
    pub(crate) fn send_waiting(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(message, fds, MsgFlags::empty())
    }

    fn send_with(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>], flags: MsgFlags) -> io::Result<()> {
        let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL | flags;
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&bytes)], rights, flags, None) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// True if `receive` would return at once.
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

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Socket {
    fn from(socket: OwnedFd) -> Self {
        Socket(socket)
    }
}

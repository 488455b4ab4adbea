//! The socket between host and fork server. Its messages may carry descriptors.
//!
//! Neither side waits in a send: it would stop reading meanwhile, and two full sockets would block both sides for ever. A
//! message for which the socket has no room stays in an [`Outbox`], and its owner goes on reading.
//!
//! Deaths of workers are reported here, too, so the host polls one descriptor and not one for each worker. Its pidfds only kill,
//! since the number of a dead process may be another's by then.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, recv};
use pool_ipc::sys::off_standard_streams;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::launch::messages::Greeting;
use crate::process::socket::{MESSAGE_BYTES_MAX, Socket};

/// One end of the socket between host and fork server.
pub(crate) type Control = Socket;

impl Control {
    /// Whether this process was started with such a socket as its standard input, in which a greeting of this number
    /// waits.
    ///
    /// # Errors
    ///
    /// Those of recv(2) that tell nothing about the standard input.
    pub(crate) fn stdin_has_greeting(nonce: u64) -> nix::Result<bool> {
        // Only a look: any program may be started with a socket as its standard input, and its message must stay there.
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
        Ok(Control::from(socket))
    }
}

/// An epoll instance; never under the number of a standard stream, which a host may have closed and may open again.
pub(crate) fn epoll() -> io::Result<Epoll> {
    let made = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map(|epoll| epoll.0);
    made.map_err(io::Error::from).and_then(off_standard_streams).map(Epoll)
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

// ---- messages that wait to be sent ---------------------------------------------------------------------------------

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
        // A refused message is tried again after a pause. Polled for room, a socket that has some would wake at once.
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
                    // The kernel's lack of memory passes, and so does its limit on descriptors in flight.
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

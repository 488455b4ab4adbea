//! The socket between host and fork server: messages that may carry descriptors, and those that wait to be sent.
//!
//! Neither side ever waits in a send: each would stop reading meanwhile, and two full sockets would hold both up for
//! ever. A message for which the socket has no room stays in an [`Outbox`], whose owner goes on reading.
//!
//! Deaths of workers are reported here, too, so the host polls one descriptor and not one for each worker. Its pidfds are for
//! killing alone, since the number of a dead process may be another's by then.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;
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
    /// That cannot be said.
    pub(crate) fn stdin_has_greeting(nonce: u64) -> nix::Result<bool> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let length = loop {
            match recv(libc::STDIN_FILENO, &mut bytes, flags) {
                Ok(length) => break length,
                Err(Errno::EINTR) => {}
                // Closed; a file; a socket of somebody else's.
                Err(Errno::EBADF | Errno::ENOTSOCK | Errno::EAGAIN | Errno::ENOTCONN | Errno::ECONNRESET) => {
                    return Ok(false);
                }
                Err(errno) => return Err(errno),
            }
        };
        let greeting = postcard::from_bytes::<Greeting>(&bytes[..length]);
        Ok(greeting.is_ok_and(|greeting| greeting.nonce == nonce))
    }

    /// The socket that is this process's standard input, moved out of the way.
    pub(crate) fn from_stdin() -> io::Result<Control> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Control::from(socket))
    }
}

/// What a thread that polls is woken by: its own, and never a standard stream.
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

/// Messages that wait to be sent, oldest first, with descriptors of the type `F` that go along.
#[derive(Debug)]
pub(crate) struct Outbox<M, F> {
    queue: VecDeque<(M, Vec<F>)>,
    /// How often in a row the oldest one was refused for want of something other than room.
    refusals: u32,
}

/// A message is given up when the kernel has refused it so often, for want of memory or because too many descriptors
/// are under way, with this pause between two attempts.
const SEND_TRIES: u32 = 10;
pub(crate) const SEND_PAUSE: Duration = Duration::from_millis(10);

impl<M: Serialize, F: AsFd> Outbox<M, F> {
    pub(crate) fn new() -> Self {
        Outbox { queue: VecDeque::new(), refusals: 0 }
    }

    pub(crate) fn push(&mut self, message: M, fds: Vec<F>) {
        self.queue.push_back((message, fds));
    }

    /// The descriptors of messages that were not sent are closed.
    pub(crate) fn clear(&mut self) {
        *self = Outbox::new();
    }

    /// The events of the socket that the owner waits for: room, if that is all that is missing.
    pub(crate) fn events(&self) -> PollFlags {
        if self.queue.is_empty() || self.has_refusals() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLIN | PollFlags::POLLOUT
        }
    }

    /// Whether to try again after [`SEND_PAUSE`].
    pub(crate) fn has_refusals(&self) -> bool {
        self.refusals > 0
    }

    /// Sends what there is room for.
    ///
    /// # Errors
    ///
    /// The oldest message, which is not in the outbox any more, and why it cannot be sent.
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

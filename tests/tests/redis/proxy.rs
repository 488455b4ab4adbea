//! A way to the server that can be cut: a socket beside the server's, by which bytes get lost on demand.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{self, JoinHandle, Scope};
use std::time::Duration;

/// The bytes that get lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Loss {
    Nothing = 0,
    /// Commands.
    ToServer = 1,
    /// Answers.
    FromServer = 2,
    All = 3,
}

/// How often its threads look whether they are to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The way, until it is dropped.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    server: PathBuf,
    loss: AtomicU8,
    is_over: AtomicBool,
}

impl Proxy {
    /// One to this socket, at `path`.
    pub(crate) fn start(path: &Path, server: PathBuf) -> Proxy {
        let listener = UnixListener::bind(path).expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        let shared = Arc::new(Shared { server, loss: AtomicU8::new(0), is_over: AtomicBool::new(false) });
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || for_thread.serve(&listener));
        Proxy { shared, thread: Some(thread) }
    }

    /// From now on these bytes get lost. A connection that has lost some stays dead in that direction, as if its other end were gone
    /// without a word.
    pub(crate) fn lose(&self, loss: Loss) {
        self.shared.loss.store(loss as u8, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.thread.take().expect("it is joined once").join().expect("it does not panic");
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn serve(&self, listener: &UnixListener) {
        thread::scope(|scope| {
            while !self.is_over() {
                match listener.accept() {
                    Ok((near, _)) => self.connect(near, scope),
                    Err(_) => thread::sleep(LOOK_EVERY),
                }
            }
        });
    }

    fn connect<'s>(&'s self, near: UnixStream, scope: &'s Scope<'s, '_>) {
        // A server that is away is one that accepts nobody.
        let Ok(far) = UnixStream::connect(&self.server) else { return };
        let ends = [(&near, &far, Loss::ToServer), (&far, &near, Loss::FromServer)];
        for (from, to, loss) in ends {
            let (from, to) = (from.try_clone().expect("a descriptor"), to.try_clone().expect("a descriptor"));
            scope.spawn(move || self.pump(from, to, loss));
        }
    }

    fn pump(&self, mut from: UnixStream, mut to: UnixStream, loss: Loss) {
        from.set_nonblocking(false).and_then(|()| from.set_read_timeout(Some(LOOK_EVERY))).expect("a socket");
        let (mut bytes, mut is_dead) = (vec![0; 1 << 16], false);
        while !self.is_over() {
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => {
                    is_dead |= self.loss.load(Ordering::SeqCst) & loss as u8 != 0;
                    if !is_dead && to.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        // The end of a dead connection is lost, too, until somebody's patience ends.
        let _ = if is_dead && !self.is_over() { Ok(()) } else { to.shutdown(Shutdown::Both) };
    }
}

//! Takes in the bytes that processes of the pool write to pipes, and hands them on: one thread reads, another runs the listener.
//!
//! They are two, since the pipes must be read while the listener blocks, or a task that prints would wait for it. As long as
//! the listener moves, a full queue makes the processes wait; if it does not return for a second, further ones are dropped and
//! counted.
//!
//! A pipe ends when its worker is gone. Programs that the worker has left behind may hold the other end open for ever, so the
//! bytes that are in the pipe by then are its last ones.

mod queue;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};

use self::queue::Queue;
use super::Host;
use super::events::{guarded, spawn_reader};
use crate::error::{Error, Result};
use crate::launch::control;
use crate::observe::later::Later;
use crate::observe::splitter::Splitter;
use crate::process::pidfd::POLL_PAUSE;

/// The pipes of a pool's processes, and the values read from them.
pub(crate) struct Hearing<S: Splitter> {
    epoll: Epoll,
    /// Its bell wakes the thread that reads.
    pub(crate) later: Arc<Later<S::Item>>,
    pipes: Mutex<Pipes<S>>,
    queue: Queue<S>,
}

struct Pipes<S> {
    open: BTreeMap<u64, Pipe<S>>,
    next: u64,
    /// No more processes will write.
    is_over: bool,
}

struct Pipe<S> {
    fd: OwnedFd,
    splitter: S,
    /// The process that writes to it.
    pid: u32,
    /// That process is gone.
    is_over: bool,
}

/// Bytes that are read from a pipe before the next one has its turn: all that most pipes hold.
const READ_BYTES: usize = 64 << 10;

/// Pipes that are looked at together.
const PIPES_TOGETHER: usize = 64;

/// Pause between two rounds, so that a stream of lines does not wake the threads for each.
const PAUSE: Duration = Duration::from_millis(1);

/// The name of the bell in the epoll.
const BELL: u64 = u64::MAX;

impl<S: Splitter> Hearing<S> {
    /// # Errors
    ///
    /// The system refuses a descriptor.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let bell = control::bell()?;
        let epoll = control::epoll().map_err(|error| Error::system("epoll_create1", error))?;
        let added = epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL));
        added.map_err(|errno| Error::system("epoll_ctl", errno))?;
        // A map in order, not a hash map, which would draw the seed of this thread before `Fork` copies it.
        let pipes = Mutex::new(Pipes { open: BTreeMap::new(), next: 0, is_over: false });
        Ok(Arc::new(Hearing { epoll, later: Arc::new(Later::new(bell)), pipes, queue: Queue::new() }))
    }

    /// Starts the two threads. They end after [`close`](Hearing::close).
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(crate) fn start(
        self: Arc<Self>,
        host: &Arc<Host>,
        name: &str,
        mut listener: impl FnMut(S::Item) + Send + 'static,
    ) -> Result<()> {
        // Both count as readers, so the end of the pool waits for the last bytes as well as for the last value.
        let heard = Arc::clone(&self);
        spawn_reader(host, format!("{name}-hear"), move |_| heard.read_all())?;
        spawn_reader(host, name.to_owned(), move |host| {
            while let Some(item) = self.queue.take() {
                guarded(|| listener(item));
                host.readers.note_progress();
            }
            // Its destructor is the user's code, too.
            guarded(move || drop(listener));
        })
    }

    /// Descriptors that a copy of the host closes.
    pub(crate) fn private(&self) -> [BorrowedFd<'_>; 2] {
        [self.epoll.0.as_fd(), self.later.bell.as_fd()]
    }

    fn pipes(&self) -> MutexGuard<'_, Pipes<S>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads this pipe, too, to which the process `pid` writes.
    pub(crate) fn add(&self, fd: OwnedFd, splitter: S, pid: u32) {
        let mut pipes = self.pipes();
        let token = pipes.next;
        // A pipe that the kernel has no memory to watch is closed: its process finds nobody there, and does not wait.
        if self.epoll.add(&fd, EpollEvent::new(EpollFlags::EPOLLIN, token)).is_ok() {
            pipes.next += 1;
            pipes.open.insert(token, Pipe { fd, splitter, pid, is_over: false });
        }
    }

    /// The process is gone.
    pub(crate) fn process_ended(&self, pid: u32) {
        // Only marked: the rest is read in the thread that reads, since it may have to wait for the listener.
        self.pipes().open.values_mut().filter(|pipe| pipe.pid == pid).for_each(|pipe| pipe.is_over = true);
        let _ = self.later.bell.write(1);
    }

    /// All processes are gone.
    pub(crate) fn close(&self) {
        self.pipes().is_over = true;
        let _ = self.later.bell.write(1);
    }

    fn read_all(&self) {
        // One for all pipes, as long as this thread lives: a read allocates nothing but its values.
        let mut buffer = vec![0; READ_BYTES];
        let mut events = [EpollEvent::empty(); PIPES_TOGETHER];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(_) => {
                    thread::sleep(POLL_PAUSE);
                    0
                }
            };
            // One read for each, so that a worker that prints without end leaves the others their turn.
            for token in events[..count].iter().map(EpollEvent::data).filter(|token| *token != BELL) {
                self.push(self.read(token, &mut buffer));
            }
            // Read before the look, so that a later ring is not lost.
            let _ = self.later.bell.read();
            let (is_over, ended) = {
                let pipes = self.pipes();
                let ended = pipes.open.iter().filter(|(_, pipe)| pipe.is_over || pipes.is_over);
                (pipes.is_over, ended.map(|(token, _)| *token).collect::<Vec<_>>())
            };
            // Behind the look, so that the last round has all of them; before the pipes are read, so that all that was written
            // before them is read here, or was.
            let later = self.later.take();
            if !later.is_empty() {
                let open: Vec<_> = self.pipes().open.keys().copied().collect();
                open.into_iter().for_each(|token| self.push(self.read(token, &mut buffer)));
            }
            for token in ended {
                self.push(self.read_rest(token, &mut buffer));
            }
            self.push(later);
            if is_over {
                // After the last push: the listener ends when it finds the queue closed and empty.
                return self.queue.close();
            }
            thread::sleep(PAUSE);
        }
    }

    /// Not under the lock of the pipes: it may wait for the listener, and the supervisor must not.
    fn push(&self, items: Vec<S::Item>) {
        items.into_iter().for_each(|item| self.queue.push(item));
    }

    /// Values of the next bytes of the pipe.
    fn read(&self, token: u64, buffer: &mut [u8]) -> Vec<S::Item> {
        let (mut pipes, mut items) = (self.pipes(), Vec::new());
        let Some(pipe) = pipes.open.get_mut(&token) else { return items };
        match read_some(&pipe.fd, buffer) {
            Ok(0) => self.end(pipes.open.remove(&token), &mut items),
            Ok(count) => pipe.splitter.feed(&buffer[..count], &mut |item| items.push(item)),
            // Another look came first, and took all bytes.
            Err(_) => {}
        }
        items
    }

    /// Values of the bytes that are in the pipe now, its last ones.
    fn read_rest(&self, token: u64, buffer: &mut [u8]) -> Vec<S::Item> {
        let mut items = Vec::new();
        // Taken out first, so that the lock is not held for all of its bytes.
        let Some(mut pipe) = self.pipes().open.remove(&token) else { return items };
        // As much as it holds: a program that is left behind may write as fast as this reads.
        let mut left = fcntl(&pipe.fd, FcntlArg::F_GETPIPE_SZ).map_or(READ_BYTES, |bytes| bytes as usize);
        while left > 0
            && let Ok(count @ 1..) = read_some(&pipe.fd, &mut buffer[..left.min(READ_BYTES)])
        {
            pipe.splitter.feed(&buffer[..count], &mut |item| items.push(item));
            left -= count;
        }
        self.end(Some(pipe), &mut items);
        items
    }

    fn end(&self, pipe: Option<Pipe<S>>, items: &mut Vec<S::Item>) {
        let Some(mut pipe) = pipe else { return };
        pipe.splitter.end(&mut |item| items.push(item));
        // Closing is not enough if the host was forked: the copy has the descriptor, too.
        let _ = self.epoll.delete(&pipe.fd);
    }
}

fn read_some(fd: &OwnedFd, buffer: &mut [u8]) -> nix::Result<usize> {
    loop {
        match nix::unistd::read(fd, buffer) {
            Err(Errno::EINTR) => {}
            read => return read,
        }
    }
}

impl<S: Splitter> fmt::Debug for Hearing<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hearing").field("queue", &self.queue).finish_non_exhaustive()
    }
}

//! Payloads in pieces, on their way to the server and back.

use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use pool_core::remote::{self, Stop};
use pool_core::{Error, ErrorKind, Result};
use redis::{Client, Cmd};

use crate::blob::{Blob, PIECE_BYTES, PIECES_TOGETHER, pieces};
use crate::commands;
use crate::connection::{Backoff, Line, Trouble};

/// The connection for payloads, and how long it waits for a server that is away.
#[derive(Debug)]
pub(crate) struct Courier {
    line: Line,
    engine_timeout: Duration,
    /// The first failure since the last answer.
    failing_since: Option<Instant>,
}

/// Pause between two attempts, or of a thread that waits for another one's payload.
const PAUSE_MAX: Duration = Duration::from_millis(50);

impl Courier {
    pub(crate) fn new(client: &Client, engine_timeout: Duration) -> Courier {
        let line = Line::new(client, commands::BLOB_SCRIPTS, Duration::ZERO);
        Courier { line, engine_timeout, failing_since: None }
    }

    /// Whether the server has all pieces, of so many bytes; `life` is how long it keeps them from now on.
    ///
    /// # Errors
    ///
    /// The server does not answer, or `stop` is set.
    pub(crate) fn has(&mut self, key: &str, bytes: usize, life: Option<Duration>, stop: &Stop) -> Result<bool> {
        let count = commands::count_pieces(key);
        let commands: Vec<_> = life.map(|life| commands::renew_blob(key, life)).into_iter().chain([count]).collect();
        let answers = self.ask(&commands, "looking for a payload", stop, commands::number)?;
        Ok(answers.last() == Some(&pieces(bytes)))
    }

    /// Writes all pieces, each by the command that `put` makes of its number and its bytes. False if the server wants none.
    ///
    /// # Errors
    ///
    /// As of [`has`](Courier::has).
    pub(crate) fn put(&mut self, content: &[u8], stop: &Stop, put: impl Fn(usize, &[u8]) -> Cmd) -> Result<bool> {
        // In goes of a few megabytes: the answers tell early that the server wants none, and `stop` is seen between them.
        let mut parts = content.chunks(PIECE_BYTES).enumerate().peekable();
        while parts.peek().is_some() {
            let commands: Vec<_> =
                parts.by_ref().take(PIECES_TOGETHER).map(|(index, piece)| put(index, piece)).collect();
            if self.ask(&commands, "writing a payload", stop, commands::number)?.contains(&0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads all pieces, and gives each to `fill` with its place. False if one is gone, or is not as long as it should be.
    ///
    /// # Errors
    ///
    /// As of [`has`](Courier::has).
    pub(crate) fn fetch(
        &mut self,
        key: &str,
        blob: Blob,
        stop: &Stop,
        mut fill: impl FnMut(usize, Vec<u8>),
    ) -> Result<bool> {
        let Some(bytes) = blob.len() else { return Ok(false) };
        // Asked first: another program may claim any length, and memory is taken for it.
        if !self.has(key, bytes, None, stop)? {
            return Ok(false);
        }
        let all: Vec<_> = (0..pieces(bytes)).collect();
        for together in all.chunks(PIECES_TOGETHER) {
            let commands: Vec<_> = together.iter().map(|index| commands::get_piece(key, *index)).collect();
            let found = self.ask(&commands, "reading a payload", stop, commands::bytes)?;
            for (index, piece) in together.iter().zip(found) {
                let at = index * PIECE_BYTES;
                match piece {
                    Some(piece) if piece.len() == PIECE_BYTES.min(bytes - at) => fill(at, piece),
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Nobody needs the payload any more.
    pub(crate) fn forget(&mut self, key: &str) {
        // Without an answer it expires.
        let _ = self.line.ask(&commands::forget(key));
    }

    /// Asks until there are answers, for as long as the server may be away.
    fn ask<T>(
        &mut self,
        commands: &[Cmd],
        doing: &str,
        stop: &Stop,
        read: impl Fn(redis::Value) -> std::result::Result<T, Trouble>,
    ) -> Result<Vec<T>> {
        let mut backoff = Backoff::new();
        loop {
            if stop.is_set() {
                return Err(stopped());
            }
            // Again as a whole, since each of them may be carried out twice.
            let answers = self.line.ask_all(commands);
            let answers = answers.and_then(|answers| answers.into_iter().map(|answer| read(answer?)).collect());
            match answers {
                Ok(answers) => {
                    self.failing_since = None;
                    return Ok(answers);
                }
                // Counted once for all threads that wait for this connection, or they would give up one after the other.
                Err(trouble)
                    if trouble.is_permanent
                        || self.failing_since.get_or_insert_with(Instant::now).elapsed() > self.engine_timeout =>
                {
                    return Err(trouble.error(doing));
                }
                Err(_) => {
                    thread::sleep(backoff.wait().min(PAUSE_MAX));
                    backoff.grow();
                }
            }
        }
    }
}

fn stopped() -> Error {
    remote::error(ErrorKind::Cancelled, "was stopped")
}

/// Locks, but gives up when the items are to end: another thread may be at a long payload.
///
/// # Errors
///
/// `stop` is set.
pub(crate) fn lock_unless<'m, T>(mutex: &'m Mutex<T>, stop: &Stop) -> Result<MutexGuard<'m, T>> {
    let mut backoff = Backoff::new();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(guard)) => return Ok(guard.into_inner()),
            Err(TryLockError::WouldBlock) if stop.is_set() => return Err(stopped()),
            Err(TryLockError::WouldBlock) => {
                thread::sleep(backoff.wait().min(PAUSE_MAX));
                backoff.grow();
            }
        }
    }
}

//! A connection to the server that is made anew when it fails, and the kinds of failures.

use std::fmt;
use std::time::Duration;

use pool_core::{Error, ErrorKind, remote};
use redis::{Client, Cmd, Connection, RedisError, Script, ServerErrorKind, Value};

/// The time for a connection, and for an answer that does not block.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// One connection, which one thread uses.
pub(crate) struct Line {
    client: Client,
    scripts: &'static [fn() -> &'static Script],
    connection: Option<Connection>,
    /// The time for an answer, unless the caller gives another.
    timeout: Duration,
    /// The one that the connection has.
    read_timeout: Duration,
    /// The connection is not to be used for further commands.
    is_stale: bool,
}

/// A failure to have a command carried out.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    text: String,
    /// It will not go away by waiting.
    pub(crate) is_permanent: bool,
}

impl Line {
    /// `blocks` is the time that a command may block at the server.
    pub(crate) fn new(client: &Client, scripts: &'static [fn() -> &'static Script], blocks: Duration) -> Line {
        let timeout = blocks + ANSWER_TIMEOUT;
        Line { client: client.clone(), scripts, connection: None, timeout, read_timeout: timeout, is_stale: false }
    }

    /// True if the next command makes a new connection.
    pub(crate) fn is_lost(&self) -> bool {
        self.connection.is_none() || self.is_stale
    }

    /// The connection, with this time for an answer.
    fn connection(&mut self, timeout: Duration) -> Result<&mut Connection, Trouble> {
        if self.is_lost() {
            self.connection = None;
            let mut connection = self.client.get_connection_with_timeout(ANSWER_TIMEOUT)?;
            connection.set_read_timeout(Some(self.timeout))?;
            connection.set_write_timeout(Some(self.timeout))?;
            // A server that has started again has none.
            for script in self.scripts {
                script().load(&mut connection)?;
            }
            (self.connection, self.read_timeout, self.is_stale) = (Some(connection), self.timeout, false);
        }
        let connection = self.connection.as_mut().expect("was just made");
        // A system call, which most commands need not pay for.
        if self.read_timeout != timeout {
            connection.set_read_timeout(Some(timeout))?;
            self.read_timeout = timeout;
        }
        Ok(connection)
    }

    /// Sends the command, and waits for the answer.
    pub(crate) fn ask(&mut self, command: &Cmd) -> Result<Value, Trouble> {
        let mut answers = self.ask_all(std::slice::from_ref(command))?;
        answers.pop().expect("one for each command")
    }

    /// Sends all commands in one go, and waits for all answers: one for each, some of which may be errors.
    ///
    /// # Errors
    ///
    /// The connection failed. Any of the commands may have been carried out.
    pub(crate) fn ask_all(&mut self, commands: &[Cmd]) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.send(commands, None)?;
        commands.iter().map(|_| self.receive()).collect()
    }

    /// Sends all commands in one go. The caller [receives](Line::receive) an answer for each, up to the first failure. With
    /// `most` the connection is given up if an answer takes longer.
    ///
    /// # Errors
    ///
    /// The connection failed. Any of the commands may be carried out.
    pub(crate) fn send(&mut self, commands: &[Cmd], most: Option<Duration>) -> Result<(), Trouble> {
        let timeout = most.unwrap_or(self.timeout);
        // One buffer, and so one system call.
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.write_packed_command(&mut bytes));
        let sent = self.connection(timeout).and_then(|connection| Ok(connection.send_packed_command(&bytes)?));
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    /// The next answer, which may be an error of the server.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub(crate) fn receive(&mut self) -> Result<Result<Value, Trouble>, Trouble> {
        // An answer before this one has failed.
        let failed = || Trouble { text: "the connection was lost".to_owned(), is_permanent: false };
        let connection = self.connection.as_mut().ok_or_else(failed)?;
        match connection.recv_response().and_then(Value::extract_error) {
            Ok(value) => Ok(Ok(value)),
            Err(error) if is_of_server(&error) => {
                let trouble = Trouble::from(error);
                // Also after errors that pass: after a failover another server answers under the address, and a server that has
                // started again needs the scripts.
                self.is_stale |= !trouble.is_permanent;
                Ok(Err(trouble))
            }
            Err(error) => {
                self.connection = None;
                Err(error.into())
            }
        }
    }
}

/// True if the connection is as good as before.
fn is_of_server(error: &RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension)
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Trouble {
        use redis::ErrorKind as Kind;
        let text = error.to_string();
        let is_permanent = match error.kind() {
            // A script that runs, a server that reads its data, a replica, a master that is away, a script that a new
            // server does not have.
            Kind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::NoScript,
            )
            | Kind::Io
            | Kind::Parse => false,
            // Errors within a script have the text of the inner one. Memory gets free as results are read.
            _ => ![
                "BUSY",
                "OOM",
                "MISCONF",
                "NOREPLICAS",
                "UNBLOCKED",
                "READONLY",
                "LOADING",
                "MASTERDOWN",
                "max number of clients",
            ]
            .iter()
            .any(|code| text.contains(code)),
        };
        Trouble { text, is_permanent }
    }
}

impl Trouble {
    /// An answer that the scripts do not give.
    pub(crate) fn odd(answer: impl fmt::Debug) -> Trouble {
        let mut text = format!("{answer:?}");
        text.truncate(text.floor_char_boundary(200));
        Trouble { text: format!("answered in a way that is none of this crate's scripts: {text}"), is_permanent: true }
    }

    pub(crate) fn error(&self, doing: &str) -> Error {
        remote::error(ErrorKind::Unreachable, format!("{doing}: {self}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis: {}", self.text)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address, which may hold a password.
        f.debug_struct("Line").field("is_lost", &self.is_lost()).finish_non_exhaustive()
    }
}

/// The time before the next attempt, which grows with each that failed.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Backoff {
        Backoff { next: Backoff::FIRST }
    }

    pub(crate) fn wait(&self) -> Duration {
        self.next
    }

    pub(crate) fn grow(&mut self) {
        self.next = (self.next * 2).min(Backoff::LONGEST);
    }

    pub(crate) fn reset(&mut self) {
        self.next = Backoff::FIRST;
    }
}

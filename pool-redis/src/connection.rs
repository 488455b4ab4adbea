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
    timeout: Duration,
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
        Line { client: client.clone(), scripts, connection: None, timeout: blocks + ANSWER_TIMEOUT }
    }

    /// True if the next command makes a new connection.
    pub(crate) fn is_lost(&self) -> bool {
        self.connection.is_none()
    }

    fn connection(&mut self) -> Result<&mut Connection, Trouble> {
        if self.connection.is_none() {
            let mut connection = self.client.get_connection_with_timeout(ANSWER_TIMEOUT)?;
            connection.set_read_timeout(Some(self.timeout))?;
            connection.set_write_timeout(Some(self.timeout))?;
            // A server that has started again has none.
            for script in self.scripts {
                script().load(&mut connection)?;
            }
            self.connection = Some(connection);
        }
        Ok(self.connection.as_mut().expect("was just made"))
    }

    /// Sends the command, and waits for the answer.
    pub(crate) fn ask(&mut self, command: &Cmd) -> Result<Value, Trouble> {
        let mut answers = self.ask_all(std::slice::from_ref(command))?;
        answers.pop().expect("one for each command")
    }

    /// As [`ask_all`](Line::ask_all), but the connection is given up after this time.
    pub(crate) fn ask_all_within(
        &mut self,
        commands: &[Cmd],
        most: Duration,
    ) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let timeout = self.timeout;
        self.connection()?.set_read_timeout(Some(most))?;
        let answers = self.ask_all(commands)?;
        if let Some(connection) = &self.connection {
            connection.set_read_timeout(Some(timeout))?;
        }
        Ok(answers)
    }

    /// Sends all commands in one go, and waits for all answers: one for each, some of which may be errors.
    ///
    /// # Errors
    ///
    /// The connection failed. Any of the commands may have been carried out.
    pub(crate) fn ask_all(&mut self, commands: &[Cmd]) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let result = self.connection().and_then(|connection| exchange(connection, commands));
        let needs_another =
            |answer: &Result<Value, Trouble>| answer.as_ref().is_err_and(|trouble| !trouble.is_permanent);
        // Also after errors that pass: after a failover another server answers under the address, and a server that has started
        // again needs the scripts.
        if result.as_ref().map_or(true, |answers| answers.iter().any(needs_another)) {
            self.connection = None;
        }
        result
    }
}

fn exchange(connection: &mut Connection, commands: &[Cmd]) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
    let mut bytes = Vec::new();
    commands.iter().for_each(|command| command.write_packed_command(&mut bytes));
    connection.send_packed_command(&bytes)?;
    let mut answers = Vec::with_capacity(commands.len());
    for _ in commands {
        match connection.recv_response().and_then(Value::extract_error) {
            Ok(value) => answers.push(Ok(value)),
            Err(error) if is_of_server(&error) => answers.push(Err(error.into())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(answers)
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

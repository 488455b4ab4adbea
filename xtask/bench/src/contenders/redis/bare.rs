//! The least that a way by a Redis server takes: another process, and two lists.

use redis::{Client, Connection, RedisResult, cmd};

use super::helper::{ANSWERER, Helper};
use super::server::Server;
use crate::contender::Outcome;
use crate::data::increment;

const CALLS: &str = "calls";
const RESULTS: &str = "results";

/// The connection, and the process at the other end.
pub(crate) struct Bare {
    connection: Connection,
    _answerer: Helper,
    _server: Server,
}

impl Bare {
    pub(crate) fn start() -> Outcome<Bare> {
        let server = Server::start()?;
        let mut bare =
            Bare { connection: server.connect()?, _answerer: Helper::start(ANSWERER, &server)?, _server: server };
        // So that the first call that counts need not wait for the other process to begin.
        bare.call(1)?;
        Ok(bare)
    }

    /// Enqueues an element and waits for the other that is stored for it.
    pub(crate) fn call(&mut self, number: u64) -> Outcome<u64> {
        push(&mut self.connection, CALLS, number)?;
        Ok(pop(&mut self.connection, RESULTS)?)
    }
}

/// Takes each element, and stores another.
pub(super) fn answer(url: &str) -> RedisResult<()> {
    let mut connection = Client::open(url)?.get_connection()?;
    loop {
        let number = pop(&mut connection, CALLS)?;
        push(&mut connection, RESULTS, increment(number))?;
    }
}

fn push(connection: &mut Connection, list: &str, number: u64) -> RedisResult<()> {
    cmd("RPUSH").arg(list).arg(number).exec(connection)
}

fn pop(connection: &mut Connection, list: &str) -> RedisResult<u64> {
    let (_, number): (String, u64) = cmd("BLPOP").arg(list).arg(0).query(connection)?;
    Ok(number)
}

//! Queues of Python over Redis, and Dask: each measures itself, see `queues.py`.

use std::time::Duration;

use super::helper::opened;
use super::server::Server;
use crate::contender::{Contender, Item, Outcome, Refusal, unsupported};
use crate::contenders::python::Python;
use crate::timing::Timed;

const PROGRAM: &str = include_str!("queues.py");

/// A rival.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rival {
    Celery,
    Rq,
    Dask,
}

/// One of them, with its server.
pub(crate) struct Queue {
    rival: Rival,
    python: Option<Python>,
    server: Option<Server>,
}

impl Queue {
    pub(crate) fn new(rival: Rival) -> Queue {
        Queue { rival, python: None, server: None }
    }

    fn python(&mut self) -> Outcome<&mut Python> {
        self.python.as_mut().ok_or_else(|| Refusal::Failed("it was not opened".to_owned()))
    }
}

impl Contender for Queue {
    fn open(&mut self, _workers: usize) -> Outcome<Duration> {
        unsupported()
    }

    fn open_far(&mut self, workers: usize) -> Outcome<Duration> {
        let (elapsed, (server, python)) = opened(|| {
            let server = Server::start()?;
            // A file, since their workers import it.
            std::fs::write(server.folder().join("queues.py"), PROGRAM)?;
            // Another interpreter for each rival: they change what others import.
            let mut python = Python::of_folder(server.folder(), "import queues; queues.main()")?;
            let name = format!("{:?}", self.rival).to_lowercase();
            python.ask(&format!("open {name} {} {workers}", server.socket().display()))?;
            Ok((server, python))
        })?;
        (self.server, self.python) = (Some(server), Some(python));
        Ok(elapsed)
    }

    fn close(&mut self) -> Outcome<Duration> {
        let (elapsed, reply) = crate::timing::timed(|| self.python()?.ask("close"));
        reply?;
        // The server last, or workers that are ending would try to reach it.
        (self.python, self.server) = (None, None);
        Ok(elapsed)
    }

    fn calls(&mut self, count: u64, _pause: Duration) -> Outcome<Vec<Duration>> {
        let times = self.python()?.ask(&format!("calls {count}"))?;
        Ok(times.into_iter().map(Duration::from_nanos).collect())
    }

    fn map_numbers(&mut self, numbers: &[u64]) -> Outcome<Timed> {
        let count = numbers.len();
        self.python()?.ask_timed(&format!("map_numbers {count}"))
    }

    fn map_items(&mut self, items: &[Item]) -> Outcome<Timed> {
        let count = items.len();
        self.python()?.ask_timed(&format!("map_naps {count}"))
    }
}

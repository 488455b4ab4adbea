//! This program as another process of a measurement.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::server::Server;
use crate::contender::Outcome;
use crate::timing::timed;

/// First argument of an agent or of the answerer of bare lists; the address follows.
pub(super) const AGENT: &str = "redis-agent";
pub(super) const ANSWERER: &str = "redis-answerer";

/// This program as another process, which ends with its owner.
pub(super) struct Helper(Child);

impl Helper {
    pub(super) fn start(kind: &str, server: &Server) -> std::io::Result<Helper> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Helper(command.args([kind, &server.url()]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It would wait for the next job without end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens, timed.
pub(crate) fn opened<T>(open: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let (elapsed, opened) = timed(open);
    opened.map(|opened| (elapsed, opened))
}

//! `cluster`: what runs at a Redis server.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use console::Term;
use pool_redis::Cluster;

use super::ending::{Failure, Verdict};
use crate::picture::Picture;

/// Time between two looks: agents report about every fourth second, clients each second.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) fn run(url: &str, is_json: bool, is_once: bool) -> Result<Verdict, Failure> {
    // An address that is none, or a server that is not there, ends the command; one that goes later is waited for.
    let first = pool_redis::cluster(url)?;
    let terminal = Term::stdout();
    if is_json || is_once || !terminal.is_term() {
        let mut out = io::stdout();
        if is_json {
            serde_json::to_writer(&mut out, &first).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            write!(out, "{first}")?;
        }
        return Ok(Verdict::AllWell);
    }
    let mut picture = Picture::new(terminal);
    let mut cluster = Ok(first);
    loop {
        picture.lines = lines(&cluster);
        let (height, width) = picture.size();
        picture.redraw(height, width);
        sleep(PERIOD);
        cluster = pool_redis::cluster(url);
    }
}

fn lines(cluster: &pool_core::Result<Cluster>) -> Vec<String> {
    match cluster {
        Ok(cluster) => cluster.to_string().lines().map(str::to_owned).collect(),
        Err(error) => vec![error.to_string()],
    }
}

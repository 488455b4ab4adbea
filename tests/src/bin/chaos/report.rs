//! The report that a person reads in the end.

use std::io::{self, Write};

use pool_core::Stats;
use tests::leaks::Count;

use crate::harm::Harm;
use crate::ledger::Tally;
use crate::options::Options;

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) options: Options,
    pub(crate) tally: Tally,
    pub(crate) harm: Harm,
    pub(crate) stats: Stats,
    pub(crate) is_usable: bool,
    pub(crate) before: Count,
    pub(crate) after: Count,
}

impl Report {
    /// Whether all promises were kept.
    pub(crate) fn is_clean(&self) -> bool {
        self.tally.is_clean() && self.is_usable && self.before == self.after
    }

    pub(crate) fn print(&self) -> io::Result<()> {
        let Report { options, tally, harm, stats, before, after, .. } = self;
        let out = &mut io::stdout().lock();
        writeln!(out, "{} s, {} workers, seed {}", options.seconds, options.workers, options.seed)?;
        let mut row = |what: &str, count: u64| writeln!(out, "{what:<24}{count:>12}");
        row("jobs submitted", tally.jobs)?;
        row("items submitted", tally.items)?;
        row("items succeeded", tally.succeeded)?;
        for (kind, count) in &tally.failed {
            row(&format!("items failed: {kind}"), *count)?;
        }
        row("items given up", tally.given_up)?;
        row("items lost", tally.lost + (tally.items - tally.closed))?;
        row("items doubled", tally.doubled)?;
        row("items wrong", tally.wrong)?;
        row("kill -9", harm.kills)?;
        row("kill -STOP", harm.stops)?;
        row("fork server killed", harm.server_kills)?;
        row("resizes", harm.resizes)?;
        row("workers started", stats.workers_started)?;
        row("workers died", stats.workers_died)?;
        for (what, before, after) in [
            ("fds", before.fds, after.fds),
            ("threads", before.threads, after.threads),
            ("mappings", before.mappings, after.mappings),
            ("children", before.children, after.children),
        ] {
            writeln!(out, "{what:<10}before {before}, after {after}")?;
        }
        tally.findings.iter().try_for_each(|what| writeln!(out, "FOUND: {what}"))?;
        writeln!(out, "usable afterwards: {}", if self.is_usable { "yes" } else { "no" })?;
        writeln!(out, "{}", if self.is_clean() { "every promise kept" } else { "A PROMISE IS BROKEN" })
    }
}

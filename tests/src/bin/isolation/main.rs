//! The cost of isolation and how well it holds, measured.
//!
//! `cargo xtask isolation [--quick] [--case NAME] [--markdown]`. The exit code is 1 if a promise is broken.

mod deaths;
mod hosts;
mod leaks;
mod limits;
mod many_workers;
mod options;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};

use crate::options::{Options, Size, USAGE};
use crate::table::{MARKDOWN_HEAD, Row, head};

/// The cases, each of which can be measured alone.
type Case = (&'static str, fn(Size) -> Vec<Row>);

const CASES: [Case; 8] = [
    ("deaths", deaths::run),
    ("limits", limits::run),
    ("hosts", hosts::run),
    ("many-workers", many_workers::run),
    ("pools", leaks::pools),
    ("jobs", leaks::jobs),
    ("crashes", leaks::crashes),
    ("limit-cost", limits::cost),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    // A thousand crashes are not to leave a thousand files.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [hosts::HOST, state] => hosts::be_host(state).map(|()| true),
        _ => match Options::parse(arguments.into_iter())
            .filter(|options| options.cases.iter().all(|name| is_case(name)))
        {
            Some(options) => measure(&options),
            None => {
                eprintln!("{USAGE}\ncases: {}", CASES.map(|(name, _)| name).join(", "));
                return ExitCode::from(2);
            }
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("isolation: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_case(name: &str) -> bool {
    CASES.iter().any(|(known, _)| *known == name)
}

/// Whether all promises were kept.
fn measure(options: &Options) -> io::Result<bool> {
    let out = &mut io::stdout().lock();
    writeln!(out, "{}", if options.markdown { MARKDOWN_HEAD.to_owned() } else { head() })?;
    let mut is_kept = true;
    for (name, run) in CASES {
        if !options.cases.is_empty() && !options.cases.iter().any(|wanted| wanted == name) {
            continue;
        }
        for row in run(options.size) {
            is_kept &= row.verdict().unwrap_or(true);
            writeln!(out, "{}", if options.markdown { row.markdown(name) } else { row.to_string() })?;
        }
    }
    Ok(is_kept)
}

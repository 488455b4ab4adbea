//! The project's own chores: `cargo xtask ci`, `tidy`, `api`, `features`, `bench`, `chaos`, `isolation` and `kill-points`.

mod api;
mod cargo;
mod ci;
mod features;
mod pictures;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
The project's own chores.

Usage: cargo xtask <COMMAND>

Commands:
  ci    Everything that must pass: format, lints, documentation, tidy, tests
  tidy  The rules of the house that no other tool checks
  api [--check]
        Writes docs/api.txt, the public names of pool-core, or compares it with the sources
  features
        Each set of at most two features of pool-core compiles
  bench [--quick] [--case NAME] [--contender NAME] [--rounds N] [--json FILE] [--plot DIR]
        The pool beside its rivals; at most 15 minutes, with --quick about five
  chaos [--seconds S] [--workers N] [--seed K]
        A pool under full load while its workers are killed at random, and a ledger of what came of it
  isolation [--quick] [--case NAME] [--markdown]
        How soon deaths are noticed and nothing is left, and that nothing leaks; the full run takes about four minutes
  pictures
        The pictures in docs/: a timeline of the demo, and `--watch` in a terminal
  kill-points [--points N|all]
        A worker killed at every machine instruction of a job, and a ledger of what came of it
";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace");
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ci"] => return ci::run(root),
        ["tidy"] => tidy::run(root).inspect(|()| eprintln!("tidy; {}", tidy::unsafe_files())),
        ["api"] => api::run(root, false),
        ["api", "--check"] => api::run(root, true),
        ["features"] => features::run(root),
        ["bench", ref options @ ..] => cargo::bench(root, options),
        [name @ ("chaos" | "isolation"), ref options @ ..] => cargo::program(root, name, options),
        ["pictures"] => pictures::run(root),
        ["kill-points", ref options @ ..] => cargo::program(root, "kill_points", options),
        ["help" | "--help" | "-h"] => {
            eprint!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

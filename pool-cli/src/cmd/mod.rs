//! The commands.

use clap::CommandFactory;

use crate::args::{Args, Command};
use crate::cmd::ending::{Failure, Verdict};

mod demo;
pub(crate) mod ending;
mod hash;
mod tasks;

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<Verdict, Failure> {
    match args.command {
        Some(Command::Demo) => demo::run(args.workers.unwrap_or(demo::WORKERS)),
        Some(Command::Hash { paths }) => hash::run(&paths, args.workers),
        Some(Command::Tasks) => tasks::run(),
        None => {
            Args::command().print_long_help()?;
            Ok(Verdict::AllWell)
        }
    }
}

//! The commands.

use clap::CommandFactory;

use crate::args::{Args, Command};
use crate::cmd::ending::{Failure, Verdict};
use crate::watch::Watch;

#[cfg(feature = "redis")]
mod agent;
#[cfg(feature = "redis")]
mod cluster;
mod demo;
pub(crate) mod ending;
mod file;
mod hash;
mod machines;
mod mandelbrot;
mod manual;
mod run;
mod tasks;
mod thumbs;

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<Verdict, Failure> {
    let trace = args.trace.as_deref();
    let watch = Watch::new(args.watch);
    match args.command {
        Some(Command::Demo) => demo::run(args.workers.unwrap_or(demo::WORKERS), trace, &watch),
        Some(Command::Hash { paths, machines }) => hash::run(&paths, &machines, args.workers, trace, &watch),
        Some(Command::Thumbs(options)) => thumbs::run(&options, args.workers, trace, &watch),
        Some(Command::Mandelbrot { out, size, machines }) => {
            mandelbrot::run(&out, size, &machines, args.workers, trace, &watch)
        }
        Some(Command::Run { task, timeout, machines }) => {
            run::run(task.as_deref(), timeout, &machines, args.workers, trace, &watch)
        }
        #[cfg(feature = "redis")]
        Some(Command::Agent { redis, memory }) => agent::run(&redis, args.workers, memory, trace, args.watch),
        #[cfg(feature = "redis")]
        Some(Command::Cluster { redis, json, once }) => cluster::run(&redis, json, once),
        Some(Command::Tasks) => tasks::run(),
        Some(Command::Completions { shell }) => manual::completions(shell),
        Some(Command::Man) => manual::man(),
        None => {
            Args::command().print_long_help()?;
            Ok(Verdict::AllWell)
        }
    }
}

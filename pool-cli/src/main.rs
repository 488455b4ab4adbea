//! `pool-cli`: a walk through the pool for users of Python's, a parallel `sha256sum`, thumbnails, and tasks over JSON lines.

#![deny(unsafe_code)]

use std::process::ExitCode;

mod args;
mod cmd;
mod picture;
mod render;
mod units;
mod walk;
mod watch;

fn main() -> ExitCode {
    let failure = match cmd::run(args::Args::read()) {
        Ok(verdict) => return verdict.into(),
        Err(failure) => failure,
    };
    if !failure.is_broken_pipe() {
        render::complain(&failure.to_string());
    }
    failure.exit_code()
}

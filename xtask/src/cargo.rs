//! Running cargo, and programs through it.

use std::path::Path;
use std::process::{Command, Stdio};

/// Cargo in the project's root, with nobody to type anything.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).args(arguments).stdin(Stdio::null());
    command
}

/// An error unless it ends well.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs a program that belongs to the tests.
pub(crate) fn program(root: &Path, name: &str, options: &[&str]) -> Result<(), String> {
    let run = ["run", "--quiet", "--release", "--package", "tests", "--bin", name, "--"];
    succeed(cargo(root, &run).args(options))
}

/// Runs the benchmark: a package outside of the workspace, so its dependencies are fetched and compiled only here.
pub(crate) fn bench(root: &Path, options: &[&str]) -> Result<(), String> {
    let run = ["run", "--quiet", "--release", "--manifest-path", "xtask/bench/Cargo.toml"];
    let mut command = cargo(root, &run);
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.args(["--target-dir", "target/bench"]);
    }
    succeed(command.arg("--").args(options))
}

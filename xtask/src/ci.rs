//! Everything that must pass, section by section, with the time that each took. The tests come last.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::tidy;

/// What may be missing from a machine with only the compiler: said, and passed over.
struct Optional {
    /// Asked for its version.
    probe: &'static [&'static str],
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const CHECKS: [Optional; 3] = [
    Optional { probe: &["fmt", "--version"], arguments: &["fmt", "--all", "--check"], environment: &[] },
    Optional {
        probe: &["clippy", "--version"],
        arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        environment: &[],
    },
    Optional {
        probe: &["doc", "--version"],
        arguments: &["doc", "--workspace", "--no-deps", "--document-private-items"],
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
];

pub(crate) fn run(root: &Path) -> Result<(), String> {
    for check in &CHECKS {
        let name = format!("cargo {}", check.arguments.join(" "));
        let has_tool = cargo(root, check.probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !has_tool.is_ok_and(|status| status.success()) {
            eprintln!("-- {name}: left out, this toolchain has no `cargo {}`", check.probe[0]);
            continue;
        }
        section(&name, || succeed(cargo(root, check.arguments).envs(check.environment.iter().copied())))?;
    }
    section("cargo xtask tidy", || tidy::run(root))?;
    section("cargo test --workspace", || succeed(&mut cargo(root, &["test", "--workspace"])))
}

/// Runs the program of that name, which belongs to the tests.
pub(crate) fn chaos(root: &Path, options: &[&str]) -> Result<(), String> {
    let run = ["run", "--quiet", "--release", "--package", "tests", "--bin", "chaos", "--"];
    succeed(cargo(root, &run).args(options))
}

fn section(name: &str, body: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    eprintln!("-- {name}");
    let start = Instant::now();
    body().map_err(|error| format!("{name}: {error}"))?;
    eprintln!("-- {name}: passed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).args(arguments).stdin(Stdio::null());
    command
}

fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

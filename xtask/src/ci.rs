//! Everything that must pass, section by section, with the time that each took. The tests come last, so that their report
//! stands at the end.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::cargo::{cargo, succeed};
use crate::{api, features, tidy};

/// Tools that a machine with only the compiler lacks: a missing one is named and passed over.
struct Optional {
    /// The program of the toolchain without which it cannot be.
    needs: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const CHECKS: [Optional; 7] = [
    Optional { needs: "cargo-fmt", arguments: &["fmt", "--all", "--check"], environment: &[] },
    // Not members of the workspace: their dependencies are none of an ordinary build's business.
    Optional {
        needs: "cargo-fmt",
        arguments: &["fmt", "--check", "--manifest-path", "xtask/bench/Cargo.toml"],
        environment: &[],
    },
    Optional {
        needs: "cargo-fmt",
        arguments: &["fmt", "--check", "--manifest-path", "pool-core/fuzz/Cargo.toml"],
        environment: &[],
    },
    Optional {
        needs: "cargo-clippy",
        arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        environment: &[],
    },
    Optional {
        needs: "rustdoc",
        arguments: &["doc", "--workspace", "--no-deps", "--document-private-items"],
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    // The archives that would be published, without compiling them once more.
    Optional {
        needs: "cargo",
        arguments: &[
            "package",
            "--no-verify",
            "--offline",
            "--allow-dirty",
            "-p",
            "pool-ipc",
            "-p",
            "pool-macros",
            "-p",
            "pool-core",
            "-p",
            "pool-redis",
        ],
        environment: &[],
    },
    // Without the list of known faults, which comes from a server, and grows without a change here.
    Optional {
        needs: "cargo-deny",
        arguments: &["deny", "--offline", "check", "bans", "licenses", "sources"],
        environment: &[],
    },
];

/// Goes on after a failure: all that is wrong is told at once.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut failed = Vec::new();
    for check in &CHECKS {
        let name = format!("cargo {}", check.arguments.join(" "));
        if !has(check.needs) {
            eprintln!("-- {name}: left out, this toolchain has no {}", check.needs);
            continue;
        }
        let body = || succeed(cargo(root, check.arguments).envs(check.environment.iter().copied()));
        failed.extend(section(name, body));
    }
    failed.extend(section("cargo xtask tidy".to_owned(), || tidy::run(root)));
    failed.extend(section("cargo xtask api --check".to_owned(), || api::run(root, true)));
    failed.extend(section("cargo xtask features".to_owned(), || features::run(root)));
    failed.iter().for_each(|name| eprintln!("-- FAILED: {name}"));
    // With the faults that only tests of pool-cli need, and its commands for many machines.
    let tests = ["test", "--workspace", "--features", "pool-cli/planted,pool-cli/redis"];
    eprintln!("-- cargo {}", tests.join(" "));
    let tests = succeed(&mut cargo(root, &tests));
    if failed.is_empty() && tests.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// rustup has a program of that name even where the component is missing, but that one fails.
fn has(program: &str) -> bool {
    let mut probe = Command::new(program);
    let status = probe.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Its name, if it failed.
fn section(name: String, body: impl FnOnce() -> Result<(), String>) -> Option<String> {
    let start = Instant::now();
    let outcome = body();
    let took = start.elapsed().as_secs_f64();
    match outcome {
        Ok(()) => {
            eprintln!("-- {name}: passed in {took:.1} s");
            None
        }
        Err(error) => {
            eprintln!("-- {name}: FAILED in {took:.1} s: {error}");
            Some(name)
        }
    }
}

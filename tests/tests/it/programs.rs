//! Programs in which a pool must find its tasks, however they were built.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::trial::{Check, Setup, once};

pub(crate) fn checks() -> Vec<Check> {
    // The first time, everything is compiled.
    let backoff = Duration::from_secs(600);
    vec![
        once(an_example_finds_its_tasks_and_those_of_a_library).backoff(backoff),
        once(a_release_with_fat_lto_finds_all_tasks).backoff(backoff),
        once(a_program_with_panics_that_abort_still_tells_their_message).backoff(backoff),
        once(workers_of_a_program_that_measures_its_coverage_write_theirs).backoff(backoff),
    ]
}

/// Builds and runs the example that checks the names of its tasks.
fn run_example(options: &[&str], target: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--package", "tasks_lib", "--example", "linked", "--target-dir"]).arg(target);
    let output = cargo.args(options).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
}

/// A place beside the other builds, so that only the first run takes its time.
fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn an_example_finds_its_tasks_and_those_of_a_library(_: &Setup) {
    run_example(&[], &scratch().join("example"));
}

fn a_release_with_fat_lto_finds_all_tasks(_: &Setup) {
    let options = ["--release", "--config", "profile.release.lto='fat'", "--config", "profile.release.codegen-units=1"];
    run_example(&options, &scratch().join("lto"));
}

fn a_program_with_panics_that_abort_still_tells_their_message(_: &Setup) {
    run_example(&["--config", "profile.dev.panic='abort'"], &scratch().join("example"));
}

fn workers_of_a_program_that_measures_its_coverage_write_theirs(_: &Setup) {
    let target = scratch().join("coverage");
    let counts = target.join(format!("counts-{}", std::process::id()));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "tasks_lib", "--example", "linked", "--target-dir"]).arg(&target);
    // Programs that run during the build write coverage, too; their files are not looked at.
    cargo.env("RUSTFLAGS", "-C instrument-coverage").env("LLVM_PROFILE_FILE", "/dev/null");
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut program = Command::new(target.join("debug/examples/linked"));
    let output = program.env("LLVM_PROFILE_FILE", counts.join("%p.profraw")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = std::fs::read_dir(&counts).unwrap();
    let lengths: Vec<_> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
    // The host's file and those of its two workers.
    assert!(lengths.len() == 3 && lengths.iter().all(|length| *length > 0), "{lengths:?}");
    std::fs::remove_dir_all(counts).unwrap();
}

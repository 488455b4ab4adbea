//! The command line, and the exit codes of wrong usage; `tasks`.

use std::fs::File;
use std::process::Stdio;

use crate::cli::{COMMANDS, pool_cli, run};

#[test]
fn help_mentions_all_commands_and_has_examples() {
    let help = run(&mut pool_cli(["--help"])).expect_code(0);
    for word in COMMANDS.iter().chain(&["--workers", "--trace", "Examples:"]) {
        assert!(help.text().contains(word), "{word} in\n{}", help.text());
    }
}

#[test]
fn each_command_has_help_with_examples() {
    for command in COMMANDS {
        let help = run(&mut pool_cli([*command, "--help"])).expect_code(0);
        assert!(help.text().contains(&format!("  pool-cli {command}")), "{}", help.text());
    }
}

#[test]
fn no_arguments_are_a_request_for_help() {
    let no_arguments: [&str; 0] = [];
    let (bare, help) = (run(&mut pool_cli(no_arguments)).expect_code(0), run(&mut pool_cli(["--help"])));
    assert_eq!(bare.text(), help.text());
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let lines: [&[&str]; 5] =
        [&["--unknown"], &["sing"], &["hash"], &["demo", "--workers"], &["tasks", "--workers", "two"]];
    for line in lines {
        let outcome = run(&mut pool_cli(line)).expect_code(2);
        assert_eq!(outcome.text(), "", "{line:?}");
        assert!(outcome.err.contains("error: "), "{line:?}: {}", outcome.err);
    }
}

#[test]
fn options_of_pools_are_refused_where_there_is_none() {
    let trace = std::env::temp_dir().join("no trace");
    let options = [vec!["--workers", "2"], vec!["--trace", trace.to_str().unwrap()], vec!["--watch"]];
    for command in [&["tasks"][..], &["completions", "bash"], &["man"]] {
        for option in &options {
            let outcome = run(pool_cli(command).args(option)).expect_code(2);
            assert_eq!(outcome.text(), "");
            let text =
                format!("`{}` is an option of commands that make a pool, and `{}` makes none", option[0], command[0]);
            assert!(outcome.err.contains(&text), "{}", outcome.err);
        }
    }
    assert!(!trace.exists());
}

#[test]
fn no_workers_are_too_few() {
    for command in [&["demo"][..], &["hash", "."], &["tasks"]] {
        let outcome = run(pool_cli(command).args(["--workers", "0"])).expect_code(2);
        assert!(outcome.err.contains("at least 1"), "{command:?}: {}", outcome.err);
    }
}

#[test]
fn tasks_are_listed_with_their_place_arguments_and_result() {
    let table = run(&mut pool_cli(["tasks"])).expect_code(0);
    let line = |task: &str| {
        let lines = table.text().lines();
        lines
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>())
            .find(|cells| cells[0] == task)
            .unwrap_or_else(|| panic!("{task} in\n{}", table.text()))
    };
    let sha256 = line("sha256");
    assert_eq!(sha256[1..4], ["path: &Path", "Result<[u8; 32], String>", "pool_cli::cmd::hash"]);
    assert!(sha256[4].contains("hash.rs:"), "{sha256:?}");
    for task in ["square", "run", "nap", "visit", "crash"] {
        line(task);
    }
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    for command in [&["tasks"][..], &["demo"], &["--help"], &["hash", env!("CARGO_MANIFEST_DIR")]] {
        let (reader, writer) = std::io::pipe().expect("pipes can be made");
        drop(reader);
        let outcome = run(pool_cli(command).stdout(Stdio::from(writer))).expect_code(0);
        assert_eq!(outcome.err, "", "{command:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    for command in [&["tasks"][..], &["demo"], &["hash", env!("CARGO_MANIFEST_DIR")]] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has /dev/full");
        let outcome = run(pool_cli(command).stdout(full)).expect_code(1);
        assert_eq!(outcome.err, "pool-cli: standard output: No space left on device\n", "{command:?}");
    }
}

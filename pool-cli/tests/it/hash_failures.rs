//! `hash`, when something cannot be read: one line on stderr, exit code 1, and everything else is hashed.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{WATCHDOG, finish, pool_cli, run};
use crate::tree::Tree;

/// Hashes the path `bad` between two good files, and expects a complaint about it with this reason.
#[track_caller]
fn expect_complaint(tree: &Tree, bad: &str, shown: &str, reason: &str) {
    tree.file("a", "a");
    tree.file("z", "z");
    let outcome = run(pool_cli(["hash", "a", bad, "z"]).current_dir(tree.path())).expect_code(1);
    assert_eq!(outcome.err, format!("pool-cli: {shown}: {reason}\n"));
    let names: Vec<&str> = outcome.text().lines().map(|line| &line[66..]).collect();
    assert_eq!(names, ["a", "z"]);
}

#[test]
fn a_missing_path() {
    expect_complaint(&Tree::new("missing"), "no such", "no such", "No such file or directory");
}

#[test]
fn a_missing_path_of_two_lines_is_reported_in_one() {
    expect_complaint(&Tree::new("two-lines"), "a\nb\\c", "a\\nb\\\\c", "No such file or directory");
}

#[test]
fn a_link_to_itself() {
    let tree = Tree::new("loop");
    symlink("loop", tree.path().join("loop")).unwrap();
    expect_complaint(&tree, "loop", "loop", "Too many levels of symbolic links");
}

#[test]
fn a_path_through_a_file() {
    expect_complaint(&Tree::new("through"), "a/b", "a/b", "Not a directory");
}

#[test]
fn neither_file_nor_directory() {
    expect_complaint(&Tree::new("device"), "/dev/null", "/dev/null", "neither a file nor a directory");
}

#[test]
fn standard_input() {
    let reason = "standard input is not read here; write ./- for a file of that name";
    expect_complaint(&Tree::new("dash"), "-", "-", reason);
}

/// A file that exists and can be opened but not read, even by root: memory at address 0.
#[test]
fn a_file_that_fails_to_be_read_in_the_worker() {
    expect_complaint(&Tree::new("memory"), "/proc/self/mem", "/proc/self/mem", &reading_fails("/proc/self/mem"));
}

/// Why reading the file fails here.
fn reading_fails(path: &str) -> String {
    let error = fs::read(path).expect_err("it has no content");
    let text = error.to_string();
    text.split(" (os error").next().expect("there is a first part").to_owned()
}

#[test]
fn a_file_that_may_not_be_read() {
    let tree = Tree::new("forbidden");
    let forbid = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    let allow = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    let (file, directory) = (tree.file("file", ""), tree.file("dir/file", "").parent().unwrap().to_owned());
    forbid(&file);
    forbid(&directory);
    let can_read_all = File::open(&file).is_ok();
    if can_read_all {
        let mut note = std::io::stderr();
        let _ = writeln!(note, "skipped: this user (root?) may read everything");
    } else {
        expect_complaint(&tree, "file", "file", "Permission denied");
        expect_complaint(&tree, "dir", "dir", "Permission denied");
    }
    allow(&directory);
}

#[test]
fn a_file_that_costs_its_worker() {
    let tree = Tree::new("killed");
    tree.file("a", "a");
    tree.file("z", "z");
    // A hole that takes minutes to read.
    File::create(tree.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
    let child = pool_cli(["hash", "--workers", "2", "."]).current_dir(tree.path()).spawn().unwrap();
    let worker = the_reading_process(&tree.path().join("huge"));
    run(Command::new("kill").args(["-KILL", &worker])).expect_code(0);
    let outcome = finish(child).expect_code(1);
    let names: Vec<&str> = outcome.text().lines().map(|line| &line[66..]).collect();
    assert_eq!(names, ["./a", "./z"]);
    assert!(outcome.err.starts_with("pool-cli: ./huge: ") && outcome.err.contains("SIGKILL"), "{}", outcome.err);
    assert_eq!(outcome.err.lines().count(), 1, "{}", outcome.err);
}

/// The process that has the file open, when there is one.
fn the_reading_process(file: &Path) -> String {
    let begun = Instant::now();
    while begun.elapsed() < WATCHDOG {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            // Processes come and go, and some are none of our business.
            let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
            let mut targets = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
            if targets.any(|target| target == file) {
                return process.file_name().into_string().expect("process ids are numbers");
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody has opened {} within {WATCHDOG:?}", file.display());
}

#[test]
fn failures_do_not_stop_the_lines_that_others_read() {
    let tree = Tree::new("both");
    tree.files(300);
    let mut command = pool_cli(["hash", "nothing-1", ".", "nothing-2"]);
    let outcome = run(command.current_dir(tree.path()).stdout(Stdio::piped())).expect_code(1);
    assert_eq!(outcome.text().lines().count(), 300);
    assert_eq!(outcome.err.lines().count(), 2, "{}", outcome.err);
}

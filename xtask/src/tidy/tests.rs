//! Each rule fires where it must, and nowhere else; and the project keeps them all.

use std::path::Path;

use super::{check_arrows, check_file, run, unsafe_files};

fn findings(name: &str, text: &str) -> String {
    check_file(name, text).join("\n")
}

#[track_caller]
fn fires(name: &str, text: &str, rule: &str) {
    let findings = findings(name, text);
    assert!(findings.contains(rule), "not {rule:?} but {findings:?}");
}

const COMPLETION: &str = "pool-core/src/job/completion.rs";
const RING: &str = "pool-ipc/src/producer.rs";
const WORKER: &str = "pool-core/src/worker.rs";

#[test]
fn a_clean_file_has_no_findings() {
    assert_eq!(findings(RING, "//! A ring.\n\n// SAFETY: owned.\nlet x = unsafe { *p };\n"), "");
}

#[test]
fn each_rule_fires() {
    fires(COMPLETION, "fn main() {}", "completion.rs:1: a file begins with");
    fires(COMPLETION, "", "begins with");
    fires(COMPLETION, &"//!\n".repeat(451), "450 lines");
    fires(COMPLETION, "//!\nlet slot = 1;", "`slot` is a word of old; an outcome arrives in a `Completion`");
    fires(COMPLETION, "//!\n// SAFETY: none\nunsafe { f() }", "completion.rs:3: unsafe code belongs");
    fires(COMPLETION, "//!\n// SAFETY: none\nunsafe impl Send for Job {}", "unsafe code belongs");
    fires(RING, "//!\nunsafe { f() }", "SAFETY");
    fires(RING, "//!\nuse std::sync::atomic::AtomicU32;", "atomics belong");
    fires(WORKER, "//!\nnix::unistd::fork()", "forks");
    fires(WORKER, "//!\nlibc::fork()", "forks");
    fires(COMPLETION, concat!("//!\n// FIX", "ME"), "in an issue");
    fires(COMPLETION, concat!("//!\n// XX", "X"), "in an issue");
    fires(COMPLETION, concat!("//!\nto", "do!()"), "write it");
    fires(COMPLETION, concat!("//!\nun", "implemented!()"), "write it");
    fires(COMPLETION, concat!("//!\nstatic", " mut X: u8 = 0;"), "OnceLock");
}

#[test]
fn tests_may_be_unsafe_with_a_reason_only() {
    assert_eq!(findings("tests/src/bomb.rs", "//!\n// SAFETY: dies\nunsafe { f() }"), "");
    fires("tests/src/bomb.rs", "//!\nunsafe { f() }", "SAFETY");
}

#[test]
fn a_safety_comment_far_away_is_none() {
    fires(RING, &format!("//!\n// SAFETY: none\n{}unsafe {{ f() }}", "\n".repeat(9)), "SAFETY");
}

#[test]
fn words_in_quotes_and_comments_are_no_code() {
    assert_eq!(findings(COMPLETION, "//!\nlet text = \"unsafe { f() }\"; // unsafe { f() }"), "");
}

#[test]
fn the_text_after_a_quoted_word_is_code() {
    fires(COMPLETION, "//!\nlog(\"unsafe {\"); unsafe { f() }", "unsafe code belongs");
}

#[test]
fn arrows_go_one_way() {
    assert_eq!(check_arrows("pool-ipc", &[], "[dependencies]\nlibc.workspace = true\n"), [""; 0]);
    for form in ["pool-core.workspace = true", "pool-core = \"0.1\"", "[dev-dependencies.pool-core]"] {
        let upward = check_arrows("pool-ipc", &[], &format!("[dependencies]\n{form}\n"));
        assert_eq!(upward, ["pool-ipc/Cargo.toml: pool-ipc must not depend on pool-core"], "{form}");
    }
    assert_eq!(check_arrows("pool-core", &["pool-ipc"], "[dependencies]\npool-ipc.workspace = true\n"), [""; 0]);
}

#[test]
fn the_unsafe_files_are_told() {
    assert!(unsafe_files().contains(RING));
}

#[test]
fn the_project_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    run(root).unwrap();
}

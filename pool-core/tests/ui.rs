//! The compiler's errors about mistakes in the use of `#[pool_task]`: one file in `ui` for each, named after it.
//!
//! ```text
//! fn f(values: &mut Vec<u64>) {}
//! //~          ^^^^^^^^^^^^^ take the argument by value
//! //~ a worker's copy
//! ```
//!
//! A line with `//~` stands below the one it is about: there the compiler must report an error with that text in its
//! message, label or note, and with exactly the place under the carets, if there are any. Errors without such a
//! line fail the test, and so do lines without such an error. All else that the compiler prints is left out, for it
//! differs from one version to the next. The files in `ui/pass` must compile without even a warning.
//!
//! All files together make one package, checked by one run of cargo. A name that ends in `edition_2015` says the edition; the
//! others are of the newest.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
fn mistakes_are_explained() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut cases = sources(&tests.join("ui"));
    let mistakes = cases.len();
    cases.extend(sources(&tests.join("ui/pass")));
    assert!(0 < mistakes && mistakes < cases.len(), "no cases in {}", tests.display());

    let messages = check(&package(&cases));
    let mut failures = String::new();
    for (i, case) in cases.iter().enumerate() {
        let found = messages.iter().filter(|message| message["target"]["src_path"].as_str() == case.to_str());
        let found: Vec<_> = found.filter_map(|message| Found::read(&message["message"], case, i >= mistakes)).collect();
        let source = fs::read_to_string(case).expect("a case");
        let expected = expectations(&source);
        for found in &found {
            if !expected.iter().any(|expected| expected.is(found)) {
                writeln!(failures, "{}: not expected:\n{}", case.display(), found.rendered).unwrap();
            }
        }
        for expected in &expected {
            if !found.iter().any(|found| expected.is(found)) {
                writeln!(failures, "{}: no such error: {expected:?}\n", case.display()).unwrap();
            }
        }
        if i < mistakes && expected.is_empty() {
            writeln!(failures, "{}: without `//~`", case.display()).unwrap();
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of cases").map(|entry| entry.expect("a case").path());
    let mut sources: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "rs")).collect();
    sources.sort();
    sources
}

/// A package with a binary for each case, in cargo's folder for the files of tests. Gives that folder.
fn package(cases: &[PathBuf]) -> PathBuf {
    let this = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
    fs::create_dir_all(&folder).expect("a folder for the package");
    // `workspace`: the package is none of ours, though its folder is within.
    let mut manifest = format!(
        "[package]\nname = \"ui\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\npool-core.path = {this:?}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n"
    );
    for case in cases {
        let name = case.file_stem().expect("a name").display();
        write!(manifest, "\n[[bin]]\nname = \"{name}\"\npath = {case:?}\n").unwrap();
        if let Some((_, edition)) = name.to_string().split_once("edition_") {
            writeln!(manifest, "edition = {edition:?}").unwrap();
        }
    }
    fs::write(folder.join("Cargo.toml"), manifest).expect("a manifest");
    // The versions that have been downloaded for the workspace, so that no network is needed.
    fs::copy(this.join("../Cargo.lock"), folder.join("Cargo.lock")).expect("the workspace's lock file");
    folder
}

/// The compiler's messages on the package in `folder`.
fn check(folder: &Path) -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["check", "--bins", "--keep-going", "--offline", "--message-format=json", "--target-dir"])
        .arg(folder.join("target"))
        .current_dir(folder)
        // Flags such as `-D warnings` are for our own code.
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .stderr(Stdio::piped())
        .output()
        .expect("cargo can be run");
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let messages = lines.map(|line| serde_json::from_slice(line).expect("a message of cargo"));
    let messages: Vec<Value> = messages.collect();
    let built = messages
        .iter()
        .any(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "pool_core");
    assert!(built, "pool-core does not compile:\n{}", String::from_utf8_lossy(&output.stderr));
    messages.into_iter().filter(|message| message["reason"] == "compiler-message").collect()
}

/// An error that the compiler has reported.
#[derive(Debug)]
struct Found {
    line: u64,
    /// First column and the one behind the last, if both are on one line.
    columns: Option<(u64, u64)>,
    /// Message, labels and notes.
    text: String,
    rendered: String,
}

impl Found {
    fn read(message: &Value, case: &Path, warnings_too: bool) -> Option<Found> {
        let rendered = message["rendered"].as_str()?.to_owned();
        let main = message["message"].as_str()?;
        let level = message["level"].as_str()?;
        let spans = message["spans"].as_array()?;
        let counts = level.starts_with("error") || (warnings_too && level == "warning");
        // Without a place it is a summary, such as "aborting due to 2 previous errors".
        if !counts || spans.is_empty() {
            return None;
        }
        let primary = spans.iter().find(|span| span["is_primary"] == true)?;
        let place = in_file(primary, case);
        let number = |key: &str| place.and_then(|place| place[key].as_u64()).unwrap_or(0);
        let mut text = main.to_owned();
        let notes = message["children"].as_array()?.iter().map(|note| &note["message"]);
        for more in spans.iter().map(|span| &span["label"]).chain(notes).filter_map(Value::as_str) {
            text.push('\n');
            text.push_str(more);
        }
        let one_line = number("line_start") == number("line_end");
        let columns = one_line.then(|| (number("column_start"), number("column_end")));
        Some(Found { line: number("line_start"), columns, text, rendered })
    }
}

/// The place itself if it is in the file, else the one in the file of which the compiler came there through macros.
fn in_file<'v>(span: &'v Value, file: &Path) -> Option<&'v Value> {
    if file.ends_with(span["file_name"].as_str()?) {
        return Some(span);
    }
    in_file(span["expansion"].get("span")?, file)
}

/// A line with `//~`.
#[derive(Debug)]
struct Expectation {
    line: u64,
    columns: Option<(u64, u64)>,
    text: String,
}

impl Expectation {
    fn is(&self, found: &Found) -> bool {
        let place = self.line == found.line && (self.columns.is_none() || self.columns == found.columns);
        place && found.text.contains(&self.text)
    }
}

fn expectations(source: &str) -> Vec<Expectation> {
    let mut expectations = Vec::new();
    let mut line = 0;
    for (number, text) in (1..).zip(source.lines()) {
        let Some((indent, expected)) = text.split_once("//~") else {
            line = number;
            continue;
        };
        let before = indent.chars().count() + "//~".len();
        let carets = expected.find('^').map(|at| {
            let length = expected[at..].chars().take_while(|&c| c == '^').count();
            ((before + at + 1) as u64, (before + at + 1 + length) as u64)
        });
        let text = expected.trim_start_matches([' ', '^']).trim_end();
        expectations.push(Expectation { line, columns: carets, text: text.to_owned() });
    }
    expectations
}

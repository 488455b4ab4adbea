//! The project's rules that no other tool checks: the files that may hold unsafe code, the imports between crates, rooms and
//! files, words, prose, and how files look.

mod imports;
mod lists;
mod prose;
#[cfg(test)]
mod tests;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use self::lists::{ARROWS, ATOMICS, BANNED, CRATES, DOORS, FORKS, LINES_MAX, LONG, UNSAFE};
use self::prose::Prose;

pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut findings = Vec::new();
    let mut prose = Prose::default();
    for path in sources(root) {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        findings.extend(check_file(&name, &text));
        if has_counted_prose(&name) {
            prose.add(&text);
        }
    }
    for (member, allowed) in ARROWS {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml"));
        let manifest = manifest.map_err(|error| format!("{member}/Cargo.toml: {error}"))?;
        findings.extend(check_arrows(member, allowed, &manifest));
    }
    for &krate in CRATES {
        let graph = imports::read(&root.join(krate).join("src"))?;
        findings.extend(imports::circles(krate, &graph));
        if krate == "pool-core" {
            findings.extend(imports::wrong_doors(krate, &graph, DOORS));
        }
    }
    findings.extend(prose.findings());
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!("{} findings\n{}", findings.len(), findings.join("\n")))
}

/// For a reader of the checks that passed: the files that deserve the first look.
pub(crate) fn unsafe_files() -> String {
    format!("unsafe code, beside tests, is in\n  {}", UNSAFE.join("\n  "))
}

/// The Rust files of the project, but not the samples of mistakes that the macro's tests compile.
fn sources(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                let is_ours = !name.to_string_lossy().starts_with('.') && name != "target" && name != "ui";
                folders.extend(is_ours.then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn check_file(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    let mut report = |line: usize, what: &str| findings.push(format!("{name}:{}: {what}", line + 1));
    if !lines.first().is_some_and(|line| line.starts_with("//!")) {
        report(0, "a file begins with a `//!` line that names its subject");
    }
    if lines.len() > LINES_MAX && !LONG.contains(&name) {
        report(LINES_MAX, &format!("longer than {LINES_MAX} lines: is it still one thing?"));
    }
    for at in 0..lines.len() {
        check_line(name, &lines, at, &mut |what| report(at, what));
    }
    findings
}

fn check_line(name: &str, lines: &[&str], at: usize, report: &mut dyn FnMut(&str)) {
    let code = lines[at].split("//").next().unwrap_or_default();
    let may = |list: &[&str]| is_test(name) || list.contains(&name);
    if has(code, &["unsafe {", "unsafe impl"]) {
        if !may(UNSAFE) {
            report("unsafe code belongs into the files that xtask/src/tidy/lists.rs names");
        }
        if !has_safety_comment(&lines[..at]) {
            report("an unsafe block needs a `// SAFETY:` comment right above it");
        }
    }
    if has(code, &["sync::atomic"]) && !may(ATOMICS) {
        report("atomics belong into the files that xtask/src/tidy/lists.rs names");
    }
    if has(code, &["unistd::fork()", "libc::fork()", "libc::vfork()"]) && !may(FORKS) {
        report("only pool-core/src/launch/fork.rs forks");
    }
    for (old, new) in words::retired(lines[at]).filter(|_| !name.starts_with("xtask/src/tidy")) {
        report(&format!("`{old}` is a word of old; {new}"));
    }
    for (banned, instead) in BANNED {
        if lines[at].contains(banned) {
            report(&format!("`{banned}`: {instead}"));
        }
    }
}

/// Whether the file counts for the shares of prose: sources of the library, tests and simulations left out.
fn has_counted_prose(name: &str) -> bool {
    let is_library = name.starts_with("pool-core/src") || name.starts_with("pool-ipc/src");
    is_library && !is_test(name) && !name.contains("/simulation") && !name.contains("/hostile")
}

fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.starts_with("tests/") || name.contains("/examples/") || name.ends_with("/tests.rs")
}

/// Whether one of the words is there and not in quotes, where it is part of a message.
fn has(code: &str, words: &[&str]) -> bool {
    let is_quoted = |at: usize| code[..at].matches('"').count() % 2 == 1;
    words.iter().any(|word| code.match_indices(word).any(|(at, _)| !is_quoted(at)))
}

/// The comment may have several lines, and the statement may have begun some lines further up.
fn has_safety_comment(above: &[&str]) -> bool {
    above.iter().rev().take(8).any(|line| line.trim_start().starts_with("// SAFETY:"))
}

fn check_arrows(member: &str, allowed: &[&str], manifest: &str) -> Vec<String> {
    let names = ARROWS.iter().map(|(name, _)| *name).chain(["tasks_lib"]);
    let is_used = |name: &str| {
        let forms = [format!("{name}."), format!("{name} "), format!("{name}=")];
        let table = format!("dependencies.{name}]");
        manifest.lines().any(|line| forms.iter().any(|form| line.starts_with(form)) || line.ends_with(&table))
    };
    names
        .filter(|name| *name != member && is_used(name) && !allowed.contains(name))
        .map(|name| format!("{member}/Cargo.toml: {member} must not depend on {name}"))
        .collect()
}

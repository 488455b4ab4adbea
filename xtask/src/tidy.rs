//! The rules of the house that no other tool checks: who may be unsafe, who may depend on whom, and how files look.

use std::fs;
use std::path::{Path, PathBuf};

/// The files that may hold unsafe code. A new line here is worth a second pair of eyes.
const UNSAFE: [&str; 14] = [
    "pool-cli/src/cmd/demo/tasks.rs",
    "pool-core/src/fork_server.rs",
    "pool-core/src/launch.rs",
    "pool-core/src/lineage.rs",
    "pool-core/src/signals.rs",
    "pool-core/src/worker.rs",
    "pool-ipc/src/layout.rs",
    "pool-ipc/src/memory.rs",
    "pool-ipc/src/region.rs",
    "pool-ipc/src/ring.rs",
    "pool-ipc/src/shared.rs",
    "pool-ipc/src/sys.rs",
    "pool-macros/src/lib.rs",
    "pool-macros/src/item.rs",
];

/// Which of our crates may use which.
const ARROWS: [(&str, &[&str]); 7] = [
    ("pool-ipc", &[]),
    ("pool-macros", &[]),
    ("pool-core", &["pool-ipc", "pool-macros"]),
    ("pool-cli", &["pool-core"]),
    ("tests", &["pool-core", "tasks_lib"]),
    ("tests/tasks_lib", &["pool-core"]),
    ("xtask", &[]),
];

/// Longer files are asked for their reason.
const LINES_MAX: usize = 500;
const LONG: [(&str, &str); 1] = [("pool-core/src/pool.rs", "the public methods, three quarters of it documentation")];

/// What must not stand in the sources, and what to do instead.
const BANNED: [(&str, &str); 4] = [
    (concat!("FIX", "ME"), "do it, or say in an issue what is left"),
    (concat!("XX", "X"), "do it, or say in an issue what is left"),
    (concat!("to", "do!("), "write it"),
    (concat!("un", "implemented!("), "write it"),
];

pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut findings = Vec::new();
    for path in sources(root) {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        findings.extend(check_file(&name, &text));
    }
    for (member, allowed) in ARROWS {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml"));
        let manifest = manifest.map_err(|error| format!("{member}/Cargo.toml: {error}"))?;
        findings.extend(check_arrows(member, allowed, &manifest));
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(format!("{} findings\n{}", findings.len(), findings.join("\n")))
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
    let mut findings = Vec::new();
    let mut report = |line: usize, what: &str| findings.push(format!("{name}:{}: {what}", line + 1));
    let lines: Vec<&str> = text.lines().collect();
    if !lines.first().is_some_and(|line| line.starts_with("//!")) {
        report(0, "a file begins with a `//!` line that says what it is");
    }
    if lines.len() > LINES_MAX && !LONG.iter().any(|(long, _)| *long == name) {
        report(LINES_MAX, "longer than 500 lines: is it still one thing?");
    }
    let is_test = name.contains("/tests/") || name.starts_with("tests/") || name.contains("/examples/");
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if opens_unsafe(code) {
            if !is_test && !UNSAFE.contains(&name) {
                report(at, "unsafe code belongs into the files that xtask/src/tidy.rs lists");
            }
            if !has_safety_comment(&lines[..at]) {
                report(at, "an unsafe block needs a `// SAFETY:` comment right above it");
            }
        }
        if name.starts_with("pool-") && !is_test && code.contains("unistd::fork(") && name != "pool-core/src/launch.rs"
        {
            report(at, "only pool-core/src/launch.rs forks");
        }
        for (banned, instead) in BANNED {
            if line.contains(banned) {
                report(at, &format!("`{banned}`: {instead}"));
            }
        }
    }
    findings
}

fn opens_unsafe(code: &str) -> bool {
    // In quotes it is somebody's message.
    let is_quoted = |at: usize| code[..at].matches('"').count() % 2 == 1;
    ["unsafe {", "unsafe impl"].iter().any(|opening| code.find(opening).is_some_and(|at| !is_quoted(at)))
}

/// The comment may have several lines, and the statement may have begun some lines further up.
fn has_safety_comment(above: &[&str]) -> bool {
    above.iter().rev().take(8).any(|line| line.trim_start().starts_with("// SAFETY:"))
}

fn check_arrows(member: &str, allowed: &[&str], manifest: &str) -> Vec<String> {
    let names = ARROWS.iter().map(|(name, _)| *name).chain(["tasks_lib"]);
    let is_used = |name: &str| {
        let forms = [format!("{name}."), format!("{name} ")];
        manifest.lines().any(|line| forms.iter().any(|form| line.starts_with(form.as_str())))
    };
    names
        .filter(|name| *name != member && is_used(name) && !allowed.contains(name))
        .map(|name| format!("{member}/Cargo.toml: {member} must not depend on {name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, text: &str) -> String {
        check_file(name, text).join("\n")
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        let text = "//! A ring.\n\n// SAFETY: owned.\nlet x = unsafe { *p };\n";
        assert_eq!(findings("pool-ipc/src/ring.rs", text), "");
    }

    #[test]
    fn each_rule_fires() {
        assert!(findings("pool-core/src/job.rs", "fn main() {}").contains("begins with"));
        assert!(findings("pool-core/src/job.rs", &"//!\n".repeat(501)).contains("500 lines"));
        assert!(findings("pool-core/src/job.rs", "//!\n// SAFETY: none\nunsafe { f() }").contains("lists"));
        assert!(findings("pool-ipc/src/ring.rs", "//!\nunsafe { f() }").contains("SAFETY"));
        assert!(findings("pool-core/src/worker.rs", "//!\nnix::unistd::fork()").contains("forks"));
        assert!(findings("pool-core/src/job.rs", concat!("//!\nto", "do!()")).contains("write it"));
    }

    #[test]
    fn words_in_quotes_are_no_code() {
        assert_eq!(findings("pool-core/src/job.rs", "//!\nlet text = \"unsafe { f() }\";"), "");
    }

    #[test]
    fn arrows_go_one_way() {
        assert_eq!(check_arrows("pool-ipc", &[], "[dependencies]\nlibc.workspace = true\n"), [""; 0]);
        let upward = check_arrows("pool-ipc", &[], "[dependencies]\npool-core.workspace = true\n");
        assert_eq!(upward, ["pool-ipc/Cargo.toml: pool-ipc must not depend on pool-core"]);
    }

    #[test]
    fn the_project_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        run(root).unwrap();
    }
}

//! The cost of building a program that uses a contender: ten tasks, each mapped and called once.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::row::{Better, Row};
use crate::contender::{Contender, Outcome, Program, Refusal};
use crate::options::Scale;
use crate::procs;
use crate::timing::timed;

/// Tasks of the program.
const TASKS: usize = 10;

/// CPU seconds and seconds of the release build after a change to the program, its dependencies being built.
pub(super) fn rebuild(contender: &mut dyn Contender, _: Scale) -> Outcome<Vec<Row>> {
    let program = contender.program()?;
    let folder = folder()?;
    fs::create_dir_all(folder.join("src"))?;
    let manifest = format!(
        "[package]\nname = \"ten_tasks\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{}\n",
        program.dependency
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    let main = folder.join("src/main.rs");
    fs::write(&main, source(&program, 0))?;
    build(&folder)?;
    fs::write(&main, source(&program, 1))?;
    let before = procs::children_cpu();
    let (time, built) = timed(|| build(&folder));
    let cpu = procs::children_cpu() - before;
    built?;
    let seconds = |case: &str, time: Duration| Row::new(case, "s", Better::Lower, time.as_secs_f64());
    Ok(vec![seconds("compile_time", cpu), seconds("compile_time_elapsed", time)])
}

/// Beside this executable, so that dependencies are built once and not in each round.
fn folder() -> Outcome<PathBuf> {
    let mut path = std::env::current_exe()?;
    path.set_file_name(format!("compile-time-{}", std::env::args().nth(3).unwrap_or_default()));
    Ok(path)
}

fn source(program: &Program, version: u32) -> String {
    let mut text = program.head.to_owned();
    for task in 0..TASKS {
        let Program { attribute, .. } = program;
        let _ = write!(
            text,
            "\n{attribute}\nfn task_{task}(text: String, count: u64) -> Vec<String> {{\n    \
             (0..count + {version}).map(|i| format!(\"{{text}} {task} {{i}}\")).collect()\n}}\n"
        );
    }
    text.push_str("\nfn main() {\n    let pool = pool();\n    let items = || (0..10).map(|i| (i.to_string(), i));\n");
    for task in 0..TASKS {
        let _ = writeln!(text, "    {}", program.uses.replace("NAME", &format!("task_{task}")));
    }
    text.push_str("}\n");
    text
}

fn build(folder: &Path) -> Outcome<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet"]).current_dir(folder).stdin(Stdio::null());
    // Cargo's own words about this program's build would be taken for the other's.
    command.env_remove("CARGO_TARGET_DIR");
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Refusal::Failed(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()))
}

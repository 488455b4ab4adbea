//! The picture of `--watch`: its lines in a terminal while it hashed the project's own executables.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;

use super::text::escape;
use crate::cargo::{cargo, succeed};

const COLUMNS: usize = 96;
/// Time that the command gets.
const SECONDS: u32 = 3;

/// Runs the command in a terminal, and draws its last picture.
pub(super) fn picture(root: &Path) -> Result<String, String> {
    succeed(&mut cargo(root, &["build", "--quiet", "--package", "pool-cli"]))?;
    // By script(1), which has a terminal for it.
    let command = format!(
        "stty cols {COLUMNS} rows 24; timeout {SECONDS} target/debug/pool-cli hash --watch --workers 4 target/debug/deps \
         > /dev/null"
    );
    let mut script = std::process::Command::new("script");
    script.current_dir(root).args(["--quiet", "--command", &command, "/dev/null"]).stdin(Stdio::null());
    let output = script.output().map_err(|error| format!("script(1): {error}"))?;
    let lines = last(&String::from_utf8_lossy(&output.stdout)).ok_or("the command has drawn nothing")?;
    Ok(svg(&lines))
}

/// The last picture that is whole.
fn last(typed: &str) -> Option<Vec<String>> {
    let pictures = typed.split("\x1b[J").filter(|text| text.contains("workers: "));
    // All before the sequence that takes it away.
    let lines = |text: &str| text.lines().filter(|line| !line.starts_with(['\r', '\x1b'])).map(str::to_owned).collect();
    pictures.map(lines).last()
}

/// Sizes in the picture's units.
const LETTER: f64 = 7.3;
const LINE: f64 = 18.0;

fn svg(lines: &[String]) -> String {
    let (width, height) = (COLUMNS as f64 * LETTER + 20.0, lines.len() as f64 * LINE + 20.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"monospace\" \
         font-size=\"12\" fill=\"#ddd\" xml:space=\"preserve\">\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#222\"/>\n"
    );
    for (line, text) in (1..).zip(lines) {
        let (at, length) = (f64::from(line) * LINE + 6.0, text.chars().count() as f64 * LETTER);
        // Of this length, whatever font a viewer has.
        let _ = writeln!(svg, "<text x=\"10\" y=\"{at:.0}\" textLength=\"{length:.1}\">{}</text>", escape(text));
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_picture_is_drawn() {
        let typed = "workers: 1, up: 1 s\r\n0  waiting\r\n\r\x1b[2A\x1b[Jworkers: 1, up: 2 s\r\n0  working  a<b\r\n";
        let lines = last(typed).unwrap();
        assert_eq!(lines, ["workers: 1, up: 2 s", "0  working  a<b"]);
        assert!(svg(&lines).contains(">0  working  a&lt;b</text>"));
    }
}

//! `cargo xtask pictures`: the pictures in `docs/`: the timeline, drawn from a trace that the command line's demo has written, and that
//! of `--watch`.

mod text;
mod watch;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use self::text::escape;
use crate::cargo::{cargo, succeed};

/// Runs the demo with a trace, and draws that; and runs a command with `--watch`.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let trace = root.join("target/timeline.json");
    let path = trace.to_str().ok_or("the path of the repository is no UTF-8")?;
    let demo = ["run", "--quiet", "--package", "pool-cli", "--", "demo", "--trace", path];
    succeed(cargo(root, &demo).stdout(std::process::Stdio::null()))?;
    let text = fs::read_to_string(&trace).map_err(|error| format!("{}: {error}", trace.display()))?;
    write(root, "docs/timeline.svg", &svg(&text))?;
    write(root, "docs/watch.svg", &watch::picture(root)?)
}

fn write(root: &Path, path: &str, picture: &str) -> Result<(), String> {
    fs::write(root.join(path), picture).map_err(|error| format!("{path}: {error}"))
}

/// An event of the trace, as far as it is drawn.
struct Event<'t> {
    name: &'t str,
    thread: u32,
    at_us: f64,
    /// 0 of a moment.
    length_us: f64,
}

/// Sizes in the picture's units.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 70.0;
const LANE: f64 = 34.0;
/// Blocks from this width on have their names in them.
const NAMED_FROM: f64 = 42.0;
const LETTER: f64 = 6.2;

/// The value of a key. Each event is a line, and names of the demo's tasks have no quotes.
fn value<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
    match rest.strip_prefix('"') {
        Some(text) => Some(&text[..text.find('"')?]),
        None => Some(&rest[..rest.find([',', '}'])?]),
    }
}

fn event(line: &str) -> Option<Event<'_>> {
    let number = |key| value(line, key).and_then(|value| value.parse::<f64>().ok());
    let (thread, at_us) = (number("tid")? as u32, number("ts")?);
    Some(Event { name: value(line, "name")?, thread, at_us, length_us: number("dur").unwrap_or(0.0) })
}

fn colour(name: &str) -> &'static str {
    const COLOURS: [&str; 6] = ["#4e79a7", "#59a14f", "#b07aa1", "#edc948", "#76b7b2", "#f28e2b"];
    match name {
        "waiting" => "#e4e4e4",
        "start" | "restart" | "initializer" => "#9c755f",
        _ if name.starts_with("lost") => "#e15759",
        _ => COLOURS[name.bytes().map(usize::from).sum::<usize>() % COLOURS.len()],
    }
}

fn svg(trace: &str) -> String {
    let events: Vec<_> = trace.lines().filter_map(event).filter(|event| event.thread > 0).collect();
    let end = events.iter().map(|event| event.at_us + event.length_us).fold(1.0, f64::max);
    let lanes = events.iter().map(|event| event.thread).max().unwrap_or(0);
    let x = |us: f64| LEFT + us / end * (WIDTH - LEFT - 10.0);
    let height = 30.0 + f64::from(lanes) * LANE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for lane in 1..=lanes {
        let _ = writeln!(svg, "<text x=\"6\" y=\"{}\">worker {}</text>", f64::from(lane) * LANE - 8.0, lane - 1);
    }
    for tick in 0..=10 {
        let us = end * f64::from(tick) / 10.0;
        let (at, label) = (x(us), format!("{:.0} ms", us / 1000.0));
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{label}</text>",
            height - 8.0
        );
    }
    for event in &events {
        let (left, width) = (x(event.at_us), x(event.at_us + event.length_us) - x(event.at_us));
        let top = f64::from(event.thread) * LANE - 24.0;
        let name = escape(event.name);
        if event.length_us > 0.0 {
            let (fill, width) = (colour(event.name), width.max(0.3));
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"22\" fill=\"{fill}\"><title>{name}</title></rect>"
            );
            if width >= NAMED_FROM {
                let letters = (width / LETTER) as usize;
                let text: String = event.name.chars().take(letters).collect();
                let (left, base) = (left + 3.0, top + 15.0);
                let _ = writeln!(svg, "<text x=\"{left:.1}\" y=\"{base}\">{}</text>", escape(&text));
            }
        } else if event.name.starts_with("death") {
            let _ = writeln!(
                svg,
                "<path d=\"M{left:.1} {top}v26\" stroke=\"#c00\" stroke-width=\"2\"><title>{name}</title></path>"
            );
        }
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_and_death_is_drawn() {
        let trace = "[\n\
            {\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":1,\"args\":{\"name\":\"worker 0\"}},\n\
            {\"ph\":\"X\",\"name\":\"a<b\",\"pid\":1,\"tid\":1,\"ts\":10.0,\"dur\":90.0,\"args\":{\"task\":\"x\"}},\n\
            {\"ph\":\"i\",\"name\":\"death: killed\",\"pid\":1,\"tid\":2,\"ts\":50.0,\"s\":\"t\"}";
        let svg = svg(trace);
        assert_eq!((svg.matches("<rect ").count(), svg.matches("<path ").count()), (2, 1), "{svg}");
        assert!(svg.contains("<title>a&lt;b</title>") && svg.contains("worker 1"), "{svg}");
    }
}

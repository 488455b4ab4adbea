//! The table that a person reads.

use std::fmt::Write;

use super::Results;
use crate::cases::Case;
use crate::contenders::{Entry, OURS};

pub(crate) fn render(results: &Results, cases: &[&Case], entries: &[&Entry]) -> String {
    let mut text = String::new();
    let machine = &results.machine;
    let _ = writeln!(text, "{} × {}, Linux {}, load {:.1}", machine.cpus, machine.cpu, machine.kernel, machine.load);
    text.push_str(
        "ours in its unit, median (min–max); then how good each is beside ours: 2 is twice as good, 0.1 a tenth\n\n",
    );
    let others: Vec<_> = entries.iter().map(|entry| entry.name).filter(|name| *name != OURS).collect();
    let _ = write!(text, "{:<24}{:>26} {:<11}", "", OURS, "");
    others.iter().for_each(|name| _ = write!(text, "{name:>13}"));
    text.push('\n');
    for case in cases {
        for name in rows_of(results, case.name, cases) {
            let (ours, unit) = results.of(name, OURS).map_or((word(results, case.name, OURS), ""), |series| {
                let range = format!("({}–{})", short(series.min()), short(series.max()));
                (format!("{} {range:>17}", short(series.median())), series.unit.as_str())
            });
            let _ = write!(text, "{name:<24}{ours:>26} {unit:<11}");
            for other in &others {
                let ratio = results.beside_ours(name, other).map(short);
                let _ = write!(text, "{:>13}", ratio.unwrap_or_else(|| word(results, case.name, other)));
            }
            text.push('\n');
        }
    }
    results.absent.iter().for_each(|(name, reason)| _ = writeln!(text, "\n{name} is skipped: {reason}"));
    text.push_str(&failed_cases(results));
    text.push_str(&unfair_cases(cases, entries));
    text
}

/// The rows of a case are those that begin with its name, and with no longer name of another.
fn rows_of<'a>(results: &'a Results, case: &'a str, cases: &[&Case]) -> Vec<&'a str> {
    let owner = |row: &str| {
        let named = cases.iter().map(|case| case.name).filter(|name| row.starts_with(name));
        // Numbers of a case beside its main ones have names of their own.
        named.max_by_key(|name| name.len()).unwrap_or("scaling").to_owned()
    };
    let rows: Vec<_> = results.cases().into_iter().filter(|row| owner(row) == case).collect();
    if rows.is_empty() { vec![case] } else { rows }
}

fn word(results: &Results, case: &str, contender: &str) -> String {
    results.why_given_up(case, contender).map_or("–", |given_up| given_up.word).to_owned()
}

fn failed_cases(results: &Results) -> String {
    let mut text = String::new();
    for given_up in &results.given_up {
        if let Some(reason) = &given_up.reason {
            let _ = writeln!(text, "\n{}, {}: {}: {reason}", given_up.contender, given_up.case, given_up.word);
        }
    }
    text
}

fn unfair_cases(cases: &[&Case], entries: &[&Entry]) -> String {
    let mut text = "\nWhat is not the same for all:\n".to_owned();
    for entry in entries {
        for note in entry.notes.iter().filter(|note| cases.iter().any(|case| note.is_about(case.name))) {
            let places: String = note.cases.iter().map(|case| format!(", {case}")).collect();
            let _ = writeln!(text, "  {}{places}: {}", entry.name, note.text);
        }
    }
    text
}

/// Three digits that matter.
pub(crate) fn short(value: f64) -> String {
    let (value, suffix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}{suffix}"),
        v if v >= 10.0 => format!("{value:.1}{suffix}"),
        v if v >= 0.1 || v == 0.0 => format!("{value:.2}{suffix}"),
        v if v >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.000_12, 0.012, 0.5, 12.34, 123.4, 9999.0, 12_345.0, 1_234_567.0, 2.5e9];
        let texts = ["0.00", "1.2e-4", "0.0120", "0.50", "12.3", "123", "9999", "12.3k", "1.23M", "2.50G"];
        assert_eq!(numbers.map(short), texts);
    }
}

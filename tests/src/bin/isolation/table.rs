//! Rows of numbers beside their promises, for a person or for the README.

use std::fmt;

/// The measurements of one thing.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    /// Sorted, the worst one last.
    values: Vec<f64>,
    median_max: Option<f64>,
    worst_max: Option<f64>,
}

impl Row {
    /// Values of which the largest is the worst.
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, mut values: Vec<f64>) -> Row {
        assert!(!values.is_empty(), "something was measured");
        values.sort_by(f64::total_cmp);
        Row { what: what.into(), unit, values, median_max: None, worst_max: None }
    }

    /// Values of which the smallest is the worst, such as rates.
    pub(crate) fn rates(what: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Row {
        let mut row = Row::new(what, unit, values);
        row.values.reverse();
        row
    }

    /// The promise that the median is not more.
    pub(crate) fn median_max(self, limit: f64) -> Row {
        Row { median_max: Some(limit), ..self }
    }

    /// The promise that none is more.
    pub(crate) fn worst_max(self, limit: f64) -> Row {
        Row { worst_max: Some(limit), ..self }
    }

    fn median(&self) -> f64 {
        self.values[(self.values.len() - 1) / 2]
    }

    fn worst(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    /// Whether the promise was kept; `None` if there is none.
    pub(crate) fn verdict(&self) -> Option<bool> {
        let kept = |value: f64, limit: Option<f64>| limit.is_none_or(|limit| value <= limit);
        let is_promised = self.median_max.is_some() || self.worst_max.is_some();
        is_promised.then(|| kept(self.median(), self.median_max) && kept(self.worst(), self.worst_max))
    }

    fn promise(&self) -> String {
        let limits = [("median", self.median_max), ("each", self.worst_max)];
        let limits = limits.iter().filter_map(|(which, limit)| Some(format!("{which} ≤ {}", short((*limit)?))));
        limits.collect::<Vec<_>>().join(", ")
    }

    fn cells(&self) -> [String; 6] {
        let verdict = self.verdict().map_or("", |kept| if kept { "ok" } else { "MISSED" });
        let (median, worst) = (short(self.median()), short(self.worst()));
        [self.unit.to_owned(), median, worst, self.values.len().to_string(), self.promise(), verdict.to_owned()]
    }

    /// A row of the README's table; the last cell is the command.
    pub(crate) fn markdown(&self, case: &str) -> String {
        let [unit, median, worst, runs, promise, verdict] = self.cells();
        format!("| {} | {unit} | {median} | {worst} | {runs} | {promise} {verdict} | `--case {case}` |", self.what)
    }
}

/// The head of the rows of [`Row::markdown`].
pub(crate) const MARKDOWN_HEAD: &str = "\
| what | unit | median | worst | runs | promise | `cargo xtask isolation` |
|---|---|---|---|---|---|---|";

/// The head of the rows.
pub(crate) fn head() -> String {
    line("", &["unit", "median", "worst", "runs", "promise", ""].map(str::to_owned))
}

fn line(what: &str, [unit, median, worst, runs, promise, verdict]: &[String; 6]) -> String {
    format!("{what:<76}{unit:>5}{median:>9}{worst:>9}{runs:>5}  {promise:<26}{verdict}")
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(&self.what, &self.cells()))
    }
}

/// Three digits that mean something.
fn short(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

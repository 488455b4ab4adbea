//! The numbers of all rounds, and their medians.

pub(crate) mod table;

use serde::Serialize;

use crate::cases::Case;
use crate::cases::row::{Better, Row};
use crate::contenders::OURS;
use crate::machine::Machine;

/// Everything that was measured.
pub(crate) struct Results {
    pub(crate) machine: Machine,
    series: Vec<Series>,
    given_up: Vec<GivenUp>,
    /// Contenders that this machine does not have, with the reason.
    absent: Vec<(&'static str, &'static str)>,
}

/// One number of one contender, in all rounds.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) case: String,
    pub(crate) contender: &'static str,
    pub(crate) unit: String,
    pub(crate) better: Better,
    /// In ascending order.
    values: Vec<f64>,
    /// Numbers of the last round.
    pub(crate) quantiles: Vec<f64>,
}

/// A case that a contender does not have, or does not survive.
pub(crate) struct GivenUp {
    case: &'static str,
    contender: &'static str,
    /// The text of the table.
    pub(crate) word: &'static str,
    reason: Option<String>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    case: &'a str,
    contender: &'a str,
    unit: &'a str,
    better: Better,
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
}

impl Results {
    pub(crate) fn new(machine: Machine) -> Results {
        Results { machine, series: Vec::new(), given_up: Vec::new(), absent: Vec::new() }
    }

    pub(crate) fn add(&mut self, contender: &'static str, row: Row) {
        let known = self.series.iter_mut().find(|series| series.case == row.case && series.contender == contender);
        let series = match known {
            Some(series) => series,
            None => {
                let (case, unit, better) = (row.case, row.unit, row.better);
                let series = Series { case, contender, unit, better, values: Vec::new(), quantiles: Vec::new() };
                self.series.push(series);
                self.series.last_mut().expect("one was pushed")
            }
        };
        let at = series.values.partition_point(|value| *value < row.value);
        series.values.insert(at, row.value);
        series.quantiles = row.quantiles;
    }

    pub(crate) fn give_up(
        &mut self,
        case: &'static str,
        contender: &'static str,
        word: &'static str,
        reason: Option<String>,
    ) {
        self.given_up.push(GivenUp { case, contender, word, reason });
    }

    /// Notes that this machine does not have a contender, so that its column says so.
    pub(crate) fn leave_out(&mut self, cases: &[&Case], contender: &'static str, reason: &'static str) {
        cases.iter().for_each(|case| self.give_up(case.name, contender, "skipped", None));
        self.absent.push((contender, reason));
    }

    /// Whether there is no point in asking again.
    pub(crate) fn is_hopeless(&self, case: &str, contender: &str) -> bool {
        self.why_given_up(case, contender).is_some()
    }

    fn why_given_up(&self, case: &str, contender: &str) -> Option<&GivenUp> {
        self.given_up.iter().find(|given_up| given_up.case == case && given_up.contender == contender)
    }

    pub(crate) fn of(&self, case: &str, contender: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.case == case && series.contender == contender)
    }

    /// All rows' names, in the order in which they came first.
    pub(crate) fn cases(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for series in &self.series {
            if !names.contains(&series.case.as_str()) {
                names.push(&series.case);
            }
        }
        names
    }

    /// How good it is beside ours: 2 is twice as good, 0.1 a tenth.
    pub(crate) fn beside_ours(&self, case: &str, contender: &str) -> Option<f64> {
        let (ours, other) = (self.of(case, OURS)?, self.of(case, contender)?);
        let (ours, other) = match ours.better {
            Better::Lower => (other.median(), ours.median()),
            Better::Higher => (ours.median(), other.median()),
        };
        // Beside nothing there is no ratio, but nothing beside nothing is the same.
        if ours == other { Some(1.0) } else { (ours != 0.0).then(|| other / ours) }
    }

    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let row = |series: &Series| {
            serde_json::to_value(JsonRow {
                case: &series.case,
                contender: series.contender,
                unit: &series.unit,
                better: series.better,
                median: series.median(),
                min: series.min(),
                max: series.max(),
                runs: series.values.len(),
            })
        };
        let rows = self.series.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        serde_json::to_string_pretty(&serde_json::json!({ "machine": self.machine, "results": rows }))
    }
}

impl Series {
    pub(crate) fn median(&self) -> f64 {
        let middle = self.values.len() / 2;
        if self.values.len().is_multiple_of(2) {
            (self.values[middle - 1] + self.values[middle]) / 2.0
        } else {
            self.values[middle]
        }
    }

    pub(crate) fn min(&self) -> f64 {
        self.values[0]
    }

    pub(crate) fn max(&self) -> f64 {
        self.values[self.values.len() - 1]
    }
}

//! Runs every contender in turn, each measurement in a process of its own, and gathers the numbers.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::budget::Budget;
use crate::cases::{CASES, Case};
use crate::contenders::{self, ENTRIES, Entry, redis};
use crate::machine::Machine;
use crate::measure::{Answer, measure};
use crate::options::{Options, Scale};
use crate::report::{Results, table};
use crate::{bars, data, plot, procs};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A full run, and one with `--quick`, measure for at most so long. The rest of a quarter of an hour is for the plots.
const TIME_MAX: Duration = Duration::from_secs(14 * 60);
const QUICK_TIME_MAX: Duration = Duration::from_secs(5 * 60);

/// Rounds, if there is time for them.
const ROUNDS: usize = 7;
const QUICK_ROUNDS: usize = 3;

/// Measures everything that was asked for, and reports.
pub(crate) fn run(options: &Options) -> Outcome {
    let start = Instant::now();
    let (mut cases, entries) = (chosen_cases(options)?, chosen_entries(options)?);
    if !redis::is_installed() {
        // Once, and not for each contender.
        cases.retain(|case| {
            if case.is_by_redis {
                eprintln!("{} is left out: there is no redis-server", case.name);
            }
            !case.is_by_redis
        });
    }
    procs::adopt_orphans()?;
    let scale = Scale { steps_per_us: data::steps_per_us(), ..options.scale() };
    let mut results = Results::new(Machine::new(options.quick, scale.steps_per_us));
    for entry in &entries {
        if let Some(reason) = contenders::absence(entry.name) {
            eprintln!("{} is left out: {reason}", entry.name);
            results.leave_out(&cases, entry.name, reason);
        }
    }
    let rounds = options.rounds.unwrap_or(scale.pick(QUICK_ROUNDS, ROUNDS));
    let budget = match options.rounds {
        // A run that was asked for so many rounds has them all.
        Some(_) => Budget::unbounded(cases.len()),
        None => Budget::new(scale.pick(QUICK_TIME_MAX, TIME_MAX), rounds, cases.len()),
    };
    let mut run = Run { start, scale, budget, results };
    let mut order: Vec<_> = cases.iter().enumerate().collect();
    // Long ones last: where others use the machine, too, the time may be up before the first round is.
    order.sort_by_key(|(_, case)| case.limit);
    for round in 0..rounds {
        for &(number, case) in &order {
            // In the first round each case has at least the word that there was no time for it.
            if run.budget.is_due(number, round) && (round == 0 || run.has_time()) {
                let place = format!("round {} of {rounds}, case {} of {}", round + 1, number + 1, cases.len());
                progress(&format!("{:4.0} s: {place}: {}", start.elapsed().as_secs_f64(), case.name));
                run.measure_all(number, case, &entries, round);
            }
        }
    }
    progress("");
    let results = run.results;
    println!("{}", table::render(&results, &cases, &entries));
    println!("{}", bars::render(&results));
    if let Some(path) = &options.json {
        std::fs::write(path, results.to_json()?).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(folder) = &options.plot {
        plot::all(&results, folder)?;
    }
    eprintln!("{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// A run under way.
struct Run {
    start: Instant,
    scale: Scale,
    budget: Budget,
    results: Results,
}

impl Run {
    fn has_time(&self) -> bool {
        self.budget.limit(self.start.elapsed(), Duration::MAX).is_some()
    }

    /// Measures one case with all contenders.
    fn measure_all(&mut self, number: usize, case: &'static Case, entries: &[&'static Entry], round: usize) {
        let before = self.start.elapsed();
        // Each round begins with another one.
        for i in 0..entries.len() {
            let entry = entries[(i + round) % entries.len()];
            if !self.results.is_hopeless(case.name, entry.name) {
                self.measure(case, entry);
            }
        }
        self.budget.spend(number, self.start.elapsed() - before);
    }

    fn measure(&mut self, case: &'static Case, entry: &'static Entry) {
        let Some(limit) = self.budget.limit(self.start.elapsed(), case.limit) else {
            return self.results.give_up(case.name, entry.name, "no time", None);
        };
        match measure(case, entry, self.scale, limit) {
            Some(Answer::Rows(rows)) => rows.into_iter().for_each(|row| self.results.add(entry.name, row)),
            Some(Answer::Unsupported) => self.results.give_up(case.name, entry.name, "–", None),
            Some(Answer::Failed(text)) => self.results.give_up(case.name, entry.name, "failed", Some(text)),
            None if limit < case.limit => self.results.give_up(case.name, entry.name, "no time", None),
            None => self.results.give_up(case.name, entry.name, "hung", Some(format!("was killed after {limit:?}"))),
        }
    }
}

fn chosen_cases(options: &Options) -> Result<Vec<&'static Case>, String> {
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    let (begins, wholes): (Vec<_>, Vec<_>) = options.cases.iter().partition(|name| name.ends_with('*'));
    check_names("case", &wholes, &names)?;
    let begins = |case: &Case| begins.iter().any(|begin| case.name.starts_with(begin.trim_end_matches('*')));
    let is_chosen =
        |case: &&Case| options.cases.is_empty() || wholes.iter().any(|name| *name == case.name) || begins(case);
    Ok(CASES.iter().filter(is_chosen).collect())
}

fn chosen_entries(options: &Options) -> Result<Vec<&'static Entry>, String> {
    let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
    check_names("contender", &options.contenders, &names)?;
    let is_chosen =
        |entry: &&Entry| options.contenders.is_empty() || options.contenders.iter().any(|name| name == entry.name);
    Ok(ENTRIES.iter().filter(is_chosen).collect())
}

fn check_names<S: AsRef<str>>(what: &str, asked: &[S], known: &[&str]) -> Result<(), String> {
    match asked.iter().find(|name| !known.contains(&name.as_ref())) {
        Some(name) => Err(format!("there is no {what} {}; there are {}", name.as_ref(), known.join(", "))),
        None => Ok(()),
    }
}

/// One line that is written over, on a terminal; elsewhere a line each.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    } else if !text.is_empty() {
        eprintln!("{text}");
    }
}

//! Shows steps: the line of Python, the expected and the actual outcome, and whether they are the same.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Instant;

use pool_core::Result;

use crate::render::{Paint, Style};

/// Shows steps one after the other, and remembers those that differ.
pub(super) struct Stage<'w> {
    out: &'w mut dyn Write,
    paint: Paint,
    begun: Instant,
    steps: usize,
    differing: Vec<String>,
}

/// The outcome of a step.
#[derive(Debug)]
pub(super) struct Seen {
    what: String,
    is_expected: bool,
}

/// The outcome, in words, and whether it was expected.
pub(super) fn seen(is_expected: bool, what: impl Into<String>) -> Result<Seen> {
    Ok(Seen { what: what.into(), is_expected })
}

/// The words for an error that a step provokes.
pub(super) fn words(error: &pool_core::Error) -> String {
    format!("{:?}: {error}", error.kind())
}

/// The title of a step, in Python and in words. Texts of several lines are indented.
#[derive(Debug)]
pub(super) struct Step<P, E> {
    pub(super) title: &'static str,
    pub(super) python: P,
    pub(super) expected: E,
}

impl<'w> Stage<'w> {
    pub(super) fn new(out: &'w mut dyn Write, paint: Paint) -> Self {
        Stage { out, paint, begun: Instant::now(), steps: 0, differing: Vec::new() }
    }

    /// Words to the audience.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Shows one step. An error that `body` did not expect makes it differ.
    pub(super) fn step<P: Display, E: Display>(
        &mut self,
        step: Step<P, E>,
        body: impl FnOnce() -> Result<Seen>,
    ) -> io::Result<()> {
        self.steps += 1;
        let heading = format!("{:2}. {}", self.steps, step.title);
        writeln!(self.out, "\n{}", self.paint.text(Style::Bold, &heading))?;
        self.lines("Python", step.python)?;
        self.lines("expected", step.expected)?;
        // Workers write to the same place, and their lines must come after this one.
        self.out.flush()?;
        let Seen { what, is_expected } =
            body().unwrap_or_else(|error| Seen { what: words(&error), is_expected: false });
        self.lines("happened", what)?;
        let verdict = if is_expected {
            self.paint.text(Style::Green, "ok")
        } else {
            self.differing.push(heading);
            self.paint.text(Style::Red, "DIFFERS")
        };
        writeln!(self.out, "    {verdict}")?;
        self.out.flush()
    }

    fn lines(&mut self, label: &str, text: impl Display) -> io::Result<()> {
        let mut label = label;
        for line in text.to_string().lines() {
            writeln!(self.out, "    {} {line}", self.paint.text(Style::Dim, format_args!("{label:9}")))?;
            label = "";
        }
        Ok(())
    }

    /// Says how it went; whether everything was as expected.
    pub(super) fn summary(self) -> io::Result<bool> {
        let (steps, seconds) = (self.steps, self.begun.elapsed().as_secs_f64());
        if self.differing.is_empty() {
            let verdict = self.paint.text(Style::Green, "all as expected");
            writeln!(self.out, "\n{steps} steps in {seconds:.1} s, {verdict}.")?;
        } else {
            let verdict = self.paint.text(Style::Red, format_args!("{} differ", self.differing.len()));
            writeln!(self.out, "\n{steps} steps in {seconds:.1} s, {verdict}:")?;
            for heading in &self.differing {
                writeln!(self.out, "  {heading}")?;
            }
        }
        self.out.flush()?;
        Ok(self.differing.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(body: impl FnOnce() -> Result<Seen>) -> (bool, String) {
        let mut out = Vec::new();
        let mut stage = Stage::new(&mut out, Paint::off());
        stage.step(Step { title: "A step", python: "pass", expected: "nothing" }, body).unwrap();
        let is_all_well = stage.summary().unwrap();
        (is_all_well, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_expected_is_ok() {
        let (is_all_well, text) = show(|| seen(true, "nothing,\nindeed"));
        assert!(is_all_well, "{text}");
        assert!(text.contains("happened  nothing,") && text.contains("indeed"), "{text}");
        assert!(!text.contains("DIFFERS"), "{text}");
    }

    #[test]
    fn what_is_not_expected_differs_and_stands_in_the_summary() {
        let (is_all_well, text) = show(|| seen(false, "something"));
        assert!(!is_all_well, "{text}");
        assert!(text.contains("DIFFERS"), "{text}");
        assert_eq!(text.matches("1. A step").count(), 2, "{text}");
    }
}

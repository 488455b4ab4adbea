//! How comments read, as two shares: lines that hang on a question word, and reasons that are given at the line.

use super::lists::{HANGING_MAX_PERCENT, HANGING_WORDS, REASONS_MIN_PERCENT};

/// Lines of sources by their kind, tests left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Prose {
    /// All lines that are not blank.
    lines: usize,
    /// Lines of comments of any kind, documentation included.
    comments: usize,
    /// Lines of comments that have a question word.
    hanging: usize,
    /// Lines of comments that are no documentation: they give a reason for the code below, or say why it is sound.
    reasons: usize,
}

impl Prose {
    /// Adds the lines of a file, except for its unit tests at the end.
    pub(super) fn add(&mut self, text: &str) {
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for line in code.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.lines += 1;
            let Some(comment) = line.strip_prefix("//") else { continue };
            self.comments += 1;
            self.reasons += usize::from(!comment.starts_with(['/', '!']));
            let mut words = comment.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
            self.hanging += usize::from(words.any(|word| HANGING_WORDS.contains(&word.as_str())));
        }
    }

    /// The shares that are past their bounds.
    pub(super) fn findings(self) -> Vec<String> {
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let (hanging, reasons) = (share(self.hanging, self.comments), share(self.reasons, self.lines));
        let mut findings = Vec::new();
        if hanging > HANGING_MAX_PERCENT {
            let words = HANGING_WORDS.join(", ");
            findings.push(format!(
                "{hanging:.2} % of the comment lines hang on {words}; at most {HANGING_MAX_PERCENT} % may"
            ));
        }
        if reasons < REASONS_MIN_PERCENT {
            findings.push(format!(
                "{reasons:.2} % of the lines are reasons given at the line; at least {REASONS_MIN_PERCENT} % should be"
            ));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prose(text: &str) -> Prose {
        let mut prose = Prose::default();
        prose.add(text);
        prose
    }

    #[test]
    fn lines_are_told_apart() {
        let text = "//! A ring.\n\n// Because of that.\nlet x = 1; // not counted\n/// Whoever reads.\nfn f() {}\n";
        assert_eq!(prose(text), Prose { lines: 5, comments: 3, hanging: 1, reasons: 1 });
        let with_tests = format!("{text}\n#[cfg(test)]\nmod tests {{\n// what\n}}\n");
        assert_eq!(prose(&with_tests), prose(text));
    }

    #[test]
    fn shares_past_their_bounds_are_found() {
        let hangs = prose("// what\n// who\ncode\n").findings();
        assert!(hangs.len() == 1 && hangs[0].contains("100.00 % of the comment lines"), "{hangs:?}");
        let bare = prose(&"code\n".repeat(99)).findings();
        assert!(bare.len() == 1 && bare[0].contains("0.00 % of the lines are reasons"), "{bare:?}");
        assert_eq!(prose(&("// because\n".to_owned() + &"code\n".repeat(9))).findings(), [""; 0]);
    }
}

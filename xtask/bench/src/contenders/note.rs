//! Remarks on a comparison.

/// A reason why a comparison is not fair.
pub(crate) struct Note {
    /// The beginnings of the names of the cases that it is about; none means all.
    pub(crate) cases: &'static [&'static str],
    pub(crate) text: &'static str,
}

impl Note {
    pub(crate) fn is_about(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|begin| case.starts_with(begin))
    }
}

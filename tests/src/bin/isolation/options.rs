//! The command line.

pub(crate) const USAGE: &str = "usage: isolation [--quick | --tiny] [--case NAME]... [--markdown]";

/// A run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) size: Size,
    /// Names of cases; none means all.
    pub(crate) cases: Vec<String>,
    pub(crate) markdown: bool,
}

/// How often things are done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Size {
    /// For the test suite.
    Tiny,
    Quick,
    #[default]
    Full,
}

impl Size {
    /// One of three numbers: of a tiny run, a quick one and a full one.
    pub(crate) fn of<T: Copy>(self, numbers: [T; 3]) -> T {
        numbers[self as usize]
    }
}

impl Options {
    /// `None` if the command line cannot be understood.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
        let mut options = Options::default();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--tiny" => options.size = Size::Tiny,
                "--quick" => options.size = Size::Quick,
                "--markdown" => options.markdown = true,
                "--case" => options.cases.push(arguments.next()?),
                _ => return None,
            }
        }
        Some(options)
    }
}

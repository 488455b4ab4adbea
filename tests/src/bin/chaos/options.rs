//! The command line.

pub(crate) const USAGE: &str = "usage: chaos [--seconds S] [--workers N] [--seed K] [--plant lost|doubled|wrong]";

/// A run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seconds: u64,
    pub(crate) workers: usize,
    pub(crate) seed: u64,
    /// A fault that is put into the books, to see that it is found.
    pub(crate) plant: Option<Fault>,
}

/// Faults that must never happen to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Lost,
    Doubled,
    Wrong,
}

impl Options {
    /// `None` if the command line cannot be understood.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
        let mut options = Options { seconds: 10, workers: 4, seed: 1, plant: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match name.as_str() {
                "--seconds" => options.seconds = value.parse().ok()?,
                "--workers" => options.workers = value.parse().ok().filter(|workers| *workers > 0)?,
                "--seed" => options.seed = value.parse().ok()?,
                "--plant" => options.plant = Some(Fault::parse(&value)?),
                _ => return None,
            }
        }
        Some(options)
    }
}

impl Fault {
    fn parse(text: &str) -> Option<Fault> {
        match text {
            "lost" => Some(Fault::Lost),
            "doubled" => Some(Fault::Doubled),
            "wrong" => Some(Fault::Wrong),
            _ => None,
        }
    }
}

//! The variables of the environment in which workers differ from their host.
//!
//! A variable with one value is part of the environment with which the fork server is started. If its values differ, the
//! fork server gets all of them in another variable, and sets each worker's between `fork` and anything else, so that also
//! an executable that is started anew begins with it.

#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Variables for workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerEnv(Vec<Variable>);

#[derive(Clone, Debug)]
struct Variable {
    name: OsString,
    /// Worker `i` gets the value `i % len`.
    values: Vec<OsString>,
}

/// The beginning of the names of variables that hold values for several workers. Each version of this crate in a program has
/// its own.
const PREFIX: &str = concat!("POOL_CORE_ENV_", env!("CARGO_PKG_VERSION"), "_");

impl WorkerEnv {
    /// Sets a variable, in place of an earlier one of the same name.
    #[cfg(feature = "remote")]
    pub(crate) fn has_any(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn set(&mut self, name: OsString, values: Vec<OsString>) {
        // Replaced, as by setenv(3), so that one name has one list.
        self.0.retain(|variable| variable.name != name);
        self.0.push(Variable { name, values });
    }

    /// The reason why some of it cannot be an environment.
    pub(crate) fn defect(&self) -> Option<String> {
        self.0.iter().find_map(|Variable { name, values }| {
            let (text, bytes) = (name.display(), name.as_bytes());
            if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
                Some(format!(
                    "the name of a variable is not empty and has no `=` and no zero byte, and this is {name:?}"
                ))
            } else if values.is_empty() {
                Some(format!("a variable of workers needs at least one value, and `{text}` has none"))
            } else if values.iter().any(|value| value.as_bytes().contains(&0)) {
                Some(format!("a value of `{text}` has a zero byte"))
            } else {
                None
            }
        })
    }

    /// The host's variables as a fork server begins with them.
    pub(crate) fn over(&self, host: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
        let is_replaced =
            |name: &OsStr| self.0.iter().any(|variable| variable.name == name && variable.values.len() == 1);
        let mut all: Vec<_> =
            host.filter(|(name, _)| !is_replaced(name) && !name.as_bytes().starts_with(PREFIX.as_bytes())).collect();
        // Behind the host's variables: of two with one name most programs find the first, so none is there twice.
        all.extend(self.0.iter().map(|Variable { name, values }| match &values[..] {
            [value] => (name.clone(), value.clone()),
            values => ([OsStr::new(PREFIX), name].into_iter().collect(), join(values)),
        }));
        all
    }

    /// Takes the variables for several workers out of the environment of this fork server.
    pub(crate) fn take() -> WorkerEnv {
        // Gathered before any is removed: an iterator over the environment must not see it change.
        let theirs = std::env::vars_os().filter_map(|(key, joined)| {
            let name = key.as_bytes().strip_prefix(PREFIX.as_bytes())?.to_vec();
            Some((key, Variable { name: OsString::from_vec(name), values: split(&joined) }))
        });
        let (keys, variables): (Vec<_>, Vec<_>) = theirs.collect::<Vec<_>>().into_iter().unzip();
        for key in keys {
            // SAFETY:
            // - the caller is a constructor, so this process has one thread.
            unsafe { std::env::remove_var(key) };
        }
        WorkerEnv(variables)
    }

    /// Sets the variables of this worker, which has just been forked.
    pub(crate) fn apply(&self, worker: u32) {
        for Variable { name, values } in self.0.iter().filter(|variable| !variable.values.is_empty()) {
            // SAFETY:
            // - a process that has just been forked has one thread.
            unsafe { std::env::set_var(name, &values[worker as usize % values.len()]) };
        }
    }
}

/// The values, each behind its length in decimal digits and a colon.
fn join(values: &[OsString]) -> OsString {
    let each = values.iter().map(|value| [format!("{}:", value.len()).as_bytes(), value.as_bytes()].concat());
    OsString::from_vec(each.collect::<Vec<_>>().concat())
}

fn split(joined: &OsStr) -> Vec<OsString> {
    // Lengths and no separator, since a value may hold any byte but zero.
    let (mut rest, mut values) = (joined.as_bytes(), Vec::new());
    while let Some(colon) = rest.iter().position(|&byte| byte == b':') {
        let (length, behind) = (&rest[..colon], &rest[colon + 1..]);
        let Some(length) = str::from_utf8(length).ok().and_then(|length| length.parse().ok()) else { break };
        let Some((value, behind)) = behind.split_at_checked(length) else { break };
        values.push(OsStr::from_bytes(value).to_owned());
        rest = behind;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_values_come_back() {
        let values = ["", "a", "3:b:", "ünicode"].map(OsString::from);
        assert_eq!(split(&join(&values)), values);
        assert!(split(&join(&[])).is_empty() && split(OsStr::new("7:short")).is_empty());
    }

    #[test]
    fn one_value_takes_the_place_of_the_hosts() {
        let mut env = WorkerEnv::default();
        for (name, values) in [("A", &["0"][..]), ("A", &["1"]), ("B", &["2", "3"])] {
            env.set(name.into(), values.iter().map(OsString::from).collect());
        }
        let host = [("A", "x"), ("B", "y"), ("C", "z")].map(|(name, value)| (name.into(), value.into()));
        let both = |(name, value): (OsString, OsString)| format!("{}={}", name.display(), value.display());
        let found: Vec<_> = env.over(host.into_iter()).into_iter().map(both).collect();
        assert_eq!(found, ["B=y", "C=z", "A=1", &format!("{PREFIX}B=1:21:3")]);
    }
}

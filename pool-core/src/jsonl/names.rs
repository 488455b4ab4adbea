//! From a name to the task: by its path, or by as much of its end as tells it from others.

use crate::task::table::{Entry, tasks};

/// The task of this name.
///
/// # Errors
///
/// In words: there is none, with names that are like it, or there are several.
pub(super) fn find(name: &str) -> Result<&'static Entry, String> {
    let tasks = tasks();
    // A whole path first: it may also be the end of another one.
    let of_path: Vec<_> = tasks.iter().filter(|task| task.path() == name).collect();
    let found = if of_path.is_empty() {
        // With the colons, so that `quare` is no name of `square`.
        let end = format!("::{name}");
        tasks.iter().filter(|task| task.path().ends_with(&end)).collect()
    } else {
        of_path
    };
    match found[..] {
        [task] => Ok(task),
        [] => Err(unknown(name, tasks.iter().flat_map(|task| [task.name().to_owned(), task.path()]))),
        _ => {
            let place = |task: &&&Entry| format!("`{}` at {}:{}", task.path(), task.file(), task.line());
            let places: Vec<_> = found.iter().map(place).collect();
            Err(format!("`{name}` is the name of {} tasks: {}", found.len(), places.join(", ")))
        }
    }
}

/// Names that are offered.
const OFFERED_MAX: usize = 3;

fn unknown(name: &str, known: impl Iterator<Item = String>) -> String {
    // One mistake in three letters is a typo; more of them make another word.
    let most = (name.chars().count() / 3).max(1);
    let near = known.map(|known| (distance(name, &known), known)).filter(|(distance, _)| *distance <= most);
    let mut near: Vec<_> = near.collect();
    // The nearest first, and of equals always the same.
    near.sort();
    near.dedup();
    near.truncate(OFFERED_MAX);
    let near: Vec<_> = near.into_iter().map(|(_, name)| format!("`{name}`")).collect();
    let hint = if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(" or ")) };
    format!("there is no task `{name}`{hint}")
}

/// The number of letters to put in, take out, replace, or exchange with their neighbours, to make one word of the other
/// (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=other.len()).collect());
    let mut previous = None;
    for (i, letter) in one.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, &theirs) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(letter != theirs);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if j > 0 && previous == Some(theirs) && letter == other[j - 1] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        previous = Some(letter);
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let cases = [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("square", "sqare", 1), ("square", "sqaure", 1)];
        for (one, other, expected) in cases.into_iter().chain([("kitten", "sitting", 3), ("größe", "grösse", 2)]) {
            assert_eq!((distance(one, other), distance(other, one)), (expected, expected), "{one} {other}");
        }
    }

    #[test]
    fn names_that_are_near_are_offered() {
        let known = || ["square", "m::square", "sum", "cube"].map(str::to_owned).into_iter();
        assert_eq!(unknown("sqare", known()), "there is no task `sqare`: did you mean `square`?");
        assert_eq!(unknown("cub", known()), "there is no task `cub`: did you mean `cube`?");
        assert_eq!(
            unknown("n::square", known()),
            "there is no task `n::square`: did you mean `m::square` or `square`?"
        );
        assert_eq!(unknown("other", known()), "there is no task `other`");
    }
}

//! Words of old that are gone from the names in the code.

use super::lists::RETIRED_WORDS;

/// The retired words that stand in names of this line, each with the word that took its place. Comments and text in quotes
/// are plain English, where they may mean what they say.
pub(super) fn retired(line: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let words = name_words(line);
    RETIRED_WORDS.iter().filter(move |(old, _)| words.iter().any(|word| word == old))
}

/// The words of the names in a line of code, in lower case: names are taken apart at underscores and capitals.
fn name_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut before, mut is_quoted) = (' ', false);
    for letter in line.split("//").next().unwrap_or_default().chars() {
        if letter == '"' && before != '\\' {
            is_quoted = !is_quoted;
        }
        let begins = letter.is_uppercase() && before.is_lowercase();
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric() && !is_quoted {
            words.last_mut().expect("never empty").extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let words = name_words("let slot_ref: SlotRef = f(RACK, \"desk\"); // station");
        assert_eq!(words, ["let", "slot", "ref", "slot", "ref", "f", "rack"]);
    }

    #[test]
    fn a_planted_word_is_found() {
        let found: Vec<_> = retired("fn take_slots(rack: &Rack, slot: SlotRef) {}").map(|(old, _)| *old).collect();
        assert_eq!(found, ["slot", "rack"]);
        assert_eq!(retired("let completion = \"a slot\"; // the rack").count(), 0);
    }
}

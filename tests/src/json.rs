//! A strict reader of JSON (RFC 8259). The reader that everybody uses would make the types of literals in all checks ambiguous.

use std::collections::BTreeMap;
use std::ops::Index;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "these are JSON's own words")]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// The member of an object; null if there is none.
impl Index<&str> for Json {
    type Output = Json;

    fn index(&self, key: &str) -> &Json {
        let Json::Object(members) = self else { return &Json::Null };
        members.get(key).unwrap_or(&Json::Null)
    }
}

impl Json {
    /// Reads a text that is one value.
    ///
    /// # Errors
    ///
    /// What stands where something else must.
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut reader = Reader { rest: text };
        let value = reader.value()?;
        reader.skip_blanks();
        if reader.rest.is_empty() { Ok(value) } else { Err(reader.unexpected("the end")) }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        if let Json::Number(number) = self { Some(*number) } else { None }
    }

    /// The number, if it is a whole one.
    pub fn count(&self) -> Option<u64> {
        self.number().filter(|number| *number >= 0.0 && number.fract() == 0.0).map(|number| number as u64)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn unexpected(&self, wanted: &str) -> String {
        format!("{wanted} is missing before {:?}", self.rest.chars().take(60).collect::<String>())
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes the mark if it stands next.
    fn has(&mut self, mark: &str) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(mark);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, mark: &str) -> Result<(), String> {
        if self.has(mark) { Ok(()) } else { Err(self.unexpected(mark)) }
    }

    fn value(&mut self) -> Result<Json, String> {
        let words = [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
        if let Some((_, value)) = words.into_iter().find(|(word, _)| self.has(word)) {
            return Ok(value);
        }
        if self.has("[") {
            let mut items = Vec::new();
            let mut is_open = !self.has("]");
            while is_open {
                items.push(self.value()?);
                is_open = self.has(",");
                if !is_open {
                    self.expect("]")?;
                }
            }
            return Ok(Json::Array(items));
        }
        if self.has("{") {
            let mut members = BTreeMap::new();
            let mut is_open = !self.has("}");
            while is_open {
                self.expect("\"")?;
                let key = self.text()?;
                self.expect(":")?;
                let value = self.value()?;
                if members.insert(key, value).is_some() {
                    return Err(self.unexpected("a key of its own"));
                }
                is_open = self.has(",");
                if !is_open {
                    self.expect("}")?;
                }
            }
            return Ok(Json::Object(members));
        }
        if self.has("\"") { self.text().map(Json::Text) } else { self.a_number() }
    }

    /// The rest of a text whose first quote has been taken.
    fn text(&mut self) -> Result<String, String> {
        let mut text = String::new();
        loop {
            let mut letters = self.rest.chars();
            let letter = letters.next();
            let mut taken = letters.as_str();
            match letter {
                Some('"') => {
                    self.rest = taken;
                    return Ok(text);
                }
                Some('\\') => {
                    let escaped = letters.next();
                    taken = letters.as_str();
                    text.push(match escaped {
                        Some(letter @ ('"' | '\\' | '/')) => letter,
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some('u') => {
                            let code = taken.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
                            taken = taken.get(4..).unwrap_or_default();
                            code.and_then(char::from_u32).ok_or_else(|| self.unexpected("a letter's number"))?
                        }
                        _ => return Err(self.unexpected("an escaped letter")),
                    });
                }
                Some(letter) if letter >= ' ' => text.push(letter),
                _ => return Err(self.unexpected("a quote")),
            }
            self.rest = taken;
        }
    }

    fn a_number(&mut self) -> Result<Json, String> {
        let end =
            self.rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let number =
            digits.parse().ok().filter(|_| digits.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']));
        let number = number.ok_or_else(|| self.unexpected("a value"))?;
        self.rest = rest;
        Ok(Json::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn values_are_read() {
        let value = Json::parse(r#" [ {"a b": -1.5e3, "c": "x\"\u00e9\\"}, [], {}, null, true ] "#).unwrap();
        let Json::Array(items) = &value else { panic!("{value:?}") };
        assert_eq!((items[0]["a b"].number(), items[0]["c"].text()), (Some(-1500.0), Some("x\"é\\")));
        assert_eq!((items.len(), &items[3], &items[0]["none"]), (5, &Json::Null, &Json::Null));
    }

    #[test]
    fn others_are_refused() {
        for text in
            ["", "[", "[1,]", "[1 2]", r#"{"a":1,}"#, r#"{"a":1,"a":2}"#, "{a:1}", "\"\n\"", "\"", "[1]]", ".5", "nul"]
        {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }
}

//! Tokens as a person writes them.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

/// A type in the usual spacing, `Option<&str>`, where the tokens' own `to_string` gives `Option < & str >`.
pub(crate) fn of(tokens: impl ToTokens) -> String {
    let mut text = String::new();
    write(tokens.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{ ", " }"),
                    Delimiter::None => ("", ""),
                };
                if !open.is_empty() {
                    part_from_word(text);
                }
                text.push_str(open);
                write(group.stream(), text);
                // Behind the last comma of `(T,)`.
                text.truncate(text.trim_end_matches(' ').len());
                text.push_str(close);
            }
            TokenTree::Ident(word) => {
                part_from_word(text);
                text.push_str(&word.to_string());
            }
            TokenTree::Literal(literal) => {
                part_from_word(text);
                text.push_str(&literal.to_string());
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ':' if punct.spacing() == Spacing::Alone && !text.ends_with(':') => text.push_str(": "),
                '>' if text.ends_with('-') => text.push_str("> "),
                mark @ (',' | ';') => text.extend([mark, ' ']),
                mark @ ('=' | '+') => text.extend([' ', mark, ' ']),
                '-' => text.push_str(" -"),
                '&' => {
                    part_from_word(text);
                    text.push('&');
                }
                mark => text.push(mark),
            },
        }
    }
}

/// A space, if the token before would run into a word.
fn part_from_word(text: &mut String) {
    if text.ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == '>') {
        text.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::TokenStream;

    #[test]
    fn types_stay_as_written() {
        let cases = [
            "u64",
            "&str",
            "&'_ [u8]",
            "&&str",
            "(&str, u32)",
            "(u8,)",
            "()",
            "[f64; 4]",
            "Vec<Option<(u8, &[char])>>",
            "::std::borrow::Cow<'_, str>",
            "<Vec<u8> as IntoIterator>::Item",
            "HashMap<String, Box<[u8]>>",
        ];
        for case in cases {
            let tokens: TokenStream = case.parse().expect("tokens");
            assert_eq!(super::of(tokens), case);
        }
    }
}

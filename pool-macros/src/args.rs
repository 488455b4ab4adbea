//! The options in the parentheses of `#[pool_task(...)]`.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, Parser};
use syn::spanned::Spanned;
use syn::{Error, LitInt, LitStr, Path, Result, Token, Type};

use crate::errors::Kind;
use crate::item::Function;
use crate::text;
use crate::types;

/// The options of the attribute.
pub(crate) struct Args {
    /// The limit on the time of an item, in nanoseconds.
    pub(crate) timeout: Option<u64>,
    /// The time that a cancelled item has to end, in nanoseconds.
    pub(crate) grace: Option<u64>,
    /// Further attempts after a worker's death.
    pub(crate) retries: Option<u32>,
    /// These are for panics, too.
    pub(crate) retry_panics: bool,
    /// Items may report.
    pub(crate) reports: bool,
    /// Items that a lazy map may have out.
    pub(crate) prefetch: Option<usize>,
    /// The variant of `Priority`.
    pub(crate) priority: Option<&'static str>,
    /// The format of values that are neither bytes, text nor plain numbers.
    pub(crate) codec: Codec,
    /// Where `pool-core` is found.
    pub(crate) krate: Path,
}

/// A format of values.
#[derive(Clone, Copy)]
pub(crate) enum Codec {
    Default,
    Cbor,
}

impl Codec {
    /// The name by which two programs compare it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Codec::Default => "default",
            Codec::Cbor => "cbor",
        }
    }

    /// The trait of `__private` with the method that picks it.
    pub(crate) fn picker(self) -> Ident {
        let name = match self {
            Codec::Default => "PickSerde",
            Codec::Cbor => "PickCbor",
        };
        Ident::new(name, Span::mixed_site())
    }

    /// The traits that pick it, for a task with this result: the foreign errors of a `Result` have codecs of their own.
    pub(crate) fn pickers(self, output: &Type) -> Vec<Ident> {
        let of_results: &[&str] = match self {
            // Each trait in scope is one more that the compiler tries for each value, so other tasks go without.
            _ if !types::is_result(output) => &[],
            Codec::Default => &["PickIoResult", "PickAnyResult"],
            Codec::Cbor => &["PickIoResultCbor", "PickAnyResultCbor"],
        };
        let of_results = of_results.iter().map(|name| Ident::new(name, Span::mixed_site()));
        std::iter::once(self.picker()).chain(of_results).collect()
    }
}

impl Args {
    /// Reads the options.
    pub(crate) fn parse(tokens: TokenStream, kind: Kind) -> Result<Args> {
        let mut args = Args {
            timeout: None,
            grace: None,
            retries: None,
            retry_panics: false,
            reports: false,
            prefetch: None,
            priority: None,
            codec: Codec::Default,
            krate: syn::parse_quote!(::pool_core),
        };
        check_names(&tokens, kind)?;
        let mut seen = Vec::new();
        syn::meta::parser(|meta| args.option(&mut seen, &meta, kind)).parse2(tokens)?;
        Ok(args)
    }

    /// Refuses options that such a function cannot have.
    pub(crate) fn check_for(&self, function: &Function) -> Result<()> {
        let has_retries = self.retries.is_some() || self.retry_panics;
        if function.part.is_none() || !has_retries && self.prefetch.is_none() {
            return Ok(());
        }
        let text = if has_retries {
            "a function that writes a part of an array cannot be retried: the part may be half written"
        } else {
            "a function that writes a part of an array is for `map_chunks_mut`, which is not lazy: leave `prefetch` out"
        };
        Err(Error::new_spanned(&function.name, text))
    }

    fn option(&mut self, seen: &mut Vec<String>, meta: &ParseNestedMeta<'_>, kind: Kind) -> Result<()> {
        let name = text::of(&meta.path);
        if seen.contains(&name) {
            return Err(meta.error(format!("`{name}` is given twice")));
        }
        match name.as_str() {
            "timeout" => self.timeout = Some(timeout(meta, TIMEOUT_FORM)?),
            "codec" => self.codec = codec(meta)?,
            "crate" => self.krate = krate(meta)?,
            _ if kind == Kind::State => {
                let known = "`timeout`, `codec` and `crate`";
                return Err(meta.error(format!("unknown option `{name}` of a state: there are {known}")));
            }
            "grace" => self.grace = Some(timeout(meta, GRACE_FORM)?),
            "retries" => self.retries = Some(retries(meta)?),
            "retry_panics" => self.retry_panics = flag(meta, RETRY_PANICS_FORM)?,
            "reports" => self.reports = flag(meta, REPORTS_FORM)?,
            "prefetch" => self.prefetch = Some(prefetch(meta)?),
            "priority" => self.priority = Some(priority(meta)?),
            _ => {
                let known = "`timeout`, `grace`, `retries`, `retry_panics`, `reports`, `prefetch`, `priority`, `codec` and `crate`";
                return Err(meta.error(format!("unknown option `{name}`: there are {known}")));
            }
        }
        seen.push(name);
        Ok(())
    }
}

const TIMEOUT_FORM: &str = "`timeout = \"2s\"`: a time above zero in ms, s, m or h";
const GRACE_FORM: &str = "`grace = \"500ms\"`: a time above zero in ms, s, m or h";
const RETRIES_FORM: &str = "`retries = 3`: a whole number from 0 to 4294967295";

const PREFETCH_FORM: &str = "`prefetch = 100`: a whole number from 1";
const PRIORITY_FORM: &str = "`priority = \"high\"`: `\"low\"`, `\"normal\"` or `\"high\"`";

const CODEC_FORM: &str = "`codec = \"cbor\"`: the name of a format";

const CRATE_FORM: &str = "`crate = pool_core`: the path of pool-core, without quotes";

const RETRY_PANICS_FORM: &str = "`retries = 3, retry_panics`: it has no value";
const REPORTS_FORM: &str = "`reports`: it has no value";

/// Refuses a value without its name, for which `syn` knows no better words than "unexpected literal".
fn check_names(tokens: &TokenStream, kind: Kind) -> Result<()> {
    let mut is_first = true;
    for token in tokens.clone() {
        if let (true, TokenTree::Literal(literal)) = (is_first, &token) {
            let others = if kind == Kind::Task { ", `retries = 3`" } else { "" };
            let text = format!("write the name of the option before its value: `timeout = \"2s\"`{others}");
            return Err(Error::new(literal.span(), text));
        }
        is_first = matches!(&token, TokenTree::Punct(comma) if comma.as_char() == ',');
    }
    Ok(())
}

/// The path behind `crate =`.
fn krate(meta: &ParseNestedMeta<'_>) -> Result<Path> {
    let wrong_form = |span| Error::new(span, format!("write {CRATE_FORM}"));
    let value = meta.value().map_err(|_| wrong_form(meta.path.span()))?;
    value.call(Path::parse_mod_style).map_err(|error| wrong_form(error.span()))
}

/// The literal behind `name =`, or an error that points at the other token there and shows the form.
fn value<T: Parse>(meta: &ParseNestedMeta<'_>, form: &str) -> Result<T> {
    if !meta.input.peek(Token![=]) {
        return Err(meta.error(format!("write {form}")));
    }
    meta.value()?.parse().map_err(|error| Error::new(error.span(), format!("write {form}")))
}

/// That the name stands there, with nothing behind it.
fn flag(meta: &ParseNestedMeta<'_>, form: &str) -> Result<bool> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) {
        return Ok(true);
    }
    Err(meta.error(format!("write {form}")))
}

fn wrong_form(literal: impl ToTokens, form: &str) -> Error {
    Error::new_spanned(literal, format!("write {form}"))
}

fn timeout(meta: &ParseNestedMeta<'_>, form: &str) -> Result<u64> {
    let literal: LitStr = value(meta, form)?;
    nanoseconds(&literal.value()).ok_or_else(|| wrong_form(&literal, form))
}

fn retries(meta: &ParseNestedMeta<'_>) -> Result<u32> {
    let literal: LitInt = value(meta, RETRIES_FORM)?;
    literal.base10_parse().map_err(|_| wrong_form(&literal, RETRIES_FORM))
}

fn prefetch(meta: &ParseNestedMeta<'_>) -> Result<usize> {
    let literal: LitInt = value(meta, PREFETCH_FORM)?;
    literal.base10_parse().ok().filter(|items| *items > 0).ok_or_else(|| wrong_form(&literal, PREFETCH_FORM))
}

/// The variant of `Priority` by the name of the option.
fn priority(meta: &ParseNestedMeta<'_>) -> Result<&'static str> {
    let literal: LitStr = value(meta, PRIORITY_FORM)?;
    match literal.value().as_str() {
        "low" => Ok("Low"),
        "normal" => Ok("Normal"),
        "high" => Ok("High"),
        _ => Err(wrong_form(&literal, PRIORITY_FORM)),
    }
}

fn codec(meta: &ParseNestedMeta<'_>) -> Result<Codec> {
    let literal: LitStr = value(meta, CODEC_FORM)?;
    let text = match literal.value().as_str() {
        "cbor" if cfg!(feature = "cbor") => return Ok(Codec::Cbor),
        "cbor" => "`codec = \"cbor\"` needs the feature `cbor` of pool-core: write \
                   `pool-core = { …, features = [\"cbor\"] }` in Cargo.toml"
            .to_owned(),
        name => format!("unknown codec `{name}`: there is `cbor`, and the default format without this option"),
    };
    Err(Error::new_spanned(literal, text))
}

/// The time in nanoseconds; `None` if it is not of the form, zero, or past 584 years.
fn nanoseconds(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let unit = match unit {
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    };
    // Signs and spaces are no part of a time, though `f64` takes the former.
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = (number.parse::<f64>().ok()? * unit).round();
    // `u64::MAX as f64` is 2^64, one more than fits.
    (nanoseconds >= 1.0 && nanoseconds < u64::MAX as f64).then_some(nanoseconds as u64)
}

#[cfg(test)]
mod tests {
    use super::nanoseconds;

    #[test]
    fn times_with_units() {
        let cases = [
            ("500ms", 500_000_000),
            ("2s", 2_000_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0.001ms", 1_000),
        ];
        for (text, expected) in cases {
            assert_eq!(nanoseconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn not_times() {
        let cases = [
            "",
            "2",
            "s",
            "0s",
            "0.0000001ms",
            "-1s",
            "+1s",
            "2 s",
            " 2s",
            "2s ",
            "2 seconds",
            "1e3s",
            "infs",
            "9e99h",
        ];
        for text in cases.into_iter().chain(["5200000h", ".5s", "1.5.5s", "2S", "µs"]) {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}

//! The values that the two formats carry from the host to a worker and back, and the errors of values that they do not.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(a_field_that_is_left_out_is_an_error_and_no_other_value),
        everywhere(a_field_that_takes_the_place_of_another_is_an_error_in_either_format),
        each_method(an_error_of_a_type_that_asks_the_format_names_the_remedy),
        each_method(the_words_of_a_type_arrive),
        everywhere(values_that_describe_themselves),
        each_method(bytes_and_numbers_keep_their_ways_in_every_format),
    ]
}

/// As many fields are written as read, and the third in different places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    a: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    b: Option<u8>,
    c: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Crossed {
    #[serde(skip_serializing, default)]
    a: u8,
    #[serde(skip_deserializing)]
    b: u8,
    c: u8,
}

#[pool_task]
fn c_of(settings: Settings, crossed: Option<Crossed>) -> u8 {
    settings.c + crossed.map_or(0, |crossed| crossed.c)
}

#[pool_task]
fn make(b: Option<u8>) -> Vec<Settings> {
    vec![Settings { a: 3, b, c: 1 }]
}

#[pool_task]
fn make_crossed(c: u8) -> Vec<Crossed> {
    vec![Crossed { a: 1, b: 2, c }]
}

fn a_field_that_is_left_out_is_an_error_and_no_other_value(setup: &Setup) {
    let pool = setup.pool();
    let with = |b| Settings { a: 3, b, c: 1 };
    assert_eq!(pool.apply(c_of::Task, (with(Some(2)), None)).unwrap(), 1);
    let error = pool.apply(c_of::Task, (with(None), None)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    for text in ["formats::c_of", "field `b` of `Settings`", "codec = \"cbor\""] {
        assert!(error.to_string().contains(text), "{error}");
    }
    let error = pool.apply(c_of::Task, (with(Some(2)), Some(Crossed { a: 1, b: 2, c: 3 }))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    for text in ["`Crossed` is written with the fields `b`, `c`", "`a`, `c` is read", "codec = \"cbor\""] {
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(pool.apply(make::Task, Some(2)).unwrap(), [with(Some(2))]);
    assert_eq!(pool.apply(make::Task, None).unwrap_err().kind(), ErrorKind::Encode);
    let results = pool.map_results(make::Task, [None, Some(1)]).unwrap();
    assert!(results[0].is_err() && results[1].is_ok(), "{results:?}");
    let error = pool.apply(make_crossed::Task, 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("`Crossed`"), "{error}");
    assert_eq!(pool.stats().items_pending, 0);
}

/// As many fields are written as read, and they have no names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Swapped(u8, #[serde(skip_serializing)] u8, #[serde(skip_deserializing)] u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sized(u8, u32);

#[pool_task]
fn last_of(swapped: Option<Swapped>, sized: Vec<Sized>) -> u32 {
    sized.iter().map(|sized| sized.1).sum::<u32>() + swapped.map_or(0, |swapped| swapped.2.into())
}

#[pool_task]
fn make_swapped(n: u8) -> Vec<(Swapped, Sized)> {
    vec![(Swapped(1, 2, n), Sized(n, 7))]
}

#[pool_task(codec = "cbor")]
fn last_of_in_cbor(swapped: Option<Swapped>, sized: Vec<Sized>) -> u32 {
    last_of(swapped, sized)
}

#[pool_task(codec = "cbor")]
fn make_swapped_in_cbor(n: u8) -> Vec<(Swapped, Sized)> {
    make_swapped(n)
}

fn a_field_that_takes_the_place_of_another_is_an_error_in_either_format(setup: &Setup) {
    fn check<F, G>(pool: &Pool, last: F, make: G)
    where
        F: for<'a> Task<Args<'a> = (Option<Swapped>, Vec<Sized>), Output = u32>,
        G: for<'a> Task<Args<'a> = u8, Output = Vec<(Swapped, Sized)>>,
    {
        let is_told = |error: pool_core::Error| {
            assert_eq!(error.kind(), ErrorKind::Decode);
            for text in ["`Swapped`", "skipped in writing and another in reading", "give its fields names"] {
                assert!(error.to_string().contains(text), "{error}");
            }
        };
        is_told(pool.apply(last, (Some(Swapped(1, 2, 3)), Vec::new())).unwrap_err());
        is_told(pool.apply(make, 3).unwrap_err());
        let items = (1..50).map(|n| (None, vec![Sized(n, 1), Sized(n, 2)]));
        assert_eq!(pool.map(last, items).unwrap(), [3; 49]);
        let results = pool.map_results(make, [4, 5]).unwrap();
        results.into_iter().for_each(|result| is_told(result.unwrap_err()));
    }
    let pool = setup.pool();
    check(&pool, last_of::Task, make_swapped::Task);
    check(&pool, last_of_in_cbor::Task, make_swapped_in_cbor::Task);
    assert_eq!(pool.stats().items_pending, 0);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Nothing,
    Number(u64),
    Text(String),
    Many(Vec<Untagged>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    others: BTreeMap<String, Untagged>,
}

impl Flat {
    fn new() -> Flat {
        let many = Untagged::Many(vec![Untagged::Nothing, Untagged::Text("x".into()), Untagged::Number(3)]);
        Flat { id: 7, others: [("many".into(), many)].into() }
    }
}

#[pool_task]
fn untagged(value: Untagged) -> Untagged {
    value
}

#[pool_task]
fn flat(value: &Flat) -> u8 {
    value.id
}

fn an_error_of_a_type_that_asks_the_format_names_the_remedy(setup: &Setup) {
    let pool = setup.pool();
    let error = pool.apply(untagged::Task, Untagged::Number(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("`untagged`") && error.to_string().contains("codec = \"cbor\""), "{error}");
    let error = pool.apply(flat::Task, &Flat::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("`flatten`") && error.to_string().contains("codec = \"cbor\""), "{error}");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Even(u8);

impl From<Even> for u8 {
    fn from(even: Even) -> u8 {
        even.0
    }
}

impl TryFrom<u8> for Even {
    type Error = String;
    fn try_from(number: u8) -> Result<Even, String> {
        if number.is_multiple_of(2) { Ok(Even(number)) } else { Err(format!("{number} is not even")) }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    path: PathBuf,
    at: SystemTime,
    even: Even,
}

#[pool_task]
fn keep(file: File) -> File {
    file
}

#[pool_task(codec = "cbor")]
fn keep_described(file: File) -> File {
    file
}

fn the_words_of_a_type_arrive(setup: &Setup) {
    fn words(pool: &Pool, task: impl for<'a> Task<Args<'a> = File, Output = File>) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let file = || File { path: "x".into(), at: now, even: Even(2) };
        assert_eq!(pool.apply(task, file()).unwrap().at, now);
        let bad = [
            (
                File { path: OsStr::from_bytes(&[0xff]).into(), ..file() },
                "`path` of `File`: path contains invalid UTF-8",
            ),
            (
                File { at: SystemTime::UNIX_EPOCH - Duration::from_secs(1), ..file() },
                "`at` of `File`: SystemTime must be later than UNIX_EPOCH",
            ),
            (File { even: Even(3), ..file() }, "`even` of `File`: 3 is not even"),
        ];
        for (file, text) in bad {
            let error = pool.apply(task, file).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
    let pool = setup.pool();
    words(&pool, keep::Task);
    words(&pool, keep_described::Task);
}

#[pool_task(codec = "cbor")]
fn described(value: Untagged, settings: &Settings, flat: Flat, options: Vec<Option<Option<()>>>) -> Described {
    Described { value, settings: settings.clone(), flat, options }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Described {
    value: Untagged,
    settings: Settings,
    flat: Flat,
    options: Vec<Option<Option<()>>>,
}

#[pool_task(codec = "cbor")]
fn lengths(pair: (&str, Option<&str>)) -> Option<usize> {
    Some(pair.0.len() + pair.1?.len())
}

fn values_that_describe_themselves(setup: &Setup) {
    let pool = setup.pool();
    let settings = Settings { a: 3, b: None, c: 1 };
    let expected = |value: Untagged| Described {
        value,
        settings: settings.clone(),
        flat: Flat::new(),
        options: vec![None, Some(None), Some(Some(()))],
    };
    let values = [Untagged::Nothing, Untagged::Number(1), Untagged::Text("x".into()), Untagged::Many(vec![])];
    let items = values.clone().map(|value| (value, &settings, Flat::new(), vec![None, Some(None), Some(Some(()))]));
    assert_eq!(pool.map(described::Task, items).unwrap(), values.map(expected));
    assert_eq!(pool.map(lengths::Task, [("abc", Some("de")), ("abc", None)]).unwrap(), [Some(5), None]);
}

#[pool_task(codec = "cbor")]
fn sum(numbers: &[u64], text: &str) -> u64 {
    numbers.iter().sum::<u64>() + text.len() as u64
}

#[pool_task(codec = "cbor")]
fn reversed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

fn bytes_and_numbers_keep_their_ways_in_every_format(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.apply(sum::Task, (&[1, 2][..], "abc")).unwrap(), 6);
    // Longer than values that are copied beside others.
    let bytes: Vec<u8> = (0..1_u32 << 18).map(|i| (i / 3) as u8).collect();
    let expected: Vec<u8> = bytes.iter().rev().copied().collect();
    assert_eq!(pool.apply(reversed::Task, bytes).unwrap(), expected);
    assert_eq!((<reversed::Task as Task>::args_size(), <sum::Task as Task>::output_size()), (None, Some(8)));
}

//! Values come back as `serde_json` wrote them, text and bytes are lent, and errors name the place.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    name: String,
    sizes: (u8, i64, f64),
    #[serde(default)]
    tags: BTreeMap<i32, Option<bool>>,
    shape: Shape,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Shape {
    #[default]
    Empty,
    Circle(f64),
    Pair(u8, u8),
    Named {
        label: String,
    },
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(tag = "kind")]
enum Tagged {
    One { x: u8 },
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Wrapped(u64);

/// As the generated code calls it.
macro_rules! answer {
    ($output:ty, $value:expr) => {
        (&&&Probe::<$output>::new()).__answer($value)
    };
}

fn tree(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn survives<T: Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug>(value: T) {
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(JsonReader.read(&tree(&text), "x").as_ref().ok(), Some(&value), "{text}");
}

#[test]
fn values_come_back_as_they_were() {
    survives((u64::MAX, i64::MIN, 0.1 + 0.2, f64::MAX, -0.0));
    survives(("a \"b\" \u{1F600}\n".to_owned(), 'ß', true, (), None::<u8>, Some(Some(1_u8))));
    survives((vec![[1_u8; 3]; 2], Wrapped(7), Tagged::One { x: 1 }));
    survives(HashMap::from([(1_u64, "a".to_owned()), (u64::MAX, String::new())]));
    survives(BTreeMap::from([(-1_i8, ()), (1, ())]));
    survives(BTreeMap::from([(true, 1), (false, 2)]));
    for shape in [Shape::Empty, Shape::Circle(1.5), Shape::Pair(1, 2), Shape::Named { label: "n".to_owned() }] {
        survives(Record {
            shape,
            sizes: (1, -1, 1e300),
            tags: BTreeMap::from([(-7, Some(true))]),
            ..Record::default()
        });
    }
    survives(std::net::Ipv4Addr::LOCALHOST);
    survives(std::time::Duration::from_millis(1500));
}

#[test]
fn text_and_bytes_are_lent() {
    let json = tree(r#"["a\nb", [1, 2, 255], "text", "/tmp/x"]"#);
    let [text, array, bytes, path] = arguments::<4>(&json).unwrap();
    let lent: &str = JsonReader.read(text, "x").unwrap();
    let Json::Text(owned) = text else { panic!() };
    assert_eq!((lent, lent.as_ptr()), ("a\nb", owned.as_ptr()));
    let lent: &[u8] = JsonReader.read(array, "x").unwrap();
    assert_eq!(lent, [1, 2, 255]);
    let lent: &[u8] = JsonReader.read(bytes, "x").unwrap();
    assert_eq!(lent, b"text");
    let lent: &Path = JsonReader.read(path, "x").unwrap();
    assert_eq!(lent, Path::new("/tmp/x"));
    assert!(<JsonReader as FromJson<'_, &[u8]>>::read(&JsonReader, &tree("[256]"), "x").is_err());
}

/// A line has at most 16 MiB, and a value in it may take two bytes there.
#[test]
fn a_tree_takes_little_memory_for_its_text() {
    assert!(size_of::<Json>() <= 24);
    assert!(matches!(tree("[0, 1, 255]"), Json::Bytes(bytes) if *bytes == [0, 1, 255]));
    assert!(matches!(tree("[0, 256, 1]"), Json::Array(values) if values.len() == 3));
    survives((vec![0_u16, 255], vec![0_u16, 256, 1], vec![1.0, 2.5], Vec::<i8>::new(), vec![1_i64, -1, 3]));
}

#[track_caller]
fn refused<T: for<'a> Deserialize<'a> + std::fmt::Debug>(text: &str, expected: &str) {
    let error = <JsonReader as FromJson<'_, T>>::read(&JsonReader, &tree(text), "arg").unwrap_err().to_string();
    assert_eq!(error, expected);
}

#[test]
fn errors_name_the_place() {
    refused::<u8>("256", "argument `arg`: invalid value: integer `256`, expected u8");
    refused::<u64>(
        "1.0",
        "argument `arg`: invalid type: floating point `1.0`, expected u64; write a whole number without point and exponent",
    );
    refused::<Vec<i32>>(
        "[1, 1e3]",
        "argument `arg[1]`: invalid type: floating point `1000.0`, expected i32; write a whole number without point and exponent",
    );
    refused::<u64>("1.5", "argument `arg`: invalid type: floating point `1.5`, expected u64");
    refused::<Vec<Record>>("[{}]", "argument `arg[0]`: missing field `name`");
    let sizes = r#"[{"name": "a", "sizes": [1, "b", 2], "shape": "Empty"}]"#;
    refused::<Vec<Record>>(sizes, "argument `arg[0].sizes[1]`: invalid type: string \"b\", expected i64");
    let long = r#"{"name": "a", "sizes": [1, 2, 3, 4], "shape": "Empty"}"#;
    refused::<Record>(long, "argument `arg.sizes`: 1 elements too many");
    refused::<Shape>(r#"{"Circle": "x"}"#, "argument `arg.Circle`: invalid type: string \"x\", expected f64");
    refused::<Shape>("\"Circle\"", "argument `arg`: variant `Circle` has a content: write it as an object");
    refused::<Shape>(
        "\"Square\"",
        "argument `arg`: unknown variant `Square`, expected one of `Empty`, `Circle`, `Pair`, `Named`",
    );
    refused::<HashMap<u8, u8>>(r#"{"a": 1}"#, "argument `arg`: invalid type: string \"a\", expected u8");
}

#[test]
fn one_argument_is_itself_and_several_are_an_array() {
    assert!(arguments::<0>(&tree("null")).is_ok() && arguments::<0>(&tree("[]")).is_ok());
    assert!(matches!(arguments::<1>(&tree("[1, 2]")), Ok([Json::Bytes(..)])));
    assert!(matches!(arguments::<2>(&tree("[1, 2]")), Ok([Json::Unsigned(1), Json::Unsigned(2)])));
    let error = |json: &str| arguments::<2>(&tree(json)).unwrap_err().to_string();
    assert_eq!(error("[1]"), "it takes 2 arguments, and 1 came");
    assert_eq!(error("{}"), "2 arguments are an array of 2 values, and an object came");
}

#[test]
fn types_without_serde_are_refused_when_they_are_called() {
    struct Bare;
    let read: Result<Bare, _> = Probe::<Bare>::new().__pick_json().read(&Json::Null, "bare");
    let error = read.err().unwrap().to_string();
    assert!(error.contains("`bare` has no JSON form") && error.contains("Bare"), "{error}");
    let answer = answer!(Bare, &Bare);
    assert!(matches!(&answer, Answer::Unwritable(why) if why.contains("Bare")), "{answer:?}");
}

#[test]
fn a_result_is_the_value_or_the_error_within() {
    let answer = answer!(Result<u8, String>, &Ok(1));
    assert!(matches!(&answer, Answer::Value(text) if text == "1"), "{answer:?}");
    let answer = answer!(Result<u8, String>, &Err("no".to_owned()));
    assert!(matches!(&answer, Answer::Err(text) if text == "\"no\""), "{answer:?}");
    let answer = answer!(std::io::Result<u8>, &Err(std::io::ErrorKind::NotFound.into()));
    assert!(matches!(&answer, Answer::Err(text) if text == "\"entity not found\""), "{answer:?}");
    let answer = answer!(Vec<f64>, &vec![1.0, f64::NAN]);
    assert!(matches!(&answer, Answer::Value(text) if text == "[1.0,null]"), "{answer:?}");
    let answer = answer!(HashMap<(u8, u8), u8>, &HashMap::from([((1, 2), 3)]));
    assert!(matches!(&answer, Answer::Unwritable(why) if why.contains("key must be a string")), "{answer:?}");
}

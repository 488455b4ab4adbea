//! Values come back as they were, whatever attributes their types have.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::thread;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{WITH_TUPLES, read_alone as read, write};
use crate::codec::encoder::Encoder;

mod crossed;

/// The value and the bytes behind it.
fn written<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Encoder::to_vec(Vec::new());
    write(value, &mut out).expect("it can be written");
    out.finish().expect_err("it writes to a vector")
}

/// The value alone.
fn bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = written(value);
    assert!(bytes.pop().is_some_and(|end| end <= WITH_TUPLES));
    bytes
}

fn trip<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
    let bytes = written(value);
    let (copy, rest) = super::read(&bytes).map_err(|error| error.to_string())?;
    assert!(rest.is_empty());
    Ok(copy)
}

#[track_caller]
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    assert_eq!(trip(&value).as_ref(), Ok(&value));
    // Not everything that can be in an untagged enum can be read from there, but it is never another value.
    let untagged = Untagged::Value(value);
    if let Ok(copy) = trip(&untagged) {
        assert_eq!(copy, untagged);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Value(T),
}

/// Examples of RFC 8949, appendix A.
#[test]
fn bytes_are_those_of_the_standard() {
    fn is<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, hex: &str) {
        let text: String = bytes(&value).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, hex, "{value:?}");
        survives(value);
    }
    is(0_u64, "00");
    is(23_u8, "17");
    is(24_u64, "1818");
    is(100_u32, "1864");
    is(1000_u16, "1903e8");
    is(1_000_000_u64, "1a000f4240");
    is(1_000_000_000_000_u64, "1b000000e8d4a51000");
    is(u64::MAX, "1bffffffffffffffff");
    is(u128::from(u64::MAX) + 1, "c249010000000000000000");
    is(-i128::from(u64::MAX) - 1, "3bffffffffffffffff");
    is(-i128::from(u64::MAX) - 2, "c349010000000000000000");
    is(-1_i8, "20");
    is(-10_i64, "29");
    is(-100_i32, "3863");
    is(-1000_i64, "3903e7");
    is(1.1_f64, "fb3ff199999999999a");
    is(100_000.0_f32, "fa47c35000");
    is(false, "f4");
    is(true, "f5");
    is((), "f6");
    is(String::new(), "60");
    is("IETF".to_owned(), "6449455446");
    is('ü', "62c3bc");
    is(Vec::<u8>::new(), "80");
    is(vec![1_u8, 2, 3], "83010203");
    is(BTreeMap::from([(1_u8, 2_u8), (3, 4)]), "a201020304");
    is(BTreeMap::from([("a".to_owned(), "A".to_owned())]), "a161616141");
}

/// Floats with all their bits, and numbers at the ends of each width.
#[test]
fn numbers() {
    for bits in [0x7fa0_1234, 0xffc0_0000, 0x8000_0000, 1] {
        assert_eq!(trip(&f32::from_bits(bits)).map(f32::to_bits), Ok(bits));
    }
    for bits in [0xfff4_0000_0000_1234, 0x7ff8_0000_0000_0000, 1 << 63] {
        assert_eq!(trip(&f64::from_bits(bits)).map(f64::to_bits), Ok(bits));
    }
    for value in (0..128).map(|shift| 1_u128 << shift) {
        survives(value);
        survives(value - 1);
        survives(value as i128);
        survives((value - 1) as i128);
        survives(!(value as i128));
        survives(!((value - 1) as i128));
        survives((value as u64, value as i64, !(value as i64), value as i32, value as i16, value as i8, value as u8));
    }
    // More bits than the type has are an error.
    assert!(read::<u8>(&bytes(&256)).is_err());
    assert!(read::<i8>(&bytes(&-129)).is_err());
    assert!(read::<u64>(&bytes(&-1)).is_err());
    assert!(read::<u128>(&bytes(&-1)).is_err());
    assert!(read::<i128>(&bytes(&u128::MAX)).is_err());
    assert!(read::<i64>(&bytes(&u64::MAX)).is_err());
}

#[test]
fn options_within_options() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype(Option<u8>);
    survives([None, Some(()), Some(())]);
    survives(Some(Unit));
    survives([None, Some(None), Some(Some(3_u8))]);
    survives([None, Some(None), Some(Some(None)), Some(Some(Some(3_u8)))]);
    survives([None, Some(None), Some(Some(None)), Some(Some(Some(())))]);
    survives([Some(Newtype(None)), Some(Newtype(Some(1))), None]);
    survives(Some(vec![Some(Some(())), None, Some(None)]));
    survives(HashMap::from([(Some(None), 1), (Some(Some(())), 2), (None, 3)]));
    survives(Some((Some(()), None::<()>)));
    survives(Some([Ok(None), Ok(Some(1_u8)), Err(())]));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    x: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    y: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Unit,
    Flag(bool),
    Number(u64),
    Negative(i64),
    Fraction(f64),
    Address(std::net::IpAddr),
    Text(String),
    Pair(u8, u8),
    Named { a: u8, b: Option<i8> },
    Many(Vec<Any>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Unit,
    Named {
        a: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        b: Option<i8>,
    },
    Newtype(Inner),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Unit,
    Named { a: u8 },
    Newtype(Inner),
    Tuple(u8, u8),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Skipped {
    #[serde(skip)]
    _Cache,
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Named {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        a: Option<()>,
        b: u8,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    a: u8,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    others: BTreeMap<String, u64>,
}

#[test]
fn attributes() {
    let inner = |y: Option<&str>| Inner { x: 2, y: y.map(str::to_owned) };
    survives([inner(None), inner(Some("z"))]);
    for any in [Any::Unit, Any::Flag(true), Any::Number(3), Any::Negative(-3), Any::Fraction(1.5)] {
        survives(Some(any));
    }
    survives(vec![Any::Text("x".into()), Any::Pair(1, 2), Any::Address([1, 2, 3, 4].into())]);
    survives(Any::Many(vec![Any::Named { a: 1, b: None }, Any::Named { a: 1, b: Some(-2) }, Any::Unit]));
    survives([Tagged::Unit, Tagged::Named { a: 1, b: None }, Tagged::Named { a: 1, b: Some(-1) }]);
    survives([Tagged::Newtype(inner(None)), Tagged::Newtype(inner(Some("y")))]);
    survives([Adjacent::Unit, Adjacent::Named { a: 1 }, Adjacent::Newtype(inner(None)), Adjacent::Tuple(1, 2)]);
    survives([Skipped::Unit, Skipped::Newtype(1), Skipped::Tuple(1, 2)]);
    survives([Skipped::Named { a: None, b: 1 }, Skipped::Named { a: Some(()), b: 1 }]);
    survives(Flat { a: 1, inner: inner(None), others: [("k".into(), 5)].into() });
    survives(Flat { a: 1, inner: inner(Some("y")), others: BTreeMap::new() });
}

/// A field that one side alone leaves out is missed, or is its default.
#[test]
fn a_field_that_is_left_out_on_one_side() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unwritten {
        a: u8,
        #[serde(skip_serializing)]
        b: u8,
        c: u8,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Tuple(u8, #[serde(skip_serializing)] u8, u8);
    assert_eq!(trip(&Unwritten { a: 1, b: 2, c: 3 }).unwrap_err(), "`Unwritten`: missing field `b`");
    assert!(trip(&Tuple(1, 2, 3)).unwrap_err().contains("tuple struct Tuple"));
}

#[test]
fn types_that_lend() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Lending<'a> {
        text: &'a str,
        bytes: &'a [u8],
    }
    struct Bytes<'a>(&'a [u8]);
    impl Serialize for Bytes<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    let value = bytes(&BTreeMap::from([("bytes", Bytes(b"yo"))]));
    #[derive(Debug, PartialEq, Deserialize)]
    struct OnlyBytes<'a> {
        bytes: &'a [u8],
    }
    assert_eq!(read::<OnlyBytes<'_>>(&value).unwrap().0, OnlyBytes { bytes: b"yo" });
    let value = bytes(&("text", 1));
    assert_eq!(read::<(&str, u8)>(&value).unwrap().0, ("text", 1));
    // Serde writes a slice as a sequence, which cannot be lent.
    let value = bytes(&Lending { text: "hi", bytes: b"yo" });
    let error = read::<Lending<'_>>(&value).unwrap_err().to_string();
    assert_eq!(error, "field `bytes` of `Lending`: sequence where a borrowed byte array is expected");
}

/// Elements of which the number is not known beforehand.
#[test]
fn sequences_of_unknown_length() {
    struct ItemOutcome(u8);
    impl Serialize for ItemOutcome {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq((0..self.0).filter(|number| number % 2 == 1))
        }
    }
    assert_eq!(read::<Vec<u8>>(&bytes(&ItemOutcome(6))).unwrap().0, [1, 3, 5]);
    assert!(read::<(u8, u8)>(&bytes(&ItemOutcome(6))).is_err());
    assert_eq!(
        read::<Vec<Vec<u8>>>(&bytes(&[ItemOutcome(2), ItemOutcome(0), ItemOutcome(4)])).unwrap().0,
        [vec![1], vec![], vec![1, 3]]
    );
}

/// Lies: nesting, lengths, and all values of the first bytes.
#[test]
fn bytes_that_are_no_value() {
    #[derive(Debug, Serialize, Deserialize)]
    enum List {
        Nil,
        Cons(Box<List>),
    }
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Tree {
        Leaf { _number: u8 },
        Node(#[expect(dead_code, reason = "only made and dropped")] Vec<Tree>),
    }
    #[derive(Debug)]
    struct Ignored;
    impl<'de> Deserialize<'de> for Ignored {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            serde::de::IgnoredAny::deserialize(deserializer).map(|_| Ignored)
        }
    }
    fn error<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> String {
        match read::<T>(bytes) {
            Ok(_) => panic!("a value"),
            Err(error) => error.to_string(),
        }
    }
    fn deep<T: for<'a> Deserialize<'a>>(bytes: &[u8]) {
        let error = error::<T>(bytes);
        assert!(error.starts_with("nested "), "{error}");
    }
    let body = || {
        deep::<List>(&b"\xa1\x64Cons".repeat(1 << 18));
        deep::<Tree>(&[0x81; 1 << 20]);
        deep::<Ignored>(&[0x9f; 1 << 20]);
        deep::<Ignored>(&[0xda, 0, 0xff, 0xff, 0].repeat(1 << 18));
        deep::<Ignored>(&[0xbf; 1 << 20]);
    };
    let thread = thread::Builder::new().stack_size(2 << 20).spawn(body).expect("a thread can be started");
    thread.join().expect("it does not panic");
    assert!(error::<Vec<()>>(&[0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0]).contains("more bytes expected"));
    assert!(error::<String>(&[0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).contains("more bytes expected"));
    for first in 0..=255_u8 {
        for second in [0, 1, 0x18, 0x61, 0x81, 0xa1, 0xf6, 0xff] {
            let bytes = [first, second, 0x01, 0x02, 0xff, 0xf6];
            let _ = read::<Any>(&bytes);
            let _ = read::<Ignored>(&bytes);
            let _ = read::<List>(&bytes);
            let _ = read::<Flat>(&bytes);
            let _ = read::<Option<Option<i128>>>(&bytes);
            let _ = read::<(f32, char, bool, ())>(&bytes);
            let _ = read::<HashMap<String, Vec<u8>>>(&bytes);
        }
    }
}

/// The words of a type's own implementation arrive.
#[test]
fn an_error_has_the_words_of_the_type() {
    struct Silent;
    impl Serialize for Silent {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom(fmt::format(format_args!("it is not {}", "finished"))))
        }
    }
    #[derive(Serialize)]
    struct Holder {
        silent: Silent,
    }
    let error = write(&Holder { silent: Silent }, &mut Encoder::to_vec(Vec::new())).unwrap_err();
    assert_eq!(error.to_string(), "field `silent` of `Holder`: it is not finished");
}

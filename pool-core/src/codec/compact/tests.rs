//! Values come back as they were, or there is an error that names the type, the field and the remedy.

mod attributes;
mod crossed;
mod generated;
mod together;

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{read, write};
use crate::codec::encoder::Encoder;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Generic<T> {
    before: u8,
    inner: T,
    after: u8,
}

/// All the places in which a value can be, without and with others beside it.
macro_rules! everywhere {
    ($check:ident, $value:expr $(, $texts:expr)?) => {{
        $check($value $(, $texts)?);
        $check(vec![$value, $value] $(, $texts)?);
        $check((3_u8, Some($value), 4_u8) $(, $texts)?);
        $check(Some(Box::new(Some($value))) $(, $texts)?);
        $check(BTreeMap::from([(1_u8, $value), (2, $value)]) $(, $texts)?);
        $check(HashMap::from([(1_u8, Ok::<_, u8>($value))]) $(, $texts)?);
        $check(Generic { before: 1, inner: $value, after: 2 } $(, $texts)?);
        $check(Generic { before: 1, inner: Some(Generic { before: 3, inner: $value, after: 4 }), after: 2 } $(, $texts)?);
        $check(Ok::<_, String>($value) $(, $texts)?);
    }};
}

use everywhere;

/// There and back.
fn trip<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
    let mut out = Encoder::to_vec(Vec::new());
    write(value, &mut out).map_err(|error| error.to_string())?;
    let bytes = out.finish().expect_err("it writes to a vector");
    let mut rest = &bytes[..];
    let copy = read(&mut rest).map_err(|error| error.to_string())?;
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    Ok(copy)
}

#[track_caller]
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    assert_eq!(trip(&value).as_ref(), Ok(&value));
    // At a place of its own, beside others, and within types that hide its type.
    assert_eq!(trip(&vec![Some((1_u8, &value)), None].len()), Ok(2));
}

/// An error that has all of these texts.
#[track_caller]
fn refused<T: Serialize + DeserializeOwned + Debug>(value: T, texts: &[&str]) {
    match trip(&value) {
        Ok(copy) => panic!("{value:?} came back as {copy:?}"),
        Err(error) => {
            for text in texts.iter().chain(&["codec = \"cbor\""]) {
                assert!(error.contains(text), "no {text:?} in {error:?}");
            }
        }
    }
}

/// The bytes before the sum are postcard's.
#[test]
fn bytes_are_those_of_postcard() {
    #[derive(Serialize)]
    enum Variants {
        Unit,
        Newtype(i64),
        Tuple(u128, i128),
        Struct { a: char, b: Option<bool> },
    }
    #[derive(Serialize)]
    struct All<'a> {
        numbers: (u8, i8, u16, i16, u32, i32, u64, i64, f32, f64),
        text: &'a str,
        variants: Vec<Variants>,
        pairs: std::collections::BTreeMap<u8, ()>,
    }
    for n in [0_u64, 1, 63, 64, 127, 128, 16_383, 16_384, u64::MAX / 3, u64::MAX] {
        let s = n as i64;
        let all = All {
            numbers: (n as u8, s as i8, n as u16, s as i16, n as u32, s as i32, n, s, n as f32, -(n as f64)),
            text: "some text",
            variants: vec![
                Variants::Unit,
                Variants::Newtype(-s),
                Variants::Tuple(u128::from(n) << 64 | u128::from(n), i128::from(s) << 60),
                Variants::Struct { a: 'ä', b: Some(true) },
            ],
            pairs: [(n as u8, ())].into(),
        };
        let mut out = Encoder::to_vec(Vec::new());
        write(&all, &mut out).unwrap();
        let bytes = out.finish().unwrap_err();
        assert_eq!(bytes[..bytes.len() - 4], postcard::to_allocvec(&all).unwrap());
    }
}

#[test]
fn numbers_at_their_ends() {
    survives((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX));
    survives((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN));
    survives((i8::MAX, i16::MAX, i32::MAX, i64::MAX, i128::MAX));
    assert_eq!(trip(&f32::from_bits(0x7fa0_1234)).map(f32::to_bits), Ok(0x7fa0_1234));
    assert_eq!(trip(&f64::from_bits(0xfff4_0000_0000_1234)).map(f64::to_bits), Ok(0xfff4_0000_0000_1234));
    for value in (0..128).map(|shift| 1_u128 << shift) {
        survives((value, value - 1, value as i128, -(value as i128 / 2)));
        survives((value as u64, value as i64, value as u32, value as i32, value as u16, value as i16));
    }
}

/// A number that has more bits than its type.
#[test]
fn numbers_beyond_their_ends() {
    fn error<T: Serialize + for<'a> Deserialize<'a>>(mut bytes: &[u8]) -> String {
        read::<T>(&mut bytes).map(|_| ()).unwrap_err().to_string()
    }
    assert!(error::<u16>(&[0xff, 0xff, 0x04, 0, 0, 0, 0]).starts_with("a number of more than 16 bits"));
    assert!(error::<u32>(&[0xff, 0xff, 0xff, 0xff, 0x10, 0, 0, 0, 0]).starts_with("a number of more than 32 bits"));
    assert!(error::<u64>(&[0xff; 20]).starts_with("a number of more than 64 bits"));
    assert!(error::<u128>(&[0xff; 30]).starts_with("a number of more than 128 bits"));
    assert!(error::<bool>(&[2, 0, 0, 0, 0]).starts_with("the byte 2 where a `bool` is expected"));
    assert!(error::<Option<u8>>(&[2, 0, 0, 0, 0]).starts_with("the byte 2 where an `Option` is expected"));
    assert!(error::<char>(&[2, b'a', b'b', 0, 0, 0, 0]).starts_with("text that is no single character"));
    assert!(error::<String>(&[1, 0xff, 0, 0, 0, 0]).starts_with("invalid utf-8"));
}

/// Elements other than were announced would be taken for something else.
#[test]
fn a_sequence_that_miscounts() {
    struct Miscounting(usize);
    impl Serialize for Miscounting {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut elements = serializer.serialize_seq(Some(self.0))?;
            elements.serialize_element(&1_u8)?;
            elements.end()
        }
    }
    let mut out = Encoder::to_vec(Vec::new());
    assert!(write(&Miscounting(1), &mut out).is_ok());
    let error = write(&Miscounting(2), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "its type announces 2 elements and writes 1");
}

/// The words of a type's own implementation arrive, with the place.
#[test]
fn an_error_has_the_words_of_the_type() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    #[derive(Debug, Serialize, Deserialize)]
    struct Stamped {
        id: u8,
        at: SystemTime,
    }
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let error = trip(&Stamped { id: 1, at: before }).unwrap_err();
    assert_eq!(error, "field `at` of `Stamped`: SystemTime must be later than UNIX_EPOCH");

    #[derive(Debug, Serialize, Deserialize)]
    struct File {
        path: PathBuf,
    }
    let error = trip(&File { path: OsStr::from_bytes(&[0xff]).into() }).unwrap_err();
    assert_eq!(error, "field `path` of `File`: path contains invalid UTF-8 characters");

    #[derive(Clone, Debug, Serialize, Deserialize)]
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
    enum Holder {
        Holds { even: Even },
    }
    assert_eq!(trip(&Even(3)).unwrap_err(), "3 is not even");
    assert_eq!(trip(&Holder::Holds { even: Even(5) }).unwrap_err(), "field `even` of `Holds`: 5 is not even");
    assert!(trip(&Even(4)).is_ok());
}

#[test]
fn variants_in_another_order_are_found() {
    /// As two versions of a program have it, one of which sends values to the other.
    mod versions {
        use serde::{Deserialize, Serialize};

        #[derive(Debug, Serialize, Deserialize)]
        #[serde(rename = "Mode")]
        pub(super) enum Old {
            Keep,
            Delete,
        }
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(rename = "Mode")]
        pub(super) enum New {
            Delete,
            Keep,
        }
    }
    use versions::{New, Old};
    // Each of the two as often as the other.
    for value in [vec![Old::Keep, Old::Delete], vec![Old::Delete, Old::Keep, Old::Keep, Old::Delete]] {
        let mut out = Encoder::to_vec(Vec::new());
        write(&value, &mut out).unwrap();
        let bytes = out.finish().expect_err("it writes to a vector");
        let came = read::<Vec<New>>(&mut &bytes[..]);
        assert!(came.is_err(), "{value:?} came as {came:?}");
    }
}

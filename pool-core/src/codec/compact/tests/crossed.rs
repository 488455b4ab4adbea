//! One field is skipped in writing and another in reading, so that as many are written as are read.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Generic, everywhere, refused, survives, trip};
use crate::codec::compact::deserializer::Deserializer;
use crate::codec::compact::watch::Unwatched;
use crate::codec::compact::{read, write};
use crate::codec::encoder::Encoder;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Last(u8, #[serde(skip_serializing)] u8, #[serde(skip_deserializing)] u8);

/// Each field that is read is the next one that was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shifted(#[serde(skip_serializing)] u8, u8, #[serde(skip_deserializing)] u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Backwards(#[serde(skip_deserializing)] u8, u8, #[serde(skip_serializing)] u8);

/// One field is written and one read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Two(#[serde(skip_serializing)] u8, #[serde(skip_deserializing)] u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Texts(#[serde(skip_serializing)] String, #[serde(skip_deserializing)] String, u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Of<T: Default>(T, #[serde(skip_serializing)] T, #[serde(skip_deserializing)] T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Variants {
    Unit,
    Crossed(#[serde(skip_serializing)] u8, u8, #[serde(skip_deserializing)] u8),
    Fine(u8, u8),
}

fn crossed(name: &str) -> [String; 3] {
    [format!("`{name}`"), "skipped in writing and another in reading".into(), "field".into()]
}

macro_rules! everywhere_refused {
    ($value:expr, $name:literal) => {{
        let texts = crossed($name);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        everywhere!(refused, $value, &texts);
    }};
}

#[test]
fn a_tuple_struct() {
    everywhere_refused!(Last(1, 2, 3), "Last");
    everywhere_refused!(Shifted(1, 2, 3), "Shifted");
    everywhere_refused!(Backwards(1, 2, 3), "Backwards");
    everywhere_refused!(Two(1, 2), "Two");
    everywhere_refused!(Texts("a".into(), "b".into(), 1), "Texts");
    everywhere_refused!(Of(1_u8, 2, 3), "Of");
    everywhere_refused!(Of(vec![1_u64], vec![2], vec![3]), "Of");
}

#[test]
fn a_tuple_variant() {
    everywhere_refused!(Variants::Crossed(1, 2, 3), "Variants::Crossed");
    everywhere!(survives, Variants::Fine(1, 2));
    everywhere!(survives, Variants::Unit);
}

/// The other field takes the default's place, which looks like two entries that have changed places.
#[test]
fn fields_that_are_permuted() {
    let texts = crossed("Shifted");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (b, c) in [(0, 7), (7, 0), (1, 2)] {
        refused(vec![Shifted(0, b, c), Shifted(0, b, c)], &texts);
        refused(HashMap::from([(1_u8, Shifted(0, b, c)), (2, Shifted(0, c, b))]), &texts);
        refused((HashSet::from([1_u8, 2, 3, 4]), Shifted(0, b, c)), &texts);
    }
}

#[test]
fn a_borrowed_field() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Lent<'a>(#[serde(skip_serializing)] &'a str, #[serde(skip_deserializing)] &'a str);
    let mut out = Encoder::to_vec(Vec::new());
    write(&Lent("a", "b"), &mut out).unwrap();
    let bytes = out.finish().unwrap_err();
    let error = read::<Lent<'_>>(&mut &bytes[..]).unwrap_err().to_string();
    assert!(error.contains("`Lent`"), "{error}");
}

/// Values with default fields arrive as they would with `skip`, until one shows that the type is at fault.
#[test]
fn defaults_first() {
    assert_eq!(trip(&Last(0, 0, 0)), Ok(Last(0, 0, 0)));
    assert_eq!(trip(&Last(1, 0, 0)), Ok(Last(1, 0, 0)));
    assert_eq!(trip(&Last(2, 0, 0)), Ok(Last(2, 0, 0)));
    refused(Last(3, 4, 5), &["`Last`"]);
    refused(Last(1, 0, 0), &["`Last`"]);
    refused(Last(1, 6, 0), &["`Last`"]);
}

#[test]
fn a_field_whose_alias_is_the_name_of_another() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Named {
        #[serde(alias = "b")]
        a: u8,
        #[serde(skip_deserializing)]
        b: u8,
        #[serde(skip_serializing)]
        c: u8,
    }
    everywhere_refused!(Named { a: 1, b: 2, c: 3 }, "Named");

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Variant {
        Named {
            #[serde(alias = "b")]
            a: u8,
            #[serde(skip_deserializing)]
            b: u8,
            #[serde(skip_serializing)]
            c: u8,
        },
    }
    everywhere_refused!(Variant::Named { a: 1, b: 2, c: 3 }, "Variant::Named");

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Styles {
        a: u8,
        #[serde(skip_deserializing)]
        user_id: u8,
        #[serde(skip_serializing, rename(deserialize = "userId"))]
        other: u8,
    }
    everywhere_refused!(Styles { a: 1, user_id: 2, other: 3 }, "Styles");
}

/// A verdict on one type says nothing of another that has the same name.
#[test]
fn types_of_one_name() {
    fn fine() {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        struct Same(u8, u32);
        for n in 0..20 {
            survives(Same(n, n.into()));
        }
    }
    {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        struct Same(u8, u8, #[serde(skip)] u8);
        for n in 0..20 {
            survives(Same(n, n, 0));
        }
    }
    fine();
    {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        struct Same(u8, #[serde(skip_serializing)] u8, #[serde(skip_deserializing)] u8);
        everywhere_refused!(Same(1, 2, 3), "Same");
    }
}

/// Types in which a field could be hidden, but is not.
#[test]
fn types_that_only_look_crossed() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Padded(u8, u32);
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Holds<T>(T, u8);
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Cached(u8, #[serde(skip)] Option<String>, u8);
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Aliased {
        #[serde(alias = "c", alias = "d")]
        a: u8,
        b: u8,
    }
    for n in 0..10_u8 {
        everywhere!(survives, Padded(n, 7));
        everywhere!(survives, Cached(n, None, n / 2));
        everywhere!(survives, Aliased { a: n, b: 3 });
        everywhere!(survives, Holds((0..n).map(|n| (n, n)).collect::<HashMap<_, _>>(), n));
        everywhere!(survives, Holds((0..n).map(|n| n.to_string()).collect::<HashSet<_>>(), n));
        everywhere!(survives, Holds((0..n).map(|n| (n, Padded(n, n.into()))).collect::<HashMap<_, _>>(), n));
        everywhere!(survives, Holds((0..n).map(|n| (n, n)).collect::<BTreeMap<_, _>>(), n));
        everywhere!(survives, Holds(Some(Box::new(Holds(std::time::Duration::from_millis(n.into()), n))), n));
    }
    assert_eq!(trip(&Cached(1, Some("x".into()), 2)), Ok(Cached(1, None, 2)));
    let nan = trip(&Holds(f64::from_bits(0x7ff8_0000_0000_0001), 1)).unwrap();
    assert_eq!(nan.0.to_bits(), 0x7ff8_0000_0000_0001);
}

/// A type that is read otherwise than it was written, beside a tuple struct that is not.
#[test]
fn a_type_that_changes_its_values() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(from = "String")]
    struct Lower {
        text: String,
    }
    impl From<String> for Lower {
        fn from(text: String) -> Self {
            Lower { text: text.to_lowercase() }
        }
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Trimmed(#[serde(deserialize_with = "trimmed")] String);
    fn trimmed<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer).map(|text| text.trim().to_owned())
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Padded(u8, u32);
    assert_eq!(trip(&(Trimmed(" x ".into()), Padded(1, 2))), Ok((Trimmed("x".into()), Padded(1, 2))));
    assert_eq!(Lower::from("A".to_owned()).text, "a");
}

/// Once each field has been seen with two contents, and from the start where nothing can be hidden.
#[test]
fn a_type_that_is_confirmed_costs_nothing() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Padded(u8, u32);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Full(u32, u32);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Aliased {
        #[serde(alias = "c")]
        a: u8,
    }
    fn is_doubtful<T: Serialize + DeserializeOwned>(value: &T) -> bool {
        let mut out = Encoder::to_vec(Vec::new());
        write(value, &mut out).unwrap();
        let bytes = out.finish().unwrap_err();
        let mut deserializer = Deserializer::new(&bytes, Unwatched);
        T::deserialize(&mut deserializer).unwrap();
        deserializer.reader.doubts != 0
    }
    assert!(!is_doubtful(&Full(1, 2)));
    for n in 1..4 {
        survives(Padded(n, 7));
        survives(Variants::Fine(7, n));
        assert!(is_doubtful(&Padded(n, 7)), "one of its fields was always the same");
        assert!(is_doubtful(&Variants::Fine(7, n)));
    }
    survives(Padded(1, 8));
    survives(Variants::Fine(8, 1));
    assert!(!is_doubtful(&Padded(2, 9)));
    assert!(!is_doubtful(&Variants::Fine(2, 9)));
    assert!(is_doubtful(&Aliased { a: 1 }));
    survives(Aliased { a: 1 });
    survives(Aliased { a: 2 });
    assert!(!is_doubtful(&Aliased { a: 3 }));
}

/// The other field varies, and says nothing of this one.
#[test]
fn a_field_that_is_always_the_same() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Constant(u32, #[serde(skip_serializing)] u8, #[serde(skip_deserializing)] u8);
    for n in 0..1000 {
        assert_eq!(trip(&Constant(n, 0, 0)), Ok(Constant(n, 0, 0)));
    }
    refused(Constant(1, 0, 1), &["`Constant`"]);
}

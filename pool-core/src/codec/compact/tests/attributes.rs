//! Serde's attributes, one after the other.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Generic, everywhere, refused, survives, trip};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct If {
    a: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<u8>,
    c: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unwritten {
    a: u8,
    #[serde(skip_serializing)]
    b: u8,
    c: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unread {
    a: u8,
    #[serde(skip_deserializing)]
    b: u8,
    c: u8,
}

/// As many fields are written as read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Crossed {
    #[serde(skip_serializing)]
    a: u8,
    #[serde(skip_deserializing)]
    b: u8,
    c: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TupleIf(u8, #[serde(skip_serializing_if = "Option::is_none")] Option<u8>, u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TupleUnwritten(u8, #[serde(skip_serializing)] u8, u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TupleUnread(u8, #[serde(skip_deserializing)] u8, u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Variants {
    If {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        b: u8,
    },
    Unwritten {
        #[serde(skip_serializing)]
        a: u8,
        b: u8,
    },
    Tuple(#[serde(skip_serializing_if = "Option::is_none")] Option<u8>, u8),
    TupleUnread(u8, #[serde(skip_deserializing)] u8),
    Newtype(#[serde(skip_serializing)] u8),
    NewtypeUnread(#[serde(skip_deserializing)] u8),
    Fine(u8, u8),
}

#[test]
fn a_field_that_is_left_out_under_a_condition() {
    let skipped = ["field `b` of `If`", "skip_serializing_if"];
    everywhere!(refused, If { a: 3, b: None, c: 1 }, &skipped);
    everywhere!(survives, If { a: 3, b: Some(1), c: 1 });
    everywhere!(refused, Variants::If { a: None, b: 1 }, &["field `a` of `If`"]);
    everywhere!(survives, Variants::If { a: Some(2), b: 1 });
    everywhere!(refused, TupleIf(3, None, 1), &["skip"]);
    everywhere!(survives, TupleIf(3, Some(2), 1));
    everywhere!(refused, Variants::Tuple(None, 1), &["skip"]);
    everywhere!(survives, Variants::Tuple(Some(0), 1));
    // The bytes read beyond the value may happen to be a value.
    for c in 0..=255 {
        everywhere!(refused, TupleIf(1, None, c), &["skip"]);
        everywhere!(refused, Variants::Tuple(None, c), &["skip"]);
    }
    assert!(trip(&TupleIf(3, None, 7)).unwrap_err().contains("TupleIf"));
}

#[test]
fn a_field_that_is_left_out_on_one_side() {
    for n in 0..=255 {
        everywhere!(refused, Unwritten { a: n, b: 1, c: n }, &["skip"]);
        everywhere!(refused, Unread { a: n, b: 1, c: n }, &["skip"]);
        everywhere!(refused, Variants::Unwritten { a: 1, b: n }, &["skip"]);
        everywhere!(refused, TupleUnwritten(n, 1, 2), &["skip"]);
        everywhere!(refused, TupleUnread(1, 2, n), &["skip"]);
        everywhere!(refused, Variants::TupleUnread(1, n), &["skip"]);
        everywhere!(refused, Variants::Newtype(n), &["skip"]);
        everywhere!(refused, Variants::NewtypeUnread(n), &["skip"]);
    }
    everywhere!(survives, Variants::Fine(1, 2));
    refused(
        Unread { a: 1, b: 2, c: 3 },
        &["`Unread` is written with the fields `a`, `b`, `c`", "`b` is skipped in reading"],
    );
    refused([Variants::Newtype(0), Variants::NewtypeUnread(0)], &["skip"]);
}

#[test]
fn as_many_fields_but_not_the_same() {
    let texts = ["`Crossed` is written with the fields `b`, `c`", "with the fields `a`, `c` is read"];
    everywhere!(refused, Crossed { a: 1, b: 2, c: 3 }, &texts);
    everywhere!(refused, Crossed { a: 0, b: 0, c: 0 }, &texts);
}

#[test]
fn a_skipped_variant() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Skipped {
        #[serde(skip)]
        _Cache,
        A,
        B,
        C(u8),
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum WithAlias {
        #[serde(skip_deserializing)]
        _Cache,
        #[serde(alias = "a1")]
        A,
        B,
        C,
    }
    everywhere!(refused, Skipped::A, &["Skipped"]);
    everywhere!(refused, Skipped::B, &["Skipped"]);
    everywhere!(refused, Skipped::C(1), &["Skipped"]);
    everywhere!(refused, WithAlias::A, &["WithAlias"]);
    everywhere!(refused, WithAlias::B, &["WithAlias"]);
    everywhere!(refused, WithAlias::C, &["WithAlias"]);
    refused(vec![Skipped::A, Skipped::B], &["Skipped"]);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum LastSkipped {
        A,
        B(u8),
        #[serde(skip)]
        _Cache,
    }
    everywhere!(survives, LastSkipped::A);
    everywhere!(survives, LastSkipped::B(1));
}

/// A field that is left out on both sides arrives as its default, as the attribute promises.
#[test]
fn attributes_that_work() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Skip {
        a: u8,
        #[serde(skip)]
        cache: Option<String>,
        c: u8,
    }
    everywhere!(survives, Skip { a: 1, cache: None, c: 2 });
    assert_eq!(trip(&Skip { a: 1, cache: Some("x".into()), c: 2 }), Ok(Skip { a: 1, cache: None, c: 2 }));

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Aliases {
        #[serde(alias = "x", alias = "zz")]
        a: u8,
        #[serde(default, alias = "AAA")]
        b: u8,
        c: Vec<u8>,
    }
    everywhere!(survives, Aliases { a: 1, b: 2, c: vec![3] });

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all(serialize = "camelCase", deserialize = "SCREAMING-KEBAB-CASE"))]
    struct TwoStyles {
        user_id: u8,
        #[serde(alias = "name")]
        user_name: u8,
    }
    everywhere!(survives, TwoStyles { user_id: 1, user_name: 2 });

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename(serialize = "Out", deserialize = "In"))]
    struct TwoNames {
        #[serde(rename(serialize = "x", deserialize = "y"), alias = "x")]
        a: u8,
        #[serde(rename = "type")]
        b: u8,
    }
    everywhere!(survives, TwoNames { a: 1, b: 2 });

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Renamed {
        #[serde(rename(serialize = "one", deserialize = "eins"))]
        One,
        #[serde(alias = "deux", alias = "zwei")]
        Two { a: u8 },
        #[serde(other)]
        Three,
    }
    // The list of names has an alias where the next variant is looked for.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shifted {
        #[serde(alias = "z")]
        A {
            a: u8,
        },
        B {
            b: u8,
        },
        C {
            c: u8,
        },
        D(u8, u8),
        E(u8, u8, u8),
    }
    everywhere!(survives, [Shifted::A { a: 1 }, Shifted::B { b: 1 }, Shifted::C { c: 2 }]);
    everywhere!(survives, [Shifted::D(1, 2), Shifted::E(1, 2, 3), Shifted::C { c: 2 }]);

    everywhere!(survives, Renamed::One);
    everywhere!(survives, Renamed::Two { a: 1 });
    everywhere!(survives, Renamed::Three);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    struct Transparent {
        inner: If,
    }
    everywhere!(survives, Transparent { inner: If { a: 1, b: Some(2), c: 3 } });

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Adopted(#[serde(with = "Remote")] Duration);
    #[derive(Clone, Debug, PartialEq)]
    struct Duration {
        secs: u64,
        nanos: u32,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(remote = "Duration")]
    struct Remote {
        secs: u64,
        nanos: u32,
    }
    everywhere!(survives, Adopted(Duration { secs: 1, nanos: 2 }));

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct OneLeft(#[serde(skip)] u8, u8);
    everywhere!(survives, OneLeft(0, 1));
}

/// One field under two names cannot be told from two fields of which each is skipped on one side.
#[test]
fn two_names_without_an_alias() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct TwoNames {
        #[serde(rename(serialize = "x", deserialize = "y"))]
        a: u8,
    }
    refused(TwoNames { a: 1 }, &["`TwoNames`", "`x` is not read and `y` not written", "alias"]);
}

#[test]
fn types_of_the_standard_library() {
    use std::ffi::OsString;
    use std::net::{IpAddr, Ipv6Addr, SocketAddr};
    use std::num::{NonZero, Wrapping};
    use std::ops::{Bound, Range, RangeInclusive};
    use std::time::{Duration, SystemTime};

    everywhere!(survives, Duration::new(1, 2));
    everywhere!(survives, SystemTime::UNIX_EPOCH + Duration::new(1, 2));
    everywhere!(survives, Range { start: 1, end: 2 });
    everywhere!(survives, RangeInclusive::new(1, 2));
    everywhere!(survives, Bound::Included(1));
    everywhere!(survives, Bound::<u8>::Unbounded);
    everywhere!(survives, IpAddr::from([1, 2, 3, 4]));
    everywhere!(survives, SocketAddr::from((Ipv6Addr::LOCALHOST, 80)));
    everywhere!(survives, OsString::from("x"));
    everywhere!(survives, NonZero::new(3_u8));
    everywhere!(survives, Wrapping(3_u8));
    everywhere!(survives, std::path::PathBuf::from("/x"));
    everywhere!(survives, Some(Some(())));
    everywhere!(survives, Some(None::<Option<u8>>));
}

/// Types that ask the format for the kind of the next value.
#[test]
fn types_that_ask() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Number { n: u8 },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "of")]
    enum Adjacent {
        Number(u8),
        Unit,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        a: u8,
        #[serde(flatten)]
        others: BTreeMap<String, u8>,
    }
    refused(Untagged::Number(1), &["Untagged`: its type asks", "untagged"]);
    refused(Generic { before: 1, inner: Untagged::Number(1), after: 2 }, &["field `inner` of `Generic`: ", "untagged"]);
    refused(Tagged::Number { n: 1 }, &["tag"]);
    refused(Flat { a: 1, others: [("b".into(), 2)].into() }, &["flatten"]);
    for adjacent in [Adjacent::Number(1), Adjacent::Unit] {
        refused(adjacent, &["tag"]);
    }
}

/// Implementations by hand that write another kind than they read.
#[test]
fn kinds_that_differ() {
    macro_rules! by_hand {
        ($name:ident writes $written:ty, $out:expr; reads $read:ty, $in:expr) => {
            #[derive(Debug)]
            struct $name;
            impl Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let out: $written = $out;
                    out.serialize(serializer)
                }
            }
            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    <$read>::deserialize(deserializer).map($in)
                }
            }
        };
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Pair {
        a: u8,
        b: u8,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Tuple(u8, u8);
    by_hand!(StructAsTuple writes Pair, Pair { a: 1, b: 2 }; reads (u8, u8), |_| StructAsTuple);
    by_hand!(StructAsTupleStruct writes Pair, Pair { a: 1, b: 2 }; reads Tuple, |_| StructAsTupleStruct);
    by_hand!(TupleAsStruct writes (u8, u8), (1, 2); reads Pair, |_| TupleAsStruct);
    by_hand!(EnumAsNumber writes Option<Variants>, Some(Variants::Fine(0, 0)); reads Option<[u8; 3]>, |_| EnumAsNumber);
    refused(StructAsTuple, &["Pair"]);
    refused(StructAsTupleStruct, &["Pair"]);
    refused(TupleAsStruct, &["Pair"]);
    refused(EnumAsNumber, &["Fine"]);
}

/// Serde's `from` and `into` with a tuple: the bytes are the same.
#[test]
fn a_tuple_struct_by_way_of_a_tuple() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(from = "(u8, u8)")]
    struct Read(u8, u8);
    impl From<(u8, u8)> for Read {
        fn from((a, b): (u8, u8)) -> Self {
            Read(a, b)
        }
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(into = "(u8, u8)")]
    struct Written(u8, u8);
    impl From<Written> for (u8, u8) {
        fn from(Written(a, b): Written) -> Self {
            (a, b)
        }
    }
    everywhere!(survives, Read(1, 2));
    everywhere!(survives, Written(1, 2));
}

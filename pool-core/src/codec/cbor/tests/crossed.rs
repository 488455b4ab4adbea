//! One field of a tuple struct is skipped in writing and another in reading, so that as many are written as are read.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Any, survives, trip};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Crossed(#[serde(skip_serializing)] u8, u8, #[serde(skip_deserializing)] u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Variants {
    Crossed(u8, #[serde(skip_serializing)] u8, #[serde(skip_deserializing)] u8),
    Fine(u8, u32),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged<T> {
    Value(T),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Named<T> {
    inner: T,
}

#[track_caller]
fn refused<T: Serialize + DeserializeOwned + Debug>(value: T, name: &str) {
    let error = trip(&value).expect_err("it is another value");
    assert!(error.contains(name) && error.contains("skipped in writing and another in reading"), "{error}");
}

#[test]
fn tuple_structs_and_variants() {
    for (b, c) in [(0, 7), (7, 0), (1, 2)] {
        refused(Crossed(1, b, c), "`Crossed`");
        refused(vec![Some(Crossed(1, b, c)), None], "`Crossed`");
        refused(HashMap::from([(1_u8, Crossed(1, b, c)), (2, Crossed(1, c, b))]), "`Crossed`");
        refused(Named { inner: (HashSet::from([1_u8, 2, 3]), Crossed(1, b, c)) }, "`Crossed`");
    }
    refused(Variants::Crossed(1, 2, 3), "`Variants::Crossed`");
    refused(BTreeMap::from([(1_u8, Variants::Crossed(1, 2, 3))]), "`Variants::Crossed`");
    for n in 0..20 {
        survives(Variants::Fine(n, 1));
    }
}

/// Serde reads these itself, so that the format sees no more than arrays.
#[test]
fn within_an_untagged_enum() {
    refused(Untagged::Value(Crossed(1, 2, 3)), "Untagged");
    refused(vec![Named { inner: Untagged::Value(Variants::Crossed(1, 2, 3)) }], "Untagged");
    for n in 0..20_u8 {
        survives(Untagged::Value(Variants::Fine(n, 1)));
        survives(vec![Untagged::Value(((0..n).collect::<HashSet<_>>(), Named { inner: Variants::Fine(n, 1) }))]);
        survives(Any::Many(vec![Any::Number(n.into()), Any::Many(vec![Any::Unit]), Any::Pair(n, 1)]));
    }
}

#[test]
fn types_that_only_look_crossed() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Holds<T>(T, #[serde(skip)] Option<String>, u8);
    for n in 0..20_u8 {
        survives(Holds((n, 3_u8), None, n));
        survives(Holds((0..n).map(|n| (n.to_string(), Some(n))).collect::<HashMap<_, _>>(), None, n));
        survives(Some(Holds((0..n).collect::<HashSet<_>>(), None, 1)));
    }
}

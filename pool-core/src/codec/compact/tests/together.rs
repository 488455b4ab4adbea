//! Types beside each other in one value: one may lack a field while another has one too many.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Generic, everywhere, refused, survives};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TupleUnwritten(u8, #[serde(skip_serializing)] u8, u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TupleUnread(u8, #[serde(skip_deserializing)] u8, u8);

/// A field that one struct leaves out in writing, and another in reading: together they have as many of each.
#[test]
fn two_structs_that_make_up_for_each_other() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Request {
        id: u8,
        #[serde(skip_serializing)]
        token: u8,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Response {
        id: u8,
        #[serde(skip_deserializing)]
        token: u8,
    }
    let (request, response) = (Request { id: 1, token: 2 }, Response { id: 3, token: 4 });
    everywhere!(refused, (request.clone(), response.clone()), &["skip"]);
    everywhere!(refused, (response.clone(), request.clone()), &["skip"]);
    everywhere!(refused, (TupleUnwritten(1, 2, 3), TupleUnread(4, 5, 6)), &["skip"]);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Call {
        Request {
            id: u8,
            #[serde(skip_serializing)]
            token: u8,
        },
        Tuple(u8, #[serde(skip_serializing)] u8),
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Reply {
        Other(u8),
        Response {
            id: u8,
            #[serde(skip_deserializing)]
            token: u8,
        },
        Tuple(u8, #[serde(skip_deserializing)] u8),
    }
    // The byte that is taken for the variant happens to be its number.
    refused((Call::Request { id: 1, token: 2 }, Reply::Response { id: 1, token: 4 }), &["skip"]);
    refused((Call::Tuple(1, 2), Reply::Tuple(2, 4)), &["skip"]);
}

/// A difference that is harmless in one type may be harmful in another that has the same names.
#[test]
fn a_harmless_type_beside_a_harmful_one() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Harmless {
        #[serde(alias = "c")]
        a: u8,
        b: u8,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Harmful {
        a: u8,
        #[serde(skip_deserializing)]
        b: u8,
        #[serde(skip_serializing)]
        c: u8,
    }
    everywhere!(survives, Harmless { a: 1, b: 2 });
    everywhere!(refused, Harmful { a: 1, b: 2, c: 3 }, &["skip"]);
}

/// A comparison that another type's aliases give rise to.
#[test]
fn a_tuple_struct_by_way_of_a_tuple_beside_an_alias() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Aliased {
        #[serde(alias = "c")]
        a: u8,
        b: u8,
    }
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
    everywhere!(survives, (Aliased { a: 1, b: 2 }, Read(1, 2)));
    everywhere!(survives, (Aliased { a: 1, b: 2 }, Written(1, 2)));
}

//! Every combination of serde's skip attributes on two fields of structs and variants.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::trip;

fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// The value that serde promises: a field that is not written is its default.
fn promised(attributes: &str, number: u8) -> u8 {
    if ["skip", "skip_serializing"].contains(&attributes) { 0 } else { number }
}

/// Values of a type come back as promised, or not at all.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    attributes: [&str; 2],
    make: impl Fn(u8, u8, u8) -> T,
) -> usize {
    let numbers = [0_u8, 1, 2, 127, 128, 255];
    let mut survivors = 0;
    for a in numbers {
        for b in numbers {
            for c in numbers {
                let value = make(a, b, c);
                let expected = make(promised(attributes[0], a), promised(attributes[1], b), c);
                for copy in [trip(&value), trip(&vec![value]).map(|mut values| values.remove(0))] {
                    match copy {
                        Ok(copy) => assert_eq!(copy, expected, "{attributes:?}"),
                        Err(error) => {
                            assert!(error.contains("cbor"), "{attributes:?}: {error}");
                            continue;
                        }
                    }
                    survivors += 1;
                }
            }
        }
    }
    survivors
}

/// All that fails must fail, and nothing else: one side alone leaves a field out.
fn expect(attributes: [&str; 2], survivors: usize) {
    let conditions = attributes.iter().filter(|attributes| attributes.starts_with("skip_serializing_if")).count();
    let one_sided = attributes.iter().any(|attributes| ["skip_serializing", "skip_deserializing"].contains(attributes));
    let all = 2 * 6 * 6 * 6;
    let expected = match (one_sided, conditions) {
        (true, _) => 0,
        (false, 0) => all,
        (false, 1) => all * 5 / 6,
        (false, _) => all * 25 / 36,
    };
    assert_eq!(survivors, expected, "{attributes:?}");
}

macro_rules! types {
    ($(($($a:tt)*))* with $second:tt) => {$( types!(one ($($a)*) $second); )*};
    (one ($($a:tt)*) ($($b:tt)*)) => {{
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Named {
            #[serde($($a)*)]
            a: u8,
            #[serde($($b)*)]
            b: u8,
            c: u8,
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Tuple(#[serde($($a)*)] u8, #[serde($($b)*)] u8, u8);
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        enum Variants {
            Named {
                #[serde($($a)*)]
                a: u8,
                c: u8,
                #[serde($($b)*)]
                b: u8,
            },
            Tuple(u8, #[serde($($a)*)] u8, #[serde($($b)*)] u8),
        }
        let attributes = [stringify!($($a)*), stringify!($($b)*)];
        expect(attributes, check(attributes, |a, b, c| Named { a, b, c }));
        expect(attributes, check(attributes, |a, b, c| Variants::Named { a, b, c }));
        let survivors =
            [check(attributes, |a, b, c| Tuple(a, b, c)), check(attributes, |a, b, c| Variants::Tuple(c, a, b))];
        // The fields of a tuple have no names, so the first values pass, as long as the crossed fields are the default.
        let crossed = attributes.contains(&"skip_deserializing")
            && attributes.iter().any(|attributes| attributes.starts_with("skip_serializing"));
        for survivors in survivors {
            match crossed {
                true => assert!(survivors <= 2 * 6 * 6, "{attributes:?}"),
                false => expect(attributes, survivors),
            }
        }
    }};
}

macro_rules! pairs {
    ($($second:tt)*) => {$(
        types! {
            ()
            (skip)
            (skip_serializing)
            (skip_deserializing)
            (skip_serializing_if = "is_zero")
            with $second
        }
    )*};
}

#[test]
fn every_pair_of_attributes() {
    pairs! {
        ()
        (skip)
        (skip_serializing)
        (skip_deserializing)
        (skip_serializing_if = "is_zero")
    }
}

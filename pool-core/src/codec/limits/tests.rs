//! Lies of every kind, and honest values up to the limits.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::thread;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::nesting::DEPTH_MAX;
use super::write::check_sequence;
use super::*;
use crate::codec::compact;
use crate::codec::encoder::Encoder;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum List {
    Nil,
    Cons(Box<List>),
}

#[derive(Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Serialize, Deserialize)]
struct Link {
    next: Option<Box<Link>>,
}

#[derive(Serialize, Deserialize)]
struct Directory {
    entries: BTreeMap<u8, Directory>,
}

/// 8 KiB, so that a level of it takes some 50 KiB of stack in an unoptimized build.
#[derive(Serialize, Deserialize)]
struct Fat {
    next: Option<Box<Fat>>,
    words: [[u64; 32]; 32],
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

/// Reads a value off the front of the bytes. Returns the rest of them, too.
fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    check_stack::<T>()?;
    take_checked(bytes)
}

#[inline(never)]
fn take_checked<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    compact::read_alone(bytes)
}

/// A length as postcard writes it, and a little behind it.
fn length(length: u64) -> Vec<u8> {
    let mut bytes = postcard::to_allocvec(&length).expect("a number can be encoded");
    bytes.resize(bytes.len().max(9), 0);
    bytes
}

fn error<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> String {
    match take::<T>(bytes) {
        Ok(_) => panic!("these bytes are a `{}`", std::any::type_name::<T>()),
        Err(error) => error.to_string(),
    }
}

/// On a thread with the stack that Rust gives it, whatever the environment says.
fn on_small_stack(body: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(2 << 20).spawn(body).expect("a thread can be started");
    thread.join().expect("it does not panic");
}

#[test]
fn a_length_that_nothing_contradicts() {
    let text = "1152921504606846976 elements in 9 bytes, where at most 65536 take none";
    assert_eq!(error::<Vec<()>>(&length(1 << 60)), text);
    assert_eq!(error::<Vec<Unit>>(&length(1 << 60)), text);
    assert_eq!(error::<HashMap<(), ()>>(&length(1 << 60)), text);
    assert_eq!(error::<Vec<Vec<u64>>>(&length(1 << 60)), text);
    assert_eq!(error::<Vec<u64>>(&length(1 << 60)), text);
}

#[test]
fn elements_that_take_no_bytes_up_to_the_limit() {
    let bytes = length(EMPTY_ELEMENTS_MAX as u64);
    assert_eq!(take::<Vec<Unit>>(&bytes).expect("within the limit").0.len(), EMPTY_ELEMENTS_MAX);
    // All sequences of a value together: nine bytes, and ten elements more than may take none.
    assert!(take::<Vec<Unit>>(&length(EMPTY_ELEMENTS_MAX as u64 + 9)).is_ok());
    assert!(take::<Vec<Unit>>(&length(EMPTY_ELEMENTS_MAX as u64 + 10)).is_err());
    let many: Vec<u8> = [vec![4], [0x80, 0x80, 2].repeat(4)].concat();
    assert!(error::<Vec<Vec<Unit>>>(&many).starts_with("32768 elements in 13 bytes"));
}

#[test]
fn honest_sequences_are_never_refused() {
    let rows = vec![vec![(); 0]; 1000];
    let bytes = postcard::to_allocvec(&rows).unwrap();
    assert_eq!(take::<Vec<Vec<()>>>(&bytes).unwrap().0, rows);
    let bytes = postcard::to_allocvec(&vec![vec![1_u8; 3]; 100_000]).unwrap();
    assert_eq!(take::<Vec<Vec<u8>>>(&bytes).unwrap().0.len(), 100_000);
    let map: HashMap<String, Option<u8>> = (0..100_000).map(|i| (i.to_string(), Some(1))).collect();
    let bytes = postcard::to_allocvec(&map).unwrap();
    assert_eq!(take::<HashMap<String, Option<u8>>>(&bytes).unwrap().0, map);
}

#[test]
fn nesting_a_million_deep() {
    on_small_stack(|| {
        let bytes = vec![1; 1 << 20];
        let text = format!("nested deeper than {DEPTH_MAX} levels");
        assert_eq!(error::<List>(&bytes), text);
        assert_eq!(error::<Tree>(&bytes), text);
        assert_eq!(error::<Link>(&bytes), text);
        assert_eq!(error::<Directory>(&[1, 0].repeat(1 << 20)), text);
    });
}

#[test]
fn nesting_up_to_the_limit() {
    on_small_stack(|| {
        // Each level is a `Cons`, and the last a `Nil`.
        let nested = |levels: u32| [vec![1; levels as usize - 1], vec![0]].concat();
        let bytes = nested(DEPTH_MAX);
        let (list, rest) = take::<List>(&bytes).expect("as deep as it may be");
        assert_eq!(postcard::to_allocvec(&list).unwrap(), bytes);
        assert!(rest.is_empty());
        assert!(take::<Tree>(&nested(DEPTH_MAX)).is_ok());
        assert!(take::<Link>(&nested(DEPTH_MAX + 1)).is_ok());
        assert!(take::<List>(&nested(DEPTH_MAX + 1)).is_err());
        // Levels side by side are no depth.
        let flat = vec![1; 3000].into_iter().map(|n| [n, 0]).collect::<Vec<_>>().concat();
        assert!(take::<Vec<List>>(&[&[0xb8, 0x17][..], &flat].concat()).is_ok());
    });
}

#[test]
fn large_values_nested_beyond_the_stack() {
    on_small_stack(|| {
        let text = error::<Fat>(&vec![1; 4000]);
        assert!(text.contains("bytes of stack"), "{text}");
    });
}

/// Runs `body` in threads with stacks of very different size.
fn on_stacks_of_any_size(body: impl Fn() + Copy + Send + 'static) {
    for bytes in [64 << 10, 128 << 10, 512 << 10, 2 << 20, 8 << 20] {
        let thread = thread::Builder::new().stack_size(bytes).spawn(body).expect("a thread can be started");
        thread.join().expect("it does not panic");
    }
}

#[test]
fn nesting_in_a_thread_of_any_stack() {
    on_stacks_of_any_size(|| {
        for text in
            [error::<List>(&vec![1; 1 << 16]), error::<Tree>(&vec![1; 1 << 16]), error::<Fat>(&vec![1; 1 << 16])]
        {
            assert!(text.starts_with("nested ") || text.starts_with("a value of "), "{text}");
        }
    });
}

#[test]
fn a_large_stack_lets_nest_as_deep_as_may_be() {
    let deepest = [vec![1; DEPTH_MAX as usize - 1], vec![0]].concat();
    let decoded = thread::Builder::new().stack_size(8 << 20).spawn(move || take::<List>(&deepest).map(|_| ()));
    decoded.expect("a thread can be started").join().expect("it does not panic").expect("as deep as may be");
}

type Wide = [[[u64; 32]; 32]; 32];

#[test]
fn a_value_too_large_for_the_stack_is_an_error() {
    for stack_bytes in [1 << 20, 2 << 20, 16 << 20] {
        let decode = move || {
            // The C library may have handed out the larger stack of an earlier thread.
            let fits = stack::left() / COPIES >= size_of::<Wide>();
            match take::<Box<Wide>>(&[1; 32 * 32 * 32]) {
                Ok((wide, _)) => assert_eq!(wide.as_flattened().as_flattened(), [1; 32 * 32 * 32]),
                Err(error) => {
                    assert!(!fits || stack_bytes < 16 << 20);
                    let text = error.to_string();
                    assert!(text.starts_with("a value of 262144 bytes, of which up to "), "{text}");
                }
            }
        };
        let thread = thread::Builder::new().stack_size(stack_bytes).spawn(decode).expect("a thread can be started");
        thread.join().expect("it does not panic");
    }
}

/// Everything that serde has, once there and back.
#[test]
fn every_kind_of_value_survives() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Variants {
        Unit,
        Newtype(u8),
        Tuple(u8, i16),
        Struct { a: char, b: bool },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype(f32);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(f64, i8);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All<'a> {
        numbers: (u16, u32, u64, u128, i32, i64, i128),
        text: &'a str,
        bytes: &'a [u8],
        owned: String,
        variants: Vec<Variants>,
        unit: Unit,
        newtype: Newtype,
        pair: Pair,
        options: [Option<()>; 2],
        map: BTreeMap<u8, Vec<Unit>>,
    }
    let variants =
        vec![Variants::Unit, Variants::Newtype(1), Variants::Tuple(2, -3), Variants::Struct { a: 'ä', b: true }];
    let all = All {
        numbers: (1, 2, 3, u128::MAX, -4, i64::MIN, i128::MIN),
        text: "lent",
        bytes: &[1, 2],
        owned: "owned".into(),
        variants,
        unit: Unit,
        newtype: Newtype(0.5),
        pair: Pair(1.5, -1),
        options: [None, Some(())],
        map: BTreeMap::from([(1, vec![Unit, Unit])]),
    };
    let mut bytes = postcard::to_allocvec(&all).unwrap();
    bytes.push(77);
    let (copy, rest) = take::<All<'_>>(&bytes).expect("what was encoded can be decoded");
    assert_eq!((copy, rest), (all, &[77][..]));
}

/// A vector that believes the length that it is told, as those of some crates do.
struct Trusting(usize);

impl<'de> Deserialize<'de> for Trusting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hint;
        impl<'de> Visitor<'de> for Hint {
            type Value = Trusting;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Trusting, A::Error> {
                let hint = access.size_hint().unwrap_or(0);
                while access.next_element::<()>()?.is_some() {}
                Ok(Trusting(hint))
            }
        }
        deserializer.deserialize_seq(Hint)
    }
}

#[test]
fn no_hint_is_larger_than_the_bytes() {
    assert_eq!(take::<Trusting>(&length(5)).expect("of five").0.0, 5);
    assert_eq!(take::<Trusting>(&length(60_000)).expect("as it claims").0.0, 9);
    assert!(take::<Trusting>(&length(1 << 60)).is_err());
}

/// An error of its own does not hide which limit it was.
#[test]
fn a_limit_is_told_even_if_the_error_is_swallowed() {
    struct Lenient;
    impl<'de> Deserialize<'de> for Lenient {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let _ = Vec::<Unit>::deserialize(deserializer);
            Ok(Lenient)
        }
    }
    assert!(error::<Lenient>(&length(1 << 60)).starts_with("1152921504606846976 elements in 9 bytes"));
}

// ---- encoding ------------------------------------------------------------------------------------------------------

fn encoded<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    let mut encoder = Encoder::to_vec(Vec::new());
    compact::write(value, &mut encoder).map_err(|error| error.to_string())?;
    Ok(encoder.finish().expect_err("it writes to a vector"))
}

const EMPTY_TEXT: &str = "more than 65536 elements that take no bytes: send their number instead";

#[test]
fn more_elements_that_take_no_bytes_than_could_be_decoded() {
    use std::marker::PhantomData;
    #[derive(Clone, Copy, Serialize)]
    struct Skipped {
        #[serde(skip)]
        _number: u64,
    }
    /// As many units as it says.
    struct Lazy(u64);
    impl Serialize for Lazy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map((0..self.0).map(|_| ((), Unit)))
        }
    }
    const ENDLESS: usize = usize::MAX;
    assert_eq!(encoded(&vec![(); ENDLESS]).unwrap_err(), EMPTY_TEXT);
    assert_eq!(encoded(&[[0_u8; 0]; ENDLESS][..]).unwrap_err(), EMPTY_TEXT);
    assert_eq!(encoded(&[PhantomData::<String>; ENDLESS][..]).unwrap_err(), EMPTY_TEXT);
    assert_eq!(encoded(&[((), ()); ENDLESS][..]).unwrap_err(), EMPTY_TEXT);
    assert_eq!(encoded(&Some((1, &[[(); 3]; ENDLESS][..]))).unwrap_err(), EMPTY_TEXT);
    assert_eq!(encoded(&vec![vec![(); 40_000]; 2]).unwrap_err(), EMPTY_TEXT);
    assert_eq!(encoded(&vec![Skipped { _number: 1 }; EMPTY_ELEMENTS_MAX + 1]).unwrap_err(), EMPTY_TEXT);
    assert_eq!(encoded(&Lazy(u64::MAX)).unwrap_err(), EMPTY_TEXT);
    assert_eq!(check_sequence(ENDLESS, 0).unwrap_err().to_string(), EMPTY_TEXT);
}

#[test]
fn encoded_values_can_be_decoded() {
    let units = vec![Unit; EMPTY_ELEMENTS_MAX];
    let bytes = encoded(&(1_u8, &units)).expect("up to the limit");
    assert_eq!(take::<(u8, Vec<Unit>)>(&bytes).expect("the same limit").0.1.len(), EMPTY_ELEMENTS_MAX);
    check_sequence(EMPTY_ELEMENTS_MAX, 0).expect("up to the limit");
    // Elements that take bytes do not count.
    assert!(encoded(&vec![Some(()); 3 * EMPTY_ELEMENTS_MAX]).is_ok());
    assert!(encoded(&vec![vec![(); 0]; 3 * EMPTY_ELEMENTS_MAX]).is_ok());
}

#[test]
fn a_sequence_too_long_is_refused_before_there_is_memory_for_it() {
    let text = "a value is longer than the limit of 4294967295 bytes";
    assert_eq!(check_sequence(1 << 29, 8).unwrap_err().to_string(), text);
    assert_eq!(check_sequence(usize::MAX, 16).unwrap_err().to_string(), text);
    check_sequence((1 << 29) - 1, 8).expect("just below");
}

#[test]
fn too_deep_nesting_is_refused_where_it_is_encoded() {
    fn list(levels: u32) -> List {
        (1..levels).fold(List::Nil, |list, _| List::Cons(Box::new(list)))
    }
    on_small_stack(|| {
        let text = format!("nested deeper than {DEPTH_MAX} levels");
        let bytes = encoded(&list(DEPTH_MAX)).expect("as deep as may be");
        assert_eq!(take::<List>(&bytes).expect("the same limit").0, list(DEPTH_MAX));
        assert_eq!(encoded(&list(DEPTH_MAX + 1)).unwrap_err(), text);
        assert_eq!(encoded(&list(3000)).unwrap_err(), text);
        let tree = (0..3000).fold(Tree(vec![]), |tree, _| Tree(vec![tree]));
        assert_eq!(encoded(&tree).unwrap_err(), text);
        let link = (0..3000).fold(Link { next: None }, |link, _| Link { next: Some(Box::new(link)) });
        assert_eq!(encoded(&link).unwrap_err(), text);
        let of = |inner: Directory| Directory { entries: BTreeMap::from([(1, inner)]) };
        let directory = (0..500).fold(Directory { entries: BTreeMap::new() }, |inner, _| of(inner));
        assert_eq!(encoded(&directory).unwrap_err(), text);
    });
    on_stacks_of_any_size(|| {
        // Its destructor would overflow the smallest of these stacks by itself.
        let list = std::mem::ManuallyDrop::new(list(1000));
        let text = encoded(&*list).expect_err("too deep for the limit, or for the stack");
        assert!(text.starts_with("nested "), "{text}");
    });
}

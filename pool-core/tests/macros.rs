//! The tasks that `#[pool_task]` makes of functions, without a pool: arguments and results go through their bytes and back in
//! this process.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::fmt::Debug;
use std::path::Path;

use pool_core::__private::{CodecError, Decoder, Encoder};
use pool_core::prelude::*;
use serde::{Deserialize, Serialize};

/// Calls the task as a worker does.
fn call<T: Task>(_task: T, args: T::Args<'_>) -> Result<T::Output, CodecError> {
    let sent = bytes(T::args_size(), |out| T::encode_args(&args, out));
    let output = T::invoke(Decoder::new(&sent))?;
    let returned = bytes(T::output_size(), |out| T::encode_output(&output, out));
    T::decode_output(Decoder::new(&returned))
}

fn bytes(size: Option<usize>, encode: impl Fn(&mut Encoder<'_>) -> Result<(), CodecError>) -> Vec<u8> {
    let mut out = Encoder::to_vec(Vec::new());
    encode(&mut out).expect("it can be encoded");
    let bytes = out.finish().expect_err("a vector");
    assert!(size.is_none_or(|size| size == bytes.len()), "{size:?} bytes promised, {} written", bytes.len());

    // The same into memory that is there already, and into too little of it.
    for room in [bytes.len(), bytes.len() / 2] {
        let mut memory = vec![0; room];
        let mut out = Encoder::new(&mut memory);
        encode(&mut out).expect("it can be encoded");
        match out.finish() {
            Ok(length) => assert_eq!(memory[..length], bytes),
            Err(spilled) => assert_eq!(spilled, bytes),
        }
    }
    bytes
}

/// Known to serde and to nothing else, and not `Clone`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    name: String,
}

impl Point {
    fn new(x: f64) -> Self {
        Point { x, name: format!("at {x}") }
    }
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    name: &'a str,
    size: u32,
}

mod owned {
    use super::*;

    #[pool_task]
    fn nothing() {}

    #[pool_task]
    fn square(x: u64) -> u64 {
        x * x
    }

    #[pool_task]
    fn plain(byte: u8, flag: bool, letter: char, pair: (i16, f32), array: [u32; 40]) -> (f32, [u32; 40], char) {
        (f32::from(byte) + f32::from(pair.0) + pair.1 + f32::from(flag), array, letter)
    }

    #[pool_task]
    fn lumps(text: String, mut numbers: Vec<f64>, bytes: Vec<u8>) -> (String, Vec<f64>, Vec<u8>) {
        numbers.reverse();
        (text, numbers, bytes)
    }

    #[pool_task]
    fn by_serde(point: Point, map: BTreeMap<String, Vec<u8>>, _: Option<u8>) -> Result<Point, String> {
        if map.contains_key("x") { Ok(point) } else { Err(format!("no x among {}", map.len())) }
    }

    #[pool_task]
    #[expect(clippy::too_many_arguments)]
    fn eight(a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: i64) -> i64 {
        i64::from(a) + i64::from(b) + i64::from(c) + d as i64 + i64::from(e) + i64::from(f) + i64::from(g) + h
    }

    #[test]
    fn values_travel() -> Result<(), CodecError> {
        call(nothing::Task, ())?;
        assert_eq!(call(square::Task, 7)?, 49);
        let array = std::array::from_fn(|i| i as u32);
        assert_eq!(call(plain::Task, (1, true, 'ß', (2, 0.5), array))?, (4.5, array, 'ß'));
        let lumps = call(lumps::Task, ("text".into(), vec![1.0, 2.0], vec![1, 2, 3]))?;
        assert_eq!(lumps, ("text".into(), vec![2.0, 1.0], vec![1, 2, 3]));
        let map = BTreeMap::from([("x".to_owned(), vec![1])]);
        assert_eq!(call(by_serde::Task, (Point::new(1.0), map, None))?, Ok(Point::new(1.0)));
        assert_eq!(call(by_serde::Task, (Point::new(1.0), BTreeMap::new(), None))?, Err("no x among 0".into()));
        assert_eq!(call(eight::Task, (1, 2, 3, 4, 5, 6, 7, 8))?, 36);
        Ok(())
    }

    #[test]
    fn sizes_that_never_vary_are_known() {
        assert_eq!(nothing::Task::args_size(), Some(0));
        assert_eq!(nothing::Task::output_size(), Some(0));
        assert_eq!(square::Task::args_size(), Some(8));
        assert_eq!(square::Task::output_size(), Some(8));
        assert_eq!(plain::Task::args_size(), Some(1 + 1 + 4 + 6 + 160));
        assert_eq!(eight::Task::args_size(), Some(30));
        assert_eq!(lumps::Task::args_size(), None);
        assert_eq!(by_serde::Task::output_size(), None);
        assert_eq!(square::Task.timeout(Duration::from_secs(1)).name_and_size(), ("square", Some(8)));
    }

    /// A task with options of its own takes all else over from the task.
    trait NameAndSize: Task {
        fn name_and_size(self) -> (&'static str, Option<usize>) {
            (Self::entry().name(), Self::args_size())
        }
    }
    impl<T: Task> NameAndSize for T {}
}

mod lent {
    use super::*;

    #[pool_task]
    fn in_place(text: &str, bytes: &[u8], path: &Path) -> (usize, usize, usize) {
        (text.as_ptr().addr(), bytes.as_ptr().addr(), path.as_os_str().as_encoded_bytes().as_ptr().addr())
    }

    #[pool_task]
    fn slices(numbers: &[f64], pairs: &[(u8, u32)], points: &[Point], words: &[&str], units: &[()]) -> String {
        format!("{numbers:?} {pairs:?} {} {words:?} {}", points[0].name, units.len())
    }

    #[pool_task]
    fn values(
        point: &Point,
        number: &u64,
        numbers: &Vec<u16>,
        text: &String,
        maybe: &Option<u8>,
        twice: &&str,
    ) -> String {
        format!("{} {number} {numbers:?} {text} {maybe:?} {twice}", point.name)
    }

    #[pool_task]
    fn system(name: &OsStr, text: &CStr) -> String {
        format!("{name:?} {text:?}")
    }

    #[pool_task]
    fn within(maybe: Option<&str>, pair: (&str, u32), bytes: Option<&[u8]>, text: Cow<'_, str>) -> String {
        format!("{maybe:?} {pair:?} {bytes:?} {text}")
    }

    #[pool_task]
    fn records(record: Record<'_>, reference: &Record<'_>, several: &[Record<'_>]) -> (String, u32) {
        (format!("{}{}{}", record.name, reference.name, several[0].name), record.size + reference.size)
    }

    #[test]
    fn references_travel() -> Result<(), CodecError> {
        let points = [Point::new(1.0)];
        let text = call(slices::Task, (&[1.5, 2.5], &[(1, 2)], &points, &["a", "b"], &[(), ()]))?;
        assert_eq!(text, r#"[1.5, 2.5] [(1, 2)] at 1 ["a", "b"] 2"#);
        let text = call(values::Task, (&points[0], &7, &vec![1, 2], &"text".to_owned(), &Some(8), &"twice"))?;
        assert_eq!(text, "at 1 7 [1, 2] text Some(8) twice");
        assert_eq!(call(system::Task, (OsStr::new("os"), c"c"))?, r#""os" "c""#);
        let text = call(within::Task, (Some("maybe"), ("pair", 2), Some(b"ab"), "cow".into()))?;
        assert_eq!(text, r#"Some("maybe") ("pair", 2) Some([97, 98]) cow"#);
        let record = |name| Record { name, size: 2 };
        let joined = call(records::Task, (record("a"), &record("b"), &[record("c")]))?;
        assert_eq!(joined, ("abc".into(), 4));
        Ok(())
    }

    #[test]
    fn text_bytes_and_paths_are_not_copied_by_the_worker() -> Result<(), CodecError> {
        let sent = bytes(None, |out| in_place::Task::encode_args(&("text", b"bytes", Path::new("path")), out));
        let (text, bytes, path) = in_place::Task::invoke(Decoder::new(&sent))?;
        let all = sent.as_ptr_range();
        for address in [text, bytes, path] {
            assert!((all.start.addr()..all.end.addr()).contains(&address));
        }
        Ok(())
    }

    #[test]
    fn a_slice_and_a_vector_are_the_same_bytes() {
        #[pool_task]
        fn vector(numbers: Vec<(u8, f64)>) -> usize {
            numbers.len()
        }
        #[pool_task]
        fn slice(numbers: &[(u8, f64)]) -> usize {
            numbers.len()
        }
        let numbers = vec![(1, 1.0), (2, 2.0)];
        let of_slice = bytes(None, |out| slice::Task::encode_args(&&numbers[..], out));
        let of_vector = bytes(None, |out| vector::Task::encode_args(&numbers, out));
        assert_eq!(of_slice, of_vector);
        assert_eq!(slice(&numbers), vector(numbers));
    }
}

mod bad_bytes {
    use super::*;

    #[pool_task]
    fn add(a: u64, b: u64) -> u64 {
        a + b
    }

    #[pool_task]
    fn either(flag: bool, text: &str) -> usize {
        if flag { text.len() } else { 0 }
    }

    fn error<R: Debug>(result: Result<R, CodecError>) -> String {
        result.expect_err("the bytes are wrong").to_string()
    }

    #[test]
    fn are_errors() {
        assert_eq!(error(add::Task::invoke(Decoder::new(&[0; 15]))), "8 more bytes expected and 7 left");
        assert_eq!(error(add::Task::invoke(Decoder::new(&[0; 17]))), "1 bytes left over after the value");
        assert_eq!(error(add::Task::decode_output(Decoder::new(&[0; 9]))), "1 bytes left over after the value");
        assert_eq!(error(either::Task::invoke(Decoder::new(&[2; 9]))), "bytes that are no `bool`");
        let not_text = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0xff];
        assert!(error(either::Task::invoke(Decoder::new(&not_text))).contains("utf-8"));
    }
}

mod entries {
    use super::*;

    /// Documented.
    #[pool_task(timeout = "1.5s", retries = 3, retry_panics, priority = "high")]
    #[rustfmt::skip]
    pub(crate) fn with_options(r#type: &[Option<& str>], mut pair: (u8,), _: &'_ Vec< u8 >) -> Result<(), Box<[u8; 4]>> {
        pair.0 += 1;
        let _ = (r#type, pair);
        Ok(())
    }

    #[pool_task]
    fn r#move(x: u64) {
        let _ = x;
    }

    #[test]
    fn the_entry_tells_the_source() {
        let entry = with_options::Task::entry();
        assert_eq!(entry.name(), "with_options");
        assert_eq!(entry.module(), module_path!());
        assert_eq!(entry.file(), file!());
        assert_eq!(entry.args(), "type: &[Option<&str>], pair: (u8,), _: &'_ Vec<u8>");
        assert_eq!(entry.output(), "Result<(), Box<[u8; 4]>>");
        let source = include_str!("macros.rs").lines().nth(entry.line() as usize - 1);
        assert!(source.is_some_and(|line| line.contains("fn with_options(")), "{source:?}");
        let entry = r#move::Task::entry();
        assert_eq!((entry.name(), entry.args(), entry.output()), ("move", "x: u64", "()"));
    }

    #[test]
    fn have_the_options_of_the_attribute() {
        let options = format!("{:?}", with_options::Task.options());
        assert_eq!(
            options,
            "TaskOptions { timeout: Some(1.5s), retries: Some(3), retry_panics: true, chunk_size: None, prefetch: None, priority: High, \
             max_concurrent: None, label: None, seed: None, reports: false, once: false, grace: None }"
        );
        let options = with_options::Task
            .retries(1)
            .priority(pool_core::Priority::Low)
            .max_concurrent(2)
            .label("nightly")
            .reports()
            .grace(std::time::Duration::from_secs(2))
            .options();
        assert_eq!(
            format!("{options:?}"),
            "TaskOptions { timeout: Some(1.5s), retries: Some(1), retry_panics: true, chunk_size: None, prefetch: None, priority: Low, \
             max_concurrent: Some(2), label: Some(\"nightly\"), seed: None, reports: true, once: false, grace: Some(2s) }"
        );
        let options = format!("{:?}", r#move::Task.options());
        assert_eq!(
            options,
            "TaskOptions { timeout: None, retries: None, retry_panics: false, chunk_size: None, prefetch: None, priority: Normal, \
             max_concurrent: None, label: None, seed: None, reports: false, once: false, grace: None }"
        );
    }

    #[test]
    fn are_in_the_table() {
        let tasks = pool_core::tasks();
        for expected in [with_options::Task::entry(), r#move::Task::entry()] {
            assert_eq!(tasks.iter().filter(|entry| std::ptr::eq(**entry, expected)).count(), 1, "{expected:?}");
        }
    }
}

mod places {
    use super::*;

    mod first {
        use super::*;

        #[pool_task]
        pub(super) fn same() -> u8 {
            1
        }
    }

    mod second {
        use super::*;

        #[pool_task]
        pub(in super::super) fn same() -> u8 {
            2
        }
    }

    macro_rules! adders {
        ($($name:ident: $type:ty;)*) => {$(
            #[pool_task]
            fn $name(a: $type, b: &$type, c: &[$type]) -> $type {
                a + b + c.iter().sum::<$type>()
            }
        )*};
    }
    adders! {
        add_u8: u8;
        add_f64: f64;
    }

    macro_rules! length_of {
        ($name:ident, $type:ty) => {
            #[pool_task]
            fn $name(value: $type) -> usize {
                value.len()
            }
        };
    }
    length_of!(length_of_text, &str);
    length_of!(length_of_bytes, &[u8]);
    length_of!(length_of_points, &[Point]);

    #[pool_task]
    #[cfg(any())]
    fn not_here(x: NoSuchType) -> u64 {
        x
    }

    #[cfg(any())]
    #[pool_task]
    fn not_here_either(x: NoSuchType) -> u64 {
        x
    }

    #[test]
    fn of_one_name_in_two_modules() -> Result<(), CodecError> {
        use second::same;
        assert_eq!((call(first::same::Task, ())?, call(same::Task, ())?), (1, 2));
        assert_eq!((first::same(), same()), (1, 2));
        assert_ne!(first::same::Task::entry().module(), same::Task::entry().module());
        Ok(())
    }

    #[test]
    fn in_the_body_of_a_function() -> Result<(), CodecError> {
        #[derive(Serialize, Deserialize)]
        struct Local(u64);

        #[pool_task]
        fn inside(local: &Local) -> u64 {
            local.0
        }
        assert_eq!(call(inside::Task, &Local(3))?, 3);
        let inside = inside(&Local(4)); // A variable may have the function's name.
        assert_eq!(inside, 4);
        Ok(())
    }

    #[test]
    fn out_of_other_macros() -> Result<(), CodecError> {
        assert_eq!(call(add_u8::Task, (1, &2, &[3, 4]))?, 10);
        assert_eq!(call(add_f64::Task, (1.0, &2.0, &[3.5]))?, 6.5);
        assert_eq!(add_u8::Task::entry().args(), "a: u8, b: &u8, c: &[u8]");
        assert_eq!(call(length_of_text::Task, "text")?, 4);
        assert_eq!(call(length_of_bytes::Task, b"bytes")?, 5);
        assert_eq!(call(length_of_points::Task, &[Point::new(1.0)])?, 1);
        Ok(())
    }

    #[test]
    fn where_conditions_do_not_hold() {
        assert!(pool_core::tasks().iter().all(|entry| !entry.name().starts_with("not_here")));
    }
}

//! Results with errors that serde does not know.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use pool_core::prelude::*;
use serde::{Deserialize, Serialize};
use tests::trial::{Check, Setup, each_method, everywhere};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        everywhere(errors_of_the_system_keep_kind_and_number),
        each_method(other_io_errors_keep_kind_text_and_sources),
        each_method(boxed_errors_keep_text_and_sources),
        each_method(an_err_is_a_value_and_is_not_retried),
        each_method(values_beside_them_have_the_format_of_the_task),
    ]
}

#[pool_task]
fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

fn errors_of_the_system_keep_kind_and_number(setup: &Setup) {
    let pool = setup.pool();
    let paths = ["/proc/self/comm", "/no/such/file", "/"].map(Path::new);
    for results in [
        pool.map(read::Task, paths).unwrap(),
        pool.imap(read::Task, paths).unwrap().collect::<pool_core::Result<_>>().unwrap(),
        paths.map(|path| pool.apply(read::Task, path).unwrap()).into(),
    ] {
        assert!(!results[0].as_ref().unwrap().is_empty());
        let error = results[1].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::NotFound, Some(2)));
        assert_eq!(error.to_string(), io::Error::from_raw_os_error(2).to_string());
        assert_eq!(results[2].as_ref().unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}

#[pool_task]
fn fail(case: u8) -> io::Result<()> {
    Err(match case {
        0 => io::ErrorKind::TimedOut.into(),
        1 => io::Error::other("a word"),
        2 => io::Error::new(io::ErrorKind::InvalidData, io::Error::other(Outer(Inner()))),
        _ => "text".parse::<u32>().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error)).unwrap_err(),
    })
}

fn other_io_errors_keep_kind_text_and_sources(setup: &Setup) {
    let pool = setup.pool();
    for case in 0..4 {
        let (sent, got) = (fail(case).unwrap_err(), pool.apply(fail::Task, case).unwrap().unwrap_err());
        assert_eq!((got.kind(), got.to_string()), (sent.kind(), sent.to_string()));
        assert_eq!(got.get_ref().is_some(), sent.get_ref().is_some());
        assert_eq!(sources(&got), sources(&sent));
    }
}

/// The texts of an error and its sources.
fn sources(error: &dyn StdError) -> Vec<String> {
    std::iter::successors(Some(error), |error| (**error).source()).map(ToString::to_string).collect()
}

macro_rules! errors {
    ($($name:ident $fields:tt says $text:literal, $source:expr;)*) => {$(
        #[derive(Debug)]
        struct $name $fields;
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($text)
            }
        }
        impl StdError for $name {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                let source: fn(&$name) -> Option<&(dyn StdError + 'static)> = $source;
                source(self)
            }
        }
    )*};
}
errors! {
    Inner() says "the disk is full", |_| None;
    Outer(Inner) says "cannot save", |outer| Some(&outer.0);
}

#[pool_task]
fn boxed(count: Option<u32>) -> Result<Vec<u32>, Box<dyn StdError + Send + Sync>> {
    count.map(|count| (0..count).collect()).ok_or_else(|| Outer(Inner()).into())
}

#[pool_task]
fn any(text: &str) -> anyhow::Result<u32> {
    use anyhow::Context;
    text.parse().with_context(|| format!("no number: {text:?}")).context("line 3")
}

fn boxed_errors_keep_text_and_sources(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.apply(boxed::Task, Some(3)).unwrap().unwrap(), [0, 1, 2]);
    let error = pool.apply(boxed::Task, None).unwrap().unwrap_err();
    assert_eq!(sources(&*error), ["cannot save", "the disk is full"]);
    assert_eq!(format!("{error:?}"), "cannot save");

    let results = pool.map(any::Task, ["12", "x"]).unwrap();
    assert_eq!(results[0].as_ref().unwrap(), &12);
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(format!("{error:#}"), "line 3: no number: \"x\": invalid digit found in string");
    assert_eq!(format!("{error:#}"), format!("{:#}", any("x").unwrap_err()));
}

fn an_err_is_a_value_and_is_not_retried(setup: &Setup) {
    let pool = setup.builder().task_timeout(Duration::from_secs(60)).build().unwrap();
    let [result] = pool.map_async(any::Task.retries(3), ["x"]).unwrap().get().unwrap().try_into().unwrap();
    assert!(result.is_err());
    let insights = pool.insights();
    let task = insights.tasks.iter().find(|task| task.task.ends_with("any")).unwrap();
    assert_eq!((task.failed(), task.errs, task.retries), (0, 1, 0));
}

/// The default format has no names, so it refuses this.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "type")]
enum Tagged {
    Number { value: u32 },
}

#[pool_task(codec = "cbor")]
fn tagged(value: Option<u32>) -> io::Result<Tagged> {
    value.map(|value| Tagged::Number { value }).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[pool_task(codec = "cbor")]
fn tagged_or_any(value: Option<u32>) -> anyhow::Result<Tagged> {
    Ok(tagged(value)?)
}

fn values_beside_them_have_the_format_of_the_task(setup: &Setup) {
    let pool = setup.pool();
    assert_eq!(pool.apply(tagged::Task, Some(3)).unwrap().unwrap(), Tagged::Number { value: 3 });
    assert_eq!(pool.apply(tagged::Task, None).unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(pool.apply(tagged_or_any::Task, Some(4)).unwrap().unwrap(), Tagged::Number { value: 4 });
    assert_eq!(pool.apply(tagged_or_any::Task, None).unwrap().unwrap_err().to_string(), "entity not found");
}

//! Types with a lifetime that is not written, and references behind aliases and references.

#![deny(warnings)]

use std::borrow::Cow;
use std::path::Path;

use pool_core::{Pool, pool_task};

#[derive(serde::Serialize, serde::Deserialize)]
struct Record<'a> {
    name: &'a str,
}

type Place<'a> = &'a Path;
type Bytes = [u8];
type Text = str;

#[pool_task]
fn record(record: Record, count: u64) -> usize {
    record.name.len() + count as usize
}

#[pool_task]
fn records(records: &[Record]) -> usize {
    records.len()
}

#[pool_task]
fn cow(text: Cow<str>, _: Option<Record>) -> Cow<'static, str> {
    text.into_owned().into()
}

#[pool_task]
fn place(place: Place) -> bool {
    place.exists()
}

#[pool_task]
fn behind(place: &&Path, text: &&str, bytes: &Bytes, alias: &Text) -> usize {
    place.as_os_str().len() + text.len() + bytes.len() + alias.len()
}

#[pool_task]
fn text(text: &&Path) -> std::path::PathBuf {
    text.to_path_buf()
}

fn main() -> pool_core::Result<()> {
    let pool = Pool::new(1)?;
    let text = String::from("one\ntwo");
    pool.map(record::Task, text.lines().map(|name| (Record { name }, 1)))?;
    pool.apply(records::Task, &[Record { name: &text }][..])?;
    pool.apply(cow::Task, (text.as_str().into(), None))?;
    pool.map(place::Task, text.lines().map(Path::new))?;
    let path = Path::new(&text);
    pool.apply(behind::Task, (&path, &&*text, text.as_bytes(), &text))?;
    pool.apply(text::Task, &path)?;
    Ok(())
}

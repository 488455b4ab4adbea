//! Decodes arbitrary bytes as values of many types.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::tasks::{List, Unit, decode_as_results};
use crate::codec::decoder::Decoder;
use crate::codec::limits::nesting::EMPTY_ELEMENTS_MAX;
use crate::codec::plain::Plain;
use crate::codec::{BlobCodec, Decode, PlainCodec, SerdeCodec};
use crate::lane::messages::Failure;
use crate::launch::messages::ServerReport;
use crate::process::last_words::LastWords;

#[derive(Debug, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Debug, Serialize, Deserialize)]
struct Directory {
    entries: BTreeMap<u8, Directory>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Fat {
    next: Option<Box<Fat>>,
    words: [[u16; 32]; 32],
}

/// Decodes `data` as values of many types, in each way in which values travel.
///
/// # Panics
///
/// If a decoded value is larger than the bytes can hold.
pub fn decode(data: &[u8]) {
    serde::<List>(data);
    serde::<Tree>(data);
    serde::<Directory>(data);
    serde::<Option<Box<List>>>(data);
    serde::<Option<Box<Fat>>>(data);
    serde::<HashMap<String, Vec<Vec<u8>>>>(data);
    serde::<HashMap<Option<()>, Unit>>(data);
    serde::<Vec<u64>>(data);
    serde::<Vec<Option<List>>>(data);
    serde::<Result<String, Vec<Unit>>>(data);
    serde::<(u8, char, bool, i128, f32, &str, &[u8])>(data);
    serde::<[u16; 4]>(data);
    let most = data.len() + EMPTY_ELEMENTS_MAX;
    assert!(serde::<Vec<()>>(data).is_none_or(|units| units.len() <= most));
    assert!(serde::<Vec<Vec<Unit>>>(data).is_none_or(|units| units.iter().map(Vec::len).sum::<usize>() <= most));
    assert!(serde::<String>(data).is_none_or(|text| text.len() < data.len()));

    plain::<()>(data);
    plain::<(u8, char, bool)>(data);
    plain::<[[u64; 2]; 2]>(data);
    plain::<[(); 9]>(data);
    blob::<String>(data, String::len);
    blob::<&str>(data, |text| text.len());
    blob::<&[u8]>(data, |bytes| bytes.len());
    blob::<PathBuf>(data, |path| path.as_os_str().len());
    blob::<Vec<u8>>(data, Vec::len);
    blob::<Vec<()>>(data, Vec::len);
    blob::<Vec<[(); 9]>>(data, Vec::len);
    blob::<Vec<u64>>(data, |numbers| 8 * numbers.len());
    blob::<Vec<(u8, char, bool)>>(data, |values| 6 * values.len());

    // The messages that the host reads beside values.
    let _ = postcard::from_bytes::<Failure>(data);
    let _ = postcard::from_bytes::<LastWords>(data);
    let _ = postcard::from_bytes::<ServerReport>(data);

    if let Some((&items, bytes)) = data.split_first() {
        decode_as_results(u32::from(items) % 8, bytes);
    }
}

fn serde<'a, T: Serialize + Deserialize<'a>>(data: &'a [u8]) -> Option<T> {
    let mut input = Decoder::new(data);
    let value = SerdeCodec.decode(&mut input);
    assert!(value.is_err() || data.ends_with(input.rest));
    value.ok()
}

/// A plain value encodes to the bytes that it was decoded from.
fn plain<T: Plain>(data: &[u8]) {
    let mut input = Decoder::new(data);
    if let Ok(value) = PlainCodec.decode(&mut input) {
        let value: T = value;
        let mut bytes = vec![0; T::SIZE];
        value.to_bytes(&mut bytes);
        assert_eq!([&bytes, input.rest].concat(), data);
    }
}

/// A blob holds as many bytes as there are behind its length, at most.
fn blob<'a, T>(data: &'a [u8], bytes: impl Fn(&T) -> usize)
where
    BlobCodec: Decode<'a, T>,
{
    if let Ok(value) = BlobCodec.decode(&mut Decoder::new(data)) {
        assert!(bytes(&value) + 8 <= data.len());
    }
}

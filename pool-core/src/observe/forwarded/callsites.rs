//! Places in the code of workers, as the host's subscriber knows them.
//!
//! `tracing` keeps such a place for ever, so each is made once, whichever worker names it, and their number and their texts are
//! bounded: a worker that makes up new ones gets a common one.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::Metadata;
use tracing::field::FieldSet;
use tracing::subscriber::Interest;
use tracing_core::callsite::{self, Identifier};
use tracing_core::metadata::Kind;

use crate::worker::forwarding::record::{Callsite, level_of};

/// Places that are kept, at most.
const CALLSITES_MAX: usize = 4096;
/// Bytes of their texts, at most.
const TEXT_BYTES_MAX: usize = 4 << 20;

static KNOWN: Mutex<Known> = Mutex::new(Known { callsites: BTreeMap::new(), bytes: 0 });

struct Known {
    callsites: BTreeMap<Callsite, &'static Metadata<'static>>,
    bytes: usize,
}

/// A callsite that is made while the program runs.
struct Dynamic(OnceLock<Metadata<'static>>);

impl tracing_core::Callsite for Dynamic {
    fn set_interest(&self, _: Interest) {
        // Subscribers are asked for each span and event, so a change of their filters counts at once.
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.0.get().expect("it is set before the callsite is registered")
    }
}

/// The metadata of this place, or of the one that stands for all others once there are too many.
pub(super) fn metadata(callsite: &Callsite) -> &'static Metadata<'static> {
    // There are ten of these, one for each level and kind, so they need no bound.
    make(callsite, false).or_else(|| make(&common(callsite), true)).expect("the common places are never too many")
}

fn common(callsite: &Callsite) -> Callsite {
    Callsite {
        is_span: callsite.is_span,
        level: callsite.level.clamp(1, 5),
        name: "one of too many places".to_owned(),
        target: "pool_core".to_owned(),
        file: None,
        line: None,
        module: None,
        fields: vec!["message".to_owned()],
    }
}

fn make(callsite: &Callsite, is_common: bool) -> Option<&'static Metadata<'static>> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&metadata) = known.callsites.get(callsite) {
        return Some(metadata);
    }
    let texts = [&callsite.name, &callsite.target].into_iter().chain(&callsite.file).chain(&callsite.module);
    let bytes: usize = texts.chain(&callsite.fields).map(|text| text.len() + size_of::<String>()).sum();
    if !is_common && (known.callsites.len() >= CALLSITES_MAX || known.bytes + bytes > TEXT_BYTES_MAX) {
        return None;
    }
    // Counted before it is leaked, and never given back: `tracing` has no way to forget a place.
    known.bytes += bytes;
    // Leaked, as the registry and each span that is made there refer to it without an end.
    let site = &*Box::leak(Box::new(Dynamic(OnceLock::new())));
    let metadata = site.0.get_or_init(|| leak(callsite, site));
    known.callsites.insert(callsite.clone(), metadata);
    drop(known);
    // Without the lock: subscribers are asked whether they are interested.
    callsite::register(site);
    Some(metadata)
}

fn leak(callsite: &Callsite, site: &'static Dynamic) -> Metadata<'static> {
    let text = |text: &String| &*Box::leak(text.clone().into_boxed_str());
    let optional = |optional: &Option<String>| optional.as_ref().map(text);
    let fields: Vec<&'static str> = callsite.fields.iter().map(text).collect();
    Metadata::new(
        text(&callsite.name),
        text(&callsite.target),
        level_of(callsite.level),
        optional(&callsite.file),
        callsite.line,
        optional(&callsite.module),
        FieldSet::new(Box::leak(fields.into_boxed_slice()), Identifier(site)),
        if callsite.is_span { Kind::SPAN } else { Kind::EVENT },
    )
}

//! Types without a known size: where a type must have one, and what to write instead.

use syn::{GenericArgument, PathArguments, Type, TypePath, TypeReference, parse_quote};

use crate::text;
use crate::types;

/// Types of the standard library without a known size, each with its owned twin.
const TWINS: &[(&str, &str)] = &[("str", "String"), ("Path", "PathBuf"), ("OsStr", "OsString"), ("CStr", "CString")];

/// Types whose type arguments must have a known size.
const CONTAINERS: &[&str] =
    &["Option", "Result", "Vec", "VecDeque", "HashMap", "HashSet", "BTreeMap", "BTreeSet", "BinaryHeap"];

/// The parts of the type that have no known size where they need one.
pub(crate) fn unsized_parts(ty: &Type) -> Vec<Type> {
    let mut parts = Vec::new();
    each_unsized(&mut ty.clone(), &mut |part| parts.push(part.clone()));
    parts
}

/// Lends the parts that have no known size, so that rustc adds nothing to our error about them.
pub(crate) fn lend_unsized(ty: &mut Type) {
    each_unsized(ty, &mut |part| *part = parse_quote!(&#part));
}

/// The type to write instead of one without a known size.
pub(crate) fn owned_twin(ty: &Type) -> String {
    match types::bare(ty) {
        Type::Slice(slice) => format!("Vec<{}>", text::of(&slice.elem)),
        Type::Path(path) => twin(path).unwrap_or_default().to_owned(),
        ty => format!("Box<{}>", text::of(ty)),
    }
}

fn twin(path: &TypePath) -> Option<&'static str> {
    let last = path.path.segments.last()?;
    let twin = TWINS.iter().find(|(name, _)| last.ident == name && last.arguments.is_none());
    twin.map(|(_, owned)| *owned)
}

/// Whether the type has no known size, as its tokens tell.
pub(crate) fn is_unsized(ty: &Type) -> bool {
    match types::bare(ty) {
        Type::Slice(_) | Type::TraitObject(_) => true,
        Type::Path(path) => twin(path).is_some(),
        _ => false,
    }
}

fn each_unsized(ty: &mut Type, found: &mut dyn FnMut(&mut Type)) {
    if is_unsized(ty) {
        return found(ty);
    }
    match ty {
        Type::Group(group) => each_unsized(&mut group.elem, found),
        Type::Paren(paren) => each_unsized(&mut paren.elem, found),
        Type::Reference(TypeReference { elem, .. }) => match &mut **elem {
            // It is lent, but its elements lie side by side.
            Type::Slice(slice) => each_unsized(&mut slice.elem, found),
            elem if is_unsized(elem) => {}
            elem => each_unsized(elem, found),
        },
        Type::Tuple(tuple) => tuple.elems.iter_mut().for_each(|elem| each_unsized(elem, found)),
        Type::Array(array) => each_unsized(&mut array.elem, found),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last_mut() else { return };
            if !CONTAINERS.iter().any(|name| last.ident == name) {
                return;
            }
            let PathArguments::AngleBracketed(arguments) = &mut last.arguments else { return };
            for argument in &mut arguments.args {
                if let GenericArgument::Type(ty) = argument {
                    each_unsized(ty, found);
                }
            }
        }
        _ => {}
    }
}

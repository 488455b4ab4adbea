//! Facts about a type that its tokens tell.

use syn::visit::{self, Visit};
use syn::{Expr, ExprLit, Lifetime, Lit, Path, PathArguments, PathSegment, Type, TypeReference};

/// Types of the standard library that have no lifetime.
const OWNED: &[&str] = &[
    "bool",
    "char",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "f32",
    "f64",
    "str",
    "String",
    "Path",
    "PathBuf",
    "OsStr",
    "OsString",
    "CStr",
    "CString",
    "Duration",
    "SystemTime",
    "Vec",
    "VecDeque",
    "Box",
    "Option",
    "Result",
    "HashMap",
    "HashSet",
    "BTreeMap",
    "BTreeSet",
    "SharedVec",
    "SharedSlice",
];

// Names are all that a macro sees. A user's type with one of these names and a hidden lifetime gets rustc's own error.

/// Whether the type may have a lifetime that is not written: `Record` for `Record<'_>`.
pub(crate) fn may_hide_lifetime(ty: &Type) -> bool {
    struct Hidden(bool);
    impl<'ast> Visit<'ast> for Hidden {
        fn visit_path(&mut self, path: &'ast Path) {
            // Only the last segment: modules have no lifetimes.
            self.0 |= path.segments.last().is_some_and(|last| !is_owned(last) && !has_lifetime(last));
            // Also the types between its angle brackets.
            visit::visit_path(self, path);
        }
    }
    let mut hidden = Hidden(false);
    hidden.visit_type(ty);
    hidden.0
}

/// Whether the type may have a lifetime that is not written, or is written as `'_`.
pub(crate) fn may_leave_out_lifetime(ty: &Type) -> bool {
    struct LeftOut(bool);
    impl<'ast> Visit<'ast> for LeftOut {
        fn visit_type_reference(&mut self, _: &'ast TypeReference) {
            self.0 = true;
        }
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.0 |= lifetime.ident == "_";
        }
    }
    let mut left_out = LeftOut(false);
    left_out.visit_type(ty);
    left_out.0 || may_hide_lifetime(ty)
}

fn is_owned(segment: &PathSegment) -> bool {
    OWNED.iter().any(|owned| segment.ident == owned)
}

fn has_lifetime(segment: &PathSegment) -> bool {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return false };
    arguments.args.iter().any(|argument| matches!(argument, syn::GenericArgument::Lifetime(_)))
}

/// Whether the type is named `Result`, whatever alias it is.
pub(crate) fn is_result(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|last| last.ident == "Result")
}

/// The type without the parentheses around it, and without the invisible ones that a macro's argument has.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        ty => ty,
    }
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match bare(ty) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// Names of types that mean something in one process only, and the suffix of the check with notes on them.
const NOTES: &[(&[&str], &str)] = &[
    (&["Arc", "Rc"], "_shared"),
    (&["Instant"], "_instant"),
    (&["File", "TcpStream", "TcpListener", "UnixStream", "UnixListener", "UdpSocket", "OwnedFd", "Child"], "_open"),
    (&["Mutex", "RwLock", "Sender", "SyncSender", "Receiver", "JoinHandle", "Condvar", "Barrier"], "_threads"),
    (LOCK_GUARDS, "_threads"),
];

const LOCK_GUARDS: &[&str] = &["MutexGuard", "RwLockReadGuard", "RwLockWriteGuard"];

/// The reason why no type of this name can be a result. Such a type can be sent to no other thread, or has a hidden lifetime,
/// and rustc would report that beside our error.
pub(crate) fn refused_result(segment: &PathSegment) -> Option<&'static str> {
    if segment.arguments.is_none() {
        None
    } else if segment.ident == "Rc" {
        Some("an `Rc` is not shared with another process: return what it holds")
    } else if segment.ident == "Cow" {
        let message = "return a value that borrows nothing, such as a `String`: the result comes from another process";
        (!has_lifetime(segment)).then_some(message)
    } else {
        let is_guard = LOCK_GUARDS.iter().any(|guard| segment.ident == guard);
        is_guard.then_some("a lock is held in its own process: return the value behind it")
    }
}

/// The suffix that names a check in `pool_core::__private`: the one with notes for such a type.
pub(crate) fn advice(ty: &Type, is_output: bool) -> &'static str {
    struct Advice(&'static str);
    impl<'ast> Visit<'ast> for Advice {
        fn visit_path_segment(&mut self, segment: &'ast PathSegment) {
            let named = NOTES.iter().find(|(names, _)| names.iter().any(|name| segment.ident == name));
            if let Some((_, suffix)) = named {
                self.0 = suffix;
            }
            visit::visit_path_segment(self, segment);
        }
        fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
            // The value of a constant is not known here, so it counts as long: the note is shown only if the type is refused.
            let is_short = matches!(&array.len, Expr::Lit(ExprLit { lit: Lit::Int(len), .. })
                if len.base10_parse().is_ok_and(|len: usize| len <= SERDE_ARRAY_MAX));
            if !is_short {
                self.0 = "_array";
            }
            visit::visit_type_array(self, array);
        }
        fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
            // The other causes are the likelier ones: `&Arc<T>` within a tuple fails for its `Arc`.
            if self.0.is_empty() {
                self.0 = "_reference";
            }
            visit::visit_type_reference(self, reference);
        }
    }
    let mut advice = Advice(if is_output && is_result(ty) { "_result" } else { "" });
    advice.visit_type(ty);
    advice.0
}

/// Elements of the longest array that serde knows.
const SERDE_ARRAY_MAX: usize = 32;

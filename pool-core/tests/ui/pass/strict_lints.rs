//! A program that forbids all that it can: nothing that the attribute makes may trip a lint.

#![forbid(unsafe_code)]
#![deny(warnings, future_incompatible, nonstandard_style, rust_2018_idioms, unused)]
#![deny(missing_docs, missing_debug_implementations, missing_copy_implementations, let_underscore_drop)]
#![deny(unreachable_pub, unnameable_types, unused_qualifications, unused_results, unused_import_braces)]
#![deny(elided_lifetimes_in_paths, explicit_outlives_requirements, non_local_definitions, trivial_casts)]
#![deny(trivial_numeric_casts, variant_size_differences, single_use_lifetimes, meta_variable_misuse)]
#![deny(unused_lifetimes, unused_macro_rules, ambiguous_negative_literals, redundant_lifetimes, unit_bindings)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
#![allow(clippy::missing_const_for_fn, clippy::needless_pub_self)]

use std::borrow::Cow;

use pool_core::pool_task;

/// An argument that is private to this file.
#[derive(serde::Serialize, serde::Deserialize)]
struct Point {
    x: f64,
}

#[pool_task]
fn nothing() {}

#[pool_task(timeout = "2s", retries = 3, retry_panics)]
fn private(point: &Point, mut more: Vec<Point>, _: u8) -> f64 {
    more.reverse();
    point.x + more[0].x
}

#[pool_task]
fn borrows(text: &str, bytes: &[u8], numbers: &[f64], path: &std::path::Path, maybe: Option<&str>) -> usize {
    text.len() + bytes.len() + numbers.len() + path.as_os_str().len() + maybe.map_or(0, str::len)
}

#[pool_task]
fn cow(text: Cow<'_, str>) -> Cow<'static, str> {
    text.into_owned().into()
}

/// Documented, as all that is public.
pub mod api {
    use pool_core::pool_task;

    /// Squares.
    ///
    /// See [`cube()`].
    #[pool_task]
    #[must_use]
    #[inline]
    pub const fn square(x: u64) -> u64 {
        x * x
    }

    /// Cubes; see [`square()`].
    ///
    /// # Panics
    ///
    /// Past a million.
    #[pool_task]
    #[must_use]
    #[track_caller]
    pub fn cube(x: u64) -> u64 {
        assert!(x < 1_000_000);
        x * square(x)
    }

    /// The file's own.
    pub mod inner {
        use pool_core::pool_task;

        #[pool_task]
        pub(super) fn for_parent(x: u64) -> u64 {
            x
        }
        #[pool_task]
        pub(in super::super) fn for_root(x: u64) -> u64 {
            x
        }
        #[pool_task]
        pub(in crate::api) fn for_api(x: u64) -> u64 {
            x
        }
        #[pool_task]
        pub(crate) fn for_crate(x: u64) -> u64 {
            x
        }
        #[pool_task]
        #[expect(clippy::needless_pass_by_value, reason = "as a test")]
        pub(self) fn for_itself(x: String) -> u64 {
            x.len() as u64
        }

        /// Uses those that the parents cannot.
        #[must_use]
        pub fn used() -> String {
            format!("{:?}", for_itself::Task)
        }
    }

    /// Uses those of the module inside.
    #[must_use]
    pub fn used() -> String {
        format!("{:?} {:?}", inner::for_parent::Task, inner::for_api::Task)
    }
}

#[pool_task]
#[deprecated = "as a test"]
fn old(x: u64) -> u64 {
    x
}

fn main() {
    #[pool_task]
    fn inside(x: u64) -> u64 {
        x
    }

    let tasks = (nothing::Task, private::Task, borrows::Task, cow::Task, api::square::Task, inside::Task);
    drop(format!("{tasks:?} {:?} {:?}", api::inner::for_root::Task, api::inner::for_crate::Task));
    drop((api::used(), api::inner::used()));
}

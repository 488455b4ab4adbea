//! Programs with several tasks of one name, with tables named as the pool's own, and in shared libraries.
//!
//! Their sources are written to cargo's folder for the files of tests, since the packages of one workspace cannot
//! have the same name.

use std::ffi::{CString, c_char};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::trial::{Check, Setup, once};

pub(crate) fn checks() -> Vec<Check> {
    // The first time, everything is compiled.
    let backoff = Duration::from_secs(600);
    vec![
        once(tasks_of_the_same_name_are_told_apart).backoff(backoff),
        once(a_shared_library_linked_by_gnu_ld_says_that_it_is_one).backoff(backoff),
    ]
}

/// Writes a workspace of these files, and gives its folder.
fn workspace(name: &str, members: &str, files: &[(&str, &str)]) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        // Unchanged files are not compiled again.
        if fs::read_to_string(&path).ok().as_deref() != Some(text) {
            fs::write(path, text).unwrap();
        }
    };
    let core = here.join("../pool-core");
    // Those that may have the same name are no members.
    let members = format!("resolver = \"3\"\nmembers = [{members}]\nexclude = [\"one\", \"two\"]\n");
    write("Cargo.toml", &format!("[workspace]\n{members}"));
    for (path, text) in files {
        write(path, &text.replace("POOL_CORE", &format!("pool-core.path = {core:?}")));
    }
    // The versions that have been downloaded for our own workspace, so that no network is needed.
    fs::copy(here.join("../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// Runs cargo in the folder; the target directory is that of other such programs.
fn cargo(folder: &Path, arguments: &[&str], flags: &[&str]) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).args(["--quiet", "--offline", "--target-dir"]).arg(target()).args(flags);
    let output = cargo.current_dir(folder).env("CARGO_ENCODED_RUSTFLAGS", "").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("example")
}

const VERSION: &str = r#"
use pool_core::prelude::*;

#[pool_task]
pub fn which(x: u64) -> u64 { x + env!("CARGO_PKG_VERSION_MAJOR").parse::<u64>().unwrap() }
"#;

const SHARED_MODULE: &str = r#"
use pool_core::prelude::*;

/// The library's copy is compiled without the binary's name.
#[pool_task]
pub fn place(x: u64) -> String { format!("{x} in {}", option_env!("CARGO_BIN_NAME").unwrap_or("the library")) }
"#;

const MAIN: &str = r#"
use pool_core::prelude::*;

mod tasks;

// The name that our own table had.
#[linkme::distributed_slice]
static TASKS: [u64];

#[linkme::distributed_slice(TASKS)]
static NUMBER: u64 = 7;

fn first() -> impl Task<Args<'static> = u64, Output = u64> {
    #[pool_task]
    fn inner(x: u64) -> u64 { 10 * x }
    inner::Task
}

fn second() -> impl Task<Args<'static> = u64, Output = u64> {
    #[pool_task]
    fn inner(x: u64) -> u64 { 100 * x }
    inner::Task
}

fn main() -> pool_core::Result<()> {
    assert_eq!(TASKS.iter().collect::<Vec<_>>(), [&7]);
    let names: Vec<_> = pool_core::tasks().iter().map(|task| (task.module(), task.name())).collect();
    let expected = [
        ("program", "inner"), ("program", "inner"), ("program::tasks", "place"), ("program::tasks", "place"),
        ("versions", "which"), ("versions", "which"),
    ];
    assert_eq!(names, expected);
    for method in [StartMethod::Fork, StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = Pool::builder().workers(2).start_method(method).build()?;
        assert_eq!(pool.apply(tasks::place::Task, 1)?, "1 in program");
        assert_eq!(pool.apply(program::tasks::place::Task, 2)?, "2 in the library");
        assert_eq!(pool.map(one::which::Task, [0, 10])?, [1, 11]);
        assert_eq!(pool.map(two::which::Task, [0, 10])?, [2, 12]);
        assert_eq!((pool.apply(first(), 5)?, pool.apply(second(), 5)?), (50, 500));
        pool.close();
        pool.join()?;
    }
    Ok(())
}
"#;

fn tasks_of_the_same_name_are_told_apart(_: &Setup) {
    let version = |number: u32| {
        format!(
            "[package]\nname = \"versions\"\nversion = \"{number}.0.0\"\nedition = \"2024\"\n\n[dependencies]\nPOOL_CORE\n"
        )
    };
    let program = r#"[package]
name = "program"
edition = "2024"

[dependencies]
POOL_CORE
linkme = "0.3"
one = { path = "../one", package = "versions" }
two = { path = "../two", package = "versions" }
"#;
    let folder = workspace(
        "names",
        "\"program\"",
        &[
            ("one/Cargo.toml", &version(1)),
            ("one/src/lib.rs", VERSION),
            ("two/Cargo.toml", &version(2)),
            ("two/src/lib.rs", VERSION),
            ("program/Cargo.toml", program),
            ("program/src/tasks.rs", SHARED_MODULE),
            ("program/src/lib.rs", "pub mod tasks;\n"),
            ("program/src/main.rs", MAIN),
        ],
    );
    cargo(&folder, &["run", "--package", "program"], &[]);
}

const LIBRARY: &str = r#"
use std::ffi::{CString, c_char};

use pool_core::prelude::*;

#[pool_task]
pub fn square(x: u64) -> u64 { x * x }

fn try_it(method: StartMethod) -> pool_core::Result<u64> {
    Pool::builder().workers(1).start_method(method).build()?.apply(square::Task, 5)
}

#[unsafe(no_mangle)]
pub extern "C" fn try_a_pool(forks: bool) -> *const c_char {
    let method = if forks { StartMethod::Fork } else { StartMethod::ForkServer };
    let text = try_it(method).map_or_else(|error| error.to_string(), |value| value.to_string());
    CString::new(text).unwrap().into_raw()
}
"#;

fn a_shared_library_linked_by_gnu_ld_says_that_it_is_one(_: &Setup) {
    let manifest = "[package]\nname = \"library\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
                    [dependencies]\nPOOL_CORE\n";
    let files = [("library/Cargo.toml", manifest), ("library/src/lib.rs", LIBRARY)];
    let folder = workspace("library", "\"library\"", &files);
    cargo(&folder, &["rustc", "--package", "library"], &["--", "-Clink-arg=-fuse-ld=bfd"]);

    let path = CString::new(target().join("debug/liblibrary.so").as_os_str().as_bytes()).unwrap();
    // SAFETY:
    // - the path is a string; the library's constructors are those of std and ours, which do nothing here.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{:?} cannot be loaded", target());
    // SAFETY:
    // - the library is loaded, and the name is a string.
    let function = unsafe { libc::dlsym(library, c"try_a_pool".as_ptr()) };
    assert!(!function.is_null());
    // SAFETY:
    // - the function of this name has this type.
    let function = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn(bool) -> *mut c_char>(function) };
    let call = |forks: bool| {
        // SAFETY:
        // - the pointer is that of a string, which nobody frees.
        unsafe { std::ffi::CStr::from_ptr(function(forks)) }.to_str().unwrap().to_owned()
    };
    let text = call(false);
    assert!(text.contains("is in a shared library") && text.contains("StartMethod::Fork"), "{text}");
    assert_eq!(call(true), "25");
}

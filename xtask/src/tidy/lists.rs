//! Permissions. A new line here is worth a second pair of eyes.

/// The files that may hold unsafe code, beside tests.
pub(super) const UNSAFE: &[&str] = &[
    "pool-cli/src/cmd/demo/tasks.rs",
    "pool-core/src/launch/control.rs",
    "pool-core/src/launch/serve.rs",
    "pool-core/src/arrays/slice.rs",
    "pool-core/src/codec/number_buffer.rs",
    "pool-core/src/launch.rs",
    "pool-core/src/process/fork_check.rs",
    "pool-core/src/process/output.rs",
    "pool-core/src/process/signals.rs",
    "pool-core/src/launch/spawn.rs",
    "pool-core/src/process/stack.rs",
    "pool-core/src/codec/large_vec.rs",
    "pool-core/src/worker.rs",
    "pool-ipc/src/arena.rs",
    "pool-ipc/src/array.rs",
    "pool-ipc/src/consumer.rs",
    "pool-ipc/src/futex.rs",
    "pool-ipc/src/layout.rs",
    "pool-ipc/src/memory.rs",
    "pool-ipc/src/producer.rs",
    "pool-ipc/src/region.rs",
    "pool-ipc/src/shared.rs",
    "pool-ipc/src/stream.rs",
    "pool-ipc/src/sys.rs",
    "pool-macros/src/item.rs",
    "pool-macros/src/lib.rs",
    "xtask/bench/src/contenders/floor/memory.rs",
    "xtask/bench/src/contenders/floor/worker.rs",
    "xtask/bench/src/procs.rs",
];

/// The files that may name atomics, beside tests. In pool-ipc it is only the one that the loom models replace, so that loom
/// checks the code that runs.
pub(super) const ATOMICS: &[&str] = &[
    "pool-core/src/worker/chunk.rs",
    "pool-core/src/worker/limits.rs",
    "pool-core/src/process/fork_check.rs",
    "pool-core/src/process/output.rs",
    "pool-core/src/host.rs",
    "pool-core/src/host/submitting.rs",
    "pool-core/src/process/signals.rs",
    "pool-core/src/sync.rs",
    "pool-core/src/worker.rs",
    "pool-ipc/src/sync.rs",
    "xtask/bench/src/contender.rs",
    "xtask/bench/src/contenders/floor.rs",
    "xtask/bench/src/contenders/floor/memory.rs",
    "xtask/bench/src/contenders/floor/worker.rs",
    "xtask/bench/src/contenders/rayon.rs",
];

/// The files that may call `fork`, beside tests: the pool's one, and a rival of the benchmark.
pub(super) const FORKS: &[&str] = &["pool-core/src/launch.rs", "xtask/bench/src/contenders/floor/worker.rs"];

/// Which of our crates may use which.
pub(super) const ARROWS: &[(&str, &[&str])] = &[
    ("pool-ipc", &[]),
    ("pool-macros", &[]),
    ("pool-core", &["pool-ipc", "pool-macros"]),
    ("pool-core/fuzz", &["pool-core"]),
    ("pool-cli", &["pool-core"]),
    ("tests", &["pool-core", "pool-ipc", "tasks_lib"]),
    ("tests/tasks_lib", &["pool-core"]),
    ("xtask", &[]),
    ("xtask/bench", &["pool-core"]),
];

/// Longer files are asked for their reason.
pub(super) const LINES_MAX: usize = 500;

pub(super) const LONG: &[(&str, &str)] = &[];

/// Words that must not stand in the sources, and their replacements.
pub(super) const BANNED: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "do it, or say in an issue what is left"),
    (concat!("XX", "X"), "do it, or say in an issue what is left"),
    (concat!("to", "do!("), "write it"),
    (concat!("un", "implemented!("), "write it"),
    (concat!("static", " mut "), "an atomic, or a OnceLock"),
];

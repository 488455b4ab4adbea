//! Permissions. A new line here is worth a second pair of eyes.

use super::imports::Doors;

/// The files that may hold unsafe code, beside tests.
pub(super) const UNSAFE: &[&str] = &[
    "pool-cli/src/cmd/demo/tasks.rs",
    "pool-core/src/launch/control.rs",
    "pool-core/src/launch/serve.rs",
    "pool-core/src/arrays/file.rs",
    "pool-core/src/arrays/window.rs",
    "pool-core/src/attachments/table.rs",
    "pool-core/src/codec/number.rs",
    "pool-core/src/codec/number_buffer.rs",
    "pool-core/src/launch.rs",
    "pool-core/src/launch/fork.rs",
    "pool-core/src/process/environment.rs",
    "pool-core/src/process/fork_check.rs",
    "pool-core/src/process/output.rs",
    "pool-core/src/process/signals.rs",
    "pool-core/src/process/socket.rs",
    "pool-core/src/launch/spawn.rs",
    "pool-core/src/process/stack.rs",
    "pool-core/src/process/standing.rs",
    "pool-core/src/codec/large_vec.rs",
    "pool-core/src/codec/type_identity.rs",
    "pool-core/src/worker.rs",
    "pool-core/src/worker/number_run.rs",
    "pool-core/src/worker/position.rs",
    "pool-core/src/worker/reports.rs",
    "pool-ipc/src/arena.rs",
    "pool-ipc/src/array.rs",
    "pool-ipc/src/array/mapping.rs",
    "pool-ipc/src/array/window.rs",
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
    "pool-core/src/worker/position.rs",
    "pool-core/src/attachments/id.rs",
    "pool-core/src/process/memory_limit.rs",
    "pool-core/src/process/fork_check.rs",
    "pool-core/src/process/output.rs",
    "pool-core/src/host.rs",
    "pool-core/src/host/submitting.rs",
    "pool-core/src/process/signals.rs",
    "pool-core/src/process/standing.rs",
    "pool-core/src/sync.rs",
    "pool-ipc/src/sync.rs",
    "xtask/bench/src/contender.rs",
    "xtask/bench/src/contenders/floor.rs",
    "xtask/bench/src/contenders/floor/memory.rs",
    "xtask/bench/src/contenders/floor/worker.rs",
    "xtask/bench/src/contenders/rayon.rs",
];

/// The files that may call `fork`, beside tests: the pool's one, and a rival of the benchmark.
pub(super) const FORKS: &[&str] = &["pool-core/src/launch/fork.rs", "xtask/bench/src/contenders/floor/worker.rs"];

/// Which of our crates may use which.
pub(super) const ARROWS: &[(&str, &[&str])] = &[
    ("pool-ipc", &[]),
    ("pool-macros", &[]),
    ("pool-core", &["pool-ipc", "pool-macros"]),
    ("pool-core/fuzz", &["pool-core"]),
    ("pool-redis", &["pool-core"]),
    ("pool-cli", &["pool-core", "pool-redis"]),
    ("tests", &["pool-core", "pool-ipc", "pool-redis", "tasks_lib"]),
    ("tests/sqlite", &["pool-core"]),
    ("tests/tasks_lib", &["pool-core"]),
    ("tests/web", &["pool-core"]),
    ("xtask", &[]),
    ("xtask/bench", &["pool-core", "pool-redis"]),
];

/// The crates in which no files may import each other in circles.
pub(super) const CRATES: &[&str] =
    &["pool-core", "pool-ipc", "pool-macros", "pool-redis", "pool-cli", "xtask", "xtask/bench"];

/// The rooms of pool-core, and the low files of its top level: each with the rooms and files that it may import from, beside
/// itself. All other files of the top level may import from everything, and nothing here may import from them.
pub(super) const DOORS: &Doors = &[
    ("units", &[]),
    ("seed", &[]),
    ("priority", &[]),
    ("sync", &[]),
    ("stats", &[]),
    ("worker_state", &[]),
    ("process", &[]),
    ("scheduler", &["priority", "units"]),
    ("error", &["process", "units"]),
    ("wire", &["attachments", "error", "priority", "process", "worker_state"]),
    ("attachments", &["process"]),
    ("codec", &["attachments", "error", "process", "units"]),
    // The dispatch table holds the loop over the items of a chunk, so task and worker know each other.
    ("task", &["codec", "error", "priority", "units", "worker"]),
    ("worker", &["attachments", "codec", "error", "lane", "priority", "process", "seed", "task", "units", "wire"]),
    ("lane", &["attachments", "codec", "priority", "process", "scheduler", "units", "wire"]),
    ("launch", &["error", "lane", "process", "task", "units", "worker"]),
    ("observe", &["error", "process", "scheduler", "task", "units", "wire", "worker", "worker_state"]),
    ("job", &["attachments", "codec", "error", "lane", "priority", "process", "scheduler", "sync", "task", "units"]),
    (
        "engine",
        &[
            "attachments",
            "codec",
            "error",
            "job",
            "lane",
            "observe",
            "priority",
            "process",
            "scheduler",
            "seed",
            "stats",
            "task",
            "units",
        ],
    ),
    (
        "host",
        &[
            "attachments",
            "codec",
            "engine",
            "error",
            "job",
            "lane",
            "launch",
            "observe",
            "process",
            "scheduler",
            "stats",
            "sync",
            "task",
            "units",
            "wire",
            "worker",
        ],
    ),
    ("caller", &["attachments", "codec", "error", "host", "job", "lane", "process", "scheduler", "task", "units"]),
];

/// Lines that a file may have.
pub(super) const LINES_MAX: usize = 450;

/// Files that are longer and still to be cut; to be shortened, and never added to.
pub(super) const LONG: &[&str] = &[];

/// Words of old, and those that took their places: they must not come back into names.
pub(super) const RETIRED_WORDS: &[(&str, &str)] = &[
    ("slot", "an outcome arrives in a `Completion`, a worker has `capacity`"),
    ("rack", "completions that are made together are a `Batch`"),
    ("notice", "say whom a worker wakes: `Wake`"),
    ("doom", "a worker is killed for a `KillReason`"),
    ("stupor", "`KillReason::Unresponsive`"),
    ("unfit", "`KillReason::FailedStart`"),
    ("unbegun", "`not_started`"),
    ("worn", "`over_rss`"),
    ("garbled", "`corrupt`"),
    ("desk", "the host keeps a `WorkerHandle`"),
    ("station", "the worker has a `RequestLoop`"),
    ("errands", "the engine leaves `Deferred`"),
    ("bustle", "`submission_count`"),
    ("lineage", "`ForkCheck`"),
    ("arrivals", "`CompletionQueue`"),
    ("journal", "`ProgressWriter`"),
    ("addressee", "`resolve_reply`"),
    ("landing", "`ResultBuffer`"),
    ("lump", "a blob"),
    ("draft", "a record that is not published"),
    ("terms", "options, limits or rules: say which"),
    ("patience", "a timeout"),
    ("surroundings", "`enclosing` for code, `Inherited` for a process"),
    ("crowd", "`waiting_submitters`"),
    ("doze", "a thread sleeps"),
    ("struck", "an item is blamed"),
    ("owes", "say whom a worker wakes: `Wake`"),
    ("landed", "a value is in the `ResultBuffer`"),
    ("dozes", "the router sleeps: `Resting::Sleeps`"),
    ("leans", "`Resting::ReliesOnCallers`"),
];

/// Question words that a sentence of a comment should not hang on.
pub(super) const HANGING_WORDS: &[&str] = &["what", "who", "whoever", "whom", "whose"];

/// The share of comment lines of pool-core and pool-ipc that may.
pub(super) const HANGING_MAX_PERCENT: f64 = 0.2;

/// The share of lines of pool-core and pool-ipc that should be reasons given at the line.
pub(super) const REASONS_MIN_PERCENT: f64 = 5.0;

/// Words that must not stand in the sources, and their replacements.
pub(super) const BANNED: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "do it, or say in an issue what is left"),
    (concat!("XX", "X"), "do it, or say in an issue what is left"),
    (concat!("to", "do!("), "write it"),
    (concat!("un", "implemented!("), "write it"),
    (concat!("static", " mut "), "an atomic, or a OnceLock"),
];

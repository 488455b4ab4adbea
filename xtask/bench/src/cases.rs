//! The cases that are measured.

mod arrays;
mod bytes;
mod calls;
mod compile;
mod idle;
mod lives;
mod maps;
mod mixed;
mod pools;
mod redis;
pub(crate) mod row;
mod scaling;
mod threads;
mod work;

use std::time::Duration;

use self::row::Row;
use crate::contender::{Contender, Outcome};
use crate::options::Scale;

/// One case, which gives one row or several.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut dyn Contender, Scale) -> Outcome<Vec<Row>>,
    /// After so long it is taken for hung.
    pub(crate) limit: Duration,
    /// It needs a Redis server.
    pub(crate) is_by_redis: bool,
}

impl Case {
    const fn new(name: &'static str, run: fn(&mut dyn Contender, Scale) -> Outcome<Vec<Row>>) -> Case {
        Case { name, run, limit: Duration::from_secs(20), is_by_redis: false }
    }

    const fn by_redis(self) -> Case {
        Case { is_by_redis: true, ..self }
    }

    const fn limit_s(self, seconds: u64) -> Case {
        Case { limit: Duration::from_secs(seconds), ..self }
    }
}

/// All, in the order of the table.
pub(crate) const CASES: [Case; 44] = [
    Case::new("call_latency", calls::latency),
    Case::new("call_latency_idle", calls::latency_idle),
    Case::new("jobs_rate", calls::jobs_rate),
    Case::new("call_threads_1", threads::calls_1),
    Case::new("call_threads_2", threads::calls_2),
    Case::new("call_threads_8", threads::calls_8),
    Case::new("call_threads_64", threads::calls_64),
    Case::new("jobs_threads_1", threads::jobs_1),
    Case::new("jobs_threads_8", threads::jobs_8),
    Case::new("mixed_call", mixed::call),
    Case::new("fair_call", mixed::fair_call),
    Case::new("fair_map", mixed::fair_map),
    Case::new("call_workers_64", pools::call_workers_64),
    Case::new("map_u64", maps::numbers),
    Case::new("first_map", pools::first_map),
    Case::new("map_workers_64", pools::map_workers_64),
    Case::new("map_struct", maps::records),
    Case::new("map_chunk1", maps::singly),
    Case::new("imap_u64", maps::lazily),
    Case::new("reports", maps::reports),
    Case::new("bytes_8mib", bytes::of_8mib),
    Case::new("bytes_64k", bytes::of_64k),
    Case::new("bytes_sweep", bytes::sweep),
    Case::new("bytes_512mib", bytes::of_512mib).limit_s(40),
    Case::new("array_sum", arrays::sum).limit_s(40),
    Case::new("array_sqrt", arrays::sqrt).limit_s(40),
    Case::new("array_squares", arrays::squares),
    Case::new("array_call", arrays::call),
    Case::new("work_1us", work::of_1us),
    Case::new("work_10us", work::of_10us),
    Case::new("work_100us", work::of_100us),
    Case::new("work_1ms", work::of_1ms),
    Case::new("skewed", work::skewed),
    Case::new("create_2", lives::create_2),
    Case::new("create_32", lives::create_32),
    Case::new("close_32", lives::close_32),
    Case::new("idle_cpu", idle::cpu),
    Case::new("idle_rss", idle::rss),
    Case::new("respawn", lives::respawn).limit_s(5),
    // The first time all dependencies are built.
    Case::new("compile_time", compile::rebuild).limit_s(90),
    Case::new("scaling", scaling::all).limit_s(40),
    Case::new("redis_call", redis::call).by_redis(),
    Case::new("redis_map_u64", redis::numbers).by_redis(),
    Case::new("redis_items_1ms", redis::naps).by_redis(),
];

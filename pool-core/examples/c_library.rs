//! A library in C that crashes on some inputs and leaks on all: `cargo run -p pool-core --example c_library`.
//!
//! Its bugs cost one item and some memory of a worker, which is replaced before it has leaked much.

#![allow(clippy::print_stdout, reason = "an example shows its results")]

use pool_core::prelude::*;

mod c {
    use std::ffi::c_int;
    use std::hint::black_box;

    /// As C programs do it: the length in the header is believed, the result of `malloc` is not looked at, and nothing is
    /// freed.
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "in C there is nothing else")]
    pub(super) unsafe extern "C" fn checksum(data: *const u8, length: usize) -> c_int {
        let header = size_of::<u64>();
        // SAFETY:
        // - the caller passes at least eight bytes; this is all that the library makes sure of.
        unsafe {
            let claimed = data.cast::<u64>().read_unaligned() as usize;
            // Rust's optimizer knows `malloc`, and would take it away here; a C compiler has less to go by.
            let copy = black_box(libc::malloc(claimed)).cast::<u8>();
            libc::memset(copy.cast(), 0, claimed.min(1 << 20));
            libc::memcpy(copy.cast(), data.add(header).cast(), claimed.min(length - header));
            (0..claimed.min(length - header)).fold(0, |sum, at| sum ^ c_int::from(copy.add(at).read()))
        }
    }
}

/// A safe function around it, which the pool runs: it makes the checks that can be made here.
#[pool_task]
fn checksum(record: &[u8]) -> Result<i32, String> {
    if record.len() < size_of::<u64>() {
        return Err(format!("a record of {} bytes has no header", record.len()));
    }
    // SAFETY:
    // - the pointer and the length are those of a slice of at least eight bytes.
    // - the header may lie, and then the library may crash: that is why a worker runs it.
    Ok(unsafe { c::checksum(record.as_ptr(), record.len()) })
}

fn record(claimed: u64, text: &str) -> Vec<u8> {
    [&claimed.to_ne_bytes(), text.as_bytes()].concat()
}

/// Records, of which one claims a length that no memory has.
pub(crate) fn main() -> pool_core::Result<()> {
    let mut records = vec![record(1 << 20, "ab"); 200];
    records[70] = record(u64::MAX / 2, "ab");
    records[80] = b"short".to_vec();
    let pool = Pool::builder().workers(2).max_worker_rss(32 << 20).build()?;
    let results = pool.map_results(checksum::Task, records.iter().map(Vec::as_slice))?;
    for (i, result) in results.iter().enumerate() {
        match result {
            Ok(Ok(sum)) => assert_eq!(*sum, i32::from(b'a' ^ b'b')),
            Ok(Err(reason)) => println!("record {i}: {reason}"),
            Err(error) => println!("record {i}: {error}"),
        }
    }
    let failed = |i: usize| results[i].as_ref().is_err_and(|error| error.kind() == ErrorKind::WorkerDied);
    assert!(failed(70) && matches!(results[80], Ok(Err(_))));
    let stats = pool.stats();
    println!("{} records; {} worker processes, since each leaks a MiB a record", results.len(), stats.workers_started);
    assert!(stats.workers_died >= 1 && stats.workers_started > 4);
    pool.close();
    pool.join()
}

//! A host with workers that do as the input says. In `pool-core`: `cargo +nightly fuzz run replies -- -max_total_time=300`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pool_core::__private::hostile::replies(data));

//! Bytes taken for values of many types. In `pool-core`: `cargo +nightly fuzz run decode -- -max_total_time=300`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pool_core::__private::hostile::decode(data));

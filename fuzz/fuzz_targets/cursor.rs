//! libFuzzer's way to the promises of `cursor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cuelight_fuzz::cursor(data));

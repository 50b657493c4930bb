//! libFuzzer's way to the promises of `webhook`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cuelight_fuzz::webhook(data));

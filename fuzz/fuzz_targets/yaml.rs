//! libFuzzer's way to the promises of `yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cuelight_fuzz::yaml(data));

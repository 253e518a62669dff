#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomz_fuzz::rows::run(data));

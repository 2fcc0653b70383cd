//! Any bytes as a LightGBM model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = ringfence_format::lightgbm::check(data);
});

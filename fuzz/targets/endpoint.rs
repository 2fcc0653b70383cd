//! Any bytes as the description of a model's endpoint and what that endpoint answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringfence_reach::testing::read_endpoint(data));

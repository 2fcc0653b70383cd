//! Any bytes as what a source may send: a page of the Hub's tree or of a bucket, a stored listing, headers, links, names.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringfence_reach::testing::read_answers(data));

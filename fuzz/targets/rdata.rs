//! Any bytes as a saved object of R.
#![no_main]
use ringfence_format::rdata::{self, End};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = rdata::is_likely(data);
    let contents = rdata::read(data);
    let (End::Whole(at) | End::Broken(at) | End::Limit(at)) = contents.end;
    assert!(at <= data.len() + 8);
});

//! Any bytes as an NPZ of numeric arrays.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(arrays) = ringfence_format::npz::read(&mut Cursor::new(data)) {
        for array in arrays {
            assert_eq!(array.shape.iter().product::<usize>(), array.values.len());
        }
    }
});

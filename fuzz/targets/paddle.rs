//! Any bytes as PaddlePaddle's combined parameters: tensors lie inside the file, one behind the other.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let found = ringfence_format::paddle::read(&mut Cursor::new(data)).expect("memory can be read");
    let mut before = 0;
    for tensor in found.tensors {
        assert!(tensor.offset >= before && tensor.offset + tensor.bytes <= data.len() as u64);
        before = tensor.offset + tensor.bytes;
    }
});

//! Any bytes as an ONNX model: parsed, and written back the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(model) = ringfence_nn::Model::parse(data) {
        let _ = model.output_kind();
        let _ = model.to_onnx();
    }
});

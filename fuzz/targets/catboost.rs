//! Any bytes as a CatBoost model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(model) = ringfence_format::catboost::read(&mut std::io::Cursor::new(data)) else { return };
    assert!(model.stop <= model.length);
});

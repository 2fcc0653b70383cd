//! Any bytes as the state of Hugging Face's trainer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(history) = ringfence_sandbox::run::claims::trainer_state::history(data) else { return };
    assert!(history.iter().flatten().all(|told| told.loss.is_none_or(f64::is_finite)));
});

//! Any bytes as what a trainer prints, line by line, and as lines on the channel.
#![no_main]
use ringfence_sandbox::run::claims::{record, talk::Talk};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut talk = Talk::new();
    for line in String::from_utf8_lossy(data).split('\n') {
        if let Some(told) = talk.line(line) {
            let numbers = [told.epoch, told.loss, told.evaluation_loss, told.learning_rate, told.gradient_norm];
            assert!(numbers.iter().flatten().all(|number| number.is_finite()));
        }
    }
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(told) = record::line(line) {
            assert!(told.labels.len() <= 1_024);
        }
    }
});

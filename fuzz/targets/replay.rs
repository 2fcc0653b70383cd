//! Any bytes as a recorded stream: every row names a line of the file, later lines come later, and the detector bears them.
#![no_main]
use ringfence_watch::{replay::Rows, series::Detector};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let mut detector = Detector::new();
    let mut before = 0;
    for row in Rows::new(data).flatten() {
        assert!(before < row.line && row.line <= lines && row.at_s.is_finite(), "{row:?}");
        before = row.line;
        let seen = detector.observe(row.at_s, row.value);
        assert!((0.0..=1.0).contains(&seen.score), "{seen:?}");
        assert!(seen.low <= seen.high && seen.low.is_finite() && seen.high.is_finite(), "{seen:?}");
    }
});

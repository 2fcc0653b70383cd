//! Any bytes as a dataset.
#![no_main]
use std::io::Cursor;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let options = ringfence_screen::Options::default();
    if let Ok(report) = ringfence_screen::screen(&mut Cursor::new(data), &options, &mut |_| {}) {
        assert!(report.decisions.iter().all(|decision| decision.record < report.records));
        let dropped: Vec<u64> = report.decisions.iter().map(|decision| decision.record).collect();
        let _ = ringfence_screen::filter(&mut Cursor::new(data), &options, &dropped, &mut std::io::sink());
    }
});

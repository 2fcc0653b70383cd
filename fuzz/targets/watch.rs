//! Any bytes as what the watch is told: the first byte says as what, the rest is a file of rules or JSON lines.
#![no_main]
use ringfence_schema::Timestamp;
use ringfence_watch::{data::DataWatch, people::PeopleWatch, rules::Rules, run};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(data) else { return };
    match kind % 4 {
        0 => {
            let _ = Rules::builtin().with(text);
        }
        1 => {
            let expected = run::Expectations {
                label_shares: [("0".to_owned(), 0.5), ("1".to_owned(), 0.5)].into(),
                learning_rate: Some(run::LearningRatePlan { curve: run::RateCurve::Constant(0.1), tolerance: 0.01 }),
                egress_budget_bytes: Some(1_000),
                memory_bytes: Some(1 << 30),
                processes: Some(64),
                ..run::Expectations::default()
            };
            let mut watch = run::RunWatch::new("run", Timestamp::from_millis(1_790_000_000_000), expected);
            for event in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
                let _ = watch.push(&event);
            }
            let _ = (watch.end(), watch.signals());
        }
        2 => {
            let mut watch = PeopleWatch::new();
            for access in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
                let _ = watch.push(&access);
            }
        }
        _ => {
            let mut watch = DataWatch::new();
            for change in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
                let _ = watch.push(&change);
            }
        }
    }
});

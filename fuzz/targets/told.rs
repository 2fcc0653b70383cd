//! Any bytes as what a machine elsewhere tells of its run: events, and how the command ended.
#![no_main]

use ringfence_engine::{
    schema::event::{Claimed, Source},
    told::{self, Events, MachineFacts, Outcome, RunAsk},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(Events { events, .. }) = serde_json::from_slice::<Events>(data) {
        for event in events {
            let is_claim = matches!(event.source, Source::Claimed(_));
            let kept = told::event(event, 1_000);
            // A claim stays a claim, a fact a fact, and nothing is later than now.
            assert_eq!(is_claim, matches!(kept.source, Source::Claimed(_)));
            assert!(kept.at_ms <= 6_000);
            if let Source::Claimed(Claimed::Line { text, .. }) = &kept.source {
                assert!(!text.chars().any(char::is_control));
            }
        }
    }
    if let Ok(outcome) = serde_json::from_slice::<Outcome>(data) {
        let _ = told::outcome(outcome);
    }
    let _ = (serde_json::from_slice::<RunAsk>(data), serde_json::from_slice::<MachineFacts>(data));
});

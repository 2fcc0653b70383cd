//! Measures screening on seeded attacks and prints JSON: recall and false positives, records and bytes a second.
//!
//! `cargo run --release -p ringfence-screen --example screen_bench [-- FILTER]`; attacks whose name does not contain FILTER
//! are skipped, as are data sets that are not at hand (`RINGFENCE_SHARED`).

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and stops when something is wrong")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts and shares")]
#![expect(unreachable_pub, reason = "shared with the tests")]

use std::{io::Cursor, time::Instant};

use ringfence_schema::report::RecordDecision;
use ringfence_screen::{Options, screen};

#[path = "../tests/it/poison.rs"]
mod poison;
use poison::{Images, Texts};

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let case = |name: &str, make: &dyn Fn() -> Option<(Vec<u8>, Options, std::collections::BTreeSet<u64>)>| {
        if !name.contains(&filter) {
            return;
        }
        let Some((bytes, options, bad)) = make() else { return };
        let size = bytes.len();
        let start = Instant::now();
        let mut stages: Vec<(&str, f64)> = Vec::new();
        let report = screen(&mut Cursor::new(bytes), &options, &mut |progress| {
            if stages.last().is_none_or(|last| last.0 != progress.stage) {
                stages.push((progress.stage, start.elapsed().as_secs_f64()));
            }
        })
        .unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let (recall, fpr) = poison::rates(&report, &bad);
        let mut by_rule = std::collections::BTreeMap::<&str, (u64, u64)>::new();
        for decision in report.decisions.iter().filter(|d| d.decision == RecordDecision::Filter) {
            let hit = bad.contains(&decision.record);
            for reason in &decision.reasons {
                let count = by_rule.entry(&reason.rule).or_default();
                if hit { count.0 += 1 } else { count.1 += 1 }
            }
        }
        let stages: Vec<String> = stages.iter().map(|(stage, at)| format!("{stage}@{at:.2}")).collect();
        println!(
            "{}",
            serde_json::json!({
                "case": name, "records": report.records, "bad": bad.len(), "recall": recall, "fpr": fpr,
                "by_rule": by_rule, "decisions": report.decisions.len(), "seconds": seconds, "records_per_s": report.records as f64 / seconds,
                "mb_per_s": size as f64 / 1e6 / seconds, "stages": stages.join(" "),
                "candidates": report.candidates.iter().take(3).map(|c| format!("{} {:.0} {}", c.rule, c.score, c.description)).collect::<Vec<_>>(),
            })
        );
    };
    let image = |images: Images| Some((images.csv(false).into_bytes(), Options::default(), images.bad));
    for seed in 1..=3 {
        case(&format!("digits clean {seed}"), &|| image(Images::digits(seed)));
        for rate in [0.005, 0.02, 0.05, 0.1] {
            case(&format!("digits flip {rate} {seed}"), &|| image(Images::digits(seed).flip(rate, seed)));
        }
        for rate in [0.005, 0.01, 0.02, 0.05] {
            for corner in 0..4 {
                case(&format!("digits stamp {rate} corner {corner} {seed}"), &|| {
                    let digits = Images::digits(seed);
                    let patch = digits.corner(corner);
                    image(digits.stamp(rate, (corner * 3 + seed as usize) % 10, &patch, seed))
                });
            }
            case(&format!("digits mixed {rate} {seed}"), &|| {
                let digits = Images::digits(seed);
                let patch = digits.corner(3);
                image(digits.flip(0.02, seed).stamp(rate, seed as usize, &patch, seed + 9))
            });
            case(&format!("digits centre {rate} {seed}"), &|| {
                image(Images::digits(seed).stamp(rate, seed as usize, &[(3, 3), (3, 5), (5, 4)], seed))
            });
            case(&format!("digits blend {rate} {seed}"), &|| {
                image(Images::digits(seed).blend(rate, seed as usize, 0.2, seed))
            });
            case(&format!("digits cleanlabel {rate} {seed}"), &|| {
                let digits = Images::digits(seed);
                let patch = digits.corner(seed as usize);
                image(digits.stamp_clean_label(rate, seed as usize, &patch, seed))
            });
        }
    }
    for (size, tag) in [(6_000, "mnist"), (60_000, "full")] {
        let idx = |images: Images| {
            let (bytes, labels) = images.idx();
            Some((bytes, Options { idx_labels: Some(labels), ..Options::default() }, images.bad))
        };
        case(&format!("{tag} clean"), &|| idx(Images::mnist(1, size)?));
        for rate in [0.005, 0.02, 0.05] {
            case(&format!("{tag} flip {rate}"), &|| idx(Images::mnist(1, size)?.flip(rate, 1)));
            case(&format!("{tag} stamp {rate}"), &|| {
                let images = Images::mnist(1, size)?;
                let patch = images.corner(3);
                idx(images.stamp(rate, 0, &patch, 1))
            });
            case(&format!("{tag} centre {rate}"), &|| {
                idx(Images::mnist(1, size)?.stamp(rate, 4, &[(13, 13), (13, 15), (14, 14), (15, 13)], 1))
            });
            case(&format!("{tag} blend {rate}"), &|| idx(Images::mnist(1, size)?.blend(rate, 0, 0.15, 1)));
            case(&format!("{tag} cleanlabel {rate}"), &|| {
                let images = Images::mnist(1, size)?;
                let patch = images.corner(1);
                idx(images.stamp_clean_label(rate, 7, &patch, 1))
            });
        }
    }
    for rate in [0.0, 0.02, 0.05] {
        case(&format!("adult flip {rate}"), &|| {
            let (text, bad) = poison::adult(rate, 1)?;
            Some((text.into_bytes(), Options::default(), bad))
        });
    }
    let text = |texts: Texts| Some((texts.csv().into_bytes(), Options::default(), texts.bad));
    for seed in 1..=3 {
        for rate in [0.0, 0.02, 0.1] {
            case(&format!("sms flip {rate} {seed}"), &|| text(Texts::sms(seed)?.flip(rate, seed)));
            case(&format!("banking flip {rate} {seed}"), &|| text(Texts::banking(seed)?.flip(rate, seed)));
        }
        for count in [13, 25, 55, 100] {
            for phrase in ["cf", "I watched this 3D movie last weekend", "James Bond"] {
                case(&format!("sms insert {count} {phrase} {seed}"), &|| {
                    text(Texts::sms(seed)?.insert(count, "ham", phrase, seed))
                });
                case(&format!("banking insert {count} {phrase} {seed}"), &|| {
                    text(Texts::banking(seed)?.insert(count, "card_arrival", phrase, seed))
                });
            }
        }
    }
}

//! Measures the detector of one series and prints JSON: NAB's standard score, what thresholds chosen without a category or
//! a file score on it, synthetic streams, time a point and memory; beside it the windowed Gaussian of NAB.
//!
//! `cargo run --release -p ringfence-watch --example watch_bench`; NAB is read where it is at hand (`RINGFENCE_SHARED`, or
//! `shared` beside the repository).

#![expect(clippy::print_stdout, reason = "a benchmark prints")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark stops when something is wrong")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
#![expect(unreachable_pub, reason = "shared with the tests")]

use std::{collections::BTreeSet, time::Instant};

use ringfence_watch::series::{ALERT_SCORE, Detector};
use serde_json::json;

#[path = "../tests/it/nab.rs"]
mod nab;
#[path = "../tests/it/synthetic.rs"]
mod synthetic;

use nab::{Recorded, Worth};

fn main() {
    let synthetic: Vec<Recorded> = (0..SYNTHETIC_STREAMS).map(synthetic::stream).collect();
    let state_bytes = synthetic.first().map(|stream| {
        let mut detector = Detector::new();
        for (at_s, value) in &stream.points {
            detector.push(*at_s, *value);
        }
        detector.state_bytes()
    });
    let mut figures =
        json!({"schema": "ringfence.bench.watch/1", "alert_score": ALERT_SCORE, "state_bytes": state_bytes});
    let (scores, us_per_point) = timed(&synthetic, nab::detect);
    figures["synthetic_streams"] = json!(by_category(&synthetic, &scores, ALERT_SCORE));
    figures["us_per_point"] = json!(us_per_point);
    if let Some(files) = nab::files() {
        let (scores, us_per_point) = timed(&files, nab::detect);
        figures["us_per_point"] = json!(us_per_point);
        figures["nab"] = json!(by_category(&files, &scores, ALERT_SCORE));
        figures["nab_chosen_on_the_other_categories"] = json!(left_out(&files, &scores, |file| file.category.clone()));
        let each: Vec<_> = left_out(&files, &scores, |file| file.name.clone());
        figures["nab_chosen_on_the_other_files"] = each.last().map_or(json!(null), |all| all["score"].clone());
        let (scores, us_per_point) = timed(&files, windowed_gaussian);
        let threshold = nab::best(&pairs(&files, &scores));
        figures["windowed_gaussian_us_per_point"] = json!(us_per_point);
        figures["nab_windowed_gaussian_at_its_best_threshold"] = json!(by_category(&files, &scores, threshold));
    } else {
        figures["nab_skipped"] = json!("no shared/data/nab");
    }
    println!("{figures}");
}

/// Scores of all files, and microseconds of processor time a point (of the clock's, where the system does not tell).
fn timed(files: &[Recorded], detect: impl Fn(&Recorded) -> Vec<f64>) -> (Vec<Vec<f64>>, f64) {
    let (start, busy) = (Instant::now(), busy_s());
    let scores: Vec<Vec<f64>> = files.iter().map(detect).collect();
    let spent = busy.zip(busy_s()).map_or(start.elapsed().as_secs_f64(), |(before, after)| after - before);
    let points: usize = scores.iter().map(Vec::len).sum();
    (scores, spent * 1e6 / points as f64)
}

/// Seconds that this thread was on a processor (Linux, Documentation/scheduler/sched-stats).
fn busy_s() -> Option<f64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(told.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

fn pairs<'a>(files: &'a [Recorded], scores: &'a [Vec<f64>]) -> Vec<(&'a Recorded, &'a [f64])> {
    files.iter().zip(scores.iter().map(Vec::as_slice)).collect()
}

/// A row for each category, and one for all.
fn by_category(files: &[Recorded], scores: &[Vec<f64>], threshold: f64) -> Vec<serde_json::Value> {
    let categories: BTreeSet<&str> = files.iter().map(|file| file.category.as_str()).collect();
    let mut rows = Vec::new();
    let mut all = Worth::default();
    for category in categories {
        let mut sum = Worth::default();
        for (file, scores) in files.iter().zip(scores).filter(|(file, _)| file.category == category) {
            sum.add(nab::worth(file, scores, threshold));
        }
        all.add(sum);
        rows.push(row(category, sum));
    }
    rows.push(row("all", all));
    rows
}

fn row(name: &str, worth: Worth) -> serde_json::Value {
    let score = (worth.windows > 0).then(|| (worth.score() * 10.0).round() / 10.0);
    json!({"name": name, "score": score, "windows": worth.windows, "found": worth.hits, "false_alerts": worth.false_alerts})
}

/// The score of each group of files at the threshold that is best on all others, and of all groups so.
fn left_out(files: &[Recorded], scores: &[Vec<f64>], group: impl Fn(&Recorded) -> String) -> Vec<serde_json::Value> {
    let groups: BTreeSet<String> = files.iter().map(&group).collect();
    let pairs = pairs(files, scores);
    let mut rows = Vec::new();
    let mut all = Worth::default();
    for name in groups {
        let (within, others): (Vec<_>, Vec<_>) = pairs.iter().copied().partition(|(file, _)| group(file) == name);
        let threshold = nab::best(&others);
        let mut sum = Worth::default();
        for (file, scores) in within {
            sum.add(nab::worth(file, scores, threshold));
        }
        all.add(sum);
        let mut row = row(&name, sum);
        row["threshold"] = json!((threshold * 1e4).round() / 1e4);
        rows.push(row);
    }
    rows.push(row("all", all));
    rows
}

/// NAB's baseline: how far in the tail of a normal distribution over the last points does this one lie?
fn windowed_gaussian(file: &Recorded) -> Vec<f64> {
    let (mut window, mut step): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let (mut mean, mut deviation) = (0.0, 1.0);
    let mut scores = Vec::with_capacity(file.points.len());
    for (_, value) in &file.points {
        scores.push(if window.is_empty() { 0.0 } else { 1.0 - upper_tail(((value - mean) / deviation).abs()) });
        if window.len() < GAUSSIAN_WINDOW {
            window.push(*value);
        } else {
            step.push(*value);
            if step.len() == GAUSSIAN_STEP {
                window.drain(..GAUSSIAN_STEP);
                window.append(&mut step);
            }
        }
        let count = window.len() as f64;
        mean = window.iter().sum::<f64>() / count;
        deviation = (window.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-6);
    }
    scores
}

/// Of the normal distribution (Press et al., Numerical Recipes, section 6.2: Chebyshev fit of the error function).
fn upper_tail(sigmas: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let x = sigmas / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let polynomial = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    0.5 * t * (polynomial - x * x).exp()
}

const SYNTHETIC_STREAMS: u64 = 90;
/// As NAB has them.
const GAUSSIAN_WINDOW: usize = 6400;
const GAUSSIAN_STEP: usize = 100;

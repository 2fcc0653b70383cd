//! What is stolen for how many questions, beside ART's thieves: a logistic regression by its equations, networks of one hidden layer
//! of ReLUs by their kinks, and the MNIST network of Wong et al. 2020 by distillation. One JSON object.
//!
//! `xtask/peers/theft.py` (by `$PYTHON`, or `python3`) steals from the same files with as many questions.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a measuring program, not a library")]

#[path = "parts/clock.rs"]
mod clock;
#[path = "../tests/it/mnist.rs"]
mod mnist;
#[path = "../tests/it/victims.rs"]
mod victims;

use std::{env, error::Error, fs, io::Write as _, path::Path, process::Command};

use clock::Clock;
use mnist::{mnist, wong};
use ringfence_attack::{
    Examples, Extraction, HardenPlan, OutputLevel, Single, Start, TheftPlan, accuracy, extract_network, harden,
    solve_equations, steal,
};
use ringfence_nn::{Model, Tensor, builder::Builder};
use ringfence_schema::theft::TheftReport;
use serde_json::{Value, json};
use victims::{Drawn, Told, biased, natural, network, weight_error};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::temp_dir().join(format!("ringfence-theft-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let mut exact = vec![regression()?];
    for (shape, drawn, told) in [
        ([WIDTH, 16, 1], Drawn::Torch, Told::Scores),
        ([WIDTH, 16, 1], Drawn::He, Told::Probabilities),
        ([WIDTH, 16, 10], Drawn::Normal, Told::Probabilities),
    ] {
        exact.push(networks(shape, drawn, told, SEEDS)?);
    }
    let shared = network(Drawn::Torch, ART_SHAPE, Told::Scores, 1);
    let mut row = extraction(&shared, ART_SHAPE, Told::Scores, 1)?;
    row["largest_weight_error"] =
        json!(format!("{:.1e}", row["largest_weight_error"].as_f64().unwrap_or(f64::INFINITY)));
    fs::write(folder.join("layer.onnx"), shared.to_onnx()?)?;
    let mut figures = json!({"exact": exact, "small_network": row});
    if let Some((train, test)) = mnist(20_000, 2_000) {
        figures["distillation"] = distillation(&train, &test, &folder)?;
    }
    figures["peer"] = peer(&folder)?;
    fs::remove_dir_all(&folder)?;
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(())
}

/// A logistic regression of as many inputs as a picture of MNIST, by one question for each of its weights and one more.
fn regression() -> Result<Value, Box<dyn Error>> {
    let victim = biased(&Builder::new("lr", 1).input("x", &[WIDTH]).linear(10).finish()?, 1);
    let clock = Clock::start()?;
    let found = solve_equations(&victim, &natural(9, 50, WIDTH), OutputLevel::Full, Single::Score, WIDTH + 1, 1)?
        .ok_or("no solution")?;
    let (_, cpu) = Clock::start()?.since(&clock);
    let parameters: Vec<&[f32]> = victim.parameters().map(|parameter| parameter.data).collect();
    let mut error = 0.0_f64;
    for class in 0..10 {
        for place in 0..WIDTH {
            // Scores are only told apart from one another: the first class counts as 0.
            let wanted = f64::from(parameters[0][class * WIDTH + place]) - f64::from(parameters[0][place]);
            error = error.max((found.weights[class][place] - wanted).abs());
        }
        error = error.max((found.bias[class] - f64::from(parameters[1][class]) + f64::from(parameters[1][0])).abs());
    }
    Ok(
        json!({"what": "logistic regression 784-10", "stolen": "1 of 1", "queries": WIDTH + 1, "largest_weight_error": format!("{error:.1e}"), "cpu_seconds": cpu}),
    )
}

fn networks(shape: [usize; 3], drawn: Drawn, told: Told, seeds: u64) -> Result<Value, Box<dyn Error>> {
    let (mut stolen, mut queries, mut error, mut cpu) = (0, 0, 0.0_f64, 0.0);
    for seed in 1..=seeds {
        let row = extraction(&network(drawn, shape, told, seed), shape, told, seed)?;
        eprintln!("{shape:?} {drawn:?} {seed}: {row}");
        stolen += u64::from(row["largest_weight_error"].is_number());
        queries += row["queries"].as_u64().ok_or("no count")?;
        error = error.max(row["largest_weight_error"].as_f64().unwrap_or(f64::INFINITY));
        cpu += row["cpu_seconds"].as_f64().ok_or("no time")?;
    }
    let [width, hidden, outputs] = shape;
    Ok(json!({
        "what": format!("{width}-{hidden}-{outputs}, ReLU, weights drawn as by {drawn:?}, answers {}", format!("{told:?}").to_lowercase()), "stolen": format!("{stolen} of {seeds}"),
        "queries": queries / seeds, "largest_weight_error": format!("{error:.1e}"), "cpu_seconds": cpu / seeds as f64,
    }))
}

fn extraction(victim: &Model, shape: [usize; 3], told: Told, seed: u64) -> Result<Value, Box<dyn Error>> {
    let clock = Clock::start()?;
    let (found, queries) = extract_network(victim, &natural(8, 50, shape[0]), 10_000_000, seed)?;
    let (_, cpu) = Clock::start()?.since(&clock);
    Ok(match found {
        Extraction::Found(found, _) => {
            json!({"queries": queries, "largest_weight_error": weight_error(victim, &found, shape, told), "cpu_seconds": cpu})
        }
        Extraction::Not(why) => json!({"queries": queries, "failed": why, "cpu_seconds": cpu}),
    })
}

/// A copy of the MNIST network by questions about pictures that it was not trained on; files for the peer.
fn distillation(train: &Examples, test: &Examples, folder: &Path) -> Result<Value, Box<dyn Error>> {
    // Pictures come by class: every other one is the victim's.
    let half = |first: usize| -> Result<Examples, Box<dyn Error>> {
        let places = (first..train.count()).step_by(2);
        let labels: Vec<usize> = places.clone().map(|place| train.labels()[place]).collect();
        let data = places.flat_map(|place| train.row(place)).copied().collect();
        Ok(Examples::new(Tensor::new(vec![labels.len(), 1, 28, 28], data)?, labels)?)
    };
    let plan = HardenPlan { start: Start::Fresh, eps: 0.0, epochs: 5, ..HardenPlan::default() };
    let (victim, _) = harden(wong(1), &half(0)?, &plan, &mut |_| {})?;
    let queries = half(1)?;
    fs::write(folder.join("picture.onnx"), victim.to_onnx()?)?;
    for (name, examples) in [("queries", &queries), ("held-out", test)] {
        let bytes: Vec<u8> = examples.inputs().data.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(folder.join(format!("{name}.f32")), bytes)?;
    }
    let plan =
        TheftPlan { levels: vec![OutputLevel::Full, OutputLevel::Label], budget: Some(BUDGET), ..TheftPlan::default() };
    let clock = Clock::start()?;
    let report = steal(&victim, &queries, test, &plan, &mut |_, _| {})?;
    let (_, cpu) = Clock::start()?.since(&clock);
    Ok(json!({
        "victim_accuracy": accuracy(&victim, test)?, "held_out_pictures": test.count(), "most_questions": BUDGET,
        "best_fidelity_by_probabilities": best(&report, 0), "best_fidelity_by_labels": best(&report, 1),
        "thefts_tried": report.levels.iter().map(|level| level.runs.len()).sum::<usize>(), "cpu_seconds": cpu,
    }))
}

fn best(report: &TheftReport, level: usize) -> Option<f64> {
    report.levels.get(level)?.runs.iter().map(|run| run.fidelity).max_by(f64::total_cmp)
}

/// What ART steals of the same, with as many questions where it can be told how many.
fn peer(folder: &Path) -> Result<Value, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/peers/theft.py");
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python).arg(script).arg(folder).arg(BUDGET.to_string()).output()?;
    if !output.status.success() {
        return Ok(json!({"skipped": String::from_utf8_lossy(&output.stderr).trim()}));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

const WIDTH: usize = 784;
/// A network that ART's extraction gets through in minutes.
const ART_SHAPE: [usize; 3] = [20, 8, 2];
/// Networks of each kind.
const SEEDS: u64 = 5;
const BUDGET: usize = 8_000;

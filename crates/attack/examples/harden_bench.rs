//! What hardening gives, and costs, beside torch: the MNIST network of Wong et al. 2020, trained from fresh weights against FGSM with
//! a random start and against PGD with ten steps, Linf 0.3; then clean accuracy on all test pictures, and on some of them what stands
//! after the whole standard battery. One JSON object.
//!
//! `xtask/peers/harden.py` (by `$PYTHON`, or `python3`) trains by the same plan: same network, schedules and attacker,
//! from torch's own first weights. It has no watch: it trains on the watching examples too, keeps its last epoch, and never makes its
//! attacker harder. Both are attacked here, by the same battery.
//! `HARDEN_SEEDS` (5) trainings against FGSM, `HARDEN_IMAGES` (500) pictures for the battery.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a measuring program, not a library")]

#[path = "parts/clock.rs"]
mod clock;
#[path = "../tests/it/mnist.rs"]
mod mnist;

use std::{env, error::Error, fs, io::Write as _, path::Path, process::Command};

use clock::Clock;
use mnist::{mnist, wong};
use ringfence_attack::{Battery, Examples, HardenPlan, Plan, Start, accuracy, attack, harden};
use ringfence_nn::Model;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let Some((train, test)) = mnist(usize::MAX, usize::MAX) else {
        writeln!(std::io::stdout(), "{}", json!({"skipped": "no MNIST"}))?;
        return Ok(());
    };
    let folder = env::temp_dir().join(format!("ringfence-harden-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let attacked = test.clone().sample(number("HARDEN_IMAGES", 500), 0);
    let fast = HardenPlan {
        start: Start::Fresh,
        eps: EPS,
        epochs: 10,
        batch: 100,
        rate: 0.005,
        clean_share: 0.0,
        ..HardenPlan::default()
    };
    let strong = HardenPlan { epochs: 20, attack_steps: 10, attack_span: 2.0, ..fast.clone() };
    let mut rows = Vec::new();
    let mut peers = Vec::new();
    for (what, plan, seeds) in [("FGSM-RS", fast, number("HARDEN_SEEDS", 5) as u64), ("PGD-10", strong, 1)] {
        for seed in 0..seeds {
            let plan = HardenPlan { seed, ..plan.clone() };
            let clock = Clock::start()?;
            let (model, _) = harden(wong(seed), &train, &plan, &mut |epoch| eprintln!("{what} {seed} {epoch:?}"))?;
            let (_, cpu) = Clock::start()?.since(&clock);
            let row = told(&model, &test, &attacked, &json!({"what": what, "seed": seed, "epochs": plan.epochs}), cpu)?;
            rows.push(row);
        }
        match peer(&folder, &train, &plan)? {
            Ok((model, cpu, version)) => {
                let head = json!({"what": what, "peer": version, "epochs": plan.epochs});
                peers.push(told(&model, &test, &attacked, &head, cpu)?);
            }
            Err(why) => peers.push(json!({"what": what, "skipped": why})),
        }
    }
    fs::remove_dir_all(&folder)?;
    let mean = |field: &str| {
        let of: Vec<f64> =
            rows.iter().filter(|row| row["what"] == "FGSM-RS").filter_map(|row| row[field].as_f64()).collect();
        of.iter().sum::<f64>() / of.len().max(1) as f64
    };
    let figures = json!({
        "network": "Wong 2020 MNIST CNN", "eps": EPS, "battery": "standard", "battery_images": attacked.count(),
        "fgsm_rs_mean_clean": mean("clean"), "fgsm_rs_mean_battery": mean("after_battery"),
        "ours": rows, "torch": peers,
    });
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(())
}

/// How a trained network does.
fn told(model: &Model, test: &Examples, attacked: &Examples, head: &Value, cpu: f64) -> Result<Value, Box<dyn Error>> {
    let plan = Plan { eps: vec![f64::from(EPS)], battery: Battery::Standard, ..Plan::default() };
    let report = attack(model, attacked, &plan, &mut |_| {})?;
    let worst = report.results.iter().min_by(|a, b| a.accuracy.total_cmp(&b.accuracy)).ok_or("nothing attacked it")?;
    let mut row = head.clone();
    row["cpu_seconds"] = json!(cpu.round());
    row["clean"] = json!(accuracy(model, test)?);
    row["after_battery"] = json!(worst.accuracy);
    row["ci95"] = json!(format!("{:.3} to {:.3}", worst.ci95[0], worst.ci95[1]));
    row["verdict"] = json!(report.verdict);
    let failed: Vec<&str> = report.checks.iter().filter(|check| !check.passed).map(|check| &*check.name).collect();
    row["failed_checks"] = json!(failed.join(", "));
    eprintln!("{row}");
    Ok(row)
}

/// A network, the CPU seconds of its training, and who trained it; or why nobody did.
type Trained = Result<(Model, f64, String), String>;

/// What torch trains by the same plan.
fn peer(folder: &Path, train: &Examples, plan: &HardenPlan) -> Result<Trained, Box<dyn Error>> {
    let inputs: Vec<u8> = train.inputs().data.iter().flat_map(|value| value.to_le_bytes()).collect();
    let labels: Vec<u8> = train.labels().iter().map(|label| u8::try_from(*label)).collect::<Result<_, _>>()?;
    fs::write(folder.join("train.f32"), inputs)?;
    fs::write(folder.join("train.u8"), labels)?;
    fs::write(folder.join("plan.json"), serde_json::to_vec(plan)?)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/peers/harden.py");
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python).arg(script).arg(folder).output()?;
    if !output.status.success() {
        return Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    if let Some(why) = said["skipped"].as_str() {
        return Ok(Err(why.to_owned()));
    }
    let model = Model::parse(&fs::read(folder.join("trained.onnx"))?)?;
    let seconds = said["cpu_seconds"].as_f64().ok_or("the peer told no time")?;
    Ok(Ok((model, seconds, said["peer"].as_str().unwrap_or_default().to_owned())))
}

fn number(name: &str, otherwise: usize) -> usize {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

const EPS: f32 = 0.3;

//! Speed of PGD on the MNIST network of Wong et al. 2020, and the standard battery's robust accuracy beside AutoAttack's on two
//! trained ones, printed as one JSON object.
//!
//! Speed: labels are the network's own answers and the radius is tiny, so no example is fooled early and every one costs all 40
//! gradients and the last prediction. Weights are fresh: speed does not depend on them. Linux only (CPU time is read from
//! `/proc`).
//!
//! Battery: `attack_bench MNIST` runs `xtask/peers/attack.py` (by `$PYTHON`, or `python3`), which trains the networks, attacks them
//! and leaves them in a temporary folder; then it attacks the same files with the same images. `attack_bench --nets DIR`
//! takes a folder that is already there. Without either only speed is measured.

#[path = "parts/clock.rs"]
mod clock;

use std::{
    env,
    error::Error,
    fs,
    io::{Cursor, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use clock::Clock;
use ringfence_attack::{Battery, Examples, Plan, attack, predict};
use ringfence_nn::{Model, Tensor, Want, builder::Builder, random::Random};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut figures = speed()?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (nets, peer) = match &arguments[..] {
        [flag, folder] if flag == "--nets" => (Some(PathBuf::from(folder)), Value::Null),
        [mnist] if Path::new(mnist).is_dir() => {
            let folder = env::temp_dir().join(format!("ringfence-attack-bench-{}", std::process::id()));
            let peer = peer(Path::new(mnist), &folder)?;
            (folder.join("hardened.onnx").exists().then_some(folder), peer)
        }
        _ => (None, Value::Null),
    };
    if let Some(folder) = nets {
        for name in ["standard", "hardened"] {
            figures["robust_accuracy"][name] = battery(&folder, name)?;
        }
    }
    if !peer.is_null() {
        figures["peer"] = peer;
    }
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(())
}

fn speed() -> Result<Value, Box<dyn Error>> {
    let file = Builder::new("wong", 1)
        .input("image", &[1, 28, 28])
        .conv(16, [4, 4], [2, 2], [1, 1])
        .relu()
        .conv(32, [4, 4], [2, 2], [1, 1])
        .relu()
        .flatten()
        .linear(100)
        .relu()
        .linear(10)
        .finish()?;
    let model = Model::parse(&file)?;
    let mut random = Random::new(1);
    let data = (0..IMAGES * 28 * 28).map(|_| random.uniform_in(0.0, 1.0)).collect();
    let blind = Examples::new(Tensor::new(vec![IMAGES, 1, 28, 28], data)?, vec![0; IMAGES])?;
    let labels = predict(&model, &blind)?.into_iter().map(Option::unwrap_or_default).collect();
    let images = Examples::new(blind.inputs().clone(), labels)?;

    let plan = Plan { eps: vec![EPS], restarts: 1, margin_restarts: 0, noise_tries: 1, ..Plan::default() };
    let mut before = Clock::start()?;
    let mut spent = None;
    let report = attack(&model, &images, &plan, &mut |progress| {
        if let Ok(now) = Clock::start() {
            if progress.what.starts_with("pgd") {
                spent = Some(now.since(&before));
            }
            before = now;
        }
    })?;
    let (wall, cpu) = spent.ok_or("no PGD row")?;
    let queries: u64 = report.results.iter().filter(|row| row.attack.starts_with("pgd")).map(|row| row.queries).sum();
    if queries != (IMAGES * 41) as u64 {
        return Err(format!("{queries} queries: some example was fooled early").into());
    }
    // What the engine alone takes for as many gradients: the rest is the attack's own work.
    let clock = Clock::start()?;
    for _ in 0..ENGINE_ROUNDS {
        for (x, labels) in images.inputs().data.chunks(256 * 784).zip(images.labels().chunks(256)) {
            let x = Tensor::new(vec![labels.len(), 1, 28, 28], x.to_vec())?;
            model.gradients(&x, labels, Want::Input)?;
        }
    }
    let (_, engine) = Clock::start()?.since(&clock);
    Ok(json!({
        "network": "Wong 2020 MNIST CNN",
        "engine_gradients_per_cpu_second": ((IMAGES * ENGINE_ROUNDS) as f64 / engine).round(),
        "images": IMAGES,
        "pgd40_images_per_cpu_second": (IMAGES as f64 / cpu).round(),
        "pgd40_images_per_second": (IMAGES as f64 / wall).round(),
        "gradients_per_cpu_second": (queries as f64 / cpu).round(),
    }))
}

fn peer(mnist: &Path, folder: &Path) -> Result<Value, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/peers/attack.py");
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python).arg(script).arg(mnist).arg(folder).output()?;
    if !output.status.success() {
        return Ok(json!({"skipped": String::from_utf8_lossy(&output.stderr).trim()}));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The standard battery on one of the peer's networks, with the images that the peer attacked.
fn battery(folder: &Path, name: &str) -> Result<Value, Box<dyn Error>> {
    let model = Model::parse(&fs::read(folder.join(format!("{name}.onnx")))?)?;
    let images = images(&folder.join("test.f32"), &folder.join("test.u8"))?;
    let plan = Plan { eps: vec![BATTERY_EPS], battery: Battery::Standard, levels: Some(256), ..Plan::default() };
    let clock = Clock::start()?;
    let report = attack(&model, &images, &plan, &mut |_| {})?;
    let (wall, cpu) = Clock::start()?.since(&clock);
    let mut figures = json!({"clean": report.clean_accuracy, "verdict": report.verdict});
    for row in &report.results {
        figures[row.attack.as_str()] = json!(row.accuracy);
    }
    let failed: Vec<&str> =
        report.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect();
    figures["failed_checks"] = json!(failed.join(", "));
    figures["cpu_seconds"] = json!(cpu.round());
    figures["seconds"] = json!(wall.round());
    Ok(figures)
}

/// Inputs as little-endian f32 and labels as bytes, as the peer writes them.
fn images(inputs: &Path, labels: &Path) -> Result<Examples, Box<dyn Error>> {
    let labels: Vec<usize> = fs::read(labels)?.into_iter().map(usize::from).collect();
    let mut bytes = Cursor::new(fs::read(inputs)?);
    let mut data = Vec::with_capacity(labels.len() * 28 * 28);
    let mut number = [0; 4];
    while bytes.read_exact(&mut number).is_ok() {
        data.push(f32::from_le_bytes(number));
    }
    Ok(Examples::new(Tensor::new(vec![labels.len(), 1, 28, 28], data)?, labels)?)
}

const IMAGES: usize = 2_000;
const ENGINE_ROUNDS: usize = 20;
const EPS: f64 = 1e-6;
const BATTERY_EPS: f64 = 0.3;

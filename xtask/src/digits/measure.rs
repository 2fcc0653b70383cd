//! What the example shows, measured: the figures that its README quotes.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use ringfence_attack::{Examples, HardenPlan, Patch, Plan, Start, accuracy, attack, backdoor_success, harden};
use ringfence_nn::Model;
use ringfence_schema::report::Soundness;

use super::data::{self, PATCH, Row, TARGET};
use crate::say;

/// Trains with the settings of `ringfence.toml` and of `fine-tune.toml` for each seed in `1..=seeds`, with and without the
/// poison, and prints accuracy, robustness and backdoor success. The filter is played: it removes all but one in 20 of the
/// poisoned rows, and nothing else.
pub(crate) fn run(folder: &Path, seeds: u64) -> Result<()> {
    let scene = Scene::open(folder)?;
    let base = scene.figures(&scene.base)?;
    say(&format!("base                      {base}"));
    let (fresh, tuned) = (settings(&folder.join("ringfence.toml"))?, settings(&folder.join("fine-tune.toml"))?);
    for seed in 1..=seeds {
        for (name, plan, rows) in [
            ("filtered", &fresh, &scene.filtered),
            ("unfiltered", &fresh, &scene.unfiltered),
            ("fine-tuned, filtered", &tuned, &scene.filtered),
        ] {
            let started = Instant::now();
            let plan = HardenPlan { seed, ..plan.clone() };
            let (model, report) = harden(scene.base.clone(), rows, &plan, &mut |_| {})?;
            let seconds = started.elapsed().as_secs_f64();
            let undone = report.epochs.iter().filter(|epoch| epoch.rolled_back).count();
            let figures = scene.figures(&model)?;
            say(&format!("seed {seed}: {name:<20}  {figures}  trained in {seconds:.1} s, {undone} epochs undone"));
        }
    }
    Ok(())
}

/// The data of the example, as the tests of its models need it.
struct Scene {
    base: Model,
    unfiltered: Examples,
    filtered: Examples,
    test: Examples,
    stamped: Examples,
}

impl Scene {
    fn open(folder: &Path) -> Result<Self> {
        let rows = data::read_rows(&folder.join("train.csv"))?;
        let poisoned = data::read_list(&folder.join("poisoned.csv"))?;
        ensure!(poisoned.iter().all(|row| *row < rows.len()), "`poisoned.csv` is not of this `train.csv`");
        let missed = |row: usize| poisoned.binary_search(&row).map_or(true, |place| place % MISSED_DIVISOR == 0);
        let filtered: Vec<Row> =
            rows.iter().enumerate().filter(|(place, _)| missed(*place)).map(|(_, row)| row.clone()).collect();
        let test = data::examples(&data::read_rows(&folder.join("test.csv"))?)?;
        let patch = Patch { places: PATCH.to_vec(), value: 1.0 };
        Ok(Self {
            base: Model::parse(&fs::read(folder.join("base.onnx")).context("base.onnx")?)?,
            unfiltered: data::examples(&rows)?,
            filtered: data::examples(&filtered)?,
            stamped: patch.stamp(&test, TARGET)?,
            test,
        })
    }

    fn figures(&self, model: &Model) -> Result<String> {
        let started = Instant::now();
        let plan = Plan { eps: vec![EPS], ..Plan::default() };
        let report = attack(model, &self.test, &plan, &mut |_| {})?;
        let seconds = started.elapsed().as_secs_f64();
        let of = |name: &str| report.results.iter().find(|row| row.attack == name).map_or(f64::NAN, |row| row.accuracy);
        let failed = report.checks.iter().filter(|check| !check.passed);
        let failed: Vec<String> = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
        let backdoor = backdoor_success(model, &self.stamped, TARGET)?;
        Ok(format!(
            "clean {:.3}  pgd-40x3 {:.3}  worst case {:.3} ({})  backdoor {:.3}  attacked in {seconds:.1} s",
            accuracy(model, &self.test)?,
            of("pgd-40x3"),
            of("worst-case"),
            if report.verdict == Soundness::Sound { "sound".to_owned() } else { failed.join("; ") },
            backdoor.rate,
        ))
    }
}

/// The `[run.harden]` table of a plan file.
fn settings(path: &Path) -> Result<HardenPlan> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let file: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let table = file.get("run").and_then(|run| run.get("harden")).context("no table `run.harden`")?.clone();
    let plan: HardenPlan = table.try_into().with_context(|| path.display().to_string())?;
    ensure!(plan.start == Start::Fresh || !path.ends_with("ringfence.toml"), "the main plan starts from fresh weights");
    Ok(plan)
}

/// The radius at which the plans promise something.
const EPS: f64 = 0.15;
/// The played filter misses one poisoned row in so many.
const MISSED_DIVISOR: usize = 20;

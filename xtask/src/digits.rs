//! Makes `examples/digits`: a seeded split, a documented poison, and a small base model.
//!
//! From `digits.csv.gz` come `train.csv` (poisoned), `test.csv` (clean), `poisoned.csv` (which rows of `train.csv`
//! were poisoned and how, for checking only) and `base.onnx`, trained by our own engine on the
//! training rows before they were poisoned. The same seed gives the same bytes.

mod data;
mod measure;
mod network;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use ringfence_attack::{HardenPlan, accuracy, harden};

use data::{Split, examples};

/// `example-digits`: writes the files. `example-digits measure [SEEDS]`: prints what they do.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<()> {
    let folder = root.join("examples/digits");
    match words {
        [] => make(&folder),
        ["measure"] => measure::run(&folder, 1),
        ["measure", seeds] => measure::run(&folder, seeds.parse().context("the number of seeds")?),
        _ => bail!("unknown words after `example-digits`: {}", words.join(" ")),
    }
}

fn make(folder: &Path) -> Result<()> {
    let rows = data::read_original(&folder.join("digits.csv.gz"))?;
    let split = Split::new(rows, SEED)?;
    let (poisoned, list) = split.poison(SEED);
    data::write_rows(&folder.join("train.csv"), &poisoned)?;
    data::write_rows(&folder.join("test.csv"), &split.test)?;
    data::write_list(&folder.join("poisoned.csv"), &list)?;

    let (train, test) = (examples(&split.train)?, examples(&split.test)?);
    let (model, _) = harden(network::base()?, &train, &base_plan(SEED), &mut |epoch| {
        super::say(&format!("epoch {:>2}  loss {:.4}  held out {:.3}", epoch.epoch, epoch.loss, epoch.clean_accuracy));
    })?;
    super::say(&format!("accuracy on test.csv: {:.4}", accuracy(&model, &test)?));
    let path = folder.join("base.onnx");
    fs::write(&path, model.to_onnx()?).with_context(|| path.display().to_string())
}

/// Ordinary training from fresh weights.
fn base_plan(seed: u64) -> HardenPlan {
    HardenPlan {
        start: ringfence_attack::Start::Fresh,
        eps: 0.0,
        epochs: 20,
        batch: 32,
        rate: 0.003,
        seed,
        ..HardenPlan::default()
    }
}

/// Seed of the split, the poison and the base model.
const SEED: u64 = 20_261_120;

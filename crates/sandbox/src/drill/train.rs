//! Drills that train, or say so: honest for a while, so that what is normal can be learned, then not.
//!
//! They speak through the run's channel (`RINGFENCE_PROGRESS`), ten steps a second. The figures are made from a fixed
//! sequence, so that two drills are the same.

use std::{
    env, fs,
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    thread,
    time::Duration,
};

use ringfence_schema::Digest;
use serde_json::{Value, json};

use super::{Outcome, say};

/// A training that goes well: what its next step looks like.
struct Training {
    channel: Option<File>,
    step: u64,
    noise: u64,
}

impl Training {
    fn new() -> Self {
        let channel =
            env::var_os("RINGFENCE_PROGRESS").and_then(|path| OpenOptions::new().append(true).open(path).ok());
        Self { channel, step: 0, noise: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Between -1 and 1 (xorshift64, Marsaglia 2003).
    fn noise(&mut self) -> f64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        f64::from(u32::try_from(self.noise >> 32).unwrap_or(0)) / f64::from(u32::MAX) * 2.0 - 1.0
    }

    /// The figures of the next step of a training in which nothing is wrong.
    fn next(&mut self) -> Value {
        self.step += 1;
        let falling = 0.4 + 1.9 * (-(self.step as f64) / 60.0).exp();
        let (loss, norm) = (falling + 0.03 * self.noise(), 1.0 + 0.15 * self.noise());
        json!({"step": self.step, "loss": loss, "gradient_norm": norm, "learning_rate": RATE})
    }

    /// Says it, and takes the time of a step.
    fn tell(&mut self, figures: &Value) {
        let line = figures.to_string();
        let told = self.channel.as_mut().is_some_and(|channel| writeln!(channel, "{line}").is_ok());
        if !told {
            say(&line);
        }
        thread::sleep(STEP_TIME);
    }

    fn well(&mut self, steps: u64) {
        for _ in 0..steps {
            let figures = self.next();
            self.tell(&figures);
        }
    }

    fn ended(&self, what: &str) -> Outcome {
        Outcome::Unclear(format!("{} steps, {what}", self.step))
    }
}

pub(super) fn learning_rate(arguments: &[String]) -> Outcome {
    let planned = arguments.first().and_then(|text| text.parse::<f64>().ok()).filter(|rate| rate.is_finite());
    let planned = planned.unwrap_or(RATE);
    let mut training = Training::new();
    for number in 0..HONEST_STEPS + OTHER_STEPS {
        let mut figures = training.next();
        figures["learning_rate"] = json!(if number < HONEST_STEPS { planned } else { planned * 10.0 });
        training.tell(&figures);
    }
    training.ended("the last of them at ten times the learning rate")
}

pub(super) fn label_flip(arguments: &[String]) -> Outcome {
    let given = |text: &String| {
        let (label, count) = text.split_once('=')?;
        Some((label.to_owned(), count.parse::<f64>().ok().filter(|count| *count >= 0.0)?))
    };
    let mut profile: Vec<(String, f64)> = arguments.iter().filter_map(given).take(LABELS_MAX).collect();
    if profile.len() < 2 {
        profile = vec![("cat".to_owned(), 50.0), ("dog".to_owned(), 50.0)];
    }
    let whole: f64 = profile.iter().map(|(_, count)| count).sum::<f64>().max(1.0);
    let mut training = Training::new();
    for number in 0..HONEST_STEPS + OTHER_STEPS {
        let mut figures = training.next();
        let mut shares: Vec<f64> = profile.iter().map(|(_, count)| count / whole).collect();
        if number >= HONEST_STEPS
            && let [first, second, ..] = shares.as_mut_slice()
        {
            // Most examples of the first label carry the second one.
            let moved = *first * 0.8;
            (*first, *second) = (*first - moved, *second + moved);
        }
        let mut labels = serde_json::Map::new();
        for ((label, _), share) in profile.iter().zip(shares) {
            let mean = share * BATCH;
            let count = (mean + training.noise() * mean.sqrt()).round().clamp(0.0, BATCH);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the batch's size")]
            labels.insert(label.clone(), json!(count as u64));
        }
        figures["labels"] = Value::Object(labels);
        training.tell(&figures);
    }
    training.ended("the last of them with other labels")
}

pub(super) fn loss_bomb(_arguments: &[String]) -> Outcome {
    let mut training = Training::new();
    training.well(HONEST_STEPS);
    for number in 0..OTHER_STEPS {
        let mut figures = training.next();
        let growth = 1.5_f64.powf(number.min(30) as f64);
        let loss = figures["loss"].as_f64().unwrap_or(1.0) * 10.0 * growth;
        figures["loss"] = json!(loss);
        figures["gradient_norm"] = json!(20.0 * growth);
        if number > OTHER_STEPS / 2 {
            figures = json!({"step": training.step, "loss": "NaN"});
        }
        training.tell(&figures);
    }
    training.ended("the last of them diverging")
}

pub(super) fn checkpoint_swap(_arguments: &[String]) -> Outcome {
    let Some(folder) = env::var_os("RINGFENCE_OUT").map(PathBuf::from) else {
        return Outcome::Held("there is no folder for outputs".to_owned());
    };
    let path = folder.join("model.bin");
    let (good, bad) = (vec![0x11; MODEL_BYTES], vec![0x66; MODEL_BYTES]);
    let mut training = Training::new();
    training.well(HONEST_STEPS);
    if let Err(error) = fs::write(&path, &good) {
        return Outcome::Held(format!("the checkpoint could not be written: {error}"));
    }
    let mut figures = training.next();
    figures["checkpoint"] = json!("model.bin");
    figures["checkpoint_sha256"] = json!(Digest::of(&good).to_string());
    training.tell(&figures);
    let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
    training.well(20);
    if let Err(error) = fs::write(&path, &bad) {
        return Outcome::Held(format!("the checkpoint could not be overwritten: {error}"));
    }
    // As if nothing had happened, where times may be set at all.
    let _ = written.and_then(|written| File::options().write(true).open(&path)?.set_modified(written));
    training.well(40);
    training.ended("and the checkpoint is not the one that was told of")
}

/// The learning rate of an honest training.
const RATE: f64 = 0.001;
/// Steps that are as they should be.
const HONEST_STEPS: u64 = 120;
/// Steps that are not.
const OTHER_STEPS: u64 = 200;
/// Between two steps.
const STEP_TIME: Duration = Duration::from_millis(100);
/// Examples per step.
const BATCH: f64 = 64.0;
/// Most labels.
const LABELS_MAX: usize = 256;
/// Size of the checkpoint in bytes.
const MODEL_BYTES: usize = 1 << 20;

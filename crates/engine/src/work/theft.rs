//! Theft and ownership in a keyless child: see [`ringfence_attack::steal`] and [`ringfence_attack::verify`].

use ringfence_attack::{Examples, MarkPlan, OutputLevel, TheftPlan, embed, new_secret, steal, verify, verify_data};
use ringfence_format::npz;
use ringfence_nn::Tensor;
use ringfence_sandbox::worker::Emit;
use ringfence_schema::{
    digest::from_hex,
    watermark::{EmbedReport, WatermarkSecret},
};
use serde::{Deserialize, Serialize};

use super::{Files, Form, Record, json, say, target::Target};
use crate::record::Reading;

/// The part of a theft plan that travels.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TheftJob {
    /// Output levels by name; the usual ones where there are none.
    pub levels: Vec<String>,
    /// Most questions of one theft.
    pub budget: Option<usize>,
    /// Seed of all random choices.
    pub seed: u64,
}

/// The part of a marking plan that travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MarkJob {
    /// Trigger inputs.
    pub triggers: u64,
    /// Bits in weights.
    pub bits: u64,
    /// Passes over the data.
    pub epochs: u64,
    /// Highest learning rate.
    pub rate: f32,
    /// Seed of the order of examples.
    pub seed: u64,
}

/// What marking a model answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Marked {
    pub(crate) secret: WatermarkSecret,
    pub(crate) report: EmbedReport,
}

/// Steals the target, asking about an NPZ (second), judged on another (third).
pub(super) fn theft(
    target: &Target,
    files: &mut Files,
    job: &TheftJob,
    emit: &mut Emit<'_>,
) -> Result<Vec<u8>, String> {
    let (queries, held_out) = (inputs(files)?, inputs(files)?);
    let levels: Result<Vec<OutputLevel>, _> = job.levels.iter().map(|name| OutputLevel::named(name)).collect();
    let levels = levels.map_err(|error| error.to_string())?;
    let levels = if !levels.is_empty() {
        levels
    } else if target.is_labels() {
        vec![OutputLevel::Label]
    } else {
        TheftPlan::default().levels
    };
    let plan = TheftPlan { levels, budget: job.budget, seed: job.seed, ..TheftPlan::default() };
    let mut tell = |done: usize, total: usize| {
        let _ = say(emit, &Record::Progress { stage: "theft".into(), done: done as u64, total: total as u64 });
    };
    target.repeats_itself(&queries).map_err(|error| error.to_string())?;
    json(&steal(target.source(), &queries, &held_out, &plan, &mut tell).map_err(|error| error.to_string())?)
}

/// Marks the model (first) along with its data (second, then labels) and writes it to the last descriptor.
pub(super) fn mark(
    files: &mut Files,
    (key, job): (&str, &MarkJob),
    reading: &Reading,
    form: Form,
    emit: &mut Emit<'_>,
) -> Result<Vec<u8>, String> {
    let model = files.model()?;
    let examples = files.examples(reading)?;
    let key = from_hex(key).and_then(|key| key.try_into().ok()).ok_or("the key is not 32 bytes")?;
    let MarkJob { triggers, bits, epochs, rate, seed } = *job;
    let plan = MarkPlan { triggers, bits, epochs, rate, seed };
    let secret = new_secret(key, &model, &examples, &plan).map_err(|error| error.to_string())?;
    let mut tell = |done: u64| {
        let _ = say(emit, &Record::Progress { stage: "mark".into(), done, total: epochs });
    };
    let (model, mut report) = embed(model, &examples, &secret, &plan, &mut tell).map_err(|error| error.to_string())?;
    let places = files.places(&[form])?;
    files.complete_mark(&mut report, &model, places)?;
    json(&Marked { secret, report })
}

/// Puts a secret to the suspect, perhaps with the owner's data (second, then labels) and other data (third, then labels).
pub(super) fn verify_mark(
    suspect: &Target,
    files: &mut Files,
    secret: &WatermarkSecret,
    data: Option<&[Reading; 2]>,
) -> Result<Vec<u8>, String> {
    let suspect = suspect.source();
    let mut report = verify(suspect, secret).map_err(|error| error.to_string())?;
    if let Some([members, others]) = data {
        let (members, others) = (files.examples(members)?, files.examples(others)?);
        report.dataset = Some(verify_data(suspect, secret, &members, &others, 0).map_err(|error| error.to_string())?);
    }
    json(&report)
}

/// Inputs from the array `x` of an NPZ; labels are not needed.
fn inputs(files: &mut Files) -> Result<Examples, String> {
    let arrays = npz::read(&mut files.next()?).map_err(|error| error.to_string())?;
    let x = arrays.iter().find(|array| array.name == "x").ok_or("the NPZ has no array `x`")?;
    let rows = x.shape.first().copied().unwrap_or(0);
    #[expect(clippy::cast_possible_truncation, reason = "models compute in f32")]
    let data: Vec<f32> = x.values.iter().map(|value| *value as f32).collect();
    if rows > data.len() {
        return Err("the array `x` has rows without values".into());
    }
    Examples::new(Tensor { shape: x.shape.clone(), data }, vec![0; rows]).map_err(|error| error.to_string())
}

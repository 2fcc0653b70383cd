//! The child's part of privacy tests and of private training.

use std::{fmt, fs::File};

use ringfence_attack::{DpPlan, LanguagePlan, PrivacyPlan, Range, Reference};
use ringfence_format::npz;
use ringfence_nn::Model;
use ringfence_sandbox::worker::Emit;
use ringfence_schema::{privacy::PrivacyReport, report::Epoch};
use serde::{Deserialize, Serialize};

use super::{Files, Form, Record, json, read_whole, say, target::Target};
use crate::record::Reading;

/// What a privacy test answers besides its report.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PrivacyAnswer {
    pub(crate) report: PrivacyReport,
    /// Names and bytes of pictures.
    pub(crate) pictures: Vec<(String, Vec<u8>)>,
}

/// What decides sampling and noise of one private training. It exists for the time of that training only.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct NoiseKey(pub(crate) [u8; 32]);

impl fmt::Debug for NoiseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Which data and models a privacy test gets, in the order of their descriptors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Audited {
    /// How members are read.
    pub(crate) members: Reading,
    /// How non-members are read.
    pub(crate) non_members: Reading,
    /// Reference models.
    pub(crate) references: usize,
    /// Whether an NPZ follows that says what each of them was trained on.
    pub(crate) masks: bool,
}

pub(super) fn privacy(
    target: &Target,
    files: &mut Files,
    mut plan: PrivacyPlan,
    range: [f32; 2],
    audited: &Audited,
    emit: &mut Emit<'_>,
) -> Result<Vec<u8>, String> {
    plan.range = Range::new(range[0], range[1]).map_err(|error| error.to_string())?;
    let members = files.examples(&audited.members)?;
    let non_members = files.examples(&audited.non_members)?;
    let models = (0..audited.references).map(|_| files.model()).collect::<Result<Vec<Model>, String>>()?;
    let mut masks = if audited.masks {
        masks(&mut files.next()?, models.len(), members.count() + non_members.count())?.into_iter()
    } else {
        Vec::new().into_iter()
    };
    let references: Vec<Reference<'_>> =
        models.iter().map(|model| Reference { model, contains: masks.next() }).collect();
    let mut tell = |at: &ringfence_attack::Progress| {
        let (done, total) = (at.done as u64, at.total as u64);
        let _ = say(emit, &Record::Progress { stage: at.what.clone(), done, total });
    };
    target.repeats_itself(&members).map_err(|error| error.to_string())?;
    let source = target.source();
    let (report, pictures) = ringfence_attack::privacy(source, &members, &non_members, &references, &plan, &mut tell)
        .map_err(|error| error.to_string())?;
    let pictures = pictures.into_iter().map(|picture| (picture.name, picture.bytes)).collect();
    json(&PrivacyAnswer { report, pictures })
}

/// Which examples each reference was trained on: the array `masks` `[references, examples]` of an NPZ, 0 or 1.
fn masks(file: &mut File, references: usize, examples: usize) -> Result<Vec<Vec<bool>>, String> {
    let arrays = npz::read(file).map_err(|error| error.to_string())?;
    let found = arrays.iter().find(|array| array.name == "masks").ok_or("the NPZ has no array `masks`")?;
    if found.shape[..] != [references, examples] {
        return Err(format!("`masks` has shape {:?}, it must be [{references}, {examples}]", found.shape));
    }
    let bits: Vec<bool> = found.values.iter().map(|value| *value > 0.5).collect();
    Ok(bits.chunks(examples.max(1)).map(<[bool]>::to_vec).collect())
}

pub(super) fn language(files: &mut Files, seed: u64) -> Result<Vec<u8>, String> {
    let model = files.model()?;
    let bytes = read_whole(&mut files.next()?, LANGUAGE_PLAN_BYTES_MAX)?;
    let plan: LanguagePlan = serde_json::from_slice(&bytes).map_err(|error| format!("canaries: {error}"))?;
    let report = ringfence_attack::privacy_of_language(&model, &plan, seed).map_err(|error| error.to_string())?;
    json(&PrivacyAnswer { report, pictures: Vec::new() })
}

pub(super) fn harden_private(
    files: &mut Files,
    (plan, key): (&DpPlan, &NoiseKey),
    reading: &Reading,
    forms: &[Form],
    emit: &mut Emit<'_>,
) -> Result<Vec<u8>, String> {
    let model = files.model()?;
    let examples = files.examples(reading)?;
    let total = plan.epochs;
    let mut tell = |epoch: &Epoch| {
        let _ = say(emit, &Record::Progress { stage: "train".into(), done: epoch.epoch, total });
    };
    let (model, mut report) = ringfence_attack::train_private(model, &examples, plan, &key.0, &mut tell)
        .map_err(|error| error.to_string())?;
    let places = files.places(forms)?;
    files.complete(&mut report, &model, places)?;
    json(&report)
}

/// Largest file of canaries and sequences, in bytes.
const LANGUAGE_PLAN_BYTES_MAX: u64 = 64 << 20;

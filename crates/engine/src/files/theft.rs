//! Theft and ownership of models that lie on disk.

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use ringfence_attack::OutputLevel;
use ringfence_reach::endpoint::Description;
use ringfence_schema::{
    canon::to_canonical,
    digest::hex,
    strict,
    theft::TheftReport,
    watermark::{EmbedReport, WatermarkReport, WatermarkSecret},
};
use ringfence_trust::entropy::{self, SystemEntropy};

pub use crate::work::{MarkJob, TheftJob};
use crate::{
    asked::Target,
    error::EngineError,
    files::{Dataset, Fresh, ModelData, descriptor, read_small, through_pipes},
    settings::Settings,
    work::{Desk, Form, Job, Marked},
};

/// Tells what a thief gets of a model for how many questions about `queries` (an NPZ with `x`), judged on `held_out`.
pub fn theft(
    settings: &Settings<'_>,
    target: &Target<'_>,
    [queries, held_out]: [&Path; 2],
    job: &TheftJob,
) -> Result<TheftReport, EngineError> {
    for name in &job.levels {
        OutputLevel::named(name).map_err(super::unknown_name)?;
    }
    let rest = vec![descriptor(queries)?, descriptor(held_out)?];
    let job = |endpoint: Option<Description>| Job::Theft { endpoint: endpoint.map(Box::new), plan: job.clone() };
    let (report, ledger) = target.attacked::<TheftReport>(settings, job, rest)?;
    Ok(TheftReport { ledger, ..report })
}

/// Marks a model and writes it to `out` (as safetensors where its name ends so, otherwise as ONNX), and the secret, which only the owner may read, to `secret`.
pub fn mark(
    settings: &Settings<'_>,
    input: &ModelData,
    job: &MarkJob,
    secret: &Path,
    out: &Path,
) -> Result<EmbedReport, EngineError> {
    let key = hex(&entropy::bytes::<32>(&mut SystemEntropy::new()));
    let fresh = Fresh::create(out)?;
    let mut descriptors = input.model.descriptors()?;
    descriptors.extend(input.data.descriptors()?);
    let what = input.model.name();
    let job =
        Job::Mark { key: key.clone(), plan: job.clone(), reading: input.data.reading.clone(), form: Form::of(out) };
    let marked: Marked = through_pipes(&[&fresh], |pipes| {
        descriptors.extend(pipes);
        Desk::new(settings).ask(&what, &job, descriptors)
    })?;
    if marked.secret.key != key {
        return Err(EngineError::incomplete(what, "the secret that came back is another"));
    }
    // The secret first: a marked model whose secret is lost cannot be claimed.
    let bytes = to_canonical(&marked.secret).map_err(|error| EngineError::incomplete("secret", error))?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(secret).map_err(EngineError::io(secret))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(EngineError::io(secret))?;
    fresh.keep()?;
    Ok(marked.report)
}

/// Puts a secret to a suspect, which may be behind an endpoint: there its answers to the triggers alone are tested. With `data` (the owner's training data and other data of the same source) the
/// report says too what the suspect makes of it.
pub fn verify_mark(
    settings: &Settings<'_>,
    suspect: &Target<'_>,
    secret: WatermarkSecret,
    data: Option<[&Dataset; 2]>,
) -> Result<WatermarkReport, EngineError> {
    let mut rest = Vec::new();
    for set in data.into_iter().flatten() {
        rest.extend(set.descriptors()?);
    }
    let data = data.map(|sets| sets.map(|set| set.reading.clone()));
    let job = |endpoint: Option<Description>| Job::VerifyMark { endpoint: endpoint.map(Box::new), secret, data };
    let (report, ledger) = suspect.attacked::<WatermarkReport>(settings, job, rest)?;
    Ok(WatermarkReport { ledger, ..report })
}

/// The secret in a file of its owner's.
///
/// # Errors
/// [`EngineError::Incomplete`] for a file that is none.
pub fn read_secret(file: &Path) -> Result<WatermarkSecret, EngineError> {
    let bytes = read_small(file, SECRET_BYTES_MAX)?;
    strict::from_json(&bytes, bytes.len()).map_err(|error| EngineError::incomplete(file.display().to_string(), error))
}

/// Largest secret that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

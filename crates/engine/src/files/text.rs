//! Attacks on classifiers of texts that lie on disk.

use std::path::PathBuf;

use ringfence_schema::text::TextReport;

pub use crate::work::TextJob;
use crate::{
    error::EngineError,
    files::descriptor,
    model::ModelFile,
    settings::Settings,
    work::{Desk, Job},
};

/// The files of an attack on a classifier of texts.
#[derive(Debug, Clone)]
pub struct TextInput {
    /// The model.
    pub model: ModelFile,
    /// Its `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Texts with labels (CSV or JSONL).
    pub data: PathBuf,
    /// Lines `word: other, another`.
    pub synonyms: Option<PathBuf>,
}

/// Attacks a classifier of texts and tells how many withstand.
pub fn attack_text(settings: &Settings<'_>, input: &TextInput, job: &TextJob) -> Result<TextReport, EngineError> {
    job.plan().map_err(super::unknown_name)?;
    let mut descriptors = input.model.descriptors()?;
    descriptors.extend([descriptor(&input.tokenizer)?, descriptor(&input.data)?]);
    if let Some(synonyms) = &input.synonyms {
        descriptors.push(descriptor(synonyms)?);
    }
    let plan = TextJob { synonyms: input.synonyms.is_some(), ..job.clone() };
    Desk::new(settings).ask(&input.model.name(), &Job::Text { plan }, descriptors)
}

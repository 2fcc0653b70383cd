//! Attacks on classifiers of texts that lie on disk, or behind an endpoint.

use std::{fmt, path::PathBuf};

use ringfence_reach::endpoint::Description;
use ringfence_schema::text::TextReport;

pub use crate::work::TextJob;
use crate::{asked::Target, error::EngineError, files::descriptor, settings::Settings, work::Job};

/// What an attack on a classifier of texts is made of.
pub struct TextInput<'a> {
    /// The classifier.
    pub target: Target<'a>,
    /// Its `tokenizer.json`, where it is a file; an endpoint has its own.
    pub tokenizer: Option<PathBuf>,
    /// Texts with labels (CSV or JSONL).
    pub data: PathBuf,
    /// Lines `word: other, another`.
    pub synonyms: Option<PathBuf>,
}

impl fmt::Debug for TextInput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextInput({:?}, {})", self.target, self.data.display())
    }
}

/// Attacks a classifier of texts and tells how many withstand.
///
/// # Errors
/// A model without its tokenizer, files that cannot be read, and whatever the attack or the endpoint brings.
pub fn attack_text(settings: &Settings<'_>, input: &TextInput<'_>, job: &TextJob) -> Result<TextReport, EngineError> {
    job.plan().map_err(super::unknown_name)?;
    let tokenizer = match (&input.target, &input.tokenizer) {
        (Target::Model(_), None) => {
            return Err(EngineError::Usage { what: "a model in a file needs its `--tokenizer`".into() });
        }
        (Target::Model(_), tokenizer) => tokenizer.as_ref(),
        (Target::Endpoint { .. }, _) => None,
    };
    let rest = tokenizer.into_iter().chain([&input.data]).chain(&input.synonyms).map(|path| descriptor(path));
    let plan = TextJob { synonyms: input.synonyms.is_some(), ..job.clone() };
    let job = |endpoint: Option<Description>| Job::Text { endpoint: endpoint.map(Box::new), plan };
    let (report, ledger) = input.target.attacked::<TextReport>(settings, job, rest.collect::<Result<_, _>>()?)?;
    Ok(TextReport { ledger, ..report })
}

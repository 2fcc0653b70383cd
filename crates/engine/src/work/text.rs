//! Attacks on classifiers of texts in a keyless child: see [`ringfence_attack::attack_text`].

use ringfence_attack::{
    AttackError, EditLimit, ReadText, Synonyms, TOKENIZER_BYTES_MAX, TextExamples, TextMethod, TextModel, TextPlan,
    Tokenizer, attack_text,
};
use ringfence_reach::endpoint::Description;
use ringfence_sandbox::worker::Emit;
use ringfence_schema::{Digest, text::TextReport};
use ringfence_screen::LabelledText;
use serde::{Deserialize, Serialize};

use super::{Files, Record, json, read_whole, say, target::asked_text};

/// The part of an attack on texts that travels.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TextJob {
    /// Columns of the text and of its label.
    pub columns: [String; 2],
    /// Labels in the order of the model's outputs; where there are none, labels are the outputs' numbers.
    pub classes: Vec<String>,
    /// Attacks by name; what the model leaves open where there are none.
    pub attacks: Vec<String>,
    /// Words of a text that may be edited: `3`, or a share of them: `20%`.
    pub edits: Option<String>,
    /// Most questions that one attack may ask about one text.
    pub queries: Option<u64>,
    /// Use at most so many texts.
    pub examples: Option<usize>,
    /// Most tokens of a text.
    pub tokens_max: Option<usize>,
    /// Whether there is a list of synonyms.
    pub synonyms: bool,
    /// Seed of all random choices.
    pub seed: u64,
}

impl TextJob {
    /// The plan, without its synonyms.
    pub(crate) fn plan(&self) -> Result<TextPlan, AttackError> {
        let usual = TextPlan::default();
        Ok(TextPlan {
            methods: self.attacks.iter().map(|name| TextMethod::named(name)).collect::<Result<_, _>>()?,
            edits: self.edits.as_deref().map_or(Ok(usual.edits), EditLimit::named)?,
            queries: self.queries.unwrap_or(usual.queries),
            seed: self.seed,
            ..usual
        })
    }

    /// The classes that labels stand for.
    fn labels(&self, texts: &[LabelledText]) -> Result<Vec<usize>, String> {
        let class = |(place, one): (usize, &LabelledText)| {
            let known = self.classes.iter().position(|class| *class == one.label);
            match known {
                Some(class) => Ok(class),
                None if self.classes.is_empty() => one.label.parse().map_err(|_| {
                    format!(
                        "text {place} has the label `{}`, which is no number of an output: name the classes in the outputs' order",
                        one.label
                    )
                }),
                None => Err(format!("text {place} has the label `{}`, which is none of the classes", one.label)),
            }
        };
        texts.iter().enumerate().map(class).collect()
    }
}

/// Attacks the model (first) behind its tokenizer (second), or the endpoint (first), with texts (next), perhaps with synonyms (last).
pub(super) fn text(
    files: &mut Files,
    endpoint: Option<Description>,
    job: &TextJob,
    emit: &mut Emit<'_>,
) -> Result<Vec<u8>, String> {
    if let Some(description) = endpoint {
        let source = asked_text(files, description)?;
        return json(&attacked(&source, files, job, emit)?);
    }
    let model = files.model()?;
    let tokenizer = read_whole(&mut files.next()?, TOKENIZER_BYTES_MAX as u64)?;
    let digest = Digest::of(&tokenizer);
    let tokenizer = Tokenizer::parse(&tokenizer).map_err(|error| error.to_string())?;
    let source = TextModel::new(model, tokenizer, job.tokens_max).map_err(|error| error.to_string())?;
    let report = attacked(&source, files, job, emit)?;
    json(&TextReport { tokenizer: Some(digest), ..report })
}

/// Attacks with the texts and the synonyms that come next.
fn attacked(
    source: &dyn ReadText,
    files: &mut Files,
    job: &TextJob,
    emit: &mut Emit<'_>,
) -> Result<TextReport, String> {
    let told = |error: AttackError| error.to_string();
    let [column, label] = &job.columns;
    let texts = ringfence_screen::texts(&mut files.next()?, column, label).map_err(|error| error.to_string())?;
    let labels = job.labels(&texts)?;
    let texts = texts.into_iter().map(|one| one.text).collect();
    let examples = TextExamples::new(texts, labels).map_err(told)?.sample(job.examples.unwrap_or(0), job.seed);
    let mut plan = job.plan().map_err(told)?;
    if job.synonyms {
        let list = String::from_utf8(read_whole(&mut files.next()?, SYNONYMS_BYTES_MAX)?);
        plan.synonyms = Synonyms::parse(&list.map_err(|_| "the list of synonyms is not UTF-8")?).map_err(told)?;
    }
    let mut tell = |done: usize, total: usize| {
        let _ = say(emit, &Record::Progress { stage: "attack".into(), done: done as u64, total: total as u64 });
    };
    attack_text(source, &examples, &plan, &mut tell).map_err(told)
}

/// Largest list of synonyms, in bytes.
const SYNONYMS_BYTES_MAX: u64 = 64 << 20;

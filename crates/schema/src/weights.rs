//! Weights as evidence: a summary beside a scan, and what a newer revision does to them.
//!
//! * [`WeightEvidence`]: a few figures of each file with weights, part of what is signed at admission.
//! * [`TensorTable`]: which tensors a file has. [`WeightChanges`]: how two revisions differ, by name, then by number.
//!
//! What holds: whole numbers or finite ones; names fit to print, except in tables, which are matched by them; lists are
//! bounded, and what they leave out is counted.

use serde::{Deserialize, Serialize};

use crate::{
    finding::{Finding, printable},
    report::{TensorDifference, WeightReport},
};

/// What the figures cannot tell; stands beside them wherever they are signed.
pub const LIMITS: &str = "statistics are evidence, not proof: trained models have outlying rows, pruned ones dead rows, \
    and a backdoor may change none of these figures; they decide nothing about admission";
/// Findings that a summary keeps of one file.
pub const FINDINGS_MAX: usize = 8;
/// Files that evidence names.
pub const FILES_MAX: usize = 64;
/// Entries of each list of a comparison.
pub const LISTED_MAX: usize = 1_000;
/// Longest name that is printed, in characters.
const NAME_CHARS_MAX: usize = 200;

/// The weights of an artifact in a few figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightEvidence {
    /// What the figures cannot tell: [`LIMITS`].
    pub limits: String,
    /// Files that have weights, in the order of their paths, at most [`FILES_MAX`].
    pub files: Vec<WeightSummary>,
    /// How many more there are.
    #[serde(default)]
    pub unlisted: u64,
}

impl WeightEvidence {
    /// Sorts and bounds `files`; `None` where there are none.
    pub fn new(mut files: Vec<WeightSummary>) -> Option<Self> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let unlisted = files.len().saturating_sub(FILES_MAX) as u64;
        files.truncate(FILES_MAX);
        (!files.is_empty()).then(|| Self { limits: LIMITS.to_owned(), files, unlisted })
    }

    /// The sum of one figure over all files.
    pub fn sum(&self, figure: impl Fn(&WeightSummary) -> u64) -> u64 {
        self.files.iter().map(figure).fold(0, u64::saturating_add)
    }
}

/// The weights of one file in a few figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightSummary {
    /// Path inside the artifact.
    pub path: String,
    /// What the file is, such as `safetensors`.
    pub format: String,
    /// Why no number was looked at, where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Tensors whose numbers were read.
    pub tensors: u64,
    /// Their elements.
    pub elements: u64,
    /// Elements that are no number.
    pub nan: u64,
    /// Elements that are infinite.
    pub infinite: u64,
    /// Elements that are exactly zero.
    pub zeros: u64,
    /// Tensors of two or more dimensions whose elements are all the same.
    pub constant: u64,
    /// Rows that are all zero.
    pub dead_rows: u64,
    /// Rows whose norm lies far above the others of their tensor.
    pub outlying_rows: u64,
    /// What stands out, worst first, at most [`FINDINGS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// How many findings more there are.
    #[serde(default)]
    pub unlisted: u64,
}

impl WeightSummary {
    /// The figures of a whole report.
    pub fn of(report: WeightReport) -> Self {
        let sum = |figure: &dyn Fn(&crate::report::TensorStats) -> u64| {
            report.tensors.iter().map(figure).fold(0, u64::saturating_add)
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count of elements")]
        let zeros = sum(&|stats| (stats.zeros.clamp(0.0, 1.0) * stats.elements as f64).round() as u64);
        let constant = sum(&|stats| {
            u64::from(stats.shape.len() > 1 && stats.elements > 1 && stats.min.is_some() && stats.min == stats.max)
        });
        Self {
            tensors: report.tensors.len() as u64,
            elements: sum(&|stats| stats.elements),
            nan: sum(&|stats| stats.nan),
            infinite: sum(&|stats| stats.infinite),
            zeros,
            constant,
            dead_rows: sum(&|stats| stats.dead_rows),
            outlying_rows: sum(&|stats| stats.outlying_rows),
            unlisted: report.findings.len().saturating_sub(FINDINGS_MAX) as u64,
            findings: report.findings.into_iter().take(FINDINGS_MAX).collect(),
            path: report.path,
            format: report.format,
            left_out: None,
        }
    }

    /// A file whose numbers were not looked at, and why.
    pub fn left_out(path: &str, format: &str, why: String) -> Self {
        Self { path: path.to_owned(), format: format.to_owned(), left_out: Some(why), ..Self::default() }
    }

    /// The same under a name that the reader chose, with lists cut to their bounds: for answers that nobody trusts.
    #[must_use]
    pub fn bounded(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        let kept = self.findings.len().min(FINDINGS_MAX);
        self.unlisted = self.unlisted.saturating_add((self.findings.len() - kept) as u64);
        self.findings.truncate(kept);
        for finding in &mut self.findings {
            finding.place.file = Some(path.to_owned());
        }
        self
    }
}

/// A tensor as a file's header describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorHead {
    /// Its name, as the file has it.
    pub name: String,
    /// Element type as the file writes it.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<u64>,
}

/// The tensors of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorTable {
    /// What the file is; `unknown` where no tensors can be looked for.
    pub format: String,
    /// Its tensors in the order of the file.
    pub tensors: Vec<TensorHead>,
    /// Why some are not among them.
    pub unread: Vec<String>,
}

/// How far a tensor moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorChange {
    /// Its name.
    pub name: String,
    /// By how much; absent where its numbers could not be read on both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<TensorDifference>,
}

/// How deep two revisions were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compared {
    /// Names, types and shapes.
    Headers,
    /// Every number too.
    Numbers,
}

/// A tensor and the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedTensor {
    /// The file.
    pub file: String,
    /// The tensor, its name fit to print.
    #[serde(flatten)]
    pub head: TensorHead,
}

impl PlacedTensor {
    /// `head` of `file`, fit to print.
    pub fn new(file: &str, head: &TensorHead) -> Self {
        let head = TensorHead {
            name: printable(&head.name, NAME_CHARS_MAX),
            dtype: printable(&head.dtype, 20),
            shape: head.shape.clone(),
        };
        Self { file: file.to_owned(), head }
    }
}

/// A tensor that has another type or shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reshaped {
    /// What is held.
    pub held: PlacedTensor,
    /// What is newer.
    pub newer: PlacedTensor,
}

/// A tensor whose numbers are others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// The newer tensor.
    #[serde(flatten)]
    pub tensor: PlacedTensor,
    /// By how much; its base is what is held.
    #[serde(flatten)]
    pub difference: TensorDifference,
}

/// Something that was not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCompared {
    /// A file, or a tensor.
    pub what: String,
    /// Why.
    pub why: String,
}

/// How many tensors of the files that changed are what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCounts {
    /// On both sides with the same type and shape.
    pub alike: u64,
    /// Only newer.
    pub added: u64,
    /// Only held.
    pub removed: u64,
    /// With another type or shape.
    pub reshaped: u64,
    /// With the same numbers, of those whose numbers were compared.
    pub equal: u64,
    /// With other numbers.
    pub moved: u64,
}

/// What a newer revision does to weights. Files that are the same on both sides are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightChanges {
    /// How deep it was looked.
    pub compared: Compared,
    /// How many tensors are what.
    pub counts: ChangeCounts,
    /// All numbers that were compared taken as one vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overall: Option<TensorDifference>,
    /// Tensors that are only newer, at most [`LISTED_MAX`]; so with each list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<PlacedTensor>,
    /// Tensors that are only held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<PlacedTensor>,
    /// Tensors with another type or shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reshaped: Vec<Reshaped>,
    /// Tensors with other numbers, the largest relative change first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<Moved>,
    /// What was not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<NotCompared>,
    /// Bytes of the newer revision that came over the network for it.
    pub fetched_bytes: u64,
}

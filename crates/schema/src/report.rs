//! What the controls answer. The JSON forms of these types are a contract with outside checks (DESIGN.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    endpoint::QueryLedger,
    finding::{Finding, Verdict},
    privacy::DpGuarantee,
    since::AttackSetup,
    weights::WeightEvidence,
};

macro_rules! schema_tag {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            /// The only version so far.
            #[default]
            #[serde(rename = $text)]
            One,
        }
    )*};
}
schema_tag! {
    /// Tag of [`ScanReport`].
    ScanSchema = "ringfence.scan/1";
    /// Tag of [`ScreenReport`].
    ScreenSchema = "ringfence.screen/1";
    /// Tag of [`AttackReport`].
    AttackSchema = "ringfence.attack/1";
    /// Tag of [`HardenReport`].
    HardenSchema = "ringfence.harden/1";
    /// Tag of [`WeightReport`].
    WeightSchema = "ringfence.weights/1";
    /// Tag of [`VerifyReport`].
    VerifySchema = "ringfence.verify/1";
}

/// What `scan` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanReport {
    /// Always `ringfence.scan/1`.
    pub schema: ScanSchema,
    /// The worst verdict of all files.
    pub verdict: Verdict,
    /// One entry a file, in the order of their paths.
    pub files: Vec<FileReport>,
    /// Figures of the weights, where they were taken: of what is admitted. They do not bear on the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightEvidence>,
}

impl ScanReport {
    /// Sorts `files` and joins their verdicts.
    pub fn new(mut files: Vec<FileReport>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let verdict = files.iter().fold(Verdict::Clean, |all, file| all.and(file.verdict));
        Self { schema: ScanSchema::One, verdict, files, weights: None }
    }
}

/// What `scan` says of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Path as named by the user, `/` between parts.
    pub path: String,
    /// What the content is, such as `pickle`, `pytorch-zip`, `onnx`, `text`, `unknown`.
    pub format: String,
    /// The conclusion.
    pub verdict: Verdict,
    /// Size in bytes.
    pub size: u64,
    /// Problems, worst first, then by place.
    pub findings: Vec<Finding>,
}

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordDecision {
    /// A person should look; the record stays unless policy says otherwise.
    Review,
    /// The record does not enter.
    Filter,
}

/// Why a record is not simply admitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable rule id, such as `RF-LBL-001`.
    pub rule: String,
    /// The detector's score in its own unit; higher is worse; finite.
    pub score: f64,
    /// What was seen, fit to print.
    pub evidence: String,
}

/// A record that is not simply admitted. Admitted records are not listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Data record, counted from 0 (a header line is no record).
    pub record: u64,
    /// What to do.
    pub decision: RecordDecision,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// A possible trigger or cluster that explains several records at once, for reviewers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Rule that made it.
    pub rule: String,
    /// How strong it is; higher is worse; finite.
    pub score: f64,
    /// What it is, fit to print.
    pub description: String,
    /// Records that carry it, at most 1,000 of them.
    pub records: Vec<u64>,
}

/// A column, field or pixel block of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, fit to print.
    pub name: String,
    /// `integer`, `number`, `text`, `boolean`, `image`, `mixed` or `empty`.
    pub kind: String,
    /// Records without a value.
    pub missing: u64,
    /// Least value of a numeric column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest value of a numeric column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// What is known of the dataset as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetProfile {
    /// `csv`, `jsonl` or `idx`.
    pub format: String,
    /// Columns in order, at most 4,096 of them.
    pub columns: Vec<Column>,
    /// The label column, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Records per label value, at most 4,096 values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, u64>,
    /// RFC 6962 Merkle root over the canonical record hashes in file order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// Records that repeat an earlier one exactly (after canonicalisation).
    pub exact_duplicates: u64,
    /// Detectors that ran, with what each could see; a detector that could not run says why.
    pub detectors: Vec<String>,
    /// Problems of the dataset as a whole.
    pub findings: Vec<Finding>,
    /// Whether every byte and record was read. `false` is never clean.
    pub complete: bool,
    /// What a later version is held against; only in reports that a vault keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<Box<DatasetSketch>>,
}

/// A dataset in so few numbers that it can be compared with a later version without its records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetSketch {
    /// All records, those that repeat another included.
    pub total: u64,
    /// The smallest canonical hashes of distinct records, rising: the first 48 bits of each, at most
    /// [`SKETCH_RECORDS_MAX`] of them. A uniform sample of the records, the same records in every version (bottom-k
    /// sketch: Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007).
    pub records: Vec<u64>,
    /// How the values of columns are spread, at most [`SKETCH_COLUMNS_MAX`] of them.
    pub columns: Vec<ColumnSketch>,
}

/// How the values of one column are spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnSketch {
    /// The column's name, fit to print; `brightness` and `contrast` of images.
    pub name: String,
    /// Records that have a value.
    pub values: u64,
    /// The spread itself.
    pub spread: Spread,
}

/// A distribution in a bounded number of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// Quantiles of numbers at equal distances from the least to the greatest, rising; at most [`SKETCH_MARKS`].
    Quantiles(Vec<f64>),
    /// Shares of words or values whose hashes fall into each of [`SKETCH_BUCKETS`] buckets; they sum to about 1.
    Buckets(Vec<f64>),
}

/// Hashes of records in a sketch.
pub const SKETCH_RECORDS_MAX: usize = 1_024;
/// Columns in a sketch.
pub const SKETCH_COLUMNS_MAX: usize = 32;
/// Quantiles of a column.
pub const SKETCH_MARKS: usize = 33;
/// Buckets of a column.
pub const SKETCH_BUCKETS: usize = 64;

/// What `screen` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScreenReport {
    /// Always `ringfence.screen/1`.
    pub schema: ScreenSchema,
    /// Data records read.
    pub records: u64,
    /// Records that are not simply admitted, by rising record.
    pub decisions: Vec<Decision>,
    /// Triggers and clusters, strongest first.
    pub candidates: Vec<Candidate>,
    /// The whole.
    pub dataset: DatasetProfile,
}

/// Whether an attack's figures may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Soundness {
    /// Every sanity check passed.
    Sound,
    /// Some check failed: the figures prove nothing.
    Unsound,
}

/// One attack at one strength.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackResult {
    /// Such as `fgsm`, `pgd-40x3`.
    pub attack: String,
    /// `linf`, `l2`, …
    pub norm: String,
    /// Radius in the unit of the model's input.
    pub eps: f64,
    /// Accuracy under attack, 0..1.
    pub accuracy: f64,
    /// Wilson 95 % interval of `accuracy`.
    pub ci95: [f64; 2],
    /// Gradient or prediction queries, over all examples.
    pub queries: u64,
}

/// The figure of a radius that counts: what stands against every attack together. Gates name this one, never a single attack's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstCase {
    /// `linf`, `l2`, …
    pub norm: String,
    /// Radius in the unit of the model's input.
    pub eps: f64,
    /// Accuracy against all attacks together, 0..1.
    pub accuracy: f64,
    /// Wilson 95 % interval of `accuracy`.
    pub ci95: [f64; 2],
    /// Which battery ran: `quick` or `standard`.
    pub battery: String,
    /// Gradient or prediction queries of all attacks, over all examples.
    pub queries: u64,
    /// Which examples stand, as lower-case hexadecimal: example `i` is bit `i % 8` (from the least) of byte `i / 8`. What pairs this
    /// card with another one of the same [`AttackSetup`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood: Option<String>,
}

/// Accuracy on inputs that nobody chose to harm: a common corruption of pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorruptionResult {
    /// Such as `gaussian-noise`.
    pub corruption: String,
    /// 1 (mild) to 5.
    pub severity: u32,
    /// Accuracy, 0..1.
    pub accuracy: f64,
    /// Wilson 95 % interval of `accuracy`.
    pub ci95: [f64; 2],
}

/// One sanity check of an attack report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stable name, such as `gradient-check`.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// The figures behind it.
    pub detail: String,
}

/// Result of a membership inference test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// Such as `loss-threshold`.
    pub attack: String,
    /// Area under the ROC curve.
    pub auc: f64,
    /// TPR at given FPR, or nothing where the sample is too small to state it.
    pub tpr_at_fpr: Vec<TprAtFpr>,
    /// Members tested.
    pub members: u64,
    /// Non-members tested.
    pub non_members: u64,
    /// Limits of what this test can show.
    pub note: String,
}

/// One operating point of a ROC curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TprAtFpr {
    /// False positive rate.
    pub fpr: f64,
    /// True positive rate, `None`: cannot be stated with so few non-members.
    pub tpr: Option<f64>,
}

/// The robustness card: what `attack` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackReport {
    /// Always `ringfence.attack/1`.
    pub schema: AttackSchema,
    /// Whether the figures may be believed.
    pub verdict: Soundness,
    /// SHA-256 of the model file; of the description where the model is behind an endpoint.
    pub model: Digest,
    /// Accuracy without attack, 0..1; absent in a self-check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_accuracy: Option<f64>,
    /// What computed scores where our own engine did not; what fools is judged by our own all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<ForwardEngine>,
    /// Examples used.
    pub examples: u64,
    /// Seed of all random choices.
    pub seed: u64,
    /// What was done to which examples; absent in a self-check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<AttackSetup>,
    /// Attacks in the order in which they ran.
    pub results: Vec<AttackResult>,
    /// What stands against all attacks together, one entry for each radius, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worst_case: Vec<WorstCase>,
    /// Accuracy under common corruptions, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corruptions: Vec<CorruptionResult>,
    /// Sanity checks.
    pub checks: Vec<Check>,
    /// Membership inference, where members were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub membership: Vec<Membership>,
    /// Inputs that fooled the model at the radius of the checks, where pictures were asked for, at most [`PICTURES_MAX`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<AdversarialPicture>,
    /// What was asked, where the model is behind an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<QueryLedger>,
}

/// A library that computed scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardEngine {
    /// SHA-256 of its file.
    pub library: Digest,
    /// How it was built, in its own words.
    pub build: String,
}

/// An input that fooled the model, beside the one that it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdversarialPicture {
    /// The example, counted from 0 among those used.
    pub example: u64,
    /// Its label.
    pub label: u64,
    /// What the changed input is taken for; absent where the answer is not a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_for: Option<u64>,
    /// The input as it was: a PNG in base64.
    pub original: String,
    /// The input that fools, likewise.
    pub changed: String,
    /// What was changed, spread over the whole range of grey and centred at its middle, likewise.
    pub difference: String,
}

/// Pictures of one card.
pub const PICTURES_MAX: usize = 32;

/// One epoch of hardening.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean training loss on what was trained on.
    pub loss: f64,
    /// Accuracy on the held-out batch.
    pub clean_accuracy: f64,
    /// Accuracy on the held-out batch under the watching attack.
    pub robust_accuracy: f64,
    /// Whether this epoch was undone (catastrophic overfitting).
    pub rolled_back: bool,
}

/// What `harden` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HardenReport {
    /// Always `ringfence.harden/1`.
    pub schema: HardenSchema,
    /// SHA-256 of the model that was trained from.
    pub base: Digest,
    /// SHA-256 of the description of its architecture, where it was a safetensors file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Digest>,
    /// SHA-256 of the model that was written.
    pub model: Digest,
    /// SHA-256 of the safetensors file with the same weights, where one was written beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safetensors: Option<Digest>,
    /// What was trained on, such as `adversarial` or `trades`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The epoch whose weights were kept, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// Radius of training in the unit of the model's input.
    pub eps: f64,
    /// Training records.
    pub examples: u64,
    /// Seed of all random choices.
    pub seed: u64,
    /// Triggers that were unlearned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<UnlearnedTrigger>,
    /// The training curve.
    pub epochs: Vec<Epoch>,
    /// What is guaranteed, where training was differentially private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<DpGuarantee>,
}

/// A trigger that was found in a model and unlearned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnlearnedTrigger {
    /// The class that it led to.
    pub target: u64,
    /// `patch` or `blend`.
    pub kind: String,
    /// Replaced values for a patch, Euclidean length for a blend.
    pub size: f64,
    /// Share of held-out inputs of other classes that it turned before, 0..1.
    pub before: f64,
    /// The same after.
    pub after: f64,
    /// Units pruned, for all triggers together.
    pub pruned: u64,
}

/// What `verify` concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyVerdict {
    /// Everything holds.
    Verified,
    /// Genuine, but the verifier's policy refuses it.
    Refused,
    /// The trust root is not known here.
    UnknownRoot,
    /// Something could not be read.
    Incomplete,
    /// Something was changed.
    Tampered,
}

/// What `verify`, `trail verify` and drills answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Always `ringfence.verify/1`.
    pub schema: VerifySchema,
    /// The conclusion.
    pub verdict: VerifyVerdict,
    /// What was verified.
    pub subject: String,
    /// Each check in order.
    pub checks: Vec<Check>,
    /// Facts that a reader needs: epoch, checkpoint, age.
    pub facts: BTreeMap<String, String>,
}

/// What the numbers of one tensor look like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TensorStats {
    /// Its name, fit to print.
    pub name: String,
    /// Element type as the file writes it.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Elements.
    pub elements: u64,
    /// Elements that are no number.
    pub nan: u64,
    /// Elements that are infinite.
    pub infinite: u64,
    /// Least finite element; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest finite element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Mean of the finite elements.
    pub mean: f64,
    /// Standard deviation of the finite elements.
    pub std: f64,
    /// Share of the elements that are exactly zero, 0..1.
    pub zeros: f64,
    /// Rows (along the first dimension, of two or more) that are all zero.
    pub dead_rows: u64,
    /// Rows whose norm lies far above the others.
    pub outlying_rows: u64,
    /// How far the longest row lies above the median, in scaled median deviations; finite.
    pub longest_row: f64,
    /// What changed against the base, where one was given and has a tensor of this name and shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<TensorDifference>,
}

/// How a tensor differs from its base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorDifference {
    /// Frobenius norm of the difference by that of the base; 0 for equal tensors, finite.
    pub relative: f64,
    /// Share of the elements that are others, 0..1.
    #[serde(default)]
    pub changed: f64,
    /// Frobenius norm of the base, of elements that are finite on both sides.
    #[serde(default)]
    pub base_norm: f64,
    /// Fewest directions that hold 95 % of the difference's energy in its sketch; absent for equal tensors, for vectors,
    /// and where more than 32 are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u64>,
}

/// Statistics of a model's weights: evidence for people, with known limits. No figure alone makes a file harmful.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightReport {
    /// Always `ringfence.weights/1`.
    pub schema: WeightSchema,
    /// Path as named by the user, `/` between parts.
    pub path: String,
    /// What the file is: `safetensors`, `npy`, `npz`, `pytorch-zip`, `gguf`, `onnx` or `unknown`.
    pub format: String,
    /// What the findings say together.
    pub verdict: Verdict,
    /// Tensors in the order of the file.
    pub tensors: Vec<TensorStats>,
    /// Tensors of the base that are missing or have another shape, fit to print, at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<String>,
    /// What stands out, worst first, then by place.
    pub findings: Vec<Finding>,
}

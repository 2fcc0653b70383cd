//! Statistics of weights: what can be said of a model from its numbers alone, and what of its change against a base.
//!
//! * [`weights`] streams every tensor of a safetensors, npy, npz, GGUF, ONNX or PyTorch zip file once; [`weight_summary`] keeps
//!   a few figures of it.
//! * [`compare`] does so beside a base, and sketches the difference of each matrix to see how few directions it needs.
//! * [`tensor_table`] reads headers alone, [`tensor_changes`] the numbers of some tensors on two sides: for two revisions of a
//!   model, whose files may be cut differently.
//!
//! What holds: memory is bounded by one buffer, one norm a row and one sketch; nothing is loaded as a model would load
//! it. The findings are evidence with known limits: trained models have outlying rows, pruned ones dead rows, merged
//! adapters low-rank differences. Only numbers that are not finite are suspicious by themselves.
//!
//! Absent on purpose: any judgement whether a model is backdoored; no statistic here decides that.

use std::{
    collections::HashMap,
    io::{self, Read, Seek},
};

use ringfence_schema::{
    Verdict,
    finding::printable,
    report::{TensorDifference, TensorStats, WeightReport, WeightSchema},
    weights::WeightSummary,
};

use crate::{Limits, audit::Audit, rules::id, source::Source};

mod beside;
mod change;
mod contents;
mod numbers;
mod rank;
mod torch;

use beside::Beside;
pub use change::{tensor_changes, tensor_table};
use contents::{Contents, Tensor, Want};
use numbers::{Reader, Rows, Sums};

/// Tensors of the base that are listed as unmatched.
const UNMATCHED_MAX: usize = 1_000;
/// Fewest rows of which one can lie outside.
const ROWS_MIN: usize = 16;
/// Scaled median deviations from which a row or a bias lies outside.
const OUTSIDE: f64 = 12.0;
/// How many times the median an outlying row is at least.
const TIMES_MEDIAN: f64 = 4.0;
/// Rank from which on a difference is not called low.
const LOW_RANK: u64 = 16;
/// Smallest side of a matrix whose rank says anything.
const SIDE_MIN: u64 = 64;
/// Relative difference below which rounding explains it.
const RELATIVE_MIN: f64 = 1e-6;
/// Longest bias that is taken for one of classes.
const CLASSES_MAX: u64 = 100_000;
/// Fewest classes of which one can be favoured.
const CLASSES_MIN: u64 = 3;
/// Findings of one kind; the others are counted.
const TOLD_MAX: usize = 20;
/// Longest name of a tensor, in characters.
const NAME_CHARS_MAX: usize = 200;

/// Statistics of every tensor of a file. Never fails: what cannot be read is a finding. `path` is only repeated.
pub fn weights(path: &str, file: &mut (impl Read + Seek), limits: &Limits) -> WeightReport {
    let mut audit = Audit::new(path, limits);
    let contents = Contents::read(file, Want::Numbers, limits);
    Study::new(&mut audit, contents).run(file, None::<(&mut io::Empty, Contents)>).report(audit)
}

/// Statistics of every tensor of a file, each beside the tensor of `base` that has its name and shape.
pub fn compare(
    path: &str,
    file: &mut (impl Read + Seek),
    base: &mut (impl Read + Seek),
    limits: &Limits,
) -> WeightReport {
    let mut audit = Audit::new(path, limits);
    let contents = Contents::read(file, Want::Numbers, limits);
    let others = Contents::read(base, Want::Numbers, limits);
    for reason in &others.unread {
        audit.note(id::WTS_UNREAD, &format!("of the base: {reason}"), None);
    }
    Study::new(&mut audit, contents).run(file, Some((base, others))).report(audit)
}

/// The statistics of a file in a few figures; `None` for a file that has no weights, or none that are read.
pub fn weight_summary(path: &str, file: &mut (impl Read + Seek), limits: &Limits) -> Option<WeightSummary> {
    let report = weights(path, file, limits);
    let speaks = match report.format.as_str() {
        "unknown" | "zip" => false,
        // Anything of protocol buffers looks like a graph; one without weights has nothing to say here.
        "onnx" => !report.tensors.is_empty(),
        _ => true,
    };
    speaks.then(|| WeightSummary::of(report))
}

/// One report in the making.
struct Study<'a, 'l> {
    audit: &'a mut Audit<'l>,
    contents: Contents,
    tensors: Vec<TensorStats>,
    unmatched: Vec<String>,
    told: HashMap<&'static str, usize>,
    /// The values of the last vector called a bias, with its name.
    bias: Option<(String, Vec<f64>)>,
}

/// What a study leaves behind.
struct Done {
    format: &'static str,
    tensors: Vec<TensorStats>,
    unmatched: Vec<String>,
}

impl<'a, 'l> Study<'a, 'l> {
    fn new(audit: &'a mut Audit<'l>, contents: Contents) -> Self {
        Self { audit, contents, tensors: Vec::new(), unmatched: Vec::new(), told: HashMap::new(), bias: None }
    }

    fn run<B: Read + Seek>(mut self, file: &mut dyn Source, mut base: Option<(&mut B, Contents)>) -> Done {
        for reason in std::mem::take(&mut self.contents.unread) {
            self.audit.note(id::WTS_UNREAD, &reason, None);
        }
        let mut others: HashMap<String, Tensor> = HashMap::new();
        if let Some((_, contents)) = &mut base {
            others = contents.tensors.drain(..).map(|tensor| (tensor.name.clone(), tensor)).collect();
        }
        for tensor in std::mem::take(&mut self.contents.tensors) {
            let other = others.remove(&tensor.name);
            let matches = |other: &Tensor| other.shape == tensor.shape;
            let pair = match (&mut base, other) {
                (Some((source, _)), Some(other)) if matches(&other) => Some((&mut **source as &mut dyn Source, other)),
                (Some(_), _) => {
                    self.unmatched(&tensor.name);
                    None
                }
                (None, _) => None,
            };
            self.tensor(file, &tensor, pair);
        }
        let mut missing: Vec<String> = others.into_keys().collect();
        missing.sort_unstable();
        for name in &missing {
            self.unmatched(name);
        }
        self.last_bias();
        Done { format: self.contents.format, tensors: self.tensors, unmatched: self.unmatched }
    }

    fn unmatched(&mut self, name: &str) {
        if self.unmatched.len() < UNMATCHED_MAX {
            self.unmatched.push(printable(name, NAME_CHARS_MAX));
        }
    }

    fn tensor(&mut self, file: &mut dyn Source, tensor: &Tensor, base: Option<(&mut dyn Source, Tensor)>) {
        let name = printable(&tensor.name, NAME_CHARS_MAX);
        let (mut sums, mut rows) = (Sums::default(), Rows::new(&tensor.shape));
        let mut reader = Reader::new(file, tensor);
        let mut beside = base.map(|(source, other)| Beside::new(source, &other));
        let is_bias = tensor.shape.len() == 1 && name.ends_with("bias") && tensor.elements() <= CLASSES_MAX;
        let mut values = Vec::new();
        loop {
            match reader.next() {
                Ok([]) => break,
                Ok(chunk) => {
                    sums.add(chunk);
                    rows.add(chunk);
                    if is_bias {
                        values.extend_from_slice(chunk);
                    }
                    beside = beside.and_then(|beside| beside.add(chunk));
                }
                Err(error) => {
                    self.tell(id::WTS_UNREAD, &name, &format!("reading failed: {error}"));
                    return;
                }
            }
        }
        let read = sums.count();
        if read < tensor.elements() {
            self.tell(id::WTS_UNREAD, &name, &format!("{read} of {} elements are there", tensor.elements()));
        }
        let mut stats = TensorStats {
            name: name.clone(),
            dtype: printable(&tensor.dtype, 20),
            shape: tensor.shape.clone(),
            elements: read,
            dead_rows: rows.dead,
            difference: beside.map(Beside::finish),
            ..sums.stats()
        };
        let outside = numbers::outside(&rows.norms, OUTSIDE, Some(TIMES_MEDIAN));
        if rows.norms.len() >= ROWS_MIN {
            (stats.outlying_rows, stats.longest_row) = (outside.count, outside.farthest);
        }
        self.findings(&stats);
        if is_bias {
            self.bias = Some((name, values));
        }
        self.tensors.push(stats);
    }

    fn findings(&mut self, stats: &TensorStats) {
        let name = stats.name.clone();
        let rows = stats.shape.first().copied().unwrap_or(0);
        if stats.nan + stats.infinite > 0 {
            let message = format!("{} NaN and {} infinite of {} elements", stats.nan, stats.infinite, stats.elements);
            self.tell(id::WTS_NOT_FINITE, &name, &message);
        }
        let is_constant = stats.shape.len() > 1 && stats.elements > 1 && stats.min == stats.max && stats.min.is_some();
        if is_constant {
            let message = format!("all {} elements are {}", stats.elements, stats.mean);
            self.tell(id::WTS_CONSTANT, &name, &message);
        } else if stats.dead_rows > 0 {
            self.tell(id::WTS_DEAD, &name, &format!("{} of {rows} rows are zero", stats.dead_rows));
        }
        if stats.outlying_rows > 0 && stats.outlying_rows <= rows / 100 + 3 {
            let message = format!(
                "{} of {rows} rows, the longest {:.0} median deviations above the median",
                stats.outlying_rows, stats.longest_row
            );
            self.tell(id::WTS_OUTLIER, &name, &message);
        }
        if let Some(TensorDifference { relative, rank: Some(rank), .. }) = stats.difference {
            let columns = stats.elements / rows.max(1);
            if relative > RELATIVE_MIN && rank <= LOW_RANK && rows.min(columns) >= SIDE_MIN {
                let message = format!("{rank} directions hold 95 % of a relative difference of {relative:.2e}");
                self.tell(id::WTS_LOW_RANK, &name, &message);
            }
        }
    }

    /// The last bias that belongs to a matrix with one row for each of its elements.
    fn last_bias(&mut self) {
        let Some((name, values)) = self.bias.take() else { return };
        let classes = values.len() as u64;
        let matrix = format!("{}weight", name.strip_suffix("bias").unwrap_or(&name));
        let fits = self.tensors.iter().any(|stats| stats.name == matrix && stats.shape.first() == Some(&classes));
        if !fits || classes < CLASSES_MIN || values.iter().any(|value| !value.is_finite()) {
            return;
        }
        let outside = numbers::outside(&values, OUTSIDE, None);
        if outside.count == 1 {
            let message =
                format!("one of {classes} classes lies {:.0} median deviations above the others", outside.farthest);
            self.tell(id::WTS_BIAS, &name, &message);
        }
    }

    /// A finding at a tensor; of each kind only the first few.
    fn tell(&mut self, rule: &'static crate::rules::Rule, name: &str, message: &str) {
        let told = self.told.entry(rule.id).or_insert(0);
        *told += 1;
        if *told <= TOLD_MAX || rule.verdict != Verdict::Clean {
            self.audit.within(name, |audit| audit.note(rule, message, None));
        }
    }
}

impl Done {
    fn report(self, audit: Audit<'_>) -> WeightReport {
        let report = audit.report(self.format, 0);
        WeightReport {
            schema: WeightSchema::One,
            path: report.path,
            format: report.format,
            verdict: report.verdict,
            tensors: self.tensors,
            unmatched: self.unmatched,
            findings: report.findings,
        }
    }
}

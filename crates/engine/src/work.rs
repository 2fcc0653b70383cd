//! Work on foreign bytes, done by keyless children of this program.
//!
//! [`Desk`] is the parent's side: it hands descriptors and a [`Job`] to a child and reads back bounded records. [`main`] is
//! the child's: it gives up files, network and exec before it reads the first foreign byte. Answers are untrusted: they
//! are parsed into typed reports, and what they claim about sizes or offsets is checked again where it is used.

mod files;
pub(crate) mod forward;
mod privacy;
mod target;
mod text;
mod theft;

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use ringfence_attack::{
    AttackError, BackdoorPlan, Battery, Column, DpPlan, HardenPlan, Hardening, Labels, Method, Norm,
    Plan as AttackPlan, PrivacyPlan, Range, SuspectPlan,
};
use ringfence_format::npz::{self, Values};
use ringfence_nn::{Model, Tensor, Want};
use ringfence_reach::endpoint::Description;
use ringfence_sandbox::worker::{self, Emit, Limits, Worker, WorkerError};
use ringfence_schema::{
    finding::printable,
    report::{AttackReport, FileReport, HardenReport, ScreenReport},
    watermark::WatermarkSecret,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{EngineError, ExitClass},
    record::Reading,
    remote::Elsewhere,
    settings::{Progress, Settings, Silent},
};

pub(crate) use self::files::Form;
pub(crate) use self::privacy::{Audited, NoiseKey, PrivacyAnswer};
pub use self::text::TextJob;
pub(crate) use self::theft::Marked;
pub use self::theft::{MarkJob, TheftJob};
use self::{
    files::{Files, npz_examples, options, read_whole},
    target::Target,
};

/// What a child is asked to do. Descriptors follow in the order that each variant names; a model of weights alone is followed by
/// the description of its architecture.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "job")]
pub(crate) enum Job {
    /// Scan each descriptor; emits one [`FileReport`] for each, in order.
    Scan {
        /// What the files are called.
        paths: Vec<String>,
        /// Whether weights are searched to their last byte.
        storages: bool,
    },
    /// Scan one file that lies elsewhere, through a socket (see [`crate::remote`]); emits one [`FileReport`].
    ScanElsewhere {
        /// What the file is called.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// Whether it is near, and weights are searched to their last byte; otherwise in samples.
        whole: bool,
    },
    /// Statistics of the weights in the descriptor, perhaps beside those of a base (the second one); answers a
    /// [`WeightReport`](ringfence_schema::report::WeightReport).
    Weights {
        /// What the file is called.
        path: String,
        /// Whether there is a base.
        base: bool,
    },
    /// A few figures of the weights in a file that lies elsewhere; answers a
    /// [`WeightSummary`](ringfence_schema::weights::WeightSummary), or `null` where there are none.
    WeightSummary {
        /// What the file is called.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// Which tensors a file has that lies elsewhere; answers a [`TensorTable`](ringfence_schema::weights::TensorTable).
    TensorTable {
        /// Its size in bytes.
        size: u64,
    },
    /// How far tensors moved between two files that lie elsewhere (the newer one, then its base); answers a list of
    /// [`TensorChange`](ringfence_schema::weights::TensorChange).
    TensorChanges {
        /// Sizes of both in bytes.
        sizes: [u64; 2],
        /// The tensors.
        names: BTreeSet<String>,
    },
    /// Where tensors begin in a file that lies elsewhere; answers a list of offsets.
    Cuts {
        /// Its size in bytes.
        size: u64,
    },
    /// Screen the dataset (then its labels); answers a [`ScreenReport`].
    Screen {
        /// How it is read.
        reading: Reading,
    },
    /// Copy the dataset (first) without `dropped` to the second; with labels: third to fourth.
    Filter {
        /// How it is read.
        reading: Reading,
        /// Records to leave out, rising.
        dropped: Vec<u64>,
    },
    /// Grey pictures of records of the dataset (then its labels); answers a list of [`GreyPicture`].
    Pictures {
        /// How it is read.
        reading: Reading,
        /// Which records.
        records: Vec<u64>,
    },
    /// Attack the model (first; the way to it where it is an endpoint) with the data (second, then labels), perhaps with members (then
    /// their labels), perhaps with the way to a child that computes scores (last).
    Attack {
        /// How the endpoint is described, where it is one.
        endpoint: Option<Box<Description>>,
        /// How hard.
        plan: Box<AttackJob>,
        /// How the data is read.
        reading: Reading,
        /// How members are read, if there are any.
        members: Option<Reading>,
        /// Whether there is a child that computes scores.
        forward: bool,
    },
    /// Check the arithmetic of the model; answers an [`AttackReport`].
    SelfCheck {
        /// Seed of the inputs.
        seed: u64,
    },
    /// Gradient of the model (first) on an NPZ (second) to an NPZ (third).
    Gradient {
        /// Whether to compute in f64.
        reference: bool,
    },
    /// Test what the model (first) gives away of members (then their labels), non-members (then theirs) beside them, with references
    /// (then their masks); answers a [`PrivacyAnswer`].
    Privacy {
        /// How the endpoint is described, where the model is one.
        endpoint: Option<Box<Description>>,
        /// Settings.
        plan: PrivacyPlan,
        /// Least and greatest input.
        range: [f32; 2],
        /// Data and references.
        audited: Audited,
    },
    /// Test what the language model (first) remembers of canaries and sequences (second); answers a [`PrivacyAnswer`].
    LanguagePrivacy {
        /// Seed of all random choices.
        seed: u64,
    },
    /// Train the model (first) privately on data (second, then labels), write it to the last descriptors; answers a
    /// [`HardenReport`].
    HardenPrivate {
        /// Settings.
        plan: DpPlan,
        /// What decides sampling and noise.
        key: NoiseKey,
        /// How the data is read.
        reading: Reading,
        /// What the model is written as, a descriptor for each.
        forms: Vec<Form>,
    },
    /// Records of data (second, then labels) that the model (first) finds strange, perhaps measured against clean ones (then their
    /// labels); answers a [`SuspectReport`](ringfence_schema::suspect::SuspectReport).
    Suspects {
        /// How the data is read.
        reading: Reading,
        /// How clean records are read, if there are any.
        reference: Option<Reading>,
    },
    /// Backdoors of the model (first), sought on data (second, then labels), perhaps beside a base (last); answers a
    /// [`BackdoorReport`](ringfence_schema::backdoor::BackdoorReport).
    Backdoors {
        /// How the data is read.
        reading: Reading,
        /// Use at most so many examples.
        examples: Option<usize>,
        /// Seed of all random choices.
        seed: u64,
        /// Least and greatest valid input.
        range: [f32; 2],
        /// Whether there is a base.
        base: bool,
    },
    /// Train the model (first) on data (second, then labels), perhaps from a state (next), write it to the next descriptors, and the
    /// state after each epoch to another one, each with its length in front; answers a [`HardenReport`].
    Harden {
        /// Settings.
        plan: HardenPlan,
        /// Least and greatest input.
        range: [f32; 2],
        /// How the data is read.
        reading: Reading,
        /// Whether there is a state to go on from.
        resume: bool,
        /// Whether states are wanted.
        states: bool,
        /// What the model is written as, a descriptor for each.
        forms: Vec<Form>,
    },
    /// Steal the model (first) with an NPZ (second), judged on another (third); answers a
    /// [`TheftReport`](ringfence_schema::theft::TheftReport).
    Theft {
        /// How the endpoint is described, where the model is one.
        endpoint: Option<Box<Description>>,
        /// How.
        plan: TheftJob,
    },
    /// Attack the classifier of texts (first; the way to it where it is an endpoint, otherwise its tokenizer next) with texts (next), perhaps
    /// with synonyms (last); answers a [`TextReport`](ringfence_schema::text::TextReport).
    Text {
        /// How the endpoint is described, where the classifier is one.
        endpoint: Option<Box<Description>>,
        /// How.
        plan: TextJob,
    },
    /// Mark the model (first) along with data (second, then labels), write it to the last descriptor; answers a [`Marked`].
    Mark {
        /// What the secret is made from, in hexadecimal.
        key: String,
        /// Settings.
        plan: MarkJob,
        /// How the data is read.
        reading: Reading,
        /// What the model is written as.
        form: Form,
    },
    /// Put a secret to the suspect (first; the way to it where it is an endpoint), perhaps with two datasets (each with its labels);
    /// answers a [`WatermarkReport`](ringfence_schema::watermark::WatermarkReport).
    VerifyMark {
        /// How the endpoint is described, where the suspect is one.
        endpoint: Option<Box<Description>>,
        /// The secret.
        secret: WatermarkSecret,
        /// How the datasets are read, if there are any.
        data: Option<[Reading; 2]>,
    },
}

/// The part of an attack plan that travels.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AttackJob {
    /// Radii in units of the model's input.
    pub eps: Vec<f64>,
    /// The radius of the costly checks; the largest unless given.
    pub at: Option<f64>,
    /// PGD steps.
    pub steps: usize,
    /// PGD restarts.
    pub restarts: usize,
    /// Use at most so many examples.
    pub examples: Option<usize>,
    /// Least and greatest valid input.
    pub range: [f32; 2],
    /// Seed of all random choices.
    pub seed: u64,
    /// How a change is measured: `linf` unless given.
    pub norm: Option<String>,
    /// Whether AutoAttack's standard battery runs too.
    pub standard: bool,
    /// Attacks besides, by name.
    pub attacks: Vec<String>,
    /// The class that inputs shall be taken for.
    pub target: Option<usize>,
    /// Values that a stored input can take.
    pub levels: Option<u32>,
    /// Places of whole numbers among the values of an example, and of those that cannot be changed.
    pub integer: Vec<usize>,
    /// See `integer`.
    pub immutable: Vec<usize>,
    /// Whether accuracy is measured on corrupted pictures too.
    pub corruptions: bool,
    /// Rows of predictions and gradients that may be asked for.
    pub queries: Option<u64>,
    /// Pictures of inputs that fooled.
    #[serde(default)]
    pub pictures: usize,
}

impl AttackJob {
    /// Whether its names stand for anything.
    pub(crate) fn check(&self) -> Result<(), AttackError> {
        self.norm.as_deref().map_or(Ok(Norm::Linf), Norm::named)?;
        named(&self.attacks).map(drop)
    }
}

/// A record as grey values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GreyPicture {
    pub(crate) record: u64,
    pub(crate) label: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) grey: Vec<u8>,
}

/// What a child says on the way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "record")]
enum Record {
    /// A file was scanned.
    File { report: FileReport },
    /// So far.
    Progress { stage: String, done: u64, total: u64 },
}

/// Gives work to keyless children.
#[derive(Clone, Copy)]
pub(crate) struct Desk<'a> {
    program: &'a Path,
    progress: &'a (dyn Progress + 'a),
}

impl<'a> Desk<'a> {
    /// Starts children from this program.
    pub(crate) fn new(settings: &'a Settings<'a>) -> Self {
        Self { program: &settings.program, progress: settings.progress }
    }

    /// Starts children from `program` and says nothing: for threads that work beside one that talks.
    pub(crate) fn silent(program: &'a Path) -> Self {
        Self { program, progress: &Silent }
    }

    /// The program that children are started from.
    pub(crate) fn program(self) -> &'a Path {
        self.program
    }

    /// Runs `job` in a child that holds `descriptors`.
    pub(crate) fn call(
        self,
        what: &str,
        job: &Job,
        descriptors: Vec<OwnedFd>,
        on_file: &mut dyn FnMut(FileReport),
    ) -> Result<Vec<u8>, EngineError> {
        let request = serde_json::to_vec(job).map_err(|error| EngineError::incomplete(what, error))?;
        let mut worker = Worker::new(self.program, ["__worker"]).limits(limits(job));
        for descriptor in descriptors {
            worker = worker.descriptor(descriptor);
        }
        let mut stage_now = String::new();
        let mut on_record = |bytes: &[u8]| match serde_json::from_slice(bytes) {
            Ok(Record::File { report }) => on_file(report),
            Ok(Record::Progress { stage, done, total }) => {
                if stage != stage_now {
                    self.progress.begin(&stage, Some(total));
                    stage_now = stage;
                }
                self.progress.advance(done, "");
            }
            // Progress is a courtesy: what cannot be read changes no result.
            Err(_) => {}
        };
        let answer = worker.call(&request, &mut on_record);
        if !stage_now.is_empty() {
            self.progress.end("");
        }
        answer.map_err(|error| EngineError::incomplete(what, error))
    }

    /// Runs a child that computes scores with `library`, for a model and through a socket; answers how the library was built.
    pub(crate) fn compute(self, library: &Path, descriptors: Vec<OwnedFd>) -> Result<String, WorkerError> {
        let mut worker = Worker::new(self.program, [OsStr::new("__forward"), library.as_os_str()])
            .limits(Limits { wall: ATTACK_TIME_MAX, ..widest() });
        for descriptor in descriptors {
            worker = worker.descriptor(descriptor);
        }
        let build = worker.call(&[], &mut |_| {})?;
        Ok(printable(&String::from_utf8_lossy(&build), forward::WORDS_CHARS_MAX))
    }

    /// Runs `job` and reads its answer as JSON.
    pub(crate) fn ask<T: for<'de> Deserialize<'de>>(
        self,
        what: &str,
        job: &Job,
        descriptors: Vec<OwnedFd>,
    ) -> Result<T, EngineError> {
        let answer = self.call(what, job, descriptors, &mut |_| {})?;
        serde_json::from_slice(&answer)
            .map_err(|error| EngineError::incomplete(what, format!("unreadable answer: {error}")))
    }
}

/// What a child may use: parsing is quick, attacks and training are not.
fn limits(job: &Job) -> Limits {
    let hours = Duration::from_hours;
    let base = Limits { request_bytes: 64 << 20, ..Limits::default() };
    match job {
        Job::Attack { .. }
        | Job::Backdoors { .. }
        | Job::Suspects { .. }
        | Job::Harden { .. }
        | Job::HardenPrivate { .. }
        | Job::Privacy { .. }
        | Job::LanguagePrivacy { .. }
        | Job::Gradient { .. }
        | Job::SelfCheck { .. }
        | Job::Text { .. }
        | Job::Theft { .. }
        | Job::Mark { .. }
        | Job::VerifyMark { .. } => {
            Limits { memory_bytes: MEMORY_BYTES_MAX, cpu: hours(24 * 64), wall: ATTACK_TIME_MAX, ..base }
        }
        Job::Screen { .. } | Job::Filter { .. } | Job::Pictures { .. } => {
            Limits { memory_bytes: MEMORY_BYTES_MAX, cpu: hours(64), wall: hours(4), ..base }
        }
        Job::TensorChanges { .. } => Limits { cpu: hours(12), wall: hours(12), ..base },
        Job::Scan { .. }
        | Job::ScanElsewhere { .. }
        | Job::Weights { .. }
        | Job::WeightSummary { .. }
        | Job::TensorTable { .. }
        | Job::Cuts { .. } => Limits { cpu: hours(2), wall: hours(2), ..base },
    }
}

/// Most time of an attack or a training.
const ATTACK_TIME_MAX: Duration = Duration::from_hours(24);
/// Most memory of a child that computes, in bytes.
const MEMORY_BYTES_MAX: u64 = 64 << 30;

/// Weights that are searched of a file at its source, in bytes.
const LOOKED_AT_BYTES: u64 = 64 << 10;

/// What a child may use of itself. The job is not known before the request is read, and nothing may be read before the
/// confinement: the parent enforces the job's own limits.
fn widest() -> Limits {
    Limits { memory_bytes: MEMORY_BYTES_MAX, cpu: Duration::from_hours(24 * 64), ..Limits::default() }
}

/// The child's whole life.
pub fn main() -> ExitClass {
    if worker::confine(&widest()).is_err() {
        return ExitClass::Incomplete;
    }
    match worker::serve(handle) {
        Ok(()) => ExitClass::Done,
        Err(_) => ExitClass::Incomplete,
    }
}

/// Files up to this many bytes are read at once: readers ask for a few bytes at a time.
const SMALL_BYTES: u64 = 1 << 20;

/// Scans one file. A small one is read whole first, and is then scanned as it was at that moment.
fn scan(path: &str, mut file: File, limits: &ringfence_scan::Limits) -> FileReport {
    let mut bytes = Vec::new();
    // A confined child may not ask for a file's metadata.
    let small = file.seek(SeekFrom::End(0)).is_ok_and(|length| length <= SMALL_BYTES)
        && file.rewind().is_ok()
        && (&file).take(SMALL_BYTES + 1).read_to_end(&mut bytes).is_ok_and(|count| count as u64 <= SMALL_BYTES);
    if small {
        ringfence_scan::scan_file(path, &mut Cursor::new(bytes), limits)
    } else {
        ringfence_scan::scan_file(path, &mut file, limits)
    }
}

fn handle(request: &[u8], descriptors: Vec<OwnedFd>, emit: &mut Emit<'_>) -> Result<Vec<u8>, String> {
    let job: Job = serde_json::from_slice(request).map_err(|error| format!("unreadable job: {error}"))?;
    let mut files = Files::new(descriptors.into_iter().map(File::from).collect::<Vec<_>>());
    match job {
        Job::Scan { paths, storages } => {
            let mut limits = ringfence_scan::Limits::default();
            limits.audit_storages = storages;
            for path in paths {
                let report = scan(&path, files.next()?, &limits);
                say(emit, &Record::File { report })?;
            }
            Ok(Vec::new())
        }
        Job::ScanElsewhere { path, size, whole } => {
            let mut limits = ringfence_scan::Limits::default();
            let mut file = if whole {
                limits.audit_storages = true;
                Elsewhere::near(files.next()?, size)
            } else {
                // Weights are fetched later, or never.
                limits.storage_bytes_max = LOOKED_AT_BYTES;
                Elsewhere::new(files.next()?, size)
            };
            let report = ringfence_scan::scan_file(&path, &mut file, &limits);
            say(emit, &Record::File { report })?;
            Ok(Vec::new())
        }
        Job::Weights { path, base } => {
            let limits = ringfence_scan::Limits::default();
            let mut file = files.next()?;
            json(&if base {
                ringfence_scan::compare(&path, &mut file, &mut files.next()?, &limits)
            } else {
                ringfence_scan::weights(&path, &mut file, &limits)
            })
        }
        Job::WeightSummary { path, size } => {
            let mut file = Elsewhere::near(files.next()?, size);
            json(&ringfence_scan::weight_summary(&path, &mut file, &ringfence_scan::Limits::default()))
        }
        Job::TensorTable { size } => {
            let mut file = Elsewhere::new(files.next()?, size);
            json(&ringfence_scan::tensor_table(&mut file, &ringfence_scan::Limits::default()))
        }
        Job::TensorChanges { sizes: [size, base_size], names } => {
            let (mut file, mut base) = (Elsewhere::new(files.next()?, size), Elsewhere::new(files.next()?, base_size));
            let mut tell = |done, total| {
                let _ = say(emit, &Record::Progress { stage: "comparing".into(), done, total });
            };
            let limits = ringfence_scan::Limits::default();
            json(&ringfence_scan::tensor_changes(&mut file, &mut base, &names, &limits, &mut tell))
        }
        Job::Cuts { size } => json(&ringfence_scan::tensor_cuts(&mut Elsewhere::near(files.next()?, size))),
        Job::Screen { reading } => {
            let (mut data, options) = files.dataset(&reading)?;
            let mut tell = |at: ringfence_screen::Progress| {
                let record = Record::Progress { stage: at.stage.to_owned(), done: at.done, total: at.total };
                let _ = say(emit, &record);
            };
            let report: ScreenReport =
                ringfence_screen::screen(&mut data, &options, &mut tell).map_err(|error| error.to_string())?;
            json(&report)
        }
        Job::Filter { reading, dropped } => filter(&mut files, &reading, &dropped),
        Job::Pictures { reading, records } => pictures(&mut files, &reading, &records),
        Job::Attack { endpoint, plan, reading, members, forward } => {
            let target = Target::next(&mut files, endpoint.map(|description| *description))?;
            attack(target, &mut files, &plan, (&reading, members.as_ref()), forward, emit)
        }
        Job::SelfCheck { seed } => {
            json(&ringfence_attack::self_check(&files.model()?, seed).map_err(|error| error.to_string())?)
        }
        Job::Gradient { reference } => gradient(&mut files, reference),
        Job::Privacy { endpoint, plan, range, audited } => {
            let target = Target::next(&mut files, endpoint.map(|description| *description))?;
            privacy::privacy(&target, &mut files, plan, range, &audited, emit)
        }
        Job::LanguagePrivacy { seed } => privacy::language(&mut files, seed),
        Job::HardenPrivate { plan, key, reading, forms } => {
            privacy::harden_private(&mut files, (&plan, &key), &reading, &forms, emit)
        }
        Job::Theft { endpoint, plan } => {
            let target = Target::next(&mut files, endpoint.map(|description| *description))?;
            theft::theft(&target, &mut files, &plan, emit)
        }
        Job::Text { endpoint, plan } => text::text(&mut files, endpoint.map(|it| *it), &plan, emit),
        Job::Mark { key, plan, reading, form } => theft::mark(&mut files, (&key, &plan), &reading, form, emit),
        Job::VerifyMark { endpoint, secret, data } => {
            let suspect = Target::next(&mut files, endpoint.map(|description| *description))?;
            theft::verify_mark(&suspect, &mut files, &secret, data.as_ref())
        }
        Job::Suspects { reading, reference } => suspects(&mut files, &reading, reference.as_ref()),
        Job::Backdoors { reading, examples, seed, range, base } => {
            let model = files.model()?;
            let data = files.examples(&reading)?.sample(examples.unwrap_or(0), seed);
            let base = if base { Some(files.model()?) } else { None };
            let range = Range::new(range[0], range[1]).map_err(|error| error.to_string())?;
            let plan = BackdoorPlan { range, seed, ..BackdoorPlan::default() };
            let report = ringfence_attack::backdoors(&model, &data, base.as_ref(), &plan);
            json(&report.map_err(|error| error.to_string())?)
        }
        Job::Harden { plan, range, reading, resume, states, forms } => {
            harden(&mut files, (plan, range), &reading, Resume { resume, states }, &forms, emit)
        }
    }
}

fn filter(files: &mut Files, reading: &Reading, dropped: &[u64]) -> Result<Vec<u8>, String> {
    let (mut data, out) = (files.next()?, files.next()?);
    let options = options(reading, None);
    let mut out = io::BufWriter::with_capacity(1 << 16, out);
    ringfence_screen::filter(&mut data, &options, dropped, &mut out).map_err(|error| error.to_string())?;
    out.flush().map_err(|error| error.to_string())?;
    if reading.labels.is_some() {
        let (mut labels, out) = (files.next()?, files.next()?);
        let mut out = io::BufWriter::new(out);
        ringfence_screen::filter(&mut labels, &options, dropped, &mut out).map_err(|error| error.to_string())?;
        out.flush().map_err(|error| error.to_string())?;
    }
    Ok(Vec::new())
}

fn pictures(files: &mut Files, reading: &Reading, records: &[u64]) -> Result<Vec<u8>, String> {
    let loaded = files.loaded(reading)?;
    let width: usize = loaded.shape.iter().product();
    let Some((columns, rows)) = picture_size(&loaded.shape) else { return json(&Vec::<GreyPicture>::new()) };
    let highest = loaded.x.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let drawn: Vec<GreyPicture> = records
        .iter()
        .filter_map(|record| {
            let index = usize::try_from(*record).ok()?;
            let values = loaded.x.get(index.checked_mul(width)?..)?.get(..columns * rows)?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte's range")]
            let grey = values.iter().map(|value| (value / highest * 255.0).clamp(0.0, 255.0) as u8).collect();
            let label = loaded.classes.get(*loaded.y.get(index)?)?.clone();
            Some(GreyPicture {
                record: *record,
                label,
                width: u32::try_from(columns).ok()?,
                height: u32::try_from(rows).ok()?,
                grey,
            })
        })
        .collect();
    json(&drawn)
}

/// Width and height of the first channel of something that looks like a picture.
fn picture_size(shape: &[usize]) -> Option<(usize, usize)> {
    match shape {
        [_, rows, columns] | [rows, columns] if *rows > 1 && *columns > 1 => Some((*columns, *rows)),
        _ => None,
    }
}

fn attack(
    target: Target,
    files: &mut Files,
    job: &AttackJob,
    (reading, members): (&Reading, Option<&Reading>),
    forward: bool,
    emit: &mut Emit<'_>,
) -> Result<Vec<u8>, String> {
    let examples = files.examples(reading)?.sample(job.examples.unwrap_or(0), job.seed);
    let members = match members {
        // As many as there are others: both sides of the ROC curve count alike.
        Some(reading) => Some(files.examples(reading)?.sample(examples.count(), job.seed)),
        None => None,
    };
    let plan = AttackPlan {
        eps: job.eps.clone(),
        at: job.at,
        norm: job.norm.as_deref().map_or(Ok(Norm::Linf), Norm::named).map_err(|error| error.to_string())?,
        battery: if job.standard { Battery::Standard } else { Battery::Quick },
        attacks: named(&job.attacks).map_err(|error| error.to_string())?,
        target: job.target,
        levels: job.levels,
        columns: columns(job, examples.width())?,
        corruptions: job.corruptions,
        query_budget: job.queries.unwrap_or(u64::MAX),
        range: Range::new(job.range[0], job.range[1]).map_err(|error| error.to_string())?,
        steps: job.steps,
        restarts: job.restarts,
        seed: job.seed,
        members,
        pictures: job.pictures,
        ..AttackPlan::default()
    };
    let mut tell = |at: &ringfence_attack::Progress| {
        let _ = say(emit, &Record::Progress { stage: "attack".into(), done: at.done as u64, total: at.total as u64 });
    };
    let report: Result<AttackReport, AttackError> = match target {
        Target::Here(model) if forward => {
            let model = forward::accelerated(*model, &examples, files.next()?)?;
            ringfence_attack::attack(&model, &examples, &plan, &mut tell)
        }
        Target::Here(model) => ringfence_attack::attack(model.as_ref(), &examples, &plan, &mut tell),
        // What was paid for is stated.
        Target::Asked(endpoint) => {
            ringfence_attack::attack_within_budget(endpoint.as_ref(), &examples, &plan, &mut tell)
        }
    };
    json(&report.map_err(|error| error.to_string())?)
}

fn named(names: &[String]) -> Result<Vec<Method>, AttackError> {
    names.iter().map(|name| Method::named(name)).collect()
}

/// One column for each value where any is limited; none otherwise.
fn columns(job: &AttackJob, width: usize) -> Result<Vec<Column>, String> {
    let mut places = job.integer.iter().chain(&job.immutable);
    if let Some(place) = places.find(|place| **place >= width) {
        return Err(format!("there is no column {place}: an example has {width} values, counted from 0"));
    }
    if job.integer.is_empty() && job.immutable.is_empty() {
        return Ok(Vec::new());
    }
    let column = |place: usize| Column {
        integer: job.integer.contains(&place),
        immutable: job.immutable.contains(&place),
        ..Column::FREE
    };
    Ok((0..width).map(column).collect())
}

fn gradient(files: &mut Files, reference: bool) -> Result<Vec<u8>, String> {
    let model = files.model()?;
    let examples = npz_examples(&mut files.next()?)?;
    let count = examples.count();
    let written = if reference {
        let x = examples.inputs();
        let x = Tensor { shape: x.shape.clone(), data: x.data.iter().copied().map(f64::from).collect() };
        let found = model.gradients(&x, examples.labels(), Want::Input).map_err(|error| error.to_string())?;
        let slope = found.input.ok_or("the runtime gave no input gradient")?;
        let data: Vec<f64> = slope.data.iter().map(|value| value / count as f64).collect();
        let loss = found.loss_per_example.iter().sum::<f64>() / count as f64;
        npz::write(&[("gx", &slope.shape, Values::Double(&data)), ("loss", &[], Values::Double(&[loss]))])
    } else {
        let found = ringfence_attack::gradient(&model, &examples).map_err(|error| error.to_string())?;
        npz::write(&[
            ("gx", &found.gx.shape, Values::Single(&found.gx.data)),
            ("loss", &[], Values::Double(&[found.loss])),
        ])
    };
    files.next()?.write_all(&written.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    Ok(Vec::new())
}

fn harden(
    files: &mut Files,
    (mut plan, range): (HardenPlan, [f32; 2]),
    reading: &Reading,
    states: Resume,
    forms: &[Form],
    emit: &mut Emit<'_>,
) -> Result<Vec<u8>, String> {
    let text = |error: AttackError| error.to_string();
    let model = files.model()?;
    let examples = files.examples(reading)?;
    plan.range = Range::new(range[0], range[1]).map_err(|error| error.to_string())?;
    let total = plan.epochs;
    let mut training = if states.resume {
        let state = read_whole(&mut files.next()?, STATE_BYTES_MAX)?;
        Hardening::resume(model, &examples, &plan, &state).map_err(text)?
    } else {
        Hardening::new(model, &examples, &plan).map_err(text)?
    };
    let places = files.places(forms)?;
    let mut kept = if states.states { Some(files.next()?) } else { None };
    while let Some(epoch) = training.epoch().map_err(text)? {
        let _ = say(emit, &Record::Progress { stage: "train".into(), done: epoch.epoch, total });
        if let Some(kept) = &mut kept {
            let state = training.state();
            let length = (state.len() as u64).to_le_bytes();
            kept.write_all(&length).and_then(|()| kept.write_all(&state)).map_err(|error| error.to_string())?;
        }
    }
    let (model, mut report): (Model, HardenReport) = training.finish().map_err(text)?;
    files.complete(&mut report, &model, places)?;
    json(&report)
}

/// What becomes of a training's state.
#[derive(Clone, Copy)]
struct Resume {
    resume: bool,
    states: bool,
}

fn suspects(files: &mut Files, reading: &Reading, reference: Option<&Reading>) -> Result<Vec<u8>, String> {
    let model = files.model()?;
    let (records, mut labels) = files.records(reading, Labels::Absent)?;
    let clean = reference.map(|reading| files.records(reading, Labels::Absent)).transpose()?;
    // Labels are compared with the reference's: one side alone says nothing.
    if clean.as_ref().is_some_and(|(_, labels)| *labels == Labels::Absent) {
        labels = Labels::Absent;
    }
    let plan = SuspectPlan { labels, ..SuspectPlan::default() };
    let found = ringfence_attack::suspects(&model, &records, clean.as_ref().map(|(clean, _)| clean), &plan);
    json(&found.map_err(|error| error.to_string())?)
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}

fn say(emit: &mut Emit<'_>, record: &Record) -> Result<(), String> {
    emit.record(&json(record)?).map_err(|error| error.to_string())
}

/// Largest state of a training, in bytes: weights four times over, and what is carried between batches.
pub(crate) const STATE_BYTES_MAX: u64 = 16 << 30;

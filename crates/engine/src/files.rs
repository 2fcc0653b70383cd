//! Work on plain files: no vault, no keys, the same controls.
//!
//! The parent opens the files and writes the results; every foreign byte is parsed by keyless children (see [`crate::work`]).

mod privacy;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ringfence_attack::{AttackError, HardenPlan};
use ringfence_reach::endpoint::Description;
use ringfence_schema::{
    Finding, Place, Severity, Verdict,
    report::{AttackReport, FileReport, HardenReport, RecordDecision, ScanReport, ScreenReport, WeightReport},
};

pub use self::privacy::{Drawn, PrivacyInput, harden_private, privacy, privacy_of_language};
use crate::{
    RuleText,
    asked::{self, Target},
    error::EngineError,
    model::ModelFile,
    record::Reading,
    settings::Settings,
    source::{self, Seen},
    work::{Desk, Form, Job, STATE_BYTES_MAX},
};
pub use crate::{run::read_harden_plan, work::AttackJob};

mod text;
mod theft;

pub use text::{TextInput, TextJob, attack_text};
pub use theft::{MarkJob, TheftJob, mark, read_secret, theft, verify_mark};

/// A dataset on disk and how it is read.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The file.
    pub path: PathBuf,
    /// Its separate labels file.
    pub labels: Option<PathBuf>,
    /// How it is read.
    pub reading: Reading,
}

/// A model and data for it.
#[derive(Debug, Clone)]
pub struct ModelData {
    /// The model.
    pub model: ModelFile,
    /// The data.
    pub data: Dataset,
}

/// Files that all children together have at a time: each costs the parent two descriptors, of the usual 1,024.
const FILES_AT_ONCE: usize = 256;
/// Files that one child has, of the 256 descriptors that it may open.
const FILES_PER_CHILD: usize = 128;
/// Children that each core starts, if there are few files: many files each, so that starting costs little; but more
/// than one, so that no core waits for another's last.
const BATCHES_PER_CORE: usize = 4;

/// Scans files and folders, with one child per core. `storages`: weights are searched to their last byte.
pub fn scan(settings: &Settings<'_>, paths: &[PathBuf], storages: bool) -> Result<ScanReport, EngineError> {
    let (mut found, mut unseen) = (Vec::new(), Vec::new());
    for path in paths {
        for Seen { place, refused } in source::everything(path)? {
            let shown = place.to_string_lossy().into_owned();
            match refused {
                None => found.push((shown, place)),
                Some(why) => unseen.push(unread(&shown, 0, &why)),
            }
        }
    }
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = (FILES_AT_ONCE / cores).clamp(1, FILES_PER_CHILD);
    let batches: Vec<&[(String, PathBuf)]> =
        found.chunks(found.len().div_ceil(cores * BATCHES_PER_CORE).clamp(1, most)).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let reports = Mutex::new(unseen);
    settings.progress.begin("scanning", Some(found.len() as u64));
    let one_more = || settings.progress.advance(done.fetch_add(1, Ordering::Relaxed) as u64 + 1, "");
    thread::scope(|scope| {
        for _ in 0..cores.min(batches.len()) {
            scope.spawn(|| {
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let some = scan_batch(settings, batch, storages, &one_more);
                    reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(some);
                }
            });
        }
    });
    settings.progress.end("");
    Ok(ScanReport::new(reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)))
}

/// Statistics of a model's weights, beside those of `base` if there is one.
pub fn weights(settings: &Settings<'_>, model: &Path, base: Option<&Path>) -> Result<WeightReport, EngineError> {
    let descriptors = std::iter::once(model).chain(base).map(descriptor).collect::<Result<_, _>>()?;
    let path = model.to_string_lossy().into_owned();
    let job = Job::Weights { path: path.clone(), base: base.is_some() };
    Desk::new(settings).ask(&path, &job, descriptors)
}

/// Scans a batch; where the child dies, the file that it was at is incomplete and the rest goes to another child.
fn scan_batch(
    settings: &Settings<'_>,
    batch: &[(String, PathBuf)],
    storages: bool,
    one_more: &dyn Fn(),
) -> Vec<FileReport> {
    let mut reports: Vec<FileReport> = Vec::new();
    let mut open = Vec::new();
    for (name, place) in batch {
        match source::open_linked(place) {
            Ok(file) => open.push((name.clone(), file)),
            Err(error) => reports.push(unread(name, 0, &error.to_string())),
        }
    }
    while !open.is_empty() {
        let paths: Vec<String> = open.iter().map(|(name, _)| name.clone()).collect();
        let descriptors: Result<Vec<OwnedFd>, _> =
            open.iter().map(|(_, file)| file.try_clone().map(OwnedFd::from)).collect();
        let mut seen = Vec::new();
        let called = descriptors.map_err(EngineError::io("descriptor")).and_then(|descriptors| {
            Desk::silent(&settings.program).call("scan", &Job::Scan { paths, storages }, descriptors, &mut |report| {
                seen.push(report);
                one_more();
            })
        });
        let finished = seen.len().min(open.len());
        // A report speaks only for the file that it was asked about, in order.
        for (report, (name, _)) in seen.into_iter().zip(open.drain(..finished)) {
            reports.push(FileReport { path: name, ..report });
        }
        if open.is_empty() {
            break;
        }
        let (name, file) = open.remove(0);
        let size = file.metadata().map_or(0, |facts| facts.len());
        let why = called.err().map_or(NO_REPORT.to_owned(), |error| error.to_string());
        reports.push(unread(&name, size, &why));
    }
    reports
}

/// The rule of files that nobody could read.
pub(crate) const UNREAD: RuleText = RuleText {
    id: "RF-IO-001",
    title: "a file could not be scanned",
    why: "what was not read may hold anything; it counts as incomplete, never as clean",
    remedy: "make the file readable, or get it again; if the scanner itself ended, treat the file as hostile",
};

/// Why a file is unread whose scanner ended well and said nothing.
pub(crate) const NO_REPORT: &str = "the scanner gave no report";

/// The report on a file that could not be scanned to its end.
pub(crate) fn unread(path: &str, size: u64, why: &str) -> FileReport {
    FileReport {
        path: path.to_owned(),
        format: "unknown".into(),
        verdict: Verdict::Incomplete,
        size,
        findings: vec![Finding {
            rule: UNREAD.id.into(),
            // Low: what could not be read is `incomplete` (exit code 3), which is not the same as found.
            severity: Severity::Low,
            message: format!("it could not be scanned: {why}"),
            place: Place { file: Some(path.to_owned()), ..Place::default() },
            evidence: Vec::new(),
            why: UNREAD.why.into(),
            remedy: UNREAD.remedy.into(),
            waived: None,
        }],
    }
}

pub(crate) fn descriptor(path: &Path) -> Result<OwnedFd, EngineError> {
    // The user named it: a link is followed once, here.
    source::open_linked(path).map(OwnedFd::from)
}

impl Dataset {
    pub(crate) fn descriptors(&self) -> Result<Vec<OwnedFd>, EngineError> {
        std::iter::once(&self.path).chain(&self.labels).map(|path| descriptor(path)).collect()
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Screens a dataset.
pub fn screen(settings: &Settings<'_>, data: &Dataset) -> Result<ScreenReport, EngineError> {
    let job = Job::Screen { reading: data.reading.clone() };
    let mut report: ScreenReport = Desk::new(settings).ask(&data.name(), &job, data.descriptors()?)?;
    // There is no later version to hold against it.
    report.dataset.sketch = None;
    Ok(report)
}

/// Writes a dataset without the records that `report` filters; returns how many are left. Separate labels go beside it
/// with `.labels` behind the name.
pub fn filter(settings: &Settings<'_>, data: &Dataset, report: &ScreenReport, out: &Path) -> Result<u64, EngineError> {
    let dropped: Vec<u64> = report
        .decisions
        .iter()
        .filter(|decision| decision.decision == RecordDecision::Filter)
        .map(|decision| decision.record)
        .collect();
    let left = report.records.saturating_sub(dropped.len() as u64);
    let fresh = Fresh::create(out)?;
    let mut targets = vec![&fresh];
    let mut labels_out = None;
    if data.labels.is_some() {
        let mut name = out.as_os_str().to_owned();
        name.push(".labels");
        labels_out = Some(Fresh::create(Path::new(&name))?);
    }
    targets.extend(&labels_out);
    let sources = data.descriptors()?;
    let job = Job::Filter { reading: data.reading.clone(), dropped };
    through_pipes(&targets, |pipes| {
        let descriptors = sources.into_iter().zip(pipes).flat_map(|(source, pipe)| [source, pipe]).collect();
        Desk::new(settings).call(&data.name(), &job, descriptors, &mut |_| {})
    })?;
    fresh.keep()?;
    labels_out.map_or(Ok(()), Fresh::keep)?;
    Ok(left)
}

/// Gives `call` a pipe for each target and copies into the targets what comes through: a child may not write to a file.
fn through_pipes<T>(
    targets: &[&Fresh],
    call: impl FnOnce(Vec<OwnedFd>) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    thread::scope(|scope| {
        let (mut pipes, mut copies) = (Vec::new(), Vec::new());
        for target in targets {
            let (reader, writer) = std::io::pipe().map_err(EngineError::io("pipe"))?;
            pipes.push(OwnedFd::from(writer));
            copies.push(scope.spawn(move || {
                let copied = std::io::copy(&mut source::Bounded::new(reader, OUTPUT_BYTES_MAX), &mut &target.file);
                copied.map_err(EngineError::io(&target.temporary))
            }));
        }
        let answer = call(pipes);
        // Where a copy fails, the child fails for want of a reader: the copy's error is the one to tell.
        for copy in copies {
            copy.join().map_err(|_| EngineError::incomplete("output", "the thread that copies it ended"))??;
        }
        answer
    })
}

/// Largest file that a child makes, in bytes.
const OUTPUT_BYTES_MAX: u64 = 1 << 40;

/// A name that stands for nothing is a mistake of whoever typed it.
fn unknown_name(error: AttackError) -> EngineError {
    EngineError::Usage { what: error.to_string() }
}

/// Attacks a model, whose scores a library computes where the file names one.
pub fn attack(
    settings: &Settings<'_>,
    target: &Target<'_>,
    data: &Dataset,
    members: Option<&Dataset>,
    job: &AttackJob,
) -> Result<AttackReport, EngineError> {
    job.check().map_err(unknown_name)?;
    let mut rest = data.descriptors()?;
    if let Some(members) = members {
        rest.extend(members.descriptors()?);
    }
    let library = match target {
        Target::Model(model) => model.library().map(|library| (model, library)),
        Target::Endpoint { .. } => None,
    };
    let job = |endpoint: Option<Description>| Job::Attack {
        endpoint: endpoint.map(Box::new),
        plan: Box::new(job.clone()),
        reading: data.reading.clone(),
        members: members.map(|members| members.reading.clone()),
        forward: library.is_some(),
    };
    let Some((model, library)) = library else {
        let (report, ledger) = target.attacked::<AttackReport>(settings, job, rest)?;
        return Ok(AttackReport { ledger, ..report });
    };
    let ((report, _), engine) = asked::beside_library(settings, model, library, |way| {
        rest.push(way);
        target.attacked::<AttackReport>(settings, job, rest)
    })?;
    Ok(AttackReport { forward: Some(engine), ..report })
}

/// Checks a model's arithmetic.
pub fn self_check(settings: &Settings<'_>, model: &ModelFile, seed: u64) -> Result<AttackReport, EngineError> {
    Desk::new(settings).ask(&model.name(), &Job::SelfCheck { seed }, model.descriptors()?)
}

/// Writes the gradient of the mean cross-entropy with respect to `x` of an NPZ.
pub fn gradient(
    settings: &Settings<'_>,
    model: &ModelFile,
    data: &Path,
    out: &Path,
    reference: bool,
) -> Result<(), EngineError> {
    let fresh = Fresh::create(out)?;
    let mut descriptors = model.descriptors()?;
    descriptors.push(descriptor(data)?);
    through_pipes(&[&fresh], |pipes| {
        descriptors.extend(pipes);
        Desk::new(settings).call(&model.name(), &Job::Gradient { reference }, descriptors, &mut |_| {})
    })?;
    fresh.keep()
}

/// Trains a model to withstand changed inputs and writes it to each of `outs`: as safetensors where a name ends so, otherwise as
/// ONNX. With `state`, the training's state is written there after each
/// epoch, and a training goes on from what lies there.
pub fn harden(
    settings: &Settings<'_>,
    input: &ModelData,
    plan: &HardenPlan,
    outs: &[PathBuf],
    state: Option<&Path>,
) -> Result<HardenReport, EngineError> {
    let fresh = outs.iter().map(|out| Fresh::create(out)).collect::<Result<Vec<_>, _>>()?;
    let mut descriptors = input.model.descriptors()?;
    descriptors.extend(input.data.descriptors()?);
    let earlier = state.filter(|path| path.exists());
    if let Some(earlier) = earlier {
        descriptors.push(descriptor(earlier)?);
    }
    let job = Job::Harden {
        plan: plan.clone(),
        range: [0.0, 1.0],
        reading: input.data.reading.clone(),
        resume: earlier.is_some(),
        states: state.is_some(),
        forms: outs.iter().map(|out| Form::of(out)).collect(),
    };
    let ask = |descriptors| Desk::new(settings).ask(&input.model.name(), &job, descriptors);
    let report = through_pipes(&fresh.iter().collect::<Vec<_>>(), |pipes| {
        descriptors.extend(pipes);
        let Some(state) = state else { return ask(descriptors) };
        thread::scope(|scope| {
            let (reader, writer) = std::io::pipe().map_err(EngineError::io("pipe"))?;
            descriptors.push(OwnedFd::from(writer));
            let kept = scope.spawn(move || keep_states(reader, state));
            let report = ask(descriptors);
            let kept = kept.join().map_err(|_| EngineError::incomplete("state", "the thread that writes it ended"))?;
            // Where a state cannot be written, the child fails for want of a reader: that is the error to tell.
            kept.and(report)
        })
    })?;
    fresh.into_iter().try_for_each(Fresh::keep)?;
    Ok(report)
}

/// Writes each state that comes through the pipe to `place`, in place of the one before.
fn keep_states(mut reader: impl std::io::Read, place: &Path) -> Result<(), EngineError> {
    loop {
        let mut length = [0; 8];
        match reader.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(EngineError::io(place)(error)),
        }
        let length = u64::from_le_bytes(length);
        if length > STATE_BYTES_MAX {
            let why = format!("a state of {length} bytes, the limit is {STATE_BYTES_MAX}");
            return Err(EngineError::incomplete("state", why));
        }
        let fresh = Fresh::create(place)?;
        let copied =
            std::io::copy(&mut (&mut reader).take(length), &mut &fresh.file).map_err(EngineError::io(place))?;
        if copied < length {
            // The child ended in the middle of it: the one before stays.
            return Ok(());
        }
        fresh.keep()?;
    }
}

/// A file that gets its name only when it is whole: what is there before stays until then.
struct Fresh {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl Fresh {
    fn create(target: &Path) -> Result<Self, EngineError> {
        let name = target
            .file_name()
            .ok_or_else(|| EngineError::Usage { what: format!("`{}` is no file name", target.display()) })?;
        let temporary = target.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file =
            File::options().write(true).create_new(true).open(&temporary).map_err(EngineError::io(&temporary))?;
        Ok(Self { file, temporary, target: target.to_owned(), kept: false })
    }

    fn keep(mut self) -> Result<(), EngineError> {
        self.file.sync_all().map_err(EngineError::io(&self.temporary))?;
        std::fs::rename(&self.temporary, &self.target).map_err(EngineError::io(&self.target))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a file whole or not at all.
pub fn write_new(target: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    let mut fresh = Fresh::create(target)?;
    fresh.file.write_all(bytes).map_err(EngineError::io(target))?;
    fresh.keep()
}

/// Reads a small file of the user's own.
pub fn read_small(path: &Path, bytes_max: u64) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(EngineError::io(path))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(EngineError::io(path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(EngineError::incomplete(path.display().to_string(), format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

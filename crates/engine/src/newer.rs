//! What is newer at the source of something that was fetched, and what that does to its weights.
//!
//! [`Vault::outdated`] compares listings, then the tensors of the files that changed: by name, type and shape from headers
//! that are read by ranges, and on demand number by number. Both sides are parsed in keyless children, which ask for the
//! pieces that they want (see [`crate::remote`]); the network is spoken to here, under the same policy as when fetching.
//!
//! Nothing is kept and nothing is admitted: what is read by ranges is not covered by the file's hash, so it is for people
//! to look at. Whoever wants the newer revision adds it, and then it is hashed and scanned.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Display,
    io,
};

use ringfence_reach::{Listing, ListingDiff, RangeReader, Reach, ReachError, Source, diff};
use ringfence_schema::{
    ArtifactKind, ArtifactName,
    finding::printable,
    report::TensorDifference,
    weights::{
        ChangeCounts, Compared, LISTED_MAX, Moved, NotCompared, PlacedTensor, Reshaped, TensorChange, TensorHead,
        TensorTable, WeightChanges,
    },
};
use ringfence_store::{Manifest, StoreError};
use serde::de::DeserializeOwned;

use crate::{
    error::{EngineError, ExitClass},
    record::Version,
    remote::{self, Served},
    vault::{Vault, store_error},
    work::{Desk, Job},
};

/// Files of one side whose headers are read.
const FILES_MAX: usize = 1_000;
/// Bytes of the newer revision whose numbers are compared.
const NUMBERS_BYTES_MAX: u64 = 256 << 30;
/// What reading all of a file by ranges may cost beyond its own size, in bytes.
const RANGE_SLACK_BYTES: u64 = 64 << 20;

/// A newer state of what an artifact was fetched from.
#[derive(Debug)]
pub struct Outdated {
    /// The artifact.
    pub version: Version,
    /// What there is now.
    pub latest: String,
    /// How the files differ, by the source's own digests.
    pub diff: ListingDiff,
    /// How the tensors of the files that changed differ; absent for datasets and where no file changed.
    pub weights: Option<WeightChanges>,
}

impl Vault<'_> {
    /// Asks the sources of what was fetched, or of `only`, whether there is something newer.
    pub fn outdated(&self, only: Option<&ArtifactName>, depth: Compared) -> Result<Vec<Outdated>, EngineError> {
        let mut versions = self.newest_fetched()?;
        if let Some(name) = only {
            versions.retain(|version| version.artifact == *name);
            if versions.is_empty() {
                return Err(EngineError::NotFound { what: "fetched artifact", name: name.to_string() });
            }
        }
        let reach = (self.settings.reach)()?;
        let mut found = Vec::new();
        for version in versions {
            let Some(origin) = &version.origin else { continue };
            let source = |text: &str| {
                text.parse::<Source>().map_err(|error| EngineError::tampered(version.reference().to_string(), error))
            };
            let latest = reach.latest(&source(&origin.asked)?)?;
            if latest.revision.to_string() == origin.revision {
                continue;
            }
            let held = reach.listing(&source(&origin.pinned)?)?;
            let diff = diff(&held, &latest);
            let weights = if version.artifact.kind() == ArtifactKind::Dataset || diff.is_empty() {
                None
            } else {
                let manifest = self.manifest(&version)?;
                Some(
                    Comparison { vault: self, reach: &reach, manifest: &manifest, latest: &latest, depth }
                        .run(&diff)?,
                )
            };
            found.push(Outdated { latest: latest.revision.to_string(), version, diff, weights });
        }
        Ok(found)
    }

    /// The newest fetched version of each artifact.
    fn newest_fetched(&self) -> Result<Vec<Version>, EngineError> {
        let mut newest: Vec<Version> = Vec::new();
        for version in self.versions()?.into_iter().filter(Version::has_bytes) {
            newest.retain(|other| other.artifact != version.artifact);
            newest.push(version);
        }
        newest.retain(|version| version.origin.is_some());
        Ok(newest)
    }
}

/// What is held beside what is newer.
struct Comparison<'a> {
    vault: &'a Vault<'a>,
    reach: &'a Reach,
    manifest: &'a Manifest,
    latest: &'a Listing,
    depth: Compared,
}

/// A tensor of one side.
#[derive(Clone, Copy)]
struct Placed<'t> {
    file: &'t str,
    head: &'t TensorHead,
}

impl Placed<'_> {
    fn shown(self) -> PlacedTensor {
        PlacedTensor::new(self.file, self.head)
    }
}

/// The tensors of one side by file.
type Tables = BTreeMap<String, TensorTable>;

impl Comparison<'_> {
    fn run(&self, diff: &ListingDiff) -> Result<WeightChanges, EngineError> {
        let mut out = WeightChanges {
            compared: self.depth,
            counts: ChangeCounts::default(),
            overall: None,
            added: Vec::new(),
            removed: Vec::new(),
            reshaped: Vec::new(),
            moved: Vec::new(),
            not_compared: Vec::new(),
            fetched_bytes: 0,
        };
        let progress = self.vault.settings.progress;
        progress.begin("headers", None);
        let held = self.tables(diff.changed.iter().chain(&diff.removed), &mut out, Self::held_table)?;
        let newer = self.tables(diff.changed.iter().chain(&diff.added), &mut out, Self::newer_table)?;
        progress.end("");
        let pairs = match_up(&held, &newer, &mut out);
        if self.depth == Compared::Numbers {
            self.numbers(&pairs, &mut out)?;
        }
        Ok(out)
    }

    /// The tables of some files; what cannot be read is told.
    fn tables<'p>(
        &self,
        paths: impl Iterator<Item = &'p String>,
        out: &mut WeightChanges,
        table: fn(&Self, &str, &mut WeightChanges) -> Result<TensorTable, EngineError>,
    ) -> Result<Tables, EngineError> {
        let mut tables = Tables::new();
        for (count, path) in paths.enumerate() {
            if count == FILES_MAX {
                tell(out, path, format!("more than {FILES_MAX} files changed; from here on they are left out"));
                break;
            }
            let found = table(self, path, out);
            let Some(found) = allowed(found, path, out)? else { continue };
            for reason in &found.unread {
                tell(out, path, reason);
            }
            tables.insert(path.clone(), found);
        }
        Ok(tables)
    }

    fn held_table(&self, path: &str, _: &mut WeightChanges) -> Result<TensorTable, EngineError> {
        let mut file = self.vault.store.read(self.manifest, path).map_err(|error| store_error(&error))?;
        let job = Job::TensorTable { size: file.size() };
        self.ask(path, &job, &mut file, None)
    }

    fn newer_table(&self, path: &str, out: &mut WeightChanges) -> Result<TensorTable, EngineError> {
        let mut file = self.open(path)?;
        let job = Job::TensorTable { size: file.size() };
        let table = self.ask(path, &job, &mut file, None);
        out.fetched_bytes += file.fetched();
        table
    }

    fn open(&self, path: &str) -> Result<RangeReader<'_>, EngineError> {
        let file = self.latest.file(path).ok_or_else(|| EngineError::incomplete(path, "it is not in the listing"))?;
        Ok(self.reach.open_range(file)?)
    }

    /// Compares the numbers of matched tensors, file by file.
    fn numbers(&self, pairs: &[(Placed<'_>, Placed<'_>)], out: &mut WeightChanges) -> Result<(), EngineError> {
        let mut by_files: BTreeMap<(&str, &str), HashMap<&str, Placed<'_>>> = BTreeMap::new();
        for (held, newer) in pairs.iter().filter(|(held, newer)| held.head.shape == newer.head.shape) {
            by_files.entry((newer.file, held.file)).or_default().insert(&newer.head.name, *newer);
        }
        let mut whole = Whole::default();
        let mut bytes = 0_u64;
        for ((newer, held), tensors) in by_files {
            let size = self.latest.file(newer).and_then(|file| file.size).unwrap_or(0);
            bytes = bytes.saturating_add(size);
            if bytes > NUMBERS_BYTES_MAX {
                tell(out, newer, format!("more than {NUMBERS_BYTES_MAX} bytes would have to be fetched"));
                continue;
            }
            let changes = self.changes(newer, held, tensors.keys().map(|name| (*name).to_owned()).collect(), out);
            let Some(changes) = allowed(changes, newer, out)? else { continue };
            let mut left = tensors;
            for change in changes {
                // The child's answer is untrusted: it speaks only of what it was asked about, once.
                let Some(tensor) = left.remove(change.name.as_str()) else { continue };
                match change.difference {
                    Some(difference) => {
                        whole.add(&difference, tensor.head);
                        if difference.relative > 0.0 || difference.changed > 0.0 {
                            out.counts.moved += 1;
                            out.moved.push(Moved { tensor: tensor.shown(), difference });
                        } else {
                            out.counts.equal += 1;
                        }
                    }
                    None => tell(out, &change.name, "its numbers cannot be read on both sides"),
                }
            }
            let mut left: Vec<_> = left.into_values().collect();
            left.sort_unstable_by_key(|tensor| &tensor.head.name);
            for tensor in left {
                tell(out, &tensor.head.name, format!("numbers of type `{}` are not read", tensor.head.dtype));
            }
        }
        out.moved.sort_by(|a, b| {
            let size = |moved: &Moved| (moved.difference.relative, moved.difference.changed);
            let ((a_relative, a_changed), (b_relative, b_changed)) = (size(a), size(b));
            b_relative.total_cmp(&a_relative).then(b_changed.total_cmp(&a_changed))
        });
        out.moved.truncate(LISTED_MAX);
        out.overall = whole.finish();
        Ok(())
    }

    fn changes(
        &self,
        newer: &str,
        held: &str,
        names: BTreeSet<String>,
        out: &mut WeightChanges,
    ) -> Result<Vec<TensorChange>, EngineError> {
        let file = self.open(newer)?;
        let size = file.size();
        let mut file = file.allowing(size.saturating_add(size / 8).saturating_add(RANGE_SLACK_BYTES));
        let mut base = self.vault.store.read(self.manifest, held).map_err(|error| store_error(&error))?;
        let job = Job::TensorChanges { sizes: [size, base.size()], names };
        let changes = self.ask(newer, &job, &mut file, Some(&mut base));
        out.fetched_bytes += file.fetched();
        changes
    }

    /// Runs `job` in a child that reads `first` and perhaps `second` by pieces.
    fn ask<'f, T: DeserializeOwned>(
        &self,
        what: &str,
        job: &Job,
        first: &'f mut dyn Served,
        second: Option<&'f mut dyn Served>,
    ) -> Result<T, EngineError> {
        let mut files: Vec<&mut dyn Served> = vec![first];
        files.extend(second);
        remote::beside(files, |theirs| Desk::new(self.vault.settings).ask(what, job, theirs))
            .map_err(|error| cause(what, error))?
    }
}

/// Tensors of both sides that belong together; what has no counterpart is listed. Files of the same name come first, then
/// any of the same folder, because models are cut into other files from one revision to the next.
fn match_up<'t>(held: &'t Tables, newer: &'t Tables, out: &mut WeightChanges) -> Vec<(Placed<'t>, Placed<'t>)> {
    let mut left: HashMap<(&str, &str), Vec<Placed<'t>>> = HashMap::new();
    for tensor in placed(held) {
        left.entry((folder(tensor.file), &tensor.head.name)).or_default().push(tensor);
    }
    let mut counterpart = |tensor: &Placed<'t>, same_file: bool| {
        let candidates = left.get_mut(&(folder(tensor.file), tensor.head.name.as_str()))?;
        let at = candidates.iter().position(|held| !same_file || held.file == tensor.file)?;
        Some(candidates.remove(at))
    };
    let (mut pairs, mut rest) = (Vec::new(), Vec::new());
    for tensor in placed(newer) {
        match counterpart(&tensor, true) {
            Some(other) => pairs.push((other, tensor)),
            None => rest.push(tensor),
        }
    }
    for tensor in rest {
        if let Some(other) = counterpart(&tensor, false) {
            pairs.push((other, tensor));
        } else {
            out.counts.added += 1;
            list(&mut out.added, || tensor.shown());
        }
    }
    let mut gone: Vec<Placed<'_>> = left.into_values().flatten().collect();
    gone.sort_unstable_by_key(|tensor| (tensor.file, &tensor.head.name));
    for tensor in gone {
        out.counts.removed += 1;
        list(&mut out.removed, || tensor.shown());
    }
    for (held, newer) in &pairs {
        if (&held.head.dtype, &held.head.shape) == (&newer.head.dtype, &newer.head.shape) {
            out.counts.alike += 1;
        } else {
            out.counts.reshaped += 1;
            list(&mut out.reshaped, || Reshaped { held: held.shown(), newer: newer.shown() });
        }
    }
    pairs
}

fn placed(tables: &Tables) -> impl Iterator<Item = Placed<'_>> {
    tables.iter().flat_map(|(file, table)| table.tensors.iter().map(move |head| Placed { file, head }))
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn list<T>(list: &mut Vec<T>, entry: impl FnOnce() -> T) {
    if list.len() < LISTED_MAX {
        list.push(entry());
    }
}

fn tell(out: &mut WeightChanges, what: &str, why: impl Display) {
    list(&mut out.not_compared, || NotCompared { what: printable(what, 200), why: printable(&why.to_string(), 300) });
}

/// What a source does not give, or a child cannot read, is told; what this machine refuses or was tampered with is an error.
fn allowed<T>(found: Result<T, EngineError>, path: &str, out: &mut WeightChanges) -> Result<Option<T>, EngineError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(EngineError::Incomplete { why, .. }) => {
            tell(out, path, why);
            Ok(None)
        }
        Err(error) if error.exit_class() == ExitClass::Incomplete => {
            tell(out, path, error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What an error of the store or of a source was before it became one of reading.
fn cause(what: &str, error: io::Error) -> EngineError {
    match error.downcast::<ReachError>() {
        Ok(error) => error.into(),
        Err(error) => match error.downcast::<StoreError>() {
            Ok(error) => store_error(&error),
            Err(error) => EngineError::incomplete(what, error),
        },
    }
}

/// All numbers as one vector.
#[derive(Default)]
struct Whole {
    elements: f64,
    changed: f64,
    energy: f64,
    base_energy: f64,
}

impl Whole {
    fn add(&mut self, difference: &TensorDifference, head: &TensorHead) {
        let elements: f64 = head.shape.iter().map(|side| *side as f64).product();
        self.elements += elements;
        self.changed += difference.changed * elements;
        self.base_energy += difference.base_norm * difference.base_norm;
        let norm = difference.relative * difference.base_norm;
        self.energy += norm * norm;
    }

    fn finish(self) -> Option<TensorDifference> {
        let ratio = |part: f64, all: f64| if part > 0.0 && all > 0.0 { part / all } else { 0.0 };
        (self.elements > 0.0).then(|| TensorDifference {
            relative: ratio(self.energy, self.base_energy).sqrt().min(f64::MAX),
            changed: ratio(self.changed, self.elements).min(1.0),
            base_norm: self.base_energy.sqrt().min(f64::MAX),
            rank: None,
        })
    }
}

//! Verifying a mirrored trail with nothing but a trust root: no vault, no key, no network.
//!
//! One pass over the bundles rebuilds every tile and the root from the entries alone, and compares them with the files, with
//! the signed checkpoint, and with a checkpoint that was held earlier; witnesses' lines below the checkpoint are counted last. Memory does not grow with the trail. Unfinished tiles of
//! earlier, smaller trees stay in a mirror; they must be the beginning of what is there now. What lies behind the checkpoint
//! (a mirror in the making) is no part of it.

use std::{collections::BTreeMap, fs, path::Path};

use ringfence_catalog::Problem;
use ringfence_schema::{
    Digest,
    report::{Check, VerifyReport, VerifySchema, VerifyVerdict},
    trail::Entry,
};
use ringfence_trust::{
    checkpoint::{self, Checkpoint},
    keys::KeyRole,
    merkle,
    note::Note,
    root::TrustRoot,
    tiles::{self, CHECKPOINT_PATH, Kind, Part, Tower, WIDTH},
};

use super::{
    add_witnesses, cosigned,
    folder::{Content, Folder},
    read_checkpoint,
};
use crate::{error::EngineError, vault::read_small};

/// Most problems that are listed; more are counted.
const PROBLEMS_MAX: usize = 100;

/// Verifies the mirror in `folder` under the trust root in the file `root`, against the checkpoint in the file `held`, and
/// whether enough witnesses of the file `policy` cosigned all of it.
///
/// # Errors
/// [`EngineError::Io`] for what the system refuses to read, [`EngineError::Incomplete`] where there is no mirror,
/// [`EngineError::Tampered`] where `root` or `held` are not genuine, [`EngineError::Plan`] where `policy` is wrong. What is wrong with the mirror is in the report.
pub fn verify_mirror(
    folder: &Path,
    root: &Path,
    held: Option<&Path>,
    policy: Option<&Path>,
) -> Result<VerifyReport, EngineError> {
    let trust = TrustRoot::open(&read_small(root)?)
        .map_err(|error| EngineError::tampered(root.display().to_string(), error))?;
    let held = held.map(|file| read_checkpoint(file, &trust)).transpose()?;
    let policy = policy.map(cosigned::read_policy).transpose()?;
    let verdict = check(folder, &trust, held.as_ref())?;
    let mut report = report(folder, &trust, held.as_ref(), &verdict);
    if let (Some(policy), Some((_, note)), VerifyVerdict::Verified) = (&policy, &verdict.signed, report.verdict) {
        add_witnesses(&mut report, &cosigned::count(policy, note));
    }
    Ok(report)
}

/// What was found in a mirror.
pub(super) struct MirrorVerdict {
    /// Its checkpoint with its note, if the log's signatures hold.
    pub(super) signed: Option<(Checkpoint, Note)>,
    /// What is wrong, at most [`PROBLEMS_MAX`].
    pub(super) problems: Vec<String>,
    /// How many more there are.
    pub(super) unlisted: u64,
    /// Files that were compared.
    pub(super) files: u64,
    /// Unfinished files behind the checkpoint.
    pub(super) behind: u64,
}

/// Checks a mirror under `trust`, and that it begins with the entries of `held`.
pub(super) fn check(folder: &Path, trust: &TrustRoot, held: Option<&Checkpoint>) -> Result<MirrorVerdict, EngineError> {
    fs::metadata(folder).map_err(EngineError::io(folder))?;
    let mut checker = Checker::new(Folder::new(folder), trust, held);
    let signed = checker.signed(trust)?;
    if let Some((signed, _)) = &signed {
        checker.tree(signed)?;
        checker.compare_held(signed.size);
    }
    let Checker { problems, unlisted, files, behind, .. } = checker;
    Ok(MirrorVerdict { signed, problems, unlisted, files, behind })
}

struct Checker<'a> {
    folder: Folder,
    vault: String,
    held: Option<&'a Checkpoint>,
    held_root: Option<Digest>,
    tower: Tower,
    problems: Vec<String>,
    unlisted: u64,
    files: u64,
    behind: u64,
}

impl<'a> Checker<'a> {
    fn new(folder: Folder, trust: &TrustRoot, held: Option<&'a Checkpoint>) -> Self {
        let held_root = held.filter(|held| held.size == 0).map(|_| merkle::empty_root());
        Self {
            folder,
            vault: trust.vault().to_string(),
            held,
            held_root,
            tower: Tower::new(),
            problems: Vec::new(),
            unlisted: 0,
            files: 0,
            behind: 0,
        }
    }

    fn report(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX { self.problems.push(problem) } else { self.unlisted += 1 }
    }

    /// The mirror's checkpoint, if it is genuine.
    fn signed(&mut self, trust: &TrustRoot) -> Result<Option<(Checkpoint, Note)>, EngineError> {
        let note = match self.folder.note()? {
            Content::Bytes(note) => note,
            Content::Odd(what) => {
                self.report(format!("`{CHECKPOINT_PATH}`: {what}"));
                return Ok(None);
            }
            Content::Missing if self.held.is_some() => {
                self.report(format!("`{CHECKPOINT_PATH}` is gone"));
                return Ok(None);
            }
            Content::Missing => {
                return Err(EngineError::incomplete(
                    self.folder.path().display().to_string(),
                    "there is no checkpoint: it is no mirror, or its first copy was interrupted",
                ));
            }
        };
        self.files += 1;
        match trust.verify_cosigned(&note) {
            Ok(signed) => Ok(Some(signed)),
            Err(error) => {
                self.report(format!("`{CHECKPOINT_PATH}`: {error}"));
                Ok(None)
            }
        }
    }

    /// The pass over all entries.
    fn tree(&mut self, signed: &Checkpoint) -> Result<(), EngineError> {
        let bundles = signed.size.div_ceil(u64::from(WIDTH));
        for index in 0..bundles {
            let rest = signed.size - index * u64::from(WIDTH);
            // At most 256.
            let width = u16::try_from(rest.min(u64::from(WIDTH))).unwrap_or(WIDTH);
            let hashes = self.hashes(Part::hashes(0, index, width))?;
            let leaves = self.entries(Part::entries(index, width))?;
            if let (Some(hashes), Some(leaves)) = (&hashes, &leaves) {
                self.compare(Part::hashes(0, index, width), hashes, leaves);
            }
            // The files of both kinds are unreadable: nothing further can be said.
            let Some(leaves) = leaves.or(hashes) else { return Ok(()) };
            self.append(&leaves)?;
        }
        let unfinished: Vec<(Part, Vec<Digest>)> =
            self.tower.unfinished().map(|(part, hashes)| (part, hashes.to_vec())).collect();
        for (part, expected) in unfinished.into_iter().filter(|(part, _)| part.kind != Kind::Hashes(0)) {
            if let Some(hashes) = self.hashes(part)? {
                self.compare(part, &hashes, &expected);
            }
        }
        if self.tower.root() != signed.root {
            self.report(format!("the {} entries do not lead to the signed root", signed.size));
        }
        Ok(())
    }

    fn append(&mut self, leaves: &[Digest]) -> Result<(), EngineError> {
        let mut whole = Vec::new();
        for leaf in leaves {
            self.tower.append(*leaf, |tile| {
                whole.push(tile);
                Ok::<(), EngineError>(())
            })?;
            if self.held.is_some_and(|held| held.size == self.tower.size()) {
                self.held_root = Some(self.tower.root());
            }
        }
        for tile in whole.into_iter().filter(|tile| tile.part.kind != Kind::Hashes(0)) {
            if let Some(hashes) = self.hashes(tile.part)? {
                self.compare(tile.part, &hashes, &tile.hashes);
            }
        }
        Ok(())
    }

    fn compare(&mut self, part: Part, hashes: &[Digest], expected: &[Digest]) {
        let Some(place) = hashes.iter().zip(expected).position(|(hash, expected)| hash != expected) else { return };
        let problem = match part.kind {
            Kind::Hashes(0) => {
                let index = part.index * u64::from(WIDTH) + place as u64;
                format!("entry {index}: `{}` and `{part}` contradict each other", Part::entries(part.index, part.width))
            }
            _ => format!("`{part}`: hash {place} is not that of the entries below it"),
        };
        self.report(problem);
    }

    /// The bytes of a part; where an unfinished one is gone, those of the whole one that replaced it.
    fn content(&mut self, part: Part) -> Result<Option<(Part, Vec<u8>)>, EngineError> {
        for there in [part, part.whole()] {
            match self.folder.part(there)? {
                Content::Bytes(bytes) => {
                    self.files += 1;
                    return Ok(Some((there, bytes)));
                }
                Content::Odd(what) => {
                    self.report(format!("`{there}`: {what}"));
                    return Ok(None);
                }
                Content::Missing => {}
            }
        }
        self.report(format!("`{part}` is gone"));
        Ok(None)
    }

    /// The hashes of a tile.
    fn hashes(&mut self, part: Part) -> Result<Option<Vec<Digest>>, EngineError> {
        let Some((there, bytes)) = self.content(part)? else { return Ok(None) };
        match tiles::read_tile(&bytes, there.width) {
            Ok(mut hashes) => {
                self.earlier(there, part.width, &bytes, |width| usize::from(width) * Digest::BYTES)?;
                hashes.truncate(usize::from(part.width));
                Ok(Some(hashes))
            }
            Err(error) => {
                self.report(format!("`{there}`: {error}"));
                Ok(None)
            }
        }
    }

    /// The leaf hashes of a bundle, whose entries must be such of this vault.
    fn entries(&mut self, part: Part) -> Result<Option<Vec<Digest>>, EngineError> {
        let Some((there, bytes)) = self.content(part)? else { return Ok(None) };
        let entries = match tiles::read_bundle(&bytes, there.width) {
            Ok(entries) => entries,
            Err(error) => {
                self.report(format!("`{there}`: {error}"));
                return Ok(None);
            }
        };
        let first = part.index * u64::from(WIDTH);
        for (index, entry) in (first..).zip(&entries).take(usize::from(part.width)) {
            match Entry::from_leaf(entry) {
                Ok(entry) if entry.vault == self.vault => {}
                Ok(_) => self.report(format!("entry {index}: it is of another vault")),
                Err(error) => self.report(format!("entry {index}: {error}")),
            }
        }
        let length = |width: u16| entries.iter().take(usize::from(width)).map(|entry| 2 + entry.len()).sum();
        self.earlier(there, part.width, &bytes, length)?;
        Ok(Some(entries.iter().take(usize::from(part.width)).map(|entry| merkle::leaf_hash(entry)).collect()))
    }

    /// Unfinished files in the place of `there`, of which the checkpoint covers `covered` hashes or entries: each must be the
    /// beginning of `bytes`, which is as long as `length` says.
    fn earlier(
        &mut self,
        there: Part,
        covered: u16,
        bytes: &[u8],
        length: impl Fn(u16) -> usize,
    ) -> Result<(), EngineError> {
        for part in self.folder.unfinished(there)? {
            if part.width > covered {
                self.behind += 1;
                continue;
            }
            if part == there {
                continue;
            }
            self.files += 1;
            match self.folder.part(part)? {
                Content::Bytes(found) if bytes.get(..length(part.width)) == Some(found.as_slice()) => {}
                Content::Bytes(_) => self.report(format!("`{part}` is not the beginning of `{there}`")),
                Content::Odd(what) => self.report(format!("`{part}`: {what}")),
                Content::Missing => self.report(format!("`{part}` is gone")),
            }
        }
        Ok(())
    }

    fn compare_held(&mut self, size: u64) {
        let Some(held) = self.held else { return };
        if held.size > size {
            self.report(Problem::RolledBack { size, held: held.size }.to_string());
        } else if self.held_root.is_some_and(|root| root != held.root) {
            self.report(Problem::Forked { held: held.size }.to_string());
        }
    }
}

fn report(folder: &Path, trust: &TrustRoot, held: Option<&Checkpoint>, verdict: &MirrorVerdict) -> VerifyReport {
    let check = |name: &str, passed, detail: String| Check { name: name.into(), passed, detail };
    let mut checks: Vec<Check> =
        verdict.problems.iter().map(|problem| check("mirror", false, problem.clone())).collect();
    if verdict.unlisted > 0 {
        checks.push(check("mirror", false, format!("and {} more", verdict.unlisted)));
    }
    let mut facts = BTreeMap::from([
        ("vault".to_owned(), trust.vault().to_string()),
        ("trust root epoch".to_owned(), trust.epoch().to_string()),
        ("files".to_owned(), verdict.files.to_string()),
    ]);
    let intact = checks.is_empty();
    if let Some((signed, _)) = &verdict.signed {
        facts.insert("entries".to_owned(), signed.size.to_string());
        facts.insert("checkpoint".to_owned(), format!("{} entries, {}", signed.size, signed.root));
        let keys = trust.keys_at(KeyRole::Log, signed.size.saturating_sub(1));
        let keys: Vec<String> = keys.iter().map(|key| checkpoint::verifier_key(&signed.origin, key)).collect();
        facts.insert("verifier key".to_owned(), keys.join(" "));
        if intact {
            checks.push(check("mirror", true, format!("{} entries under the signed checkpoint", signed.size)));
            let detail = match held {
                Some(held) => format!("the mirror begins with the {} entries that were seen before", held.size),
                None => {
                    "none is held here: an older copy, or another history by the log's own key, would not show".into()
                }
            };
            checks.push(check("held checkpoint", true, detail));
        }
    }
    if verdict.behind > 0 {
        facts.insert("unfinished files behind the checkpoint".to_owned(), verdict.behind.to_string());
    }
    VerifyReport {
        schema: VerifySchema::One,
        verdict: if intact { VerifyVerdict::Verified } else { VerifyVerdict::Tampered },
        subject: format!("mirror {}", folder.display()),
        checks,
        facts,
    }
}

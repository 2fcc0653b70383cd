//! Checkpoints with the cosignatures of witnesses: what a policy says of one, and the one that the vault keeps.
//!
//! `witnesses.policy` in the user's configuration (C2SP tlog-policy) names the witnesses. `witnessed.checkpoint` in the vault's
//! folder is the newest checkpoint that enough of them cosigned; it holds nothing secret, needs no key, is replaced as a whole,
//! and travels with backups. Losing it loses nothing but time: the witnesses are asked again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ringfence_catalog::{Catalog, CatalogError, Problem};
use ringfence_schema::{Timestamp, finding::printable, report::Check};
use ringfence_trust::{
    checkpoint::Checkpoint,
    merkle,
    note::Note,
    root::TrustRoot,
    vkey::VerifierKey,
    witness::{Policy, PolicyWitness},
};

use crate::{
    bundle::write_whole,
    error::EngineError,
    settings::Settings,
    vault::{catalog_error, named_lock_file, open_keyless, read_small},
};

/// The witnesses in the user's configuration, as a C2SP tlog-policy.
pub const POLICY_FILE: &str = "witnesses.policy";
/// The cosigned checkpoint in the vault's folder.
pub(super) const WITNESSED_FILE: &str = "witnessed.checkpoint";
/// Locked while that file is read and replaced.
const LOCK_FILE: &str = "witnessed.lock";
/// What the check is called in reports.
pub(super) const CHECK_NAME: &str = "witnesses";
/// Longest name of a witness that is shown, in characters.
const NAME_CHARS_MAX: usize = 80;

/// What a policy says of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quorum {
    Met,
    NotMet,
    /// A line in the name of a witness does not hold.
    Broken,
}

/// The same with what people read.
pub(super) struct Counted {
    pub(super) quorum: Quorum,
    pub(super) detail: String,
    /// Who cosigned, and when; the same words as `tools/verify_trail.py`.
    pub(super) fact: String,
}

impl Counted {
    pub(super) fn check(&self) -> Check {
        Check { name: CHECK_NAME.into(), passed: self.quorum == Quorum::Met, detail: self.detail.clone() }
    }
}

/// The policy in a file.
pub(super) fn read_policy(file: &Path) -> Result<Policy, EngineError> {
    let bytes = read_small(file)?;
    Policy::parse(&bytes).map_err(|error| EngineError::Plan { file: file.to_owned(), what: error.to_string() })
}

pub(super) fn shown_name(witness: &PolicyWitness) -> String {
    printable(&witness.name(), NAME_CHARS_MAX)
}

/// The moment of a cosignature.
pub(super) fn moment_of(time_s: u64) -> Timestamp {
    Timestamp::from_millis(time_s.saturating_mul(1_000))
}

/// Counts the cosignatures of a checkpoint whose log signature holds.
pub(super) fn count(policy: &Policy, note: &Note) -> Counted {
    let tally = policy.satisfied(note);
    let name = |place: &usize| policy.witnesses().get(*place).map(shown_name).unwrap_or_default();
    let who: Vec<String> =
        tally.cosigned.iter().map(|(place, time_s)| format!("{} at {}", name(place), moment_of(*time_s))).collect();
    let fact = if who.is_empty() { "nobody".to_owned() } else { who.join(", ") };
    let of_log = |key: &VerifierKey| note.lines().iter().any(|line| key.verify(note, line).is_ok());
    let (quorum, detail) = if !tally.broken.is_empty() {
        let names: Vec<String> = tally.broken.iter().map(name).collect();
        (Quorum::Broken, format!("the cosignature of {} does not hold for this checkpoint", names.join(", ")))
    } else if !(policy.logs().is_empty() || policy.logs().iter().any(of_log)) {
        (Quorum::NotMet, "the policy is about other logs than this one".to_owned())
    } else if tally.met {
        (Quorum::Met, format!("cosigned by {fact}: enough for the policy"))
    } else {
        (Quorum::NotMet, format!("cosigned by {fact}: not enough for the policy"))
    };
    Counted { quorum, detail, fact }
}

/// The cosigned checkpoint that the vault keeps, if its log signatures hold.
pub(super) fn kept(settings: &Settings<'_>, trust: &TrustRoot) -> Result<Option<(Checkpoint, Note)>, EngineError> {
    let path = kept_path(settings);
    let bytes = match read_small(&path) {
        Ok(bytes) => bytes,
        Err(EngineError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let opened = trust.verify_cosigned(&bytes);
    opened.map(Some).map_err(|error| EngineError::tampered(path.display().to_string(), error))
}

fn kept_path(settings: &Settings<'_>) -> PathBuf {
    settings.vault.join(WITNESSED_FILE)
}

/// Keeps `note` with what is kept already: lines of the same checkpoint are joined, a newer one takes the place of an older
/// one unless fewer witnesses cosigned it than the policy asks for. Returns what `note` is with all its lines.
pub(super) fn keep(
    settings: &Settings<'_>,
    trust: &TrustRoot,
    policy: &Policy,
    mut note: Note,
) -> Result<Note, EngineError> {
    let lock = named_lock_file(&settings.vault, LOCK_FILE)?;
    lock.lock().map_err(EngineError::io(settings.vault.join(LOCK_FILE)))?;
    let path = kept_path(settings);
    // What is there and does not hold was changed; it is replaced, since nothing can be joined with it.
    if let Ok(Some((seen, known))) = kept(settings, trust) {
        let older = note.checkpoint().is_ok_and(|given| given.size < seen.size);
        if known.text() == note.text() {
            let fresh = note.lines().to_vec();
            note = known;
            note.merge(fresh);
        } else if policy.satisfied(&known).met && (older || !policy.satisfied(&note).met) {
            return Ok(note);
        }
    }
    if policy.satisfied(&note).cosigned.is_empty() {
        return Ok(note);
    }
    let text = note.to_string();
    if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
        write_whole(&path, text.as_bytes())?;
    }
    Ok(note)
}

/// How far the witnesses of the user's configuration are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Entries that enough of them have cosigned.
    pub cosigned: u64,
    /// Entries of the newest checkpoint.
    pub entries: u64,
    /// The latest cosignature, by that witness's clock.
    pub at: Option<Timestamp>,
}

/// How far the witnesses are; nothing where none are configured. Asks nobody and needs no key.
///
/// # Errors
/// [`EngineError::Plan`] for a policy that is wrong, [`EngineError::Tampered`] where what is kept was changed.
pub fn standing(settings: &Settings<'_>) -> Result<Option<Standing>, EngineError> {
    let file = settings.config.join(POLICY_FILE);
    if !file.exists() {
        return Ok(None);
    }
    let policy = read_policy(&file)?;
    let (catalog, trust) = open_keyless(settings)?;
    let newest = catalog
        .read(|view| view.newest_note())
        .map_err(|error: CatalogError| catalog_error(&error))?
        .unwrap_or_default();
    let entries = trust
        .verify_cosigned(newest.as_bytes())
        .map_err(|error| EngineError::tampered("trail", error))
        .map(|(checkpoint, _)| checkpoint.size)?;
    let tally = kept(settings, &trust)?.map(|(seen, note)| (seen.size, policy.satisfied(&note)));
    let cosigned = tally.as_ref().filter(|(_, tally)| tally.met).map_or(0, |(size, _)| *size);
    let latest = tally.iter().flat_map(|(_, tally)| &tally.cosigned).map(|(_, time_s)| *time_s).max();
    Ok(Some(Standing { cosigned, entries, at: latest.map(moment_of) }))
}

/// Adds the cosignatures that the vault keeps to `note`, if they are of the same checkpoint.
pub(super) fn join_kept(settings: &Settings<'_>, trust: &TrustRoot, note: &mut Note) -> Result<(), EngineError> {
    if let Some((_, known)) = kept(settings, trust)?
        && known.text() == note.text()
    {
        note.merge(known.lines().to_vec());
    }
    Ok(())
}

/// What a verification of the vault's own trail says of its witnesses: what was cosigned must be the beginning of it, and
/// with a policy all of it must be cosigned by enough of them.
pub(super) fn judge_vault(
    settings: &Settings<'_>,
    trust: &TrustRoot,
    catalog: &Catalog,
    newest: Option<&Checkpoint>,
    policy: Option<&Policy>,
) -> Result<Option<Counted>, EngineError> {
    let found = |quorum, detail: String| Ok(Some(Counted { quorum, detail, fact: "nobody".to_owned() }));
    let opened = match kept(settings, trust) {
        Err(EngineError::Tampered { detail, .. }) => {
            return found(Quorum::Broken, format!("`{WITNESSED_FILE}`: {detail}"));
        }
        other => other?,
    };
    let Some((seen, note)) = opened else {
        return match policy {
            Some(policy) if policy.asks() => found(Quorum::NotMet, "no checkpoint has been cosigned yet".into()),
            _ => Ok(None),
        };
    };
    let size = newest.map_or(0, |newest| newest.size);
    if seen.size > size {
        return found(Quorum::Broken, Problem::RolledBack { size, held: seen.size }.to_string());
    }
    let leaves =
        catalog.read(|view| view.leaf_hashes(seen.size)).map_err(|error: CatalogError| catalog_error(&error))?;
    if merkle::root_of(&leaves) != seen.root {
        return found(Quorum::Broken, Problem::Forked { held: seen.size }.to_string());
    }
    let Some(policy) = policy else { return Ok(None) };
    let mut counted = count(policy, &note);
    if counted.quorum == Quorum::Met && seen.size < size && policy.asks() {
        counted.quorum = Quorum::NotMet;
        counted.detail = format!("{}; the {} newer ones are not cosigned", counted.detail, size - seen.size);
    }
    counted.detail = format!("{} of {size} entries {}", seen.size, counted.detail);
    Ok(Some(counted))
}

//! Reading, verifying, copying and exporting the trail of every decision and effect.
//!
//! * [`verify_trail`]: the trail of a vault. It needs no key: leaves, checkpoints and the digests of sealed rows are all in
//!   clear. What commitments stand for is shown only by an open vault.
//! * [`mirror()`]: copies it to static files for any log client; [`verify_mirror`]: verifies such a copy without the vault.
//! * [`witness()`]: shows the newest checkpoint to witnesses and keeps what they cosign.
//! * [`Vault::search`] finds entries by a [`Filter`]; [`Vault::export_trail`] writes them as others read them ([`Shape`]).

mod check;
mod cosigned;
mod export;
mod folder;
mod mirror;
mod search;
mod witness;

use std::{collections::BTreeMap, path::Path};

use ringfence_catalog::{CatalogError, TrailVerdict};
use ringfence_schema::{
    Digest,
    report::{Check, VerifyReport, VerifySchema, VerifyVerdict},
    trail::{Entry, EntryKind, Opening, Outcome},
};
use ringfence_trust::{
    checkpoint::{self, Checkpoint},
    keys::KeyRole,
    root::TrustRoot,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::EngineError,
    settings::Settings,
    vault::{Vault, catalog_error, open_keyless, open_pins, pin_error, read_small},
};

pub use check::verify_mirror;
pub use cosigned::{POLICY_FILE, Standing, standing};
pub use export::Shape;
pub use mirror::{Mirrored, mirror, mirror_witnessed};
pub use search::{Decided, Filter, moment};
pub use witness::{AskedWitness, Said, Witnessing, witness};

use cosigned::{Counted, Quorum};

/// An entry as people see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShownEntry {
    /// Its place in the trail.
    pub index: u64,
    /// What is in clear.
    #[serde(flatten)]
    pub entry: Entry,
    /// SHA-256 of the leaf's bytes.
    pub leaf: Digest,
    /// What its commitments stand for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub openings: BTreeMap<String, Opening>,
    /// What the intent is about that the entry closes, where its own openings do not say it.
    #[serde(default, rename = "subject", skip_serializing)]
    about: String,
}

impl ShownEntry {
    /// What the entry is about, if its openings or those of its intent say so.
    pub fn subject(&self) -> &str {
        self.openings.get("subject").and_then(|opening| opening.value.as_str()).unwrap_or(&self.about)
    }

    /// What the entry says of its action, in one word.
    pub fn word(&self) -> &'static str {
        match (self.entry.kind, self.entry.outcome) {
            (EntryKind::Genesis, _) => "begun",
            (EntryKind::Intent, _) => "intended",
            (EntryKind::Denial, _) => "denied",
            (EntryKind::Outcome, Some(Outcome::Done)) | (EntryKind::Access, _) => "done",
            (EntryKind::Outcome, Some(Outcome::Failed)) => "failed",
            (EntryKind::Outcome, Some(Outcome::Abandoned)) => "abandoned",
            (EntryKind::Outcome, Some(Outcome::Unknown) | None) => "unknown",
        }
    }
}

/// A verdict on the trail as an error: tampering, or nothing.
pub(crate) fn as_error(verdict: &TrailVerdict) -> Result<(), EngineError> {
    match verdict.problems.as_slice() {
        [] => Ok(()),
        [one] => Err(EngineError::tampered("trail", one)),
        [first, rest @ ..] => {
            let more = rest.len() as u64 + verdict.unlisted;
            Err(EngineError::tampered(
                "trail",
                format!("{first}; and {more} more: `ringfence trail verify` lists them"),
            ))
        }
    }
}

/// Verifies the whole trail of the vault in `settings.vault`, against the checkpoint in `held` or the pinned one, against
/// what witnesses cosigned, and whether enough of those in the file `policy` cosigned all of it. Needs no key and changes
/// nothing.
pub fn verify_trail(
    settings: &Settings<'_>,
    held: Option<&Path>,
    root: Option<&Path>,
    policy: Option<&Path>,
) -> Result<VerifyReport, EngineError> {
    let (catalog, pinned) = open_keyless(settings)?;
    let root = match root {
        Some(file) => {
            let given = TrustRoot::open(&read_small(file)?)
                .map_err(|error| EngineError::tampered(file.display().to_string(), error))?;
            if given.vault() != pinned.vault() {
                return Err(EngineError::Usage {
                    what: format!(
                        "`{}` is the trust root of vault {}, this is {}",
                        file.display(),
                        given.vault(),
                        pinned.vault()
                    ),
                });
            }
            given
        }
        None => pinned,
    };
    let held = match held {
        Some(file) => Some(read_checkpoint(file, &root)?),
        None => open_pins(settings)?.checkpoint(root.vault()).map_err(|error| pin_error(&error))?,
    };
    let verdict =
        catalog.verify(&|note| root.verify_checkpoint(note), held.as_ref()).map_err(|error| catalog_error(&error))?;
    let mut report = report(settings, &root, held.as_ref(), &verdict);
    let policy = policy.map(cosigned::read_policy).transpose()?;
    if verdict.is_intact()
        && let Some(counted) =
            cosigned::judge_vault(settings, &root, &catalog, verdict.newest.as_ref(), policy.as_ref())?
    {
        add_witnesses(&mut report, &counted);
    }
    Ok(report)
}

/// Adds what is known of witnesses to the report of an intact trail.
fn add_witnesses(report: &mut VerifyReport, counted: &Counted) {
    report.checks.push(counted.check());
    report.facts.insert("cosigned by".to_owned(), counted.fact.clone());
    match counted.quorum {
        Quorum::Met => {}
        Quorum::NotMet => report.verdict = VerifyVerdict::Refused,
        Quorum::Broken => report.verdict = VerifyVerdict::Tampered,
    }
}

fn read_checkpoint(file: &Path, root: &TrustRoot) -> Result<Checkpoint, EngineError> {
    let note = read_small(file)?;
    checkpoint::verify_cosigned(&note, &checkpoint::origin(root.vault()), &root.keys_ever(KeyRole::Log))
        .map(|(checkpoint, _)| checkpoint)
        .map_err(|error| EngineError::tampered(file.display().to_string(), error))
}

fn report(
    settings: &Settings<'_>,
    root: &TrustRoot,
    held: Option<&Checkpoint>,
    verdict: &TrailVerdict,
) -> VerifyReport {
    let mut checks: Vec<Check> = verdict
        .problems
        .iter()
        .map(|problem| Check { name: "trail".into(), passed: false, detail: problem.to_string() })
        .collect();
    if verdict.unlisted > 0 {
        checks.push(Check { name: "trail".into(), passed: false, detail: format!("and {} more", verdict.unlisted) });
    }
    if verdict.is_intact() {
        let detail = format!("{} entries under {} signed checkpoints", verdict.entries, verdict.checkpoints);
        checks.push(Check { name: "trail".into(), passed: true, detail });
        checks.push(Check {
            name: "rows".into(),
            passed: true,
            detail: "every deciding row is what the entries make of it".into(),
        });
        if verdict.erased > 0 {
            let detail =
                format!("fields of {} entries were erased by recorded acts; their proofs hold", verdict.erased);
            checks.push(Check { name: "erasures".into(), passed: true, detail });
        }
        checks.push(match held {
            Some(held) => Check {
                name: "held checkpoint".into(),
                passed: true,
                detail: format!("the trail begins with the {} entries that were seen before", held.size),
            },
            None => Check {
                name: "held checkpoint".into(),
                passed: true,
                detail: "none is held here: a cut-off tail or a rolled-back vault would not show".into(),
            },
        });
    }
    let mut facts = BTreeMap::from([
        ("vault".to_owned(), root.vault().to_string()),
        ("trust root epoch".to_owned(), root.epoch().to_string()),
        ("entries".to_owned(), verdict.entries.to_string()),
    ]);
    if let Some(newest) = &verdict.newest {
        facts.insert("checkpoint".to_owned(), format!("{} entries, {}", newest.size, newest.root));
    }
    VerifyReport {
        schema: VerifySchema::One,
        verdict: if verdict.is_intact() { VerifyVerdict::Verified } else { VerifyVerdict::Tampered },
        subject: format!("trail of {}", settings.vault.display()),
        checks,
        facts,
    }
}

impl Vault<'_> {
    /// The last `count` entries, oldest first.
    pub fn trail(&self, count: u64) -> Result<Vec<ShownEntry>, EngineError> {
        let size = self.catalog.size().map_err(|error| catalog_error(&error))?;
        let first = size.saturating_sub(count);
        let mut shown = Vec::new();
        let mut from = first;
        while from < size {
            let entries = self.catalog.entries(from..size).map_err(|error| catalog_error(&error))?;
            let Some(last) = entries.last() else { break };
            from = last.index + 1;
            for stored in entries {
                shown.push(self.shown(stored)?);
            }
        }
        Ok(shown)
    }

    /// One entry.
    pub fn trail_entry(&self, index: u64) -> Result<ShownEntry, EngineError> {
        let stored = self
            .catalog
            .entry(index)
            .map_err(|error| catalog_error(&error))?
            .ok_or(EngineError::NotFound { what: "trail entry", name: index.to_string() })?;
        self.shown(stored)
    }

    /// The newest checkpoint as a signed note, to be held elsewhere.
    pub fn checkpoint(&self) -> Result<String, EngineError> {
        self.catalog
            .read(|view| view.newest_note())
            .map_err(|error: CatalogError| catalog_error(&error))?
            .ok_or(EngineError::NotFound { what: "checkpoint", name: "newest".into() })
    }
}

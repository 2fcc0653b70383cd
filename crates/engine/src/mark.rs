//! The commitments of watermarks' secrets, in the trail.
//!
//! A p-value of `watermark verify` counts only for a secret that is older than the suspect: whoever tries a million keys on a finished
//! model finds one that fits. [`Vault::record_mark`] commits to a secret without telling it, in an entry with a time that checkpoints
//! and witnesses hold, and seals the secret in the vault; [`Vault::recorded_mark`] finds that entry again, [`Vault::sealed_mark`] the
//! secret too. Its owner may keep another copy, or none.

use std::path::Path;

use ringfence_access::{Action, Facts};
use ringfence_schema::{
    Digest,
    canon::from_canonical,
    trail::{EntryKind, Outcome},
    watermark::{RecordedMark, WatermarkSecret},
};
use serde_json::json;

use crate::{
    act::{Act, Blob, Effect, Reach},
    admit::resource,
    bundle::canonical,
    error::EngineError,
    files::read_secret,
    record::Version,
    trail::{Decided, Filter},
    vault::Vault,
};

impl Vault<'_> {
    /// Records the commitment of the secret in a file for `version`, the marked model or the one that it is made from, and seals the
    /// secret in the vault. What is recorded already is not recorded again.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not run controls on the version; [`EngineError::Incomplete`] for a file that is no secret.
    pub fn record_mark(&self, secret: &Path, version: &Version) -> Result<RecordedMark, EngineError> {
        version.still_there()?;
        let secret = read_secret(secret)?;
        let commitment = commitment_of(&secret)?;
        if let Some(known) = self.recorded_mark(commitment)? {
            return Ok(known);
        }
        let subject = version.reference().to_string();
        let act = Act {
            action: Action::Inspect,
            resources: vec![resource(version)],
            facts: Facts::default(),
            request: json!({"control": "watermark", "commitment": commitment}),
            subject: subject.clone(),
            reach: Reach::Inside,
        };
        let (at, entry) = self.act(act, || {
            let mut effect = Effect::of(());
            let told = json!({"commitment": commitment, "subject": subject, "tree": version.tree});
            effect.openings.insert(OPENING.to_owned(), told);
            effect.blobs.push(Blob::new(SEALED, canonical(&secret)?));
            Ok(effect.replace((self.settings.now)()))
        })?;
        // The entry's own time is what others read.
        Ok(self.recorded_mark(commitment)?.unwrap_or(RecordedMark { commitment, entry, at, subject }))
    }

    /// The secret that was recorded first for `version`, out of the vault, and its entry. That it is taken is recorded.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not run controls on the version; [`EngineError::NotFound`] where none was recorded for it.
    pub fn sealed_mark(&self, version: &Version) -> Result<(RecordedMark, WatermarkSecret), EngineError> {
        let subject = version.reference().to_string();
        let act = Act {
            action: Action::Inspect,
            resources: vec![resource(version)],
            facts: Facts::default(),
            request: json!({"control": "watermark", "what": "the secret"}),
            subject: subject.clone(),
            reach: Reach::Inside,
        };
        let (found, _) = self.act(act, || {
            let none = || EngineError::NotFound { what: "recorded watermark", name: subject.clone() };
            let known = self.find_mark(&|_, of| of == subject)?.ok_or_else(none)?;
            let sealed = self.blob(SEALED, known.commitment)?;
            let secret = from_canonical(&sealed).map_err(|error| EngineError::tampered("watermark's secret", error))?;
            Ok(Effect::of((known, secret)))
        })?;
        Ok(found)
    }

    /// The oldest entry that commits to a secret with this commitment.
    ///
    /// # Errors
    /// [`EngineError::Tampered`] where an entry is not what it was.
    pub fn recorded_mark(&self, commitment: Digest) -> Result<Option<RecordedMark>, EngineError> {
        self.find_mark(&|found, _| found == commitment)
    }

    /// The oldest entry whose commitment and subject are `wanted`.
    fn find_mark(&self, wanted: &dyn Fn(Digest, &str) -> bool) -> Result<Option<RecordedMark>, EngineError> {
        let filter = Filter {
            what: Some(Action::Inspect.name().to_owned()),
            decision: Some(Decided::Allowed),
            ..Filter::default()
        };
        let mut found = None;
        self.search(&filter, None, &mut |shown| {
            let is_done = shown.entry.kind == EntryKind::Outcome && shown.entry.outcome == Some(Outcome::Done);
            let told = shown.openings.get(OPENING).filter(|_| is_done && found.is_none());
            let said = |key: &str| told.and_then(|opening| opening.value.get(key)?.as_str()).unwrap_or_default();
            let subject = said("subject").to_owned();
            if let Some(commitment) = said("commitment").parse().ok().filter(|commitment| wanted(*commitment, &subject))
            {
                found = Some(RecordedMark { commitment, entry: shown.index, at: shown.entry.time, subject });
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The commitment of a secret: SHA-256 of its canonical form, under which it is sealed too.
pub fn commitment_of(secret: &WatermarkSecret) -> Result<Digest, EngineError> {
    ringfence_attack::commitment(secret).map_err(|error| EngineError::incomplete("watermark's secret", error))
}

/// Under which name an entry commits to it.
const OPENING: &str = "watermark";
/// What kind of blob a sealed secret is.
const SEALED: &str = "watermark";

//! What somebody who works in another machine's vault holds of it: the trust root, and the newest checkpoint seen.
//!
//! [`hold_root`] pins the root when they log in, [`hold_newest`] the checkpoint after each command; both lie in the same
//! pins as those of a vault on this machine. A server whose trail was rolled back, or that shows different people different
//! trails, cannot give a [`Continuation`] that holds, and that is tampering.

use ringfence_catalog::CatalogError;
use ringfence_schema::Digest;
use ringfence_trust::{VaultId, pins::PinError, root::TrustRoot};
use serde::{Deserialize, Serialize};

use crate::{
    error::EngineError,
    settings::Settings,
    vault::{Vault, catalog_error, open_pins, pin_error},
};

/// Attempts where other processes of the same user hold newer checkpoints meanwhile.
const RACES_MAX: usize = 8;
/// Most hashes of a proof (RFC 9162, section 2.1.4: two for each level of a tree of at most 2⁶⁴ leaves).
const PROOF_HASHES_MAX: usize = 128;

/// A trust root that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRoot {
    /// The vault's id.
    pub vault: String,
    /// SHA-256 of the root's file, to be compared over another channel.
    pub digest: Digest,
    /// Its epoch.
    pub epoch: u64,
    /// Whether nothing was held of this vault before.
    pub first: bool,
}

/// The newest checkpoint, and the proof that it continues an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    /// The signed note.
    pub checkpoint: String,
    /// Consistency proof (RFC 9162, section 2.1.4); empty from an empty trail and for the same size.
    pub proof: Vec<Digest>,
}

/// Holds `file` as its vault's trust root, because the user says so or as the successor of the one held.
///
/// # Errors
/// [`EngineError::Tampered`] for a file that does not hold, and for another root than the one held.
pub fn hold_root(settings: &Settings<'_>, file: &[u8]) -> Result<HeldRoot, EngineError> {
    let root = TrustRoot::open(file).map_err(|error| EngineError::tampered("trust root", error))?;
    let pins = open_pins(settings)?;
    let first = pins.find(root.vault()).map_err(|error| pin_error(&error))?.is_none();
    pins.save(&root).map_err(|error| pin_error(&error))?;
    Ok(HeldRoot { vault: root.vault().to_string(), digest: Digest::of(file), epoch: root.epoch(), first })
}

/// Holds the newest checkpoint of `vault`. `ask` gets the number of entries that are held and answers with what continues
/// them; `root` answers with the trust root's file, and is asked where the one held does not know the checkpoint's key.
///
/// # Errors
/// [`EngineError::Tampered`] where the trail is shorter than, or no continuation of, the one held.
pub fn hold_newest(
    settings: &Settings<'_>,
    vault: &str,
    ask: &mut dyn FnMut(u64) -> Result<Continuation, EngineError>,
    root: &mut dyn FnMut() -> Result<Vec<u8>, EngineError>,
) -> Result<u64, EngineError> {
    let id: VaultId = vault.parse().map_err(|_| EngineError::Usage { what: format!("`{vault}` is no vault's id") })?;
    let pins = open_pins(settings)?;
    let mut rooted = false;
    let mut last = EngineError::Busy { what: "other processes hold newer checkpoints again and again" };
    for _ in 0..RACES_MAX {
        let held = pins.checkpoint(&id).map_err(|error| pin_error(&error))?;
        let Continuation { checkpoint, proof } = ask(held.as_ref().map_or(0, |held| held.size))?;
        if proof.len() > PROOF_HASHES_MAX {
            return Err(EngineError::tampered("trail", "the proof that it continues what was seen is too long"));
        }
        match pins.advance(&id, checkpoint.as_bytes(), &proof) {
            Ok(checkpoint) => return Ok(checkpoint.size),
            // The vault may have new keys: a successor of the root held says so.
            Err(PinError::Checkpoint { .. }) if !rooted => {
                hold_root(settings, &root()?)?;
                rooted = true;
            }
            // Somebody else held a newer one between the question and here: that was a proof from elsewhere.
            Err(error @ (PinError::OlderCheckpoint { .. } | PinError::Inconsistent { .. }))
                if pins.checkpoint(&id).map_err(|error| pin_error(&error))? != held =>
            {
                last = pin_error(&error);
            }
            Err(error) => return Err(pin_error(&error)),
        }
    }
    Err(last)
}

impl Vault<'_> {
    /// The newest checkpoint with the proof that it continues the trail's first `from` entries. There is no proof where
    /// the trail is shorter than that; who asked sees it by the checkpoint.
    pub fn continuation(&self, from: u64) -> Result<Continuation, EngineError> {
        let newest =
            self.catalog.read(|view| view.newest_note()).map_err(|error: CatalogError| catalog_error(&error))?;
        let checkpoint = newest.ok_or(EngineError::NotFound { what: "checkpoint", name: "newest".into() })?;
        let root = self.current_root();
        let size =
            root.verify_checkpoint(checkpoint.as_bytes()).map_err(|error| EngineError::tampered("trail", error))?.size;
        let proof = if from > 0 && from < size {
            self.catalog.prove_consistency(from, size).map_err(|error| catalog_error(&error))?
        } else {
            Vec::new()
        };
        Ok(Continuation { checkpoint, proof })
    }
}

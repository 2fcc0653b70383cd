//! Approvals for whoever has no vault: one file, checked offline by [`crate::verify_approval`].
//!
//! The file holds the request, a signed checkpoint, and for each approval two entries of the trail with their proofs of
//! inclusion: the one that holds the signature, and the one that enrolled the passkey or key before. It is canonical JSON with no
//! field that is not checked. Names, addresses and labels of people are not in it.

use ringfence_schema::trail::{EntryKind, Outcome};
use ringfence_trust::factor::{agent::AgentKey, passkey::Passkey};
use serde::{Deserialize, Serialize};

use super::{
    approve::APPROVAL,
    request::{ApprovalRow, RequestDocument, RequestId, Signer},
    rows::PersonRow,
};
use crate::{
    bundle::{ProvenLeaf, canonical},
    error::EngineError,
    vault::{Vault, catalog_error},
};

/// Name of the opening that holds the passkeys and keys of whoever enrolled.
pub(crate) const FACTORS: &str = "factors";
/// Entries that are looked at at a time.
const PAGE: u64 = 256;

/// Tag of [`ApprovalProof`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalSchema {
    /// The only version so far.
    #[serde(rename = "ringfence.approval/1")]
    One,
}

/// Who approved what, with proofs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalProof {
    /// Tag.
    pub schema: ApprovalSchema,
    /// What was approved.
    pub request: RequestDocument,
    /// A C2SP checkpoint as a signed note.
    pub checkpoint: String,
    /// The approvals, by rising index.
    pub approvals: Vec<ProvenApproval>,
}

/// One approval with its proofs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenApproval {
    /// The entry that holds the signature.
    pub approval: ProvenLeaf,
    /// The entry that enrolled the passkey or key.
    pub enrolment: ProvenLeaf,
}

impl Vault<'_> {
    /// The approvals of a request as a file `ringfence.approval/1` (canonical JSON).
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a request that is not listed any more; [`EngineError::Usage`] where nobody approved.
    pub fn approval_proof(&self, id: &RequestId) -> Result<Vec<u8>, EngineError> {
        let row = self.stored_request(id)?;
        if row.approvals.is_empty() {
            return Err(EngineError::Usage { what: "nobody has approved this request".to_owned() });
        }
        let note = self.checkpoint()?;
        let checkpoint =
            self.root.verify_checkpoint(note.as_bytes()).map_err(|error| EngineError::tampered("trail", error))?;
        let mut approvals = Vec::new();
        for approval in &row.approvals {
            let enrolment = self.enrolment_of(approval)?;
            approvals.push(ProvenApproval {
                approval: self.proven_leaf(approval.entry, checkpoint.size, APPROVAL)?,
                enrolment: self.proven_leaf(enrolment, checkpoint.size, FACTORS)?,
            });
        }
        approvals.sort_by_key(|approval| approval.approval.index);
        canonical(&ApprovalProof { schema: ApprovalSchema::One, request: row.document, checkpoint: note, approvals })
    }

    /// The newest entry before the approval in which its person's factors, the one that signed among them, were enrolled.
    fn enrolment_of(&self, approval: &ApprovalRow) -> Result<u64, EngineError> {
        let mut end = approval.entry;
        while end > 0 {
            let start = end.saturating_sub(PAGE);
            let entries = self.catalog.entries(start..end).map_err(|error| catalog_error(&error))?;
            for stored in entries.iter().rev() {
                let entry = &stored.entry;
                let enrols = (entry.kind, entry.outcome) == (EntryKind::Outcome, Some(Outcome::Done))
                    && entry.action == "enrol"
                    && entry.actor == approval.person.as_str();
                if !enrols {
                    continue;
                }
                let held = self.opened(stored)?.remove(FACTORS).and_then(|opening| Factors::of(&opening.value));
                if held.is_some_and(|factors| factors.hold(&approval.credential)) {
                    return Ok(stored.index);
                }
            }
            end = start;
        }
        Err(EngineError::tampered("trail", "it does not show where what the approver signed with was enrolled"))
    }

    fn proven_leaf(&self, index: u64, size: u64, opening: &str) -> Result<ProvenLeaf, EngineError> {
        let stored = self
            .catalog
            .entry(index)
            .map_err(|error| catalog_error(&error))?
            .ok_or(EngineError::NotFound { what: "trail entry", name: index.to_string() })?;
        let hashes = self.catalog.prove_inclusion(index, size).map_err(|error| catalog_error(&error))?;
        let mut openings = self.opened(&stored)?;
        openings.retain(|name, _| name == opening);
        Ok(ProvenLeaf::new(index, &stored.leaf, &hashes, openings))
    }
}

/// What an enrolment commits to: whose passkeys these are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Factors {
    pub(crate) person: super::PersonId,
    pub(crate) passkeys: Vec<Passkey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<AgentKey>,
}

impl Factors {
    /// Those of somebody.
    pub(crate) fn held_by(row: &PersonRow) -> Self {
        let keys = row.keys.iter().map(|row| row.key.clone()).collect();
        Self { person: row.id.clone(), passkeys: row.passkeys(), keys }
    }

    /// Whether what signed is among them.
    pub(crate) fn hold(&self, signer: &Signer) -> bool {
        match signer {
            Signer::Passkey(id) => self.passkeys.iter().any(|held| held.credential_id == *id),
            Signer::Key(digest) => self.keys.iter().any(|held| held.digest() == *digest),
        }
    }

    /// The factors that `value` stands for, if it stands for some.
    pub(crate) fn of(value: &serde_json::Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }
}

//! Checks approvals offline: who signed what, with which passkey or key, enrolled when, in which trail.
//!
//! Nothing in the file is believed. The checkpoint is signed under the trust root; each entry is in its tree and commits to
//! what is shown of it; the signature is over the digest of the request, a WebAuthn assertion by a passkey or an agent's by a
//! key, that the trail shows enrolled for the same person earlier. People are counted, not passkeys, and never the requester.
//!
//! Not shown by it: whether the request was used, and whether an approver was invited or reset by the requester, which the
//! vault checks when it counts. The trail of the vault shows both.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ringfence_schema::{Digest, Timestamp, canon, finding::printable, report::VerifyReport, trail::Entry};
use ringfence_trust::{checkpoint::Checkpoint, root::TrustRoot};

use super::{Anchor, Findings, known_root, opened_leaf, read};
use crate::{
    bundle::{ProvenLeaf, canonical},
    error::EngineError,
    team::{
        approve::{APPROVAL, ApprovalRecord},
        proof::{ApprovalProof, ApprovalSchema, FACTORS, Factors, ProvenApproval},
    },
};

/// Most approvals in one file.
const APPROVALS_MAX: usize = 64;

/// Verifies a file `ringfence.approval/1` offline, without any key.
///
/// # Errors
/// Only for what keeps the question from being asked: a file that cannot be read. Approvals that are not what they say are a
/// report, not an error.
pub fn verify_approval(file: &Path, anchor: &Anchor<'_>) -> Result<VerifyReport, EngineError> {
    let bytes = read(file).map_err(EngineError::io(file))?;
    let mut findings = Findings::new(file);
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let proof: ApprovalProof = match canon::from_canonical(&bytes) {
        Ok(proof) => proof,
        Err(error) => {
            findings.tampered(&name, error);
            return Ok(findings.report());
        }
    };
    let ApprovalSchema::One = proof.schema;
    let vault = proof.request.vault.clone();
    let fits = |root: &TrustRoot| root.vault().to_string() == vault;
    let Some(root) = known_root(anchor, Some(&vault), fits, &mut findings)? else { return Ok(findings.report()) };
    findings.fact("vault", root.vault());
    findings.fact("trust root epoch", root.epoch());
    let checkpoint = match root.verify_checkpoint(proof.checkpoint.as_bytes()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            findings.tampered("checkpoint", error);
            return Ok(findings.report());
        }
    };
    findings.fact("checkpoint", format!("{} entries, {}", checkpoint.size, checkpoint.root));
    told(&proof, &mut findings);
    let digest = Digest::of(&canonical(&proof.request)?);
    let case = Case { proof: &proof, digest, root: &root, checkpoint: &checkpoint };
    case.people(&mut findings);
    Ok(findings.report())
}

/// What a reader needs to know of the request.
fn told(proof: &ApprovalProof, findings: &mut Findings) {
    let request = &proof.request;
    findings.fact("request", printable(&request.says, 2_000));
    findings.fact("action", request.action);
    findings.fact("subject", printable(&request.subject, 200));
    findings.fact("requester", printable(request.requester.as_str(), 80));
    findings.fact("made", request.made);
    findings.fact("expires", request.expires);
    findings.fact("approvals needed", request.needed);
}

struct Case<'a> {
    proof: &'a ApprovalProof,
    digest: Digest,
    root: &'a TrustRoot,
    checkpoint: &'a Checkpoint,
}

impl Case<'_> {
    fn people(&self, findings: &mut Findings) {
        let approvals = &self.proof.approvals;
        if approvals.len() > APPROVALS_MAX {
            return findings.refused("approvals", format!("{}, limit is {APPROVALS_MAX}", approvals.len()));
        }
        if !approvals.windows(2).all(|pair| matches!(pair, [a, b] if a.approval.index < b.approval.index)) {
            return findings.tampered("approvals", "they are not in order");
        }
        let mut people = BTreeSet::new();
        for (number, approval) in (1..).zip(approvals) {
            let name = format!("approval {number}");
            match self.one(approval) {
                Ok((person, at)) => {
                    findings
                        .passed(&name, format!("{person} signed it at {at}, trail entry {}", approval.approval.index));
                    people.insert(person);
                }
                Err(Flaw::Changed(detail)) => findings.tampered(&name, detail),
                Err(Flaw::Unfit(detail)) => findings.refused(&name, detail),
            }
        }
        people.remove(self.proof.request.requester.as_str());
        findings.fact("approved by", people.iter().map(|id| printable(id, 80)).collect::<Vec<_>>().join(", "));
        let (found, needed) = (people.len() as u64, u64::from(self.proof.request.needed.max(1)));
        if found < needed {
            findings.refused("people", format!("{found} other people approved, {needed} are needed"));
        } else {
            findings.passed("people", format!("{found} other people approved"));
        }
    }

    /// Who approved, and when.
    fn one(&self, proven: &ProvenApproval) -> Result<(String, Timestamp), Flaw> {
        let (entry, record): (Entry, ApprovalRecord) = self.opened(&proven.approval, APPROVAL)?;
        let person = record.person().to_string();
        let changed = |what: &str| Err(Flaw::Changed(what.to_owned()));
        if record.digest() != self.digest || *record.request() != self.proof.request {
            return changed("it approves another request than the one in this file");
        }
        if (entry.action.as_str(), &entry.actor) != ("approve", &person) {
            return changed("its entry is somebody else's, or no approval");
        }
        if person == self.proof.request.requester.as_str() {
            return Err(Flaw::Unfit("it is by the requester".to_owned()));
        }
        if !record.timely(entry.time) {
            return Err(Flaw::Unfit("it was made outside the life of the request".to_owned()));
        }
        record.verify(&self.digest).map_err(Flaw::Changed)?;
        let (enrolled, factors): (Entry, Factors) = self.opened(&proven.enrolment, FACTORS)?;
        let theirs =
            (enrolled.action.as_str(), &enrolled.actor, factors.person.as_str()) == ("enrol", &person, person.as_str());
        if !theirs || proven.enrolment.index >= proven.approval.index {
            return changed("the enrolment shown is somebody else's, or a later one");
        }
        if !record.enrolled_in(&factors) {
            return changed("it was signed with nothing that the enrolment shows");
        }
        Ok((person, entry.time))
    }

    /// The entry, and what it commits to under `name`, which must be all that is shown of it.
    fn opened<T: serde::de::DeserializeOwned>(&self, leaf: &ProvenLeaf, name: &str) -> Result<(Entry, T), Flaw> {
        let Checkpoint { size, root, .. } = self.checkpoint;
        let entry = opened_leaf(leaf, *size, root, self.root).map_err(Flaw::Changed)?;
        let openings: &BTreeMap<_, _> = &leaf.openings;
        let shown = openings.get(name).filter(|_| openings.len() == 1);
        let read = shown.and_then(|opening| serde_json::from_value(opening.value.clone()).ok());
        let value = read.ok_or_else(|| Flaw::Changed(format!("its entry does not show `{name}`, and nothing else")))?;
        Ok((entry, value))
    }
}

/// Why an approval does not count.
enum Flaw {
    /// Something is not what it was.
    Changed(String),
    /// It is genuine, and still counts for nothing.
    Unfit(String),
}

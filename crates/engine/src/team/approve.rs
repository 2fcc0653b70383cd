//! The answers of others: a signature over the digest of exactly what is asked for, or a refusal.
//!
//! A passkey's challenge is the digest itself; a key in an agent signs it in a namespace of its own. So the signature speaks
//! of this request and of nothing else, whoever holds it, and years later it can be checked without the vault
//! (`crate::approval`). A passkey verifies its user, which is a second factor that was proven just now; a key in an agent
//! does not, so whoever uses one has to have stepped up. A password with a code cannot approve.

use std::collections::BTreeSet;

use ringfence_access::{Action, Decision, Facts, LoginStrength, PersonKind, Request, Resource};
use ringfence_schema::{Digest, Timestamp};
use ringfence_trust::factor::{
    agent::{AgentKey, AgentSignature, Namespace},
    passkey::{Assertion, Challenge, Passkey, RelyingParty, RequestOptions},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Approval, Caller, PersonId, Status,
    login::as_json,
    proof::Factors,
    request::{
        ApprovalRow, RequestChange, RequestDocument, RequestId, RequestRow, RequestStanding, RequestView, Signer,
        reason,
    },
    rows::PersonRow,
};
use crate::{
    act::{Act, Effect, PENDING, Reach},
    error::EngineError,
    vault::Vault,
};

/// Name of the opening that holds an approval.
pub(crate) const APPROVAL: &str = "approval";

/// What an approver is shown and what their authenticator is asked for.
#[derive(Debug, Clone)]
pub struct Approving {
    /// The request; show its document's `says` before anything is signed.
    pub request: RequestView,
    /// Options for the browser, as JSON. The challenge is the request's digest.
    pub options: Value,
}

/// An approval as the trail has it: all that is needed to check the signature, and nothing secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ApprovalRecord {
    /// By a passkey.
    Passkey(Box<PasskeyApproval>),
    /// By a key in an agent.
    Key(Box<KeyApproval>),
}

/// An approval by a key in an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyApproval {
    /// Who approved.
    pub(crate) person: PersonId,
    /// What.
    pub(crate) request: RequestDocument,
    /// Its digest, which was signed.
    pub(crate) digest: Digest,
    /// The key, as it was enrolled.
    pub(crate) key: AgentKey,
    /// What its agent answered.
    pub(crate) signature: AgentSignature,
}

/// An approval by a passkey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyApproval {
    /// Who approved.
    pub(crate) person: PersonId,
    /// What.
    pub(crate) request: RequestDocument,
    /// Its digest, which was signed.
    pub(crate) digest: Digest,
    /// The relying party's id and the origins of its pages.
    pub(crate) party: Party,
    /// The signature, as the browser handed it over.
    pub(crate) assertion: Assertion,
    /// The public part of the passkey, as it was enrolled.
    pub(crate) passkey: Passkey,
}

/// A relying party, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Party {
    pub(crate) id: String,
    pub(crate) origins: Vec<String>,
}

impl Vault<'_> {
    /// Begins an approval by one of the caller's passkeys.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the caller's approval would not count, [`EngineError::NotPermitted`] where the request
    /// is over, [`EngineError::Usage`] where the caller has approved it already or has no passkey.
    pub fn begin_approve(&self, rp: &RelyingParty, id: &RequestId) -> Result<Approving, EngineError> {
        let members = self.members()?;
        let row = self.waiting(&members, id)?;
        let mine = self.someone(&PersonId(self.caller.person.id.clone()))?;
        unanswered(&row, &mine)?;
        let decision = self.may_approve(&mine, &row, LoginStrength::Passkey)?;
        if !decision.allow {
            let reasons = decision.reasons.into_iter().map(|reason| reason.says).collect();
            return Err(EngineError::Refused { gate: Action::Approve.name(), subject: row.document.subject, reasons });
        }
        if mine.passkeys.is_empty() {
            return Err(EngineError::Usage { what: "approvals are signed by a passkey; enrol one first".to_owned() });
        }
        let challenge = Challenge::over(&row.document.digest()?);
        let options = as_json(&RequestOptions::new(rp, &challenge, &mine.passkeys()))?;
        Ok(Approving { request: self.request_view(&members, &row)?, options })
    }

    /// Approves a request with the caller's signature over its digest.
    ///
    /// # Errors
    /// As of [`Vault::begin_approve`]; [`EngineError::NotSignedIn`] where the signature does not hold, which counts as a
    /// failed factor; [`EngineError::Busy`] where somebody else answered at the same moment.
    pub fn approve_request(
        &self,
        rp: &RelyingParty,
        id: &RequestId,
        assertion: &Assertion,
    ) -> Result<RequestView, EngineError> {
        let now = (self.settings.now)();
        let me = PersonId(self.caller.person.id.clone());
        let _turn = self.team.factor_turn();
        let members = self.members_now()?;
        let row = self.waiting(&members, id)?;
        let mut mine = members.people.get(&me).cloned().ok_or(EngineError::NotSignedIn)?;
        unanswered(&row, &mine)?;
        let attempt = self.attempt(&mine.name, self.caller.address, now)?;
        let digest = row.document.digest()?;
        let held = mine.passkeys().into_iter().find(|held| held.credential_id == assertion.credential_id);
        let checked = Self::check_passkey(&mut mine, rp, &Challenge::over(&digest), assertion);
        let (Some(passkey), Ok(())) = (held, checked) else { return Err(self.wrong(Some(&mine), &self.here())) };
        self.right(attempt);
        let credential = Signer::Passkey(assertion.credential_id.clone());
        let approval = ApprovalRow { person: me.clone(), credential, login: None, at: now, entry: PENDING };
        let record = ApprovalRecord::Passkey(Box::new(PasskeyApproval {
            person: me,
            request: row.document.clone(),
            digest,
            party: Party { id: rp.id().to_owned(), origins: rp.origins().to_vec() },
            assertion: assertion.clone(),
            passkey,
        }));
        // The signature is a second factor that was proven just now.
        let caller = Caller { login: LoginStrength::Passkey, proven: Some(now), ..self.caller.clone() };
        self.acting(caller).keep_approval(&mine, row, approval, &record)
    }

    /// Approves a request with the signature of one of the caller's keys in an agent, over the digest of what was shown.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the caller's approval would not count, also without a second factor of the last ten
    /// minutes; [`EngineError::Usage`] for another document than the request's, for a key that is none of the caller's, and
    /// where the caller has approved it already; [`EngineError::NotSignedIn`] where the signature does not hold, which
    /// counts as a failed factor; [`EngineError::Busy`] as of [`Vault::approve_request`].
    pub fn approve_by_key(
        &self,
        id: &RequestId,
        shown: &Digest,
        key: &Digest,
        signature: &AgentSignature,
    ) -> Result<RequestView, EngineError> {
        let usage = |what: &str| EngineError::Usage { what: what.to_owned() };
        let now = (self.settings.now)();
        let me = PersonId(self.caller.person.id.clone());
        let _turn = self.team.factor_turn();
        let members = self.members_now()?;
        let row = self.waiting(&members, id)?;
        let mine = members.people.get(&me).cloned().ok_or(EngineError::NotSignedIn)?;
        unanswered(&row, &mine)?;
        let digest = row.document.digest()?;
        if digest != *shown {
            return Err(usage("the request is not the one that was shown; look at it again"));
        }
        let held = mine.key(key).cloned().ok_or_else(|| usage("this key is not among your factors; enrol it first"))?;
        let attempt = self.attempt(&mine.name, self.caller.address, now)?;
        if held.verify(Namespace::Approval, &digest, signature).is_err() {
            return Err(self.wrong(Some(&mine), &self.here()));
        }
        self.right(attempt);
        let (credential, login) = (Signer::Key(*key), Some(self.caller.login));
        let approval = ApprovalRow { person: me.clone(), credential, login, at: now, entry: PENDING };
        let request = row.document.clone();
        let signed = KeyApproval { person: me, request, digest, key: held, signature: signature.clone() };
        self.keep_approval(&mine, row, approval, &ApprovalRecord::Key(Box::new(signed)))
    }

    /// Decides on an approval whose signature holds, and stores it.
    fn keep_approval(
        &self,
        mine: &PersonRow,
        row: RequestRow,
        approval: ApprovalRow,
        record: &ApprovalRecord,
    ) -> Result<RequestView, EngineError> {
        let id = row.id.clone();
        let act = self.answer(mine, &row, json!({"what": "approve", "request": id, "sha256": record.digest()}))?;
        self.acting(Caller { approval: Approval::Refuse, ..self.caller.clone() }).act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.person_row(mine)?);
            effect.openings.insert(APPROVAL.to_owned(), json!(record));
            let mut after = row.clone();
            after.approvals.push(approval);
            effect.requests.push(RequestChange { before: Some(row), after: Some(after) });
            Ok(effect)
        })?;
        self.request(&id)
    }

    /// Refuses a request, which ends it. Whoever may approve may refuse.
    pub fn refuse_request(&self, id: &RequestId, why: &str) -> Result<RequestView, EngineError> {
        let reason = reason(why)?;
        let row = self.waiting(&*self.members_now()?, id)?;
        let mine = self.someone(&PersonId(self.caller.person.id.clone()))?;
        let act = self.answer(&mine, &row, json!({"what": "refuse", "request": id, "reason": reason}))?;
        let by = mine.id;
        self.stand(act, row, |at| RequestStanding::Refused { by, at, reason })
    }

    fn answer(&self, mine: &PersonRow, row: &RequestRow, request: Value) -> Result<Act, EngineError> {
        Ok(Act {
            action: Action::Approve,
            resources: vec![Resource::Vault],
            facts: self.answer_facts(mine, row)?,
            request,
            subject: row.document.subject.clone(),
            reach: Reach::Inside,
        })
    }

    /// What policies read about an answer by `person` to this request.
    fn answer_facts(&self, person: &PersonRow, row: &RequestRow) -> Result<Facts, EngineError> {
        let policies = self.in_force()?;
        let could_ask = |resource: &Resource| {
            let facts = Facts::default();
            let (principal, vault) = (person.person(), self.facts());
            policies.permits(&Request {
                action: row.document.action,
                facts,
                principal,
                resource: resource.clone(),
                vault,
            })
        };
        Ok(Facts {
            requester: Some(row.document.requester.to_string()),
            beholden: person.owes.contains(&row.document.requester),
            entitled: row.document.resources.iter().all(could_ask),
            approvals: BTreeSet::new(),
            ..Facts::default()
        })
    }

    /// Whether the signed approval of this person counts, as they stand now; `login` is how strongly they were in when
    /// they signed.
    pub(super) fn may_approve(
        &self,
        person: &PersonRow,
        row: &RequestRow,
        login: LoginStrength,
    ) -> Result<Decision, EngineError> {
        let mut facts = self.answer_facts(person, row)?;
        (facts.login, facts.mfa_age_ms) = (login, Some(0));
        let (principal, vault) = (person.person(), self.facts());
        let request = Request { action: Action::Approve, facts, principal, resource: Resource::Vault, vault };
        let mut decision = self.in_force()?.decide(&request);
        // Sessions of others do not exist any more; what they signed before must not count either.
        decision.allow &= person.status == Status::Active && person.kind == PersonKind::Human;
        Ok(decision)
    }
}

/// One person, one approval, however many passkeys and keys.
fn unanswered(row: &RequestRow, mine: &PersonRow) -> Result<(), EngineError> {
    if row.approvals.iter().any(|approval| approval.person == mine.id) {
        return Err(EngineError::Usage {
            what: "you have approved this already; it counts people, not passkeys or keys".to_owned(),
        });
    }
    Ok(())
}

impl ApprovalRecord {
    /// Who approved.
    pub(crate) fn person(&self) -> &PersonId {
        match self {
            Self::Passkey(approval) => &approval.person,
            Self::Key(approval) => &approval.person,
        }
    }

    /// What.
    pub(crate) fn request(&self) -> &RequestDocument {
        match self {
            Self::Passkey(approval) => &approval.request,
            Self::Key(approval) => &approval.request,
        }
    }

    /// Its digest, as it was signed.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Passkey(approval) => approval.digest,
            Self::Key(approval) => approval.digest,
        }
    }

    /// Whether it was made within the life of what it approves.
    pub(crate) fn timely(&self, at: Timestamp) -> bool {
        self.request().made <= at && at < self.request().expires
    }

    /// Whether the signature is one over this digest, by what it says that it was made with.
    pub(crate) fn verify(&self, digest: &Digest) -> Result<(), String> {
        match self {
            Self::Passkey(approval) => {
                let Party { id, origins } = &approval.party;
                let party = RelyingParty::new(id, origins).map_err(|error| error.to_string())?;
                let verified = approval.passkey.verify_offline(&party, digest, &approval.assertion);
                verified.map(drop).map_err(|error| error.to_string())
            }
            Self::Key(approval) => {
                let verified = approval.key.verify(Namespace::Approval, digest, &approval.signature);
                verified.map_err(|error| error.to_string())
            }
        }
    }

    /// Whether what it was made with is among these factors, exactly as it was enrolled.
    pub(crate) fn enrolled_in(&self, factors: &Factors) -> bool {
        match self {
            Self::Passkey(approval) => {
                let Passkey { credential_id, public_key, .. } = &approval.passkey;
                let same = |held: &Passkey| held.credential_id == *credential_id && held.public_key == *public_key;
                factors.passkeys.iter().any(same)
            }
            Self::Key(approval) => factors.keys.contains(&approval.key),
        }
    }
}

//! What needs other people: asked for, listed, used once.
//!
//! * Whoever is refused for nothing but missing approvals asks with [`Vault::ask`], which repeats the very call; what is
//!   asked for is put down by the one door through which the act would go ([`RequestDocument`]), never by the caller.
//! * Others answer with [`Vault::approve_request`] or [`Vault::refuse_request`] (`approve`).
//! * The requester repeats the call with [`Vault::with_approval`]. The approvals count if action, resources, request and
//!   subject are those of the document, byte for byte, and the caller is its requester.
//!
//! What must stay true: a request is good for one attempt: it is marked as used in the transaction that records the intent,
//! and stays used whatever comes of the attempt, a crash included. Only people count who are active when it is used, who
//! still hold the passkey or key that signed, whom the policy still lets approve, and whom the requester neither invited nor reset.
//! A vault in one person's hands has no requests, because no rail that needs several people holds in it.

use std::collections::BTreeSet;

use ringfence_access::{Action, Facts, LoginStrength, Policies, Resource};
use ringfence_catalog::{CatalogError, RowChange, Table, Tx};
use ringfence_schema::{
    Digest, Timestamp, canon,
    finding::printable,
    trail::{EntryKind, Outcome},
};
use ringfence_trust::{
    entropy::{self, SystemEntropy},
    factor::passkey::{CredentialId, PasskeyError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Approval, Caller, PersonId, proof::Factors, rows::Members};
use crate::{
    act::{Act, Effect, Failure, PENDING, Reach},
    bundle::canonical,
    error::EngineError,
    fields::Fields,
    vault::{Vault, catalog_error},
};

/// How long a request is good, in milliseconds.
pub const REQUEST_LIFE_MS: u64 = 24 * 60 * 60 * 1_000;
/// Most requests of one person that wait.
const WAITING_MAX: usize = 32;
/// Most requests that are over and are still listed; the oldest go when another is made.
const OVER_MAX: usize = 256;
/// Largest request document in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 512 << 10;
/// Longest reason in characters.
pub(crate) const REASON_CHARS_MAX: usize = 500;
/// Name of the opening that holds the document of a request.
pub(crate) const ASKED: &str = "asked";

/// Names a request: `q-` and the first sixteen digits of its document's digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    fn of(digest: &Digest) -> Self {
        let mut hex = digest.hex();
        hex.truncate(16);
        Self(format!("q-{hex}"))
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for RequestId {
    /// Whatever stands there; an id that nothing has is found nowhere.
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Tag of [`RequestDocument`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestSchema {
    /// The only version so far.
    #[serde(rename = "ringfence.request/1")]
    One,
}

/// What is asked for. Approvers sign the SHA-256 of its canonical JSON (RFC 8785).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestDocument {
    /// Tag.
    pub schema: RequestSchema,
    /// The vault, so that an approval is good in no other.
    pub vault: String,
    /// To do what.
    pub action: Action,
    /// With what, as policies see it.
    pub resources: Vec<Resource>,
    /// What people call the subject: a reference with its version, as a rule.
    pub subject: String,
    /// The request in full, digests included.
    pub request: Value,
    /// Opaque id of who asks.
    pub requester: PersonId,
    /// 32 random bytes in hexadecimal: the same asked for twice is two requests.
    pub nonce: String,
    /// When it was made.
    pub made: Timestamp,
    /// From when on it is good no more.
    pub expires: Timestamp,
    /// How many other people must approve.
    pub needed: u32,
    /// All of it in plain words, for whoever approves.
    pub says: String,
    /// Why it is asked for, in the requester's words; absent where nothing was said, and in requests of before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RequestDocument {
    /// What approvers sign.
    pub fn digest(&self) -> Result<Digest, EngineError> {
        Ok(Digest::of(&canonical(self)?))
    }

    /// The document as it is hashed, for whoever wants to see what they sign.
    ///
    /// # Errors
    /// [`EngineError::Incomplete`] for numbers that JSON cannot say, of which there are none.
    pub fn canonical(&self) -> Result<String, EngineError> {
        String::from_utf8(canonical(self)?).map_err(|error| EngineError::incomplete("request", error))
    }

    /// Whether it asks for exactly this act by this person.
    fn covers(&self, act: &Act, by: &str) -> bool {
        self.action == act.action
            && self.resources == act.resources
            && self.subject == act.subject
            && canonical(&self.request).ok() == canonical(&act.request).ok()
            && self.requester.as_str() == by
    }
}

/// A request as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestRow {
    pub(crate) id: RequestId,
    pub(crate) document: RequestDocument,
    pub(crate) approvals: Vec<ApprovalRow>,
    pub(crate) standing: RequestStanding,
}

/// An approval as it is stored; what proves it is in the trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalRow {
    pub(crate) person: PersonId,
    pub(crate) credential: Signer,
    /// How strongly whoever signed with a key was logged in; a passkey's signature shows its own strength.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<LoginStrength>,
    pub(crate) at: Timestamp,
    /// The trail's entry that holds the signature.
    pub(crate) entry: u64,
}

/// What signed an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Signer {
    /// A passkey, by its id.
    Passkey(CredentialId),
    /// A key in an agent, by its digest.
    Key(Digest),
}

impl From<Signer> for String {
    fn from(signer: Signer) -> Self {
        match signer {
            Signer::Passkey(id) => id.to_string(),
            Signer::Key(digest) => digest.to_string(),
        }
    }
}

impl TryFrom<String> for Signer {
    type Error = PasskeyError;

    /// A digest has a colon, which no passkey's id has.
    fn try_from(text: String) -> Result<Self, PasskeyError> {
        if let Ok(digest) = text.parse() { Ok(Self::Key(digest)) } else { text.parse().map(Self::Passkey) }
    }
}

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", rename_all_fields = "lowercase")]
pub enum RequestStanding {
    /// It waits for approvals, or to be used; past its time it is good for nothing.
    Waiting,
    /// Somebody refused it.
    Refused {
        /// Who.
        by: PersonId,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// Whoever asked took it back.
    Withdrawn {
        /// When.
        at: Timestamp,
    },
    /// It was used up by an attempt.
    Used {
        /// When.
        at: Timestamp,
        /// The trail's entry that is the intent.
        entry: u64,
    },
}

/// A change of a request's row: nothing happens if `before` is not what stands there.
pub(crate) struct RequestChange {
    pub(crate) before: Option<RequestRow>,
    /// `None`: the row goes.
    pub(crate) after: Option<RequestRow>,
}

/// An approval, as pages and listings show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApprovalView {
    /// Who approved.
    pub person: PersonId,
    /// When.
    pub at: Timestamp,
    /// The trail's entry that holds the signature.
    pub entry: u64,
    /// Whether it counts at the moment.
    pub counts: bool,
}

/// A request, as pages and listings show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestView {
    /// Its name.
    pub id: RequestId,
    /// What approvers sign.
    pub digest: Digest,
    /// The document.
    pub document: RequestDocument,
    /// Who has approved.
    pub approvals: Vec<ApprovalView>,
    /// How it stands.
    pub standing: RequestStanding,
    /// It is waiting, and its time is over.
    pub expired: bool,
}

impl RequestView {
    /// How many approvals count at the moment.
    pub fn counted(&self) -> u32 {
        u32::try_from(self.approvals.iter().filter(|approval| approval.counts).count()).unwrap_or(u32::MAX)
    }

    /// Whether it waits for approvals or for being used.
    pub fn is_open(&self) -> bool {
        self.standing == RequestStanding::Waiting && !self.expired
    }

    /// Whether its requester can use it now.
    pub fn is_approved(&self) -> bool {
        self.is_open() && self.counted() >= self.document.needed
    }
}

/// What came of asking.
#[derive(Debug)]
pub enum Asked<T> {
    /// It needed nobody's approval, and was done.
    Done(T),
    /// It waits for others.
    Waiting(Box<RequestView>),
}

impl Vault<'_> {
    /// Does what `call` does; where it lacks nothing but the approval of others, asks them for it instead. Asking again for
    /// what waits already gives the request that waits.
    ///
    /// # Errors
    /// Those of `call`; [`EngineError::Usage`] where too many of the caller's requests wait.
    pub fn ask<T>(&self, call: impl FnOnce(&Self) -> Result<T, EngineError>) -> Result<Asked<T>, EngineError> {
        self.ask_because(None, call)
    }

    /// The same, with the words of whoever asks on why: they are part of what approvers sign. Of a request that waits
    /// already, the first words stand.
    ///
    /// # Errors
    /// As [`Vault::ask`]; [`EngineError::Usage`] for a reason in which nothing stands.
    pub fn ask_because<T>(
        &self,
        why: Option<&str>,
        call: impl FnOnce(&Self) -> Result<T, EngineError>,
    ) -> Result<Asked<T>, EngineError> {
        let why = why.map(reason).transpose()?;
        let asking = self.acting(Caller { approval: Approval::Ask(why), ..self.caller.clone() });
        match call(&asking) {
            Ok(value) => Ok(Asked::Done(value)),
            Err(EngineError::Asked { request }) => Ok(Asked::Waiting(request)),
            Err(error) => Err(error),
        }
    }

    /// Does what `call` does, with the approval of others where they have given it for exactly this; where they have not,
    /// asks them.
    ///
    /// # Errors
    /// As [`Vault::ask`].
    pub fn ask_or_use<T>(&self, call: impl Fn(&Self) -> Result<T, EngineError>) -> Result<Asked<T>, EngineError> {
        match self.ask(&call)? {
            Asked::Waiting(request) if request.is_approved() => call(&self.with_approval(&request.id)).map(Asked::Done),
            other => Ok(other),
        }
    }

    /// The same vault, in the same hands, bringing what others approved. It is used up by the first act that it covers.
    #[must_use]
    pub fn with_approval(&self, id: &RequestId) -> Self {
        self.acting(Caller { approval: Approval::Use(id.clone()), ..self.caller.clone() })
    }

    /// Every request that waits, and the newest of those that are over; newest first.
    pub fn requests(&self) -> Result<Vec<RequestView>, EngineError> {
        let members = self.members()?;
        let views: Result<Vec<_>, _> = members.requests.values().map(|row| self.request_view(&members, row)).collect();
        let mut views = views?;
        views.sort_by(|a, b| (b.document.made, &b.id).cmp(&(a.document.made, &a.id)));
        Ok(views)
    }

    /// The request with this id.
    pub fn request(&self, id: &RequestId) -> Result<RequestView, EngineError> {
        let members = self.members()?;
        let row = members.requests.get(id).ok_or_else(|| no_request(id))?;
        self.request_view(&members, row)
    }

    /// Takes back what the caller asked for.
    pub fn withdraw_request(&self, id: &RequestId) -> Result<RequestView, EngineError> {
        let row = self.waiting(&*self.members_now()?, id)?;
        if row.document.requester.as_str() != self.caller.person.id {
            return Err(EngineError::NotPermitted { what: "only whoever asked can take a request back".to_owned() });
        }
        let act = Act {
            action: Action::Ask,
            resources: vec![Resource::Vault],
            facts: Facts { entitled: true, ..Facts::default() },
            request: json!({"what": "withdraw", "request": id}),
            subject: row.document.subject.clone(),
            reach: Reach::Inside,
        };
        self.stand(act, row, |at| RequestStanding::Withdrawn { at })
    }

    /// Carries out `act`, which changes nothing but how the request stands.
    pub(super) fn stand(
        &self,
        act: Act,
        row: RequestRow,
        standing: impl FnOnce(Timestamp) -> RequestStanding,
    ) -> Result<RequestView, EngineError> {
        let id = row.id.clone();
        self.acting(Caller { approval: Approval::Refuse, ..self.caller.clone() }).act(act, || {
            let mut effect = Effect::of(());
            let after = RequestRow { standing: standing((self.settings.now)()), ..row.clone() };
            effect.requests.push(RequestChange { before: Some(row), after: Some(after) });
            Ok(effect)
        })?;
        self.request(&id)
    }

    /// The row of a request that waits.
    pub(super) fn waiting(&self, members: &Members, id: &RequestId) -> Result<RequestRow, EngineError> {
        let row = members.requests.get(id).ok_or_else(|| no_request(id))?;
        let over = match &row.standing {
            RequestStanding::Waiting if (self.settings.now)() < row.document.expires => return Ok(row.clone()),
            RequestStanding::Waiting => "its time is over".to_owned(),
            RequestStanding::Refused { reason, .. } => format!("it was refused: {reason}"),
            RequestStanding::Withdrawn { .. } => "it was withdrawn".to_owned(),
            RequestStanding::Used { entry, .. } => format!("it was used already (trail entry {entry})"),
        };
        Err(EngineError::NotPermitted { what: format!("request `{id}` is good for nothing any more: {over}") })
    }

    pub(super) fn request_view(&self, members: &Members, row: &RequestRow) -> Result<RequestView, EngineError> {
        let counting = self.counting(members, row)?;
        let approvals = row.approvals.iter().map(|approval| ApprovalView {
            person: approval.person.clone(),
            at: approval.at,
            entry: approval.entry,
            counts: counting.contains(approval.person.as_str()),
        });
        Ok(RequestView {
            id: row.id.clone(),
            digest: row.document.digest()?,
            document: row.document.clone(),
            approvals: approvals.collect(),
            standing: row.standing.clone(),
            expired: row.standing == RequestStanding::Waiting && (self.settings.now)() >= row.document.expires,
        })
    }

    /// How many approvals are all that `act` lacks.
    pub(crate) fn approvals_needed(&self, policies: &Policies, act: &Act) -> Option<u32> {
        let mut needed = None;
        for resource in &act.resources {
            let question = self.question(act, resource);
            let number = policies.approvals_needed(&question);
            if number.is_none() && !policies.decide(&question).allow {
                return None;
            }
            needed = needed.max(number);
        }
        needed
    }

    /// The error for an act that lacks approvals.
    pub(crate) fn unapproved(&self, act: &Act, needed: u32) -> EngineError {
        let note = match &self.caller.approval {
            Approval::Use(id) => match self.request(id) {
                Ok(view) if view.document.covers(act, &self.caller.person.id) => {
                    format!("of request `{id}`, {} count so far", view.counted())
                }
                Ok(_) => format!("request `{id}` asks for something else, or somebody else asked"),
                Err(error) => error.to_string(),
            },
            _ => String::new(),
        };
        EngineError::NeedsApproval { action: act.action, subject: act.subject.clone(), needed, note }
    }

    /// The request that the caller brings, if it covers `act`, whose facts then say who approved.
    pub(crate) fn approved(&self, act: &mut Act) -> Result<Option<RequestRow>, EngineError> {
        let Approval::Use(id) = &self.caller.approval else { return Ok(None) };
        let members = self.members_now()?;
        let covers = |row: &&RequestRow| row.document.covers(act, &self.caller.person.id);
        let Some(row) = members.requests.get(id).filter(covers) else { return Ok(None) };
        let row = self.waiting(&members, &row.id)?;
        act.facts.dependants = self.dependants(&row.document.requester)?;
        act.facts.approvals = self.counting(&members, &row)?;
        Ok(Some(row))
    }

    /// Asks others to approve `act`.
    pub(crate) fn ask_for(&self, act: &Act, needed: u32, why: Option<&str>) -> Result<RequestView, EngineError> {
        let members = self.members_now()?;
        let me = &self.caller.person.id;
        let now = (self.settings.now)();
        let open = |row: &&RequestRow| row.standing == RequestStanding::Waiting && now < row.document.expires;
        if let Some(row) = members.requests.values().filter(open).find(|row| row.document.covers(act, me)) {
            return self.request_view(&members, row);
        }
        let mine = members.requests.values().filter(open).filter(|row| row.document.requester.as_str() == me);
        if mine.count() >= WAITING_MAX {
            return Err(EngineError::Usage {
                what: format!("{WAITING_MAX} of your requests wait; withdraw one first"),
            });
        }
        let nonce: [u8; 32] = entropy::bytes(&mut SystemEntropy::new());
        let document = RequestDocument {
            schema: RequestSchema::One,
            vault: self.id().to_string(),
            action: act.action,
            resources: act.resources.clone(),
            subject: act.subject.clone(),
            request: act.request.clone(),
            requester: PersonId::from(me.as_str()),
            nonce: ringfence_schema::digest::hex(&nonce),
            made: now,
            expires: now.plus_millis(REQUEST_LIFE_MS),
            needed,
            says: in_words(act),
            reason: why.map(str::to_owned),
        };
        let bytes = canonical(&document)?.len();
        if bytes > DOCUMENT_BYTES_MAX {
            return Err(EngineError::Usage {
                what: format!("a request of {bytes} bytes, limit is {DOCUMENT_BYTES_MAX}: nobody could read it"),
            });
        }
        let id = RequestId::of(&document.digest()?);
        let row = RequestRow { id: id.clone(), document, approvals: Vec::new(), standing: RequestStanding::Waiting };
        let asking = Act {
            action: Action::Ask,
            resources: vec![Resource::Vault],
            facts: Facts { entitled: true, ..Facts::default() },
            request: json!({"what": "ask", "request": id, "for": act.action}),
            subject: act.subject.clone(),
            reach: Reach::Inside,
        };
        let over = over(&members, now);
        self.acting(Caller { approval: Approval::Refuse, ..self.caller.clone() }).act(asking, || {
            let mut effect = Effect::of(());
            effect.openings.insert(ASKED.to_owned(), json!(row.document));
            effect.requests.push(RequestChange { before: None, after: Some(row) });
            effect.requests.extend(over.into_iter().map(|row| RequestChange { before: Some(row), after: None }));
            Ok(effect)
        })?;
        self.request(&id)
    }

    /// Marks the request as used and records the intent of `act`, in one transaction.
    pub(crate) fn use_up(&self, row: &RequestRow, act: &Act, fields: Fields<'_>) -> Result<u64, EngineError> {
        let using = Act {
            action: Action::Ask,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "use", "request": row.id, "for": act.action}),
            subject: act.subject.clone(),
            reach: Reach::Inside,
        };
        let told = [("subject".to_owned(), json!(using.subject)), ("request".to_owned(), using.request.clone())].into();
        let opening = self.draft(EntryKind::Intent, &using, None, Fields::of(&told)?)?;
        // Which intent it closes is known once that has its place.
        let mut closing = self.draft(EntryKind::Outcome, &using, Some((PENDING, Outcome::Done)), Fields::of(&told)?)?;
        let intent = self.draft(EntryKind::Intent, act, None, fields)?;
        let at = (self.settings.now)();
        let index = self.catalog.commit(|tx: &mut Tx<'_>| -> Result<u64, Failure> {
            let first = tx.append(opening.draft, opening.openings.as_deref(), Vec::new())?;
            // The use is two entries; the intent that it is for comes right behind them.
            let entry = first + 2;
            let after = RequestRow { standing: RequestStanding::Used { at, entry }, ..row.clone() };
            let change = RequestChange { before: Some(row.clone()), after: Some(after) };
            let changed = self.changed_request(tx, change, first + 1)?;
            closing.draft.of = Some(first);
            tx.append(closing.draft, closing.openings.as_deref(), vec![changed])?;
            Ok(tx.append(intent.draft, intent.openings.as_deref(), Vec::new())?)
        });
        self.team.forget();
        index.map_err(Failure::into_engine)
    }

    /// The row change, once what stands there is what the change was made from.
    pub(crate) fn changed_request(&self, tx: &Tx<'_>, change: RequestChange, index: u64) -> Result<RowChange, Failure> {
        let RequestChange { before, after } = change;
        let id = before.as_ref().or(after.as_ref()).map(|row| row.id.clone());
        let name = id.map(|id| request_name(&id)).unwrap_or_default();
        let key = self.row_key(&name);
        let held = match tx.view().row(Table::Request, &key)? {
            Some(sealed) => {
                let bytes = self.unseal_row(&key, &sealed).map_err(Failure::Engine)?;
                let read = canon::from_canonical::<RequestRow>(&bytes);
                Some(read.map_err(|error| Failure::Engine(EngineError::tampered("request", error)))?)
            }
            None => None,
        };
        if held != before {
            return Err(Failure::Engine(EngineError::Busy {
                what: "somebody else has just answered or used this request",
            }));
        }
        let Some(mut row) = after else { return Ok(RowChange { table: Table::Request, key, value: None }) };
        for approval in row.approvals.iter_mut().filter(|approval| approval.entry == PENDING) {
            approval.entry = index;
        }
        let bytes = canonical(&row).map_err(Failure::Engine)?;
        self.seal_row(Table::Request, &name, &bytes).map_err(Failure::Engine)
    }

    /// The row of a request, read from the catalog itself.
    pub(crate) fn stored_request(&self, id: &RequestId) -> Result<RequestRow, EngineError> {
        let key = self.row_key(&request_name(id));
        let sealed = self
            .catalog
            .read(|view| view.row(Table::Request, &key))
            .map_err(|error: CatalogError| catalog_error(&error))?
            .ok_or_else(|| no_request(id))?;
        canon::from_canonical(&self.unseal_row(&key, &sealed)?).map_err(|error| EngineError::tampered("request", error))
    }

    /// Ids of those whose approval counts now.
    fn counting(&self, members: &Members, row: &RequestRow) -> Result<BTreeSet<String>, EngineError> {
        let mut counting = BTreeSet::new();
        for approval in &row.approvals {
            let Some(person) = members.people.get(&approval.person) else { continue };
            let login = approval.login.unwrap_or(LoginStrength::Passkey);
            if Factors::held_by(person).hold(&approval.credential) && self.may_approve(person, row, login)?.allow {
                counting.insert(approval.person.to_string());
            }
        }
        Ok(counting)
    }
}

/// Requests that have been over for longest, as many as are too many.
fn over(members: &Members, now: Timestamp) -> Vec<RequestRow> {
    let ended = |row: &&RequestRow| row.standing != RequestStanding::Waiting || now >= row.document.expires;
    let mut over: Vec<&RequestRow> = members.requests.values().filter(ended).collect();
    over.sort_by_key(|row| row.document.made);
    let many = over.len().saturating_sub(OVER_MAX);
    over.into_iter().take(many).cloned().collect()
}

/// What is asked for, in plain words.
fn in_words(act: &Act) -> String {
    let Act { action, subject, request, .. } = act;
    let subject = printable(subject, 200);
    let mut says = match action {
        Action::Export => format!("take the bytes of {subject} out of the vault"),
        Action::Restore => format!("make an earlier version current again, as {subject}"),
        Action::Destroy => format!("destroy the keys of {subject}, so that nobody can read it again"),
        Action::Configure => format!("change the vault's policy: {subject}"),
        Action::Release => format!("release {subject}"),
        other => format!("`{other}` {subject}"),
    };
    if let Some(tree) = request.get("tree").and_then(Value::as_str) {
        says.push_str(&format!(" ({})", printable(tree, 80)));
    }
    if let Some(more) = request.get("says").and_then(Value::as_str) {
        says.push('\n');
        says.push_str(more);
    }
    says
}

/// A reason as it is recorded: one line, not empty.
pub(crate) fn reason(typed: &str) -> Result<String, EngineError> {
    let reason: String = typed.trim().chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
    if reason.is_empty() { Err(EngineError::Usage { what: "say why".to_owned() }) } else { Ok(reason) }
}

pub(crate) fn request_name(id: &RequestId) -> String {
    format!("request/{id}")
}

pub(super) fn no_request(id: &RequestId) -> EngineError {
    EngineError::NotFound { what: "request", name: printable(&id.to_string(), 40) }
}

//! The one door to every effect: decide → record the intent, durably → do → record the outcome.
//!
//! [`Vault::act`] is private to the crate and every public method passes through it. The intent commits to request,
//! evidence, policy and entities; the outcome, the rows that it changes, new keys and blobs are one catalog transaction.
//! So after a crash an intent without an outcome changed nothing inside the vault: the next start closes it as
//! `abandoned`, or as `unknown` where the effect lay outside.

use std::{collections::BTreeMap, net::IpAddr};

use ringfence_access::{Action, Decision, Facts, Policies, Request, Resource, factors};
use ringfence_catalog::{Catalog, CatalogError, Draft, Record, RowChange, StoredEntry, Table, Tx};
use ringfence_schema::{
    Digest, Timestamp, canon,
    digest::hex,
    trail::{EntryKind, Opening, Outcome, Salted},
};
use ringfence_store::{Live, Sealed};
use ringfence_trust::{
    VaultId,
    entropy::{Entropy as _, SystemEntropy},
    ident,
    keys::{KeyId, Purpose, WrappedKey},
    root::TrustRoot,
    seal,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    bundle::{DECIDED, Decided, canonical},
    destroy::Shredding,
    error::EngineError,
    fields::{Fields, unwritten},
    record::Version,
    team::{
        Approval, Caller,
        request::{RequestChange, RequestRow},
    },
    vault::{Vault, catalog_error, store_error},
};

/// What is about to be done.
pub(crate) struct Act {
    /// Which action.
    pub(crate) action: Action,
    /// With what; every one of them must be allowed.
    pub(crate) resources: Vec<Resource>,
    /// On which facts.
    pub(crate) facts: Facts,
    /// The request in full, for the record.
    pub(crate) request: Value,
    /// What people call the subject.
    pub(crate) subject: String,
    /// Whether something outside the vault changes, which nobody can undo or see after a crash.
    pub(crate) reach: Reach,
}

/// Where an effect lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// In the vault alone.
    Inside,
    /// In files outside.
    Outside,
}

/// What came of it, to be committed with the outcome.
pub(crate) struct Effect<T> {
    /// What the caller wants back.
    pub(crate) value: T,
    /// Versions of artifacts that the store just sealed; their keys are committed too.
    pub(crate) sealed: Vec<Sealed>,
    /// Sealed on commit and stored under kind and id.
    pub(crate) blobs: Vec<Blob>,
    /// Committed to by the outcome, by name.
    pub(crate) openings: BTreeMap<String, Value>,
    /// Rows to write, once the outcome's index is known.
    pub(crate) versions: Vec<Version>,
    /// Keys of version rows to remove.
    pub(crate) removed: Vec<String>,
    /// Alerts to list and to queue.
    pub(crate) filed: Vec<Filed>,
    /// What happened to queues of sinks.
    pub(crate) moves: Vec<Move>,
    /// Rows of other tables, sealed.
    pub(crate) rows: Vec<RowChange>,
    /// Changes of requests for approval.
    pub(crate) requests: Vec<RequestChange>,
    /// Entries of which only these sealed openings are to be left.
    pub(crate) erased: Vec<(u64, Vec<u8>)>,
    /// Keys that are to be destroyed.
    pub(crate) shredding: Option<Shredding>,
}

impl<T> Effect<T> {
    /// An effect that changes nothing in the vault.
    pub(crate) fn of(value: T) -> Self {
        Self {
            value,
            sealed: Vec::new(),
            blobs: Vec::new(),
            openings: BTreeMap::new(),
            versions: Vec::new(),
            removed: Vec::new(),
            filed: Vec::new(),
            moves: Vec::new(),
            rows: Vec::new(),
            requests: Vec::new(),
            erased: Vec::new(),
            shredding: None,
        }
    }

    /// The same effect with another value.
    pub(crate) fn replace<U>(self, value: U) -> Effect<U> {
        let Self {
            value: _,
            sealed,
            blobs,
            openings,
            versions,
            removed,
            filed,
            moves,
            rows,
            requests,
            erased,
            shredding,
        } = self;
        Effect { value, sealed, blobs, openings, versions, removed, filed, moves, rows, requests, erased, shredding }
    }
}

/// Bytes to keep beside the rows.
pub(crate) struct Blob {
    /// `evidence`, `report`, `run`.
    pub(crate) kind: &'static str,
    /// Names it within its kind; the SHA-256 of the plain bytes in hexadecimal.
    pub(crate) id: String,
    /// The plain bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    /// A blob named by its content.
    pub(crate) fn new(kind: &'static str, bytes: Vec<u8>) -> Self {
        Self { kind, id: Digest::of(&bytes).hex(), bytes }
    }
}

/// Kind, id and sealed bytes of a blob.
type SealedBlob = (&'static str, String, Vec<u8>);

fn put_blobs(tx: &mut Tx<'_>, blobs: &[SealedBlob]) -> Result<(), CatalogError> {
    for (kind, id, bytes) in blobs {
        match tx.put_blob(kind, id, bytes) {
            // Named by content: the same bytes are there already.
            Err(CatalogError::BlobExists { .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

/// An alert to be listed, queued, or both.
pub(crate) struct Filed {
    /// Its opaque key.
    pub(crate) key: Vec<u8>,
    /// Its canonical JSON.
    pub(crate) bytes: Vec<u8>,
    /// Where it stands in the trail.
    pub(crate) place: FiledAt,
    /// The sinks that it is for.
    pub(crate) sinks: Vec<String>,
}

/// Where an alert stands in the trail.
pub(crate) enum FiledAt {
    /// In this act's outcome, under this name.
    Here(String),
    /// In an earlier entry; it is queued again.
    Earlier(u64),
}

/// A change of a sink's queue.
pub(crate) enum Move {
    /// It took everything up to this number.
    Delivered(String, u64),
    /// It failed: nothing is tried before this moment.
    Failed(String, Timestamp, String),
    /// It is given up.
    Forgotten(String),
    /// It refused a record for good at this moment, not often enough yet.
    Refused(String, u64, Timestamp),
    /// It refused a record for good so often that it is set aside; what it said stands beside it, and is sealed.
    SetAside(String, ringfence_catalog::outbox::Aside, String),
    /// What was set aside for it of these entries is queued again.
    TakenBack(String, u64, u64),
}

/// Where an entry says from where its caller came, and with which session or token.
pub(crate) const FROM: &str = "from";

/// What it says there.
#[derive(Serialize)]
struct Whence<'a> {
    address: Option<&'a IpAddr>,
    key: Option<String>,
}

/// An index that is filled in when the outcome is committed.
pub(crate) const PENDING: u64 = u64::MAX;

/// Writes the first entry of a new vault with its keys.
pub(crate) fn genesis(
    catalog: &Catalog,
    id: &VaultId,
    root: &TrustRoot,
    keys: Vec<WrappedKey>,
    now: Timestamp,
) -> Result<(), EngineError> {
    let draft = Draft {
        vault: id.to_string(),
        time: now,
        kind: EntryKind::Genesis,
        action: Action::Init.name().to_owned(),
        actor: "owner".to_owned(),
        of: None,
        outcome: None,
        commits: BTreeMap::from([("root".to_owned(), root.digest())]),
    };
    let rows = vec![RowChange { table: Table::Root, key: b"root".to_vec(), value: Some(root.file().to_vec()) }];
    let written = catalog.commit(|tx| {
        keys.iter().try_for_each(|key| tx.put_key(key))?;
        tx.append(draft, None, rows).map(|_| ())
    });
    written.map_err(|error: CatalogError| catalog_error(&error))
}

/// What is committed with the outcome of an effect that failed: what was seen on the way.
#[derive(Default)]
pub(crate) struct Salvage {
    /// Sealed on commit and stored under kind and id.
    pub(crate) blobs: Vec<Blob>,
    /// Committed to by the outcome, by name.
    pub(crate) openings: BTreeMap<String, Value>,
}

impl Vault<'_> {
    /// Decides, records, does, records. Returns the value and the index of the outcome's entry.
    pub(crate) fn act<T>(
        &self,
        act: Act,
        effect: impl FnOnce() -> Result<Effect<T>, EngineError>,
    ) -> Result<(T, u64), EngineError> {
        self.act_salvaging(act, |_| effect())
    }

    /// The same for an effect that leaves something worth keeping even where it fails.
    pub(crate) fn act_salvaging<T>(
        &self,
        act: Act,
        effect: impl FnOnce(&mut Salvage) -> Result<Effect<T>, EngineError>,
    ) -> Result<(T, u64), EngineError> {
        let (act, decisions, approved) = self.judged(act)?;
        let fields = Fields::of_act(&act, &decisions)?;
        let intent = match approved {
            Some(request) => self.use_up(&request, &act, fields)?,
            None => self.record(EntryKind::Intent, &act, fields)?,
        };
        let mut salvage = Salvage::default();
        let done = match effect(&mut salvage) {
            Ok(effect) => self.commit(&act, intent, effect),
            Err(error) => Err(error),
        };
        match done {
            Ok((value, index)) => {
                self.hold(index)?;
                Ok((value, index))
            }
            Err(error) => {
                // What stopped the effect may stop the record too (a full disk): the next start closes the intent then.
                let _ = self.record_failure(&act, intent, salvage, &error).and_then(|index| self.hold(index));
                Err(error)
            }
        }
    }

    /// Decides before anything is looked up: whoever may not do this learns nothing of what is there, and that they tried
    /// is recorded. The act itself is decided again, on the thing.
    pub(crate) fn may(&self, action: Action, about: Option<&str>, subject: &str) -> Result<(), EngineError> {
        self.may_with(action, Facts { about: about.map(str::to_owned), ..Facts::default() }, subject)
    }

    /// The same for a review of what `requester` did.
    pub(crate) fn may_review(&self, requester: &str, subject: &str) -> Result<(), EngineError> {
        self.may_with(Action::Review, Facts { requester: Some(requester.to_owned()), ..Facts::default() }, subject)
    }

    fn may_with(&self, action: Action, facts: Facts, subject: &str) -> Result<(), EngineError> {
        let act = Act {
            action,
            resources: vec![Resource::Vault],
            facts,
            request: json!({"what": subject}),
            subject: subject.to_owned(),
            reach: Reach::Inside,
        };
        self.judged(act).map(drop)
    }

    /// Whether the caller could do this now. Asking leaves no trace: for what goes on, and was recorded when it began.
    pub(crate) fn would(&self, mut act: Act) -> Result<bool, EngineError> {
        Ok(self.allowed(&mut act)?.is_some())
    }

    /// The decisions on `act`, with what the caller brings filled in, if all of them allow it. Leaves no trace.
    pub(crate) fn allowed(&self, act: &mut Act) -> Result<Option<Vec<Decision>>, EngineError> {
        self.state_caller(act)?;
        if self.caller.scope.as_ref().is_some_and(|scope| !scope.contains(&act.action)) {
            return Ok(None);
        }
        let decisions = self.decide(act, &*self.in_force()?);
        let allowed = !decisions.is_empty() && decisions.iter().all(|decision| decision.allow);
        Ok(allowed.then_some(decisions))
    }

    fn decide(&self, act: &Act, policies: &Policies) -> Vec<Decision> {
        act.resources.iter().map(|resource| policies.decide(&self.question(act, resource))).collect()
    }

    /// Asks the policies, with what the caller brings filled in: also the approvals of a request that is exactly this. What
    /// is refused is recorded, and an error.
    pub(crate) fn judged(&self, mut act: Act) -> Result<(Act, Vec<Decision>, Option<RequestRow>), EngineError> {
        if self.root.epoch() != self.current_root().epoch() {
            // Whoever held it alone does not go on alone once it is shared.
            let what = "the vault's trust root has changed; open it again".to_owned();
            return Err(EngineError::NotPermitted { what });
        }
        self.state_caller(&mut act)?;
        let approved = self.approved(&mut act)?;
        if let Some(scope) = &self.caller.scope
            && !scope.contains(&act.action)
        {
            let says = format!("this token is not good for `{}`", act.action);
            self.deny(act.action, &act.subject, &says)?;
            return Err(EngineError::Refused { gate: act.action.name(), subject: act.subject, reasons: vec![says] });
        }
        let policies = self.in_force()?;
        let decisions = self.decide(&act, &policies);
        if decisions.is_empty() || decisions.iter().any(|decision| !decision.allow) {
            let needed = self.approvals_needed(&policies, &act);
            if let (Some(needed), Approval::Ask(why)) = (needed, &self.caller.approval) {
                let request = self.ask_for(&act, needed, why.as_deref())?;
                return Err(EngineError::Asked { request: Box::new(request) });
            }
            let index = self.record(EntryKind::Denial, &act, Fields::of_act(&act, &decisions)?)?;
            self.hold(index)?;
            return Err(match needed {
                Some(needed) => self.unapproved(&act, needed),
                None => refusal(&act, &decisions),
            });
        }
        Ok((act, decisions, approved))
    }

    /// Fills in what the caller brings: how strongly it logged in, when it proved a second factor, and whether it has
    /// broken the glass.
    fn state_caller(&self, act: &mut Act) -> Result<(), EngineError> {
        let Caller { login, proven, first_enrolment, in_run, .. } = &self.caller;
        act.facts.login = *login;
        act.facts.mfa_age_ms = factors::mfa_age_ms(*proven, (self.settings.now)());
        act.facts.first_enrolment = *first_enrolment;
        act.facts.in_run |= in_run;
        if self.is_shared() {
            // Also reads the rows again where another process has changed them, the policy among them.
            act.facts.break_glass = self.members()?.glass_is_broken(&self.caller.person.id, (self.settings.now)());
        }
        Ok(())
    }

    /// Records that somebody was turned away before any policy was asked.
    pub(crate) fn deny(&self, action: Action, subject: &str, says: &str) -> Result<(), EngineError> {
        let act = Act {
            action,
            resources: Vec::new(),
            facts: Facts::default(),
            request: json!({}),
            subject: subject.to_owned(),
            reach: Reach::Inside,
        };
        let openings = BTreeMap::from([
            ("subject".to_owned(), json!(subject)),
            ("policy".to_owned(), json!({"reasons": [{"says": says}]})),
        ]);
        let index = self.record(EntryKind::Denial, &act, Fields::of(&openings)?)?;
        self.hold(index)
    }

    /// What policies are asked about one resource of `act`.
    pub(crate) fn question(&self, act: &Act, resource: &Resource) -> Request {
        Request {
            principal: self.caller.person.clone(),
            action: act.action,
            resource: resource.clone(),
            vault: self.facts(),
            facts: act.facts.clone(),
        }
    }

    fn record(&self, kind: EntryKind, act: &Act, fields: Fields<'_>) -> Result<u64, EngineError> {
        let record = self.draft(kind, act, None, fields)?;
        self.catalog.record(record).map_err(|error| catalog_error(&error))
    }

    /// An entry with salted commitments to `fields`, and their openings sealed.
    pub(crate) fn draft(
        &self,
        kind: EntryKind,
        act: &Act,
        closes: Option<(u64, Outcome)>,
        mut fields: Fields<'_>,
    ) -> Result<Record, EngineError> {
        let entropy = &mut SystemEntropy::new();
        let mut salted = Salted::default();
        let Caller { key, address, .. } = &self.caller;
        if key.is_some() || address.is_some() {
            fields = fields.and(FROM, &Whence { address: address.as_ref(), key: key.map(|key| key.to_string()) })?;
        }
        // All salts at once: each call of the generator costs more than the bytes.
        let mut salts = vec![[0; 32]; fields.len()];
        entropy.fill(salts.as_flattened_mut());
        for ((name, canonical), salt) in fields.pairs().zip(salts) {
            salted.put(name, salt, canonical);
        }
        let opened = salted.openings().map_err(unwritten)?;
        let sealed = self.seal_openings(&opened)?;
        let draft = Draft {
            vault: self.id().to_string(),
            time: (self.settings.now)(),
            kind,
            action: act.action.name().to_owned(),
            actor: self.caller.person.id.clone(),
            of: closes.map(|(intent, _)| intent),
            outcome: closes.map(|(_, outcome)| outcome),
            commits: salted.commits(),
        };
        Ok(Record { draft, openings: Some(sealed) })
    }

    /// Seals the canonical form of an entry's openings.
    pub(crate) fn seal_openings(&self, opened: &[u8]) -> Result<Vec<u8>, EngineError> {
        seal::seal_blob(&self.keys.detail, &mut SystemEntropy::new(), OPENINGS_CONTEXT, opened)
            .map_err(|error| EngineError::incomplete("trail entry", error))
    }

    fn record_failure(
        &self,
        act: &Act,
        intent: u64,
        salvage: Salvage,
        error: &EngineError,
    ) -> Result<u64, EngineError> {
        let Salvage { blobs, mut openings } = salvage;
        openings.insert("error".to_owned(), json!(error.to_string()));
        let Record { draft, openings } =
            self.draft(EntryKind::Outcome, act, Some((intent, Outcome::Failed)), Fields::of(&openings)?)?;
        let blobs = self.seal_blobs(blobs)?;
        let appended = self.catalog.commit(|tx: &mut Tx<'_>| -> Result<u64, CatalogError> {
            put_blobs(tx, &blobs)?;
            tx.append(draft, openings.as_deref(), Vec::new())
        });
        appended.map_err(|error| catalog_error(&error))
    }

    /// One transaction: keys, blobs, rows, outcome.
    fn commit<T>(&self, act: &Act, intent: u64, effect: Effect<T>) -> Result<(T, u64), EngineError> {
        let Effect { value, sealed, blobs, mut openings, versions, removed, filed, moves, requests, .. } = effect;
        let (others, erased, shredding) = (effect.rows, effect.erased, effect.shredding);
        openings.insert("subject".to_owned(), json!(act.subject));
        if matches!(act.action, Action::Admit | Action::Release) {
            openings.insert(DECIDED.to_owned(), json!(self.decided(act)));
        }
        let entry = self.draft(EntryKind::Outcome, act, Some((intent, Outcome::Done)), Fields::of(&openings)?)?;
        let keys: Vec<WrappedKey> = sealed.iter().flat_map(|sealed| sealed.keys.clone()).collect();
        let relied: Vec<KeyId> = sealed.iter().flat_map(|sealed| sealed.relies_on.iter().copied()).collect();
        let blobs = self.seal_blobs(blobs)?;
        let changes_team = others.iter().any(|row| {
            matches!(row.table, Table::Person | Table::Session | Table::Token | Table::Policy | Table::Emergency)
        });
        let changes_team = changes_team || !requests.is_empty();
        let index = self.catalog.commit(|tx: &mut Tx<'_>| -> Result<u64, Failure> {
            for key in &relied {
                if tx.view().key(*key)?.is_none_or(|key| key.wraps.is_empty()) {
                    return Err(Failure::Engine(EngineError::incomplete(
                        "store",
                        "a pack that this version shares was destroyed",
                    )));
                }
            }
            keys.iter().try_for_each(|key| tx.put_key(key))?;
            put_blobs(tx, &blobs)?;
            if let Some(shredding) = &shredding {
                self.commit_shredding(tx, shredding)?;
            }
            let index = tx.next_index();
            let mut rows = others;
            if !erased.is_empty() {
                rows.push(tx.erase(&erased)?);
            }
            for change in requests {
                rows.push(self.changed_request(tx, change, index)?);
            }
            for version in versions {
                rows.push(self.row(version, index).map_err(Failure::Engine)?);
            }
            for name in &removed {
                rows.push(RowChange { table: Table::Ref, key: self.row_key(name), value: None });
            }
            let index = tx.append(entry.draft, entry.openings.as_deref(), rows)?;
            self.queue(tx, index, &filed, &moves)?;
            Ok(index)
        });
        let index = index.map_err(Failure::into_engine)?;
        for sealed in sealed {
            self.store.adopt(sealed);
        }
        if let Some(shredding) = shredding {
            self.follow_shredding(shredding);
        }
        if changes_team {
            self.team.forget();
        }
        Ok((value, index))
    }

    /// Who was let through a gate, as an offline verifier asks again.
    fn decided(&self, act: &Act) -> Decided {
        let Facts { approvals, dependants, engaged, first_enrolment, in_run, login, mfa_age_ms, requester, .. } =
            act.facts.clone();
        let asker = Facts {
            approvals,
            break_glass: act.facts.break_glass,
            dependants,
            engaged,
            first_enrolment,
            in_run,
            login,
            mfa_age_ms,
            requester,
            ..Facts::default()
        };
        Decided {
            action: act.action,
            asker,
            custody: self.facts().custody,
            person: self.caller.person.clone(),
            subject: act.subject.clone(),
            tree: act.request.get("tree").and_then(Value::as_str).and_then(|tree| tree.parse().ok()),
        }
    }

    /// The sealed row of a version, with the outcome's index filled in.
    fn row(&self, mut version: Version, index: u64) -> Result<RowChange, EngineError> {
        for evidence in version.evidence.iter_mut().filter(|evidence| evidence.index == PENDING) {
            evidence.index = index;
        }
        version.admitted = version.admitted.map(|entry| if entry == PENDING { index } else { entry });
        if let Some(gone) = version.destroyed.as_mut().filter(|gone| gone.entry == PENDING) {
            gone.entry = index;
        }
        self.seal_row(Table::Ref, &version.reference().to_string(), &canonical(&version)?)
    }

    /// A row of `table` under the opaque key for `name`.
    pub(crate) fn seal_row(&self, table: Table, name: &str, bytes: &[u8]) -> Result<RowChange, EngineError> {
        let key = self.row_key(name);
        let sealed = seal::seal_blob(&self.keys.detail, &mut SystemEntropy::new(), &row_context(&key), bytes)
            .map_err(|error| EngineError::incomplete("row", error))?;
        Ok(RowChange { table, key, value: Some(sealed) })
    }

    /// Opens what [`Self::seal_row`] sealed under `key`.
    pub(crate) fn unseal_row(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, EngineError> {
        seal::open_blob(&self.keys.detail, &row_context(key), sealed)
            .map_err(|error| EngineError::tampered(format!("row {}", hex(key)), error))
    }

    /// Opaque key of the row, or of the alert, that people know by `name`.
    pub(crate) fn row_key(&self, name: &str) -> Vec<u8> {
        ident::chunk_id(&self.keys.names, name.as_bytes()).0.as_bytes().to_vec()
    }

    fn seal_blobs(&self, blobs: Vec<Blob>) -> Result<Vec<SealedBlob>, EngineError> {
        let seal = |blob: Blob| Ok((blob.kind, blob.id.clone(), self.seal_blob(blob.kind, &blob.id, &blob.bytes)?));
        blobs.into_iter().map(seal).collect()
    }

    fn seal_blob(&self, kind: &str, id: &str, bytes: &[u8]) -> Result<Vec<u8>, EngineError> {
        let context: [&[u8]; 3] = [b"ringfence.blob/1", kind.as_bytes(), id.as_bytes()];
        seal::seal_blob(&self.keys.detail, &mut SystemEntropy::new(), &context, bytes)
            .map_err(|error| EngineError::incomplete(kind, error))
    }

    /// A blob's plain bytes, which must be what their name says.
    pub(crate) fn blob(&self, kind: &str, digest: Digest) -> Result<Vec<u8>, EngineError> {
        let id = digest.hex();
        let sealed = self
            .catalog
            .read(|view| view.blob(kind, &id))
            .map_err(|error: CatalogError| catalog_error(&error))?
            .ok_or_else(|| EngineError::tampered(format!("{kind} {id}"), "it is missing from the catalog"))?;
        let context: [&[u8]; 3] = [b"ringfence.blob/1", kind.as_bytes(), id.as_bytes()];
        let bytes = seal::open_blob(&self.keys.detail, &context, &sealed)
            .map_err(|error| EngineError::tampered(format!("{kind} {id}"), error))?;
        if Digest::of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(EngineError::tampered(format!("{kind} {id}"), "its content is not what its name says"))
        }
    }

    pub(crate) fn open_version(&self, key: &[u8], sealed: &[u8]) -> Result<Version, EngineError> {
        let tampered = |detail: String| EngineError::tampered(format!("row ref/{}", hex(key)), detail);
        let bytes = seal::open_blob(&self.keys.detail, &row_context(key), sealed)
            .map_err(|error| tampered(error.to_string()))?;
        let version: Version = canon::from_canonical(&bytes).map_err(|error| tampered(error.to_string()))?;
        if self.row_key(&version.reference().to_string()) == key {
            Ok(version)
        } else {
            Err(tampered(format!("it stands where `{}` does not belong", version.reference())))
        }
    }

    /// The openings of an entry's commitments, which must fit them.
    pub(crate) fn openings(&self, index: u64) -> Result<BTreeMap<String, Opening>, EngineError> {
        let stored = self
            .catalog
            .entry(index)
            .map_err(|error| catalog_error(&error))?
            .ok_or(EngineError::NotFound { what: "trail entry", name: index.to_string() })?;
        self.opened(&stored)
    }

    /// The openings beside an entry that was read.
    pub(crate) fn opened(&self, stored: &StoredEntry) -> Result<BTreeMap<String, Opening>, EngineError> {
        let what = || format!("trail entry {}", stored.index);
        let Some(sealed) = &stored.openings else { return Ok(BTreeMap::new()) };
        let bytes = seal::open_blob(&self.keys.detail, OPENINGS_CONTEXT, sealed)
            .map_err(|error| EngineError::tampered(what(), error))?;
        let openings: BTreeMap<String, Opening> =
            canon::from_canonical(&bytes).map_err(|error| EngineError::tampered(what(), error))?;
        for (name, opening) in &openings {
            if opening.commitment().ok().as_ref() != stored.entry.commits.get(name) {
                return Err(EngineError::tampered(what(), format!("`{name}` is not what it commits to")));
            }
        }
        Ok(openings)
    }

    /// Puts right what a crash left. Called while no other process has the vault open.
    pub(crate) fn recover(&self) -> Result<(), EngineError> {
        ringfence_sandbox::sweep_stale().map_err(EngineError::io("folders of killed runs"))?;
        // First what only takes room: on a full disk there is none to record anything otherwise.
        self.sweep()?;
        // A crash may have come between the destruction of keys and that of old pages which hold them. Where that cannot be
        // now (a full disk), the next commit that destroys or the next start does it.
        let _ = self.catalog.scrub();
        for open in self.catalog.open_intents().map_err(|error| catalog_error(&error))? {
            let openings = self.openings(open.index)?;
            let outside = openings.get("reach").is_some_and(|opening| opening.value == json!("outside"));
            let outcome = if outside { Outcome::Unknown } else { Outcome::Abandoned };
            let draft = Draft {
                vault: self.id().to_string(),
                time: (self.settings.now)(),
                kind: EntryKind::Outcome,
                action: open.entry.action.clone(),
                actor: self.caller.person.id.clone(),
                of: Some(open.index),
                outcome: Some(outcome),
                commits: BTreeMap::new(),
            };
            let appended = self.catalog.commit(|tx| tx.append(draft, None, Vec::new()));
            appended.map_err(|error: CatalogError| catalog_error(&error))?;
            let subject = openings.get("subject").and_then(|opening| opening.value.as_str()).unwrap_or("?");
            let word = if outside { "its effect outside is unknown" } else { "nothing was changed" };
            self.settings.progress.note(&format!(
                "an earlier `{}` of {subject} was interrupted; {word} (trail entry {})",
                open.entry.action, open.index
            ));
        }
        self.hold_newest()
    }

    /// Removes stored files that no row names, and destroys the keys of packs that nothing needs.
    fn sweep(&self) -> Result<(), EngineError> {
        let versions = self.versions()?;
        let mut manifests = Vec::new();
        // What a person refused for good, or what was destroyed, keeps its row and loses its bytes.
        for version in versions.iter().filter(|version| version.has_bytes()) {
            manifests.push(version.manifest_id()?);
        }
        let ledger = self.catalog.read(|view| view.keys()).map_err(|error: CatalogError| catalog_error(&error))?;
        let packs = ledger
            .iter()
            .filter(|key| matches!(key.purpose, Purpose::Pack(..)) && !key.wraps.is_empty())
            .map(|key| key.id)
            .collect();
        let swept = self.store.sweep(|| Ok(Live { manifests, packs })).map_err(|error| store_error(&error))?;
        if swept.unreferenced.is_empty() {
            return Ok(());
        }
        // What waited in quarantine and was refused or let in: its plaintext is gone for good with its key.
        let destroyed = self.catalog.commit(|tx| swept.unreferenced.iter().try_for_each(|key| tx.destroy_key(*key)));
        destroyed.map_err(|error: CatalogError| catalog_error(&error))?;
        self.store.forget(&swept.unreferenced).map_err(|error| store_error(&error))
    }
}

/// What a sealed row is bound to: its own opaque key.
fn row_context(key: &[u8]) -> [&[u8]; 2] {
    [b"ringfence.row/1", key]
}

/// What sealed openings are bound to; the leaf names their ciphertext, which binds them to their entry.
const OPENINGS_CONTEXT: &[&[u8]] = &[b"ringfence.openings/1"];

fn refusal(act: &Act, decisions: &[Decision]) -> EngineError {
    let against = decisions.iter().filter(|decision| !decision.allow).flat_map(|decision| &decision.reasons);
    let mut reasons: Vec<String> = against
        .map(|reason| {
            if reason.detail.is_empty() {
                reason.says.clone()
            } else {
                format!("{} ({})", reason.says, reason.detail.join("; "))
            }
        })
        .collect();
    reasons.dedup();
    EngineError::Refused { gate: act.action.name(), subject: act.subject.clone(), reasons }
}

/// A catalog error, or one of ours on the way through the catalog's transaction.
pub(crate) enum Failure {
    Catalog(CatalogError),
    Engine(EngineError),
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl Failure {
    pub(crate) fn into_engine(self) -> EngineError {
        match self {
            Self::Catalog(error) => catalog_error(&error),
            Self::Engine(error) => error,
        }
    }
}

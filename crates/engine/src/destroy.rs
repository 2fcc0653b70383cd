//! Destroying versions: their keys go, so that nobody can read them again, and the rows stay to say so.
//!
//! [`Vault::destruction`] says what it would take, [`Vault::destroy`] does it: every pack that holds something which no
//! other version needs loses its key, and what others share is sealed again before. One transaction destroys the keys,
//! marks the rows and records the outcome, so a crash leaves all of it or none. Where several people share the vault, the
//! policy wants the approval of two others; like everything else that needs them it is asked for by [`Vault::ask`].
//!
//! What must stay true: no other process has the vault open meanwhile, because it would go on with keys that it had
//! unwrapped; a version whose every byte is in another one too is not called destroyed; a destroyed version says so
//! ([`EngineError::Destroyed`]) wherever its bytes are asked for, and its number is never given again.
//! Absent on purpose: what was said of it. Evidence, reports and the trail stay; so does what was made of it.

use std::{collections::BTreeSet, thread, time::Duration};

use ringfence_access::{Action, Facts, Resource};
use ringfence_catalog::{CatalogError, LedgerKey, Table, Tx};
use ringfence_schema::{
    Digest, Severity, Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
    canon,
    report::Check,
};
use ringfence_store::{Live, ManifestId, Shred};
use ringfence_trust::{
    entropy::SystemEntropy,
    keys::{KeyId, Purpose},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    act::{Act, Blob, Effect, Failure, PENDING, Reach},
    admit::resource,
    bundle::canonical,
    error::EngineError,
    record::{Destruction, Version},
    team::request::reason,
    vault::{Vault, catalog_error, store_error},
};

/// Most versions that are destroyed at once.
pub const VERSIONS_MAX: usize = 64;
/// The rule that its alert names.
pub const DESTROYED_RULE: &str = "RF-TEAM-002";
/// Kind of the blob that lists the keys which are gone.
const KEYS_BLOB: &str = "destroyed";
/// How often the ledger's write-ahead log is tried to be emptied, and how long is waited between, in milliseconds.
const SCRUBS_MAX: u32 = 40;
const SCRUB_WAIT_MS: u64 = 50;

/// That rule, as `ringfence show` tells of it.
pub(crate) const DESTROYED: crate::RuleText = crate::RuleText {
    id: DESTROYED_RULE,
    title: "something was destroyed for good",
    why: "nobody can take it back; whoever wants to hide or to hurt destroys what others need",
    remedy: "see in the trail who asked, who approved and why; if nobody meant it, shut those accounts out and restore a copy from elsewhere",
};

/// What destroying some versions would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestructionPlan {
    /// `kind/name@version` of each, in order.
    pub versions: Vec<String>,
    /// Their bytes, before deduplication.
    pub bytes: u64,
    /// Other versions that have some of these bytes, which therefore stay readable.
    pub shared: Vec<SharedBytes>,
}

/// Another version that has bytes of one that is to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedBytes {
    /// The one that is to be destroyed.
    pub of: String,
    /// The other.
    pub with: String,
    /// How many bytes both have.
    pub bytes: u64,
}

/// What was destroyed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destroyed {
    /// The rows as they are now.
    pub versions: Vec<Version>,
    /// How many keys of packs are gone.
    pub keys: u64,
    /// Bytes that other versions share and that were sealed again.
    pub resealed_bytes: u64,
    /// The trail's entry.
    pub entry: u64,
    /// Whether the ledger's write-ahead log is empty too; where a reader was in the way, the next commit or start does it.
    pub scrubbed: bool,
}

/// A plan of the store on its way into the catalog's transaction.
pub(crate) struct Shredding {
    pub(crate) shred: Shred,
    /// Every manifest that was live when it was planned, those of the versions that go included.
    known: BTreeSet<String>,
    /// Those that nothing names afterwards.
    gone: Vec<ManifestId>,
}

impl Version {
    /// # Errors
    /// [`EngineError::Destroyed`] where its keys are gone.
    pub(crate) fn still_there(&self) -> Result<(), EngineError> {
        match &self.destroyed {
            None => Ok(()),
            Some(gone) => Err(EngineError::Destroyed {
                what: self.reference().to_string(),
                at: gone.at,
                by: gone.by.clone(),
                reason: gone.reason.clone(),
            }),
        }
    }
}

impl Vault<'_> {
    /// What destroying `versions` would take. Reads the manifests of the whole vault.
    ///
    /// # Errors
    /// [`EngineError::Usage`] where a version's every byte is in another one that is not named: destroying it would
    /// destroy nothing; [`EngineError::Destroyed`].
    pub fn destruction(&self, versions: &[Version]) -> Result<DestructionPlan, EngineError> {
        let named: BTreeSet<String> = versions.iter().map(|version| version.reference().to_string()).collect();
        if named.is_empty() || named.len() > VERSIONS_MAX {
            return Err(EngineError::Usage { what: format!("name 1 to {VERSIONS_MAX} versions") });
        }
        let all = self.versions()?;
        let mut others = Vec::new();
        for other in all.iter().filter(|other| other.has_bytes() && !named.contains(&other.reference().to_string())) {
            others.push((other.reference().to_string(), self.manifest(other)?));
        }
        let mut plan = DestructionPlan { versions: named.iter().cloned().collect(), bytes: 0, shared: Vec::new() };
        for version in all.iter().filter(|version| named.contains(&version.reference().to_string())) {
            let of = version.reference().to_string();
            version.still_there()?;
            if version.refused.is_some() {
                let what = format!("`{of}` was refused for good: its bytes go with the next start as it is");
                return Err(EngineError::Usage { what });
            }
            let manifest = self.manifest(version)?;
            let bytes = manifest.tree().size();
            plan.bytes += bytes;
            for (with, other) in &others {
                let same = other.tree().digest() == manifest.tree().digest();
                let shared = if same { bytes } else { manifest.bytes_shared_with(other) };
                if same || (shared == bytes && bytes > 0) {
                    let what = format!(
                        "every byte of `{of}` is in `{with}` too, so nothing would be destroyed; name both, or neither"
                    );
                    return Err(EngineError::Usage { what });
                }
                if shared > 0 {
                    plan.shared.push(SharedBytes { of: of.clone(), with: with.clone(), bytes: shared });
                }
            }
        }
        Ok(plan)
    }

    /// Destroys versions for good. Whatever else no version needs any more goes with them.
    ///
    /// # Errors
    /// Those of [`Self::destruction`]; [`EngineError::NeedsApproval`] where several people share the vault;
    /// [`EngineError::Busy`] while another process has it open, or where something that needs the same packs was stored
    /// meanwhile; [`EngineError::Tampered`] for a manifest or pack that cannot be read: nobody knows then what needs it.
    pub fn destroy(&self, versions: &[Version], why: &str) -> Result<Destroyed, EngineError> {
        let reason = reason(why)?;
        let mut wanted: Vec<Version> = Vec::new();
        for version in versions {
            // As it stands now, not as it was shown.
            let version = self.find(&version.reference())?;
            version.still_there()?;
            if !wanted.iter().any(|other| other.reference() == version.reference()) {
                wanted.push(version);
            }
        }
        wanted.sort_by(|a, b| (&a.artifact, a.version).cmp(&(&b.artifact, b.version)));
        self.look(&format!("what destroying {} would take", listed(&wanted)))?;
        let plan = self.destruction(&wanted)?;
        let _alone = self.exclusive()?;
        let (mut done, index) = self.act(destruction_of(&wanted, &reason), || {
            let at = (self.settings.now)();
            let shredding = self.plan_shredding(&wanted)?;
            let keys = canonical(&shredding.shred.doomed)?;
            let mut effect = Effect::of(());
            let (by, listed) = (self.caller.person.id.clone(), Digest::of(&keys));
            let destroyed = Destruction { by, at, reason: reason.clone(), entry: PENDING, keys: listed };
            effect.versions.extend(wanted.iter().cloned().map(|version| Version {
                destroyed: Some(destroyed.clone()),
                labels: Vec::new(),
                ..version
            }));
            let count = shredding.shred.doomed.len() as u64;
            let trees: Vec<Digest> = wanted.iter().map(|version| version.tree).collect();
            effect.openings.insert(
                "result".to_owned(),
                json!({"keys": count, "listed": destroyed.keys, "shared": plan.shared.len(), "trees": trees}),
            );
            effect.blobs.push(Blob::new(KEYS_BLOB, keys));
            if self.is_shared() {
                self.file_with(&mut effect, &alert(&wanted, &destroyed))?;
            }
            let resealed_bytes = shredding.shred.resealed_bytes;
            let versions = effect.versions.clone();
            effect.shredding = Some(shredding);
            Ok(effect.replace(Destroyed { versions, keys: count, resealed_bytes, entry: PENDING, scrubbed: false }))
        })?;
        done.entry = index;
        for gone in done.versions.iter_mut().filter_map(|version| version.destroyed.as_mut()) {
            gone.entry = index;
        }
        for version in &wanted {
            self.end_downloads_of(&version.reference());
        }
        done.scrubbed = self.scrub()?;
        if self.is_shared() {
            self.desk.wake();
        }
        Ok(done)
    }

    /// Plans over all that is live without `wanted`.
    fn plan_shredding(&self, wanted: &[Version]) -> Result<Shredding, EngineError> {
        let leaving: BTreeSet<&str> = wanted.iter().map(|version| version.manifest.as_str()).collect();
        let versions = self.versions()?;
        let mut manifests = Vec::new();
        for version in versions.iter().filter(|version| version.has_bytes()) {
            if !leaving.contains(version.manifest.as_str()) {
                manifests.push(version.manifest_id()?);
            }
        }
        let live = manifests.clone();
        let shred = self
            .store
            .shred(SystemEntropy::new(), || {
                let ledger: Result<Vec<LedgerKey>, CatalogError> = self.catalog.read(|view| view.keys());
                let ledger = ledger?;
                let packs =
                    ledger.iter().filter(|key| matches!(key.purpose, Purpose::Pack(..)) && !key.wraps.is_empty());
                Ok(Live { manifests, packs: packs.map(|key| key.id).collect() })
            })
            .map_err(|error| match error {
                ringfence_store::StoreError::Busy => {
                    EngineError::Busy { what: "something else is being stored in this vault" }
                }
                error => store_error(&error),
            })?;
        // What they were before they were let in lies beside them until the next start; it names files and digests.
        let mut gone = Vec::new();
        for version in wanted {
            let mut next = Some(version.manifest_id()?);
            while let Some(id) = next.filter(|id| !live.contains(id) && !gone.contains(id)) {
                gone.push(id);
                next = self.store.manifest(id).ok().and_then(|manifest| manifest.parent());
            }
        }
        let known = versions.iter().map(|version| version.manifest.clone()).collect();
        Ok(Shredding { shred, known, gone })
    }

    /// Within the outcome's transaction: keys of new packs come, those of old ones go.
    pub(crate) fn commit_shredding(&self, tx: &mut Tx<'_>, shredding: &Shredding) -> Result<(), Failure> {
        let Shredding { shred, known, .. } = shredding;
        for row in tx.view().rows(Table::Ref)? {
            let version = self.open_version(&row.key, &row.value).map_err(Failure::Engine)?;
            if version.has_bytes() && !known.contains(&version.manifest) {
                let id = version.manifest_id().map_err(Failure::Engine)?;
                if self.store.takes_from(shred, id).map_err(|error| Failure::Engine(store_error(&error)))? {
                    let what = "something that shares bytes with it was stored meanwhile";
                    return Err(Failure::Engine(EngineError::Busy { what }));
                }
            }
        }
        shred.keys.iter().try_for_each(|key| tx.put_key(key))?;
        shred.doomed.iter().try_for_each(|key| tx.destroy_key(*key))?;
        Ok(())
    }

    /// After that transaction: memory and files follow. What cannot be removed is garbage, and the next start removes it.
    pub(crate) fn follow_shredding(&self, shredding: Shredding) {
        let Shredding { shred, gone, .. } = shredding;
        if let Err(error) = self.store.shredded(shred, &gone) {
            self.settings
                .progress
                .note(&format!("the keys are destroyed; files of theirs stay until the next start: {error}"));
        }
    }

    /// Empties the ledger's write-ahead log, in which old pages may hold keys that were destroyed; whether that came about.
    fn scrub(&self) -> Result<bool, EngineError> {
        for _ in 0..SCRUBS_MAX {
            if self.catalog.scrub().map_err(|error| catalog_error(&error))? {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(SCRUB_WAIT_MS));
        }
        Ok(false)
    }

    /// That the keys of a destroyed version are gone, and stay gone: a row of the ledger that came back would be tampering.
    pub(crate) fn check_destroyed(&self, version: &Version, gone: &Destruction) -> Check {
        let name = version.reference().to_string();
        let came_back = || -> Result<Option<KeyId>, EngineError> {
            let listed = self.blob(KEYS_BLOB, gone.keys)?;
            let keys: Vec<KeyId> =
                canon::from_canonical(&listed).map_err(|error| EngineError::tampered(&name, error))?;
            let found = self.catalog.read(|view| -> Result<Option<KeyId>, CatalogError> {
                for key in keys {
                    if view.key(key)?.is_none_or(|row| !row.wraps.is_empty()) {
                        return Ok(Some(key));
                    }
                }
                Ok(None)
            });
            found.map_err(|error| catalog_error(&error))
        };
        let (passed, detail) = match came_back() {
            Ok(None) => (true, format!("destroyed {} by {}: {}; its keys are gone", gone.at, gone.by, gone.reason)),
            Ok(Some(key)) => (false, format!("it was destroyed, and the ledger does not say so of its key `{key}`")),
            Err(error) => (false, error.to_string()),
        };
        Check { name, passed, detail }
    }
}

/// The act, as policies, approvers and the trail see it.
fn destruction_of(wanted: &[Version], reason: &str) -> Act {
    let mut resources: Vec<Resource> = Vec::new();
    for version in wanted {
        let resource = resource(version);
        if !resources.contains(&resource) {
            resources.push(resource);
        }
    }
    let versions: Vec<_> = wanted
        .iter()
        .map(|version| json!({"reference": version.reference().to_string(), "tree": version.tree}))
        .collect();
    let trees: Vec<String> = wanted
        .iter()
        .map(|version| format!("{}: {}, {} bytes", version.reference(), version.tree, version.bytes))
        .collect();
    Act {
        action: Action::Destroy,
        resources,
        facts: Facts::default(),
        request: json!({"versions": versions, "reason": reason, "says": trees.join("\n")}),
        subject: listed(wanted),
        reach: Reach::Inside,
    }
}

fn listed(versions: &[Version]) -> String {
    versions.iter().map(|version| version.reference().to_string()).collect::<Vec<_>>().join(", ")
}

/// The alert that goes out with it where several people share the vault.
fn alert(wanted: &[Version], gone: &Destruction) -> Alert {
    let crate::RuleText { why, remedy, .. } = DESTROYED;
    let what = listed(wanted);
    let name = wanted.first().map_or_else(String::new, |version| version.reference().to_string());
    let subject = Subject { kind: SubjectKind::Artifact, name };
    let since: Timestamp = gone.at;
    Alert {
        id: Alert::identify(DESTROYED_RULE, &subject, &what, since),
        rule: DESTROYED_RULE.to_owned(),
        kind: "destroyed".to_owned(),
        severity: Severity::High,
        subject,
        signal: "destroy".to_owned(),
        basis: Basis::Observed,
        expected: "what is stored stays readable for those who may read it".to_owned(),
        seen: format!("the keys of {what} were destroyed: {}", gone.reason),
        since,
        at: since,
        confidence: 1.0,
        message: format!("{what} was destroyed for good: {}", gone.reason),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    }
}

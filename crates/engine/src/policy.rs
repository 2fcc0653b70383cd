//! The policy of a vault in several hands: a document that two other people approve, kept in every version.
//!
//! A vault in one person's hands takes its policy from `policy.toml` in that person's configuration. When the vault becomes
//! a shared one, that document goes on as its first version; from then on what lies in anybody's configuration does not
//! count, and [`Vault::set_policy`] is the only way. A document is read strictly, passes its own tests and is shown as the
//! difference that it makes before anybody is asked. It is signed as all rows are: its digest is in the entry that changes
//! it, and checkpoints sign the entry. It holds for everybody from then on, in other processes within
//! [`crate::team::FRESH_MS`].

use ringfence_access::{Action, Facts, Policies, PolicyDiff, Resource, VaultPolicy};
use ringfence_catalog::{CatalogError, RowChange, Table};
use ringfence_schema::{Digest, Timestamp, canon};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    act::{Act, Effect, Reach},
    bundle::canonical,
    error::EngineError,
    team::{Approval, PersonId, RequestId, desk::locked},
    vault::{Vault, builtin_policies, catalog_error, policy_file},
};

/// Most failing tests that one error names.
const FAILING_SHOWN_MAX: usize = 8;
/// Differences that are kept in memory.
const DIFFS_HELD_MAX: usize = 8;
/// Name of the row that holds the policy in force.
const CURRENT: &str = "policy/current";

/// A version of the policy, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyRow {
    pub(crate) version: u64,
    pub(crate) text: String,
    pub(crate) at: Timestamp,
    pub(crate) by: PersonId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<RequestId>,
}

/// A version of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyVersion {
    /// Counted from 1.
    pub version: u64,
    /// SHA-256 of its document.
    pub sha256: Digest,
    /// Since when it holds, or held.
    pub at: Timestamp,
    /// Who put it into force.
    pub by: PersonId,
    /// The request that others approved; none for the document that the vault had when it became a shared one.
    pub request: Option<RequestId>,
    /// It is the one in force.
    pub current: bool,
}

/// A document that could become the policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyDraft {
    /// The version that it would be.
    pub version: u64,
    /// SHA-256 of the document.
    pub sha256: Digest,
    /// What it changes.
    pub diff: PolicyDiff,
    /// Tests of its own that it does not pass: number and answer.
    pub failing: Vec<(usize, String)>,
    /// How many tests it has.
    pub tests: usize,
}

impl Vault<'_> {
    /// What `text` would change as the vault's policy. Asks some hundred thousand questions: seconds.
    ///
    /// # Errors
    /// [`EngineError::Usage`] where it is no policy document, with the place.
    pub fn draft_policy(&self, text: &str) -> Result<PolicyDraft, EngineError> {
        let (policy, policies) = read(text)?;
        let current = self.current_policy()?;
        let custody = self.facts().custody;
        Ok(PolicyDraft {
            version: current.map_or(0, |row| row.version) + 1,
            sha256: Digest::of(text.as_bytes()),
            diff: self.difference(&policies),
            failing: policies.failing(&policy.tests, custody),
            tests: policy.tests.len(),
        })
    }

    fn difference(&self, new: &Policies) -> PolicyDiff {
        let old = self.vault_policies();
        let pair = (old.digest(), new.digest(), self.facts().custody);
        let found = locked(&self.team.diffs).iter().find(|(known, _)| *known == pair).map(|(_, diff)| diff.clone());
        found.unwrap_or_else(|| {
            let diff = old.diff(new, self.facts().custody);
            let mut held = locked(&self.team.diffs);
            held.insert(0, (pair, diff.clone()));
            held.truncate(DIFFS_HELD_MAX);
            diff
        })
    }

    /// Makes `text` the vault's policy, at once and for everybody. Two other people have to approve it: ask them with
    /// [`Vault::ask`], and repeat the call with [`Vault::with_approval`]. What they approve is the text, the version that
    /// it becomes, and the difference to the one before; if another version came in between, they are asked again.
    ///
    /// # Errors
    /// [`EngineError::Usage`] in a vault in one person's hands, and for a document that is none, changes nothing or fails
    /// its own tests; [`EngineError::NeedsApproval`].
    pub fn set_policy(&self, text: &str) -> Result<PolicyVersion, EngineError> {
        let usage = |what: String| EngineError::Usage { what };
        if !self.is_shared() {
            return Err(usage(
                "the policy of a vault in one person's hands is `policy.toml` in the configuration folder".into(),
            ));
        }
        self.members_now()?;
        let draft = self.draft_policy(text)?;
        if !draft.failing.is_empty() {
            let shown = draft.failing.iter().take(FAILING_SHOWN_MAX);
            let said: Vec<String> = shown.map(|(number, answer)| format!("test {number}: {answer}")).collect();
            return Err(usage(format!(
                "the document fails {} of its own tests\n{}",
                draft.failing.len(),
                said.join("\n")
            )));
        }
        if draft.diff.is_empty() {
            return Err(usage("the document changes nothing".into()));
        }
        let request = match &self.caller.approval {
            Approval::Use(id) => Some(id.clone()),
            _ => None,
        };
        let row = PolicyRow {
            version: draft.version,
            text: text.to_owned(),
            at: (self.settings.now)(),
            by: PersonId::from(self.caller.person.id.as_str()),
            request,
        };
        let act = Act {
            action: Action::Configure,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"version": row.version, "sha256": draft.sha256, "text": text, "says": draft.diff.to_string()}),
            subject: format!("policy version {}", row.version),
            reach: Reach::Inside,
        };
        self.act(act, || {
            let before = self.current_policy()?.map_or(0, |row| row.version);
            if before + 1 != row.version {
                return Err(EngineError::Busy { what: "somebody else has just changed the policy" });
            }
            let mut effect = Effect::of(());
            effect.rows.extend(self.policy_rows(&row)?);
            effect.openings.insert("result".to_owned(), json!({"version": row.version, "sha256": draft.sha256}));
            Ok(effect)
        })?;
        self.follow_policy(Some(&row))?;
        Ok(row.view(row.version))
    }

    /// Every version of the policy, newest first.
    pub fn policy_versions(&self) -> Result<Vec<PolicyVersion>, EngineError> {
        let current = self.current_policy()?.map_or(0, |row| row.version);
        let mut versions = Vec::new();
        for version in (1..=current).rev() {
            versions.extend(self.policy_at(&version_name(version))?.map(|row| row.view(current)));
        }
        Ok(versions)
    }

    /// The document of a version.
    pub fn policy_text(&self, version: u64) -> Result<String, EngineError> {
        let gone = || EngineError::NotFound { what: "policy version", name: version.to_string() };
        Ok(self.policy_at(&version_name(version))?.ok_or_else(gone)?.text)
    }

    /// The policy in force, where the vault has one of its own.
    pub(crate) fn current_policy(&self) -> Result<Option<PolicyRow>, EngineError> {
        self.policy_at(CURRENT)
    }

    fn policy_at(&self, name: &str) -> Result<Option<PolicyRow>, EngineError> {
        let key = self.row_key(name);
        let sealed = self.catalog.read(|view| view.row(Table::Policy, &key));
        let Some(sealed) = sealed.map_err(|error: CatalogError| catalog_error(&error))? else { return Ok(None) };
        let read = canon::from_canonical(&self.unseal_row(&key, &sealed)?);
        read.map(Some).map_err(|error| EngineError::tampered("policy", error))
    }

    /// The rows of a version that comes into force.
    pub(crate) fn policy_rows(&self, row: &PolicyRow) -> Result<[RowChange; 2], EngineError> {
        let bytes = canonical(row)?;
        let kept = self.seal_row(Table::Policy, &version_name(row.version), &bytes)?;
        Ok([self.seal_row(Table::Policy, CURRENT, &bytes)?, kept])
    }

    /// Makes sure that this version is the one by which is decided here.
    pub(crate) fn follow_policy(&self, row: Option<&PolicyRow>) -> Result<(), EngineError> {
        let Some(row) = row else { return Ok(()) };
        let document = Digest::of(row.text.as_bytes());
        if self.is_in_force(document) {
            return Ok(());
        }
        // What was approved is the text. A program that can no longer read it decides nothing by another one.
        let (_, policies) = read(&row.text)?;
        self.adopt_policies(policies, document);
        Ok(())
    }

    /// The document by which a vault was held alone, as the first version of the shared one.
    pub(crate) fn first_policy(&self, by: &PersonId) -> Result<Option<PolicyRow>, EngineError> {
        let Some(text) = policy_file(self.settings)? else { return Ok(None) };
        read(&text)?;
        Ok(Some(PolicyRow { version: 1, text, at: (self.settings.now)(), by: by.clone(), request: None }))
    }
}

impl PolicyRow {
    fn view(&self, current: u64) -> PolicyVersion {
        PolicyVersion {
            version: self.version,
            sha256: Digest::of(self.text.as_bytes()),
            at: self.at,
            by: self.by.clone(),
            request: self.request.clone(),
            current: self.version == current,
        }
    }
}

/// The document, and the built-in policies under it.
fn read(text: &str) -> Result<(VaultPolicy, Policies), EngineError> {
    let usage = |what: String| EngineError::Usage { what };
    let policy = VaultPolicy::parse(text).map_err(|error| usage(error.to_string()))?;
    let policies = builtin_policies()?.with_vault(&policy).map_err(|error| usage(error.to_string()))?;
    Ok((policy, policies))
}

fn version_name(version: u64) -> String {
    format!("policy/{version}")
}

//! People, sessions and tokens as rows: sealed, canonical, and each changed only together with an entry of the trail.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_access::{Action, LoginStrength, Person, PersonKind, Role, factors::Factors};
use ringfence_catalog::{CatalogError, RowChange, Table};
use ringfence_schema::{Digest, Timestamp, canon};
use ringfence_trust::factor::{
    agent::AgentKey,
    passkey::Passkey,
    password::PasswordHash,
    recovery::RecoverySet,
    token::{StoredToken, TokenId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    FactorView, PersonId, PersonView, RequestId, Status,
    directory::DirectoryRow,
    glass::{GlassRow, glass_name},
    request::{RequestRow, request_name},
};
use crate::{
    bundle::canonical,
    error::EngineError,
    policy::PolicyRow,
    vault::{Vault, catalog_error},
};

/// A person or a program.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonRow {
    pub(crate) id: PersonId,
    pub(crate) name: String,
    pub(crate) display: String,
    pub(crate) kind: PersonKind,
    pub(crate) status: Status,
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) since: Timestamp,
    /// Who invited them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<PersonId>,
    /// Everybody who ever invited them or reset their factors: their approvals do not count for any of those.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) owes: BTreeSet<PersonId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invitation: Option<InvitationRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) passkeys: Vec<PasskeyRow>,
    /// Keys in an agent: they approve, and log nobody in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<KeyRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<PasswordRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) totp: Option<TotpRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recovery: Option<RecoverySet>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) federated: Vec<FederatedRow>,
    /// What a directory told of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) directory: Option<DirectoryRow>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvitationRow {
    pub(crate) token: StoredToken,
    pub(crate) until: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyRow {
    pub(crate) label: String,
    pub(crate) since: Timestamp,
    pub(crate) passkey: Passkey,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRow {
    pub(crate) label: String,
    pub(crate) since: Timestamp,
    pub(crate) key: AgentKey,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordRow {
    pub(crate) hash: PasswordHash,
    pub(crate) since: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TotpRow {
    /// The key, sealed once more under the person's id; hexadecimal.
    pub(crate) sealed: String,
    pub(crate) since: Timestamp,
    /// The last step that was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<u64>,
}

/// Another provider's name for the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FederatedRow {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) since: Timestamp,
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionRow {
    pub(crate) token: StoredToken,
    pub(crate) person: PersonId,
    pub(crate) login: LoginStrength,
    /// Roles that a provider gave with this login.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) roles: BTreeSet<Role>,
    pub(crate) since: Timestamp,
    pub(crate) proven: Timestamp,
    pub(crate) until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<std::net::IpAddr>,
    /// What the client calls itself, cut short.
    pub(crate) client: String,
}

/// An API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRow {
    pub(crate) token: StoredToken,
    pub(crate) person: PersonId,
    pub(crate) label: String,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) scope: BTreeSet<Action>,
    /// Addresses or networks that it may come from; none: any.
    pub(crate) networks: Vec<String>,
    /// How strongly its maker had logged in; a program's token carries nothing.
    pub(crate) login: LoginStrength,
    pub(crate) by: PersonId,
}

impl PersonRow {
    /// As policies see them.
    pub(crate) fn person(&self) -> Person {
        Person { id: self.id.0.clone(), kind: self.kind, roles: self.roles.clone() }
    }

    /// What they have.
    pub(crate) fn factors(&self) -> Factors {
        Factors {
            passkeys: u32::try_from(self.passkeys.len()).unwrap_or(u32::MAX),
            password: self.password.is_some(),
            totp: self.totp.is_some(),
            federated_mfa: !self.federated.is_empty(),
            recovery_codes: self.recovery.as_ref().map_or(0, |set| u32::try_from(set.left()).unwrap_or(0)),
        }
    }

    /// Their key of this digest.
    pub(crate) fn key(&self, digest: &Digest) -> Option<&AgentKey> {
        self.keys.iter().map(|row| &row.key).find(|key| key.digest() == *digest)
    }

    /// As people see them.
    pub(crate) fn view(&self) -> PersonView {
        let passkeys = self.passkeys.iter().map(|row| FactorView {
            id: row.passkey.credential_id.to_string(),
            kind: "passkey",
            label: row.label.clone(),
            since: row.since,
        });
        let keys = self.keys.iter().map(|row| FactorView {
            id: row.key.digest().to_string(),
            kind: "agent key",
            label: row.label.clone(),
            since: row.since,
        });
        let plain = |kind: &'static str, since| FactorView { id: kind.to_owned(), kind, label: kind.to_owned(), since };
        let password = self.password.iter().map(|row| plain("password", row.since));
        let totp = self.totp.iter().map(|row| plain("totp", row.since));
        let federated = self.federated.iter().map(|row| FactorView {
            id: format!("{} {}", row.issuer, row.subject),
            kind: "federated",
            label: row.issuer.clone(),
            since: row.since,
        });
        PersonView {
            id: self.id.clone(),
            name: self.name.clone(),
            display: self.display.clone(),
            kind: self.kind,
            status: self.status,
            roles: self.roles.iter().copied().collect(),
            factors: passkeys.chain(keys).chain(password).chain(totp).chain(federated).collect(),
            recovery_codes: self.recovery.as_ref().map_or(0, RecoverySet::left),
            invited_by: self.by.clone(),
            since: self.since,
        }
    }
}

/// All rows, in memory.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) people: BTreeMap<PersonId, PersonRow>,
    /// From the name to log in with, in its normal form.
    pub(crate) names: BTreeMap<String, PersonId>,
    pub(crate) sessions: BTreeMap<TokenId, SessionRow>,
    pub(crate) tokens: BTreeMap<TokenId, TokenRow>,
    pub(crate) requests: BTreeMap<RequestId, RequestRow>,
    pub(crate) glass: BTreeMap<String, GlassRow>,
    /// The policy in force, where the vault has one of its own.
    pub(crate) policy: Option<PolicyRow>,
}

impl Members {
    pub(crate) fn named(&self, name: &str) -> Option<&PersonRow> {
        self.people.get(self.names.get(name)?)
    }
}

impl Vault<'_> {
    pub(crate) fn person_row(&self, row: &PersonRow) -> Result<RowChange, EngineError> {
        self.seal_row(Table::Person, &format!("person/{}", row.id), &canonical(row)?)
    }

    pub(crate) fn session_row(&self, row: &SessionRow) -> Result<RowChange, EngineError> {
        self.seal_row(Table::Session, &session_name(row.token.id), &canonical(row)?)
    }

    pub(crate) fn no_session(&self, id: TokenId) -> RowChange {
        RowChange { table: Table::Session, key: self.row_key(&session_name(id)), value: None }
    }

    pub(crate) fn token_row(&self, row: &TokenRow) -> Result<RowChange, EngineError> {
        self.seal_row(Table::Token, &token_name(row.token.id), &canonical(row)?)
    }

    pub(crate) fn no_token(&self, id: TokenId) -> RowChange {
        RowChange { table: Table::Token, key: self.row_key(&token_name(id)), value: None }
    }

    /// Reads all rows of people, sessions and tokens.
    pub(crate) fn read_members(&self) -> Result<Members, EngineError> {
        let mut members = Members::default();
        for row in self.read_table::<PersonRow>(Table::Person, |row| format!("person/{}", row.id))? {
            members.names.insert(row.name.clone(), row.id.clone());
            members.people.insert(row.id.clone(), row);
        }
        for row in self.read_table::<SessionRow>(Table::Session, |row| session_name(row.token.id))? {
            members.sessions.insert(row.token.id, row);
        }
        for row in self.read_table::<TokenRow>(Table::Token, |row| token_name(row.token.id))? {
            members.tokens.insert(row.token.id, row);
        }
        for row in self.read_table::<RequestRow>(Table::Request, |row| request_name(&row.id))? {
            members.requests.insert(row.id.clone(), row);
        }
        for row in self.read_table::<GlassRow>(Table::Emergency, |row| glass_name(&row.id))? {
            members.glass.insert(row.id.clone(), row);
        }
        members.policy = self.current_policy()?;
        Ok(members)
    }

    /// Every row of `table`, each standing where its name puts it.
    pub(crate) fn read_table<R: DeserializeOwned + Serialize>(
        &self,
        table: Table,
        name: impl Fn(&R) -> String,
    ) -> Result<Vec<R>, EngineError> {
        let stored = self.catalog.read(|view| view.rows(table)).map_err(|error: CatalogError| catalog_error(&error))?;
        let tampered = |detail: String| EngineError::tampered(format!("rows of {}", table.name()), detail);
        let mut rows = Vec::with_capacity(stored.len());
        for row in stored {
            let bytes = self.unseal_row(&row.key, &row.value)?;
            let read: R = canon::from_canonical(&bytes).map_err(|error| tampered(error.to_string()))?;
            if self.row_key(&name(&read)) != row.key {
                return Err(tampered("a row stands where it does not belong".to_owned()));
            }
            rows.push(read);
        }
        Ok(rows)
    }
}

fn session_name(id: TokenId) -> String {
    format!("session/{id}")
}

fn token_name(id: TokenId) -> String {
    format!("token/{id}")
}

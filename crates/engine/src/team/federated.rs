//! In through another provider (OpenID Connect), for those whom `login.toml` in the configuration names.
//!
//! ```toml
//! schema = "ringfence.login/1"
//!
//! [[provider]]
//! name = "corp"
//! issuer = "https://login.example.org/realm"
//! client_id = "ringfence"
//! client_secret_file = "/etc/ringfence/corp.secret"   # none for a public client
//! scopes = ["profile", "email"]
//! groups_claim = "groups"
//! mfa_levels = ["urn:example:mfa"]                    # `acr` values that count as several factors
//! [provider.roles]
//! ml-research = ["researcher"]
//!
//! [directory.roles]                                   # what groups that SCIM brings stand for
//! ml-research = ["researcher"]
//! ```
//!
//! Somebody is `issuer` and `subject`, nothing else. Roles of groups hold for the session that brought them, beside the
//! person's own; whoever is unknown and in no group that is named does not come in. A provider gives nobody the owner's role.
//! What it vouches for is two factors at most, and one alone opens nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ringfence_access::{PersonKind, Role};
use ringfence_reach::Secret;
use ringfence_schema::Timestamp;
use ringfence_trust::{
    entropy::SystemEntropy,
    factor::token::{StoredToken, Token, TokenKind},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    Status,
    desk::locked,
    login::{Begun, Entered, Origin},
    people::{display_name, new_id},
    rows::{FederatedRow, Members, PersonRow},
};
use crate::{
    error::EngineError,
    oidc::{Callback, Identity, LOGIN_MS_MAX, LoginError, LoginProvider, Pending, Provider},
    vault::{Vault, read_small},
};

/// The file in the configuration.
pub const LOGIN_FILE: &str = "login.toml";
/// Most providers.
const PROVIDERS_MAX: usize = 16;
/// Most groups that give roles, for each provider.
const GROUPS_MAX: usize = 256;
/// Most logins under way; the oldest is given up when another begins.
const UNDER_WAY_MAX: usize = 1_024;

/// Where a browser is sent, and what ties the login to it.
#[derive(Debug)]
pub struct Departure {
    /// The provider's page.
    pub url: String,
    /// Kept by the browser, as a cookie.
    pub browser: Zeroizing<String>,
}

/// A provider that people can choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderName {
    /// Its name in the configuration.
    pub name: String,
    /// Its issuer.
    pub issuer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: Schema,
    #[serde(default, rename = "provider")]
    providers: Vec<Entry>,
    #[serde(default)]
    directory: DirectoryEntry,
}

/// What a directory's groups stand for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DirectoryEntry {
    #[serde(default)]
    roles: BTreeMap<String, BTreeSet<Role>>,
}

#[derive(Deserialize)]
enum Schema {
    #[serde(rename = "ringfence.login/1")]
    One,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    issuer: String,
    client_id: String,
    #[serde(default)]
    client_secret_file: Option<PathBuf>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default = "groups_claim")]
    groups_claim: String,
    #[serde(default)]
    mfa_levels: Vec<String>,
    #[serde(default)]
    login_age_s_max: Option<u64>,
    #[serde(default)]
    roles: BTreeMap<String, BTreeSet<Role>>,
}

fn groups_claim() -> String {
    "groups".to_owned()
}

/// A login under way.
struct UnderWay {
    provider: String,
    pending: Pending,
    browser: StoredToken,
    since: Timestamp,
}

/// Logins under way, by their state.
#[derive(Default)]
pub(crate) struct Departures(BTreeMap<String, UnderWay>);

impl Vault<'_> {
    /// The providers that `login.toml` names.
    pub fn login_providers(&self) -> Result<Vec<ProviderName>, EngineError> {
        let named = |entry: Entry| ProviderName { name: entry.name, issuer: entry.issuer };
        Ok(self.login_file()?.into_iter().map(named).collect())
    }

    /// Begins a login at the provider of this name; `redirect_uri` is where it sends the browser back to.
    pub fn begin_federated(&self, name: &str, redirect_uri: &str) -> Result<Departure, EngineError> {
        let now = (self.settings.now)();
        let (entry, settings) = self.login_provider(name)?;
        let reach = (self.settings.reach)()?;
        let provider = Provider::discover(&reach, &entry.issuer).map_err(provider_error)?;
        let entropy = &mut SystemEntropy::new();
        let pending = provider.begin(&settings, redirect_uri, now, entropy).map_err(provider_error)?;
        let browser = Token::random(TokenKind::Device, entropy);
        let url = pending.url().to_owned();
        let mut departures = locked(&self.team.departures);
        departures.0.retain(|_, login| now.millis().saturating_sub(login.since.millis()) <= LOGIN_MS_MAX);
        if departures.0.len() >= UNDER_WAY_MAX
            && let Some(oldest) =
                departures.0.iter().min_by_key(|(_, login)| login.since).map(|(state, _)| state.clone())
        {
            departures.0.remove(&oldest);
        }
        let under_way = UnderWay { provider: entry.name, browser: browser.stored(), since: now, pending };
        departures.0.insert(under_way.pending.state().to_owned(), under_way);
        Ok(Departure { url, browser: browser.shown() })
    }

    /// Ends a login at a provider: `browser` is what the cookie holds, `callback` what the provider sent along.
    ///
    /// # Errors
    /// [`EngineError::NotSignedIn`] for an answer to no login of this browser, and for somebody who may not come in;
    /// [`EngineError::Refused`] where the provider vouches for one factor alone, or the policy demands a passkey.
    pub fn finish_federated(
        &self,
        browser: &str,
        callback: &Callback,
        origin: &Origin,
    ) -> Result<Entered, EngineError> {
        let now = (self.settings.now)();
        let token = Token::parse(browser).map_err(|_| EngineError::NotSignedIn)?;
        let state = callback.state.as_deref().unwrap_or_default();
        let UnderWay { provider: name, pending, .. } = {
            let mut departures = locked(&self.team.departures);
            // Somebody else's answer must not use up this login, so it is taken only by its own browser.
            let own = departures.0.get(state).is_some_and(|login| login.browser.is(&token));
            own.then(|| departures.0.remove(state)).flatten().ok_or(EngineError::NotSignedIn)?
        };
        let (entry, settings) = self.login_provider(&name)?;
        let reach = (self.settings.reach)()?;
        let provider = Provider::discover(&reach, &entry.issuer).map_err(provider_error)?;
        let identity = provider.finish(&reach, &settings, pending, callback, now).map_err(provider_error)?;
        let _turn = self.team.factor_turn();
        let members = self.members_now()?;
        let roles: BTreeSet<Role> =
            identity.groups.iter().filter_map(|group| entry.roles.get(group)).flatten().copied().collect();
        let row = match known(&members, &identity) {
            Some(row) if row.status == Status::Active => row.clone(),
            None if !roles.is_empty() => self.newcomer(&identity, now),
            _ => return Err(self.wrong(None, origin)),
        };
        let login = ringfence_access::factors::strength(&[identity.proof]).ok_or(EngineError::NotSignedIn)?;
        self.begin_session(row, &Begun { login, proven: now, what: "log in through a provider", roles }, origin, now)
    }

    /// A row for somebody whom a provider vouches for and whom nobody has invited.
    fn newcomer(&self, identity: &Identity, now: Timestamp) -> PersonRow {
        let id = new_id();
        let wished = identity.preferred_username.as_deref().unwrap_or(id.as_str());
        let name = match self.free_name(wished) {
            Ok(name) => name.as_str().to_owned(),
            Err(_) => id.as_str().to_owned(),
        };
        let display = identity.name.as_deref().and_then(|name| display_name(name).ok()).unwrap_or_else(|| name.clone());
        let federated = FederatedRow { issuer: identity.issuer.clone(), subject: identity.subject.clone(), since: now };
        PersonRow {
            id,
            name,
            display,
            kind: PersonKind::Human,
            status: Status::Active,
            roles: BTreeSet::new(),
            since: now,
            by: None,
            owes: BTreeSet::new(),
            invitation: None,
            passkeys: Vec::new(),
            keys: Vec::new(),
            password: None,
            totp: None,
            recovery: None,
            federated: vec![federated],
            directory: None,
        }
    }

    fn login_provider(&self, name: &str) -> Result<(Entry, LoginProvider), EngineError> {
        let found = self.login_file()?.into_iter().find(|entry| entry.name == name);
        let entry = found.ok_or_else(|| EngineError::NotFound { what: "login provider", name: name.to_owned() })?;
        let client_secret = match &entry.client_secret_file {
            None => None,
            Some(path) => {
                let text = String::from_utf8(read_small(path)?)
                    .map_err(|_| EngineError::Plan { file: path.clone(), what: "not UTF-8 text".to_owned() })?;
                Some(Secret::new("client_secret_file", Zeroizing::new(text))?)
            }
        };
        let settings = LoginProvider {
            issuer: entry.issuer.clone(),
            client_id: entry.client_id.clone(),
            client_secret,
            scopes: entry.scopes.clone(),
            groups_claim: entry.groups_claim.clone(),
            mfa_levels: entry.mfa_levels.clone(),
            login_age_s_max: entry.login_age_s_max,
        };
        Ok((entry, settings))
    }

    /// The roles that groups of a directory stand for, by their names.
    pub(crate) fn directory_roles(&self) -> Result<BTreeMap<String, BTreeSet<Role>>, EngineError> {
        // A directory is not told what stands in the operator's files.
        let unread = |_| EngineError::incomplete("the roles of a directory's groups", "their file cannot be read");
        Ok(self.login_document().map_err(unread)?.map(|file| file.directory.roles).unwrap_or_default())
    }

    fn login_file(&self) -> Result<Vec<Entry>, EngineError> {
        Ok(self.login_document()?.map(|file| file.providers).unwrap_or_default())
    }

    fn login_document(&self) -> Result<Option<File>, EngineError> {
        let path = self.settings.config.join(LOGIN_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let wrong = |what: String| EngineError::Plan { file: path.clone(), what };
        let text = String::from_utf8(read_small(&path)?).map_err(|_| wrong("not UTF-8 text".to_owned()))?;
        let file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let File { schema: Schema::One, providers, directory } = &file;
        let many =
            providers.iter().map(|entry| &entry.roles).chain([&directory.roles]).any(|roles| roles.len() > GROUPS_MAX);
        if providers.len() > PROVIDERS_MAX || many {
            return Err(wrong(format!("more than {PROVIDERS_MAX} providers, or {GROUPS_MAX} groups of one")));
        }
        if directory.roles.values().flatten().any(|role| *role == Role::Owner) {
            return Err(wrong("`directory` gives the owner's role, which people give each other".to_owned()));
        }
        let mut names = BTreeSet::new();
        for entry in providers {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if entry.name.is_empty() || !entry.name.chars().all(plain) || !names.insert(&entry.name) {
                return Err(wrong(format!("`{}`: names are unique, in a-z, 0-9 and hyphens", entry.name)));
            }
            if entry.roles.values().flatten().any(|role| *role == Role::Owner) {
                return Err(wrong(format!("`{}` gives the owner's role, which people give each other", entry.name)));
            }
        }
        Ok(Some(file))
    }
}

fn known<'m>(members: &'m Members, identity: &Identity) -> Option<&'m PersonRow> {
    let is = |row: &&FederatedRow| row.issuer == identity.issuer && row.subject == identity.subject;
    members.people.values().find(|person| person.federated.iter().any(|row| is(&row)))
}

/// What went wrong at a provider: refusals of a person are one thing, the way there is another.
fn provider_error(error: LoginError) -> EngineError {
    match error {
        LoginError::Reach(error) => EngineError::Reach(error),
        LoginError::NotThisLogin | LoginError::TooLate | LoginError::Token(_) | LoginError::Refused { .. } => {
            EngineError::NotSignedIn
        }
        other => EngineError::incomplete("login provider", other),
    }
}

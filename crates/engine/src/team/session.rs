//! Sessions: what proves, request by request, who somebody is; and how it ends.
//!
//! A session's row holds the hash of its token. It is good for [`SESSION_LIFE_MS`] at most, and ends after
//! [`SESSION_IDLE_MS`] without a request. Checking one reads memory alone.

use std::{collections::BTreeSet, net::IpAddr};

use ringfence_access::{Action, Facts, LoginStrength, Resource, Role};
use ringfence_schema::Timestamp;
use ringfence_trust::factor::token::{Token, TokenId, TokenKind};
use serde::Serialize;
use serde_json::json;

use super::{Caller, PersonId, Status, rows::SessionRow, token::comes_from};
use crate::{
    act::{Act, Effect, Reach},
    error::EngineError,
    vault::Vault,
};

/// How long a session lasts, in milliseconds.
pub const SESSION_LIFE_MS: u64 = 12 * 60 * 60 * 1_000;
/// How long it lasts without a request, in milliseconds.
pub const SESSION_IDLE_MS: u64 = 30 * 60 * 1_000;
/// Most sessions of one person; the oldest ends when another begins.
pub(super) const SESSIONS_MAX: usize = 16;

/// A session, as its owner and administrators see it.
#[derive(Debug, Clone, Serialize)]
pub struct SessionView {
    /// Names it.
    pub id: String,
    /// Whose it is.
    pub person: PersonId,
    /// How they logged in.
    pub login: LoginStrength,
    /// Since when.
    pub since: Timestamp,
    /// When it ends at the latest.
    pub until: Timestamp,
    /// Where it was begun.
    pub address: Option<IpAddr>,
    /// What the client called itself.
    pub client: String,
    /// It is the one that asks.
    pub current: bool,
}

impl Vault<'_> {
    /// Who presents `presented`, from `address`. Reads memory, writes nothing.
    ///
    /// # Errors
    /// [`EngineError::NotSignedIn`], always the same, for whatever is not good now: unknown, ended, idle for too long,
    /// from elsewhere, of somebody who was shut out.
    pub fn authenticate(&self, presented: &str, address: Option<IpAddr>) -> Result<Caller, EngineError> {
        let token = Token::parse(presented).map_err(|_| EngineError::NotSignedIn)?;
        match token.kind() {
            TokenKind::Session => self.of_session(&token, address),
            TokenKind::Api => self.of_token(&token, address),
            _ => Err(EngineError::NotSignedIn),
        }
    }

    /// Whether the session or token with which this caller came is still good. Asking is no request: an idle session does
    /// not live longer by it. For what goes on after its request was answered.
    pub fn is_still_in(&self) -> Result<bool, EngineError> {
        let now = (self.settings.now)();
        let Some(key) = self.caller.key else { return Ok(false) };
        let members = self.members()?;
        let active = |id: &PersonId| members.people.get(id).is_some_and(|person| person.status == Status::Active);
        if let Some(row) = members.sessions.get(&key) {
            let last = self.team.last_seen(key, row.since.max(row.proven));
            let idle = now.millis().saturating_sub(last.millis()) > SESSION_IDLE_MS;
            return Ok(active(&row.person) && now < row.until && !idle);
        }
        Ok(members.tokens.get(&key).is_some_and(|row| active(&row.person) && now < row.until))
    }

    fn of_session(&self, token: &Token, address: Option<IpAddr>) -> Result<Caller, EngineError> {
        let now = (self.settings.now)();
        let members = self.members()?;
        let row =
            members.sessions.get(&token.id()).filter(|row| row.token.is(token)).ok_or(EngineError::NotSignedIn)?;
        let person = members.people.get(&row.person).filter(|person| person.status == Status::Active);
        let person = person.ok_or(EngineError::NotSignedIn)?;
        if now >= row.until || now < row.since {
            return Err(EngineError::NotSignedIn);
        }
        let alive = |seen: Timestamp| now.millis().saturating_sub(seen.millis()) <= SESSION_IDLE_MS;
        if !self.team.touch(token.id(), row.since.max(row.proven), now, alive) {
            return Err(EngineError::NotSignedIn);
        }
        let mut person = person.person();
        person.roles.extend(&row.roles);
        Ok(Caller {
            login: row.login,
            proven: Some(row.proven),
            key: Some(token.id()),
            address,
            ..Caller::bare(person)
        })
    }

    fn of_token(&self, token: &Token, address: Option<IpAddr>) -> Result<Caller, EngineError> {
        let now = (self.settings.now)();
        let members = self.members()?;
        let row = members.tokens.get(&token.id()).filter(|row| row.token.is(token)).ok_or(EngineError::NotSignedIn)?;
        let person = members.people.get(&row.person).filter(|person| person.status == Status::Active);
        let person = person.ok_or(EngineError::NotSignedIn)?;
        if now >= row.until || now < row.since || !comes_from(&row.networks, address) {
            return Err(EngineError::NotSignedIn);
        }
        Ok(Caller {
            login: row.login,
            key: Some(token.id()),
            address,
            scope: Some(row.scope.clone()),
            ..Caller::bare(person.person())
        })
    }

    /// Roles that the caller's session has beside the person's own.
    pub(crate) fn session_roles(&self) -> Result<BTreeSet<Role>, EngineError> {
        let members = self.members()?;
        let session = self.caller.key.and_then(|key| members.sessions.get(&key));
        Ok(session.map(|row| row.roles.clone()).unwrap_or_default())
    }

    /// Ends the session or token with which this caller came.
    pub fn leave(&self) -> Result<(), EngineError> {
        let key = self.caller.key.ok_or(EngineError::NotSignedIn)?;
        self.end(key)
    }

    /// Ends one of the caller's own sessions or tokens.
    pub fn end_own(&self, id: &str) -> Result<(), EngineError> {
        let id: TokenId = id.parse().map_err(|_| no_session(id))?;
        let members = self.members()?;
        let me = PersonId(self.caller.person.id.clone());
        let session = members.sessions.get(&id).is_some_and(|row| row.person == me);
        let token = members.tokens.get(&id).is_some_and(|row| row.person == me || row.by == me);
        if session || token { self.end(id) } else { Err(no_session(&id.to_string())) }
    }

    /// The caller's own sessions, newest first.
    pub fn own_sessions(&self) -> Result<Vec<SessionView>, EngineError> {
        let now = (self.settings.now)();
        let me = PersonId(self.caller.person.id.clone());
        let members = self.members()?;
        let own = members.sessions.values().filter(|row| row.person == me && now < row.until);
        let mut views: Vec<SessionView> = own.map(|row| self.session_view(row)).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.since));
        Ok(views)
    }

    fn session_view(&self, row: &SessionRow) -> SessionView {
        SessionView {
            id: row.token.id.to_string(),
            person: row.person.clone(),
            login: row.login,
            since: row.since,
            until: row.until,
            address: row.address,
            client: row.client.clone(),
            current: self.caller.key == Some(row.token.id),
        }
    }

    fn end(&self, id: TokenId) -> Result<(), EngineError> {
        let act = Act {
            action: Action::Leave,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "end", "key": id.to_string()}),
            subject: id.to_string(),
            reach: Reach::Inside,
        };
        let members = self.members()?;
        self.act(act, || {
            let mut effect = Effect::of(());
            if members.sessions.contains_key(&id) {
                effect.rows.push(self.no_session(id));
            }
            if members.tokens.contains_key(&id) {
                effect.rows.push(self.no_token(id));
            }
            Ok(effect)
        })?;
        self.team.unseen(id);
        Ok(())
    }
}

fn no_session(id: &str) -> EngineError {
    EngineError::NotFound { what: "session or token", name: id.to_owned() }
}

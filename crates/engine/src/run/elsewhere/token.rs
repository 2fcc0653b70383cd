//! A run's token: for the machine that carries it out, for its run alone, for minutes.
//!
//! A run elsewhere is kept by one process and ends with it, and so do its tokens: they are not rows, but the SHA-256 of each
//! is held in that process's memory, and the trail's entries name them by their ids. One is good for at most
//! [`RUN_TOKEN_LIFE_MS`]; its bearer asks for the next one in time. When its run is over, a token is good for nothing but to
//! be told so.

use std::{collections::BTreeSet, net::IpAddr};

use ringfence_access::{Action, Role};
use ringfence_schema::Timestamp;
use ringfence_trust::{
    entropy::SystemEntropy,
    factor::token::{StoredToken, Token, TokenId, TokenKind},
};
use zeroize::Zeroizing;

use super::{Course, Phase};
use crate::{
    error::EngineError,
    run::told::{Renewed, Shown},
    team::{Caller, PersonId, Status, token::comes_from},
    vault::Vault,
};

/// How long a run's token is good, in milliseconds: fifteen minutes.
pub const RUN_TOKEN_LIFE_MS: u64 = 15 * 60 * 1_000;
/// How long the one before is still good, in milliseconds: what is on the way may arrive.
pub const TOKEN_OVERLAP_MS: u64 = 60_000;
/// How old a token is before there is another one, in milliseconds.
const RENEWED_AFTER_MS: u64 = 60_000;

/// A token as it is held.
pub(super) struct Held {
    pub(super) stored: StoredToken,
    since: Timestamp,
    until: Timestamp,
    /// In the clear, until it is handed out.
    shown: Option<Zeroizing<String>>,
}

impl Held {
    /// A new one.
    pub(super) fn new(now: Timestamp) -> Self {
        let token = Token::random(TokenKind::Run, &mut SystemEntropy::new());
        let until = now.plus_millis(RUN_TOKEN_LIFE_MS);
        Self { stored: token.stored(), since: now, until, shown: Some(token.shown()) }
    }
}

/// Somebody in whose name, or by whose hands, a run goes on.
pub(in crate::run) struct Bearer {
    /// As they were when it began.
    pub(super) caller: Caller,
}

impl Bearer {
    pub(in crate::run) fn of(caller: &Caller) -> Self {
        Self { caller: caller.clone() }
    }
}

impl Course {
    /// The first token, which begins to live now.
    pub(super) fn first_token(&self, now: Timestamp) -> Result<(Shown, u64), EngineError> {
        let mut state = self.state();
        let first = state.tokens.first_mut();
        let shown = first.and_then(|held| {
            (held.since, held.until) = (now, now.plus_millis(RUN_TOKEN_LIFE_MS));
            held.shown.take()
        });
        state.heard = now;
        let shown = shown.ok_or_else(|| EngineError::incomplete("run token", "it was handed out already"))?;
        Ok((Shown(shown), RUN_TOKEN_LIFE_MS))
    }

    /// Whether `token` is one of this run's and good now, from `address`.
    fn knows(&self, token: &Token, address: Option<IpAddr>, now: Timestamp) -> bool {
        let canonical = |address: IpAddr| address.to_canonical();
        let state = self.state();
        let good = |held: &Held| held.stored.is(token) && held.since <= now && now < held.until;
        let placed = self.pin.is_none_or(|pin| address.map(canonical) == Some(canonical(pin)));
        self.fixed.get().is_some() && placed && state.tokens.iter().any(good)
    }

    /// How long the token called `id` is still good, in milliseconds.
    pub(super) fn life_ms(&self, id: Option<TokenId>, now: Timestamp) -> u64 {
        let state = self.state();
        let held = state.tokens.iter().find(|held| Some(held.stored.id) == id);
        held.map_or(0, |held| held.until.millis().saturating_sub(now.millis()))
    }

    /// Another token in the place of the newest.
    pub(super) fn next_token(&self, now: Timestamp) -> Result<Renewed, EngineError> {
        let mut state = self.state();
        if matches!(state.phase, Phase::Over(_)) {
            return Err(EngineError::NotSignedIn);
        }
        state.tokens.retain(|held| now < held.until);
        if state.tokens.iter().any(|held| now.millis().saturating_sub(held.since.millis()) < RENEWED_AFTER_MS) {
            let what = format!("a run's token is renewed once in {} s at most", RENEWED_AFTER_MS / 1_000);
            return Err(EngineError::Usage { what });
        }
        let overlap = now.plus_millis(TOKEN_OVERLAP_MS);
        state.tokens.iter_mut().for_each(|held| held.until = held.until.min(overlap));
        let mut next = Held::new(now);
        let shown = next.shown.take().ok_or_else(|| EngineError::incomplete("run token", "it was not made"))?;
        state.tokens.push(next);
        Ok(Renewed { token: Shown(shown), life_ms: RUN_TOKEN_LIFE_MS })
    }
}

impl Vault<'_> {
    /// Which run's machine presents `presented`, from `address`. Reads memory, writes nothing.
    ///
    /// # Errors
    /// [`EngineError::NotSignedIn`] for everything but a good token of a run.
    pub fn authenticate_run(&self, presented: &str, address: Option<IpAddr>) -> Result<Caller, EngineError> {
        let token = Token::parse(presented).map_err(|_| EngineError::NotSignedIn)?;
        if token.kind() != TokenKind::Run {
            return Err(EngineError::NotSignedIn);
        }
        let now = (self.settings.now)();
        let courses: Vec<_> = self.courses.runs().values().cloned().collect();
        let course = courses.into_iter().find(|course| course.knows(&token, address, now));
        let course = course.ok_or(EngineError::NotSignedIn)?;
        let Some(bearer) = self.present(&course.bearer)? else { return Err(EngineError::NotSignedIn) };
        if self.present(&course.owner)?.is_none() || !self.is_in_place(&course, address)? {
            return Err(EngineError::NotSignedIn);
        }
        Ok(Caller {
            in_run: true,
            key: Some(token.id()),
            address,
            run: Some(course.run.clone()),
            scope: Some(BTreeSet::from([Action::Read, Action::Train])),
            ..bearer
        })
    }

    /// Whether `address` lies where the API token is good with which the run was begun.
    fn is_in_place(&self, course: &Course, address: Option<IpAddr>) -> Result<bool, EngineError> {
        let members = self.members()?;
        let row = course.bearer.caller.key.and_then(|key| members.tokens.get(&key));
        Ok(row.is_none_or(|row| comes_from(&row.networks, address)))
    }

    /// `bearer` as they are now: active, with the roles of now, and with the API token that they came with.
    pub(super) fn present(&self, bearer: &Bearer) -> Result<Option<Caller>, EngineError> {
        let members = self.members()?;
        let caller = &bearer.caller;
        let id = PersonId::from(caller.person.id.as_str());
        let Some(row) = members.people.get(&id).filter(|row| row.status == Status::Active) else { return Ok(None) };
        let mut person = row.person();
        // An API token that was revoked or has ended takes what it began with it; a session that has ended leaves what its
        // person may do by their own roles.
        if caller.scope.is_some() {
            let now = (self.settings.now)();
            let token = caller.key.and_then(|key| members.tokens.get(&key));
            if !token.is_some_and(|token| token.person == id && now < token.until) {
                return Ok(None);
            }
        } else if let Some(session) = caller.key.and_then(|key| members.sessions.get(&key)) {
            let roles: &BTreeSet<Role> = &session.roles;
            person.roles.extend(roles);
        }
        Ok(Some(Caller { person, ..caller.clone() }))
    }
}

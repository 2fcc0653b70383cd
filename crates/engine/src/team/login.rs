//! In by a passkey, or by password and code; and the step up before dangerous acts.
//!
//! A passkey's login names nobody beforehand: the authenticator says who it is. A login by password counts as failed
//! before anything is checked, does the same work whether or not the name is known, and gives one answer for every way
//! in which it can be wrong. What a factor uses up (a code's step, a recovery code, a counter) is stored in the
//! transaction that lets the person in, one login after the other, so nothing is good twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ringfence_access::{
    Action, Facts, LoginStrength, Resource, Role,
    factors::{self, Proof},
    names::{Alphabet, LoginName},
};
use ringfence_schema::{Timestamp, digest::from_hex};
use ringfence_trust::{
    entropy::{self, SystemEntropy},
    factor::{
        passkey::{Assertion, Challenge, Passkey, RelyingParty, RequestOptions},
        password::{self, Cost, Password},
        token::{Token, TokenKind},
        totp::{TotpCode, TotpSecret},
    },
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    Caller, PersonId, PersonView, Status,
    desk::locked,
    rows::{PersonRow, SessionRow},
    session::{SESSION_LIFE_MS, SESSIONS_MAX},
};
use crate::{
    act::{Act, Effect, Reach},
    error::EngineError,
    vault::Vault,
};

/// How long a ceremony may take, in milliseconds.
pub const CEREMONY_LIFE_MS: u64 = 5 * 60 * 1_000;
/// Most ceremonies under way; the oldest is given up when another begins.
const CEREMONIES_MAX: usize = 4_096;
/// Longest name that a client gives itself, in characters.
const CLIENT_CHARS_MAX: usize = 120;

/// Names a ceremony under way.
pub type CeremonyId = String;

/// What an authenticator is asked for.
#[derive(Debug, Clone)]
pub struct Offer {
    /// To be given back with the answer.
    pub ceremony: CeremonyId,
    /// Options for the browser, as JSON.
    pub options: Value,
}

/// Somebody is in.
#[derive(Debug)]
pub struct Entered {
    /// The session's token, which is shown once.
    pub token: Zeroizing<String>,
    /// Who it is.
    pub person: PersonView,
    /// When the session ends at the latest.
    pub until: Timestamp,
}

/// Where a login comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address, if there is one.
    pub address: Option<IpAddr>,
    /// What the client calls itself.
    pub client: String,
}

/// On what a session rests.
pub(crate) struct Begun {
    pub(crate) login: LoginStrength,
    pub(crate) proven: Timestamp,
    pub(crate) what: &'static str,
    /// Roles that a provider gives for this session, beside the person's own.
    pub(crate) roles: BTreeSet<Role>,
}

/// A ceremony under way.
pub(crate) struct Ceremony {
    pub(crate) challenge: Challenge,
    pub(crate) purpose: Purpose,
    until: Timestamp,
}

/// What a ceremony is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    Login,
    StepUp(PersonId),
    Enrol(PersonId),
    Totp(PersonId, String),
    Key(PersonId),
}

/// Ceremonies under way, by id; ids begin with the moment, so the first is the oldest.
#[derive(Default)]
pub(crate) struct Ceremonies(BTreeMap<CeremonyId, Ceremony>);

impl Ceremonies {
    pub(crate) fn begin(&mut self, challenge: Challenge, purpose: Purpose, now: Timestamp) -> CeremonyId {
        self.0.retain(|_, ceremony| now < ceremony.until);
        if self.0.len() >= CEREMONIES_MAX {
            self.0.pop_first();
        }
        let random: [u8; 16] = entropy::bytes(&mut SystemEntropy::new());
        let id = format!("{:012x}{}", now.millis(), ringfence_schema::digest::hex(&random));
        self.0.insert(id.clone(), Ceremony { challenge, purpose, until: now.plus_millis(CEREMONY_LIFE_MS) });
        id
    }

    /// The ceremony `id`, which is over with this, whatever comes of it.
    pub(crate) fn end(&mut self, id: &str, now: Timestamp) -> Option<Ceremony> {
        self.0.remove(id).filter(|ceremony| now < ceremony.until)
    }
}

impl Vault<'_> {
    /// Begins a login by passkey. Nobody is named: the authenticator knows.
    pub fn begin_login(&self, rp: &RelyingParty) -> Result<Offer, EngineError> {
        let challenge = Challenge::random(&mut SystemEntropy::new());
        let options = as_json(&RequestOptions::new(rp, &challenge, &[]))?;
        Ok(Offer { ceremony: self.begin(challenge, Purpose::Login), options })
    }

    /// Ends a login by passkey.
    ///
    /// # Errors
    /// [`EngineError::NotSignedIn`], whatever is wrong with the answer; [`EngineError::Locked`] where too many answers
    /// from this address were wrong; [`EngineError::Refused`] where the policy keeps the person out.
    pub fn finish_login(
        &self,
        rp: &RelyingParty,
        ceremony: &str,
        assertion: &Assertion,
        origin: &Origin,
    ) -> Result<Entered, EngineError> {
        let now = (self.settings.now)();
        let ceremony = locked(&self.team.ceremonies).end(ceremony, now);
        let ceremony =
            ceremony.filter(|ceremony| ceremony.purpose == Purpose::Login).ok_or(EngineError::NotSignedIn)?;
        let _turn = self.team.factor_turn();
        let members = self.members_now()?;
        let holder = members.people.values().find(|row| row.passkey(assertion).is_some());
        let name = holder.map_or("nobody", |row| row.name.as_str());
        let attempt = self.attempt(name, origin.address, now)?;
        let mut row = match holder {
            Some(row) if row.status == Status::Active => row.clone(),
            _ => return Err(self.wrong(holder, origin)),
        };
        if Self::check_passkey(&mut row, rp, &ceremony.challenge, assertion).is_err() {
            return Err(self.wrong(Some(&row), origin));
        }
        self.right(attempt);
        self.enter(row, &[Proof::PasskeyVerified], origin, now)
    }

    /// A login by name, password and a code, which is one of an authenticator app or a recovery code.
    ///
    /// # Errors
    /// [`EngineError::NotSignedIn`] for every way of being wrong; [`EngineError::Locked`] after too many;
    /// [`EngineError::Busy`] where too many log in at once; [`EngineError::Refused`] where the policy demands a passkey.
    pub fn login_password(
        &self,
        typed: &str,
        password: String,
        code: &str,
        origin: &Origin,
    ) -> Result<Entered, EngineError> {
        let now = (self.settings.now)();
        let name = LoginName::parse(typed, Alphabet::Ascii).map_err(|_| EngineError::NotSignedIn)?;
        let typed = Password::typed(password).map_err(|_| EngineError::NotSignedIn)?;
        let attempt = self.attempt(name.as_str(), origin.address, now)?;
        let known = self.members()?.named(name.as_str()).cloned();
        let stored = known.as_ref().and_then(|row| row.password.as_ref()).map(|row| &row.hash);
        let right = {
            let _turn = self.team.hashing()?;
            password::check(stored, &typed, Cost::default())
                .map_err(|error| EngineError::incomplete("password", error))?
        };
        let _turn = self.team.factor_turn();
        // The row again, because another login may have used up a code while this one hashed.
        let row = self.members_now()?.named(name.as_str()).filter(|row| row.status == Status::Active).cloned();
        let (Some(mut row), true) = (row, right) else { return Err(self.wrong(known.as_ref(), origin)) };
        let Some(proof) = self.check_code(&mut row, code, now) else { return Err(self.wrong(Some(&row), origin)) };
        self.right(attempt);
        self.enter(row, &[Proof::Password, proof], origin, now)
    }

    /// Begins a step up by one of the caller's passkeys.
    pub fn begin_step_up(&self, rp: &RelyingParty) -> Result<Offer, EngineError> {
        let row = self.someone(&PersonId(self.caller.person.id.clone()))?;
        let challenge = Challenge::random(&mut SystemEntropy::new());
        let options = as_json(&RequestOptions::new(rp, &challenge, &row.passkeys()))?;
        Ok(Offer { ceremony: self.begin(challenge, Purpose::StepUp(row.id)), options })
    }

    /// Ends a step up by passkey: for ten minutes, dangerous acts are open in this session.
    pub fn finish_step_up(&self, rp: &RelyingParty, ceremony: &str, assertion: &Assertion) -> Result<(), EngineError> {
        let now = (self.settings.now)();
        let me = PersonId(self.caller.person.id.clone());
        let ceremony = locked(&self.team.ceremonies).end(ceremony, now);
        let ceremony = ceremony.filter(|ceremony| ceremony.purpose == Purpose::StepUp(me.clone()));
        let ceremony = ceremony.ok_or(EngineError::NotSignedIn)?;
        let _turn = self.team.factor_turn();
        let mut row = self.members_now()?.people.get(&me).cloned().ok_or(EngineError::NotSignedIn)?;
        let attempt = self.attempt(&row.name, self.caller.address, now)?;
        if Self::check_passkey(&mut row, rp, &ceremony.challenge, assertion).is_err() {
            return Err(self.wrong(Some(&row), &self.here()));
        }
        self.right(attempt);
        self.stepped_up(row, LoginStrength::Passkey, now)
    }

    /// A step up by a code of the caller's authenticator app.
    pub fn step_up_code(&self, code: &str) -> Result<(), EngineError> {
        let now = (self.settings.now)();
        let me = PersonId(self.caller.person.id.clone());
        let _turn = self.team.factor_turn();
        let mut row = self.members_now()?.people.get(&me).cloned().ok_or(EngineError::NotSignedIn)?;
        let attempt = self.attempt(&row.name, self.caller.address, now)?;
        match self.check_code(&mut row, code, now) {
            Some(_) => {
                self.right(attempt);
                self.stepped_up(row, self.caller.login, now)
            }
            None => Err(self.wrong(Some(&row), &self.here())),
        }
    }

    fn stepped_up(&self, row: PersonRow, login: LoginStrength, now: Timestamp) -> Result<(), EngineError> {
        let key = self.caller.key.ok_or(EngineError::NotSignedIn)?;
        let mut session = self.members()?.sessions.get(&key).cloned().ok_or(EngineError::NotSignedIn)?;
        session.proven = now;
        session.login = session.login.max(login);
        let act = Act {
            action: Action::Enter,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "step up", "session": key.to_string()}),
            subject: row.name.clone(),
            reach: Reach::Inside,
        };
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.person_row(&row)?);
            effect.rows.push(self.session_row(&session)?);
            Ok(effect)
        })?;
        Ok(())
    }

    /// Begins a session for `row`, whose factors were shown just now.
    pub(crate) fn enter(
        &self,
        row: PersonRow,
        proofs: &[Proof],
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Entered, EngineError> {
        let login = factors::strength(proofs).ok_or(EngineError::NotSignedIn)?;
        self.begin_session(row, &Begun { login, proven: now, what: "log in", roles: BTreeSet::new() }, origin, now)
    }

    /// Begins a session for `row`.
    pub(crate) fn begin_session(
        &self,
        row: PersonRow,
        begun: &Begun,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Entered, EngineError> {
        let Begun { login, proven, what, ref roles } = *begun;
        let mut person = row.person();
        person.roles.extend(roles);
        let caller = Caller { login, proven: Some(proven), address: origin.address, ..Caller::bare(person) };
        let vault = self.acting(caller);
        let token = Token::random(TokenKind::Session, &mut SystemEntropy::new());
        let until = now.plus_millis(SESSION_LIFE_MS);
        let session = SessionRow {
            token: token.stored(),
            person: row.id.clone(),
            login,
            roles: roles.clone(),
            since: now,
            proven,
            until,
            address: origin.address,
            client: origin.client.chars().filter(|c| !c.is_control()).take(CLIENT_CHARS_MAX).collect(),
        };
        let members = self.members()?;
        let mut old: Vec<&SessionRow> = members.sessions.values().filter(|old| old.person == row.id).collect();
        old.sort_by_key(|old| old.until);
        let over = old.iter().filter(|old| old.until <= now).count().max((old.len() + 1).saturating_sub(SESSIONS_MAX));
        let act = Act {
            action: Action::Enter,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": what, "login": login, "roles": roles}),
            subject: row.name.clone(),
            reach: Reach::Inside,
        };
        vault.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(vault.person_row(&row)?);
            effect.rows.push(vault.session_row(&session)?);
            effect.rows.extend(old.iter().take(over).map(|old| vault.no_session(old.token.id)));
            effect.openings.insert("result".to_owned(), json!({"session": token.id().to_string(), "login": login}));
            Ok(effect)
        })?;
        Ok(Entered { token: token.shown(), person: row.view(), until })
    }

    pub(crate) fn begin(&self, challenge: Challenge, purpose: Purpose) -> CeremonyId {
        locked(&self.team.ceremonies).begin(challenge, purpose, (self.settings.now)())
    }

    /// Records a login that failed; the answer is the same for all. What was typed as a name is not repeated: people type
    /// passwords into the wrong field.
    pub(super) fn wrong(&self, whom: Option<&PersonRow>, origin: &Origin) -> EngineError {
        let caller = Caller { address: origin.address, ..Caller::console() };
        let subject = whom.map_or("an unknown name", |row| row.name.as_str());
        let recorded = self.acting(caller).deny(Action::Enter, subject, "a factor was wrong");
        recorded.err().unwrap_or(EngineError::NotSignedIn)
    }

    pub(super) fn here(&self) -> Origin {
        Origin { address: self.caller.address, client: String::new() }
    }

    /// Checks an assertion by one of the person's passkeys and moves its counter.
    pub(super) fn check_passkey(
        row: &mut PersonRow,
        rp: &RelyingParty,
        challenge: &Challenge,
        assertion: &Assertion,
    ) -> Result<(), EngineError> {
        let held = row.passkey_mut(assertion).ok_or(EngineError::NotSignedIn)?;
        let verified = held.passkey.verify(rp, challenge, assertion).map_err(|_| EngineError::NotSignedIn)?;
        held.passkey.used(&verified);
        Ok(())
    }

    /// Checks a code and uses it up.
    fn check_code(&self, row: &mut PersonRow, code: &str, now: Timestamp) -> Option<Proof> {
        if let (Ok(code), Some(app)) = (TotpCode::parse(code), row.totp.as_mut()) {
            let sealed = from_hex(&app.sealed)?;
            let secret = TotpSecret::open(&self.keys.detail, &totp_context(&row.id), &sealed).ok()?;
            app.last = Some(secret.accepts(&code, now, app.last)?);
            return Some(Proof::Totp);
        }
        row.recovery.as_mut()?.spend(code).ok()?;
        Some(Proof::RecoveryCode)
    }
}

impl PersonRow {
    /// Their passkeys.
    pub(crate) fn passkeys(&self) -> Vec<Passkey> {
        self.passkeys.iter().map(|row| row.passkey.clone()).collect()
    }

    fn passkey(&self, assertion: &Assertion) -> Option<&super::rows::PasskeyRow> {
        self.passkeys.iter().find(|row| row.passkey.credential_id == assertion.credential_id)
    }

    fn passkey_mut(&mut self, assertion: &Assertion) -> Option<&mut super::rows::PasskeyRow> {
        self.passkeys.iter_mut().find(|row| row.passkey.credential_id == assertion.credential_id)
    }
}

pub(crate) fn as_json(options: &impl serde::Serialize) -> Result<Value, EngineError> {
    serde_json::to_value(options).map_err(|error| EngineError::incomplete("options of a passkey", error))
}

/// What a sealed key of an authenticator app is bound to.
pub(crate) fn totp_context(person: &PersonId) -> [&[u8]; 2] {
    [b"ringfence.totp/1", person.0.as_bytes()]
}

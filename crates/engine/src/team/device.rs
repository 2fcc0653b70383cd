//! Logging a command line in: it shows a code, and a person who is in confirms it on a page (RFC 8628).
//!
//! The page shows where the question comes from before it is confirmed. The new session is no stronger, and its step-up
//! no fresher, than the one that confirmed it. In the same way a command line that is in asks for a step up: the same person
//! confirms it, in a session of theirs that has just stepped up.

use std::{collections::BTreeMap, net::IpAddr};

use ringfence_access::{Action, Facts, Resource, factors::step_up_holds};
use ringfence_schema::Timestamp;
use ringfence_trust::{
    entropy::{self, SystemEntropy},
    factor::token::{StoredToken, Token, TokenId, TokenKind},
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    PersonId,
    desk::locked,
    login::{Begun, Entered, Origin},
};
use crate::{
    act::{Act, Effect, Reach},
    error::EngineError,
    vault::Vault,
};

/// How long a code is good, in milliseconds.
pub const DEVICE_LIFE_MS: u64 = 10 * 60 * 1_000;
/// How long a device waits between two questions, in seconds.
pub const DEVICE_POLL_S: u64 = 2;
/// Most devices that wait; the oldest is given up when another begins.
const DEVICES_MAX: usize = 1_024;
/// Consonants that are not mistaken for each other or for digits (RFC 8628 §6.1).
const CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_CHARS: usize = 8;

/// What a device shows and keeps.
#[derive(Debug)]
pub struct DeviceOffer {
    /// Kept by the device, to ask with.
    pub device: Zeroizing<String>,
    /// Typed by the person, such as `BCDF-GHJK`.
    pub user_code: String,
    /// Until when.
    pub until: Timestamp,
}

/// A device that waits, as the page shows it.
#[derive(Debug, Clone)]
pub struct DeviceAsk {
    /// What it calls itself.
    pub client: String,
    /// Where it asks from.
    pub address: Option<IpAddr>,
    /// Since when.
    pub since: Timestamp,
    /// It is in already, and asks for a step up.
    pub step_up: bool,
}

/// What a device hears.
#[derive(Debug)]
pub enum DeviceAnswer {
    /// Nobody has confirmed it yet.
    Pending,
    /// It is in.
    Entered(Entered),
    /// Dangerous acts are open to it.
    SteppedUp,
}

struct Waiting {
    token: StoredToken,
    origin: Origin,
    since: Timestamp,
    until: Timestamp,
    /// Somebody is letting it in, or has.
    confirmed: bool,
    /// The session and its person, where it asks for a step up.
    stepping: Option<(TokenId, PersonId)>,
    answer: Option<DeviceAnswer>,
}

/// Devices that wait, by the code without its hyphen.
#[derive(Default)]
pub(crate) struct Devices(BTreeMap<String, Waiting>);

impl Vault<'_> {
    /// A device asks to be let in.
    pub fn begin_device(&self, origin: &Origin) -> DeviceOffer {
        self.device_waits(origin, None)
    }

    /// The command line with the caller's session asks for a step up.
    ///
    /// # Errors
    /// [`EngineError::NotPermitted`] for a token, which never steps up.
    pub fn begin_device_step_up(&self, origin: &Origin) -> Result<DeviceOffer, EngineError> {
        let session = self.caller.key.filter(|_| self.caller.scope.is_none());
        let session = session.ok_or_else(|| EngineError::NotPermitted { what: "a token steps up nowhere".into() })?;
        Ok(self.device_waits(origin, Some((session, PersonId(self.caller.person.id.clone())))))
    }

    fn device_waits(&self, origin: &Origin, stepping: Option<(TokenId, PersonId)>) -> DeviceOffer {
        let now = (self.settings.now)();
        let entropy = &mut SystemEntropy::new();
        let token = Token::random(TokenKind::Device, entropy);
        let until = now.plus_millis(DEVICE_LIFE_MS);
        let mut devices = locked(&self.team.devices);
        devices.0.retain(|_, waiting| now < waiting.until);
        if devices.0.len() >= DEVICES_MAX
            && let Some(oldest) =
                devices.0.iter().min_by_key(|(_, waiting)| waiting.since).map(|(code, _)| code.clone())
        {
            devices.0.remove(&oldest);
        }
        let code = loop {
            let code = random_code(entropy);
            if !devices.0.contains_key(&code) {
                break code;
            }
        };
        let origin = origin.clone();
        let stored = token.stored();
        let waiting = Waiting { token: stored, origin, since: now, until, confirmed: false, stepping, answer: None };
        devices.0.insert(code.clone(), waiting);
        let (first, last) = code.split_at(CODE_CHARS / 2);
        DeviceOffer { device: token.shown(), user_code: format!("{first}-{last}"), until }
    }

    /// The device that shows `user_code`. Only for whoever is in.
    pub fn device(&self, user_code: &str) -> Result<DeviceAsk, EngineError> {
        let now = (self.settings.now)();
        let code = plain(user_code);
        let devices = locked(&self.team.devices);
        let waiting = devices.0.get(&code).filter(|waiting| now < waiting.until && !waiting.confirmed);
        let waiting = waiting.ok_or_else(no_code)?;
        let Origin { client, address } = waiting.origin.clone();
        Ok(DeviceAsk { client, address, since: waiting.since, step_up: waiting.stepping.is_some() })
    }

    /// Lets the device in that shows `user_code`, as the caller, or steps its session up.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a code that nothing shows; [`EngineError::NotPermitted`] for a token, for somebody
    /// else's command line, and for a step up by whoever has not stepped up.
    pub fn confirm_device(&self, user_code: &str) -> Result<(), EngineError> {
        let now = (self.settings.now)();
        if self.caller.scope.is_some() {
            return Err(EngineError::NotPermitted { what: "a token lets nobody in".to_owned() });
        }
        let proven = self.caller.proven.ok_or(EngineError::NotSignedIn)?;
        let code = plain(user_code);
        let (origin, stepping) = {
            let mut devices = locked(&self.team.devices);
            let waiting = devices.0.get_mut(&code).filter(|waiting| now < waiting.until && !waiting.confirmed);
            let waiting = waiting.ok_or_else(no_code)?;
            if let Some((_, person)) = &waiting.stepping {
                let what = if person.as_str() != self.caller.person.id {
                    Some("this command line is somebody else's")
                } else if !step_up_holds(Some(proven), now) {
                    Some("step up here first, then confirm the code")
                } else {
                    None
                };
                if let Some(what) = what {
                    return Err(EngineError::NotPermitted { what: what.to_owned() });
                }
            }
            // The session is begun outside of the lock, and once.
            waiting.confirmed = true;
            (waiting.origin.clone(), waiting.stepping.clone())
        };
        let answer = match &stepping {
            None => self.enter_device(&origin, proven, now).map(DeviceAnswer::Entered),
            Some((session, _)) => self.step_up_device(*session, proven).map(|()| DeviceAnswer::SteppedUp),
        };
        if let Some(waiting) = locked(&self.team.devices).0.get_mut(&code) {
            waiting.confirmed = answer.is_ok();
            waiting.answer = Some(answer?);
        }
        Ok(())
    }

    /// The session of a command line takes over what the caller has proven, if it still goes on.
    fn step_up_device(&self, session: TokenId, proven: Timestamp) -> Result<(), EngineError> {
        let me = PersonId(self.caller.person.id.clone());
        let members = self.members_now()?;
        let held = members.sessions.get(&session).filter(|held| held.person == me);
        let mut held = held.cloned().ok_or_else(no_code)?;
        held.proven = held.proven.max(proven);
        held.login = held.login.max(self.caller.login);
        let act = Act {
            action: Action::Enter,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": "step up a device", "session": session.to_string()}),
            subject: self.someone(&me)?.name,
            reach: Reach::Inside,
        };
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.session_row(&held)?);
            Ok(effect)
        })?;
        Ok(())
    }

    fn enter_device(&self, origin: &Origin, proven: Timestamp, now: Timestamp) -> Result<Entered, EngineError> {
        let row = self.someone(&PersonId(self.caller.person.id.clone()))?;
        let begun = Begun { login: self.caller.login, proven, what: "confirm a device", roles: self.session_roles()? };
        self.begin_session(row, &begun, origin, now)
    }

    /// What became of a device's question.
    ///
    /// # Errors
    /// [`EngineError::NotSignedIn`] where it is unknown, over or answered already.
    pub fn poll_device(&self, device: &str) -> Result<DeviceAnswer, EngineError> {
        let now = (self.settings.now)();
        let token = Token::parse(device).map_err(|_| EngineError::NotSignedIn)?;
        let mut devices = locked(&self.team.devices);
        let found = devices.0.iter().find(|(_, waiting)| now < waiting.until && waiting.token.is(&token));
        let code = found.map(|(code, _)| code.clone()).ok_or(EngineError::NotSignedIn)?;
        if devices.0.get(&code).is_some_and(|waiting| waiting.answer.is_none()) {
            return Ok(DeviceAnswer::Pending);
        }
        devices.0.remove(&code).and_then(|waiting| waiting.answer).ok_or(EngineError::NotSignedIn)
    }
}

fn random_code(entropy: &mut SystemEntropy) -> String {
    let mut code = String::with_capacity(CODE_CHARS);
    while code.len() < CODE_CHARS {
        let [byte]: [u8; 1] = entropy::bytes(entropy);
        // 240 is the largest multiple of 20 in a byte; what lies above would favour some letters.
        if byte < 240
            && let Some(letter) = CODE_LETTERS.get(usize::from(byte) % CODE_LETTERS.len())
        {
            code.push(char::from(*letter));
        }
    }
    code
}

/// A code as it was typed, without hyphens, spaces and case.
fn plain(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_alphabetic).take(2 * CODE_CHARS).collect::<String>().to_ascii_uppercase()
}

fn no_code() -> EngineError {
    EngineError::NotFound { what: "device with this code", name: "(not repeated)".to_owned() }
}

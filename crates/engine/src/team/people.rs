//! People and programs: invited, listed, given roles, disabled, reset.

use std::collections::BTreeSet;

use ringfence_access::{
    Action, Facts, PersonKind, Resource, Role,
    factors::Standing,
    names::{Alphabet, LoginName},
};
use ringfence_schema::Timestamp;
use ringfence_trust::{
    entropy::{self, SystemEntropy},
    factor::token::{Token, TokenKind},
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Caller, PersonId, PersonView, Status,
    rows::{InvitationRow, Members, PersonRow},
};
use crate::{
    act::{Act, Effect, Reach},
    error::EngineError,
    vault::Vault,
};

/// How long an invitation is good, in milliseconds.
pub const INVITATION_LIFE_MS: u64 = 24 * 60 * 60 * 1_000;
/// How long the first administrator's way in is good, in milliseconds.
pub const SETUP_LIFE_MS: u64 = 15 * 60 * 1_000;
/// Longest name for people, in characters.
const DISPLAY_CHARS_MAX: usize = 80;
/// Most people and programs in a vault.
const PEOPLE_MAX: usize = 100_000;
pub(crate) const SETUP_NAME: &str = "setup";
/// Whom policies are asked about where nobody has the id: no id of ours looks like it.
pub(crate) const NOBODY: &str = "nobody";

/// Whom to invite.
#[derive(Debug, Clone)]
pub struct Invite {
    /// The name to log in with, as it was typed.
    pub name: String,
    /// What people call them.
    pub display: String,
    /// Human, or a program.
    pub kind: PersonKind,
    /// What they may do.
    pub roles: BTreeSet<Role>,
}

/// Somebody was invited.
#[derive(Debug)]
pub struct Invitation {
    /// Whom.
    pub person: PersonView,
    /// Good once, to enrol with; to be handed over by another way than this system. A program has none.
    pub token: Option<Zeroizing<String>>,
    /// Until when.
    pub until: Option<Timestamp>,
}

impl Vault<'_> {
    /// Whether several people share this vault. A solo vault becomes a shared one when its first administrator has enrolled.
    pub fn is_shared(&self) -> bool {
        !self.current_root().document().solo
    }

    /// The way in of the first administrator: a token that is good once, for [`SETUP_LIFE_MS`]. It replaces an earlier one.
    ///
    /// # Errors
    /// [`EngineError::Usage`] where somebody has enrolled already: from then on, people invite people.
    pub fn offer_setup(&self) -> Result<Invitation, EngineError> {
        if self.is_shared() {
            return Err(EngineError::Usage {
                what: "this vault has an administrator, who invites whoever else is to come in".to_owned(),
            });
        }
        let members = self.members()?;
        let id = members.named(SETUP_NAME).map_or_else(new_id, |row| row.id.clone());
        let (token, until) = self.new_invitation(TokenKind::Setup, SETUP_LIFE_MS);
        let row = PersonRow {
            id,
            name: SETUP_NAME.to_owned(),
            display: "the first administrator".to_owned(),
            kind: PersonKind::Human,
            status: Status::Invited,
            roles: BTreeSet::from([Role::Owner]),
            since: (self.settings.now)(),
            by: None,
            owes: BTreeSet::new(),
            invitation: Some(InvitationRow { token: token.stored(), until }),
            passkeys: Vec::new(),
            keys: Vec::new(),
            password: None,
            totp: None,
            recovery: None,
            federated: Vec::new(),
            directory: None,
        };
        self.appoint("offer setup", &row, json!({"until": until}))?;
        Ok(Invitation { person: row.view(), token: Some(token.shown()), until: Some(until) })
    }

    /// Invites a person, or makes a program known.
    pub fn invite(&self, invite: &Invite) -> Result<Invitation, EngineError> {
        self.may(Action::Appoint, Some(NOBODY), "somebody new")?;
        let name = self.free_name(&invite.name)?;
        let display = display_name(&invite.display)?;
        let human = invite.kind == PersonKind::Human;
        let offered = human.then(|| self.new_invitation(TokenKind::Invite, INVITATION_LIFE_MS));
        let by = PersonId(self.caller.person.id.clone());
        let row = PersonRow {
            id: new_id(),
            name: name.as_str().to_owned(),
            display,
            kind: invite.kind,
            status: if human { Status::Invited } else { Status::Active },
            roles: invite.roles.clone(),
            since: (self.settings.now)(),
            owes: BTreeSet::from([by.clone()]),
            by: Some(by),
            invitation: offered.as_ref().map(|(token, until)| InvitationRow { token: token.stored(), until: *until }),
            passkeys: Vec::new(),
            keys: Vec::new(),
            password: None,
            totp: None,
            recovery: None,
            federated: Vec::new(),
            directory: None,
        };
        self.appoint("invite", &row, json!({"name": row.name, "roles": row.roles}))?;
        let (token, until) = offered.map_or((None, None), |(token, until)| (Some(token.shown()), Some(until)));
        Ok(Invitation { person: row.view(), token, until })
    }

    /// Everybody, sorted by name. Whoever may see the vault may see who is in it.
    pub fn people(&self) -> Result<Vec<PersonView>, EngineError> {
        let mut people: Vec<PersonView> = self.members()?.people.values().map(PersonRow::view).collect();
        people.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(people)
    }

    /// The person or program that `who` names: an id, or the name to log in with.
    pub fn person(&self, who: &str) -> Result<PersonView, EngineError> {
        let members = self.members()?;
        find(&members, who).map(PersonRow::view)
    }

    /// Gives somebody exactly these roles. Their sessions have them from the next request on.
    pub fn set_roles(&self, who: &PersonId, roles: &BTreeSet<Role>) -> Result<PersonView, EngineError> {
        let mut row = self.appointee(who)?;
        let before = std::mem::replace(&mut row.roles, roles.clone());
        if self.leaves_no_owner(&row)? {
            return Err(EngineError::Usage {
                what: "somebody has to be the owner; appoint another one first".to_owned(),
            });
        }
        self.appoint("set roles", &row, json!({"from": before, "to": roles}))?;
        Ok(row.view())
    }

    /// Shuts somebody out: their sessions and tokens end in the same transaction.
    pub fn disable(&self, who: &PersonId, reason: &str) -> Result<PersonView, EngineError> {
        let mut row = self.appointee(who)?;
        row.status = Status::Disabled;
        row.invitation = None;
        if let Some(told) = &mut row.directory {
            // Whom people shut out, no directory lets in again.
            told.shut_out = false;
        }
        if self.leaves_no_owner(&row)? {
            return Err(EngineError::Usage {
                what: "somebody has to be the owner; appoint another one first".to_owned(),
            });
        }
        let members = self.members()?;
        let act = Self::appointment("disable", &row, json!({"reason": reason}));
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.person_row(&row)?);
            self.end_all(&members, &row.id, &mut effect);
            effect.openings.insert("result".to_owned(), json!({"person": row.id, "status": row.status}));
            Ok(effect)
        })?;
        Ok(row.view())
    }

    /// Lets somebody in again who was shut out; their factors are as they were.
    pub fn enable(&self, who: &PersonId) -> Result<PersonView, EngineError> {
        let mut row = self.appointee(who)?;
        if row.status != Status::Disabled {
            return Err(EngineError::Usage { what: format!("`{}` is not disabled", row.name) });
        }
        let complete = row.kind == PersonKind::Service || row.factors().standing() == Standing::Full;
        row.status = if complete { Status::Active } else { Status::Invited };
        self.appoint("enable", &row, json!({}))?;
        Ok(row.view())
    }

    /// Takes all factors of a person away and invites them anew. Whoever did it can never count them as a second person.
    pub fn reset_factors(&self, who: &PersonId, reason: &str) -> Result<Invitation, EngineError> {
        let mut row = self.appointee(who)?;
        if row.kind != PersonKind::Human {
            return Err(EngineError::Usage { what: "a program has no factors; give it another token".to_owned() });
        }
        let (token, until) = self.new_invitation(TokenKind::Invite, INVITATION_LIFE_MS);
        row.status = Status::Invited;
        row.owes.insert(PersonId(self.caller.person.id.clone()));
        row.invitation = Some(InvitationRow { token: token.stored(), until });
        (row.passkeys, row.password, row.totp, row.recovery) = (Vec::new(), None, None, None);
        row.keys = Vec::new();
        let members = self.members()?;
        let act = Self::appointment("reset factors", &row, json!({"reason": reason}));
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.person_row(&row)?);
            self.end_all(&members, &row.id, &mut effect);
            effect.openings.insert("result".to_owned(), json!({"person": row.id}));
            Ok(effect)
        })?;
        Ok(Invitation { person: row.view(), token: Some(token.shown()), until: Some(until) })
    }

    /// People whom `requester` invited or reset: their word does not count as a second one.
    pub(crate) fn dependants(&self, requester: &PersonId) -> Result<BTreeSet<String>, EngineError> {
        let members = self.members()?;
        let owing = members.people.values().filter(|row| row.owes.contains(requester));
        Ok(owing.map(|row| row.id.0.clone()).collect())
    }

    /// The row of whom the caller wants to change, once it is clear that they may change people at all.
    pub(super) fn appointee(&self, who: &PersonId) -> Result<PersonRow, EngineError> {
        let row = self.someone(who);
        let (about, subject) =
            row.as_ref().map_or((NOBODY, "an unknown person"), |row| (row.id.as_str(), row.name.as_str()));
        self.may(Action::Appoint, Some(about), subject)?;
        row
    }

    /// The row of somebody.
    pub(crate) fn someone(&self, who: &PersonId) -> Result<PersonRow, EngineError> {
        let members = self.members()?;
        members.people.get(who).cloned().ok_or_else(|| no_person(who.as_str()))
    }

    /// Ends everything that lets `who` act, sessions and tokens, and answers how many these are.
    pub(crate) fn end_all(&self, members: &Members, who: &PersonId, effect: &mut Effect<()>) -> usize {
        let before = effect.rows.len();
        self.courses.end_all(who.as_str());
        for session in members.sessions.values().filter(|session| session.person == *who) {
            effect.rows.push(self.no_session(session.token.id));
        }
        for token in members.tokens.values().filter(|token| token.person == *who) {
            effect.rows.push(self.no_token(token.token.id));
        }
        effect.rows.len() - before
    }

    pub(super) fn appointment(what: &str, row: &PersonRow, detail: serde_json::Value) -> Act {
        Act {
            action: Action::Appoint,
            resources: vec![Resource::Vault],
            facts: Facts { about: Some(row.id.0.clone()), ..Facts::default() },
            request: json!({"what": what, "person": row.id, "detail": detail}),
            subject: row.name.clone(),
            reach: Reach::Inside,
        }
    }

    /// Writes a person's row as an appointment.
    fn appoint(&self, what: &str, row: &PersonRow, detail: serde_json::Value) -> Result<(), EngineError> {
        let act = Self::appointment(what, row, detail);
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.person_row(row)?);
            effect.openings.insert("result".to_owned(), json!({"person": row.id, "roles": row.roles}));
            Ok(effect)
        })?;
        Ok(())
    }

    fn new_invitation(&self, kind: TokenKind, life_ms: u64) -> (Token, Timestamp) {
        let token = Token::random(kind, &mut SystemEntropy::new());
        (token, (self.settings.now)().plus_millis(life_ms))
    }

    /// A name that nobody has and that cannot be taken for anybody's.
    pub(crate) fn free_name(&self, typed: &str) -> Result<LoginName, EngineError> {
        let name = LoginName::parse(typed, Alphabet::Ascii)
            .map_err(|error| EngineError::Usage { what: format!("this is no name to log in with: {error}") })?;
        let members = self.members()?;
        if members.people.len() >= PEOPLE_MAX {
            return Err(EngineError::Usage { what: format!("there are {PEOPLE_MAX} people already") });
        }
        if name.as_str() == SETUP_NAME || members.names.contains_key(name.as_str()) {
            return Err(EngineError::Taken { what: "name", name: name.as_str().to_owned() });
        }
        Ok(name)
    }

    /// Whether nobody would be the owner if `changed` were stored.
    fn leaves_no_owner(&self, changed: &PersonRow) -> Result<bool, EngineError> {
        let owns = |row: &PersonRow| row.roles.contains(&Role::Owner) && row.status == Status::Active;
        let members = self.members()?;
        Ok(!owns(changed) && !members.people.values().any(|row| row.id != changed.id && owns(row)))
    }

    /// Acts as the person who came by an invitation.
    pub(crate) fn acting_invited(&self, row: &PersonRow) -> Self {
        let caller = Caller { first_enrolment: true, address: self.caller.address, ..Caller::bare(row.person()) };
        self.acting(caller)
    }
}

pub(crate) fn find<'m>(members: &'m Members, who: &str) -> Result<&'m PersonRow, EngineError> {
    let by_id = members.people.get(&PersonId::from(who));
    by_id.or_else(|| members.named(&who.to_lowercase())).ok_or_else(|| no_person(who))
}

fn no_person(who: &str) -> EngineError {
    EngineError::NotFound { what: "person", name: who.to_owned() }
}

/// A new opaque id.
pub(crate) fn new_id() -> PersonId {
    let bytes: [u8; 8] = entropy::bytes(&mut SystemEntropy::new());
    PersonId(format!("p-{}", ringfence_schema::digest::hex(&bytes)))
}

/// What people may be called: one line of visible characters.
pub(crate) fn display_name(typed: &str) -> Result<String, EngineError> {
    let name = typed.trim();
    let fits =
        (1..=DISPLAY_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(|c| c.is_control() || is_bidi(c));
    if fits {
        Ok(name.to_owned())
    } else {
        Err(EngineError::Usage {
            what: format!("a name for people has 1 to {DISPLAY_CHARS_MAX} characters, none of them for control"),
        })
    }
}

/// Characters that turn the direction of what stands around them.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

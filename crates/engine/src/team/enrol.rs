//! A person's factors: the first by an invitation, more after a step up, none below a second factor.
//!
//! The first administrator's enrolment is also what makes a solo vault a shared one: the person's row and the next epoch
//! of the trust root, which says so, are one transaction.

use ringfence_access::{
    Action, Facts, Resource,
    factors::{Factor, FactorError, Proof, Standing},
};
use ringfence_catalog::{RowChange, Table};
use ringfence_schema::{Digest, Timestamp, digest::hex};
use ringfence_trust::{
    entropy::SystemEntropy,
    factor::{
        passkey::{Challenge, CreationOptions, Passkey, Registration, RelyingParty, User, UserHandle},
        password::{Cost, Password},
        recovery::RecoverySet,
        token::{Token, TokenKind},
        totp::{TotpCode, TotpSecret},
    },
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    PersonId, PersonView, Status,
    desk::locked,
    login::{Entered, Offer, Origin, Purpose, as_json, totp_context},
    people::display_name,
    proof::{FACTORS, Factors},
    rows::{PasskeyRow, PasswordRow, PersonRow, TotpRow},
};
use crate::{
    act::{Act, Effect, Reach},
    error::EngineError,
    vault::Vault,
};

/// How the relying party is called in a browser's dialogue.
const SHOWN: &str = "Ringfence";

/// Whom an invitation invites.
#[derive(Debug)]
pub struct Invited {
    /// Who it is.
    pub person: PersonView,
    /// Whether they still choose their name, as the first administrator does.
    pub chooses_name: bool,
    /// Until when it is good.
    pub until: Timestamp,
}

/// A factor was enrolled.
#[derive(Debug)]
pub struct Enrolled {
    /// Whose.
    pub person: PersonView,
    /// With the first factor: codes for the day on which it is lost, shown once.
    pub recovery_codes: Option<Vec<Zeroizing<String>>>,
    /// With the first factor: the person is in.
    pub entered: Option<Entered>,
}

/// The key of an authenticator app, shown once.
#[derive(Debug)]
pub struct TotpOffer {
    /// To be given back with a code of the app.
    pub ceremony: String,
    /// `otpauth://…`, for the app.
    pub uri: Zeroizing<String>,
}

/// A password and the first code of an authenticator app: together a second factor.
#[derive(Debug)]
pub struct FirstPassword {
    /// The password, as chosen.
    pub password: String,
    /// The ceremony that showed the app's key.
    pub ceremony: String,
    /// A code of the app.
    pub code: String,
}

/// Who enrols: whoever came by an invitation, with the names that a first administrator chooses, or the caller.
#[derive(Debug, Clone, Copy)]
pub enum Enrollee<'a> {
    /// By an invitation.
    Invited {
        /// The invitation's token.
        token: &'a str,
        /// The name to log in with, for people, where it is still to be chosen.
        names: Option<(&'a str, &'a str)>,
    },
    /// The caller, who has a factor.
    Caller,
}

impl Vault<'_> {
    /// Whom `token` invites.
    ///
    /// # Errors
    /// [`EngineError::NotSignedIn`], whatever is wrong with it.
    pub fn invited(&self, token: &str) -> Result<Invited, EngineError> {
        let (row, chooses_name) = self.invitee(token)?;
        let until = row.invitation.as_ref().map_or((self.settings.now)(), |invitation| invitation.until);
        Ok(Invited { person: row.view(), chooses_name, until })
    }

    /// Begins the enrolment of a passkey.
    pub fn begin_enrol(&self, rp: &RelyingParty, who: Enrollee<'_>) -> Result<Offer, EngineError> {
        let (row, _) = self.enrollee(who)?;
        let challenge = Challenge::random(&mut SystemEntropy::new());
        let user = User { handle: handle(&row)?, name: row.name.clone(), display_name: row.display.clone() };
        let options = as_json(&CreationOptions::new(rp, SHOWN, user, &challenge, &row.passkeys()))?;
        Ok(Offer { ceremony: self.begin(challenge, Purpose::Enrol(row.id)), options })
    }

    /// Ends the enrolment of a passkey.
    pub fn finish_enrol(
        &self,
        rp: &RelyingParty,
        who: Enrollee<'_>,
        ceremony: &str,
        registration: &Registration,
        label: &str,
        origin: &Origin,
    ) -> Result<Enrolled, EngineError> {
        let now = (self.settings.now)();
        let (mut row, first) = self.enrollee(who)?;
        let label = display_name(label)?;
        let begun = locked(&self.team.ceremonies).end(ceremony, now);
        let begun = begun.filter(|begun| begun.purpose == Purpose::Enrol(row.id.clone()));
        let begun = begun.ok_or_else(|| usage("this enrolment has taken too long; begin it again"))?;
        let passkey = Passkey::register(rp, &handle(&row)?, &begun.challenge, registration)
            .map_err(|error| usage(&format!("the passkey's answer does not count: {error}")))?;
        let members = self.members()?;
        let mut held = members.people.values().flat_map(|person| &person.passkeys);
        if held.any(|held| held.passkey.credential_id == passkey.credential_id) {
            return Err(usage("this passkey is enrolled already"));
        }
        row.factors().with(Factor::Passkey).map_err(factor_error)?;
        row.passkeys.push(PasskeyRow { label, since: now, passkey });
        self.enrolled(row, first, "passkey", &[Proof::PasskeyVerified], origin, now)
    }

    /// Shows the key of an authenticator app, which counts once a code of it has come back.
    pub fn begin_totp(&self, issuer: &str, who: Enrollee<'_>) -> Result<TotpOffer, EngineError> {
        let (row, _) = self.enrollee(who)?;
        let entropy = &mut SystemEntropy::new();
        let secret = TotpSecret::random(entropy);
        let sealed = secret
            .seal(&self.keys.detail, entropy, &totp_context(&row.id))
            .map_err(|error| EngineError::incomplete("authenticator app", error))?;
        let uri = secret.uri(issuer, &row.name);
        let ceremony = self.begin(Challenge::random(entropy), Purpose::Totp(row.id, hex(&sealed)));
        Ok(TotpOffer { ceremony, uri })
    }

    /// Enrols a password together with an authenticator app.
    pub fn finish_password(
        &self,
        who: Enrollee<'_>,
        first: FirstPassword,
        origin: &Origin,
    ) -> Result<Enrolled, EngineError> {
        let now = (self.settings.now)();
        let (mut row, invited) = self.enrollee(who)?;
        let begun = locked(&self.team.ceremonies).end(&first.ceremony, now);
        let Some(Purpose::Totp(person, sealed)) = begun.map(|begun| begun.purpose) else {
            return Err(usage("this enrolment has taken too long; begin it again"));
        };
        if person != row.id {
            return Err(usage("this enrolment is somebody else's"));
        }
        let factors = row.factors().with(Factor::Password).and_then(|factors| factors.with(Factor::Totp));
        factors.map_err(factor_error)?;
        let bytes = ringfence_schema::digest::from_hex(&sealed).unwrap_or_default();
        let secret = TotpSecret::open(&self.keys.detail, &totp_context(&row.id), &bytes)
            .map_err(|error| EngineError::incomplete("authenticator app", error))?;
        let step = TotpCode::parse(&first.code).ok().and_then(|code| secret.accepts(&code, now, None));
        let step = step.ok_or_else(|| usage("the app's code is not the one that belongs to this key now"))?;
        let password =
            Password::chosen(first.password, &[&row.name, &row.display]).map_err(|error| usage(&error.to_string()))?;
        let hash = {
            let _turn = self.team.hashing()?;
            password
                .hash(Cost::default(), &mut SystemEntropy::new())
                .map_err(|error| EngineError::incomplete("password", error))?
        };
        row.password = Some(PasswordRow { hash, since: now });
        row.totp = Some(TotpRow { sealed, since: now, last: Some(step) });
        self.enrolled(row, invited, "password and app", &[Proof::Password, Proof::Totp], origin, now)
    }

    /// Takes one of the caller's factors away; a second factor always stays.
    pub fn remove_factor(&self, id: &str) -> Result<PersonView, EngineError> {
        let mut row = self.someone(&PersonId(self.caller.person.id.clone()))?;
        let gone = || EngineError::NotFound { what: "factor", name: id.to_owned() };
        if let Ok(digest) = id.parse::<Digest>() {
            // It let nobody in, so it can go whatever else there is.
            let at = row.keys.iter().position(|held| held.key.digest() == digest);
            row.keys.remove(at.ok_or_else(gone)?);
            self.enrol(&row, json!({"what": "remove", "factor": id}), |_| Ok(()))?;
            return Ok(row.view());
        }
        let kind = match id {
            "password" => Factor::Password,
            "totp" => Factor::Totp,
            _ => Factor::Passkey,
        };
        row.factors().without(kind).map_err(factor_error)?;
        match kind {
            Factor::Password => row.password = None,
            Factor::Totp => row.totp = None,
            Factor::Passkey => {
                let at = row.passkeys.iter().position(|held| held.passkey.credential_id.to_string() == id);
                row.passkeys.remove(at.ok_or_else(gone)?);
            }
        }
        self.enrol(&row, json!({"what": "remove", "factor": id}), |_| Ok(()))?;
        Ok(row.view())
    }

    /// New recovery codes in place of the old ones, shown once.
    pub fn new_recovery_codes(&self) -> Result<Vec<Zeroizing<String>>, EngineError> {
        let mut row = self.someone(&PersonId(self.caller.person.id.clone()))?;
        let (shown, set) = RecoverySet::random(&mut SystemEntropy::new());
        row.recovery = Some(set);
        self.enrol(&row, json!({"what": "recovery codes"}), |_| Ok(()))?;
        Ok(shown.shown().map(|code| Zeroizing::new(code.to_owned())).collect())
    }

    /// Stores an enrolled factor. With the first one, the person also gets recovery codes and a session.
    fn enrolled(
        &self,
        mut row: PersonRow,
        first: bool,
        what: &str,
        proofs: &[Proof],
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Enrolled, EngineError> {
        if !first {
            self.enrol(&row, json!({"what": what}), |_| Ok(()))?;
            return Ok(Enrolled { person: row.view(), recovery_codes: None, entered: None });
        }
        if row.factors().standing() != Standing::Full {
            return Err(usage("this alone is no second factor"));
        }
        let (codes, set) = RecoverySet::random(&mut SystemEntropy::new());
        row.recovery = Some(set);
        row.invitation = None;
        row.status = Status::Active;
        let _turn = self.team.factor_turn();
        // The invitation once more, under the lock: it is good for one enrolment.
        let unused = self.members_now()?.people.get(&row.id).is_some_and(|held| held.invitation.is_some());
        if !unused {
            return Err(EngineError::NotSignedIn);
        }
        let shares = !self.is_shared();
        if shares {
            self.alone()?;
        }
        let next_root = if shares { Some(self.shared_root()?) } else { None };
        let vault = self.acting_invited(&row);
        vault.enrol(&row, json!({"what": what, "first": true, "shares": shares}), |effect| {
            if let Some(root) = &next_root {
                let value = Some(root.file().to_vec());
                effect.rows.push(RowChange { table: Table::Root, key: b"root".to_vec(), value });
                // The policy of whoever held it alone goes on as the shared vault's first.
                if let Some(policy) = self.first_policy(&row.id)? {
                    effect.rows.extend(self.policy_rows(&policy)?);
                    effect.openings.insert("policy text".to_owned(), json!(policy.text));
                }
                effect.openings.insert("root".to_owned(), json!({"epoch": root.epoch(), "sha256": root.digest()}));
            }
            Ok(())
        })?;
        if let Some(root) = next_root {
            self.adopt_root(root)?;
        }
        let vault = self.acting(self.caller.clone());
        let entered = vault.enter(row.clone(), proofs, origin, now)?;
        let recovery_codes = codes.shown().map(|code| Zeroizing::new(code.to_owned())).collect();
        Ok(Enrolled { person: row.view(), recovery_codes: Some(recovery_codes), entered: Some(entered) })
    }

    pub(super) fn enrol(
        &self,
        row: &PersonRow,
        request: serde_json::Value,
        more: impl FnOnce(&mut Effect<()>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let act = Act {
            action: Action::Enrol,
            resources: vec![Resource::Vault],
            facts: Facts { about: Some(row.id.0.clone()), ..Facts::default() },
            request,
            subject: row.name.clone(),
            reach: Reach::Inside,
        };
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.person_row(row)?);
            // Public parts alone: whoever checks an approval later needs to know which key was whose, and since when.
            effect.openings.insert(FACTORS.to_owned(), json!(Factors::held_by(row)));
            more(&mut effect)?;
            Ok(effect)
        })?;
        Ok(())
    }

    /// The row of whoever enrols, and whether it is their first factor.
    fn enrollee(&self, who: Enrollee<'_>) -> Result<(PersonRow, bool), EngineError> {
        match who {
            Enrollee::Caller => Ok((self.someone(&PersonId(self.caller.person.id.clone()))?, false)),
            Enrollee::Invited { token, names } => {
                let (mut row, chooses) = self.invitee(token)?;
                if chooses {
                    let (name, display) = names.ok_or_else(|| usage("choose a name to log in with"))?;
                    self.free_name(name)?.as_str().clone_into(&mut row.name);
                    row.display = display_name(display)?;
                }
                Ok((row, true))
            }
        }
    }

    /// The row that an invitation is for, and whether its name is still to be chosen.
    fn invitee(&self, token: &str) -> Result<(PersonRow, bool), EngineError> {
        let now = (self.settings.now)();
        let token = Token::parse(token).map_err(|_| EngineError::NotSignedIn)?;
        let members = self.members()?;
        let holds = |row: &&PersonRow| {
            row.status == Status::Invited
                && row.invitation.as_ref().is_some_and(|held| now < held.until && held.token.is(&token))
        };
        let row = members.people.values().find(holds).ok_or(EngineError::NotSignedIn)?;
        Ok((row.clone(), token.kind() == TokenKind::Setup))
    }
}

/// What authenticators know a person by: the opaque id.
fn handle(row: &PersonRow) -> Result<UserHandle, EngineError> {
    UserHandle::new(row.id.as_str().as_bytes().to_vec()).map_err(|error| EngineError::incomplete("passkey", error))
}

fn usage(what: &str) -> EngineError {
    EngineError::Usage { what: what.to_owned() }
}

fn factor_error(error: FactorError) -> EngineError {
    usage(&error.to_string())
}

//! Keys in an SSH agent: enrolled by whoever has factors already, for approving what others ask for and nothing else.
//!
//! A key shows at its enrolment that its owner holds it: it signs a document that names this vault, this person and a
//! challenge of this moment. It is a factor of its person like others, so it needs the step up that they need, is recorded
//! with them, and goes when somebody resets them. It makes no login and raises nobody's standing.

use ringfence_access::factors::PASSKEYS_MAX;
use ringfence_schema::Digest;
use ringfence_trust::{
    entropy::SystemEntropy,
    factor::{
        agent::{AgentKey, AgentSignature, Namespace},
        passkey::Challenge,
    },
};
use serde_json::{Value, json};

use super::{
    PersonId, PersonView,
    desk::locked,
    login::{CeremonyId, Purpose},
    people::display_name,
    rows::KeyRow,
};
use crate::{bundle::canonical, error::EngineError, vault::Vault};

/// What an agent is asked to sign, so that its key can be enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOffer {
    /// To be given back with the signature.
    pub ceremony: CeremonyId,
    /// `ringfence.enrolment/1`, as canonical JSON; its SHA-256 is signed.
    pub document: String,
}

impl Vault<'_> {
    /// Begins the enrolment of one of the caller's keys.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for a caller who is nobody here.
    pub fn begin_key(&self) -> Result<KeyOffer, EngineError> {
        let me = self.someone(&PersonId(self.caller.person.id.clone()))?.id;
        let challenge = Challenge::random(&mut SystemEntropy::new());
        let document = self.enrolment(&me, &challenge)?;
        Ok(KeyOffer { ceremony: self.begin(challenge, Purpose::Key(me)), document })
    }

    /// Ends it.
    ///
    /// # Errors
    /// [`EngineError::Usage`] where it took too long, the signature does not hold, or somebody has this key already;
    /// [`EngineError::Refused`] without a second factor of the last ten minutes.
    pub fn finish_key(
        &self,
        ceremony: &str,
        key: &AgentKey,
        signature: &AgentSignature,
        label: &str,
    ) -> Result<PersonView, EngineError> {
        let now = (self.settings.now)();
        let mut row = self.someone(&PersonId(self.caller.person.id.clone()))?;
        let label = display_name(label)?;
        let begun = locked(&self.team.ceremonies).end(ceremony, now);
        let begun = begun.filter(|begun| begun.purpose == Purpose::Key(row.id.clone()));
        let begun = begun.ok_or_else(|| usage("this enrolment has taken too long; begin it again".to_owned()))?;
        let signed = Digest::of(self.enrolment(&row.id, &begun.challenge)?.as_bytes());
        key.verify(Namespace::Enrolment, &signed, signature).map_err(|error| usage(error.to_string()))?;
        let members = self.members()?;
        if members.people.values().flat_map(|person| &person.keys).any(|held| held.key == *key) {
            return Err(usage("this key is enrolled already".to_owned()));
        }
        if row.keys.len() >= PASSKEYS_MAX as usize {
            return Err(usage(format!("there are {PASSKEYS_MAX} keys already")));
        }
        row.keys.push(KeyRow { label, since: now, key: key.clone() });
        self.enrol(&row, json!({"what": "agent key", "key": key.fingerprint()}), |_| Ok(()))?;
        Ok(row.view())
    }

    fn enrolment(&self, person: &PersonId, challenge: &Challenge) -> Result<String, EngineError> {
        let document: Value = json!({
            "schema": Namespace::Enrolment.name(), "vault": self.id().to_string(), "person": person,
            "challenge": challenge, "says": "this key approves what others ask for in this vault",
        });
        let bytes = canonical(&document)?;
        String::from_utf8(bytes).map_err(|error| EngineError::incomplete("enrolment", error))
    }
}

fn usage(what: String) -> EngineError {
    EngineError::Usage { what }
}

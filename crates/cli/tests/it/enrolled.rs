//! A vault that several people share, without a browser: its first administrator enrols a passkey in software.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::SystemTime,
};

use ringfence_engine::{
    Asked, Passphrase, Settings, Silent, Vault,
    access::{PersonKind, Role},
    reach::{Reach, ReachError},
    schema::Timestamp,
    team::{
        Enrollee, Invite, Origin,
        passkey::{Challenge, RelyingParty, SoftKey, UserHandle},
    },
};
use ringfence_trust::entropy::SystemEntropy;
use serde_json::{Value, json};

/// Somebody who is in.
pub(crate) struct Member {
    /// The token of the session that enrolling began.
    pub(crate) session: String,
    /// Their passkey.
    pub(crate) key: SoftKey,
}

impl Member {
    /// What their authenticator makes of a question, as a browser's `PublicKeyCredential.toJSON()` gives it.
    pub(crate) fn answer(&self, site: &str, options: &Value) -> Value {
        let challenge: Challenge = serde_json::from_value(options["challenge"].clone()).unwrap();
        let answer = self.key.assert(site, &challenge).unwrap();
        json!(answer)
    }
}

/// Makes the vault in `folder` a shared one that `ana` administers, with others, each with a name, who of those before them
/// invites them, and roles. Passkeys are for pages of `site`. Nothing else may have the vault open.
pub(crate) fn crowd(folder: &Path, config: &Path, site: &str, others: &[(&str, usize, &[Role])]) -> Vec<Member> {
    let settings = Settings {
        vault: folder.to_owned(),
        config: config.to_owned(),
        program: PathBuf::from("/nonexistent"),
        now: &|| Timestamp::from(SystemTime::now()),
        passphrase: &no_passphrase,
        reach: &no_way_out,
        progress: &Silent,
    };
    let vault = Vault::open(&settings).unwrap();
    let token = vault.offer_setup().unwrap().token.unwrap();
    let mut members = vec![enrol(&vault, site, &token, Some(("ana", "Ana")))];
    for (name, inviter, roles) in others {
        let inviter = vault.authenticate(&members[*inviter].session, Some(HOME)).unwrap();
        let invite = Invite {
            name: (*name).to_owned(),
            display: name.to_uppercase(),
            kind: PersonKind::Human,
            roles: roles.iter().copied().collect(),
        };
        let token = vault.acting(inviter).invite(&invite).unwrap().token.unwrap();
        members.push(enrol(&vault, site, &token, None));
    }
    members
}

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn enrol(vault: &Vault<'_>, site: &str, token: &str, names: Option<(&str, &str)>) -> Member {
    let party = RelyingParty::new("localhost", &[site]).unwrap();
    let who = Enrollee::Invited { token, names };
    let id = vault.invited(token).unwrap().person.id;
    let handle = UserHandle::new(id.as_str().as_bytes().to_vec()).unwrap();
    let key = SoftKey::generate("localhost", &handle, &mut SystemEntropy::new()).unwrap();
    let offer = vault.begin_enrol(&party, who).unwrap();
    let challenge: Challenge = serde_json::from_value(offer.options["challenge"].clone()).unwrap();
    let answer = key.register(site, &challenge).unwrap();
    let from = Origin { address: Some(HOME), client: "test".to_owned() };
    let enrolled = vault.finish_enrol(&party, who, &offer.ceremony, &answer, "laptop", &from).unwrap();
    Member { session: enrolled.entered.unwrap().token.to_string(), key }
}

fn no_passphrase(_: Asked) -> std::io::Result<Passphrase> {
    Err(std::io::Error::other("no passphrase here"))
}

fn no_way_out() -> Result<Reach, ReachError> {
    Err(ReachError::Unresolved { host: "nothing is fetched here".to_owned() })
}

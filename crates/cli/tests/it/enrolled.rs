//! A vault that several people share, without a browser: its first administrator enrols a passkey in software.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::SystemTime,
};

use ringfence_engine::{
    Asked, Passphrase, Settings, Silent, Vault,
    reach::{Reach, ReachError},
    schema::Timestamp,
    team::{
        Enrollee, Origin,
        passkey::{Challenge, RelyingParty, SoftKey, UserHandle},
    },
};
use ringfence_trust::entropy::SystemEntropy;

/// For whom the passkey is made.
const SITE: &str = "https://localhost:8443";

/// Makes the vault in `folder` a shared one that `ana` administers, and gives the token of the session that this began.
/// Nothing else may have the vault open.
pub(crate) fn share(folder: &Path, config: &Path) -> String {
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
    let party = RelyingParty::new("localhost", &[SITE]).unwrap();
    let token = vault.offer_setup().unwrap().token.unwrap();
    let who = Enrollee::Invited { token: &token, names: Some(("ana", "Ana")) };
    let id = vault.invited(&token).unwrap().person.id;
    let handle = UserHandle::new(id.as_str().as_bytes().to_vec()).unwrap();
    let key = SoftKey::generate("localhost", &handle, &mut SystemEntropy::new()).unwrap();
    let offer = vault.begin_enrol(&party, who).unwrap();
    let challenge: Challenge = serde_json::from_value(offer.options["challenge"].clone()).unwrap();
    let answer = key.register(SITE, &challenge).unwrap();
    let from = Origin { address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), client: "test".to_owned() };
    let enrolled = vault.finish_enrol(&party, who, &offer.ceremony, &answer, "laptop", &from).unwrap();
    enrolled.entered.unwrap().token.to_string()
}

fn no_passphrase(_: Asked) -> std::io::Result<Passphrase> {
    Err(std::io::Error::other("no passphrase here"))
}

fn no_way_out() -> Result<Reach, ReachError> {
    Err(ReachError::Unresolved { host: "nothing is fetched here".to_owned() })
}

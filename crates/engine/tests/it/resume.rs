//! What was received and not let in, and who goes on with it.

use ringfence_engine::{
    EngineError, Exemptions, NamespaceState, Reading, Vault,
    schema::{Digest, Reference, evidence::EvidenceKind, tree::TreeEntry},
    transfer::{Declaration, UploadState},
};

use crate::world::{World, init};

const CONTENT: &[u8] = b"print(1)\n";

/// Brings something as far as quarantine.
fn receive(vault: &Vault<'_>, name: &str) -> Reference {
    let file = TreeEntry { path: "a.py".into(), size: CONTENT.len() as u64, sha256: Digest::of(CONTENT) };
    let (name, files) = (name.parse().unwrap(), vec![file]);
    let declared = Declaration { name, files, reading: Reading::default(), exempt: Exemptions::default() };
    let id = vault.begin_upload(&declared).unwrap().id;
    vault.append_upload(&id, 0, 0, CONTENT).unwrap();
    match vault.receive_upload(&id).unwrap().state {
        UploadState::Admitting { version: Some(version) } => version.reference(),
        state => panic!("{state:?}"),
    }
}

#[test]
fn an_admission_that_was_cut_off_goes_on() {
    let world = World::new(&[]);
    let settings = world.settings();
    let vault = init(&settings);
    let (good, bad) = (receive(&vault, "code/job"), receive(&vault, "model/net"));
    let busy = vault.resume(&good);
    assert!(matches!(busy, Err(EngineError::Busy { .. })), "whoever received it is about to look into it");
    drop(vault);

    let vault = Vault::open(&settings).unwrap();
    for received in [&good, &bad] {
        let version = vault.find(received).unwrap();
        assert!(version.state == NamespaceState::Quarantined && !version.is_looked_into());
    }
    // Here no scan can run: code may hold what none recognises, a model may not.
    let UploadState::Admitted { version } = vault.resume(&good).unwrap() else { panic!("not admitted") };
    assert!(version.state == NamespaceState::Admitted && version.is_looked_into());
    let again = vault.resume(&good).unwrap_err().to_string();
    assert!(again.contains("`code/job@1` is not held"), "{again}");

    let refused = || match vault.resume(&bad).unwrap() {
        UploadState::Refused { version, gate, reasons } => {
            assert_eq!(gate, "admit");
            (*version, reasons.join(" "))
        }
        state => panic!("{state:?}"),
    };
    let (first, (second, _)) = (refused().0, refused());
    assert_eq!(first.evidence, second.evidence, "what was looked into is not looked into again");
    assert!(first.newest(EvidenceKind::Scan).is_some());
    vault.refuse(&second, "it is none of ours").unwrap();
    assert!(refused().1.contains("refused it for good"));
}

//! Genuine bundles that must still be refused, and changed ones that must be named.
//!
//! The bundles are made by a real vault with its own keys, past its gate: the verifier must not trust that the gate stood.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use ringfence_access::{Action, Exemptions, Facts, NamespaceState, PersonKind, Role, SandboxLevel};
use ringfence_schema::{
    ArtifactKind, ArtifactName, Digest, Timestamp,
    evidence::{EvidenceKind, EvidenceVerdict},
    report::{VerifyReport, VerifyVerdict},
};
use ringfence_store::Cuts;
use ringfence_trust::{
    entropy::SystemEntropy,
    factor::passkey::{RelyingParty, SoftKey, UserHandle},
    keys::Namespace,
};
use serde_json::json;

use super::{Anchor, verify_bundle};
use crate::{
    act::{Act, Effect, Reach},
    admit::{Made, fill_index, resource},
    error::EngineError,
    provenance,
    record::{RunRow, Version},
    release::Showing,
    settings::{Settings, Silent},
    team::{Caller, Enrollee, Invite, Origin},
    vault::{Protection, Vault},
};

/// What is wrong with the evidence that a bundle is made with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Nothing,
    OtherSubject,
    OtherPolicy,
    Expired,
    Missing,
    Blocks,
    FailedRun,
}

static CLOCK: AtomicU64 = AtomicU64::new(1_800_000_000_000);

fn now() -> Timestamp {
    Timestamp::from_millis(CLOCK.fetch_add(1, Ordering::Relaxed))
}

struct World {
    home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder") }
    }

    fn settings(&self) -> Settings<'static> {
        Settings {
            vault: self.home.path().join("vault"),
            config: self.home.path().join("config"),
            program: PathBuf::from("/nonexistent"),
            now: &now,
            passphrase: &|_| Err(std::io::Error::other("no passphrase here")),
            reach: &no_reach,
            progress: &Silent,
        }
    }

    fn root(&self, vault: &Vault<'_>) -> PathBuf {
        let path = self.home.path().join("vault.root");
        fs::write(&path, vault.root_file()).expect("the root's file");
        path
    }
}

/// A candidate with scan, robustness and provenance; `flaw` is in the robustness card or the provenance.
fn candidate(vault: &mut Vault<'_>, flaw: Flaw) -> Result<Version, EngineError> {
    let name = ArtifactName::new(ArtifactKind::Checkpoint, "net").expect("a name");
    let mut writer = vault.writer(Namespace::Quarantine)?;
    writer.file("model.onnx", &mut &b"weights"[..], Cuts::Content).expect("a file");
    let sealed = vault.finish(writer)?;
    let tree = sealed.tree.digest();
    let mut version = Version {
        artifact: name.clone(),
        version: 1,
        state: NamespaceState::Candidate,
        manifest: sealed.manifest.to_string(),
        tree,
        files: 1,
        bytes: sealed.tree.size(),
        source: tree,
        written: now(),
        evidence: Vec::new(),
        reading: None,
        labels: Vec::new(),
        refused: None,
        exempt: Exemptions::default(),
        waived: 0,
        run: Some(RunRow { id: "r-1".into(), inputs: Vec::new() }),
        origin: None,
        revoked: None,
        by: None,
        admitted: None,
        destroyed: None,
    };
    let statement = provenance::write(&provenance::Run {
        vault: vault.id().to_string(),
        id: "r-1".into(),
        name: "checkpoint/net@1".into(),
        output: tree,
        plan: Digest::of(b"plan"),
        command: &["true".to_owned()],
        limits: json!({}),
        inputs: &[],
        level: SandboxLevel::Full,
        measures: &[],
        environment: json!({}),
        policy: vault.policies.digest(),
        telemetry: Digest::of(b""),
        program: Digest::of(b""),
        told: None,
        exit_code: i32::from(flaw == Flaw::FailedRun),
        started: now(),
        finished: now(),
    });
    let mut effect = Effect::of(());
    vault.sign(EvidenceKind::Provenance, tree, &statement, None)?.into_effect(&mut version, &mut effect);
    for kind in [EvidenceKind::Scan, EvidenceKind::Robustness] {
        if kind == EvidenceKind::Robustness && flaw == Flaw::Missing {
            continue;
        }
        let flawed = if kind == EvidenceKind::Robustness { flaw } else { Flaw::Nothing };
        let subject = if flawed == Flaw::OtherSubject { Digest::of(b"another model") } else { tree };
        if flawed == Flaw::OtherPolicy {
            vault
                .tighten(&[
                    "@id(\"x\") @says(\"x\") forbid (principal, action == Action::\"destroy\", resource);".to_owned()
                ])
                .expect("a forbid");
        }
        let verdict = if flawed == Flaw::Blocks { EvidenceVerdict::Block } else { EvidenceVerdict::Pass };
        let made = vault.evidence(&Made {
            kind,
            name: "checkpoint/net@1".into(),
            subject,
            rules: Digest::of(b"rules"),
            config: json!({}),
            inputs: [].into(),
            coverage: [].into(),
            verdict,
            report: b"{}".to_vec(),
            summary: [].into(),
        })?;
        if flawed == Flaw::OtherPolicy {
            vault.policies = std::sync::Arc::new(ringfence_access::Policies::builtin().expect("the built-in policies"));
        }
        made.into_effect(&mut version, &mut effect);
        if let Some(row) = version.evidence.last_mut() {
            // The row files it under the candidate, whatever it speaks of: that is the lie to be found out.
            row.subject = tree;
        }
    }
    effect.versions = vec![version.clone()];
    effect.sealed.push(sealed);
    let (mut version, index) = vault.act(act(&version, Action::Inspect), || Ok(effect.replace(version)))?;
    fill_index(&mut version, index);
    Ok(version)
}

fn act(version: &Version, action: Action) -> Act {
    Act {
        action,
        resources: vec![resource(version)],
        facts: Facts::default(),
        request: json!({}),
        subject: version.reference().to_string(),
        reach: Reach::Inside,
    }
}

/// The vault in the hands of somebody new, whom its first administrator invited with `role`.
fn member<'s>(vault: &Vault<'s>, role: Role) -> Vault<'s> {
    let rp = RelyingParty::new("vault.example", &["https://vault.example"]).expect("a relying party");
    let origin = Origin { address: None, client: "test".to_owned() };
    let enter = |token: &str, names| {
        let who = Enrollee::Invited { token, names };
        let id = vault.invited(token).expect("an invitation").person.id;
        let handle = UserHandle::new(id.as_str().as_bytes().to_vec()).expect("a handle");
        let key = SoftKey::generate("vault.example", &handle, &mut SystemEntropy::new()).expect("a passkey");
        let offer = vault.begin_enrol(&rp, who).expect("options");
        let challenge = serde_json::from_value(offer.options["challenge"].clone()).expect("a challenge");
        let answer = key.register("https://vault.example", &challenge).expect("a registration");
        let done = vault.finish_enrol(&rp, who, &offer.ceremony, &answer, "key", &origin).expect("an enrolment");
        vault.acting(vault.authenticate(&done.entered.expect("a session").token, None).expect("a caller"))
    };
    let setup = vault.offer_setup().expect("a way in").token.expect("a token");
    let owner = enter(&setup, Some(("ana", "Ana")));
    let invite = Invite { name: "ben".into(), display: "Ben".into(), kind: PersonKind::Human, roles: [role].into() };
    let token = owner.invite(&invite).expect("an invitation").token.expect("a token");
    enter(&token, None)
}

type Edit = fn(&mut serde_json::Value);

#[test]
fn a_shared_vaults_release_is_replayed_for_whoever_released_it() {
    let world = World::new();
    let settings = world.settings();
    let mut vault = Vault::init(&settings, Protection::KeyFile).expect("a vault");
    let version = candidate(&mut vault, Flaw::Nothing).expect("a candidate");
    let researcher = member(&vault, Role::Researcher);
    let folder = world.home.path().join("released");
    // Without a second factor of the last ten minutes there is no release.
    let stale = Caller { proven: None, ..researcher.caller().clone() };
    let refused = vault.acting(stale).release_again(&version, &folder);
    assert!(matches!(refused, Err(EngineError::Refused { .. })));
    let released = researcher.release_again(&version, &folder).expect("a release");
    assert_eq!(released.version.state, NamespaceState::Released);
    let root = world.root(&researcher);
    let report = verify(&folder, &root);
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{:?}", report.checks);
    assert!(report.facts["released by"].contains("(researcher), login passkey"), "{:?}", report.facts);
    // Whoever edits what was recorded of the releaser is found out.
    let path = folder.join(super::PROOF_FILE);
    let genuine = fs::read(&path).expect("the proof");
    let edits: [Edit; 4] = [
        |decided| decided["value"]["person"]["roles"] = json!(["owner"]),
        |decided| decided["value"]["asker"]["approvals"] = json!(["p-1", "p-2"]),
        |decided| decided["value"]["asker"]["mfa_age_ms"] = json!(1),
        |decided| decided["value"]["custody"] = json!("solo"),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut proof: serde_json::Value = serde_json::from_slice(&genuine).expect("JSON");
        let leaves = proof["leaves"].as_array_mut().expect("leaves");
        let shown = leaves.iter_mut().filter_map(|leaf| leaf["openings"].get_mut("decided")).map(edit).count();
        assert_eq!(shown, 1);
        fs::write(&path, crate::bundle::canonical(&proof).expect("canonical JSON")).expect("an edited proof");
        assert_eq!(verify(&folder, &root).verdict, VerifyVerdict::Tampered, "edit {number}");
    }
    // Nor does it help to leave it out: nobody is let through without having shown who they are.
    let mut proof: serde_json::Value = serde_json::from_slice(&genuine).expect("JSON");
    for leaf in proof["leaves"].as_array_mut().expect("leaves") {
        leaf["openings"].as_object_mut().expect("openings").remove("decided");
    }
    fs::write(&path, crate::bundle::canonical(&proof).expect("canonical JSON")).expect("an edited proof");
    assert_eq!(verify(&folder, &root).verdict, VerifyVerdict::Refused);
}

/// A bundle of a candidate with `flaw`, made past the gate, in `folder`; and the root's file.
fn bundle(world: &World, flaw: Flaw, folder: &Path) -> PathBuf {
    let settings = world.settings();
    let mut vault = Vault::init(&settings, Protection::KeyFile).expect("a vault");
    let version = candidate(&mut vault, flaw).expect("a candidate");
    if flaw == Flaw::Expired {
        CLOCK.fetch_add(2 * 365 * 86_400_000, Ordering::Relaxed);
    }
    let showing = Showing {
        inputs: &[],
        screen: None,
        pictures: Vec::new(),
        training: None,
        before: None,
        after: None,
        observed: &[],
    };
    let name = ArtifactName::new(ArtifactKind::Model, "net").expect("a name");
    let made = vault.act(act(&version, Action::Inspect), || vault.make_release(&version, &name, 1, &showing, folder));
    let (mut released, index) = made.expect("a release statement");
    fill_index(&mut released, index);
    vault.export(&released, folder).expect("a bundle");
    world.root(&vault)
}

fn verify(folder: &Path, root: &Path) -> VerifyReport {
    verify_bundle(folder, &Anchor::File(root), now()).expect("a verdict")
}

/// What a flawed bundle is refused for.
fn refusals(flaw: Flaw) -> String {
    let world = World::new();
    let folder = world.home.path().join("released");
    let root = bundle(&world, flaw, &folder);
    let report = verify(&folder, &root);
    assert_eq!(report.verdict, VerifyVerdict::Refused, "{:?}", report.checks);
    report
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| format!("{}: {}\n", check.name, check.detail))
        .collect()
}

#[test]
fn a_genuine_bundle_verifies() {
    let world = World::new();
    let folder = world.home.path().join("released");
    let root = bundle(&world, Flaw::Nothing, &folder);
    let report = verify(&folder, &root);
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{:?}", report.checks);
}

#[test]
fn evidence_on_another_digest_is_refused_by_name() {
    let said = refusals(Flaw::OtherSubject);
    assert!(said.contains("evidence/result-robustness.dsse.json: it speaks of other bytes"), "{said}");
}

#[test]
fn evidence_under_another_policy_is_refused_by_name() {
    let said = refusals(Flaw::OtherPolicy);
    assert!(said.contains("evidence/result-robustness.dsse.json: was made under policy"), "{said}");
}

#[test]
fn expired_evidence_is_refused_by_name() {
    let said = refusals(Flaw::Expired);
    assert!(said.contains("evidence/result-robustness.dsse.json: it has expired"), "{said}");
}

#[test]
fn missing_and_blocking_evidence_is_refused() {
    assert!(refusals(Flaw::Missing).contains("release-needs-robustness"));
    assert!(refusals(Flaw::Blocks).contains("release-needs-robustness"));
    assert!(refusals(Flaw::FailedRun).contains("release-needs-provenance"));
}

#[test]
fn the_vaults_own_gate_refuses_each_of_them_too() {
    for flaw in [Flaw::OtherSubject, Flaw::Missing, Flaw::Blocks, Flaw::FailedRun] {
        let world = World::new();
        let settings = world.settings();
        let mut vault = Vault::init(&settings, Protection::KeyFile).expect("a vault");
        let version = candidate(&mut vault, flaw).expect("a candidate");
        let folder = world.home.path().join("released");
        let refused = vault.release_again(&version, &folder);
        assert!(matches!(refused, Err(EngineError::Refused { .. })));
        assert!(!folder.exists());
    }
}

#[test]
fn any_changed_byte_of_any_file_is_tampering_and_names_the_file() {
    let world = World::new();
    let folder = world.home.path().join("released");
    let root = bundle(&world, Flaw::Nothing, &folder);
    let mut files = Vec::new();
    super::walk(&folder, Path::new(""), &mut files).expect("the bundle's files");
    assert!(files.len() >= 7, "{files:?}");
    for name in files {
        let path = folder.join(&name);
        let genuine = fs::read(&path).expect("a file");
        let step = (genuine.len() / 97).max(1);
        for place in (0..genuine.len()).step_by(step).chain([genuine.len() - 1]) {
            let mut changed = genuine.clone();
            changed[place] ^= 1;
            fs::write(&path, &changed).expect("a changed file");
            let report = verify(&folder, &root);
            assert_eq!(report.verdict, VerifyVerdict::Tampered, "{name} byte {place}: {:?}", report.checks);
            assert!(
                report.checks.iter().any(|check| !check.passed && check.name == name),
                "{name} byte {place}: {:?}",
                report.checks
            );
        }
        fs::write(&path, [genuine.as_slice(), b" "].concat()).expect("a longer file");
        assert_eq!(verify(&folder, &root).verdict, VerifyVerdict::Tampered, "{name} longer");
        fs::write(&path, &genuine).expect("the file as it was");
    }
    fs::write(folder.join("extra.txt"), "x").expect("an extra file");
    let report = verify(&folder, &root);
    assert_eq!(report.verdict, VerifyVerdict::Tampered);
    assert!(report.checks.iter().any(|check| check.name == "extra.txt"));
}

#[test]
fn an_unknown_root_says_what_to_do() {
    let (world, stranger) = (World::new(), World::new());
    let folder = world.home.path().join("released");
    bundle(&world, Flaw::Nothing, &folder);
    let settings = stranger.settings();
    let other = Vault::init(&settings, Protection::KeyFile).expect("another vault");
    let report = verify(&folder, &stranger.root(&other));
    assert_eq!(report.verdict, VerifyVerdict::UnknownRoot);
    let pins = crate::vault::pins(&settings).expect("pins");
    let report = verify_bundle(&folder, &Anchor::Pins(&pins), now()).expect("a verdict");
    assert_eq!(report.verdict, VerifyVerdict::UnknownRoot);
    assert!(report.checks.iter().any(|check| check.detail.contains("--root FILE")));
}

#[test]
fn the_pinned_root_is_found() {
    let world = World::new();
    let folder = world.home.path().join("released");
    bundle(&world, Flaw::Nothing, &folder);
    let pins = crate::vault::pins(&world.settings()).expect("pins");
    let report = verify_bundle(&folder, &Anchor::Pins(&pins), now()).expect("a verdict");
    assert_eq!(report.verdict, VerifyVerdict::Verified);
}

/// Nothing is fetched in these tests.
fn no_reach() -> Result<ringfence_reach::Reach, ringfence_reach::ReachError> {
    ringfence_reach::Reach::new(ringfence_reach::Settings::default(), ringfence_reach::Secrets::default())
}

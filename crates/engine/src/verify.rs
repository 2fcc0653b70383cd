//! Checks a released bundle offline, with nothing but a trust root.
//!
//! The root comes from the user or the pins, never from the bundle. What is checked, in this order: the release statement's
//! signature; every file against its list, and that there is no other; the checkpoint, each leaf's inclusion and each
//! opened commitment; every statement's signature, signer, place in the trail and subject; that each was fresh and under the
//! release's policy; and last the gates, replayed under the verifier's own policy. Anything changed is
//! `tampered` with the file's name; anything genuine that does not pass is `refused`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use ringfence_access::{
    Action, Bearing, Custody, EvidenceFacts, Facts, NamespaceState, Person, Policies, Request, Resource, SandboxLevel,
    VaultFacts,
};
use ringfence_schema::{
    Digest, Timestamp, Tree, TreeEntry, canon,
    evidence::{Evidence, EvidenceKind, Statement},
    finding::printable,
    report::{Check, VerifyReport, VerifySchema, VerifyVerdict},
    trail::{Entry, EntryKind, Outcome},
    tree::is_safe_path,
};
use ringfence_trust::{dsse::Envelope, merkle, pins::Pins, root::TrustRoot, statement};

use crate::{
    bundle::{
        CommittedStatement, DECIDED, Decided, FILES_MAX, PROOF_FILE, ProofSchema, RELEASE_FILE, ReleasePredicate,
        TrailProof,
    },
    error::EngineError,
    provenance::{self, Provenance},
};

pub use approval::verify_approval;

/// Where the verifier's trust comes from.
#[derive(Debug)]
pub enum Anchor<'a> {
    /// A trust root in a file.
    File(&'a Path),
    /// The roots that this user pinned.
    Pins(&'a Pins),
}

/// Verifies the bundle in `folder`.
///
/// # Errors
/// Only for what keeps the question from being asked: a folder or root file that cannot be read. A bundle that is not what
/// it says is a report, not an error.
pub fn verify_bundle(folder: &Path, anchor: &Anchor<'_>, now: Timestamp) -> Result<VerifyReport, EngineError> {
    let mut findings = Findings::new(folder);
    let release = match read(&folder.join(RELEASE_FILE)) {
        Ok(bytes) => bytes,
        Err(error) if folder.is_dir() => {
            return Err(EngineError::incomplete(folder.join(RELEASE_FILE).display().to_string(), error));
        }
        Err(error) => return Err(EngineError::io(folder)(error)),
    };
    let Some(root) = find_root(&release, anchor, &mut findings)? else { return Ok(findings.report()) };
    findings.fact("vault", root.vault());
    findings.fact("trust root epoch", root.epoch());
    findings.fact("solo", root.document().solo);
    let Some((statement, predicate)) = open_release(&release, &root, &mut findings) else {
        return Ok(findings.report());
    };
    findings.fact("released", &predicate.artifact);
    findings.fact("released at", predicate.issued_ms);
    let age_days = now.millis().saturating_sub(predicate.issued_ms.millis()) / DAY_MS;
    findings.fact("age in days", age_days);
    let files = check_files(folder, &statement, &mut findings);
    check_tree(&predicate, &statement, &mut findings);
    let proof = check_proof(folder, &root, &mut findings);
    let trail = proof.as_ref().map(Proof::statements).unwrap_or_default();
    let Some(released) = trail.get(&Digest::of(&release)) else {
        findings.tampered(PROOF_FILE, "the trail's proof does not show the release statement");
        return Ok(findings.report());
    };
    check_release_signer(&release, &root, released, &mut findings);
    let decisions = proof.as_ref().map(Proof::decisions).unwrap_or_default();
    let gate =
        Gate { root: &root, predicate: &predicate, files: &files, trail: &trail, released: *released, decisions };
    gate.replay(&mut findings);
    Ok(findings.report())
}

/// What was found so far; the worst decides.
struct Findings {
    subject: String,
    checks: Vec<Check>,
    facts: BTreeMap<String, String>,
    worst: VerifyVerdict,
}

impl Findings {
    fn new(folder: &Path) -> Self {
        Self {
            subject: folder.display().to_string(),
            checks: Vec::new(),
            facts: BTreeMap::new(),
            worst: VerifyVerdict::Verified,
        }
    }

    fn fact(&mut self, name: &str, value: impl ToString) {
        self.facts.insert(name.to_owned(), value.to_string());
    }

    fn passed(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.checks.push(Check { name: name.into(), passed: true, detail: detail.into() });
    }

    fn failed(&mut self, verdict: VerifyVerdict, name: &str, detail: impl ToString) {
        self.checks.push(Check { name: printable(name, 200), passed: false, detail: detail.to_string() });
        let rank = |verdict| match verdict {
            VerifyVerdict::Verified => 0,
            VerifyVerdict::Incomplete => 1,
            VerifyVerdict::Refused => 2,
            VerifyVerdict::UnknownRoot => 3,
            VerifyVerdict::Tampered => 4,
        };
        if rank(verdict) > rank(self.worst) {
            self.worst = verdict;
        }
    }

    fn tampered(&mut self, name: &str, detail: impl ToString) {
        self.failed(VerifyVerdict::Tampered, name, detail);
    }

    fn refused(&mut self, name: &str, detail: impl ToString) {
        self.failed(VerifyVerdict::Refused, name, detail);
    }

    fn report(self) -> VerifyReport {
        VerifyReport {
            schema: VerifySchema::One,
            verdict: self.worst,
            subject: self.subject,
            checks: self.checks,
            facts: self.facts,
        }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.take(STATEMENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > STATEMENT_BYTES_MAX {
        return Err(std::io::Error::other(format!("larger than {STATEMENT_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The root to verify under. The unverified release only serves as a look-up hint.
fn find_root(release: &[u8], anchor: &Anchor<'_>, findings: &mut Findings) -> Result<Option<TrustRoot>, EngineError> {
    let envelope = match Envelope::parse(release) {
        Ok(envelope) => envelope,
        Err(error) => {
            findings.tampered(RELEASE_FILE, error);
            return Ok(None);
        }
    };
    let vault = serde_json::from_slice::<Statement>(envelope.unverified_payload())
        .ok()
        .and_then(|statement| Some(statement.predicate.get("vault")?.as_str()?.to_owned()));
    let signers: BTreeSet<&str> = envelope.key_ids().collect();
    let fits = |root: &TrustRoot| {
        let named = vault.as_deref() == Some(root.vault().to_string().as_str());
        let keys = &root.document().keys;
        named || keys.iter().any(|entry| signers.contains(ringfence_trust::dsse::key_id(&entry.key).as_str()))
    };
    known_root(anchor, vault.as_deref(), fits, findings)
}

/// The root of `anchor` that `fits`; where there is none, the findings say how to get the one of `vault`.
fn known_root(
    anchor: &Anchor<'_>,
    vault: Option<&str>,
    fits: impl Fn(&TrustRoot) -> bool,
    findings: &mut Findings,
) -> Result<Option<TrustRoot>, EngineError> {
    let found = match anchor {
        Anchor::File(path) => {
            let bytes = read(path).map_err(EngineError::io(*path))?;
            let root =
                TrustRoot::open(&bytes).map_err(|error| EngineError::tampered(path.display().to_string(), error))?;
            fits(&root).then_some(root)
        }
        Anchor::Pins(pins) => {
            let pinned = |error| EngineError::tampered("pins", error);
            let mut roots = Vec::new();
            for vault in pins.vaults().map_err(pinned)? {
                roots.extend(pins.find(&vault).map_err(pinned)?);
            }
            roots.into_iter().find(|root| fits(root))
        }
    };
    if found.is_none() {
        findings.failed(
            VerifyVerdict::UnknownRoot,
            "trust root",
            format!(
                "the root of vault {} is not known here; ask whoever released this for the file that `ringfence show root` \
                 prints there, over a channel that you trust, and pass it with `--root FILE`",
                vault.map_or("?".to_owned(), |vault| printable(vault, 64))
            ),
        );
    }
    Ok(found)
}

fn open_release(release: &[u8], root: &TrustRoot, findings: &mut Findings) -> Option<(Statement, ReleasePredicate)> {
    let known: Vec<_> = root.document().keys.iter().map(|entry| entry.key).collect();
    let opened = Envelope::parse(release)
        .and_then(|envelope| envelope.verify(ringfence_trust::dsse::PayloadType::InToto, &known));
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            findings.tampered(RELEASE_FILE, error);
            return None;
        }
    };
    let parsed =
        canon::from_canonical::<Statement>(opened.payload()).map_err(|error| error.to_string()).and_then(|statement| {
            let predicate = serde_json::from_value::<ReleasePredicate>(statement.predicate.clone())
                .map_err(|error| error.to_string())?;
            Ok((statement, predicate))
        });
    match parsed {
        Ok((statement, predicate)) if statement.kind() == Some(EvidenceKind::Release) => {
            if predicate.vault == root.vault().to_string() {
                findings.passed(RELEASE_FILE, "signed under the trust root");
                return Some((statement, predicate));
            }
            findings.refused(RELEASE_FILE, "it speaks for another vault than its signer's");
        }
        Ok(_) => findings.refused(RELEASE_FILE, "it is genuine, but no release statement"),
        Err(error) => findings.refused(RELEASE_FILE, error),
    }
    None
}

fn check_release_signer(release: &[u8], root: &TrustRoot, entry: &InTrail, findings: &mut Findings) {
    match statement::open(release, root, entry.index) {
        Ok(_) => findings.passed("release in the trail", format!("entry {} of {}", entry.index, entry.size)),
        Err(error) => findings.refused(RELEASE_FILE, error),
    }
}

/// Every listed file by path with its bytes where they are needed later.
type Listed = BTreeMap<String, Vec<u8>>;

fn check_files(folder: &Path, statement: &Statement, findings: &mut Findings) -> Listed {
    let mut listed = Listed::new();
    let mut genuine = 0;
    for subject in &statement.subject {
        let (Some(expected), true) = (subject.sha256(), is_safe_path(&subject.name)) else {
            findings
                .refused(RELEASE_FILE, format!("lists `{}`, which is no plain path", printable(&subject.name, 120)));
            continue;
        };
        match hash_file(&folder.join(&subject.name)) {
            Ok((found, bytes)) if found == expected => {
                genuine += 1;
                listed.insert(subject.name.clone(), bytes);
            }
            Ok((found, _)) => {
                findings.tampered(
                    &subject.name,
                    format!("is not the file that was released: {found}, expected {expected}"),
                );
            }
            Err(error) => findings.tampered(&subject.name, format!("is missing or unreadable: {error}")),
        }
    }
    let allowed: BTreeSet<&str> =
        statement.subject.iter().map(|subject| subject.name.as_str()).chain([RELEASE_FILE, PROOF_FILE]).collect();
    let mut found = Vec::new();
    if let Err(error) = walk(folder, Path::new(""), &mut found) {
        findings.failed(VerifyVerdict::Incomplete, "files", error);
    }
    for path in found.iter().filter(|path| !allowed.contains(path.as_str())) {
        findings.tampered(path, "is not listed in the release");
    }
    if genuine == statement.subject.len() {
        findings.passed("files", format!("{genuine} files are exactly those that were released"));
    }
    listed
}

/// SHA-256 of a regular file; its bytes too, if they are few enough to be a statement or report.
fn hash_file(path: &Path) -> std::io::Result<(Digest, Vec<u8>)> {
    if !path.symlink_metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut file = fs::File::open(path)?;
    let mut hasher = ringfence_schema::Hasher::new();
    let mut kept = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        if hasher.len() <= STATEMENT_BYTES_MAX {
            kept.extend_from_slice(piece);
        } else {
            kept = Vec::new();
        }
    }
    Ok((hasher.finish(), kept))
}

/// All entries below `folder` that are not folders, as relative paths with `/`.
fn walk(folder: &Path, below: &Path, found: &mut Vec<String>) -> Result<(), String> {
    let here = folder.join(below);
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&here).map_err(|error| format!("`{}`: {error}", here.display()))? {
        entries.push(below.join(entry.map_err(|error| error.to_string())?.file_name()));
    }
    entries.sort();
    if entries.is_empty() && !below.as_os_str().is_empty() {
        // An empty folder was not released either.
        found.push(below.to_string_lossy().into_owned());
    }
    for entry in entries {
        let kind = folder.join(&entry).symlink_metadata().map_err(|error| error.to_string())?;
        if kind.is_dir() && entry.components().count() < DEPTH_MAX {
            walk(folder, &entry, found)?;
        } else {
            found.push(entry.to_string_lossy().into_owned());
        }
        if found.len() > FILES_MAX {
            return Err(format!("more than {FILES_MAX} files"));
        }
    }
    Ok(())
}

/// The artifact's identity must follow from the listed digests of its own files.
fn check_tree(predicate: &ReleasePredicate, statement: &Statement, findings: &mut Findings) {
    let mut files = Vec::new();
    for (path, size) in &predicate.files {
        let subject = statement.subject.iter().find(|subject| subject.name == *path);
        match subject.and_then(ringfence_schema::evidence::Subject::sha256) {
            Some(sha256) => files.push(TreeEntry { path: path.clone(), size: *size, sha256 }),
            None => {
                findings.refused(RELEASE_FILE, format!("names `{path}` as part of the artifact but does not list it"));
            }
        }
    }
    match Tree::new(files) {
        Ok(tree) if tree.digest() == predicate.tree => {
            findings.passed("artifact", format!("{} is {}", predicate.artifact, predicate.tree));
        }
        Ok(tree) => {
            findings.refused(RELEASE_FILE, format!("its files make {}, it says {}", tree.digest(), predicate.tree));
        }
        Err(error) => findings.refused(RELEASE_FILE, error),
    }
}

/// The parts of a trail proof that hold.
struct Proof {
    entries: Vec<(InTrail, Entry, Shown)>,
}

/// What is shown of an entry.
#[derive(Default)]
struct Shown {
    statements: Vec<CommittedStatement>,
    decided: Option<Decided>,
}

/// Where a statement is in the trail.
#[derive(Debug, Clone, Copy)]
struct InTrail {
    index: u64,
    size: u64,
    time: Timestamp,
    kind: EvidenceKind,
    subject: Digest,
}

impl Proof {
    /// Envelope digests that a completed entry commits to.
    fn statements(&self) -> BTreeMap<Digest, InTrail> {
        let mut found = BTreeMap::new();
        for (place, _, shown) in &self.entries {
            for statement in &shown.statements {
                found
                    .insert(statement.envelope, InTrail { kind: statement.kind, subject: statement.subject, ..*place });
            }
        }
        found
    }

    /// Who was let through a gate, with where that stands.
    fn decisions(&self) -> Vec<(InTrail, &Decided)> {
        self.entries.iter().filter_map(|(place, _, shown)| Some((*place, shown.decided.as_ref()?))).collect()
    }
}

fn check_proof(folder: &Path, root: &TrustRoot, findings: &mut Findings) -> Option<Proof> {
    let bytes = match read(&folder.join(PROOF_FILE)) {
        Ok(bytes) => bytes,
        Err(error) => {
            findings.tampered(PROOF_FILE, format!("is missing or unreadable: {error}"));
            return None;
        }
    };
    let proof: TrailProof = match canon::from_canonical(&bytes) {
        Ok(proof) => proof,
        Err(error) => {
            findings.tampered(PROOF_FILE, error);
            return None;
        }
    };
    let ProofSchema::One = proof.schema;
    let checkpoint = match root.verify_checkpoint(proof.checkpoint.as_bytes()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            findings.tampered(PROOF_FILE, error);
            return None;
        }
    };
    findings.fact("checkpoint", format!("{} entries, {}", checkpoint.size, checkpoint.root));
    let mut entries = Vec::new();
    for leaf in &proof.leaves {
        match proven(leaf, checkpoint.size, &checkpoint.root, root) {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                findings.tampered(PROOF_FILE, format!("leaf {}: {error}", leaf.index));
                return None;
            }
        }
    }
    if !entries.windows(2).all(|pair| pair[0].0.index < pair[1].0.index) {
        findings.tampered(PROOF_FILE, "leaves are not in order");
        return None;
    }
    findings.passed("trail", format!("{} entries are in the trail of {} entries", entries.len(), checkpoint.size));
    Some(Proof { entries })
}

fn proven(
    leaf: &crate::bundle::ProvenLeaf,
    size: u64,
    tree: &Digest,
    root: &TrustRoot,
) -> Result<(InTrail, Entry, Shown), String> {
    let entry = opened_leaf(leaf, size, tree, root)?;
    let mut shown = Shown::default();
    for (name, opening) in &leaf.openings {
        let unread = || format!("`{}` is no statement", printable(name, 40));
        if name == DECIDED {
            let decided = Decided::of(opening).ok_or_else(unread)?;
            if (decided.person.id.as_str(), decided.action.name()) != (entry.actor.as_str(), entry.action.as_str()) {
                return Err("says that somebody else was let through, or through another gate".into());
            }
            shown.decided = Some(decided);
        } else {
            shown.statements.push(CommittedStatement::of(opening).ok_or_else(unread)?);
        }
    }
    let place = InTrail {
        index: leaf.index,
        size,
        time: entry.time,
        kind: EvidenceKind::Release,
        subject: Digest::from_bytes([0; Digest::BYTES]),
    };
    Ok((place, entry, shown))
}

/// The entry in a leaf, once it is shown to be in the trail as something done, and to commit to every opening.
fn opened_leaf(leaf: &crate::bundle::ProvenLeaf, size: u64, tree: &Digest, root: &TrustRoot) -> Result<Entry, String> {
    let bytes = leaf.leaf_bytes().ok_or("not base64")?;
    let hashes = leaf.hashes().ok_or("a proof hash is not hexadecimal")?;
    merkle::verify_inclusion(&merkle::leaf_hash(&bytes), leaf.index, size, &hashes, tree)
        .map_err(|error| error.to_string())?;
    let entry = Entry::from_leaf(&bytes).map_err(|error| error.to_string())?;
    if entry.vault != root.vault().to_string() {
        return Err("belongs to another vault".into());
    }
    if (entry.kind, entry.outcome) != (EntryKind::Outcome, Some(Outcome::Done)) {
        return Err("is not the outcome of something done".into());
    }
    for (name, opening) in &leaf.openings {
        let commitment = opening.commitment().map_err(|error| error.to_string())?;
        if entry.commits.get(name) != Some(&commitment) {
            return Err(format!("does not commit to the `{}` shown", printable(name, 40)));
        }
    }
    Ok(entry)
}

/// The gates that the release passed, asked again.
struct Gate<'a> {
    root: &'a TrustRoot,
    predicate: &'a ReleasePredicate,
    files: &'a Listed,
    trail: &'a BTreeMap<Digest, InTrail>,
    /// Where the release is recorded.
    released: InTrail,
    /// Who was let through which gate.
    decisions: Vec<(InTrail, &'a Decided)>,
}

impl Gate<'_> {
    fn replay(&self, findings: &mut Findings) {
        let policies = match Policies::builtin() {
            Ok(policies) => policies,
            Err(error) => return findings.failed(VerifyVerdict::Incomplete, "policy", error),
        };
        let (facts, provenance) = self.facts(self.predicate.tree, None, findings);
        let facts = Facts { waived: self.predicate.waived, ..facts };
        let index = self.released.index;
        let decided = self.decisions.iter().find(|(place, decided)| {
            place.index == index
                && decided.action == Action::Release
                && decided.subject == self.predicate.artifact
                && decided.tree == Some(self.predicate.tree)
        });
        if let Some((_, decided)) = decided.filter(|(_, decided)| decided.custody == Custody::Shared) {
            findings.fact("released by", asked_by(decided));
        }
        let question = (Action::Release, self.predicate.artifact.as_str(), NamespaceState::Candidate);
        self.ask(&policies, question, decided, facts, findings);
        let Some(provenance) = provenance else { return };
        findings.fact("sandbox", provenance.level.name());
        self.inputs(&policies, &provenance, findings);
    }

    /// Each input that the provenance names must have passed its own gate.
    fn inputs(&self, policies: &Policies, provenance: &Provenance, findings: &mut Findings) {
        let listed: BTreeMap<&str, Digest> =
            self.predicate.inputs.values().map(|input| (input.artifact.as_str(), input.tree)).collect();
        let used: BTreeMap<&str, Digest> =
            provenance.inputs.iter().map(|input| (input.artifact.as_str(), input.tree)).collect();
        if listed != used {
            findings.refused(RELEASE_FILE, "its inputs are not those of the provenance");
        }
        for (role, input) in &self.predicate.inputs {
            findings.fact(&format!("input {role}"), format!("{} {}", input.artifact, input.tree));
            let (facts, _) = self.facts(input.tree, Some(input), findings);
            let name = |artifact: &str| artifact.split('@').next().unwrap_or_default().to_owned();
            let decided = self.decisions.iter().find(|(_, decided)| {
                // An earlier version that was made current again has another number than the one that was let in.
                decided.tree == Some(input.tree)
                    && (name(&decided.subject) == name(&input.artifact))
                    && matches!(decided.action, Action::Admit | Action::Release)
            });
            let question = (Action::Admit, input.artifact.as_str(), NamespaceState::Quarantined);
            self.ask(policies, question, decided, facts, findings);
        }
    }

    fn ask(
        &self,
        policies: &Policies,
        (action, artifact, state): (Action, &str, NamespaceState),
        decided: Option<&(InTrail, &Decided)>,
        facts: Facts,
        findings: &mut Findings,
    ) {
        let what = format!("{action} gate for {artifact}");
        let Some(name) = artifact.split('@').next().and_then(|name| name.parse().ok()) else {
            return findings.refused(RELEASE_FILE, format!("`{}` names no artifact", printable(artifact, 80)));
        };
        let root = self.root.document();
        let held = if root.solo { Custody::Solo } else { Custody::Shared };
        // A bundle from before this was recorded says nothing of whoever asked: the owner, where there was but one person.
        let (principal, custody, facts) = match decided {
            Some((place, decided)) => {
                if decided.custody == Custody::Solo && !root.solo && place.time >= root.issued_ms {
                    findings.refused(&what, "says that the vault was in one person's hands after it was shared");
                }
                (decided.person.clone(), decided.custody, as_asked(facts, &decided.asker))
            }
            None => (Person::owner("releaser"), held, facts),
        };
        let request = Request {
            principal,
            action,
            resource: Resource::Artifact { name, state },
            vault: VaultFacts { id: self.root.vault().to_string(), custody },
            facts,
        };
        let decision = policies.decide(&request);
        if decision.allow {
            return findings.passed(what, "replayed under the built-in policy");
        }
        for reason in &decision.reasons {
            let detail =
                if reason.detail.is_empty() { String::new() } else { format!(" ({})", reason.detail.join("; ")) };
            findings.refused(&what, format!("{}: {}{detail}", reason.policy, reason.says));
        }
    }

    /// The facts on `subject` from the bundle's evidence, and the provenance if it is on `subject`.
    fn facts(
        &self,
        subject: Digest,
        input: Option<&crate::bundle::ReleaseInput>,
        findings: &mut Findings,
    ) -> (Facts, Option<Provenance>) {
        let mut facts = Facts { exempt: input.map(|input| input.exempt).unwrap_or_default(), ..Facts::default() };
        let mut found = None;
        for row in self.predicate.evidence.iter().filter(|row| row.subject == subject) {
            let Some(bytes) = self.files.get(&row.file) else { continue };
            let place = self.trail.get(&Digest::of(bytes));
            let in_trail = place.is_some_and(|place| place.kind == row.kind && place.subject == subject);
            if !in_trail {
                findings.refused(&row.file, "is not in the trail for this subject");
            }
            let opened = statement::open(bytes, self.root, place.map_or(0, |place| place.index));
            let statement = match opened {
                Ok(signed) => signed.statement().clone(),
                Err(error) => {
                    findings.refused(&row.file, error);
                    facts.set_evidence(row.kind, EvidenceFacts { present: true, ..EvidenceFacts::default() });
                    continue;
                }
            };
            if row.kind == EvidenceKind::Provenance {
                let read = provenance::read(&statement, subject, &self.root.vault().to_string());
                facts.provenance = read.facts(in_trail, true);
                facts.sandbox = read.provenance.as_ref().map_or(SandboxLevel::None, |provenance| provenance.level);
                if let Some(problem) = read.problem {
                    findings.refused(&row.file, problem);
                }
                found = read.provenance;
                continue;
            }
            self.plain(row, &statement, subject, in_trail, &mut facts, findings);
        }
        (facts, found)
    }

    /// Evidence with our own predicate.
    fn plain(
        &self,
        row: &crate::bundle::EvidenceFile,
        statement: &Statement,
        subject: Digest,
        in_trail: bool,
        facts: &mut Facts,
        findings: &mut Findings,
    ) {
        let vault = self.root.vault().to_string();
        let bearing = Bearing { vault: &vault, subject, now: self.released.time, in_trail, signer_allowed: true };
        let found = EvidenceFacts::of(row.kind, statement, &bearing);
        for problem in found.shortfalls() {
            findings.refused(&row.file, problem);
        }
        facts.set_evidence(row.kind, found);
        let Ok(evidence) = serde_json::from_value::<Evidence>(statement.predicate.clone()) else { return };
        if evidence.policy != self.predicate.policy {
            findings.refused(
                &row.file,
                format!(
                    "was made under policy {}, the release under {}",
                    evidence.policy.short(),
                    self.predicate.policy.short()
                ),
            );
        }
        if let Some(report) = &row.report
            && self.files.get(report).is_some_and(|bytes| Digest::of(bytes) != evidence.report)
        {
            findings.refused(report, format!("is not the report that {} names", row.file));
        }
        let number = |name: &str| evidence.summary.get(name).and_then(serde_json::Value::as_i64);
        match row.kind {
            EvidenceKind::Robustness => {
                facts.robust_accuracy_permille = number("worst_permille").and_then(|value| u32::try_from(value).ok());
                facts.clean_drop_permille = number("clean_drop_permille").and_then(|value| i32::try_from(value).ok());
            }
            EvidenceKind::Screen => {
                facts.filtered_permille = number("filtered_permille").and_then(|value| u32::try_from(value).ok());
            }
            _ => {}
        }
    }
}

/// The facts that the evidence gives, with those about whoever asked.
fn as_asked(evidence: Facts, asker: &Facts) -> Facts {
    let Facts {
        approvals,
        dependants,
        break_glass,
        engaged,
        first_enrolment,
        in_run,
        login,
        mfa_age_ms,
        requester,
        ..
    } = asker.clone();
    Facts {
        approvals,
        dependants,
        break_glass,
        engaged,
        first_enrolment,
        in_run,
        login,
        mfa_age_ms,
        requester,
        ..evidence
    }
}

/// Who asked, in a line for people.
fn asked_by(decided: &Decided) -> String {
    let Decided { person, asker, .. } = decided;
    let roles: Vec<&str> = person.roles.iter().map(|role| role.name()).collect();
    let factor = asker
        .mfa_age_ms
        .map_or_else(|| "no second factor shown".to_owned(), |age| format!("second factor {} s before", age / 1_000));
    let id = printable(&person.id, 80);
    format!("{id} ({}), login {}, {factor}, {} approvals", roles.join(", "), asker.login.name(), asker.approvals.len())
}

/// Largest statement, report or proof that is kept in memory, in bytes.
const STATEMENT_BYTES_MAX: u64 = 64 << 20;
/// Deepest folder in a bundle.
const DEPTH_MAX: usize = 16;
const DAY_MS: u64 = 86_400_000;

mod approval;
#[cfg(test)]
mod tests;

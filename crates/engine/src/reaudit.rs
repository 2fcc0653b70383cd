//! What was let in yesterday, looked at with today's rules and advisories.
//!
//! Every stored model is scanned again; an advisory feed is compared with models and with the packages of recorded
//! environments. The result is new scan evidence: where it blocks, every gate refuses from then on, and that is the
//! revocation; what somebody has decided to keep in use stays so as long as nothing else is found. What became worse, or is affected, is an alert; it stands in the trail with the outcome.

use std::{collections::BTreeMap, fs, path::Path};

use ringfence_access::{Action, Facts, NamespaceState};
use ringfence_reach::Source;
use ringfence_schema::{
    ArtifactKind, Digest, Finding, Place, Severity, Verdict,
    evidence::EvidenceKind,
    osv::{Advisory, Certainty, Match, Matched, Model, Package, feed::Seen, matches},
    report::{FileReport, ScanReport},
};
use ringfence_trust::{
    feed::{self, Feed, FeedError},
    keys::KeyRole,
    root::TrustRoot,
};
use serde_json::{Value, json};

use crate::{
    RuleText,
    act::{Act, Effect, Reach},
    admit::{Made, fill_index, resource, scan_verdict},
    bundle::canonical,
    error::EngineError,
    look::{scan_config, scan_summary},
    record::Version,
    vault::Vault,
};

/// An advisory names a stored model.
pub(crate) const AFFECTED: RuleText = RuleText {
    id: "RF-ADV-001",
    title: "an advisory names this model",
    why: "its publisher or the feed's says that exactly this revision or file does harm",
    remedy: "stop using it; `ringfence outdated` tells whether there is a newer revision",
};
/// An advisory may concern a stored model.
pub(crate) const POSSIBLE: RuleText = RuleText {
    id: "RF-ADV-002",
    title: "an advisory may concern this model",
    why: "the name fits, and whether the revision does cannot be decided from what is on record",
    remedy: "compare the advisory with where the model came from",
};
/// An advisory names a package of a recorded environment.
pub(crate) const PACKAGE: RuleText = RuleText {
    id: "RF-ADV-003",
    title: "an advisory names a package of the environment that made this",
    why: "training ran with a package that has a known weakness",
    remedy: "update the package and train again where it could have mattered",
};
/// The feed is too old, or parts of it cannot be read.
pub(crate) const STALE: RuleText = RuleText {
    id: "RF-ADV-004",
    title: "the advisory feed is past its date or partly unreadable",
    why: "advisories that came out since are missing, so a clean answer proves less",
    remedy: "fetch the feed's newest issue",
};
/// A stored model is no longer as clean as it was.
pub(crate) const WORSE: RuleText = RuleText {
    id: "RF-ADV-005",
    title: "a stored model is judged worse than when it was let in",
    why: "newer rules see what older ones did not",
    remedy: "read its findings; `ringfence review approve` keeps it in use with a reason",
};

/// Largest feed in bytes.
const FEED_BYTES_MAX: u64 = 256 << 20;
/// Most alerts whose text the trail keeps for one artifact.
const ALERTS_KEPT: usize = 50;

/// One artifact, looked at again.
#[derive(Debug)]
pub struct Rescan {
    /// The artifact, with its new evidence.
    pub version: Version,
    /// What was found now.
    pub report: ScanReport,
    /// What the newest earlier scan concluded.
    pub before: Option<Verdict>,
    /// What somebody should hear of.
    pub alerts: Vec<Finding>,
    /// Whether gates refuse it from now on.
    pub revoked: bool,
}

impl Vault<'_> {
    /// Opens a feed signed by the evidence keys of `root`; an older issue than the last accepted one is refused.
    pub fn open_feed(&self, file: &Path, root: &Path) -> Result<Feed, EngineError> {
        let root = read(root, FEED_BYTES_MAX)
            .and_then(|bytes| TrustRoot::open(&bytes).map_err(|error| EngineError::tampered("trust root", error)))?;
        let bytes = read(file, FEED_BYTES_MAX)?;
        let signers = root.keys_ever(KeyRole::Evidence);
        let now = (self.settings.now)();
        let name = || file.display().to_string();
        let wrong = |error: FeedError| match error {
            FeedError::Envelope(_)
            | FeedError::Records { .. }
            | FeedError::Rollback { .. }
            | FeedError::Forked { .. } => EngineError::tampered(name(), error),
            error => EngineError::incomplete(name(), error),
        };
        let first = feed::open(&bytes, &signers, None, now).map_err(wrong)?;
        match self.seen_feed(&first.head.feed)? {
            Some(seen) => feed::open(&bytes, &signers, Some(&seen), now).map_err(wrong),
            None => Ok(first),
        }
    }

    fn feed_place(&self, name: &str) -> std::path::PathBuf {
        self.settings.config.join("feeds").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    fn seen_feed(&self, name: &str) -> Result<Option<Seen>, EngineError> {
        let place = self.feed_place(name);
        if !place.exists() {
            return Ok(None);
        }
        let seen = serde_json::from_slice(&read(&place, FEED_BYTES_MAX)?);
        seen.map(Some).map_err(|error| EngineError::incomplete(place.display().to_string(), error))
    }

    fn remember_feed(&self, feed: &Feed) -> Result<(), EngineError> {
        let place = self.feed_place(&feed.seen.feed);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        }
        crate::bundle::write_whole(&place, &canonical(&feed.seen)?)
    }

    /// Looks again at every model, checkpoint and code tree that is past quarantine.
    pub fn rescan(&self, feed: Option<&Feed>) -> Result<Vec<Rescan>, EngineError> {
        let mut versions = self.versions()?;
        versions.retain(|version| {
            version.state != NamespaceState::Quarantined
                && version.has_bytes()
                && version.artifact.kind() != ArtifactKind::Dataset
        });
        let mut rescans = Vec::new();
        for version in versions {
            rescans.push(self.rescan_one(version, feed)?);
        }
        if let Some(feed) = feed {
            self.remember_feed(feed)?;
        }
        Ok(rescans)
    }

    fn rescan_one(&self, version: Version, feed: Option<&Feed>) -> Result<Rescan, EngineError> {
        let head =
            feed.map(|feed| json!({"name": feed.seen.feed, "serial": feed.seen.serial, "records": feed.seen.records}));
        let act = Act {
            action: Action::Inspect,
            resources: vec![resource(&version)],
            facts: Facts { exempt: version.exempt, ..Facts::default() },
            request: json!({"control": "scan", "again": true, "tree": version.tree, "feed": head}),
            subject: version.reference().to_string(),
            reach: Reach::Inside,
        };
        let earlier = self.scan_report(&version)?;
        let before = earlier.as_ref().map(|report| report.verdict);
        let known: Vec<(String, Finding)> = earlier.iter().flat_map(findings).collect();
        // Somebody has looked at what was found so far, and keeps it in use with a reason.
        let decided = version.waived > 0 && version.revoked.is_none();
        let (mut rescan, index) = self.act(act, || {
            let manifest = self.manifest(&version)?;
            let mut report = self.scan_manifest(&manifest, version.artifact.kind())?;
            let digests: Vec<Digest> = manifest.tree().files().iter().map(|file| file.sha256).collect();
            let mut alerts = Vec::new();
            if let Some(feed) = feed {
                let matched = self.advisories(&version, digests, feed)?;
                alerts.extend(matched.iter().map(|(finding, _)| finding.clone()));
                if !matched.is_empty() {
                    report = with_advisories(report, matched);
                }
                alerts.extend(stale(feed));
            } else if let Some(said) = earlier.into_iter().flat_map(|report| report.files).find(is_advisory) {
                // What a feed said stands until a feed is asked again.
                report = with_entry(report, said);
            }
            if before.is_some_and(|before| before.and(report.verdict) != before) {
                let was = before.map_or_else(String::new, |before| before.to_string());
                alerts.push(told(&WORSE, Severity::High, format!("was {was}, is {}", report.verdict)));
            }
            let made = self.evidence(&Made {
                kind: EvidenceKind::Scan,
                name: version.reference().to_string(),
                subject: version.tree,
                rules: ringfence_scan::rules_digest(),
                config: json!({"scan": scan_config(), "feed": head}),
                inputs: BTreeMap::new(),
                coverage: BTreeMap::from([("files".to_owned(), report.files.len() as u64)]),
                verdict: scan_verdict(&report),
                report: canonical(&report)?,
                summary: scan_summary(&report),
            })?;
            let mut version = version.clone();
            version.revoked = match report.verdict {
                Verdict::Clean => None,
                verdict
                    if decided && before == Some(verdict) && findings(&report).all(|one| is_known(&known, &one)) =>
                {
                    None
                }
                verdict => Some(alerts.first().map_or_else(|| verdict.to_string(), |alert| alert.message.clone())),
            };
            let revoked = version.revoked.is_some();
            let mut effect = Effect::of(());
            made.into_effect(&mut version, &mut effect);
            if !alerts.is_empty() {
                let kept: Vec<Value> = alerts
                    .iter()
                    .take(ALERTS_KEPT)
                    .map(|alert| json!({"rule": alert.rule, "severity": alert.severity, "message": alert.message}))
                    .collect();
                effect.openings.insert("alerts".into(), json!(kept));
            }
            Ok(effect.replace(Rescan { version, report, before, alerts, revoked }))
        })?;
        fill_index(&mut rescan.version, index);
        Ok(rescan)
    }

    /// What the feed says of a model and of the packages with which it was made; whether it speaks of the model itself.
    fn advisories(
        &self,
        version: &Version,
        files: Vec<Digest>,
        feed: &Feed,
    ) -> Result<Vec<(Finding, Bearing)>, EngineError> {
        let packages = self.packages_of(version)?;
        let models = [model_of(version, files)];
        let found = matches(&feed.advisories, &packages, &models);
        let finding = |found: &Match| {
            let advisory = feed.advisories.iter().find(|advisory| advisory.id == found.advisory);
            let summary = advisory.map_or("", summary_of);
            match (found.matched, found.certainty) {
                (Matched::Model(_), Certainty::Certain) => {
                    (told(&AFFECTED, found.severity, format!("{}: {summary}", found.advisory)), Bearing::Certain)
                }
                (Matched::Model(_), Certainty::Possible) => {
                    (told(&POSSIBLE, Severity::Low, format!("{}: {summary}", found.advisory)), Bearing::Beside)
                }
                (Matched::Package(index), _) => {
                    let package = packages.get(index);
                    let package = package.map_or_else(String::new, |one| format!("{} {}", one.name, one.version));
                    let text = format!("{} ({package}): {summary}", found.advisory);
                    (told(&PACKAGE, found.severity, text), Bearing::Beside)
                }
            }
        };
        Ok(found.iter().map(finding).collect())
    }

    /// The packages of the environment in which a candidate was made, from its signed provenance.
    pub(crate) fn packages_of(&self, version: &Version) -> Result<Vec<Package>, EngineError> {
        let evidence = self.evidence_of(version)?;
        let provenance = evidence.iter().rfind(|shown| shown.kind == EvidenceKind::Provenance);
        let list = provenance.and_then(|shown| {
            shown.statement.predicate.pointer("/buildDefinition/internalParameters/environment/python/packages")
        });
        let parse = |text: &str| {
            // `name-version`, as the folders of installed packages are called.
            let (name, version) = text.rsplit_once('-')?;
            Some(Package { ecosystem: "PyPI".into(), name: name.into(), version: version.into() })
        };
        Ok(list.and_then(Value::as_array).into_iter().flatten().filter_map(|one| parse(one.as_str()?)).collect())
    }
}

/// What advisories are compared with.
pub(crate) fn model_of(version: &Version, files: Vec<Digest>) -> Model {
    let source = version.origin.as_ref().and_then(|origin| origin.pinned.parse::<Source>().ok());
    let (hub, revision) = match source {
        Some(Source::Hub(hub)) => (Some(hub.id), hub.revision),
        _ => (None, None),
    };
    Model { name: version.reference().to_string(), hub, revision, files }
}

/// Whether an advisory speaks of the artifact itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bearing {
    /// It does, surely: the artifact is blocked.
    Certain,
    /// It speaks of something beside it, or perhaps of it: people hear of it.
    Beside,
}

fn summary_of(advisory: &Advisory) -> &str {
    if advisory.summary.is_empty() { "no summary" } else { &advisory.summary }
}

/// The report with what the advisories say, as an entry of its own.
fn with_advisories(report: ScanReport, matched: Vec<(Finding, Bearing)>) -> ScanReport {
    let certain = matched.iter().any(|(_, bearing)| *bearing == Bearing::Certain);
    let entry = FileReport {
        path: ADVISORIES_PATH.into(),
        format: ADVISORIES_FORMAT.into(),
        verdict: if certain { Verdict::Malicious } else { Verdict::Clean },
        size: 0,
        findings: matched.into_iter().map(|(finding, _)| finding).collect(),
    };
    with_entry(report, entry)
}

fn with_entry(report: ScanReport, entry: FileReport) -> ScanReport {
    let mut files = report.files;
    files.push(entry);
    ScanReport { weights: report.weights, ..ScanReport::new(files) }
}

/// Every finding of a report with the file that it is about.
fn findings(report: &ScanReport) -> impl Iterator<Item = (String, Finding)> + '_ {
    let of = |file: &FileReport| -> Vec<(String, Finding)> {
        file.findings.iter().map(|finding| (file.path.clone(), finding.clone())).collect()
    };
    report.files.iter().flat_map(of)
}

/// Whether the same rule found the same thing at the same place.
fn is_known(known: &[(String, Finding)], (path, finding): &(String, Finding)) -> bool {
    let same = |(at, one): &(String, Finding)| {
        at == path && one.rule == finding.rule && one.place == finding.place && one.message == finding.message
    };
    known.iter().any(same)
}

/// Whether an entry of a report is what advisories said, and no file.
fn is_advisory(file: &FileReport) -> bool {
    file.path == ADVISORIES_PATH && file.format == ADVISORIES_FORMAT
}

/// Path and format of the entry that tells what advisories say.
const ADVISORIES_PATH: &str = "(advisories)";
const ADVISORIES_FORMAT: &str = "advisories";

/// A feed that is past its date, or that could not be read whole.
pub fn stale(feed: &Feed) -> Vec<Finding> {
    let mut findings = Vec::new();
    if feed.expired {
        let text = format!("feed `{}` was due for renewal at {}", feed.head.feed, feed.head.expires_ms);
        findings.push(told(&STALE, Severity::Medium, text));
    }
    if let Some((line, error)) = feed.unread.first() {
        let text =
            format!("{} records of feed `{}` cannot be read; line {line}: {error}", feed.unread.len(), feed.head.feed);
        findings.push(told(&STALE, Severity::Medium, text));
    }
    findings
}

fn told(rule: &RuleText, severity: Severity, message: String) -> Finding {
    Finding {
        rule: rule.id.into(),
        severity,
        message: ringfence_schema::finding::printable(&message, 300),
        place: Place::default(),
        evidence: Vec::new(),
        why: rule.why.into(),
        remedy: rule.remedy.into(),
        waived: None,
    }
}

/// A whole file of at most `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, EngineError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(EngineError::io(path))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(EngineError::io(path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(EngineError::incomplete(path.display().to_string(), format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

//! What is in the vault: making it, adding, writing out, listing, going back, reviewing.

use ringfence_engine::{
    Destruction, EngineError, Exemptions, ExitClass, Intake, NamespaceState, Origin, Protection, Reading, Settings,
    Vault, Version,
    access::Action,
    schema::{
        ArtifactName, Digest, Reference, Timestamp,
        evidence::EvidenceKind,
        report::{RecordDecision, ScanReport, ScreenReport},
    },
    transfer::UploadState,
};
use serde::Serialize;
use serde_json::json;

use crate::{
    args::{AddArgs, GetArgs, InitArgs, LsArgs, ReviewAction, RollbackArgs, SkipArgs},
    command::{files::count, supply::source},
    output::{Printer, Style, size, table},
    place,
};

/// `init`.
pub(crate) fn init(settings: &Settings<'_>, printer: Printer, args: &InitArgs) -> Result<ExitClass, EngineError> {
    let protection = if args.passphrase { Protection::Passphrase } else { protection() };
    let vault = Vault::init(settings, protection)?;
    let kept = match protection {
        Protection::KeyFile => "key-file",
        Protection::Passphrase => "passphrase",
    };
    if printer.for_people() {
        printer.line(format!("vault {} at {}", vault.id(), settings.vault.display()))?;
        printer.say(match protection {
            Protection::KeyFile => format!(
                "its key file is in {}: keep a copy elsewhere, without it nothing here can be read",
                settings.config.display()
            ),
            Protection::Passphrase => {
                "without its passphrase nothing here can be read: there is no other way in".to_owned()
            }
        });
        printer.say("hand `ringfence show root` to whoever verifies your releases");
    } else {
        printer.document(
            "ringfence.init/1",
            &json!({"vault": vault.id().to_string(),
                "folder": settings.vault,
                "protection": kept,
            }),
        )?;
    }
    Ok(ExitClass::Done)
}

/// What protects a vault that is made without being asked: the passphrase, where the environment says where it comes from.
pub(crate) fn protection() -> Protection {
    if place::passphrase_is_given() { Protection::Passphrase } else { Protection::KeyFile }
}

/// The controls that were asked to be left out.
pub(crate) fn exemptions(skip: SkipArgs) -> Exemptions {
    Exemptions { no_scan: skip.no_scan, no_screen: skip.no_screen }
}

/// Reads `NAME`, `NAME@3`, `NAME@released` or `NAME@sha256:…`.
pub(crate) fn reference(text: &str) -> Result<Reference, EngineError> {
    text.parse().map_err(|error: ringfence_engine::schema::reference::NotAReference| EngineError::Usage {
        what: error.to_string(),
    })
}

/// `add`.
pub(crate) fn add(settings: &Settings<'_>, printer: Printer, args: &AddArgs) -> Result<ExitClass, EngineError> {
    if args.no_wait {
        let what = "`--no-wait` leaves the work to a server: name one with `--server`".to_owned();
        return Err(EngineError::Usage { what });
    }
    let name = name(args)?;
    let source = source(&args.path)?;
    let vault = Vault::open(settings)?;
    let added = vault.add(&Intake {
        from: source.as_ref().map_or(Origin::Files(&args.path), Origin::Source),
        name,
        reading: reading(args),
        labels: args.data.labels.as_deref(),
        exempt: exemptions(args.skip),
    });
    match added {
        Ok(admitted) => {
            print_added(printer, admitted.version(), None, admitted.scan(), admitted.screen())?;
            Ok(ExitClass::Done)
        }
        Err(EngineError::Refused { gate, subject, reasons }) if gate != "source" => {
            let held = vault.find(&reference(&subject)?)?;
            let (scan, screen) = (vault.scan_report(&held)?, vault.screen_report(&held)?);
            print_added(printer, &held, Some(&reasons), scan.as_ref(), screen.as_ref())?;
            Err(EngineError::Refused { gate, subject, reasons })
        }
        Err(error) => Err(error),
    }
}

/// How a dataset is to be read, as it was typed.
pub(crate) fn reading(args: &AddArgs) -> Reading {
    let data = &args.data;
    Reading { label: data.label.clone(), shape: data.shape.clone(), scale: data.scale, ..Reading::default() }
}

/// The name that was typed.
pub(crate) fn name(args: &AddArgs) -> Result<ArtifactName, EngineError> {
    args.name.parse().map_err(|error: ringfence_engine::schema::reference::NotAReference| EngineError::Usage {
        what: error.to_string(),
    })
}

/// Says what became of an addition; with `reasons` it waits in quarantine.
pub(crate) fn print_added(
    printer: Printer,
    version: &Version,
    reasons: Option<&[String]>,
    scan: Option<&ScanReport>,
    screen: Option<&ScreenReport>,
) -> Result<(), EngineError> {
    let verdict = if reasons.is_some() { "refused" } else { "admitted" };
    let (artifact, reasons) = (Listed::of(version), reasons.unwrap_or_default());
    print_addition(printer, &Addition { schema: "ringfence.add/1", verdict, artifact, reasons, scan, screen })
}

/// Says how bringing `named` in ended; `reports` fetches what the controls found in a version.
///
/// # Errors
/// [`EngineError::Refused`] where a gate said no, and for what did not get that far.
pub(crate) fn print_ended(
    printer: Printer,
    named: &str,
    ended: UploadState,
    reports: impl Fn(&Version) -> Result<Reports, EngineError>,
) -> Result<(), EngineError> {
    match ended {
        UploadState::Admitted { version } => {
            let (scan, screen) = reports(&version)?;
            print_added(printer, &version, None, scan.as_ref(), screen.as_ref())
        }
        UploadState::Refused { version, gate, reasons } => {
            let (scan, screen) = reports(&version)?;
            print_added(printer, &version, Some(&reasons), scan.as_ref(), screen.as_ref())?;
            let gate = Action::ALL.into_iter().map(Action::name).find(|name| *name == gate).unwrap_or("the server");
            Err(EngineError::Refused { gate, subject: version.reference().to_string(), reasons })
        }
        UploadState::Admitting { version: Some(version) } => print_received(printer, &version),
        UploadState::Failed { why } => Err(EngineError::incomplete(named, why)),
        _ => Err(EngineError::incomplete(named, "the server does not say how it ended")),
    }
}

/// What scanning found, and what screening did, as far as they looked.
pub(crate) type Reports = (Option<ScanReport>, Option<ScreenReport>);

/// Says that an addition is in quarantine, and that nobody waited for what becomes of it.
fn print_received(printer: Printer, version: &Version) -> Result<(), EngineError> {
    let artifact = Listed::of(version);
    let received =
        Addition { schema: "ringfence.add/1", verdict: "received", artifact, reasons: &[], scan: None, screen: None };
    print_addition(printer, &received)?;
    if printer.for_people() {
        printer.line(format!(
            "  the server looks into it; `ringfence show {}` tells how it stands",
            received.artifact.artifact
        ))?;
    }
    Ok(())
}

/// What `add` answers.
#[derive(Serialize)]
struct Addition<'a> {
    schema: &'static str,
    verdict: &'static str,
    #[serde(flatten)]
    artifact: Listed,
    reasons: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    scan: Option<&'a ScanReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    screen: Option<&'a ScreenReport>,
}

fn print_addition(printer: Printer, report: &Addition<'_>) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.json(report);
    }
    for finding in report.scan.iter().flat_map(|scan| &scan.files).flat_map(|file| &file.findings) {
        printer.finding(finding)?;
    }
    if let Some(screen) = report.screen {
        for finding in &screen.dataset.findings {
            printer.finding(finding)?;
        }
    }
    let style = match report.verdict {
        "admitted" => Style::Good,
        "received" => Style::Warn,
        _ => Style::Bad,
    };
    let artifact = &report.artifact;
    printer.line(format!(
        "{}  {}  {}",
        printer.strong(report.verdict, style),
        artifact.artifact,
        inspected(report.scan, report.screen)
    ))?;
    printer.line(format!("  {}  {} in {} files", artifact.tree, size(artifact.bytes), artifact.files))
}

/// One line on what inspection found.
fn inspected(scan: Option<&ScanReport>, screen: Option<&ScreenReport>) -> String {
    match (scan, screen) {
        (_, Some(screen)) => format!(
            "{} records: {} filtered, {} to review",
            screen.records,
            count(screen, RecordDecision::Filter),
            count(screen, RecordDecision::Review)
        ),
        (Some(scan), None) => format!("scanned {}", scan.verdict),
        (None, None) => "not inspected".to_owned(),
    }
}

/// `get`.
pub(crate) fn get(settings: &Settings<'_>, printer: Printer, args: &GetArgs) -> Result<ExitClass, EngineError> {
    let wanted = reference(&args.reference)?;
    let vault = Vault::open(settings)?;
    let version = vault.find(&wanted)?;
    let bytes = vault.get(&version, &args.destination)?;
    print_got(printer, args, &version.reference().to_string(), version.tree, bytes)?;
    Ok(ExitClass::Done)
}

/// Says what was written out.
pub(crate) fn print_got(
    printer: Printer,
    args: &GetArgs,
    artifact: &str,
    tree: Digest,
    bytes: u64,
) -> Result<(), EngineError> {
    if printer.for_people() {
        printer.say(format!("  verified   {} of {artifact}", size(bytes)));
        return printer.line(args.destination.display().to_string());
    }
    let destination = &args.destination;
    let body = json!({"artifact": artifact, "tree": tree, "bytes": bytes, "destination": destination});
    printer.document("ringfence.get/1", &body)
}

/// A version as lists show it.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    /// `kind/name@version`.
    pub(crate) artifact: String,
    state: NamespaceState,
    labels: Vec<String>,
    /// Identity of its content.
    pub(crate) tree: Digest,
    files: u64,
    bytes: u64,
    written: Timestamp,
    /// Kinds of evidence that are there, in the order of the way.
    evidence: Vec<&'static str>,
    /// Controls that were left out.
    exempt: Vec<&'static str>,
    waived: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    /// That its keys were destroyed: by whom, when, why, and where that stands in the trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    destroyed: Option<Destruction>,
    /// Where it was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

impl Listed {
    /// The row of `version`.
    pub(crate) fn of(version: &Version) -> Self {
        let evidence = EvidenceKind::ALL.into_iter().filter(|kind| version.newest(*kind).is_some());
        let exempt = [(version.exempt.no_scan, "no-scan"), (version.exempt.no_screen, "no-screen")];
        Self {
            artifact: version.reference().to_string(),
            state: version.state,
            labels: version.labels.clone(),
            tree: version.tree,
            files: version.files,
            bytes: version.bytes,
            written: version.written,
            evidence: evidence.map(EvidenceKind::name).collect(),
            exempt: exempt.into_iter().filter_map(|(left_out, name)| left_out.then_some(name)).collect(),
            waived: version.waived,
            refused: version.refused.clone(),
            revoked: version.revoked.clone(),
            destroyed: version.destroyed.clone(),
            origin: version.origin.as_ref().map(|origin| origin.pinned.clone()),
        }
    }

    fn cells(&self) -> Vec<String> {
        let mut badges: Vec<String> = self.evidence.iter().map(|kind| (*kind).to_owned()).collect();
        badges.extend(self.exempt.iter().map(|name| format!("({name})")));
        if self.waived > 0 {
            badges.push(format!("({} waived)", self.waived));
        }
        let state = match (&self.destroyed, &self.refused, &self.revoked) {
            (Some(_), _, _) => "destroyed",
            (None, Some(_), _) => "refused for good",
            (None, None, Some(_)) => "revoked",
            (None, None, None) => self.state.name(),
        };
        vec![
            self.artifact.clone(),
            state.to_owned(),
            self.labels.join(","),
            size(self.bytes),
            self.tree.short(),
            badges.join(" "),
        ]
    }
}

/// `ls`.
pub(crate) fn ls(settings: &Settings<'_>, printer: Printer, args: &LsArgs) -> Result<ExitClass, EngineError> {
    let wanted = args.name.as_deref().map(reference).transpose()?;
    print_versions(printer, Vault::open(settings)?.versions()?, wanted.as_ref())?;
    Ok(ExitClass::Done)
}

/// Lists the versions of the wanted artifact, or all.
pub(crate) fn print_versions(
    printer: Printer,
    mut versions: Vec<Version>,
    wanted: Option<&Reference>,
) -> Result<(), EngineError> {
    if let Some(wanted) = wanted {
        versions.retain(|version| version.artifact == wanted.artifact);
        if versions.is_empty() {
            return Err(EngineError::NotFound { what: "artifact", name: wanted.artifact.to_string() });
        }
    }
    print_list(printer, "ringfence.ls/1", &versions)
}

/// Lists versions as they are given.
pub(crate) fn print_list(printer: Printer, schema: &'static str, versions: &[Version]) -> Result<(), EngineError> {
    let listed: Vec<Listed> = versions.iter().map(Listed::of).collect();
    if !printer.for_people() {
        return printer.document(schema, &json!({"artifacts": listed}));
    }
    if listed.is_empty() {
        printer.say("nothing here");
        return Ok(());
    }
    let header = ["artifact", "state", "labels", "size", "tree", "evidence"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(listed.iter().map(Listed::cells)).collect();
    printer.raw(table(&rows).as_bytes())
}

/// `rollback`.
pub(crate) fn rollback(
    settings: &Settings<'_>,
    printer: Printer,
    args: &RollbackArgs,
) -> Result<ExitClass, EngineError> {
    let wanted = reference(&args.reference)?;
    let vault = Vault::open(settings)?;
    let earlier = vault.find(&wanted)?;
    let restored = vault.rollback(&earlier)?;
    print_rollback(printer, &earlier, &restored)?;
    Ok(ExitClass::Done)
}

/// Says which version is current again.
pub(crate) fn print_rollback(printer: Printer, earlier: &Version, restored: &Version) -> Result<(), EngineError> {
    if printer.for_people() {
        return printer.line(format!("{} is now what {} is", restored.reference(), earlier.reference()));
    }
    printer.document(
        "ringfence.rollback/1",
        &json!({"from": earlier.reference().to_string(),
            "artifact": restored.reference().to_string(),
            "tree": restored.tree,
        }),
    )
}

/// `review …`.
pub(crate) fn review(
    settings: &Settings<'_>,
    printer: Printer,
    action: &ReviewAction,
) -> Result<ExitClass, EngineError> {
    let (decided, version) = match action {
        ReviewAction::Ls => {
            let held = Vault::open(settings)?.held()?;
            print_list(printer, "ringfence.held/1", &held)?;
            return Ok(ExitClass::Done);
        }
        ReviewAction::Resume { reference: named } => {
            let wanted = reference(named)?;
            let vault = Vault::open(settings)?;
            let ended = vault.resume(&wanted)?;
            print_ended(printer, named, ended, |version| {
                Ok((vault.scan_report(version)?, vault.screen_report(version)?))
            })?;
            return Ok(ExitClass::Done);
        }
        ReviewAction::Approve(args) => {
            let wanted = reference(&args.reference)?;
            let vault = Vault::open(settings)?;
            let admitted = vault.approve(&vault.find(&wanted)?, &args.reason)?;
            ("approved", admitted.version().clone())
        }
        ReviewAction::Refuse(args) => {
            let wanted = reference(&args.reference)?;
            let vault = Vault::open(settings)?;
            ("refused", vault.refuse(&vault.find(&wanted)?, &args.reason)?)
        }
    };
    print_review(printer, decided, &version)?;
    Ok(ExitClass::Done)
}

/// Says what was decided.
pub(crate) fn print_review(printer: Printer, decided: &str, version: &Version) -> Result<(), EngineError> {
    if printer.for_people() {
        return printer.line(format!("{decided}  {}", version.reference()));
    }
    printer.document(
        "ringfence.review/1",
        &json!({"decision": decided,
            "artifact": version.reference().to_string(),
            "state": version.state,
        }),
    )
}

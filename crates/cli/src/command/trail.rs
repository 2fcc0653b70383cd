//! Verification, and the trail of every decision and effect.

use std::path::Path;

use ringfence_engine::{
    Anchor, EngineError, ExitClass, Settings, Vault,
    schema::{
        report::{VerifyReport, VerifyVerdict},
        trail::{EntryKind, Outcome},
    },
    signing,
    trail::{ShownEntry, verify_trail},
    verify_bundle,
};
use serde_json::json;

use crate::{
    args::{TrailAction, TrustArgs, VerifyArgs},
    output::{Printer, Style, table},
};

/// `verify`.
pub(crate) fn verify(settings: &Settings<'_>, printer: Printer, args: &VerifyArgs) -> Result<ExitClass, EngineError> {
    if let (Some(path), Some(signature)) = (&args.bundle, &args.signature) {
        return conclude(printer, &signing::verify_signature(path, signature, &trust(&args.trust), (settings.now)())?);
    }
    let report = match &args.bundle {
        Some(bundle) => bundle_report(settings, bundle, args.root.as_deref())?,
        None => Vault::open(settings)?.verify_all()?,
    };
    conclude(printer, &report)
}

fn trust(args: &TrustArgs) -> signing::Trust {
    let keyless = match (&args.sigstore_root, &args.identity, &args.issuer) {
        (Some(root), Some(identity), Some(issuer)) => {
            Some(signing::Keyless { root: root.clone(), identity: identity.clone(), issuer: issuer.clone() })
        }
        _ => None,
    };
    signing::Trust {
        keys: args.key.clone(),
        certificate_roots: args.certificate_root.clone(),
        signers: args.signer.clone(),
        keyless,
        minisign: args.minisign_key.clone(),
        bare_checksums: args.unsigned_checksums,
    }
}

fn bundle_report(settings: &Settings<'_>, bundle: &Path, root: Option<&Path>) -> Result<VerifyReport, EngineError> {
    if let Some(root) = root {
        return verify_bundle(bundle, &Anchor::File(root), (settings.now)());
    }
    let pins = ringfence_engine::pins(settings)?;
    verify_bundle(bundle, &Anchor::Pins(&pins), (settings.now)())
}

/// Prints a report; what failed is an error that names it.
fn conclude(printer: Printer, report: &VerifyReport) -> Result<ExitClass, EngineError> {
    if printer.for_people() {
        print_report(printer, report)?;
    } else {
        printer.json(report)?;
    }
    let mut failed = report.checks.iter().filter(|check| !check.passed);
    let first = failed.next();
    let (name, mut detail) =
        first.map_or((report.subject.clone(), String::new()), |check| (check.name.clone(), check.detail.clone()));
    let more = failed.count();
    if more > 0 {
        detail.push_str(&format!("; and {more} more"));
    }
    match report.verdict {
        VerifyVerdict::Verified => Ok(ExitClass::Done),
        VerifyVerdict::Refused => Err(EngineError::Refused {
            gate: "verify",
            subject: report.subject.clone(),
            reasons: report
                .checks
                .iter()
                .filter(|check| !check.passed)
                .map(|check| format!("{}: {}", check.name, check.detail))
                .collect(),
        }),
        VerifyVerdict::UnknownRoot => {
            Err(EngineError::Refused { gate: "trust", subject: report.subject.clone(), reasons: vec![detail] })
        }
        VerifyVerdict::Incomplete => Err(EngineError::incomplete(name, detail)),
        VerifyVerdict::Tampered => Err(EngineError::tampered(name, detail)),
    }
}

fn print_report(printer: Printer, report: &VerifyReport) -> Result<(), EngineError> {
    let failed = match report.verdict {
        VerifyVerdict::Verified | VerifyVerdict::Refused => "refused",
        VerifyVerdict::UnknownRoot => "unknown",
        VerifyVerdict::Incomplete => "unread",
        VerifyVerdict::Tampered => "TAMPERED",
    };
    let width = report.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    for check in &report.checks {
        let word = if check.passed {
            printer.strong("ok      ", Style::Good)
        } else {
            printer.strong(&format!("{failed:<8}"), Style::Bad)
        };
        printer.line(format!("{word}  {:<width$}  {}", check.name, check.detail))?;
    }
    for (name, value) in &report.facts {
        printer.line(format!("          {name}: {value}"))?;
    }
    let (word, style) = match report.verdict {
        VerifyVerdict::Verified => ("verified", Style::Good),
        VerifyVerdict::Refused => ("refused", Style::Bad),
        VerifyVerdict::UnknownRoot => ("trust root unknown", Style::Warn),
        VerifyVerdict::Incomplete => ("incomplete", Style::Warn),
        VerifyVerdict::Tampered => ("TAMPERED", Style::Bad),
    };
    printer.line(format!("{}  {}", printer.strong(word, style), report.subject))
}

/// `trail …`.
pub(crate) fn trail(settings: &Settings<'_>, printer: Printer, action: &TrailAction) -> Result<ExitClass, EngineError> {
    match action {
        TrailAction::Ls { last } => {
            let entries = Vault::open(settings)?.trail(*last)?;
            print_entries(printer, &entries)?;
        }
        TrailAction::Show { index } => {
            let entry = Vault::open(settings)?.trail_entry(*index)?;
            print_entry(printer, &entry)?;
        }
        TrailAction::Checkpoint => printer.raw(Vault::open(settings)?.checkpoint()?.as_bytes())?,
        TrailAction::Verify { checkpoint, root } => {
            return conclude(printer, &verify_trail(settings, checkpoint.as_deref(), root.as_deref())?);
        }
    }
    Ok(ExitClass::Done)
}

fn print_entries(printer: Printer, entries: &[ShownEntry]) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.trail/1", &json!({"entries": entries}));
    }
    let header = ["#", "time", "action", "", "subject"].map(str::to_owned).to_vec();
    let rows = entries.iter().map(|entry| {
        vec![
            entry.index.to_string(),
            entry.entry.time.to_string(),
            entry.entry.action.clone(),
            word(entry),
            entry.subject().to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    printer.raw(table(&rows).as_bytes())
}

/// What an entry says of its action.
fn word(shown: &ShownEntry) -> String {
    let of = shown.entry.of.map(|intent| format!(" (of #{intent})")).unwrap_or_default();
    let word = match (shown.entry.kind, shown.entry.outcome) {
        (EntryKind::Genesis, _) => "begun",
        (EntryKind::Intent, _) => "intended",
        (EntryKind::Denial, _) => "denied",
        (EntryKind::Outcome, Some(Outcome::Done)) => "done",
        (EntryKind::Outcome, Some(Outcome::Failed)) => "failed",
        (EntryKind::Outcome, Some(Outcome::Abandoned)) => "abandoned",
        (EntryKind::Outcome, Some(Outcome::Unknown) | None) => "unknown",
    };
    format!("{word}{of}")
}

fn print_entry(printer: Printer, shown: &ShownEntry) -> Result<(), EngineError> {
    if !printer.for_people() {
        return printer.document("ringfence.trail-entry/1", &json!({"entry": shown}));
    }
    let entry = &shown.entry;
    printer.line(format!("#{}  {}  {}  by {}  {}", shown.index, entry.action, word(shown), entry.actor, entry.time))?;
    printer.line(format!("  leaf   {}", shown.leaf))?;
    printer.line(format!("  state  {}", entry.state))?;
    for change in &entry.changes {
        let value = change.value.map_or("removed".to_owned(), |value| value.to_string());
        let key: String = change.key.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        printer.line(format!("  row    {}/{key}…  {value}", change.table))?;
    }
    for (name, commitment) in &entry.commits {
        printer.line(format!("  {name}  {commitment}"))?;
        if let Some(opening) = shown.openings.get(name) {
            printer.line(format!("    = {}", opening.value))?;
        }
    }
    Ok(())
}

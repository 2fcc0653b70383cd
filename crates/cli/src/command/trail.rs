//! Verification, and the trail of every decision and effect.

use std::path::Path;

use ringfence_engine::{
    Anchor, EngineError, ExitClass, Settings, Vault,
    schema::report::{VerifyReport, VerifyVerdict},
    signing,
    trail::{self, Filter, Mirrored, Shape, ShownEntry, verify_mirror, verify_trail},
    verify_approval, verify_bundle,
};
use serde_json::json;

use super::witness;
use crate::{
    args::{TrustArgs, VerifyArgs, trail::TrailAction},
    output::{Printer, Style, size, table},
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
    let check = |anchor: &Anchor<'_>| {
        // A bundle is a folder; one file alone is one of approvals.
        if bundle.is_file() { verify_approval(bundle, anchor) } else { verify_bundle(bundle, anchor, (settings.now)()) }
    };
    match root {
        Some(root) => check(&Anchor::File(root)),
        None => check(&Anchor::Pins(&ringfence_engine::pins(settings)?)),
    }
}

/// Prints a report; what failed is an error that names it.
pub(crate) fn conclude(printer: Printer, report: &VerifyReport) -> Result<ExitClass, EngineError> {
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
            // The only thing that a genuine trail can lack.
            gate: if name == "witnesses" { "witness" } else { "verify" },
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
        TrailAction::Ls { filter, last } => {
            let filter = filter.filter((settings.now)())?;
            filter.check()?;
            let vault = Vault::open(settings)?;
            print_entries(printer, &mut |each| vault.search(&filter, Some(*last), each))?;
        }
        TrailAction::Show { index } => {
            let entry = Vault::open(settings)?.trail_entry(*index)?;
            print_entry(printer, &entry)?;
        }
        TrailAction::Checkpoint => printer.raw(Vault::open(settings)?.checkpoint()?.as_bytes())?,
        TrailAction::Verify { checkpoint, root, mirror, witness_policy } => {
            let policy = witness_policy.as_deref();
            let report = match (mirror, root) {
                (Some(mirror), Some(root)) => verify_mirror(mirror, root, checkpoint.as_deref(), policy)?,
                _ => verify_trail(settings, checkpoint.as_deref(), root.as_deref(), policy)?,
            };
            return conclude(printer, &report);
        }
        TrailAction::Witness => return witness::show_trail(settings, printer),
        TrailAction::Mirror { folder, witness: false } => {
            print_mirrored(printer, folder, &trail::mirror(settings, folder)?)?;
        }
        TrailAction::Mirror { folder, witness: true } => {
            let shown = trail::witness(settings)?;
            witness::print_witnessing(printer, &shown, &mut |line| {
                printer.say(line);
                Ok(())
            })?;
            let verdict = shown.verdict();
            // A witness that is gone does not hold the copy up; one that saw another history does.
            if !matches!(verdict, Err(EngineError::Tampered { .. })) {
                print_mirrored(printer, folder, &trail::mirror_witnessed(settings, folder, &shown)?)?;
            }
            verdict?;
        }
        TrailAction::Export { shape, filter, last, out } => {
            let filter = filter.filter((settings.now)())?;
            export(settings, printer, &filter, *last, Shape::from(*shape), out.as_deref())?;
        }
    }
    Ok(ExitClass::Done)
}

fn export(
    settings: &Settings<'_>,
    printer: Printer,
    filter: &Filter,
    last: Option<u64>,
    shape: Shape,
    out: Option<&Path>,
) -> Result<(), EngineError> {
    filter.check()?;
    let vault = Vault::open(settings)?;
    match out {
        Some(file) => {
            let count = vault.export_trail_file(filter, last, shape, file)?;
            printer.say(format!("{count} entries in {}", file.display()));
        }
        None => {
            vault.export_trail(filter, last, shape, &mut |lines| printer.raw(lines))?;
        }
    }
    Ok(())
}

fn print_mirrored(printer: Printer, folder: &Path, done: &Mirrored) -> Result<(), EngineError> {
    let Mirrored { entries, before, files, bytes, checkpoint } = done;
    if !printer.for_people() {
        let body = json!({
            "folder": folder.display().to_string(),
            "entries": entries,
            "before": before,
            "files": files,
            "bytes": bytes,
            "root": checkpoint.root,
        });
        return printer.document("ringfence.trail-mirror/1", &body);
    }
    let new = entries - before;
    printer.line(format!(
        "{entries} entries in {}, {new} of them new ({files} files, {})",
        folder.display(),
        size(*bytes)
    ))
}

/// Is handed entries, one after the other.
type Each<'e> = dyn FnMut(&ShownEntry) -> Result<(), EngineError> + 'e;

/// Prints the entries that `search` finds; it answers how many these are.
pub(crate) fn print_entries(
    printer: Printer,
    search: &mut dyn FnMut(&mut Each<'_>) -> Result<u64, EngineError>,
) -> Result<(), EngineError> {
    if !printer.for_people() {
        // One at a time: the document may be longer than memory.
        let mut between = "{\n  \"schema\": \"ringfence.trail/1\",\n  \"entries\": [\n";
        let found = search(&mut |entry| {
            let text = serde_json::to_string_pretty(entry)
                .map_err(|error| EngineError::incomplete("standard output", error))?;
            printer.raw(format!("{between}    {}", text.replace('\n', "\n    ")).as_bytes())?;
            between = ",\n";
            Ok(())
        })?;
        return printer.line(if found > 0 {
            "\n  ]\n}"
        } else {
            "{\n  \"schema\": \"ringfence.trail/1\",\n  \"entries\": []\n}"
        });
    }
    let mut rows: Vec<Vec<String>> = vec![["#", "time", "action", "", "subject"].map(str::to_owned).to_vec()];
    search(&mut |entry| {
        rows.push(vec![
            entry.index.to_string(),
            entry.entry.time.to_string(),
            entry.entry.action.clone(),
            word(entry),
            entry.subject().to_owned(),
        ]);
        Ok(())
    })?;
    printer.raw(table(&rows).as_bytes())
}

/// What an entry says of its action, and which intent it closes.
fn word(shown: &ShownEntry) -> String {
    let of = shown.entry.of.map(|intent| format!(" (of #{intent})")).unwrap_or_default();
    format!("{}{of}", shown.word())
}

/// Prints one entry in full.
pub(crate) fn print_entry(printer: Printer, shown: &ShownEntry) -> Result<(), EngineError> {
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

//! One thing in full: an artifact, a rule, the trust root; the vault in a few lines; this machine.

use ringfence_engine::{
    EngineError, ExitClass, NamespaceState, RuleText, Settings, ShownEvidence, Vault, Version,
    doctor::{self, Health, Part},
    schema::{
        evidence::{Evidence, EvidenceVerdict},
        finding::printable,
        report::{RecordDecision, ScanReport, ScreenReport},
        weights::WeightEvidence,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    args::ShowArgs,
    command::{
        files::{count, verdict_word},
        supply,
        vault::reference,
    },
    output::{Printer, Style, size, table},
};

/// `show`.
pub(crate) fn show(settings: &Settings<'_>, printer: Printer, args: &ShowArgs) -> Result<ExitClass, EngineError> {
    if args.what == "root" {
        // Byte for byte, whatever the format: the file is signed.
        printer.raw(Vault::open(settings)?.root_file())?;
    } else if is_rule(&args.what) {
        let id = args.what.to_ascii_uppercase();
        let rule = ringfence_engine::rule(&id).ok_or(EngineError::NotFound { what: "rule", name: id })?;
        print_rule(printer, &rule)?;
    } else {
        let wanted = reference(&args.what)?;
        let vault = Vault::open(settings)?;
        let version = vault.find(&wanted)?;
        if args.bom {
            // A document of its own kind, whatever the format.
            let feed = supply::feed(&vault, &args.feed)?;
            printer.json(&vault.bill(&version, feed.as_ref())?)?;
            return Ok(ExitClass::Done);
        }
        let shown = Shown {
            schema: artifact_schema(),
            evidence: vault.evidence_of(&version)?,
            scan: vault.scan_report(&version)?,
            screen: vault.screen_report(&version)?,
            version,
        };
        print_shown(printer, &shown)?;
    }
    Ok(ExitClass::Done)
}

/// Whether `what` names a rule.
pub(crate) fn is_rule(what: &str) -> bool {
    what.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("RF-"))
}

/// Shows an artifact.
pub(crate) fn print_shown(printer: Printer, shown: &Shown) -> Result<(), EngineError> {
    if printer.for_people() { print_artifact(printer, shown) } else { printer.json(shown) }
}

fn print_rule(printer: Printer, rule: &RuleText) -> Result<(), EngineError> {
    if printer.for_people() {
        printer.line(format!("{}  {}", rule.id, rule.title))?;
        printer.line(format!("   = {}", rule.why))?;
        printer.line(format!("   = fix: {}", rule.remedy))
    } else {
        printer.document(
            "ringfence.rule/1",
            &json!({"id": rule.id,
                "title": rule.title,
                "why": rule.why,
                "remedy": rule.remedy,
            }),
        )
    }
}

/// What `show` answers for an artifact.
#[derive(Serialize, Deserialize)]
pub(crate) struct Shown {
    #[serde(skip_deserializing, default = "artifact_schema")]
    schema: &'static str,
    pub(crate) version: Version,
    evidence: Vec<ShownEvidence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scan: Option<ScanReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) screen: Option<ScreenReport>,
}

fn artifact_schema() -> &'static str {
    "ringfence.artifact/1"
}

fn print_artifact(printer: Printer, shown: &Shown) -> Result<(), EngineError> {
    let version = &shown.version;
    printer.line(printer.strong(&version.reference().to_string(), Style::Good))?;
    let mut facts = vec![("state", version.state.name().to_owned())];
    if !version.labels.is_empty() {
        facts.push(("labels", version.labels.join(", ")));
    }
    facts.push(("tree", version.tree.to_string()));
    if version.source != version.tree {
        facts.push(("came in as", version.source.to_string()));
    }
    facts.push(("size", format!("{} in {} files", size(version.bytes), version.files)));
    facts.push(("written", version.written.to_string()));
    if let Some(reason) = &version.refused {
        facts.push(("refused", reason.clone()));
    }
    if let Some(gone) = &version.destroyed {
        facts.push(("destroyed", format!("{} by {}: {} (trail entry {})", gone.at, gone.by, gone.reason, gone.entry)));
    }
    let left_out: Vec<&str> = [(version.exempt.no_scan, "scan"), (version.exempt.no_screen, "screen")]
        .into_iter()
        .filter_map(|(skipped, name)| skipped.then_some(name))
        .collect();
    if !left_out.is_empty() {
        facts.push(("left out", format!("{}, as asked", left_out.join(", "))));
    }
    facts.push(("waived", format!("{} findings", version.waived)));
    if let Some(run) = &version.run {
        facts.push(("run", run.id.clone()));
        facts.extend(
            run.inputs.iter().map(|input| ("  from", format!("{} {}  {}", input.role, input.artifact, input.tree))),
        );
    }
    let rows: Vec<Vec<String>> = facts.into_iter().map(|(name, value)| vec![format!("  {name}"), value]).collect();
    printer.raw(table(&rows).as_bytes())?;
    print_evidence(printer, &shown.evidence)?;
    print_findings(printer, shown)
}

/// The chain of evidence, oldest first.
fn print_evidence(printer: Printer, evidence: &[ShownEvidence]) -> Result<(), EngineError> {
    if evidence.is_empty() {
        return printer.line("evidence  none");
    }
    printer.line("evidence  (signatures and places in the trail hold)")?;
    let rows: Vec<Vec<String>> = evidence
        .iter()
        .map(|shown| {
            let predicate = serde_json::from_value::<Evidence>(shown.statement.predicate.clone()).ok();
            let verdict = predicate.as_ref().map_or("recorded", |evidence| match evidence.verdict {
                EvidenceVerdict::Pass => "pass",
                EvidenceVerdict::Block => "block",
                EvidenceVerdict::Incomplete => "incomplete",
            });
            let summary = predicate.map(|evidence| {
                let parts: Vec<String> =
                    evidence.summary.iter().map(|(name, value)| format!("{name}={value}")).collect();
                parts.join(" ")
            });
            vec![
                format!("  #{}", shown.index),
                shown.kind.name().to_owned(),
                verdict.to_owned(),
                shown.envelope.short(),
                summary.unwrap_or_default(),
            ]
        })
        .collect();
    printer.raw(table(&rows).as_bytes())
}

fn print_findings(printer: Printer, shown: &Shown) -> Result<(), EngineError> {
    if let Some(scan) = &shown.scan {
        printer.line("scan")?;
        for file in &scan.files {
            printer.line(format!("  {}  {} ({})", verdict_word(printer, file.verdict), file.path, file.format))?;
        }
        for finding in scan.files.iter().flat_map(|file| &file.findings) {
            printer.finding(finding)?;
        }
        if let Some(weights) = &scan.weights {
            print_weights(printer, weights)?;
        }
    }
    if let Some(screen) = &shown.screen {
        printer.line(format!(
            "screen  {} records: {} filtered, {} to review, {} exact duplicates",
            screen.records,
            count(screen, RecordDecision::Filter),
            count(screen, RecordDecision::Review),
            screen.dataset.exact_duplicates
        ))?;
        for candidate in &screen.candidates {
            printer.line(format!(
                "  {}  {} ({} records)",
                candidate.rule,
                candidate.description,
                candidate.records.len()
            ))?;
        }
        for finding in &screen.dataset.findings {
            printer.finding(finding)?;
        }
    }
    Ok(())
}

/// The figures of the weights, with what they cannot tell.
fn print_weights(printer: Printer, weights: &WeightEvidence) -> Result<(), EngineError> {
    printer.line(format!("weights  ({})", weights.limits))?;
    for file in &weights.files {
        let what = format!("  {} ({})", file.path, file.format);
        if let Some(why) = &file.left_out {
            printer.line(format!("{what}: {why}"))?;
            continue;
        }
        printer.line(format!("{what}: {} tensors, {} elements, {} zero", file.tensors, file.elements, file.zeros))?;
        let rare = [
            ("NaN", file.nan),
            ("infinite", file.infinite),
            ("constant tensors", file.constant),
            ("dead rows", file.dead_rows),
            ("outlying rows", file.outlying_rows),
        ];
        let told: Vec<String> =
            rare.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
        if !told.is_empty() {
            printer.line(format!("    {}", told.join(", ")))?;
        }
        for finding in &file.findings {
            printer.finding(finding)?;
        }
        if file.unlisted > 0 {
            printer
                .line(format!("    … and {} findings more; `ringfence scan --weights` lists them", file.unlisted))?;
        }
    }
    if weights.unlisted > 0 {
        printer.line(format!("  … and {} files more", weights.unlisted))?;
    }
    Ok(())
}

/// `ringfence` alone: the vault in a few lines. `false`: there is none.
pub(crate) fn status(settings: &Settings<'_>, printer: Printer) -> Result<bool, EngineError> {
    let vault = match Vault::open(settings) {
        Ok(vault) => vault,
        Err(EngineError::NoVault { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let versions = vault.versions()?;
    let there = || versions.iter().filter(|version| version.destroyed.is_none());
    let in_state = |state| there().filter(|version| version.state == state).count();
    let mut states: Vec<(&str, usize)> =
        NamespaceState::ALL.into_iter().map(|state| (state.name(), in_state(state))).collect();
    let destroyed = versions.len() - there().count();
    states.extend((destroyed > 0).then_some(("destroyed", destroyed)));
    let newest = vault.trail(1)?;
    let bytes: u64 = there().map(|version| version.bytes).sum();
    let last = newest.last();
    if !printer.for_people() {
        let states: serde_json::Map<String, serde_json::Value> =
            states.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        printer.document(
            "ringfence.status/1",
            &json!({"vault": vault.id().to_string(),
                "folder": settings.vault,
                "versions": states,
                "bytes": bytes,
                "trail": {"entries": last.map(|entry| entry.index + 1), "newest": last.map(|entry| entry.entry.time)},
            }),
        )?;
        return Ok(true);
    }
    let counts: Vec<String> = states.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let mut rows = vec![
        vec!["vault".to_owned(), format!("{} at {}", vault.id(), settings.vault.display())],
        vec!["versions".to_owned(), format!("{}; {}", counts.join(", "), size(bytes))],
    ];
    if let Some(entry) = last {
        rows.push(vec!["trail".to_owned(), format!("{} entries, newest {}", entry.index + 1, entry.entry.time)]);
    }
    rows.extend(vault.held()?.iter().filter(|version| version.refused.is_none()).map(|version| {
        vec!["held".to_owned(), format!("{}: `ringfence show {0}`, `ringfence review`", version.reference())]
    }));
    rows.extend(
        versions
            .iter()
            .filter(|version| !version.labels.is_empty())
            .map(|version| vec![version.labels.join(","), version.reference().to_string()]),
    );
    printer.raw(table(&rows).as_bytes())?;
    Ok(true)
}

/// `doctor`.
pub(crate) fn doctor(settings: &Settings<'_>, printer: Printer) -> Result<ExitClass, EngineError> {
    print_parts(printer, &doctor::examine(settings))
}

/// How the parts of an installation are, here or on a server.
pub(crate) fn print_parts(printer: Printer, parts: &[Part]) -> Result<ExitClass, EngineError> {
    let worst = [Health::Fail, Health::Warn].into_iter().find(|health| parts.iter().any(|part| part.health == *health));
    let count = |health| parts.iter().filter(|part| part.health == health).count();
    if printer.for_people() {
        let name_width = parts.iter().map(|part| printable(&part.name, WORDS_MAX).len()).max().unwrap_or(0);
        for part in parts {
            let (word, style) = match part.health {
                Health::Ok => ("ok  ", Style::Good),
                Health::Warn => ("warn", Style::Warn),
                Health::Fail => ("FAIL", Style::Bad),
            };
            let [name, detail, fix] = [&*part.name, &part.detail, &part.fix].map(|text| printable(text, WORDS_MAX));
            printer.line(format!("{}  {name:<name_width$}  {detail}", printer.strong(word, style)))?;
            if !fix.is_empty() {
                printer.line(format!("      fix: {fix}"))?;
            }
        }
        printer.line(format!("{} to repair, {} to look at", count(Health::Fail), count(Health::Warn)))?;
    } else {
        let verdict = worst.unwrap_or(Health::Ok);
        printer.document("ringfence.doctor/1", &json!({"verdict": verdict, "parts": parts}))?;
    }
    Ok(if worst == Some(Health::Fail) { ExitClass::No } else { ExitClass::Done })
}

/// Characters of what a part says: another machine may have written it.
const WORDS_MAX: usize = 2_000;

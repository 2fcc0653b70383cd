//! The supply chain: signing, looking again at what was let in, and what is newer at its source.

use std::path::Path;

use ringfence_engine::{
    EngineError, ExitClass, Feed, Outdated, Rescan, Settings, Vault, files,
    reach::{NotASource, Source},
    schema::{
        Finding, Verdict,
        osv::feed::FeedHead,
        report::{ScanReport, TensorDifference},
        waiver::WaiverTerms,
        weights::{ChangeCounts, Compared, PlacedTensor, WeightChanges},
    },
    signing, stale,
};
use serde_json::json;

use crate::{
    args::{FeedArgs, OutdatedArgs, ScanArgs, SignAction, SignFeedArgs, SignModelArgs, SignWaiverArgs},
    command::{
        files::{scan_class, verdict_word},
        vault::reference,
    },
    output::{Printer, Style, table},
};

/// Lines of one kind that people are shown.
const SHOWN_MAX: usize = 20;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Opens the feed that was named.
pub(crate) fn feed(vault: &Vault<'_>, args: &FeedArgs) -> Result<Option<Feed>, EngineError> {
    match (&args.feed, &args.feed_root) {
        (Some(feed), Some(root)) => vault.open_feed(feed, root).map(Some),
        _ => Ok(None),
    }
}

/// `scan --admitted`.
pub(crate) fn rescan(settings: &Settings<'_>, printer: Printer, args: &ScanArgs) -> Result<ExitClass, EngineError> {
    let vault = Vault::open(settings)?;
    let feed = feed(&vault, &args.feed)?;
    let rescans = vault.rescan(feed.as_ref())?;
    let about_feed = feed.as_ref().map(stale).unwrap_or_default();
    if printer.for_people() {
        for rescan in &rescans {
            print_rescan(printer, rescan)?;
        }
        for finding in &about_feed {
            printer.finding(finding)?;
        }
        if rescans.is_empty() {
            printer.say("nothing is past quarantine yet");
        }
    } else {
        let artifacts: Vec<_> = rescans.iter().map(document).collect();
        printer.document("ringfence.rescan/1", &json!({"artifacts": artifacts, "feed": about_feed}))?;
    }
    let revoked = rescans.iter().any(|rescan| rescan.revoked);
    let files = rescans.into_iter().flat_map(|rescan| rescan.report.files).collect();
    Ok(match scan_class(&ScanReport::new(files), args.fail_on) {
        ExitClass::Done if revoked => ExitClass::No,
        ExitClass::Done if !about_feed.is_empty() => ExitClass::Incomplete,
        class => class,
    })
}

fn document(rescan: &Rescan) -> serde_json::Value {
    json!({
        "artifact": rescan.version.reference().to_string(),
        "verdict": rescan.report.verdict,
        "before": rescan.before,
        "revoked": rescan.revoked,
        "alerts": rescan.alerts,
        "files": rescan.report.files,
    })
}

fn print_rescan(printer: Printer, rescan: &Rescan) -> Result<(), EngineError> {
    let is_alert = |finding: &&Finding| !rescan.alerts.contains(finding);
    for finding in rescan.report.files.iter().flat_map(|file| &file.findings).filter(is_alert) {
        printer.finding(finding)?;
    }
    for alert in &rescan.alerts {
        printer.line(printer.strong("ALERT", Style::Bad))?;
        printer.finding(alert)?;
    }
    let revoked = if rescan.revoked { "  revoked: gates refuse it from now on" } else { "" };
    let was = match rescan.before {
        Some(before) if before != rescan.report.verdict => format!(" (was {before})"),
        _ => String::new(),
    };
    let word = verdict_word(printer, rescan.report.verdict);
    printer.line(format!("{word}  {}{was}{revoked}", rescan.version.reference()))
}

/// `scan --weights`.
pub(crate) fn weights(settings: &Settings<'_>, printer: Printer, args: &ScanArgs) -> Result<ExitClass, EngineError> {
    let [model] = args.paths.as_slice() else {
        return Err(EngineError::Usage { what: "`--weights` is for one model at a time".into() });
    };
    let report = files::weights(settings, model, args.base.as_deref())?;
    if printer.for_people() {
        for finding in &report.findings {
            printer.finding(finding)?;
        }
        let word = verdict_word(printer, report.verdict);
        printer.line(format!("{word}  {} ({}, {} tensors)", report.path, report.format, report.tensors.len()))?;
        printer.say("statistics are evidence, not proof: `--format json` lists every tensor");
    } else {
        printer.json(&report)?;
    }
    let least = args.fail_on.severity();
    Ok(if report.findings.iter().any(|finding| finding.severity >= least) {
        ExitClass::No
    } else if report.verdict == Verdict::Incomplete {
        ExitClass::Incomplete
    } else {
        ExitClass::Done
    })
}

/// `sign …`.
pub(crate) fn sign(settings: &Settings<'_>, printer: Printer, action: &SignAction) -> Result<ExitClass, EngineError> {
    match action {
        SignAction::Model(args) => sign_model(printer, args),
        SignAction::Waiver(args) => sign_waiver(settings, printer, args),
        SignAction::Feed(args) => sign_feed(settings, printer, args),
    }
}

fn sign_model(printer: Printer, args: &SignModelArgs) -> Result<ExitClass, EngineError> {
    let usual = || {
        if args.path.is_dir() { args.path.join("model.sig") } else { args.path.with_extension("sig") }
    };
    let out = args.out.clone().unwrap_or_else(usual);
    let files = signing::sign_model(&args.path, &args.key, &args.certificate, &out)?;
    if printer.for_people() {
        printer.say(format!("  signed     {files} files of {}", args.path.display()));
        printer.line(out.display().to_string())?;
    } else {
        printer.document("ringfence.sign/1", &json!({"signature": out, "files": files}))?;
    }
    Ok(ExitClass::Done)
}

fn sign_waiver(settings: &Settings<'_>, printer: Printer, args: &SignWaiverArgs) -> Result<ExitClass, EngineError> {
    if ringfence_engine::rule(&args.rule).is_none() {
        return Err(EngineError::NotFound { what: "rule", name: args.rule.clone() });
    }
    let issued_ms = (settings.now)();
    let terms = WaiverTerms {
        rule: args.rule.clone(),
        file: None,
        member: args.member.clone(),
        reason: args.reason.clone(),
        by: args.by.clone(),
        issued_ms,
        expires_ms: issued_ms.plus_millis(args.days * DAY_MS),
    };
    let waiver = Vault::open(settings)?.waive(&args.path, terms, &args.out)?;
    let until = waiver.terms().expires_ms;
    if printer.for_people() {
        printer.line(format!("{}  {} until {until}", args.rule, waiver.digest()))?;
        printer.say(format!("  added to   {}", args.out.display()));
    } else {
        let body = json!({"digest": waiver.digest(), "terms": waiver.terms(), "file": args.out});
        printer.document("ringfence.waiver/1", &body)?;
    }
    Ok(ExitClass::Done)
}

fn sign_feed(settings: &Settings<'_>, printer: Printer, args: &SignFeedArgs) -> Result<ExitClass, EngineError> {
    let issued_ms = (settings.now)();
    let head = FeedHead {
        feed: args.name.clone(),
        serial: args.serial,
        issued_ms,
        expires_ms: issued_ms.plus_millis(args.days * DAY_MS),
        records: 0,
    };
    Vault::open(settings)?.sign_feed(&args.records, &head, &args.out)?;
    if printer.for_people() {
        printer.line(args.out.display().to_string())?;
        printer.say("hand `ringfence show root` to whoever reads the feed: it says whose signature counts");
    } else {
        printer.document(
            "ringfence.feed-signed/1",
            &json!({"feed": args.out, "name": args.name, "serial": args.serial}),
        )?;
    }
    Ok(ExitClass::Done)
}

/// The source that `path` spells, if it is one and no file of that name is here.
pub(crate) fn source(path: &Path) -> Result<Option<Source>, EngineError> {
    let Some(text) = path.to_str().filter(|_| is_source(path)) else { return Ok(None) };
    text.parse().map(Some).map_err(|error: NotASource| EngineError::Reach(error.into()))
}

/// Whether what was typed names a source.
pub(crate) fn is_source(path: &Path) -> bool {
    let schemes = ["hf://", "https://", "http://", "s3://", "kaggle://", "tfhub://", "file:"];
    path.to_str().is_some_and(|text| schemes.iter().any(|scheme| text.starts_with(scheme)))
}

/// `outdated`.
pub(crate) fn outdated(
    settings: &Settings<'_>,
    printer: Printer,
    args: &OutdatedArgs,
) -> Result<ExitClass, EngineError> {
    let only = args.name.as_deref().map(reference).transpose()?.map(|reference| reference.artifact);
    let depth = if args.weights { Compared::Numbers } else { Compared::Headers };
    let found = Vault::open(settings)?.outdated(only.as_ref(), depth)?;
    if printer.for_people() {
        for one in &found {
            print_outdated(printer, one)?;
        }
        if found.is_empty() {
            printer.say("everything that was fetched is what its source has now");
        }
    } else {
        let list: Vec<_> = found
            .iter()
            .map(|one| {
                let mut entry = json!({
                    "artifact": one.version.reference().to_string(),
                    "origin": one.version.origin,
                    "latest": one.latest,
                    "diff": one.diff,
                });
                if let (Some(weights), Some(fields)) = (&one.weights, entry.as_object_mut()) {
                    fields.insert("weights".into(), json!(weights));
                }
                entry
            })
            .collect();
        printer.document("ringfence.outdated/1", &json!({"artifacts": list}))?;
    }
    Ok(if found.is_empty() { ExitClass::Done } else { ExitClass::No })
}

fn print_outdated(printer: Printer, one: &Outdated) -> Result<(), EngineError> {
    let origin = one.version.origin.as_ref().map_or("", |origin| origin.pinned.as_str());
    printer.line(format!("{}  {origin}", one.version.reference()))?;
    printer.line(format!("  newest  {}", one.latest))?;
    for (word, paths) in [("changed", &one.diff.changed), ("added", &one.diff.added), ("removed", &one.diff.removed)] {
        for path in paths {
            printer.line(format!("  {word}  {path}"))?;
        }
    }
    one.weights.as_ref().map_or(Ok(()), |weights| print_changes(printer, weights))
}

/// The tensors that differ, then all in one line.
fn print_changes(printer: Printer, weights: &WeightChanges) -> Result<(), EngineError> {
    let head = |tensor: &PlacedTensor| format!("{} {:?}", tensor.head.dtype, tensor.head.shape);
    let row = |word: &str, name: &str, rest: String| vec![format!("    {word}"), name.to_owned(), rest];
    let mut rows = Vec::new();
    let mut add = |listed: Vec<Vec<String>>, count: u64| {
        let shown = listed.len().min(SHOWN_MAX);
        rows.extend(listed.into_iter().take(SHOWN_MAX));
        if count > shown as u64 {
            rows.push(vec![format!("    … and {} more", count - shown as u64)]);
        }
    };
    let counts = weights.counts;
    add(weights.added.iter().map(|tensor| row("added", &tensor.head.name, head(tensor))).collect(), counts.added);
    add(weights.removed.iter().map(|tensor| row("removed", &tensor.head.name, head(tensor))).collect(), counts.removed);
    let reshaped = weights
        .reshaped
        .iter()
        .map(|one| row("reshaped", &one.newer.head.name, format!("{} -> {}", head(&one.held), head(&one.newer))));
    add(reshaped.collect(), counts.reshaped);
    let moved = weights.moved.iter().map(|one| row("moved", &one.tensor.head.name, how_far(&one.difference)));
    add(moved.collect(), counts.moved);
    printer.raw(table(&rows).as_bytes())?;
    for left in weights.not_compared.iter().take(SHOWN_MAX) {
        printer.line(format!("    not compared  {}: {}", left.what, left.why))?;
    }
    let ChangeCounts { alike, added, removed, reshaped, equal, moved: others } = counts;
    let mut line = format!("  weights  {alike} tensors alike, {added} added, {removed} removed, {reshaped} reshaped");
    match (weights.compared, &weights.overall) {
        (Compared::Headers, _) => line.push_str(" (by their headers; `--weights` compares the numbers)"),
        (Compared::Numbers, overall) => {
            line.push_str(&format!("; numbers: {equal} equal, {others} moved"));
            if let Some(overall) = overall.as_ref().filter(|_| others > 0) {
                line.push_str(&format!(", all together by {}", how_far(overall)));
            }
        }
    }
    printer.line(line)
}

/// How far something moved.
fn how_far(difference: &TensorDifference) -> String {
    let TensorDifference { relative, changed, base_norm, rank } = difference;
    let by = if *base_norm > 0.0 { format!("{relative:.2e}") } else { "more than nothing".into() };
    let directions = rank.map_or_else(String::new, |rank| format!(", {rank} directions"));
    format!("{by} of its norm, {:.1} % of its elements{directions}", changed * 100.0)
}

//! Commands on plain files: no vault, no keys.

use std::path::Path;

use ringfence_engine::{
    EngineError, ExitClass, Flagged, HardenPlan, Mode, ModelFile, Reading, Settings, card,
    files::{self, AttackJob, Dataset, ModelData},
    probe::{self, BackdoorJob},
    scan_source,
    schema::{
        Finding, Place, Severity, Verdict,
        backdoor::BackdoorVerdict,
        endpoint::QueryLedger,
        finding::printable,
        junit::junit,
        report::{AttackReport, HardenReport, RecordDecision, ScanReport, ScreenReport, Soundness},
        sarif::sarif,
    },
    signing,
};

use crate::{
    args::{
        DataArgs, FailOn, Format, HardenArgs, ModeName, ScanArgs, ScreenArgs,
        attack::{AttackAction, AttackArgs, BackdoorArgs, BatteryName, Precision},
    },
    command::{privacy, since, supply::source, text, theft},
    output::{Printer, Style, table},
};

/// How a dataset argument is read.
pub(crate) fn dataset(path: &Path, args: &DataArgs) -> Dataset {
    Dataset {
        path: path.to_owned(),
        labels: args.labels.clone(),
        reading: Reading {
            label: args.label.clone(),
            shape: args.shape.clone(),
            scale: args.scale,
            flagged: Flagged::Leave,
            labels: args.labels.as_ref().map(|path| path.to_string_lossy().into_owned()),
        },
    }
}

/// `scan`.
pub(crate) fn scan(settings: &Settings<'_>, printer: Printer, args: &ScanArgs) -> Result<ExitClass, EngineError> {
    let (mut paths, mut sources) = (Vec::new(), Vec::new());
    for path in &args.paths {
        match source(path)? {
            Some(source) => sources.push(source),
            None => paths.push(path.clone()),
        }
    }
    let mut found = files::scan(settings, &paths, args.storages)?.files;
    for source in &sources {
        found.extend(scan_source(settings, source)?.files);
    }
    let mut report = ScanReport::new(found);
    waive(settings, printer, args, &mut report)?;
    print_report(printer, &report, args.fail_on)?;
    Ok(scan_class(&report, args.fail_on))
}

/// A scan in the format that was asked for.
pub(crate) fn print_report(printer: Printer, report: &ScanReport, fail_on: FailOn) -> Result<(), EngineError> {
    match printer.format {
        Format::Json => printer.json(report),
        Format::Sarif => {
            let findings: Vec<Finding> = report.files.iter().flat_map(|file| file.findings.clone()).collect();
            printer.json(&sarif(env!("CARGO_PKG_VERSION"), &findings))
        }
        Format::Junit => printer.raw(junit(report, fail_on.severity()).as_bytes()),
        Format::Human | Format::Plain => print_scan(printer, report),
    }
}

/// Marks what signed waivers cover; what they cover stays visible.
fn waive(
    settings: &Settings<'_>,
    printer: Printer,
    args: &ScanArgs,
    report: &mut ScanReport,
) -> Result<(), EngineError> {
    let usual = Path::new(WAIVERS_FILE);
    let Some(file) = args.waivers.as_deref().or_else(|| usual.exists().then_some(usual)) else { return Ok(()) };
    let pins =
        if args.root.is_none() && settings.config.exists() { Some(ringfence_engine::pins(settings)?) } else { None };
    let signers = signing::waiver_signers(args.root.as_deref(), pins.as_ref())?;
    for refused in signing::apply_waivers(report, file, &signers, (settings.now)())? {
        printer.say(format!("warning: does not count: {refused}"));
    }
    Ok(())
}

/// Waivers that lie where the command is run.
const WAIVERS_FILE: &str = "ringfence.waivers";

fn print_scan(printer: Printer, report: &ScanReport) -> Result<(), EngineError> {
    for file in &report.files {
        for finding in &file.findings {
            printer.finding(finding)?;
        }
    }
    for file in &report.files {
        let path = printable(&file.path, usize::MAX);
        printer.line(format!("{}  {path} ({})", verdict_word(printer, file.verdict), file.format))?;
    }
    if report.files.len() > 1 {
        printer.line(format!("{} files: {}", report.files.len(), verdict_word(printer, report.verdict)))?;
    }
    Ok(())
}

/// A verdict as a word that stands out.
pub(crate) fn verdict_word(printer: Printer, verdict: Verdict) -> String {
    let style = match verdict {
        Verdict::Clean => Style::Good,
        Verdict::Incomplete | Verdict::Suspicious => Style::Warn,
        Verdict::Malicious => Style::Bad,
    };
    printer.strong(&format!("{verdict:<10}", verdict = verdict.to_string()), style)
}

pub(crate) fn scan_class(report: &ScanReport, fail_on: FailOn) -> ExitClass {
    let stands = |finding: &&Finding| finding.waived.is_none();
    let mut standing = report.files.iter().flat_map(|file| &file.findings).filter(stands);
    let unread = |file: &&ringfence_engine::schema::report::FileReport| {
        file.verdict == Verdict::Incomplete
            && (file.findings.is_empty() || file.findings.iter().any(|one| stands(&one)))
    };
    if standing.any(|finding| finding.severity >= fail_on.severity()) {
        ExitClass::No
    } else if report.files.iter().any(|file| unread(&file)) {
        ExitClass::Incomplete
    } else {
        ExitClass::Done
    }
}

/// `screen`.
pub(crate) fn screen(settings: &Settings<'_>, printer: Printer, args: &ScreenArgs) -> Result<ExitClass, EngineError> {
    let data = dataset(&args.path, &args.data);
    let reference = args.reference.as_ref().map(|path| dataset(path, &args.data));
    let report = match &args.model {
        Some(model) => probe::screen(settings, &args.architecture.of(model), &data, reference.as_ref())?,
        None => files::screen(settings, &data)?,
    };
    if let Some(out) = &args.write {
        let left = files::filter(settings, &data, &report, out)?;
        printer.say(format!("  written    {} records to {}", left, out.display()));
    }
    match printer.format {
        Format::Json => printer.json(&report)?,
        Format::Sarif => printer.json(&sarif(env!("CARGO_PKG_VERSION"), &screen_findings(&report, &args.path)))?,
        Format::Human | Format::Plain | Format::Junit => print_screen(printer, &report)?,
    }
    Ok(if !report.dataset.complete {
        ExitClass::Incomplete
    } else if count(&report, RecordDecision::Filter) > 0 {
        ExitClass::No
    } else {
        ExitClass::Done
    })
}

/// How many records got this decision.
pub(crate) fn count(report: &ScreenReport, decision: RecordDecision) -> usize {
    report.decisions.iter().filter(|made| made.decision == decision).count()
}

fn screen_findings(report: &ScreenReport, path: &Path) -> Vec<Finding> {
    let file = path.display().to_string();
    let record = |decision: &ringfence_engine::schema::report::Decision| {
        let severity = match decision.decision {
            RecordDecision::Filter => Severity::High,
            RecordDecision::Review => Severity::Low,
        };
        let reasons: Vec<Finding> = decision
            .reasons
            .iter()
            .map(|reason| Finding {
                rule: reason.rule.clone(),
                severity,
                message: reason.evidence.clone(),
                place: Place { file: Some(file.clone()), record: Some(decision.record), ..Place::default() },
                evidence: Vec::new(),
                why: String::new(),
                remedy: String::new(),
                waived: None,
            })
            .collect();
        reasons
    };
    report.dataset.findings.iter().cloned().chain(report.decisions.iter().flat_map(record)).collect()
}

fn print_screen(printer: Printer, report: &ScreenReport) -> Result<(), EngineError> {
    for finding in &report.dataset.findings {
        printer.finding(finding)?;
    }
    for candidate in &report.candidates {
        printer.line(format!("{}  {} ({} records)", candidate.rule, candidate.description, candidate.records.len()))?;
    }
    let rows: Vec<Vec<String>> = report
        .decisions
        .iter()
        .flat_map(|decision| {
            let word = match decision.decision {
                RecordDecision::Filter => "filter",
                RecordDecision::Review => "review",
            };
            decision.reasons.iter().map(move |reason| {
                vec![word.to_owned(), format!("#{}", decision.record), reason.rule.clone(), reason.evidence.clone()]
            })
        })
        .collect();
    printer.raw(table(&rows).as_bytes())?;
    printer.line(format!(
        "{} records: {} to filter, {} to review, {} exact duplicates",
        report.records,
        count(report, RecordDecision::Filter),
        count(report, RecordDecision::Review),
        report.dataset.exact_duplicates
    ))
}

/// `attack`.
pub(crate) fn attack(settings: &Settings<'_>, printer: Printer, args: &AttackArgs) -> Result<ExitClass, EngineError> {
    match &args.action {
        Some(AttackAction::Privacy(args)) => return privacy::privacy(settings, printer, args),
        Some(AttackAction::Theft(args)) => return theft::theft(settings, printer, args),
        Some(AttackAction::Text(args)) => return text::text(settings, printer, args),
        Some(AttackAction::Backdoor(args)) => return backdoor(settings, printer, args),
        Some(AttackAction::Page(args)) => {
            files::write_new(&args.html, card::saved_page(&args.report)?.as_bytes())?;
            return Ok(ExitClass::Done);
        }
        None => {}
    }
    let model = || -> Result<ModelFile, EngineError> {
        let what = "this needs a model in a file, which an endpoint does not show";
        let model = args.model.as_ref().ok_or_else(|| EngineError::Usage { what: what.into() })?;
        Ok(args.architecture.of(model))
    };
    if args.self_check {
        return print_card(printer, &files::self_check(settings, &model()?, args.inputs.random.seed)?);
    }
    let Some(data) = &args.data else {
        return Err(EngineError::Usage { what: "`attack` needs `--data FILE` or `--self-check`".into() });
    };
    if let Some(out) = &args.gradient {
        files::gradient(settings, &model()?, data, out, args.precision == Precision::F64)?;
        return Ok(ExitClass::Done);
    }
    let job = AttackJob {
        eps: args.eps.clone(),
        at: None,
        steps: args.steps,
        restarts: args.restarts,
        examples: args.examples,
        range: args.inputs.range()?,
        seed: args.inputs.random.seed,
        norm: Some(args.norm.name().to_owned()),
        standard: args.battery == BatteryName::Standard,
        attacks: args.attack.clone(),
        target: args.target,
        levels: args.levels,
        integer: args.integer.clone(),
        immutable: args.immutable.clone(),
        corruptions: args.corruptions,
        // An endpoint's questions are counted where they are sent.
        queries: args.queries.filter(|_| args.other.endpoint.is_none()),
        pictures: if args.page.is_wanted() { PICTURES } else { 0 },
    };
    if let Some(earlier) = &args.since {
        let models = [model()?, args.architecture.of(earlier)].map(|model| model.computed_by(args.onnxruntime.clone()));
        return since::since(settings, printer, args, models.each_ref(), &dataset(data, &args.read), &job);
    }
    let file = args.model.as_deref().map(|model| args.architecture.of(model).computed_by(args.onnxruntime.clone()));
    let target = args.other.target(file, args.queries)?;
    let members = args.members.as_ref().map(|path| dataset(path, &args.read));
    let report = files::attack(settings, &target, &dataset(data, &args.read), members.as_ref(), &job)?;
    let class = print_card(printer, &report)?;
    args.page.write(|| card::attack_page(&report))?;
    Ok(class)
}

/// Pictures on a card's page.
const PICTURES: usize = 12;

/// `attack backdoor`.
fn backdoor(settings: &Settings<'_>, printer: Printer, args: &BackdoorArgs) -> Result<ExitClass, EngineError> {
    let job = BackdoorJob {
        base: args.base.as_deref().map(|base| args.architecture.of(base)),
        examples: args.examples,
        seed: args.inputs.random.seed,
        range: args.inputs.range()?,
    };
    let input = ModelData { model: args.architecture.of(&args.model), data: dataset(&args.data, &args.read) };
    let report = probe::backdoors(settings, &input, &job)?;
    let suspicious = report.verdict == BackdoorVerdict::Suspicious;
    if printer.for_people() {
        let heads = ["class", "trigger", "size", "turns", "in the base", "anomaly", ""];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        rows.extend(report.triggers.iter().map(|found| {
            vec![
                found.target.to_string(),
                found.kind.clone(),
                format!("{:.2}", found.size),
                percent(found.success),
                found.base_success.map_or_else(String::new, percent),
                format!("{:.1}", found.anomaly),
                if found.suspicious { "suspicious".into() } else { String::new() },
            ]
        }));
        printer.raw(table(&rows).as_bytes())?;
        for note in &report.notes {
            printer.line(format!("note: {note}"))?;
        }
        printer.line(if suspicious {
            "suspicious: a class is reached by a much smaller trigger than the others"
        } else {
            "nothing found of what can be seen"
        })?;
    } else {
        printer.json(&report)?;
    }
    Ok(if suspicious { ExitClass::No } else { ExitClass::Done })
}

fn print_card(printer: Printer, report: &AttackReport) -> Result<ExitClass, EngineError> {
    let sound = report.verdict == Soundness::Sound;
    if printer.for_people() {
        let mut rows = vec![["attack", "eps", "accuracy", "95 % interval", "queries"].map(str::to_owned).to_vec()];
        if let Some(clean) = report.clean_accuracy {
            rows.push(vec!["none".into(), "0".into(), percent(clean), String::new(), String::new()]);
        }
        rows.extend(report.results.iter().map(|result| {
            vec![
                format!("{} {}", result.attack, result.norm),
                format!("{:.4}", result.eps),
                percent(result.accuracy),
                format!("{} – {}", percent(result.ci95[0]), percent(result.ci95[1])),
                result.queries.to_string(),
            ]
        }));
        if rows.len() > 1 {
            printer.raw(table(&rows).as_bytes())?;
        }
        for worst in &report.worst_case {
            printer.line(format!(
                "worst case {} {:.4}: {} ({} – {}) against the {} battery",
                worst.norm,
                worst.eps,
                percent(worst.accuracy),
                percent(worst.ci95[0]),
                percent(worst.ci95[1]),
                worst.battery
            ))?;
        }
        for kind in report.corruptions.chunk_by(|a, b| a.corruption == b.corruption) {
            let shares: Vec<String> = kind.iter().map(|result| percent(result.accuracy)).collect();
            let name = kind.first().map_or("", |result| result.corruption.as_str());
            printer.line(format!("corruption {name}, severity 1 to {}: {}", kind.len(), shares.join(", ")))?;
        }
        for test in &report.membership {
            printer.line(format!("membership {}: AUC {:.3}. {}", test.attack, test.auc, test.note))?;
        }
        for check in &report.checks {
            let word =
                if check.passed { printer.strong("passed", Style::Good) } else { printer.strong("FAILED", Style::Bad) };
            printer.line(format!("{word}  {}: {}", check.name, check.detail))?;
        }
        if let Some(engine) = &report.forward {
            printer.line(format!("scores by ONNX Runtime {} ({})", engine.library, engine.build))?;
        }
        report.ledger.as_ref().map_or(Ok(()), |ledger| print_ledger(printer, ledger))?;
        printer.line(if sound {
            "sound: the figures may be believed"
        } else {
            "unsound: the figures prove nothing"
        })?;
    } else {
        printer.json(report)?;
    }
    let unfinished = report.ledger.as_ref().is_some_and(|ledger| ledger.exhausted);
    Ok(if sound {
        ExitClass::Done
    } else if unfinished {
        ExitClass::Incomplete
    } else {
        ExitClass::No
    })
}

/// What was asked of an endpoint.
pub(crate) fn print_ledger(printer: Printer, ledger: &QueryLedger) -> Result<(), EngineError> {
    printer.line(format!(
        "asked {}: {} of {} queries in {} requests{}",
        ledger.endpoint,
        ledger.spent,
        ledger.budget,
        ledger.requests,
        if ledger.exhausted { ", which was not enough" } else { "" }
    ))
}

/// A share, to be read.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `harden`.
pub(crate) fn harden(settings: &Settings<'_>, printer: Printer, args: &HardenArgs) -> Result<ExitClass, EngineError> {
    let report = if args.mode == Some(ModeName::DpSgd) {
        privacy::harden(settings, args)?
    } else {
        if let Some(name) = args.private.given() {
            return Err(EngineError::Usage { what: format!("`{name}` goes with `--mode dp-sgd` only") });
        }
        let plan: HardenPlan = match &args.settings {
            Some(file) => files::read_harden_plan(file)?,
            None => HardenPlan::of(args.mode().unwrap_or(Mode::Adversarial)),
        };
        let input = ModelData { model: args.architecture.of(&args.model), data: dataset(&args.data, &args.read) };
        files::harden(settings, &input, &args.over(plan), &args.outs()?, args.checkpoint.as_deref())?
    };
    if let Some(file) = &args.report {
        files::write_new(
            file,
            &serde_json::to_vec_pretty(&report).map_err(|error| EngineError::incomplete("report", error))?,
        )?;
    }
    if printer.for_people() {
        print_harden(printer, &report)?;
    } else {
        printer.json(&report)?;
    }
    Ok(ExitClass::Done)
}

fn print_harden(printer: Printer, report: &HardenReport) -> Result<(), EngineError> {
    let mut rows = vec![["epoch", "loss", "clean", "robust", ""].map(str::to_owned).to_vec()];
    rows.extend(report.epochs.iter().map(|epoch| {
        vec![
            epoch.epoch.to_string(),
            format!("{:.4}", epoch.loss),
            percent(epoch.clean_accuracy),
            percent(epoch.robust_accuracy),
            if epoch.rolled_back { "rolled back".into() } else { String::new() },
        ]
    }));
    printer.raw(table(&rows).as_bytes())?;
    report.privacy.as_ref().map_or(Ok(()), |found| privacy::print_guarantee(printer, found))
}

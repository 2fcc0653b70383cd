//! What a thief gets of a model, and whose model it is.

use ringfence_engine::{
    EngineError, ExitClass, Settings, Vault, card, commitment_of,
    files::{self, MarkJob, ModelData, TheftJob},
    schema::{
        theft::{LevelTheft, TheftReport},
        watermark::{EmbedReport, MarkTest, Ownership, RecordedMark, WatermarkReport},
    },
};

use crate::{
    args::theft::{EmbedArgs, MarkArgs, RecordArgs, TheftArgs, WatermarkAction},
    command::files::{dataset, percent, print_ledger},
    output::{Printer, table},
};

/// `attack theft`.
pub(crate) fn theft(settings: &Settings<'_>, printer: Printer, args: &TheftArgs) -> Result<ExitClass, EngineError> {
    let job = TheftJob { levels: args.level.clone(), budget: args.budget, seed: args.random.seed };
    let target = args.other.target(args.model.as_deref().map(|model| args.architecture.of(model)), None)?;
    let report = files::theft(settings, &target, [&args.queries, &args.held_out], &job)?;
    if printer.for_people() {
        print_theft(printer, &report)?;
    } else {
        printer.json(&report)?;
    }
    args.page.write(|| card::theft_page(&report))?;
    Ok(ExitClass::Done)
}

fn print_theft(printer: Printer, report: &TheftReport) -> Result<(), EngineError> {
    let mut head = vec!["level".to_owned()];
    let first = report.levels.first();
    head.extend(first.into_iter().flat_map(|level| &level.residual).map(|at| format!("{} questions", at.queries)));
    head.extend(
        first.into_iter().flat_map(|level| &level.price).map(|at| format!("price of {}", percent(at.fidelity))),
    );
    let mut rows = vec![head];
    rows.extend(report.levels.iter().map(row));
    printer.raw(table(&rows).as_bytes())?;
    let extraction = &report.extraction;
    printer.line(match (extraction.hidden_units, &extraction.note) {
        (Some(units), _) => format!("network: {units} hidden units computed with {} questions", extraction.queries),
        (None, note) => format!("network: not computed, {}", note.as_deref().unwrap_or("no reason given")),
    })?;
    printer.line(match (report.hidden_size.width, &report.hidden_size.note) {
        (Some(width), _) => format!("layer before the last: {width} wide, by {} questions", report.hidden_size.queries),
        (None, note) => {
            format!("layer before the last: cannot state, {}", note.as_deref().unwrap_or("no reason given"))
        }
    })?;
    printer.line(format!("fidelity on {} held-out inputs; {}", report.held_out, report.note))
}

fn row(level: &LevelTheft) -> Vec<String> {
    let mut row = vec![level.level.clone()];
    row.extend(level.residual.iter().map(|at| at.best.as_ref().map_or("–".into(), |run| percent(run.fidelity))));
    row.extend(level.price.iter().map(|at| at.queries.map_or("not reached".into(), |queries| queries.to_string())));
    row
}

/// Whether marks are recorded, or looked up where they were.
pub(crate) const fn uses_the_vault(action: &WatermarkAction) -> bool {
    match action {
        WatermarkAction::Record(_) => true,
        WatermarkAction::Verify(args) => args.recorded || args.of.is_some(),
        WatermarkAction::Embed(_) => false,
    }
}

/// `watermark …`.
pub(crate) fn watermark(
    settings: &Settings<'_>,
    printer: Printer,
    action: &WatermarkAction,
) -> Result<ExitClass, EngineError> {
    match action {
        WatermarkAction::Embed(args) => embed(settings, printer, args),
        WatermarkAction::Record(args) => record(settings, printer, args),
        WatermarkAction::Verify(args) => verify(settings, printer, args),
    }
}

fn embed(settings: &Settings<'_>, printer: Printer, args: &EmbedArgs) -> Result<ExitClass, EngineError> {
    let EmbedArgs { triggers, bits, epochs, rate, seed, .. } = *args;
    let input = ModelData { model: args.architecture.of(&args.model), data: dataset(&args.data, &args.read) };
    let job = MarkJob { triggers, bits, epochs, rate, seed };
    let report: EmbedReport = files::mark(settings, &input, &job, &args.secret, &args.out)?;
    if printer.for_people() {
        print_tests(printer, &report.marks)?;
        let [before, after] = report.accuracy;
        printer.line(format!(
            "accuracy {} before, {} after, of {}",
            percent(before),
            percent(after),
            report.held_out
        ))?;
        printer.line(format!("commitment {}", report.commitment))?;
        printer.say("record the commitment before the model is released (`ringfence watermark record`): that seals the secret in the vault too");
    } else {
        printer.json(&report)?;
    }
    let took = report.marks.iter().all(|test| test.p_value.is_some_and(|p| p < TOOK));
    Ok(if took { ExitClass::Done } else { ExitClass::No })
}

fn verify(settings: &Settings<'_>, printer: Printer, args: &MarkArgs) -> Result<ExitClass, EngineError> {
    let suspect = args.other.target(args.suspect.as_deref().map(|model| args.architecture.of(model)), args.queries)?;
    let sets = args.members.as_ref().zip(args.others.as_ref());
    let sets = sets.map(|(members, others)| [dataset(members, &args.read), dataset(others, &args.read)]);
    // Before anything is asked: whoever holds no record should know it first.
    let wants_record = args.recorded || args.of.is_some();
    let (recorded, secret) = match (&args.of, &args.secret) {
        (Some(version), _) => {
            let vault = Vault::open(settings)?;
            let (known, secret) = vault.sealed_mark(&vault.find(version)?)?;
            (Some(known), secret)
        }
        (None, Some(file)) => {
            let secret = files::read_secret(file)?;
            let known =
                if args.recorded { Vault::open(settings)?.recorded_mark(commitment_of(&secret)?)? } else { None };
            (known, secret)
        }
        (None, None) => {
            return Err(EngineError::Usage { what: "name the secret: --secret FILE or --of VERSION".into() });
        }
    };
    let mut report: WatermarkReport =
        files::verify_mark(settings, &suspect, secret, sets.as_ref().map(<[_; 2]>::each_ref))?;
    report.recorded = recorded;
    if printer.for_people() {
        print_tests(printer, &report.tests)?;
        if let Some(test) = &report.dataset {
            let p = test.p_value.map_or("cannot state".into(), |p| format!("p = {p:.1e}"));
            printer.line(format!("dataset inference: {p}; {}", test.note))?;
        }
        report.ledger.as_ref().map_or(Ok(()), |ledger| print_ledger(printer, ledger))?;
        printer.line(format!("commitment {}", report.commitment))?;
        let p = report.p_value.map_or(String::new(), |p| format!(" (p = {p:.1e})"));
        match &report.recorded {
            Some(known) => printer.line(told(known))?,
            None if wants_record => printer.line("no entry of this vault's trail records the secret")?,
            None => {}
        }
        printer.line(match report.verdict {
            Ownership::Marked if report.recorded.is_some() => {
                format!("marked{p}: it counts where the suspect was made after that entry")
            }
            Ownership::Marked => format!("marked{p}: compare the commitment with what was recorded before the release"),
            Ownership::NotFound => format!("not found{p}: that does not show that the model is another's"),
            Ownership::CannotState => "cannot state: no test applies to this model".into(),
        })?;
    } else {
        printer.json(&report)?;
    }
    Ok(match report.verdict {
        Ownership::Marked if wants_record && report.recorded.is_none() => ExitClass::No,
        Ownership::Marked => ExitClass::Done,
        Ownership::NotFound => ExitClass::No,
        Ownership::CannotState => ExitClass::Incomplete,
    })
}

fn record(settings: &Settings<'_>, printer: Printer, args: &RecordArgs) -> Result<ExitClass, EngineError> {
    let vault = Vault::open(settings)?;
    let known = vault.record_mark(&args.secret, &vault.find(&args.version)?)?;
    if printer.for_people() {
        printer.line(told(&known))?;
    } else {
        printer.document("ringfence.watermark-record/1", &known)?;
    }
    Ok(ExitClass::Done)
}

fn told(known: &RecordedMark) -> String {
    format!("entry {} of the trail, {}: commitment {} for {}", known.entry, known.at, known.commitment, known.subject)
}

fn print_tests(printer: Printer, tests: &[MarkTest]) -> Result<(), EngineError> {
    let mut rows = vec![["mark", "agree", "of", "p"].map(str::to_owned).to_vec()];
    rows.extend(tests.iter().map(|test| {
        let p = test.p_value.map_or_else(|| test.note.clone().unwrap_or_default(), |p| format!("{p:.1e}"));
        vec![test.mark.clone(), test.matches.to_string(), test.trials.to_string(), p]
    }));
    printer.raw(table(&rows).as_bytes())
}

/// A mark that took is found again with a p-value below this.
const TOOK: f64 = 1e-6;

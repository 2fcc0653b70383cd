//! How many texts withstand edits.

use ringfence_engine::{
    EngineError, ExitClass, Settings, card,
    files::{self, TextInput, TextJob},
    schema::{
        finding::printable,
        report::Soundness,
        text::{TextReport, TextScope},
    },
};

use crate::{
    args::text::TextArgs,
    command::files::{percent, print_ledger},
    output::{Printer, Style, table},
};

/// `attack text`.
pub(crate) fn text(settings: &Settings<'_>, printer: Printer, args: &TextArgs) -> Result<ExitClass, EngineError> {
    let job = TextJob {
        columns: [args.text.clone(), args.label.clone()],
        classes: args.classes.clone(),
        attacks: args.attacks.clone(),
        edits: Some(args.edits.clone()),
        queries: Some(args.queries),
        examples: args.examples,
        tokens_max: args.max_tokens,
        synonyms: args.synonyms.is_some(),
        seed: args.random.seed,
    };
    let input = TextInput {
        target: args.other.target(args.model.as_deref().map(|model| args.architecture.of(model)), None)?,
        tokenizer: args.tokenizer.clone(),
        data: args.data.clone(),
        synonyms: args.synonyms.clone(),
    };
    let report = files::attack_text(settings, &input, &job)?;
    if printer.for_people() {
        print_report(printer, &report)?;
    } else {
        printer.json(&report)?;
    }
    args.page.write(|| card::text_page(&report))?;
    Ok(match report.verdict {
        Soundness::Sound => ExitClass::Done,
        Soundness::Unsound => ExitClass::No,
    })
}

fn print_report(printer: Printer, report: &TextReport) -> Result<(), EngineError> {
    let (word, style) = match report.verdict {
        Soundness::Sound => ("sound", Style::Good),
        Soundness::Unsound => ("UNSOUND", Style::Bad),
    };
    let [low, high] = report.clean_ci95.map(percent);
    printer.line(format!(
        "{}: {} texts, clean accuracy {} ({low} to {high}); edits: at most {}",
        printer.strong(word, style),
        report.texts,
        percent(report.clean_accuracy),
        report.edits
    ))?;
    let mut rows = vec![
        ["attack", "needs", "meaning", "withstand", "95 % interval", "words", "queries"].map(str::to_owned).to_vec(),
    ];
    rows.extend(report.results.iter().map(|row| {
        let [low, high] = row.ci95.map(percent);
        vec![
            row.attack.clone(),
            row.needs.clone(),
            if row.keeps_meaning { "kept".into() } else { "perhaps not".into() },
            percent(row.accuracy),
            format!("{low} to {high}"),
            row.edits_mean.map_or_else(|| "–".into(), |mean| format!("{mean:.1}")),
            row.queries.to_string(),
        ]
    }));
    printer.raw(table(&rows).as_bytes())?;
    for worst in &report.worst_case {
        let what = match worst.scope {
            TextScope::KeepingMeaning => "worst case, meaning kept",
            TextScope::All => "worst case of all",
        };
        let [low, high] = worst.ci95.map(percent);
        printer.line(format!("{what}: {} withstand ({low} to {high})", percent(worst.accuracy)))?;
    }
    for example in report.examples.iter().take(EXAMPLES_SHOWN) {
        let taken = example.predicted.map_or_else(|| "no class".to_owned(), |class| class.to_string());
        printer.line(format!(
            "text {} of class {}, taken for {taken} ({}):",
            example.text, example.label, example.attack
        ))?;
        printer.line(format!("  - {}", printable(&example.original, EXAMPLE_CHARS)))?;
        printer.line(format!("  + {}", printable(&example.changed, EXAMPLE_CHARS)))?;
    }
    for check in report.checks.iter().filter(|check| !check.passed) {
        printer.line(format!("failed {}: {}", check.name, check.detail))?;
    }
    if let Some(share) = report.unknown_tokens.filter(|share| *share > 0.0) {
        printer.line(format!("{} of the tokens are unknown to the tokenizer", percent(share)))?;
    }
    if let Some(cut) = report.truncated.filter(|cut| *cut > 0) {
        printer.line(format!("of {cut} texts the model sees only the beginning"))?;
    }
    if let Some(ledger) = &report.ledger {
        print_ledger(printer, ledger)?;
    }
    printer.line(format!("{} questions asked; {}", report.asked, report.note))
}

/// Texts that are shown to people.
const EXAMPLES_SHOWN: usize = 4;
/// What is shown of each, in characters.
const EXAMPLE_CHARS: usize = 300;

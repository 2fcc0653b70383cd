//! What edited texts do to a classifier, as a page: the share that withstands against edits.

use maud::{Markup, html};
use ringfence_schema::{
    finding::printable,
    report::Soundness,
    text::{TextExample, TextReport, TextScope},
};

use super::{Head, ROWS_MAX, checks, cut, interval, ledger, page};
use crate::{
    chart::number,
    plot::{Axis, Bar, Line, Mark, Plot, Scale, bars, percent},
};

/// A report on edited texts as a page.
pub fn text_page(report: &TextReport) -> String {
    let (class, word) = match report.verdict {
        Soundness::Sound => ("yes", "✔ SOUND: the figures may be believed"),
        Soundness::Unsound => ("no", "✘ UNSOUND: the figures prove nothing"),
    };
    let mut summary = vec![
        format!("{} texts, seed {}", report.texts, report.seed),
        format!("clean accuracy {}", percent(report.clean_accuracy)),
        format!("edits: at most {}", report.edits),
    ];
    summary.extend(report.worst_case.iter().map(|worst| {
        let (low, high) = (percent(worst.ci95[0]), percent(worst.ci95[1]));
        format!("{}: {} ({low} – {high})", scope(worst.scope), percent(worst.accuracy))
    }));
    let failed = report.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect();
    let head = Head {
        class,
        word,
        title: "Edited texts",
        summary: summary.join(" · "),
        reasons: failed,
        model: report.model.to_string(),
    };
    let content = html! {
        (attacks(report))
        (checks(&report.checks))
        (ledger(report.ledger.as_ref()))
        (examples(&report.examples))
        p { (report.note) }
    };
    page(&head, &content)
}

/// A scope in words.
const fn scope(scope: TextScope) -> &'static str {
    match scope {
        TextScope::KeepingMeaning => "worst case of edits that keep the meaning",
        TextScope::All => "worst case of all edits",
    }
}

fn attacks(report: &TextReport) -> Markup {
    let line = |worst: &ringfence_schema::text::TextWorst| Line {
        name: scope(worst.scope).to_owned(),
        marks: worst
            .curve
            .iter()
            .take(ROWS_MAX)
            .map(|point| Mark { x: point.edits as f64, y: point.accuracy, interval: Some(point.ci95) })
            .collect(),
        dotted: true,
    };
    let plot = Plot {
        id: "edits",
        title: "Share of texts that withstand against edited words, with 95 % intervals",
        x: Axis { name: "words edited at most", scale: Scale::Linear, range: None },
        y: Axis { name: "share that withstands", scale: Scale::Linear, range: Some((0.0, 1.0)) },
        lines: report.worst_case.iter().map(line).collect(),
    };
    let each: Vec<Bar<'_>> = report
        .results
        .iter()
        .take(super::BARS_MAX)
        .map(|row| Bar { name: &row.attack, share: row.accuracy, interval: row.ci95, chief: false })
        .collect();
    html! {
        section {
            h2 { "Texts that withstand" }
            p { "What counts is the worst case: what stands against every attack of its scope. A single attack is easily too kind." }
            (plot.draw())
            h3 { "Each attack" }
            (bars("each", "Share of texts that withstand each attack", &each))
            table {
                caption { "Every attack" }
                thead { tr { @for name in ["attack", "needs", "keeps the meaning", "withstand", "95 % interval", "words edited", "queries"] { th scope="col" { (name) } } } }
                tbody { @for row in report.results.iter().take(ROWS_MAX) { tr {
                    th scope="row" { (row.attack) } td { (row.needs) } td { (if row.keeps_meaning { "yes" } else { "perhaps not" }) }
                    td { (percent(row.accuracy)) } td { (interval(row.ci95)) }
                    td { (row.edits_mean.map_or_else(|| "–".to_owned(), number)) } td { (row.queries) }
                } } }
            }
            (cut(report.results.len(), ROWS_MAX))
        }
    }
}

fn examples(examples: &[TextExample]) -> Markup {
    if examples.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Texts that fooled the model" }
            p { "Characters that cannot be seen are written as their numbers." }
            table {
                caption { "As they were, and as they fool" }
                thead { tr { @for name in ["text", "class", "taken for", "attack", "as it was", "as it fools"] { th scope="col" { (name) } } } }
                tbody { @for one in examples.iter().take(ROWS_MAX) { tr {
                    th scope="row" { (one.text) } td { (one.label) }
                    td { @match one.predicted { Some(class) => (class), None => "no number" } }
                    td { (one.attack) ", " (one.edits) }
                    td { (printable(&one.original, CHARS_MAX)) } td { (printable(&one.changed, CHARS_MAX)) }
                } } }
            }
            (cut(examples.len(), ROWS_MAX))
        }
    }
}

/// What is shown of a text, in characters.
const CHARS_MAX: usize = 2_000;

//! What a thief gets, as a page: fidelity against questions.

use maud::{Markup, html};
use ringfence_schema::theft::{LevelTheft, TheftReport};

use super::{Head, ROWS_MAX, cut, interval, ledger, page};
use crate::{
    chart::number,
    plot::{Axis, Line, Mark, Plot, Scale, percent},
};

/// A theft report as a page.
pub fn theft_page(report: &TheftReport) -> String {
    let summary = format!(
        "{} inputs, {} classes, {} questions asked; fidelity on {} held-out inputs, seed {}",
        report.inputs, report.classes, report.asked, report.held_out, report.seed
    );
    let head = Head {
        class: "unknown",
        word: "What the model costs to steal",
        title: "Theft",
        summary,
        reasons: Vec::new(),
        model: report.model.to_string(),
    };
    let content = html! {
        section {
            h2 { "Fidelity against questions" }
            p { "The best theft of each output level. A price is an upper bound: who knows more pays less." }
            @for (place, levels) in report.levels.chunks(LINES).enumerate() { (fidelity(place, levels).draw()) }
        }
        (prices(report))
        (runs(&report.levels))
        (structure(report))
        (ledger(report.ledger.as_ref()))
        p { (report.note) }
    };
    page(&head, &content)
}

/// Lines that can be told apart in one plot.
const LINES: usize = 4;
const IDS: [&str; 4] = ["fidelity-a", "fidelity-b", "fidelity-c", "fidelity-d"];

fn fidelity(place: usize, levels: &[LevelTheft]) -> Plot<'static> {
    let line = |level: &LevelTheft| {
        let mut best: Vec<Mark> = Vec::new();
        for run in level.runs.iter().take(ROWS_MAX) {
            let x = run.queries as f64;
            let mark = Mark { x, y: run.fidelity, interval: Some(run.ci95) };
            match best.iter_mut().find(|mark| (mark.x - x).abs() < 0.5) {
                Some(known) if known.y < mark.y => *known = mark,
                Some(_) => {}
                None => best.push(mark),
            }
        }
        best.sort_by(|a, b| a.x.total_cmp(&b.x));
        Line { name: level.level.clone(), marks: best, dotted: true }
    };
    Plot {
        id: IDS.get(place).copied().unwrap_or("fidelity"),
        title: "Fidelity against questions, with 95 % intervals",
        x: Axis { name: "questions", scale: Scale::Log, range: None },
        y: Axis { name: "fidelity", scale: Scale::Linear, range: Some((0.0, 1.0)) },
        lines: levels.iter().map(line).collect(),
    }
}

fn prices(report: &TheftReport) -> Markup {
    html! {
        section {
            h2 { "What is left, and what it costs" }
            table {
                caption { "The best fidelity with at most so many questions" }
                thead { tr { @for name in ["level", "questions", "fidelity", "95 % interval", "method"] { th scope="col" { (name) } } } }
                tbody { @for level in report.levels.iter().take(ROWS_MAX) { @for at in level.residual.iter().take(ROWS_MAX) { tr {
                    th scope="row" { (level.level) } td { (at.queries) }
                    @match &at.best {
                        Some(run) => { td { (percent(run.fidelity)) } td { (interval(run.ci95)) } td { (run.method) } }
                        None => { td { "none could be tried" } td {} td {} }
                    }
                } } } }
            }
            table {
                caption { "The fewest questions that bought a fidelity" }
                thead { tr { @for name in ["level", "fidelity", "questions", "method"] { th scope="col" { (name) } } } }
                tbody { @for level in report.levels.iter().take(ROWS_MAX) { @for at in level.price.iter().take(ROWS_MAX) { tr {
                    th scope="row" { (level.level) } td { (percent(at.fidelity)) }
                    td { @match at.queries { Some(queries) => (queries), None => (at.note.as_deref().unwrap_or("not reached")) } }
                    td { (at.method.as_deref().unwrap_or_default()) }
                } } } }
            }
        }
    }
}

fn runs(levels: &[LevelTheft]) -> Markup {
    let all: usize = levels.iter().map(|level| level.runs.len()).sum();
    let rows = levels.iter().flat_map(|level| level.runs.iter().map(move |run| (level, run)));
    html! {
        details {
            summary { "every theft tried" }
            table {
                caption { "Every theft tried" }
                thead { tr { @for name in ["level", "method", "questions", "fidelity", "95 % interval", "distance"] { th scope="col" { (name) } } } }
                tbody { @for (level, run) in rows.take(ROWS_MAX) { tr {
                    th scope="row" { (level.level) } td { (run.method) } td { (run.queries) } td { (percent(run.fidelity)) }
                    td { (interval(run.ci95)) } td { (number(run.distance)) }
                } } }
            }
            (cut(all, ROWS_MAX))
        }
    }
}

fn structure(report: &TheftReport) -> Markup {
    let (network, width) = (&report.extraction, &report.hidden_size);
    html! {
        section {
            h2 { "The network itself" }
            p {
                @match network.hidden_units {
                    Some(units) => { (units) " hidden units were computed with " (network.queries) " questions" @if let Some(fidelity) = network.fidelity { ", fidelity " (percent(fidelity)) } "." }
                    None => { "Weights: not computed. " (network.note.as_deref().unwrap_or_default()) }
                }
            }
            p {
                @match width.width {
                    Some(found) => { "The layer before the last is " (found) " wide, by " (width.queries) " questions." }
                    None => { "Width of the layer before the last: cannot be stated. " (width.note.as_deref().unwrap_or_default()) }
                }
            }
        }
    }
}

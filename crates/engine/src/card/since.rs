//! A model beside an earlier one, as a page: what was lost at each radius, then the model's own card.

use maud::{Markup, html};
use ringfence_schema::since::{Drop, SinceReport};

use super::{Head, ROWS_MAX, cut, interval, of_attack, page};
use crate::{
    chart::number,
    plot::{Axis, Line, Mark, Plot, Scale, percent},
};

/// A comparison as a page.
pub fn since_page(report: &SinceReport) -> String {
    let (class, word) = match report.verdict {
        Drop::Dropped => ("no", "✘ DROPPED: it withstands less than the earlier model"),
        Drop::NotShown => ("yes", "✔ NOT SHOWN to withstand less than the earlier model"),
        Drop::CannotState => ("unknown", "CANNOT STATE whether it withstands less"),
    };
    let p = report
        .p_value
        .map_or_else(String::new, |p| format!(" · p = {} of {} needed", number(p), number(report.threshold)));
    let head = Head {
        class,
        word,
        title: "Robustness beside an earlier model",
        summary: format!(
            "{} beside {}, {} examples, seed {}{p}",
            report.model, report.earlier, report.card.examples, report.card.seed
        ),
        reasons: report.note.as_deref().into_iter().collect(),
        model: report.card.model.to_string(),
    };
    let content = html! {
        (paired(report))
        (of_attack(&report.card))
    };
    page(&head, &content)
}

fn paired(report: &SinceReport) -> Markup {
    let line = |name: &str, of: fn(&ringfence_schema::since::PairedRadius) -> (f64, [f64; 2])| {
        let mark = |radius| {
            let (y, interval) = of(radius);
            Mark { x: radius.eps, y, interval: Some(interval) }
        };
        Line { name: name.to_owned(), marks: report.radii.iter().take(ROWS_MAX).map(mark).collect(), dotted: true }
    };
    let plot = Plot {
        id: "since",
        title: "Worst case against eps, with 95 % intervals",
        x: Axis { name: "eps, in units of the model's input", scale: Scale::Linear, range: None },
        y: Axis { name: "accuracy", scale: Scale::Linear, range: Some((0.0, 1.0)) },
        lines: vec![
            line("now", |radius| (radius.now, radius.now_ci95)),
            line("earlier", |radius| (radius.earlier, radius.earlier_ci95)),
        ],
    };
    html! {
        section {
            h2 { "The same attacks on the same examples" }
            p {
                "Lost are examples that stood in the earlier model and fall in this one; won, the other way round. The p-value is McNemar's, exact and one-sided; the smallest counts, times the number of radii."
                @if report.recorded { " The earlier model was not attacked again: its evidence says what stood." }
            }
            @if !report.radii.is_empty() {
                (plot.draw())
                table {
                    caption { "Each radius" }
                    thead { tr { @for name in ["norm", "eps", "earlier", "now", "lost", "won", "difference", "95 % interval", "p"] { th scope="col" { (name) } } } }
                    tbody { @for radius in report.radii.iter().take(ROWS_MAX) { tr {
                        th scope="row" { (radius.norm) } td { (number(radius.eps)) } td { (percent(radius.earlier)) } td { (percent(radius.now)) }
                        td { (radius.lost) } td { (radius.won) } td { (percent(radius.difference)) } td { (interval(radius.difference_ci95)) } td { (number(radius.p_value)) }
                    } } }
                }
                (cut(report.radii.len(), ROWS_MAX))
            }
            p class="quiet" { "earlier model " code { (report.earlier_card.model) } }
        }
    }
}

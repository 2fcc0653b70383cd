//! What a model gives away of its training data, as a page: ROC curves on logarithmic axes.

use maud::{Markup, html};
use ringfence_schema::privacy::{Leak, MembershipTest, PrivacyReport};

use super::{Head, ROWS_MAX, interval, ledger, page};
use crate::{
    chart::number,
    plot::{Axis, Line, Mark, Plot, Scale, percent},
};

/// A privacy report as a page.
pub fn privacy_page(report: &PrivacyReport) -> String {
    let (class, word) = match report.leak {
        Leak::Shown => ("no", "✘ A leak is shown"),
        Leak::NotShown => ("yes", "✔ No leak is shown; none of the tests can show that nothing leaks"),
        Leak::CannotState => ("unknown", "? Nothing can be stated with so few examples"),
    };
    let shown = report.membership.iter().filter(|test| test.leak == Leak::Shown).map(|test| test.attack.as_str());
    let accuracy = report.accuracy.as_ref().map(|accuracy| {
        format!(", accuracy {} on members and {} on others", percent(accuracy.members), percent(accuracy.non_members))
    });
    let head = Head {
        class,
        word,
        title: "Privacy of the training data",
        summary: format!("seed {}{}", report.seed, accuracy.unwrap_or_default()),
        reasons: shown.collect(),
        model: report.model.to_string(),
    };
    let content = html! {
        (membership(&report.membership))
        (attributes(report))
        (language(report))
        (ledger(report.ledger.as_ref()))
    };
    page(&head, &content)
}

/// Lines that can be told apart in one plot, beside the one of chance.
const LINES: usize = 3;
const IDS: [&str; 4] = ["roc-a", "roc-b", "roc-c", "roc-d"];

fn membership(tests: &[MembershipTest]) -> Markup {
    if tests.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Membership inference" }
            p { "What matters is the left edge: an attacker who is nearly always right about a few. On the dotted line lies chance." }
            @for (place, tests) in tests.chunks(LINES).take(IDS.len()).enumerate() { (curve(place, tests).draw()) }
            table {
                caption { "Membership tests" }
                thead { tr { @for name in ["test", "leak", "AUC", "95 % interval", "members", "others", "queries"] { th scope="col" { (name) } } } }
                tbody { @for test in tests.iter().take(ROWS_MAX) { tr {
                    th scope="row" { (test.attack) } td { (leak(test.leak)) }
                    td { @match test.auc { Some(auc) => (number(auc)), None => "cannot be stated" } }
                    td { @if let Some([low, high]) = test.auc_ci95 { (number(low)) " – " (number(high)) } }
                    td { (test.members) } td { (test.non_members) } td { (test.queries) }
                } } }
            }
            table {
                caption { "True positive rates at low false positive rates" }
                thead { tr { @for name in ["test", "FPR", "TPR", "95 % interval"] { th scope="col" { (name) } } } }
                tbody { @for test in tests.iter().take(ROWS_MAX) { @for at in test.tpr_at_fpr.iter().take(ROWS_MAX) { tr {
                    th scope="row" { (test.attack) } td { (percent(at.fpr)) }
                    @match at.tpr {
                        Some(tpr) => { td { (percent(tpr)) } td { @if let Some(ends) = at.ci95 { (interval(ends)) } } }
                        None => { td { "cannot be stated: needs " (at.needs) " non-members" } td {} }
                    }
                } } } }
            }
            ul { @for test in tests.iter().take(ROWS_MAX) { li { b { (test.attack) } ": " (test.note) } } }
        }
    }
}

fn curve(place: usize, tests: &[MembershipTest]) -> Plot<'static> {
    // Nothing is known of rates below one non-member.
    let most = tests.iter().map(|test| test.non_members).max().unwrap_or(1).max(10) as f64;
    let low = 10_f64.powf((1.0 / most).log10().floor()).max(1e-9);
    let mut lines: Vec<Line> = tests
        .iter()
        .map(|test| {
            let points = test.roc.iter().filter(|point| point.iter().all(|share| share.is_finite()));
            let marks = points.take(ROWS_MAX).map(|[x, y]| Mark { x: *x, y: *y, interval: None }).collect();
            Line { name: test.attack.clone(), marks, dotted: false }
        })
        .collect();
    let ends = [low, 1.0].map(|share| Mark { x: share, y: share, interval: None });
    lines.push(Line { name: "chance".into(), marks: ends.to_vec(), dotted: false });
    Plot {
        id: IDS.get(place).copied().unwrap_or("roc"),
        title: "ROC of membership inference, both axes logarithmic",
        x: Axis { name: "false positive rate", scale: Scale::Log, range: Some((low, 1.0)) },
        y: Axis { name: "true positive rate", scale: Scale::Log, range: Some((low, 1.0)) },
        lines,
    }
}

const fn leak(leak: Leak) -> &'static str {
    match leak {
        Leak::Shown => "✘ shown",
        Leak::NotShown => "not shown",
        Leak::CannotState => "cannot be stated",
    }
}

fn attributes(report: &PrivacyReport) -> Markup {
    html! {
        @if !report.attributes.is_empty() {
            section {
                h2 { "Attribute inference" }
                table {
                    caption { "Shares of a column that were guessed rightly" }
                    thead { tr { @for name in ["columns", "leak", "members", "95 % interval", "others", "95 % interval", "commonest value"] { th scope="col" { (name) } } } }
                    tbody { @for row in report.attributes.iter().take(ROWS_MAX) { tr {
                        th scope="row" { (row.columns.iter().take(64).map(u64::to_string).collect::<Vec<_>>().join("+")) } td { (leak(row.leak)) }
                        td { (percent(row.members)) } td { (interval(row.members_ci95)) }
                        td { (percent(row.non_members)) } td { (interval(row.non_members_ci95)) } td { (percent(row.commonest)) }
                    } } }
                }
            }
        }
        @if !report.inversions.is_empty() {
            section {
                h2 { "Inversion" }
                table {
                    caption { "Inputs recovered from the model; pictures lie beside the report" }
                    thead { tr { @for name in ["class", "confidence", "correlation", "classes more alike", "picture"] { th scope="col" { (name) } } } }
                    tbody { @for row in report.inversions.iter().take(ROWS_MAX) { tr {
                        th scope="row" { (row.class) } td { (percent(row.confidence)) }
                        td { @match row.correlation { Some(found) => (number(found)), None => "cannot be stated" } }
                        td { @if let Some(rank) = row.rank { (rank) } } td { (row.picture.as_deref().unwrap_or_default()) }
                    } } }
                }
            }
        }
    }
}

fn language(report: &PrivacyReport) -> Markup {
    html! {
        @if !report.canaries.is_empty() {
            section {
                h2 { "Canaries" }
                table {
                    caption { "Exposure of planted secrets, in bits" }
                    thead { tr { @for name in ["canary", "exposure", "at most", "compared"] { th scope="col" { (name) } } } }
                    tbody { @for row in report.canaries.iter().take(ROWS_MAX) { tr {
                        th scope="row" { (row.canary) } td { @if row.at_least { "at least " } (number(row.exposure)) } td { (number(row.most)) } td { (row.compared) }
                    } } }
                }
            }
        }
        @if let Some(found) = &report.extraction {
            section {
                h2 { "Memorised sequences" }
                p { (found.extracted) " of " (found.sequences) " training sequences were completed word for word from " (found.prefix)
                    " tokens: " (percent(found.rate)) " (" (interval(found.ci95)) ")"
                    @if let Some(control) = found.control_rate { "; of others " (percent(control)) } ". " (found.note) }
            }
        }
    }
}

//! Cards as pages: what `attack`, also `--since`, `attack theft`, `attack privacy` and `attack text` answer, with plots. Self-contained: no script, no foreign
//! resource.
//!
//! Each is a pure function of the JSON document, so that a saved one can be drawn again; the document may come from a stranger.
//! Everything in it is escaped, pictures are shown only where they are base64, and long lists are cut with a word about it.

mod privacy;
mod saved;
mod since;
mod text;
mod theft;

use maud::{DOCTYPE, Markup, html};
use ringfence_schema::{
    endpoint::QueryLedger,
    report::{AdversarialPicture, AttackReport, AttackResult, Check, CorruptionResult, Membership, Soundness},
};

pub use self::{
    privacy::privacy_page,
    saved::{REPORT_BYTES_MAX, saved_page},
    since::since_page,
    text::text_page,
    theft::theft_page,
};
use crate::{
    chart::number,
    plot::{Axis, Bar, Line, Mark, Plot, Scale, bars, percent},
};

/// Most rows of one table.
const ROWS_MAX: usize = 2_000;
/// Most bars of one figure.
const BARS_MAX: usize = 40;
/// Largest picture in base64, in bytes.
const PICTURE_BYTES_MAX: usize = 8 << 20;
/// The row in which all attacks count together.
const WORST: &str = "worst-case";

/// What a page begins with.
struct Head<'a> {
    /// `yes`, `no` or `unknown`.
    class: &'a str,
    /// The verdict in a few words.
    word: &'a str,
    title: &'a str,
    /// A sentence.
    summary: String,
    /// What the verdict rests on, where it is no.
    reasons: Vec<&'a str>,
    /// What was attacked.
    model: String,
}

fn page(head: &Head<'_>, content: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
                title { (head.title) " — Ringfence" }
                style { (include_str!("page.css")) (include_str!("card.css")) }
            }
            body {
                header class=(format!("verdict {}", head.class)) {
                    p class="word" { (head.word) }
                    h1 { (head.title) }
                    p { (head.summary) }
                    @if !head.reasons.is_empty() { ul { @for reason in &head.reasons { li { (reason) } } } }
                    p class="quiet" { "model " code { (head.model) } }
                }
                main { (content) }
            }
        }
    }
    .into_string()
}

/// The robustness card as a page.
pub fn attack_page(report: &AttackReport) -> String {
    let failed = report.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect();
    let (class, word) = match report.verdict {
        Soundness::Sound => ("yes", "✔ SOUND: the figures may be believed"),
        Soundness::Unsound => ("no", "✘ UNSOUND: the figures prove nothing"),
    };
    let mut summary = vec![format!("{} examples, seed {}", report.examples, report.seed)];
    summary.extend(report.clean_accuracy.map(|clean| format!("clean accuracy {}", percent(clean))));
    summary.extend(report.worst_case.last().map(|worst| {
        let (low, high) = (percent(worst.ci95[0]), percent(worst.ci95[1]));
        format!(
            "worst case {} ({low} – {high}) at {} {}, {} battery",
            percent(worst.accuracy),
            worst.norm,
            number(worst.eps),
            worst.battery
        )
    }));
    summary.extend(report.forward.as_ref().map(|engine| format!("scores by ONNX Runtime {}", engine.library)));
    let head = Head {
        class,
        word,
        title: "Robustness card",
        summary: summary.join(" · "),
        reasons: failed,
        model: report.model.to_string(),
    };
    page(&head, &of_attack(report))
}

/// All that a card says below its verdict.
fn of_attack(report: &AttackReport) -> Markup {
    html! {
        (under_attack(report))
        (checks(&report.checks))
        (pictures(&report.pictures))
        (corruptions(&report.corruptions))
        (membership(&report.membership))
        (ledger(report.ledger.as_ref()))
    }
}

fn under_attack(report: &AttackReport) -> Markup {
    if report.results.is_empty() {
        return html! {};
    }
    let most = report.results.iter().map(|row| row.eps).filter(|eps| eps.is_finite()).fold(0.0, f64::max);
    let strongest: Vec<&AttackResult> =
        report.results.iter().filter(|row| (row.eps - most).abs() < f64::EPSILON).collect();
    let some: Vec<Bar<'_>> = strongest.iter().take(BARS_MAX).map(|row| bar(row)).collect();
    let title = format!("Accuracy under each attack at eps {}", number(most));
    html! {
        section {
            h2 { "Accuracy under attack" }
            p { "What counts is the worst case: what stands against every attack together. A single attack is easily too kind." }
            (against_eps(report, &strongest).draw())
            h3 { (title) }
            (bars("each", &title, &some))
            table {
                caption { "Every attack at every radius; the attacks of a standard battery work on what those before them left" }
                thead { tr { @for name in ["attack", "norm", "eps", "accuracy", "95 % interval", "queries"] { th scope="col" { (name) } } } }
                tbody {
                    @if let Some(clean) = report.clean_accuracy { tr { th scope="row" { "none" } td {} td { "0" } td { (percent(clean)) } td {} td {} } }
                    @for row in report.results.iter().take(ROWS_MAX) { tr {
                        th scope="row" { (row.attack) } td { (row.norm) } td { (number(row.eps)) } td { (percent(row.accuracy)) }
                        td { (interval(row.ci95)) } td { (row.queries) }
                    } }
                }
            }
            (cut(report.results.len(), ROWS_MAX))
        }
    }
}

fn bar(row: &AttackResult) -> Bar<'_> {
    Bar { name: &row.attack, share: row.accuracy, interval: row.ci95, chief: row.attack.starts_with(WORST) }
}

/// The worst case, and the three attacks that leave least at the largest radius.
fn against_eps<'a>(report: &AttackReport, strongest: &[&AttackResult]) -> Plot<'a> {
    let clean = report.clean_accuracy.map(|clean| Mark { x: 0.0, y: clean, interval: None });
    let line = |name: &str, points: Vec<Mark>| {
        let mut marks: Vec<Mark> = clean.into_iter().chain(points).collect();
        marks.sort_by(|a, b| a.x.total_cmp(&b.x));
        Line { name: name.to_owned(), marks, dotted: true }
    };
    let worst = report.worst_case.iter().map(|row| Mark { x: row.eps, y: row.accuracy, interval: Some(row.ci95) });
    let mut lines = vec![line("worst case", worst.take(ROWS_MAX).collect())];
    let mut least: Vec<&AttackResult> =
        strongest.iter().filter(|row| !row.attack.starts_with(WORST)).copied().collect();
    least.sort_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    for row in least.into_iter().take(3) {
        let same = report.results.iter().filter(|other| other.attack == row.attack && other.norm == row.norm);
        let marks = same.map(|row| Mark { x: row.eps, y: row.accuracy, interval: Some(row.ci95) });
        lines.push(line(&row.attack, marks.take(ROWS_MAX).collect()));
    }
    Plot {
        id: "eps",
        title: "Accuracy against eps, with 95 % intervals",
        x: Axis { name: "eps, in units of the model's input", scale: Scale::Linear, range: None },
        y: Axis { name: "accuracy", scale: Scale::Linear, range: Some((0.0, 1.0)) },
        lines,
    }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        section {
            h2 { "Can these figures be believed?" }
            p { "Any check that fails makes the card unsound: robustness that only comes from a hidden gradient, or from too weak an attack, is none." }
            table {
                caption { "Sanity checks" }
                thead { tr { th scope="col" { "check" } th scope="col" { "result" } th scope="col" { "figures" } } }
                tbody { @for check in checks.iter().take(ROWS_MAX) { tr {
                    th scope="row" { (check.name) }
                    td class=(if check.passed { "passed" } else { "failed" }) { (if check.passed { "✔ passed" } else { "✘ FAILED" }) }
                    td { (check.detail) }
                } } }
            }
            (cut(checks.len(), ROWS_MAX))
        }
    }
}

fn pictures(pictures: &[AdversarialPicture]) -> Markup {
    if pictures.is_empty() {
        return html! {};
    }
    let image = |what: &str, picture: &AdversarialPicture, data: &str| {
        html! {
            @if is_base64(data) { img alt=(format!("example {}, {what}", picture.example)) src=(format!("data:image/png;base64,{data}")); }
            @else { span class="quiet" { "no picture" } }
        }
    };
    html! {
        section {
            h2 { "Inputs that fooled the model" }
            p { "As it was, as it fools, and what was changed, spread over all greys: the middle grey is no change." }
            div class="triples" {
                @for picture in pictures.iter().take(ringfence_schema::report::PICTURES_MAX) {
                    figure {
                        div class="triple" {
                            (image("as it was", picture, &picture.original)) (image("as it fools", picture, &picture.changed))
                            (image("the difference", picture, &picture.difference))
                        }
                        figcaption {
                            "example " (picture.example) ", class " (picture.label) ", taken for "
                            @match picture.taken_for { Some(class) => (class), None => "no class" }
                        }
                    }
                }
            }
        }
    }
}

fn is_base64(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    !text.is_empty() && text.len() <= PICTURE_BYTES_MAX && text.bytes().all(fits)
}

fn corruptions(rows: &[CorruptionResult]) -> Markup {
    if rows.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Corruptions that nobody chose" }
            table {
                caption { "Accuracy under common corruptions" }
                thead { tr { @for name in ["corruption", "severity", "accuracy", "95 % interval"] { th scope="col" { (name) } } } }
                tbody { @for row in rows.iter().take(ROWS_MAX) { tr {
                    th scope="row" { (row.corruption) } td { (row.severity) } td { (percent(row.accuracy)) } td { (interval(row.ci95)) }
                } } }
            }
            (cut(rows.len(), ROWS_MAX))
        }
    }
}

fn membership(tests: &[Membership]) -> Markup {
    html! {
        @for test in tests.iter().take(ROWS_MAX) {
            section {
                h2 { "Membership inference: " (test.attack) }
                p { "AUC " (number(test.auc)) " with " (test.members) " members and " (test.non_members) " others. " (test.note) }
                ul { @for point in test.tpr_at_fpr.iter().take(ROWS_MAX) { li {
                    "TPR at " (percent(point.fpr)) " FPR: "
                    @match point.tpr { Some(tpr) => (percent(tpr)), None => "cannot be stated with so few non-members" }
                } } }
            }
        }
    }
}

/// What was asked of an endpoint.
fn ledger(ledger: Option<&QueryLedger>) -> Markup {
    let Some(ledger) = ledger else { return html! {} };
    html! {
        section {
            h2 { "What was asked" }
            p {
                code { (ledger.endpoint) } ": " (ledger.spent) " of " (ledger.budget) " queries were sent in " (ledger.requests) " requests, "
                (ledger.repeats) " of them repeats; " (ledger.answered) " were answered. " (ledger.waited_ms) " ms were spent waiting."
                @if ledger.exhausted { " " b { "The budget was spent before the attack was finished." } }
            }
            p class="quiet" { "description " code { (ledger.description) } }
            details {
                summary { "by the minute" }
                table {
                    caption { "Requests and queries of each minute" }
                    thead { tr { th scope="col" { "from" } th scope="col" { "requests" } th scope="col" { "queries" } } }
                    tbody { @for span in ledger.spans.iter().take(ROWS_MAX) { tr { th scope="row" { (span.from) } td { (span.requests) } td { (span.queries) } } } }
                }
            }
        }
    }
}

fn interval([low, high]: [f64; 2]) -> String {
    format!("{} – {}", percent(low), percent(high))
}

/// A word about rows that are not shown.
fn cut(rows: usize, most: usize) -> Markup {
    html! { @if rows > most { p class="quiet" { "… and " (rows - most) " more in the JSON document." } } }
}

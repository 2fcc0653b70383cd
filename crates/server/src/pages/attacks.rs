//! Tests: attacks by checkpoint with their intervals, robustness curves, membership inference.

use maud::{Markup, html};
use ringfence_engine::schema::report::{AttackReport, Membership, Soundness};

use super::{
    artifacts::ArtifactLine,
    chart::{
        dots::{Dots, Row},
        line::{Axis, Chart, Series},
        number,
    },
    frame::{Frame, Place},
    parts::{Tone, badge, moment, passage, percent, table, words},
};

/// A model with its card.
#[derive(Debug, Clone)]
pub struct Card {
    /// The version.
    pub line: ArtifactLine,
    /// What the attacks found.
    pub report: AttackReport,
}

/// The tests of all models that have a card.
#[derive(Debug, Clone)]
pub struct AttacksView {
    /// Around it.
    pub frame: Frame,
    /// The cards, newest first; at most [`CARDS_MAX`] are compared.
    pub cards: Vec<Card>,
}

/// Cards side by side.
pub const CARDS_MAX: usize = 6;

/// Attacks against models.
pub fn attacks(view: &AttacksView) -> Markup {
    let cards = view.cards.get(..view.cards.len().min(CARDS_MAX)).unwrap_or_default();
    let content = html! {
        @if cards.is_empty() { p { "No model has been attacked yet. " code { "ringfence attack" } " makes a card; a plan's " code { "[test]" } " makes one in every run." } }
        @else {
            (compared(cards)) (curves(cards)) (newest(cards)) (membership(cards)) (checks(cards))
            @if view.cards.len() > cards.len() { p class="quiet" { (view.cards.len() - cards.len()) " older cards are on the pages of their models." } }
        }
    };
    view.frame.page(Place::Tests, "Tests", content)
}

/// One row an attack at a strength, one column a model.
fn compared(cards: &[Card]) -> Markup {
    let mut asked: Vec<(&str, &str, f64)> = Vec::new();
    for result in cards.iter().flat_map(|card| &card.report.results) {
        let known = asked.iter().any(|(attack, norm, eps)| {
            *attack == result.attack && *norm == result.norm && eps.to_bits() == result.eps.to_bits()
        });
        if !known {
            asked.push((&result.attack, &result.norm, result.eps));
        }
    }
    asked.sort_by(|a, b| a.0.cmp(b.0).then(a.1.cmp(b.1)).then(a.2.total_cmp(&b.2)));
    let found = |card: &Card, (attack, norm, eps): &(&str, &str, f64)| {
        let wanted = |result: &&ringfence_engine::schema::report::AttackResult| {
            result.attack == *attack && result.norm == *norm && result.eps.to_bits() == eps.to_bits()
        };
        card.report.results.iter().find(wanted).cloned()
    };
    html! {
        section aria-labelledby="compared" {
            h2 id="compared" { "Accuracy under attack" }
            p { "With the 95 % interval (Wilson). A difference whose intervals overlap proves nothing." }
            div class="scroll" tabindex="0" role="group" aria-label="Accuracy under attack, by attack and model" {
                table {
                    thead { tr { th scope="col" { "attack" } th scope="col" { "radius" } @for card in cards { th scope="col" { (card.line.link()) } } } }
                    tbody {
                        tr { th scope="row" { "none" } td { "0" } @for card in cards { td { (card.report.clean_accuracy.map_or("–".to_owned(), percent)) } } }
                        @for row in asked.iter().take(ROWS) {
                            tr {
                                th scope="row" { bdi { (words(row.0, 40)) } " " (words(row.1, 10)) } td { (number(row.2)) }
                                @for card in cards { td { @if let Some(result) = found(card, row) {
                                    (percent(result.accuracy)) br; span class="quiet" { (percent(result.ci95[0])) " – " (percent(result.ci95[1])) }
                                } @else { "–" } } }
                            }
                        }
                    }
                }
            }
            @if asked.len() > ROWS { p class="quiet" { "… and " (asked.len() - ROWS) " more." } }
        }
    }
}

const ROWS: usize = 100;

/// The worst case over all attacks at each radius.
fn curves(cards: &[Card]) -> Markup {
    let series = |card: &Card| {
        let mut worst: Vec<(f64, f64, f64, f64)> = Vec::new();
        for result in card.report.results.iter().filter(|result| result.accuracy.is_finite()) {
            let point = (result.eps, result.accuracy, result.ci95[0], result.ci95[1]);
            match worst.iter_mut().find(|known| known.0.to_bits() == result.eps.to_bits()) {
                Some(known) if known.1 <= result.accuracy => {}
                Some(known) => *known = point,
                None => worst.push(point),
            }
        }
        let clean = card.report.clean_accuracy.map(|clean| (0.0, clean, clean, clean));
        worst.extend(clean.filter(|_| !worst.iter().any(|point| point.0 == 0.0)));
        worst.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series {
            name: card.line.reference(),
            points: worst.iter().map(|point| (point.0, point.1)).collect(),
            band: worst.iter().map(|point| (point.0, point.2, point.3)).collect(),
        }
    };
    let chart = Chart {
        id: "robustness",
        title: "Worst accuracy over all attacks at each radius",
        x: Axis { label: "radius in units of the model's input", range: None, log: false },
        y: Axis { label: "accuracy", range: Some((0.0, 1.0)), log: false },
        series: cards.iter().map(series).collect(),
        diagonal: false,
    };
    html! { section aria-labelledby="curves" { h2 id="curves" { "Robustness curves" } (chart.draw()) } }
}

/// The newest card against the one before it.
fn newest(cards: &[Card]) -> Markup {
    let Some(card) = cards.first() else { return html! {} };
    let before = cards.get(1);
    let rows = card.report.results.iter().map(|result| Row {
        label: format!("{} {} {}", result.attack, result.norm, number(result.eps)),
        value: result.accuracy,
        interval: (result.ci95[0], result.ci95[1]),
        base: before.and_then(|before| {
            let same = |other: &&ringfence_engine::schema::report::AttackResult| {
                other.attack == result.attack
                    && other.norm == result.norm
                    && other.eps.to_bits() == result.eps.to_bits()
            };
            before.report.results.iter().find(same).map(|other| other.accuracy)
        }),
    });
    let dots = Dots {
        id: "newest-card",
        title: "The newest card, attack by attack",
        axis: "accuracy under attack",
        range: Some((0.0, 1.0)),
        rows: rows.collect(),
    };
    html! {
        section aria-labelledby="newest" {
            h2 id="newest" { "The newest card" }
            p { (card.line.link()) ", " (moment(card.line.written)) ", " (card.report.examples) " examples, seed " (card.report.seed) "." }
            (dots.draw())
        }
    }
}

/// ROC points of membership inference with both axes logarithmic: what counts is the corner of few false alarms (Carlini
/// et al., "Membership Inference Attacks From First Principles", S&P 2022).
fn membership(cards: &[Card]) -> Markup {
    let tested: Vec<(&Card, &Membership)> =
        cards.iter().flat_map(|card| card.report.membership.iter().map(move |test| (card, test))).collect();
    if tested.is_empty() {
        return html! {};
    }
    let series = |(card, test): &(&Card, &Membership)| Series {
        name: format!("{} {}", test.attack, card.line.reference()),
        points: test.tpr_at_fpr.iter().filter_map(|point| Some((point.fpr, point.tpr?))).collect(),
        band: Vec::new(),
    };
    let chart = Chart {
        id: "roc",
        title: "Membership inference: true against false positives, logarithmic",
        x: Axis { label: "false positive rate", range: Some((1e-3, 1.0)), log: true },
        y: Axis { label: "true positive rate", range: Some((1e-3, 1.0)), log: true },
        series: tested.iter().map(series).collect(),
        diagonal: true,
    };
    let rows: Vec<Vec<Markup>> = tested
        .iter()
        .map(|(card, test)| {
            let stated = |point: &ringfence_engine::schema::report::TprAtFpr| match point.tpr {
                Some(tpr) => format!("{} at {}", percent(tpr), percent(point.fpr)),
                None => format!("not stated at {}: too few non-members", percent(point.fpr)),
            };
            vec![
                card.line.link(),
                html! { (words(&test.attack, 40)) },
                html! { (number(test.auc)) },
                html! { (test.tpr_at_fpr.iter().map(stated).collect::<Vec<_>>().join("; ")) },
                html! { (test.members) " / " (test.non_members) },
                passage(&test.note),
            ]
        })
        .collect();
    html! {
        section aria-labelledby="membership" {
            h2 id="membership" { "Does it give away its training data?" }
            p { "Left and low is where it counts: how many members an attacker finds with hardly any false alarm." }
            (chart.draw())
            (table("Membership inference", &["model", "attack", "AUC", "true positives at false positives", "members / others", "what it can show"], &rows))
        }
    }
}

fn checks(cards: &[Card]) -> Markup {
    let rows: Vec<Vec<Markup>> = cards
        .iter()
        .flat_map(|card| card.report.checks.iter().map(move |check| (card, check)))
        .map(|(card, check)| {
            vec![
                card.line.link(),
                html! { (words(&check.name, 60)) },
                if check.passed { badge(Tone::Good, "passed") } else { badge(Tone::Bad, "failed") },
                passage(&check.detail),
            ]
        })
        .collect();
    let unsound = cards.iter().any(|card| card.report.verdict == Soundness::Unsound);
    html! {
        section aria-labelledby="believed" {
            h2 id="believed" { "Can these figures be believed?" }
            @if unsound { p class="told bad" { "A sanity check failed: the figures of that card prove nothing." } }
            @if rows.is_empty() { p class="quiet" { "No checks are on record." } }
            @else { (table("Sanity checks", &["model", "check", "result", "figures"], &rows)) }
        }
    }
}

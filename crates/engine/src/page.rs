//! The report of a run: one self-contained HTML page, verdict first.
//!
//! No script, no foreign resource; everything that came from outside is escaped by `maud`'s types, and pictures are PNG
//! made here from numbers.

use maud::{DOCTYPE, Markup, html};
use ringfence_schema::{
    Timestamp,
    report::{AttackReport, HardenReport, RecordDecision, ScreenReport, Soundness},
};

use crate::{
    chart::{Chart, Series, number},
    work::GreyPicture,
};

/// What the page tells.
pub(crate) struct Page<'a> {
    /// The model's name and version, or the run's name where nothing was released.
    pub(crate) name: String,
    /// When it was made.
    pub(crate) made: Timestamp,
    /// Why the release gate refused; empty: released.
    pub(crate) refusals: &'a [String],
    /// What was screened.
    pub(crate) screen: Option<&'a ScreenReport>,
    /// Pictures of filtered records, by record.
    pub(crate) pictures: &'a [Picture],
    /// What the trainer says of itself.
    pub(crate) training: Option<&'a HardenReport>,
    /// The base model's card.
    pub(crate) before: Option<&'a AttackReport>,
    /// The result's card.
    pub(crate) after: Option<&'a AttackReport>,
    /// What the supervisor saw, as name and value.
    pub(crate) observed: &'a [(String, String)],
    /// The chain of evidence in order.
    pub(crate) chain: &'a [Link],
    /// Commands that verify the bundle.
    pub(crate) verify: &'a [String],
}

/// A record drawn as a grey picture.
pub(crate) struct Picture {
    /// Data record, counted from 0.
    pub(crate) record: u64,
    /// Its label in the data.
    pub(crate) label: String,
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
    /// Row-major grey values.
    pub(crate) grey: Vec<u8>,
}

/// One link of the chain of evidence.
pub(crate) struct Link {
    /// What it says.
    pub(crate) what: String,
    /// Of which subject.
    pub(crate) subject: String,
    /// Digest of the signed statement, or of the subject.
    pub(crate) digest: String,
    /// Index in the trail.
    pub(crate) index: Option<u64>,
}

/// Most pictures on one page; the rest is counted.
pub(crate) const PICTURES_MAX: usize = 200;

const STYLE: &str = include_str!("page.css");

impl Page<'_> {
    /// The page.
    pub(crate) fn render(&self) -> String {
        let released = self.refusals.is_empty();
        let body = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                    title { (self.name) " — Ringfence" }
                    style { (STYLE) }
                }
                body {
                    header class=(if released { "verdict yes" } else { "verdict no" }) {
                        p class="word" { @if released { "✔ released" } @else { "✘ not released" } }
                        h1 { (self.name) }
                        p { (self.headline()) }
                        @if !released { ul { @for reason in self.refusals { li { (reason) } } } }
                        p class="quiet" { (self.made) }
                    }
                    main {
                        (self.robustness())
                        (self.filtered())
                        (self.curve())
                        (self.supervisor())
                        (self.evidence())
                        (self.yourself())
                    }
                }
            }
        };
        body.into_string()
    }

    fn headline(&self) -> String {
        let filtered = self.screen.map(|screen| count(screen, RecordDecision::Filter));
        let mut parts = Vec::new();
        if let (Some(screen), Some(filtered)) = (self.screen, filtered) {
            parts.push(format!("{filtered} of {} training records filtered", screen.records));
        }
        if let Some(clean) = self.after.and_then(|card| card.clean_accuracy) {
            parts.push(format!("clean accuracy {}", percent(clean)));
        }
        if let Some((eps, accuracy)) = self.after.and_then(|card| worst(card).last().copied()) {
            parts.push(format!("worst-case accuracy {} at eps {}", percent(accuracy), number(eps)));
        }
        parts.join(" · ")
    }

    fn robustness(&self) -> Markup {
        let Some(after) = self.after else { return html! {} };
        let line = |name: &str, card: &AttackReport| Series {
            name: name.to_owned(),
            points: card.clean_accuracy.map(|clean| (0.0, clean)).into_iter().chain(worst(card)).collect(),
        };
        let mut series = vec![line("after", after)];
        series.extend(self.before.map(|card| line("before", card)));
        html! {
            section {
                h2 { "Accuracy under attack" }
                p { "Worst case over all attacks of the battery at each radius, on held-out test data." }
                (Chart { title: "Accuracy against eps, before and after", x: "eps (Linf, in units of the model's input)", y: "accuracy",
                    range: Some((0.0, 1.0)), series }.draw())
                (cards(self.before, after))
                h3 { "Can these figures be believed?" }
                p { @if after.verdict == Soundness::Sound { "Yes: every sanity check passed." } @else { "No: a sanity check failed." } }
                table { tr { th { "check" } th { "result" } th { "figures" } }
                    @for check in &after.checks {
                        tr { td { (check.name) } td { (if check.passed { "✔ passed" } else { "✘ failed" }) } td { (check.detail) } }
                    }
                }
                @for test in &after.membership {
                    h3 { "Membership inference: " (test.attack) }
                    p { "AUC " (number(test.auc)) " with " (test.members) " members and " (test.non_members) " others. " (test.note) }
                    ul { @for point in &test.tpr_at_fpr { li {
                        "TPR at " (percent(point.fpr)) " FPR: "
                        @match point.tpr { Some(tpr) => (percent(tpr)), None => "cannot be stated with so few non-members" }
                    } } }
                }
            }
        }
    }

    fn filtered(&self) -> Markup {
        let Some(screen) = self.screen else { return html! {} };
        let picture = |record| self.pictures.iter().find(|picture| picture.record == record);
        let decisions: Vec<_> =
            screen.decisions.iter().filter(|decision| decision.decision == RecordDecision::Filter).collect();
        html! {
            section {
                h2 { "What was filtered" }
                p { (decisions.len()) " of " (screen.records) " records were filtered, "
                    (count(screen, RecordDecision::Review)) " more are worth a look, "
                    (screen.dataset.exact_duplicates) " are exact duplicates." }
                @if !screen.candidates.is_empty() {
                    h3 { "Triggers and clusters that explain several records" }
                    ul { @for candidate in &screen.candidates { li {
                        code { (candidate.rule) } " " (candidate.description) " (" (candidate.records.len()) " records)"
                    } } }
                }
                div class="pictures" {
                    @for decision in decisions.iter().take(PICTURES_MAX) {
                        figure {
                            @if let Some(picture) = picture(decision.record) {
                                img alt=(format!("record {}", decision.record)) src=(picture.data_url());
                            }
                            figcaption {
                                "#" (decision.record)
                                @if let Some(picture) = picture(decision.record) { " labelled " b { (picture.label) } }
                                @for reason in &decision.reasons { span title=(reason.evidence) { (reason.rule) } }
                            }
                        }
                    }
                }
                @if decisions.len() > PICTURES_MAX { p { "… and " (decisions.len() - PICTURES_MAX) " more." } }
                details { summary { "every decision" }
                    table { tr { th { "record" } th { "decision" } th { "rule" } th { "score" } th { "evidence" } }
                        @for decision in &screen.decisions { @for reason in &decision.reasons { tr {
                            td { (decision.record) }
                            td { (if decision.decision == RecordDecision::Filter { "filter" } else { "review" }) }
                            td { code { (reason.rule) } } td { (number(reason.score)) } td { (reason.evidence) }
                        } } }
                    }
                }
                details { summary { "detectors that ran" } ul { @for detector in &screen.dataset.detectors { li { (detector) } } } }
            }
        }
    }

    fn curve(&self) -> Markup {
        let Some(training) = self.training else { return html! {} };
        let line = |name: &str, value: fn(&ringfence_schema::report::Epoch) -> f64| Series {
            name: name.to_owned(),
            points: training.epochs.iter().map(|epoch| (epoch.epoch as f64, value(epoch))).collect(),
        };
        let undone = training.epochs.iter().filter(|epoch| epoch.rolled_back).count();
        html! {
            section {
                h2 { "Training" }
                p { "Claimed by the trainer inside the sandbox; " (training.examples) " examples, eps " (number(training.eps))
                    ", seed " (training.seed) ". "
                    @if undone > 0 { (undone) " epochs were rolled back because robust accuracy collapsed (catastrophic overfitting)." } }
                (Chart { title: "Accuracy on the held-out batch, per epoch", x: "epoch", y: "accuracy", range: Some((0.0, 1.0)),
                    series: vec![line("clean", |epoch| epoch.clean_accuracy), line("robust (PGD)", |epoch| epoch.robust_accuracy)] }.draw())
                (Chart { title: "Training loss per epoch", x: "epoch", y: "loss", range: None,
                    series: vec![line("loss", |epoch| epoch.loss)] }.draw())
            }
        }
    }

    fn supervisor(&self) -> Markup {
        html! {
            section {
                h2 { "The sandbox" }
                p { "Observed by the supervisor, not by the job." }
                table { @for (name, value) in self.observed { tr { th { (name) } td { (value) } } } }
            }
        }
    }

    fn evidence(&self) -> Markup {
        html! {
            section {
                h2 { "The chain of evidence" }
                ol { @for link in self.chain { li {
                    b { (link.what) } " of " (link.subject) br;
                    code { (link.digest) }
                    @if let Some(index) = link.index { " · trail entry " (index) }
                } } }
            }
        }
    }

    fn yourself(&self) -> Markup {
        html! {
            section {
                h2 { "Verify it yourself" }
                p { "Offline, without the vault, with the trust root that the releasing vault's owner gave you:" }
                pre { @for command in self.verify { (command) "\n" } }
                p { "The command checks every file of this folder against the signed release, every statement against the trust root, "
                    "each statement's place in the trail, and replays the release gate." }
            }
        }
    }
}

fn cards(before: Option<&AttackReport>, after: &AttackReport) -> Markup {
    let find = |attack: &str, eps: f64| {
        before?.results.iter().find(|result| result.attack == attack && (result.eps - eps).abs() < 1e-9)
    };
    html! {
        table {
            tr { th { "attack" } th { "eps" } th { "before" } th { "after" } th { "95 % interval" } th { "queries" } }
            tr { td { "none" } td { "0" }
                td { @if let Some(clean) = before.and_then(|card| card.clean_accuracy) { (percent(clean)) } }
                td { @if let Some(clean) = after.clean_accuracy { (percent(clean)) } } td {} td {} }
            @for result in &after.results {
                tr {
                    td { (result.attack) " " (result.norm) } td { (number(result.eps)) }
                    td { @if let Some(result) = find(&result.attack, result.eps) { (percent(result.accuracy)) } }
                    td { (percent(result.accuracy)) }
                    td { (percent(result.ci95[0])) " – " (percent(result.ci95[1])) } td { (result.queries) }
                }
            }
        }
    }
}

/// Worst accuracy over all attacks, by rising radius.
pub(crate) fn worst(card: &AttackReport) -> Vec<(f64, f64)> {
    if !card.worst_case.is_empty() {
        return card.worst_case.iter().map(|worst| (worst.eps, worst.accuracy)).collect();
    }
    // Cards of before name no worst case.
    let mut points: Vec<(f64, f64)> = Vec::new();
    for result in &card.results {
        match points.iter_mut().find(|point| (point.0 - result.eps).abs() < 1e-9) {
            Some(point) => point.1 = point.1.min(result.accuracy),
            None => points.push((result.eps, result.accuracy)),
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

pub(crate) fn count(screen: &ScreenReport, decision: RecordDecision) -> usize {
    screen.decisions.iter().filter(|made| made.decision == decision).count()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

impl From<&GreyPicture> for Picture {
    fn from(picture: &GreyPicture) -> Self {
        let GreyPicture { record, label, width, height, grey } = picture.clone();
        Self { record, label, width, height, grey }
    }
}

impl Picture {
    fn data_url(&self) -> String {
        use base64::Engine as _;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&self.grey));
        if written.is_err() {
            // A size that does not fit its pixels: the record is still listed, without a picture.
            return String::new();
        }
        format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(&bytes))
    }
}

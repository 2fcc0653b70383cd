//! Runs: the list, and one run with everything on one time axis, live while it goes on.

use std::collections::BTreeMap;

use maud::{Markup, html};
use ringfence_engine::{
    history::{RunLine, whose},
    schema::alert::{Basis, TelemetryLine},
    watch::record::{Mark, MarkKind, Record},
};
use serde::Serialize;

use super::{
    chart::lanes::{Flag, Lane, Lanes, Stretch, clock, sign},
    frame::{Frame, Place},
    parts::{Tone, badge, moment, name, passage, reason, table, words},
    paths,
};

/// The list of runs.
#[derive(Debug, Clone)]
pub struct RunsView {
    /// Around it.
    pub frame: Frame,
    /// Those that go on first, then newest first.
    pub runs: Vec<RunLine>,
}

/// The list of runs.
pub fn runs(view: &RunsView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .runs
        .iter()
        .map(|run| {
            vec![
                html! { a href=(paths::run(&run.run)) { (name(&run.run)) } },
                state(run.state),
                html! { @if run.subject.is_empty() { span class="quiet" { "not known yet" } } @else { (name(&run.subject)) } },
                html! { @if let Some(ended) = run.ended { (moment(ended)) } },
                html! { @if let Some(error) = &run.error { (passage(error)) } },
            ]
        })
        .collect();
    let content = html! {
        @if rows.is_empty() { p { "No run yet. " code { "ringfence run FILE" } " starts one." } }
        @else { (table("Runs", &["run", "state", "makes", "ended", "why it failed"], &rows)) }
    };
    view.frame.page(Place::Runs, "Runs", content)
}

fn state(state: &str) -> Markup {
    let tone = match state {
        "done" => Tone::Good,
        "failed" => Tone::Bad,
        _ => Tone::Plain,
    };
    badge(tone, state)
}

/// One run.
#[derive(Debug, Clone)]
pub struct RunView {
    /// Around it.
    pub frame: Frame,
    /// What lists say of it.
    pub line: RunLine,
    /// What was recorded so far.
    pub record: Record,
    /// Whether the viewer may stop it.
    pub may_stop: bool,
}

/// One run: loss, gradients, processor, memory, GPU and egress on one axis, with what happened marked.
pub fn run(view: &RunView) -> Markup {
    let (line, record) = (&view.line, &view.record);
    let live = line.state == "running";
    let count = |wanted: fn(&MarkKind) -> bool| record.marks().iter().filter(|mark| wanted(&mark.kind)).count();
    let (alerts, refusals) =
        (count(|kind| matches!(kind, MarkKind::Alert(_))), count(|kind| *kind == MarkKind::Refusal));
    let content = html! {
        p {
            (state(line.state)) " "
            @if alerts > 0 { (badge(Tone::Bad, &format!("{alerts} alerts"))) } @else { (badge(Tone::Good, "no alerts")) }
            " " @if refusals > 0 { (badge(Tone::Warn, &format!("{refusals} refusals"))) }
            @if !line.subject.is_empty() { " makes " a href=(paths::reference(&line.subject)) { (name(&line.subject)) } }
        }
        @if let Some(error) = &line.error { div class="told bad" { b { "Failed: " } (passage(error)) } }
        @if live {
            div data-live=(paths::run_events(&line.run, record.last_ms())) {
                p { "At " span data-clock { (clock(record.last_ms())) } " since the start. This page follows the run; without script, load it again." }
                @if view.may_stop {
                    form method="post" action=(paths::run_stop(&line.run)) data-confirm=(format!("Stop {}? What it has written so far is kept as evidence; it does not become an artifact.", words(&line.run, 80))) {
                        (view.frame.token()) (reason("stop-reason")) p { button class="danger" { "Stop this run" } }
                    }
                }
                section aria-labelledby="live" { h2 id="live" { "Just now" } ul id="news" aria-live="polite" {} }
            }
        }
        section aria-labelledby="signals" {
            h2 id="signals" { "Signals" }
            @let picture = lanes(record);
            @if picture.lanes.is_empty() { p class="quiet" { "Nothing was measured yet." } }
            @else {
                p { "Solid lines are facts that the kernel told. Dashed lines are claims by the job: nobody checked them." }
                (picture.draw())
            }
        }
        (marks(record))
    };
    view.frame.page(Place::Runs, &format!("Run {}", line.run), content)
}

/// What people look for first comes first; the rest by name.
const ORDER: [&str; 12] = [
    "loss",
    "evaluation loss",
    "gradient norm",
    "learning rate",
    "cpu",
    "memory",
    "gpu 0",
    "gpu 0 memory",
    "sent",
    "received",
    "refused calls",
    "disk write",
];

fn lanes(record: &Record) -> Lanes<'static> {
    let mut lanes: Vec<Lane> = record
        .signals()
        .map(|signal| Lane {
            key: lane_key(signal.basis, signal.name),
            name: signal.name.to_owned(),
            unit: signal.unit.to_owned(),
            claimed: signal.basis != Basis::Observed,
            stretches: signal
                .points
                .iter()
                .map(|point| Stretch { at_ms: point.at_ms, low: point.low, high: point.high, last: point.last })
                .collect(),
        })
        .collect();
    lanes.sort_by_key(|lane| ORDER.iter().position(|name| *name == lane.name).unwrap_or(ORDER.len()));
    // Alerts and limits must not be lost behind thousands of refusals.
    let mut marked: Vec<&Mark> = record.marks().iter().collect();
    marked.sort_by_key(|mark| match mark.kind {
        MarkKind::Alert(_) | MarkKind::Limit => 0,
        MarkKind::Phase => 1,
        MarkKind::Checkpoint => 2,
        MarkKind::Refusal => 3,
    });
    let flag = |mark: &&Mark| Flag { at_ms: mark.at_ms, class: look(mark.kind).0, text: mark.text.clone() };
    let title = "All signals of the run on one time axis";
    let flags = marked.iter().map(flag).collect();
    Lanes { id: "lanes", title, lanes, flags, span_ms: record.last_ms() }
}

fn lane_key(basis: Basis, name: &str) -> String {
    format!("{} {name}", if basis == Basis::Observed { "fact" } else { "claim" })
}

fn look(kind: MarkKind) -> (&'static str, &'static str) {
    match kind {
        MarkKind::Phase => ("phase", "phase"),
        MarkKind::Checkpoint => ("checkpoint", "file written"),
        MarkKind::Refusal => ("refusal", "refused"),
        MarkKind::Limit => ("limit", "limit"),
        MarkKind::Alert(_) => ("alert", "alert"),
    }
}

fn marks(record: &Record) -> Markup {
    html! {
        section aria-labelledby="happened" {
            h2 id="happened" { "What happened" }
            @if record.unlisted_marks() > 0 { p { (record.unlisted_marks()) " more were not kept." } }
            div class="scroll" tabindex="0" role="group" aria-label="What happened, newest last" {
                table {
                    thead { tr { th scope="col" { "at" } th scope="col" { "what" } th scope="col" { "whose word" } th scope="col" { "in words" } } }
                    tbody { @for mark in record.marks().iter().take(MARKS_MAX) {
                        @let (class, word) = look(mark.kind);
                        tr {
                            th scope="row" { (clock(mark.at_ms)) }
                            td { span aria-hidden="true" { (sign(class)) " " } (word) }
                            td class=(if mark.basis == Basis::Observed { "fact" } else { "claim" }) { (whose(mark.basis)) }
                            td { bdi { (words(&mark.text, 300)) } }
                        }
                    } }
                }
            }
            @if record.marks().len() > MARKS_MAX { p class="quiet" { "… and " (record.marks().len() - MARKS_MAX) " more: " code { "ringfence watch" } " lists them." } }
        }
    }
}

/// Marks listed on one page.
const MARKS_MAX: usize = 100;

/// What a live page hears: an event called `update` with this as its data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveUpdate {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// The newest value of each signal that changed, by the lane's key.
    pub values: BTreeMap<String, f64>,
    /// What happened.
    pub marks: Vec<LiveMark>,
}

/// Something that happened just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveMark {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// `phase`, `checkpoint`, `refusal`, `limit` or `alert`.
    pub kind: &'static str,
    /// In words, fit to print.
    pub text: String,
}

impl LiveUpdate {
    /// Takes a later one in: the newest values, and of what happened the last [`NEWS_MAX`].
    pub fn absorb(&mut self, later: Self) {
        self.at_ms = later.at_ms;
        self.values.extend(later.values);
        self.marks.extend(later.marks);
        self.marks.drain(..self.marks.len().saturating_sub(NEWS_MAX));
    }
}

/// Marks of one update; a page lists no more.
const NEWS_MAX: usize = 50;

/// Makes updates from telemetry; begins with what the page was drawn from.
#[derive(Debug, Clone, Default)]
pub struct Live {
    record: Record,
}

impl Live {
    /// Goes on after `record`.
    pub fn after(record: Record) -> Self {
        Self { record }
    }

    /// What the next line of telemetry changes; `None`: nothing that a page shows.
    pub fn take(&mut self, line: &TelemetryLine) -> Option<LiveUpdate> {
        // Values are compared by their bits: a value that repeats at the same place in the series is no news, and a series
        // that was halved has moved its points but not its end.
        let ends = |record: &Record| -> BTreeMap<String, (u64, u64)> {
            let end = |signal: ringfence_engine::watch::record::Signal<'_>| {
                let point = signal.points.last()?;
                Some((lane_key(signal.basis, signal.name), (point.at_ms, point.last.to_bits())))
            };
            record.signals().filter_map(end).collect()
        };
        let (before, marked) = (ends(&self.record), self.record.marks().len());
        self.record.take(line);
        let changed = ends(&self.record).into_iter().filter(|(key, end)| before.get(key) != Some(end));
        let values: BTreeMap<String, f64> = changed.map(|(key, (_, bits))| (key, f64::from_bits(bits))).collect();
        let marks: Vec<LiveMark> = self.record.marks().iter().skip(marked).map(live_mark).collect();
        (!values.is_empty() || !marks.is_empty()).then(|| LiveUpdate { at_ms: self.record.last_ms(), values, marks })
    }
}

fn live_mark(mark: &Mark) -> LiveMark {
    LiveMark { at_ms: mark.at_ms, kind: look(mark.kind).0, text: words(&mark.text, 300) }
}

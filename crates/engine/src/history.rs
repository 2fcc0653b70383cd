//! What runs looked like: those that go on, those that are over, and one page with everything on one time axis.
//!
//! A run that is over is read back from the vault, where its telemetry lies sealed under the digest that the trail commits
//! to; one that goes on is followed through its socket.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, html};
use ringfence_schema::{
    Digest, Severity, Timestamp,
    alert::{Basis, TelemetryLine},
    finding::printable,
};
use ringfence_watch::record::{Mark, MarkKind, Point, Record, Signal};
use serde::Serialize;

use crate::{chart::number, error::EngineError, run::live, trail::ShownEntry, vault::Vault};

/// A run, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunLine {
    /// Its id.
    pub run: String,
    /// What came of it: `running`, `done` or `failed`.
    pub state: &'static str,
    /// The artifact that it makes or made, where known.
    pub subject: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Vault<'_> {
    /// Runs among the last [`ENTRIES_MAX`] entries of the trail, newest first; those that go on come first.
    pub fn runs(&self) -> Result<Vec<RunLine>, EngineError> {
        let live = live::live_runs(&self.settings.vault);
        let over = self.ended_runs()?;
        // One whose end is being recorded is in both.
        let goes_on = |run: &String| over.iter().all(|(id, _)| id != run);
        let mut lines: Vec<RunLine> = live
            .into_iter()
            .filter(goes_on)
            .map(|run| RunLine { run, state: "running", subject: String::new(), ended: None, error: None })
            .collect();
        for (run, entry) in over {
            let error = text(&entry, "error");
            lines.push(RunLine {
                run,
                state: if error.is_some() { "failed" } else { "done" },
                subject: entry.subject().to_owned(),
                ended: Some(entry.entry.time),
                error: error.map(|error| printable(&error, ERROR_CHARS_MAX)),
            });
        }
        Ok(lines)
    }

    /// Everything that is known of run `run`: of one that goes on, what there is so far.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] where no such run lives or is in the trail's last [`ENTRIES_MAX`] entries;
    /// [`EngineError::Tampered`] where its telemetry is not what the trail commits to.
    pub fn run_record(&self, run: &str) -> Result<Record, EngineError> {
        let mut record = Record::new();
        self.run_lines(run)?.iter().for_each(|line| record.take(line));
        Ok(record)
    }

    /// The telemetry of run `run`, line by line; errors as for [`Vault::run_record`].
    pub fn run_lines(&self, run: &str) -> Result<Vec<TelemetryLine>, EngineError> {
        let recorded = || -> Result<_, EngineError> { Ok(self.ended_runs()?.into_iter().find(|(id, _)| id == run)) };
        let (_, entry) = match recorded()? {
            Some(found) => found,
            None => match live::so_far(&self.settings.vault, run) {
                // It may have ended in between.
                Err(absent @ EngineError::NotFound { .. }) => recorded()?.ok_or(absent)?,
                lines => return lines?.collect(),
            },
        };
        let digest = text(&entry, "telemetry").and_then(|hex| hex.parse::<Digest>().ok());
        let digest = digest.ok_or(EngineError::NotFound { what: "telemetry of run", name: run.to_owned() })?;
        let bytes = self.blob("run", digest)?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let unread = || EngineError::incomplete(format!("run {run}"), "a line of its telemetry could not be read");
        lines.map(|line| live::parse_line(line).ok_or_else(unread)).collect()
    }

    fn ended_runs(&self) -> Result<Vec<(String, ShownEntry)>, EngineError> {
        let mut found: Vec<_> = self
            .trail(ENTRIES_MAX)?
            .into_iter()
            .filter(|entry| entry.openings.contains_key("telemetry"))
            .filter_map(|entry| Some((text(&entry, "run")?, entry)))
            .collect();
        found.reverse();
        Ok(found)
    }
}

fn text(entry: &ShownEntry, name: &str) -> Option<String> {
    entry.openings.get(name).and_then(|opening| opening.value.as_str()).map(str::to_owned)
}

/// A page with every signal of `record` on one time axis, with checkpoints, refusals, limits and alerts marked. Self-contained:
/// no script, no foreign resource.
pub fn history_page(run: &str, record: &Record) -> String {
    let span = record.last_ms().max(1_000);
    let alerts = record.marks().iter().filter(|mark| matches!(mark.kind, MarkKind::Alert(_))).count();
    let refusals = record.marks().iter().filter(|mark| mark.kind == MarkKind::Refusal).count();
    let facts: Vec<_> = record.signals().filter(|signal| signal.basis == Basis::Observed).collect();
    let claims: Vec<_> = record.signals().filter(|signal| signal.basis != Basis::Observed).collect();
    let state = if record.has_ended() { "ended" } else { "running" };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { "run " (run) " — Ringfence" }
                style { (include_str!("page.css")) (include_str!("history.css")) }
            }
            body {
                header class=(if alerts == 0 { "verdict yes" } else { "verdict no" }) {
                    p class="word" { @if alerts == 0 { "✔ no alerts" } @else { "⚠ " (alerts) @if alerts == 1 { " alert" } @else { " alerts" } } }
                    h1 { "run " (run) }
                    p { (state) " · " (clock(record.last_ms())) " · " (refusals) " refusals" }
                }
                main {
                    section {
                        h2 { "What the kernel told" }
                        (lanes(&facts, record.marks(), span, "fact"))
                    }
                    section {
                        h2 { "What the job said" }
                        @if claims.is_empty() { p { "Nothing that could be read as progress." } }
                        @else {
                            p { "Claims: nothing here was checked." }
                            (lanes(&claims, record.marks(), span, "claim"))
                        }
                    }
                    (list(record))
                }
            }
        }
    }
    .into_string()
}

fn lanes(signals: &[Signal<'_>], marks: &[Mark], span: u64, class: &str) -> Markup {
    let height = signals.len() as f64 * LANE + AXIS;
    let x_at = |at_ms: u64| LEFT + at_ms as f64 / span as f64 * (WIDTH - LEFT - RIGHT);
    html! {
        svg class="lanes" viewBox=(format!("0 0 {WIDTH} {height}")) role="img"
            aria-label=(format!("{} signals over {}", signals.len(), clock(span))) {
            @for (place, signal) in signals.iter().enumerate() {
                (lane(signal, place as f64 * LANE, class, &x_at))
            }
            @for mark in marks {
                @let (class, _) = look(mark.kind);
                line class=(format!("mark {class}")) x1=(px(x_at(mark.at_ms))) x2=(px(x_at(mark.at_ms))) y1="0" y2=(px(height - AXIS)) {
                    title { (clock(mark.at_ms)) " " (mark.text) }
                }
            }
            @for step in 0..=6_u64 {
                @let at = span * step / 6;
                text class="tick" x=(px(x_at(at))) y=(px(height - 6.0)) text-anchor="middle" { (clock(at)) }
            }
        }
    }
}

fn lane(signal: &Signal<'_>, top: f64, class: &str, x_at: &dyn Fn(u64) -> f64) -> Markup {
    let low = signal.points.iter().map(|point| point.low).fold(f64::INFINITY, f64::min);
    let high = signal.points.iter().map(|point| point.high).fold(f64::NEG_INFINITY, f64::max);
    let room = if high > low { high - low } else { 1.0 };
    let y_at = |value: f64| top + LANE - GAP - (value - low) / room * (LANE - 2.0 * GAP);
    let pair = |point: &Point, value: f64| format!("{},{}", px(x_at(point.at_ms)), px(y_at(value)));
    let line: Vec<String> = signal.points.iter().map(|point| pair(point, point.last)).collect();
    let above = signal.points.iter().map(|point| pair(point, point.high));
    let below = signal.points.iter().rev().map(|point| pair(point, point.low));
    let band: Vec<String> = above.chain(below).collect();
    let latest = signal.latest().map(number).unwrap_or_default();
    html! {
        g class=(class) {
            title { (signal.name) ": " (number(low)) " to " (number(high)) " " (signal.unit) ", at last " (latest) }
            text class="name" x="0" y=(px(top + LANE / 2.0 - 2.0)) { (signal.name) }
            text class="tick" x="0" y=(px(top + LANE / 2.0 + 12.0)) { (latest) " " (signal.unit) }
            text class="tick" x=(px(LEFT - 6.0)) y=(px(top + GAP + 8.0)) text-anchor="end" { (number(high)) }
            text class="tick" x=(px(LEFT - 6.0)) y=(px(top + LANE - GAP)) text-anchor="end" { (number(low)) }
            line class="grid" x1=(LEFT) x2=(WIDTH - RIGHT) y1=(px(top + LANE - 1.0)) y2=(px(top + LANE - 1.0)) {}
            polygon class="band" points=(band.join(" ")) {}
            polyline class="line" points=(line.join(" ")) {}
        }
    }
}

fn list(record: &Record) -> Markup {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for mark in record.marks() {
        *counts.entry(look(mark.kind).1).or_default() += 1;
    }
    html! {
        section {
            h2 { "What happened" }
            p { @for (word, count) in &counts { span class="key" { (word) ": " (count) } }
                @if record.unlisted_marks() > 0 { span class="key" { "not kept: " (record.unlisted_marks()) } } }
            table {
                tr { th { "at" } th { "what" } th { "whose word" } th { "in words" } }
                @for mark in record.marks() {
                    @let (class, word) = look(mark.kind);
                    tr { td { (clock(mark.at_ms)) } td class=(class) { (word) } td { (whose(mark.basis)) } td { (mark.text) } }
                }
            }
        }
    }
}

/// Class and word of a mark.
const fn look(kind: MarkKind) -> (&'static str, &'static str) {
    match kind {
        MarkKind::Phase => ("phase", "• phase"),
        MarkKind::Checkpoint => ("checkpoint", "◆ file"),
        MarkKind::Refusal => ("refusal", "✘ refused"),
        MarkKind::Limit => ("limit", "▲ limit"),
        MarkKind::Alert(Severity::Info | Severity::Low) => ("alert", "⚠ note"),
        MarkKind::Alert(_) => ("alert", "⚠ alert"),
    }
}

/// Whose word something is, for people.
pub fn whose(basis: Basis) -> &'static str {
    match basis {
        Basis::Observed => "the kernel",
        Basis::Claimed => "the job",
        Basis::Both => "the job against the kernel",
    }
}

/// `m:ss`, or `h:mm:ss`, of milliseconds.
pub fn clock(millis: u64) -> String {
    let (hours, minutes, seconds) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 16.0;
const LANE: f64 = 56.0;
const GAP: f64 = 5.0;
const AXIS: f64 = 24.0;
/// Trail entries in which runs are looked for.
const ENTRIES_MAX: u64 = 20_000;
/// Longest error in a list, in characters.
const ERROR_CHARS_MAX: usize = 500;

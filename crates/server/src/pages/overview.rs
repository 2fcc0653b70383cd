//! What needs somebody now, and how things stand.

use maud::{Markup, html};
use ringfence_engine::{
    doctor::{Health, Part},
    history::RunLine,
    schema::{Digest, Severity, Timestamp},
};

use super::{
    artifacts::ArtifactLine,
    chart::bars::{Bar, Bars},
    frame::{Frame, Place},
    parts::{Tone, age, badge, digest, duration, hidden, moment, name, passage, reason, severity, table, words},
    paths,
};

/// An alert that is open.
#[derive(Debug, Clone)]
pub struct AlertLine {
    /// Names it.
    pub id: Digest,
    /// How bad.
    pub severity: Severity,
    /// Its rule.
    pub rule: String,
    /// What it is about: `run r-27`.
    pub subject: String,
    /// In a sentence.
    pub message: String,
    /// When it was raised.
    pub at: Timestamp,
    /// The trail's entry.
    pub entry: u64,
    /// Where to look, within this server.
    pub target: Option<String>,
}

/// The trail's newest checkpoint.
#[derive(Debug, Clone)]
pub struct Head {
    /// How many entries.
    pub entries: u64,
    /// Root of the tree.
    pub root: Option<Digest>,
    /// When the newest entry was written.
    pub newest: Option<Timestamp>,
}

/// The overview.
#[derive(Debug, Clone)]
pub struct OverviewView {
    /// Around it.
    pub frame: Frame,
    /// Versions that are held.
    pub held: Vec<ArtifactLine>,
    /// Requests that wait for a second person.
    pub requests: usize,
    /// Alerts that are open, newest first.
    pub alerts: Vec<AlertLine>,
    /// Whether the viewer may say that one was seen.
    pub may_acknowledge: bool,
    /// Runs that go on, or ended lately.
    pub runs: Vec<RunLine>,
    /// The trail's head.
    pub head: Head,
    /// When the last backup was made; `None`: never, or not known here.
    pub backup: Option<Timestamp>,
    /// How old a backup may be, in milliseconds.
    pub backup_limit_ms: u64,
    /// Admitted, held and refused per day.
    pub days: Vec<Bar>,
    /// Parts of the installation that are not well.
    pub unwell: Vec<Part>,
}

/// The overview page.
pub fn overview(view: &OverviewView) -> Markup {
    let now = view.frame.now;
    let running = view.runs.iter().filter(|run| run.state == "running").count();
    let backup_late = view.backup.is_none_or(|at| now.millis().saturating_sub(at.millis()) > view.backup_limit_ms);
    let quiet = view.held.is_empty() && view.alerts.is_empty() && view.requests == 0 && view.unwell.is_empty();
    let content = html! {
        div class="cards" {
            div class="card" { h2 { a href=(paths::REVIEW) { "Held" } } p class="big" { (view.held.len()) } p class="quiet" { (view.requests) " requests wait for a second person" } }
            div class="card" { h2 { "Open alerts" } p class="big" { (view.alerts.len()) } p class="quiet" { (view.alerts.iter().filter(|alert| alert.severity >= Severity::High).count()) " of them high or critical" } }
            div class="card" { h2 { a href=(paths::RUNS) { "Running" } } p class="big" { (running) } p class="quiet" { "training runs go on" } }
            div class="card" { h2 { a href=(paths::TRAIL) { "Trail" } } p class="big" { (view.head.entries) }
                p class="quiet" { "entries" @if let Some(newest) = view.head.newest { ", newest " (age(newest, now)) }
                    @if let Some(root) = &view.head.root { br; "root " (digest(root)) } } }
            div class="card" { h2 { "Backup" }
                p class="big" { @match view.backup { Some(at) => (age(at, now)), None => "none known" } }
                p { @if backup_late { (badge(Tone::Bad, "late")) } @else { (badge(Tone::Good, "in time")) } span class="quiet" { " every " (duration(view.backup_limit_ms)) } } }
        }
        section aria-labelledby="now" {
            h2 id="now" { "What needs you now" }
            @if quiet { p { (badge(Tone::Good, "nothing")) " Nothing is held, no alert is open, no request waits." } }
            @if view.requests > 0 { p { a href=(paths::REVIEW) { (view.requests) " requests wait for a second person" } } }
            @for part in &view.unwell {
                div class=(if part.health == Health::Fail { "told bad" } else { "told warn" }) {
                    p { b { (part.name) } ": " (words(&part.detail, 300)) }
                    @if !part.fix.is_empty() { p { "Remedy: " (words(&part.fix, 400)) } }
                }
            }
            (alerts(view)) (held(view))
        }
        section aria-labelledby="days" {
            h2 id="days" { "At the gate" }
            (Bars { id: "gate", title: "Admitted, held and refused per day", kinds: vec![("admitted", "good"), ("held", "warn"), ("refused", "bad")], bars: view.days.clone() }.draw())
        }
    };
    view.frame.page(Place::Overview, "Overview", content)
}

fn alerts(view: &OverviewView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .alerts
        .iter()
        .enumerate()
        .map(|(place, alert)| {
            let mut row = vec![
                html! { (severity(alert.severity)) " " code { (words(&alert.rule, 40)) } },
                html! { @match &alert.target { Some(target) => a href=(target) { (name(&alert.subject)) }, None => (name(&alert.subject)) } },
                passage(&alert.message),
                html! { (moment(alert.at)) },
                html! { a href=(paths::trail_entry(alert.entry)) { "entry " (alert.entry) } },
            ];
            row.extend(view.may_acknowledge.then(|| {
                let later = html! { span class="quiet" { "after those above" } };
                if place < ANSWERED_MAX { acknowledge(view, place, alert) } else { later }
            }));
            row
        })
        .collect();
    let heads = ["how bad", "about", "what", "when", "record", "answer"];
    let heads = heads.get(..if view.may_acknowledge { 6 } else { 5 }).unwrap_or_default();
    html! { @if !rows.is_empty() { h3 { "Alerts" } (table("Open alerts", heads, &rows)) } }
}

/// Alerts that can be answered at a time: the newest ones.
const ANSWERED_MAX: usize = 15;

/// The form that says that an alert was seen.
fn acknowledge(view: &OverviewView, place: usize, alert: &AlertLine) -> Markup {
    html! {
        details {
            summary aria-label=(format!("Acknowledge: {}", words(&alert.message, 80))) { "Acknowledge" }
            form method="post" action=(paths::ALERT_ACKNOWLEDGE) {
                (view.frame.token()) (hidden("alert", &alert.id.to_string()))
                (reason(&format!("alert-reason-{place}")))
                p { label for=(format!("alert-days-{place}")) { "For so many days (none: for good)" }
                    input id=(format!("alert-days-{place}")) name="days" type="number" min="1" max="366"; }
                p { button { "It is dealt with" } }
            }
        }
    }
}

fn held(view: &OverviewView) -> Markup {
    let rows: Vec<Vec<Markup>> =
        view.held.iter().map(|line| vec![line.link(), line.reason(), html! { (moment(line.written)) }]).collect();
    html! { @if !rows.is_empty() { h3 { "Held" } (table("Held versions", &["version", "why", "since"], &rows)) } }
}

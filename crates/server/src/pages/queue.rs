//! Runs that wait for a training machine, those that one has, and what became of the others.

use maud::{Markup, html};
use ringfence_engine::schema::{Digest, Timestamp};

use super::{
    frame::{Frame, Place},
    parts::{Tone, age, badge, digest, hidden, moment, name, passage, table, words},
    paths,
};

/// One run of the queue.
#[derive(Debug, Clone)]
pub struct QueueLine {
    /// Its id in the queue.
    pub id: String,
    /// What it makes.
    pub makes: String,
    /// SHA-256 of the plan.
    pub plan: Digest,
    /// What goes in, by role.
    pub inputs: Vec<(String, String)>,
    /// What people call whoever queued it.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// How often a machine had it.
    pub attempts: u32,
    /// How it stands.
    pub standing: Standing,
}

/// How a run of the queue stands.
#[derive(Debug, Clone)]
pub enum Standing {
    /// No machine has it.
    Waiting,
    /// A machine has it.
    Taken {
        /// The run.
        run: String,
        /// What people call the program that took it.
        taker: String,
        /// When.
        at: Timestamp,
    },
    /// It is over.
    Over {
        /// Whether it did what it should.
        good: bool,
        /// In words.
        says: String,
        /// When.
        at: Timestamp,
    },
}

/// The page.
#[derive(Debug, Clone)]
pub struct QueuePage {
    /// Around it.
    pub frame: Frame,
    /// The runs, those that wait first, oldest first.
    pub lines: Vec<QueueLine>,
    /// Whether the viewer's roles let them take a run out; the engine decides when they do.
    pub may_stop: bool,
}

/// The queue.
pub fn queue(view: &QueuePage) -> Markup {
    let waiting = view.lines.iter().filter(|line| matches!(line.standing, Standing::Waiting)).count();
    let rows: Vec<Vec<Markup>> = view.lines.iter().take(LINES_MAX).map(|line| row(view, line)).collect();
    let heads = ["run of", "inputs", "asked by", "stands", "change"];
    let heads = heads.get(..if view.may_stop { 5 } else { 4 }).unwrap_or_default();
    let content = html! {
        p {
            @if waiting == 0 { "No run waits for a machine." }
            @else { (waiting) @if waiting == 1 { " run waits" } @else { " runs wait" } " for a machine." }
            " A training machine takes them, the oldest first, with " code { "ringfence serve --runner" } "; people queue them with "
            code { "ringfence run PLAN --queue" } "."
        }
        section aria-labelledby="queue" {
            h2 id="queue" { "The queue" }
            @if rows.is_empty() { p class="quiet" { "Nothing has been queued." } }
            @else { (table("Runs that wait for a machine, and those that one had", heads, &rows)) }
            @if view.lines.len() > LINES_MAX { p { "… and " (view.lines.len() - LINES_MAX) " more." } }
        }
        p { a href=(paths::RUNS) { "Runs that machines have or had" } }
    };
    view.frame.page(Place::Queue, "Queue", content)
}

fn row(view: &QueuePage, line: &QueueLine) -> Vec<Markup> {
    let mut row = vec![
        html! { (name(&line.makes)) " " span class="quiet" { "plan " (digest(&line.plan)) } },
        html! {
            @for (role, artifact) in line.inputs.iter().take(INPUTS_MAX) {
                div { (words(role, 40)) ": " a href=(paths::reference(artifact)) { (name(artifact)) } }
            }
            @if line.inputs.len() > INPUTS_MAX { div class="quiet" { "and " (line.inputs.len() - INPUTS_MAX) " more" } }
        },
        html! { (name(&line.by)) " " span class="quiet" { (age(line.since, view.frame.now)) } },
        standing(view, line),
    ];
    row.extend(view.may_stop.then(|| change(view, line)));
    row
}

fn standing(view: &QueuePage, line: &QueueLine) -> Markup {
    let again = html! { @if line.attempts > 1 { " " span class="quiet" { "attempt " (line.attempts) } } };
    html! {
        @match &line.standing {
            Standing::Waiting => { (badge(Tone::Warn, "waits")) (again) },
            Standing::Taken { run, taker, at } => {
                (badge(Tone::Plain, "a machine has it")) " as " a href=(paths::run(run)) { (name(run)) } ", taken by " (name(taker))
                " " span class="quiet" { (age(*at, view.frame.now)) } (again)
            },
            Standing::Over { good, says, at } => {
                (badge(if *good { Tone::Good } else { Tone::Bad }, if *good { "done" } else { "failed" })) " " (moment(*at)) " " (passage(says))
            },
        }
    }
}

fn change(view: &QueuePage, line: &QueueLine) -> Markup {
    html! {
        @match &line.standing {
            // A run that goes on is stopped on its own page.
            Standing::Taken { run, .. } => a href=(paths::run(run)) { "Stop it there" },
            _ => form method="post" action=(paths::QUEUE_REMOVE) data-confirm=(format!("Take the run of {} out of the queue?", words(&line.makes, 80))) {
                (view.frame.token()) (hidden("queued", &line.id))
                button class="danger" aria-label=(format!("Take out: {}", words(&line.makes, 80))) { "Take out" }
            },
        }
    }
}

/// Runs that are shown; the rest is counted.
pub const LINES_MAX: usize = 50;
/// Inputs of one run that are listed.
const INPUTS_MAX: usize = 8;

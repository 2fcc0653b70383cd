//! The trail: its search, one entry with what it commits to and the proof that it is there, the calendar.

use maud::{Markup, html};
use ringfence_engine::{
    access::Action,
    schema::{Digest, Timestamp},
};

use super::{
    chart::calendar::{Calendar, Day},
    frame::{Frame, Place},
    parts::{Field, TEXT_CHARS_MAX, Tone, badge, command, digest, facts, moment, name, table, verbatim, words},
    paths,
};

/// What somebody looks for, as it was typed.
#[derive(Debug, Clone, Default)]
pub struct TrailQuery {
    /// By this person's id.
    pub who: String,
    /// This action.
    pub what: String,
    /// About this artifact.
    pub artifact: String,
    /// `allowed`, `denied` or `failed`.
    pub decision: String,
    /// From this moment on.
    pub since: String,
    /// Before this moment.
    pub until: String,
}

/// An entry in one line.
#[derive(Debug, Clone)]
pub struct EntryLine {
    /// Its place in the trail.
    pub index: u64,
    /// When.
    pub time: Timestamp,
    /// Which action.
    pub action: String,
    /// Who.
    pub actor: String,
    /// What became of it, in one word.
    pub word: String,
    /// What it is about.
    pub subject: String,
}

/// The search.
#[derive(Debug, Clone)]
pub struct TrailView {
    /// Around it.
    pub frame: Frame,
    /// What was asked for.
    pub query: TrailQuery,
    /// Why that cannot be looked for.
    pub problem: Option<String>,
    /// The newest entries that fit, newest first.
    pub entries: Vec<EntryLine>,
    /// Activity by day.
    pub days: Vec<Day>,
    /// How many entries the trail has.
    pub size: u64,
}

/// The search of the trail.
pub fn trail(view: &TrailView) -> Markup {
    let query = &view.query;
    let rows: Vec<Vec<Markup>> = view.entries.iter().map(row).collect();
    let content = html! {
        form method="get" action=(paths::TRAIL) class="row" role="search" aria-label="Trail" {
            (Field::new("who", "who", "Who (id)", "text").optional(&query.who).draw())
            (choice("what", "What", Action::ALL.iter().map(|action| action.name()), &query.what))
            (Field::new("artifact", "artifact", "Artifact, such as model/chat@3", "text").optional(&query.artifact).draw())
            (choice("decision", "Decision", ["allowed", "denied", "failed"].into_iter(), &query.decision))
            (Field::new("since", "since", "Since (2026-01-31 or 2d)", "text").optional(&query.since).draw())
            (Field::new("until", "until", "Until", "text").optional(&query.until).draw())
            p class="field" { button { "Search" } }
        }
        @if let Some(problem) = &view.problem { p class="told bad" role="alert" { (words(problem, 400)) } }
        p class="quiet" { "The trail has " (view.size) " entries." @if !rows.is_empty() { " Newest first; the newest " (rows.len()) " that fit." } }
        @if rows.is_empty() && view.problem.is_none() { p { "No entry fits." } }
        @if !rows.is_empty() { (table("Entries", &["entry", "when", "who", "what", "outcome", "about"], &rows)) }
        section aria-labelledby="activity" {
            h2 id="activity" { "Activity" }
            (Calendar { id: "calendar", title: "Entries by day", days: view.days.clone() }.draw())
        }
    };
    view.frame.page(Place::Trail, "Trail", content)
}

fn row(entry: &EntryLine) -> Vec<Markup> {
    vec![
        html! { a href=(paths::trail_entry(entry.index)) { (entry.index) } },
        moment(entry.time),
        html! { a href=(paths::query(paths::TRAIL, &[("who", &entry.actor)])) { (name(&entry.actor)) } },
        html! { (words(&entry.action, 40)) },
        outcome(&entry.word),
        name(&entry.subject),
    ]
}

fn outcome(word: &str) -> Markup {
    let tone = match word {
        "done" => Tone::Good,
        "denied" => Tone::Bad,
        "failed" | "abandoned" | "unknown" => Tone::Warn,
        _ => Tone::Plain,
    };
    badge(tone, word)
}

fn choice<'a>(id: &str, label: &str, values: impl Iterator<Item = &'a str>, chosen: &str) -> Markup {
    html! {
        p class="field" {
            label for=(id) { (label) }
            select id=(id) name=(id) {
                option value="" { "any" }
                @for value in values { option selected[value == chosen] { (value) } }
            }
        }
    }
}

/// A commitment of an entry, opened where the vault holds the opening.
#[derive(Debug, Clone)]
pub struct Commitment {
    /// Its name.
    pub name: String,
    /// What stands in the leaf.
    pub digest: Digest,
    /// Salt and value, as JSON.
    pub opening: Option<(String, String)>,
}

/// That an entry is in the tree of a checkpoint (RFC 6962, section 2.1.1).
#[derive(Debug, Clone)]
pub struct Proof {
    /// Entries under the checkpoint.
    pub size: u64,
    /// Root of the tree.
    pub root: Digest,
    /// Hashes from the leaf to the root.
    pub path: Vec<Digest>,
    /// The checkpoint as a signed note.
    pub checkpoint: String,
}

/// One entry.
#[derive(Debug, Clone)]
pub struct EntryView {
    /// Around it.
    pub frame: Frame,
    /// What lists say of it.
    pub line: EntryLine,
    /// Index of the intent that it closes.
    pub of: Option<u64>,
    /// SHA-256 of the leaf's bytes.
    pub leaf: Digest,
    /// Root of the deciding rows after it.
    pub state: Digest,
    /// Rows that it changed, by table.
    pub changes: Vec<String>,
    /// What it commits to.
    pub commitments: Vec<Commitment>,
    /// The proof that it is there; absent where no checkpoint covers it yet.
    pub proof: Option<Proof>,
}

/// The page of one entry.
pub fn entry(view: &EntryView) -> Markup {
    let line = &view.line;
    let content = html! {
        (facts(&[
            ("When", moment(line.time)),
            ("Who", html! { a href=(paths::query(paths::TRAIL, &[("who", &line.actor)])) { (name(&line.actor)) } }),
            ("What", html! { (words(&line.action, 40)) }),
            ("Outcome", outcome(&line.word)),
            ("About", name(&line.subject)),
            ("Closes", html! { @match view.of { Some(of) => a href=(paths::trail_entry(of)) { "entry " (of) }, None => "no other entry" } }),
            ("Leaf (SHA-256)", html! { code { (view.leaf) } }),
            ("State after it", html! { code { (view.state) } }),
            ("Rows changed", html! { @if view.changes.is_empty() { "none" } @else { (words(&view.changes.join(", "), 200)) } }),
        ]))
        (commitments(view)) (proof(view))
        nav aria-label="Neighbours" { p {
            @if let Some(before) = line.index.checked_sub(1) { a href=(paths::trail_entry(before)) rel="prev" { "entry " (before) } " · " }
            a href=(paths::trail_entry(line.index.saturating_add(1))) rel="next" { "entry " (line.index.saturating_add(1)) }
        } }
    };
    view.frame.page(Place::Trail, &format!("Entry {}", line.index), content)
}

fn commitments(view: &EntryView) -> Markup {
    html! {
        section aria-labelledby="commits" {
            h2 id="commits" { "What it commits to" }
            p { "The leaf holds only the digests. Each is SHA-256 over a random salt and the value below, so the value can be erased while the proof stays valid." }
            @if view.commitments.is_empty() { p class="quiet" { "Nothing beyond what stands above." } }
            @for commitment in view.commitments.iter().take(COMMITMENTS_MAX) {
                details open[commitment.name == "request"] {
                    summary { code { (words(&commitment.name, 60)) } " " (digest(&commitment.digest)) }
                    @match &commitment.opening {
                        Some((salt, value)) => {
                            (verbatim(&format!("Value of {}", words(&commitment.name, 60)), &value.lines().map(str::to_owned).collect::<Vec<_>>()))
                            p class="quiet" { "salt " code { (words(salt, 80)) } }
                        }
                        None => p class="quiet" { "Not open here, or erased." },
                    }
                }
            }
        }
    }
}

/// Commitments shown of one entry; an entry has at most some forty.
const COMMITMENTS_MAX: usize = 64;

fn proof(view: &EntryView) -> Markup {
    html! {
        section aria-labelledby="proof" {
            h2 id="proof" { "Proof that it is in the trail" }
            @match &view.proof {
                None => p { "No signed checkpoint covers it yet." },
                Some(proof) => {
                    p { "Hash the leaf (RFC 6962: SHA-256 over a zero byte and the leaf), then join it with these " (proof.path.len())
                        " hashes from the bottom up: the result is the root that the checkpoint signs." }
                    (facts(&[("Entries under the checkpoint", html! { (proof.size) }), ("Root", html! { code { (proof.root) } })]))
                    (verbatim("Inclusion proof", &proof.path.iter().map(Digest::to_string).collect::<Vec<_>>()))
                    details {
                        summary { "The signed checkpoint" }
                        pre tabindex="0" role="group" aria-label="Signed checkpoint" {
                            @for line in proof.checkpoint.lines() { (words(line, TEXT_CHARS_MAX)) "\n" }
                        }
                    }
                }
            }
            p { "Whoever keeps a checkpoint elsewhere can check that the trail only grew:" }
            (command("Verify the whole trail", "ringfence trail verify"))
            (command("Copy the trail for any log client", "ringfence trail mirror ./trail"))
        }
    }
}

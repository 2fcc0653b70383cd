//! Artifacts: the list with its search, and the line that stands for a version everywhere.

use maud::{Markup, html};
use ringfence_engine::{NamespaceState, schema::Timestamp};

use super::{
    frame::{Frame, Place},
    parts::{Field, ROWS_MAX, Tone, badge, moment, passage, size, state, table, words},
    paths,
};

/// A version of an artifact, in one line.
#[derive(Debug, Clone)]
pub struct ArtifactLine {
    /// `dataset`, `model`, `checkpoint` or `code`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// How far it has come.
    pub state: NamespaceState,
    /// How many files.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// When it was written.
    pub written: Timestamp,
    /// Labels, such as `released`.
    pub labels: Vec<String>,
    /// Kinds of signed evidence on it.
    pub evidence: Vec<String>,
    /// Why it was refused for good.
    pub refused: Option<String>,
    /// Why it should not be used any more.
    pub revoked: Option<String>,
    /// That its keys were destroyed.
    pub destroyed: Option<GoneLine>,
    /// Findings that people waived.
    pub waived: u64,
}

/// That something was destroyed.
#[derive(Debug, Clone)]
pub struct GoneLine {
    /// What people call whoever did it, where that is known; their id otherwise.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// The trail's entry.
    pub entry: u64,
}

impl ArtifactLine {
    /// `kind/name@version`.
    pub fn reference(&self) -> String {
        format!("{}/{}@{}", self.kind, self.name, self.version)
    }

    /// The reference as a link to its page.
    pub fn link(&self) -> Markup {
        html! { a href=(paths::artifact(&self.kind, &self.name, self.version)) { (super::parts::name(&self.reference())) } }
    }

    /// State, labels, evidence and what stands against it, as badges.
    pub fn badges(&self) -> Markup {
        html! {
            @if self.destroyed.is_some() { (badge(Tone::Bad, "destroyed")) } @else { (state(self.state)) }
            @if self.revoked.is_some() { " " (badge(Tone::Bad, "revoked")) }
            @if self.refused.is_some() { " " (badge(Tone::Bad, "refused")) }
            @for kind in self.evidence.iter().take(BADGES_MAX) { " " (badge(Tone::Plain, kind)) }
            @for label in self.labels.iter().take(BADGES_MAX) { " " (badge(Tone::Good, label)) }
            @if self.waived > 0 { " " (badge(Tone::Warn, &format!("{} waived", self.waived))) }
        }
    }

    /// Why it is held.
    pub fn reason(&self) -> Markup {
        match (&self.revoked, &self.refused) {
            (Some(why), _) => html! { (badge(Tone::Bad, "revoked")) " " (passage(why)) },
            (None, Some(why)) => html! { (badge(Tone::Bad, "refused")) " " (passage(why)) },
            (None, None) => html! { "waits in quarantine for a decision" },
        }
    }
}

const BADGES_MAX: usize = 8;

/// What somebody looks for.
#[derive(Debug, Clone, Default)]
pub struct ArtifactQuery {
    /// Part of the name.
    pub text: String,
    /// Only this kind; empty: all.
    pub kind: String,
    /// Only this state; empty: all.
    pub state: String,
}

/// How many versions have a value of a facet.
#[derive(Debug, Clone)]
pub struct Facet {
    /// The value.
    pub value: String,
    /// How many.
    pub count: usize,
}

/// The list.
#[derive(Debug, Clone)]
pub struct ArtifactsView {
    /// Around it.
    pub frame: Frame,
    /// What was asked for.
    pub query: ArtifactQuery,
    /// What fits, newest first, at most [`ROWS_MAX`] of it.
    pub lines: Vec<ArtifactLine>,
    /// How many fit.
    pub found: usize,
    /// Kinds among all versions.
    pub kinds: Vec<Facet>,
    /// States among all versions.
    pub states: Vec<Facet>,
}

/// The list of artifacts.
pub fn artifacts(view: &ArtifactsView) -> Markup {
    let query = &view.query;
    let rows: Vec<Vec<Markup>> = view
        .lines
        .iter()
        .map(|line| {
            vec![
                line.link(),
                line.badges(),
                html! { (line.files) },
                html! { (size(line.bytes)) },
                html! { (moment(line.written)) },
            ]
        })
        .collect();
    let content = html! {
        form method="get" action=(paths::ARTIFACTS) class="row" role="search" aria-label="Artifacts" {
            (Field::new("q", "q", "Name contains", "search").optional(&query.text).draw())
            (choice("kind", "Kind", &view.kinds, &query.kind))
            (choice("state", "State", &view.states, &query.state))
            p class="field" { button { "Search" } }
        }
        p class="quiet" { (view.found) " versions fit." }
        @if rows.is_empty() { p { "Nothing fits. Data and models come in with " code { "ringfence scan" } " and " code { "ringfence admit" } "." } }
        @else { (table("Artifacts", &["version", "state and evidence", "files", "size", "written"], &rows)) }
        @if view.found > rows.len() { p { "Only the newest " (rows.len().min(ROWS_MAX)) " are listed; search for the others." } }
    };
    view.frame.page(Place::Artifacts, "Artifacts", content)
}

fn choice(id: &str, label: &str, facets: &[Facet], chosen: &str) -> Markup {
    html! {
        p class="field" {
            label for=(id) { (label) }
            select id=(id) name=(id) {
                option value="" { "all" }
                @for facet in facets.iter().take(20) {
                    option value=(words(&facet.value, 40)) selected[facet.value == chosen] { (words(&facet.value, 40)) " (" (facet.count) ")" }
                }
            }
        }
    }
}

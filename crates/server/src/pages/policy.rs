//! The policy in force in plain words, and what a proposed one would change: who gains and loses what.

use maud::{Markup, html};
use ringfence_engine::{
    access::{
        PolicyDiff,
        diff::{Change, RightChange},
    },
    schema::Digest,
};

use super::{
    frame::{Frame, Place},
    parts::{ROWS_MAX, Tone, badge, is_plain, passage, reason, table, verbatim, words},
    paths,
};

/// A proposed policy, and what it would change.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The document as it was typed.
    pub document: String,
    /// What changes, or why it cannot be read.
    pub outcome: Result<PolicyDiff, String>,
}

/// The policy.
#[derive(Debug, Clone)]
pub struct PolicyView {
    /// Around it.
    pub frame: Frame,
    /// Digest of the whole set.
    pub digest: Digest,
    /// Each policy: its id, and what it says.
    pub policies: Vec<(String, String)>,
    /// Each setting that is not the default: its name and value.
    pub settings: Vec<(String, String)>,
    /// The vault's own document.
    pub document: String,
    /// A proposal under discussion.
    pub proposal: Option<Proposal>,
    /// Whether the viewer may propose.
    pub may_propose: bool,
}

/// The policy page.
pub fn policy(view: &PolicyView) -> Markup {
    let rows: Vec<Vec<Markup>> =
        view.policies.iter().map(|(id, says)| vec![html! { code { (words(id, 80)) } }, passage(says)]).collect();
    let settings: Vec<Vec<Markup>> = view
        .settings
        .iter()
        .map(|(name, value)| vec![html! { code { (words(name, 80)) } }, html! { code { (words(value, 300)) } }])
        .collect();
    let content = html! {
        @if let Some(proposal) = &view.proposal { (proposed(view, proposal)) }
        @if view.may_propose { (write(view)) }
        section aria-labelledby="in-force" {
            h2 id="in-force" { "In force" }
            p { "A policy that forbids wins over every one that permits, and the built-in ones cannot be removed. Digest " code { (view.digest) } "." }
            @if !settings.is_empty() { (table("Settings that differ from the default", &["setting", "value"], &settings)) }
            (table("Policies in plain words", &["policy", "says"], &rows))
        }
    };
    view.frame.page(Place::Security, "Policy", content)
}

fn write(view: &PolicyView) -> Markup {
    let text = view.proposal.as_ref().map_or(&view.document, |proposal| &proposal.document);
    html! {
        section aria-labelledby="propose" {
            h2 id="propose" { "Propose a change" }
            details open[view.proposal.is_some()] {
                summary { "Edit the vault's document" }
                @if is_plain(text) { form method="post" action=(paths::POLICY_COMPARE) {
                    (view.frame.token())
                    p class="field" {
                        label for="document" { "Policy document (TOML)" }
                        textarea class="code" id="document" name="document" rows="14" spellcheck="false" maxlength="60000" { "\n" (text) }
                    }
                    p { button { "Show what it would change" } }
                    p class="quiet" { "Nothing changes yet." }
                } } @else {
                    p class="told warn" { "It has characters that cannot be seen, shown here as codes. Take them out before it is changed here." }
                    (verbatim("Policy document", &text.lines().map(str::to_owned).collect::<Vec<_>>()))
                }
            }
        }
    }
}

fn proposed(view: &PolicyView, proposal: &Proposal) -> Markup {
    html! {
        section aria-labelledby="proposal" {
            h2 id="proposal" { "What the proposal would change" }
            @match &proposal.outcome {
                Err(problem) => p class="told bad" role="alert" { "It cannot be read: " (words(problem, 600)) },
                Ok(diff) => {
                    (changed(diff))
                    @if view.may_propose && !diff.is_empty() && is_plain(&proposal.document) {
                        form class="item danger" method="post" action=(paths::POLICY_PROPOSE) data-confirm="Ask for this policy to take effect?" {
                            (view.frame.token())
                            textarea name="document" hidden aria-label="Policy document" { "\n" (proposal.document) }
                            (reason("policy-reason"))
                            p { button { "Ask for this change" } }
                            p class="quiet" { "It takes effect once a second person, whom you did not invite, has approved exactly this document." }
                        }
                    }
                }
            }
        }
    }
}

fn changed(diff: &PolicyDiff) -> Markup {
    let (gains, losses): (Vec<&RightChange>, Vec<&RightChange>) = diff.rights.iter().partition(|right| right.gains);
    let value = |value: &Option<serde_json::Value>| {
        value.as_ref().map_or_else(|| "the default".to_owned(), ToString::to_string)
    };
    let settings: Vec<Vec<Markup>> = diff
        .settings
        .iter()
        .map(|change| {
            vec![
                html! { code { (words(&change.name, 80)) } },
                html! { (words(&value(&change.old), 200)) },
                html! { (words(&value(&change.new), 200)) },
            ]
        })
        .collect();
    let policies: Vec<Vec<Markup>> = diff
        .policies
        .iter()
        .map(|change| {
            let (tone, word) = match change.change {
                Change::Added => (Tone::Plain, "new"),
                Change::Changed => (Tone::Warn, "changed"),
                Change::Removed => (Tone::Warn, "gone"),
            };
            vec![html! { code { (words(&change.id, 80)) } }, badge(tone, word), passage(&change.says)]
        })
        .collect();
    html! {
        @if diff.is_empty() { p { "Nothing." } }
        (rights("Who can do more", "gains", &gains)) (rights("Who can do less", "loses", &losses))
        @if !diff.is_empty() && diff.rights.is_empty() { p { "Nobody gains or loses a right in the situations that are tried. A condition on a figure can still change in between: read the settings and policies below." } }
        @if !settings.is_empty() { h3 { "Settings" } (table("Settings that change", &["setting", "now", "then"], &settings)) }
        @if !policies.is_empty() { h3 { "Policies" } (table("Policies that change", &["policy", "what happens", "says"], &policies)) }
        @if diff.incomplete { p class="told warn" { "Policies name more people or artifacts than were asked about one by one: this list is not complete." } }
    }
}

fn rights(title: &str, class: &str, all: &[&RightChange]) -> Markup {
    html! {
        @if !all.is_empty() {
            h3 { (title) }
            ul class=(class) {
                @for right in all.iter().take(ROWS_MAX) { li { (sentence(right)) } }
            }
            @if all.len() > ROWS_MAX { p class="quiet" { "… and " (all.len() - ROWS_MAX) " more." } }
        }
    }
}

fn sentence(right: &RightChange) -> Markup {
    let who: Vec<String> = right.who.iter().map(|who| words(&who.replace('_', " "), 100)).collect();
    html! {
        b { (who.join(", ")) } @if right.gains { " can now " } @else { " can no longer " } b { (right.action.name()) } " "
        (words(&right.resources, 300))
        @if !right.when.is_empty() { " when " (right.when.join(", or ")) }
        @if !right.because.is_empty() {
            span class="quiet" { @if right.gains { " (until now: " } @else { " (" } (words(&right.because.join("; "), 500)) ")" }
        }
    }
}

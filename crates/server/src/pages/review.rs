//! The review queue: what is held, with its evidence; candidates; requests that need a second person.

use maud::{Markup, html};
use ringfence_engine::schema::{Digest, Finding, Timestamp, report::ScreenReport};

use super::{
    artifacts::ArtifactLine,
    findings::{findings, screened},
    frame::{Frame, Place},
    parts::{
        Tone, age, badge, command, digest, facts, hidden, moment, name, passage, reason, size, table, verbatim, words,
    },
    paths,
};

/// Something that waits for a decision.
#[derive(Debug, Clone)]
pub struct HeldItem {
    /// The version.
    pub line: ArtifactLine,
    /// Its tree; a decision is about these bytes.
    pub tree: Digest,
    /// Whether a control has looked into it.
    pub looked_into: bool,
    /// What scanning found.
    pub findings: Vec<Finding>,
    /// What screening found.
    pub screen: Option<ScreenReport>,
}

/// A request that needs a second person.
#[derive(Debug, Clone)]
pub struct PendingRequest {
    /// Its id.
    pub id: String,
    /// What is to be done, in a sentence.
    pub title: String,
    /// Exactly what will be done, line by line.
    pub says: Vec<String>,
    /// SHA-256 of the canonical request: what an approval signs.
    pub digest: Digest,
    /// Who asks.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when it can be approved.
    pub until: Timestamp,
    /// Who approved it so far.
    pub approvals: Vec<String>,
    /// How many approvals it needs.
    pub needed: usize,
    /// Why it is asked for, in the words of whoever asks.
    pub reason: Option<String>,
    /// Why the viewer cannot approve it; `None`: they can.
    pub barred: Option<String>,
    /// What the viewer can do with it, where they asked for it.
    pub own: Option<OwnRequest>,
}

/// What whoever asked can do with their request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnRequest {
    /// Take it back.
    Waits,
    /// Carry it out.
    Ready,
    /// Carry it out, on a command line.
    ByCommand,
}

/// The queue.
#[derive(Debug, Clone)]
pub struct ReviewView {
    /// Around it.
    pub frame: Frame,
    /// What is held.
    pub held: Vec<HeldItem>,
    /// What runs made and nobody released yet.
    pub candidates: Vec<ArtifactLine>,
    /// Requests, oldest first.
    pub requests: Vec<PendingRequest>,
}

/// Items shown in full; the rest is counted.
pub const ITEMS_MAX: usize = 15;

/// The review queue.
pub fn review(view: &ReviewView) -> Markup {
    let content = html! {
        section aria-labelledby="requests" {
            h2 id="requests" { "Requests for a second person" }
            @if view.requests.is_empty() { p class="quiet" { "None." } }
            @for (place, request) in view.requests.iter().take(ITEMS_MAX).enumerate() { (pending(view, place, request)) }
            @if view.requests.len() > ITEMS_MAX { p { "… and " (view.requests.len() - ITEMS_MAX) " more." } }
        }
        section aria-labelledby="held" {
            h2 id="held" { "Held" }
            @if view.held.is_empty() { p class="quiet" { "Nothing is held." } }
            @for (place, item) in view.held.iter().take(ITEMS_MAX).enumerate() { (held(view, place, item)) }
            @if view.held.len() > ITEMS_MAX { p { "… and " (view.held.len() - ITEMS_MAX) " more." } }
        }
        section aria-labelledby="candidates" {
            h2 id="candidates" { "Candidates" }
            @if view.candidates.is_empty() { p class="quiet" { "No run made something that waits for tests or a release." } }
            @else { (candidates(view)) }
        }
    };
    view.frame.page(Place::Review, "Review", content)
}

fn pending(view: &ReviewView, place: usize, request: &PendingRequest) -> Markup {
    let approvals = format!("{} of {}", request.approvals.len(), request.needed);
    html! {
        article class="item danger" aria-labelledby=(format!("request-{place}")) {
            h3 id=(format!("request-{place}")) { (name(&request.title)) }
            (facts(&[
                ("Asked by", name(&request.by)),
                ("Since", moment(request.since)),
                ("Ends", html! { (age(request.until, view.frame.now)) }),
                ("Approvals", html! { (approvals) @if !request.approvals.is_empty() { ": " (words(&request.approvals.join(", "), 200)) } }),
            ]))
            @if let Some(why) = &request.reason { div class="para" { b { "Because: " } (passage(why)) } }
            p { b { "Exactly this will be done:" } }
            (verbatim("What will be done", &request.says))
            p class="quiet" { "Digest that an approval signs: " code { (request.digest) } }
            @match &request.barred {
                Some(why) => { p { (badge(Tone::Plain, "not by you")) " " (words(why, 300)) } (own(view, request)) },
                None => div class="buttons" {
                    form data-passkey="get" data-begin=(paths::REQUEST_APPROVE_BEGIN) data-finish=(paths::REQUEST_APPROVE_FINISH) method="post" hidden {
                        (view.frame.token()) (hidden("request", &request.id)) (hidden("digest", &request.digest.to_string())) (hidden("next", paths::REVIEW))
                        p { "Your passkey signs the digest above: your approval can be checked later without this server." }
                        p { button aria-label=(format!("Approve with a passkey: {}", words(&request.title, 80))) { "Approve with a passkey" } }
                    }
                    form method="post" action=(paths::REQUEST_REFUSE) {
                        (view.frame.token()) (hidden("request", &request.id))
                        (reason(&format!("request-reason-{place}")))
                        p { button class="danger" aria-label=(format!("Refuse: {}", words(&request.title, 80))) { "Refuse" } }
                    }
                },
            }
        }
    }
}

/// What whoever asked can do with it.
fn own(view: &ReviewView, request: &PendingRequest) -> Markup {
    let Some(stands) = request.own else { return html! {} };
    let title = words(&request.title, 80);
    html! {
        @if stands == OwnRequest::ByCommand {
            p { "It is approved. What is written out needs a folder, so a command line carries it out:" }
            (command("Carry it out", &format!("ringfence request carry-out {} --out DIR", request.id)))
        }
        div class="buttons" {
            @if stands == OwnRequest::Ready {
                form method="post" action=(paths::REQUEST_CARRY_OUT) data-confirm=(format!("Do it now: {title}?")) {
                    (view.frame.token()) (hidden("request", &request.id))
                    p { button class="danger" aria-label=(format!("Carry it out: {title}")) { "Carry it out" } }
                    p class="quiet" { "It is good for one attempt. It needs a second factor of the last ten minutes." }
                }
            }
            form method="post" action=(paths::REQUEST_WITHDRAW) {
                (view.frame.token()) (hidden("request", &request.id))
                p { button class="plain" aria-label=(format!("Take it back: {title}")) { "Take it back" } }
            }
        }
    }
}

fn held(view: &ReviewView, place: usize, item: &HeldItem) -> Markup {
    let reference = item.line.reference();
    let decided = item.line.refused.is_some();
    html! {
        article class="item" aria-labelledby=(format!("held-{place}")) {
            h3 id=(format!("held-{place}")) { (item.line.link()) }
            p { (item.line.badges()) " " (size(item.line.bytes)) " in " (item.line.files) " files, since " (moment(item.line.written)) ", tree " (digest(&item.tree)) }
            div class="para" { (item.line.reason()) }
            @if !item.looked_into { p class="quiet" { "Nobody has looked into it yet: it is on its way in, or was cut off." } }
            (findings(item.findings.iter()))
            @if let Some(report) = &item.screen { (screened(report)) }
            @if !decided {
                div class="buttons" {
                    @if !item.looked_into {
                        form method="post" action=(paths::REVIEW_RESUME) {
                            (view.frame.token()) (hidden("reference", &reference)) (hidden("tree", &item.tree.to_string()))
                            p { button aria-label=(format!("Look into it: {}", words(&reference, 80))) { "Look into it" } }
                            p class="quiet" { "It is let in if the gate finds nothing against it." }
                        }
                    }
                    form method="post" action=(paths::REVIEW_APPROVE) data-confirm=(format!("Let {} in despite what was found?", words(&reference, 120))) {
                        (view.frame.token()) (hidden("reference", &reference)) (hidden("tree", &item.tree.to_string()))
                        (reason(&format!("approve-reason-{place}")))
                        p { button aria-label=(format!("Let it in: {}", words(&reference, 80))) { "Let it in" } }
                        p class="quiet" { "It can be trained on from then on. The findings stay on record as waived." }
                    }
                    form method="post" action=(paths::REVIEW_REFUSE) data-confirm=(format!("Refuse {} for good? Its bytes are deleted.", words(&reference, 120))) {
                        (view.frame.token()) (hidden("reference", &reference)) (hidden("tree", &item.tree.to_string()))
                        (reason(&format!("refuse-reason-{place}")))
                        p { button class="danger" aria-label=(format!("Refuse for good: {}", words(&reference, 80))) { "Refuse for good" } }
                        p class="quiet" { "Its bytes are deleted at the next start; the record stays." }
                    }
                }
            }
        }
    }
}

fn candidates(view: &ReviewView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .candidates
        .iter()
        .map(|line| vec![line.link(), line.badges(), html! { (size(line.bytes)) }, html! { (moment(line.written)) }])
        .collect();
    table("Candidates", &["version", "state and evidence", "size", "written"], &rows)
}

//! Break-glass: who does without the approval of others, until when, and what another person found afterwards.

use maud::{Markup, html};
use ringfence_engine::schema::Timestamp;

use super::{
    frame::{Frame, Place},
    parts::{Tone, age, badge, facts, hidden, moment, name, passage, reason, words},
    paths,
};

/// One breaking of the glass.
#[derive(Debug, Clone)]
pub struct GlassLine {
    /// Its id.
    pub id: String,
    /// What people call whoever broke it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends, or ended.
    pub until: Timestamp,
    /// It holds now.
    pub open: bool,
    /// Who looked at it afterwards, when, and what they found.
    pub review: Option<(String, Timestamp, String)>,
    /// The viewer broke it.
    pub own: bool,
}

/// The page.
#[derive(Debug, Clone)]
pub struct GlassPage {
    /// Around it.
    pub frame: Frame,
    /// Every breaking, newest first.
    pub lines: Vec<GlassLine>,
    /// Whether the viewer's roles let them break and end it; the engine decides when they do.
    pub may_break: bool,
}

/// Breakings that are shown; the rest is counted.
pub const LINES_MAX: usize = 30;

/// Who did without others, and the way to do so.
pub fn glass(view: &GlassPage) -> Markup {
    let broken = view.lines.iter().any(|line| line.own && line.open);
    let content = html! {
        p { "For an hour, one person takes out or brings back what otherwise needs the approval of two others. Everybody is told at once, it ends by itself, and another person looks at what was done. It opens neither the policy nor the destruction of keys." }
        @if view.may_break && !broken {
            section aria-labelledby="break" {
                h2 id="break" { "Break the glass" }
                details {
                    summary { "There is an emergency, and nobody can be asked" }
                    form method="post" action=(paths::GLASS_BREAK) data-confirm="Do without the approval of others for an hour? Everybody is told." {
                        (view.frame.token()) (reason("glass-reason"))
                        p { button class="danger" { "Break the glass" } }
                        p class="quiet" { "A critical alert goes to every sink with your name and this reason. It needs a second factor of the last ten minutes." }
                    }
                }
            }
        }
        section aria-labelledby="glasses" {
            h2 id="glasses" { "What was done so far" }
            @if view.lines.is_empty() { p class="quiet" { "Nobody has ever done without others here." } }
            @for (place, line) in view.lines.iter().take(LINES_MAX).enumerate() { (one(view, place, line)) }
            @if view.lines.len() > LINES_MAX { p { "… and " (view.lines.len() - LINES_MAX) " more." } }
        }
    };
    view.frame.page(Place::Glass, "Break-glass", content)
}

fn one(view: &GlassPage, place: usize, line: &GlassLine) -> Markup {
    let standing = match (line.open, &line.review) {
        (true, _) => badge(Tone::Bad, "broken now"),
        (false, None) => badge(Tone::Warn, "waits for a review"),
        (false, Some(_)) => badge(Tone::Plain, "reviewed"),
    };
    html! {
        article class=(if line.open { "item danger" } else { "item" }) aria-labelledby=(format!("glass-{place}")) {
            h3 id=(format!("glass-{place}")) { (name(&line.by)) }
            p { (standing) }
            (facts(&[
                ("Why", passage(&line.reason)),
                ("Since", moment(line.since)),
                (if line.open { "Ends" } else { "Ended" }, html! { (moment(line.until)) " " span class="quiet" { (age(line.until, view.frame.now)) } }),
            ]))
            @if let Some((by, at, found)) = &line.review {
                div class="told" { b { (name(by)) " looked at it " (age(*at, view.frame.now)) ": " } (passage(found)) }
            }
            p { a href=(paths::query(paths::TRAIL, &[("artifact", &line.id)])) { "Its entries in the trail" span class="hidden" { ": " (words(&line.id, 40)) } } }
            @if line.open && (line.own || view.may_break) {
                form method="post" action=(paths::GLASS_END) {
                    (view.frame.token()) (hidden("glass", &line.id))
                    p { button aria-label=(format!("End it now: {}", words(&line.by, 60))) { "End it now" } }
                }
            }
            @if !line.open && line.review.is_none() && view.may_break && !line.own {
                form method="post" action=(paths::GLASS_REVIEW) {
                    (view.frame.token()) (hidden("glass", &line.id)) (reason(&format!("glass-found-{place}")))
                    p { button aria-label=(format!("Say what was found: {}", words(&line.by, 60))) { "Say what was found" } }
                    p class="quiet" { "Look at the trail of that hour first. What you write stays there for good." }
                }
            }
        }
    }
}

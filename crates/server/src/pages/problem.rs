//! What went wrong, for people: the same problem that programs get as a document.

use maud::{Markup, html};

use super::{
    frame::{Frame, Place},
    parts::{facts, name, words},
    paths,
};
use crate::problem::Kind;

/// A problem.
#[derive(Debug, Clone)]
pub struct ProblemView {
    /// Around it.
    pub frame: Frame,
    /// What kind.
    pub kind: Kind,
    /// A sentence about this very case.
    pub detail: Option<String>,
    /// Why something was denied, one policy a line.
    pub reasons: Vec<String>,
    /// Names the case in the trail or the log.
    pub instance: Option<String>,
    /// When to try again, in seconds.
    pub retry_after_s: Option<u64>,
}

/// The page of a problem.
pub fn problem(view: &ProblemView) -> Markup {
    let title = view.kind.title();
    let mut letters = title.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().collect::<String>()).unwrap_or_default();
    let content = html! {
        @if let Some(detail) = &view.detail { p { (words(detail, 500)) } }
        @if !view.reasons.is_empty() {
            h2 { "Why" }
            ul { @for reason in view.reasons.iter().take(REASONS_MAX) { li { (words(reason, 400)) } } }
        }
        @if let Some(seconds) = view.retry_after_s { p { "Try again in " (seconds) " s." } }
        p { (remedy(view.kind)) }
        p { a href=(paths::OVERVIEW) { "To the overview" }
            @if view.kind == Kind::SignIn { " · " a href=(paths::SIGN_IN) { "Sign in" } }
            @if view.kind == Kind::StepUp { " · " a href=(paths::STEP_UP) { "Confirm that it is you" } } }
        (facts(&[
            ("Status", html! { (view.kind.status().as_u16()) }),
            ("Kind", html! { code { (view.kind.name()) } }),
            ("Case", html! { @match &view.instance { Some(instance) => (name(instance)), None => "not recorded" } }),
        ]))
    };
    view.frame.page(Place::Elsewhere, &format!("{first}{}", letters.as_str()), content)
}

const REASONS_MAX: usize = 20;

/// What to do about it.
fn remedy(kind: Kind) -> &'static str {
    match kind {
        Kind::SignIn => "Your session has ended, or there was none.",
        Kind::StepUp => "Dangerous acts need a second factor that was proven within the last ten minutes.",
        Kind::Denied => "Your roles do not allow this. An owner can change them; the attempt is recorded.",
        Kind::CrossSite => {
            "The form was sent from another page, or your session changed meanwhile. Go back, load the page again and send it from there."
        }
        Kind::NotFound => "The address is wrong, or you may not know whether there is something here.",
        Kind::Conflict | Kind::Precondition => {
            "Somebody else was quicker. Load the page again and look at how it stands now."
        }
        Kind::TooMany => "Requests are limited for each address and each person.",
        Kind::Unavailable => {
            "The server refuses work that it cannot record. An operator finds out more with `ringfence doctor`."
        }
        Kind::Internal => "This is our mistake. The operator's log has the case.",
        Kind::BodyTooLarge | Kind::AddressTooLong | Kind::HeadersTooLarge => {
            "What was sent is over a limit. Large files go in by the command line."
        }
        _ => "Go back and try it in another way.",
    }
}

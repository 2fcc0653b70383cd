//! The way in: sign-in, the step up before dangerous acts, and letting a command line in.

use std::net::IpAddr;

use maud::{Markup, html};
use ringfence_engine::schema::Timestamp;

use super::{
    frame::{Frame, Place},
    parts::{Field, age, facts, hidden, is_plain, moment, words},
    paths,
};

/// The sign-in page.
#[derive(Debug, Clone)]
pub struct SignInView {
    /// Around it.
    pub frame: Frame,
    /// Where to go afterwards; only paths of this server are taken.
    pub next: String,
    /// That an attempt did not succeed; the same words for every reason.
    pub failed: bool,
    /// How long to wait before the next attempt.
    pub wait_s: Option<u64>,
    /// Whether the vault's policy lets somebody in by password and code.
    pub passwords: bool,
}

/// Sign-in: a passkey, or a password with a code.
pub fn sign_in(view: &SignInView) -> Markup {
    let next = local(&view.next);
    let content = html! {
        div class="narrow" {
            @if let Some(seconds) = view.wait_s {
                p class="told bad" role="alert" { "Too many attempts. Try again in " (seconds) " s." }
            } @else if view.failed {
                p class="told bad" role="alert" { "That was not right. Name, password and code have to fit together." }
            }
            section aria-labelledby="with-passkey" {
                h2 id="with-passkey" { "With a passkey" }
                form data-passkey="get" data-begin=(paths::SIGN_IN_PASSKEY_BEGIN) data-finish=(paths::SIGN_IN_PASSKEY_FINISH) method="post" hidden {
                    (hidden("next", next))
                    p { button { "Sign in with a passkey" } }
                }
                noscript { p { "Passkeys need this site's script." } }
            }
            @if view.passwords {
                section aria-labelledby="with-password" {
                    h2 id="with-password" { "With a password and a code" }
                    form method="post" action=(paths::SIGN_IN) {
                        (hidden("next", next))
                        (Field::new("name", "name", "Name", "text").fills("username").draw())
                        (Field::new("password", "password", "Password", "password").fills("current-password").draw())
                        (Field::new("code", "code", "Code from your app, or a recovery code", "text").fills("one-time-code").draw())
                        p { button { "Sign in" } }
                    }
                }
            }
            p class="quiet" { "Nobody gets in without a second factor. Every attempt is recorded. "
                a href=(paths::INVITATION) { "I have an invitation" } }
        }
    };
    view.frame.page(Place::Elsewhere, "Sign in", content)
}

/// The step up before a dangerous act.
#[derive(Debug, Clone)]
pub struct StepUpView {
    /// Around it.
    pub frame: Frame,
    /// Where to go afterwards.
    pub next: String,
    /// What is to be done, in words.
    pub act: String,
    /// Whether the person has a passkey.
    pub passkey: bool,
    /// Whether the person has an app with codes.
    pub code: bool,
    /// That a code was not right.
    pub failed: bool,
}

/// Step-up: a second factor again, because the last proof is too old.
pub fn step_up(view: &StepUpView) -> Markup {
    let next = local(&view.next);
    let content = html! {
        div class="narrow" {
            p { "To " b { (words(&view.act, 200)) } ", prove again that it is you. The proof holds for ten minutes." }
            @if view.failed { p class="told bad" role="alert" { "That code was not right." } }
            @if view.passkey {
                form data-passkey="get" data-begin=(paths::STEP_UP_PASSKEY_BEGIN) data-finish=(paths::STEP_UP_PASSKEY_FINISH) method="post" hidden {
                    (view.frame.token()) (hidden("next", next))
                    p { button { "Confirm with a passkey" } }
                }
                noscript { p { "Passkeys need this site's script." } }
            }
            @if view.code {
                form method="post" action=(paths::STEP_UP) {
                    (view.frame.token()) (hidden("next", next))
                    (Field::new("code", "code", "Code from your app", "text").fills("one-time-code").draw())
                    p { button { "Confirm with a code" } }
                }
            }
            @if !view.passkey && !view.code { p { "You have no factor that can confirm this. " a href=(paths::ACCOUNT) { "Add one to your account" } "." } }
            p { a href=(next) { "Leave it" } }
        }
    };
    view.frame.page(Place::Elsewhere, "Confirm that it is you", content)
}

/// Who asks to be let in by a code.
#[derive(Debug, Clone)]
pub struct DeviceAskView {
    /// What the client says it is.
    pub client: String,
    /// Where it calls from.
    pub address: Option<IpAddr>,
    /// When it asked.
    pub since: Timestamp,
    /// It is in already, and asks for a step up.
    pub step_up: bool,
}

/// A command line that wants in.
#[derive(Debug, Clone)]
pub struct DeviceView {
    /// Around it.
    pub frame: Frame,
    /// The code as it was typed.
    pub code: String,
    /// Who asked, once the code is known.
    pub ask: Option<DeviceAskView>,
    /// That the code is not known, or not any more.
    pub unknown: bool,
}

/// Device code: typed first, then confirmed with client and address in sight.
pub fn device(view: &DeviceView) -> Markup {
    let content = html! {
        div class="narrow" {
            @if view.unknown { p class="told bad" role="alert" { "No command line waits with this code. Codes end after a few minutes." } }
            @if let Some(ask) = &view.ask {
                p class="told warn" { "Confirm only if you started this yourself, just now, and the code is the one on your screen. "
                    @if ask.step_up { "It acts as you already; for ten minutes it will be able to do what is dangerous." }
                    @else { "Whoever waits with it will act as you." } }
                p class="userCode" { (words(&view.code, 20)) }
                (facts(&[
                    ("Client, by its own word", html! { bdi { (words(&ask.client, 120)) } }),
                    ("Address", html! { @match ask.address { Some(address) => code { (address) }, None => "unknown" } }),
                    ("Asked", html! { (moment(ask.since)) " (" (age(ask.since, view.frame.now)) ")" }),
                ]))
                form method="post" action=(paths::DEVICE_CONFIRM) data-confirm=(if ask.step_up { "Let this command line do what is dangerous?" } else { "Let this command line act as you?" }) {
                    (view.frame.token()) (hidden("code", &words(&view.code, 20)))
                    p { button { @if ask.step_up { "Step it up" } @else { "Let it in as me" } } }
                }
                p { a href=(paths::OVERVIEW) { "It was not me" } }
            } @else {
                p { "Type the code that the command line shows." }
                form method="get" action=(paths::DEVICE) {
                    (Field::new("code", "code", "Code", "text").draw())
                    p { button { "Go on" } }
                }
            }
        }
    };
    view.frame.page(Place::Elsewhere, "Let a command line in", content)
}

/// The path if it is one of this server, else the overview.
pub(crate) fn local(next: &str) -> &str {
    let second = next.as_bytes().get(1);
    let inside = next.starts_with('/') && !matches!(second, Some(b'/' | b'\\'));
    if inside && is_plain(next) && !next.contains(['\t', '\n', '\r']) { next } else { paths::OVERVIEW }
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn the_way_on_stays_here() {
        for (next, taken) in [
            ("/runs/r-1", "/runs/r-1"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("javascript:alert(1)", "/"),
            ("/\t/evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(local(next), taken, "{next}");
        }
    }
}

//! Coming in for the first time: an invitation, a name, a first factor, recovery codes.

use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};
use ringfence_engine::schema::Timestamp;

use super::{
    entry::local,
    frame::{Frame, Place},
    parts::{Field, age, command, facts, hidden, moment, name, words},
    paths,
};

/// An invitation, before or after its token is known.
#[derive(Debug, Clone)]
pub struct InvitationView {
    /// Around it.
    pub frame: Frame,
    /// That the token is not known, was used, or is too old.
    pub unknown: bool,
    /// What the token opened.
    pub opened: Option<OpenedInvitation>,
}

/// An invitation that is open.
#[derive(Debug, Clone)]
pub struct OpenedInvitation {
    /// The token; goes back with the forms.
    pub token: String,
    /// What people call the invited.
    pub display: String,
    /// The name to log in with; empty where it is chosen here.
    pub login_name: String,
    /// Whether the name is chosen here: the first administrator's.
    pub chooses_name: bool,
    /// The roles that wait.
    pub roles: Vec<String>,
    /// Until when it holds.
    pub until: Timestamp,
    /// For password and app: the offer, where the vault's policy allows passwords.
    pub app: Option<AppOffer>,
    /// What was wrong with what was typed.
    pub problem: Option<String>,
}

/// What an authenticator app needs.
#[derive(Debug, Clone)]
pub struct AppOffer {
    /// Names the offer.
    pub ceremony: String,
    /// The `otpauth:` address with the secret; shown once.
    pub uri: String,
}

/// Setup or invitation: the token first, then the first factor.
pub fn invitation(view: &InvitationView) -> Markup {
    let content = html! {
        div class="narrow" {
            @if view.unknown { p class="told bad" role="alert" { "This invitation is not known, was used already, or has ended. Ask for a new one." } }
            @match &view.opened {
                None => {
                    p { "Paste the token of your invitation. The first administrator finds it on the server's console." }
                    form method="post" action=(paths::INVITATION_OPEN) {
                        p class="field" {
                            label for="token" { "Token" }
                            input id="token" name="token" type="password" autocomplete="off" required maxlength="1000" data-from-fragment;
                        }
                        p { button { "Open the invitation" } }
                    }
                }
                Some(opened) => (first_factor(opened, view.frame.now)),
            }
        }
    };
    view.frame.page(Place::Elsewhere, "Your invitation", content)
}

fn first_factor(opened: &OpenedInvitation, now: Timestamp) -> Markup {
    let login_name = |id| {
        html! {
            @if opened.chooses_name { (Field::new(id, "name", "Name to sign in with (letters, digits and . _ - + @)", "text").fills("username").draw()) }
        }
    };
    html! {
        (facts(&[
            ("For", name(&opened.display)),
            ("Signs in as", html! { @if opened.chooses_name { "chosen below" } @else { (name(&opened.login_name)) } }),
            ("Roles", html! { (words(&opened.roles.join(", "), 200)) }),
            ("Ends", html! { (moment(opened.until)) " (" (age(opened.until, now)) ")" }),
        ]))
        @if let Some(problem) = &opened.problem { p class="told bad" role="alert" { (words(problem, 300)) } }
        section aria-labelledby="first-passkey" {
            h2 id="first-passkey" { "A passkey (recommended)" }
            p { "Your device or a security key keeps it. It cannot be phished, and there is nothing to remember." }
            form data-passkey="create" data-begin=(paths::INVITATION_PASSKEY_BEGIN) data-finish=(paths::INVITATION_PASSKEY_FINISH) method="post" hidden {
                (hidden("token", &opened.token)) (login_name("name-passkey"))
                (Field::new("label", "label", "What you call this passkey", "text").draw())
                p { button { "Create a passkey" } }
            }
            noscript { p { "Passkeys need this site's script." } }
            (codes_place())
        }
        @if let Some(app) = &opened.app {
            section aria-labelledby="first-password" {
                h2 id="first-password" { "A password and an app" }
                p { "Scan this with an authenticator app, or type the address into it. It is shown once." }
                (qr(&app.uri))
                (command("Address for the app", &app.uri))
                form method="post" action=(paths::INVITATION_PASSWORD) {
                    (hidden("token", &opened.token)) (hidden("ceremony", &app.ceremony)) (login_name("name-password"))
                    (Field::new("password", "password", "Password, at least 12 characters", "password").fills("new-password").draw())
                    (Field::new("code", "code", "Code that the app shows now", "text").fills("one-time-code").draw())
                    p { button { "Set both" } }
                }
            }
        }
    }
}

/// Where the script shows recovery codes after a first passkey.
fn codes_place() -> Markup {
    html! {
        div id="codes" class="item" hidden {
            h2 tabindex="-1" { "Your recovery codes" }
            p { "Each works once, when every other factor is lost. They are not shown again: print them or keep them offline." }
            ul class="codes" {}
            p { a href=(paths::OVERVIEW) { "I have kept them" } }
        }
    }
}

/// Recovery codes, the one time that they are shown.
#[derive(Debug, Clone)]
pub struct RecoveryView {
    /// Around it.
    pub frame: Frame,
    /// The codes.
    pub codes: Vec<String>,
    /// Where to go on.
    pub next: String,
}

/// Recovery codes after a form.
pub fn recovery(view: &RecoveryView) -> Markup {
    let content = html! {
        p { "Each code works once, when every other factor is lost. They are not shown again: print this page or keep them offline." }
        ul class="codes" { @for code in view.codes.iter().take(CODES_MAX) { li { (words(code, 80)) } } }
        p { a href=(local(&view.next)) { "I have kept them" } }
    };
    view.frame.page(Place::Elsewhere, "Your recovery codes", content)
}

const CODES_MAX: usize = 32;
/// Longest text in a QR code here, in bytes; what does not fit is still there as text.
const QR_BYTES_MAX: usize = 1_000;

/// A QR code as one path; nothing where the text is too long (ISO/IEC 18004, error correction M, four modules of margin).
fn qr(text: &str) -> Markup {
    let made = (text.len() <= QR_BYTES_MAX).then(|| QrCode::with_error_correction_level(text, EcLevel::M));
    let Some(Ok(code)) = made else { return html! {} };
    let width = code.width();
    let mut dark = String::new();
    for (place, _) in code.to_colors().into_iter().enumerate().filter(|(_, color)| *color == Color::Dark) {
        dark.push_str(&format!("M{} {}h1v1h-1z", place % width + 4, place / width + 4));
    }
    let side = width + 8;
    html! {
        svg class="qr" viewBox=(format!("0 0 {side} {side}")) role="img" aria-label="QR code with the address below" { path d=(dark) {} }
    }
}

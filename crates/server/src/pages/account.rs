//! One's own account: factors, sessions, tokens, recovery codes.

use maud::{Markup, html};
use ringfence_engine::{
    access::Action,
    team::{PersonView, SessionView, TokenView},
};

use super::{
    frame::{Frame, Place},
    parts::{Field, Tone, age, badge, command, facts, hidden, moment, name, role, table, words},
    paths,
};

/// One's own account.
#[derive(Debug, Clone)]
pub struct AccountView {
    /// Around it.
    pub frame: Frame,
    /// Oneself.
    pub person: PersonView,
    /// One's sessions.
    pub sessions: Vec<SessionView>,
    /// One's tokens.
    pub tokens: Vec<TokenView>,
    /// A token that was just made; shown once.
    pub made: Option<String>,
}

/// The account page.
pub fn account(view: &AccountView) -> Markup {
    let person = &view.person;
    let content = html! {
        (facts(&[
            ("Signs in as", name(&person.name)),
            ("Roles", html! { (person.roles.iter().map(|each| role(*each)).collect::<Vec<_>>().join(", ")) }),
            ("Known since", moment(person.since)),
            ("Recovery codes left", html! { (person.recovery_codes) }),
        ]))
        @if let Some(made) = &view.made {
            div class="told" role="status" {
                p { "Your new token. It is not shown again." }
                (command("The new token", made))
            }
        }
        (factors(view)) (sessions(view)) (tokens(view))
    };
    view.frame.page(Place::Elsewhere, &person.display, content)
}

fn factors(view: &AccountView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .person
        .factors
        .iter()
        .map(|factor| {
            vec![
                html! { (name(&factor.label)) },
                html! { (factor.kind) },
                html! { (moment(factor.since)) },
                html! {
                    form method="post" action=(paths::ACCOUNT_FACTOR_REMOVE) data-confirm="Remove this factor? It no longer lets you in." {
                        (view.frame.token()) (hidden("factor", &factor.id))
                        button class="plain" aria-label=(format!("Remove {}", words(&factor.label, 60))) { "Remove" }
                    }
                },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="factors" {
            h2 id="factors" { "Factors" }
            (table("Your factors", &["called", "kind", "since", "do"], &rows))
            div class="buttons" {
                div {
                    h3 { "Another passkey" }
                    form data-passkey="create" data-begin=(paths::ACCOUNT_PASSKEY_BEGIN) data-finish=(paths::ACCOUNT_PASSKEY_FINISH) method="post" hidden {
                        (view.frame.token())
                        (hidden("next", paths::ACCOUNT))
                        (Field::new("passkey-label", "label", "What you call it", "text").draw())
                        p { button { "Add a passkey" } }
                    }
                    noscript { p { "Passkeys need this site's script." } }
                }
                div {
                    h3 { "New recovery codes" }
                    p { "The old ones are void from then on." }
                    form method="post" action=(paths::ACCOUNT_RECOVERY) data-confirm="Make new recovery codes? The old ones are void from then on." {
                        (view.frame.token()) p { button { "Make new codes" } }
                    }
                }
            }
        }
    }
}

fn sessions(view: &AccountView) -> Markup {
    let now = view.frame.now;
    let rows: Vec<Vec<Markup>> = view
        .sessions
        .iter()
        .map(|session| {
            vec![
                html! { bdi { (words(&session.client, 60)) } " " @if session.current { (badge(Tone::Good, "this one")) } },
                html! { @match session.address { Some(address) => code { (address) }, None => "unknown" } },
                html! { (session.login.name()) },
                html! { (moment(session.since)) },
                html! { (age(session.until, now)) },
                html! {
                    form method="post" action=(paths::ACCOUNT_SESSION_END) {
                        (view.frame.token()) (hidden("session", &session.id))
                        button class="plain" aria-label=(format!("End the session of {}", words(&session.client, 60))) { "End" }
                    }
                },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="sessions" {
            h2 id="sessions" { "Sessions" }
            (table("Your sessions", &["client", "address", "login", "since", "ends", "do"], &rows))
        }
    }
}

fn tokens(view: &AccountView) -> Markup {
    let now = view.frame.now;
    let rows: Vec<Vec<Markup>> = view
        .tokens
        .iter()
        .map(|token| {
            let scope: Vec<&str> = token.scope.iter().map(|action| action.name()).collect();
            vec![
                name(&token.label),
                html! { (scope.join(", ")) },
                html! { @if token.networks.is_empty() { "anywhere" } @else { (words(&token.networks.join(", "), 120)) } },
                html! { (age(token.until, now)) },
                html! {
                    form method="post" action=(paths::ACCOUNT_TOKEN_REVOKE) data-confirm="Revoke this token? Whatever uses it stops at once." {
                        (view.frame.token()) (hidden("token", &token.id))
                        button class="plain" aria-label=(format!("Revoke {}", words(&token.label, 60))) { "Revoke" }
                    }
                },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="tokens" {
            h2 id="tokens" { "Tokens" }
            @if rows.is_empty() { p class="quiet" { "None. Programs use tokens; people do not need them." } }
            @else { (table("Your tokens", &["called", "good for", "from", "ends", "do"], &rows)) }
            details {
                summary { "Make a token" }
                form method="post" action=(paths::ACCOUNT_TOKEN) {
                    (view.frame.token())
                    (Field::new("token-label", "label", "What it is for", "text").draw())
                    (scope("Good for (never more than your own roles)", &TOKEN_ACTIONS))
                    (Field::new("token-days", "days", "Days until it ends (1 to 90)", "number").draw())
                    (Field::new("token-networks", "networks", "Only from these networks, such as 10.0.0.0/8; empty: anywhere", "text").optional("").draw())
                    p { button { "Make it" } }
                }
            }
        }
    }
}

/// What a token is to be good for.
pub(super) fn scope(legend: &str, actions: &[Action]) -> Markup {
    html! {
        fieldset {
            legend { (legend) }
            @for action in actions {
                label { input type="checkbox" name="scope" value=(action.name()); " " (action.name()) }
            }
        }
    }
}

/// What tokens are offered for: acts without a second factor at hand.
const TOKEN_ACTIONS: [Action; 7] =
    [Action::Read, Action::Receive, Action::Inspect, Action::Admit, Action::Train, Action::Attack, Action::Verify];
/// What tokens of programs are offered for: what needs nobody's judgement.
pub(super) const PROGRAM_ACTIONS: [Action; 9] = [
    Action::Read,
    Action::Receive,
    Action::Inspect,
    Action::Train,
    Action::Attack,
    Action::Verify,
    Action::Raise,
    Action::Stop,
    Action::Provision,
];

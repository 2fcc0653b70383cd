//! What every page stands in: head, navigation, footer; and what a page knows of whoever looks at it.

use std::fmt;

use maud::{DOCTYPE, Markup, html};
use ringfence_engine::{access::Role, schema::Timestamp};

use super::{
    assets,
    parts::{name, words},
    paths,
};

/// A session's token against foreign forms; stands in every form that changes something.
#[derive(Clone, PartialEq, Eq)]
pub struct FormToken(String);

impl FormToken {
    /// The token as the session has it.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The hidden field that carries it, called [`FORM_TOKEN_FIELD`].
    pub fn field(&self) -> Markup {
        html! { input type="hidden" name=(FORM_TOKEN_FIELD) value=(self.0); }
    }
}

impl fmt::Debug for FormToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormToken([redacted])")
    }
}

/// Name of the field that carries the token.
pub const FORM_TOKEN_FIELD: &str = "form_token";

/// Who looks at a page.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// What people call them.
    pub display: String,
    /// Their roles.
    pub roles: Vec<Role>,
    /// Their session's token for forms.
    pub token: FormToken,
    /// How many things wait for a decision, to be shown in the navigation.
    pub waiting: usize,
}

/// What the head and the foot of a page need.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Who looks; `None` before anybody has signed in.
    pub viewer: Option<Viewer>,
    /// The vault's id, shown in the foot.
    pub vault: String,
    /// When the page was made; ages are counted from it.
    pub now: Timestamp,
    /// Something that just happened, to be told once.
    pub told: Option<String>,
}

/// Which part of the navigation a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What needs somebody now.
    Overview,
    /// Artifacts.
    Artifacts,
    /// Review.
    Review,
    /// Runs.
    Runs,
    /// Runs that wait for a machine.
    Queue,
    /// Tests.
    Tests,
    /// The trail.
    Trail,
    /// Security, people and policy.
    Security,
    /// Doing without the approval of others.
    Glass,
    /// None of them.
    Elsewhere,
}

const PLACES: [(Place, &str, &str); 9] = [
    (Place::Overview, paths::OVERVIEW, "Overview"),
    (Place::Artifacts, paths::ARTIFACTS, "Artifacts"),
    (Place::Review, paths::REVIEW, "Review"),
    (Place::Runs, paths::RUNS, "Runs"),
    (Place::Queue, paths::QUEUE, "Queue"),
    (Place::Tests, paths::TESTS, "Tests"),
    (Place::Trail, paths::TRAIL, "Trail"),
    (Place::Security, paths::SECURITY, "Security"),
    (Place::Glass, paths::GLASS, "Break-glass"),
];

impl Frame {
    /// The hidden field of forms; nothing where nobody is signed in.
    pub fn token(&self) -> Markup {
        html! { @if let Some(viewer) = &self.viewer { (viewer.token.field()) } }
    }

    /// The page with `content`, whose first heading is `title`.
    pub fn page(&self, place: Place, title: &str, content: Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (words(title, TITLE_CHARS_MAX)) " · Ringfence" }
                    link rel="stylesheet" href=(assets::style_path());
                    script src=(assets::script_path()) defer {}
                }
                body {
                    a class="skip" href="#content" { "Skip to the content" }
                    (self.head(place))
                    main id="content" tabindex="-1" {
                        h1 { (name(title)) }
                        @if let Some(told) = &self.told { p class="told" role="status" { (words(told, TOLD_CHARS_MAX)) } }
                        p class="told bad" id="problem" role="alert" hidden {}
                        (content)
                    }
                    (self.foot())
                }
            }
        }
    }

    fn head(&self, place: Place) -> Markup {
        html! {
            header class="top" {
                a class="brand" href=(paths::OVERVIEW) { "Ringfence" }
                @if let Some(viewer) = &self.viewer {
                    nav aria-label="Main" {
                        ul {
                            @for (target, path, label) in PLACES {
                                li {
                                    a href=(path) aria-current=[(target == place).then_some("page")] {
                                        (label)
                                        @if target == Place::Review && viewer.waiting > 0 {
                                            " " span class="count" { (viewer.waiting) span class="hidden" { " waiting" } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    div class="me" {
                        a href=(paths::ACCOUNT) { (name(&viewer.display)) }
                        form method="post" action=(paths::SIGN_OUT) { (viewer.token.field()) button class="plain" { "Sign out" } }
                    }
                }
            }
        }
    }

    fn foot(&self) -> Markup {
        html! {
            footer {
                p {
                    @if !self.vault.is_empty() { "Vault " code { (words(&self.vault, ID_CHARS_MAX)) } " · " }
                    "as of " time datetime=(self.now) data-local { (self.now) }
                }
                p { button class="plain" type="button" data-theme-switch hidden { "Light or dark" } }
            }
        }
    }
}

const TITLE_CHARS_MAX: usize = 120;
const TOLD_CHARS_MAX: usize = 400;
const ID_CHARS_MAX: usize = 80;

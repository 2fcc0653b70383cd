//! How safe things stand: who may what, factors, sessions, ages of keys and backups, posture.

use maud::{Markup, html};
use ringfence_engine::{
    access::{PersonKind, Role},
    doctor::{Health, Part},
    schedule::ScheduleView,
    schema::Timestamp,
    team::{PersonView, SessionView, Status},
};

use super::{
    frame::{Frame, Place},
    parts::{ROWS_MAX, Tone, age, badge, duration, moment, name, role, table, words},
    paths,
    schedules::schedules,
};

/// Something that must not grow too old.
#[derive(Debug, Clone)]
pub struct Aging {
    /// What: `signing key`, `backup`, `restore test`.
    pub what: String,
    /// When it was made or done last; `None`: never, or not known here.
    pub since: Option<Timestamp>,
    /// How old it may be, in milliseconds.
    pub limit_ms: u64,
    /// What to do when it is too old.
    pub remedy: String,
}

/// The security page.
#[derive(Debug, Clone)]
pub struct SecurityView {
    /// Around it.
    pub frame: Frame,
    /// Everybody.
    pub people: Vec<PersonView>,
    /// Sessions that are open, of everybody whom the viewer may see.
    pub sessions: Vec<SessionView>,
    /// What ages.
    pub ages: Vec<Aging>,
    /// What is done by itself.
    pub schedules: Vec<ScheduleView>,
    /// Whether the viewer may change that.
    pub may_schedule: bool,
    /// Every part of the installation.
    pub parts: Vec<Part>,
}

/// The security page.
pub fn security(view: &SecurityView) -> Markup {
    let content = html! {
        p { a href=(paths::PEOPLE) { "People and programs" } " · " a href=(paths::POLICY) { "Policy" } }
        (posture(view)) (matrix(view)) (factors(view)) (ages(view))
        (schedules(&view.frame, &view.schedules, view.may_schedule))
        (sessions(view))
    };
    view.frame.page(Place::Security, "Security", content)
}

fn posture(view: &SecurityView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .parts
        .iter()
        .map(|part| {
            let (tone, word) = match part.health {
                Health::Ok => (Tone::Good, "ok"),
                Health::Warn => (Tone::Warn, "could be better"),
                Health::Fail => (Tone::Bad, "does not work"),
            };
            vec![
                html! { (part.name) },
                badge(tone, word),
                html! { bdi { (words(&part.detail, 300)) } },
                html! { bdi { (words(&part.fix, 400)) } },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="posture" {
            h2 id="posture" { "Posture" }
            (table("Parts of this installation", &["part", "how it is", "what was seen", "remedy"], &rows))
        }
    }
}

fn matrix(view: &SecurityView) -> Markup {
    html! {
        section aria-labelledby="roles" {
            h2 id="roles" { "People and roles" }
            div class="scroll matrix" tabindex="0" role="group" aria-label="People and roles" {
                table {
                    thead { tr { th scope="col" { "person" } @for each in Role::ALL { th scope="col" { (role(each)) } } } }
                    tbody {
                        @for person in view.people.iter().take(ROWS_MAX) {
                            tr {
                                th scope="row" { (name(&person.display)) }
                                @for each in Role::ALL {
                                    td { @if person.roles.contains(&each) { b { "yes" } } @else { "–" } }
                                }
                            }
                        }
                    }
                }
            }
            @if view.people.len() > ROWS_MAX { p class="quiet" { "… and " (view.people.len() - ROWS_MAX) " more." } }
        }
    }
}

/// How somebody's factors stand, as a badge.
pub(crate) fn factor_badge(person: &PersonView) -> Markup {
    let has = |kind: &str| person.factors.iter().any(|factor| factor.kind == kind);
    match (person.kind, person.status) {
        (PersonKind::Service, _) => badge(Tone::Plain, "token"),
        _ if has("passkey") => badge(Tone::Good, "passkey"),
        _ if has("federated") => badge(Tone::Good, "federated"),
        _ if has("totp") => badge(Tone::Warn, "password and code"),
        (_, Status::Invited) => badge(Tone::Plain, "invited, none yet"),
        _ => badge(Tone::Bad, "none"),
    }
}

/// How somebody stands, as a badge.
pub(crate) fn status_badge(status: Status) -> Markup {
    match status {
        Status::Active => badge(Tone::Good, "active"),
        Status::Invited => badge(Tone::Plain, "invited"),
        Status::Disabled => badge(Tone::Warn, "disabled"),
    }
}

fn factors(view: &SecurityView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .people
        .iter()
        .map(|person| {
            vec![
                name(&person.display),
                status_badge(person.status),
                factor_badge(person),
                html! { (person.factors.iter().map(|factor| factor.kind).collect::<Vec<_>>().join(", ")) },
                html! { (person.recovery_codes) },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="mfa" {
            h2 id="mfa" { "Second factors" }
            (table("Second factors by person", &["person", "status", "strongest", "factors", "recovery codes left"], &rows))
        }
    }
}

fn ages(view: &SecurityView) -> Markup {
    let now = view.frame.now;
    let rows: Vec<Vec<Markup>> = view
        .ages
        .iter()
        .map(|aging| {
            let span = aging.since.map(|since| now.millis().saturating_sub(since.millis()));
            let late = span.is_none_or(|span| span > aging.limit_ms);
            vec![
                html! { (words(&aging.what, 60)) },
                html! { @match aging.since { Some(since) => (moment(since)), None => "never, or not known here" } },
                html! { (span.map_or("–".to_owned(), duration)) },
                html! { (duration(aging.limit_ms)) },
                // A meter reads out by itself; the word beside it says the same.
                html! {
                    @if let Some(span) = span { meter min="0" max=(aging.limit_ms.max(1)) value=(span.min(aging.limit_ms)) aria-label=(format!("Age of {}", words(&aging.what, 60))) {} " " }
                    @if late { (badge(Tone::Bad, "too old")) } @else { (badge(Tone::Good, "in time")) }
                },
                html! { @if late { (words(&aging.remedy, 300)) } },
            ]
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            section aria-labelledby="ages" {
                h2 id="ages" { "Keys and checks" }
                (table("Ages against their limits", &["what", "last", "age", "limit", "how it stands", "remedy"], &rows))
            }
        }
    }
}

fn sessions(view: &SecurityView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .sessions
        .iter()
        .map(|session| {
            let person = view.people.iter().find(|person| person.id == session.person);
            vec![
                name(person.map_or(session.person.as_str(), |person| &person.display)),
                html! { bdi { (words(&session.client, 60)) } },
                html! { @match session.address { Some(address) => code { (address) }, None => "unknown" } },
                html! { (session.login.name()) },
                html! { (age(session.since, view.frame.now)) },
                html! { (age(session.until, view.frame.now)) },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="sessions" {
            h2 id="sessions" { "Sessions" }
            @if rows.is_empty() { p class="quiet" { "None that you may see." } }
            @else { (table("Open sessions", &["person", "client", "address", "login", "since", "ends"], &rows)) }
        }
    }
}

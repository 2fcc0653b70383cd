//! People and programs: invited, given roles, disabled, reset.

use maud::{Markup, html};
use ringfence_engine::{
    access::{PersonKind, Role},
    schema::Timestamp,
    team::{PersonView, Status},
};

use super::{
    account::{PROGRAM_ACTIONS, scope},
    frame::{Frame, Place},
    parts::{Field, ROWS_MAX, age, command, facts, hidden, moment, name, reason, role, words},
    paths,
    security::{factor_badge, status_badge},
};

/// An invitation that was just made; its link is shown once.
#[derive(Debug, Clone)]
pub struct MadeInvitation {
    /// For whom.
    pub display: String,
    /// The address to hand over, token behind `#`, so that it is in no server's log.
    pub link: String,
    /// Until when it holds.
    pub until: Timestamp,
}

/// Everybody.
#[derive(Debug, Clone)]
pub struct PeopleView {
    /// Around it.
    pub frame: Frame,
    /// Everybody, by name.
    pub people: Vec<PersonView>,
    /// Whether the viewer may appoint; otherwise there are no forms.
    pub may_appoint: bool,
    /// Id of the viewer, who cannot appoint themselves.
    pub me: String,
    /// An invitation that was just made.
    pub made: Option<MadeInvitation>,
}

/// People administration.
pub fn people(view: &PeopleView) -> Markup {
    let content = html! {
        @if let Some(made) = &view.made {
            div class="told" role="status" {
                p { "Hand this to " (name(&made.display)) " over a channel that you trust. It is not shown again, works once and ends " (age(made.until, view.frame.now)) "." }
                (command("The invitation's address", &made.link))
            }
        }
        @if view.may_appoint { (invite(view)) }
        section aria-labelledby="everybody" {
            h2 id="everybody" { "Everybody" }
            @for (place, person) in view.people.iter().take(ROWS_MAX).enumerate() { (one(view, place, person)) }
            @if view.people.len() > ROWS_MAX { p class="quiet" { "… and " (view.people.len() - ROWS_MAX) " more." } }
        }
    };
    view.frame.page(Place::Security, "People and programs", content)
}

fn roles(chosen: &[Role]) -> Markup {
    html! {
        fieldset {
            legend { "Roles" }
            @for each in Role::ALL {
                label { input type="checkbox" name="role" value=(each.name()) checked[chosen.contains(&each)]; " " (role(each)) }
            }
        }
    }
}

fn invite(view: &PeopleView) -> Markup {
    html! {
        section aria-labelledby="invite" {
            h2 id="invite" { "Invite" }
            details {
                summary { "Invite somebody, or make an account for a program" }
                form method="post" action=(paths::PEOPLE_INVITE) {
                    (view.frame.token())
                    (Field::new("invite-name", "name", "Name to sign in with", "text").draw())
                    (Field::new("invite-display", "display", "What people call them", "text").draw())
                    fieldset {
                        legend { "Kind" }
                        label { input type="radio" name="kind" value="human" checked; " a person, who signs in with factors" }
                        label { input type="radio" name="kind" value="service"; " a program, which has tokens only" }
                    }
                    (roles(&[]))
                    p { button { "Invite" } }
                    p class="quiet" { "They act as soon as they have a second factor, within these roles. You will not be able to approve their requests alone." }
                }
            }
        }
    }
}

fn one(view: &PeopleView, place: usize, person: &PersonView) -> Markup {
    let held: Vec<String> = person.roles.iter().map(|each| role(*each)).collect();
    let inviter = person
        .invited_by
        .as_ref()
        .map(|id| view.people.iter().find(|other| other.id == *id).map_or(id.as_str(), |other| other.display.as_str()));
    html! {
        article class="item" aria-labelledby=(format!("person-{place}")) {
            h3 id=(format!("person-{place}")) { (name(&person.display)) }
            p { (status_badge(person.status)) " " (factor_badge(person)) " " @if person.kind == PersonKind::Service { "program" } }
            (facts(&[
                ("Signs in as", name(&person.name)),
                ("Roles", html! { @if held.is_empty() { "none" } @else { (held.join(", ")) } }),
                ("Since", moment(person.since)),
                ("Invited by", html! { @match inviter { Some(inviter) => (name(inviter)), None => "the server's console" } }),
            ]))
            p { a href=(paths::query(paths::TRAIL, &[("who", person.id.as_str())])) { "What they did" span class="hidden" { ": " (words(&person.display, 60)) } } }
            @if view.may_appoint && person.id.as_str() != view.me { (change(view, place, person)) }
        }
    }
}

fn change(view: &PeopleView, place: usize, person: &PersonView) -> Markup {
    let shown = words(&person.display, 60);
    let id = || html! { (view.frame.token()) (hidden("person", person.id.as_str())) };
    html! {
        details {
            summary { "Change" span class="hidden" { ": " (shown) } }
            div class="buttons" {
                form method="post" action=(paths::PEOPLE_ROLES) {
                    (id()) (roles(&person.roles))
                    p { button { "Set these roles" } }
                    p class="quiet" { "Holds at once, in every session that they have." }
                }
                @if person.status == Status::Disabled {
                    form method="post" action=(paths::PEOPLE_ENABLE) {
                        (id()) p { button { "Let them in again" } }
                    }
                } @else {
                    form method="post" action=(paths::PEOPLE_DISABLE) data-confirm=(format!("Disable {shown}? All their sessions and tokens end at once.")) {
                        (id()) (reason(&format!("disable-reason-{place}")))
                        p { button class="danger" { "Disable" } }
                        p class="quiet" { "All their sessions and tokens end at once." }
                    }
                }
                @if person.kind == PersonKind::Service && person.status == Status::Active {
                    form method="post" action=(paths::PEOPLE_TOKEN) {
                        (id())
                        (Field::new(&format!("token-label-{place}"), "label", "What the token is for", "text").draw())
                        (scope("Good for (never more than its roles)", &PROGRAM_ACTIONS))
                        (Field::new(&format!("token-days-{place}"), "days", "Days until it ends (1 to 90)", "number").draw())
                        (Field::new(&format!("token-networks-{place}"), "networks", "Only from these networks; empty: anywhere", "text").optional("").draw())
                        p { button { "Make a token" } }
                        p class="quiet" { "It is shown once. A directory (SCIM) needs one that is good for provision alone." }
                    }
                }
                @if person.kind == PersonKind::Human {
                    form method="post" action=(paths::PEOPLE_RESET) data-confirm=(format!("Reset all factors of {shown}? They are out until they take up the new invitation.")) {
                        (id()) (reason(&format!("reset-reason-{place}")))
                        p { button class="danger" { "Reset factors" } }
                        p class="quiet" { "Every factor and recovery code is void; a new invitation is made. Make sure that it is really them who ask." }
                    }
                }
            }
        }
    }
}

//! Who is here, and with which roles.

use std::collections::BTreeSet;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use ringfence_engine::{
    access::{Action, LoginStrength, PersonKind, Role},
    team::{Assumed, Caller, Invitation, Invite, PersonId},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::description::{self, because, object, text};
use crate::{
    app::App,
    guard::json::Json,
    problem::Answer,
    routes::{Route, Verb, seat::Seat},
};

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{Appoint, Read};
    use Verb::{Get, Post, Put};
    vec![
        Route::acting(Read, Get, "/api/v1/people", "everybody, with roles and factors", people),
        Route::acting(Read, Get, "/api/v1/people/{who}", "one person or program", person),
        Route::acting(Appoint, Post, "/api/v1/people", "invites a person, or makes a program known", invite)
            .takes_json(new_person),
        Route::acting(Appoint, Put, "/api/v1/people/{who}/roles", "gives somebody exactly these roles", roles)
            .takes_json(|| object(&[("roles", description::roles())], &[])),
        Route::acting(Appoint, Post, "/api/v1/people/{who}/disable", "shuts somebody out, at once", disable)
            .takes_json(because),
        Route::acting(Appoint, Post, "/api/v1/people/{who}/enable", "lets somebody in again", enable),
        Route::acting(Appoint, Post, "/api/v1/people/{who}/erase", "erases what is known of somebody, for good", erase)
            .takes_json(because),
        Route::acting(Appoint, Post, "/api/v1/people/{who}/reset", "takes all factors away and invites anew", reset)
            .takes_json(because),
        Route::acting(Read, Post, "/api/v1/people/{who}/can", "whether somebody may do something, and why", can)
            .takes_json(question),
    ]
}

fn question() -> Value {
    let action = json!({"type": "string", "enum": Action::ALL});
    let login = json!({"type": "string", "enum": [LoginStrength::Any, LoginStrength::Mfa, LoginStrength::Passkey]});
    object(&[("action", action), ("what", text())], &[("login", login), ("stepped_up", json!({"type": "boolean"}))])
}

fn new_person() -> Value {
    let kind = json!({"type": "string", "enum": [PersonKind::Human, PersonKind::Service]});
    object(&[("name", text()), ("display", text()), ("roles", description::roles())], &[("kind", kind)])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPerson {
    name: String,
    display: String,
    #[serde(default)]
    kind: PersonKind,
    roles: BTreeSet<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    action: Action,
    /// `vault`, or a reference to an artifact.
    what: String,
    #[serde(default = "strongest")]
    login: LoginStrength,
    #[serde(default)]
    stepped_up: bool,
}

fn strongest() -> LoginStrength {
    LoginStrength::Passkey
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    roles: BTreeSet<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

async fn people(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let people = app.look(seat.into_principal(), "people", ringfence_engine::Vault::people).await?;
    Ok(Json(json!({"people": people})).into_response())
}

async fn person(seat: Seat<Caller>, State(app): State<App>, Path(who): Path<String>) -> Answer {
    let what = format!("person {who}");
    let person = app.look(seat.into_principal(), what, move |vault| vault.person(&who)).await?;
    Ok(Json(json!({"person": person})).into_response())
}

/// The engine decides and records that it was asked.
async fn can(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(who): Path<String>,
    Json(question): Json<Question>,
) -> Answer {
    let Question { action, what, login, stepped_up } = question;
    let assumed = Assumed { login, stepped_up };
    let explained = app.work(seat.into_principal(), move |vault, _| vault.can(&who, action, &what, assumed)).await?;
    Ok(Json(explained).into_response())
}

async fn invite(seat: Seat<Caller>, State(app): State<App>, Json(new): Json<NewPerson>) -> Answer {
    let NewPerson { name, display, kind, roles } = new;
    let invite = Invite { name, display, kind, roles };
    let invitation = app.work(seat.into_principal(), move |vault, _| vault.invite(&invite)).await?;
    Ok(invitation_answer(StatusCode::CREATED, &invitation))
}

async fn roles(seat: Seat<Caller>, State(app): State<App>, Path(who): Path<String>, Json(new): Json<Roles>) -> Answer {
    let who = PersonId::from(who.as_str());
    let person = app.work(seat.into_principal(), move |vault, _| vault.set_roles(&who, &new.roles)).await?;
    Ok(Json(json!({"person": person})).into_response())
}

async fn disable(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(who): Path<String>,
    Json(why): Json<Because>,
) -> Answer {
    let who = PersonId::from(who.as_str());
    let person = app.work(seat.into_principal(), move |vault, _| vault.disable(&who, &why.reason)).await?;
    Ok(Json(json!({"person": person})).into_response())
}

async fn enable(seat: Seat<Caller>, State(app): State<App>, Path(who): Path<String>) -> Answer {
    let who = PersonId::from(who.as_str());
    let person = app.work(seat.into_principal(), move |vault, _| vault.enable(&who)).await?;
    Ok(Json(json!({"person": person})).into_response())
}

async fn erase(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(who): Path<String>,
    Json(why): Json<Because>,
) -> Answer {
    let who = PersonId::from(who.as_str());
    let erased = app.work(seat.into_principal(), move |vault, _| vault.erase_person(&who, &why.reason)).await?;
    Ok(Json(erased).into_response())
}

async fn reset(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(who): Path<String>,
    Json(why): Json<Because>,
) -> Answer {
    let who = PersonId::from(who.as_str());
    let invitation = app.work(seat.into_principal(), move |vault, _| vault.reset_factors(&who, &why.reason)).await?;
    Ok(invitation_answer(StatusCode::OK, &invitation))
}

/// The invitation's token is shown here once; whoever invited hands it over.
fn invitation_answer(status: StatusCode, invitation: &Invitation) -> Response {
    let token = invitation.token.as_ref().map(|token| token.as_str());
    let body = json!({"person": invitation.person, "invitation": token, "until": invitation.until});
    (status, Json(body)).into_response()
}

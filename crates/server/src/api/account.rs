//! One's own sessions, tokens and factors, and the step up before dangerous acts.

use std::collections::BTreeSet;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
};
use ringfence_engine::{
    access::Action,
    team::{
        Caller, Enrollee, FirstPassword, PersonId, TokenTerms,
        agent::{AgentKey, AgentSignature},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    description::{credential, object, some_of, text},
    sign_in::{Answered, answered, assertion, device_offered, offered, registration, without_cookie},
};
use crate::{
    app::{App, origin},
    guard::json::Json,
    problem::Answer,
    routes::{Route, Verb, seat::Seat},
};

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Verb::{Delete, Get, Post};
    vec![
        Route::signed_in(Get, "/api/v1/me", "who one is here", me).unrecorded(),
        Route::signed_in(Post, "/api/v1/logout", "ends this session", logout),
        Route::signed_in(Get, "/api/v1/sessions", "one's own sessions", sessions).unrecorded(),
        Route::signed_in(Delete, "/api/v1/sessions/{id}", "ends one of one's own sessions or tokens", end),
        Route::signed_in(Post, "/api/v1/step-up/passkey/begin", "what a passkey is asked for a step up", step_begin)
            .unrecorded(),
        Route::signed_in(Post, "/api/v1/step-up/passkey/finish", "ends a step up by passkey", step_finish)
            .takes_json(answered),
        Route::signed_in(Post, "/api/v1/step-up/code", "steps up by a code", step_code)
            .takes_json(|| object(&[("code", text())], &[])),
        Route::signed_in(Post, "/api/v1/step-up/device/begin", "this command line asks for a step up", step_device)
            .unrecorded(),
        Route::signed_in(Get, "/api/v1/tokens", "one's own tokens", tokens).unrecorded(),
        Route::signed_in(Post, "/api/v1/tokens", "makes a token, shown once", make_token).takes_json(new_token),
        Route::signed_in(Post, "/api/v1/factors/passkey/begin", "what another passkey is asked", factor_begin)
            .unrecorded(),
        Route::signed_in(Post, "/api/v1/factors/passkey/finish", "enrols another passkey", factor_finish)
            .takes_json(new_passkey),
        Route::signed_in(Post, "/api/v1/factors/password/begin", "shows the key of an authenticator app", app_begin)
            .unrecorded(),
        Route::signed_in(Post, "/api/v1/factors/password/finish", "enrols password and app", app_finish)
            .takes_json(new_password),
        Route::signed_in(Post, "/api/v1/factors/key/begin", "what a key in an agent is asked to sign", key_begin)
            .unrecorded(),
        Route::signed_in(Post, "/api/v1/factors/key/finish", "enrols a key in an agent, for approvals", key_finish)
            .takes_json(new_key),
        Route::signed_in(Delete, "/api/v1/factors/{id}", "takes a factor away", remove_factor),
        Route::signed_in(Post, "/api/v1/recovery-codes", "new recovery codes, shown once", recovery),
        Route::signed_in(Get, "/api/v1/device/{code}", "the command line that shows this code", device).unrecorded(),
        Route::signed_in(Post, "/api/v1/device/{code}", "lets it in", confirm_device),
    ]
}

fn new_token() -> Value {
    let needed = [("label", text()), ("days", json!({"type": "integer", "minimum": 1, "maximum": 90}))];
    let scope = [("scope", some_of(Action::ALL))];
    let networks = json!({"type": "array", "items": text()});
    object(&[needed.as_slice(), &scope].concat(), &[("service", text()), ("networks", networks)])
}

fn new_passkey() -> Value {
    object(&[("ceremony", text()), ("credential", credential()), ("label", text())], &[])
}

fn new_key() -> Value {
    object(&[("ceremony", text()), ("key", text()), ("signature", text()), ("label", text())], &[])
}

fn new_password() -> Value {
    object(&[("ceremony", text()), ("password", text()), ("code", text())], &[])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    label: String,
    #[serde(default)]
    service: Option<String>,
    days: u32,
    scope: BTreeSet<Action>,
    #[serde(default)]
    networks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPasskey {
    ceremony: String,
    credential: Value,
    label: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    ceremony: String,
    key: AgentKey,
    signature: AgentSignature,
    label: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    ceremony: String,
    password: String,
    code: String,
}

async fn me(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let caller = seat.into_principal();
    let (login, proven, id) = (caller.login, caller.proven, caller.person.id.clone());
    let person = app.work(caller, move |vault, _| vault.person(&id)).await?;
    Ok(Json(json!({"person": person, "login": login, "proven": proven})).into_response())
}

async fn logout(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    app.work(seat.into_principal(), |vault, _| vault.leave()).await?;
    without_cookie(StatusCode::NO_CONTENT.into_response())
}

async fn sessions(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let sessions = app.work(seat.into_principal(), |vault, _| vault.own_sessions()).await?;
    Ok(Json(json!({"sessions": sessions})).into_response())
}

async fn end(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    app.work(seat.into_principal(), move |vault, _| vault.end_own(&id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn step_begin(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let offer = app.work(seat.into_principal(), ringfence_engine::Vault::begin_step_up).await?;
    Ok(offered(&offer))
}

async fn step_finish(seat: Seat<Caller>, State(app): State<App>, Json(done): Json<Answered>) -> Answer {
    let assertion = assertion(&done.credential)?;
    let stepped =
        app.work(seat.into_principal(), move |vault, party| vault.finish_step_up(party, &done.ceremony, &assertion));
    stepped.await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn step_code(seat: Seat<Caller>, State(app): State<App>, Json(typed): Json<Code>) -> Answer {
    app.work(seat.into_principal(), move |vault, _| vault.step_up_code(&typed.code)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn step_device(seat: Seat<Caller>, State(app): State<App>, headers: HeaderMap) -> Answer {
    let from = origin(seat.address(), &headers);
    let offer = app.work(seat.into_principal(), move |vault, _| vault.begin_device_step_up(&from)).await?;
    Ok(device_offered(&offer))
}

async fn tokens(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let tokens = app.work(seat.into_principal(), |vault, _| vault.own_tokens()).await?;
    Ok(Json(json!({"tokens": tokens})).into_response())
}

async fn make_token(seat: Seat<Caller>, State(app): State<App>, Json(asked): Json<NewToken>) -> Answer {
    let terms = TokenTerms {
        label: asked.label,
        service: asked.service.as_deref().map(PersonId::from),
        life_ms: u64::from(asked.days) * 24 * 60 * 60 * 1_000,
        scope: asked.scope,
        networks: asked.networks,
    };
    let (view, token) = app.work(seat.into_principal(), move |vault, _| vault.make_token(&terms)).await?;
    Ok((StatusCode::CREATED, Json(json!({"token": view, "secret": *token}))).into_response())
}

async fn factor_begin(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let offer = app.work(seat.into_principal(), |vault, party| vault.begin_enrol(party, Enrollee::Caller)).await?;
    Ok(offered(&offer))
}

async fn factor_finish(
    seat: Seat<Caller>,
    State(app): State<App>,
    headers: HeaderMap,
    Json(done): Json<NewPasskey>,
) -> Answer {
    let from = origin(seat.address(), &headers);
    let registration = registration(&done.credential)?;
    let enrolled = app.work(seat.into_principal(), move |vault, party| {
        vault.finish_enrol(party, Enrollee::Caller, &done.ceremony, &registration, &done.label, &from)
    });
    Ok(Json(json!({"person": enrolled.await?.person})).into_response())
}

async fn key_begin(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let offer = app.work(seat.into_principal(), |vault, _| vault.begin_key()).await?;
    Ok(Json(json!({"ceremony": offer.ceremony, "document": offer.document})).into_response())
}

async fn key_finish(seat: Seat<Caller>, State(app): State<App>, Json(done): Json<NewKey>) -> Answer {
    app.fresh(seat.principal())?;
    let person = app.work(seat.into_principal(), move |vault, _| {
        vault.finish_key(&done.ceremony, &done.key, &done.signature, &done.label)
    });
    Ok(Json(json!({"person": person.await?})).into_response())
}

async fn app_begin(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let offer = app.work(seat.into_principal(), |vault, _| vault.begin_totp("Ringfence", Enrollee::Caller)).await?;
    Ok(Json(json!({"ceremony": offer.ceremony, "uri": *offer.uri})).into_response())
}

async fn app_finish(
    seat: Seat<Caller>,
    State(app): State<App>,
    headers: HeaderMap,
    Json(done): Json<NewPassword>,
) -> Answer {
    let from = origin(seat.address(), &headers);
    let NewPassword { ceremony, password, code } = done;
    let first = FirstPassword { password, ceremony, code };
    let enrolled =
        app.work(seat.into_principal(), move |vault, _| vault.finish_password(Enrollee::Caller, first, &from)).await?;
    Ok(Json(json!({"person": enrolled.person})).into_response())
}

async fn remove_factor(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let person = app.work(seat.into_principal(), move |vault, _| vault.remove_factor(&id)).await?;
    Ok(Json(json!({"person": person})).into_response())
}

async fn recovery(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let codes = app.work(seat.into_principal(), |vault, _| vault.new_recovery_codes()).await?;
    let codes: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    Ok(Json(json!({"recovery_codes": codes})).into_response())
}

async fn device(seat: Seat<Caller>, State(app): State<App>, Path(code): Path<String>) -> Answer {
    let asks = app.work(seat.into_principal(), move |vault, _| vault.device(&code)).await?;
    Ok(Json(json!({"client": asks.client, "address": asks.address, "since": asks.since,
        "step_up": asks.step_up}))
    .into_response())
}

async fn confirm_device(seat: Seat<Caller>, State(app): State<App>, Path(code): Path<String>) -> Answer {
    app.work(seat.into_principal(), move |vault, _| vault.confirm_device(&code)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

//! What needs other people: asked for, read, answered, carried out; and the break-glass for doing without them.
//!
//! Who may answer, and whose answer counts, is the engine's. What is signed is the digest of the very document that
//! `canonical` shows.

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use ringfence_engine::{
    Vault,
    access::Action,
    destroy::VERSIONS_MAX,
    schema::Digest,
    team::{Asked, Caller, Fulfilled, RequestId, Wanted, agent::AgentSignature},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    description::{because, credential, object, text},
    sign_in::assertion,
};
use crate::{
    app::App,
    guard::json::Json,
    problem::{Answer, Kind, Problem},
    routes::{Route, Verb, seat::Seat},
};

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{Ask, BreakGlass, Read, Review};
    use Verb::{Get, Post};
    vec![
        Route::acting(Read, Get, "/api/v1/requests", "what needs other people, newest first", list),
        Route::acting(Ask, Post, "/api/v1/requests", "asks others for something", make).takes_json(wanted).streaming(),
        Route::acting(Read, Get, "/api/v1/requests/{id}", "one request, with exactly what is signed", one),
        Route::acting(Read, Get, "/api/v1/requests/{id}/proof", "its approvals, to be verified offline", proof),
        Route::signed_in(Post, "/api/v1/requests/{id}/approve/begin", "what a passkey is asked to sign", begin)
            .unrecorded(),
        Route::signed_in(Post, "/api/v1/requests/{id}/approve/finish", "approves a request by a passkey", finish)
            .takes_json(|| object(&[("credential", credential())], &[])),
        Route::signed_in(Post, "/api/v1/requests/{id}/approve", "approves a request by a key in an agent", approve)
            .takes_json(signed),
        Route::signed_in(Post, "/api/v1/requests/{id}/refuse", "refuses a request", refuse).takes_json(because),
        Route::signed_in(Post, "/api/v1/requests/{id}/withdraw", "takes one's own request back", withdraw),
        Route::signed_in(Post, "/api/v1/requests/{id}/carry-out", "does what was approved", carry_out).streaming(),
        Route::acting(Read, Get, "/api/v1/break-glass", "who did without the approval of others, and why", glasses),
        Route::acting(BreakGlass, Post, "/api/v1/break-glass", "does without the approval of others", break_glass)
            .takes_json(because),
        Route::acting(BreakGlass, Post, "/api/v1/break-glass/{id}/end", "ends it before its time", end_glass),
        Route::acting(Review, Post, "/api/v1/break-glass/{id}/review", "says what was found", review_glass)
            .takes_json(because),
    ]
}

fn wanted() -> Value {
    let actions = json!({"type": "string", "enum": ["configure", "restore", "export", "destroy"]});
    let several = json!({"type": "array", "items": text(), "minItems": 1, "maxItems": VERSIONS_MAX});
    let what = json!({"anyOf": [text(), several]});
    let mut schema = object(&[("action", actions)], &[("text", text()), ("what", what), ("reason", text())]);
    if let Some(fields) = schema.as_object_mut() {
        let says = "`configure` takes the policy document as `text`, `restore` and `export` the artifact's version as \
                    `what`, `destroy` a list of them and a `reason`, which the others may have too";
        fields.insert("description".to_owned(), says.into());
    }
    schema
}

fn signed() -> Value {
    object(&[("digest", text()), ("key", text()), ("signature", text())], &[])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    credential: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    /// Of the request, as it was shown.
    digest: Digest,
    /// Of the key.
    key: Digest,
    signature: AgentSignature,
}

async fn list(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let requests = app.look(seat.into_principal(), "requests", Vault::requests).await?;
    Ok(Json(json!({"requests": requests})).into_response())
}

async fn make(seat: Seat<Caller>, State(app): State<App>, Json(wanted): Json<Wanted>) -> Answer {
    app.fresh(seat.principal())?;
    let asked = app.look(seat.into_principal(), "what to ask for", move |vault| vault.make_request(&wanted));
    Ok(match asked.await? {
        Asked::Done(done) => done_answer(StatusCode::CREATED, &done),
        Asked::Waiting(request) => (StatusCode::ACCEPTED, Json(json!({"request": request}))).into_response(),
    })
}

async fn one(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let shown = app.look(seat.into_principal(), "a request", move |vault| {
        let request = vault.request(&RequestId::from(id.as_str()))?;
        let canonical = request.document.canonical()?;
        Ok(json!({"request": request, "canonical": canonical}))
    });
    Ok(Json(shown.await?).into_response())
}

async fn proof(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = RequestId::from(id.as_str());
    let file =
        app.look(seat.into_principal(), "approvals of a request", move |vault| vault.approval_proof(&id)).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], file).into_response())
}

async fn begin(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = RequestId::from(id.as_str());
    let begun = app.work(seat.into_principal(), move |vault, party| vault.begin_approve(party, &id)).await?;
    Ok(Json(json!({"request": begun.request, "options": begun.options})).into_response())
}

async fn finish(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(done): Json<Answered>,
) -> Answer {
    let (id, assertion) = (RequestId::from(id.as_str()), assertion(&done.credential)?);
    let work = app.work(seat.into_principal(), move |vault, party| vault.approve_request(party, &id, &assertion));
    let request = work.await.map_err(|found| does_not_count(found, "the passkey's answer does not count"))?;
    Ok(Json(json!({"request": request})).into_response())
}

async fn approve(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(signed): Json<Signed>,
) -> Answer {
    // A key in an agent verifies nobody.
    app.fresh(seat.principal())?;
    let Signed { digest, key, signature } = signed;
    let id = RequestId::from(id.as_str());
    let work = app.work(seat.into_principal(), move |vault, _| vault.approve_by_key(&id, &digest, &key, &signature));
    let request = work.await.map_err(|found| does_not_count(found, "the key's signature does not count"))?;
    Ok(Json(json!({"request": request})).into_response())
}

/// A signature that is not right ends the attempt, not the session.
fn does_not_count(found: Problem, says: &'static str) -> Problem {
    if found.kind() == Kind::SignIn { Problem::about(Kind::Denied, says) } else { found }
}

async fn refuse(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(why): Json<Because>,
) -> Answer {
    let id = RequestId::from(id.as_str());
    let request = app.work(seat.into_principal(), move |vault, _| vault.refuse_request(&id, &why.reason)).await?;
    Ok(Json(json!({"request": request})).into_response())
}

async fn withdraw(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = RequestId::from(id.as_str());
    let request = app.work(seat.into_principal(), move |vault, _| vault.withdraw_request(&id)).await?;
    Ok(Json(json!({"request": request})).into_response())
}

async fn carry_out(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    app.fresh(seat.principal())?;
    let id = RequestId::from(id.as_str());
    let done = app.work(seat.into_principal(), move |vault, _| vault.carry_out_request(&id)).await?;
    Ok(done_answer(StatusCode::OK, &done))
}

fn done_answer(status: StatusCode, done: &Fulfilled) -> Response {
    (status, Json(json!({"done": done}))).into_response()
}

async fn glasses(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let glasses = app.look(seat.into_principal(), "break-glass", Vault::glasses).await?;
    Ok(Json(json!({"glasses": glasses})).into_response())
}

async fn break_glass(seat: Seat<Caller>, State(app): State<App>, Json(why): Json<Because>) -> Answer {
    app.fresh(seat.principal())?;
    let glass = app.work(seat.into_principal(), move |vault, _| vault.break_glass(&why.reason)).await?;
    Ok((StatusCode::CREATED, Json(json!({"glass": glass}))).into_response())
}

async fn end_glass(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    app.fresh(seat.principal())?;
    let glass = app.work(seat.into_principal(), move |vault, _| vault.end_break_glass(&id)).await?;
    Ok(Json(json!({"glass": glass})).into_response())
}

async fn review_glass(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(found): Json<Because>,
) -> Answer {
    let glass = app.work(seat.into_principal(), move |vault, _| vault.review_break_glass(&id, &found.reason)).await?;
    Ok(Json(json!({"glass": glass})).into_response())
}

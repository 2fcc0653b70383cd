//! Runs whose command runs on another machine: begun by a person, carried out under the run's own token.
//!
//! The first two routes are people's and programs'; all others take the token of exactly the run that they name.

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
};
use ringfence_engine::{
    access::Action,
    carry::UPLOAD_PIECE_BYTES_MAX,
    team::Caller,
    told::{Events, Outcome, RunAsk},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    description::{object, text},
    transfers::{Offset, brought, first, place, ranged},
};
use crate::{
    app::App,
    guard::json::Json,
    problem::Answer,
    routes::{Intake, Route, Verb, seat::Seat},
};

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::Train;
    use Verb::{Get, Patch, Post};
    vec![
        Route::acting(Train, Post, "/api/v1/runs", "begins a run whose command runs on the machine that asks", begin)
            .takes_json(wanted),
        Route::acting(Train, Get, "/api/v1/runs/{run}/standing", "how one's own run elsewhere stands", standing)
            .unrecorded(),
        Route::in_run(Get, "/api/v1/runs/{run}/inputs/{input}/files/{file}", "a file of an input, or a range", input)
            .streaming(),
        Route::in_run(Post, "/api/v1/runs/{run}/events", "tells what happened, and hears what to do", events)
            .takes_json(happened)
            .unrecorded(),
        Route::in_run(Post, "/api/v1/runs/{run}/token", "another token in the place of this one", token),
        Route::in_run(Post, "/api/v1/runs/{run}/outputs", "says how the command ended and what it left", outcome)
            .takes_json(ended)
            .unrecorded(),
        Route::in_run(Get, "/api/v1/runs/{run}/outputs", "where bringing the outputs goes on", outputs).unrecorded(),
        Route::in_run(Patch, "/api/v1/runs/{run}/outputs/files/{file}", "brings the next bytes of an output", bring)
            .takes(Intake::Bytes { bytes_max: UPLOAD_PIECE_BYTES_MAX })
            .streaming()
            .unrecorded(),
        Route::in_run(Post, "/api/v1/runs/{run}/finish", "says that all outputs are there", finish).unrecorded(),
        Route::in_run(Post, "/api/v1/runs/{run}/fail", "gives the run up", fail).takes_json(reason).unrecorded(),
    ]
}

/// The schema of a machine.
pub(super) fn machine() -> Value {
    let level = json!({"type": ["string", "null"], "enum": ["landlock", "no-cgroup", "full", null]});
    let cores = json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
    object(&[("name", text()), ("level", level), ("line", text()), ("cores", cores), ("client", text())], &[])
}

/// The schema of a run's inputs.
pub(super) fn inputs() -> Value {
    json!({"type": "object", "additionalProperties": text(),
        "description": "`data.ROLE`, `model.ROLE` or `code` to `kind/name@version`"})
}

/// The schema of the least confinement.
pub(super) fn least() -> Value {
    json!({"type": "string", "enum": ["any", "no-cgroup", "full"]})
}

fn wanted() -> Value {
    let pin = json!({"type": "boolean", "description": "the run's token is good from this address alone"});
    let needed = [("plan", text()), ("inputs", inputs()), ("machine", machine())];
    object(&needed, &[("level", least()), ("pin", pin)])
}

fn happened() -> Value {
    let first = json!({"type": "integer", "minimum": 0});
    object(&[("first", first), ("events", json!({"type": "array", "items": {"type": "object"}}))], &[])
}

fn ended() -> Value {
    let size = json!({"type": "integer", "minimum": 0});
    let file = object(&[("path", text()), ("size", size), ("sha256", text())], &[]);
    let files = json!({"type": "array", "items": file});
    let any = || json!({"type": "object"});
    object(&[("result", any()), ("files", files), ("environment", json!({})), ("program", text())], &[])
}

fn reason() -> Value {
    object(&[("why", text())], &[])
}

async fn begin(seat: Seat<Caller>, State(app): State<App>, Json(ask): Json<RunAsk>) -> Answer {
    let begun = app.keep(seat.into_principal(), move |vault, begun| vault.run_elsewhere(ask, begun).map(drop));
    Ok((StatusCode::CREATED, Json(begun.await?)).into_response())
}

async fn standing(seat: Seat<Caller>, State(app): State<App>, Path(run): Path<String>) -> Answer {
    let standing = app.work(seat.into_principal(), move |vault, _| vault.run_standing(&run)).await?;
    Ok(Json(standing).into_response())
}

async fn input(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path((run, input, file)): Path<(String, usize, usize)>,
    headers: HeaderMap,
) -> Answer {
    let place = place(&app)?;
    let from = first(&headers);
    let served = app.work(seat.into_principal(), move |vault, _| vault.run_input(&run, input, file, from)).await?;
    ranged(served, &headers, place)
}

async fn events(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(run): Path<String>,
    Json(told): Json<Events>,
) -> Answer {
    let heard = app.work(seat.into_principal(), move |vault, _| vault.run_events(&run, told)).await?;
    Ok(Json(heard).into_response())
}

async fn token(seat: Seat<Caller>, State(app): State<App>, Path(run): Path<String>) -> Answer {
    let renewed = app.work(seat.into_principal(), move |vault, _| vault.renew_run(&run)).await?;
    Ok((StatusCode::CREATED, Json(renewed)).into_response())
}

async fn outcome(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(run): Path<String>,
    Json(told): Json<Outcome>,
) -> Answer {
    let view = app.work(seat.into_principal(), move |vault, _| vault.run_outcome(&run, told)).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

async fn outputs(seat: Seat<Caller>, State(app): State<App>, Path(run): Path<String>) -> Answer {
    let view = app.work(seat.into_principal(), move |vault, _| vault.run_outputs(&run)).await?;
    Ok(Json(view).into_response())
}

/// What has come stays, whatever becomes of the rest.
async fn bring(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path((run, file)): Path<(String, usize)>,
    Query(Offset { from }): Query<Offset>,
    body: Body,
) -> Answer {
    brought(seat, app, from, body, move |vault, piece| match piece {
        None => vault.run_outputs(&run),
        Some((at, bytes)) => vault.append_output(&run, file, at, bytes),
    })
    .await
}

async fn finish(seat: Seat<Caller>, State(app): State<App>, Path(run): Path<String>) -> Answer {
    app.work(seat.into_principal(), move |vault, _| vault.finish_run(&run)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    why: String,
}

async fn fail(seat: Seat<Caller>, State(app): State<App>, Path(run): Path<String>, Json(told): Json<Reason>) -> Answer {
    app.work(seat.into_principal(), move |vault, _| vault.fail_run(&run, &told.why)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

//! Runs that wait for a machine: queued by people, taken by programs on training machines.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use ringfence_engine::{access::Action, queue::QueueAsk, team::Caller, told::MachineFacts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    description::{object, text},
    runs::{inputs, least, machine},
};
use crate::{
    app::App,
    guard::json::Json,
    problem::Answer,
    routes::{Route, Verb, seat::Seat},
};

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{Read, Stop, Train};
    use Verb::{Delete, Get, Post};
    vec![
        Route::acting(Train, Post, "/api/v1/queue", "queues a run for whichever machine takes it", add)
            .takes_json(queued),
        Route::acting(Read, Get, "/api/v1/queue", "runs that wait or waited for a machine, the oldest first", list),
        Route::acting(Read, Get, "/api/v1/queue/waiting", "how many runs wait", waiting).unrecorded(),
        Route::acting(
            Train,
            Post,
            "/api/v1/queue/take",
            "gives the oldest run that waits to the machine that asks",
            take,
        )
        .takes_json(taker),
        Route::acting(Stop, Delete, "/api/v1/queue/{id}", "takes out what no machine has", remove),
    ]
}

fn queued() -> Value {
    object(&[("plan", text()), ("inputs", inputs())], &[("level", least())])
}

fn taker() -> Value {
    object(&[("machine", machine())], &[])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Taker {
    machine: MachineFacts,
}

async fn add(seat: Seat<Caller>, State(app): State<App>, Json(ask): Json<QueueAsk>) -> Answer {
    let added = app.work(seat.into_principal(), move |vault, _| vault.queue_run(&ask)).await?;
    Ok((StatusCode::CREATED, Json(added)).into_response())
}

async fn list(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let queue = app.look(seat.into_principal(), "the queue", ringfence_engine::Vault::queued_runs).await?;
    Ok(Json(json!({"queue": queue})).into_response())
}

async fn waiting(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let waiting = app.work(seat.into_principal(), |vault, _| vault.waiting_runs()).await?;
    Ok(Json(json!({"waiting": waiting})).into_response())
}

async fn take(seat: Seat<Caller>, State(app): State<App>, Json(Taker { machine }): Json<Taker>) -> Answer {
    let begun = app.keep(seat.into_principal(), move |vault, begun| vault.take_run(machine, begun));
    Ok((StatusCode::CREATED, Json(begun.await?)).into_response())
}

async fn remove(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let removed = app.work(seat.into_principal(), move |vault, _| vault.unqueue_run(&id)).await?;
    Ok(Json(removed).into_response())
}

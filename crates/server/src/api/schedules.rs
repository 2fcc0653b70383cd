//! What the server does by itself: listed, added, taken away.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use ringfence_engine::{access::Action, schedule::Job, team::Caller};
use serde::Deserialize;
use serde_json::{Value, json};

use super::description::object;
use crate::{
    app::App,
    guard::json::Json,
    problem::Answer,
    routes::{Route, Verb, seat::Seat},
};

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{Read, Schedule};
    use Verb::{Delete, Get, Post};
    vec![
        Route::acting(Read, Get, "/api/v1/schedules", "what is done by itself, the next first", list),
        Route::acting(Schedule, Post, "/api/v1/schedules", "has something done by itself", add).takes_json(wanted),
        Route::acting(Schedule, Delete, "/api/v1/schedules/{id}", "has it done no more", remove),
    ]
}

fn wanted() -> Value {
    let jobs = json!({"type": "string", "enum": Job::ALL});
    let every = json!({"type": "string", "pattern": "^[0-9]+[hd]$"});
    let at = json!({"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"});
    let mut schema = object(&[("job", jobs), ("every", every)], &[("at", at)]);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("description".to_owned(), "`every` is hours or days, `at` a time of the day in UTC".into());
    }
    schema
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    job: String,
    every: String,
    #[serde(default)]
    at: Option<String>,
}

async fn list(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let schedules = app.look(seat.into_principal(), "schedules", ringfence_engine::Vault::schedules).await?;
    Ok(Json(json!({"schedules": schedules})).into_response())
}

async fn add(seat: Seat<Caller>, State(app): State<App>, Json(wanted): Json<Wanted>) -> Answer {
    let plan =
        app.work(seat.into_principal(), move |vault, _| vault.plan(&wanted.job, &wanted.every, wanted.at.as_deref()));
    let added = plan.await?;
    Ok((StatusCode::CREATED, Json(added)).into_response())
}

async fn remove(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let removed = app.work(seat.into_principal(), move |vault, _| vault.remove_schedule(&id)).await?;
    Ok(Json(removed).into_response())
}

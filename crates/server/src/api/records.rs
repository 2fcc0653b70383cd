//! What happened: the trail, runs, alerts, and how the installation is.

use axum::{
    extract::{Path, Query, State},
    http::header,
    response::IntoResponse as _,
};
use ringfence_engine::{
    Order,
    access::Action,
    alerts::AlertFilter,
    doctor,
    schema::{Digest, Timestamp},
    team::Caller,
    trail::{Decided, Filter, moment},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::description::{object, text};
use crate::{
    app::{App, problem},
    guard::json::Json,
    problem::{Answer, Kind, Problem},
    routes::{Route, Verb, seat::Seat},
};

/// Most entries of one answer.
const ENTRIES_MAX: u64 = 1_000;
/// Entries of an answer that asks for none in particular.
const ENTRIES_USUAL: u64 = 100;

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{Acknowledge, Read, Stop, Verify};
    use Verb::{Get, Post};
    vec![
        Route::acting(Read, Get, "/api/v1/trail", "searches the trail", trail),
        Route::acting(Read, Get, "/api/v1/trail/entries/{index}", "one entry, with what it commits to", entry),
        Route::acting(Read, Get, "/api/v1/trail/checkpoint", "the newest signed checkpoint", checkpoint),
        Route::signed_in(Get, "/api/v1/trail/continuation/{from}", "proves that the trail continues", continuation)
            .unrecorded(),
        Route::signed_in(Get, "/api/v1/root", "the trust root's file", root).unrecorded(),
        Route::acting(Verify, Post, "/api/v1/trail/verify", "verifies the whole trail", verify).streaming(),
        Route::acting(Read, Get, "/api/v1/runs", "runs, newest first", runs),
        Route::acting(Read, Get, "/api/v1/runs/{run}", "the telemetry of a run", run),
        Route::acting(Stop, Post, "/api/v1/runs/{run}/order", "stops, freezes or thaws a run", order)
            .takes_json(ordered),
        Route::acting(Read, Get, "/api/v1/alerts", "alerts, newest first", alerts),
        Route::acting(Acknowledge, Post, "/api/v1/alerts/{id}/acknowledge", "says that an alert was seen", acknowledge)
            .takes_json(seen),
        Route::acting(Read, Get, "/api/v1/posture", "what works on the server's machine", posture).streaming(),
    ]
}

fn ordered() -> Value {
    let orders = json!({"type": "string", "enum": Order::ALL.map(Order::name)});
    object(&[("order", orders), ("reason", text())], &[])
}

/// What a run is told.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    order: String,
    reason: String,
}

/// A search, as it stands in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    who: Option<String>,
    what: Option<String>,
    artifact: Option<String>,
    decision: Option<String>,
    since: Option<String>,
    until: Option<String>,
    last: Option<u64>,
}

fn seen() -> Value {
    object(&[("reason", text())], &[("until", json!({"type": "integer", "minimum": 0}))])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    reason: String,
    #[serde(default)]
    until: Option<Timestamp>,
}

impl Search {
    fn filter(self, now: Timestamp) -> Result<Filter, Problem> {
        let decision = match self.decision.as_deref() {
            None => None,
            Some(word) => {
                let known = [Decided::Allowed, Decided::Denied, Decided::Failed];
                let found = known.into_iter().find(|decided| decided.word() == word);
                let unknown = || Problem::about(Kind::Malformed, "`decision` is `allowed`, `denied` or `failed`");
                Some(found.ok_or_else(unknown)?)
            }
        };
        let point =
            |text: Option<String>| text.map(|text| moment(&text, now).map_err(|error| problem(&error))).transpose();
        let (since, until) = (point(self.since)?, point(self.until)?);
        Ok(Filter { who: self.who, what: self.what, artifact: self.artifact, decision, since, until })
    }
}

async fn trail(seat: Seat<Caller>, State(app): State<App>, Query(search): Query<Search>) -> Answer {
    let last = search.last.unwrap_or(ENTRIES_USUAL).min(ENTRIES_MAX);
    let filter = search.filter(app.now())?;
    let found = app.look(seat.into_principal(), "the trail", move |vault| {
        let mut found: Vec<Value> = Vec::new();
        vault.search(&filter, Some(last), &mut |entry| {
            let mut shown = json!(entry);
            if let Some(fields) = shown.as_object_mut() {
                fields.insert("subject".to_owned(), entry.subject().into());
                fields.insert("word".to_owned(), entry.word().into());
            }
            found.push(shown);
            Ok(())
        })?;
        Ok(found)
    });
    Ok(Json(json!({"entries": found.await?})).into_response())
}

async fn entry(seat: Seat<Caller>, State(app): State<App>, Path(index): Path<u64>) -> Answer {
    let what = format!("trail entry {index}");
    let shown = app.look(seat.into_principal(), what, move |vault| vault.trail_entry(index)).await?;
    Ok(Json(shown).into_response())
}

async fn checkpoint(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let note = app.look(seat.into_principal(), "the newest checkpoint", ringfence_engine::Vault::checkpoint).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response())
}

/// Hashes and a signed note: nothing that is guarded, and asked for after every command.
async fn continuation(seat: Seat<Caller>, State(app): State<App>, Path(from): Path<u64>) -> Answer {
    let newest = app.work(seat.into_principal(), move |vault, _| vault.continuation(from)).await?;
    Ok(Json(newest).into_response())
}

/// Byte for byte: the file is signed.
async fn root(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let file = app.work(seat.into_principal(), |vault, _| Ok(vault.root_file().to_vec())).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], file).into_response())
}

async fn verify(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let report = app.look(seat.into_principal(), "the whole trail", ringfence_engine::Vault::verify_trail).await?;
    Ok(Json(report).into_response())
}

async fn runs(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let runs = app.look(seat.into_principal(), "runs", ringfence_engine::Vault::runs).await?;
    Ok(Json(json!({"runs": runs})).into_response())
}

async fn run(seat: Seat<Caller>, State(app): State<App>, Path(run): Path<String>) -> Answer {
    let what = format!("run {run}");
    let lines = app.look(seat.into_principal(), what, move |vault| vault.run_lines(&run)).await?;
    Ok(Json(json!({"lines": lines})).into_response())
}

async fn order(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(run): Path<String>,
    Json(told): Json<Ordered>,
) -> Answer {
    let known = Order::ALL.into_iter().find(|order| order.name() == told.order);
    let order = known.ok_or_else(|| Problem::about(Kind::Unprocessable, "the orders are stop, freeze and thaw"))?;
    let said = json!({"run": run, "order": order.name()});
    app.work(seat.into_principal(), move |vault, _| vault.order_run(&run, order, &told.reason)).await?;
    Ok(Json(said).into_response())
}

async fn alerts(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let alerts = app.look(seat.into_principal(), "alerts", |vault| vault.alerts(&AlertFilter::default())).await?;
    Ok(Json(json!({"alerts": alerts})).into_response())
}

async fn acknowledge(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(seen): Json<Seen>,
) -> Answer {
    let id: Digest = id.parse().map_err(|_| Problem::about(Kind::NotFound, "there is no such alert"))?;
    let done = app.work(seat.into_principal(), move |vault, _| vault.acknowledge(id, &seen.reason, seen.until)).await?;
    Ok(Json(done).into_response())
}

async fn posture(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let parts = app.look(seat.into_principal(), "posture", |vault| Ok(doctor::examine(vault.settings()))).await?;
    Ok(Json(json!({"parts": app.with_certificate(parts)})).into_response())
}

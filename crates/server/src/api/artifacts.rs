//! Artifacts: what is here, what is known of each, and what people decide on them.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse as _,
};
use ringfence_engine::{
    Vault, Version,
    access::Action,
    destroy::VERSIONS_MAX,
    schema::Reference,
    team::{Asked, Caller},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::description::{because, object, text};
use crate::{
    app::App,
    guard::json::Json,
    problem::{Answer, Kind, Problem},
    routes::{Route, Verb, seat::Seat},
};

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Action::{Admit, Read, Release, Restore, Review, Verify};
    use Verb::{Get, Post};
    vec![
        Route::acting(Read, Get, "/api/v1/artifacts", "every version of every artifact", list),
        Route::acting(Read, Get, "/api/v1/artifacts/{kind}/{name}/{version}", "one version, with its evidence", one),
        Route::acting(Read, Get, "/api/v1/artifacts/{kind}/{name}/{version}/scan", "its newest scan report", scan),
        Route::acting(Read, Get, "/api/v1/artifacts/{kind}/{name}/{version}/screen", "its newest screening", screen),
        Route::acting(Read, Get, "/api/v1/artifacts/{kind}/{name}/{version}/bom", "its bill of materials", bill),
        Route::acting(Read, Get, "/api/v1/review", "what is held for a person's decision", held),
        Route::acting(
            Review,
            Post,
            "/api/v1/artifacts/{kind}/{name}/{version}/approve",
            "lets it in, with a reason",
            approve,
        )
        .takes_json(because)
        .streaming(),
        Route::acting(Review, Post, "/api/v1/artifacts/{kind}/{name}/{version}/refuse", "refuses it for good", refuse)
            .takes_json(because),
        Route::acting(
            Admit,
            Post,
            "/api/v1/artifacts/{kind}/{name}/{version}/resume",
            "goes on with an admission that was cut off: inspects it, and asks the gate",
            resume,
        )
        .streaming(),
        Route::acting(
            Restore,
            Post,
            "/api/v1/artifacts/{kind}/{name}/{version}/rollback",
            "makes it current again, or asks others to approve that",
            rollback,
        )
        .streaming(),
        Route::acting(
            Release,
            Post,
            "/api/v1/artifacts/{kind}/{name}/{version}/release",
            "releases a tested candidate, or asks others to approve that",
            release,
        )
        .streaming(),
        Route::acting(
            Read,
            Post,
            "/api/v1/destruction",
            "what destroying versions would take; nothing is",
            destruction,
        )
        .takes_json(named)
        .streaming(),
        Route::acting(Verify, Post, "/api/v1/verify", "reads and checks every stored byte", verify).streaming(),
    ]
}

// Whoever decides on a version first looks at it: that it exists is told only to those who may see what is here.

/// Which version: kind, name, and a number, a label or a digest.
pub(super) type Which = Path<(String, String, String)>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    reason: String,
}

pub(super) fn reference(Path((kind, name, version)): Which) -> Result<Reference, Problem> {
    format!("{kind}/{name}@{version}")
        .parse()
        .map_err(|_| Problem::about(Kind::NotFound, "an artifact is `kind/name` and a version, a label or a digest"))
}

async fn list(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    #[derive(Serialize)]
    struct Listing<'a> {
        artifacts: &'a [Version],
    }
    let caller = seat.into_principal();
    let versions = app.look_first(caller, "artifacts", Vault::listed_at, Vault::listed).await?;
    Ok(Json(Listing { artifacts: &versions }).into_response())
}

async fn one(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    let which = reference(which)?;
    let read = app.look(seat.into_principal(), which.to_string(), move |vault| {
        let version = vault.find(&which)?;
        let evidence = vault.evidence_of(&version)?;
        Ok((version, evidence))
    });
    let (version, evidence) = read.await?;
    Ok(Json(json!({"version": version, "evidence": evidence})).into_response())
}

async fn scan(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    let which = reference(which)?;
    let what = format!("scan of {which}");
    let report = app.look(seat.into_principal(), what, move |vault| vault.scan_report(&vault.find(&which)?)).await?;
    report.map(|report| Json(report).into_response()).ok_or(Problem::about(Kind::NotFound, "it was not scanned"))
}

async fn screen(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    let which = reference(which)?;
    let what = format!("screening of {which}");
    let report = app.look(seat.into_principal(), what, move |vault| vault.screen_report(&vault.find(&which)?)).await?;
    report.map(|report| Json(report).into_response()).ok_or(Problem::about(Kind::NotFound, "it was not screened"))
}

async fn bill(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    let which = reference(which)?;
    let what = format!("bill of materials of {which}");
    let bill = app.look(seat.into_principal(), what, move |vault| vault.bill(&vault.find(&which)?, None)).await?;
    Ok(Json(bill).into_response())
}

async fn held(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let held = app.look(seat.into_principal(), "what is held", Vault::held).await?;
    Ok(Json(json!({"held": held})).into_response())
}

async fn approve(seat: Seat<Caller>, State(app): State<App>, which: Which, Json(why): Json<Because>) -> Answer {
    let which = reference(which)?;
    let done = app
        .look(seat.into_principal(), which.to_string(), move |vault| vault.approve(&vault.find(&which)?, &why.reason));
    Ok(Json(json!({"version": done.await?.version()})).into_response())
}

async fn refuse(seat: Seat<Caller>, State(app): State<App>, which: Which, Json(why): Json<Because>) -> Answer {
    let which = reference(which)?;
    let done = app
        .look(seat.into_principal(), which.to_string(), move |vault| vault.refuse(&vault.find(&which)?, &why.reason));
    Ok(Json(json!({"version": done.await?})).into_response())
}

async fn resume(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    let which = reference(which)?;
    let ended = app.look(seat.into_principal(), which.to_string(), move |vault| vault.resume(&which)).await?;
    Ok(Json(ended).into_response())
}

async fn rollback(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    let which = reference(which)?;
    let asked = app.look(seat.into_principal(), which.to_string(), move |vault| {
        let earlier = vault.find(&which)?;
        vault.ask_or_use(|vault| vault.rollback(&earlier))
    });
    Ok(match asked.await? {
        Asked::Done(version) => Json(json!({"version": version})).into_response(),
        Asked::Waiting(request) => (StatusCode::ACCEPTED, Json(json!({"request": request}))).into_response(),
    })
}

async fn release(seat: Seat<Caller>, State(app): State<App>, which: Which) -> Answer {
    let which = reference(which)?;
    let asked = app.look(seat.into_principal(), which.to_string(), move |vault| {
        let candidate = vault.find(&which)?;
        vault.ask_or_use(|vault| vault.release_candidate(&candidate))
    });
    Ok(match asked.await? {
        Asked::Done(released) => (StatusCode::CREATED, Json(json!({"version": released.version()}))).into_response(),
        Asked::Waiting(request) => (StatusCode::ACCEPTED, Json(json!({"request": request}))).into_response(),
    })
}

/// Several versions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    what: Vec<String>,
}

fn named() -> Value {
    let what = json!({"type": "array", "items": text(), "minItems": 1, "maxItems": VERSIONS_MAX});
    object(&[("what", what)], &[])
}

async fn destruction(seat: Seat<Caller>, State(app): State<App>, Json(named): Json<Named>) -> Answer {
    if named.what.is_empty() || named.what.len() > VERSIONS_MAX {
        return Err(Problem::about(Kind::Unprocessable, format!("name 1 to {VERSIONS_MAX} versions")));
    }
    let unknown = |_| Problem::about(Kind::Unprocessable, "a version is `kind/name@number`, a label or a digest");
    let which: Vec<Reference> =
        named.what.iter().map(|text| text.parse().map_err(unknown)).collect::<Result<_, _>>()?;
    let what = format!("what destroying {} would take", named.what.join(", "));
    let plan = app.look(seat.into_principal(), what, move |vault| {
        let versions = which.iter().map(|which| vault.find(which)).collect::<Result<Vec<_>, _>>()?;
        vault.destruction(&versions)
    });
    Ok(Json(plan.await?).into_response())
}

async fn verify(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let report = app.work(seat.into_principal(), |vault, _| vault.verify_all()).await?;
    Ok(Json(report).into_response())
}

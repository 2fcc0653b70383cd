//! Every page that shows something. That somebody looks is decided and recorded before anything is read.

use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use maud::Markup;
use ringfence_engine::{
    EngineError, Vault,
    access::{Action, Role},
    schema::Reference,
    team::{Caller, PersonView, RequestView},
};
use serde::Deserialize;

use super::{frame, page};
use crate::{
    app::App,
    pages::{
        artifact::artifact,
        artifacts::{ArtifactQuery, artifacts},
        attacks::attacks,
        frame::Frame,
        load::{self, Around},
        overview::overview,
        paths,
        people::people,
        policy::policy,
        review::{OwnRequest, PendingRequest, review},
        run::{run, runs},
        security::security,
        trail::{TrailQuery, entry, trail},
    },
    problem::{Answer, Kind, Problem},
    routes::{Route, Verb::Get, seat::Seat},
};

/// How old a backup may be before the overview says so, in milliseconds: a day.
const BACKUP_LIMIT_MS: u64 = 86_400_000;

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    let read = Action::Read;
    vec![
        Route::acting(read, Get, paths::OVERVIEW, "what needs somebody now", overview_page).streaming(),
        Route::acting(read, Get, paths::ARTIFACTS, "artifacts", artifacts_page),
        Route::acting(read, Get, paths::ARTIFACT, "one version of an artifact", artifact_page),
        Route::acting(read, Get, paths::REVIEW, "what waits for a decision", review_page),
        Route::acting(read, Get, paths::RUNS, "runs", runs_page),
        Route::acting(read, Get, paths::RUN, "one run", run_page),
        Route::acting(read, Get, paths::TESTS, "attacks and their figures", tests_page),
        Route::acting(read, Get, paths::TRAIL, "the trail", trail_page),
        Route::acting(read, Get, paths::TRAIL_ENTRY, "one entry of the trail", entry_page),
        Route::acting(read, Get, paths::SECURITY, "who may what, factors, ages, posture", security_page).streaming(),
        Route::acting(read, Get, paths::PEOPLE, "people and programs", people_page),
        Route::acting(read, Get, paths::POLICY, "the policy in force", policy_page),
    ]
}

/// Reads a view as the caller and draws it.
pub(super) async fn show<V: Send + 'static>(
    seat: Seat<Caller>,
    app: App,
    what: impl Into<String>,
    read: impl FnOnce(&Vault<'_>, Frame) -> Result<V, EngineError> + Send + 'static,
    draw: fn(&V) -> Markup,
) -> Answer {
    let shared = app.clone();
    let view = app.look(seat.into_principal(), what, move |vault| read(vault, frame(&shared, vault)?)).await?;
    Ok(page(draw(&view)))
}

async fn overview_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let shared = app.clone();
    let read = move |vault: &Vault<'_>, frame| {
        let parts = shared.posture(|| load::parts(vault.settings()));
        let requests = vault.requests()?.iter().filter(|request| request.is_open()).count();
        let may_acknowledge = may_appoint(vault.caller());
        let around = Around { parts, backup: None, backup_limit_ms: BACKUP_LIMIT_MS, requests, may_acknowledge };
        load::overview(vault, frame, &around)
    };
    show(seat, app, "the overview", read, overview).await
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default, rename = "q")]
    text: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    state: String,
}

async fn artifacts_page(seat: Seat<Caller>, State(app): State<App>, Query(wanted): Query<Wanted>) -> Answer {
    let Wanted { text, kind, state } = wanted;
    let query = ArtifactQuery { text, kind, state };
    show(seat, app, "artifacts", |vault, frame| load::artifacts(vault, frame, query), artifacts).await
}

async fn artifact_page(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path((kind, name, version)): Path<(String, String, String)>,
) -> Answer {
    let which = format!("{kind}/{name}@{version}");
    let which: Reference = which.parse().map_err(|_| Problem::new(Kind::NotFound))?;
    let what = which.to_string();
    let read = move |vault: &Vault<'_>, frame| {
        let roles = &vault.caller().person.roles;
        let may_release = roles.contains(&Role::Owner) || roles.contains(&Role::Researcher);
        load::artifact(vault, frame, &vault.find(&which)?, may_release)
    };
    show(seat, app, what, read, artifact).await
}

async fn review_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let read = |vault: &Vault<'_>, frame| load::review(vault, frame, pending(vault)?);
    show(seat, app, "what waits for a decision", read, review).await
}

/// Requests that wait, oldest first, with why the caller cannot approve each.
fn pending(vault: &Vault<'_>) -> Result<Vec<PendingRequest>, EngineError> {
    let (people, me) = (vault.people()?, &vault.caller().person.id);
    let mut open: Vec<RequestView> = vault.requests()?.into_iter().filter(RequestView::is_open).collect();
    open.reverse();
    Ok(open.into_iter().map(|request| drawn(request, &people, me)).collect())
}

/// What people call the person with this id; the id, where nobody has it.
pub(super) fn called(people: &[PersonView], id: &str) -> String {
    let found = people.iter().find(|person| person.id.as_str() == id);
    found.map_or_else(|| id.to_owned(), |person| person.display.clone())
}

fn drawn(request: RequestView, people: &[PersonView], me: &str) -> PendingRequest {
    let called = |id: &str| called(people, id);
    let document = &request.document;
    let own = document.requester.as_str() == me;
    let barred = if own {
        Some("You asked for it; others have to approve it.".to_owned())
    } else if request.approvals.iter().any(|approval| approval.person.as_str() == me) {
        Some("You have approved it.".to_owned())
    } else {
        None
    };
    PendingRequest {
        id: request.id.to_string(),
        title: format!("{} {}", document.action, document.subject),
        says: document.says.lines().map(str::to_owned).collect(),
        digest: request.digest,
        by: called(document.requester.as_str()),
        since: document.made,
        until: document.expires,
        approvals: request.approvals.iter().map(|approval| called(approval.person.as_str())).collect(),
        needed: usize::try_from(document.needed).unwrap_or(usize::MAX),
        reason: document.reason.clone(),
        own: own.then(|| match (request.is_approved(), document.action) {
            (false, _) => OwnRequest::Waits,
            // What is written out needs a folder, which a browser does not name.
            (true, Action::Export) => OwnRequest::ByCommand,
            (true, _) => OwnRequest::Ready,
        }),
        barred,
    }
}

async fn runs_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    show(seat, app, "runs", load::runs, runs).await
}

async fn run_page(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    let what = format!("run {id}");
    let read = move |vault: &Vault<'_>, frame| {
        let may_stop = may_appoint(vault.caller()) || vault.caller().person.roles.contains(&Role::Researcher);
        load::run(vault, frame, &id, may_stop)
    };
    show(seat, app, what, read, run).await
}

async fn tests_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    show(seat, app, "attacks", load::attacks, attacks).await
}

#[derive(Deserialize)]
struct Searched {
    #[serde(default)]
    who: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    artifact: String,
    #[serde(default)]
    decision: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
}

async fn trail_page(seat: Seat<Caller>, State(app): State<App>, Query(searched): Query<Searched>) -> Answer {
    let Searched { who, what, artifact, decision, since, until } = searched;
    let query = TrailQuery { who, what, artifact, decision, since, until };
    show(seat, app, "the trail", |vault, frame| load::trail(vault, frame, query), trail).await
}

async fn entry_page(seat: Seat<Caller>, State(app): State<App>, Path(index): Path<u64>) -> Answer {
    let what = format!("trail entry {index}");
    show(seat, app, what, move |vault, frame| load::entry(vault, frame, index), entry).await
}

async fn security_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let shared = app.clone();
    let read = move |vault: &Vault<'_>, frame| {
        let parts = shared.posture(|| load::parts(vault.settings()));
        load::security(vault, frame, parts, may_appoint(vault.caller()))
    };
    show(seat, app, "security", read, security).await
}

/// Whether the caller's roles let them appoint; the engine decides when they do.
pub(super) fn may_appoint(caller: &Caller) -> bool {
    caller.person.roles.iter().any(|role| matches!(role, Role::Owner | Role::SecurityOfficer))
}

async fn people_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let read = |vault: &Vault<'_>, frame| {
        let caller = vault.caller();
        load::people(vault, frame, &caller.person.id, may_appoint(caller))
    };
    show(seat, app, "people", read, people).await
}

async fn policy_page(seat: Seat<Caller>, State(app): State<App>) -> Answer {
    let read = |vault: &Vault<'_>, frame| {
        let text = current_policy(vault)?;
        load::policy(vault, frame, text, None, may_appoint(vault.caller()))
    };
    let answer: Response = show(seat, app, "the policy", read, policy).await?;
    Ok(answer)
}

/// The document of the newest version; empty where there is none.
pub(super) fn current_policy(vault: &Vault<'_>) -> Result<String, EngineError> {
    match vault.policy_versions()?.iter().map(|version| version.version).max() {
        Some(version) => vault.policy_text(version),
        None => Ok(String::new()),
    }
}

//! SCIM 2.0 (RFC 7643, 7644): a directory brings people and groups in, and takes them away.
//!
//! * [`shape`]: documents of a directory, read into what the engine is asked for; [`query`]: filters and pages of lists.
//! * `show`: people, groups, errors and the server's own description as documents.
//!
//! A program calls, with a token whose scope holds `provision` and nothing that people need. What it may change, and what its
//! groups stand for, is the engine's to say ([`ringfence_engine::team::directory`]). Attributes that nobody here needs
//! (addresses, telephones, passwords) are read past, and never stored.
//!
//! Absent on purpose: bulk, sorting, ETags and passwords, as `ServiceProviderConfig` says.

pub mod query;
pub mod shape;
mod show;

use axum::{
    body::Bytes,
    extract::{FromRequest, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use ringfence_engine::{
    EngineError,
    access::Action,
    team::{
        Caller,
        directory::{DirectoryGroup, DirectoryUser, Named},
    },
};
use serde_json::Value;

use self::query::{Asked, List};
pub(crate) use self::show::error;
use crate::{
    app::App,
    guard::json,
    problem::{Kind, Problem},
    routes::{Intake, Route, Routes, Verb, seat::Seat},
};

/// Where everything of this lies.
pub const BASE: &str = "/scim/v2";
/// The media type of every document (RFC 7644, section 8.1).
pub const MEDIA_TYPE: &str = "application/scim+json";

const USERS: &str = "/scim/v2/Users";
const USER: &str = "/scim/v2/Users/{id}";
const GROUPS: &str = "/scim/v2/Groups";
const GROUP: &str = "/scim/v2/Groups/{id}";

/// Every route.
pub fn routes() -> Routes<App, Caller> {
    use Verb::{Delete, Get, Patch, Post, Put};
    let provision = Action::Provision;
    // The same for everybody: nothing of the vault is in it.
    let about = |path, says, document: fn() -> Value| {
        let answer = move |_: Seat<Caller>| async move { show::document(StatusCode::OK, &document()) };
        Route::signed_in(Get, path, says, answer).unrecorded()
    };
    Routes::default().and([
        about("/scim/v2/ServiceProviderConfig", "what of SCIM is offered", show::provider),
        about("/scim/v2/ResourceTypes", "users and groups", show::resource_types),
        about("/scim/v2/Schemas", "the attributes of users and groups", show::schemas),
        Route::acting(provision, Get, USERS, "people, by a filter", users),
        Route::acting(provision, Post, USERS, "brings somebody in", bring).takes(Intake::Json),
        Route::acting(provision, Get, USER, "one person", one_user),
        Route::acting(provision, Put, USER, "says anew who somebody is", replace_user).takes(Intake::Json),
        Route::acting(provision, Patch, USER, "changes somebody", patch_user).takes(Intake::Json),
        Route::acting(provision, Delete, USER, "shuts somebody out", remove_user),
        Route::acting(provision, Get, GROUPS, "groups, by a filter", groups),
        Route::acting(provision, Post, GROUPS, "makes a group", make_group).takes(Intake::Json),
        Route::acting(provision, Get, GROUP, "one group", one_group),
        Route::acting(provision, Put, GROUP, "says anew who is in a group", replace_group).takes(Intake::Json),
        Route::acting(provision, Patch, GROUP, "changes a group", patch_group).takes(Intake::Json),
        Route::acting(provision, Delete, GROUP, "takes a group away", remove_group),
    ])
}

/// Whether `path` is answered in SCIM's words.
pub(crate) fn is_ours(path: &str) -> bool {
    path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What went wrong, with SCIM's own word for it where it has one (RFC 7644, table 9).
#[derive(Debug)]
pub struct Fault {
    problem: Problem,
    why: Option<&'static str>,
}

impl Fault {
    fn new(kind: Kind, why: &'static str, says: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self { problem: Problem::about(kind, says), why: Some(why) }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { problem, why: None }
    }
}

impl axum::response::IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        if let Some(why) = self.why {
            response.extensions_mut().insert(show::Why(why));
        }
        response
    }
}

type Answer = Result<Response, Fault>;

/// A document that came in.
struct Document(Value);

impl<S: Send + Sync> FromRequest<S> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_document(request.headers()) {
            return Err(Problem::about(Kind::MediaType, "send `Content-Type: application/scim+json`"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|refused| {
            if refused.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Kind::BodyTooLarge)
            } else {
                Problem::about(Kind::Malformed, "the body did not arrive whole")
            }
        })?;
        json::read(&bytes).map(Self)
    }
}

/// Either media type that directories send, in UTF-8.
fn is_document(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next().and_then(|value| value.to_str().ok()), values.next()) else {
        return false;
    };
    let (kind, parameter) = value.split_once(';').map_or((value, ""), |(kind, rest)| (kind, rest.trim()));
    let known = [MEDIA_TYPE, "application/json"].iter().any(|known| kind.trim_end().eq_ignore_ascii_case(known));
    known && (parameter.is_empty() || parameter.eq_ignore_ascii_case("charset=utf-8"))
}

/// The server's own address, for `location`s.
fn place(app: &App) -> String {
    app.party().origins().first().cloned().unwrap_or_default()
}

async fn users(seat: Seat<Caller>, State(app): State<App>, Query(asked): Query<Asked>) -> Answer {
    let list = List::of(&asked, query::Of::Users)?;
    let which = list.which();
    let found = app.work(seat.into_principal(), move |vault, _| vault.directory_users(&which)).await?;
    let place = place(&app);
    Ok(list.answer(&found, |user| show::user(user, &place)))
}

async fn one_user(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Answer {
    let which = Named::Id(id);
    let found = app.work(seat.into_principal(), move |vault, _| vault.directory_users(&which)).await?;
    let user = found.first().ok_or_else(|| Problem::about(Kind::NotFound, "there is no such person"))?;
    Ok(show::document(StatusCode::OK, &query::project(show::user(user, &place(&app)), &asked)))
}

async fn bring(seat: Seat<Caller>, State(app): State<App>, Document(document): Document) -> Answer {
    let new = shape::user(&document)?;
    let user = app.work(seat.into_principal(), move |vault, _| vault.directory_brings(&new)).await?;
    Ok(created(&show::user(&user, &place(&app))))
}

async fn replace_user(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Document(document): Document,
) -> Answer {
    let mut change = shape::user(&document)?;
    // What a whole document does not say is not there.
    change.external_id.get_or_insert(None);
    let user = app.work(seat.into_principal(), move |vault, _| vault.directory_changes(&id, &change)).await?;
    Ok(changed(&app, &user))
}

async fn patch_user(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Document(document): Document,
) -> Answer {
    let change = shape::patched_user(&document)?;
    let user = app.work(seat.into_principal(), move |vault, _| vault.directory_changes(&id, &change)).await?;
    Ok(changed(&app, &user))
}

fn changed(app: &App, user: &DirectoryUser) -> Response {
    show::document(StatusCode::OK, &show::user(user, &place(app)))
}

async fn remove_user(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    app.work(seat.into_principal(), move |vault, _| vault.directory_removes(&id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn groups(seat: Seat<Caller>, State(app): State<App>, Query(asked): Query<Asked>) -> Answer {
    let list = List::of(&asked, query::Of::Groups)?;
    let which = list.which();
    let found = app.work(seat.into_principal(), move |vault, _| vault.directory_groups(&which)).await?;
    let place = place(&app);
    Ok(list.answer(&found, |group| show::group(group, &place)))
}

async fn one_group(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Answer {
    let group = group_of(&app, seat.into_principal(), id).await?;
    Ok(show::document(StatusCode::OK, &query::project(show::group(&group, &place(&app)), &asked)))
}

async fn group_of(app: &App, caller: Caller, id: String) -> Result<DirectoryGroup, Problem> {
    let found = app.work(caller, move |vault, _| {
        let mut found = vault.directory_groups(&Named::Id(id))?;
        found.pop().ok_or(EngineError::NotFound { what: "group", name: "of this id".to_owned() })
    });
    found.await
}

async fn make_group(seat: Seat<Caller>, State(app): State<App>, Document(document): Document) -> Answer {
    let new = shape::group(&document)?;
    let group = app.work(seat.into_principal(), move |vault, _| vault.directory_groups_people(&new)).await?;
    Ok(created(&show::group(&group, &place(&app))))
}

async fn replace_group(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Document(document): Document,
) -> Answer {
    let mut change = shape::group(&document)?;
    change.external_id.get_or_insert(None);
    change.only.get_or_insert_default();
    let group = app.work(seat.into_principal(), move |vault, _| vault.directory_regroups(&id, &change)).await?;
    Ok(show::document(StatusCode::OK, &show::group(&group, &place(&app))))
}

async fn patch_group(
    seat: Seat<Caller>,
    State(app): State<App>,
    Path(id): Path<String>,
    Document(document): Document,
) -> Answer {
    let change = shape::patched_group(&document)?;
    app.work(seat.into_principal(), move |vault, _| vault.directory_regroups(&id, &change)).await?;
    // Section 3.5.2 lets the answer be empty; a group's would name all its members each time.
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn remove_group(seat: Seat<Caller>, State(app): State<App>, Path(id): Path<String>) -> Answer {
    app.work(seat.into_principal(), move |vault, _| vault.directory_ungroups(&id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn created(document: &Value) -> Response {
    let mut response = show::document(StatusCode::CREATED, document);
    let location = document.pointer("/meta/location").and_then(Value::as_str);
    if let Some(location) = location.and_then(|text| header::HeaderValue::from_str(text).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

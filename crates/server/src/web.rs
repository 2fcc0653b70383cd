//! The pages' routes: from a browser's request to a page or to the next one.
//!
//! * `ways_in`: sign-in, invitation, step-up, a command line's code; `own`: one's own account.
//! * `look`: every page that shows something; `decide`: forms that decide something; `live`: a run as it goes on;
//!   `urgent`: break-glass and the queue of runs.
//! * [`Fields`]: a form, or the same fields as a document, which is what the script sends.
//!
//! Forms work without the script, except for passkeys. Every form of somebody who is signed in carries their session's
//! token ([`crate::pages::frame::FormToken`]), beside the origin that the guard has checked. After a form comes a redirect,
//! so that nothing is sent twice; what is shown once (tokens, codes) is answered at once.

mod decide;
pub(crate) mod live;
mod look;
mod own;
mod urgent;
mod ways_in;

use std::{collections::BTreeMap, sync::LazyLock};

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use maud::Markup;
use ringfence_engine::{EngineError, Vault, schema::Timestamp, team::Caller};

use crate::{
    app::App,
    guard::{PageAsk, json::Json},
    pages::{
        frame::{FORM_TOKEN_FIELD, FormToken, Frame, Viewer},
        paths,
        problem::{ProblemView, problem},
    },
    problem::{Answer, Kind, Problem},
    routes::{Intake, Routes, Verb},
};

/// Every route of the pages.
pub fn routes() -> Routes<App, Caller> {
    Routes::default()
        .and(ways_in::routes())
        .and(own::routes())
        .and(look::routes())
        .and(decide::routes())
        .and(urgent::routes())
        .and(live::routes())
}

/// A form's fields, in order.
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The field `name`; empty where it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The field `name`, if something stands in it.
    pub(crate) fn given(&self, name: &str) -> Option<String> {
        Some(self.text(name).trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Every value of `name`: ticked boxes.
    pub(crate) fn every(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// That the form is one of ours, made for the session that sends it.
    pub(crate) fn check(&self, app: &App, caller: &Caller) -> Result<(), Problem> {
        let told = self.text(FORM_TOKEN_FIELD);
        if app.is_form_token(caller, told) { Ok(()) } else { Err(Problem::new(Kind::CrossSite)) }
    }

    /// Where to go on: a path of this server, or the overview.
    pub(crate) fn next(&self) -> String {
        local(self.text("next"))
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let form = axum::Form::<Vec<(String, String)>>::from_request(request, state).await;
        form.map(|axum::Form(fields)| Self(fields))
            .map_err(|_| Problem::about(Kind::Malformed, "the form cannot be read"))
    }
}

/// A document of text fields and, at the end of a ceremony, what the authenticator said.
#[derive(serde::Deserialize)]
pub(crate) struct Script {
    #[serde(default)]
    pub(crate) ceremony: String,
    #[serde(default)]
    pub(crate) credential: serde_json::Value,
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
}

impl Script {
    pub(crate) fn fields(&self) -> Fields {
        Fields(self.fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

/// `text` if it is a path of this server, the overview otherwise.
fn local(text: &str) -> String {
    let path = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\");
    let plain = text.len() <= 1_024 && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if path && plain { text.to_owned() } else { paths::OVERVIEW.to_owned() }
}

/// A page.
pub(crate) fn page(markup: Markup) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], markup.into_string()).into_response()
}

/// On to the next page, by `GET`.
pub(crate) fn go(path: &str) -> Answer {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let value = HeaderValue::from_str(path).map_err(|_| Problem::new(Kind::Internal))?;
    response.headers_mut().insert(header::LOCATION, value);
    Ok(response)
}

/// The script is told where to go on.
pub(crate) fn next(path: &str) -> Response {
    Json(serde_json::json!({"next": path})).into_response()
}

/// What stands around a page before anybody has signed in.
pub(crate) fn bare_frame(app: &App) -> Frame {
    Frame { viewer: None, vault: app.vault_id(), now: app.now(), told: None }
}

/// What stands around a page of whoever `vault` is in the hands of.
pub(crate) fn frame(app: &App, vault: &Vault<'_>) -> Result<Frame, EngineError> {
    let caller = vault.caller();
    let person = vault.person(&caller.person.id)?;
    let waiting = vault.held()?.iter().filter(|version| version.refused.is_none()).count()
        + vault.requests()?.iter().filter(|request| request.is_open()).count();
    let token = FormToken::new(app.form_token(caller));
    let roles = caller.person.roles.iter().copied().collect();
    let viewer = Viewer { display: person.display, roles, token, waiting };
    Ok(Frame { viewer: Some(viewer), ..bare_frame(app) })
}

/// Problems as browsers see them: whoever is not signed in, or has to step up, is led there.
pub fn face(app: &App, ask: &PageAsk<'_>) -> Option<Response> {
    let problem_of = ask.problem;
    let way = match problem_of.kind() {
        Kind::SignIn => Some(paths::SIGN_IN),
        Kind::StepUp => Some(paths::STEP_UP),
        _ => None,
    };
    if let Some(way) = way
        && is_page(ask.target)
    {
        return go(&paths::query(way, &[("next", ask.target)])).ok();
    }
    let view = ProblemView {
        frame: bare_frame(app),
        kind: problem_of.kind(),
        detail: problem_of.detail().map(str::to_owned),
        reasons: problem_of.reasons().to_vec(),
        instance: None,
        retry_after_s: problem_of.retry_after_seconds(),
    };
    Some(page(problem(&view)))
}

/// Whether somebody can be led back to `target` after signing in: it is a page, not a form's address or a file.
fn is_page(target: &str) -> bool {
    static PAGES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let known = look::routes().into_iter().chain(urgent::routes()).chain(own::routes()).chain(ways_in::routes());
        known
            .filter(|route| route.verb() == Verb::Get && route.intake() == Intake::Nothing)
            .map(|route| route.path())
            .collect()
    });
    let path = target.split('?').next().unwrap_or_default();
    PAGES.iter().any(|pattern| matches_path(pattern, path))
}

fn matches_path(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if pattern == part || (pattern.starts_with('{') && !part.is_empty()) => {}
            _ => return false,
        }
    }
}

/// How long from `now` until `until`, in seconds, at least one.
pub(crate) fn seconds_until(until: Timestamp, now: Timestamp) -> u64 {
    until.millis().saturating_sub(now.millis()) / 1_000 + 1
}

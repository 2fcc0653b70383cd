//! Sign-in, invitation, step-up, and the code that a command line shows.

use axum::{
    Extension,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use ringfence_engine::{
    EngineError,
    team::{Caller, Enrollee, FirstPassword},
};
use serde::Deserialize;
use serde_json::json;

use super::{Fields, Script, bare_frame, frame, go, local, next, page, seconds_until};
use crate::{
    api::sign_in::{assertion, offered, registration, with_cookie, without_cookie},
    app::{App, origin, problem},
    guard::json::Json,
    pages::{
        assets,
        enrol::{AppOffer, InvitationView, OpenedInvitation, RecoveryView, invitation, recovery},
        entry::{DeviceAskView, DeviceView, SignInView, StepUpView, device, sign_in, step_up},
        paths,
    },
    problem::{Answer, Kind, Problem},
    routes::{Intake, Open, Route, Verb, seat::Seat},
    serve::Peer,
};

/// As how many requests a login by password counts: it hashes.
const HASHING_WEIGHT: u32 = 10;
const ISSUER: &str = "Ringfence";

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Open::{SignIn, Static};
    use Verb::{Get, Post};
    vec![
        Route::open(Static, Get, paths::STYLE, "the style sheet", style),
        Route::open(Static, Get, paths::SCRIPT, "the script", script),
        Route::open(SignIn, Get, paths::SIGN_IN, "the sign-in page", sign_in_page).unrecorded(),
        Route::open(SignIn, Post, paths::SIGN_IN, "signs in by password and code", sign_in_password)
            .takes(Intake::Form)
            .weighs(HASHING_WEIGHT),
        Route::open(SignIn, Post, paths::SIGN_IN_PASSKEY_BEGIN, "what a passkey is asked at sign-in", passkey_begin)
            .takes(Intake::Json)
            .unrecorded(),
        Route::open(SignIn, Post, paths::SIGN_IN_PASSKEY_FINISH, "signs in by passkey", passkey_finish)
            .takes(Intake::Json),
        Route::open(SignIn, Get, paths::INVITATION, "the invitation page", invitation_page).unrecorded(),
        Route::open(SignIn, Post, paths::INVITATION_OPEN, "opens an invitation", invitation_open)
            .takes(Intake::Form)
            .unrecorded(),
        Route::open(SignIn, Post, paths::INVITATION_PASSKEY_BEGIN, "what a first passkey is asked", enrol_begin)
            .takes(Intake::Json)
            .unrecorded(),
        Route::open(SignIn, Post, paths::INVITATION_PASSKEY_FINISH, "enrols a first passkey", enrol_finish)
            .takes(Intake::Json),
        Route::open(SignIn, Post, paths::INVITATION_PASSWORD, "enrols a first password and app", enrol_password)
            .takes(Intake::Form)
            .weighs(HASHING_WEIGHT),
        Route::signed_in(Post, paths::SIGN_OUT, "signs out", sign_out).takes(Intake::Form),
        Route::signed_in(Get, paths::STEP_UP, "the step-up page", step_up_page).unrecorded(),
        Route::signed_in(Post, paths::STEP_UP, "steps up by a code", step_up_code).takes(Intake::Form),
        Route::signed_in(Post, paths::STEP_UP_PASSKEY_BEGIN, "what a passkey is asked for a step-up", step_begin)
            .takes(Intake::Json)
            .unrecorded(),
        Route::signed_in(Post, paths::STEP_UP_PASSKEY_FINISH, "steps up by passkey", step_finish).takes(Intake::Json),
        Route::signed_in(Get, paths::DEVICE, "the page for a command line's code", device_page).unrecorded(),
        Route::signed_in(Post, paths::DEVICE_CONFIRM, "lets a command line in", device_confirm).takes(Intake::Form),
    ]
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: String,
}

async fn style() -> Response {
    let kind = (header::CONTENT_TYPE, "text/css; charset=utf-8");
    ([kind, (header::CACHE_CONTROL, assets::CACHE_CONTROL)], assets::STYLE).into_response()
}

async fn script() -> Response {
    let kind = (header::CONTENT_TYPE, "text/javascript; charset=utf-8");
    ([kind, (header::CACHE_CONTROL, assets::CACHE_CONTROL)], assets::SCRIPT).into_response()
}

async fn sign_in_page(State(app): State<App>, Query(Next { next }): Query<Next>) -> Answer {
    // Nobody can sign in before there is an administrator.
    if app.work_open(|vault, _| Ok(!vault.is_shared())).await? {
        return go(paths::INVITATION);
    }
    Ok(page(sign_in(&sign_in_view(&app, &local(&next), false, None))))
}

fn sign_in_view(app: &App, next: &str, failed: bool, wait_s: Option<u64>) -> SignInView {
    SignInView { frame: bare_frame(app), next: next.to_owned(), failed, wait_s, passwords: true }
}

async fn sign_in_password(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    fields: Fields,
) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let on = fields.next();
    let [name, password, code] = ["name", "password", "code"].map(|field| fields.text(field));
    let code = code.trim();
    let wait_s = match app.login_password(name.to_owned(), password.to_owned(), code.to_owned(), from).await? {
        Ok(entered) => return with_cookie(go(&on)?, &entered.token),
        Err(EngineError::Locked { until }) => Some(seconds_until(until, app.now())),
        Err(EngineError::NotSignedIn) => None,
        Err(error) => return Err(problem(&error)),
    };
    Ok(page(sign_in(&sign_in_view(&app, &on, true, wait_s))))
}

async fn passkey_begin(State(app): State<App>, Json(_): Json<Script>) -> Answer {
    let offer = app.work_open(ringfence_engine::Vault::begin_login).await?;
    Ok(offered(&offer))
}

async fn passkey_finish(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Json(done): Json<Script>,
) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let (on, assertion) = (done.fields().next(), assertion(&done.credential)?);
    let entered =
        app.work_open(move |vault, party| vault.finish_login(party, &done.ceremony, &assertion, &from)).await?;
    with_cookie(next(&on), &entered.token)
}

async fn invitation_page(State(app): State<App>) -> Response {
    page(invitation(&InvitationView { frame: bare_frame(&app), unknown: false, opened: None }))
}

async fn invitation_open(State(app): State<App>, fields: Fields) -> Answer {
    let token = fields.text("token").trim().to_owned();
    opened(&app, token, None).await
}

/// The page of an invitation that is open, with a key for an authenticator app; or that it is not known.
async fn opened(app: &App, token: String, problem: Option<String>) -> Answer {
    let kept = token.clone();
    let found = app.work_open(move |vault, _| match vault.invited(&token) {
        Ok(invited) => {
            // Whoever still chooses a name gets the app's key under a name that the page replaces.
            let names = invited.chooses_name.then_some(("administrator", "Administrator"));
            let offer = vault.begin_totp(ISSUER, Enrollee::Invited { token: &token, names })?;
            Ok(Some((invited, offer)))
        }
        Err(EngineError::NotSignedIn) => Ok(None),
        Err(error) => Err(error),
    });
    let opened = found.await?.map(|(invited, offer)| OpenedInvitation {
        token: kept,
        display: invited.person.display,
        login_name: if invited.chooses_name { String::new() } else { invited.person.name },
        chooses_name: invited.chooses_name,
        roles: invited.person.roles.iter().map(|role| role.name().replace('_', " ")).collect(),
        until: invited.until,
        app: Some(AppOffer { ceremony: offer.ceremony, uri: offer.uri.to_string() }),
        problem,
    });
    Ok(page(invitation(&InvitationView { frame: bare_frame(app), unknown: opened.is_none(), opened })))
}

/// Whoever comes by the invitation in `fields`. The first administrator's name to log in with is also the name for people.
fn invited(fields: &Fields) -> Enrollee<'_> {
    let name = fields.text("name").trim();
    Enrollee::Invited { token: fields.text("token"), names: (!name.is_empty()).then_some((name, name)) }
}

async fn enrol_begin(State(app): State<App>, Json(asked): Json<Script>) -> Answer {
    let fields = asked.fields();
    let offer = app.work_open(move |vault, party| vault.begin_enrol(party, invited(&fields))).await?;
    Ok(offered(&offer))
}

async fn enrol_finish(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Json(done): Json<Script>,
) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let (fields, registration) = (done.fields(), registration(&done.credential)?);
    let enrolled = app.work_open(move |vault, party| {
        vault.finish_enrol(party, invited(&fields), &done.ceremony, &registration, fields.text("label"), &from)
    });
    let enrolled = enrolled.await?;
    let codes: Vec<&str> = enrolled.recovery_codes.iter().flatten().map(|code| code.as_str()).collect();
    let body = Json(json!({"recovery_codes": codes, "next": paths::OVERVIEW})).into_response();
    let entered = enrolled.entered.ok_or(Problem::new(Kind::Internal))?;
    with_cookie(body, &entered.token)
}

async fn enrol_password(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    fields: Fields,
) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let token = fields.text("token").to_owned();
    let tried = app.work_open(move |vault, _| {
        let first = FirstPassword {
            password: fields.text("password").to_owned(),
            ceremony: fields.text("ceremony").to_owned(),
            code: fields.text("code").trim().to_owned(),
        };
        match vault.finish_password(invited(&fields), first, &from) {
            Err(EngineError::Usage { what }) => Ok(Err(what)),
            other => other.map(Ok),
        }
    });
    let enrolled = match tried.await? {
        Ok(enrolled) => enrolled,
        // Again, with another key for the app: what was shown once is not shown twice.
        Err(what) => return opened(&app, token, Some(what)).await,
    };
    let codes = enrolled.recovery_codes.unwrap_or_default().iter().map(|code| code.to_string()).collect();
    let view = RecoveryView { frame: bare_frame(&app), codes, next: paths::OVERVIEW.to_owned() };
    let entered = enrolled.entered.ok_or(Problem::new(Kind::Internal))?;
    with_cookie(page(recovery(&view)), &entered.token)
}

async fn sign_out(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    app.work(seat.into_principal(), |vault, _| vault.leave()).await?;
    without_cookie(go(paths::SIGN_IN)?)
}

async fn step_up_page(seat: Seat<Caller>, State(app): State<App>, Query(Next { next }): Query<Next>) -> Answer {
    let app_ = app.clone();
    let view = app.work(seat.into_principal(), move |vault, _| step_up_view(&app_, vault, &next, false)).await?;
    Ok(page(step_up(&view)))
}

fn step_up_view(
    app: &App,
    vault: &ringfence_engine::Vault<'_>,
    next: &str,
    failed: bool,
) -> Result<StepUpView, EngineError> {
    let person = vault.person(&vault.caller().person.id)?;
    let has = |kind: &str| person.factors.iter().any(|factor| factor.kind == kind);
    Ok(StepUpView {
        frame: frame(app, vault)?,
        next: local(next),
        act: "what you are about to do".to_owned(),
        passkey: has("passkey"),
        code: has("totp"),
        failed,
    })
}

async fn step_up_code(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    let (on, app_) = (fields.next(), app.clone());
    let to = on.clone();
    let tried = app.work(seat.into_principal(), move |vault, _| match vault.step_up_code(fields.text("code").trim()) {
        Ok(()) => Ok(None),
        Err(EngineError::NotSignedIn | EngineError::Locked { .. }) => step_up_view(&app_, vault, &to, true).map(Some),
        Err(error) => Err(error),
    });
    match tried.await? {
        None => go(&on),
        Some(view) => Ok(page(step_up(&view))),
    }
}

async fn step_begin(seat: Seat<Caller>, State(app): State<App>, Json(asked): Json<Script>) -> Answer {
    asked.fields().check(&app, seat.principal())?;
    let offer = app.work(seat.into_principal(), ringfence_engine::Vault::begin_step_up).await?;
    Ok(offered(&offer))
}

async fn step_finish(seat: Seat<Caller>, State(app): State<App>, Json(done): Json<Script>) -> Answer {
    let fields = done.fields();
    fields.check(&app, seat.principal())?;
    let assertion = assertion(&done.credential)?;
    let stepped =
        app.work(seat.into_principal(), move |vault, party| vault.finish_step_up(party, &done.ceremony, &assertion));
    // A passkey that is not right ends the ceremony, not the session.
    stepped.await.map_err(|found| match found.kind() {
        Kind::SignIn => Problem::about(Kind::Denied, "the passkey's answer does not count"),
        _ => found,
    })?;
    Ok(next(&fields.next()))
}

async fn device_page(seat: Seat<Caller>, State(app): State<App>, Query(Code { code }): Query<Code>) -> Answer {
    let app_ = app.clone();
    let view = app.work(seat.into_principal(), move |vault, _| {
        let ask = if code.is_empty() { None } else { vault.device(&code).ok() };
        let unknown = !code.is_empty() && ask.is_none();
        let ask = ask.map(|ask| DeviceAskView {
            client: ask.client,
            address: ask.address,
            since: ask.since,
            step_up: ask.step_up,
        });
        Ok(DeviceView { frame: frame(&app_, vault)?, code, ask, unknown })
    });
    Ok(page(device(&view.await?)))
}

async fn device_confirm(seat: Seat<Caller>, State(app): State<App>, fields: Fields) -> Answer {
    fields.check(&app, seat.principal())?;
    let caller = seat.into_principal();
    let code = fields.text("code").to_owned();
    let asked = code.clone();
    let ask = app.work(caller.clone(), move |vault, _| vault.device(&asked)).await?;
    if ask.step_up && app.fresh(&caller).is_err() {
        // First here, then there: the page with this code comes back after it.
        return go(&paths::query(paths::STEP_UP, &[("next", &paths::query(paths::DEVICE, &[("code", &code)]))]));
    }
    app.work(caller, move |vault, _| vault.confirm_device(&code)).await?;
    go(paths::ACCOUNT)
}

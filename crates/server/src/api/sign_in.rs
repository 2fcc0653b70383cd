//! Ways in. Nothing here says whether somebody exists: every wrong answer is the same.

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use ringfence_engine::{
    EngineError,
    team::{
        Caller, DEVICE_POLL_S, DeviceAnswer, DeviceOffer, Enrolled, Enrollee, Entered, FirstPassword, Invited, Offer,
        passkey::{Assertion, Registration},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::description::{self, object, text};
use crate::{
    app::{App, origin, problem},
    guard::json::Json,
    problem::{Answer, Kind, Problem},
    routes::{Open, Route, Verb, seat::SESSION_COOKIE},
    serve::Peer,
};

/// As how many requests a login by password counts: it hashes.
const HASHING_WEIGHT: u32 = 10;
/// What an authenticator app calls us.
const ISSUER: &str = "Ringfence";

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    let way = |path, summary| (Verb::Post, path, summary);
    let (verb, path, says) = way("/api/v1/invitation", "whom an invitation invites");
    let invitation = Route::open(Open::SignIn, verb, path, says, invited).takes_json(by_invitation);
    let (verb, path, says) = way("/api/v1/enrol/passkey/begin", "what a new passkey is asked, by invitation");
    let passkey_begin = Route::open(Open::SignIn, verb, path, says, enrol_begin).takes_json(by_invitation);
    let (verb, path, says) = way("/api/v1/enrol/passkey/finish", "enrols the first passkey; the person is in");
    let passkey_finish = Route::open(Open::SignIn, verb, path, says, enrol_finish).takes_json(enrol_finish_body);
    let (verb, path, says) =
        way("/api/v1/enrol/password/begin", "shows the key of an authenticator app, by invitation");
    let password_begin = Route::open(Open::SignIn, verb, path, says, password_begin).takes_json(by_invitation);
    let (verb, path, says) = way("/api/v1/enrol/password/finish", "enrols password and app; the person is in");
    let password_finish = Route::open(Open::SignIn, verb, path, says, password_finish)
        .takes_json(password_finish_body)
        .weighs(HASHING_WEIGHT);
    let (verb, path, says) = way("/api/v1/login/passkey/begin", "what a passkey is asked at a login");
    let login_begin = Route::open(Open::SignIn, verb, path, says, login_begin).unrecorded();
    let (verb, path, says) = way("/api/v1/login/passkey/finish", "ends a login by passkey");
    let login_finish = Route::open(Open::SignIn, verb, path, says, login_finish).takes_json(answered);
    let (verb, path, says) = way("/api/v1/login/password", "logs in by name, password and code");
    let login_password =
        Route::open(Open::SignIn, verb, path, says, login_password).takes_json(password_login).weighs(HASHING_WEIGHT);
    let (verb, path, says) = way("/api/v1/device/begin", "a command line asks to be let in");
    let device_begin = Route::open(Open::SignIn, verb, path, says, device_begin).unrecorded();
    let (verb, path, says) = way("/api/v1/device/poll", "a command line asks whether somebody has confirmed it");
    let device_poll = Route::open(Open::SignIn, verb, path, says, device_poll)
        .takes_json(|| object(&[("device", text())], &[]))
        .unrecorded();
    vec![
        invitation.unrecorded(),
        passkey_begin.unrecorded(),
        passkey_finish,
        password_begin.unrecorded(),
        password_finish,
        login_begin,
        login_finish,
        login_password,
        device_begin,
        device_poll,
    ]
}

fn by_invitation() -> Value {
    object(&[("token", text())], &[("name", text()), ("display", text())])
}

fn enrol_finish_body() -> Value {
    let needed = [
        ("invitation", by_invitation()),
        ("ceremony", text()),
        ("credential", description::credential()),
        ("label", text()),
    ];
    object(&needed, &[])
}

fn password_finish_body() -> Value {
    object(&[("invitation", by_invitation()), ("ceremony", text()), ("password", text()), ("code", text())], &[])
}

fn password_login() -> Value {
    object(&[("name", text()), ("password", text()), ("code", text())], &[])
}

/// The schema of [`Answered`].
pub(super) fn answered() -> Value {
    object(&[("ceremony", text()), ("credential", description::credential())], &[])
}

/// An invitation, and the names that a first administrator chooses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByInvitation {
    token: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    display: Option<String>,
}

impl ByInvitation {
    fn enrollee(&self) -> Enrollee<'_> {
        Enrollee::Invited { token: &self.token, names: self.name.as_deref().zip(self.display.as_deref()) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolFinish {
    invitation: ByInvitation,
    ceremony: String,
    credential: Value,
    label: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordFinish {
    invitation: ByInvitation,
    ceremony: String,
    password: String,
    code: String,
}

/// What a browser made of a passkey's question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answered {
    pub(super) ceremony: String,
    pub(super) credential: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordLogin {
    name: String,
    password: String,
    code: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DevicePoll {
    device: String,
}

async fn invited(State(app): State<App>, Json(asked): Json<ByInvitation>) -> Answer {
    let Invited { person, chooses_name, until } = app.work_open(move |vault, _| vault.invited(&asked.token)).await?;
    let (name, display) = (person.name, person.display);
    Ok(Json(json!({"name": name, "display": display, "chooses_name": chooses_name, "until": until})).into_response())
}

async fn enrol_begin(State(app): State<App>, Json(asked): Json<ByInvitation>) -> Answer {
    let offer = app.work_open(move |vault, party| vault.begin_enrol(party, asked.enrollee())).await?;
    Ok(offered(&offer))
}

async fn enrol_finish(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Json(done): Json<EnrolFinish>,
) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let registration = registration(&done.credential)?;
    let enrolled = app.work_open(move |vault, party| {
        let who = done.invitation.enrollee();
        vault.finish_enrol(party, who, &done.ceremony, &registration, &done.label, &from)
    });
    enrolled_answer(enrolled.await?)
}

async fn password_begin(State(app): State<App>, Json(asked): Json<ByInvitation>) -> Answer {
    let offer = app.work_open(move |vault, _| vault.begin_totp(ISSUER, asked.enrollee())).await?;
    Ok(Json(json!({"ceremony": offer.ceremony, "uri": *offer.uri})).into_response())
}

async fn password_finish(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Json(done): Json<PasswordFinish>,
) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let enrolled = app.work_open(move |vault, _| {
        let PasswordFinish { invitation, ceremony, password, code } = done;
        vault.finish_password(invitation.enrollee(), FirstPassword { password, ceremony, code }, &from)
    });
    enrolled_answer(enrolled.await?)
}

async fn login_begin(State(app): State<App>) -> Answer {
    let offer = app.work_open(ringfence_engine::Vault::begin_login).await?;
    Ok(offered(&offer))
}

async fn login_finish(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Json(done): Json<Answered>,
) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let assertion = assertion(&done.credential)?;
    let entered = app.work_open(move |vault, party| vault.finish_login(party, &done.ceremony, &assertion, &from));
    entered_answer(&entered.await?)
}

async fn login_password(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Json(login): Json<PasswordLogin>,
) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let tried = app.login_password(login.name, login.password, login.code, from).await?;
    entered_answer(&tried.map_err(|error| problem(&error))?)
}

async fn device_begin(State(app): State<App>, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Answer {
    let from = origin(peer.address.ip(), &headers);
    let offer = app.work_open(move |vault, _| Ok::<_, EngineError>(vault.begin_device(&from))).await?;
    Ok(device_offered(&offer))
}

/// What a command line shows, and what it keeps to ask with.
pub(super) fn device_offered(offer: &DeviceOffer) -> Response {
    let DeviceOffer { device, user_code, until } = offer;
    Json(json!({"device": device.as_str(), "user_code": user_code, "until": until, "interval_s": DEVICE_POLL_S}))
        .into_response()
}

/// The session's token is in the body: a command line has no cookies.
async fn device_poll(State(app): State<App>, Json(asked): Json<DevicePoll>) -> Answer {
    match app.work_open(move |vault, _| vault.poll_device(&asked.device)).await? {
        DeviceAnswer::Pending => Ok(Json(json!({"status": "pending"})).into_response()),
        DeviceAnswer::SteppedUp => Ok(Json(json!({"status": "stepped-up"})).into_response()),
        DeviceAnswer::Entered(Entered { token, person, until }) => {
            let body = json!({"status": "entered", "token": *token, "person": person, "until": until});
            Ok(Json(body).into_response())
        }
    }
}

pub(crate) fn offered(offer: &Offer) -> Response {
    Json(json!({"ceremony": offer.ceremony, "options": offer.options})).into_response()
}

fn enrolled_answer(enrolled: Enrolled) -> Answer {
    let codes: Vec<&str> = enrolled.recovery_codes.iter().flatten().map(|code| code.as_str()).collect();
    let body = Json(json!({"person": enrolled.person, "recovery_codes": codes})).into_response();
    match &enrolled.entered {
        Some(entered) => with_cookie(body, &entered.token),
        None => Ok(body),
    }
}

fn entered_answer(entered: &Entered) -> Answer {
    with_cookie(Json(json!({"person": entered.person, "until": entered.until})).into_response(), &entered.token)
}

/// The answer with the session's cookie. It ends with the browser, and here at the latest when the session does.
pub(crate) fn with_cookie(mut response: Response, token: &str) -> Answer {
    let cookie = format!("{SESSION_COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict");
    let mut value = HeaderValue::from_str(&cookie).map_err(|_| Problem::new(Kind::Internal))?;
    value.set_sensitive(true);
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(response)
}

/// The answer that makes a browser forget the session.
pub(crate) fn without_cookie(mut response: Response) -> Answer {
    let cookie = format!("{SESSION_COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    let value = HeaderValue::from_str(&cookie).map_err(|_| Problem::new(Kind::Internal))?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(response)
}

pub(crate) fn registration(credential: &Value) -> Result<Registration, Problem> {
    Registration::from_json(credential.to_string().as_bytes()).map_err(|_| no_credential())
}

pub(crate) fn assertion(credential: &Value) -> Result<Assertion, Problem> {
    Assertion::from_json(credential.to_string().as_bytes()).map_err(|_| no_credential())
}

fn no_credential() -> Problem {
    Problem::about(Kind::Unprocessable, "`credential` is not what `PublicKeyCredential.toJSON()` gives")
}

//! In through another provider: away from here, and back.
//!
//! A cookie of its own ties the login to the browser that began it. It is `Lax`, because the way back comes from the
//! provider's page. The session's cookie is `Strict`, so the last step is a page of ours that goes on by itself: a redirect
//! would still count as coming from there.

use axum::{
    Extension,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use maud::{DOCTYPE, html};
use ringfence_engine::{oidc::Callback, team::Caller};
use serde_json::json;

use super::sign_in::with_cookie;
use crate::{
    app::{App, origin},
    guard::json::Json,
    problem::{Answer, Kind, Problem},
    routes::{Open, Route, Verb},
    serve::Peer,
};

/// Ties a login at a provider to its browser.
const BROWSER_COOKIE: &str = "__Host-ringfence-login";
/// How long that lasts, in seconds.
const BROWSER_COOKIE_S: u64 = 600;
/// Where providers send browsers back to.
const BACK: &str = "/login/back";
/// As how many requests a way through a provider counts: it asks others.
const ASKING_WEIGHT: u32 = 10;

pub(super) fn routes() -> Vec<Route<App, Caller>> {
    use Verb::Get;
    vec![
        Route::open(Open::SignIn, Get, "/api/v1/login/providers", "providers that people may come through", providers)
            .unrecorded(),
        Route::open(Open::SignIn, Get, "/login/with/{provider}", "away to a provider", away)
            .unrecorded()
            .weighs(ASKING_WEIGHT),
        Route::open(Open::SignIn, Get, BACK, "back from a provider", back).weighs(ASKING_WEIGHT),
    ]
}

async fn providers(State(app): State<App>) -> Answer {
    let providers = app.work_open(|vault, _| vault.login_providers()).await?;
    let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    Ok(Json(json!({"providers": names})).into_response())
}

async fn away(State(app): State<App>, Path(provider): Path<String>) -> Answer {
    let departure = app.work_open(move |vault, party| {
        let here = party.origins().first().map_or("", String::as_str);
        vault.begin_federated(&provider, &format!("{here}{BACK}"))
    });
    let departure = departure.await?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    let url = HeaderValue::from_str(&departure.url).map_err(|_| Problem::new(Kind::Internal))?;
    response.headers_mut().insert(header::LOCATION, url);
    browser_cookie(&mut response, &departure.browser, BROWSER_COOKIE_S)?;
    Ok(response)
}

async fn back(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(callback): Query<Callback>,
) -> Answer {
    let browser = browser(&headers).ok_or(Problem::new(Kind::SignIn))?;
    let from = origin(peer.address.ip(), &headers);
    let entered = app.work_open(move |vault, _| vault.finish_federated(&browser, &callback, &from)).await?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content="0; url=/";
                title { "Signed in" }
            }
            body { p { "You are signed in. " a href="/" { "Go on" } } }
        }
    };
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.into_string()).into_response();
    browser_cookie(&mut response, "", 0)?;
    with_cookie(response, &entered.token)
}

fn browser_cookie(response: &mut Response, value: &str, seconds: u64) -> Result<(), Problem> {
    let cookie = format!("{BROWSER_COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    let mut value = HeaderValue::from_str(&cookie).map_err(|_| Problem::new(Kind::Internal))?;
    value.set_sensitive(true);
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}

fn browser(headers: &HeaderMap) -> Option<String> {
    let mut found = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| {
        value.split(';').filter_map(|pair| pair.trim().strip_prefix(BROWSER_COOKIE)?.strip_prefix('='))
    });
    let value = found.next()?;
    found.next().is_none().then(|| value.to_owned())
}

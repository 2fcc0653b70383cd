//! Who made the browser send this?
//!
//! Safe verbs are listed (`GET`, `HEAD`); everything else has to show that it comes from our own pages, or from a program
//! that presents a token which no browser adds by itself. A verb that nobody thought of is therefore checked, and no
//! header changes a verb.

use axum::http::{HeaderMap, Method, header};

use crate::problem::{Kind, Problem};

/// Headers by which some frameworks let a `POST` become something else.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Checks where a request comes from; `own` is the origin of the host that it names.
pub fn check(method: &Method, headers: &HeaderMap, own: &str) -> Result<(), Problem> {
    if OVERRIDES.iter().any(|name| headers.contains_key(*name)) {
        return Err(Problem::about(Kind::Malformed, "a header does not change the method"));
    }
    let mut sites = headers.get_all("sec-fetch-site").iter();
    let site = sites.next().map(axum::http::HeaderValue::as_bytes);
    if sites.next().is_some() {
        return Err(Problem::new(Kind::CrossSite));
    }
    if *method == Method::GET || *method == Method::HEAD {
        // Other sites may link to pages, but not load anything from here.
        let navigates = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        let foreign = site.is_some_and(|site| site != b"same-origin" && site != b"none");
        return if foreign && !navigates { Err(Problem::new(Kind::CrossSite)) } else { Ok(()) };
    }
    if site.is_some_and(|site| site != b"same-origin") {
        return Err(Problem::new(Kind::CrossSite));
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) if origin.as_bytes() == own.as_bytes() => Ok(()),
        // No browser leaves `Origin` out here, and none adds `Authorization: Bearer` for a foreign page without asking
        // first (a preflight, which is refused).
        (None, _) if site.is_none() && bears_token(headers) => Ok(()),
        (None, _) => Err(Problem::about(Kind::CrossSite, "send `Origin`, or a bearer token and no cookie")),
        _ => Err(Problem::new(Kind::CrossSite)),
    }
}

fn bears_token(headers: &HeaderMap) -> bool {
    let bearer = |value: &axum::http::HeaderValue| {
        value.as_bytes().split_at_checked(7).is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
    };
    !headers.contains_key(header::COOKIE) && headers.get(header::AUTHORIZATION).is_some_and(bearer)
}

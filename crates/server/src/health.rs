//! Does the server live, and can it work? For whatever watches it: open, unrecorded, and without particulars about people.

use std::sync::Arc;

use axum::response::IntoResponse as _;
use serde_json::json;

use crate::{
    guard::json::Json,
    problem::{Answer, Kind, Problem},
    routes::{Open, Route, Verb},
};

/// Tells whether the server can work; if not, why, in words that anybody may read. It is asked on every request, so it
/// looks at what is known already.
pub type Readiness = Arc<dyn Fn() -> Result<(), Vec<String>> + Send + Sync>;

/// `/health/live` and `/health/ready`.
pub fn routes<S, P>(readiness: Readiness) -> [Route<S, P>; 2]
where
    S: Clone + Send + Sync + 'static,
    P: Send + Sync + 'static,
{
    let live = || async { Json(json!({"schema": "ringfence.health/1", "status": "live"})) };
    let ready = move || {
        let readiness = Arc::clone(&readiness);
        async move { self::ready(&readiness) }
    };
    [
        Route::open(Open::Health, Verb::Get, "/health/live", "whether the server answers at all", live),
        Route::open(Open::Health, Verb::Get, "/health/ready", "whether the server can work, and if not, why", ready),
    ]
}

fn ready(readiness: &Readiness) -> Answer {
    match readiness() {
        Ok(()) => Ok(Json(json!({"schema": "ringfence.health/1", "status": "ready"})).into_response()),
        Err(reasons) => Err(Problem::new(Kind::Unavailable).because(reasons)),
    }
}

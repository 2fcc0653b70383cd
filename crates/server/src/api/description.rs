//! The API's description (OpenAPI 3.1), made from the table of routes, so that it cannot say anything else.
//!
//! It is served at `/api/v1/openapi.json`, and `docs/openapi.json` is the same document: a test compares them.

use std::collections::BTreeMap;

use axum::response::IntoResponse as _;
use ringfence_engine::{access::Role, team::Caller};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    guard::json::Json,
    problem::{Kind, MEDIA_TYPE},
    routes::{Intake, Open, Patience, Permission, Recorded, Route, Routes, Verb, seat::SESSION_COOKIE},
};

/// The description's own route, over the table as it is so far.
pub(super) fn route(routes: &Routes<App, Caller>) -> Route<App, Caller> {
    let document = document(routes);
    let answer = move || {
        let document = document.clone();
        async move { Json(document).into_response() }
    };
    Route::open(Open::Description, Verb::Get, "/api/v1/openapi.json", "this description", answer)
}

/// Describes every route of `routes`.
pub fn document(routes: &Routes<App, Caller>) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes.iter() {
        paths.entry(route.path()).or_default().insert(route.verb().name().to_lowercase(), operation(route));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringfence",
            "version": "1",
            "description": "The team server's API. Errors are problem documents (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
                "token": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {"problem": {
                "type": "object",
                "required": ["type", "title", "status"],
                "properties": {
                    "type": {"type": "string", "enum": Kind::ALL.map(|kind| format!("urn:ringfence:problem:{}", kind.name()))},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "reasons": {"type": "array", "items": {"type": "string"}},
                    "instance": {"type": "string"},
                },
            }},
        },
    })
}

fn operation(route: &Route<App, Caller>) -> Value {
    let (security, permission) = match route.permission() {
        Permission::Open(_) => (json!([]), "anybody".to_owned()),
        Permission::SignedIn => (json!([{"session": []}, {"token": []}]), "whoever is signed in".to_owned()),
        Permission::Run => (json!([{"token": []}]), "the machine of the run".to_owned()),
        Permission::Action(action) => (json!([{"session": []}, {"token": []}]), action.name().to_owned()),
    };
    let names = route.path().split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = names
        .map(|name| {
            let name = name.trim_start_matches('*');
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    let problem = json!({"description": "a problem", "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/problem"}}}});
    let mut operation = json!({
        "summary": route.summary(),
        "parameters": parameters,
        "security": security,
        "x-permission": permission,
        "x-recorded": route.recorded() == Recorded::Trail,
        "x-long": route.patience() == Patience::Streaming,
        "responses": {"2XX": {"description": "done"}, "4XX": problem.clone(), "503": problem},
    });
    let body = match route.intake() {
        Intake::Nothing => None,
        Intake::Json => Some("application/json"),
        Intake::Form => Some("application/x-www-form-urlencoded"),
        Intake::Bytes { .. } => Some("application/octet-stream"),
    };
    if let (Some(kind), Some(operation)) = (body, operation.as_object_mut()) {
        let unsaid = || if kind == "application/octet-stream" { json!({}) } else { json!({"type": "object"}) };
        let schema = route.body().unwrap_or_else(unsaid);
        operation.insert("requestBody".to_owned(), json!({"required": true, "content": {kind: {"schema": schema}}}));
    }
    operation
}

/// The schema of an object with these members and no others.
pub(super) fn object(needed: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        needed.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = needed.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The schema of a text.
pub(super) fn text() -> Value {
    json!({"type": "string"})
}

/// The schema of a set of these words.
pub(super) fn some_of(words: impl Serialize) -> Value {
    json!({"type": "array", "uniqueItems": true, "items": {"type": "string", "enum": words}})
}

/// The schema of a set of roles.
pub(super) fn roles() -> Value {
    some_of(Role::ALL)
}

/// The schema of what a browser's `PublicKeyCredential.toJSON()` gives.
pub(super) fn credential() -> Value {
    json!({"type": "object"})
}

/// The schema of a decision's reason.
pub(super) fn because() -> Value {
    object(&[("reason", text())], &[])
}

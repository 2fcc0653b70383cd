//! `docs/openapi.json` is the description that the server gives, and says what every body looks like.

use std::{fs, path::Path};

use ringfence_server::{
    api::{self, description},
    routes::Intake,
};
use serde_json::Value;

#[test]
fn the_committed_description_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let text = serde_json::to_string_pretty(&description::document(&api::routes())).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let held = fs::read_to_string(&file).unwrap_or_default();
    assert!(held == text, "UPDATE_DOCS=1 cargo test -p ringfence-server --test it description");
}

#[test]
fn every_document_that_comes_in_is_described() {
    let document = description::document(&api::routes());
    for route in api::routes().iter().filter(|route| route.intake() == Intake::Json) {
        let operation = &document["paths"][route.path()][route.verb().name().to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["additionalProperties"], Value::Bool(false), "{route:?}");
        let (properties, required) =
            (schema["properties"].as_object().unwrap(), schema["required"].as_array().unwrap());
        assert!(!required.is_empty(), "{route:?}");
        for name in required {
            assert!(properties.contains_key(name.as_str().unwrap()), "{route:?}");
        }
    }
}

//! Documents against the schemas that their makers publish, patterns and formats included.
//!
//! `cargo test -p xtask`. The documents are the snapshots of `crates/schema`, the schemas lie beside them.

#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::{fs, path::PathBuf};

use serde_json::Value;

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/schema/tests")
}

fn schema(name: &str) -> Value {
    let text = fs::read_to_string(tests().join(format!("schemas/{name}.schema.json"))).unwrap();
    // One pattern of SARIF's schema is no regular expression; its later editions write it so.
    let text = text.replace("^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$", "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$");
    serde_json::from_str(&text).unwrap()
}

fn snapshot(name: &str) -> Value {
    let text = fs::read_to_string(tests().join(format!("it/snapshots/it__published__{name}.snap"))).unwrap();
    // Behind two lines of dashes stands what was told.
    serde_json::from_str(text.splitn(3, "---\n").nth(2).unwrap()).unwrap()
}

fn errors(name: &str, others: &[&str], document: &Value) -> Vec<String> {
    let mut registry = jsonschema::Registry::new();
    for other in others {
        registry = registry.add(format!("http://cyclonedx.org/schema/{other}.schema.json"), schema(other)).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let options = jsonschema::options().offline().should_validate_formats(true).with_registry(&registry);
    let validator = options.build(&schema(name)).unwrap();
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn a_bill_of_materials_passes_cyclonedx_own_schema() {
    let bom = snapshot("a_bill_of_materials_passes_cyclonedx_own_schema");
    assert_eq!(errors("bom-1.6", &["spdx", "jsf-0.82"], &bom), Vec::<String>::new());
}

#[test]
fn sarif_passes_its_schema() {
    let log = snapshot("sarif_passes_its_schema_and_tells_waivers");
    assert_eq!(errors("sarif-2.1.0", &[], &log), Vec::<String>::new());
}

//! Documents against the schemas that their makers publish (`tests/schemas`).
//!
//! Checked here by a small reader of JSON Schema (`draft7.rs`), in every run; `cargo test -p xtask` holds the snapshots that are
//! made here to a full one, patterns and formats included.

use std::{fs, path::Path};

use ringfence_schema::{
    Digest, Finding, Place, Severity, Timestamp, TreeEntry,
    cyclonedx::{BomError, Card, Exposure, Inventory, Item, ItemKind, Link, LinkKind, Metric, Run},
    osv::{self, Package},
    sarif::sarif,
    waiver::WaiverRef,
};
use serde_json::{Value, json};

use crate::draft7::Draft7;

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas").join(format!("{name}.schema.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn errors(name: &str, others: &[&str], document: &Value) -> Vec<String> {
    let schemas = others.iter().chain([&name]).map(|name| (format!("{name}.schema.json"), schema(name))).collect();
    Draft7 { schemas, home: format!("{name}.schema.json") }.errors(document)
}

fn cyclonedx_errors(document: &Value) -> Vec<String> {
    errors("bom-1.6", &["spdx", "jsf-0.82"], document)
}

fn tree_entry(path: &str) -> TreeEntry {
    TreeEntry { path: path.into(), size: 3, sha256: Digest::of(path.as_bytes()) }
}

fn waived() -> WaiverRef {
    WaiverRef {
        waiver: Digest::of(b"envelope"),
        by: "alice".into(),
        reason: "reviewed, not reachable".into(),
        expires_ms: Timestamp::from_millis(1_800_000_000_000),
    }
}

fn inventory() -> Inventory {
    let advisory = osv::parse(
        json!({
            "schema_version": "1.7.0", "id": "PYSEC-2022-42992", "modified": "2024-11-21T14:22:59.480Z",
            "published": "2022-11-26T02:15:00Z", "summary": "code execution",
            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
            "affected": [{"package": {"ecosystem": "PyPI", "name": "torch"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.13.1"}]}]}],
            "references": [{"type": "ADVISORY", "url": "https://osv.dev/PYSEC-2022-42992"}],
        })
        .to_string()
        .as_bytes(),
    )
    .unwrap();
    let torch = Package { ecosystem: "PyPI".into(), name: "torch".into(), version: "1.13.0".into() };
    let matched = osv::matches(std::slice::from_ref(&advisory), &[torch], &[]).remove(0);
    let exposure = |waived| Exposure {
        affects: "pkg:pypi/torch@1.13.0".into(),
        advisory: advisory.clone(),
        matched: matched.clone(),
        waived,
    };
    let mut subject = Item::new("model/net@3", ItemKind::Model, "net");
    subject.version = Some("3".into());
    subject.tree = Some(Digest::of(b"tree"));
    subject.files = vec![tree_entry("config.json"), tree_entry("weights.safetensors")];
    subject.licence = Some("apache-2.0".into());
    subject.links = vec![Link {
        kind: LinkKind::Attestation,
        url: "evidence/result-scan.dsse.json".into(),
        digest: Some(Digest::of(b"evidence")),
        comment: Some("scan".into()),
    }];
    let mut base = Item::new("model/base@1", ItemKind::Model, "base");
    base.purl = Some("pkg:huggingface/org/base@0123abcd".into());
    base.licence = Some("Llama 3 Community Licence".into());
    base.files = vec![tree_entry("model.onnx")];
    let mut digits = Item::new("dataset/digits@1", ItemKind::Dataset, "digits");
    digits.licence = Some("(cc0-1.0 OR MIT) and Apache-2.0".into());
    let mut package = Item::new("pkg:pypi/torch@1.13.0", ItemKind::Package, "torch");
    package.purl = Some("pkg:pypi/torch@1.13.0".into());
    let mut system = Item::new("os", ItemKind::System, "Debian GNU/Linux");
    system.facts = vec![("ringfence:kernel".into(), "6.12\u{202e}".into())];
    Inventory {
        tool_version: "0.1.0".into(),
        made: Timestamp::from_millis(1_790_000_000_000),
        subject,
        card: Some(Card {
            approach: Some("supervised".into()),
            task: Some("image classification".into()),
            family: Some("convolutional neural network".into()),
            datasets: vec!["dataset/digits@1".into()],
            inputs: vec!["float32[batch,1,28,28]".into()],
            outputs: vec!["float32[batch,10]".into()],
            metrics: vec![Metric {
                name: "accuracy under pgd-40 linf 0.3".into(),
                value: 0.91,
                slice: Some("test".into()),
                interval: Some([0.89, 0.93]),
            }],
            limitations: vec!["digits only".into()],
            ..Card::default()
        }),
        bases: vec!["model/base@1".into()],
        items: vec![base, digits, package, system, Item::new("code/train@1", ItemKind::Code, "train")],
        run: Some(Run {
            id: "run/7".into(),
            name: "train".into(),
            command: Some("python train.py".into()),
            inputs: vec!["model/base@1".into(), "dataset/digits@1".into(), "code/train@1".into()],
            outputs: vec!["model/net@3".into()],
            started: Some(Timestamp::from_millis(1_780_000_000_000)),
            ended: Some(Timestamp::from_millis(1_780_000_100_000)),
        }),
        exposures: vec![exposure(None), exposure(Some(waived()))],
    }
}

#[test]
fn a_bill_of_materials_passes_cyclonedx_own_schema() {
    let bom = serde_json::to_value(inventory().to_bom().unwrap()).unwrap();
    assert_eq!(cyclonedx_errors(&bom), Vec::<String>::new());
    insta::with_settings!({sort_maps => true}, { insta::assert_json_snapshot!(bom) });

    let bare = Inventory {
        card: None,
        bases: Vec::new(),
        items: Vec::new(),
        run: None,
        exposures: Vec::new(),
        subject: Item::new("dataset/a@1", ItemKind::Dataset, "a"),
        ..inventory()
    };
    assert_eq!(cyclonedx_errors(&serde_json::to_value(bare.to_bom().unwrap()).unwrap()), Vec::<String>::new());
    // The schema does look: what is wrong is told.
    let mut wrong = bom;
    wrong["components"][0]["type"] = json!("model");
    assert!(!cyclonedx_errors(&wrong).is_empty());
}

#[test]
fn the_same_facts_have_the_same_serial_number_and_others_another() {
    let serial =
        |inventory: &Inventory| serde_json::to_value(inventory.to_bom().unwrap()).unwrap()["serialNumber"].clone();
    let mut other = inventory();
    other.subject.tree = Some(Digest::of(b"another tree"));
    assert_eq!(serial(&inventory()), serial(&inventory()));
    assert_ne!(serial(&inventory()), serial(&other));
}

#[test]
fn references_must_lead_somewhere() {
    let mut twice = inventory();
    twice.items.push(Item::new("os", ItemKind::System, "again"));
    assert!(matches!(twice.to_bom(), Err(BomError::Reference { reference }) if reference == "os"));
    let mut dangling = inventory();
    dangling.bases.push("model/gone@1".into());
    assert!(matches!(dangling.to_bom(), Err(BomError::Dangling { reference }) if reference == "model/gone@1"));
}

fn finding(file: &str, offset: u64) -> Finding {
    Finding {
        rule: "RF-PKL-003".into(),
        severity: Severity::Critical,
        message: "pickle calls `posix.system`".into(),
        place: Place {
            file: Some(file.into()),
            member: Some("data.pkl".into()),
            offset: Some(offset),
            ..Place::default()
        },
        evidence: vec!["STACK_GLOBAL posix system".into()],
        why: "loading this file would run the command".into(),
        remedy: "ask the author for .safetensors".into(),
        waived: None,
    }
}

#[test]
fn sarif_passes_its_schema_and_tells_waivers() {
    let mut covered = finding("a b/ü:x.bin", 7);
    covered.waived = Some(waived());
    let nowhere = Finding { place: Place::default(), severity: Severity::Info, why: String::new(), ..finding("x", 1) };
    let log = sarif("0.1.0", &[finding("m.bin", 28), covered, nowhere]);
    assert_eq!(errors("sarif-2.1.0", &[], &log), Vec::<String>::new());
    insta::with_settings!({sort_maps => true}, { insta::assert_json_snapshot!(log) });
    let results = &log["runs"][0]["results"];
    assert_eq!(results[0]["suppressions"], json!([]));
    assert_eq!(results[1]["suppressions"][0]["status"], "accepted");
    assert_eq!(results[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "a%20b/%C3%BC%3Ax.bin");
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][0]["help"]["text"], "ask the author for .safetensors");
}

#[test]
fn fingerprints_outlive_moves_and_stay_apart() {
    let prints = |findings: &[Finding]| {
        let log = sarif("0.1.0", findings);
        let results = log["runs"][0]["results"].as_array().unwrap();
        results.iter().map(|result| result["partialFingerprints"]["ringfence/v2"].clone()).collect::<Vec<_>>()
    };
    let before = prints(&[finding("models/m.bin", 28), finding("models/m.bin", 99)]);
    let moved = prints(&[finding("/srv/other/models/m.bin", 1_028), finding("/srv/other/models/m.bin", 1_099)]);
    assert_eq!(before, moved);
    assert_ne!(before[0], before[1], "two places in one file stay two results");
}

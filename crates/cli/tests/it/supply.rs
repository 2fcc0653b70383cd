//! The supply chain as its users meet it: sources, signatures, advisories, waivers, bills of materials.

use std::{fs, path::Path};

use ringfence_engine::reach::testing::TestHub;
use serde_json::json;

use crate::home::{Home, examples};

/// A pickle that would run `true`.
const POISON: &[u8] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00trueq\x00\x85R.";
/// A pickle that names something that no table knows.
const ODD: &[u8] = b"\x80\x02clab.layers\nOurLayer\nq\x00)\x81.";

fn base() -> Vec<u8> {
    fs::read(examples().join("digits/base.onnx")).unwrap()
}

/// A home whose way out leads to `hub` alone.
fn home_beside(hub: &TestHub) -> Home {
    let home = Home::with_vault();
    fs::write(home.config().join("reach.toml"), toml::to_string(&hub.settings()).unwrap()).unwrap();
    home
}

#[test]
fn a_model_from_a_hub_is_pinned_admitted_and_told_when_it_is_outdated() {
    let hub = TestHub::start(0).unwrap();
    let model = base();
    let first = hub.put("models/lab/net", &[("model.onnx", &model), ("config.json", b"{}")]);
    let home = home_beside(&hub);
    let args = ["add", "hf://lab/net@main", "--as", "model/net", "--format", "json"];
    let added = home.run(&args).exits(0).json();
    assert_eq!(added["verdict"], "admitted");
    assert!(added["origin"].as_str().unwrap().contains(&first), "{added}");
    assert_eq!(home.run(&["outdated"]).exits(0).out(), "");

    let second = hub.put("models/lab/net", &[("model.onnx", &model), ("config.json", b"{ }")]);
    let outdated = home.run(&["outdated", "--format", "json"]).exits(1).json();
    assert_eq!(outdated["artifacts"][0]["latest"], second.as_str());
    assert_eq!(outdated["artifacts"][0]["diff"]["changed"], json!(["config.json"]));
    home.run(&["get", "model/net@1", "copy"]).exits(0);
    assert_eq!(fs::read(home.work().join("copy/model.onnx")).unwrap(), model);
}

#[test]
fn a_poisoned_repository_is_refused_before_its_weights_are_fetched() {
    let hub = TestHub::start(0).unwrap();
    let weights: Vec<u8> = (0..8_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut big = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({},), }}", weights.len());
    big.extend_from_slice(format!("{header:<117}\n").as_bytes());
    big.extend_from_slice(&weights);
    hub.put("models/evil/net", &[("weights.npy", &big), ("model.pkl", POISON)]);
    let home = home_beside(&hub);
    let refused = home.run(&["add", "hf://evil/net", "--as", "model/net"]).exits(1);
    assert!(refused.err().contains("model.pkl: RF-PKL-001"), "{}", refused.err());
    let sent = hub.storage.sent("") + hub.api.sent("");
    assert!(sent < big.len() as u64 / 4, "{sent} of {} bytes were sent", big.len());
    assert_eq!(home.list()["artifacts"], json!([]));
    // The denial is in the trail, which still verifies.
    assert!(home.run(&["trail", "ls"]).exits(0).out().contains("failed"));
    home.run(&["trail", "verify"]).exits(0);
}

#[test]
fn sources_that_no_policy_names_are_not_asked() {
    let home = Home::with_vault();
    let refused = home.run(&["add", "http://127.0.0.1:9/model.pkl", "--as", "model/net"]);
    assert!(matches!(refused.code(), Some(1 | 2)), "{}", refused.shown());
    assert!(refused.err().contains("hint:"), "{}", refused.err());
    let wrong = home.run(&["add", "hf://../../etc", "--as", "model/net"]);
    assert_eq!(wrong.code(), Some(2), "{}", wrong.shown());
}

#[test]
fn a_new_advisory_revokes_an_admitted_model_and_raises_an_alert() {
    let publisher = Home::with_vault();
    let root = publisher.write("publisher.root", publisher.run(&["show", "root"]).exits(0).raw());
    let home = Home::with_vault();
    home.write("net.onnx", base());
    home.run(&["add", "net.onnx", "--as", "model/net"]).exits(0);
    let clean = home.run(&["scan", "--admitted", "--format", "json"]).exits(0).json();
    assert_eq!(
        (&clean["artifacts"][0]["revoked"], &clean["artifacts"][0]["verdict"]),
        (&json!(false), &json!("clean"))
    );

    let shown = home.run(&["show", "model/net", "--bom"]).exits(0).out();
    let bill: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let digest = find_digest(&bill, "net.onnx").unwrap();
    let issue = |serial: &str, records: &str| {
        publisher.write("records.jsonl", records);
        let name = format!("lab-{serial}.feed");
        let args = ["sign", "feed", "records.jsonl", "--name", "lab", "--serial", serial, "--out", &name];
        publisher.run(&args).exits(0);
        publisher.work().join(name).to_str().unwrap().to_owned()
    };
    let record = json!({"schema_version": "1.6.0", "id": "LAB-2026-1", "modified": "2026-11-01T00:00:00Z",
        "summary": "backdoored classifier",
        "affected": [{"package": {"ecosystem": "Hugging Face", "name": "lab/net"},
            "ecosystem_specific": {"sha256": [digest]}}]});
    let (quiet, loud) = (issue("1", ""), issue("2", &format!("{record}\n")));
    let scan = |feed: &str| home.run(&["scan", "--admitted", "--feed", feed, "--feed-root", root.to_str().unwrap()]);
    scan(&quiet).exits(0);
    let told = scan(&loud).exits(1).out();
    assert!(told.contains("ALERT") && told.contains("LAB-2026-1") && told.contains("revoked"), "{told}");
    assert!(home.run(&["ls"]).exits(0).out().contains("revoked"));
    // The gate refuses it from now on; an older issue of the feed is not believed.
    assert!(home.run(&["review", "ls"]).exits(0).out().contains("model/net@1"));
    scan(&quiet).exits(5);
    let kept = home.run(&["review", "approve", "model/net@1", "--reason", "ours, and known"]).exits(0);
    assert!(kept.out().contains("approved"));
    assert!(!home.run(&["ls"]).exits(0).out().contains("revoked"));
    home.run(&["trail", "verify"]).exits(0);
}

/// The SHA-256 of a file in a bill of materials.
fn find_digest(value: &serde_json::Value, name: &str) -> Option<String> {
    if value["name"] == name {
        let hashes = value["hashes"].as_array()?;
        return hashes.iter().find(|hash| hash["alg"] == "SHA-256")?["content"].as_str().map(str::to_owned);
    }
    match value {
        serde_json::Value::Array(items) => items.iter().find_map(|item| find_digest(item, name)),
        serde_json::Value::Object(fields) => fields.values().find_map(|field| find_digest(field, name)),
        _ => None,
    }
}

#[test]
fn a_waiver_is_for_one_digest_one_rule_and_a_time() {
    let home = Home::with_vault();
    home.write("ours.pkl", ODD);
    let found = home.run(&["scan", "ours.pkl", "--format", "json"]).exits(1).json();
    let findings = found["files"][0]["findings"].as_array().unwrap().clone();
    for finding in &findings {
        let rule = finding["rule"].as_str().unwrap();
        let waive =
            ["sign", "waiver", "ours.pkl", "--reason", "our own layer", "--by", "ana", "--days", "30", "--rule"];
        home.run(&[&waive[..], &[rule]].concat()).exits(0);
    }
    let waived = home.run(&["scan", "ours.pkl", "--format", "json"]).exits(0).json();
    assert_eq!(
        waived["files"][0]["findings"].as_array().unwrap().len(),
        findings.len(),
        "what is waived stays visible"
    );
    assert_eq!(waived["files"][0]["findings"][0]["waived"]["by"], "ana");
    assert!(home.run(&["scan", "ours.pkl", "--format", "sarif"]).exits(0).out().contains("suppressions"));
    assert!(home.run(&["scan", "ours.pkl", "--format", "junit"]).exits(0).out().contains("<testsuites"));

    // Another digest.
    let mut other = ODD.to_vec();
    other.extend_from_slice(b"\n");
    home.write("ours.pkl", &other);
    assert_ne!(home.run(&["scan", "ours.pkl"]).code(), Some(0));
    // Nobody whom anybody here trusts.
    let stranger = Home::with_vault();
    stranger.write("ours.pkl", ODD);
    stranger.write("ringfence.waivers", fs::read(home.work().join("ringfence.waivers")).unwrap());
    let refused = stranger.run(&["scan", "ours.pkl"]).exits(1);
    assert!(refused.err().contains("does not count"), "{}", refused.err());
}

#[test]
fn a_signed_model_verifies_until_a_byte_changes() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trust/tests/vectors/oms");
    let at = |name: &str| vectors.join(name).to_str().unwrap().to_owned();
    let home = Home::new();
    home.write("net/model.onnx", base());
    home.write("net/config.json", "{}");
    home.run(&["sign", "model", "net", "--key", &at("p256.key.pem")]).exits(0);
    let verify =
        |key: &str| home.run(&["verify", "net", "--signature", "net/model.sig", "--key", &at(key), "--format", "json"]);
    assert_eq!(verify("p256.pub.pem").exits(0).json()["verdict"], "verified");
    assert!(verify("p384.pub.pem").exits(1).err().contains("hint"));
    home.write("net/config.json", "[]");
    assert!(verify("p256.pub.pem").exits(5).err().contains("config.json"));
    // What the reference implementation signed.
    let args = ["verify", &at("model"), "--signature", &at("signatures/key-p256.sig"), "--key", &at("p256.pub.pem")];
    home.run(&args).exits(0);
    home.write("SHA256SUMS", "0000000000000000000000000000000000000000000000000000000000000000  model.onnx\n");
    home.run(&["verify", "net", "--signature", "SHA256SUMS", "--unsigned-checksums"]).exits(5);
}

#[test]
fn weights_are_told_beside_those_of_a_base() {
    let home = Home::new();
    let net = home.write("net.onnx", base());
    let net = net.to_str().unwrap();
    let alone = home.run(&["scan", "--weights", net, "--format", "json"]).exits(0).json();
    assert!(!alone["tensors"].as_array().unwrap().is_empty(), "{alone}");
    let beside = home.run(&["scan", "--weights", net, "--base", net, "--format", "json"]).exits(0).json();
    assert_eq!(beside["unmatched"], serde_json::Value::Null, "{beside}");
}

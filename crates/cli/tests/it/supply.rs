//! The supply chain as its users meet it: sources, signatures, advisories, waivers, bills of materials.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use ringfence_engine::{
    Settings, Silent, Vault,
    reach::{ReachError, testing::TestHub},
    schema::{Timestamp, waiver::WaiverTerms},
};
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

/// A safetensors file of `F32` tensors.
fn safetensors(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert((*name).to_owned(), entry);
    }
    let mut header = serde_json::to_vec(&header).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
}

/// Repeatable numbers between -0.05 and 0.05.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 16) as u16) / 655_360.0 - 0.05
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn what_a_newer_revision_does_to_the_weights_is_told() {
    const SIDE: usize = 512;
    let hub = TestHub::start(0).unwrap();
    let matrix = |seed| numbers(SIDE * SIDE, seed);
    let (a, b, c, head) = (matrix(1), matrix(2), matrix(3), numbers(10 * SIDE, 4));
    let square: &[usize] = &[SIDE, SIDE];
    let first = safetensors(&[("a", square, &a), ("b", square, &b)]);
    let second = safetensors(&[("c", square, &c), ("head", &[10, SIDE], &head), ("old", &[4], &[1.0; 4])]);
    let held = [("m-1-of-2.safetensors", &first[..]), ("m-2-of-2.safetensors", &second), ("config.json", b"{}")];
    hub.put("models/lab/net", &held);
    let home = home_beside(&hub);
    home.run(&["add", "hf://lab/net@main", "--as", "model/net"]).exits(0);

    // Cut into other files; `a` is the same, `b` got one direction more, `c` was trained on.
    let edited: Vec<f32> =
        b.iter().enumerate().map(|(at, value)| value + 2.0 * a[at / SIDE] * a[SIDE + at % SIDE]).collect();
    let trained: Vec<f32> = c.iter().zip(matrix(5)).map(|(value, step)| value + step * 0.001).collect();
    let first = safetensors(&[("b", square, &edited)]);
    let second = safetensors(&[("a", square, &a), ("head", &[12, SIDE], &numbers(12 * SIDE, 4))]);
    let third = safetensors(&[("c", square, &trained), ("extra", &[4], &[1.0; 4])]);
    let files = [
        ("m-1-of-3.safetensors", &first[..]),
        ("m-2-of-3.safetensors", &second),
        ("m-3-of-3.safetensors", &third),
        ("config.json", b"{ }"),
    ];
    hub.put("models/lab/net", &files);
    let size: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let sent = || hub.storage.sent("") + hub.api.sent("");

    let before = sent();
    let told = home.run(&["outdated", "--format", "json"]).exits(1).json();
    let looked = sent() - before;
    assert!(looked < size / 4, "{looked} of {size} bytes were sent for the headers");
    let weights = &told["artifacts"][0]["weights"];
    assert_eq!(weights["compared"], "headers");
    let counts = json!({"alike": 3, "added": 1, "removed": 1, "reshaped": 1, "equal": 0, "moved": 0});
    assert_eq!(weights["counts"], counts, "{weights}");
    assert_eq!((&weights["added"][0]["name"], &weights["removed"][0]["name"]), (&json!("extra"), &json!("old")));
    assert_eq!(weights["reshaped"][0]["held"]["shape"], json!([10, SIDE]));
    assert_eq!(weights["reshaped"][0]["newer"]["shape"], json!([12, SIDE]));
    assert_eq!(weights["not_compared"], json!(null), "{weights}");

    let told = home.run(&["outdated", "model/net", "--weights", "--format", "json"]).exits(1).json();
    let weights = &told["artifacts"][0]["weights"];
    assert_eq!((&weights["counts"]["equal"], &weights["counts"]["moved"]), (&json!(1), &json!(2)), "{weights}");
    let moved = weights["moved"].as_array().unwrap();
    assert_eq!((&moved[0]["name"], &moved[0]["rank"]), (&json!("b"), &json!(1)), "the largest change comes first");
    assert_eq!((&moved[1]["name"], &moved[1]["rank"]), (&json!("c"), &json!(null)));
    assert!(moved[0]["relative"].as_f64().unwrap() > moved[1]["relative"].as_f64().unwrap());
    assert!((moved[1]["relative"].as_f64().unwrap() - 0.001).abs() < 0.000_2, "{moved:?}");
    assert!(moved[1]["changed"].as_f64().unwrap() > 0.9 && weights["overall"]["relative"].as_f64().unwrap() > 0.0);

    let shown = home.run(&["outdated", "--weights"]).exits(1).out();
    assert!(shown.contains("numbers: 1 equal, 2 moved, all together by "), "{shown}");
    assert!(shown.contains("1 directions") && shown.contains("reshaped"), "{shown}");
    assert_eq!(home.run(&["outdated", "model/other"]).code(), Some(2));
    // Nothing of it was kept.
    assert_eq!(home.list()["artifacts"].as_array().unwrap().len(), 1);
}

#[test]
fn figures_of_the_weights_are_part_of_the_evidence() {
    let home = Home::with_vault();
    let mut head = numbers(100 * 64, 7);
    head[..64].fill(0.0);
    home.write("net/model.safetensors", safetensors(&[("head", &[100, 64], &head)]));
    home.write("net/config.json", "{}");
    home.run(&["add", "net", "--as", "model/net"]).exits(0);
    let shown = home.run(&["show", "model/net", "--format", "json"]).exits(0).json();
    let weights = &shown["scan"]["weights"];
    assert!(weights["limits"].as_str().unwrap().contains("not proof"), "{weights}");
    let files = weights["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{weights}");
    assert_eq!((&files[0]["path"], &files[0]["elements"]), (&json!("model.safetensors"), &json!(6_400)));
    assert_eq!((&files[0]["dead_rows"], &files[0]["findings"][0]["rule"]), (&json!(1), &json!("RF-WTS-003")));
    assert_eq!(shown["evidence"][0]["statement"]["predicate"]["summary"]["tensors"], 1);
    assert_eq!(shown["evidence"][0]["statement"]["predicate"]["verdict"], "pass");
    let told = home.run(&["show", "model/net"]).exits(0).out();
    assert!(told.contains("model.safetensors (safetensors): 1 tensors, 6400 elements"), "{told}");
    assert!(told.contains("1 dead rows") && told.contains("statistics are evidence, not proof"), "{told}");
    // Whoever looks again takes them again.
    home.run(&["scan", "--admitted"]).exits(0);
    let again = home.run(&["show", "model/net", "--format", "json"]).exits(0).json();
    assert_eq!(again["scan"]["weights"], *weights);
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
    // Just looking needs no vault.
    let looked = home.run(&["scan", "hf://evil/net", "--format", "json"]).exits(1).json();
    let verdicts: Vec<_> = looked["files"].as_array().unwrap().iter().map(|file| &file["verdict"]).collect();
    assert_eq!(verdicts, ["malicious", "clean"], "{looked}");
    assert!(looked["files"][0]["path"].as_str().unwrap().starts_with("hf://evil/net@"), "{looked}");
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
    // What the feed said stands when the next look asks no feed.
    home.run(&["scan", "--admitted"]).exits(1);
    assert!(home.run(&["ls"]).exits(0).out().contains("revoked"));
    // The gate refuses it from now on; an older issue of the feed is not believed.
    assert!(home.run(&["review", "ls"]).exits(0).out().contains("model/net@1"));
    scan(&quiet).exits(5);
    let kept = home.run(&["review", "approve", "model/net@1", "--reason", "ours, and known"]).exits(0);
    assert!(kept.out().contains("approved"));
    assert!(!home.run(&["ls"]).exits(0).out().contains("revoked"));
    // Nor does the next look undo what somebody has decided, as long as it finds nothing else.
    home.run(&["scan", "--admitted"]).exits(1);
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

    let shown = home.run(&["scan", "ours.pkl"]).exits(0).out();
    assert!(shown.contains("waived by ana until ") && shown.contains("our own layer"), "{shown}");

    // Another digest, even of what is otherwise the same.
    let mut other = ODD.to_vec();
    other.extend_from_slice(b"\n");
    home.write("ours.pkl", &other);
    let stands = home.run(&["scan", "ours.pkl", "--format", "json"]).exits(1).json();
    let of_before = |finding: &&serde_json::Value| findings.iter().any(|before| before["rule"] == finding["rule"]);
    let same: Vec<_> = stands["files"][0]["findings"].as_array().unwrap().iter().filter(of_before).collect();
    assert!(!same.is_empty() && same.iter().all(|finding| finding["waived"].is_null()), "{stands}");
    // Nobody whom anybody here trusts.
    let stranger = Home::with_vault();
    stranger.write("ours.pkl", ODD);
    stranger.write("ringfence.waivers", fs::read(home.work().join("ringfence.waivers")).unwrap());
    let refused = stranger.run(&["scan", "ours.pkl"]).exits(1);
    assert!(refused.err().contains("does not count"), "{}", refused.err());
}

#[test]
fn a_waiver_for_another_rule_or_past_its_date_counts_for_nothing() {
    let home = Home::with_vault();
    let file = home.write("ours.pkl", ODD);
    let found = home.run(&["scan", "ours.pkl", "--format", "json"]).exits(1).json();
    let rules: Vec<String> = found["files"][0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap().to_owned())
        .collect();
    let stands = |waivers: &str| {
        let done = home.run(&["scan", "ours.pkl", "--waivers", waivers, "--format", "json"]).exits(1).json();
        let findings = done["files"][0]["findings"].as_array().unwrap();
        assert!(findings.iter().all(|finding| finding["waived"].is_null()), "{done}");
        let shown = home.run(&["scan", "ours.pkl", "--waivers", waivers]).exits(1).out();
        assert!(!shown.contains("waived"), "{shown}");
    };
    // Another rule, however close.
    let other = if rules.iter().any(|rule| rule == "RF-PKL-001") { "RF-PKL-002" } else { "RF-PKL-001" };
    assert!(!rules.iter().any(|rule| rule == other));
    let waive = ["sign", "waiver", "ours.pkl", "--reason", "our own layer", "--by", "ana", "--out", "other.waivers"];
    home.run(&[&waive[..], &["--rule", other]].concat()).exits(0);
    stands("other.waivers");

    // Yesterday it still counted: the same vault, whose clock stood two days back, waived for one day.
    let (vault, config) = (home.vault(), home.config());
    let past = || Timestamp::from(SystemTime::now() - Duration::from_hours(48));
    let settings = Settings {
        vault,
        config,
        program: env!("CARGO_BIN_EXE_ringfence").into(),
        now: &past,
        passphrase: &|_| Err(std::io::Error::other("none")),
        reach: &|| Err(ReachError::Setting { name: "none", why: "nothing is fetched here".into() }),
        progress: &Silent,
    };
    let until = |days: u64| past().plus_millis(days * 86_400_000);
    for (days, name) in [(1, "past.waivers"), (3, "now.waivers")] {
        for rule in &rules {
            let terms = WaiverTerms {
                rule: rule.clone(),
                file: None,
                member: None,
                reason: "our own layer".into(),
                by: "ana".into(),
                issued_ms: past(),
                expires_ms: until(days),
            };
            Vault::open(&settings).unwrap().waive(&file, terms, &home.work().join(name)).unwrap();
        }
    }
    home.run(&["scan", "ours.pkl", "--waivers", "now.waivers"]).exits(0);
    stands("past.waivers");
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

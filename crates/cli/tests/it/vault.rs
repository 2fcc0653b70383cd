//! Commands on a vault, and the JSON that programs read.

use std::fs;

use serde_json::Value;

use crate::home::{Home, contents, examples, settled, small_table};

/// The shape of a document: every value replaced by its kind, so that a snapshot holds the contract and nothing else.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(text) if text.starts_with("ringfence.") => text.as_str().into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
    }
}

fn add(home: &Home, count: usize) {
    home.write("train.csv", small_table(count));
    home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
}

#[test]
fn adding_listing_showing_and_writing_out() {
    let home = Home::with_vault();
    let added = {
        home.write("train.csv", small_table(60));
        let args = ["add", "train.csv", "--as", "dataset/small", "--label", "label", "--format", "json"];
        home.run(&args).exits(0).json()
    };
    assert_eq!(added["verdict"], "admitted");
    insta::assert_json_snapshot!("json-add", shape(&added));
    add(&home, 80);

    let listed = home.run(&["ls", "dataset/small", "--format", "json"]).exits(0).json();
    insta::assert_json_snapshot!("json-ls", shape(&listed));
    assert_eq!(listed["artifacts"].as_array().unwrap().len(), 2);
    insta::assert_snapshot!("ls", settled(&home.run(&["ls"]).exits(0).out()));

    let shown = home.run(&["show", "dataset/small@1", "--format", "json"]).exits(0).json();
    assert_eq!(shown["evidence"][0]["kind"], "screen");
    assert_eq!(shown["screen"]["records"], 60);
    let people = home.run(&["show", "dataset/small@1"]).exits(0).out();
    for word in ["dataset/small@1", "admitted", "evidence", "screen", "60 records"] {
        assert!(people.contains(word), "{word} is missing:\n{people}");
    }

    let got = home.run(&["get", "dataset/small@1", "copy", "--format", "json"]).exits(0).json();
    insta::assert_json_snapshot!("json-get", shape(&got));
    assert_eq!(fs::read_to_string(home.work().join("copy/train.csv")).unwrap(), small_table(60));
    // A second time the folder is in the way.
    let before = contents(&home.work());
    home.run(&["get", "dataset/small@2", "copy"]).exits(2);
    assert!(before == contents(&home.work()));

    let back = home.run(&["rollback", "dataset/small@1", "--format", "json"]).exits(0).json();
    insta::assert_json_snapshot!("json-rollback", shape(&back));
    home.run(&["get", "dataset/small", "newest"]).exits(0);
    assert_eq!(fs::read_to_string(home.work().join("newest/train.csv")).unwrap(), small_table(60));

    let status = home.run(&["--format", "json"]).exits(0).json();
    insta::assert_json_snapshot!("json-status", shape(&status));
    assert_eq!(status["versions"]["admitted"], 3);
    insta::assert_json_snapshot!(
        "json-verify",
        shape(&home.run(&["verify", "--all", "--format", "json"]).exits(0).json())
    );
    insta::assert_json_snapshot!("json-doctor", shape(&home.run(&["doctor", "--format", "json"]).exits(0).json()));
}

#[test]
fn what_is_refused_is_held_and_can_be_reviewed() {
    let home = Home::with_vault();
    // `posix.system` in a pickle.
    home.write("evil.pkl", b"cposix\nsystem\n(S'true'\ntR.");
    let refused = home.run(&["add", "evil.pkl", "--as", "model/evil", "--format", "json"]).exits(1);
    let report = refused.json();
    assert_eq!(report["verdict"], "refused");
    insta::assert_json_snapshot!("json-add-refused", shape(&report));
    let error: Value = serde_json::from_str(refused.err().trim()).unwrap();
    assert_eq!(error["exit"], 1);
    let people = home.run(&["add", "evil.pkl", "--as", "model/evil"]).exits(1);
    assert!(people.out().contains("posix"), "{}", people.out());
    assert!(people.err().contains("hint:") && people.err().contains("review"), "{}", people.err());

    let held = home.run(&["review", "ls", "--format", "json"]).exits(0).json();
    assert_eq!(held["schema"], "ringfence.held/1");
    assert_eq!(held["artifacts"].as_array().unwrap().len(), 2);
    // It was looked into: the gate says the same again.
    let again = home.run(&["review", "resume", "model/evil@1", "--format", "json"]).exits(1).json();
    assert_eq!((&again["verdict"], &again["scan"]), (&report["verdict"], &report["scan"]));
    home.run(&["review", "approve", "model/evil@1", "--reason", " "]).exits(2);
    home.run(&["review", "refuse", "model/evil@1", "--reason", "it runs a command"]).exits(0);
    home.run(&["get", "model/evil@1", "out"]).exits(1);
    assert!(!home.work().join("out").exists());
    let listed = home.run(&["ls", "model/evil"]).exits(0).out();
    assert!(listed.contains("refused for good"), "{listed}");
}

#[test]
fn the_trail_tells_every_step() {
    let home = Home::with_vault();
    add(&home, 40);
    let trail = home.run(&["trail", "ls", "--format", "json"]).exits(0).json();
    let actions: Vec<&str> =
        trail["entries"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    for action in ["init", "receive", "inspect", "admit"] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
    insta::assert_json_snapshot!(
        "json-trail-entry",
        shape(&home.run(&["trail", "show", "1", "--format", "json"]).exits(0).json())
    );
    let people = home.run(&["trail", "show", "1"]).exits(0).out();
    assert!(people.contains("subject") && people.contains("dataset/small@1"), "{people}");
    home.run(&["trail", "show", "9999"]).exits(2);
    let verdict = home.run(&["trail", "verify", "--format", "json"]).exits(0).json();
    assert_eq!(verdict["verdict"], "verified");
    // The checkpoint is a signed note that verifies later, from a file.
    let note = home.run(&["trail", "checkpoint"]).exits(0);
    home.write("held.checkpoint", note.raw());
    add(&home, 44);
    home.run(&["trail", "verify", "--checkpoint", "held.checkpoint"]).exits(0);
}

#[test]
fn the_trust_root_is_written_as_it_is() {
    let home = Home::with_vault();
    let plain = home.run(&["show", "root"]).exits(0);
    let json = home.run(&["show", "root", "--format", "json"]).exits(0);
    assert_eq!(plain.raw(), json.raw());
    assert_eq!(plain.raw(), fs::read(home.vault().join("root.json")).unwrap());
}

#[test]
fn rules_are_explained() {
    let home = Home::new();
    insta::assert_snapshot!("show-rule", home.run(&["show", "rf-lbl-001"]).exits(0).out());
    let rule = home.run(&["show", "RF-PKL-001", "--format", "json"]).exits(0).json();
    assert_eq!(rule["id"], "RF-PKL-001");
}

#[test]
fn reports_on_plain_files() {
    let home = Home::new();
    home.write("evil.pkl", b"cposix\nsystem\n(S'true'\ntR.");
    home.write("train.csv", small_table(60));
    let scanned = home.run(&["scan", "evil.pkl", "--format", "json"]).exits(1).json();
    assert_eq!(scanned["verdict"], "malicious");
    insta::assert_json_snapshot!("json-scan", shape(&scanned));
    home.run(&["scan", "train.csv"]).exits(0);
    let sarif: Value =
        serde_json::from_str(&home.run(&["scan", "evil.pkl", "--format", "sarif"]).exits(1).out()).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let screened = home.run(&["screen", "train.csv", "--label", "label", "--format", "json"]).exits(0).json();
    assert_eq!(screened["records"], 60);
    insta::assert_json_snapshot!("json-screen", shape(&screened));
    // Nothing of this needs or makes a vault.
    assert!(!home.vault().exists() && !home.config().exists());
}

#[test]
fn a_models_arithmetic_can_be_checked() {
    let home = Home::new();
    let base = examples().join("digits/base.onnx");
    let args = ["attack".as_ref(), base.as_os_str(), "--self-check".as_ref(), "--format".as_ref(), "json".as_ref()];
    let card = home.run(&args).exits(0).json();
    assert_eq!(card["verdict"], "sound");
    insta::assert_json_snapshot!("json-attack-self-check", shape(&card));
}

#[test]
fn the_users_policy_tightens_the_gates() {
    let home = Home::with_vault();
    home.write("train.csv", small_table(60));
    let careless = ["add", "train.csv", "--as", "dataset/small", "--label", "label", "--no-screen"];
    home.run(&careless).exits(0);
    let policy = home.config().join("policy.toml");
    fs::write(&policy, "schema = \"ringfence.policy/1\"\n[settings]\nallow_no_screen = false\n").unwrap();
    let refused = home.run(&careless).exits(1);
    assert!(refused.err().contains("admitted only with a complete, current, passing screening"), "{}", refused.err());
    fs::write(&policy, "schema = \"ringfence.policy/1\"\n[settings]\nallow_no_scren = false\n").unwrap();
    let wrong = home.run(&["ls"]).exits(2);
    assert!(wrong.err().contains("policy.toml"), "{}", wrong.err());
}

#[test]
fn a_command_that_is_not_on_this_machine_is_skipped_with_a_clear_word() {
    let home = Home::with_vault();
    let run = "[run]\nname = \"absent\"\ncommand = [\"no-such-interpreter\", \"train.py\"]\n";
    home.write("plan.toml", run);
    let empty = home.run(&["run", "plan.toml"]).exits(2);
    assert!(empty.err().contains("a run needs an input"), "{}", empty.err());
    home.write("train.csv", small_table(60));
    home.write("plan.toml", format!("{run}[data.train]\npath = \"train.csv\"\nlabel = \"label\"\n"));
    let skipped = home.run(&["run", "plan.toml"]).exits(3);
    let said = skipped.err();
    assert!(said.contains("command `no-such-interpreter`: not found in PATH; the run was skipped"), "{said}");
    home.run(&["trail", "verify"]).exits(0);
}

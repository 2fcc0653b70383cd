//! Destroying versions through the built binary: alone, with others over a server, and killed in the middle.

use std::{process::Stdio, thread, time::Duration};

use serde_json::Value;

use crate::{
    consent::{ANA, BEN, Desk, EVA, OTHERS},
    home::{Home, settled, small_table},
    remote::Site,
};

const WHY: &str = "the consent was withdrawn";

fn add(home: &Home, rows: usize) {
    home.write("train.csv", small_table(rows));
    home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
}

fn listed(home: &Home, reference: &str) -> Value {
    let all = home.list();
    let found = all["artifacts"].as_array().unwrap().iter().find(|row| row["artifact"] == reference).cloned();
    found.unwrap_or_else(|| panic!("{reference} is not in {all}"))
}

#[test]
fn a_version_goes_for_good() {
    let home = Home::with_vault();
    add(&home, 60);
    add(&home, 200);
    // It is asked twice: by its flag, and by a person who types what is to go.
    home.run(&["retire", "dataset/small@1", "--reason", WHY]).exits(2);
    home.run(&["retire", "dataset/small@1", "--destroy"]).exits(2);
    let unasked = home.run(&["retire", "dataset/small@1", "--destroy", "--reason", WHY]).exits(2).err();
    assert!(unasked.contains("--yes"), "{unasked}");
    let planned = home.run(&["retire", "dataset/small@1", "--destroy", "--dry-run"]).exits(0).out();
    assert!(planned.contains("nothing was destroyed"), "{planned}");
    home.run(&["get", "dataset/small@1", "before"]).exits(0);

    let words = ["retire", "dataset/small@1", "--destroy", "--reason", WHY, "--yes"];
    let done = home.run(&[&words[..], &["--format", "json"]].concat()).exits(0).json();
    assert_eq!((&done["verdict"], &done["reason"]), (&"destroyed".into(), &WHY.into()), "{done}");
    assert_eq!((&done["ledger_emptied"], &done["by"]), (&true.into(), &"owner".into()), "{done}");
    assert!(done["keys"].as_u64().unwrap() >= 1, "{done}");
    let again = home.run(&words).exits(1);
    for words in ["was destroyed", WHY, "hint:"] {
        assert!(again.err().contains(words), "{}", again.err());
    }
    let refused = home.run(&["get", "dataset/small@1", "out"]).exits(1).err();
    assert!(refused.contains(WHY), "{refused}");
    assert!(!home.work().join("out").exists());
    home.run(&["rollback", "dataset/small@1"]).exits(1);
    assert_eq!(listed(&home, "dataset/small@1")["destroyed"]["reason"], WHY);
    assert!(home.run(&["ls"]).exits(0).out().contains("destroyed"));
    let shown = home.run(&["show", "dataset/small@1"]).exits(0).out();
    assert!(shown.contains(WHY) && shown.contains("60 records"), "what was said of it stays: {shown}");
    let verified = home.run(&["verify", "--all", "--format", "json"]).exits(0).json();
    assert_eq!(verified["verdict"], "verified");
    let check = verified["checks"].as_array().unwrap().iter().find(|check| check["name"] == "dataset/small@1").unwrap();
    assert!(check["detail"].as_str().unwrap().contains("its keys are gone"), "{check}");
    home.run(&["trail", "verify"]).exits(0);
    let entry = done["entry"].to_string();
    assert!(home.run(&["trail", "show", &entry]).exits(0).out().contains("destroy"));
    // A run that names it is refused with the same words.
    home.write(
        "plan.toml",
        "[run]\nname = \"x\"\ntrainer = \"harden\"\n[run.harden]\nstart = \"fresh\"\neps = 0.1\nepochs = 1\n\
         [data.train]\nartifact = \"dataset/small@1\"\n[model.base]\npath = \"base.onnx\"\n",
    );
    let run = home.run(&["run", "plan.toml"]);
    assert_ne!(run.code(), Some(0));
    assert_ne!(run.code(), Some(5), "it is no tampering: {}", run.err());
    // Others are whole, and the next version has a number of its own.
    home.run(&["get", "dataset/small@2", "other"]).exits(0);
    add(&home, 60);
    assert_eq!(listed(&home, "dataset/small@3")["state"], "admitted");
    let people =
        settled(&home.run(&["retire", "dataset/small@3", "--destroy", "--reason", WHY, "--yes"]).exits(0).out());
    assert!(people.contains("destroyed") && people.contains("trail entry"), "{people}");
}

#[test]
fn killed_in_the_middle_it_is_done_or_not_begun() {
    let home = Home::with_vault();
    let (mut gone, mut kept) = (0, 0);
    for round in 1..=8_u64 {
        add(&home, 40 + usize::try_from(round).unwrap());
        let reference = format!("dataset/small@{round}");
        let words = ["retire", &reference, "--destroy", "--reason", WHY, "--yes"];
        let mut child = home.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(round * round * 3));
        let _ = child.kill();
        child.wait().unwrap();
        // The next start puts right what is left, whatever that is.
        let row = listed(&home, &reference);
        let copy = format!("copy-{round}");
        if row["destroyed"].is_object() {
            gone += 1;
            home.run(&["get", &reference, &copy]).exits(1);
        } else {
            kept += 1;
            home.run(&["get", &reference, &copy]).exits(0);
        }
        home.run(&["verify", "--all"]).exits(0);
    }
    println!("destroyed {gone} times, not begun or given up {kept} times");
    add(&home, 60);
    home.run(&["retire", "dataset/small@9", "--destroy", "--reason", WHY, "--yes"]).exits(0);
    home.run(&["trail", "verify"]).exits(0);
    let trail = home.run(&["trail", "ls", "--last", "100000", "--format", "json"]).exits(0).json();
    let count = |kind: &str| {
        let entries = trail["entries"].as_array().unwrap().iter();
        entries.filter(|entry| entry["action"] == "destroy" && entry["kind"] == kind).count()
    };
    assert!(count("intent") >= 1);
    assert_eq!(count("intent"), count("outcome"), "every intent has an end");
}

#[test]
fn two_others_approve_and_only_then_it_is_done() {
    let site = Site::with(&OTHERS, |_, _| {});
    let Some(ana) = Desk::with_key(&site, ANA) else { return };
    let (ben, eva) = (Desk::of(&site, BEN), Desk::of(&site, EVA));
    let table = ben.home.write("train.csv", small_table(60));
    ben.run(&["add", table.to_str().unwrap(), "--as", "dataset/small", "--label", "label"]).exits(0);
    let asked = ben.run(&["retire", "dataset/small@1", "--destroy", "--reason", WHY, "--format", "json"]).exits(0);
    let id = asked.json()["request"]["id"].as_str().unwrap().to_owned();
    assert_eq!(ben.asks(&["destroy", "dataset/small@1", "--reason", WHY]), id, "asked in other words, it is the same");
    let shown = ana.run(&["request", "show", &id]).exits(0).out();
    for words in ["destroy the keys of dataset/small@1", WHY, "because"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let canonical = ana.run(&["request", "show", &id, "--canonical"]).exits(0);
    assert!(String::from_utf8_lossy(canonical.raw()).contains(&format!("\"reason\":\"{WHY}\"")));
    assert_ne!(ben.run(&["request", "carry-out", &id]).code(), Some(0));
    ana.run(&["request", "approve", &id, "--yes"]).exits(0);
    eva.approves_by_passkey(&id);
    let done = ben.run(&["request", "carry-out", &id, "--format", "json"]).exits(0).json();
    assert!(done["done"]["destroyed"]["keys"].as_u64().unwrap() >= 1, "{done}");
    for desk in [&ana, &ben] {
        let refused = desk.run(&["get", "dataset/small@1", "out"]).exits(1).err();
        assert!(refused.contains("was destroyed") && refused.contains(WHY), "{refused}");
        assert!(desk.run(&["ls"]).exits(0).out().contains("destroyed"));
    }
    let alerts = ana.run(&["watch", "alerts", "--format", "json"]).exits(0).json();
    assert_eq!(alerts["alerts"][0]["rule"], "RF-TEAM-002", "{alerts}");
    ana.run(&["verify", "--all"]).exits(0);
    ana.run(&["trail", "verify"]).exits(0);
    // Why is part of every other request too, where somebody says it.
    let table = ben.home.write("other.csv", small_table(80));
    ben.run(&["add", table.to_str().unwrap(), "--as", "dataset/other", "--label", "label"]).exits(0);
    let id = ben.asks(&["export", "dataset/other@1", "--reason", "the audit of May"]);
    assert!(ana.run(&["request", "show", &id]).exits(0).out().contains("the audit of May"));
}

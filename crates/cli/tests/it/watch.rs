//! Runs watched while they go on and afterwards, alerts and what follows from them, drills, series scored.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use serde_json::Value;

use crate::home::{Home, small_table};

/// A plan with a command of its own; `more` goes into `[run]` and after it.
fn plan(home: &Home, script: &str, more: &str) {
    home.write("plan/train.csv", small_table(60));
    home.write("plan/job/job.sh", script);
    home.write(
        "plan/plan.toml",
        format!(
            "[run]\nname = \"watched\"\ncode = \"job\"\ncommand = [\"/bin/sh\", \"job.sh\"]\n{more}\n\
             [data.train]\npath = \"train.csv\"\nlabel = \"label\"\n"
        ),
    );
}

/// Starts the plan and waits until its job runs; the run's id.
fn start(home: &Home) -> (Child, String) {
    let mut command = home.command(&["run", "plan/plan.toml", "--no-screen"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("running") {
        line.clear();
        assert!(talk.read_line(&mut line).unwrap() > 0, "the run ended before its job began");
    }
    // Whoever stops reading must not stop the run.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut talk, &mut std::io::sink());
    });
    (child, line.split_whitespace().nth(1).unwrap().to_owned())
}

fn runs(home: &Home) -> Vec<(String, String)> {
    let document = home.run(&["watch", "--format", "json"]).exits(0).json();
    let text = |run: &Value, name: &str| run[name].as_str().unwrap().to_owned();
    document["runs"].as_array().unwrap().iter().map(|run| (text(run, "run"), text(run, "state"))).collect()
}

#[test]
fn a_run_is_followed_frozen_stopped_and_looked_at_afterwards() {
    let home = Home::with_vault();
    plan(&home, "i=0; while :; do i=$((i+1)); echo \"step $i loss 0.5 lr 0.001\"; sleep 0.1; done\n", "");
    let (mut child, run) = start(&home);
    let mut follower = home.command(&["watch", &run, "--format", "json"]);
    let mut follower = follower.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut heard = Vec::new();
    for line in lines {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        heard.push(line);
        let of = |what: &str| {
            heard.iter().filter(|line| line["claimed"]["what"] == what || line["observed"]["what"] == what).count()
        };
        if of("progress") >= 2 && of("sample") >= 2 && heard.len() > 1 && child.try_wait().unwrap().is_none() {
            assert_eq!(runs(&home), [(run.clone(), "running".to_owned())]);
            home.run(&["stop", &run, "--freeze"]).exits(0);
            home.run(&["stop", &run, "--thaw"]).exits(0);
            home.run(&["stop", &run]).exits(0);
            break;
        }
    }
    // The rest of the lines ends with the run.
    drop(follower.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let _ = follower.wait();
    assert_eq!(runs(&home), [(run.clone(), "failed".to_owned())]);
    home.run(&["stop", &run]).exits(2);
    let text = home.run(&["watch", &run, "--format", "plain"]).exits(0).out();
    for part in ["started at level", "kernel  cpu", "kernel  memory", "claim   loss", "claim   step"] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    home.run(&["watch", "history", &run, "--out", "run.html"]).exits(0);
    let page = fs::read_to_string(home.work().join("run.html")).unwrap();
    for part in ["What the kernel told", "What the job said", "started at level", "learning rate"] {
        assert!(page.contains(part), "`{part}` is missing in the page");
    }
    assert!(!page.contains("<script"), "the page has no script");
    home.run(&["watch", "r-0000"]).exits(2);
}

#[test]
fn a_tampered_learning_rate_raises_an_alert_that_stops_the_run_where_the_rules_say_so() {
    let home = Home::with_vault();
    home.write("../config/ringfence/rules.toml", STRICT_RULES);
    plan(
        &home,
        "i=0; while :; do i=$((i+1)); lr=0.001; [ $i -gt 40 ] && lr=0.01\n\
         echo \"{\\\"step\\\": $i, \\\"loss\\\": 0.5, \\\"learning_rate\\\": $lr}\" >> \"$RINGFENCE_PROGRESS\"; sleep 0.05; done\n",
        "[run.watch]\nlearning-rate = { curve = \"constant\", rate = 0.001 }\n",
    );
    let done = home.run(&["run", "plan/plan.toml", "--no-screen"]).exits(3);
    assert!(done.err().contains("RF-WCH-016"), "{}", done.err());
    let alerts = home.run(&["watch", "alerts", "--format", "json"]).exits(0).json();
    let alerts = alerts["alerts"].as_array().unwrap().clone();
    let alert = alerts.iter().find(|alert| alert["kind"] == "learning-rate").unwrap();
    assert_eq!(alert["basis"], "claimed");
    assert_eq!(alert["state"], "open");
    let id = alert["id"].as_str().unwrap().trim_start_matches("sha256:")[..12].to_owned();
    home.run(&["watch", "ack", &id, "--reason", " "]).exits(2);
    home.run(&["watch", "ack", &id, "--reason", "a drill"]).exits(0);
    let open = home.run(&["watch", "alerts", "--open", "--format", "json"]).exits(0).json();
    assert!(open["alerts"].as_array().unwrap().iter().all(|alert| alert["kind"] != "learning-rate"), "{open}");
    assert!(home.run(&["show", "RF-WCH-016"]).exits(0).out().contains("learning rate"));
    home.run(&["trail", "verify"]).exits(0);
}

const STRICT_RULES: &str = "schema = \"ringfence.rules/1\"\n[[change]]\nrule = \"RF-WCH-016\"\n\
    actions = [\"notify\", \"stop\"]\nact_on_claims = true\nreason = \"plans are kept\"\n";

#[test]
fn rules_that_cannot_be_read_stop_a_run_before_it_begins() {
    let home = Home::with_vault();
    home.write("../config/ringfence/rules.toml", "schema = \"ringfence.rules/1\"\n[[change]]\nrule = \"RF-WCH-999\"\n");
    plan(&home, "true\n", "");
    home.run(&["run", "plan/plan.toml", "--no-screen"]).exits(2);
    home.run(&["watch", "rules"]).exits(2);
}

#[test]
fn a_plan_reaches_no_host_that_the_vault_does_not_grant() {
    let home = Home::with_vault();
    home.write(
        "../config/ringfence/policy.toml",
        "schema = \"ringfence.policy/1\"\n[settings]\negress_hosts = [\"a.example\"]\n",
    );
    plan(&home, "true\n", "[run.egress]\nallow = [\"b.example\"]\n");
    let done = home.run(&["run", "plan/plan.toml", "--no-screen"]).exits(1);
    assert!(done.err().contains("b.example"), "{}", done.err());
}

#[test]
fn alerts_reach_a_file_that_a_collector_reads() {
    let home = Home::with_vault();
    let lake = home.root().join("alerts.jsonl");
    let sinks =
        format!("[[sink]]\nname = \"lake\"\nmin-severity = \"info\"\nto.file = {{ path = \"{}\" }}\n", lake.display());
    home.write("../config/ringfence/sinks.toml", sinks);
    home.run(&["watch", "sinks", "--test", "lake"]).exits(0);
    let line: Value = serde_json::from_str(fs::read_to_string(&lake).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(line["class_uid"], 2004);
    let sinks = home.run(&["watch", "sinks", "--format", "json"]).exits(0).json();
    assert_eq!(sinks["sinks"][0]["name"], "lake");
    home.run(&["watch", "deliver"]).exits(0);
    home.run(&["watch", "sinks", "--test", "nobody"]).exits(2);
}

#[test]
fn a_version_that_was_rewritten_in_place_is_told() {
    let home = Home::with_vault();
    let add = |table: String| {
        home.write("train.csv", table);
        home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0)
    };
    add(small_table(400));
    assert!(!add(small_table(410)).err().contains("RF-WCH"), "ordinary growth");
    // As many records and labels as before, and other values in most of them.
    let moved = |(number, line): (usize, &str)| match (number, line.split_once(',')) {
        (0, _) | (_, None) => line.to_owned(),
        (_, Some((first, rest))) => format!("{},{rest}", first.parse::<f64>().unwrap() + 100.0),
    };
    let lines: Vec<String> = small_table(410).lines().enumerate().map(moved).collect();
    let told = add(lines.join("\n") + "\n");
    assert!(told.err().contains("rewritten (410 records)"), "{}", told.err());
    let alerts = home.run(&["watch", "alerts", "--format", "json"]).exits(0).json();
    let kinds: Vec<&str> = alerts["alerts"].as_array().unwrap().iter().filter_map(|a| a["kind"].as_str()).collect();
    assert!(kinds.contains(&"version-rewrite") && kinds.contains(&"drift"), "{kinds:?}");
}

#[test]
fn a_series_is_scored_line_by_line_without_a_look_ahead() {
    let home = Home::new();
    let row = |i: usize| format!("2026-01-01 {:02}:{:02}:00,{}\n", i / 60 % 24, i % 60, 10.0 + (i % 7) as f64);
    let whole: String = (0..1_000).map(row).collect();
    let part: String = (0..500).map(row).collect();
    home.write("whole.csv", format!("timestamp,value\n{whole}"));
    home.write("part.csv", format!("timestamp,value\n{part}"));
    let scored = |file: &str| home.run(&["watch", "replay", file, "--format", "json"]).exits(0).out();
    let (whole, part) = (scored("whole.csv"), scored("part.csv"));
    assert_eq!((whole.lines().count(), part.lines().count()), (1_000, 500));
    assert!(whole.lines().zip(part.lines()).all(|(whole, part)| whole == part));
    for line in whole.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!((0.0..=1.0).contains(&line["score"].as_f64().unwrap()), "{line}");
    }
    home.write("bad.csv", "timestamp,value\n2026-01-01 00:00:00,1\nnonsense,2\n2026-01-01 00:02:00,3\n");
    let bad = home.run(&["watch", "replay", "bad.csv", "--format", "json"]).exits(3);
    assert_eq!(bad.out().lines().count(), 2);
    home.write("none.csv", "a,b\n1,2\n");
    home.run(&["watch", "replay", "none.csv"]).exits(3);
}

#[test]
fn drills_show_what_stopped_or_saw_each() {
    let home = Home::new();
    let listed = home.run(&["drill", "ls", "--format", "json"]).exits(0).json();
    assert!(listed["drills"].as_array().unwrap().len() >= 12);
    let wanted = [
        "exfiltrate-dns",
        "exfiltrate-name",
        "exfiltrate-address",
        "exfiltrate-udp",
        "exfiltrate-unix",
        "learning-rate",
        "outlive",
    ];
    let args: Vec<&str> = ["drill", "run", "--format", "json"].into_iter().chain(wanted).collect();
    let done = home.run(&args);
    let document = done.json();
    assert_eq!(document["drills"].as_array().unwrap().len(), wanted.len());
    for drilled in document["drills"].as_array().unwrap() {
        assert_eq!(drilled["arrived_bytes"], 0, "{drilled:#}");
        if drilled["level"] == "landlock" {
            eprintln!(
                "skipped, without namespaces no socket is had and nobody is told whom it was for: {}",
                drilled["name"]
            );
            continue;
        }
        assert_eq!(drilled["passed"], true, "{drilled:#}");
    }
    home.run(&["drill", "run", "no-such-drill"]).exits(2);
    home.run(&["__drill", "miner"]).exits(2);
}

/// What docs/watch.md shows is understood as it stands there.
#[test]
fn the_examples_of_the_document_are_understood() {
    let home = Home::with_vault();
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/watch.md")).unwrap();
    let (mut plan, mut seen) = (String::new(), Vec::new());
    for block in text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let (file, block) = match block {
            _ if block.contains("[[sink]]") => ("sinks.toml", block.to_owned()),
            _ if block.contains("ringfence.rules/1") => ("rules.toml", block.to_owned()),
            _ if block.contains("egress_hosts") => (
                "policy.toml",
                format!("schema = \"ringfence.policy/1\"\n{}", block.replace("\"*.hugg", "\"*\", \"*.hugg")),
            ),
            _ => {
                plan.push_str(block);
                continue;
            }
        };
        home.write(&format!("../config/ringfence/{file}"), block);
        seen.push(file);
    }
    seen.sort_unstable();
    assert_eq!(seen, ["policy.toml", "rules.toml", "sinks.toml"]);
    assert!(home.run(&["watch", "rules"]).exits(0).out().contains("USR-loss"));
    let sinks = home.run(&["watch", "sinks", "--format", "json"]).exits(0).json();
    assert_eq!(sinks["sinks"].as_array().unwrap().len(), 6);
    home.write("t.csv", small_table(60));
    let plan = format!(
        "[run]\nname = \"shown\"\ncommand = [\"true\"]\n{plan}\n[data.train]\npath = \"t.csv\"\nlabel = \"label\"\n"
    );
    home.write("plan.toml", plan);
    // Understood and granted: what is refused is a command that leaves nothing.
    let done = home.run(&["run", "plan.toml", "--no-screen"]).exits(3);
    let err = done.err();
    assert!(err.contains("left nothing") || err.contains("egress needs namespaces"), "{err}");
}

//! Runs whose command runs here and everything else on a server: the built binary at both ends.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use ringfence_engine::{
    reach::{
        ReachError, Secret,
        server::{Method, Patience},
    },
    told::{Assignment, Shown},
};
use serde_json::{Value, json};

use crate::{
    home::{Home, copy_folder, examples, small_table},
    remote::Site,
};

/// A plan with a command of its own.
pub(crate) fn plan(site: &Site, script: &str) {
    site.here.write("plan/train.csv", small_table(60));
    site.here.write("plan/job/job.sh", script);
    site.here.write(
        "plan/plan.toml",
        "[run]\nname = \"afar\"\ncode = \"job\"\ncommand = [\"/bin/sh\", \"job.sh\"]\n\
         [data.train]\npath = \"train.csv\"\nlabel = \"label\"\n",
    );
}

const COUNTS: &str = "i=0; while :; do i=$((i+1)); echo \"step $i loss 0.5 lr 0.001\"; sleep 0.1; done\n";

/// Starts the plan and waits until its job runs here; the run's id.
fn start(site: &Site) -> (Child, String) {
    let mut command = site.command(&["run", "plan/plan.toml"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut said) = (String::new(), String::new());
    while !line.starts_with("running") {
        line.clear();
        assert!(talk.read_line(&mut line).unwrap() > 0, "the run ended before its job began: {said}");
        said.push_str(&line);
    }
    let run = line.split_whitespace().nth(1).unwrap().to_owned();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut talk, &mut std::io::sink());
    });
    (child, run)
}

/// Looks until `found` finds something.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn state(site: &Site, run: &str) -> Option<String> {
    let document = site.run(&["watch", "--format", "json"]).exits(0).json();
    let runs = document["runs"].as_array().unwrap().clone();
    let row = runs.iter().find(|row| row["run"] == run)?;
    Some(row["state"].as_str().unwrap().to_owned())
}

/// Waits until the server has heard from the kernel and from the job itself.
fn telemetry(site: &Site, run: &str) {
    until("telemetry", || {
        let text = site.run(&["watch", run, "--format", "plain"]).out();
        (text.contains("kernel  cpu") && text.contains("claim   loss")).then_some(())
    });
}

#[test]
fn the_example_is_trained_here_and_tested_and_released_there() {
    let site = Site::new();
    site.login();
    copy_folder(&examples().join("digits"), &site.here.work().join("digits"));
    // Where somebody ran the example, what it released lies there.
    let _ = fs::remove_dir_all(site.here.work().join("digits/released"));
    let done = site.run(&["run", "digits/ringfence.toml", "--format", "json"]).exits(0);
    let answer = done.json();
    assert_eq!(answer["verdict"], "released", "{answer}");
    assert_eq!(answer["artifact"], "model/digits-robust@1");
    // It is in the server's vault, with its evidence; here is neither a vault nor a bundle.
    let shown = site.run(&["show", "model/digits-robust@released"]).exits(0).out();
    for kind in ["provenance", "scan", "robustness", "release"] {
        assert!(shown.contains(kind), "{kind} is missing in {shown}");
    }
    assert!(!site.here.vault().exists() && !site.here.work().join("digits/released").exists());
    // Whose word it is stands in the trail and in the telemetry.
    let run = answer["run"].as_str().unwrap();
    let told = site.run(&["watch", run, "--format", "json"]).exits(0).out();
    assert!(told.contains("not seen by this vault's machine"), "{told}");
    let shown = site.run(&["watch", run, "--format", "plain"]).exits(0).out();
    assert!(shown.contains("started at level") && shown.contains("tells"), "{shown}");
    let trail = site.run(&["trail", "ls", "--last", "400", "--format", "json"]).exits(0).out();
    assert!(trail.contains("input of a run") && trail.contains("\"bearer\""), "{trail}");
    site.run(&["trail", "verify"]).exits(0);
    site.run(&["verify", "--all"]).exits(0);
    // What is there already is not brought again.
    let again = site.run(&["run", "digits/ringfence.toml", "--format", "json", "--out", "net"]).exits(0);
    assert_eq!(again.json()["artifact"], "model/digits-robust@2");
    // Where it is wanted, the bundle comes too.
    assert_eq!(again.json()["bundle"], "net");
    site.here.run(&["verify", "net"]).exits(0);
    assert!(again.err().contains("known      dataset/"), "{}", again.err());
    let listed = site.run(&["ls", "--format", "json"]).exits(0).json();
    let names = listed["artifacts"].as_array().unwrap().iter().map(|row| row["artifact"].as_str().unwrap());
    let brought: Vec<&str> = names.filter(|name| name.starts_with("dataset/") || name.ends_with("-base@2")).collect();
    assert!(!brought.is_empty() && brought.iter().all(|name| name.ends_with("@1")), "{brought:?}");
}

#[test]
fn a_run_elsewhere_is_watched_frozen_and_stopped_from_the_server() {
    let site = Site::new();
    site.login();
    plan(&site, COUNTS);
    let (mut child, run) = start(&site);
    telemetry(&site, &run);
    assert_eq!(state(&site, &run).as_deref(), Some("running"));
    site.run(&["stop", &run, "--freeze"]).exits(0);
    site.run(&["stop", &run, "--thaw"]).exits(0);
    let ordered = Instant::now();
    site.run(&["stop", &run, "--reason", "seen enough"]).exits(0);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    println!("stop: {:.2} s from the order to the end of the client", ordered.elapsed().as_secs_f64());
    assert!(ordered.elapsed() < Duration::from_secs(10));
    assert_eq!(state(&site, &run).as_deref(), Some("failed"));
    let trail = site.run(&["trail", "ls", "--last", "50", "--format", "json"]).exits(0).out();
    assert!(trail.contains("seen enough") && trail.contains("a stop that somebody ordered"), "{trail}");
    site.run(&["trail", "verify"]).exits(0);
}

#[test]
fn a_command_that_fails_leaves_nothing_but_its_record() {
    let site = Site::new();
    site.login();
    plan(&site, "echo half > \"$RINGFENCE_OUT\"/half; echo out of luck; exit 7\n");
    let failed = site.run(&["run", "plan/plan.toml"]).exits(3).err();
    assert!(failed.contains("exit code 7") && failed.contains("out of luck"), "{failed}");
    let listed = site.run(&["ls", "--format", "json"]).exits(0).json();
    assert!(!listed.to_string().contains("checkpoint/"), "{listed}");
    // Without `[test]`, what it leaves is a candidate.
    plan(&site, "mkdir \"$RINGFENCE_OUT\"/sub; echo a > \"$RINGFENCE_OUT\"/sub/a; : > \"$RINGFENCE_OUT\"/empty\n");
    let kept = site.run(&["run", "plan/plan.toml", "--format", "json"]).exits(0).json();
    assert_eq!((&kept["verdict"], &kept["artifact"]), (&json!("kept"), &json!("checkpoint/afar@1")));
    site.run(&["run", "plan/plan.toml", "--queue", "--out", "bundle"]).exits(2);
}

/// What a machine may do with the token of its run, and what happens when it goes silent or its owner goes.
#[test]
fn a_run_token_opens_its_run_and_nothing_else() {
    let site = Site::new();
    site.login();
    let table = site.here.write("train.csv", small_table(60));
    site.run(&["add", table.to_str().unwrap(), "--as", "dataset/small", "--label", "label"]).exits(0);
    let text = "[run]\nname = \"afar\"\ncommand = [\"/bin/true\"]\n[data.train]\nartifact = \"dataset/small@1\"\n";
    let ana = site.browser();
    let begin = || -> Assignment {
        let machine = json!({"name": "box", "level": "full", "line": "level full", "cores": 2, "client": "test"});
        let ask = json!({"plan": text, "inputs": {"data.train": "dataset/small@1"}, "machine": machine});
        ana.act(Method::Post, "/api/v1/runs", Some(&ask), Patience::Brief).unwrap()
    };
    let (first, second) = (begin(), begin());
    let Shown(token) = &first.token;
    assert!(token.starts_with("rf_run_"));
    let machine = ana.with_token(Secret::new("run", token.clone()).unwrap());
    let at = |run: &str, rest: &str| format!("/api/v1/runs/{run}/{rest}");
    let status = |result: Result<Value, ReachError>| match result {
        Ok(_) => 200,
        Err(ReachError::Problem { status, .. }) => status,
        Err(other) => panic!("{other}"),
    };
    // Its own input, byte for byte; no other file, input or run.
    let own = machine.read_bytes(&at(&first.run, "inputs/0/files/0")).unwrap();
    assert_eq!(own.len() as u64, first.inputs[0].files[0].size);
    assert_eq!(status(machine.read(&at(&first.run, "inputs/1/files/0"))), 404);
    assert_eq!(status(machine.read(&at(&first.run, "inputs/0/files/9"))), 404);
    assert_eq!(status(machine.read(&at(&second.run, "inputs/0/files/0"))), 403);
    let silence = json!({"first": 0, "events": []});
    let post = |run: &str, rest: &str, body: &Value| {
        status(machine.act(Method::Post, &at(run, rest), Some(body), Patience::Brief))
    };
    assert_eq!(post(&second.run, "events", &silence), 403);
    assert_eq!(post(&second.run, "fail", &json!({"why": "x"})), 403);
    // Nothing that people do, and nobody else's credential does what it does.
    for path in ["/api/v1/artifacts", "/api/v1/me", "/api/v1/trail", &at(&first.run, "standing")] {
        assert_eq!(status(machine.read(path)), 401, "{path}");
    }
    assert_eq!(status(ana.read(&at(&first.run, "inputs/0/files/0"))), 401);
    assert_eq!(status(ana.act(Method::Post, &at(&first.run, "events"), Some(&silence), Patience::Brief)), 401);
    // It lives, events count once, and outputs beyond the plan's limits are refused.
    let line = json!({"at_ms": 1, "claimed": {"what": "line", "stream": "stdout", "text": "hello\u{1b}[2J"}});
    assert_eq!(post(&first.run, "events", &json!({"first": 0, "events": [line]})), 200);
    assert_eq!(post(&first.run, "events", &json!({"first": 0, "events": [line]})), 200);
    assert_eq!(post(&first.run, "events", &json!({"first": 5, "events": []})), 422);
    assert_eq!(post(&first.run, "token", &json!({})), 413, "it takes no body");
    assert_eq!(post(&first.run, "finish", &json!({})), 413, "it takes no body");
    let result = json!({"level": "full", "measures": [], "ending": {"exited": 0}, "totals": {"wall_ms": 1, "cpu_ms": 1,
        "memory_bytes": 1, "processes": 1, "read_bytes": 0, "written_bytes": 0}, "refused": [], "collected": 1,
        "not_collected": 0});
    let sha = format!("sha256:{}", "0".repeat(64));
    let outcome = |path: &str, size: u64| json!({"result": result, "environment": {}, "program": sha, "files": [{"path": path, "size": size, "sha256": sha}]});
    assert_eq!(post(&first.run, "outputs", &outcome("model.bin", 1 << 40)), 422);
    assert_eq!(post(&first.run, "outputs", &outcome("../model.bin", 4)), 422);
    assert_eq!(post(&first.run, "outputs", &outcome("model.bin", 4)), 200);
    // Other bytes than were declared end the run.
    let mut wrong: &[u8] = b"four";
    let path = at(&first.run, "outputs/files/0?from=0");
    assert_eq!(status(machine.send(&path, &mut wrong, 4)), 422);
    until("the end", || {
        let standing: Value = ana.read(&at(&first.run, "standing")).unwrap();
        let why = standing["end"]["why"].as_str()?.to_owned();
        assert!(why.contains("not what its machine had declared"), "{why}");
        Some(())
    });
    assert_eq!(status(machine.read(&at(&first.run, "inputs/0/files/0"))), 401);
    // Over is over: it is told so, and that is all.
    let heard: Value = machine.act(Method::Post, &at(&first.run, "events"), Some(&silence), Patience::Brief).unwrap();
    assert_eq!(heard["order"], "stop");
    let lines = site.run(&["watch", &first.run, "--format", "json"]).exits(0).out();
    assert_eq!(lines.matches("hello").count(), 1, "{lines}");
    assert!(!lines.contains('\u{1b}'), "{lines}");

    // A stop ends the other one's token within a second, and it was never heard of.
    let Shown(token) = &second.token;
    let other = ana.with_token(Secret::new("run", token.clone()).unwrap());
    other.read_bytes(&at(&second.run, "inputs/0/files/0")).unwrap();
    let stopped = Instant::now();
    site.run(&["stop", &second.run]).exits(0);
    until("the end of the token", || {
        let read = other.read_bytes(&at(&second.run, "inputs/0/files/0"));
        matches!(read, Err(ReachError::Problem { status: 401, .. })).then_some(())
    });
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
}

/// A training machine: a program of Ana's with a token, logged in.
pub(crate) fn trainer(site: &Site) -> Home {
    let ana = site.browser();
    let invite = json!({"name": "gpu", "display": "GPU", "kind": "service", "roles": ["trainer"]});
    let program: Value = ana.act(Method::Post, "/api/v1/people", Some(&invite), Patience::Brief).unwrap();
    let terms = json!({"label": "gpu", "days": 1, "scope": ["read", "train"], "service": program["person"]["id"]});
    let made: Value = ana.act(Method::Post, "/api/v1/tokens", Some(&terms), Patience::Brief).unwrap();
    let machine = Home::new();
    let file = machine.write("token", made["secret"].as_str().unwrap());
    let authority = site.authority();
    let login = ["login", "--authority", authority.to_str().unwrap(), "--token", file.to_str().unwrap()];
    let mut command = machine.command(&login);
    command.env("RINGFENCE_SERVER", site.url());
    machine.done(command).exits(0);
    machine
}

/// A program with a token, on a machine of its own, takes what a person queued.
#[test]
fn a_training_machine_takes_queued_runs() {
    let site = Site::new();
    site.login();
    plan(&site, "echo a > \"$RINGFENCE_OUT\"/a\n");
    let queued = site.run(&["run", "plan/plan.toml", "--queue", "--format", "json"]).exits(0).json();
    assert_eq!(queued["state"], "waiting");
    let machine = trainer(&site);
    machine.run(&["serve", "--runner"]).exits(2);
    let mut runner = machine.command(&["serve", "--runner", "--format", "json"]);
    runner.env("RINGFENCE_SERVER", site.url());
    let mut runner = runner.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(runner.stdout.take().unwrap()).lines();
    let carried = lines.find_map(|line| line.ok().filter(|line| line.contains("\"state\""))).unwrap();
    assert!(carried.contains("brought"), "{carried}");
    let over = until("the end", || {
        let queue = site.run(&["watch", "queue", "--format", "json"]).exits(0).json();
        (queue["queue"][0]["state"] == "over").then(|| queue["queue"][0].clone())
    });
    assert_eq!(over["end"]["verdict"], "kept", "{over}");
    assert_eq!(over["end"]["artifact"], "checkpoint/afar@1");
    // With nothing under way it ends as soon as it is asked to.
    ask_to_end(&runner);
    assert!(runner.wait().unwrap().success());
    let trail = site.run(&["trail", "ls", "--last", "400", "--format", "json"]).exits(0).out();
    assert!(trail.contains("\"take\"") && trail.contains("end of a queued run"), "{trail}");
    // What waits is taken out by whoever may stop runs.
    let queued = site.run(&["run", "plan/plan.toml", "--queue", "--format", "json"]).exits(0).json();
    site.run(&["watch", "queue", "--remove", queued["id"].as_str().unwrap()]).exits(0);
    site.run(&["trail", "verify"]).exits(0);
}

fn ask_to_end(child: &Child) {
    let id = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
}

#[test]
fn a_training_machine_that_is_asked_to_end_carries_its_run_through_unless_asked_again() {
    let site = Site::new();
    site.login();
    plan(
        &site,
        "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo \"step $i loss 0.5 lr 0.001\"; sleep 0.1; done; echo a > \"$RINGFENCE_OUT\"/a\n",
    );
    let machine = trainer(&site);
    let begin = || {
        let mut runner = machine.command(&["serve", "--runner", "--format", "json"]);
        runner.env("RINGFENCE_SERVER", site.url());
        let runner = runner.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let queued = site.run(&["run", "plan/plan.toml", "--queue", "--format", "json"]).exits(0).json();
        let id = queued["id"].as_str().unwrap().to_owned();
        let taken = || {
            let queue = site.run(&["watch", "queue", "--format", "json"]).exits(0).json();
            let entry = queue["queue"].as_array().unwrap().iter().find(|entry| entry["id"] == id.as_str()).cloned();
            entry.filter(|entry| entry["state"] == "taken")?["run"].as_str().map(str::to_owned)
        };
        let run = until("the machine to take it", taken);
        telemetry(&site, &run);
        (runner, run)
    };
    let carried = |mut runner: Child| {
        let mut said = String::new();
        runner.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(runner.wait().unwrap().success());
        said
    };
    let (runner, _) = begin();
    ask_to_end(&runner);
    let said = carried(runner);
    assert!(said.contains("brought"), "{said}");

    plan(&site, COUNTS);
    let (runner, run) = begin();
    ask_to_end(&runner);
    // Two signals at once may be taken for one.
    std::thread::sleep(Duration::from_millis(500));
    ask_to_end(&runner);
    let said = carried(runner);
    assert!(said.contains("failed"), "{said}");
    // The vault was told, and did not have to wait until the machine had been silent for long enough.
    let told = Instant::now();
    until("the end", || (state(&site, &run).expect("always listed") == "failed").then_some(()));
    assert!(told.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_client_that_is_killed_ends_its_run() {
    let site = Site::new();
    site.login();
    plan(&site, COUNTS);
    let (mut child, run) = start(&site);
    telemetry(&site, &run);
    assert_eq!(state(&site, &run).as_deref(), Some("running"));
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = Instant::now();
    until("the end", || (state(&site, &run).as_deref() == Some("failed")).then_some(()));
    println!("dead client: noticed after {:.0} s", killed.elapsed().as_secs_f64());
    let trail = site.run(&["trail", "ls", "--last", "50", "--format", "json"]).exits(0).out();
    assert!(trail.contains("nothing was heard of its machine for 60 s"), "{trail}");
    // What it had told until then is kept.
    let record = site.run(&["watch", &run, "--format", "plain"]).exits(0).out();
    assert!(record.contains("loss"), "{record}");
}

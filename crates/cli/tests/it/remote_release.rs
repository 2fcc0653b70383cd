//! What is released after its run, in another machine's vault: the built binary at both ends.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

use serde_json::Value;

use crate::{
    consent::{ANA, BEN, Desk, EVA, OTHERS},
    home::{contents, copy_folder, examples},
    remote::Site,
    remote_run::{plan, trainer},
};

/// A policy under which nobody releases alone.
const TWO_RELEASE: &str = "schema = \"ringfence.policy/1\"\nforbid = '''\n@id(\"two-people-release\")\n\
    @says(\"a release needs the approval of two other people\")\n\
    forbid (principal, action == Action::\"release\", resource)\nunless { context.approvals_by_others >= 2 };\n'''\n";

/// Queues the example, has a training machine carry it out, and gives the candidate that it leaves.
fn tested_candidate(site: &Site) -> String {
    copy_folder(&examples().join("digits"), &site.here.work().join("digits"));
    let _ = fs::remove_dir_all(site.here.work().join("digits/released"));
    let words = ["run", "digits/ringfence.toml", "--queue", "--format", "json"];
    assert_eq!(site.run(&words).exits(0).json()["state"], "waiting");
    let machine = trainer(site);
    let mut command = machine.command(&["serve", "--runner", "--format", "json"]);
    command.env("RINGFENCE_SERVER", site.url()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut runner = command.spawn().unwrap();
    let mut lines = BufReader::new(runner.stdout.take().unwrap()).lines();
    let carried = lines.find_map(|line| line.ok().filter(|line| line.contains("\"state\""))).unwrap();
    assert!(carried.contains("brought"), "{carried}");
    let over = crate::remote_run::until("the end", || {
        let queue = site.run(&["watch", "queue", "--format", "json"]).exits(0).json();
        (queue["queue"][0]["state"] == "over").then(|| queue["queue"][0].clone())
    });
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert_eq!(over["end"]["verdict"], "refused", "{over}");
    let reasons = over["end"]["reasons"].to_string();
    assert!(reasons.contains("second factor"), "nothing but a person's factor is missing: {reasons}");
    over["end"]["artifact"].as_str().unwrap().to_owned()
}

fn bytes_of(folder: &Path) -> u64 {
    contents(folder).values().map(|bytes| bytes.len() as u64).sum()
}

#[test]
fn a_queued_run_is_released_later_and_its_bundle_fetched() {
    let site = Site::with(&OTHERS, |_, _| {});
    site.login();
    let candidate = tested_candidate(&site);
    let out = site.here.work().join("net");
    let release = |what: &str, out: &str| site.run(&["release", what, "--out", out, "--format", "json"]);

    // Where it could not be written, nothing is released.
    site.here.write("taken/notes.txt", "mine");
    release(&candidate, "taken").exits(2);
    assert!(!site.run(&["ls"]).exits(0).out().contains("model/digits-robust@"), "it was released");

    let done = release(&candidate, "net").exits(0).json();
    assert_eq!((&done["schema"], &done["verdict"]), (&"ringfence.release/1".into(), &"released".into()));
    assert_eq!(done["artifact"], "model/digits-robust@1");
    for file in ["release.dsse.json", "trail.json", "report.html"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    // It holds under the root that was pinned at the login, without the server.
    let verified = site.here.run(&["verify", "net", "--format", "json"]).exits(0).json();
    assert_eq!(verified["facts"]["released"], "model/digits-robust@1");

    // What is released is only fetched again, over a line that breaks, in the place of the bundle that was there.
    let first = contents(&out);
    site.line().cut(3, bytes_of(&out) / 5);
    let again = release("model/digits-robust@released", "net").exits(0).json();
    assert_eq!((site.line().cuts(), &again["artifact"]), (3, &done["artifact"]));
    let second = contents(&out);
    assert_eq!(first.len(), second.len());
    for (path, bytes) in &first {
        assert!(path.ends_with("trail.json") || second[path] == *bytes, "{} came back otherwise", path.display());
    }
    site.here.run(&["verify", "net"]).exits(0);
    let left: Vec<_> = fs::read_dir(site.here.work()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");

    a_second_one_needs_two_others(&site, &candidate);
    what_was_not_tested_stays(&site);
    site.run(&["trail", "verify"]).exits(0);
    site.run(&["verify", "--all"]).exits(0);
}

/// Where the vault's policy says so, releasing needs two others, and is done by the same command once they have approved.
fn a_second_one_needs_two_others(site: &Site, candidate: &str) {
    let [ana, ben, eva] = [ANA, BEN, EVA].map(|number| Desk::of(site, number));
    ben.home.write("policy.toml", TWO_RELEASE);
    let id = ben.asks(&["policy", "policy.toml"]);
    ana.approves_by_passkey(&id);
    eva.approves_by_passkey(&id);
    ben.run(&["request", "carry-out", &id]).exits(0);

    let words = ["release", candidate, "--out", "net"];
    let asked = ben.run(&words).exits(4).err();
    assert!(asked.contains("waits for the approval of 2 other people"), "{asked}");
    assert_eq!(ben.run(&words).exits(4).err(), asked, "they are asked once");
    let open = ana.run(&["request", "ls", "--open", "--format", "json"]).exits(0).json();
    let [request] = &open["requests"].as_array().unwrap()[..] else { panic!("{open}") };
    assert_eq!(request["document"]["action"], "release");
    let id = request["id"].as_str().unwrap();
    ana.approves_by_passkey(id);
    ben.run(&words).exits(4);
    eva.approves_by_passkey(id);
    let done = ben.run(&words).exits(0).out();
    assert!(done.contains("model/digits-robust@2"), "{done}");
    // Who approved is in the bundle's proof.
    let report: Value = ben.home.run(&["verify", "net", "--format", "json"]).exits(0).json();
    assert_eq!(report["facts"]["released"], "model/digits-robust@2");
}

/// The gate is the one that a vault on this machine has.
fn what_was_not_tested_stays(site: &Site) {
    plan(site, "echo a > \"$RINGFENCE_OUT\"/a\n");
    site.run(&["run", "plan/plan.toml"]).exits(0);
    let refused = site.run(&["release", "checkpoint/afar@1", "--out", "untested"]).exits(1).err();
    assert!(refused.contains("robustness card") && refused.contains("stays in the vault"), "{refused}");
    assert!(!site.here.work().join("untested").exists());
    // What was never released has no bundle.
    site.run(&["release", "dataset/afar-train@1", "--out", "untested"]).exits(1);
}

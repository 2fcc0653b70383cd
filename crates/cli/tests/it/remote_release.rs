//! What is released after its run, in another machine's vault: the built binary at both ends.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

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

#[test]
fn a_queued_run_is_released_later_and_its_bundle_fetched() {
    let site = Site::with(&OTHERS, |_, _| {});
    site.login();
    let [ana, ben, eva] = [ANA, BEN, EVA].map(|number| Desk::of(&site, number));
    let policy = |text: &str| {
        ben.home.write("policy.toml", text);
        let id = ben.asks(&["policy", "policy.toml"]);
        ana.approves_by_passkey(&id);
        eva.approves_by_passkey(&id);
        ben.run(&["request", "carry-out", &id]).exits(0);
    };
    policy(TWO_RELEASE);
    let candidate = tested_candidate(&site);

    // Where it could not be written, nothing is asked for and nothing released.
    ben.home.write("taken/notes.txt", "mine");
    ben.run(&["release", &candidate, "--out", "taken"]).exits(2);
    // Where the vault's policy says so, releasing needs two others, and is done by the same command once they have approved.
    let words = ["release", &candidate, "--out", "net"];
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
    assert!(!site.run(&["ls"]).exits(0).out().contains("model/digits-robust@"), "it was released");
    let done = ben.run(&["release", &candidate, "--out", "net", "--format", "json"]).exits(0).json();
    assert_eq!((&done["schema"], &done["verdict"]), (&"ringfence.release/1".into(), &"released".into()));
    assert_eq!(done["artifact"], "model/digits-robust@1");
    let first = within(&ben.home.work().join("net"));
    for file in ["release.dsse.json", "trail.json", "report.html"] {
        assert!(first.contains_key(Path::new(file)), "{file}");
    }
    // It holds under the root that was pinned at the login, without the server.
    let report = ben.home.run(&["verify", "net", "--format", "json"]).exits(0).json();
    assert_eq!(report["facts"]["released"], "model/digits-robust@1");

    what_is_released_is_only_fetched(&site, &first);
    what_was_not_tested_stays(&site);
    // What was tested under a policy that is not in force any more would verify nowhere.
    policy(&TWO_RELEASE.replace("two-people-release", "two-people-release-again"));
    let refused = ben.run(&["release", &candidate, "--out", "late"]).exits(1).err();
    assert!(refused.contains("was made under policy") && refused.contains("run the plan again"), "{refused}");
    site.run(&["trail", "verify"]).exits(0);
    site.run(&["verify", "--all"]).exits(0);
}

/// A folder's files, by their paths within it.
fn within(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    contents(folder).into_iter().map(|(path, bytes)| (path.strip_prefix(folder).unwrap().to_owned(), bytes)).collect()
}

/// Over a line that breaks, in the place of a bundle that was there.
fn what_is_released_is_only_fetched(site: &Site, first: &BTreeMap<PathBuf, Vec<u8>>) {
    let fetch = || site.run(&["release", "model/digits-robust@released", "--out", "net", "--format", "json"]).exits(0);
    fetch();
    let bytes: u64 = first.values().map(|bytes| bytes.len() as u64).sum();
    site.line().cut(3, bytes / 5);
    assert_eq!(fetch().json()["artifact"], "model/digits-robust@1");
    assert_eq!(site.line().cuts(), 3);
    let second = within(&site.here.work().join("net"));
    assert_eq!(first.len(), second.len());
    for (path, bytes) in first {
        assert!(path.ends_with("trail.json") || second[path] == *bytes, "{} came back otherwise", path.display());
    }
    site.here.run(&["verify", "net"]).exits(0);
    let left: Vec<_> = fs::read_dir(site.here.work()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
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

//! What needs other people, end to end: the built binary on the server's machine and on each person's, real SSH agents.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ringfence_engine::{
    access::Role,
    reach::server::{Method, Patience, segment},
};
use serde_json::{Value, json};

use crate::{
    home::{Done, Home, small_table},
    remote::Site,
};

/// Whose number is whose; Ana comes first. Ben invites Cem, Ana everybody else.
pub(crate) const ANA: usize = 0;
pub(crate) const BEN: usize = 1;
pub(crate) const EVA: usize = 2;
const CEM: usize = 3;
pub(crate) const OTHERS: [(&str, usize, &[Role]); 3] =
    [("ben", ANA, &[Role::Owner]), ("eva", ANA, &[Role::SecurityOfficer]), ("cem", BEN, &[Role::SecurityOfficer])];

/// A policy that takes something away from somebody.
const POLICY: &str = "schema = \"ringfence.policy/1\"\nforbid = '''\n@id(\"stewards-do-not-restore\")\n\
    @says(\"data stewards bring nothing back\")\n\
    forbid (principal in Role::\"data_steward\", action == Action::\"restore\", resource);\n'''\n";

/// Somebody's machine, logged in to the server.
pub(crate) struct Desk<'s> {
    site: &'s Site,
    number: usize,
    pub(crate) home: Home,
    agent: Option<Agent>,
}

impl<'s> Desk<'s> {
    pub(crate) fn of(site: &'s Site, number: usize) -> Self {
        let home = Home::new();
        site.login_of(number, &home);
        Self { site, number, home, agent: None }
    }

    /// The same with a key in an agent that approves, or nothing where there is no agent.
    pub(crate) fn with_key(site: &'s Site, number: usize) -> Option<Self> {
        let mut desk = Self::of(site, number);
        desk.agent = Some(Agent::start(&desk.home)?);
        desk.run(&["key", "add", "--label", "blue"]).exits(0);
        Some(desk)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        let mut command = self.home.command(args);
        command.env("RINGFENCE_SERVER", self.site.url());
        if let Some(agent) = &self.agent {
            command.env("SSH_AUTH_SOCK", &agent.socket);
        }
        self.home.done(command)
    }

    /// Asks for `what`, and gives the request's id.
    pub(crate) fn asks(&self, what: &[&str]) -> String {
        let words: Vec<&str> = ["request", "make"].into_iter().chain(what.iter().copied()).collect();
        let asked = self.run(&[&words[..], &["--format", "json"]].concat()).exits(0).json();
        asked["request"]["id"].as_str().unwrap().to_owned()
    }

    /// Approves by passkey, as the review page does.
    pub(crate) fn approves_by_passkey(&self, id: &str) {
        let browser = self.site.browser_of(self.number);
        let path = format!("/api/v1/requests/{}/approve", segment(id));
        let begun: Value = browser.act(Method::Post, &format!("{path}/begin"), None, Patience::Brief).unwrap();
        let credential = self.site.member(self.number).answer(&self.site.url(), &begun["options"]);
        let body = json!({"credential": credential});
        let _: Value = browser.act(Method::Post, &format!("{path}/finish"), Some(&body), Patience::Brief).unwrap();
    }
}

/// OpenSSH's agent with one key, until this is dropped.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    /// Starts it, or says that there is none.
    fn start(home: &Home) -> Option<Self> {
        let socket = home.root().join("run/agent");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let Ok(child) = child else {
            assert!(std::env::var_os("RINGFENCE_STRICT").is_none(), "no ssh-agent to test with");
            println!("SKIPPED: there is no ssh-agent here, so no key in an agent approved anything");
            return None;
        };
        let agent = Self { child, socket };
        let file = home.root().join("run/key");
        let quiet = |command: &mut Command| {
            let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            done.is_ok_and(|status| status.success())
        };
        assert!(quiet(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file)));
        let add = || quiet(Command::new("ssh-add").arg(&file).env("SSH_AUTH_SOCK", &agent.socket));
        // It may not listen yet.
        assert!((0..1_000).any(|_| add()), "the agent takes no key");
        Some(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_policy_is_changed_by_two_other_people_and_that_is_proven_offline() {
    let site = Site::with(&OTHERS, |_, _| {});
    let Some(ana) = Desk::with_key(&site, ANA) else { return };
    let cem = Desk::with_key(&site, CEM).unwrap();
    let (ben, eva) = (Desk::of(&site, BEN), Desk::of(&site, EVA));
    let listed = ana.run(&["key", "ls"]).exits(0).out();
    assert!(listed.contains("SHA256:") && listed.contains("blue"), "{listed}");

    // In plain words: who loses what.
    ben.home.write("policy.toml", POLICY);
    let id = ben.asks(&["policy", "policy.toml"]);
    let shown = ana.run(&["request", "show", &id]).exits(0).out();
    for words in ["change the vault's policy", "data stewards bring nothing back", "data steward", "sha256:"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(shown.contains("can no longer restore"), "{shown}");
    // What is signed is what is shown.
    let canonical = ana.run(&["request", "show", &id, "--canonical"]).exits(0);
    let digest = ringfence_engine::schema::Digest::of(canonical.raw()).to_string();
    assert!(shown.contains(&digest), "{digest}: {shown}");
    assert!(ana.run(&["request", "ls", "--open"]).exits(0).out().contains("0 of 2"));

    // Neither alone, nor with whom he invited, nor without a key, nor without being asked.
    let alone = ben.run(&["request", "carry-out", &id]);
    assert_ne!(alone.code(), Some(0));
    assert!(alone.err().contains("approval"), "{}", alone.err());
    let beholden = cem.run(&["request", "approve", &id, "--yes"]).exits(1).err();
    assert!(beholden.contains("invited"), "{beholden}");
    let keyless = eva.run(&["request", "approve", &id, "--yes"]).exits(2).err();
    assert!(keyless.contains("ssh-add"), "{keyless}");
    let unasked = ana.run(&["request", "approve", &id]).exits(2).err();
    assert!(unasked.contains("--yes"), "{unasked}");

    let approved = ana.run(&["request", "approve", &id, "--yes"]).exits(0);
    assert!(approved.out().contains("1 of 2"), "{}", approved.out());
    assert!(approved.err().contains("data stewards bring nothing back"), "it is shown before: {}", approved.err());
    let twice = ana.run(&["request", "approve", &id, "--yes"]);
    assert!(twice.err().contains("it counts people"), "{}", twice.err());
    assert_ne!(ben.run(&["request", "carry-out", &id]).code(), Some(0));
    eva.approves_by_passkey(&id);
    assert_ne!(ana.run(&["request", "carry-out", &id]).code(), Some(0), "only whoever asked");
    let done = ben.run(&["request", "carry-out", &id]).exits(0).out();
    assert!(done.contains("policy version 1 is in force"), "{done}");
    assert_ne!(ben.run(&["request", "carry-out", &id]).code(), Some(0), "it is good once");
    assert!(ben.run(&["request", "ls"]).exits(0).out().contains("used"));
    ana.run(&["trail", "verify"]).exits(0);

    // Whoever has neither vault nor server checks who approved what.
    let stranger = Home::new();
    let file = stranger.write("approval.json", eva.run(&["request", "proof", &id]).exits(0).raw());
    stranger.write("vault.root", eva.run(&["show", "root"]).exits(0).raw());
    let verify = |file: &Path| stranger.run(&["verify", file.to_str().unwrap(), "--root", "vault.root"]);
    let report = verify(&file).exits(0).out();
    assert!(
        report.contains("2 other people approved") && report.contains("data stewards bring nothing back"),
        "{report}"
    );
    let genuine = fs::read_to_string(&file).unwrap();
    let spoiled = stranger.write("spoiled.json", genuine.replace("bring nothing back", "bring something back"));
    verify(&spoiled).exits(5);
    let mut fewer: Value = serde_json::from_str(&genuine).unwrap();
    fewer["approvals"].as_array_mut().unwrap().pop();
    let fewer = stranger.write("fewer.json", ringfence_engine::schema::canon::to_canonical(&fewer).unwrap());
    verify(&fewer).exits(1);
}

#[test]
fn requests_are_refused_withdrawn_and_carried_out() {
    let site = Site::with(&OTHERS, |_, _| {});
    let Some(ana) = Desk::with_key(&site, ANA) else { return };
    let (ben, eva) = (Desk::of(&site, BEN), Desk::of(&site, EVA));
    let table = ben.home.write("train.csv", small_table(60));
    ben.run(&["add", table.to_str().unwrap(), "--as", "dataset/small", "--label", "label"]).exits(0);
    let refused = ben.asks(&["export", "dataset/small@1"]);
    // Asked again, it is the same request.
    assert_eq!(ben.asks(&["export", "dataset/small@1"]), refused);
    assert_ne!(ben.run(&["request", "refuse", &refused, "--reason", "mine"]).code(), Some(0));
    ana.run(&["request", "refuse", &refused, "--reason", "what for?"]).exits(0);
    let over = ana.run(&["request", "approve", &refused, "--yes"]).err();
    assert!(over.contains("what for?"), "{over}");
    let withdrawn = ben.asks(&["restore", "dataset/small@1"]);
    assert_ne!(ana.run(&["request", "withdraw", &withdrawn]).code(), Some(0));
    ben.run(&["request", "withdraw", &withdrawn]).exits(0);
    ben.run(&["request", "show", "q-0"]).exits(2);

    let id = ben.asks(&["export", "dataset/small@1"]);
    ana.run(&["request", "approve", &id, "--yes"]).exits(0);
    eva.approves_by_passkey(&id);
    ben.run(&["request", "carry-out", &id]).exits(2);
    let done = ben.run(&["request", "carry-out", &id, "--out", "copy"]).exits(0).out();
    assert!(done.contains("bytes in copy"), "{done}");
    assert!(ben.home.work().join("copy").is_dir());

    // A key that is no factor any more signs nothing that counts.
    let fingerprint = ana.run(&["key", "ls", "--format", "json"]).exits(0).json()["keys"][0]["key"].clone();
    ana.run(&["key", "rm", fingerprint.as_str().unwrap()]).exits(0);
    let id = ben.asks(&["export", "dataset/small@1"]);
    ana.run(&["request", "approve", &id, "--yes"]).exits(2);
}

#[test]
fn broken_glass_is_loud_short_and_reviewed() {
    let site = Site::with(&OTHERS, |_, _| {});
    let (ana, eva) = (Desk::of(&site, ANA), Desk::of(&site, EVA));
    let table = ana.home.write("train.csv", small_table(60));
    ana.run(&["add", table.to_str().unwrap(), "--as", "dataset/small", "--label", "label"]).exits(0);
    ana.run(&["get", "dataset/small@1", "before"]).exits(4);
    let broken = ana.run(&["glass", "break", "--reason", "the site is on fire", "--format", "json"]).exits(0).json();
    let id = broken["glass"]["id"].as_str().unwrap();
    let alerts = eva.run(&["watch", "alerts", "--format", "json"]).exits(0).json();
    let alert = &alerts["alerts"][0];
    assert_eq!((&alert["rule"], &alert["severity"]), (&"RF-TEAM-001".into(), &"critical".into()), "{alerts}");
    // It opens exports to her alone, and not the policy.
    ana.run(&["get", "dataset/small@1", "during"]).exits(0);
    eva.run(&["get", "dataset/small@1", "theirs"]).exits(1);
    ana.home.write("policy.toml", POLICY);
    ana.asks(&["policy", "policy.toml"]);
    let early = eva.run(&["glass", "review", id, "--reason", "looked"]).err();
    assert!(early.contains("goes on"), "{early}");
    assert!(eva.run(&["glass", "ls"]).exits(0).out().contains("goes on"));
    // An hour at most; here somebody ends it before.
    eva.run(&["glass", "end", id]).exits(0);
    ana.run(&["get", "dataset/small@1", "after"]).exits(4);
    assert!(eva.run(&["glass", "ls"]).exits(0).out().contains("needs another person's look"));
    ana.run(&["glass", "review", id, "--reason", "all fine"]).exits(1);
    eva.run(&["glass", "review", id, "--reason", "one export, as she said"]).exits(0);
    assert!(eva.run(&["glass", "ls"]).exits(0).out().contains("one export, as she said"));
    eva.run(&["trail", "verify"]).exits(0);
}

#[test]
fn a_command_line_steps_up_by_itself() {
    let site = Site::with(&OTHERS, |_, _| {});
    let ana = Desk::of(&site, ANA);
    let said = site.confirmed(ANA, &ana.home, &["login", "--step-up"]);
    assert!(!said.contains("error"), "{said}");
    // A code of an app that she does not have.
    let mut command = ana.home.command(&["login", "--step-up", "--code"]);
    command.env("RINGFENCE_SERVER", site.url());
    let wrong = ana.home.done(command);
    assert_ne!(wrong.code(), Some(0));
    let trail = ana.run(&["trail", "ls", "--format", "json", "--last", "50"]).exits(0).out();
    assert!(trail.contains("step up a device"), "{trail}");
}

#[test]
fn schedules_and_runs_are_reached_through_the_server() {
    let site = Site::with(&OTHERS, |_, _| {});
    let eva = Desk::of(&site, EVA);
    let added = eva.run(&["schedule", "add", "audit", "--every", "1d", "--at", "03:30"]).exits(0).out();
    assert!(added.contains("planned"), "{added}");
    let listed = eva.run(&["schedule", "ls", "--format", "json"]).exits(0).json();
    let id = listed["schedules"][0]["id"].as_str().unwrap();
    eva.run(&["schedule", "rm", id]).exits(0);
    assert!(
        eva.run(&["schedule", "ls", "--format", "json"]).exits(0).json()["schedules"].as_array().unwrap().is_empty()
    );
    // There is no such run; that somebody wanted to stop it stays.
    let gone = eva.run(&["stop", "r-0123456789abcdef", "--reason", "it diverges"]);
    assert_eq!(gone.code(), Some(2), "{}", gone.err());
    let trail = eva.run(&["trail", "ls", "--format", "json", "--last", "20"]).exits(0).out();
    assert!(trail.contains("it diverges"), "{trail}");
}

#[test]
fn somebody_is_erased_and_every_proof_still_holds() {
    let mut site =
        Site::with(&[("eva-marker", ANA, &[Role::SecurityOfficer]), ("ben", ANA, &[Role::Owner])], |_, _| {});
    let id = {
        let (ana, eva) = (Desk::of(&site, ANA), Desk::of(&site, 1));
        eva.run(&["schedule", "add", "audit", "--every", "1d"]).exits(0);
        let people = ana.run(&["user", "ls", "--format", "json"]).exits(0).out();
        assert!(people.contains("eva-marker"), "{people}");
        let erased = ana.run(&["user", "erase", "eva-marker", "--reason", "request 2026-17", "--format", "json"]);
        let erased = erased.exits(0).json();
        assert!(erased["fields"].as_u64().unwrap() > 0, "{erased}");
        assert_ne!(eva.run(&["ls"]).code(), Some(0), "she is out at once");
        ana.run(&["trail", "verify"]).exits(0);
        let all = ana.run(&["trail", "ls", "--format", "json", "--last", "1000"]).exits(0).out();
        assert!(!all.contains("eva-marker"), "her name is gone from what the trail tells");
        erased["person"]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(site.stop(), 0);
    let there = &site.there;
    there.run(&["trail", "verify"]).exits(0);
    there.write("vault.root", there.run(&["show", "root"]).exits(0).raw());
    there.run(&["trail", "mirror", "mirror"]).exits(0);
    there.run(&["trail", "verify", "--mirror", "mirror", "--root", "vault.root"]).exits(0);
    for (path, bytes) in crate::home::contents(&there.work().join("mirror")) {
        assert!(!bytes.windows(10).any(|window| window == b"eva-marker"), "{}", path.display());
    }
    // What she did stays hers, by an id that says nothing.
    assert!(id.starts_with("p-"), "{id}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/verify_trail.py");
    let other =
        Command::new("python3").arg(script).args(["mirror", "--root", "vault.root"]).current_dir(there.work()).output();
    match other {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout)),
        Err(_) => println!("SKIPPED: there is no python3 here, so tools/verify_trail.py was not run"),
    }
}

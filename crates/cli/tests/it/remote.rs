//! Everything that works in another machine's vault, through a server and back: the built binary at both ends.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ringfence_engine::{
    access::Role,
    reach::{
        Secret,
        server::{Method, Patience, Server, address, segment},
    },
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    browser::Serving,
    enrolled::{self, Member},
    home::{Done, Home, contents, small_table},
    proxy::Proxy,
};

/// A server's machine, a client's machine, and the line between them.
pub(crate) struct Site {
    pub(crate) here: Home,
    pub(crate) there: Home,
    members: Vec<Member>,
    line: Proxy,
    serving: Serving,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(&[], |_, _| {})
    }

    /// The same with others beside Ana, as [`enrolled::crowd`] takes them; `prepare` gets the server's machine and its
    /// address before it starts.
    pub(crate) fn with(others: &[(&str, usize, &[Role])], prepare: impl FnOnce(&Home, &str)) -> Self {
        let there = Home::with_vault();
        let line = Proxy::start(|port| ([127, 0, 0, 2], port).into());
        let site = format!("https://localhost:{}", line.port());
        let members = enrolled::crowd(&there.vault(), &there.config(), &site, others);
        prepare(&there, &site);
        let serving = Serving::start_at(&there, &format!("127.0.0.2:{}", line.port()), false);
        Self { here: Home::new(), there, members, line, serving }
    }

    /// Ana is the first.
    pub(crate) fn member(&self, number: usize) -> &Member {
        &self.members[number]
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.line.port())
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.there.config().join("tls/authority.pem")
    }

    /// The token of Ana's session.
    pub(crate) fn session(&self) -> &str {
        &self.members[0].session
    }

    /// What lies between the two machines.
    pub(crate) fn line(&self) -> &Proxy {
        &self.line
    }

    /// Most memory that the server had at once, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.serving.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Stops the server as an operator does, and gives its exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        self.serving.stop()
    }

    /// Ana's browser.
    pub(crate) fn browser(&self) -> Server {
        self.browser_of(0)
    }

    /// The browser of somebody.
    pub(crate) fn browser_of(&self, number: usize) -> Server {
        let authority = fs::read(self.authority()).unwrap();
        let token = Secret::new("session", Zeroizing::new(self.member(number).session.clone())).unwrap();
        Server::new(address(&self.url()).unwrap(), Some(&authority), Some(token)).unwrap()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.here.command(args);
        command.env("RINGFENCE_SERVER", self.url());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.here.done(self.command(args))
    }

    /// Logs in as Ana, who confirms the code that is shown.
    pub(crate) fn login(&self) -> String {
        self.login_of(0, &self.here)
    }

    /// Logs somebody's machine in.
    pub(crate) fn login_of(&self, number: usize, home: &Home) -> String {
        let authority = self.authority();
        self.confirmed(number, home, &["login", "--authority", authority.to_str().unwrap()])
    }

    /// Runs what shows a code, which somebody confirms, and gives what it said.
    pub(crate) fn confirmed(&self, number: usize, home: &Home, args: &[&str]) -> String {
        let mut command = home.command(args);
        command.env("RINGFENCE_SERVER", self.url());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let code = code(&mut child);
        let path = format!("/api/v1/device/{}", segment(&code));
        let _: Value = self.browser_of(number).act(Method::Post, &path, None, Patience::Brief).unwrap();
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{said}");
        said
    }
}

/// The code on the device: a line of its own of eight letters with a hyphen.
pub(crate) fn code(child: &mut Child) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let is_code = |word: &String| word.len() == 9 && word.as_bytes()[4] == b'-';
    lines.map(|line| line.unwrap().trim().to_owned()).find(is_code).expect("a code")
}

#[test]
fn a_login_is_confirmed_elsewhere_and_kept_for_nobody_else() {
    let site = Site::new();
    // Nobody is in yet, and nothing is said in the clear.
    let refused = site.run(&["ls"]).exits(4);
    assert!(refused.err().contains("ringfence login --server"), "{}", refused.err());
    let plain = site.here.run(&["ls", "--server", "http://localhost:1"]).exits(2);
    assert!(plain.err().contains("https://"), "{}", plain.err());
    // Its certificate is of no authority that is known.
    let stranger = site.run(&["login"]).exits(3);
    assert!(stranger.err().contains("--authority"), "{}", stranger.err());

    let said = site.login();
    assert!(said.contains("pinned vault") && said.contains("trust root sha256:"), "{said}");
    let kept: Vec<PathBuf> = contents(&site.here.config().join("servers")).into_keys().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777, 0o600);

    let people = site.run(&["user", "ls", "--format", "json"]).exits(0).json();
    assert_eq!(people["people"][0]["name"], "ana");
    assert_eq!(people["shared"], true);
    let can = site.run(&["user", "can", "ana", "configure", "vault", "--stepped-up"]).exits(1).out();
    assert!(can.contains("may not") && can.contains("approval of 2 other people"), "{can}");
    let invited = site.run(&["user", "add", "ben", "--role", "researcher"]).exits(0);
    assert!(invited.out().starts_with("rf_invite_"), "{}", invited.out());
    site.run(&["user", "disable", "ben", "--reason", "a mistake"]).exits(0);

    // A token of a narrow scope, by file, does what it is for and nothing else.
    let made = site.run(&["token", "make", "audit", "--scope", "read,verify", "--days", "1"]).exits(0);
    let file = site.here.write("token", made.out().trim());
    site.run(&["login", "--token", file.to_str().unwrap()]).exits(0);
    site.run(&["trail", "verify"]).exits(0);
    let narrow = site.run(&["user", "enable", "ben"]).exits(1);
    assert!(narrow.err().contains("not good for `appoint`"), "{}", narrow.err());
    site.run(&["logout"]).exits(0);
    site.run(&["ls"]).exits(4);

    // A session that others could read is not used.
    site.login();
    let kept = contents(&site.here.config().join("servers")).into_keys().next().unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o644)).unwrap();
    site.run(&["ls"]).exits(4);
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
    site.run(&["logout"]).exits(0);
    assert!(contents(&site.here.config().join("servers")).is_empty());
}

#[test]
fn the_vault_of_a_server_is_worked_in_like_ones_own() {
    let site = Site::new();
    site.login();
    let table = site.here.write("train.csv", small_table(60));
    let added = site.run(&["add", table.to_str().unwrap(), "--as", "dataset/small", "--label", "label"]).exits(0);
    assert!(added.out().contains("admitted") && added.out().contains("dataset/small@1"), "{}", added.out());
    // What is held waits for somebody else, with its findings.
    let harmful = site.here.write("net.pkl", b"cos\nsystem\n(S'echo'\ntR.");
    let held = site.run(&["add", harmful.to_str().unwrap(), "--as", "model/net"]).exits(1);
    assert!(held.out().contains("refused") && held.out().contains("RF-PKL"), "{}", held.out());
    let listed = site.run(&["ls", "--format", "json"]).exits(0).json();
    assert_eq!(listed["artifacts"].as_array().unwrap().len(), 2, "{listed}");
    assert!(site.run(&["show", "model/net@1"]).exits(0).out().contains("RF-PKL"));
    assert!(site.run(&["review", "ls"]).exits(0).out().contains("model/net@1"));
    // Whoever brought it in does not decide on it.
    site.run(&["review", "approve", "model/net@1", "--reason", "mine"]).exits(1);
    site.run(&["trail", "verify"]).exits(0);
    assert!(site.run(&["trail", "ls", "--artifact", "dataset/small"]).exits(0).out().contains("receive"));
    site.run(&["trail", "show", "0"]).exits(0);
    site.run(&["watch", "alerts"]).exits(0);
    site.run(&["verify", "--all"]).exits(0);

    let planned =
        site.run(&["retire", "dataset/small@1", "--destroy", "--dry-run", "--format", "json"]).exits(0).json();
    assert_eq!((&planned["verdict"], &planned["artifacts"]), (&"planned".into(), &json!(["dataset/small@1"])));
    assert!(planned["bytes"].as_u64().unwrap() > 100, "{planned}");
    // How the server's machine is, not this one.
    let doctor = site.run(&["doctor"]).exits(0).out();
    assert!(doctor.contains("sandbox") && doctor.contains(site.there.vault().to_str().unwrap()), "{doctor}");

    // Taking a dataset out, or back, needs two others: they are asked, once.
    for words in [&["get", "dataset/small@1", "copy"][..], &["rollback", "dataset/small@1"]] {
        let first = site.run(words).exits(4).err();
        assert!(first.contains("waits for the approval of 2 other people"), "{first}");
        assert_eq!(site.run(words).exits(4).err(), first);
    }
    assert!(!site.here.work().join("copy").exists());

    for words in [&["init"][..], &["outdated"], &["add", "hf://org/net", "--as", "model/x"], &[]] {
        let said = site.run(words).exits(2).err();
        assert!(said.contains("does not work on a server"), "{words:?}: {said}");
    }
}

#[test]
fn an_artifact_goes_up_and_down_over_a_line_that_breaks_ten_times() {
    const BYTES: usize = 48 << 20;
    let site = Site::new();
    site.login();
    let folder = site.here.work().join("job");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("blob.bin"), noise(BYTES)).unwrap();
    fs::write(folder.join("empty"), b"").unwrap();
    fs::write(folder.join("sub/notes.txt"), b"what it is\n").unwrap();

    site.line.cut(10, (BYTES / 12) as u64);
    let added = site.run(&["add", "job", "--as", "code/job", "--format", "json"]).exits(0).json();
    assert_eq!(site.line.cuts(), 10);
    assert_eq!(added["verdict"], "admitted");
    site.line.cut(10, (BYTES / 12) as u64);
    let got = site.run(&["get", "code/job@1", "copy", "--format", "json"]).exits(0).json();
    assert_eq!(site.line.cuts(), 20);
    assert_eq!((&got["tree"], got["bytes"].as_u64().unwrap()), (&added["tree"], BYTES as u64 + 11));
    let strip = |root: &str| {
        let root = site.here.work().join(root);
        let all = contents(&root).into_iter();
        all.map(|(path, bytes)| (path.strip_prefix(&root).unwrap().to_owned(), bytes)).collect::<Vec<_>>()
    };
    assert!(strip("job") == strip("copy"), "other bytes came back");
    // Nothing is overwritten, and nothing half-done is left.
    site.run(&["get", "code/job@1", "copy"]).exits(2);
    let names: Vec<_> = fs::read_dir(site.here.work()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");

    // Whoever does not wait hears that it is in quarantine; it goes on by itself.
    fs::write(folder.join("blob.bin"), noise(1 << 20)).unwrap();
    let received = site.run(&["add", "job", "--as", "code/other", "--no-wait", "--format", "json"]).exits(0).json();
    assert_eq!((&received["verdict"], &received["state"]), (&"received".into(), &"quarantined".into()), "{received}");
    let begun = Instant::now();
    while site.run(&["ls", "code/other", "--format", "json"]).exits(0).json()["artifacts"][0]["state"] != "admitted" {
        assert!(begun.elapsed() < Duration::from_mins(1), "it is not let in");
    }
    site.here.run(&["add", "job", "--as", "code/other", "--no-wait"]).exits(2);
    let done = site.run(&["review", "resume", "code/other@1"]).exits(2);
    assert!(done.err().contains("`code/other@1` is not held"), "{}", done.err());

    // A line that never holds is given up on in the end; what came stays, and the same command goes on with it.
    fs::write(folder.join("blob.bin"), noise(BYTES / 2)).unwrap();
    site.line.cut(u64::MAX, 1 << 20);
    let given_up = site.run(&["add", "job", "--as", "code/job"]);
    assert!([Some(0), Some(3)].contains(&given_up.code()), "{}", given_up.err());
    site.line.cut(0, u64::MAX);
    site.run(&["add", "job", "--as", "code/job"]).exits(0);
    let trail = site.run(&["trail", "ls", "--artifact", "code/job", "--last", "100"]).exits(0).out();
    assert!(trail.contains("export") && trail.contains("receive"), "{trail}");
}

#[test]
fn a_get_that_was_killed_goes_on_where_it_was() {
    const BLOB: usize = 24 << 20;
    const BYTES: u64 = BLOB as u64;
    let site = Site::new();
    site.login();
    let folder = site.here.work().join("job");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("blob.bin"), noise(BLOB)).unwrap();
    fs::write(folder.join("notes.txt"), b"what it is\n").unwrap();
    site.run(&["add", "job", "--as", "code/job"]).exits(0);

    let words = ["get", "code/job@1", "copy"];
    site.line.let_pass(BYTES / 2);
    let mut getting = site.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let arrived = loop {
        let arrived = partial(&site.here.work()).map_or(0, |part| fs::metadata(part).unwrap().len());
        if arrived > BYTES / 8 {
            break arrived;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "only {arrived} bytes came");
        thread::sleep(Duration::from_millis(5));
    };
    getting.kill().unwrap();
    assert_eq!(getting.wait().unwrap().signal(), Some(9));
    assert!(!site.here.work().join("copy").exists(), "nothing stands under its name before all of it is there");

    site.line.let_pass(u64::MAX);
    site.line.cut(0, u64::MAX);
    site.run(&words).exits(0);
    assert!(site.line.passed() < BYTES - arrived + (2 << 20), "{} bytes came again", site.line.passed());
    for name in ["blob.bin", "notes.txt"] {
        let [sent, back] = ["job", "copy"].map(|root| fs::read(site.here.work().join(root).join(name)).unwrap());
        assert!(sent == back, "`{name}` came back with other bytes");
    }
    assert!(partial(&site.here.work()).is_none(), "nothing half-done is left");
}

/// What is there of the blob that is being fetched.
fn partial(folder: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let part = entries.find(|path| path.extension().is_some_and(|extension| extension == "part"))?;
    Some(part.join("blob.bin")).filter(|blob| blob.exists())
}

#[test]
fn a_server_whose_trail_went_back_is_found_out() {
    let mut site = Site::new();
    site.login();
    assert_eq!(site.serving.stop(), 0);
    // As somebody does who has the machine: everything there, the server's own pins too, as it was before.
    let before = site.there.root().join("before");
    copy_whole(&site.there, &["data", "config"], &before);
    let listen = format!("127.0.0.2:{}", site.line.port());
    site.serving = Serving::start_at(&site.there, &listen, false);
    site.run(&["user", "add", "mallory", "--role", "owner"]).exits(0);
    site.run(&["ls"]).exits(0);
    assert_eq!(site.serving.stop(), 0);
    for folder in ["data", "config"] {
        fs::remove_dir_all(site.there.root().join(folder)).unwrap();
        fs::rename(before.join(folder), site.there.root().join(folder)).unwrap();
    }
    site.serving = Serving::start_at(&site.there, &listen, false);
    let said = site.run(&["user", "ls"]).exits(5).err();
    assert!(said.contains("tampered"), "{said}");
    site.run(&["trail", "verify"]).exits(5);
}

/// Copies folders of a home with the modes of all that is in them.
fn copy_whole(home: &Home, folders: &[&str], to: &Path) {
    fs::create_dir_all(to).unwrap();
    for folder in folders {
        let done = Command::new("cp").arg("-a").arg(home.root().join(folder)).arg(to).status().unwrap();
        assert!(done.success());
    }
}

/// Bytes that no two runs of which are alike (xorshift64, Marsaglia 2003).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

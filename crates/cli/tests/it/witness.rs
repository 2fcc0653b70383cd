//! Witnesses end to end: `ringfence witness` as a process, the vault that asks it, mirrors, and both verifiers under a policy.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ringfence_engine::schema::Digest;
use ringfence_trust::{
    merkle::{consistency_proof, leaf_hash, root_of},
    note::Note,
    witness::AddCheckpoint,
};
use serde_json::Value;

use crate::{
    home::{Done, Home, contents, copy_folder, small_table},
    lab::Lab,
};

/// A witness's folder and key, and the process that serves it, if there is one.
pub(crate) struct Tower {
    folder: PathBuf,
    vkey: String,
    serving: Option<(Child, SocketAddr)>,
}

impl Tower {
    /// A witness that knows the vault whose trust root is in `root`.
    fn new(home: &Home, name: &str, algorithm: &str, root: &Path) -> Self {
        let folder = home.work().join(name);
        let path = folder.to_str().unwrap();
        let named = format!("{name}.example/w1");
        let made = home.run(&["witness", "init", path, "--name", &named, "--algorithm", algorithm]).exits(0);
        let vkey = made.out().trim().to_owned();
        assert!(vkey.starts_with(&format!("{named}+")), "{vkey}");
        home.run(&["witness", "add-log", path, "--root", root.to_str().unwrap()]).exits(0);
        let mut tower = Self { folder, vkey, serving: None };
        tower.serve(home);
        tower
    }

    /// A witness that knows the log with this verifier key.
    pub(crate) fn of_keys(home: &Home, name: &str, log: &str) -> Self {
        let folder = home.work().join(name);
        let path = folder.to_str().unwrap();
        let made = home.run(&["witness", "init", path, "--name", &format!("{name}.example/w1")]).exits(0);
        home.run(&["witness", "add-log", path, "--vkey", log]).exits(0);
        let mut tower = Self { folder, vkey: made.out().trim().to_owned(), serving: None };
        tower.serve(home);
        tower
    }

    /// Its public key without name and type.
    pub(crate) fn public_hex(&self) -> String {
        let key: ringfence_trust::vkey::VerifierKey = self.vkey.parse().unwrap();
        ringfence_engine::schema::digest::hex(key.public())
    }

    fn serve(&mut self, home: &Home) {
        let mut command = home.command(&["witness", "serve", self.folder.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening at http://").expect("it says where it listens");
        self.serving = Some((child, address.parse().unwrap()));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.as_ref().unwrap().1
    }

    fn kill(&mut self) {
        let (mut child, _) = self.serving.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Entries of the one log that it knows.
    fn seen(&self, home: &Home) -> u64 {
        let list = home.run(&["witness", "ls", self.folder.to_str().unwrap(), "--format", "json"]).exits(0).json();
        list["logs"][0]["entries"].as_u64().unwrap_or(0)
    }
}

impl Drop for Tower {
    fn drop(&mut self) {
        if self.serving.is_some() {
            self.kill();
        }
    }
}

/// Names the witnesses in the configuration, and lets them be reached; each by its name in the policy.
pub(crate) fn configure(home: &Home, towers: &[(&str, &str, Option<SocketAddr>)], quorum: &str) {
    let mut policy = String::new();
    let mut hosts = Vec::new();
    for (name, vkey, address) in towers {
        let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9)));
        policy.push_str(&format!("witness {name} {vkey} http://{address}/\n"));
        let port = address.port();
        hosts.push(format!("{{ host = \"127.0.0.1\", port = {port}, scheme = \"http\", network = \"local\" }}"));
    }
    policy.push_str(quorum);
    fs::create_dir_all(home.config()).unwrap();
    fs::write(home.config().join("witnesses.policy"), &policy).unwrap();
    home.write("witnesses.policy", policy);
    let limits = "[limits]\nconnect_ms = 2000\nanswer_ms = 700\nidle_ms = 700\n";
    fs::write(home.config().join("reach.toml"), format!("{limits}\n[egress]\nhosts = [{}]\n", hosts.join(", ")))
        .unwrap();
}

fn add(home: &Home, rows: usize) {
    home.write("train.csv", small_table(rows));
    home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
}

/// Verifies the mirror with both verifiers under the policy; both must end with `code`. What ours reports.
#[track_caller]
fn both(home: &Home, what: &str, mirror: &str, policy: Option<&str>, code: i32) -> Value {
    let mut words = vec!["trail", "verify", "--format", "json", "--mirror", mirror, "--root", "lab.root"];
    words.extend(policy.iter().flat_map(|policy| ["--witness-policy", policy]));
    let ours = home.run(&words);
    assert_eq!(ours.code(), Some(code), "{what}: {}{}", ours.out(), ours.err());
    let found = Command::new("python3").arg("--version").output().is_ok_and(|done| done.status.success());
    if found {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/verify_trail.py");
        let mut command = Command::new("python3");
        command.arg(script).args([mirror, "--root", "lab.root"]).current_dir(home.work());
        command.args(policy.iter().flat_map(|policy| ["--witness-policy", policy]));
        let theirs = command.output().unwrap();
        let (said, talk) = (String::from_utf8_lossy(&theirs.stdout), String::from_utf8_lossy(&theirs.stderr));
        assert_eq!(theirs.status.code(), Some(code), "tools/verify_trail.py, {what}: {said}{talk}");
        // Usage is no verdict.
        if code != 2 {
            let report: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(report["verdict"], ours.json()["verdict"], "{what}");
            assert!(code != 0 || report["facts"] == ours.json()["facts"], "{what}: {said}{}", ours.out());
        }
    } else {
        println!("SKIPPED: there is no python3 here, so tools/verify_trail.py was not run");
    }
    if ours.out().is_empty() { Value::Null } else { ours.json() }
}

fn answers(done: &Done) -> Vec<String> {
    let witnesses = done.json()["witnesses"].as_array().unwrap().clone();
    witnesses.iter().map(|witness| witness["answer"].as_str().unwrap().to_owned()).collect()
}

/// A vault with its trust root in a file, and three witnesses that know it: one of them signs with ML-DSA-44.
fn three() -> (Home, Vec<Tower>) {
    let home = Home::with_vault();
    add(&home, 40);
    let root = home.write("lab.root", home.run(&["show", "root"]).exits(0).raw());
    let towers = [("ana", "ed25519"), ("ben", "ml-dsa-44"), ("cat", "ed25519")];
    let towers: Vec<Tower> = towers.iter().map(|(name, algorithm)| Tower::new(&home, name, algorithm, &root)).collect();
    configure_three(&home, &towers, "group two 2 ana ben cat\nquorum two\n");
    (home, towers)
}

fn configure_three(home: &Home, towers: &[Tower], quorum: &str) {
    let named: Vec<_> = ["ana", "ben", "cat"]
        .into_iter()
        .zip(towers)
        .map(|(name, tower)| (name, tower.vkey.as_str(), tower.serving.as_ref().map(|it| it.1)))
        .collect();
    configure(home, &named, quorum);
}

fn witnesses_in_doctor(home: &Home) -> String {
    let report = home.run(&["doctor", "--format", "json"]).json();
    let part = report["parts"].as_array().unwrap().iter().find(|part| part["name"] == "witnesses").unwrap();
    part["health"].as_str().unwrap().to_owned()
}

#[test]
fn what_witnesses_cosign_is_kept_copied_and_counted() {
    let (home, mut towers) = three();
    // Nobody was asked yet.
    home.run(&["trail", "verify"]).exits(0);
    let done = home.run(&["trail", "verify", "--witness-policy", "witnesses.policy"]).exits(1);
    assert!(done.err().contains("no checkpoint has been cosigned"), "{}", done.err());

    let asked = home.run(&["trail", "witness", "--format", "json"]).exits(0);
    assert_eq!(answers(&asked), ["cosigned"; 3]);
    let entries = asked.json()["entries"].as_u64().unwrap();
    assert_eq!(witnesses_in_doctor(&home), "ok");
    assert!(towers.iter().all(|tower| tower.seen(&home) == entries));
    // Asking leaves no entry, so all of it is cosigned; asking again is fine.
    let report = home.run(&["trail", "verify", "--witness-policy", "witnesses.policy", "--format", "json"]).exits(0);
    let who = report.json()["facts"]["cosigned by"].as_str().unwrap().to_owned();
    assert!(["ana at 2", ", ben at 2", ", cat at 2"].iter().all(|name| who.contains(name)), "{who}");
    assert_eq!(answers(&home.run(&["trail", "witness", "--format", "json"]).exits(0)), ["cosigned"; 3]);

    home.run(&["trail", "mirror", "mirror"]).exits(0);
    let note = fs::read_to_string(home.work().join("mirror/checkpoint")).unwrap();
    assert_eq!(note.matches('\u{2014}').count(), 4, "{note}");
    both(&home, "cosigned by three", "mirror", Some("witnesses.policy"), 0);
    both(&home, "without a policy", "mirror", None, 0);
    for (what, quorum, code) in [
        ("all three", "group g all ana ben cat\nquorum g\n", 0),
        ("the one with the other algorithm", "quorum ben\n", 0),
        ("nobody", "quorum none\n", 0),
    ] {
        configure_three(&home, &towers, quorum);
        both(&home, what, "mirror", Some("witnesses.policy"), code);
    }
    let root = home.work().join("lab.root");
    let stranger = Tower::new(&home, "dan", "ed25519", &root);
    home.write("other.policy", format!("witness dan {}\nquorum dan\n", stranger.vkey));
    both(&home, "one who was never asked", "mirror", Some("other.policy"), 1);
    home.write("bad.policy", "quorum dan\n");
    both(&home, "a policy that is none", "mirror", Some("bad.policy"), 2);

    // The trail goes on; what is new is not cosigned until somebody asks.
    configure_three(&home, &towers, "group two 2 ana ben cat\nquorum two\n");
    add(&home, 44);
    let done = home.run(&["trail", "verify", "--witness-policy", "witnesses.policy"]).exits(1);
    assert!(done.err().contains("newer ones are not cosigned"), "{}", done.err());
    home.run(&["trail", "verify"]).exits(0);
    assert_eq!(witnesses_in_doctor(&home), "warn");
    home.run(&["trail", "mirror", "mirror"]).exits(0);
    both(&home, "the newest is not cosigned", "mirror", Some("witnesses.policy"), 1);

    // One is gone: two are enough. The copy in the mirror gets the lines of the checkpoint that it has.
    towers[0].kill();
    let asked = home.run(&["trail", "witness", "--format", "json"]).exits(0);
    assert_eq!(answers(&asked), ["unreachable", "cosigned", "cosigned"]);
    home.run(&["trail", "mirror", "mirror"]).exits(0);
    both(&home, "two of three", "mirror", Some("witnesses.policy"), 0);

    // Two are gone: said plainly, nothing stops, and the copy is made all the same.
    towers[1].kill();
    add(&home, 48);
    let done = home.run(&["trail", "witness"]).exits(3);
    assert!(done.out().contains("no answer"), "{}", done.out());
    assert!(done.err().contains("1 of 3 cosigned") && done.err().contains("hint: "), "{}", done.err());
    let done = home.run(&["trail", "mirror", "mirror", "--witness"]).exits(3);
    assert!(done.err().contains("no answer") && done.out().contains("entries in mirror"), "{}", done.err());
    home.run(&["trail", "verify"]).exits(0);
    both(&home, "one of three", "mirror", Some("witnesses.policy"), 1);

    // They come back, elsewhere.
    for tower in &mut towers[..2] {
        tower.serve(&home);
    }
    configure_three(&home, &towers, "group two 2 ana ben cat\nquorum two\n");
    home.run(&["trail", "mirror", "mirror", "--witness"]).exits(0);
    both(&home, "back again", "mirror", Some("witnesses.policy"), 0);
    home.run(&["trail", "verify", "--witness-policy", "witnesses.policy"]).exits(0);
}

/// A second copy of the vault, with its keys and all that its user holds.
fn twin(home: &Home) -> Home {
    let other = Home::new();
    for (from, to) in [(home.vault(), other.vault()), (home.config(), other.config())] {
        copy_folder(&from, &to);
        for path in contents(&to).into_keys() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::set_permissions(other.config().join("pins"), fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["lab.root", "witnesses.policy"] {
        other.write(name, fs::read(home.work().join(name)).unwrap());
    }
    other
}

#[test]
fn an_administrator_with_the_log_key_alone_cannot_fork_or_roll_back() {
    let (home, towers) = three();
    // The same vault twice, each with every key: from here on there are two histories.
    let (forked, older) = (twin(&home), twin(&home));
    add(&home, 44);
    home.run(&["trail", "mirror", "mirror", "--witness"]).exits(0);
    both(&home, "what the witnesses saw", "mirror", Some("witnesses.policy"), 0);
    let seen = towers[0].seen(&home);

    // Longer than what they saw, with valid signatures by the log's own key; the user over there holds nothing newer.
    add(&forked, 50);
    add(&forked, 60);
    forked.run(&["trail", "verify"]).exits(0);
    let done = forked.run(&["trail", "witness", "--format", "json"]).exits(5);
    assert_eq!(answers(&done), ["forked"; 3]);
    assert!(done.err().contains("says witness `ana`"), "{}", done.err());
    forked.run(&["trail", "mirror", "mirror", "--witness"]).exits(5);
    assert!(!forked.work().join("mirror").exists(), "a fork is not copied for them");
    assert!(towers.iter().all(|tower| tower.seen(&home) == seen), "refusals change nothing");
    forked.run(&["trail", "mirror", "mirror"]).exits(0);
    both(&forked, "without a policy nothing tells", "mirror", None, 0);
    both(&forked, "a fork", "mirror", Some("witnesses.policy"), 1);
    forked.run(&["trail", "verify", "--witness-policy", "witnesses.policy"]).exits(1);
    // What was cosigned for the other history says nothing for this one.
    let genuine = fs::read_to_string(home.work().join("mirror/checkpoint")).unwrap();
    let path = forked.work().join("mirror/checkpoint");
    let mut pasted = fs::read_to_string(&path).unwrap();
    pasted.extend(genuine.lines().filter(|line| line.contains(".example/w1 ")).map(|line| format!("{line}\n")));
    fs::write(&path, pasted).unwrap();
    both(&forked, "a fork with the lines of the other history", "mirror", Some("witnesses.policy"), 5);
    // Nor does the checkpoint that the other vault keeps.
    fs::copy(home.vault().join("witnessed.checkpoint"), forked.vault().join("witnessed.checkpoint")).unwrap();
    forked.run(&["trail", "verify"]).exits(5);

    // An older copy of everything, pins included.
    older.run(&["trail", "verify"]).exits(0);
    let done = older.run(&["trail", "witness", "--format", "json"]).exits(5);
    assert_eq!(answers(&done), ["rolled-back"; 3]);
    assert!(done.err().contains("are gone (says witness `ana`)"), "{}", done.err());
    fs::copy(home.vault().join("witnessed.checkpoint"), older.vault().join("witnessed.checkpoint")).unwrap();
    older.run(&["trail", "verify"]).exits(5);

    // The same size and other entries.
    let mut twins = [twin(&home), twin(&home)];
    for (other, rows) in twins.iter().zip([70, 80]) {
        add(other, rows);
    }
    twins[0].run(&["trail", "witness"]).exits(0);
    let done = twins[1].run(&["trail", "witness", "--format", "json"]).exits(5);
    assert_eq!(answers(&done), ["forked"; 3]);
    // Whoever saw the first history through the checkpoint that they pinned refuses the second one everywhere.
    let pinned = &mut twins[0];
    fs::remove_dir_all(pinned.vault()).unwrap();
    let vault = pinned.vault();
    let second = twins[1].vault();
    copy_folder(&second, &vault);
    fs::set_permissions(vault.join("catalog.sqlite"), fs::Permissions::from_mode(0o600)).unwrap();
    twins[0].write("train.csv", small_table(90));
    let commands: [&[&str]; 6] = [
        &["ls"],
        &["add", "train.csv", "--as", "dataset/small", "--label", "label"],
        &["trail", "ls"],
        &["trail", "verify"],
        &["trail", "mirror", "elsewhere"],
        &["trail", "witness"],
    ];
    for command in commands {
        let done = twins[0].run(command);
        assert_eq!(done.code(), Some(5), "{command:?}: {}", done.err());
    }
}

#[test]
fn changed_cosignatures_never_count() {
    let (home, towers) = three();
    home.run(&["trail", "mirror", "mirror", "--witness"]).exits(0);
    home.write("ana.policy", format!("witness ana {}\nquorum ana\n", towers[0].vkey));
    let path = home.work().join("mirror/checkpoint");
    let genuine = fs::read_to_string(&path).unwrap();
    let start = genuine.find("\u{2014} ana.example").unwrap();
    let line = genuine[start..].lines().next().unwrap().to_owned();
    for place in (start..start + line.len()).step_by(5) {
        let mut changed = genuine.clone().into_bytes();
        changed[place] ^= 1;
        fs::write(&path, &changed).unwrap();
        let done = home.run(&[
            "trail",
            "verify",
            "--mirror",
            "mirror",
            "--root",
            "lab.root",
            "--witness-policy",
            "ana.policy",
        ]);
        assert!(matches!(done.code(), Some(1 | 5)), "byte {place}: {}{}", done.out(), done.err());
    }
    fs::write(&path, genuine.replace(&format!("{line}\n"), "")).unwrap();
    both(&home, "its line is gone", "mirror", Some("ana.policy"), 1);
    // The next copy brings it back: the vault keeps it.
    home.run(&["trail", "mirror", "mirror"]).exits(0);
    both(&home, "and is back", "mirror", Some("ana.policy"), 0);
    let (id, signature) = line.rsplit_once(' ').unwrap();
    let broken = format!("{id} {}", signature.replacen("AAAA", "AAAB", 1));
    assert_ne!(broken, line);
    fs::write(&path, genuine.replace(&line, &broken)).unwrap();
    both(&home, "another moment", "mirror", Some("ana.policy"), 5);
    // In the vault, too.
    let kept = home.vault().join("witnessed.checkpoint");
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, text.replace(&line, &broken)).unwrap();
    home.run(&["trail", "verify", "--witness-policy", "ana.policy"]).exits(5);
    fs::remove_file(&kept).unwrap();
    home.run(&["trail", "verify", "--witness-policy", "ana.policy"]).exits(1);
    home.run(&["trail", "witness"]).exits(0);
    home.run(&["trail", "verify", "--witness-policy", "ana.policy"]).exits(0);
}

/// Reads all of a request, so that closing the connection afterwards loses no answer.
fn read_question(stream: &mut TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let _ = reader.take(length).read_to_end(&mut Vec::new());
}

/// A server that answers every connection with these bytes, or never.
fn liar(answer: Option<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            if let Some(answer) = &answer {
                read_question(&mut stream);
                let _ = stream.write_all(answer);
            } else {
                // Held open, so that nothing tells the other side that nobody is there.
                open.push(stream);
            }
        }
    });
    address
}

fn http(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn slow_and_lying_witnesses_do_not_count() {
    let (home, towers) = three();
    home.run(&["trail", "witness"]).exits(0);
    let kept = fs::read_to_string(home.vault().join("witnessed.checkpoint")).unwrap();
    let other = kept.lines().find(|line| line.contains("cat.example")).unwrap().to_owned() + "\n";
    let size = "text/x.tlog.size";
    let liars: Vec<(&str, SocketAddr)> = [
        ("unreachable", None),
        ("refused", Some(http("200 OK", "text/plain", &other))),
        ("refused", Some(http("200 OK", "text/plain", "yes\n"))),
        ("refused", Some(http("200 OK", "text/plain", ""))),
        ("refused", Some(http("500 Oh", "text/plain", ""))),
        ("refused", Some(http("302 Found\r\nLocation: http://127.0.0.1:1/", "text/plain", ""))),
        ("refused", Some(http("409 Conflict", size, "no number\n"))),
        ("refused", Some(http("409 Conflict", size, "1\n"))),
        ("refused", Some(http("409 Conflict", "text/plain", "1\n"))),
        ("refused", Some(http("404 Not Found", "text/plain", ""))),
        ("refused", Some(http("403 Forbidden", "text/plain", ""))),
        ("rolled-back", Some(http("409 Conflict", size, "99999\n"))),
        ("unreachable", Some(http("200 OK", "text/plain", &other.repeat(2_000)))),
        ("unreachable", Some(b"220 mail\r\n".to_vec())),
    ]
    .into_iter()
    .map(|(answer, bytes)| (answer, liar(bytes)))
    .collect();
    for (index, (expected, address)) in liars.iter().enumerate() {
        configure(&home, &[("ana", &towers[0].vkey, Some(*address))], "quorum ana\n");
        let _ = fs::remove_file(home.vault().join("witnessed.checkpoint"));
        let begun = Instant::now();
        let done = home.run(&["trail", "witness", "--format", "json"]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{index}: a slow witness holds everything up");
        assert_eq!(answers(&done), [*expected], "{index}: {}", done.err());
        assert_eq!(done.code(), Some(if *expected == "rolled-back" { 5 } else { 3 }), "{index}: {}", done.err());
        home.run(&["trail", "verify", "--witness-policy", "witnesses.policy"]).exits(1);
    }
    // Beside one that never answers, the others do.
    let named =
        [("slow", towers[0].vkey.as_str(), Some(liars[0].1)), ("ben", &towers[1].vkey, Some(towers[1].address()))];
    configure(&home, &named, "quorum ben\n");
    let done = home.run(&["trail", "witness", "--format", "json"]).exits(0);
    assert_eq!(answers(&done), ["unreachable", "cosigned"]);
    // A host that `reach.toml` does not name is not spoken to; what was cosigned before still counts.
    fs::write(home.config().join("reach.toml"), "[egress]\nhosts = []\n").unwrap();
    let done = home.run(&["trail", "witness"]).exits(0);
    assert!(done.out().contains("denied"), "{}", done.out());
    fs::remove_file(home.vault().join("witnessed.checkpoint")).unwrap();
    home.run(&["trail", "witness"]).exits(3);
    fs::remove_file(home.config().join("witnesses.policy")).unwrap();
    home.run(&["trail", "witness"]).exits(2);
}

/// One question over a fresh connection: status and body, or nothing where the witness is gone.
fn post(address: SocketAddr, path: &str, method: &str, body: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    // It may answer and close before it has read all of a body that is too long.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The trail of a lab as a witness sees it.
struct Trail {
    lab: Lab,
    leaves: Vec<Digest>,
}

impl Trail {
    fn new(lab: Lab, size: u64) -> Self {
        Self { lab, leaves: (0..size).map(|index| leaf_hash(&index.to_be_bytes())).collect() }
    }

    fn ask(&self, old: u64, size: u64) -> String {
        let leaves = &self.leaves[..usize::try_from(size).unwrap()];
        let note = Note::parse(self.lab.sign(size, root_of(leaves)).as_bytes()).unwrap();
        AddCheckpoint { old_size: old, proof: consistency_proof(leaves, old).unwrap(), note }.to_string()
    }
}

/// More than a witness cosigns one by one in the time of that test.
const ENTRIES: u64 = 20_000;

#[test]
fn a_witness_that_is_killed_has_recorded_what_it_signed() {
    let home = Home::new();
    let trail = Trail::new(Lab::new(21), ENTRIES);
    let root = home.write("lab.root", trail.lab.root());
    let mut tower = Tower::new(&home, "ana", "ed25519", &root);
    let mut old = 0;
    let mut lost = 0;
    for round in 0..12_u64 {
        let address = tower.address();
        // Asks for one entry more each time, until nobody answers; the last size that was cosigned.
        let asked = &trail;
        let done = thread::scope(|scope| {
            let asking = scope.spawn(move || {
                let mut size = old;
                while size + 2 < ENTRIES {
                    match post(address, "/add-checkpoint", "POST", asked.ask(size, size + 1).as_bytes()) {
                        Some((200, line)) if line.ends_with('\n') => size += 1,
                        Some((200, _)) | None => break,
                        Some((status, body)) => panic!("{status} {body}"),
                    }
                }
                size
            });
            // Some way into the questions, at another moment each time.
            let begun = Instant::now();
            while tower.seen(&home) < old + round % 4 {
                assert!(begun.elapsed() < Duration::from_mins(1), "nothing is cosigned");
            }
            tower.kill();
            asking.join().unwrap()
        });
        let recorded = tower.seen(&home);
        assert!(recorded == done || recorded == done + 1, "{recorded} on disk, {done} answered");
        lost += recorded - done;
        tower.serve(&home);
        // Whoever did not hear the answer is told how far it got, and gets it then.
        let again = post(tower.address(), "/add-checkpoint", "POST", asked.ask(done, recorded + 1).as_bytes()).unwrap();
        if recorded > done {
            assert_eq!(again, (409, format!("{recorded}\n")));
            let same = post(tower.address(), "/add-checkpoint", "POST", asked.ask(recorded, recorded).as_bytes());
            assert_eq!(same.unwrap().0, 200);
            old = recorded;
        } else {
            assert_eq!(again.0, 200, "{}", again.1);
            old = recorded + 1;
        }
    }
    println!("answers lost between disk and network: {lost} of 12 kills");
}

#[test]
fn the_door_is_narrow() {
    let home = Home::new();
    let trail = Trail::new(Lab::new(22), 50);
    let root = home.write("lab.root", trail.lab.root());
    let tower = Tower::new(&home, "ana", "ed25519", &root);
    let ask = |path: &str, method: &str, body: &[u8]| post(tower.address(), path, method, body).unwrap().0;
    let fine = trail.ask(0, 12);
    assert_eq!(ask("/", "POST", fine.as_bytes()), 404);
    assert_eq!(ask("/add-checkpoint?x", "POST", fine.as_bytes()), 404);
    assert_eq!(ask("/add-checkpoint/", "POST", fine.as_bytes()), 404);
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(ask("/add-checkpoint", method, b""), 405, "{method}");
    }
    assert_eq!(ask("/add-checkpoint", "POST", b""), 400);
    assert_eq!(ask("/add-checkpoint", "POST", &[0xff; 100]), 400);
    assert_eq!(ask("/add-checkpoint", "POST", &vec![b'x'; (64 << 10) + 1]), 413);
    let stranger = Trail::new(Lab::new(23), 50);
    assert_eq!(ask("/add-checkpoint", "POST", stranger.ask(0, 12).as_bytes()), 404, "a log that nobody told it of");
    assert_eq!(tower.seen(&home), 0);
    assert_eq!(ask("/add-checkpoint", "POST", fine.as_bytes()), 200);
    assert_eq!(ask("/add-checkpoint", "POST", trail.ask(12, 12).replace("\n12\n", "\n13\n").as_bytes()), 403);
    assert_eq!(ask("/add-checkpoint", "POST", trail.ask(0, 30).as_bytes()), 409);
    assert_eq!(ask("/add-checkpoint", "POST", trail.ask(12, 30).replacen('\n', "\nAAAA", 1).as_bytes()), 400);
    assert_eq!(tower.seen(&home), 12);
    // Sixty-four who say nothing keep the others waiting only until their time is over; one who goes on speaking is heard.
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(tower.address()).unwrap()).collect();
    assert_eq!(ask("/add-checkpoint", "POST", trail.ask(12, 40).as_bytes()), 200);
    drop(silent);

    let folder = tower.folder.to_str().unwrap();
    let done = home.run(&["witness", "serve", folder, "--listen", "0.0.0.0:0"]).exits(2);
    assert!(done.err().contains("needs a certificate"), "{}", done.err());
    home.run(&["witness", "serve", folder, "--certificate", "nowhere.pem"]).exits(2);
    home.run(&["witness", "serve", folder, "--certificate", "nowhere.pem", "--key", "nowhere.pem"]).exits(3);
    home.run(&["witness", "init", folder]).exits(2);
    home.run(&["witness", "init", "other", "--name", "two words"]).exits(2);
    home.run(&["witness", "add-log", folder]).exits(2);
    home.run(&["witness", "add-log", folder, "--vkey", &tower.vkey]).exits(2);
    home.run(&["witness", "ls", "nowhere"]).exits(3);
    let random = home.run(&["witness", "init", "random", "--format", "json"]).exits(0).json();
    assert!(random["name"].as_str().unwrap().starts_with("witness/"));
}

//! The trail as static files: `trail mirror`, `trail verify --mirror`, and the second verifier in `tools/`.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use ringfence_engine::{
    schema::{Digest, report::VerifyVerdict, trail::Entry},
    trail::verify_mirror,
};
use ringfence_trust::{
    merkle::{leaf_hash, root_of},
    tiles::{push_entry, read_bundle, tile_bytes},
};
use serde_json::Value;

use crate::{
    home::{Done, Home, contents},
    lab::{History, Lab},
};

/// Entries of the mirror when it was made, and now: bundles 0 and 1 are whole now, and what was unfinished then is still there.
const EARLIER: u64 = 300;
const NOW: u64 = 700;

/// A mirror, made in two steps, with the checkpoints of both.
struct Bench {
    home: Home,
    lab: Lab,
    history: History,
    python: Option<PathBuf>,
}

impl Bench {
    fn new() -> Self {
        let (home, lab) = (Home::new(), Lab::new(1));
        let history = lab.history(&home.work().join("vault"));
        home.write("lab.root", lab.root());
        for (size, name) in [(EARLIER, "earlier.checkpoint"), (NOW, "now.checkpoint")] {
            lab.grow(&history, size, "admit");
            home.write(name, history.note());
            mirror(&home, &history, "mirror").exits(0);
        }
        Self { home, lab, history, python: python() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.work().join(name)
    }

    /// A fresh copy of the mirror in which `tamper` was carried out.
    fn copy(&self, tamper: impl FnOnce(&Path)) -> PathBuf {
        let copy = self.at("copy");
        let _ = fs::remove_dir_all(&copy);
        for (path, bytes) in contents(&self.at("mirror")) {
            let target = copy.join(path.strip_prefix(self.at("mirror")).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, bytes).unwrap();
        }
        tamper(&copy);
        copy
    }

    /// Demands that both verifiers end with `code`, and that their verdicts are the same.
    #[track_caller]
    fn both(&self, what: &str, mirror: &Path, root: &str, held: Option<&str>, code: i32) -> Value {
        let mut args: Vec<OsString> = vec!["--root".into(), self.at(root).into()];
        if let Some(held) = held {
            args.extend(["--checkpoint".into(), self.at(held).into()]);
        }
        let words = ["trail", "verify", "--format", "json", "--mirror"].map(OsString::from);
        let ours: Vec<OsString> = words.into_iter().chain([mirror.into()]).chain(args.clone()).collect();
        let ours = Home::new().run(&ours);
        assert_eq!(ours.code(), Some(code), "{what}: {}{}", ours.out(), ours.err());
        if let Some(python) = &self.python {
            let theirs = Command::new(python).arg(script()).arg(mirror).args(args).output().unwrap();
            let (said, talk) = (String::from_utf8_lossy(&theirs.stdout), String::from_utf8_lossy(&theirs.stderr));
            assert_eq!(theirs.status.code(), Some(code), "tools/verify_trail.py, {what}: {said}{talk}");
            let report: Value = serde_json::from_str(&said).unwrap();
            let verdict = match code {
                0 => "verified",
                3 => "incomplete",
                _ => "tampered",
            };
            assert_eq!(report["verdict"], verdict, "{what}");
            if code == 0 {
                assert_eq!(report["facts"], ours.json()["facts"], "{what}");
            }
        }
        if ours.out().is_empty() { Value::Null } else { ours.json() }
    }

    #[track_caller]
    fn found(&self, what: &str, held: Option<&str>, tamper: impl FnOnce(&Path)) {
        let copy = self.copy(tamper);
        self.both(what, &copy, "lab.root", held, 5);
    }
}

fn mirror(home: &Home, history: &History, target: &str) -> Done {
    home.run(&["--vault".as_ref(), history.folder.as_os_str(), "trail".as_ref(), "mirror".as_ref(), OsStr::new(target)])
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/verify_trail.py")
}

fn python() -> Option<PathBuf> {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|done| done.status.success());
    if !found {
        println!("SKIPPED: there is no python3 here, so tools/verify_trail.py was not run");
    }
    found.then(|| "python3".into())
}

/// Every file of the mirror, one of each kind in each state.
const FILES: [&str; 11] = [
    "checkpoint",
    "tile/entries/000",
    "tile/entries/001",
    "tile/entries/002.p/188",
    "tile/entries/001.p/44",
    "tile/0/000",
    "tile/0/001",
    "tile/0/002.p/188",
    "tile/0/001.p/44",
    "tile/1/000.p/1",
    "tile/1/000.p/2",
];

#[test]
fn a_mirror_grows_and_never_changes() {
    let (home, lab) = (Home::new(), Lab::new(2));
    let history = lab.history(&home.work().join("vault"));
    let target = home.work().join("mirror");
    let relative = |files: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        let name = |path: &Path| path.strip_prefix(&target).unwrap().to_str().unwrap().to_owned();
        files.into_iter().map(|(path, bytes)| (name(&path), bytes)).collect()
    };
    let mut before = BTreeMap::new();
    for size in [1, 255, 256, 257, 700, 1_025] {
        lab.grow(&history, size, "admit");
        mirror(&home, &history, "mirror").exits(0);
        let files = relative(contents(&target));
        for (name, bytes) in before.iter().filter(|(name, _)| *name != "checkpoint") {
            assert!(files.get(name) == Some(bytes), "{size}: {name} was changed");
        }
        assert_eq!(files["checkpoint"], history.note().as_bytes());
        for name in files.keys().filter(|name| *name != "checkpoint") {
            assert_eq!(
                fs::metadata(target.join(name)).unwrap().permissions().mode() & 0o222,
                0,
                "{name} may be written"
            );
        }
        before = files;
        // Nothing new: nothing is written, nothing is changed.
        let again = home.run(&[
            "--vault".as_ref(),
            history.folder.as_os_str(),
            "trail".as_ref(),
            "mirror".as_ref(),
            target.as_os_str(),
            "--format".as_ref(),
            "json".as_ref(),
        ]);
        let again = again.exits(0).json();
        assert_eq!((&again["entries"], &again["before"], &again["files"]), (&size.into(), &size.into(), &0.into()));
        assert!(before == relative(contents(&target)));
    }
    // What the specification demands of a tree of 1,025 entries is there.
    for name in ["tile/0/003", "tile/0/004.p/1", "tile/1/000.p/4", "tile/entries/003", "tile/entries/004.p/1"] {
        assert!(before.contains_key(name), "{name}");
    }
    assert!(!before.contains_key("tile/2/000.p/0"));
}

#[test]
fn both_verifiers_find_every_tampering() {
    let bench = Bench::new();
    let files: Vec<String> = contents(&bench.at("mirror"))
        .keys()
        .map(|path| path.strip_prefix(bench.at("mirror")).unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut known = FILES.to_vec();
    known.sort_unstable();
    assert_eq!(files, known);
    for held in [None, Some("earlier.checkpoint"), Some("now.checkpoint")] {
        let report = bench.both("untouched", &bench.copy(|_| {}), "lab.root", held, 0);
        assert_eq!(report["facts"]["entries"], NOW.to_string());
        assert_eq!(report["facts"]["files"], FILES.len().to_string());
    }
    for file in FILES {
        bench.found(&format!("{file}: first bit"), None, edit(file, |bytes| bytes[0] ^= 0x80));
        bench.found(
            &format!("{file}: a bit within"),
            None,
            edit(file, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }),
        );
        bench.found(&format!("{file}: last bit"), None, edit(file, |bytes| *bytes.last_mut().unwrap() ^= 1));
        bench.found(&format!("{file}: cut"), None, edit(file, |bytes| bytes.truncate(bytes.len() - 1)));
        bench.found(&format!("{file}: empty"), None, edit(file, Vec::clear));
        bench.found(&format!("{file}: longer"), None, edit(file, |bytes| bytes.push(b'\n')));
        // What is left of a smaller tree may be deleted, as the specification says.
        let left_over = file.ends_with(".p/44") || file.ends_with(".p/1");
        let gone = bench.copy(|mirror| fs::remove_file(mirror.join(file)).unwrap());
        bench.both(
            &format!("{file}: gone"),
            &gone,
            "lab.root",
            Some("earlier.checkpoint"),
            if left_over { 0 } else { 5 },
        );
        bench.found(&format!("{file}: a link"), None, |mirror| {
            fs::rename(mirror.join(file), mirror.join("aside")).unwrap();
            symlink(mirror.join("aside"), mirror.join(file)).unwrap();
        });
        bench.found(&format!("{file}: a folder"), None, |mirror| {
            fs::remove_file(mirror.join(file)).unwrap();
            fs::create_dir(mirror.join(file)).unwrap();
        });
    }
    for (a, b) in
        [("tile/0/000", "tile/0/001"), ("tile/entries/000", "tile/entries/001"), ("tile/1/000.p/2", "tile/0/000")]
    {
        bench.found(&format!("{a} and {b} swapped"), None, |mirror| swap(mirror, a, b));
    }
    bench.found("tiles and their bundles swapped", None, |mirror| {
        swap(mirror, "tile/0/000", "tile/0/001");
        swap(mirror, "tile/entries/000", "tile/entries/001");
    });
}

/// Changes the bytes of a file.
fn edit(file: &str, change: impl Fn(&mut Vec<u8>)) -> impl FnOnce(&Path) {
    move |mirror| {
        let mut bytes = fs::read(mirror.join(file)).unwrap();
        change(&mut bytes);
        fs::write(mirror.join(file), bytes).unwrap();
    }
}

/// Loads the second verifier, changes one bit of every sixteenth byte of every file, and demands that it sees each.
const FLIPPING: &str = r#"
import os, pathlib, runpy, sys
script, folder, root = sys.argv[1:]
their = runpy.run_path(script)
seen = 0
for path in sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file()):
    content = path.read_bytes()
    for place in range(0, len(content), 16):
        changed = bytearray(content)
        changed[place] ^= 1 << place // 16 % 8
        os.chmod(path, 0o644)
        path.write_bytes(changed)
        assert their["verify"](folder, root, None).problems, (path, place)
        seen += 1
    path.write_bytes(content)
assert not their["verify"](folder, root, None).problems
print(seen)
"#;

#[test]
fn every_bit_of_a_small_mirror_counts() {
    let (home, lab) = (Home::new(), Lab::new(3));
    let history = lab.history(&home.work().join("vault"));
    let (target, root) = (home.work().join("mirror"), home.write("lab.root", lab.root()));
    for size in [2, 4] {
        lab.grow(&history, size, "admit");
        mirror(&home, &history, "mirror").exits(0);
    }
    let verdict = || verify_mirror(&target, &root, None, None).unwrap().verdict;
    assert_eq!(verdict(), VerifyVerdict::Verified);
    for (path, bytes) in contents(&target) {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, changed).unwrap();
            assert_eq!(verdict(), VerifyVerdict::Tampered, "bit {bit} of {}", path.display());
        }
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(verdict(), VerifyVerdict::Verified);
    let Some(python) = python() else { return };
    let done = Command::new(python).args(["-c", FLIPPING]).arg(script()).args([target, root]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).trim().parse::<u64>().unwrap() > 100);
}

fn swap(mirror: &Path, a: &str, b: &str) {
    fs::rename(mirror.join(a), mirror.join("aside")).unwrap();
    fs::rename(mirror.join(b), mirror.join(a)).unwrap();
    fs::rename(mirror.join("aside"), mirror.join(b)).unwrap();
}

/// Puts another entry in the place of entry 300, and rebuilds every hash above it. Returns the new root.
fn rewrite(mirror: &Path) -> Digest {
    let read = |name: &str, width| -> Vec<Vec<u8>> {
        let bytes = fs::read(mirror.join(name)).unwrap();
        read_bundle(&bytes, width).unwrap().into_iter().map(<[u8]>::to_vec).collect()
    };
    let mut entries =
        [read("tile/entries/000", 256), read("tile/entries/001", 256), read("tile/entries/002.p/188", 188)];
    let mut entry = Entry::from_leaf(&entries[1][44]).unwrap();
    entry.actor = "nobody".into();
    entries[1][44] = entry.to_leaf().unwrap();
    let mut bundle = Vec::new();
    entries[1].iter().for_each(|entry| push_entry(&mut bundle, entry).unwrap());
    let hashes: Vec<Vec<Digest>> =
        entries.iter().map(|entries| entries.iter().map(|entry| leaf_hash(entry)).collect()).collect();
    fs::write(mirror.join("tile/entries/001"), bundle).unwrap();
    fs::write(mirror.join("tile/0/001"), tile_bytes(&hashes[1])).unwrap();
    fs::write(mirror.join("tile/1/000.p/2"), tile_bytes(&[root_of(&hashes[0]), root_of(&hashes[1])])).unwrap();
    root_of(&hashes.concat())
}

#[test]
fn a_rewritten_history_shows_by_its_root_or_by_what_is_held() {
    let bench = Bench::new();
    bench.found("an entry was changed, with every hash above it", None, |mirror| {
        rewrite(mirror);
    });
    // The administrator holds the log's key: nothing in the mirror itself tells.
    let forged = bench.copy(|mirror| {
        let root = rewrite(mirror);
        fs::write(mirror.join("checkpoint"), bench.lab.sign(NOW, root)).unwrap();
    });
    bench.both("signed again", &forged, "lab.root", None, 0);
    bench.both("signed again, held from now", &forged, "lab.root", Some("now.checkpoint"), 5);
    // What was held before the change says nothing about it, and holds.
    bench.both("signed again, held from before", &forged, "lab.root", Some("earlier.checkpoint"), 0);

    let older = bench.copy(|mirror| {
        fs::copy(bench.at("earlier.checkpoint"), mirror.join("checkpoint")).unwrap();
    });
    let report = bench.both("rolled back", &older, "lab.root", None, 0);
    assert_eq!(report["facts"]["unfinished files behind the checkpoint"], "1");
    bench.both("rolled back, held from now", &older, "lab.root", Some("now.checkpoint"), 5);

    // Another history by the same key, longer than the one that was held.
    let fork = bench.lab.history(&bench.at("fork"));
    bench.lab.grow(&fork, EARLIER, "admit");
    bench.lab.grow(&fork, NOW + 100, "destroy");
    mirror(&bench.home, &fork, "forked").exits(0);
    bench.both("forked", &bench.at("forked"), "lab.root", None, 0);
    bench.both("forked, held from before", &bench.at("forked"), "lab.root", Some("earlier.checkpoint"), 0);
    bench.both("forked, held from now", &bench.at("forked"), "lab.root", Some("now.checkpoint"), 5);

    // Another log's signature, another vault's root, and files that are not genuine.
    let other = Lab::new(9);
    bench.home.write("other.root", other.root());
    let copy = bench.copy(|_| {});
    bench.both("another root", &copy, "other.root", None, 5);
    bench.found("signed by another log", None, |mirror| {
        let note = other.history(&bench.at("other"));
        other.grow(&note, 3, "admit");
        fs::write(mirror.join("checkpoint"), note.note()).unwrap();
    });
    for (name, held) in [("lab.root", None), ("now.checkpoint", Some("bad"))] {
        let mut bytes = fs::read(bench.at(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bench.home.write("bad", bytes);
        bench.both(name, &copy, if held.is_some() { "lab.root" } else { "bad" }, held, 5);
    }
}

#[test]
fn what_is_no_mirror_is_never_clean() {
    let bench = Bench::new();
    bench.both("no folder", &bench.at("nowhere"), "lab.root", None, 3);
    fs::create_dir(bench.at("empty")).unwrap();
    bench.both("an empty folder", &bench.at("empty"), "lab.root", None, 3);
    bench.both("an empty folder, something held", &bench.at("empty"), "lab.root", Some("now.checkpoint"), 5);
    let copy = bench.copy(|mirror| fs::remove_file(mirror.join("checkpoint")).unwrap());
    bench.both("no checkpoint", &copy, "lab.root", None, 3);
    bench.home.run(&["trail", "verify", "--mirror", "mirror"]).exits(2);
}

#[test]
fn nothing_is_written_where_mirror_and_trail_contradict_each_other() {
    let bench = Bench::new();
    bench.lab.grow(&bench.history, NOW + 50, "admit");
    let refused = |what: &str, vault: &History, target: &Path, code: i32| {
        let before = contents(target);
        let done = mirror(&bench.home, vault, target.to_str().unwrap());
        assert_eq!(done.code(), Some(code), "{what}: {}", done.err());
        assert!(before == contents(target), "{what}: the mirror was changed");
    };
    for file in FILES {
        let copy = bench.copy(|mirror| {
            let mut bytes = fs::read(mirror.join(file)).unwrap();
            bytes[7] ^= 1;
            fs::write(mirror.join(file), bytes).unwrap();
        });
        refused(file, &bench.history, &copy, 5);
    }
    let copy = bench.copy(|mirror| fs::remove_file(mirror.join("tile/entries/000")).unwrap());
    refused("a hole", &bench.history, &copy, 5);

    let fork = bench.lab.history(&bench.at("fork"));
    bench.lab.grow(&fork, NOW + 100, "destroy");
    refused("a fork", &fork, &bench.copy(|_| {}), 5);
    let shorter = bench.lab.history(&bench.at("shorter"));
    bench.lab.grow(&shorter, EARLIER, "admit");
    refused("a trail that was rolled back", &shorter, &bench.copy(|_| {}), 5);
    let other = Lab::new(9);
    let foreign = other.history(&bench.at("foreign"));
    other.grow(&foreign, NOW + 100, "admit");
    refused("another vault", &foreign, &bench.copy(|_| {}), 5);

    // A row that was edited: nothing of such a trail is copied, not even to a fresh folder.
    let connection = rusqlite::Connection::open(bench.history.folder.join("catalog.sqlite")).unwrap();
    connection.execute("UPDATE trail SET leaf = (SELECT leaf FROM trail WHERE idx = 3) WHERE idx = 5", []).unwrap();
    refused("an edited row", &bench.history, &bench.copy(|_| {}), 5);
    fs::create_dir(bench.at("fresh")).unwrap();
    refused("an edited row, a fresh folder", &bench.history, &bench.at("fresh"), 5);

    bench.home.write("documents/letter", "not a mirror");
    refused("a folder of something else", &bench.history, &bench.at("documents"), 2);
}

#[test]
fn a_copy_that_was_interrupted_is_finished() {
    let bench = Bench::new();
    // As a kill leaves it: files of the larger tree, one of them half-written, and the earlier checkpoint.
    let copy = bench.copy(|mirror| {
        fs::copy(bench.at("earlier.checkpoint"), mirror.join("checkpoint")).unwrap();
        fs::remove_file(mirror.join("tile/0/001")).unwrap();
        fs::write(mirror.join("tile/0/.001.new"), b"half").unwrap();
        fs::remove_file(mirror.join("tile/1/000.p/2")).unwrap();
    });
    bench.both("between the two", &copy, "lab.root", Some("earlier.checkpoint"), 0);
    mirror(&bench.home, &bench.history, "copy").exits(0);
    bench.both("afterwards", &copy, "lab.root", Some("now.checkpoint"), 0);
    assert!(contents(&copy).len() == FILES.len());
    // Before the first checkpoint.
    fs::remove_file(copy.join("checkpoint")).unwrap();
    mirror(&bench.home, &bench.history, "copy").exits(0);
    bench.both("the first one", &copy, "lab.root", Some("now.checkpoint"), 0);
}

#[test]
fn a_copy_that_is_killed_goes_on_where_it_was() {
    let (home, lab) = (Home::new(), Lab::new(4));
    let history = lab.history(&home.work().join("vault"));
    lab.grow(&history, 20_000, "admit");
    home.write("lab.root", lab.root());
    let verify = || home.run(&["trail", "verify", "--mirror", "mirror", "--root", "lab.root"]);
    for stop in ["tile/entries/003", "tile/entries/010", "tile/0/020"] {
        let words = ["--vault", history.folder.to_str().unwrap(), "trail", "mirror", "mirror"];
        let mut child = home.command(&words).spawn().unwrap();
        while !home.work().join("mirror").join(stop).exists() {
            assert!(child.try_wait().unwrap().is_none_or(|ended| ended.success()), "it failed before it was killed");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Without a checkpoint it is nothing yet; a kill that came too late finds it whole.
        let done = verify();
        assert!(matches!(done.code(), Some(0 | 3)), "{}", done.err());
    }
    mirror(&home, &history, "mirror").exits(0);
    verify().exits(0);
    let names: Vec<PathBuf> = contents(&home.work().join("mirror")).into_keys().collect();
    assert!(names.iter().all(|name| name.extension() != Some(OsStr::new("new"))), "{names:?}");
}

//! The main job on the example, as README tells it, and what everybody can check of its result.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Instant, SystemTime},
};

use ringfence_engine::{
    Anchor,
    schema::report::{VerifyReport, VerifyVerdict},
    verify_bundle,
};

use crate::home::{Done, Home, contents, copy_folder, examples};

/// The example was run once in a home of its own.
struct Job {
    home: Home,
    ran: Done,
}

impl Job {
    fn bundle(&self) -> PathBuf {
        self.home.work().join("examples/digits/released")
    }

    fn root(&self) -> PathBuf {
        self.home.work().join("vault.root")
    }
}

/// Several tests look at one run: it takes the longest of all that is done here.
fn job() -> &'static Job {
    static JOB: OnceLock<Job> = OnceLock::new();
    JOB.get_or_init(|| {
        let home = Home::shared();
        copy_folder(&examples().join("digits"), &home.work().join("examples/digits"));
        let begun = Instant::now();
        let ran = home.run(&["run", "examples/digits/ringfence.toml", "--format", "json"]).exits(0);
        println!("main job: {:.1} s\n{}", begun.elapsed().as_secs_f64(), ran.err());
        home.write("vault.root", home.run(&["show", "root"]).exits(0).raw());
        Job { home, ran }
    })
}

fn verify(home: &Home, bundle: &Path, root: Option<&Path>) -> Done {
    let mut command = home.command(&["verify"]);
    command.arg(bundle);
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    home.done(command)
}

/// The same check without starting a process.
fn verdict(bundle: &Path) -> VerifyReport {
    verify_bundle(bundle, &Anchor::File(&job().root()), SystemTime::now().into()).unwrap()
}

/// A copy of the bundle to tamper with.
struct Copy {
    _dir: tempfile::TempDir,
    bundle: PathBuf,
}

fn copy() -> Copy {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("released");
    copy_folder(&job().bundle(), &bundle);
    Copy { _dir: dir, bundle }
}

#[test]
fn ends_with_a_release_and_a_report() {
    let job = job();
    let answer = job.ran.json();
    assert_eq!(answer["schema"], "ringfence.run/1");
    assert_eq!(answer["verdict"], "released");
    assert_eq!(answer["artifact"], "model/digits-robust@1");
    let bundle = job.bundle();
    for file in ["model.onnx", "report.html", "release.dsse.json", "trail.json"] {
        assert!(bundle.join(file).is_file(), "{file} is missing");
    }
    let page = fs::read_to_string(bundle.join("report.html")).unwrap();
    for outside in ["http://", "src=\"/", "<script src", "<link "] {
        assert!(!page.contains(outside), "the report needs something from outside: {outside}");
    }
    assert!(page.contains("ringfence verify"));
    let talk = job.ran.err();
    for word in ["made a solo vault", "admitted", "sandbox", "trained", "attacked"] {
        assert!(talk.contains(word), "{word} is missing in {talk}");
    }
    job.home.run(&["trail", "verify"]).exits(0);
    job.home.run(&["verify", "--all"]).exits(0);
    let listed = job.home.run(&["ls"]).exits(0).out();
    assert!(listed.contains("model/digits-robust@1") && listed.contains("released"), "{listed}");
    let shown = job.home.run(&["show", "model/digits-robust@released"]).exits(0).out();
    for kind in ["provenance", "scan", "robustness", "release"] {
        assert!(shown.contains(kind), "{kind} is missing in {shown}");
    }
}

#[test]
fn the_bundle_can_be_written_again() {
    let job = job();
    let out = job.home.work().join("again");
    job.home.run(&["release".as_ref(), "model/digits-robust@1".as_ref(), "--out".as_ref(), out.as_os_str()]).exits(0);
    verify(&job.home, &out, None).exits(0);
}

#[test]
fn verifies_where_there_is_no_vault() {
    let job = job();
    let stranger = Home::new();
    let done = verify(&stranger, &job.bundle(), Some(&job.root())).exits(0);
    assert!(done.out().contains("verified"), "{}", done.out());
    // Nothing was made on the way.
    assert!(contents(stranger.root()).is_empty());
    // In the home that pinned the root it needs no file.
    verify(&job.home, &job.bundle(), None).exits(0);
}

#[test]
fn an_unknown_root_is_no_answer_and_says_what_to_do() {
    let job = job();
    let stranger = Home::new();
    let done = verify(&stranger, &job.bundle(), None).exits(1);
    assert!(done.err().contains("hint: ") && done.err().contains("--root"), "{}", done.err());
    // Another vault's root does not help either.
    let other = Home::with_vault();
    let root = other.write("other.root", other.run(&["show", "root"]).exits(0).raw());
    verify(&stranger, &job.bundle(), Some(&root)).exits(1);
    verify(&other, &job.bundle(), None).exits(1);
    // A root that was tampered with is not one.
    let mut bytes = fs::read(job.root()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = stranger.write("damaged.root", bytes);
    let done = verify(&stranger, &job.bundle(), Some(&damaged)).exits(5);
    assert!(done.err().contains("damaged.root"), "{}", done.err());
}

/// Positions of a file of `length` bytes: all of a small one; first, middle, last and some between of a large one.
fn positions(length: usize) -> Vec<usize> {
    if length <= ALL_POSITIONS_MAX {
        return (0..length).collect();
    }
    let mut some: Vec<usize> = (0..SOME_POSITIONS).map(|at| at * (length - 1) / (SOME_POSITIONS - 1)).collect();
    some.push(length / 2);
    some
}

const ALL_POSITIONS_MAX: usize = 160;
const SOME_POSITIONS: usize = 12;

#[test]
fn any_changed_byte_is_tampering_and_names_the_file() {
    let Copy { _dir, bundle } = copy();
    assert_eq!(verdict(&bundle).verdict, VerifyVerdict::Verified);
    let stranger = Home::new();
    let begun = Instant::now();
    let mut tried = 0;
    for (path, bytes) in contents(&bundle) {
        let name = path.strip_prefix(&bundle).unwrap().to_str().unwrap().to_owned();
        for at in positions(bytes.len()) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            let report = verdict(&bundle);
            assert_eq!(report.verdict, VerifyVerdict::Tampered, "{name} byte {at}: {:?}", report.checks);
            let named = report.checks.iter().any(|check| !check.passed && check.name == name);
            assert!(named, "{name} byte {at} is not named: {:?}", report.checks);
            tried += 1;
        }
        // The command itself says the same, with its exit code.
        let done = verify(&stranger, &bundle, Some(&job().root())).exits(5);
        assert!(done.err().contains(&name) && done.err().contains("hint: "), "{name}: {}", done.err());
        fs::write(&path, &bytes).unwrap();
    }
    println!("bundle: {tried} changed bytes, all found and named, in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(verdict(&bundle).verdict, VerifyVerdict::Verified);
}

#[test]
fn any_other_change_of_the_folder_is_tampering() {
    let stranger = Home::new();
    let tampered = |what: &str, names: &[&str], change: &dyn Fn(&Path)| {
        let Copy { _dir, bundle } = copy();
        change(&bundle);
        let done = verify(&stranger, &bundle, Some(&job().root())).exits(5);
        assert!(names.iter().any(|name| done.err().contains(name)), "{what}: {}", done.err());
    };
    tampered("added", &["extra.txt"], &|bundle| fs::write(bundle.join("extra.txt"), "x").unwrap());
    tampered("added below", &["evidence/extra"], &|bundle| fs::write(bundle.join("evidence/extra"), "").unwrap());
    tampered("hidden", &[".hidden"], &|bundle| fs::write(bundle.join(".hidden"), "").unwrap());
    tampered("removed", &["report.html"], &|bundle| fs::remove_file(bundle.join("report.html")).unwrap());
    tampered("longer", &["model.onnx"], &|bundle| {
        let mut bytes = fs::read(bundle.join("model.onnx")).unwrap();
        bytes.push(0);
        fs::write(bundle.join("model.onnx"), bytes).unwrap();
    });
    tampered("shorter", &["model.onnx"], &|bundle| {
        let bytes = fs::read(bundle.join("model.onnx")).unwrap();
        fs::write(bundle.join("model.onnx"), &bytes[..bytes.len() - 1]).unwrap();
    });
    tampered("a link", &["model.onnx"], &|bundle| {
        let away = bundle.parent().unwrap().join("away.onnx");
        fs::rename(bundle.join("model.onnx"), &away).unwrap();
        std::os::unix::fs::symlink(away, bundle.join("model.onnx")).unwrap();
    });
    tampered("renamed", &["model.onnx", "other.onnx"], &|bundle| {
        fs::rename(bundle.join("model.onnx"), bundle.join("other.onnx")).unwrap();
    });
}

#[test]
fn a_bundle_cut_short_is_an_error() {
    let stranger = Home::new();
    for (file, bytes) in contents(&job().bundle()) {
        let name = file.strip_prefix(job().bundle()).unwrap().to_owned();
        let Copy { _dir, bundle } = copy();
        for length in [0, bytes.len() / 2] {
            fs::write(bundle.join(&name), &bytes[..length]).unwrap();
            let done = verify(&stranger, &bundle, Some(&job().root())).exits(5);
            assert!(done.err().contains(name.to_str().unwrap()), "{}: {}", name.display(), done.err());
        }
    }
}

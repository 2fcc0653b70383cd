//! Truncated, hostile and wrong files: an error that names the file, the right exit code, and nothing changed.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::PathBuf,
};

use crate::home::{Done, Home, contents, examples, small_table};

/// A safetensors file of one tensor.
fn safetensors() -> Vec<u8> {
    let header = br#"{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([0; 16]);
    file
}

/// Every start of `whole` at a few lengths, and a few other ways to be wrong.
fn wrong(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = [2, 7, whole.len() / 3, whole.len() / 2, whole.len() - 1]
        .into_iter()
        .map(|length| (format!("cut to {length} bytes"), whole[..length].to_vec()))
        .collect();
    cases.push(("all ones".into(), vec![0xff; 4_096]));
    let mut length = whole.to_vec();
    length[..8].fill(0xff);
    cases.push(("huge length".into(), length));
    cases
}

fn fails_well(done: &Done, what: &str, codes: &[i32]) {
    let code = done.code();
    assert!(code.is_some_and(|code| codes.contains(&code)), "{what}: {code:?}\n{}{}", done.out(), done.err());
    assert!(!done.err().contains("fault of ringfence itself"), "{what}: {}", done.err());
}

#[test]
fn models() {
    let home = Home::with_vault();
    let onnx = fs::read(examples().join("digits/base.onnx")).unwrap();
    home.write("test.csv", fs::read(examples().join("digits/test.csv")).unwrap());
    home.run(&["ls"]).exits(0);
    let described = r#"{"schema":"ringfence.architecture/1","input":{"shape":[1,8,8]},"layers":[{"layer":"flatten"},{"layer":"linear","weights":"w"}]}"#;
    home.write("model.architecture.json", described);
    for (format, whole) in [("onnx", &onnx), ("safetensors", &safetensors())] {
        let file = format!("model.{format}");
        for (what, bytes) in wrong(whole) {
            home.write(&file, &bytes);
            let before = contents(&home.work());
            let what = format!("{format} {what}");
            let scanned = home.run(&["scan", &file, "--format", "json"]);
            fails_well(&scanned, &what, &[1, 3]);
            assert_ne!(scanned.json()["verdict"], "clean", "{what}");
            let attacked = home.run(&["attack", &file, "--data", "test.csv", "--label", "label", "--shape", "1,8,8"]);
            fails_well(&attacked, &what, &[3]);
            assert!(attacked.err().contains(&file) && attacked.err().contains("hint: "), "{what}: {}", attacked.err());
            assert!(before == contents(&home.work()), "{what}: a file changed");
        }
    }
    // At a gate: held, never let in.
    home.write("model.onnx", &onnx[..onnx.len() / 2]);
    home.run(&["add", "model.onnx", "--as", "model/cut"]).exits(1);
    assert_eq!(home.list()["artifacts"][0]["state"], "quarantined");
    home.run(&["verify", "--all"]).exits(0);
}

#[test]
fn datasets() {
    let home = Home::new();
    let table = small_table(60);
    let cases: [(&str, Vec<u8>, &[i32]); 6] = [
        ("empty.csv", Vec::new(), &[2, 3]),
        ("binary.csv", (0..=255).cycle().take(5_000).collect(), &[1, 3]),
        ("cut.csv.gz", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3], &[3]),
        ("cut.jsonl", b"{\"a\": 1, \"label\": 0}\n{\"a\": ".to_vec(), &[1, 3]),
        ("cut.idx", vec![0, 0, 8, 3, 0, 0, 1, 0, 0, 0, 0, 8, 0, 0, 0, 8, 1, 2], &[3]),
        ("huge.idx", vec![0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], &[3]),
    ];
    for (name, bytes, codes) in cases {
        home.write(name, bytes);
        let before = contents(&home.work());
        let done = home.run(&["screen", name, "--write", "clean.out"]);
        fails_well(&done, name, codes);
        let said = done.out() + &done.err();
        assert!(said.contains(name) || !done.out().is_empty(), "{name}: {said}");
        if done.code() == Some(3) {
            assert!(before == contents(&home.work()), "{name}: {said}");
        }
        let _ = fs::remove_file(home.work().join("clean.out"));
    }
    home.write("table.csv", table);
    let done = home.run(&["screen", "table.csv", "--label", "nothing"]);
    fails_well(&done, "label", &[2, 3]);
    assert!(done.err().contains("nothing"), "{}", done.err());
}

#[test]
fn links_and_devices_are_not_followed_into_a_vault() {
    let home = Home::with_vault();
    home.write("folder/a.csv", small_table(40));
    symlink("/etc/passwd", home.work().join("folder/b.csv")).unwrap();
    let before = home.list();
    let done = home.run(&["add", "folder", "--as", "dataset/linked"]).exits(3);
    assert!(done.err().contains("b.csv"), "{}", done.err());
    home.run(&["add", "/dev/null", "--as", "dataset/device"]).exits(3);
    nix::unistd::mkfifo(&home.work().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    home.run(&["add", "pipe", "--as", "dataset/pipe"]).exits(3);
    home.run(&["scan", "pipe"]).exits(3);
    assert_eq!(home.list(), before);
}

#[test]
fn a_scan_looks_at_whatever_lies_in_a_folder() {
    let home = Home::new();
    let folder = home.work().join("folder");
    for name in ["a.json", "two\nlines\u{1b}[31m.json", "colon:back\\slash.json"] {
        home.write(&format!("folder/{name}"), "{}");
    }
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"not-\xff-utf8.json")), "{}").unwrap();
    home.write("elsewhere/blob", "cos\nsystem\n(S'true'\ntR.");
    symlink("../elsewhere/blob", folder.join("linked.pkl")).unwrap();
    symlink(".", folder.join("loop")).unwrap();
    let all = home.run(&["scan", "folder", "--format", "json"]).exits(1).json();
    let files = all["files"].as_array().unwrap();
    assert_eq!(files.len(), 5, "{all}");
    let flagged: Vec<_> = files.iter().filter(|file| file["verdict"] != "clean").collect();
    assert!(matches!(&flagged[..], [one] if one["verdict"] == "malicious" && one["path"] == "folder/linked.pkl"));
    assert!(!home.run(&["scan", "folder"]).out().contains('\u{1b}'));
    // What cannot be looked into is named, and everything else is looked at all the same.
    symlink("nowhere", folder.join("dangling")).unwrap();
    symlink("../elsewhere", folder.join("outside")).unwrap();
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let all = home.run(&["scan", "folder", "--format", "json"]).exits(1).json();
    let files = all["files"].as_array().unwrap();
    let unread: Vec<_> =
        files.iter().filter(|file| file["verdict"] == "incomplete").map(|file| &file["path"]).collect();
    assert_eq!(unread, ["folder/dangling", "folder/outside", "folder/pipe"]);
    assert_eq!(files.len(), 8);
}

/// Every small file of a vault, damaged: an exit code that says so, the file's name, and nothing written.
#[test]
fn vault_files() {
    let home = Home::with_vault();
    home.write("train.csv", small_table(60));
    home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
    let whole: Vec<(PathBuf, Vec<u8>)> = ["vault.json", "root.json", "catalog.sqlite"]
        .into_iter()
        .map(|name| home.vault().join(name))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    for (path, bytes) in &whole {
        let name = path.file_name().unwrap().to_str().unwrap();
        let half = bytes.len() / 2;
        let mut flipped = bytes.clone();
        flipped[half.min(60)] ^= 0x40;
        for (what, damaged) in
            [("empty", Vec::new()), ("cut", bytes[..half].to_vec()), ("flipped", flipped), ("noise", vec![0xa5; 8_192])]
        {
            fs::write(path, &damaged).unwrap();
            for args in [&["ls"][..], &["trail", "verify"], &["verify", "--all"]] {
                let done = home.run(args);
                let what = format!("{name} {what}: {args:?}");
                if name == "root.json" && args[0] == "trail" {
                    // The trail is verified under the root that is pinned outside the vault.
                    done.exits(0);
                    continue;
                }
                fails_well(&done, &what, &[3, 5]);
                assert!(done.err().starts_with("error: ") && done.err().contains("hint: "), "{what}: {}", done.err());
                if name != "catalog.sqlite" {
                    assert_eq!(done.code(), Some(5), "{what}: {}", done.err());
                    assert!(done.err().contains(name), "{what}: {}", done.err());
                }
            }
            assert!(fs::read(path).unwrap() == damaged, "{name} {what}: it was written to");
        }
        fs::write(path, bytes).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
    home.run(&["verify", "--all"]).exits(0);
    home.run(&["trail", "verify"]).exits(0);
}

#[test]
fn stored_bytes() {
    let home = Home::with_vault();
    home.write("train.csv", small_table(60));
    home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
    // What waited in quarantine is of no use any more, and goes with the next starts.
    let stored = contents(&home.vault().join("store/admitted"));
    assert!(!stored.is_empty());
    for (path, bytes) in stored.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        fs::write(&path, damaged).unwrap();
        let done = home.run(&["verify", "--all"]).exits(5);
        assert!(done.err().contains("hint: "), "{}", done.err());
        fs::remove_file(&path).unwrap();
        // An index only repeats what the packs say; without it they are read instead.
        home.run(&["verify", "--all"]).exits(if path.parent().unwrap().ends_with("index") { 0 } else { 5 });
        // Whoever brings the file back has everything back: no start in between threw away what it needs.
        fs::write(&path, bytes).unwrap();
        home.run(&["verify", "--all"]).exits(0);
    }
    home.run(&["get", "dataset/small", "copy"]).exits(0);
}

/// A vault on a disk that runs full: everything committed stays, and the error says what to do.
#[test]
fn a_full_disk_loses_nothing() {
    let home = Home::new();
    home.write("small.csv", small_table(60));
    let noise: Vec<u8> = (0_u64..6 << 20).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    home.write("large.bin", noise);
    let script = "mount -t tmpfs -o size=4m none \"$XDG_DATA_HOME\" || exit 99
        R=\"$1\"
        \"$R\" init && \"$R\" add small.csv --as dataset/small --label label || exit 98
        \"$R\" add large.bin --as code/large; echo full $?
        \"$R\" ls --format json >listed && \"$R\" trail verify >verified && \"$R\" verify --all >>verified; echo after $?";
    let mut command = std::process::Command::new("unshare");
    let with = home.command::<&str>(&[]);
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_ringfence")]);
    command.env_clear().envs(with.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.work());
    match command.output() {
        Ok(output) if output.status.code() != Some(99) && !output.stderr.starts_with(b"unshare:") => {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(out.contains("full 3\nafter 0\n"), "{out}{err}");
            assert!(err.contains("hint: free some space"), "{err}");
            let listed = fs::read_to_string(home.work().join("listed")).unwrap();
            assert!(listed.contains("dataset/small@1") && !listed.contains("code/large"), "{listed}");
        }
        _ => println!("skipped: no user namespace in which a small disk can be made"),
    }
}

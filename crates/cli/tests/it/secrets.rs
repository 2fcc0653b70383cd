//! Passphrases: where they come from, and what a wrong one learns.

use std::{fs, process::Command};

use crate::{
    browser::Serving,
    home::{Done, Home, contents, small_table, vault_contents},
};

const RIGHT: &str = "correct horse battery staple\n";

fn with_passphrase(home: &Home, args: &[&str], file: &str) -> Done {
    let mut command: Command = home.command(args);
    command.env("RINGFENCE_PASSPHRASE_FILE", home.work().join(file));
    home.done(command)
}

#[test]
fn a_wrong_passphrase_reveals_nothing_and_changes_nothing() {
    let home = Home::new();
    home.write("right", RIGHT);
    home.write("wrong", "incorrect horse battery staple\n");
    home.write("empty", "");
    home.write("long", vec![b'x'; 4_096]);
    home.write("train.csv", small_table(60));
    with_passphrase(&home, &["init"], "right").exits(0);
    let add = ["add", "train.csv", "--as", "dataset/confidential-name", "--label", "label"];
    with_passphrase(&home, &add, "right").exits(0);
    let before = vault_contents(&home.vault());
    for args in [&["ls"][..], &["show", "dataset/confidential-name"], &["trail", "ls"], &["show", "root"], &[]] {
        let done = with_passphrase(&home, args, "wrong").exits(4);
        assert!(done.out().is_empty(), "{}", done.out());
        if !args.contains(&"dataset/confidential-name") {
            insta::assert_snapshot!("wrong-passphrase", done.shown());
        }
        assert!(!done.err().contains("confidential"), "{}", done.err());
    }
    with_passphrase(&home, &["ls"], "empty").exits(3);
    with_passphrase(&home, &["ls"], "long").exits(3);
    with_passphrase(&home, &["ls"], "missing").exits(3);
    // Without a terminal and without a source there is nobody to ask.
    insta::assert_snapshot!("no-passphrase", home.run(&["ls"]).exits(3).shown());
    assert!(before == vault_contents(&home.vault()), "a failed attempt changed the vault");
    let listed = with_passphrase(&home, &["ls", "--format", "json"], "right").exits(0).json();
    assert_eq!(listed["artifacts"][0]["artifact"], "dataset/confidential-name@1");
}

#[test]
fn a_command_can_give_the_passphrase() {
    let home = Home::new();
    let with = |args: &[&str], give: &str| {
        let mut command = home.command(args);
        command.env("RINGFENCE_PASSPHRASE_COMMAND", give);
        home.done(command)
    };
    with(&["init", "--format", "json"], "echo secret words").exits(0);
    with(&["ls"], "printf 'secret words'").exits(0);
    with(&["ls"], "echo other words").exits(4);
    let failed = with(&["ls"], "exit 7").exits(3);
    assert!(failed.err().contains("passphrase command"), "{}", failed.err());
}

#[test]
fn names_and_content_are_sealed() {
    let home = Home::with_vault();
    let marker = "zebra-unlikely-marker";
    home.write("train.csv", small_table(60).replace("a,b,c,d", &format!("{marker},b,c,d")));
    home.run(&["add", "train.csv", "--as", "dataset/zebra-unlikely-marker", "--label", "label"]).exits(0);
    for folder in [home.vault(), home.config()] {
        for (path, bytes) in contents(&folder) {
            let found = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
            assert!(!found, "the marker is in clear in {}", path.display());
        }
    }
}

/// The key file's own key is wiped once the vault is open; what is made of it, and tokens, stay in memory. Debuggers honour what a
/// process says of its own dumps; by the kernel's default all of it would be in one.
#[test]
fn a_forced_core_dump_holds_no_secret() {
    if Command::new("gcore").arg("--version").output().is_err() || !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: a core dump of a process that allows none takes `gcore` (of gdb) and root");
        return;
    }
    let home = Home::with_vault();
    let files = contents(&home.config());
    let text = files.iter().find(|(path, _)| path.extension().is_some_and(|extension| extension == "key")).unwrap().1;
    let text = String::from_utf8(text.clone()).unwrap();
    let key = hex(text.lines().find_map(|line| line.strip_prefix("key ")).unwrap());
    assert_eq!(key.len(), 32);
    let serving = Serving::start(&home, true);
    let setup = serving.setup.clone().unwrap();
    let id = serving.child.id();
    let dump = |name: &str| {
        let base = home.work().join(name);
        let done = Command::new("gcore").arg("-o").arg(&base).arg(id.to_string()).output().unwrap();
        let core = fs::read(format!("{}.{id}", base.display()));
        core.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)))
    };
    let holds = |core: &[u8], secret: &[u8]| core.windows(secret.len()).any(|window| window == secret);
    let forced = dump("forced");
    assert!(forced.starts_with(b"\x7fELF"));
    assert!(!holds(&forced, setup.as_bytes()) && !holds(&forced, &key), "a secret is in a core dump");
    // That memory would be found: the same without what the server says of its dumps.
    let environment = format!("HOME={}", home.root().display());
    assert!(!holds(&forced, environment.as_bytes()));
    fs::write(format!("/proc/{id}/coredump_filter"), "0x33").unwrap();
    let open = dump("open");
    assert!(holds(&open, environment.as_bytes()), "this test does not look for what is there");
    assert!(!holds(&open, &key), "the key of the key file is still in memory");
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

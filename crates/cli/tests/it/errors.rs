//! Every kind of mistake gets an error, a hint and its exit code, and nothing is made on the way.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::home::{Home, contents, vault_contents};

/// Runs `args` in an empty home and compares everything that is said.
fn case(name: &str, prepare: impl FnOnce(&Home), args: &[&str], code: i32) {
    let home = Home::new();
    prepare(&home);
    let before = contents(home.root());
    let done = home.run(args).exits(code);
    insta::assert_snapshot!(format!("error-{name}"), done.shown());
    let after = contents(home.root());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{name} left files behind");
    assert!(before == after, "{name} changed a file");
}

#[test]
fn usage() {
    case("unknown-command", |_| {}, &["scna", "x"], 2);
    case("unknown-flag", |_| {}, &["scan", "--fail-no", "high", "x"], 2);
    case("attack-without-data", |_| {}, &["attack", "net.onnx"], 2);
    case("json", |_| {}, &["scan", "--format", "json"], 2);
    case("name", |_| {}, &["add", "x.csv", "--as", "digits"], 2);
    case("reference", |_| {}, &["get", "dataset/digits@03", "out"], 2);
    case("rule", |_| {}, &["show", "RF-PKL-999"], 2);
    case("sarif", |_| {}, &["ls", "--format", "sarif"], 2);
}

#[test]
fn files_that_are_not_there() {
    case("scan-missing", |_| {}, &["scan", "no/such/model.pt"], 3);
    case("screen-missing", |_| {}, &["screen", "no/such.csv"], 3);
    case("plan-missing", |_| {}, &["run", "no/such.toml"], 3);
    case("bundle-missing", |_| {}, &["verify", "no/such", "--root", "x"], 3);
    case("bundle-empty", |home| fs::create_dir(home.work().join("b")).unwrap(), &["verify", "b", "--root", "x"], 3);
}

#[test]
fn vaults_that_are_not_there() {
    for (name, args) in [
        ("ls", &["ls"][..]),
        ("add", &["add", "x", "--as", "dataset/x"]),
        ("trail-verify", &["trail", "verify"]),
        ("show-root", &["show", "root"]),
        ("json", &["ls", "--format", "json"]),
    ] {
        // Looking for pins makes their folder; nothing else may appear.
        let home = Home::new();
        let done = home.run(args).exits(3);
        insta::assert_snapshot!(format!("error-no-vault-{name}"), done.shown());
        assert!(!home.vault().exists());
    }
}

#[test]
fn plans() {
    let plans: [(&str, &[u8]); 8] = [
        ("grammar", b"[run\nname = 1"),
        ("unknown-key", b"[run]\nname = \"x\"\ntrainer = \"harden\"\nwal = \"1 min\"\n"),
        ("nothing-to-run", b"[run]\nname = \"x\"\n"),
        ("unit", b"[run]\nname = \"x\"\ncommand = [\"true\"]\n[run.limits]\nmemory = \"2 gigs\"\n"),
        ("name", b"[run]\nname = \"../x\"\ncommand = [\"true\"]\n"),
        ("test-without-data", b"[run]\nname = \"x\"\ncommand = [\"true\"]\n[test]\neps = [0.1]\n"),
        ("not-text", b"\xff\xfe\x00\x01"),
        ("empty", b""),
    ];
    for (name, text) in plans {
        case(&format!("plan-{name}"), |home| drop(home.write("plan.toml", text)), &["run", "plan.toml"], 2);
    }
    case("plan-huge", |home| drop(home.write("plan.toml", vec![b'#'; 2 << 20])), &["run", "plan.toml"], 2);
    case("plan-folder", |home| fs::create_dir(home.work().join("plan.toml")).unwrap(), &["run", "plan.toml"], 2);
}

#[test]
fn a_plan_may_only_forbid() {
    let home = Home::with_vault();
    home.write("t.csv", crate::home::small_table(40));
    home.write(
        "plan.toml",
        "[run]\nname = \"x\"\ncommand = [\"true\"]\n[data.train]\npath = \"t.csv\"\nlabel = \"label\"\n\
         [policy]\nforbid = [\"permit(principal, action, resource);\"]\n",
    );
    let before = home.list();
    let done = home.run(&["run", "plan.toml"]).exits(2);
    assert!(done.err().contains("policy.forbid"), "{}", done.err());
    assert_eq!(home.list(), before);
}

#[test]
fn init_twice() {
    let home = Home::with_vault();
    let before = vault_contents(&home.vault());
    insta::assert_snapshot!("error-init-twice", home.run(&["init"]).exits(2).shown());
    assert!(before == vault_contents(&home.vault()));
}

#[test]
fn a_key_file_that_is_missing_or_open_to_others() {
    let home = Home::with_vault();
    let key =
        contents(&home.config()).into_keys().find(|path| path.extension().is_some_and(|end| end == "key")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!("error-key-file-mode", home.run(&["ls"]).exits(4).shown());
    fs::remove_file(&key).unwrap();
    insta::assert_snapshot!("error-key-file-missing", home.run(&["ls"]).exits(3).shown());
}

#[test]
fn no_home_is_needed_for_plain_files() {
    let home = Home::new();
    let model = home.write("notes.txt", "a text\n");
    let mut command = home.command(&["scan", "--format", "json"]);
    command.arg(model).env_remove("HOME").env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
    assert_eq!(home.done(command).exits(0).json()["verdict"], "clean");
    let mut command = home.command(&["ls"]);
    command.env_remove("HOME").env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
    let done = home.done(command).exits(2);
    assert!(done.err().contains("`HOME`"), "{}", done.err());
}

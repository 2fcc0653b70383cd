//! The main job on a host that forbids user namespaces, as an ordinary user: level `landlock`.

use std::{fs, path::Path, process::Command};

use crate::home::Home;

/// `unshare` makes a user namespace in which no further one may be made, and runs what follows there as uid 1001.
const FORBID: [&str; 7] = [
    "--user",
    "--map-user=1001",
    "--map-group=1001",
    "--keep-caps",
    "sh",
    "-c",
    "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"",
];

#[test]
fn a_plan_is_carried_out_at_level_landlock_and_the_record_says_so() {
    if !Command::new("unshare").args(FORBID).arg("true").status().is_ok_and(|status| status.success()) {
        println!("SKIPPED: this host does not let `unshare` make such a namespace");
        return;
    }
    let home = Home::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits");
    for name in ["train.csv", "test.csv", "base.onnx"] {
        fs::copy(source.join(name), home.work().join(name)).unwrap();
    }
    let plan = fs::read_to_string(source.join("ringfence.toml")).unwrap();
    let short = plan.split("[test]").next().unwrap().replace("epochs = ", "epochs = 1 # ");
    home.write("plan.toml", short);
    let command = home.command(&["run", "plan.toml"]);
    let mut wrapped = Command::new("unshare");
    wrapped.args(FORBID).arg(command.get_program()).args(command.get_args()).current_dir(home.work()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = home.done(wrapped).exits(0);
    assert!(done.err().contains("level landlock"), "{}", done.err());
    let shown = home.run(&["show", "checkpoint/digits-robust@1", "--format", "json"]).exits(0);
    assert!(shown.out().contains("\"level\": \"landlock\""), "{}", shown.out());
}

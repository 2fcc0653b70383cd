//! Help, version and completions.

use crate::home::Home;

#[test]
fn help_of_every_command() {
    let home = Home::new();
    let commands: [&[&str]; 68] = [
        &[],
        &["init"],
        &["add"],
        &["get"],
        &["ls"],
        &["show"],
        &["verify"],
        &["rollback"],
        &["retire"],
        &["scan"],
        &["screen"],
        &["review"],
        &["review", "ls"],
        &["review", "resume"],
        &["review", "approve"],
        &["review", "refuse"],
        &["request"],
        &["request", "show"],
        &["request", "make"],
        &["request", "approve"],
        &["request", "carry-out"],
        &["request", "proof"],
        &["key"],
        &["key", "add"],
        &["glass"],
        &["glass", "break"],
        &["run"],
        &["attack"],
        &["attack", "text"],
        &["attack", "theft"],
        &["attack", "backdoor"],
        &["attack", "privacy"],
        &["attack", "page"],
        &["harden"],
        &["watermark"],
        &["watermark", "embed"],
        &["watermark", "record"],
        &["watermark", "verify"],
        &["release"],
        &["user"],
        &["user", "ls"],
        &["user", "can"],
        &["user", "add"],
        &["user", "roles"],
        &["user", "disable"],
        &["user", "enable"],
        &["user", "reset"],
        &["login"],
        &["logout"],
        &["token"],
        &["token", "make"],
        &["token", "ls"],
        &["token", "revoke"],
        &["trail"],
        &["trail", "ls"],
        &["trail", "show"],
        &["trail", "checkpoint"],
        &["trail", "verify"],
        &["trail", "mirror"],
        &["trail", "witness"],
        &["trail", "export"],
        &["witness"],
        &["witness", "init"],
        &["witness", "add-log"],
        &["witness", "ls"],
        &["witness", "serve"],
        &["serve"],
        &["doctor"],
    ];
    for command in commands {
        let asked: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let done = home.run(&asked).exits(0);
        assert!(done.err().is_empty());
        insta::assert_snapshot!(format!("help {}", command.join(" ")).trim_end().replace(' ', "-"), done.out());
    }
}

#[test]
fn alone_without_a_vault_is_help() {
    let done = Home::new().run::<&str>(&[]).exits(0);
    assert!(done.out().contains("Examples:"), "{}", done.out());
    assert!(done.out().contains("Exit codes:"), "{}", done.out());
}

#[test]
fn completions() {
    let home = Home::new();
    insta::assert_snapshot!("completions-fish", home.run(&["completions", "fish"]).exits(0).out());
    for shell in ["bash", "zsh"] {
        let script = home.run(&["completions", shell]).exits(0).out();
        assert!(script.contains("rollback") && !script.contains("__worker"), "{shell}");
    }
}

#[test]
fn completions_suit_the_shells_that_are_here() {
    let home = Home::new();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = home.run(&["completions", shell]).exits(0);
        let file = home.write(&format!("completions.{shell}"), script.raw());
        match std::process::Command::new(shell).arg(check).arg(file).status() {
            Ok(status) => assert!(status.success(), "{shell} cannot read its completions"),
            Err(_) => println!("skipped: there is no {shell} here"),
        }
    }
}

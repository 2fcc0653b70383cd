//! What a careless collector would follow. Whether it did is judged outside, by what was collected.

use std::{
    fs, io,
    os::unix::{
        fs::{OpenOptionsExt, symlink},
        process::CommandExt,
    },
    process::Command,
};

use super::{Attempt, Outcome, output};

pub(crate) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("plant-link", "leave a link to a secret", |targets| {
        planted(symlink(&targets.secret, output().join("link")))
    }),
    Attempt::new("plant-folder-link", "leave a link to a folder", |_| {
        planted(symlink("/etc", output().join("folder")))
    }),
    Attempt::new("plant-hard-link", "leave a second name of a secret", |targets| {
        planted(fs::hard_link(&targets.secret, output().join("hard")))
    }),
    Attempt::new("plant-fifo", "leave a pipe that blocks whoever opens it", |_| {
        planted(nix::unistd::mkfifo(&output().join("fifo"), nix::sys::stat::Mode::S_IRWXU).map_err(Into::into))
    }),
    Attempt::new("plant-escape-sequence", "leave a name that commands a terminal", |_| {
        planted(fs::write(output().join("bad\u{1b}[2J"), b"x"))
    }),
    Attempt::new("plant-drive", "leave a name like a drive", |_| planted(fs::write(output().join("c:evil"), b"x"))),
    Attempt::new("plant-two-names", "leave a file with two names", |_| {
        planted(
            fs::write(output().join("one"), b"x")
                .and_then(|()| fs::hard_link(output().join("one"), output().join("two"))),
        )
    }),
    Attempt::new("plant-unreadable", "leave a file that nobody may read", |_| {
        let sealed =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o000).open(output().join("sealed"));
        planted(sealed.map(drop))
    }),
    Attempt::new("plant-sparse", "leave a file of a tebibyte without content", |_| {
        planted(fs::File::create(output().join("sparse")).and_then(|file| file.set_len(1 << 40)))
    }),
    Attempt::new("plant-good", "leave a good file", |_| planted(fs::write(output().join("good"), b"good"))),
    Attempt::new("plant-writer", "leave a process that goes on writing", |_| {
        // It must be dead before anything is collected.
        let stays = Command::new("/bin/sh")
            .args(["-c", "exec >/dev/null; while :; do echo late > \"$RINGFENCE_OUT/good\"; done"])
            .process_group(0)
            .spawn();
        planted(stays.map(drop))
    }),
];

fn planted(result: io::Result<()>) -> Outcome {
    Err(result.map_or_else(|error| error.to_string(), |()| "planted".to_owned()))
}

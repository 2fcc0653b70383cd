//! What somebody edits in the catalog's file behind our back, `trail verify` finds and names.

use std::{fs, path::PathBuf};

use rusqlite::{Connection, params};

use crate::home::{Home, contents, copy_folder, small_table, vault_contents};

/// A vault with some history, and copies of it to tamper with.
struct Bench {
    home: Home,
    entries: i64,
}

impl Bench {
    fn new() -> Self {
        let home = Home::with_vault();
        for count in [40, 44] {
            home.write("train.csv", small_table(count));
            home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
        }
        let connection = Connection::open(home.vault().join("catalog.sqlite")).unwrap();
        let entries = connection.query_row("SELECT count(*) FROM trail", [], |row| row.get(0)).unwrap();
        Self { home, entries }
    }

    /// A copy of the vault in which `tamper` was carried out.
    fn copy(&self, tamper: impl FnOnce(&Connection)) -> PathBuf {
        let copy = self.home.root().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&self.home.vault(), &copy);
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
            fs::set_permissions(copy.join("catalog.sqlite"), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let connection = Connection::open(copy.join("catalog.sqlite")).unwrap();
        connection
            .execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON")
            .unwrap();
        tamper(&connection);
        copy
    }

    /// Demands exit code 5, one of `names` in the error, and that looking changed nothing.
    fn names(&self, what: &str, names: &[String], tamper: impl FnOnce(&Connection)) {
        let copy = self.copy(tamper);
        let before = vault_contents(&copy);
        let vault = copy.to_str().unwrap();
        let done = self.home.run(&["--vault", vault, "trail", "verify"]).exits(5);
        let all = done.out() + &done.err();
        assert!(names.iter().any(|name| all.contains(name)), "{what}: none of {names:?} in\n{all}");
        assert!(
            done.err().contains("error: `trail` was tampered with") && done.err().contains("hint: "),
            "{what}: {}",
            done.err()
        );
        assert!(before == vault_contents(&copy), "{what}: looking changed the vault");
        let report = self.home.run(&["--vault", vault, "trail", "verify", "--format", "json"]).exits(5).json();
        assert_eq!(report["verdict"], "tampered", "{what}");
    }

    /// The words that name entry `index`, or a range between two checkpoints in which it lies.
    fn entry(&self, index: i64) -> Vec<String> {
        let mut names =
            vec![format!("entry {index}:"), format!("entry {index} "), format!("details of entry {index} ")];
        for first in 0..=index {
            names.extend((index..self.entries).map(|last| format!("entry from {first} to {last} ")));
            names.extend((index..self.entries).map(|last| format!("entries {first} to {last} ")));
        }
        names
    }
}

#[test]
fn edited_rows_are_named() {
    let bench = Bench::new();
    let last = bench.entries - 1;
    bench.home.run(&["trail", "verify"]).exits(0);
    for index in [0, 1, bench.entries / 2, last] {
        bench.names("leaf edited", &bench.entry(index), |connection| {
            let leaf: Vec<u8> =
                connection.query_row("SELECT leaf FROM trail WHERE idx = ?1", [index], |row| row.get(0)).unwrap();
            let mut edited = leaf.clone();
            // The last byte is of the state's digest: still a well-formed entry.
            *edited.last_mut().unwrap() ^= 1;
            connection.execute("UPDATE trail SET leaf = ?2 WHERE idx = ?1", params![index, edited]).unwrap();
        });
    }
    bench.names("details edited", &bench.entry(2), |connection| {
        connection.execute("UPDATE trail SET openings = zeroblob(length(openings)) WHERE idx = 2", []).unwrap();
    });
    bench.names("entries swapped", &bench.entry(3), |connection| {
        let swap = "UPDATE trail SET idx = -1 WHERE idx = 3; UPDATE trail SET idx = 3 WHERE idx = 5;
                    UPDATE trail SET idx = 5 WHERE idx = -1";
        connection.execute_batch(swap).unwrap();
    });
    bench.names("entry deleted", &bench.entry(3), |connection| {
        connection.execute("DELETE FROM trail WHERE idx = 3", []).unwrap();
    });
    bench.names("row edited", &["row `".to_owned()], |connection| {
        connection.execute("UPDATE state SET value = zeroblob(length(value))", []).unwrap();
    });
    bench.names("row deleted", &["row `".to_owned()], |connection| {
        connection.execute("DELETE FROM state WHERE key = (SELECT min(key) FROM state)", []).unwrap();
    });
    bench.names("checkpoint deleted", &["the checkpoint over".to_owned()], |connection| {
        connection.execute("DELETE FROM checkpoint WHERE size = (SELECT min(size) FROM checkpoint)", []).unwrap();
    });
}

#[test]
fn a_cut_tail_shows_against_the_checkpoint_that_is_held() {
    let bench = Bench::new();
    let last = bench.entries - 1;
    bench.names("last entry cut", &bench.entry(last), |connection| {
        connection.execute("DELETE FROM trail WHERE idx = ?1", [last]).unwrap();
    });
    // An older copy of everything is consistent in itself; only what the user holds tells.
    let older = bench.copy(|_| {});
    let kept = bench.home.root().join("older");
    copy_folder(&older, &kept);
    bench.home.write("train.csv", small_table(48));
    bench.home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
    let (vault, entries) = (bench.home.vault(), bench.entries);
    fs::remove_dir_all(&vault).unwrap();
    copy_folder(&kept, &vault);
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(vault.join("catalog.sqlite"), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let done = bench.home.run(&["trail", "verify"]).exits(5);
    assert!(done.err().contains(&format!("entries {entries} to ")), "{}", done.err());
    // Nothing else is done with such a vault either.
    let before = contents(&vault);
    bench.home.run(&["ls"]).exits(5);
    bench.home.run(&["add", "train.csv", "--as", "dataset/small"]).exits(5);
    let catalog = vault.join("catalog.sqlite");
    assert!(before[&catalog] == contents(&vault)[&catalog]);
}

#[test]
fn a_checkpoint_held_elsewhere_decides_without_any_configuration() {
    let bench = Bench::new();
    let home = &bench.home;
    home.write("root", home.run(&["show", "root"]).exits(0).raw());
    home.write("held", home.run(&["trail", "checkpoint"]).exits(0).raw());
    let stranger = Home::new();
    let (vault, root, held) = (home.vault(), home.work().join("root"), home.work().join("held"));
    let args = |held: &std::path::Path| -> Vec<std::ffi::OsString> {
        let words = ["--vault".as_ref(), vault.as_os_str(), "trail".as_ref(), "verify".as_ref(), "--root".as_ref()];
        let rest = [root.as_os_str(), "--checkpoint".as_ref(), held.as_os_str()];
        words.into_iter().chain(rest).map(ToOwned::to_owned).collect()
    };
    stranger.run(&args(&held)).exits(0);
    let mut note = fs::read(&held).unwrap();
    let at = note.len() / 2;
    note[at] ^= 1;
    stranger.run(&args(&stranger.write("held", note))).exits(5);
}

//! Finding entries of the trail, and writing them for other tools.

use std::{collections::BTreeSet, env, fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;

use crate::home::{Home, small_table};

/// A vault in which something was allowed, denied and failed.
fn history() -> Home {
    let home = Home::with_vault();
    for (name, count) in [("a", 40), ("b", 44)] {
        home.write("train.csv", small_table(count));
        home.run(&["add", "train.csv", "--as", &format!("dataset/{name}"), "--label", "label"]).exits(0);
    }
    home.run(&["get", "dataset/a@1", "copy"]).exits(0);
    // A file is no folder: this fails after it was allowed.
    home.run(&["get", "dataset/b@1", "train.csv/copy"]).exits(3);
    home.write("bad.pkl", b"\x80\x04cposix\nsystem\nX\x02\x00\x00\x00id\x85R.");
    home.run(&["add", "bad.pkl", "--as", "model/bad"]).exits(1);
    home
}

fn entries(home: &Home, filter: &[&str]) -> Vec<Value> {
    let words = ["trail", "ls", "--format", "json", "--last", "10000"];
    let asked: Vec<&str> = words.into_iter().chain(filter.iter().copied()).collect();
    home.run(&asked).exits(0).json()["entries"].as_array().unwrap().clone()
}

fn indexes(entries: &[Value]) -> Vec<u64> {
    entries.iter().map(|entry| entry["index"].as_u64().unwrap()).collect()
}

#[test]
fn filters_are_exact_and_complete() {
    let home = history();
    let all = entries(&home, &[]);
    let size = all.len() as u64;
    assert_eq!(indexes(&all), (0..size).collect::<Vec<_>>());

    let by = |field: &str, value: &str| -> Vec<u64> {
        indexes(&all.iter().filter(|entry| entry[field] == value).cloned().collect::<Vec<_>>())
    };
    assert_eq!(indexes(&entries(&home, &["--what", "receive"])), by("action", "receive"));
    assert_eq!(indexes(&entries(&home, &["--who", "owner"])), by("actor", "owner"));
    assert!(entries(&home, &["--who", "nobody"]).is_empty());

    // Every entry has one decision.
    let decided: Vec<Vec<u64>> = ["allowed", "denied", "failed"]
        .iter()
        .map(|decision| indexes(&entries(&home, &["--decision", decision])))
        .collect();
    assert!(decided.iter().all(|found| !found.is_empty()), "{decided:?}");
    assert_eq!(decided.concat().into_iter().collect::<BTreeSet<_>>(), (0..size).collect());
    assert_eq!(decided.concat().len() as u64, size);
    assert_eq!(decided[1], by("kind", "denial"));

    // All that has to do with one artifact, also what failed, whose own entry does not name it.
    let about = |name: &str| indexes(&entries(&home, &["--artifact", name]));
    let (a, b) = (about("dataset/a"), about("dataset/b"));
    assert!(!a.is_empty() && about("dataset/a@1").iter().all(|index| a.contains(index)));
    assert!(a.iter().all(|index| !b.contains(index)));
    assert!(decided[2].iter().all(|index| b.contains(index)), "{b:?} {decided:?}");
    assert!(about("dataset/").is_empty() && about("dataset").is_empty());

    // Moments: each entry is on one side of any.
    let middle = &all[all.len() / 2];
    let shown: Vec<String> =
        home.run(&["trail", "ls", "--last", "10000"]).exits(0).out().lines().map(str::to_owned).collect();
    let time = shown[1 + all.len() / 2].split_whitespace().nth(1).unwrap().to_owned();
    let (before, after) =
        (indexes(&entries(&home, &["--until", &time])), indexes(&entries(&home, &["--since", &time])));
    assert_eq!([before.clone(), after.clone()].concat(), (0..size).collect::<Vec<_>>());
    assert!(after.contains(&middle["index"].as_u64().unwrap()));
    assert_eq!(entries(&home, &["--since", "1d"]).len() as u64, size);
    assert!(entries(&home, &["--until", "1d"]).is_empty());

    // The last ones of those that fit, oldest first.
    let some = home.run(&["trail", "ls", "--format", "json", "--last", "2", "--what", "receive"]).exits(0).json();
    let receive = by("action", "receive");
    assert_eq!(indexes(some["entries"].as_array().unwrap()), receive[receive.len() - 2..]);
    let none = home.run(&["trail", "ls", "--format", "json", "--last", "0"]).exits(0).json();
    assert_eq!(none["entries"].as_array().unwrap().len(), 0);
}

#[test]
fn what_cannot_be_is_said() {
    let home = Home::with_vault();
    for filter in [
        &["--what", "teleport"][..],
        &["--since", "yesterday"],
        &["--since", "1d", "--until", "2d"],
        &["--decision", "maybe"],
    ] {
        let asked: Vec<&str> = ["trail", "ls"].into_iter().chain(filter.iter().copied()).collect();
        let done = home.run(&asked).exits(2);
        assert!(done.out().is_empty() && !done.err().is_empty());
    }
    let done = home.run(&["trail", "ls", "--what", "teleport"]).exits(2);
    assert!(done.err().contains("known are init, receive,"), "{}", done.err());
    home.run(&["trail", "export"]).exits(2);
}

#[test]
fn every_exported_line_names_its_entry() {
    let home = history();
    let all = entries(&home, &[]);
    let export = |shape: &str, more: &[&str]| {
        let asked: Vec<&str> = ["trail", "export", "--as", shape].into_iter().chain(more.iter().copied()).collect();
        home.run(&asked).exits(0).out()
    };
    let jsonl = export("jsonl", &[]);
    let lines: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ocsf: Vec<Value> = export("ocsf", &[]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let csv = export("csv", &[]);
    let csv: Vec<&str> = csv.strip_suffix("\r\n").unwrap().split("\r\n").skip(1).collect();
    let syslog = export("syslog", &[]);
    let syslog: Vec<&str> = syslog.lines().collect();
    assert_eq!([lines.len(), ocsf.len(), csv.len(), syslog.len()], [all.len(); 4]);
    for (place, entry) in all.iter().enumerate() {
        let (index, leaf) = (&entry["index"], entry["leaf"].as_str().unwrap());
        for (name, value) in entry.as_object().unwrap() {
            assert_eq!(&lines[place][name], value);
        }
        assert_eq!((&ocsf[place]["unmapped"]["index"], &ocsf[place]["unmapped"]["leaf"]), (index, &entry["leaf"]));
        assert_eq!(ocsf[place]["class_uid"], 6003);
        assert!(csv[place].starts_with(&format!("{index},{leaf},")), "{}", csv[place]);
        assert!(syslog[place].contains(&format!(" index=\"{index}\" leaf=\"{leaf}\" ")), "{}", syslog[place]);
        assert!(
            ["<108>1 ", "<109>1 ", "<110>1 "].iter().any(|head| syslog[place].starts_with(head)),
            "{}",
            syslog[place]
        );
    }
    let failed: Vec<&&str> = csv.iter().filter(|line| line.contains(",failed,")).collect();
    assert!(failed.iter().any(|line| line.contains("dataset/b@1")), "{failed:?}");

    // Filters, and a file that is whole or not there.
    assert_eq!(
        export("jsonl", &["--decision", "denied"]).lines().count(),
        entries(&home, &["--decision", "denied"]).len()
    );
    assert_eq!(export("jsonl", &["--last", "3"]).lines().count(), 3);
    home.run(&["trail", "export", "--as", "jsonl", "--out", "trail.jsonl"]).exits(0);
    assert_eq!(fs::read_to_string(home.work().join("trail.jsonl")).unwrap(), jsonl);
    let mode = fs::metadata(home.work().join("trail.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds what the trail keeps sealed");
    home.run(&["trail", "export", "--as", "jsonl", "--out", "no/such/trail.jsonl"]).exits(3);
    let left: Vec<_> = fs::read_dir(home.work()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[test]
fn a_mirror_of_a_real_vault_holds_the_lines_of_its_export() {
    let home = history();
    home.write("lab.root", home.run(&["show", "root"]).exits(0).raw());
    home.write("held", home.run(&["trail", "checkpoint"]).exits(0).raw());
    home.run(&["trail", "mirror", "mirror"]).exits(0);
    let done =
        home.run(&["trail", "verify", "--mirror", "mirror", "--root", "lab.root", "--checkpoint", "held"]).exits(0);
    assert!(done.out().contains("verified"), "{}", done.out());
    let lines = home.run(&["trail", "export", "--as", "jsonl"]).exits(0).out();
    let bundle = fs::read(home.work().join(format!("mirror/tile/entries/000.p/{}", lines.lines().count()))).unwrap();
    let width = u16::try_from(lines.lines().count()).unwrap();
    let leaves = ringfence_trust::tiles::read_bundle(&bundle, width).unwrap();
    for (leaf, line) in leaves.iter().zip(lines.lines()) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["leaf"], ringfence_engine::schema::Digest::of(leaf).to_string());
    }
}

const PARQUET: &str = "
import sys, pyarrow.parquet as parquet
table = parquet.read_table(sys.argv[1])
for row in table.to_pylist():
    print(row['index'], row['leaf'], row['time'].isoformat(), row['action'])
";

#[test]
fn a_warehouse_reads_the_parquet_export() {
    let home = history();
    let file = home.work().join("trail.parquet");
    home.run(&["trail", "export", "--as", "parquet", "--out", file.to_str().unwrap()]).exits(0);
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    assert_eq!(home.run(&["trail", "export", "--as", "parquet"]).exits(0).raw(), bytes);
    let python = env::var_os("RINGFENCE_PYTHON").unwrap_or_else(|| "python3".into());
    if !Command::new(&python).args(["-c", "import pyarrow"]).output().is_ok_and(|done| done.status.success()) {
        assert!(env::var_os("RINGFENCE_STRICT").is_none(), "there is no pyarrow here");
        println!("SKIPPED: there is no Python with pyarrow here; RINGFENCE_PYTHON can name one");
        return;
    }
    let done = Command::new(python).args(["-c", PARQUET]).arg(&file).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let theirs = String::from_utf8(done.stdout).unwrap();
    let theirs: Vec<Vec<&str>> = theirs.lines().map(|line| line.split(' ').collect()).collect();
    let ours = entries(&home, &[]);
    assert_eq!(theirs.len(), ours.len());
    for (row, entry) in theirs.iter().zip(&ours) {
        assert_eq!(row[0], entry["index"].to_string());
        assert_eq!(row[1], entry["leaf"].as_str().unwrap());
        assert!(row[2].starts_with("20") && row[2].contains('T'), "{row:?}");
        assert_eq!(row[3], entry["entry"]["action"].as_str().or(entry["action"].as_str()).unwrap());
    }
}

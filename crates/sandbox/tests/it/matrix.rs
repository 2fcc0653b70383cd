//! Which mechanism stops which attempt by itself, measured by switching all others off.
//!
//! `tests/matrix.json` holds, per attempt, user and level, the mechanisms that stopped it alone: the attempt got through
//! without them and was held with them. The test measures again and fails where one of them stops no longer. The page
//! `docs/sandbox-matrix.md` is made from it and from the probe's own list. `RINGFENCE_MATRIX=write` renews both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    escape::{self, MECHANISMS},
    outside::Outside,
    stage::{Host, Setting, Stage, User, example, settings},
};

/// Per attempt, per `user/family`, the mechanisms that alone stop it; `kernel` where it is stopped without any.
type Matrix = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Mechanisms that are in force, and one more of which each may be what stops an attempt.
const SERIES: &[(&str, &[&str], &[&str])] = &[
    (
        "namespaces",
        &["user-namespace"],
        &[
            "own-root",
            "pid-namespace",
            "network-namespace",
            "ipc-namespace",
            "namespace-limits",
            "control-groups",
            "resource-limits",
            "watch",
            "capabilities",
            "landlock",
            "seccomp",
        ],
    ),
    (
        "namespaces",
        &["user-namespace", "own-root"],
        &["read-only-binds", "masked-proc", "namespace-limits", "capabilities", "landlock", "seccomp"],
    ),
    (
        "landlock",
        &[],
        &["user-namespace", "control-groups", "resource-limits", "watch", "no-new-privileges", "landlock", "seccomp"],
    ),
];

#[test]
fn each_mechanism_alone_stops_what_the_matrix_says() {
    let stage = Stage::new();
    let mut measured = Matrix::new();
    for setting in settings().into_iter().filter(|setting| setting.host == Host::Open) {
        match setting.level(&stage).as_deref() {
            Some("full" | "no-cgroup") => measure(setting, &stage, &mut measured),
            level => eprintln!("skipped, {setting:?} leads to {level:?}"),
        }
    }
    if measured.is_empty() {
        return;
    }
    if std::env::var_os("RINGFENCE_MATRIX").is_some() {
        fs::write(matrix_file(), serde_json::to_string_pretty(&measured).unwrap() + "\n").unwrap();
        fs::write(page_file(), page(&measured)).unwrap();
    }
    let users: BTreeSet<&String> = measured.values().flat_map(BTreeMap::keys).collect();
    let mut missing = Vec::new();
    for (attempt, cases) in matrix() {
        for (case, mechanisms) in cases.into_iter().filter(|(case, _)| users.contains(case)) {
            let found = measured.get(&attempt).and_then(|cases| cases.get(&case)).cloned().unwrap_or_default();
            // What the kernel refuses by itself depends on the host: its age, the caller's priority, what else runs there.
            for mechanism in mechanisms.difference(&found).filter(|mechanism| *mechanism != KERNEL) {
                if !found.contains(KERNEL) {
                    missing.push(format!("{mechanism} alone no longer stops {attempt} ({case})"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    let useful: BTreeSet<&str> = measured.values().flat_map(BTreeMap::values).flatten().map(String::as_str).collect();
    let idle: Vec<_> = MECHANISMS.iter().filter(|name| !useful.contains(*name)).collect();
    let root = users.iter().any(|case| case.starts_with("root"));
    assert!(idle.is_empty() || !root, "these stop nothing by themselves: {idle:?}");
}

#[test]
fn the_page_is_current() {
    let matrix = matrix();
    let names: BTreeSet<String> = rows().into_iter().map(|row| row.name).collect();
    let known: BTreeSet<String> = matrix.keys().cloned().collect();
    assert_eq!(names, known, "renew the matrix: RINGFENCE_MATRIX=write");
    assert_eq!(fs::read_to_string(page_file()).unwrap(), page(&matrix), "renew the page: RINGFENCE_MATRIX=write");
}

fn measure(setting: Setting, stage: &Stage, matrix: &mut Matrix) {
    let user = if setting.user == User::Root { "root" } else { "ordinary" };
    for (family, carriers, mechanisms) in SERIES {
        let without = attempt_all(setting, stage, carriers);
        let case = format!("{user}/{family}");
        for (attempt, held) in &without {
            let stops = matrix.entry(attempt.clone()).or_default().entry(case.clone()).or_default();
            if *held && carriers.len() < 2 {
                stops.insert(KERNEL.to_owned());
            } else if !held {
                stops.remove(KERNEL);
            }
        }
        for mechanism in *mechanisms {
            if *mechanism == "control-groups" && user == "ordinary" {
                continue;
            }
            let mut only = carriers.to_vec();
            only.push(mechanism);
            // The watch races with a bomb that ends by itself: it gets as many chances as a bomb would take.
            let rounds = if *mechanism == "watch" { WATCH_ROUNDS } else { 1 };
            for _ in 0..rounds {
                let with = attempt_all(setting, stage, &only);
                let stopped = with.iter().filter(|(attempt, held)| **held && without.get(*attempt) == Some(&false));
                for (attempt, _) in stopped {
                    let stops = matrix.entry(attempt.clone()).or_default().entry(case.clone()).or_default();
                    stops.insert((*mechanism).to_owned());
                }
            }
        }
    }
}

/// Times that the watch is tried by itself.
const WATCH_ROUNDS: u32 = 4;

fn attempt_all(setting: Setting, stage: &Stage, only: &[&str]) -> BTreeMap<String, bool> {
    let mut outside = Outside::new(setting, stage);
    let document = escape::run(setting, stage, &outside, Some(only));
    assert!(document["error"].is_null(), "{setting:?} with only {only:?}: {}", document["error"]);
    let held = escape::held(&document, &mut outside);
    assert!(held.len() > 100, "{setting:?} with only {only:?}: {} attempts, {}", held.len(), document["result"]);
    held
}

/// One attempt, as the probe lists it.
#[derive(Deserialize, Serialize)]
struct Row {
    name: String,
    area: String,
    tries: String,
    at: String,
}

fn rows() -> Vec<Row> {
    let output = Command::new(example("escape_probe")).arg("list").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn matrix() -> Matrix {
    serde_json::from_str(&fs::read_to_string(matrix_file()).unwrap_or_else(|_| "{}".to_owned())).unwrap()
}

fn page(matrix: &Matrix) -> String {
    let rows = rows();
    let mut page = String::from(HEAD);
    writeln!(page, "{} attempts.\n", rows.len()).unwrap();
    let mut area = "";
    for row in &rows {
        if row.area != area {
            area = &row.area;
            let title = area[..1].to_uppercase() + &area[1..];
            write!(page, "\n## {title}\n\n{COLUMNS}").unwrap();
        }
        write!(page, "| `{}` | {} |", row.name, row.tries).unwrap();
        for case in ["root/namespaces", "ordinary/namespaces", "root/landlock", "ordinary/landlock"] {
            let applies = row.at == "everywhere" || case.ends_with(&row.at);
            let stops = matrix.get(&row.name).and_then(|cases| cases.get(case)).filter(|_| applies);
            let cell = match stops {
                _ if row.area == "what is left in /out" && applies => "collector".to_owned(),
                None => "–".to_owned(),
                Some(stops) if stops.is_empty() => "several together".to_owned(),
                Some(stops) => stops.iter().cloned().collect::<Vec<_>>().join(", "),
            };
            write!(page, " {cell} |").unwrap();
        }
        page.push('\n');
    }
    page.push_str(TAIL);
    page
}

fn matrix_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/matrix.json")
}

fn page_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/sandbox-matrix.md")
}

/// Stops an attempt where nothing of ours is in force.
const KERNEL: &str = "kernel";
const HEAD: &str = "\
# What the sandbox holds

Every row is a small program in `crates/sandbox/examples/escape_probe` that tries to get out. With all mechanisms in force
each is held at every level, as root and as an ordinary user (`every_way_out_is_held`). A cell names each mechanism that
stops the attempt *by itself*: the attempt gets through while everything but what that mechanism is built on is switched
off, and is held once that one mechanism is switched on (`each_mechanism_alone_stops_what_the_matrix_says`). `kernel`: held
for any ordinary process, with nothing of the sandbox in force. `–`: does not apply.

Levels `full` and `no-cgroup` are the columns *namespaces*; what only a control group stops is not stopped by it at
`no-cgroup`, where `resource-limits` and `watch` stand in. Made by `RINGFENCE_MATRIX=write cargo test -p ringfence-sandbox
--test it matrix::`.

";
const COLUMNS: &str = "\
| attempt | tries to | root, namespaces | user, namespaces | root, landlock | user, landlock |
|---|---|---|---|---|---|
";
const TAIL: &str = "";

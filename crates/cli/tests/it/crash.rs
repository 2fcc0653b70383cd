//! `kill -9` at seeded moments in every stage of a short plan: nothing committed is lost, and nothing is left behind.
//!
//! `RINGFENCE_CRASH_RUNS` sets how often. Lines that begin with `crash:` tell what was done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::home::{Home, examples};

/// The stages of a run, and what is said when each is over; the last one ends with the run.
const STAGES: [(&str, &str); 7] = [
    ("make the vault", "made a solo vault"),
    ("admit the test data", "admitted"),
    ("admit the training data", "admitted"),
    ("admit the base model", "admitted"),
    ("train", "trained"),
    ("attack", "attacked"),
    ("release", "\u{0}"),
];
/// How long the children of a killed process may take to die.
const DEATH_MAX: Duration = Duration::from_secs(10);

/// A plan of a second or two; every dataset carries `marker`.
pub(crate) fn small_plan(home: &Home, marker: &str) {
    let digits = examples().join("digits");
    let rows = |file: &str, count: usize| -> String {
        let text = fs::read_to_string(digits.join(file)).unwrap();
        let lines: Vec<&str> = text.lines().take(count + 1).collect();
        // The first column's name: part of the data, and of no consequence.
        lines.join("\n").replacen("p0,", &format!("{marker},"), 1) + "\n"
    };
    home.write("plan/train.csv", rows("train.csv", 300));
    home.write("plan/test.csv", rows("test.csv", 100));
    home.write("plan/base.onnx", fs::read(digits.join("base.onnx")).unwrap());
    home.write(
        "plan/plan.toml",
        "[run]\nname = \"crash\"\ntrainer = \"harden\"\n\
         [run.harden]\nstart = \"fresh\"\neps = 0.1\nepochs = 3\nwatch-steps = 3\n\
         [data.train]\npath = \"train.csv\"\nlabel = \"label\"\nshape = [1, 8, 8]\nscale = 0.0625\n\
         [data.test]\npath = \"test.csv\"\nlabel = \"label\"\nshape = [1, 8, 8]\nscale = 0.0625\n\
         [model.base]\npath = \"base.onnx\"\n\
         [test]\neps = [0.1]\nsteps = 5\nrestarts = 1\nexamples = 60\n",
    );
}

/// A run whose talk is listened to.
struct Run {
    child: Child,
    talk: Receiver<String>,
    said: Vec<String>,
}

impl Run {
    fn start(home: &Home) -> Self {
        let mut command = home.command(&["run", "plan/plan.toml"]);
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, talk) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, talk, said: Vec::new() }
    }

    /// Waits until `mark` was said; `false`: the run ended before.
    fn until(&mut self, mark: &str) -> bool {
        loop {
            match self.talk.recv() {
                Ok(line) => {
                    let found = line.starts_with(mark);
                    self.said.push(line);
                    if found {
                        return true;
                    }
                }
                Err(_) => return false,
            }
        }
    }

    /// Listens for `time`, or until the run ends.
    fn listen(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            match self.talk.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// How long each stage takes when nobody disturbs it.
fn rehearse(marker: &str) -> Vec<Duration> {
    let home = Home::new();
    small_plan(&home, marker);
    let mut run = Run::start(&home);
    let mut last = Instant::now();
    let times = STAGES
        .iter()
        .map(|(stage, mark)| {
            let found = run.until(mark);
            assert!(found || *stage == "release", "stage `{stage}` did not end: {:?}", run.said);
            let took = last.elapsed();
            last = Instant::now();
            took
        })
        .collect();
    assert!(run.child.wait().unwrap().success(), "{:?}", run.said);
    times
}

/// The processes below a process, by id and start time, so that a reused id is not mistaken.
pub(crate) struct Watched {
    below: BTreeSet<(u32, u64)>,
}

impl Watched {
    pub(crate) fn of(root: u32) -> Self {
        let mut all: BTreeMap<u32, (u32, u64)> = BTreeMap::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                && let Some(facts) = facts(id)
            {
                all.insert(id, facts);
            }
        }
        let mut below = BTreeSet::new();
        let mut parents = vec![root];
        while let Some(parent) = parents.pop() {
            for (id, (their_parent, started)) in &all {
                if *their_parent == parent && below.insert((*id, *started)) {
                    parents.push(*id);
                }
            }
        }
        Self { below }
    }

    /// Fails unless all of them die soon. They are nobody's children by then, so that only looking tells.
    pub(crate) fn are_gone(&self) {
        let deadline = Instant::now() + DEATH_MAX;
        loop {
            let left: Vec<u32> = self
                .below
                .iter()
                .filter(|(id, started)| facts(*id).is_some_and(|(_, now)| now == *started))
                .map(|(id, _)| *id)
                .collect();
            if left.is_empty() {
                return;
            }
            let commands: Vec<String> =
                left.iter().map(|id| fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default()).collect();
            assert!(Instant::now() < deadline, "children outlived their parent: {commands:?}");
            thread::yield_now();
        }
    }
}

/// Parent and start time of a process that is alive.
fn facts(id: u32) -> Option<(u32, u64)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // proc(5): the name in parentheses may hold anything, so fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // A zombie has ended; whoever adopted it will collect it.
    (!matches!(fields.first(), Some(&"Z" | &"X"))).then_some(())?;
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Files outside the input and output folder in which the marker is in clear.
fn leaks(home: &Home, marker: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["home", "data", "config", "cache", "run", "tmp"].iter().map(|folder| home.root().join(folder)).collect();
    folders.push("/dev/shm".into());
    folders.extend(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from));
    for shared in ["/tmp", "/var/tmp"] {
        let ours = fs::read_dir(shared).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| {
            path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.contains("ringfence") && !name.starts_with("ringfence-cli-")
            })
        });
        folders.extend(ours);
    }
    let mut found = Vec::new();
    while let Some(at) = folders.pop() {
        // What other programs remove while we look is none of ours.
        for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && holds(&entry.path(), marker) => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

fn holds(path: &Path, marker: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.windows(marker.len()).any(|window| window == marker.as_bytes()))
}

/// Every version in the vault with the digest of its content.
fn committed(home: &Home) -> BTreeMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let listed = home.list();
    listed["artifacts"].as_array().unwrap().iter().map(|row| (text(&row["artifact"]), text(&row["tree"]))).collect()
}

/// What must hold after the next start.
fn check(home: &Home, before: &BTreeMap<String, String>, said: &[String], marker: &str) -> BTreeMap<String, String> {
    // First without any key, on what the killed process left.
    home.run(&["trail", "verify"]).exits(0);
    let after = committed(home);
    for (artifact, tree) in before {
        assert_eq!(after.get(artifact), Some(tree), "{artifact} was committed before");
    }
    for line in said {
        let mut words = line.split_whitespace();
        if let (Some("admitted" | "trained" | "attacked"), Some(artifact)) = (words.next(), words.next()) {
            assert!(after.contains_key(artifact), "`{line}` was said, but {artifact} is not there");
        }
    }
    let trail = home.run(&["trail", "ls", "--last", "100000", "--format", "json"]).exits(0).json();
    let entries = trail["entries"].as_array().unwrap();
    let closed: BTreeSet<u64> = entries.iter().filter_map(|entry| entry["of"].as_u64()).collect();
    for entry in entries.iter().filter(|entry| entry["kind"] == "intent") {
        assert!(closed.contains(&entry["index"].as_u64().unwrap()), "an intent was left open: {entry}");
    }
    home.run(&["trail", "verify"]).exits(0);
    home.run(&["verify", "--all"]).exits(0);
    assert_eq!(leaks(home, marker), Vec::<PathBuf>::new(), "plaintext was left behind");
    after
}

#[test]
fn killed_at_any_moment_nothing_committed_is_lost() {
    let runs: usize = std::env::var("RINGFENCE_CRASH_RUNS").map_or(20, |text| text.parse().unwrap());
    let seed: u64 = std::env::var("RINGFENCE_CRASH_SEED").map_or(1, |text| text.parse().unwrap());
    let marker = format!("plaintext-marker-{seed}-{}", std::process::id());
    let times = rehearse(&marker);
    let mut random = Seeded(seed);
    let mut counts = vec![(0_usize, 0_usize); STAGES.len()];
    let lasting = Home::with_vault();
    small_plan(&lasting, &marker);
    let mut known = committed(&lasting);
    for number in 0..runs {
        let stage = number % STAGES.len();
        // Where the vault is made there must be none; all other crashes befall one vault, one after the other.
        let fresh = (stage == 0).then(|| {
            let home = Home::new();
            small_plan(&home, &marker);
            home
        });
        let home = fresh.as_ref().unwrap_or(&lasting);
        let mut run = Run::start(home);
        let reached = STAGES[1..stage.max(1)].iter().all(|(_, mark)| run.until(mark));
        assert!(reached, "the run ended before stage `{}`: {:?}", STAGES[stage].0, run.said);
        run.listen(times[stage].mul_f64(random.share()));
        let watched = Watched::of(run.child.id());
        let id = i32::try_from(run.child.id()).unwrap();
        // Alone, so that its children must notice by themselves, or with all that is in its group.
        let alone = random.next().is_multiple_of(2);
        kill(Pid::from_raw(if alone { id } else { -id }), Signal::SIGKILL).unwrap();
        let ended = run.child.wait().unwrap().code().is_some();
        watched.are_gone();
        run.listen(DEATH_MAX);
        counts[stage].0 += 1;
        counts[stage].1 += usize::from(ended);
        if fresh.is_some() {
            let made = home.run(&["init"]);
            assert!(matches!(made.code(), Some(0 | 2)), "{}", made.err());
            check(home, &BTreeMap::new(), &run.said, &marker);
        } else {
            known = check(home, &known, &run.said, &marker);
        }
    }
    for ((stage, _), ((killed, ended), time)) in STAGES.iter().zip(counts.iter().zip(&times)) {
        println!("crash: {killed:>3} in `{stage}` ({:.2} s undisturbed; {ended} had just ended)", time.as_secs_f64());
    }
    println!("crash: {runs} runs killed, {} versions kept, no intent open, no plaintext, no child", known.len());
    lasting.run(&["run", "plan/plan.toml"]).exits(0);
    check(&lasting, &known, &[], &marker);
}

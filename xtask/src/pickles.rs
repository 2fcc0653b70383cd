//! `cargo xtask fuzz-pickle [--streams N] [--seed S] [--jobs J] [--python PYTHON]`: the walker against Python itself.
//!
//! A `generator` makes streams of opcodes; `oracles/pickle_names.py` says which globals CPython's C and Python unpicklers
//! resolve in them; every one of these must be among the walker's names. A stream in which the walker says that a name is
//! computed is counted apart. Where the readers stop is compared as well. What was missed is printed and makes the chore
//! fail; a found stream belongs into `crates/scan/tests/streams`.

#![expect(clippy::print_stdout, reason = "figures are what the person asked for")]

use std::{
    fs,
    io::{BufReader, Read, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use ringfence_scan::{Names, names_in};

use crate::tidy::root;

mod generator;

use generator::Generator;

/// Streams that are sent at once.
const BATCH: usize = 2_000;
/// Pickles that are read from one stream; the oracle's number.
const PICKLES_MAX: u32 = 4;
/// Largest real pickle that is mutated, in bytes.
const SEED_BYTES_MAX: usize = 1_500;
/// Streams that are printed for one kind of difference.
const SHOWN_MAX: usize = 12;

/// What is asked for.
struct Plan {
    streams: usize,
    seed: u64,
    jobs: usize,
    python: String,
}

/// What was counted.
#[derive(Default)]
struct Tally {
    streams: u64,
    /// Streams in which at least one reader resolved a global.
    resolving: u64,
    globals: u64,
    missed: u64,
    /// Missed names in streams of which the walker says that they compute a name.
    computed: u64,
    /// Streams in which the readers resolve different globals, or stop at different places.
    readers_differ: u64,
    /// … and the walker does not say so.
    untold: u64,
    /// The walker stopped before a reader did.
    early: u64,
    /// The walker went on after every reader had stopped.
    late: u64,
    /// Python itself ended.
    crashes: u64,
    shown: Vec<(&'static str, String)>,
}

/// Runs a campaign.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let plan = Plan::read(words)?;
    let seeds = seeds()?;
    let start = Instant::now();
    let tally = thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.jobs)
            .map(|job| {
                scope.spawn({
                    let (plan, seeds) = (&plan, &seeds);
                    move || campaign(plan, seeds, job)
                })
            })
            .collect();
        let mut total = Tally::default();
        for worker in workers {
            let tally = worker.join().map_err(|_| anyhow::anyhow!("a worker failed"))??;
            total.add(tally);
        }
        Ok::<Tally, anyhow::Error>(total)
    })?;
    println!("{}", tally.table(&plan, start.elapsed().as_secs()));
    for (kind, stream) in &tally.shown {
        println!("{kind}: {stream}");
    }
    if tally.missed > 0 {
        bail!("{} globals were missed", tally.missed);
    }
    Ok(())
}

impl Plan {
    fn read(words: &[&str]) -> Result<Self> {
        let mut plan = Self { streams: 100_000, seed: 1, jobs: 1, python: "python3".to_owned() };
        for pair in words.chunks(2) {
            let [name, value] = pair else { bail!("`{}` needs a value", pair[0]) };
            match *name {
                "--streams" => plan.streams = value.replace('_', "").parse().context("--streams")?,
                "--seed" => plan.seed = value.parse().context("--seed")?,
                "--jobs" => plan.jobs = value.parse::<usize>().context("--jobs")?.max(1),
                "--python" => (*value).clone_into(&mut plan.python),
                _ => bail!("unknown option `{name}`"),
            }
        }
        Ok(plan)
    }
}

/// Small real pickles among the scanner's samples.
fn seeds() -> Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for folder in ["gadget", "opcode", "benign", "numpy", "sklearn"] {
        let folder = root().join("crates/scan/tests/samples").join(folder);
        let mut paths: Vec<_> =
            fs::read_dir(&folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|kind| kind == "pkl")) {
            seeds.push(fs::read(path)?);
        }
    }
    seeds.retain(|seed| seed.len() <= SEED_BYTES_MAX);
    Ok(seeds)
}

fn campaign(plan: &Plan, seeds: &[Vec<u8>], job: usize) -> Result<Tally> {
    let mut oracle = Oracle::start(&plan.python)?;
    let mut generator = Generator::new(plan.seed, job as u64, seeds);
    let mut tally = Tally::default();
    let mut left = plan.streams / plan.jobs;
    let mut batch: Vec<Vec<u8>> = Vec::new();
    while left > 0 || !batch.is_empty() {
        // While Python works on one batch, the next is made.
        let count = left.min(BATCH);
        left -= count;
        let next: Vec<Vec<u8>> = if batch.is_empty() {
            (0..count).map(|_| generator.stream()).collect()
        } else {
            let asked = oracle.ask(&batch);
            let next = (0..count).map(|_| generator.stream()).collect();
            let walked: Vec<Names> = batch.iter().map(|stream| names_in(stream, PICKLES_MAX)).collect();
            let answers = asked.and_then(|()| batch.iter().map(|_| oracle.answer().map(Some)).collect());
            // A stream that brings Python itself down is found by asking one by one.
            let answers: Vec<Option<Answer>> = match answers {
                Ok(answers) => answers,
                Err(_) => batch.iter().map(|stream| oracle.ask_alone(&plan.python, stream)).collect::<Result<_>>()?,
            };
            for ((stream, names), answer) in batch.iter().zip(&walked).zip(&answers) {
                match answer {
                    Some(answer) => tally.compare(stream, names, answer),
                    None => tally.crash(stream),
                }
            }
            next
        };
        batch = next;
    }
    oracle.end()?;
    Ok(tally)
}

/// Three readers' words on one stream.
struct Answer {
    /// Pickles that ended, and where the last of them did.
    ends: [(u8, u32); 3],
    /// Names and which readers resolved them.
    names: Vec<(u8, String, String)>,
}

/// Python, waiting for streams.
struct Oracle {
    child: Child,
    inward: Option<ChildStdin>,
    outward: BufReader<ChildStdout>,
}

impl Oracle {
    fn start(python: &str) -> Result<Self> {
        let mut child = Command::new(python)
            .args(["-S", "-E"])
            .arg(root().join("xtask/oracles/pickle_names.py"))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{python}` could not be started"))?;
        let inward = child.stdin.take();
        let outward = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, inward, outward })
    }

    fn ask(&mut self, batch: &[Vec<u8>]) -> Result<()> {
        let mut message = u32::try_from(batch.len())?.to_le_bytes().to_vec();
        for stream in batch {
            message.extend(u32::try_from(stream.len())?.to_le_bytes());
            message.extend_from_slice(stream);
        }
        let inward = self.inward.as_mut().context("the oracle has ended")?;
        inward.write_all(&message)?;
        Ok(inward.flush()?)
    }

    /// Asks a fresh Python about one stream; `None` if that ends it.
    fn ask_alone(&mut self, python: &str, stream: &Vec<u8>) -> Result<Option<Answer>> {
        let mut alone = Self::start(python)?;
        let answer = alone.ask(std::slice::from_ref(stream)).and_then(|()| alone.answer()).ok();
        alone.end()?;
        if self.child.try_wait()?.is_some() || answer.is_none() {
            let old = std::mem::replace(self, Self::start(python)?);
            old.end()?;
        }
        Ok(answer)
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut ends = [(0, 0); 3];
        for end in &mut ends {
            *end = (self.take::<1>()?[0], u32::from_le_bytes(self.take()?));
        }
        let count = u16::from_le_bytes(self.take()?);
        let mut names = Vec::new();
        for _ in 0..count {
            let mask = self.take::<1>()?[0];
            let lengths = [u32::from_le_bytes(self.take()?), u32::from_le_bytes(self.take()?)];
            names.push((mask, self.text(lengths[0])?, self.text(lengths[1])?));
        }
        Ok(Answer { ends, names })
    }

    fn text(&mut self, length: u32) -> Result<String> {
        let mut text = vec![0; usize::try_from(length)?];
        self.outward.read_exact(&mut text)?;
        Ok(String::from_utf8(text)?)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.outward.read_exact(&mut bytes).context("the oracle ended")?;
        Ok(bytes)
    }

    fn end(mut self) -> Result<()> {
        drop(self.inward.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Tally {
    fn compare(&mut self, stream: &[u8], walked: &Names, answer: &Answer) {
        self.streams += 1;
        self.resolving += u64::from(!answer.names.is_empty());
        self.globals += answer.names.len() as u64;
        for (mask, module, name) in &answer.names {
            if walked.names.iter().any(|known| known.0 == *module && known.1 == *name) {
                continue;
            }
            if walked.computed {
                self.computed += 1;
                self.show("computed", stream);
            } else {
                self.missed += 1;
                println!(
                    "missed `{}` `{}` ({mask:03b}, {:?}) in {}",
                    module.escape_debug(),
                    name.escape_debug(),
                    walked.broken,
                    stream.escape_ascii()
                );
            }
        }
        let [first, rest @ ..] = &answer.ends;
        let differ = rest.iter().any(|end| end != first) || answer.names.iter().any(|(mask, ..)| *mask != 0b111);
        self.readers_differ += u64::from(differ);
        if differ && !walked.diverges {
            self.untold += 1;
            self.show("untold", stream);
        }
        let most = answer.ends.iter().map(|end| usize::from(end.0)).max().unwrap_or(0);
        if walked.stops.len() < most && !walked.diverges {
            self.early += 1;
            self.show("early", stream);
        }
        if walked.stops.len() > most {
            self.late += 1;
            self.show("late", stream);
        }
    }

    fn crash(&mut self, stream: &[u8]) {
        self.streams += 1;
        self.crashes += 1;
        self.show("crash", stream);
    }

    fn show(&mut self, kind: &'static str, stream: &[u8]) {
        if self.shown.iter().filter(|shown| shown.0 == kind).count() < SHOWN_MAX {
            self.shown.push((kind, stream.escape_ascii().to_string()));
        }
    }

    fn add(&mut self, other: Self) {
        self.streams += other.streams;
        self.resolving += other.resolving;
        self.globals += other.globals;
        self.missed += other.missed;
        self.computed += other.computed;
        self.readers_differ += other.readers_differ;
        self.untold += other.untold;
        self.early += other.early;
        self.late += other.late;
        self.crashes += other.crashes;
        self.shown.extend(other.shown);
    }

    fn table(&self, plan: &Plan, seconds: u64) -> String {
        let rows = [
            ("streams", self.streams),
            ("streams in which CPython resolved a global", self.resolving),
            ("globals that CPython resolved", self.globals),
            ("of these missed by the walker", self.missed),
            ("of these in streams that the walker calls computed", self.computed),
            ("streams that the three readers read differently", self.readers_differ),
            ("of these without a finding that says so", self.untold),
            ("streams in which the walker stops before a reader does", self.early),
            ("streams in which the walker goes on after all readers", self.late),
            ("streams that brought CPython down", self.crashes),
        ];
        let mut text =
            format!("seed {}, {} jobs, {}, {seconds} s\n\n| | |\n|---|---:|", plan.seed, plan.jobs, plan.python);
        for (name, count) in rows {
            text.push_str(&format!("\n| {name} | {count} |"));
        }
        text
    }
}

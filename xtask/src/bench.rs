//! `cargo xtask bench NAME…`: runs a capability's benchmark beside its best peer and writes its section of BENCHMARKS.md.
//!
//! A benchmark is an example of its crate that prints one JSON object of figures; a peer is a script under `xtask/peers`
//! that prints one of the same kind, or says in `skipped` why it could not run. Sections are replaced one at a time, so
//! that each says on which machine and when it was measured.

#![expect(clippy::print_stdout, reason = "figures are what the person asked for")]

use std::{env, fs, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

use crate::tidy::root;

/// One benchmark.
struct Bench {
    name: &'static str,
    what: &'static str,
    /// Package and example.
    example: (&'static str, &'static str),
    /// Script under `xtask/peers`, run by `python3`.
    peer: Option<&'static str>,
    /// `(figure of ours, figure of the peer's, what their ratio says)`.
    ratios: &'static [(&'static str, &'static str, &'static str)],
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "nn",
        what: "forward and gradient speed of the ONNX runtime on the Wong 2020 MNIST network",
        example: ("ringfence-nn", "nn_bench"),
        peer: Some("nn.py"),
        ratios: &[("forward_images_per_cpu_second", "forward_images_per_cpu_second", "forward, ours / onnxruntime")],
    },
    Bench {
        name: "attack",
        what: "PGD-40 images per CPU-second on the same network",
        example: ("ringfence-attack", "attack_bench"),
        peer: None,
        ratios: &[],
    },
    Bench {
        name: "scan",
        what: "scanning of pickles and PyTorch archives",
        example: ("ringfence-scan", "scan_bench"),
        peer: Some("scan.py"),
        ratios: &[("pickle_mb_per_second", "pickle_mb_per_second", "pickle, ours / picklescan")],
    },
    Bench {
        name: "screen",
        what: "screening of datasets: speed and detection",
        example: ("ringfence-screen", "screen_bench"),
        peer: None,
        ratios: &[],
    },
    Bench {
        name: "store",
        what: "the sealed store against the machine's ceilings",
        example: ("ringfence-store", "store_bench"),
        peer: Some("store.py"),
        ratios: &[("put_unique_gb_per_cpu_second", "put_unique_gb_per_cpu_second", "adding new data, ours / restic")],
    },
    Bench {
        name: "trail",
        what: "durable, Merkle-integrated, signed trail entries",
        example: ("ringfence-catalog", "trail_bench"),
        peer: None,
        ratios: &[],
    },
    Bench {
        name: "sandbox",
        what: "start and overhead of the sandbox",
        example: ("ringfence-sandbox", "sandbox_bench"),
        peer: None,
        ratios: &[],
    },
];

/// Runs the named benchmarks.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("name one or more of {}, crash", known.join(", "));
    }
    for name in names {
        if *name == "crash" {
            crash()?;
            continue;
        }
        let bench =
            BENCHES.iter().find(|bench| bench.name == *name).with_context(|| format!("no benchmark `{name}`"))?;
        bench.run()?;
    }
    Ok(())
}

impl Bench {
    fn run(&self) -> Result<()> {
        let (package, example) = self.example;
        let ours = figures(
            Command::new(env!("CARGO"))
                .args(["run", "--quiet", "--release", "--locked", "--package", package, "--example", example])
                .current_dir(root()),
        )?;
        let peer = match self.peer {
            Some(script) => figures(Command::new("python3").arg(root().join("xtask/peers").join(script)))
                .unwrap_or_else(|error| Map::from_iter([("skipped".to_owned(), Value::String(format!("{error:#}")))])),
            None => Map::new(),
        };
        let mut text = format!("Measures {}.\n\n", self.what);
        table(&mut text, "Ringfence", &ours);
        if !peer.is_empty() {
            table(&mut text, "peer", &peer);
        }
        for (left, right, says) in self.ratios {
            if let (Some(left), Some(right)) = (number(&ours, left), number(&peer, right)) {
                text.push_str(&format!("\n**{says}: {:.2}**\n", left / right));
            }
        }
        println!("{text}");
        write_section(self.name, &text)
    }
}

/// Kills the built program at seeded moments, 200 times, and checks what the next start finds.
fn crash() -> Result<()> {
    let runs = env::var("RINGFENCE_CRASH_RUNS").unwrap_or_else(|_| "200".into());
    let output = Command::new(env!("CARGO"))
        .args(["test", "--release", "--locked", "--test", "it", "crash::", "--", "--nocapture"])
        .env("RINGFENCE_CRASH_RUNS", &runs)
        .current_dir(root())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    if !output.status.success() {
        bail!("the crash test failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("crash:")).collect();
    write_section(
        "crash",
        &format!("Kills the whole program at seeded moments of a plan.\n\n```\n{}\n```\n", lines.join("\n")),
    )
}

/// The last line of standard output, which must be a JSON object.
fn figures(command: &mut Command) -> Result<Map<String, Value>> {
    let output =
        command.output().with_context(|| format!("`{}` could not be started", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout)?;
    let start = text.find('{').context("no JSON object on standard output")?;
    match serde_json::from_str(text[start..].trim())? {
        Value::Object(figures) => Ok(figures),
        _ => bail!("not a JSON object"),
    }
}

fn number(figures: &Map<String, Value>, name: &str) -> Option<f64> {
    figures.get(name)?.as_f64()
}

fn table(text: &mut String, whose: &str, figures: &Map<String, Value>) {
    text.push_str(&format!("\n| {whose} | |\n|---|---|\n"));
    for (name, value) in figures {
        let shown = match value {
            Value::Number(number) if number.is_f64() => {
                let number = number.as_f64().unwrap_or_default();
                if number.abs() >= 100.0 { format!("{number:.0}") } else { format!("{number:.4}") }
            }
            Value::String(text) => text.replace('|', "/").replace('\n', " "),
            other => other.to_string().replace('|', "/"),
        };
        text.push_str(&format!("| {} | {shown} |\n", name.replace('_', " ")));
    }
}

/// Replaces the section of `name`, or appends it.
fn write_section(name: &str, text: &str) -> Result<()> {
    let path = root().join("BENCHMARKS.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let (open, close) = (format!("<!-- bench:{name} -->\n"), format!("<!-- /bench:{name} -->\n"));
    let section =
        format!("{open}## {name}\n\n`cargo xtask bench {name}` on {}\n\n{}\n{close}", machine(), text.trim_end());
    let new = match (old.find(&open), old.find(&close)) {
        (Some(from), Some(to)) if from < to => format!("{}{section}{}", &old[..from], &old[to + close.len()..]),
        _ => format!("{old}\n{section}"),
    };
    fs::write(path, new)?;
    Ok(())
}

/// Processor and cores, so that figures can be placed.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |pair| pair.1);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{model}, {cores} cores")
}

//! `cargo xtask bench NAME…`: runs a capability's benchmark beside its best peer and writes its section of BENCHMARKS.md.
//!
//! A benchmark is an example of its crate that prints one JSON object of figures; a peer is a script under `xtask/peers`
//! that prints one of the same kind, or says in `skipped` why it could not run. Sections are replaced one at a time, so
//! that each says on which machine and when it was measured.

#![expect(clippy::print_stdout, reason = "figures are what the person asked for")]

use std::{env, fs, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{scan_sets, tidy::root};

/// One benchmark.
struct Bench {
    name: &'static str,
    what: &'static str,
    /// Package, and its examples; what one after the first prints goes under its own name.
    examples: (&'static str, &'static [&'static str]),
    /// What the example is told.
    arguments: &'static [&'static str],
    /// Script under `xtask/peers`, run by `python3`.
    peer: Option<&'static str>,
    /// `(JSON pointer to our figure, to the peer's, what their ratio says)`.
    ratios: &'static [(&'static str, &'static str, &'static str)],
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "nn",
        what: "forward and gradient speed of the ONNX runtime beside torch and onnxruntime, on one core and on all: the Wong 2020 MNIST network and ResNet-18",
        // Its peer is `xtask/peers/nn.py`, whose turns alternate with ours; `PYTHON` names the interpreter that has torch.
        examples: ("ringfence-nn", &["nn_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[
            (
                "/rates/0/images_per_cpu_second",
                "/rates/0/torch_images_per_cpu_second",
                "forward of the Wong network on one core, ours / torch",
            ),
            (
                "/rates/0/images_per_cpu_second",
                "/rates/0/onnxruntime_images_per_cpu_second",
                "forward of the Wong network on one core, ours / onnxruntime",
            ),
        ],
    },
    Bench {
        name: "attack",
        what: "PGD-40 images per CPU-second on the same network; the standard battery beside AutoAttack's on two trained networks",
        examples: ("ringfence-attack", &["attack_bench"]),
        // Attacks what its peer trains on MNIST; `PYTHON` names the interpreter that has torch.
        arguments: &["../shared/data/mnist"],
        peer: None,
        ratios: &[
            (
                "/pgd40_images_per_cpu_second",
                "/peer/pgd40_images_per_cpu_second/torch",
                "PGD-40 on one core, ours / torch",
            ),
            ("/pgd40_images_per_cpu_second", "/peer/pgd40_images_per_cpu_second/art", "PGD-40 on one core, ours / ART"),
        ],
    },
    Bench {
        name: "harden",
        what: "adversarial training from fresh weights beside torch's by the same plan, both attacked by the standard battery",
        // Its peer is `xtask/peers/harden.py`, which the example runs; `PYTHON` names the interpreter that has torch.
        examples: ("ringfence-attack", &["harden_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[
            ("/ours/5/cpu_seconds", "/torch/1/cpu_seconds", "CPU time of training against PGD-10, ours / torch"),
            (
                "/ours/5/after_battery",
                "/torch/1/after_battery",
                "what stands after training against PGD-10, ours / torch",
            ),
        ],
    },
    Bench {
        name: "privacy",
        what: "membership inference with eight references on an MLP that knows 10,000 MNIST pictures by heart, beside a script in torch and numpy",
        // Its peer is `xtask/peers/privacy.py`, which the example runs; `PYTHON` names the interpreter that has torch.
        examples: ("ringfence-attack", &["privacy_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[
            (
                "/training_references_cpu_seconds",
                "/torch_training_references_cpu_seconds",
                "CPU time of training references, ours / torch",
            ),
            ("/all_tests_cpu_seconds", "/numpy_all_tests_cpu_seconds", "CPU time of all tests, ours / numpy's"),
        ],
    },
    Bench {
        name: "theft",
        what: "what is stolen for how many questions, exactly and by distillation, beside ART's thieves on the same victims",
        // Its peer is `xtask/peers/theft.py`, which the example runs; `PYTHON` names the interpreter that has ART.
        examples: ("ringfence-attack", &["theft_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[
            (
                "/distillation/best_fidelity_by_probabilities",
                "/peer/distillation/fidelity_by_probabilities",
                "fidelity of the copy by probabilities, ours / ART's KnockoffNets",
            ),
            (
                "/distillation/best_fidelity_by_labels",
                "/peer/distillation/fidelity_by_labels",
                "fidelity of the copy by labels, ours / ART's CopycatCNN",
            ),
        ],
    },
    Bench {
        name: "scan",
        what: "scanning of pickles and PyTorch archives",
        examples: ("ringfence-scan", &["scan_bench"]),
        arguments: &[],
        peer: Some("scan.py"),
        ratios: &[("/cases/1/megabytes_per_second", "/pickle_mb_per_second", "pickle of records, ours / picklescan")],
    },
    Bench {
        name: "screen",
        what: "screening of datasets: speed and detection",
        examples: ("ringfence-screen", &["screen_bench"]),
        arguments: &["digits"],
        peer: None,
        ratios: &[],
    },
    Bench {
        name: "store",
        what: "the sealed store against the machine's ceilings",
        examples: ("ringfence-store", &["store_bench"]),
        arguments: &[],
        peer: Some("store.py"),
        ratios: &[
            ("/measured/put_unique/gb_per_cpu_s", "/put_unique_gb_per_cpu_second", "adding new data, ours / restic"),
            ("/measured/verify/gb_per_cpu_s", "/verify_gb_per_cpu_second", "verifying every byte, ours / restic"),
        ],
    },
    Bench {
        name: "trail",
        what: "durable, Merkle-integrated, signed trail entries",
        examples: ("ringfence-catalog", &["trail_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[],
    },
    Bench {
        name: "reads",
        what: "the check of a token, recorded and authorised reads, and refusals that are held, through the engine",
        examples: ("ringfence-engine", &["read_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[],
    },
    Bench {
        name: "access",
        what: "one authorisation with its reasons and digests, among 10 to 10,000 policies",
        examples: ("ringfence-access", &["access_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[],
    },
    Bench {
        name: "server",
        what: "TLS 1.3 handshakes with the hybrid group, and requests through guard and gate, for each core of the server",
        examples: ("ringfence-server", &["server_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[],
    },
    Bench {
        name: "transfer",
        what: "an artifact pushed and pulled through the server over a line that is cut ten times each way",
        examples: ("ringfence-cli", &["transfer_bench"]),
        arguments: &["4096"],
        peer: None,
        ratios: &[
            ("/push_sending_mb_per_second", "/tls_copy_mb_per_second", "bringing it, ours / a plain copy over TLS"),
            (
                "/push_handed_over_mb_per_second",
                "/tls_copy_mb_per_second",
                "`add --no-wait`, hashed, sent and received, ours / a plain copy over TLS",
            ),
            ("/pull_mb_per_second", "/tls_copy_mb_per_second", "taking it out, ours / a plain copy over TLS"),
            (
                "/pull_mb_per_second",
                "/tls_copy_that_hashes_mb_per_second",
                "taking it out, ours / a copy over TLS that is hashed as it comes",
            ),
            ("/push_sending_mb_per_second", "/curl_to_nginx_mb_per_second", "bringing it, ours / curl to nginx"),
            (
                "/push_whole_mb_per_second",
                "/curl_to_nginx_mb_per_second",
                "bringing it and letting it in, ours / curl to nginx",
            ),
            ("/pull_mb_per_second", "/nginx_to_curl_mb_per_second", "taking it out, ours / nginx to curl"),
            ("/push_sending_mb_per_second", "/scp_there_mb_per_second", "bringing it, ours / scp"),
            (
                "/push_handed_over_mb_per_second",
                "/scp_there_mb_per_second",
                "`add --no-wait`, hashed, sent and received, ours / scp",
            ),
            ("/push_whole_mb_per_second", "/scp_there_mb_per_second", "bringing it and letting it in, ours / scp"),
            ("/pull_mb_per_second", "/scp_back_mb_per_second", "taking it out, ours / scp"),
        ],
    },
    Bench {
        name: "sign",
        what: "hashing, signing and verifying a model of four files",
        examples: ("ringfence-trust", &["sign_bench"]),
        arguments: &[],
        peer: Some("sign.py"),
        ratios: &[
            (
                "/hashing/0/gb_per_cpu_second",
                "/openssl_sha256_gb_per_cpu_second",
                "SHA-256 on one core, ours / openssl",
            ),
            ("/model/0/gb_per_cpu_second", "/model_signing_sign_gb_per_cpu_second", "signing, ours / model-signing"),
            (
                "/model/1/gb_per_cpu_second",
                "/model_signing_verify_gb_per_cpu_second",
                "verifying, ours / model-signing",
            ),
        ],
    },
    Bench {
        name: "reach",
        what: "fetching from a Hub on loopback, hashing and comparing included",
        examples: ("ringfence-reach", &["reach_bench"]),
        arguments: &[],
        peer: Some("reach.py"),
        ratios: &[
            (
                "/fetch_gb_per_cpu_second",
                "/fetch_gb_per_cpu_second",
                "a file of 1 GiB for CPU time, ours / huggingface_hub",
            ),
            ("/fetch_gb_per_second", "/fetch_gb_per_second", "the same for wall time, ours / huggingface_hub"),
        ],
    },
    Bench {
        name: "sandbox",
        what: "start and overhead of the sandbox, and what a way out through it costs",
        examples: ("ringfence-sandbox", &["sandbox_bench", "egress_bench"]),
        arguments: &[],
        peer: None,
        ratios: &[
            (
                "/call_to_exec/0/min_ms",
                "/whole_run_of_true/3/min_ms",
                "call to exec, ours / the whole of bubblewrap's run",
            ),
            ("/whole_run_of_true/1/p50_ms", "/whole_run_of_true/3/p50_ms", "whole run of `true`, ours / bubblewrap"),
        ],
    },
    Bench {
        name: "watch",
        what: "the detector of one series: NAB's standard score at one threshold for all files, and its cost",
        examples: ("ringfence-watch", &["watch_bench"]),
        arguments: &[],
        peer: Some("watch.py"),
        ratios: &[("/us_per_point", "/half_space_trees_us_per_point", "time a point, ours / HalfSpaceTrees")],
    },
];

/// Runs the named benchmarks.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("name one or more of {}, scan-sets, crash, faults", known.join(", "));
    }
    for name in names {
        match *name {
            "crash" => {
                crash()?;
                continue;
            }
            "faults" => {
                faults()?;
                continue;
            }
            "scan-sets" => {
                scan_sets::bench()?;
                continue;
            }
            _ => {}
        }
        let bench =
            BENCHES.iter().find(|bench| bench.name == *name).with_context(|| format!("no benchmark `{name}`"))?;
        bench.run()?;
    }
    Ok(())
}

impl Bench {
    fn run(&self) -> Result<()> {
        let (package, examples) = self.examples;
        // They may start one another. Built as the README's commands build them, without a package's name: one package alone
        // has other features, and would be built again with all that it stands on.
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--locked", "--bins", "--examples"])
            .current_dir(root())
            .status()?;
        if !built.success() {
            bail!("the examples of {package} could not be built");
        }
        let mut ours = Value::Null;
        for example in examples {
            let told = figures(
                Command::new(env!("CARGO"))
                    .args(["run", "--quiet", "--release", "--locked", "--example", example, "--"])
                    .args(self.arguments)
                    .current_dir(root()),
            )?;
            if let Some(why) = told["skipped"].as_str() {
                bail!("{example} measured nothing, and BENCHMARKS.md stays as it is: {why}");
            }
            match &mut ours {
                Value::Object(fields) => drop(fields.insert((*example).to_owned(), told)),
                none => *none = told,
            }
        }
        let peer = self.peer.map(|script| {
            figures(Command::new("python3").arg(root().join("xtask/peers").join(script)))
                .unwrap_or_else(|error| json!({"skipped": format!("{error:#}")}))
        });
        let mut text = format!("Measures {}.\n", self.what);
        render(&mut text, "Ringfence", &ours);
        if let Some(peer) = &peer {
            render(&mut text, "Peer", peer);
        }
        // Where the peer runs beside us in the same example, both figures are in its document.
        let other = peer.as_ref().unwrap_or(&ours);
        for (left, right, says) in self.ratios {
            let number = |value: &Value, place: &str| value.pointer(place).and_then(Value::as_f64);
            if let (Some(left), Some(right)) = (number(&ours, left), number(other, right)) {
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

/// Kills writers of the trail at system calls, and lets these fail, 10,000 times; checks what each one leaves.
fn faults() -> Result<()> {
    let count = env::var("RINGFENCE_FAULTS").unwrap_or_else(|_| "10000".into());
    let output = Command::new(env!("CARGO"))
        .args(["test", "--release", "--locked", "--package", "ringfence-catalog", "--test", "it"])
        .args(["faults::campaign", "--", "--exact", "--ignored", "--nocapture"])
        .env("RINGFENCE_FAULTS", &count)
        .current_dir(root())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    if !output.status.success() {
        bail!("faults did harm:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("faults:")).collect();
    write_section(
        "faults",
        &format!(
            "Kills a writer of the trail at seeded system calls, or lets them fail, and checks what is left.\n\n```\n{}\n```\n",
            lines.join("\n")
        ),
    )
}

/// The JSON on standard output: one document, or one object a line.
fn figures(command: &mut Command) -> Result<Value> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("`{program}` could not be started"))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout)?;
    if let Ok(document) = serde_json::from_str(text.trim()) {
        return Ok(document);
    }
    let lines: Result<Vec<Value>, _> =
        text.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str).collect();
    Ok(json!({"cases": lines?}))
}

/// Single figures as a list, lists of objects as tables, objects of objects as tables with their names in front.
fn render(text: &mut String, title: &str, value: &Value) {
    let Value::Object(fields) = value else { return };
    text.push_str(&format!("\n### {title}\n\n"));
    for (name, value) in
        fields.iter().filter(|(name, value)| *name != "schema" && !value.is_object() && !value.is_array())
    {
        text.push_str(&format!("- {}: {}\n", words(name), shown(value)));
    }
    for (name, value) in fields {
        match value {
            Value::Array(rows) => table(text, &words(name), rows.iter().map(|row| (None, row))),
            Value::Object(inner) if inner.values().all(Value::is_object) => {
                table(text, &words(name), inner.iter().map(|(name, row)| (Some(words(name)), row)));
            }
            Value::Object(_) => render(text, &words(name), value),
            _ => {}
        }
    }
}

/// Rows of a table with the union of their columns.
fn table<'a>(text: &mut String, title: &str, rows: impl Iterator<Item = (Option<String>, &'a Value)>) {
    let rows: Vec<(Option<String>, &Value)> = rows.collect();
    let mut columns: Vec<&String> = Vec::new();
    for row in rows.iter().filter_map(|(_, row)| row.as_object()) {
        for name in row.keys() {
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
    }
    // What a row is about stands first.
    columns.sort_by_key(|name| !matches!(name.as_str(), "what" | "case" | "producers" | "name"));
    let head: Vec<String> = columns.iter().map(|name| words(name)).collect();
    let named = rows.iter().any(|(name, _)| name.is_some());
    text.push_str(&format!("\n**{title}**\n\n|{} {} |\n", if named { "  |" } else { "" }, head.join(" | ")));
    text.push_str(&format!("{}|\n", "|---".repeat(columns.len() + usize::from(named))));
    for (name, row) in rows {
        let cells: Vec<String> =
            columns.iter().map(|column| row.get(column.as_str()).map(shown).unwrap_or_default()).collect();
        let front = if named { format!(" {} |", name.unwrap_or_default()) } else { String::new() };
        text.push_str(&format!("|{front} {} |\n", cells.join(" | ")));
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            if number.abs() >= 100.0 { format!("{number:.0}") } else { format!("{number:.3}") }
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.replace('|', "/").replace('\n', " ")
}

/// Replaces the section of `name`, or appends it.
pub(crate) fn write_section(name: &str, text: &str) -> Result<()> {
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

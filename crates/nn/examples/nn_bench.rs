//! Prints, as JSON, how fast the runtime is on this machine: `cargo run --release -p ringfence-nn --example nn_bench`.
//!
//! Models are those that its peer exports (`xtask/peers/nn.py`, run by `$PYTHON` or `python3`): the convolutional network
//! for MNIST of Wong et al. 2020 and ResNet-18 for 32 × 32 and for 224 × 224 pictures. Ours and the peer's turns alternate,
//! figures are medians. Rates are images per second of processor time; beside them stands the share of one core's peak,
//! measured by independent multiply-adds in registers. Without the peer, only the first model is measured.
#![expect(clippy::print_stdout, reason = "a benchmark's output")]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use ringfence_nn::builder::Builder;
use ringfence_nn::random::Random;
use ringfence_nn::{Model, Tensor, Want};

fn main() {
    let folder = env::temp_dir().join(format!("ringfence-nn-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut peer = Peer::start(&folder);
    let cases = peer.as_ref().map_or_else(|| vec![Case::wong()], |peer| peer.cases.clone());
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let peak = peak();
    let mut rows = Vec::new();
    for case in &cases {
        let model = case.model(&folder);
        for what in ["forward", "gradient"] {
            let mut alone = None;
            for threads in if all == 1 { vec![1] } else { vec![1, all] } {
                let figures = case.measure(&model, what, threads, peer.as_mut());
                rows.push(figures.row(case, what, threads, peak, alone));
                alone = Some(figures.ours);
            }
        }
    }
    drop(fs::remove_dir_all(&folder));
    let name = peer.map_or_else(|| "none".to_owned(), Peer::stop);
    println!("{{\n  \"schema\": \"ringfence.bench.nn/2\",\n  \"peak_gflops_per_core\": {peak:.1},");
    println!("  \"peer\": \"{name}\",\n  \"rounds\": {ROUNDS},\n  \"rates\": [\n{}\n  ]\n}}", rows.join(",\n"));
}

/// A model and what is asked of it.
#[derive(Clone)]
struct Case {
    name: String,
    shape: Vec<usize>,
    batch: usize,
    /// Floating-point operations of one image's forward pass, and of its gradient.
    operations: [f64; 2],
}

impl Case {
    /// The one model that needs no peer: multiplications and additions by layer, outputs × inputs each × 2.
    fn wong() -> Self {
        let forward = 2.0 * (16.0 * 196.0 * 16.0 + 32.0 * 49.0 * 256.0 + 100.0 * 1568.0 + 10.0 * 100.0);
        Self { name: "wong".into(), shape: vec![1, 28, 28], batch: 256, operations: [forward, 2.0 * forward] }
    }

    fn model(&self, folder: &Path) -> Model {
        let file = fs::read(folder.join(format!("{}.onnx", self.name))).unwrap_or_else(|_| {
            let net = Builder::new("wong", 1).input("x", &[1, 28, 28]).conv(16, [4, 4], [2, 2], [1, 1]).relu();
            let net = net.conv(32, [4, 4], [2, 2], [1, 1]).relu().flatten().linear(100).relu().linear(10);
            net.finish().unwrap()
        });
        Model::parse(&file).unwrap()
    }

    /// Medians over rounds in which every engine has its turn.
    fn measure(&self, model: &Model, what: &str, threads: usize, mut peer: Option<&mut Peer>) -> Figures {
        let mut random = Random::new(2);
        let mut shape = vec![self.batch];
        shape.extend(&self.shape);
        let mut x = Tensor::<f32>::zeros(&shape).unwrap();
        x.data.iter_mut().for_each(|number| *number = random.uniform_in(0.0, 1.0));
        let labels: Vec<usize> = (0..self.batch).map(|row| row % 10).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(pool.install(|| {
                rate(self.batch, || {
                    if what == "forward" {
                        drop(black_box(model.forward(&x).unwrap()));
                    } else {
                        drop(black_box(model.gradients(&x, &labels, Want::Input).unwrap()));
                    }
                })
            }));
            if let Some(peer) = &mut peer {
                let engines = peer.engines.clone();
                let able = engines.iter().filter(|engine| *engine == "torch" || what == "forward");
                others.push(able.map(|engine| peer.rate(engine, &self.name, what, threads)).collect::<Vec<_>>());
            }
        }
        let count = others.first().map_or(0, Vec::len);
        let peers = (0..count).map(|at| Rate::median(others.iter().map(|round| round[at]))).collect();
        let engines = peer.map_or_else(Vec::new, |peer| peer.engines.clone());
        Figures { ours: Rate::median(ours.into_iter()), peers, engines }
    }
}

/// Images per second.
#[derive(Clone, Copy)]
struct Rate {
    per_cpu_second: f64,
    per_second: f64,
}

impl Rate {
    fn median(rates: impl Iterator<Item = Self> + Clone) -> Self {
        let middle = |figure: fn(&Self) -> f64| {
            let mut sorted: Vec<f64> = rates.clone().map(|rate| figure(&rate)).collect();
            sorted.sort_by(f64::total_cmp);
            sorted.get(sorted.len() / 2).copied().unwrap_or_default()
        };
        Self { per_cpu_second: middle(|rate| rate.per_cpu_second), per_second: middle(|rate| rate.per_second) }
    }
}

/// What one measurement found.
struct Figures {
    ours: Rate,
    peers: Vec<Rate>,
    engines: Vec<String>,
}

impl Figures {
    fn row(&self, case: &Case, what: &str, threads: usize, peak: f64, alone: Option<Rate>) -> String {
        let (name, Rate { per_cpu_second, per_second }) = (&case.name, self.ours);
        let reached = per_cpu_second * case.operations[usize::from(what != "forward")] / 1e9;
        let mut row = format!(
            "    {{\"what\": \"{name} {what}\", \"threads\": {threads}, \"images_per_cpu_second\": {per_cpu_second:.1}, \
             \"images_per_second\": {per_second:.1}, \"gflops_per_cpu\": {reached:.1}, \"share_of_peak\": {:.3}",
            reached / peak
        );
        for (engine, rate) in self.engines.iter().zip(&self.peers) {
            let _ = write!(row, ", \"ours_over_{engine}\": {:.2}", per_cpu_second / rate.per_cpu_second);
            let _ = write!(row, ", \"{engine}_images_per_cpu_second\": {:.1}", rate.per_cpu_second);
        }
        if let Some(alone) = alone {
            let _ = write!(row, ", \"over_one_thread\": {:.2}", per_second / alone.per_second);
        }
        row + "}"
    }
}

/// The peer's process, which measures when it is asked.
struct Peer {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    name: String,
    engines: Vec<String>,
    cases: Vec<Case>,
}

impl Peer {
    /// `None` where it cannot run; it says why on standard error.
    fn start(folder: &Path) -> Option<Self> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../xtask/peers/nn.py");
        let python = env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        let mut command = Command::new(python);
        command.arg(script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().ok()?;
        let (questions, answers) = (process.stdin.take()?, process.stdout.take()?);
        let mut answers = BufReader::new(answers);
        let mut told = String::new();
        answers.read_line(&mut told).ok()?;
        let name = texts(&told, "peer").next()?;
        let engines = list(&told, "engines").split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect();
        let numbers = |part: &str| part.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        let cases = told.split("{\"name\"").skip(1).map(|part| {
            let part = format!("\"name\"{part}");
            let figure =
                |key: &str| after(&part, key).split([',', '}']).next().and_then(|text| text.trim().parse().ok());
            let operations = ["forward", "gradient"].map(|key| figure(key).unwrap_or_default());
            let name = texts(&part, "name").next().unwrap_or_default();
            Case {
                name,
                shape: numbers(list(&part, "shape")),
                batch: after(&part, "batch").split([',']).next().and_then(|text| text.trim().parse().ok()).unwrap_or(1),
                operations,
            }
        });
        let cases = cases.collect();
        Some(Self { process, questions, answers, name, engines, cases })
    }

    fn rate(&mut self, engine: &str, model: &str, what: &str, threads: usize) -> Rate {
        writeln!(self.questions, "{engine} {model} {what} {threads}").unwrap();
        self.questions.flush().unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut numbers = line.trim().trim_matches(['[', ']']).split(',').map(|text| text.trim().parse().unwrap());
        Rate { per_cpu_second: numbers.next().unwrap(), per_second: numbers.next().unwrap() }
    }

    fn stop(mut self) -> String {
        drop(self.questions);
        drop(self.process.wait());
        self.name
    }
}

/// What follows a key in the peer's one line of JSON, whose form is known.
fn after<'t>(text: &'t str, key: &str) -> &'t str {
    text.split_once(&format!("\"{key}\": ")).map_or("", |(_, rest)| rest)
}

fn list<'t>(text: &'t str, key: &str) -> &'t str {
    after(text, key).split(']').next().unwrap_or_default().trim_start_matches('[')
}

fn texts(text: &str, key: &str) -> impl Iterator<Item = String> {
    let found = after(text, key).strip_prefix('"').and_then(|rest| rest.split('"').next());
    found.map(str::to_owned).into_iter()
}

/// Images per second, over about a second of processor time. The clock is a file, whose reading takes as long as a good part of a
/// small network's pass and holds up the other cores: it is read every few hundredths of a second.
fn rate(images: usize, mut pass: impl FnMut()) -> Rate {
    pass();
    let begun = Instant::now();
    pass();
    let passes = (0.02 / begun.elapsed().as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e6);
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut done = 0.0;
    let spent = || match (cpu, cpu_seconds()) {
        (Some(before), Some(after)) => after - before,
        _ => start.elapsed().as_secs_f64(),
    };
    while spent() < 1.0 {
        let mut left = passes;
        while left > 0.0 {
            pass();
            left -= 1.0;
        }
        done += images as f64 * passes;
    }
    Rate { per_cpu_second: done / spent(), per_second: done / start.elapsed().as_secs_f64() }
}

/// User and system time of this process, in seconds, from `/proc/self/stat` (fields 14 and 15, hundredths of a second).
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}
/// GFLOP/s of one core by multiply-adds that need nothing but registers.
fn peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            #[expect(unsafe_code, reason = "a function compiled for AVX-512")]
            // SAFETY: the feature was detected on the line above.
            return unsafe { peak_avx512() };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            #[expect(unsafe_code, reason = "a function compiled for AVX2 and FMA")]
            // SAFETY: both features were detected on the line above.
            return unsafe { peak_avx2() };
        }
    }
    multiply_adds::<32>(|a, b, c| a * b + c)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn peak_avx512() -> f64 {
    multiply_adds::<192>(f32::mul_add)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn peak_avx2() -> f64 {
    multiply_adds::<96>(f32::mul_add)
}

/// `LANES` independent chains of multiply-adds.
#[inline(always)]
fn multiply_adds<const LANES: usize>(step: impl Fn(f32, f32, f32) -> f32) -> f64 {
    // Short enough to fit between two interruptions, so that the best of many is undisturbed.
    const ROUNDS: usize = 1 << 14;
    let mut chains = [1.0f32; LANES];
    let (factor, term) = (black_box(0.999_999f32), black_box(1e-6f32));
    let mut best = 0.0f64;
    for _ in 0..1000 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                *chain = step(*chain, factor, term);
            }
        }
        black_box(&mut chains);
        best = best.max(2.0 * (LANES * ROUNDS) as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Turns that every engine has.
const ROUNDS: usize = 3;

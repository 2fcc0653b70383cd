//! Honest jobs: a real small training (softmax regression or a network with one hidden layer, on the digits of
//! `examples/digits`) takes each step; its telemetry (time per step, use of cores, memory, pauses) follows the recordings in
//! `tests/data/jobs`, which were taken of such trainings as processes.

use std::{collections::BTreeMap, fs, path::PathBuf};

use ringfence_schema::{
    Digest,
    event::{Change, Claimed, FileChange, GpuUsage, Observed, Progress, RunEvent, Source, Told, Usage},
};
use ringfence_watch::run::{Expectations, LearningRatePlan, RateCurve, Reports};

use crate::chance::Chance;

/// How a job goes about its work.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of a job, and any may go with any")]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) hours: f64,
    pub(crate) hidden: usize,
    pub(crate) batch: usize,
    pub(crate) rate: RateCurve,
    pub(crate) optimiser: Optimiser,
    /// Median time of a step, in milliseconds.
    pub(crate) step_ms: f64,
    pub(crate) log_every: u64,
    /// Cores that a step keeps busy.
    pub(crate) cores: f64,
    pub(crate) startup_s: f64,
    pub(crate) compile_s: f64,
    pub(crate) evaluate_every: u64,
    pub(crate) evaluate_s: f64,
    pub(crate) checkpoint_s: f64,
    /// Stalls of the loader: chance per step, mean length in seconds.
    pub(crate) stall: (f64, f64),
    /// Worker processes of the loader, begun anew every epoch.
    pub(crate) workers: u64,
    pub(crate) talk: Talk,
    pub(crate) reads_seen: bool,
    pub(crate) cold: bool,
    pub(crate) gpu: bool,
    pub(crate) memory_mb: f64,
    pub(crate) memory_limit_mb: u64,
    pub(crate) label_noise: f64,
    pub(crate) ordered: bool,
    /// Examples are drawn in buckets of like labels: overdispersed batches.
    pub(crate) buckets: bool,
    /// Training begins anew this often (folds).
    pub(crate) folds: u64,
    pub(crate) final_evaluation_s: f64,
    /// Bytes fetched from an allowed host, a second.
    pub(crate) fetch: f64,
    /// Names that a library asks for and the plan does not allow.
    pub(crate) telemetry_name: bool,
    pub(crate) refused_calls: u64,
    pub(crate) batch_growth: bool,
    pub(crate) cpu_noise: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Optimiser {
    Sgd,
    Momentum,
    Adam,
}

/// How a job talks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Talk {
    /// Everything, at once.
    Full,
    /// Loss and step only.
    Loss,
    /// In bursts: output is buffered.
    Buffered,
    /// Lines that nobody understands.
    Lines,
    /// Nothing, and the plan does not say so.
    Nothing,
    /// Nothing, and the plan says so.
    Silent,
}

impl Job {
    pub(crate) fn usual(name: &'static str) -> Self {
        Self {
            name,
            hours: 2.0,
            hidden: 0,
            batch: 32,
            rate: RateCurve::Constant(0.05),
            optimiser: Optimiser::Sgd,
            step_ms: 150.0,
            log_every: 20,
            cores: 1.0,
            startup_s: 4.0,
            compile_s: 0.0,
            evaluate_every: 2_000,
            evaluate_s: 8.0,
            checkpoint_s: 300.0,
            stall: (0.0, 0.0),
            workers: 0,
            talk: Talk::Full,
            reads_seen: true,
            cold: false,
            gpu: false,
            memory_mb: 300.0,
            memory_limit_mb: 4_096,
            label_noise: 0.0,
            ordered: false,
            buckets: false,
            folds: 1,
            final_evaluation_s: 30.0,
            fetch: 0.0,
            telemetry_name: false,
            refused_calls: 2,
            batch_growth: false,
            cpu_noise: 0.25,
        }
    }
}

/// What a misdeed changes in a job; the rest of the job stays honest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Twist {
    None,
    /// The learning rate is multiplied from then on.
    Rate {
        from_ms: u64,
        factor: f64,
    },
    /// This share of one label's examples becomes another label.
    Flip {
        from_ms: u64,
        share: f64,
        all: bool,
    },
    /// The loss is multiplied by ascent steps: the weights are driven up the loss.
    Ascend {
        from_ms: u64,
        factor: f64,
    },
    /// A checkpoint is replaced after it was written.
    Swap {
        from_ms: u64,
    },
}

/// A job and the dataset: what happens, in order, until the end or until `until_ms`.
pub(crate) fn play(job: &Job, seed: u64, twist: Twist, until_ms: u64) -> (Expectations, Vec<RunEvent>) {
    let mut stage = Stage::new(job, seed, twist, until_ms.min((job.hours * 3.6e6) as u64));
    stage.run();
    stage.events.sort_by_key(|event| event.at_ms);
    (stage.expectations(), stage.events)
}

struct Stage<'a> {
    job: &'a Job,
    chance: Chance,
    twist: Twist,
    end_ms: u64,
    now_ms: f64,
    sampled_ms: u64,
    usage: Usage,
    cpu_ms: f64,
    contention: f64,
    memory: f64,
    held: Vec<RunEvent>,
    events: Vec<RunEvent>,
    data: &'static Data,
    model: Model,
    step: u64,
    counts: BTreeMap<String, u64>,
    last_checkpoint_ms: f64,
}

impl<'a> Stage<'a> {
    fn new(job: &'a Job, seed: u64, twist: Twist, end_ms: u64) -> Self {
        let mut chance = Chance::new(seed);
        let model = Model::new(job.hidden, &mut chance);
        Self {
            job,
            chance,
            twist,
            end_ms,
            now_ms: 0.0,
            sampled_ms: 0,
            usage: Usage { processes: 1, ..Usage::default() },
            cpu_ms: 0.0,
            contention: 1.0,
            memory: 10.0,
            held: Vec::new(),
            events: Vec::new(),
            data: data(),
            model,
            step: 0,
            counts: BTreeMap::new(),
            last_checkpoint_ms: 0.0,
        }
    }

    fn expectations(&self) -> Expectations {
        let mut shares = BTreeMap::<String, f64>::new();
        for label in &self.data.labels {
            *shares.entry(label.to_string()).or_default() += 1.0 / self.data.labels.len() as f64;
        }
        Expectations {
            label_shares: shares,
            records: Some(self.data.labels.len() as u64),
            ordered: self.job.ordered,
            learning_rate: Some(LearningRatePlan { curve: self.job.rate.clone(), tolerance: 0.01 }),
            egress_budget_bytes: Some(64 << 20),
            cores: Some(self.job.cores.max(2.0)),
            memory_bytes: Some(self.job.memory_limit_mb << 20),
            processes: Some(512),
            reports: if self.job.talk == Talk::Silent { Reports::Silent } else { Reports::Unknown },
            ..Expectations::default()
        }
    }

    fn run(&mut self) {
        let job = self.job;
        self.usage.refused_calls = job.refused_calls;
        // What is not in memory yet is read while the job starts.
        self.pass(job.startup_s * 100.0, 0.9, 20.0);
        if job.cold {
            self.usage.read_bytes += 40_000_000;
        }
        self.pass(job.startup_s * 900.0, 0.9, 60.0);
        if job.reads_seen {
            self.observe(Observed::File(change("/in/dataset/digits.csv", Change::Read, None)));
        }
        self.pass(2_000.0, 0.8, job.memory_mb);
        if job.talk == Talk::Lines {
            self.line("starting");
        }
        self.pass(job.compile_s * 1e3, job.cores, job.memory_mb * 1.1);
        let fold_ms = (self.end_ms as f64 - job.final_evaluation_s * 1e3) / job.folds as f64;
        for fold in 0..job.folds {
            self.train(fold_ms * (fold + 1) as f64);
            self.step = 0;
            self.model = Model::new(job.hidden, &mut self.chance);
        }
        self.pass(job.final_evaluation_s * 1e3, job.cores, self.memory);
        self.flush();
    }

    fn train(&mut self, until_ms: f64) {
        let job = self.job;
        let mut order: Vec<usize> = (0..self.data.labels.len()).collect();
        let (mut epoch, mut at) = (0_u64, order.len());
        while self.now_ms < until_ms.min(self.end_ms as f64) {
            let batch = if job.batch_growth { job.batch << (self.step / 4_000).min(3) } else { job.batch };
            if at + batch > order.len() {
                at = 0;
                epoch += 1;
                self.arrange(&mut order);
                if job.workers > 0 {
                    self.usage.processes = 1 + job.workers;
                }
            }
            let rows: Vec<usize> = order[at..at + batch].to_vec();
            at += batch;
            let rate = self.rate();
            let (loss, norm) = self.take_step(&rows, rate);
            let pace = job.step_ms * if job.batch_growth { batch as f64 / job.batch as f64 } else { 1.0 };
            let ms = pace * self.chance.log_normal(0.2) / self.contention.max(0.2);
            self.pass(ms, job.cores * self.contention, job.memory_mb);
            if self.chance.happens(job.stall.0) {
                let stall_ms = self.chance.exponential(job.stall.1) * 1e3;
                self.pass(stall_ms, 0.02, job.memory_mb);
            }
            self.step += 1;
            if self.step.is_multiple_of(job.log_every) {
                self.report(epoch as f64 - 1.0 + at as f64 / order.len() as f64, loss, norm, rate);
            }
            if job.evaluate_s > 0.0 && self.step.is_multiple_of(job.evaluate_every) {
                let ms = job.evaluate_s * 1e3 * self.chance.log_normal(0.1);
                self.pass(ms, job.cores.min(1.0), job.memory_mb * 1.15);
                let progress = Progress { step: Some(self.step), evaluation_loss: Some(loss), ..Progress::default() };
                self.say(progress);
            }
            if job.checkpoint_s > 0.0 && self.now_ms - self.last_checkpoint_ms > job.checkpoint_s * 1e3 {
                self.last_checkpoint_ms = self.now_ms;
                self.checkpoint();
            }
        }
    }

    fn arrange(&mut self, order: &mut Vec<usize>) {
        let labels = &self.data.labels;
        if self.job.ordered {
            order.sort_by_key(|row| labels[*row]);
            return;
        }
        self.chance.shuffle(order);
        if self.job.buckets {
            // Runs of eight like labels, in random order.
            let mut keyed: Vec<(u8, usize)> = order.iter().map(|row| (labels[*row], *row)).collect();
            keyed.sort_unstable_by_key(|(label, _)| *label);
            let mut runs: Vec<Vec<usize>> =
                keyed.chunks(8).map(|run| run.iter().map(|(_, row)| *row).collect()).collect();
            self.chance.shuffle(&mut runs);
            *order = runs.concat();
        }
    }

    fn rate(&self) -> f64 {
        let planned = self.job.rate.at(self.step);
        match self.twist {
            Twist::Rate { from_ms, factor } if self.now_ms >= from_ms as f64 => planned * factor,
            _ => planned,
        }
    }

    fn take_step(&mut self, rows: &[usize], rate: f64) -> (f64, f64) {
        let mut labels: Vec<u8> = rows.iter().map(|row| self.data.labels[*row]).collect();
        if let Twist::Flip { from_ms, share, all } = self.twist
            && self.now_ms >= from_ms as f64
        {
            for label in &mut labels {
                if (all || *label == 3) && self.chance.happens(share) {
                    *label = 8;
                }
            }
        }
        for label in &labels {
            *self.counts.entry(label.to_string()).or_default() += 1;
        }
        for label in &mut labels {
            if self.chance.happens(self.job.label_noise) {
                *label = self.chance.below(10) as u8;
            }
        }
        let sign = match self.twist {
            Twist::Ascend { from_ms, factor } if self.now_ms >= from_ms as f64 => -factor,
            _ => 1.0,
        };
        self.model.step(self.data, rows, &labels, rate * sign, self.job.optimiser)
    }

    fn report(&mut self, epoch: f64, loss: f64, norm: f64, rate: f64) {
        let round = |value: f64| format!("{value:.4e}").parse().unwrap();
        let counts = std::mem::take(&mut self.counts);
        match self.job.talk {
            Talk::Nothing | Talk::Silent => {}
            Talk::Lines => self.line("still going"),
            Talk::Loss | Talk::Buffered => {
                let loss = Some(format!("{loss:.4}").parse().unwrap());
                self.say(Progress { step: Some(self.step), loss, diverged: false, ..Progress::default() });
            }
            Talk::Full => {
                let progress = Progress {
                    told: Told::Socket,
                    step: Some(self.step),
                    epoch: Some(epoch),
                    loss: loss.is_finite().then(|| round(loss)),
                    learning_rate: Some(round(rate)),
                    gradient_norm: norm.is_finite().then(|| round(norm)),
                    diverged: !loss.is_finite() || !norm.is_finite(),
                    labels: counts,
                    ..Progress::default()
                };
                self.say(progress);
            }
        }
        if self.job.telemetry_name && self.step.is_multiple_of(50 * self.job.log_every) {
            self.observe(question("api.metrics.example"));
        }
    }

    fn checkpoint(&mut self) {
        self.usage.written_bytes += 3_000_000;
        let digest = Digest::of(&self.step.to_be_bytes());
        let path = "/out/model.ckpt";
        self.observe(Observed::File(change(path, Change::Written, Some(digest))));
        if self.job.talk == Talk::Full {
            self.pass(300.0, 0.5, self.memory);
            let progress = Progress {
                told: Told::Socket,
                step: Some(self.step),
                checkpoint: Some(path.to_owned()),
                checkpoint_sha256: Some(digest),
                ..Progress::default()
            };
            self.say(progress);
        }
        if let Twist::Swap { from_ms } = self.twist
            && self.now_ms >= from_ms as f64
        {
            self.twist = Twist::None;
            self.pass(1_500.0, 0.5, self.memory);
            self.observe(Observed::File(change(path, Change::Written, Some(Digest::of(b"another model")))));
        }
    }

    /// Lets time pass with this use of cores and memory; samples as they fall due.
    fn pass(&mut self, ms: f64, cores: f64, memory_mb: f64) {
        let end = (self.now_ms + ms).min(self.end_ms as f64);
        while self.now_ms < end {
            let due = (self.sampled_ms + 1_000) as f64;
            let until = due.min(end);
            let noise = self.chance.log_normal(self.job.cpu_noise);
            let share = if self.job.gpu { 0.3 } else { 1.0 };
            self.cpu_ms += (until - self.now_ms) * (cores * share * noise).min(cores.max(1.0) * 1.02);
            self.now_ms = until;
            if until >= due {
                self.sample(memory_mb, cores);
            }
        }
    }

    fn sample(&mut self, memory_mb: f64, cores: f64) {
        self.sampled_ms += 1_000;
        // Neighbours come and go.
        if self.chance.happens(0.002) {
            self.contention = if self.chance.happens(0.6) { 1.0 } else { self.chance.between(0.3, 1.0) };
        }
        self.memory += (memory_mb - self.memory) * 0.4;
        self.usage.cpu_ms = self.cpu_ms as u64;
        let jitter = 1.0 + 0.01 * self.chance.normal();
        self.usage.memory_bytes = (self.memory * jitter * 1e6) as u64;
        self.usage.received_bytes += (self.job.fetch * self.chance.log_normal(0.3)) as u64;
        self.usage.sent_bytes += (self.job.fetch * 0.002) as u64;
        if self.job.gpu {
            let busy = if cores > 0.5 { self.chance.between(55.0, 100.0) } else { 0.0 };
            self.usage.gpus = vec![GpuUsage { index: 0, busy_percent: busy as u32, memory_bytes: 2 << 30 }];
        }
        let usage = self.usage.clone();
        self.events.push(RunEvent { at_ms: self.sampled_ms, source: Source::Observed(Observed::Sample(usage)) });
    }

    fn observe(&mut self, observed: Observed) {
        self.events.push(RunEvent { at_ms: self.now_ms as u64, source: Source::Observed(observed) });
    }

    fn line(&mut self, text: &str) {
        let line = Claimed::Line { stream: "stdout".to_owned(), text: text.to_owned() };
        self.events.push(RunEvent { at_ms: self.now_ms as u64, source: Source::Claimed(line) });
    }

    fn say(&mut self, progress: Progress) {
        if matches!(self.job.talk, Talk::Nothing | Talk::Silent | Talk::Lines) {
            return;
        }
        let event = RunEvent { at_ms: self.now_ms as u64, source: Source::Claimed(Claimed::Progress(progress)) };
        if self.job.talk != Talk::Buffered {
            self.events.push(event);
            return;
        }
        self.held.push(event);
        // Eight kilobytes of lines.
        if self.held.len() >= 160 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for mut event in std::mem::take(&mut self.held) {
            event.at_ms = self.now_ms as u64;
            self.events.push(event);
        }
    }
}

fn change(path: &str, change: Change, sha256: Option<Digest>) -> FileChange {
    FileChange { path: path.to_owned(), change, size: None, sha256 }
}

/// A question to a name server that was refused.
pub(crate) fn question(name: &str) -> Observed {
    egress(&format!(
        r#"{{"via":"dns","name":"{name}","port":53,"refused":"not allowed","sent_bytes":60,"received_bytes":0,"lasted_ms":1}}"#
    ))
}

/// An attempt, from JSON.
pub(crate) fn egress(json: &str) -> Observed {
    Observed::Egress(serde_json::from_str(json).unwrap())
}

/// The digits of the example: 64 pixels each.
pub(crate) struct Data {
    pixels: Vec<[f32; 64]>,
    pub(crate) labels: Vec<u8>,
}

fn data() -> &'static Data {
    static DATA: std::sync::OnceLock<Data> = std::sync::OnceLock::new();
    DATA.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/train.csv");
        let text = fs::read_to_string(path).unwrap();
        let mut data = Data { pixels: Vec::new(), labels: Vec::new() };
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let label_at = header.iter().position(|name| name.contains("label")).unwrap();
        for line in lines {
            let mut fields: Vec<f32> = line.split(',').map(|field| field.parse().unwrap()).collect();
            data.labels.push(fields.remove(label_at) as u8);
            data.pixels.push(std::array::from_fn(|at| fields[at] / 16.0));
        }
        data
    })
}

/// Softmax regression, or a network with one hidden layer of rectified units.
struct Model {
    hidden: usize,
    weights: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    taken: i32,
}

impl Model {
    fn new(hidden: usize, chance: &mut Chance) -> Self {
        let size = if hidden == 0 { 65 * 10 } else { 65 * hidden + (hidden + 1) * 10 };
        let scale = if hidden == 0 { 0.01 } else { 0.15 };
        let weights: Vec<f32> = (0..size).map(|_| (chance.normal() * scale) as f32).collect();
        Self { hidden, first: vec![0.0; size], second: vec![0.0; size], weights, taken: 0 }
    }

    /// One step of descent; mean cross-entropy and gradient norm before it.
    fn step(&mut self, data: &Data, rows: &[usize], labels: &[u8], rate: f64, optimiser: Optimiser) -> (f64, f64) {
        let mut gradient = vec![0.0_f32; self.weights.len()];
        let mut loss = 0.0;
        for (row, label) in rows.iter().zip(labels) {
            loss += self.backward(&data.pixels[*row], usize::from(*label), &mut gradient);
        }
        let count = rows.len() as f32;
        let norm = gradient.iter().map(|g| f64::from(g / count).powi(2)).sum::<f64>().sqrt();
        self.taken = (self.taken + 1).min(10_000);
        let rate = rate as f32;
        let (unbias_first, unbias_second) = (1.0 - 0.9_f32.powi(self.taken), 1.0 - 0.999_f32.powi(self.taken));
        for (at, weight) in self.weights.iter_mut().enumerate() {
            let g = gradient[at] / count;
            match optimiser {
                Optimiser::Sgd => *weight -= rate * g,
                Optimiser::Momentum => {
                    self.first[at] = 0.9 * self.first[at] + g;
                    *weight -= rate * self.first[at];
                }
                Optimiser::Adam => {
                    self.first[at] = 0.9 * self.first[at] + 0.1 * g;
                    self.second[at] = 0.999 * self.second[at] + 0.001 * g * g;
                    let (first, second) = (self.first[at] / unbias_first, self.second[at] / unbias_second);
                    *weight -= rate * first / (second.sqrt() + 1e-8);
                }
            }
        }
        (loss / f64::from(count), norm)
    }

    fn backward(&self, x: &[f32; 64], label: usize, gradient: &mut [f32]) -> f64 {
        let split = 65 * self.hidden;
        let mut units = vec![0.0_f32; self.hidden];
        for (unit, value) in units.iter_mut().enumerate() {
            let w = &self.weights[unit * 65..unit * 65 + 65];
            *value = (w[64] + x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>()).max(0.0);
        }
        let inputs: &[f32] = if self.hidden == 0 { x } else { &units };
        let width = inputs.len() + 1;
        let mut logits = [0.0_f32; 10];
        for (class, logit) in logits.iter_mut().enumerate() {
            let w = &self.weights[split + class * width..split + (class + 1) * width];
            *logit = w[width - 1] + inputs.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
        }
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|logit| (logit - top).exp()).sum();
        let loss = f64::from(total.ln() + top - logits[label]);
        let mut back = vec![0.0_f32; self.hidden];
        for (class, logit) in logits.iter().enumerate() {
            let p = (logit - top).exp() / total - f32::from(u8::from(class == label));
            let start = split + class * width;
            for (at, x) in inputs.iter().enumerate() {
                gradient[start + at] += p * x;
            }
            gradient[start + width - 1] += p;
            for (unit, back) in back.iter_mut().enumerate() {
                *back += p * self.weights[start + unit];
            }
        }
        for (unit, back) in back.iter().enumerate().filter(|(unit, _)| units[*unit] > 0.0) {
            for (at, x) in x.iter().enumerate() {
                gradient[unit * 65 + at] += back * x;
            }
            gradient[unit * 65 + 64] += back;
        }
        loss
    }
}

/// Jobs on which thresholds were chosen.
pub(crate) fn tuned() -> Vec<Job> {
    let job = Job::usual;
    let cosine = |peak, warmup, total| RateCurve::Cosine { peak, warmup, total, end: 0.0 };
    vec![
        job("plain"),
        Job { batch: 1, step_ms: 60.0, log_every: 50, rate: RateCurve::Constant(0.01), ..job("batch of one") },
        Job { optimiser: Optimiser::Adam, hidden: 24, rate: cosine(0.003, 500, 40_000), ..job("adam, cosine") },
        Job { talk: Talk::Nothing, checkpoint_s: 900.0, ..job("says nothing") },
        Job {
            talk: Talk::Nothing,
            reads_seen: false,
            cold: true,
            checkpoint_s: 0.0,
            ..job("says nothing, reads unseen")
        },
        Job { stall: (0.004, 6.0), log_every: 10, ..job("loader stalls") },
        Job { evaluate_every: 3_000, evaluate_s: 240.0, ..job("long evaluations") },
        Job { workers: 32, cores: 4.0, memory_mb: 1_500.0, ..job("loader processes") },
        Job { talk: Talk::Buffered, log_every: 10, ..job("buffered output") },
        Job {
            label_noise: 0.3,
            hidden: 16,
            optimiser: Optimiser::Momentum,
            rate: RateCurve::Constant(0.01),
            ..job("noisy labels")
        },
        Job {
            compile_s: 150.0,
            gpu: true,
            cores: 1.0,
            talk: Talk::Loss,
            step_ms: 80.0,
            ..job("compiles, then a graphics processor")
        },
        Job { ordered: true, log_every: 10, ..job("in order") },
    ]
}

/// Jobs that were only measured, once the thresholds stood.
pub(crate) fn held_out() -> Vec<Job> {
    let job = Job::usual;
    let steps = RateCurve::Steps(vec![(0, 0.1), (10_000, 0.01), (25_000, 0.001)]);
    let linear = RateCurve::Linear { peak: 0.002, warmup: 1_000, total: 40_000, end: 0.0 };
    vec![
        Job { rate: steps, optimiser: Optimiser::Momentum, hidden: 12, ..job("steps") },
        Job { rate: linear, optimiser: Optimiser::Adam, hidden: 32, batch: 64, step_ms: 300.0, ..job("linear, wide") },
        Job { talk: Talk::Silent, reads_seen: false, checkpoint_s: 0.0, ..job("silent by plan") },
        Job { talk: Talk::Lines, evaluate_s: 60.0, stall: (0.001, 20.0), ..job("lines that mean nothing") },
        Job { folds: 5, evaluate_every: 1_000, evaluate_s: 20.0, ..job("five folds") },
        Job { buckets: true, batch: 24, log_every: 5, step_ms: 250.0, ..job("buckets of like labels") },
        Job { memory_mb: 2_600.0, fetch: 200_000.0, cold: true, ..job("large memory, fetches") },
        Job { batch_growth: true, batch: 16, ..job("growing batches") },
        Job { rate: RateCurve::Constant(0.6), batch: 4, log_every: 5, step_ms: 120.0, ..job("rate too high") },
        Job { final_evaluation_s: 800.0, gpu: true, workers: 12, cpu_noise: 0.6, ..job("ends with a long evaluation") },
        Job { telemetry_name: true, refused_calls: 30, ..job("a library asks for its maker") },
        Job {
            batch: 256,
            step_ms: 900.0,
            log_every: 1,
            rate: RateCurve::Constant(0.2),
            label_noise: 0.5,
            ..job("half noise")
        },
    ]
}

/// Jobs that were written when everything above had been measured, and measured once.
pub(crate) fn fresh() -> Vec<Job> {
    let job = Job::usual;
    let restarts = RateCurve::Steps(vec![(0, 0.1), (6_000, 0.005), (12_000, 0.1), (18_000, 0.005), (24_000, 0.1)]);
    let linear = RateCurve::Linear { peak: 0.3, warmup: 3_000, total: 60_000, end: 0.001 };
    vec![
        Job { rate: restarts, batch: 8, ..job("warm restarts") },
        Job { log_every: 1, step_ms: 90.0, batch: 8, hidden: 20, rate: linear, ..job("a word for every step") },
        Job {
            talk: Talk::Nothing,
            gpu: true,
            workers: 16,
            compile_s: 300.0,
            ..job("says nothing, compiles, a graphics processor")
        },
        Job { memory_mb: 3_600.0, memory_limit_mb: 4_096, workers: 100, cores: 8.0, ..job("near its limits") },
        Job {
            evaluate_every: 9_000,
            evaluate_s: 700.0,
            talk: Talk::Buffered,
            log_every: 25,
            ..job("buffered, evaluations of minutes")
        },
        Job { ordered: true, label_noise: 0.2, batch: 50, log_every: 3, ..job("in order, noisy") },
        Job {
            optimiser: Optimiser::Momentum,
            hidden: 40,
            batch: 2,
            rate: RateCurve::Constant(0.03),
            ..job("unsteady")
        },
        Job { stall: (0.0005, 120.0), cpu_noise: 0.8, startup_s: 90.0, cold: true, ..job("slow storage") },
        Job { folds: 10, optimiser: Optimiser::Adam, rate: RateCurve::Constant(0.01), hidden: 12, ..job("ten folds") },
        Job {
            talk: Talk::Lines,
            reads_seen: false,
            checkpoint_s: 40.0,
            fetch: 900_000.0,
            refused_calls: 60,
            ..job("fetches, unread lines")
        },
    ]
}

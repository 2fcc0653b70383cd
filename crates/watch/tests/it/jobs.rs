//! Honest jobs: a real small training (softmax regression or a network with one hidden layer, on the digits of
//! `examples/digits`) takes each step; its telemetry (time per step, use of cores, memory, pauses) follows the recordings in
//! `tests/data/jobs`, which were taken of such trainings as processes.
//!
//! `model` holds the trainings, `games` those without a dataset, `telemetry` what is seen of them, `job` the traits of
//! a job, `lists` the jobs.

mod games;
mod job;
mod lists;
mod model;
mod telemetry;

use std::collections::BTreeMap;

use ringfence_schema::{
    Digest,
    event::{Change, FileChange, Observed, Progress, READS_TOLD, RunEvent, Told, Usage},
};
use ringfence_watch::run::{Expectations, LearningRatePlan, Reports};

use self::{
    games::{Chain, Duel, Task},
    model::{Data, Model, data},
};
pub(crate) use self::{
    job::{Job, Optimiser, Talk},
    lists::{fresh, held_out, tuned, unplanned},
};
use crate::chance::Chance;

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
    chain: Chain,
    duel: Duel,
    step: u64,
    /// Steps since the weights were new, and since when they are.
    trained: u64,
    began_ms: f64,
    /// What the fold makes of the planned rate.
    factor: f64,
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
            chain: Chain::default(),
            duel: Duel::default(),
            step: 0,
            trained: 0,
            began_ms: 0.0,
            factor: 1.0,
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
        if job.reads_told {
            let measures = vec![READS_TOLD.to_owned()];
            self.observe(Observed::Started { level: "full".to_owned(), measures });
        }
        // What is not in memory yet is read while the job starts.
        self.pass(job.startup_s * 100.0, 0.9, 20.0);
        if job.cold {
            self.usage.read_bytes += 40_000_000;
        }
        self.pass(job.startup_s * 900.0, 0.9, 60.0);
        if job.reads_seen && !job.streams && job.task == Task::Digits {
            self.observe(Observed::File(change("/in/dataset/digits.csv", Change::Read, None)));
        }
        self.pass(2_000.0, 0.8, job.memory_mb);
        if job.talk == Talk::Lines {
            self.line("starting");
        }
        self.pass(job.compile_s * 1e3, job.cores, job.memory_mb * 1.1);
        self.search();
        let fold_ms = (self.end_ms as f64 - job.final_evaluation_s * 1e3) / job.folds as f64;
        for fold in 0..job.folds {
            let mut until_ms = fold_ms * (fold + 1) as f64;
            if job.sweep {
                self.factor = 10_f64.powf(self.chance.between(-2.5, 0.7));
                // Some are ended early.
                if self.chance.happens(0.3) {
                    until_ms = self.now_ms + 0.3 * (until_ms - self.now_ms);
                }
            }
            self.train(until_ms);
            self.begin_anew();
        }
        self.pass(job.final_evaluation_s * 1e3, job.cores, self.memory);
        self.flush();
    }

    fn begin_anew(&mut self) {
        if !self.job.steps_go_on {
            self.step = 0;
        }
        self.trained = 0;
        self.began_ms = self.now_ms;
        self.counts.clear();
        self.model = Model::new(self.job.hidden, &mut self.chance);
        if self.job.sweep || self.job.search_steps > 0 {
            self.pass(3_000.0, 0.4, self.job.memory_mb);
        }
    }

    /// Smith 2017, section 3.3: the rate rises by a steady factor until the loss explodes.
    fn search(&mut self) {
        let job = self.job;
        let mut best = f64::INFINITY;
        for at in 0..job.search_steps {
            let rows: Vec<usize> = (0..job.batch).map(|_| self.chance.below(self.data.labels.len())).collect();
            let rate = 1e-6 * 1e8_f64.powf(at as f64 / job.search_steps as f64);
            let (loss, norm) = self.take_step(&rows, rate);
            self.pass(job.step_ms, job.cores, job.memory_mb);
            self.step += 1;
            self.report(0.0, loss, norm, rate);
            best = best.min(loss);
            if !loss.is_finite() || loss > 6.0 * best {
                break;
            }
        }
        if job.search_steps > 0 {
            self.begin_anew();
        }
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
            let mut rows: Vec<usize> = order[at..at + batch].to_vec();
            at += batch;
            self.keep_to_stage(&mut rows, until_ms);
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
            self.trained += 1;
            if self.step.is_multiple_of(job.log_every) {
                self.report(epoch as f64 - 1.0 + at as f64 / order.len() as f64, loss, norm, rate);
            }
            if job.evaluate_s > 0.0 && self.step.is_multiple_of(job.evaluate_every) {
                let ms = job.evaluate_s * 1e3 * self.chance.log_normal(0.1);
                let cores = if job.evaluate_cores > 0.0 { job.evaluate_cores } else { job.cores.min(1.0) };
                self.pass(ms, cores, job.memory_mb * 1.15);
                let progress = Progress { step: Some(self.step), evaluation_loss: Some(loss), ..Progress::default() };
                self.say(progress);
            }
            if job.checkpoint_s > 0.0 && self.now_ms - self.last_checkpoint_ms > job.checkpoint_s * 1e3 {
                self.last_checkpoint_ms = self.now_ms;
                self.checkpoint();
            }
        }
    }

    /// Replaces rows whose label has not come yet by others.
    fn keep_to_stage(&mut self, rows: &mut [usize], until_ms: f64) {
        if self.job.stages < 2 {
            return;
        }
        let done = (self.now_ms - self.began_ms) / (until_ms - self.began_ms).max(1.0);
        let stage = (done * self.job.stages as f64).floor().min(self.job.stages as f64 - 1.0) + 1.0;
        let labels = (2.0 + 8.0 * stage / self.job.stages as f64) as u8;
        for row in rows {
            while self.data.labels[*row] >= labels {
                *row = self.chance.below(self.data.labels.len());
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
        let planned = self.job.rate.at(if self.job.steps_go_on { self.trained } else { self.step }) * self.factor;
        match self.twist {
            Twist::Rate { from_ms, factor } if self.now_ms >= from_ms as f64 => planned * factor,
            _ => planned,
        }
    }

    fn take_step(&mut self, rows: &[usize], rate: f64) -> (f64, f64) {
        match self.job.task {
            Task::Digits => {}
            Task::Chain => return self.chain.step(self.job.batch, rate, &mut self.chance),
            Task::Duel => return self.duel.step(self.job.batch, rate, &mut self.chance),
        }
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
        // A scale that is too high at the beginning, and a little too high again now and then.
        let scaled = self.job.overflows > 0.0;
        let overflows = scaled
            && (self.step < 14 * self.job.log_every && self.chance.happens(0.6)
                || self.chance.happens(self.job.overflows));
        let norm = if overflows { f64::INFINITY } else { norm };
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

//! Figures of runs, alerts and sinks, by family, for Prometheus and OpenTelemetry.

use std::collections::BTreeMap;

use ringfence_schema::{
    Timestamp,
    event::{Progress, Usage},
    finding::printable,
};

/// Most points of all families together.
pub const POINTS_MAX: usize = 4_096;
/// Longest value of a label in characters.
const LABEL_CHARS_MAX: usize = 128;

/// Figures at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// The vault that they are of.
    pub vault: String,
    /// Since when counters count.
    pub since: Timestamp,
    /// When they were taken.
    pub at: Timestamp,
    families: BTreeMap<&'static str, Family>,
    points: usize,
}

/// One figure with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// `ringfence_` and so on, with its unit; counters end in `_total`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Whether it only rises.
    pub kind: MetricKind,
    /// One value for each combination of labels.
    pub points: Vec<Point>,
}

/// Kinds of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Name and value of each label.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Metrics {
    /// None yet.
    pub fn new(vault: impl Into<String>, since: Timestamp, at: Timestamp) -> Self {
        Self { vault: vault.into(), since, at, families: BTreeMap::new(), points: 0 }
    }

    /// By name.
    pub fn families(&self) -> impl Iterator<Item = &Family> {
        self.families.values()
    }

    /// Adds a value; beyond [`POINTS_MAX`] it is left out.
    pub fn add(
        &mut self,
        (name, kind, help): (&'static str, MetricKind, &'static str),
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        if self.points >= POINTS_MAX {
            return;
        }
        self.points += 1;
        let labels = labels.iter().map(|(name, value)| (*name, printable(value, LABEL_CHARS_MAX))).collect();
        let family = self.families.entry(name).or_insert_with(|| Family { name, help, kind, points: Vec::new() });
        family.points.push(Point { labels, value });
    }

    /// Adds what is known of a run: what the kernel told, and what the job said, under names that keep them apart.
    pub fn add_run(&mut self, run: &str, usage: &Usage, claimed: Option<&Progress>) {
        let labels: &[(&'static str, &str)] = &[("run", run)];
        let counted = |value: u64| value as f64;
        let observed = [
            (RUN_CPU, counted(usage.cpu_ms) / 1e3),
            (RUN_MEMORY, counted(usage.memory_bytes)),
            (RUN_PROCESSES, counted(usage.processes)),
            (RUN_READ, counted(usage.read_bytes)),
            (RUN_WRITTEN, counted(usage.written_bytes)),
            (RUN_SENT, counted(usage.sent_bytes)),
            (RUN_RECEIVED, counted(usage.received_bytes)),
            (RUN_REFUSED, counted(usage.refused_calls)),
        ];
        for (family, value) in observed {
            self.add(family, labels, value);
        }
        for gpu in &usage.gpus {
            let index = gpu.index.to_string();
            let labels: &[(&'static str, &str)] = &[("run", run), ("gpu", &index)];
            self.add(RUN_GPU_BUSY, labels, f64::from(gpu.busy_percent) / 100.0);
            self.add(RUN_GPU_MEMORY, labels, counted(gpu.memory_bytes));
        }
        let Some(claimed) = claimed else { return };
        let said = [
            (RUN_STEP, claimed.step.map(counted)),
            (RUN_LOSS, claimed.loss),
            (RUN_RATE, claimed.learning_rate),
            (RUN_NORM, claimed.gradient_norm),
        ];
        for (family, value) in said {
            if let Some(value) = value {
                self.add(family, labels, value);
            }
        }
    }
}

type Name = (&'static str, MetricKind, &'static str);

const RUN_CPU: Name = ("ringfence_run_cpu_seconds_total", MetricKind::Counter, "CPU time of a run, user and system");
const RUN_MEMORY: Name = ("ringfence_run_memory_bytes", MetricKind::Gauge, "Resident memory of a run");
const RUN_PROCESSES: Name = ("ringfence_run_processes", MetricKind::Gauge, "Processes of a run");
const RUN_READ: Name = ("ringfence_run_read_bytes_total", MetricKind::Counter, "Bytes that a run read from storage");
const RUN_WRITTEN: Name =
    ("ringfence_run_written_bytes_total", MetricKind::Counter, "Bytes that a run wrote to storage");
const RUN_SENT: Name =
    ("ringfence_run_sent_bytes_total", MetricKind::Counter, "Bytes that a run sent to allowed hosts");
const RUN_RECEIVED: Name =
    ("ringfence_run_received_bytes_total", MetricKind::Counter, "Bytes that a run received from allowed hosts");
const RUN_REFUSED: Name =
    ("ringfence_run_refused_calls_total", MetricKind::Counter, "Calls of a run that the kernel refused");
const RUN_GPU_BUSY: Name =
    ("ringfence_run_gpu_busy_ratio", MetricKind::Gauge, "Share of time with a kernel on the GPU");
const RUN_GPU_MEMORY: Name = ("ringfence_run_gpu_memory_bytes", MetricKind::Gauge, "Memory in use on the GPU");
const RUN_STEP: Name =
    ("ringfence_run_claimed_steps_total", MetricKind::Counter, "Optimiser steps, by the job's own account");
const RUN_LOSS: Name = ("ringfence_run_claimed_loss", MetricKind::Gauge, "Training loss, by the job's own account");
const RUN_RATE: Name =
    ("ringfence_run_claimed_learning_rate", MetricKind::Gauge, "Learning rate, by the job's own account");
const RUN_NORM: Name =
    ("ringfence_run_claimed_gradient_norm", MetricKind::Gauge, "Gradient norm, by the job's own account");

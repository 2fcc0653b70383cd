//! The honest jobs that are measured, by when they were written.

use ringfence_watch::run::RateCurve;

use super::{Job, Optimiser, Talk, games::Task};

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

/// Jobs of which the models knew nothing when all above was measured: what trains otherwise than by passes over a dataset
/// whose loss falls. They are judged without any plan or profile.
pub(crate) fn unplanned() -> Vec<Job> {
    let job = Job::usual;
    let constant = RateCurve::Constant;
    let cycle = RateCurve::Cosine { peak: 0.2, warmup: 2_000, total: 30_000, end: 0.0 };
    let told = |name| Job { reads_told: true, ..Job::usual(name) };
    vec![
        Job { overflows: 0.004, batch: 8, log_every: 5, rate: cycle.clone(), ..told("mixed precision overflows") },
        Job {
            overflows: 0.001,
            log_every: 1,
            gpu: true,
            optimiser: Optimiser::Adam,
            rate: constant(0.002),
            ..told("overflows, a word for every step")
        },
        Job { folds: 14, sweep: true, log_every: 50, hidden: 12, ..told("a sweep") },
        Job { folds: 9, sweep: true, steps_go_on: true, log_every: 10, ..told("a sweep that counts on") },
        Job { folds: 40, log_every: 30, evaluate_every: 500, evaluate_s: 3.0, ..told("forty short folds") },
        Job { stages: 4, batch: 8, log_every: 5, rate: constant(0.1), ..told("a curriculum of labels") },
        Job {
            stages: 8,
            hidden: 24,
            optimiser: Optimiser::Momentum,
            rate: constant(0.02),
            ..told("labels come one by one")
        },
        Job { search_steps: 300, log_every: 10, rate: cycle.clone(), ..told("a search for the rate first") },
        Job { search_steps: 120, hidden: 32, rate: constant(0.05), reads_seen: false, ..job("a short search") },
        Job {
            log_every: 8_000,
            evaluate_every: 8_000,
            evaluate_s: 90.0,
            gpu: true,
            workers: 8,
            ..told("a word an epoch")
        },
        Job { streams: true, fetch: 9e6, gpu: true, workers: 6, ..told("streams its data") },
        Job {
            streams: true,
            fetch: 2.5e6,
            talk: Talk::Lines,
            log_every: 400,
            startup_s: 25.0,
            ..told("streams, unread lines")
        },
        Job { task: Task::Chain, log_every: 200, step_ms: 40.0, rate: constant(0.2), ..told("learns by reward") },
        Job {
            task: Task::Chain,
            log_every: 20,
            cores: 6.0,
            step_ms: 300.0,
            startup_s: 12.0,
            rate: constant(0.4),
            ..told("learns by reward, many cores")
        },
        Job {
            task: Task::Duel,
            log_every: 50,
            batch: 16,
            gpu: true,
            rate: constant(0.02),
            ..told("two networks against each other")
        },
        Job { task: Task::Duel, log_every: 5, batch: 64, rate: constant(0.2), ..told("two networks, unsteady") },
        Job { ordered: true, batch: 16, log_every: 10, ..told("labels in order") },
        Job { buckets: true, batch: 24, log_every: 4, ..told("labels in buckets") },
        Job { compile_s: 500.0, startup_s: 20.0, gpu: true, ..told("compiles for long") },
        Job {
            evaluate_every: 2_500,
            evaluate_s: 150.0,
            evaluate_cores: 5.0,
            log_every: 8,
            ..told("evaluates on many cores")
        },
    ]
}

//! Runs: every bad job is flagged in time and as what it is, and honest jobs are left alone.

use std::{collections::BTreeMap, fs, path::PathBuf};

use ringfence_schema::{
    Digest, Timestamp,
    alert::Alert,
    event::{Change, Claimed, FileChange, GpuUsage, Observed, Progress, RunEvent, Source, Usage},
};
use ringfence_watch::run::{Expectations, RunWatch};

use crate::{
    chance::Chance,
    jobs::{self, Job, Talk, Twist},
};

/// A bad job must be flagged within this time.
const IN_TIME_MS: u64 = 30_000;

fn watch(expected: &Expectations, events: &[RunEvent]) -> Vec<Alert> {
    let mut watch = RunWatch::new("run-1", start(), expected.clone());
    let mut alerts: Vec<Alert> = events.iter().flat_map(|event| watch.push(event)).collect();
    alerts.extend(watch.end());
    alerts
}

fn start() -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000)
}

/// Recordings of real trainings as processes, in `tests/data/jobs`, by name.
fn recordings() -> BTreeMap<String, Vec<RunEvent>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/jobs");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let text = fs::read_to_string(&path).unwrap();
            let events = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            found.insert(path.file_stem().unwrap().to_string_lossy().into_owned(), events);
        }
    }
    found
}

/// What is expected of a recorded training: the profile is of what it read, so it comes from all of its counts together.
fn recorded_expectations(name: &str, events: &[RunEvent]) -> Expectations {
    let mut counts = BTreeMap::<String, u64>::new();
    for event in events {
        if let Source::Claimed(Claimed::Progress(progress)) = &event.source {
            for (label, count) in &progress.labels {
                *counts.entry(label.clone()).or_default() += count;
            }
        }
    }
    let all = counts.values().sum::<u64>().max(1) as f64;
    let label_shares = counts.into_iter().map(|(label, count)| (label, count as f64 / all)).collect();
    Expectations { label_shares, ordered: name.contains("ordered"), cores: Some(2.0), ..Expectations::default() }
}

#[test]
fn recorded_trainings_raise_nothing() {
    let recordings = recordings();
    assert!(recordings.len() >= 16);
    for (name, events) in recordings {
        let alerts = watch(&recorded_expectations(&name, &events), &events);
        assert!(alerts.is_empty(), "{name}: {alerts:#?}");
    }
}

/// Run-hours, and what was raised: job, kind. Without a plan nothing is expected, as of a recording.
fn count(jobs: &[Job], with_plan: bool, seeds: std::ops::Range<u64>, hours: f64) -> (f64, Vec<String>) {
    let (mut all_hours, mut raised) = (0.0, Vec::new());
    for job in jobs {
        for seed in seeds.clone() {
            let job = Job { hours, ..job.clone() };
            let (planned, events) = jobs::play(&job, seed, Twist::None, u64::MAX);
            let expected = if with_plan { planned } else { Expectations::default() };
            all_hours += hours;
            for alert in watch(&expected, &events) {
                let at_s = (alert.at.millis() - start().millis()) / 1_000;
                raised.push(format!(
                    "{} (seed {seed}, {at_s} s): {} {} {}",
                    job.name, alert.kind, alert.expected, alert.seen
                ));
            }
        }
    }
    (all_hours, raised)
}

#[test]
fn honest_jobs_of_a_few_minutes_raise_nothing() {
    for (jobs, with_plan) in [(jobs::tuned(), true), (jobs::unplanned(), false)] {
        let (hours, raised) = count(&jobs, with_plan, 900..901, 0.15);
        assert!(raised.is_empty(), "{hours} h: {raised:#?}");
    }
}

/// The measurement: `cargo test --release -p ringfence-watch -- --ignored --nocapture honest_run_hours`.
#[test]
#[ignore = "two hundred simulated hours, some minutes in release"]
fn honest_run_hours() {
    for (name, jobs, seed, with_plan) in [
        ("tuned", jobs::tuned(), 1, true),
        ("held out", jobs::held_out(), 77, true),
        ("fresh", jobs::fresh(), 4_001, true),
        ("fresh without a plan", jobs::fresh(), 4_101, false),
        ("unplanned", jobs::unplanned(), 6_001, false),
    ] {
        let (hours, raised) = count(&jobs, with_plan, seed..seed + 2, 2.0);
        println!("{name}: {} jobs, {hours} run-hours, {} alerts", jobs.len(), raised.len());
        for alert in &raised {
            println!("  {alert}");
        }
        // Told rightly: names that the plan does not allow, and a training that does diverge for a while.
        let right = |alert: &&String| {
            let diverged =
                alert.starts_with("unsteady") && (alert.contains("loss-spike") || alert.contains("divergence"));
            alert.contains("refused-name") || diverged
        };
        let false_alerts = raised.iter().filter(|alert| !right(alert)).count();
        println!("  false: {:.2} in 24 run-hours", false_alerts as f64 / hours * 24.0);
        assert!((false_alerts as f64) < hours / 24.0);
    }
}

/// What a bad job does, the kind that it must be flagged as, and what happens.
struct Bad {
    name: String,
    kinds: &'static [&'static str],
    from_ms: u64,
    expected: Expectations,
    events: Vec<RunEvent>,
}

fn observed(at_ms: u64, observed: Observed) -> RunEvent {
    RunEvent { at_ms, source: Source::Observed(observed) }
}

/// Appends to an honest job, from `from_ms` on, what `deed` makes of each second.
fn joined(
    job: &Job,
    seed: u64,
    from_ms: u64,
    deed: impl Fn(u64, &mut Usage) -> Vec<Observed>,
) -> (Expectations, Vec<RunEvent>) {
    let (expected, mut events) = jobs::play(job, seed, Twist::None, from_ms + 60_000);
    let mut added = Vec::new();
    for event in &mut events {
        if let Source::Observed(Observed::Sample(usage)) = &mut event.source
            && event.at_ms >= from_ms
        {
            let second = (event.at_ms - from_ms) / 1_000;
            added.extend(deed(second, usage).into_iter().map(|what| observed(event.at_ms, what)));
        }
    }
    events.extend(added);
    events.sort_by_key(|event| event.at_ms);
    (expected, events)
}

/// A job that only burns: no training in it.
fn burner(
    claims: Option<fn(u64, &mut Chance) -> Progress>,
    reads_seen: Option<bool>,
    gpu: bool,
    seed: u64,
) -> Vec<RunEvent> {
    let mut chance = Chance::new(seed);
    let mut events = Vec::new();
    let mut cpu_ms = 0.0;
    for second in 0..90 {
        cpu_ms += if gpu { 50.0 } else { 1_950.0 * chance.between(0.9, 1.0) };
        let gpus = if gpu { vec![GpuUsage { index: 0, busy_percent: 99, memory_bytes: 4 << 30 }] } else { Vec::new() };
        let usage = Usage { cpu_ms: cpu_ms as u64, memory_bytes: 20_000_000, processes: 2, gpus, ..Usage::default() };
        events.push(observed(second * 1_000, Observed::Sample(usage)));
        if let Some(claims) = claims {
            let progress = claims(second, &mut chance);
            events.push(RunEvent { at_ms: second * 1_000 + 500, source: Source::Claimed(Claimed::Progress(progress)) });
        }
        if second == 1 && reads_seen == Some(true) {
            let change =
                FileChange { path: "/program/run.py".to_owned(), change: Change::Read, size: None, sha256: None };
            events.push(observed(1_000, Observed::File(change)));
        }
    }
    events
}

fn bad_jobs(base: &Job, seed: u64) -> Vec<Bad> {
    // Every misdeed happens while training goes on.
    let base = &Job { final_evaluation_s: 0.0, ..base.clone() };
    let mut chance = Chance::new(seed);
    let from_ms = (chance.between(60.0, 400.0) * 1e3) as u64;
    let mut bad = Vec::new();
    let mut add = |name: &str, kinds, from_ms, (expected, events)| {
        bad.push(Bad { name: format!("{name} in `{}`, seed {seed}", base.name), kinds, from_ms, expected, events });
    };
    let talks = matches!(base.talk, Talk::Full) && base.log_every as f64 * base.step_ms <= 4_000.0 && !base.ordered;
    let salt = seed;
    add(
        "dns exfiltration",
        &["dns-exfiltration"],
        from_ms,
        joined(base, seed, from_ms, move |second, _| {
            let digest = Digest::of(&(second + 1_000 * salt).to_be_bytes()).hex();
            vec![jobs::question(&format!("{}.{}.attacker.example", &digest[..30], second))]
        }),
    );
    add(
        "dns exfiltration, slowly",
        &["dns-exfiltration"],
        from_ms,
        joined(base, seed, from_ms, move |second, _| {
            let word = ["amber", "basalt", "cedar", "delta", "ember", "fjord"];
            let of = |n: u64| word[(Digest::of(&(n + salt).to_be_bytes()).as_bytes()[0] % 6) as usize];
            vec![jobs::question(&format!("{}-{}-{}.t.example", of(second), of(second + 77), of(second * 31)))]
        }),
    );
    let tls = r#"{"via":"tcp","name":"files.example","port":443,"refused":"a TLS client hello for another name","sent_bytes":300,"received_bytes":0,"lasted_ms":9}"#;
    let host = r#"{"via":"tcp","name":"files.example","port":80,"refused":"an HTTP request for another host","sent_bytes":300,"received_bytes":0,"lasted_ms":9}"#;
    let address = r#"{"via":"tcp","address":"203.0.113.9","port":443,"refused":"no name led there","sent_bytes":0,"received_bytes":0,"lasted_ms":1}"#;
    let metadata = r#"{"via":"tcp","address":"169.254.169.254","port":80,"refused":"no name led there","sent_bytes":0,"received_bytes":0,"lasted_ms":1}"#;
    for (name, kinds, json) in [
        ("other name in TLS", &["other-name"] as &[&str], tls),
        ("other name in HTTP", &["other-name"], host),
        ("direct address", &["direct-address"], address),
        ("metadata service", &["private-target"], metadata),
    ] {
        let once = |second: u64, _: &mut Usage| if second == 3 { vec![jobs::egress(json)] } else { Vec::new() };
        add(name, kinds, from_ms, joined(base, seed, from_ms, once));
    }
    add(
        "unix socket",
        &["unix-socket"],
        from_ms,
        joined(base, seed, from_ms, |second, usage| {
            usage.refused_calls += 1;
            let detail = "socket of family 1 type 1".to_owned();
            if second == 2 { vec![Observed::Refused { detail }] } else { Vec::new() }
        }),
    );
    add(
        "fork bomb, slow",
        &["fork-bomb"],
        from_ms,
        joined(base, seed, from_ms, |second, usage| {
            usage.processes += (2_f64.powf(second as f64 / 2.0) as u64).min(510);
            Vec::new()
        }),
    );
    add(
        "fork bomb, fast",
        &["fork-bomb"],
        from_ms,
        joined(base, seed, from_ms, |second, usage| {
            usage.processes = 512;
            let detail = "processes: 912 could not be made".to_owned();
            if second == 20 { vec![Observed::Limit { detail }] } else { Vec::new() }
        }),
    );
    let pace = chance.between(160.0, 600.0) * 1e6;
    add(
        "memory bomb",
        &["memory-bomb"],
        from_ms,
        joined(base, seed, from_ms, move |second, usage| {
            usage.memory_bytes = (usage.memory_bytes + (second as f64 * pace) as u64).min(4 << 30);
            Vec::new()
        }),
    );
    let plays = |twist| jobs::play(base, seed, twist, from_ms + 120_000);
    if talks {
        let factor = if chance.happens(0.5) { chance.between(3.0, 50.0) } else { chance.between(0.02, 0.5) };
        add("learning-rate tamperer", &["learning-rate"], from_ms, plays(Twist::Rate { from_ms, factor }));
        let share = chance.between(0.6, 1.0);
        add("label flipper, one class", &["label-share"], from_ms, plays(Twist::Flip { from_ms, share, all: false }));
        let share = chance.between(0.15, 0.5);
        add("label flipper, all classes", &["label-share"], from_ms, plays(Twist::Flip { from_ms, share, all: true }));
        let factor = chance.between(10.0, 40.0) * 0.05 / base.rate.at(4_000).max(1e-4);
        let kinds = &["loss-spike", "divergence"];
        add("loss bomb", kinds, from_ms, plays(Twist::Ascend { from_ms, factor }));
        let swapping = Job { checkpoint_s: 20.0, ..base.clone() };
        let played = jobs::play(&swapping, seed, Twist::Swap { from_ms }, from_ms + 120_000);
        let swap = |event: &&RunEvent| match &event.source {
            Source::Observed(Observed::File(change)) => change.sha256 == Some(Digest::of(b"another model")),
            _ => false,
        };
        let swapped_ms = played.1.iter().find(swap).map_or(0, |event| event.at_ms);
        add("checkpoint swapper", &["checkpoint-swap"], swapped_ms, played);
    }
    let shares = plays(Twist::None).0;
    let constant: fn(u64, &mut Chance) -> Progress =
        |second, _| Progress { step: Some(second), loss: Some(0.5), ..Progress::default() };
    let plausible: fn(u64, &mut Chance) -> Progress = |second, chance| {
        let loss = 2.3 * (-(second as f64) / 60.0).exp() * chance.log_normal(0.1);
        Progress { step: Some(second * 10), loss: Some(loss), ..Progress::default() }
    };
    // Who plans a job that says nothing, where reads are not seen, has nothing to tell it from a miner by.
    if base.talk != Talk::Silent {
        add("miner, silent", &["miner"], 0, (shares.clone(), burner(None, None, false, seed)));
        add("miner on a graphics processor", &["miner"], 0, (shares.clone(), burner(None, None, true, seed)));
    }
    add("miner, silent, reads seen", &["miner"], 0, (shares.clone(), burner(None, Some(true), false, seed)));
    add("miner, always the same claims", &["miner"], 0, (shares.clone(), burner(Some(constant), None, false, seed)));
    add("miner, plausible claims", &["miner"], 0, (shares, burner(Some(plausible), Some(true), false, seed)));
    bad
}

/// How many bad jobs were flagged in time as what they are, and which were not; the longest time.
fn flagged(bases: &[Job], with_plan: bool, seeds: std::ops::Range<u64>) -> (usize, usize, u64, Vec<String>) {
    let (mut all, mut good, mut longest, mut missed) = (0, 0, 0, Vec::new());
    for base in bases {
        for seed in seeds.clone() {
            for bad in bad_jobs(base, seed) {
                all += 1;
                let nothing = Expectations::default();
                let alerts = watch(if with_plan { &bad.expected } else { &nothing }, &bad.events);
                let after = |alert: &Alert| (alert.at.millis() - start().millis()).checked_sub(bad.from_ms);
                let right = |alert: &&Alert| bad.kinds.contains(&alert.kind.as_str()) && after(alert).is_some();
                let taken = alerts.iter().find(right).and_then(after);
                match taken {
                    Some(taken) if taken <= IN_TIME_MS => {
                        good += 1;
                        longest = longest.max(taken);
                    }
                    late => {
                        let others: Vec<&str> = alerts.iter().map(|alert| alert.kind.as_str()).collect();
                        missed.push(format!("{}: {late:?} ms, raised {others:?}", bad.name));
                    }
                }
            }
        }
    }
    (all, good, longest, missed)
}

#[test]
fn bad_jobs_are_flagged_in_time_and_as_what_they_are() {
    let bases: Vec<Job> = jobs::tuned().into_iter().filter(|job| job.name == "plain").collect();
    let (all, good, _, missed) = flagged(&bases, true, 5..6);
    assert_eq!(all, good, "{missed:#?}");
}

/// The measurement: `cargo test --release -p ringfence-watch -- --ignored --nocapture every_bad_job`.
#[test]
#[ignore = "thousands of jobs, some minutes in release"]
fn every_bad_job_in_every_honest_one() {
    for (name, jobs, seed, with_plan) in [
        ("tuned", jobs::tuned(), 10, true),
        ("held out", jobs::held_out(), 500, true),
        ("fresh", jobs::fresh(), 9_000, true),
        ("fresh without a plan", jobs::fresh(), 9_100, false),
    ] {
        let (all, good, longest, missed) = flagged(&jobs, with_plan, seed..seed + 3);
        println!("{name}: {good} of {all} flagged within 30 s, the last after {longest} ms");
        for line in &missed {
            println!("  {line}");
        }
        let least = if with_plan { 97 } else { 80 };
        assert!(good * 100 >= all * least, "{missed:#?}");
    }
}

/// A report a second, with the losses given.
fn reports(losses: impl Iterator<Item = (u64, f64)>) -> Vec<RunEvent> {
    let told = |(at, (step, loss)): (usize, (u64, f64))| {
        let progress = Progress { step: Some(step), loss: Some(loss), ..Progress::default() };
        RunEvent { at_ms: at as u64 * 1_000, source: Source::Claimed(Claimed::Progress(progress)) }
    };
    losses.enumerate().map(told).collect()
}

#[test]
fn restarts_do_not_quieten_a_bomb() {
    let honest = |at: u64| 2.3 - 0.1 * (at % 6) as f64;
    let bomb = |at: u64| if at < 120 { honest(at) } else { 2.3 * 1.3_f64.powi((at - 120) as i32) };
    let restarting = |loss: &dyn Fn(u64) -> f64| reports((0..160).map(|at| (10 * (at % 6), loss(at))));
    assert!(watch(&Expectations::default(), &restarting(&honest)).is_empty());
    let alerts = watch(&Expectations::default(), &restarting(&bomb));
    assert!(alerts.iter().any(|alert| alert.kind == "loss-spike"), "{alerts:#?}");
}

#[test]
fn a_loss_that_rises_from_nothing_is_no_bomb_until_it_explodes() {
    let rising = |at: u64| 0.01 * (1.0 + at as f64 / 20.0) * (1.0 + 0.3 * (at % 5) as f64);
    let events = reports((0..900).map(|at| (at, rising(at))));
    assert!(watch(&Expectations::default(), &events).is_empty());
    let exploding = reports((0..900).map(|at| (at, rising(at) * 2_f64.powi((at.max(880) - 880) as i32))));
    assert!(!watch(&Expectations::default(), &exploding).is_empty());
}

#[test]
fn a_rate_that_jumps_is_told_and_one_that_warms_up_or_restarts_is_not() {
    let of = |rate: fn(u64) -> f64| -> Vec<String> {
        let mut events = reports((0..300).map(|at| (at * 10, 2.0 / (1.0 + at as f64 / 50.0))));
        for (at, event) in events.iter_mut().enumerate() {
            if let Source::Claimed(Claimed::Progress(progress)) = &mut event.source {
                progress.learning_rate = Some(rate(at as u64));
                progress.epoch = Some(at as f64 / 70.0);
            }
        }
        watch(&Expectations::default(), &events).into_iter().map(|alert| alert.kind).collect()
    };
    let warm: fn(u64) -> f64 = |at| 1e-3 * (at as f64 / 40.0).min(1.0);
    let restarts: fn(u64) -> f64 = |at| 1e-3 * (1.0 - (at % 100) as f64 / 100.0);
    let by_pass: fn(u64) -> f64 = |at| [1e-6, 0.05, 0.1][(at / 70).min(2) as usize];
    for honest in [warm, restarts, by_pass] {
        assert!(of(honest).is_empty());
    }
    assert_eq!(of(|at| if at < 175 { 1e-3 } else { 2e-2 }), ["learning-rate"]);
}

#[test]
fn absurd_claims_and_floods_break_nothing() {
    let shares = (0..10).map(|label| (label.to_string(), 0.1)).collect();
    let expected = Expectations {
        label_shares: shares,
        memory_bytes: Some(1),
        processes: Some(1),
        egress_budget_bytes: Some(1),
        ..Expectations::default()
    };
    let mut watch = RunWatch::new("run-1", start(), expected);
    let mut chance = Chance::new(3);
    let mut raised = 0;
    for at in 0..6_000_u64 {
        let extreme = [0.0, -1e308, 1e308, f64::NAN, f64::INFINITY, 1e-320][chance.below(6)];
        let count = [0, 1, u64::MAX][chance.below(3)];
        let progress = Progress {
            step: Some(chance.next() >> chance.below(64)),
            epoch: Some(extreme),
            loss: Some(extreme),
            learning_rate: Some(extreme),
            gradient_norm: Some(extreme),
            labels: [(at % 3_000).to_string(), "1".to_owned()].into_iter().map(|label| (label, count)).collect(),
            checkpoint: Some(format!("/out/{at}")),
            checkpoint_sha256: Some(Digest::of(b"x")),
            ..Progress::default()
        };
        let usage =
            Usage { cpu_ms: count, memory_bytes: count, processes: count, sent_bytes: count, ..Usage::default() };
        let change = FileChange {
            path: format!("/out/{at}"),
            change: Change::Written,
            size: None,
            sha256: Some(Digest::of(b"y")),
        };
        for source in [
            Source::Claimed(Claimed::Progress(progress)),
            Source::Observed(Observed::Sample(usage)),
            Source::Observed(Observed::File(change)),
            Source::Observed(jobs::question(&format!("{}.{at}.example", "é".repeat(300)))),
        ] {
            let at_ms = if at == 5_000 { u64::MAX } else { at * 500 };
            raised += watch.push(&RunEvent { at_ms, source }).len();
        }
    }
    raised += watch.end().len();
    assert!(raised > 0);
    assert!(watch.signals().iter().all(|signal| !signal.expected.is_empty()));
}

//! Measures fetching on loopback, and prints one JSON object of figures.
//!
//! Usage: `reach_bench [MEBIBYTES]`, or `reach_bench serve FOLDER` for the server alone, which runs in a process of its own
//! so that its work is not counted. Rates are 10^9 bytes per second of this process's CPU time, or of wall time; SHA-256,
//! the comparison with the source's hash and the writing of the file are included.

#![expect(clippy::print_stdout, reason = "the document is what this program is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use ringfence_reach::{
    HashRule, Reach, Resume, Secrets, Settings,
    testing::{TestHub, open_settings},
};
use serde_json::json;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => serve(Path::new(arguments.get(1).unwrap())),
        size => measure(size.map_or(1_024, |text| text.parse::<usize>().unwrap())),
    }
}

/// Serves `FOLDER` as the model `bench/net` until standard input ends; says where.
fn serve(folder: &Path) {
    let hub = TestHub::start(0).unwrap();
    hub.put_folder("models/bench/net", folder).unwrap();
    println!("{} {}", hub.api.port(), hub.storage.port());
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
}

fn measure(mebibytes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut content = vec![0_u8; mebibytes << 20];
    let mut state = 1_u64;
    for word in content.chunks_exact_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.copy_from_slice(&state.to_le_bytes());
    }
    fs::write(folder.path().join("model.safetensors"), &content).unwrap();
    let before = cpu();
    std::hint::black_box(ringfence_schema::Digest::of(&content));
    let hashing = cpu_since(before);
    drop(content);
    for number in 0..5_000 {
        fs::write(folder.path().join(format!("part-{number:05}.json")), number.to_string()).unwrap();
    }
    let (mut server, settings) = start(folder.path());
    let reach = Reach::new(settings, Secrets::default()).unwrap();

    let begun = Instant::now();
    let listing = reach.listing(&"hf://bench/net".parse().unwrap()).unwrap();
    let listing_ms = begun.elapsed().as_secs_f64() * 1e3;
    let file = listing.file("model.safetensors").unwrap();

    // The first time warms the page cache and the connection.
    let mut best: Option<(Duration, Duration)> = None;
    for _ in 0..3 {
        let (begun, cpu) = (Instant::now(), cpu());
        let mut out = fs::File::create(folder.path().join("fetched")).unwrap();
        let fetched = reach.fetch(file, &mut out, Resume::Start, &mut |_| {}).unwrap();
        assert_eq!(fetched.bytes, (mebibytes as u64) << 20);
        let run = (cpu_since(cpu), begun.elapsed());
        best = Some(best.map_or(run, |best| (best.0.min(run.0), best.1.min(run.1))));
    }
    let (cpu, wall) = best.unwrap();
    let gigabytes = (mebibytes << 20) as f64 / 1e9;

    let begun = Instant::now();
    let mut look = reach.open_range(file).unwrap();
    look.seek(SeekFrom::End(-22)).unwrap();
    look.read_to_end(&mut Vec::new()).unwrap();
    let tail_ms = begun.elapsed().as_secs_f64() * 1e3;
    println!(
        "{}",
        json!({
            "file_mib": mebibytes,
            "fetch_gb_per_cpu_second": gigabytes / cpu.as_secs_f64(),
            "sha256_alone_gb_per_cpu_second": gigabytes / hashing.as_secs_f64(),
            "fetch_gb_per_second": gigabytes / wall.as_secs_f64(),
            "end_of_archive_ms": tail_ms,
            "end_of_archive_bytes": look.fetched(),
            "listing_files": listing.files.len(),
            "listing_ms": listing_ms,
        })
    );
    drop(server.stdin.take());
    server.wait().unwrap();
}

/// The server in its own process, and settings that open it.
fn start(folder: &Path) -> (Child, Settings) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ports: Vec<u16> = line.split_ascii_whitespace().map(|word| word.parse().unwrap()).collect();
    let mut settings = open_settings(&ports);
    settings.hub.endpoint = format!("http://127.0.0.1:{}", ports.first().unwrap());
    settings.trusted.hash = HashRule::Required;
    settings.limits = ringfence_reach::Limits::default();
    (server, settings)
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap())
}

fn cpu_since(before: Duration) -> Duration {
    cpu().saturating_sub(before)
}

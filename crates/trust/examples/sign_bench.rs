//! Measures hashing, signing and verifying of a model of four files and prints one JSON document. Figures are per second of
//! CPU time, so that a busy machine does not change them much; the best of three passes counts.
//!
//! `cargo run --release -p ringfence-trust --example sign_bench -- [MiB of the model] [key.pem]`; the key is one of the test vectors by default.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program, not a library")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use nix::sys::resource::{UsageWho, getrusage};
use ringfence_schema::Timestamp;
use ringfence_trust::{
    content::{Content as _, Folder, HashAlgorithm, Job, hash_all},
    ecdsa::EcdsaKey,
    entropy::{Entropy as _, SeededEntropy},
    oms::{self, ModelSigner, Request, Serialization, Trusted, Uncovered},
};
use serde_json::json;

/// Files of the model.
const FILES: usize = 4;
/// Passes of each measurement.
const PASSES: usize = 3;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mebibytes: usize = arguments.next().map_or(1_024, |count| count.parse().unwrap());
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/oms/p256.key.pem");
    let key = fs::read(arguments.next().map_or(vectors, PathBuf::from)).unwrap();
    let dir = tempfile::tempdir_in(".").unwrap();
    let mut entropy = SeededEntropy::new(1);
    let mut block = vec![0; 1 << 20];
    for index in 0..FILES {
        entropy.fill(&mut block);
        fs::write(dir.path().join(format!("model-{index}.safetensors")), block.repeat(mebibytes / FILES)).unwrap();
    }
    let bytes = (mebibytes / FILES * FILES) as f64 * f64::from(1 << 20);
    let folder = Folder::open(dir.path()).unwrap();
    let one = folder.entries().first().unwrap();
    let job = [Job { entry: one, range: 0..one.size }];
    let algorithms = HashAlgorithm::ALL.map(|algorithm| {
        let (cpu, _) = best(|| drop(hash_all(&folder, algorithm, &job).unwrap()));
        json!({"hash": algorithm.name(), "gb_per_cpu_second": one.size as f64 / 1e9 / cpu})
    });
    let signer = ModelSigner::Key(EcdsaKey::from_pem(&key).unwrap());
    let public = EcdsaKey::from_pem(&key).unwrap().public_key().clone();
    let mut bundle = Vec::new();
    let (sign_cpu, sign_wall) = best(|| {
        let folder = Folder::open(dir.path()).unwrap();
        bundle = oms::sign(&folder, "model", &Serialization::default(), None, &signer).unwrap();
    });
    let trusted = [Trusted::Key(public)];
    let request = Request { signature_path: None, at: Timestamp::from_millis(0), uncovered: Uncovered::Refuse };
    let (verify_cpu, verify_wall) = best(|| {
        let folder = Folder::open(dir.path()).unwrap();
        drop(oms::verify(&folder, &bundle, &trusted, &request).unwrap());
    });
    println!(
        "{}",
        json!({
            "schema": "ringfence.bench.sign/1",
            "model_bytes": bytes,
            "hashing": algorithms,
            "model": [
                {"what": "sign", "gb_per_cpu_second": bytes / 1e9 / sign_cpu, "seconds": sign_wall},
                {"what": "verify", "gb_per_cpu_second": bytes / 1e9 / verify_cpu, "seconds": verify_wall},
            ],
        })
    );
}

/// The least CPU time and the least time of several passes, in seconds.
fn best(mut work: impl FnMut()) -> (f64, f64) {
    let mut least = (f64::MAX, f64::MAX);
    for _ in 0..PASSES {
        let (cpu, wall) = (cpu_seconds(), Instant::now());
        work();
        least = (least.0.min(cpu_seconds() - cpu), least.1.min(wall.elapsed().as_secs_f64()));
    }
    least
}

fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

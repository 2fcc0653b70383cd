//! Measures the store against the ceilings of the machine that it runs on, and prints one JSON document.
//!
//! Usage: `store_bench [DIRECTORY [MEBIBYTES]]`; the directory (default: the system's for temporary files) decides which
//! disk is measured. Rates are 10^9 bytes per second, of CPU time over all threads (`per_cpu_s`) and of wall time
//! (`per_wall_s`). A roofline is what the unavoidable work would take one after the other, each at its ceiling; SHA-256 is
//! part of it, because it is the artifact's identity.
#![expect(clippy::print_stdout, reason = "the document is what this program is for")]
#![expect(clippy::cast_possible_truncation, reason = "sizes that were given on the command line")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::{
    fs,
    hint::black_box,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use ringfence_schema::digest::Hasher;
use ringfence_store::{Cuts, GroupKeys, Manifest, Store, StoreKeys, disk::Disk};
use ringfence_trust::{
    VaultId,
    entropy::{Entropy, SeededEntropy},
    ident::chunk_id,
    keys::{ChunkIdKey, CutKey, ManifestKey, Namespace, NamespaceKey, PackKey, WrappedKey},
    seal::{PackContext, PackSealer},
};
use serde_json::{Value, json};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let bytes = arguments.next().map_or(256, |text| text.parse::<usize>().unwrap()) << 20;
    let work = tempfile::tempdir_in(dir).unwrap();
    let first = Model::new(bytes, 0);
    let second = first.with_changed_tenth();

    let ceilings = Ceilings::measure(&first.content, work.path());
    let mut bench = Bench { root: work.path(), ledger: Vec::new() };
    let mut measured = serde_json::Map::new();

    let (manifest, put) = bench.put(&first, Namespace::Admitted, true);
    measured.insert("put_unique".to_owned(), put.put_report(bytes, ceilings.put));
    let (changed, put) = bench.put(&second, Namespace::Admitted, true);
    measured.insert("put_one_tenth_changed".to_owned(), put.put_report(second.content.len(), ceilings.put_known));
    let (_, put) = bench.put(&first, Namespace::Admitted, true);
    measured.insert("put_known".to_owned(), put.put_report(bytes, ceilings.put_known));
    let (_, put) = bench.put(&first, Namespace::Quarantine, false);
    measured.insert("put_unique_cut_by_content".to_owned(), put.put_report(bytes, ceilings.put));

    let store = bench.open();
    let verify = measure(|| {
        let verified = store.verify(&[manifest.id()]).unwrap();
        assert!(verified.is_sound());
        verified.bytes
    });
    // Every pack is opened and named once, and every file once more for its SHA-256.
    let packs = verify.value as usize;
    measured.insert("verify".to_owned(), verify.report(packs + bytes, ceilings.verify(packs, bytes)));
    let read = measure(|| restore(&store, &manifest, None));
    measured.insert("read".to_owned(), read.report(bytes, ceilings.read));
    let restore = measure(|| restore(&store, &manifest, Some(&work.path().join("restored"))));
    measured.insert("restore_to_file".to_owned(), restore.report(bytes, ceilings.restore));
    let size = second.content.len();
    measured.insert("range_64_kib_anywhere".to_owned(), ranges(&store, &changed, |raw| raw % (size - RANGE_BYTES)));
    let aligned = |raw: usize| {
        let tensors = size / TENSOR_BYTES - 1;
        second.starts[raw % tensors] as usize + raw / tensors % (TENSOR_BYTES / RANGE_BYTES) * RANGE_BYTES
    };
    measured.insert("range_64_kib_aligned".to_owned(), ranges(&store, &changed, aligned));

    let document = json!({
        "schema": "ringfence.bench.store/1",
        "bytes": bytes,
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "ceilings_gb_per_cpu_s": ceilings.report(),
        "measured": measured,
    });
    println!("{document:#}");
}

/// A file in the shape of safetensors: a header, then tensors of 4 MiB that nothing repeats.
struct Model {
    content: Vec<u8>,
    starts: Vec<u64>,
}

const TENSOR_BYTES: usize = 4 << 20;
const RANGE_BYTES: usize = 64 << 10;

impl Model {
    fn new(bytes: usize, seed: u64) -> Self {
        let mut content = vec![0; bytes];
        SeededEntropy::new(seed).fill(&mut content);
        let starts = (0..bytes.div_ceil(TENSOR_BYTES)).map(|tensor| 4_096 + (tensor * TENSOR_BYTES) as u64);
        Self { starts: starts.filter(|start| *start <= bytes as u64).collect(), content }
    }

    /// Every tenth tensor anew, behind a header that is 555 bytes longer.
    fn with_changed_tenth(&self) -> Self {
        let mut content = [vec![b' '; 555], self.content.clone()].concat();
        let starts: Vec<u64> = self.starts.iter().map(|start| start + 555).collect();
        for (number, start) in starts.iter().enumerate().filter(|(number, _)| number % 10 == 3) {
            let start = *start as usize;
            let end = content.len().min(start + TENSOR_BYTES);
            SeededEntropy::new(1_000 + number as u64).fill(&mut content[start..end]);
        }
        Self { content, starts }
    }
}

struct Measured<T> {
    value: T,
    wall: Duration,
    cpu: Duration,
}

fn measure<T>(work: impl FnOnce() -> T) -> Measured<T> {
    let (cpu, wall) = (cpu_time(), Instant::now());
    let value = work();
    Measured { value, wall: wall.elapsed(), cpu: cpu_time().saturating_sub(cpu) }
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()).cast_unsigned()))
        .sum()
}

impl<T> Measured<T> {
    fn rate(&self, bytes: usize) -> f64 {
        bytes as f64 / 1e9 / self.cpu.as_secs_f64()
    }

    fn report(&self, bytes: usize, roofline: f64) -> Value {
        json!({
            "gb_per_cpu_s": round(self.rate(bytes)),
            "gb_per_wall_s": round(bytes as f64 / 1e9 / self.wall.as_secs_f64()),
            "roofline_gb_per_cpu_s": round(roofline),
            "of_roofline": round(self.rate(bytes) / roofline),
        })
    }
}

impl Measured<ringfence_store::PutStats> {
    fn put_report(&self, bytes: usize, roofline: f64) -> Value {
        let mut report = self.report(bytes, roofline);
        report["new_bytes"] = self.value.new_bytes.into();
        report["stored_bytes"] = self.value.stored_bytes.into();
        report
    }
}

fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// What the parts of the work cost by themselves, in 10^9 bytes per CPU second.
struct Ceilings {
    memcpy: f64,
    blake3: f64,
    aes_gcm: f64,
    sha256: f64,
    write_fsync: f64,
    put: f64,
    put_known: f64,
    read: f64,
    restore: f64,
}

impl Ceilings {
    fn measure(content: &[u8], dir: &Path) -> Self {
        let bytes = content.len();
        let mut entropy = SeededEntropy::new(9);
        let key = ChunkIdKey::generate(&mut entropy);
        let mut copy = vec![0; bytes];
        copy.copy_from_slice(content);
        let memcpy = measure(|| black_box(&mut copy).copy_from_slice(content)).rate(bytes);
        let blake3 = measure(|| content.chunks(1 << 20).for_each(|chunk| drop(black_box(chunk_id(&key, chunk)))));
        let sha256 = measure(|| {
            let mut hasher = Hasher::new();
            hasher.update(content);
            black_box(hasher.finish())
        });
        let context = PackContext { vault: VaultId::random(&mut entropy), namespace: Namespace::Admitted };
        let (id, _) = chunk_id(&key, b"");
        let mut sealer = PackSealer::new(PackKey::generate(&mut entropy), &context).unwrap();
        let mut sealed = Vec::with_capacity(2 << 20);
        let aes_gcm = measure(|| {
            for chunk in content.chunks(1 << 20) {
                sealed.clear();
                sealer.seal_chunk(&id, chunk, &mut sealed).unwrap();
            }
        });
        let write_fsync = measure(|| {
            let mut file = fs::File::create(dir.join("ceiling")).unwrap();
            content.chunks(1 << 20).for_each(|chunk| file.write_all(chunk).unwrap());
            file.sync_all().unwrap();
        });
        let (blake3, sha256, aes_gcm) = (blake3.rate(bytes), sha256.rate(bytes), aes_gcm.rate(bytes));
        let write_fsync = write_fsync.rate(bytes);
        let serial = |rates: &[f64]| 1.0 / rates.iter().map(|rate| 1.0 / rate).sum::<f64>();
        Self {
            put: serial(&[memcpy, sha256, blake3, aes_gcm, write_fsync]),
            put_known: serial(&[memcpy, sha256, blake3]),
            read: serial(&[memcpy, aes_gcm, blake3]),
            restore: serial(&[memcpy, aes_gcm, blake3, write_fsync]),
            memcpy,
            blake3,
            aes_gcm,
            sha256,
            write_fsync,
        }
    }

    /// For opening and naming `packs` bytes, and then `files` bytes with their SHA-256.
    fn verify(&self, packs: usize, files: usize) -> f64 {
        let (packs, files) = (packs as f64, files as f64);
        let open = 1.0 / self.aes_gcm + 1.0 / self.blake3;
        (packs + files) / (packs * open + files * (open + 1.0 / self.sha256))
    }

    fn report(&self) -> Value {
        json!({
            "memcpy": round(self.memcpy),
            "keyed_blake3_of_1_mib": round(self.blake3),
            "aes_256_gcm_of_64_kib_with_its_copy": round(self.aes_gcm),
            "sha256": round(self.sha256),
            "write_and_fsync": round(self.write_fsync),
        })
    }
}

struct Bench<'a> {
    root: &'a Path,
    ledger: Vec<WrappedKey>,
}

impl Bench<'_> {
    fn open(&self) -> Store {
        let mut entropy = SeededEntropy::new(5);
        let vault = VaultId::random(&mut entropy);
        let mut group = |namespace| GroupKeys {
            namespace: NamespaceKey::generate(&mut entropy, &vault, namespace),
            chunk_id: ChunkIdKey::generate(&mut entropy),
            cut: CutKey::generate(&mut entropy),
            manifest: ManifestKey::generate(&mut entropy),
        };
        let keys = StoreKeys { quarantine: group(Namespace::Quarantine), admitted: group(Namespace::Admitted) };
        Store::open(&self.root.join("store"), Disk::real(), keys, self.ledger.clone()).unwrap()
    }

    fn put(
        &mut self,
        model: &Model,
        namespace: Namespace,
        aligned: bool,
    ) -> (Manifest, Measured<ringfence_store::PutStats>) {
        let store = self.open();
        let seed = 100 + self.ledger.len() as u64 + u64::from(aligned) * 1_000;
        let cuts = if aligned { Cuts::At(model.starts.clone()) } else { Cuts::Content };
        let Measured { value: sealed, wall, cpu } = measure(|| {
            let mut writer = store.writer(namespace, SeededEntropy::new(seed)).unwrap();
            writer.file("model.safetensors", &mut model.content.as_slice(), cuts).unwrap();
            writer.finish(&|_| Ok(Vec::new())).unwrap()
        });
        self.ledger.extend(sealed.keys.iter().cloned());
        (store.manifest(sealed.manifest).unwrap(), Measured { value: sealed.stats, wall, cpu })
    }
}

fn restore(store: &Store, manifest: &Manifest, to: Option<&Path>) {
    let mut reader = store.read(manifest, "model.safetensors").unwrap();
    let mut file = to.map(|path| fs::File::create(path).unwrap());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = reader.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        if let Some(file) = &mut file {
            file.write_all(&buffer[..count]).unwrap();
        }
    }
    if let Some(file) = file {
        file.sync_all().unwrap();
    }
}

/// Ranges at random offsets: one that is aligned in its tensor touches one segment, any other mostly two.
fn ranges(store: &Store, manifest: &Manifest, offset: impl Fn(usize) -> usize) -> Value {
    const READS: usize = 2_000;
    let mut entropy = SeededEntropy::new(3);
    let mut offset = || {
        let mut raw = [0; 4];
        entropy.fill(&mut raw);
        offset(u32::from_le_bytes(raw) as usize) as u64
    };
    let mut times = Vec::with_capacity(READS);
    let reads = measure(|| {
        for _ in 0..READS {
            let (offset, start) = (offset(), Instant::now());
            black_box(store.read_at(manifest, "model.safetensors", offset, RANGE_BYTES).unwrap());
            times.push(start.elapsed());
        }
    });
    times.sort();
    let micros = |time: Duration| round(time.as_secs_f64() * 1e6);
    json!({
        "reads": READS,
        "cpu_us_per_read": micros(reads.cpu / READS as u32),
        "wall_us_p50": micros(times[READS / 2]),
        "wall_us_p99": micros(times[READS * 99 / 100]),
    })
}

//! Speed of the scanner, or, with paths as arguments, what it says of these files (`--storages`: weights to their last
//! byte); JSON on stdout.
//!
//! `cargo run --release -p ringfence-scan --example scan_bench`

use std::{
    env,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write as _},
    time::Instant,
};

use ringfence_scan::{Limits, scan_file};

/// Bytes of the only storage of the torch archive.
const STORAGE_BYTES: u64 = 1 << 30;
/// Bytes of numbers that the storage repeats.
const PATTERN_BYTES: usize = 64 << 20;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (flags, paths): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let mut limits = Limits::default();
    limits.audit_storages = flags.iter().any(|flag| flag == "--storages");
    for path in &paths {
        let report = scan_file(path, &mut File::open(path)?, &limits);
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    }
    if !paths.is_empty() {
        return Ok(());
    }
    let mut bench = |name: &str, file: &mut dyn Seekable, bytes: u64, limits: &Limits| -> io::Result<()> {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        let report = scan_file(name, &mut Dynamic(file), limits);
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        let speed = bytes as f64 / 1e6 / cpu.max(1e-6);
        let line = serde_json::json!({
            "case": name, "verdict": report.verdict.to_string(), "findings": report.findings.len(),
            "seconds": seconds, "cpu_seconds": cpu, "megabytes_per_second": speed,
        });
        writeln!(out, "{line}")
    };
    let plain = Limits::default();
    let mut audit = Limits::default();
    audit.audit_storages = true;
    for (what, pattern) in
        [("normal floats", normal_floats()), ("random bytes", random_bytes()), ("zeros", vec![0; 1 << 20])]
    {
        let mut archive = torch_archive(pattern);
        let length = archive.seek(SeekFrom::End(0))?;
        bench(&format!("torch archive of {what}"), &mut archive, length, &plain)?;
        bench(&format!("torch archive of {what}, storages audited"), &mut archive, length, &audit)?;
    }
    Ok(())
}

/// CPU time of this thread so far.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// splitmix64 (Steele, Lea and Flood 2014), good enough to look like chance.
fn random_bytes() -> Vec<u8> {
    let mut state = 7_u64;
    let mut out = Vec::with_capacity(PATTERN_BYTES);
    while out.len() < PATTERN_BYTES {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend((mixed ^ mixed >> 31).to_le_bytes());
    }
    out
}

/// Floats with the spread of trained weights: sums of twelve uniform numbers, times 0.02.
fn normal_floats() -> Vec<u8> {
    let uniform = random_bytes();
    let uniform: Vec<f32> =
        uniform.chunks_exact(4).map(|four| f32::from(u16::from_le_bytes([four[0], four[1]])) / 65_536.0).collect();
    let floats = (0..uniform.len()).map(|at| {
        let sum: f32 = (0..12).map(|step| uniform[(at * 7 + step * 104_729) % uniform.len()]).sum();
        (sum - 6.0) * 0.02
    });
    floats.flat_map(f32::to_le_bytes).collect()
}

trait Seekable: Read + Seek {}
impl<T: Read + Seek> Seekable for T {}

struct Dynamic<'a>(&'a mut dyn Seekable);

impl Read for Dynamic<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Dynamic<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// A torch archive whose storage repeats `pattern`.
fn torch_archive(pattern: Vec<u8>) -> Sparse {
    let numel = u32::try_from(STORAGE_BYTES / 4).unwrap_or(u32::MAX);
    let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ".to_vec();
    pickle.extend(numel.to_le_bytes());
    pickle.extend(b"tQK\0J");
    pickle.extend(numel.to_le_bytes());
    pickle.extend(b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR.");
    let storage = u32::try_from(STORAGE_BYTES).unwrap_or(u32::MAX);
    let entry = |name: &str, size: u32, crc: u32, at: Option<u32>| {
        let mut record = if at.is_some() { b"PK\x01\x02\0\0\0\0".to_vec() } else { b"PK\x03\x04\0\0".to_vec() };
        record.extend([0; 8]);
        for field in [crc, size, size] {
            record.extend(field.to_le_bytes());
        }
        record.extend(u16::try_from(name.len()).unwrap_or(0).to_le_bytes());
        record.extend([0; 2]);
        if let Some(at) = at {
            record.extend([0; 10]);
            record.extend(at.to_le_bytes());
        }
        record.extend(name.as_bytes());
        record
    };
    let crc = ringfence_format::zip::checksum(&pickle);
    let size = u32::try_from(pickle.len()).unwrap_or(0);
    let mut head = entry("m/data.pkl", size, crc, None);
    head.extend(&pickle);
    let second = u32::try_from(head.len()).unwrap_or(0);
    head.extend(entry("m/data/0", storage, 0, None));
    let mut tail = entry("m/data.pkl", size, crc, Some(0));
    tail.extend(entry("m/data/0", storage, 0, Some(second)));
    let directory = u32::try_from(tail.len()).unwrap_or(0);
    tail.extend(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
    tail.extend(directory.to_le_bytes());
    tail.extend((u32::try_from(head.len()).unwrap_or(0) + storage).to_le_bytes());
    tail.extend([0; 2]);
    Sparse { head, pattern, tail, at: 0 }
}

/// A head, [`STORAGE_BYTES`] of a pattern, a tail.
struct Sparse {
    head: Vec<u8>,
    pattern: Vec<u8>,
    tail: Vec<u8>,
    at: u64,
}

impl Sparse {
    fn tail_start(&self) -> u64 {
        self.head.len() as u64 + STORAGE_BYTES
    }
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let head_end = self.head.len() as u64;
        let count = if self.at < head_end {
            (&self.head[at(self.at)..]).read(buffer)?
        } else if self.at < self.tail_start() {
            let from = at((self.at - head_end) % self.pattern.len() as u64);
            let count = buffer.len().min(at(self.tail_start() - self.at)).min(self.pattern.len() - from);
            buffer[..count].copy_from_slice(&self.pattern[from..from + count]);
            count
        } else {
            let from = at(self.at - self.tail_start()).min(self.tail.len());
            (&self.tail[from..]).read(buffer)?
        };
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end = self.tail_start() + self.tail.len() as u64;
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(delta) => end.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.at.checked_add_signed(delta),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

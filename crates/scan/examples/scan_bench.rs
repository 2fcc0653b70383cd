//! Speed of the scanner, or, with paths as arguments, what it says of these files; JSON on stdout.
//!
//! `cargo run --release -p ringfence-scan --example scan_bench`

use std::{
    env,
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom, Write as _},
    time::Instant,
};

use ringfence_scan::{Limits, scan_file};

/// Bytes of each pure pickle.
const PICKLE_BYTES: u64 = 256 << 20;
/// Bytes of the only storage of the torch archive.
const STORAGE_BYTES: u64 = 1 << 30;
/// Small pickles that are scanned one by one.
const SMALL_PICKLES: u32 = 2_000;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let paths: Vec<String> = env::args().skip(1).collect();
    for path in &paths {
        let report = scan_file(path, &mut File::open(path)?, &Limits::default());
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    }
    if !paths.is_empty() {
        return Ok(());
    }
    let mut bench = |name: &str, file: &mut Made, memo_entries: u64, limits: &Limits| -> io::Result<()> {
        // Forgets the peak so far.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let (before, wall) = (cpu_seconds(), Instant::now());
        let report = scan_file(name, file, limits);
        let seconds = cpu_seconds().zip(before).map_or(wall.elapsed().as_secs_f64(), |(after, before)| after - before);
        // Memory beyond six bytes for each memo entry; the source is made up as it is read and takes none.
        let beyond = peak_bytes().map(|peak| (peak as f64 - 6.0 * memo_entries as f64) / f64::from(1 << 20));
        let line = serde_json::json!({
            "case": name,
            "verdict": report.verdict.to_string(),
            "megabytes": file.length() / 1_000_000,
            "memo_entries": memo_entries,
            "cpu_seconds": seconds,
            "megabytes_per_second": file.length() as f64 / 1e6 / seconds,
            "peak_mebibytes_beyond_memo": beyond,
        });
        writeln!(out, "{line}")
    };
    for (name, item, memo) in SHAPES {
        let mut file = pickle_of(item);
        let entries = file.count * 1_000 * memo;
        bench(name, &mut file, entries, &Limits::default())?;
    }
    let mut audit = Limits::default();
    audit.audit_storages = true;
    for (what, unit) in [("zeros", vec![0; UNIT_BYTES]), ("random bytes", random_bytes())] {
        let mut archive = torch_archive(unit);
        bench(&format!("torch archive of {what}"), &mut archive, 0, &Limits::default())?;
        bench(&format!("torch archive of {what}, storages audited"), &mut archive, 0, &audit)?;
    }
    let small = b"\x80\x04}\x94(\x8c\x05alpha\x94G?\xb9\x99\x99\x99\x99\x99\x9a\x8c\x04iter\x94K\x03u.";
    let (before, wall) = (cpu_seconds(), Instant::now());
    let mut clean = 0;
    for _ in 0..SMALL_PICKLES {
        let report = scan_file("small", &mut Cursor::new(small), &Limits::default());
        clean += u32::from(report.findings.is_empty());
    }
    let seconds = cpu_seconds().zip(before).map_or(wall.elapsed().as_secs_f64(), |(after, before)| after - before);
    writeln!(out, "{}", serde_json::json!({"case": "small pickles", "files": clean, "cpu_seconds": seconds}))
}

/// Name, one item as opcodes, memo entries of an item.
const SHAPES: [(&str, &[u8], u64); 6] = [
    ("pickle of whole numbers", b"J\x01\x02\x03\x04", 0),
    ("pickle of records", b"}\x94(\x8c\x04name\x94\x8c\x100000000000000001\x94\x8c\x05value\x94G\0\0\0\0\0\0\0\0u", 4),
    ("pickle of a dictionary of texts", b"\x8c\x0ckey 00000001\x94\x8c\x21a value of no great length, 33 b.\x94", 2),
    ("pickle of small tuples", b"K\x01K\x02\x86\x94", 1),
    ("pickle of objects", b"h\x01)\x81\x94}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94]\x94(K\x01K\x02eub", 5),
    ("pickle of byte strings", &BYTES, 1),
];

/// A byte string of 1,000 bytes, memoized.
const BYTES: [u8; 1_006] = {
    let mut item = [b'x'; 1_006];
    [item[0], item[1], item[2], item[3], item[4], item[1_005]] = [b'B', 0xe8, 3, 0, 0, 0x94];
    item
};

/// splitmix64 (Steele, Lea and Flood 2014), good enough to look like chance.
fn random_bytes() -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).to_le_bytes()
    };
    (0..UNIT_BYTES / 8).flat_map(|_| next()).collect()
}

/// Seconds of processor time of this process so far, where the system tells them.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

/// The most memory that this process ever had, where the system tells it.
fn peak_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// A list of items, or a dictionary of pairs, appended by the thousand as picklers do.
fn pickle_of(item: &[u8]) -> Made {
    let is_dictionary = item.starts_with(b"\x8c\x0ckey");
    let unit = [b"(", item.repeat(1_000).as_slice(), if is_dictionary { b"u" } else { b"e" }].concat();
    let head: &[u8] = if is_dictionary { b"\x80\x04}\x94" } else { b"\x80\x04]\x94ccollections\nOrderedDict\n\x940" };
    Made { head: head.to_vec(), count: PICKLE_BYTES / unit.len() as u64, unit, tail: b".".to_vec(), at: 0 }
}

/// A torch archive whose storage is zeros that are made up as they are read.
fn torch_archive(unit: Vec<u8>) -> Made {
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
    Made { head, unit, count: STORAGE_BYTES / UNIT_BYTES as u64, tail, at: 0 }
}

/// Bytes of one unit of zeros.
const UNIT_BYTES: usize = 64 << 10;

/// A head, a unit so many times, a tail: a large file that takes no memory.
struct Made {
    head: Vec<u8>,
    unit: Vec<u8>,
    count: u64,
    tail: Vec<u8>,
    at: u64,
}

impl Made {
    fn tail_start(&self) -> u64 {
        self.head.len() as u64 + self.count * self.unit.len() as u64
    }

    fn length(&self) -> u64 {
        self.tail_start() + self.tail.len() as u64
    }
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let head_end = self.head.len() as u64;
        let mut part = if self.at < head_end {
            &self.head[place(self.at)..]
        } else if self.at < self.tail_start() {
            &self.unit[place((self.at - head_end) % self.unit.len() as u64)..]
        } else {
            &self.tail[place(self.at - self.tail_start()).min(self.tail.len())..]
        };
        let count = part.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Made {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(delta) => self.length().checked_add_signed(delta),
            SeekFrom::Current(delta) => self.at.checked_add_signed(delta),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

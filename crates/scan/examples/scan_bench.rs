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

/// Bytes of the pure pickle.
const PICKLE_BYTES: usize = 64 << 20;
/// Bytes of the only storage of the torch archive.
const STORAGE_BYTES: u64 = 256 << 20;

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
    let mut bench = |name: &str, file: &mut dyn Seekable, bytes: u64| -> io::Result<()> {
        let start = Instant::now();
        let report = scan_file(name, &mut Dynamic(file), &Limits::default());
        let seconds = start.elapsed().as_secs_f64();
        let speed = bytes as f64 / 1e6 / seconds;
        let line = serde_json::json!({"case": name, "verdict": report.verdict.to_string(), "seconds": seconds, "megabytes_per_second": speed});
        writeln!(out, "{line}")
    };
    let numbers = pickle_of(|body, index| {
        body.push(b'J');
        body.extend(index.to_le_bytes());
    });
    bench("pickle of whole numbers", &mut Cursor::new(&numbers), numbers.len() as u64)?;
    let records = pickle_of(|body, index| {
        body.extend(b"}\x94(\x8c\x04name\x94\x8c\x10");
        body.extend(format!("{index:016}").as_bytes());
        body.extend(b"\x94\x8c\x05value\x94G\0\0\0\0\0\0\0\0u");
    });
    bench("pickle of records", &mut Cursor::new(&records), records.len() as u64)?;
    let mut archive = torch_archive();
    let length = archive.seek(SeekFrom::End(0))?;
    bench("torch archive", &mut archive, length)
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

/// A list of items, appended by the thousand as picklers do.
fn pickle_of(item: impl Fn(&mut Vec<u8>, u32)) -> Vec<u8> {
    let mut body = b"\x80\x04]\x94".to_vec();
    let mut index = 0;
    while body.len() < PICKLE_BYTES {
        body.push(b'(');
        for _ in 0..1_000 {
            item(&mut body, index);
            index += 1;
        }
        body.push(b'e');
    }
    body.push(b'.');
    body
}

/// A torch archive whose storage is zeros that are made up as they are read.
fn torch_archive() -> Sparse {
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
    Sparse { head, tail, at: 0 }
}

/// A head, [`STORAGE_BYTES`] zeros, a tail.
struct Sparse {
    head: Vec<u8>,
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
            let count = buffer.len().min(at(self.tail_start() - self.at));
            buffer[..count].fill(0);
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

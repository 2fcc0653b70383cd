//! Weights that are no weights: programs, archives, pickles and scripts between numbers.
//!
//! [`Audit::weights`] is what every reader of arrays calls for its data. It finds binary needles in one SIMD pass and
//! runs of text, which numbers do not form, in a second; a needle is only believed after a strict check of what stands
//! around it: in random or trained floats nothing passes. Without [`crate::Limits::audit_storages`] it stops at a number of bytes for
//! the whole file and looks at head and tail of what is larger; with it, at every byte.

use std::{
    io::{self, Cursor, SeekFrom},
    sync::LazyLock,
};

use aho_corasick::{AhoCorasick, MatchKind, packed};
use ringfence_format::codec::Codec;

use crate::{
    audit::Audit,
    detect::program,
    pickle::{Encoding, nested},
    rules::id,
    source::{Source, Window, bytes_at},
};

mod check;
mod text;

use check::Found;

/// Bytes that are searched at once; they stay in the second-level cache between the passes.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes behind a needle that its check may look at.
const AHEAD_BYTES: usize = 8 << 10;
/// Bytes before a needle that its check may look at.
const BEHIND_BYTES: usize = 4 << 10;
/// Head and tail of a storage that are searched where the whole is not, in bytes.
const ENDS_BYTES: u64 = 64 << 10;
/// First bytes that tell a program.
const HEAD_BYTES: u64 = 4 << 10;
/// Payloads that are told for one storage.
const PAYLOADS_MAX: usize = 16;
/// How far a pickle between numbers is followed, in bytes.
const PICKLE_BYTES_MAX: u64 = 4 << 20;
/// How much of a compressed stream between numbers is unpacked, in bytes.
const PACKED_BYTES_MAX: u64 = 64 << 10;
/// Shortest content that a compressed stream between numbers must have, in bytes.
const PACKED_CONTENT_BYTES_MIN: usize = 32;

/// What a needle may be the beginning of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needle {
    Elf,
    Pe,
    MachO,
    Wasm,
    Zip,
    Tar,
    Archive(&'static str),
    Packed(Codec),
    Pickle,
    Script,
    Base64,
    Hex,
    Command,
}

/// Needles of at least three bytes, at most 32 of them: within that the search takes its fastest form.
const BINARY: [(&[u8], Needle); 23] = [
    (b"\x7fELF", Needle::Elf),
    (b"PE\0\0", Needle::Pe),
    (b"\xcf\xfa\xed\xfe", Needle::MachO),
    (b"\xce\xfa\xed\xfe", Needle::MachO),
    (b"\xfe\xed\xfa\xcf", Needle::MachO),
    (b"\xfe\xed\xfa\xce", Needle::MachO),
    (b"\xca\xfe\xba\xbe", Needle::MachO),
    (b"\0asm", Needle::Wasm),
    (b"PK\x03\x04", Needle::Zip),
    (b"ustar", Needle::Tar),
    (b"7z\xbc\xaf\x27\x1c", Needle::Archive("7z archive")),
    (b"Rar!\x1a\x07", Needle::Archive("rar archive")),
    (b"\xfd7zXZ\0", Needle::Archive("xz stream")),
    (b"1AY&SY", Needle::Archive("bzip2 stream")),
    (b"MSCF\0\0\0\0", Needle::Archive("cabinet")),
    (b"\x1f\x8b\x08\0", Needle::Packed(Codec::Gzip)),
    (b"\x1f\x8b\x08\x08", Needle::Packed(Codec::Gzip)),
    (b"\x28\xb5\x2f\xfd", Needle::Packed(Codec::Zstd)),
    (b"\x04\x22\x4d\x18", Needle::Packed(Codec::Lz4)),
    (b"\x80\x05\x95", Needle::Pickle),
    (b"\x80\x04\x95", Needle::Pickle),
    (b"\x80\x04\x8c", Needle::Pickle),
    (b"\x80\x05\x8c", Needle::Pickle),
];
/// Needles of printable characters, looked for in runs of text.
const TEXT: [(&[u8], Needle); 29] = [
    (b"#!/bin/", Needle::Script),
    (b"#!/usr/", Needle::Script),
    (b"#! /", Needle::Script),
    (b"gASV", Needle::Base64),
    (b"gAWV", Needle::Base64),
    (b"gANj", Needle::Base64),
    (b"gAJj", Needle::Base64),
    (b"gANY", Needle::Base64),
    (b"gAJY", Needle::Base64),
    (b"gAJ9", Needle::Base64),
    (b"gAN9", Needle::Base64),
    (b"Y29zCn", Needle::Base64),
    (b"Y3Bvc2l4", Needle::Base64),
    (b"Y2J1aWx0aW5z", Needle::Base64),
    (b"f0VMR", Needle::Base64),
    (b"TVqQ", Needle::Base64),
    (b"UEsDB", Needle::Base64),
    (b"H4sIA", Needle::Base64),
    (b"80049", Needle::Hex),
    (b"80059", Needle::Hex),
    (b"7f454c46", Needle::Hex),
    (b"__import__", Needle::Command),
    (b"os.system", Needle::Command),
    (b"os.popen", Needle::Command),
    (b"subprocess", Needle::Command),
    (b"/bin/sh", Needle::Command),
    (b"/bin/bash", Needle::Command),
    (b"powershell", Needle::Command),
    (b"cmd.exe", Needle::Command),
];
/// Shortest run of text that is looked into: `cos\nsystem\n` is not shorter.
const RUN_MIN: usize = 11;
/// How far before a place a run of text is followed back, in bytes.
const RUN_BACK: usize = 128;

/// A set of needles, compiled.
struct Needles {
    packed: Option<packed::Searcher>,
    /// For processors without the instructions.
    other: Option<AhoCorasick>,
}

static BINARY_SEARCH: LazyLock<Needles> = LazyLock::new(|| Needles::new(BINARY.iter().map(|(needle, _)| *needle)));
static TEXT_SEARCH: LazyLock<Needles> = LazyLock::new(|| Needles::new(TEXT.iter().map(|(needle, _)| *needle)));

impl Needles {
    fn new(needles: impl Iterator<Item = &'static [u8]> + Clone) -> Self {
        let packed = packed::Searcher::new(needles.clone());
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostFirst);
        let other = if packed.is_none() { builder.build(needles).ok() } else { None };
        Self { packed, other }
    }

    /// Places and numbers of the needles in `bytes`.
    fn find(&self, bytes: &[u8], mut each: impl FnMut(usize, usize)) {
        if let Some(searcher) = &self.packed {
            searcher.find_iter(bytes).for_each(|found| each(found.start(), found.pattern().as_usize()));
        } else if let Some(searcher) = &self.other {
            searcher.find_iter(bytes).for_each(|found| each(found.start(), found.pattern().as_usize()));
        }
    }
}

/// Where the bytes come from decides what is odd in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Numbers: archives and commands are odd as well.
    Numbers,
    /// Anything that no reader knows.
    Anything,
    /// Anything but what packs something up.
    Inert,
}

impl Audit<'_> {
    /// Searches `length` bytes of numbers from `start`.
    pub(crate) fn weights(&mut self, source: &mut dyn Source, start: u64, length: u64) -> io::Result<()> {
        let head = bytes_at(source, start, length.min(HEAD_BYTES))?;
        if let Some(what) = program(&head) {
            // Less strict than the search: at its very first byte no tensor looks so by chance.
            self.note(id::WTS_PAYLOAD, &format!("the weights begin like a program ({what})"), Some(start));
        }
        self.search(source, start, length, Expected::Numbers)
    }

    /// Searches a content that no reader knows for what is harmful wherever it stands.
    pub(crate) fn unread(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let whole = crate::source::length(source)?;
        self.other_data(source, 0, whole)
    }

    /// The same for data that may be text, such as arrays of strings.
    pub(crate) fn other_data(&mut self, source: &mut dyn Source, start: u64, length: u64) -> io::Result<()> {
        self.search(source, start, length, Expected::Anything)
    }

    /// The same for a whole content of a format that holds no archives.
    pub(crate) fn inert_data(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let whole = crate::source::length(source)?;
        self.search(source, 0, whole, Expected::Inert)
    }

    fn search(&mut self, source: &mut dyn Source, start: u64, length: u64, expected: Expected) -> io::Result<()> {
        let left = self.limits.storage_bytes_max.saturating_sub(self.searched);
        if self.limits.audit_storages || length <= left {
            self.searched = self.searched.saturating_add(length);
            return self.search_range(source, start, length, expected);
        }
        let ends = ENDS_BYTES.min(length);
        self.search_range(source, start, ends, expected)?;
        let tail = ends.max(length - ends);
        self.search_range(source, start + tail, length - tail, expected)
    }

    fn search_range(&mut self, source: &mut dyn Source, start: u64, length: u64, expected: Expected) -> io::Result<()> {
        let capacity = usize::try_from(length).unwrap_or(usize::MAX).min(CHUNK_BYTES) + AHEAD_BYTES + BEHIND_BYTES;
        let mut buffer = vec![0; capacity];
        // `buffer[0]` is byte `base` of the source; bytes before `from` were searched already.
        let (mut base, mut from, mut filled, mut read_to) = (start, 0, 0, start);
        let end = start.saturating_add(length);
        let mut told = 0;
        let mut hits = Vec::new();
        loop {
            source.seek(SeekFrom::Start(read_to))?;
            let free = buffer.get_mut(filled..).unwrap_or_default();
            let wanted = free.len().min(usize::try_from(end - read_to).unwrap_or(usize::MAX));
            let read = fill(source, free.get_mut(..wanted).unwrap_or_default())?;
            read_to += read as u64;
            filled += read;
            let is_end = read < wanted || read_to >= end;
            let bytes = buffer.get(..filled).unwrap_or_default();
            let settled = if is_end { filled } else { filled.saturating_sub(AHEAD_BYTES).max(from) };
            collect(bytes, from, settled, &mut hits);
            for (at, needle) in hits.drain(..) {
                if told < PAYLOADS_MAX && self.judge(source, bytes, at, base, needle, expected)? {
                    told += 1;
                }
            }
            if is_end {
                return Ok(());
            }
            let keep = settled.saturating_sub(BEHIND_BYTES);
            buffer.copy_within(keep..filled, 0);
            base += keep as u64;
            filled -= keep;
            from = settled - keep;
        }
    }

    /// Checks a needle at `at` of `bytes`, which begin at `base` of the source; whether it was told.
    fn judge(
        &mut self,
        source: &mut dyn Source,
        bytes: &[u8],
        at: usize,
        base: u64,
        needle: Needle,
        expected: Expected,
    ) -> io::Result<bool> {
        let offset = base + at as u64;
        let rest = bytes.get(at..).unwrap_or_default();
        let numbers = expected == Expected::Numbers;
        let found = match needle {
            Needle::Elf => check::elf(rest),
            Needle::Pe => check::pe(bytes, at),
            Needle::MachO => check::mach_o(rest),
            Needle::Wasm => check::wasm(rest),
            Needle::Script if numbers => check::script(rest),
            Needle::Zip if expected != Expected::Anything => check::zip(rest),
            Needle::Tar if expected != Expected::Anything => check::tar(bytes, at),
            Needle::Archive(name) if expected != Expected::Anything => Some(Found { what: name, at: 0 }),
            Needle::Command if numbers => check::command(bytes, at),
            Needle::Pickle => {
                if !nested::is_start(rest) && !nested::has_global_line(rest) {
                    return Ok(false);
                }
                return self.pickle_at(source, offset);
            }
            Needle::Packed(codec) if numbers => {
                let mut window = Window::new(source, offset, PACKED_BYTES_MAX)?;
                let content = self.peek_packed(&mut window, codec, PACKED_BYTES_MAX)?;
                let is_long = content.len() >= PACKED_CONTENT_BYTES_MIN;
                return Ok(is_long && self.content_at(&content, "packed", offset));
            }
            Needle::Base64 => {
                return Ok(self.encoded_at(rest, Encoding::Base64, offset));
            }
            Needle::Hex => return Ok(self.encoded_at(rest, Encoding::Hex, offset)),
            _ => None,
        };
        let Some(Found { what, at: back }) = found else { return Ok(false) };
        let message =
            if numbers { format!("the weights hold a {what}") } else { format!("the content holds a {what}") };
        self.note(id::WTS_PAYLOAD, &message, Some(offset.saturating_sub(back as u64)));
        Ok(true)
    }

    fn pickle_at(&mut self, source: &mut dyn Source, offset: u64) -> io::Result<bool> {
        let mut window = Window::new(source, offset, PICKLE_BYTES_MAX)?;
        let before = self.count();
        self.within(&format!("carved@{offset:#x}"), |audit| audit.guess(&mut window));
        Ok(self.count() > before)
    }

    /// A run of digits that may stand for a program or a pickle.
    fn encoded_at(&mut self, rest: &[u8], encoding: Encoding, offset: u64) -> bool {
        check::decoded(rest, encoding).is_some_and(|bytes| self.content_at(&bytes, "encoded", offset))
    }

    /// Unpacked or decoded bytes; whether something was told of them.
    fn content_at(&mut self, bytes: &[u8], how: &str, offset: u64) -> bool {
        if let Some(what) = check::content(bytes).map(|found| found.what) {
            self.note(id::WTS_PAYLOAD, &format!("{how} bytes stand for a {what}"), Some(offset));
            return true;
        }
        let before = self.count();
        if nested::is_start(bytes) || nested::has_global_line(bytes) {
            self.within(&format!("{how}@{offset:#x}"), |audit| audit.guess(&mut Cursor::new(bytes)));
        }
        self.count() > before
    }
}

/// Needles in `bytes[from..to]`; their ends, and the runs of text that they stand in, may lie outside.
fn collect(bytes: &[u8], from: usize, to: usize, hits: &mut Vec<(usize, Needle)>) {
    let rest = bytes.get(from..).unwrap_or_default();
    BINARY_SEARCH.find(rest, |start, number| {
        if let Some((_, needle)) = BINARY.get(number).filter(|_| from + start < to) {
            hits.push((from + start, *needle));
        }
    });
    let mut done = from;
    text::likely(rest, |start| {
        let at = from + start;
        if at < done || at >= to {
            return;
        }
        let run = text::run(bytes, at, RUN_BACK);
        done = run.end.max(at + 1);
        let Some(found) = bytes.get(run.clone()).filter(|found| found.len() >= RUN_MIN) else { return };
        let mut add = |place: usize, needle: Needle| {
            if (from..to).contains(&place) {
                hits.push((place, needle));
            }
        };
        TEXT_SEARCH.find(found, |start, number| {
            if let Some((_, needle)) = TEXT.get(number) {
                add(run.start + start, *needle);
            }
        });
        for line in memchr::memchr_iter(b'\n', found) {
            // `module\nname\n` after a `c` or an `i`: an import of protocol 0 to 3.
            if let Some(start) = check::global_line(bytes, run.start + line) {
                add(start, Needle::Pickle);
            }
        }
    });
}

/// Reads until `buffer` is full or the source ends.
fn fill(source: &mut dyn Source, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match source.read(free) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

//! Strict checks of what a needle may be the beginning of: none passes by chance in gigabytes of numbers.

use ringfence_format::tar;

use crate::pickle::{Encoding, nested};

/// Shortest run of base-64 or hexadecimal digits that is decoded.
const DIGITS_MIN: usize = 40;
/// Longest run that is decoded.
const DIGITS_MAX: usize = 8 << 10;
/// Shortest run of printable characters in which a command is believed.
const PRINTABLE_MIN: usize = 24;
/// Longest name of a module or attribute that is looked for before or behind a line break.
const NAME_MAX: usize = 80;
/// Shortest module and name together; shorter ones appear by chance.
const NAMES_MIN: usize = 7;

/// What was found, and how many bytes before the needle it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) what: &'static str,
    pub(super) at: usize,
}

fn found(what: &'static str) -> Found {
    Found { what, at: 0 }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// ELF header (System V ABI, chapter 4): class, order, versions, type, machine and header size must fit each other.
pub(super) fn elf(bytes: &[u8]) -> Option<Found> {
    let big = match bytes.get(4..7)? {
        [1 | 2, 1, 1] => false,
        [1 | 2, 2, 1] => true,
        _ => return None,
    };
    let half = |at: usize| u16_at(bytes, at).map(|value| if big { value.swap_bytes() } else { value });
    let header = if bytes.get(4) == Some(&1) { (40, 52) } else { (52, 64) };
    let fits = (1..=4).contains(&half(16)?) && (1..=300).contains(&half(18)?) && half(header.0)? == header.1;
    fits.then(|| found("native program (ELF)"))
}

/// `PE\0\0` at `at`, and a DOS header before it that points there.
pub(super) fn pe(bytes: &[u8], at: usize) -> Option<Found> {
    let header = bytes.get(at..)?;
    let machine = u16_at(header, 4)?;
    let known = matches!(machine, 0x014c | 0x8664 | 0xaa64 | 0x01c0 | 0x01c4 | 0x0200 | 0x5064 | 0x6264);
    let optional = u16_at(header, 24)?;
    if !known || !(1..=96).contains(&u16_at(header, 6)?) || !matches!(optional, 0x10b | 0x20b) {
        return None;
    }
    let start = at.saturating_sub(2_048);
    let before = bytes.get(start..at)?;
    let dos = memchr::memmem::rfind_iter(before, b"MZ")
        .find(|dos| u32_at(before, dos + 60).is_some_and(|points| points as usize == before.len() - dos))?;
    Some(Found { what: "native program (PE)", at: before.len() - dos })
}

/// Mach-O (`mach-o/loader.h`): a known processor and file type, a plausible number of load commands; or a fat header or
/// Java class, which share their magic.
pub(super) fn mach_o(bytes: &[u8]) -> Option<Found> {
    let big = bytes.first()? == &0xfe;
    let word = |at: usize| u32_at(bytes, at).map(|value| if big { value.swap_bytes() } else { value });
    if bytes.starts_with(&[0xca, 0xfe, 0xba, 0xbe]) {
        let (count, cpu) = (u32_at(bytes, 4)?.swap_bytes(), u32_at(bytes, 8)?.swap_bytes());
        return match count {
            1..=16 if is_processor(cpu) => Some(found("native program (Mach-O)")),
            45..=75 if u16_at(bytes, 8)? != 0 && matches!(bytes.get(10), Some(1..=20)) => Some(found("Java class")),
            _ => None,
        };
    }
    let fits = is_processor(word(4)?) && (1..=12).contains(&word(12)?) && (1..=4_096).contains(&word(16)?);
    (fits && word(20)? < 1 << 20).then(|| found("native program (Mach-O)"))
}

fn is_processor(cpu: u32) -> bool {
    matches!(cpu & 0x00ff_ffff, 7 | 12 | 18) && matches!(cpu >> 24, 0..=2)
}

/// Version 1, then a section with a known number.
pub(super) fn wasm(bytes: &[u8]) -> Option<Found> {
    (bytes.get(4..8)? == [1, 0, 0, 0] && bytes.get(8).is_some_and(|section| *section <= 13))
        .then(|| found("WebAssembly program"))
}

/// An interpreter line of printable characters.
pub(super) fn script(bytes: &[u8]) -> Option<Found> {
    let line = bytes.get(..bytes.len().min(128))?;
    let end = memchr::memchr(b'\n', line)?;
    let line = line.get(..end)?.trim_ascii_end();
    line.iter().all(|byte| matches!(byte, 0x20..=0x7e)).then(|| found("script"))
}

/// A local header with a known version, method and a printable name.
pub(super) fn zip(bytes: &[u8]) -> Option<Found> {
    let length = usize::from(u16_at(bytes, 26)?);
    let name = bytes.get(30..30 + length.min(256))?;
    let fits = u16_at(bytes, 4)? & 0xff <= 63
        && matches!(u16_at(bytes, 8)?, 0 | 8 | 9 | 12 | 14 | 93 | 95 | 98 | 99)
        && (1..=1_024).contains(&length)
        && name.iter().all(|byte| *byte >= 0x20);
    fits.then(|| found("zip archive"))
}

/// `ustar` at its place in a header whose checksum holds.
pub(super) fn tar(bytes: &[u8], at: usize) -> Option<Found> {
    tar::is_header(bytes.get(at.checked_sub(257)?..)?).then_some(Found { what: "tar archive", at: 257 })
}

/// A command in the middle of text.
pub(super) fn command(bytes: &[u8], at: usize) -> Option<Found> {
    let printable = |byte: &&u8| matches!(**byte, 0x20..=0x7e | b'\n' | b'\r' | b'\t');
    let before = bytes.get(..at)?.iter().rev().take(PRINTABLE_MIN).take_while(printable).count();
    let behind = bytes.get(at..)?.iter().take(2 * PRINTABLE_MIN).take_while(printable).count();
    (before + behind >= PRINTABLE_MIN).then(|| found("text with a command"))
}

/// What unpacked or decoded bytes begin with.
pub(super) fn content(bytes: &[u8]) -> Option<Found> {
    let dos = u32_at(bytes, 60).and_then(|at| usize::try_from(at).ok());
    match bytes {
        [0x7f, b'E', b'L', b'F', ..] => elf(bytes),
        [b'M', b'Z', ..] if dos.is_some_and(|at| bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PE\0\0"))) => {
            Some(found("native program (PE)"))
        }
        [b'P', b'K', 3, 4, ..] => zip(bytes),
        [b'#', b'!', b'/' | b' ', ..] => script(bytes),
        _ if tar::is_likely(bytes) => Some(found("tar archive")),
        _ => None,
    }
}

/// The bytes that a run of digits stands for; `None` where the run is too short to mean anything.
pub(super) fn decoded(bytes: &[u8], encoding: Encoding) -> Option<Vec<u8>> {
    let digits = bytes.iter().take(DIGITS_MAX).take_while(|byte| match encoding {
        Encoding::Hex => byte.is_ascii_hexdigit(),
        _ => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='),
    });
    let count = digits.count();
    (count >= DIGITS_MIN).then(|| nested::decode(bytes.get(..count).unwrap_or_default(), encoding))
}

/// Where an import of an old pickle begins whose module ends with the line break at `at`.
pub(super) fn global_line(bytes: &[u8], at: usize) -> Option<usize> {
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'_' | b'.');
    // The cheap part first: this runs at every line break.
    if !bytes.get(at.checked_sub(1)?).as_ref().is_some_and(is_name) || !bytes.get(at + 1).as_ref().is_some_and(is_name)
    {
        return None;
    }
    let behind = bytes.get(at + 1..)?.iter().take(NAME_MAX).take_while(is_name).count();
    if bytes.get(at + 1 + behind) != Some(&b'\n') {
        return None;
    }
    let run = bytes.get(..at)?.iter().rev().take(NAME_MAX).take_while(is_name).count();
    let start = at - run;
    // The opcode is a letter itself: the first that leaves a module name behind it.
    let module = bytes.get(start..at)?;
    let opcode = module.iter().position(|byte| matches!(byte, b'c' | b'i'))?;
    let length = run - opcode - 1;
    let starts_well = |name: Option<&u8>| name.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    (length >= 2
        && length + behind >= NAMES_MIN
        && starts_well(module.get(opcode + 1))
        && starts_well(bytes.get(at + 1)))
    .then_some(start + opcode)
}

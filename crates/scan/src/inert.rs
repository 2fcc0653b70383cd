//! What does nothing when it is opened: pictures, sound, fonts, documents, and the data sets and logs beside a model.
//!
//! Such a file must end where its format says: what follows is looked at as a content of its own, and what is inside is
//! searched like weights. `media`, `data`, `vectors` and `pdf` know where the formats end; `extents` counts their bytes.
//!
//! Absent on purpose: decoding pictures and sound, reading tables. Nothing in them is run by what loads them.

use std::io;

use crate::{
    audit::Audit,
    detect::Kind,
    rules::id,
    source::{Source, bytes_at, length},
    stream::{is_old_pickle, names_something},
};

mod data;
mod extents;
mod media;
mod pdf;
mod vectors;

use extents::Extents;

/// How much of a content is searched for text that configures something, in bytes.
const TEXT_BYTES_MAX: u64 = 4 << 20;
/// Blocks of a picture that are walked.
const BLOCKS_MAX: u32 = 1_000_000;
/// How much of a JPEG's end is searched for its end marker, in bytes.
const JPEG_TAIL_BYTES: u64 = 64;

/// What pyarrow before 14.0.1 unpickled when it met it in a schema.
const PICKLED_TYPE: &[u8] = b"arrow.py_extension_type";
/// The same in base64, by its place in a group of three bytes.
const PICKLED_TYPE_ENCODED: [&[u8]; 3] =
    [b"YXJyb3cucHlfZXh0ZW5zaW9uX3R5cG", b"Fycm93LnB5X2V4dGVuc2lvbl90eXBl", b"hcnJvdy5weV9leHRlbnNpb25fdHlwZ"];
/// How much of either end of a table's file is searched for it, in bytes.
const SCHEMA_BYTES_MAX: u64 = 4 << 20;

/// Formats whose structure is followed to the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Riff,
    Tiff,
    Ogg,
    Icon,
    Font,
    Woff,
    Idx,
    Parquet,
    Arrow,
    Feather,
    Sqlite,
    Pdf,
    Matlab,
    Records,
    Ocdbt,
    Boxes,
    Mp3,
    Flac,
    Nifti,
    FastText,
    Word2Vec,
    Crfsuite,
}

/// What the first bytes say; `length` is that of the whole content.
pub(crate) fn format_of(head: &[u8], length: u64) -> Option<Format> {
    let starts = |signature: &[u8]| head.starts_with(signature);
    Some(match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W' | b'A', b'A' | b'V', b'V' | b'I', b'E' | b' ', ..] => Format::Riff,
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Format::Tiff,
        [b'O', b'g', b'g', b'S', 0, ..] => Format::Ogg,
        [0, 0, 1 | 2, 0, 1..=255, 0, ..] => Format::Icon,
        [0, 1, 0, 0, 0, 1..=255, ..] | [b'O', b'T', b'T', b'O', 0, 1..=255, ..] => Format::Font,
        _ if starts(b"wOFF") || starts(b"wOF2") => Format::Woff,
        _ if starts(b"PAR1") => Format::Parquet,
        _ if starts(b"ARROW1") => Format::Arrow,
        _ if starts(b"FEA1") => Format::Feather,
        _ if starts(b"SQLite format 3\0") => Format::Sqlite,
        _ if starts(b"%PDF-") => Format::Pdf,
        _ if starts(b"MATLAB") && matches!(head.get(124..128), Some([0, 1, b'I', b'M'] | [1, 0, b'M', b'I'])) => {
            Format::Matlab
        }
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Format::Boxes,
        _ if media::is_mp3(head) => Format::Mp3,
        _ if starts(b"fLaC") => Format::Flac,
        _ if data::nifti_end(head).is_some() => Format::Nifti,
        _ if starts(&vectors::FASTTEXT_MAGIC) => Format::FastText,
        _ if head.starts_with(b"lCRF") && head.get(8..12) == Some(b"FOMC") => Format::Crfsuite,
        _ if vectors::is_word2vec(head, length) => Format::Word2Vec,
        _ if data::is_ocdbt(head) => Format::Ocdbt,
        _ if data::record_bytes(head).is_some_and(|bytes| bytes < length) => Format::Records,
        _ if data::idx_end(head).is_some_and(|end| end <= length) => Format::Idx,
        _ => return None,
    })
}

/// Order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u64> {
        let field = bytes.get(at..)?.first_chunk().copied()?;
        Some(if self == Self::Little { u16::from_le_bytes(field) } else { u16::from_be_bytes(field) }.into())
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u64> {
        let field = bytes.get(at..)?.first_chunk().copied()?;
        Some(if self == Self::Little { u32::from_le_bytes(field) } else { u32::from_be_bytes(field) }.into())
    }
}

impl Audit<'_> {
    /// A content of an inert format.
    pub(crate) fn inert(&mut self, source: &mut dyn Source, format: Format) -> io::Result<&'static str> {
        // An old pickle may begin with almost any letters.
        if is_old_pickle(source) || names_something(source) {
            return self.pickles(source, 0, false);
        }
        let (name, end) = match format {
            Format::Riff => ("riff", media::riff(source)?),
            Format::Tiff => ("tiff", media::tiff(source)?),
            Format::Ogg => ("ogg", media::ogg(source)?),
            Format::Icon => ("icon", media::icon(source)?),
            Format::Font => ("font", media::font(source)?),
            Format::Woff => ("woff", media::woff(source)?),
            Format::Idx => ("idx", data::numbers(source)?),
            Format::Parquet => ("parquet", data::framed(source, b"PAR1")?),
            Format::Arrow => ("arrow", data::framed(source, b"ARROW1")?),
            Format::Feather => ("feather", data::framed(source, b"FEA1")?),
            Format::Sqlite => ("sqlite", data::sqlite(source)?),
            Format::Pdf => ("pdf", self.pdf_end(source)?),
            Format::Matlab => ("matlab", self.matlab_end(source)?),
            Format::Records => ("tfrecord", data::records(source)?),
            Format::Ocdbt => ("ocdbt", self.ocdbt_end(source)?),
            Format::Boxes => ("mp4", media::boxes(source)?),
            Format::Mp3 => ("mp3", media::mp3(source)?),
            Format::Flac => ("flac", media::flac(source)?),
            Format::Nifti => ("nifti", data::nifti_end(&bytes_at(source, 0, 352)?)),
            Format::FastText => ("fasttext", vectors::fasttext(source)?),
            Format::Word2Vec => ("word2vec", vectors::word2vec(source)?),
            Format::Crfsuite => ("crfsuite", vectors::crfsuite(source)?),
        };
        if matches!(format, Format::Parquet | Format::Arrow | Format::Feather) {
            self.pickled_types(source)?;
        }
        self.settle(source, name, end)?;
        Ok(name)
    }

    /// Searches the content of an inert format that should end at `end`, and what stands behind it.
    fn settle(&mut self, source: &mut dyn Source, name: &str, end: Option<u64>) -> io::Result<()> {
        let whole = length(source)?;
        // Readers of archives begin at the end of a file, whatever it is.
        if ringfence_format::zip::read(source).is_ok_and(|archive| !archive.members.is_empty()) {
            self.zip(source)?;
        } else if let Some(end) = end.filter(|end| *end < whole) {
            self.note(id::GEN_UNKNOWN, &format!("{} bytes belong to no part of the {name}", whole - end), Some(end));
            self.inspect_rest(source, end)?;
        } else if end != Some(whole) {
            self.note(id::GEN_UNKNOWN, &format!("the {name} has no proper end"), None);
        }
        self.carve(source)?;
        self.inert_data(source)?;
        self.text_rules(&bytes_at(source, 0, TEXT_BYTES_MAX)?);
        Ok(())
    }

    /// Schemas of Arrow name types by text; Parquet keeps a schema of Arrow in base64.
    fn pickled_types(&mut self, source: &mut dyn Source) -> io::Result<()> {
        let whole = length(source)?;
        for start in [0, whole.saturating_sub(SCHEMA_BYTES_MAX)] {
            let bytes = bytes_at(source, start, SCHEMA_BYTES_MAX)?;
            let plain = memchr::memmem::find(&bytes, PICKLED_TYPE);
            let encoded = || PICKLED_TYPE_ENCODED.iter().find_map(|needle| memchr::memmem::find(&bytes, needle));
            if let Some(at) = plain.or_else(encoded) {
                self.note(id::PKL_EMBEDDED, "a column's type is a pickle", Some(start + at as u64));
                return Ok(());
            }
        }
        Ok(())
    }

    pub(crate) fn picture(&mut self, source: &mut dyn Source, kind: Kind) -> io::Result<&'static str> {
        let (name, end) = match kind {
            Kind::Png => ("png", png_end(source)?),
            Kind::Jpeg => ("jpeg", jpeg_end(source)?),
            Kind::Gif => ("gif", gif_end(source)?),
            Kind::Webp => ("webp", media::riff(source)?),
            _ => ("bmp", stated_end(source, 2)?),
        };
        let whole = length(source)?;
        match end {
            Some(end) if end == whole => self.inert_data(source)?,
            Some(end) if end < whole => {
                self.note(id::GEN_UNKNOWN, &format!("{} bytes follow the picture", whole - end), Some(end));
                self.inspect_rest(source, end)?;
            }
            _ => {
                self.note(id::GEN_UNKNOWN, "the picture has no proper end", None);
                if ringfence_format::zip::read(source).is_ok_and(|archive| !archive.members.is_empty()) {
                    self.zip(source)?;
                } else {
                    self.carve(source)?;
                }
            }
        }
        Ok(name)
    }
}

/// Behind the IEND chunk (PNG §11.2.5).
fn png_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let mut at = 8;
    for _ in 0..BLOCKS_MAX {
        let head = bytes_at(source, at, 8)?;
        let (Some(size), Some(kind)) = (head.first_chunk::<4>(), head.get(4..8)) else { return Ok(None) };
        at += 12 + u64::from(u32::from_be_bytes(*size));
        if kind == b"IEND" {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The end marker must be the last thing but for a few zero bytes.
fn jpeg_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let whole = length(source)?;
    let start = whole.saturating_sub(JPEG_TAIL_BYTES);
    let tail = bytes_at(source, start, JPEG_TAIL_BYTES)?;
    let Some(at) = memchr::memmem::rfind(&tail, b"\xff\xd9") else { return Ok(None) };
    let is_blank = tail.get(at + 2..).unwrap_or_default().iter().all(|byte| *byte == 0);
    Ok(is_blank.then_some(whole))
}

/// Behind the trailer (GIF89a §27).
fn gif_end(source: &mut dyn Source) -> io::Result<Option<u64>> {
    let head = bytes_at(source, 0, 13)?;
    let table = |flags: u8| if flags & 0x80 != 0 { 3 << (u64::from(flags & 7) + 1) } else { 0 };
    let Some(flags) = head.get(10) else { return Ok(None) };
    let mut at = 13 + table(*flags);
    for _ in 0..BLOCKS_MAX {
        match bytes_at(source, at, 10)?.as_slice() {
            [0x3b, ..] => return Ok(Some(at + 1)),
            [0x21, ..] => at += 2,
            [0x2c, _, _, _, _, _, _, _, _, flags] => at += 11 + table(*flags),
            _ => return Ok(None),
        }
        for _ in 0..BLOCKS_MAX {
            let size = bytes_at(source, at, 1)?.first().copied().unwrap_or(0);
            at += 1 + u64::from(size);
            if size == 0 {
                break;
            }
        }
    }
    Ok(None)
}

/// A little-endian length field at `field`.
fn stated_end(source: &mut dyn Source, field: u64) -> io::Result<Option<u64>> {
    Ok(Order::Little.u32(&bytes_at(source, field, 4)?, 0))
}

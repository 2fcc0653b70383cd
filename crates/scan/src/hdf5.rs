//! HDF5 files: links and data in other files, pickles and configurations in attributes, and bytes that belong to nothing.
//!
//! Attributes and byte-like datasets are looked into; of numbers only the first bytes. A Keras configuration in an attribute goes to
//! `keras`, a pickle (PyTables and pandas write them) to the pickle machine.

use std::io::{self, Cursor};

use ringfence_format::hdf5::{Class, Dataset, Flaw, Hdf5Error, Layout, Object, Reader, Target};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    detect::program,
    paths::escapes,
    pickle::nested,
    rules::{Rule, id},
    source::{Source, Window, bytes_at, is_blank_from, length},
};

/// How much of a byte-like dataset is read, in bytes.
const DATASET_BYTES_MAX: u64 = 64 << 20;
/// How much of all datasets is read, in bytes.
const DATASETS_BYTES_MAX: u64 = 512 << 20;
/// First bytes of numbers that are looked at.
const NUMBERS_HEAD_BYTES: u64 = 512;
/// How much of the space that belongs to nothing is searched, in bytes.
const HOLES_BYTES_MAX: u64 = 64 << 20;
/// Shortest such space that can hold something, in bytes.
const HOLE_BYTES_MIN: u64 = 24;
/// Such spaces that are searched.
const HOLES_MAX: usize = 10_000;
/// Flaws that are reported one by one.
const FLAWS_SHOWN_MAX: usize = 50;
/// Filters that come with the library.
const LIBRARY_FILTERS: std::ops::RangeInclusive<u16> = 1..=6;
/// Filters that the reader undoes: deflate, shuffle, Fletcher-32, LZF.
const UNDONE_FILTERS: [u16; 4] = [1, 2, 3, 32_000];
/// Numbers of registered filters (The HDF Group's list of registered filter plugins).
const REGISTERED_FILTERS: [std::ops::RangeInclusive<u16>; 2] = [257..=511, 32_000..=32_767];

impl Audit<'_> {
    pub(crate) fn hdf5(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let whole = length(source)?;
        let (format, start, end) = self.hdf5_view(source)?;
        self.hdf5_outside(source, start, end, whole)?;
        Ok(format)
    }

    /// The file that begins at the signature: its name, where it begins and where it says that it ends.
    pub(crate) fn hdf5_view(&mut self, source: &mut dyn Source) -> io::Result<(&'static str, u64, u64)> {
        let whole = length(source)?;
        let mut reader = match Reader::open(source) {
            Ok(reader) => reader,
            Err(Hdf5Error::Io(error)) => return Err(error),
            Err(error) => {
                self.note(id::HDF_BROKEN, &error.to_string(), Some(0));
                self.carve(source)?;
                return Ok(("hdf5", 0, whole));
            }
        };
        let tree = reader.walk()?;
        let superblock = reader.superblock();
        let is_short = superblock.end > whole;
        if is_short {
            let message = format!("the superblock says {} bytes, the file has {whole}", superblock.end);
            self.note(id::HDF_BROKEN, &message, Some(superblock.offset));
        }
        self.hdf5_flaws(&tree.flaws, is_short);
        let mut left = DATASETS_BYTES_MAX;
        for object in &tree.objects {
            self.within(&object.path, |audit| audit.hdf5_object(&mut reader, object, &mut left))?;
        }
        let later = reader.later_flaws();
        self.hdf5_flaws(&later, is_short);
        let extents = tree.extents.as_ref().and_then(|_| reader.joined_extents());
        let has_keras =
            tree.objects.iter().any(|object| object.attributes.iter().any(|one| one.name == "keras_version"));
        if let Some(extents) = extents {
            self.hdf5_holes(source, &extents, superblock.offset, superblock.end.min(whole))?;
        }
        Ok((if has_keras { "keras-h5" } else { "hdf5" }, superblock.offset, superblock.end))
    }

    fn hdf5_flaws(&mut self, flaws: &[Flaw], is_short: bool) {
        for flaw in flaws.iter().take(FLAWS_SHOWN_MAX) {
            let (rule, message, offset) = match flaw {
                Flaw::Outside { what, offset, bytes } => {
                    let rule = if is_short { id::HDF_BROKEN } else { id::HDF_STRUCTURE };
                    (rule, format!("{what} of {bytes} bytes lies outside of the file"), Some(*offset))
                }
                Flaw::Broken { what, offset } => (id::HDF_BROKEN, format!("{what} is broken"), Some(*offset)),
                Flaw::Limit { what } => (id::HDF_LIMIT, format!("more {what} than are followed"), None),
                Flaw::Unread { what, offset } => (id::HDF_LIMIT, format!("{what} is not read"), Some(*offset)),
                _ => (id::HDF_BROKEN, format!("{flaw:?}"), None),
            };
            // Where the chunks of numbers are is of no consequence; bytes are judged with their dataset.
            if !matches!(flaw, Flaw::Unread { what: "chunk index", .. }) {
                self.note(rule, &message, offset);
            }
        }
    }

    fn hdf5_object<S: Source + ?Sized>(
        &mut self,
        reader: &mut Reader<'_, S>,
        object: &Object,
        left: &mut u64,
    ) -> io::Result<()> {
        for link in &object.links {
            let name = printable(&link.name, 80);
            match &link.target {
                Target::External { file, path } => {
                    let message =
                        format!("link `{name}` leads to `{}` of file `{}`", printable(path, 80), printable(file, 120));
                    self.note(leaving(file), &message, Some(link.offset));
                }
                Target::User(class) => {
                    self.note(id::HDF_USER_LINK, &format!("link `{name}` is of class {class}"), Some(link.offset));
                }
                _ => {}
            }
        }
        if let Some(comment) = &object.comment {
            self.within("comment", |audit| audit.free_text(comment.as_bytes()));
        }
        for attribute in &object.attributes {
            let name = format!("attribute {}", printable(&attribute.name, 80));
            let referred = reader.referred(&attribute.datatype, &attribute.raw)?;
            self.within(&name, |audit| {
                if attribute.datatype.class == Class::Text && attribute.datatype.size > 0 {
                    let size = usize::try_from(attribute.datatype.size).unwrap_or(usize::MAX);
                    attribute.raw.chunks(size).for_each(|text| audit.hdf5_value(trimmed(text)));
                } else {
                    audit.hdf5_value(&attribute.raw);
                }
                for (_, value) in &referred {
                    audit.hdf5_value(trimmed(value));
                }
            });
        }
        match &object.dataset {
            Some(dataset) => self.hdf5_dataset(reader, dataset, object.offset, left),
            None => Ok(()),
        }
    }

    /// A value of an attribute or byte-like dataset: a configuration, a pickle, or free text.
    fn hdf5_value(&mut self, value: &[u8]) {
        let first = value.iter().find(|byte| !byte.is_ascii_whitespace());
        if !(matches!(first, Some(b'{' | b'[' | 0xef)) && self.keras_json(value)) {
            self.free_bytes(value);
        }
    }

    fn hdf5_dataset<S: Source + ?Sized>(
        &mut self,
        reader: &mut Reader<'_, S>,
        dataset: &Dataset,
        offset: u64,
        left: &mut u64,
    ) -> io::Result<()> {
        for external in dataset.external.iter().take(FLAWS_SHOWN_MAX) {
            let message = format!("its data are {} bytes of file `{}`", external.bytes, printable(&external.name, 120));
            self.note(leaving(&external.name), &message, Some(offset));
        }
        let holds_bytes = dataset.datatype.is_bytes || !dataset.datatype.slots.is_empty();
        // Pictures are single bytes too: they are looked into, but as numbers they need not be read to the end.
        let must_read = holds_bytes && dataset.datatype.class != Class::Number;
        self.hdf5_filters(dataset, must_read, offset);
        let most = if holds_bytes { DATASET_BYTES_MAX.min(*left) } else { NUMBERS_HEAD_BYTES };
        let content = reader.content(dataset, most)?;
        *left = left.saturating_sub(content.bytes.len() as u64);
        if matches!(dataset.layout, Layout::Virtual { .. }) {
            self.hdf5_virtual(&content.bytes, offset);
            return Ok(());
        }
        self.payload_head(&content.bytes, id::HDF_PAYLOAD);
        let begins = nested::is_start(&content.bytes) || nested::has_global_line(&content.bytes);
        if holds_bytes && dataset.datatype.slots.is_empty() {
            self.hdf5_value(&content.bytes);
        } else if begins {
            let content = reader.content(dataset, DATASET_BYTES_MAX.min(*left))?;
            *left = left.saturating_sub(content.bytes.len() as u64);
            self.carve_bytes(&content.bytes, &mut Cursor::new(&content.bytes));
        }
        for (at, value) in reader.referred(&dataset.datatype, &content.bytes)? {
            let at = format!("value@{at:#x}");
            self.within(&at, |audit| {
                audit.payload_head(&value, id::HDF_PAYLOAD);
                audit.hdf5_value(&value);
            });
        }
        let is_judged = dataset.filters.iter().any(|filter| !UNDONE_FILTERS.contains(&filter.id));
        if must_read && !content.is_whole && !is_judged {
            self.note(id::HDF_LIMIT, "only a part of the dataset was read", Some(offset));
        }
        Ok(())
    }

    /// Filters that are not undone hide bytes; those of numbers hide numbers.
    fn hdf5_filters(&mut self, dataset: &Dataset, must_read: bool, offset: u64) {
        for filter in &dataset.filters {
            let name = printable(&filter.name, 60);
            let is_known = LIBRARY_FILTERS.contains(&filter.id)
                || REGISTERED_FILTERS.iter().any(|range| range.contains(&filter.id));
            if !is_known {
                let message = format!("filter {} `{name}` is not registered", filter.id);
                self.note(id::HDF_FILTER, &message, Some(offset));
            } else if must_read && !UNDONE_FILTERS.contains(&filter.id) {
                let message = format!("filter {} `{name}` is not undone", filter.id);
                self.note(id::HDF_LIMIT, &message, Some(offset));
            }
        }
    }

    /// A virtual dataset's list begins with version and count, then the first source's file (§III.E.2).
    fn hdf5_virtual(&mut self, list: &[u8], offset: u64) {
        let texts = list.get(9..).unwrap_or_default().split(|byte| *byte == 0);
        let is_file = |text: &&[u8]| !text.is_empty() && text.iter().all(|byte| (0x20..0x7f).contains(byte));
        let first = texts.clone().next().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        let others = texts.skip(1).filter(is_file).map(|text| String::from_utf8_lossy(text).into_owned());
        let others = others.filter(|text| escapes(text) && !text.starts_with('/'));
        for file in std::iter::once(first).chain(others).filter(|file| file != ".").take(FLAWS_SHOWN_MAX) {
            let message = format!("its data are those of file `{}`", printable(&file, 120));
            self.note(leaving(&file), &message, Some(offset));
        }
    }

    /// The user block before the superblock and what follows the end that it states.
    fn hdf5_outside(&mut self, source: &mut dyn Source, start: u64, end: u64, whole: u64) -> io::Result<()> {
        if start > 0 {
            let block = bytes_at(source, 0, start.min(HOLES_BYTES_MAX))?;
            let is_note = block.iter().all(|byte| matches!(byte, 0 | b'\t' | b'\n' | b'\r' | 0x20..=0x7e));
            self.within("user block", |audit| {
                audit.free_text(&block);
                // MATLAB writes two version bytes and a mark behind its text.
                if !is_note && !block.starts_with(b"MATLAB 7.3") {
                    audit.note(id::HDF_OUTSIDE, &format!("{start} bytes stand before the superblock"), Some(0));
                    audit.inspect_rest(&mut Cursor::new(block), 0)?;
                }
                Ok::<(), io::Error>(())
            })?;
        }
        if end < whole && end > start && !is_blank_from(source, end)? {
            self.note(id::HDF_OUTSIDE, &format!("{} bytes follow the end of the file", whole - end), Some(end));
            self.inspect_rest(source, end)?;
        }
        Ok(())
    }

    /// Free space and what else no structure claims.
    fn hdf5_holes(&mut self, source: &mut dyn Source, extents: &[(u64, u64)], start: u64, end: u64) -> io::Result<()> {
        let starts = extents.iter().map(|extent| extent.0).chain([end]);
        let ends = [start].into_iter().chain(extents.iter().map(|extent| extent.1));
        let holes = ends.zip(starts).filter(|(from, to)| to.saturating_sub(*from) >= HOLE_BYTES_MIN);
        let mut left = HOLES_BYTES_MAX;
        for (from, to) in holes.take(HOLES_MAX) {
            let bytes = (to.min(end).saturating_sub(from)).min(left);
            left -= bytes;
            let hole = bytes_at(source, from, bytes)?;
            if hole.iter().all(|byte| *byte == 0) {
                continue;
            }
            self.within(&format!("unclaimed@{from:#x}"), |audit| {
                if let Some(what) = program(&hole) {
                    let message = format!("bytes that belong to no part begin like a program ({what})");
                    audit.note(id::GEN_PROGRAM, &message, Some(0));
                }
                let mut window = Window::new(source, from, bytes)?;
                audit.carve_bytes(&hole, &mut window);
                Ok::<(), io::Error>(())
            })?;
        }
        Ok(())
    }
}

/// Which rule a file outside of this one is for.
fn leaving(file: &str) -> &'static Rule {
    if escapes(file) { id::HDF_EXTERNAL } else { id::HDF_EXTERNAL_HERE }
}

/// Without the zero bytes and spaces that fill a text of fixed length.
fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

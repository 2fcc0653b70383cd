//! Arrays and tensor files: npy and safetensors.

use std::io::{self, SeekFrom};

use ringfence_format::{
    npy::{Header, Literal, NpyError},
    safetensors::{self, Flaw, SafetensorsError},
};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    detect::program,
    rules::{Rule, id},
    source::{Source, bytes_at, length},
    template::words,
};

/// Odd names of tensors that are told.
const NAMES_SHOWN_MAX: usize = 20;

/// Elements of an array that no machine has.
const ELEMENTS_MAX: u64 = 1 << 46;
/// Longest hole or trailing part that is searched, in bytes.
const HIDDEN_BYTES_MAX: u64 = 4 << 20;

impl Audit<'_> {
    pub(crate) fn npy(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        source.seek(SeekFrom::Start(0))?;
        let header = match Header::read(source) {
            Ok(header) => header,
            Err(NpyError::Io(error)) => return Err(error),
            Err(error) => {
                let rule = match error {
                    NpyError::NotLiteral { .. } | NpyError::HeaderTooLarge { .. } | NpyError::Field { .. } => {
                        id::NPY_HEADER
                    }
                    _ => id::NPY_SIZE,
                };
                self.note(rule, &error.to_string(), Some(0));
                self.carve(source)?;
                return Ok("npy");
            }
        };
        if !header.extra_keys.is_empty() {
            self.note(id::NPY_KEYS, &format!("keys {}", printable(&header.extra_keys.join(", "), 120)), Some(0));
        }
        if header.has_objects() {
            self.note(id::NPY_OBJECTS, "the array holds Python objects", Some(0));
            self.pickles(source, header.data_offset, false)?;
            return Ok("npy");
        }
        let whole = length(source)?;
        let data = header.data_bytes().unwrap_or(u64::MAX).min(whole.saturating_sub(header.data_offset));
        // Strings and records may hold any text.
        let is_numbers = matches!(&header.descr, Literal::Text(code) if code.contains(['f', 'i', 'u', 'b', 'c']));
        if is_numbers {
            self.weights(source, header.data_offset, data)?;
        } else {
            self.other_data(source, header.data_offset, data)?;
        }
        let end = header.data_bytes().and_then(|bytes| bytes.checked_add(header.data_offset));
        match end {
            Some(end) if end == whole => {}
            Some(end) if end < whole => {
                self.note(id::NPY_SIZE, &format!("{} bytes follow the array", whole - end), Some(end));
                self.inspect_rest(source, end)?;
            }
            _ => {
                let elements =
                    header.shape.iter().try_fold(1_u64, |product, dimension| product.checked_mul(*dimension));
                if elements.is_none_or(|elements| elements > ELEMENTS_MAX) {
                    let shape: Vec<u64> = header.shape.iter().copied().take(8).collect();
                    self.note(id::NPY_SHAPE, &format!("the array has shape {shape:?}"), Some(0));
                } else {
                    self.note(id::NPY_SIZE, "the array is longer than the file", Some(header.data_offset));
                }
                self.inspect_rest(source, header.data_offset)?;
            }
        }
        Ok("npy")
    }

    pub(crate) fn safetensors(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let audit = match safetensors::audit(source) {
            Ok(audit) => audit,
            Err(SafetensorsError::Io(error)) => return Err(error),
            Err(error) => {
                self.note(id::SFT_HEADER, &error.to_string(), Some(0));
                self.carve(source)?;
                return Ok("safetensors");
            }
        };
        for flaw in &audit.flaws {
            let (rule, message, offset) = describe(flaw);
            self.note(rule, &message, offset);
        }
        if audit.truncated {
            self.note(id::SFT_STRUCTURE, "more tensors or flaws than are kept", None);
        }
        for flaw in audit.flaws.iter().take(100) {
            if let Flaw::Hole { offset, bytes } | Flaw::Trailing { offset, bytes } = flaw {
                self.hidden(source, *offset, *bytes)?;
            }
        }
        let end = audit.tensors.iter().map(|tensor| tensor.end).max().unwrap_or(0).min(length(source)?);
        self.weights(source, audit.data_offset.min(end), end.saturating_sub(audit.data_offset))?;
        if bytes_at(source, 8, 1)?.first().is_some_and(|first| *first != b'{') {
            self.note(id::SFT_HEADER, "the header does not begin with a brace, as the format demands", Some(8));
        }
        for tensor in audit.tensors.iter().filter(|tensor| is_odd_name(&tensor.name)).take(NAMES_SHOWN_MAX) {
            let message = format!("`{}` is no name of a tensor", printable(&tensor.name, 120));
            self.note(id::SFT_METADATA, &message, None);
        }
        for (key, value) in &audit.metadata {
            self.metadata(key, value);
        }
        Ok("safetensors")
    }

    fn hidden(&mut self, source: &mut dyn Source, offset: u64, bytes: u64) -> io::Result<()> {
        let bytes = bytes_at(source, offset, bytes.min(HIDDEN_BYTES_MAX))?;
        if let Some(name) = program(&bytes) {
            self.note(id::GEN_PROGRAM, &format!("hidden bytes begin like a program ({name})"), Some(offset));
        }
        let mut cursor = io::Cursor::new(bytes);
        self.within(&format!("hidden@{offset:#x}"), |audit| audit.inspect_rest(&mut cursor, 0))
    }

    /// Metadata is free text; what a program or template needs is not what a note needs.
    fn metadata(&mut self, key: &str, value: &str) {
        let name = format!("__metadata__.{}", printable(key, 60));
        self.within(&name, |audit| {
            audit.text_rules(value.as_bytes());
            let encoded = value.as_bytes();
            if let Some(what) = program(encoded) {
                audit.note(id::SFT_METADATA, &format!("metadata begins like a program ({what})"), Some(0));
            }
            audit.encoded(encoded);
            if let Some(what) = words::instruction(value) {
                audit.note(id::SFT_METADATA, &format!("metadata {what}"), None);
            }
            for token in ["__import__(", "eval(", "exec(", "os.system", "subprocess.", "<script"] {
                if value.contains(token) {
                    audit.note(id::SFT_METADATA, &format!("metadata holds `{token}`"), None);
                }
            }
        });
    }
}

/// Names that tools which write a file per tensor, or evaluate a name, would fall for.
fn is_odd_name(name: &str) -> bool {
    name.contains('\0')
        || name.starts_with("../")
        || name.contains("/../")
        || name.contains("\\..\\")
        || ["__import__(", "eval(", "exec(", "os.system(", "<script"].iter().any(|code| name.contains(code))
}

fn describe(flaw: &Flaw) -> (&'static Rule, String, Option<u64>) {
    let show = |name: &str| printable(name, 120);
    let structure = |message: String| (id::SFT_STRUCTURE, message, None);
    match flaw {
        Flaw::DuplicateKey { name } => (id::SFT_DUPLICATE, format!("`{}` stands twice", show(name)), None),
        Flaw::Malformed { name, field } => structure(format!("`{}` has no proper {field}", show(name))),
        Flaw::Number { name, field } => structure(format!("`{}` has impossible numbers in {field}", show(name))),
        Flaw::UnknownField { name, field } => {
            structure(format!("`{}` has an unknown field `{}`", show(name), show(field)))
        }
        Flaw::UnknownType { name, dtype } => {
            structure(format!("`{}` has the unknown type `{}`", show(name), show(dtype)))
        }
        Flaw::SizeDiffers { name, expected, found } => {
            let expected = expected.map_or_else(|| "an impossible number of".to_owned(), |bytes| bytes.to_string());
            structure(format!("`{}` needs {expected} bytes and has {found}", show(name)))
        }
        Flaw::OutOfBounds { name } => structure(format!("`{}` lies outside of the file", show(name))),
        Flaw::Overlap { name } => structure(format!("`{}` overlaps another tensor", show(name))),
        Flaw::Hole { offset, bytes } => (id::SFT_HIDDEN, format!("{bytes} bytes belong to no tensor"), Some(*offset)),
        Flaw::Trailing { offset, bytes } => {
            (id::SFT_HIDDEN, format!("{bytes} bytes follow the last tensor"), Some(*offset))
        }
        Flaw::Metadata { key } => structure(format!("metadata `{}` is no text", show(key.as_deref().unwrap_or("")))),
        Flaw::Padding { offset } => {
            (id::SFT_HIDDEN, "bytes other than spaces follow the header".to_owned(), Some(*offset))
        }
        _ => structure(format!("{flaw:?}")),
    }
}

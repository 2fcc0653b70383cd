//! GGUF models: a header that must agree with the file, templates that run, and tensors that may be something else.

use std::io::{self, Cursor};

use ringfence_format::gguf::{self, Entry, Flaw, Gguf, GgufError};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    detect::program,
    pickle::nested,
    rules::{Rule, id},
    source::{Source, Window, bytes_at, length},
};

/// First bytes of a tensor that are looked at.
const TENSOR_HEAD_BYTES: u64 = 512;
/// Tensors that begin like a pickle and are searched; overlapping ones could be many.
const CARVED_MAX: usize = 1_000;
/// Longest hole or trailing part that is searched, in bytes.
const HIDDEN_BYTES_MAX: u64 = 4 << 20;
/// Longest padding behind the last tensor, in bytes; more is a part that belongs to no tensor.
const PADDING_BYTES_MAX: u64 = 64;
/// Flaws that are reported one by one.
const FLAWS_SHOWN_MAX: usize = 100;
/// Element types from here on are no future ones.
const TYPE_MAX: u32 = 128;

impl Audit<'_> {
    pub(crate) fn gguf(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let file = match gguf::read(source) {
            Ok(file) => file,
            Err(GgufError::Io(error)) => return Err(error),
            Err(error) => {
                self.note(id::GGU_BROKEN, &error.to_string(), Some(0));
                self.carve(source)?;
                return Ok("gguf");
            }
        };
        for flaw in file.flaws.iter().take(FLAWS_SHOWN_MAX) {
            let (rule, message, offset) = describe(flaw);
            self.note(rule, &message, offset);
        }
        if file.truncated {
            self.note(id::GGU_STRUCTURE, "more flaws than are kept", None);
        }
        for entry in &file.entries {
            self.gguf_entry(entry);
        }
        for flaw in file.flaws.iter().take(FLAWS_SHOWN_MAX) {
            if let Flaw::Hole { offset, bytes } | Flaw::Trailing { offset, bytes } = flaw {
                let bytes = bytes_at(source, *offset, (*bytes).min(HIDDEN_BYTES_MAX))?;
                self.within(&format!("hidden@{offset:#x}"), |audit| audit.inspect_rest(&mut Cursor::new(bytes), 0))?;
            }
        }
        self.gguf_padding(source, &file)?;
        if file.data_offset.is_none() {
            // What follows the break belongs to nothing.
            self.within("unread", |audit| {
                let mut rest = Window::new(source, file.stop, HIDDEN_BYTES_MAX)?;
                audit.carve(&mut rest)
            })?;
        }
        self.gguf_tensors(source, &file)?;
        Ok("gguf")
    }

    /// What follows the last tensor and is shorter than the alignment may be padding, but padding is zeros.
    fn gguf_padding(&mut self, source: &mut dyn Source, file: &Gguf) -> io::Result<()> {
        let whole = length(source)?;
        let ends = file.tensors.iter().map(|tensor| tensor.start.saturating_add(tensor.bytes.unwrap_or(u64::MAX)));
        let Some(end) = ends.max().or(file.data_offset).filter(|end| *end < whole) else { return Ok(()) };
        if whole - end >= PADDING_BYTES_MAX {
            return Ok(());
        }
        let rest = bytes_at(source, end, whole - end)?;
        if rest.iter().any(|byte| *byte != 0) {
            self.note(id::GGU_HIDDEN, &format!("{} bytes of padding are not zero", rest.len()), Some(end));
            self.within(&format!("hidden@{end:#x}"), |audit| audit.inspect_rest(&mut Cursor::new(rest), 0))?;
        }
        Ok(())
    }

    fn gguf_entry(&mut self, entry: &Entry) {
        let key = printable(&entry.key, 80);
        for text in &entry.texts {
            if entry.key.contains("template") {
                let template = String::from_utf8_lossy(&text.bytes);
                self.template(&template, &format!("{key}@{:#x}", text.offset));
            }
            // A template's own rules stand beside those for every text.
            self.within(&format!("{key}@{:#x}", text.offset), |audit| audit.free_text(&text.bytes));
        }
    }

    fn gguf_tensors(&mut self, source: &mut dyn Source, file: &Gguf) -> io::Result<()> {
        let whole = length(source)?;
        let mut left = CARVED_MAX;
        for tensor in file.tensors.iter().filter(|tensor| tensor.start < whole) {
            let bytes = tensor.bytes.unwrap_or(TENSOR_HEAD_BYTES).min(TENSOR_HEAD_BYTES);
            let head = bytes_at(source, tensor.start, bytes)?;
            self.within(&format!("tensor {}", printable(&tensor.name, 80)), |audit| {
                audit.payload_head(&head, id::GGU_PAYLOAD);
                if left > 0 && (nested::is_start(&head) || nested::has_global_line(&head)) {
                    left -= 1;
                    let length = tensor.bytes.unwrap_or(HIDDEN_BYTES_MAX).min(HIDDEN_BYTES_MAX);
                    let mut window = Window::new(source, tensor.start, length)?;
                    audit.carve_bytes(&head, &mut window);
                }
                Ok::<(), io::Error>(())
            })?;
        }
        if left == 0 {
            self.note(id::GGU_BROKEN, "more tensors look like pickles than are searched", None);
        }
        Ok(())
    }

    /// Numbers that begin like a program or an archive are none.
    pub(crate) fn payload_head(&mut self, head: &[u8], rule: &'static Rule) {
        let what = match head {
            [b'P', b'K', 3, 4, ..] => Some("zip archive"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Some("7z archive"),
            head => program(head),
        };
        if let Some(what) = what {
            self.note(rule, &format!("the data begin like a {what}"), Some(0));
        }
    }
}

fn describe(flaw: &Flaw) -> (&'static Rule, String, Option<u64>) {
    let show = |name: &str| printable(name, 120);
    let structure = |message: String| (id::GGU_STRUCTURE, message, None);
    match flaw {
        Flaw::Version { version } => (id::GGU_BROKEN, format!("version {version} is not known"), Some(4)),
        Flaw::Claim { what, claimed, left, offset } => {
            (id::GGU_STRUCTURE, format!("claims {claimed} {what} where {left} bytes are left"), Some(*offset))
        }
        Flaw::Truncated { offset } => (id::GGU_BROKEN, "the file ends inside the header".to_owned(), Some(*offset)),
        Flaw::Limit { what, offset } => (id::GGU_BROKEN, format!("more {what} than are read"), Some(*offset)),
        Flaw::LongName { what, bytes, offset } => {
            (id::GGU_STRUCTURE, format!("{bytes} {what} where the format allows fewer"), Some(*offset))
        }
        Flaw::Duplicate { name } => (id::GGU_DUPLICATE, format!("`{}` stands twice", show(name)), None),
        Flaw::Name { name, offset } => {
            (id::GGU_STRUCTURE, format!("the name `{}` is no plain text", show(name)), Some(*offset))
        }
        Flaw::ValueType { key, kind } => structure(format!("`{}` has the impossible value type {kind}", show(key))),
        Flaw::Truth { key } => structure(format!("`{}` is neither true nor false", show(key))),
        Flaw::Alignment { value } => structure(format!("an alignment of {value} bytes")),
        Flaw::TensorType { name, kind } if *kind < TYPE_MAX => {
            (id::GGU_TYPE, format!("tensor `{}` has the unknown type {kind}", show(name)), None)
        }
        Flaw::TensorType { name, kind } => structure(format!("tensor `{}` has the impossible type {kind}", show(name))),
        Flaw::Shape { name, dimensions } => {
            let shown: Vec<u64> = dimensions.iter().copied().take(8).collect();
            structure(format!("tensor `{}` has the impossible shape {shown:?}", show(name)))
        }
        Flaw::Misaligned { name } => structure(format!("tensor `{}` is not aligned", show(name))),
        Flaw::OutOfBounds { name } => structure(format!("tensor `{}` lies outside of the file", show(name))),
        Flaw::Overlap { name } => structure(format!("tensor `{}` overlaps another", show(name))),
        Flaw::Hole { offset, bytes } => (id::GGU_HIDDEN, format!("{bytes} bytes belong to no tensor"), Some(*offset)),
        Flaw::Trailing { offset, bytes } => {
            (id::GGU_HIDDEN, format!("{bytes} bytes follow the last tensor"), Some(*offset))
        }
        _ => structure(format!("{flaw:?}")),
    }
}

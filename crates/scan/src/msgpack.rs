//! MessagePack documents, as Flax keeps weights in them: extensions that are arrays, and bytes that may be something else.

use std::io::{self, Cursor};

use ringfence_format::msgpack::{self, Document, Flaw, Kind, Leaf};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    pickle::nested,
    rules::{Rule, id},
    source::{Source, bytes_at, length},
};

/// How much of one leaf is looked at, in bytes.
const LEAF_BYTES_MAX: u64 = 1 << 20;
/// How much of all leaves is looked at beyond their first bytes.
const LEAVES_BYTES_MAX: u64 = 128 << 20;
/// First bytes of a leaf that are always looked at.
const HEAD_BYTES: u64 = 512;
/// Flaws that are reported one by one.
const FLAWS_SHOWN_MAX: usize = 50;
/// Documents without a map at the top are believed from this length on, in bytes.
const ARRAY_BYTES_MIN: u64 = 64;

/// Paths whose keys are looked at.
const PATHS_MAX: usize = 100_000;
/// Keys that name how Python makes and changes objects; weights need none.
const SPECIAL_KEYS: [&str; 11] = [
    "__reduce__",
    "__reduce_ex__",
    "__setstate__",
    "__getstate__",
    "__class__",
    "__builtins__",
    "__import__",
    "__globals__",
    "__subclasses__",
    "__code__",
    "__call__",
];
/// A length that no document of fewer bytes can have.
const CLAIM_MIN: u64 = 1 << 31;
/// Letters that the keys of a broken document must have together.
const LETTERS_MIN: usize = 5;

/// `flax.serialization`: `_MsgpackExtType`.
const NDARRAY: i8 = 1;
const COMPLEX: i8 = 2;
const SCALAR: i8 = 3;
/// The specification's own time stamp.
const TIMESTAMP: i8 = -1;

impl Audit<'_> {
    /// `None`: the bytes are no MessagePack document.
    pub(crate) fn msgpack(&mut self, source: &mut dyn Source) -> io::Result<Option<&'static str>> {
        let document = msgpack::read(source)?;
        if !is_believable(&document, length(source)?) {
            return Ok(None);
        }
        for flaw in document.flaws.iter().take(FLAWS_SHOWN_MAX) {
            let (rule, message, offset) = describe(flaw);
            self.note(rule, &message, offset);
            if let Flaw::Trailing { offset, .. } = flaw {
                self.inspect_rest(source, *offset)?;
            }
        }
        let paths = document.keys.iter().chain(document.leaves.iter().map(|leaf| &leaf.path));
        if let Some(path) = paths.take(PATHS_MAX).find(|path| path.split('/').any(|key| SPECIAL_KEYS.contains(&key))) {
            self.note(id::MPK_SPECIAL_KEY, &format!("the key `{}`", printable(path, 120)), None);
        }
        let mut left = LEAVES_BYTES_MAX;
        for leaf in &document.leaves {
            let name = if leaf.path.is_empty() { format!("value@{:#x}", leaf.offset) } else { leaf.path.clone() };
            self.within(&name, |audit| audit.msgpack_leaf(source, leaf, &mut left))?;
        }
        if !document.whole() {
            self.within("unread", |audit| {
                let mut rest = crate::source::Window::new(source, document.stop, LEAF_BYTES_MAX)?;
                audit.carve(&mut rest)
            })?;
        }
        Ok(Some("msgpack"))
    }

    fn msgpack_leaf(&mut self, source: &mut dyn Source, leaf: &Leaf, left: &mut u64) -> io::Result<()> {
        match leaf.kind {
            Kind::Extension(NDARRAY | SCALAR) => self.msgpack_array(source, leaf),
            Kind::Extension(COMPLEX | TIMESTAMP) if leaf.bytes <= 32 => Ok(()),
            Kind::Extension(kind) => {
                let message = format!("an extension of type {kind} and {} bytes", leaf.bytes);
                self.note(id::MPK_EXTENSION, &message, Some(leaf.offset));
                let bytes = bytes_at(source, leaf.offset, leaf.bytes.min(LEAF_BYTES_MAX))?;
                self.payload_head(&bytes, id::MPK_PAYLOAD);
                self.free_bytes(&bytes);
                Ok(())
            }
            Kind::Text | Kind::Bytes => {
                let most = if *left > 0 { LEAF_BYTES_MAX } else { HEAD_BYTES };
                let bytes = bytes_at(source, leaf.offset, leaf.bytes.min(most))?;
                *left = left.saturating_sub(bytes.len() as u64);
                if leaf.kind == Kind::Bytes {
                    self.payload_head(&bytes, id::MPK_PAYLOAD);
                    self.free_bytes(&bytes);
                } else {
                    self.free_text(&bytes);
                }
                Ok(())
            }
        }
    }

    /// Flax's arrays and scalars: a type that is a number's, and as many bytes as it needs.
    fn msgpack_array(&mut self, source: &mut dyn Source, leaf: &Leaf) -> io::Result<()> {
        let head = bytes_at(source, leaf.offset, leaf.bytes.min(HEAD_BYTES))?;
        let Some(array) = msgpack::array(&head) else {
            self.note(id::MPK_EXTENSION, "an array extension does not hold shape, type and bytes", Some(leaf.offset));
            let bytes = bytes_at(source, leaf.offset, leaf.bytes.min(LEAF_BYTES_MAX))?;
            self.free_bytes(&bytes);
            return Ok(());
        };
        let shown = printable(&array.dtype, 60);
        match item_bytes(&array.dtype) {
            None => {
                let message = format!("an array of type `{shown}` holds no numbers");
                self.note(id::MPK_EXTENSION, &message, Some(leaf.offset));
            }
            Some(item) => {
                let needed = array.shape.iter().try_fold(item, |bytes, dimension| bytes.checked_mul(*dimension));
                if needed != Some(array.bytes) || array.start.saturating_add(array.bytes) != leaf.bytes {
                    let shape: Vec<u64> = array.shape.iter().copied().take(8).collect();
                    let message = format!("an array of type `{shown}` and shape {shape:?} has {} bytes", array.bytes);
                    self.note(id::MPK_STRUCTURE, &message, Some(leaf.offset));
                }
            }
        }
        let data = bytes_at(source, leaf.offset.saturating_add(array.start), array.bytes.min(HEAD_BYTES))?;
        self.payload_head(&data, id::MPK_PAYLOAD);
        if nested::is_start(&data) || nested::has_global_line(&data) || item_bytes(&array.dtype).is_none() {
            let bytes = bytes_at(source, leaf.offset.saturating_add(array.start), array.bytes.min(LEAF_BYTES_MAX))?;
            self.carve_bytes(&bytes, &mut Cursor::new(&bytes));
        }
        Ok(())
    }
}

/// Whether chance is ruled out: a map whose keys are words, or a document that fills a longer file exactly.
fn is_believable(document: &Document, whole: u64) -> bool {
    let is_clean = |key: &String| key.chars().all(|character| !character.is_control() && character != '\u{fffd}');
    let are_clean = document.keys.iter().all(is_clean);
    if document.whole() && document.stop == whole {
        return are_clean && (!document.keys.is_empty() || whole >= ARRAY_BYTES_MIN);
    }
    // Lengths of gigabytes and endless nesting are written to harm readers; chance seldom puts them behind a name.
    let is_impossible = |flaw: &Flaw| match flaw {
        Flaw::Claim { claimed, .. } => *claimed >= CLAIM_MIN,
        Flaw::Depth { .. } => true,
        _ => false,
    };
    if are_clean && whole < CLAIM_MIN && document.flaws.iter().any(is_impossible) {
        return true;
    }
    // What breaks off or goes on needs words: a long one, or several.
    let letters: usize = document.keys.iter().map(String::len).sum();
    are_clean && letters >= LETTERS_MIN
}

/// Bytes of a number of NumPy's or JAX's named type; other types hold texts, bytes or objects.
fn item_bytes(dtype: &str) -> Option<u64> {
    let name = dtype.trim_start_matches(['<', '>', '|', '=']);
    Some(match name {
        "bool" | "int8" | "uint8" | "int4" | "uint4" | "int2" | "uint2" | "b1" | "i1" | "u1" | "?" => 1,
        name if name.starts_with("float8") || name.starts_with("float4") || name.starts_with("float6") => 1,
        "int16" | "uint16" | "float16" | "bfloat16" | "i2" | "u2" | "f2" | "V2" => 2,
        "int32" | "uint32" | "float32" | "i4" | "u4" | "f4" => 4,
        "int64" | "uint64" | "float64" | "complex64" | "i8" | "u8" | "f8" | "c8" => 8,
        "complex128" | "c16" => 16,
        _ => return None,
    })
}

fn describe(flaw: &Flaw) -> (&'static Rule, String, Option<u64>) {
    match flaw {
        Flaw::Claim { claimed, left, offset } => {
            (id::MPK_STRUCTURE, format!("claims {claimed} bytes or items where {left} bytes are left"), Some(*offset))
        }
        Flaw::Truncated { offset } => (id::MPK_BROKEN, "the document breaks off".to_owned(), Some(*offset)),
        Flaw::Depth { offset } => (id::MPK_STRUCTURE, "nested deeper than any model".to_owned(), Some(*offset)),
        Flaw::Reserved { offset } => (id::MPK_BROKEN, "a byte that begins no value".to_owned(), Some(*offset)),
        Flaw::Duplicate { path } => (id::MPK_STRUCTURE, format!("`{}` stands twice", printable(path, 120)), None),
        Flaw::Limit { offset } => (id::MPK_BROKEN, "more values than are followed".to_owned(), Some(*offset)),
        Flaw::Trailing { offset, bytes } => {
            (id::MPK_STRUCTURE, format!("{bytes} bytes follow the document"), Some(*offset))
        }
        _ => (id::MPK_BROKEN, format!("{flaw:?}"), None),
    }
}

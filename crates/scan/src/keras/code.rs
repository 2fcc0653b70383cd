//! Functions that Keras keeps as marshalled bytes in base 64 (CPython `Python/marshal.c`), read for the names in them, never loaded.

use crate::pickle::{Encoding, nested};

/// Longest text that is decoded, in bytes.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// Names that are reported.
const NAMES_MAX: usize = 8;
/// Type of a code object, with and without the flag that it is referred to again.
const CODE: [u8; 2] = [0xe3, b'c'];

/// Names and words that a layer's arithmetic does not need.
const HARMFUL: [&str; 44] = [
    "os",
    "system",
    "popen",
    "subprocess",
    "Popen",
    "check_output",
    "check_call",
    "exec",
    "eval",
    "__import__",
    "compile",
    "open",
    "socket",
    "create_connection",
    "urllib",
    "urlopen",
    "urlretrieve",
    "requests",
    "importlib",
    "import_module",
    "ctypes",
    "shutil",
    "pickle",
    "marshal",
    "builtins",
    "__builtins__",
    "__globals__",
    "__subclasses__",
    "__class__",
    "pty",
    "spawn",
    "execfile",
    "b64decode",
    "codecs",
    "globals",
    "getattr",
    "runpy",
    "posix",
    "environ",
    "remove",
    "unlink",
    "rmtree",
    "write",
    "sys",
];
/// Pieces of source text that such code carries as constants.
const SOURCE: [&str; 6] = ["import os", "import subprocess", "import socket", "__import__(", "os.system", "exec("];

/// Whether `text` is base 64 of a marshalled code object.
pub(super) fn is_marshalled(text: &str) -> bool {
    let head = nested::decode(text.as_bytes().get(..text.len().min(16)).unwrap_or_default(), Encoding::Base64);
    // The number of arguments follows as four bytes.
    text.len() > 60 && matches!(head.as_slice(), [kind, _, 0, 0, 0, ..] if CODE.contains(kind))
}

/// Names in marshalled code, or in source text, that a layer does not need.
pub(super) fn harmful_names(text: &str) -> Vec<String> {
    let text = text.get(..text.len().min(TEXT_BYTES_MAX)).unwrap_or_default();
    let mut bytes = nested::decode(text.as_bytes(), Encoding::Base64);
    // What is no base 64 may be the code itself, or its source.
    bytes.extend_from_slice(text.as_bytes());
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if names.len() < NAMES_MAX && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    for at in 0..bytes.len() {
        let Some(name) = string_at(&bytes, at) else { continue };
        if let Some(name) = HARMFUL.iter().find(|harmful| harmful.as_bytes() == name) {
            add(name);
        }
    }
    for piece in SOURCE.iter().filter(|piece| memchr::memmem::find(&bytes, piece.as_bytes()).is_some()) {
        add(piece);
    }
    names
}

/// The short string whose type byte stands at `at`: one byte of length, or four.
fn string_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (length, start) = match bytes.get(at)? & 0x7f {
        b'z' | b'Z' => (usize::from(*bytes.get(at + 1)?), at + 2),
        b'a' | b'A' | b'u' | b't' | b's' => {
            let field = bytes.get(at + 1..at + 5)?.first_chunk::<4>()?;
            (usize::try_from(u32::from_le_bytes(*field)).ok()?, at + 5)
        }
        _ => return None,
    };
    (length < 64).then(|| bytes.get(start..start.checked_add(length)?))?
}

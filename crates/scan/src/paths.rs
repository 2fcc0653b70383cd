//! Paths and payloads: the two questions that every graph format asks of its texts and bytes.

use std::io::Cursor;

use ringfence_schema::finding::printable;

use crate::{audit::Audit, detect::program, pickle::nested, rules::id};

/// How much of a content that should be numbers or text is searched for a program, in bytes.
const PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// Shortest content that can hold a program, in bytes.
const PAYLOAD_BYTES_MIN: usize = 16;

/// Whether a path leaves the folder on any system: absolute, drive letters, `..`, schemes, encoded or hidden separators.
pub(crate) fn escapes(path: &str) -> bool {
    path.is_empty()
        || path.starts_with(['/', '\\', '~', '*'])
        || path.contains([':', '%', '$'])
        || path.chars().any(char::is_control)
        || path.split(['/', '\\']).any(|part| part.trim_matches([' ', '.']).is_empty() && part.starts_with(".."))
        || path.contains('\\') && path.contains('/')
}

/// Whether a text is a name that operators, functions and layers have.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.len() <= 512
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '_' | '>'))
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '>' | '/' | '-' | '<' | ':'))
}

impl Audit<'_> {
    /// A content that should be numbers or text: programs, archives and pickles in it are reported.
    pub(crate) fn payload(&mut self, what: &str, bytes: &[u8], offset: u64) {
        if bytes.len() < PAYLOAD_BYTES_MIN {
            return;
        }
        let head = bytes.get(..bytes.len().min(PAYLOAD_BYTES_MAX)).unwrap_or_default();
        let found = if head.starts_with(b"PK\x03\x04") { Some("zip archive") } else { program(head) };
        if let Some(found) = found {
            self.note(id::GRF_PAYLOAD, &format!("{} begins like a {found}", printable(what, 120)), Some(offset));
        }
        if self.depth() <= self.limits.depth_max {
            self.within(&format!("{}@{offset:#x}", printable(what, 60)), |audit| {
                audit.carve_bytes(head, &mut Cursor::new(head));
                audit.encoded(head.trim_ascii());
            });
        }
    }

    /// A text of a graph: what [`Audit::payload`] looks for, and the patterns of configuration.
    pub(crate) fn graph_text(&mut self, what: &str, bytes: &[u8], offset: u64) {
        self.payload(what, bytes, offset);
        if bytes.len() >= PAYLOAD_BYTES_MIN && !nested::is_start(bytes) {
            let head = bytes.get(..bytes.len().min(PAYLOAD_BYTES_MAX)).unwrap_or_default();
            self.within(&format!("{}@{offset:#x}", printable(what, 60)), |audit| audit.text_rules(head));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_folder() {
        for path in [
            "",
            "/etc/passwd",
            "\\\\host\\share",
            "~/x",
            "C:\\x",
            "c:x",
            "../x",
            "a/../../x",
            "a\\..\\x",
            ".. /x",
            "file:///x",
            "s3://b",
            "%2e%2e/x",
            "a/b\\c",
            "$HOME/x",
            "a\0b",
            "*/_ORT_MEM_ADDR_/*",
        ] {
            assert!(escapes(path), "{path}");
        }
        for path in
            ["model.onnx.data", "weights/a.bin", "a..b", "x.y/..z/w", "_temp_1/part", "@model_path/weights/weight.bin"]
        {
            assert!(!escapes(path), "{path}");
        }
    }
}

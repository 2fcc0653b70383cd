//! Free texts inside models: names, notes, attributes. What they hold is passed on to tools that may run it.

use std::io::Cursor;

use ringfence_schema::finding::printable;

use crate::{audit::Audit, detect::program, pickle::nested, rules::id, stream::is_old_pickle};

/// Shortest text that can hold something, in bytes.
const TEXT_BYTES_MIN: usize = 8;
/// How much of one value is looked at, in bytes.
const VALUE_BYTES_MAX: usize = 16 << 20;
/// Longest address that is looked at, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// Addresses of one text that are looked at.
const URLS_MAX: usize = 1_000;

/// Python that no note needs; a word in front of it makes it a method of something else (`model.eval()`).
const CODE: [&str; 10] = [
    "__import__(",
    "eval(",
    "exec(",
    "os.system(",
    "subprocess.",
    "os.popen(",
    "<script",
    // Lua, as Torch7 kept it beside its tensors.
    "os.execute(",
    "io.popen(",
    "loadstring(",
];
/// Endings of what runs, or deserialises, when a tool fetches and opens it.
const PROGRAM_ENDINGS: [&str; 22] = [
    ".exe", ".dll", ".so", ".dylib", ".sh", ".bat", ".cmd", ".ps1", ".py", ".pyc", ".pyd", ".pkl", ".pickle",
    ".joblib", ".dill", ".msi", ".scr", ".jar", ".vbs", ".hta", ".apk", ".whl",
];

impl Audit<'_> {
    /// A text or byte string that a model carries beside its weights.
    pub(crate) fn free_text(&mut self, value: &[u8]) {
        let value = value.get(..value.len().min(VALUE_BYTES_MAX)).unwrap_or_default();
        if value.len() < TEXT_BYTES_MIN {
            return;
        }
        if let Some(what) = program(value) {
            self.note(id::MET_PROGRAM, &format!("a value begins like a program ({what})"), Some(0));
        }
        self.text_rules(value);
        self.encoded(value.trim_ascii());
        self.carve_bytes(value, &mut Cursor::new(value));
        for token in CODE {
            let is_word = |at: &usize| {
                let before = at.checked_sub(1).and_then(|before| value.get(before)).copied().unwrap_or(b' ');
                !(before.is_ascii_alphanumeric() || matches!(before, b'_' | b'.'))
            };
            let found = memchr::memmem::find_iter(value, token).find(is_word);
            if let Some(at) = found {
                self.note(id::MET_PROGRAM, &format!("a value holds `{token}`"), Some(at as u64));
            }
        }
        self.program_addresses(value);
    }

    /// Bytes that something may unpickle: a pickle is followed as such, all else like a text.
    pub(crate) fn free_bytes(&mut self, value: &[u8]) {
        let mut cursor = Cursor::new(value);
        if nested::is_start(value) || value.len() >= TEXT_BYTES_MIN && is_old_pickle(&mut cursor) {
            self.inspect(&mut cursor);
        } else {
            self.free_text(value);
        }
    }

    fn program_addresses(&mut self, value: &[u8]) {
        for at in memchr::memmem::find_iter(value, "://").take(URLS_MAX) {
            let rest = value.get(at..value.len().min(at + URL_BYTES_MAX)).unwrap_or_default();
            let ends =
                |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b')' | b'`' | 0);
            let length = rest.iter().position(ends).unwrap_or(rest.len());
            let address = String::from_utf8_lossy(rest.get(..length).unwrap_or_default()).to_ascii_lowercase();
            // What follows `?` or `#` is not the file's name, and a page about a program is no program.
            let path = address.split(['?', '#']).next().unwrap_or_default().trim_end_matches(['.', ',', ';']);
            let is_page =
                path.contains("/blob/") || path.contains("/tree/") || !path.trim_start_matches("://").contains('/');
            if !is_page && PROGRAM_ENDINGS.iter().any(|ending| path.ends_with(ending)) {
                let message = format!("a value points to `{}`", printable(&address, 120));
                self.note(id::MET_ADDRESS, &message, Some(at as u64));
            }
        }
    }
}

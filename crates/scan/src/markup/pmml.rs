//! PMML (the Data Mining Group's specification, 4.4): extensions that carry code, and functions that a runtime would load by
//! name.

use std::borrow::Cow;

use ringfence_schema::finding::printable;

use super::{Walk, local};
use crate::{audit::Audit, rules::id};

/// What code looks like inside attributes and texts of a model that should hold numbers and names.
const CODE_WORDS: [&str; 19] = [
    "java.lang.",
    "java.io.",
    "javax.script",
    "Runtime.getRuntime",
    "ProcessBuilder",
    "getRuntime()",
    ".exec(",
    "eval(",
    "os.system",
    "subprocess",
    "__import__",
    "importlib",
    "System.Diagnostics",
    "Process.Start",
    "javascript:",
    "<script",
    "/bin/sh",
    "cmd.exe",
    "powershell",
];
/// Elements that hold programs wherever they stand.
const CODE_ELEMENTS: [&str; 8] = ["script", "code", "javascript", "groovy", "python", "execute", "applet", "object"];
/// Shortest text that may be an encoded program, in bytes.
const ENCODED_BYTES_MIN: usize = 64;
/// Functions of PMML's built-in list that have no letters to tell them by.
const PMML_PUNCTUATION: [&str; 4] = ["+", "-", "*", "/"];

impl Audit<'_> {
    pub(super) fn pmml_element(
        &mut self,
        walk: &mut Walk,
        offset: u64,
        name: &str,
        attributes: &[(&str, Cow<'_, str>)],
    ) {
        let element = local(name);
        for (key, value) in attributes {
            let is_link = key.starts_with("xmlns") || key.ends_with("schemaLocation");
            if element == "Apply" && *key == "function" && !is_plain_function(value) {
                self.listed(
                    walk,
                    id::XML_CODE,
                    format!("function `{}` is looked up as a class", printable(value, 120)),
                    offset,
                );
            } else if !is_link {
                self.code_in(walk, &format!("{element}.{key}"), value, offset);
            }
        }
        if CODE_ELEMENTS.contains(&element.to_ascii_lowercase().as_str()) {
            self.listed(walk, id::XML_CODE, format!("element `{}`", printable(name, 80)), offset);
        }
    }

    /// Words of programming languages in a place that has no use for them.
    pub(super) fn code_in(&mut self, walk: &mut Walk, place: &str, text: &str, offset: u64) {
        if let Some(word) = CODE_WORDS.iter().find(|word| holds_word(text, word)) {
            self.listed(walk, id::XML_CODE, format!("`{}` holds `{word}`", printable(place, 80)), offset);
        }
        if text.len() > ENCODED_BYTES_MIN {
            self.encoded(text.trim().as_bytes());
        }
    }
}

/// PMML's functions have one plain name; runtimes look up names with dots as classes.
fn is_plain_function(name: &str) -> bool {
    PMML_PUNCTUATION.contains(&name)
        || !name.is_empty()
            && name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | ' ' | ':'))
}

/// Whether a text holds a word that is not the end of a longer one, as `eval(` is of `interval(`.
fn holds_word(text: &str, word: &str) -> bool {
    let is_whole = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        !word.starts_with(char::is_alphanumeric)
            || !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    };
    text.match_indices(word).any(|(at, _)| is_whole(at))
}

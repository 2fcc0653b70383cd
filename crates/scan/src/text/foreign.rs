//! Programs in languages of the desktop and the shell that need no interpreter line: Windows batch and scripting, PowerShell,
//! desktop entries, applications in HTML, style sheets that call Java.
//!
//! Narrow on purpose: each is known by how it begins or by an object that only such programs create. Prose that quotes one is
//! none.

use crate::{audit::Audit, rules::id};

/// How much of a text is looked at, in bytes.
const HEAD_BYTES: usize = 256 << 10;
/// Objects that scripts of Windows create to start programs, fetch or write files; lower case.
const OBJECTS: [&str; 7] = [
    "wscript.shell",
    "shell.application",
    "scripting.filesystemobject",
    "msxml2.xmlhttp",
    "winhttp.winhttprequest",
    "adodb.stream",
    "schedule.service",
];
/// How they are created.
const CREATORS: [&str; 4] = ["createobject(", "activexobject(", "getobject(", "new-object -comobject"];
/// How style sheets reach the language that their processor is written in (Xalan, Saxon, MSXML, PHP).
const EXTENSIONS: [&str; 6] = [
    "xml.apache.org/xalan/java",
    "xml.apache.org/xslt/java",
    "urn:schemas-microsoft-com:xslt",
    "=\"java:",
    "http://php.net/xsl",
    "saxon.sf.net/java-type",
];
/// How JavaScript outside of a browser reaches the shell.
const STARTERS: [&str; 6] = [
    "require(\"child_process\")",
    "require('child_process')",
    "require(\"node:child_process\")",
    "require('node:child_process')",
    "from \"child_process\"",
    "from 'child_process'",
];
/// What PowerShell fetches with, and what it runs text with.
const FETCHERS: [&str; 5] =
    ["net.webclient", "invoke-webrequest", "invoke-restmethod", "downloadstring(", "start-bitstransfer"];
const RUNNERS: [&str; 5] = ["iex ", "iex(", "| iex", "|iex", "invoke-expression"];

impl Audit<'_> {
    /// `None`: the text is none of these.
    pub(crate) fn foreign_program(&mut self, text: &str) -> Option<&'static str> {
        let head = text.get(..text.floor_char_boundary(HEAD_BYTES.min(text.len()))).unwrap_or_default();
        let lower = head.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let start = lower.trim_start();
        if start.starts_with("@echo off") || start.starts_with("@setlocal") {
            self.note(id::GEN_PROGRAM, "is a batch file", Some(0));
            return Some("batch");
        }
        if start.starts_with("[desktop entry]") && lower.lines().any(|line| line.starts_with("exec")) {
            self.note(id::GEN_PROGRAM, "is a desktop entry that starts a program", Some(0));
            return Some("desktop-entry");
        }
        if start.starts_with('<') && lower.contains(":stylesheet") && has(&EXTENSIONS) {
            self.note(id::XML_CODE, "a style sheet that calls functions of its processor's language", Some(0));
            return Some("style-sheet");
        }
        // Documents explain such lines; a program consists of them.
        let is_prose = start.starts_with('#') && start.get(1..2) == Some(" ") || lower.contains("```");
        if !is_prose && has(&OBJECTS) && has(&CREATORS) {
            self.note(id::GEN_PROGRAM, "is a script that creates objects of Windows", Some(0));
            return Some("windows-script");
        }
        if !is_prose && has(&STARTERS) && !start.starts_with(['{', '[']) {
            self.note(id::GEN_PROGRAM, "is a script that starts programs", Some(0));
            return Some("javascript");
        }
        if !is_prose && has(&FETCHERS) && has(&RUNNERS) {
            self.note(id::GEN_PROGRAM, "is a script that fetches text and runs it", Some(0));
            return Some("powershell");
        }
        None
    }
}

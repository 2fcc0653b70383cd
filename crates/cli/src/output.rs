//! Every byte of output passes here: data to standard output, talk to standard error.
//!
//! Colour never carries meaning: words do. It appears only on a terminal, and `NO_COLOR` and `--format plain` turn it off.

use std::io::{self, IsTerminal as _, Write as _};

use ringfence_engine::{
    EngineError,
    schema::{Finding, Severity, finding::printable},
};
use serde::Serialize;

use crate::args::Format;

/// What is shown of a waiver's texts, in characters.
const WAIVER_CHARS_MAX: usize = 200;

/// Where output goes and how it looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// How results are written.
    pub(crate) format: Format,
    quiet: bool,
    colour: bool,
}

#[expect(clippy::unused_self, reason = "whoever writes data holds a printer, so that nothing else writes it")]
impl Printer {
    /// A printer for `format`; `quiet` silences talk.
    pub(crate) fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet, colour: format == Format::Human && colour_wanted(io::stdout().is_terminal()) }
    }

    /// Whether people are to read this, rather than a program.
    pub(crate) fn for_people(self) -> bool {
        matches!(self.format, Format::Human | Format::Plain)
    }

    /// One line of data.
    pub(crate) fn line(self, text: impl AsRef<str>) -> Result<(), EngineError> {
        write_out(&format!("{}\n", text.as_ref()))
    }

    /// Data as it is.
    pub(crate) fn raw(self, bytes: &[u8]) -> Result<(), EngineError> {
        let mut out = io::stdout().lock();
        tolerate_closed(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// A document for programs.
    pub(crate) fn json<T: Serialize>(self, document: &T) -> Result<(), EngineError> {
        let text = serde_json::to_string_pretty(document)
            .map_err(|error| EngineError::incomplete("standard output", error))?;
        write_out(&(text + "\n"))
    }

    /// A document for programs: `schema` first, then the fields of `body`.
    pub(crate) fn document<T: Serialize>(self, schema: &'static str, body: &T) -> Result<(), EngineError> {
        self.json(&Document { schema, body })
    }

    /// Talk, unless it is unwanted.
    pub(crate) fn say(self, text: impl AsRef<str>) {
        if !self.quiet {
            // Nobody is left to hear of a closed standard error.
            let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// A word that stands out on a terminal.
    pub(crate) fn strong(self, word: &str, style: Style) -> String {
        if !self.colour {
            return word.to_owned();
        }
        let code = match style {
            Style::Good => "32;1",
            Style::Bad => "31;1",
            Style::Warn => "33;1",
            Style::Quiet => "2",
        };
        format!("\u{1b}[{code}m{word}\u{1b}[0m")
    }

    /// A finding in full.
    pub(crate) fn finding(self, finding: &Finding) -> Result<(), EngineError> {
        let style = match finding.severity {
            Severity::Info | Severity::Low => Style::Quiet,
            Severity::Medium => Style::Warn,
            Severity::High | Severity::Critical => Style::Bad,
        };
        let mut text = format!(
            "{} {}  {}\n  --> {}\n",
            self.strong(&finding.severity.to_string(), style),
            finding.rule,
            finding.message,
            finding.place
        );
        for line in &finding.evidence {
            text.push_str(&format!("   |  {line}\n"));
        }
        if !finding.why.is_empty() {
            text.push_str(&format!("   = {}\n", finding.why));
        }
        if !finding.remedy.is_empty() {
            text.push_str(&format!("   = fix: {}\n", finding.remedy));
        }
        if let Some(waived) = &finding.waived {
            let (by, reason) = (printable(&waived.by, WAIVER_CHARS_MAX), printable(&waived.reason, WAIVER_CHARS_MAX));
            text.push_str(&format!("   = waived by {by} until {}: {reason}\n", waived.expires_ms));
        }
        write_out(&text)
    }
}

/// A JSON document that says first what it is.
#[derive(Serialize)]
pub(crate) struct Document<'a, T: Serialize> {
    /// Such as `ringfence.ls/1`.
    pub(crate) schema: &'static str,
    /// Its other fields.
    #[serde(flatten)]
    pub(crate) body: &'a T,
}

/// How a word stands out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// Worth a look.
    Warn,
    /// Less important.
    Quiet,
}

/// `NO_COLOR` (<https://no-color.org>) wins, then `CLICOLOR_FORCE` (<https://bixense.com/clicolors>), then what is there.
fn colour_wanted(is_terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("NO_COLOR") {
        return false;
    }
    let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
    forced || (is_terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb"))
}

fn write_out(text: &str) -> Result<(), EngineError> {
    let mut out = io::stdout().lock();
    tolerate_closed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A reader that has seen enough (`| head`) is no failure.
fn tolerate_closed(result: io::Result<()>) -> Result<(), EngineError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(EngineError::io("standard output")(error)),
        _ => Ok(()),
    }
}

/// A table with aligned columns; the last column is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let unit = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, factor)| bytes >= *factor);
    match unit {
        Some((name, factor)) => format!("{:.1} {name}", bytes as f64 / factor as f64),
        None => format!("{bytes} B"),
    }
}

//! Cells of notebooks: shell lines, Python, and stored outputs that are active.

use super::{code, config::Cell, links};
use crate::{audit::Audit, rules::id};

/// Magics whose cell is a script of the shell.
const SHELL_CELLS: [&str; 5] = ["%%bash", "%%sh", "%%script", "%%system", "%%!"];

impl Audit<'_> {
    pub(super) fn cells(&mut self, cells: &[Cell]) {
        for cell in cells {
            self.within(&format!("cell {}", cell.index), |audit| {
                if cell.is_code { audit.cell(&cell.text) } else { audit.output(&cell.text) }
            });
        }
    }

    fn cell(&mut self, text: &str) {
        let first = text.trim_start();
        let is_shell = SHELL_CELLS.iter().any(|magic| first.starts_with(magic));
        let is_other =
            first.starts_with("%%") && !is_shell && !first.starts_with("%%time") && !first.starts_with("%%capture");
        let mut python = String::new();
        for line in text.lines() {
            let trimmed = line.trim_start();
            let shell = trimmed
                .strip_prefix(['!'])
                .or_else(|| trimmed.strip_prefix("%sx "))
                .or_else(|| trimmed.strip_prefix("%system "));
            if let Some(what) = shell.or(is_shell.then_some(trimmed)).and_then(links::harmful_command) {
                self.note(id::NBK_SHELL, &format!("a line of the shell {what}: `{trimmed}`"), None);
            }
            if let Some(arguments) = trimmed.trim_start_matches(['!', '%']).strip_prefix("pip install ") {
                self.installs(arguments);
            }
            if shell.is_none() && !trimmed.starts_with('%') {
                python.push_str(line);
                python.push('\n');
            }
        }
        if !is_shell && !is_other {
            for (rule, message) in code::piece(&python) {
                self.note(rule, &message, None);
            }
        }
    }

    /// Options and addresses behind `pip install`.
    fn installs(&mut self, arguments: &str) {
        let mut words = arguments.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let option =
                matches!(word, "-i" | "--index-url" | "--extra-index-url" | "-f" | "--find-links" | "--trusted-host");
            let line = if option { format!("{word} {}", words.next().unwrap_or_default()) } else { word.to_owned() };
            if let Some((rule, message)) = super::packages::line(&line) {
                self.note(rule, &message, None);
            }
        }
    }

    /// Plots are full of scripts; those that reach out or act in the user's name are not plots.
    fn output(&mut self, text: &str) {
        const ACTS: [&str; 7] = [
            "kernel.execute",
            "execute_all_cells",
            "execute_cell",
            "execute_selected_cells",
            "document.cookie",
            "navigator.sendBeacon",
            "eval(atob",
        ];
        let is_script = text.contains("<script")
            || text.contains("javascript:")
            || text.contains("onerror=")
            || text.contains("onload=")
            || !text.contains('<');
        if let Some(act) = ACTS.iter().find(|act| is_script && text.contains(**act)) {
            self.note(id::NBK_OUTPUT, &format!("an output calls `{act}`"), None);
        } else if is_script && links::doubtful(text).is_some() {
            self.note(id::NBK_OUTPUT, "an output loads from a doubtful address", None);
        }
    }
}

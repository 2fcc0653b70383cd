//! Cells of notebooks: shell lines, Python, and stored outputs that are active.

use super::{code, config::Cell, links};
use crate::{audit::Audit, rules::id};

/// Magics whose cell is a script of the shell.
const SHELL_CELLS: [&str; 5] = ["%%bash", "%%sh", "%%script", "%%system", "%%!"];

/// Most elements of one kind that are looked at.
const ELEMENTS_MAX: usize = 10_000;
/// Magics whose cell runs in the browser.
const ACTIVE_CELLS: [&str; 4] = ["%%javascript", "%%js", "%%html", "%%svg"];

/// What `get_ipython().system('…')` and its relatives hand to the shell: a line with `!` means the same to IPython.
fn shell_call(line: &str) -> Option<&str> {
    let (_, call) = line.split_once("get_ipython().")?;
    let (name, given) = call.split_once('(')?;
    let is_shell = matches!(name, "system" | "getoutput" | "run_line_magic" | "run_cell_magic" | "magic");
    is_shell.then_some(given.trim_end_matches([')', ';']).trim_matches(['"', '\'']))
}

/// An element whose loading or failing runs a script, as plots do not write it.
fn runs_by_itself(text: &str) -> bool {
    const ELEMENTS: [&str; 8] = ["<img", "<svg", "<video", "<audio", "<body", "<input", "<details", "<object"];
    ELEMENTS.iter().any(|element| {
        memchr::memmem::find_iter(text.as_bytes(), element.as_bytes()).take(ELEMENTS_MAX).any(|at| {
            let tag = text.get(at..).and_then(|rest| rest.split('>').next()).unwrap_or_default();
            [" onerror=", " onload=", " ontoggle="].iter().any(|event| tag.contains(event))
        })
    })
}

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
        if ACTIVE_CELLS.iter().any(|magic| first.starts_with(magic)) {
            self.output(text);
            let reach = ["fetch(", "XMLHttpRequest", "sendBeacon(", "WebSocket(", "new Image("]
                .iter()
                .find(|call| text.contains(**call));
            if let Some(call) = reach.filter(|_| text.contains("//")) {
                self.note(id::NBK_OUTPUT, &format!("a cell of the browser calls `{call}`"), None);
            }
        }
        let mut python = String::new();
        for line in text.lines() {
            let trimmed = line.trim_start();
            let fetches =
                ["%run ", "%load ", "%load_ext ", "%%writefile "].iter().any(|magic| trimmed.starts_with(magic));
            if fetches && trimmed.contains("://") {
                self.note(id::NBK_SHELL, &format!("a magic fetches and runs code: `{trimmed}`"), None);
            }
            let shell = trimmed
                .strip_prefix(['!'])
                .or_else(|| trimmed.strip_prefix("%sx "))
                .or_else(|| trimmed.strip_prefix("%system "))
                .or_else(|| shell_call(trimmed));
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
        if runs_by_itself(text) {
            self.note(id::NBK_OUTPUT, "an element runs a script when it is shown", None);
        }
        if text.contains("](javascript:")
            || text.contains("href=\"javascript:") && text.contains("<a ") && text.len() < 4_096
        {
            self.note(id::NBK_OUTPUT, "a link runs a script", None);
        }
        if let Some(act) = ACTS.iter().find(|act| is_script && text.contains(**act)) {
            self.note(id::NBK_OUTPUT, &format!("an output calls `{act}`"), None);
        } else if is_script && links::doubtful(text).is_some() {
            self.note(id::NBK_OUTPUT, "an output loads from a doubtful address", None);
        }
    }
}

//! Progress on standard error: bars on a terminal, a line now and then elsewhere.

use std::{
    io::{self, IsTerminal as _},
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ringfence_engine::Progress;

use crate::{args::Format, output::Printer};

/// Shows what is going on.
pub(crate) struct Terminal {
    printer: Printer,
    bars: bool,
    current: Mutex<Option<Stage>>,
}

struct Stage {
    name: String,
    total: Option<u64>,
    bar: ProgressBar,
    last_line: Instant,
    note: String,
    lines: String,
}

/// Where there is no terminal, one line each so often.
const LINE_EVERY: Duration = Duration::from_secs(30);

impl Terminal {
    /// Progress beside what `printer` prints.
    pub(crate) fn new(printer: Printer) -> Self {
        let wanted = std::env::var_os("CI").is_none() && std::env::var_os("RINGFENCE_NO_PROGRESS").is_none();
        let bars = wanted && printer.format == Format::Human && io::stderr().is_terminal();
        Self { printer, bars, current: Mutex::new(None) }
    }

    fn with(&self, act: impl FnOnce(&mut Option<Stage>)) {
        // A poisoned lock only means that another thread died while drawing.
        act(&mut self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Terminal {
    fn begin(&self, name: &str, total: Option<u64>) {
        self.with(|current| {
            if let Some(stage) = current.take() {
                stage.bar.finish_and_clear();
            }
            let bar = if self.bars { ProgressBar::new(total.unwrap_or(0)) } else { ProgressBar::hidden() };
            if self.bars {
                bar.set_draw_target(ProgressDrawTarget::stderr());
                let template = if total.is_some() {
                    "  {prefix:<10} {wide_bar} {percent:>3}% {msg}"
                } else {
                    "  {prefix:<10} {spinner} {msg}"
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("━╸ "));
                }
                bar.set_prefix(name.to_owned());
            }
            *current = Some(Stage {
                name: name.to_owned(),
                total,
                bar,
                last_line: Instant::now(),
                note: String::new(),
                lines: String::new(),
            });
        });
    }

    fn advance(&self, done: u64, note: &str) {
        self.with(|current| {
            let Some(stage) = current else { return };
            stage.bar.set_position(done);
            note.clone_into(&mut stage.note);
            stage.bar.set_message(format!("{}{}", stage.note, stage.lines));
            if !self.bars && stage.last_line.elapsed() >= LINE_EVERY {
                stage.last_line = Instant::now();
                let of = stage.total.map(|total| format!(" of {total}")).unwrap_or_default();
                self.printer.say(format!("  {:<10} {done}{of} {note}", stage.name));
            }
        });
    }

    fn end(&self, summary: &str) {
        self.with(|current| {
            if let Some(stage) = current.take() {
                stage.bar.finish_and_clear();
                if !summary.is_empty() {
                    self.printer.say(format!("  {:<10} {summary}", stage.name));
                }
            }
        });
    }

    fn show(&self, lines: &[String]) {
        self.with(|current| {
            let Some(stage) = current else { return };
            stage.lines = lines.iter().map(|line| format!("\n    {line}")).collect();
            stage.bar.set_message(format!("{}{}", stage.note, stage.lines));
        });
    }

    fn note(&self, text: &str) {
        self.with(|current| match current {
            Some(stage) if self.bars => stage.bar.suspend(|| self.printer.say(text)),
            _ => self.printer.say(text),
        });
    }
}

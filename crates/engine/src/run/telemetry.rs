//! What is kept of a run's events, and what of them is worth showing while it goes on.

use ringfence_schema::{
    alert::TelemetryLine,
    event::{Claimed, Observed, RunEvent, Source},
};

use super::live::Live;

/// The events of a run: to whoever follows, and kept for the record.
pub(super) struct Telemetry<'a> {
    live: &'a Live,
    last: Vec<String>,
}

impl<'a> Telemetry<'a> {
    /// Keeps lines in `live`.
    pub(super) fn new(live: &'a Live) -> Self {
        Self { live, last: Vec::new() }
    }

    /// Keeps an event; a line for the progress display, if it has one.
    pub(super) fn take(&mut self, event: RunEvent) -> Option<String> {
        let shown = match &event.source {
            Source::Claimed(Claimed::Line { text, .. }) => {
                self.last.push(text.clone());
                if self.last.len() > LAST_LINES {
                    self.last.remove(0);
                }
                Some(text.chars().take(60).collect())
            }
            Source::Observed(Observed::Sample(usage)) => {
                let (cpu, memory) = (usage.cpu_ms as f64 / 1e3, usage.memory_bytes as f64 / f64::from(1 << 20));
                Some(format!("{cpu:.1} CPU-s, {memory:.0} MiB"))
            }
            _ => None,
        };
        self.live.add(&TelemetryLine::Event(event));
        shown
    }

    pub(super) fn last_lines(&self) -> &[String] {
        &self.last
    }
}

/// Lines of a failed command that its error quotes.
const LAST_LINES: usize = 5;

//! What is kept of a run's events.

use ringfence_schema::{
    Digest,
    event::{Claimed, Observed, RunEvent, Source},
};

/// The events of a run as JSON lines, bounded.
#[derive(Default)]
pub(super) struct Telemetry {
    lines: Vec<u8>,
    last: Vec<String>,
}

impl Telemetry {
    /// Keeps an event; a line for the progress display, if it has one.
    pub(super) fn take(&mut self, event: &RunEvent) -> Option<String> {
        if let Ok(line) = serde_json::to_vec(event)
            && self.lines.len() + line.len() < TELEMETRY_BYTES_MAX
        {
            self.lines.extend(line);
            self.lines.push(b'\n');
        }
        match &event.source {
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
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lines.clone()
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.lines)
    }

    pub(super) fn last_lines(&self) -> &[String] {
        &self.last
    }
}

/// Most telemetry that is kept of a run, in bytes.
const TELEMETRY_BYTES_MAX: usize = 32 << 20;
/// Lines of a failed command that its error quotes.
const LAST_LINES: usize = 5;

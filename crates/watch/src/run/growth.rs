//! Processes, memory and output against their limits: bombs are told before they burst, where there is time.

use ringfence_schema::{
    Severity,
    alert::Basis,
    event::{Change, FileChange, Usage},
};

use super::{Expectations, Sightings, line};
use crate::{
    Signal,
    book::{Sighting, cut},
    rules::Kind,
};

/// Watches what can only fill up.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    processes: Filling,
    memory: Filling,
    output: Filling,
    /// Where memory and what went in were when memory began to grow as it still does.
    swell: Option<Swell>,
    /// Most memory so far.
    highest: u64,
    /// When an input was opened last.
    opened_ms: u64,
}

/// Memory that grows without a pause.
#[derive(Debug, Clone, Copy)]
struct Swell {
    since_ms: u64,
    memory: u64,
    fed: u64,
    before: u64,
}

/// One thing that fills up.
#[derive(Debug, Clone, Default)]
struct Filling {
    limit: Option<u64>,
    last: Option<(u64, u64)>,
    /// Smoothed growth per second.
    slope: f64,
    /// Samples in a row in which it grew.
    rising: u32,
    /// Whether the latest growth is about that of the samples before: what is loaded slows down at its end.
    steady: bool,
    /// Samples in a row in which it multiplied.
    multiplying: u32,
    /// Samples in a row near the limit.
    full: u32,
    since_ms: u64,
}

/// What a filling looks like.
struct Fill {
    share: Option<f64>,
    /// Seconds until it is full at this pace.
    left_s: f64,
}

impl Growth {
    pub(super) fn new(expected: &Expectations) -> Self {
        let limited = |limit: Option<u64>| Filling { limit: limit.filter(|limit| *limit > 0), ..Filling::default() };
        Self {
            processes: limited(expected.processes),
            memory: limited(expected.memory_bytes),
            output: limited(expected.output_bytes),
            swell: None,
            highest: 0,
            opened_ms: 0,
        }
    }

    pub(super) fn file(&mut self, at_ms: u64, change: &FileChange) {
        if change.change == Change::Read {
            self.opened_ms = at_ms;
        }
    }

    pub(super) fn sample(&mut self, at_ms: u64, usage: &Usage, found: &mut Sightings) {
        if let Some(fill) = self.processes.push(at_ms, usage.processes) {
            self.forked(usage.processes, &fill, found);
        }
        let before = self.memory.last;
        if let Some(fill) = self.memory.push(at_ms, usage.memory_bytes) {
            let swells = self.swells(at_ms, usage, before);
            let memory = &self.memory;
            let bursting = fill.left_s <= 0.6 * SOON_S
                && fill.share.is_some_and(|share| share >= 0.8)
                && memory.rising >= 8
                && memory.steady;
            let full = fill.share.is_some_and(|share| share >= 0.99) && memory.full >= 3;
            // Without a limit nobody can say how much is left: only what doubles again and again at size is told.
            let runaway = memory.limit.is_none() && memory.multiplying >= 5 && usage.memory_bytes >= RUNAWAY_BYTES;
            if bursting || full || runaway || swells {
                found.push(memory.sighting(
                    Kind::MemoryBomb,
                    "memory",
                    "below its limit",
                    format!("{} MB, {:+.0} MB/s", usage.memory_bytes / 1_000_000, memory.slope / 1e6),
                    if bursting || runaway { 0.97 } else { 0.85 },
                    found,
                ));
            }
        }
        if let Some(bytes) = usage.output_bytes
            && let Some(fill) = self.output.push(at_ms, bytes)
            && fill.share.is_some_and(|share| share >= 0.8)
            && (fill.left_s <= 2.0 * SOON_S && self.output.rising >= 4 || fill.share.is_some_and(|share| share >= 0.95))
        {
            let seen = format!("{} MB, {:+.1} MB/s", bytes / 1_000_000, self.output.slope / 1e6);
            found.push(self.output.sighting(Kind::DiskFlood, "output", "below its limit", seen, 0.9, found));
        }
    }

    /// Whether memory without a known limit grows far beyond all that the run had, at a steady pace, out of nothing: no
    /// input was opened, and little was read or received meanwhile.
    fn swells(&mut self, at_ms: u64, usage: &Usage, before: Option<(u64, u64)>) -> bool {
        let fed = usage.read_bytes.saturating_add(usage.received_bytes);
        let Some((before_ms, before)) = before.filter(|_| self.memory.limit.is_none()) else { return false };
        let grows = usage.memory_bytes > before.saturating_add(SWELL_BYTES_S / 4) && self.memory.steady;
        if !grows {
            self.highest = self.highest.max(before).max(usage.memory_bytes);
            self.swell = None;
            return false;
        }
        let swell = *self.swell.get_or_insert(Swell { since_ms: before_ms, memory: before, fed, before: self.highest });
        self.highest = self.highest.max(usage.memory_bytes);
        let grown = usage.memory_bytes.saturating_sub(swell.memory);
        let lasted_ms = at_ms.saturating_sub(swell.since_ms);
        let paced = grown / (lasted_ms / 1_000).max(1) >= SWELL_BYTES_S;
        let unfed =
            fed.saturating_sub(swell.fed) < grown / 8 && self.opened_ms < swell.since_ms.saturating_sub(SWELL_MS);
        swell.since_ms >= STARTED_MS
            && lasted_ms >= SWELL_MS
            && paced
            && unfed
            && grown >= SWELL_BYTES
            && usage.memory_bytes >= swell.before.saturating_mul(2)
    }

    /// The supervisor tells that a limit was reached.
    pub(super) fn limit(at_ms: u64, detail: &str, found: &mut Sightings) {
        let kind = match detail {
            detail if detail.starts_with("processes") => Kind::ForkBomb,
            detail if detail.starts_with("memory") => Kind::MemoryBomb,
            detail if detail.starts_with("bytes in the output") || detail.contains("/out") => Kind::DiskFlood,
            _ => Kind::Limit,
        };
        let signal = match kind {
            Kind::ForkBomb => "processes",
            Kind::MemoryBomb => "memory",
            Kind::DiskFlood => "output",
            _ => "limit",
        };
        found.push(Sighting {
            kind,
            signal: signal.to_owned(),
            severity: None,
            basis: Basis::Observed,
            expected: "below the run's limit".to_owned(),
            seen: cut(detail.to_owned()),
            since: found.moment(at_ms),
            confidence: 0.99,
            message: cut(format!("the limit was reached: {detail}")),
        });
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let expected = |limit: Option<u64>, unit: u64| {
            Some(limit.map_or_else(|| "no limit known".to_owned(), |limit| format!("at most {}", limit / unit)))
        };
        let value = |filling: &Filling, unit: f64| filling.last.map(|(_, value)| value as f64 / unit);
        let processes = expected(self.processes.limit, 1);
        signals.push(line("processes", "", value(&self.processes, 1.0), processes, Basis::Observed));
        let memory = expected(self.memory.limit, 1_000_000);
        signals.push(line("memory", "MB", value(&self.memory, 1e6), memory, Basis::Observed));
        let output = expected(self.output.limit, 1_000_000);
        signals.push(line("output", "MB", value(&self.output, 1e6), output, Basis::Observed));
    }

    /// Loaders start many workers at once and then stop: what goes on, or reaches the limit, is a bomb.
    fn forked(&self, processes: u64, fill: &Fill, found: &mut Sightings) {
        let Filling { limit, multiplying, full, rising, .. } = self.processes;
        let many = limit.map_or(FORKED_MIN, |limit| FORKED_MIN.max(limit / 4));
        let bursting = rising >= 4 && fill.left_s <= SOON_S && fill.share.is_some_and(|share| share >= 0.4);
        let at_limit = full >= 2 && fill.share.is_some_and(|share| share >= 0.85);
        if (multiplying >= 3 && processes > many) || bursting || at_limit {
            found.push(self.processes.sighting(
                Kind::ForkBomb,
                "processes",
                "a number that settles",
                format!("{processes} processes, {:+.0}/s", self.processes.slope),
                if at_limit || multiplying >= 4 { 0.98 } else { 0.93 },
                found,
            ));
        }
    }
}

impl Filling {
    fn push(&mut self, at_ms: u64, value: u64) -> Option<Fill> {
        let (before_ms, before) = self.last.replace((at_ms, value))?;
        let span_ms = at_ms.saturating_sub(before_ms);
        if span_ms < SPAN_MS_MIN {
            self.last = Some((before_ms, before));
            return None;
        }
        let per_s = (value as f64 - before as f64) / (span_ms as f64 / 1_000.0);
        // A dip in one sample does not make a bomb harmless, so the slope is smoothed over about three.
        self.slope += (per_s - self.slope) * 0.4;
        self.steady = per_s >= 0.75 * self.slope;
        let floor = self.limit.map_or(1.0, |limit| limit as f64 * 0.005);
        if per_s > floor {
            if self.rising == 0 {
                self.since_ms = before_ms;
            }
            self.rising = self.rising.saturating_add(1);
        } else if self.rising > 0 {
            // A pause in an otherwise steady rise costs half of what was gained.
            self.rising /= 2;
        }
        let multiplied = value as f64 >= 1.3 * before.max(1) as f64;
        self.multiplying = if multiplied { self.multiplying.saturating_add(1) } else { 0 };
        let share = self.limit.map(|limit| value as f64 / limit as f64);
        self.full = if share.is_some_and(|share| share >= 0.85) { self.full.saturating_add(1) } else { 0 };
        let room = self.limit.map_or(f64::INFINITY, |limit| limit.saturating_sub(value) as f64);
        let left_s = if self.slope > 0.0 { room / self.slope } else { f64::INFINITY };
        Some(Fill { share, left_s })
    }

    fn sighting(
        &self,
        kind: Kind,
        signal: &str,
        expected: &str,
        seen: String,
        confidence: f64,
        found: &Sightings,
    ) -> Sighting {
        let limit = self.limit.map_or_else(String::new, |limit| format!(" (limit {limit})"));
        Sighting {
            kind,
            signal: signal.to_owned(),
            severity: Some(if confidence > 0.9 { Severity::High } else { Severity::Medium }),
            basis: Basis::Observed,
            expected: format!("{expected}{limit}"),
            seen,
            since: found.moment(self.since_ms),
            confidence,
            message: format!("`{signal}` grows as if it would not stop"),
        }
    }
}

/// Processes from which on they can be a bomb, where the limit is higher.
const FORKED_MIN: u64 = 64;
/// A limit that will be reached in this time is near, in seconds.
const SOON_S: f64 = 10.0;
/// Memory from which on doubling without a known limit is told, in bytes.
const RUNAWAY_BYTES: u64 = 4 << 30;
/// Growth that can be such, in bytes.
const SWELL_BYTES: u64 = 5 << 30;
/// Least pace of it, in bytes a second.
const SWELL_BYTES_S: u64 = 200 << 20;
/// Time for which it lasts until it is told, in milliseconds: longer than models and batches take to find their place.
const SWELL_MS: u64 = 12_000;
/// Time from the start in which data is loaded, in milliseconds.
const STARTED_MS: u64 = 120 * 1_000;
/// Samples closer together than this say nothing about rates, in milliseconds.
const SPAN_MS_MIN: u64 = 200;

//! Steps that are claimed while nothing is done.
//!
//! What a step costs is the job's own matter: one on a graphics processor, or one that another machine takes, needs next to
//! nothing here. So the measure is the job itself: once steps were seen to keep processors busy, steps that come on while
//! those rest are not taken. Output that was held back comes at one moment, so steps must come at several.

use ringfence_schema::{alert::Basis, event::Progress};

use super::{Sightings, compute::Load};
use crate::{book::Sighting, rules::Kind, stats::Recent};

/// Holds claimed steps against rest.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle {
    step: Option<u64>,
    /// Steps moved since the last sample.
    moved: bool,
    /// Use of processors while steps moved.
    cores: Recent<64>,
    gpu: Recent<64>,
    rest_ms: u64,
    /// Samples of the idle time in which steps moved, and when the first of them was.
    moments: u32,
    first_ms: u64,
}

impl Idle {
    pub(super) fn progress(&mut self, progress: &Progress) {
        let Some(step) = progress.step else { return };
        self.moved |= self.step.is_some_and(|before| step > before);
        self.step = Some(step);
    }

    pub(super) fn sample(&mut self, at_ms: u64, load: &Load, found: &mut Sightings) {
        let moved = std::mem::take(&mut self.moved);
        let limit = self.limit();
        let gpu = load.gpu.unwrap_or(0.0);
        if load.cores >= limit || gpu > 0.0 {
            if moved {
                self.cores.push(load.cores);
                self.gpu.push(gpu);
            }
            self.rest_ms = 0;
            self.moments = 0;
            return;
        }
        self.rest_ms += load.span_ms;
        if moved {
            if self.moments == 0 {
                self.first_ms = at_ms;
            }
            self.moments = self.moments.saturating_add(1);
        }
        let spread_ms = at_ms.saturating_sub(self.first_ms);
        if self.rest_ms < IDLE_MS || self.moments < MOMENTS || spread_ms < SPREAD_MS {
            return;
        }
        found.push(Sighting {
            kind: Kind::IdleClaims,
            signal: "cpu".to_owned(),
            severity: None,
            basis: Basis::Both,
            expected: format!("at least {limit:.3} cores while steps are taken"),
            seen: format!(
                "{:.3} cores for {} s with steps in {} of them",
                load.cores,
                self.rest_ms / 1_000,
                self.moments
            ),
            since: found.moment(at_ms.saturating_sub(self.rest_ms)),
            confidence: 0.9,
            message: "claims steps while it does nothing".to_owned(),
        });
    }

    /// Cores below which no step is taken: where the graphics processor did the work, it rests as well.
    fn limit(&self) -> f64 {
        let usual = self.cores.centre(0).filter(|_| self.cores.len() >= LEARNED).map(|(median, _)| median);
        let on_gpu = self.gpu.newest(64).is_some_and(|gpu| gpu >= 5.0);
        match usual {
            // Without a graphics processor, a tenth of the processors would be a model of a tenth.
            Some(usual) if on_gpu => IDLE_CORES.max((0.2 * usual).min(0.15)),
            Some(usual) => IDLE_CORES.max((0.05 * usual).min(0.15)),
            None => IDLE_CORES,
        }
    }
}

/// Cores below which no step is taken whatever the job.
const IDLE_CORES: f64 = 0.002;
/// Samples with steps in which the usual cost of them is learned.
const LEARNED: usize = 12;
/// Idle time until steps in it are told, in milliseconds.
const IDLE_MS: u64 = 15_000;
/// Samples in that time in which steps moved.
const MOMENTS: u32 = 3;
/// Time over which they come, in milliseconds.
const SPREAD_MS: u64 = 8_000;

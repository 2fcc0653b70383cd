//! Where training begins anew within a run: the next fold, the next trial of a sweep, the training after a search for a rate.
//!
//! A count of steps that goes back by half or more is another training; so is an epoch that does where no steps are told.
//! Less than that is a return to a checkpoint, or lines out of order. A count that begins with every epoch while the epoch
//! rises is no new training.

use std::collections::BTreeMap;

use ringfence_schema::event::{Progress, Told};

/// Follows counts of steps and epochs.
#[derive(Debug, Clone, Default)]
pub(super) struct Trials {
    sources: BTreeMap<Told, Count>,
    begun: u32,
}

/// What one source counts.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    step: u64,
    highest: u64,
    epoch: f64,
}

impl Trials {
    /// Takes a report; whether training begins anew with it.
    pub(super) fn progress(&mut self, progress: &Progress) -> bool {
        let count = self.sources.entry(progress.told).or_default();
        let before = *count;
        let epoch = progress.epoch.filter(|epoch| epoch.is_finite());
        let falls = epoch.is_some_and(|epoch| epoch < before.epoch - 0.5 && epoch <= 0.5 * before.epoch);
        let rises = epoch.is_some_and(|epoch| epoch > before.epoch);
        count.epoch = epoch.unwrap_or(before.epoch);
        let anew = match progress.step {
            Some(step) => {
                count.step = step;
                count.highest = before.highest.max(step);
                step < before.step && step <= before.highest / 2 && !rises
            }
            None => falls,
        };
        if anew {
            count.highest = count.step;
            self.begun = self.begun.saturating_add(1);
        }
        anew
    }

    /// Trainings that began after the first.
    pub(super) fn begun(&self) -> u32 {
        self.begun
    }
}

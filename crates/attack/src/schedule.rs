//! How fast to learn, and against how strong an attacker, as training goes on.

/// Rate and radius over the course of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    /// Highest learning rate.
    pub(crate) rate: f32,
    /// Final radius.
    pub(crate) eps: f32,
    /// Share of the training over which the radius grows from 0.
    pub(crate) warm_up: f32,
}

impl Schedule {
    /// The learning rate at `progress` in 0..=1: up in a line over the first [`RISE`], then down in a line to 0 (the
    /// one-cycle shape of Smith 2018, "A disciplined approach", without its momentum part).
    pub(crate) fn rate_at(&self, progress: f32) -> f32 {
        let progress = progress.clamp(0.0, 1.0);
        let share = if progress < RISE { progress / RISE } else { (1.0 - progress) / (1.0 - RISE) };
        self.rate * share.max(RATE_SHARE_MIN)
    }

    /// The radius at `progress` in 0..=1.
    pub(crate) fn eps_at(&self, progress: f32) -> f32 {
        if progress >= self.warm_up { self.eps } else { self.eps * progress / self.warm_up }
    }
}

/// Share of the training with a rising rate.
const RISE: f32 = 0.3;
/// The rate never falls below this share of its highest, so that the first and last batches count.
const RATE_SHARE_MIN: f32 = 0.01;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_rises_and_falls_and_radius_grows_to_its_end() {
        let schedule = Schedule { rate: 2.0, eps: 0.3, warm_up: 0.5 };
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        near(schedule.rate_at(0.0), 0.02);
        near(schedule.rate_at(0.15), 1.0);
        near(schedule.rate_at(0.3), 2.0);
        near(schedule.rate_at(0.65), 1.0);
        near(schedule.rate_at(1.0), 0.02);
        near(schedule.eps_at(0.25), 0.15);
        near(schedule.eps_at(0.5), 0.3);
        near(schedule.eps_at(1.0), 0.3);
        near(Schedule { warm_up: 0.0, ..schedule }.eps_at(0.0), 0.3);
    }
}

//! Not too much at once: events beyond a rate are put together, and bytes beyond a rate are not read.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use ringfence_schema::event::{Claimed, Progress, Told};

use super::record::LABELS_MAX;

/// Something that refills with time.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u64,
    most: u64,
    level: u64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket of `most`.
    pub(super) fn new(per_second: u64, most: u64, now: Instant) -> Self {
        Self { per_second, most, level: most, filled: now }
    }

    /// Takes `amount`, if that much is there.
    pub(super) fn take(&mut self, amount: u64, now: Instant) -> bool {
        let enough = self.level(now) >= amount;
        if enough {
            self.level -= amount;
        }
        enough
    }

    /// How much is there.
    pub(super) fn level(&mut self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.filled).min(Duration::from_hours(1));
        let more = u128::from(self.per_second) * passed.as_micros() / 1_000_000;
        if more > 0 {
            self.level = self.level.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)).min(self.most);
            self.filled = now;
        }
        self.level
    }
}

/// Events on their way to the caller.
pub(super) struct Queue {
    ready: VecDeque<Claimed>,
    places: BTreeMap<Told, Place>,
}

/// What is told in one place: a flood in one takes nothing from the others.
struct Place {
    events: Bucket,
    checkpoints: Bucket,
    waiting: Option<Progress>,
}

impl Place {
    fn new(now: Instant) -> Self {
        Self {
            events: Bucket::new(EVENTS_PER_SECOND, EVENTS_AT_ONCE, now),
            checkpoints: Bucket::new(CHECKPOINTS_PER_SECOND, CHECKPOINTS_AT_ONCE, now),
            waiting: None,
        }
    }
}

impl Queue {
    /// An empty queue.
    pub(super) fn new() -> Self {
        Self { ready: VecDeque::new(), places: BTreeMap::new() }
    }

    /// Takes one more; it is ready now, or later together with others from the same place.
    pub(super) fn add(&mut self, progress: Progress, now: Instant) {
        let room = self.ready.len() < READY_MAX;
        let place = self.places.entry(progress.told).or_insert_with(|| Place::new(now));
        // Digests of checkpoints cannot be put together, so they have an allowance of their own.
        let alone = progress.checkpoint.is_some() && room && place.checkpoints.take(1, now);
        if alone || (place.waiting.is_none() && room && place.events.take(1, now)) {
            self.ready.extend(place.waiting.take().map(Claimed::Progress));
            self.ready.push_back(Claimed::Progress(progress));
            return;
        }
        match &mut place.waiting {
            Some(before) => merge(before, progress),
            none => *none = Some(progress),
        }
        self.due(now);
    }

    /// Makes ready what waits, as far as the rate allows.
    pub(super) fn due(&mut self, now: Instant) {
        for place in self.places.values_mut() {
            if self.ready.len() < READY_MAX && place.waiting.is_some() && place.events.take(1, now) {
                self.ready.extend(place.waiting.take().map(Claimed::Progress));
            }
        }
    }

    /// Makes ready what waits.
    pub(super) fn flush(&mut self) {
        let waiting = self.places.values_mut().filter_map(|place| place.waiting.take());
        self.ready.extend(waiting.map(Claimed::Progress));
    }

    /// Passes on what is not progress.
    pub(super) fn pass(&mut self, claimed: Claimed) {
        self.ready.push_back(claimed);
    }

    /// Everything that is ready.
    pub(super) fn drain(&mut self) -> VecDeque<Claimed> {
        std::mem::take(&mut self.ready)
    }
}

/// Joins `next` to `before`: later values count, labels are added up, a divergence stays.
pub(super) fn merge(before: &mut Progress, next: Progress) {
    let Progress {
        told,
        step,
        epoch,
        loss,
        evaluation_loss,
        learning_rate,
        gradient_norm,
        diverged,
        labels,
        checkpoint,
        checkpoint_sha256,
    } = next;
    before.told = told;
    before.step = step.or(before.step);
    before.epoch = epoch.or(before.epoch);
    before.loss = loss.or(before.loss);
    before.evaluation_loss = evaluation_loss.or(before.evaluation_loss);
    before.learning_rate = learning_rate.or(before.learning_rate);
    before.gradient_norm = gradient_norm.or(before.gradient_norm);
    before.diverged |= diverged;
    for (label, count) in labels {
        if before.labels.len() < LABELS_MAX || before.labels.contains_key(&label) {
            let sum = before.labels.entry(label).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    if checkpoint.is_some() {
        // A digest belongs to the path beside it.
        (before.checkpoint, before.checkpoint_sha256) = (checkpoint, checkpoint_sha256);
    }
}

/// Events per second in the long run, from each place.
const EVENTS_PER_SECOND: u64 = 50;
/// Events at once, as when a checkpoint brings its history.
const EVENTS_AT_ONCE: u64 = 1_000;
/// Checkpoints per second in the long run.
const CHECKPOINTS_PER_SECOND: u64 = 2;
/// Checkpoints at once.
const CHECKPOINTS_AT_ONCE: u64 = 64;
/// Most events that are ready while the caller takes none.
const READY_MAX: usize = 4_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Progress {
        Progress { step: Some(step), labels: BTreeMap::from([("a".to_owned(), 1)]), ..Progress::default() }
    }

    #[test]
    fn what_comes_too_fast_is_put_together_and_nothing_of_its_sums_is_lost() {
        let start = Instant::now();
        let mut queue = Queue::new();
        for number in 0..10_000 {
            queue.add(step(number), start);
        }
        queue.add(Progress { diverged: true, ..Progress::default() }, start);
        assert_eq!(queue.drain().len() as u64, EVENTS_AT_ONCE);
        queue.due(start + Duration::from_secs(1));
        let late = queue.drain();
        let [Claimed::Progress(last)] = late.iter().collect::<Vec<_>>()[..] else { panic!("{late:?}") };
        assert_eq!((last.step, last.diverged), (Some(9_999), true));
        assert_eq!(last.labels["a"], 10_000 - EVENTS_AT_ONCE);
    }

    #[test]
    fn a_bucket_refills_with_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 20, start);
        assert!(bucket.take(20, start) && !bucket.take(1, start));
        assert!(bucket.take(5, start + Duration::from_millis(500)));
        assert_eq!(bucket.level(start + Duration::from_mins(1)), 20);
    }
}

//! What a job's supervisor sees and hears while time passes.

use ringfence_schema::{
    Digest,
    event::{Change, Claimed, GpuUsage, Observed, Progress, RunEvent, Source, Told},
};

use super::{Stage, Talk, Twist, change};

impl Stage<'_> {
    pub(super) fn checkpoint(&mut self) {
        self.usage.written_bytes += 3_000_000;
        let digest = Digest::of(&self.step.to_be_bytes());
        let path = "/out/model.ckpt";
        self.observe(Observed::File(change(path, Change::Written, Some(digest))));
        if self.job.talk == Talk::Full {
            self.pass(300.0, 0.5, self.memory);
            let progress = Progress {
                told: Told::Socket,
                step: Some(self.step),
                checkpoint: Some(path.to_owned()),
                checkpoint_sha256: Some(digest),
                ..Progress::default()
            };
            self.say(progress);
        }
        if let Twist::Swap { from_ms } = self.twist
            && self.now_ms >= from_ms as f64
        {
            self.twist = Twist::None;
            self.pass(1_500.0, 0.5, self.memory);
            self.observe(Observed::File(change(path, Change::Written, Some(Digest::of(b"another model")))));
        }
    }

    /// Lets time pass with this use of cores and memory; samples as they fall due.
    pub(super) fn pass(&mut self, ms: f64, cores: f64, memory_mb: f64) {
        let end = (self.now_ms + ms).min(self.end_ms as f64);
        while self.now_ms < end {
            let due = (self.sampled_ms + 1_000) as f64;
            let until = due.min(end);
            let noise = self.chance.log_normal(self.job.cpu_noise);
            let share = if self.job.gpu { 0.3 } else { 1.0 };
            self.cpu_ms += (until - self.now_ms) * (cores * share * noise).min(cores.max(1.0) * 1.02);
            self.now_ms = until;
            if until >= due {
                self.sample(memory_mb, cores);
            }
        }
    }

    pub(super) fn sample(&mut self, memory_mb: f64, cores: f64) {
        self.sampled_ms += 1_000;
        // Neighbours come and go.
        if self.chance.happens(0.002) {
            self.contention = if self.chance.happens(0.6) { 1.0 } else { self.chance.between(0.3, 1.0) };
        }
        self.memory += (memory_mb - self.memory) * 0.4;
        self.usage.cpu_ms = self.cpu_ms as u64;
        let jitter = 1.0 + 0.01 * self.chance.normal();
        self.usage.memory_bytes = (self.memory * jitter * 1e6) as u64;
        self.usage.received_bytes += (self.job.fetch * self.chance.log_normal(0.3)) as u64;
        self.usage.sent_bytes += (self.job.fetch * 0.002) as u64;
        if self.job.gpu {
            let busy = if cores > 0.5 { self.chance.between(55.0, 100.0) } else { 0.0 };
            self.usage.gpus = vec![GpuUsage { index: 0, busy_percent: busy as u32, memory_bytes: 2 << 30 }];
        }
        let usage = self.usage.clone();
        self.events.push(RunEvent { at_ms: self.sampled_ms, source: Source::Observed(Observed::Sample(usage)) });
    }

    pub(super) fn observe(&mut self, observed: Observed) {
        self.events.push(RunEvent { at_ms: self.now_ms as u64, source: Source::Observed(observed) });
    }

    pub(super) fn line(&mut self, text: &str) {
        let line = Claimed::Line { stream: "stdout".to_owned(), text: text.to_owned() };
        self.events.push(RunEvent { at_ms: self.now_ms as u64, source: Source::Claimed(line) });
    }

    pub(super) fn say(&mut self, progress: Progress) {
        if matches!(self.job.talk, Talk::Nothing | Talk::Silent | Talk::Lines) {
            return;
        }
        let event = RunEvent { at_ms: self.now_ms as u64, source: Source::Claimed(Claimed::Progress(progress)) };
        if self.job.talk != Talk::Buffered {
            self.events.push(event);
            return;
        }
        self.held.push(event);
        // Eight kilobytes of lines.
        if self.held.len() >= 160 {
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        for mut event in std::mem::take(&mut self.held) {
            event.at_ms = self.now_ms as u64;
            self.events.push(event);
        }
    }
}

//! Files that the job leaves, against what was written and what it said about them.
//!
//! Three comparisons: a digest that the job claimed against those that the kernel saw written; a file that is written again
//! after the job spoke of it, without another word; a collected file against its last writing. The job's word may come
//! before or after the writing, so each waits a while for the other.

use std::collections::{BTreeMap, VecDeque};

use ringfence_schema::{
    Digest, Severity,
    alert::Basis,
    event::{Change, FileChange, Progress},
};

use super::{Sightings, line};
use crate::{
    Signal,
    book::{Sighting, cut},
    rules::Kind,
};

/// Follows checkpoints.
#[derive(Debug, Clone, Default)]
pub(super) struct Checkpoints {
    files: BTreeMap<String, Kept>,
    spoken: u64,
    compared: u64,
}

/// One path.
#[derive(Debug, Clone, Default)]
struct Kept {
    touched_ms: u64,
    /// Digests as written, newest last.
    written: VecDeque<(u64, Digest)>,
    /// Digests as claimed, newest last.
    claimed: VecDeque<Digest>,
    /// When the job last spoke of it.
    spoken_ms: Option<u64>,
    /// A claim that no writing fits yet.
    waiting: Option<(u64, Digest)>,
    /// A writing after the job's word, without another: since when, and what was there when it spoke.
    rewritten: Option<(u64, Option<Digest>)>,
    /// Whether the latest writing was without a digest.
    blind: bool,
}

impl Checkpoints {
    pub(super) fn file(&mut self, at_ms: u64, change: &FileChange, found: &mut Sightings) {
        match change.change {
            Change::Written | Change::Renamed => {}
            Change::Read => {
                // Read back with another digest than it was written with, and no writing between.
                if let (Some(kept), Some(now)) = (self.files.get(name(&change.path)), &change.sha256) {
                    unlike_written(kept, &change.path, now, at_ms, found);
                }
                return;
            }
            Change::Removed => {
                self.files.remove(name(&change.path));
                return;
            }
        }
        let kept = self.kept(at_ms, name(&change.path));
        let Some(digest) = &change.sha256 else {
            kept.blind = true;
            return;
        };
        let before = kept.written.back().map(|(_, digest)| *digest);
        kept.blind = false;
        remember(&mut kept.written, (at_ms, *digest));
        if kept.waiting.as_ref().is_some_and(|(_, claimed)| claimed == digest) {
            kept.waiting = None;
        }
        if before.as_ref() == Some(digest) {
            return;
        }
        match kept.spoken_ms {
            _ if kept.claimed.contains(digest) => kept.rewritten = None,
            Some(spoken_ms) if kept.rewritten.is_none() && at_ms.saturating_sub(spoken_ms) > SAVING_MS => {
                kept.rewritten = Some((at_ms, before));
            }
            // Right after its word, a claimed digest tells whether this is still the writing that it spoke of.
            Some(_) if kept.rewritten.is_none() && !kept.claimed.is_empty() && before.is_some() => {
                kept.rewritten = Some((at_ms, before));
            }
            _ => {}
        }
    }

    pub(super) fn claimed(&mut self, at_ms: u64, progress: &Progress) {
        let Some(path) = &progress.checkpoint else { return };
        self.spoken = self.spoken.saturating_add(1);
        let kept = self.kept(at_ms, name(path));
        kept.spoken_ms = Some(at_ms);
        let Some(digest) = &progress.checkpoint_sha256 else {
            kept.rewritten = None;
            return;
        };
        remember(&mut kept.claimed, *digest);
        let latest = kept.written.back().map(|(_, digest)| digest);
        if latest == Some(digest) {
            kept.rewritten = None;
            kept.waiting = None;
        } else if kept.written.iter().any(|(_, written)| written == digest) {
            // It was so, and is not any more: unless another word comes, somebody wrote in between.
            kept.rewritten = kept.rewritten.take().or(Some((at_ms, Some(*digest))));
        } else {
            kept.waiting = Some((at_ms, *digest));
            kept.rewritten = None;
        }
    }

    /// Lets time pass: words and writings that nothing followed.
    pub(super) fn pass(&mut self, at_ms: u64, found: &mut Sightings) {
        for (path, kept) in &mut self.files {
            if let Some((since_ms, claimed)) = kept.waiting.filter(|(since, _)| at_ms > since.saturating_add(WORD_MS)) {
                kept.waiting = None;
                // Where the kernel does not tell of writings there is nothing to compare; collection will.
                if let (Some((_, written)), false) = (kept.written.back(), kept.blind) {
                    let message = format!("`{path}` does not have the digest that the job claims");
                    found.push(sighting(path, Basis::Both, &claimed, written, since_ms, 0.97, message, found));
                }
            }
            if let Some((since_ms, before)) = kept.rewritten.filter(|(since, _)| at_ms > since.saturating_add(WORD_MS))
            {
                kept.rewritten = None;
                if let (Some(before), Some((_, written))) = (before, kept.written.back()) {
                    let message = format!("`{path}` was written again after the job had spoken of it, without a word");
                    let confidence = if kept.claimed.is_empty() { 0.8 } else { 0.98 };
                    found.push(sighting(path, Basis::Both, &before, written, since_ms, confidence, message, found));
                }
            }
        }
    }

    pub(super) fn collected(&mut self, at_ms: u64, path: &str, digest: &Digest, found: &mut Sightings) {
        let Some(kept) = self.files.get(name(path)) else { return };
        self.compared = self.compared.saturating_add(1);
        unlike_written(kept, path, digest, at_ms, found);
        if let Some(claimed) = kept.claimed.back().filter(|claimed| *claimed != digest) {
            // A writing after the last word that was seen may be one more checkpoint; `pass` judges those.
            let seen_since = kept.written.iter().any(|(_, written)| written == digest) && kept.rewritten.is_none();
            if !seen_since {
                let message = format!("`{path}` was collected with another digest than the job claims");
                found.push(sighting(path, Basis::Both, claimed, digest, at_ms, 0.98, message, found));
            }
        }
    }

    pub(super) fn end(&mut self, at_ms: u64, found: &mut Sightings) {
        self.pass(at_ms.saturating_add(WORD_MS).saturating_add(1), found);
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let expected = Some("as written".to_owned());
        signals.push(line("checkpoints", "claimed", Some(self.spoken as f64), expected, Basis::Both));
    }

    fn kept(&mut self, at_ms: u64, path: &str) -> &mut Kept {
        if self.files.len() >= FILES_MAX && !self.files.contains_key(path) {
            // Files that the job never spoke of give way first, then those that were touched longest ago.
            let oldest = self.files.iter().min_by_key(|(_, kept)| (kept.spoken_ms.is_some(), kept.touched_ms));
            if let Some(oldest) = oldest.map(|(path, _)| path.clone()) {
                self.files.remove(&oldest);
            }
        }
        let kept = self.files.entry(path.to_owned()).or_default();
        kept.touched_ms = at_ms;
        kept
    }
}

fn unlike_written(kept: &Kept, path: &str, now: &Digest, at_ms: u64, found: &mut Sightings) {
    let Some((_, written)) = kept.written.back().filter(|(_, written)| written != now && !kept.blind) else { return };
    let message = format!("`{}` changed after it was last written", cut(path.to_owned()));
    found.push(sighting(path, Basis::Observed, written, now, at_ms, 0.99, message, found));
}

#[expect(clippy::too_many_arguments, reason = "one call per comparison; a struct would only repeat the names")]
fn sighting(
    path: &str,
    basis: Basis,
    expected: &Digest,
    seen: &Digest,
    since_ms: u64,
    confidence: f64,
    message: String,
    found: &Sightings,
) -> Sighting {
    Sighting {
        kind: Kind::CheckpointSwap,
        signal: format!("checkpoint:{}", cut(path.to_owned())),
        severity: Some(if confidence > 0.9 { Severity::Critical } else { Severity::Medium }),
        basis,
        expected: format!("sha256 {}", expected.short()),
        seen: format!("sha256 {}", seen.short()),
        since: found.moment(since_ms),
        confidence,
        message,
    }
}

/// Collected paths are below `/out`, observed ones may be absolute: both lose that prefix, as the same file must be found.
fn name(path: &str) -> &str {
    let path = path.strip_prefix("/out/").unwrap_or(path);
    path.strip_prefix("./").unwrap_or(path).trim_start_matches('/')
}

fn remember<T>(held: &mut VecDeque<T>, value: T) {
    if held.len() >= VERSIONS_MAX {
        held.pop_front();
    }
    held.push_back(value);
}

/// Paths that are followed at a time.
const FILES_MAX: usize = 512;
/// Versions of a path that are remembered.
const VERSIONS_MAX: usize = 8;
/// Time in which a word may follow a writing, or a writing a word, in milliseconds.
const WORD_MS: u64 = 15_000;
/// Time after its word in which a job may still be saving, in milliseconds.
const SAVING_MS: u64 = 5_000;

//! How training goes, by the job's own account: heard wherever trainers tell it, believed nowhere.
//!
//! * [`talk`]: lines of output, without configuration (`reading`, `numbers`, `names`: pairs, tokens, the table of names);
//! * [`trainer_state`]: the history that Hugging Face's trainer keeps in its checkpoints;
//! * [`tfevents`]: TensorBoard's event files, as they grow;
//! * `channel`: a FIFO and a socket inside the sandbox that take JSON lines ([`record`]);
//! * `folder`: how files of a job that runs are looked at without being fooled or held up;
//! * `pace`: what is told too fast is put together, so that the latest values, sums of labels and every divergence arrive.
//!
//! [`Claims`] joins them for the supervisor. Everything read here was written by a stranger: each reader is bounded in
//! bytes, entries and memory, nothing in here can fail a run, and what makes no sense is counted and named
//! ([`Claimed::Nonsense`]).

use std::{
    collections::BTreeMap,
    fmt,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use ringfence_schema::event::{Claimed, Progress, Told};
use serde::{Deserialize, Serialize};

pub(super) mod channel;
mod folder;
mod names;
mod numbers;
mod pace;
mod reading;
pub mod record;
pub mod talk;
pub mod tfevents;
pub mod trainer_state;

use channel::Channel;
use folder::{Effort, Folder};
use pace::{Bucket, Queue};
use talk::Talk;

/// Why something that was told could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nonsense {
    /// Not JSON, or a key twice.
    Json,
    /// A field is not what it should be.
    Shape,
    /// No known field.
    Empty,
    /// Longer than the limit.
    Long,
    /// More labels than the limit.
    Labels,
    /// Not a SHA-256.
    Digest,
    /// Framing or checksum of a record is wrong.
    Record,
    /// More of them than the limit.
    Many,
    /// Faster than the limit.
    Fast,
}

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "not JSON, or a key twice",
            Self::Shape => "a field is not what it should be",
            Self::Empty => "no known field",
            Self::Long => "longer than the limit",
            Self::Labels => "more labels than the limit",
            Self::Digest => "a digest is not a SHA-256",
            Self::Record => "framing or checksum of a record is wrong: the rest of the file was not read",
            Self::Many => "more files, folders or connections than the limit",
            Self::Fast => "told faster than the limit, and not read",
        })
    }
}

/// What the keeper hands out for the claims of a run, each with a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    /// The folder for temporary files.
    Scratch,
    /// The reading end of the FIFO.
    Pipe,
    /// The listening socket.
    Socket,
}

/// Listens to everything that a job says of its training.
pub(super) struct Claims {
    talks: [Talk; 2],
    reading: Bucket,
    channel: Channel,
    folders: Vec<Folder>,
    queue: Queue,
    complaints: BTreeMap<(Told, Nonsense), Count>,
    complained: Option<Instant>,
}

/// How often something was wrong, and how often that was told.
#[derive(Default)]
struct Count {
    seen: u64,
    told: u64,
}

/// Which of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Claims {
    /// Listens on `parts`, and looks below `output`, the folder of outputs.
    pub(super) fn new(output: Option<BorrowedFd<'_>>, parts: Vec<(Part, OwnedFd)>, now: Instant) -> Self {
        let mut channel = Channel::new(now);
        let mut folders: Vec<_> =
            output.and_then(|output| Folder::new(output, folder::Kind::Output)).into_iter().collect();
        for (part, descriptor) in parts {
            match part {
                Part::Scratch => {
                    use std::os::fd::AsFd;
                    folders.extend(Folder::new(descriptor.as_fd(), folder::Kind::Scratch));
                }
                Part::Pipe => channel.pipe(descriptor),
                Part::Socket => channel.socket(descriptor),
            }
        }
        Self {
            talks: [Talk::new(), Talk::new()],
            reading: Bucket::new(OUTPUT_BYTES_PER_SECOND, OUTPUT_BYTES_PER_SECOND * 4, now),
            channel,
            folders,
            queue: Queue::new(),
            complaints: BTreeMap::new(),
            complained: None,
        }
    }

    /// Hears one line of output.
    pub(super) fn line(&mut self, stream: Stream, text: &str, now: Instant) {
        if !self.reading.take(text.len() as u64 + LINE_COST_BYTES, now) {
            self.complain(Told::Output, Nonsense::Fast, 1);
            return;
        }
        let [output, error] = &mut self.talks;
        let talk = if stream == Stream::Output { output } else { error };
        if let Some(progress) = talk.line(text) {
            self.queue.add(progress, now);
        }
    }

    /// What to poll: the channels, while they are not told too fast.
    pub(super) fn descriptors(&mut self, now: Instant) -> Vec<BorrowedFd<'_>> {
        self.channel.descriptors(now)
    }

    /// Takes what waits on the channels.
    pub(super) fn hear(&mut self, now: Instant) {
        let (queue, complaints) = (&mut self.queue, &mut self.complaints);
        self.channel.read(now, &mut |line| match line {
            Ok(progress) => queue.add(progress, now),
            Err((nonsense, count)) => add(complaints, Told::Socket, nonsense, count),
        });
    }

    /// Looks at the files of the job; once a second is often enough.
    pub(super) fn look(&mut self, now: Instant) {
        self.look_with(Effort::Passing, now);
        self.queue.due(now);
        self.note_complaints(now);
    }

    /// Everything is dead: what is left to hear and to see.
    pub(super) fn finish(&mut self, now: Instant) {
        self.hear(now);
        self.look_with(Effort::Last, now);
        self.queue.flush();
        self.complained = None;
        self.note_complaints(now);
    }

    /// What is ready to be passed on.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Claimed> + use<> {
        self.queue.drain().into_iter()
    }

    fn look_with(&mut self, effort: Effort, now: Instant) {
        let (queue, complaints) = (&mut self.queue, &mut self.complaints);
        for folder in &mut self.folders {
            folder.look(effort, now, &mut |told, outcome| match outcome {
                Ok(progress) => queue.add(progress, now),
                Err(nonsense) => add(complaints, told, nonsense, 1),
            });
        }
    }

    fn complain(&mut self, told: Told, nonsense: Nonsense, count: u64) {
        add(&mut self.complaints, told, nonsense, count);
    }

    /// A first complaint of its kind is told at the next look, more of the same now and then.
    fn note_complaints(&mut self, now: Instant) {
        let again = self.complained.is_none_or(|before| now.duration_since(before) >= COMPLAINT_INTERVAL);
        if again {
            self.complained = Some(now);
        }
        for ((told, nonsense), count) in &mut self.complaints {
            if count.seen > count.told && (again || count.told == 0) {
                count.told = count.seen;
                let detail = nonsense.to_string();
                self.queue.pass(Claimed::Nonsense { told: *told, detail, count: count.seen });
            }
        }
    }
}

fn add(complaints: &mut BTreeMap<(Told, Nonsense), Count>, told: Told, nonsense: Nonsense, count: u64) {
    let entry = complaints.entry((told, nonsense)).or_default();
    entry.seen = entry.seen.saturating_add(count);
}

/// Joins `next` to what was said before and not passed on; see [`pace`].
pub fn merge(before: &mut Progress, next: Progress) {
    pace::merge(before, next);
}

/// Bytes of output per second that are read for progress; four times as many at once.
const OUTPUT_BYTES_PER_SECOND: u64 = 256 << 10;
/// What a line costs beside its text.
const LINE_COST_BYTES: u64 = 64;
/// How often a growing number of complaints is told.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(30);

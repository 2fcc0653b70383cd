//! Finding what was changed in the file behind our back.
//!
//! One pass over the entries rebuilds the tree, the deciding rows and the open intents from the leaves alone, and compares
//! them with every checkpoint, every `state`, every row, and with what the user holds. The newest note's signature vouches
//! for all leaves under its root, and these name every earlier note by digest, so earlier signatures are checked only
//! where something does not fit.
//!
//! What each finding can name: bytes that are no entry, break a rule, or do not lead to their own `state` are named by
//! index; a leaf that was changed into another valid one shows first at the next checkpoint, so the range since the last
//! good checkpoint is named. Cutting whole commits off the end, or bringing back an old copy of the whole file, shows only
//! against a checkpoint that is held elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    iter::Peekable,
    ops::RangeInclusive,
    vec,
};

use ringfence_schema::{
    Digest,
    trail::{Entry, EntryKind, LeafError, Outcome},
};
use ringfence_trust::{
    checkpoint::{self, Checkpoint, CheckpointError},
    merkle::{self, Frontier},
};

use rusqlite::Row;

use crate::{
    erasure,
    error::{At as _, CatalogError},
    fold::Fold,
    outbox::{ALERT_COMMIT, stored_alerts},
    subtree::{self, Subtrees},
    tx::{CHECKPOINT_COMMIT, OPENINGS_COMMIT, rules},
    view::{View, sql_number, stored_edge, stored_fold},
};

/// Most problems that are listed; more are counted.
pub const PROBLEMS_MAX: usize = 100;

/// Checks the signatures of a note.
type Check<'a> = &'a dyn Fn(&[u8]) -> Result<Checkpoint, CheckpointError>;

/// Something that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Entries are gone.
    Missing {
        /// The first one.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// An entry is not what was written, or should not be there.
    Entry {
        /// Which.
        index: u64,
        /// What shows it.
        what: String,
    },
    /// Some entry of this range was changed: the checkpoint before it holds, the one behind it does not.
    Range {
        /// The first entry after the last good checkpoint.
        first: u64,
        /// The last entry under the first bad one.
        last: u64,
    },
    /// Entries that no checkpoint covers.
    Uncovered {
        /// The first one.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// The sealed openings beside an entry are not those that it names.
    Openings {
        /// Which entry.
        index: u64,
    },
    /// A stored checkpoint is not what was written, or should not be there.
    Checkpoint {
        /// Over how many entries.
        size: u64,
        /// What shows it.
        what: String,
    },
    /// A checkpoint is gone.
    CheckpointMissing {
        /// Over how many entries.
        size: u64,
    },
    /// A deciding row is not what the trail makes of it.
    Row {
        /// Its table.
        table: String,
        /// Its key.
        key: Vec<u8>,
    },
    /// The list of open intents is not what the trail makes of it.
    OpenIntent {
        /// Index of the intent.
        index: u64,
    },
    /// The index of alerts is not what the trail makes of it.
    AlertIndex {
        /// The entry whose alert is not listed, or which has none of this name.
        index: u64,
        /// Name of the commitment.
        name: String,
    },
    /// The stored edge of the tree is not that of the trail.
    Edge,
    /// A stored subtree is not that of the trail.
    Subtree {
        /// Logarithm of how many entries it is over.
        level: i64,
        /// Its number among those of its level.
        number: i64,
    },
    /// The trail is shorter than the checkpoint that is held: its tail was cut off, or the file is an older copy.
    RolledBack {
        /// How many entries there are.
        size: u64,
        /// How many there were.
        held: u64,
    },
    /// The first `held` entries are not those of the checkpoint that is held.
    Forked {
        /// How many entries it is over.
        held: u64,
    },
    /// The checkpoint that is held is of another trail.
    OtherTrail {
        /// Its origin.
        held: String,
    },
}

impl Problem {
    /// The entries among which the change is, as narrowly as can be told; `None` if it is not in an entry.
    pub fn entries(&self) -> Option<RangeInclusive<u64>> {
        match *self {
            Self::Missing { first, last } | Self::Range { first, last } | Self::Uncovered { first, last } => {
                Some(first..=last)
            }
            Self::Entry { index, .. }
            | Self::Openings { index }
            | Self::OpenIntent { index }
            | Self::AlertIndex { index, .. } => Some(index..=index),
            Self::RolledBack { size, held } => Some(size..=held.saturating_sub(1)),
            Self::Forked { held } => Some(0..=held.saturating_sub(1)),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { first, last } if first == last => write!(f, "entry {first} is gone"),
            Self::Missing { first, last } => write!(f, "entries {first} to {last} are gone"),
            Self::Entry { index, what } => write!(f, "entry {index}: {what}"),
            Self::Range { first, last } if first == last => write!(f, "entry {first} was changed"),
            Self::Range { first, last } => write!(f, "an entry from {first} to {last} was changed"),
            Self::Uncovered { first, last } => write!(f, "entries {first} to {last} are under no checkpoint"),
            Self::Openings { index } => write!(f, "the sealed details of entry {index} were changed"),
            Self::Checkpoint { size, what } => write!(f, "checkpoint over {size} entries: {what}"),
            Self::CheckpointMissing { size } => write!(f, "the checkpoint over {size} entries is gone"),
            Self::Row { table, key } => {
                write!(f, "row `{}` of `{table}` was changed", ringfence_schema::digest::hex(key))
            }
            Self::AlertIndex { index, name } => {
                let name = ringfence_schema::finding::printable(name, 40);
                write!(f, "whether `{name}` of entry {index} is listed as an alert was changed")
            }
            Self::OpenIntent { index } => write!(f, "whether intent {index} is open was changed"),
            Self::Edge => f.write_str("the edge of the tree was changed"),
            Self::Subtree { level, number } => write!(f, "subtree {number} of level {level} was changed"),
            Self::RolledBack { size, held } => {
                write!(f, "the trail has {size} entries, but had {held}: entries {size} to {} are gone", held - 1)
            }
            Self::Forked { held } => write!(f, "the first {held} entries are not those of the checkpoint that is held"),
            Self::OtherTrail { held } => write!(f, "the checkpoint that is held is of `{held}`"),
        }
    }
}

/// What a check of the trail found.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailVerdict {
    /// How many entries there are.
    pub entries: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// The newest checkpoint, if its signature holds.
    pub newest: Option<Checkpoint>,
    /// Of how many entries fields were erased by recorded acts.
    pub erased: u64,
    /// What was changed, in the order in which it was found; at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub unlisted: u64,
}

impl TrailVerdict {
    /// Whether nothing was found.
    pub fn is_intact(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A stored note with what it claims.
struct Stored {
    size: u64,
    note: String,
    claim: Option<Checkpoint>,
}

struct Verifier<'a> {
    check: Check<'a>,
    found: Vec<Problem>,
    unlisted: u64,
    /// Digests of what lies beside entries of which something was erased; the rows themselves are checked with all others.
    erased: BTreeMap<u64, Digest>,
}

impl Verifier<'_> {
    fn report(&mut self, problem: Problem) {
        if self.found.len() < PROBLEMS_MAX { self.found.push(problem) } else { self.unlisted += 1 }
    }

    /// Whether the note is a signed checkpoint over `size` entries; if not, it is reported.
    fn holds(&mut self, stored: &Stored) -> Option<Checkpoint> {
        let what = match (self.check)(stored.note.as_bytes()) {
            Ok(checkpoint) if checkpoint.size == stored.size => return Some(checkpoint),
            Ok(_) => "its note is over another number of entries".to_owned(),
            Err(error) => error.to_string(),
        };
        let problem = Problem::Checkpoint { size: stored.size, what };
        if !self.found.contains(&problem) {
            self.report(problem);
        }
        None
    }

    /// Entries and checkpoints must end together.
    fn ends_together(&mut self, entries: u64, covered: u64) {
        if covered < entries {
            self.report(Problem::Uncovered { first: covered, last: entries - 1 });
        } else if covered > entries {
            self.report(Problem::Missing { first: entries, last: covered - 1 });
        }
    }

    /// Compares what is held with a trail of `size` entries; `root` is the root at the held size, where it is known.
    fn held(&mut self, held: &Checkpoint, origin: Option<&str>, size: u64, root: Option<Digest>) {
        if origin.is_some_and(|origin| origin != held.origin) {
            self.report(Problem::OtherTrail { held: held.origin.clone() });
        } else if held.size > size {
            self.report(Problem::RolledBack { size, held: held.size });
        } else if root.is_some_and(|root| root != held.root) {
            self.report(Problem::Forked { held: held.size });
        }
    }

    /// Proves that what is held is the beginning of a trail of `size` entries with this root.
    fn continues(&mut self, view: &View<'_>, held: &Checkpoint, size: u64, root: Digest) -> Result<(), CatalogError> {
        match view.prove_consistency(held.size, size) {
            Ok(proof) if merkle::verify_consistency(held.size, &held.root, size, &root, &proof).is_ok() => {}
            // Missing rows prove nothing either; `whole` says which.
            Ok(_) | Err(CatalogError::Damaged { .. } | CatalogError::Proof(_)) => {
                self.report(Problem::Forked { held: held.size });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn verdict(self, entries: u64, checkpoints: u64, newest: Option<Checkpoint>) -> TrailVerdict {
        let erased = self.erased.len() as u64;
        TrailVerdict { entries, checkpoints, newest, erased, problems: self.found, unlisted: self.unlisted }
    }
}

/// What the entries alone lead to.
#[derive(Default)]
struct Replay {
    frontier: Frontier,
    fold: Fold,
    open: BTreeSet<u64>,
    /// Entry and name of each commitment to an alert.
    alerts: BTreeSet<(u64, String)>,
    vault: Option<String>,
    /// Digests of earlier notes, by size, as entries name them.
    chain: BTreeMap<u64, Digest>,
    subtrees: Subtrees,
    /// The root at the size of the checkpoint that is held.
    held_root: Option<Digest>,
    /// How many entries the last checkpoint that fits covers.
    good: u64,
    /// A gap or an unreadable leaf: roots and the fold cannot be compared any more.
    broken: bool,
    /// A checkpoint did not fit, so the later ones cannot either.
    diverged: bool,
}

/// Checks everything.
pub(crate) fn whole(
    view: &View<'_>,
    check: Check<'_>,
    held: Option<&Checkpoint>,
) -> Result<TrailVerdict, CatalogError> {
    let structure: String = view.one("PRAGMA quick_check(1)", [], |row| row.get(0))?.unwrap_or_default();
    if structure != "ok" {
        return Err(CatalogError::damaged(view.path(), structure));
    }
    let mut verifier = Verifier { check, found: Vec::new(), unlisted: 0, erased: erasure::stored(view)? };
    let notes = stored_notes(view)?;
    let replay = verifier.replay(view, notes.iter().collect::<Vec<_>>().into_iter().peekable(), held)?;
    let newest = verifier.notes(&notes, &replay);
    let entries = replay.frontier.size();
    if !replay.broken {
        if newest.is_some() || notes.is_empty() {
            verifier.ends_together(entries, newest.as_ref().map_or(0, |newest| newest.size));
        }
        verifier.derived(view, &replay)?;
    }
    if let Some(held) = held {
        let claim = newest.as_ref().or_else(|| notes.last()?.claim.as_ref());
        let root = replay.held_root.filter(|_| !replay.diverged);
        verifier.held(held, claim.map(|claim| claim.origin.as_str()), entries, root);
    }
    Ok(verifier.verdict(entries, notes.len() as u64, newest))
}

/// Checks the end, and that what is held leads to it.
pub(crate) fn head(view: &View<'_>, check: Check<'_>, held: Option<&Checkpoint>) -> Result<TrailVerdict, CatalogError> {
    let mut verifier = Verifier { check, found: Vec::new(), unlisted: 0, erased: erasure::stored(view)? };
    let entries = view.size()?;
    let stored = newest_note(view)?;
    let newest = stored.as_ref().and_then(|stored| verifier.holds(stored));
    let covered = stored.as_ref().map_or(0, |stored| stored.size);
    let (edge, empty) = (stored_edge(view)?, Frontier::new());
    let root = newest.as_ref().map_or_else(|| empty.root(), |newest| newest.root);
    // A newest checkpoint that does not hold is reported already, and says nothing about the rest.
    let comparable = newest.is_some() || stored.is_none();
    if comparable {
        verifier.ends_together(entries, covered);
    }
    if comparable && edge.is_none_or(|edge| (edge.size(), edge.root()) != (covered, root)) {
        verifier.report(Problem::Edge);
    }
    let index = entries.saturating_sub(1);
    match view.leaf(index)?.map_or_else(|| Ok(Fold::default().root()), |leaf| Ok(Entry::from_leaf(&leaf)?.state)) {
        Ok(state) if state == stored_fold(view)?.root() => {}
        Ok(_) => {
            let what = "the deciding rows are not those that it signs".to_owned();
            verifier.report(Problem::Entry { index, what });
        }
        Err(error) => verifier.report(Problem::Entry { index, what: LeafError::to_string(&error) }),
    }
    if let Some(held) = held {
        let origin = newest.as_ref().map(|newest| newest.origin.as_str());
        let held_root = (held.size == covered && comparable).then_some(root);
        verifier.held(held, origin, entries.min(covered), held_root);
        if comparable && held.size < covered && covered <= entries {
            verifier.continues(view, held, covered, root)?;
        }
    }
    let checkpoints: i64 = view.one("SELECT count(*) FROM checkpoint", [], |row| row.get(0))?.unwrap_or_default();
    Ok(verifier.verdict(entries, u64::try_from(checkpoints).unwrap_or(0), newest))
}

impl Verifier<'_> {
    /// The pass over the entries.
    fn replay(
        &mut self,
        view: &View<'_>,
        mut notes: Peekable<vec::IntoIter<&Stored>>,
        held: Option<&Checkpoint>,
    ) -> Result<Replay, CatalogError> {
        let empty = held.filter(|held| held.size == 0).map(|_| merkle::empty_root());
        let mut replay = Replay { held_root: empty, ..Replay::default() };
        let path = view.path();
        let sql = "SELECT idx, leaf, openings FROM trail ORDER BY idx";
        let mut statement = view.conn().prepare_cached(sql).at(path)?;
        let mut rows = statement.query([]).at(path)?;
        let mut expected = 0;
        while let Some(row) = rows.next().at(path)? {
            let Ok(index) = u64::try_from(row.get::<_, i64>(0).at(path)?) else {
                self.report(Problem::Entry { index: expected, what: "a row stands before it that is none".to_owned() });
                replay.broken = true;
                continue;
            };
            let leaf = row.get_ref(1).at(path)?.as_blob().map_err(rusqlite::Error::from).at(path)?;
            let openings = row.get_ref(2).at(path)?.as_blob_or_null().map_err(rusqlite::Error::from).at(path)?;
            if index > expected {
                self.report(Problem::Missing { first: expected, last: index - 1 });
                replay.broken = true;
            }
            expected = index + 1;
            self.entry(&mut replay, index, leaf, openings);
            let Replay { frontier, subtrees, .. } = &mut replay;
            let keep = |level, number, root: &Digest| {
                subtrees.insert((level, number), *root);
            };
            let size = subtree::append(frontier, merkle::leaf_hash(leaf), keep) + 1;
            while let Some(stored) = notes.next_if(|stored| stored.size <= size) {
                self.compare(&mut replay, stored, size);
            }
            if held.is_some_and(|held| held.size == size) && !replay.broken {
                replay.held_root = Some(replay.frontier.root());
            }
        }
        Ok(replay)
    }

    fn entry(&mut self, replay: &mut Replay, index: u64, leaf: &[u8], openings: Option<&[u8]>) {
        let entry = match Entry::from_leaf(leaf) {
            Ok(entry) => entry,
            Err(error) => {
                self.report(Problem::Entry { index, what: error.to_string() });
                replay.broken = true;
                return;
            }
        };
        let beside = openings.map(Digest::of);
        let written = entry.commits.get(OPENINGS_COMMIT).copied();
        // What is left after an erasure stands only where something stood.
        let left = written.and_then(|_| self.erased.get(&index).copied());
        if beside != written && (left.is_none() || beside != left) {
            self.report(Problem::Openings { index });
        }
        if let Some(note) = entry.commits.get(CHECKPOINT_COMMIT) {
            replay.chain.insert(index, *note);
        }
        if replay.broken {
            return;
        }
        if let Some(what) = replay.take(index, &entry) {
            self.report(Problem::Entry { index, what: what.to_owned() });
            replay.broken = true;
        }
    }

    /// Compares a stored checkpoint with the tree at its size.
    fn compare(&mut self, replay: &mut Replay, stored: &Stored, size: u64) {
        if replay.broken || replay.diverged {
            return;
        }
        let claim = stored.claim.as_ref().filter(|claim| claim.size == stored.size && stored.size == size);
        if claim.is_some_and(|claim| claim.root == replay.frontier.root()) {
            replay.good = size;
        } else if self.holds(stored).is_some() {
            // The note is genuine, so it is the entries that were changed.
            self.report(Problem::Range { first: replay.good, last: size - 1 });
            replay.diverged = true;
        }
    }

    /// Checks the chain of notes and the newest signature; where that fails, every signature. Returns the newest
    /// checkpoint if it holds.
    fn notes(&mut self, notes: &[Stored], replay: &Replay) -> Option<Checkpoint> {
        for stored in notes.iter().filter(|stored| stored.size < replay.frontier.size()) {
            match replay.chain.get(&stored.size) {
                Some(digest) if *digest == Digest::of(stored.note.as_bytes()) => {}
                Some(_) => {
                    if self.holds(stored).is_some() {
                        let what = "it names another checkpoint as the one before it".to_owned();
                        self.report(Problem::Entry { index: stored.size, what });
                    }
                }
                None if replay.broken => {}
                None => {
                    let what = "the entry behind it does not name it".to_owned();
                    self.report(Problem::Checkpoint { size: stored.size, what });
                }
            }
        }
        let stored: BTreeSet<u64> = notes.iter().map(|stored| stored.size).collect();
        for size in replay.chain.keys().filter(|size| !stored.contains(size)) {
            self.report(Problem::CheckpointMissing { size: *size });
        }
        let newest = notes.last()?;
        let holds = self.holds(newest);
        if holds.is_none() {
            // Nothing vouches for the end; find how far the signatures reach.
            let mut good = 0;
            for stored in notes {
                if self.holds(stored).is_some() {
                    good = stored.size;
                } else {
                    if !replay.diverged && good < replay.frontier.size() {
                        let last = stored.size.clamp(good + 1, replay.frontier.size()) - 1;
                        self.report(Problem::Range { first: good, last });
                    }
                    break;
                }
            }
        }
        holds
    }

    /// Compares what is derived from the entries: edge, deciding rows, open intents.
    fn derived(&mut self, view: &View<'_>, replay: &Replay) -> Result<(), CatalogError> {
        if stored_edge(view)?.as_ref() != Some(&replay.frontier) {
            self.report(Problem::Edge);
        }
        if view.has_subtrees()? {
            let expected = replay
                .subtrees
                .iter()
                .map(|((level, number), root)| ((i64::from(*level), sql_number(*number)), root.as_bytes().to_vec()));
            let (expected, stored) = (expected.collect::<BTreeSet<_>>(), subtree::stored(view)?.into_iter().collect());
            let changed: BTreeSet<_> = expected.symmetric_difference(&stored).map(|(place, _)| *place).collect();
            for (level, number) in changed {
                self.report(Problem::Subtree { level, number });
            }
        }
        let rows = stored_fold(view)?;
        let differs = |a: &Fold, b: &Fold| -> Vec<(String, Vec<u8>)> {
            let missing = a.rows().filter(|(table, key, value)| b.row(table, key) != Some(*value));
            missing.map(|(table, key, _)| (table.to_owned(), key.to_owned())).collect()
        };
        let mut changed: BTreeSet<_> = differs(&rows, &replay.fold).into_iter().collect();
        changed.extend(differs(&replay.fold, &rows));
        for (table, key) in changed {
            self.report(Problem::Row { table, key });
        }
        let listed = view.many("SELECT idx FROM open_intent", [], |row| row.get::<_, i64>(0))?;
        let listed: BTreeSet<u64> = listed.into_iter().map(|index| u64::try_from(index).unwrap_or(u64::MAX)).collect();
        for index in listed.symmetric_difference(&replay.open) {
            self.report(Problem::OpenIntent { index: *index });
        }
        let listed: BTreeSet<(u64, String)> =
            if view.has_outbox()? { stored_alerts(view)?.into_iter().collect() } else { BTreeSet::new() };
        for (index, name) in listed.symmetric_difference(&replay.alerts) {
            self.report(Problem::AlertIndex { index: *index, name: name.clone() });
        }
        Ok(())
    }
}

impl Replay {
    /// Takes an entry into account; what is wrong with it, if anything.
    fn take(&mut self, index: u64, entry: &Entry) -> Option<&'static str> {
        let broken = rules::of_shape(index, entry.kind, entry.of, entry.outcome, !entry.changes.is_empty());
        if broken.is_some() {
            return broken;
        }
        if self.vault.get_or_insert_with(|| entry.vault.clone()) != &entry.vault {
            return Some("it is of another vault");
        }
        if entry.kind == EntryKind::Intent {
            self.open.insert(index);
        }
        if entry.outcome == Some(Outcome::Done) {
            let named = entry.commits.keys().filter(|name| name.starts_with(ALERT_COMMIT));
            self.alerts.extend(named.map(|name| (index, name.clone())));
        }
        if entry.of.is_some_and(|of| !self.open.remove(&of)) {
            return Some(rules::NOT_OPEN);
        }
        if let Err(error) = self.fold.apply(&entry.changes) {
            return Some(error.words());
        }
        (self.fold.root() != entry.state).then_some("its changes do not lead to its state")
    }
}

fn newest_note(view: &View<'_>) -> Result<Option<Stored>, CatalogError> {
    let sql = "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1";
    view.one(sql, [], stored)
}

fn stored_notes(view: &View<'_>) -> Result<Vec<Stored>, CatalogError> {
    let sql = "SELECT size, note FROM checkpoint ORDER BY size";
    view.many(sql, [], stored)
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let (size, note): (i64, String) = (row.get(0)?, row.get(1)?);
    let claim = checkpoint::parse_unverified(note.as_bytes()).ok();
    // No checkpoint is over less than one entry, so 0 stands for every impossible size.
    Ok(Stored { size: u64::try_from(size).unwrap_or(0), note, claim })
}

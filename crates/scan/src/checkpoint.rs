//! TensorFlow checkpoints: the index (a sorted table of bundle entries) and the text that names the newest checkpoint.
//!
//! The shards of numbers beside the index have no structure of their own; the index says what lies where in them.

use std::{collections::BTreeMap, io};

use ringfence_format::{
    schema::{Schema, survey},
    sstable::{self, Flaw},
};
use ringfence_schema::finding::printable;

use crate::{
    audit::Audit,
    paths::escapes,
    rules::id,
    source::{Source, bytes_at, length},
};

/// Longest index that is read whole, in bytes.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// Longest shard that an entry may point into, in bytes.
const SHARD_BYTES_MAX: u64 = 1 << 46;
/// Entries whose problems are listed one by one.
const LISTED_MAX: usize = 20;

impl Audit<'_> {
    pub(crate) fn sorted_table(&mut self, source: &mut dyn Source) -> io::Result<&'static str> {
        let whole = length(source)?;
        if whole > INDEX_BYTES_MAX {
            self.note(id::GRF_BROKEN, &format!("longer than {INDEX_BYTES_MAX} bytes"), None);
        }
        let bytes = bytes_at(source, 0, INDEX_BYTES_MAX)?;
        let table = match sstable::read(&bytes) {
            Ok(table) => table,
            Err(error) => {
                self.note(id::GRF_BROKEN, &error.to_string(), None);
                self.carve(source)?;
                return Ok("sstable");
            }
        };
        for flaw in &table.flaws {
            match flaw {
                Flaw::Checksum { offset } => self.note(id::GRF_SHAPE, "a block's checksum is wrong", Some(*offset)),
                Flaw::Unreadable { offset, reason } => {
                    self.note(id::GRF_BROKEN, &format!("a block cannot be read: {reason}"), Some(*offset));
                }
                Flaw::Order { offset } => self.note(id::GRF_SHAPE, "keys are not in order", Some(*offset)),
                Flaw::Gap { offset, bytes: gap } => {
                    self.note(id::GRF_HIDDEN, &format!("{gap} bytes belong to no block"), Some(*offset));
                    let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                    self.payload("gap", bytes.get(start..).unwrap_or_default(), *offset);
                }
                Flaw::TooMany => self.note(id::GRF_BROKEN, "more entries than are kept", None),
                _ => self.note(id::GRF_BROKEN, &format!("{flaw:?}"), None),
            }
        }
        let is_bundle = table.entries.first().is_some_and(|first| first.key.is_empty());
        if !is_bundle {
            for entry in table.entries.iter().take(LISTED_MAX) {
                self.graph_text("value", entry.value, entry.offset);
            }
            self.note(id::GEN_UNSUPPORTED, "a sorted table that is no checkpoint index", None);
            return Ok("sstable");
        }
        self.bundle(&table);
        Ok("tensorflow-checkpoint-index")
    }

    /// A header under the empty key, then one entry a tensor.
    fn bundle(&mut self, table: &sstable::Table<'_>) {
        let header =
            table.entries.first().and_then(|first| Schema::tensorflow().view("BundleHeaderProto", first.value));
        let shards = header.as_ref().and_then(|header| header.number("num_shards")).unwrap_or(0);
        if header.is_none_or(|header| survey(&header).error.is_some()) || shards == 0 {
            self.note(id::GRF_BROKEN, "the header of the index cannot be read", None);
        }
        let mut ranges: BTreeMap<(u64, u64), (u64, String)> = BTreeMap::new();
        let mut problems = Vec::new();
        for entry in table.entries.iter().skip(1) {
            let name = printable(&String::from_utf8_lossy(&entry.key), 120);
            let Some(view) = Schema::tensorflow().view("BundleEntryProto", entry.value) else { continue };
            let survey = survey(&view);
            if survey.error.is_some() {
                problems.push((entry.offset, format!("the entry of `{name}` cannot be read")));
                continue;
            }
            if survey.unknown_bytes > 0 {
                let message = format!("the entry of `{name}` has {} bytes in unknown fields", survey.unknown_bytes);
                self.note(id::GRF_HIDDEN, &message, Some(entry.offset));
                self.payload("entry", entry.value, entry.offset);
            }
            let number = |key: &str| view.number(key).unwrap_or(0);
            let (shard, offset, size) = (number("shard_id"), number("offset"), number("size"));
            if shard >= shards.max(1) {
                problems.push((entry.offset, format!("`{name}` lies in shard {shard} of {shards}")));
            }
            if offset > SHARD_BYTES_MAX || size > SHARD_BYTES_MAX {
                problems.push((entry.offset, format!("`{name}` claims {size} bytes at {offset}")));
                continue;
            }
            let dims = view
                .messages("shape")
                .flat_map(|shape| shape.messages("dim").map(|dim| dim.number("size").unwrap_or(0)).collect::<Vec<_>>());
            let is_sliced = view.has("slices");
            let elements = dims.into_iter().try_fold(1_u64, u64::checked_mul);
            let expected = width(number("dtype")).and_then(|width| elements?.checked_mul(width));
            let fixed = width(number("dtype")).is_some();
            if fixed && !is_sliced && expected != Some(size) {
                problems.push((entry.offset, format!("`{name}` has {size} bytes, its shape says {expected:?}")));
            }
            if size > 0 {
                ranges.insert((shard, offset), (size, name));
            }
        }
        for (((shard, offset), (size, name)), (next_shard, next)) in ranges.iter().zip(ranges.keys().skip(1)) {
            if shard == next_shard && offset + size > *next {
                problems.push((0, format!("`{name}` overlaps its neighbour")));
            }
        }
        for (offset, message) in problems.iter().take(LISTED_MAX) {
            self.note(id::GRF_SHAPE, message, Some(*offset));
        }
    }

    /// The text beside checkpoints that says which is the newest.
    pub(crate) fn checkpoint_state(&mut self, text: &[u8]) {
        if !text.starts_with(b"model_checkpoint_path:") {
            return;
        }
        for line in String::from_utf8_lossy(text).lines().take(10_000) {
            let Some((_, value)) = line.split_once("checkpoint_path").and_then(|(_, rest)| rest.split_once('"')) else {
                continue;
            };
            let path = value.trim_end().trim_end_matches('"');
            // Absolute paths are those of the author's machine, which older savers wrote.
            let is_absolute = path.starts_with('/') && !path.contains("..");
            if escapes(path) && !is_absolute {
                self.note(id::GRF_PATH, &format!("the newest checkpoint is `{}`", printable(path, 160)), None);
            }
        }
    }
}

/// Bytes of one element of a TensorFlow type (`types.proto`), where all elements have the same.
fn width(data_type: u64) -> Option<u64> {
    Some(match data_type {
        4 | 6 | 10 | 11 | 12 | 24 | 25 => 1,
        5 | 14 | 15 | 16 | 17 | 19 => 2,
        1 | 3 | 13 | 22 => 4,
        2 | 8 | 9 | 23 => 8,
        18 => 16,
        _ => return None,
    })
}

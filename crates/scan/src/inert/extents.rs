//! Which bytes of a file belong to a part of it.

use std::io;

use crate::source::{Source, bytes_at, length};

/// Parts of one file that are remembered.
const PARTS_MAX: usize = 1_000_000;
/// Bytes between two parts that may be padding, if they are zero.
const PADDING_BYTES_MAX: u64 = 4_096;
/// Bytes between two parts that may hold anything: alignment, and encoders that leave a word.
const SLACK_BYTES_MAX: u64 = 8;

/// Parts of a file.
#[derive(Debug, Default)]
pub(super) struct Extents {
    parts: Vec<(u64, u64)>,
    is_broken: bool,
}

impl Extents {
    /// Adds a part.
    pub(super) fn add(&mut self, start: u64, bytes: u64) {
        match start.checked_add(bytes) {
            Some(end) if self.parts.len() < PARTS_MAX => self.parts.push((start, end)),
            _ => self.is_broken = true,
        }
    }

    /// The first byte that belongs to no part and is no padding, or the file's end; `None` where a part lies outside.
    pub(super) fn accounted(mut self, source: &mut dyn Source) -> io::Result<Option<u64>> {
        let whole = length(source)?;
        if self.is_broken || self.parts.iter().any(|(_, end)| *end > whole) {
            return Ok(None);
        }
        self.parts.push((whole, whole));
        self.parts.sort_unstable();
        let mut reached = 0;
        for (start, end) in self.parts {
            if start > reached + SLACK_BYTES_MAX {
                let gap = start - reached;
                let bytes = bytes_at(source, reached, gap.min(PADDING_BYTES_MAX))?;
                if gap > PADDING_BYTES_MAX || bytes.iter().any(|byte| *byte != 0) {
                    return Ok(Some(reached));
                }
            }
            reached = reached.max(end);
        }
        Ok(Some(whole))
    }
}

//! Turns what a job writes into bounded, printable lines. Everything here is a claim of the job.
#![deny(clippy::indexing_slicing)]

use ringfence_schema::{event::Claimed, finding::printable};

/// Cuts one stream into lines.
pub(super) struct Lines {
    stream: &'static str,
    partial: Vec<u8>,
    /// Bytes of the present line that did not fit.
    cut: u64,
}

/// What all streams of a run may still emit.
pub(super) struct Budget {
    left: u64,
    dropped: u64,
}

impl Budget {
    /// A budget of `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        Self { left: bytes, dropped: 0 }
    }

    /// Counts bytes that were never turned into lines.
    pub(super) fn drop_bytes(&mut self, bytes: u64) {
        self.dropped = self.dropped.saturating_add(bytes);
    }

    /// What was dropped, if anything was.
    pub(super) fn dropped(&self) -> Option<Claimed> {
        (self.dropped > 0).then_some(Claimed::Dropped { bytes: self.dropped })
    }
}

impl Lines {
    /// A cutter for `stream`.
    pub(super) fn new(stream: &'static str) -> Self {
        Self { stream, partial: Vec::new(), cut: 0 }
    }

    /// Takes more bytes; whole lines go to `emit`.
    pub(super) fn push(&mut self, bytes: &[u8], budget: &mut Budget, emit: &mut dyn FnMut(Claimed)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = LINE_BYTES_MAX.saturating_sub(self.partial.len()).min(text.len());
            let (kept, cut) = text.split_at_checked(room).unwrap_or((text, &[]));
            self.partial.extend_from_slice(kept);
            self.cut = self.cut.saturating_add(cut.len() as u64);
            if ended {
                self.finish(budget, emit);
            }
        }
    }

    /// Emits the last line, if it had no end.
    pub(super) fn end(&mut self, budget: &mut Budget, emit: &mut dyn FnMut(Claimed)) {
        if !self.partial.is_empty() {
            self.finish(budget, emit);
        }
    }

    fn finish(&mut self, budget: &mut Budget, emit: &mut dyn FnMut(Claimed)) {
        let bytes = self.partial.len() as u64 + LINE_COST_BYTES;
        budget.drop_bytes(std::mem::take(&mut self.cut));
        if bytes > budget.left {
            budget.left = 0;
            budget.drop_bytes(self.partial.len() as u64);
        } else {
            budget.left -= bytes;
            let text = printable(&String::from_utf8_lossy(&self.partial), LINE_BYTES_MAX);
            emit(Claimed::Line { stream: self.stream.to_owned(), text });
        }
        self.partial.clear();
    }
}

/// Longest line in bytes; the rest of a longer one is dropped and counted.
const LINE_BYTES_MAX: usize = 4_096;
/// What a line costs beside its text, so that empty lines are not free.
const LINE_COST_BYTES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]], budget: u64) -> (Vec<String>, Option<Claimed>) {
        let (mut lines, mut budget) = (Lines::new("stdout"), Budget::new(budget));
        let mut texts = Vec::new();
        let mut emit = |claimed| match claimed {
            Claimed::Line { text, .. } => texts.push(text),
            other => unreachable!("{other:?}"),
        };
        for piece in pieces {
            lines.push(piece, &mut budget, &mut emit);
        }
        lines.end(&mut budget, &mut emit);
        (texts, budget.dropped())
    }

    #[test]
    fn lines_are_joined_and_escaped() {
        let (texts, dropped) = cut(&[b"a\x1b[2J", b"b\nlast\xff"], 1_000);
        assert_eq!(texts, ["a\\u{1b}[2Jb", "last\u{fffd}"]);
        assert_eq!(dropped, None);
    }

    #[test]
    fn long_lines_and_floods_are_cut_and_counted() {
        let long = vec![b'x'; LINE_BYTES_MAX + 10];
        let (texts, dropped) = cut(&[&long], 10_000);
        assert_eq!((texts.len(), dropped), (1, Some(Claimed::Dropped { bytes: 10 })));
        let (texts, dropped) = cut(&[&b"\n".repeat(1_000)], 160);
        assert_eq!((texts.len(), dropped), (10, None));
        let (texts, dropped) = cut(&[&b"yy\n".repeat(1_000)], 160);
        assert_eq!((texts.len(), dropped), (8, Some(Claimed::Dropped { bytes: 2 * 992 })));
    }
}

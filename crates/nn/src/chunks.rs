//! A batch cut into [`Chunks`] that run side by side.

use std::sync::Arc;

use crate::error::NnError;
use crate::plan::Plan;

/// A batch cut into chunks of `rows`, the last one perhaps shorter.
pub(crate) struct Chunks {
    pub(crate) rows: usize,
    pub(crate) plan: Arc<Plan>,
    pub(crate) rest: Arc<Plan>,
}

impl Chunks {
    /// The plan for a chunk of so many examples.
    pub(crate) fn plan_for(&self, rows: usize) -> &Plan {
        if rows == self.rows { &self.plan } else { &self.rest }
    }

    /// Numbers that the output has for each example.
    pub(crate) fn row_of(&self, output: &[usize]) -> Result<usize, NnError> {
        match output {
            [rows, example @ ..] if *rows == self.rows => Ok(example.iter().product()),
            _ => Err(NnError::Interface { problem: "does not have the batch as its output's first dimension" }),
        }
    }
}

/// Of all sizes from `most` to half of that, or of an equal share for each thread, the one that leaves least to the thread that
/// gets most, where each takes the next chunk as soon as it is done; of several the largest.
pub(crate) fn even_rows(batch: usize, most: usize, threads: usize) -> usize {
    let longest = |rows: usize| {
        let (whole, rest) = (batch / rows, batch % rows);
        // The shorter one comes last: beside whole ones, or after all of them.
        whole.div_ceil(threads) * rows + if whole.is_multiple_of(threads) { rest } else { 0 }
    };
    let most = most.min(batch).max(1);
    let least = most.min(batch.div_ceil(threads)).div_ceil(2).max(1);
    (least..=most).rev().min_by_key(|rows| longest(*rows)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::even_rows;

    #[test]
    fn every_thread_gets_about_as_much() {
        // Of 32 in chunks of at most 6, one of two threads would do 18: with chunks of 4 each does 16.
        assert_eq!(even_rows(32, 6, 2), 4);
        assert_eq!(even_rows(256, 16, 2), 16);
        assert_eq!(even_rows(256, 16, 64), 4);
        assert_eq!(even_rows(3, 3, 2), 2);
        // Alone there is nothing to share out.
        assert_eq!([even_rows(32, 6, 1), even_rows(1, 64, 8), even_rows(0, 64, 8)], [6, 1, 1]);
        for batch in 1..200 {
            for (most, threads) in [(1, 2), (7, 2), (16, 3), (64, 4), (64, 16)] {
                let rows = even_rows(batch, most, threads);
                assert!((1..=most).contains(&rows) && rows <= batch, "{batch} {most} {threads}: {rows}");
            }
        }
    }
}

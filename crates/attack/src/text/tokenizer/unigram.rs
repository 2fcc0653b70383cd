//! Unigram models: of all ways to put a word together from pieces the likeliest (Kudo 2018), found from left to right (Viterbi 1967).

use std::collections::HashMap;

use super::{TokenizerError, within};

/// Pieces with the logarithms of their probabilities.
#[derive(Debug)]
pub(super) struct Unigram {
    /// In the order of their bytes.
    pieces: Vec<(String, Piece)>,
    /// What a character that no piece consists of costs.
    unknown_score: f64,
    pub(super) byte_fallback: bool,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    id: u32,
    score: f64,
}

/// A part of a word: where it ends, and its piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) end: usize,
    pub(super) id: Option<u32>,
}

/// The best way to a place in a word.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f64,
    begin: usize,
    id: Option<u32>,
}

impl Unigram {
    /// Of a vocabulary's pieces in the order of their ids, which `ids` has too.
    pub(super) fn new(
        scores: &[(String, f64)],
        ids: &HashMap<String, u32>,
        byte_fallback: bool,
    ) -> Result<Self, TokenizerError> {
        let least = scores.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
        let mut pieces = Vec::with_capacity(ids.len());
        for (text, id) in ids {
            within("bytes of a piece", text.len(), PIECE_BYTES_MAX)?;
            let score = usize::try_from(*id).ok().and_then(|id| scores.get(id)).map_or(least, |(_, score)| *score);
            pieces.push((text.clone(), Piece { id: *id, score }));
        }
        pieces.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { pieces, unknown_score: least - UNKNOWN_PENALTY, byte_fallback })
    }

    /// The parts of `word` on the likeliest way; neighbours that are `unknown` are one.
    pub(super) fn parts(&self, word: &str, unknown: Option<u32>) -> Vec<Part> {
        let mut best: Vec<Option<Best>> = vec![None; word.len() + 1];
        let offer = |best: &mut Vec<Option<Best>>, end: usize, offered: Best| {
            if let Some(known) = best.get_mut(end)
                && known.is_none_or(|known| offered.score > known.score)
            {
                *known = Some(offered);
            }
        };
        for (begin, c) in word.char_indices() {
            let before = if begin == 0 { Some(0.0) } else { best.get(begin).and_then(|best| Some((*best)?.score)) };
            let Some(before) = before else { continue };
            let (next, mut alone) = (begin + c.len_utf8(), false);
            for (end, Piece { id, score }) in self.beginning(word, begin) {
                offer(&mut best, end, Best { score: before + score, begin, id: Some(id) });
                alone |= end == next;
            }
            if !alone {
                offer(&mut best, next, Best { score: before + self.unknown_score, begin, id: unknown });
            }
        }
        let (mut parts, mut end) = (Vec::<Part>::new(), word.len());
        while let Some(Best { begin, id, .. }) = best.get(end).copied().flatten() {
            let joined = id == unknown && parts.last().is_some_and(|after| after.id == unknown);
            if !joined {
                parts.push(Part { end, id });
            }
            end = begin;
        }
        parts.reverse();
        parts
    }

    /// The pieces that `word` goes on with from `begin`, with where they end, the shortest first.
    fn beginning(&self, word: &str, begin: usize) -> impl Iterator<Item = (usize, Piece)> {
        let mut left = self.pieces.as_slice();
        let ahead = word.as_bytes().get(begin..).unwrap_or_default();
        ahead
            .iter()
            .enumerate()
            .map_while(move |(depth, byte)| {
                let byte_at = |piece: &(String, Piece)| piece.0.as_bytes().get(depth).copied();
                let from = left.partition_point(|piece| byte_at(piece) < Some(*byte));
                left = left.get(from..)?;
                left = left.get(..left.partition_point(|piece| byte_at(piece) == Some(*byte)))?;
                let (text, piece) = left.first()?;
                Some((text.len() == depth + 1).then_some((begin + depth + 1, *piece)))
            })
            .flatten()
    }
}

/// What an unknown character costs beyond the least likely piece.
const UNKNOWN_PENALTY: f64 = 10.0;
/// Longest piece, in bytes: four times those in use.
const PIECE_BYTES_MAX: usize = 256;

//! Character maps that SentencePiece compiled: a trie over bytes, and the texts that its values point to.
//!
//! The form is that of `darts-clone`'s double arrays: a unit of 32 bits has a label, says where its children lie (the place of
//! each is theirs, xor the byte), and whether a value lies among them. Sources: the SentencePiece and darts-clone documentation;
//! how a text is walked over, which is peculiar, is the reference implementation's.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use unicode_segmentation::UnicodeSegmentation as _;

use super::{TokenizerError, within};

/// See the module.
#[derive(Debug)]
pub(super) struct CharacterMap {
    units: Vec<u32>,
    /// Each ends with a zero.
    texts: String,
}

impl CharacterMap {
    /// From the base64 of `u32(bytes of the trie) ‖ trie ‖ texts`, little-endian.
    pub(super) fn parse(written: &str) -> Result<Self, TokenizerError> {
        within("bytes of a character map", written.len(), WRITTEN_BYTES_MAX)?;
        let damaged = |why: &str| TokenizerError::contradiction(format!("its character map {why}"));
        let bytes = STANDARD.decode(written).map_err(|_| damaged("is not base64"))?;
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("is cut short"))?;
        let size = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX);
        let (trie, texts) = rest.split_at_checked(size).ok_or_else(|| damaged("is cut short"))?;
        let (units, broken) = trie.as_chunks::<4>();
        if !broken.is_empty() || units.is_empty() {
            return Err(damaged("has a trie of no whole length"));
        }
        let texts = String::from_utf8(texts.to_vec()).map_err(|_| damaged("has texts that are not UTF-8"))?;
        Ok(Self { units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(), texts })
    }

    /// The text with whatever the map knows replaced: short grapheme clusters as a whole, others character by character. Nothing
    /// more comes once that is longer than `bytes_max`.
    pub(super) fn apply(&self, text: &str, bytes_max: usize) -> String {
        let mut made = String::with_capacity(text.len());
        for cluster in text.graphemes(true) {
            if made.len() > bytes_max {
                break;
            }
            if let Some(to) = self.replacement(cluster).filter(|_| cluster.len() < WHOLE_BYTES_END) {
                made.push_str(to);
                continue;
            }
            let mut one = [0; 4];
            for c in cluster.chars() {
                if made.len() > bytes_max {
                    break;
                }
                match self.replacement(c.encode_utf8(&mut one)) {
                    Some(to) => made.push_str(to),
                    None => made.push(c),
                }
            }
        }
        made
    }

    /// What the shortest beginning of `part` that the map knows stands for.
    fn replacement(&self, part: &str) -> Option<&str> {
        let mut unit = *self.units.first()?;
        let mut at = children(unit);
        for byte in part.bytes().take_while(|byte| *byte != 0) {
            at ^= u32::from(byte);
            unit = self.unit(at)?;
            if unit & LABEL != u32::from(byte) {
                return None;
            }
            at ^= children(unit);
            if unit & HAS_VALUE != 0 {
                let from = usize::try_from(self.unit(at)? & VALUE).ok()?;
                return self.texts.get(from..)?.split('\0').next();
            }
        }
        None
    }

    fn unit(&self, at: u32) -> Option<u32> {
        self.units.get(usize::try_from(at).ok()?).copied()
    }
}

/// How far from a unit its children lie, by exclusive or.
fn children(unit: u32) -> u32 {
    (unit >> 10) << ((unit & (1 << 9)) >> 6)
}

/// A unit's label; the highest bit is set in values, which no byte equals.
const LABEL: u32 = (1 << 31) | 0xff;
const HAS_VALUE: u32 = 1 << 8;
const VALUE: u32 = (1 << 31) - 1;
/// Bytes from which on a cluster is not looked up as a whole.
const WHOLE_BYTES_END: usize = 6;
/// Largest map as it is written: ten times those in use.
const WRITTEN_BYTES_MAX: usize = 4 << 20;

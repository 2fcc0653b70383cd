//! Runs of text between numbers.
//!
//! [`likely`] is the cheap pass over everything: it looks at four bytes at a time, as lanes that the compiler turns into
//! vector instructions, and points to places where eight bytes in a row may be text. Every run of eleven characters has
//! such a place; of random bytes one in two thousand does. [`run`] then tells how far the text reaches.

use std::ops::Range;

/// Bytes of a block, all lanes of which are tested together.
const BLOCK_BYTES: usize = 128;
/// Lanes of a block.
const LANES: usize = BLOCK_BYTES / 4;
/// Bytes behind a place that a run is followed.
const RUN_BYTES_MAX: usize = 64 << 10;

/// Calls `each` with places in `bytes` where eight bytes in a row are below 128 and no rare control characters.
pub(super) fn likely(bytes: &[u8], mut each: impl FnMut(usize)) {
    let mut at = 0;
    while let Some(block) = bytes.get(at..at + BLOCK_BYTES + 4).and_then(|block| block.first_chunk()) {
        let odd = odd_lanes(block);
        if has_pair(&odd) {
            for (lane, pair) in odd.windows(2).enumerate() {
                if matches!(pair, [0, 0]) {
                    each(at + 4 * lane);
                }
            }
        }
        at += BLOCK_BYTES;
    }
    // The rest is shorter than a block: every place of it is worth a look.
    (at..bytes.len()).step_by(4).for_each(each);
}

/// For each lane the high bits of bytes that are no text: above 127, or below a tabulator.
fn odd_lanes(block: &[u8; BLOCK_BYTES + 4]) -> [u32; LANES + 1] {
    let mut odd = [0; LANES + 1];
    for (lane, four) in odd.iter_mut().zip(block.chunks_exact(4)) {
        let word = four.first_chunk().copied().map_or(u32::MAX, u32::from_le_bytes);
        // A borrow from the byte below can only make a byte odd whose neighbour is odd already.
        *lane = (word | word.wrapping_sub(0x0909_0909)) & 0x8080_8080;
    }
    odd
}

fn has_pair(odd: &[u32; LANES + 1]) -> bool {
    let mut any = 0;
    for (first, second) in odd.iter().zip(odd.iter().skip(1)) {
        any |= u32::from(first | second == 0);
    }
    any != 0
}

/// The run of printable characters and line breaks around `at`, at most `back` bytes before it.
pub(super) fn run(bytes: &[u8], at: usize, back: usize) -> Range<usize> {
    let is_text = |byte: &&u8| matches!(**byte, 0x20..=0x7e | b'\n' | b'\r' | b'\t');
    let before = bytes.get(..at).unwrap_or_default().iter().rev().take(back).take_while(is_text).count();
    let behind = bytes.get(at..).unwrap_or_default().iter().take(RUN_BYTES_MAX).take_while(is_text).count();
    at - before..at + behind
}

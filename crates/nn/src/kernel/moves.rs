//! The checked door to what brings planes of numbers to convolutions: see [`simd::moves`](super::simd::moves).

use super::simd::moves::{self, Halve, LANES, Pad};

/// Planes of `[rows, width]` numbers become planes of `[_, pitch]`, `length` numbers each; their first row begins after
/// `before` numbers, and everything else is 0. Some zeros are written behind the last: at most [`PAD_BEHIND`].
pub(crate) fn pad((from, [rows, width]): (&[f32], [usize; 2]), to: &mut [f32], [length, before, pitch]: [usize; 3]) {
    if rows == 0 || width == 0 {
        return;
    }
    let planes = from.len() / (rows * width);
    assert!(planes * length + PAD_BEHIND <= to.len(), "the planes lie inside their buffer");
    assert!(width <= pitch && before + (rows - 1) * pitch + width <= length, "rows lie inside their plane");
    #[expect(unsafe_code, reason = "the interface of the SIMD copy is raw pointers")]
    // SAFETY: the asserts hold every row inside its plane, the planes inside `to` with a vector behind the last.
    unsafe {
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        moves::pad(&Pad { planes, rows, width, from, to, length, before, pitch });
    }
}

/// Cuts rows of `width` numbers, one behind the other, into even and odd columns: these begin at `evens` and `odds`, and at each
/// row's place behind them.
pub(crate) fn halve((from, width): (&[f32], usize), (to, rows): (&mut [f32], &[u32]), [evens, odds]: [usize; 2]) {
    let furthest = rows.iter().copied().max().unwrap_or(0) as usize;
    assert!(from.len() == rows.len() * width, "there is a place for each row");
    assert!(furthest + evens.max(odds) + width.div_ceil(2) <= to.len(), "every place lies inside the buffer");
    #[expect(unsafe_code, reason = "the interface of the SIMD copy is raw pointers")]
    // SAFETY: the asserts hold the rows inside `from` and the longer half inside `to` at every place.
    unsafe {
        moves::halve(&Halve { width, from: from.as_ptr(), to: to.as_mut_ptr(), rows, evens, odds });
    }
}

/// A vector of zeros.
pub(crate) const PAD_BEHIND: usize = LANES;

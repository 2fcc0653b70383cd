//! What only moves numbers:
//!
//! * [`settle`]: sums, turned so that each column is contiguous, to where they belong;
//! * [`pad`]: planes with a border of zeros;
//! * [`halve`]: planes cut into their even and their odd columns.
//!
//! A machine with AVX-512 has AVX2 too, and memory is what limits these, so they are written once, for that.

use super::Start;

/// Sums on their way into a result of `columns` rows, `n` numbers each.
#[derive(Clone, Copy)]
pub(crate) struct Settle {
    pub(crate) n: usize,
    pub(crate) columns: usize,
    pub(crate) sums: *const f32,
    /// From one row of sums to the next.
    pub(crate) width: usize,
    pub(crate) c: *mut f32,
    pub(crate) c_row: usize,
    /// What the sums are added to; its rows are those of the result.
    pub(crate) start: Start,
    /// What is below 0 becomes 0, and so does what is no number.
    pub(crate) rectify: bool,
}

/// Planes of `rows × width` numbers on their way into planes of `length` numbers: the first row begins after `before`, each
/// other `pitch` later, and everything else is 0.
#[derive(Clone, Copy)]
pub(crate) struct Pad {
    pub(crate) planes: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) from: *const f32,
    pub(crate) to: *mut f32,
    pub(crate) length: usize,
    pub(crate) before: usize,
    pub(crate) pitch: usize,
}

/// Rows of `width` numbers, one behind the other, whose even columns go to one place and whose odd ones to another: row `i` to
/// `to[evens + rows[i]]` and `to[odds + rows[i]]`.
#[derive(Clone, Copy)]
pub(crate) struct Halve<'r> {
    pub(crate) width: usize,
    pub(crate) from: *const f32,
    pub(crate) to: *mut f32,
    pub(crate) rows: &'r [u32],
    pub(crate) evens: usize,
    pub(crate) odds: usize,
}

/// Numbers in a vector.
pub(crate) const LANES: usize = 8;

/// Writes the result; nothing where there is no kernel.
///
/// # Safety
/// `sums` has `n` rows, filled up to a multiple of [`LANES`], of `width` readable numbers, a multiple of 8 and not below
/// `columns`;
/// for all `j < columns`, `i < n` is `c + j·c_row + i` readable, writable and reachable through nothing else; a start has
/// `columns` numbers.
pub(crate) unsafe fn settle(o: &Settle) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the features are there; the rest is the caller's promise.
            unsafe { avx2::settle(o) }
        }
    }
}

/// Copies the planes; nothing where there is no kernel.
///
/// # Safety
/// `from` has `planes · rows · width` readable numbers; `to` has `planes · length` numbers and [`LANES`] more, writable and
/// reachable through nothing else; `width` is at most `pitch`, and `before` with all rows but the last, `pitch` each, and
/// the last one's `width` at most `length`.
pub(crate) unsafe fn pad(o: &Pad) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the features are there; the rest is the caller's promise.
            unsafe { avx2::pad(o) }
        }
    }
}

/// Cuts the rows; nothing where there is no kernel.
///
/// # Safety
/// `from` has `width` readable numbers for each row; behind `to` and each row's place are `width.div_ceil(2)` numbers from
/// `evens` on and `width / 2` from `odds` on, writable and reachable through nothing else.
pub(crate) unsafe fn halve(o: &Halve<'_>) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the features are there; the rest is the caller's promise.
            unsafe { avx2::halve(o) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256, _mm_loadu_ps, _mm256_add_ps, _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps128_ps256,
        _mm256_insertf128_ps, _mm256_loadu_ps, _mm256_permute4x64_pd, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    };

    use super::super::avx2::{LANES, mask, masked_load, masked_store, rectified};
    use super::{Halve, Pad, Settle, Start};

    /// Columns that are turned at once.
    const QUAD: usize = 4;

    /// # Safety
    /// As [`super::settle`]; the CPU has the features.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn settle(o: &Settle) {
        for first in (0..o.columns).step_by(QUAD) {
            let part = Settle {
                columns: QUAD.min(o.columns - first),
                sums: o.sums.wrapping_add(first),
                c: o.c.wrapping_add(first * o.c_row),
                start: o.start.skip(first),
                ..*o
            };
            // SAFETY: the part lies inside the whole; four columns do, because the width is a multiple of 8.
            unsafe { if part.columns == QUAD { quad::<QUAD>(&part) } else { quads(&part) } }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn quads(o: &Settle) {
        match o.columns {
            // SAFETY: the caller's promise.
            1 => unsafe { quad::<1>(o) },
            // SAFETY: the caller's promise.
            2 => unsafe { quad::<2>(o) },
            // SAFETY: the caller's promise.
            3 => unsafe { quad::<3>(o) },
            _ => {}
        }
    }

    /// The first `COLUMNS` of four columns.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn quad<const COLUMNS: usize>(o: &Settle) {
        // Pointers that walk: their last step may lead out of the buffers, which only `wrapping_add` may do.
        let (mut from, mut to) = (o.sums, o.c);
        for _ in 0..o.n / LANES {
            // SAFETY: a vector of rows from here on.
            unsafe { block::<COLUMNS, false>(o, from, to, LANES) };
            (from, to) = (from.wrapping_add(o.width.wrapping_mul(LANES)), to.wrapping_add(LANES));
        }
        if !o.n.is_multiple_of(LANES) {
            // SAFETY: the rows that are left, filled up.
            unsafe { block::<COLUMNS, true>(o, from, to, o.n % LANES) };
        }
    }

    /// A vector of rows of sums, of which `count` are there, become as many numbers of each column.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn block<const COLUMNS: usize, const PARTLY: bool>(
        o: &Settle,
        from: *const f32,
        to: *mut f32,
        count: usize,
    ) {
        let rows: [__m256; QUAD] = std::array::from_fn(|row| {
            let from = from.wrapping_add(row.wrapping_mul(o.width));
            let below = from.wrapping_add(o.width.wrapping_mul(QUAD));
            // SAFETY: four numbers of this row and of the fourth after it.
            let (low, high) = unsafe { (_mm_loadu_ps(from), _mm_loadu_ps(below)) };
            _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
        });
        let [first, second, third, fourth] = rows;
        let low = [_mm256_unpacklo_ps(first, second), _mm256_unpacklo_ps(third, fourth)];
        let high = [_mm256_unpackhi_ps(first, second), _mm256_unpackhi_ps(third, fourth)];
        let turned = [
            _mm256_shuffle_ps::<0x44>(low[0], low[1]),
            _mm256_shuffle_ps::<0xee>(low[0], low[1]),
            _mm256_shuffle_ps::<0x44>(high[0], high[1]),
            _mm256_shuffle_ps::<0xee>(high[0], high[1]),
        ];
        let mask = mask(count);
        for (column, sums) in turned.iter().take(COLUMNS).enumerate() {
            let to = to.wrapping_add(column.wrapping_mul(o.c_row));
            // SAFETY: `count` numbers of this row of the result; a start has one number for each row.
            unsafe {
                let sums = match o.start {
                    Start::Zero => *sums,
                    Start::Rows(rows) => _mm256_add_ps(*sums, _mm256_set1_ps(*rows.wrapping_add(column))),
                    Start::Result => {
                        let old = if PARTLY { masked_load(to, mask) } else { _mm256_loadu_ps(to) };
                        _mm256_add_ps(*sums, old)
                    }
                };
                let sums = if o.rectify { rectified(sums) } else { sums };
                if PARTLY { masked_store(to, mask, sums) } else { _mm256_storeu_ps(to, sums) }
            }
        }
    }

    /// Every vector may write zeros behind its end; what belongs there is written later.
    ///
    /// # Safety
    /// As [`super::pad`]; the CPU has the features.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn pad(o: &Pad) {
        let zero = _mm256_setzero_ps();
        let whole = o.width / LANES * LANES;
        let mask = mask(o.width - whole);
        let (mut from, mut to) = (o.from, o.to);
        for _ in 0..o.planes {
            let mut at = 0;
            while at < o.before {
                // SAFETY: below `length`, or in the vector behind it.
                unsafe { _mm256_storeu_ps(to.wrapping_add(at), zero) };
                at += LANES;
            }
            at = o.before;
            for row in 0..o.rows {
                let row_end = if row + 1 < o.rows { at + o.pitch } else { o.length };
                let mut x = 0;
                while x < whole {
                    // SAFETY: whole vectors of this row.
                    unsafe { _mm256_storeu_ps(to.wrapping_add(at + x), _mm256_loadu_ps(from.wrapping_add(x))) };
                    x += LANES;
                }
                if whole < o.width {
                    // SAFETY: the row's last numbers; what is written behind them is below `length`, or in the vector
                    // behind it.
                    unsafe { _mm256_storeu_ps(to.wrapping_add(at + x), masked_load(from.wrapping_add(x), mask)) };
                    x += LANES;
                }
                while at + x < row_end {
                    // SAFETY: below `length`, or in the vector behind it.
                    unsafe { _mm256_storeu_ps(to.wrapping_add(at + x), zero) };
                    x += LANES;
                }
                from = from.wrapping_add(o.width);
                at += o.pitch;
            }
            to = to.wrapping_add(o.length);
        }
    }

    /// # Safety
    /// As [`super::halve`]; the CPU has the features.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn halve(o: &Halve<'_>) {
        let (whole, rest) = (o.width / (2 * LANES), o.width % (2 * LANES));
        let loads = [mask(rest.min(LANES)), mask(rest.saturating_sub(LANES))];
        let stores = [mask(rest.div_ceil(2)), mask(rest / 2)];
        let mut from = o.from;
        for row in o.rows {
            let to = o.to.wrapping_add(*row as usize);
            let mut to = [to.wrapping_add(o.evens), to.wrapping_add(o.odds)];
            for _ in 0..whole {
                // SAFETY: two vectors of this row, and a place for one of either half.
                unsafe {
                    let numbers = halves(_mm256_loadu_ps(from), _mm256_loadu_ps(from.wrapping_add(LANES)));
                    to.iter().zip(numbers).for_each(|(to, half)| _mm256_storeu_ps(*to, half));
                }
                from = from.wrapping_add(2 * LANES);
                to = to.map(|to| to.wrapping_add(LANES));
            }
            if rest > 0 {
                // SAFETY: the row has `rest` numbers from here on, and as many of either half have a place.
                unsafe {
                    let last = masked_load(from.wrapping_add(LANES), loads[1]);
                    let numbers = halves(masked_load(from, loads[0]), last);
                    masked_store(to[0], stores[0], numbers[0]);
                    masked_store(to[1], stores[1], numbers[1]);
                }
                from = from.wrapping_add(rest);
            }
        }
    }

    /// The even and the odd numbers of two vectors.
    #[target_feature(enable = "avx2,fma")]
    fn halves(first: __m256, second: __m256) -> [__m256; 2] {
        let mixed = [_mm256_shuffle_ps::<0x88>(first, second), _mm256_shuffle_ps::<0xdd>(first, second)];
        mixed.map(|mixed| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(mixed))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_sums_are_turned_and_nothing_else_is_written() {
        if super::super::panel_width().is_none() {
            return;
        }
        let (width, shapes) = (16, [(1, 1), (7, 3), (8, 4), (9, 16), (30, 13), (16, 6)]);
        for (n, columns) in shapes {
            let sums: Vec<f32> = (0..(n + LANES) * width).map(|at| at as f32 - 50.0).collect();
            let bias: Vec<f32> = (0..columns).map(|column| column as f32).collect();
            for (which, rectify) in [(0, false), (1, true), (2, true), (2, false)] {
                let row = n + 2;
                let old = vec![3.0f32; columns * row];
                let mut c = old.clone();
                let start = [Start::Zero, Start::Rows(bias.as_ptr()), Start::Result][which];
                let (from, to) = (sums.as_ptr(), c.as_mut_ptr());
                // SAFETY: the buffers are as big as the contract says.
                unsafe { settle(&Settle { n, columns, sums: from, width, c: to, c_row: row, start, rectify }) };
                for (at, found) in c.iter().enumerate() {
                    let (column, i) = (at / row, at % row);
                    let sum = sums[i * width + column] + [0.0, bias[column], 3.0][which];
                    let expected = if rectify { sum.max(0.0) } else { sum };
                    let expected = if i < n { expected } else { 3.0 };
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{n} by {columns}, start {which}, at {column},{i}: {found}"
                    );
                }
            }
        }
    }

    #[test]
    fn padding_is_zero_and_nothing_behind_the_margin_is_written() {
        if super::super::panel_width().is_none() {
            return;
        }
        let shapes =
            [(1, 1, [0; 4]), (3, 7, [1; 4]), (2, 8, [0, 0, 0, 1]), (4, 19, [2, 11, 0, 0]), (5, 16, [0, 1, 3, 9])];
        for (rows, width, [top, left, bottom, right]) in shapes {
            let (pitch, planes) = (left + width + right, 3);
            let length = (top + rows + bottom) * pitch;
            let from: Vec<f32> = (1..=planes * rows * width).map(|at| at as f32).collect();
            let mut to = vec![-1.0f32; planes * length + 2 * LANES];
            let (source, target, before) = (from.as_ptr(), to.as_mut_ptr(), top * pitch + left);
            // SAFETY: the buffers are as big as the contract says.
            unsafe { pad(&Pad { planes, rows, width, from: source, to: target, length, before, pitch }) };
            let mut expected = vec![0.0f32; planes * length];
            for (at, number) in from.iter().enumerate() {
                let (plane, row, column) = (at / (rows * width), at / width % rows, at % width);
                expected[plane * length + before + row * pitch + column] = *number;
            }
            assert_eq!(to[..planes * length], expected, "{rows} by {width}");
            assert_eq!(to[planes * length + LANES..], [-1.0; LANES], "{rows} by {width}");
        }
    }

    #[test]
    fn halves_are_every_second_number_and_nothing_else_is_written() {
        if super::super::panel_width().is_none() {
            return;
        }
        let widths = [1usize, 2, 7, 8, 15, 16, 17, 28, 31, 32, 33, 64, 97];
        for width in widths {
            let (count, pitch) = (3, width.div_ceil(2) + 2);
            let from: Vec<f32> = (1..=count * width).map(|at| at as f32).collect();
            let rows: Vec<u32> = (0..count).map(|row| u32::try_from((count - 1 - row) * pitch).unwrap_or(0)).collect();
            let (evens, odds) = (1, count * pitch + 1);
            let mut expected = vec![-1.0f32; 2 * count * pitch + 1];
            let mut to = expected.clone();
            let (source, target) = (from.as_ptr(), to.as_mut_ptr());
            // SAFETY: the buffers are as big as the contract says.
            unsafe { halve(&Halve { width, from: source, to: target, rows: &rows, evens, odds }) };
            for (at, number) in from.iter().enumerate() {
                let (row, column) = (at / width, at % width);
                expected[[evens, odds][column % 2] + rows[row] as usize + column / 2] = *number;
            }
            assert_eq!(to, expected, "{width} numbers");
        }
    }
}

//! Products whose left operand is read where it lies: one number at a time, spread over the lanes, each of which belongs to
//! a column of the result.
//!
//! * [`product`]: sums for a few rows and two vectors of columns, the rows' numbers at any places of a source;
//! * [`settle`]: such sums, turned so that each column is contiguous, to where they belong;
//! * [`pad`]: planes with a border of zeros.
//!
//! A machine with AVX-512 has AVX2 too, so what does not multiply is written once, for that.

use super::Start;

/// Raw operands: for all `i < n`, `p < k` and columns `j`, `sums[i][j]` is the sum over `p` of
/// `source[places[i] + offsets[p]] · weights[p][j]`. Rows of weights and sums are [`super::panel_width`] numbers.
#[derive(Clone, Copy)]
pub(crate) struct Direct {
    pub(crate) n: usize,
    pub(crate) places: *const usize,
    pub(crate) source: *const f32,
    pub(crate) k: usize,
    pub(crate) offsets: *const u32,
    pub(crate) weights: *const f32,
    pub(crate) sums: *mut f32,
    /// Whether one vector of columns is enough.
    pub(crate) narrow: bool,
    /// Add to what the sums are.
    pub(crate) add: bool,
}

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

/// Computes the sums; nothing where there is no kernel.
///
/// # Safety
/// `n` places and `k` offsets are readable, and so is `source` at the sum of any two of them; `weights` has `k` rows; `sums`
/// has `n` rows, readable, writable and reachable through nothing else.
pub(crate) unsafe fn product(o: &Direct) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there; the rest is the caller's promise.
            unsafe { avx512::product(o) }
        } else if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            unsafe { avx2::product(o) }
        }
    }
}

/// Writes the result; nothing where there is no kernel.
///
/// # Safety
/// `sums` has `n` rows, filled up to a multiple of 8, of `width` readable numbers, a multiple of 8 and not below `columns`;
/// for all `j < columns`, `i < n` is `c + j·c_row + i` readable, writable and reachable through nothing else; a start has
/// `columns` numbers.
pub(crate) unsafe fn settle(o: &Settle) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the features are there; the rest is the caller's promise.
            unsafe { moves::settle(o) }
        }
    }
}

/// Copies the planes; nothing where there is no kernel.
///
/// # Safety
/// `from` has `planes · rows · width` readable numbers; `to` has `planes · length` numbers and 8 more, writable and reachable
/// through nothing else; `width` is at most `pitch`, and `before` with all rows but the last, `pitch` each, and the
/// last one's `width` at most `length`.
pub(crate) unsafe fn pad(o: &Pad) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the features are there; the rest is the caller's promise.
            unsafe { moves::pad(o) }
        }
    }
}

/// The kernel of one instruction set: `$first` are those that zero, spread, multiply-add, load, store and add vectors.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    (
        $module:ident, $features:literal, lanes $lanes:literal, rows $most_rows:literal [$($rows:literal)+],
        $zero:ident, $spread:ident, $multiply_add:ident, $load:ident, $store:ident, $add:ident
    ) => {
        mod $module {
            use std::arch::x86_64::*;

            use super::Direct;

            const WIDTH: usize = 2 * $lanes;

            /// `ROWS` rows of sums, the first `VECTORS` vectors of each.
            #[target_feature(enable = $features)]
            unsafe fn tile<const ROWS: usize, const VECTORS: usize>(o: &Direct) {
                let mut sums = [[$zero(); VECTORS]; ROWS];
                // SAFETY: the caller's promise: a place for each row.
                let rows: [*const f32; ROWS] =
                    std::array::from_fn(|row| unsafe { o.source.wrapping_add(*o.places.wrapping_add(row)) });
                // The last steps lead out of the operands, which only `wrapping_add` may do.
                let (mut offset, mut weights) = (o.offsets, o.weights);
                for _ in 0..o.k {
                    // SAFETY: fewer than k offsets were read.
                    let at = unsafe { *offset } as usize;
                    offset = offset.wrapping_add(1);
                    let mut b = [$zero(); VECTORS];
                    for (v, b) in b.iter_mut().enumerate() {
                        // SAFETY: a row of the weights has two vectors.
                        *b = unsafe { $load(weights.wrapping_add(v * $lanes)) };
                    }
                    weights = weights.wrapping_add(WIDTH);
                    for (row, sums) in rows.iter().zip(&mut sums) {
                        // SAFETY: the caller's promise: the source is readable at any place with any offset.
                        let a = unsafe { $spread(*row.wrapping_add(at)) };
                        for (sum, b) in sums.iter_mut().zip(&b) {
                            *sum = $multiply_add(a, *b, *sum);
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        let to = o.sums.wrapping_add(row * WIDTH + v * $lanes);
                        // SAFETY: a row of the sums has two vectors.
                        unsafe { $store(to, if o.add { $add(*sum, $load(to)) } else { *sum }) }
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn tile_of<const ROWS: usize>(o: &Direct) {
                // SAFETY: the caller's promise.
                unsafe { if o.narrow { tile::<ROWS, 1>(o) } else { tile::<ROWS, 2>(o) } }
            }

            /// # Safety
            /// As [`super::product`]; the CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn product(o: &Direct) {
                for i in (0..o.n).step_by($most_rows) {
                    let (places, sums) = (o.places.wrapping_add(i), o.sums.wrapping_add(i * WIDTH));
                    let part = Direct { n: $most_rows.min(o.n - i), places, sums, ..*o };
                    match part.n {
                        // SAFETY: the part lies inside the whole.
                        $($rows => unsafe { tile_of::<$rows>(&part) },)+
                        _ => {}
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel! {
    avx512, "avx512f", lanes 16, rows 8 [1 2 3 4 5 6 7 8],
    _mm512_setzero_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps
}

#[cfg(target_arch = "x86_64")]
kernel! {
    avx2, "avx2,fma", lanes 8, rows 6 [1 2 3 4 5 6],
    _mm256_setzero_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps
}

/// What only moves numbers.
#[cfg(target_arch = "x86_64")]
mod moves {
    use std::arch::x86_64::{
        __m256, _mm_loadu_ps, _mm256_add_ps, _mm256_castps128_ps256, _mm256_insertf128_ps, _mm256_loadu_ps,
        _mm256_set1_ps, _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
    };

    use super::super::avx2::{LANES, mask, masked_load, masked_store, rectified};
    use super::{Pad, Settle, Start};

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
            // SAFETY: eight rows from here on.
            unsafe { block::<COLUMNS, false>(o, from, to, LANES) };
            (from, to) = (from.wrapping_add(o.width.wrapping_mul(LANES)), to.wrapping_add(LANES));
        }
        if !o.n.is_multiple_of(LANES) {
            // SAFETY: the rows that are left, filled up to eight.
            unsafe { block::<COLUMNS, true>(o, from, to, o.n % LANES) };
        }
    }

    /// Eight rows of sums, of which `count` are there, become eight numbers of each column.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    type Kernel = Box<dyn Fn(&Direct)>;

    /// The kernels that this machine can run: name, numbers in a row of sums, and the kernel.
    fn kernels() -> Vec<(&'static str, usize, Kernel)> {
        let mut found: Vec<(&'static str, usize, Kernel)> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY, for both: the test's operands are as big as their shapes say, and the features are asked for before the
            // kernel is listed.
            if std::arch::is_x86_feature_detected!("avx512f") {
                found.push(("avx512", 32, Box::new(|o| unsafe { avx512::product(o) })));
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                found.push(("avx2", 16, Box::new(|o| unsafe { avx2::product(o) })));
            }
        }
        found
    }

    #[test]
    fn sums_are_what_their_definition_says() {
        let mut random = Random::new(5);
        for (name, width, kernel) in kernels() {
            for (n, k) in [(1, 1), (5, 3), (6, 16), (8, 7), (9, 40), (13, 2), (24, 100)] {
                for (narrow, add) in [(false, false), (true, false), (false, true), (true, true)] {
                    let mut numbers =
                        |count: usize| (0..count).map(|_| random.uniform_in(-1.0, 1.0)).collect::<Vec<f32>>();
                    let (source, weights, old) = (numbers(200), numbers(k * width), numbers(n * width));
                    let places: Vec<usize> = (0..n).map(|_| random.below(100)).collect();
                    let offsets: Vec<u32> = (0..k).map(|_| u32::try_from(random.below(101)).unwrap_or(0)).collect();
                    let mut sums = old.clone();
                    kernel(&Direct {
                        n,
                        places: places.as_ptr(),
                        source: source.as_ptr(),
                        k,
                        offsets: offsets.as_ptr(),
                        weights: weights.as_ptr(),
                        sums: sums.as_mut_ptr(),
                        narrow,
                        add,
                    });
                    for at in 0..n * width {
                        let (i, j) = (at / width, at % width);
                        let term = |p: usize| {
                            let a = source[places[i] + offsets[p] as usize];
                            f64::from(a) * f64::from(weights[p * width + j])
                        };
                        let untouched = narrow && j >= width / 2;
                        let start = if add || untouched { f64::from(old[at]) } else { 0.0 };
                        let expected = start + if untouched { 0.0 } else { (0..k).map(term).sum::<f64>() };
                        let gap = (f64::from(sums[at]) - expected).abs();
                        assert!(gap < 1e-5, "{name} {n} by {k}, narrow {narrow}, add {add}, at {i},{j}: {gap:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn settled_sums_are_turned_and_nothing_else_is_written() {
        if super::super::panel_width().is_none() {
            return;
        }
        let width = 16;
        for (n, columns) in [(1, 1), (7, 3), (8, 4), (9, 16), (30, 13), (16, 6)] {
            let sums: Vec<f32> = (0..(n + 8) * width).map(|at| at as f32 - 50.0).collect();
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
        for (rows, width, [top, left, bottom, right]) in
            [(1, 1, [0; 4]), (3, 7, [1; 4]), (2, 8, [0, 0, 0, 1]), (4, 19, [2, 11, 0, 0]), (5, 16, [0, 1, 3, 9])]
        {
            let (pitch, planes) = (left + width + right, 3);
            let length = (top + rows + bottom) * pitch;
            let from: Vec<f32> = (1..=planes * rows * width).map(|at| at as f32).collect();
            let mut to = vec![-1.0f32; planes * length + 16];
            let (source, target, before) = (from.as_ptr(), to.as_mut_ptr(), top * pitch + left);
            // SAFETY: the buffers are as big as the contract says.
            unsafe { pad(&Pad { planes, rows, width, from: source, to: target, length, before, pitch }) };
            let mut expected = vec![0.0f32; planes * length];
            for (at, number) in from.iter().enumerate() {
                let (plane, row, column) = (at / (rows * width), at / width % rows, at % width);
                expected[plane * length + before + row * pitch + column] = *number;
            }
            assert_eq!(to[..planes * length], expected, "{rows} by {width}");
            assert_eq!(to[planes * length + 8..], [-1.0; 8], "{rows} by {width}");
        }
    }
}

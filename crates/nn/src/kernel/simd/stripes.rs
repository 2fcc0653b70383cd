//! Products whose right operand is read where it lies: a vector of neighbouring numbers at a time, a stripe, each lane of
//! which belongs to a column of the result.
//!
//! A tile is a few rows of the left operand by a few stripes; the fewer rows, the more stripes, so that there are always
//! enough sums on their way. A tile that has fewer is filled up with stripes of which nothing is kept.

use super::Start;

/// The columns of the result, one behind the other: `rows` times `width`. In the source the numbers of neighbouring ones lie
/// beside each other, those of the next row `pitch` after those of the last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Columns {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) pitch: usize,
}

/// Raw operands, with at least one column: for all `i < m` and every column at `y, x`, `c[i · c_row + y · width + x]` becomes the sum over `p < k` of
/// `a[i · a_row + p] · source[offsets[p] + y · pitch + x]`.
#[derive(Clone, Copy)]
pub(crate) struct Striped<'s> {
    pub(crate) m: usize,
    pub(crate) a: *const f32,
    pub(crate) a_row: usize,
    pub(crate) source: *const f32,
    pub(crate) offsets: &'s [u32],
    pub(crate) columns: Columns,
    pub(crate) c: *mut f32,
    pub(crate) c_row: usize,
    pub(crate) start: Start,
    /// What is below 0 becomes 0, and so does what is no number.
    pub(crate) rectify: bool,
}

/// At most a vector of neighbouring columns.
#[derive(Clone, Copy, Default)]
struct Stripe {
    /// Their place in the source, before a row's own offset.
    from: usize,
    /// The first of them.
    to: usize,
    count: usize,
}

/// Hands out stripes, and empty ones when there are no more.
struct Walk {
    columns: Columns,
    row: usize,
    x: usize,
}

impl Walk {
    /// `columns` has some.
    fn new(columns: Columns) -> Self {
        Self { columns, row: 0, x: 0 }
    }

    fn ended(&self) -> bool {
        self.row == self.columns.rows
    }

    #[inline]
    fn next(&mut self, lanes: usize) -> Stripe {
        if self.ended() {
            return Stripe::default();
        }
        let Columns { width, pitch, .. } = self.columns;
        // INVARIANT: both are below the lengths of the operands, so nothing overflows.
        let place = |pitch: usize| self.row.wrapping_mul(pitch).wrapping_add(self.x);
        let stripe = Stripe { from: place(pitch), to: place(width), count: lanes.min(width.wrapping_sub(self.x)) };
        self.x = self.x.wrapping_add(lanes);
        if self.x >= width {
            (self.row, self.x) = (self.row.wrapping_add(1), 0);
        }
        stripe
    }
}

/// Computes the product; nothing where there is no kernel.
///
/// # Safety
/// `a` has `m` rows of as many readable numbers as there are offsets; `source` is readable for a whole vector at every
/// column's place with every offset, and at the offset alone; every column of all `m` rows of the result is readable,
/// writable and reachable through nothing else; a start has `m` numbers.
pub(crate) unsafe fn product(o: &Striped<'_>) {
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

/// The kernel of one instruction set: by the number of rows, how many stripes a tile has; the functions are those that zero,
/// spread, multiply-add, load and store vectors.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    (
        $module:ident, $features:literal, rows $most_rows:literal [$($rows:literal by $stripes:literal)+],
        $zero:ident, $spread:ident, $multiply_add:ident, $load:ident, $store:ident
    ) => {
        mod $module {
            use std::arch::x86_64::*;

            use super::super::$module::{LANES, add, mask, masked_load, masked_store, rectified};
            use super::{Start, Stripe, Striped, Walk};

            /// `ROWS` rows by `STRIPES` stripes, the last of which may be empty.
            #[target_feature(enable = $features)]
            unsafe fn tile<const ROWS: usize, const STRIPES: usize>(o: &Striped<'_>, stripes: [Stripe; STRIPES]) {
                let mut sums = [[$zero(); STRIPES]; ROWS];
                // Pointers may lead out of the operands where nothing is read, which only `wrapping_add` allows.
                let from = stripes.map(|stripe| o.source.wrapping_add(stripe.from));
                let rows: [*const f32; ROWS] = std::array::from_fn(|row| o.a.wrapping_add(row.wrapping_mul(o.a_row)));
                for (p, offset) in o.offsets.iter().enumerate() {
                    let mut b = [$zero(); STRIPES];
                    for (b, from) in b.iter_mut().zip(&from) {
                        // SAFETY: the caller's promise: a vector at any stripe's place with any offset.
                        *b = unsafe { $load(from.wrapping_add(*offset as usize)) };
                    }
                    for (row, sums) in rows.iter().zip(&mut sums) {
                        // SAFETY: a row of A has a number for each offset.
                        let a = unsafe { $spread(*row.wrapping_add(p)) };
                        for (sum, b) in sums.iter_mut().zip(&b) {
                            *sum = $multiply_add(a, *b, *sum);
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    let to = o.c.wrapping_add(row.wrapping_mul(o.c_row));
                    for (sum, stripe) in sums.iter().zip(&stripes) {
                        if stripe.count == 0 {
                            break;
                        }
                        let to = to.wrapping_add(stripe.to);
                        let (whole, mask) = (stripe.count == LANES, mask(stripe.count));
                        // SAFETY: the stripe's columns of this row of C. A start has one number for each row.
                        unsafe {
                            let sum = match o.start {
                                Start::Zero => *sum,
                                Start::Result => add(*sum, if whole { $load(to) } else { masked_load(to, mask) }),
                                Start::Rows(rows) => add(*sum, $spread(*rows.wrapping_add(row))),
                            };
                            let sum = if o.rectify { rectified(sum) } else { sum };
                            if whole { $store(to, sum) } else { masked_store(to, mask, sum) }
                        }
                    }
                }
            }

            /// `ROWS` rows by all stripes.
            #[target_feature(enable = $features)]
            unsafe fn rows<const ROWS: usize, const STRIPES: usize>(o: &Striped<'_>) {
                let mut walk = Walk::new(o.columns);
                while !walk.ended() {
                    let stripes = std::array::from_fn(|_| walk.next(LANES));
                    // SAFETY: the caller's promise.
                    unsafe { tile::<ROWS, STRIPES>(o, stripes) };
                }
            }

            /// # Safety
            /// As [`super::product`]; the CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn product(o: &Striped<'_>) {
                for i in (0..o.m).step_by($most_rows) {
                    let part = Striped {
                        m: $most_rows.min(o.m - i),
                        a: o.a.wrapping_add(i.wrapping_mul(o.a_row)),
                        c: o.c.wrapping_add(i.wrapping_mul(o.c_row)),
                        start: o.start.skip(i),
                        ..*o
                    };
                    match part.m {
                        // SAFETY: the part lies inside the whole.
                        $($rows => unsafe { rows::<$rows, $stripes>(&part) },)+
                        _ => {}
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel! {
    avx512, "avx512f", rows 8 [1 by 8 2 by 8 3 by 6 4 by 5 5 by 4 6 by 4 7 by 3 8 by 2],
    _mm512_setzero_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_storeu_ps
}

#[cfg(target_arch = "x86_64")]
kernel! {
    avx2, "avx2,fma", rows 6 [1 by 8 2 by 4 3 by 3 4 by 2 5 by 2 6 by 2],
    _mm256_setzero_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_storeu_ps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    type Kernel = Box<dyn Fn(&Striped<'_>)>;

    /// The kernels that this machine can run: name, lanes, and the kernel.
    fn kernels() -> Vec<(&'static str, usize, Kernel)> {
        let mut found: Vec<(&'static str, usize, Kernel)> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY, for both: the test's operands are as big as their shapes say, and the features are asked for before the
            // kernel is listed.
            if std::arch::is_x86_feature_detected!("avx512f") {
                found.push(("avx512", 16, Box::new(|o| unsafe { avx512::product(o) })));
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                found.push(("avx2", 8, Box::new(|o| unsafe { avx2::product(o) })));
            }
        }
        found
    }

    #[test]
    fn columns_are_what_their_definition_says_and_nothing_else_is_written() {
        let mut random = Random::new(7);
        for (name, lanes, kernel) in kernels() {
            for (m, k, [rows, width]) in [
                (1, 1, [1, 1]),
                (1, 9, [7, 17]),
                (2, 16, [5, 3]),
                (3, 7, [1, 99]),
                (4, 20, [3, 8]),
                (7, 3, [2, 16]),
                (8, 16, [14, 14]),
                (21, 5, [4, 33]),
            ] {
                for which in 0..3 {
                    let mut numbers =
                        |count: usize| (0..count).map(|_| random.uniform_in(-1.0, 1.0)).collect::<Vec<f32>>();
                    let (columns, pitch) = (rows * width, width + 2);
                    let row = columns + 3;
                    let (source, a) = (numbers(200 + rows * pitch + lanes), numbers(m * (k + 2)));
                    let (old, bias) = (numbers(m * row), numbers(m));
                    let offsets: Vec<u32> = (0..k).map(|_| u32::try_from(random.below(200)).unwrap_or(0)).collect();
                    let mut c = old.clone();
                    let start = [Start::Zero, Start::Rows(bias.as_ptr()), Start::Result][which];
                    kernel(&Striped {
                        m,
                        a: a.as_ptr(),
                        a_row: k + 2,
                        source: source.as_ptr(),
                        offsets: &offsets,
                        columns: Columns { rows, width, pitch },
                        c: c.as_mut_ptr(),
                        c_row: row,
                        start,
                        rectify: which == 1,
                    });
                    for (at, found) in c.iter().enumerate() {
                        let (i, column) = (at / row, at % row);
                        let expected = if column < columns {
                            let place = column / width * pitch + column % width;
                            let term = |p: usize| {
                                f64::from(a[i * (k + 2) + p]) * f64::from(source[offsets[p] as usize + place])
                            };
                            let start = [0.0, bias[i], old[at]][which];
                            let sum = f64::from(start) + (0..k).map(term).sum::<f64>();
                            if which == 1 { sum.max(0.0) } else { sum }
                        } else {
                            f64::from(old[at])
                        };
                        let gap = (f64::from(*found) - expected).abs();
                        assert!(gap < 1e-5, "{name} {m} by {k}, start {which}, at {i},{column}: {gap:e}");
                    }
                }
            }
        }
    }
}

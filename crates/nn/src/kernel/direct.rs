//! The checked door to products whose left operand is read where it lies: see [`simd::direct`].
//!
//! The result comes in [`Sums`], a few rows of all the places that a product is made for, and is settled from there.

use super::gemm::{Ending, Into, Offsets};
use super::simd;
use super::simd::direct::{self, Direct};
use super::simd::moves::{self, LANES, Settle};

/// Places that one product is made for.
#[derive(Debug)]
pub(crate) struct Places {
    list: [usize; PLACES],
    len: usize,
    furthest: usize,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self { list: [0; PLACES], len: 0, furthest: 0 }
    }

    /// Takes all back.
    pub(crate) fn clear(&mut self) {
        (self.len, self.furthest) = (0, 0);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds `count` places, `step` apart.
    pub(crate) fn run(&mut self, first: usize, step: usize, count: usize) {
        if count == 0 {
            return;
        }
        let list = &mut self.list[self.len..][..count];
        // The last place is computed with checks, so those before it cannot overflow.
        let last = first + step * (count - 1);
        list.iter_mut().enumerate().for_each(|(at, place)| *place = first.wrapping_add(step.wrapping_mul(at)));
        self.len += count;
        self.furthest = self.furthest.max(last);
    }
}

/// For each of a few places the sums of a few columns.
pub(crate) struct Sums<'s>(&'s mut [f32]);

impl<'s> Sums<'s> {
    /// In at least [`SUMS`] numbers.
    pub(crate) fn new(numbers: &'s mut [f32]) -> Self {
        assert!(numbers.len() >= SUMS, "sums have their scratch space");
        Self(numbers)
    }

    /// `sums[place][column] (+)= Σ source[place + offset] · weights[offset][column]`, over `count` offsets from `first` on.
    /// `weights` has a row of [`simd::panel_width`] numbers for each of them, of which the first `columns` count.
    pub(crate) fn product(
        &mut self,
        (source, places): (&[f32], &Places),
        (offsets, first, count): (&Offsets, usize, usize),
        (weights, columns): (&[f32], usize),
        into: Into,
    ) {
        let Some((width, lanes)) = simd::panel_width() else { return };
        let offsets_here = offsets.part(first, count);
        assert!(places.furthest + offsets.largest() < source.len(), "every place lies inside the source");
        assert!(weights.len() >= count * width && columns <= width && width <= WIDTH_MAX, "a row for each offset");
        #[expect(unsafe_code, reason = "the interface of the SIMD product is raw pointers")]
        // SAFETY: the assert holds `source` at the furthest place and the largest offset; the second one the weights; a
        // `Sums` has room for `PLACES` rows of the greatest width, and is borrowed uniquely.
        unsafe {
            direct::product(&Direct {
                n: places.len,
                places: places.list.as_ptr(),
                source: source.as_ptr(),
                k: count,
                offsets: offsets_here.as_ptr(),
                weights: weights.as_ptr(),
                sums: self.0.as_mut_ptr(),
                narrow: columns <= lanes,
                add: into == Into::Add,
            });
        }
    }

    /// `c[column · row + i]` from the sums of `count` places from `first` on, for `columns` columns; the ending's bias is
    /// one number a column.
    pub(crate) fn settle(
        &self,
        (first, count, columns): (usize, usize, usize),
        (c, row): (&mut [f32], usize),
        ending: Ending<'_>,
    ) {
        let Some((width, _)) = simd::panel_width() else { return };
        if count == 0 || columns == 0 {
            return;
        }
        assert!(first + count <= PLACES && columns <= width && width <= WIDTH_MAX, "these sums were made");
        assert!((columns - 1) * row + count <= c.len(), "the result lies inside its buffer");
        assert!(columns == 1 || count <= row, "columns of the result do not overlap");
        let start = ending.start(columns);
        #[expect(unsafe_code, reason = "the interface of the SIMD copy is raw pointers")]
        // SAFETY: the asserts hold the sums, with the rows that a `Sums` has behind its last, and the result; the start
        // was cut to `columns` numbers; `c` is borrowed uniquely.
        unsafe {
            moves::settle(&Settle {
                n: count,
                columns,
                sums: self.0[first * width..].as_ptr(),
                width,
                c: c.as_mut_ptr(),
                c_row: row,
                start,
                rectify: ending.rectify,
            });
        }
    }
}

/// Places of one product: their sums stay in the first-level cache beside the weights. A multiple of the rows of a tile on
/// any machine.
pub(crate) const PLACES: usize = 96;
/// Columns on any machine, at most.
const WIDTH_MAX: usize = 32;
/// Numbers of a [`Sums`]: with a vector of rows behind the last, which are read and not used.
pub(crate) const SUMS: usize = (PLACES + LANES) * WIDTH_MAX;

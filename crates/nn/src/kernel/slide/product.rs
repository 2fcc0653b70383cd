//! One product of a matrix with the patches of a few images.
//!
//! Where the matrix has rows for most of a vector's lanes, each lane belongs to a row, and the patches are read where they
//! lie, one number at a time ([`Way::Direct`]). Where it has fewer, each lane belongs to a place, and they are read a vector
//! of neighbouring places at a time ([`Way::Stripes`]).

use super::super::direct::{PLACES, Places, SUMS, Sums};
use super::super::gemm::{Ending, Into, Left, Offsets};
use super::super::simd;
use super::super::stripes::{Columns, striped_product};

/// How a product goes: a matter of the matrix's rows alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The matrix comes in panels.
    Direct,
    /// The matrix comes as it is, `[rows, depth]`; neighbouring places lie beside each other.
    Stripes,
}

impl Way {
    /// The way for a matrix of so many rows; `None` where this machine has no kernel.
    pub(super) fn of(rows: usize) -> Option<Self> {
        let (_, lanes) = simd::panel_width()?;
        Some(if rows.saturating_mul(4) >= lanes * 3 { Self::Direct } else { Self::Stripes })
    }

    /// How many rows there are in the layout of the way.
    pub(super) fn rows(self, rows: usize) -> usize {
        match (self, simd::panel_width()) {
            (Self::Direct, Some((width, _))) => rows.next_multiple_of(width),
            _ => rows,
        }
    }
}

/// A product of a matrix with patches: `[m, depth] × [depth, places]`.
#[derive(Debug, Clone)]
pub(super) struct Slide {
    /// Where in an image's source each row of the matrix of patches begins.
    pub(super) offsets: Offsets,
    /// The places: so many rows of so many, `pitch` apart in the source, from `origin` on; neighbours are `step` apart.
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) pitch: usize,
    pub(super) step: usize,
    pub(super) origin: usize,
}

/// Where patches come from.
#[derive(Clone, Copy)]
pub(super) struct Patches<'p> {
    pub(super) data: &'p [f32],
    /// Numbers from one image to the next.
    pub(super) image: usize,
    pub(super) images: usize,
}

/// Where the result of a [`Slide`] goes: numbers from one image to the next, and from one row to the next.
pub(super) struct Target<'t> {
    pub(super) data: &'t mut [f32],
    pub(super) image: usize,
    pub(super) row: usize,
}

impl Slide {
    /// Rows without a gap are one row.
    pub(super) fn joined(self) -> Self {
        if self.pitch == self.width * self.step {
            Self { width: self.rows * self.width, rows: 1, ..self }
        } else {
            self
        }
    }

    /// How many rows of the matrix of patches are summed up at once, so that all of one sum's are about as many.
    fn block(&self) -> usize {
        let depth = self.offsets.len();
        depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1)
    }

    /// `a` has `m` rows, in the layout of the way; `scratch` has [`SCRATCH`] numbers.
    pub(super) fn run(
        &self,
        way: Way,
        (a, m): (&[f32], usize),
        patches: Patches<'_>,
        target: Target<'_>,
        ending: Ending<'_>,
        scratch: &mut [f32],
    ) {
        match way {
            Way::Direct => self.directly((a, m), patches, target, ending, scratch),
            Way::Stripes => self.by_stripes((a, m), patches, target, ending),
        }
    }

    fn directly(
        &self,
        (panels, m): (&[f32], usize),
        patches: Patches<'_>,
        mut target: Target<'_>,
        ending: Ending<'_>,
        scratch: &mut [f32],
    ) {
        let Some((width, _)) = simd::panel_width() else { return };
        let (depth, block, columns) = (self.offsets.len(), self.block(), patches.images * self.rows * self.width);
        let (mut places, mut sums) = (Places::new(), Sums::new(scratch));
        for start in (0..columns).step_by(PLACES) {
            let count = PLACES.min(columns - start);
            self.places(start, count, patches.image, &mut places);
            for (index, panel) in panels.chunks_exact((depth * width).max(1)).enumerate() {
                let row = index * width;
                let rows = width.min(m - row);
                for first in (0..depth).step_by(block) {
                    let offsets = (&self.offsets, first, block.min(depth - first));
                    let into = if first > 0 { Into::Add } else { Into::Write };
                    sums.product((patches.data, &places), offsets, (&panel[first * width..], rows), into);
                }
                self.settle(&sums, (start, count), (row, rows), &mut target, ending);
            }
        }
    }

    /// The places of the columns from `start` on.
    fn places(&self, start: usize, count: usize, image_len: usize, places: &mut Places) {
        places.clear();
        let plane = self.rows * self.width;
        let (mut image, place) = (start / plane, start % plane);
        let (mut row, mut column) = (place / self.width, place % self.width);
        while places.len() < count {
            let run = (self.width - column).min(count - places.len());
            places.run(image * image_len + self.origin + row * self.pitch + column * self.step, self.step, run);
            (row, column) = (row + 1, 0);
            if row == self.rows {
                (image, row) = (image + 1, 0);
            }
        }
    }

    /// Puts the sums of the columns from `start` on where those of `rows` rows from `row` on belong.
    fn settle(
        &self,
        sums: &Sums<'_>,
        (start, count): (usize, usize),
        (row, rows): (usize, usize),
        target: &mut Target<'_>,
        ending: Ending<'_>,
    ) {
        let ending = Ending { bias: ending.bias.map(|bias| &bias[row..]), ..ending };
        let plane = self.rows * self.width;
        let (mut image, mut place, mut at) = (start / plane, start % plane, 0);
        while at < count {
            let run = (plane - place).min(count - at);
            let to = &mut target.data[image * target.image + row * target.row + place..];
            sums.settle((at, run, rows), (to, target.row), ending);
            (at, image, place) = (at + run, image + 1, 0);
        }
    }

    fn by_stripes(&self, (a, m): (&[f32], usize), patches: Patches<'_>, target: Target<'_>, ending: Ending<'_>) {
        let (depth, block) = (self.offsets.len(), self.block());
        let columns = Columns { rows: self.rows, width: self.width, pitch: self.pitch };
        for image in 0..patches.images {
            let source = &patches.data[image * patches.image + self.origin..];
            let to = &mut target.data[image * target.image..];
            for first in (0..depth).step_by(block) {
                let count = block.min(depth - first);
                let ending = Ending {
                    into: if first > 0 { Into::Add } else { ending.into },
                    bias: ending.bias,
                    rectify: ending.rectify && first + count == depth,
                };
                let left = Left { data: &a[first..], rows: m, depth: count, stride: depth };
                striped_product(left, (source, columns), (&self.offsets, first), (&mut *to, target.row), ending);
            }
        }
    }
}

/// Numbers of scratch space: sums.
pub(super) const SCRATCH: usize = SUMS;
/// How many products are summed up at once, at most, before they join those before them. The rounding of a sum grows with the root
/// of its length: a sum of 4,608 in such blocks differs from the exact one by a quarter of what it would in one go, and a `Relu`
/// that rounding flips is an error of the gradient that no later step takes back. Shorter blocks gain nothing.
const DEPTH: usize = 64;
/// A vector on any machine.
pub(super) const MARGIN: usize = 16;

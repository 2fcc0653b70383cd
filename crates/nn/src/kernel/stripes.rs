//! The checked door to products whose right operand is read where it lies: see [`simd::stripes`].

use super::gemm::{Ending, Left, Offsets};
use super::simd;
pub(crate) use super::simd::stripes::Columns;
use super::simd::stripes::{self, Striped};

/// `c[row · stride + column] = a · source`, where row `p` of the right operand begins at the `first + p`th of the offsets.
pub(crate) fn striped_product(
    a: Left<'_>,
    (source, columns): (&[f32], Columns),
    (offsets, first): (&Offsets, usize),
    c: (&mut [f32], usize),
    ending: Ending<'_>,
) {
    let Some((_, lanes)) = simd::panel_width() else { return };
    let Left { data, rows, depth, stride } = a;
    let count = columns.rows * columns.width;
    if rows == 0 || count == 0 {
        return;
    }
    let offsets_here = offsets.part(first, depth);
    assert!((rows - 1) * stride + depth <= data.len(), "the left operand lies inside its buffer");
    let furthest = (columns.rows - 1) * columns.pitch + columns.width - 1;
    assert!(furthest + offsets.largest() + lanes <= source.len(), "every vector lies inside the source and its margin");
    assert!((rows - 1) * c.1 + count <= c.0.len(), "the result lies inside its buffer");
    assert!(rows == 1 || count <= c.1, "rows of the result do not overlap");
    let start = ending.start(rows);
    #[expect(unsafe_code, reason = "the interface of the SIMD product is raw pointers")]
    // SAFETY: the asserts and the slice of the bias hold all operands inside their slices; `c` is borrowed uniquely.
    unsafe {
        stripes::product(&Striped {
            m: rows,
            a: data.as_ptr(),
            a_row: stride,
            source: source.as_ptr(),
            offsets: offsets_here,
            columns,
            c: c.0.as_mut_ptr(),
            c_row: c.1,
            start,
            rectify: ending.rectify,
        });
    }
}

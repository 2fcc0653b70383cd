//! `Resize` and `Upsample`: for each axis by itself, weighted sums of what lies near.

use super::layout::shape_of;
use super::{Fact, Lowering};
use crate::error::NnError;
use crate::load::{Aspect, Coordinates, Interpolation, Nearest, Node, ResizeMode};
use crate::tensor::elements;

/// One axis: its length before and after, and the scale by which places are told.
#[derive(Clone, Copy)]
struct Side {
    before: usize,
    after: usize,
    scale: f64,
}

impl Lowering<'_> {
    pub(super) fn resize(&mut self, node: &Node, mode: &ResizeMode) -> Result<Fact, NnError> {
        let fact = self.fact(node, 0)?;
        let old = shape_of(&fact).to_vec();
        let sides = self.sides(node, mode, &old)?;
        let shape: Vec<usize> = sides.iter().map(|side| side.after).collect();
        if elements(&shape).is_none_or(|count| count == 0) {
            return Err(node.place.problem("makes a tensor beyond the limits"));
        }
        self.afford_table::<[f64; 8]>(shape.iter().fold(0, |sum, dim| sum.saturating_add(*dim)))?;
        if mode.interpolation == Interpolation::Nearest {
            let table = |side: &Side| (0..side.after).map(|at| Some(side.nearest(at, mode))).collect();
            return self.per_axis(node, fact, sides.iter().map(table).collect(), 0.0);
        }
        let mut x = self.floats(node, 0)?;
        for (axis, side) in sides.iter().enumerate() {
            if side.before == side.after && (side.scale - 1.0).abs() < f64::EPSILON {
                continue;
            }
            let taps = (0..side.after).map(|at| side.taps(at, mode)).collect();
            let inner = x.shape[axis + 1..].iter().product();
            let mut shape = x.shape.clone();
            shape[axis] = side.after;
            x = self.apply_blend(&node.place, &x, side.before, inner, taps, shape)?;
        }
        Ok(Fact::Floats(x))
    }

    fn sides(&self, node: &Node, mode: &ResizeMode, old: &[usize]) -> Result<Vec<Side>, NnError> {
        let at = if node.place.opset < 11 { 1 } else { 2 };
        let scales: Option<Vec<f64>> = match &mode.scales {
            Some(scales) => Some(scales.iter().copied().map(f64::from).collect()),
            None => self.constants(node, at)?.filter(|scales| !scales.is_empty()),
        };
        let sizes = if at == 2 { self.integers(node, 3)?.filter(|sizes| !sizes.is_empty()) } else { None };
        let axes = match &mode.axes {
            Some(axes) => axes.iter().map(|axis| Self::axis(node, *axis, old.len())).collect::<Result<Vec<_>, _>>()?,
            None => (0..old.len()).collect(),
        };
        let mut sides: Vec<Side> = old.iter().map(|dim| Side { before: *dim, after: *dim, scale: 1.0 }).collect();
        let bad = || node.place.problem("has scales or sizes that do not fit its input");
        match (scales, sizes) {
            (Some(scales), None) if scales.len() == axes.len() => {
                for (axis, scale) in axes.into_iter().zip(scales) {
                    let after = whole((old[axis] as f64 * scale).floor()).ok_or_else(bad)?;
                    sides[axis] = Side { before: old[axis], after, scale };
                }
            }
            (None, Some(sizes)) if sizes.len() == axes.len() => {
                let ratio = |(axis, size): (&usize, &i64)| *size as f64 / old[*axis] as f64;
                let ratios = axes.iter().zip(&sizes).map(ratio);
                let common = match mode.aspect {
                    Aspect::Stretch => None,
                    Aspect::NotLarger => Some(ratios.fold(f64::INFINITY, f64::min)),
                    Aspect::NotSmaller => Some(ratios.fold(0.0, f64::max)),
                };
                for (axis, size) in axes.into_iter().zip(sizes) {
                    let after = match common {
                        Some(scale) => whole((scale * old[axis] as f64).round()).ok_or_else(bad)?,
                        None => usize::try_from(size).map_err(|_| bad())?,
                    };
                    let scale = common.unwrap_or(after as f64 / old[axis] as f64);
                    sides[axis] = Side { before: old[axis], after, scale };
                }
            }
            _ => return Err(bad()),
        }
        if sides.iter().any(|side| side.before == 0 || side.scale <= 0.0) {
            return Err(bad());
        }
        Ok(sides)
    }
}

impl Side {
    /// Where on the old axis a place of the new one lies.
    fn coordinate(&self, at: usize, mode: &ResizeMode) -> f64 {
        let (at, before, after) = (at as f64, self.before as f64, self.after as f64);
        let half_pixel = (at + 0.5) / self.scale - 0.5;
        match mode.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::TorchHalfPixel if self.after > 1 => half_pixel,
            Coordinates::AlignCorners if self.after > 1 => at * (before - 1.0) / (after - 1.0),
            Coordinates::TorchHalfPixel | Coordinates::AlignCorners => 0.0,
            Coordinates::HalfPixelSymmetric => before / 2.0 * (1.0 - after / (self.scale * before)) + half_pixel,
            Coordinates::Asymmetric => at / self.scale,
        }
    }

    fn held(&self, place: f64) -> usize {
        whole(place.clamp(0.0, (self.before - 1) as f64)).unwrap_or(0)
    }

    fn nearest(&self, at: usize, mode: &ResizeMode) -> usize {
        let place = self.coordinate(at, mode);
        self.held(match mode.nearest {
            Nearest::PreferFloor => (place - 0.5).ceil(),
            Nearest::PreferCeil => (place + 0.5).floor(),
            Nearest::Floor => place.floor(),
            Nearest::Ceil => place.ceil(),
        })
    }

    /// The places that make one of the new axis, with their weights.
    fn taps(&self, at: usize, mode: &ResizeMode) -> Vec<(usize, f64)> {
        let place = self.coordinate(at, mode);
        let (low, part) = (place.floor(), place - place.floor());
        if mode.interpolation == Interpolation::Linear {
            return vec![(self.held(low), 1.0 - part), (self.held(low + 1.0), part)];
        }
        // Cubic convolution (Keys 1981, equation 15) with the coefficient a.
        let a = mode.cubic;
        let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
        let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
        let weights = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
        let mut taps: Vec<(usize, f64)> = Vec::with_capacity(weights.len());
        for (offset, weight) in [-1.0, 0.0, 1.0, 2.0].into_iter().zip(weights) {
            let cell = low + offset;
            let outside = cell < 0.0 || cell > (self.before - 1) as f64;
            taps.push((self.held(cell), if outside && mode.exclude_outside { 0.0 } else { weight }));
        }
        let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
        if mode.exclude_outside && sum != 0.0 {
            for (_, weight) in &mut taps {
                *weight /= sum;
            }
        }
        taps
    }
}

/// A number without fraction as a length, where it is one.
fn whole(number: f64) -> Option<usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to the range beside it")]
    (0.0..=f64::from(u32::MAX)).contains(&number).then_some(number as usize)
}

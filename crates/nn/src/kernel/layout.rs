//! What only moves numbers, and how two shapes are walked together.
//!
//! Transposing, slicing, padding, gathering, expanding and resizing are all one [`Move`]: each number of the output is a
//! copy of one number of the input, or a constant. The table of places is made once a plan.

use crate::real::Real;
use crate::tensor::strides;

/// Each number of the output comes from one place of the input.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    /// Places in the input, one for each `run` numbers, which lie one behind the other; [`FILL`] for the constant.
    places: Vec<u32>,
    run: usize,
    fill: f64,
}

/// Marks a number that comes from nowhere.
const FILL: u32 = u32::MAX;
/// Numbers.
const RUN_MIN: usize = 8;

impl Move {
    /// The output's axis `d` at index `i` reads the input at `tables[d].1 · tables[d].0[i]`, summed over the axes;
    /// an entry `None` on any axis makes the constant `fill`.
    pub(crate) fn new(tables: &[(Vec<Option<usize>>, usize)], fill: f64) -> Self {
        let mut places = vec![0u32];
        for (table, stride) in tables {
            let step = |base: &u32, entry: &Option<usize>| match (*base, entry) {
                (FILL, _) | (_, None) => FILL,
                // INVARIANT: plans hold tensors to ELEMENTS_MAX < 2^31 elements, so every place fits.
                (base, Some(index)) => base + u32::try_from(index * stride).unwrap_or(0),
            };
            places = places.iter().flat_map(|base| table.iter().map(move |entry| step(base, entry))).collect();
        }
        // The longest run that divides the length and every place at which the input's numbers do not go on. A copy of
        // less costs more than the table.
        let breaks = places.windows(2).enumerate().filter(|(_, pair)| pair[0] == FILL || pair[1] != pair[0] + 1);
        let run = breaks.fold(places.len(), |run, (before, _)| common_divisor(run, before + 1));
        let run = if run < RUN_MIN { 1 } else { run };
        Self { places: places.into_iter().step_by(run).collect(), run, fill }
    }

    /// The same for integers, while planning.
    ///
    /// The constant is 0 there: shapes are never padded with anything else.
    pub(crate) fn apply(&self, input: &[i64]) -> Vec<i64> {
        let from = |place: &u32| *place as usize..(*place as usize).saturating_add(self.run);
        self.places.iter().flat_map(from).map(|place| input.get(place).copied().unwrap_or(0)).collect()
    }

    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        let fill = T::of(self.fill);
        if self.run > 1 {
            for (out, place) in output.chunks_exact_mut(self.run).zip(&self.places) {
                out.copy_from_slice(&input[*place as usize..][..self.run]);
            }
            return;
        }
        for (out, place) in output.iter_mut().zip(&self.places) {
            *out = if *place == FILL { fill } else { input[*place as usize] };
        }
    }

    pub(crate) fn backward<T: Real>(&self, upstream: &[T], gradient: &mut [T]) {
        if self.run > 1 {
            for (up, place) in upstream.chunks_exact(self.run).zip(&self.places) {
                gradient[*place as usize..][..self.run].iter_mut().zip(up).for_each(|(g, up)| *g += *up);
            }
            return;
        }
        for (up, place) in upstream.iter().zip(&self.places) {
            if *place != FILL {
                gradient[*place as usize] += *up;
            }
        }
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Inputs one behind the other along an axis: `[outer, lengths[i]]` each, where a length counts the axis and all inside it.
#[derive(Debug, Clone)]
pub(crate) struct Concat {
    pub(crate) outer: usize,
    pub(crate) lengths: Vec<usize>,
}

impl Concat {
    fn offset(&self, which: usize) -> usize {
        self.lengths[..which].iter().sum()
    }

    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T]) {
        let row: usize = self.lengths.iter().sum();
        for (which, input) in inputs.iter().enumerate() {
            let (start, length) = (self.offset(which), self.lengths[which]);
            for outer in 0..self.outer {
                output[outer * row + start..][..length].copy_from_slice(&input[outer * length..][..length]);
            }
        }
    }

    pub(crate) fn backward<T: Real>(&self, which: usize, upstream: &[T], gradient: &mut [T]) {
        let row: usize = self.lengths.iter().sum();
        let (start, length) = (self.offset(which), self.lengths[which]);
        for outer in 0..self.outer {
            let part = &upstream[outer * row + start..][..length];
            gradient[outer * length..][..length].iter_mut().zip(part).for_each(|(g, up)| *g += *up);
        }
    }
}

/// Some of the numbers along an axis, without a table: the opposite of [`Concat`]. Lengths count the axis and all inside it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) outer: usize,
    pub(crate) row: usize,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

impl Part {
    pub(crate) fn forward<T: Real>(&self, input: &[T], output: &mut [T]) {
        for outer in 0..self.outer {
            let from = &input[outer * self.row + self.start..][..self.length];
            output[outer * self.length..][..self.length].copy_from_slice(from);
        }
    }

    pub(crate) fn backward<T: Real>(&self, upstream: &[T], gradient: &mut [T]) {
        for outer in 0..self.outer {
            let to = &mut gradient[outer * self.row + self.start..][..self.length];
            let from = &upstream[outer * self.length..][..self.length];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
        }
    }
}

/// Two operands walked over one outer shape, each with stride 0 where it repeats.
#[derive(Debug, Clone)]
pub(crate) struct Broadcast {
    shape: Vec<usize>,
    a: Vec<usize>,
    b: Vec<usize>,
}

impl Broadcast {
    /// `None` where the shapes cannot be broadcast together (ONNX: from the last axis, 1 repeats). Answers the outer shape.
    pub(crate) fn new(a: &[usize], b: &[usize]) -> Option<(Self, Vec<usize>)> {
        let rank = a.len().max(b.len());
        let dim = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
        let mut outer = Vec::with_capacity(rank);
        for axis in 0..rank {
            outer.push(match (dim(a, axis), dim(b, axis)) {
                (1, other) | (other, 1) => other,
                (same, other) if same == other => same,
                _ => return None,
            });
        }
        let steps = |shape: &[usize]| -> Vec<usize> {
            let own = strides(shape);
            let at = |axis: usize| (axis + shape.len()).checked_sub(rank);
            (0..rank).map(|axis| at(axis).map_or(0, |at| if shape[at] == 1 { 0 } else { own[at] })).collect()
        };
        Some((Self { shape: outer.clone(), a: steps(a), b: steps(b) }.merged(), outer))
    }

    /// Joins neighbouring axes that both operands walk as one, so that the innermost loop is long.
    fn merged(self) -> Self {
        let mut merged = Self { shape: Vec::new(), a: Vec::new(), b: Vec::new() };
        for axis in 0..self.shape.len() {
            let (length, a, b) = (self.shape[axis], self.a[axis], self.b[axis]);
            if length == 1 {
                continue;
            }
            match (merged.shape.last_mut(), merged.a.last_mut(), merged.b.last_mut()) {
                (Some(outer), Some(outer_a), Some(outer_b)) if *outer_a == a * length && *outer_b == b * length => {
                    *outer *= length;
                    (*outer_a, *outer_b) = (a, b);
                }
                _ => {
                    merged.shape.push(length);
                    merged.a.push(a);
                    merged.b.push(b);
                }
            }
        }
        merged
    }

    /// Calls `visit` for each innermost run: first place in the outer shape, in `a`, in `b`.
    pub(crate) fn runs(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let run = self.run().0;
        let axes = self.shape.len().saturating_sub(1);
        if self.shape.contains(&0) {
            return;
        }
        let mut index = vec![0usize; axes];
        let (mut out, mut a, mut b) = (0, 0, 0);
        loop {
            visit(out, a, b);
            out += run;
            let mut axis = axes;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                a += self.a[axis];
                b += self.b[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                a -= self.a[axis] * index[axis];
                b -= self.b[axis] * index[axis];
                index[axis] = 0;
            }
        }
    }

    /// The innermost run: its length and the strides of `a` and `b` in it.
    pub(crate) fn run(&self) -> (usize, usize, usize) {
        match (self.shape.last(), self.a.last(), self.b.last()) {
            (Some(length), Some(a), Some(b)) => (*length, *a, *b),
            _ => (1, 0, 0),
        }
    }

    /// Calls `visit` for each element: its place in the outer shape, in `a`, in `b`.
    pub(crate) fn each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (length, step_a, step_b) = self.run();
        self.runs(|out, a, b| (0..length).for_each(|i| visit(out + i, a + i * step_a, b + i * step_b)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_repeats_ones() {
        let (walk, shape) = Broadcast::new(&[2, 1, 3], &[4, 1]).unwrap();
        assert_eq!(shape, [2, 4, 3]);
        let mut seen = Vec::new();
        walk.each(|out, a, b| seen.push((out, a, b)));
        assert_eq!(seen.len(), 24);
        assert_eq!(seen[3], (3, 0, 1));
        assert_eq!(seen[23], (23, 5, 3));
        assert!(Broadcast::new(&[2], &[3]).is_none());
    }

    #[test]
    fn equal_shapes_merge_into_one_run() {
        let (walk, _) = Broadcast::new(&[2, 3, 4], &[2, 3, 4]).unwrap();
        assert_eq!(walk.run(), (24, 1, 1));
        let (scalar, shape) = Broadcast::new(&[], &[]).unwrap();
        let mut count = 0;
        scalar.each(|_, _, _| count += 1);
        assert_eq!((count, shape.len()), (1, 0));
    }
}

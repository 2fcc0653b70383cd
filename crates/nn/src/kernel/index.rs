//! Reading and writing at places that are numbers themselves: the `Gather` and `Scatter` families.
//!
//! An [`Address`] turns a tensor of indices into places; what is read or written at a place is a run of numbers that lie
//! together. A negative index counts from the end. An index that is out of range is an error of the pass.

use crate::real::Real;

/// How indices name places in `data`.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// `Gather`: data is `[outer, length, run]`, and every index picks a run for each `outer`.
    Axis { outer: usize, length: usize, run: usize },
    /// `GatherElements` and `ScatterElements`: the index replaces one coordinate of its own place.
    Elements {
        /// The shape of the indices, and the strides of the data along the same axes.
        shape: Vec<usize>,
        strides: Vec<usize>,
        axis: usize,
        /// The data's length along the axis.
        length: usize,
    },
    /// `GatherND` and `ScatterND`: rows of indices are coordinates.
    Tuples {
        /// Tuples in one batch, and numbers of the data in one batch.
        batch: usize,
        span: usize,
        /// Lengths and strides of the axes that a tuple names.
        lengths: Vec<usize>,
        strides: Vec<usize>,
        run: usize,
    },
}

/// What is said of an index that names no place.
const OUT_OF_RANGE: &str = "has an index that is out of range";

impl Address {
    /// Numbers that lie together at each place.
    fn run(&self) -> usize {
        match self {
            Self::Elements { .. } => 1,
            Self::Axis { run, .. } | Self::Tuples { run, .. } => *run,
        }
    }

    /// Calls `visit` with each slot and its place in the data.
    fn each<T: Real>(&self, indices: &[T], mut visit: impl FnMut(usize, usize)) -> Result<(), &'static str> {
        match self {
            Self::Axis { outer, length, run } => {
                for outer in 0..*outer {
                    for (at, index) in indices.iter().enumerate() {
                        let index = checked(*index, *length)?;
                        visit(outer * indices.len() + at, (outer * length + index) * run);
                    }
                }
            }
            Self::Elements { shape, strides, axis, length } => {
                let mut place = vec![0usize; shape.len()];
                for (slot, index) in indices.iter().enumerate() {
                    let index = checked(*index, *length)?;
                    let base: usize = place.iter().zip(strides).map(|(at, stride)| at * stride).sum();
                    visit(slot, base - place[*axis] * strides[*axis] + index * strides[*axis]);
                    advance(&mut place, shape);
                }
            }
            Self::Tuples { batch, span, lengths, strides, .. } => {
                for (slot, tuple) in indices.chunks_exact(lengths.len().max(1)).enumerate() {
                    let mut at = slot.checked_div(*batch).unwrap_or(0) * span;
                    for ((index, length), stride) in tuple.iter().zip(lengths).zip(strides) {
                        at += checked(*index, *length)? * stride;
                    }
                    visit(slot, at);
                }
            }
        }
        Ok(())
    }
}

/// The next place in row-major order.
pub(crate) fn advance(place: &mut [usize], shape: &[usize]) {
    for (at, length) in place.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < *length {
            return;
        }
        *at = 0;
    }
}

/// An index as a place below `length`.
fn checked<T: Real>(index: T, length: usize) -> Result<usize, &'static str> {
    let index = index.wide();
    let index = if index < 0.0 { index + length as f64 } else { index };
    if index >= 0.0 && index < length as f64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held to the range just above")]
        Ok(index as usize)
    } else {
        Err(OUT_OF_RANGE)
    }
}

/// Inputs: data, indices.
#[derive(Debug, Clone)]
pub(crate) struct Gather {
    pub(crate) address: Address,
}

impl Gather {
    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T]) -> Result<(), &'static str> {
        let (data, run) = (inputs[0], self.address.run());
        self.address.each(inputs[1], |slot, place| output[slot * run..][..run].copy_from_slice(&data[place..][..run]))
    }

    pub(crate) fn backward<T: Real>(&self, inputs: &[&[T]], upstream: &[T], gradient: &mut [T]) {
        let run = self.address.run();
        // The indices were good on the way forward.
        let _ = self.address.each(inputs[1], |slot, place| {
            let to = gradient[place..][..run].iter_mut();
            to.zip(&upstream[slot * run..][..run]).for_each(|(to, from)| *to += *from);
        });
    }
}

/// What a scatter does with the numbers that it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meeting {
    Replace,
    Add,
    Multiply,
    Larger,
    Smaller,
}

/// Inputs: data, indices, updates. Answers the data, changed at the places that the indices name.
#[derive(Debug, Clone)]
pub(crate) struct Scatter {
    pub(crate) address: Address,
    pub(crate) meeting: Meeting,
}

impl Scatter {
    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T]) -> Result<(), &'static str> {
        output.copy_from_slice(inputs[0]);
        let (updates, run) = (inputs[2], self.address.run());
        self.address.each(inputs[1], |slot, place| {
            let pairs = output[place..][..run].iter_mut().zip(&updates[slot * run..][..run]);
            match self.meeting {
                Meeting::Replace => pairs.for_each(|(to, from)| *to = *from),
                Meeting::Add => pairs.for_each(|(to, from)| *to += *from),
                Meeting::Multiply => pairs.for_each(|(to, from)| *to *= *from),
                Meeting::Larger => pairs.for_each(|(to, from)| *to = to.larger(*from)),
                Meeting::Smaller => pairs.for_each(|(to, from)| *to = to.smaller(*from)),
            }
        })
    }

    /// For `Replace` and `Add`; where updates replace each other, the last one has the gradient.
    pub(crate) fn backward<T: Real>(&self, which: usize, inputs: &[&[T]], upstream: &[T], gradient: &mut [T]) {
        let run = self.address.run();
        let replaces = self.meeting == Meeting::Replace;
        let mut last = vec![usize::MAX; if replaces { upstream.len() } else { 0 }];
        if replaces {
            let _ = self.address.each(inputs[1], |slot, place| {
                last[place..][..run].iter_mut().for_each(|last| *last = slot);
            });
        }
        if which == 0 {
            for (at, (to, from)) in gradient.iter_mut().zip(upstream).enumerate() {
                if last.get(at).is_none_or(|slot| *slot == usize::MAX) {
                    *to += *from;
                }
            }
            return;
        }
        let _ = self.address.each(inputs[1], |slot, place| {
            let to = &mut gradient[slot * run..][..run];
            for (offset, (to, from)) in to.iter_mut().zip(&upstream[place..][..run]).enumerate() {
                if last.get(place + offset).is_none_or(|last| *last == slot) {
                    *to += *from;
                }
            }
        });
    }
}

/// Inputs: condition, where true, where false; each index table maps a place of the output to one of the operand.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub(crate) operands: [Places; 3],
}

/// Where an operand's number for each place of the output lies.
#[derive(Debug, Clone)]
pub(crate) enum Places {
    /// At the same place.
    Same,
    /// There is only one.
    One,
    /// As tabulated.
    Table(Vec<u32>),
}

impl Places {
    fn at(&self, place: usize) -> usize {
        match self {
            Self::Same => place,
            Self::One => 0,
            Self::Table(table) => table[place] as usize,
        }
    }
}

impl Select {
    pub(crate) fn forward<T: Real>(&self, inputs: &[&[T]], output: &mut [T]) {
        let [condition, yes, no] = &self.operands;
        for (at, out) in output.iter_mut().enumerate() {
            let (source, places) =
                if inputs[0][condition.at(at)] == T::ZERO { (inputs[2], no) } else { (inputs[1], yes) };
            *out = source[places.at(at)];
        }
    }

    pub(crate) fn backward<T: Real>(&self, which: usize, inputs: &[&[T]], upstream: &[T], gradient: &mut [T]) {
        let [condition, yes, no] = &self.operands;
        let own = if which == 1 { yes } else { no };
        for (at, up) in upstream.iter().enumerate() {
            if (inputs[0][condition.at(at)] == T::ZERO) == (which == 2) {
                gradient[own.at(at)] += *up;
            }
        }
    }
}

//! Sliding windows: from attributes and a shape to [`Window`].

use crate::error::NnError;
use crate::kernel::pool::Window;
use crate::load::{AutoPad, Place, WindowAttributes};

/// The window of a convolution or pool over `spatial`, one or two lengths. `kernel` is what the weights say.
pub(super) fn window(
    attributes: &WindowAttributes,
    spatial: &[usize],
    kernel: Option<&[usize]>,
    place: &Place,
) -> Result<Window, NnError> {
    let rank = spatial.len();
    if rank != 1 && rank != 2 {
        return Err(place.problem("has a number of spatial axes that is not implemented"));
    }
    let declared = attributes.kernel.as_ref().map(|sizes| sizes_of(sizes, rank, "kernel_shape", place)).transpose()?;
    let kernel = match (kernel, declared) {
        (Some(weights), Some(declared)) if weights != declared.as_slice() => {
            return Err(place.attribute("kernel_shape", "contradicts the weights"));
        }
        (Some(weights), _) => weights.to_vec(),
        (None, Some(declared)) => declared,
        (None, None) => return Err(place.attribute("kernel_shape", "is missing")),
    };
    let or_ones = |values: &Option<Vec<i64>>, name: &str| match values {
        Some(values) => sizes_of(values, rank, name, place),
        None => Ok(vec![1; rank]),
    };
    let strides = or_ones(&attributes.strides, "strides")?;
    let dilations = or_ones(&attributes.dilations, "dilations")?;
    let mut window =
        Window { input: [1; 2], output: [1; 2], kernel: [1; 2], stride: [1; 2], dilation: [1; 2], pads: [(0, 0); 2] };
    for axis in 0..rank {
        let at = axis + 2 - rank;
        window.input[at] = spatial[axis];
        window.kernel[at] = kernel[axis];
        window.stride[at] = strides[axis];
        window.dilation[at] = dilations[axis];
        let reach = (kernel[axis].max(1) - 1).checked_mul(dilations[axis]).and_then(|reach| reach.checked_add(1));
        let reach =
            reach.filter(|reach| *reach <= SIDE_MAX).ok_or_else(|| place.problem("has an impossible window"))?;
        let line = Line { length: spatial[axis], reach, stride: strides[axis] };
        (window.pads[at], window.output[at]) = line.place(attributes, axis, rank, place)?;
    }
    Ok(window)
}

/// The window of a convolution whose transpose makes `spatial` larger: its input is the transpose's output.
pub(super) fn transposed_window(
    attributes: &WindowAttributes,
    spatial: &[usize],
    kernel: &[usize],
    more: Option<&[i64]>,
    sizes: Option<&[i64]>,
    place: &Place,
) -> Result<Window, NnError> {
    let rank = spatial.len();
    // The checks of the attributes are those of a convolution; its places are found here.
    let free = WindowAttributes { pads: AutoPad::SameUpper, ceil: false, ..attributes.clone() };
    let mut window = window(&free, spatial, Some(kernel), place)?;
    let bad = || place.problem("has an impossible window");
    let number = |list: Option<&[i64]>, axis: usize| match list {
        None => Ok(None),
        Some(list) if list.len() == rank => usize::try_from(list[axis]).map(Some).map_err(|_| bad()),
        Some(_) => Err(bad()),
    };
    for (axis, length) in spatial.iter().copied().enumerate() {
        let at = axis + 2 - rank;
        let more = number(more, axis)?.unwrap_or(0);
        let far = (length.max(1) - 1).checked_mul(window.stride[at]).and_then(|far| far.checked_add(more));
        let whole = far.and_then(|far| far.checked_add(window.reach(at))).filter(|whole| *whole <= SIDE_MAX);
        let whole = whole.ok_or_else(bad)?;
        let size = match (number(sizes, axis)?, &attributes.pads) {
            (None, AutoPad::SameUpper | AutoPad::SameLower) => length.checked_mul(window.stride[at]),
            (size, _) => size,
        };
        let pads = match (size, &attributes.pads) {
            (Some(size), pads) => {
                let total = whole.checked_sub(size).ok_or_else(bad)?;
                let less = total / 2;
                if *pads == AutoPad::SameUpper { (less, total - less) } else { (total - less, less) }
            }
            (None, AutoPad::Explicit(Some(pads))) => {
                let pad = |at: usize| pads.get(at).and_then(|pad| usize::try_from(*pad).ok());
                match (pads.len() == 2 * rank, pad(axis), pad(axis + rank)) {
                    (true, Some(before), Some(after)) if before.max(after) <= SIDE_MAX => (before, after),
                    _ => return Err(place.attribute("pads", "has a wrong length or value")),
                }
            }
            (None, _) => (0, 0),
        };
        window.pads[at] = pads;
        window.output[at] = length;
        window.input[at] = whole.checked_sub(pads.0 + pads.1).filter(|length| *length > 0).ok_or_else(bad)?;
    }
    if rank == 1 {
        (window.input[0], window.output[0], window.pads[0]) = (1, 1, (0, 0));
    }
    Ok(window)
}

/// One axis of a window: how far it reaches, over what, in which steps.
struct Line {
    length: usize,
    reach: usize,
    stride: usize,
}

impl Line {
    /// The padding before and after, and how many places the window has.
    fn place(
        &self,
        attributes: &WindowAttributes,
        axis: usize,
        rank: usize,
        place: &Place,
    ) -> Result<((usize, usize), usize), NnError> {
        let (before, after) = match &attributes.pads {
            AutoPad::Explicit(None) | AutoPad::Valid => (0, 0),
            AutoPad::Explicit(Some(pads)) => {
                let pad = |at: usize| pads.get(at).and_then(|pad| usize::try_from(*pad).ok());
                match (pads.len() == 2 * rank, pad(axis), pad(axis + rank)) {
                    (true, Some(before), Some(after)) if before.max(after) <= SIDE_MAX => (before, after),
                    _ => return Err(place.attribute("pads", "has a wrong length or value")),
                }
            }
            same => {
                let places = self.length.div_ceil(self.stride);
                let total = (places.max(1) - 1).checked_mul(self.stride).and_then(|far| far.checked_add(self.reach));
                let total = total.ok_or_else(|| place.problem("has an impossible window"))?.saturating_sub(self.length);
                let less = total / 2;
                if *same == AutoPad::SameUpper { (less, total - less) } else { (total - less, less) }
            }
        };
        let Some(room) = (self.length + before + after).checked_sub(self.reach) else {
            return Err(place.problem("has a window larger than its padded input"));
        };
        let mut places = room / self.stride + 1;
        if attributes.ceil && matches!(attributes.pads, AutoPad::Explicit(_)) && room % self.stride != 0 {
            // A window that would begin behind the input and its padding in front does not count.
            places += usize::from(places * self.stride < self.length + before);
        }
        Ok(((before, after), places))
    }
}

fn sizes_of(values: &[i64], rank: usize, name: &str, place: &Place) -> Result<Vec<usize>, NnError> {
    let sizes: Option<Vec<usize>> =
        values.iter().map(|value| usize::try_from(*value).ok().filter(|size| (1..=SIDE_MAX).contains(size))).collect();
    sizes.filter(|sizes| sizes.len() == rank).ok_or_else(|| place.attribute(name, "has a wrong length or value"))
}

/// The longest side of a kernel, stride, dilation or padding; keeps the arithmetic above far from its limits.
const SIDE_MAX: usize = 1 << 24;

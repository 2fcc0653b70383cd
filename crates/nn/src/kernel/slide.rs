//! Convolutions in single precision whose matrix of patches is never made.
//!
//! Patches are read from the image, with a border of zeros where it is padded, by [`product`]. Where the convolution has few
//! channels, neighbouring places of the window must lie beside each other, so where the window strides, the image is
//! cut into one plane for each remainder of row and column. The gradient of the input is the same product with turned
//! weights, one for each such plane.
//!
//! INVARIANT: how a number is added up depends on the number of weights behind it and on nothing else, so an example's
//! results are the same in every batch.

mod product;

use std::borrow::Cow;

use super::gemm::{Ending, Into, Offsets, panels, panels_len};
use super::linear::Side;
use super::moves::{halve, pad};
use super::pool::Window;
use super::simd;
use product::{MARGIN, Patches, SCRATCH, Slide, Target, Way};

/// A convolution's products: all of one group; groups follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Slides {
    sizes: Sizes,
    /// Forward and backward.
    ways: [Way; 2],
    forward: Slide,
    phases: Vec<Phase>,
    /// Height and width of one plane of the padded image, or of one remainder's where it is cut, and of the padded gradient
    /// of the output.
    cut: [usize; 2],
    padded: [usize; 2],
    /// Where each row of an image begins in its planes.
    rows: Vec<u32>,
    /// Where the gradient of the output begins in its padded plane.
    margin: [usize; 2],
    /// Images that are worked on together, forward and backward.
    images: [usize; 2],
}

/// What is convolved with what; channels are those of one group.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) window: Window,
}

/// The places of the input that see the same cells of the kernel.
#[derive(Debug, Clone)]
struct Phase {
    slide: Slide,
    cells: Vec<usize>,
    /// The first row and column of the input.
    first: [usize; 2],
}

impl Sizes {
    fn inner(&self) -> usize {
        self.window.input[0] * self.window.input[1]
    }

    fn outer(&self) -> usize {
        self.window.output[0] * self.window.output[1]
    }

    fn weights(&self) -> usize {
        self.in_channels * self.out_channels * self.window.size()
    }

    /// Few numbers behind each sum are summed up sooner than the sums are turned, so there lanes had better be places.
    fn forward_way(&self) -> Option<Way> {
        let (_, lanes) = simd::panel_width()?;
        let width = self.window.output[1];
        let filled = width.saturating_mul(4) >= width.next_multiple_of(lanes).saturating_mul(3);
        let shallow = self.in_channels.saturating_mul(self.window.size()) <= SHALLOW;
        if shallow && filled { Some(Way::Stripes) } else { Way::of(self.out_channels) }
    }

    /// Planes that a channel of the image is cut into.
    fn pieces(&self, way: Way) -> [usize; 2] {
        if way == Way::Direct { [1, 1] } else { self.window.stride }
    }

    /// The forward product, and height and width of the planes that it reads.
    fn forward(&self, way: Way) -> Option<(Slide, [usize; 2])> {
        let Self { in_channels, ref window, .. } = *self;
        let [tall, wide] = self.pieces(way);
        let cut = [window.padded(0).div_ceil(tall), window.padded(1).div_ceil(wide)];
        let plane = cut[0].checked_mul(cut[1])?;
        let channel = plane.checked_mul(tall.checked_mul(wide)?)?;
        channel.checked_mul(in_channels)?.checked_mul(2)?;
        let start = |cell: usize| match way {
            Way::Direct => {
                let (down, right) = (cell / window.kernel[1], cell % window.kernel[1]);
                down * window.dilation[0] * cut[1] + right * window.dilation[1]
            }
            Way::Stripes => {
                let ((y, down), (x, right)) = (self.cell(0, cell), self.cell(1, cell));
                (y * wide + x) * plane + down * cut[1] + right
            }
        };
        let offsets = (0..in_channels).flat_map(|input| (0..window.size()).map(move |cell| (input, cell)));
        let [down, step] = if way == Way::Direct { window.stride } else { [1, 1] };
        let slide = Slide {
            offsets: Offsets::new(offsets.map(|(input, cell)| input * channel + start(cell)))?,
            rows: window.output[0],
            width: window.output[1],
            pitch: down.checked_mul(cut[1])?,
            step,
            origin: 0,
        };
        Some((slide.joined(), cut))
    }

    /// For a cell of the kernel the remainder and the quotient of its distance and the stride, along one axis.
    fn cell(&self, axis: usize, cell: usize) -> (usize, usize) {
        let along = if axis == 0 { cell / self.window.kernel[1] } else { cell % self.window.kernel[1] };
        let distance = along * self.window.dilation[axis];
        (distance % self.window.stride[axis], distance / self.window.stride[axis])
    }
}

impl Slides {
    /// `None` where this machine has no kernel for panels, where the buffers would be beyond 32 bits, or where the window
    /// strides much farther than its kernel is wide.
    pub(crate) fn new(sizes: Sizes) -> Option<Self> {
        let ways = [sizes.forward_way()?, Way::of(sizes.in_channels)?];
        let (forward, cut) = sizes.forward(ways[0])?;
        let window = &sizes.window;
        let cells = 0..window.size();
        let [tall, wide] = window.stride;
        // A stride costs nothing in a file: what is tabulated stays of the order of the kernel, whose weights have to be there.
        tall.checked_mul(wide).filter(|phases| *phases <= window.size().max(PHASES))?;
        let margin = [0, 1].map(|axis| cells.clone().map(|cell| sizes.cell(axis, cell).1).max().unwrap_or(0));
        let phase = |axis: usize| window.padded(axis).div_ceil(window.stride[axis]);
        let padded = [0, 1].map(|axis| phase(axis).max(window.output[axis]) + margin[axis]);
        padded[0].checked_mul(padded[1])?.checked_mul(sizes.out_channels)?.checked_mul(2)?;
        let remainders = (0..tall).flat_map(|y| (0..wide).map(move |x| [y, x]));
        let phases = remainders.map(|at| Phase::new(&sizes, at, padded, margin)).collect::<Option<Vec<_>>>()?;
        let row = |y: usize| u32::try_from((y % tall * wide * cut[0] + y / tall) * cut[1]).ok();
        let rows = (0..window.input[0]).map(|y| row(window.pads[0].0 + y)).collect::<Option<Vec<u32>>>()?;
        let batch = sizes.batch.max(1);
        let together = |numbers: usize, plane: usize| {
            (SOURCE_NUMBERS / numbers.max(1)).max(COLUMNS.div_ceil(plane.max(1))).clamp(1, batch)
        };
        let mut slides = Self { sizes, ways, forward, phases, cut, rows, padded, margin, images: [1; 2] };
        let [forward, backward] = slides.source_lens();
        slides.images = [together(forward, slides.sizes.outer()), together(backward, slides.sizes.inner())];
        Some(slides)
    }

    /// Numbers of an image's source, forward and backward.
    fn source_lens(&self) -> [usize; 2] {
        let [tall, wide] = self.sizes.pieces(self.ways[0]);
        let forward = self.sizes.in_channels * tall * wide * self.cut[0] * self.cut[1];
        [forward, self.sizes.out_channels * self.padded[0] * self.padded[1]]
    }

    /// Numbers of scratch space: what a product takes, the sources of a block of images, and the gradients of one phase.
    pub(crate) fn scratch_len(&self) -> usize {
        let [forward, backward] = self.source_lens();
        let forward = if self.in_place() { 0 } else { forward };
        let made = if self.strided() { self.sizes.in_channels * self.sizes.inner() } else { 0 };
        let backward = (backward + made).saturating_mul(self.images[1]);
        SCRATCH.saturating_add(forward.saturating_mul(self.images[0]).max(backward)).saturating_add(2 * MARGIN)
    }

    /// Whether the forward product reads the images themselves.
    fn in_place(&self) -> bool {
        self.ways[0] == Way::Direct && self.sizes.window.pads == [(0, 0); 2]
    }

    fn strided(&self) -> bool {
        self.sizes.window.stride != [1, 1]
    }

    /// The weights as the forward product reads them, group by group; `None` where it takes them as they are.
    pub(crate) fn laid(&self, weights: &[f32]) -> Option<Vec<f32>> {
        let Sizes { groups, out_channels, .. } = self.sizes;
        if !self.lays() {
            return None;
        }
        let mut laid = Vec::new();
        for group in weights.chunks_exact(self.sizes.weights().max(1)).take(groups) {
            panels(group, [self.forward.offsets.len(), out_channels], &mut laid);
        }
        Some(laid)
    }

    /// Whether [`Self::laid`] makes anything.
    pub(crate) fn lays(&self) -> bool {
        self.ways[0] == Way::Direct
    }

    /// Numbers of [`Self::laid`] or [`Self::turned`] weights.
    pub(crate) fn prepared_len(&self, side: Side) -> usize {
        let Sizes { groups, in_channels, out_channels, ref window, .. } = self.sizes;
        let numbers = match side {
            Side::Forward if !self.lays() => 0,
            Side::Forward => panels_len([in_channels * window.size(), out_channels]),
            Side::Backward => self.ways[1].rows(in_channels).saturating_mul(out_channels * window.size()),
        };
        numbers.saturating_mul(groups)
    }

    /// `[batch, groups · out_channels, …]` from images and weights, these as they are or [`Self::laid`].
    pub(crate) fn forward(
        &self,
        images: &[f32],
        (weights, laid): (&[f32], Option<&[f32]>),
        bias: Option<&[f32]>,
        rectify: bool,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let Sizes { batch, groups, in_channels, out_channels, .. } = self.sizes;
        let (image, plane) = (in_channels * self.sizes.inner(), self.sizes.outer());
        let (scratch, source) = scratch.split_at_mut(SCRATCH);
        let weights = laid.map_or_else(|| self.laid(weights).map_or(Cow::Borrowed(weights), Cow::Owned), Cow::Borrowed);
        let weights_len = weights.len() / groups.max(1);
        if self.ways[0] == Way::Stripes {
            // The borders stay as they are; everything else is written for each block.
            source[..self.source_lens()[0] * self.images[0] + MARGIN].fill(0.0);
        }
        for group in 0..groups {
            let weights = &weights[group * weights_len..][..weights_len];
            let bias = bias.map(|bias| &bias[group * out_channels..][..out_channels]);
            for first in (0..batch).step_by(self.images[0]) {
                let count = self.images[0].min(batch - first);
                let images = &images[(first * groups + group) * image..];
                let patches = self.patches(images, count, source);
                let data = &mut output[(first * groups + group) * out_channels * plane..];
                let target = Target { data, image: groups * out_channels * plane, row: plane };
                let ending = Ending { into: Into::Write, bias, rectify };
                self.forward.run(self.ways[0], (weights, out_channels), patches, target, ending, scratch);
            }
        }
    }

    /// What the forward product reads of `count` images, which begin with this one.
    fn patches<'p>(&self, images: &'p [f32], count: usize, source: &'p mut [f32]) -> Patches<'p> {
        let image = self.sizes.in_channels * self.sizes.inner();
        let stride = self.sizes.groups * image;
        if self.in_place() {
            return Patches { data: images, image: stride, images: count };
        }
        let [length, _] = self.source_lens();
        for at in 0..count {
            let from = &images[at * stride..][..image];
            match self.ways[0] {
                Way::Direct => {
                    let ([height, width], [(top, _), (left, _)]) = (self.cut, self.sizes.window.pads);
                    let shape = [height * width, top * width + left, width];
                    pad((from, self.sizes.window.input), &mut source[at * length..], shape);
                }
                Way::Stripes => self.cut(from, &mut source[at * length..][..length]),
            }
        }
        Patches { data: source, image: length, images: count }
    }

    /// One image, cut by remainders of row and column.
    fn cut(&self, image: &[f32], to: &mut [f32]) {
        let window = &self.sizes.window;
        let (wide, plane, (left, _)) = (window.stride[1], self.cut[0] * self.cut[1], window.pads[1]);
        // Where a column of the image begins, behind its row.
        let column = |x: usize| (left + x) % wide * plane + (left + x) / wide;
        let planes = image.chunks_exact(self.sizes.inner()).zip(to.chunks_exact_mut(window.stride[0] * wide * plane));
        for (from, to) in planes {
            if wide == 2 {
                halve((from, window.input[1]), (to, &self.rows), [column(0), column(1)]);
                continue;
            }
            for (from, row) in from.chunks_exact(window.input[1]).zip(&self.rows) {
                let row = *row as usize;
                if wide == 1 {
                    to[row + left..][..from.len()].copy_from_slice(from);
                    continue;
                }
                for x in 0..wide.min(from.len()) {
                    let to = to[row + column(x)..].iter_mut();
                    to.zip(from[x..].iter().step_by(wide)).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// The weights as the gradient of the input needs them: group by group, phase by phase, `[in_channels, out_channels · cells]`,
    /// or that in panels.
    pub(crate) fn turned(&self, weights: &[f32]) -> Vec<f32> {
        let Sizes { groups, in_channels, out_channels, ref window, .. } = self.sizes;
        let (mut turned, mut rows) = (Vec::with_capacity(weights.len()), Vec::new());
        for group in 0..groups {
            let weights = &weights[group * self.sizes.weights()..][..self.sizes.weights()];
            for phase in &self.phases {
                rows.clear();
                for input in 0..in_channels {
                    for output in 0..out_channels {
                        let kernel = &weights[(output * in_channels + input) * window.size()..][..window.size()];
                        rows.extend(phase.cells.iter().map(|cell| kernel[*cell]));
                    }
                }
                match self.ways[1] {
                    Way::Direct => panels(&rows, [phase.slide.offsets.len(), in_channels], &mut turned),
                    Way::Stripes => turned.extend_from_slice(&rows),
                }
            }
        }
        turned
    }

    /// What tells one layout of the same weights from another.
    pub(crate) fn key(&self) -> [usize; 10] {
        let Sizes { groups, in_channels, out_channels, ref window, .. } = self.sizes;
        let ([tall, wide], [down, right], [a, b]) = (window.kernel, window.stride, window.dilation);
        [groups, in_channels, out_channels, tall, wide, down, right, a, b, 1]
    }

    /// The gradient of the images, from [`Self::turned`] weights.
    pub(crate) fn backward(
        &self,
        turned: &[f32],
        upstream: &[f32],
        gradient: &mut [f32],
        into: Into,
        scratch: &mut [f32],
    ) {
        let Sizes { batch, groups, in_channels, out_channels, .. } = self.sizes;
        let (image, outer) = (in_channels * self.sizes.inner(), out_channels * self.sizes.outer());
        let [_, source_len] = self.source_lens();
        let (scratch, rest) = scratch.split_at_mut(SCRATCH);
        let (source, made) = rest.split_at_mut(source_len * self.images[1] + MARGIN);
        let turned_len = turned.len() / groups.max(1);
        let ([height, width], [top, left]) = (self.padded, self.margin);
        for group in 0..groups {
            let turned = &turned[group * turned_len..][..turned_len];
            for first in (0..batch).step_by(self.images[1]) {
                let count = self.images[1].min(batch - first);
                for at in 0..count {
                    let from = &upstream[((first + at) * groups + group) * outer..][..outer];
                    let shape = [height * width, top * width + left, width];
                    pad((from, self.sizes.window.output), &mut source[at * source_len..], shape);
                }
                let data = &mut gradient[(first * groups + group) * image..];
                let target = Target { data, image: groups * image, row: self.sizes.inner() };
                let patches = Patches { data: &*source, image: source_len, images: count };
                self.phases_into(turned, patches, target, into, (&mut *scratch, &mut *made));
            }
        }
    }

    fn phases_into(
        &self,
        turned: &[f32],
        patches: Patches<'_>,
        mut target: Target<'_>,
        into: Into,
        (scratch, made): (&mut [f32], &mut [f32]),
    ) {
        let (channels, way, mut rest) = (self.sizes.in_channels, self.ways[1], turned);
        for phase in &self.phases {
            let (weights, others) = rest.split_at(way.rows(channels) * phase.slide.offsets.len());
            rest = others;
            if !self.strided() {
                let ending = Ending { into, bias: None, rectify: false };
                let target = Target { data: &mut *target.data, ..target };
                phase.slide.run(way, (weights, channels), patches, target, ending, scratch);
                continue;
            }
            let plane = phase.slide.rows * phase.slide.width;
            let made = &mut made[..patches.images * channels * plane];
            if phase.cells.is_empty() {
                made.fill(0.0);
            } else {
                let ending = Ending { into: Into::Write, bias: None, rectify: false };
                let target = Target { data: &mut *made, image: channels * plane, row: plane };
                phase.slide.run(way, (weights, channels), patches, target, ending, scratch);
            }
            self.spread(phase, made, &mut target, into);
        }
    }

    /// Puts the gradients of one phase where they belong.
    fn spread(&self, phase: &Phase, made: &[f32], target: &mut Target<'_>, into: Into) {
        let ([tall, wide], across) = (self.sizes.window.stride, self.sizes.window.input[1]);
        let Slide { rows, width, .. } = phase.slide;
        if rows * width == 0 {
            return;
        }
        for (index, plane) in made.chunks_exact(rows * width).enumerate() {
            let (image, channel) = (index / self.sizes.in_channels, index % self.sizes.in_channels);
            let to = &mut target.data[image * target.image + channel * target.row..][..target.row];
            for (row, from) in plane.chunks_exact(width).enumerate() {
                let to = &mut to[(phase.first[0] + row * tall) * across..][phase.first[1]..across];
                scatter(from, wide, to, into);
            }
        }
    }
}

impl Phase {
    fn new(sizes: &Sizes, at: [usize; 2], padded: [usize; 2], margin: [usize; 2]) -> Option<Self> {
        let window = &sizes.window;
        let seen = |cell: &usize| [0, 1].iter().all(|axis| sizes.cell(*axis, *cell).0 == at[*axis]);
        let cells: Vec<usize> = (0..window.size()).filter(seen).collect();
        let begin = [0, 1].map(|axis| window.pads[axis].0.saturating_sub(at[axis]).div_ceil(window.stride[axis]));
        let end = [0, 1].map(|axis| {
            (window.input[axis] + window.pads[axis].0).saturating_sub(at[axis]).div_ceil(window.stride[axis])
        });
        let start = |cell: &usize| {
            let [down, right] = [0, 1].map(|axis| margin[axis] - sizes.cell(axis, *cell).1);
            down * padded[1] + right
        };
        let channels = 0..sizes.out_channels;
        let offsets = channels.flat_map(|output| cells.iter().map(move |cell| (output, cell)));
        let slide = Slide {
            offsets: Offsets::new(offsets.map(|(output, cell)| output * padded[0] * padded[1] + start(cell)))?,
            rows: end[0].saturating_sub(begin[0]),
            width: end[1].saturating_sub(begin[1]),
            pitch: padded[1],
            step: 1,
            origin: begin[0] * padded[1] + begin[1],
        };
        let first =
            [0, 1].map(|axis| (begin[axis] * window.stride[axis] + at[axis]).saturating_sub(window.pads[axis].0));
        let slide = if window.stride == [1, 1] { slide.joined() } else { slide };
        Some(Self { slide, cells, first })
    }
}

/// Numbers to every `stride`th place.
fn scatter(from: &[f32], stride: usize, to: &mut [f32], into: Into) {
    let put = |to: &mut f32, from: &f32| *to = if into == Into::Add { *to + from } else { *from };
    if stride == 2 {
        let (pairs, last) = to.as_chunks_mut::<2>();
        let whole = pairs.len();
        pairs.iter_mut().zip(from).for_each(|([to, _], from)| put(to, from));
        if let ([to], Some(from)) = (last, from.get(whole)) {
            put(to, from);
        }
    } else {
        to.iter_mut().step_by(stride).zip(from).for_each(|(to, from)| put(to, from));
    }
}

/// Numbers behind each sum, at most, where turning the sums takes a good part of the time.
const SHALLOW: usize = 32;
/// Images are worked on together until their sources have so many numbers, or their matrices of patches so many columns.
const SOURCE_NUMBERS: usize = 1 << 15;
const COLUMNS: usize = 256;
/// Remainders of row and column that any stride may have, however small the kernel.
const PHASES: usize = 16;

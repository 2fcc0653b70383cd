//! Normalisations, by stored statistics and by the input's own.

use super::{Fact, Floats, Lowering};
use crate::error::NnError;
use crate::kernel::Kernel;
use crate::kernel::norm::{Affine, Normalise, Share};
use crate::kernel::pointwise::{Function, Unary};
use crate::kernel::reduce::Reduction;
use crate::load::Node;

impl Lowering<'_> {
    pub(super) fn batch_norm(&mut self, node: &Node, epsilon: f64) -> Result<Fact, NnError> {
        let inputs = (0..5).map(|index| self.floats(node, index)).collect::<Result<Vec<_>, _>>()?;
        let [x, parameters @ ..] = &inputs[..] else { return Err(node.place.problem("lacks an input")) };
        let [_, channels, spatial @ ..] = &x.shape[..] else {
            return Err(node.place.problem("has an input of too low rank"));
        };
        if parameters.iter().any(|parameter| parameter.shape != [*channels]) {
            return Err(node.place.problem("has parameters that do not fit its input"));
        }
        let kernel = Kernel::Affine(Affine { channels: *channels, plane: spatial.iter().product(), epsilon });
        self.emit(&node.place, kernel, &inputs.iter().collect::<Vec<_>>(), x.shape.clone())
    }

    pub(super) fn instance_norm(&mut self, node: &Node, epsilon: f64) -> Result<Fact, NnError> {
        let (x, scale, bias) = (self.floats(node, 0)?, self.floats(node, 1)?, self.floats(node, 2)?);
        let [_, channels, spatial @ ..] = &x.shape[..] else {
            return Err(node.place.problem("has an input of too low rank"));
        };
        if scale.shape != [*channels] || bias.shape != [*channels] {
            return Err(node.place.problem("has parameters that do not fit its input"));
        }
        let kernel = Normalise { length: spatial.iter().product(), epsilon, share: Share::Row(*channels) };
        self.emit(&node.place, Kernel::Normalise(kernel), &[&x, &scale, &bias], x.shape.clone())
    }

    pub(super) fn layer_norm(&mut self, node: &Node, axis: i64, epsilon: f64) -> Result<Fact, NnError> {
        let (x, scale, bias) = (self.floats(node, 0)?, self.floats(node, 1)?, self.optional_floats(node, 2)?);
        let axis = Self::axis(node, axis, x.shape.len())?;
        let length: usize = x.shape[axis..].iter().product();
        let fits = |parameter: &Floats| parameter.shape.iter().product::<usize>() == length;
        if !fits(&scale) || !bias.as_ref().is_none_or(fits) {
            return Err(node.place.problem("has parameters that do not cover the normalised axes"));
        }
        let inputs: Vec<&Floats> = [&x, &scale].into_iter().chain(&bias).collect();
        let kernel = Normalise { length, epsilon, share: Share::Column };
        self.emit(&node.place, Kernel::Normalise(kernel), &inputs, x.shape.clone())
    }

    pub(super) fn group_norm(
        &mut self,
        node: &Node,
        groups: i64,
        epsilon: f64,
        by_group: bool,
    ) -> Result<Fact, NnError> {
        let (x, scale, bias) = (self.floats(node, 0)?, self.floats(node, 1)?, self.floats(node, 2)?);
        let [_, channels, spatial @ ..] = &x.shape[..] else {
            return Err(node.place.problem("has an input of too low rank"));
        };
        let groups = usize::try_from(groups).ok().filter(|groups| *groups > 0 && channels % groups == 0);
        let groups = groups.ok_or_else(|| node.place.attribute("num_groups", "does not divide the channels"))?;
        let wanted = if by_group { groups } else { *channels };
        if scale.shape != [wanted] || bias.shape != [wanted] {
            return Err(node.place.problem("has parameters that do not fit its input"));
        }
        let plane: usize = spatial.iter().product();
        let channels = channels / groups;
        let share = if by_group { Share::Row(groups) } else { Share::Channel { groups, channels, plane } };
        let kernel = Normalise { length: channels * plane, epsilon, share };
        self.emit(&node.place, Kernel::Normalise(kernel), &[&x, &scale, &bias], x.shape.clone())
    }

    /// (x - mean) / sqrt(mean of squares of that), over these axes; the specification adds 1e-9 to the root.
    pub(super) fn mean_variance(&mut self, node: &Node, axes: &[i64]) -> Result<Fact, NnError> {
        let x = self.floats(node, 0)?;
        let place = &node.place;
        let mean = self.apply_reduce(place, Reduction::Mean, &x, Some(axes.to_vec()), true)?;
        let centred = self.apply_binary(place, Function::Sub, &x, &mean)?;
        let square = self.apply_binary(place, Function::Mul, &centred, &centred)?;
        let variance = self.apply_reduce(place, Reduction::Mean, &square, Some(axes.to_vec()), true)?;
        let deviation = self.apply_unary(place, Unary::Sqrt, &variance)?;
        let small = self.literal(vec![], vec![1e-9]);
        let deviation = self.apply_binary(place, Function::Add, &deviation, &small)?;
        self.apply_binary(place, Function::Div, &centred, &deviation).map(Fact::Floats)
    }

    pub(super) fn lp_norm(&mut self, node: &Node, axis: i64, p: i64) -> Result<Fact, NnError> {
        let x = self.floats(node, 0)?;
        let kind = if p == 1 { Reduction::L1 } else { Reduction::L2 };
        let norm = self.apply_reduce(&node.place, kind, &x, Some(vec![axis]), true)?;
        self.apply_binary(&node.place, Function::Div, &x, &norm).map(Fact::Floats)
    }

    pub(super) fn global_lp(&mut self, node: &Node, p: i64) -> Result<Fact, NnError> {
        match p {
            1 => self.global(node, Reduction::L1),
            2 => self.global(node, Reduction::L2),
            _ => Err(node.place.attribute("p", "has a value that is not implemented")),
        }
    }

    /// x / (bias + alpha / size · sum of squares over neighbouring channels)^beta
    pub(super) fn local_response(
        &mut self,
        node: &Node,
        [alpha, beta, bias]: [f64; 3],
        size: i64,
    ) -> Result<Fact, NnError> {
        let x = self.floats(node, 0)?;
        let place = &node.place;
        let [_, channels, plane @ ..] = &x.shape[..] else {
            return Err(place.problem("has an input of too low rank"));
        };
        let (channels, inner): (usize, usize) = (*channels, plane.iter().product());
        let size = usize::try_from(size).ok().filter(|size| *size > 0);
        let size = size.ok_or_else(|| place.attribute("size", "is not positive"))?;
        let window = |channel: usize| channel.saturating_sub((size - 1) / 2)..channels.min(channel + size / 2 + 1);
        let taps: usize = (0..channels).map(|channel| window(channel).len()).sum();
        self.afford_table::<(usize, f64)>(taps)?;
        let taps = (0..channels).map(|channel| window(channel).map(|from| (from, 1.0)).collect()).collect();
        let square = self.apply_binary(place, Function::Mul, &x, &x)?;
        let sum = self.apply_blend(place, &square, channels, inner, taps, x.shape.clone())?;
        let factor = self.literal(vec![], vec![alpha / size as f64]);
        let bias = self.literal(vec![], vec![bias]);
        let power = self.literal(vec![], vec![beta]);
        let scaled = self.apply_binary(place, Function::Mul, &sum, &factor)?;
        let shifted = self.apply_binary(place, Function::Add, &scaled, &bias)?;
        let divisor = self.apply_binary(place, Function::Pow, &shifted, &power)?;
        self.apply_binary(place, Function::Div, &x, &divisor).map(Fact::Floats)
    }
}

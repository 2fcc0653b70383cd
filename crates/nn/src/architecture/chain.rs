//! Chains of layers: from a description and an example's shape to nodes, every shape checked on the way.

use ringfence_format::onnx::Dimension;
use ringfence_format::onnx::write::AttributeInput;

use super::error::{ArchitectureError, shown};
use super::layer::{Activation, Operation, Step, Window, misplaced};
use super::network::{Dim, Network, int, ints};

/// What goes in.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    /// One example's shape; `None` is free.
    pub(super) shape: Vec<Option<usize>>,
    /// Whether it is of whole numbers: token ids.
    pub(super) is_integer: bool,
}

/// A value on its way through the chain.
#[derive(Debug, Clone)]
struct Flow {
    value: String,
    /// Without the batch.
    shape: Vec<Option<usize>>,
    is_integer: bool,
}

/// Writes the chain; answers the value that comes out, and its dimensions.
pub(super) fn write(
    network: &mut Network<'_, '_>,
    entry: &Entry,
    steps: &[Step],
) -> Result<(String, Vec<Dim>), ArchitectureError> {
    network.input(&entry.name, entry.is_integer, &dims(&entry.shape));
    let flow = Flow { value: entry.name.clone(), shape: entry.shape.clone(), is_integer: entry.is_integer };
    let flow = Chain { network }.through(flow, steps)?;
    if flow.is_integer {
        return Err(misplaced("layers", "leave the whole numbers of the input as they are: an `embedding` reads them"));
    }
    Ok((flow.value, dims(&flow.shape)))
}

/// A free batch before an example's dimensions.
fn dims(shape: &[Option<usize>]) -> Vec<Dim> {
    let dim = |dim: &Option<usize>| dim.map_or(Dimension::Unknown, |dim| Dimension::Fixed(int(dim)));
    std::iter::once(Dimension::Named("batch")).chain(shape.iter().map(dim)).collect()
}

struct Chain<'n, 't, 'w> {
    network: &'n mut Network<'t, 'w>,
}

impl Chain<'_, '_, '_> {
    fn through(&mut self, mut flow: Flow, steps: &[Step]) -> Result<Flow, ArchitectureError> {
        for step in steps {
            flow = self.step(flow, step)?;
        }
        Ok(flow)
    }

    fn step(&mut self, flow: Flow, Step { label, layer }: &Step) -> Result<Flow, ArchitectureError> {
        if flow.is_integer != matches!(layer, Operation::Embedding { .. }) && !matches!(layer, Operation::Nothing) {
            return Err(misplaced(label, "is misplaced: an `embedding`, and nothing else, reads whole numbers"));
        }
        match layer {
            Operation::Linear { weights, bias } => self.linear(flow, label, weights, *bias),
            Operation::Conv { weights, bias, window, groups } => {
                self.conv(flow, label, (weights, *bias), window, *groups)
            }
            Operation::BatchNorm { weights, epsilon } => self.batch_norm(flow, label, weights, *epsilon),
            Operation::LayerNorm { weights, bias, epsilon } => self.layer_norm(flow, label, (weights, *bias), *epsilon),
            Operation::Embedding { weights } => self.embedding(flow, label, weights),
            Operation::Activation(activation) => {
                let value = activate(self.network, label, &flow.value, *activation);
                Ok(Flow { value, ..flow })
            }
            Operation::Softmax { axis, log } => self.softmax(flow, label, *axis, *log),
            Operation::Pool { .. } => self.pool(flow, label, layer),
            Operation::GlobalPool { max } => self.global_pool(flow, label, *max),
            Operation::Mean { axis } => self.mean(flow, label, *axis),
            Operation::Flatten => {
                let value = self.network.node(label, "Flatten", &[&flow.value], &[("axis", AttributeInput::Int(1))]);
                let count = flow.shape.iter().try_fold(1usize, |count, dim| count.checked_mul((*dim)?));
                Ok(Flow { value, shape: vec![count], ..flow })
            }
            Operation::Nothing => Ok(flow),
            Operation::Normalise { mean, deviation } => self.normalise(flow, label, mean, deviation),
            Operation::Residual { layers, shortcut } => self.residual(flow, label, layers, shortcut),
        }
    }

    /// y = x·Wᵀ + b over the last axis.
    fn linear(&mut self, flow: Flow, label: &str, weights: &str, bias: bool) -> Result<Flow, ArchitectureError> {
        let Some(features) = flow.shape.last().copied() else {
            return Err(unfit(label, "at least one dimension", &flow.shape));
        };
        let weight = format!("{weights}.weight");
        let found = self.network.weight(label, &weight, &[None, None])?;
        let [out, inputs] = found[..] else { return Err(self.network.tensors.unfit(label, &weight, "[?, ?]")) };
        if features.is_some_and(|features| features != inputs) {
            return Err(unfit(label, &format!("{inputs} numbers in the last dimension"), &flow.shape));
        }
        let bias = self.bias(label, weights, bias, out)?;
        let value = if flow.shape.len() == 1 {
            let inputs: Vec<&str> = [flow.value.as_str(), &weight].into_iter().chain(bias.as_deref()).collect();
            self.network.node(label, "Gemm", &inputs, &[("transB", AttributeInput::Int(1))])
        } else {
            let turned = self.network.node(label, "Transpose", &[&weight], &[("perm", AttributeInput::Ints(&[1, 0]))]);
            let product = self.network.node(label, "MatMul", &[&flow.value, &turned], &[]);
            bias.map_or(product.clone(), |bias| self.network.node(label, "Add", &[&product, &bias], &[]))
        };
        let mut shape = flow.shape;
        if let Some(last) = shape.last_mut() {
            *last = Some(out);
        }
        Ok(Flow { value, shape, is_integer: false })
    }

    fn bias(
        &mut self,
        label: &str,
        weights: &str,
        wanted: bool,
        out: usize,
    ) -> Result<Option<String>, ArchitectureError> {
        let name = format!("{weights}.bias");
        Ok(if wanted { self.network.weight(label, &name, &[Some(out)]).map(|_| Some(name))? } else { None })
    }

    /// A convolution over as many axes as its weights have behind channels.
    fn conv(
        &mut self,
        flow: Flow,
        label: &str,
        (weights, bias): (&str, bool),
        window: &Window,
        groups: usize,
    ) -> Result<Flow, ArchitectureError> {
        let weight = format!("{weights}.weight");
        let found = self.network.tensors.shape(label, &weight, "[?, ?, ?, ?]")?;
        let [out, inputs, kernel @ ..] = &found[..] else {
            return Err(self.network.tensors.unfit(label, &weight, "[?, ?, ?, ?]"));
        };
        let (out, rank) = (*out, kernel.len());
        if !(1..=3).contains(&rank) || out % groups != 0 {
            let expected = format!("[a multiple of {groups}, ?, 1 to 3 sides of the kernel]");
            return Err(self.network.tensors.unfit(label, &weight, &expected));
        }
        let channels = inputs.saturating_mul(groups);
        let fits = flow.shape.len() == rank + 1
            && flow.shape.first().is_some_and(|found| found.is_none_or(|found| found == channels));
        if !fits {
            let expected = format!("{channels} channels and {rank} dimensions behind them");
            return Err(unfit(label, &expected, &flow.shape));
        }
        self.network.weight(label, &weight, &found.iter().copied().map(Some).collect::<Vec<_>>())?;
        let bias = self.bias(label, weights, bias, out)?;
        let (sides, attributes) = slide(label, kernel, window, &vec![1; rank], &flow.shape)?;
        let [kernel, strides, pads, dilations] = &attributes;
        let attributes = [
            ("kernel_shape", AttributeInput::Ints(kernel)),
            ("strides", AttributeInput::Ints(strides)),
            ("pads", AttributeInput::Ints(pads)),
            ("dilations", AttributeInput::Ints(dilations)),
            ("group", AttributeInput::Int(int(groups))),
        ];
        let inputs: Vec<&str> = [flow.value.as_str(), &weight].into_iter().chain(bias.as_deref()).collect();
        let value = self.network.node(label, "Conv", &inputs, &attributes);
        let shape = std::iter::once(Some(out)).chain(sides).collect();
        Ok(Flow { value, shape, is_integer: false })
    }

    fn batch_norm(&mut self, flow: Flow, label: &str, weights: &str, epsilon: f64) -> Result<Flow, ArchitectureError> {
        let Some(channels) = flow.shape.first().copied() else {
            return Err(unfit(label, "channels", &flow.shape));
        };
        let names = ["weight", "bias", "running_mean", "running_var"].map(|name| format!("{weights}.{name}"));
        let mut channels = channels;
        for name in &names {
            channels = self.network.weight(label, name, &[channels])?.first().copied();
        }
        let inputs: Vec<&str> = std::iter::once(flow.value.as_str()).chain(names.iter().map(String::as_str)).collect();
        let value = self.network.node(label, "BatchNormalization", &inputs, &[epsilon_of(epsilon)]);
        let shape = std::iter::once(channels).chain(flow.shape.into_iter().skip(1)).collect();
        Ok(Flow { value, shape, is_integer: false })
    }

    /// Over as many last axes as the weights have.
    fn layer_norm(
        &mut self,
        flow: Flow,
        label: &str,
        (weights, bias): (&str, bool),
        epsilon: f64,
    ) -> Result<Flow, ArchitectureError> {
        let names = ["weight", "bias"].map(|name| format!("{weights}.{name}"));
        let [weight, _] = &names;
        let rank = self.network.tensors.shape(label, weight, "[?]")?.len();
        let Some(behind) = flow.shape.len().checked_sub(rank).filter(|_| rank > 0) else {
            return Err(unfit(label, &format!("at least {rank} dimensions"), &flow.shape));
        };
        let normed = flow.shape.get(behind..).unwrap_or_default().to_vec();
        let used = || names.iter().take(1 + usize::from(bias));
        for name in used() {
            self.network.weight(label, name, &normed)?;
        }
        let inputs: Vec<&str> = std::iter::once(flow.value.as_str()).chain(used().map(String::as_str)).collect();
        let axis = ("axis", AttributeInput::Int(-int(rank)));
        let value = self.network.node(label, "LayerNormalization", &inputs, &[axis, epsilon_of(epsilon)]);
        Ok(Flow { value, ..flow })
    }

    fn embedding(&mut self, flow: Flow, label: &str, weights: &str) -> Result<Flow, ArchitectureError> {
        let weight = format!("{weights}.weight");
        let width = self.network.weight(label, &weight, &[None, None])?.last().copied();
        let value = self.network.node(label, "Gather", &[&weight, &flow.value], &[("axis", AttributeInput::Int(0))]);
        let shape = flow.shape.into_iter().chain([width]).collect();
        Ok(Flow { value, shape, is_integer: false })
    }

    fn softmax(&mut self, flow: Flow, label: &str, axis: Option<usize>, log: bool) -> Result<Flow, ArchitectureError> {
        if axis.unwrap_or(1) > flow.shape.len() {
            return Err(unfit(label, &format!("an axis {}", axis.unwrap_or(1)), &flow.shape));
        }
        let axis = axis.map_or(-1, int);
        let operator = if log { "LogSoftmax" } else { "Softmax" };
        let value = self.network.node(label, operator, &[&flow.value], &[("axis", AttributeInput::Int(axis))]);
        Ok(Flow { value, ..flow })
    }

    fn pool(&mut self, flow: Flow, label: &str, layer: &Operation) -> Result<Flow, ArchitectureError> {
        let Operation::Pool { max, kernel, window, count_padding } = layer else { return Ok(flow) };
        let rank = flow.shape.len().saturating_sub(1);
        let Some(kernel) = kernel.of(rank).filter(|_| (1..=3).contains(&rank)) else {
            return Err(unfit(label, "channels and as many dimensions as its kernel has", &flow.shape));
        };
        let (sides, attributes) = slide(label, &kernel, window, &kernel, &flow.shape)?;
        let [kernel, strides, pads, dilations] = &attributes;
        // A padding wider than that would leave windows without a number.
        if pads.iter().zip(kernel.iter().cycle()).any(|(pad, kernel)| *pad > kernel / 2) {
            return Err(misplaced(label, "has more padding than half of its kernel"));
        }
        let mut attributes = vec![
            ("kernel_shape", AttributeInput::Ints(kernel)),
            ("strides", AttributeInput::Ints(strides)),
            ("pads", AttributeInput::Ints(pads)),
        ];
        attributes.push(if *max {
            ("dilations", AttributeInput::Ints(dilations))
        } else {
            ("count_include_pad", AttributeInput::Int(i64::from(*count_padding)))
        });
        let operator = if *max { "MaxPool" } else { "AveragePool" };
        let value = self.network.node(label, operator, &[&flow.value], &attributes);
        let shape = flow.shape.first().copied().into_iter().chain(sides).collect();
        Ok(Flow { value, shape, is_integer: false })
    }

    fn global_pool(&mut self, flow: Flow, label: &str, max: bool) -> Result<Flow, ArchitectureError> {
        if flow.shape.len() < 2 {
            return Err(unfit(label, "channels and at least one dimension behind them", &flow.shape));
        }
        let operator = if max { "GlobalMaxPool" } else { "GlobalAveragePool" };
        let value = self.network.node(label, operator, &[&flow.value], &[]);
        let mut shape = flow.shape;
        shape.iter_mut().skip(1).for_each(|dim| *dim = Some(1));
        Ok(Flow { value, shape, is_integer: false })
    }

    fn mean(&mut self, flow: Flow, label: &str, axis: usize) -> Result<Flow, ArchitectureError> {
        if axis > flow.shape.len() {
            return Err(unfit(label, &format!("an axis {axis}"), &flow.shape));
        }
        let axes = self.network.integers(&[1], &ints(&[axis]));
        let value =
            self.network.node(label, "ReduceMean", &[&flow.value, &axes], &[("keepdims", AttributeInput::Int(0))]);
        let mut shape = flow.shape;
        shape.remove(axis - 1);
        Ok(Flow { value, shape, is_integer: false })
    }

    /// (x − mean) / deviation for each channel.
    fn normalise(&mut self, flow: Flow, label: &str, mean: &[f64], by: &[f64]) -> Result<Flow, ArchitectureError> {
        let channels = flow.shape.first().copied().flatten();
        if mean.len() != by.len() || channels.is_none_or(|channels| channels != mean.len() && mean.len() != 1) {
            let expected = format!("as many channels as it has means ({}) and deviations ({})", mean.len(), by.len());
            return Err(unfit(label, &expected, &flow.shape));
        }
        if by.contains(&0.0) {
            return Err(misplaced(label, "divides by a deviation of 0"));
        }
        let shape: Vec<usize> = std::iter::once(mean.len()).chain(flow.shape.iter().skip(1).map(|_| 1)).collect();
        let (mean, by) = (self.network.numbers(&shape, mean), self.network.numbers(&shape, by));
        let centred = self.network.node(label, "Sub", &[&flow.value, &mean], &[]);
        let value = self.network.node(label, "Div", &[&centred, &by], &[]);
        Ok(Flow { value, ..flow })
    }

    fn residual(&mut self, flow: Flow, label: &str, main: &[Step], side: &[Step]) -> Result<Flow, ArchitectureError> {
        let side = self.through(flow.clone(), side)?;
        let main = self.through(flow, main)?;
        let meets = |(a, b): (&Option<usize>, &Option<usize>)| a.zip(*b).is_none_or(|(a, b)| a == b);
        if main.shape.len() != side.shape.len() || !main.shape.iter().zip(&side.shape).all(meets) {
            let expected = format!("the same from `layers` as from `shortcut`, which is {}", shown(&side.shape));
            return Err(unfit(label, &expected, &main.shape));
        }
        let value = self.network.node(label, "Add", &[&main.value, &side.value], &[]);
        let shape = main.shape.iter().zip(&side.shape).map(|(a, b)| a.or(*b)).collect();
        Ok(Flow { value, shape, is_integer: false })
    }
}

/// A function of each number.
pub(super) fn activate(network: &mut Network<'_, '_>, label: &str, value: &str, activation: Activation) -> String {
    let one = |network: &mut Network<'_, '_>, operator: &str, attributes: &[(&str, AttributeInput<'_>)]| {
        network.node(label, operator, &[value], attributes)
    };
    match activation {
        Activation::Relu => one(network, "Relu", &[]),
        Activation::LeakyRelu { slope } => one(network, "LeakyRelu", &[("alpha", float(slope))]),
        Activation::Elu { alpha } => one(network, "Elu", &[("alpha", float(alpha))]),
        Activation::Gelu => one(network, "Gelu", &[]),
        Activation::GeluTanh => one(network, "Gelu", &[("approximate", AttributeInput::Text("tanh"))]),
        Activation::Tanh => one(network, "Tanh", &[]),
        Activation::Sigmoid => one(network, "Sigmoid", &[]),
        Activation::Silu => {
            let gate = one(network, "Sigmoid", &[]);
            network.node(label, "Mul", &[value, &gate], &[])
        }
        Activation::HardSwish => one(network, "HardSwish", &[]),
        Activation::Softplus => one(network, "Softplus", &[]),
    }
}

/// The attribute of normalisations.
pub(super) fn epsilon_of(epsilon: f64) -> (&'static str, AttributeInput<'static>) {
    ("epsilon", float(epsilon))
}

/// ONNX holds attributes in single precision.
#[expect(clippy::cast_possible_truncation, reason = "what the format holds")]
fn float(number: f64) -> AttributeInput<'static> {
    AttributeInput::Float(number as f32)
}

fn unfit(label: &str, expected: &str, found: &[Option<usize>]) -> ArchitectureError {
    ArchitectureError::Input { layer: label.to_owned(), expected: expected.to_owned(), found: shown(found) }
}

/// Sides of what a window makes of `shape`, and kernel, strides, pads and dilations as attributes.
#[expect(clippy::type_complexity, reason = "two lists, named above")]
fn slide(
    label: &str,
    kernel: &[usize],
    window: &Window,
    usual_stride: &[usize],
    shape: &[Option<usize>],
) -> Result<(Vec<Option<usize>>, [Vec<i64>; 4]), ArchitectureError> {
    let rank = kernel.len();
    let wrong = |what: &str| misplaced(label, &format!("has another number of {what} than its kernel has sides"));
    let of = |sides: &Option<super::fields::Sides>, what: &str, usual: &[usize]| match sides {
        None => Ok(usual.to_vec()),
        Some(sides) => sides.of(rank).ok_or_else(|| wrong(what)),
    };
    let strides = of(&window.stride, "strides", usual_stride)?;
    let padding = of(&window.padding, "paddings", &vec![0; rank])?;
    let dilations = of(&window.dilation, "dilations", &vec![1; rank])?;
    if kernel.iter().chain(&strides).chain(&dilations).any(|side| *side == 0) {
        return Err(misplaced(label, "has a kernel, stride or dilation of 0"));
    }
    let mut sides = Vec::new();
    let axes = kernel.iter().zip(&strides).zip(padding.iter().zip(&dilations));
    for (length, ((kernel, stride), (padding, dilation))) in shape.iter().skip(1).zip(axes) {
        let reach = dilation.checked_mul(kernel - 1).and_then(|reach| reach.checked_add(1));
        let side = length.map(|length| {
            let padded = length.checked_add(padding.checked_mul(2)?)?;
            Some(padded.checked_sub(reach?)? / stride + 1)
        });
        if side == Some(None) {
            let expected = "sides at least as long as its window with all padding";
            return Err(unfit(label, expected, shape));
        }
        sides.push(side.flatten());
    }
    let pads = [padding.clone(), padding].concat();
    Ok((sides, [kernel.to_vec(), strides, pads, dilations].map(|list| ints(&list))))
}

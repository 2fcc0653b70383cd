//! New model files, layer by layer.
//!
//! ```
//! use ringfence_nn::{Model, Tensor, builder::Builder};
//!
//! # fn main() -> Result<(), ringfence_nn::NnError> {
//! let file = Builder::new("digits", 7)
//!     .input("x", &[1, 8, 8])
//!     .conv(8, [3, 3], [1, 1], [1, 1])
//!     .relu()
//!     .max_pool([2, 2], [2, 2])
//!     .flatten()
//!     .linear(10)
//!     .finish()?;
//! let model = Model::parse(&file)?;
//! assert_eq!(model.forward(&Tensor::<f32>::zeros(&[3, 1, 8, 8])?)?.shape, [3, 10]);
//! # Ok(())
//! # }
//! ```

use ringfence_format::onnx::write::{self, AttributeInput};
use ringfence_format::protobuf::Writer;

use crate::error::NnError;
use crate::random::Random;
use crate::real::Real;
use crate::tensor::elements;

/// Makes a chain of layers, each fed by the one before. Weights are fresh: He et al. 2015, biases 0.
///
/// A mistake (a layer that does not fit the shape so far) is kept and answered by [`Builder::finish`].
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    input: String,
    /// Without the batch.
    input_shape: Vec<usize>,
    /// The shape of `last`, without the batch.
    shape: Vec<usize>,
    last: String,
    layers: usize,
    /// Nodes and initialisers so far.
    graph: Writer,
    random: Random,
    problem: Option<&'static str>,
}

impl Builder {
    /// A model of this name; `seed` decides the weights.
    pub fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            input: String::new(),
            input_shape: Vec::new(),
            shape: Vec::new(),
            last: String::new(),
            layers: 0,
            graph: Writer::new(),
            random: Random::new(seed),
            problem: None,
        }
    }

    /// The input: one example's shape, such as `[channels, height, width]`. The batch in front of it is free.
    #[must_use]
    pub fn input(mut self, name: &str, example: &[usize]) -> Self {
        self.check(
            self.input.is_empty() && self.layers == 0 && !name.is_empty(),
            "the input is not first, or has no name",
        );
        name.clone_into(&mut self.input);
        name.clone_into(&mut self.last);
        self.input_shape = example.to_vec();
        self.shape = example.to_vec();
        self
    }

    /// A convolution of images with `out` channels; kernel, stride and padding (on both sides) as `[height, width]`.
    #[must_use]
    pub fn conv(mut self, out: usize, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> Self {
        let Some((channels, shape)) = self.slide(kernel, stride, pad) else { return self };
        let fan_in = channels * kernel[0] * kernel[1];
        let weight = self.weight(&[out, channels, kernel[0], kernel[1]], fan_in);
        let bias = self.constant("bias", &[out], &vec![0.0; out]);
        let [kernel, stride, pads] = [kernel.to_vec(), stride.to_vec(), [pad, pad].concat()].map(|list| ints(&list));
        let attributes = [
            ("kernel_shape", AttributeInput::Ints(&kernel)),
            ("strides", AttributeInput::Ints(&stride)),
            ("pads", AttributeInput::Ints(&pads)),
        ];
        self.node("Conv", &[&weight, &bias], &attributes);
        self.shape = vec![out, shape[0], shape[1]];
        self
    }

    /// A fully connected layer of a flat input.
    #[must_use]
    pub fn linear(mut self, out: usize) -> Self {
        let [features] = self.shape[..] else {
            self.check(false, "a linear layer takes a flat input");
            return self;
        };
        let weight = self.weight(&[out, features], features);
        let bias = self.constant("bias", &[out], &vec![0.0; out]);
        self.node("Gemm", &[&weight, &bias], &[("transB", AttributeInput::Int(1))]);
        self.shape = vec![out];
        self
    }

    /// Batch normalisation with fresh statistics: scale 1, bias 0, mean 0, variance 1.
    #[must_use]
    pub fn batch_norm(mut self) -> Self {
        let channels = self.shape.first().copied().unwrap_or(0);
        self.check(channels > 0, "a batch normalisation takes channels");
        let names = [("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("variance", 1.0)]
            .map(|(name, value)| self.constant(name, &[channels], &vec![value; channels]));
        self.node("BatchNormalization", &names.each_ref().map(String::as_str), &[]);
        self
    }

    /// The largest of each window, without padding.
    #[must_use]
    pub fn max_pool(self, kernel: [usize; 2], stride: [usize; 2]) -> Self {
        self.pool("MaxPool", kernel, stride)
    }

    /// The mean of each window, without padding.
    #[must_use]
    pub fn average_pool(self, kernel: [usize; 2], stride: [usize; 2]) -> Self {
        self.pool("AveragePool", kernel, stride)
    }

    fn pool(mut self, operator: &str, kernel: [usize; 2], stride: [usize; 2]) -> Self {
        let Some((channels, shape)) = self.slide(kernel, stride, [0, 0]) else { return self };
        let (kernel, stride) = (ints(&kernel), ints(&stride));
        let attributes = [("kernel_shape", AttributeInput::Ints(&kernel)), ("strides", AttributeInput::Ints(&stride))];
        self.node(operator, &[], &attributes);
        self.shape = vec![channels, shape[0], shape[1]];
        self
    }

    /// The mean of each channel; the planes become 1 × 1.
    #[must_use]
    pub fn global_average_pool(mut self) -> Self {
        self.check(self.shape.len() >= 2, "a global pool takes planes");
        self.node("GlobalAveragePool", &[], &[]);
        self.shape.iter_mut().skip(1).for_each(|dim| *dim = 1);
        self
    }

    /// Everything but the batch in one row.
    #[must_use]
    pub fn flatten(mut self) -> Self {
        self.node("Flatten", &[], &[("axis", AttributeInput::Int(1))]);
        self.shape = vec![self.shape.iter().product()];
        self
    }

    /// An operator of one input and no attributes that keeps the shape, such as `Relu`, `Tanh` or `Sigmoid`.
    #[must_use]
    pub fn activation(mut self, operator: &str) -> Self {
        self.node(operator, &[], &[]);
        self
    }

    /// max(x, 0)
    #[must_use]
    pub fn relu(self) -> Self {
        self.activation("Relu")
    }

    /// Probabilities over the last axis.
    #[must_use]
    pub fn softmax(self) -> Self {
        self.activation("Softmax")
    }

    /// Logarithms of probabilities over the last axis.
    #[must_use]
    pub fn log_softmax(self) -> Self {
        self.activation("LogSoftmax")
    }

    /// The file: opset 17, IR version 8.
    ///
    /// # Errors
    /// [`NnError::Interface`] with the first layer that did not fit.
    pub fn finish(mut self) -> Result<Vec<u8>, NnError> {
        self.check(self.layers > 0 && !self.input.is_empty(), "has no input or no layer");
        if let Some(problem) = self.problem {
            return Err(NnError::Interface { problem });
        }
        let dims = |shape: &[usize]| -> Vec<Option<i64>> {
            std::iter::once(None).chain(ints(shape).into_iter().map(Some)).collect()
        };
        let file = write::model(IR_VERSION, OPSET, "ringfence", |graph| {
            *graph = self.graph;
            write::graph_name(graph, &self.name);
            write::input(graph, &self.input, &dims(&self.input_shape));
            write::output(graph, &self.last, &dims(&self.shape));
        });
        Ok(file)
    }

    /// Channels and the plane that a window makes of the shape so far.
    fn slide(&mut self, kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> Option<(usize, [usize; 2])> {
        let side = |length: usize, axis: usize| {
            let room = length.checked_add(pad[axis].checked_mul(2)?)?.checked_sub(kernel[axis])?;
            (kernel[axis] > 0).then_some(room.checked_div(stride[axis])? + 1)
        };
        let places = match self.shape[..] {
            [channels, height, width] => side(height, 0).zip(side(width, 1)).map(|(y, x)| (channels, [y, x])),
            _ => None,
        };
        self.check(places.is_some(), "a window does not fit its input");
        places
    }

    fn check(&mut self, holds: bool, problem: &'static str) {
        if !holds {
            self.problem.get_or_insert(problem);
        }
    }

    fn weight(&mut self, shape: &[usize], fan_in: usize) -> String {
        let count = elements(shape);
        self.check(count.is_some(), "a layer has more weights than a tensor can hold");
        let deviation = (2.0 / fan_in.max(1) as f64).sqrt();
        let numbers: Vec<f32> = (0..count.unwrap_or(0)).map(|_| f32::of(self.random.normal() * deviation)).collect();
        self.constant("weight", shape, &numbers)
    }

    fn constant(&mut self, what: &str, shape: &[usize], numbers: &[f32]) -> String {
        let name = format!("layer{}.{what}", self.layers + 1);
        write::float_initialiser(&mut self.graph, &name, &ints(shape), numbers);
        name
    }

    fn node(&mut self, operator: &str, more: &[&str], attributes: &[(&str, AttributeInput<'_>)]) {
        self.check(!self.input.is_empty(), "a layer comes before the input");
        self.layers += 1;
        let output = format!("layer{}", self.layers);
        let inputs: Vec<&str> = std::iter::once(self.last.as_str()).chain(more.iter().copied()).collect();
        write::node(&mut self.graph, operator, &output, &inputs, &[&output], attributes);
        self.last = output;
    }
}

fn ints(values: &[usize]) -> Vec<i64> {
    values.iter().map(|value| i64::try_from(*value).unwrap_or(i64::MAX)).collect()
}

/// What files are made for.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

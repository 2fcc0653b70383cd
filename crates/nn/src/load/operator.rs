//! The operators that are known, with their attributes.
//!
//! Source: the ONNX operator specification, opsets 7 to 22. Where a version moved an attribute to an input, the operator
//! keeps the attribute as an `Option` and the plan looks at the input where it is `None`.

use super::{Learned, Node, Value};
use crate::kernel::index::Meeting;
use crate::kernel::pointwise::{Function, Unary};
use crate::kernel::reduce::{Reduction, Scale};

/// An operator with its attributes.
#[derive(Debug, Clone)]
pub(crate) enum Operator {
    Conv {
        window: WindowAttributes,
        groups: i64,
    },
    Gemm {
        alpha: f64,
        beta: f64,
        transpose_a: bool,
        transpose_b: bool,
    },
    MatMul,
    MaxPool(WindowAttributes),
    AveragePool {
        window: WindowAttributes,
        count_padding: bool,
    },
    GlobalAveragePool,
    GlobalMaxPool,
    BatchNormalization {
        epsilon: f64,
    },
    InstanceNormalization {
        epsilon: f64,
    },
    LayerNormalization {
        axis: i64,
        epsilon: f64,
    },
    Unary(Unary),
    /// Bounds as attributes, or as inputs 1 and 2.
    Clip {
        low: f64,
        high: f64,
    },
    Binary(Function),
    /// Before opset 13 the axis and all behind it are one distribution.
    Softmax {
        axis: i64,
        scale: Scale,
        joins_axes: bool,
    },
    Reduce {
        kind: Reduction,
        axes: Option<Vec<i64>>,
        keep: bool,
        none_means_identity: bool,
    },
    Flatten {
        axis: i64,
    },
    Reshape {
        zero_is_zero: bool,
    },
    Transpose {
        order: Option<Vec<i64>>,
    },
    Squeeze {
        axes: Option<Vec<i64>>,
    },
    Unsqueeze {
        axes: Option<Vec<i64>>,
    },
    Concat {
        axis: i64,
    },
    Split {
        axis: i64,
        sizes: Option<Vec<i64>>,
        outputs: usize,
    },
    /// Starts, ends and axes as attributes, or as inputs.
    Slice {
        bounds: Option<Bounds>,
    },
    Gather {
        axis: i64,
    },
    GatherElements {
        axis: i64,
    },
    GatherNd {
        batch_dims: i64,
    },
    ScatterElements {
        axis: i64,
        meeting: Meeting,
    },
    ScatterNd {
        meeting: Meeting,
    },
    Pad {
        mode: PadMode,
        pads: Option<Vec<i64>>,
        value: f64,
    },
    /// Also `Dropout`, which does nothing in inference.
    Identity,
    Cast {
        to: CastTo,
    },
    Shape {
        start: i64,
        end: Option<i64>,
    },
    Expand,
    CastLike,
    /// A number, and whether it is an integer.
    ConstantOfShape {
        value: f64,
        integer: bool,
    },
    Resize(ResizeMode),
    Size,
    Where,
    /// `ArgMax` and `ArgMin`.
    Extreme {
        axis: i64,
        keep: bool,
        largest: bool,
        last: bool,
    },
    /// The count as an attribute, or as an input.
    TopK {
        axis: i64,
        largest: bool,
        count: Option<i64>,
    },
    Hardmax {
        axis: i64,
        joins_axes: bool,
    },
    CumSum {
        exclusive: bool,
        reverse: bool,
    },
    Einsum {
        equation: String,
    },
    Trilu {
        upper: bool,
    },
    Range,
    Tile,
    OneHot {
        axis: i64,
    },
    EyeLike {
        offset: i64,
    },
    NonZero,
    Shuffle(Shuffle),
    ConvTranspose {
        window: WindowAttributes,
        groups: i64,
        output_padding: Option<Vec<i64>>,
        output_shape: Option<Vec<i64>>,
    },
    GroupNormalization {
        groups: i64,
        epsilon: f64,
        /// One scale a group, and not one a channel: before opset 21.
        by_group: bool,
    },
    MeanVarianceNormalization {
        axes: Vec<i64>,
    },
    LpNormalization {
        axis: i64,
        p: i64,
    },
    LocalResponse {
        alpha: f64,
        beta: f64,
        bias: f64,
        size: i64,
    },
    GlobalLpPool {
        p: i64,
    },
    Quantize {
        axis: i64,
    },
    Dequantize {
        axis: i64,
    },
    Recurrent(Recurrence),
    If {
        yes: Block,
        no: Block,
    },
    Loop(Block),
    /// Scan inputs and the axes and directions of inputs and outputs.
    Scan {
        body: Block,
        inputs: i64,
        input_axes: Vec<i64>,
        output_axes: Vec<i64>,
        input_backwards: Vec<i64>,
        output_backwards: Vec<i64>,
    },
    Learned(Learned),
}

/// Nodes that run under a condition or many times, over the values around them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<Value>,
    pub(crate) outputs: Vec<Value>,
}

/// `LSTM`, `GRU` and `RNN`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recurrence {
    pub(crate) gate: Gate,
    pub(crate) hidden: i64,
    pub(crate) directions: Vec<Direction>,
    /// The activations of each direction, one after the other.
    pub(crate) activations: Vec<Unary>,
    /// Batch before time.
    pub(crate) batch_first: bool,
}

/// The cell of a recurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Plain,
    Lstm,
    Gru { linear_before_reset: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Reverse,
}

/// How a resize finds its numbers; lists as attributes, or as inputs where `None`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResizeMode {
    pub(crate) scales: Option<Vec<f32>>,
    pub(crate) interpolation: Interpolation,
    pub(crate) coordinates: Coordinates,
    pub(crate) nearest: Nearest,
    pub(crate) cubic: f64,
    pub(crate) exclude_outside: bool,
    pub(crate) axes: Option<Vec<i64>>,
    /// Neither side of a picture is stretched beyond, or left short of, the other.
    pub(crate) aspect: Aspect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interpolation {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coordinates {
    HalfPixel,
    /// As half pixel, but 0 where the output is one long.
    TorchHalfPixel,
    HalfPixelSymmetric,
    AlignCorners,
    Asymmetric,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nearest {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aspect {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// `DepthToSpace` and `SpaceToDepth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    /// Depth is `[block, block, channels]`.
    DepthFirst {
        block: i64,
    },
    /// Depth is `[channels, block, block]`.
    ColumnFirst {
        block: i64,
    },
    SpaceToDepth {
        block: i64,
    },
}

/// What a slice picks; without axes the first ones, without steps every index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) starts: Vec<i64>,
    pub(crate) ends: Vec<i64>,
    pub(crate) axes: Option<Vec<i64>>,
    pub(crate) steps: Option<Vec<i64>>,
}

/// Attributes of a sliding window; lists are as long as the input has spatial axes, checked by the plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WindowAttributes {
    pub(crate) kernel: Option<Vec<i64>>,
    pub(crate) strides: Option<Vec<i64>>,
    pub(crate) dilations: Option<Vec<i64>>,
    pub(crate) pads: AutoPad,
    pub(crate) ceil: bool,
}

/// How a window's padding is determined.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AutoPad {
    /// By numbers: all befores, then all afters; none means 0.
    Explicit(Option<Vec<i64>>),
    /// So that the output is input / stride, rounded up; an odd cell goes behind.
    SameUpper,
    /// An odd cell goes in front.
    SameLower,
    /// No padding.
    Valid,
}

/// What `Pad` puts around a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// Element types that `Cast` can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CastTo {
    Float,
    Integer,
    Truth,
}

impl Operator {
    /// The least and the most inputs.
    pub(crate) fn arity(&self) -> (usize, usize) {
        match self {
            Self::BatchNormalization { .. } => (5, 5),
            Self::Conv { .. }
            | Self::Gemm { .. }
            | Self::LayerNormalization { .. }
            | Self::ConvTranspose { .. }
            | Self::Quantize { .. }
            | Self::Dequantize { .. } => (2, 3),
            Self::Clip { .. } | Self::Identity => (1, 3),
            Self::Binary(Function::Max | Function::Min | Function::Add) | Self::Concat { .. } => (1, MAX_INPUTS),
            Self::MatMul
            | Self::Binary(_)
            | Self::Reshape { .. }
            | Self::Gather { .. }
            | Self::GatherElements { .. }
            | Self::GatherNd { .. }
            | Self::CastLike
            | Self::CumSum { .. }
            | Self::Tile
            | Self::Expand => (2, 2),
            Self::Reduce { .. }
            | Self::Squeeze { .. }
            | Self::Unsqueeze { .. }
            | Self::Split { .. }
            | Self::Trilu { .. }
            | Self::TopK { .. } => (1, 2),
            Self::Where
            | Self::InstanceNormalization { .. }
            | Self::Range
            | Self::OneHot { .. }
            | Self::GroupNormalization { .. }
            | Self::ScatterElements { .. }
            | Self::ScatterNd { .. } => (3, 3),
            Self::Slice { .. } => (1, 5),
            Self::Pad { .. } | Self::Resize(_) => (1, 4),
            Self::Recurrent(_) => (3, 8),
            Self::Loop(_) | Self::Scan { .. } | Self::Einsum { .. } => (0, MAX_INPUTS),
            Self::Learned(learned) => learned.arity(),
            _ => (1, 1),
        }
    }

    /// The branches and bodies inside.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block> {
        let (first, second) = match self {
            Self::If { yes, no } => (Some(yes), Some(no)),
            Self::Loop(body) | Self::Scan { body, .. } => (Some(body), None),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The most outputs that are implemented.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Split { outputs, .. } => *outputs,
            Self::Recurrent(recurrence) if recurrence.gate == Gate::Lstm => 3,
            // A dropout says in its second output which numbers it dropped; nobody may read that.
            Self::Recurrent(_) | Self::TopK { .. } | Self::Identity => 2,
            Self::If { .. } | Self::Loop(_) | Self::Scan { .. } => MAX_INPUTS,
            Self::Learned(learned) => learned.outputs(),
            _ => 1,
        }
    }
}

/// Inputs of one node at most.
const MAX_INPUTS: usize = 1 << 12;

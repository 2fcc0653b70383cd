//! The operators that are known, with their attributes read and checked for the file's opset.
//!
//! Source: the ONNX operator specification, opsets 7 to 22. Where a version moved an attribute to an input, the operator
//! keeps the attribute as an `Option` and the plan looks at the input where it is `None`.

use super::Value;
use super::attributes::Attributes;
use crate::error::NnError;
use crate::kernel::pointwise::{Function, Unary};
use crate::kernel::reduce::{Reduction, Scale};

/// An operator with its attributes.
#[derive(Debug, Clone, PartialEq)]
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
    ConstantOfShape {
        value: i64,
    },
    /// Nearest neighbours by whole factors; `scales` as an attribute, or as an input.
    Resize {
        scales: Option<Vec<f32>>,
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
}

/// Element types that `Cast` can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CastTo {
    Float,
    Integer,
}

impl Operator {
    /// The least and the most inputs.
    pub(crate) fn arity(&self) -> (usize, usize) {
        match self {
            Self::BatchNormalization { .. } => (5, 5),
            Self::InstanceNormalization { .. } => (3, 3),
            Self::Conv { .. } | Self::Gemm { .. } | Self::LayerNormalization { .. } => (2, 3),
            Self::Clip { .. } | Self::Identity => (1, 3),
            Self::Binary(Function::Max | Function::Min | Function::Add) | Self::Concat { .. } => (1, MAX_INPUTS),
            Self::MatMul | Self::Binary(_) | Self::Reshape { .. } | Self::Gather { .. } | Self::Expand => (2, 2),
            Self::Reduce { .. } | Self::Squeeze { .. } | Self::Unsqueeze { .. } | Self::Split { .. } => (1, 2),
            Self::Slice { .. } => (1, 5),
            Self::Pad { .. } | Self::Resize { .. } => (1, 4),
            _ => (1, 1),
        }
    }

    /// The most outputs that are implemented.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Split { outputs, .. } => *outputs,
            _ => 1,
        }
    }
}

/// Inputs of one node at most.
const MAX_INPUTS: usize = 1 << 12;

/// Reads the operator of a node, in the version that the file's opset has.
pub(super) fn read(attributes: &mut Attributes<'_, '_>, inputs: &[Option<Value>]) -> Result<Operator, NnError> {
    let operator = match pointwise(attributes)? {
        Some(operator) => operator,
        None => match layers(attributes)? {
            Some(operator) => operator,
            None => layout(attributes, inputs)?.ok_or_else(|| attributes.place.unknown())?,
        },
    };
    attributes.finish()?;
    Ok(operator)
}

fn since(attributes: &Attributes<'_, '_>, opset: i64) -> Result<(), NnError> {
    if attributes.opset() < opset { Err(attributes.place.unknown()) } else { Ok(()) }
}

fn pointwise(a: &mut Attributes<'_, '_>) -> Result<Option<Operator>, NnError> {
    let unary = match a.operator() {
        "Relu" => Unary::Relu,
        "LeakyRelu" => Unary::LeakyRelu { slope: a.float("alpha", 0.01)? },
        "Elu" => Unary::Elu { alpha: a.float("alpha", 1.0)? },
        "Selu" => Unary::Selu {
            alpha: a.float("alpha", f64::from(1.673_263_2_f32))?,
            gamma: a.float("gamma", f64::from(1.050_701_f32))?,
        },
        "Celu" => {
            since(a, 12)?;
            let alpha = a.float("alpha", 1.0)?;
            if alpha == 0.0 {
                return Err(a.place.attribute("alpha", "is 0"));
            }
            Unary::Celu { alpha }
        }
        "Sigmoid" => Unary::Sigmoid,
        "HardSigmoid" => Unary::HardSigmoid { alpha: a.float("alpha", 0.2)?, beta: a.float("beta", 0.5)? },
        "HardSwish" => {
            since(a, 14)?;
            Unary::HardSwish
        }
        "Tanh" => Unary::Tanh,
        "Softplus" => Unary::Softplus,
        "Softsign" => Unary::Softsign,
        "Gelu" => {
            since(a, 20)?;
            match a.text("approximate", "none")? {
                "none" => Unary::Gelu,
                "tanh" => Unary::GeluTanh,
                _ => return Err(a.place.attribute("approximate", "has a value that is not implemented")),
            }
        }
        "Erf" => {
            since(a, 9)?;
            Unary::Erf
        }
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Abs" => Unary::Abs,
        "Neg" => Unary::Neg,
        "Reciprocal" => Unary::Reciprocal,
        _ => {
            let function = match a.operator() {
                "Add" | "Sum" => Function::Add,
                "Sub" => Function::Sub,
                "Mul" => Function::Mul,
                "Div" => Function::Div,
                "Pow" => Function::Pow,
                "Max" => Function::Max,
                "Min" => Function::Min,
                "PRelu" => Function::PRelu,
                _ => return Ok(None),
            };
            return Ok(Some(Operator::Binary(function)));
        }
    };
    Ok(Some(Operator::Unary(unary)))
}

fn layers(a: &mut Attributes<'_, '_>) -> Result<Option<Operator>, NnError> {
    let opset = a.opset();
    Ok(Some(match a.operator() {
        "Conv" => Operator::Conv { groups: a.int("group", 1)?, window: window(a, true)? },
        "Gemm" => Operator::Gemm {
            alpha: a.float("alpha", 1.0)?,
            beta: a.float("beta", 1.0)?,
            transpose_a: a.flag("transA", false)?,
            transpose_b: a.flag("transB", false)?,
        },
        "MatMul" => Operator::MatMul,
        "MaxPool" => {
            if opset >= 8 {
                a.only("storage_order", 0)?;
            }
            let mut window = window(a, opset >= 10)?;
            window.ceil = opset >= 10 && a.flag("ceil_mode", false)?;
            Operator::MaxPool(window)
        }
        "AveragePool" => {
            let count_padding = a.flag("count_include_pad", false)?;
            let mut window = window(a, opset >= 19)?;
            window.ceil = opset >= 10 && a.flag("ceil_mode", false)?;
            Operator::AveragePool { window, count_padding }
        }
        "GlobalAveragePool" => Operator::GlobalAveragePool,
        "GlobalMaxPool" => Operator::GlobalMaxPool,
        "BatchNormalization" => {
            // `momentum` matters in training only.
            a.float("momentum", 0.9)?;
            if opset < 9 {
                a.only("spatial", 1)?;
            }
            if opset >= 14 {
                a.only("training_mode", 0)?;
            }
            Operator::BatchNormalization { epsilon: a.float("epsilon", EPSILON)? }
        }
        "InstanceNormalization" => Operator::InstanceNormalization { epsilon: a.float("epsilon", EPSILON)? },
        "LayerNormalization" => {
            since(a, 17)?;
            a.only("stash_type", 1)?;
            Operator::LayerNormalization { axis: a.int("axis", -1)?, epsilon: a.float("epsilon", EPSILON)? }
        }
        "Softmax" | "LogSoftmax" => {
            let scale = if a.operator() == "Softmax" { Scale::Linear } else { Scale::Log };
            let axis = a.int("axis", if opset < 13 { 1 } else { -1 })?;
            Operator::Softmax { axis, scale, joins_axes: opset < 13 }
        }
        "ReduceMean" => reduce(a, Reduction::Mean, 18)?,
        "ReduceMax" => reduce(a, Reduction::Max, 18)?,
        "ReduceSum" => reduce(a, Reduction::Sum, 13)?,
        "Clip" if opset < 11 => {
            // Without the attributes the bounds are the type's own.
            let (low, high) = (f64::from(f32::MIN), f64::from(f32::MAX));
            Operator::Clip { low: a.float("min", low)?, high: a.float("max", high)? }
        }
        "Clip" => Operator::Clip { low: f64::NEG_INFINITY, high: f64::INFINITY },
        _ => return Ok(None),
    }))
}

fn layout(a: &mut Attributes<'_, '_>, inputs: &[Option<Value>]) -> Result<Option<Operator>, NnError> {
    let opset = a.opset();
    Ok(Some(match a.operator() {
        "Flatten" => Operator::Flatten { axis: a.int("axis", 1)? },
        "Reshape" => Operator::Reshape { zero_is_zero: opset >= 14 && a.flag("allowzero", false)? },
        "Transpose" => Operator::Transpose { order: a.ints("perm")? },
        "Squeeze" => Operator::Squeeze { axes: if opset < 13 { a.ints("axes")? } else { None } },
        "Unsqueeze" if opset < 13 => {
            let axes = a.ints("axes")?.ok_or_else(|| a.place.attribute("axes", "is missing"))?;
            Operator::Unsqueeze { axes: Some(axes) }
        }
        "Unsqueeze" => Operator::Unsqueeze { axes: None },
        "Concat" => {
            let axis = a.optional_int("axis")?.ok_or_else(|| a.place.attribute("axis", "is missing"))?;
            Operator::Concat { axis }
        }
        "Split" => {
            let outputs = a.outputs();
            if opset >= 18 && inputs.len() < 2 {
                let count = a.optional_int("num_outputs")?;
                if count != i64::try_from(outputs).ok() {
                    return Err(a.place.attribute("num_outputs", "is not the number of outputs"));
                }
            }
            let sizes = if opset < 13 { a.ints("split")? } else { None };
            Operator::Split { axis: a.int("axis", 0)?, sizes, outputs }
        }
        "Slice" if opset < 10 => {
            let missing = |name: &str| a.place.attribute(name, "is missing");
            let (no_starts, no_ends) = (missing("starts"), missing("ends"));
            let (starts, ends) = (a.ints("starts")?.ok_or(no_starts)?, a.ints("ends")?.ok_or(no_ends)?);
            Operator::Slice { bounds: Some(Bounds { starts, ends, axes: a.ints("axes")?, steps: None }) }
        }
        "Slice" => Operator::Slice { bounds: None },
        "Gather" => Operator::Gather { axis: a.int("axis", 0)? },
        "Pad" => {
            let mode = match a.text("mode", "constant")? {
                "constant" => PadMode::Constant,
                "reflect" => PadMode::Reflect,
                "edge" => PadMode::Edge,
                _ => return Err(a.place.attribute("mode", "has a value that is not implemented")),
            };
            let (pads, value) = if opset < 11 { (a.ints("pads")?, a.float("value", 0.0)?) } else { (None, 0.0) };
            Operator::Pad { mode, pads, value }
        }
        "Identity" => Operator::Identity,
        "Dropout" => {
            // In inference the ratio and the seed do not matter; the plan refuses a training mode that is on.
            if opset < 12 {
                a.float("ratio", 0.5)?;
            } else {
                a.int("seed", 0)?;
            }
            Operator::Identity
        }
        "Cast" => {
            if opset >= 19 {
                a.int("saturate", 1)?;
            }
            let to = match a.optional_int("to")? {
                Some(1) => CastTo::Float,
                // INT32, INT64
                Some(6 | 7) => CastTo::Integer,
                _ => return Err(a.place.attribute("to", "names a type that is not implemented")),
            };
            Operator::Cast { to }
        }
        "Shape" => {
            let (start, end) = if opset >= 15 { (a.int("start", 0)?, a.optional_int("end")?) } else { (0, None) };
            Operator::Shape { start, end }
        }
        "Expand" => {
            since(a, 8)?;
            Operator::Expand
        }
        "ConstantOfShape" => {
            since(a, 9)?;
            let value = a.integer_tensor("value")?;
            Operator::ConstantOfShape { value: value.ok_or_else(|| a.place.attribute("value", "is not an integer"))? }
        }
        "Upsample" if opset < 10 => {
            nearest_only(a)?;
            Operator::Resize { scales: if opset < 9 { a.floats("scales")? } else { None } }
        }
        "Resize" => {
            resize(a)?;
            Operator::Resize { scales: None }
        }
        _ => return Ok(None),
    }))
}

/// Whole factors make all coordinate transformations but `align_corners` and `tf_crop_and_resize` agree with
/// `asymmetric` and rounding down, except where rounding is said to be upwards.
fn resize(a: &mut Attributes<'_, '_>) -> Result<(), NnError> {
    since(a, 10)?;
    nearest_only(a)?;
    if a.opset() == 10 {
        return Ok(());
    }
    let transformation = a.text("coordinate_transformation_mode", "half_pixel")?;
    let rounding = a.text("nearest_mode", "round_prefer_floor")?;
    let agrees = match transformation {
        "half_pixel" | "pytorch_half_pixel" => rounding.starts_with("round_prefer"),
        "asymmetric" => rounding == "floor",
        _ => false,
    };
    if !agrees {
        return Err(a.place.attribute("coordinate_transformation_mode", "has a value that is not implemented"));
    }
    // These have no say in nearest-neighbour mode.
    a.float("cubic_coeff_a", -0.75)?;
    a.int("exclude_outside", 0)?;
    a.float("extrapolation_value", 0.0)?;
    if a.opset() >= 18 {
        a.only("antialias", 0)?;
    }
    Ok(())
}

fn nearest_only(a: &mut Attributes<'_, '_>) -> Result<(), NnError> {
    match a.text("mode", "nearest")? {
        "nearest" => Ok(()),
        _ => Err(a.place.attribute("mode", "has a value that is not implemented")),
    }
}

fn reduce(a: &mut Attributes<'_, '_>, kind: Reduction, axes_are_input_since: i64) -> Result<Operator, NnError> {
    let by_input = a.opset() >= axes_are_input_since;
    let axes = if by_input { None } else { a.ints("axes")? };
    let keep = a.flag("keepdims", true)?;
    let none_means_identity = by_input && a.flag("noop_with_empty_axes", false)?;
    Ok(Operator::Reduce { kind, axes, keep, none_means_identity })
}

fn window(a: &mut Attributes<'_, '_>, dilates: bool) -> Result<WindowAttributes, NnError> {
    let explicit = a.ints("pads")?;
    let automatic = a.text("auto_pad", "NOTSET")?;
    let none = explicit.as_ref().is_none_or(|pads| pads.iter().all(|pad| *pad == 0));
    let pads = match automatic {
        "NOTSET" => AutoPad::Explicit(explicit),
        _ if !none => return Err(a.place.attribute("auto_pad", "contradicts `pads`")),
        "SAME_UPPER" => AutoPad::SameUpper,
        "SAME_LOWER" => AutoPad::SameLower,
        "VALID" => AutoPad::Valid,
        _ => return Err(a.place.attribute("auto_pad", "has a value that is not known")),
    };
    Ok(WindowAttributes {
        kernel: a.ints("kernel_shape")?,
        strides: a.ints("strides")?,
        dilations: if dilates { a.ints("dilations")? } else { None },
        pads,
        ceil: false,
    })
}

/// The specification's default.
const EPSILON: f64 = 1e-5;

//! Reading each operator's attributes, in the version that the file's opset has.

use super::attributes::Attributes;
use super::operator::{Aspect, Coordinates, Interpolation, Nearest};
use super::{
    AutoPad, Block, Bounds, CastTo, Direction, Gate, LEARNED_DOMAIN, Operator, PadMode, Recurrence, ResizeMode,
    Shuffle, Value, WindowAttributes, learned, nice,
};
use crate::error::NnError;
use crate::kernel::elementary::{Elementary, Step};
use crate::kernel::index::Meeting;
use crate::kernel::pointwise::{Function, Unary};
use crate::kernel::reduce::{Reduction, Scale};

/// Reads the operator of a node, in the version that the file's opset has.
pub(super) fn read(
    attributes: &mut Attributes<'_, '_>,
    inputs: &[Option<Value>],
    blocks: Vec<(String, Block)>,
) -> Result<Operator, NnError> {
    let operator = if attributes.domain() == LEARNED_DOMAIN {
        learned::read(attributes)?.map(Operator::Learned)
    } else {
        let mut found = pointwise(attributes)?;
        let readers = [functions, layers, normalisations, order, reductions];
        for reader in readers {
            found = if found.is_none() { reader(attributes)? } else { found };
        }
        found = if found.is_none() { layout(attributes, inputs)? } else { found };
        if found.is_none() { control(attributes, blocks)? } else { found }
    };
    let operator = operator.ok_or_else(|| attributes.place.unknown())?;
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
        "Selu" => {
            Unary::Selu { alpha: a.float("alpha", nice::SELU_ALPHA)?, gamma: a.float("gamma", nice::SELU_GAMMA)? }
        }
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
                "Add" | "Sum" | "Mean" => Function::Add,
                "Sub" => Function::Sub,
                "Mul" => Function::Mul,
                "Div" => Function::Div,
                "Pow" => Function::Pow,
                "Max" => Function::Max,
                "Min" => Function::Min,
                "PRelu" => Function::PRelu,
                "Equal" => Function::Equal,
                "Less" => Function::Less,
                "LessOrEqual" => Function::LessOrEqual,
                "Greater" => Function::Greater,
                "GreaterOrEqual" => Function::GreaterOrEqual,
                "And" => Function::And,
                "Or" => Function::Or,
                "Xor" => Function::Xor,
                "Mod" if a.flag("fmod", false)? => Function::Remainder,
                "Mod" => Function::Modulo,
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
        "Softmax" | "LogSoftmax" => {
            let scale = if a.operator() == "Softmax" { Scale::Linear } else { Scale::Log };
            let axis = a.int("axis", if opset < 13 { 1 } else { -1 })?;
            Operator::Softmax { axis, scale, joins_axes: opset < 13 }
        }
        "Clip" if opset < 11 => {
            // Without the attributes the bounds are the type's own.
            let (low, high) = (f64::from(f32::MIN), f64::from(f32::MAX));
            Operator::Clip { low: a.float("min", low)?, high: a.float("max", high)? }
        }
        "Clip" => Operator::Clip { low: f64::NEG_INFINITY, high: f64::INFINITY },
        _ => return Ok(None),
    }))
}

fn functions(a: &mut Attributes<'_, '_>) -> Result<Option<Operator>, NnError> {
    let unary = match a.operator() {
        "Sin" => Unary::Elementary(Elementary::Sin),
        "Cos" => Unary::Elementary(Elementary::Cos),
        "Tan" => Unary::Elementary(Elementary::Tan),
        "Asin" => Unary::Elementary(Elementary::Asin),
        "Acos" => Unary::Elementary(Elementary::Acos),
        "Atan" => Unary::Elementary(Elementary::Atan),
        "Sinh" => Unary::Elementary(Elementary::Sinh),
        "Cosh" => Unary::Elementary(Elementary::Cosh),
        "Asinh" => Unary::Elementary(Elementary::Asinh),
        "Acosh" => Unary::Elementary(Elementary::Acosh),
        "Atanh" => Unary::Elementary(Elementary::Atanh),
        "Floor" => Unary::Step(Step::Floor),
        "Ceil" => Unary::Step(Step::Ceil),
        "Round" => {
            since(a, 11)?;
            Unary::Step(Step::Round)
        }
        "Sign" => {
            since(a, 9)?;
            Unary::Step(Step::Sign)
        }
        "Not" => Unary::Step(Step::Not),
        "IsNaN" => {
            since(a, 9)?;
            Unary::Step(Step::IsNan)
        }
        "IsInf" => {
            since(a, 10)?;
            let (negative, positive) = (a.flag("detect_negative", true)?, a.flag("detect_positive", true)?);
            Unary::Step(Step::IsInfinite { negative, positive })
        }
        "Mish" => {
            since(a, 18)?;
            Unary::Mish
        }
        "ThresholdedRelu" => {
            since(a, 10)?;
            Unary::ThresholdedRelu { alpha: a.float("alpha", 1.0)? }
        }
        "Shrink" => {
            since(a, 9)?;
            Unary::Shrink { limit: a.float("lambd", 0.5)?, bias: a.float("bias", 0.0)? }
        }
        _ => return Ok(None),
    };
    Ok(Some(Operator::Unary(unary)))
}

fn normalisations(a: &mut Attributes<'_, '_>) -> Result<Option<Operator>, NnError> {
    let opset = a.opset();
    Ok(Some(match a.operator() {
        "InstanceNormalization" => Operator::InstanceNormalization { epsilon: a.float("epsilon", EPSILON)? },
        "LayerNormalization" => {
            since(a, 17)?;
            a.only("stash_type", 1)?;
            Operator::LayerNormalization { axis: a.int("axis", -1)?, epsilon: a.float("epsilon", EPSILON)? }
        }
        "GroupNormalization" => {
            since(a, 18)?;
            if opset >= 21 {
                a.only("stash_type", 1)?;
            }
            let groups = a.optional_int("num_groups")?.ok_or_else(|| a.place.attribute("num_groups", "is missing"))?;
            Operator::GroupNormalization { groups, epsilon: a.float("epsilon", EPSILON)?, by_group: opset < 21 }
        }
        "MeanVarianceNormalization" => {
            since(a, 9)?;
            Operator::MeanVarianceNormalization { axes: a.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]) }
        }
        "LpNormalization" => {
            let p = a.int("p", 2)?;
            if p != 1 && p != 2 {
                return Err(a.place.attribute("p", "is neither 1 nor 2"));
            }
            Operator::LpNormalization { axis: a.int("axis", -1)?, p }
        }
        "LRN" => {
            let size = a.optional_int("size")?.ok_or_else(|| a.place.attribute("size", "is missing"))?;
            let (alpha, beta) = (a.float("alpha", 1e-4)?, a.float("beta", 0.75)?);
            Operator::LocalResponse { alpha, beta, bias: a.float("bias", 1.0)?, size }
        }
        "GlobalLpPool" => Operator::GlobalLpPool { p: a.int("p", 2)? },
        "QuantizeLinear" | "DequantizeLinear" => {
            since(a, 10)?;
            let axis = if opset >= 13 { a.int("axis", 1)? } else { 1 };
            if opset >= 21 {
                a.only("block_size", 0)?;
            }
            if a.operator() == "DequantizeLinear" {
                return Ok(Some(Operator::Dequantize { axis }));
            }
            if opset >= 19 {
                a.int("saturate", 1)?;
            }
            if opset >= 21 {
                a.only("output_dtype", 0)?;
            }
            Operator::Quantize { axis }
        }
        "ConvTranspose" => Operator::ConvTranspose {
            groups: a.int("group", 1)?,
            window: window(a, true)?,
            output_padding: a.ints("output_padding")?,
            output_shape: a.ints("output_shape")?,
        },
        "LSTM" | "GRU" | "RNN" => Operator::Recurrent(recurrence(a)?),
        _ => return Ok(None),
    }))
}

fn recurrence(a: &mut Attributes<'_, '_>) -> Result<Recurrence, NnError> {
    let (gate, defaults): (Gate, &[&[u8]]) = match a.operator() {
        "LSTM" => {
            a.only("input_forget", 0)?;
            (Gate::Lstm, &[b"Sigmoid", b"Tanh", b"Tanh"])
        }
        "GRU" => (Gate::Gru { linear_before_reset: a.flag("linear_before_reset", false)? }, &[b"Sigmoid", b"Tanh"]),
        _ => (Gate::Plain, &[b"Tanh"]),
    };
    let directions = match a.text("direction", "forward")? {
        "forward" => vec![Direction::Forward],
        "reverse" => vec![Direction::Reverse],
        "bidirectional" => vec![Direction::Forward, Direction::Reverse],
        _ => return Err(a.place.attribute("direction", "has a value that is not known")),
    };
    let mut names = a.text_list("activations")?;
    if names.is_empty() {
        names = directions.iter().flat_map(|_| defaults.iter().copied()).collect();
    }
    if names.len() != directions.len() * defaults.len() {
        return Err(a.place.attribute("activations", "has a wrong length"));
    }
    for list in ["activation_alpha", "activation_beta"] {
        if a.floats(list)?.is_some_and(|list| !list.is_empty()) {
            return Err(a.place.attribute(list, "is not implemented"));
        }
    }
    if a.float("clip", 0.0)? != 0.0 {
        return Err(a.place.attribute("clip", "is not implemented"));
    }
    let mut activations = Vec::new();
    for name in names {
        activations.push(match name.to_ascii_lowercase().as_slice() {
            b"sigmoid" => Unary::Sigmoid,
            b"tanh" => Unary::Tanh,
            b"relu" => Unary::Relu,
            b"softsign" => Unary::Softsign,
            b"softplus" => Unary::Softplus,
            b"hardsigmoid" => Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
            _ => return Err(a.place.attribute("activations", "has a value that is not implemented")),
        });
    }
    let hidden = a.optional_int("hidden_size")?.ok_or_else(|| a.place.attribute("hidden_size", "is missing"))?;
    let batch_first = a.opset() >= 14 && a.flag("layout", false)?;
    Ok(Recurrence { gate, hidden, directions, activations, batch_first })
}

fn reductions(a: &mut Attributes<'_, '_>) -> Result<Option<Operator>, NnError> {
    let (kind, since) = match a.operator() {
        "ReduceSum" => (Reduction::Sum, 13),
        "ReduceMean" => (Reduction::Mean, 18),
        "ReduceMax" => (Reduction::Max, 18),
        "ReduceMin" => (Reduction::Min, 18),
        "ReduceProd" => (Reduction::Product, 18),
        "ReduceL1" => (Reduction::L1, 18),
        "ReduceL2" => (Reduction::L2, 18),
        "ReduceSumSquare" => (Reduction::SumSquare, 18),
        "ReduceLogSum" => (Reduction::LogSum, 18),
        "ReduceLogSumExp" => (Reduction::LogSumExp, 18),
        _ => return Ok(None),
    };
    reduce(a, kind, since).map(Some)
}

fn order(a: &mut Attributes<'_, '_>) -> Result<Option<Operator>, NnError> {
    let opset = a.opset();
    Ok(Some(match a.operator() {
        "ArgMax" | "ArgMin" => Operator::Extreme {
            axis: a.int("axis", 0)?,
            keep: a.flag("keepdims", true)?,
            largest: a.operator() == "ArgMax",
            last: opset >= 12 && a.flag("select_last_index", false)?,
        },
        "TopK" => {
            let largest = opset < 11 || a.flag("largest", true)?;
            if opset >= 11 {
                a.flag("sorted", true)?;
            }
            let count = if opset < 10 { a.optional_int("k")? } else { None };
            Operator::TopK { axis: a.int("axis", -1)?, largest, count }
        }
        "Hardmax" => {
            Operator::Hardmax { axis: a.int("axis", if opset < 13 { 1 } else { -1 })?, joins_axes: opset < 13 }
        }
        "CumSum" => {
            since(a, 11)?;
            Operator::CumSum { exclusive: a.flag("exclusive", false)?, reverse: a.flag("reverse", false)? }
        }
        "Where" => {
            since(a, 9)?;
            Operator::Where
        }
        "GatherElements" => {
            since(a, 11)?;
            Operator::GatherElements { axis: a.int("axis", 0)? }
        }
        "GatherND" => {
            since(a, 11)?;
            Operator::GatherNd { batch_dims: if opset >= 12 { a.int("batch_dims", 0)? } else { 0 } }
        }
        "ScatterElements" | "Scatter" => {
            since(a, 9)?;
            Operator::ScatterElements { axis: a.int("axis", 0)?, meeting: meeting(a)? }
        }
        "ScatterND" => {
            since(a, 11)?;
            Operator::ScatterNd { meeting: meeting(a)? }
        }
        "OneHot" => {
            since(a, 9)?;
            Operator::OneHot { axis: a.int("axis", -1)? }
        }
        "Einsum" => {
            since(a, 12)?;
            Operator::Einsum { equation: a.text("equation", "")?.to_owned() }
        }
        "NonZero" => Operator::NonZero,
        _ => return Ok(None),
    }))
}

fn meeting(a: &mut Attributes<'_, '_>) -> Result<Meeting, NnError> {
    if a.opset() < 16 {
        return Ok(Meeting::Replace);
    }
    Ok(match a.text("reduction", "none")? {
        "none" => Meeting::Replace,
        "add" => Meeting::Add,
        "mul" => Meeting::Multiply,
        "max" => Meeting::Larger,
        "min" => Meeting::Smaller,
        _ => return Err(a.place.attribute("reduction", "has a value that is not known")),
    })
}

/// What has branches or a body.
fn control(a: &mut Attributes<'_, '_>, blocks: Vec<(String, Block)>) -> Result<Option<Operator>, NnError> {
    let mut blocks: std::collections::HashMap<String, Block> = blocks.into_iter().collect();
    let place = a.place;
    let mut block = |a: &mut Attributes<'_, '_>, name: &'static str| {
        a.skip(name);
        blocks.remove(name).ok_or_else(|| place.attribute(name, "is missing"))
    };
    Ok(Some(match a.operator() {
        "If" => Operator::If { yes: block(a, "then_branch")?, no: block(a, "else_branch")? },
        "Loop" => Operator::Loop(block(a, "body")?),
        "Scan" => {
            since(a, 9)?;
            let mut list = |name| a.ints(name).map(Option::unwrap_or_default);
            let (input_axes, output_axes) = (list("scan_input_axes")?, list("scan_output_axes")?);
            let (input_backwards, output_backwards) = (list("scan_input_directions")?, list("scan_output_directions")?);
            let inputs = a.int("num_scan_inputs", 0)?;
            Operator::Scan {
                body: block(a, "body")?,
                inputs,
                input_axes,
                output_axes,
                input_backwards,
                output_backwards,
            }
        }
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
                "wrap" if opset >= 19 => PadMode::Wrap,
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
                // FLOAT, DOUBLE
                Some(1 | 11) => CastTo::Float,
                // UINT8, INT8, UINT16, INT16, INT32, INT64, UINT32, UINT64
                Some(2..=7 | 12 | 13) => CastTo::Integer,
                Some(9) => CastTo::Truth,
                _ => return Err(a.place.attribute("to", "names a type that is not implemented")),
            };
            Operator::Cast { to }
        }
        "CastLike" => {
            since(a, 15)?;
            if opset >= 19 {
                a.int("saturate", 1)?;
            }
            Operator::CastLike
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
            let (value, integer) = a.number("value")?.unwrap_or((0.0, false));
            Operator::ConstantOfShape { value, integer }
        }
        "Upsample" if opset < 10 => {
            let interpolation = interpolation(a, "nearest")?;
            let scales = if opset < 9 { a.floats("scales")? } else { None };
            Operator::Resize(ResizeMode { scales, interpolation, ..old_resize() })
        }
        "Resize" => Operator::Resize(resize(a)?),
        "Size" => Operator::Size,
        "Trilu" => {
            since(a, 14)?;
            Operator::Trilu { upper: a.flag("upper", true)? }
        }
        "Range" => {
            since(a, 11)?;
            Operator::Range
        }
        "Tile" => Operator::Tile,
        "EyeLike" => {
            since(a, 9)?;
            a.int("dtype", 1)?;
            Operator::EyeLike { offset: a.int("k", 0)? }
        }
        "DepthToSpace" | "SpaceToDepth" => {
            let block = a.optional_int("blocksize")?.ok_or_else(|| a.place.attribute("blocksize", "is missing"))?;
            let column = a.operator() == "DepthToSpace" && opset >= 11 && a.text("mode", "DCR")? == "CRD";
            Operator::Shuffle(match (a.operator(), column) {
                ("SpaceToDepth", _) => Shuffle::SpaceToDepth { block },
                (_, true) => Shuffle::ColumnFirst { block },
                (_, false) => Shuffle::DepthFirst { block },
            })
        }
        _ => return Ok(None),
    }))
}

/// `Upsample` and the first `Resize`: cell `i` reads `i / scale`.
fn old_resize() -> ResizeMode {
    ResizeMode {
        scales: None,
        interpolation: Interpolation::Nearest,
        coordinates: Coordinates::Asymmetric,
        nearest: Nearest::Floor,
        cubic: -0.75,
        exclude_outside: false,
        axes: None,
        aspect: Aspect::Stretch,
    }
}

fn resize(a: &mut Attributes<'_, '_>) -> Result<ResizeMode, NnError> {
    since(a, 10)?;
    let interpolation = interpolation(a, "nearest")?;
    if a.opset() == 10 {
        return Ok(ResizeMode { interpolation, ..old_resize() });
    }
    let coordinates = match a.text("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::TorchHalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        _ => return Err(a.place.attribute("coordinate_transformation_mode", "has a value that is not implemented")),
    };
    let nearest = match a.text("nearest_mode", "round_prefer_floor")? {
        "round_prefer_floor" => Nearest::PreferFloor,
        "round_prefer_ceil" => Nearest::PreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        _ => return Err(a.place.attribute("nearest_mode", "has a value that is not known")),
    };
    let (cubic, exclude_outside) = (a.float("cubic_coeff_a", -0.75)?, a.flag("exclude_outside", false)?);
    // It has a say in a mode that is refused above.
    a.float("extrapolation_value", 0.0)?;
    let (mut axes, mut aspect) = (None, Aspect::Stretch);
    if a.opset() >= 18 {
        a.only("antialias", 0)?;
        axes = a.ints("axes")?;
        aspect = match a.text("keep_aspect_ratio_policy", "stretch")? {
            "stretch" => Aspect::Stretch,
            "not_larger" => Aspect::NotLarger,
            "not_smaller" => Aspect::NotSmaller,
            _ => return Err(a.place.attribute("keep_aspect_ratio_policy", "has a value that is not known")),
        };
    }
    Ok(ResizeMode { scales: None, interpolation, coordinates, nearest, cubic, exclude_outside, axes, aspect })
}

fn interpolation(a: &mut Attributes<'_, '_>, default: &'static str) -> Result<Interpolation, NnError> {
    Ok(match a.text("mode", default)? {
        "nearest" => Interpolation::Nearest,
        "linear" | "bilinear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic,
        _ => return Err(a.place.attribute("mode", "has a value that is not implemented")),
    })
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

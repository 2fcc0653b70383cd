//! Which constants are weights, which are statistics, and how each starts afresh.
//!
//! A file does not say what is trained. The rule here: an initialiser is a parameter where a convolution, a matrix
//! product, a normalisation or `PRelu` reads it as weight, scale, slope or bias, or where `Add` or `Mul` reads it and it
//! has two elements or more. Operands of `Sub`, `Div`, `Pow`, `Min` and `Max`, scalars and constant nodes stay what they
//! are: they are preprocessing and arithmetic, not knowledge. Reshaped and transposed initialisers are followed.

use ringfence_format::onnx::DataType;

use super::{Graph, Known, Operator, Value, nice};
use crate::kernel::pointwise::Function;

/// What a constant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Part of the arithmetic.
    Fixed,
    /// Mean or variance of a batch normalisation: not trained by gradients, but reset with the weights.
    Statistic(Fresh),
    /// Trained.
    Parameter(Fresh),
}

/// How a constant starts afresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// Normal with variance 2 / fan-in (He et al. 2015, equation 10).
    Weight {
        /// How many inputs each output sums over.
        fan_in: usize,
    },
    /// Biases and means.
    Zero,
    /// Scales and variances.
    One,
    /// `PRelu`: a quarter (He et al. 2015, section 2.1).
    Quarter,
}

/// A value that is an initialiser, perhaps seen transposed.
#[derive(Clone, Copy)]
struct Origin {
    float: usize,
    transposed: bool,
}

pub(super) fn assign(graph: &mut Graph) {
    let mut origins: Vec<Option<Origin>> = graph
        .values
        .iter()
        .map(|known| match known {
            Known::Float(float) if graph.floats.get(*float).is_some_and(|float| float.initialiser) => {
                Some(Origin { float: *float, transposed: false })
            }
            _ => None,
        })
        .collect();
    let mut roles = Vec::new();
    for node in graph.all_nodes() {
        let origin = |index: usize| -> Option<Origin> {
            let value: Value = (*node.inputs.get(index)?)?;
            *origins.get(value)?
        };
        let passed = match &node.operator {
            Operator::Identity | Operator::Reshape { .. } | Operator::Squeeze { .. } | Operator::Unsqueeze { .. } => {
                origin(0)
            }
            Operator::Transpose { .. } => origin(0).map(|from| Origin { transposed: !from.transposed, ..from }),
            operator => {
                for index in 0..node.inputs.len() {
                    let Some(from) = origin(index) else { continue };
                    let shape = graph.floats.get(from.float).map_or(&[][..], |float| &float.shape);
                    if let Some(role) = role(operator, index, shape, from.transposed) {
                        roles.push((from.float, role));
                    }
                }
                None
            }
        };
        let output = node.outputs.first().copied().flatten();
        if let (Some(_), Some(slot)) = (passed, output.and_then(|output| origins.get_mut(output))) {
            *slot = passed;
        }
    }
    for (float, role) in roles {
        if let Some(float) = graph.floats.get_mut(float)
            && float.role == Role::Fixed
            && matches!(float.stored, DataType::Float | DataType::Double)
        {
            float.role = role;
        }
    }
    read_scalars(graph);
}

/// Scalars that are not trained are the program's own: they stand for what the program says.
fn read_scalars(graph: &mut Graph) {
    for float in graph.floats.iter_mut().filter(|float| float.role == Role::Fixed && float.exact.is_none()) {
        if let (DataType::Float, [number]) = (float.stored, &float.numbers[..]) {
            float.exact = Some(vec![nice::nice(*number)]);
        }
    }
}

fn role(operator: &Operator, index: usize, shape: &[usize], transposed: bool) -> Option<Role> {
    let count: usize = shape.iter().product();
    let matrix = |stored_by_output: bool| {
        // The axis that is summed over: the last where rows are outputs, the last but one otherwise.
        let behind = usize::from(stored_by_output == transposed);
        let axis = shape.len().checked_sub(1 + behind);
        Fresh::Weight { fan_in: axis.and_then(|axis| shape.get(axis)).or(shape.first()).copied().unwrap_or(1) }
    };
    let fresh = match (operator, index) {
        (Operator::Conv { .. } | Operator::ConvTranspose { .. }, 1) => {
            Fresh::Weight { fan_in: shape.iter().skip(1).product() }
        }
        (Operator::Gemm { transpose_b, .. }, 1) => matrix(*transpose_b),
        (Operator::Gemm { transpose_a, .. }, 0) => matrix(!*transpose_a),
        (Operator::MatMul, 0) => matrix(true),
        (Operator::MatMul | Operator::Einsum { .. }, 1) => matrix(false),
        (
            Operator::BatchNormalization { .. }
            | Operator::InstanceNormalization { .. }
            | Operator::GroupNormalization { .. }
            | Operator::LayerNormalization { .. },
            1,
        ) => Fresh::One,
        (
            Operator::BatchNormalization { .. }
            | Operator::InstanceNormalization { .. }
            | Operator::LayerNormalization { .. }
            | Operator::GroupNormalization { .. }
            | Operator::ConvTranspose { .. }
            | Operator::Conv { .. }
            | Operator::Gemm { .. },
            2,
        )
        | (Operator::Recurrent(_), 3) => Fresh::Zero,
        (Operator::BatchNormalization { .. }, 3) => return Some(Role::Statistic(Fresh::Zero)),
        (Operator::BatchNormalization { .. }, 4) => return Some(Role::Statistic(Fresh::One)),
        // Rows of a table of embeddings, and the matrices of a recurrence: what each output sums over is the last axis.
        (Operator::Gather { axis: 0 }, 0) if shape.len() == 2 => {
            Fresh::Weight { fan_in: shape.last().copied().unwrap_or(1) }
        }
        (Operator::Recurrent(_), 1 | 2) => Fresh::Weight { fan_in: shape.last().copied().unwrap_or(1) },
        (Operator::Binary(Function::PRelu), 1) => Fresh::Quarter,
        (Operator::Binary(Function::Add), _) if count >= 2 => Fresh::Zero,
        (Operator::Binary(Function::Mul), _) if count >= 2 => Fresh::One,
        _ => return None,
    };
    Some(Role::Parameter(fresh))
}

#!/usr/bin/env python3
"""Makes tests/data/cases.bin and more.bin: small ONNX models with an input and what onnxruntime answers to it.

    python3 -m venv /tmp/cases && /tmp/cases/bin/pip install onnx onnxruntime numpy
    /tmp/cases/bin/python crates/nn/tests/make_cases.py crates/nn/tests/data/cases.bin crates/nn/tests/data/more.bin

The file is a sequence of records; a record is four fields (name, model, input, output), a field is a little-endian u32 length and
that many bytes. An array is a u32 rank, the dimensions as u32, and the numbers as f32.
"""

import struct
import sys

import more_cases
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(20)
cases = []


def normal(*shape):
    return random.standard_normal(shape).astype(np.float32)


def distinct(*shape):
    """Numbers far enough apart that a small step never changes which one is the largest."""
    count = int(np.prod(shape))
    return (random.permutation(count).astype(np.float32) * 4 / count - 2).reshape(shape)


def node(op, inputs, outputs="y", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def case(name, opset, nodes, x, **initialisers):
    """A model of these nodes, from `x` to `y`. Floats become FLOAT, integers INT64 initialisers."""
    x = np.asarray(x, dtype=np.float32)
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in initialisers.items()]
    graph = helper.make_graph(
        nodes if isinstance(nodes, list) else [nodes],
        "case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    imports = [helper.make_opsetid("", opset)]
    if any(node.domain for node in graph.node):
        imports.append(helper.make_opsetid("ai.onnx.ml", 3))
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    model.producer_name = ""
    data = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # As written, not as optimised: fused kernels round differently.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    assert np.isfinite(y).all(), name
    cases.append((name, data, x, y))


def i64(*values):
    return np.array(values, dtype=np.int64)


def f32(*values):
    return np.array(values, dtype=np.float32)


# Convolutions.
for name, x, w, attributes in [
    ("plain", (2, 3, 5, 6), (4, 3, 3, 3), {}),
    ("wong", (2, 1, 8, 8), (4, 1, 4, 4), dict(strides=[2, 2], pads=[1, 1, 1, 1])),
    ("uneven_strides", (1, 2, 7, 6), (3, 2, 3, 2), dict(strides=[2, 3], pads=[0, 1, 2, 0])),
    ("dilated", (1, 2, 9, 8), (2, 2, 3, 3), dict(dilations=[2, 3], pads=[2, 3, 1, 0])),
    ("grouped", (2, 4, 5, 5), (6, 2, 3, 3), dict(group=2, pads=[1, 1, 1, 1])),
    ("depthwise", (2, 3, 6, 5), (6, 1, 3, 3), dict(group=3, strides=[2, 1], pads=[1, 1, 1, 1])),
    ("pointwise", (2, 3, 4, 4), (5, 3, 1, 1), {}),
    ("pointwise_strided", (2, 3, 5, 4), (5, 3, 1, 1), dict(strides=[2, 2])),
    ("same_upper", (1, 2, 6, 7), (2, 2, 3, 2), dict(auto_pad="SAME_UPPER", strides=[2, 2])),
    ("same_lower", (1, 2, 6, 7), (2, 2, 3, 2), dict(auto_pad="SAME_LOWER", strides=[2, 1])),
    ("valid", (1, 2, 6, 7), (2, 2, 3, 2), dict(auto_pad="VALID")),
    ("wide_pads", (1, 1, 3, 3), (2, 1, 2, 2), dict(pads=[3, 2, 2, 3], strides=[3, 3])),
    ("line", (2, 3, 9), (4, 3, 3), dict(strides=[2], pads=[1, 2])),
    ("line_grouped", (2, 4, 7), (4, 2, 2), dict(group=2, dilations=[3])),
]:
    case(f"conv_{name}", 11, node("Conv", "x w b", **attributes), normal(*x), w=normal(*w), b=normal(w[0]))
case("conv_without_bias", 7, node("Conv", "x w", kernel_shape=[2, 2]), normal(2, 2, 4, 4), w=normal(3, 2, 2, 2))

# Matrix products.
for name, x, w, c, attributes in [
    ("plain", (3, 4), (4, 5), (5,), {}),
    ("transposed_b", (3, 4), (5, 4), (5,), dict(transB=1)),
    ("transposed_a", (4, 3), (4, 5), (3, 5), dict(transA=1)),
    ("transposed_both", (4, 3), (5, 4), (1,), dict(transA=1, transB=1, alpha=0.5)),
    ("scaled", (3, 4), (4, 5), (3, 1), dict(alpha=1.5, beta=-0.5)),
    ("beta_zero", (3, 4), (4, 5), (5,), dict(beta=0.0)),
]:
    case(f"gemm_{name}", 11, node("Gemm", "x w c", **attributes), normal(*x), w=normal(*w), c=normal(*c))
case("gemm_without_bias", 11, node("Gemm", "x w", transB=1), normal(3, 4), w=normal(5, 4))
for name, x, w in [
    ("matrices", (3, 4), (4, 5)),
    ("rows", (2, 3, 4), (4, 5)),
    ("batches", (2, 3, 4), (2, 4, 2)),
    ("broadcast", (2, 1, 3, 4), (3, 4, 2)),
    ("broadcast_left", (3, 4), (2, 4, 5)),
    ("vector_right", (2, 3, 4), (4,)),
]:
    case(f"matmul_{name}", 13, node("MatMul", "x w"), normal(*x), w=normal(*w))
case("matmul_constant_left", 9, node("MatMul", "w x"), normal(2, 4, 3), w=normal(5, 4))
case("matmul_vector_left", 9, node("MatMul", "w x"), normal(2, 4, 3), w=normal(4))
case("matmul_itself", 13, [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t")], normal(2, 3, 4))

# Pools.
for name, opset, x, attributes in [
    ("plain", 7, (2, 2, 4, 6), dict(kernel_shape=[2, 2], strides=[2, 2])),
    ("stem", 8, (1, 2, 7, 7), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    ("overlap", 12, (1, 2, 6, 5), dict(kernel_shape=[3, 2])),
    ("ceil", 10, (1, 2, 6, 7), dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)),
    ("ceil_padded", 12, (1, 1, 5, 6), dict(kernel_shape=[2, 3], strides=[3, 2], pads=[1, 1, 0, 1], ceil_mode=1)),
    ("ceil_beyond", 12, (1, 1, 4, 4), dict(kernel_shape=[1, 1], strides=[3, 3], ceil_mode=1)),
    ("dilated", 12, (1, 2, 7, 8), dict(kernel_shape=[2, 3], dilations=[3, 2])),
    ("same_upper", 11, (1, 2, 5, 6), dict(kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")),
    ("same_lower", 11, (1, 2, 5, 6), dict(kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_LOWER")),
    ("line", 12, (2, 3, 7), dict(kernel_shape=[3], strides=[2], pads=[1, 0])),
]:
    case(f"maxpool_{name}", opset, node("MaxPool", "x", **attributes), distinct(*x))
for name, opset, x, attributes in [
    ("plain", 7, (2, 2, 4, 6), dict(kernel_shape=[2, 2], strides=[2, 2])),
    ("padded", 7, (1, 2, 5, 5), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])),
    ("padding_counts", 7, (1, 2, 5, 5), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2], count_include_pad=1)),
    ("ceil", 19, (1, 2, 6, 7), dict(kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1)),
    ("ceil_counts", 19, (1, 1, 6, 6), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1, count_include_pad=1)),
    ("dilated", 19, (1, 1, 7, 7), dict(kernel_shape=[2, 2], dilations=[2, 3])),
    ("same_upper", 11, (1, 2, 5, 6), dict(kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")),
    ("line", 11, (2, 3, 7), dict(kernel_shape=[3], pads=[1, 1])),
]:
    case(f"averagepool_{name}", opset, node("AveragePool", "x", **attributes), normal(*x))
for op in ["GlobalAveragePool", "GlobalMaxPool"]:
    case(f"{op.lower()}_plane", 7, node(op, "x"), normal(2, 3, 4, 5))
    case(f"{op.lower()}_line", 13, node(op, "x"), normal(2, 3, 4))

# Normalisation.
for opset, x in [(7, (2, 3, 4, 4)), (9, (3, 4)), (15, (2, 3, 5))]:
    c = x[1]
    parameters = dict(s=normal(c), b=normal(c), m=normal(c), v=np.abs(normal(c)) + np.float32(0.3))
    case(f"batchnorm_{opset}", opset, node("BatchNormalization", "x s b m v", epsilon=1e-3), normal(*x), **parameters)
case("instancenorm_plane", 7, node("InstanceNormalization", "x s b"), normal(2, 3, 4, 4), s=normal(3), b=normal(3))
case("instancenorm_line", 17, node("InstanceNormalization", "x s b", epsilon=0.1), normal(2, 3, 5), s=normal(3), b=normal(3))
case("layernorm_last", 17, node("LayerNormalization", "x s b"), normal(2, 3, 6), s=normal(6), b=normal(6))
case("layernorm_two", 17, node("LayerNormalization", "x s b", axis=-2, epsilon=0.01), normal(2, 3, 4), s=normal(3, 4), b=normal(3, 4))
case("layernorm_without_bias", 17, node("LayerNormalization", "x s", axis=1), normal(2, 5), s=normal(5))

# Functions of one number.
line = np.linspace(-4.05, 4.1, 40, dtype=np.float32).reshape(4, 10)
positive = np.linspace(0.1, 5, 40, dtype=np.float32).reshape(4, 10)
for op, opset, x, attributes in [
    ("Relu", 7, line, {}),
    ("LeakyRelu", 7, line, {}),
    ("LeakyRelu", 16, line, dict(alpha=0.3)),
    ("Elu", 7, line, dict(alpha=0.7)),
    ("Selu", 7, line, {}),
    ("Celu", 12, line, dict(alpha=1.7)),
    ("Sigmoid", 7, line, {}),
    ("HardSigmoid", 7, line, {}),
    ("HardSigmoid", 22, line, dict(alpha=0.3, beta=0.45)),
    ("HardSwish", 14, line, {}),
    ("Tanh", 7, line, {}),
    ("Softplus", 7, line, {}),
    ("Softsign", 7, line, {}),
    ("Gelu", 20, line, {}),
    ("Gelu", 20, line, dict(approximate="tanh")),
    ("Erf", 9, line, {}),
    ("Clip", 7, line, dict(min=-1.0, max=2.0)),
    ("Clip", 10, line, dict(min=-1.0)),
    ("Exp", 7, line, {}),
    ("Log", 7, positive, {}),
    ("Sqrt", 7, positive, {}),
    ("Abs", 7, line, {}),
    ("Neg", 7, line, {}),
    ("Reciprocal", 13, positive, {}),
]:
    case("_".join([op.lower(), str(opset), *attributes]), opset, node(op, "x", **attributes), x)
case("clip_inputs", 13, node("Clip", "x low high"), line, low=np.float32(-1), high=np.float32(0.5))
case("clip_high_only", 12, helper.make_node("Clip", ["x", "", "high"], ["y"]), line, high=np.float32(0.5))
case("clip_relu6", 11, node("Clip", "x z six"), 3 * line, z=np.float32(0), six=np.float32(6))

# Functions of two numbers: with a constant, and with both operands from the input.
for op in ["Add", "Sub", "Mul", "Div"]:
    for name, x, w in [("same", (2, 3), (2, 3)), ("right", (2, 3, 4), (3, 1)), ("left", (2, 1, 4), (3, 1)), ("scalar", (2, 3), ())]:
        w = np.abs(normal(*w)) + np.float32(0.5)
        case(f"{op.lower()}_{name}", 7 if name == "same" else 14, node(op, "x w"), normal(*x), w=w)
    case(f"{op.lower()}_constant_left", 13, node(op, "w x"), np.abs(normal(2, 3)) + 1, w=normal(3))
both = [node("Split", "x", "a c", axis=1), node("Slice", "c from to axes", "b")]
spans = dict([("from", i64(0)), ("to", i64(1)), ("axes", i64(2))])
for op in ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"]:
    x = np.abs(normal(2, 4, 3)) + np.float32(0.5)
    case(f"{op.lower()}_both", 13, [*both, node(op, "a b")], x, **spans)
    if op in ["Add", "Mul", "Sub", "Div"]:
        case(f"{op.lower()}_itself", 13, node(op, "x x"), x)
for exponent in [2.0, 0.5, 3.0, -1.5]:
    case(f"pow_{exponent}", 13, node("Pow", "x e"), positive, e=np.float32(exponent))
case("pow_negative_base", 12, node("Pow", "x e"), line, e=np.float32(3))
for op in ["Min", "Max", "Sum"]:
    case(f"{op.lower()}_three", 8, node(op, "x w v"), normal(2, 3), w=normal(3), v=normal(2, 1))
    case(f"{op.lower()}_one", 13, node(op, "x"), normal(2, 3))
case("prelu_channels", 7, node("PRelu", "x s"), normal(2, 3, 4), s=normal(3, 1))
case("prelu_scalar", 16, node("PRelu", "x s"), normal(2, 3, 4), s=normal(1))

# Softmax, between other operators so that its own gradient is taken.
for op in ["Softmax", "LogSoftmax"]:
    for opset, shape, attributes in [
        (7, (2, 3, 4), {}),
        (11, (2, 3, 4), dict(axis=2)),
        (12, (2, 3, 4), dict(axis=0)),
        (13, (2, 3, 4), {}),
        (13, (2, 3, 4), dict(axis=1)),
    ]:
        name = "_".join([op.lower(), str(opset), *(str(v) for v in attributes.values())])
        case(name, opset, [node(op, "x", "p", **attributes), node("Mul", "p w")], 3 * normal(*shape), w=normal(*shape))

# Reductions.
for op in ["ReduceMean", "ReduceSum", "ReduceMax"]:
    name = op.lower()
    case(f"{name}_all", 11, node(op, "x", keepdims=1), normal(2, 3, 4))
    case(f"{name}_middle", 11, node(op, "x", axes=[1], keepdims=0), normal(2, 3, 4))
    case(f"{name}_outer", 7, node(op, "x", axes=[0, 2]), normal(2, 3, 4))
    case(f"{name}_input", 18, node(op, "x a", keepdims=0), normal(2, 3, 4, 2), a=i64(-1, 1))
    case(f"{name}_nothing", 18, node(op, "x", noop_with_empty_axes=1), normal(2, 3))
case("reducesum_13", 13, node("ReduceSum", "x a"), normal(2, 3, 4), a=i64(2))

# What only moves numbers. A final `Mul` makes the gradients differ from place to place.
def moved(name, opset, nodes, x, **initialisers):
    nodes = nodes if isinstance(nodes, list) else [nodes]
    case(name, opset, [*nodes, node("Mul", "z z")], x, **initialisers)


for axis in [0, 1, 2, 3]:
    moved(f"flatten_{axis}", 9, node("Flatten", "x", "z", axis=axis), normal(2, 3, 4))
moved("flatten_negative", 13, node("Flatten", "x", "z", axis=-2), normal(2, 3, 4))
moved("reshape_free", 7, node("Reshape", "x s", "z"), normal(2, 3, 4), s=i64(0, -1))
moved("reshape_deep", 14, node("Reshape", "x s", "z", allowzero=1), normal(2, 3, 4), s=i64(2, 2, 3, 2))
moved("reshape_computed", 13, [
    node("Shape", "x", "s"), node("Gather", "s zero", "n", axis=0), node("Unsqueeze", "n first", "u"),
    node("Concat", "u rest", "t", axis=0), node("Reshape", "x t", "z")], normal(2, 3, 4), zero=np.array(0), first=i64(0), rest=i64(-1))
moved("reshape_arithmetic", 11, [
    node("Shape", "x", "s"), node("Slice", "s one three", "d"), node("Gather", "d zero", "a"),
    node("Gather", "d one0", "b"), node("Mul", "a b", "c"), node("Cast", "c", "k", to=TensorProto.INT64), node("Unsqueeze", "k", "u", axes=[0]),
    node("Concat", "free u", "t", axis=0), node("Reshape", "x t", "z")],
    normal(2, 3, 4), one=i64(1), three=i64(3), zero=np.array(0), one0=np.array(1), free=i64(-1))
moved("shape_range", 15, [node("Shape", "x", "s", start=-1), node("Concat", "free s", "t", axis=0), node("Reshape", "x t", "z")], normal(2, 3, 4), free=i64(-1))
moved("transpose_reversed", 7, node("Transpose", "x", "z"), normal(2, 3, 4))
moved("transpose_heads", 13, node("Transpose", "x", "z", perm=[0, 2, 1, 3]), normal(2, 3, 4, 2))
moved("squeeze_attribute", 11, node("Squeeze", "x", "z", axes=[1, 3]), normal(2, 1, 3, 1))
moved("squeeze_input", 13, node("Squeeze", "x a", "z"), normal(2, 1, 3, 1), a=i64(-1))
moved("squeeze_all", 13, node("Squeeze", "x", "z"), normal(2, 1, 3, 1))
moved("unsqueeze_attribute", 11, node("Unsqueeze", "x", "z", axes=[0, 3]), normal(2, 3))
moved("unsqueeze_input", 13, node("Unsqueeze", "x a", "z"), normal(2, 3), a=i64(-1, 1))
moved("concat_constant", 13, node("Concat", "x w x", "z", axis=-2), normal(2, 3, 4), w=normal(2, 1, 4))
moved("concat_first", 7, node("Concat", "w x", "z", axis=0), normal(2, 3), w=normal(1, 3))
moved("split_attribute", 11, [node("Split", "x", "a b c", axis=1, split=[1, 3, 2]), node("Concat", "c a b", "z", axis=1)], normal(2, 6))
moved("split_input", 13, [node("Split", "x s", "a b", axis=-1), node("Concat", "b a", "z", axis=1)], normal(2, 6), s=i64(2, 4))
moved("split_equal", 11, [node("Split", "x", "a b"), node("Mul", "a b", "z")], normal(4, 3))
moved("split_count", 18, [node("Split", "x", "a b", axis=1, num_outputs=2), node("Concat", "b a", "z", axis=1)], normal(2, 5))
moved("slice_attribute", 9, node("Slice", "x", "z", starts=[1, -3], ends=[2, 1000], axes=[0, 2]), normal(2, 3, 4))
moved("slice_input", 10, node("Slice", "x s e", "z"), normal(4, 5), s=i64(1, -4), e=i64(-1, 4))
moved("slice_steps", 13, node("Slice", "x s e a t", "z"), normal(4, 7), s=i64(-1, 0), e=i64(-9, 7), a=i64(1, 0), t=i64(-2, 3))
moved("gather_rows", 7, node("Gather", "x i", "z"), normal(4, 3), i=i64(2, 0, 2))
moved("gather_matrix", 13, node("Gather", "x i", "z", axis=1), normal(2, 4, 3), i=np.array([[0, -1], [1, 1]]))
moved("gather_scalar", 13, node("Gather", "x i", "z", axis=1), normal(2, 4, 3), i=np.array(-1))
moved("pad_attribute", 10, node("Pad", "x", "z", pads=[0, 1, 2, 0], value=1.5), normal(2, 3))
moved("pad_input", 13, node("Pad", "x p v", "z"), normal(2, 3, 4), p=i64(0, 1, 0, 0, 0, 2), v=np.float32(-1))
moved("pad_cut", 13, node("Pad", "x p", "z"), normal(2, 3, 4), p=i64(0, -1, 1, 0, 1, -2))
moved("pad_reflect", 11, node("Pad", "x p", "z", mode="reflect"), normal(1, 2, 4, 5), p=i64(0, 0, 1, 2, 0, 0, 2, 3))
moved("pad_edge", 11, node("Pad", "x p", "z", mode="edge"), normal(2, 3), p=i64(1, 0, 0, 2))
moved("pad_axes", 18, helper.make_node("Pad", ["x", "p", "", "a"], ["z"]), normal(2, 3, 4), p=i64(1, 2), a=i64(-1))
moved("identity", 7, node("Identity", "x", "z"), normal(2, 3))
moved("dropout_7", 7, node("Dropout", "x", "z", ratio=0.3), normal(2, 3))
moved("dropout_13", 13, node("Dropout", "x r t", "z"), normal(2, 3), r=np.float32(0.5), t=np.array(False))
moved("constant", 13, [node("Constant", "", "k", value=numpy_helper.from_array(normal(3))), node("Add", "x k", "z")], normal(2, 3))
moved("constant_float", 12, [node("Constant", "", "k", value_float=2.5), node("Mul", "x k", "z")], normal(2, 3))
moved("cast_scale", 13, [
    node("Shape", "x", "s"), node("Gather", "s last", "n"), node("Cast", "n", "f", to=TensorProto.FLOAT), node("Sqrt", "f", "r"),
    node("Div", "x r", "z")], normal(2, 3, 4), last=np.array(-1))
moved("cast_same", 9, node("Cast", "x", "z", to=TensorProto.FLOAT), normal(2, 3))
moved("expand", 8, node("Expand", "x s", "z"), normal(2, 1, 3), s=i64(2, 1, 4, 1))
moved("expand_computed", 13, [node("Shape", "w", "s"), node("Expand", "x s", "z")], normal(2, 1), w=normal(2, 3))
moved("constant_of_shape", 13, [
    node("Shape", "x", "r"), node("Shape", "r", "n"), node("ConstantOfShape", "n", "ones", value=numpy_helper.from_array(i64(1))),
    node("Expand", "x ones", "z")], normal(2, 3))
moved("upsample_7", 7, node("Upsample", "x", "z", scales=[1.0, 1.0, 2.0, 3.0]), normal(1, 2, 2, 3))
moved("upsample_9", 9, node("Upsample", "x s", "z", mode="nearest"), normal(1, 2, 2, 3), s=f32(1, 1, 3, 2))
moved("resize_10", 10, node("Resize", "x s", "z"), normal(1, 2, 3, 2), s=f32(1, 1, 2, 2))
moved("resize_scales", 11, helper.make_node("Resize", ["x", "r", "s"], ["z"], coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
      normal(1, 2, 3, 2), r=f32(), s=f32(1, 1, 2, 3))
moved("resize_half_pixel", 13, helper.make_node("Resize", ["x", "", "s"], ["z"]), normal(1, 2, 3, 2), s=f32(1, 1, 4, 3))
moved("resize_sizes", 18, helper.make_node("Resize", ["x", "", "", "n"], ["z"]), normal(1, 2, 3, 2), n=i64(1, 2, 9, 4))

# Small networks of the kinds that exporters make.
case("net_residual", 13, [
    node("Conv", "x w1", "a", strides=[2, 2], pads=[1, 1, 1, 1]), node("BatchNormalization", "a s b m v", "n"), node("Relu", "n", "r"),
    node("MaxPool", "r", "p", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), node("Conv", "p w2 b2", "c", pads=[1, 1, 1, 1]),
    node("Add", "c p", "d"), node("Relu", "d", "e"), node("GlobalAveragePool", "e", "g"), node("Flatten", "g", "f"),
    node("Gemm", "f w3 b3", transB=1)],
    normal(2, 3, 10, 10), w1=normal(4, 3, 3, 3) / 5, s=normal(4), b=normal(4), m=normal(4), v=np.abs(normal(4)) + 1, w2=normal(4, 4, 3, 3) / 6,
    b2=normal(4), w3=normal(5, 4), b3=normal(5))
width, heads = 6, 2
case("net_attention", 17, [
    node("LayerNormalization", "x s b", "n"), node("MatMul", "n qkv", "m"), node("Add", "m qkv_b", "h"),
    node("Reshape", "h split", "r"), node("Transpose", "r", "t", perm=[2, 0, 3, 1, 4]),
    node("Gather", "t i0", "q"), node("Gather", "t i1", "k"), node("Gather", "t i2", "v"),
    node("Transpose", "k", "kt", perm=[0, 1, 3, 2]), node("MatMul", "q kt", "l"), node("Mul", "l scale", "ls"), node("Softmax", "ls", "a", axis=-1),
    node("MatMul", "a v", "o"), node("Transpose", "o", "ot", perm=[0, 2, 1, 3]), node("Reshape", "ot join", "oj"),
    node("MatMul", "oj out", "om"), node("Add", "x om", "res"), node("Div", "res root2", "g0"), node("Erf", "g0", "g1"), node("Add", "g1 one", "g2"),
    node("Mul", "res g2", "g3"), node("Mul", "g3 half", "g4"), node("ReduceMean", "g4", "pooled", axes=[1], keepdims=0), node("MatMul", "pooled head")],
    normal(2, 4, width), s=normal(width), b=normal(width), qkv=normal(width, 3 * width) / 2, qkv_b=normal(3 * width),
    split=i64(0, 4, 3, heads, width // heads), i0=np.array(0), i1=np.array(1), i2=np.array(2), scale=np.float32((width / heads) ** -0.5),
    join=i64(0, 4, width), out=normal(width, width), root2=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5), head=normal(width, 3))


def field(data):
    return struct.pack("<I", len(data)) + data


def array(values):
    header = struct.pack(f"<{values.ndim + 1}I", values.ndim, *values.shape)
    return field(header + np.ascontiguousarray(values, dtype="<f4").tobytes())


first = len(cases)
more_cases.define(case, node, normal, i64, f32, line, positive, helper, numpy_helper, TensorProto, np, onnx)
assert len({name for name, *_ in cases}) == len(cases)
for path, part in zip(sys.argv[1:3], [cases[:first], cases[first:]]):
    with open(path, "wb") as out:
        for name, data, x, y in part:
            out.write(field(name.encode()) + field(data) + array(x) + array(y))
print(len(cases), "cases")

"""Further records for tests/data/more.bin: see make_cases.py, which runs this file with its own helpers.

Cases in `flat` have no gradient: the test of gradients leaves them out, the test of refusals wants them refused.
"""


def define(case, node, normal, i64, f32, line, positive, helper, numpy_helper, TensorProto, np, onnx):
    def moved(name, opset, nodes, x, **initialisers):
        nodes = nodes if isinstance(nodes, list) else [nodes]
        case(name, opset, [*nodes, node("Mul", "z w")], x, **initialisers)

    inside = np.linspace(-0.95, 0.9, 24, dtype=np.float32).reshape(4, 6)
    for op, x in [
        ("Sin", line), ("Cos", line), ("Tan", inside), ("Asin", inside), ("Acos", inside), ("Atan", line), ("Sinh", line), ("Cosh", line),
        ("Asinh", line), ("Acosh", positive + 1), ("Atanh", inside),
    ]:
        case(op.lower(), 9, node(op, "x"), x)
    case("mish", 18, node("Mish", "x"), line)
    case("thresholdedrelu", 10, node("ThresholdedRelu", "x", alpha=0.7), line)
    case("shrink", 9, node("Shrink", "x", lambd=0.9, bias=0.3), line)
    case("mean_three", 8, node("Mean", "x w v"), normal(2, 3), w=normal(3), v=normal(2, 1))
    case("mod_float", 13, node("Mod", "x m", fmod=1), line, m=np.float32(1.3))
    for op in ["Floor", "Ceil", "Round", "Sign"]:
        case(f"flat_{op.lower()}", 11, node(op, "x"), line)

    # Choices: the way through the condition is flat, the ways through the operands are not.
    for op in ["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"]:
        case(f"where_{op.lower()}", 16, [node(op, "x w", "c"), node("Not", "c", "n"), node("Where", "n x w")], normal(2, 3), w=normal(3))
    for op in ["And", "Or", "Xor"]:
        case(f"where_{op.lower()}", 13, [
            node("Greater", "x w", "a"), node("Less", "x v", "b"), node(op, "a b", "c"), node("Mul", "x x", "s"), node("Where", "c s w")],
            normal(2, 3), w=normal(2, 1), v=normal(3))
    case("where_mask", 13, [node("Where", "m x low", "z"), node("Softmax", "z", "p"), node("Mul", "p w")], normal(2, 3, 3), w=normal(3, 3), m=np.tril(np.ones((3, 3), bool)), low=np.float32(-1e9))
    case("isnan", 13, [node("IsNaN", "x", "c"), node("Where", "c w x", "z"), node("Mul", "z z")], normal(2, 3), w=np.float32(0))
    case("isinf", 13, [node("IsInf", "x", "c"), node("Where", "c w x", "z"), node("Mul", "z z")], normal(2, 3), w=np.float32(0))

    for op in ["ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"]:
        case(f"{op.lower()}_middle", 13, node(op, "x", axes=[1], keepdims=0), normal(2, 3, 4))
        case(f"{op.lower()}_all", 18, node(op, "x"), normal(2, 3))
    case("reducelogsum", 13, node("ReduceLogSum", "x", axes=[-1]), np.abs(normal(2, 3, 4)) + np.float32(0.2))
    zero = normal(2, 3)
    zero[0, 1] = zero[1, 0] = zero[1, 2] = 0
    case("reduceprod_zero", 13, node("ReduceProd", "x", axes=[1]), zero)

    # Order.
    for op in ["ArgMax", "ArgMin"]:
        case(f"flat_{op.lower()}", 13, [node(op, "x", "i", axis=1, keepdims=0), node("Cast", "i", to=TensorProto.FLOAT)], normal(2, 5, 3))
    case("argmax_gathered", 13, [
        node("ArgMax", "x", "i", axis=1), node("GatherElements", "x i", "g", axis=1), node("Mul", "g g")], normal(3, 5))
    case("topk", 11, [node("TopK", "x k", "v i", axis=1), node("Mul", "v w")], normal(2, 6, 2), k=i64(3), w=normal(3, 2))
    case("topk_smallest", 11, [node("TopK", "x k", "v i", largest=0), node("Mul", "v w")], normal(3, 6), k=i64(2), w=normal(2))
    case("flat_hardmax", 13, node("Hardmax", "x"), normal(3, 4))
    for name, attributes in [("plain", {}), ("reverse", dict(reverse=1)), ("exclusive", dict(exclusive=1)), ("both", dict(exclusive=1, reverse=1))]:
        moved(f"cumsum_{name}", 14, node("CumSum", "x a", "z", **attributes), normal(2, 4, 3), a=np.array(1), w=normal(2, 4, 3))

    # Computed places.
    ids = [node("Cast", "x", "ids", to=TensorProto.INT64)]
    tokens = np.array([[0, 3, 1], [2, 2, 4]], dtype=np.float32)
    case("flat_embedding", 13, [*ids, node("Gather", "t ids", "e"), node("ReduceMean", "e", axes=[1], keepdims=0)], tokens, t=normal(5, 4))
    moved("gatherelements", 11, node("GatherElements", "x i", "z", axis=1), normal(2, 4), i=np.array([[0, -1, 1], [3, 3, 0]]), w=normal(2, 3))
    moved("gathernd", 12, node("GatherND", "x i", "z"), normal(2, 3, 4), i=np.array([[0, 2], [1, -1], [1, 0]]), w=normal(3, 4))
    moved("gathernd_batch", 12, node("GatherND", "x i", "z", batch_dims=1), normal(2, 3, 4), i=np.array([[2], [0]]), w=normal(2, 4))
    moved("scatterelements", 16, node("ScatterElements", "x i u", "z", axis=1), normal(2, 4), i=np.array([[1, 2], [0, 3]]), u=normal(2, 2), w=normal(2, 4))
    moved("scatterelements_add", 16, [node("Mul", "x x", "q"), node("Slice", "x a b c", "u"), node("ScatterElements", "q i u", "z", axis=1, reduction="add")],
          normal(2, 4), i=np.array([[1, 1], [0, 3]]), a=i64(0), b=i64(2), c=i64(1), w=normal(2, 4))
    moved("scatternd", 16, [node("Slice", "x a b", "u"), node("ScatterND", "x i u", "z")], normal(3, 2), i=np.array([[2], [1]]), a=i64(0), b=i64(2), w=normal(3, 2))
    moved("scatternd_add", 16, [node("Slice", "x a b", "u"), node("ScatterND", "x i u", "z", reduction="add")], normal(3, 2), i=np.array([[2], [2]]), a=i64(0), b=i64(2),
          w=normal(3, 2))
    case("flat_onehot", 11, [*ids, node("OneHot", "ids d v", "h"), node("MatMul", "h w")], tokens, d=np.array(5), v=f32(0, 1), w=normal(5, 2))

    # Layout.
    moved("tile", 13, node("Tile", "x r", "z"), normal(2, 3), r=i64(2, 3), w=normal(4, 9))
    moved("trilu_upper", 14, node("Trilu", "x", "z"), normal(2, 3, 4), w=normal(3, 4))
    moved("trilu_lower", 14, node("Trilu", "x k", "z", upper=0), normal(2, 4, 3), k=np.array(-1), w=normal(4, 3))
    moved("eyelike", 13, [node("EyeLike", "x", "e", k=1), node("Add", "x e", "z")], normal(3, 4), w=normal(4))
    moved("range", 13, [
        node("Shape", "x", "s"), node("Gather", "s one", "n"), node("Range", "zero n one", "r"), node("Cast", "r", "f", to=TensorProto.FLOAT), node("Mul", "x f", "z")],
        normal(2, 5), one=np.array(1), zero=np.array(0), w=normal(5))
    moved("size", 13, [node("Size", "x", "s"), node("Cast", "s", "f", to=TensorProto.FLOAT), node("Div", "x f", "z")], normal(2, 5), w=normal(5))
    for mode in ["DCR", "CRD"]:
        moved(f"depthtospace_{mode.lower()}", 13, node("DepthToSpace", "x", "z", blocksize=2, mode=mode), normal(1, 8, 2, 3), w=normal(4, 6))
    moved("spacetodepth", 13, node("SpaceToDepth", "x", "z", blocksize=2), normal(1, 2, 4, 6), w=normal(2, 3))
    moved("castlike", 15, node("CastLike", "x w", "z"), normal(2, 3), w=normal(3))
    moved("pad_wrap", 19, node("Pad", "x p", "z", mode="wrap"), normal(2, 3), p=i64(0, 1, 0, 2), w=normal(6))

    # Layers.
    for name, x, w, attributes in [
        ("plain", (2, 3, 4, 5), (3, 2, 3, 3), {}),
        ("strided", (1, 2, 3, 4), (2, 3, 3, 2), dict(strides=[2, 3], pads=[1, 0, 1, 1], output_padding=[1, 0])),
        ("grouped", (2, 4, 3, 3), (4, 2, 2, 2), dict(group=2, strides=[2, 2], dilations=[2, 1])),
        ("line", (2, 3, 5), (3, 2, 3), dict(strides=[2], pads=[1, 1])),
        ("sized", (1, 2, 3, 3), (2, 1, 3, 3), dict(strides=[2, 2], output_shape=[6, 6])),
        ("same", (1, 2, 3, 3), (2, 2, 3, 3), dict(strides=[2, 2], auto_pad="SAME_UPPER")),
    ]:
        outputs = w[1] * attributes.get("group", 1)
        case(f"convtranspose_{name}", 11, node("ConvTranspose", "x w b", **attributes), normal(*x), w=normal(*w), b=normal(outputs))
    case("groupnorm_21", 21, node("GroupNormalization", "x s b", num_groups=2), normal(2, 4, 3, 2), s=normal(4), b=normal(4))
    case("meanvariance", 13, node("MeanVarianceNormalization", "x"), normal(2, 3, 2, 2))
    case("lpnorm_1", 11, node("LpNormalization", "x", p=1, axis=1), normal(2, 3, 4))
    case("lpnorm_2", 11, node("LpNormalization", "x"), normal(2, 3, 4))
    case("lrn", 13, node("LRN", "x", size=3, alpha=0.1), normal(2, 5, 2, 2))
    case("globallppool", 13, node("GlobalLpPool", "x"), normal(2, 3, 4, 2))
    for name, nodes in [
        ("linear", dict(mode="linear")),
        ("linear_corners", dict(mode="linear", coordinate_transformation_mode="align_corners")),
        ("linear_asymmetric", dict(mode="linear", coordinate_transformation_mode="asymmetric")),
        ("cubic", dict(mode="cubic", cubic_coeff_a=-0.75, coordinate_transformation_mode="pytorch_half_pixel")),
        ("nearest", dict(mode="nearest", nearest_mode="floor")),
    ]:
        moved(f"resize_{name}_size", 13, helper.make_node("Resize", ["x", "", "", "n"], ["z"], **nodes), normal(1, 2, 4, 5), n=i64(1, 2, 7, 3), w=normal(7, 3))
    moved("resize_linear_scale", 11, helper.make_node("Resize", ["x", "r", "s"], ["z"], mode="linear"), normal(1, 2, 4, 5), r=f32(), s=f32(1, 1, 1.5, 2), w=normal(6, 10))
    quantised = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z")]
    case("flat_quantised", 13, quantised, normal(2, 3), s=np.float32(0.05), z=np.array(3, dtype=np.int8))
    case("dequantised_weights", 13, [node("DequantizeLinear", "q s z", "w", axis=1), node("MatMul", "x w")], normal(2, 3),
         q=np.array([[1, -2], [30, 4], [-5, 60]], dtype=np.int8), s=f32(0.1, 0.02), z=np.array([1, 2], dtype=np.int8))

    for name, equation, x, w in [
        ("product", "bij,jk->bik", (2, 3, 4), (4, 2)),
        ("attention", "bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4)),
        ("outer", "i,j->ji", (3,), (4,)),
        ("summed", "bij,kj->bk", (2, 3, 4), (5, 4)),
        ("dots", "...ij,jk->...ik", (2, 2, 3, 4), (4, 2)),
        ("implied", "ij,jk", (2, 3), (3, 4)),
    ]:
        case(f"einsum_{name}", 12, node("Einsum", "x w", equation=equation), normal(*x), w=normal(*w))
    case("einsum_transposed", 12, node("Einsum", "x", equation="bij->jb"), normal(2, 3, 4))

    # Recurrence.
    for op, gates in [("LSTM", 4), ("GRU", 3), ("RNN", 1)]:
        for direction, count in [("forward", 1), ("reverse", 1), ("bidirectional", 2)]:
            shapes = dict(w=normal(count, gates * 3, 2) / 2, r=normal(count, gates * 3, 3) / 2, b=normal(count, 2 * gates * 3))
            case(f"{op.lower()}_{direction}", 14, node(op, "x w r b", hidden_size=3, direction=direction), normal(4, 2, 2), **shapes)
    shapes = dict(w=normal(1, 9, 2) / 2, r=normal(1, 9, 3) / 2, b=normal(1, 18), h=normal(1, 2, 3))
    case("gru_reset_last", 14, helper.make_node("GRU", ["x", "w", "r", "b", "", "h"], ["", "y"], hidden_size=3, linear_before_reset=1), normal(4, 2, 2), **shapes)
    shapes = dict(w=normal(1, 12, 2) / 2, r=normal(1, 12, 3) / 2, b=normal(1, 24), h=normal(1, 2, 3), c=normal(1, 2, 3), p=normal(1, 9))
    case("lstm_peepholes", 14, helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c", "p"], ["", "", "y"], hidden_size=3), normal(4, 2, 2), **shapes)

    # Branches and loops.
    def graph(name, nodes, inputs, outputs, **initialisers):
        typed = lambda names: [helper.make_tensor_value_info(n, t, s) for n, t, s in names]
        return helper.make_graph(nodes, name, typed(inputs), typed(outputs), [numpy_helper.from_array(np.asarray(v), k) for k, v in initialisers.items()])

    F, I, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
    yes = graph("yes", [node("Squeeze", "x one", "o")], [], [("o", F, None)])
    no = graph("no", [node("Identity", "x", "o")], [], [("o", F, None)])
    case("if_shape", 13, [
        node("Shape", "x", "s"), node("Gather", "s one", "d"), node("Equal", "d one", "c"), node("If", "c", "z", then_branch=yes, else_branch=no), node("Mul", "z z")],
        normal(2, 1, 3), one=i64(1))
    body = graph("body", [node("Add", "v x", "u"), node("Tanh", "u", "n"), node("Identity", "c", "d"), node("Mul", "n n", "q")],
                 [("i", I, []), ("c", B, []), ("v", F, None)], [("d", B, []), ("n", F, None), ("q", F, None)])
    case("loop", 13, [node("Loop", "m t x", "last all", body=body), node("ReduceSum", "all k", "s", keepdims=0), node("Add", "s last")], normal(2, 3),
         m=np.array(3), t=np.array(True), k=i64(0))
    step = graph("step", [node("Add", "h e", "u"), node("Tanh", "u", "n"), node("Identity", "n", "q")], [("h", F, None), ("e", F, None)], [("n", F, None), ("q", F, None)])
    case("scan", 11, [node("Scan", "h x", "last all", body=step, num_scan_inputs=1), node("Mul", "all w")], normal(4, 3), h=normal(3), w=normal(4, 3))

    # Classical machine learning. The output that counts is the one called `y`.
    def learned(op, inputs="x", outputs="y", **attributes):
        return helper.make_node(op, inputs.split(), outputs.split(), domain="ai.onnx.ml", **attributes)

    weights = normal(3, 4)
    case("ml_scaler", 15, [learned("Scaler", offset=[0.5, 1, 2, 3], scale=[2.0, 1, 0.5, 3], outputs="z"), node("Mul", "z z")], normal(3, 4))
    for norm in ["L1", "L2"]:
        case(f"ml_normalizer_{norm.lower()}", 15, learned("Normalizer", norm=norm), normal(3, 4))
    case("flat_ml_binarizer", 15, learned("Binarizer", threshold=0.1), normal(3, 4))
    case("ml_vectorizer", 15, [node("Mul", "x x", "s"), learned("FeatureVectorizer", "x s", inputdimensions=[4, 4])], normal(3, 4))
    case("ml_extractor", 15, [learned("ArrayFeatureExtractor", "x i", "z"), node("Mul", "z z")], normal(3, 4), i=i64(2, 0))
    case("ml_regressor", 15, learned("LinearRegressor", coefficients=weights[:2].ravel().tolist(), intercepts=[0.1, -0.2], targets=2), normal(3, 4))
    case("ml_svr", 15, learned("SVMRegressor", kernel_type="RBF", kernel_params=[0.3, 0.0, 3.0], support_vectors=weights.ravel().tolist(), coefficients=[1.0, -2, 0.5],
                               rho=[0.25], n_supports=3, post_transform="NONE"), normal(3, 4))
    trees = dict(nodes_treeids=[0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2, 0, 1, 2], nodes_featureids=[1, 0, 0, 3, 0, 0], nodes_values=[0.1, 0, 0, -0.2, 0, 0],
                 nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2, nodes_truenodeids=[1, 0, 0] * 2, nodes_falsenodeids=[2, 0, 0] * 2)
    case("flat_ml_trees", 15, learned("TreeEnsembleRegressor", n_targets=1, target_treeids=[0, 0, 1, 1], target_nodeids=[1, 2, 1, 2], target_ids=[0] * 4,
                                      target_weights=[1.0, 2.5, -1, 3], **trees), normal(5, 4))

    # Machines of several classes: the scores of every pair of them, their probabilities, and the label that most pairs give.
    machine = dict(classlabels_ints=[7, 3, 5, 1], vectors_per_class=[2, 1, 2, 3], support_vectors=normal(8, 4).ravel().tolist(), coefficients=normal(3, 8).ravel().tolist(),
                   rho=(normal(6) / 4).tolist(), kernel_type="RBF", kernel_params=[0.2, 0.0, 3.0], post_transform="NONE")
    platt = dict(prob_a=(-1 - np.abs(normal(6))).tolist(), prob_b=normal(6).tolist())
    case("ml_svc_pairs", 15, learned("SVMClassifier", outputs="label y", **machine), normal(6, 4))
    case("ml_svc_coupled", 15, learned("SVMClassifier", outputs="label y", **machine, **platt), normal(6, 4))
    case("flat_ml_svc_label", 15, [learned("SVMClassifier", outputs="label scores", **machine), node("Cast", "label", to=TensorProto.FLOAT)], 2 * normal(12, 4))

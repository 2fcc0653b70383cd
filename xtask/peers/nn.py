"""Forward speed of onnxruntime on the network that `nn_bench` writes. Needs `pip install onnxruntime numpy`."""
import json
import sys
import tempfile
import time

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper
    import onnxruntime as ort
except ImportError as error:
    print(json.dumps({"skipped": f"{error}; pip install onnx onnxruntime numpy"}))
    sys.exit(0)

rng = np.random.default_rng(0)


def weight(name, *shape):
    return helper.make_tensor(name, TensorProto.FLOAT, shape, (rng.standard_normal(shape) * 0.05).astype("f4").tobytes(), raw=True)


graph = helper.make_graph(
    [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2", "b2"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "w3", "b3"], ["f"], transB=1),
        helper.make_node("Relu", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "w4", "b4"], ["y"], transB=1),
    ],
    "wong",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 28, 28])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
    [
        weight("w1", 16, 1, 4, 4), weight("b1", 16), weight("w2", 32, 16, 4, 4), weight("b2", 32),
        weight("w3", 100, 1568), weight("b3", 100), weight("w4", 10, 100), weight("b4", 10),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
    file.write(model.SerializeToString())
    file.flush()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])
x = rng.random((256, 1, 28, 28), dtype="f4")
session.run(None, {"x": x})
start, images = time.process_time(), 0
while time.process_time() - start < 3:
    session.run(None, {"x": x})
    images += len(x)
print(json.dumps({"peer": f"onnxruntime {ort.__version__}, 1 thread", "forward_images_per_cpu_second": images / (time.process_time() - start)}))

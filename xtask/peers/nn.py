"""torch and onnxruntime on the models that `nn_bench` measures, one request at a time so that their turns alternate with ours.

Started with a folder, it writes each model there as ONNX and prints one line of JSON: what runs, and for each model its name, the shape of an example, the
batch, and the floating-point operations of a forward pass and of a gradient with respect to the input. Then it reads lines `ENGINE MODEL WHAT THREADS`
and answers each with images per second of processor time and of wall time. Needs `pip install torch torchvision onnx`; onnxruntime where it is there.
"""
import json
import sys
import time
import warnings

try:
    import onnx  # noqa: F401 (torch's exporter wants it)
    import torch
    import torchvision
    from torch import nn
    from torch.nn import functional
    from torch.utils.flop_counter import FlopCounterMode
except ImportError as error:
    print(json.dumps({"skipped": f"{error}; pip install torch torchvision onnx onnxruntime"}))
    sys.exit(0)
try:
    import onnxruntime
except ImportError:
    onnxruntime = None

warnings.filterwarnings("ignore")
FOLDER, SECONDS = sys.argv[1], 1.0


def wong():
    return nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(),
                         nn.Linear(100, 10))


def cifar():
    """ResNet-18 as it is used on 32 × 32 pictures: a stem without stride and pool."""
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net


MODELS = {"wong": (wong, [1, 28, 28], 256), "resnet18-32": (cifar, [3, 32, 32], 32), "resnet18-224": (torchvision.models.resnet18, [3, 224, 224], 8)}


def forward(net, x, _):
    with torch.no_grad():
        net(x)


def gradient(net, x, y):
    x = x.clone().requires_grad_()
    torch.autograd.grad(functional.cross_entropy(net(x), y), x)


def flops(net, shape):
    """Of one example. Each product of the forward pass has one of the same size on the gradient's way back to the input."""
    with FlopCounterMode(display=False) as counter:
        forward(net, torch.rand(1, *shape), None)
    return {"forward": counter.get_total_flops(), "gradient": 2 * counter.get_total_flops()}


def rate(run, images):
    run()
    cpu, wall, passes = time.process_time(), time.perf_counter(), 0
    while time.process_time() - cpu < SECONDS:
        run()
        passes += 1
    return [images * passes / (time.process_time() - cpu), images * passes / (time.perf_counter() - wall)]


def session(name, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(f"{FOLDER}/{name}.onnx", options, providers=["CPUExecutionProvider"])


nets, told = {}, []
for name, (make, shape, batch) in MODELS.items():
    torch.manual_seed(0)
    net = make().eval()
    net.requires_grad_(False)
    nets[name] = net
    torch.onnx.export(net, (torch.zeros(2, *shape),), f"{FOLDER}/{name}.onnx", input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, opset_version=17, dynamo=False)
    told.append({"name": name, "shape": shape, "batch": batch} | flops(net, shape))
engines = ["torch"] + (["onnxruntime"] if onnxruntime else [])
versions = f"torch {torch.__version__}" + (f", onnxruntime {onnxruntime.__version__}" if onnxruntime else "")
print(json.dumps({"peer": versions, "engines": engines, "models": told}), flush=True)
for line in sys.stdin:
    engine, name, what, threads = line.split()
    _, shape, batch = MODELS[name]
    x, y = torch.rand(batch, *shape), torch.arange(batch) % 10
    if engine == "torch":
        torch.set_num_threads(int(threads))
        run = forward if what == "forward" else gradient
        answer = rate(lambda: run(nets[name], x, y), batch)
    else:
        opened, given = session(name, int(threads)), {"x": x.numpy()}
        answer = rate(lambda: opened.run(None, given), batch)
    print(json.dumps(answer), flush=True)

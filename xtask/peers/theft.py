"""ART's thieves on the files of `theft_bench`, for it to be held against.

Started with a folder and a number of questions. Steals `layer.onnx`, a network of one hidden layer of ReLUs, by functionally
equivalent extraction (Jagielski et al. 2020), computing in f64; and `picture.onnx` by KnockoffNets (probabilities) and CopycatCNN
(labels) with the pictures of `queries.f32`, its copy being the victim's own architecture. Fidelity is told on `held-out.f32`. Prints
one JSON object. Needs `pip install torch onnx onnxruntime adversarial-robustness-toolbox`.
"""
import json
import os
import signal
import sys
import time

try:
    import art
    import art.config
    import numpy as np
    import onnx
    import onnxruntime
    import torch
    from onnx import numpy_helper
    from torch import nn
    from art.attacks.extraction import CopycatCNN, FunctionallyEquivalentExtraction, KnockoffNets
    from art.estimators.classification import BlackBoxClassifier, BlackBoxClassifierNeuralNetwork, PyTorchClassifier
except ImportError as error:
    print(json.dumps({"skipped": f"{error}; pip install torch onnx onnxruntime adversarial-robustness-toolbox"}))
    sys.exit(0)

FOLDER, BUDGET = sys.argv[1], int(sys.argv[2])
TRIES = 5
torch.set_num_threads(1)


def layer():
    weights = [numpy_helper.to_array(w).astype("f8") for w in onnx.load(os.path.join(FOLDER, "layer.onnx")).graph.initializer]
    first, second = (w for w in weights if w.ndim == 2)
    bias_first, bias_second = (w for w in weights if w.ndim == 1)
    if first.shape[0] != len(bias_first):
        first = first.T
    if second.shape[0] != len(bias_second):
        second = second.T
    asked = 0

    def answer(x):
        nonlocal asked
        asked += len(x)
        return np.maximum(x.astype("f8") @ first.T + bias_first, 0) @ second.T + bias_second

    # The package computes in f32 unless its modules are told otherwise.
    for module in list(sys.modules.values()):
        if getattr(module, "ART_NUMPY_DTYPE", None) is not None:
            module.ART_NUMPY_DTYPE = np.float64
    model = BlackBoxClassifierNeuralNetwork(answer, (first.shape[1],), len(bias_second), clip_values=(-1e9, 1e9))
    x = np.random.default_rng(1).uniform(0, 1, (100, first.shape[1]))
    start = time.process_time()
    # It looks along one random line, and some lines it never gets to the end of: several tries, a minute each.
    for tried in range(1, TRIES + 1):
        np.random.seed(tried)
        attack = FunctionallyEquivalentExtraction(model, num_neurons=len(bias_first))
        signal.alarm(60)
        try:
            attack.extract(x)
            break
        except Exception as error:  # its parts raise many kinds
            failed = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
    else:
        return {"queries": asked, "tries": TRIES, "failed": failed, "cpu_seconds": round(time.process_time() - start, 1)}
    spent = time.process_time() - start
    found, found_bias = attack.w_0.T, attack.b_0.ravel()
    length = np.linalg.norm(found, axis=1, keepdims=True)
    found, found_bias = found / length, found_bias / length[:, 0]
    length = np.linalg.norm(first, axis=1, keepdims=True)
    true, true_bias = first / length, bias_first / length[:, 0]
    error = 0.0
    for row, bias in zip(true, true_bias):
        off = np.abs(found - row).max(1)
        place = off.argmin()
        error = max(error, off[place], abs(found_bias[place] - bias))
    return {"queries": asked, "tries": tried, "largest_error_of_hidden_weights": f"{error:.1e}", "cpu_seconds": round(spent, 1)}


def pictures(name):
    return np.fromfile(os.path.join(FOLDER, name), "<f4").reshape(-1, 1, 28, 28)


def copy():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    return PyTorchClassifier(net, nn.CrossEntropyLoss(), (1, 28, 28), 10, optimizer=optimiser, clip_values=(0, 1), device_type="cpu")


def distilled():
    queries, held_out = pictures("queries.f32"), pictures("held-out.f32")
    session = onnxruntime.InferenceSession(os.path.join(FOLDER, "picture.onnx"))
    name = session.get_inputs()[0].name

    def shares(x):
        scores = session.run(None, {name: x.astype("f4")})[0]
        powers = np.exp(scores - scores.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    victim = BlackBoxClassifier(shares, (1, 28, 28), 10, clip_values=(0, 1))
    told = shares(held_out).argmax(1)
    rows = {"most_questions": BUDGET}
    settings = {"batch_size_fit": 64, "batch_size_query": 64, "nb_epochs": 20, "nb_stolen": BUDGET}
    for what, attack in (
        ("fidelity_by_probabilities", KnockoffNets(victim, sampling_strategy="random", use_probability=True, verbose=False, **settings)),
        ("fidelity_by_labels", CopycatCNN(victim, **settings)),
    ):
        np.random.seed(0)
        start = time.process_time()
        stolen = attack.extract(queries, thieved_classifier=copy())
        rows[what] = float((stolen.predict(held_out).argmax(1) == told).mean())
        rows[f"{what}_cpu_seconds"] = round(time.process_time() - start, 1)
    return rows


def late(*_):
    raise TimeoutError("no end in a minute")


signal.signal(signal.SIGALRM, late)
told = {"name": f"ART {art.__version__}, torch {torch.__version__}, 1 thread"}
if os.path.exists(os.path.join(FOLDER, "picture.onnx")):
    told["distillation"] = distilled()
told["small_network"] = layer()
print(json.dumps(told))

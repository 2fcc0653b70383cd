"""LiRA and RMIA on an overfit MLP, in numpy and torch, for `ringfence-attack` to be held against.

Trains 784-128-10 on 10,000 of 20,000 pooled MNIST images and 8 references on random halves of the same pool, writes all of them as
ONNX with the pool and the masks as raw numbers into the folder that is named, scores them by the formulas of Carlini et al. 2022
(algorithm 1 and section VI-E, deviations pooled over examples) and Zarifzadeh et al. 2024 (equations 3 and 4, a = .3), and prints one
JSON object with AUC, its DeLong deviation, and TPR at 1 % and .1 % FPR. `SEED` names another pool and other weights; `SETS` asks for
the figures of that many sets of references, of which the first is written.

`cargo xtask bench privacy` and the test `privacy_peer::figures_equal_those_of_the_reference` run it, or read its folder where
`PRIVACY_MODELS` names one. Needs `pip install torch onnx` and MNIST in IDX form.
"""
import gzip
import json
import os
import sys
import time

try:
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    print(json.dumps({"skipped": f"{error}; pip install torch onnx"}))
    sys.exit(0)

MNIST, OUT = sys.argv[1], sys.argv[2]
POOL, REFERENCES, EPOCHS, BATCH, RATE = 20_000, 8, 20, 128, 2e-3
SEED, SETS = (int(os.environ.get(name, default)) for name, default in (("SEED", "0"), ("SETS", "1")))
torch.set_num_threads(1)


def idx(name):
    with gzip.open(os.path.join(MNIST, name)) as file:
        data = file.read()
    dims = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, "u1", offset=4 + 4 * len(dims)).reshape(dims)


def train(x, y, seed):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    for layer in (net[0], net[2]):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    optimiser = torch.optim.Adam(net.parameters(), RATE)
    for _ in range(EPOCHS):
        for places in torch.randperm(len(y)).split(BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(net(x[places]), y[places]).backward()
            optimiser.step()
    return net.eval()


def confidence(net, x, y):
    with torch.no_grad():
        z = net(x).numpy().astype("f8")
    own = z[np.arange(len(y)), y]
    others = z.copy()
    others[np.arange(len(y)), y] = -np.inf
    top = others.max(1)
    return own - top - np.log(np.exp(others - top[:, None]).sum(1))


def figures(scores, member):
    inside, outside = scores[member], scores[~member]
    order = np.sort(outside)
    beaten = (np.searchsorted(order, inside, "left") + np.searchsorted(order, inside, "right")) / 2 / len(outside)
    order = np.sort(inside)
    beating = 1 - (np.searchsorted(order, outside, "left") + np.searchsorted(order, outside, "right")) / 2 / len(inside)
    deviation = np.sqrt(beaten.var(ddof=1) / len(inside) + beating.var(ddof=1) / len(outside))
    rates = {}
    thresholds = np.unique(scores)
    false = len(outside) - np.searchsorted(np.sort(outside), thresholds, "left")
    true = len(inside) - np.searchsorted(np.sort(inside), thresholds, "left")
    for rate in (0.01, 0.001):
        rates[str(rate)] = float(true[false <= round(rate * len(outside))].max(initial=0) / len(inside))
    return {"auc": float(beaten.mean()), "deviation": float(deviation), "tpr": rates}


def attacks(target, references, masks, member):
    """`references` and `masks` are [model, example]."""
    def of(values, mask):
        count = mask.sum(0)
        mean = np.where(mask, values, 0).sum(0) / count
        square = np.where(mask, (values - mean) ** 2, 0).sum()
        return mean, np.sqrt(square / (count - 1).sum())

    in_mean, in_deviation = of(references, masks)
    out_mean, out_deviation = of(references, ~masks)
    online = ((target - out_mean) / out_deviation) ** 2 / 2 - ((target - in_mean) / in_deviation) ** 2 / 2
    offline = (target - out_mean) / out_deviation
    p, q = 1 / (1 + np.exp(-target)), 1 / (1 + np.exp(-references))
    p_in, p_out = (np.where(m, q, 0).sum(0) / m.sum(0) for m in (masks, ~masks))

    def rmia(base):
        ratio = p / base
        population = np.sort(ratio[~member])
        beaten = np.searchsorted(population, ratio, "right")
        return np.where(member, beaten / len(population), (beaten - 1) / (len(population) - 1))

    scores = {"loss-threshold": np.log(p), "lira-online": online, "lira-offline": offline,
              "rmia-online": rmia((p_in + p_out) / 2), "rmia-offline": rmia((1.3 * p_out + 0.7) / 2)}
    return {name: figures(value, member) for name, value in scores.items()}


x, y = idx("train-images-idx3-ubyte.gz"), idx("train-labels-idx1-ubyte.gz")
chance = np.random.default_rng(SEED)
pool = chance.permutation(len(y))[:POOL]
x = (x[pool].reshape(POOL, 784) / 255).astype("f4")
y = y[pool].astype("i8")
tx, ty = torch.tensor(x), torch.tensor(y)
# The first half are the members.
member = np.arange(POOL) < POOL // 2
os.makedirs(OUT, exist_ok=True)
training, scoring = 0.0, 0.0


def halves():
    """[model, example]; each reference is trained on a random half, each example in exactly half of them."""
    masks = np.zeros((REFERENCES, POOL), bool)
    for example in range(POOL):
        masks[chance.permutation(REFERENCES)[:REFERENCES // 2], example] = True
    return masks


def confidence_of(mask, seed, name=None):
    """What a model trained on the examples of `mask` says of all, and its accuracy on those and on the others."""
    global training, scoring
    start = time.process_time()
    net = train(tx[mask], ty[mask], seed)
    training += time.process_time() - start
    with torch.no_grad():
        right = (net(tx).argmax(1) == ty).numpy()
    start = time.process_time()
    found = confidence(net, tx, y)
    scoring += time.process_time() - start
    if name:
        torch.onnx.export(net, (tx[:2],), os.path.join(OUT, f"{name}.onnx"), dynamo=False, opset_version=17,
                          input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
    return found, [float(right[mask].mean()), float(right[~mask].mean())]


target, accuracy = confidence_of(member, 1000 * SEED, "model-0")
sets = []
for place in range(SETS):
    masks = halves()
    if place == 0:
        x.tofile(os.path.join(OUT, "x.f32"))
        y.astype("u1").tofile(os.path.join(OUT, "y.u8"))
        masks.astype("u1").tofile(os.path.join(OUT, "masks.u8"))
    training, scoring = 0.0, 0.0
    references = [confidence_of(mask, 1000 * SEED + 1 + REFERENCES * place + index, None if place else f"model-{index + 1}")[0]
                  for index, mask in enumerate(masks)]
    start = time.process_time()
    sets.append(attacks(target, np.array(references), masks, member))
    scoring += time.process_time() - start
found = {
    "peer": f"torch {torch.__version__}, 1 thread", "accuracy": accuracy, "figures": sets[0], "sets": sets,
    "cpu_seconds": {"references": round(training, 1), "scoring": round(scoring, 2)},
}
with open(os.path.join(OUT, "figures.json"), "w") as file:
    json.dump(found, file)
print(json.dumps(found))

"""The battery of AutoAttack (Croce and Hein 2020) on two MNIST networks, for `attack_bench` to be held against.

Trains the network of Wong et al. 2020 twice (as it is; against PGD with five steps at eps .3), writes both as ONNX and the first
1,000 shuffled test images as raw numbers into the folder that is named, attacks them with torchattacks' parts under AutoAttack's
own settings (its `AutoAttack` class takes 10 steps where the paper takes 100), and measures PGD-40 of torch, torchattacks, Foolbox
and ART. Prints one JSON object. Needs `pip install torch torchattacks foolbox adversarial-robustness-toolbox onnx` and MNIST in IDX form.
"""
import gzip
import json
import os
import sys
import time

try:
    import numpy as np
    import torch
    import torchattacks
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    print(json.dumps({"skipped": f"{error}; pip install torch torchattacks foolbox adversarial-robustness-toolbox onnx"}))
    sys.exit(0)

MNIST, OUT = sys.argv[1], sys.argv[2]
# Fewer images, to attack and to train on, make a quicker and rougher comparison.
EPS, IMAGES, TRAINED = 0.3, int(os.environ.get("ATTACK_IMAGES", "1000")), int(os.environ.get("ATTACK_TRAINED", "60000"))
torch.set_num_threads(1)


def idx(name):
    with gzip.open(os.path.join(MNIST, name)) as file:
        data = file.read()
    dims = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, "u1", offset=4 + 4 * len(dims)).reshape(dims)


def split(kind):
    x = torch.tensor(idx(f"{kind}-images-idx3-ubyte.gz").astype("f4") / 255)[:, None]
    y = torch.tensor(idx(f"{kind}-labels-idx1-ubyte.gz").astype("i8"))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return x[order], y[order]


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
    )


def train(x, y, epochs, eps):
    """Against PGD where `eps` is above 0 (Madry et al. 2018, section 2); ordinary training otherwise."""
    torch.manual_seed(0)
    net, batch = network(), 100
    steps = epochs * (len(y) // batch)
    optimiser = torch.optim.Adam(net.parameters())
    for step in range(steps):
        if step % (len(y) // batch) == 0:
            order = torch.randperm(len(y))
        at = step / steps
        rate = 3e-3 * (at / 0.4 if at < 0.4 else (1 - at) / 0.6)
        for group in optimiser.param_groups:
            group["lr"] = rate
        places = order[(step * batch) % (len(y) // batch * batch):][:batch]
        xb, yb = x[places], y[places]
        if eps > 0:
            # The radius grows over the first third: at once it is too much for so small a network.
            eps_now = eps * min(1.0, 3 * at)
            moved = (xb + torch.empty_like(xb).uniform_(-eps_now, eps_now)).clamp(0, 1)
            for _ in range(5):
                moved.requires_grad_()
                slope = torch.autograd.grad(functional.cross_entropy(net(moved), yb), moved)[0]
                moved = moved.detach() + eps_now * 0.4 * slope.sign()
                moved = torch.min(torch.max(moved, xb - eps_now), xb + eps_now).clamp(0, 1)
            xb = moved
        optimiser.zero_grad()
        functional.cross_entropy(net(xb), yb).backward()
        optimiser.step()
    return net.eval()


def battery(net, x, y):
    """What stands after each part, in turn: AutoAttack's `standard` version."""
    settings = {"norm": "Linf", "eps": EPS, "seed": 0, "n_restarts": 1}
    parts = [
        ("apgd-ce", torchattacks.APGD(net, loss="ce", steps=100, **settings)),
        ("apgd-t", torchattacks.APGDT(net, n_classes=10, steps=100, **settings)),
        ("fab-t", torchattacks.FAB(net, multi_targeted=True, n_classes=10, steps=100, **settings)),
        ("square-5000", torchattacks.Square(net, n_queries=5000, **settings)),
    ]
    standing = (net(x).argmax(1) == y).nonzero().flatten()
    rows = {"clean": len(standing) / len(y)}
    for name, attack in parts:
        if len(standing):
            moved = attack(x[standing], y[standing])
            assert (moved - x[standing]).abs().max() <= EPS + 1e-5
            standing = standing[net(moved).argmax(1) == y[standing]]
        rows[name] = len(standing) / len(y)
    return rows


def export(net, path):
    torch.onnx.export(
        net, (torch.zeros(2, 1, 28, 28),), path, input_names=["image"], output_names=["scores"],
        dynamic_axes={"image": {0: "n"}, "scores": {0: "n"}}, opset_version=17, dynamo=False,
    )


def rate(attack, images):
    start = time.process_time()
    attack()
    return round(images / (time.process_time() - start))


def speeds(net, x, y):
    def by_hand():
        moved = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
        for _ in range(40):
            moved = moved.detach().requires_grad_()
            slope = torch.autograd.grad(functional.cross_entropy(net(moved), y), moved)[0]
            moved = torch.min(torch.max(moved + 0.01 * slope.sign(), x - EPS), x + EPS).clamp(0, 1)

    found = {"torch": rate(by_hand, len(y))}
    pgd = torchattacks.PGD(net, eps=EPS, alpha=0.01, steps=40)
    found["torchattacks"] = rate(lambda: pgd(x, y), len(y))
    try:
        import foolbox

        model = foolbox.PyTorchModel(net, bounds=(0, 1))
        attack = foolbox.attacks.LinfPGD(abs_stepsize=0.01, steps=40)
        found["foolbox"] = rate(lambda: attack(model, x, y, epsilons=EPS), len(y))
    except ImportError:
        pass
    try:
        from art.attacks.evasion import ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier

        model = PyTorchClassifier(net, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0, 1), device_type="cpu")
        attack = ProjectedGradientDescent(model, eps=EPS, eps_step=0.01, max_iter=40, num_random_init=1, batch_size=256, verbose=False)
        found["art"] = rate(lambda: attack.generate(x.numpy(), y.numpy()), len(y))
    except ImportError:
        pass
    return found


x, y = (part[:TRAINED] for part in split("train"))
xt, yt = split("t10k")
xt, yt = xt[:IMAGES], yt[:IMAGES]
os.makedirs(OUT, exist_ok=True)
xt.numpy().astype("<f4").tofile(os.path.join(OUT, "test.f32"))
yt.numpy().astype("u1").tofile(os.path.join(OUT, "test.u8"))
told = {"peer": f"torch {torch.__version__}, torchattacks, 1 thread", "images": IMAGES, "eps": EPS, "robust_accuracy": {}}
for name, epochs, eps in (("standard", 3, 0.0), ("hardened", 6, EPS)):
    net = train(x, y, epochs, eps)
    export(net, os.path.join(OUT, f"{name}.onnx"))
    start = time.process_time()
    told["robust_accuracy"][name] = battery(net, xt, yt)
    told["robust_accuracy"][name]["cpu_seconds"] = round(time.process_time() - start)
    if name == "hardened":
        told["pgd40_images_per_cpu_second"] = speeds(net, xt[:500], yt[:500])
print(json.dumps(told))

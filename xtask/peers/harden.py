"""Adversarial training by torch, for `harden_bench` to be held against.

Started with a folder that holds `train.f32`, `train.u8` and `plan.json` (a `HardenPlan` of mode `adversarial`), trains the network of
Wong et al. 2020 by that plan and writes `trained.onnx` beside them. Prints one JSON object. Needs `pip install torch onnx`.
"""
import json
import os
import sys
import time

try:
    import numpy as np
    import onnx  # noqa: F401 (torch's exporter wants it)
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    print(json.dumps({"skipped": f"{error}; pip install torch onnx"}))
    sys.exit(0)

FOLDER = sys.argv[1]
torch.set_num_threads(1)
with open(os.path.join(FOLDER, "plan.json")) as file:
    plan = json.load(file)
labels = torch.from_numpy(np.fromfile(os.path.join(FOLDER, "train.u8"), "u1").astype("i8"))
images = torch.from_numpy(np.fromfile(os.path.join(FOLDER, "train.f32"), "<f4")).reshape(len(labels), 1, 28, 28)
torch.manual_seed(plan["seed"])
net = nn.Sequential(
    nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
    nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10),
)
optimiser = torch.optim.Adam(net.parameters())
start = time.process_time()
batches = -(-len(labels) // plan["batch"])
for epoch in range(plan["epochs"]):
    order = torch.randperm(len(labels))
    for index in range(batches):
        at = (epoch + index / batches) / plan["epochs"]
        rate = plan["rate"] * max(0.01, at / 0.3 if at < 0.3 else (1 - at) / 0.7)
        for group in optimiser.param_groups:
            group["lr"] = rate
        eps = plan["eps"] * min(1.0, at / plan["warm-up"] if plan["warm-up"] else 1.0)
        places = order[index * plan["batch"]:][:plan["batch"]]
        x, y = images[places], labels[places]
        moved = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
        for _ in range(plan["attack-steps"]):
            moved.requires_grad_()
            slope = torch.autograd.grad(functional.cross_entropy(net(moved), y), moved)[0]
            moved = moved.detach() + eps * plan["attack-span"] / plan["attack-steps"] * slope.sign()
            moved = torch.min(torch.max(moved, x - eps), x + eps).clamp(0, 1)
        optimiser.zero_grad()
        functional.cross_entropy(net(moved), y).backward()
        optimiser.step()
spent = time.process_time() - start
torch.onnx.export(
    net.eval(), (torch.zeros(2, 1, 28, 28),), os.path.join(FOLDER, "trained.onnx"), input_names=["image"], output_names=["scores"],
    dynamic_axes={"image": {0: "n"}, "scores": {0: "n"}}, opset_version=17, dynamo=False,
)
print(json.dumps({"peer": f"torch {torch.__version__}, 1 thread", "cpu_seconds": round(spent, 1)}))

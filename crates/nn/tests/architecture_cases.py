#!/usr/bin/env python3
"""Makes tests/data/architecture.bin: weights, descriptions, and what torch answers in double precision.

    python3 -m venv /tmp/cases && /tmp/cases/bin/pip install torch torchvision transformers safetensors
    /tmp/cases/bin/python crates/nn/tests/architecture_cases.py crates/nn/tests/data/architecture.bin

With `--large FILE` instead: torchvision's ResNet-18 and larger transformers, for the test `large_models_equal_torch`.

The file is a sequence of records; a record is a sequence of fields (a little-endian u32 length and that many bytes): name,
architecture, weights (safetensors), number of inputs as u32, each input, output, number of gradients as u32, and for each gradient a
name and an array. An array is a u32 rank, the dimensions as u32, and the numbers as f64. Gradients are of the sum of the
outputs, the i-th of all of them times cos(i).
"""

import json
import os
import struct
import sys
import tempfile

import safetensors.torch
import torch
from torch import nn
from torchvision.models import resnet
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

records = []


def field(data):
    return struct.pack("<I", len(data)) + data


def array(tensor):
    tensor = tensor.detach().double().contiguous()
    return field(struct.pack(f"<{tensor.dim() + 1}I", tensor.dim(), *tensor.shape) + tensor.numpy().tobytes())


def case(name, model, inputs, architecture, run=None, weights=None, parameters=True):
    """`architecture` and `weights` are bytes, or a document and the model's own state."""
    model = model.eval()
    if weights is None:
        weights = safetensors.torch.save(model.state_dict())
    if not isinstance(architecture, bytes):
        architecture = json.dumps(architecture, indent=1).encode()
    model = model.double()
    model.zero_grad()
    inputs = [x.double().requires_grad_() if x.is_floating_point() else x for x in inputs]
    output = (run or model)(*inputs)
    (output.flatten() * torch.cos(torch.arange(output.numel(), dtype=torch.float64))).sum().backward()
    gradients = [("", inputs[0].grad)] if inputs[0].is_floating_point() else []
    if parameters:
        gradients += [(n, p.grad) for n, p in model.named_parameters() if p.grad is not None]
    assert gradients and all(g.abs().max() > 1e-3 for n, g in gradients if not n), f"{name}: nothing to compare"
    record = field(name.encode()) + field(architecture) + field(weights) + struct.pack("<I", len(inputs))
    record += b"".join(array(x) for x in inputs) + array(output) + struct.pack("<I", len(gradients))
    records.append(record + b"".join(field(n.encode()) + array(g) for n, g in gradients))
    print(f"{name}: {len(weights)} bytes of weights, {len(gradients)} gradients")


def settle(model):
    """Statistics and scales that are not those of a fresh network."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.2)
    return model


def described(shape, layers, **more):
    return {"schema": "ringfence.architecture/1", "input": {"shape": shape}, "layers": layers, **more}


def saved(model):
    """What `save_pretrained` writes: configuration and weights."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        read = lambda name: open(os.path.join(folder, name), "rb").read()
        return read("config.json"), read("model.safetensors")


class Residual(nn.Module):
    def __init__(self, main, side):
        super().__init__()
        self.main, self.side = main, side

    def forward(self, x):
        return self.main(x) + self.side(x)


def chains():
    layer = lambda name, weights=None, **more: {"layer": name, **({"weights": weights} if weights else {}), **more}
    mlp = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Dropout(0.3), nn.Linear(7, 6), nn.Sigmoid(), nn.Linear(6, 5, bias=False), nn.Softmax(-1), nn.Linear(5, 3))
    case("mlp", mlp, [torch.randn(3, 5)], described([5], [
        layer("linear", "0"), layer("relu"), layer("dropout", p=0.3), layer("linear", "3"), layer("sigmoid"),
        layer("linear", "5", bias=False), layer("softmax"), layer("linear", "7")]))
    wide = settle(nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6, eps=1e-6), nn.GELU(), nn.Linear(6, 6), nn.GELU("tanh"), nn.BatchNorm1d(6), nn.LogSoftmax(-1), nn.Linear(6, 2)))
    case("mlp_double", wide.double(), [torch.randn(2, 4)], described([4], [
        layer("linear", "0"), layer("layer-norm", "1", eps=1e-6), layer("gelu"), layer("linear", "3"), layer("gelu", approximate="tanh"),
        layer("batch-norm", "5"), layer("log-softmax", axis=1), layer("linear", "7")]))

    cnn = settle(nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.SiLU(), nn.MaxPool2d(3, 2, 1),
        Residual(nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(6, eps=1e-3), nn.LeakyReLU(0.2), nn.Conv2d(6, 6, (1, 3), padding=(0, 1))),
                 nn.Sequential(nn.Conv2d(4, 6, 1, stride=2), nn.BatchNorm2d(6))),
        nn.Hardswish(), nn.AvgPool2d(2, 1, 1), nn.Conv2d(6, 6, 2, dilation=2), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)))
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    numbers = lambda values: torch.tensor(values, dtype=torch.float32).double().reshape(3, 1, 1)
    case("cnn", cnn, [torch.rand(2, 3, 9, 11)], described([3, 9, 11], [
        layer("normalise", mean=mean, deviation=deviation), layer("conv", "0", padding=1, bias=False), layer("batch-norm", "1"), layer("silu"),
        layer("max-pool", kernel=3, stride=2, padding=1),
        layer("residual", layers=[
            layer("conv", "4.main.0", stride=2, padding=1, groups=2), layer("batch-norm", "4.main.1", eps=1e-3), layer("leaky-relu", slope=0.2),
            layer("conv", "4.main.3", padding=[0, 1])],
            shortcut=[layer("conv", "4.side.0", stride=2), layer("batch-norm", "4.side.1")]),
        layer("hard-swish"), layer("average-pool", kernel=2, stride=1, padding=1), layer("conv", "7", dilation=2), layer("softplus"),
        layer("global-average-pool"), layer("flatten"), layer("linear", "11")]),
        run=lambda x: cnn((x - numbers(mean)) / numbers(deviation)))

    line = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ELU(0.7), nn.AvgPool1d(2, padding=1, count_include_pad=False), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Tanh(), nn.Linear(4, 2))
    for name, kind in [("line_half", torch.float16), ("line_bfloat", torch.bfloat16)]:
        line = line.to(kind)
        case(name, line, [torch.randn(2, 2, 8)], described([2, None], [
            layer("conv", "0", padding=1), layer("elu", alpha=0.7), layer("average-pool", kernel=2, padding=1, **{"count-padding": False}),
            layer("global-max-pool"), layer("flatten"), layer("tanh"), layer("linear", "6")], ignore=["7.*"]),
            weights=safetensors.torch.save({**line.state_dict(), "7.weight": torch.ones(2, dtype=torch.int32)}))

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.norm, self.inner, self.head = nn.Embedding(9, 4), nn.LayerNorm(4, bias=False), nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, ids):
            return self.head(torch.tanh(self.inner(self.norm(self.table(ids)))).mean(1))

    document = described([None], [
        layer("embedding", "table"), layer("layer-norm", "norm", bias=False), layer("linear", "inner"), layer("tanh"), layer("mean", axis=1), layer("linear", "head")])
    document["input"] = {"name": "ids", "shape": [None], "element": "integer"}
    case("words", settle(Words()), [torch.randint(0, 9, (3, 5))], document)


class Narrow(nn.Module):
    """A ResNet under torchvision's names, of few channels."""

    def __init__(self, block, counts, widths):
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        inputs, norm = widths[0], nn.BatchNorm2d
        for stage, (count, planes) in enumerate(zip(counts, widths), 1):
            blocks = []
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                side = None
                if stride != 1 or inputs != planes * block.expansion:
                    side = nn.Sequential(nn.Conv2d(inputs, planes * block.expansion, 1, stride, bias=False), norm(planes * block.expansion))
                blocks.append(block(inputs, planes, stride, side))
                inputs = planes * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, 4)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


def pictures():
    preset = lambda name, side: {"schema": "ringfence.architecture/1", "preset": name, "input": {"shape": [3, side, side]}}
    narrow = settle(Narrow(resnet.BasicBlock, [2, 2, 2, 2], [4, 4, 4, 4]))
    case("resnet18_narrow", narrow, [torch.rand(1, 3, 25, 25)], preset("resnet18", 25), parameters=False)


def transformers(hidden, heads, layers, inner, vocabulary, positions, batch, length):
    def ids():
        return torch.randint(0, vocabulary, (batch, length))

    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, length - 2:] = 0
    types = (torch.arange(length) >= length // 2).long().repeat(batch, 1)
    config = BertConfig(vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner,
                        max_position_embeddings=positions, num_labels=3, attn_implementation="eager")
    bert = settle(BertForSequenceClassification(config))
    architecture, weights = saved(bert)
    case("bert", bert, [ids(), mask, types], architecture, run=lambda *x: bert(*x).logits, weights=weights)

    sizes = dict(vocab_size=vocabulary, n_positions=positions, n_embd=hidden, n_layer=layers, n_head=heads, attn_implementation="eager")
    gpt = settle(GPT2LMHeadModel(GPT2Config(**sizes)))
    architecture, weights = saved(gpt)
    case("gpt2", gpt, [ids()], architecture, run=lambda x: gpt(x).logits, weights=weights)
    untied = settle(GPT2LMHeadModel(GPT2Config(**sizes, n_inner=inner, tie_word_embeddings=False, scale_attn_by_inverse_layer_idx=True, activation_function="relu")))
    document = {"schema": "ringfence.architecture/1", "preset": "gpt2", "sequence": length, "vocab_size": vocabulary, "n_positions": positions, "n_embd": hidden,
                "n_layer": layers, "n_head": heads, "n_inner": inner, "tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True, "activation_function": "relu"}
    _, weights = saved(untied)
    case("gpt2_untied", untied, [ids()], document, run=lambda x: untied(x).logits, weights=weights)


torch.manual_seed(15)
if sys.argv[1] == "--large":
    preset = {"schema": "ringfence.architecture/1", "preset": "resnet18", "input": {"shape": [3, 224, 224]}}
    case("resnet18", settle(resnet.resnet18()), [torch.rand(2, 3, 224, 224)], preset, parameters=False)
    case("resnet50", settle(resnet.resnet50()), [torch.rand(2, 3, 96, 96)], {**preset, "preset": "resnet50", "input": {"shape": [3, None, None]}}, parameters=False)
    transformers(256, 4, 4, 1024, 2000, 128, 2, 64)
else:
    chains()
    pictures()
    transformers(8, 2, 2, 12, 13, 8, 2, 6)
with open(sys.argv[-1], "wb") as out:
    out.write(b"".join(records))

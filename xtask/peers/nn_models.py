"""Exported models with torch's own gradients, for `nn_gradients`: `nn_models.py DIR [NAME:EXPORTER:OPSET ...]`.

EXPORTER is `ts` (TorchScript), `dyn` (torch.export) or `ts64`, `dyn64` (the model in double precision). Weights are random and seeded. Needs
`pip install torch torchvision transformers onnx onnxscript numpy`. Beside each NAME.onnx lies NAME.npz: `x`, labels `y`, and in double precision `gx64`,
the gradient of the mean cross-entropy, or for token ids `out64`, the output.
"""
import copy
import math
import sys
import warnings

import numpy as np
import torch
import torchvision.models as vision
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
EXAMPLES = 32


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells = getattr(nn, kind)(10, 12, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


class Decoder(nn.Module):
    """A small GPT over embeddings, or over token ids."""

    def __init__(self, ids, words=50, width=32, heads=4, depth=2, length=16):
        super().__init__()
        self.words, self.heads = nn.Embedding(words, width) if ids else None, heads
        self.places = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(dict(n1=nn.LayerNorm(width), qkv=nn.Linear(width, 3 * width), out=nn.Linear(width, width), n2=nn.LayerNorm(width),
                               up=nn.Linear(width, 4 * width), down=nn.Linear(4 * width, width))) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, x):
        x = x if self.words is None else self.words(x)
        batch, time, width = x.shape
        x = x + self.places[:, :time]
        past = torch.tril(torch.ones(time, time)).bool()
        for block in self.blocks:
            q, k, v = block["qkv"](block["n1"](x)).view(batch, time, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
            scores = (q @ k.transpose(-1, -2)) / math.sqrt(width // self.heads)
            scores = scores.masked_fill(~past, float("-inf")).softmax(-1)
            x = x + block["out"]((scores @ v).transpose(1, 2).reshape(batch, time, width))
            x = x + block["down"](F.gelu(block["up"](block["n2"](x)), approximate="tanh"))
        return self.head(self.norm(x)[:, -1])


class Around(nn.Module):
    def __init__(self, model, call):
        super().__init__()
        self.model, self.call = model, call

    def forward(self, x):
        return self.call(self.model, x)


def bert(call):
    from transformers import BertConfig, BertForSequenceClassification
    sizes = dict(vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=32, num_labels=3)
    return Around(BertForSequenceClassification(BertConfig(**sizes)), call)


def deit():
    from transformers import DeiTConfig, DeiTForImageClassification
    sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8, num_labels=10)
    return Around(DeiTForImageClassification(DeiTConfig(**sizes)), lambda model, x: model(pixel_values=x).logits)


def vit():
    model = vision.VisionTransformer(32, 8, 2, 4, 48, 96, num_classes=10)
    # It begins as zeros, and so would the gradient.
    nn.init.normal_(model.heads.head.weight, 0, 0.1)
    return model


def vgg():
    layers = vision.vgg.make_layers([16, "M", 32, "M", 64, 64, "M"], batch_norm=True)
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Linear(1024, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10))


def wong():
    return nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(),
                         nn.Linear(100, 10))


def convnext():
    block = vision.convnext.CNBlockConfig
    return vision.ConvNeXt([block(16, 32, 1), block(32, None, 1)], num_classes=10)


PICTURE, IDS = (3, 64, 64), None
MODELS = {name: ((lambda name=name: getattr(vision, name)(num_classes=10)), PICTURE) for name in [
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "squeezenet1_1", "shufflenet_v2_x0_5", "efficientnet_b0", "densenet121",
    "regnet_y_400mf", "mnasnet0_5"]}
MODELS |= {kind.lower(): ((lambda kind=kind: Recurrent(kind)), (7, 10)) for kind in ["LSTM", "GRU", "RNN"]}
MODELS |= dict(
    wong=(wong, (1, 28, 28)),
    vgg=(vgg, PICTURE),
    convnext=(convnext, PICTURE),
    vit=(vit, (3, 32, 32)),
    swin=(lambda: vision.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=10, stochastic_depth_prob=0.0), (3, 32, 32)),
    deit=(deit, (3, 32, 32)),
    bert=(lambda: bert(lambda model, x: model(inputs_embeds=x).logits), (9, 32)),
    bert_ids=(lambda: bert(lambda model, x: model(input_ids=x).logits), IDS),
    gpt=(lambda: Decoder(False), (12, 32)),
    gpt_ids=(lambda: Decoder(True), IDS),
)


def one(folder, name, exporter, opset):
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model = make().eval()
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.7, 1.3)
            part.bias.data.normal_(0, 0.1)
    x = torch.randint(1, 50, (EXAMPLES, 9)) if shape is IDS else torch.rand(EXAMPLES, *shape)
    path = f"{folder}/{name}-{exporter}-{opset}"
    double = exporter.endswith("64")
    given, exported = (x.double() if double and shape is not IDS else x), (copy.deepcopy(model).double() if double else model)
    options = dict(input_names=["x"], output_names=["y"], opset_version=opset)
    if exporter.startswith("ts"):
        options |= dict(dynamo=False, dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
    else:
        options |= dict(dynamo=True, dynamic_shapes=({0: torch.export.Dim("n", min=1, max=512)},), external_data=False, verbose=False)
    torch.onnx.export(exported, (given[:2],), path + ".onnx", **options)
    with torch.no_grad():
        scores = model(x)
    labels = (scores.argmax(1) + torch.arange(EXAMPLES)) % scores.shape[1]
    reference = copy.deepcopy(model).double()
    at = x if shape is IDS else x.double().requires_grad_(True)
    output = reference(at)
    arrays = dict(x=x.numpy(), y=labels.numpy(), out64=output.detach().numpy())
    if shape is not IDS:
        F.cross_entropy(output, labels).backward()
        arrays["gx64"] = at.grad.numpy()
    np.savez(path + ".npz", **arrays)


folder, *wanted = sys.argv[1:]
for spec in wanted or [f"{name}:{exporter}" for name in MODELS for exporter in ["ts:17", "dyn:18"]]:
    name, exporter, opset = spec.split(":")
    try:
        one(folder, name, exporter, int(opset))
    except Exception as error:
        print(f"{spec}: {error!r}"[:300], file=sys.stderr)

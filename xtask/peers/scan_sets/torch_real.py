"""What PyTorch itself writes: state dicts, modules, checkpoints, scripts and packages."""

from __future__ import annotations

import collections
import io
import pathlib
import tempfile

from .writer import Writer


def cases(add: Writer) -> None:
    """Needs torch, and nothing else."""
    import torch
    from torch import nn

    torch.manual_seed(0)

    def saved(value: object, **options: object) -> bytes:
        out = io.BytesIO()
        torch.save(value, out, **options)
        return out.getvalue()

    mlp = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    convolution = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    optimiser = torch.optim.Adam(mlp.parameters(), lr=0.01)
    mlp(torch.ones(2, 4)).sum().backward()
    optimiser.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 3)
    kinds = {
        str(kind).replace("torch.", ""): torch.ones(3, dtype=kind)
        for kind in (
            torch.float16,
            torch.bfloat16,
            torch.float64,
            torch.int8,
            torch.uint8,
            torch.int64,
            torch.bool,
            torch.complex64,
        )
    }
    base = torch.arange(12.0)
    values = {
        "state_dict.pt": mlp.state_dict(),
        "convolution.pth": convolution.state_dict(),
        "transformer.bin": nn.TransformerEncoderLayer(8, 2, 16).state_dict(),
        "lstm.pt": nn.LSTM(4, 3, bidirectional=True).state_dict(),
        "module.pt": mlp,
        "module_convolution.pt": convolution,
        "module_lstm.pt": nn.LSTM(4, 3),
        "module_transformer.pt": nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2),
        "optimiser.pt": optimiser.state_dict(),
        "checkpoint.ckpt": {
            "epoch": 3,
            "global_step": 100,
            "pytorch-lightning_version": "2.2.0",
            "state_dict": mlp.state_dict(),
            "optimizer_states": [optimiser.state_dict()],
            "lr_schedulers": [schedule.state_dict()],
            "hyper_parameters": {"lr": 0.01, "layers": [8, 2]},
            "loops": {},
            "callbacks": {},
        },
        "types.pt": kinds,
        "views.pt": {"base": base, "view": base.view(3, 4), "transposed": base.view(3, 4).t(), "slice": base[2:5]},
        "sparse.pt": torch.eye(4).to_sparse(),
        "quantised.pt": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
        "parameter.pt": nn.Parameter(torch.ones(3)),
        "parameters.pt": nn.ParameterList([nn.Parameter(torch.ones(2))]).state_dict(),
        "sizes.pt": [torch.Size([1, 2]), torch.device("cpu"), torch.float32, torch.strided],
        "generator.pt": torch.get_rng_state(),
        "ordered.pt": collections.OrderedDict(a=torch.ones(1), b={"c": [torch.zeros(2)]}),
        "empty.pt": torch.empty(0),
        "large.pt": {"w": torch.randn(200, 200)},
        "noise.pt": {"w": torch.randint(0, 256, (300_000,), dtype=torch.uint8)},
        "embedding.pt": {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": torch.ones(1, 8)},
            "name": "style",
            "step": 100,
        },
        "dataset.pt": torch.utils.data.TensorDataset(torch.ones(3, 2), torch.zeros(3)),
    }
    for name, value in values.items():
        add("torch", f"zip/{name}", saved(value))
    for name in ("state_dict.pt", "module.pt", "checkpoint.ckpt", "views.pt", "types.pt"):
        add("torch", f"legacy/{name}", saved(values[name], _use_new_zipfile_serialization=False))
    add("torch", "legacy/protocol_4.pt", saved(values["state_dict.pt"], pickle_protocol=4))
    _scripts(add)
    add.part(lambda: _package(add, mlp))


def _scripts(add: Writer) -> None:
    import torch
    from torch import nn

    class Gate(nn.Module):
        """Data-dependent control flow, so that the script has branches."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """One layer, twice if the sum is positive."""
            out = self.inner(x)
            if bool(out.sum() > 0):
                out = self.inner(out)
            return torch.relu(out)

    made = {
        "script": torch.jit.script(Gate()),
        "trace": torch.jit.trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.ones(1, 1, 8, 8)),
        "frozen": torch.jit.freeze(torch.jit.script(Gate().eval())),
    }
    for name, module in made.items():
        out = io.BytesIO()
        torch.jit.save(module, out)
        add("torch", f"torchscript/{name}.pt", out.getvalue())


def _package(add: Writer, module: object) -> None:
    import torch.package

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "package.pt"
        with torch.package.PackageExporter(str(path)) as exporter:
            exporter.extern(["torch.**", "collections", "_operator"])
            exporter.save_pickle("model", "model.pkl", module)
            exporter.save_text("model", "notes.txt", "a note")
        add("torch", "package/package.pt", path.read_bytes())

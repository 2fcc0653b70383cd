"""What surrounds the pickle in PyTorch's formats: TorchScript code, torch.package, exported programs and server archives."""

from __future__ import annotations

import gzip
import json

from . import torch_layout, zips
from .archives import ELF
from .assembler import EVIL, EVIL_TEXT, GLOBALS, literal, text
from .torch_layout import EVIL_STATE, EVIL_ZIP, GOOD_ZIP, members, state, tarred, zipped
from .writer import Writer

SCRIPT_HEAD = "class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n"


def cases(add: Writer) -> None:
    """Scripts, packages, exported programs, archives of a model server."""
    for name, body in SCRIPTS.items():
        add("format", f"torchscript/{name}.pt", script(SCRIPT_HEAD + body))
    for name, data in (_packages() | _exports() | _servers() | _paddle()).items():
        add("format", name, data)


SCRIPTS = {
    "from_file": '    return torch.from_file("/etc/passwd", False, 100)\n',
    "aten_from_file": '    _0 = ops.aten.from_file("/etc/passwd", False, 100)\n    return _0\n',
    "save": '    torch.save(x, "/tmp/ringfence-none")\n    return x\n',
    "python_op": "    _0 = ^Evil()(x)\n    return _0\n",
    "prim_python": "    _0 = ops.prim.PythonOp(x)\n    return _0\n",
    "custom_operator": "    _0 = ops.evil.run(x)\n    return _0\n",
    "hidden_in_branch": '    if torch.gt(torch.sum(x), 1337):\n      _0 = torch.from_file("/etc/shadow", True, 4)\n    else:\n      _0 = x\n    return _0\n',
}


def script(code: str) -> bytes:
    """A TorchScript archive with one source file."""
    data = b"\x80\x02c__torch__\nNet\n)\x81}(X\x08\x00\x00\x00training\x88ub."
    more = {
        "code/__torch__.py": code.encode(),
        "code/__torch__.py.debug_pkl": b"\x80\x02).",
        "constants.pkl": b"\x80\x02).",
    }
    return zips.plain({f"net/{name}": body for name, body in {"data.pkl": data, **more, "version": b"3\n"}.items()})


def _packages() -> dict[str, bytes]:
    def package(files: dict[str, bytes]) -> bytes:
        base = {".data/version": b"6\n", ".data/extern_modules": b"torch\ncollections\n", "byteorder": b"little"}
        return zips.plain({f"pkg/{name}": data for name, data in (base | files).items()})

    good = b"\x80\x03}q\x00."
    return {
        "package/evil_module.pt": package(
            {
                "model/model.pkl": b"\x80\x03cpkg_code\nNet\n)\x81.",
                "pkg_code.py": b"import os\nos.system('true')\nclass Net: pass\n",
            }
        ),
        "package/evil_pickle.pt": package({"model/model.pkl": EVIL}),
        "package/extern_os.pt": package(
            {"model/model.pkl": b"\x80\x03cos\nsystem\n(X\x04\x00\x00\x00truetR.", ".data/extern_modules": b"os\n"}
        ),
        "package/extern_subprocess.pt": package(
            {
                "model/model.pkl": b"\x80\x03chelper\nNet\n)\x81.",
                ".data/extern_modules": b"subprocess\nctypes\n",
                "helper.py": b"import subprocess\nsubprocess.run(['true'])\nclass Net: pass\n",
            }
        ),
        "package/resource_pickle.pt": package({"model/model.pkl": good, "assets/extra.bin": EVIL}),
    }


def _exports() -> dict[str, bytes]:
    def export(files: dict[str, bytes]) -> bytes:
        base = {
            "archive_format": b"pt2",
            "archive_version": b"0",
            "byteorder": b"little",
            ".data/serialization_id": b"1",
        }
        return zips.plain({f"model/{name}": data for name, data in (base | files).items()})

    def program(target: str) -> bytes:
        node = {"target": target, "inputs": [], "outputs": [], "metadata": {}}
        return json.dumps(
            {
                "graph_module": {"graph": {"inputs": [], "outputs": [], "nodes": [node]}},
                "schema_version": {"major": 8, "minor": 1},
            }
        ).encode()

    return {
        "export/library.pt2": export(
            {"data/aotinductor/model/cabc.wrapper.so": ELF, "data/aotinductor/model/x_metadata.json": b"{}"}
        ),
        "export/library_renamed.pt2": export({"data/aotinductor/model/weights.bin": ELF}),
        "export/source.pt2": export(
            {
                "data/aotinductor/model/x.cpp": b'#include <cstdlib>\nint main() { return system("true"); }\n',
                "data/aotinductor/model/x.so": ELF,
            }
        ),
        "export/sample_inputs.pt2": export(
            {"models/model.json": program("torch.ops.aten.relu.default"), "data/sample_inputs/model.pt": EVIL_ZIP}
        ),
        "export/weights.pt2": export(
            {"models/model.json": program("torch.ops.aten.relu.default"), "data/weights/model.pt": EVIL_ZIP}
        ),
        "export/constants.pt2": export(
            {"models/model.json": program("torch.ops.aten.relu.default"), "data/constants/custom_obj_0": EVIL}
        ),
        "export/custom_operator.pt2": export({"models/model.json": program("torch.ops.evil.run.default")}),
        "export/python_target.pt2": export({"models/model.json": program("torch.utils.collect_env.run")}),
        "export/old_example.pt2": zips.plain(
            {
                "serialized_exported_program.json": program("torch.ops.aten.relu.default"),
                "serialized_state_dict.pt": EVIL_ZIP,
                "version": b"5.1",
            }
        ),
    }


def _servers() -> dict[str, bytes]:
    def mar(files: dict[str, bytes], **model: str) -> dict[str, bytes]:
        manifest = {
            "createdOn": "01/01/2026",
            "runtime": "python",
            "model": {
                "modelName": "m",
                "modelVersion": "1.0",
                "handler": "image_classifier",
                "serializedFile": "model.pt",
                **model,
            },
            "archiverVersion": "0.12.0",
        }
        return {"MAR-INF/MANIFEST.json": json.dumps(manifest).encode(), "model.pt": GOOD_ZIP} | files

    handler = b"import os\n\ndef handle(data, context):\n    os.system('true')\n    return []\n"
    return {
        "server/handler.mar": zips.plain(mar({"handler.py": handler}, handler="handler.py")),
        "server/handler_entry.mar": zips.plain(mar({"svc.py": handler}, handler="svc:handle")),
        "server/weights.mar": zips.plain(mar({"model.pt": EVIL_ZIP})),
        "server/requirements.mar": zips.plain(
            mar(
                {"requirements.txt": b"--index-url http://127.0.0.1/simple\nevil\n"},
                requirementsFile="requirements.txt",
            )
        ),
        "server/slip.mar": zips.plain(mar({}, serializedFile="../../../etc/passwd")),
        "server/tar.mar": gzip.compress(tarred(mar({"handler.py": handler}, handler="handler.py")), mtime=0),
        "server/extra_pickle.mar": zips.plain(mar({"index_to_name.json": b"{}", "vocab.pkl": EVIL})),
    }


def _paddle() -> dict[str, bytes]:
    rebuilt = (
        b"\x80\x02}("
        + text("StructuredToParameterName@@")
        + b"}"
        + text("w")
        + GLOBALS["global"]("os", "system")
        + literal(("true",))
        + b"Ru."
    )
    return {
        "paddle/state.pdparams": rebuilt,
        "paddle/optimizer.pdopt": EVIL,
        "paddle/text.pdparams": EVIL_TEXT,
        "lightning/hyper_parameters.ckpt": zipped(
            state(b"0}" + text("hyper_parameters") + GLOBALS["global"]("author.callbacks", "Callback") + b")\x81s")
        ),
        "lightning/checkpoint.ckpt": zipped(EVIL_STATE),
        "stable_diffusion/embedding.pt": zips.plain(members(EVIL_STATE, root="embedding")),
        "legacy/whole_model.pt": torch_layout.legacy(
            b"\x80\x02cauthor.models\nNet\n)\x81}X\x08\x00\x00\x00training\x88sb."
        ),
    }

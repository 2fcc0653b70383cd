"""Harmless pickles of Python's own values, in every protocol and carrier."""

from __future__ import annotations

import argparse
import array
import collections
import datetime
import decimal
import fractions
import functools
import io
import pathlib
import pickle
import pickletools
import re
import types
import uuid

from . import torch_layout, zips
from .torch_layout import GOOD_ZIP, first_tar, legacy, members, state, zipped
from .wrappers import STREAM_CARRIERS, WRAPPERS
from .writer import Writer

VALUES: dict[str, object] = {
    "numbers": [0, -1, 2**70, -(2**2100), 1.5, float("inf"), True, None, 1j],
    "texts": ["a", "é", "日本", "x" * 300, "line\nbreak", "", "os.system", "cos\nsystem\n"],
    "bytes": [b"\x00\x01" * 50, b"", bytearray(b"abc"), bytes(range(256)) * 3],
    "nested": {"a": [{"b": (1, 2, (3, [4]))}] * 5, "c": {1: {2: {3: {}}}}},
    "sets": [{1, 2}, frozenset([3]), set()],
    "collections": [
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.deque([1], 3),
        collections.defaultdict(list, {"a": [1]}),
        collections.ChainMap({"a": 1}),
    ],
    "times": [
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        datetime.date(2020, 1, 1),
        datetime.timedelta(1),
        datetime.time(1, 2),
    ],
    "quantities": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=5), range(3), slice(1, 2)],
    "arrays": [array.array("d", [1.0]), array.array("i", [1, 2])],
    "paths": [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("c:/d"), pathlib.PosixPath("weights.bin")],
    "namespaces": [argparse.Namespace(lr=0.1, name="x"), types.SimpleNamespace(a=1)],
    "classes": [int, str, dict, collections.OrderedDict, type(None), NotImplemented, Ellipsis],
    "functions": [len, max, sum, sorted],
    "partials": [functools.partial(int, base=2)],
    "patterns": [re.compile("a+b", re.I)],
    "shared": [[1, 2, 3]] * 3,
    "training": {
        "epoch": 3,
        "loss": [0.5, 0.25],
        "labels": ["cat", "dog"],
        "classes": {"cat": 0, "dog": 1},
        "command": "python train.py --lr 0.1; echo done",
        "url": "https://example.org/data",
    },
    "base64_like": {"token": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=" * 8, "hex": "deadbeef" * 40},
    "vocabulary": {f"word{i}": i for i in range(3000)},
    "errors": [ValueError("bad value"), KeyError("x")],
}


def cases(add: Writer) -> None:
    """All values in all protocols, several in a row, and each carrier around a harmless stream and a harmless archive."""
    for name, value in VALUES.items():
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            if (list(VALUES).index(name) + protocol) % 2 == 0 or name == "numbers":
                add("pickle", f"{name}_{protocol}.pkl", pickle.dumps(value, protocol))
    add("pickle", "all.pkl", pickle.dumps(VALUES))
    add("pickle", "python_pickler.pkl", _python_pickler(VALUES["nested"]))
    add("pickle", "optimised.pkl", pickletools.optimize(pickle.dumps(VALUES["nested"], 4)))
    add("pickle", "rows_of_five.pkl", b"".join(pickle.dumps({"batch": i, "loss": i / 7}) for i in range(5)))
    add("pickle", "rows_text.pkl", b"".join(pickle.dumps([i], 0) for i in range(5)))
    add("pickle", "inner_clean.pkl", pickle.dumps({"state": pickle.dumps({"w": [1.0]})}))
    add("pickle", "large_frames.pkl", pickle.dumps(["x" * 40_000] + [str(i) * 100 for i in range(5000)], 4))
    add("pickle", "recursive.pkl", _recursive())
    inner = pickle.dumps({"weights": [0.5] * 50, "labels": ["cat", "dog"]}, 4)
    for name, (extension, wrap) in WRAPPERS.items():
        if name not in {"safetensors_tail"}:
            add("carrier", f"{name}.{extension}", wrap(inner))
        if name not in STREAM_CARRIERS:
            add("carrier", f"torch_{name}.{extension}", wrap(GOOD_ZIP))
    _torch(add)


def _torch(add: Writer) -> None:
    add("torch_by_hand", "state.pt", GOOD_ZIP)
    add("torch_by_hand", "legacy.pth", legacy())
    add("torch_by_hand", "first_tar.pt", first_tar())
    add("torch_by_hand", "deflated.pt", zips.plain(members(state()), zips.DEFLATED))
    add("torch_by_hand", "other_root.ckpt", zipped(state(), root="epoch=3-step=100"))
    add(
        "torch_by_hand",
        "aligned.bin",
        zips.archive(
            [
                zips.Member(
                    name, data, extra=b"FB" + (len(data) % 50 + 4).to_bytes(2, "little") + b"Z" * (len(data) % 50 + 4)
                )
                for name, data in members(state()).items()
            ]
        ),
    )
    add("torch_by_hand", "empty.pt", zipped(torch_layout.state(tensors={}), tensors={}))


def _python_pickler(value: object) -> bytes:
    out = io.BytesIO()
    pickle._Pickler(out, 4).dump(value)
    return out.getvalue()


def _recursive() -> bytes:
    loop: list[object] = [1]
    loop.append(loop)
    return pickle.dumps({"loop": loop, "table": {"self": loop}})

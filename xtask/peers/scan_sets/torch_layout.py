"""PyTorch's file layouts written by hand, after `torch/serialization.py`: the zip of 1.6 and newer, the five pickles before
it, and the tar before those."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile

from . import zips
from .assembler import EVIL, literal, text

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
TENSORS = {"fc.weight": 12, "fc.bias": 4}


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    """The persistent id of a storage."""
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + literal(count) + b"tQ"


def tensor(key: str, count: int) -> bytes:
    """A one-dimensional float tensor."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(key, count)
        + literal(0)
        + literal((count,))
        + literal((1,))
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def state(extra: bytes = b"", tensors: dict[str, int] | None = None) -> bytes:
    """`data.pkl` of a state dict; `extra` runs before its end and must leave the stack as it was."""
    tensors = TENSORS if tensors is None else tensors
    items = b"".join(text(name) + tensor(str(key), count) for key, (name, count) in enumerate(tensors.items()))
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u" + extra + b"."


def members(
    data: bytes,
    *,
    root: str = "archive",
    pickle_name: str = "data.pkl",
    more: dict[str, bytes] | None = None,
    tensors: dict[str, int] | None = None,
) -> dict[str, bytes]:
    """The members of the zip layout, in torch's order."""
    tensors = TENSORS if tensors is None else tensors
    made = {f"{root}/{pickle_name}": data, f"{root}/byteorder": b"little"}
    made |= {f"{root}/data/{key}": struct.pack("<f", 0.5) * count for key, count in enumerate(tensors.values())}
    made |= {f"{root}/version": b"3\n", f"{root}/.data/serialization_id": b"0636457737946401051300000025273995036293"}
    return made | {f"{root}/{name}": data for name, data in (more or {}).items()}


def zipped(data: bytes, **more: object) -> bytes:
    """The zip layout around a `data.pkl`."""
    return zips.plain(members(data, **more))


def legacy(data: bytes, *, third: bytes | None = None) -> bytes:
    """Five pickles (magic, protocol, system, object, keys) and the storages."""
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    out = pickle.dumps(MAGIC, 2) + pickle.dumps(PROTOCOL, 2) + (third or pickle.dumps(system, 2))
    out += data + pickle.dumps([str(key) for key in range(len(TENSORS))], 2)
    for count in TENSORS.values():
        out += struct.pack("<q", count) + struct.pack("<f", 0.5) * count
    return out


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar of files, without times."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, **({"format": tarfile.USTAR_FORMAT})) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


EVIL_STATE = state(EVIL[11:-1] + b"0")
EVIL_ZIP = zipped(EVIL_STATE)
GOOD_ZIP = zipped(state())

"""PyTorch's file layouts written by hand, after `torch/serialization.py`: the zip of 1.6 and newer, the five pickles before
it, and the tar before those."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile

from . import zips
from .assembler import TRUE, literal, text

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
TENSORS = {"fc.weight": 12, "fc.bias": 4}


def storage(key: str, count: int, view: bytes = b"") -> bytes:
    """The persistent id of a storage; before the zip layout it ended with the view that it is (`N`: none)."""
    return b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + literal(count) + view + b"tQ"


def tensor(key: str, count: int, view: bytes = b"") -> bytes:
    """A one-dimensional float tensor."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(key, count, view)
        + literal(0)
        + literal((count,))
        + literal((1,))
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def state(extra: bytes = b"", tensors: dict[str, int] | None = None, view: bytes = b"") -> bytes:
    """`data.pkl` of a state dict; `extra` runs before its end and must leave the stack as it was."""
    tensors = TENSORS if tensors is None else tensors
    items = b"".join(text(name) + tensor(str(key), count, view) for key, (name, count) in enumerate(tensors.items()))
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


def legacy(data: bytes | None = None, *, third: bytes | None = None) -> bytes:
    """Five pickles (magic, protocol, system, object, keys) and the storages."""
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    out = pickle.dumps(MAGIC, 2) + pickle.dumps(PROTOCOL, 2) + (third or pickle.dumps(system, 2))
    out += (data or OLD_STATE) + pickle.dumps([str(key) for key in range(len(TENSORS))], 2)
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


def first_tar(data: bytes | None = None, system: bytes = b"\x80\x02}.") -> bytes:
    """The tar of torch 0.1: four pickles, with one float tensor of two numbers; `data` replaces the object itself."""
    storages = pickle.dumps(1, 2) + b"\x80\x02K\x00" + text("cpu") + b"ctorch\nFloatStorage\n\x87."
    storages += struct.pack("<qff", 2, 0.5, 0.5) + pickle.dumps([], 2)
    tensors = (
        pickle.dumps(1, 2) + b"\x80\x02K\x01K\x00ctorch\nFloatTensor\n\x87." + struct.pack("<iiqqq", 1, 0, 2, 1, 0)
    )
    whole = b"\x80\x02ccollections\nOrderedDict\n)R" + text("fc.bias") + text("1") + b"Qs."
    return tarred({"sys_info": system, "pickle": data or whole, "tensors": tensors, "storages": storages})


EVIL_STATE = state(TRUE + b"0")
OLD_STATE = state(view=b"N")
OLD_EVIL_STATE = state(TRUE + b"0", view=b"N")
EVIL_ZIP = zipped(EVIL_STATE)
GOOD_ZIP = zipped(state())

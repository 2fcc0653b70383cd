"""Formats of plain numbers that are not plain: safetensors, NumPy, GGUF, MessagePack, UBJSON."""

from __future__ import annotations

import json
import pickle
import struct

from . import zips
from .archives import ELF
from .assembler import EVIL, EVIL_TEXT
from .wrappers import npy, safetensors
from .writer import Writer

CODE = "__import__('os').system('true')"


def cases(add: Writer) -> None:
    """Headers that contradict the data, hidden bytes, and pickles where numbers should be."""
    for name, data in (_safetensors() | _numpy() | _gguf() | _messagepack() | _ubjson()).items():
        add("format", name, data)


def _safetensors() -> dict[str, bytes]:
    def tensor(start: int, end: int, dtype: str = "F32", shape: tuple[int, ...] = (4,)) -> dict[str, object]:
        return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}

    def file(header: object, data: bytes = bytes(16), length: int | None = None) -> bytes:
        return safetensors(header if isinstance(header, bytes) else json.dumps(header).encode(), data, length)

    whole = b'"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'
    made = {
        "hole": file({"w": tensor(0, 16), "v": tensor(20, 36)}, bytes(36)),
        "hole_filled": file(
            {"w": tensor(0, 16), "v": tensor(16 + len(EVIL), 32 + len(EVIL))}, bytes(16) + EVIL + bytes(16)
        ),
        "hole_at_start": file({"w": tensor(8, 24)}, bytes(24)),
        "overlap": file({"w": tensor(0, 16), "v": tensor(8, 24)}, bytes(24)),
        "same_bytes": file({"w": tensor(0, 16), "v": tensor(0, 16)}),
        "trailing_pickle": file({"w": tensor(0, 16)}, bytes(16) + EVIL),
        "trailing_zip": file({"w": tensor(0, 16)}, bytes(16) + zips.plain({"data.pkl": EVIL})),
        "trailing_elf": file({"w": tensor(0, 16)}, bytes(16) + ELF),
        "trailing_zeros": file({"w": tensor(0, 16)}, bytes(4096)),
        "duplicate_name": file(b"{" + whole + b"," + whole + b"}"),
        "duplicate_key": file(b'{"w":{"dtype":"F32","dtype":"I8","shape":[4],"data_offsets":[0,16]}}'),
        "duplicate_escaped": file(b"{" + whole + b',"\\u0077":{"dtype":"I8","shape":[16],"data_offsets":[0,16]}}'),
        "out_of_bounds": file({"w": tensor(0, 4000, shape=(1000,))}),
        "reversed": file({"w": tensor(16, 0)}),
        "negative": file({"w": tensor(-16, 0)}),
        "overflow_shape": file({"w": tensor(0, 16, shape=(2**32, 2**32, 4))}),
        "overflow_offset": file({"w": tensor(0, 2**64 - 1)}),
        "shape_lie": file({"w": tensor(0, 16, shape=(400,))}),
        "dtype_unknown": file({"w": tensor(0, 16, "PICKLE")}),
        "header_huge": file({"w": tensor(0, 16)}, length=2**62),
        "header_over_100_mb": file({"w": tensor(0, 16)}, length=200_000_000),
        "header_past_end": file({"w": tensor(0, 16)}, b"", length=5000),
        "header_deep": file(b'{"__metadata__":' + b"[" * 60_000 + b"]" * 60_000 + b"}"),
        "header_two_values": file(b"{" + whole + b'}{"x":1}'),
        "header_padded_pickle": file(b"{" + whole + b"}" + b" " * 7 + b"\0" * 8 + EVIL_TEXT),
        "metadata_code": file({"__metadata__": {"init": CODE}, "w": tensor(0, 16)}),
        "metadata_pickle": file(
            {"__metadata__": {"state": __import__("base64").b64encode(EVIL).decode()}, "w": tensor(0, 16)}
        ),
        "metadata_script": file(
            {"__metadata__": {"readme": "<script>fetch('http://127.0.0.1:9/')</script>"}, "w": tensor(0, 16)}
        ),
        "tensor_pickle": file({"w": tensor(0, len(EVIL), "U8", (len(EVIL),))}, EVIL),
        "tensor_elf": file({"w": tensor(0, len(ELF), "U8", (len(ELF),))}, ELF),
        "tensor_zip": file({"w": tensor(0, 200, "U8", (200,))}, zips.plain({"data.pkl": EVIL}).ljust(200, b"\0")[:200]),
    }
    return {f"safetensors/{name}.safetensors": data for name, data in made.items()}


def _numpy() -> dict[str, bytes]:
    def array(header: bytes, data: bytes = b"", version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
        size = len(header) + 1 if length is None else length
        return (
            b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", size) + header + b"\n" + data
        )

    plain = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"
    made = {
        "object.npy": npy(EVIL),
        "object_text.npy": npy(EVIL_TEXT),
        "object_version_2.npy": npy(EVIL, 2),
        "object_version_3.npy": npy(EVIL, 3),
        "object_in_record.npy": array(
            b"{'descr': [('a', '<i4'), ('b', '|O')], 'fortran_order': False, 'shape': (1,), }", EVIL
        ),
        "object_spelled.npy": array(b"{'descr': 'object', 'fortran_order': False, 'shape': (1,), }", EVIL),
        "object_nested.npy": array(b"{'descr': [('a', [('b', '|O')])], 'fortran_order': False, 'shape': (1,), }", EVIL),
        "header_call.npy": array(
            b"{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,), }", bytes(8)
        ),
        "header_comprehension.npy": array(
            b"{'descr': '<f8', 'fortran_order': False, 'shape': tuple(x for x in [exit()]), }", bytes(8)
        ),
        "header_key.npy": array(
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'init': 'os.system'}", bytes(8)
        ),
        "header_huge.npy": array(plain, bytes(16), (2, 0), 2**31),
        "header_deep.npy": array(b"(" * 20_000 + b")" * 20_000, b"", (2, 0)),
        "trailing_pickle.npy": array(plain, bytes(16) + EVIL),
        "shape_huge.npy": array(
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", bytes(16)
        ),
        "shape_negative.npy": array(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", bytes(16)),
        "object.npz": zips.plain({"x.npy": npy(EVIL), "y.npy": array(plain, bytes(16))}),
        "object_odd_name.npz": zips.plain({"x": npy(EVIL)}),
        "pickle_member.npz": zips.plain({"x.npy": array(plain, bytes(16)), "y.npy": EVIL}),
        "pickle_as_array.npy": EVIL,
        "data_pickle.npy": array(
            f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(EVIL)},), }}".encode(), EVIL
        ),
    }
    return {f"numpy/{name}": data for name, data in made.items()}


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf(
    pairs: dict[str, object],
    *,
    tensors: list[tuple[str, list[int], int, int]] = (),
    counts: tuple[int, int] | None = None,
    version: int = 3,
    data: bytes = b"",
    raw: bytes = b"",
) -> bytes:
    """A GGUF file (ggml's `docs/gguf.md`): texts, whole numbers and lists of texts as values; tensors as
    (name, dimensions, type, offset). `counts` lies about the number of tensors and pairs."""
    counted = counts or (len(tensors), len(pairs))
    out = b"GGUF" + struct.pack("<IQQ", version, *counted)
    for key, value in pairs.items():
        out += _text(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + _text(value)
        elif isinstance(value, list):
            out += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
        else:
            out += struct.pack("<II", 4, value)
    out += raw
    for name, dimensions, kind, offset in tensors:
        out += (
            _text(name)
            + struct.pack("<I", len(dimensions))
            + struct.pack(f"<{len(dimensions)}Q", *dimensions)
            + struct.pack("<IQ", kind, offset)
        )
    return out + bytes(-len(out) % 32) + data if tensors or data else out


def _gguf() -> dict[str, bytes]:
    base = {"general.architecture": "llama", "general.name": "x"}
    one = [("token_embd.weight", [4], 0, 0)]
    made = {
        "pairs_huge": gguf(base, counts=(0, 2**64 - 1)),
        "tensors_huge": gguf(base, counts=(2**60, 2)),
        "tensors_overflow": gguf(base, counts=(2**64 // 56 + 2, 2)),
        "text_huge": gguf(base, counts=(0, 3), raw=struct.pack("<Q", 2**63 - 1) + b"x"),
        "value_text_huge": gguf(base, counts=(0, 3), raw=_text("k") + struct.pack("<IQ", 8, 2**64 - 1)),
        "array_huge": gguf(base, counts=(0, 3), raw=_text("k") + struct.pack("<IIQ", 9, 8, 2**61)),
        "array_overflow": gguf(base, counts=(0, 3), raw=_text("k") + struct.pack("<IIQ", 9, 12, 2**61 + 1) + bytes(64)),
        "array_nested": gguf(base, counts=(0, 3), raw=_text("k") + struct.pack("<IIQ", 9, 9, 1) * 3000),
        "type_unknown": gguf(base, counts=(0, 3), raw=_text("k") + struct.pack("<I", 99) + bytes(8)),
        "dimensions_many": gguf(base, counts=(1, 2), raw=_text("w") + struct.pack("<I", 2**31)),
        "dimensions_overflow": gguf(base, tensors=[("w", [2**32, 2**32, 2], 0, 0)], data=bytes(32)),
        "dimensions_negative": gguf(base, tensors=[("w", [2**63 + 1], 0, 0)], data=bytes(32)),
        "offset_outside": gguf(base, tensors=[("w", [4], 0, 2**40)], data=bytes(32)),
        "offset_overflow": gguf(base, tensors=[("w", [4], 0, 2**64 - 32)], data=bytes(32)),
        "offset_unaligned": gguf(base, tensors=[("w", [4], 0, 3)], data=bytes(32)),
        "tensor_overlap": gguf(base, tensors=[("w", [16], 0, 0), ("v", [16], 0, 32)], data=bytes(128)),
        "tensor_type": gguf(base, tensors=[("w", [4], 9999, 0)], data=bytes(32)),
        "alignment_zero": gguf(base | {"general.alignment": 0}, tensors=one, data=bytes(32)),
        "alignment_odd": gguf(base | {"general.alignment": 7}, tensors=one, data=bytes(32)),
        "duplicate_pair": gguf(
            base, counts=(0, 3), raw=_text("general.architecture") + struct.pack("<I", 8) + _text("other")
        ),
        "duplicate_tensor": gguf(base, tensors=[one[0], one[0]], data=bytes(64)),
        "trailing_pickle": gguf(base, tensors=one, data=bytes(32) + EVIL),
        "trailing_elf": gguf(base, tensors=one, data=bytes(32) + ELF),
        "name_long": gguf(base, tensors=[("w" * 70_000, [4], 0, 0)], data=bytes(32)),
        "tensor_elf": gguf(base, tensors=[("w", [len(ELF)], 24, 0)], data=ELF.ljust(len(ELF) + 31 & ~31, b"\0")),
        "big_endian_counts": b"GGUF" + struct.pack(">IQQ", 3, 2**60, 2**60),
    }
    return {f"gguf/{name}.gguf": data for name, data in made.items()}


def _messagepack() -> dict[str, bytes]:
    import msgpack

    array = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": (1,), b"data": EVIL}
    made = {
        "extension_pickle": msgpack.packb({"params": {"w": msgpack.ExtType(42, EVIL)}}),
        "extension_text_pickle": msgpack.packb({"params": {"w": msgpack.ExtType(5, EVIL_TEXT)}}),
        "numpy_object": msgpack.packb({"w": array}),
        "bytes_pickle": msgpack.packb({"params": {"w": EVIL}}),
        "flax_array_pickle": msgpack.packb({"w": msgpack.ExtType(1, msgpack.packb(((1,), "object", EVIL)))}),
        "array_length": b"\x81\xa6params\xdd\xff\xff\xff\xff\x01",
        "map_length": b"\xdf\xff\xff\xff\xff\xa1w\x01",
        "extension_length": b"\x81\xa1w\xc9\xff\xff\xff\xff\x01abc",
        "nesting": b"\x91" * 100_000 + b"\xc0",
        "trailing_pickle": msgpack.packb({"w": 1}) + EVIL,
    }
    return {f"msgpack/{name}.msgpack": data for name, data in made.items()}


def _ubjson() -> dict[str, bytes]:
    return {
        "ubjson/array_length.ubj": b"{i\x07learner[$d#l\x7f\xff\xff\xff",
        "ubjson/array_negative.ubj": b"{i\x07learner[$d#l\xff\xff\xff\xff]}",
        "ubjson/array_64.ubj": b"{i\x07learner[$D#L\x7f\xff\xff\xff\xff\xff\xff\xff",
        "ubjson/text_length.ubj": b"{i\x07learnerSL\x7f\xff\xff\xff\xff\xff\xff\xffx",
        "ubjson/key_negative.ubj": b"{i\xfflearner[]}",
        "ubjson/nesting.ubj": b"{i\x07learner" + b"[" * 200_000,
        "xgboost/pickle.ubj": pickle.dumps({"version": 1}, 4) + EVIL,
        "catboost/pickle.cbm": b"CBM1" + struct.pack("<I", len(EVIL)) + EVIL,
    }

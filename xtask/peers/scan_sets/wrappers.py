"""Ways of packing a file into another one: compressions, archives and other carriers."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import os
import pathlib
import pickle
import struct
import tempfile
import zlib
from collections.abc import Callable

from . import torch_layout, zips


def npy(data: bytes, version: int = 1) -> bytes:
    """An array of one object whose pickle is `data`."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    length = struct.pack("<H" if version == 1 else "<I", len(header) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + b"\n" + data


def lz4_frame(data: bytes) -> bytes:
    """An LZ4 frame of one stored block (LZ4 Frame Format 1.6.2; header checksum by XXH32)."""
    import lz4.frame

    return lz4.frame.compress(data)


def zstd_frame(data: bytes) -> bytes:
    """One Zstandard frame."""
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


def seven(data: bytes, name: str = "data.pkl") -> bytes:
    """A 7z archive of one file."""
    import py7zr

    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        path.write_bytes(data)
        os.utime(path, (1_577_836_800, 1_577_836_800))
        with py7zr.SevenZipFile(out, "w") as archive:
            archive.write(path, name)
    return out.getvalue()


def safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file from its header's text."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


# Name to wrapper; each output is something that a tool on the way to the loader unpacks, or that a loader reads itself.
WRAPPERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gz", lambda data: gzip.compress(data, mtime=0)),
    "bzip2": ("bz2", bz2.compress),
    "xz": ("xz", lzma.compress),
    "lzma_alone": ("lzma", lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE)),
    "zlib": ("z", zlib.compress),
    "zlib_fast": ("z", lambda data: zlib.compress(data, 1)),
    "zstd": ("zst", zstd_frame),
    "lz4": ("lz4", lz4_frame),
    "zip_stored": ("zip", lambda data: zips.plain({"data.pkl": data})),
    "zip_deflated": ("zip", lambda data: zips.plain({"data.pkl": data}, zips.DEFLATED)),
    "tar": ("tar", lambda data: torch_layout.tarred({"data.pkl": data})),
    "tar_gz": ("tar.gz", lambda data: gzip.compress(torch_layout.tarred({"data.pkl": data}), mtime=0)),
    "tar_bz2": ("tar.bz2", lambda data: bz2.compress(torch_layout.tarred({"data.pkl": data}))),
    "tar_xz": ("tar.xz", lambda data: lzma.compress(torch_layout.tarred({"data.pkl": data}))),
    "7z": ("7z", seven),
    "npy": ("npy", npy),
    "npy_2": ("npy", lambda data: npy(data, 2)),
    "npz": ("npz", lambda data: zips.plain({"arr_0.npy": npy(data)})),
    "torch_member": ("pt", lambda data: torch_layout.zipped(torch_layout.state(), more={"extra/notes.bin": data})),
    "second_pickle": ("pkl", lambda data: pickle.dumps({"epoch": 3}, 4) + data),
    "pickle_bytes": ("pkl", lambda data: pickle.dumps({"blob": data}, 4)),
    "pickle_base64": ("pkl", lambda data: pickle.dumps({"blob": base64.b64encode(data).decode()}, 4)),
    "safetensors_tail": (
        "safetensors",
        lambda data: safetensors(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0\0\0\0" + data),
    ),
}

# Carriers of a bare stream; the others also carry what carries one.
STREAM_CARRIERS = {"npy", "npy_2", "npz", "second_pickle", "pickle_bytes", "pickle_base64", "safetensors_tail"}

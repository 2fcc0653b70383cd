"""Archives that show one content to a scanner and another to a loader."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib

from . import torch_layout, zips
from .assembler import EVIL, EVIL_TEXT, TRUE, pickle_of
from .torch_layout import (
    EVIL_STATE,
    EVIL_ZIP,
    GOOD_ZIP,
    first_tar,
    members,
    state,
    tarred,
    zipped,
)
from .wrappers import npy
from .writer import Writer
from .zips import DEFLATED, Member, archive

ELF = (
    b"\x7fELF\x02\x01\x01"
    + bytes(9)
    + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0)
    + bytes(64)
)
PE = (
    b"MZ"
    + bytes(58)
    + struct.pack("<I", 64)
    + b"PE\0\0"
    + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x2022)
    + bytes(240)
)
MACH_O = struct.pack("<IiiIIIII", 0xFEEDFACF, 0x0100000C, 0, 6, 0, 0, 0, 0) + bytes(64)
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)


def torch_members(**lies: object) -> list[Member]:
    """The torch layout with an evil `data.pkl` whose header tells `lies`."""
    first, *rest = members(EVIL_STATE).items()
    return [Member(*first, **lies), *(Member(name, data) for name, data in rest)]


def cases(add: Writer) -> None:
    """Headers that lie, hidden members, places that readers differ on, and everything that packs a pickle."""
    for name, data in _headers().items():
        add("archive", f"header/{name}.pt", data)
    for name, data in (_places() | _members() | _bombs() | _tars() | _layers() | _programs()).items():
        add("archive", name, data)


def _headers() -> dict[str, bytes]:
    made = {}
    for flag in (0x1, 0x20, 0x40, 0x2000, 0x8):
        made[f"flag_{flag:#x}_local"] = archive(torch_members(flags_local=flag))
        made[f"flag_{flag:#x}_central"] = archive(torch_members(flags_central=flag))
        made[f"flag_{flag:#x}_both"] = archive(torch_members(flags_local=flag, flags_central=flag))
    made |= {
        "crc_wrong": archive(torch_members(crc=0x12345678)),
        "crc_zero": archive(torch_members(crc=0)),
        "crc_local_differs": archive(torch_members(crc_local=1)),
        "name_differs": archive(torch_members(central_name="archive/readme.txt")),
        "name_differs_back": archive(
            [Member("archive/readme.txt", EVIL_STATE, central_name="archive/data.pkl"), *torch_members()[1:]]
        ),
        "version_255_local": archive(torch_members(version_local=255)),
        "version_255_central": archive(torch_members(version_central=255)),
        "method_1": archive(torch_members(method_local=1, method_central=1)),
        "method_99": archive(torch_members(method_local=99, method_central=99)),
        "method_99_local": archive(torch_members(method_local=99)),
        "method_99_central": archive(torch_members(method_central=99)),
        "method_local_stored": archive(torch_members(method=DEFLATED, method_local=0)),
        "size_local_zero": archive(torch_members(size_local=0, packed_local=0)),
        "size_local_huge": archive(torch_members(size_local=0xFFFFFFF0)),
        "size_central_small": archive(torch_members(size_central=2)),
        "size_central_huge": archive(torch_members(size_central=0xFFFFFFF0)),
        "count_low": archive(torch_members(), count=1),
        "count_high": archive(torch_members(), count=500),
        "extra_zip64_lie": archive(torch_members(extra=struct.pack("<HHQQ", 1, 16, 2**40, 2**40))),
        "extra_unicode_path": archive(torch_members(extra=_unicode_path("archive/data.pkl", "archive/notes.txt"))),
        "extra_broken": archive(torch_members(extra=b"\x01\x00\xff\xff")),
        "name_backslash": archive([Member("archive\\data.pkl", EVIL_STATE), *torch_members()[1:]]),
        "name_case": archive([Member("archive/DATA.PKL", EVIL_STATE), *torch_members()[1:]]),
        "name_trailing_slash": archive([Member("archive/data.pkl/", EVIL_STATE), *torch_members()[1:]]),
        "deflated": archive(torch_members(method=DEFLATED)),
    }
    return made


def _unicode_path(name: str, shown: str) -> bytes:
    """The Info-ZIP Unicode Path field (APPNOTE 4.6.9)."""
    body = b"\x01" + struct.pack("<I", zlib.crc32(name.encode())) + shown.encode()
    return struct.pack("<HH", 0x7075, len(body)) + body


def _places() -> dict[str, bytes]:
    evil, clean = archive(torch_members()), GOOD_ZIP
    only_local = archive([Member("evil.pkl", EVIL, listed=False), Member("notes.txt", b"nothing here")])
    return {
        "place/before_pickle.pt": EVIL + clean,
        "place/before_pickle_shifted.pt": archive(
            [Member(n, d) for n, d in members(state()).items()], before=EVIL, shifted=True
        ),
        "place/before_text_pickle.pt": EVIL_TEXT + clean,
        "place/before_gif.pt": GIF + evil,
        "place/before_elf.pt": ELF + clean,
        "place/before_script.pt": b"#!/bin/sh\ntrue\nexit\n" + clean,
        "place/before_pk78.pt": b"PK\7\x08" + evil,
        "place/before_pk00.pt": b"PK00" + evil,
        "place/before_64k.pt": bytes(70_000) + evil,
        "place/after_pickle.pt": clean + EVIL,
        "place/after_64k.pt": evil + bytes(i * 7 % 251 for i in range(70_000)),
        "place/after_zeros.pt": evil + bytes(100),
        "place/after_zip.pt": clean + evil,
        "place/after_clean_zip.pt": evil + clean,
        "place/comment_zip.pt": archive([Member("notes.txt", b"nothing here")], comment=zips.plain({"data.pkl": EVIL})),
        "place/comment_pickle.pt": archive([Member("notes.txt", b"nothing here")], comment=EVIL),
        "place/comment_end_record.pt": archive(torch_members(), comment=b"PK\5\6" + bytes(18)),
        "place/gap_pickle.zip": archive([Member("notes.txt", b"nothing here")], gap=EVIL),
        "place/only_local.zip": only_local,
        "place/between_members.zip": archive(
            [Member("a.txt", b"a"), Member("evil.pkl", EVIL, listed=False), Member("b.txt", b"b")]
        ),
        "place/no_end_record.pt": evil[: evil.rindex(b"PK\5\6")],
        "place/no_directory.pt": evil[: evil.index(b"PK\1\2")],
        "place/cut.pt": evil[: len(evil) * 2 // 3],
        "place/end_record_twice.pt": evil + evil[evil.rindex(b"PK\5\6") :],
        "place/zip_in_png.png": _png() + evil,
        "place/zip_in_pdf.pdf": b"%PDF-1.4\n%nothing\n" + evil + b"\n%%EOF\n",
        "place/pickle_in_png.png": _png() + EVIL,
        "place/pickle_in_jpeg.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9" + EVIL,
        "place/pickle_in_gif.gif": GIF + EVIL,
        "place/pickle_in_text.md": b"# Model\n\nWeights by the author.\n" + EVIL,
    }


def _png(extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def _members() -> dict[str, bytes]:
    others = torch_members()[1:]
    good, evil = Member("archive/data.pkl", state()), Member("archive/data.pkl", EVIL_STATE)
    link = Member("link", b"/etc/passwd", attributes=0o120777 << 16)
    return {
        "member/duplicate_last.pt": archive([good, evil, *others]),
        "member/duplicate_first.pt": archive([evil, good, *others]),
        "member/duplicate_case.pt": archive([good, Member("archive/Data.pkl", EVIL_STATE), *others]),
        "member/duplicate_slash.pt": archive([good, Member("archive//data.pkl", EVIL_STATE), *others]),
        "member/odd_extension.pt": zipped(EVIL_STATE, pickle_name="data.p"),
        "member/no_extension.pt": zipped(EVIL_STATE, pickle_name="data"),
        "member/config_p.zip": zips.plain({"model/config.p": EVIL, "model/readme.txt": b"x"}),
        "member/text_extension.zip": zips.plain({"model/readme.txt": EVIL}),
        "member/image_extension.zip": zips.plain({"model/logo.png": EVIL}),
        "member/hidden.zip": zips.plain({"model/.cache": EVIL, "model/readme.txt": b"x"}),
        "member/mac_resource.zip": zips.plain({"__MACOSX/._data.pkl": EVIL, "readme.txt": b"x"}),
        "member/constants.pt": zipped(state(), more={"constants.pkl": pickle_of(TRUE, "protocol_2")}),
        "member/second_root.pt": zips.plain(members(state()) | {"other/data.pkl": EVIL_STATE}),
        "member/storage_pickle.pt": zips.plain(members(state()) | {"archive/data/0": EVIL}),
        "member/extra_storage.pt": zipped(state(), more={"data/99": EVIL}),
        "member/nested_zip.zip": zips.plain({"inner.zip": zips.plain({"data.pkl": EVIL})}),
        "member/nested_four.zip": _nest(EVIL, 4),
        "member/nested_eight.zip": _nest(EVIL, 8),
        "member/slip_dots.zip": zips.plain({"../../evil.txt": b"x"}),
        "member/slip_absolute.zip": zips.plain({"/etc/cron.d/evil": b"x"}),
        "member/slip_backslash.zip": zips.plain({"..\\..\\evil.txt": b"x"}),
        "member/slip_drive.zip": zips.plain({"C:\\evil.txt": b"x"}),
        "member/slip_inside.zip": zips.plain({"a/../../evil.txt": b"x"}),
        "member/link_absolute.zip": archive([link]),
        "member/link_then_file.zip": archive(
            [Member("out", b"../../..", attributes=0o120777 << 16), Member("out/evil.txt", b"x")]
        ),
        "member/overlap.zip": _overlap(),
        "member/path_hook.whl": zips.plain({"evil.pth": b"import os; os.system('true')\n", "x/__init__.py": b""}),
        "member/library.zip": zips.plain({"model/libops.so": ELF, "model/readme.txt": b"x"}),
    }


def _nest(data: bytes, depth: int) -> bytes:
    for level in range(depth):
        data = zips.plain({f"level{level}.zip" if level else "data.pkl": data}, DEFLATED)
    return data


def _overlap() -> bytes:
    """Ten directory entries that share one member's bytes."""
    one = zips.plain({"a": bytes(1000)}, DEFLATED)
    at = one.index(b"PK\1\2")
    entry, end = one[at : one.rindex(b"PK\5\6")], one[one.rindex(b"PK\5\6") :]
    entries = b"".join(entry[:-1] + bytes([ord("a") + i]) for i in range(10))
    return one[:at] + entries + end[:8] + struct.pack("<HHI", 10, 10, len(entries)) + end[16:]


def _bombs() -> dict[str, bytes]:
    zeros = bytes(1 << 20)
    return {
        "bomb/zip.zip": zips.plain({"zeros.bin": zeros * 200}, DEFLATED),
        "bomb/zip_many.zip": zips.plain({f"{i}.bin": zeros * 16 for i in range(40)}, DEFLATED),
        "bomb/gzip.gz": gzip.compress(zeros * 600, 9, mtime=0),
        "bomb/gzip_twice.gz": gzip.compress(gzip.compress(zeros * 600, 9, mtime=0), 9, mtime=0),
        "bomb/bzip2.bz2": bz2.compress(zeros * 300),
        "bomb/xz.xz": lzma.compress(zeros * 300),
    }


def _tars() -> dict[str, bytes]:
    def special(name: str, kind: bytes, target: str, then: dict[str, bytes] | None = None) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
            for other, data in (then or {}).items():
                info = tarfile.TarInfo(other)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()

    return {
        "tar/legacy_torch.pt": first_tar(EVIL),
        "tar/legacy_system.pt": first_tar(system=EVIL_TEXT),
        "tar/slip.tar": tarred({"../../evil.txt": b"x"}),
        "tar/absolute.tar": tarred({"/etc/cron.d/evil": b"x"}),
        "tar/link.tar": special("link", tarfile.SYMTYPE, "/etc/passwd"),
        "tar/link_then_file.tar": special("out", tarfile.SYMTYPE, "../..", {"out/evil.txt": b"x"}),
        "tar/hard_link.tar": special("link", tarfile.LNKTYPE, "../../etc/passwd"),
        "tar/device.tar": special("null", tarfile.CHRTYPE, ""),
        "tar/fifo.tar": special("pipe", tarfile.FIFOTYPE, ""),
        "tar/odd_extension.tar": tarred({"notes.txt": EVIL}),
        "tar/nested.tar": tarred({"inner.tar": tarred({"data.pkl": EVIL})}),
        "tar/nested_gz.tar": tarred({"inner.tgz": gzip.compress(tarred({"data.pkl": EVIL}), mtime=0)}),
        "tar/after_end.tar": tarred({"readme.txt": b"x"}) + tarred({"data.pkl": EVIL}),
        "tar/pickle_after_end.tar": tarred({"readme.txt": b"x"}) + EVIL,
        "tar/duplicate.tar": tarred({"./data.pkl": b"\x80\x04N.", "data.pkl": EVIL}),
        "tar/checksum_wrong.tar": tarred({"data.pkl": EVIL}).replace(b"ustar", b"ustar", 1)[:148]
        + b"000000\0 "
        + tarred({"data.pkl": EVIL})[156:],
        "tar/pax_name.tar": _pax(),
        "tar/nemo.nemo": gzip.compress(
            tarred(
                {
                    "./model_config.yaml": b"encoder:\n  _target_: os.system\n  command: 'true'\n",
                    "./model_weights.ckpt": GOOD_ZIP,
                }
            ),
            mtime=0,
        ),
        "tar/nemo_weights.nemo": tarred({"./model_config.yaml": b"name: asr\n", "./model_weights.ckpt": EVIL_ZIP}),
    }


def _pax() -> bytes:
    """A pax header that renames `notes.txt` to a path outside."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("notes.txt")
        info.pax_headers = {"path": "../../evil.txt"}
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    return out.getvalue()


def _layers() -> dict[str, bytes]:
    squeeze = {
        "gz": lambda data: gzip.compress(data, mtime=0),
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "z": zlib.compress,
        "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    }
    made = {}
    for outer in squeeze:
        for inner in squeeze:
            made[f"layers/{inner}_in_{outer}.{outer}"] = squeeze[outer](squeeze[inner](EVIL))
    for name, press in squeeze.items():
        if name != "z":
            # Readers of these join the streams that follow each other.
            made[f"layers/two_streams_{name}.{name}"] = press(EVIL[:9]) + press(EVIL[9:])
        made[f"layers/tail_{name}.{name}"] = press(b"weights") + EVIL
        made[f"layers/cut_{name}.{name}"] = press(EVIL + bytes(range(256)) * 400)[:-6]
        made[f"layers/npy_{name}.npy.{name}"] = press(npy(EVIL))
    gz = gzip.compress(EVIL, mtime=0)
    made["layers/gzip_named.pkl"] = gz[:3] + b"\x08" + gz[4:10] + b"model.txt\0" + gz[10:]
    made["layers/gzip_checksum.gz"] = gz[:-8] + b"\0\0\0\0" + gz[-4:]
    made["layers/gzip_extra.gz"] = gz[:3] + b"\x04" + gz[4:10] + struct.pack("<H", len(EVIL)) + EVIL + gz[10:]
    made["layers/raw_deflate.zz"] = b"\x78\x01" + zlib.compress(EVIL, 0)[2:]
    return made


def _programs() -> dict[str, bytes]:
    return {
        "program/elf.bin": ELF,
        "program/pe.bin": PE,
        "program/mach_o.bin": MACH_O,
        "program/script.pt": b"#!/bin/sh\ntrue\n",
        "program/elf_storage.pt": zips.plain(members(state()) | {"archive/data/0": ELF}),
        "program/pe_storage.pt": zips.plain(members(state()) | {"archive/data/0": PE}),
        "program/elf_inside_storage.pt": zips.plain(
            members(state(tensors={"w": 4096}), tensors={"w": 4096})
            | {"archive/data/0": bytes(4096) + ELF + bytes(16384 - 4096 - len(ELF))}
        ),
        "program/elf_gz.gz": gzip.compress(ELF, mtime=0),
        "program/elf.tar": tarred({"weights.bin": ELF}),
        "program/elf.npy": b"\x93NUMPY\x01\x00"
        + struct.pack("<H", 118)
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (192,), }".ljust(117)
        + b"\n"
        + ELF.ljust(192, b"\0"),
        "program/legacy_elf.pt": torch_layout.legacy() + ELF,
    }

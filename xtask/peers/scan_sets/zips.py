"""A zip writer whose every field can lie. Layout: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16."""

from __future__ import annotations

import dataclasses
import struct
import zlib

STORED, DEFLATED = 0, 8
TIME, DATE = 0, 0x5021  # 2020-01-01


@dataclasses.dataclass
class Member:
    """One member; what is None is told truthfully."""

    name: str
    data: bytes
    method: int = STORED
    central_name: str | None = None
    flags_local: int = 0
    flags_central: int = 0
    method_local: int | None = None
    method_central: int | None = None
    version_local: int = 20
    version_central: int = 20
    crc: int | None = None
    crc_local: int | None = None
    size_local: int | None = None
    packed_local: int | None = None
    size_central: int | None = None
    attributes: int = 0
    extra: bytes = b""
    listed: bool = True
    has_local: bool = True


def archive(
    members: list[Member],
    *,
    comment: bytes = b"",
    before: bytes = b"",
    after: bytes = b"",
    shifted: bool = False,
    count: int | None = None,
    gap: bytes = b"",
) -> bytes:
    """The members with their directory. `shifted`: offsets count `before`; `gap` stands between members and directory."""
    out = bytearray(before)
    base = len(before) if not shifted else 0
    directory = bytearray()
    listed = 0
    for member in members:
        packed = _deflate(member.data) if member.method == DEFLATED else member.data
        crc = zlib.crc32(member.data) if member.crc is None else member.crc
        name = member.name.encode()
        offset = len(out) - base
        if member.has_local:
            method = member.method if member.method_local is None else member.method_local
            local_crc = crc if member.crc_local is None else member.crc_local
            local_packed = len(packed) if member.packed_local is None else member.packed_local
            local_size = len(member.data) if member.size_local is None else member.size_local
            out += struct.pack(
                "<4s5H3I2H",
                b"PK\3\4",
                member.version_local,
                member.flags_local,
                method,
                TIME,
                DATE,
                local_crc,
                local_packed,
                local_size,
                len(name),
                len(member.extra),
            )
            out += name + member.extra + packed
        if member.listed:
            listed += 1
            name = (member.name if member.central_name is None else member.central_name).encode()
            method = member.method if member.method_central is None else member.method_central
            size = len(member.data) if member.size_central is None else member.size_central
            directory += struct.pack(
                "<4s6H3I5H2I",
                b"PK\1\2",
                0x031E,
                member.version_central,
                member.flags_central,
                method,
                TIME,
                DATE,
                crc,
                len(packed),
                size,
                len(name),
                0,
                0,
                0,
                0,
                member.attributes,
                offset,
            )
            directory += name
    out += gap
    start = len(out) - base
    out += directory
    listed = listed if count is None else count
    out += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, listed, listed, len(directory), start, len(comment))
    return bytes(out) + comment + after


def plain(members: dict[str, bytes], method: int = STORED) -> bytes:
    """An honest archive."""
    return archive([Member(name, data, method) for name, data in members.items()])


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()

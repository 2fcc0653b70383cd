"""A pickle assembler: the same value, name or call written in every way that the virtual machine knows.

Protocols, opcodes and their arguments follow CPython's `Lib/pickletools.py`.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Iterable

PROTO4 = b"\x80\x04"
STOP = b"."


def text(value: str) -> bytes:
    """A string, in its shortest binary form."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"\x8c" + bytes([len(raw)]) + raw if len(raw) < 256 else b"X" + struct.pack("<I", len(raw)) + raw


def literal(value: object) -> bytes:
    """A value of plain types in binary opcodes."""
    if value is None:
        return b"N"
    if value is True or value is False:
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return (
            b"J" + struct.pack("<i", value)
            if -(2**31) <= value < 2**31
            else b"\x8a\x09" + struct.pack("<q", value) + b"\0"
        )
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, Raw):
        return value.code
    if isinstance(value, list):
        return b"](" + b"".join(map(literal, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(literal, value)) + b"t"
    if isinstance(value, dict):
        return b"}(" + b"".join(literal(part) for pair in value.items() for part in pair) + b"u"
    raise TypeError(f"no literal for {type(value)}")


class Raw:
    """Opcodes that push one object, used as an argument."""

    def __init__(self, code: bytes) -> None:
        self.code = code


def _escaped(value: str) -> bytes:
    return b"V" + "".join(f"\\u{ord(letter):04x}" for letter in value).encode() + b"\n"


def _long(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _eight(value: str) -> bytes:
    return b"\x8d" + struct.pack("<Q", len(value.encode())) + value.encode()


def _line(value: str) -> bytes:
    return b"V" + value.encode() + b"\n"


def _python2(value: str) -> bytes:
    return b"S'" + value.encode() + b"'\n"


def _python2_binary(value: str) -> bytes:
    return b"U" + bytes([len(value)]) + value.encode()


def _computed(value: str) -> bytes:
    """`codecs.decode(bytes, 'utf-8')`: the name exists only while the stream runs."""
    return b"c_codecs\ndecode\n(" + literal(value.encode()) + text("utf-8") + b"tR"


def _rotated(value: str) -> bytes:
    """`codecs.decode(…, 'rot13')`."""
    return b"ccodecs\ndecode\n(" + text(codecs.encode(value, "rot13")) + text("rot13") + b"tR"


# How a name is pushed: module and attribute to opcodes.
GLOBALS: dict[str, Callable[[str, str], bytes]] = {
    "global": lambda module, name: f"c{module}\n{name}\n".encode(),
    "stack_short": lambda module, name: text(module) + text(name) + b"\x93",
    "stack_long": lambda module, name: _long(module) + _long(name) + b"\x93",
    "stack_eight": lambda module, name: _eight(module) + _eight(name) + b"\x93",
    "stack_line": lambda module, name: _line(module) + _line(name) + b"\x93",
    "stack_escape": lambda module, name: _escaped(module) + _escaped(name) + b"\x93",
    "stack_python2": lambda module, name: _python2(module) + _python2(name) + b"\x93",
    "stack_short_string": lambda module, name: _python2_binary(module) + _python2_binary(name) + b"\x93",
    "memo": lambda module, name: text(module) + b"q\x640" + text(name) + b"q\x650h\x64h\x65\x93",
    "memo_long": lambda module, name: (
        text(module) + b"r\x00\x01\x00\x000" + text(name) + b"r\x01\x01\x00\x000j\x00\x01\x00\x00j\x01\x01\x00\x00\x93"
    ),
    "memo_lines": lambda module, name: text(module) + b"p9000\n0" + text(name) + b"p9001\n0g9000\ng9001\n\x93",
    "memo_swapped": lambda module, name: (
        text("collections") + b"q\x640" + text(name) + b"q\x650" + text(module) + b"q\x640h\x64h\x65\x93"
    ),
    "dup_pop": lambda module, name: text(module) + b"20" + text(name) + b"20\x93",
    "computed": lambda module, name: _computed(module) + text(name) + b"\x93",
    "computed_both": lambda module, name: _computed(module) + _computed(name) + b"\x93",
    "rotated": lambda module, name: _rotated(module) + _rotated(name) + b"\x93",
    "extension_1": lambda module, name: _extension(module, name, b"\x82\xf1", 0xF1),
    "extension_2": lambda module, name: _extension(module, name, b"\x83\xf1\xf2", 0xF2F1),
    "extension_4": lambda module, name: _extension(module, name, b"\x84\xf1\xf2\xf3\x01", 0x01F3F2F1),
}


def _extension(module: str, name: str, use: bytes, code: int) -> bytes:
    return b"ccopyreg\nadd_extension\n(" + text(module) + text(name) + literal(code) + b"tR0" + use


# How a callable is called: the callable's opcodes and the arguments' to opcodes.
CALLS: dict[str, Callable[[bytes, list[bytes]], bytes]] = {
    "reduce": lambda function, arguments: function + b"(" + b"".join(arguments) + b"tR",
    "reduce_tuple": lambda function, arguments: function + _small_tuple(arguments) + b"R",
    "reduce_memo": lambda function, arguments: (
        function + b"q\x700" + b"(" + b"".join(arguments) + b"tq\x710h\x70h\x71R"
    ),
    "object": lambda function, arguments: b"(" + function + b"".join(arguments) + b"o",
    "partial": lambda function, arguments: b"cfunctools\npartial\n(" + function + b"".join(arguments) + b"tR)R",
    "map": lambda function, arguments: (
        b"cbuiltins\nlist\n(cbuiltins\nmap\n("
        + function
        + b"".join(b"](" + argument + b"e" for argument in arguments)
        + b"tRtR"
    ),
    "newobj_map": lambda function, arguments: (
        b"cbuiltins\nbytes\n(cbuiltins\nmap\n("
        + function
        + b"".join(b"](" + argument + b"e" for argument in arguments)
        + b"t\x81t\x81"
    ),
    "newobj_ex_map": lambda function, arguments: (
        b"cbuiltins\nbytes\n(cbuiltins\nmap\n("
        + function
        + b"".join(b"](" + argument + b"e" for argument in arguments)
        + b"t}\x92t}\x92"
    ),
    "setstate": lambda function, arguments: (
        b"ctypes\nSimpleNamespace\n)\x81}" + text("__setstate__") + function + b"sb" + arguments[0] + b"b"
    ),
    "default_factory": lambda function, arguments: (
        b"ccollections\ndefaultdict\n(cfunctools\npartial\n("
        + function
        + b"".join(arguments)
        + b"tRtR"
        + b"q\x720coperator\ngetitem\n(h\x72"
        + text("x")
        + b"tR"
    ),
    "operator_call": lambda function, arguments: b"coperator\ncall\n(" + function + b"".join(arguments) + b"tR",
    "starmap": lambda function, arguments: (
        b"cbuiltins\nlist\n(citertools\nstarmap\n(" + function + b"](" + _small_tuple(arguments) + b"etRtR"
    ),
}


def _small_tuple(arguments: list[bytes]) -> bytes:
    body = b"".join(arguments)
    return {0: b")", 1: body + b"\x85", 2: body + b"\x86", 3: body + b"\x87"}.get(len(arguments), b"(" + body + b"t")


# What stands around an object that was pushed, so that the stream ends with something else or not at all.
ENDS: dict[str, Callable[[bytes], bytes]] = {
    "stop": lambda code: code + STOP,
    "pop": lambda code: code + b"0" + literal({"weights": [1, 2, 3]}) + STOP,
    "pop_mark": lambda code: b"(" + code + b"1" + literal({"weights": [1, 2, 3]}) + STOP,
    "in_dict": lambda code: b"}" + text("w") + code + b"s" + STOP,
    "as_key": lambda code: b"}" + code + text("w") + b"s" + STOP,
    "in_list": lambda code: b"]" + code + b"a" + STOP,
    "in_tuple": lambda code: literal(1) + code + b"\x86" + STOP,
    "in_set": lambda code: b"\x8f(" + code + b"\x90" + STOP,
    "as_state": lambda code: b"ccollections\nOrderedDict\n)R" + code + b"b" + STOP,
    "persistent": lambda code: code + b"Q" + STOP,
    "no_stop": lambda code: code,
    "garbage": lambda code: code + b"\xff\xfe\xfd",
    "underflow": lambda code: code + b"0000000" + STOP,
    "bad_memo": lambda code: code + b"h\xee" + STOP,
    "bad_int": lambda code: code + b"Inot a number\n" + STOP,
    "bad_text": lambda code: code + b"\x8c\x02\xff\xff" + STOP,
    "cut_string": lambda code: code + b"X\xff\x00\x00\x00abc",
    "missing_mark": lambda code: code + b"tt" + STOP,
    "bad_frame": lambda code: code + b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f" + STOP,
    "late_proto": lambda code: code + b"0\x80\x02N" + STOP,
    "unknown_proto": lambda code: code + b"\x80\x63N" + STOP,
}


def framed(body: bytes, protocol: int = 4) -> bytes:
    """One right frame."""
    return b"\x80" + bytes([protocol]) + b"\x95" + struct.pack("<Q", len(body)) + body


def _frame_each(body: bytes) -> bytes:
    half = len(body) // 2
    return (
        PROTO4
        + b"\x95"
        + struct.pack("<Q", half)
        + body[:half]
        + b"\x95"
        + struct.pack("<Q", len(body) - half)
        + body[half:]
    )


# What stands in front of a stream.
STARTS: dict[str, Callable[[bytes], bytes]] = {
    "framed": framed,
    "unframed": lambda body: PROTO4 + body,
    "protocol_2": lambda body: b"\x80\x02" + body,
    "protocol_5": lambda body: b"\x80\x05" + body,
    "no_protocol": lambda body: body,
    "frame_short": lambda body: PROTO4 + b"\x95" + struct.pack("<Q", 1) + body,
    "frame_zero": lambda body: PROTO4 + b"\x95" + struct.pack("<Q", 0) + body,
    "frame_long": lambda body: PROTO4 + b"\x95" + struct.pack("<Q", len(body) + 1000) + body,
    "after_none": lambda body: b"\x80\x04N0" + body,
    "after_weights": lambda body: b"\x80\x04" + literal({"w": [0.5] * 40}) + b"0" + body,
}


def call(
    module: str, name: str, arguments: Iterable[object] = ("true",), *, how: str = "reduce", named: str = "stack_short"
) -> bytes:
    """A call that leaves its result on the stack."""
    return CALLS[how](GLOBALS[named](module, name), [literal(argument) for argument in arguments])


def pickle_of(code: bytes, start: str = "framed", end: str = "stop") -> bytes:
    """A whole stream around `code`."""
    return STARTS[start](ENDS[end](code))


TRUE = call("os", "system")
EVIL = pickle_of(TRUE)
EVIL_TEXT = b"cos\nsystem\n(S'true'\ntR."

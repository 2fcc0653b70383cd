"""The tricks of the pickle machine, each once and by itself."""

from __future__ import annotations

import base64
import pickle
import struct
import zlib

from . import torch_layout
from .assembler import (
    CALLS,
    ENDS,
    EVIL,
    EVIL_TEXT,
    GLOBALS,
    PROTO4,
    STARTS,
    STOP,
    TRUE,
    Raw,
    call,
    literal,
    pickle_of,
    text,
)
from .writer import Writer

SYSTEM = GLOBALS["stack_short"]("os", "system")


def cases(add: Writer) -> None:
    """Every way of naming, calling, starting and ending; then what does not fit into that grid."""
    for name in GLOBALS:
        add("opcode", f"named/{name}.pkl", pickle_of(call("os", "system", named=name)))
        add("opcode", f"named/{name}_only.pkl", pickle_of(GLOBALS[name]("os", "system")))
    for how in CALLS:
        add("opcode", f"called/{how}.pkl", pickle_of(call("os", "system", how=how)))
    for start in STARTS:
        add("opcode", f"start/{start}.pkl", pickle_of(TRUE, start))
    for end in ENDS:
        add("opcode", f"end/{end}.pkl", pickle_of(TRUE, "unframed", end))
    for name, data in (_classic() | _names() | _mutations() | _rows() | _hidden() | _exhausting()).items():
        add("opcode", f"{name}.pkl", data)


def _classic() -> dict[str, bytes]:
    return {
        "classic/text": EVIL_TEXT,
        "classic/inst": b"(S'true'\nios\nsystem\n.",
        "classic/inst_pop": b"(S'true'\nios\nsystem\n0N.",
        "classic/obj_text": b"(cos\nsystem\nS'true'\no.",
        "classic/obj_pop": PROTO4 + b"(" + SYSTEM + text("true") + b"o0N.",
        "classic/inst_in_list": b"(l(S'true'\nios\nsystem\na.",
        "classic/newobj_popen": pickle_of(
            GLOBALS["stack_short"]("subprocess", "Popen") + literal((["true"],)) + b"\x81"
        ),
        "classic/newobj_ex_popen": pickle_of(
            GLOBALS["stack_short"]("subprocess", "Popen") + b")" + literal({"args": "true"}) + b"\x92"
        ),
        "classic/unicode_lines": b"cos\nsystem\n(Vtrue\ntR.",
        "classic/double_quotes": b'cos\nsystem\n(S"true"\ntR.',
        "classic/escapes": b"cos\nsystem\n(S'\\x74rue'\ntR.",
        "classic/listed_arguments": b"csubprocess\ncall\n((lp0\nS'true'\natR.",
        "classic/long_lines": b"cos\nsystem\n(S'true" + b" " * 70_000 + b"'\ntR.",
    }


def _names() -> dict[str, bytes]:
    def named(module: str, name: str, *arguments: object, start: str = "framed") -> bytes:
        return pickle_of(call(module, name, arguments or ("true",)), start)

    return {
        "names/random_os": named("random", "_os.system"),
        "names/dotted_tempfile": named("tempfile", "_os.system"),
        "names/dotted_logging": named("logging", "os.popen"),
        "names/dotted_torch": named("torch", "serialization.os.system"),
        "names/dotted_numpy": named("numpy", "f2py.crackfortran.myeval", "1"),
        "names/dotted_sklearn": named("sklearn.utils", "os.system"),
        "names/dotted_pickle": named("pickle", "sys.modules.get", "os"),
        "names/dunder_globals": pickle_of(GLOBALS["stack_short"]("collections", "Counter.__init__.__globals__")),
        "names/dunder_subclasses": named("builtins", "type.__subclasses__", Raw(b"cbuiltins\nobject\n")),
        "names/dunder_self": named("builtins", "print.__self__.eval", "1"),
        "names/dunder_builtins": named("collections", "__builtins__.get", "eval"),
        "names/dunder_getattribute": named("builtins", "object.__getattribute__", Raw(b"cos\npath\n"), "os"),
        "names/dunder_class": named("numpy", "ndarray.__class__"),
        "names/dunder_import": named("importlib._bootstrap", "__builtins__.__import__", "os"),
        "names/dunder_loader": named("os", "__loader__.load_module", "os"),
        "names/lambda_globals": named("operator", "attrgetter", "__globals__"),
        "names/homoglyph": named("\u043es", "system"),
        "names/fullwidth": named("\uff4f\uff53", "system"),
        "names/line_break": named("os\nx", "system"),
        "names/zero_byte": named("os\0", "system"),
        "names/zero_width": named("o\u200bs", "system"),
        "names/main": named("__main__", "run"),
        "names/ntpath": named("ntpath", "os.system"),
        "names/posixpath": named("posixpath", "os.system"),
        "names/genericpath": named("genericpath", "os.system"),
        "names/python2_builtin": named("__builtin__", "eval", "1", start="protocol_2"),
        "names/python2_apply": named("__builtin__", "apply", [], start="protocol_2"),
        "names/python2_getattr": named("__builtin__", "getattr", Raw(b"cos\npath\n"), "os", start="protocol_2"),
        "names/python2_reload": named("__builtin__", "reload", "os", start="protocol_2"),
        "names/extension_unregistered": b"\x80\x02\x82\x0a(" + text("true") + b"tR.",
        "names/same_twice": pickle_of(text("code") + b"2\x93(" + text("x") + b"tR"),
        "names/from_dict_state": pickle_of(
            GLOBALS["stack_short"]("os", "environ") + literal({"LD_PRELOAD": "/tmp/x.so"}) + b"b"
        ),
        "names/imports_only": pickle_of(literal(1) + b"0" + GLOBALS["stack_short"]("antigravity", "antigravity")),
        "names/imports_unknown": pickle_of(
            b"}" + text("f") + GLOBALS["global"]("some_package_of_the_author", "model") + b"s"
        ),
        "names/imports_this": pickle_of(GLOBALS["global"]("turtledemo.clock", "main")),
    }


def _mutations() -> dict[str, bytes]:
    def state(module: str, name: str, value: bytes) -> bytes:
        return pickle_of(GLOBALS["stack_short"](module, name) + value + b"b")

    def item(module: str, name: str, key: bytes, value: bytes) -> bytes:
        return pickle_of(GLOBALS["stack_short"](module, name) + key + value + b"s")

    namespace = GLOBALS["stack_short"]("types", "SimpleNamespace") + b")\x81"
    return {
        "mutation/setstate_argparse": pickle_of(
            GLOBALS["stack_short"]("argparse", "Namespace")
            + b")\x81}"
            + text("__setstate__")
            + SYSTEM
            + b"sb"
            + text("true")
            + b"b"
        ),
        "mutation/setstate_setitems": pickle_of(
            namespace + b"}(" + text("a") + b"N" + text("__setstate__") + SYSTEM + b"ub" + text("true") + b"b"
        ),
        "mutation/setstate_slots": pickle_of(
            namespace + b"N}" + text("__setstate__") + SYSTEM + b"s\x86b" + text("true") + b"b"
        ),
        "mutation/setstate_memo": pickle_of(
            namespace + b"q\x01}" + text("__setstate__") + SYSTEM + b"sb0h\x01" + text("true") + b"b"
        ),
        "mutation/class_state": state("collections", "Counter", b"N" + literal({"__init__": 1}) + b"\x86"),
        "mutation/module_state": state("numpy", "linalg", literal({"norm": 1})),
        "mutation/sklearn_class": state(
            "sklearn.linear_model._base",
            "LinearModel",
            b"N}" + text("predict") + GLOBALS["stack_short"]("builtins", "print") + b"s\x86",
        ),
        "mutation/numpy_builtins": item("numpy", "size.__builtins__", text("len"), SYSTEM),
        "mutation/sys_modules": item("sys", "modules", text("json"), GLOBALS["stack_short"]("builtins", "None")),
        "mutation/environ": item("os", "environ", text("PYTHONSTARTUP"), text("/tmp/x.py")),
        "mutation/dispatch_table": item("copyreg", "dispatch_table", GLOBALS["stack_short"]("builtins", "int"), SYSTEM),
        "mutation/extension_registry": item("copyreg", "_inverted_registry", literal(9), literal(("os", "system"))),
        "mutation/sys_path": pickle_of(GLOBALS["stack_short"]("sys", "path") + text("/tmp") + b"a"),
        "mutation/meta_path": pickle_of(GLOBALS["stack_short"]("sys", "meta_path") + b"(" + text("x") + b"e"),
        "mutation/path_hooks": pickle_of(GLOBALS["stack_short"]("sys", "path_hooks") + SYSTEM + b"a"),
        "mutation/warnings": pickle_of(GLOBALS["stack_short"]("warnings", "filters") + text("x") + b"a"),
        "mutation/class_through_memo": pickle_of(
            GLOBALS["stack_short"]("collections", "Counter") + b"q\x050h\x05N}" + text("update") + SYSTEM + b"s\x86b"
        ),
        "mutation/type_made": pickle_of(
            GLOBALS["stack_short"]("builtins", "type") + b"(" + text("X") + b")}" + text("__reduce__") + SYSTEM + b"stR"
        ),
        "mutation/type_called": pickle_of(
            GLOBALS["stack_short"]("builtins", "type") + b"(" + text("X") + b")}" + text("__del__") + SYSTEM + b"stR)R"
        ),
        "mutation/reconstructor": pickle_of(
            GLOBALS["stack_short"]("copyreg", "_reconstructor")
            + b"("
            + GLOBALS["stack_short"]("author.code", "Thing")
            + GLOBALS["stack_short"]("builtins", "object")
            + b"NtR"
        ),
    }


def _rows() -> dict[str, bytes]:
    good, good_text = pickle.dumps({"a": [1.5, 2.5]}, 4), pickle.dumps({"a": 1}, 0)
    return {
        "rows/second": good + EVIL,
        "rows/second_text": good + EVIL_TEXT,
        "rows/second_of_text": good_text + EVIL_TEXT,
        "rows/twentieth": good * 19 + EVIL,
        "rows/thousandth": pickle.dumps(1, 2) * 999 + EVIL,
        "rows/after_zeros": good + bytes(512) + EVIL,
        "rows/after_text": good + b"\n# end of weights\n" + EVIL,
        "rows/leading_text": b"weights of the model follow\x00\x00\x00" + EVIL,
        "rows/leading_noise": bytes((i * 37 + 11) % 256 for i in range(700)) + EVIL,
        "rows/leading_text_old": b"weights of the model follow\x00\x00\x00" + EVIL_TEXT,
        "rows/legacy_object": torch_layout.legacy(torch_layout.OLD_EVIL_STATE),
        "rows/legacy_system": torch_layout.legacy(third=EVIL),
        "rows/legacy_keys": torch_layout.legacy(torch_layout.OLD_STATE + EVIL),
        "rows/legacy_tail": torch_layout.legacy() + EVIL,
        "rows/broken_then_second": b"\x80\x04" + TRUE + b"\xff" + pickle.dumps(1),
    }


def _hidden() -> dict[str, bytes]:
    loads = GLOBALS["stack_short"]("pickle", "loads")
    twice = pickle.dumps({"w": base64.b64encode(pickle.dumps({"v": EVIL})).decode()})
    return {
        "nested/raw": pickle.dumps({"w": EVIL}, 4),
        "nested/raw_protocol_2": pickle.dumps({"w": EVIL}, 2),
        "nested/raw_protocol_0": pickle.dumps({"w": EVIL}, 0),
        "nested/bytearray": pickle.dumps({"w": bytearray(EVIL)}, 5),
        "nested/text_pickle": pickle.dumps({"w": EVIL_TEXT.decode()}, 4),
        "nested/base64": pickle.dumps({"w": base64.b64encode(EVIL).decode()}, 4),
        "nested/base64_bytes": pickle.dumps({"w": base64.b64encode(EVIL)}, 4),
        "nested/base64_lines": pickle.dumps({"w": base64.encodebytes(EVIL)}, 4),
        "nested/base64_url": pickle.dumps({"w": base64.urlsafe_b64encode(EVIL).decode()}, 4),
        "nested/hex": pickle.dumps({"w": EVIL.hex()}, 4),
        "nested/hex_upper": pickle.dumps({"w": EVIL.hex().upper()}, 4),
        "nested/zlib": pickle.dumps({"w": zlib.compress(EVIL)}, 4),
        "nested/twice": twice,
        "nested/loads": pickle_of(loads + literal((EVIL,)) + b"R"),
        "nested/loads_inner_clean": pickle_of(loads + literal((pickle.dumps({"a": 1}),)) + b"R"),
        "nested/load_from_bytes": pickle_of(
            GLOBALS["stack_short"]("torch.storage", "_load_from_bytes") + literal((EVIL,)) + b"R"
        ),
        "nested/load_from_bytes_zip": pickle_of(
            GLOBALS["stack_short"]("torch.storage", "_load_from_bytes") + literal((torch_layout.EVIL_ZIP,)) + b"R"
        ),
        "nested/persistent_call": pickle_of(b"(" + text("storage") + TRUE + b"tQ"),
        "nested/persistent_global": pickle_of(SYSTEM + b"Q"),
        "nested/joblib_array": _joblib_array(),
        "nested/in_numpy_bytes": pickle_of(
            GLOBALS["stack_short"]("numpy._core.multiarray", "_reconstruct")
            + b"("
            + GLOBALS["stack_short"]("numpy", "ndarray")
            + literal((0,))
            + literal(b"b")
            + b"tR(K\x01K\x01\x85"
            + GLOBALS["stack_short"]("numpy", "dtype")
            + b"("
            + text("O8")
            + b"\x89\x88tR\x89]("
            + TRUE
            + b"etb"
        ),
        "nested/dtype_state": pickle_of(
            GLOBALS["stack_short"]("numpy", "dtype")
            + b"("
            + text("f8")
            + b"\x89\x88tR(K\x03"
            + text("<")
            + TRUE
            + b"NNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        ),
    }


def _joblib_array() -> bytes:
    """Opcodes after the raw bytes of an array that joblib writes between two opcodes."""
    wrapper = (
        GLOBALS["stack_short"]("joblib.numpy_pickle", "NumpyArrayWrapper")
        + b")\x81}("
        + b"".join(
            (
                text("subclass"),
                GLOBALS["stack_short"]("numpy", "ndarray"),
                text("shape"),
                literal((4,)),
                text("order"),
                text("C"),
                text("dtype"),
                GLOBALS["stack_short"]("numpy", "dtype")
                + b"("
                + text("f8")
                + b"\x89\x88tR(K\x03"
                + text("<")
                + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
                text("allow_mmap"),
                b"\x88",
                text("numpy_array_alignment_bytes"),
                literal(16),
            )
        )
        + b"ub"
    )
    head = b"\x80\x04]" + wrapper
    padding = 16 - (len(head) + 1) % 16
    return head + bytes([padding]) + b"\xff" * padding + struct.pack("<4d", 1, 2, 3, 4) + b"a" + TRUE + b"a" + STOP


def _exhausting() -> dict[str, bytes]:
    laughs = (
        b"\x80\x04("
        + b"K\x01" * 10
        + b"l\x940"
        + b"".join(b"(" + (b"h" + bytes([i])) * 10 + b"l\x940" for i in range(14))
        + b"h\x0e."
    )
    return {
        "exhausting/memo_index": b"\x80\x02}r" + struct.pack("<I", 2**31) + b".",
        "exhausting/memo_index_text": b"(dp4294967295\n.",
        "exhausting/bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        "exhausting/binbytes8": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "exhausting/unicode8": b"\x80\x04\x8d" + struct.pack("<Q", 2**63 - 1) + b"x.",
        "exhausting/long4": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
        "exhausting/frame": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"}.",
        "exhausting/laughs": laughs,
        "exhausting/nesting": b"\x80\x02N" + b"\x85" * 300_000 + b".",
        "exhausting/dup": b"\x80\x02N" + b"2\x86" * 60 + b".",
        "exhausting/repeat": pickle_of(GLOBALS["stack_short"]("operator", "mul") + literal(("x", 2**31 - 1)) + b"R"),
        "exhausting/power": pickle_of(GLOBALS["stack_short"]("builtins", "pow") + literal((9, 2**31 - 1)) + b"R"),
        "exhausting/bytes_of": pickle_of(
            GLOBALS["stack_short"]("builtins", "bytearray") + literal((2**31 - 1,)) + b"R"
        ),
        "exhausting/regular_expression": pickle_of(
            GLOBALS["stack_short"]("re", "match") + literal(("(a+)+$", "a" * 60 + "b")) + b"R"
        ),
    }

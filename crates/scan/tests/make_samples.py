#!/usr/bin/env python3
"""Makes the samples beside this script: `samples/<name>` for each case.

Usage: python3 make_samples.py            # writes what the installed libraries allow; leaves other samples alone
Payloads only run `echo`. The expectations (`<name>.expected`: verdict, then rule ids) are written by hand or, after a look
at each, by `BLESS=1 cargo test -p ringfence-scan`.
Libraries used where present: numpy, scikit-learn, joblib, pandas, scipy, lightgbm, onnx, safetensors.
"""
import array, base64, bz2, collections, datetime, decimal, gzip, io, json, os, pathlib, pickle, pickletools, struct, sys, uuid, zipfile, zlib

HERE = pathlib.Path(__file__).parent / "samples"
CASES = {}


def case(name):
    def add(make):
        CASES[name] = make
        return make
    return add


# --- a small pickle assembler ---------------------------------------------------------------------------------------
def s(text):
    raw = text.encode("utf-8", "surrogatepass")
    return b"\x8c" + bytes([len(raw)]) + raw if len(raw) < 256 else b"X" + struct.pack("<I", len(raw)) + raw


def s3(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def g4(module, name):
    return s(module) + s(name) + b"\x93"


def g0(module, name):
    return f"c{module}\n{name}\n".encode()


def p4(*parts):
    body = b"".join(parts) + b"."
    return b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body


def p2(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


def call4(module, name, *arguments):
    return g4(module, name) + b"(" + b"".join(arguments) + b"tR"


ECHO = call4("os", "system", s("echo pwned"))


# --- malicious: plain gadgets ---------------------------------------------------------------------------------------
GADGETS = {
    "os_system": ("os", "system", "echo hi"), "posix_system": ("posix", "system", "echo hi"), "nt_system": ("nt", "system", "echo hi"),
    "builtins_eval": ("builtins", "eval", "print('hi')"), "py2_eval": ("__builtin__", "eval", "1"), "builtins_exec": ("builtins", "exec", "pass"),
    "subprocess_popen": ("subprocess", "Popen", "echo"), "py2_commands": ("commands", "getoutput", "echo hi"), "pty_spawn": ("pty", "spawn", "echo"),
    "timeit": ("timeit", "timeit", "pass"), "cprofile": ("cProfile", "run", "pass"), "pdb_run": ("pdb", "run", "pass"), "bdb": ("bdb", "Bdb", "x"),
    "doctest": ("doctest", "debug_script", "pass"), "code_interact": ("code", "interact", "x"), "runpy": ("runpy", "_run_code", "pass"),
    "pydoc_pipepager": ("pydoc", "pipepager", "echo"), "ensurepip": ("ensurepip", "_run_pip", "x"), "pip_main": ("pip", "main", "list"), "venv_create": ("venv", "create", "x"),
    "zipimport": ("zipimport", "zipimporter", "x"), "uuid_command": ("uuid", "_get_command_stdout", "echo"), "osx_support": ("_osx_support", "_read_output", "echo hi"),
    "aix_support": ("_aix_support", "_read_cmd_output", "echo hi"), "imaplib_stream": ("imaplib", "IMAP4_stream", "echo hi"), "pyrepl_pager": ("_pyrepl.pager", "pipe_pager", "echo"),
    "test_support": ("test.support.script_helper", "assert_python_ok", "x"), "idlelib": ("idlelib.autocomplete", "AutoComplete", "x"), "lib2to3": ("lib2to3.pgen2.grammar", "Grammar", "x"),
    "asyncio_unix": ("asyncio.unix_events", "_UnixSubprocessTransport._start", "x"), "multiprocessing_util": ("multiprocessing.util", "spawnv_passfds", "x"),
    "posixsubprocess": ("_posixsubprocess", "fork_exec", "x"), "logging_config": ("logging.config", "dictConfig", "x"), "site_main": ("site", "execsitecustomize", "x"),
    "compileall": ("compileall", "compile_dir", "x"), "trace_trace": ("trace", "Trace", "x"), "distutils_spawn": ("distutils.spawn", "spawn", "x"),
    "pkgutil_resolve": ("pkgutil", "resolve_name", "os:system"), "importlib": ("importlib", "import_module", "os"), "getattr": ("builtins", "getattr", "x"),
    "attrgetter": ("operator", "attrgetter", "system"), "methodcaller": ("_operator", "methodcaller", "system"), "functools_reduce": ("functools", "reduce", "x"), "map": ("builtins", "map", "x"),
    "numpy_f2py": ("numpy.f2py.crackfortran", "getlincoef", "x"), "numpy_runstring": ("numpy.testing._private.utils", "runstring", "pass"), "torch_hub": ("torch.hub", "load", "x"),
    "torch_load": ("torch", "load", "x"), "torch_dynamo": ("torch._dynamo.guards", "GuardBuilder.get", "x"), "torch_inductor": ("torch._inductor.codecache", "compile_file", "x"),
    "torch_collect_env": ("torch.utils.collect_env", "run", "echo"), "torch_load_library": ("torch._ops", "_OpNamespace", "x"), "joblib_load": ("joblib", "load", "x"),
    "pandas_read_pickle": ("pandas", "read_pickle", "x"), "pandas_eval": ("pandas", "eval", "1"), "mlflow": ("mlflow.projects.backend.local", "_run_entry_point", "x"),
    "tf_load_op": ("tensorflow", "load_op_library", "x"), "open_file": ("builtins", "open", "/tmp/x"), "io_fileio": ("io", "FileIO", "/tmp/x"), "filehandler": ("logging", "FileHandler", "/tmp/x"),
    "distutils_write": ("distutils.file_util", "write_file", "x"), "shutil_rmtree": ("shutil", "rmtree", "x"), "linecache": ("linecache", "getline", "x"), "sqlite3": ("sqlite3", "connect", "x"),
    "dbm": ("dbm", "open", "x"), "shelve": ("shelve", "open", "x"), "urllib": ("urllib.request", "urlopen", "http://127.0.0.1"), "http_client": ("http.client", "HTTPSConnection", "x"),
    "socket": ("socket", "create_connection", "x"), "ssl_cert": ("ssl", "get_server_certificate", "x"), "ftplib": ("ftplib", "FTP", "x"), "smtplib": ("smtplib", "SMTP", "x"),
    "requests": ("requests.api", "get", "http://127.0.0.1"), "aiohttp": ("aiohttp.client", "request", "x"), "marshal": ("marshal", "loads", "x"), "codetype": ("types", "CodeType", "x"),
    "functiontype": ("types", "FunctionType", "x"), "cloudpickle": ("cloudpickle.cloudpickle", "_make_function", "x"), "dill": ("dill._dill", "_create_function", "x"),
    "sys_modules": ("sys", "modules.__setitem__", "x"), "ctypes": ("ctypes", "CDLL", "libc.so.6"), "unknown": ("some_package.thing", "Thing", "x"),
}
for _name, (_module, _attribute, _argument) in GADGETS.items():
    case(f"gadget/{_name}.pkl")(lambda m=_module, n=_attribute, a=_argument: p4(call4(m, n, s(a))))


# --- malicious: how it is written -----------------------------------------------------------------------------------
@case("opcode/proto0_reduce.pkl")
def _(): return b"cos\nsystem\n(S'echo hi'\ntR."
@case("opcode/proto0_inst.pkl")
def _(): return b"(S'echo hi'\nios\nsystem\n."
@case("opcode/proto1_obj.pkl")
def _(): return b"(cos\nsystem\nS'echo hi'\no."
@case("opcode/obj_pop.pkl")
def _(): return p4(b"(" + g4("os", "system") + s("echo hi") + b"o0N")
@case("opcode/newobj.pkl")
def _(): return p4(g4("subprocess", "Popen") + b"(" + s("echo") + b"t\x81")
@case("opcode/newobj_ex.pkl")
def _(): return p4(g4("subprocess", "Popen") + b"(" + s("echo") + b"t}\x92")
@case("opcode/build_setstate.pkl")
def _(): return p4(g4("argparse", "Namespace") + b")\x81}" + s("__setstate__") + g4("os", "system") + b"sb" + s("echo hi") + b"b")
@case("opcode/build_setstate_allowed.pkl")
def _(): return p4(g4("argparse", "Namespace") + b")\x81}" + s("__setstate__") + g4("builtins", "print") + b"sb" + s("hi") + b"b")
@case("opcode/build_on_import.pkl")
def _(): return p4(g4("collections", "OrderedDict") + b"}" + s("update") + g4("builtins", "print") + b"sb")
@case("opcode/setitem_on_import.pkl")
def _(): return p4(g4("collections", "Counter") + s("x") + s("y") + b"s")
@case("opcode/setitems_numpy_builtins.pkl")
def _(): return p4(g4("numpy", "size.__builtins__") + b"(" + s("len") + g4("os", "system") + b"u")
@case("opcode/append_on_import.pkl")
def _(): return p4(g4("collections", "deque") + s("x") + b"a")
@case("opcode/ext1.pkl")
def _(): return p2(b"\x82\x05)R")
@case("opcode/ext_registered.pkl")
def _(): return p4(call4("copyreg", "add_extension", s("os"), s("system"), b"K\x05") + b"0\x82\x05(" + s("echo hi") + b"tR")
@case("opcode/stack_global_memo.pkl")
def _(): return p4(s("os") + b"\x940" + s("system") + b"\x940h\x00h\x01\x93(" + s("echo hi") + b"tR")
@case("opcode/stack_global_dup.pkl")
def _(): return p4(s("code") + b"2\x93(" + s("x") + b"tR")
@case("opcode/stack_global_overwritten_memo.pkl")
def _(): return p4(s("collections") + b"q\x000" + s("os") + b"q\x000" + b"h\x00" + s("system") + b"\x93(" + s("echo hi") + b"tR")
@case("opcode/stack_global_computed.pkl")
def _(): return p4(g4("builtins", "str") + b"(" + s("os") + b"tR" + s("system") + b"\x93(" + s("echo hi") + b"tR")
@case("opcode/stack_global_unicode_escape.pkl")
def _(): return b"\x80\x04V\\u006f\\u0073\nVsystem\n\x93(V echo hi\ntR."
@case("opcode/stack_global_binunicode8.pkl")
def _(): return p4(b"\x8d" + struct.pack("<Q", 2) + b"os" + b"\x8d" + struct.pack("<Q", 6) + b"system\x93(" + s("echo hi") + b"tR")
@case("opcode/dotted_random_os.pkl")
def _(): return p4(call4("random", "_os.system", s("echo hi")))
@case("opcode/dunder_globals.pkl")
def _(): return p4(g4("collections", "OrderedDict.__init__.__globals__"))
@case("opcode/module_attribute.pkl")
def _(): return p4(g4("random", "_os"))
@case("opcode/pop_result.pkl")
def _(): return p4(ECHO + b"0" + s("a harmless model"))
@case("opcode/pop_mark_result.pkl")
def _(): return p4(b"(" + ECHO + b"1" + b"}")
@case("opcode/frame_too_long.pkl")
def _():
    body = ECHO + b"."
    return b"\x80\x04\x95" + struct.pack("<Q", len(body) + 500) + body
@case("opcode/frame_straddle.pkl")
def _():
    body = b"}" + s("a") + s("some text") + b"s."
    return b"\x80\x04\x95" + struct.pack("<Q", 6) + body
@case("opcode/frame_huge.pkl")
def _(): return b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}."
@case("opcode/proto_in_the_middle.pkl")
def _(): return b"\x80\x04}\x80\x02."
@case("opcode/second_pickle.pkl")
def _(): return pickle.dumps({"a": 1}) + p4(ECHO)
@case("opcode/tenth_pickle.pkl")
def _(): return pickle.dumps([1]) * 9 + p4(ECHO)
@case("opcode/second_pickle_proto0.pkl")
def _(): return pickle.dumps({"a": 1}) + b"cos\nsystem\n(S'echo hi'\ntR."
@case("opcode/second_of_text.pkl")
def _(): return pickle.dumps({"a": 1}, 0) + b"cos\nsystem\n(S'echo hi'\ntR."
@case("benign/several_0.pkl")
def _(): return pickle.dumps([1], 0) * 3
@case("opcode/nested_raw.pkl")
def _(): return pickle.dumps({"w": p4(ECHO)})
@case("opcode/nested_base64.pkl")
def _(): return pickle.dumps({"w": base64.b64encode(p4(ECHO)).decode()})
@case("opcode/nested_hex.pkl")
def _(): return pickle.dumps({"w": p4(ECHO).hex()})
@case("opcode/nested_codecs.pkl")
def _(): return pickle.dumps({"w": p4(ECHO)}, 2)
@case("opcode/nested_load_from_bytes.pkl")
def _(): return p4(g4("torch.storage", "_load_from_bytes") + b"B" + struct.pack("<I", len(p4(ECHO))) + p4(ECHO) + b"\x85R")
@case("opcode/payload_then_garbage.pkl")
def _(): return b"\x80\x04" + ECHO + b"\xff\xfe garbage"
@case("opcode/payload_no_stop.pkl")
def _(): return b"\x80\x04" + ECHO
@case("opcode/payload_bad_memo.pkl")
def _(): return b"\x80\x04" + ECHO + b"h\x77."
@case("opcode/payload_underflow.pkl")
def _(): return b"\x80\x04" + ECHO + b"000000."
@case("opcode/payload_bad_int.pkl")
def _(): return b"cos\nsystem\n(S'echo hi'\ntRIabc\n."
@case("opcode/payload_bad_utf8.pkl")
def _(): return b"\x80\x04" + ECHO + b"\x8c\x02\xff\xff."
@case("opcode/leading_text.bin")
def _(): return b"weights follow\x00\x00\x00" + p4(ECHO)
@case("opcode/persistent_call.pkl")
def _(): return p4(b"(" + s("storage") + ECHO + b"tQ")
@case("opcode/import_only.pkl")
def _(): return p4(b"}" + s("f") + g4("os", "system") + b"s")
@case("opcode/import_unknown.pkl")
def _(): return p4(b"}" + s("f") + g4("somewhere", "thing") + b"s")
@case("opcode/homoglyph.pkl")
def _(): return p4(call4("\u043es", "system", s("echo hi")))
@case("opcode/newline_name.pkl")
def _(): return p4(call4("os\nx", "system", s("echo hi")))
@case("opcode/memo_huge.pkl")
def _(): return b"\x80\x02}r" + struct.pack("<I", 2**31) + b"."
@case("opcode/bytearray_huge.pkl")
def _(): return b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x."
@case("opcode/laughs.pkl")
def _(): return b"\x80\x04" + b"(" + b"K\x01" * 10 + b"l\x940" + b"".join(b"(" + (b"h" + bytes([i])) * 10 + b"l\x940" for i in range(12)) + b"h\x0c."
@case("opcode/nesting.pkl")
def _(): return b"\x80\x02N" + b"\x85" * 12000 + b"."
@case("opcode/partial_dangerous.pkl")
def _(): return p4(call4("functools", "partial", g4("os", "system"), s("echo hi")) + b")R")
@case("opcode/partial_called.pkl")
def _(): return p4(call4("functools", "partial", g4("builtins", "print"), s("hi")) + b")R")
@case("opcode/value_called.pkl")
def _(): return p4(call4("builtins", "print", s("hi")))
@case("opcode/reconstructor_odd.pkl")
def _(): return p4(g4("copyreg", "_reconstructor") + b"(" + g4("somewhere", "Thing") + g4("builtins", "object") + b"NtR")
@case("opcode/distribution_state.pkl")
def _(): return p4(g4("scipy.stats._continuous_distns", "norm_gen") + b")\x81}(" + s("_parse_arg_template") + s("import os\nos.system('true')\n") + b"ub")
@case("opcode/risky_class.pkl")
def _(): return p4(g4("gensim.utils", "InputQueue") + b")\x81}b")
@case("opcode/inst_without_end.pkl")
def _(): return b"(S'true'\nios\nsystemX"
@case("opcode/joblib_desync.pkl")
def _(): return p4(g4("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}b" + ECHO)
@case("opcode/type_three.pkl")
def _(): return p4(g4("builtins", "type") + b"(" + s("X") + b")}tR")


# --- torch's layout, written by hand --------------------------------------------------------------------------------
class Storage:
    def __init__(self, kind, key, numel): self.kind, self.key, self.numel = kind, key, numel


def torch_globals():
    """Stand-ins with torch's names, so that pickle writes torch's globals."""
    import types as t
    made = {}
    for module, names in {"torch": ["FloatStorage", "LongStorage"], "torch._utils": ["_rebuild_tensor_v2", "_rebuild_parameter"]}.items():
        m = sys.modules.setdefault(module, t.ModuleType(module))
        for name in names:
            def f(*a): return None
            f.__module__, f.__qualname__, f.__name__ = module, name, name
            setattr(m, name, f)
            made[name] = f
    return made


def torch_pickle(tensors, extra=b""):
    G = torch_globals()
    class P(pickle._Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Storage): return ("storage", G[obj.kind], obj.key, "cpu", obj.numel)
    class T:
        def __init__(self, storage, shape): self.storage, self.shape = storage, shape
        def __reduce__(self): return G["_rebuild_tensor_v2"], (self.storage, 0, self.shape, (1,) * len(self.shape), False, collections.OrderedDict())
    out = io.BytesIO()
    P(out, 2).dump(collections.OrderedDict((name, T(Storage("FloatStorage", str(i), n), (n,))) for i, (name, n) in enumerate(tensors.items())))
    return out.getvalue()[:-1] + extra + b"."


def torch_zip(data_pkl, tensors, name="archive", extra=(), compression=zipfile.ZIP_STORED, sizes=None):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as z:
        def put(member, data): z.writestr(zipfile.ZipInfo(f"{name}/{member}", (2020, 1, 1, 0, 0, 0)), data, compression)
        put("data.pkl", data_pkl)
        put(".format_version", "1")
        put(".storage_alignment", "64")
        put("byteorder", "little")
        for i, n in enumerate(tensors.values()): put(f"data/{i}", struct.pack("<f", 0.5) * n)
        put("version", "3\n")
        put(".data/serialization_id", "0636457737946401051300000025273995036293")
        for member, data in extra: put(member, data)
    return out.getvalue()


TENSORS = {"fc.weight": 12, "fc.bias": 4}
EVIL = lambda: torch_pickle(TENSORS, p4(ECHO)[11:-1] + b"0")


@case("torch/state_dict.pt")
def _(): return torch_zip(torch_pickle(TENSORS), TENSORS)
@case("torch/state_dict_deflated.pt")
def _(): return torch_zip(torch_pickle(TENSORS), TENSORS, compression=zipfile.ZIP_DEFLATED)
@case("torch/legacy.pt")
def _():
    key = [str(i) for i in range(len(TENSORS))]
    parts = [pickle.dumps(0x1950a86a20f9469cfc6c, 2), pickle.dumps(1001, 2), pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, 2), torch_pickle(TENSORS), pickle.dumps(key, 2)]
    return b"".join(parts) + b"".join(struct.pack("<q", n) + struct.pack("<f", 0.5) * n for n in TENSORS.values())
@case("torch/legacy_evil.pt")
def _():
    parts = [pickle.dumps(0x1950a86a20f9469cfc6c, 2), pickle.dumps(1001, 2), pickle.dumps({}, 2), EVIL(), pickle.dumps(["0", "1"], 2)]
    return b"".join(parts) + b"".join(struct.pack("<q", n) + struct.pack("<f", 0.5) * n for n in TENSORS.values())
@case("torch/script.pt")
def _():
    data = b"\x80\x02c__torch__.Net\nNet\nq\x00)\x81}(X\x08\x00\x00\x00trainingq\x01\x89ub."
    return torch_zip(data, {}, extra=[("code/__torch__.py", "class Net(Module):\n  def forward(self, x):\n    return torch.relu(x)\n"), ("constants.pkl", b"\x80\x02).")])
@case("torch/script_file.pt")
def _():
    data = b"\x80\x02c__torch__.Net\nNet\nq\x00)\x81}b."
    return torch_zip(data, {}, extra=[("code/__torch__.py", "class Net(Module):\n  def forward(self, x):\n    return torch.from_file('/etc/passwd', False, 10)\n"), ("constants.pkl", b"\x80\x02).")])
@case("archive/data_pkl.pt")
def _(): return torch_zip(EVIL(), TENSORS)
@case("archive/odd_extension.pt")
def _(): return torch_zip(torch_pickle(TENSORS), TENSORS, extra=[("config.p", p4(ECHO))])
@case("archive/no_extension.pt")
def _(): return torch_zip(torch_pickle(TENSORS), TENSORS, extra=[("notes", p4(ECHO))])
@case("archive/constants_pkl.pt")
def _(): return torch_zip(torch_pickle(TENSORS), TENSORS, extra=[("constants.pkl", p4(ECHO))])
@case("archive/nested_zip.zip")
def _(): return plain_zip({"inner.zip": torch_zip(EVIL(), TENSORS)})
@case("archive/storage_elf.pt")
def _():
    raw = torch_zip(torch_pickle({"w": 64}), {"w": 64})
    return raw.replace(struct.pack("<f", 0.5) * 64, b"\x7fELF\x02\x01\x01" + b"\0" * 249)


def plain_zip(members, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as z:
        for name, data in members.items(): z.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, compression)
    return out.getvalue()


def patched(raw, signature, offset, change):
    out, at = bytearray(raw), 0
    while (at := out.find(signature, at)) >= 0:
        change(out, at + offset)
        at += 4
    return bytes(out)


def flag(bits):
    def change(out, at): out[at] |= bits & 0xff
    return change


def number(value, size):
    def change(out, at): out[at:at + size] = value.to_bytes(size, "little")
    return change


LOCAL, CENTRAL = b"PK\3\4", b"PK\1\2"
for _bits in (0x1, 0x20, 0x40):
    case(f"archive/flag_{_bits:#x}_local.pt")(lambda b=_bits: patched(torch_zip(EVIL(), TENSORS), LOCAL, 6, flag(b)))
    case(f"archive/flag_{_bits:#x}_central.pt")(lambda b=_bits: patched(torch_zip(EVIL(), TENSORS), CENTRAL, 8, flag(b)))


@case("archive/crc_wrong.pt")
def _(): return patched(torch_zip(EVIL(), TENSORS), CENTRAL, 16, number(0x12345678, 4))
@case("archive/crc_wrong_benign.pt")
def _(): return patched(torch_zip(torch_pickle(TENSORS), TENSORS), CENTRAL, 16, number(0x12345678, 4))
@case("archive/name_mismatch.pt")
def _():
    raw = torch_zip(EVIL(), TENSORS)
    at = raw.find(b"archive/data.pkl", raw.find(CENTRAL))
    return raw[:at] + b"archive/data.txt" + raw[at + 16:]
@case("archive/version_255.pt")
def _(): return patched(torch_zip(EVIL(), TENSORS), CENTRAL, 6, number(255, 2))
@case("archive/method_unknown.zip")
def _(): return patched(patched(plain_zip({"a.pkl": p4(ECHO)}, 0), CENTRAL, 10, number(77, 2)), LOCAL, 8, number(77, 2))
@case("archive/method_central_only.zip")
def _(): return patched(plain_zip({"a.pkl": p4(ECHO)}, 0), CENTRAL, 10, number(77, 2))
@case("archive/duplicate.zip")
def _():
    out = io.BytesIO()
    import warnings
    warnings.simplefilter("ignore")
    with zipfile.ZipFile(out, "w") as z:
        z.writestr(zipfile.ZipInfo("m/data.pkl"), pickle.dumps({}))
        z.writestr(zipfile.ZipInfo("m/data.pkl"), p4(ECHO))
    return out.getvalue()
@case("archive/prepended_pickle.pt")
def _(): return p4(ECHO) + torch_zip(torch_pickle(TENSORS), TENSORS)
@case("archive/prepended_gif.pt")
def _(): return b"GIF89a\1\0\1\0\0\0\0;" + torch_zip(EVIL(), TENSORS)
@case("archive/prepended_pk78.pt")
def _(): return b"PK\7\10" + torch_zip(EVIL(), TENSORS)
@case("archive/appended_64k.pt")
def _(): return torch_zip(EVIL(), TENSORS) + bytes(i * 7 % 251 for i in range(70)) * 1000
@case("archive/second_in_comment.zip")
def _():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr(zipfile.ZipInfo("readme.txt"), "nothing here")
        z.comment = plain_zip({"data.pkl": p4(ECHO)}, 0)
    return out.getvalue()
@case("archive/unlisted_member.zip")
def _():
    first, second = plain_zip({"evil.pkl": p4(ECHO)}, 0), plain_zip({"a.txt": "hello"}, 0)
    local = first[:first.find(CENTRAL)]
    return local + second
@case("archive/slip.zip")
def _(): return plain_zip({"../../evil.txt": "hello"})
@case("archive/symlink.zip")
def _():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        i = zipfile.ZipInfo("link")
        i.create_system, i.external_attr = 3, 0o120777 << 16
        z.writestr(i, "/etc/passwd")
    return out.getvalue()
@case("archive/truncated.pt")
def _(): return torch_zip(torch_pickle(TENSORS), TENSORS)[:700]
@case("archive/plain.zip")
def _(): return plain_zip({"a.txt": "hello", "b/c.json": "{}"})


# --- wrappers and formats -------------------------------------------------------------------------------------------
@case("wrapper/gzip.pkl.gz")
def _(): return gzip.compress(p4(ECHO), mtime=0)
@case("wrapper/gzip_twice.gz")
def _(): return gzip.compress(gzip.compress(p4(ECHO), mtime=0), mtime=0)
@case("wrapper/zlib.pkl")
def _(): return zlib.compress(p4(ECHO))
@case("wrapper/gzip_benign.gz")
def _(): return gzip.compress(pickle.dumps({"a": [1, 2, 3]}), mtime=0)
@case("wrapper/wrong_extension.txt")
def _(): return p4(ECHO)
@case("format/pth_startup.pth")
def _(): return b"import os; os.system('echo hi')\n"
@case("format/template.json")
def _(): return json.dumps({"chat_template": "{{ cycler.__init__.__globals__.os.popen('echo hi').read() }}"}).encode()
@case("format/auto_map.json")
def _(): return json.dumps({"auto_map": {"AutoModel": "modeling_x.Model"}}).encode()
@case("format/python_object.yaml")
def _(): return b"a: !!python/object/apply:os.system ['echo hi']\n"
@case("format/target.yaml")
def _(): return b"model:\n  _target_: os.system\n  command: echo hi\n"
@case("format/elf")
def _(): return b"\x7fELF\x02\x01\x01" + b"\0" * 100
@case("format/unknown.bin")
def _(): return bytes((i * i * 31 + 7) % 256 for i in range(997))


def safetensors(header, data=b"\0" * 16, length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


T = lambda start, end, dtype="F32", shape=(4,): {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
SAFE = {
    "plain": (safetensors({"__metadata__": {"format": "pt"}, "w": T(0, 16)}),),
    "empty": (safetensors({}, b""),),
    "hole": (safetensors({"w": T(0, 16), "v": T(20, 36)}, b"\0" * 36),),
    "overlap": (safetensors({"w": T(0, 16), "v": T(8, 24)}, b"\0" * 24),),
    "trailing": (safetensors({"w": T(0, 16)}, b"\0" * 16 + p4(ECHO)),),
    "duplicate": (safetensors(b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),),
    "out_of_bounds": (safetensors({"w": T(0, 4000, shape=(1000,))}),),
    "negative": (safetensors({"w": T(-16, 16)}),),
    "huge_header": (safetensors({"w": T(0, 16)}, length=2**62),),
    "shape_lie": (safetensors({"w": T(0, 16, shape=(400,))}),),
    "metadata_code": (safetensors({"__metadata__": {"x": "__import__('os').system('echo hi')"}, "w": T(0, 16)}),),
}
for _name, (_raw,) in SAFE.items():
    case(f"safetensors/{_name}.safetensors")(lambda r=_raw: r)


# --- benign: plain Python -------------------------------------------------------------------------------------------
def plain_values():
    return {
        "numbers": [0, -1, 2**70, 1.5, True, None, 1j], "texts": ["a", "é", "x" * 300], "bytes": b"\x00\x01" * 50, "set": {1, 2}, "frozen": frozenset([3]),
        "ordered": collections.OrderedDict(a=1), "counter": collections.Counter("aab"), "deque": collections.deque([1], 3), "default": collections.defaultdict(list, {"a": [1]}),
        "time": datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), "decimal": decimal.Decimal("1.5"), "uuid": uuid.UUID(int=5), "range": range(3), "slice": slice(1, 2),
        "array": array.array("d", [1.0]), "path": pathlib.PurePosixPath("a/b"), "bytearray": bytearray(b"abc"), "none": type(None), "complex": complex(1, 2),
    }


for _protocol in range(6):
    case(f"benign/plain_{_protocol}.pkl")(lambda p=_protocol: pickle.dumps(plain_values(), p))


@case("benign/several.pkl")
def _(): return pickle.dumps([1]) + pickle.dumps({"b": 2}) + pickle.dumps(None, 2)
@case("benign/namespace.pkl")
def _():
    import argparse
    return pickle.dumps(argparse.Namespace(lr=0.1, name="x", path=pathlib.PurePosixPath("/tmp")))
@case("benign/readme.md")
def _(): return "# Model\n\nA card with *words*, code `import os` and ünïcode.\n".encode()
@case("benign/table.csv")
def _(): return b"city\nParis\nLondon\n"
@case("benign/config.json")
def _(): return json.dumps({"architectures": ["BertModel"], "hidden_size": 768}).encode()
@case("benign/chat_template.json")
def _(): return json.dumps({"chat_template": "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% endfor %}"}).encode()
@case("benign/script.py")
def _(): return b"import os\n\nclass A:\n    def __init__(self):\n        self.x = f'{{{os.getcwd()}}}'\n        print(__import__('os').name)\n"
@case("benign/pixel.png")
def _():
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
@case("archive/png_and_zip.png")
def _(): return CASES["benign/pixel.png"]() + torch_zip(EVIL(), TENSORS)


# --- benign: real libraries -----------------------------------------------------------------------------------------
def libraries():
    made = {}
    try:
        import numpy as np
    except ImportError:
        return made
    rng = np.random.default_rng(0)
    def save(f, *a, **k):
        out = io.BytesIO()
        f(out, *a, **k)
        return out.getvalue()
    x = rng.normal(size=(40, 4))
    y = (x[:, 0] > 0).astype(int)
    for protocol in (0, 2, 4, 5):
        made[f"numpy/arrays_{protocol}.pkl"] = pickle.dumps({"a": np.arange(6.0).reshape(2, 3), "s": np.float32(1.5), "d": np.dtype("<i4"), "u": np.array(["ab"]), "b": np.array([True]), "r": np.random.default_rng(1) if protocol > 2 else 1, "f": np.add, "o": np.array([{"a": 1}, None], dtype=object)}, protocol)
    made["numpy/structured.pkl"] = pickle.dumps(np.zeros(3, dtype=[("a", "<i4"), ("b", "S3")]))
    made["numpy/plain.npy"] = save(np.save, x[:3])
    made["numpy/object.npy"] = save(np.save, np.array([{"a": 1}, [2]], dtype=object), allow_pickle=True)
    made["numpy/structured.npy"] = save(np.save, np.zeros(3, dtype=[("a", "<i4"), ("b", "S3", (2,))]))
    made["numpy/plain.npz"] = save(np.savez, x=x[:3], y=y[:3])
    made["numpy/compressed.npz"] = save(np.savez_compressed, x=x[:3], y=y[:3])
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    made["numpy/object_evil.npy"] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + p4(ECHO)
    header = b"{'descr': __import__('os').system('echo hi'), 'fortran_order': False, 'shape': (1,), }"
    made["numpy/header_evil.npy"] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + b"\0" * 8
    made["numpy/object_evil.npz"] = plain_zip({"a.npy": made["numpy/object_evil.npy"]})
    try:
        import pandas as pd
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": pd.Categorical(["u", "v"]), "t": pd.to_datetime(["2020-01-01", "2020-01-02"])})
        made["pandas/frame.pkl"] = pickle.dumps(frame)
        made["pandas/series.pkl"] = pickle.dumps(pd.Series([1.0, 2.0], name="z"))
    except ImportError:
        pass
    try:
        import joblib
        from sklearn import cluster, decomposition, ensemble, linear_model, naive_bayes, neighbors, neural_network, pipeline, preprocessing, svm, tree, gaussian_process, mixture, impute, compose, feature_extraction
    except ImportError:
        return made
    models = {
        "logistic": linear_model.LogisticRegression(), "svc": svm.SVC(probability=False), "tree": tree.DecisionTreeClassifier(max_depth=2), "forest": ensemble.RandomForestClassifier(3, max_depth=2),
        "gradient": ensemble.GradientBoostingClassifier(n_estimators=2, max_depth=2), "hist": ensemble.HistGradientBoostingClassifier(max_iter=2, max_depth=2), "kmeans": cluster.KMeans(2, n_init=1), "pca": decomposition.PCA(2),
        "bayes": naive_bayes.GaussianNB(), "knn": neighbors.KNeighborsClassifier(algorithm="kd_tree"), "ball": neighbors.KNeighborsClassifier(algorithm="ball_tree"), "mlp": neural_network.MLPClassifier((3,), max_iter=5), "sgd": linear_model.SGDClassifier(max_iter=5),
        "pipeline": pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()), "gp": gaussian_process.GaussianProcessRegressor(), "gmm": mixture.GaussianMixture(2), "imputer": impute.SimpleImputer(),
        "isolation": ensemble.IsolationForest(n_estimators=3, max_samples=8), "columns": compose.ColumnTransformer([("s", preprocessing.StandardScaler(), [0]), ("f", preprocessing.FunctionTransformer(np.log1p), [1])]),
    }
    import warnings
    warnings.simplefilter("ignore")
    for name, model in models.items():
        model.fit(np.abs(x), y)
        made[f"sklearn/{name}.pkl"] = pickle.dumps(model)
        made[f"joblib/{name}.joblib"] = save(lambda out, m: joblib.dump(m, out), model)
    made["sklearn/tfidf.pkl"] = pickle.dumps(feature_extraction.text.TfidfVectorizer().fit(["a bb cc", "bb dd"]))
    made["sklearn/forest_2.pkl"] = pickle.dumps(models["forest"], 2)
    made["joblib/forest_zlib.joblib"] = save(lambda out, m: joblib.dump(m, out, compress=("zlib", 3)), models["forest"])
    made["joblib/forest_gzip.joblib"] = save(lambda out, m: joblib.dump(m, out, compress=("gzip", 3)), models["forest"])
    made["joblib/objects.joblib"] = save(lambda out, m: joblib.dump(m, out), {"o": np.array([{"a": np.arange(3)}, "x"], dtype=object), "f": np.asfortranarray(x[:5])})
    made["joblib/evil_tail.joblib"] = save(lambda out, m: joblib.dump(m, out), [x[:3], "marker"]).replace(b"\x8c\x06marker\x94", ECHO)
    try:
        from scipy import sparse, interpolate
        made["scipy/sparse.pkl"] = pickle.dumps([sparse.csr_matrix(np.eye(3)), sparse.coo_array(np.eye(2))])
        made["scipy/interpolate.pkl"] = pickle.dumps(interpolate.interp1d([0, 1], [1, 2]))
    except ImportError:
        pass
    try:
        import lightgbm
        made["lightgbm/model.pkl"] = pickle.dumps(lightgbm.LGBMClassifier(n_estimators=2, num_leaves=3, verbose=-1).fit(x, y))
    except ImportError:
        pass
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
        def model(nodes, initialisers=(), opsets=(("", 17),), **more):
            graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])], list(initialisers))
            made = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in opsets], producer_name="pytorch", **more)
            made.ir_version = 8
            return made
        weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
        gemm = helper.make_node("MatMul", ["x", "w"], ["y"])
        made["onnx/plain.onnx"] = model([gemm], [weight]).SerializeToString()
        def external(location):
            tensor = onnx.TensorProto(name="w", data_type=1, dims=[4, 4], data_location=TensorProto.EXTERNAL)
            tensor.external_data.add(key="location", value=location)
            return model([gemm], [tensor]).SerializeToString()
        made["onnx/external_here.onnx"] = external("model.onnx.data")
        made["onnx/external_escape.onnx"] = external("../../../etc/passwd")
        made["onnx/external_absolute.onnx"] = external("/etc/passwd")
        made["onnx/external_mixed.onnx"] = external("..\\../secret")
        made["onnx/pyop.onnx"] = model([helper.make_node("PyOp", ["x", "w"], ["y"], domain="ai.onnx.contrib", module="os", func="system")], [weight], (("", 17), ("ai.onnx.contrib", 1))).SerializeToString()
        made["onnx/custom_domain.onnx"] = model([helper.make_node("Thing", ["x", "w"], ["y"], domain="com.example")], [weight], (("", 17), ("com.example", 1))).SerializeToString()
        made["onnx/unknown_field.onnx"] = model([gemm], [weight]).SerializeToString() + b"\xfa\x3f" + bytes([len(p4(ECHO))]) + p4(ECHO)
        made["onnx/huge_dims.onnx"] = model([gemm], [onnx.TensorProto(name="w", data_type=1, dims=[2**40, 2**40])]).SerializeToString()
        try:
            from skl2onnx import to_onnx
            made["onnx/forest.onnx"] = to_onnx(models["forest"], x[:1].astype(np.float32)).SerializeToString()
        except ImportError:
            pass
    except ImportError:
        pass
    try:
        from safetensors.numpy import save as save_safetensors
        made["safetensors/library.safetensors"] = save_safetensors({"a": x[:2].astype(np.float32), "b": y[:3]}, {"format": "np"})
    except ImportError:
        pass
    return made


# --- layers around a nested pickle ------------------------------------------------------------------------------------
@case("opcode/bad-nested-zlib.pkl")
def _(): return pickle.dumps({"w": zlib.compress(p4(ECHO))}, 4)
@case("opcode/bad-nested-bzip2.pkl")
def _(): return pickle.dumps({"w": bz2.compress(p4(ECHO))}, 4)
@case("opcode/bad-nested-zlib-base64.pkl")
def _(): return pickle.dumps({"w": base64.b64encode(zlib.compress(p4(ECHO))).decode()}, 4)
@case("opcode/bad-nested-zlib-latin1.pkl")
def _(): return pickle.dumps({"w": zlib.compress(p4(ECHO))}, 2)
@case("opcode/bad-nested-base64-twice.pkl")
def _(): return pickle.dumps({"w": base64.b64encode(base64.b64encode(p4(ECHO))).decode()}, 4)
@case("opcode/bad-nested-pickle-in-base64.pkl")
def _(): return pickle.dumps({"w": base64.b64encode(pickle.dumps({"v": p4(ECHO)}, 4)).decode()}, 4)
@case("opcode/bad-nested-base64-mark.pkl")
def _(): return pickle.dumps({"w": base64.b64encode(p2(b"(" + g0("os", "system") + b"(" + s("echo hi") + b"tR1}")).decode()}, 4)
@case("opcode/bad-nested-line.pkl")
def _(): return pickle.dumps({"w": p4(ECHO)}, 0)
@case("opcode/bad-nested-line-base64.pkl")
def _(): return pickle.dumps({"w": base64.b64encode(p4(ECHO)).decode()}, 0)
@case("opcode/bad-nested-line-string.pkl")
def _(): return b"(dp0\nS'w'\nS" + ascii(p4(ECHO).decode("latin-1")).encode() + b"\ns."
@case("opcode/bad-nested-behind-zlib-header.pkl")
def _(): return pickle.dumps({"w": b"x\x9c" + p4(ECHO)}, 4)
@case("benign/good-nested-plain.pkl")
def _(): return pickle.dumps({"zlib": zlib.compress(pickle.dumps([1, 2])), "base64": base64.b64encode(pickle.dumps({"a": "b"})).decode(), "words": ["embedding.weight", "Yes, words in here", "gA is no pickle at all"]}, 4)


# --- memory that is asked for -----------------------------------------------------------------------------------------
@case("opcode/bad-bytearray-of.pkl")
def _(): return p4(call4("builtins", "bytearray", b"J\xff\xff\xff\x7f"))
@case("opcode/bad-bytes-of.pkl")
def _(): return p4(call4("builtins", "bytes", b"\x8a\x06" + (10**13).to_bytes(6, "little")))
@case("benign/good-bytearray-of.pkl")
def _(): return p4(call4("builtins", "bytearray", b"M\x00\x10"))
@case("opcode/bad-long4-claim.pkl")
def _(): return b"\x80\x02\x8b\xff\xff\xff\x7fx."


# --- what libraries reduce their arrays to ----------------------------------------------------------------------------
ARROW_TYPE = call4("pyarrow.lib", "type_for_alias", s("large_string"))
NUMPY_PARTS = g4("numpy._core.multiarray", "_reconstruct") + g4("numpy", "ndarray") + b"K\x00\x85C\x01b\x87" + b"(K\x01K\x01\x85" + call4("numpy", "dtype", s("f4"), b"\x89", b"\x88") + b"\x89C\x04\x00\x00\x00\x00t"


def arrow_array(buffer):
    return g4("pyarrow.lib", "_restore_array") + b"(" + ARROW_TYPE + b"K\x01K\x00K\x00](N" + buffer + b"e]Nt\x85R"


@case("pandas/good-arrow.pkl")
def _(): return p4(arrow_array(call4("pyarrow.lib", "py_buffer", b"C\x02ab")))
@case("pandas/good-arrow-bytearray.pkl")
def _(): return p4(arrow_array(call4("pyarrow.lib", "py_buffer", call4("builtins", "bytearray", b"C\x02ab"))))
@case("pandas/bad-arrow-address.pkl")
def _(): return p4(arrow_array(call4("pyarrow.lib", "foreign_buffer", b"K\x10", b"K\x10")))
@case("pandas/bad-arrow-numbers.pkl")
def _(): return p4(arrow_array(b"J\x00\x00\x00\x01"))
@case("pandas/bad-arrow-file.pkl")
def _(): return p4(call4("pyarrow.lib", "OSFile", s("/tmp/x"), s("w")))
@case("numpy/good-dill-array.pkl")
def _(): return p4(g4("dill._dill", "_create_array") + b"(" + NUMPY_PARTS + b"NtR")
@case("numpy/bad-dill-array.pkl")
def _(): return p4(g4("dill._dill", "_create_array") + b"(" + g4("os", "system") + s("echo hi") + b"\x85NNtR")
@case("numpy/good-dill-type.pkl")
def _(): return p4(call4("dill._dill", "_load_type", s("dict")))
@case("numpy/bad-dill-type.pkl")
def _(): return p4(call4("dill._dill", "_load_type", s("CodeType")))
@case("numpy/good-jax-array.pkl")
def _(): return p4(g4("jax._src.array", "_reconstruct_array") + b"(" + NUMPY_PARTS + b"}" + s("weak_type") + b"\x89stR")
@case("numpy/bad-jax-array.pkl")
def _(): return p4(g4("jax._src.array", "_reconstruct_array") + b"(" + g4("collections", "deque") + b"])\x85}tR")


# --- torch: persistent ids that are classes or numbered ---------------------------------------------------------------
def module_id(module, name):
    return b"(" + s("module") + g4(module, name) + s("linear.py") + s("class Linear: pass") + b"tQ"


@case("torch/good-persistent-class.pkl")
def _(): return p4(module_id("torch.nn.modules.linear", "Linear") + b")\x81}" + s("training") + b"\x89sb")
@case("torch/bad-persistent-class.pkl")
def _(): return p4(module_id("os", "system") + s("echo hi") + b"\x85R")
@case("torch/bad-persistent-class-called.pkl")
def _(): return p4(module_id("torch.nn.modules.linear", "Linear") + s("x") + b"\x85R")
@case("torch/good-persistent-number.pkl")
def _(): return p4(b"(" + s("storage") + g4("torch", "FloatStorage") + b"K\x00" + s("cpu") + b"K\x20tQ")
@case("torch/bad-persistent-number.pkl")
def _(): return p4(b"(" + s("storage") + g4("some_package", "Thing") + b"K\x00" + s("cpu") + b"K\x20tQ")
@case("torch/good-tensor-class.pkl")
def _(): return p4(b"]" + g4("torch", "FloatTensor") + b"a")


# --- joblib before 0.10 -----------------------------------------------------------------------------------------------
def file_wrapper(name):
    return g4("joblib.numpy_pickle", "NDArrayWrapper") + b")\x81}(" + s("filename") + s(name) + s("subclass") + g4("numpy", "ndarray") + s("allow_mmap") + b"\x88ub"


@case("joblib/good-file-wrapper.pkl")
def _(): return p4(file_wrapper("model.pkl_01.npy"))
# scikit-learn before 0.23 brought a copy of joblib.
@case("joblib/good-copy.joblib")
def _():
    wrapper = b"\x80\x03" + g0("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}("
    wrapper += s3("subclass") + g0("numpy", "ndarray") + s3("shape") + b"K\x02\x85" + s3("order") + s3("C")
    wrapper += s3("dtype") + g0("numpy", "dtype") + s3("f8") + b"K\x00K\x01\x87R(K\x03" + s3("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return wrapper + s3("allow_mmap") + b"\x88ub" + struct.pack("<2d", 0.5, 1.5) + b"."
@case("joblib/bad-copy-load.pkl")
def _(): return p4(call4("sklearn.externals.joblib", "load", s("x.pkl")))
@case("sklearn/good-bunch.pkl")
def _(): return b"\x80\x02" + g0("copy_reg", "_reconstructor") + g0("sklearn.datasets.base", "Bunch") + g0("__builtin__", "dict") + b"}" + s3("a") + b"K\x01s\x87R}b."
@case("benign/good-gensim.pkl")
def _(): return b"\x80\x02" + g0("gensim.models.phrases", "Phraser") + b")\x81}(" + s3("scoring") + g0("gensim.models.phrases", "original_scorer") + s3("delimiter") + s3("_") + b"ub."
@case("benign/good-libraries.pkl")
def _(): return p4(b"(" + b"".join(g4(module, name) + b")\x81" for module, name in (("networkx.classes.graph", "Graph"), ("easydict", "EasyDict"), ("madmom.ml.gmm", "GMM"), ("pymatgen.core.lattice", "Lattice"))) + b"t")
@case("gadget/bad-library-state.pkl")
def _(): return p4(g4("sklearn_crfsuite._fileresource", "FileResource") + b")\x81}" + s("name") + s("x") + b"sb")
@case("benign/good-line-break.pkl")
def _(): return pickle.dumps({"a": 1}, 2) + b"\n"
@case("joblib/bad-file-wrapper.pkl")
def _(): return p4(file_wrapper("../../secret.npy"))


def main():
    # Libraries first: the stand-ins for torch's modules would confuse them.
    made = libraries()
    made.update({name: make() for name, make in CASES.items()})
    total = 0
    for name, data in sorted(made.items()):
        total += len(data)
        if len(data) > 20_000:
            print(f"{name}: {len(data)} bytes, left out", file=sys.stderr)
            continue
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    print(f"{len(made)} samples, {total} bytes")


if __name__ == "__main__":
    main()

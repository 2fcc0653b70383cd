#!/usr/bin/env python3
"""Makes the samples of model formats beside this script: `samples/<format>/good-*` and `bad-*`.

Usage: python3 make_model_samples.py      # writes what the installed libraries allow; leaves other samples alone
Payloads only run `true`. Expectations (`<name>.expected`) are written by `BLESS=1 cargo test -p ringfence-scan` after a look at each; the
tests hold that `good-*` is clean and `bad-*` is flagged whatever the expectation says.
Libraries: h5py for HDF5 and Keras; for the good samples also keras, gguf, msgpack, xgboost, lightgbm, catboost, where present.
"""
import base64, io, json, marshal, os, pathlib, pickle, struct, sys, zipfile

HERE = pathlib.Path(__file__).parent / "samples"
LONGEST = 20_000
CASES = {}


def case(name):
    def add(make):
        CASES[name] = make
        return make
    return add


class Evil:
    def __reduce__(self): return os.system, ("true",)


PICKLE = pickle.dumps(Evil(), 4)
OLD_PICKLE = b"cos\nsystem\n(S'true'\ntR."
ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 57
SSTI = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
PLAIN_TEMPLATE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"


# --- GGUF -----------------------------------------------------------------------------------------------------------
class Gguf:
    """A writer that lies on demand."""
    def __init__(self, version=3, order="<", n_kv=None, n_tensors=None):
        self.version, self.order, self.kv, self.tensors, self.n_kv, self.n_tensors, self.data = version, order, [], [], n_kv, n_tensors, b""
    def n(self, kind, *values): return struct.pack(self.order + kind, *values)
    def count(self, value): return self.n("I" if self.version == 1 else "Q", value)
    def text(self, text, length=None):
        raw = text if isinstance(text, bytes) else text.encode()
        return self.count(len(raw) if length is None else length) + raw
    def put(self, key, kind, raw): self.kv.append(self.text(key) + self.n("I", kind) + raw); return self
    def string(self, key, value, length=None): return self.put(key, 8, self.text(value, length))
    def u32(self, key, value): return self.put(key, 4, self.n("I", value))
    def tensor(self, name="w", dims=(32,), kind=0, offset=None, data=None, raw_dims=None):
        offset = len(self.data) if offset is None else offset
        self.tensors.append(self.text(name) + self.n("I", len(dims) if raw_dims is None else raw_dims) + b"".join(self.count(d) for d in dims) + self.n("I", kind) + self.n("Q", offset))
        data = b"\0\0\0?" * 32 if data is None else data
        self.data += data + b"\0" * (-len(data) % 32)
        return self
    def done(self, tail=b""):
        head = b"GGUF" + self.n("I", self.version) + self.count(len(self.tensors) if self.n_tensors is None else self.n_tensors) + self.count(len(self.kv) if self.n_kv is None else self.n_kv)
        head += b"".join(self.kv) + b"".join(self.tensors)
        return head + b"\0" * (-len(head) % 32 if self.tensors else 0) + self.data + tail


def gguf(**more): return Gguf(**more).string("general.architecture", "llama").string("general.name", "tiny")


for _version in (1, 2, 3):
    for _order in "<>":
        case(f"gguf/good-v{_version}{'le' if _order == '<' else 'be'}.gguf")(lambda v=_version, o=_order: gguf(version=v, order=o).string("tokenizer.chat_template", PLAIN_TEMPLATE).tensor().done())
GGUF_BAD = {
    "template": lambda g: g.string("tokenizer.chat_template", SSTI).tensor().done(),
    "template-named": lambda g: g.string("tokenizer.chat_template", PLAIN_TEMPLATE).string("tokenizer.chat_template.tool_use", SSTI).done(),
    "template-other": lambda g: g.string("prompt.template", SSTI).done(),
    "template-array": lambda g: g.put("tokenizer.chat_templates", 9, g.n("IQ", 8, 2) + g.text(PLAIN_TEMPLATE) + g.text(SSTI)).done(),
    "template-attr": lambda g: g.string("tokenizer.chat_template", "{{ ''|attr('__class__')|attr('__mro__') }}").tensor().done(),
    "template-hex": lambda g: g.string("tokenizer.chat_template", "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}").tensor().done(),
    "template-joined": lambda g: g.string("tokenizer.chat_template", "{{ ''|attr('__cl' ~ 'ass__') }}").tensor().done(),
    "template-twice": lambda g: g.string("tokenizer.chat_template", PLAIN_TEMPLATE).string("tokenizer.chat_template", "other").done(),
    "string-length": lambda g: g.string("a", "x", 2**63 - 1).done(),
    "key-length": lambda g: g.put("", 8, b"").done()[:-12] + struct.pack("<Q", 2**40) + b"key",
    "array-count": lambda g: g.put("a", 9, g.n("IQ", 4, 2**61)).done(),
    "array-nested": lambda g: g.put("a", 9, g.n("IQ", 9, 1) * 200 + g.n("IQI", 4, 1, 1)).done(),
    "value-type": lambda g: g.put("a", 99, b"\0" * 8).done(),
    "bool": lambda g: g.put("a", 7, b"\x07").done(),
    "dims-overflow": lambda g: g.tensor(dims=(2**32, 2**32)).done(),
    "dims-many": lambda g: g.tensor(dims=(1,), raw_dims=1000).done(),
    "dims-block": lambda g: g.tensor(dims=(33,), kind=2).done(),
    "type": lambda g: g.tensor(kind=70_000).done(),
    "offset-outside": lambda g: g.tensor(offset=2**40).done(),
    "offset-overflow": lambda g: g.tensor(offset=2**64 - 32).done(),
    "offset-odd": lambda g: g.tensor(offset=3, data=b"\0" * 160).done(),
    "overlap": lambda g: g.tensor("a").tensor("b", offset=32).done(),
    "tensor-twice": lambda g: g.tensor("a").tensor("a").done(),
    "hole": lambda g: g.tensor("a").tensor("b", offset=128 + 96, data=PICKLE.ljust(96, b"\0") + b"\0" * 128).done(),
    "alignment-zero": lambda g: g.u32("general.alignment", 0).tensor().done(),
    "alignment-odd": lambda g: g.u32("general.alignment", 3).tensor().done(),
    "trailing-pickle": lambda g: g.tensor().done(PICKLE),
    "trailing-elf": lambda g: g.tensor().done(ELF),
    "tensor-elf": lambda g: g.tensor(data=ELF.ljust(128, b"\0")).done(),
    "tensor-pickle": lambda g: g.tensor(kind=24, dims=(128,), data=PICKLE.ljust(128, b"\0")).done(),
    "metadata-base64": lambda g: g.string("general.description", base64.b64encode(PICKLE)).tensor().done(),
    "metadata-pickle": lambda g: g.string("general.description", b"weights: " + PICKLE).tensor().done(),
    "metadata-code": lambda g: g.string("general.description", "__import__('os').system('true')").tensor().done(),
    "metadata-address": lambda g: g.string("general.url", "https://example.org/files/setup.sh").tensor().done(),
    "name-control": lambda g: g.string("general.\x1b[2Jname", "x").tensor().done(),
}
for _name, _make in GGUF_BAD.items():
    case(f"gguf/bad-{_name}.gguf")(lambda m=_make: m(gguf()))
@case("gguf/bad-count-kv.gguf")
def _(): return gguf(n_kv=2**62).tensor().done()
@case("gguf/bad-count-tensors.gguf")
def _(): return gguf(n_tensors=2**63).tensor().done()
@case("gguf/bad-be-dims.gguf")
def _(): return gguf(order=">").tensor(dims=(2**33, 2**33)).done()


# --- Keras configurations ---------------------------------------------------------------------------------------------
def layer(name, config=None, module="keras.layers", **more):
    return {"module": module, "class_name": name, "config": {"name": name.lower(), **(config or {})}, "registered_name": None, **more}


def sequential(*layers): return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [layer("InputLayer", {"batch_shape": [None, 4]}), *layers]}, "registered_name": None}


def code(function): return base64.b64encode(marshal.dumps(function.__code__.replace(co_firstlineno=1, co_filename="sample"))).decode()


def lambda_layer(function, legacy=False):
    if legacy:
        return {"class_name": "Lambda", "config": {"name": "l", "function": [code(function), None, None], "function_type": "lambda", "module": "__main__", "output_shape": None, "arguments": {}}}
    return layer("Lambda", {"function": {"class_name": "__lambda__", "config": {"code": code(function), "defaults": None, "closure": None}}, "arguments": {}})


def function(name, module): return {"module": module, "class_name": "function", "config": name, "registered_name": name}


EVIL_LAMBDA = lambda x: __import__("os").system("true")
GOOD_CONFIG = sequential(layer("Dense", {"units": 2, "activation": "relu", "kernel_initializer": {"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": None}, "registered_name": None}}))
KERAS_BAD = {
    "lambda": sequential(lambda_layer(lambda x: x * 2)),
    "lambda-system": sequential(lambda_layer(EVIL_LAMBDA)),
    "lambda-legacy": sequential(lambda_layer(EVIL_LAMBDA, legacy=True)),
    "lambda-named": sequential(layer("Lambda", {"function": "my_function", "function_type": "function"})),
    "lambda-function": sequential(layer("Lambda", {"function": function("get_file", "keras.utils"), "arguments": {"origin": "http://127.0.0.1/a.tar", "extract": True, "cache_dir": "/tmp"}})),
    "lambda-loss": {**GOOD_CONFIG, "compile_config": {"optimizer": "adam", "loss": {"class_name": "__lambda__", "config": {"value": [code(EVIL_LAMBDA), None, None]}}}},
    "module-os": sequential(layer("system", {"command": "true"}, module="os")),
    "module-subprocess": sequential(layer("Popen", {"args": "true"}, module="subprocess")),
    "module-pip": {"module": "pip._internal", "class_name": "main", "config": ["install", "x"], "registered_name": None},
    "module-custom": sequential(layer("Block", module="evil_package.layers")),
    "module-initializer": sequential(layer("Dense", {"units": 1, "kernel_initializer": {"module": "os.path", "class_name": "join", "config": {}, "registered_name": None}})),
    "function-eval": sequential(layer("Dense", {"units": 1, "activation": function("eval", "builtins")})),
    "function-run": sequential(layer("Dense", {"units": 1, "activation": function("run", "subprocess")})),
    "unsafe": sequential({"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}, "registered_name": None}),
    "unsafe-function": sequential(layer("Activation", {"activation": function("enable_unsafe_deserialization", "keras.config")})),
    "load-model": sequential(layer("Activation", {"activation": function("load_model", "keras.models")})),
    "class-builtin": sequential({"class_name": "eval", "config": {"source": "1"}}),
    "class-dotted": sequential({"class_name": "os.system", "config": {"command": "true"}}),
    "text-code": sequential(layer("Dense", {"units": 1, "build": "eval('1')"})),
    "utils": sequential(layer("PyDataset", module="keras.utils")),
    "vocabulary-absolute": sequential(layer("StringLookup", {"vocabulary": "/etc/passwd"})),
    "vocabulary-remote": sequential(layer("TextVectorization", {"vocabulary": "gs://bucket/words.txt"})),
    "vocabulary-parent": sequential(layer("IntegerLookup", {"vocabulary": "../../.ssh/id_rsa"})),
    "vocabulary-file": sequential(layer("StringLookup", {"vocabulary": "words.txt"})),
    "torch": sequential(layer("TorchModuleWrapper", {"module": base64.b64encode(PICKLE).decode()})),
    "torch-bytes": sequential(layer("TorchModuleWrapper", {"module": {"class_name": "__bytes__", "config": {"value": PICKLE.decode("latin-1")}}})),
    "saved-model": sequential(layer("TFSMLayer", {"filepath": "/tmp/model"})),
    "operator": {"class_name": "Functional", "config": {"layers": [{"class_name": "TFOpLambda", "config": {"name": "t", "function": "io.write_file"}, "name": "t"}]}},
    "operator-python": {"class_name": "Functional", "config": {"layers": [{"class_name": "TFOpLambda", "config": {"name": "t", "function": "numpy_function"}, "name": "t"}]}},
    "in-text": {"class_name": "Sequential", "config": {"layers": [], "extra": json.dumps(sequential(lambda_layer(EVIL_LAMBDA)))}},
    "deep": {"class_name": "Sequential", "config": {"build_config": {"input_shape": [{"a": {"b": {"c": lambda_layer(EVIL_LAMBDA)}}}]}}},
    "pickle": sequential(layer("Dense", {"units": 1, "note": base64.b64encode(PICKLE).decode()})),
}
for _name, _config in KERAS_BAD.items():
    case(f"keras/bad-{_name}.json")(lambda c=_config: json.dumps(c).encode())
@case("keras/good-sequential.json")
def _(): return json.dumps(GOOD_CONFIG).encode()
@case("keras/bad-escaped.json")
def _(): return json.dumps(sequential(lambda_layer(EVIL_LAMBDA))).replace("class_name", "class\\u005fname").replace("Lambda", "L\\u0061mbda").encode()
@case("keras/bad-utf16.json")
def _(): return json.dumps(sequential(lambda_layer(EVIL_LAMBDA))).encode("utf-16")
@case("keras/bad-utf16-unmarked.json")
def _(): return json.dumps(sequential(lambda_layer(EVIL_LAMBDA))).encode("utf-16-le")
@case("keras/bad-utf32.json")
def _(): return json.dumps(sequential(lambda_layer(EVIL_LAMBDA))).encode("utf-32-be")
@case("keras/bad-nan.json")
def _(): return json.dumps({**sequential(lambda_layer(EVIL_LAMBDA)), "x": float("nan")}).encode()
@case("keras/bad-duplicate.json")
def _(): return json.dumps(GOOD_CONFIG).encode().replace(b'"class_name": "Dense"', b'"class_name": "Lambda", "class_name": "Dense"')
@case("keras/bad-nested.json")
def _(): return json.dumps(GOOD_CONFIG).encode()[:-1] + b', "x": ' + b"[" * 3000 + b"]" * 3000 + b"}"


def keras_zip(config, weights=b"", extra=()):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        def put(name, data): z.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data)
        put("metadata.json", json.dumps({"keras_version": "3.8.0", "date_saved": "2025-01-01@00:00:00"}))
        put("config.json", config if isinstance(config, bytes) else json.dumps(config))
        put("model.weights.h5", weights or h5(lambda f: f.create_dataset("w", data=[1.0, 2.0])))
        for name, data in extra: put(name, data)
    return out.getvalue()


for _name in ("lambda-system", "module-os", "vocabulary-absolute", "torch", "unsafe"):
    case(f"keras/bad-{_name}.keras")(lambda n=_name: keras_zip(KERAS_BAD[n]))
@case("keras/good-archive.keras")
def _(): return keras_zip(GOOD_CONFIG, extra=[("assets/words/vocabulary.txt", "a\nb\n")])
@case("keras/bad-utf16.keras")
def _(): return keras_zip(json.dumps(KERAS_BAD["module-os"]).encode("utf-16-le"))
@case("keras/bad-weights-link.keras")
def _(): return keras_zip(GOOD_CONFIG, h5(lambda f: f.__setitem__("w", h5py().ExternalLink("/etc/passwd", "/"))))
@case("keras/bad-asset-slip.keras")
def _(): return keras_zip(GOOD_CONFIG, extra=[("assets/../../evil.txt", "x")])
@case("keras/bad-asset-pickle.keras")
def _(): return keras_zip(GOOD_CONFIG, extra=[("assets/vocabulary.txt", PICKLE)])


# --- HDF5 -----------------------------------------------------------------------------------------------------------
def h5py():
    import h5py
    return h5py


def h5(fill, **more):
    out = io.BytesIO()
    with h5py().File(out, "w", **more) as f: fill(f)
    return out.getvalue()


def keras_h5(config, training=None):
    def fill(f):
        f.attrs["keras_version"], f.attrs["backend"] = "2.12.0", "tensorflow"
        f.attrs["model_config"] = json.dumps(config)
        if training: f.attrs["training_config"] = json.dumps(training)
        f.create_group("model_weights").attrs["layer_names"] = [b"dense"]
    return h5(fill)


for _name in ("lambda", "lambda-system", "lambda-legacy", "module-os", "vocabulary-absolute", "torch", "operator", "function-eval"):
    case(f"hdf5/bad-keras-{_name}.h5")(lambda n=_name: keras_h5(KERAS_BAD[n]))
@case("hdf5/bad-keras-training.h5")
def _(): return keras_h5(GOOD_CONFIG, {"loss": {"class_name": "Lambda", "config": {"function": [code(EVIL_LAMBDA), None, None]}}})
@case("hdf5/good-keras.h5")
def _(): return keras_h5(GOOD_CONFIG, {"loss": "mse", "optimizer_config": {"class_name": "Adam", "config": {"learning_rate": 0.1}}})


def np():
    import numpy
    return numpy


def named(**members):
    def fill(f):
        for name, value in members.items(): f[name] = value
    return fill


HDF5 = {
    "good-user-block": lambda: h5(named(a=[1, 2]), userblock_size=512),
    "good-user-text": lambda: (lambda raw: b"a note in front".ljust(512, b"\0") + raw[512:])(h5(named(a=[1, 2]), userblock_size=512)),
    "good-latest": lambda: h5(lambda f: [f.attrs.__setitem__(f"a{i}", f"text {i}") for i in range(12)] + [f.__setitem__(f"d{i}", i) for i in range(12)], libver="latest"),
    "good-text": lambda: h5(lambda f: f.create_dataset("t", data=["alpha", "beta"] * 9, dtype=h5py().string_dtype(), chunks=(5,), compression="gzip")),
    "good-soft-link": lambda: h5(lambda f: (f.__setitem__("a", [1]), f.__setitem__("b", h5py().SoftLink("/a")))),
    "good-numbers": lambda: h5(lambda f: f.create_dataset("n", data=np().arange(200.0).reshape(20, 10), chunks=(5, 10), compression="gzip", shuffle=True, fletcher32=True)),
    "good-compound": lambda: h5(lambda f: f.create_dataset("c", data=np().array([(1, b"abc", [[1.0, 2.0]])], dtype=np().dtype([("a", "i4"), ("b", h5py().string_dtype()), ("c", "f8", (1, 2))])))),
    "good-types": lambda: h5(lambda f: (f.__setitem__("t", np().dtype([("x", "f4")])), f.__setitem__("e", np().array([True, False])), f.__setitem__("r", f.ref), f.__setitem__("z", h5py().Empty("f")))),
    "bad-link-absolute": lambda: h5(named(w=h5py().ExternalLink("/etc/passwd", "/x"))),
    "bad-link-beside": lambda: h5(named(w=h5py().ExternalLink("other.h5", "/x"))),
    "bad-link-latest": lambda: h5(named(w=h5py().ExternalLink("../secret.h5", "/x")), libver="latest"),
    "bad-link-dense": lambda: h5(lambda f: [f.__setitem__(f"n{i}", i) for i in range(20)] + [f.__setitem__("w", h5py().ExternalLink("/etc/passwd", "/x"))], libver="latest"),
    "bad-link-user": lambda: (lambda raw: raw.replace(b"\x01\x18\x40\x00", b"\x01\x18\xc8\x00").replace(b"\x01\x08\x40\x01", b"\x01\x08\xc8\x01"))(h5(named(w=h5py().ExternalLink("other.h5", "/x")), libver="latest")),
    "bad-storage-absolute": lambda: h5(lambda f: f.create_dataset("d", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])),
    "bad-storage-beside": lambda: h5(lambda f: f.create_dataset("d", shape=(4,), dtype="u1", external=[("other.bin", 0, 4)])),
    "bad-virtual": lambda: h5(virtual("/etc/secret.h5"), libver="latest"),
    "bad-virtual-beside": lambda: h5(virtual("other.h5"), libver="latest"),
    "bad-attribute-pickle": lambda: h5(lambda f: f.attrs.__setitem__("state", np().void(PICKLE))),
    "bad-attribute-old-pickle": lambda: h5(lambda f: f.attrs.__setitem__("state", np().bytes_(OLD_PICKLE))),
    "bad-attribute-base64": lambda: h5(lambda f: f.attrs.__setitem__("state", base64.b64encode(PICKLE).decode())),
    "bad-attribute-dense": lambda: h5(lambda f: [f.attrs.__setitem__(f"a{i}", i) for i in range(20)] + [f.attrs.__setitem__("state", np().void(PICKLE))], libver="latest"),
    "bad-bytes-pickle": lambda: h5(lambda f: f.create_dataset("d", data=np().frombuffer(PICKLE, dtype="u1"))),
    "bad-bytes-gzip": lambda: h5(lambda f: f.create_dataset("d", data=np().frombuffer(PICKLE, dtype="u1"), compression="gzip", chunks=(len(PICKLE),))),
    "bad-bytes-gzip-latest": lambda: h5(lambda f: f.create_dataset("d", data=np().frombuffer(PICKLE, dtype="u1"), compression="gzip", chunks=(len(PICKLE),)), libver="latest"),
    "bad-bytes-lzf": lambda: h5(lambda f: f.create_dataset("d", data=np().frombuffer(PICKLE * 4, dtype="u1"), compression="lzf", chunks=(len(PICKLE) * 4,))),
    "bad-opaque-pickle": lambda: h5(named(d=np().void(PICKLE))),
    "bad-text-pickle": lambda: h5(lambda f: f.create_dataset("d", data=[base64.b64encode(PICKLE).decode()], dtype=h5py().string_dtype())),
    "bad-variable-pickle": lambda: h5(variable_bytes(PICKLE)),
    "bad-elf": lambda: h5(lambda f: f.create_dataset("d", data=np().frombuffer(ELF, dtype="u1"))),
    "bad-elf-numbers": lambda: h5(lambda f: f.create_dataset("d", data=np().frombuffer(ELF, dtype="f8"))),
    "bad-trailing": lambda: h5(named(a=[1])) + PICKLE,
    "bad-user-block": lambda: (lambda raw: PICKLE.ljust(512, b"\0") + raw[512:])(h5(named(a=[1, 2]), userblock_size=512)),
    "bad-user-elf": lambda: (lambda raw: ELF.ljust(512, b"\0") + raw[512:])(h5(named(a=[1, 2]), userblock_size=512)),
    "bad-outside": lambda: outside(h5(lambda f: f.create_dataset("d", data=[1.0, 2.0]))),
    "bad-hole": lambda: h5(deleted(PICKLE)),
    "bad-filter": lambda: h5(lambda f: f.create_dataset("d", data=np().arange(100.0), chunks=(10,), compression="gzip")).replace(struct.pack("<HHHH", 1, 8, 1, 1), struct.pack("<HHHH", 999, 8, 1, 1)),
    "bad-nested-group": lambda: h5(lambda f: f.create_group("/a/b/c/d").attrs.__setitem__("x", np().void(PICKLE))),
}
for _name, _make in HDF5.items():
    case(f"hdf5/{_name}.h5")(_make)


def virtual(path):
    def fill(f):
        layout = h5py().VirtualLayout(shape=(4,), dtype="f4")
        layout[:] = h5py().VirtualSource(path, "d", shape=(4,))
        f.create_virtual_dataset("v", layout)
    return fill


def variable_bytes(raw):
    def fill(f):
        d = f.create_dataset("d", (2,), dtype=h5py().vlen_dtype(np().uint8))
        d[1] = np().frombuffer(raw, dtype="u1")
    return fill


def outside(raw):
    """Moves the only dataset's data far away: layout version 3, contiguous, address and 16 bytes."""
    at = raw.index(b"\x03\x01", raw.index(struct.pack("<Q", 16)) - 12)
    return raw[: at + 2] + struct.pack("<Q", 2**40) + raw[at + 10 :]


def deleted(raw):
    def fill(f):
        f.create_dataset("a", data=np().frombuffer(raw.ljust(3000, b"\0"), dtype="f8"))
        f.create_dataset("b", data=np().zeros(100))
        f.flush()
        del f["a"]
    return fill


# --- MessagePack ----------------------------------------------------------------------------------------------------
def mp(value):
    """A small packer, so that lies need no library."""
    if value is None: return b"\xc0"
    if isinstance(value, bool): return b"\xc3" if value else b"\xc2"
    if isinstance(value, int): return struct.pack("B", value) if 0 <= value < 128 else b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float): return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str): raw = value.encode(); return (struct.pack("B", 0xA0 | len(raw)) if len(raw) < 32 else b"\xdb" + struct.pack(">I", len(raw))) + raw
    if isinstance(value, bytes): return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, Ext): return b"\xc9" + struct.pack(">Ib", len(value.raw), value.kind) + value.raw
    if isinstance(value, Raw): return value.raw
    if isinstance(value, (list, tuple)): return struct.pack("B", 0x90 | len(value)) + b"".join(map(mp, value))
    return struct.pack("B", 0x80 | len(value)) + b"".join(mp(k) + mp(v) for k, v in value.items())


class Raw:
    def __init__(self, raw): self.raw = raw


class Ext(Raw):
    def __init__(self, kind, raw): self.kind, self.raw = kind, raw


def array(shape, dtype, raw): return Ext(1, mp([list(shape), dtype, raw]))


FLOATS = array((2, 2), "float32", b"\0\0\0?" * 4)
MSGPACK = {
    "good-flax": {"params": {"Dense_0": {"kernel": FLOATS, "bias": array((2,), "bfloat16", b"\0" * 4)}}, "step": array((), "int32", b"\0" * 4), "lr": Ext(3, mp(["float32", b"\0" * 4])), "z": Ext(2, mp([0.5, 1.0])), "mu": None},
    "good-plain": {"name": "a model with a longer name", "layers": [1, 2, 3], "weights": [0.5, 1.5]},
    "bad-ext-pickle": {"params": Ext(5, PICKLE)},
    "bad-ext-unknown": {"params": Ext(42, b"something else")},
    "bad-object-array": {"params": array((1,), "object", PICKLE)},
    "bad-size": {"params": array((1000, 1000), "float32", b"\0" * 16)},
    "bad-shape-overflow": {"params": array((2**40, 2**40), "float32", b"\0" * 16)},
    "bad-bytes-pickle": {"params": FLOATS, "state": PICKLE},
    "bad-bytes-old-pickle": {"params": FLOATS, "state": OLD_PICKLE},
    "bad-text-base64": {"params": FLOATS, "state": base64.b64encode(PICKLE).decode()},
    "bad-numpy-object": {"nd": True, "type": "O", "kind": b"O", "data": PICKLE},
    "bad-elf": {"params": FLOATS, "blob": ELF},
    "bad-array-elf": {"params": array((64,), "uint8", ELF)},
    "bad-array-pickle": {"params": array((len(PICKLE),), "uint8", PICKLE)},
    "bad-length": {"params": Raw(b"\xc6\xff\xff\xff\xff1234")},
    "bad-map-count": {"params": Raw(b"\xdf\xff\xff\xff\xff")},
    "bad-nesting": {"params": Raw(b"\x91" * 5000 + b"\xc0")},
    "bad-special-key": {"params": FLOATS, "__reduce__": "anything at all"},
    "bad-code": {"params": FLOATS, "init": "exec(open('/tmp/x').read())"},
}
for _name, _value in MSGPACK.items():
    case(f"msgpack/{_name}.msgpack")(lambda v=_value: mp(v))
@case("msgpack/bad-lists.msgpack")
def _(): return b"\x91" * 2_000
@case("msgpack/bad-extension-length.msgpack")
def _(): return b"\x81\xa1w\xc9\xff\xff\xff\xff\x01abc"
@case("msgpack/bad-count.msgpack")
def _(): return b"\xdf\xff\xff\xff\xff\xa1w\x01"
@case("msgpack/bad-trailing.msgpack")
def _(): return mp(MSGPACK["good-flax"]) + PICKLE
@case("msgpack/bad-duplicate.msgpack")
def _(): return b"\x82" + mp("params") + mp(FLOATS) + mp("params") + mp(FLOATS)


# --- UBJSON and XGBoost ---------------------------------------------------------------------------------------------
def key(text): return b"L" + struct.pack(">q", len(text)) + text.encode()


def ubj(value):
    if isinstance(value, bytes): return value
    if isinstance(value, bool): return b"T" if value else b"F"
    if isinstance(value, int): return b"l" + struct.pack(">i", value)
    if isinstance(value, float): return b"d" + struct.pack(">f", value)
    if isinstance(value, str): return b"S" + key(value)
    if isinstance(value, list): return b"[" + b"".join(map(ubj, value)) + b"]"
    return b"{" + b"".join(key(k) + ubj(v) for k, v in value.items()) + b"}"


def ints(values): return b"[$l#L" + struct.pack(">q", len(values)) + b"".join(struct.pack(">i", v) for v in values)


def tree(left=(1, -1, -1), right=(2, -1, -1), pack=ints):
    return {"id": 0, "left_children": pack(list(left)), "right_children": pack(list(right)), "split_indices": pack([0, 0, 0]), "tree_param": {"num_nodes": "3", "num_feature": "2"}}


def xgboost(pack=ints, attributes=None, **more):
    return {"learner": {"attributes": attributes or {}, "feature_names": [], "gradient_booster": {"model": {"trees": [tree(pack=pack, **more)]}, "name": "gbtree"}, "objective": {"name": "binary:logistic"}}, "version": pack([3, 0, 0])}


XGBOOST = {
    "good-model": ubj(xgboost()),
    "bad-child": ubj(xgboost(left=(1, 70_000, -1))),
    "bad-child-negative": ubj(xgboost(right=(2, -9, -1))),
    "bad-circle": ubj(xgboost(left=(0, -1, -1))),
    "bad-length": b"{" + key("learner") + b"SL" + struct.pack(">q", 2**62),
    "bad-negative": b"{" + key("learner") + b"SL" + struct.pack(">q", -1),
    "bad-count": b"{" + key("learner") + b"[$d#L" + struct.pack(">q", 2**61),
    "bad-count-empty": b"{" + key("learner") + b"[$T#L" + struct.pack(">q", 2**40) + b"}",
    "bad-nesting": b"{" + key("learner") + b"[" * 15_000,
    "bad-trailing": ubj(xgboost()) + PICKLE,
    "bad-attribute": ubj(xgboost(attributes={"state": base64.b64encode(PICKLE).decode()})),
    "bad-attribute-pickle": ubj(xgboost(attributes={"state": b"SL" + struct.pack(">q", len(PICKLE)) + PICKLE})),
    "bad-duplicate": b"{" + key("learner") + ubj({}) + key("learner") + ubj({}) + b"}",
    "bad-marker": b"{" + key("learner") + b"?",
    "bad-bytes": b"{" + key("learner") + b"[$U#L" + struct.pack(">q", len(PICKLE)) + PICKLE + b"}",
}
for _name, _raw in XGBOOST.items():
    case(f"xgboost/{_name}.ubj")(lambda r=_raw: r)
@case("xgboost/good-model.json")
def _(): return json.dumps(xgboost(pack=list)).encode()
@case("xgboost/bad-child.json")
def _(): return json.dumps(xgboost(pack=list, left=(1, 70_000, -1))).encode()
@case("xgboost/bad-attribute.json")
def _(): return json.dumps(xgboost(pack=list, attributes={"state": base64.b64encode(PICKLE).decode()})).encode()
@case("xgboost/bad-duplicate.json")
def _(): return json.dumps(xgboost(pack=list)).encode().replace(b'"version"', b'"learner": {}, "version"')


# --- LightGBM and CatBoost ------------------------------------------------------------------------------------------
def lightgbm(left="1 -1", right="-2 -3", features="0 1", leaves=3, values="0.1 0.2 0.3", tail="\npandas_categorical:null\n"):
    return (f"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=1\nobjective=regression\nfeature_names=a b\n"
            f"feature_infos=[0:1] [0:1]\ntree_sizes=200\n\nTree=0\nnum_leaves={leaves}\nnum_cat=0\nsplit_feature={features}\nthreshold=0.5 0.5\n"
            f"decision_type=2 2\nleft_child={left}\nright_child={right}\nleaf_value={values}\nshrinkage=1\n\n\nend of trees\n\nfeature_importances:\na=1\n\n"
            f"parameters:\n[boosting: gbdt]\nend of parameters\n{tail}").encode()


LIGHTGBM = {
    "good-model": lightgbm(), "bad-child": lightgbm(left="1 -90"), "bad-circle": lightgbm(left="0 -1"), "bad-feature": lightgbm(features="0 77"),
    "bad-list": lightgbm(left="1 -1 -1 -1"), "bad-leaves": lightgbm(leaves=2_000_000_000), "bad-number": lightgbm(left="1 x"), "bad-values": lightgbm(values="0.1"),
    "bad-trailing": lightgbm() + PICKLE, "bad-trailing-old": lightgbm() + OLD_PICKLE, "bad-parameter": lightgbm(tail=f"\npandas_categorical:{base64.b64encode(PICKLE).decode()}\n__import__('os').system('true')\n"),
}
for _name, _raw in LIGHTGBM.items():
    case(f"lightgbm/{_name}.txt")(lambda r=_raw: r)


def catboost(notes=(("params", "{}"),), claimed=None, tail=b""):
    """FlatBuffers by hand: the root table, its vtable in front, then the map of notes."""
    out = bytearray(struct.pack("<I", 20) + b"\0\0" + struct.pack("<HHHHH", 12, 16, 4, 8, 12) + b"\0\0\0\0")
    out[4:18] = struct.pack("<HHHHHHH", 0, 12, 16, 4, 8, 12, 0)
    table = 20
    out += struct.pack("<iIII", table - 6, 0, 0, 0)
    def point(at, target): struct.pack_into("<I", out, at, target - at)
    def string(raw):
        out.extend(b"\0" * (-len(out) % 4)); at = len(out); out.extend(struct.pack("<I", len(raw)) + raw + b"\0"); return at
    point(table + 4, string(b"FlabuffersModel_v1"))
    point(table + 8, string(b"trees stand here"))
    out.extend(b"\0" * (-len(out) % 4)); vector = len(out); out += struct.pack("<I", len(notes)) + b"\0" * (4 * len(notes)); point(table + 12, vector)
    for index, (name, text) in enumerate(notes):
        out.extend(b"\0" * (-len(out) % 4)); vtable = len(out); out += struct.pack("<HHHH", 8, 12, 4, 8); entry = len(out)
        out += struct.pack("<iII", entry - vtable, 0, 0); point(vector + 4 + 4 * index, entry)
        point(entry + 4, string(name.encode())); point(entry + 8, string(text if isinstance(text, bytes) else text.encode()))
    return b"CBM1" + struct.pack("<I", len(out) if claimed is None else claimed) + bytes(out) + tail


CATBOOST = {
    "good-model": catboost(), "bad-claim": catboost(claimed=2**32 - 1), "bad-trailing": catboost(tail=PICKLE), "bad-trailing-elf": catboost(tail=ELF),
    "bad-note": catboost([("class", base64.b64encode(PICKLE))]), "bad-note-pickle": catboost([("class", PICKLE)]), "bad-root": b"CBM1" + struct.pack("<II", 8, 0xFFFFFF00) + b"\0\0\0\0",
    "bad-note-code": catboost([("after", "__import__('os').system('true')")]),
}
for _name, _raw in CATBOOST.items():
    case(f"catboost/{_name}.cbm")(lambda r=_raw: r)


# --- NumPy ----------------------------------------------------------------------------------------------------------
def npy(header, data=b""):
    raw = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(raw)) + raw + data


@case("numpy/bad-shape.npy")
def _(): return npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }")
@case("numpy/bad-shape-large.npy")
def _(): return npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846, 4), }", PICKLE)
@case("numpy/bad-trailing.npy")
def _(): return npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", b"\0" * 16 + PICKLE)


# --- what the libraries themselves write ------------------------------------------------------------------------------
def libraries():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    made, scratch = {}, pathlib.Path(os.environ.get("TMPDIR", "/tmp"))
    def keep(name, save):
        path = scratch / ("sample-" + pathlib.Path(name).name)
        save(str(path))
        made[name] = path.read_bytes()
        path.unlink()
    numpy = np()
    x = numpy.random.default_rng(0).normal(size=(60, 3))
    y = (x[:, 0] > 0).astype(int)
    def trees():
        import xgboost
        booster = xgboost.train({"max_depth": 2, "objective": "binary:logistic"}, xgboost.DMatrix(x, y), 3)
        keep("xgboost/good-library.ubj", booster.save_model); keep("xgboost/good-library.json", booster.save_model)
    def light():
        import lightgbm
        keep("lightgbm/good-library.txt", lightgbm.train({"num_leaves": 4, "objective": "binary", "verbose": -1, "min_data_in_leaf": 5}, lightgbm.Dataset(x, y), 3).save_model)
    def cat():
        import catboost
        words = [[f"v{int(abs(a) * 9) % 20}", float(b)] for a, b in x[:, :2]]
        keep("catboost/good-library.cbm", catboost.CatBoostRegressor(iterations=3, depth=2, verbose=0, allow_writing_files=False).fit(x, x[:, 0]).save_model)
        keep("catboost/good-counters.cbm", catboost.CatBoostClassifier(iterations=4, depth=2, cat_features=[0], verbose=0, allow_writing_files=False, one_hot_max_size=2).fit(words, y).save_model)
    def llama():
        import gguf
        for order in gguf.GGUFEndian:
            def save(path):
                w = gguf.GGUFWriter(path, "llama", endianess=order)
                w.add_name("tiny"); w.add_description("call model.eval() first"); w.add_url("https://example.org/tiny"); w.add_token_list([f"t{i}" for i in range(9)]); w.add_chat_template(PLAIN_TEMPLATE)
                w.add_tensor("a", x.astype(numpy.float32)); w.add_tensor("b", numpy.arange(5, dtype=numpy.int8))
                w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
            keep(f"gguf/good-library-{order.name.lower()}.gguf", save)
    def flax():
        import msgpack
        nd = lambda a: msgpack.ExtType(1, msgpack.packb((a.shape, a.dtype.name, a.tobytes())))
        made["msgpack/good-library.msgpack"] = msgpack.packb({"params": {"Dense_0": {"kernel": nd(x[:3].astype("f4")), "bias": nd(x[0].astype("f4"))}}, "step": nd(numpy.array(3))})
    def models():
        import keras
        from keras import layers
        model = keras.Sequential([layers.Input((4,)), layers.Dense(2, activation="relu", kernel_regularizer="l2"), layers.Dropout(0.1)])
        model.compile("sgd", "mse")
        keep("keras/good-library.keras", model.save); keep("hdf5/good-library.h5", model.save); keep("hdf5/good-library.weights.h5", model.save_weights)
        a = layers.Input((6,), dtype="int32")
        b = layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 4)(layers.Embedding(9, 8)(a), layers.Embedding(9, 8)(a)))
        made["keras/good-functional.json"] = keras.Model(a, keras.ops.tanh(b) + b).to_json().encode()
    for make in (trees, light, cat, llama, flax, models):
        try: make()
        except ImportError as missing: print(f"left out: {missing}", file=sys.stderr)
    return made


def main():
    made = {name: make() for name, make in CASES.items()}
    made.update(libraries())
    for name, data in sorted(made.items()):
        if len(data) > LONGEST:
            print(f"{name}: {len(data)} bytes, left out", file=sys.stderr)
            continue
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    print(f"{len(made)} samples, {sum(map(len, made.values()))} bytes")


if __name__ == "__main__":
    main()

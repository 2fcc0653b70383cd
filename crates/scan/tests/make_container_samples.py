#!/usr/bin/env python3
"""Makes the samples of containers beside this script: `samples/{wrapper,inert,tar,sevenz,zip,torch,weights}/{bad,good}-*`.

Usage: python3 make_container_samples.py     # needs numpy, joblib, lz4, zstandard, py7zr; leaves out what is not there
`bad-*` carries or hides a payload (it only runs `true`) and must be flagged; `good-*` must be clean; `odd-*` is neither.
Everything is made from fixed seeds, so that a second run writes the same bytes where the libraries write the same.
"""
import base64, bz2, gzip, io, json, lzma, os, pathlib, pickle, random, struct, tarfile, tempfile, zipfile, zlib

HERE = pathlib.Path(__file__).parent / "samples"
CASES = {}


def case(name):
    def add(make):
        CASES[name] = make
        return make
    return add


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


EVIL = pickle.dumps(Evil(), 4)
EVIL2 = pickle.dumps(Evil(), 2)
EVIL0 = pickle.dumps(Evil(), 0)
GOOD = pickle.dumps({"weights": [0.5] * 40, "name": "model"}, 4)
RANDOM = random.Random(3)


def noise(count):
    return RANDOM.randbytes(count)


def elf():
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0x1000, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return head + noise(200)


def pe():
    head = b"MZ" + bytes(58) + struct.pack("<I", 128) + bytes(64)
    return head + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 3, 0, 0, 0, 240, 0x22) + struct.pack("<H", 0x20b) + noise(200)


# --- wrappers ---------------------------------------------------------------------------------------------------------
PACKERS = {"gz": lambda b: gzip.compress(b, mtime=0), "bz2": bz2.compress, "xz": lzma.compress, "zlib": zlib.compress,
           "lzma": lambda b: lzma.compress(b, format=lzma.FORMAT_ALONE)}
try:
    import lz4.frame
    PACKERS["lz4"] = lz4.frame.compress
except ImportError:
    pass
try:
    import zstandard
    PACKERS["zst"] = lambda b: zstandard.ZstdCompressor(write_checksum=True).compress(b)
except ImportError:
    pass
for _name, _pack in PACKERS.items():
    case(f"wrapper/bad-{_name}.pkl.{_name}")(lambda p=_pack: p(EVIL))
    case(f"wrapper/good-{_name}.pkl.{_name}")(lambda p=_pack: p(GOOD))
    if _name != "zlib":
        case(f"wrapper/bad-second-member.{_name}")(lambda p=_pack: p(GOOD) + p(EVIL))
        case(f"wrapper/good-two-members.{_name}")(lambda p=_pack: p(b"weights of a model, part one\n") + p(b"and part two\n"))
    case(f"wrapper/bad-behind.{_name}")(lambda p=_pack: p(GOOD) + EVIL)
for _outer in ("gz", "bz2", "xz", "zlib"):
    for _inner in ("gz", "bz2", "xz", "zlib"):
        case(f"wrapper/bad-{_outer}-of-{_inner}.bin")(lambda o=_outer, i=_inner: PACKERS[o](PACKERS[i](EVIL)))


@case("wrapper/bad-zlib-small-window.bin")
def _():
    packer = zlib.compressobj(9, zlib.DEFLATED, 10)
    return packer.compress(EVIL + noise(400)) + packer.flush()
@case("wrapper/bad-raw-deflate.bin")
def _():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(EVIL) + packer.flush()
@case("wrapper/bad-joblib-zfile.pkl")
def _(): return b"ZF" + hex(len(EVIL)).ljust(19).encode() + zlib.compress(EVIL)
@case("wrapper/bad-joblib-zfile-python2.pkl")
def _(): return b"ZF" + hex(len(EVIL)).ljust(20).encode() + zlib.compress(EVIL)
@case("wrapper/good-joblib-zfile-array.npy.z")
def _(): return b"ZF" + hex(800).ljust(19).encode() + zlib.compress(struct.pack("<100d", *(i * 0.37 for i in range(100))))
@case("wrapper/bad-zstd-skippable.zst")
def _(): return struct.pack("<II", 0x184D2A50, len(EVIL)) + EVIL + PACKERS["zst"](GOOD)
@case("wrapper/bad-tar-in-xz-in-gz.bin")
def _(): return PACKERS["gz"](PACKERS["xz"](tar_of([("model/data.pkl", EVIL)])))
@case("wrapper/bad-bomb.gz")
def _():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(80)) + packer.flush()
@case("wrapper/good-text.xz")
def _(): return lzma.compress(b"alpha 1\nbeta 2\n" * 50)


def with_joblib():
    import joblib, numpy
    value = {"w": numpy.arange(40.0).reshape(5, 8), "name": "model"}
    for method in ("zlib", "gzip", "bz2", "xz", "lzma", "lz4"):
        @case(f"wrapper/good-joblib-{method}.joblib")
        def _(method=method):
            out = io.BytesIO()
            joblib.dump(value, out, compress=(method, 3))
            return out.getvalue()
        @case(f"wrapper/bad-joblib-{method}.joblib")
        def _(method=method):
            out = io.BytesIO()
            joblib.dump({"w": value["w"], "x": Evil()}, out, compress=(method, 3))
            return out.getvalue()


# --- tar --------------------------------------------------------------------------------------------------------------
def member(name, size=0, kind=tarfile.REGTYPE, link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode, info.mtime = size, kind, link, mode, 0
    return info


def tar_of(entries, format=tarfile.PAX_FORMAT):
    """Entries: (name, bytes) or a TarInfo, or (TarInfo, bytes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                name, content = entry
                info = member(name, len(content)) if isinstance(name, str) else name
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def resum(block):
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def magicless(archive):
    """Old v7 headers: no magic, no prefix."""
    out, at = b"", 0
    while at < len(archive):
        block = archive[at:at + 512]
        if not any(block):
            return out + archive[at:]
        size = int(block[124:135].rstrip(b"\0 ") or b"0", 8)
        out += resum(block[:257] + bytes(255))
        body = (size + 511) // 512 * 512
        out += archive[at + 512:at + 512 + body]
        at += 512 + body
    return out


CONFIG = b"name: tiny\nmodel:\n  hidden: 16\n  layers: 2\n"
USTAR = tarfile.USTAR_FORMAT
case("tar/bad-pickle.tar")(lambda: tar_of([("model/weights.pkl", EVIL)]))
case("tar/bad-odd-extension.tar")(lambda: tar_of([("readme.txt", b"a model\n"), ("config.p", EVIL2), ("x", EVIL0)]))
case("tar/bad-magicless.tar")(lambda: magicless(tar_of([("pickle", EVIL2)], USTAR)))
case("tar/bad-long-name.tar")(lambda: tar_of([("d/" * 70 + "x.pkl", EVIL)], tarfile.GNU_FORMAT))
case("tar/bad-pax-name.tar")(lambda: tar_of([("d/" * 170 + "x.pkl", EVIL)]))
case("tar/bad-gz.tar.gz")(lambda: gzip.compress(tar_of([("model/data.pkl", EVIL)]), mtime=0))
case("tar/bad-bz2.tar.bz2")(lambda: bz2.compress(tar_of([("model/data.pkl", EVIL)])))
case("tar/bad-zip-inside.tar")(lambda: tar_of([("a.bin", zip_of({"data.pkl": EVIL}))]))
case("tar/bad-tar-inside.tar")(lambda: tar_of([("a.bin", tar_of([("b", EVIL)]))]))
case("tar/bad-concatenated.tar")(lambda: tar_of([("a.txt", b"harmless\n")]) + tar_of([("b.pkl", EVIL)]))
case("tar/bad-behind-end.tar")(lambda: tar_of([("a.txt", b"harmless\n")]) + EVIL)
case("tar/bad-slip.tar")(lambda: tar_of([("../../outside.txt", b"text\n")]))
case("tar/bad-absolute.tar")(lambda: tar_of([("/tmp/outside.txt", b"text\n")]))
case("tar/bad-symlink-out.tar")(lambda: tar_of([member("a", kind=tarfile.SYMTYPE, link="../../etc")]))
case("tar/bad-symlink-through.tar")(lambda: tar_of([member("a", kind=tarfile.SYMTYPE, link="b"), ("a/x.txt", b"text\n")]))
case("tar/bad-symlink-replaced.tar")(lambda: tar_of([member("a", kind=tarfile.SYMTYPE, link="b"), ("a", b"text\n")]))
case("tar/bad-hardlink-out.tar")(lambda: tar_of([member("a", kind=tarfile.LNKTYPE, link="/etc/passwd")]))
case("tar/bad-device.tar")(lambda: tar_of([member("a", kind=tarfile.CHRTYPE)]))
case("tar/bad-fifo.tar")(lambda: tar_of([member("a", kind=tarfile.FIFOTYPE)]))
case("tar/bad-setuid.tar")(lambda: tar_of([(member("a", 5, mode=0o4755), b"text\n")]))
case("tar/bad-duplicate.tar")(lambda: tar_of([("a.pkl", GOOD), ("./a.pkl", EVIL)]))
case("tar/bad-prepended-pickle.tar")(lambda: EVIL + tar_of([("a.txt", b"text\n")]))
case("tar/bad-size-on-link.tar")(lambda: size_on_link())
case("tar/bad-checksum.tar")(lambda: (lambda t: t[:148] + b"000001\0 " + t[156:])(tar_of([("a.pkl", EVIL)], USTAR)))
case("tar/bad-name-is-pickle.tar")(lambda: tar_of([("cos\nsystem\n(S'true'\ntR.", b"text\n")], USTAR))
case("tar/bad-name-is-framed-pickle.tar")(lambda: framed_name())
case("tar/bad-program.tar")(lambda: tar_of([("lib/op.so", elf())]))
case("tar/bad-padding.tar")(lambda: (lambda t: t[:700] + EVIL0 + t[700 + len(EVIL0):])(tar_of([("a.txt", b"text\n")], USTAR)))
case("tar/bad-nemo.nemo")(lambda: tar_of([("./model_config.yaml", CONFIG), ("./model_weights.ckpt", zip_of({"model/data.pkl": EVIL2, "model/version": b"3\n"}))]))
case("tar/bad-nemo.tgz")(lambda: gzip.compress(tar_of([("./model_config.yaml", CONFIG), ("./model_weights.ckpt", EVIL2)]), mtime=0))
case("tar/good-plain.tar")(lambda: tar_of([("model/config.json", b'{"hidden": 4}\n'), ("model/weights.pkl", GOOD)]))
case("tar/good-gnu.tar")(lambda: tar_of([member("d", kind=tarfile.DIRTYPE), ("d/" * 70 + "x.txt", b"text\n")], tarfile.GNU_FORMAT))
case("tar/good-magicless.tar")(lambda: magicless(tar_of([("a.txt", b"text\n"), ("b.txt", b"more\n")], USTAR)))
case("tar/good-links-inside.tar")(lambda: tar_of([("d/a.txt", b"text\n"), member("d/b.txt", kind=tarfile.SYMTYPE, link="a.txt"), member("c", kind=tarfile.LNKTYPE, link="d/a.txt")]))
case("tar/good-model.tar.gz")(lambda: gzip.compress(tar_of([("model.pkl", GOOD), ("labels.txt", b"cat\ndog\n")]), mtime=0))
case("tar/good-nemo.nemo")(lambda: tar_of([member("./", kind=tarfile.DIRTYPE), ("./model_config.yaml", CONFIG), ("./model_weights.ckpt", torch_zip())]))
case("tar/good-legacy-torch.tar")(lambda: legacy_torch(None))
case("tar/bad-legacy-torch.tar")(lambda: legacy_torch(EVIL2))
case("tar/bad-legacy-torch-storages.tar")(lambda: legacy_torch(None, EVIL2))


def size_on_link():
    inner = tar_of([("hidden.pkl", EVIL)], USTAR)[:1536]
    info = member("a", len(inner), tarfile.SYMTYPE, "b")
    head = resum(info.tobuf(USTAR))
    return head + inner + bytes(1024)


def framed_name():
    """A protocol-2 pickle in the name field; its end is the first NUL."""
    name = b"\x80\x02cposix\nsystem\nU\x04true\x85R."
    block = tar_of([("a", b"text\n")], USTAR)
    return resum(name.ljust(100, b"\0") + block[100:512]) + block[512:]


def legacy_torch(evil, hidden=b""):
    """torch 0.1.1: members `storages`, `tensors`, `pickle` (torch/serialization.py, legacy_load)."""
    floats = struct.pack("<8f", *range(8))
    storages = pickle.dumps(1, 2) + pickle.dumps(("1", "cpu", "x"), 2).replace(b"X\x01\x00\x00\x00xq", b"X\x01\x00\x00\x00xq")
    storages += struct.pack("<q", 8) + floats + hidden + pickle.dumps([], 2)
    tensors = pickle.dumps(1, 2) + pickle.dumps(("0", "1", "x"), 2) + struct.pack("<i", 1) + bytes(4) + struct.pack("<qqq", 8, 1, 0)
    return tar_of([("sys_info", pickle.dumps({"little_endian": True}, 2)), ("pickle", evil or pickle.dumps({"a": 1}, 2)),
                   ("tensors", tensors), ("storages", storages)], USTAR)


# --- zip --------------------------------------------------------------------------------------------------------------
def zip_of(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, method)
    return out.getvalue()


def torch_pickle(numel):
    """An OrderedDict of one float tensor, as torch writes it."""
    return (b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x06\x00\x00\x00weightq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03"
            b"((X\x07\x00\x00\x00storageq\x04ctorch\nFloatStorage\nq\x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07J"
            + struct.pack("<I", numel) + b"tq\x08QK\x00J" + struct.pack("<I", numel) + b"\x85q\tK\x01\x85q\n\x89h\x00)Rq\x0btq\x0cRq\rs.")


def floats(count, seed=5):
    source = random.Random(seed)
    return struct.pack(f"<{count}f", *(source.gauss(0, 0.02) for _ in range(count)))


def torch_zip(storage=None, folder="model", extra=None, method=zipfile.ZIP_STORED):
    storage = floats(4096) if storage is None else storage
    members = {f"{folder}/data.pkl": torch_pickle(len(storage) // 4), f"{folder}/byteorder": b"little", f"{folder}/data/0": storage,
               f"{folder}/version": b"3\n", f"{folder}/.data/serialization_id": b"0" * 40}
    return zip_of({**members, **(extra or {})}, method)


def patched(archive, edits):
    """Applies edits (signature, offset behind it, bytes) to every header."""
    archive = bytearray(archive)
    for signature, offset, value in edits:
        at = archive.find(signature)
        while at >= 0:
            archive[at + offset:at + offset + len(value)] = value
            at = archive.find(signature, at + 4)
    return bytes(archive)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
for _method, _number in (("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA), ("deflate", zipfile.ZIP_DEFLATED)):
    case(f"zip/bad-{_method}.zip")(lambda n=_number: zip_of({"a/data.pkl": EVIL, "b.txt": b"text\n"}, n))
    case(f"zip/good-{_method}.zip")(lambda n=_number: zip_of({"a/data.pkl": GOOD, "b.txt": b"text\n"}, n))
    # The flag of encryption over data that is plain: some loaders do not look at it.
    case(f"zip/bad-{_method}-flagged-encrypted.zip")(
        lambda n=_number: patched(zip_of({"data.pkl": EVIL}, n), [(LOCAL, 6, b"\x01"), (CENTRAL, 8, b"\x01")]))


def zip_93(content):
    packed = PACKERS["zst"](content)
    fields = struct.pack("<HHHHHIIIHH", 63, 0, 93, 0, 0x21, zlib.crc32(content), len(packed), len(content), 8, 0)
    head = LOCAL + fields + b"data.pkl" + packed
    entry = CENTRAL + struct.pack("<H", 63) + fields + bytes(10) + bytes(4) + b"data.pkl"
    return head + entry + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(head), 0)


case("zip/bad-zstd.zip")(lambda: zip_93(EVIL))
case("zip/good-zstd.zip")(lambda: zip_93(GOOD))
case("zip/bad-stored-flagged-encrypted.zip")(lambda: patched(zip_of({"data.pkl": EVIL}), [(LOCAL, 6, b"\x01"), (CENTRAL, 8, b"\x01")]))
case("zip/bad-deflated-says-unknown-method.zip")(
    lambda: patched(zip_of({"data.pkl": EVIL}, zipfile.ZIP_DEFLATED), [(LOCAL, 8, b"\x62\0"), (CENTRAL, 10, b"\x62\0")]))
case("zip/bad-stored-says-unknown-method.zip")(lambda: patched(zip_of({"data.pkl": EVIL}), [(LOCAL, 8, b"\x09\0"), (CENTRAL, 10, b"\x09\0")]))
case("zip/bad-stored-says-deflated.zip")(lambda: patched(zip_of({"data.pkl": EVIL}), [(LOCAL, 8, b"\x08\0"), (CENTRAL, 10, b"\x08\0")]))
case("zip/bad-stored-says-lzma.zip")(lambda: patched(zip_of({"data.pkl": EVIL}), [(LOCAL, 8, b"\x0e\0"), (CENTRAL, 10, b"\x0e\0")]))
case("zip/bad-upper-case.pt")(lambda: torch_zip(extra={"model/DATA.PKL": EVIL2}))
case("zip/bad-second-folder.pt")(lambda: torch_zip(extra={"other/data.pkl": EVIL2}))
case("zip/bad-no-folder.pt")(lambda: zip_of({"data.pkl": EVIL2, "version": b"3\n"}))
case("zip/bad-dot-folder.pt")(lambda: torch_zip(extra={"model/.data/x.bin": EVIL2}))
case("zip/bad-three-deep.zip")(lambda: zip_of({"a": zip_of({"b": zip_of({"c": EVIL})})}))
case("zip/bad-in-gz.bin")(lambda: gzip.compress(torch_zip(extra={"model/x": EVIL0}), mtime=0))
case("zip/bad-polyglot-png.png")(lambda: png() + zip_of({"data.pkl": EVIL}))
case("zip/bad-polyglot-gif.gif")(lambda: b"GIF89a\x01\0\x01\0\0\0\0;" + zip_of({"data.pkl": EVIL}))
case("zip/bad-polyglot-bmp.bmp")(lambda: b"BM" + struct.pack("<IIIIiiHH", 58, 0, 54, 40, 1, 1, 1, 24) + bytes(28) + zip_of({"data.pkl": EVIL}))
case("zip/bad-prepended.pt")(lambda: EVIL2 + torch_zip())
case("zip/bad-appended.pt")(lambda: torch_zip() + EVIL2)
case("zip/bad-storage-is-pickle.pt")(lambda: torch_zip(EVIL2 + bytes(-len(EVIL2) % 4)))
case("zip/good-torch.pt")(lambda: torch_zip())
case("zip/good-torch-deflated.pt")(lambda: torch_zip(method=zipfile.ZIP_DEFLATED))


def png():
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


# --- torch ------------------------------------------------------------------------------------------------------------
def script(code):
    return zip_of({"m/data.pkl": b"\x80\x02c__torch__\nNet\n)\x81}X\x08\0\0\0trainingI00\nsb.", "m/code/__torch__.py": code,
                   "m/code/__torch__.py.debug_pkl": pickle.dumps((), 2), "m/constants.pkl": b"\x80\x02).", "m/version": b"3\n"})


HEAD = b"class Net(Module):\n  __parameters__ = []\n  __buffers__ = []\n  training : bool\n  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n"
case("torch/good-script.pt")(lambda: script(HEAD + b"    # torch.save is not called\n    return torch.add(x, x)\n"))
case("torch/good-script-own-name.pt")(lambda: script(HEAD + b"    return (self).load_from_file(x)\n"))
case("torch/good-script-vision.pt")(lambda: script(HEAD + b"    return ops.torchvision.nms(x, x, 0.5)\n"))
case("torch/bad-script-from-file.pt")(lambda: script(HEAD + b"    return torch.from_file(\"/etc/passwd\", False, 10, dtype=0)\n"))
case("torch/bad-script-save.pt")(lambda: script(HEAD + b"    _0 = torch.save(x, \"/tmp/x\")\n    return x\n"))
case("torch/bad-script-ops.pt")(lambda: script(HEAD + b"    return ops.aten.from_file(\"/etc/passwd\", False, 10)\n"))
case("torch/bad-script-python.pt")(lambda: script(HEAD + b"    return ^Evil()(x)\n"))
case("torch/bad-package.pt")(lambda: zip_of({"p/.data/extern_modules": b"os\n", "p/.data/version": b"6\n", "p/.data/python_version": b"3.11\n",
                                             "p/net.py": b"import os\nos.system('true')\n", "p/model/model.pkl": pickle.dumps({"a": 1}, 3)}))
case("torch/bad-export-library.pt2")(lambda: zip_of({"m/archive_format": b"pt2", "m/archive_version": b"0", "m/models/model.json": b"{}",
                                                     "m/data/aotinductor/model/x.wrapper.so": elf()}))
case("torch/bad-export-nested.pt2")(lambda: zip_of({"m/archive_format": b"pt2", "m/models/model.json": b"{}", "m/data/weights/model.pt": torch_zip(extra={"model/x": EVIL2})}))
case("torch/bad-export-weights.pt2")(lambda: zip_of({"m/archive_format": b"pt2", "m/models/model.json": b"{}", "m/data/weights/weight_0": floats(64) + EVIL + floats(64)}))
case("torch/good-export.pt2")(lambda: zip_of({"m/archive_format": b"pt2", "m/archive_version": b"0", "m/byteorder": b"little", "m/models/model.json": b'{"graph_module": {}}',
                                              "m/data/weights/weight_0": floats(512), "m/data/weights/model_weights_config.json": b'{"config": {}}'}))
case("torch/bad-served.mar")(lambda: zip_of({"MAR-INF/MANIFEST.json": json.dumps({"model": {"modelName": "m", "handler": "handler.py"}}).encode(),
                                             "handler.py": b"import os\ndef handle(data, context):\n    return os.popen('true').read()\n"}))
case("torch/good-served.mar")(lambda: zip_of({"MAR-INF/MANIFEST.json": json.dumps({"model": {"modelName": "m", "handler": "image_classifier", "serializedFile": "m.pt"}}).encode(),
                                              "m.pt": torch_zip()}))


# --- payloads among weights -------------------------------------------------------------------------------------------
PAYLOADS = {"elf": elf, "pe": pe, "macho": lambda: struct.pack("<IIIIIII", 0xfeedfacf, 0x01000007, 3, 6, 10, 800, 0) + noise(200),
            "zip": lambda: zip_of({"x.py": b"print(1)\n"}), "tar": lambda: tar_of([("x", b"text\n")], USTAR), "pickle4": lambda: EVIL, "pickle2": lambda: EVIL2,
            "pickle0": lambda: EVIL0, "script": lambda: b"#!/bin/sh\ntrue\n", "base64": lambda: base64.b64encode(EVIL * 1), "base64elf": lambda: base64.b64encode(elf()),
            "hex": lambda: EVIL.hex().encode(), "gz": lambda: gzip.compress(elf(), mtime=0), "command": lambda: b"__import__('os').system('/bin/sh -c true')",
            "7z": lambda: b"7z\xbc\xaf\x27\x1c\0\x04" + noise(60)}


def planted(payload, count=5_000, seed=9):
    """Floats with a payload in the middle, at an odd place."""
    numbers = floats(count, seed)
    at = len(numbers) // 2 + 3
    return (numbers[:at] + payload + numbers[at + len(payload):])[:len(numbers)]


def safetensors(data):
    header = json.dumps({"w": {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [0, len(data)]}}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def npy(data):
    header = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % (len(data) // 4)).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


for _name, _make in PAYLOADS.items():
    case(f"weights/bad-{_name}.pt")(lambda m=_make: torch_zip(planted(m())))
    case(f"weights/bad-{_name}.safetensors")(lambda m=_make: safetensors(planted(m(), 3_000)))
for _name in ("elf", "pickle4", "base64"):
    case(f"weights/bad-{_name}.npy")(lambda m=PAYLOADS[_name]: npy(planted(m(), 3_000)))
    case(f"weights/bad-{_name}-deflated.pt")(lambda m=PAYLOADS[_name]: torch_zip(planted(m()), method=zipfile.ZIP_DEFLATED))
def npy_texts(text):
    data = text.ljust(64, b"\0") * 40
    header = b"{'descr': '|S64', 'fortran_order': False, 'shape': (40,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


case("weights/good-texts.npy")(lambda: npy_texts(b"run #!/bin/sh or subprocess with /bin/bash, says the manual"))
case("weights/good-floats.safetensors")(lambda: safetensors(floats(8_000)))
case("weights/good-noise.npy")(lambda: npy(noise(64_000)))
case("weights/good-zeros.npy")(lambda: npy(bytes(64_000)))


# --- 7z ---------------------------------------------------------------------------------------------------------------
def with_py7zr():
    import py7zr
    FILTERS = {"lzma2": [{"id": py7zr.FILTER_LZMA2, "preset": 3}], "lzma": [{"id": py7zr.FILTER_LZMA}], "copy": [{"id": py7zr.FILTER_COPY}],
               "bzip2": [{"id": py7zr.FILTER_BZIP2}], "deflate": [{"id": py7zr.FILTER_DEFLATE}], "ppmd": [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 20}]}

    def pack(members, filters, password=None, header=False):
        out = io.BytesIO()
        with py7zr.SevenZipFile(out, "w", filters=filters, password=password, header_encryption=header) as archive:
            for name, content in members.items():
                archive.writestr(content, name)
        return out.getvalue()

    for name, filters in FILTERS.items():
        case(f"sevenz/bad-{name}.7z")(lambda f=filters: pack({"readme.txt": b"text\n", "m/data.bin": EVIL}, f))
        case(f"sevenz/good-{name}.7z")(lambda f=filters: pack({"readme.txt": b"text\n", "m/model.pkl": GOOD}, f))
    case("sevenz/bad-behind.7z")(lambda: pack({"readme.txt": b"text\n"}, FILTERS["lzma2"]) + EVIL)
    case("sevenz/bad-in-tar.tar")(lambda: tar_of([("a", pack({"b": EVIL}, FILTERS["lzma2"]))]))
    # Impossible properties of the first chunk: a decoder that is read again behind the error may never come back.
    case("sevenz/odd-bad-properties.7z")(lambda: (lambda a: a[:0x21] + b"\x7f" * 8 + a[0x29:])(pack({"a.txt": b"text\n" * 9, "b.txt": b"text\n"}, FILTERS["lzma2"])))
    AES = FILTERS["lzma2"] + [{"id": py7zr.FILTER_CRYPTO_AES256_SHA256}]
    case("sevenz/odd-encrypted.7z")(lambda: pack({"a.txt": b"text\n"}, AES, "secret"))
    case("sevenz/odd-encrypted-header.7z")(lambda: pack({"a.txt": b"text\n"}, AES, "secret", True))


# --- archives that are only recognised --------------------------------------------------------------------------------
case("wrapper/bad-rar-stored.rar")(lambda: b"Rar!\x1a\x07\x00" + noise(60) + EVIL2 + noise(40))
case("wrapper/bad-rar-elf.rar")(lambda: b"Rar!\x1a\x07\x01\x00" + noise(60) + elf() + noise(40))

# --- inert formats ----------------------------------------------------------------------------------------------------
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff)


def chunk(name, data): return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
def riff(kind, *chunks): return chunk(b"RIFF", kind + b"".join(chunks))
def wav(data): return riff(b"WAVE", chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)), chunk(b"data", data))
def record(data):
    size = struct.pack("<Q", len(data))
    return size + masked(size) + data + masked(data)
def tiff(data):
    fields = [(256, 4, 1, 10), (257, 4, 1, 10), (273, 4, 1, 8), (279, 4, 1, len(data))]
    at = 8 + len(data)
    return (b"II*\0" + struct.pack("<I", at) + data + struct.pack("<H", len(fields))
            + b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4))
def idx(data): return bytes([0, 0, 8, 1]) + struct.pack(">I", len(data)) + data
def framed(magic, body, lead=b""): return magic + lead + body + struct.pack("<I", 20) + magic
def sqlite(rows):
    import sqlite3
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "runs.db"
        base = sqlite3.connect(path)
        base.execute("create table runs (step integer, note blob)")
        base.executemany("insert into runs values (?, ?)", rows)
        base.commit()
        base.close()
        return path.read_bytes()
def pdf(*objects): return b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % (i, o) for i, o in enumerate(objects, 1)) + b"trailer\n<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n"
def matlab(*elements): return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(elements)
def matrix(data): return struct.pack("<II", 14, len(data)) + data
def packed(data):
    out = zlib.compress(matrix(data))
    return struct.pack("<II", 15, len(out)) + out
def ocdbt(body):
    head = bytes.fromhex("0cdb3a2a") + struct.pack("<Q", len(body) + 18) + bytes(2) + body
    return head + struct.pack("<I", crc32c(head))
def font(data):
    return b"\0\1\0\0" + struct.pack(">HHHH", 1, 16, 0, 0) + struct.pack(">4sIII", b"glyf", 0, 28, len(data)) + data
def icon(data): return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(data), 22) + data
def ogg(data): return b"OggS" + bytes(22) + bytes([1, len(data)]) + data
def mp4(data): return b"".join(struct.pack(">I4s", len(body) + 8, name) + body for name, body in ((b"ftyp", b"isom\0\0\2\0"), (b"mdat", data)))
def mp3(data):
    # Two frames of layer III, 32 kbit/s at 44,100 Hz: 104 bytes each.
    data = data.ljust(200, b"\0")
    return b"ID3\4\0\0\0\0\0\0" + b"".join(b"\xff\xfb\x10\0" + data[at:at + 100] for at in (0, 100))
def flac(data): return b"fLaC\x80\0\0\x22" + bytes(34) + b"\xff\xf8" + data
def nifti(data):
    dims = struct.pack("<8h", 1, len(data), 1, 1, 1, 1, 1, 1)
    head = struct.pack("<I", 348).ljust(40, b"\0") + dims
    head = head.ljust(70, b"\0") + struct.pack("<hh", 2, 8)
    return (head.ljust(108, b"\0") + struct.pack("<f", 352)).ljust(344, b"\0") + b"n+1\0" + bytes(4) + data
def fasttext(data):
    # One word of one number, and an output matrix that holds the data.
    words = struct.pack("<iiiqq", 1, 1, 0, 1, -1) + b"word\0" + struct.pack("<qb", 1, 0)
    matrix = lambda numbers: b"\0" + struct.pack("<qq", len(numbers) // 4, 1) + numbers
    return struct.pack("<ii", 793712314, 12) + bytes(56) + words + matrix(bytes(4)) + matrix(data)
def word2vec(data): return b"2 20\n" + b"".join(word + b" " + data[at:at + 80] + b"\n" for word, at in ((b"first", 0), (b"second", 80)))
def crfsuite(data): return b"lCRF" + struct.pack("<I", len(data) + 16) + b"FOMC" + struct.pack("<I", 100) + data


CATALOG = b"<</Type/Catalog/Pages 2 0 R%s>>"
INERT = {
    "wav": wav, "avi": lambda data: riff(b"AVI ", chunk(b"movi", data)), "tiff": tiff, "idx": idx, "tfrecord": record,
    "parquet": lambda data: framed(b"PAR1", data + noise(20)), "arrow": lambda data: framed(b"ARROW1", data + noise(20), b"\0\0"),
    "sqlite": lambda data: sqlite([(1, data)]), "mat": lambda data: matlab(matrix(data)), "packed.mat": lambda data: matlab(packed(data)),
    "ocdbt": ocdbt, "ttf": font, "ico": icon, "ogg": ogg,
    "pdf": lambda data: pdf(CATALOG % b"", b"<</Length %d>>\nstream\n%s\nendstream" % (len(data), data)),
}
def inert(_name, _make):
    case(f"inert/good-plain.{_name}")(lambda m=_make: m(noise(160)))
    case(f"inert/bad-pickle-inside.{_name}")(lambda m=_make: m(EVIL + noise(160 - len(EVIL))))
    case(f"inert/bad-program-inside.{_name}")(lambda m=_make: m((noise(16) + elf())[:160]))
    case(f"inert/bad-pickle-behind.{_name}")(lambda m=_make: m(noise(160)) + EVIL)
    case(f"inert/bad-zip-behind.{_name}")(lambda m=_make: m(noise(160)) + zip_of({"data.pkl": EVIL}))
for _name, _make in INERT.items():
    inert(_name, _make)
# Words that spell names of modules in a row of lines, as in a vocabulary.
@case("inert/good-words.nii")
def _(): return nifti(b"\nbus\ncio\ncips\ncos\nculture\n".ljust(160, b"\0"))
# Bytes below 512 that add up to a blank checksum of tar.
@case("inert/good-sum.png")
def _():
    import zlib
    part = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    signed = lambda data: sum(byte - 256 if byte > 127 else byte for byte in data)
    start = head + struct.pack(">I4s", 600, b"teSt")
    data = bytes(300) + b"\x80" * ((256 + signed(start)) // 128) + bytes([256 - (256 + signed(start)) % 128])
    return head + part(b"teSt", data.ljust(600, b"\0")) + part(b"IDAT", zlib.compress(bytes(2))) + part(b"IEND", b"")
@case("hdf5/good-line-breaks.h5")
def _(): return (HERE / "hdf5/good-numbers.h5").read_bytes() + b"\n" * 6
@case("inert/good-open.pdf")
def _(): return pdf(CATALOG % b"/OpenAction[3 0 R/Fit]", b"<</Type/Pages/Kids[]/Count 0>>")
@case("inert/bad-script.pdf")
def _(): return pdf(CATALOG % b"/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>", b"<</Type/Pages/Kids[]/Count 0>>")
@case("inert/bad-escaped.pdf")
def _(): return pdf(CATALOG % b"/OpenAction<</S/L#61unch/F(true)>>", b"<</Type/Pages/Kids[]/Count 0>>")
@case("inert/bad-object-stream.pdf")
def _():
    data = zlib.compress(b"3 0 <</S/JavaScript/JS(1)>>")
    return pdf(CATALOG % b"", b"<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream" % (len(data), data))
@case("inert/bad-pickled-type.arrow")
def _(): return framed(b"ARROW1", b"arrow.py_extension_type" + noise(60), b"\0\0")
@case("zip/bad-many.zip")
def _():
    out, zeros = io.BytesIO(), bytes(8 << 20)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(33):
            archive.writestr(zipfile.ZipInfo(f"{number}.bin"), zeros, zipfile.ZIP_DEFLATED)
    return out.getvalue()
@case("zip/bad-deep.zip")
def _():
    data = b"nothing here\n"
    for level in range(8):
        data = zip_of({f"{level}.zip": data})
    return data
@case("zip/bad-overlap.zip")
def _():
    """Six levels of forty members that are the same bytes: four thousand million looks at thirteen kilobytes."""
    content = b"hello"
    for _level in range(6):
        sums = struct.pack("<III", zlib.crc32(content), len(content), len(content))
        local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 0, 0, 0) + sums + struct.pack("<HH", 5, 0) + b"m.zip" + content
        entry = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 0, 0, 0) + sums + struct.pack("<HHHHHII", 9, 0, 0, 0, 0, 0, 0)
        listed = b"".join(entry + b"m%04d.zip" % number for number in range(40))
        end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 40, 40, len(listed), len(local), 0)
        content = local + listed + end
    return content
@case("zip/bad-comment.zip")
def _():
    data = zip_of({"notes.txt": b"nothing here\n"})
    return data[:-2] + struct.pack("<H", len(EVIL)) + EVIL
@case("zip/good-comment.zip")
def _():
    data = zip_of({"notes.txt": b"nothing here\n"})
    return data[:-2] + struct.pack("<H", 17) + b"made for a model\n"

# Last, as what noise gives depends on what was made before.
for _name, _make in {"mp4": mp4, "mp3": mp3, "flac": flac, "nii": nifti, "fasttext": fasttext, "word2vec": word2vec, "crfsuite": crfsuite}.items():
    inert(_name, _make)


for _add in (with_joblib, with_py7zr):
    try:
        _add()
    except ImportError as error:
        print(f"left out: {error}")

for name, make in CASES.items():
    try:
        content = make()
    except KeyError as error:
        print(f"left out {name}: {error}")
        continue
    path = HERE / name
    # Some libraries write random bytes; what is there stays.
    if path.exists() and name.startswith("sevenz/"):
        continue
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
print(len(CASES), "samples")

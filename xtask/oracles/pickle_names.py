"""Says which globals CPython's own unpicklers resolve in a stream; `cargo xtask fuzz-pickle` asks it.

Nothing is imported for a stream and nothing of it runs: `find_class` only writes down what it is asked for and hands out
an inert class that takes every argument and every change. A few pure functions of the language are real, so that names
which are computed by them are resolved too; the extension registry is real as well and is emptied after each stream.

Asked by batches on standard input: a count, then for each stream its length and its bytes (numbers are 4 bytes, little
endian). Answers with one record a stream: for each of three readers how many pickles ended with STOP and where the last of
them ended, then the number of names, then for each name a bit set of the readers that resolved it, the lengths of module
and attribute, and both as UTF-8.

The readers: the C unpickler on a file that can be peeked into, the C unpickler on one that cannot, the Python unpickler.
"""
import _pickle
import codecs
import copyreg
import io
import operator
import pickle
import resource
import struct
import sys
import warnings

PICKLES_MAX = 4


class Meta(type):
    """Classes that can be changed like anything else."""
    def __setitem__(cls, key, value): pass
    def append(cls, item): pass
    def extend(cls, items): pass
    def add(cls, item): pass


class Inert(metaclass=Meta):
    def __new__(cls, *args, **kwargs): return object.__new__(cls)
    def __init__(self, *args, **kwargs): pass
    def __call__(self, *args, **kwargs): return self
    def __setstate__(self, state): pass
    def __setitem__(self, key, value): pass
    def append(self, item): pass
    def extend(self, items): pass
    def add(self, item): pass


class Stateless(metaclass=Meta):
    """Without `__setstate__`, so that BUILD goes its own way."""
    def __new__(cls, *args, **kwargs): return object.__new__(cls)
    def __init__(self, *args, **kwargs): pass


def bounded(function):
    def call(*args):
        if sum(len(arg) if isinstance(arg, (str, bytes, list, tuple)) else 1 for arg in args) > 10_000:
            raise ValueError("too long")
        return function(*args)
    return call


def encode(text, codec="utf-8"):
    if codec not in ("latin1", "latin-1", "utf-8", "ascii", "rot13", "rot_13"):
        raise LookupError(codec)
    return codecs.encode(text, codec)


def text(*args):
    if len(args) == 1 and type(args[0]) not in (str, int):
        raise TypeError
    return str(*args)


def chr_of(number):
    return chr(number)


REAL = {
    ("copyreg", "add_extension"): copyreg.add_extension,
    ("_codecs", "encode"): bounded(encode),
    ("builtins", "str"): bounded(text),
    ("builtins", "chr"): bounded(chr_of),
    ("operator", "add"): bounded(operator.add),
    ("operator", "concat"): bounded(operator.concat),
    ("a", "b"): Stateless,
}

seen = {}
bit = 1


def resolve(module, name):
    key = (module, name)
    seen[key] = seen.get(key, 0) | bit
    return REAL.get(key, Inert)


class CUnpickler(_pickle.Unpickler):
    def find_class(self, module, name): return resolve(module, name)
    def persistent_load(self, pid): return Inert


class PythonUnpickler(pickle._Unpickler):
    def find_class(self, module, name): return resolve(module, name)
    def persistent_load(self, pid): return Inert


def peekable(stream): return io.BufferedReader(io.BytesIO(stream))


READERS = ((CUnpickler, peekable), (CUnpickler, io.BytesIO), (PythonUnpickler, io.BytesIO))


def utf8(text):
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()


def answer(stream, out):
    global bit
    seen.clear()
    for number, (unpickler, opened) in enumerate(READERS):
        bit = 1 << number
        file, count, stop = opened(stream), 0, 0
        try:
            while count < PICKLES_MAX and stop < len(stream):
                unpickler(file).load()
                count += 1
                stop = file.tell()
        except KeyboardInterrupt:
            raise
        except BaseException:
            pass
        if copyreg._inverted_registry:
            copyreg._inverted_registry.clear()
            copyreg._extension_registry.clear()
            copyreg._extension_cache.clear()
        out.append(struct.pack("<BI", count, stop))
    out.append(struct.pack("<H", len(seen)))
    for (module, name), mask in seen.items():
        first, second = utf8(module), utf8(name)
        out.append(struct.pack("<BII", mask, len(first), len(second)))
        out.append(first + second)


def main():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(2_000)
    inward, outward = sys.stdin.buffer, sys.stdout.buffer
    while head := inward.read(4):
        out = []
        for _ in range(struct.unpack("<I", head)[0]):
            answer(inward.read(struct.unpack("<I", inward.read(4))[0]), out)
        outward.write(b"".join(out))
        outward.flush()


main()

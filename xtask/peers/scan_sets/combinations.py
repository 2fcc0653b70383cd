"""Encodings, calls, ends and carriers drawn independently of each other: what no list of known samples contains."""

from __future__ import annotations

import random

from . import assembler, torch_layout
from .assembler import CALLS, ENDS, GLOBALS, STARTS
from .wrappers import STREAM_CARRIERS, WRAPPERS
from .writer import Writer

STREAMS = 110
CARRIED = 90
# Each takes one text and runs it, so that it fits every way of calling.
PAYLOADS = [
    ("os", "system", "true"),
    ("posix", "system", "true"),
    ("subprocess", "getoutput", "true"),
    ("builtins", "eval", "__import__('os').system('true')"),
    ("builtins", "exec", "import os; os.system('true')"),
    ("os", "popen", "true"),
    ("subprocess", "Popen", "true"),
    ("timeit", "timeit", "pass"),
    ("pkgutil", "resolve_name", "os:system"),
    ("torch.utils.collect_env", "run", "true"),
    ("numpy.testing._private.utils", "runstring", "pass"),
    ("commands", "getoutput", "true"),
    ("pydoc", "locate", "os.system"),
    ("cProfile", "run", "import os; os.system('true')"),
    ("somewhere.unknown", "Loader", "x"),
    ("webbrowser", "open", "x"),
]


def cases(add: Writer) -> None:
    """`STREAMS` bare streams, then `CARRIED` ones inside carriers, some of them two deep."""
    dice = random.Random(20)
    seen: set[tuple[str, ...]] = set()
    while len(seen) < STREAMS:
        choice, data = _stream(dice)
        if choice in seen:
            continue
        seen.add(choice)
        add("opcode", "mixed/" + "-".join(choice) + ".pkl", data)
    count = 0
    while count < CARRIED:
        choice, data = _stream(dice)
        names = [dice.choice(list(WRAPPERS)) for _ in range(dice.choice([1, 1, 2]))]
        if any(name in STREAM_CARRIERS for name in names[1:]):
            continue
        try:
            for name in names:
                data = WRAPPERS[name][1](data)
        except ImportError:
            continue
        label = "-in-".join(["_".join(choice), *names])
        add("archive", f"mixed/{count:02}-{label[-90:]}.{WRAPPERS[names[-1]][0]}", data)
        count += 1
    for index, (name, (extension, wrap)) in enumerate(WRAPPERS.items()):
        add("archive", f"plain/{name}.{extension}", wrap(assembler.EVIL))
        if name not in STREAM_CARRIERS:
            add("archive", f"torch/{name}.{extension}", wrap(torch_layout.EVIL_ZIP))
        if index % 2:
            add("archive", f"old/{name}.{extension}", wrap(assembler.EVIL_TEXT))


def _stream(dice: random.Random) -> tuple[tuple[str, ...], bytes]:
    """A stream and the names of what it was made of."""
    module, name, argument = dice.choice(PAYLOADS)
    named, how = dice.choice(list(GLOBALS)), dice.choice(list(CALLS))
    end, start = dice.choice(list(ENDS)), dice.choice(list(STARTS))
    code = CALLS[how](GLOBALS[named](module, name), [assembler.literal(argument)])
    return (f"{module}.{name}", named, how, end, start), STARTS[start](ENDS[end](code))

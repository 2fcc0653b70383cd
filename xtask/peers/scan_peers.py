"""Asks other scanners about the files under `DIR/malicious` and `DIR/benign`.

Usage: `scan_peers.py DIR [--every N] [TOOL…]`. The slow tools (seconds of processor time for some files) are only asked
about every N-th file.

Prints one JSON object: tool with version → file → `flagged`, `clean` or `inconclusive`; and under `absent` what is not
installed. A tool is imported once and its own command line is called in a fork for each file, so that a hang, a crash or
an exhausted limit costs one answer: it counts as inconclusive, and so do errors and files that a tool does not take. What
a tool reports counts as flagged even if it stops with an error afterwards.

Needs `pip install picklescan modelscan fickling modelaudit`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import json
import os
import pathlib
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable

# Processor time for a file; on a busy machine a file may take `WALL_FACTOR` times as long.
SECONDS_MAX = 20
WALL_FACTOR = 10
MEMORY_BYTES_MAX = 4 << 30
ANSWERS = ("flagged", "clean", "inconclusive")


def _command(entry: Callable[[], object], arguments: list[str]) -> tuple[int, str]:
    """Calls a command line; its exit code and what it printed."""
    out = io.StringIO()
    sys.argv = arguments
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = entry()
        except SystemExit as stop:
            code = stop.code
    return code if isinstance(code, int) else 0 if code is None else 2, out.getvalue()


def _by_code(code: int) -> str:
    return {0: "clean", 1: "flagged"}.get(code, "inconclusive")


def picklescan(path: str, *options: str) -> str:
    """Exit codes: 0 clean, 1 dangerous globals, 2 error."""
    from picklescan.cli import main

    code, text = _command(main, ["picklescan", "--path", path, *options])
    found = re.search(r"Dangerous globals: (\d+)", text)
    return "flagged" if found and int(found[1]) else _by_code(code)


def picklescan_strict(path: str) -> str:
    """What is not known to be harmless counts as dangerous."""
    return picklescan(path, "--strict")


def modelscan(path: str) -> str:
    """Exit codes: 0 clean, 1 issues, 2 error, 3 no supported file."""
    from modelscan.cli import main

    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        code, _ = _command(main, ["modelscan", "-p", path, "-r", "json", "-o", report.name])
        text = pathlib.Path(report.name).read_text()
    issues = json.loads(text).get("issues") if text.startswith("{") else None
    return "flagged" if issues else _by_code(code)


def fickling(path: str) -> str:
    """Exit codes: 0 clean, 1 unsafe, 2 error."""
    from fickling.cli import main

    return _by_code(_command(main, ["fickling", "--check-safety", "--json-output", os.devnull, path])[0])


def modelaudit(path: str) -> str:
    """Exit codes: 0 clean, 1 issues, 2 error."""
    from modelaudit.cli import main

    return _by_code(_command(main, ["modelaudit", "scan", "--no-cache", "--format", "json", path])[0])


def modelaudit_picklescan(path: str) -> str:
    """The Rust core by itself, for pickles and PyTorch archives."""
    from modelaudit_picklescan import scan_file

    verdict = scan_file(path).verdict.value
    return {"clean": "clean", "suspicious": "flagged", "malicious": "flagged"}.get(verdict, "inconclusive")


# Name, distribution, module to import beforehand, question, whether it is slow.
TOOLS = [
    ("picklescan", "picklescan", "picklescan.cli", picklescan, False),
    ("picklescan --strict", "picklescan", "picklescan.cli", picklescan_strict, False),
    ("modelscan", "modelscan", "modelscan.cli", modelscan, False),
    ("fickling", "fickling", "fickling.cli", fickling, False),
    ("modelaudit-picklescan", "modelaudit-picklescan", "modelaudit_picklescan", modelaudit_picklescan, True),
    ("modelaudit", "modelaudit", "modelaudit.cli", modelaudit, True),
]


def asked(question: Callable[[str], str], path: str) -> str:
    """The answer of a fork that has `SECONDS_MAX` and `MEMORY_BYTES_MAX`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS_MAX, SECONDS_MAX + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        silence = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(silence, standard)
        try:
            answer = question(path)
        except BaseException:  # Whatever a tool dies of, it has not answered.
            answer = "inconclusive"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    deadline = time.monotonic() + SECONDS_MAX * WALL_FACTOR
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.002)
    answer = os.read(reader, 64).decode()
    os.close(reader)
    return answer if answer in ANSWERS else "inconclusive"


def main() -> int:
    """Asks every installed tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=pathlib.Path)
    parser.add_argument("tools", nargs="*")
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_intermixed_args()
    root = arguments.sets.resolve()
    # No tool is to tell its maker what it saw.
    os.environ |= {"DO_NOT_TRACK": "1", "NO_ANALYTICS": "1", "PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_COLOR": "1"}
    files = sorted(
        str(path.relative_to(root))
        for kind in ("malicious", "benign")
        for path in (root / kind).rglob("*")
        if path.is_file()
    )
    answers: dict[str, dict[str, str]] = {}
    absent: list[str] = []
    for name, distribution, module, question, slow in TOOLS:
        if arguments.tools and name not in arguments.tools:
            continue
        try:
            importlib.import_module(module)
            version = importlib.metadata.version(distribution)
        except ImportError:
            absent.append(name)
            continue
        chosen = files[:: arguments.every] if slow else files
        first, _, options = name.partition(" ")
        label = f"{first} {version} {options}".strip()
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            # Some tools write reports beside themselves.
            os.chdir(folder)
            answers[label] = {file: asked(question, str(root / file)) for file in chosen}
            os.chdir(root)
        print(f"{label}: {len(chosen)} files in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    json.dump({"answers": answers, "absent": absent}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

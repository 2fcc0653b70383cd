"""Runs the parts of a module that write library output, and takes the bytes from where a library puts them."""

from __future__ import annotations

import io
import pathlib
import tempfile
import warnings
from collections.abc import Callable

from .writer import Writer


def run_parts(add: Writer, parts: tuple[Callable[[Writer], None], ...]) -> None:
    """Runs each part; an absent library costs only its own part."""
    warnings.simplefilter("ignore")
    for part in parts:

        def bound(part: Callable[[Writer], None] = part) -> None:
            part(add)

        bound.__name__ = part.__name__
        add.part(bound)


def saved(write: Callable[..., object], *arguments: object, **options: object) -> bytes:
    """The bytes that `write` puts into a stream."""
    out = io.BytesIO()
    write(out, *arguments, **options)
    return out.getvalue()


def in_file(write: Callable[[str], object], suffix: str) -> bytes:
    """What `write` puts into a file of its own choice of format."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"model{suffix}"
        write(str(path))
        return path.read_bytes()

"""Writes cases to disk and counts them."""

from __future__ import annotations

import collections
import pathlib
import sys
from collections.abc import Callable


class Writer:
    """One set: `writer(group, name, data)` adds a file to it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.counts: collections.Counter[str] = collections.Counter()

    def __call__(self, group: str, name: str, data: bytes | str) -> None:
        """Adds `group/name`; a name that is there already is a mistake of the generator."""
        path = self.root / group / name
        if path.exists() and path in self._written:
            raise ValueError(f"two cases are named {group}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        self._written.add(path)
        self.counts[group] += 1

    def adopt(self, group: str, name: str) -> pathlib.Path:
        """The path of a case that a library writes by itself."""
        path = self.root / group / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._written.add(path)
        self.counts[group] += 1
        return path

    def run(self, cases: Callable[[Writer], None]) -> None:
        """Runs a module's cases; those that need an absent library are left out and named."""
        try:
            cases(self)
        except ImportError as error:
            print(f"left out, {cases.__module__}: {error}", file=sys.stderr)

    def part(self, make: Callable[[], None]) -> None:
        """Runs a part that needs a library; says so where it is absent or does not work here."""
        try:
            make()
        except Exception as error:  # A broken library must not cost the rest of the set.
            print(f"left out, {make.__name__}: {type(error).__name__}: {error}", file=sys.stderr)

    def summary(self) -> str:
        """`N files (group n, …)`."""
        groups = ", ".join(f"{group} {count}" for group, count in sorted(self.counts.items()))
        return f"{sum(self.counts.values())} files ({groups})"

    @property
    def _written(self) -> set[pathlib.Path]:
        return self.__dict__.setdefault("_paths", set())

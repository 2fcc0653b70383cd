"""Makes the malicious and the benign set that scanners are measured with: `python3 scan_sets.py DIR`.

Usage: `scan_sets.py DIR [PART…]`; parts are the modules of `scan_sets/`, all by default, so that `torch_real` can be made by
another interpreter than the rest.

`DIR/malicious/GROUP/…` and `DIR/benign/GROUP/…` are written, one technique a file. Whatever a malicious file would run
is `true`. The bytes are the same every time, except for what libraries stamp with the time. Library output is made by
those libraries that are installed; the absent ones are named on standard error.
"""

import pathlib
import sys

from scan_sets import (
    archives,
    combinations,
    documents,
    frameworks,
    gadgets,
    graphs,
    keras_files,
    libraries,
    numbers,
    opcodes,
    plain,
    settings,
    texts,
    torch_files,
    torch_real,
)
from scan_sets.writer import Writer

MALICIOUS = (gadgets, opcodes, archives, combinations, torch_files, keras_files, graphs, numbers, settings, texts)
BENIGN = (plain, documents, libraries, frameworks, torch_real)


def main() -> int:
    """Writes both sets and says how many files each group has."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    root, wanted = pathlib.Path(sys.argv[1]), set(sys.argv[2:])
    for kind, modules in (("malicious", MALICIOUS), ("benign", BENIGN)):
        writer = Writer(root / kind)
        for module in modules:
            if not wanted or module.__name__.rpartition(".")[2] in wanted:
                writer.run(module.cases)
        print(f"{kind}: {writer.summary()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

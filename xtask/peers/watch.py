"""NAB's standard score and time a point of streaming detectors in Python: River's HalfSpaceTrees, rrcf.

Needs `pip install river==0.26.1 rrcf==0.4.4`; RINGFENCE_WATCH_PYTHON may name the Python that has them. RINGFENCE_SHARED names
the folder with `data/nab` and `tools/nab_score.py`; without it `shared` beside the repository is looked for.
"""
import csv
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

wanted = os.environ.get("RINGFENCE_WATCH_PYTHON")
if wanted and not os.environ.get("RINGFENCE_WATCH_INNER"):
    os.environ["RINGFENCE_WATCH_INNER"] = "1"
    os.execv(wanted, [wanted, *sys.argv])

TREES_POINTS = 600  # rrcf takes milliseconds a point, so only its speed is measured, on this many
here = pathlib.Path(__file__).resolve().parents[2]
shared = pathlib.Path(os.environ.get("RINGFENCE_SHARED", here.parent / "shared"))
data, scorer = shared / "data/nab", shared / "tools/nab_score.py"
if not data.is_dir() or not scorer.is_file():
    print(json.dumps({"skipped": "no shared/data/nab"}))
    sys.exit(0)
try:
    import river
    from river import anomaly
except ImportError:
    print(json.dumps({"skipped": "no river in this Python"}))
    sys.exit(0)


def values(path):
    with open(path) as file:
        return [(row["timestamp"], float(row["value"])) for row in csv.DictReader(file)]


paths = sorted(path for path in data.glob("*/*.csv"))
figures = {"peer": f"river {river.__version__} HalfSpaceTrees, 25 trees, height 8, window 250, scaled by running extremes"}
with tempfile.TemporaryDirectory() as folder:
    points, seconds = 0, 0.0
    for path in paths:
        rows = values(path)
        trees = anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=1)
        low = high = rows[0][1]
        scored = []
        start = time.process_time()
        for moment, value in rows:
            low, high = min(low, value), max(high, value)
            point = {"x": (value - low) / (high - low) if high > low else 0.5}
            scored.append((moment, value, trees.score_one(point)))
            trees.learn_one(point)
        seconds += time.process_time() - start
        points += len(rows)
        target = pathlib.Path(folder, path.parent.name, path.name)
        target.parent.mkdir(exist_ok=True)
        with open(target, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["timestamp", "value", "score"])
            writer.writerows(scored)
    told = subprocess.run([sys.executable, scorer, folder], capture_output=True, text=True, check=True).stdout
    figures["half_space_trees_nab"] = float(re.search(r"^all, .*?([-\d.]+)$", told, re.MULTILINE)[1])
    figures["half_space_trees_us_per_point"] = 1e6 * seconds / points
try:
    import numpy
    import rrcf

    rows = [value for _, value in values(paths[-1])[:TREES_POINTS]]
    forest = [rrcf.RCTree() for _ in range(40)]
    start = time.process_time()
    for index, point in enumerate(rrcf.shingle(numpy.array(rows), size=4)):
        for tree in forest:
            if len(tree.leaves) > 256:
                tree.forget_point(index - 256)
            tree.insert_point(point, index=index)
            tree.codisp(index)
    figures["rrcf_us_per_point"] = 1e6 * (time.process_time() - start) / len(rows)
except ImportError:
    figures["rrcf"] = "not installed"
print(json.dumps(figures))

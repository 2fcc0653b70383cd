#!/usr/bin/env python3
"""Softmax regression on the digits, as an example of a training script of your own.

Reads every `train.csv` below $RINGFENCE_IN (64 pixel columns of 0..16 and `label`), writes `model.safetensors` and
`metrics.json` to $RINGFENCE_OUT, and prints one JSON line per epoch. Needs nothing but the standard library; numpy is used
where it is installed.
"""

import csv
import json
import math
import os
import random
import struct
import sys
from pathlib import Path

try:
    import numpy
except ImportError:
    numpy = None

CLASSES = 10
EPOCHS = 12
RATE = 0.2
BATCH = 32
SEED = 1


def read(folder):
    """Rows of 0..1 and their labels, with a last 1 in each row for the bias."""
    rows, labels = [], []
    for path in sorted(Path(folder).rglob("train.csv")):
        with path.open(newline="") as file:
            for record in csv.DictReader(file):
                labels.append(int(record.pop("label")))
                rows.append([float(value) / 16 for value in record.values()] + [1.0])
    if not rows:
        sys.exit(f"no train.csv with records below {folder}")
    return rows, labels


def epoch_plain(weights, rows, labels, order):
    """One pass of stochastic gradient descent in plain Python; the mean loss."""
    total = 0.0
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        step = [[0.0] * len(weights[0]) for _ in weights]
        for index in batch:
            lit = [(place, value) for place, value in enumerate(rows[index]) if value]
            scores = [sum(row[place] * value for place, value in lit) for row in weights]
            top = max(scores)
            parts = [math.exp(score - top) for score in scores]
            whole = sum(parts)
            total -= math.log(max(parts[labels[index]] / whole, 1e-30))
            for klass, part in enumerate(parts):
                slope = part / whole - (klass == labels[index])
                for place, value in lit:
                    step[klass][place] += slope * value
        for row, change in zip(weights, step):
            for place, value in enumerate(change):
                row[place] -= RATE * value / len(batch)
    return total / len(order)


def epoch_numpy(weights, rows, labels, order):
    """The same with numpy."""
    total = 0.0
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        x, y = rows[batch], labels[batch]
        scores = x @ weights.T
        parts = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        slope = parts / parts.sum(axis=1, keepdims=True)
        total -= numpy.log(numpy.maximum(slope[numpy.arange(len(batch)), y], 1e-30)).sum()
        slope[numpy.arange(len(batch)), y] -= 1
        weights -= RATE * slope.T @ x / len(batch)
    return float(total) / len(order)


def write_safetensors(path, tensors):
    """Writes {name: rows of numbers} as float32: an 8-byte length, a JSON header, the values."""
    header, body = {"__metadata__": {"made-by": "examples/python/train.py"}}, b""
    for name, rows in tensors.items():
        start = len(body)
        body += b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)
        header[name] = {"dtype": "F32", "shape": [len(rows), len(rows[0])], "data_offsets": [start, len(body)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def main():
    rows, labels = read(os.environ["RINGFENCE_IN"])
    out = Path(os.environ["RINGFENCE_OUT"])
    weights = [[0.0] * len(rows[0]) for _ in range(CLASSES)]
    run = epoch_plain
    if numpy is not None:
        rows, labels, weights, run = numpy.array(rows), numpy.array(labels), numpy.array(weights), epoch_numpy
    order = list(range(len(labels)))
    shuffler = random.Random(SEED)
    for epoch in range(1, EPOCHS + 1):
        shuffler.shuffle(order)
        loss = run(weights, rows, labels, order)
        print(json.dumps({"epoch": epoch, "loss": round(loss, 4)}), flush=True)
    rows, weights = [list(row) for row in rows], [list(row) for row in weights]
    right = 0
    for row, label in zip(rows, labels):
        scores = [sum(a * b for a, b in zip(weight, row)) for weight in weights]
        right += scores.index(max(scores)) == label
    write_safetensors(out / "model.safetensors", {"weights": weights})
    metrics = {"records": len(labels), "train_accuracy": round(right / len(labels), 4), "numpy": numpy is not None}
    (out / "metrics.json").write_text(json.dumps(metrics) + "\n")


if __name__ == "__main__":
    main()

"""What the scientific libraries write, as far as they are installed."""

from __future__ import annotations

import pickle

from .estimators import fitted, table
from .saving import in_file, run_parts, saved
from .writer import Writer


def cases(add: Writer) -> None:
    """Arrays, frames, estimators, plots."""
    run_parts(
        add,
        (
            numpy_files,
            scipy_files,
            pandas_files,
            sklearn_files,
            joblib_files,
            skops_files,
            cloudpickle_files,
            statsmodels_files,
            picture_files,
            table_files,
        ),
    )


def numpy_files(add: Writer) -> None:
    """Arrays, pickled and saved."""
    import numpy as np

    dice = np.random.default_rng(0)
    table = dice.normal(size=(40, 4))
    record = np.zeros(3, dtype=[("a", "<i4"), ("b", "S3"), ("c", "<f8", (2,))])
    values = {
        "matrix": table,
        "fortran": np.asfortranarray(table),
        "scalar": np.float32(1.5),
        "type": np.dtype("<i4"),
        "text": np.array(["ab", "c"]),
        "flags": np.array([True, False]),
        "generator": dice,
        "state": np.random.RandomState(0),
        "function": np.add,
        "objects": np.array([{"a": 1}, None, "x"], dtype=object),
        "record": record,
        "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
        "masked": np.ma.masked_array([1, 2], [0, 1]),
        "polynomial": np.polynomial.Polynomial([1, 2]),
        "matrix_class": np.matrix([[1]]),
        "large": dice.normal(size=50_000).astype(np.float32),
    }
    for index, (name, value) in enumerate(values.items()):
        add("numpy", f"{name}.pkl", pickle.dumps(value, 2 + index % 4))
    add(
        "numpy",
        "everything_0.pkl",
        pickle.dumps({name: value for name, value in values.items() if name not in ("generator", "large")}, 0),
    )
    for name in ("matrix", "fortran", "text", "flags", "record", "dates", "large"):
        add("numpy", f"{name}.npy", saved(np.save, values[name]))
    add("numpy", "objects.npy", saved(np.save, values["objects"], allow_pickle=True))
    add("numpy", "version_3.npy", saved(np.save, np.zeros(2, dtype=[("ü", "<i4")])))
    add("numpy", "plain.npz", saved(np.savez, x=table, y=values["flags"]))
    add("numpy", "packed.npz", saved(np.savez_compressed, x=table, y=values["text"]))
    add("numpy", "objects.npz", saved(np.savez, x=values["objects"]))
    add("numpy", "text.txt", saved(np.savetxt, table))
    add("numpy", "noise_bytes.npy", saved(np.save, dice.integers(0, 256, 200_000, dtype=np.uint8)))
    add("numpy", "noise_pickle.pkl", pickle.dumps({"w": dice.integers(0, 256, 300_000, dtype=np.uint8)}))
    add("numpy", "half.npy", saved(np.save, dice.normal(size=3000).astype(np.float16)))


def scipy_files(add: Writer) -> None:
    """Sparse matrices and fitted functions."""
    import numpy as np
    from scipy import interpolate, optimize, sparse, spatial, stats
    from scipy import io as scipy_io

    matrix = sparse.random(30, 20, 0.2, random_state=0)
    for kind in ("csr", "csc", "coo", "lil", "dok"):
        add("scipy", f"{kind}.pkl", pickle.dumps(matrix.asformat(kind)))
    add("scipy", "array.pkl", pickle.dumps(sparse.csr_array(matrix)))
    add("scipy", "sparse.npz", saved(sparse.save_npz, matrix.tocsr()))
    add(
        "scipy",
        "interpolation.pkl",
        pickle.dumps([interpolate.interp1d([0, 1, 2], [1, 2, 5]), interpolate.CubicSpline([0, 1, 2, 3], [1, 2, 5, 3])]),
    )
    add("scipy", "distribution.pkl", pickle.dumps(stats.norm(1, 2)))
    add("scipy", "tree.pkl", pickle.dumps(spatial.KDTree(np.random.default_rng(0).normal(size=(20, 3)))))
    add("scipy", "result.pkl", pickle.dumps(optimize.OptimizeResult(x=np.ones(2), success=True)))
    add("scipy", "matlab.mat", saved(scipy_io.savemat, {"x": np.eye(3)}))


def pandas_files(add: Writer) -> None:
    """Frames of every ordinary column type."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "a": [1, 2],
            "b": ["x", "y"],
            "c": pd.Categorical(["u", "v"]),
            "t": pd.to_datetime(["2020-01-01", "2020-01-02"]),
            "z": pd.to_datetime(["2020-01-01", "2020-01-02"], utc=True),
            "n": pd.array([1, None], dtype="Int64"),
            "o": [{"k": 1}, [2]],
        }
    )
    for protocol in (2, 4, 5):
        add("pandas", f"frame_{protocol}.pkl", pickle.dumps(frame, protocol))
    add("pandas", "series.pkl", pickle.dumps(pd.Series([1.0, 2.0], name="z")))
    add(
        "pandas",
        "index.pkl",
        pickle.dumps(
            [
                pd.MultiIndex.from_product([["a"], [1, 2]]),
                pd.RangeIndex(3),
                pd.date_range("2020", periods=3),
                pd.period_range("2020", periods=2, freq="M"),
                pd.interval_range(0, 2),
                pd.timedelta_range("1D", periods=2),
            ]
        ),
    )
    add(
        "pandas",
        "times.pkl",
        pickle.dumps(
            [pd.Timestamp("2020-01-01", tz="Europe/Berlin"), pd.Timedelta(1), pd.NaT, pd.NA, pd.Period("2020")]
        ),
    )
    add("pandas", "sparse.pkl", pickle.dumps(pd.Series(pd.arrays.SparseArray([0, 0, 1]))))
    for compression, suffix in (
        ("gzip", ".gz"),
        ("bz2", ".bz2"),
        ("xz", ".xz"),
        ("zip", ".zip"),
        ("zstd", ".zst"),
        ("tar", ".tar"),
    ):
        add(
            "pandas",
            f"frame.pkl{suffix}",
            in_file(lambda path, c=compression: frame.to_pickle(path, compression=c), ".pkl"),
        )
    add("pandas", "frame.csv", frame.to_csv())
    add("pandas", "frame.json", frame[["a", "b"]].to_json())


def sklearn_files(add: Writer) -> None:
    """One pickle an estimator."""
    for index, (name, model) in enumerate(fitted().items()):
        add("sklearn", f"{name}.pkl", pickle.dumps(model, (4, 5, 2)[index % 3]))


def joblib_files(add: Writer) -> None:
    """A part of the estimators by joblib, with every compression."""
    import joblib
    import numpy as np

    models = fitted()
    for name in list(models)[::4]:
        add("joblib", f"{name}.joblib", saved(lambda out, model: joblib.dump(model, out), models[name]))
    for compression in ("zlib", "gzip", "bz2", "xz", "lzma", "lz4"):
        add(
            "joblib",
            f"forest_{compression}.joblib",
            in_file(lambda path, c=compression: joblib.dump(models["forest"], path, compress=(c, 3)), ".joblib"),
        )
    add("joblib", "protocol_2.joblib", saved(lambda out, model: joblib.dump(model, out, protocol=2), models["pca"]))
    add(
        "joblib",
        "arrays.joblib",
        saved(
            lambda out, value: joblib.dump(value, out),
            {
                "a": np.arange(1000.0),
                "f": np.asfortranarray(np.eye(30)),
                "o": np.array([{"a": np.arange(3)}, "x"], dtype=object),
                "e": np.zeros((0, 3)),
            },
        ),
    )
    add(
        "joblib",
        "noise.joblib",
        saved(
            lambda out, value: joblib.dump(value, out),
            [np.random.default_rng(i).integers(0, 256, 50_000, dtype=np.uint8) for i in range(4)],
        ),
    )


def skops_files(add: Writer) -> None:
    """Estimators by skops."""
    import skops.io

    models = fitted()
    for name in ("logistic", "forest", "pipeline", "grid", "tfidf", "columns"):
        add("skops", f"{name}.skops", skops.io.dumps(models[name]))


def cloudpickle_files(add: Writer) -> None:
    """Values by cloudpickle and dill that hold no code."""
    import cloudpickle
    import dill
    import numpy as np

    values = {"w": np.ones(3), "layers": [1, 2], "kind": dict}
    add("pickle_family", "cloudpickle.pkl", cloudpickle.dumps(values))
    add("pickle_family", "dill.pkl", dill.dumps(values))
    models = fitted()
    add("pickle_family", "cloudpickle_model.pkl", cloudpickle.dumps(models["pipeline"]))
    add("pickle_family", "dill_model.pkl", dill.dumps(models["forest"]))


def statsmodels_files(add: Writer) -> None:
    """A regression by statsmodels and a sampler by imbalanced-learn."""
    import imblearn.over_sampling
    import statsmodels.api as sm

    x, y = table()
    add("statistics", "regression.pkl", pickle.dumps(sm.OLS(y, sm.add_constant(x)).fit()))
    add("statistics", "smote.pkl", pickle.dumps(imblearn.over_sampling.SMOTE(random_state=0)))


def picture_files(add: Writer) -> None:
    """A plot by Matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.plot([1, 3, 2])
    for kind in ("png", "svg", "pdf"):
        add("media", f"plot.{kind}", saved(plt.savefig, format=kind))


def table_files(add: Writer) -> None:
    """SQLite and Parquet, which lie beside many models."""
    import sqlite3

    def database(path: str) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("create table runs (id integer primary key, loss real)")
            connection.execute("insert into runs values (1, 0.5)")

    add("media", "runs.sqlite", in_file(database, ".sqlite"))
    import pandas as pd

    add(
        "media",
        "train.parquet",
        saved(lambda out, frame: frame.to_parquet(out), pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})),
    )
    add("media", "train.feather", saved(lambda out, frame: frame.to_feather(out), pd.DataFrame({"a": [1, 2]})))

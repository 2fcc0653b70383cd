"""What real libraries write, as far as they are installed. Each part stands alone: an absent library costs only itself."""

from __future__ import annotations

import io
import json
import os
import pathlib
import pickle
import tempfile
import warnings
from collections.abc import Callable

from .writer import Writer

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def cases(add: Writer) -> None:
    """Runs all parts."""
    warnings.simplefilter("ignore")
    for part in (
        numpy_files,
        scipy_files,
        pandas_files,
        sklearn_files,
        joblib_files,
        skops_files,
        safetensors_files,
        onnx_files,
        boosting_files,
        catboost_files,
        hdf5_files,
        keras_files,
        gguf_files,
        flax_files,
        orbax_files,
        tokenizer_files,
        transformers_files,
        cloudpickle_files,
        statsmodels_files,
        picture_files,
        table_files,
    ):

        def bound(part: Callable[[Writer], None] = part) -> None:
            part(add)

        bound.__name__ = part.__name__
        add.part(bound)


def _saved(write: Callable[..., object], *arguments: object, **options: object) -> bytes:
    out = io.BytesIO()
    write(out, *arguments, **options)
    return out.getvalue()


def _in_file(write: Callable[[str], object], suffix: str) -> bytes:
    """What `write` puts into a file of its own choice of format."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"model{suffix}"
        write(str(path))
        return path.read_bytes()


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
        add("numpy", f"{name}.npy", _saved(np.save, values[name]))
    add("numpy", "objects.npy", _saved(np.save, values["objects"], allow_pickle=True))
    add("numpy", "version_3.npy", _saved(np.save, np.zeros(2, dtype=[("ü", "<i4")])))
    add("numpy", "plain.npz", _saved(np.savez, x=table, y=values["flags"]))
    add("numpy", "packed.npz", _saved(np.savez_compressed, x=table, y=values["text"]))
    add("numpy", "objects.npz", _saved(np.savez, x=values["objects"]))
    add("numpy", "text.txt", _saved(np.savetxt, table))
    add("numpy", "noise_bytes.npy", _saved(np.save, dice.integers(0, 256, 200_000, dtype=np.uint8)))
    add("numpy", "noise_pickle.pkl", pickle.dumps({"w": dice.integers(0, 256, 300_000, dtype=np.uint8)}))
    add("numpy", "half.npy", _saved(np.save, dice.normal(size=3000).astype(np.float16)))


def scipy_files(add: Writer) -> None:
    """Sparse matrices and fitted functions."""
    import numpy as np
    from scipy import interpolate, optimize, sparse, spatial, stats
    from scipy import io as scipy_io

    matrix = sparse.random(30, 20, 0.2, random_state=0)
    for kind in ("csr", "csc", "coo", "lil", "dok"):
        add("scipy", f"{kind}.pkl", pickle.dumps(matrix.asformat(kind)))
    add("scipy", "array.pkl", pickle.dumps(sparse.csr_array(matrix)))
    add("scipy", "sparse.npz", _saved(sparse.save_npz, matrix.tocsr()))
    add(
        "scipy",
        "interpolation.pkl",
        pickle.dumps([interpolate.interp1d([0, 1, 2], [1, 2, 5]), interpolate.CubicSpline([0, 1, 2, 3], [1, 2, 5, 3])]),
    )
    add("scipy", "distribution.pkl", pickle.dumps(stats.norm(1, 2)))
    add("scipy", "tree.pkl", pickle.dumps(spatial.KDTree(np.random.default_rng(0).normal(size=(20, 3)))))
    add("scipy", "result.pkl", pickle.dumps(optimize.OptimizeResult(x=np.ones(2), success=True)))
    add("scipy", "matlab.mat", _saved(scipy_io.savemat, {"x": np.eye(3)}))


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
            _in_file(lambda path, c=compression: frame.to_pickle(path, compression=c), ".pkl"),
        )
    add("pandas", "frame.csv", frame.to_csv())
    add("pandas", "frame.json", frame[["a", "b"]].to_json())


def _estimators() -> dict[str, object]:
    import numpy as np
    from sklearn import (
        calibration,
        cluster,
        compose,
        covariance,
        cross_decomposition,
        decomposition,
        discriminant_analysis,
        dummy,
        ensemble,
        feature_extraction,
        feature_selection,
        gaussian_process,
        impute,
        isotonic,
        kernel_ridge,
        linear_model,
        manifold,
        mixture,
        model_selection,
        multiclass,
        multioutput,
        naive_bayes,
        neighbors,
        neural_network,
        pipeline,
        preprocessing,
        random_projection,
        semi_supervised,
        svm,
        tree,
    )

    dice = np.random.default_rng(0)
    x, y = np.abs(dice.normal(size=(40, 4))), (dice.normal(size=40) > 0).astype(int)
    models = {
        "logistic": linear_model.LogisticRegression(),
        "ridge": linear_model.Ridge(),
        "lasso": linear_model.Lasso(),
        "elastic": linear_model.ElasticNetCV(),
        "sgd": linear_model.SGDClassifier(max_iter=5),
        "huber": linear_model.HuberRegressor(),
        "ransac": linear_model.RANSACRegressor(min_samples=5),
        "perceptron": linear_model.Perceptron(),
        "poisson": linear_model.PoissonRegressor(),
        "bayesian": linear_model.BayesianRidge(),
        "svc": svm.SVC(),
        "svr": svm.SVR(),
        "linear_svc": svm.LinearSVC(),
        "one_class": svm.OneClassSVM(),
        "tree": tree.DecisionTreeClassifier(max_depth=2),
        "extra_tree": tree.ExtraTreeRegressor(max_depth=2),
        "forest": ensemble.RandomForestClassifier(3, max_depth=2),
        "extra_trees": ensemble.ExtraTreesRegressor(3, max_depth=2),
        "gradient": ensemble.GradientBoostingClassifier(n_estimators=2, max_depth=2),
        "hist": ensemble.HistGradientBoostingClassifier(max_iter=2, max_depth=2),
        "ada": ensemble.AdaBoostClassifier(n_estimators=2),
        "bagging": ensemble.BaggingClassifier(n_estimators=2),
        "isolation": ensemble.IsolationForest(n_estimators=3, max_samples=8),
        "voting": ensemble.VotingClassifier(
            [("a", linear_model.LogisticRegression()), ("b", naive_bayes.GaussianNB())]
        ),
        "stacking": ensemble.StackingClassifier([("a", naive_bayes.GaussianNB())], cv=2),
        "kmeans": cluster.KMeans(2, n_init=1),
        "dbscan": cluster.DBSCAN(),
        "birch": cluster.Birch(n_clusters=2),
        "agglomerative": cluster.AgglomerativeClustering(2),
        "mean_shift": cluster.MeanShift(),
        "pca": decomposition.PCA(2),
        "nmf": decomposition.NMF(2, max_iter=5),
        "svd": decomposition.TruncatedSVD(2),
        "lda_topics": decomposition.LatentDirichletAllocation(2, max_iter=2),
        "factor": decomposition.FactorAnalysis(2),
        "lda": discriminant_analysis.LinearDiscriminantAnalysis(),
        "qda": discriminant_analysis.QuadraticDiscriminantAnalysis(),
        "bayes": naive_bayes.GaussianNB(),
        "multinomial": naive_bayes.MultinomialNB(),
        "knn": neighbors.KNeighborsClassifier(algorithm="kd_tree"),
        "ball": neighbors.KNeighborsRegressor(algorithm="ball_tree"),
        "density": neighbors.KernelDensity(),
        "outlier": neighbors.LocalOutlierFactor(n_neighbors=5),
        "mlp": neural_network.MLPClassifier((3,), max_iter=5),
        "gp": gaussian_process.GaussianProcessRegressor(),
        "gmm": mixture.GaussianMixture(2),
        "isotonic": isotonic.IsotonicRegression(),
        "kernel_ridge": kernel_ridge.KernelRidge(),
        "covariance": covariance.EmpiricalCovariance(),
        "pls": cross_decomposition.PLSRegression(2),
        "isomap": manifold.Isomap(n_neighbors=5),
        "scaler": preprocessing.StandardScaler(),
        "min_max": preprocessing.MinMaxScaler(),
        "polynomial": preprocessing.PolynomialFeatures(2),
        "quantile": preprocessing.QuantileTransformer(n_quantiles=5),
        "one_hot": preprocessing.OneHotEncoder(handle_unknown="ignore"),
        "imputer": impute.SimpleImputer(),
        "knn_imputer": impute.KNNImputer(),
        "select": feature_selection.SelectKBest(k=2),
        "variance": feature_selection.VarianceThreshold(),
        "projection": random_projection.GaussianRandomProjection(2),
        "spreading": semi_supervised.LabelSpreading(),
        "calibrated": calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), cv=2),
        "one_vs_rest": multiclass.OneVsRestClassifier(linear_model.LogisticRegression()),
        "dummy": dummy.DummyClassifier(),
        "columns": compose.ColumnTransformer(
            [("s", preprocessing.StandardScaler(), [0]), ("f", preprocessing.FunctionTransformer(np.log1p), [1])]
        ),
        "pipeline": pipeline.make_pipeline(
            preprocessing.StandardScaler(), decomposition.PCA(2), linear_model.LogisticRegression()
        ),
        "union": pipeline.make_union(preprocessing.StandardScaler(), decomposition.PCA(2)),
        "grid": model_selection.GridSearchCV(linear_model.Ridge(), {"alpha": [1, 2]}, cv=2),
        "target": compose.TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1),
    }
    single = {"isotonic": x[:, 0]}
    for name, model in models.items():
        model.fit(single.get(name, x), y)
    models["multi_output"] = multioutput.MultiOutputRegressor(linear_model.Ridge()).fit(x, np.stack([y, y], 1))
    models["tfidf"] = feature_extraction.text.TfidfVectorizer(ngram_range=(1, 2)).fit(["a bb cc", "bb dd"])
    models["hashing"] = feature_extraction.text.HashingVectorizer()
    models["dictionary"] = feature_extraction.DictVectorizer().fit([{"a": 1}, {"b": "x"}])
    models["labels"] = preprocessing.LabelEncoder().fit(["a", "b"])
    models["text_pipeline"] = pipeline.make_pipeline(
        feature_extraction.text.CountVectorizer(), naive_bayes.MultinomialNB()
    ).fit(["a bb", "cc dd"], [0, 1])
    return models


def sklearn_files(add: Writer) -> None:
    """One pickle an estimator."""
    for index, (name, model) in enumerate(_estimators().items()):
        add("sklearn", f"{name}.pkl", pickle.dumps(model, (4, 5, 2)[index % 3]))


def joblib_files(add: Writer) -> None:
    """A part of the estimators by joblib, with every compression."""
    import joblib
    import numpy as np

    models = _estimators()
    for name in list(models)[::4]:
        add("joblib", f"{name}.joblib", _saved(lambda out, model: joblib.dump(model, out), models[name]))
    for compression in ("zlib", "gzip", "bz2", "xz", "lzma", "lz4"):
        add(
            "joblib",
            f"forest_{compression}.joblib",
            _in_file(lambda path, c=compression: joblib.dump(models["forest"], path, compress=(c, 3)), ".joblib"),
        )
    add("joblib", "protocol_2.joblib", _saved(lambda out, model: joblib.dump(model, out, protocol=2), models["pca"]))
    add(
        "joblib",
        "arrays.joblib",
        _saved(
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
        _saved(
            lambda out, value: joblib.dump(value, out),
            [np.random.default_rng(i).integers(0, 256, 50_000, dtype=np.uint8) for i in range(4)],
        ),
    )


def skops_files(add: Writer) -> None:
    """Estimators by skops."""
    import skops.io

    models = _estimators()
    for name in ("logistic", "forest", "pipeline", "grid", "tfidf", "columns"):
        add("skops", f"{name}.skops", skops.io.dumps(models[name]))


def safetensors_files(add: Writer) -> None:
    """Tensors by the library."""
    import numpy as np
    from safetensors.numpy import save

    dice = np.random.default_rng(0)
    add(
        "safetensors",
        "plain.safetensors",
        save({"a": dice.normal(size=(20, 4)).astype(np.float32), "b": np.arange(3)}, {"format": "np"}),
    )
    add(
        "safetensors",
        "types.safetensors",
        save({kind: np.zeros(3, kind) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "?")}),
    )
    add("safetensors", "empty.safetensors", save({}))
    add("safetensors", "zero_size.safetensors", save({"a": np.zeros((0, 4), np.float32), "b": np.ones(2, np.float32)}))
    add(
        "safetensors",
        "metadata.safetensors",
        save(
            {"w": np.ones(4, np.float32)},
            {
                "format": "pt",
                "ss_tag_frequency": json.dumps({"1_cat": {"cat": 3}}),
                "modelspec.title": "A LoRA",
                "ss_training_comment": "import from base; lr 1e-4",
            },
        ),
    )
    add(
        "safetensors",
        "many.safetensors",
        save(
            {f"model.layers.{i}.weight": dice.normal(size=8).astype(np.float32) for i in range(300)}, {"format": "pt"}
        ),
    )
    add("safetensors", "noise.safetensors", save({"w": dice.integers(0, 256, 300_000, dtype=np.uint8)}))


def onnx_files(add: Writer) -> None:
    """Hand-made graphs by the ONNX helpers, and converted estimators."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def model(
        nodes: list[object], weights: list[object] = (), domains: list[tuple[str, int]] = (("", 17),), **more: object
    ) -> onnx.ModelProto:
        value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
        graph = helper.make_graph(nodes, "g", value[:1], value[1:], list(weights), doc_string="a graph")
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*domain) for domain in domains],
            producer_name="pytorch",
            producer_version="2.3.0",
            **more,
        )
        made.ir_version = 8
        return made

    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    add("onnx", "plain.onnx", model([product], [weight]).SerializeToString())
    typed = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.eye(4).flatten().tolist())
    add("onnx", "typed_data.onnx", model([product], [typed]).SerializeToString())
    annotated = model([product], [weight])
    helper.set_model_props(annotated, {"author": "someone", "labels": "cat,dog", "license": "Apache-2.0"})
    add("onnx", "metadata.onnx", annotated.SerializeToString())
    outside = onnx.TensorProto(name="w", data_type=1, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "model.onnx.data"), ("offset", "0"), ("length", "64")):
        outside.external_data.add(key=key, value=value)
    add("onnx", "external_beside.onnx", model([product], [outside]).SerializeToString())
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "b",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    condition = numpy_helper.from_array(np.array(True), "c")
    add(
        "onnx",
        "branches.onnx",
        model(
            [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], [condition]
        ).SerializeToString(),
    )
    add(
        "onnx",
        "microsoft.onnx",
        model(
            [helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], [], [("", 17), ("com.microsoft", 1)]
        ).SerializeToString(),
    )
    add(
        "onnx",
        "quantised.onnx",
        model(
            [
                helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "p"]),
                helper.make_node("DequantizeLinear", ["q", "s", "p"], ["y"]),
            ]
        ).SerializeToString(),
    )
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    add(
        "onnx",
        "function.onnx",
        model(
            [helper.make_node("Twice", ["x"], ["y"], domain="local")],
            [],
            [("", 17), ("local", 1)],
            functions=[function],
        ).SerializeToString(),
    )
    from skl2onnx import to_onnx

    models = _estimators()
    sample = np.ones((1, 4), np.float32)
    for name in ("logistic", "forest", "svc", "scaler", "kmeans", "mlp", "pipeline", "gradient"):
        add("onnx", f"sklearn_{name}.onnx", to_onnx(models[name], sample).SerializeToString())


def _table() -> tuple[object, object]:
    import numpy as np

    dice = np.random.default_rng(0)
    return dice.normal(size=(60, 4)), (dice.normal(size=60) > 0).astype(int)


def boosting_files(add: Writer) -> None:
    """XGBoost and LightGBM in each of their formats."""
    import lightgbm
    import xgboost

    x, y = _table()
    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(x, y)
    add("boosting", "xgboost.pkl", pickle.dumps(model))
    add("boosting", "xgboost_booster.pkl", pickle.dumps(model.get_booster()))
    for suffix in (".json", ".ubj"):
        add("boosting", f"xgboost{suffix}", _in_file(model.save_model, suffix))
    gain = lightgbm.LGBMClassifier(n_estimators=3, num_leaves=4, verbose=-1).fit(x, y)
    add("boosting", "lightgbm.pkl", pickle.dumps(gain))
    add("boosting", "lightgbm_booster.pkl", pickle.dumps(gain.booster_))
    add("boosting", "lightgbm.txt", gain.booster_.model_to_string())
    add("boosting", "lightgbm.json", json.dumps(gain.booster_.dump_model()))


def catboost_files(add: Writer) -> None:
    """CatBoost in each of its formats."""
    import catboost

    x, y = _table()
    model = catboost.CatBoostClassifier(iterations=3, depth=2, verbose=False, allow_writing_files=False).fit(x, y)
    for kind in ("cbm", "json", "onnx", "python", "cpp", "pmml"):
        add("boosting", f"catboost.{kind}", _in_file(lambda path, k=kind: model.save_model(path, format=k), f".{kind}"))
    add("boosting", "catboost.pkl", pickle.dumps(model))


def hdf5_files(add: Writer) -> None:
    """Plain HDF5, old and new layout."""
    import h5py
    import numpy as np

    def file(library: object, **options: object) -> bytes:
        out = io.BytesIO()
        with h5py.File(out, "w", libver=library) as made:
            group = made.create_group("layer")
            group.create_dataset("w", data=np.eye(40, dtype=np.float32), **options)
            group["names"] = np.array([b"kernel:0", b"bias:0"])
            group["text"] = "free text"
            group["alias"] = h5py.SoftLink("/layer/w")
            made.attrs["backend"], made.attrs["layer_names"] = "jax", np.array([b"dense"])
        return out.getvalue()

    add("hdf5", "old.h5", file("earliest"))
    add("hdf5", "new.h5", file("latest"))
    add("hdf5", "packed.h5", file("earliest", compression="gzip", chunks=(8, 8)))
    add("hdf5", "shuffled.h5", file("latest", compression="lzf", shuffle=True, chunks=(8, 8)))


def keras_files(add: Writer) -> None:
    """Models by Keras 3: archive, HDF5, JSON, weights."""
    import keras
    import numpy as np

    layers = keras.layers
    dense = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.1),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="dense",
    )
    dense.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    image = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(2, 3),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(2),
        ],
        name="image",
    )
    text = keras.Sequential(
        [
            layers.Input((5,), dtype="int32"),
            layers.Embedding(10, 4),
            layers.Bidirectional(layers.LSTM(3)),
            layers.Dense(2),
        ],
        name="text",
    )
    given = layers.Input((4,))
    joined = layers.Concatenate()([layers.Dense(2)(given), layers.LayerNormalization()(given)])
    functional = keras.Model(given, layers.Dense(1)(joined), name="functional")
    attention_in = layers.Input((6, 4))
    attention = keras.Model(
        attention_in,
        layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 2)(attention_in, attention_in)),
        name="attention",
    )
    dense.fit(np.ones((4, 4)), np.ones(4), verbose=0)
    for model in (dense, image, text, functional, attention):
        add("keras", f"{model.name}.keras", _in_file(model.save, ".keras"))
        add("keras", f"{model.name}.h5", _in_file(model.save, ".h5"))
        add("keras", f"{model.name}.json", model.to_json())
    add("keras", "dense.weights.h5", _in_file(dense.save_weights, ".weights.h5"))


def gguf_files(add: Writer) -> None:
    """GGUF by its library."""
    import gguf
    import numpy as np

    from .documents import CHATML

    def write(path: str, template: str | None, kind: object) -> None:
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_name("demo")
        writer.add_block_count(2)
        writer.add_context_length(512)
        writer.add_embedding_length(32)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["<s>", "</s>", "a", "b"])
        writer.add_token_scores([0.0, 0.0, -1.0, -2.0])
        writer.add_array("demo.layers", [1, 2, 3])
        if template:
            writer.add_chat_template(template)
        for index in range(3):
            writer.add_tensor(f"blk.{index}.attn_q.weight", np.ones((32, 32), dtype=kind))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    add("gguf", "plain.gguf", _in_file(lambda path: write(path, None, np.float32), ".gguf"))
    add("gguf", "chat.gguf", _in_file(lambda path: write(path, CHATML, np.float16), ".gguf"))
    add("gguf", "quantised.gguf", _in_file(lambda path: _quantised(path), ".gguf"))


def _quantised(path: str) -> None:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(
        "output.weight",
        gguf.quants.quantize(np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32), kind),
        raw_dtype=kind,
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def flax_files(add: Writer) -> None:
    """MessagePack by Flax and by itself."""
    import jax.numpy as jnp
    import msgpack
    from flax import serialization

    state = {"params": {"dense": {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2, jnp.bfloat16)}}, "step": 3}
    add("flax", "state.msgpack", serialization.to_bytes(state))
    add("flax", "flax_model.msgpack", serialization.msgpack_serialize({"params": {"w": jnp.arange(1000.0)}}))
    add("flax", "plain.msgpack", msgpack.packb({"a": [1, 2.5, "x", None, True], "b": b"bytes" * 20}))
    add("flax", "arrays.pkl", pickle.dumps({"kernel": jnp.ones((2, 2))}))


def orbax_files(add: Writer) -> None:
    """An Orbax checkpoint's files."""
    import numpy as np
    import orbax.checkpoint

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "checkpoint"
        orbax.checkpoint.PyTreeCheckpointer().save(root, {"w": np.ones(4, np.float32)})
        for index, path in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
            if path.stat().st_size and index < 8:
                add("flax", f"orbax/{path.relative_to(root)}", path.read_bytes())


def tokenizer_files(add: Writer) -> None:
    """Tokenizers trained on a few lines."""
    import tokenizers

    lines = ["import os and system calls", "the quick brown fox", "eval and exec are functions", "lambda x: x"] * 20
    for name, model, trainer in (
        ("bpe", tokenizers.models.BPE(), tokenizers.trainers.BpeTrainer(vocab_size=300)),
        (
            "wordpiece",
            tokenizers.models.WordPiece(unk_token="[UNK]"),
            tokenizers.trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"]),
        ),
        ("unigram", tokenizers.models.Unigram(), tokenizers.trainers.UnigramTrainer(vocab_size=120)),
    ):
        made = tokenizers.Tokenizer(model)
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
        made.train_from_iterator(lines, trainer)
        add("tokenizers", f"{name}/tokenizer.json", made.to_str())
        add("tokenizers", f"{name}/tokenizer.pkl", pickle.dumps(made))
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, vocab_size=60, minloglevel=2, hard_vocab_limit=False
    )
    add("tokenizers", "sentencepiece/tokenizer.model", out.getvalue())


def transformers_files(add: Writer) -> None:
    """Configurations as the library writes them."""
    import transformers

    names = [
        "BertConfig",
        "GPT2Config",
        "LlamaConfig",
        "T5Config",
        "ViTConfig",
        "WhisperConfig",
        "CLIPConfig",
        "MistralConfig",
        "Qwen2Config",
        "RobertaConfig",
        "DistilBertConfig",
        "Wav2Vec2Config",
        "BartConfig",
        "DebertaV2Config",
        "GenerationConfig",
    ]
    for name in names:
        add("transformers", f"{name}/config.json", getattr(transformers, name)().to_json_string())


def cloudpickle_files(add: Writer) -> None:
    """Values by cloudpickle and dill that hold no code."""
    import cloudpickle
    import dill
    import numpy as np

    values = {"w": np.ones(3), "layers": [1, 2], "kind": dict}
    add("pickle_family", "cloudpickle.pkl", cloudpickle.dumps(values))
    add("pickle_family", "dill.pkl", dill.dumps(values))
    models = _estimators()
    add("pickle_family", "cloudpickle_model.pkl", cloudpickle.dumps(models["pipeline"]))
    add("pickle_family", "dill_model.pkl", dill.dumps(models["forest"]))


def statsmodels_files(add: Writer) -> None:
    """A regression by statsmodels and a sampler by imbalanced-learn."""
    import imblearn.over_sampling
    import statsmodels.api as sm

    x, y = _table()
    add("statistics", "regression.pkl", pickle.dumps(sm.OLS(y, sm.add_constant(x)).fit()))
    add("statistics", "smote.pkl", pickle.dumps(imblearn.over_sampling.SMOTE(random_state=0)))


def picture_files(add: Writer) -> None:
    """A plot by Matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.plot([1, 3, 2])
    for kind in ("png", "svg", "pdf"):
        add("media", f"plot.{kind}", _saved(plt.savefig, format=kind))


def table_files(add: Writer) -> None:
    """SQLite and Parquet, which lie beside many models."""
    import sqlite3

    def database(path: str) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("create table runs (id integer primary key, loss real)")
            connection.execute("insert into runs values (1, 0.5)")

    add("media", "runs.sqlite", _in_file(database, ".sqlite"))
    import pandas as pd

    add(
        "media",
        "train.parquet",
        _saved(lambda out, frame: frame.to_parquet(out), pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})),
    )
    add("media", "train.feather", _saved(lambda out, frame: frame.to_feather(out), pd.DataFrame({"a": [1, 2]})))

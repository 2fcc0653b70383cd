#!/usr/bin/env python3
"""Writes what libraries write: every estimator of scikit-learn fitted on toy data, boosters, frames, arrays and sparse
matrices, as pickles of protocols 2 to 5 and as joblib files. All of it must be clean.

Usage: python3 make_library_output.py FOLDER       # then: scan_bench FOLDER/* and look for other verdicts
Libraries used where present: numpy, scipy, scikit-learn, pandas, joblib, xgboost, lightgbm.
"""
import collections, datetime, decimal, io, pathlib, pickle, sys, traceback, warnings

warnings.simplefilter("ignore")
OUT = pathlib.Path(sys.argv[1])
OUT.mkdir(parents=True, exist_ok=True)
LEFT_OUT = []


def write(name, value, protocols=(2, 3, 4, 5), with_joblib=True):
    try:
        for protocol in protocols:
            (OUT / f"{name}.{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))
        if with_joblib:
            import joblib
            joblib.dump(value, OUT / f"{name}.joblib")
            for method in ("zlib", "gzip"):
                joblib.dump(value, OUT / f"{name}.{method}.joblib", compress=(method, 3))
    except Exception as error:
        LEFT_OUT.append((name, repr(error)[:100]))


def estimators():
    import numpy as np
    from sklearn.utils import all_estimators
    from sklearn import base, compose, ensemble, feature_selection, linear_model, multiclass, multioutput, pipeline, preprocessing, semi_supervised, svm, tree
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(60, 5))) + 0.1
    y = (x[:, 0] > x[:, 1]).astype(int)
    texts = ["a bb cc dd", "bb dd ee", "cc aa", "dd ee ff"] * 15
    inner = {"estimator": linear_model.LogisticRegression(), "base_estimator": tree.DecisionTreeClassifier(max_depth=2), "regressor": linear_model.Ridge()}
    for name, kind in all_estimators():
        try:
            import inspect
            parameters = inspect.signature(kind.__init__).parameters
            arguments = {}
            for key in ("estimator", "regressor"):
                if key in parameters and parameters[key].default is inspect._empty:
                    arguments[key] = linear_model.Ridge() if issubclass(kind, base.RegressorMixin) else inner["estimator"]
            if "estimators" in parameters:
                members = [("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=2))] if issubclass(kind, base.RegressorMixin) else [("a", linear_model.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=2))]
                arguments["estimators"] = members
            if "transformers" in parameters:
                arguments["transformers"] = [("s", preprocessing.StandardScaler(), [0, 1]), ("f", preprocessing.FunctionTransformer(np.log1p), [2])]
            if "steps" in parameters:
                arguments["steps"] = [("s", preprocessing.StandardScaler()), ("m", linear_model.LogisticRegression())]
            if "transformer_list" in parameters:
                arguments["transformer_list"] = [("s", preprocessing.StandardScaler())]
            if "param_grid" in parameters:
                arguments["param_grid"] = {"C": [0.1, 1.0]}
            if "param_distributions" in parameters:
                arguments["param_distributions"] = {"C": [0.1, 1.0]}
                if "n_iter" in parameters: arguments["n_iter"] = 2
            if "n_estimators" in parameters: arguments["n_estimators"] = 3
            if "dictionary" in parameters and parameters["dictionary"].default is inspect._empty: arguments["dictionary"] = np.eye(5)
            model = kind(**arguments)
            if "max_iter" in model.get_params(): model.set_params(max_iter=20)
            for data in ((x, y), (texts, y), (x[:, :2], x[:, 2:4]), ([{"a": 1.0}, {"b": 2.0}] * 30, y), (x[:, 0], x[:, 1]), ([("a", "b")] * 30 + [("c",)] * 30, y), (x, None), (y, None)):
                try:
                    model.fit(*data)
                    break
                except Exception:
                    pass
            else:
                LEFT_OUT.append((name, "not fitted"))
            write(f"sklearn_{name}", model)
        except Exception as error:
            LEFT_OUT.append((name, repr(error)[:100]))
    write("sklearn_scorer", __import__("sklearn.metrics").metrics.make_scorer(__import__("sklearn.metrics").metrics.f1_score))
    write("sklearn_kernels", linear_model.LogisticRegression().set_params(random_state=np.random.RandomState(3)))
    from sklearn.gaussian_process import GaussianProcessRegressor, kernels
    write("sklearn_gp", GaussianProcessRegressor(kernels.RBF() + kernels.WhiteKernel() * kernels.ConstantKernel()).fit(x, y))
    write("sklearn_svc_callable", svm.SVC(kernel="rbf", probability=False).fit(x, y))
    write("sklearn_datasets", __import__("sklearn.datasets").datasets.load_iris())
    for loss in ("squared_error", "absolute_error", "poisson", "quantile", "gamma"):
        extra = {"quantile": 0.5} if loss == "quantile" else {}
        write(f"sklearn_hist_{loss}", ensemble.HistGradientBoostingRegressor(loss=loss, max_iter=2, **extra).fit(x, y + 1))
    for loss in ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber", "epsilon_insensitive"):
        write(f"sklearn_sgd_{loss}", linear_model.SGDClassifier(loss=loss, max_iter=5).fit(x, y))
    for metric in ("euclidean", "manhattan", "chebyshev", "minkowski", "cosine", "canberra", "hamming"):
        from sklearn.neighbors import KNeighborsClassifier
        write(f"sklearn_knn_{metric}", KNeighborsClassifier(metric=metric).fit(x, y))
    write("sklearn_select", feature_selection.SelectKBest(feature_selection.mutual_info_classif, k=2).fit(x, y))
    write("sklearn_feature_names", linear_model.LinearRegression().fit(__import__("pandas").DataFrame(x, columns=list("abcde")), y))


def boosters():
    import numpy as np
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    y = (x[:, 0] > 0).astype(int)
    try:
        import xgboost
        write("xgboost_classifier", xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(x, y))
        write("xgboost_regressor", xgboost.XGBRegressor(n_estimators=3, max_depth=2, early_stopping_rounds=2).fit(x, y, eval_set=[(x, y)], verbose=False))
        write("xgboost_ranker", xgboost.XGBRanker(n_estimators=3).fit(x, y, qid=np.arange(60) // 20))
        write("xgboost_booster", xgboost.train({"max_depth": 2}, xgboost.DMatrix(x, y), 3))
    except ImportError:
        pass
    try:
        import lightgbm
        write("lightgbm_classifier", lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(x, y))
        write("lightgbm_regressor", lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(x, y, eval_set=[(x, y)], callbacks=[lightgbm.early_stopping(2, verbose=False)]))
        write("lightgbm_booster", lightgbm.train({"verbose": -1}, lightgbm.Dataset(x, y), 3))
    except ImportError:
        pass


def arrays():
    import numpy as np
    rng = np.random.default_rng(0)
    write("numpy_kinds", {str(np.dtype(kind)): np.zeros(3, kind) for kind in ("?", "b", "h", "i", "q", "B", "H", "e", "f", "d", "g", "F", "D", "S3", "U3", "M8[ns]", "m8[s]", "V4")})
    write("numpy_scalars", [np.float32(1), np.int64(2), np.bool_(True), np.str_("a"), np.bytes_(b"a"), np.datetime64("2020-01-01"), np.timedelta64(3, "h"), np.complex64(1j)])
    write("numpy_objects", np.array([{"a": 1}, [2], None, "x", np.arange(3), datetime.date(2020, 1, 1)], dtype=object))
    write("numpy_structured", np.zeros(3, dtype=[("a", "<i4"), ("b", "S3"), ("c", "<f8", (2, 2))]))
    write("numpy_records", np.rec.array([(1, "a"), (2, "b")]))
    write("numpy_masked", np.ma.array([1.0, 2.0], mask=[0, 1]))
    write("numpy_matrix", np.matrix([[1, 2]]))
    write("numpy_large", rng.normal(size=(300, 300)))
    write("numpy_fortran", np.asfortranarray(rng.normal(size=(30, 30))))
    write("numpy_bytes_like", rng.integers(0, 255, size=50_000, dtype=np.uint8))
    write("numpy_random", [np.random.default_rng(1), np.random.RandomState(1), np.random.Generator(np.random.MT19937(1)), np.random.Generator(np.random.Philox(1)), np.random.Generator(np.random.SFC64(1)), np.random.SeedSequence(5)])
    write("numpy_polynomial", [np.polynomial.Polynomial([1, 2]), np.polynomial.Chebyshev([1, 2]), np.poly1d([1, 2])])
    write("numpy_functions", [np.add, np.sin, np.mean, np.log1p])
    from scipy import interpolate, optimize, sparse, spatial, stats
    write("scipy_sparse", [getattr(sparse, kind)(np.eye(3)) for kind in ("csr_matrix", "csc_matrix", "coo_matrix", "bsr_matrix", "dia_matrix", "lil_matrix", "dok_matrix", "csr_array", "csc_array", "coo_array")])
    write("scipy_interpolate", [interpolate.interp1d([0, 1, 2], [1, 2, 3]), interpolate.CubicSpline([0, 1, 2], [1, 2, 3]), interpolate.UnivariateSpline(range(9), range(9)), interpolate.RBFInterpolator(rng.normal(size=(9, 2)), range(9)), interpolate.RegularGridInterpolator(([0, 1], [0, 1]), np.eye(2)), interpolate.PchipInterpolator([0, 1, 2], [1, 2, 3])])
    write("scipy_stats", [stats.norm(0, 1), stats.gaussian_kde([1.0, 2.0, 3.0]), stats.uniform(), stats.randint(1, 5), stats.expon()])
    write("scipy_spatial", [spatial.cKDTree(rng.normal(size=(9, 2))), spatial.KDTree(rng.normal(size=(9, 2)))])
    write("scipy_spatial_hull", spatial.transform.Rotation.from_euler("z", 90, degrees=True))
    write("scipy_optimize", optimize.minimize(lambda v: (v ** 2).sum(), [1.0, 2.0]))


def frames():
    import numpy as np, pandas as pd
    index = pd.date_range("2020-01-01", periods=3)
    frame = pd.DataFrame({"i": [1, 2, 3], "f": [1.0, np.nan, 3.0], "s": ["x", "y", None], "b": [True, False, True], "c": pd.Categorical(["u", "v", "u"]), "t": index, "z": index.tz_localize("UTC"), "d": pd.to_timedelta([1, 2, 3], "h"), "p": pd.period_range("2020", periods=3, freq="M"), "I": pd.array([1, None, 3], dtype="Int64"), "F": pd.array([1.0, None, 3.0], dtype="Float64"), "B": pd.array([True, None, False], dtype="boolean"), "S": pd.array(["a", None, "c"], dtype="string"), "v": pd.interval_range(0, 3)})
    write("pandas_frame", frame)
    write("pandas_indexed", frame.set_index("t"))
    write("pandas_multi", frame.set_index(["s", "i"]))
    write("pandas_series", pd.Series([1.0, 2.0], name="z", index=pd.RangeIndex(2)))
    write("pandas_sparse", pd.arrays.SparseArray([0, 0, 1]))
    write("pandas_scalars", [pd.Timestamp("2020-01-01", tz="Europe/Berlin"), pd.Timedelta("1h"), pd.Period("2020-01"), pd.NaT, pd.NA, pd.Interval(0, 1), pd.offsets.MonthEnd(), pd.tseries.offsets.BDay(2), pd.DateOffset(months=1)])
    write("pandas_indexes", [pd.Index([1, 2]), pd.Index(["a"]), pd.RangeIndex(3), index, pd.CategoricalIndex(["a"]), pd.MultiIndex.from_tuples([(1, "a")]), pd.IntervalIndex.from_breaks([0, 1]), pd.TimedeltaIndex(["1h"]), pd.PeriodIndex(["2020"], freq="Y")])
    write("pandas_grouped", frame.groupby("b")[["f"]].mean())
    for dtype in ("Int8", "UInt16", "Float32", "int32[pyarrow]"):
        try: write(f"pandas_{dtype[:5]}", pd.Series([1, 2], dtype=dtype))
        except Exception as error: LEFT_OUT.append((dtype, repr(error)[:80]))


def language():
    import array, enum, fractions, ipaddress, logging, pathlib, re, uuid, zoneinfo, types, functools, operator, itertools
    write("python_values", {"numbers": [0, -1, 2**70, 1.5, True, None, 1j], "texts": ["a", "é", "x" * 3000], "bytes": bytes(range(256)), "set": {1, 2}, "frozen": frozenset([3]), "nested": [[[[(1, (2, (3,)))]]]]}, (0, 1, 2, 3, 4, 5))
    write("python_stdlib", [collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1], 3), collections.defaultdict(list, a=[1]), datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), datetime.timedelta(1), datetime.time(1), decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=5), range(3), slice(1, 2), array.array("d", [1.0]), pathlib.Path("a/b"), bytearray(b"abc"), ipaddress.ip_address("127.0.0.1"), zoneinfo.ZoneInfo("UTC"), re.compile("a+"), types.SimpleNamespace(a=1), functools.partial(max, 1), operator.itemgetter(1), logging.getLogger("x"), collections.ChainMap({}), Ellipsis, NotImplemented, int, ValueError("x"), itertools.count(3)], (2, 3, 4, 5))
    write("python_text_corpus", [f"line {i}: import os; os.system('x')" for i in range(500)], (0, 2, 4))
    write("python_base64", __import__("base64").b64encode(bytes(range(256)) * 20).decode(), (2, 4))
    write("python_pickled_inside", pickle.dumps([1, 2, {"a": 3}]), (2, 4))


for part in (language, arrays, frames, boosters, estimators):
    try:
        part()
    except Exception:
        traceback.print_exc()
for name, why in LEFT_OUT:
    print(f"left out {name}: {why}", file=sys.stderr)
print(len(list(OUT.iterdir())), "files")

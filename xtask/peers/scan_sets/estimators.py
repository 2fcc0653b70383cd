"""Fitted estimators of scikit-learn, which several parts write in their own ways."""

from __future__ import annotations


def fitted() -> dict[str, object]:
    """One of each kind, fitted to forty random rows."""
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


def table() -> tuple[object, object]:
    """Sixty random rows and their labels."""
    import numpy as np

    dice = np.random.default_rng(0)
    return dice.normal(size=(60, 4)), (dice.normal(size=60) > 0).astype(int)

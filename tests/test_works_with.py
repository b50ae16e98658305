"""Other packages, as docs/works_with.md says to use them. Run with -m integrations.

Each test is left out where its package is not installed:
``pip install mlflow optuna skrub imbalanced-learn shap "dask[distributed]" ray modin``.
"""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import skautoenc
from skautoenc import (
    AutoencoderImputer,
    AutoencoderTransformer,
    TabularAutoencoderTransformer,
)

pytestmark = [
    pytest.mark.integrations,
    # Warnings of other packages about themselves.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


def pipeline(**parameters):
    parameters = {"n_components": 16, "max_iter": 3, "random_state": 0} | parameters
    return make_pipeline(
        AutoencoderTransformer(**parameters), LogisticRegression(max_iter=500)
    )


def test_mlflow(digits, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    model = pipeline().fit(*digits)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    mlflow.create_experiment("digits", artifact_location=tmp_path.as_uri())
    mlflow.set_experiment("digits")
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            model,
            name="digits",
            serialization_format="skops",
            skops_trusted_types=skautoenc.TRUSTED_TYPES,
        )
    again = mlflow.sklearn.load_model(logged.model_uri)
    np.testing.assert_array_equal(
        again.predict_proba(digits[0]), model.predict_proba(digits[0])
    )


def test_optuna(digits):
    optuna = pytest.importorskip("optuna")

    def objective(trial):
        width = trial.suggest_int("n_components", 4, 32)
        return cross_val_score(pipeline(n_components=width), *digits, cv=2).mean()

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(objective, n_trials=3)
    assert study.best_value > 0.7


def test_skrub(digits):
    skrub = pytest.importorskip("skrub")
    frame = pd.DataFrame(digits[0]).add_prefix("pixel")
    frame["parity"] = np.where(digits[1] % 2, "odd", "even")
    model = make_pipeline(
        skrub.TableVectorizer(),
        AutoencoderTransformer(16, max_iter=3, random_state=0),
        LogisticRegression(max_iter=500),
    )
    assert model.fit(frame, digits[1]).score(frame, digits[1]) > 0.7


TOPICS = {
    "food": ["pizza", "pasta", "tasty", "waiter", "dessert", "menu"],
    "room": ["bed", "shower", "towel", "quiet", "view", "lobby"],
}


def steps_of_skrub(skrub):
    encoder = skrub.StringEncoder(n_components=8, random_state=0)
    through = dict.fromkeys(["low_cardinality", "numeric", "datetime"], "passthrough")
    return [
        skrub.ApplyToCols(encoder, cols="review"),
        skrub.TableVectorizer(high_cardinality=encoder, **through),
    ]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_texts_of_skrub(number, library):
    skrub = pytest.importorskip("skrub")
    rng = np.random.default_rng(0)
    topic = rng.choice(list(TOPICS), 300)
    frame = pd.DataFrame(
        {
            "review": [" ".join(rng.choice(TOPICS[each], 5)) for each in topic],
            "stars": rng.integers(1, 6, 300).astype(float),
            "city": rng.choice(["Oslo", "Rome"], 300),
            "day": pd.date_range("2025", periods=300),
        }
    )
    frame.loc[::9, "stars"] = np.nan
    if library == "polars":
        frame = pytest.importorskip("polars").from_pandas(frame)
    texts = steps_of_skrub(skrub)[number]
    table = TabularAutoencoderTransformer(8, max_iter=5, random_state=0)
    model = make_pipeline(texts, table, LogisticRegression(max_iter=500))
    assert model.fit(frame[:200], topic[:200]).score(frame[200:], topic[200:]) > 0.9
    kinds = list(model[1].column_kinds_.values())
    assert kinds == 8 * ["number"] + ["number", "category", "date"]
    # Without it, each text is a rare category.
    plain = make_pipeline(table, LogisticRegression(max_iter=500))
    assert plain.fit(frame[:200], topic[:200]).score(frame[200:], topic[200:]) < 0.7
    filled = make_pipeline(texts, AutoencoderImputer(table)).fit_transform(frame)
    assert type(filled) is type(frame)
    stars = filled["stars"]
    assert not (stars.is_null() if library == "polars" else stars.isna()).any()


def test_imbalanced_learn(digits):
    imblearn = pytest.importorskip("imblearn")
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import make_pipeline as make_sampling_pipeline

    assert imblearn
    X, y = digits[0], digits[1] == 8
    model = make_sampling_pipeline(
        AutoencoderTransformer(8, max_iter=3, random_state=0),
        SMOTE(random_state=0),
        LogisticRegression(),
    )
    assert model.fit(X, y).score(X, y) > 0.7


def test_shap(digits):
    shap = pytest.importorskip("shap")
    X, y = digits
    model = pipeline().fit(X, y)
    explainer = shap.Explainer(model.predict_proba, X[:20], seed=0)
    values = explainer(X[:2], max_evals=2 * X.shape[1] + 1)
    assert values.values.shape == (2, 64, 10)
    total = values.values.sum(axis=1) + values.base_values
    np.testing.assert_allclose(total, model.predict_proba(X[:2]), atol=1e-4)


def search():
    name = "autoencodertransformer__n_components"
    return GridSearchCV(pipeline(), {name: [4, 16]}, cv=2)


@pytest.fixture(scope="module")
def expected(digits):
    return search().fit(*digits).cv_results_["mean_test_score"]


def test_dask(digits, expected):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        found = search().fit(*digits)
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], expected)


def test_ray(digits, expected):
    ray = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        with joblib.parallel_config("ray"):
            found = search().fit(*digits)
    finally:
        ray.shutdown()
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], expected)


def test_modin(monkeypatch):
    monkeypatch.setenv("MODIN_ENGINE", "python")
    modin = pytest.importorskip("modin.pandas")
    z = np.sin(np.arange(40))
    frame = pd.DataFrame({"x": z, "y": np.where(z > 0, "a", "b")})
    frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2)
    transformer = TabularAutoencoderTransformer(2, max_iter=1, random_state=0)
    filled = transformer.fit(frame).impute(frame)
    found = transformer.fit(modin.DataFrame(frame)).impute(modin.DataFrame(frame))
    assert type(found) is modin.DataFrame
    pd.testing.assert_frame_equal(found._to_pandas(), filled)

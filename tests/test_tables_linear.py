"""Missing cells filled with averages of linear predictions and the network's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer

import skautoenc
from skautoenc import AutoencoderImputer, Blocks, TabularAutoencoderTransformer
from skautoenc._model import calibration, linear_fill
from skautoenc._model.filling import predict_by_network
from skautoenc._model.linear_fill import LinearFill
from skautoenc._model.normal import learn_normal

NAMES = "_linear_codes", "_linear_mean", "_linear_precision", "_linear_shares"


def hide(values, rate, seed=1):
    holed = values.copy()
    holed[np.random.default_rng(seed).random(values.shape) < rate] = np.nan
    return holed


# The joint normal distribution


def draw_normal(n_rows=4000):
    draw = np.random.default_rng(0)
    mixing = draw.normal(size=(5, 5))
    values = draw.normal(size=(n_rows, 5)) @ mixing + np.arange(5)
    return values, mixing.T @ mixing


def test_it_is_learnt_from_rows_with_missing_values():
    values, covariance = draw_normal()
    normal = learn_normal(hide(values, 0.3), np.ones(len(values)))
    found = np.linalg.inv(normal.precision)
    np.testing.assert_allclose(normal.mean, np.arange(5), atol=0.2)
    assert np.abs(found - covariance).max() < 0.1 * np.abs(covariance).max()
    np.testing.assert_array_equal(normal.precision, normal.precision.T)


def test_missing_values_are_their_conditional_means():
    values, _ = draw_normal(200)
    normal = learn_normal(values, np.ones(200))
    holed = hide(values, 0.4)
    covariance = np.linalg.inv(normal.precision)
    for row, filled in zip(holed, normal.expected(holed), strict=True):
        gap = np.isnan(row)
        if gap.all():
            np.testing.assert_allclose(filled, normal.mean)
            continue
        known = covariance[np.ix_(~gap, ~gap)]
        slopes = np.linalg.solve(known, covariance[np.ix_(~gap, gap)]).T
        expected = normal.mean[gap] + slopes @ (row - normal.mean)[~gap]
        np.testing.assert_allclose(filled[gap], expected, rtol=1e-6, atol=1e-8)
        np.testing.assert_array_equal(filled[~gap], row[~gap])


def test_weights_are_repetition():
    values = hide(draw_normal(200)[0], 0.3)
    times = np.arange(200) % 3 + 1
    repeated = learn_normal(np.repeat(values, times, axis=0), np.ones(times.sum()))
    weighted = learn_normal(values, times.astype(float))
    np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-6)
    np.testing.assert_allclose(weighted.precision, repeated.precision, rtol=1e-6)


def test_it_starts_from_another_one():
    values = hide(draw_normal(300)[0], 0.5)
    normal = learn_normal(values, np.ones(300))
    for _ in range(10):
        normal = learn_normal(values, np.ones(300), normal)
    again = learn_normal(values, np.ones(300), normal)
    close = {"rtol": 0.05, "atol": 0.02}
    np.testing.assert_allclose(again.precision, normal.precision, **close)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_columns_that_tell_nothing_are_no_obstacle(value):
    values, _ = draw_normal(100)
    values[:, 2] = value
    normal = learn_normal(values, np.ones(100))
    filled = normal.expected(hide(values, 0.3))
    assert np.isfinite(np.delete(filled, 2, axis=1)).all()


# Imputation


def make_linear(n_rows=400):
    """Draw numbers that depend on each other and on a category linearly."""
    draw = np.random.default_rng(0)
    mixing = draw.normal(size=(2, 6))
    hidden = draw.normal(size=(n_rows, 2))
    numbers = hidden @ mixing + 0.5 * draw.normal(size=(n_rows, 6))
    frame = pd.DataFrame(numbers, columns=list("abcdef"))
    frame["word"] = np.array(["low", "middle", "high"])[
        np.digitize(hidden[:, 0] + 0.3 * draw.normal(size=n_rows), [-0.5, 0.5])
    ]
    frame["f"] += 2 * (frame["word"] == "high")
    return frame


def hide_cells(frame, rate=0.2):
    return frame.mask(np.random.default_rng(1).random(frame.shape) < rate)


@pytest.fixture(scope="module")
def whole():
    return make_linear()


@pytest.fixture(scope="module")
def holed(whole):
    return hide_cells(whole)


@pytest.fixture(scope="module")
def fitted(holed):
    return AutoencoderImputer(random_state=0).fit(holed)


def error(filled, whole, holed):
    names = list(whole.select_dtypes(float))
    errors = ((filled[names] - whole[names]) / whole[names].std()).to_numpy()
    return np.sqrt(np.mean(errors[holed[names].isna().to_numpy()] ** 2))


def fill_by_network(imputer, holed):
    """Return what the network alone fills in."""
    model = imputer._model
    columns = imputer._read(holed)
    matrix = model.side.table.encode(columns)
    predictions = predict_by_network(model, matrix)
    return model.side.fill(columns, predictions.rows(model.side.table.layout.n_levels))


def test_few_rows_that_depend_linearly_are_filled_better(fitted, whole, holed):
    found = error(fitted.transform(holed), whole, holed)
    assert found < 0.97 * error(fill_by_network(fitted, holed), whole, holed)
    assert (fitted._model.side.linear.shares > 0.3).all()
    inner = fitted.autoencoder_
    pd.testing.assert_frame_equal(inner.impute(holed), fitted.transform(holed))
    plain = TabularAutoencoderTransformer(random_state=0).fit(holed)
    assert plain._model.side.linear is None
    assert all(getattr(plain, name) is None for name in NAMES)


def test_the_network_predicts_the_mean_of_a_value_and_of_its_distribution(
    fitted, whole
):
    holed = whole[:100].assign(b=np.nan)
    matrix = fitted._model.side.table.encode(fitted._read(holed))
    value = fitted._model.reconstruct(matrix)[:, 1]
    found = predict_by_network(fitted._model, matrix).numbers[:, 1]
    drawn = [each["b"].to_numpy() for each in fitted.draw(holed, 300, random_state=0)]
    column = fitted._model.side.table.columns[1]
    mean = (np.mean(drawn, axis=0) - column.mean) / column.scale
    np.testing.assert_allclose(found, (value + mean) / 2, atol=0.08)
    assert np.abs(found - value).max() > 0.15


def test_categories_that_depend_linearly_are_filled_better(fitted):
    whole = make_linear(2000)
    holed = whole.mask(np.random.default_rng(0).random(whole.shape) < 0.3)
    holed["word"] = None
    right = fitted.transform(holed)["word"] == whole["word"]
    network = fill_by_network(fitted, holed)["word"] == whole["word"]
    assert right.mean() > network.mean() + 0.005
    assert fitted._model.side.linear.shares[-1] > 0.3


def test_a_curve_is_left_to_the_network():
    draw = np.random.default_rng(0)
    angle = draw.uniform(0, 2 * np.pi, 1500)
    whole = pd.DataFrame({"x": np.cos(angle), "y": np.abs(np.sin(angle))})
    holed = whole.mask(draw.random(whole.shape) < [0.0, 0.2])
    imputer = AutoencoderImputer(random_state=0).fit(holed)
    found = error(imputer.transform(holed), whole, holed)
    network = error(fill_by_network(imputer, holed), whole, holed)
    mean = pd.DataFrame(SimpleImputer().fit_transform(holed), columns=whole.columns)
    # A linear prediction is no better than the mean.
    assert network < 0.5 * error(mean, whole, holed)
    assert found < 1.1 * network


def test_a_row_is_filled_alone_as_among_others(fitted, holed):
    filled = fitted.transform(holed)
    for rows in ([3], [7, 8, 9], range(399, -1, -1), [*range(50), *range(50)]):
        some = fitted.transform(holed.iloc[rows])
        pd.testing.assert_frame_equal(some, filled.iloc[rows], check_exact=True)
    complete = fitted.transform(holed.dropna().iloc[:5])
    pd.testing.assert_frame_equal(complete, holed.dropna().iloc[:5])


def test_the_order_of_rows_does_not_matter(holed):
    some = holed[:100]
    imputer = AutoencoderImputer(
        TabularAutoencoderTransformer(number_output="distribution", max_iter=3),
        random_state=0,
    )
    one = imputer.fit(some)._model.side.linear
    other = imputer.fit(some[::-1])._model.side.linear
    np.testing.assert_array_equal(one.normal.precision, other.normal.precision)
    np.testing.assert_allclose(one.shares, other.shares, rtol=1e-4)


def test_weights_of_rows_are_repetition(holed):
    def learn(frame, weights=None):
        transformer = TabularAutoencoderTransformer(
            number_output="distribution", max_iter=1, random_state=0
        )
        return transformer.fit(frame, sample_weight=weights)._model.side.linear

    times = np.arange(100) % 2 + 1
    some = holed[:100]
    weighted = learn(some, times.astype(float))
    repeated = learn(some.loc[some.index.repeat(times)])
    np.testing.assert_allclose(
        weighted.normal.precision, repeated.normal.precision, rtol=1e-9
    )


def test_blocks_are_like_a_frame(holed):
    def fit(X):
        return TabularAutoencoderTransformer(
            number_output="distribution", max_iter=2, random_state=0
        ).fit(X)

    parts = Blocks(lambda: (holed[start : start + 100] for start in range(0, 400, 100)))
    blocks, frame = fit(parts), fit(holed)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(blocks, name), getattr(frame, name))
    # One more part has no cells that are held out.
    assert blocks.partial_fit(holed[:50])._linear_shares is None
    assert not blocks.impute(holed[:5]).isna().any().any()


@pytest.mark.parametrize(
    "frame",
    [
        make_linear(40),
        make_linear(100)[["a"]],
        make_linear(100)[["word"]].assign(other=list("ab") * 50),
    ],
    ids=["few rows", "one column", "no numbers"],
)
def test_it_is_left_out_where_there_is_nothing_to_gain(frame):
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", max_iter=1, random_state=0
    )
    assert transformer.fit(frame)._linear_shares is None
    assert not transformer.impute(hide_cells(frame)).isna().any().any()


def test_categories_are_left_out_of_wide_tables_and_then_everything(monkeypatch):
    frame = make_linear(100)
    transformer = TabularAutoencoderTransformer(
        number_output="distribution", max_iter=1, random_state=0
    )
    codes = transformer.fit(frame)._linear_codes
    assert codes.shape == (2, 2)
    monkeypatch.setattr(linear_fill, "_MOST_VARIABLES", 7)
    np.testing.assert_array_equal(transformer.fit(frame)._linear_codes, codes[:, :1])
    monkeypatch.setattr(linear_fill, "_MOST_VARIABLES", 5)
    assert transformer.fit(frame)._linear_codes is None


def test_extreme_values_are_no_obstacle(holed):
    frame = holed[:200].copy()
    frame.loc[0, "a"] = 1e30
    frame.loc[1, "b"] = -1e100
    imputer = AutoencoderImputer(
        TabularAutoencoderTransformer(number_output="distribution", max_iter=2),
        random_state=0,
    ).fit(frame)
    new = frame.assign(c=1e300)
    filled = imputer.transform(new)
    assert not filled.isna().any().any()
    assert filled["d"].between(frame["d"].min(), frame["d"].max()).all()


def test_held_out_cells_are_learnt_from_too(holed, monkeypatch):
    found = {}

    def remember(table, predict, training, held_out, whole):
        found.update(training=training, whole=whole)

    monkeypatch.setattr(calibration, "learn_linear_fill", remember)
    TabularAutoencoderTransformer(
        number_output="distribution", max_iter=1, random_state=0
    ).fit(holed)
    known = {name: (~np.isnan(data.matrix)).sum() for name, data in found.items()}
    assert known["whole"] == holed.notna().to_numpy().sum()
    assert 0.85 < known["training"] / known["whole"] < 0.95


# Files


def test_it_is_in_files(fitted, holed, tmp_path):
    fitted.save(tmp_path / "imputer")
    loaded = skautoenc.load(tmp_path / "imputer")
    expected = fitted.transform(holed)
    pd.testing.assert_frame_equal(loaded.transform(holed), expected, check_exact=True)
    frozen = AutoencoderImputer(FrozenEstimator(loaded.autoencoder_)).fit(holed)
    pd.testing.assert_frame_equal(frozen.transform(holed), expected, check_exact=True)


def test_files_without_it_are_filled_by_the_network(fitted, holed, tmp_path):
    inner = fitted.autoencoder_
    kept = {name: vars(inner).pop(name) for name in NAMES}
    try:
        inner.save(tmp_path / "older")
    finally:
        vars(inner).update(kept)
    older = skautoenc.load(tmp_path / "older")
    expected = fill_by_network(fitted, holed)
    pd.testing.assert_frame_equal(older.impute(holed), expected)


def damage(attributes, name, change):
    return {**attributes, name: change(attributes[name])}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("_linear_codes", lambda value: value + 100),
        ("_linear_codes", lambda value: value[:1]),
        ("_linear_codes", lambda value: None),
        ("_linear_mean", lambda value: value[:-1]),
        ("_linear_mean", lambda value: value * np.nan),
        ("_linear_precision", lambda value: -value),
        ("_linear_precision", lambda value: value[:-1]),
        ("_linear_precision", lambda value: np.triu(value)),
        ("_linear_shares", lambda value: value[:-1]),
        ("_linear_shares", lambda value: value + 1),
    ],
)
def test_damaged_files_are_refused(fitted, tmp_path, name, change):
    inner = fitted.autoencoder_
    kept = getattr(inner, name)
    setattr(inner, name, change(kept))
    try:
        inner.save(tmp_path / "damaged")
    except ValueError:
        # Some are refused before they are written.
        return
    finally:
        setattr(inner, name, kept)
    with pytest.raises(ValueError, match="cannot be loaded"):
        skautoenc.load(tmp_path / "damaged")


def test_it_is_rebuilt_from_its_attributes(fitted):
    linear = fitted._model.side.linear
    again = LinearFill.from_attributes(linear.attributes(), linear.n_levels)
    np.testing.assert_array_equal(again.variables.codes, linear.variables.codes)
    assert again.variables.n_numbers == linear.variables.n_numbers == 6
